"""Names: how they are asked for, what failures say, how long answers live, and which address is taken."""
import json
import threading
import time

import pytest
from dns import ns  # noqa: F401
from gateway import Gateway, Origin, connect_head, get, one, serving, until

GOOD, SECOND, GOOD6, HOLE, DEAD = "10.55.0.1", "10.55.0.2", "fd55::1", "10.56.0.2", "10.57.0.9"


@pytest.fixture(scope="module")
def o():
    with Origin(serving({})) as origin:
        yield origin


@pytest.fixture(scope="module")
def g():
    with Gateway("--workers", "1", "--timeout", "dns=2", "--timeout", "connect=4", auth=False) as gateway:
        yield gateway


def ask(g, name, port, method="CONNECT"):
    data = connect_head(f"{name}:{port}", extra="Accept: application/json\r\n") if method == "CONNECT" else get(f"http://{name}:{port}/", extra="Accept: application/json\r\n")
    return one(g, data, method)


def error(a):
    return a.status, json.loads(a.body)["error"]


@pytest.mark.threads
def test_a_name_is_asked_for_as_it_is_in_both_families_without_suffixes(g, o, ns):
    ns.zone["plain.zone.test"] = {"A": [GOOD], "AAAA": []}
    assert ask(g, "Plain.Zone.TEST.", o.port).status == 200
    assert sorted({(q[0], q[1]) for q in ns.log if "plain" in q[0]}) == [("plain.zone.test", "A"), ("plain.zone.test", "AAAA")]


def test_names_of_the_hosts_file_are_not_asked_for(g, o, ns):
    assert ask(g, "origin.test", o.port).status == 200
    assert ask(g, "ORIGIN.test.", o.port).status == 200
    assert not ns.asked("origin.test")


@pytest.mark.parametrize("method", ["CONNECT", "GET"])
def test_H8_and_case_43_no_address_is_502_on_every_path(g, ns, method):
    ns.zone.update({"empty.zone.test": {"A": [], "AAAA": []}, "servfail.zone.test": {"rcode": 2}, "refused.zone.test": {"rcode": 5}, "formerr.zone.test": {"rcode": 1}})
    for name in ("nowhere.zone.test", "empty.zone.test", "servfail.zone.test", "refused.zone.test", "formerr.zone.test"):
        a = ask(g, name, 443, method)
        assert error(a) == (502, "dns_failed") and name in json.loads(a.body)["reason"], (name, a)


@pytest.mark.parametrize("method", ["CONNECT", "GET"])
def test_C10_a_name_server_that_never_answers_is_502_dns_timeout(ns, method):
    ns.zone["silent.zone.test"] = {"drop": True}
    with Gateway("--timeout", "dns=0.4", auth=False) as g:
        start = time.monotonic()
        assert error(ask(g, "silent.zone.test", 443, method)) == (502, "dns_timeout")
        assert 0.3 < time.monotonic() - start < 1.5
        r, = g.records(1)
        assert (r["outcome"], r["status"], r["denial_category"]) == ("timeout", 502, "upstream_connect_failed") and r["upstream_wait_ms"] > 300


def test_a_truncated_answer_is_asked_for_again_over_tcp(g, o, ns):
    ns.zone["long.zone.test"] = {"A": [GOOD], "tcp": True}
    start = time.monotonic()
    assert ask(g, "long.zone.test", o.port).status == 200
    assert ns.asked("long.zone.test", over="tcp") and time.monotonic() - start < 1


def test_a_hundred_addresses_over_tcp(g, o, ns):
    ns.zone["crowd.zone.test"] = {"A": [GOOD] + [f"10.55.1.{i}" for i in range(100)], "tcp": True}
    assert ask(g, "crowd.zone.test", o.port).status == 200
    ns.zone["badcrowd.zone.test"] = {"A": [GOOD, "169.254.0.1"] + [f"10.55.1.{i}" for i in range(20)], "tcp": True}
    assert ask(g, "badcrowd.zone.test", o.port).status == 403


def test_canonical_names_are_followed_and_their_ttl_counts(g, o, ns):
    ns.zone["real.zone.test"] = {"A": [GOOD], "ttl": 300}
    ns.zone["alias.zone.test"] = {"cname": ("real.zone.test", 1)}
    assert ask(g, "alias.zone.test", o.port).status == 200
    n = len(ns.asked("alias.zone.test", "A"))
    assert ask(g, "alias.zone.test", o.port).status == 200 and len(ns.asked("alias.zone.test", "A")) == n
    time.sleep(1.2)
    assert ask(g, "alias.zone.test", o.port).status == 200 and len(ns.asked("alias.zone.test", "A")) == n + 1


def test_an_answer_lives_as_long_as_its_ttl_and_at_least_a_second(g, o, ns):
    ns.zone.update({"ttl60.zone.test": {"A": [GOOD], "ttl": 60}, "ttl0.zone.test": {"A": [GOOD], "ttl": 0}, "ttl1.zone.test": {"A": [DEAD], "ttl": 1}})
    for _ in range(4):
        assert ask(g, "ttl60.zone.test", o.port).status == 200 and ask(g, "ttl0.zone.test", o.port).status == 200
    assert len(ns.asked("ttl60.zone.test", "A")) == len(ns.asked("ttl0.zone.test", "A")) == 1
    assert ask(g, "ttl1.zone.test", o.port).status == 502
    ns.zone["ttl1.zone.test"] = {"A": [GOOD], "ttl": 1}
    time.sleep(1.2)
    assert ask(g, "ttl1.zone.test", o.port).status == 200
    assert ask(g, "ttl0.zone.test", o.port).status == 200 and len(ns.asked("ttl0.zone.test", "A")) == 2


def test_a_failure_is_not_asked_for_again_at_once(g, ns):
    for _ in range(3):
        assert ask(g, "absent.zone.test", 443).status == 502
    assert len(ns.asked("absent.zone.test", "A")) == 1


@pytest.mark.threads
def test_the_same_name_asked_for_at_once_is_one_question_and_slow_ones_do_not_queue(g, o, ns):
    ns.zone["joined.zone.test"] = {"A": [GOOD], "wait": 0.5}
    for i in range(10):
        ns.zone[f"slow{i}.zone.test"] = {"A": [GOOD], "wait": 0.5}
    results, start = [], time.monotonic()
    names = ["joined.zone.test"] * 10 + [f"slow{i}.zone.test" for i in range(10)]
    threads = [threading.Thread(target=lambda n=n: results.append(ask(g, n, o.port).status)) for n in names]
    [t.start() for t in threads]
    assert ask(g, "origin.test", o.port).status == 200 and time.monotonic() - start < 0.45  # others are not held up
    [t.join() for t in threads]
    assert results == [200] * 20 and time.monotonic() - start < 1.6
    assert len(ns.asked("joined.zone.test", "A")) == 1


def test_a_client_that_leaves_during_a_look_up(g, o, ns):
    ns.zone["leaving.zone.test"] = {"A": [GOOD], "wait": 0.3}
    for end in ("close", "reset"):
        c = g.connect()
        c.send(connect_head(f"leaving.zone.test:{o.port}"))
        time.sleep(0.05)
        getattr(c, end)()
    ours = lambda: [r["outcome"] for r in g.records(0) if r.get("target") == "leaving.zone.test"]  # noqa: E731
    assert until(lambda: len(ours()) == 2), ours()
    assert "client_aborted" in ours()


def test_one_family_is_enough_and_the_other_is_not_waited_for_long(g, o, ns):
    with Origin(serving({}), host=GOOD6) as o6:
        ns.zone["six.zone.test"] = {"A": [], "AAAA": [GOOD6]}
        assert ask(g, "six.zone.test", o6.port).status == 200
    ns.zone["lame6.zone.test"] = {"A": [GOOD], "wait_AAAA": 1.5}
    ns.zone["lame6b.zone.test"] = {"A": [GOOD], "AAAA": []}
    start = time.monotonic()
    assert ask(g, "lame6.zone.test", o.port).status == 200
    assert time.monotonic() - start < 1.0


@pytest.mark.threads
@pytest.mark.parametrize("zone,bound", [({"A": [DEAD, GOOD]}, 1.0), ({"A": [SECOND, GOOD]}, 1.0), ({"A": [HOLE, GOOD]}, 1.5), ({"A": [HOLE, DEAD, SECOND, GOOD]}, 2.0), ({"A": [GOOD], "AAAA": ["fd55::dead"]}, 1.5), ({"A": [GOOD], "AAAA": [GOOD6]}, 1.0)])
def test_case_46_the_first_address_that_answers_is_taken(g, o, ns, zone, bound):
    name = f"eyes{len(ns.zone)}.zone.test"
    ns.zone[name] = zone
    for method in ("CONNECT", "GET"):
        start = time.monotonic()
        assert ask(g, name, o.port, method).status == 200
        assert time.monotonic() - start < bound


def test_case_46_all_addresses_together_are_bounded(ns):
    ns.zone["holes.zone.test"] = {"A": [HOLE, "10.56.0.3", "10.56.0.4"]}
    with Gateway("--timeout", "connect=0.8", auth=False) as g:
        start = time.monotonic()
        assert error(ask(g, "holes.zone.test", 443)) == (504, "connect_timeout")
        assert time.monotonic() - start < 1.8


def test_resolver_answers_are_judged_at_each_use_and_not_only_when_fetched(ns, o):
    ns.zone["cached.zone.test"] = {"A": [GOOD], "ttl": 60}
    with Gateway("--workers", "1", "--deny-domain", f"{GOOD}:1", auth=False) as g:
        assert ask(g, "cached.zone.test", o.port).status == 200
        assert error(ask(g, "cached.zone.test", 1)) == (403, "address_denied")
        assert len(ns.asked("cached.zone.test", "A")) == 1
