"""Bodies that stream, back-pressure, interim and early answers, upgrades and WebSockets, https:// in absolute form."""
import hashlib
import os
import socket
import ssl
import threading
import time

import pytest
from gateway import Gateway, Origin, answering, get, one, read_head, read_request, serving, until
from tools import Steps, parallel, settle

MIB = 1 << 20
WS_KEY, WS_ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
WS = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {WS_KEY}\r\nSec-WebSocket-Version: 13\r\n"
SWITCH = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {WS_ACCEPT}\r\n".encode()


@pytest.fixture(scope="module")
def g():
    with Gateway("--deny-domain", "denied.test", "--workers", "2", auth=False) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def o():
    with Origin(serving({})) as origin:
        yield origin


def url(origin, path="/"):
    return f"http://{origin.netloc}{path}"




# ---- Expect and interim answers (C5, C7, case 100)

def expecting(answer_100):
    def handler(conn, origin):
        raw, rest = read_head(conn)
        origin.raw.append(raw)
        if answer_100:
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(rest) < 5:
            rest += conn.recv(100)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + rest[:5])
    return handler


@pytest.mark.threads
def test_case_100_expect_continue_completes(g):
    with Origin(expecting(True)) as o, g.connect() as c:
        c.send(get(url(o), "POST", "Expect: 100-continue\r\nContent-Length: 5\r\n"))
        assert c.head().status == 100
        assert c.send("hello").response().body == b"hello"
        assert b"expect: 100-continue" in o.raw[0].lower()


def test_case_100_expect_with_a_chunked_body(g):
    with Origin(lambda c, o: (read_head(c), c.sendall(b"HTTP/1.1 100 Continue\r\n\r\n"), echo_once(c, o))) as o, g.connect() as c:
        c.send(get(url(o), "POST", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"))
        assert c.head().status == 100
        assert c.send("5\r\nhello\r\n0\r\n\r\n").response().status == 200


def echo_once(c, o):
    seen = b""
    while not seen.endswith(b"0\r\n\r\n"):
        seen += c.recv(1000)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_case_100_an_origin_that_refuses_at_once_is_relayed_and_the_body_never_asked_for(g):
    with Origin(answering(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno")) as o:
        def refuse(conn, origin):
            read_head(conn)
            conn.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
            origin.seen.append(conn.recv(100))
        o.handler = refuse
        a = one(g, get(url(o), "POST", "Expect: 100-continue\r\nContent-Length: 5\r\n"))
        assert a.status == 403 and a.body == b"no" and a.get("connection") == "close" and not a.interim
        until(lambda: o.seen)
        assert o.seen == [b""]


def test_case_100_a_client_that_does_not_wait_for_100_is_served(g):
    with Origin(expecting(False)) as o, g.connect() as c:
        c.send(get(url(o), "POST", "Expect: 100-continue\r\nContent-Length: 5\r\n"))
        time.sleep(0.05)
        assert c.send("hello").response().body == b"hello" and c.interim == []


def test_C4b_unknown_expectation_is_417(g, o):
    assert one(g, get(url(o), "POST", "Expect: 200-maybe\r\nContent-Length: 0\r\n")).status == 417


@pytest.mark.parametrize("n", [1, 3, 100])
def test_C7_interim_answers_pass_in_order(g, n):
    data = b"".join(b"HTTP/1.1 103 Early Hints\r\nLink: </%d>\r\n\r\n" % i for i in range(n))
    with Origin(answering(data + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as o, g.connect() as c:
        c.send(get(url(o)))
        for i in range(n):
            h = c.head()
            assert h.status == 103 and h.get("link") == f"</{i}>"
        assert c.response().body == b"ok"


def test_C6a_more_than_100_interim_answers_are_502(g):
    with Origin(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 101 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as o:
        assert one(g, get(url(o))).status == 502


def test_O9_http_1_0_gets_no_interim_answer_and_no_chunks(g):
    data = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with Origin(answering(data)) as o, g.connect() as c:
        a = c.send(get(url(o), version="1.0")).response()
        assert a.status == 200 and a.body == b"abcde" and not c.interim and not a.get("transfer-encoding") and c.closed()


def test_O9_http_1_0_keep_alive_when_asked_for(g, o):
    with g.connect() as c:
        for i in range(2):
            a = c.send(get(url(o, f"/{i}"), extra="Connection: keep-alive\r\n", version="1.0")).response()
            assert a.status == 200 and a.get("connection") == "keep-alive"


# ---- streaming (C7, cases 38, 97, 99)

@pytest.mark.threads
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_case_99_every_part_of_an_answer_arrives_at_once(g, framing):
    step = Steps()

    def parts(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" +
                     {"chunked": b"Transfer-Encoding: chunked\r\n\r\n", "length": b"Content-Length: 36\r\n\r\n", "close": b"\r\n"}[framing])
        for i in range(4):
            d = b"data: %d\n\n" % i
            conn.sendall(b"9\r\n" + d + b"\r\n" if framing == "chunked" else d)
            step.wait(f"seen{i}")
        conn.sendall(b"0\r\n\r\n" if framing == "chunked" else b"")
    with Origin(parts) as o, g.connect() as c:
        c.send(get(url(o))).head()
        for i in range(4):
            while b"data: %d" % i not in c.buf:
                c.more()
            step[f"seen{i}"].set()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_C7_a_request_body_streams(g, framing):
    got = Steps()

    def upload(conn, origin):
        _, b = read_head(conn)
        while b"part1" not in b:
            b += conn.recv(100)
        got["part1"].set()
        while b"part2" not in b:
            b += conn.recv(100)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    with Origin(upload) as o, g.connect() as c:
        head = "Content-Length: 10\r\n" if framing == "length" else "Transfer-Encoding: chunked\r\n"
        c.send(get(url(o), "POST", head) + ("part1" if framing == "length" else "5\r\npart1\r\n"))
        got.wait("part1")
        c.send("part2" if framing == "length" else "5\r\npart2\r\n0\r\n\r\n")
        assert c.response().status == 200


def blob_server(n, blob):
    """GET /sized, /chunked, /close: n blobs. Anything else: reads the body and answers with its length and digest."""
    def handler(conn, origin):
        rest = b""
        while True:
            raw, rest = read_head(conn, rest)
            how = raw.split(b" ")[1]
            if raw.startswith(b"GET"):
                head = {b"/sized": b"Content-Length: %d\r\n\r\n" % (n * len(blob)), b"/chunked": b"Transfer-Encoding: chunked\r\n\r\n"}
                conn.sendall(b"HTTP/1.1 200 OK\r\n" + head.get(how, b"Connection: close\r\n\r\n"))
                for _ in range(n):
                    conn.sendall(b"%x\r\n" % len(blob) + blob + b"\r\n" if how == b"/chunked" else blob)
                if how == b"/close":
                    return
                conn.sendall(b"0\r\n\r\n" if how == b"/chunked" else b"")
                continue
            r, rest = read_request(conn, raw + rest)
            out = f"{len(r['body'])} {hashlib.sha256(r['body']).hexdigest()}".encode()
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(out) + out)
    return handler


@pytest.mark.threads
def test_case_38_large_bodies_pass_unchanged_in_every_framing_and_in_bounded_memory(g):
    blob, n, many = os.urandom(MIB), 6, 48
    digest = lambda k: hashlib.sha256(blob * k).hexdigest()
    with Origin(blob_server(n, blob)) as o, Origin(blob_server(many, blob)) as big, g.connect() as c:
        for how in ("/sized", "/chunked", "/close"):
            h = c.send(get(url(o, how))).head()
            # an answer that its origin ends by closing comes in chunks, too
            body = c.exactly(int(h.get("content-length"))) if how == "/sized" else c.chunked()[0]
            assert hashlib.sha256(body).hexdigest() == digest(n), how
        for sized in (True, False):
            c.send(get(url(o, "/up"), "POST", f"Content-Length: {n * MIB}\r\n" if sized else "Transfer-Encoding: chunked\r\n"))
            for _ in range(n):
                c.send(blob if sized else b"%x\r\n" % MIB + blob + b"\r\n")
            c.send("" if sized else "0\r\n\r\n")
            assert c.response().body.decode() == f"{n * MIB} {digest(n)}"
        before = g.rss_kib()
        c.send(get(url(big, "/sized"))).head()
        h = hashlib.sha256()
        for _ in range(many):
            h.update(c.exactly(MIB))
        assert h.hexdigest() == digest(many) and g.rss_kib() - before < 16 * 1024, (before, g.rss_kib())


def test_C7_back_pressure_a_client_that_does_not_read_stops_the_origin(g):
    sent = [0]

    def flood(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while True:
            conn.sendall(b"x" * 65536)
            sent[0] += 65536
    with Origin(flood) as o, g.connect() as c:
        c.send(get(url(o)))
        stopped = settle(lambda: sent[0])
        assert 0 < stopped < 24 * MIB
        c.head()
        c.exactly(8 * MIB)
        assert until(lambda: sent[0] > stopped)  # it goes on once the client reads again


def test_C7_back_pressure_an_origin_that_does_not_read_stops_the_client(g):
    step = Steps()

    def lazy(conn, origin):
        _, rest = read_head(conn)
        step.wait("read")
        n = len(rest)
        while n < 64 * MIB:
            n += len(conn.recv(MIB))
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    sent = [0]
    with Origin(lazy) as o, g.connect() as c:
        c.send(get(url(o), "POST", f"Content-Length: {64 * MIB}\r\n"))

        def push():
            for _ in range(64):
                c.s.sendall(b"x" * MIB)
                sent[0] += 1
        t = threading.Thread(target=push, daemon=True)
        t.start()
        assert settle(lambda: sent[0]) < 24
        step["read"].set()
        assert c.response().status == 200
        t.join(5)
        assert sent[0] == 64


def test_C7_both_directions_at_once_do_not_block_each_other(g):
    """The origin answers while it reads: an echo of 16 MiB, read by the client only after it has sent for a while."""
    def echo_stream(conn, origin):
        _, rest = read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (16 * MIB))
        n = 0
        while n < 16 * MIB:
            if rest:
                conn.sendall(rest)
                n += len(rest)
            rest = conn.recv(65536) if n < 16 * MIB else b""
    data = os.urandom(16 * MIB)
    with Origin(echo_stream) as o, g.connect() as c:
        c.send(get(url(o), "POST", f"Content-Length: {16 * MIB}\r\n"))
        threading.Thread(target=lambda: c.s.sendall(data), daemon=True).start()
        assert c.head().status == 200
        assert c.exactly(16 * MIB) == data
        assert c.send(get(url(o, "/again"), "POST", f"Content-Length: {16 * MIB}\r\n")) and c.closed(0.1) is False


@pytest.mark.threads
def test_case_97_a_chunked_answer_ends_at_its_last_chunk_and_the_connections_serve_on(g):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    with Origin(serving({"/c": data})) as o, g.connect() as c:
        for _ in range(5):
            a = c.send(get(url(o, "/c"))).response()
            assert a.body == b"abc" and a.trailers == ["X-T: 1"]
        assert o.connections == 1  # pooled


@pytest.mark.parametrize("method, answer", [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"), ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"), ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ("POST", b"HTTP/1.1 204 No Content\r\n\r\n")])
def test_case_98_answers_without_a_body_are_not_waited_for(g, method, answer):
    with Origin(serving({"/n": answer})) as o, g.connect() as c:
        for _ in range(2):
            a = c.send(get(url(o, "/n"), method, "Content-Length: 0\r\n" if method == "POST" else "")).response(method)
            assert a.status == int(answer[9:12]) and a.body == b""
            if b"12345" in answer:
                assert a.get("content-length") == "12345"
        assert o.connections == 1


def test_C7_trailers_pass_both_ways(g, o):
    with g.connect() as c:
        a = c.send(get(url(o, "/t"), "POST", "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n") + "2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n").response()
        assert a.status == 200 and o.seen[-1]["trailers"] == ["X-Sum: 7"] and o.seen[-1]["body"] == b"hi"


def test_K11_routing_framing_and_credential_fields_never_pass_as_trailers(g):
    data = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
            b"Content-Length: 5\r\nAuthorization: x\r\nHost: y\r\nX-Ok: 1\r\nTransfer-Encoding: chunked\r\nX-Api-Key: k\r\n\r\n")
    with Origin(serving({"/d": data})) as o, g.connect() as c:
        assert c.send(get(url(o, "/d"))).response().trailers == ["X-Ok: 1"]
        c.send(get(url(o, "/u"), "POST", "Transfer-Encoding: chunked\r\n") +
               "1\r\nx\r\n0\r\nContent-Length: 5\r\nAuthorization: x\r\nX-Ok: 1\r\nProxy-Authorization: z\r\n\r\n")
        assert c.response().status == 200 and o.seen[-1]["trailers"] == ["X-Ok: 1"]


# ---- cuts

def test_case_110_a_chunked_answer_that_is_cut_is_seen_as_cut(g):
    with Origin(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")) as o, g.connect() as c:
        assert c.send(get(url(o))).head().status == 200
        with pytest.raises((EOFError, ConnectionResetError)):
            c.chunked()
        assert until(lambda: any(r["outcome"] == "upstream_aborted" and r["port"] == o.port for r in g.records()))  # workers write in any order


def test_a_client_that_vanishes_mid_upload_leaves_the_origin_with_no_whole_request(g, o):
    n = len(o.seen)
    c = g.connect()
    c.send(get(url(o, "/cut"), "POST", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n")
    assert until(lambda: any(b"/cut" in h for h in o.raw))
    c.close()
    time.sleep(0.1)
    assert len(o.seen) == n


def test_a_client_that_vanishes_mid_download_ends_the_origins_connection(g):
    ended = Steps()

    def endless(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                conn.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
                time.sleep(0.005)
        except OSError:
            ended["end"].set()
    with Origin(endless) as o:
        c = g.connect()
        c.send(get(url(o))).head()
        c.close()
        ended.wait("end")


def test_C5_a_client_that_shuts_its_sending_side_still_gets_its_answer(g):
    def late(conn, origin):
        read_head(conn)
        time.sleep(0.1)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
    with Origin(late) as o, g.connect() as c:
        c.send(get(url(o)))
        c.s.shutdown(socket.SHUT_WR)
        assert c.response().body == b"late" and c.closed()


# ---- early answers (C14)

@pytest.mark.threads
def test_C14_an_early_answer_reaches_a_client_that_still_sends(g):
    def early(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        time.sleep(0.3)
    with Origin(early) as o, g.connect() as c:
        c.send(get(url(o), "POST", f"Content-Length: {100 * MIB}\r\n"))

        def push():
            try:
                for _ in range(1000):
                    c.s.sendall(b"x" * 100000)
            except OSError:
                pass
        threading.Thread(target=push, daemon=True).start()
        a = c.response()
        assert a.status == 413 and a.body == b"big"


def test_C14_an_early_answer_then_reset_is_still_relayed(g):
    def early(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nnope")
        conn.close()  # with bytes unread: a reset follows
    with Origin(early) as o:
        for _ in range(5):
            with g.connect() as c:
                c.send(get(url(o), "POST", f"Content-Length: {MIB}\r\n"))

                def push():
                    try:
                        c.s.sendall(b"x" * MIB)
                    except OSError:
                        pass
                threading.Thread(target=push, daemon=True).start()
                a = c.response()
                assert a.status in (401, 502), a  # a reset may overtake the answer inside the kernel, never turn into silence
                assert a.status == 502 or a.body == b"nope"


def test_C14_the_upload_goes_on_while_the_answer_runs(g):
    """An answer whose end depends on the whole upload: it may not be cut when its head has come."""
    def counting(conn, origin):
        raw, rest = read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n<\r\n")
        n = len(rest)
        while n < 5 * MIB:
            n += len(conn.recv(MIB))
        conn.sendall(b"1\r\n>\r\n0\r\n\r\n")
    with Origin(counting) as o, g.connect() as c:
        c.send(get(url(o), "POST", f"Content-Length: {5 * MIB}\r\n"))
        assert c.head().status == 200
        c.send(b"y" * 5 * MIB)
        assert c.chunked()[0] == b"<>"
        assert c.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").response("OPTIONS").status == 204


def test_C14_a_small_rest_is_skipped_and_the_connection_serves_on(g, o):
    def early(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        time.sleep(0.2)
    with Origin(early) as e, g.connect() as c:
        c.send(get(url(e), "POST", "Content-Length: 1000\r\n"))
        a = c.response()
        assert a.status == 403 and a.body == b"no"
        if a.get("connection") != "close":
            assert c.send(b"z" * 1000 + get(url(o, "/after")).encode()).response().status == 200


# ---- upgrades (C9, cases 102 to 104)

def websocket(conn, origin, raw, rest):
    conn.sendall(SWITCH + b"\r\nhello")
    while True:
        if rest:
            conn.sendall(rest)
        rest = conn.recv(65536)
        if not rest:
            return None


@pytest.fixture(scope="module")
def ws():
    with Origin(serving({"/ws": websocket, "/no": b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 4\r\n\r\nnope",
                         "/ok": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                         "/bad": lambda c, o, h, r: c.sendall(SWITCH.replace(b"s3pP", b"AAAA") + b"\r\n"),
                         "/none": lambda c, o, h, r: c.sendall(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
                         "/other": lambda c, o, h, r: c.sendall(SWITCH.replace(b"websocket", b"h2c") + b"\r\n")})) as origin:
        yield origin


@pytest.mark.threads
def test_case_102_websocket_bytes_flow_both_ways_early_ones_too(g, ws):
    with g.connect() as c:
        c.send(get(url(ws, "/ws"), extra=WS + "Sec-WebSocket-Protocol: chat\r\nOrigin: http://x.test\r\n") + "early")
        a = c.response()
        assert a.status == 101 and a.get("sec-websocket-accept") == WS_ACCEPT and a.get("upgrade") == "websocket" and a.get("connection") == "Upgrade"
        assert c.exactly(10) == b"helloearly"
        assert c.send(b"\x81\x02hi").exactly(4) == b"\x81\x02hi"
        head = ws.raw[-1].lower()
        for want in (b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-key: " + WS_KEY.lower().encode(),
                     b"sec-websocket-version: 13", b"sec-websocket-protocol: chat", b"origin: http://x.test"):
            assert head.count(b"\r\n" + want + b"\r\n") == 1, head
    r = until(lambda: [r for r in g.records() if r["path"] == "/ws" and r["status"] == 101])[-1]
    assert r["decision"] == "allow" and r["outcome"] == "ok" and r["request_bytes"] == 9 and r["response_bytes"] == 14, r


def test_case_102_a_wrong_accept_or_a_101_nobody_asked_for_is_502(g, ws):
    for path, extra in (("/bad", WS), ("/none", WS), ("/other", WS), ("/ws", "")):
        a = one(g, get(url(ws, path), extra=extra))
        assert a.status == 502, (path, a)


def test_case_103_websocket_to_a_denied_host_is_403_and_malformed_ones_never_reach_the_origin_as_upgrades(g, ws):
    assert one(g, get("http://denied.test/ws", extra=WS)).status == 403
    for bad in (WS.replace(WS_KEY, "short"), WS.replace("Version: 13", "Version: x"), WS.replace(f"Sec-WebSocket-Key: {WS_KEY}\r\n", ""),
                WS + f"Sec-WebSocket-Key: {WS_KEY}\r\n"):
        n = len(ws.raw)
        a = one(g, get(url(ws, "/ok"), extra=bad))
        assert a.status == 400 and len(ws.raw) == n, (bad, a)


def test_case_104_an_answer_that_is_no_101_is_relayed_and_the_connection_serves_on(g, ws):
    with g.connect() as c:
        for path, status, body in (("/no", 426, b"nope"), ("/ok", 200, b"ok"), ("/no", 426, b"nope")):
            a = c.send(get(url(ws, path), extra=WS)).response()
            assert a.status == status and a.body == body


@pytest.mark.parametrize("offer", ["h2c", "TLS/1.0", "websocket2", "IRC/6.9"])
def test_C9_other_upgrades_are_dropped_and_the_request_goes_on(g, o, offer):
    a = one(g, get(url(o, "/up"), extra=f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {offer}\r\nHTTP2-Settings: AAMAAABk\r\n"))
    assert a.status == 200 and not {"upgrade", "http2-settings", "connection"} & set(o.seen[-1]["h"]), o.seen[-1]


def test_C9_an_idle_websocket_outlives_the_request_timeouts():
    with Origin(serving({"/ws": websocket})) as o, \
            Gateway("--timeout", "head=0.3", "--timeout", "idle=0.3", "--timeout", "response=0.3", "--timeout", "stall=0.3", auth=False) as g:
        with g.connect() as c:
            assert c.send(get(url(o, "/ws"), extra=WS)).response().status == 101
            c.exactly(5)
            time.sleep(1)
            assert c.send("x").exactly(1) == b"x"


def test_C9_half_close_of_a_websocket_lets_the_other_side_finish(g):
    def last_word(conn, origin, raw, rest):
        conn.sendall(SWITCH + b"\r\n")
        while conn.recv(100):
            pass
        conn.sendall(b"bye")
    with Origin(serving({"/ws": last_word})) as o, g.connect() as c:
        assert c.send(get(url(o, "/ws"), extra=WS)).response().status == 101
        c.send("x").s.shutdown(socket.SHUT_WR)
        assert c.until_close() == b"bye"


# ---- time limits (C10, cases 99, 119)

def test_C10_response_and_stall_limits_are_504_and_408():
    hold = Steps()
    with Origin(lambda c, o: (read_head(c), hold["end"].wait(20))) as silent, \
            Gateway("--timeout", "response=0.4", "--timeout", "stall=0.4", "--timeout", "head=0.5", "--timeout", "idle=0.4", auth=False) as g:
        def silent_origin(_):
            a = one(g, get(url(silent)))
            return a.status == 504

        def half_body(_):
            a = one(g, get(url(silent), "POST", "Content-Length: 10\r\n") + "abc")
            return a.status == 408 and a.get("connection") == "close"

        def half_head(_):
            return one(g, "GET http://x/ HTTP/1.1\r\nHost").status == 408

        def nothing(_):
            with g.connect() as c:
                return c.closed()
        assert parallel(lambda f: f(0), [silent_origin, half_body, half_head, nothing], 4) == [True] * 4
        hold["end"].set()
        outcomes = sorted(r["outcome"] for r in g.records(3))
        assert outcomes == ["timeout"] * 3, outcomes


def test_C10_a_reader_that_stalls_is_cut():
    with Origin(lambda c, o: (read_head(c), c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n" + b"x" * (64 * MIB)))) as o, \
            Gateway("--timeout", "stall=0.6", auth=False) as g:
        with g.connect() as c:
            c.send(get(url(o)))
            assert g.records(1)[0]["outcome"] == "timeout"


def test_case_99_a_silent_event_stream_is_not_cut_by_the_stall_limit():
    step = Steps()

    def sse(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n")
        step.wait("go")
        conn.sendall(b"2\r\nb\n\r\n0\r\n\r\n")
    with Origin(sse) as o, Gateway("--timeout", "stall=0.3", "--timeout", "response=0.3", "--timeout", "idle=0.3", auth=False) as g, g.connect() as c:
        c.send(get(url(o))).head()
        time.sleep(1)
        step["go"].set()
        assert c.chunked()[0] == b"a\nb\n"


# ---- https:// in absolute form (C12, O7, case 35)

@pytest.fixture(scope="module")
def tls(ca):
    with Origin(serving({"/ws": websocket}), tls=ca.server("origin.test", "10.55.0.1")) as good, Origin(tls=ca.server("else.test")) as wrong, \
            Gateway("--deny-domain", "denied.test", "--workers", "2", auth=False, env={"SSL_CERT_FILE": ca.pem}) as gw:
        yield type("T", (), {"good": good, "wrong": wrong, "g": gw})


@pytest.mark.threads
def test_case_35_https_is_fetched_over_verified_tls_and_the_connection_kept(tls):
    with tls.g.connect() as c:
        for i in range(3):
            a = c.send(get(f"https://origin.test:{tls.good.port}/{i}?q")).response()
            assert a.status == 200 and tls.good.seen[-1]["target"] == f"/{i}?q"
            assert tls.good.seen[-1]["h"]["host"] == f"origin.test:{tls.good.port}"
    rec = [r for r in tls.g.records(3) if r["path"] == "/2"][-1]
    assert rec["scheme"] == "https" and rec["mode"] == "forward" and rec["upstream_reused"] is True and rec["port"] == tls.good.port


def test_C12_an_address_in_the_certificate_and_a_body_each_way(tls):
    a = one(tls.g, get(f"https://{tls.good.netloc}/up", "POST", "Content-Length: 70000\r\n") + "q" * 70000)
    assert a.status == 200 and tls.good.seen[-1]["body"] == b"q" * 70000 and len(a.body) > 70000


def test_C12_a_certificate_of_another_name_or_authority_is_502_and_nothing_was_sent(tls, tmp_path):
    from gateway import CA
    with Origin(tls=CA(tmp_path).server("origin.test")) as unknown:
        for o in (tls.wrong, unknown):
            a = one(tls.g, get(f"https://origin.test:{o.port}/secret"))
            assert a.status == 502 and b"certificate" in a.body.lower() and not o.seen, a


def test_C12_an_origin_without_tls_is_502(tls):
    with Origin(lambda c, o: c.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as o:
        assert one(tls.g, get(f"https://origin.test:{o.port}/")).status == 502


def test_C12_the_handshake_has_a_time_limit(ca):
    hold = Steps()
    with Origin(lambda c, o: hold["end"].wait(20)) as o, Gateway("--timeout", "handshake=0.4", auth=False) as g:
        t = time.monotonic()
        a = one(g, get(f"https://origin.test:{o.port}/"))
        assert a.status in (502, 504) and time.monotonic() - t < 5
        hold["end"].set()


def test_C12_websocket_over_tls_in_absolute_form(tls):
    with tls.g.connect() as c:
        assert c.send(get(f"https://origin.test:{tls.good.port}/ws", extra=WS)).response().status == 101
        assert c.exactly(5) == b"hello" and c.send("ping").exactly(4) == b"ping"


def test_C12_the_policy_applies(tls):
    assert one(tls.g, get("https://denied.test/")).status == 403
    assert one(tls.g, get("https://127.0.0.1/")).status == 403


def test_C6a_a_tls_answer_without_length_that_ends_without_close_notify_is_cut(ca, tls):
    def rude(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\npart")
        time.sleep(0.1)
        os.close(os.dup(conn.fileno()))
        socket.socket(fileno=os.dup(conn.detach())).shutdown(socket.SHUT_RDWR)

    def polite(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\nwhole")
        try:
            conn.unwrap()
        except (OSError, ssl.SSLError):
            pass
    with Origin(rude, tls=ca.server("origin.test")) as r, Origin(polite, tls=ca.server("origin.test")) as p:
        assert one(tls.g, get(f"https://origin.test:{p.port}/")).body == b"whole"
        with tls.g.connect() as c:
            c.send(get(f"https://origin.test:{r.port}/"))
            assert c.head().status == 200
            with pytest.raises((EOFError, ConnectionResetError)):
                c.chunked()


# ---- pooled connections (case 121)

def test_case_121_a_pooled_connection_that_the_origin_closed_is_not_an_error_for_the_client(g):
    def few(conn, origin):
        rest = b""
        for _ in range(2):
            r, rest = read_request(conn, rest)
            origin.seen.append(r)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        # and goes, without having said so
    with Origin(few) as o, g.connect() as c:
        for i in range(8):
            assert c.send(get(url(o, f"/{i}"))).response().status == 200, i
            time.sleep(0.01)
        assert o.connections == 4


def test_case_121_a_post_on_a_connection_that_dies_is_reported_not_repeated(g):
    def once(conn, origin):
        r, rest = read_request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        r, rest = read_request(conn, rest)
        origin.seen.append(r)  # and goes, having acted perhaps
    with Origin(once) as o, g.connect() as c:
        assert c.send(get(url(o))).response().status == 200
        a = c.send(get(url(o, "/pay"), "POST", "Content-Length: 1\r\n", "1")).response()
        assert a.status == 502 and len(o.seen) == 1 and o.connections == 1, (a, o.connections)


def test_case_121_a_get_on_a_connection_that_dies_is_sent_again(g):
    def once(conn, origin):
        rest = b""
        if origin.connections == 1:
            r, rest = read_request(conn)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        r, rest = read_request(conn, rest)
        origin.seen.append(r)
        if origin.connections > 1:
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain")
    with Origin(once) as o, g.connect() as c:
        assert c.send(get(url(o))).response().status == 200
        a = c.send(get(url(o, "/g"))).response()
        assert a.status == 200 and a.body == b"again" and o.connections == 2
