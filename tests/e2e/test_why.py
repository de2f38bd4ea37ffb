"""`nono why`: what it says, how it is asked, and that it says what the running gateway does."""
import json
import random
import socket
import subprocess
import threading

import pytest
from gateway import BINARY, Gateway, clean_env, connect_head, one, run


def why(*args, stdin="", env=None):
    p = subprocess.run([BINARY, "why", *args], input=stdin, capture_output=True, text=True, timeout=60, env=clean_env(env))
    return p.returncode, p.stdout, p.stderr


def why_json(*args, **kw):
    code, out, err = why("--json", *args, **kw)
    return code, json.loads(out)


RULES = {"network": {"allow_domain": ["plain.test", {"domain": "docs.test", "endpoints": [{"method": "GET", "path": "/manual/*"}]},
                                      {"domain": "http://127.0.0.1:8080", "endpoints": [{"method": "*", "path": "/x"}]}],
                     "deny_domain": ["evil.test"], "credentials": ["svc"],
                     "custom_credentials": {"svc": {"upstream": "https://cred.test/v1", "credential_key": "env://K", "inject_header": "X-Key"}}}}


@pytest.fixture()
def rules(tmp_path):
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(RULES, indent=1))
    return str(path)


# ---- one question (W1)

def test_text_begins_with_the_verdict_then_rule_place_sentence_remedy():
    code, out, err = why("--host", "a.test", "--allow-domain", "b.test")
    lines = out.splitlines()
    assert code == 1 and not err
    assert lines[0] == "DENIED CONNECT a.test:443"
    assert [line.split()[0] for line in lines[1:]] == ["rule:", "why:", "remedy:"]
    assert "default-deny" in lines[1] and "--allow-domain a.test" in lines[3] and "allow_domain" in lines[3]
    code, out, err = why("--host", "b.test:8443", "--allow-domain", "b.test")
    lines = out.splitlines()
    assert code == 0 and lines[0] == "ALLOWED CONNECT b.test:8443"
    assert "allow:b.test" in lines[1] and lines[2].split() == ["place:", "--allow-domain"]


def test_places_are_of_the_file(rules):
    code, a = why_json("--profile", rules, "--host", "evil.test")
    line = next(i for i, text in enumerate(open(rules), 1) if '"evil.test"' in text)
    assert code == 1 and a["rule"] == "deny:evil.test"
    assert a["origin"].startswith(f"{rules}:{line}:")


def test_every_member_is_there(rules):
    code, a = why_json("-p", rules, "--url", "http://127.0.0.1:8080/x?x=1")
    assert code == 0 and {"host", "port", "method", "path", "allowed", "verdict", "rule", "origin", "reason", "remedy", "route", "credential"} <= set(a)
    assert (a["host"], a["port"], a["method"], a["path"], a["allowed"], a["verdict"]) == ("127.0.0.1", 8080, "GET", "/x", True, "allow")
    assert a["route"] and a["credential"] is None and "[* /x]" in a["rule"]


def test_method_get_and_port_443_unless_given(rules):
    for args, want in ((("--host", "plain.test", "--path", "/manual/a"), ("GET", 443, True)),
                       (("--host", "docs.test", "--path", "/manual/a", "--method", "POST"), ("POST", 443, False)),
                       (("--url", "http://plain.test/x"), ("GET", 80, True)),
                       (("--host", "plain.test:80", "--path", "/x"), ("GET", 80, True)),
                       (("--host", "127.0.0.1:8080", "--path", "/x"), ("GET", 8080, True)),  # the scheme is the route's
                       (("--host", "127.0.0.1:8080", "--path", "/y"), ("GET", 8080, False))):
        _, a = why_json("-p", rules, *args)
        assert (a["method"], a["port"], a["allowed"]) == want, args


def test_a_host_with_rules_asked_without_a_path_is_its_connect_with_the_rules(rules):
    code, a = why_json("-p", rules, "--host", "docs.test")
    assert code == 1 and a["method"] == "CONNECT" and a["path"] is None
    assert a["verdict"] == "intercept" and not a["allowed"] and "not available in this version" in a["reason"]
    assert [(r["action"], r["method"], r["path"]) for r in a["rules"]] == [("allow", "GET", "/manual/*")] and a["default"] == "deny"
    code, out, _ = why("-p", rules, "--host", "docs.test")
    assert out.startswith("DENIED") and "GET /manual/*" in out and "everything else" in out


def test_a_pattern_that_would_match_if_the_star_crossed_is_shown(rules):
    code, out, _ = why("-p", rules, "--url", "https://docs.test/manual/a/b")
    assert code == 1 and "/manual/**" in out


def test_a_credential_is_named_with_its_place_and_never_read(rules):
    for env in ({}, {"K": "hush-hush"}):
        code, a = why_json("-p", rules, "--url", "/svc/x", env=env)
        assert a["credential"] == "svc" and a["credential_place"] == "header X-Key" and a["route"] == "svc"
        assert code == 0 and a["allowed"]  # W1: whether the secret is there does not change the verdict
        assert (a["host"], a["port"], a["path"], a["method"]) == ("cred.test", 443, "/x", "GET")
        assert "hush" not in json.dumps(a)
        assert any("variable K is not set here" in n for n in a["notes"]) == (not env)
    out = why("-p", rules, "--url", "/svc/x")[1]
    assert out.startswith("ALLOWED GET /svc/x\n") and "svc, header X-Key" in out and "note:" in out


def test_https_is_judged_with_the_connect_that_a_client_opens_for_it(rules):
    """P1-1: what the gateway refuses must not be ALLOWED; the request line itself, as METHOD URL, is judged alone."""
    for args, route, remedy in ((("--url", "https://docs.test/manual/a"), "_ep_docs.test", "allow the whole host"),
                                (("--host", "docs.test", "--path", "/manual/a"), "_ep_docs.test", "allow the whole host"),
                                (("--url", "https://cred.test/v1/x"), "svc", "http://GATEWAY/svc")):
        code, a = why_json("-p", rules, *args)
        assert code == 1 and not a["allowed"] and a["verdict"] == "intercept" and a["route"] == route and a["rule"] == f"route:{route}", a
        assert "not available in this version" in a["reason"] and remedy in a["remedy"], a
        assert a["credential"] == ("svc" if route == "svc" else None)
        with Gateway("-p", rules, auth=False) as g:
            assert ask_gateway(g, f"CONNECT {a['host']}:443") == 503
    assert why("-p", rules, "--url", "https://plain.test/")[0] == 0
    assert "allowed" not in why_json("-p", rules, "--url", "https://docs.test/other")[1]["reason"]  # the request itself is refused
    assert [a["verdict"] for a in why_json("-p", rules, "--host", "-", stdin="https://docs.test/manual/a\nGET https://docs.test/manual/a\n")[1]] == ["intercept", "allow"]


def test_a_path_is_asked_of_the_gateway_itself(rules):
    for url, code, says in (("/svc", 0, "header X-Key"), ("/nope/x", 1, "no service 'nope'"), ("/", 1, "this is the nono gateway:"), ("/svc/a b", 1, "blank")):
        got = why("-p", rules, "--url", url)
        assert got[0] == code and says in got[1], got
    out = why("-p", rules, "--url", "http://127.0.0.1:9999/svc/x")[1]
    assert "ask with --url /svc/x" in out
    with Gateway("-p", rules, auth=False) as g:
        for url in ("/nope/x", "/"):
            _, a = why_json("-p", rules, "--url", url)
            before = len(g.records())
            assert ask_gateway(g, f"GET {url}") == 404
            assert g.records(before + 1)[before]["reason"] == a["reason"]


def test_K13_is_said_and_no_place_is_promised(tmp_path):
    p = tmp_path / "p.json"
    p.write_text(json.dumps({"network": {"credentials": ["aws"], "custom_credentials": {"aws": {"upstream": "https://s3.us-east-1.amazonaws.com", "aws_auth": {}}}}}))
    for args in (("--url", "/aws/x"), ("--url", "https://s3.us-east-1.amazonaws.com/x"), ("--host", "s3.us-east-1.amazonaws.com")):
        code, a = why_json("-p", str(p), *args)
        assert code == 1 and a["verdict"] == "deny" and "not in this version" in a["reason"] and a["credential"] == "aws" and "credential_place" not in a, a


def test_case_68_rivals_are_told_of(tmp_path):
    p = tmp_path / "p.json"
    p.write_text(json.dumps({"network": {"credentials": ["a", "b"], "custom_credentials": {
        n: {"upstream": "https://api.test", "credential_key": "env://K", "env_var": f"KEY_{n.upper()}"} for n in "ab"}}}))
    for mine, other in ("ab", "ba"):
        code, a = why_json("-p", str(p), "--url", f"/{mine}/x")
        assert code == 0 and a["credential"] == mine and any(f'"{other}"' in n and "403" in n for n in a["notes"]), a
    code, a = why_json("-p", str(p), "--host", "-", stdin="GET https://api.test/x")
    assert code == 1 and "fit this request equally" in a[0]["reason"]


def test_names_that_were_not_looked_up_are_noted():
    assert "--resolve" in why("--host", "a.test")[1]
    for args in (("--host", "10.1.2.3"), ("--host", "origin.test", "--resolve"), ("--host", "a.test", "--deny-domain", "a.test"), ("--host", "a.test", "--upstream-proxy", "p.test:1")):
        assert "--resolve" not in why(*args)[1], args


def test_a_question_without_its_option_is_understood():
    assert "did you mean --host?" in why("github.com")[2] and "did you mean --url?" in why("https://github.com/x")[2]


def test_what_the_gateway_answers_with_400_is_denied():
    for host in ("127.1", "0x7f.1", "a..test", "a_b.9", "a.test:0", "[::1"):
        code, a = why_json("--host", host)
        assert code == 1 and not a["allowed"] and a["rule"] == "malformed" and a["reason"], host
    for url in ("ftp://a.test/", "https://u@a.test/", "https://a.test/#x", "https://a.test:0/"):
        assert why_json("--url", url)[1]["rule"] == "malformed", url


def test_the_policy_options_and_their_variables_count():
    assert why("--host", "a.test", env={"NONO_DENY_DOMAIN": "a.test"})[0] == 1
    assert why("--host", "a.test", env={"NONO_ALLOW_DOMAIN": "b.test"})[0] == 1
    assert why("--host", "a.test", "--allow-domain", "a.test", env={"NONO_ALLOW_DOMAIN": "b.test"})[0] == 0
    assert why("--host", "api.openai.com", "--network-profile", "minimal")[0] == 0
    assert why("--host", "a.test", "--network-profile", "minimal")[0] == 1
    assert why("--host", "a.test", env={"NONO_PORT": "rubbish", "NONO_LISTEN": "rubbish"})[0] == 0
    assert why("--host", "10.0.0.1", "--deny-domain", "private")[0] == 1


def test_a_credential_asked_for_by_a_flag(rules):
    code, a = why_json("--credential", "github", "--url", "/github/user")
    assert code == 0 and a["route"] == "github" and a["credential"] == "github" and a["credential_place"] == "header Authorization"
    assert why("--host", "api.github.com", env={"NONO_CREDENTIAL": "github"})[0] == 1
    assert why("--host", "other.test", "--credential", "github")[0] == 0  # a credential alone does not make a list
    code, _, err = why("--host", "a.test", "--credential", "no-such")
    assert code == 2 and "no-such" in err and "openai" in err


def test_usage_and_configuration_errors_are_2(tmp_path, rules):
    bad = tmp_path / "bad.json"
    bad.write_text('{"network": {"alow_domain": []}}')
    for args in ((), ("--host", "a", "--url", "http://a/"), ("--url", "http://a/", "--path", "/"), ("--host", "a", "--method", "GET"),
                 ("--host", ""), ("--host", "-", "--path", "/"), ("--host", "a", "--port", "1"), ("--host", "a", "--extends", "x"),
                 ("--host", "a", "--allow-domain", "*corp"), ("--host", "a", "-p", "no-such"), ("--host", "a", "-p", str(bad)),
                 ("--host", "a", "--upstream-bypass", "x"), ("--host", "a", "--network-profile", "no-such")):
        code, out, err = why(*args)
        assert code == 2 and not out and err.startswith("nono: "), args
    code, _, err = why("--host", "a", "-p", str(bad))
    assert f"{bad}:1:14" in err and "allow_domain" in err


# ---- many

def test_one_line_for_each_line(rules):
    lines = ["plain.test", "", "# a comment", "plain.test:80", "GET https://docs.test/manual/a", "POST https://docs.test/manual/a", "https://plain.test/",
             "CONNECT evil.test:443", "127.1", "  plain.test  ", "TRACE http://plain.test/", "B@D http://plain.test/"]
    want = ["ALLOWED", "ALLOWED", "ALLOWED", "DENIED", "ALLOWED", "DENIED", "DENIED", "ALLOWED", "DENIED", "DENIED"]
    for end in ("\n", "\r\n", ""):
        code, out, err = why("-p", rules, "--host", "-", stdin="\n".join(lines) + end)
        assert code == 1 and [line.split()[0] for line in out.splitlines()] == want, out
    code, a = why_json("-p", rules, "--host", "-", stdin="\n".join(lines))
    assert code == 1 and ["ALLOWED" if x["allowed"] else "DENIED" for x in a] == want
    assert why("--host", "-", stdin="a.test\nb.test")[0] == 0
    assert why_json("--host", "-", stdin="") == (0, [])


def test_answers_come_while_questions_are_asked():
    p = subprocess.Popen([BINARY, "why", "--host", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_env())
    watchdog = threading.Timer(20, p.kill)
    watchdog.start()
    try:
        for host in ("a.test", "169.254.169.254"):
            p.stdin.write(host + "\n")
            p.stdin.flush()
            assert host in p.stdout.readline()
        p.stdin.close()
        assert p.wait(10) == 1
    finally:
        watchdog.cancel()
        p.kill()


def test_many_questions_are_quick():
    text = "".join(f"GET http://h{i}.test/\n" for i in range(50000))
    code, out, _ = why("--allow-domain", "*.test", "--host", "-", stdin=text)
    assert code == 0 and out.count("\n") == 50000


# ---- names

def test_names_are_resolved_only_when_asked():
    assert why("--host", "rebind.test")[0] == 0
    code, a = why_json("--host", "rebind.test", "--resolve")
    assert code == 1 and a["rule"] == "floor:loopback" and "127.0.0.1" in a["reason"]
    assert why_json("--host", "meta.test", "--resolve")[1]["rule"].startswith("floor:")
    assert why("--host", "origin.test", "--resolve")[0] == 0
    assert why("--host", "origin.test", "--resolve", "--deny-domain", "10.55.0.0/16")[0] == 1
    assert why("--host", "rebind.test", "--resolve", "--upstream-proxy", "127.0.0.1:1")[0] == 0  # the upstream proxy resolves
    assert why("--host", "localhost", "--resolve", "--allow-domain", "localhost")[0] == 0
    assert why("--host", "no-such-name.test", "--resolve")[0] == 1


# ---- why and the gateway agree

NAMES = ["a.test", "b.a.test", "c.b.a.test", "docs.test", "x.docs.test", "cred.test", "origin.test", "six.test", "rebind.test", "meta.test", "localhost",
         "metadata.google.internal", "B\u00dcCHER.test", "under_score.test", "A.TEST.", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "10.55.0.1", "10.1.2.3",
         "[fd55::1]", "169.254.169.254", "[fe80::1]", "100.100.100.200", "224.0.0.1", "0.0.0.0", "127.1", "a..test", "1.2.3", "-", "[::1"]
ENTRIES = ["a.test", "*.a.test", "b.a.test:443", "docs.test", "*.docs.test:8443", "*.test", "*", "*:443", "localhost", "127.0.0.0/8", "127.0.0.1", "10.0.0.0/8",
           "10.1.2.3:80", "[::1]", "fd00::/8", "b\u00fccher.test", "origin.test", "private", "loopback", "github", "100.100.100.200", "http://a.test", "rebind.test:80"]
PATTERNS = ["/**", "/a/*", "/a/**", "/a/b", "/{a,b}/c", "/a?", "/[a-c]/x", "**/z", "/a%20b", "/*/z"]
PATHS = ["/", "/a", "/a/b", "/a/b/c", "//a//b/", "/b/c", "/ab", "/c/x", "/q/z", "/z", "/a%20b", "/a%2Fb", "/a/../b", "/a/%2e%2e/b", "/a/./b", "/a\\b", "/a%00", "/a%5cb",
         "/a%zz", "/v1/a/b", "/v1", "/a/b?x=1", "/b/q/z"]
METHODS = ["GET", "GET", "POST", "DELETE", "OPTIONS", "get", "TRACE"]


def some(r, of, most):
    return r.sample(of, r.randint(0, most))


def rules_of(r):
    return [{"method": r.choice(["GET", "POST", "*"]), "path": r.choice(PATTERNS)} for _ in range(r.randint(1, 3))]


def random_profile(r):
    network = {"allow_domain": some(r, ENTRIES, 5), "deny_domain": some(r, ENTRIES[:-2], 2)}
    for host in some(r, ["docs.test", "*.docs.test", "a.test:8443", "http://127.0.0.1:8080", "origin.test", "http://b.a.test"], 3):
        network["allow_domain"].append({"domain": host, "endpoints": rules_of(r)})
    if r.random() < 0.4:
        network["credentials"] = ["svc"]
        policy = {"default": r.choice(["deny", "approve", "allow"]), **{k: rules_of(r) for k in some(r, ["deny", "approve", "allow"], 3)}}
        network["custom_credentials"] = {"svc": {"upstream": r.choice(["https://cred.test", "https://cred.test/v1", "https://a.test"]), "credential_key": "env://NO_SUCH",
                                                 **r.choice([{}, {"endpoint_rules": rules_of(r)}, {"endpoint_policy": policy}])}}
    if r.random() < 0.2:
        network["block"] = True
    if r.random() < 0.3:
        network["endpoint_glob"] = "path"
    if r.random() < 0.3:
        network["network_profile"] = "minimal"
    return {"network": network}


GATED = ["docs.test", "x.docs.test", "a.test:8443", "127.0.0.1:8080", "origin.test", "b.a.test", "cred.test", "a.test"]


def random_question(r):
    """Half of them for hosts that profiles like to gate, at their own port."""
    port = r.choice(["", ":80", ":443", ":8080", ":8443"])
    host = r.choice(NAMES)
    if r.random() < 0.5:
        host, port = r.choice(GATED), ""
        scheme = "http" if "127" in host or host == "b.a.test" else "https"
        return f"{r.choice(METHODS[:5])} {scheme}://{host}{r.choice(PATHS)}"
    if r.random() < 0.3:
        return f"CONNECT {host}{port or ':443'}"
    return f"{r.choice(METHODS)} {r.choice(['http', 'https'])}://{host}{port}{r.choice(PATHS)}"


def ask_gateway(g, question):
    """The status that the gateway answers this request with."""
    method, target = question.split(" ", 1)
    host = target.split("://")[-1].split("/")[0] or "x"
    with socket.create_connection(("127.0.0.1", g.port), 20) as s:
        s.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while b"\r\n" not in data:
            more = s.recv(65536)
            assert more, question
            data += more
    return int(data.split()[1])


def expected_status(a):
    """What the gateway says when `why` is right. 502: it was let through, and nobody is there."""
    if "approval back end" in a["reason"]:
        return {403, 503}  # nobody is there to grant it; or the secret is missing, and nobody is asked
    if a["allowed"] and a["credential"]:
        return {502, 503, 204} if a["method"] == "OPTIONS" else {502, 503}  # 503: the secret is missing
    if a["allowed"]:
        return {502, 204} if a["method"] == "OPTIONS" else {502}
    if a["verdict"] == "intercept" or "not in this version" in a["reason"] and "credential" in a["reason"]:
        return {503}
    if a["rule"] in ("malformed", "malformed-path"):
        return {400}
    if a["rule"].startswith("dns"):
        return {502}
    return {403}


class Closed:
    """An upstream proxy that hangs up on everybody: what is allowed ends in a 502 and sends nothing anywhere."""

    def __enter__(self):
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=256)
        threading.Thread(target=self._serve, daemon=True).start()
        return f"127.0.0.1:{self.sock.getsockname()[1]}"

    def _serve(self):
        while True:
            try:
                self.sock.accept()[0].close()
            except OSError:
                return

    def __exit__(self, *_):
        self.sock.close()


def agree(g, args, questions):
    _, answers = why_json(*args, "--host", "-", stdin="\n".join(questions))
    assert len(answers) == len(questions)
    before, wrong = len(g.records()), []
    for q, a in zip(questions, answers):
        status = ask_gateway(g, q)
        if status not in expected_status(a):
            wrong.append((q, status, a))
    assert not wrong, (wrong[:3], len(wrong))
    records = g.records(before + len(questions))[before:]
    for q, a, rec in zip(questions, answers, records):
        if a["rule"] in ("malformed", "malformed-path") or a["rule"].startswith("dns"):
            continue
        assert rec.get("rule") == a["rule"], (q, rec, a)
        assert rec.get("rule_origin") == a["origin"], (q, rec, a)
        if not a["allowed"]:
            assert a["reason"] == rec["reason"], (q, rec, a)


def test_case_130_long_sentences_are_the_same_for_the_client_the_record_and_why(tmp_path):
    """Also what the profile gives as a reason: in full, without the controls that JSON allows in it."""
    host, profile = "a" * 50 + ".origin.test", tmp_path / "profile.json"
    rules = {"deny": [{"method": "*", "path": "/told", "reason": "ask für ✓ " + "y" * 160 + "\r\nX: \x1b[1m\x9b1m end"}],
             "allow": [{"method": "GET", "path": "/organisations/*/repositories/pull-requests/reviews/comments"}]}
    profile.write_text(json.dumps({"network": {
        "allow_domain": [f"https://{host}/x"], "credentials": ["svc"],
        "custom_credentials": {"svc": {"upstream": "http://127.0.0.1:9", "credential_key": "env://K", "endpoint_policy": rules}}}}))
    base = "http://127.0.0.1:9"
    with Gateway("--profile", str(profile), auth=False, env={"K": "k" * 20}) as g:
        for path in ("/told", "/organisations/a/b/repositories/pull-requests/reviews/comments"):
            n = len(g.records())
            a = json.loads(one(g, f"GET /svc{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").body)
            told = why_json("--profile", str(profile), "--url", base + path)[1]
            assert a["reason"] == g.records(n + 1)[-1]["reason"] == told["reason"] and len(told["reason"]) > 160, (a, told)
            assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in a["reason"]) and a["reason"].endswith((" end", "/reviews/comments")), a
        n = len(g.records())
        a = one(g, connect_head(f"{host}:443"), "CONNECT")
        told = why_json("--profile", str(profile), "--host", host)[1]
        assert a.reason.partition(": ")[2] == g.records(n + 1)[-1]["reason"] == told["reason"] and len(told["reason"]) > 160, (a, told)


@pytest.mark.parametrize("seed", range(10))
def test_why_says_what_the_gateway_does(seed, tmp_path):
    r = random.Random(f"why-{seed}")
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(random_profile(r), indent=1))
    args = ["--profile", str(profile)]
    for entry in some(r, ENTRIES, 2):
        args += ["--allow-domain", entry]
    questions = [random_question(r) for _ in range(300)]
    with Closed() as proxy:
        args += ["--upstream-proxy", r.choice(["", "http://", "socks5h://"]) + proxy]
        with Gateway(*args, "--workers", "1", auth=False) as g:  # one worker: records in order
            agree(g, args, questions)


def test_why_resolves_as_the_gateway_does(tmp_path):
    """Without upstream proxy: names of the hosts file, judged by their addresses. Ports where nobody listens."""
    r = random.Random("resolve")
    names = ["rebind.test", "meta.test", "origin.test", "six.test", "localhost", "six-loopback.test", "both.test", "second.test"]
    for entries in ([], ["origin.test", "rebind.test"], ["*", "127.0.0.0/8"], ["localhost", "*.test"], ["*", "[::1]"]):
        args = [x for e in entries for x in ("--allow-domain", e)] + ["--deny-domain", "10.55.0.2"]
        questions = [f"CONNECT {n}:{p}" for n in names for p in (81, 443)] + [f"GET http://{r.choice(names)}:81/" for _ in range(10)]
        with Gateway(*args, auth=False) as g:
            _, answers = why_json(*args, "--resolve", "--host", "-", stdin="\n".join(questions))
            wrong = [(q, s, a) for q, a in zip(questions, answers) if (s := ask_gateway(g, q)) not in expected_status(a)]
        assert not wrong, wrong[:3]


def test_help_of_why():
    code, out, _ = run("why", "--help")
    assert code == 0 and all(o in out for o in ("--host", "--url", "--method", "--path", "--resolve", "--json", "--profile", "--deny-domain"))
