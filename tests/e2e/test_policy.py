"""Where a workload may go: names, ports, blocks, the floor; over CONNECT and absolute form alike."""
import json

import pytest
from dns import ns  # noqa: F401
from gateway import Gateway, Origin, connect_head, get, one, run, serving, until

GOOD, SECOND, GOOD6 = "10.55.0.1", "10.55.0.2", "fd55::1"


@pytest.fixture(scope="module")
def o():
    with Origin(serving({})) as origin:
        yield origin


def word(a):
    return json.loads(a.body)["error"] if a.get("content-type") == "application/json" else "bad_request" * (a.status == 400)  # an unreadable head has no Accept


def verdicts(g, authority):
    """Status and error word of a CONNECT and of an absolute-form request for the same host and port."""
    out = []
    for data, method in ((f"CONNECT {authority} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n", "CONNECT"),
                         (f"GET http://{authority}/ HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n", "GET")):
        a = one(g, data.encode(), method)
        out.append((a.status, word(a) if a.status >= 400 else ""))
    return out


def check(g, table):
    wrong = []
    for authority, want in table.items():
        got = verdicts(g, authority)
        if any((w != want if isinstance(want, str) else s != want) for s, w in got):
            wrong.append((authority, want, got))
    assert not wrong, wrong


DENIED, ADDRESS, OK, BAD, GONE = "host_denied", "address_denied", "", "bad_request", 502


# ---- deny

@pytest.mark.threads
def test_case_17_a_deny_entry_with_a_port_is_port_exact(o):
    with Gateway("--workers", "2", "--allow-domain", "*", "--deny-domain", f"origin.test:{o.port}", "--deny-domain", f"[{GOOD6}]:{o.port}", auth=False) as g:
        check(g, {f"origin.test:{o.port}": DENIED, f"ORIGIN.test.:{o.port}": DENIED, f"api.test:{o.port}": OK, f"{GOOD}:{o.port}": OK, "origin.test:1": GONE,
                  f"[{GOOD6}]:{o.port}": DENIED, f"[{GOOD6}]:1": GONE, f"six.test:{o.port}": ADDRESS, "six.test:1": GONE})


def test_cases_18_19_25_a_deny_entry_holds_for_every_spelling(o, ns):
    with Gateway("--deny-domain", "denied.test", "--deny-domain", "b\u00fccher.test", "--deny-domain", "*.second.test", auth=False) as g:
        names = ["denied.test", "denied.test.", "denied.test..", "DENIED.TEST", "Denied.Test.", "\uff44\uff45\uff4e\uff49\uff45\uff44.test", "denied\uff0etest",
                 "denied\u3002test", "\u200bdenied.test", "de\u200bnied.test", "\ufeffdenied.test", "de\u00adnied.test",
                 "b\u00fccher.test", "B\u00dcCHER.test", "bu\u0308cher.test", "xn--bcher-kva.test", "XN--BCHER-KVA.test.", "a.second.test", "a.b.SECOND.test"]
        check(g, {f"{n}:{o.port}": DENIED for n in names} | {f"{n}:1": DENIED for n in names[:3]} |
              {f"origin.test:{o.port}": OK, "second.test:1": GONE, f"notdenied.test:{o.port}": GONE, f"denied.test.x:{o.port}": GONE})
        check(g, {f"{n}:{o.port}": BAD for n in ("denied%2etest", "%64enied.test", "denied.test\u2044", "denied.test\u0000", "d\u0001nied.test", "[denied.test]")})


def test_H8_deny_beats_allow_whatever_is_more_specific(o):
    with Gateway("--allow-domain", f"origin.test:{o.port}", "--allow-domain", "api.test", "--deny-domain", "*.test", auth=False) as g:
        check(g, {f"origin.test:{o.port}": DENIED, f"api.test:{o.port}": DENIED, f"{GOOD}:{o.port}": DENIED})


def test_case_36_and_audit_a_denied_host_is_403_with_reason_rule_and_record(o):
    with Gateway("--deny-domain", "denied.test", auth=False) as g:
        for data, method, mode in ((connect_head("denied.test:443", extra="Accept: application/json\r\n"), "CONNECT", "connect"),
                                   (get("http://denied.test/a?b", extra="Accept: application/json\r\n"), "GET", "forward")):
            a = one(g, data, method, closes=method == "CONNECT")
            j = json.loads(a.body)
            r = until(lambda: [r for r in g.records(0) if r["request_id"] == j["request_id"]])[0]
            assert a.status == 403 and j["reason"] == r["reason"] == "host denied.test is in the deny list" and j["rule"] == r["rule"] and j["origin"] == r["rule_origin"] == "--deny-domain"
            assert (r["mode"], r["denial_category"], r["decision"], r["outcome"], r["status"]) == (mode, "host_denied", "deny", "refused", 403)
        assert r["path"] == "/a" and r["query_present"] is True


# ---- allow

@pytest.mark.threads
def test_case_20_a_name_not_listed_is_never_looked_up(o, ns):
    ns.zone["listed.zone.test"] = {"A": [GOOD]}
    with Gateway("--workers", "2", "--allow-domain", "listed.zone.test", "--deny-domain", "denied.zone.test", auth=False) as g:
        check(g, {f"listed.zone.test:{o.port}": OK, f"other.zone.test:{o.port}": DENIED, f"denied.zone.test:{o.port}": DENIED, f"x.listed.zone.test:{o.port}": DENIED})
    assert {q[0] for q in ns.log if q[0].endswith("zone.test")} == {"listed.zone.test"}


def test_case_21_and_H3_an_entry_with_a_port_is_that_port_and_one_without_is_every_port(o):
    with Gateway("--allow-domain", f"origin.test:{o.port}", "--allow-domain", "api.test", "--allow-domain", f"*.test:{o.port + 1}", "--allow-domain", f"[{GOOD6}]:1", auth=False) as g:
        check(g, {f"origin.test:{o.port}": OK, "origin.test:1": DENIED, f"api.test:{o.port}": OK, "api.test:1": GONE, f"second.test:{o.port}": DENIED,
                  f"second.test:{o.port + 1}": GONE, f"[{GOOD6}]:1": GONE, f"[{GOOD6}]:2": DENIED})


def test_case_22_and_H9_a_wildcard_is_one_or_more_labels_and_not_the_apex(o):
    with Gateway("--allow-domain", "*.origin.test", "--allow-domain", "*:1", auth=False) as g:
        check(g, {f"www.origin.test:{o.port}": OK, f"a.b.origin.test:{o.port}": OK, f"A.B.ORIGIN.TEST.:{o.port}": OK, f"origin.test:{o.port}": DENIED,
                  f"badorigin.test:{o.port}": DENIED, f"www.origin.test.evil:{o.port}": DENIED, f"api.test:{o.port}": DENIED, "api.test:1": GONE})


def test_case_33_and_H10_an_empty_list_is_allow_all_and_the_banner_says_so(o):
    with Gateway(auth=False, env={"NONO_ALLOW_DOMAIN": ""}) as g:
        assert "policy: every host is allowed (no --allow-domain given)" in g.banner
        check(g, {f"origin.test:{o.port}": OK})
    with Gateway("--allow-domain", "api.test", auth=False) as g:
        assert "every host is allowed" not in g.banner


def test_H12_urls_lists_and_variables(o):
    with Gateway(auth=False, env={"NONO_ALLOW_DOMAIN": f" origin.test:{o.port} ,, http://api.test:{o.port}, http://second.test", "NONO_DENY_DOMAIN": "a.b.origin.test,denied.test"}) as g:
        check(g, {f"origin.test:{o.port}": OK, f"api.test:{o.port}": OK, "api.test:1": DENIED, f"second.test:{o.port}": DENIED, "second.test:80": GONE, f"denied.test:{o.port}": DENIED})
        assert one(g, get(f"https://api.test:{o.port}/")).status == 403


def test_C12_the_scheme_of_a_url_entry_holds_for_absolute_form(o):
    with Gateway("--allow-domain", f"https://origin.test:{o.port}", "--timeout", "handshake=0.3", auth=False) as g:
        assert one(g, get(f"http://origin.test:{o.port}/")).status == 403
        assert one(g, get(f"https://origin.test:{o.port}/")).status == 504  # allowed; it speaks no TLS
        assert one(g, connect_head(f"origin.test:{o.port}"), "CONNECT").status == 200


@pytest.mark.parametrize("entry", ["*corp", "a.*.test", "*.*.test", "a*", "*.", "origin.test:0", "origin.test:65536", "origin.test:x", "*:0", "127.1", "0x7f.1", "2130706433", "0177.0.0.1",
                                   "127.0.0.1/33", "10.0.0.1/8", "fd00::/129", "a..b", "u@origin.test", "ftp://origin.test", "[::1", "a b", ".origin.test", "1.2.3.4.5", "origin.test/#x"])
def test_H9_H2_an_entry_that_means_nothing_fails_to_start(entry):
    for option in ("--allow-domain", "--deny-domain"):
        code, _, err = run("proxy", "--port", "0", "--no-auth", option, entry)
        assert code in (1, 2) and entry in err, (option, code, err)


def test_H9_bypass_entries_are_judged_as_strictly():
    for entry in ("*corp", "a.*.test", "origin.test:0", "127.1"):
        code, _, err = run("proxy", "--port", "0", "--no-auth", "--upstream-proxy", "http://10.55.0.1:1", "--upstream-bypass", entry)
        assert code in (1, 2) and entry in err, (entry, code, err)


def test_H10_an_explicitly_empty_value_is_a_usage_error():
    for option in ("--allow-domain", "--deny-domain", "--upstream-proxy", "--upstream-bypass"):
        assert run("proxy", "--port", "0", "--no-auth", option, "")[0] == 2, option


def test_case_30_contradictory_flags_fail_to_start():
    code, _, err = run("proxy", "--port", "0", "--no-auth", "--upstream-bypass", "origin.test")
    assert code != 0 and "upstream-proxy" in err


# ---- addresses

def test_case_28_and_H6_what_is_never_reached_without_an_entry(o):
    with Gateway(auth=False) as g:
        hosts = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]",
                 "localhost", "LOCALHOST.", "x.localhost", "224.0.0.1", "239.1.1.1", "[ff02::1]", "255.255.255.255", "169.254.0.1", "[fe80::1]", "100.100.100.200", "168.63.129.16"]
        check(g, {f"{h}:{o.port}": DENIED for h in hosts} | {f"rebind.test:{o.port}": ADDRESS, f"six-loopback.test:{o.port}": ADDRESS})


@pytest.mark.parametrize("entries", [["*"], ["*.test", "*.localhost"], ["rebind.test", "six-loopback.test", "*:80"]])
def test_case_28_and_H6_stars_and_names_unlock_nothing(entries):
    with Gateway(*[x for e in entries for x in ("--allow-domain", e)], auth=False) as g:
        check(g, {"rebind.test:80": ADDRESS, "six-loopback.test:80": ADDRESS, "127.0.0.1:80": DENIED, "[::1]:80": DENIED, "localhost:80": DENIED, "0.0.0.0:80": DENIED})


def test_case_28_with_a_rule_loopback_is_reached():
    with Origin(serving({}), host="127.0.0.1") as lo, Origin(serving({}), host="::1") as lo6:
        with Gateway("--allow-domain", "*", "--allow-domain", "127.0.0.0/8", auth=False) as g:
            check(g, {f"127.0.0.1:{lo.port}": OK, f"rebind.test:{lo.port}": OK, f"[::ffff:127.0.0.1]:{lo.port}": OK, f"[::1]:{lo6.port}": DENIED, f"six-loopback.test:{lo6.port}": ADDRESS,
                      "127.0.0.2:1": GONE, "0.0.0.0:1": DENIED})
        with Gateway("--allow-domain", "localhost", "--allow-domain", "rebind.test", auth=False) as g:
            check(g, {f"localhost:{lo.port}": OK, f"localhost.:{lo.port}": OK, f"127.0.0.1:{lo.port}": DENIED, f"rebind.test:{lo.port}": ADDRESS, f"x.localhost:{lo.port}": DENIED})
        with Gateway("--allow-domain", f"127.0.0.1:{lo.port}", "--allow-domain", "rebind.test", auth=False) as g:
            check(g, {f"127.0.0.1:{lo.port}": OK, f"rebind.test:{lo.port}": OK, f"127.0.0.1:{lo.port + 1}": DENIED, f"rebind.test:{lo.port + 1}": ADDRESS, f"origin.test:{lo.port}": DENIED})
        with Gateway("--allow-domain", f"[::1]:{lo6.port}", auth=False) as g:
            check(g, {f"[::1]:{lo6.port}": OK, f"[0:0::1]:{lo6.port}": OK, f"127.0.0.1:{lo.port}": DENIED})
        with Gateway("--allow-domain", "loopback", auth=False) as g:
            check(g, {f"127.0.0.1:{lo.port}": OK, f"localhost:{lo.port}": OK, f"[::1]:{lo6.port}": OK})


def test_H5_the_floor_holds_against_every_entry(o):
    entries = ["*", "169.254.169.254", "169.254.0.0/16", "0.0.0.0/0", "::/0", "metadata.google.internal", "*.google.internal", "fd00:ec2::254", "fe80::/10", "metadata.azure.internal"]
    with Gateway(*[x for e in entries for x in ("--allow-domain", e)], auth=False) as g:
        check(g, {f"{h}:80": DENIED for h in ("169.254.169.254", "169.254.1.1", "[fd00:ec2::254]", "metadata.google.internal", "METADATA.google.internal.", "metadata.azure.internal",
                                              "[fe80::1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[::169.254.169.254]")} |
              {"meta.test:80": ADDRESS, f"origin.test:{o.port}": OK})
        assert "169.254.169.254" in g.banner + g.stderr  # a notice


def test_H5_the_other_two_cloud_addresses_need_an_entry_of_their_own():
    for entries, want in ((["*"], DENIED), (["*", "100.100.100.200", "168.63.129.16/32"], GONE)):
        with Gateway(*[x for e in entries for x in ("--allow-domain", e)], auth=False) as g:
            check(g, {"100.100.100.200:80": want, "168.63.129.16:80": want})


def test_H4_blocks(o):
    with Gateway("--deny-domain", "10.55.0.2/32", "--deny-domain", f"10.55.0.0/31:{o.port + 1}", "--deny-domain", "fd55::/16", auth=False) as g:
        check(g, {f"second.test:{o.port}": ADDRESS, f"{SECOND}:{o.port}": DENIED, f"[::ffff:{SECOND}]:{o.port}": DENIED, f"origin.test:{o.port}": OK, f"{GOOD}:{o.port + 1}": DENIED,
                  f"origin.test:{o.port + 1}": ADDRESS, f"six.test:{o.port}": ADDRESS, f"both.test:{o.port}": ADDRESS, f"[{GOOD6}]:1": DENIED})
    with Gateway("--allow-domain", "10.55.0.0/24", auth=False) as g:
        check(g, {f"{GOOD}:{o.port}": OK, f"[::ffff:{GOOD}]:{o.port}": OK, f"origin.test:{o.port}": DENIED, "10.56.0.9:80": DENIED})


def test_H7_private_addresses_are_open_unless_denied(o):
    with Gateway(auth=False) as g:
        check(g, {f"{GOOD}:{o.port}": OK, f"origin.test:{o.port}": OK})
    with Gateway("--deny-domain", "private", auth=False) as g:
        check(g, {f"{GOOD}:{o.port}": DENIED, f"origin.test:{o.port}": ADDRESS, "six.test:1": ADDRESS, "192.168.1.1:1": DENIED, "172.31.0.1:1": DENIED, "100.64.0.1:1": DENIED, "[fd00::1]:1": DENIED})


def test_cases_26_and_H8_one_refused_address_refuses_the_name(o, ns):
    bad = {"linklocal": ["169.254.1.1"], "mixed": [GOOD, "169.254.169.254"], "mixed2": ["127.0.0.1", GOOD], "zero": ["0.0.0.0"], "denied": [GOOD, SECOND], "multi": ["224.0.0.1"]}
    bad6 = {"fe80": ["fe80::1"], "mapped": ["::ffff:169.254.169.254"], "mapped-lo": ["::ffff:127.0.0.1"], "nat64": ["64:ff9b::a9fe:a9fe"], "ec2": ["fd00:ec2::254"], "six-lo": ["::1"]}
    for n, v in bad.items():
        ns.zone[f"{n}.floor.test"] = {"A": v}
    for n, v in bad6.items():
        ns.zone[f"{n}.floor.test"] = {"A": [GOOD], "AAAA": v}
    ns.zone["fine.floor.test"] = {"A": [GOOD]}
    with Gateway("--allow-domain", "*", "--deny-domain", SECOND, auth=False) as g:
        check(g, {f"{n}.floor.test:{o.port}": ADDRESS for n in bad | bad6} | {f"fine.floor.test:{o.port}": OK})


def test_case_27_a_name_that_moves_to_loopback_is_judged_again(o, ns):
    import time
    ns.zone["moves.test"] = {"A": [GOOD], "ttl": 1}
    with Gateway(auth=False) as g:
        with g.connect() as c:
            c.send(get(f"http://moves.test:{o.port}/a"))
            assert c.response().status == 200
            ns.zone["moves.test"] = {"A": ["127.0.0.1"], "ttl": 1}
            time.sleep(1.2)
            assert one(g, connect_head(f"moves.test:{o.port}"), "CONNECT").status == 403
            c.send(get(f"http://moves.test:{o.port}/b"))  # the pooled connection still goes to the address that was judged
            assert c.response().status in (200, 403)


def test_H2_and_H10a_numeric_spellings_are_400_everywhere(o):
    with Gateway("--allow-domain", "*", "--allow-domain", "127.0.0.0/8", auth=False) as g:
        check(g, {f"{h}:{o.port}": BAD for h in ("127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.0.0.01", "127.0.0.1.5", "256.0.0.1", "1.2.3", "a.b.1",
                                                 "a.0x1f", "127.0.0.256", "1", "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127\u30020\u30020\u30021", "[127.0.0.1]", "[::ffff:127.1]", "[1::2::3]", "[fe80::1%25eth0]")})


def test_case_32_ports_of_bracketed_addresses_are_matched():
    with Origin(serving({}), host=GOOD6) as o6, Gateway("--allow-domain", f"[{GOOD6}]:{o6.port}", auth=False) as g:
        check(g, {f"[{GOOD6}]:{o6.port}": OK, f"[FD55:0::0:1]:{o6.port}": OK, f"[{GOOD6}]:{o6.port + 1}": DENIED, f"[fd55::2]:{o6.port}": DENIED})


def test_case_34_and_W6_a_default_port_is_the_schemes(o):
    with Gateway("--allow-domain", "origin.test:80", "--allow-domain", "api.test:443", auth=False) as g:
        for url, status in (("http://origin.test/", 502), ("http://origin.test:/", 502), ("https://origin.test/", 403), ("https://api.test/", 502), ("http://api.test/", 403), ("http://api.test:443/", 502)):
            assert one(g, get(url)).status == status, url


def test_a_denied_request_keeps_the_connection_and_nothing_of_it_is_remembered(o):
    with Gateway("--deny-domain", "denied.test", auth=False) as g, g.connect() as c:
        for _ in range(3):
            c.send(get("http://denied.test/") + get(f"http://{o.netloc}/x"))
            assert [c.response().status, c.response().status] == [403, 200]
