"""One CONNECT, one forward request, the record, the drain: every stage once."""
import json
import signal

import pytest
from gateway import Gateway, connect_head, get

pytestmark = pytest.mark.threads


def test_one_connect_and_one_forward_request(origin):
    with Gateway("--workers", "2", auth=False) as g:
        with g.connect() as c:
            c.send(connect_head(origin.netloc))
            a = c.response("CONNECT")
            assert (a.status, a.reason) == (200, "Connection Established")
            c.send(get("/inside").replace("Host: /inside", "Host: x"))
            assert json.loads(c.response().body)["target"] == "/inside"
        with g.connect() as c:
            c.send(get(f"http://{origin.netloc}/outside?q"))
            body = json.loads(c.response().body)
            assert body["target"] == "/outside?q"
            assert ["Host", origin.netloc] in body["headers"]
        records = {r["mode"]: r for r in g.records(2)}
        assert records["connect"]["status"] == 200 and records["connect"]["decision"] == "allow"
        assert records["forward"]["path"] == "/outside" and records["forward"]["outcome"] == "ok"
        assert g.stop(signal.SIGTERM) == 0
        assert "Shutting down" in g.stderr
