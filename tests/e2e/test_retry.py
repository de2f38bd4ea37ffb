"""A 401 from upstream on a request with a credential: sent once more with a newer version, or passed on whole; never both."""
import threading
import time

import pytest
from gateway import Origin, get, one, read_head, read_request, talk, until
from test_reverse import LOCAL, SECRET, WS, ask, gate, service
from test_sources import NEW, by_file, by_helper, file_secret, replace, runs

BODY = b"always not u"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def chunked(data, trailer=b"", size=1000):
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n" + trailer + b"\r\n"


def no(fields, body=b""):
    return b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\n" + fields + b"\r\n" + body


def sized(n):
    return no(b"Content-Length: %d\r\n" % n, b"n" * n)


class Rotated:
    """An upstream that takes one secret only and answers these bytes to all others; `end`: and then ends the connection, `stall`: keeps it but
    says no more. Every request knows the number of its connection."""

    def __init__(self, refusal=no(b"Content-Length: 12\r\n", BODY), end=False, stall=False, granted=OK):
        self.good, self.refusal, self.end, self.stall, self.granted = SECRET, refusal, end, stall, granted

    def ok(self, head):
        return b"authorization: bearer " + self.good.lower().encode() in head.lower()

    def __call__(self, conn, origin):
        number, rest = origin.connections, b""
        while True:
            r, rest = read_request(conn, rest)
            origin.seen.append(r | {"conn": number})
            if self.ok(r["raw"]):
                conn.sendall(self.granted.split(b"\r\n\r\n")[0] + b"\r\n\r\n" if r["method"] == "HEAD" else self.granted)
                continue
            conn.sendall(self.refusal.split(b"\r\n\r\n")[0] + b"\r\n\r\n" if r["method"] == "HEAD" else self.refusal)
            if self.end:
                return
            if self.stall:
                conn.recv(1)
                return


class Rotation:
    """A gateway whose route gets its secret from a helper; after `turn` the upstream takes only what the helper would say now."""

    def __init__(self, tmp_path, handler, workers="1", flags=()):
        self.value, self.handler = file_secret(tmp_path), handler
        self.o = Origin(handler, host=LOCAL)
        self.g = by_helper(tmp_path, self.o, f"cat {self.value}", "--workers", workers, *flags, ttl_secs=600)
        self.g.secrets.append(NEW)

    def __enter__(self):
        self.g.__enter__()
        assert one(self.g, ask(self.g, "/svc/first")).status == 200
        self.turn()
        return self

    def turn(self):
        self.handler.good = NEW
        self.value.write_text(NEW)

    def seen(self):
        return self.o.seen[1:]

    def __exit__(self, *a):
        try:
            return self.g.__exit__(*a)
        finally:
            self.o.__exit__(*a)


# ---------------------------------------------------------------- the body of the 401 (connections in all: one if the 401 is read away)

FORMS = {  # refusal, what becomes of its connection, connections in all
    "length": (sized(12), {}, 1), "none": (no(b"Content-Length: 0\r\n"), {}, 1), "chunked": (no(b"Transfer-Encoding: chunked\r\n", chunked(BODY * 99)), {}, 1),
    "trailer": (no(b"Transfer-Encoding: chunked\r\n", chunked(BODY, b"X-T: v\r\n")), {}, 1),
    "empty": (no(b"Transfer-Encoding: chunked\r\n", chunked(b"")), {}, 1), "64k": (sized(65536), {}, 1), "more": (sized(65537), {}, 2),
    "200k": (sized(200000), {}, 2), "200k-chunked": (no(b"Transfer-Encoding: chunked\r\n", chunked(b"x" * 200000)), {}, 2),
    "close": (no(b"Content-Length: 12\r\nConnection: close\r\n", BODY), {"end": True}, 2), "until-close": (no(b"", BODY), {"end": True}, 2),
    "cut": (no(b"Content-Length: 1000\r\n", BODY), {"end": True}, 2), "stall": (no(b"Content-Length: 1000\r\n", BODY), {"stall": True}, 2),
    "stall-chunked": (no(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n"), {"stall": True}, 2),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_case82_the_401_is_read_away_or_its_connection_closed(tmp_path, form, method):
    refusal, then, connections = FORMS[form]
    with Rotation(tmp_path, Rotated(refusal, **then)) as t:
        body = "hello" if method == "POST" else ""
        a = one(t.g, ask(t.g, "/svc/x", method, body=body), method, closes=False)
        assert (a.status, a.body, a.get("www-authenticate")) == (200, b"ok", None), a
        assert [(r["target"], r["body"].decode(), r["h"]["authorization"]) for r in t.seen()] == [("/x", body, f"Bearer {s}") for s in (SECRET, NEW)]
        assert t.o.connections == connections, [r["conn"] for r in t.o.seen]
        assert one(t.g, ask(t.g, "/svc/again")).status == 200 and t.o.connections == connections  # what is left is pooled


def test_case82_HEAD(tmp_path):
    with Rotation(tmp_path, Rotated(sized(200000))) as t:
        a = one(t.g, ask(t.g, "/svc/x", "HEAD"), "HEAD", closes=False)
        assert a.status == 200 and [r["h"]["authorization"] for r in t.seen()] == [f"Bearer {SECRET}", f"Bearer {NEW}"] and t.o.connections == 1


@pytest.mark.threads
def test_case82_a_second_401_is_the_answer(tmp_path):
    with Rotation(tmp_path, Rotated(no(b"Transfer-Encoding: chunked\r\n", chunked(BODY * 9000)))) as t:
        t.handler.good = "nothing is"
        a = one(t.g, ask(t.g, "/svc/x"), closes=False)
        assert (a.status, a.body, a.get("www-authenticate")) == (401, BODY * 9000, "Bearer")
        assert [r["h"]["authorization"] for r in t.seen()] == [f"Bearer {SECRET}", f"Bearer {NEW}"]


@pytest.mark.parametrize("form", [f for f in FORMS if "stall" not in f and f != "cut"])
def test_case82_nothing_newer_the_401_passes_whole(tmp_path, form):
    refusal, then, _ = FORMS[form]
    handler = Rotated(refusal, **then)
    handler.good = "other"
    with Origin(handler, host=LOCAL) as o, gate(tmp_path, {"svc": by_file(o, file_secret(tmp_path)), "env": service(o)}) as g:
        for path in ("/svc/x", "/env/x"):
            t = time.monotonic()
            a = one(g, ask(g, path))
            head, body = refusal.split(b"\r\n\r\n", 1)
            want = b"".join(p for p in (BODY * 99, BODY, b"", b"x" * 200000) if chunked(p) == body or chunked(p, b"X-T: v\r\n") == body) \
                if b"chunked" in head else body
            assert (a.status, a.body, a.get("www-authenticate")) == (401, want, "Bearer")
            assert time.monotonic() - t < 20
        assert len(o.seen) == 2


# ---------------------------------------------------------------- what cannot be sent again

def test_case82_a_long_upload_gets_its_401_and_the_next_request_the_new_secret(tmp_path):
    big = b"u" * 300000
    with Rotation(tmp_path, Rotated()) as t:
        for i, (framing, body) in enumerate((("Content-Length: 300000", big), ("Transfer-Encoding: chunked", chunked(big)))):
            with t.g.connect() as c:
                c.send(f"POST /svc/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {t.g.token}\r\n{framing}\r\n\r\n".encode() + body)
                a = c.response()
            assert (a.status, a.body) == ((401, BODY) if i == 0 else (200, b"ok"))
        assert [r["body"] == big for r in t.seen()] == [True, True] and runs(tmp_path) == 2


def test_case82_request_trailers_are_not_lost(tmp_path):
    with Rotation(tmp_path, Rotated()) as t:
        head = f"POST /svc/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {t.g.token}\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
        a = talk(t.g, head.encode() + chunked(b"hello", b"X-T: v\r\n"))[0]
        assert a.status in (200, 401) and {(r["body"], tuple(r["trailers"])) for r in t.seen()} == {(b"hello", ("X-T: v",))}


class Early(Rotated):
    """Says its 401 as soon as it has the head, and reads on."""

    def __call__(self, conn, origin):
        rest = b""
        while True:
            raw, rest = read_head(conn, rest)
            origin.raw.append(raw)
            if not self.ok(raw):
                conn.sendall(self.refusal)
            r, rest = read_request(conn, raw + rest)
            origin.seen.append(r)
            if self.ok(raw):
                conn.sendall(self.granted)


@pytest.mark.parametrize("framing,first,more", [("Content-Length: 10", b"hello", b"world"), ("Transfer-Encoding: chunked", b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n"),
                                                ("Transfer-Encoding: chunked", b"a\r\nhelloworld\r\n", b"0\r\n\r\n")])
def test_case82_a_body_that_comes_in_pieces_is_sent_whole(tmp_path, framing, first, more):
    with Rotation(tmp_path, Early()) as t, t.g.connect() as c:
        c.send(f"POST /svc/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {t.g.token}\r\n{framing}\r\n\r\n".encode() + first)
        assert until(lambda: len(t.o.raw) == 3)  # refused, and on its way once more
        time.sleep(0.2)
        assert c.send(more).response().status == 200
        assert [r["body"] for r in t.seen()] == [b"helloworld"] and NEW.encode() in t.o.raw[-1]


def test_case82_time_that_the_helper_took_is_not_the_clients(tmp_path):
    with Rotation(tmp_path, Early(), flags=("--timeout", "stall=1")) as t, t.g.connect() as c:
        script = tmp_path / "helper"
        script.write_text(script.read_text().replace("cat", "sleep 1.5; cat"))
        c.send(f"POST /svc/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {t.g.token}\r\nContent-Length: 10\r\n\r\nhello")
        assert until(lambda: len(t.o.raw) == 3)  # it is on its way once more, and what was sent so far went at once
        time.sleep(0.6)
        a = c.send("world").response()
        assert (a.status, a.body) == (200, b"ok"), a
        assert [r["body"] for r in t.seen()] == [b"helloworld"]


class Continuing(Rotated):
    """Says 100 to those it takes, else its 401 at once."""

    def __call__(self, conn, origin):
        rest = b""
        while True:
            raw, rest = read_head(conn, rest)
            origin.raw.append(raw)
            if not self.ok(raw):
                conn.sendall(self.refusal)
                continue
            if b"100-continue" in raw.lower():
                conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            r, rest = read_request(conn, raw + rest)
            origin.seen.append(r)
            conn.sendall(self.granted)


def test_case82_expect_100_is_answered_by_the_second_try(tmp_path):
    with Rotation(tmp_path, Continuing()) as t, t.g.connect() as c:
        c.send(f"POST /svc/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {t.g.token}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert c.head().status == 100
        c.send("hello")
        assert c.response().status == 200 and c.interim == []
        assert [r["body"] for r in t.seen()] == [b"hello"] and len(t.o.raw) == 3


def test_case82_expect_100_without_anything_newer(tmp_path):
    handler = Continuing()
    handler.good = "other"
    with Origin(handler, host=LOCAL) as o, gate(tmp_path, {"svc": service(o)}) as g:
        a = one(g, ask(g, "/svc/x", "POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"), "POST", closes=True)
        assert (a.status, a.body, a.interim, len(o.raw)) == (401, BODY, [], 1)


# ---------------------------------------------------------------- around it

def test_case82_pipelined_requests_keep_their_order(tmp_path):
    with Rotation(tmp_path, Rotated(sized(2000))) as t:
        answers = talk(t.g, "".join(ask(t.g, f"/svc/{i}", "POST", body=f"body{i}") for i in range(4)), "POST POST POST POST")
        assert [a.status for a in answers] == [200] * 4 and t.o.connections == 1
        assert [(r["target"], r["body"]) for r in t.seen()] == [("/0", b"body0")] + [(f"/{i}", b"body%d" % i) for i in range(4)]


def test_case82_a_pooled_connection_that_dies_and_then_a_401(tmp_path):
    """Both reasons for a second try in one request."""
    class Dying(Rotated):
        def __call__(self, conn, origin):
            if origin.connections > 1:
                return super().__call__(conn, origin)
            origin.seen.append(read_request(conn)[0] | {"conn": 1})
            conn.sendall(self.granted)
            read_head(conn)  # and ends without an answer
    with Rotation(tmp_path, Dying()) as t:
        assert one(t.g, ask(t.g, "/svc/x")).status == 200
        assert [r["h"]["authorization"] for r in t.seen()] == [f"Bearer {SECRET}", f"Bearer {NEW}"] and t.o.connections == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_case82_the_connection_of_the_401_dies_at_the_second_try(tmp_path, method):
    class Dying(Rotated):
        def __call__(self, conn, origin):
            if origin.connections > 1:
                return super().__call__(conn, origin)
            for answer in (self.granted, self.refusal):
                origin.seen.append(read_request(conn)[0])
                conn.sendall(answer)
            read_head(conn)
    with Rotation(tmp_path, Dying()) as t:
        a = one(t.g, ask(t.g, "/svc/x", method))
        assert a.status == (200 if method == "GET" else 502) and len(t.seen()) == (2 if method == "GET" else 1)


def test_case82_http_1_0(tmp_path):
    with Rotation(tmp_path, Rotated(no(b"Transfer-Encoding: chunked\r\n", chunked(BODY)), granted=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ok"))) as t:
        a = one(t.g, f"GET /svc/x HTTP/1.0\r\nAuthorization: Bearer {t.g.token}\r\n\r\n", closes=True)
        assert (a.status, a.body) == (200, b"ok") and len(t.seen()) == 2


def test_case82_websocket(tmp_path):
    granted = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    handler = Rotated()
    with Rotation(tmp_path, handler) as t, t.g.connect() as c:
        handler.granted = granted
        c.send(ask(t.g, "/svc/ws", extra=WS))
        assert c.response().status == 101
        assert [(r["h"]["authorization"], r["h"]["upgrade"], r["h"]["connection"]) for r in t.seen()] == \
            [(f"Bearer {s}", "websocket", "Upgrade") for s in (SECRET, NEW)]


def test_case82_a_websocket_that_stays_refused(tmp_path):
    handler = Rotated()
    handler.good = "other"
    with Origin(handler, host=LOCAL) as o, gate(tmp_path, {"svc": service(o)}) as g:
        a = one(g, ask(g, "/svc/ws", extra=WS), closes=False)
        assert (a.status, a.body, len(o.seen)) == (401, BODY, 1)


def test_case82_a_client_that_leaves_while_its_401_is_held(tmp_path):
    go = tmp_path / "go"
    with Rotation(tmp_path, Rotated()) as t:
        script = tmp_path / "helper"
        script.write_text(script.read_text().replace("cat", f"while [ ! -e {go} ]; do sleep 0.05; done; cat"))
        with t.g.connect() as c:
            c.send(ask(t.g, "/svc/x"))
            assert until(lambda: runs(tmp_path) == 2)
            assert not c.closed(0.3) and not c.buf  # nothing of the 401 so far
            c.reset()
        go.touch()
        assert one(t.g, ask(t.g, "/svc/y")).status == 200
        assert [r["target"] for r in t.seen() if NEW in r["h"]["authorization"]] == ["/y"]


@pytest.mark.threads
def test_case82_many_at_once(tmp_path):
    with Rotation(tmp_path, Rotated(sized(5000)), "2") as t:
        out = []
        threads = [threading.Thread(target=lambda: out.append(one(t.g, ask(t.g, "/svc/x", "POST", body="hello"), "POST").status)) for _ in range(12)]
        for x in threads:
            x.start()
        for x in threads:
            x.join()
        assert out == [200] * 12 and runs(tmp_path) == 2


def test_case82_by_absolute_form_too(tmp_path):
    path, handler = file_secret(tmp_path), Rotated()
    with Origin(handler, host=LOCAL) as o, gate(tmp_path, {"svc": by_file(o, path)}) as g:
        g.secrets.append(NEW)
        assert one(g, get(f"http://{o.netloc}/q", auth=g.basic)).status == 200
        handler.good = NEW
        replace(path, NEW)  # the gateway may notice before it is told
        assert one(g, get(f"http://{o.netloc}/q", auth=g.basic)).status == 200 and NEW in o.seen[-1]["h"]["authorization"] and len(o.seen) <= 3
