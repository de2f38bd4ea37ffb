"""Who is asking: 407 and 401, every accepted way to prove it, and that the proof goes nowhere else."""
import base64
import json
import re

import pytest
from dns import ns  # noqa: F401
from gateway import Gateway, Origin, connect_head, get, one, run, serving


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def o():
    with Origin(serving({})) as origin:
        yield origin


@pytest.fixture(scope="module")
def g():
    with Gateway("--workers", "2", "--deny-domain", "denied.test") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def open_gateway():
    with Gateway("--deny-domain", "denied.test", auth=False) as gateway:
        yield gateway


def challenges(a):
    return [v for k, v in a.headers if k.lower() == "proxy-authenticate"]


def local(path, extra="", method="GET"):
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{extra}\r\n"


# ---- 407

@pytest.mark.threads
def test_case_1_connect_without_credentials_is_407_before_any_lookup_or_dial(g, o, ns):
    before = o.connections
    for authority in ("never-asked.test:443", o.netloc, "denied.test:443", "127.0.0.1:1"):
        a = one(g, connect_head(authority), "CONNECT")
        assert a.status == 407 and challenges(a) == ['Basic realm="nono"', 'Bearer realm="nono"'], a
        assert a.reason.startswith("Proxy Authentication Required: ") and a.body and int(a.get("content-length")) == len(a.body)
    assert not ns.log and o.connections == before


def test_case_1_forward_without_credentials_is_407_before_policy(g, o, ns):
    before = len(o.raw)
    for url in (f"http://{o.netloc}/", "http://denied.test/", "http://never-asked.test/", "http://169.254.169.254/", "https://denied.test/"):
        a = one(g, get(url), closes=False)
        assert a.status == 407 and len(challenges(a)) == 2 and b"denied" not in a.body, a
    assert not ns.log and len(o.raw) == before


@pytest.mark.threads
def test_case_2_the_same_socket_may_try_again_after_a_407(g, o):
    with g.connect() as c:
        for auth in (None, basic("nono", "wrong"), "Bearer wrong"):
            c.send(connect_head(o.netloc, auth))
            a = c.response("CONNECT")
            assert a.status == 407 and "close" not in (a.get("connection") or ""), a
        c.send(connect_head(o.netloc, g.basic))
        assert c.response("CONNECT").status == 200
        c.send(get("http://x/in-the-tunnel"))
        assert json.loads(c.response().body)["target"] == "http://x/in-the-tunnel"


def test_case_2_on_the_forward_path_too(g, o):
    with g.connect() as c:
        for _ in range(3):
            c.send(get(f"http://{o.netloc}/a", method="POST", extra="Content-Length: 5\r\n", body="hello"))
            assert c.response().status == 407
            c.send(get(f"http://{o.netloc}/b", method="POST", extra="Content-Length: 5\r\n", body="hello", auth=g.basic))
            assert json.loads(c.response().body)["body"] == "hello"


def test_case_3_a_retry_is_judged_afresh(g, o):
    with g.connect() as c:
        c.send(connect_head(o.netloc))
        assert c.response("CONNECT").status == 407
        c.send(connect_head("denied.test:443", g.basic))
        a = c.response("CONNECT")
        assert a.status == 403 and "denied.test" in a.reason and c.closed()


def test_C5_a_407_to_a_connect_with_bytes_behind_it_closes(g, o):
    with g.connect() as c:
        c.send(connect_head(o.netloc) + connect_head(o.netloc, g.basic))
        a = c.response("CONNECT")
        assert a.status == 407 and a.get("connection") == "close"
        assert c.closed()


def test_C4_a_407_skips_a_short_body_and_closes_after_a_long_one(g, o):
    url, before = f"http://{o.netloc}/", len(o.raw)
    small = get(url, method="POST", extra="Content-Length: 65536\r\n", body="x" * 65536)
    whole = get(url, method="POST", extra="Transfer-Encoding: chunked\r\n", body="5\r\nhello\r\n0\r\n\r\n")
    for data in (small, whole):
        assert one(g, data, closes=False).status == 407
    for data in (get(url, method="POST", extra="Content-Length: 65537\r\n", body="x" * 65537),
                 get(url, method="POST", extra="Transfer-Encoding: chunked\r\n", body="5\r\nhello\r\n"),
                 get(url, method="POST", extra="Expect: 100-continue\r\nContent-Length: 5\r\n")):
        a = one(g, data, closes=True)
        assert a.status == 407 and a.get("connection") == "close" and not a.interim, a
    assert len(o.raw) == before


def test_C4_a_407_reaches_a_client_that_is_in_the_middle_of_a_large_upload(g, o):
    with g.connect() as c:
        c.send(get(f"http://{o.netloc}/", method="PUT", extra="Content-Length: 3000000\r\n") + "x" * 3000000)
        assert c.response().status == 407


def test_C1_malformed_requests_are_400_before_authentication(g):
    for data in ("GET http://a b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a/ HTTP/1.1\r\n\r\n", connect_head("nowhere"),
                 "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", connect_head("2130706433:80")):
        assert one(g, data, closes=True).status == 400, data


def test_a_407_to_http_1_0_keeps_the_connection_only_when_asked(g, o):
    url = f"http://{o.netloc}/"
    a = one(g, f"GET {url} HTTP/1.0\r\n\r\n", closes=True)
    assert a.status == 407
    with g.connect() as c:
        for auth, status in (("", 407), (f"Proxy-Authorization: {g.basic}\r\n", 200)):
            c.send(f"GET {url} HTTP/1.0\r\nConnection: keep-alive\r\n{auth}\r\n")
            a = c.response()
            assert a.status == status and a.get("connection") == "keep-alive", a


def test_a_407_to_head_has_a_length_and_no_body(g, o):
    with g.connect() as c:
        c.send(get(f"http://{o.netloc}/", method="HEAD") + get(f"http://{o.netloc}/", auth=g.basic))
        a = c.response("HEAD")
        assert a.status == 407 and int(a.get("content-length")) > 0
        assert c.response().status == 200


# ---- the ways to prove it

ACCEPTED = [("Proxy-Authorization: {}", "basic"), ("proxy-authorization: {}", "basic"), ("PROXY-AUTHORIZATION:{}", "basic"),
            ("Proxy-Authorization:   {}  ", "basic"), ("Proxy-Authorization: {}", "bearer"), ("Proxy-Authorization: {}", "anyone"),
            ("Proxy-Authorization: {}", "nobody"), ("Proxy-Authorization: {}", "lower"), ("Proxy-Authorization: {}", "BEARER"),
            ("Proxy-Authorization: Negotiate abc\r\nProxy-Authorization: {}", "basic")]


@pytest.mark.parametrize("line,kind", ACCEPTED)
def test_case_9_basic_and_bearer_are_accepted_in_any_spelling(g, o, line, kind):
    value = {"basic": g.basic, "bearer": "Bearer " + g.token, "anyone": basic("some:one"[:4], g.token), "nobody": basic("", g.token),
             "lower": g.basic.replace("Basic", "bAsIc"), "BEARER": "BEARER " + g.token}[kind]
    field = line.format(value) + "\r\n"
    assert one(g, connect_head(o.netloc, extra=field), "CONNECT").status == 200
    assert one(g, get(f"http://{o.netloc}/", extra=field)).status == 200


def test_case_10_what_is_no_proof_is_407(g, o):
    before = len(o.raw)
    b64 = base64.b64encode
    wrong = ["", "Basic", "Bearer", "Basic ", "Basic !!!!", "Basic " + b64(g.token.encode()).decode(), g.token,
             "Basic " + g.basic[6:-2] + "\xff=", "Digest " + g.token, "Bearer " + g.token + "x", "Bearer " + g.token[:-1],
             "Bearer " + g.token.upper() + "~", basic("nono", g.token + ":"), basic(g.token, "nono"), "Bearer" + g.token, "Token " + g.token,
             "Bearer " + g.token + ", Basic x", basic("nono", g.token)[:-4] + "===="]
    for value in wrong:
        assert one(g, get(f"http://{o.netloc}/", extra=f"Proxy-Authorization: {value}\r\n")).status == 407, value
    two = f"Proxy-Authorization: Bearer wrong\r\nProxy-Authorization: {g.basic}\r\n"
    assert one(g, get(f"http://{o.netloc}/", extra=two)).status == 407  # the first of ours decides
    for field in ("Authorization", "X-Api-Key"):  # the place for CONNECT and absolute form is Proxy-Authorization alone
        assert one(g, get(f"http://{o.netloc}/", extra=f"{field}: Bearer {g.token}\r\n")).status == 407
    assert len(o.raw) == before


def test_case_9_a_fixed_password_may_hold_anything_visible(o):
    password = "p:a ss@w/örd%"
    with Gateway("--pass", password) as g:
        for value in (basic("nono", password), basic("x", password)):
            assert one(g, get(f"http://{o.netloc}/", extra=f"Proxy-Authorization: {value}\r\n")).status == 200
        assert one(g, get(f"http://{o.netloc}/", extra=f"Proxy-Authorization: {basic('nono', 'p')}\r\n")).status == 407
        encoded = re.search(r"http://nono:(\S+?)@", g.banner)[1]
        assert not set("@/: ") & set(encoded)


def test_case_13_origin_form_without_proof_is_401_for_known_and_unknown_names_alike(g):
    bodies = set()
    for path in ("/openai/v1/models", "/nothing", "/", "/a?b=c"):
        a = one(g, local(path), closes=False)
        assert a.status == 401 and a.get("www-authenticate") == 'Bearer realm="nono"' and a.get("content-type") == "application/json", a
        assert not challenges(a)
        j = json.loads(a.body)
        assert j.pop("request_id") and j["error"] == "unauthorized"
        bodies.add(json.dumps(j, sort_keys=True))
    assert len(bodies) == 1
    assert one(g, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS").status == 401


@pytest.mark.parametrize("field", ["Authorization: Bearer {}", "Authorization: {}", "authorization: bearer {}", "Authorization: token {}",
                                   "X-Api-Key: {}", "Api-Key: {}", "X-Goog-Api-Key: {}", "Private-Token: {}", "X-Auth-Token: {}",
                                   "Proxy-Authorization: Bearer {}"])
def test_C2_the_phantom_is_proof_in_any_credential_field(g, field):
    a = one(g, local("/no-such-service/x", field.format(g.token) + "\r\n"), closes=False)
    assert a.status == 404 and json.loads(a.body)["error"] == "unknown_service", a


def test_C2_of_a_repeated_field_the_first_line_decides(g):
    for first, second, status in (("wrong", g.token, 401), (g.token, "wrong", 404)):
        assert one(g, local("/x", f"Authorization: Bearer {first}\r\nAuthorization: Bearer {second}\r\n")).status == status
    assert one(g, local("/x", f"X-Custom: {g.token}\r\n")).status == 401


# ---- switched off

def test_case_4_and_5_without_authentication_nobody_is_challenged(open_gateway, o):
    assert one(open_gateway, get(f"http://{o.netloc}/"), closes=False).status == 200
    assert one(open_gateway, connect_head(o.netloc), "CONNECT").status == 200
    assert one(open_gateway, local("/x"), closes=False).status == 404


def test_case_6_without_authentication_the_filters_stay(open_gateway):
    for authority in ("denied.test:443", "169.254.169.254:80", "127.0.0.1:1", "localhost:1"):
        assert one(open_gateway, connect_head(authority), "CONNECT").status == 403
        assert one(open_gateway, get(f"http://{authority}/")).status == 403


def test_case_7_no_authentication_on_an_address_that_is_not_loopback_fails_to_start():
    for listen in ("0.0.0.0:0", "10.55.0.1:0", "[::]:0"):
        code, _, err = run("proxy", "--no-auth", "--listen", listen)
        assert code == 1 and "auth" in err, (code, err)


def test_case_8_an_empty_password_or_one_beside_no_auth_fails_to_start():
    assert run("proxy", "--port", "0", "--pass", "")[0] == 1
    code, _, err = run("proxy", "--port", "0", "--pass", "x", "--no-auth")
    assert code != 0 and "--no-auth" in err
    assert run("proxy", "--port", "0", "--pass", "a\nb")[0] == 2


def test_case_14_a_bypassed_host_behind_an_upstream_proxy_gets_its_407(o):
    with Gateway("--upstream-proxy", "http://10.55.0.2:9", "--upstream-bypass", o.host) as g:
        with g.connect() as c:
            c.send(connect_head(o.netloc))
            assert c.response("CONNECT").status == 407
            c.send(connect_head(o.netloc, g.basic))
            assert c.response("CONNECT").status == 200
        assert one(g, get(f"http://{o.netloc}/")).status == 407
        assert one(g, get(f"http://{o.netloc}/", auth=g.basic)).status == 200


# ---- the proof goes nowhere else

@pytest.mark.threads
def test_case_15_proxy_authorization_never_reaches_an_upstream(g, o):
    more = f"proxy-authorization: {g.basic}\r\nProxy-Authorization: Negotiate zzz\r\nProxy-Connection: keep-alive\r\n"
    assert one(g, get(f"http://{o.netloc}/p15", auth=g.basic, extra=more)).status == 200
    raw = o.seen[-1]["raw"].lower()
    assert b"/p15" in raw and b"proxy-" not in raw and g.token.encode().lower() not in raw


def leaks(token):
    pct = "".join(f"%{b:02x}" for b in token.encode())
    b64 = basic("user", token)
    return [("/a", f"X-Any: {token}\r\n"), ("/a", f"Authorization: Bearer {token}\r\n"), ("/a", f"Authorization: {b64}\r\n"),
            ("/a", f"Cookie: a=1; b={token}; c=2\r\n"), (f"/a?k={token}", ""), (f"/{token}/x", ""), (f"/{pct}/x", ""), (f"/a?k={pct}", ""),
            ("/a", f"X-Url: http://nono:{token}@127.0.0.1/\r\n"), (f"/pre{token}post", ""), ("/a", f"{token}: x\r\n")]


def test_K8_a_head_that_still_holds_the_token_is_400_and_goes_nowhere(g, o):
    before = len(o.seen)
    for path, extra in leaks(g.token):
        a = one(g, get(f"http://{o.netloc}{path}", auth=g.basic, extra=extra), closes=True)
        assert a.status == 400 and g.token.encode() not in a.body, (path, extra, a)
    assert len(o.seen) == before


def test_K8_a_host_name_that_holds_the_token_is_never_looked_up(g, ns):
    name = f"{g.token[:63]}.{g.token[63:] or 'x'}.leak.test" if len(g.token) > 63 else f"{g.token}.leak.test"
    if g.token in name:
        assert one(g, connect_head(name + ":443", g.basic), "CONNECT").status == 400
        assert one(g, get(f"http://{name}/", auth=g.basic)).status == 400
    with Gateway("--pass", "a-long-password-0") as other:
        auth = basic("nono", "a-long-password-0")
        for data, method in ((connect_head("a-long-password-0.leak.test:443", auth), "CONNECT"), (get("http://a-long-password-0.leak.test/", auth=auth), "GET")):
            a = one(other, data, method)
            assert a.status == 400 and b"a-long" not in a.body, a
        other.records(2)
        assert "a-long-password-0" not in other.audit_path.read_text()
    assert not [q for q in ns.log if "leak.test" in q[0]]


def test_K8_a_field_that_is_removed_anyway_may_hold_the_token(g, o):
    named = f"Connection: X-Named\r\nX-Named: {g.token}\r\n"
    assert one(g, get(f"http://{o.netloc}/named", auth=g.basic, extra=named), closes=False).status == 200
    assert g.token.encode() not in o.seen[-1]["raw"]


def test_K8_a_trailer_that_holds_the_token_ends_the_exchange(g, o):
    before = len(o.seen)
    with g.connect() as c:
        c.send(get(f"http://{o.netloc}/t", method="POST", auth=g.basic, extra="Transfer-Encoding: chunked\r\nTrailer: X-T\r\n",
                   body=f"5\r\nhello\r\n0\r\nX-T: {g.token}\r\n\r\n"))
        assert c.response().status == 400 and c.closed()
    assert len(o.seen) == before


def test_K8_a_short_password_is_looked_for_only_where_it_would_be_one(o):
    with Gateway("--pass", "abc") as g:
        auth = basic("nono", "abc")
        for path, extra in (("/xabcx", ""), ("/a?k=xabc", ""), ("/a", "X-Any: the abc of it\r\n"), ("/abcd/", "")):
            assert one(g, get(f"http://{o.netloc}{path}", auth=auth, extra=extra)).status == 200, (path, extra)
        for path, extra in (("/abc/x", ""), ("/a?k=abc", ""), ("/a", "X-Any: abc\r\n"), ("/a", "Authorization: Bearer abc\r\n"),
                            ("/a", f"Authorization: {basic('u', 'abc')}\r\n")):
            assert one(g, get(f"http://{o.netloc}{path}", auth=auth, extra=extra)).status == 400, (path, extra)


def test_K8_and_audit_the_token_is_in_no_record_and_no_log(o):
    with Gateway("-vvv") as g:
        one(g, get(f"http://{o.netloc}/?k={g.token}", auth=g.basic))
        one(g, get(f"http://{o.netloc}/{g.token}", auth=g.basic))
        one(g, get(f"http://{o.netloc}/ok?secret=1", auth=g.basic))
        one(g, connect_head(o.netloc, g.basic), "CONNECT")
        assert g.token.encode() not in one(g, local(f"/{g.token}", f"Authorization: {g.token}\r\n")).body
        one(g, local("/%" + f"{ord(g.token[0]):02x}{g.token[1:]}"))
        assert len(g.records(6)) == 6 and "%" + f"{ord(g.token[0]):02x}{g.token[1:]}" not in g.audit_path.read_text()
        assert g.token not in g.audit_path.read_text() and g.token not in g.stderr
        assert "secret=1" not in g.audit_path.read_text() and "secret=1" not in g.stderr


def test_audit_says_what_was_tried(o):
    with Gateway() as g:
        one(g, connect_head(o.netloc), "CONNECT")
        one(g, get(f"http://{o.netloc}/", auth=g.basic))
        one(g, local("/x"))
        by_status = {r["status"]: r for r in g.records(3)}
        a, b, c = (by_status[s] for s in (407, 200, 401))
        assert (a["mode"], a["auth_mechanism"], a["auth_outcome"], a["denial_category"], a["status"]) == ("connect", "proxy_authorization", "failed", "authentication_failed", 407)
        assert (b["auth_mechanism"], b["auth_outcome"], b["decision"]) == ("proxy_authorization", "succeeded", "allow")
        assert (c["mode"], c["auth_mechanism"], c["auth_outcome"], c["status"]) == ("local", "phantom_header", "failed", 401)
