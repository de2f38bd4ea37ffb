"""The whole test session runs in a network of its own (lo alone, with test addresses), with its own hosts file and name server address."""
import ctypes
import os
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))

GOOD, SECOND, APIS, GOOD6, HOLE, DEAD = "10.55.0.1", "10.55.0.2", "10.55.0.3", "fd55::1", "10.56.0.2", "10.57.0.9"
HOSTS = f"""127.0.0.1 localhost rebind.test
::1 localhost six-loopback.test
{GOOD} origin.test api.test www.origin.test a.b.origin.test xn--bcher-kva.test denied.test
{SECOND} second.test
{APIS} api.openai.com api.anthropic.com generativelanguage.googleapis.com maps.googleapis.com api.github.com gitlab.com
{APIS} my.openai.azure.com api.telegram.org packages.test npm.test registry.test
{GOOD6} six.test
{GOOD} both.test
{GOOD6} both.test
{DEAD} dead.test
{HOLE} hole.test
169.254.169.254 meta.test metadata.google.internal
"""


def sh(command):
    subprocess.run(command.split(), check=True, capture_output=True)


def enter_private_network():
    if os.environ.get("NONO_E2E_INSIDE") == str(os.getpid()):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000 | 0x00020000):  # CLONE_NEWNET | CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare: these tests need root")
    sh("mount --make-rprivate /")
    files = tempfile.mkdtemp(prefix="nono-e2e-etc-")
    for name, text in (("hosts", HOSTS), ("resolv.conf", "nameserver 127.0.0.53\noptions timeout:1 attempts:2\n")):
        path = os.path.join(files, name)
        with open(path, "w") as f:
            f.write(text)
        real = os.path.realpath(f"/etc/{name}")
        if not os.path.exists(real):
            open(real, "w").close()
        sh(f"mount --bind {path} {real}")
    for c in ("link set lo up", f"addr add {GOOD}/32 dev lo", f"addr add {SECOND}/32 dev lo",
              f"addr add {APIS}/32 dev lo", f"-6 addr add {GOOD6}/128 dev lo nodad",
              "link add hole0 type veth peer name hole1", "link set hole0 up", "link set hole1 up", "addr add 10.56.0.1/24 dev hole0",
              f"neigh add {HOLE} lladdr 02:00:00:00:00:99 dev hole0"):
        sh("ip " + c)
    os.environ["NONO_E2E_INSIDE"] = str(os.getpid())


enter_private_network()
pytest.register_assert_rewrite("standin")

import gateway  # noqa: E402  (after the network is there)


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: also run against the thread-sanitized binary")


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return gateway.CA(tmp_path_factory.mktemp("ca"))


@pytest.fixture()
def origin():
    with gateway.Origin() as o:
        yield o
