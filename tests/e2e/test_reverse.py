"""Credential routes: where the token is shown, where the secret goes, what never passes. Nothing the gateway writes may hold a secret."""
import base64
import json
import re
import subprocess
import threading

import pytest
from gateway import CA, Gateway, Origin, answering, connect_head, get, one, read_head, read_request, run, until

LOCAL = "127.0.0.1"
SECRET = "real-secret-0815-abcdef"
WS = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
JSON = "Accept: application/json\r\n"


def service(origin, **more):
    scheme = "https" if origin.tls else "http"
    return {"upstream": f"{scheme}://{origin.netloc}", "credential_key": "env://NONO_TEST_KEY", "env_var": "SVC_KEY"} | more


def profile(tmp_path, services, asked=None, **network):
    p = tmp_path / "p.json"
    p.write_text(json.dumps({"network": {"custom_credentials": services, "credentials": list(services) if asked is None else asked} | network}))
    return str(p)


def gate(tmp_path, services, *flags, asked=None, secret=SECRET, auth=True, env=None, **network):
    return Gateway("-p", profile(tmp_path, services, asked, **network), *flags, auth=auth, secrets=[secret],
                   env={"NONO_TEST_KEY": secret} | (env or {}))


def ask(g, path, method="GET", extra="", body="", token=True):
    shown = f"Authorization: Bearer {g.token}\r\n" if token else ""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{g.port}\r\n{shown}{extra}{length}\r\n{body}"


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.fixture()
def local():
    with Origin(host=LOCAL) as o:
        yield o


# ---------------------------------------------------------------- modes

HEADER = [  # configuration, what the client shows (T: the token), what arrives upstream
    ({}, "Authorization: Bearer T", "authorization", f"Bearer {SECRET}"),
    ({}, "authorization: bearer T", "authorization", f"Bearer {SECRET}"),
    ({}, "Authorization: T", "authorization", f"Bearer {SECRET}"),
    ({"credential_format": "token {}"}, "Authorization: token T", "authorization", f"token {SECRET}"),
    ({"inject_header": "X-Api-Key"}, "X-Api-Key: T", "x-api-key", SECRET),
    ({"inject_header": "X-Api-Key"}, "Authorization: Bearer T", "x-api-key", SECRET),
    ({"inject_header": "X-Own", "credential_format": "<{}>"}, "X-Own: T", "x-own", f"<{SECRET}>"),
]


@pytest.mark.parametrize("conf,shown,name,value", HEADER)
def test_case75_header_mode(tmp_path, local, conf, shown, name, value):
    with gate(tmp_path, {"svc": service(local, **conf)}) as g:
        a = one(g, ask(g, "/svc/v1/x?q=1", "POST", shown.replace("T", g.token) + "\r\n", "hello", token=False), "POST")
        assert a.status == 200, a
        (r,) = local.seen
        assert (r["method"], r["target"], r["body"]) == ("POST", "/v1/x?q=1", b"hello")
        assert [v for k, v in r["headers"] if k.lower() == name] == [value]
        assert r["h"]["host"] == local.netloc and g.token.encode() not in r["raw"]
        x = g.records(1)[0]
        assert x["injection_mode"] == "header" and x["managed_credential_active"] and x["status"] == 200


def test_basic_auth_mode(tmp_path, local):
    with gate(tmp_path, {"svc": service(local, inject_mode="basic_auth")}, secret="user:" + SECRET) as g:
        assert one(g, ask(g, "/svc/x", extra=f"Authorization: {basic('me:' + g.token)}\r\n", token=False)).status == 200
        assert local.seen[0]["h"]["authorization"] == basic("user:" + SECRET)
        assert one(g, ask(g, "/svc/x", extra=f"Authorization: {basic('me:wrong')}\r\n", token=False)).status == 401
        assert len(local.seen) == 1


@pytest.mark.parametrize("conf,target", [({}, f"/bot{SECRET}/getMe?x=1"), ({"path_replacement": "/v2/key-{}/"}, f"/v2/key-{SECRET}/getMe?x=1")])
def test_url_path_mode(tmp_path, local, conf, target):
    with gate(tmp_path, {"svc": service(local, inject_mode="url_path", path_pattern="/bot{}/", **conf)}) as g:
        assert one(g, ask(g, f"/svc/bot{g.token}/getMe?x=1", token=False)).status == 200
        assert [r["target"] for r in local.seen] == [target]
        assert one(g, ask(g, "/svc/botwrong/getMe", token=False)).status == 401
        assert len(local.seen) == 1


@pytest.mark.parametrize("base", ["/v1", "/a/{}/b"])
def test_url_path_mode_below_a_base_path(tmp_path, local, base):
    conf = service(local, inject_mode="url_path", path_pattern="/bot{}/", upstream=f"http://{local.netloc}{base}")
    with gate(tmp_path, {"svc": conf}) as g:
        assert one(g, ask(g, f"/svc/bot{g.token}/getMe?x=1", token=False)).status == 200
        assert one(g, get(f"http://{local.netloc}{base}/bot{g.token}/getMe?x=1", auth=g.basic)).status == 200
        assert [r["target"] for r in local.seen] == [f"{base}/bot{SECRET}/getMe?x=1"] * 2


def test_query_param_mode_percent_encodes(tmp_path, local):
    with gate(tmp_path, {"svc": service(local, inject_mode="query_param", query_param_name="key")}, secret="real/se+cret&0815") as g:
        assert one(g, ask(g, f"/svc/x?a=1&key={g.token}&b=2", token=False)).status == 200
        assert [r["target"] for r in local.seen] == ["/x?a=1&key=real%2Fse%2Bcret%260815&b=2"]
        assert one(g, ask(g, "/svc/x?key=wrong", token=False)).status == 401


@pytest.mark.parametrize("proxy,path,shown", [
    ({"inject_mode": "query_param", "query_param_name": "k"}, "/svc/x?a=1&k=T", ""),
    ({"inject_mode": "url_path", "path_pattern": "/t/{}/"}, "/svc/t/T/x?a=1", ""),
    ({"inject_mode": "basic_auth"}, "/svc/x?a=1", "Authorization: BASIC\r\n"),
    ({"inject_header": "X-Shown"}, "/svc/x?a=1", "X-Shown: T\r\n")])
def test_case87_token_shown_elsewhere_leaves_no_trace(tmp_path, local, proxy, path, shown):
    with gate(tmp_path, {"svc": service(local, proxy=proxy)}) as g:
        shown = shown.replace("BASIC", basic("x:" + g.token)).replace("T\r", g.token + "\r")
        a = one(g, ask(g, path.replace("T", g.token), extra=shown, token=False))
        assert a.status == 200, a
        (r,) = local.seen
        assert r["h"]["authorization"] == f"Bearer {SECRET}" and r["target"].endswith("?a=1"), r["target"]
        assert g.token.encode() not in r["raw"] and b"x-shown" not in r["raw"].lower()


# ---------------------------------------------------------------- what never goes upstream

OWN = "".join(f"{n}: mine\r\n" for n in ("X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Private-Token", "X-Auth-Token", "X-Amz-Security-Token"))


def test_case74_K9_the_clients_own_credentials_are_removed(tmp_path, local):
    with gate(tmp_path, {"svc": service(local, inject_header="X-Key")}) as g:
        a = one(g, ask(g, "/svc/x", extra=OWN + "X-Key: mine\r\nX-Key: too\r\nConnection: x-key, close\r\n"))
        assert a.status == 200, a
        (r,) = local.seen
        assert b"mine" not in r["raw"] and b"too" not in r["raw"] and "authorization" not in r["h"]
        assert r["h"]["x-key"] == SECRET  # K10: Connection cannot name it away


def test_case74_keep_client_credentials(tmp_path, local):
    with gate(tmp_path, {"svc": service(local, inject_header="X-Key", keep_client_credentials=True)}) as g:
        shown = f"X-Key: {g.token}\r\nX-Key: mine-too\r\nAuthorization: Bearer mine\r\n" + OWN
        assert one(g, ask(g, "/svc/x", extra=shown, token=False)).status == 200
        (r,) = local.seen
        assert r["h"]["authorization"] == "Bearer mine" and r["h"]["x-api-key"] == "mine"
        assert [v for k, v in r["headers"] if k.lower() == "x-key"] == [SECRET]


@pytest.mark.parametrize("path,extra", [("/svc/TOKEN", ""), ("/svc/x?q=TOKEN", ""), ("/svc/x?q=PCT", ""), ("/svc/x", "X-Other: TOKEN\r\n"),
                                        ("/svc/x", "X-Other: see TOKEN.\r\n"), ("/svc/x", "X-Other: BASIC\r\n")])
def test_case85_K8_a_token_that_would_go_upstream_is_400(tmp_path, local, path, extra):
    with gate(tmp_path, {"svc": service(local)}) as g:
        for name, value in (("BASIC", basic("x:" + g.token)), ("PCT", f"%{ord(g.token[0]):02x}{g.token[1:]}"), ("TOKEN", g.token)):
            path, extra = path.replace(name, value), extra.replace(name, value)
        assert one(g, ask(g, path, extra=extra)).status == 400
        assert not local.seen


@pytest.mark.parametrize("password", ["p/w'x y$HOME", "a%41b", "caf\u00e9"])
def test_O3_token_variables_whatever_the_password(tmp_path, local, password):
    args = ["-p", profile(tmp_path, {"svc": service(local)}), "--pass", password]
    with Gateway(*args, "--output", "json", ready='"warnings"', env={"NONO_TEST_KEY": SECRET}) as g:
        j = json.loads(g.banner)
        assert j["env"]["SVC_KEY"] == j["routes"][0]["env"]["SVC_KEY"] == j["token"] == password
    with Gateway(*args, env={"NONO_TEST_KEY": SECRET}) as g:
        exports = [l.strip() for l in g.banner.splitlines() if l.startswith("  export ")]
        shell = subprocess.run(["sh", "-c", "\n".join(exports) + '\nprintf %s "$SVC_KEY"'], capture_output=True, text=True, env={}, check=True)
        assert shell.stdout == (password if password.isascii() else "")


@pytest.mark.parametrize("form", ["TOKEN", "PCT"])
def test_case125_K8_no_part_of_a_token_is_left_in_records_and_answers(tmp_path, local, form):
    services = {"svc": service(local, endpoint_rules=[{"method": "GET", "path": "/ok"}]),
                "path": service(local, inject_mode="url_path", path_pattern="/bot{}/")}
    with gate(tmp_path, services) as g:
        pct = "".join(f"%{ord(c):02x}" for c in g.token)
        token = g.token if form == "TOKEN" else pct
        paths = [(f"/path/bot{token}/bot{token}/", 400), (f"/path/bot{token}/x/{token}", 400), (f"/{token}/x", 404),
                 (f"/svc/{token}", 403)] + [(f"/svc/{'x' * n}{token}", 403) for n in range(1, 120, 7)]  # wherever a sentence cuts it
        answers = [(one(g, ask(g, p)), status) for p, status in paths]
        assert [a.status for a, _ in answers] == [s for _, s in answers] and not local.seen
        assert len(g.records(len(paths))) == len(paths)
        written = g.audit_path.read_text() + g.stderr + "".join(a.body.decode() for a, _ in answers)
        assert g.token[:16] not in written and pct[:48] not in written


def test_case86_multibyte_characters_next_to_the_token(tmp_path, local):
    with gate(tmp_path, {"svc": service(local)}) as g, g.connect() as c:
        c.send(f"GET /svc/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer \u00e9{g.token}\u00e9\r\n\r\n".encode())
        assert c.response().status == 401 and not local.seen
        assert one(g, ask(g, "/svc/x")).status == 200


def test_case90_a_redirect_is_the_clients_to_follow(tmp_path, local):
    to = f"HTTP/1.1 302 Found\r\nLocation: http://{local.netloc}/there\r\nContent-Length: 0\r\n\r\n".encode()
    with Origin(answering(to), host=LOCAL) as first, gate(tmp_path, {"svc": service(first)}) as g:
        a = one(g, ask(g, "/svc/x"))
        assert a.status == 302 and a.get("location") == f"http://{local.netloc}/there"
        assert len(first.seen) == 1 and not local.connections


# ---------------------------------------------------------------- which route, and whether

def test_case88_unknown_prefix_is_404_with_the_token_and_401_without(tmp_path, local):
    with gate(tmp_path, {"svc": service(local), "idle": service(local)}, asked=["svc"]) as g:
        for path in ("/nosuch/x", "/idle/x", "/SVC/x", "/svcx/y"):
            assert one(g, ask(g, path)).status == 404, path
            assert one(g, ask(g, path, token=False)).status == 401, path
        assert one(g, ask(g, "/svc/x", token=False)).status == 401
        assert one(g, ask(g, "/svc/x", extra=f"Authorization: Bearer {g.token}x\r\n", token=False)).status == 401
        assert not local.seen


def test_case66_and_68_two_accounts_on_one_host(tmp_path, local):
    services = {"a": service(local), "b": service(local, credential_key="env://NONO_TEST_KEY2", env_var="B_KEY")}
    with gate(tmp_path, services, env={"NONO_TEST_KEY2": "second-secret-4712"}) as g:
        g.secrets.append("second-secret-4712")
        assert one(g, ask(g, "/a/x")).status == one(g, ask(g, "/b/x")).status == 200
        assert [r["h"]["authorization"] for r in local.seen] == [f"Bearer {SECRET}", "Bearer second-secret-4712"]


LATER = {  # decision K13: the credential, and how rows call it
    "auth": ({"auth": {"token_url": "https://t.test/x", "client_id": "env://I", "client_secret": "env://S"}, "env_var": "T"}, "oauth2"),
    "aws": ({"aws_auth": {"region": "eu-west-1", "service": "s3"}}, "aws"),
    "spiffe": ({"spiffe": {"workload_api_socket": "/run/no-such.sock", "type": "jwt", "audience": ["a"]}}, "spiffe")}


def later(tmp_path, g, route, row=None):
    """Every way to the host of such a credential: 503, with the reason, and nobody is ever connected to."""
    for send, method in ((ask(g, f"/{route}/x", extra=JSON), "GET"), (ask(g, f"/{route}", "POST", extra=JSON, body="x"), "POST"),
                         (get("https://later.test/x", auth=g.basic, extra=JSON), "GET"), (get("https://later.test/other", "PUT", auth=g.basic, extra=JSON), "PUT"),
                         (connect_head("later.test:443", g.basic), "CONNECT")):
        a = one(g, send, method)
        assert a.status == 503 and not a.get("retry-after"), (send, a)
        said = a.reason if method == "CONNECT" else json.loads(a.body)["reason"]
        assert "not in this version" in said, (send, a)
    assert {r["denial_category"] for r in g.records(5)} <= {"credential_unavailable", "managed_credential_unavailable"} and all(r["status"] == 503 for r in g.records(5))
    assert "not in this version" in g.banner and "answered with 503" in g.banner
    if row:
        assert f"https://later.test | creds: {row} ✗ (not in this version) | intercept: off | endpoint_rules: 0" in g.banner, g.banner
    assert "_BASE_URL" not in g.banner.replace("SVC_BASE_URL", "")


@pytest.mark.parametrize("allow", [[], ["later.test"], ["*"]])
@pytest.mark.parametrize("kind", LATER)
def test_case_91_92_93_kinds_of_later_versions_are_503_and_never_pass(tmp_path, local, kind, allow):
    conf, row = LATER[kind]
    services = {"svc": service(local), "late": {"upstream": "https://later.test"} | conf}
    with gate(tmp_path, services, *(["--allow-domain", "127.0.0.1"] if allow else []), allow_domain=allow) as g:
        later(tmp_path, g, "late", row)
        assert one(g, ask(g, "/svc/x")).status == 200  # everything else works


def test_case_91_routes_of_credential_providers_are_503_and_never_pass(tmp_path, local):
    p = tmp_path / "r.json"
    p.write_text(json.dumps({
        "network": {"credentials": ["svc"], "custom_credentials": {"svc": service(local)}, "allow_domain": ["later.test", "127.0.0.1"]},
        "credential_routes": [{"name": "late", "provider": "prov"}],
        "credential_providers": {"prov": {"type": "oauth_capture", "api_hosts": ["https://later.test"], "inject_header": "Authorization", "credential_format": "Bearer {}",
                                          "token_endpoints": [{"host": "https://tok.test", "path": "/t", "response_fields": [{"path": "a"}]}],
                                          "credential_store": {"type": "command_status", "command": ["c"]}}}}))
    with Gateway("-p", str(p), env={"NONO_TEST_KEY": SECRET}, secrets=[SECRET]) as g:
        later(tmp_path, g, "late")
        assert one(g, ask(g, "/svc/x")).status == 200


def test_case78_and_79_missing_secret_is_503_and_says_what_to_do(tmp_path, local):
    services = {"svc": service(local), "lost": service(local, credential_key="env://NONO_TEST_LOST", env_var="LOST_KEY")}
    with gate(tmp_path, services) as g:
        a = one(g, ask(g, "/lost/x", extra=JSON))
        j = json.loads(a.body)
        assert a.status == 503 and j["error"] == "credential_unavailable" and not a.get("retry-after"), a
        assert "route lost" in j["reason"] and "NONO_TEST_LOST is not set" in j["reason"] and "start the gateway anew" in j["reason"]
        assert one(g, ask(g, "/lost/x", token=False)).status == 401  # C1
        assert one(g, ask(g, "/svc/x")).status == 200
        assert [r["target"] for r in local.seen] == ["/x"]
        assert until(lambda: "WARN credential lost: the environment variable NONO_TEST_LOST is not set" in g.stderr)
        assert "SVC_KEY=" in g.banner and "LOST_KEY=" not in g.banner
        assert "creds: env://NONO_TEST_KEY \u2713, env://NONO_TEST_LOST \u2717 (credential_not_found) | intercept: off |" in g.banner


def test_case78_a_row_names_every_credential_that_cannot_be_used(tmp_path, local):
    services = {"svc": service(local)} | {f"x{i}": service(local, credential_key=f"env://NONO_TEST_X{i // 2}", env_var=f"X{i}") for i in range(14)}
    with gate(tmp_path, services) as g:
        lost = ", ".join(f"env://NONO_TEST_X{i} \u2717 (credential_not_found)" for i in range(5))
        assert f"creds: env://NONO_TEST_KEY \u2713, {lost} and 2 more | intercept" in g.banner, g.banner


def test_case6_C3_browser_guard_without_authentication(tmp_path, local):
    with gate(tmp_path, {"svc": service(local)}, auth=False) as g:
        def status(host=f"127.0.0.1:{g.port}", origin=None):
            return one(g, f"GET /svc/x HTTP/1.1\r\nHost: {host}\r\n" + (f"Origin: {origin}\r\n" if origin else "") + "\r\n").status
        assert [status(), status(host="localhost:1"), status(host="host.docker.internal"), status(origin=f"http://127.0.0.1:{g.port}")] == [200] * 4
        assert [status(origin="https://evil.test"), status(origin="null"), status(host="evil.test")] == [403] * 3
        assert len(local.seen) == 4 and all(r["h"]["authorization"] == f"Bearer {SECRET}" for r in local.seen)


@pytest.mark.parametrize("mode,schemes", [("header", ["Bearer"]), ("basic_auth", ["Basic", "Bearer"])])
def test_C4a_the_challenge_is_the_same_for_every_prefix(tmp_path, local, mode, schemes):
    """git shows no login before it is asked for Basic; skopeo takes the first scheme that it knows, and takes a Bearer realm for an address:
    where a route takes its token as Basic password, Basic comes first, on every path alike."""
    with gate(tmp_path, {"svc": service(local, inject_mode=mode)}, secret="user:" + SECRET) as g:
        for path in ("/svc/x", "/nosuch/x"):
            a = one(g, ask(g, path, token=False), closes=False)
            assert a.status == 401, a
            assert [v for k, v in a.headers if k.lower() == "www-authenticate"] == [f'{s} realm="nono"' for s in schemes], a


@pytest.mark.parametrize("upstream", ["http://api.test", "http://10.55.0.1:8080", "http://0.0.0.1:80", "ftp://127.0.0.1"])
def test_case89_plain_http_beyond_loopback_is_no_upstream(tmp_path, local, upstream):
    code, _, err = run("proxy", "--port", "0", "-p", profile(tmp_path, {"svc": service(local, upstream=upstream)}), env={"NONO_TEST_KEY": SECRET})
    assert code == 1 and "svc" in err and SECRET not in err, (code, err)


@pytest.mark.parametrize("flags", [(), ("--allow-domain", "0.0.0.0", "--allow-domain", "*")])
def test_case89_the_unspecified_address_is_refused(tmp_path, local, flags):
    with gate(tmp_path, {"svc": service(local, upstream=f"http://0.0.0.0:{local.port}")}, *flags) as g:
        a = one(g, ask(g, "/svc/x", extra=JSON))
        j = json.loads(a.body)
        assert a.status // 100 in (4, 5) and "svc" in j["reason"] and not local.seen, a
        x = g.records(1)[0]
        assert x["route_id"] == "svc" and x["reason"] == j["reason"] and x["upstream"] == f"http://0.0.0.0:{local.port}", x
        if not flags:
            assert a.status == 403 and "127.0.0.1" in j["remedy"] and "0.0.0.0" in j["reason"], j


def test_case95_allow_endpoint(tmp_path, local):
    with gate(tmp_path, {"svc": service(local), "other": service(local)}, "--allow-endpoint", "svc:GET:/ok/**") as g:
        assert [one(g, ask(g, p, m), m).status for p, m in (("/svc/ok/1", "GET"), ("/svc/ok/1", "DELETE"), ("/svc/no", "GET"), ("/other/no", "GET"))] == \
            [200, 403, 403, 200]
        assert [r["target"] for r in local.seen] == ["/ok/1", "/no"]


@pytest.mark.parametrize("value", ["svc:GET", "nosuch:GET:/x", ":GET:/x", "svc:GET:x"])
def test_case95_allow_endpoint_mistakes_end_the_start(tmp_path, local, value):
    code, _, err = run("proxy", "--port", "0", "-p", profile(tmp_path, {"svc": service(local)}), "--allow-endpoint", value, env={"NONO_TEST_KEY": SECRET})
    assert code == 1 and err and SECRET not in err, (code, err)


def test_case95_credential_by_flag_and_by_environment(tmp_path, local):
    services = {n: service(local) for n in "abc"}
    with gate(tmp_path, services, "--credential", "a", "--credential", "b", asked=[]) as g:
        assert [one(g, ask(g, f"/{n}/x")).status for n in "abc"] == [200, 200, 404]
    with gate(tmp_path, services, asked=[], env={"NONO_CREDENTIAL": "b,c"}) as g:
        assert [one(g, ask(g, f"/{n}/x")).status for n in "abc"] == [404, 200, 200]


def test_case95_a_credential_asked_for_twice_is_one_route():
    for args, env in ((["--credential", "github", "--credential", "gitlab", "--credential", "github"], {}), ([], {"NONO_CREDENTIAL": "github,gitlab,github"})):
        with Gateway(*args, env={"GITHUB_TOKEN": SECRET} | env, secrets=[SECRET]) as g:
            assert re.findall(r"^    (https://\S+) \|", g.banner, re.M) == ["https://api.github.com", "https://gitlab.com/api"]


def test_case94_a_rate_limit_leaves_other_routes_alone(tmp_path, local):
    rate = {"requests_per_minute": 1, "burst": 1, "max_delay_secs": 0}
    with gate(tmp_path, {"svc": service(local, rate_limit=rate), "other": service(local)}, "--workers", "2") as g:
        answers = [one(g, ask(g, "/svc/x")) for _ in range(4)]
        assert [a.status for a in answers] == [200, 429, 429, 429] and all(int(a.get("retry-after")) >= 1 for a in answers[1:])
        assert [one(g, ask(g, "/other/x")).status for _ in range(4)] == [200] * 4
        assert len(local.seen) == 5


# ---------------------------------------------------------------- forward proxy to a credential host

def test_case73_absolute_form_to_a_plain_route(tmp_path, local):
    services = {"svc": service(local, upstream=f"http://{local.netloc}/base")}
    with gate(tmp_path, services) as g:
        a = one(g, get(f"http://{local.netloc}/base/q", auth=g.basic, extra="Authorization: Bearer mine\r\n"))
        assert a.status == 200 and [(r["target"], r["h"]["authorization"]) for r in local.seen] == [("/base/q", f"Bearer {SECRET}")]
        assert one(g, get(f"http://{local.netloc}/base/{g.token}", auth=g.basic)).status == 400
        assert one(g, get(f"http://{local.netloc}/base/q")).status == 407
        assert len(local.seen) == 1 and "proxy-authorization" not in local.seen[0]["h"]


def test_absolute_form_to_a_path_route(tmp_path, local):
    with gate(tmp_path, {"svc": service(local, inject_mode="url_path", path_pattern="/bot{}/")}) as g:
        assert one(g, get(f"http://{local.netloc}/bot{g.token}/z?x=1", auth=g.basic)).status == 200
        assert [r["target"] for r in local.seen] == [f"/bot{SECRET}/z?x=1"]


def test_K1_connect_to_a_credential_host_is_503(tmp_path, ca):
    with Origin(tls=ca.server("origin.test")) as o:
        services = {"svc": service(o, upstream=f"https://origin.test:{o.port}")}
        with gate(tmp_path, services, "--allow-domain", "origin.test", env={"SSL_CERT_FILE": ca.pem}) as g:
            assert one(g, connect_head(f"origin.test:{o.port}", g.basic), "CONNECT").status == 503
            assert one(g, connect_head(f"origin.test:{o.port}"), "CONNECT").status == 407
            assert not o.connections
            assert one(g, get(f"https://origin.test:{o.port}/q", auth=g.basic)).status == 200
            assert one(g, ask(g, "/svc/q")).status == 200
            assert [r["h"]["authorization"] for r in o.seen] == [f"Bearer {SECRET}"] * 2


# ---------------------------------------------------------------- TLS of a route

def test_case61_tls_ca_and_client_certificate(tmp_path, ca):
    (tmp_path / "own").mkdir()
    own = CA(tmp_path / "own")
    crt, key = own.leaf("client", usage="clientAuth")
    with Origin(tls=own.server("origin.test")) as private, Origin(tls=own.server("origin.test", client_ca=own.pem)) as mutual:
        def to(o, **more):
            return service(o, upstream=f"https://origin.test:{o.port}", **more)
        pair = {"tls_client_cert": crt, "tls_client_key": key}
        services = {"priv": to(private, tls_ca=own.pem), "stranger": to(private), "mtls": to(mutual, tls_ca=own.pem, **pair),
                    "bare": to(mutual, tls_ca=own.pem)}
        with gate(tmp_path, services, "--workers", "1", env={"SSL_CERT_FILE": ca.pem}) as g:
            assert one(g, ask(g, "/priv/x")).status == 200
            assert one(g, ask(g, "/stranger/x")).status == 502 and len(private.seen) == 1
            parallel = [threading.Thread(target=one, args=(g, ask(g, "/mtls/x"))) for _ in range(4)]
            for t in parallel:
                t.start()
            for t in parallel:
                t.join()
            assert one(g, ask(g, "/mtls/x")).status == 200 and len(mutual.seen) == 5
            assert one(g, ask(g, "/bare/x")).status == 502 and len(mutual.seen) == 5


def test_case61_half_a_pair_ends_the_start(tmp_path, ca, local):
    crt, _ = ca.leaf("client", usage="clientAuth")
    services = {"svc": service(local, upstream="https://origin.test", tls_client_cert=crt)}
    code, _, err = run("proxy", "--port", "0", "-p", profile(tmp_path, services), env={"NONO_TEST_KEY": SECRET})
    assert code == 1 and "tls_client_key" in err, (code, err)


# ---------------------------------------------------------------- long ones

def test_case72_websocket_through_a_route(tmp_path):
    def serve(conn, origin):
        r, rest = read_request(conn)
        origin.seen.append(r)
        conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02hi")
        while d := rest or conn.recv(1000):
            conn.sendall(d)
            rest = b""
    rules = {"default": {"decision": "deny"}, "allow": [{"method": "GET", "path": "/ws"}]}
    with Origin(serve, host=LOCAL) as o, gate(tmp_path, {"svc": service(o, endpoint_policy=rules)}) as g:
        with g.connect() as c:
            c.send(ask(g, "/svc/ws", extra=WS))
            assert c.response().status == 101 and c.exactly(4) == b"\x81\x02hi"
            assert c.send(b"\x81\x82abcdef").exactly(8) == b"\x81\x82abcdef"
        assert one(g, ask(g, "/svc/other", extra=WS)).status == 403
        assert one(g, ask(g, "/svc/ws", extra=WS, token=False)).status == 401
        assert [r["h"]["authorization"] for r in o.seen] == [f"Bearer {SECRET}"]


def test_case99_events_pass_at_once(tmp_path):
    go = [threading.Event() for _ in range(3)]

    def serve(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i, e in enumerate(go):
            conn.sendall(b"9\r\ndata: %d\n\n\r\n" % i)
            e.wait(10)
        conn.sendall(b"0\r\n\r\n")
    with Origin(serve, host=LOCAL) as o, gate(tmp_path, {"svc": service(o)}) as g, g.connect() as c:
        c.send(ask(g, "/svc/sse"))
        assert c.head().get("content-type") == "text/event-stream"
        for i, e in enumerate(go):  # the next one is sent only after this one was read
            assert int(c.line(), 16) == 9 and c.exactly(11) == b"data: %d\n\n\r\n" % i
            e.set()
        assert c.line() == b"0" and c.line() == b""
