"""The gateway under test as a process, raw clients that read strictly, and origins that record. Nothing here knows how the gateway is made."""
import base64
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

WAIT = 15.0  # seconds any single wait may take (sanitizers are slow)
BINARY = os.environ.get("NONO_BIN") or str(Path(__file__).resolve().parents[2] / "build" / "nono")
SANITIZED = "asan" in BINARY or "tsan" in BINARY


def clean_env(extra=None):
    """This machine's environment without anything a gateway or client would take a proxy setting from."""
    ours = re.compile(r"NONO_.*|(?i:.*_proxy)|RUST_LOG|NO_COLOR|CLICOLOR.*|NOTIFY_SOCKET|LISTEN_.*|WATCHDOG_.*|SSL_CERT_.*")
    return {k: v for k, v in os.environ.items() if not ours.fullmatch(k)} | (extra or {})


def until(condition, wait=WAIT, step=0.01):
    end = time.monotonic() + wait
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(step)
    return value


def free_port(host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def forms(secret):
    b = secret.encode()
    return {b, base64.b64encode(b).rstrip(b"="), b.hex().encode(), urllib.parse.quote(secret, safe="").encode()}


class Gateway:
    """`with Gateway('--allow-domain', 'x') as g:`. At its end it must leave in order, with no sanitizer report and no descriptor left over.
    None of `secrets` may then stand in what it wrote (g.secrets may grow), nor its token outside of the banner."""

    def __init__(self, *args, auth=True, audit=True, env=None, ready="Press Ctrl-C", stdout=None, secrets=()):
        self.args, self.auth, self.want_audit, self.env, self.ready = list(args), auth, audit, env or {}, ready
        self.secrets = list(secrets)

    def __enter__(self):
        self.tmp = tempfile.TemporaryDirectory(prefix="nono-e2e-")
        self.dir = Path(self.tmp.name)
        self.audit_path = self.dir / "audit.ndjson"
        args = [BINARY, "proxy", *self.args]
        if not any(a.startswith("--port") or a.startswith("unix:") or re.fullmatch(r".*:\d+", a) for a in self.args):
            args += ["--port", "0"]
        if not self.auth:
            args += ["--no-auth"]
        if self.want_audit:
            args += ["--audit-log", str(self.audit_path)]
        self.out, self.err = open(self.dir / "out", "wb"), open(self.dir / "err", "wb")
        self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err,
                                     env=clean_env({"HOME": str(self.dir)} | self.env), start_new_session=True)
        if not until(lambda: self.ready in self.banner or self.proc.poll() is not None) or self.proc.poll() is not None:
            text = self.banner + self.stderr
            self.proc.kill()
            raise RuntimeError(f"the gateway did not start ({self.proc.poll()}): {text[-1500:]}")
        m = re.search(r"listening on (\S+)", self.banner)
        self.address = m[1] if m else ""
        tail = self.address.rsplit(":", 1)[-1]
        self.port = int(tail) if tail.isdigit() else 0
        m = re.search(r"^\s*token:\s+(\S+)", self.banner, re.M)
        self.token = m[1] if m else None
        self.fds_at_start = self.descriptors()
        return self

    @property
    def banner(self):
        return (self.dir / "out").read_text(errors="replace")

    @property
    def stderr(self):
        return (self.dir / "err").read_text(errors="replace")

    def descriptors(self):
        """Sockets and pipes that are open, without the pooled ones' idle time mattering (checked where nothing is pooled)."""
        with contextlib.suppress(FileNotFoundError):
            return len(os.listdir(f"/proc/{self.proc.pid}/fd"))
        return 0

    def rss_kib(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.proc.pid}/status").read_text())[1])

    @property
    def basic(self):
        return "Basic " + base64.b64encode(f"nono:{self.token}".encode()).decode()

    @property
    def url(self):
        return f"http://{'nono:' + self.token + '@' if self.token else ''}127.0.0.1:{self.port}"

    def proxy_env(self):
        return {n: self.url for n in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")} | {"no_proxy": "", "NO_PROXY": ""}

    def connect(self, timeout=WAIT):
        return Raw("127.0.0.1", self.port, timeout)

    def records(self, n=0, kind="exchange"):
        """Whole audit records of one type so far; waits for at least n of them."""
        def read():
            data = self.audit_path.read_bytes() if self.audit_path.exists() else b""
            return [r for r in map(json.loads, data.split(b"\n")[:-1]) if r["type"] == kind]
        until(lambda: len(read()) >= n)
        return read()

    def leaks(self):
        """(file, secret) wherever one of the secrets can be read: plain, percent-encoded, base64 or hex."""
        written = {n: (self.dir / n).read_bytes() for n in ("out", "err", "audit.ndjson") if (self.dir / n).exists()}
        found = {(n, s) for n, data in written.items() for s in self.secrets for f in forms(s) if f in data}
        if self.secrets and self.token:
            found |= {(n, "the token") for n, data in written.items() if n != "out" for f in forms(self.token) if f in data}
        return sorted(found)

    def stop(self, sig=signal.SIGTERM, wait=WAIT):
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
            try:
                self.proc.wait(wait)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise AssertionError("the gateway did not end in time")
        return self.proc.returncode

    def __exit__(self, kind, *_):
        try:
            if self.proc.poll() is None:
                self.proc.send_signal(signal.SIGTERM)
                time.sleep(0.02)
                if self.proc.poll() is None:  # a second signal ends what still runs
                    self.proc.send_signal(signal.SIGTERM)
            code = self.stop()
            if kind is None:
                err = self.stderr
                assert not re.search(r"Sanitizer|runtime error|assertion", err), err[-4000:]
                assert code == 0, (code, err[-2000:])
                assert not self.leaks(), self.leaks()
        finally:
            if self.proc.poll() is None:
                self.proc.kill()
            self.out.close(), self.err.close()
            self.tmp.cleanup()


def run(*args, env=None, timeout=WAIT):
    """`nono ARGS` to its end: (exit code, stdout, stderr)."""
    p = subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=timeout, env=clean_env(env), stdin=subprocess.DEVNULL)
    return p.returncode, p.stdout, p.stderr


class Answer:
    def __init__(self, status, reason, headers, body=b"", trailers=()):
        self.status, self.reason, self.headers, self.body, self.trailers = status, reason, headers, body, list(trailers)

    def get(self, name, default=None):
        v = [v for k, v in self.headers if k.lower() == name.lower()]
        return ", ".join(v) if v else default

    def __repr__(self):
        return f"<{self.status} {self.reason!r} {self.headers} {self.body[:200]!r}>"


class Raw:
    """A client that sends exact bytes and forgives nothing in the answer."""

    def __init__(self, host, port=None, timeout=WAIT):
        if port is None:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.settimeout(timeout)
            self.s.connect(host)
        else:
            self.s = socket.create_connection((host, port), timeout)
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf, self.interim = b"", []

    def send(self, data):
        self.s.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def more(self):
        d = self.s.recv(65536)
        if not d:
            raise EOFError(f"closed after {self.buf[:200]!r}")
        self.buf += d

    def line(self):
        while b"\r\n" not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def exactly(self, n):
        while len(self.buf) < n:
            self.more()
        d, self.buf = self.buf[:n], self.buf[n:]
        return d

    def head(self):
        m = re.fullmatch(rb"HTTP/1\.[01] (\d{3}) ([^\r\n\0]*)", self.line())
        assert m, f"status line before {self.buf[:200]!r}"
        headers = []
        while l := self.line():
            f = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\r\n\0]*)", l)
            assert f, l
            headers.append((f[1].decode(), f[2].decode("latin-1").strip()))
        return Answer(int(m[1]), m[2].decode("latin-1"), headers)

    def chunked(self):
        body, trailers = b"", []
        while n := int(self.line(), 16):
            body += self.exactly(n)
            assert self.exactly(2) == b"\r\n"
        while l := self.line():
            trailers.append(l.decode("latin-1"))
        return body, trailers

    def response(self, method="GET"):
        while (a := self.head()).status < 200 and a.status != 101:
            self.interim.append(a.status)
        if method == "HEAD" or a.status in (101, 204, 304) or (method == "CONNECT" and a.status // 100 == 2):
            return a
        if a.get("transfer-encoding"):
            assert a.get("transfer-encoding") == "chunked" and not a.get("content-length"), a
            a.body, a.trailers = self.chunked()
        elif a.get("content-length") is not None:
            a.body = self.exactly(int(a.get("content-length")))
        else:
            a.body = self.until_close()
        return a

    def until_close(self):
        with contextlib.suppress(EOFError):
            while True:
                self.more()
        d, self.buf = self.buf, b""
        return d

    def closed(self, wait=5.0):
        self.s.settimeout(wait)
        try:
            return self.s.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def reset(self):
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.s.close()

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect_head(authority, auth=None, extra=""):
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n" + (f"Proxy-Authorization: {auth}\r\n" if auth else "") + extra + "\r\n"


def get(url, method="GET", extra="", body="", auth=None, version="1.1"):
    host = re.sub(r"^[a-z]+://([^/?#]*).*", r"\1", url, flags=re.I)
    a = f"Proxy-Authorization: {auth}\r\n" if auth else ""
    return f"{method} {url} HTTP/{version}\r\nHost: {host}\r\n{a}{extra}\r\n{body}"


class Origin:
    """A threaded TCP or TLS server. `handler(conn, origin)` serves one connection; the default echoes each request as JSON."""

    def __init__(self, handler=None, host="10.55.0.1", port=0, tls=None):
        self.handler, self.tls, self.seen, self.raw, self.connections = handler or echo, tls, [], [], 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.create_server((host, port), backlog=1024, family=family)
        self.host, self.port = self.sock.getsockname()[:2]
        self.netloc = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        try:
            c.settimeout(60)
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                c = self.tls.wrap_socket(c, server_side=True)
            self.handler(c, self)
        except (OSError, EOFError, ValueError):
            pass  # cut off: the test sees what is missing
        finally:
            with contextlib.suppress(OSError):
                c.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def read_head(conn, buf=b""):
    """(head bytes, rest) of the next message."""
    while b"\r\n\r\n" not in buf:
        d = conn.recv(65536)
        if not d:
            raise EOFError
        buf += d
    head, rest = buf.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n", rest


def read_request(conn, buf=b""):
    """({method, target, headers, body, trailers, raw}, rest)."""
    raw, rest = read_head(conn, buf)
    lines = raw.decode("latin-1").split("\r\n")[:-2]
    method, target, version = lines[0].split(" ")
    headers = [tuple(x.strip() for x in l.split(":", 1)) for l in lines[1:]]
    h = {k.lower(): v for k, v in headers}
    body, trailers = b"", []

    def more():
        d = conn.recv(262144)
        if not d:
            raise EOFError
        return d
    if h.get("transfer-encoding", "").lower() == "chunked":
        def line():
            nonlocal rest
            while b"\r\n" not in rest:
                rest += more()
            l, rest = rest.split(b"\r\n", 1)
            return l
        while n := int(line().split(b";")[0], 16):
            while len(rest) < n + 2:
                rest += more()
            body, rest = body + rest[:n], rest[n + 2:]
        while l := line():
            trailers.append(l.decode("latin-1"))
    else:
        n = int(h.get("content-length", "0"))
        while len(rest) < n:
            rest += more()
        body, rest = rest[:n], rest[n:]
    return {"method": method, "target": target, "version": version, "headers": headers, "h": h, "body": body, "trailers": trailers, "raw": raw}, rest


def echo(conn, origin):
    rest = b""
    while True:
        r, rest = read_request(conn, rest)
        origin.seen.append(r)
        out = json.dumps({"method": r["method"], "target": r["target"], "headers": r["headers"], "body": r["body"].decode("latin-1"),
                          "trailers": r["trailers"]}).encode()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(out) +
                     (b"" if r["method"] == "HEAD" else out))


def answering(data):
    """A handler that reads one request and answers these bytes, then closes."""
    def handler(conn, origin):
        r, _ = read_request(conn)
        origin.seen.append(r)
        conn.sendall(data)
    return handler


def serving(table):
    """A handler that answers by path. Bytes go out as they are once the request is read, and end the connection where they say
    `Connection: close`; a function gets (conn, origin, raw head, what came behind it) and returns the rest of the input, or None for the end.
    Other paths are echoed."""
    def handler(conn, origin):
        rest = b""
        while rest is not None:
            raw, rest = read_head(conn, rest)
            origin.raw.append(raw)
            what = table.get(raw.split(b" ")[1].decode("latin-1").split("?")[0])
            if callable(what):
                rest = what(conn, origin, raw, rest)
                continue
            r, rest = read_request(conn, raw + rest)
            origin.seen.append(r)
            out = json.dumps({"method": r["method"], "target": r["target"], "headers": r["headers"], "body": r["body"].decode("latin-1"),
                              "trailers": r["trailers"]}).encode()
            plain = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(out) + (b"" if r["method"] == "HEAD" else out)
            conn.sendall(plain if what is None else what)
            if what is not None and b"connection: close" in what.lower():
                rest = None
    return handler


def talk(g, data, methods="GET", wait=WAIT):
    """Sends these bytes on a connection of its own and reads one answer for each of the methods (one word each)."""
    with g.connect(wait) as c:
        c.send(data)
        return [c.response(m) for m in methods.split()]


def one(g, data, method="GET", closes=None, wait=WAIT):
    """The single answer to these bytes; with `closes` also that the gateway then ends the connection, or keeps it (another request is served)."""
    with g.connect(wait) as c:
        c.send(data)
        a = c.response(method)
        a.interim = c.interim
        if closes is not None:
            assert not c.buf, c.buf[:200]
            if closes:
                assert c.closed(), a
            else:
                c.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n" + (f"Proxy-Authorization: {g.basic}\r\n" if g.token else "") + "\r\n")
                assert c.response("OPTIONS").status == 204
        return a


class CA:
    """A throw-away certificate authority made with the openssl command."""

    def __init__(self, directory):
        self.dir, self.n = Path(directory), 0
        self.pem, self.key = str(self.dir / "ca.pem"), str(self.dir / "ca.key")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.pem,
                      "-days", "2", "-subj", "/CN=nono e2e CA", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    def _openssl(self, *a):
        subprocess.run(["openssl", *a], check=True, capture_output=True)

    def leaf(self, *names, usage="serverAuth"):
        """(certificate, key), both as paths."""
        self.n += 1
        key, csr, crt, ext = (str(self.dir / f"leaf{self.n}.{x}") for x in ("key", "csr", "pem", "ext"))
        san = ",".join(("IP:" if re.fullmatch(r"[\d.]+|[0-9a-fA-F:]+", n) else "DNS:") + n for n in names)
        Path(ext).write_text(f"subjectAltName={san}\nextendedKeyUsage={usage}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr, "-subj", f"/CN={names[0]}")
        self._openssl("x509", "-req", "-in", csr, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-days", "2", "-out", crt, "-extfile", ext)
        return crt, key

    def server(self, *names, alpn=None, client_ca=None):
        crt, key = self.leaf(*names)
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(crt, key)
        if alpn:
            ctx.set_alpn_protocols(alpn)
        if client_ca:
            ctx.verify_mode = ssl.CERT_REQUIRED
            ctx.load_verify_locations(client_ca)
        return ctx
