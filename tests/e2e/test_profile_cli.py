"""`nono profile …`: validate, show, list, init, schema, diff, test; and what `nono proxy` tells of a profile."""
import json
import os
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest
from gateway import BINARY, Gateway, clean_env


@pytest.fixture()
def home(tmp_path):
    (tmp_path / "cfg/nono/profiles").mkdir(parents=True)
    return tmp_path


def nono(home, *args, env=None, cwd=None):
    p = subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, cwd=cwd or home,
                       env=clean_env({"HOME": str(home), "XDG_CONFIG_HOME": str(home / "cfg")} | (env or {})))
    assert "Sanitizer" not in p.stderr and "runtime error" not in p.stderr, p.stderr[-3000:]
    return p.returncode, p.stdout, p.stderr


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text, indent=1))
    return str(path)


def user(home, name, text):
    return write(home / f"cfg/nono/profiles/{name}.json", text)


# ---- validate

BAD = """{
  "network": {
    "alow_domain": ["a.test"],
    "allow_domain": ["*corp", "a.test:0", { "domain": "b.test", "endpoints": [{ "method": "GET", "path": "/[a" }] }],
    "deny_domain": "x",
    "credentials": ["no-such-service"]
  },
  "nonsense": 1
}
"""


def places(text, file):
    return [(int(m[1]), int(m[2])) for m in re.finditer(rf"^\[err\] {re.escape(file)}:(\d+):(\d+): ", text, re.M)]


def test_validate_finds_everything_with_its_place(home):
    file = write(home / "bad.json", BAD)
    code, out, err = nono(home, "profile", "validate", file)
    assert code == 1 and not err and "[ok]" not in out
    got = places(out, file)
    for want in ((3, 5), (4, 22), (4, 31), (4, 106), (5, 20), (6, 21), (8, 3)):
        assert want in got, (want, out)
    assert '"allow_domain"' in next(line for line in out.splitlines() if ":3:5:" in line)


def test_validate_json(home):
    file = write(home / "bad.json", BAD)
    code, out, _ = nono(home, "profile", "validate", "--json", file)
    r = json.loads(out)
    assert code == 1 and r["file"] == file and r["valid"] is False and r["warnings"] == []
    assert len(r["errors"]) >= 7 and all(set(e) == {"file", "line", "column", "pointer", "message", "hint"} for e in r["errors"])
    e = next(e for e in r["errors"] if e["line"] == 3)
    assert (e["file"], e["column"], e["pointer"]) == (file, 5, "/network/alow_domain") and "allow_domain" in e["message"]


def test_validate_many_names_and_paths(home):
    user(home, "good", {"network": {"allow_domain": ["a.test"]}})
    bad = write(home / "bad.json", BAD)
    code, out, _ = nono(home, "profile", "validate", "good", bad, "default")
    assert code == 1 and out.count("[ok]") == 2 and "[err]" in out
    code, out, _ = nono(home, "profile", "validate", "--json", "good", "default")
    assert code == 0 and [(r["valid"], os.path.basename(r["file"])) for r in json.loads(out)] == [(True, "good.json"), (True, "built-in:default")]
    code, out, _ = nono(home, "profile", "validate", "no-such")
    assert code == 1 and "no-such" in out and "[err]" in out
    code, out, _ = nono(home, "profile", "validate", str(home / "none.json"))
    assert code == 1 and "none.json" in out


def test_validate_finds_what_only_a_start_would(home):
    for network, says in (({"upstream_bypass": ["x.test"]}, "upstream"),
                          ({"network_profile": "no-such"}, "no-such"),
                          ({"credentials": ["s"], "custom_credentials": {"s": {"upstream": "https://s.test", "credential_key": "env://K", "tls_ca": "/no/such.pem"}}}, "such.pem"),
                          ({"upstream_proxy": "p.test"}, "port")):
        file = write(home / "p.json", {"network": network})
        code, out, _ = nono(home, "profile", "validate", file)
        assert code == 1 and says in out and re.search(r"\[err\] \S+p\.json:\d+:\d+\b", out), (network, out)
        assert nono(home, "proxy", "--port", "0", "-p", file)[0] == 1


def test_validate_strict_is_about_old_keys(home):
    old = write(home / "old.json", {"security": {"groups": ["x"]}, "policy": {"add_allow_read": ["/x"]}})
    assert nono(home, "profile", "validate", old)[0] == 0
    code, out, _ = nono(home, "profile", "validate", "--strict", old)
    assert code == 2 and out.count("[warn]") == 2 and "groups.include" in out and "[ok]" in out
    assert json.loads(nono(home, "profile", "validate", "--json", old)[1])["deprecated_keys"] == 2
    assert nono(home, "profile", "validate", "--strict", old, write(home / "bad.json", BAD))[0] == 1
    assert nono(home, "profile", "validate", "--strict", "default")[0] == 0


def test_validate_notes_patterns_in_which_a_star_used_to_cross(home):
    file = write(home / "p.json", {"network": {"allow_domain": [{"domain": "a.test", "endpoints": [{"method": "GET", "path": "/a/*"}]}]}})
    code, out, _ = nono(home, "profile", "validate", file)
    assert code == 0 and "[warn]" in out and "**" in out


def test_validate_says_what_is_not_in_this_version(home):  # K13
    file = write(home / "p.json", {"network": {"credentials": ["aws"], "custom_credentials": {
        "aws": {"upstream": "https://s3.us-east-1.amazonaws.com", "aws_auth": {}}, "unused": {"upstream": "https://x.test", "aws_auth": {}}}}})
    code, out, _ = nono(home, "profile", "validate", file)
    assert code == 0 and out.count("not in this version") == 1 and re.search(rf"^\[warn\] {re.escape(file)}:\d+:\d+: .*\"aws\".*503", out, re.M) and "[ok]" in out
    w, = json.loads(nono(home, "profile", "validate", "--json", file)[1])["warnings"]
    assert w["file"] == file and w["line"] > 0 and "not in this version" in w["message"]


def warned(home, network, **top):
    file = write(home / "w.json", {"network": network} | top)
    code, out, err = nono(home, "profile", "validate", "--json", file)
    r = json.loads(out)
    assert all(w["file"] == file and w["line"] > 0 for w in r["warnings"]), r
    return code, r


def cred(upstream="https://api.test", **more):
    return {"upstream": upstream, "credential_key": "env://K", "env_var": "KEY"} | more


def test_case_68_two_equal_candidates_are_noted_with_both_places(home):  # K2
    network = {"credentials": ["a", "b"], "custom_credentials": {"a": cred(), "b": cred()}}
    code, r = warned(home, network)
    w, = [w for w in r["warnings"] if "fit the same requests" in w["message"]]
    lines = Path(r["file"]).read_text().splitlines()
    first, second = (next(i for i, line in enumerate(lines, 1) if line.strip() == f'"{n}": {{') for n in "ab")
    assert code == 0 and w["line"] == second and f'"a" ({r["file"]}:{first}:' in w["message"] and "403" in w["message"]
    with Gateway("-p", r["file"]) as g:
        assert f'warning: {r["file"]}:{second}:' in g.banner and "fit the same requests" in g.banner
    for other in ({"b": cred("https://other.test")}, {"b": cred("https://api.test:8443")}, {"b": cred("https://api.test/v2")},
                  {"a": cred(endpoint_rules=[{"method": "GET", "path": "/a/**"}]), "b": cred(endpoint_rules=[{"method": "GET", "path": "/b/**"}])}):
        _, r = warned(home, network | {"custom_credentials": network["custom_credentials"] | other})
        assert not any("fit the same" in w["message"] for w in r["warnings"]), other


def gated(host="x.test", method="GET"):
    return {"domain": host, "endpoints": [{"method": method, "path": "/a"}]}


NOTES = [({"allow_domain": ["githb"]}, '"githb" is no built-in group and is taken as a host name; did you mean github?'),
         ({"deny_domain": ["privat:443"]}, "did you mean private?"),
         ({"allow_domain": ["evil.test"], "deny_domain": ["evil.test"]}, '"evil.test" has no effect: deny:evil.test ('),
         ({"allow_domain": ["a.evil.test:443"], "deny_domain": ["*.evil.test"]}, "has no effect: deny:*.evil.test"),
         ({"allow_domain": ["10.0.0.1"], "deny_domain": ["10.0.0.0/8"]}, "has no effect: deny:10.0.0.0/8"),
         ({"allow_domain": ["x.test", gated()]}, '"x.test" does not open the whole host: the path rules of https://x.test ('),
         ({"allow_domain": ["*.x.test", gated("*.x.test")]}, "does not open the whole host"),
         ({"allow_domain": ["a.x.test", gated("*.x.test")]}, "does not open the whole host"),
         ({"allow_domain": [gated(method="GTE")]}, '"GTE" is no method that is known'),
         ({"allow_domain": [gated()]}, "every CONNECT to x.test is answered with 503"),
         ({"allow_domain": [gated(f"x{i}.test") for i in range(5)]}, "every CONNECT to x0.test, x1.test, x2.test and 2 more is answered"),
         ({"credentials": ["a"], "custom_credentials": {"a": cred()}}, "every CONNECT to api.test is answered with 503")]


@pytest.mark.parametrize("network, says", NOTES)
def test_notes_of_what_does_less_than_it_seems(home, network, says):
    code, r = warned(home, network)
    assert code == 0 and r["valid"] and sum(says in w["message"] for w in r["warnings"]) == 1, r["warnings"]


@pytest.mark.parametrize("network", [
    {"allow_domain": ["github", "localhost", "intranet", "x.test", "*"], "deny_domain": ["private", "evil.test:443"]},
    {"allow_domain": ["evil.test", "10.0.0.0/8"], "deny_domain": ["evil.test:443", "10.0.0.1", "*.evil.test"]},
    {"allow_domain": ["*", gated("http://127.0.0.1:8080", "PROPFIND"), gated("http://127.0.0.1:8081", "get"), gated("http://127.0.0.1:8082", "*")]},
    {"credentials": ["a"], "custom_credentials": {"a": cred("http://127.0.0.1:1"), "unused": cred()}}])
def test_notes_are_not_made_of_what_is_meant(home, network):
    code, r = warned(home, network)
    assert code == 0 and not r["warnings"], r["warnings"]


@pytest.mark.parametrize("value, says", [
    ("(?=a)", "look-around"), ("(a)\\1", "back-references"), ("[a", "at byte"), ("(?R)", "recursion"), ("", "empty"), ("(", "at byte")])
def test_cache_path_regex_is_judged_with_its_place(home, value, says):
    file = write(home / "p.json", {"credential_capture": {"x": {"command": ["/bin/true"], "cache_path_regex": value}}})
    code, out, _ = nono(home, "profile", "validate", file)
    line = next(i for i, text in enumerate(open(file), 1) if "cache_path_regex" in text)
    assert code == 1 and re.search(rf"^\[err\] {re.escape(file)}:{line}:\d+: .*{re.escape(says)}", out, re.M), out
    code, _, err = nono(home, "proxy", "--port", "0", "-p", file)
    assert code == 1 and f"{file}:{line}:" in err and says in err
    ok = write(home / "p.json", {"credential_capture": {"x": {"command": ["/bin/true"], "cache_path_regex": "^/(?:orgs|users)/([a-z0-9-]+)"}}})
    assert nono(home, "profile", "validate", ok)[0] == 0


@pytest.mark.parametrize("url, says", [("http://u:hush@h.test/", "takes no user and password"), ("http://u@h.test/", "takes no user"), ("https://", "host"), ("http://h.test:0/", "port 0"),
                                       ("http://h.test/#x", "fragment")])
def test_the_url_of_a_webhook_is_judged_as_it_is_used(home, url, says):
    file = write(home / "p.json", {"security": {"approval_backends": {"h": {"type": "webhook", "url": url}}}})
    code, out, _ = nono(home, "profile", "validate", file)
    assert code == 1 and re.search(rf"^\[err\] {re.escape(file)}:\d+:\d+: .*{says}", out, re.M) and "hush" not in out, out


@pytest.mark.parametrize("policy", [{"approve": [{"method": "GET", "path": "/", "timeout_secs": 0}]}, {"default": {"decision": "approve", "timeout_secs": 0}}])
def test_a_rule_that_leaves_no_time_to_answer_is_noted(home, policy):
    file = write(home / "p.json", {"network": {"credentials": ["a"], "custom_credentials": {"a": cred(endpoint_policy=policy)}}, "security": {"approval_backends": {"t": {"type": "terminal"}}, "approval_defaults": {"backend": "t"}}})
    code, out, _ = nono(home, "profile", "validate", file)
    line = next(i for i, text in enumerate(open(file), 1) if "timeout_secs" in text)
    assert code == 0 and f"{file}:{line}:" in out and "timeout_secs is 0" in out and "leave it out" in out, out


def test_unknown_keys_are_explained_without_wild_guesses(home):
    file = write(home / "p.json", '{"zzqx": 1,\n"network": {"tls_intercept": {"wwww": 1},\n"allow_domian": []}}')
    out = nono(home, "profile", "validate", file)[1]
    rows = [next(line for line in out.splitlines() if f"{file}:{n}:" in line) for n in (1, 2, 3)]
    assert "closest" not in rows[0] and "profile schema" in rows[0]
    assert "closest" not in rows[1] and "its keys are" in rows[1] and "ca_validity" in rows[1]
    assert 'closest known key is "allow_domain"' in rows[2]


# ---- show

def test_show_merges_and_names_origins(home):
    base = user(home, "base", {"network": {"allow_domain": ["base.test"], "deny_domain": ["evil.test"]}})
    child = write(home / "child.json", {"extends": "base", "network": {"allow_domain": ["child.test"]}})
    for more in ((), ("--resolved",)):
        code, out, err = nono(home, "profile", "show", *more, child)
        assert code == 0 and not err
        assert re.search(rf'allow_domain\[0\] = "base.test"  # {re.escape(base)}:\d+:\d+', out)
        assert re.search(rf'allow_domain\[1\] = "child.test"  # {re.escape(child)}:\d+:\d+', out)
    code, out, _ = nono(home, "profile", "show", "--json", child)
    assert json.loads(out)["network"] == {"allow_domain": ["base.test", "child.test"], "deny_domain": ["evil.test"]}
    code, out, _ = nono(home, "profile", "show", "--json", "--origins", child)
    first = json.loads(out)["network"]["allow_domain"][0]
    assert first["value"] == "base.test" and re.fullmatch(rf"{re.escape(base)}:\d+:\d+", first["origin"])


def test_show_resolved_says_what_runs(home):
    file = write(home / "p.json", {"network": {
        "network_profile": "minimal", "allow_domain": [{"domain": "docs.test", "endpoints": [{"method": "GET", "path": "/a/**"}]}], "deny_domain": ["evil.test"],
        "upstream_proxy": "http://u:hush@p.test:3128", "upstream_bypass": ["x.test"], "timeouts": {"dns": 3}, "credentials": ["svc"],
        "custom_credentials": {"svc": {"upstream": "https://api.test/v1", "credential_key": "env://K", "endpoint_rules": [{"method": "*", "path": "/chat/**"}, {"method": "*", "path": "/v1/x"}]}}}})
    code, out, _ = nono(home, "profile", "show", "--resolved", file, env={"K": "hush"})
    assert code == 0
    for part in ("policy: only listed hosts", "network profile minimal", "deny evil.test", "upstream proxy p.test:3128", "bypass x.test", "timeout dns=3.000",
                 "route svc: https://api.test/v1", "allow * /v1/chat/**", "allow * /v1/x", "route _ep_docs.test: https://docs.test", "allow GET /a/**"):
        assert part in out, part


def test_secrets_are_never_shown(home):
    file = write(home / "p.json", {"network": {
        "upstream_proxy": "http://user:hush@p.test:3128", "credentials": ["o"],
        "custom_credentials": {"o": {"upstream": "https://o.test", "auth": {"token_url": "https://t.test/x", "client_id": "id", "client_secret": "hush", "extra_params": {"a": "hush"}}}}},
        "environment": {"set_vars": {"TOKEN": "hush"}},
        "security": {"approval_backends": {"w": {"type": "webhook", "url": "https://w.test/hush?k=hush"}}}})
    assert nono(home, "profile", "validate", file)[0] == 0, nono(home, "profile", "validate", file)
    other = write(home / "q.json", {"network": {"upstream_proxy": "http://hush:hush@p.test:1"}})
    for args in (("show", file), ("show", "--resolved", file), ("show", "--json", file), ("show", "--json", "--origins", file), ("diff", file, other), ("show", other)):
        code, out, err = nono(home, "profile", *args)
        assert "***" in out and "hush" not in out + err, (args, out)


def test_show_resolved_tells_what_groups_stand_for(home):
    file = write(home / "g.json", {"network": {"network_profile": "minimal", "allow_domain": ["gitlab:443"], "deny_domain": ["loopback"]}})
    code, out, _ = nono(home, "profile", "show", "--resolved", file)
    assert code == 0 and re.search(r"^network profile minimal  # .*\n group llm_apis\n  api\.openai\.com\n", out, re.M), out
    assert re.search(r"^allow gitlab:443  # .*\n  gitlab\.com\n", out, re.M) and re.search(r"^deny loopback  # .*\n  localhost\n  127\.0\.0\.0/8\n", out, re.M), out
    assert "api.openai.com" not in nono(home, "profile", "show", file)[1]


def test_show_of_what_cannot_be_loaded(home):
    file = write(home / "bad.json", BAD)
    code, out, err = nono(home, "profile", "show", file)
    assert code == 1 and not out and f"{file}:3:5:" in err and f"{file}:8:3:" in err
    assert nono(home, "profile", "show", "no-such")[0] == 1
    assert nono(home, "profile", "show", "--origins", "default")[0] == 2


# ---- list, init, schema

def test_list(home):
    path = user(home, "mine", {})
    code, out, _ = nono(home, "profile", "list")
    rows = dict(line.split(None, 1) for line in out.splitlines())
    assert code == 0 and rows["mine"] == path and rows["python-dev"] == "built-in, network profile developer" and rows["default"] == "built-in"


def test_init_writes_a_profile_that_loads(home):
    code, out, err = nono(home, "profile", "init", "fresh", env={"XDG_CONFIG_HOME": ""})
    path = Path(out.strip())
    assert code == 0 and not err and path == home / ".config/nono/profiles/fresh.jsonc"
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
    assert nono(home, "profile", "validate", "--strict", str(path))[0] == 0
    assert "//" in path.read_text() and json.loads(nono(home, "profile", "show", "--json", str(path))[1])["meta"]["name"] == "fresh"


def test_everything_commented_out_in_the_starter_is_valid_too(home):
    path = Path(nono(home, "profile", "init", "fresh")[1].strip())
    text = re.sub(r"^(\s*)// ?(?=\s*[\"{}\]])", r"\1", path.read_text(), flags=re.M)
    assert text.count("//") < path.read_text().count("//") - 10
    write(path, text)
    code, out, _ = nono(home, "profile", "validate", str(path))
    assert code == 0, (out, text)


def test_init_never_overwrites(home):
    for name in ("a", "b"):
        file = home / f"cfg/nono/profiles/{name}{'.json' if name == 'a' else '.jsonc'}"
        file.write_text("mine")
        code, out, err = nono(home, "profile", "init", name)
        assert code == 1 and not out and str(file) in err and file.read_text() == "mine"
    assert len(list((home / "cfg/nono/profiles").iterdir())) == 2
    (home / "cfg/nono/profiles/c.jsonc").symlink_to(home / "nowhere")
    assert nono(home, "profile", "init", "c")[0] == 1 and not (home / "nowhere").exists()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a_b", "-a", "a-", "a.jsonc", "\u00fc"])
def test_init_takes_names_only(home, name):
    assert nono(home, "profile", "init", "--", name)[0] in (1, 2)
    assert not list((home / "cfg/nono/profiles").iterdir())


def test_init_without_a_home_or_room_says_so(home):
    code, _, err = nono(home, "profile", "init", "x", env={"HOME": "", "XDG_CONFIG_HOME": ""})
    assert code == 1 and "HOME" in err
    write(home / "file", "x")
    code, _, err = nono(home, "profile", "init", "x", env={"HOME": str(home / "file"), "XDG_CONFIG_HOME": ""})
    assert code == 1 and "file" in err


def test_schema_is_json(home):
    code, out, _ = nono(home, "profile", "schema")
    schema = json.loads(out)
    assert code == 0 and "2020-12" in schema["$schema"] and "allow_domain" in out


# ---- diff

def test_diff(home):
    a = user(home, "a", {"meta": {"name": "a"}, "network": {"allow_domain": ["x.test", "y.test"], "block": False, "upstream_proxy": "p.test:1"}})
    b = user(home, "b", {"meta": {"name": "b"}, "extends": "c", "network": {"allow_domain": ["y.test"], "upstream_proxy": "p.test:2"}})
    c = user(home, "c", {"network": {"allow_domain": ["z.test"]}})
    code, out, err = nono(home, "profile", "diff", "a", b)
    assert code == 1 and not err
    lines = [line.split("  # ") for line in out.splitlines()]
    assert {line[0] for line in lines} == {'- network.allow_domain: "x.test"', '+ network.allow_domain: "z.test"', '- network.upstream_proxy: "p.test:1"', '+ network.upstream_proxy: "p.test:2"'}
    assert next(o for t, o in lines if "z.test" in t).startswith(c + ":") and next(o for t, o in lines if "x.test" in t).startswith(a + ":")


def test_diff_of_the_same(home):
    user(home, "a", {"network": {"allow_domain": ["x.test"]}})
    same = write(home / "same.jsonc", '// another form\n{ network: { block: false, allow_domain: ["x.test",], deny_domain: [] }, meta: { name: "other" } }')
    assert nono(home, "profile", "diff", "a", same) == (0, "", "")
    assert nono(home, "profile", "diff", "a", "a") == (0, "", "")
    order = write(home / "order.json", {"network": {"deny_domain": ["a.test", "b.test"]}})
    turned = write(home / "turned.json", {"network": {"deny_domain": ["b.test", "a.test"]}})
    code, out, _ = nono(home, "profile", "diff", order, turned)
    assert code == 1 and out == "~ network.deny_domain: the same items in another order\n"
    assert nono(home, "profile", "diff", "a", "no-such")[0] == 2
    twice = write(home / "twice.json", {"network": {"allow_domain": ["x.test", "x.test"]}})
    code, out, _ = nono(home, "profile", "diff", "a", twice)
    assert code == 1 and out.count("+ ") == 1


# ---- test

PROFILE = {"network": {"allow_domain": ["a.test", {"domain": "docs.test", "endpoints": [{"method": "GET", "path": "/x/*"}]}]}}


def expectations(home, text):
    write(home / "t/p.json", PROFILE)
    return write(home / "t/tests.jsonc", text if isinstance(text, str) else json.dumps(text, indent=1))


def test_expectations_that_hold(home):
    file = expectations(home, """{ // beside the profile
      "profile": "./p.json",
      "expect": [
        { "allow": ["a.test", "GET https://a.test/x", "https://docs.test/x/y",] },
        { "deny": "CONNECT evil.test:443", "rule": "default-deny", "reason": "allowlist" },
        { "deny": "POST https://docs.test/x/y", "rule": "endpoint_policy.*" },
        { "intercept": "docs.test" },
      ] }""")
    code, out, err = nono(home, "profile", "test", file, cwd="/")
    assert code == 0 and not err and "6 passed, 0 failed" in out and out.count("[ok]") == 6


def test_expectations_that_fail_say_where_and_why(home):
    file = expectations(home, {"profile": "./p.json", "expect": [{"deny": "a.test"}, {"allow": "evil.test"}, {"deny": "evil.test", "rule": "deny:evil.test"}, {"deny": "evil.test", "reason": "tuesday"},
                                                                 {"allow": "docs.test"}, {"allow": "a.test"}]})
    code, out, _ = nono(home, "profile", "test", file)
    assert code == 1 and "1 passed, 5 failed" in out
    assert re.search(rf"\[err\] {re.escape(file)}:\d+:\d+: evil.test should be allowed: DENIED .*default-deny", out)


def test_groups_of_expectations_with_their_own_flags(home):
    file = expectations(home, [{"allow_domain": ["x.test"], "deny_domain": "y.x.test", "expect": [{"allow": "x.test"}, {"deny": "z.test"}]},
                               {"network_profile": "minimal", "expect": [{"allow": "api.openai.com"}, {"deny": "x.test"}]},
                               {"profile": "python-dev", "extends": ["./p.json"], "expect": [{"allow": ["rubygems.org", "a.test"]}]},
                               {"expect": [{"allow": "anything.test"}]}])
    code, out, err = nono(home, "profile", "test", file, cwd=home / "t")
    assert code == 0 and "7 passed, 0 failed" in out, (out, err)


@pytest.mark.parametrize("text, says", [
    ('{', "tests.jsonc:1"), ("[]", "list of objects"), ('{"expect": []}', "expect"), ('{"profle": "x", "expect": [{"allow": "a"}]}', '"profile"'),
    ('{"expect": [{"allow": "a", "deny": "b"}]}', "deny"), ('{"expect": [{"rule": "x"}]}', "needs allow"), ('{"expect": [{"allow": "a", "rool": "x"}]}', "rool"),
    ('{"expect": [{"allow": 1}]}', "string"), ('{"expect": ["a"]}', "object"), ('{"profile": "no-such", "expect": [{"allow": "a"}]}', "cannot be loaded"),
    ('{"profile": 1, "expect": [{"allow": "a"}]}', "string"), ('{"expect": [{"allow": []}]}', "0 passed"), ('{"profile": "a"}', "expect")])
def test_mistakes_in_the_file_of_expectations(home, text, says):
    file = expectations(home, text)
    code, out, err = nono(home, "profile", "test", file)
    assert code == 1 and says in out, (out, err)
    assert nono(home, "profile", "test", str(home / "none"))[0] == 1


# ---- the command line

def test_groups_and_words(home):
    code, out, err = nono(home, "profile")
    assert code == 2 and not out and "profile validate" in err
    assert nono(home, "profile", "--help")[0] == 0 and nono(home, "help", "profile")[0] == 0
    for sub in ("validate", "show", "list", "init", "schema", "diff", "test"):
        code, out, _ = nono(home, "profile", sub, "--help")
        assert code == 0 and f"Usage: nono profile {sub}" in out
        assert nono(home, "help", "profile", sub)[1] == out
    for args in (("profile", "validate"), ("profile", "diff", "a"), ("profile", "init", "a", "b"), ("profile", "show", "--port", "1", "a"), ("profile", "nope")):
        assert nono(home, *args)[0] == 2, args


def test_an_answer_that_cannot_be_written_is_no_success(home):
    for args in (("profile", "list"), ("profile", "schema"), ("profile", "show", "default"), ("profile", "validate", "default"), ("why", "--host", "a.test")):
        with open("/dev/full", "wb") as full:
            p = subprocess.run([BINARY, *args], stdout=full, stderr=subprocess.PIPE, env=clean_env({"HOME": str(home)}), timeout=60)
        assert p.returncode in (1, 2) and b"standard output" in p.stderr, args


def test_a_slow_reader_gets_everything(home):
    file = write(home / "big.json", {"network": {"allow_domain": [f"h{i}.test" for i in range(20000)]}})
    p = subprocess.Popen([BINARY, "profile", "show", file], stdout=subprocess.PIPE, env=clean_env({"HOME": str(home)}))
    time.sleep(4)  # longer than a banner would wait
    assert p.stdout.read().count(b"\n") == 20001 and p.wait(20) == 0


# ---- nono proxy

def test_the_profile_s_origin_is_told_for_mistakes_at_start(home):
    file = write(home / "bad.json", BAD)
    code, out, err = nono(home, "proxy", "--port", "0", "-p", file)
    assert code == 1 and not out and f"{file}:3:5:" in err and f"{file}:8:3:" in err
    assert nono(home, "proxy", "--port", "0", "--extends", "x")[0] == 2
    assert nono(home, "proxy", "--port", "0", env={"NONO_EXTENDS": "x"})[0] == 2


def test_banner_and_json_tell_routes_and_no_proxy(home):
    file = write(home / "p.json", {"network": {
        "allow_domain": ["a.test", {"domain": "docs.test", "endpoints": [{"method": "GET", "path": "/x"}]}], "no_proxy": ["*.inside.test", ".b.test"], "credentials": ["svc"],
        "custom_credentials": {"svc": {"upstream": "https://api.test/v1", "credential_key": "env://K", "endpoint_policy": {"default": "allow"}}}}})
    with Gateway("-p", file) as g:
        assert re.search(r"^  export NO_PROXY=localhost,127\.0\.0\.1,\.inside\.test,\.b\.test$", g.banner, re.M)
        assert "\n  routes:\n    https://api.test/v1 | creds: env://K \u2717 (credential_not_found) | intercept: off | endpoint_policy: on\n" \
               "    https://docs.test | creds: none | intercept: off | endpoint_rules: 1\n\n" in g.banner
    with Gateway("-p", file, "--output", "json", ready="}\n") as g:
        j = json.loads(g.banner)
        svc, docs = j["routes"]
        assert svc["prefix"] == "svc" and svc["upstream"] == "https://api.test/v1" and svc["credential"] == "missing" and "reason" in svc
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/svc", svc["base_url"]) and svc["intercept"] is False
        assert docs["endpoint_rules"] == 1 and docs["credential"] == "none" and docs["base_url"] is None
        assert j["env"]["NO_PROXY"].endswith(",.inside.test,.b.test") and j["policy"] == "allowlist"


def test_entries_of_one_place_add_up_in_rows_and_show(home):
    rule = lambda path: [{"method": "GET", "path": path}]
    file = write(home / "p.json", {"network": {"allow_domain": [
        {"domain": "docs.test", "endpoints": rule("/a")}, {"domain": "DOCS.test:443", "endpoints": rule("/b")}, "https://docs.test/c/**",
        {"domain": "docs.test:8443", "endpoints": rule("/d")}, {"domain": "*.docs.test", "endpoints": rule("/e")}, "http://127.0.0.1:8080/f",
        {"domain": "[::1]:8080", "endpoints": rule("/g")}]}})
    with Gateway("-p", file) as g:
        rows = dict(re.findall(r"^    (\S+) \| creds: none \| intercept: off \| endpoint_rules: (\d+)$", g.banner, re.M))
    assert rows == {"https://docs.test": "3", "https://docs.test:8443": "1", "https://*.docs.test": "1", "http://127.0.0.1:8080": "1", "http://[::1]:8080": "1"}
    _, out, _ = nono(home, "profile", "show", "--resolved", file)
    routes = re.split(r"^route ", out, flags=re.M)[1:]
    shown = {re.search(r": (\S+) \|", r)[1]: re.findall(r"^  allow \S+ (\S+)", r, re.M) for r in routes}
    assert shown == {"https://docs.test": ["/a", "/b", "/c/**"], "https://docs.test:8443": ["/d"], "https://*.docs.test": ["/e"], "http://127.0.0.1:8080": ["/f"],
                     "http://[::1]:8080": ["/g"]}


def test_O3_no_proxy_entries_are_canonical_and_said_once(home):
    network = {"no_proxy": ["redis", "*.internal.example", "REDIS", "[::1]", ".INTERNAL.example", "0:0::1"]}
    for guarded in (False, True):
        if guarded:  # an upstream on loopback that has rules: what is loopback anyway goes, what the profile says stays
            network["allow_domain"] = [{"domain": "http://127.0.0.1:8080", "endpoints": [{"method": "GET", "path": "/x"}]}]
        with Gateway("-p", write(home / "p.json", {"network": network})) as g:
            said = dict(re.findall(r"^  export (\w*NO_PROXY|no_proxy)=(.*)$", g.banner, re.M))
        common = "" if guarded else "localhost,127.0.0.1,"
        assert said == {"NO_PROXY": common + "redis,.internal.example,::1", "no_proxy": common + "redis,.internal.example,::1",
                        "NONO_NO_PROXY": common + "redis,*.internal.example,::1"}


def test_loopback_upstreams_are_not_in_no_proxy(home):
    file = write(home / "p.json", {"network": {"allow_domain": [{"domain": "http://127.0.0.1:8080", "endpoints": [{"method": "GET", "path": "/x"}]}]}})
    with Gateway("-p", file) as g:
        assert re.search(r"^  export NO_PROXY=$", g.banner, re.M)


def test_block_and_network_profile_in_the_banner(home):
    with Gateway("-p", write(home / "p.json", {"network": {"block": True}})) as g:
        assert "policy: every host is denied (network.block" in g.banner
    with Gateway("--network-profile", "minimal", "--allow-http2") as g:
        assert "network profile minimal" in g.banner


def test_the_profiles_of_the_guide_load(home):
    text = (Path(__file__).resolve().parents[2] / "docs/profiles.md").read_text()
    blocks = re.findall(r"^```jsonc\n(.*?)^```", text, re.M | re.S)
    profiles = [b for b in blocks if '"expect"' not in b]
    assert len(profiles) >= 3 and len(blocks) == len(profiles) + 1
    for i, block in enumerate(profiles):
        code, out, _ = nono(home, "profile", "validate", write(home / f"{i}.jsonc", block))
        assert code == 0, (block, out)
    user(home, "dev", {"network": {"allow_domain": ["example.com", {"domain": "docs.example.com", "endpoints": [{"method": "GET", "path": "/manual/**"}]}]}})
    code, out, _ = nono(home, "profile", "test", write(home / "t.jsonc", next(b for b in blocks if '"expect"' in b)))
    assert code == 0 and "5 passed" in out, out


def test_O3_and_case_79_variables_of_routes_are_announced_where_the_secret_is_there(home):
    file = write(home / "p.json", {"network": {"credentials": ["svc-a", "gone"], "custom_credentials": {
        "svc-a": {"upstream": "https://api.test/v1", "credential_key": "env://K1", "env_var": "SVC_KEY"},
        "gone": {"upstream": "https://gone.test", "credential_key": "env://K2"}}}})
    env_file = home / "job.env"
    with Gateway("-p", file, "--env-file", str(env_file), env={"K1": "real-secret"}) as g:
        lines = env_file.read_text().splitlines()
        assert f"SVC_A_BASE_URL=http://127.0.0.1:{g.port}/svc-a" in lines and f"SVC_KEY={g.token}" in lines
        assert f"GONE_BASE_URL=http://127.0.0.1:{g.port}/gone" in lines and not any(l.startswith("K2=") for l in lines)
        assert f"  export SVC_KEY={g.token}\n" in g.banner and "real-secret" not in g.banner
        assert "creds: env://K1 \u2713" in g.banner and "creds: env://K2 \u2717 (credential_not_found)" in g.banner
