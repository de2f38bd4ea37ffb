"""The command line end to end: every option and its variable, every mistake's sentence, banner, env-file, JSON, logs."""
import json
import os
import pty
import re
import signal
import stat
import subprocess
import time

import pytest
from dns import ns  # noqa: F401
from gateway import BINARY, Gateway, Origin, clean_env, connect_head, free_port, get, one, read_head, run, serving, until
from tools import Process, Steps, banner, listens, port_of, raw_get

CASE = pytest.mark.parametrize
OPTIONS = {"--listen": "NONO_LISTEN", "--port": "NONO_PORT", "--server-name": "NONO_SERVER_NAME", "--pass": "NONO_PROXY_PASS", "--no-auth": None,
           "--max-connections": "NONO_PROXY_MAX_CONNECTIONS", "--allow-domain": "NONO_ALLOW_DOMAIN", "--deny-domain": "NONO_DENY_DOMAIN",
           "--upstream-proxy": "NONO_UPSTREAM_PROXY", "--upstream-bypass": "NONO_UPSTREAM_BYPASS", "--timeout": "NONO_TIMEOUT",
           "--drain-timeout": "NONO_DRAIN_TIMEOUT", "--workers": "NONO_WORKERS", "--audit-log": "NONO_AUDIT_LOG", "--audit-fail-closed": None,
           "--output": "NONO_OUTPUT", "--env-file": "NONO_ENV_FILE", "--log-format": "NONO_LOG_FORMAT", "--log-file": "NONO_LOG_FILE",
           "--verbose": None, "--silent": None, "--help": None, "--version": None}


@pytest.fixture(scope="module")
def o():
    with Origin(serving({})) as origin:
        yield origin


def curl(url, proxy, *a):
    return subprocess.run(["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "", "-x", proxy, *a, url], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"]}).stdout


def statuses(g, *targets):
    return [one(g, connect_head(t, g.basic if g.token else None), "CONNECT").status for t in targets]


# ---- help and version

@CASE("args", [["--help"], ["-h"], ["help"], ["proxy", "--help"], ["proxy", "-h"], ["help", "proxy"], ["proxy", "--port", "0", "-h"], ["-h", "proxy"]])
def test_O8_help_goes_to_stdout_with_0(args):
    code, out, err = run(*args)
    assert code == 0 and len(out) > 200 and not err and "\x1b" not in out


@CASE("args", [["--version"], ["-V"], ["proxy", "-V"], ["proxy", "--version"], ["proxy", "--port", "0", "-V"]])
def test_O8_version(args):
    code, out, err = run(*args)
    assert code == 0 and re.fullmatch(r"nono \d+\.\d+\S*\n", out) and not err


def test_case_95_O9_help_names_every_option_its_variable_and_default():
    out = run("proxy", "--help")[1]
    for option, variable in OPTIONS.items():
        assert option in out and (variable or "") in out, option
    for default in ("127.0.0.1", "a random token", "10", "usable cores", "(descriptor limit - 512) / 2", "head=", "tunnel="):
        assert default in out, default


def test_nono_alone_is_help_and_an_unknown_command_a_usage_error_with_a_suggestion():
    code, out, err = run()
    assert code in (0, 2) and "proxy" in out + err
    code, out, err = run("prox")
    assert code == 2 and "'prox'" in err and "proxy" in err.split("'prox'")[1] and not out


# ---- mistakes

@CASE("args, say", [
    (["--no-such-option"], "--no-such-option"), (["-Z"], "-Z"), (["extra"], "extra"), (["--", "extra"], "extra"), (["--allow-dom", "x"], "--allow-domain"),
    (["--alow-domain", "x"], "--allow-domain"), (["--max-connection", "1"], "--max-connections"), (["--noauth"], "--no-auth"), (["--port"], "--port"),
    (["--allow-domain", "--port"], "--allow-domain"), (["--port", "x"], "0 to 65535"), (["--port", "65536"], "65535"), (["--port=-1"], "65535"), (["--port="], "--port"),
    (["--port", "0", "--port", "0"], "--port"), (["--no-auth=yes"], "--no-auth"), (["--listen", "localhost"], "localhost"), (["--listen", "1.2.3"], "1.2.3"),
    (["--listen", "1.2.3.4:99999"], "99999"), (["--listen", "[::1"], "[::1"), (["--max-connections", "many"], "0 is unlimited"), (["--output", "xml"], "text or json"),
    (["--log-format", "xml"], "text or json"), (["--drain-timeout", "soon"], "seconds"), (["--drain-timeout=-1"], "seconds"), (["--workers", "x"], "1 to 1024"),
    (["--workers", "9999"], "1 to 1024"), (["--timeout", "connect"], "NAME=SECONDS"), (["--timeout", "conect=1"], "connect"), (["--timeout", "connect=0"], "above 0"),
    (["--timeout", "connect=x"], "seconds"), (["--timeout", "idle=1", "--timeout", "idle=2"], "twice"), (["--allow-domain", ""], "--allow-domain"),
    (["--upstream-proxy", ""], "--upstream-proxy"), (["--deny-domain="], "--deny-domain"), (["--upstream-bypass", " , "], "--upstream-bypass"),
    (["--pass", "a\nb"], "control"), (["--pass", "a\x7fb"], "control"), (["--no-auth", "--pass", "x"], "exclude"), (["--server-name", "a b"], "a b"),
    (["--silent=1"], "--silent"), (["--env-file", ""], "--env-file"), (["--audit-log", "fd:x"], "fd:N")])
def test_usage_errors_are_2_on_stderr_and_say_what(args, say):
    code, out, err = run("proxy", *args)
    assert code == 2 and say in err and not out and "\x1b" not in err and len(err) < 2000, (code, err)


@CASE("args, say", [
    (["--pass", ""], "--pass"), (["--allow-domain", "*corp"], "*corp"), (["--allow-domain", "a.*.test"], "a.*.test"), (["--allow-domain", "x.test:0"], "x.test:0"),
    (["--allow-domain", "127.1"], "127.1"), (["--deny-domain", "0x7f.1"], "0x7f.1"), (["--allow-domain", "x..test"], "x..test"), (["--allow-domain", "10.0.0.1/8"], "10.0.0.1/8"),
    (["--allow-domain", "10.0.0.0/33"], "10.0.0.0/33"), (["--listen", "0.0.0.0", "--no-auth"], "--no-auth"), (["--listen", "10.55.0.1", "--no-auth"], "10.55.0.1"),
    (["--listen", "10.9.9.9"], "10.9.9.9"), (["--env-file", "/no/such/dir/env"], "/no/such/dir/env"), (["--audit-log", "/no/such/dir/a"], "/no/such/dir/a"),
    (["--upstream-bypass", "x.test"], "--upstream-proxy"), (["--upstream-proxy", "p.test"], "port is missing")])
def test_configuration_errors_are_1_and_name_the_place(args, say):
    code, out, err = run("proxy", "--port", "0", *args)
    assert code == 1 and say in err and not out and len(err.splitlines()) <= 3, (code, err)
    if args[0] in ("--allow-domain", "--deny-domain"):
        assert args[0] in err


@CASE("args, say", [
    (["--allow-domain", "a.test,b.test"], "repeat the option"), (["--allow-domain", "x.test/path"], "write https://x.test/path"), (["--deny-domain", "x.test/path"], "host alone"),
    (["--listen", "10.77.0.1"], "listen on 10.77.0.1: no interface"), (["--upstream-proxy", "p.test"], "--upstream-proxy: the port is missing"),
    (["--audit-log", "/no/such/dir/a"], "--audit-log: cannot open"), (["--server-name", "a:80"], "without a port"), (["--timeout", "dns=1,connect=2"], "repeat the option"),
    (["--deny-domain", "https://x.test"], "a URL is not accepted here"), (["--allow-domain", "https://x.test/a?q"], "query"), (["--env-file", "-"], "--output json"),
    (["--audit-log", "fd:77"], "--audit-log")])
def test_messages_say_what_to_write_instead(args, say):
    code, out, err = run("proxy", *([] if "--listen" in args else ["--port", "0"]), *args)
    assert code in (1, 2) and say in err and not out and "upstream proxy: " not in err, err


def test_a_file_in_the_place_of_a_socket_is_named(tmp_path):
    (tmp_path / "s").write_text("x")
    code, _, err = run("proxy", "--listen", f"unix:{tmp_path}/s")
    assert code == 1 and "no socket" in err and (tmp_path / "s").read_text() == "x"


def test_a_misspelt_group_of_commands_is_recognised():
    assert "did you mean 'nono profile'?" in run("profle", "list")[2]


def test_a_guessable_password_is_warned_of_and_silent_hides_it(tmp_path):
    for args, env, want in ((["--pass", "short"], {}, "--pass"), ([], {"NONO_PROXY_PASS": "1234567"}, "NONO_PROXY_PASS"), (["--pass", "long enough"], {}, ""), (["-s", "--pass", "x"], {}, "")):
        with Process("proxy", "--port", "0", "--env-file", str(tmp_path / "e"), *args, tmp=tmp_path, env=env, ready=lambda p: (tmp_path / "e").exists()) as p:
            p.end()
            assert (f"  [nono] {want}: the password is shorter than 8 bytes" in p.err if want else "password" not in p.err), p.err
        (tmp_path / "e").unlink()


def test_the_banner_tells_of_the_bypass_list_and_the_env_file(tmp_path):
    with Gateway("--upstream-proxy", "127.0.0.1:1", "--upstream-bypass", "a.test,*.b.test", "--env-file", str(tmp_path / "e")) as g:
        assert re.search(r"upstream proxy: 127\.0\.0\.1:1 .*, but not for a\.test, \*\.b\.test\n", g.banner), g.banner
        assert f"also in {tmp_path}/e\n" in g.banner


@CASE("name, value, code", [("NONO_PORT", "x", 2), ("NONO_LISTEN", "here", 2), ("NONO_WORKERS", "x", 2), ("NONO_DRAIN_TIMEOUT", "x", 2), ("NONO_TIMEOUT", "x=1", 2),
                            ("NONO_OUTPUT", "xml", 2), ("NONO_LOG_FORMAT", "x", 2), ("NONO_LOG", "loud", 2), ("NONO_PROXY_MAX_CONNECTIONS", "x", 2), ("NONO_ALLOW_DOMAIN", "*corp", 1),
                            ("NONO_DENY_DOMAIN", "a..b", 1), ("NONO_UPSTREAM_PROXY", "x", 1), ("NONO_PROFILE", "no-such-profile", 1), ("NONO_NETWORK_PROFILE", "no-such-profile", 1)])
def test_O9_a_bad_variable_is_named(name, value, code):
    got, out, err = run("proxy", *([] if name == "NONO_PORT" else ["--port", "0"]), env={name: value})
    assert got == code and (name in err or "no-such-profile" in err) and not out, (got, err)


@CASE("name", [v for v in OPTIONS.values() if v] + ["NONO_LOG", "NONO_PROFILE", "NONO_NETWORK_PROFILE", "NONO_ALLOW_PROXY", "NONO_THEME"])
def test_H10_an_empty_variable_counts_as_unset(name, o):
    with Gateway("--port", "0", env={name: ""}) as g:
        assert statuses(g, o.netloc) == [200] and len(g.token) == 64 and not g.stderr


# ---- every option has its effect, by flag and by variable (case 95, O9)

def test_allow_and_deny_by_flag_alias_and_variable(o):
    want = [200, 403]
    for args, env in ((["--allow-domain", "10.55.0.1"], {}), (["--allow-domain=10.55.0.1"], {}), (["--allow-proxy", "10.55.0.1"], {}), (["--proxy-allow=10.55.0.1"], {}),
                      ([], {"NONO_ALLOW_DOMAIN": "x.test, 10.55.0.1 ,,"}), ([], {"NONO_PROXY_ALLOW": "10.55.0.1"}), ([], {"NONO_ALLOW_PROXY": "10.55.0.1"}),
                      (["--allow-domain", "10.55.0.1"], {"NONO_ALLOW_DOMAIN": "else.test"}), (["--deny-domain", "else.test"], {}), ([], {"NONO_DENY_DOMAIN": "a.test,else.test"})):
        with Gateway(*args, auth=False, env=env) as g:
            assert statuses(g, o.netloc, "else.test:1") == want, (args, env)
            old = [x for x in ("--allow-proxy", "--proxy-allow", "NONO_PROXY_ALLOW", "NONO_ALLOW_PROXY") if x in " ".join(args) + " ".join(env)]
            assert not old or old[0] in g.stderr and ("--allow-domain" in g.stderr or "NONO_ALLOW_DOMAIN" in g.stderr), g.stderr
            assert old or not g.stderr


def test_listen_port_and_workers_by_variable(tmp_path):
    p = free_port()
    with Process("proxy", tmp=tmp_path, env={"NONO_LISTEN": "127.0.0.1,10.55.0.1", "NONO_PORT": str(p), "NONO_WORKERS": "3"}, ready=banner) as q:
        assert listens(p) and listens(p, "10.55.0.1")
        assert sum(open(f"/proc/{q.proc.pid}/task/{t}/comm").read().startswith("worker") for t in os.listdir(f"/proc/{q.proc.pid}/task")) == 3


def test_pass_by_flag_and_variable_and_the_flag_wins(o):
    for args, env in ((["--pass", "sesame open"], {}), ([], {"NONO_PROXY_PASS": "sesame open"}), (["--pass=sesame open"], {"NONO_PROXY_PASS": "other"})):
        with Gateway(*args, env=env) as g:
            g.token = "sesame open"
            assert statuses(g, o.netloc) == [200]
            assert one(g, connect_head(o.netloc), "CONNECT").status == 407
    with Gateway() as a, Gateway() as b:
        assert re.fullmatch("[0-9a-f]{64}", a.token) and a.token != b.token


def test_timeouts_max_connections_and_drain_timeout_by_variable(o):
    hold = Steps()
    with Origin(lambda c, _: (read_head(c), hold["end"].wait(20))) as silent, \
            Gateway("--port", "0", auth=False, env={"NONO_TIMEOUT": "response=0.3,idle=5", "NONO_PROXY_MAX_CONNECTIONS": "2", "NONO_DRAIN_TIMEOUT": "0.2"}) as g:
        assert one(g, get(f"http://{silent.netloc}/")).status == 504
        assert until(lambda: g.descriptors() <= g.fds_at_start)  # its place is free again
        with g.connect() as a, g.connect() as b:
            for c in (a, b):
                assert c.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").response("OPTIONS").status == 204
            assert one(g, get(f"http://{o.netloc}/")).status == 503
            a.send(connect_head(o.netloc)).response("CONNECT")
            began = time.monotonic()
            g.proc.send_signal(signal.SIGTERM)
            assert g.proc.wait(5) == 0 and time.monotonic() - began < 3
        hold["end"].set()


def test_server_name_is_accepted_and_reached_as_ours(o):
    for args, env in ((["--server-name", "gw.test", "--server-name", "gw2.test"], {}), ([], {"NONO_SERVER_NAME": "gw.test,gw2.test"})):
        with Gateway(*args, env=env) as g:
            assert statuses(g, o.netloc) == [200]


def test_verbosity_flags_and_variables(o):
    def log_of(*args, **env):
        with Gateway(*args, auth=False, env=env) as g:
            one(g, get(f"http://{o.netloc}/log"))
            g.records(1)
            time.sleep(0.05)
            return g.stderr
    assert log_of() == "" and log_of(NONO_LOG="off") == "" and log_of(RUST_LOG="warn") == ""
    for args, env in ((["-v"], {}), ([], {"NONO_LOG": "info"}), ([], {"RUST_LOG": "info"}), (["--verbose"], {})):
        t = log_of(*args, **env)
        assert " INFO " in t and " DEBUG " not in t and " TRACE " not in t and "GET" in t, t
    for args, env in ((["-vvv"], {}), (["-v", "-vv"], {}), ([], {"NONO_LOG": "trace"})):
        assert " TRACE " in log_of(*args, **env)
    assert " INFO " in log_of(NONO_LOG="info", RUST_LOG="off")  # ours beats the old one


def test_O2_at_the_default_level_nothing_that_one_client_did_is_logged(o):
    with Gateway("--deny-domain", "denied.test", "--timeout", "head=0.3") as g:
        for d in ("nonsense\r\n\r\n", get("http://denied.test/"), get("http://denied.test/", auth=g.basic), connect_head("10.55.0.1:1", g.basic),
                  connect_head("nowhere.test:1", g.basic), "GET half"):
            one(g, d, "CONNECT" if d.startswith("CONNECT") else "GET")
        g.connect().reset()
        g.records(6)
        assert g.stderr == ""


def test_log_format_json_every_line_of_stderr_is_json_to_the_end(o):
    with Gateway("--log-format", "json", "-vv", "--allow-proxy", "10.55.0.1", auth=False) as g:
        one(g, get(f"http://{o.netloc}/\"x\\"))
        g.proc.send_signal(signal.SIGHUP)
        g.records(2, "lifecycle")
        g.stop()
        ls = [json.loads(l) for l in g.stderr.splitlines()]
        assert len(ls) >= 3 and all(isinstance(l, dict) for l in ls)
        assert any("--allow-proxy" in json.dumps(l) for l in ls)


def test_log_file_is_appended_to_and_where_it_cannot_be_opened_stderr_serves(o, tmp_path):
    f = tmp_path / "log"
    f.write_text("before\n")
    for args, env in ((["--log-file", str(f), "-v"], {}), (["-v"], {"NONO_LOG_FILE": str(f)})):
        with Gateway(*args, auth=False, env=env) as g:
            one(g, get(f"http://{o.netloc}/"))
            assert until(lambda: "GET" in f.read_text())
            assert "GET" not in g.stderr
    assert f.read_text().startswith("before\n") and f.read_text().count("GET") == 2 and "\x1b" not in f.read_text()
    with Gateway("--log-file", "/no/such/dir/log", "-v", auth=False) as g:
        one(g, get(f"http://{o.netloc}/"))
        assert until(lambda: "GET" in g.stderr) and "/no/such/dir/log" in g.stderr


def test_global_options_before_the_subcommand(o, tmp_path):
    with Process("-v", "--log-file", str(tmp_path / "l"), "proxy", "--port", "0", "--no-auth", tmp=tmp_path, ready=banner) as p:
        raw_get(port_of(p), f"http://{o.netloc}/")
        assert until(lambda: "GET" in (tmp_path / "l").read_text())


# ---- what it prints (O2, O3, cases 127, 128)

def test_O3_the_banner_is_whole_and_its_exports_work_in_a_shell(o):
    with Gateway("--pass", "p@ss/w:rd %~'x") as g:
        b = g.banner
        assert b.startswith("\n") and f"  nono proxy listening on 127.0.0.1:{g.port}\n" in b and b.endswith("Press Ctrl-C to stop.\n") and "\x1b" not in b
        exports = [l.strip() for l in b.splitlines() if l.strip().startswith("export ")]
        names = [re.match(r"export (\w+)=", e)[1] for e in exports]
        assert {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy", "NODE_USE_ENV_PROXY"} <= set(names)
        script = "\n".join(exports) + f"\ncurl -s -m 10 -o /dev/null -w '%{{http_code}}' http://{o.netloc}/; curl -s -p -m 10 -o /dev/null -w '%{{http_connect}}' http://{o.netloc}/"
        p = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        assert p.stdout == "200200", (p, exports)
        assert "p@ss" not in g.stderr


@CASE("listen, host", [("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("::", None), ("10.55.0.1", "10.55.0.1"), ("fd55::1", "[fd55::1]"), ("127.0.0.2", "127.0.0.2")])
def test_case_128_printed_urls_are_usable(listen, host, o):
    with Gateway("--listen", listen) as g:
        u = re.search(r"proxy URL: (\S+)", g.banner)[1]
        assert host is None or f"@{host}:{g.port}" in u, u
        assert curl(f"http://{o.netloc}/v", u) == "200", u


def test_policy_line(o):
    for args, say in (([], "every host is allowed (no --allow-domain given)"), (["--allow-domain", "*"], "every host is allowed ('*' in --allow-domain)"),
                      (["--allow-domain", "x.test", "--deny-domain", "y.test"], "only listed hosts are allowed (1 allow, 1 deny)"), (["--deny-domain", "y.test"], "every host is allowed")):
        with Gateway(*args) as g:
            assert f"policy: {say}" in g.banner, g.banner


def test_a_never_allowed_entry_is_noted():
    with Gateway("--allow-domain", "169.254.169.254", "--allow-domain", "x.test") as g:
        assert "warning:" in g.banner and "169.254.169.254" in g.banner
        assert statuses(g, "169.254.169.254:80") == [403]


def test_no_auth_is_said_and_the_url_has_no_password(o):
    with Gateway(auth=False) as g:
        assert "auth disabled (--no-auth)" in g.banner and f"proxy URL: http://127.0.0.1:{g.port}\n" in g.banner and "token:" not in g.banner
        assert curl(f"http://{o.netloc}/", f"http://127.0.0.1:{g.port}") == "200"


def test_a_unix_socket_has_no_url_but_the_token_is_told(tmp_path):
    with Gateway("--listen", f"unix:{tmp_path}/s", "--env-file", str(tmp_path / "env")) as g:
        assert f"listening on unix:{tmp_path}/s" in g.banner and g.token and f"NONO_PROXY_TOKEN={g.token}\n" in (tmp_path / "env").read_text()


def test_case_127_silent_prints_nothing_but_the_env_file_tells(o, tmp_path):
    f = tmp_path / "env"
    for flag in ("-s", "--silent", "-vs"):
        with Process("proxy", flag, "--port", "0", "--env-file", str(f), "--allow-proxy", "10.55.0.1", tmp=tmp_path, ready=lambda p: f.exists() and "no_proxy" in f.read_text()) as p:
            env = dict(l.split("=", 1) for l in f.read_text().splitlines())
            until(lambda: listens(int(env["HTTP_PROXY"].rsplit(":", 1)[1])))
            assert curl(f"http://{o.netloc}/", env["HTTP_PROXY"]) == "200"
            p.end()
            assert p.out == "" and p.err == "", (p.out, p.err)
        f.unlink()


def test_O2_env_file_is_whole_private_and_plain(o, tmp_path):
    f = tmp_path / "env"
    f.write_text("OLD=1\n" * 500)
    os.chmod(f, 0o666)
    with Gateway("--env-file", str(f), "--pass", "p a$s") as g:
        text = f.read_text()
        assert stat.S_IMODE(f.stat().st_mode) == 0o600 and "OLD" not in text and text.endswith("\n")
        pairs = dict(l.split("=", 1) for l in text.splitlines())
        assert all(re.fullmatch(r"[A-Za-z_]+", k) and not re.search(r"['\"\s$`\\]", v) for k, v in pairs.items()), pairs
        assert pairs["HTTP_PROXY"] == pairs["https_proxy"] == f"http://nono:p%20a%24s@127.0.0.1:{g.port}" and pairs["NO_PROXY"] == pairs["no_proxy"]
        assert curl(f"http://{o.netloc}/", pairs["http_proxy"]) == "200"
        assert [p.name for p in tmp_path.iterdir()] == ["env"]  # no temporary file is left
    with Gateway(env={"NONO_ENV_FILE": str(f)}):
        assert "HTTP_PROXY=" in f.read_text()


def test_case_133_no_proxy_holds_loopback_and_the_gateways_own_address_only():
    with Gateway("--listen", "10.55.0.1", "--listen", "127.0.0.1", env={"NO_PROXY": "parents.test", "no_proxy": "parents.test"}) as g:
        assert " NO_PROXY=localhost,127.0.0.1,10.55.0.1\n" in g.banner and "parents" not in g.banner


def as_json(*args, tmp, env=None):
    p = Process("proxy", "--port", "0", "--output", "json", *args, tmp=tmp, env=env, ready=lambda p: p.out.endswith("}\n"))
    return p, json.loads(p.out)


def test_O2_output_json_is_one_object_with_everything(o, tmp_path):
    p, j = as_json("--pass", 'p"\\x', "--listen", "127.0.0.1", "--listen", f"unix:{tmp_path}/s", "--allow-domain", "10.55.0.1", "--allow-domain", "169.254.169.254", tmp=tmp_path)
    with p:
        assert set(j) == {"version", "listeners", "url", "token", "env", "routes", "ca_bundle", "ca_cert", "policy", "warnings"}
        assert j["token"] == 'p"\\x' and j["policy"] == "allowlist" and j["routes"] == [] and len(j["warnings"]) == 1 and re.match(r"\d+\.\d+", j["version"])
        assert j["listeners"] == [{"address": "127.0.0.1", "port": j["listeners"][0]["port"]}, {"path": f"{tmp_path}/s"}]
        assert j["env"]["HTTP_PROXY"] == j["url"] and curl(f"http://{o.netloc}/", j["url"]) == "200"
        assert p.out.count("\n") == 1
    assert json.loads(p.out) == j and p.out.count("\n") == 1  # nothing more at the end


def test_O2_output_json_without_authentication_has_no_token(o, tmp_path):
    p, j = as_json("--no-auth", tmp=tmp_path)
    with p:
        assert j["token"] is None and "@" not in j["url"] and j["policy"] == "allow_all"
    p, j = as_json("--listen", f"unix:{tmp_path}/s", tmp=tmp_path, env={"NONO_OUTPUT": "text"})
    with p:
        assert j["url"] is None and "HTTP_PROXY" not in j["env"]


def test_O2_colour_only_on_a_terminal_that_wants_it():
    def on_terminal(**env):
        master, slave = pty.openpty()
        p = subprocess.Popen([BINARY, "proxy", "--port", "0"], stdin=slave, stdout=slave, stderr=slave, env=clean_env({"TERM": "xterm"} | env), start_new_session=True)
        os.close(slave)
        out = b""
        while b"Press Ctrl-C" not in out:
            out += os.read(master, 4096)
        p.send_signal(signal.SIGTERM)
        try:
            while d := os.read(master, 4096):
                out += d
        except OSError:
            pass
        os.close(master)
        assert p.wait(10) == 0
        return b"\x1b[" in out
    assert on_terminal() and not on_terminal(NO_COLOR="1") and not on_terminal(TERM="dumb") and not on_terminal(CLICOLOR="0")


def test_O4_no_network_access_of_its_own_and_nothing_written_at_home(ns, tmp_path):
    with Process("proxy", "--port", "0", tmp=tmp_path, ready=banner, env={"XDG_STATE_HOME": str(tmp_path / "s"), "XDG_CONFIG_HOME": str(tmp_path / "c")}) as p:
        time.sleep(0.2)
        sockets = subprocess.run(["ss", "-tunp"], capture_output=True, text=True).stdout
        assert f"pid={p.proc.pid}," not in sockets and not ns.log
    assert not [f for _, _, fs in os.walk(tmp_path) for f in fs if not f.startswith(("out", "err"))]


@CASE("name, value, say", [("SSL_CERT_FILE", "/no/such/file.pem", "/no/such/file.pem"), ("SSL_CERT_DIR", "/no/such/dir", "/no/such/dir")])
def test_O7_unreadable_trust_is_a_start_up_error_and_an_empty_variable_unset(name, value, say):
    code, out, err = run("proxy", "--port", "0", env={name: value})
    assert code == 1 and say in err and not out
    with Gateway(env={name: ""}):
        pass


def test_man_page_and_completions():
    code, out, err = run("man")
    assert code == 0 and "\n.TH NONO 1 " in out and "allow\\-domain" in out
    for shell in ("bash", "zsh", "fish"):
        code, out, err = run("completion", shell)
        assert code == 0 and "allow-domain" in out and not err
        if shell == "bash":
            assert subprocess.run(["bash", "-n"], input=out, text=True).returncode == 0
    assert run("completion", "tcsh")[0] == 2


def test_closed_standard_descriptors_do_no_harm(o, tmp_path):
    port = free_port()
    p = subprocess.Popen(["bash", "-c", 'exec "$0" "$@" 0<&- 1>&- 2>&-', BINARY, "proxy", "--no-auth", "-vv", "--port", str(port), "--audit-log", str(tmp_path / "a")],
                         env=clean_env({"HOME": str(tmp_path)}))
    try:
        assert until(lambda: listens(port)) and raw_get(port, f"http://{o.netloc}/").status == 200
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(10) == 0
    assert (tmp_path / "a").read_text().count("\n") == 4
