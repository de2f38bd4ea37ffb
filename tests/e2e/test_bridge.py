"""Helpers that open URLs in a browser: what they get, which URLs pass, how the socket takes bad requests, and that nothing stays behind."""
import atexit
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from gateway import BINARY, Gateway, one, run, until
from test_reverse import LOCAL, SECRET, ask, gate, local, service  # noqa: F401 (local: a fixture)
from test_sources import alive, by_helper, refused, runs

GOOD = "https://login.example.com"


class Desk:
    """A directory for the gateway's temporary files, and an xdg-open first in PATH that records its argument, environment and descriptors."""

    def __init__(self, tmp_path, opener=""):
        self.dir, self.bin = tmp_path, tmp_path / "deskbin"
        self.tmp = Path(tempfile.mkdtemp(prefix="nono-d-"))  # a socket's path is short
        atexit.register(shutil.rmtree, self.tmp, True)
        self.bin.mkdir()
        tool = self.bin / "xdg-open"
        tool.write_text(f"#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done >> {tmp_path}/opened\nenv > {tmp_path}/opener-env\n"
                        f"fds=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2)\necho $fds > {tmp_path}/opener-fds\necho $$ > {tmp_path}/opener-pid\n{opener}\n")
        tool.chmod(0o755)
        self.env = {"PATH": f"{self.bin}:{os.environ['PATH']}", "TMPDIR": str(self.tmp), "XDG_RUNTIME_DIR": ""}

    @property
    def opened(self):
        p = self.dir / "opened"
        return p.read_text().splitlines() if p.exists() else []

    @property
    def left(self):
        return sorted(str(p.relative_to(self.tmp)) for p in self.tmp.rglob("*"))

    def empty(self):
        return until(lambda: not self.left, 5)


def urls(*origins, localhost=False, **more):
    return {"open_urls": {"allow_origins": list(origins) or [GOOD], "allow_localhost": localhost}} | more


def bridged(tmp_path, origin, desk, text, *flags, interaction=None, env=None, timeout_secs=60, **conf):
    return by_helper(tmp_path, origin, text, *flags, env=desk.env | (env or {}), interaction=interaction or urls(), timeout_secs=timeout_secs,
                     **conf)


def served(g):
    a = one(g, ask(g, "/svc/x"), wait=60)
    assert a.status == 200, a
    return a


def run_record(g):
    (r,) = g.records(1, "capture")
    return r


# ---------------------------------------------------------------- the whole way

@pytest.mark.parametrize("command", ["$BROWSER", "nono-browser", f"{BINARY} open-url-helper"])
def test_a_helper_opens_a_url(tmp_path, local, command):  # noqa: F811
    desk, url = Desk(tmp_path), GOOD + "/auth?state=a%20b&x='$(id)';#frag"
    (tmp_path / "url").write_text(url)
    with bridged(tmp_path, local, desk, f'{command} "$(cat {tmp_path}/url)" > {tmp_path}/said 2>&1; echo $? > {tmp_path}/code; echo {SECRET}',
                 env={"NONO_LOG": "info"}) as g:
        served(g)
        assert desk.opened == [url] and (tmp_path / "code").read_text() == "0\n" and (tmp_path / "said").read_text() == ""
        assert (tmp_path / "opener-fds").read_text().split() == ["/dev/null"] * 3
        got = (tmp_path / "opener-env").read_text()
        for bad in ("NONO_TEST_KEY", "NONO_SUPERVISOR_PATH", "BROWSER=", g.token, SECRET):
            assert bad not in got, bad
        assert desk.empty()
        r = run_record(g)
        assert r["credential_capture_action"] == "captured" and r["credential_capture_interactive"] is True
        assert (r["credential_capture_urls_opened"], r["credential_capture_urls_refused"]) == (1, 0)
        assert GOOD in g.stderr and "state=" not in g.stderr + g.audit_path.read_text()


def test_what_the_helper_gets(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    text = (f"env > {tmp_path}/env; stat -c '%a %u' \"$NONO_SUPERVISOR_PATH\" \"$BROWSER\" \"$(dirname $BROWSER)\" > {tmp_path}/modes; "
            f"cat \"$BROWSER\" > {tmp_path}/launcher; echo {SECRET}")
    with bridged(tmp_path, local, desk, text, env={"NONO_SUPERVISOR_PATH": "/elsewhere"}) as g:
        served(g)
        env = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
        folder = os.path.dirname(env["BROWSER"])
        assert os.path.dirname(folder) == str(desk.tmp) and env["BROWSER"] == folder + "/nono-browser"
        assert env["PATH"] == f"{folder}:{desk.env['PATH']}" and env["NONO_SUPERVISOR_PATH"] == folder + "/supervisor.sock"
        me = os.geteuid()
        assert (tmp_path / "modes").read_text().splitlines() == [f"600 {me}", f"700 {me}", f"700 {me}"]
        assert f"NONO_SUPERVISOR_PATH='{folder}/supervisor.sock'" in (tmp_path / "launcher").read_text()
        assert desk.empty()


def test_without_open_urls_there_is_no_bridge(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    env = desk.env | {"NONO_SUPERVISOR_PATH": "/elsewhere", "NONO_CAPTURE_ALLOW_LAUNCH_SERVICES": "1"}
    with by_helper(tmp_path, local, f"env > {tmp_path}/env; ls -A {desk.tmp} > {tmp_path}/ls; echo {SECRET}", env=env,
                   interaction={"allow_launch_services": False}) as g:
        served(g)
        got = (tmp_path / "env").read_text()
        assert "NONO_SUPERVISOR_PATH" not in got and "BROWSER=" not in got and "LAUNCH_SERVICES" not in got
        assert (tmp_path / "ls").read_text() == "" and "credential_capture_urls_opened" not in run_record(g)


def test_each_run_has_its_own(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    with bridged(tmp_path, local, desk, f"echo $BROWSER >> {tmp_path}/seen; echo {SECRET}", ttl_secs=0) as g:
        served(g), served(g)
        seen = (tmp_path / "seen").read_text().split()
        assert len(set(seen)) == 2 and desk.empty()


# ---------------------------------------------------------------- which URLs

REFUSED = [
    "http://login.example.com/", "https://login.example.com:8443/", "https://evil.test/", "https://login.example.com.evil.test/",
    "https://login.example.com@evil.test/", "https://me:pw@login.example.com/", "https://evil.test#@login.example.com", "https:login.example.com",
    "https:///login.example.com/", "https://evil.test\\@login.example.com/", "https://login.example.com/\\x", "https://login.example.com/ x",
    "https://login.example.com/\tx", "https://login.example.com/\x7f", "https://login.example.com/\u00e9", "https://login.exa\u00admple.com/",
    "https://%6cogin.example.com/", "file:///etc/passwd", "javascript:alert(1)", "--help", "login.example.com", "https://login.example.com:0/",
    "https://login.example.com:99999/", "https://127.1/", "https://localhost/", "http://127.0.0.1:80/", "https://[::1]/",
    "https://login.example.com/" + "a" * 8192, "https://login.example.com/\"", "https://login.example.com/<x>",
]
PASS = [GOOD, GOOD + "/", GOOD + ":443/x", GOOD + "?q", "HTTPS://LOGIN.example.com./x", "https://other.test:8443/x#y", GOOD + "/" + "a" * 8000]


def test_which_urls_are_opened(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    (tmp_path / "list").write_bytes(b"".join(u.encode() + b"\0" for u in REFUSED + PASS))
    text = f"xargs -0 -n 1 sh -c '\"$BROWSER\" \"$1\"; echo \"=$?\"' x < {tmp_path}/list > {tmp_path}/out 2>&1; echo {SECRET}"
    origins = [GOOD, "https://other.test:8443/", "http://login.example.com", "https://evil.test/path"]
    with bridged(tmp_path, local, desk, text, interaction=urls(*origins)) as g:
        served(g)
        out = (tmp_path / "out").read_text()
        codes = [line[1:] for line in out.splitlines() if line.startswith("=")]
        assert codes == ["1"] * len(REFUSED) + ["0"] * len(PASS), out
        assert desk.opened == PASS
        assert out.count("nono: the URL was not opened: ") == len(REFUSED) and "allow_origins" in out and "allow_localhost" in out
        r = run_record(g)
        assert (r["credential_capture_urls_opened"], r["credential_capture_urls_refused"]) == (len(PASS), len(REFUSED))


def test_localhost_when_it_is_allowed(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    good = ["http://localhost:8080/cb", "https://localhost/", "http://127.0.0.1:9/", "http://[::1]:9/x", "http://LOCALHOST./"]
    bad = ["http://127.0.0.2/", "http://x.localhost/", "ftp://localhost/", "http://localhost@evil.test/", GOOD]
    text = f"for u in {' '.join(good)}; do $BROWSER $u || exit 1; done; for u in {' '.join(bad)}; do $BROWSER $u && exit 1; done; echo {SECRET}"
    with bridged(tmp_path, local, desk, text, interaction={"open_urls": {"allow_localhost": True}}) as g:
        served(g)
        assert desk.opened == good


def test_conditional_origins(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    origins = [{"origin": "https://linux.test", "when": "linux"}, {"origin": "https://mac.test", "when": "macos"}]
    text = f"$BROWSER https://linux.test/ || exit 1; $BROWSER https://mac.test/ && exit 1; echo {SECRET}"
    with bridged(tmp_path, local, desk, text, interaction=urls(*origins)) as g:
        served(g)
        assert desk.opened == ["https://linux.test/"]


# ---------------------------------------------------------------- the opener

def opener_says(tmp_path, local, opener, path=None):  # noqa: F811
    desk = Desk(tmp_path, opener)
    text = f"$BROWSER {GOOD}/ > {tmp_path}/said 2>&1; echo $? > {tmp_path}/code; echo {SECRET}"
    with bridged(tmp_path, local, desk, text, env={"PATH": path} if path else None) as g:
        served(g)
        return (tmp_path / "said").read_text(), int((tmp_path / "code").read_text())


def test_an_opener_that_fails(tmp_path, local):  # noqa: F811
    said, code = opener_says(tmp_path, local, "exit 3")
    assert code == 1 and "xdg-open ended with exit status 3" in said


def test_no_opener_names_the_package(tmp_path, local):  # noqa: F811
    few = tmp_path / "few"
    few.mkdir()
    for tool in ("sh", "env", "cat", "readlink"):
        (few / tool).symlink_to(f"/usr/bin/{tool}")
    said, code = opener_says(tmp_path, local, "", path=str(few))
    assert code == 1 and "xdg-open is not installed: install the package xdg-utils" in said


def test_an_opener_that_is_the_browser_itself_is_left_alone(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path, "exec sleep 300")
    with bridged(tmp_path, local, desk, f"$BROWSER {GOOD}/ || exit 1; echo {SECRET}") as g:
        try:
            with g.connect(60) as c:
                c.send(ask(g, "/svc/x"))
                assert until(lambda: (tmp_path / "opener-pid").exists() and (tmp_path / "opener-pid").read_text())
                pid = int((tmp_path / "opener-pid").read_text())
                assert one(g, ask(g, "/other/x")).status == 200  # nobody waits for it
                assert c.response().status == 200
            assert desk.empty() and alive(pid)
            g.stop()
            assert alive(pid)
        finally:
            os.kill(int((tmp_path / "opener-pid").read_text()), signal.SIGKILL)


def test_an_opener_that_ends_is_reaped(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    with bridged(tmp_path, local, desk, f"$BROWSER {GOOD}/ || exit 1; echo {SECRET}") as g:
        served(g)
        pid = int((tmp_path / "opener-pid").read_text())
        assert until(lambda: not os.path.exists(f"/proc/{pid}"), 5)


# ---------------------------------------------------------------- the socket

class Peer:
    """Speaks to the bridge of a helper that waits."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(30)
        self.s.connect(path)

    def send(self, data):
        self.s.sendall(data)
        return self

    def frame(self, data):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        return self.send(struct.pack(">I", len(data)) + data)

    def end(self):
        """Everything that comes until the end."""
        data = b""
        try:
            while d := self.s.recv(65536):
                data += d
        except ConnectionResetError:
            pass
        self.s.close()
        return data

    def answer(self):
        data = self.end()
        (n,) = struct.unpack(">I", data[:4])
        assert len(data) == n + 4
        answer = json.loads(data[4:])
        assert set(answer) == {"UrlOpened"} and set(answer["UrlOpened"]) == {"request_id", "success", "error"}
        return answer["UrlOpened"]


def request(url=GOOD + "/", **more):
    return {"OpenUrl": {"request_id": "r-1", "url": url, "child_pid": 1, "session_id": "s"} | more}


class Waiting:
    """A gateway whose helper waits for the file `go`: the bridge is open meanwhile."""

    def __init__(self, tmp_path, origin, opener="", **conf):
        self.tmp_path, self.desk = tmp_path, Desk(tmp_path, opener)
        text = f"echo $NONO_SUPERVISOR_PATH > {tmp_path}/path; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo {SECRET}"
        self.gateway = bridged(tmp_path, origin, self.desk, text, **conf)

    def __enter__(self):
        self.g = self.gateway.__enter__()
        self.client = self.g.connect(60).send(ask(self.g, "/svc/x"))
        assert until(lambda: (self.tmp_path / "path").exists() and (self.tmp_path / "path").read_text().endswith("\n"))
        self.path = (self.tmp_path / "path").read_text().strip()
        return self

    def peer(self):
        return Peer(self.path)

    def go(self):
        (self.tmp_path / "go").touch()
        return self.client.response()

    def __exit__(self, *e):
        self.client.close()
        return self.gateway.__exit__(*e)


def test_the_protocol(tmp_path, local):  # noqa: F811
    with Waiting(tmp_path, local) as w:
        assert w.peer().frame(request()).answer() == {"request_id": "r-1", "success": True, "error": None}
        assert w.peer().frame(request(request_id="\u00e9\"\\", more=[1])).answer() == {"request_id": "\u00e9\"\\", "success": True, "error": None}
        no = w.peer().frame(request("https://evil.test/")).answer()
        assert no["request_id"] == "r-1" and no["success"] is False and "https://evil.test" in no["error"]
        p, data = w.peer(), json.dumps(request(GOOD + "/bytewise")).encode()
        for b in struct.pack(">I", len(data)) + data:
            p.send(bytes([b]))
            time.sleep(0.001)
        assert p.answer()["success"] is True
        many = [w.peer() for _ in range(6)]  # several at once, the last first
        for p in reversed(many):
            p.frame(request(GOOD + "/many"))
        assert all(p.answer()["success"] for p in many)
        assert w.desk.opened == [GOOD + "/"] * 2 + [GOOD + "/bytewise"] + [GOOD + "/many"] * 6
        assert w.go().status == 200 and w.desk.empty()


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"[]", b"nonsense", b"\xff\xfe", b'{"OpenUrl":[]}', b'{"OpenUrl":{"request_id":"x"}}',
                                  b'{"OpenUrl":{"url":"https://login.example.com/"}}', b'{"OpenUrl":{"request_id":1,"url":"https://login.example.com/"}}',
                                  b'{"OpenUrl":{"request_id":"x","url":["https://login.example.com/"]}}',
                                  b'{"RequestCapability":{"request_id":"x","url":"https://login.example.com/"}}',
                                  b'{"OpenUrl":{"request_id":"x","url":"https://login.example.com/\\u0000"}}',
                                  json.dumps(request(request_id="i" * 300)).encode(), b"[" * 1000 + b"]" * 1000])
def test_foreign_requests_are_refused(tmp_path, local, data):  # noqa: F811
    with Waiting(tmp_path, local) as w:
        a = w.peer().frame(data).answer()
        assert a["success"] is False and a["error"]
        assert w.peer().frame(request()).answer()["success"] is True  # the next one is served
        assert w.desk.opened == [GOOD + "/"] and w.go().status == 200


def test_the_budgets_of_a_run(tmp_path, local):  # noqa: F811
    with Waiting(tmp_path, local) as w:
        big = w.peer().send(struct.pack(">I", 65537) + b"x" * 100)
        assert b"64 KiB" in big.end()
        idle = [w.peer() for _ in range(30)]  # more than are served at once: the others wait, and nobody is hurt
        t = time.monotonic()
        assert one(w.g, ask(w.g, "/other/x")).status == 200 and time.monotonic() - t < 5
        for p in idle:
            p.s.close()
        answers = [w.peer().frame(request()).answer() for _ in range(17)]
        assert [a["success"] for a in answers] == [True] * 16 + [False] and "already" in answers[-1]["error"]
        assert len(w.desk.opened) == 16
        for _ in range(64):
            try:
                w.peer().frame(request()).end()
            except OSError:
                break
        else:
            pytest.fail("a helper may ask for ever")
        assert w.go().status == 200 and w.desk.empty()


def test_a_peer_that_says_nothing_is_cut_off(tmp_path, local):  # noqa: F811
    with Waiting(tmp_path, local) as w:
        half = w.peer().send(b"\0\0")
        t = time.monotonic()
        assert half.end() == b"" and time.monotonic() - t > 5
        assert w.go().status == 200


# ---------------------------------------------------------------- nothing stays behind

def test_case83_a_helper_that_hangs_leaves_nothing(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    with bridged(tmp_path, local, desk, f"ls {desk.tmp}/* > {tmp_path}/ls; sleep 300", timeout_secs=1) as g:
        refused(g, "took too long")
        assert (tmp_path / "ls").read_text().split() == ["nono-browser", "supervisor.sock"]
        assert desk.empty()
        assert until(lambda: g.descriptors() <= g.fds_at_start + 2, 5)


def test_a_helper_that_fails_leaves_nothing(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    with bridged(tmp_path, local, desk, "exit 3") as g:
        refused(g, "exit status 3")
        assert desk.empty()


def test_a_client_that_leaves_takes_the_bridge_with_it(tmp_path, local):  # noqa: F811
    with Waiting(tmp_path, local) as w:
        p = w.peer().send(b"\0")
        w.client.reset()
        assert p.end() == b"" and w.desk.empty()


@pytest.mark.parametrize("signals", [1, 2])
def test_the_gateways_end_leaves_nothing(tmp_path, local, signals):  # noqa: F811
    with Waiting(tmp_path, local) as w:
        p = w.peer().send(b"\0")
        assert w.desk.left
        if signals == 1:
            w.client.reset()
        else:
            w.g.proc.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        w.g.stop()
        assert w.desk.empty() and p.end() == b""


def test_a_bridge_that_cannot_be_built(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    with bridged(tmp_path, local, desk, f"echo {SECRET}", env={"TMPDIR": str(tmp_path / "absent")}) as g:
        reason = refused(g, "open_urls", "set TMPDIR to a short path")
        assert "No such file" in reason and runs(tmp_path) == 0
        r = run_record(g)
        assert r["credential_capture_action"] == "browser_setup_failed" and str(tmp_path)[:40] in r["reason"] and r["decision"] == "deny"
        assert one(g, ask(g, "/other/x")).status == 200


def test_another_folder_when_the_first_is_of_no_use(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    deep = tmp_path / ("d" * 120)  # too long for a socket's path
    deep.mkdir()
    with bridged(tmp_path, local, desk, f"$BROWSER {GOOD} || exit 1; echo {SECRET}", env={"TMPDIR": str(deep), "XDG_RUNTIME_DIR": str(desk.tmp)}) as g:
        served(g)
        assert desk.opened == [GOOD] and desk.empty() and not list(deep.iterdir())


def test_other_users_are_not_served(tmp_path, local):  # noqa: F811
    with Waiting(tmp_path, local) as w:
        for path, mode in ((w.desk.tmp, 0o711), (os.path.dirname(w.path), 0o711), (w.path, 0o777)):  # as if modes had not kept them out
            os.chmod(path, mode)
        pid = os.fork()
        if pid == 0:
            code = 9
            try:
                os.setuid(65534)
                code = 1 if Peer(w.path).frame(request()).end() else 0
            except (BrokenPipeError, ConnectionResetError):
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert w.peer().frame(request()).answer()["success"] is True and len(w.desk.opened) == 1
        assert w.go().status == 200


# ---------------------------------------------------------------- the rest of `interaction`

@pytest.mark.parametrize("bridge", [True, False])
def test_the_provider_document(tmp_path, local, bridge):  # noqa: F811
    desk = Desk(tmp_path)
    text = f"cat > {tmp_path}/doc; echo $BROWSER > {tmp_path}/browser; echo '{{\"material\":{{\"type\":\"secret\",\"value\":\"{SECRET}\"}}}}'"
    conf = {"command": [], "provider": {"command": [str(tmp_path / "helper")], "config": {"a": [1]}}}
    with bridged(tmp_path, local, desk, text, interaction=urls() if bridge else {"stdin": True}, **conf) as g:
        served(g)
        doc = json.loads((tmp_path / "doc").read_text())
        browser = (tmp_path / "browser").read_text().strip()
        session = doc.pop("session_id")
        assert len(session) == 16 and int(session, 16) >= 0
        assert doc == {"protocol": "nono.credential-provider.v1", "credential_name": "tok", "route_id": "svc", "request_host": LOCAL,
                       "request_path": "/x", "request_method": "GET", "cache_scope": LOCAL, "config": {"a": [1]},
                       "interaction": {"open_url_helper": browser, "supervisor_socket": os.path.dirname(browser) + "/supervisor.sock"}
                       if bridge else {}}


def test_the_request_document_has_no_interaction(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    with bridged(tmp_path, local, desk, f"cat > {tmp_path}/doc; echo {SECRET}", stdin="request_json") as g:
        served(g)
        assert set(json.loads((tmp_path / "doc").read_text())) == {"session_id", "credential_name", "route_id", "request_host", "request_path",
                                                                   "request_method", "cache_scope"}


def test_stdio_is_the_gateways_stderr(tmp_path, local):  # noqa: F811
    with by_helper(tmp_path, local, f"echo 'touch your key' >&2; echo {SECRET}", interaction={"stdio": True}) as g:
        served(g)
        assert until(lambda: "touch your key\n" in g.stderr)
        assert "credential_capture_stderr" not in run_record(g) and run_record(g)["credential_capture_interactive"] is True


class Typed(Gateway):
    """With a pipe for stdin."""

    def __enter__(self):
        real, (r, self.typed) = subprocess.Popen, os.pipe()
        try:
            subprocess.Popen = lambda *a, **k: real(*a, **(k | {"stdin": r}))
            return super().__enter__()
        finally:
            subprocess.Popen = real
            os.close(r)


@pytest.mark.parametrize("interaction, stdin, typed", [({"stdin": True}, "null", True), ({"stdio": True}, "null", False),
                                                       ({"stdin": True}, "request_json", False)])
def test_stdin_is_the_gateways(tmp_path, local, interaction, stdin, typed):  # noqa: F811
    g = by_helper(tmp_path, local, f"read line; echo \"$line\" > {tmp_path}/line; echo {SECRET}", interaction=interaction, stdin=stdin, timeout_secs=20)
    g.__class__ = Typed
    with g:
        os.write(g.typed, b"yes, 4711\n")
        served(g)
        assert ((tmp_path / "line").read_text() == "yes, 4711\n") is typed
        os.close(g.typed)


def test_one_that_may_use_the_terminal_is_killed_by_pid(tmp_path, local):  # noqa: F811
    text = f"echo $$ $(cut -d' ' -f5 /proc/$$/stat) > {tmp_path}/pid; exec sleep 300"
    with by_helper(tmp_path, local, text, interaction={"stdio": True}, timeout_secs=1) as g:
        refused(g, "took too long")
        pid, group = map(int, (tmp_path / "pid").read_text().split())
        assert group == g.proc.pid and until(lambda: not alive(pid), 5)
        assert one(g, ask(g, "/other/x")).status == 200


# ---------------------------------------------------------------- the command

def test_the_command_by_itself(tmp_path):
    code, out, err = run("open-url-helper", GOOD)
    assert code == 1 and out == "" and "NONO_SUPERVISOR_PATH is not set" in err
    code, out, err = run("open-url-helper", GOOD, env={"NONO_SUPERVISOR_PATH": str(tmp_path / "none")})
    assert code == 1 and "does not answer" in err and "No such file" in err
    code, out, err = run("open-url-helper", GOOD, env={"NONO_SUPERVISOR_PATH": "/" + "x" * 200})
    assert code == 1 and "too long" in err
    assert run("open-url-helper")[0] == 2 and run("open-url-helper", "--port", "1", GOOD)[0] == 2
    code, out, err = run("open-url-helper", "--help")
    assert code == 0 and "open_urls" in out
    assert "open-url-helper" not in run("--help")[1]


@pytest.mark.parametrize("answer", [b"", b"\0\0", struct.pack(">I", 70000), struct.pack(">I", 3) + b"{}}", struct.pack(">I", 2) + b"{}",
                                    struct.pack(">I", 65) + b'{"UrlOpened":{"request_id":"other","success":true,"error":null     }}'[:65]])
def test_the_command_and_a_gateway_that_talks_nonsense(tmp_path, answer):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path), s.listen()

        def serve():
            c, _ = s.accept()
            c.recv(65536), c.sendall(answer), c.close()
        t = threading.Thread(target=serve)
        t.start()
        code, out, err = run("open-url-helper", GOOD, env={"NONO_SUPERVISOR_PATH": path})
        t.join()
        assert code == 1 and err.startswith("nono: the URL was not opened: "), err


def test_several_urls_fail_if_one_does(tmp_path, local):  # noqa: F811
    desk = Desk(tmp_path)
    with bridged(tmp_path, local, desk, f"$BROWSER {GOOD}/1 https://evil.test {GOOD}/2 2> {tmp_path}/said && exit 1; echo {SECRET}") as g:
        served(g)
        assert desk.opened == [GOOD + "/1", GOOD + "/2"] and (tmp_path / "said").read_text().count("\n") == 1
