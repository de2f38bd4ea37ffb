"""Real clients as their users run them: in a network namespace whose only route is the gateway, with nothing but the env-file's variables."""
import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from gateway import Gateway, Origin, free_port, read_head, read_request, until
from tools import listens

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = Path(__file__).resolve().parent / "clients"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin"
NODE24 = ROOT / ".venv/npm/node_modules/node/bin/node"
INSIDE, GATE = "10.58.0.2", "10.58.0.1"


class Namespace:
    """A process that keeps a network (one veth to ours, no default route) and a mount namespace (no hosts file, no DNS) for the clients."""

    def __init__(self, tmp):
        (tmp / "hosts").write_text("127.0.0.1 localhost\n")
        (tmp / "resolv.conf").write_text("")
        binds = "; ".join(f"mount --bind {tmp}/{f} $(realpath /etc/{f})" for f in ("hosts", "resolv.conf"))
        self.proc = subprocess.Popen(["unshare", "--net", "--mount", "sh", "-ec", f"mount --make-rprivate /; {binds}; ip link set lo up; echo up; exec sleep 1000"],
                                     stdout=subprocess.PIPE, text=True)
        assert self.proc.stdout.readline() == "up\n"
        for c in (f"ip link add gate0 type veth peer name work0 netns {self.proc.pid}", f"ip addr add {GATE}/24 dev gate0", "ip link set gate0 up"):
            subprocess.run(c.split(), check=True, capture_output=True)
        for c in (f"ip addr add {INSIDE}/24 dev work0", "ip link set work0 up"):
            subprocess.run(["nsenter", f"--net=/proc/{self.proc.pid}/ns/net", *c.split()], check=True, capture_output=True)

    def run(self, home, *command, env=None, wait=60):
        """What a user's shell does: `env -i` and these variables, in a fresh home."""
        variables = {"PATH": PATH, "HOME": str(home), "LC_ALL": "C.UTF-8"} | (env or {})
        p = subprocess.run(["nsenter", f"--net=/proc/{self.proc.pid}/ns/net", f"--mount=/proc/{self.proc.pid}/ns/mnt", "env", "-i",
                            *(f"{k}={v}" for k, v in variables.items()), "sh", "-c", 'cd "$HOME" && exec "$@"', "sh", *map(str, command)],
                           capture_output=True, text=True, errors="replace", timeout=wait, stdin=subprocess.DEVNULL)
        return type("Done", (), {"code": p.returncode, "out": p.stdout, "err": p.stderr, "text": p.stdout + p.stderr})

    def close(self):
        self.proc.kill()
        self.proc.wait()
        subprocess.run(["ip", "link", "del", "gate0"], capture_output=True)


def files(root):
    """A web server for a folder; /echo/ answers its path, /ws/ echoes WebSocket frames' payload, /upload/ the size of a body."""
    def handler(conn, origin):
        rest = b""
        while True:
            raw, rest = read_head(conn, rest)
            if b"100-continue" in raw.lower():
                conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            r, rest = read_request(conn, raw + rest)
            origin.seen.append(r)
            path = r["target"].split("?")[0]
            body, status = None, b"200 OK"
            if path.startswith("/ws/"):
                return websocket(conn, r, rest)
            if path.startswith("/echo/"):
                body = f"echo {path}".encode()
            elif path.startswith("/upload/"):
                body = f"{len(r['body'])} {hashlib.sha256(r['body']).hexdigest()}".encode()
            elif (root / path.lstrip("/")).is_file():
                body = (root / path.lstrip("/")).read_bytes()
            elif (root / path.lstrip("/") / "index.html").is_file():
                body = (root / path.lstrip("/") / "index.html").read_bytes()
            if body is None:
                status, body = b"404 Not Found", b"no such file"
            kind = b"text/html" if path.startswith("/simple") else b"application/octet-stream"
            conn.sendall(b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(body)) +
                         (b"" if r["method"] == "HEAD" else body))
    return handler


def websocket(conn, r, rest):
    accept = base64.b64encode(hashlib.sha1(r["h"]["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")

    def take(n):
        nonlocal rest
        while len(rest) < n:
            if not (d := conn.recv(65536)):
                raise EOFError
            rest += d
        d, rest = rest[:n], rest[n:]
        return d
    while True:
        op, n = take(2)
        n &= 127
        n = int.from_bytes(take(2), "big") if n == 126 else int.from_bytes(take(8), "big") if n == 127 else n
        mask, data = take(4), take(n)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        conn.sendall(bytes([op]) + (bytes([n]) if n < 126 else b"\x7e" + n.to_bytes(2, "big")) + data)
        if op & 15 == 8:
            return


# ---- tiny registries as static files

def make_git(root):
    env = {"PATH": PATH, "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*a, cwd):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=n@x", "-c", "init.defaultBranch=main", *a], cwd=cwd, env=env, check=True, capture_output=True)
    work = root / "work"
    work.mkdir(parents=True)
    git("init", "-q", cwd=work)
    for i in range(12):
        (work / f"file{i}").write_text(f"content {i}\n" * 200)
    git("add", ".", cwd=work)
    git("commit", "-qm", "first", cwd=work)
    git("clone", "-q", "--bare", str(work), str(root / "repo.git"), cwd=root)
    git("update-server-info", cwd=root / "repo.git")


def make_pip(root):
    (root / "simple" / "nonodemo").mkdir(parents=True)
    wheel = "nonodemo-1.0-py3-none-any.whl"
    info = "nonodemo-1.0.dist-info"
    texts = {"nonodemo.py": "answer = 42\n", f"{info}/METADATA": "Metadata-Version: 2.1\nName: nonodemo\nVersion: 1.0\n",
             f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    with zipfile.ZipFile(root / "simple" / "nonodemo" / wheel, "w") as z:
        for name, text in texts.items():
            z.writestr(name, text)
        z.writestr(f"{info}/RECORD", "".join(f"{n},,\n" for n in [*texts, f"{info}/RECORD"]))
    digest = hashlib.sha256((root / "simple" / "nonodemo" / wheel).read_bytes()).hexdigest()
    (root / "simple" / "nonodemo" / "index.html").write_text(f'<a href="{wheel}#sha256={digest}">{wheel}</a>')


def make_npm(root, base):
    d = root / "npm"
    d.mkdir()
    names = ["nonodemo"] + [f"dep{i}" for i in range(8)]
    for n in names:
        package = {"name": n, "version": "1.0.0", "main": "index.js", "dependencies": {x: "1.0.0" for x in names[1:]} if n == "nonodemo" else {}}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as t:
            for name, text in (("package.json", json.dumps(package)), ("index.js", "module.exports = 42\n")):
                i = tarfile.TarInfo(f"package/{name}")
                i.size = len(text)
                t.addfile(i, io.BytesIO(text.encode()))
        (d / f"{n}.tgz").write_bytes(out.getvalue())
        dist = {"tarball": f"{base}/npm/{n}.tgz", "integrity": "sha512-" + base64.b64encode(hashlib.sha512(out.getvalue()).digest()).decode()}
        (d / n).write_text(json.dumps({"name": n, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": package | {"dist": dist}}}))


def make_apt(root):
    d = root / "apt"
    for i in range(4):
        p = root / f"deb{i}"
        (p / "DEBIAN").mkdir(parents=True)
        (p / "DEBIAN" / "control").write_text(f"Package: nonodemo{i}\nVersion: 1.0\nArchitecture: all\nMaintainer: n <n@x>\nDescription: demo\n")
        (p / "opt").mkdir()
        (p / "opt" / "demo").write_bytes(os.urandom(30000))
        d.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "-b", str(p), str(d / f"nonodemo{i}_1.0_all.deb")], check=True, capture_output=True)
    text = subprocess.run(["dpkg-scanpackages", "-m", "."], cwd=d, check=True, capture_output=True).stdout
    (d / "Packages").write_bytes(text)
    (d / "Packages.gz").write_bytes(gzip.compress(text))


LAYERS = 24


def make_image(d):
    """A folder that `skopeo copy dir:` takes: many layers."""
    d.mkdir()

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        (d / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}
    tars, layers = [], []
    for n in range(LAYERS):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as t:
            data = os.urandom(100_000)
            i = tarfile.TarInfo(f"layer{n}")
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
        tars.append(out.getvalue())
        layers.append({"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"} | blob(gzip.compress(tars[-1], 1)))
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(t).hexdigest() for t in tars]}}).encode()
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {"mediaType": "application/vnd.docker.container.image.v1+json"} | blob(config), "layers": layers}
    (d / "manifest.json").write_text(json.dumps(manifest))
    (d / "version").write_text("Directory Transport Version: 1.1\n")


# ---- the world

class World:
    def __init__(self, ns, g, plain, secure, ca, env, root):
        self.ns, self.g, self.plain, self.secure, self.ca, self.env, self.root = ns, g, plain, secure, ca, env, root
        self.http, self.https = f"http://origin.test:{plain.port}", f"https://origin.test:{secure.port}"
        self.denied = "https://denied.test:443"

    def run(self, home, *command, env=None, token=None, **kw):
        proxies = {k: v.replace(self.g.token, token) if token else v for k, v in self.env.items()}
        return self.ns.run(home, *command, env=proxies | (env or {}), **kw)

    def clean(self):
        """What every journey must leave: origins that saw no proxy field and no token, an audit in which nothing is lost."""
        for r in self.plain.seen + self.secure.seen:
            text = (r["raw"] + r["body"][:1000]).decode("latin-1")
            assert self.g.token not in text and self.g.basic not in text and "proxy-authorization" not in r["h"], r["raw"]
        for r in self.plain.seen:
            assert "proxy-connection" not in r["h"], r["raw"]
        assert self.g.token not in self.g.audit_path.read_text()

    def requests(self, prefix):
        return [r for r in self.plain.seen + self.secure.seen if r["target"].startswith(prefix)]

    def records(self, **want):
        return [r for r in self.g.records() if all(r.get(k) == v for k, v in want.items())]


@pytest.fixture(scope="module")
def w(ca, tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    ns = Namespace(tmp_path_factory.mktemp("ns"))
    make_git(root / "git")
    make_pip(root)
    make_apt(root)
    try:
        with Origin(files(root)) as plain, Origin(files(root), tls=ca.server("origin.test")) as secure, \
                Gateway("--listen", GATE, "--allow-domain", "origin.test", "--workers", "2", "--env-file", str(root / "env")) as g:
            make_npm(root, f"https://origin.test:{secure.port}")
            env = dict(l.split("=", 1) for l in (root / "env").read_text().splitlines())
            world = World(ns, g, plain, secure, ca, env, root)
            yield world
            world.clean()
    finally:
        ns.close()


def test_the_workload_reaches_the_gateway_and_nothing_else(w, tmp_path):
    d = w.ns.run(tmp_path, "curl", "-sS", "-m", "2", f"http://{w.plain.netloc}/echo/direct", env={})
    assert d.code == 7 and not w.requests("/echo/direct"), d.text
    d = w.ns.run(tmp_path, "curl", "-sS", "-m", "2", w.http + "/echo/direct", env={})
    assert d.code == 6, d.text  # no name either
    assert w.run(tmp_path, "curl", "-sS", w.http + "/echo/through").out == "echo /echo/through"


# ---- curl

def curl(w, home, *a, **kw):
    return w.run(home, "curl", "-sS", "-m", "20", "--cacert", w.ca.pem, *a, **kw)


def test_curl_http_and_https_reuse_and_both_auth_ways(w, tmp_path):
    for i, extra in enumerate(([], ["--proxy-anyauth"], ["--proxy-basic"], ["--http1.0"], ["-p"])):
        for base in (w.http, w.https):
            d = curl(w, tmp_path, *extra, f"{base}/echo/c{i}a", f"{base}/echo/c{i}b")
            assert d.out == f"echo /echo/c{i}aecho /echo/c{i}b", (extra, base, d.text)
    assert w.records(status=407)  # anyauth asks first
    assert curl(w, tmp_path, "-I", w.http + "/echo/head").out.startswith("HTTP/1.1 200")


def test_curl_anyauth_keeps_its_connection_over_the_407(w, tmp_path):
    d = curl(w, tmp_path, "-v", "--proxy-anyauth", w.https + "/echo/any")
    assert d.code == 0 and "407" in d.err and d.err.count("Connected to") == 1, d.err
    d = curl(w, tmp_path, "-v", "--proxy-anyauth", w.http + "/echo/any")
    assert d.code == 0 and "407" in d.err and d.err.count("Connected to") == 1, d.err


def test_case_100_curl_expect_and_uploads(w, tmp_path):
    blob = os.urandom(3_000_000)
    (tmp_path / "blob").write_bytes(blob)
    want = f"{len(blob)} {hashlib.sha256(blob).hexdigest()}"
    for base in (w.http, w.https):
        for extra in (["-H", "Expect: 100-continue"], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"], ["-T", "blob"]):
            d = curl(w, tmp_path, *(extra if extra[0] == "-T" else [*extra, "--data-binary", "@blob"]), base + "/upload/x")
            assert d.out == want, (base, extra, d.text)
    assert curl(w, tmp_path, "--proxy-anyauth", "--data-binary", "@blob", w.http + "/upload/any").out == want


def test_curl_denied_wrong_token_and_no_ca(w, tmp_path):
    d = curl(w, tmp_path, w.denied + "/x")
    assert d.code == 56 and "403" in d.err, d.text
    d = curl(w, tmp_path, "-i", "http://denied.test/x")
    assert "403 Forbidden" in d.out and "denied.test" in d.out and "--allow-domain" in d.out + "--allow-domain" and "request r" in d.out
    assert until(lambda: {r["port"] for r in w.records(target="denied.test", denial_category="host_denied")} == {80, 443})
    d = curl(w, tmp_path, w.https + "/echo/badtoken", token="0" * 64)
    assert d.code == 56 and "407" in d.err, d.text
    d = curl(w, tmp_path, "-w", "%{http_code}", w.http + "/echo/badtoken", token="0" * 64)
    assert d.out.endswith("407") and not w.requests("/echo/badtoken")
    d = w.run(tmp_path, "curl", "-sS", w.https + "/echo/noca")
    assert d.code == 60 and not w.requests("/echo/noca"), d.text


# ---- wget, git, apt

def test_wget(w, tmp_path):
    for base in (w.http, w.https):
        d = w.run(tmp_path, "wget", "-q", "-O-", f"--ca-certificate={w.ca.pem}", base + "/echo/w1", base + "/echo/w2")
        assert d.out == "echo /echo/w1echo /echo/w2", d.text
    d = w.run(tmp_path, "wget", "-O-", "--tries=1", w.denied + "/x")
    assert d.code and "Forbidden: host denied.test" in d.err, d.err  # the reason stands in the status line
    assert w.run(tmp_path, "wget", "-O-", "--tries=1", w.https + "/echo/wno").code and not w.requests("/echo/wno")


def test_case_12_git_clones_over_http_and_https(w, tmp_path):
    env = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_SSL_CAINFO": w.ca.pem, "GIT_TERMINAL_PROMPT": "0"}
    for i, base in enumerate((w.http, w.https)):
        d = w.run(tmp_path, "git", "clone", "-q", base + "/git/repo.git", f"out{i}", env=env)
        assert d.code == 0 and (tmp_path / f"out{i}" / "file11").read_text().startswith("content 11"), d.text
    assert w.records(status=407)  # git asks before it sends a password
    d = w.run(tmp_path, "git", "clone", "-q", "https://denied.test/repo.git", env=env)
    assert d.code and "403" in d.err, d.text
    d = w.run(tmp_path, "git", "clone", "-q", w.https + "/git/repo.git", "bad", env=env, token="0" * 64)
    assert d.code and "407" in d.err, d.text


def test_apt_update_and_download_over_http_proxy(w, tmp_path):
    (tmp_path / "sources").write_text(f"deb [trusted=yes] {w.http}/apt ./\n")
    for d in ("state/lists/partial", "cache/archives/partial", "etc", "parts"):
        (tmp_path / d).mkdir(parents=True)
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={tmp_path}/sources", "-o", f"Dir::Etc::sourceparts={tmp_path}/parts", "-o",
           f"Dir::Etc::main={tmp_path}/none", "-o", f"Dir::Etc::parts={tmp_path}/parts", "-o",
           f"Dir::State={tmp_path}/state", "-o", f"Dir::Cache={tmp_path}/cache", "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1",
           "-o", "Acquire::Retries=0"]
    d = w.run(tmp_path, *apt, "update", env={"APT_CONFIG": "/dev/null"})
    assert d.code == 0, d.text
    d = w.run(tmp_path, *apt, "download", *(f"nonodemo{i}" for i in range(4)), env={"APT_CONFIG": "/dev/null"})
    assert d.code == 0 and sorted(p.name for p in tmp_path.glob("*.deb")) == [f"nonodemo{i}_1.0_all.deb" for i in range(4)], d.text
    for p in tmp_path.glob("*.deb"):
        assert p.read_bytes() == (w.root / "apt" / p.name).read_bytes()


# ---- pip, npm

def test_pip_installs_from_an_index(w, tmp_path):
    env = {"PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CERT": w.ca.pem, "PIP_NO_CACHE_DIR": "1"}
    pip = [ROOT / ".venv/bin/python", "-m", "pip", "install", "--no-deps", "--retries", "0", "--target"]
    d = w.run(tmp_path, *pip, tmp_path / "out", "-i", w.https + "/simple", "nonodemo", env=env)
    assert d.code == 0 and (tmp_path / "out" / "nonodemo.py").exists(), d.text
    d = w.run(tmp_path, *pip, tmp_path / "out2", "-i", w.http + "/simple", "--trusted-host", f"origin.test:{w.plain.port}", "nonodemo", env=env)
    assert d.code == 0 and (tmp_path / "out2" / "nonodemo.py").exists(), d.text
    d = w.run(tmp_path, *pip, tmp_path / "out3", "-i", "https://denied.test/simple", "nonodemo", env=env)
    assert d.code and not (tmp_path / "out3").exists(), d.text


def test_npm_installs_from_a_registry(w, tmp_path):
    (tmp_path / "package.json").write_text('{"name":"x","version":"1.0.0"}')
    env = {"npm_config_cafile": w.ca.pem, "NPM_CONFIG_GLOBALCONFIG": "/nonexistent", "npm_config_update_notifier": "false", "npm_config_fetch_retries": "0"}
    npm = ["npm", "install", "--no-audit", "--no-fund", "--registry"]
    d = w.run(tmp_path, *npm, w.https + "/npm/", "nonodemo", env=env)
    assert d.code == 0 and all((tmp_path / "node_modules" / n / "index.js").exists() for n in ("nonodemo", "dep0", "dep7")), d.text
    d = w.run(tmp_path, *npm, "https://denied.test/npm/", "other", env=env)
    assert d.code and "403" in d.text, d.text


# ---- skopeo (case 116)

@pytest.fixture(scope="module")
def registry(w, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("registry")
    w.ca.server("origin.test")
    leaf = w.ca.dir / f"leaf{w.ca.n}"
    port = free_port("10.55.0.1")
    (tmp / "c.yml").write_text(json.dumps({"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}},
                                           "storage": {"filesystem": {"rootdirectory": str(tmp / "data")}},
                                           "http": {"addr": f"10.55.0.1:{port}", "tls": {"certificate": f"{leaf}.pem", "key": f"{leaf}.key"}}}))
    with open(tmp / "log", "wb") as log:
        p = subprocess.Popen(["docker-registry", "serve", str(tmp / "c.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                             env={"PATH": PATH, "HOME": str(tmp), "OTEL_TRACES_EXPORTER": "none"})
    try:
        assert until(lambda: listens(port, "10.55.0.1")), (tmp / "log").read_text()
        (tmp / "certs").mkdir()
        shutil.copy(w.ca.pem, tmp / "certs" / "ca.crt")
        make_image(tmp / "image")
        yield type("R", (), {"netloc": f"origin.test:{port}", "certs": tmp / "certs", "image": tmp / "image"})
    finally:
        p.kill()
        p.wait()


def test_case_116_skopeo_pushes_and_pulls_many_blobs_at_once(w, registry, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    copy = ["skopeo", "--policy", policy, "--tmpdir", tmp_path, "copy", "-q"]
    d = w.run(tmp_path, *copy, "--dest-cert-dir", registry.certs, f"dir:{registry.image}", f"docker://{registry.netloc}/demo:1")
    assert d.code == 0, d.text
    d = w.run(tmp_path, *copy, "--src-cert-dir", registry.certs, f"docker://{registry.netloc}/demo:1", f"dir:{tmp_path}/out")
    assert d.code == 0 and len(list((tmp_path / "out").iterdir())) == LAYERS + 3, d.text
    for f in registry.image.iterdir():
        if len(f.name) == 64:
            assert (tmp_path / "out" / f.name).read_bytes() == f.read_bytes()
    d = w.run(tmp_path, *copy, "docker://denied.test/demo:1", f"dir:{tmp_path}/no")
    assert d.code and "denied.test" in d.err and "Forbidden" in d.err, d.text  # the reason phrase is all it shows


# ---- programs in every language: plain, secure, denied

def outputs(w, home, name, *command, env=None, **kw):
    d = w.run(home, *command, f"{w.http}/echo/{name}", f"{w.https}/echo/{name}", w.denied + "/", env=env, **kw)
    return d, [l for l in d.out.splitlines() if l]


def three(w, home, name, *command, env=None, reason=True, each=1):
    d, lines = outputs(w, home, name, *command, env=env)
    assert lines[:2 * each] == [f"200 echo /echo/{name}"] * 2 * each and len(lines) == 3 * each, d.text
    assert all(l.startswith("error") for l in lines[2 * each:]), d.text
    assert not reason or "403" in lines[-1] or "Forbidden" in lines[-1] or "denied.test" in lines[-1], lines[-1]
    assert len(w.requests(f"/echo/{name}")) == 2 * each
    return lines


@pytest.mark.parametrize("kind", ["requests", "httpx", "aiohttp", "urllib"])
def test_python(kind, w, tmp_path):
    env = {"SSL_CERT_FILE": w.ca.pem, "REQUESTS_CA_BUNDLE": w.ca.pem}
    command = [ROOT / ".venv/bin/python", CLIENTS / "fetch.py", kind]
    lines = three(w, tmp_path, f"py-{kind}", *command, env=env)
    assert kind in ("urllib",) or "403" in lines[-1] or "Forbidden" in lines[-1], lines
    d, lines = outputs(w, tmp_path, f"py-{kind}-bad", *command, env=env, token="0" * 64)
    assert not w.requests(f"/echo/py-{kind}-bad") and all("407" in l for l in lines), d.text
    d, lines = outputs(w, tmp_path, f"py-{kind}-noca", *command)
    assert lines[0].startswith("200") and lines[1].startswith("error") and "certificate" in lines[1].lower(), d.text


def test_python_websockets_through_the_proxy(w, tmp_path):
    d = w.run(tmp_path, ROOT / ".venv/bin/python", CLIENTS / "fetch.py", "websockets", w.http.replace("http", "ws") + "/ws/1",
              w.https.replace("http", "ws") + "/ws/2", "wss://denied.test/ws", env={"SSL_CERT_FILE": w.ca.pem})
    lines = d.out.splitlines()
    assert lines[:2] == ["101 20000"] * 2 and lines[2].startswith("error") and "403" in lines[2], d.text


def test_node_undici_env_http_proxy_agent(w, tmp_path):
    three(w, tmp_path, "undici", NODE24, CLIENTS / "fetch.mjs", env={"NODE_EXTRA_CA_CERTS": w.ca.pem, "UNDICI": str(ROOT / ".venv/npm/node_modules/undici")}, reason=False)


def test_node_24_with_node_use_env_proxy_of_the_env_file(w, tmp_path):
    assert w.env["NODE_USE_ENV_PROXY"] == "1"
    three(w, tmp_path, "node24", NODE24, CLIENTS / "fetch.mjs", env={"NODE_EXTRA_CA_CERTS": w.ca.pem}, each=2,
          reason=False)


def test_go_net_http(w, tmp_path):
    exe = ROOT / ".venv" / "go-fetch"
    if not exe.exists():  # ./dev test has made it; compiling Go's library takes a while
        subprocess.run(["go", "build", "-o", str(exe), str(CLIENTS / "fetch.go")], check=True, env={"PATH": PATH, "HOME": "/root", "GOCACHE": str(ROOT / ".venv/go-cache"),
                                                                                                    "GO111MODULE": "off", "CGO_ENABLED": "0"})
    lines = three(w, tmp_path, "go", exe, env={"SSL_CERT_FILE": w.ca.pem})
    assert "Forbidden" in lines[-1] and "denied.test" in lines[-1], lines
    d, lines = outputs(w, tmp_path, "go-bad", exe, env={"SSL_CERT_FILE": w.ca.pem}, token="0" * 64)
    assert not w.requests("/echo/go-bad") and lines[0].startswith("407") and "Proxy Authentication Required" in lines[1], d.text


def test_java_http_client(w, tmp_path):
    store = tmp_path / "trust.p12"
    subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "n", "-file", w.ca.pem, "-keystore", str(store), "-storetype", "PKCS12", "-storepass", "changeit"],
                   check=True, capture_output=True)
    lines = three(w, tmp_path, "java", "java", "-XX:TieredStopAtLevel=1", f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit",
                  "-Djdk.http.auth.tunneling.disabledSchemes=", CLIENTS / "Fetch.java", f"{GATE}:{w.g.port}", f"nono:{w.g.token}", reason=False)
    assert lines
