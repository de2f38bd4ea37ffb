"""The audit stream: every field, every sink, what a failing one does, and that nothing secret is in it."""
import json
import os
import re
import signal
import subprocess
import stat
import threading
import time

import pytest
from dns import ns  # noqa: F401
from gateway import Gateway, Origin, Raw, connect_head, get, one, read_head, run, serving, until
from hops import HttpHop
from test_stream import WS, websocket
from tools import Process, Steps, banner, exchanges, lines, parallel, port_of, raw_get

CASE = pytest.mark.parametrize
ALWAYS = {"type", "timestamp_unix_ms", "connection_id", "request_id", "listener", "mode", "decision", "outcome", "port", "method", "path", "status",
          "reason", "request_bytes", "response_bytes", "duration_ms", "upstream_wait_ms"}
KNOWN = ALWAYS | {"client_address", "client_uid", "client_name", "auth_mechanism", "auth_outcome", "denial_category", "rule", "rule_origin", "scheme",
                  "target", "http_version", "query_present", "upstream_address", "upstream_proxy", "upstream_reused", "upstream_status"}
OUTCOMES = {"ok", "refused", "upstream_failed", "client_aborted", "upstream_aborted", "timeout", "shutdown", "gateway_error"}


@pytest.fixture(scope="module")
def o():
    with Origin(serving({"/ws": websocket, "/404": b"HTTP/1.1 404 N\r\nContent-Length: 3\r\n\r\nnix",
                         "/cut": lambda c, o, h, r: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"),
                         "/bad": lambda c, o, h, r: c.sendall(b"SMTP ready\r\n\r\n"),
                         "/slow": lambda c, o, h, r: (time.sleep(0.3), c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))[1]})) as origin:
        yield origin


@pytest.fixture(scope="module")
def g():
    with Gateway("--workers", "2", "--deny-domain", "denied.test", "--timeout", "head=0.5", "--timeout", "response=1") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def open_gateway():
    with Gateway("--deny-domain", "denied.test", auth=False) as gateway:
        yield gateway


def sound(r):
    """What holds for every record."""
    assert ALWAYS <= set(r) <= KNOWN, set(r) ^ ALWAYS
    nulls = {k for k, v in r.items() if v is None}
    assert nulls <= {"port", "method", "path", "status", "reason"}, nulls
    assert abs(r["timestamp_unix_ms"] / 1000 - time.time()) < 60 and isinstance(r["timestamp_unix_ms"], int)
    assert r["outcome"] in OUTCOMES and r["decision"] in ("allow", "deny")
    if r["outcome"] in ("refused", "upstream_failed", "timeout"):  # whoever left, or an OPTIONS answered here, was not denied anything
        assert ("denial_category" in r) == (r["decision"] == "deny")
    else:
        assert r["decision"] == "deny" or "denial_category" not in r
    assert r["decision"] == "allow" or r["outcome"] == "ok" or r["reason"]
    assert 0 <= r["upstream_wait_ms"] <= r["duration_ms"]
    return r


def record_of(g, action, n=1):
    """The records that an action leaves, when they are all there; each is sound, and there is exactly n."""
    before = len(g.records())
    action()
    got = g.records(before + n)[before:]
    time.sleep(0.03)
    assert len(g.records()) - before == n, got
    return [sound(r) for r in got] if n > 1 else sound(got[0])


def subset(r, **want):
    assert {k: r.get(k) for k in want} == want, r


# ---- one record for each of everything (case 122)

@pytest.mark.threads
def test_case_122_a_forwarded_request_has_every_field(g, o):
    r = record_of(g, lambda: one(g, get(f"http://ORIGIN.test.:{o.port}/p/q?secret=hunter2", "POST", "Content-Length: 5\r\n", "hello", auth=g.basic)))
    subset(r, type="exchange", mode="forward", decision="allow", outcome="ok", auth_mechanism="proxy_authorization", auth_outcome="succeeded",
           rule="default-allow", scheme="http", target="origin.test", port=o.port, method="POST", path="/p/q", http_version="1.1", query_present=True,
           upstream_address="10.55.0.1", upstream_reused=False, status=200, reason=None, request_bytes=5, client_address="127.0.0.1",
           listener=f"127.0.0.1:{g.port}")
    assert r["response_bytes"] > 20 and "upstream_status" not in r and "hunter2" not in g.audit_path.read_text()
    assert re.fullmatch(r"c[\w-]+", r["connection_id"]) and re.fullmatch(r"r[\w-]+", r["request_id"])
    line = [l for l in g.audit_path.read_text().splitlines() if r["request_id"] in l][0]
    assert re.search(r'"duration_ms":\d+\.\d{3},"upstream_wait_ms":\d+\.\d{3}', line), line


def test_case_122_a_tunnel_has_its_bytes_and_no_path(g, o):
    def act():
        with g.connect() as c:
            c.send(connect_head(f"origin.test:{o.port}", g.basic)).response("CONNECT")
            c.send("GET /x HTTP/1.1\r\nHost: y\r\n\r\n")
            a = c.response()
            act.down = len(a.body)
            time.sleep(0.05)
    r = record_of(g, act)
    subset(r, mode="connect", decision="allow", outcome="ok", method="CONNECT", path=None, status=200, target="origin.test", port=o.port,
           request_bytes=28, rule="default-allow", auth_outcome="succeeded", upstream_address="10.55.0.1")
    assert r["response_bytes"] > act.down and "query_present" not in r and r["duration_ms"] > 40


EVERY = {
    "CONNECT denied": (connect_head("denied.test:443", "BASIC"), "CONNECT", dict(mode="connect", outcome="refused", denial_category="host_denied", status=403, rule_origin="--deny-domain", target="denied.test", port=443, path=None)),
    "GET denied": (get("http://denied.test/x", auth="BASIC"), "GET", dict(mode="forward", outcome="refused", denial_category="host_denied", status=403, target="denied.test", port=80, path="/x")),
    "metadata": (get("http://169.254.169.254/latest", auth="BASIC"), "GET", dict(outcome="refused", denial_category="host_denied", status=403)),
    "rebinding": (connect_head("rebind.test:80", "BASIC"), "CONNECT", dict(outcome="refused", denial_category="address_denied", status=403)),
    "no proof CONNECT": (connect_head("x.test:443"), "CONNECT", dict(mode="connect", outcome="refused", denial_category="authentication_failed", auth_mechanism="proxy_authorization", auth_outcome="failed", status=407)),
    "no proof GET": (get("http://x.test/"), "GET", dict(mode="forward", outcome="refused", denial_category="authentication_failed", auth_outcome="failed", status=407)),
    "malformed": ("GET / HTTP/1.1\r\nX : y\r\n\r\n", "GET", dict(mode="local", outcome="refused", denial_category="malformed_request", status=400)),
    "no HTTP": ("\x16\x03\x01\x00\r\n\r\n", "GET", dict(mode="local", outcome="refused", denial_category="malformed_request", status=400, method=None, path=None, port=None)),
    "head too large": (get("http://x.test/", extra="X: " + "y" * 70000 + "\r\n"), "GET", dict(outcome="refused", denial_category="malformed_request", status=431)),
    "version": ("GET http://x.test/ HTTP/3.0\r\n\r\n", "GET", dict(outcome="refused", denial_category="malformed_request", status=505)),
    "unknown service": ("GET /svc/x HTTP/1.1\r\nHost: 127.0.0.1\r\nProxy-Authorization: BASIC\r\n\r\n", "GET", dict(status=404, denial_category="unknown_service", outcome="refused")),
    "OPTIONS *": ("OPTIONS * HTTP/1.1\r\nHost: x\r\nProxy-Authorization: BASIC\r\n\r\n", "OPTIONS", dict(mode="local", status=204, outcome="ok")),
    "TRACE": (get("http://x.test/", "TRACE", auth="BASIC"), "GET", dict(status=403, outcome="refused")),
    "half head": ("GET http://x.test/ HT", "GET", dict(mode="local", outcome="timeout", denial_category="timeout", status=408)),
    "unknown name": (get("http://nowhere.invalid.test/", auth="BASIC"), "GET", dict(outcome="upstream_failed", denial_category="upstream_connect_failed", status=502)),
    "connection refused": (connect_head("10.55.0.1:1", "BASIC"), "CONNECT", dict(outcome="upstream_failed", denial_category="upstream_connect_failed", status=502, port=1, target="10.55.0.1")),
    "answer of 404": (get("http://O/404", auth="BASIC"), "GET", dict(decision="allow", outcome="ok", status=404, response_bytes=3)),
    "HEAD": (get("http://O/h", "HEAD", auth="BASIC"), "HEAD", dict(decision="allow", outcome="ok", status=200, method="HEAD", response_bytes=0)),
    "bad answer": (get("http://O/bad", auth="BASIC"), "GET", dict(outcome="upstream_failed", status=502, decision="deny")),
    "HTTP/1.0": (get("http://O/ten", version="1.0", auth="BASIC"), "GET", dict(http_version="1.0", outcome="ok")),
    "no query": (get("http://O/nq", auth="BASIC"), "GET", dict(query_present=False, path="/nq")),
    "odd path": (get("http://O/%0a%22\xff\"{}'", auth="BASIC"), "GET", dict(status=200)),
    "head of 1 MiB of nothing": ("A" * 70000, "GET", dict(outcome="refused", denial_category="malformed_request")),
}


@CASE("name", EVERY)
def test_case_122_exactly_one_record_for(name, g, o, ns):
    data, method, want = EVERY[name]
    r = record_of(g, lambda: one(g, data.replace("BASIC", g.basic).replace("http://O/", f"http://origin.test:{o.port}/").replace("Host: O", f"Host: {o.netloc}"), method))
    subset(r, **want)
    if r["decision"] == "deny" and r.get("denial_category") in ("host_denied", "address_denied") and name != "TRACE":
        assert r["rule"] and r["reason"]


def test_case_122_a_cut_answer_differs_from_a_success_and_an_aborting_client_is_told(g, o):
    def cut():
        with g.connect() as c:
            c.send(get(f"http://{o.netloc}/cut", auth=g.basic)).head()
            c.closed()
    r = record_of(g, cut)
    subset(r, decision="allow", outcome="upstream_aborted", status=200)
    assert r["reason"]
    hold = Steps()
    with Origin(lambda c, _: (read_head(c), c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), hold["x"].wait(10))) as half:
        def leave():
            with g.connect() as c:
                c.send(get(f"http://{half.netloc}/", auth=g.basic)).head()
                c.exactly(5)
                c.reset()
        subset(record_of(g, leave), decision="allow", outcome="client_aborted", status=200, response_bytes=5)
        hold["x"].set()


def test_case_45_a_client_that_vanishes_during_the_502_leaves_the_original_error(g):
    def act():
        c = g.connect()
        c.send(connect_head("10.55.0.1:1", g.basic))
        c.reset()
    r = record_of(g, act)
    assert r["outcome"] in ("upstream_failed", "client_aborted") and r["decision"] == "deny" and r["reason"]


def test_case_122_websocket_bytes_and_mode(g, o):
    def act():
        with g.connect() as c:
            c.send(get(f"http://{o.netloc}/ws", extra=WS, auth=g.basic)).response()
            c.exactly(5)
            c.send("12345678").exactly(8)
    subset(record_of(g, act), mode="forward", method="GET", path="/ws", status=101, request_bytes=8, response_bytes=13, decision="allow", outcome="ok")


def test_case_122_chunked_bodies_are_counted_without_their_framing(g, o):
    r = record_of(g, lambda: one(g, get(f"http://{o.netloc}/c", "POST", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n", auth=g.basic)))
    subset(r, request_bytes=5, status=200)


def test_upstream_wait_is_the_upstreams_share(g, o):
    r = record_of(g, lambda: one(g, get(f"http://{o.netloc}/slow", auth=g.basic)))
    assert 280 < r["upstream_wait_ms"] <= r["duration_ms"] < 2000


def test_ids_are_unique_and_the_connections_is_shared(g, o):
    def act():
        with g.connect() as c:
            for i in range(5):
                c.send(get(f"http://{o.netloc}/k{i}", auth=g.basic)).response()
    rs = record_of(g, act, 5)
    assert len({r["connection_id"] for r in rs}) == 1 and len({r["request_id"] for r in rs}) == 5
    assert [r["upstream_reused"] for r in rs[1:]] == [True] * 4 and [r["path"] for r in rs] == [f"/k{i}" for i in range(5)]
    everything = g.records()
    assert len({r["request_id"] for r in everything}) == len(everything)


def test_the_request_id_reason_and_rule_in_an_error_body_are_the_audits(g):
    a = one(g, get("http://denied.test/", extra="Accept: application/json\r\n", auth=g.basic))
    j = json.loads(a.body)
    r = until(lambda: [x for x in g.records() if x["request_id"] == j["request_id"]])[0]
    assert (j["request_id"], j["reason"], j["rule"], j["origin"]) == (r["request_id"], r["reason"], r["rule"], r["rule_origin"]) and j["remedy"] and j["error"]
    text = one(g, get("http://denied.test/", extra="Accept: text/plain\r\n", auth=g.basic)).body.decode()
    r = until(lambda: [x for x in g.records() if f"request {x['request_id']})" in text])[0]
    assert text.strip() == f"nono: {r['reason']} (rule {r['rule']}, request {r['request_id']})"


def test_no_auth_is_mechanism_none_without_outcome(open_gateway, o):
    r = record_of(open_gateway, lambda: one(open_gateway, get(f"http://{o.netloc}/")))
    assert r["auth_mechanism"] == "none" and "auth_outcome" not in r


def test_every_verdict_has_its_own_rule(o):
    with Gateway("--allow-domain", "10.55.0.1", "--allow-domain", "*.origin.test", "--deny-domain", "denied.test:81", auth=False) as g:
        rules = {}
        for target in ("10.55.0.1:1", "www.origin.test:1", "denied.test:81", "else.test:1", "169.254.169.254:80"):
            one(g, connect_head(target), "CONNECT")
            r = g.records(len(rules) + 1)[-1]
            rules[target] = (r["rule"], r.get("rule_origin"))
        assert all(r for r, _ in rules.values()) and len({r for r, _ in rules.values()}) == 5, rules
        assert rules["10.55.0.1:1"][1] == "--allow-domain" and rules["denied.test:81"][1] == "--deny-domain" and rules["else.test:1"][0] == "default-deny"


def test_upstream_proxy_is_named(o):
    with HttpHop() as hop, Gateway("--upstream-proxy", f"http://u:s3cret@{hop.netloc}", auth=False) as g:
        one(g, get(f"http://origin.test:{o.port}/"))
        r = g.records(1)[0]
        assert r["upstream_proxy"] == hop.netloc and "s3cret" not in g.audit_path.read_text()


def test_records_of_a_refused_answer_come_before_its_first_byte(g):
    with g.connect() as c:
        n = len(g.records())
        c.send(get("http://denied.test/", auth=g.basic))
        c.s.recv(1)
        assert len(g.records(n + 1)) == n + 1


# ---- nothing secret (case 125)

def test_case_125_no_token_no_query_no_header_in_audit_and_logs(o):
    with Gateway("-vvv", "--pass", "tokentokentoken42") as g:
        for t in (f"http://{o.netloc}/?key=hunter2", f"http://{o.netloc}/p?api_key=hunter2#", "http://denied.invalid/?hunter2", f"http://u:hunter2@{o.netloc}/"):
            one(g, get(t, extra="Authorization: Bearer hunter2\r\nCookie: hunter2\r\n", auth=g.basic))
        one(g, get(f"http://{o.netloc}/", auth="Basic aHVudGVyMg=="))
        one(g, get(f"http://{o.netloc}/", auth="Bearer hunter2"))
        one(g, "GET /?x=hunter2 HTTP/1.1\r\nX : hunter2\r\n\r\n")
        g.records(7)
        g.stop()
        text = g.audit_path.read_text() + g.stderr
        assert "hunter2" not in text and "tokentoken" not in text and g.basic not in text and "aHVudGVyMg" not in text


def test_case_126_no_control_characters_in_records_or_logs(o):
    with Gateway("-vvv", auth=False) as g:
        for d in ("GET http://d.test/\x1b[31mred HTTP/1.1\r\nHost: d.test\r\n\r\n", "CONNECT d.test\x1b[2J:443 HTTP/1.1\r\n\r\n", "G\x07ET / HTTP/1.1\r\n\r\n",
                  get(f"http://{o.netloc}/\x80\x9b31m\xff", extra="User-Agent: x\r\n")):
            one(g, d)
        g.records(4)
        g.stop()
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", g.audit_path.read_bytes() + g.stderr.replace("\r", "").encode())
        g.audit_path.read_bytes().decode("utf-8")


# ---- sinks

def test_sink_dash_records_own_stdout_and_the_banner_goes_to_stderr(o, tmp_path):
    with Process("proxy", "--port", "0", "--no-auth", "--audit-log", "-", tmp=tmp_path, ready=banner) as p:
        assert "Press Ctrl-C" in p.err
        assert raw_get(port_of(p), f"http://{o.netloc}/dash").status == 200
        until(lambda: "/dash" in p.out)
        p.end()
        assert [r["type"] for r in lines(p.out.encode())] == ["lifecycle", "exchange", "lifecycle", "lifecycle"]


def test_sink_fd_and_several_sinks_at_once(o, tmp_path):
    r, w = os.pipe()
    f = tmp_path / "a"
    p = Process("proxy", "--port", "0", "--no-auth", "--workers", "1", "--audit-log", f"fd:{w}", "--audit-log", str(f), tmp=tmp_path, ready=banner, pass_fds=[w])
    os.close(w)
    for i in range(20):
        assert raw_get(port_of(p), f"http://{o.netloc}/{i}").status == 200
    assert p.end() == 0
    data = b""
    while d := os.read(r, 65536):
        data += d
    os.close(r)
    assert data == f.read_bytes() and [x["path"] for x in exchanges(data)] == [f"/{i}" for i in range(20)]


@CASE("sink, say", [("/no/such/dir/a", "no/such/dir"), ("/", "/"), ("fd:77", "fd:77")])
def test_a_sink_that_cannot_be_opened_is_a_start_up_error(sink, say):
    code, out, err = run("proxy", "--port", "0", "--audit-log", sink)
    assert code == 1 and say in err and not out, (code, err)


@CASE("sink", ["fd:x", "fd:", "fd:-1", ""])
def test_a_sink_that_is_none_is_a_usage_error(sink):
    assert run("proxy", "--port", "0", "--audit-log", sink)[0] == 2


def test_a_file_is_appended_to_with_mode_0600(o, tmp_path):
    f = tmp_path / "a"
    old = os.umask(0)
    try:
        for i in range(2):
            with Process("proxy", "--port", "0", "--no-auth", "--audit-log", str(f), tmp=tmp_path, ready=banner) as p:
                raw_get(port_of(p), f"http://{o.netloc}/run{i}")
    finally:
        os.umask(old)
    assert [r["path"] for r in exchanges(f.read_bytes())] == ["/run0", "/run1"] and stat.S_IMODE(f.stat().st_mode) == 0o600


def start_with_pipe(tmp_path, *args):
    r, w = os.pipe()
    p = Process("proxy", "--port", "0", "--no-auth", "--workers", "1", "--audit-log", f"fd:{w}", *args, tmp=tmp_path, ready=banner, pass_fds=[w])
    os.close(w)
    return p, r


def read_all(r, into):
    while d := os.read(r, 65536):
        into.extend(d)
    os.close(r)


def test_a_pipe_that_is_read_late_loses_nothing(o, tmp_path):
    p, r = start_with_pipe(tmp_path)
    with Raw("127.0.0.1", port_of(p)) as c:  # more than the pipe holds
        for i in range(300):
            assert c.send(get(f"http://{o.netloc}/{'x' * 300}/{i}")).response().status == 200
    got = bytearray()
    t = threading.Thread(target=read_all, args=(r, got))
    t.start()
    assert p.end() == 0
    t.join(10)
    assert [x["path"].rsplit("/", 1)[1] for x in exchanges(bytes(got))] == [str(i) for i in range(300)]


def test_a_pipe_nobody_reads_holds_requests_back_for_5_s_then_traffic_goes_on_and_the_loss_is_counted(o, tmp_path):
    p, r = start_with_pipe(tmp_path)
    waits = []
    with Raw("127.0.0.1", port_of(p)) as c:
        for i in range(800):  # 8 KiB each: above the 4 MiB mark
            began = time.monotonic()
            assert c.send(get(f"http://{o.netloc}/{'x' * 8000}/{i}")).response().status == 200
            waits.append(time.monotonic() - began)
    assert 3 < max(waits) < 8 and sum(w > 1 for w in waits) == 1, sorted(waits)[-3:]
    assert "too slowly" in p.err
    got = bytearray()
    t = threading.Thread(target=read_all, args=(r, got))
    t.start()
    assert until(lambda: b'"sink_failed"' in got)
    assert p.end() == 0
    t.join(10)
    whole = [json.loads(l) for l in bytes(got).split(b"\n") if l.startswith(b"{") and l.endswith(b"}")]
    lost = [x for x in whole if x.get("event") == "sink_failed"]
    assert len(lost) == 1 and lost[0]["count"] + sum(x["type"] == "exchange" for x in whole) == 800, (lost, len(whole))


def test_a_pipe_whose_reader_went_away_is_told_once_and_traffic_goes_on(o, tmp_path):
    r, w = os.pipe()
    with Process("proxy", "--port", "0", "--no-auth", "--audit-log", f"fd:{w}", tmp=tmp_path, ready=banner, pass_fds=[w]) as p:
        os.close(w), os.close(r)
        for _ in range(5):
            assert raw_get(port_of(p), f"http://{o.netloc}/").status == 200
        assert until(lambda: "fd:" in p.err) and p.err.count("\n") < 4, p.err


def test_dev_full_is_told_and_traffic_goes_on_unless_fail_closed(o, tmp_path):
    with Process("proxy", "--port", "0", "--no-auth", "--audit-log", "/dev/full", tmp=tmp_path, ready=banner) as p:
        assert [raw_get(port_of(p), f"http://{o.netloc}/").status for _ in range(20)] == [200] * 20
        assert until(lambda: "/dev/full" in p.err) and p.err.count("/dev/full") == 1, p.err
    with Process("proxy", "--port", "0", "--no-auth", "--audit-log", "/dev/full", "--audit-fail-closed", tmp=tmp_path, ready=banner) as p:
        port = port_of(p)
        assert until(lambda: raw_get(port, f"http://{o.netloc}/").status == 503)
        a = raw_get(port, f"http://{o.netloc}/")
        assert a.status == 503 and b"--audit-fail-closed" in a.body and a.get("retry-after")
        with Raw("127.0.0.1", port) as c:
            assert c.send(connect_head(o.netloc)).response("CONNECT").status == 503


def limited_disk(tmp_path):
    d = tmp_path / "disk"
    d.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(d)], check=True)
    return d


def test_fail_closed_opens_again_when_the_sink_works_and_the_loss_is_counted(o, tmp_path):
    d = limited_disk(tmp_path)
    try:
        with Process("proxy", "--port", "0", "--no-auth", "--audit-log", str(d / "a"), "--audit-fail-closed", tmp=tmp_path, ready=banner) as p:
            port = port_of(p)
            assert raw_get(port, f"http://{o.netloc}/first").status == 200
            fd = os.open(d / "filler", os.O_WRONLY | os.O_CREAT)
            try:
                while True:
                    os.write(fd, b"x" * 4096)
            except OSError:
                os.close(fd)

            assert until(lambda: raw_get(port, f"http://{o.netloc}/{'y' * 2000}").status == 503)
            os.unlink(d / "filler")
            assert until(lambda: raw_get(port, f"http://{o.netloc}/again").status == 200)
            p.end()
            whole, torn = [], 0
            for l in (d / "a").read_bytes().split(b"\n")[:-1]:
                try:
                    whole.append(json.loads(l))
                except ValueError:  # where the disk was full in the middle of a line; it ends there and counts as lost
                    torn += 1
            rs = whole
            assert torn <= 1
            lost = [r for r in rs if r["type"] == "lifecycle" and r["event"] == "sink_failed"]
            assert len(lost) == 1 and lost[0]["count"] > 0, rs[-5:]
            assert {"/first", "/again"} <= {r.get("path") for r in rs}
    finally:
        subprocess.run(["umount", str(d)], check=True)


def test_fail_closed_without_a_sink_is_noted_in_the_banner():
    with Gateway("--audit-fail-closed", audit=False) as g:
        assert "--audit-fail-closed" in g.banner and "--audit-log" in g.banner


def test_by_environment(o, tmp_path):
    with Gateway(auth=False, audit=False, env={"NONO_AUDIT_LOG": f"{tmp_path}/a,{tmp_path}/b"}) as g:
        one(g, get(f"http://{o.netloc}/e"))
    assert exchanges((tmp_path / "a").read_bytes())[0]["path"] == "/e" and (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# ---- volume and the end (case 123)

@pytest.mark.threads
def test_case_123_3000_exchanges_of_many_clients_3000_whole_lines(o):
    with Gateway("--workers", "2", auth=False) as g:
        def go(i):
            with g.connect() as c:
                for k in range(50):
                    assert c.send(get(f"http://{o.netloc}/l{i}-{k}")).response().status == 200
        parallel(go, range(60), 12)
        rs = g.records(3000)
        assert len(rs) == 3000 == len({r["path"] for r in rs})


def test_case_123_what_ran_at_the_end_is_recorded(o):
    with Gateway("--drain-timeout", "0.3", auth=False) as g:
        cs = [g.connect() for _ in range(10)]
        for c in cs:
            c.send(connect_head(o.netloc)).response("CONNECT")
        g.stop()
        rs = g.records(10)
        assert len(rs) == 10 and {r["outcome"] for r in rs} == {"shutdown"} and all(r["reason"] and r["decision"] == "allow" and r["mode"] == "connect" for r in rs)
        for c in cs:
            c.close()


def test_case_123_the_limit_and_early_ends_are_recorded(o):
    with Gateway("--max-connections", "1", auth=False) as g, g.connect() as held:
        held.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").response("OPTIONS")
        assert one(g, get(f"http://{o.netloc}/")).status == 503
        r = sound([r for r in g.records(2) if r["status"] == 503][0])
        subset(r, mode="local", denial_category="connection_limit", outcome="refused", status=503, method=None, path=None, port=None)


# ---- lifecycle

def test_lifecycle_records(tmp_path):
    with Gateway("--allow-domain", "x.test") as g:
        first = g.records(1, "lifecycle")[0]
        assert first["event"] == "start" and re.search(r"\d+\.\d+", first["version"]) and re.fullmatch(r"[0-9a-f]{16}", first["config_hash"])
        assert abs(first["timestamp_unix_ms"] / 1000 - time.time()) < 60
        g.proc.send_signal(signal.SIGHUP)
        assert g.records(2, "lifecycle")[1]["event"] == "reload"
        g.stop()
        ls = g.records(4, "lifecycle")
        assert [x["event"] for x in ls] == ["start", "reload", "drain", "stop"]
        data = g.audit_path.read_bytes()
        assert data.endswith(b"\n") and lines(data)[-1]["event"] == "stop"
    with Gateway("--allow-domain", "x.test") as same, Gateway("--allow-domain", "y.test") as other:
        a, b = (x.records(1, "lifecycle")[0]["config_hash"] for x in (same, other))
        assert a != b
