"""GitHub, GitLab, Telegram and Google Maps clients against stand-ins of their APIs: every place where a key can stand."""
import base64

import pytest
from standin import DIRECT, TOKEN, body_of, same_but_for_the_credential, world

GITHUB, GITLAB, TELEGRAM, MAPS = "ghp_real0815github", "glpat-real0815gitlab", "110201543:AAHreal-0815_telegram", "AIzaReal0815maps+/="


def github(r):
    path = r["target"].split("?")[0]
    if path == "/user":
        return body_of(200, {"login": "octo", "id": 1, "url": "https://api.github.com/user"})
    if path == "/repos/o/r":
        return body_of(200, {"id": 2, "name": "r", "full_name": "o/r", "url": "https://api.github.com/repos/o/r"})
    if path == "/repos/o/r/issues":
        return body_of(201, {"number": 3, "url": "https://api.github.com/repos/o/r/issues/3"})
    if path.startswith("/repos/o/r/contents/"):
        return body_of(200, {"type": "file", "name": "f.txt", "path": "a dir/f.txt", "encoding": "base64", "size": 5, "sha": "1", "url": "https://api.github.com/x",
                             "content": base64.b64encode(b"text\n").decode()})
    return body_of(404, {"message": "Not Found"})


def gitlab(r):
    path = r["target"].split("?")[0].removeprefix("/api/v4")
    if path == "/projects/group%2Fsub%20project":
        return body_of(200, {"id": 5})
    if path.startswith("/projects/5/repository/files/"):
        return body_of(200, {"file_path": "a/b.txt", "encoding": "base64", "content": base64.b64encode(b"text\n").decode()})
    if path == "/projects/5/issues":
        page = int(r["target"].partition("&page=")[2].split("&")[0] or 1)
        link = b'Link: <https://gitlab.com/api/v4/projects/5/issues?per_page=1&page=%d>; rel="next"\r\n' % (page + 1) if page < 3 else b""
        return body_of(200, [{"id": page, "iid": page}], extra=link + b"X-Per-Page: 1\r\n")
    return body_of(404, {"message": "404 Project Not Found"})


def telegram(r):
    method = r["target"].rsplit("/", 1)[-1].split("?")[0].lower()
    chat = {"id": 7, "type": "private", "first_name": "x"}
    if method == "f.txt":
        return body_of(200, b"the file", b"text/plain")
    if b"answer-429" in r["body"]:
        return body_of(429, {"ok": False, "error_code": 429, "description": "Too Many Requests: retry after 3", "parameters": {"retry_after": 3}})
    result = {"getme": {"id": 1, "is_bot": True, "first_name": "b", "username": "stand_in_bot"}, "getfile": {"file_id": "F1", "file_unique_id": "u", "file_path": "docs/f.txt"},
              "sendmessage": {"message_id": 8, "date": 1, "chat": chat}, "senddocument": {"message_id": 9, "date": 1, "chat": chat}}
    return body_of(200, {"ok": True, "result": result[method]})


def maps(r):
    if "address=denied" in r["target"]:
        return body_of(200, {"status": "REQUEST_DENIED", "error_message": "told by the stand-in"})
    if "distancematrix" in r["target"]:
        return body_of(200, {"status": "OK", "rows": [{"elements": []}]})
    return body_of(200, {"status": "OK", "results": [{"place_id": "P1"}]})


APIS = {"api.github.com": github, "gitlab.com": gitlab, "api.telegram.org": telegram, "maps.googleapis.com": maps}


@pytest.fixture(scope="module")
def w(ca, tmp_path_factory):
    services = {
        "gl": {"upstream": "https://gitlab.com", "inject_header": "PRIVATE-TOKEN", "credential_key": "env://GITLAB_TOKEN"},
        "telegram": {"upstream": "https://api.telegram.org", "inject_mode": "url_path", "path_pattern": "/bot{}/", "credential_key": "env://TELEGRAM_TOKEN"},
        "maps": {"upstream": "https://maps.googleapis.com", "inject_mode": "query_param", "query_param_name": "key", "credential_key": "env://MAPS_KEY"},
    }
    env = {"GITHUB_TOKEN": GITHUB, "GITLAB_TOKEN": GITLAB, "TELEGRAM_TOKEN": TELEGRAM, "MAPS_KEY": MAPS}
    with world(ca, tmp_path_factory.mktemp("services"), lambda r, api: APIS[r["h"]["host"]](r), ["github", "gitlab", *services], services, env=env) as w:
        yield w


def run(w, sdk, route, secret, field=None):
    before = len(w.api.seen)
    direct, through, wrong = w.sdk(sdk, ("-", DIRECT), (w.base + route, TOKEN), (w.base + route, "AIzaWrong"))
    assert through == direct
    seen = w.api.seen[before:]
    half = len(seen) // 2
    same_but_for_the_credential(seen[half:], seen[:half], secret, field)
    assert all(isinstance(e, dict) for e in wrong), wrong
    return through, wrong, seen[half:]


@pytest.mark.parametrize("sdk", ["github", "node-octokit"])
def test_github_shows_its_token_as_token(w, sdk):
    through, wrong, _ = run(w, sdk, "/github", GITHUB, ("authorization", f"token {GITHUB}"))
    assert through[:2] == ["octo", 3] and through[3]["status"] == 404 and "Not Found" in through[3]["text"], through
    assert {e["status"] for e in wrong} == {401}, wrong


def test_gitlab(w):
    through, wrong, seen = run(w, "gitlab", "/gl", GITLAB, ("private-token", GITLAB))
    assert through[:2] == [[5, "text\n", [1, 2, 3]]] * 2 and through[2]["status"] == 404, through
    assert {e["status"] for e in wrong} == {401} and wrong[0]["error"] == "GitlabAuthenticationError", wrong


def test_gitlab_built_in(w):
    through, wrong, _ = run(w, "gitlab_by_hand", "/gitlab", GITLAB, ("authorization", f"Bearer {GITLAB}"))
    assert through == [{"id": 5}] * 2 and {e["error"] for e in wrong} == {"unauthorized"}, (through, wrong)


def test_telegram_shows_its_token_in_the_path(w):
    through, wrong, seen = run(w, "telegram", "/telegram", TELEGRAM)
    assert through[0] == ["stand_in_bot", 8, 9, "the file"] and through[1]["error"] == "RetryAfter", through
    assert f"/bot{TELEGRAM}/getMe" in [r["target"] for r in seen] and f"/file/bot{TELEGRAM}/docs/f.txt" in [r["target"] for r in seen]
    assert {e["error"] for e in wrong} == {"InvalidToken"}, wrong


def test_google_maps_shows_its_key_in_the_query(w):
    through, wrong, seen = run(w, "maps", "/maps", MAPS)
    assert through[0] == "P1" and "told by the stand-in" in through[2]["text"], through
    assert all(r["target"].endswith("key=AIzaReal0815maps%2B%2F%3D") for r in seen), [r["target"] for r in seen]
    assert all("401" in e["text"] for e in wrong), wrong
