"""Stand-ins of public APIs for the SDK tests: one recorder over TLS at the addresses that the hosts file of conftest.py gives their names, a
tap between client and gateway, and the comparison of what an SDK sends through the gateway with what it sends without."""
import contextlib
import json
import re
import socket
import subprocess
import threading
import urllib.parse
from pathlib import Path

from gateway import Gateway, Origin, forms, read_head, read_request

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = Path(__file__).resolve().parent / "clients"
PYTHON, NODE = ROOT / ".venv/bin/python", ROOT / ".venv/npm/node_modules/node/bin/node"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ADDRESS = "10.55.0.3"
NAMES = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com", "maps.googleapis.com", "api.github.com", "gitlab.com",
         "my.openai.azure.com", "api.telegram.org", "packages.test", "npm.test", "registry.test")
TOKEN = "AIzaPhantomTokenOfTheSession000000000000"  # googlemaps wants its key to begin like this
DIRECT = "AIzaKeyOfTheDirectRun0000000000000000000"  # what the SDKs hold when they talk to the stand-in without a gateway


def body_of(status, what, kind=b"application/json", extra=b""):
    out = what if isinstance(what, bytes) else json.dumps(what).encode()
    return b"HTTP/1.1 %d Word\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n" % (status, kind, extra, len(out)) + out


class Standin(Origin):
    """`answers` gets (request, origin) and returns bytes to send, a list of events (the first goes out alone, the others once self.go is set), or a
    function that gets (connection, request, what came behind it) and has the connection to itself."""

    def __init__(self, ca, answers):
        self.answers, self.go = answers, threading.Event()
        super().__init__(Standin.serve, host=ADDRESS, port=443, tls=ca.server(*NAMES))

    def serve(conn, self):
        rest = b""
        while True:
            raw, rest = read_head(conn, rest)
            if b"100-continue" in raw.lower():
                conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            r, rest = read_request(conn, raw + rest)
            self.seen.append(r)
            out = self.answers(r, self)
            if callable(out):
                return out(conn, r, rest)
            if isinstance(out, list):
                self.stream(conn, out)
            else:
                conn.sendall(out[:out.index(b"\r\n\r\n") + 4] if r["method"] == "HEAD" else out)

    def stream(self, conn, events):
        self.go.clear()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i, e in enumerate(events):
            if i == 1 and not self.go.wait(15):
                raise EOFError("the client did not show that it had the first event")
            conn.sendall(b"%x\r\n%s\r\n" % (len(e), e))
        conn.sendall(b"0\r\n\r\n")


class Tap:
    """A relay in front of a port that keeps what went back to the clients."""

    def __init__(self, port):
        self.to, self.back, self.lock = port, bytearray(), threading.Lock()
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.sock.accept()
                g = socket.create_connection(("127.0.0.1", self.to))
                for a, b, kept in ((c, g, False), (g, c, True)):
                    a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._pass, args=(a, b, kept), daemon=True).start()

    def _pass(self, a, b, kept):
        with contextlib.suppress(OSError):
            while d := a.recv(65536):
                if kept:
                    with self.lock:
                        self.back += d
                b.sendall(d)
        with contextlib.suppress(OSError):
            b.shutdown(socket.SHUT_WR)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


KEYRING = """#!/bin/sh
case " $* " in
{cases}
esac
exit 1
"""


class World:
    """A gateway with these services and secrets, its tap, and the stand-in."""

    def __init__(self, g, tap, api, ca, home):
        self.g, self.tap, self.api, self.ca, self.home = g, tap, api, ca, home
        self.env = dict(l.split("=", 1) for l in (home.parent / "env").read_text().splitlines())

    @property
    def base(self):
        return f"http://127.0.0.1:{self.tap.port}"

    def client(self, *command, env=None, wait=60, cwd=None):
        """What a user's shell does: `env -i` and the variables that make the clients trust the stand-in's certificate."""
        trust = {n: self.ca.pem for n in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")}
        p = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace", timeout=wait, stdin=subprocess.DEVNULL,
                           cwd=cwd or self.home, env={"PATH": PATH, "HOME": str(self.home), "LC_ALL": "C.UTF-8"} | trust | (env or {}))
        for s in self.g.secrets:
            assert not [f for f in forms(s) if f in (p.stdout + p.stderr).encode()], "the client has a secret"
        return p

    def sdk(self, name, *runs, env=None):
        """Runs the scenario of one SDK against each (base URL, key): what it saw, as one list for each run."""
        program = [NODE, CLIENTS / "sdk.mjs"] if name.startswith("node-") else [PYTHON, CLIENTS / "sdk.py"]
        modules = {"MODULES": str(ROOT / ".venv/npm/node_modules/")}
        p = self.client(*program, name.removeprefix("node-"), *(x for r in runs for x in r), env=modules | (env or {}))
        assert p.returncode == 0, p.stdout + p.stderr
        out = [json.loads(l) for l in p.stdout.splitlines()]
        assert len(out) == len(runs), p.stdout + p.stderr
        return out

    def no_secret_came_back(self):
        for s in self.g.secrets:
            assert not [f for f in forms(s) if f in bytes(self.tap.back)], "a secret went to a client"


@contextlib.contextmanager
def world(ca, tmp, answers, asked, services=None, env=None, keyring=None):
    """`env` and `keyring` hold the secrets: variables of the gateway, and accounts that its secret-tool knows."""
    (tmp / "bin").mkdir()
    tool = tmp / "bin" / "secret-tool"
    cases = "\n".join(f'*" username {account} "*) printf %s "$SECRET_{account}"; exit 0;;' for account in keyring or {})
    tool.write_text(KEYRING.format(cases=cases))
    tool.chmod(0o755)
    (tmp / "p.json").write_text(json.dumps({"network": {"credentials": asked, "custom_credentials": services or {}}}))
    variables = {"PATH": f"{tmp}/bin:{PATH}", "SSL_CERT_FILE": ca.pem} | {f"SECRET_{a}": s for a, s in (keyring or {}).items()} | (env or {})
    secrets = [s for v in [*(keyring or {}).values(), *(env or {}).values()] for s in (v, v.split(":", 1)[-1])]
    (tmp / "home").mkdir()
    with Standin(ca, answers) as api, Gateway("-p", str(tmp / "p.json"), "--pass", TOKEN, "--env-file", str(tmp / "env"), env=variables, secrets=secrets) as g:
        tap = Tap(g.port)
        try:
            w = World(g, tap, api, ca, tmp / "home")
            yield w
            w.no_secret_came_back()
        finally:
            tap.close()


HOP = {"connection", "keep-alive", "te", "proxy-connection", "content-length", "transfer-encoding"}  # of one connection: the gateway writes its own


def plain(r, fields, key):
    """A request without what must differ: the credential's fields, its key in the target, random multipart boundaries. (Node's fetch offers
    br over TLS only.)"""
    m = re.search(r"boundary=([^;\s\"]+)", r["h"].get("content-type", ""))
    swap = (lambda t: t.replace(m[1], "BOUNDARY")) if m else (lambda t: t)
    headers = [(k, swap(v).replace("br, gzip, deflate", "gzip, deflate")) for k, v in r["headers"] if k.lower() not in fields and k.lower() not in HOP]
    for form in {key, urllib.parse.quote(key), urllib.parse.quote(key, safe="")}:
        r = r | {"target": r["target"].replace(form, "KEY")}
    return {"method": r["method"], "target": r["target"], "version": r["version"], "headers": headers,
            "framing": {k: r["h"].get(k) for k in ("content-length", "transfer-encoding")}, "body": swap(r["body"].decode("latin-1")), "trailers": r["trailers"]}


CREDENTIALS = {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "private-token", "x-auth-token", "x-amz-security-token"}


def same_but_for_the_credential(through, direct, secret, field=None):
    """Both lists of requests are the same byte for byte but for the credential; and what came through the gateway has the real one, once.
    `field`: (name, value) that must be there, the only credential field; without it the secret stands in the target."""
    assert len(through) == len(direct) and through, ([r["target"] for r in through], [r["target"] for r in direct])
    for t, d in zip(through, direct):
        got, want = plain(t, CREDENTIALS, secret), plain(d, CREDENTIALS, DIRECT)
        assert [h for h in got["headers"] if h not in want["headers"]] == [h for h in want["headers"] if h not in got["headers"]] and got == want, t["target"]
        shown = [(k.lower(), v) for k, v in t["headers"] if k.lower() in CREDENTIALS]
        assert shown == ([field] if field else []), t["raw"]
        whole = (t["raw"] + t["body"]).decode("latin-1")
        assert sum(whole.count(f) for f in {secret, urllib.parse.quote(secret, safe="")}) == (1 if not field or secret in field[1] else 0)
        for f in forms(TOKEN) | forms(DIRECT):
            assert f not in t["raw"] + t["body"] and f not in urllib.parse.unquote_to_bytes(t["target"]), t["raw"]
