"""Where secrets come from: files that change, helpers of every temper, a keyring; and what a 401 from upstream does."""
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest
from gateway import Gateway, Origin, one, read_head, read_request, until
from test_reverse import JSON, LOCAL, SECRET, ask, basic, gate, service
from tools import parallel

NEW = "real-new-secret-4711-xyz"


class Picky:
    """An upstream that takes one secret only and answers 401 to all others."""

    def __init__(self, good):
        self.good = good

    def __call__(self, conn, origin):
        rest = b""
        while True:
            r, rest = read_request(conn, rest)
            origin.seen.append(r)
            ok = r["h"].get("authorization") == f"Bearer {self.good}"
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" if ok else
                         b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nContent-Length: 12\r\n\r\nalways not u")


def file_secret(tmp_path, value=SECRET):
    path = tmp_path / "secret"
    path.write_text(value)
    return path


def replace(path, value):
    other = path.with_suffix(".new")
    other.write_text(value)
    other.rename(path)


def by_file(origin, path, **more):
    return service(origin, credential_key=f"file://{path}", **more)


def helper(tmp_path, text, **conf):
    """A route's credential_capture of one shell script; each run leaves a line in `runs`."""
    path = tmp_path / "helper"
    path.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\n{text}\n")
    path.chmod(0o755)
    return {"tok": {"command": [str(path)]} | conf}


def runs(tmp_path):
    return (tmp_path / "runs").read_text().count("run") if (tmp_path / "runs").exists() else 0


def by_helper(tmp_path, origin, text, *flags, secret=SECRET, env=None, route=None, **conf):
    """A gateway whose route svc asks a helper, with a bystander route beside it."""
    services = {"svc": service(origin, credential_key="cmd://tok", **(route or {})), "other": service(origin)}
    g = gate(tmp_path, services, *flags, secret=secret, env=env)
    p = tmp_path / "p.json"
    p.write_text(json.dumps(json.loads(p.read_text()) | {"credential_capture": helper(tmp_path, text, **conf)}))
    return g


def refused(g, *words, path="/svc/x"):
    a = one(g, ask(g, path, extra=JSON))
    assert a.status == 503 and json.loads(a.body)["error"] == "credential_unavailable", a
    reason = json.loads(a.body)["reason"]
    assert all(w in reason for w in ("svc", *words)), reason
    return reason


@pytest.fixture()
def local():
    with Origin(host=LOCAL) as o:
        yield o


def shown(origin):
    return [r["h"].get("authorization") for r in origin.seen]


# ---------------------------------------------------------------- files

@pytest.mark.parametrize("text", [SECRET, SECRET + "\n", SECRET + "\r\n"])
def test_case77_one_line_end_is_cut(tmp_path, local, text):
    with gate(tmp_path, {"svc": by_file(local, file_secret(tmp_path, text))}) as g:
        assert one(g, ask(g, "/svc/x")).status == 200 and shown(local) == [f"Bearer {SECRET}"]


def test_case77_inner_whitespace_stays(tmp_path, local):
    with gate(tmp_path, {"svc": by_file(local, file_secret(tmp_path, "two words\tand tab"), inject_header="X-Key")}, secret="two words") as g:
        assert one(g, ask(g, "/svc/x")).status == 200 and local.seen[0]["h"]["x-key"] == "two words\tand tab"


@pytest.mark.parametrize("text", ["", "\n", "real-part-one\nX-Evil: real-part-two", "real-part-one\r\n\r\n", "real-part-one\x00", "real-part-one\x1b[0m"])
def test_case76_K4_control_characters_are_refused(tmp_path, local, text):
    with gate(tmp_path, {"svc": by_file(local, file_secret(tmp_path, text)), "other": service(local)}) as g:
        g.secrets += ["real-part-one", "real-part-two"]
        assert "real-part" not in refused(g)
        assert one(g, ask(g, "/other/x")).status == 200 and len(local.seen) == 1


def test_case80_a_replaced_file_is_used(tmp_path, local):
    path = file_secret(tmp_path)
    with gate(tmp_path, {"svc": by_file(local, path)}) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200
        replace(path, NEW)
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 200 and shown(local)[-1] == f"Bearer {NEW}", 5, 0.1), shown(local)
        assert shown(local)[0] == f"Bearer {SECRET}"


def test_K5_a_file_that_goes_serves_on_for_a_while(tmp_path, local):
    """60 s, see the unit tests; what comes back meanwhile is used."""
    path = file_secret(tmp_path)
    with gate(tmp_path, {"svc": by_file(local, path)}) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200
        path.unlink()
        assert until(lambda: [r for r in g.records(0, "credential") if r["event"] == "failed"], 5)
        assert one(g, ask(g, "/svc/x")).status == 200 and set(shown(local)) == {f"Bearer {SECRET}"}
        replace(path, NEW)
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 200 and shown(local)[-1] == f"Bearer {NEW}", 5, 0.1)


def test_case81_a_file_that_appears_later_is_used(tmp_path, local):
    path = tmp_path / "secret"
    with gate(tmp_path, {"svc": by_file(local, path)}) as g:
        refused(g, "is missing: it is used once")
        assert one(g, ask(g, "/svc/x")).get("retry-after")
        replace(path, SECRET)
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 200, 8, 0.1)
        assert shown(local) == [f"Bearer {SECRET}"]


@pytest.mark.threads
def test_case82_401_after_a_rotation_is_sent_once_more(tmp_path):
    path, picky = file_secret(tmp_path), Picky(SECRET)
    with Origin(picky, host=LOCAL) as o, gate(tmp_path, {"svc": by_file(o, path)}) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200
        picky.good = NEW
        replace(path, NEW)  # the gateway may or may not have noticed already: the client must not
        a = one(g, ask(g, "/svc/y", "POST", body="hello"), "POST")
        assert a.status == 200 and a.body == b"ok"
        assert o.seen[-1]["h"]["authorization"] == f"Bearer {NEW}" and {r["body"] for r in o.seen[1:]} == {b"hello"} and len(o.seen) <= 3


def test_a_401_that_stays_reaches_the_client_whole(tmp_path):
    with Origin(Picky("other"), host=LOCAL) as o, gate(tmp_path, {"svc": by_file(o, file_secret(tmp_path)), "env": service(o)}) as g:
        for path in ("/svc/x", "/svc/x", "/env/x"):
            a = one(g, ask(g, path))
            assert (a.status, a.body, a.get("www-authenticate")) == (401, b"always not u", "Bearer")


# ---------------------------------------------------------------- helpers

def test_case77_text_helper(tmp_path, local):
    with by_helper(tmp_path, local, f"printf '{SECRET}\\r\\n\\n'") as g:
        assert [one(g, ask(g, "/svc/x")).status for _ in range(3)] == [200] * 3
        assert shown(local) == [f"Bearer {SECRET}"] * 3 and runs(tmp_path) == 1


def test_case73_json_helper_sets_its_headers(tmp_path, local):
    out = json.dumps({"headers": {"X-One": SECRET, "X-Two": "real-two-4711"}})
    with by_helper(tmp_path, local, f"cat <<'E'\n{out}\nE", output={"format": "json", "allow_headers": ["x-one", "x-two"]}) as g:
        g.secrets.append("real-two-4711")
        assert one(g, ask(g, "/svc/x", extra="X-One: mine\r\nx-two: mine\r\n")).status == 200
        (r,) = local.seen
        assert r["h"]["x-one"] == SECRET and r["h"]["x-two"] == "real-two-4711" and b"mine" not in r["raw"] and "authorization" not in r["h"]


@pytest.mark.parametrize("out", [{"headers": {"X-Other": SECRET}}, {"headers": {}}, {"headers": {"X-One": SECRET + "\r\nX: y"}}, {"headers": {"X-One": 1}}, [], "x"])
def test_case76_json_helper_that_says_nonsense(tmp_path, local, out):
    with by_helper(tmp_path, local, f"cat <<'E'\n{json.dumps(out)}\nE", output={"format": "json", "allow_headers": ["x-one"]}) as g:
        refused(g)
        assert not local.seen


HOSTILE = ['{"headers":{"X-One":"real-a-secret","x-one":"real-b-secret"}}', '{"headers":{"X-One\\r\\nX-Evil":"real-a-secret"}}',
           '{"headers":{"X-One":"real-a-secret","Host":"evil.test"}}', '{"headers":{"X-One":"real-a-secret","Transfer-Encoding":"chunked"}}',
           '{"headers":{"X-One":"real-a-secret"},"headers":{}}', '{"headers":{"X-One":"real-a-secret"}} {}', "[" * 60000, '{"a":' * 12000 + "1" + "}" * 12000,
           '{"headers":{"X-One":"real-a-\\u0000secret"}}', '{"headers":{"X-One":"real-a-secret"},"expires_at":"9999999999999999999999"}']


@pytest.mark.parametrize("out", HOSTILE, ids=range(len(HOSTILE)))
def test_case83_json_that_means_harm(tmp_path, local, out):
    (tmp_path / "out").write_text(out)
    with by_helper(tmp_path, local, f"cat {tmp_path}/out; cat {tmp_path}/out >&2", output={"format": "json", "allow_headers": ["X-One"]}) as g:
        g.secrets += ["real-a-secret", "real-b-secret"]
        refused(g)
        assert not local.seen and one(g, ask(g, "/other/x")).status == 200


def test_case83_a_helper_of_64_kib(tmp_path, local):
    """The most that a helper may print is a secret like any other."""
    secret = "real-" + "k" * 65531
    (tmp_path / "out").write_text(secret)
    with by_helper(tmp_path, local, f"cat {tmp_path}/out") as g:
        assert one(g, ask(g, "/svc/x")).status == 200 and shown(local) == [f"Bearer {secret}"]


def test_case83_a_helper_cannot_forge_log_lines(tmp_path, local):
    text = "printf '\\033[31mred\\n2026-11-24T00:00:00.000Z ERROR forged line\\r\\n\\000\\377end\\n' >&2; exit 1"
    with by_helper(tmp_path, local, text) as g:
        refused(g)
        assert until(lambda: "red" in g.stderr, 3)
        data = (g.dir / "err").read_bytes()
        assert b"\x1b" not in data and b"\0" not in data and not [line for line in data.split(b"\n") if b"ERROR forged" in line[:45]], data
        (r,) = g.records(1, "capture")
        assert r["credential_capture_stderr"].startswith("\x1b[31mred\n") and b"\x1b" not in g.audit_path.read_bytes()


def test_K6_what_a_helper_gets(tmp_path, local):
    env = {"HTTPS_PROXY": "http://127.0.0.1:9", "MY_OWN": "kept", "NONO_PROXY_PASS": "pass-of-sixteen-letters"}
    text = f"env > {tmp_path}/env; readlink /proc/self/fd/0 > {tmp_path}/stdin; echo {SECRET}"
    with by_helper(tmp_path, local, text, env=env) as g:
        assert one(g, ask(g, "/svc/some/path")).status == 200
        got = (tmp_path / "env").read_text()
        assert "MY_OWN=kept" in got and "NONO_CAPTURE_CREDENTIAL=tok" in got and f"NONO_REQUEST_HOST={LOCAL}" in got
        for bad in ("NONO_TEST_KEY", "PROXY_PASS", "HTTPS_PROXY", g.token, env["NONO_PROXY_PASS"]):
            assert bad not in got, bad
        assert (tmp_path / "stdin").read_text().strip() == "/dev/null"


def test_K6_variables_of_every_reference_are_kept_from_helpers(tmp_path, local):
    hidden = {"OAUTH_ID": "real-oauth-id-4711", "OAUTH_SECRET": "real-oauth-secret-4711", "LATER_KEY": "real-later-4711", "NONO_TEST_KEY": SECRET}
    g = by_helper(tmp_path, local, f"env > {tmp_path}/env; echo {SECRET}", env=hidden)
    p = tmp_path / "p.json"
    conf = json.loads(p.read_text())
    conf["network"]["custom_credentials"]["later"] = {
        "upstream": "https://later.test", "env_var": "LATER", "auth": {"type": "oauth2", "token_url": "https://later.test/token",
                                                   "client_id": "env://OAUTH_ID", "client_secret": "env://OAUTH_SECRET"}}
    conf["env_credentials"] = {"env://LATER_KEY": "WORKLOAD_KEY"}
    p.write_text(json.dumps(conf))
    with g:
        g.secrets += list(hidden.values())
        assert one(g, ask(g, "/svc/x")).status == 200
        got = (tmp_path / "env").read_text()
        assert "NONO_CAPTURE_ROUTE=svc" in got
        for name, value in hidden.items():
            assert name not in got and value not in got, name


def reloads(g):
    return sum(r["event"] == "reload" for r in g.records(0, "lifecycle"))


def test_K6_variables_of_unasked_services_and_of_a_reload_are_kept_from_helpers(tmp_path, local):
    env = {n: f"real-secret-of-{n.lower()}" for n in ("UNASKED", "LATER_KEY")} | {"KEPT": "visible"}
    with by_helper(tmp_path, local, f"env > {tmp_path}/env; echo {SECRET}", env=env) as g:
        p = tmp_path / "p.json"
        prof = json.loads(p.read_text())
        custom = prof["network"]["custom_credentials"]
        custom["unasked"] = service(local, credential_key="env://UNASKED")
        p.write_text(json.dumps(prof))

        def given():
            (tmp_path / "env").unlink(missing_ok=True)
            n = reloads(g)
            g.proc.send_signal(1)
            assert until(lambda: reloads(g) > n)
            assert until(lambda: one(g, ask(g, "/svc/x")).status == 200 and (tmp_path / "env").exists(), 5, 0.05)
            return (tmp_path / "env").read_text()
        got = given()
        assert "KEPT=visible" in got and "LATER_KEY=" in got, got
        for name in ("UNASKED", "NONO_TEST_KEY"):
            assert f"{name}=" not in got and f"real-secret-of-{name.lower()}" not in got, name
        custom["unasked"]["credential_key"] = "env://LATER_KEY"
        p.write_text(json.dumps(prof))
        assert "LATER_KEY=" not in given()


def test_case83_a_helper_that_hangs(tmp_path, local):
    with by_helper(tmp_path, local, f"echo $$ > {tmp_path}/pid; sleep 300 & echo $! >> {tmp_path}/pid; wait", timeout_secs=1) as g:
        t = time.monotonic()
        refused(g)
        assert 0.9 < time.monotonic() - t < 5
        pids = [int(p) for p in (tmp_path / "pid").read_text().split()]
        assert len(pids) == 2 and until(lambda: not any(alive(p) for p in pids))  # the whole group
        t = time.monotonic()
        assert one(g, ask(g, "/other/x")).status == 200 and time.monotonic() - t < 1


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_case83_a_helper_that_hangs_holds_up_nobody_else(tmp_path, local):
    with by_helper(tmp_path, local, "sleep 300", "--workers", "1", timeout_secs=3) as g, g.connect() as c:
        c.send(ask(g, "/svc/x"))
        assert until(lambda: runs(tmp_path))
        t = time.monotonic()
        assert one(g, ask(g, "/other/x")).status == 200 and time.monotonic() - t < 2
        assert c.response().status == 503


def test_case83_a_helper_that_floods(tmp_path, local):
    with by_helper(tmp_path, local, f"yes {SECRET}", timeout_secs=20) as g:
        t = time.monotonic()
        refused(g)
        assert time.monotonic() - t < 10


@pytest.mark.parametrize("text", ["exit 3", "true", "kill -9 $$", "printf '\\377\\376'", f"echo {SECRET}; exit 1"])
def test_case83_a_helper_that_fails(tmp_path, local, text):
    with by_helper(tmp_path, local, text) as g:
        refused(g)
        refused(g)
        assert runs(tmp_path) == 1 and not local.seen  # a failure is kept 5 s
        assert one(g, ask(g, "/other/x")).status == 200


def documented(kind):
    """The members that docs/audit.md names for records of this type."""
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    table = text.split(f'## `"type": "{kind}"`')[1].split("| member | meaning |\n")[1].split("\n\n")[0]
    return {n for line in table.splitlines() if line.startswith("| `") for n in re.findall(r"`([a-z_]+)`", line.split("|")[1])} | {"type"}


def test_the_audit_holds_what_its_documentation_names(tmp_path, local):
    out = json.dumps({"headers": {"X-One": SECRET}})
    text = f"echo hello >&2; cat >/dev/null; cat <<'E'\n{out}\nE\n[ ! -e {tmp_path}/fail ]"
    conf = {"stdin": "request_json", "output": {"format": "json", "allow_headers": ["X-One"]}, "ttl_secs": 1}
    with by_helper(tmp_path, local, text, **conf) as g:
        assert one(g, ask(g, "/svc/p/q?secret=1")).status == 200
        (tmp_path / "fail").write_text("")
        assert until(lambda: one(g, ask(g, "/svc/p/q?secret=1")).status == 503, 5, 0.1)
        good, bad = g.records(2, "capture")[:2]
        assert good | {"timestamp_unix_ms": 0, "credential_capture_duration_ms": 0} == {
            "type": "capture", "timestamp_unix_ms": 0, "decision": "allow", "route_id": "svc", "credential_id": "svc",
            "credential_capture_action": "captured", "credential_capture_name": "tok", "credential_capture_command": f"{tmp_path}/helper",
            "credential_capture_argv": [f"{tmp_path}/helper"], "credential_capture_exit_status": 0, "credential_capture_duration_ms": 0,
            "credential_capture_stdout_bytes": len(out) + 1, "credential_capture_stderr": "hello\n", "credential_capture_cache_scope": LOCAL,
            "credential_capture_output_format": "json", "credential_capture_header_names": ["X-One"],
            "credential_capture_stdin_mode": "request_json", "credential_capture_interactive": False, "target": LOCAL, "port": None,
            "method": "GET", "path": "/p/q", "status": None, "reason": None}
        assert bad["decision"] == "deny" and bad["denial_category"] == "managed_credential_unavailable" and "exit status 1" in bad["reason"]
        assert set(good) | set(bad) == {n for n in documented("capture") if "_urls_" not in n}
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 503 and "expired" in [e["event"] for e in g.records(0, "credential")], 10, 0.3)
        events = g.records(0, "credential")
        assert events[0]["event"] == "loaded" and "failed" in [e["event"] for e in events]
        assert set().union(*events) == documented("credential")


def test_case83_a_helpers_complaint_is_logged_without_its_secret(tmp_path, local):
    with by_helper(tmp_path, local, f"echo 'log in first: {SECRET}!' >&2; echo {SECRET}; exit 1") as g:
        refused(g)
        assert until(lambda: "log in first" in g.stderr + g.audit_path.read_text(), 3)


# Not marked for TSan: libuv closes a helper's pipes by a bare system call, so TSan takes the descriptor's next user for a race.
def test_case82_one_run_for_many_who_wait(tmp_path, local):
    with by_helper(tmp_path, local, f"sleep 0.5; echo {SECRET}", "--workers", "2") as g:
        out = parallel(lambda _: one(g, ask(g, "/svc/x")).status, range(16), threads=16)
        assert list(out) == [200] * 16 and runs(tmp_path) == 1


def test_case82_helper_runs_again_after_a_401(tmp_path):
    value = file_secret(tmp_path)
    picky = Picky(SECRET)
    with Origin(picky, host=LOCAL) as o, by_helper(tmp_path, o, f"cat {value}", ttl_secs=600) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200
        picky.good = NEW
        value.write_text(NEW)
        a = one(g, ask(g, "/svc/x", "POST", body="hello"), "POST")
        assert a.status == 200 and [r["body"] for r in o.seen[1:]] == [b"hello"] * 2 and runs(tmp_path) == 2
        x = g.records(2)[-1]
        assert x["credential_version"] >= 2 and x["status"] == 200


def test_case82_expires_at_beats_the_ttl(tmp_path, local):
    out = '{"headers":{"X-One":"' + SECRET + '"},"expires_at":\'$(($(date +%s) + 2))\'}'
    with by_helper(tmp_path, local, f"echo '{out}'", ttl_secs=600, output={"format": "json", "allow_headers": ["X-One"]}) as g:
        assert one(g, ask(g, "/svc/x")).status == 200 and runs(tmp_path) == 1
        time.sleep(2.6)
        assert one(g, ask(g, "/svc/x")).status == 200 and runs(tmp_path) == 2


def test_case78_a_helper_that_is_not_there(tmp_path, local):
    with by_helper(tmp_path, local, "true", command=["/nonexistent/helper"]) as g:
        refused(g)
        assert one(g, ask(g, "/other/x")).status == 200


# ---------------------------------------------------------------- nothing is told

MODES = {"head": {}, "basic": {"inject_mode": "basic_auth"}, "path": {"inject_mode": "url_path", "path_pattern": "/k/{}/"},
         "query": {"inject_mode": "query_param", "query_param_name": "key"}}


def mirror(conn, origin):
    """Says in its status line, or in place of one, what it was asked."""
    raw, _ = read_head(conn)
    origin.raw.append(raw)
    line = raw.split(b"\r\n")[0]
    conn.sendall(line + b"\r\n\r\n" if b"/bad" in line else b"HTTP/1.1 500 " + line + b"\r\nLocation: " + line.split(b" ")[1] +
                 b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_wire_A16_no_log_level_tells_a_secret(tmp_path):
    """Every mode, with upstreams that answer, give the secret back, talk nonsense, or are not there; the gateway's own text is searched."""
    secret = f"user:{SECRET}"
    key = f"file://{file_secret(tmp_path, secret)}"
    with Origin(host=LOCAL) as good, Origin(mirror, host=LOCAL) as bad:
        gone = Origin(host=LOCAL)
        gone.__exit__()
        services = {f"{mode}-{name}": service(o, credential_key=key, env_var=f"{mode}_{name}".upper(), **conf)
                    for mode, conf in MODES.items() for name, o in (("good", good), ("bad", bad), ("gone", gone))}
        with gate(tmp_path, services, "-vvv", secret=SECRET) as g:
            g.secrets.append(secret)
            for s in services:
                for what in ("x", "bad"):
                    token = "" if not s.startswith("path") else f"k/{g.token}/"
                    query = f"?key={g.token}" if s.startswith("query") else "?a=b"
                    a = one(g, ask(g, f"/{s}/{token}{what}{query}", extra=f"Authorization: {basic('x:' + g.token)}\r\n" if s.startswith("basic") else "",
                                   token=s.startswith("head")))
                    assert a.status == (200 if s.endswith("good") else 502 if s.endswith("gone") or what == "bad" else 500), (s, what, a)
            assert SECRET in bad.raw[0].decode() and "DEBUG" in g.stderr
            assert len(g.records(24)) == 24


# ---------------------------------------------------------------- keyring

def keyring(tmp_path, text):
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "secret-tool"
    tool.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/args\n{text}\n")
    tool.chmod(0o755)
    return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


def test_keyring_by_secret_tool(tmp_path, local):
    with gate(tmp_path, {"svc": service(local, credential_key="keyring://shop/me")}, env=keyring(tmp_path, f"printf {SECRET}")) as g:
        assert [one(g, ask(g, "/svc/x")).status for _ in range(2)] == [200, 200]
        assert shown(local) == [f"Bearer {SECRET}"] * 2
        args = (tmp_path / "args").read_text()
        assert args.count("\n") == 1 and "service shop" in args and "username me" in args, args


def test_case78_keyring_without_its_tool_names_the_package(tmp_path, local):
    (tmp_path / "empty").mkdir()
    with gate(tmp_path, {"svc": service(local, credential_key="keyring://shop/me")}, env={"PATH": str(tmp_path / "empty")}) as g:
        refused(g, "libsecret-tools")
        assert not local.seen


@pytest.mark.parametrize("key,tool,text", [
    ("op://vault/item/field", "op", 'test "$*" = "read -- op://vault/item/field" && cat VALUE'),
    ("bw://item", "bw", 'test "$*" = "get password -- item" && cat VALUE'),
    ("bw://item/own", "bw", """printf '{"login":null,"fields":[{"name":"own","value":"%s"}]}' "$(cat VALUE)" """)])
def test_K5_other_stores_are_read_after_their_ttl_and_after_a_401(tmp_path, key, tool, text):
    value, picky = file_secret(tmp_path), Picky(SECRET)
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / tool
    path.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\n{text.replace('VALUE', str(value))}\n")
    path.chmod(0o755)
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    with Origin(picky, host=LOCAL) as o, gate(tmp_path, {"svc": service(o, credential_key=key, cache_ttl_secs=2)}, env=env) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200 and runs(tmp_path) == 1
        replace(value, NEW)
        picky.good = NEW
        assert one(g, ask(g, "/svc/x")).status == 200 and runs(tmp_path) == 2 and shown(o)[-2:] == [f"Bearer {SECRET}", f"Bearer {NEW}"]
        time.sleep(2.2)
        assert runs(tmp_path) == 2  # an idle gateway asks nobody
        assert one(g, ask(g, "/svc/x")).status == 200 and runs(tmp_path) == 3


# ---------------------------------------------------------------- reload

def test_SIGHUP_asks_helpers_anew(tmp_path, local):
    value = file_secret(tmp_path)
    with by_helper(tmp_path, local, f"cat {value}", ttl_secs=600) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200
        replace(value, NEW)
        assert one(g, ask(g, "/svc/x")).status == 200 and runs(tmp_path) == 1 and shown(local)[-1] == f"Bearer {SECRET}"
        g.proc.send_signal(1)
        assert until(lambda: reloads(g) == 1) and runs(tmp_path) == 1
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 200 and shown(local)[-1] == f"Bearer {NEW}", 5, 0.05) and runs(tmp_path) == 2
        value.unlink()  # the helper fails: what there was serves on
        g.proc.send_signal(1)
        assert until(lambda: reloads(g) == 2)
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 200 and runs(tmp_path) == 3, 5, 0.05)
        assert one(g, ask(g, "/svc/x")).status == 200 and shown(local)[-1] == f"Bearer {NEW}"



@pytest.mark.threads
def test_reload_under_load_loses_no_request(tmp_path, local):
    path = file_secret(tmp_path)
    with gate(tmp_path, {"svc": by_file(local, path)}, "--workers", "2") as g:
        stop, bad = threading.Event(), []

        def load():
            while not stop.is_set():
                if (a := one(g, ask(g, "/svc/x"))).status != 200:
                    bad.append(a)
        threads = [threading.Thread(target=load) for _ in range(4)]
        for t in threads:
            t.start()
        for i in range(6):
            g.secrets.append(f"real-rotated-{i}-secret")
            replace(path, g.secrets[-1])
            g.proc.send_signal(1)
            time.sleep(0.2)
        stop.set()
        for t in threads:
            t.join()
        assert not bad, bad[:2]
        assert {s for s in shown(local)} <= {f"Bearer {s}" for s in g.secrets}


def test_case129_the_banner_shows_a_missing_secret_without_where_it_lies(tmp_path):
    keys = {"op://v/i/s/f": "op://v/i/<redacted> \u2717 (credential_unavailable)", "bw://item/field": "bw://<redacted>/field \u2717 (credential_unavailable)",
            "keyring://s/acct?decode=go-keyring": "keyring://s/<redacted>?decode=go-keyring \u2717 (credential_unavailable)",
            f"file://{tmp_path}/key": f"file://{tmp_path}/[REDACTED] \u2717 (credential_not_found)", "file:///proc": "file:///[REDACTED] \u2717 (credential_unavailable)",
            "env://NONO_TEST_NONE": "env://NONO_TEST_NONE \u2717 (credential_not_found)"}
    services = {f"s{i}": {"upstream": f"https://h{i}.test", "credential_key": k, "env_var": f"V{i}"} for i, k in enumerate(keys)}
    p = tmp_path / "p.json"
    p.write_text(json.dumps({"network": {"credentials": list(services), "custom_credentials": services}}))
    with Gateway("-p", str(p), env={"PATH": "/nonexistent"}) as g:
        rows = [line.split(" | ")[1] for line in g.banner.splitlines() if " | creds: " in line]
        assert rows == ["creds: " + text for text in keys.values()] and " export V" not in g.banner
