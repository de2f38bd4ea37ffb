"""Stand-in upstream proxies: HTTP (plain or TLS) and SOCKS5, recording what they were asked, with every way to misbehave."""
import base64
import contextlib
import re
import socket
import ssl
import struct
import threading

from gateway import Origin, read_head

NAMES = {"origin.test": "10.55.0.1", "there.test": "10.55.0.1", "six.test": "fd55::1"}  # what only the proxy can resolve, too


def splice(a, b, first=b""):
    """Bytes both ways until both have ended."""
    def one_way(src, dst, data=b""):
        with contextlib.suppress(OSError, ValueError):
            while True:
                if data:
                    dst.sendall(data)
                if not (data := src.recv(65536)):
                    break
        with contextlib.suppress(OSError, ValueError):
            if isinstance(dst, ssl.SSLSocket):
                dst.unwrap()  # says close_notify, as an end and not a cut
            else:
                dst.shutdown(socket.SHUT_WR)
    t = threading.Thread(target=one_way, args=(b, a), daemon=True)
    t.start()
    one_way(a, b, first)
    t.join(60)
    with contextlib.suppress(OSError):
        b.close()


def dial(host, port):
    return socket.create_connection((NAMES.get(host, host).strip("[]"), int(port)), 10)


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class HttpHop(Origin):
    """`answer`: bytes sent instead of serving any request. `need`: the Proxy-Authorization without which it says 407.
    `asked` is the list of (method, target), `heads` the raw heads."""

    def __init__(self, tls=None, need=None, answer=None, host="10.55.0.1", behind=b""):
        self.asked, self.heads, self.need, self.answer, self.behind = [], [], need, answer, behind
        super().__init__(handler=HttpHop.serve, tls=tls, host=host)

    def serve(conn, self):
        rest = b""
        while True:
            raw, rest = read_head(conn, rest)
            method, target, _ = raw.split(b"\r\n")[0].decode("latin-1").split(" ")
            self.asked.append((method, target))
            self.heads.append(raw)
            fields = dict((k.lower(), v.strip()) for k, v in (l.split(":", 1) for l in raw.decode("latin-1").split("\r\n")[1:-2]))
            if self.answer is not None:
                conn.sendall(self.answer)
                return
            if self.need and fields.get("proxy-authorization") != self.need:
                conn.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"hop\"\r\nContent-Length: 4\r\n\r\nauth")
                continue
            if method == "CONNECT":
                host, port = target.rsplit(":", 1)
                with dial(host, port) as up:
                    conn.sendall(b"HTTP/1.1 200 Connection established\r\nX-Hop: 1\r\n\r\n" + self.behind)
                    splice(conn, up, rest)
                return
            netloc, _, path = target.split("//", 1)[1].partition("/")
            host, _, port = netloc.rpartition(":") if not netloc.endswith("]") and ":" in netloc else (netloc, "", "80")
            line = f"{method} /{path} HTTP/1.1\r\n".encode("latin-1")
            kept = [l for l in raw.split(b"\r\n")[1:-2] if not l.lower().startswith((b"proxy-authorization", b"connection"))]
            n = int(fields.get("content-length", "0"))
            while len(rest) < n:
                rest += conn.recv(65536)
            with dial(host, port or 80) as up:
                up.sendall(b"\r\n".join([line.rstrip(), *kept, b"", b""]) + rest[:n])
                rest = rest[n:]
                head, body = read_head(up)
                length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
                while len(body) < length:
                    body += up.recv(65536)
                conn.sendall(head + body)


class SocksHop(Origin):
    """`need`: (user, password). `code`: the reply instead of success. `garbage`: bytes instead of any answer.
    `asked` holds (address type, host, port); `login` what was offered."""

    def __init__(self, need=None, code=0, garbage=None, host="10.55.0.1", behind=b"", method=None):
        self.asked, self.login, self.offered = [], [], []
        self.need, self.code, self.garbage, self.behind, self.method = need, code, garbage, behind, method
        super().__init__(handler=SocksHop.serve, host=host)

    def serve(conn, self):
        def take(n):
            d = b""
            while len(d) < n:
                if not (more := conn.recv(n - len(d))):
                    raise EOFError
                d += more
            return d
        if self.garbage is not None:
            take(1)
            conn.sendall(self.garbage)
            return
        version, n = take(2)
        self.offered.append(sorted(take(n)))
        assert version == 5
        wanted = self.method if self.method is not None else (2 if self.need else 0)
        if wanted not in self.offered[-1]:
            conn.sendall(b"\x05" + bytes([wanted if self.method is not None else 0xff]))
            return
        conn.sendall(bytes([5, wanted]))
        if wanted == 2:
            user = take(take(2)[1])
            password = take(take(1)[0])
            self.login.append((user.decode(), password.decode()))
            good = self.login[-1] == self.need
            conn.sendall(b"\x01" + (b"\x00" if good else b"\x01"))
            if not good:
                return
        _, command, _, kind = take(4)
        host = {1: lambda: socket.inet_ntop(socket.AF_INET, take(4)), 4: lambda: socket.inet_ntop(socket.AF_INET6, take(16)),
                3: lambda: take(take(1)[0]).decode()}[kind]()
        port = struct.unpack("!H", take(2))[0]
        self.asked.append((kind, host, port))
        if self.code or command != 1:
            conn.sendall(bytes([5, self.code or 7, 0, 1, 0, 0, 0, 0, 0, 0]))
            return
        try:
            up = dial(host, port)
        except OSError:
            conn.sendall(bytes([5, 5, 0, 1, 0, 0, 0, 0, 0, 0]))
            return
        with up:
            conn.sendall(bytes([5, 0, 0, 3, 3]) + b"abc" + b"\0\1" + self.behind)  # a name as the bound address: any length has to be read
            splice(conn, up)
