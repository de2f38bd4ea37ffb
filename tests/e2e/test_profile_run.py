"""Profiles as the running gateway lives them: body limits, time limits, reload."""
import json
import signal
import threading
import time

import pytest
from gateway import Gateway, Origin, connect_head, get, one, until
from test_forward import WS, websocket


def write(path, network, **top):
    path.write_text(json.dumps({"meta": {"name": "t"}, "network": network, **top}))
    return str(path)


def test_C7_and_case_42_a_body_over_the_limit_is_413_and_nothing_is_forwarded(tmp_path, origin):
    p = write(tmp_path / "p.json", {"max_body_bytes": 10})
    with Gateway("-p", p, auth=False) as g:
        with g.connect() as c:
            c.send(get(f"http://{origin.netloc}/", "POST", "Content-Length: 11\r\n", "x" * 11))
            assert c.response().status == 413
            c.send(get(f"http://{origin.netloc}/ok", "POST", "Content-Length: 10\r\n", "x" * 10))
            assert c.response().status == 200
        assert [r["target"] for r in origin.seen] == ["/ok"]
        assert g.records(2)[0]["status"] == 413


def test_C7_and_case_42_a_chunked_body_is_cut_where_it_exceeds(tmp_path, origin):
    p = write(tmp_path / "p.json", {"max_body_bytes": 10})
    with Gateway("-p", p, auth=False) as g, g.connect() as c:
        c.send(get(f"http://{origin.netloc}/", "POST", "Transfer-Encoding: chunked\r\n", "8\r\n12345678\r\n"))
        time.sleep(0.1)
        c.send("8\r\n12345678\r\n0\r\n\r\n")
        assert c.response().status == 413 and c.closed()
        assert not origin.seen


def test_O10_time_limits_of_the_profile_hold_and_flags_beat_them(tmp_path):
    silent = Origin(lambda conn, o: time.sleep(5))
    p = write(tmp_path / "p.json", {"timeouts": {"response": 1}})
    with silent:
        with Gateway("-p", p, auth=False) as g, g.connect() as c:
            t = time.monotonic()
            c.send(get(f"http://{silent.netloc}/"))
            assert c.response().status == 504 and time.monotonic() - t < 3
        with Gateway("-p", p, "--timeout", "response=60", auth=False) as g, g.connect(1.6) as c:
            c.send(get(f"http://{silent.netloc}/"))
            with pytest.raises(TimeoutError):
                c.response()


@pytest.mark.threads
def test_O1_reload_closes_tunnels_that_the_new_policy_denies_and_keeps_the_others(tmp_path, origin):
    path = tmp_path / "p.json"
    p = write(path, {"allow_domain": ["origin.test", "api.test"]})
    with Gateway("-p", p, "--workers", "2", auth=False) as g:
        keep, cut = g.connect(), g.connect()
        for c, name in ((keep, "origin.test"), (cut, "api.test")):
            c.send(connect_head(f"{name}:{origin.port}"))
            assert c.response("CONNECT").status == 200
        write(path, {"allow_domain": ["origin.test"]})
        g.proc.send_signal(signal.SIGHUP)
        assert cut.closed()
        keep.send("GET /still HTTP/1.1\r\nHost: x\r\n\r\n")
        assert keep.response().status == 200
        record = [r for r in g.records(1) if r["target"] == "api.test"][0]
        assert record["outcome"] == "refused" and record["reason"].startswith("policy_changed: ")
        with g.connect() as c:
            c.send(connect_head(f"api.test:{origin.port}"))
            assert c.response("CONNECT").status == 403
        keep.close()


def test_O1_reload_closes_a_tunnel_to_a_host_that_now_has_rules(tmp_path, origin):
    path = tmp_path / "p.json"
    p = write(path, {"allow_domain": ["origin.test"]})
    with Gateway("-p", p, auth=False) as g, g.connect() as c:
        c.send(connect_head(f"origin.test:{origin.port}"))
        assert c.response("CONNECT").status == 200
        write(path, {"allow_domain": [{"domain": f"origin.test:{origin.port}", "endpoints": [{"method": "GET", "path": "/a"}]}]})
        g.proc.send_signal(signal.SIGHUP)
        assert c.closed()


@pytest.mark.parametrize("step", ["answer", "upload"])
def test_O1_reload_denies_a_request_that_has_no_answer_yet(tmp_path, step):
    silent = Origin(lambda conn, o: time.sleep(20))
    path = tmp_path / "p.json"
    p = write(path, {"allow_domain": [silent.host, "127.0.0.0/8"]})
    with silent, Gateway("-p", p, "--drain-timeout", "1", auth=False) as g, g.connect() as c:
        method, length, body = ("POST", "Content-Length: 100\r\n", "hello") if step == "upload" else ("GET", "", "")
        c.send(get(f"http://{silent.netloc}/", method, length + "Accept: application/json\r\n", body))
        assert until(lambda: silent.connections)
        write(path, {"allow_domain": ["127.0.0.0/8"]})
        t = time.monotonic()
        g.proc.send_signal(signal.SIGHUP)
        a = c.response()
        assert a.status == 403 and json.loads(a.body)["error"] == "policy_changed" and time.monotonic() - t > 0.9, a
        (x,) = g.records(1)
        assert x["outcome"] == "refused" and x["status"] == 403 and "policy changed" in x["reason"], x
        c.send("x" * (100 - len(body) if body else 0) + "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.response("OPTIONS").status == 204  # the connection lasts (C4)


def test_O1_reload_denies_a_tunnel_that_is_being_made(tmp_path):
    path = tmp_path / "p.json"
    p = write(path, {"allow_domain": ["10.56.0.2", "127.0.0.0/8"]})
    with Gateway("-p", p, "--timeout", "connect=30", auth=False) as g, g.connect() as c:
        c.send(connect_head("10.56.0.2:443", extra="Accept: application/json\r\n"))
        time.sleep(0.3)  # nobody answers there
        write(path, {"allow_domain": ["127.0.0.0/8"]})
        g.proc.send_signal(signal.SIGHUP)
        a = c.response("CONNECT")
        assert a.status == 403 and json.loads(a.body)["error"] == "policy_changed" and c.closed(), a
        (x,) = g.records(1)
        assert (x["outcome"], x["status"], x["mode"]) == ("refused", 403, "connect"), x


def test_O1_a_broken_profile_leaves_the_old_one_serving_and_says_why(tmp_path, origin):
    path = tmp_path / "p.json"
    p = write(path, {"allow_domain": ["origin.test"]})
    with Gateway("-p", p, auth=False) as g:
        path.write_text('{"network": {"allow_domian": []}}')
        g.proc.send_signal(signal.SIGHUP)
        assert until(lambda: "allow_domian" in g.stderr and "p.json:1:" in g.stderr), g.stderr
        assert g.records(1, kind="lifecycle")[-1]["event"] == "reload_failed"
        with g.connect() as c:
            c.send(get(f"http://origin.test:{origin.port}/"))
            assert c.response().status == 200
        with g.connect() as c:
            c.send(get(f"http://api.test:{origin.port}/"))
            assert c.response().status == 403


def test_O1_a_hundred_reloads_under_load_lose_no_request(tmp_path, origin):
    path = tmp_path / "p.json"
    p = write(path, {"allow_domain": ["origin.test"]})
    with Gateway("-p", p, "--workers", "2", auth=False, audit=False) as g:
        counts, lost = [0] * 8, []
        stop = threading.Event()

        def client(i):
            with g.connect() as c:
                while not stop.is_set() or counts[i] < 1250:
                    c.send(get(f"http://origin.test:{origin.port}/{i}"))
                    a = c.response()
                    if a.status != 200:
                        lost.append(a)
                        return
                    counts[i] += 1
        threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for i in range(100):
            write(path, {"allow_domain": ["origin.test", f"n{i}.test"]})
            g.proc.send_signal(signal.SIGHUP)
            time.sleep(0.02)
        stop.set()
        for t in threads:
            t.join(60)
        assert not lost and sum(counts) >= 10000, (lost[:3], counts)


def test_a_long_list_of_path_rules_starts_and_shows_every_row(tmp_path):
    n = 20000
    p = write(tmp_path / "p.json", {"allow_domain": [{"domain": f"h{i}.test", "endpoints": [{"method": "GET", "path": "/a"}]} for i in range(n)]})
    with Gateway("-p", p) as g:  # rows and rules are found, not searched for: quadratic work would not be ready in time
        assert g.banner.count("| creds: none | intercept: off | endpoint_rules: 1\n") == n
        assert f"and {n - 3} more is answered with 503" in g.banner


def test_O1_a_websocket_that_a_reload_denies_in_its_handshake_does_not_begin(tmp_path):
    """And a second reload that allows it again finds no tunnel that was denied (it crashed on one)."""
    asked, answer = threading.Event(), threading.Event()

    def late(conn, o):
        if conn.recv(65536).startswith(b"GET "):
            asked.set()
            assert answer.wait(20)
            websocket(conn, o, b"", b"")

    def reload(allowed, status):
        write(path, {"allow_domain": allowed})
        g.proc.send_signal(signal.SIGHUP)
        assert until(lambda: one(g, connect_head(f"origin.test:{there.port}"), "CONNECT").status == status)

    path = tmp_path / "p.json"
    p = write(path, {"allow_domain": ["127.0.0.0/8", "origin.test"]})
    with Origin(late) as there, Gateway("-p", p, "--workers", "1", "--drain-timeout", "30", auth=False) as g:
        request = get(f"http://origin.test:{there.port}/ws", extra=WS + "Accept: application/json\r\n")
        with g.connect() as c:
            c.send(request)
            assert asked.wait(20)
            reload(["127.0.0.0/8"], 403)
            answer.set()
            a = c.response()
            assert a.status == 403 and json.loads(a.body)["error"] == "policy_changed", a
        reload(["127.0.0.0/8", "origin.test"], 200)
        with g.connect() as c:
            c.send(request)
            assert c.head().status == 101
