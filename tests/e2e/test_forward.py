"""Absolute-form requests: what goes upstream byte for byte, upgrades, expectations, retries, answers that come early, https://."""
import base64
import hashlib
import json
import os
import re
import socket
import struct
import threading
import time

import pytest
from gateway import Gateway, Origin, answering, get, one, read_head, serving, talk, until

REPLIES = {}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def o():
    with Origin(serving(REPLIES)) as origin:
        yield origin


@pytest.fixture(scope="module")
def g():
    with Gateway("--workers", "2", "--allow-domain", "*", "--allow-domain", "127.0.0.1", "--deny-domain", "denied.test", auth=False) as gateway:
        yield gateway


def U(o, path="/"):
    return f"http://{o.netloc}{path}"


def sent(g, o, data, method="GET"):
    """The head that the upstream saw for these bytes."""
    a = one(g, data, method)
    assert a.status == 200, a
    return o.seen[-1]["raw"].decode("latin-1")


# ---- the request head

@pytest.mark.threads
def test_case_34_origin_form_and_the_hosts_own_name(g, o):
    p = f"{o.host}:{o.port}"
    for target, origin in ((f"http://{p}", "/"), (f"http://{p}/", "/"), (f"http://{p}?q=1", "/?q=1"), (f"http://{p}/a//b/../c?x=/?y", "/a//b/../c?x=/?y"), (f"HTTP://{p}/A%2fb", "/A%2fb"), (f"http://{p}/?", "/?"), (f"http://{p}//x", "//x"),
                           (f"http://{p}/http://other/", "/http://other/"), (f"http://[::ffff:{o.host}]:{o.port}/m", "/m")):
        assert sent(g, o, f"GET {target} HTTP/1.1\r\nHost: whatever.test:99\r\nX-A: 1\r\n\r\n") == f"GET {origin} HTTP/1.1\r\nHost: {p}\r\nX-A: 1\r\n\r\n", target


def test_case_34_the_authority_ends_where_the_path_or_the_query_begins(g, o):
    p = f"{o.host}:{o.port}"
    for target, origin in ((f"http://{p}/@denied.test/", "/@denied.test/"), (f"http://{p}?x@denied.test/", "/?x@denied.test/"), (f"http://{p}/:80", "/:80"), (f"http://{p}/?http://denied.test/", "/?http://denied.test/")):
        assert sent(g, o, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").startswith(f"GET {origin} HTTP/1.1\r\n")
    for target in (f"http://{p}@denied.test/", f"http://{p}\\@denied.test/", f"http://{p}%2f@denied.test/", f"http://{p}%23@denied.test/", f"http://denied.test%00.{o.host}/", f"http://{p};@denied.test/"):
        assert one(g, f"GET {target} HTTP/1.1\r\nHost: {p}\r\n\r\n").status == 400, target


def test_C8_host_is_canonical_and_without_a_default_port(g):
    with Origin(serving({}), port=80) as o80:
        for target, host in (("http://ORIGIN.Test./x", "origin.test"), ("http://origin.test:80/x", "origin.test"), ("http://origin.test:/x", "origin.test"), ("http://origin.test:00080/x", "origin.test"),
                             ("http://xn--bcher-kva.TEST/x", "xn--bcher-kva.test")):
            assert sent(g, o80, f"GET {target} HTTP/1.1\r\nHost: z\r\n\r\n") == f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n", target
        assert sent(g, o80, "GET http://b\u00fccher.test/x HTTP/1.1\r\nHost: z\r\n\r\n".encode()) == "GET /x HTTP/1.1\r\nHost: xn--bcher-kva.test\r\n\r\n"
    with Origin(serving({}), host="fd55::1") as o6:
        assert f"Host: [fd55::1]:{o6.port}\r\n" in sent(g, o6, get(f"http://[FD55:0::1]:{o6.port}/"))


def test_case_41_and_C8_hop_by_hop_fields_go_and_all_else_stays_as_sent(g, o):
    kept = "uSER-agent: x\r\nX-One: 1\r\nAccept: a\r\nX-One: 2\r\nAuthorization: Bearer own\r\nCookie: c\r\nVia: 1.0 me\r\nX-Forwarded-For: 1.2.3.4\r\nTrailer: X\r\nForwarded: for=x\r\nContent-Type: t/u\r\n"
    gone = ["Connection: keep-alive, X-Named ,x-other, ,close-not", "X-Named: a", "X-OTHER: b", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Upgrade: h2c", "HTTP2-Settings: x", "Proxy-Authenticate: x",
            "Proxy-Authorization: Basic eDp5", "connection: x-third", "X-Third: c", "X-Third: d"]
    lines = kept.split("\r\n")[:-1]
    mixed = "\r\n".join(x for i, l in enumerate(lines) for x in ([l, gone[i]] if i < len(gone) else [l])) + "\r\n" + "\r\n".join(gone[len(lines):]) + "\r\n"
    raw = sent(g, o, get(U(o, "/hop"), extra=mixed))
    head, _, rest = raw.partition("\r\n")
    assert rest.replace(f"Host: {o.netloc}\r\n", "") == kept.replace("Trailer: X\r\n", "" if "Trailer" not in rest else "Trailer: X\r\n") + "\r\n", raw


def test_K10_a_client_cannot_name_host_or_framing_away(g, o):
    raw = sent(g, o, get(U(o), method="POST", extra="Connection: Host, Content-Length, Transfer-Encoding, Connection\r\nContent-Length: 2\r\n", body="hi"))
    assert f"Host: {o.netloc}\r\n" in raw and "Content-Length: 2\r\n" in raw and o.seen[-1]["body"] == b"hi" and "onnection:" not in raw


def test_C8_hop_by_hop_fields_of_answers_go_too(g, o):
    REPLIES["/hop"] = (b"HTTP/1.1 200 Fine\r\nServer: s\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic realm=x\r\nProxy-Connection: x\r\nUpgrade: h2\r\nSet-Cookie: a\r\n"
                       b"Set-Cookie: b\r\nx-lOw: K\r\nContent-Length: 2\r\n\r\nok")
    a = one(g, get(U(o, "/hop")), closes=False)
    assert (a.status, a.reason) == (200, "Fine")
    assert a.headers == [("Server", "s"), ("Set-Cookie", "a"), ("Set-Cookie", "b"), ("x-lOw", "K"), ("Content-Length", "2")], a


def test_a_407_of_an_upstream_is_no_407_of_ours(g, o):
    REPLIES["/407"] = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=evil\r\nContent-Length: 0\r\n\r\n"
    assert one(g, get(U(o, "/407"))).get("proxy-authenticate") is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get", "M-SEARCH", "X!#$%&'*+-.^_`|~1"])
def test_any_method_passes(g, o, method):
    assert one(g, get(U(o, "/m"), method=method), method, closes=False).status == 200
    assert o.seen[-1]["method"] == method


def test_C13_trace_is_refused_everywhere(g, o):
    before = o.connections
    for data in (get(U(o), method="TRACE"), get(U(o), method="TRACE", extra="Max-Forwards: 0\r\n"), get(U(o), method="trace"), "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
                 "trace /x HTTP/1.1\r\nHost: x\r\n\r\n", get("http://denied.test/", method="TRACE")):
        a = one(g, data)
        assert a.status == 403 and b"floor:trace" in a.body, (data, a)
        r = until(lambda: [r for r in g.records() if re.search(rb'\b%s[)"]' % r["request_id"].encode(), a.body)])[0]
        assert (r.get("rule"), r["status"], r["outcome"]) == ("floor:trace", 403, "refused"), r
    assert o.connections == before


def test_C13_options_and_max_forwards(g, o):
    before = len(o.seen)
    a = one(g, get(U(o, "/x"), method="OPTIONS", extra="Max-Forwards: 0\r\n"), "OPTIONS", closes=False)
    assert a.status == 204 and a.get("allow") and len(o.seen) == before
    for n, want in (("1", "0"), ("17", "16")):
        assert f"\r\nMax-Forwards: {want}\r\n" in sent(g, o, get(U(o, "/x"), method="OPTIONS", extra=f"Max-Forwards: {n}\r\n"), "OPTIONS")
    assert "\r\nMax-Forwards: 0\r\n" in sent(g, o, get(U(o, "/x"), extra="Max-Forwards: 0\r\n"))  # of OPTIONS and TRACE only
    assert sent(g, o, f"OPTIONS http://{o.netloc} HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS").startswith("OPTIONS * HTTP/1.1\r\n")
    assert sent(g, o, f"OPTIONS http://{o.netloc}/ HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS").startswith("OPTIONS / HTTP/1.1\r\n")
    assert one(g, get("http://denied.test/", method="OPTIONS", extra="Max-Forwards: 0\r\n"), "OPTIONS").status == 403
    assert one(g, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS", closes=False).status == 204
    assert one(g, "OPTIONS /x HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS", closes=False).status == 404


def test_C13_a_request_to_ourselves_is_answered_here_or_refused(g):
    for host in ("127.0.0.1", "localhost", "LOCALHOST.", "[::ffff:127.0.0.1]"):
        a = one(g, get(f"http://{host}:{g.port}/svc/x"), closes=False)
        assert a.status == 404 and json.loads(a.body)["error"] == "unknown_service", (host, a)
    for data in (f"OPTIONS http://127.0.0.1:{g.port} HTTP/1.1\r\nHost: x\r\n\r\n", f"OPTIONS http://localhost:{g.port} HTTP/1.1\r\nHost: x\r\n\r\n"):
        assert one(g, data, "OPTIONS", closes=False).status == 204  # the asterisk form, spelled out (RFC 9112 3.2.4)
    assert one(g, get(f"http://rebind.test:{g.port}/", extra="Accept: application/json\r\n")).status == 403
    a = one(g, get(f"https://127.0.0.1:{g.port}/"))
    assert a.status in (403, 404)
    assert one(g, get("http://localhost:1/")).status == 403  # another port is another server: policy decides


def test_case_40_a_host_with_a_port_on_a_private_network(g, o):
    assert one(g, get(f"http://origin.test:{o.port}/")).status == 200


def test_case_43_failures_of_forward_requests(g):
    for url, status, error in (("http://10.55.0.1:1/", 502, "connect_failed"), ("http://10.57.0.9/", 502, "connect_failed"), ("http://denied.test/", 403, "host_denied"), ("http://meta.test/", 403, "address_denied"),
                               ("https://10.55.0.1:1/", 502, "connect_failed")):
        a = one(g, get(url, extra="Accept: application/json\r\n"), closes=False)
        assert a.status == status and json.loads(a.body)["error"] == error, (url, a)


# ---- 100-continue and interim answers

def continuing(conn, origin, raw, rest):
    conn.sendall(b"HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n")
    while len(rest) < 5:
        rest += conn.recv(100)
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + rest[:5])
    return rest[5:]


@pytest.mark.threads
def test_case_100_expect_100_continue(g, o):
    REPLIES["/continue"] = continuing
    with g.connect() as c:
        for _ in range(3):
            c.send(get(U(o, "/continue"), method="POST", extra="Expect: 100-continue\r\nContent-Length: 5\r\n"))
            a = c.head()
            assert a.status == 100 and a.headers == [("X-Interim", "1")]
            c.send("hello")
            assert c.response().body == b"hello"
        assert b"\r\nExpect: 100-continue\r\n" in o.raw[-1]
        c.send(get(U(o, "/continue"), method="POST", extra="expect: 100-CONTINUE\r\nContent-Length: 5\r\n") + "hello")  # nobody has to wait
        assert c.response().body == b"hello"


def test_case_100_an_upstream_that_does_not_know_it(g, o):
    with g.connect() as c:
        c.send(get(U(o, "/plain"), method="POST", extra="Expect: 100-continue\r\nContent-Length: 5\r\n"))
        time.sleep(0.1)
        c.send("hello")
        assert json.loads(c.response().body)["body"] == "hello"


def test_case_100_a_final_answer_instead_closes(g):
    with Origin(lambda conn, _: (read_head(conn), conn.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"), conn.recv(1))) as o2:
        a = one(g, get(U(o2), method="POST", extra="Expect: 100-continue\r\nContent-Length: 5\r\n"), closes=True)
        assert a.status == 401 and a.body == b"no" and a.get("connection") == "close" and not a.interim


def test_an_expectation_without_a_body_waits_for_nothing(g, o):
    assert one(g, get(U(o, "/e"), extra="Expect: 100-continue\r\n"), closes=False).status == 200


def test_C7_interim_answers_pass(g, o):
    REPLIES["/hints"] = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-P\r\nX-P: 1\r\n\r\n" + OK
    a = one(g, get(U(o, "/hints")), closes=False)
    assert a.status == 200 and a.interim == [102, 103]
    REPLIES["/many"] = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + OK
    assert len(one(g, get(U(o, "/many"))).interim) == 100


# ---- upgrades

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
WS = f"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def websocket(conn, origin, raw, rest):
    conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept_of(KEY) + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\nearly")
    while rest or (rest := conn.recv(65536)):
        conn.sendall(rest)
        rest = b""


@pytest.mark.threads
def test_case_102_and_C9_a_websocket_by_absolute_form(g, o):
    REPLIES["/ws"] = websocket
    with g.connect() as c:
        c.send(get(U(o, "/ws"), extra=WS + "Sec-WebSocket-Protocol: chat\r\nX: y\r\n") + "sent at once")
        a = c.response()
        assert a.status == 101 and a.get("upgrade") == "websocket" and a.get("connection") == "Upgrade" and a.get("sec-websocket-protocol") == "chat"
        assert c.exactly(17) == b"earlysent at once"
        data = os.urandom(300_000)
        c.s.settimeout(20)
        threading.Thread(target=c.s.sendall, args=(data,), daemon=True).start()
        assert c.exactly(len(data)) == data
    raw = o.raw[-1].decode()
    assert raw.count("Connection: Upgrade\r\n") == 1 and raw.count("Upgrade: websocket\r\n") == 1 and f"Sec-WebSocket-Key: {KEY}\r\n" in raw
    r = until(lambda: [r for r in g.records(0) if r["status"] == 101])[0]
    assert r["mode"] == "forward" and r["path"] == "/ws" and r["decision"] == "allow" and r["response_bytes"] >= len(data)


def test_case_103_a_websocket_that_is_malformed_or_denied_never_reaches_an_upstream(g, o):
    before = o.connections
    for extra in (WS.replace(KEY, "short"), WS.replace("13", "12"), WS.replace(f"Sec-WebSocket-Key: {KEY}\r\n", ""), WS + f"Sec-WebSocket-Key: {KEY}\r\n", WS.replace("Sec-WebSocket-Version: 13\r\n", "")):
        assert one(g, get(U(o, "/ws"), extra=extra)).status == 400, extra
    assert one(g, get("http://denied.test/ws", extra=WS), closes=False).status == 403
    assert o.connections == before


def test_case_104_another_answer_to_an_upgrade_is_an_ordinary_one(g, o):
    REPLIES["/426"] = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 4\r\n\r\nnope"
    a = one(g, get(U(o, "/426"), extra=WS), closes=False)
    assert a.status == 426 and a.body == b"nope"
    assert one(g, get(U(o, "/ordinary"), extra=WS), closes=False).status == 200


def test_case_102_a_101_that_proves_nothing_is_502(g, o):
    good = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept_of(KEY) + b"\r\n\r\n"
    for reply in (good.replace(accept_of(KEY), accept_of("x")), good.replace(b"Sec-WebSocket-Accept: " + accept_of(KEY) + b"\r\n", b""), good.replace(b"Upgrade: websocket", b"Upgrade: h2c")):
        with Origin(answering(reply)) as o2:
            assert one(g, get(U(o2), extra=WS), closes=False).status == 502, reply
    with Origin(answering(good)) as o2:
        assert one(g, get(U(o2)), closes=False).status == 502


def test_C9_other_upgrades_are_dropped_and_the_request_goes_on(g, o):
    for extra in ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n", "Upgrade: websocket\r\n", "Connection: upgrade\r\nUpgrade: foo, bar/2\r\n"):
        raw = sent(g, o, get(U(o, "/up"), extra=extra)).lower()
        assert "upgrade" not in raw and "http2-settings" not in raw, raw
    raw = sent(g, o, get(U(o, "/up"), method="POST", extra=WS + "Content-Length: 2\r\n", body="hi")).lower()
    assert "upgrade:" not in raw


# ---- streaming

def drip(conn, origin, raw, rest):
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if b"/chunked" in raw else b"\r\n"))
    for i in range(3):
        e = b"data: %d\n\n" % i
        conn.sendall(b"%x\r\n%s\r\n" % (len(e), e) if b"/chunked" in raw else e)
        origin.go.acquire(timeout=5)
    if b"/chunked" in raw:
        conn.sendall(b"0\r\n\r\n")
        return rest
    return None


@pytest.mark.parametrize("path", ["/chunked", "/close"])
def test_case_99_each_event_arrives_before_the_next_is_made(g, path):
    with Origin(serving({path: drip})) as o2, g.connect(5) as c:
        o2.go = threading.Semaphore(0)
        c.send(get(U(o2, path)))
        assert c.head().get("transfer-encoding") == "chunked"
        for i in range(3):
            assert c.line() == b"9" and c.exactly(11) == b"data: %d\n\n\r\n" % i
            o2.go.release()
        assert c.line() == b"0"


def test_C7_a_request_body_streams(g):
    def slow(conn, origin, raw, rest):
        while b"one" not in rest:
            rest += conn.recv(1000)
        origin.first.set()
        while b"two" not in rest or (b"chunked" in raw and b"0\r\n\r\n" not in rest):
            rest += conn.recv(1000)
        conn.sendall(OK)
        return b""
    with Origin(serving({"/s": slow})) as o2:
        for extra, pieces in (("Content-Length: 6\r\n", ("one", "two")), ("Transfer-Encoding: chunked\r\n", ("3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"))):
            o2.first = threading.Event()
            with g.connect() as c:
                c.send(get(U(o2, "/s"), method="POST", extra=extra) + pieces[0])
                assert o2.first.wait(3), extra
                c.send(pieces[1])
                assert c.response().body == b"ok"


@pytest.mark.threads
def test_case_38_64_mib_each_way_in_bounded_memory(g):
    n, block = 64, os.urandom(1 << 20)
    want = hashlib.sha256(block * n).hexdigest().encode()

    def big(conn, origin, raw, rest):
        if raw.startswith(b"GET"):
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if b"/chunked" in raw else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (n << 20))
            for _ in range(n):
                conn.sendall(b"%x\r\n%s\r\n" % (len(block), block) if b"/chunked" in raw else block)
            if b"/chunked" in raw:
                conn.sendall(b"0\r\n\r\n")
            return rest
        h, got = hashlib.sha256(rest), len(rest)
        while got < n << 20:
            d = conn.recv(1 << 18)
            h.update(d)
            got += len(d)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + h.hexdigest().encode())
        return b""
    with Origin(serving({"/sized": big, "/chunked": big})) as o2:
        before = g.rss_kib()
        for path in ("/sized", "/chunked"):
            with g.connect() as c:
                c.send(get(U(o2, path)))
                chunked, h, got = c.head().get("transfer-encoding"), hashlib.sha256(), 0
                while got < n << 20:
                    size = int(c.line(), 16) if chunked else (1 << 16)
                    while size:
                        if not c.buf:
                            c.buf = c.s.recv(1 << 18)
                        d, c.buf = c.buf[:size], c.buf[size:]
                        h.update(d)
                        got, size = got + len(d), size - len(d)
                    if chunked:
                        assert c.line() == b""
                assert h.hexdigest().encode() == want
        with g.connect() as c:
            c.send(get(U(o2, "/sized"), method="POST", extra=f"Content-Length: {n << 20}\r\n"))
            for _ in range(n):
                c.send(block)
            assert c.response().body == want
        assert g.rss_kib() - before < 16384


def test_C7_back_pressure_both_ways(g):
    def flood(conn, origin, raw, rest):
        conn.settimeout(0.4)
        origin.n = 0
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                origin.n += conn.send(b"x" * 65536)
        except TimeoutError:
            origin.done.set()

    def deaf(conn, origin, raw, rest):
        origin.done.wait(10)
    with Origin(serving({"/flood": flood, "/deaf": deaf})) as o2:
        o2.done = threading.Event()
        with g.connect() as c:
            c.send(get(U(o2, "/flood")))
            assert o2.done.wait(10) and o2.n < 40 << 20
        o2.done.clear()
        with g.connect() as c:
            c.send(get(U(o2, "/deaf"), method="POST", extra="Content-Length: 1000000000\r\n"))
            c.s.settimeout(0.4)
            n = 0
            with pytest.raises(TimeoutError):
                while n < 64 << 20:
                    n += c.s.send(b"x" * 65536)
        o2.done.set()


# ---- an answer before the request is out

def early(reply, linger):
    def handler(conn, origin, raw, rest):
        conn.sendall(reply)
        end = time.monotonic() + linger
        conn.settimeout(0.2)
        while time.monotonic() < end:
            try:
                if not conn.recv(1 << 18):
                    break
            except TimeoutError:
                pass
    return handler


def test_C14_an_early_answer_is_relayed_at_once(g):
    with Origin(serving({"/e": early(b"HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\n\r\nbig", 1)})) as o2, g.connect() as c:
        c.send(get(U(o2, "/e"), method="POST", extra="Content-Length: 100000\r\n") + "x" * 100)
        assert c.response().body == b"big"


def test_C14_an_upstream_that_answers_and_closes_in_the_middle_of_an_upload(g):
    for size in (200_000, 20_000_000):
        with Origin(serving({"/e": early(b"HTTP/1.1 413 Too Big\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig", 0)})) as o2, g.connect() as c:
            c.send(get(U(o2, "/e"), method="POST", extra=f"Content-Length: {size}\r\n"))
            def push():
                try:
                    c.s.sendall(b"x" * size)
                except OSError:
                    pass
            t = threading.Thread(target=push, daemon=True)
            t.start()
            a = c.response()
            assert a.status == 413 and a.body == b"big"


def test_C14_a_short_rest_after_an_early_answer_is_skipped(g, o):
    with Origin(serving({"/e": early(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 1)})) as o2, g.connect() as c:
        c.send(get(U(o2, "/e"), method="POST", extra="Content-Length: 1000\r\n") + "x" * 10)
        a = c.response()
        assert a.body == b"ok"
        if a.get("connection") == "close":
            assert c.closed()
        else:
            c.send("x" * 990 + get(U(o, "/next")))
            assert json.loads(c.response().body)["target"] == "/next"


def test_C14_the_request_goes_on_while_the_answer_streams(g):
    """An echo that answers as it reads: neither side waits for the other's end."""
    def echo(conn, origin, raw, rest):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        n = 0
        while n < 40:
            if not rest:
                rest = conn.recv(100)
            conn.sendall(rest)
            n, rest = n + len(rest), b""
        return b""
    with Origin(serving({"/echo": echo})) as o2, g.connect() as c:
        c.send(get(U(o2, "/echo"), method="POST", extra="Content-Length: 40\r\n"))
        assert c.head().status == 200
        for i in range(10):
            c.send(b"%04d" % i)
            assert c.exactly(4) == b"%04d" % i
        c.send(get(U(o2, "/after")))
        assert c.response().status == 200


def test_a_client_that_vanishes_in_an_upload_or_a_download(g):
    seen, ended = threading.Event(), threading.Event()

    def endless(conn, origin, raw, rest):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                conn.sendall(b"x" * 10000)
        finally:
            ended.set()

    def upload(conn, origin, raw, rest):
        seen.set()
        while d := conn.recv(65536):
            rest += d
        origin.whole = b"0\r\n\r\n" in rest
        ended.set()
    with Origin(serving({"/down": endless, "/up": upload})) as o2:
        for end in ("close", "reset"):
            ended.clear()
            c = g.connect()
            c.send(get(U(o2, "/down")))
            assert c.head().status == 200
            getattr(c, end)()
            assert ended.wait(5)
            ended.clear(), seen.clear()
            c = g.connect()
            c.send(get(U(o2, "/up"), method="POST", extra="Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n")
            assert seen.wait(5)
            getattr(c, end)()
            assert ended.wait(5) and not getattr(o2, "whole", False)


def test_K11_trailers_of_answers(g, o):
    REPLIES["/trailers"] = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\nHost: h\r\nAuthorization: a\r\n"
                            b"Connection: close\r\nX-Api-Key: k\r\ngrpc-status: 0\r\n\r\n")
    a = one(g, get(U(o, "/trailers")), closes=False)
    assert a.body == b"ok" and a.trailers == ["X-Sum: 1", "grpc-status: 0"], a.trailers


def test_audit_of_forward_requests(o):
    REPLIES["/201"] = b"HTTP/1.1 201 Made\r\nContent-Length: 7\r\n\r\nsevened"
    with Gateway("--workers", "1", auth=False) as g, g.connect() as c:
        for _ in range(2):
            c.send(get(U(o, "/201?q=1"), method="POST", extra="Content-Length: 5\r\n", body="hello"))
            assert c.response().status == 201
        c.send(get(U(o, "/201"), method="POST", extra="Transfer-Encoding: chunked\r\n", body="3\r\nabc\r\n0\r\n\r\n"))
        assert c.response().status == 201
        a, b, d = g.records(3)
        assert (a["mode"], a["decision"], a["outcome"], a["status"], a["method"], a["path"], a["query_present"], a["scheme"], a["target"], a["port"]) == ("forward", "allow", "ok", 201, "POST", "/201", True, "http", o.host, o.port)
        assert (a["request_bytes"], a["response_bytes"], d["request_bytes"], d["query_present"]) == (5, 7, 3, False)
        assert (a["upstream_reused"], b["upstream_reused"]) == (False, True) and a["connection_id"] == b["connection_id"] != a["request_id"] != b["request_id"]
        assert a["duration_ms"] >= a["upstream_wait_ms"] >= 0 and "q=1" not in g.audit_path.read_text()


# ---- retries

class Dying(Origin):
    """Answers the first request of each connection; the first connection then dies as told when its second request comes."""

    def __init__(self, how):
        self.how, self.got = how, []
        super().__init__(self._life)

    def _life(self, conn, _):
        first = self.connections == 1
        rest = b""
        for i in range(100):
            raw, rest = read_head(conn, rest)
            self.got.append(raw.split(b" ")[0].decode())
            length = [int(l.split(b":")[1]) for l in raw.lower().split(b"\r\n") if l.startswith(b"content-length")]
            while length and len(rest) < length[0]:
                rest += conn.recv(65536)
            body, rest = (rest[:length[0]], rest[length[0]:]) if length else (b"", rest)
            if first and i:
                if self.how == "reset":
                    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if self.how == "half":
                    conn.sendall(b"HTTP/1.1 200 OK\r\nConte")
                return
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.mark.threads
@pytest.mark.parametrize("how", ["close", "reset"])
def test_case_121_a_dead_pooled_connection_is_tried_again_for_safe_requests_only(g, how):
    for method, body, status in (("GET", "", 200), ("HEAD", "", 200), ("PUT", "data", 200), ("DELETE", "", 200), ("PUT", "d" * 16384, 200), ("POST", "data", 502), ("PATCH", "", 502), ("PUT", "d" * 16385, 502)):
        with Dying(how) as o2, g.connect() as c:
            c.send(get(U(o2)))
            assert c.response().status == 200
            c.send(get(U(o2, "/2"), method=method, extra=f"Content-Length: {len(body)}\r\n" if body else "", body=body))
            a = c.response(method)
            assert a.status == status and (status != 200 or a.body.decode() == body), (method, len(body), a)
            assert o2.got == ["GET", method, method] if status == 200 else ["GET", method]
            c.send(get(U(o2, "/3")))
            assert c.response().status == 200


def test_case_121_a_client_that_waits_for_its_100_is_no_obstacle(g):
    with Dying("close") as o2, g.connect() as c:
        c.send(get(U(o2)))
        assert c.response().status == 200
        c.send(get(U(o2, "/2"), method="PUT", extra="Expect: 100-continue\r\nContent-Length: 5\r\n"))
        time.sleep(0.1)
        c.send("hello")
        assert c.response().body == b"hello"


def test_case_121_a_body_in_pieces_is_sent_again_whole(g):
    for n in (1, 5):
        class Late(Dying):
            def _life(self, conn, _):
                first = self.connections == 1
                rest = b""
                for i in range(9):
                    raw, rest = read_head(conn, rest)
                    if first and i:
                        while len(rest) < 1000 * n:
                            rest += conn.recv(65536)
                        return
                    length = 8000 if b"PUT" in raw else 0
                    while len(rest) < length:
                        rest += conn.recv(65536)
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (length, rest[:length]))
                    rest = rest[length:]
        body = "".join(f"{i:07d}," for i in range(1000))
        with Late("") as o2, g.connect() as c:
            c.send(get(U(o2)))
            assert c.response().status == 200
            c.send(get(U(o2, "/2"), method="PUT", extra="Content-Length: 8000\r\n"))
            for i in range(8):
                c.send(body[i * 1000:i * 1000 + 1000])
                time.sleep(0.02)
            assert c.response().body.decode() == body


def test_case_121_not_once_a_byte_of_the_answer_came(g):
    with Dying("half") as o2, g.connect() as c:
        c.send(get(U(o2)))
        assert c.response().status == 200
        c.send(get(U(o2, "/2")))
        assert c.response().status == 502 and o2.got == ["GET", "GET"]


def test_case_121_a_connection_that_closed_while_idle_is_not_used(g):
    with Origin(serving({"/bye": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"})) as o2:
        def bye(conn, origin, raw, rest):
            conn.sendall(OK)
            return None
        o2.handler = serving({"/bye": bye})
        for i in range(5):
            with g.connect() as c:
                for _ in range(2):
                    c.send(get(U(o2, "/bye"), method="POST", extra="Content-Length: 0\r\n"))
                    assert c.response().status == 200
                    time.sleep(0.02)
        assert o2.connections == 10


def test_case_121_a_fresh_connection_that_dies_is_not_tried_again(g):
    with Origin(lambda conn, _: read_head(conn)) as o2:
        a = one(g, get(U(o2), extra="Accept: application/json\r\n"), closes=False)
        assert a.status == 502 and json.loads(a.body)["error"] == "upstream_closed" and o2.connections == 1


def test_an_upstream_that_says_close_is_not_pooled(g):
    for reply in (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"):
        with Origin(serving({"/x": reply})) as o2, g.connect() as c:
            for _ in range(2):
                c.send(get(U(o2, "/x")))
                a = c.response()
                assert a.body == b"ok" and a.get("connection") is None
            assert o2.connections == 2


def test_ntlm_connections_are_never_shared(g):
    with Origin(serving({"/n": b"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"})) as o2:
        for _ in range(2):
            assert one(g, get(U(o2, "/n"))).status == 401
        assert o2.connections == 2


# ---- https:// by absolute form

def test_case_35_and_C12_https_is_fetched_over_verified_tls(ca, tmp_path_factory):
    from gateway import CA
    other = CA(tmp_path_factory.mktemp("other-ca"))
    with Origin(serving({"/ws": websocket}), tls=ca.server("origin.test", "10.55.0.1")) as good, Origin(serving({}), tls=ca.server("else.test")) as wrong, \
            Origin(serving({}), tls=other.server("origin.test")) as unknown, Origin(lambda c, _: c.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")) as plain, \
            Gateway("--workers", "2", "--deny-domain", f"origin.test:{unknown.port}", "--timeout", "handshake=3", auth=False, env={"SSL_CERT_FILE": ca.pem}) as g:
        with g.connect() as c:
            for path in ("/a?b", "/c"):
                c.send(get(f"https://origin.test:{good.port}{path}"))
                assert json.loads(c.response().body)["target"] == path
        assert good.connections == 1 and f"Host: origin.test:{good.port}\r\n".encode() in good.raw[-1]
        assert one(g, get(f"https://10.55.0.1:{good.port}/ip")).status == 200
        before = good.connections
        for url, error in ((f"https://origin.test:{wrong.port}/", "upstream_tls_failed"), (f"https://10.55.0.1:{unknown.port}/", "upstream_tls_failed"), (f"https://origin.test:{plain.port}/", "upstream_tls_failed"),
                           (f"https://api.test:{good.port}/", "upstream_tls_failed")):
            a = one(g, get(url, extra="Accept: application/json\r\n"), closes=False)
            assert a.status == 502 and json.loads(a.body)["error"] == error, (url, a)
        assert not wrong.raw and not unknown.raw and good.connections >= before
        assert one(g, get(f"https://origin.test:{unknown.port}/")).status == 403
        with g.connect() as c:
            c.send(get(f"https://origin.test:{good.port}/ws", extra=WS))
            assert c.response().status == 101 and c.exactly(5) == b"early"
            c.send("abc")
            assert c.exactly(3) == b"abc"


def test_C6a_a_tls_answer_without_length_that_ends_without_close_notify_is_cut(ca):
    def body(conn, origin, raw, rest):
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        if b"/clean" in raw:
            conn.unwrap()
        else:
            socket.socket(fileno=os.dup(conn.fileno())).shutdown(socket.SHUT_WR)
            conn.recv(1)
        return None
    with Origin(serving({"/clean": body, "/cut": body}), tls=ca.server("origin.test")) as o2, Gateway(auth=False, env={"SSL_CERT_FILE": ca.pem}) as g:
        with g.connect() as c:
            c.send(get(f"https://origin.test:{o2.port}/clean"))
            assert c.response().body == b"half"
        with g.connect() as c:
            c.send(get(f"https://origin.test:{o2.port}/cut"))
            with pytest.raises(ConnectionResetError):
                c.response()
