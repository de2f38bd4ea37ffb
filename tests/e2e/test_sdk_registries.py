"""Package managers that log in with Basic: skopeo at a real registry, pip, npm and git at static files. Each shows the token as its password."""
import base64
import json
import subprocess

import pytest
import test_clients
from gateway import forms, free_port, until
from standin import ADDRESS, PATH, PYTHON, TOKEN, body_of, world
from tools import listens

LOGIN = "robot:real-0815-password"
BASIC = "Basic " + base64.b64encode(LOGIN.encode()).decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    test_clients.make_pip(root)
    test_clients.make_npm(root, "https://npm.test")
    test_clients.make_git(root / "git")
    return root


def files(root):
    def answers(r, api):
        path = (root / "npm" if r["h"]["host"] == "npm.test" else root) / r["target"].split("?")[0].removeprefix("/npm").strip("/")
        if r["h"].get("authorization") != BASIC:
            return body_of(401, {"error": "log in"}, extra=b'WWW-Authenticate: Basic realm="packages"\r\n')
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return body_of(404, {"error": "no such file"})
        kinds = {".html": b"text/html", "": b"application/json"}
        return body_of(200, path.read_bytes(), b"application/octet-stream" if "git" in str(path) else kinds.get(path.suffix, b"application/octet-stream"))
    return answers


@pytest.fixture(scope="module")
def registry(ca, tmp_path_factory):
    """Debian's docker-registry with TLS and a password file; its port."""
    tmp, port = tmp_path_factory.mktemp("registry"), free_port(ADDRESS)
    crt, key = ca.leaf("registry.test")
    user, password = LOGIN.split(":")
    (tmp / "htpasswd").write_bytes(subprocess.run(["htpasswd", "-nbB", "-C", "4", user, password], check=True, capture_output=True).stdout)
    (tmp / "c.yml").write_text(json.dumps({
        "version": 0.1, "log": {"level": "info"}, "storage": {"filesystem": {"rootdirectory": str(tmp / "data")}},
        "auth": {"htpasswd": {"realm": "registry", "path": str(tmp / "htpasswd")}},
        "http": {"addr": f"{ADDRESS}:{port}", "relativeurls": True, "tls": {"certificate": crt, "key": key}}}))
    with open(tmp / "log", "wb") as log:
        p = subprocess.Popen(["docker-registry", "serve", str(tmp / "c.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                             env={"PATH": PATH, "HOME": str(tmp), "OTEL_TRACES_EXPORTER": "none"})
    try:
        assert until(lambda: listens(port, ADDRESS)), (tmp / "log").read_text()
        test_clients.make_image(tmp / "image")
        yield type("R", (), {"port": port, "image": tmp / "image", "log": tmp / "log"})
    finally:
        p.kill()
        p.wait()


@pytest.fixture(scope="module")
def w(ca, tmp_path_factory, site, registry):
    login = {"inject_mode": "basic_auth", "credential_key": "env://LOGIN"}
    services = {"v2": login | {"upstream": f"https://registry.test:{registry.port}/v2"}, "packages": login | {"upstream": "https://packages.test"},
                "npm": login | {"upstream": "https://npm.test"}}
    with world(ca, tmp_path_factory.mktemp("w"), files(site), list(services), services, env={"LOGIN": LOGIN}) as w:
        yield w
        for r in w.api.seen:
            assert [v for k, v in r["headers"] if k.lower() == "authorization"] == [BASIC], r["raw"]
            assert not [f for f in forms(TOKEN) | forms("nono:" + TOKEN) if f in r["raw"]], r["raw"]


def url(w, path, token=TOKEN):
    return f"http://nono:{token}@127.0.0.1:{w.tap.port}{path}"


def test_skopeo_pushes_and_pulls_through_a_route_named_v2(w, registry, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    copy = ["skopeo", "--policy", policy, "--tmpdir", tmp_path, "copy", "-q"]
    there = f"docker://127.0.0.1:{w.tap.port}/demo:1"
    d = w.client(*copy, "--dest-tls-verify=false", "--dest-creds", f"nono:{TOKEN}", f"dir:{registry.image}", there)
    assert d.returncode == 0, d.stderr
    d = w.client(*copy, "--src-tls-verify=false", "--src-creds", f"nono:{TOKEN}", there, f"dir:{tmp_path}/out")
    assert d.returncode == 0, d.stderr
    for f in registry.image.iterdir():
        if len(f.name) == 64:
            assert (tmp_path / "out" / f.name).read_bytes() == f.read_bytes()
    d = w.client(*copy, "--src-tls-verify=false", "--src-creds", "nono:wrong", there, f"dir:{tmp_path}/no")
    assert d.returncode and "unauthorized" in d.stderr, d.stderr
    assert TOKEN not in registry.log.read_text()


def test_pip_from_an_index_that_wants_a_login(w, tmp_path):
    pip = [PYTHON, "-m", "pip", "-q", "--disable-pip-version-check", "--no-cache-dir", "download", "--no-deps", "-d", tmp_path]
    d = w.client(*pip, "--index-url", url(w, "/packages/simple"), "nonodemo")
    assert d.returncode == 0 and [f.name for f in tmp_path.iterdir()] == ["nonodemo-1.0-py3-none-any.whl"], d.stderr
    n = len(w.api.seen)
    d = w.client(*pip, "--no-input", "--index-url", url(w, "/packages/simple", "wrong"), "nonodemo")
    assert d.returncode and len(w.api.seen) == n, d.stderr


def test_npm_from_a_registry_that_wants_a_login(w, site, tmp_path):
    where = f"//127.0.0.1:{w.tap.port}/npm/"
    auth = base64.b64encode(f"nono:{TOKEN}".encode()).decode()
    (tmp_path / ".npmrc").write_text(f"registry=http:{where}\n{where}:_auth={auth}\nreplace-registry-host=always\n")
    (tmp_path / "package.json").write_text('{"name":"x","version":"1.0.0"}')
    d = w.client("npm", "install", "--no-audit", "--no-fund", "nonodemo", cwd=tmp_path, env={"HOME": str(tmp_path), "NPM_CONFIG_GLOBALCONFIG": "/nonexistent"})
    assert d.returncode == 0 and (tmp_path / "node_modules/nonodemo/index.js").exists() and (tmp_path / "node_modules/dep7/index.js").exists(), d.stderr


def test_git_waits_for_the_challenge_and_shows_its_login(w, tmp_path):
    env = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    d = w.client("git", "clone", "-q", url(w, "/packages/git/repo.git"), tmp_path / "repo", env=env)
    assert d.returncode == 0 and len(list((tmp_path / "repo").glob("file*"))) == 12, d.stderr
    d = w.client("git", "clone", "-q", url(w, "/packages/git/repo.git", "wrong"), tmp_path / "no", env=env)
    assert d.returncode and "Authentication failed" in d.stderr, d.stderr
