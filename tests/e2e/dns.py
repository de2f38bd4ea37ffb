"""A small name server on 127.0.0.53:53 (UDP and TCP) that says what its zone says and remembers what it was asked."""
import contextlib
import ipaddress
import socket
import struct
import threading
import time

import pytest

KINDS = {1: "A", 28: "AAAA"}


def pack_name(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.rstrip(".").split(".")) + b"\0"


def read_question(data):
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return ".".join(labels), struct.unpack("!H", data[at + 1:at + 3])[0], data[12:at + 5]


class NameServer:
    """zone: name -> {"A": [...], "AAAA": [...], "ttl", "rcode", "cname": (name, ttl), "wait": seconds, "wait_AAAA", "drop", "tcp": True}.
    A name that is not there does not exist (NXDOMAIN)."""

    def __init__(self, address="127.0.0.53"):
        self.zone, self.log, self.lock = {}, [], threading.Lock()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53), backlog=64)
        threading.Thread(target=self._udp, daemon=True).start()
        threading.Thread(target=self._tcp, daemon=True).start()

    def asked(self, name, kind=None, over=None):
        """Questions so far for this name."""
        with self.lock:
            return [q for q in self.log if q[0] == name and kind in (None, q[1]) and over in (None, q[2])]

    def _answer(self, data, over):
        name, number, question = read_question(data)
        kind = KINDS.get(number, str(number))
        with self.lock:
            self.log.append((name.lower(), kind, over))
        z = self.zone.get(name.lower())
        if z is None:
            return data[:2] + struct.pack("!HHHHH", 0x8183, 1, 0, 0, 0) + question
        time.sleep(z.get("wait_" + kind, z.get("wait", 0)))
        if z.get("drop"):
            return None
        if z.get("tcp") and over == "udp":
            return data[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + question
        if z.get("rcode"):
            return data[:2] + struct.pack("!HHHHH", 0x8180 | z["rcode"], 1, 0, 0, 0) + question
        return self._records(data, question, name, kind, z)

    def _records(self, data, question, name, kind, z):
        records, owner = [], pack_name(name)
        if "cname" in z:
            to, ttl = z["cname"]
            target = pack_name(to)
            records.append(owner + struct.pack("!HHIH", 5, 1, ttl, len(target)) + target)
            owner, z = target, self.zone.get(to, {})
        for a in z.get(kind, []):
            ip = ipaddress.ip_address(a).packed
            records.append(owner + struct.pack("!HHIH", 1 if kind == "A" else 28, 1, z.get("ttl", 60), len(ip)) + ip)
        return data[:2] + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, 0) + question + b"".join(records)

    def _udp(self):
        def serve(data, peer):
            with contextlib.suppress(OSError):
                if out := self._answer(data, "udp"):
                    self.udp.sendto(out, peer)
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=self.udp.recvfrom(4096), daemon=True).start()

    def _tcp(self):
        def serve(c):
            with contextlib.suppress(OSError, struct.error), c:
                c.settimeout(10)
                while head := c.recv(2, socket.MSG_WAITALL):
                    out = self._answer(c.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL), "tcp")
                    if out:
                        c.sendall(struct.pack("!H", len(out)) + out)
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(self.tcp.accept()[0],), daemon=True).start()


the_server = []  # one for the whole run: its address is in resolv.conf


@pytest.fixture(scope="module")
def ns():
    if not the_server:
        the_server.append(NameServer())
    server = the_server[0]
    server.zone.clear(), server.log.clear()
    return server
