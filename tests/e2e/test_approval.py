"""Approvals (webhook, chain, terminal) and rate limits, on reverse routes and by absolute form."""
import contextlib
import fcntl
import json
import os
import pty
import socket
import subprocess
import termios
import threading
import time
from unittest import mock

import pytest

import gateway
import hops
from gateway import WAIT, Gateway, Origin, get, one, read_request, until

LOCAL = "127.0.0.1"
SECRET = "real-secret-4711"


class Hook:
    """A webhook that answers what it is told: bytes as they are, or a function of (conn, request)."""

    def __init__(self, body=b'"Granted"', status="200 OK", extra="", tls=None, host=LOCAL):
        self.asked, self.gone = [], threading.Event()
        self.answer = body if callable(body) else (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.origin = Origin(self.serve, host=host, tls=tls)

    def serve(self, conn, origin):
        r, _ = read_request(conn)
        self.asked.append(r)
        if callable(self.answer):
            self.answer(conn, self)
        else:
            conn.sendall(self.answer)

    @property
    def url(self):
        return f"{'https' if self.origin.tls else 'http'}://{self.origin.netloc}/hook?a=1"

    def conf(self, **more):
        return {"type": "webhook", "url": self.url} | more

    def __enter__(self):
        self.origin.__enter__()
        return self

    def __exit__(self, *_):
        self.origin.__exit__()


def silent(conn, hook):
    """Never answers; notes when the other side is gone."""
    conn.settimeout(WAIT)
    with contextlib.suppress(OSError):
        while conn.recv(1000):
            pass
    hook.gone.set()


def profile(tmp_path, origin, backends, default=None, rate=None, timeout=None, **more):
    ask = {"method": "POST", "path": "/ask/**", "reason": "because of the test"}
    service = {"upstream": f"http://{origin.netloc}", "credential_key": "env://NONO_TEST_KEY", "env_var": "SVC_KEY",
               "endpoint_policy": {"default": {"decision": "deny"}, "deny": [{"method": "POST", "path": "/ask/never"}],
                                   "approve": [ask | more], "allow": [{"method": "*", "path": "/free/**"}]}}
    if rate:
        service["rate_limit"] = rate
    defaults = {k: v for k, v in (("backend", default), ("timeout_secs", timeout)) if v}
    p = tmp_path / "p.json"
    p.write_text(json.dumps({"network": {"credentials": ["svc"], "custom_credentials": {"svc": service}},
                             "security": {"approval_backends": backends, **({"approval_defaults": defaults} if defaults else {})}}))
    return ["--profile", str(p)]


def gate(args, *flags, cls=Gateway, **more):
    return cls(*args, *flags, env={"NONO_TEST_KEY": SECRET} | more)


def ask(g, path="/svc/ask/x?q=1", method="POST", body="", extra=""):
    return f"{method} {path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {g.token}\r\nContent-Length: {len(body)}\r\n{extra}\r\n{body}"


@pytest.fixture()
def local():
    with Origin(host=LOCAL) as o:
        yield o


def approvals(g, n):
    return [r["decision"] for r in g.records(n, "approval")]


def test_case71_webhook_grants(tmp_path, local):
    with Hook() as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook")) as g:
        a = one(g, ask(g, body="hello"))
        assert a.status == 200, a
        assert [r["body"] for r in local.seen] == [b"hello"]
        assert local.seen[0]["h"]["authorization"] == f"Bearer {SECRET}"
        (r,) = h.asked
        assert r["method"] == "POST" and r["target"] == "/hook?a=1" and r["h"]["content-type"] == "application/json"
        assert r["h"]["user-agent"].startswith("nono-cli/") and "authorization" not in r["h"]
        q = json.loads(r["body"])
        assert q["backend"] == "hook"
        request = q["request"]
        assert request.pop("request_id").startswith("r")
        assert request == {"capability_type": "endpoint", "route_id": "svc", "upstream": f"http://{local.netloc}", "method": "POST",
                           "path": "/ask/x?q=1", "rule_label": "endpoint_policy.approve[POST /ask/**]", "reason": "because of the test",
                           "child_pid": 0, "session_id": "proxy"}
        assert g.token.encode() not in r["raw"] + r["body"] and SECRET.encode() not in r["raw"] + r["body"]
        assert approvals(g, 2) == ["approve_requested", "approve_granted"]
        x = g.records(1)[0]
        e = g.records(2, "approval")[0]
        assert x["approval_backend"] == "hook" == e["approval_backend"] and x["request_id"] == e["request_id"]
        assert x["endpoint_policy_action"] == "approve" and e["path"] == "/ask/x" and e["route_id"] == "svc"
        # nothing is remembered
        assert one(g, ask(g)).status == 200 and len(h.asked) == 2


ANSWERS = [(b'"Granted"', 200), (b'{"decision":" Approve\\n"}', 200), (b'{"decision":"allowed","reason":"x"}', 200),
           (b'"Timeout"', 403), (b'{"Denied":{"reason":"not today"}}', 403), (b'{"decision":"REJECT","reason":"no"}', 403),
           (b'{"decision":"timed_out"}', 403), (b'{"decision":"maybe"}', 403), (b'granted?', 403), (b'', 403), (b'true', 403), (b'"granted"', 403),
           (b'{"decision":"deny","decision":"grant"}', 403), (b'{"Denied":{"reason":"x"},"decision":"grant"}', 403), (b'[]', 403),
           (b'{"decision":true}', 403), (b'\x00\xff', 403)]


def test_case71_webhook_answers(tmp_path, local):
    with Hook() as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook")) as g:
        passed = 0
        for body, status in ANSWERS:
            h.answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            a = one(g, ask(g, extra="Accept: application/json\r\n"), closes=False)
            assert a.status == status, (body, a)
            passed += status == 200
            assert len(local.seen) == passed, body
            if status == 403:
                j = json.loads(a.body)
                assert j["error"] in ("approval_denied", "approval_timeout", "approval_failed") and "hook" in j["reason"], j
        r = [r for r in g.records(len(ANSWERS)) if r["status"] == 403]
        assert all(x["denial_category"] == "approval_denied" and x["outcome"] == "refused" and x["decision"] == "deny" for x in r)
        assert any("not today" in x["reason"] for x in r)


@pytest.mark.parametrize("status,extra", [("500 No", ""), ("404 Gone", ""), ("302 Found", "Location: /granted\r\n"), ("307 X", "Location: http://127.0.0.1:1/\r\n")])
def test_case71_webhook_refuses_by_status(tmp_path, local, status, extra):
    with Hook(status=status, extra=extra) as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook")) as g:
        a = one(g, ask(g))
        assert a.status == 403 and len(h.asked) == 1 and not local.seen  # a redirect is not followed
        assert approvals(g, 2) == ["approve_requested", "approve_denied"]


def test_case71_webhook_unreachable_or_flooding(tmp_path, local):
    def flood(conn, hook):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b" " * 69991 + b'"Granted"')

    def flood_chunked(conn, hook):
        with contextlib.suppress(OSError):
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n\"Granted\"\r\n" + b"8000\r\n" + b" " * 32768 + b"\r\n" * 1 + b"8000\r\n" + b" " * 32768 + b"\r\n0\r\n\r\n")

    def cut(conn, hook):
        conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n"Granted"')
    with Hook() as h, gate(profile(tmp_path, local, {"hook": h.conf(), "dead": {"type": "webhook", "url": f"http://127.0.0.1:{gateway.free_port()}/"}}, "hook")) as g:
        for answer in (flood, flood_chunked, cut):
            h.answer = answer
            a = one(g, ask(g))
            assert a.status == 403, (answer, a)
        assert not local.seen
        assert [d for d in approvals(g, 6) if d != "approve_requested"] == ["approve_error"] * 3
    with gate(profile(tmp_path, local, {"dead": {"type": "webhook", "url": f"http://127.0.0.1:{gateway.free_port()}/"}}, "dead")) as g:
        a = one(g, ask(g, extra="Accept: application/json\r\n"))
        assert a.status == 403 and json.loads(a.body)["error"] == "approval_failed"


def test_webhook_over_tls_is_verified(tmp_path, local, ca):
    good, bad = ca.server("127.0.0.1"), ca.server("other.test")
    for ctx, status in ((good, 200), (bad, 403)):
        with Hook(tls=ctx) as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook"), SSL_CERT_FILE=ca.pem) as g:
            assert one(g, ask(g)).status == status
            assert len(h.asked) == (status == 200)


def test_webhook_goes_through_the_upstream_proxy(tmp_path, local):
    with Hook(host="10.55.0.1") as h, Origin(host=LOCAL) as proxy:
        def serve(conn, origin):
            r, rest = read_request(conn)
            origin.seen.append(r)
            h.asked.append(r)
            conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"Granted"')
        proxy.handler = serve
        with gate(profile(tmp_path, local, {"hook": h.conf()}, "hook"), "--upstream-proxy", f"http://u:p%40ss@127.0.0.1:{proxy.port}") as g:
            assert one(g, ask(g)).status == 200
            (r,) = proxy.seen  # the route's own loopback upstream is not (K12)
            assert r["target"] == f"http://{h.origin.netloc}/hook?a=1"  # absolute form, never from the hook itself
            assert r["h"]["proxy-authorization"] == "Basic dTpwQHNz"
            assert not h.origin.connections
    with Hook() as h, Origin(host=LOCAL) as proxy:
        with gate(profile(tmp_path, local, {"hook": h.conf()}, "hook"), "--upstream-proxy", f"http://127.0.0.1:{proxy.port}") as g:
            assert one(g, ask(g)).status == 200
            assert not proxy.seen and len(h.asked) == 1  # to loopback directly


@pytest.mark.parametrize("bypass, direct", [("10.55.0.0/16", True), ("10.55.0.1", True), ("10.55.0.1:1", False), ("other.test", False)])
def test_O6_the_bypass_list_holds_for_webhooks_too(tmp_path, local, bypass, direct):
    with Hook(host="10.55.0.1") as h, hops.HttpHop(host=LOCAL) as proxy:
        with gate(profile(tmp_path, local, {"hook": h.conf()}, "hook"), "--upstream-proxy", f"http://127.0.0.1:{proxy.port}", "--upstream-bypass", bypass) as g:
            assert one(g, ask(g)).status == 200 and len(h.asked) == 1
            assert bool(proxy.asked) != direct


def test_case71_timeouts(tmp_path, local):
    with Hook(silent) as h:
        for where in ({"timeout_secs": 1}, {}):
            back = h.conf(**({} if where else {"timeout_secs": 1}))
            h.gone.clear()
            with gate(profile(tmp_path, local, {"hook": back}, "hook", **where)) as g:
                t = time.monotonic()
                a = one(g, ask(g, extra="Accept: application/json\r\n"))
                assert a.status == 403 and 0.9 < time.monotonic() - t < 4
                assert json.loads(a.body)["error"] == "approval_timeout" and "within 1 s" in json.loads(a.body)["reason"]
                assert approvals(g, 2) == ["approve_requested", "approve_timeout"]
                assert h.gone.wait(WAIT)
        with gate(profile(tmp_path, local, {"hook": h.conf()}, "hook", None, 1)) as g:  # approval_defaults
            assert one(g, ask(g)).status == 403


@pytest.mark.parametrize("where", ["rule", "default"])
def test_case71_a_rule_that_gives_no_time_is_over_at_once(tmp_path, local, where):
    more = {"timeout_secs": 0} if where == "rule" else {}
    with Hook(silent) as h:
        args = profile(tmp_path, local, {"hook": h.conf()}, "hook", **more)
        if where == "default":
            p = tmp_path / "p.json"
            p.write_text(p.read_text().replace('{"decision": "deny"}', '{"decision": "approve", "timeout_secs": 0}'))
        with gate(args) as g:
            a = one(g, ask(g, "/svc/ask/x" if where == "rule" else "/svc/other"))
            assert a.status == 403 and b"approval_timeout" in a.body, a
            assert approvals(g, 2) == ["approve_requested", "approve_timeout"] and not local.seen


def test_approval_asks_nobody_in_vain(tmp_path, local):
    with Hook() as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook")) as g:
        assert one(g, f"POST /svc/ask/x HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n").status == 401  # C1
        assert one(g, ask(g, "/svc/ask/never")).status == 403
        assert one(g, ask(g, "/svc/other")).status == 403
        assert one(g, ask(g, "/svc/free/x", "GET")).status == 200
        assert one(g, get(f"http://{local.netloc}/ask/x", "TRACE", auth=g.basic)).status == 403
        assert not h.asked and not g.records(0, "approval")
        for field in (f"X-Note: {g.token}", f"Cookie: a={g.token}"):  # K8
            assert one(g, ask(g, extra=field + "\r\n")).status == 400
        assert not h.asked and not g.records(0, "approval")
        for field in (f"X-Api-Key: {g.token}", f"Connection: X-Note\r\nX-Note: {g.token}", f"Proxy-Authorization: {g.basic}"):  # does not go upstream
            assert one(g, ask(g, extra=field + "\r\n")).status == 200
        assert len(h.asked) == 3 and all(g.token.encode() not in r["raw"] for r in local.seen)


@pytest.mark.parametrize("secret", [None, "", "two\nlines"])
@pytest.mark.parametrize("source", ["env", "file"])
def test_case71_nobody_is_asked_for_a_request_whose_credential_is_missing(tmp_path, local, source, secret):
    with Hook() as h:
        args = profile(tmp_path, local, {"hook": h.conf()}, "hook")
        if source == "file":
            p = tmp_path / "p.json"
            p.write_text(p.read_text().replace("env://NONO_TEST_KEY", f"file://{tmp_path}/key"))
            if secret is not None:
                (tmp_path / "key").write_text(secret)
        with Gateway(*args, env={"NONO_TEST_KEY": secret} if secret is not None and source == "env" else {}) as g:
            assert [one(g, ask(g)).status for _ in range(4)] == [503] * 4
            assert not h.asked and not g.records(0, "approval")
            if source == "file":
                (tmp_path / "new").write_text(SECRET)
                (tmp_path / "new").rename(tmp_path / "key")
                assert until(lambda: one(g, ask(g)).status == 200) and h.asked
                assert local.seen[0]["h"]["authorization"] == f"Bearer {SECRET}"


def test_approval_by_absolute_form(tmp_path, local):
    with Hook(b'{"decision":"deny"}') as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook")) as g:
        url = f"http://{local.netloc}/ask/x"
        assert one(g, get(url, "POST", "Content-Length: 0\r\n", auth=g.basic)).status == 403
        h.answer = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"Granted"'
        a = one(g, get(url, "POST", "Content-Length: 0\r\n", auth=g.basic))
        assert a.status == 200 and local.seen[0]["h"]["authorization"] == f"Bearer {SECRET}"
        assert [r["mode"] for r in g.records(2)] == ["forward", "forward"] and len(h.asked) == 2


def test_backend_is_missing(tmp_path, local):
    with Hook() as h, gate(profile(tmp_path, local, {"hook": h.conf()})) as g:  # a lone one is no default
        a = one(g, ask(g, extra="Accept: application/json\r\n"))
        assert a.status == 403 and "approval_defaults.backend" in json.loads(a.body)["reason"] and not h.asked
        assert approvals(g, 2) == ["approve_requested", "approve_error"]


GRANT, DENY, FAIL = b'"Granted"', b'{"decision":"deny"}', b"garbage"


@pytest.mark.parametrize("mode,answers,status,asked", [
    ("all", [GRANT, GRANT], 200, 2), ("all", [DENY, GRANT], 403, 1), ("all", [GRANT, FAIL], 403, 2), ("all", [FAIL, GRANT], 403, 1),
    ("any", [DENY, GRANT], 200, 2), ("any", [FAIL, GRANT], 200, 2), ("any", [GRANT, DENY], 200, 1), ("any", [DENY, FAIL], 403, 2)])
def test_case71_chain(tmp_path, local, mode, answers, status, asked):
    with Hook(answers[0]) as one_hook, Hook(answers[1]) as two:
        backends = {"one": one_hook.conf(), "two": two.conf(), "both": {"type": "chain", "mode": mode, "backends": ["one", "two"]}}
        with gate(profile(tmp_path, local, backends, "both")) as g:
            assert one(g, ask(g)).status == status
            assert len(one_hook.asked) + len(two.asked) == asked
            assert g.records(1)[0]["approval_backend"] == "both"


def test_chain_has_one_time_and_members_their_own(tmp_path, local):
    with Hook(silent) as slow, Hook() as good:
        backends = {"slow": slow.conf(timeout_secs=1), "good": good.conf(), "any": {"type": "chain", "mode": "any", "backends": ["slow", "good"]}}
        with gate(profile(tmp_path, local, backends, "any")) as g:
            t = time.monotonic()
            assert one(g, ask(g)).status == 200 and time.monotonic() - t > 0.9
        backends["slow"] = slow.conf(timeout_secs=30)
        backends["any"]["timeout_secs"] = 1
        with gate(profile(tmp_path, local, backends, "any")) as g:
            t = time.monotonic()
            assert one(g, ask(g)).status == 403 and time.monotonic() - t < 5
            assert len(good.asked) == 1


@pytest.mark.threads
@pytest.mark.parametrize("how", ["fin", "reset", "half"])
def test_client_that_leaves_withdraws(tmp_path, local, how):
    with Hook(silent) as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook")) as g:
        c = g.connect()
        c.send(ask(g))
        assert until(lambda: h.asked)
        if how == "half":
            c.s.shutdown(socket.SHUT_WR)
            assert c.closed()
        (c.reset if how == "reset" else c.close)()
        assert h.gone.wait(WAIT)
        assert g.records(1)[0]["outcome"] == "client_aborted"
        assert approvals(g, 2) == ["approve_requested", "approve_error"] and not local.seen
        h.answer = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"Granted"'
        assert one(g, ask(g)).status == 200


def test_stop_with_an_open_question(tmp_path, local):
    with Hook(silent) as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook"), "--drain-timeout", "0") as g:
        c = g.connect()
        c.send(ask(g))
        assert until(lambda: h.asked)
        assert g.stop() == 0 and h.gone.wait(WAIT)
        c.close()


def test_pooled_connection_that_dies_while_somebody_thinks(tmp_path):
    go, conns = threading.Event(), []

    def once_each(conn, origin):
        rest = b""
        while True:
            r, rest = read_request(conn, rest)
            origin.seen.append(r)
            conns.append(conn)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def slow(conn, hook):
        go.wait(WAIT)
        conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"Granted"')
    with Origin(once_each, host=LOCAL) as o, Hook(slow) as h, gate(profile(tmp_path, o, {"hook": h.conf()}, "hook"), "--workers", "1") as g:
        assert one(g, ask(g, "/svc/free/x", "GET")).status == 200
        with g.connect() as c:
            c.send(ask(g, body="data"))
            assert until(lambda: h.asked)
            conns[0].shutdown(socket.SHUT_RDWR)  # a POST cannot be repeated: it must not go out on this one
            conns[0].close()
            time.sleep(0.3)
            go.set()
            assert c.response("POST").status == 200
        assert o.connections == 2 and [r["method"] for r in o.seen] == ["GET", "POST"]


# ---------------------------------------------------------------- terminal


class TtyGateway(Gateway):
    """A gateway whose standard error is its controlling terminal."""

    def __enter__(self):
        self.master, slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.seen = b""
        real = subprocess.Popen

        def popen(args, **kw):
            return real(args, **(kw | {"stderr": slave, "preexec_fn": lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0)}))
        try:
            with mock.patch.object(gateway.subprocess, "Popen", popen):
                return super().__enter__()
        finally:
            os.close(slave)

    @property
    def stderr(self):
        with contextlib.suppress(OSError):
            while d := os.read(self.master, 65536):
                self.seen += d
        return self.seen.decode(errors="replace").replace("\r\n", "\n")

    def type(self, text):
        os.write(self.master, text.encode())

    def prompts(self, n):
        assert until(lambda: self.stderr.count("[y/N] ") >= n), self.stderr
        return self.stderr

    def __exit__(self, *a):
        try:
            super().__exit__(*a)
        finally:
            os.close(self.master)


TERMINAL = {"tty": {"type": "terminal"}}


def start(g, request):
    c = g.connect()
    c.send(request)
    return c


def test_terminal_without_one(tmp_path, local):
    with gate(profile(tmp_path, local, TERMINAL, "tty")) as g:
        a = one(g, ask(g, extra="Accept: application/json\r\n"))
        assert a.status == 403 and json.loads(a.body)["error"] == "approval_denied" and "terminal" in json.loads(a.body)["reason"]


@pytest.mark.parametrize("typed,status", [("y\n", 200), (" YES \n", 200), ("n\n", 403), ("\n", 403), ("yep\n", 403), ("\x04", 403), ("y" * 300 + "\n", 403)])
def test_terminal_answers(tmp_path, local, typed, status):
    with gate(profile(tmp_path, local, TERMINAL, "tty"), cls=TtyGateway) as g, start(g, ask(g)) as c:
        text = g.prompts(1)
        for line in ("[nono] Route: svc", "[nono] Method: POST", "[nono] Path: /ask/x?q=1", f"[nono] Upstream: http://{local.netloc}",
                     "[nono] Rule: endpoint_policy.approve[POST /ask/**]", "[nono] Reason: because of the test"):
            assert line + "\n" in text, (line, text)
        g.type(typed)
        assert c.response("POST").status == status
        assert len(local.seen) == (status == 200) and approvals(g, 2)[1] == ("approve_granted" if status == 200 else "approve_denied")


@pytest.mark.threads
def test_terminal_prompts_come_one_by_one(tmp_path, local):
    with gate(profile(tmp_path, local, TERMINAL, "tty"), "--workers", "2", cls=TtyGateway) as g, contextlib.ExitStack() as stack:
        cs = []
        for i in range(4):
            cs.append(stack.enter_context(start(g, ask(g, f"/svc/ask/{i}"))))
            if i == 0:
                g.prompts(1)
        until(lambda: len(g.records(0, "approval")) == 4)
        time.sleep(0.3)
        assert g.stderr.count("[y/N] ") == 1  # the others wait
        g.type("y\ny\n")  # what is typed ahead is no answer to a question not yet shown
        assert cs[0].response("POST").status == 200
        g.prompts(2)
        time.sleep(0.4)
        assert g.stderr.count("[y/N] ") == 2
        g.type("n\n")
        g.prompts(3)
        g.type("y\n")
        g.prompts(4)
        g.type("n\n")
        assert sorted(c.response("POST").status for c in cs[1:]) == [200, 403, 403]
        assert len(local.seen) == 2


@pytest.mark.threads
def test_terminal_prompt_goes_with_its_request(tmp_path, local):
    with gate(profile(tmp_path, local, TERMINAL, "tty"), "--workers", "2", cls=TtyGateway) as g:
        first = start(g, ask(g, "/svc/ask/1"))
        g.prompts(1)
        second, third = start(g, ask(g, "/svc/ask/2")), start(g, ask(g, "/svc/ask/3"))
        until(lambda: len(g.records(0, "approval")) == 3)
        second.close()  # never shown
        until(lambda: len(g.records(0, "approval")) == 4)
        first.close()
        text = g.prompts(2)
        assert "Withdrawn: the request went away" in text and "Path: /ask/3" in text and "Path: /ask/2" not in text
        g.type("y\n")
        assert third.response("POST").status == 200
        third.close()
        assert [r["target"] for r in local.seen] == ["/ask/3"]


def test_terminal_time_is_up(tmp_path, local):
    with gate(profile(tmp_path, local, TERMINAL, "tty", timeout_secs=1), cls=TtyGateway) as g, start(g, ask(g)) as c:
        g.prompts(1)
        a = c.response("POST")
        assert a.status == 403 and b"within 1 s" in a.body
        assert until(lambda: "No answer in time" in g.stderr)
        g.type("y\n")  # too late, and no answer to the next
        with start(g, ask(g)) as d:
            g.prompts(2)
            assert d.response("POST").status == 403
        assert not local.seen


def test_terminal_shows_no_controls(tmp_path, local):
    with gate(profile(tmp_path, local, TERMINAL, "tty"), cls=TtyGateway) as g:
        with start(g, ask(g, "/svc/ask/\xc2\x9b31m\xe2\x80\xae\xff%1b[2J")) as c:
            text = g.prompts(1)
            assert "Path: /ask/ 31m??%1b[2J\n" in text, text
            g.type("n\n")
            assert c.response("POST").status == 403


def test_terminal_does_not_hold_the_loop(tmp_path, local):
    with gate(profile(tmp_path, local, TERMINAL, "tty"), "--drain-timeout", "0", cls=TtyGateway) as g, start(g, ask(g)):
        g.prompts(1)
        termios.tcflow(g.master, termios.TCOOFF)
        assert one(g, ask(g, "/svc/free/x", "GET")).status == 200
        assert g.stop() == 0


# ---------------------------------------------------------------- rate limits


def burst(g, n, path="/svc/free/x"):
    out, threads = [], []

    def go():
        t = time.monotonic()
        a = one(g, ask(g, path, "GET"))
        out.append((a.status, time.monotonic() - t, a.get("retry-after")))
    for _ in range(n):
        threads.append(threading.Thread(target=go))
        threads[-1].start()
    for t in threads:
        t.join()
    return out


@pytest.mark.threads
def test_case94_rate_limit_over_two_workers(tmp_path, local):
    rate = {"requests_per_minute": 60, "burst": 2, "max_delay_secs": 2}
    with gate(profile(tmp_path, local, TERMINAL, "tty", rate), "--workers", "2", "--allow-domain", "origin.test") as g:
        t = time.monotonic()
        out = burst(g, 8)
        assert sorted(s for s, _, _ in out) == [200] * 4 + [429] * 4, out
        assert len(local.seen) == 4 and 1.7 < time.monotonic() - t < 6
        assert sorted(round(d) for s, d, _ in out if s == 200) == [0, 0, 1, 2], out
        assert all(r and 1 <= int(r) <= 3 for s, _, r in out if s == 429)
        r = [r for r in g.records(8) if r["status"] == 429]
        assert len(r) == 4 and all(x["denial_category"] == "rate_limited" and x["outcome"] == "refused" for x in r)
        assert len({x["connection_id"] for x in g.records(8)}) == 8


def test_case6_rate_limit_holds_without_authentication(tmp_path, local):
    rate = {"requests_per_minute": 1, "burst": 1, "max_delay_secs": 0}
    args = profile(tmp_path, local, TERMINAL, "tty", rate)
    with Gateway(*args, auth=False, env={"NONO_TEST_KEY": SECRET}) as g:
        request = f"GET /svc/free/x HTTP/1.1\r\nHost: 127.0.0.1:{g.port}\r\n\r\n"
        assert one(g, request).status == 200
        a = one(g, request, closes=False)
        assert a.status == 429 and 55 <= int(a.get("retry-after")) <= 61 and a.reason == "Too Many Requests"


def test_rate_limit_counts_before_anybody_is_asked(tmp_path, local):
    rate = {"requests_per_minute": 1, "burst": 1, "max_delay_secs": 0}
    with Hook(DENY) as h, gate(profile(tmp_path, local, {"hook": h.conf()}, "hook", rate)) as g:
        assert one(g, ask(g)).status == 403
        assert one(g, ask(g)).status == 429
        assert one(g, get(f"http://{local.netloc}/free/x", auth=g.basic)).status == 429  # on every path
        assert len(h.asked) == 1


def test_rate_limit_survives_a_reload(tmp_path, local):
    import signal
    rate = {"requests_per_minute": 1, "burst": 1, "max_delay_secs": 0}
    with gate(profile(tmp_path, local, TERMINAL, "tty", rate)) as g:
        assert one(g, ask(g, "/svc/free/x", "GET")).status == 200
        g.proc.send_signal(signal.SIGHUP)
        assert until(lambda: any(r["event"] == "reload" for r in g.records(0, "lifecycle")))
        assert one(g, ask(g, "/svc/free/x", "GET")).status == 429


def test_client_that_leaves_while_it_is_delayed(tmp_path, local):
    rate = {"requests_per_minute": 30, "burst": 1, "max_delay_secs": 5}
    with gate(profile(tmp_path, local, TERMINAL, "tty", rate)) as g:
        assert one(g, ask(g, "/svc/free/x", "GET")).status == 200
        c = start(g, ask(g, "/svc/free/y", "GET"))
        time.sleep(0.2)
        c.close()
        assert g.records(2)[1]["outcome"] == "client_aborted" and len(local.seen) == 1
