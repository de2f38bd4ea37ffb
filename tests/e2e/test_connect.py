"""CONNECT: what is no authority, what a tunnel carries, how it ends, and what its failures say."""
import hashlib
import json
import os
import queue
import re
import socket
import threading
import time

import pytest
from gateway import Gateway, Origin, connect_head, get, one, until

HOLE, DEAD = "10.56.0.2", "10.57.0.9"


class Peer(Origin):
    """An origin whose connections the test holds itself."""

    def __init__(self, **kw):
        self.waiting = queue.Queue()
        super().__init__(self._hold, **kw)

    def _hold(self, conn, _):
        gone = threading.Event()
        self.waiting.put((conn, gone))
        gone.wait(60)

    def take(self):
        conn, gone = self.waiting.get(timeout=10)
        conn.settimeout(10)
        self.last_gone = gone
        return conn


@pytest.fixture(scope="module")
def peer():
    with Peer() as p:
        yield p


@pytest.fixture(scope="module")
def g():
    with Gateway("--workers", "2", "--allow-domain", "*", "--allow-domain", "127.0.0.0/8", "--deny-domain", "denied.test",
                 "--timeout", "connect=0.6", "--timeout", "tunnel=600", auth=False) as gateway:
        yield gateway


def tunnel(g, peer, early=b"", authority=None, version="1.1", extra=""):
    c = g.connect()
    authority = authority or peer.netloc
    c.send(f"CONNECT {authority} HTTP/{version}\r\nHost: {authority}\r\n{extra}\r\n".encode() + early)
    a = c.response("CONNECT")
    assert a.status == 200, a
    c.answer = a
    return c, peer.take()


def record_of(g, answer):
    """The audit record of a text answer."""
    wanted = re.search(rb"request (\S+)\)", answer.body)[1].decode()
    return until(lambda: [r for r in g.records(0) if r["request_id"] == wanted])[0]


def drain(s):
    out = bytearray()
    while d := s.recv(1 << 18):
        out += d
    return bytes(out)


# ---- the tunnel

@pytest.mark.threads
def test_a_tunnel_carries_every_byte_both_ways(g, peer):
    c, o = tunnel(g, peer)
    assert (c.answer.reason, c.answer.headers, c.buf) == ("Connection Established", [], b"")
    data = bytes(range(256)) * 300
    c.send(data)
    got = b""
    while len(got) < len(data):
        got += o.recv(65536)
    o.sendall(data)
    assert got == data and c.exactly(len(data)) == data
    c.close()
    assert o.recv(1) == b""
    o.close()


@pytest.mark.parametrize("n", [1, 11, 16383, 16384, 65536, 150_000])
def test_case_47_bytes_sent_with_the_head_reach_the_upstream(g, peer, n):
    data = os.urandom(n)
    c, o = tunnel(g, peer, early=data)
    got = b""
    while len(got) < n:
        got += o.recv(65536)
    assert got == data
    c.close(), o.close()


def test_case_47_bytes_and_the_end_sent_with_the_head(g, peer):
    with g.connect() as c:
        c.send(connect_head(peer.netloc).encode() + b"all I have")
        c.s.shutdown(socket.SHUT_WR)
        assert c.response("CONNECT").status == 200
        o = peer.take()
        assert drain(o) == b"all I have"
        o.sendall(b"and an answer")
        o.close()
        assert c.until_close() == b"and an answer"


def test_a_head_byte_by_byte_and_an_empty_line_before_it(g, peer):
    with g.connect() as c:
        for b in ("\r\n" + connect_head(peer.netloc)):
            c.send(b)
        assert c.response("CONNECT").status == 200
        peer.take().close()


def test_case_48_either_side_may_end_first(g, peer):
    c, o = tunnel(g, peer)
    c.send("question")
    c.s.shutdown(socket.SHUT_WR)
    assert drain(o) == b"question"
    o.sendall(b"answer" * 20000)
    o.close()
    assert c.until_close() == b"answer" * 20000
    c.close()
    c, o = tunnel(g, peer)
    o.sendall(b"bye")
    o.shutdown(socket.SHUT_WR)
    assert c.until_close() == b"bye"
    c.send(b"more" * 20000)
    c.s.shutdown(socket.SHUT_WR)
    assert drain(o) == b"more" * 20000
    c.close(), o.close()


def test_a_reset_on_one_side_ends_the_other(g, peer):
    for end in ("client", "origin"):
        c, o = tunnel(g, peer)
        if end == "client":
            c.reset()
            try:
                assert o.recv(1) == b""
            except ConnectionResetError:
                pass
            o.close()
        else:
            o.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            o.close()
            peer.last_gone.set()
            assert c.closed()
            c.close()


@pytest.mark.threads
def test_the_last_bytes_before_a_close_are_not_lost(g, peer):
    for _ in range(10):
        c, o = tunnel(g, peer)
        o.sendall(b"z" * 70000)
        o.close()
        assert len(c.until_close()) == 70000
        c.close()
        c, o = tunnel(g, peer)
        c.send(b"y" * 70000)
        c.close()
        assert len(drain(o)) == 70000
        o.close()


@pytest.mark.threads
def test_12_mib_each_way_at_once(g, peer):
    c, o = tunnel(g, peer)
    data, sums = os.urandom(1 << 20) * 12, {}

    def read(name, s):
        h, n = hashlib.sha256(), 0
        while n < len(data) and (d := s.recv(1 << 18)):
            h.update(d)
            n += len(d)
        sums[name] = h.digest()
    work = [threading.Thread(target=f, args=a, daemon=True) for f, a in
            ((read, ("c", c.s)), (read, ("o", o)), (c.s.sendall, (data,)), (o.sendall, (data,)))]
    [t.start() for t in work], [t.join(30) for t in work]
    assert sums == dict.fromkeys("co", hashlib.sha256(data).digest())
    c.close(), o.close()


def test_a_reader_that_stops_stops_the_writer(g, peer):
    c, o = tunnel(g, peer)
    o.settimeout(0.4)
    sent = 0
    try:
        while sent < 64 << 20:
            sent += o.send(b"x" * 65536)
    except TimeoutError:
        pass
    assert sent < 40 << 20
    c.close(), o.close()


def test_case_116_many_tunnels_at_once_keep_their_bytes_apart(g, peer):
    pairs = [tunnel(g, peer) for _ in range(150)]
    for i, (c, o) in enumerate(pairs):
        c.send(b"c%05d" % i)
        o.sendall(b"o%05d" % i)
    for i, (c, o) in enumerate(pairs):
        assert c.exactly(6) == b"o%05d" % i and o.recv(6) == b"c%05d" % i
        c.close(), o.close()


def test_case_49_an_idle_tunnel_ends_after_its_limit_and_a_busy_one_does_not(peer):
    with Gateway("--timeout", "tunnel=0.6", auth=False) as g:
        idle, a = tunnel(g, peer)
        busy, b = tunnel(g, peer)
        start = time.monotonic()
        while time.monotonic() - start < 1.3:
            busy.send("x")
            assert b.recv(1) == b"x"
            time.sleep(0.1)
        assert idle.closed(0.01)
        b.sendall(b"y")
        assert busy.exactly(1) == b"y"
        busy.close(), b.close(), a.close()
        ends = {r["outcome"]: r for r in g.records(2)}
        assert set(ends) == {"timeout", "ok"} and ends["timeout"]["decision"] == "allow"
        assert 500 < ends["timeout"]["duration_ms"] < 1300


def test_audit_of_a_tunnel(peer):
    with Gateway(auth=False) as g:
        c, o = tunnel(g, peer, early=b"12345")
        assert o.recv(5) == b"12345"
        o.sendall(b"1234567")
        assert c.exactly(7)
        assert not g.records(0)
        c.close(), o.close()
        r, = g.records(1)
        assert (r["mode"], r["decision"], r["outcome"], r["status"], r["method"], r["path"]) == ("connect", "allow", "ok", 200, "CONNECT", None)
        assert (r["request_bytes"], r["response_bytes"], r["target"], r["port"], r["upstream_address"]) == (5, 7, peer.host, peer.port, peer.host)


# ---- the authority

def test_case_32_bracketed_ipv6_in_any_spelling(g):
    with Peer(host="fd55::1") as p:
        for a in ("[fd55::1]", "[FD55:0:0::1]", "[fd55:0000:0000:0000:0000:0000:0000:0001]"):
            c, o = tunnel(g, p, authority=f"{a}:{p.port}")
            c.close(), o.close()


def test_case_19_names_in_any_spelling_are_the_same_name(g, peer):
    for name in ("origin.test", "ORIGIN.Test", "origin.test.", "origin.test..", "xn--bcher-kva.test", "b\u00fccher.test", "B\u00dcCHER.TEST", "bu\u0308cher.test"):
        with g.connect() as c:
            c.send(f"CONNECT {name}:{peer.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert c.response("CONNECT").status == 200, name
            peer.take().close()


def test_the_host_field_does_not_choose_the_destination(g, peer):
    with g.connect() as c:
        c.send(f"CONNECT {peer.netloc} HTTP/1.1\r\nHost: denied.test:443\r\n\r\n")
        assert c.response("CONNECT").status == 200
        peer.take().close()
    assert one(g, f"CONNECT denied.test:443 HTTP/1.1\r\nHost: {peer.netloc}\r\n\r\n", "CONNECT").status == 403


def test_http_1_0_connect_with_and_without_host_and_with_an_empty_body(g, peer):
    for head in (f"CONNECT {peer.netloc} HTTP/1.0\r\n\r\n", f"CONNECT {peer.netloc} HTTP/1.0\r\nHost: x\r\n\r\n",
                 f"CONNECT {peer.netloc} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", f"CONNECT {peer.netloc} HTTP/1.7\r\nHost: x\r\n\r\n",
                 f"CONNECT {peer.netloc} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                 f"CONNECT {peer.netloc} HTTP/1.1\r\nHost: x\r\nProxy-Connection: close\r\nX: {'y' * 30000}\r\n\r\n"):
        with g.connect() as c:
            c.send(head)
            assert c.response("CONNECT").status == 200, head[:60]
            o = peer.take()
            o.sendall(b"hi")
            assert c.exactly(2) == b"hi"
            o.close()


BAD_AUTHORITIES = ["origin.test", "origin.test:", ":443", "origin.test:0", "origin.test:65536", "origin.test:99999999999", "origin.test:-1", "origin.test:+443",
                   "origin.test:44x", "origin.test:443/", "origin.test:443?", "origin.test:443#", "http://origin.test:443", "http://origin.test/", "/", "*",
                   "user@origin.test:443", "u:p@origin.test:443", "[fd55::1]", "[fd55::1", "fd55::1:443", "[fd55::1]443", "[fd55::1%25lo]:443", "[fe80::1%lo]:443",
                   "[origin.test]:443", "[127.0.0.1]:443", "[]:443", "ori\\gin.test:443", "a..b:443", ".origin.test:443", ".:443", "a%2etest:443", "a%0d%0aX-Evil:%201:443",
                   "127.1:443", "0x7f.0.0.1:443", "0x7f000001:443", "2130706433:443", "0177.0.0.1:443", "127.0.0.01:443", "1.2.3.4.5:443", "256.1.1.1:443", "a.1:443",
                   "\u00ad:443", "ori\u0000gin.test:443", "origin\u3002test\u2044x:443", "a" * 64 + ".test:443", ".".join(["a" * 60] * 5) + ":443", "xn--a:443",
                   "origin.test:443:443", "or,igin.test:443", "or!gin.test:443", "origin test:443", "\uff11\uff12\uff17.0.0.1:443"]


def test_what_is_no_authority_is_400_and_closes(g):
    for a in BAD_AUTHORITIES:
        t = one(g, f"CONNECT {a} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), "CONNECT", closes=True)
        assert t.status == 400 and t.get("connection") == "close" and t.body, (a, t)


@pytest.mark.parametrize("extra,body", [("Content-Length: 5\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), ("Content-Length: -1\r\n", ""),
                                        ("Content-Length: 0\r\nContent-Length: 0\r\n", ""), ("Host: y\r\n", ""), ("Expect: 200-ok\r\n", ""), (" x: y\r\n", "")])
def test_C6_a_connect_with_a_body_or_a_bad_head_is_refused(g, peer, extra, body):
    a = one(g, connect_head(peer.netloc, extra=extra) + body, "CONNECT", closes=True)
    assert a.status == (417 if "Expect" in extra else 400) and a.get("connection") == "close", a


def test_C6_a_connect_without_host_is_400(g, peer):
    assert one(g, f"CONNECT {peer.netloc} HTTP/1.1\r\n\r\n", "CONNECT", closes=True).status == 400


# ---- refusals

@pytest.mark.threads
@pytest.mark.parametrize("authority,status,error", [("10.55.0.1:1", 502, "connect_failed"), (f"{DEAD}:80", 502, "connect_failed"), (f"{HOLE}:80", 504, "connect_timeout"),
                                                    ("denied.test:443", 403, "host_denied"), ("169.254.169.254:80", 403, "host_denied"), ("meta.test:80", 403, "address_denied")])
def test_case_43_and_C4_a_failed_connect_says_why_in_the_status_line_and_the_body(g, authority, status, error):
    a = one(g, connect_head(authority, extra="Accept: application/json\r\n"), "CONNECT", closes=True)
    j = json.loads(a.body)
    phrase = {403: "Forbidden", 502: "Bad Gateway", 504: "Gateway Timeout"}[status]
    assert a.status == status and j["error"] == error and a.reason == f"{phrase}: {j['reason']}" and a.get("connection") == "close", (a, j)
    assert "request_id" in j and ("rule" in j) == (status == 403) and a.get("content-type") == "application/json"  # a rule has no part in a dead upstream
    text = one(g, connect_head(authority), "CONNECT")
    assert re.fullmatch(rb"nono: .+ \((rule [^,]+, )?request \S+\)\n", text.body) and j["reason"].encode() in text.body, text


def test_case_43_the_record_of_a_failed_connect(g):
    for authority, status, outcome, category in (("10.55.0.1:1", 502, "upstream_failed", "upstream_connect_failed"), (f"{HOLE}:80", 504, "timeout", "timeout"),
                                                 ("denied.test:443", 403, "refused", "host_denied"), ("meta.test:80", 403, "refused", "address_denied")):
        a = one(g, connect_head(authority), "CONNECT")
        r = record_of(g, a)
        assert (r["status"], r["outcome"], r["denial_category"], r["decision"]) == (status, outcome, category, "deny")
        assert r["reason"] in a.reason and r["reason"].encode() in a.body


def test_case_44_nothing_of_the_authority_can_add_a_header(g):
    for a in ("denied.test%0d%0aX-Evil:1:443", "denied.test\x01X-Evil:443", "denied.test\tX-Evil:443", "denied.test\x00:443", "denied.test\x7f:443"):
        with g.connect() as c:
            c.send(connect_head(a))
            t = c.response("CONNECT")
            assert t.status == 400 and not any("evil" in k.lower() for k, _ in t.headers) and c.closed()


def test_case_45_a_client_that_leaves_during_the_attempt_leaves_nothing_behind(g, peer):
    for i in range(6):
        c = g.connect()
        c.send(connect_head(f"{HOLE}:81"))
        time.sleep(0.03)
        c.reset() if i % 2 else c.close()
    ours = lambda: [r["outcome"] for r in g.records(0) if r["port"] == 81]  # noqa: E731
    assert until(lambda: len(ours()) == 6), ours()
    assert set(ours()) <= {"client_aborted", "timeout"} and "client_aborted" in ours()
    c, o = tunnel(g, peer)
    c.close(), o.close()


@pytest.mark.threads
def test_C5_nothing_behind_a_refused_connect_is_read_as_a_request(g, origin):
    behind = get(f"http://{origin.netloc}/poison")
    for authority, status in (("denied.test:443", 403), ("10.55.0.1:1", 502), ("bad..name:1", 400), (f"{HOLE}:80", 504)):
        with g.connect() as c:
            c.send(connect_head(authority) + behind)
            a = c.response("CONNECT")
            assert a.status == status and a.get("connection") == "close" and c.until_close() == b"", a
        with g.connect() as c:
            c.send(connect_head(authority))
            assert c.response("CONNECT").status == status
            c.send(behind)
            assert c.until_close() == b""
    assert not origin.connections


def test_C4_an_answer_is_not_lost_to_a_reset(g):
    for _ in range(10):
        with g.connect() as c:
            c.send(connect_head("denied.test:443") + "x" * 200_000)
            time.sleep(0.005)
            assert c.response("CONNECT").status == 403


def test_C13_our_own_listener_is_no_destination(g):
    for authority in (f"127.0.0.1:{g.port}", f"[::ffff:127.0.0.1]:{g.port}"):
        a = one(g, connect_head(authority, extra="Accept: application/json\r\n"), "CONNECT", closes=True)
        assert a.status == 403 and json.loads(a.body)["error"] == "loop", a


@pytest.mark.parametrize("flags", [(), ("--deny-domain", "127.0.0.0/8"), ("--allow-domain", "elsewhere.test")])
def test_C13_our_own_listener_is_a_loop_whatever_else_would_refuse_it(flags):
    with Gateway(*flags, auth=False) as g:
        for host in ("127.0.0.1", "localhost", "LOCALHOST."):
            a = one(g, connect_head(f"{host}:{g.port}", extra="Accept: application/json\r\n"), "CONNECT", closes=True)
            j = json.loads(a.body)
            assert a.status == 403 and j["error"] == j["rule"] == "loop", (host, a)
        assert [x["rule"] for x in g.records(3)] == ["loop"] * 3
        a = one(g, connect_head("127.0.0.1:1", extra="Accept: application/json\r\n"), "CONNECT", closes=True)
        assert a.status == 403 and json.loads(a.body)["rule"] != "loop", a


def test_C13_a_name_for_our_own_listener_is_no_destination_either():
    with Gateway("--allow-domain", "localhost", "--allow-domain", "rebind.test", "--allow-domain", "127.0.0.1", auth=False) as g:
        for name in ("localhost", "rebind.test"):
            a = one(g, connect_head(f"{name}:{g.port}", extra="Accept: application/json\r\n"), "CONNECT", closes=True)
            assert a.status == 403 and json.loads(a.body)["error"] == "loop", (name, a)


def test_C10_and_case_119_half_a_head_is_408_and_silence_is_closed(peer):
    with Gateway("--timeout", "head=0.5", "--timeout", "idle=0.6", auth=False) as g:
        half, silent, idle = g.connect(), g.connect(), g.connect()
        half.send(connect_head(peer.netloc)[:-4])
        idle.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.response("OPTIONS").status == 204
        a = half.response()
        assert a.status == 408 and a.get("connection") == "close" and half.closed()
        assert silent.closed(3) and idle.closed(3)
        kinds = [(r["status"], r["outcome"]) for r in g.records(2)]
        assert kinds == [(204, "ok"), (408, "timeout")]


def test_nothing_stays_open(g, peer):
    most = g.fds_at_start + 2 * 2 * 8  # each worker keeps eight empty pipes
    assert until(lambda: g.descriptors() <= most, 5), (g.fds_at_start, g.descriptors())
