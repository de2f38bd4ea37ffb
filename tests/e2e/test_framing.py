"""HTTP/1 on the wire: what is refused, what lasts, in which order, and how answers are framed."""
import json
import os
import re
import socket
import threading
import time

import pytest
from gateway import Gateway, Origin, Raw, answering, get, one, serving, talk, until

REPLIES = {}


@pytest.fixture(scope="module")
def o():
    with Origin(serving(REPLIES)) as origin:
        yield origin


@pytest.fixture(scope="module")
def g():
    with Gateway("--workers", "2", "--deny-domain", "denied.test", auth=False) as gateway:
        yield gateway


def U(o, path="/"):
    return f"http://{o.netloc}{path}"


# ---- heads that are refused

def bad_heads(o):
    u, h = U(o), f"Host: {o.netloc}\r\n"
    lines = {f"GET {u} HTTP/1.1\n{h}\r\n", f"GET {u} HTTP/1.1\r\nHost: {o.netloc}\n\r\n", f"GET {u} HTTP/1.1\r\n{h}\n", f"GET {u} HTTP/1.1\r{h}\r\n", f"GET  {u} HTTP/1.1\r\n{h}\r\n",
             f"GET {u}  HTTP/1.1\r\n{h}\r\n", f"GET {u} HTTP/1.1 \r\n{h}\r\n", f"GET\t{u}\tHTTP/1.1\r\n{h}\r\n", f" GET {u} HTTP/1.1\r\n{h}\r\n", f"GET {u}\r\n{h}\r\n", f"GET {u} http/1.1\r\n{h}\r\n",
             f"GET {u} HTTP/1\r\n{h}\r\n", f"GET {u} HTTP/1.10\r\n{h}\r\n", f"GET {u} HTTP/x.1\r\n{h}\r\n", f"GET {u} HTTPS/1.1\r\n{h}\r\n", f"GET {u} HTTP /1.1\r\n{h}\r\n",
             f"G(T {u} HTTP/1.1\r\n{h}\r\n", f"G\u00e9T {u} HTTP/1.1\r\n{h}\r\n", f"{{}} {u} HTTP/1.1\r\n{h}\r\n", f"\r\n\r\nGET {u} HTTP/1.1\r\n{h}\r\n", f"\nGET {u} HTTP/1.1\r\n{h}\r\n",
             "\x16\x03\x01\x02\x00\x01", "\x00\r\n\r\n", "\x05\x01\x00", "SSH-2.0-x\r\n\r\n", f"GET {u}\x01 HTTP/1.1\r\n{h}\r\n", f"GET {u}\x7f HTTP/1.1\r\n{h}\r\n", f"GET {u}#frag HTTP/1.1\r\n{h}\r\n",
             f"GET http://u:p@{o.netloc}/ HTTP/1.1\r\n{h}\r\n", f"GET http://@{o.netloc}/ HTTP/1.1\r\n{h}\r\n", "GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n", "GET http:x HTTP/1.1\r\nHost: x\r\n\r\n",
             "GET http:/x HTTP/1.1\r\nHost: x\r\n\r\n", "GET //x/y HTTP/1.1\r\n\r\n", "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET ws://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
             "GET x HTTP/1.1\r\nHost: x\r\n\r\n", "GET x.test:80 HTTP/1.1\r\nHost: x\r\n\r\n", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", f"connect {o.netloc} HTTP/1.1\r\n{h}\r\n", f"GET {o.netloc} HTTP/1.1\r\n{h}\r\n", f"GET http://{o.host}:0/ HTTP/1.1\r\n{h}\r\n", f"GET http://{o.host}:70000/ HTTP/1.1\r\n{h}\r\n",
             f"GET http://{o.host}:8x/ HTTP/1.1\r\n{h}\r\n", "GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://a..b/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://a%20b/ HTTP/1.1\r\nHost: x\r\n\r\n",
             "GET http://a\\b/ HTTP/1.1\r\nHost: x\r\n\r\n"}
    fields = ["X : y", " X: y", "\tX: y", "X: y\r\n folded", "X: y\r\n\tfolded", "X", ": y", "X\x00: y", "X: a\x00b", "X: a\x01b", "X: a\x7fb", "X: a\rb", "X: a\nb", "X\u00e9: y", "X(: y", "X Y: z", "@: y",
              "Content-Length: -1", "Content-Length: +1", "Content-Length: 1 2", "Content-Length: 0x1", "Content-Length: 1,1", "Content-Length: ", "Content-Length: 9223372036854775808",
              "Content-Length: 99999999999999999999999", "Content-Length: 1.0", "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 6", "content-length: 1\r\nTransfer-Encoding: chunked",
              "Transfer-Encoding: chunked\r\nContent-Length: 0", "Transfer-Encoding: gzip", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: chunked, chunked",
              "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: identity", "Transfer-Encoding: xchunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding:",
              "Transfer-Encoding : chunked", f"Host: {o.netloc}", "Host: other", "hOST: x"]
    heads = {f"POST {u} HTTP/1.1\r\n{h}{f}\r\n\r\n" for f in fields}
    hosts = ["", "Host: a b\r\n", "Host: a/b\r\n", "Host: a@b\r\n", "Host: a:b\r\n", "Host: a:0\r\n", "Host: a:99999\r\n", "Host: [::1\r\n", "Host: [x]\r\n", "Host: a,b\r\n", "Host: http://a\r\n", "Host: a?\r\n", "Host: a:80:80\r\n"]
    return lines | heads | {f"GET {u} HTTP/1.1\r\n{x}\r\n" for x in hosts} | {f"POST {u} HTTP/1.0\r\n{h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}


@pytest.mark.threads
def test_C6_and_case_39_malformed_heads_are_400_and_close_and_nothing_is_forwarded(g, o):
    before, wrong = o.connections, []
    for head in bad_heads(o):
        with g.connect(5) as c:
            c.send(head)
            try:
                a = c.response()
                rest = c.until_close()
            except (OSError, EOFError, AssertionError) as e:
                wrong.append((head, repr(e)))
                continue
            if a.status != 400 or a.get("connection") != "close" or not a.body or rest:
                wrong.append((head, a, rest))
    assert not wrong, wrong[:5]
    assert o.connections == before


def test_C6_the_same_by_single_bytes(g, o):
    for head in (f"GET {U(o)} HTTP/1.1\nHost: x\r\n\r\n", f"POST {U(o)} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", f"GET {U(o)} HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n"):
        with g.connect() as c:
            try:
                for b in head:
                    c.send(b)
                    time.sleep(0.0003)
            except OSError:
                pass  # refused before its end
            assert c.response().status == 400


def test_case_112_and_C6_what_is_allowed_passes_as_sent(g, o):
    odd = "X-High: caf\u00e9 \xff\xfe\r\nX-Tab: a\tb\r\nX-Empty:\r\nX-Blank:   \r\nx-lower: 1\r\nX-Twice: a\r\nX-Twice: b\r\nX!#$%&'*+-.^_`|~9: tok\r\nX-Q: \"a,b\\\"\"\r\nCookie: a=1\r\nCookie: b=2\r\n"
    a = one(g, get(U(o, "/odd?x={[|^`\"<>\\]}&%zz%00\xff"), extra=odd), closes=False)
    assert a.status == 200
    raw = o.seen[-1]["raw"].decode("latin-1")
    assert raw == (f"GET /odd?x={{[|^`\"<>\\]}}&%zz%00\xff HTTP/1.1\r\nHost: {o.netloc}\r\n" + odd.replace("X-Empty:\r\n", "X-Empty: \r\n").replace("X-Blank:   \r\n", "X-Blank: \r\n") + "\r\n")


def test_C4b_versions(g, o):
    for v in ("2.0", "3.0", "0.9", "9.9", "0.0"):
        a = one(g, f"GET {U(o)} HTTP/{v}\r\nHost: x\r\n\r\n", closes=True)
        assert a.status == 505 and a.get("connection") == "close", v
    a = one(g, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", closes=True)
    assert a.status == 505
    for v in ("1.2", "1.9"):
        assert one(g, f"GET {U(o)} HTTP/{v}\r\nHost: x\r\n\r\n", closes=False).status == 200
        assert o.seen[-1]["version"] == "HTTP/1.1"


def test_C4b_expectations(g, o):
    before = len(o.raw)
    for extra in ("Expect: 200-ok\r\n", "Expect: 100-continue, x\r\n", "Expect: 100-continue\r\nExpect: y\r\n", "Expect: \r\n"):
        assert one(g, get(U(o), extra=extra)).status == 417, extra
    a = one(g, get(U(o), method="POST", extra="Expect: x\r\nContent-Length: 5\r\n", body="hello"), closes=False)
    assert a.status == 417
    assert len(o.raw) == before


def test_case_111_a_long_field_passes_up_to_the_limit_of_the_head_and_431_above(g, o):
    base = len(get(U(o), extra="X: \r\n"))
    for n in (8000, 16384, 40000, 65536 - base):
        assert one(g, get(U(o), extra=f"X: {'y' * n}\r\n")).status == 200, n
        assert f"X: {'y' * n}\r\n".encode() in o.seen[-1]["raw"]
    for n in (65536 - base + 1, 70000, 300_000):
        a = one(g, get(U(o), extra=f"X: {'y' * n}\r\n"), closes=True)
        assert a.status == 431 and a.body and a.get("connection") == "close", (n, a)


def test_C4b_256_fields_pass_and_257_are_431(g, o):
    fields = "".join(f"X-{i}: v\r\n" for i in range(255))
    assert one(g, get(U(o), extra=fields), closes=False).status == 200
    assert len(o.seen[-1]["headers"]) == 256
    assert one(g, get(U(o), extra=fields + "Y: v\r\n"), closes=True).status == 431


def test_C4_414_for_a_request_line_over_the_limit(g, o):
    assert one(g, get(U(o, "/" + "p" * 60000)), closes=False).status == 200
    assert o.seen[-1]["target"] == "/" + "p" * 60000
    for n in (65536, 200_000):
        a = one(g, get(U(o, "/" + "p" * n)), closes=True)
        assert a.status == 414 and a.get("connection") == "close"
    assert one(g, "M" * 70000, closes=True).status in (400, 414)


def test_case_119_a_head_that_never_ends_takes_bounded_memory(g):
    before = g.rss_kib()
    clients = [g.connect().send("GET http://x/ HTTP/1.1\r\nHost: x\r\nX: " + "y" * 60000) for _ in range(50)]
    assert g.rss_kib() - before < 40_000
    for c in clients:
        c.close()


# ---- bodies

def chunked(u, body, extra=""):
    return get(u, method="POST", extra="Transfer-Encoding: chunked\r\n" + extra, body=body)


def test_case_39_malformed_chunks_are_400_and_close_and_the_upstream_never_sees_a_whole_request(g, o):
    before = len(o.seen)
    for body in ("x\r\n", "\r\n", "5 \r\nhello\r\n", " 5\r\nhello\r\n", "+5\r\nhello\r\n", "0x5\r\nhello\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhellox\r\n0\r\n\r\n", "-5\r\nhello\r\n", "5;a\x00b\r\nhello\r\n",
                 "5\rhello\r\n", "8000000000000000\r\n", "fffffffffffffffff\r\n", "5;x\nhello\r\n", "5\r\nhello0\r\n\r\n", "0\r\nX : y\r\n\r\n", "0\r\nX: y\n\r\n", "0\r\n folded\r\n\r\n", "0\r\n\n", "5\r\nhello\r\n0\r\n\rx",
                 "5\r\nhello\r\n0\r\nX\x00: y\r\n\r\n", "5\r\nhello\r\nzz\r\n"):
        a = one(g, chunked(U(o, "/bad-chunk"), body), closes=True)
        assert a.status == 400 and a.get("connection") == "close", (body, a)
    assert len(o.seen) == before


def test_C6_chunk_lines_and_trailers_obey_the_limits_of_heads(g, o):
    assert json.loads(one(g, chunked(U(o), f"5;{'e' * 60000}=\"x\"\r\nhello\r\n000000\r\nX-T: {'t' * 60000}\r\n\r\n"), closes=False).body)["body"] == "hello"
    for body in (f"5;{'e' * 70000}\r\nhello\r\n0\r\n\r\n", f"0\r\nX-T: {'t' * 70000}\r\n\r\n", "0\r\n" + "".join(f"X-{i}: v\r\n" for i in range(257)) + "\r\n"):
        assert one(g, chunked(U(o), body), closes=True).status == 431


@pytest.mark.threads
def test_case_38_chunked_bodies_are_streamed_with_extensions_and_trailers(g, o):
    body = "5;a=b;c\r\nhello\r\n1\r\n \r\n00005\r\nworld\r\nA\r\n0123456789\r\n0;last\r\nX-Sum: 42\r\nX-Other: a, b\r\n\r\n"
    for pieces in (len(body) + 500, 1):
        with g.connect() as c:
            data = chunked(U(o, "/chunks"), body, "Trailer: X-Sum\r\n")
            for i in range(0, len(data), pieces):
                c.send(data[i:i + pieces])
            j = json.loads(c.response().body)
            assert j["body"] == "hello world0123456789" and j["trailers"] == ["X-Sum: 42", "X-Other: a, b"], j
    assert not any(k.lower() == "content-length" for k, _ in j["headers"])


def test_K11_framing_routing_and_credential_fields_do_not_pass_as_trailers(g, o):
    names = ["Content-Length", "Transfer-Encoding", "Host", "Authorization", "Proxy-Authorization", "X-Api-Key", "Connection", "Cookie2"[:6] + "-X", "Trailer", "Expect", "Content-Type", "Max-Forwards", "TE"]
    with g.connect() as c:
        c.send(chunked(U(o), "1\r\nx\r\n0\r\n" + "".join(f"{n}: v\r\n" for n in names) + "X-Fine: 1\r\n\r\n"))
        j = json.loads(c.response().body)
    got = {t.split(":")[0].lower() for t in j["trailers"]}
    assert "x-fine" in got and not got & {"content-length", "transfer-encoding", "host", "authorization", "proxy-authorization", "x-api-key", "connection", "trailer", "expect", "te"}, got


@pytest.mark.parametrize("n", [0, 1, 16384, 65536, 1_500_000])
def test_bodies_of_both_framings_arrive_whole(g, o, n):
    data = ("0123456789abcdef" * (n // 16 + 1))[:n]
    a = one(g, get(U(o), method="PUT", extra=f"Content-Length: {n}\r\n", body=data), closes=False)
    assert json.loads(a.body)["body"] == data
    assert f"Content-Length: {n}\r\n".encode() in o.seen[-1]["raw"]
    pieces = "".join(f"{len(p):x}\r\n{p}\r\n" for p in (data[i:i + 50000] for i in range(0, n, 50000)))
    assert json.loads(one(g, chunked(U(o), pieces + "0\r\n\r\n"), closes=False).body)["body"] == data


@pytest.mark.parametrize("step", [1000, 16384, 20000])
def test_a_body_in_pieces_over_a_reused_connection_is_sent_once(g, o, step):
    data = "".join(f"{i:07d}," for i in range(5000))
    with g.connect() as c:
        c.send(get(U(o)))
        assert c.response().status == 200
        for method in ("PUT", "POST", "DELETE"):
            c.send(get(U(o), method=method, extra=f"Content-Length: {len(data)}\r\n"))
            for i in range(0, len(data), step):
                c.send(data[i:i + step])
                time.sleep(0.002)
            assert json.loads(c.response().body)["body"] == data
            c.send(chunked(U(o), "").replace("POST", method, 1))
            for i in range(0, len(data), step):
                c.send(f"{len(data[i:i + step]):x}\r\n{data[i:i + step]}\r\n")
                time.sleep(0.002)
            c.send("0\r\n\r\n")
            assert json.loads(c.response().body)["body"] == data


def test_a_get_with_a_body_and_a_post_without_one(g, o):
    assert json.loads(one(g, get(U(o), extra="Content-Length: 3\r\n", body="abc"), closes=False).body)["body"] == "abc"
    one(g, get(U(o), method="POST"), closes=False)
    assert b"Content-Length: 0\r\n" in o.seen[-1]["raw"]
    one(g, get(U(o)), closes=False)
    assert b"Content-Length" not in o.seen[-1]["raw"]


# ---- persistence

@pytest.mark.threads
def test_C5_many_requests_on_one_connection_and_pipelined_ones_in_order(g, o):
    with g.connect() as c:
        for i in range(20):
            c.send(get(U(o, f"/one/{i}")))
            assert json.loads(c.response().body)["target"] == f"/one/{i}"
        many = [get(U(o, f"/p/{i}"), method=("GET", "POST", "HEAD")[i % 3], extra="Content-Length: 4\r\n" if i % 3 == 1 else "", body="body" if i % 3 == 1 else "") for i in range(60)]
        c.send("".join(many))
        for i in range(60):
            a = c.response("HEAD" if i % 3 == 2 else "GET")
            assert a.status == 200 and (i % 3 == 2 or json.loads(a.body)["target"] == f"/p/{i}")
        assert not c.buf


def test_C5_pipelined_requests_of_all_sizes_in_one_burst(g, o):
    want, data = [], ""
    for i in range(120):
        body = ("%03d|" % i) * (i * 37 % 700)
        want.append(body)
        extra = f"X-Pad: {'p' * (i * 91 % 3000)}\r\n"
        data += get(U(o, f"/{i}"), method="POST", extra=extra + f"Content-Length: {len(body)}\r\n", body=body) if i % 2 else chunked(U(o, f"/{i}"), (f"{len(body):x}\r\n{body}\r\n" if body else "") + "0\r\n\r\n", extra)
    with g.connect() as c:
        threading.Thread(target=c.s.sendall, args=(data.encode(),), daemon=True).start()
        for i, body in enumerate(want):
            j = json.loads(c.response().body)
            assert j["target"] == f"/{i}" and j["body"] == body


def test_C5_a_connect_may_follow_requests_on_one_connection(g, o):
    with g.connect() as c:
        c.send(get(U(o)) + get("http://denied.test/") + f"CONNECT {o.netloc} HTTP/1.1\r\nHost: x\r\n\r\n" + get("/inside").replace("Host: /inside", "Host: x"))
        assert [c.response().status, c.response().status, c.response("CONNECT").status] == [200, 403, 200]
        assert json.loads(c.response().body)["target"] == "/inside"


def test_C5_a_pipeliner_that_does_not_read_is_not_read_either(g, o):
    with g.connect() as c:
        c.s.settimeout(0.5)
        n = 0
        with pytest.raises(TimeoutError):
            while n < 64 << 20:
                n += c.s.send(get(U(o, "/" + "p" * 30000)).encode())


def test_a_client_that_ends_in_the_middle_of_a_body_or_a_head(g, o):
    before = len(o.seen)
    for data in (get(U(o, "/cut"), method="POST", extra="Content-Length: 100\r\n") + "half", chunked(U(o, "/cut"), "5\r\nhello\r\n"), "GET http://x/ HTTP/1.1\r\nHos"):
        with g.connect() as c:
            c.send(data)
            time.sleep(0.05)
            c.s.shutdown(socket.SHUT_WR)
            try:
                assert c.until_close() == b""
            except ConnectionResetError:
                pass
    assert len(o.seen) == before
    assert until(lambda: len([r for r in g.records(0) if r["path"] == "/cut" and r["outcome"] == "client_aborted"]) == 2)


def test_C5_pipelined_behind_refusals_local_answers_and_bodies(g, o):
    data = (get("http://denied.test/") + get("http://denied.test/", method="POST", extra="Content-Length: 5\r\n", body="GET /") + "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" +
            "\r\n" + get(U(o, "/a")) + chunked(U(o, "/b"), "3\r\nGET\r\n0\r\n\r\n") + get(f"http://{o.host}:1/") + get(U(o, "/c")))
    assert [a.status for a in talk(g, data, "GET POST OPTIONS GET GET POST GET GET")] == [403, 403, 204, 404, 200, 200, 502, 200]


def test_pipelined_requests_behind_one_that_closes_are_not_served(g, o):
    before = len(o.seen)
    for first in (get(U(o, "/last"), extra="Connection: close\r\n"), f"GET {U(o, '/last')} HTTP/1.0\r\n\r\n"):
        with g.connect() as c:
            c.send(first + get(U(o, "/never")))
            a = c.response()
            assert a.status == 200 and a.get("connection") == "close" and c.until_close() == b""
    assert [r["target"] for r in o.seen[before:]] == ["/last", "/last"]
    with g.connect() as c:
        c.send("GET http://a b/ HTTP/1.1\r\nHost: x\r\n\r\n" + get(U(o, "/never")))
        assert c.response().status == 400 and c.until_close() == b""


def test_upstream_connections_are_reused_and_never_shared_between_hosts(g):
    with Origin(serving({})) as a:
        with g.connect() as c:
            for i in range(5):
                c.send(get(U(a)))
                assert c.response().status == 200
        assert a.connections == 1
        for name in ("origin.test", "api.test"):
            one(g, get(f"http://{name}:{a.port}/"))
        assert a.connections == 3


def test_http_1_0_clients(g, o):
    head = f"GET {U(o, '/ten')} HTTP/1.0\r\n"
    a = one(g, head + "\r\n", closes=True)
    assert a.status == 200 and a.get("connection") == "close" and a.get("content-length")
    raw = o.seen[-1]["raw"]
    assert raw.startswith(b"GET /ten HTTP/1.1\r\n") and f"Host: {o.netloc}\r\n".encode() in raw
    with g.connect() as c:
        for _ in range(2):
            c.send(head + "Connection: Keep-Alive\r\n\r\n")
            a = c.response()
            assert a.status == 200 and a.get("connection").lower() == "keep-alive"
    REPLIES["/chunked10"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: v\r\n\r\n"
    a = one(g, f"GET {U(o, '/chunked10')} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", closes=True)
    assert a.body == b"hello" and not a.get("transfer-encoding") and a.get("connection") == "close", a
    REPLIES["/hints10"] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    a = one(g, f"GET {U(o, '/hints10')} HTTP/1.0\r\n\r\n")
    assert a.status == 200 and not a.interim
    a = one(g, f"POST {U(o)} HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
    assert json.loads(a.body)["body"] == "hi" and b"expect" not in o.seen[-1]["raw"].lower()


def test_connection_and_proxy_connection_fields_of_clients(g, o):
    for extra, closes in (("Connection: close\r\n", True), ("Connection: Close, x\r\n", True), ("Connection: keep-alive\r\n", False), ("Connection: x, close\r\nConnection: keep-alive\r\n", True),
                          ("Proxy-Connection: close\r\n", False), ("Proxy-Connection: keep-alive\r\n", False)):
        assert one(g, get(U(o), extra=extra), closes=closes).status == 200, extra


# ---- after a refusal

@pytest.mark.parametrize("extra,body,lasts", [("", "", True), ("Content-Length: 10\r\n", "0123456789", True), ("Content-Length: 65536\r\n", "x" * 65536, True), ("Content-Length: 65537\r\n", "x" * 65537, False),
                                              ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", True), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n", False),
                                              ("Expect: 100-continue\r\nContent-Length: 10\r\n", "", False), ("Connection: close\r\n", "", False)])
def test_C4_a_refusal_keeps_the_connection_where_the_rest_can_be_skipped(g, extra, body, lasts):
    a = one(g, get("http://denied.test/", method="POST", extra=extra, body=body), closes=not lasts)
    assert a.status == 403 and (a.get("connection") == "close") is (not lasts) and not a.interim


def test_C4_a_short_rest_that_comes_later_is_skipped(g, o):
    with g.connect() as c:
        c.send(get("http://denied.test/", method="POST", extra="Content-Length: 30\r\n") + "GET http://x")
        assert c.response().status == 403
        time.sleep(0.05)
        c.send("x" * 18 + get(U(o, "/after")))
        assert json.loads(c.response().body)["target"] == "/after"


def test_C4_lingering_lets_the_answer_through_while_a_client_still_sends(g):
    for data in (get("http://denied.test/", method="POST", extra="Content-Length: 4000000\r\n") + "x" * 4_000_000, "GET http://a b/\r\n" + "x" * 2_000_000, get("http://denied.test/", extra="Connection: close\r\n") + "y" * 1_000_000):
        with g.connect() as c:
            c.send(data)
            assert c.response().status in (400, 403)


def test_C4_error_bodies_in_text_and_json(g):
    a = one(g, get("http://denied.test/"))
    assert a.get("content-type") == "text/plain" and re.fullmatch(rb"nono: host denied\.test is in the deny list \(rule \S+, request \S+\)\n", a.body), a
    for accept in ("application/json", "text/html, Application/JSON;q=0.9", "application/json, text/plain"):
        a = one(g, get("http://denied.test/", extra=f"Accept: {accept}\r\n"))
        j = json.loads(a.body)
        assert a.get("content-type") == "application/json" and set(j) >= {"error", "reason", "rule", "origin", "remedy", "request_id"} and j["error"] == "host_denied", a
    for accept in ("*/*", "application/json;q=0", "application/json; q=0.000 , text/html", "application/json-patch"):
        assert one(g, get("http://denied.test/", extra=f"Accept: {accept}\r\n")).get("content-type") == "text/plain", accept
    a = one(g, "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
    assert a.status == 404 and json.loads(a.body)["error"] == "unknown_service"
    for accept, kind in (("application/json;q=0", "text/plain"), ("application/json ; Q=0.000, */*", "text/plain"), ("text/plain;q=0", "application/json"),
                         ("application/json;q=0.001", "application/json"), ("application/json;version=0", "application/json")):
        for data in (get("http://denied.test/", extra=f"Accept: {accept}\r\n"), f"GET /nope HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"):
            want = "text/plain" if accept == "text/plain;q=0" and "denied" in data else kind
            assert one(g, data).get("content-type") == want, (accept, data)
    a = one(g, "GET /nope HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n")
    assert a.body.startswith(b"nono: ")
    a = one(g, get("http://denied.test/", method="HEAD"), "HEAD", closes=False)
    assert a.status == 403 and int(a.get("content-length")) > 20


# ---- time limits

@pytest.fixture(scope="module")
def quick():
    with Gateway("--timeout", "head=0.5", "--timeout", "idle=0.7", "--timeout", "stall=0.6", "--timeout", "response=0.6", "--timeout", "tunnel=1.2", auth=False) as gateway:
        yield gateway


def test_C10_time_limits(quick, o):
    """All at once: they only wait."""
    g = quick
    REPLIES["/silent"] = lambda conn, _o, _raw, rest: conn.recv(1) and None
    REPLIES["/half"] = lambda conn, _o, _raw, rest: conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") or conn.recv(1) and None
    REPLIES["/half-head"] = lambda conn, _o, _raw, rest: conn.sendall(b"HTTP/1.1 200 OK\r\nX: ") or conn.recv(1) and None
    REPLIES["/deaf"] = lambda conn, _o, _raw, rest: time.sleep(3)
    waits = {"half a head": ("GET http://x/ HTTP/1.1\r\nHo", 408), "half a body": (get(U(o), method="POST", extra="Content-Length: 9\r\n") + "half", 408), "half a chunk": (chunked(U(o), "9\r\nhalf"), 408),
             "no answer": (get(U(o, "/silent")), 504), "half an answer's head": (get(U(o, "/half-head")), 504), "upstream takes nothing": (get(U(o, "/deaf"), method="PUT", extra="Content-Length: 30000000\r\n"), 504)}
    clients = {k: g.connect().send(d) for k, (d, _) in waits.items()}
    clients["upstream takes nothing"].s.settimeout(0.3)
    try:
        while True:
            clients["upstream takes nothing"].s.send(b"x" * 65536)
    except TimeoutError:
        clients["upstream takes nothing"].s.settimeout(10)
    kept = g.connect().send(get(U(o)))
    assert kept.response().status == 200
    silent = g.connect()
    half = g.connect().send(get(U(o, "/half")))
    assert half.head().status == 200
    for k, (_, status) in waits.items():
        a = clients[k].response()
        assert a.status == status and a.get("connection") == ("close" if status == 408 else a.get("connection")), (k, a)
    assert kept.closed() and silent.closed()
    assert half.exactly(4) == b"half"
    with pytest.raises((ConnectionResetError, EOFError)):
        half.more()
    for c in [*clients.values(), kept, silent, half]:
        c.close()
    assert {r["outcome"] for r in g.records(8)} == {"timeout", "ok"}


def test_C10_more_time_limits(quick, o):
    g = quick
    events = threading.Event()

    def sse(conn, _o, _raw, rest):
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        time.sleep(0.95)  # longer than the stall time: nobody owes a byte
        conn.sendall(b"2\r\nev\r\n0\r\n\r\n")
        return rest

    def flood(conn, _o, _raw, rest):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                conn.sendall(b"x" * 65536)
        finally:
            events.set()
    REPLIES.update({"/sse": sse, "/flood": flood, "/silent": lambda conn, _o, _raw, rest: conn.recv(1) and None})
    quiet = g.connect().send(get(U(o, "/sse")))
    deaf = g.connect().send(get(U(o, "/flood")))
    waiting = g.connect().send(get(U(o, "/silent"), method="POST", extra="Expect: 100-continue\r\nContent-Length: 5\r\n"))
    behind = g.connect().send(get(U(o, "/x")) + "GET http://x/ HT")
    assert behind.response().status == 200 and behind.response().status == 408
    assert waiting.response().status == 504
    assert quiet.response().body == b"ev"
    assert events.wait(5)  # a client that takes nothing is let go
    with pytest.raises((ConnectionResetError, EOFError)):
        while True:
            deaf.more()
            deaf.buf = b""
    for c in (quiet, deaf, waiting, behind):
        c.close()


def test_C10_a_trickle_is_no_stall(quick, o):
    with quick.connect() as c:
        c.send(get(U(o), method="POST", extra="Content-Length: 10\r\n"))
        for i in range(10):
            c.send(str(i))
            time.sleep(0.12)
        assert json.loads(c.response().body)["body"] == "0123456789"


def test_C10_half_a_head_trickling_in_does_not_prolong_its_time(quick):
    with quick.connect() as c:
        start = time.monotonic()
        c.send("GET http://x/ HTTP/1.1\r\n")
        with pytest.raises(OSError):
            while time.monotonic() - start < 4:
                c.send("X: y\r\n")
                time.sleep(0.05)
                c.s.settimeout(0.01)
                try:
                    if b"408" in c.s.recv(100):
                        raise OSError
                except TimeoutError:
                    pass
                c.s.settimeout(5)
        assert time.monotonic() - start < 1.5


# ---- answers of upstreams

def served(g, reply, method="GET", extra="", closes=None, version="1.1"):
    with Origin(answering(reply)) as o2:
        return one(g, get(U(o2), method=method, extra=extra, version=version), method, closes=closes)


@pytest.mark.threads
def test_case_97_a_chunked_answer_ends_at_its_last_chunk(g, o):
    REPLIES["/ch"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
    with g.connect() as c:
        for _ in range(3):
            before = o.connections
            c.send(get(U(o, "/ch")))
            a = c.response()
            assert a.body == b"hello world" and a.trailers == ["X-Sum: 1"]
        assert o.connections == before


def test_long_heads_and_many_small_chunks_of_answers(g, o):
    REPLIES["/longhead"] = b"HTTP/1.1 200 OK\r\n" + b"".join(b"Set-Cookie: %d=%s\r\n" % (i, b"c" * 900) for i in range(60)) + b"Content-Length: 2\r\n\r\nok"
    a = one(g, get(U(o, "/longhead")), closes=False)
    assert a.body == b"ok" and len([1 for k, _ in a.headers if k == "Set-Cookie"]) == 60
    REPLIES["/dust"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(b"1;e=%d\r\n%c\r\n" % (i, 97 + i % 26) for i in range(20000)) + b"0\r\n\r\n"
    assert one(g, get(U(o, "/dust")), closes=False).body == b"".join(b"%c" % (97 + i % 26) for i in range(20000))


def test_case_98_answers_without_a_body(g, o):
    REPLIES.update({"/204": b"HTTP/1.1 204 No Content\r\n\r\n", "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"x\"\r\n\r\n", "/0": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                    "/205": b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "/302": b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
                    "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", "/headch": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "/404head": b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\n"})
    with g.connect(5) as c:
        for path, method, status in (("/204", "GET", 204), ("/304", "GET", 304), ("/0", "GET", 200), ("/205", "GET", 205), ("/302", "GET", 302), ("/head", "HEAD", 200), ("/headch", "HEAD", 200), ("/404head", "HEAD", 404)):
            c.send(get(U(o, path), method=method))
            a = c.response(method)
            assert a.status == status and not c.buf, (path, a)
            if path == "/304":
                assert a.get("content-length") == "500" and a.get("etag") == '"x"'
            if path == "/head":
                assert a.get("content-length") == "12345"
            if path == "/204":
                assert a.get("content-length") is None and a.get("transfer-encoding") is None
            if path == "/302":
                assert a.get("location") == "http://elsewhere/"


def test_answers_without_length_are_chunked_for_1_1_and_end_with_the_connection_for_1_0(g):
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: x/y\r\n\r\nuntil the end"
    a = served(g, reply, closes=False)
    assert a.body == b"until the end" and a.get("transfer-encoding") == "chunked"
    a = served(g, reply, version="1.0", closes=True)
    assert a.body == b"until the end" and a.get("transfer-encoding") is None
    assert served(g, b"HTTP/1.0 200 OK\r\n\r\nold", closes=False).body == b"old"
    assert served(g, b"HTTP/1.1 200 OK\r\n\r\n", closes=False).body == b""


REPAIRED = {
    "folding": (b"HTTP/1.1 200 OK\r\nX-Fold: a\r\n  b\r\n\tc\r\nContent-Length: 2\r\n\r\nok", ("X-Fold", lambda v: v == "a b c")),
    "space before colon": (b"HTTP/1.1 200 OK\r\nX-Sp : v\r\nContent-Length: 2\r\n\r\nok", ("X-Sp", lambda v: v == "v")),
    "te beats cl": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", None),
    "equal lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", None),
    "length list": (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", None),
    "bare lf": (b"HTTP/1.1 200 OK\nX-Lf: 1\nContent-Length: 2\n\nok", ("X-Lf", lambda v: v == "1")),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", None),
    "empty reason": (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", None),
    "high bytes": (b"HTTP/1.1 200 \xc3\xa9\r\nX-High: \xff\xfe\r\nContent-Length: 2\r\n\r\nok", ("X-High", lambda v: v == "\xff\xfe")),
    "1.0 chunked": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", None),
    "version 1.5": (b"HTTP/1.5 200 OK\r\nContent-Length: 2\r\n\r\nok", None),
    "status 999": (b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok", None),
}


def test_C6a_answers_that_are_repaired(g):
    for name, (reply, field) in REPAIRED.items():
        a = served(g, reply, closes=False)
        assert a.status in (200, 999) and a.body == b"ok" and (a.get("transfer-encoding") or a.get("content-length") == "2"), (name, a)
        assert not field or field[1](a.get(field[0])), (name, a)


def test_C6a_a_repaired_answer_ends_reuse(g):
    for name in ("te beats cl", "bare lf", "1.0 chunked"):
        with Origin(serving({"/x": REPAIRED[name][0]})) as o2:
            for _ in range(2):
                assert one(g, get(U(o2, "/x"))).body == b"ok"
            assert o2.connections == 2, name


BROKEN = [b"", b"\r\n\r\n", b"junk", b"HTTP/2 200 OK\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/0.9 200 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n",
          b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 099 OK\r\n\r\n", b"HTTP/1.1  200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nNoColon\r\n\r\n", b"HTTP/1.1 200 OK\r\n: v\r\n\r\n", b"HTTP/1.1 200 OK\r\nX(: v\r\n\r\n", b"HTTP/1.1 200 OK\r\nX Y: v\r\n\r\n",
          b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: a\x01b\r\n\r\n", b"HTTP/1.1 200 O\x00K\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", b"HTTP/1.1 200 OK\r\n folded: v\r\n\r\n",
          b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nab",
          b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
          b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          b"HTTP/1.1 200 OK\r\nX: " + b"y" * 66000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: v\r\n" % i for i in range(257)) + b"\r\n", b"HTTP/1.1 103 E\r\n\r\n" * 101 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
          b"HTTP/1.1 103 Early\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: cut", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"]


def test_C6a_and_case_105_broken_answers_are_502(g):
    for reply in BROKEN:
        a = served(g, reply, extra="Accept: application/json\r\n", closes=False)
        assert a.status == 502 and json.loads(a.body)["error"] in ("bad_response", "upstream_closed"), (reply[:80], a)


@pytest.mark.parametrize("chunk", ["zz\r\n", "\r\n", "-5\r\nhello\r\n", "5 5\r\nhello\r\n", "5\nhello\r\n", "8000000000000000\r\n", "0x5\r\nhello\r\n"])
def test_C6a_a_first_chunk_that_is_bad_when_the_head_comes_is_502(g, chunk):
    a = served(g, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk.encode(), extra="Accept: application/json\r\n", closes=False)
    assert a.status == 502 and json.loads(a.body)["error"] == "bad_response", a


def test_case_105_an_upstream_that_never_ends_its_head_is_bounded(g):
    def endless(conn, _):
        conn.recv(65536)
        conn.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            conn.sendall(b"y" * 65536)
    before = g.rss_kib()
    with Origin(endless) as o2:
        assert one(g, get(U(o2)), closes=False).status == 502
    assert g.rss_kib() - before < 8192


def test_case_110_an_answer_that_is_cut_is_a_reset_and_not_an_end(g):
    for reply in (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y"):
        with Origin(answering(reply)) as o2, g.connect() as c:
            c.send(get(U(o2)))
            with pytest.raises((ConnectionResetError, EOFError)) as e:
                c.response()
            assert e.type is ConnectionResetError, reply
    last = until(lambda: [r for r in g.records(0) if r["outcome"] == "upstream_aborted"])
    assert last and all(r["decision"] == "allow" and r["status"] == 200 for r in last)


def test_more_than_an_answer_is_never_given_to_another_client(g):
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    with Origin(serving({"/x": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + poison, "/h": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", "/n": b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison"})) as o2:
        for _ in range(3):
            assert one(g, get(U(o2, "/x")), closes=False).body == b"ok"
            one(g, get(U(o2, "/h"), method="HEAD"), "HEAD", closes=False)
            assert one(g, get(U(o2, "/n")), closes=False).status == 204
            assert json.loads(one(g, get(U(o2, "/y"))).body)["target"] == "/y"


def test_case_117_over_the_limit_is_503_with_retry_after(o):
    with Gateway("--max-connections", "2", auth=False) as g:
        held = [g.connect().send(get(U(o))) for _ in range(2)]
        assert [c.response().status for c in held] == [200, 200]
        a = one(g, get(U(o)), closes=True)
        assert a.status == 503 and a.get("retry-after") and a.get("connection") == "close", a
        held.pop().close()
        assert until(lambda: one(g, get(U(o))).status == 200, 3)
        held.pop().close()
        assert until(lambda: [r for r in g.records(0) if r["status"] == 503])[0]["denial_category"] == "connection_limit"


def test_case_116_a_thousand_parallel_clients(g, o):
    clients = [g.connect() for _ in range(300)]
    for i, c in enumerate(clients):
        c.send(get(U(o, f"/many/{i}")))
    for i, c in enumerate(clients):
        assert json.loads(c.response().body)["target"] == f"/many/{i}"
        c.close()


def test_case_118_clients_that_vanish_anywhere_leave_nothing_behind(o):
    with Gateway("--workers", "2", auth=False) as g:
        vanish_everywhere(g, o)


def vanish_everywhere(g, o):
    data = get(U(o, "/vanish"), method="POST", extra="Transfer-Encoding: chunked\r\n", body="5\r\nhello\r\n0\r\nX-T: v\r\n\r\n")
    for i in range(0, len(data), 9):
        for end in ("close", "reset"):
            c = g.connect()
            c.send(data[:i])
            getattr(c, end)()
    assert one(g, get(U(o)), closes=False).status == 200
    most = g.fds_at_start + 40  # pooled upstream connections
    assert until(lambda: g.descriptors() <= most, 5), g.descriptors()


def test_a_client_that_ends_its_side_still_gets_its_answers(g, o):
    REPLIES["/slow"] = lambda conn, _o, _raw, rest: time.sleep(0.2) or conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow") or rest
    with g.connect() as c:
        c.send(get(U(o, "/slow")) + get(U(o, "/second")))
        c.s.shutdown(socket.SHUT_WR)
        assert c.response().body == b"slow" and json.loads(c.response().body)["target"] == "/second"
        assert c.until_close() == b""
