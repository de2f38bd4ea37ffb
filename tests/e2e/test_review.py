"""What a review with fresh eyes tried, each named after the decision it belongs to."""
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from gateway import Gateway, Origin, Raw, answering, connect_head, get, read_head, until
from hops import HttpHop
from tools import Process

OPEN = ("--allow-domain", "*", "--allow-domain", "10.55.0.0/16")


# --- C11, audit: back-pressure of the audit --------------------------------------------------------------------------

def test_audit_hold_survives_a_new_connection_and_a_running_exchange(tmp_path):
    """A sink that is merely slow holds new requests back; a connection that is new then waits like the others, and nothing breaks."""
    r, w = os.pipe()
    port = 0
    p = Process("proxy", "--port", "0", "--no-auth", "--workers", "1", "--audit-log", f"fd:{w}", *OPEN, tmp=tmp_path, pass_fds=(w,),
                ready=lambda p: "Press Ctrl-C" in p.out)
    os.close(w)
    try:
        port = int(p.out.split("listening on 127.0.0.1:")[1].split()[0])

        def slow(conn, origin):
            raw, rest = read_head(conn)
            origin.raw.append(raw)
            time.sleep(0.5)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        with Origin(slow) as o, Raw("127.0.0.1", port) as filler:
            long = "/" + "x" * 8000
            sent = 0
            for _ in range(3000):  # more than 4 MiB of records: the pipe takes 64 KiB
                filler.send(get(f"http://127.0.0.1:{port}{long}"))
                filler.s.settimeout(0.3)
                try:
                    filler.response()
                except TimeoutError:
                    break
                sent += 1
            assert 50 < sent < 3000, sent  # held back
            with Raw("127.0.0.1", port) as fresh, Raw("127.0.0.1", port) as tunnel:
                fresh.send(get(f"http://{o.netloc}/slow", "POST", "Content-Length: 4\r\n", "ab"))  # its body is still to come
                tunnel.send(connect_head(o.netloc))
                time.sleep(0.5)
                assert not o.connections  # new connections wait, too
                threading.Thread(target=lambda: [os.read(r, 1 << 20) for _ in iter(int, 1)], daemon=True).start()
                assert tunnel.response("CONNECT").status == 200
                assert fresh.send("cd").response().body == b"ok"
                assert until(lambda: o.connections == 2)
        assert p.proc.poll() is None, p.err[-3000:]
    finally:
        assert p.end() in (0, None), p.err[-3000:]


# --- O1: reload while a connection is being made ----------------------------------------------------------------------

def test_o7_trust_changes_while_a_connection_is_made(tmp_path, ca):
    """SIGHUP re-reads trust; a connection that is still before its TLS handshake keeps what it began with, or takes the new."""
    go = threading.Event()
    trust = tmp_path / "trust.pem"
    trust.write_text(Path(ca.pem).read_text())

    def hop(conn, origin):
        raw, _ = read_head(conn)
        origin.raw.append(raw)
        go.wait(10)
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        time.sleep(0.5)
    with Origin(hop) as h, Gateway("--upstream-proxy", h.netloc, auth=False, env={"SSL_CERT_FILE": str(trust)}) as g, g.connect() as c:
        c.send(get("https://origin.test/x"))
        assert until(lambda: h.raw)
        trust.write_text(trust.read_text() * 2 + "\n")
        other = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=other"],
                               capture_output=True, text=True).stdout
        trust.write_text(trust.read_text() + other)
        g.proc.send_signal(signal.SIGHUP)
        assert until(lambda: g.records(1, "lifecycle") and any(x.get("event") == "reload" or "reload" in json.dumps(x) for x in g.records(0, "lifecycle")))
        time.sleep(0.3)
        go.set()
        assert c.response().status == 502


# --- C11: many connections over the limit ----------------------------------------------------------------------------

def test_c11_every_connection_over_the_limit_is_answered_and_recorded():
    with Gateway("--max-connections", "2", auth=False) as g:
        held = [g.connect() for _ in range(2)]
        for h in held:
            h.send("GET / HT")
        time.sleep(0.3)
        over = [g.connect() for _ in range(150)]
        got = []
        for o in over:
            try:
                got.append(o.response().status)
            except (EOFError, OSError):
                got.append(None)
        recs = g.records(150)
        for c in held + over:
            c.close()
    assert got == [503] * 150, got.count(503)
    assert len([r for r in recs if r.get("denial_category") == "connection_limit"]) == 150


# --- C6a: interim answers ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
                                     b"HTTP/1.1 100 Continue\nX: y\n\n"])
def test_c6a_a_tainted_interim_answer_ends_reuse(interim):
    def handler(conn, origin):
        rest = b""
        while True:
            raw, rest = read_head(conn, rest)
            conn.sendall(interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with Origin(handler) as o, Gateway(*OPEN, auth=False) as g, g.connect() as c:
        for _ in range(2):
            c.send(get(f"http://{o.netloc}/"))
            assert c.response().body == b"ok"
        assert o.connections == 2


# --- C10: a quiet stream ----------------------------------------------------------------------------------------------

def test_c10_a_stream_without_a_byte_ends_at_the_tunnel_time():
    """`tunnel` may be shorter than `stall`."""
    def sse(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")
        conn.recv(1)
    with Origin(sse) as o, Gateway(*OPEN, "--timeout", "tunnel=1", auth=False) as g, g.connect() as c:
        c.send(get(f"http://{o.netloc}/"))
        assert c.head().status == 200
        begin = time.monotonic()
        with pytest.raises((ConnectionResetError, EOFError)):
            c.chunked()
        assert 0.9 < time.monotonic() - begin < 4
        assert g.records(1)[0]["outcome"] == "timeout"


# --- audit: who it was ------------------------------------------------------------------------------------------------

def test_audit_a_malformed_target_is_nobody_authenticated():
    """Classify comes before identify: a 400 must not be recorded as `auth_outcome: succeeded`."""
    with Gateway() as g:
        for head in ("CONNECT x.test HTTP/1.1\r\nHost: x\r\n\r\n", get("ftp://x.test/"), "GET * HTTP/1.1\r\nHost: x\r\n\r\n"):
            with g.connect() as c:
                assert c.send(head).response("GET").status == 400
        for r in g.records(3):
            assert r["denial_category"] == "malformed_request" and "auth_outcome" not in r, r


@pytest.mark.parametrize("head", [connect_head("there.test:443"), get("https://there.test/")])
def test_audit_a_refusal_of_the_upstream_proxy_names_it(head):
    """`upstream_proxy` is there although no connection came about."""
    with HttpHop(answer=b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") as h, Gateway("--upstream-proxy", h.netloc, auth=False) as g, g.connect() as c:
        assert c.send(head).response().status == 502
        r = g.records(1)[0]
        assert r["upstream_proxy"] == h.netloc and r["denial_category"] == "external_proxy_rejected", r


# --- O1: two reloads --------------------------------------------------------------------------------------------------

def test_o1_what_a_second_reload_allows_again_goes_on(tmp_path):
    """Denied by one reload, allowed again by the next before the drain timeout: the running stream is not ended."""
    profile = tmp_path / "p.json"

    def allow(*hosts):
        profile.write_text(json.dumps({"meta": {"name": "p"}, "network": {"allow_domain": list(hosts)}}))

    def stream(conn, origin):
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfour")
        time.sleep(4)
        conn.sendall(b"more")
        time.sleep(0.5)

    def reloads(g):
        return [r for r in g.records(0, "lifecycle") if r.get("event") == "reload"]

    allow("10.55.0.1")
    with Origin(stream) as o, Gateway("--profile", str(profile), "--drain-timeout", "2", auth=False) as g, g.connect() as c:
        c.send(get(f"http://{o.netloc}/"))
        a = c.head()
        assert a.status == 200 and c.exactly(4) == b"four"
        for n, host in ((1, "other.test"), (2, "10.55.0.1")):
            allow(host)
            g.proc.send_signal(signal.SIGHUP)
            assert until(lambda: len(reloads(g)) == n), g.stderr
            time.sleep(0.2)
        assert c.exactly(4) == b"more"
        assert g.records(1)[0]["outcome"] == "ok"
