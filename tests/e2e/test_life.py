"""From start to end: signals and draining, reload, limits, service manager, unix sockets, ports, workers."""
import fcntl
import os
import pwd
import resource
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from gateway import BINARY, CA, Gateway, Origin, Raw, clean_env, connect_head, free_port, get, one, read_head, run, serving, until
from tools import Process, Steps, banner, cpu_seconds, exchanges, listens, parallel, port_of, raw_get

CASE = pytest.mark.parametrize


@pytest.fixture(scope="module")
def o():
    with Origin(serving({})) as origin:
        yield origin


def alive(g):
    return g.proc.poll() is None


def lifecycle(g):
    return [r["event"] for r in g.records(kind="lifecycle")]


def slow_origin(step):
    def handler(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        step["started"].set()
        step["go on"].wait(15)  # or the test is over
        conn.sendall(b"after")
    return Origin(handler)


# ---- the end (O1, case 120)

@pytest.mark.threads
@CASE("sig", [signal.SIGTERM, signal.SIGINT])
def test_case_120_a_signal_drains_and_exits_0(sig):
    step = Steps()
    with slow_origin(step) as slow, Gateway("--workers", "2", auth=False) as g:
        idle, busy = g.connect(), g.connect()
        assert idle.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").response("OPTIONS").status == 204
        busy.send(get(f"http://{slow.netloc}/")).head()
        step.wait("started")
        g.proc.send_signal(sig)
        assert idle.closed()  # nothing is owed to it
        assert until(lambda: not listens(g.port)) and alive(g)
        step["go on"].set()
        assert busy.exactly(10) == b"firstafter" and busy.closed()
        assert g.proc.wait(5) == 0
        assert "Shutting down" in g.stderr and "Shutting down" not in g.banner
        assert lifecycle(g) == ["start", "drain", "stop"] and g.records(2)[-1]["outcome"] == "ok"


def test_O1_an_answer_that_begins_while_draining_says_close():
    step = Steps()

    def late(conn, origin):
        read_head(conn)
        step["started"].set()
        step.wait("go on")
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with Origin(late) as o, Gateway(auth=False) as g, g.connect() as c:
        c.send(get(f"http://{o.netloc}/") + get(f"http://{o.netloc}/next"))
        step.wait("started")
        g.proc.send_signal(signal.SIGTERM)
        until(lambda: not listens(g.port))
        step["go on"].set()
        a = c.response()
        assert a.body == b"ok" and a.get("connection") == "close" and c.closed()
        c.close()
        assert g.proc.wait(5) == 0


def test_O1_the_drain_deadline_ends_what_still_runs():
    step = Steps()
    with slow_origin(step) as slow, Gateway("--drain-timeout", "0.5", auth=False) as g:
        with g.connect() as c, g.connect() as t:
            t.send(connect_head(slow.netloc)).response("CONNECT")
            c.send(get(f"http://{slow.netloc}/")).head()
            step.wait("started")
            began = time.monotonic()
            g.proc.send_signal(signal.SIGTERM)
            assert g.proc.wait(5) == 0 and 0.4 < time.monotonic() - began < 3
            assert sorted(r["outcome"] for r in g.records(2)) == ["shutdown", "shutdown"]
        step["go on"].set()


@pytest.mark.threads
def test_O1_a_drain_timeout_of_0_ends_everything_at_once():
    step = Steps()
    with slow_origin(step) as slow, Gateway("--drain-timeout", "0", auth=False) as g, g.connect() as c:
        c.send(get(f"http://{slow.netloc}/")).head()
        began = time.monotonic()
        g.proc.send_signal(signal.SIGTERM)
        assert g.proc.wait(5) == 0 and time.monotonic() - began < 1.5
        step["go on"].set()


@pytest.mark.threads
@CASE("pause", [0.2, 0.02, 0.0])
def test_O1_a_second_signal_exits_at_once_with_0_and_in_order(pause, tmp_path):
    step = Steps()
    sock, env = tmp_path / "s", tmp_path / "env"
    with slow_origin(step) as slow:
        for sig in (signal.SIGTERM, signal.SIGINT):
            with Gateway("--listen", f"unix:{sock}", "--listen", "127.0.0.1:0", "--env-file", str(env), "--drain-timeout", "60", auth=False) as g:
                with Raw(str(sock)) as c:
                    c.send(get(f"http://{slow.netloc}/")).head()
                    for s in (sig, signal.SIGINT if sig == signal.SIGTERM else signal.SIGTERM, sig):  # equal ones at once would merge
                        g.proc.send_signal(s)
                        time.sleep(pause)
                    assert g.proc.wait(5) == 0
                assert not sock.exists() and lifecycle(g)[-1] == "stop" and g.records(1)[0]["outcome"] == "shutdown"
        step["go on"].set()


def test_O1_signals_right_after_the_start_are_met():
    for _ in range(5):
        with Gateway("--drain-timeout", "0") as g:
            g.proc.send_signal(signal.SIGTERM)
            assert g.proc.wait(5) == 0


def test_O2_sigpipe_and_a_broken_stdout_do_not_end_it(o, tmp_path):
    r, w = os.pipe()
    os.close(r)
    port = free_port()
    with Process("proxy", "--no-auth", "--port", str(port), "-v", tmp=tmp_path, stdout=w, ready=lambda p: listens(port)) as p:
        os.close(w)
        assert raw_get(port, f"http://{o.netloc}/").status == 200
        p.proc.send_signal(signal.SIGPIPE)
        assert raw_get(port, f"http://{o.netloc}/").status == 200


def test_O2_a_stderr_that_nobody_reads_never_stops_a_worker(o, tmp_path):
    r, w = os.pipe()
    port = free_port()
    p = Process("proxy", "--no-auth", "--port", str(port), "-vvv", tmp=tmp_path, stderr=w, ready=lambda p: listens(port))
    os.close(w)
    try:
        with Raw("127.0.0.1", port) as c:  # far more than a pipe's 64 KiB of log lines
            for i in range(600):
                assert c.send(get(f"http://{o.netloc}/{'x' * 300}")).response().status == 200
    finally:
        p.proc.send_signal(signal.SIGTERM)
        os.set_blocking(r, False)
        assert until(lambda: p.proc.poll() is not None) and p.proc.returncode == 0
        os.close(r)


def test_case_125_no_core_dumps_and_no_secret_in_the_command_line(o):
    with Gateway("--pass", "hunter2hunter2") as g:
        assert b"hunter2" not in open(f"/proc/{g.proc.pid}/cmdline", "rb").read()
        if "asan" not in open(f"/proc/{g.proc.pid}/maps").read():
            assert "0                    0" in open(f"/proc/{g.proc.pid}/limits").read().split("Max core file size")[1].split("\n")[0]
    with Gateway(env={"NONO_PROXY_PASS": "hunter2hunter2"}) as g:
        assert b"hunter2" not in open(f"/proc/{g.proc.pid}/environ", "rb").read()


# ---- reload (O1, O7, O8)

@pytest.mark.threads
def test_O1_sighup_keeps_connections_tunnels_token_and_port(o):
    with Gateway("--workers", "2") as g, g.connect() as t, g.connect() as c:
        t.send(connect_head(o.netloc, g.basic)).response("CONNECT")
        assert c.send(get(f"http://{o.netloc}/1", auth=g.basic)).response().status == 200
        for i in range(3):
            g.proc.send_signal(signal.SIGHUP)
            g.records(i + 2, "lifecycle")
            assert t.send(get("/t").replace("Host: ", "Host: x")).response().status == 200
            assert c.send(get(f"http://{o.netloc}/2", auth=g.basic)).response().status == 200
            assert one(g, get(f"http://{o.netloc}/3", auth=g.basic)).status == 200
        events = g.records(4, "lifecycle")
        assert [e["event"] for e in events] == ["start"] + ["reload"] * 3
        assert all(e["config_hash"] == events[0]["config_hash"] and e["version"] for e in events)


def test_O1_a_burst_of_sighups_is_met_and_harmless(o):
    with Gateway(auth=False) as g:
        for _ in range(50):
            g.proc.send_signal(signal.SIGHUP)
        assert one(g, get(f"http://{o.netloc}/")).status == 200
        assert until(lambda: lifecycle(g)[-1:] == ["reload"]) and alive(g)


@pytest.mark.threads
def test_O8_sighup_reloads_trust(tmp_path_factory, tmp_path, ca, o):
    other = CA(tmp_path_factory.mktemp("ca2"))
    trust = tmp_path / "trust.pem"
    trust.write_text(open(other.pem).read())
    with Origin(tls=ca.server("origin.test")) as tls, Gateway("--workers", "2", auth=False, env={"SSL_CERT_FILE": str(trust)}) as g:
        url = f"https://origin.test:{tls.port}/"
        assert one(g, get(url)).status == 502
        trust.write_text(open(ca.pem).read())
        assert one(g, get(url)).status == 502  # not before it is asked for
        g.proc.send_signal(signal.SIGHUP)
        g.records(2, "lifecycle")
        assert until(lambda: one(g, get(url)).status == 200)
        trust.write_text("rubbish")
        g.proc.send_signal(signal.SIGHUP)
        assert until(lambda: lifecycle(g)[-1] == "reload_failed")
        bad = g.records(3, "lifecycle")[-1]
        assert str(trust) in bad["reason"] and "reload failed" in g.stderr
        assert one(g, get(url)).status == 200  # as a whole or not at all
        trust.write_text(open(other.pem).read())
        g.proc.send_signal(signal.SIGHUP)
        assert until(lambda: one(g, get(url)).status == 502)  # warm connections of the old trust are not used


def test_O5_sighup_reopens_audit_and_log_files(o, tmp_path):
    log = tmp_path / "log"
    with Gateway("-v", "--log-file", str(log), auth=False) as g:
        assert one(g, get(f"http://{o.netloc}/before")).status == 200
        g.records(1)
        os.rename(g.audit_path, tmp_path / "audit.1")
        os.rename(log, tmp_path / "log.1")
        assert one(g, get(f"http://{o.netloc}/between")).status == 200
        assert until(lambda: b"/between" in (tmp_path / "audit.1").read_bytes())
        g.proc.send_signal(signal.SIGHUP)
        assert until(lambda: g.audit_path.exists() and log.exists())
        assert one(g, get(f"http://{o.netloc}/after")).status == 200
        assert g.records(1)[-1]["path"] == "/after" and stat.S_IMODE(os.stat(g.audit_path).st_mode) == 0o600
        assert until(lambda: log.read_text().count("GET") == 1) and (tmp_path / "log.1").read_text().count("GET") == 2
        old = exchanges((tmp_path / "audit.1").read_bytes())
        assert [r["path"] for r in old] == ["/before", "/between"]


# ---- limits (C11, cases 116, 117)

@pytest.mark.threads
@CASE("workers", ["1", "2"])
def test_case_117_over_the_limit_a_client_gets_503_and_the_slot_comes_back(workers, o):
    with Gateway("--max-connections", "4", "--workers", workers, auth=False) as g:
        held = [g.connect() for _ in range(4)]
        for c in held:
            assert c.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").response("OPTIONS").status == 204
        for data in (get(f"http://{o.netloc}/"), connect_head(o.netloc), ""):  # even one that says nothing
            with g.connect() as c:
                a = c.send(data).response()
                assert a.status == 503 and a.get("retry-after") and a.get("connection") == "close" and c.closed(), a
                assert b"--max-connections" in a.body
        bad = [r for r in g.records(7) if r["status"] == 503]
        assert len(bad) == 3 and all(r["denial_category"] == "connection_limit" and r["mode"] == "local" and r["decision"] == "deny" for r in bad), bad
        for c in held:
            c.close()
        assert until(lambda: one(g, get(f"http://{o.netloc}/")).status == 200)


def test_C11_0_is_unlimited_and_a_negative_or_silly_number_a_usage_error(o):
    with Gateway("--max-connections", "0", auth=False) as g:
        cs = [g.connect() for _ in range(200)]
        assert all(c.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").response("OPTIONS").status == 204 for c in cs)
        for c in cs:
            c.close()
    for bad in ("-1", "x", "1.5", ""):
        assert run("proxy", "--port", "0", f"--max-connections={bad}")[0] == 2


def limited(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_C11_the_soft_limit_is_raised_to_the_hard_one(tmp_path):
    with Process("proxy", "--port", "0", tmp=tmp_path, ready=banner, preexec_fn=limited(256, 2000)) as p:
        assert open(f"/proc/{p.proc.pid}/limits").read().split("Max open files")[1].split()[:2] == ["2000", "2000"]


def test_C11_without_descriptors_accepting_backs_off_without_spinning_and_recovers(o, tmp_path):
    with Process("proxy", "--port", "0", "--no-auth", "--workers", "1", "--max-connections", "0", tmp=tmp_path, ready=banner,
                 preexec_fn=limited(64, 64)) as p:
        port = port_of(p)
        cs = [Raw("127.0.0.1", port) for _ in range(120)]
        time.sleep(0.3)
        before = cpu_seconds(p.proc.pid)
        time.sleep(1)
        assert cpu_seconds(p.proc.pid) - before < 0.3
        assert p.proc.poll() is None
        for c in cs:
            c.close()
        assert until(lambda: raw_get(port, f"http://{o.netloc}/").status == 200)


@pytest.mark.threads
def test_case_116_1000_parallel_clients_none_fails(o):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 6000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (6000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with Gateway("--workers", "2", auth=False) as g:
        cs = [g.connect(30) for _ in range(1000)]
        for c in cs:
            c.send(get(f"http://{o.netloc}/all"))
        assert all(c.response().status == 200 for c in cs)
        for c in cs:
            c.close()
        assert len(g.records(1000)) == 1000


def test_no_descriptor_is_left_over(o):
    with Gateway(auth=False) as g:
        for _ in range(3):
            one(g, get(f"http://{o.netloc}/", extra="Connection: close\r\n"))
        before = g.descriptors()
        for i in range(40):
            with g.connect() as c:
                c.send(connect_head(o.netloc)).response("CONNECT")
                c.reset() if i % 2 else None
            one(g, connect_head("10.55.0.1:1"), "CONNECT")
            one(g, "nonsense\r\n\r\n")
        assert until(lambda: g.descriptors() <= before), (before, g.descriptors())


# ---- service manager (O8)

class Manager:
    """The datagram socket a service manager listens on."""

    def __init__(self, name):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(("\0" + name[1:]) if name.startswith("@") else name)
        self.s.settimeout(10)

    def next(self):
        return self.s.recv(4096).decode()


@CASE("kind", ["path", "abstract"])
def test_O8_ready_reloading_stopping_over_the_notify_socket(kind, tmp_path):
    name = str(tmp_path / "notify") if kind == "path" else f"@nono-e2e-{os.getpid()}"
    m = Manager(name)
    with Process("proxy", "--port", "0", tmp=tmp_path, ready=banner, env={"NOTIFY_SOCKET": name}) as p:
        assert m.next() == "READY=1"
        p.proc.send_signal(signal.SIGHUP)
        first = m.next()
        assert first.startswith("RELOADING=1") and "MONOTONIC_USEC=" in first
        usec = int(first.split("MONOTONIC_USEC=")[1])
        assert abs(usec / 1e6 - time.clock_gettime(time.CLOCK_MONOTONIC)) < 5
        assert m.next() == "READY=1"
        p.proc.send_signal(signal.SIGTERM)
        assert m.next() == "STOPPING=1"
        assert p.proc.wait(5) == 0


def test_O8_a_notify_socket_that_nobody_made_or_that_is_nonsense_does_no_harm(tmp_path):
    for name in (str(tmp_path / "absent"), "@nobody", "relative", "", "/" + "x" * 200):
        with Process("proxy", "--port", "0", tmp=tmp_path, ready=banner, env={"NOTIFY_SOCKET": name}):
            pass


def test_O8_watchdog_pings_come_at_half_the_interval(tmp_path):
    name = str(tmp_path / "w")
    m = Manager(name)
    with Process("proxy", "--port", "0", "--workers", "2", tmp=tmp_path, ready=banner, env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"}) as p:
        assert m.next() == "READY=1"
        began = time.monotonic()
        assert [m.next() for _ in range(4)] == ["WATCHDOG=1"] * 4
        assert 0.5 < time.monotonic() - began < 2
        os.kill(p.proc.pid, signal.SIGSTOP)
        m.s.setblocking(False)
        time.sleep(0.1)
        try:
            while True:
                m.s.recv(100)
        except BlockingIOError:
            pass
        os.kill(p.proc.pid, signal.SIGCONT)
        m.s.settimeout(5)
        assert m.next() == "WATCHDOG=1"


def test_O8_a_watchdog_for_another_process_is_not_ours(tmp_path):
    name = str(tmp_path / "w")
    m = Manager(name)
    with Process("proxy", "--port", "0", tmp=tmp_path, ready=banner, env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}):
        assert m.next() == "READY=1"
        m.s.settimeout(0.4)
        with pytest.raises(TimeoutError):
            m.next()


class Activated(Process):
    """Started as a service manager does: the sockets from descriptor 3 on, and LISTEN_PID of what becomes the gateway."""

    def __init__(self, socks, *args, tmp, env=None, script='export LISTEN_PID=$$ LISTEN_FDS=%d; exec "$0" "$@"'):
        self.out_path, self.err_path = Path(tmp) / "aout", Path(tmp) / "aerr"
        high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 500 + i) for i, s in enumerate(socks)]
        moves = "".join(f" {3 + i}<&{fd}" for i, fd in enumerate(high))
        script = (f"exec{moves}; " if moves else "") + script.replace("%d", str(len(socks)))
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.proc = subprocess.Popen(["bash", "-c", script, BINARY, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=high,
                                         env=clean_env({"HOME": str(tmp)} | (env or {})), start_new_session=True)
        for fd in high:
            os.close(fd)
        until(lambda: banner(self) or self.proc.poll() is not None)


def test_O8_socket_activation_serves_tcp_and_unix_and_leaves_their_files(o, tmp_path):
    t = socket.create_server(("127.0.0.1", 0))
    six = socket.create_server(("::1", 0), family=socket.AF_INET6)
    u = socket.socket(socket.AF_UNIX)
    u.bind(str(tmp_path / "act"))
    os.chmod(tmp_path / "act", 0o660)
    u.listen()
    with Activated([t, six, u], "proxy", "--no-auth", "--workers", "2", tmp=tmp_path) as p:
        assert banner(p), p.err
        assert f"127.0.0.1:{t.getsockname()[1]}" in p.out and f"::1:{six.getsockname()[1]}" in p.out and f"unix:{tmp_path}/act" in p.out, p.out
        for _ in range(4):
            assert raw_get(t.getsockname()[1], f"http://{o.netloc}/").status == 200
            assert raw_get(six.getsockname()[1], f"http://{o.netloc}/", host="::1").status == 200
            with Raw(str(tmp_path / "act")) as c:
                assert c.send(get(f"http://{o.netloc}/")).response().status == 200
        assert not listens(8080)
    assert (tmp_path / "act").exists() and listens(t.getsockname()[1])  # the manager's, it hands them to the next one


def test_O8_socket_activation_goes_with_listen_and_is_ignored_for_another_process(o, tmp_path):
    t = socket.create_server(("127.0.0.1", 0))
    port = free_port()
    with Activated([t], "proxy", "--no-auth", "--listen", f"127.0.0.1:{port}", tmp=tmp_path) as p:
        assert raw_get(port, f"http://{o.netloc}/").status == 200 and raw_get(t.getsockname()[1], f"http://{o.netloc}/").status == 200
    with Activated([t], "proxy", "--no-auth", tmp=tmp_path, script='export LISTEN_PID=1 LISTEN_FDS=1; exec "$0" "$@"') as p:
        assert port_of(p) != t.getsockname()[1]


def test_O8_socket_activation_with_no_socket_there_is_a_start_up_error(tmp_path):
    p = Activated([], "proxy", "--no-auth", tmp=tmp_path, script='export LISTEN_PID=$$ LISTEN_FDS=1; exec 3</dev/null; exec "$0" "$@"')
    assert p.proc.wait(10) == 1 and "3" in p.err and "socket" in p.err


def test_case_7_no_auth_holds_for_passed_sockets_too(tmp_path):
    u = socket.socket(socket.AF_UNIX)
    u.bind(str(tmp_path / "act"))
    os.chmod(tmp_path / "act", 0o666)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0nono-e2e-act-{os.getpid()}")
    for s in (socket.create_server(("0.0.0.0", 0)), socket.create_server(("10.55.0.1", 0)), u, abstract):
        s.listen()
        p = Activated([s], "proxy", "--no-auth", tmp=tmp_path)
        try:
            assert p.proc.wait(5) == 1 and "--no-auth" in p.err and not p.out
        finally:
            p.proc.kill()
        with Activated([s], "proxy", tmp=tmp_path) as p:
            assert banner(p), p.err
        s.close()


# ---- unix sockets (O8)

def test_O8_unix_listener_mode_owner_and_the_peers_uid(o, tmp_path):
    os.chmod(tmp_path, 0o755)
    s, nobody = tmp_path / "s", pwd.getpwnam("nobody")
    for extra, mode, uid in (("", 0o660, 0), (",mode=0600", 0o600, 0), (",mode=0666,owner=nobody", 0o666, nobody.pw_uid),
                             (f",owner={nobody.pw_uid},group={nobody.pw_gid}", 0o660, nobody.pw_uid)):
        old = os.umask(0o077)
        try:
            with Gateway("--listen", f"unix:{s}{extra}") as g:
                st = os.stat(s)
                assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == mode and st.st_uid == uid, (extra, oct(st.st_mode))
                assert f"listening on unix:{s}" in g.banner
                with Raw(str(s)) as c:
                    assert c.send(get(f"http://{o.netloc}/", auth=g.basic)).response().status == 200
                r = g.records(1)[0]
                assert r["client_uid"] == 0 and r["listener"] == f"unix:{s}" and "client_address" not in r
            assert not s.exists()
        finally:
            os.umask(old)


def test_O8_a_stale_socket_is_replaced_a_live_one_and_a_file_refused(o, tmp_path):
    s = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(s))
    with Gateway("--listen", f"unix:{s}", auth=False):
        code, out, err = run("proxy", "--listen", f"unix:{s}", "--no-auth")
        assert code == 1 and str(s) in err and "in use" in err and not out
        with Raw(str(s)) as c:  # and the first one still serves there
            assert c.send(get(f"http://{o.netloc}/")).response().status == 200
    for make in (lambda: s.write_text("mine"), lambda: s.mkdir(), lambda: s.symlink_to(tmp_path / "elsewhere")):
        make()
        code, out, err = run("proxy", "--listen", f"unix:{s}", "--no-auth")
        assert code == 1 and str(s) in err
        assert s.is_symlink() or s.exists()
        os.rmdir(s) if s.is_dir() else os.unlink(s)
    code, _, err = run("proxy", "--listen", f"unix:{tmp_path}/no/such/s", "--no-auth")
    assert code == 1 and "no/such/s" in err


@CASE("bad, say", [("unix:", "path"), ("unix:" + "/x" * 60, "107"), ("unix:/tmp/x,mode=9", "mode"), ("unix:/tmp/x,mode=", "mode"), ("unix:/tmp/x,color=red", "color"),
                   ("unix:/tmp/x,mode=0600,mode=0600", "twice"), ("unix:/tmp/x,mode=07777", "mode")])
def test_O8_bad_unix_listeners_are_usage_errors(bad, say):
    code, out, err = run("proxy", "--listen", bad)
    assert code == 2 and say in err and not out


def test_O8_no_such_owner_is_a_start_up_error(tmp_path):
    code, _, err = run("proxy", "--listen", f"unix:{tmp_path}/s,owner=nosuchuser")
    assert code == 1 and "no such user" in err and not (tmp_path / "s").exists()


@pytest.mark.threads
def test_two_workers_on_a_unix_socket_share_the_load(o, tmp_path):
    s = tmp_path / "s"
    with Gateway("--listen", f"unix:{s}", "--workers", "2", auth=False) as g:
        def go(_):
            with Raw(str(s)) as c:
                return [c.send(get(f"http://{o.netloc}/")).response().status for _ in range(5)] == [200] * 5
        assert all(parallel(go, range(24), 12))


def test_O8_no_auth_on_a_socket_open_to_all_is_refused(tmp_path):
    code, _, err = run("proxy", "--no-auth", "--listen", f"unix:{tmp_path}/s,mode=0666")
    assert code == 1 and "mode=0660" in err


# ---- ports (O8)

@CASE("workers", ["1", "2"])
def test_O8_a_port_in_use_is_a_start_up_error_also_by_a_second_gateway(workers):
    with Gateway("--workers", workers) as g:
        code, out, err = run("proxy", "--port", str(g.port), "--workers", workers)
        assert code == 1 and f"127.0.0.1:{g.port}" in err and "in use" in err and not out
    with socket.create_server(("127.0.0.1", 0)) as s:
        code, _, err = run("proxy", "--port", str(s.getsockname()[1]), "--workers", workers)
        assert code == 1 and "in use" in err


def test_O8_a_port_is_free_again_right_after_the_end(o):
    port = free_port()
    for _ in range(3):
        with Gateway("--port", str(port), "--drain-timeout", "0", auth=False) as g:
            g.port = port
            with g.connect() as c:
                assert c.send(get(f"http://{o.netloc}/")).response().status == 200
                g.stop()


def test_O8_an_address_the_machine_lacks_is_named():
    for a in ("10.1.2.3", "fd99::1"):
        code, out, err = run("proxy", "--port", "0", "--listen", a)
        assert code == 1 and a in err and not out


def test_O8_port_is_for_every_tcp_listen_that_names_none(tmp_path, o):
    a, b = free_port(), free_port("10.55.0.1")
    with Gateway("--listen", "127.0.0.1", "--listen", f"10.55.0.1:{b}", "--listen", "::1", "--listen", f"unix:{tmp_path}/s", "--port", str(a)) as g:
        for line in (f"127.0.0.1:{a}", f"10.55.0.1:{b}", f"::1:{a}", f"unix:{tmp_path}/s"):
            assert f"listening on {line}\n" in g.banner, g.banner
        assert listens(a) and listens(b, "10.55.0.1") and listens(a, "::1") and not listens(a, "10.55.0.1")
    with Gateway("--listen", f"unix:{tmp_path}/s", "--port", "1"):
        pass  # no error where there is none


def test_O8_a_failed_start_leaves_no_socket_behind(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as s:
        code, _, err = run("proxy", "--listen", f"unix:{tmp_path}/s", "--listen", f"127.0.0.1:{s.getsockname()[1]}")
        assert code == 1 and not (tmp_path / "s").exists()


# ---- workers

def threads(pid):
    return [open(f"/proc/{pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{pid}/task")]


def test_workers_are_as_many_as_asked_for_or_cores():
    for n in (1, 2, 5):
        with Gateway("--workers", str(n)) as g:
            assert sum(t.startswith("worker") for t in threads(g.proc.pid)) == n
    with Gateway() as g:
        assert sum(t.startswith("worker") for t in threads(g.proc.pid)) == len(os.sched_getaffinity(0))


@pytest.mark.threads
def test_two_workers_balance_long_connections(o):
    with Gateway("--workers", "2", auth=False) as g:
        cs = [g.connect() for _ in range(40)]
        for c in cs:
            c.send(connect_head(o.netloc))
            assert c.response("CONNECT").status == 200

        def ran():
            tasks = f"/proc/{g.proc.pid}/task"
            return {t: int(open(f"{tasks}/{t}/schedstat").read().split()[0]) for t in os.listdir(tasks) if open(f"{tasks}/{t}/comm").read().startswith("worker")}
        serves = []
        for c in cs:  # the worker that wakes up for it
            before = ran()
            c.send(get("/x").replace("Host: ", "Host: x")).response()
            time.sleep(0.002)
            after = ran()
            serves.append(max(after, key=lambda k: after[k] - before[k]))
        counts = [serves.count(k) for k in ran()]
        assert len(counts) == 2 and min(counts) >= 8, counts
        for c in cs:
            c.close()


def test_one_client_cannot_stall_the_others(o):
    """A worker that moves much data for one client still serves others."""
    def flood(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
        while True:
            conn.sendall(b"x" * 1048576)
    with Origin(flood) as f, Gateway("--workers", "1", auth=False) as g, g.connect() as heavy:
        heavy.send(get(f"http://{f.netloc}/"))

        def read():
            try:
                while heavy.s.recv(1 << 20):
                    pass
            except OSError:
                pass
        threading.Thread(target=read, daemon=True).start()
        began = time.monotonic()
        for i in range(20):
            assert one(g, get(f"http://{o.netloc}/{i}")).status == 200
        assert time.monotonic() - began < 5
