"""Secrets that change while many connections are busy: no request fails that could have succeeded, and nobody asks a source twice at once."""
import os
import re
import threading
import time

import pytest
from gateway import Origin, one, read_request, until
from test_reverse import LOCAL, ask, gate, service
from test_sources import alive, by_helper, replace, runs

CLIENTS = 16


class Guard:
    """An upstream that takes what `takes(secret)` says at that moment, and answers 401 to the rest."""

    def __init__(self, takes):
        self.takes, self.shown, self.refused = takes, set(), 0

    def __call__(self, conn, origin):
        rest = b""
        while True:
            r, rest = read_request(conn, rest)
            secret = r["h"].get("authorization", "").removeprefix("Bearer ")
            self.shown.add(secret)
            good = self.takes(secret)
            self.refused += not good
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" if good else b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")


class Load:
    """`with Load(g) as l:` many keep-alive connections send one request after the other until its end; l.bad are answers other than 200."""

    def __init__(self, g, clients=CLIENTS):
        self.g, self.bad, self.done = g, [], [0] * clients
        self.stop = threading.Event()

    def _client(self, i):
        with self.g.connect() as c:
            while not self.stop.is_set():
                c.send(ask(self.g, f"/svc/c{i}"))
                a = c.response()
                self.done[i] += 1
                if a.status != 200:
                    self.bad.append(a)

    def __enter__(self):
        self.started = time.monotonic()
        self.threads = [threading.Thread(target=self._client, args=(i,)) for i in range(len(self.done))]
        for t in self.threads:
            t.start()
        return self

    def go_round(self, times=2):
        """Every client gets at least so many answers more."""
        before = list(self.done)
        assert until(lambda: all(n >= b + times for n, b in zip(self.done, before)), 30), (before, self.done)

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join()
        self.seconds = time.monotonic() - self.started
        assert not self.bad, (len(self.bad), sum(self.done), self.bad[:2])
        assert all(self.done), self.done


def versions_only_grow(g, n):
    last = {}
    for r in g.records(n):
        c = r["connection_id"]
        assert r["credential_version"] >= last.get(c, 1), r
        last[c] = r["credential_version"]


class Volume:
    """A Kubernetes volume: token -> ..data/token, ..data -> ..N, moved to the next folder by renaming a link."""

    def __init__(self, path):
        self.path, self.n = path, 0
        path.mkdir()

    def put(self, value):
        self.n += 1
        folder = self.path / f"..{self.n}"
        folder.mkdir()
        (folder / "token").write_text(value)
        os.symlink(folder.name, self.path / "..tmp")
        os.rename(self.path / "..tmp", self.path / "..data")
        if self.n == 1:
            os.symlink("..data/token", self.path / "token")
        elif self.n > 2:  # as the kubelet does: what is two behind goes
            (self.path / f"..{self.n - 2}" / "token").unlink()
            (self.path / f"..{self.n - 2}").rmdir()


def volume_put(tmp_path):
    v = Volume(tmp_path / "volume")
    return v.path / "token", v.put


def rename_put(tmp_path):
    path = tmp_path / "secret"
    return path, lambda value: replace(path, value)


@pytest.mark.threads
@pytest.mark.parametrize("layout", [rename_put, volume_put])
def test_case80_a_file_that_moves_under_load(tmp_path, layout):
    path, put = layout(tmp_path)
    secrets = [f"real-moving-secret-{i}" for i in range(6)]
    good = {secrets[0]}
    put(secrets[0])
    guard = Guard(lambda s: s in good)
    with Origin(guard, host=LOCAL) as o, gate(tmp_path, {"svc": service(o, credential_key=f"file://{path}")}, "--workers", "2") as g:
        g.secrets += secrets
        with Load(g) as load:
            for old, new in zip(secrets, secrets[1:]):
                load.go_round()
                good.add(new)  # whoever issues secrets knows the new one before it is handed out
                put(new)
                good.discard(old)
            load.go_round()
        assert guard.shown == set(secrets)
        n = sum(load.done)
        assert len(g.records(n)) == n
        versions_only_grow(g, n)


@pytest.mark.threads
def test_K5_a_moved_file_is_noticed_within_a_second(tmp_path):
    path, put = volume_put(tmp_path)
    put("real-first-secret")
    guard = Guard(lambda s: True)
    with Origin(guard, host=LOCAL) as o, gate(tmp_path, {"svc": service(o, credential_key=f"file://{path}")}, "--workers", "2") as g:
        g.secrets += ["real-first-secret", "real-second-secret"]
        with Load(g, 4) as load:
            load.go_round()
            put("real-second-secret")
            t = time.monotonic()
            assert until(lambda: "real-second-secret" in guard.shown)
            assert time.monotonic() - t < 5  # 1 s on a machine that is not busy


ONE_AT_A_TIME = """
mkdir {0}/running || echo overlap >> {0}/overlaps
sleep 0.05
{1}
rmdir {0}/running
"""


def test_case82_a_command_that_expires_under_load(tmp_path):
    """The token says until when it is good, and the upstream keeps to that."""
    text = ONE_AT_A_TIME.format(tmp_path, f"e=$(($(date +%s) + 3)); echo '{{\"headers\":{{\"Authorization\":\"Bearer real-token-'$(wc -l < {tmp_path}/runs)"
                                "'-'$e'\"},\"expires_at\":'$e'}'")
    guard = Guard(lambda s: time.time() < int(s.rsplit("-", 1)[1]))
    with Origin(guard, host=LOCAL) as o, by_helper(tmp_path, o, text, "--workers", "2", ttl_secs=600, timeout_secs=20,
                                                   output={"format": "json", "allow_headers": ["authorization"]}) as g:
        with Load(g) as load:
            assert until(lambda: len(guard.shown) >= 4, 60, 0.1)
            load.go_round()
        g.secrets += guard.shown
        assert all(re.fullmatch(r"real-token-\d+-\d+", s) for s in guard.shown)
        assert not (tmp_path / "overlaps").exists()
        # each lives 2 to 3 s and is replaced in the last quarter, at the latest at its end
        assert len(guard.shown) <= runs(tmp_path) <= load.seconds / 1.4 + 2, load.seconds


def test_case82_a_command_whose_time_is_over_under_load(tmp_path):
    text = ONE_AT_A_TIME.format(tmp_path, f"echo real-token-$(wc -l < {tmp_path}/runs)-end")
    guard = Guard(lambda s: True)
    with Origin(guard, host=LOCAL) as o, by_helper(tmp_path, o, text, "--workers", "2", ttl_secs=1, timeout_secs=20) as g:
        with Load(g) as load:
            assert until(lambda: len(guard.shown) >= 4, 60, 0.1)
        g.secrets += guard.shown
        assert not (tmp_path / "overlaps").exists()
        assert len(guard.shown) <= runs(tmp_path) <= load.seconds / 0.75 + 2
        before = runs(tmp_path)
        time.sleep(2.5)  # an idle gateway runs no helper
        assert runs(tmp_path) == before


def test_case82_an_upstream_that_refuses_the_old_under_load(tmp_path):
    value, secrets = tmp_path / "value", [f"real-refused-secret-{i}" for i in range(6)]
    value.write_text(secrets[0])
    good = set(secrets[:1])
    guard = Guard(lambda s: s in good)
    text = ONE_AT_A_TIME.format(tmp_path, f"cat {value}")
    with Origin(guard, host=LOCAL) as o, by_helper(tmp_path, o, text, "--workers", "2", ttl_secs=600, timeout_secs=20) as g:
        g.secrets += secrets
        with Load(g) as load:
            for old, new in zip(secrets, secrets[1:]):
                load.go_round()
                replace(value, new)
                good.add(new)
                good.discard(old)
            load.go_round()
        assert guard.shown == set(secrets) and not (tmp_path / "overlaps").exists()
        assert guard.refused >= len(secrets) - 1
        assert runs(tmp_path) == len(secrets)  # the first, and one for each refusal, whoever it was that was refused
        versions_only_grow(g, sum(load.done))


def test_case82_a_slow_command_holds_up_nobody_before_its_end(tmp_path):
    """Asked for in the last quarter, and nobody waits for it: the old one serves on."""
    text = f"[ $(wc -l < {tmp_path}/runs) = 1 ] || sleep 1; echo real-token-$(wc -l < {tmp_path}/runs)-end"
    guard, slowest = Guard(lambda s: True), [0.0]
    with Origin(guard, host=LOCAL) as o, by_helper(tmp_path, o, text, "--workers", "1", ttl_secs=12, timeout_secs=20) as g:
        assert one(g, ask(g, "/svc/x")).status == 200
        end = time.monotonic() + 14
        with g.connect() as c:
            while len(guard.shown) < 2 and time.monotonic() < end:
                t = time.monotonic()
                c.send(ask(g, "/svc/x"))
                assert c.response().status == 200
                slowest[0] = max(slowest[0], time.monotonic() - t)
                time.sleep(0.02)
        g.secrets += guard.shown
        assert len(guard.shown) == 2 and runs(tmp_path) == 2
        assert slowest[0] < 0.9, slowest


def test_case83_helpers_of_a_gateway_that_ends_go_with_it(tmp_path):
    with Origin(host=LOCAL) as o, by_helper(tmp_path, o, f"echo $$ > {tmp_path}/pid; sleep 60 & echo $! >> {tmp_path}/pid; wait", timeout_secs=60) as g:
        with g.connect() as c:
            c.send(ask(g, "/svc/x"))
            assert until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().count("\n") == 2)
            pids = [int(p) for p in (tmp_path / "pid").read_text().split()]
            assert all(alive(p) for p in pids)
            g.proc.terminate(), time.sleep(0.1), g.proc.terminate()
            assert g.proc.wait(10) == 0
            assert until(lambda: not any(alive(p) for p in pids), 5)
