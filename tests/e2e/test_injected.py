"""Ways in which a request could reach an upstream without its credential, with another one, with a token left, or at the wrong place."""
import json
import threading
import time

import pytest
from gateway import CA, Origin, get, one, read_request, talk, until
from test_reverse import JSON, LOCAL, SECRET, ask, basic, gate, local, service  # noqa: F401
from test_sources import NEW, by_file, by_helper, file_secret, replace, runs


def chunked(g, path, trailers, method="POST"):
    return ask(g, path, method, "Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n") + "5\r\nhello\r\n0\r\n" + trailers + "\r\n"


# ---------------------------------------------------------------- trailers, TE, hop-by-hop

@pytest.mark.parametrize("keep", [False, True])
def test_K11_trailers_bring_no_credential(tmp_path, local, keep):  # noqa: F811
    conf = {"inject_header": "X-Key", "proxy": {"inject_header": "X-Shown"}, "keep_client_credentials": keep}
    with gate(tmp_path, {"svc": service(local, **conf)}) as g:
        bad = "X-Key: mine\r\nx-KEY: mine\r\nX-Shown: mine\r\nAuthorization: mine\r\nX-Api-Key: mine\r\nHost: mine\r\nContent-Length: 3\r\n"
        assert one(g, chunked(g, "/svc/x", bad + "X-Sum: yes\r\n"), "POST").status == 200
        (r,) = local.seen
        assert r["trailers"] == ["X-Sum: yes"] and r["h"]["x-key"] == SECRET and "te" not in r["h"], r
        assert one(g, chunked(g, "/svc/x", f"X-Sum: {g.token}\r\n"), "POST").status == 400
        assert one(g, chunked(g, "/svc/x", f"X-Key: {g.token}\r\n"), "POST").status == 400


def test_K11_trailers_of_a_helpers_fields(tmp_path, local):  # noqa: F811
    out = json.dumps({"headers": {"X-One": SECRET, "X-Two": "real-two-4711"}})
    with by_helper(tmp_path, local, f"cat <<'E'\n{out}\nE", output={"format": "json", "allow_headers": ["x-one", "x-two"]}) as g:
        assert one(g, chunked(g, "/svc/x", "X-One: mine\r\nx-two: mine\r\nX-Sum: yes\r\n"), "POST").status == 200
        assert local.seen[0]["trailers"] == ["X-Sum: yes"] and local.seen[0]["h"]["x-two"] == "real-two-4711"


@pytest.mark.parametrize("named", ["x-key", "X-Key, authorization", "host", "x-key, close", ", ".join(f"n{i}" for i in range(300))])
def test_K10_connection_cannot_name_the_credential_away(tmp_path, local, named):  # noqa: F811
    with gate(tmp_path, {"svc": service(local, inject_header="X-Key")}) as g:
        a = one(g, ask(g, "/svc/x", extra=f"Connection: {named}\r\nX-Key: mine\r\n"))
        assert a.status == 200, a
        (r,) = local.seen
        assert [v for k, v in r["headers"] if k.lower() == "x-key"] == [SECRET] and r["h"]["host"] == local.netloc


@pytest.mark.parametrize("offer", ["h2c\r\nHTTP2-Settings: AAMAAABk", "TLS/1.0", "websocket"])
def test_C9_other_upgrades_are_dropped_and_the_credential_goes_in(tmp_path, local, offer):  # noqa: F811
    method = "POST" if offer == "websocket" else "GET"
    with gate(tmp_path, {"svc": service(local)}) as g:
        a = one(g, ask(g, "/svc/x", method, f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {offer}\r\n", body="x" if method == "POST" else ""), method)
        assert a.status == 200, a
        (r,) = local.seen
        assert r["h"]["authorization"] == f"Bearer {SECRET}" and not {"upgrade", "http2-settings"} & set(r["h"])


# ---------------------------------------------------------------- the client's own

@pytest.mark.parametrize("query,arrives", [
    ("key=mine", "key=S"), ("k%65y=mine", "k%65y=S"), ("%6B%65%79=mine&key=T", "%6B%65%79=S&key=S"), ("a=1&KEY=x&key=", "a=1&KEY=x&key=S"),
    ("keys=1&ke=2", "keys=1&ke=2&key=S"), ("k%65=1", "k%65=1&key=S"), ("k%6=1&%=2", "k%6=1&%=2&key=S"), ("", "key=S")])
def test_K9_query_parameter_by_any_spelling(tmp_path, local, query, arrives):  # noqa: F811
    with gate(tmp_path, {"svc": service(local, inject_mode="query_param", query_param_name="key")}) as g:
        path = "/svc/x" + ("?" if query else "") + query.replace("T", g.token)
        assert one(g, ask(g, path)).status == 200
        assert [r["target"] for r in local.seen] == ["/x?" + arrives.replace("S", SECRET)]


def test_case87_query_phantom_by_another_spelling_leaves_no_trace(tmp_path, local):  # noqa: F811
    with gate(tmp_path, {"svc": service(local, proxy={"inject_mode": "query_param", "query_param_name": "key"})}) as g:
        assert one(g, ask(g, f"/svc/x?k%65y={g.token}&a=1", token=False)).status == 200
        assert [(r["target"], r["h"]["authorization"]) for r in local.seen] == [("/x?a=1", f"Bearer {SECRET}")]


@pytest.mark.parametrize("fields", ["Authorization: Bearer mine\r\nAuthorization: Bearer TOKEN\r\n", "Authorization: Bearer TOKEN\r\nAuthorization: Bearer mine\r\n"])
def test_C2_the_first_of_two_lines_decides_and_none_passes(tmp_path, local, fields):  # noqa: F811
    with gate(tmp_path, {"svc": service(local)}) as g:
        status = one(g, ask(g, "/svc/x", extra=fields.replace("TOKEN", g.token), token=False)).status
        assert status == (200 if fields.index("TOKEN") < fields.index("mine") else 401)
        assert all([v for k, v in r["headers"] if k.lower() == "authorization"] == [f"Bearer {SECRET}"] for r in local.seen)


def test_C2_proxy_authorization_on_a_reverse_request_stays_here(tmp_path, local):  # noqa: F811
    with gate(tmp_path, {"svc": service(local, keep_client_credentials=True)}) as g:
        assert one(g, ask(g, "/svc/x", extra=f"Proxy-Authorization: {g.basic}\r\nAuthorization: Bearer mine\r\n", token=False)).status == 200
        (r,) = local.seen
        assert "proxy-authorization" not in r["h"] and [v for k, v in r["headers"] if k.lower() == "authorization"] == [f"Bearer {SECRET}"]


# ---------------------------------------------------------------- sizes

def big_head(g, n):
    one_field = f"X-Big: {'b' * 1000}\r\n"
    base = ask(g, "/svc/x")
    fields = one_field * ((n - len(base)) // len(one_field))
    head = ask(g, "/svc/x", extra=fields)
    return ask(g, "/svc/x", extra=fields + f"P: {'p' * max(0, n - len(head) - 5)}\r\n")


@pytest.mark.parametrize("secret,status", [(2000, 200), (15000, 200), (30000, 431)])
def test_a_head_that_the_secret_makes_too_large_is_refused_with_an_answer(tmp_path, local, secret, status):  # noqa: F811
    value = "s" * secret
    with gate(tmp_path, {"svc": by_file(local, file_secret(tmp_path, value))}, secret=value) as g:
        data = big_head(g, 65536)
        assert len(data) == 65536
        a = one(g, data, closes=status != 200)
        assert a.status == status, a
        assert [r["h"]["authorization"] == f"Bearer {value}" for r in local.seen] == [True] * (status == 200)
        assert one(g, ask(g, "/svc/y")).status == 200 and local.seen[-1]["h"]["authorization"] == f"Bearer {value}"


def test_256_fields_leave_room_for_the_secret(tmp_path, local):  # noqa: F811
    out = json.dumps({"headers": {f"X-H{i}": SECRET for i in range(20)}})
    with by_helper(tmp_path, local, f"cat <<'E'\n{out}\nE", output={"format": "json", "allow_headers": [f"x-h{i}" for i in range(20)]}) as g:
        data = ask(g, "/svc/x", extra="".join(f"F{i}: v\r\n" for i in range(254)))
        assert one(g, data).status == 200
        (r,) = local.seen
        assert all(r["h"][f"x-h{i}"] == SECRET for i in range(20)) and all(r["h"][f"f{i}"] == "v" for i in range(254))


# ---------------------------------------------------------------- in a row

def test_pipelined_requests_of_many_routes_get_each_their_own(tmp_path, local):  # noqa: F811
    services = {"a": service(local), "b": service(local, credential_key="env://NONO_TEST_KEY2", env_var="B_KEY", inject_header="X-Key")}
    with gate(tmp_path, services, "--workers", "1", env={"NONO_TEST_KEY2": NEW}) as g:
        g.secrets.append(NEW)
        data = "".join(ask(g, f"/{'ab'[i % 2]}/{i}", "POST", body="x" * i) if i % 3 else ask(g, "/none/x") for i in range(12))
        answers = talk(g, data, " ".join(["POST"] * 12))
        assert [a.status for a in answers] == [200 if i % 3 else 404 for i in range(12)]
        for r in local.seen:
            i = int(r["target"][1:])
            want = {"authorization": f"Bearer {SECRET}"} if i % 2 == 0 else {"x-key": NEW}
            assert {k: v for k, v in r["h"].items() if k in ("authorization", "x-key")} == want, r
        assert local.connections == 1  # shared, and each request has its own


def test_a_refused_request_in_a_pipeline_stops_nothing_before_it(tmp_path, local):  # noqa: F811
    with gate(tmp_path, {"svc": service(local)}) as g:
        a, b = talk(g, ask(g, "/svc/1") + ask(g, f"/svc/2?t={g.token}") + ask(g, "/svc/3"), "GET GET")
        assert (a.status, b.status) == (200, 400) and [r["target"] for r in local.seen] == ["/1"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_pooled_connection_that_ends_while_the_helper_runs_costs_no_request(tmp_path, method):
    def once_each(conn, origin):
        r, _ = read_request(conn)
        origin.seen.append(r)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        while not (tmp_path / "end").exists():
            time.sleep(0.02)
    go = tmp_path / "go"
    script = f"[ -e {tmp_path}/slow ] && while [ ! -e {go} ]; do sleep 0.05; done; echo {SECRET}"
    with Origin(once_each, host=LOCAL) as o, by_helper(tmp_path, o, script, "--workers", "1", ttl_secs=1) as g:
        assert one(g, ask(g, "/svc/1")).status == 200
        (tmp_path / "slow").touch()
        time.sleep(1.2)  # the version is over: the next request waits, with the pooled connection in its hand
        with g.connect() as c:
            c.send(ask(g, "/svc/2", method))
            assert until(lambda: runs(tmp_path) == 2)
            (tmp_path / "end").touch()  # the upstream ends it
            time.sleep(0.3)
            go.touch()
            assert c.response(method).status == 200
        assert [r["target"] for r in o.seen] == ["/1", "/2"]


# ---------------------------------------------------------------- the right upstream

def test_K7_one_address_two_names_two_connections(tmp_path, ca):
    """Pooled connections belong to a name, a port and a trust, not to an address."""
    with Origin(tls=ca.server("origin.test")) as o:
        def to(name, **more):
            return service(o, upstream=f"https://{name}:{o.port}", **more)
        services = {"a": to("origin.test"), "b": to("api.test", credential_key="env://NONO_TEST_KEY2", env_var="B_KEY")}
        with gate(tmp_path, services, "--workers", "1", env={"SSL_CERT_FILE": ca.pem, "NONO_TEST_KEY2": NEW}) as g:
            g.secrets.append(NEW)
            for _ in range(2):
                assert one(g, ask(g, "/a/x")).status == 200
                a = one(g, ask(g, "/b/x", extra=JSON))  # the certificate is for another name
                assert a.status == 502 and json.loads(a.body)["error"] == "upstream_tls_failed", a
            assert {r["h"]["authorization"] for r in o.seen} == {f"Bearer {SECRET}"} and len(o.seen) == 2


def test_K7_a_trust_that_changes_at_a_reload_is_asked_anew(tmp_path):
    """A route that trusts another CA from now on must not use the connection of the former one."""
    for d in ("own", "other"):
        (tmp_path / d).mkdir()
    own, other = CA(tmp_path / "own"), CA(tmp_path / "other")
    trust = tmp_path / "trust.pem"
    trust.write_text(open(own.pem).read())
    with Origin(tls=own.server("origin.test")) as o:
        with gate(tmp_path, {"svc": service(o, upstream=f"https://origin.test:{o.port}", tls_ca=str(trust))}, "--workers", "1") as g:
            assert one(g, ask(g, "/svc/x")).status == 200 and one(g, ask(g, "/svc/x")).status == 200 and o.connections == 1
            trust.write_text(open(other.pem).read())
            g.proc.send_signal(1)
            assert until(lambda: g.records(kind="lifecycle")[-1]["event"] == "reload")
            assert one(g, ask(g, "/svc/x")).status == 502 and len(o.seen) == 2


# ---------------------------------------------------------------- answers

def test_C14_a_body_behind_an_early_answer_is_no_request(tmp_path):
    """The rest of an upload that was answered early looks like a request, and is none; the next one is."""
    def serve(conn, origin):
        buf = b""
        while b"\r\n\r\n" not in buf:
            buf += conn.recv(65536)
        origin.raw.append(buf)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        while d := conn.recv(65536):
            origin.raw[-1] += d
    with Origin(serve, host=LOCAL) as o, gate(tmp_path, {"svc": service(o)}, "--workers", "1") as g, g.connect() as c:
        evil = ask(g, "/svc/evil", token=False)
        c.send(ask(g, "/svc/1", "POST", f"Content-Length: {len(evil)}\r\n"))
        a = c.response()
        c.send(evil + ask(g, "/svc/2"))
        assert a.status == 200
        if a.get("connection") != "close":
            assert c.response().status == 200
        assert c.closed(0.3) == (a.get("connection") == "close") and not c.buf
        assert [r.split(b" ")[1] for r in o.raw] == ([b"/1"] if a.get("connection") else [b"/1", b"/2"])
        assert all(r.split(b"\r\n\r\n")[0].count(SECRET.encode()) == 1 for r in o.raw)


@pytest.mark.threads
def test_rotation_under_load_fails_no_request(tmp_path):
    """The upstream takes the newest value only; the file follows it; many clients, keep-alive, bodies, two workers."""
    state = {"good": SECRET}

    def serve(conn, origin):
        rest = b""
        while True:
            r, rest = read_request(conn, rest)
            ok = r["h"].get("authorization") == f"Bearer {state['good']}"
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" if ok else b"HTTP/1.1 401 No\r\nContent-Length: 500\r\n\r\n" + b"n" * 500)
    path = file_secret(tmp_path)
    with Origin(serve, host=LOCAL) as o, gate(tmp_path, {"svc": by_file(o, path)}, "--workers", "2") as g:
        g.secrets += [f"real-turned-{i}-secret" for i in range(5)]
        stop, bad, n = threading.Event(), [], [0]

        def load(k):
            with g.connect() as c:
                while not stop.is_set():
                    c.send(ask(g, "/svc/x", "POST" if k % 2 else "GET", body="hello" if k % 2 else ""))
                    a = c.response()
                    n[0] += 1
                    if a.status != 200:
                        bad.append(a)
        threads = [threading.Thread(target=load, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for i in range(5):
            time.sleep(0.4)
            replace(path, f"real-turned-{i}-secret")  # first what the gateway may use, then what the upstream takes
            state["good"] = f"real-turned-{i}-secret"
        time.sleep(0.4)
        stop.set()
        for t in threads:
            t.join()
        assert not bad and n[0] > 20, (bad[:3], n)


def test_basic_value_with_the_phantom_as_user_goes_nowhere(tmp_path, local):  # noqa: F811
    with gate(tmp_path, {"svc": service(local, inject_mode="basic_auth")}, secret="user:" + SECRET) as g:
        for text in (g.token, f"{g.token}:x", f"x:{g.token}"):
            a = one(g, ask(g, "/svc/x", extra=f"Authorization: {basic(text)}\r\n", token=False))
            assert a.status in (200, 401)
        assert all(r["h"]["authorization"] == basic("user:" + SECRET) for r in local.seen)
        assert one(g, get(f"http://{local.netloc}/q", auth=g.basic, extra=f"Cookie: s={g.token}\r\n")).status == 400
