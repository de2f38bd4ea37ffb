"""Through another proxy: every kind of it, every request shape, credentials, bypass, refusals, the floor, and no look-up of our own."""
import socket
import time

import pytest
from dns import ns  # noqa: F401
from gateway import Gateway, Origin, connect_head, free_port, get, one, run, serving
from hops import HttpHop, SocksHop, basic
from test_stream import WS, websocket
from tools import Steps, parallel

CASE = pytest.mark.parametrize


@pytest.fixture(scope="module")
def o():
    with Origin(serving({"/ws": websocket})) as origin:
        yield origin


@pytest.fixture(scope="module")
def tls(ca):
    with Origin(serving({"/ws": websocket}), tls=ca.server("origin.test", "there.test", "10.55.0.1")) as origin:
        yield origin


def hop_of(kind, ca, **kw):
    if kind.startswith("socks"):
        return SocksHop(**kw)
    return HttpHop(tls=ca.server("10.55.0.1", "hop.test") if kind == "https" else None, **kw)


def value(kind, hop, user=""):
    return hop.netloc if kind == "host:port" else f"{kind}://{user}{hop.netloc}"


KINDS = ["host:port", "http", "https", "socks5", "socks5h"]


def tunnel(g, authority, data=None):
    with g.connect() as c:
        a = c.send(connect_head(authority, g.basic if g.token else None)).response("CONNECT")
        return a, (c.send(data or get("/in", extra="").replace("Host: ", "Host: x")).response() if a.status == 200 else None)


# ---- every kind, every shape (case 113)

@pytest.mark.threads
@CASE("kind", KINDS)
def test_case_113_every_request_shape_goes_through_every_kind(kind, ca, o, tls):
    with hop_of(kind, ca) as hop, Gateway("--upstream-proxy", value(kind, hop), "--workers", "2", auth=False, env={"SSL_CERT_FILE": ca.pem}) as g:
        name = "origin.test"
        plain, secure = f"{name}:{o.port}", f"{name}:{tls.port}"
        before = len(o.seen)
        # CONNECT
        a, inner = tunnel(g, plain)
        assert a.status == 200 and inner.status == 200
        # absolute form, twice on one connection, with a body
        with g.connect() as c:
            assert c.send(get(f"http://{plain}/abs?q=1")).response().status == 200
            assert c.send(get(f"http://{plain}/post", "POST", "Content-Length: 5\r\n", "hello")).response().status == 200
        # https in absolute form: TLS inside the tunnel
        assert one(g, get(f"https://{secure}/tls")).status == 200
        # WebSocket, plain and TLS
        for u in (f"http://{plain}/ws", f"https://{secure}/ws"):
            with g.connect() as c:
                assert c.send(get(u, extra=WS)).response().status == 101
                assert c.exactly(5) == b"hello" and c.send("ping").exactly(4) == b"ping"
        assert [r["target"] for r in o.seen[before:]] == ["/in", "/abs?q=1", "/post"] and o.seen[-1]["body"] == b"hello"
        assert tls.seen[-1]["target"] == "/tls"
        if kind.startswith("socks"):
            assert {a[2] for a in hop.asked} == {o.port, tls.port}
            assert {a[:2] for a in hop.asked} == ({(3, name)} if kind == "socks5h" else {(1, "10.55.0.1")})
        else:
            assert [a for a in hop.asked if a[0] != "CONNECT"] == [("GET", f"http://{plain}/abs?q=1"), ("POST", f"http://{plain}/post")]
            assert {a[1] for a in hop.asked if a[0] == "CONNECT"} == {plain, secure}
            head = hop.heads[[a[0] for a in hop.asked].index("CONNECT")].decode()
            assert head.split("\r\n")[:2] == [f"CONNECT {plain} HTTP/1.1", f"Host: {plain}"] and "proxy-authorization" not in head.lower()
        for r in g.records(6):
            assert r["upstream_proxy"] == hop.netloc and r["upstream_address"] == "10.55.0.1" and r["decision"] == "allow", r
        assert f"upstream proxy: {hop.netloc}" in g.banner


@CASE("kind", ["http", "socks5h"])
def test_O6_names_only_the_proxy_knows_work_and_nothing_is_looked_up_here(kind, ca, o, ns):
    with hop_of(kind, ca) as hop, Gateway("--upstream-proxy", value(kind, hop), auth=False) as g:
        a, inner = tunnel(g, f"there.test:{o.port}")
        assert inner.status == 200 and one(g, get(f"http://there.test:{o.port}/")).status == 200
        assert not ns.log, ns.log
        assert "it resolves names" in g.banner


def test_O6_socks5_resolves_here(ca, o):
    with SocksHop() as hop, Gateway("--upstream-proxy", f"socks5://{hop.netloc}", auth=False) as g:
        a, inner = tunnel(g, f"origin.test:{o.port}")
        assert inner.status == 200 and hop.asked == [(1, "10.55.0.1", o.port)]
        a, _ = tunnel(g, f"there.test:{o.port}")
        assert a.status == 502 and len(hop.asked) == 1
        assert "it resolves names" not in g.banner


def test_O6_addresses_go_as_addresses_and_ipv6_is_bracketed(ca):
    with Origin(host="fd55::1") as six, SocksHop() as s5, HttpHop() as h:
        for hop, v in ((s5, f"socks5h://{s5.netloc}"), (h, h.netloc)):
            with Gateway("--upstream-proxy", v, auth=False) as g:
                a, inner = tunnel(g, six.netloc)
                assert inner.status == 200, (v, a)
        assert s5.asked == [(4, "fd55::1", six.port)] and h.asked == [("CONNECT", six.netloc)]


def test_O6_a_proxy_named_by_name_or_on_loopback_or_ipv6_is_the_operators_own_word(ca, o):
    for host, v in (("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("10.55.0.1", "api.test"), ("fd55::1", "[fd55::1]")):
        with HttpHop(host=host) as hop, Gateway("--upstream-proxy", f"{v}:{hop.port}", auth=False) as g:
            a, inner = tunnel(g, f"origin.test:{o.port}")
            assert inner and inner.status == 200, (v, a)


@CASE("kind", ["http", "socks5h", "socks5"])
def test_bytes_that_come_with_the_proxys_answer_belong_to_the_tunnel(kind, ca):
    with Origin(lambda c, o: c.recv(1)) as o, hop_of(kind, ca, behind=b"SSH-2.0-banner\r\n") as hop, \
            Gateway("--upstream-proxy", value(kind, hop), auth=False) as g, g.connect() as c:
        assert c.send(connect_head(o.netloc)).response("CONNECT").status == 200
        assert c.exactly(16) == b"SSH-2.0-banner\r\n"


@CASE("kind", KINDS)
def test_case_47_early_client_bytes_and_half_close_pass_the_chain(kind, ca):
    def collect(conn, origin):
        d = b""
        while more := conn.recv(1000):
            d += more
        conn.sendall(b"got " + d)
    with Origin(collect) as o, hop_of(kind, ca) as hop, \
            Gateway("--upstream-proxy", value(kind, hop), auth=False, env={"SSL_CERT_FILE": ca.pem}) as g, g.connect() as c:
        c.send(connect_head(o.netloc) + "early ")
        assert c.response("CONNECT").status == 200
        c.send("late").s.shutdown(socket.SHUT_WR)
        assert c.until_close() == b"got early late"


# ---- credentials (case 115)

@CASE("kind", KINDS[1:])
def test_case_115_credentials_are_decoded_and_sent(kind, ca, o, tls):
    need = ("us@r", "p:ss/w %") if kind.startswith("socks") else basic("us@r", "p:ss/w %")
    with hop_of(kind, ca, need=need) as hop, \
            Gateway("--upstream-proxy", value(kind, hop, "us%40r:p%3Ass%2Fw%20%25@"), env={"SSL_CERT_FILE": ca.pem}) as g:
        _, inner = tunnel(g, f"origin.test:{o.port}")
        assert inner.status == 200
        assert one(g, get(f"http://origin.test:{o.port}/x", auth=g.basic)).status == 200
        assert one(g, get(f"https://origin.test:{tls.port}/x", auth=g.basic)).status == 200
        seen = "".join(h.decode("latin-1") for h in getattr(hop, "heads", [])) + str(o.seen[-3:]) + str(tls.seen[-1])
        assert g.token not in seen and g.basic not in seen
        assert not any("proxy-authorization" in r["h"] for r in o.seen + tls.seen)
        text = g.banner + g.stderr + g.audit_path.read_text()
        assert "p:ss" not in text and "p%3Ass" not in text and (not isinstance(need, str) or need not in text)


def test_case_115_a_long_password_goes_out_whole(o):
    password = "x" * 3000
    with HttpHop(need=basic("u", password)) as hop, Gateway("--upstream-proxy", f"http://u:{password}@{hop.netloc}", auth=False) as g:
        assert one(g, get(f"http://origin.test:{o.port}/x")).status == 200
        _, inner = tunnel(g, f"origin.test:{o.port}")
        assert inner.status == 200


@CASE("kind", ["http", "https", "socks5", "socks5h"])
def test_case_115_wrong_or_missing_credentials_are_a_clear_502_in_every_shape(kind, ca, o, tls):
    need = ("u", "right") if kind.startswith("socks") else basic("u", "right")
    for user, hint in (("u:wrong@", "user"), ("", "user")):
        with hop_of(kind, ca, need=need) as hop, Gateway("--upstream-proxy", value(kind, hop, user), auth=False, env={"SSL_CERT_FILE": ca.pem}) as g:
            shapes = [(connect_head(f"origin.test:{o.port}"), "CONNECT"), (get(f"http://origin.test:{o.port}/"), "GET"),
                      (get(f"https://origin.test:{tls.port}/"), "GET"), (get(f"http://origin.test:{o.port}/ws", extra=WS), "GET")]
            for data, method in shapes:
                a = one(g, data, method)
                text = a.reason + a.body.decode()
                assert a.status == 502 and hop.netloc in text and hint in text and "right" not in text and \
                    not a.get("proxy-authenticate"), (user, method, a)
            for r in g.records(4):
                assert r["decision"] == "deny" and r["denial_category"] == "external_proxy_rejected" and r["outcome"] == "upstream_failed" and \
                    r["status"] == 502, r


# ---- bypass (case 114)

def test_case_114_bypass_goes_direct_with_filter_and_auth_unchanged(o):
    with HttpHop() as hop, Gateway("--upstream-proxy", hop.netloc, "--upstream-bypass", f" origin.test , ,*.corp.test,10.55.0.1:{o.port}",
                                   "--deny-domain", "denied.test", "--upstream-bypass", "denied.test") as g:
        _, inner = tunnel(g, f"origin.test:{o.port}")
        assert inner.status == 200 and one(g, get(f"http://origin.test:{o.port}/", auth=g.basic)).status == 200
        assert one(g, get(f"http://{o.netloc}/", auth=g.basic)).status == 200 and not hop.asked
        assert one(g, connect_head("denied.test:1", g.basic), "CONNECT").status == 403
        assert one(g, connect_head(f"origin.test:{o.port}"), "CONNECT").status == 407  # case 14
        assert one(g, get(f"http://api.test:{o.port}/", auth=g.basic)).status != 403 and hop.asked
        direct = [r for r in g.records(6) if r["decision"] == "allow" and r["target"] != "api.test"]
        assert len(direct) == 3 and all("upstream_proxy" not in r and r["upstream_address"] == "10.55.0.1" for r in direct), direct


def test_case_30_bypass_without_upstream_proxy_fails_at_start():
    code, out, err = run("proxy", "--port", "0", "--upstream-bypass", "x.test")
    assert code == 1 and "--upstream-bypass" in err and "--upstream-proxy" in err and not out


@CASE("entry", ["*corp", "a.*.test", "*.*.test", "x.test:0", "1.2.3.4.5", "x..test", "http://"])
def test_H9_bad_bypass_entries_fail_at_start_named(entry):
    code, _, err = run("proxy", "--port", "0", "--upstream-proxy", "p.test:1", "--upstream-bypass", entry)
    assert code == 1 and entry in err and "--upstream-bypass" in err, err


# ---- what is no upstream proxy (O6)

@CASE("text", ["p.test", "p.test:", "p.test:x", "p.test:0", "p.test:65536", "p.test:99999999999", ":8080", "http://p.test", "http://p.test:1/path",
               "http://p.test:1?q", "http://p.test:1#f", "socks4://p.test:1", "socks4a://p.test:1", "socks://p.test:1", "ftp://p.test:1",
               "quic://p.test:1", "http://u:s3cret%zz@p.test:1", "u:s3cret@p.test:1", "[::1:8080", "::1:8080",
               "http://u:s3cret%0a@p.test:1", "http://127.1:8080", "socks5://u" + "s3cret" * 50 + ":x@p.test:1", "http://a b:1", " ", "http://p.test:1:2"])
def test_O6_anything_else_is_a_start_up_error_without_the_secret(text):
    code, out, err = run("proxy", "--port", "0", "--upstream-proxy", text)
    assert code in (1, 2) and not out and "upstream" in err and "s3cret" not in err, (code, err)
    code, out, err = run("proxy", "--port", "0", env={"NONO_UPSTREAM_PROXY": text})
    assert code in (1, 2) and not out and "s3cret" not in err and "NONO_UPSTREAM_PROXY" in err, (code, err)


def test_H10_an_explicit_empty_value_is_a_usage_error_an_empty_variable_is_unset(o):
    assert run("proxy", "--port", "0", "--upstream-proxy", "")[0] == 2
    with Gateway(auth=False, env={"NONO_UPSTREAM_PROXY": "", "NONO_UPSTREAM_BYPASS": ""}) as g:
        assert one(g, get(f"http://{o.netloc}/")).status == 200


def test_O6_by_environment_old_names_too(o):
    for n, b in (("NONO_UPSTREAM_PROXY", "NONO_UPSTREAM_BYPASS"), ("NONO_EXTERNAL_PROXY", "NONO_EXTERNAL_PROXY_BYPASS")):
        with HttpHop() as hop, Gateway(auth=False, env={n: hop.netloc, b: "api.test,second.test"}) as g:
            assert one(g, get(f"http://origin.test:{o.port}/")).status == 200 and hop.asked
            del hop.asked[:]
            assert one(g, get(f"http://api.test:{o.port}/")).status == 200 and not hop.asked


# ---- refusals and nonsense

GARBAGE = {"403": b"HTTP/1.1 403 Blocked by policy\r\nContent-Length: 3\r\n\r\nno!",
           "control characters": b"HTTP/1.1 403 Blocked\x1b[31m\r\n\r\n", "503": b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n",
           "200 of no proxy": b"SSH-2.0-x\r\n\r\n", "empty": b"", "bad status": b"HTTP/1.1 999999 x\r\n\r\n", "half": b"HTTP/1.1 200 Conn",
           "huge": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100000 + b"\r\n\r\n", "redirect": b"HTTP/1.1 302 F\r\nLocation: http://x/\r\n\r\n",
           "101": b"HTTP/1.1 101 S\r\n\r\n", "interim for ever": b"HTTP/1.1 100 C\r\n\r\n" * 200}


@CASE("what", GARBAGE)
def test_a_proxy_that_refuses_or_talks_nonsense_is_502_with_its_name(what, o):
    with HttpHop(answer=GARBAGE[what]) as hop, Gateway("--upstream-proxy", hop.netloc, "--timeout", "connect=3", auth=False) as g:
        a = one(g, connect_head(f"origin.test:{o.port}"), "CONNECT")
        assert a.status == 502 and a.get("connection") == "close" and hop.netloc in a.reason and "\x1b" not in a.reason, a
        if what in ("403", "503"):
            assert what in a.reason
        r = g.records(1)[0]
        assert r["denial_category"] == "external_proxy_rejected" and r["outcome"] == "upstream_failed" and "\x1b" not in r["reason"], r


def test_a_407_of_the_proxy_to_a_plain_request_is_a_502_of_ours(o):
    answer = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"hop\"\r\nContent-Length: 4\r\n\r\nsee!"
    with HttpHop(answer=answer) as hop, Gateway("--upstream-proxy", hop.netloc, auth=False) as g:
        a = one(g, get(f"http://origin.test:{o.port}/"), closes=False)
        assert a.status == 502 and not a.get("proxy-authenticate") and hop.netloc in a.body.decode(), a


def test_a_403_of_the_proxy_to_a_plain_request_is_relayed():
    with HttpHop(answer=b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nhop!") as hop, Gateway("--upstream-proxy", hop.netloc, auth=False) as g:
        assert one(g, get("http://origin.test/")).body == b"hop!"


SOCKS_GARBAGE = {"http": b"HTTP/1.1 400 Bad Request\r\n\r\n", "empty": b"", "version 4": b"\x04\x00", "half": b"\x05", "nobody": b"\x05\xff",
                 "method not offered": b"\x05\x01", "asks for a password": b"\x05\x02", "bad reply": b"\x05\x00\x05\x00\x00\x09\x00\x00",
                 "reply of version 4": b"\x05\x00\x04\x00\x00\x01\x00\x00\x00\x00\x00\x00"}


@CASE("what", SOCKS_GARBAGE)
def test_a_socks_proxy_that_talks_nonsense_is_502_with_its_name(what, o):
    with SocksHop(garbage=SOCKS_GARBAGE[what]) as hop, Gateway("--upstream-proxy", f"socks5h://{hop.netloc}", "--timeout", "connect=3", auth=False) as g:
        a = one(g, connect_head(f"origin.test:{o.port}"), "CONNECT")
        assert a.status == 502 and hop.netloc in a.reason, a
        assert g.records(1)[0]["denial_category"] == "external_proxy_rejected"


@CASE("code", range(1, 10))
def test_socks_replies_are_told_in_words(code, o):
    with SocksHop(code=code) as hop, Gateway("--upstream-proxy", f"socks5h://{hop.netloc}", auth=False) as g:
        a = one(g, connect_head(f"origin.test:{o.port}"), "CONNECT")
        assert a.status == 502 and hop.netloc in a.reason and len(a.reason) > len(f"Bad Gateway: upstream proxy {hop.netloc}"), a


def test_a_dead_proxy_is_502_and_a_silent_one_504(o):
    hold = Steps()
    with Gateway("--upstream-proxy", f"10.55.0.1:{free_port('10.55.0.1')}", auth=False) as g:
        for data, m in ((connect_head(f"origin.test:{o.port}"), "CONNECT"), (get(f"http://origin.test:{o.port}/"), "GET")):
            assert one(g, data, m).status == 502
        assert {r["outcome"] for r in g.records(2)} == {"upstream_failed"}
    with Origin(lambda c, _: hold["end"].wait(20)) as silent:
        for scheme in ("http", "socks5h", "https"):
            with Gateway("--upstream-proxy", f"{scheme}://{silent.netloc}", "--timeout", "connect=0.4", "--timeout", "handshake=0.3", auth=False) as g:
                t = time.monotonic()
                a = one(g, connect_head(f"origin.test:{o.port}"), "CONNECT")
                assert a.status in (502, 504) and time.monotonic() - t < 5, (scheme, a)
        hold["end"].set()


def test_O6_a_tls_proxy_with_a_wrong_certificate_is_never_spoken_to(ca, tmp_path, o):
    from gateway import CA
    with HttpHop(tls=CA(tmp_path).server("10.55.0.1"), need="x") as unknown, HttpHop(tls=ca.server("else.test")) as wrong:
        for hop in (unknown, wrong):
            with Gateway("--upstream-proxy", f"https://u:s3cret@{hop.netloc}", auth=False, env={"SSL_CERT_FILE": ca.pem}) as g:
                for data, m in ((connect_head(f"origin.test:{o.port}"), "CONNECT"), (get(f"http://origin.test:{o.port}/"), "GET")):
                    a = one(g, data, m)
                    assert a.status == 502 and "certificate" in (a.reason + a.body.decode()).lower() and not hop.asked, a


# ---- policy through a chain (H5, H6, H10a)

@CASE("kind", ["http", "socks5h", "socks5"])
def test_H5_the_floor_and_the_lists_hold_before_the_proxy_is_asked(kind, ca):
    with hop_of(kind, ca) as hop, Gateway("--upstream-proxy", value(kind, hop), "--deny-domain", "denied.test", auth=False) as g:
        for target in ("169.254.169.254:80", "metadata.google.internal:80", "denied.test:443", "127.0.0.1:1", "localhost:1", "[::1]:1", "0.0.0.0:1",
                       "[fd00:ec2::254]:80", "[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80", "100.100.100.200:80", "224.0.0.1:80"):
            for data, m in ((connect_head(target), "CONNECT"), (get(f"http://{target}/"), "GET")):
                a = one(g, data, m)
                assert a.status == 403, (target, a)
        assert not hop.asked and not hop.connections


@CASE("proxy", ["169.254.7.7:3128", "socks5://meta.test:1080"])
def test_H5_an_upstream_proxy_at_a_floor_address_is_never_dialled(proxy):
    with Gateway("--upstream-proxy", proxy, auth=False) as g:
        for n, (data, m) in enumerate(((connect_head("10.55.0.1:443"), "CONNECT"), (get("http://10.55.0.1/"), "GET"))):
            assert one(g, data, m).status == 403
            r = g.records(n + 1)[-1]
            assert (r["denial_category"], r["rule"]) == ("address_denied", "floor") and "169.254." in r["reason"], r


def test_H8_with_local_resolution_every_address_is_judged(ca):
    with SocksHop() as hop, Gateway("--upstream-proxy", f"socks5://{hop.netloc}", auth=False) as g:
        for name in ("meta.test", "rebind.test", "six-loopback.test"):
            assert one(g, connect_head(f"{name}:80"), "CONNECT").status == 403
        assert not hop.asked


def test_H10a_a_loopback_entry_opens_loopback_through_the_proxy():
    with Origin(host="127.0.0.1") as o, HttpHop() as hop, Gateway("--upstream-proxy", hop.netloc, "--allow-domain", "127.0.0.1", auth=False) as g:
        _, inner = tunnel(g, f"127.0.0.1:{o.port}")
        assert inner.status == 200 and hop.asked


def test_case_96_allowlist_through_the_proxy(o):
    with HttpHop() as hop, Gateway("--upstream-proxy", hop.netloc, "--allow-domain", "there.test", auth=False) as g:
        assert one(g, connect_head(f"origin.test:{o.port}"), "CONNECT").status == 403 and not hop.asked
        _, inner = tunnel(g, f"there.test:{o.port}")
        assert inner.status == 200


def test_C13_the_gateway_as_its_own_upstream_proxy_is_a_loop_that_ends():
    port = free_port()
    with Gateway("--port", str(port), "--upstream-proxy", f"127.0.0.1:{port}", auth=False) as g:
        g.port = port
        a = one(g, connect_head("origin.test:80"), "CONNECT")
        assert a.status in (403, 502), a


# ---- keeping connections

def test_pooled_connections_to_the_proxy_are_used_again_and_never_mixed_up(ca):
    """A forwarding proxy that keeps its connections: plain requests to any host share one; targets stay right."""
    def keeper(conn, origin):
        from gateway import read_request
        rest = b""
        while True:
            r, rest = read_request(conn, rest)
            origin.seen.append(r)
            out = r["target"].encode()
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(out) + out)
    with Origin(keeper) as hop, Gateway("--upstream-proxy", hop.netloc, auth=False) as g, g.connect() as c:
        for i in range(6):
            u = f"http://host{i % 3}.test/p{i}"
            assert c.send(get(u)).response().body.decode() == u
        assert hop.connections == 1
        assert [r["h"]["host"] for r in hop.seen] == [f"host{i % 3}.test" for i in range(6)]


@pytest.mark.threads
def test_many_at_once_through_every_kind(ca, o):
    for kind in ("http", "socks5"):
        with hop_of(kind, ca) as hop, Gateway("--upstream-proxy", value(kind, hop), "--workers", "2", auth=False) as g:
            def go(i):
                if i % 2:
                    return one(g, get(f"http://origin.test:{o.port}/{i}")).status
                return tunnel(g, f"origin.test:{o.port}")[1].status
            assert parallel(go, range(60), 12) == [200] * 60
