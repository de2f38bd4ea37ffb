"""The SDKs of OpenAI, Anthropic and Google against stand-ins of their APIs, with the built-in services: what arrives is what the same SDK sends
by itself but for the credential, and what the SDK's user sees is the same."""
import gzip
import json
import threading

import pytest
from standin import DIRECT, TOKEN, body_of, same_but_for_the_credential, world
from test_clients import websocket

OPENAI, ANTHROPIC, GEMINI = "sk-proj-real-0815-openai", "sk-ant-real-0815-anthropic", "AQreal0815gemini"
AZURE = "azure-real-0815"
FIELD = {"azure": ("api-key", AZURE), "openai": ("authorization", f"Bearer {OPENAI}"), "anthropic": ("x-api-key", ANTHROPIC), "gemini": ("x-goog-api-key", GEMINI)}
SECRET = {"azure": AZURE, "openai": OPENAI, "anthropic": ANTHROPIC, "gemini": GEMINI}


def events(*datas, named=False):
    return [(f"event: {d['type']}\n" if named else "").encode() + b"data: " + (d if isinstance(d, bytes) else json.dumps(d).encode()) + b"\n\n" for d in datas]


LEFT = threading.Event()


def endless(conn, r, rest):
    """A stream that ends only with its connection."""
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    e = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"on"}}]}\n\n'
    conn.settimeout(0.02)
    try:
        for _ in range(500):
            conn.sendall(b"%x\r\n%s\r\n" % (len(e), e))
            try:
                if not conn.recv(1):
                    break
            except TimeoutError:
                pass
        else:
            return
    except OSError:
        pass
    LEFT.set()


def openai(r, api, body):
    if r["target"].startswith("/v1/realtime"):
        return websocket
    if body.get("model") == "endless":
        return endless
    if r["target"] == "/v1/files":
        return body_of(200, {"id": f"file-{len(r['body'])}", "object": "file"})
    if r["target"].startswith("/v1/models"):
        model = {"id": "m", "object": "model"}
        packed = gzip.compress(json.dumps(model if r["target"].endswith("/m") else {"object": "list", "data": [model]}).encode())
        return body_of(200, packed, extra=b"Content-Encoding: gzip\r\n")

    def chunk(text, end=None):
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}]}
    if body.get("stream"):
        return events(chunk("hel"), chunk("lo \u4e16"), chunk("", "stop"), b"[DONE]")
    return body_of(200, {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                         "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]})


def anthropic(r, api, body):
    if r["target"].startswith("/v1/models"):
        model = {"id": "m", "type": "model", "display_name": "M", "created_at": "2026-01-01T00:00:00Z"}
        return body_of(200, model if r["target"].endswith("/m") else {"data": [model], "has_more": False, "first_id": "m", "last_id": "m"})
    m = {"id": "msg", "type": "message", "role": "assistant", "model": "m", "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    if body.get("stream"):
        head = events({"type": "message_start", "message": m | {"content": []}}, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                      {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}}, named=True)
        rest = events({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo \u4e16"}}, {"type": "content_block_stop", "index": 0},
                      {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}}, {"type": "message_stop"}, named=True)
        return [b"".join(head), *rest]
    return body_of(200, m | {"content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"})


def gemini(r, api, body):
    if r["method"] == "GET":
        return body_of(200, {"name": "models/m"})

    def part(text):
        return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]}
    return events(part("hel"), part("lo \u4e16")) if "alt=sse" in r["target"] else body_of(200, part("hello"))


APIS = {"api.openai.com": openai, "my.openai.azure.com": openai, "api.anthropic.com": anthropic, "generativelanguage.googleapis.com": gemini}
ERRORS = {"answer-429": 429, "answer-500": 500}


def answers(r, api):
    body = json.loads(r["body"]) if r["h"].get("content-type", "").startswith("application/json") and r["body"] else {}
    model = body.get("model") or r["target"].rsplit("/", 1)[-1].split(":")[0]
    if model in ERRORS:
        return body_of(ERRORS[model], {"type": "error", "error": {"type": "stand_in", "code": ERRORS[model], "message": f"told by the stand-in: {model}", "status": "S"}})
    if model == "fails-once" and r["h"].get("x-stainless-retry-count") == "0":
        return body_of(500, {"error": {"message": "once"}}, extra=b"retry-after-ms: 1\r\n")
    if r["method"] == "GET":
        api.go.set()
    return APIS[r["h"]["host"]](r, api, body)


@pytest.fixture(scope="module")
def w(ca, tmp_path_factory):
    rules = {"upstream": "https://api.anthropic.com", "inject_header": "x-api-key", "credential_key": "env://ANTHROPIC_API_KEY"}
    services = {"shut": rules | {"endpoint_rules": [{"method": "GET", "path": "/v1/other"}]}, "lost": rules | {"credential_key": "env://NONO_TEST_LOST"},
                "slow": rules | {"rate_limit": {"requests_per_minute": 1, "burst": 1, "max_delay_secs": 0}},
                "azure": {"upstream": "https://my.openai.azure.com", "inject_header": "api-key", "credential_key": "env://AZURE_KEY"}}
    with world(ca, tmp_path_factory.mktemp("llm"), answers, ["openai", "anthropic", "gemini", *services], services, env={"ANTHROPIC_API_KEY": ANTHROPIC, "AZURE_KEY": AZURE},
               keyring={"openai": OPENAI, "gemini": GEMINI}) as w:
        yield w


TEXT = ["hello", "hello \u4e16"]
SDKS = [("openai", "openai", 7), ("anthropic", "anthropic", 6), ("gemini", "gemini", 4), ("node-openai", "openai", 5), ("node-anthropic", "anthropic", 4),
        ("azure", "azure", 1)]


@pytest.mark.parametrize("sdk,service,steps", SDKS)
def test_sdk_through_the_gateway_as_without_it(w, sdk, service, steps):
    before = len(w.api.seen)
    direct, through = w.sdk(sdk, ("-", DIRECT), (f"{w.base}/{service}", TOKEN))
    assert through == direct and len(direct) == steps
    assert direct[:2] == TEXT[:steps] and (sdk not in ("openai", "anthropic") or TEXT in direct), direct
    told = {e["status"]: e for e in direct if isinstance(e, dict)}
    names = {"gemini": {429: "ClientError"}, "azure": {}}.get(service, {429: "RateLimitError", 500: "InternalServerError"})
    assert {s: e["error"] for s, e in told.items()} == names, told
    assert all(f"told by the stand-in: answer-{s}" in e["text"] for s, e in told.items()), told
    seen = w.api.seen[before:]
    half = len(seen) // 2
    same_but_for_the_credential(seen[half:], seen[:half], SECRET[service], FIELD[service])


def refused(w, sdk, *runs, env=None):
    """What the SDK makes of the gateway's own answers; nothing arrives at the stand-in."""
    before = len(w.api.seen)
    outs = w.sdk(sdk, *runs, env=env)
    assert len(w.api.seen) == before, w.api.seen[-1]
    assert all(isinstance(e, dict) for out in outs for e in out), outs
    return outs


@pytest.mark.parametrize("sdk", ["openai", "node-openai", "anthropic", "node-anthropic"])
def test_C4a_a_wrong_token_is_the_sdks_own_authentication_error(w, sdk):
    base = f"{w.base}/{sdk.removeprefix('node-')}"
    for out in refused(w, sdk, (base, "sk-wrong"), (base, TOKEN[:-1] + "1")):
        assert {(e["error"], e["status"]) for e in out} == {("AuthenticationError", 401)}, out
        assert "openai" in sdk or "send the session token" in out[0]["text"], out  # OpenAI's show no more than the number, or `error`


@pytest.mark.parametrize("sdk", ["anthropic", "node-anthropic"])
def test_C4_refusals_are_the_sdks_own_errors_and_say_why(w, sdk):
    outs = refused(w, sdk, *((f"{w.base}/{route}", TOKEN) for route in ("nosuch", "shut", "lost")))
    errors = [[{(e["error"], e["status"]) for e in out}, out[0]["text"]] for out in outs]
    assert errors[0][0] == {("NotFoundError", 404)} and "nosuch" in errors[0][1], outs
    assert errors[1][0] == {("PermissionDeniedError", 403)} and "/v1/messages" in errors[1][1], outs
    assert {s for _, s in errors[2][0]} == {503} and "NONO_TEST_LOST is not set" in errors[2][1], outs


def test_leaving_a_stream_ends_it_upstream_and_a_realtime_socket_has_the_key(w):
    before = len(w.api.seen)
    (out,) = w.sdk("openai_more", (f"{w.base}/openai", TOKEN))
    assert out == ["on", {"type": "response.create", "event_id": "e1"}, "hello"], out
    assert LEFT.wait(15), "the stream went on without its reader"
    for r in w.api.seen[before:]:
        assert r["h"]["authorization"] == f"Bearer {OPENAI}" and TOKEN.encode() not in r["raw"]
    assert w.api.seen[before + 1]["target"] == "/v1/realtime?model=m" and w.api.seen[before + 1]["h"]["upgrade"] == "websocket"


@pytest.mark.parametrize("sdk", ["openai_plain", "anthropic_plain", "node-openai", "node-anthropic"])
def test_the_variables_of_the_env_file_are_all_that_an_sdk_needs(w, sdk):
    (out,) = w.sdk(sdk, ("-", "-"), env=w.env)
    assert out[0] == "hello", out


def test_a_rate_limit_is_the_sdks_own_error(w):
    (out,) = w.sdk("node-anthropic", (f"{w.base}/slow", TOKEN))
    assert out[0] == "hello" and (out[1]["error"], out[1]["status"]) == ("RateLimitError", 429), out


@pytest.mark.parametrize("sdk", ["openai", "node-anthropic"])
def test_K1_https_proxy_to_the_host_of_a_route_is_an_error_and_no_leak(w, sdk):
    before = w.api.connections
    (out,) = refused(w, sdk, ("-", "sk-own-key"), env=w.g.proxy_env() | {"NODE_USE_ENV_PROXY": "1"})
    assert {e["error"] for e in out} == {"APIConnectionError"} and w.api.connections == before, out
    assert "503" in out[0]["cause"], out[0]
    assert any(r["method"] == "CONNECT" and r["status"] == 503 for r in w.g.records())
