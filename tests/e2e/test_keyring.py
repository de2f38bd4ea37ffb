"""Secrets of the system's keyring: a real gnome-keyring, asked through the real secret-tool."""
import json
import signal
import time
from pathlib import Path

import pytest
from gateway import Gateway, Origin, one, until
from secret_service import Keyring
from test_reverse import JSON, LOCAL, SECRET, ask, gate, profile, service
from test_sources import NEW, Picky, refused, shown

SPARE = "real-spare-secret-0123"


@pytest.fixture(scope="module")
def ring():
    with Keyring() as k:
        yield k


@pytest.fixture()
def local():
    with Origin(host=LOCAL) as o:
        yield o


def by_keyring(tmp_path, origin, key, ring, env=None, **more):
    services = {"svc": service(origin, credential_key=key, **more), "other": service(origin)}
    return gate(tmp_path, services, env=ring.env | (env or {}))


def children(g):
    return [int(p) for p in Path(f"/proc/{g.proc.pid}/task/{g.proc.pid}/children").read_text().split()]


# ---------------------------------------------------------------- finding an item

@pytest.mark.parametrize("key,stored", [
    ("OWN_KEY", ("nono", "OWN_KEY")),
    ("WITH_TARGET", ("nono", "WITH_TARGET", "target", "default", "application", "rust-keyring")),
    ("keyring://shop/me@example.com", ("shop", "me@example.com")), ("keyring://--help/-m", ("--help", "-m"))])
def test_an_item_is_found_by_service_and_account(tmp_path, local, ring, key, stored):
    ring.store(SECRET, *stored)
    with by_keyring(tmp_path, local, key, ring) as g:
        assert [one(g, ask(g, "/svc/x")).status for _ in range(3)] == [200] * 3
        assert shown(local) == [f"Bearer {SECRET}"] * 3
        assert [(r["event"], r["source"], r["credential_version"]) for r in g.records(1, "credential")] == [("loaded", "keyring", 1)]


def test_an_item_in_go_keyrings_form(tmp_path, local, ring):
    ring.store("go-keyring-base64:cmVhbC1zZWNyZXQtMDgxNS1hYmNkZWY=", "go", "me")
    ring.store(SPARE, "go", "plain")
    with by_keyring(tmp_path, local, "keyring://go/me?decode=go-keyring", ring) as g:
        assert one(g, ask(g, "/svc/x")).status == 200 and shown(local) == [f"Bearer {SECRET}"]
    with by_keyring(tmp_path, local, "keyring://go/plain?decode=go-keyring", ring) as g:
        g.secrets.append(SPARE)
        refused(g, "go-keyring-base64")


def test_the_first_of_several_items_counts(tmp_path, local, ring):
    ring.store(SECRET, "many", "me")
    ring.store(SPARE, "many", "me", "application", "another")
    first = ring.tool("lookup", "service", "many", "username", "me").stdout.decode()
    assert first in (SECRET, SPARE)
    with by_keyring(tmp_path, local, "keyring://many/me", ring) as g:
        g.secrets.append(SPARE)
        assert one(g, ask(g, "/svc/x")).status == 200 and shown(local) == [f"Bearer {first}"]


def test_case78_no_item_refuses_its_route_alone(tmp_path, local, ring):
    with by_keyring(tmp_path, local, "keyring://shop/nobody", ring) as g:
        assert "nobody" not in refused(g, "keyring has no item keyring://shop/<redacted>")
        assert one(g, ask(g, "/other/x")).status == 200
        ring.store(SPARE, "shop", "nobody")  # found once the failure, kept 5 s, is over
        g.secrets.append(SPARE)
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 200, 10, 0.3) and shown(local)[-1] == f"Bearer {SPARE}"


def test_case76_an_item_of_two_lines(tmp_path, local, ring):
    ring.store("real-line-one\nX-Evil: real-line-two", "lines", "me")
    with by_keyring(tmp_path, local, "keyring://lines/me", ring) as g:
        g.secrets += ["real-line-one", "real-line-two"]
        refused(g, "line break")
        assert not local.seen


# ---------------------------------------------------------------- changes

def test_K5_a_changed_item_is_read_after_its_ttl(tmp_path, local, ring):
    ring.store(SECRET, "ttl", "me")
    with by_keyring(tmp_path, local, "keyring://ttl/me", ring, cache_ttl_secs=2) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200
        ring.store(NEW, "ttl", "me")
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 200 and shown(local)[-1] == f"Bearer {NEW}", 10, 0.1)
        assert set(shown(local)) == {f"Bearer {SECRET}", f"Bearer {NEW}"}


def test_K5_a_changed_item_is_read_after_a_401(tmp_path, ring):
    ring.store(SECRET, "rotate", "me")
    picky = Picky(SECRET)
    with Origin(picky, host=LOCAL) as o, by_keyring(tmp_path, o, "keyring://rotate/me", ring) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200
        ring.store(NEW, "rotate", "me")
        picky.good = NEW
        a = one(g, ask(g, "/svc/y", "POST", body="hello"), "POST")
        assert a.status == 200 and a.body == b"ok"
        assert shown(o) == [f"Bearer {SECRET}"] * 2 + [f"Bearer {NEW}"] and [r["body"] for r in o.seen[1:]] == [b"hello"] * 2


def test_SIGHUP_reads_a_changed_item(tmp_path, local, ring):
    ring.store(SECRET, "hup", "me")
    with by_keyring(tmp_path, local, "keyring://hup/me", ring) as g:
        g.secrets.append(NEW)
        assert one(g, ask(g, "/svc/x")).status == 200
        ring.store(NEW, "hup", "me")
        assert one(g, ask(g, "/svc/x")).status == 200 and shown(local) == [f"Bearer {SECRET}"] * 2
        g.proc.send_signal(signal.SIGHUP)
        assert until(lambda: [r for r in g.records(0, "lifecycle") if r["event"] == "reload"])
        assert until(lambda: one(g, ask(g, "/svc/x")).status == 200 and shown(local)[-1] == f"Bearer {NEW}", 5, 0.05)


# ---------------------------------------------------------------- a keyring that does not answer

def test_case84_a_prompt_that_nobody_answers(tmp_path, local):
    with Keyring(silent_prompter=True) as ring:
        ring.store(SECRET, "shop", "me")
        ring.lock()
        with by_keyring(tmp_path, local, "keyring://shop/me", ring, {"NONO_KEYRING_TIMEOUT_SECS": "3"}) as g, g.connect() as c:
            c.send(ask(g, "/svc/x", extra=JSON))
            assert until(lambda: children(g))
            t = time.monotonic()
            assert one(g, ask(g, "/other/x")).status == 200 and time.monotonic() - t < 2.5  # nobody else waits
            a = c.response()
            assert a.status == 503 and b"NONO_KEYRING_TIMEOUT_SECS" in a.body, a
            assert until(lambda: not children(g))


def test_case84_a_locked_keyring_is_asked_again_when_it_is_open(tmp_path, local):
    with Keyring() as ring:
        ring.store(SECRET, "shop", "me")
        ring.lock()
        with by_keyring(tmp_path, local, "keyring://shop/me", ring, {"NONO_KEYRING_TIMEOUT_SECS": "10"}) as g:
            refused(g, "locked")
            ring.unlock()
            assert until(lambda: one(g, ask(g, "/svc/x")).status == 200, 12, 0.3)
            assert f"Bearer {SECRET}" in shown(local)


def test_a_time_limit_that_is_no_number_is_told(tmp_path, local, ring):
    ring.store(SECRET, "shop", "me")
    with by_keyring(tmp_path, local, "keyring://shop/me", ring, {"NONO_KEYRING_TIMEOUT_SECS": "2m"}) as g:
        assert "NONO_KEYRING_TIMEOUT_SECS is no number of seconds: 120" in g.stderr
        assert one(g, ask(g, "/svc/x")).status == 200


def test_case78_no_keyring_service(tmp_path, local):
    with Keyring(service=False) as ring, by_keyring(tmp_path, local, "keyring://shop/me", ring) as g:
        refused(g, "no keyring service can be reached", "DBUS_SESSION_BUS_ADDRESS")


def test_case78_a_store_that_nobody_has_asked_is_not_called_good(tmp_path, local, ring):
    """At start no store is asked: that may take long, and prompt. Nor is anything claimed of it."""
    with by_keyring(tmp_path, local, "NO_SUCH_ITEM", ring) as g:
        assert "creds: NO_SUCH_ITEM ? (asked at the first use) |" in g.banner, g.banner
        assert f"export SVC_KEY={g.token}" in g.banner and not g.records(0, "credential")
    p = profile(tmp_path, {"svc": service(local, credential_key="NO_SUCH_ITEM")})
    with Gateway("-p", str(p), "--output", "json", ready='"warnings"', env=ring.env) as g:
        (r,) = json.loads(g.banner)["routes"]
        assert r["credential"] == "unchecked" and "first use" in r["reason"] and "SVC_KEY" in r["env"], r


def test_case78_no_bus(tmp_path, local, ring):
    env = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    with by_keyring(tmp_path, local, "keyring://shop/me", ring, env) as g:
        refused(g, "no keyring service can be reached")
        assert one(g, ask(g, "/other/x")).status == 200
