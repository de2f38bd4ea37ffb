"""Helpers of the tests about streams, upstream proxies, life, audit, command line and clients; gateway.py has the common ones."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from gateway import BINARY, WAIT, Raw, clean_env, until

FAULTS = re.compile(r"Sanitizer|runtime error|assertion", re.I)


class Process:
    """`nono ARGS` as a process whose standard streams are files; for what Gateway does not do (other descriptors, other sinks, no banner)."""

    def __init__(self, *args, tmp, env=None, ready=None, wait=WAIT, **popen):
        self.out_path, self.err_path = Path(tmp) / f"out{id(self)}", Path(tmp) / f"err{id(self)}"
        env = clean_env({"HOME": str(tmp)} | (env or {}))
        popen.setdefault("stdout", open(self.out_path, "wb"))
        popen.setdefault("stderr", open(self.err_path, "wb"))
        self.proc = subprocess.Popen([BINARY, *args], stdin=subprocess.DEVNULL, env=env, start_new_session=True, **popen)
        for k in ("stdout", "stderr"):
            if hasattr(popen[k], "close") and popen[k] is not self.proc.stdout:
                popen[k].close()
        if ready:
            up = until(lambda: ready(self) or self.proc.poll() is not None, wait)
            if not up or self.proc.poll() is not None:
                text = self.out + self.err
                self.proc.kill()
                self.proc.wait()
                raise RuntimeError(f"did not start ({self.proc.returncode}): {text[-1500:]}")

    @property
    def out(self):
        return self.out_path.read_text(errors="replace") if self.out_path.exists() else ""

    @property
    def err(self):
        return self.err_path.read_text(errors="replace") if self.err_path.exists() else ""

    def end(self, sig=signal.SIGTERM, wait=WAIT):
        """Exit code after a signal (a second one if the first is not enough at once), or after what ended it already."""
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.proc.wait(0.3)
            if self.proc.poll() is None:
                self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(wait)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError("it did not end in time")
        assert not FAULTS.search(self.err), self.err[-4000:]
        return self.proc.returncode

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        code = self.end()
        if kind is None:
            assert code == 0, (code, self.err[-2000:])


def banner(p):
    """Ready, with the banner on stdout or (records on stdout) on stderr."""
    return "Press Ctrl-C" in p.out + p.err


def port_of(p):
    return int(re.search(r"listening on \S*:(\d+)", p.out + p.err)[1])


def listens(port, host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        return s.connect_ex((host, port)) == 0


def raw_get(port, url, host="127.0.0.1", auth=None, extra=""):
    from gateway import get
    with Raw(host, port) as c:
        return c.send(get(url, auth=auth, extra=extra)).response()


def lines(data):
    """The whole lines of an audit stream, as records."""
    return [json.loads(l) for l in data.split(b"\n")[:-1]]


def exchanges(data):
    return [r for r in lines(data) if r["type"] == "exchange"]


def cpu_seconds(pid):
    f = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def parallel(fn, items, threads=8):
    """fn for each item, several at once; the first exception is raised here."""
    items, out, bad, lock = list(enumerate(items)), {}, [], threading.Lock()

    def work():
        while True:
            with lock:
                if not items or bad:
                    return
                i, item = items.pop(0)
            try:
                out[i] = fn(item)
            except BaseException as e:
                bad.append(e)
                return
    ts = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for t in ts:
        t.start()
    for t in ts:
        t.join(60)
    if bad:
        raise bad[0]
    return [out[i] for i in sorted(out)]


class Steps:
    """Lets a test and an origin's handler go step by step."""

    def __init__(self):
        self.events = {}

    def __getitem__(self, name):
        return self.events.setdefault(name, threading.Event())

    def wait(self, name, seconds=WAIT):
        assert self[name].wait(seconds), f"{name!r} did not happen"


def quiet(sock, seconds=0.15):
    """True when nothing arrives for a while."""
    sock.settimeout(seconds)
    try:
        return sock.recv(1, socket.MSG_PEEK) is None
    except TimeoutError:
        return True
    finally:
        sock.settimeout(WAIT)


def settle(fn, still=0.4, wait=WAIT):
    """The value of fn once it has not changed for a while."""
    last, since, end = fn(), time.monotonic(), time.monotonic() + wait
    while time.monotonic() < end:
        time.sleep(0.02)
        if (now := fn()) != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > still:
            break
    return last
