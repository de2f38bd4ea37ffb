"""A real gnome-keyring on a D-Bus of its own, without a display: what a desktop has, for the tests of keyring sources."""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from gateway import WAIT, until

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={0}/bus</listen><servicedir>{0}/services</servicedir><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""
PROMPTER = "[D-BUS Service]\nName=org.gnome.keyring.SystemPrompter\nExec=/bin/sleep 30\n"
LOCK = ("dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets org.freedesktop.Secret.Service.Lock "
        "array:objpath:/org/freedesktop/secrets/collection/login").split()


class Keyring:
    """`with Keyring() as k:`; k.env is what finds it. silent_prompter: prompts come up and nobody answers them; without one they fail at once.
    service=False: the bus alone."""

    def __init__(self, silent_prompter=False, service=True):
        self.silent, self.service, self.started = silent_prompter, service, []

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="nono-keyring-"))
        self.env = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.dir}/bus", "XDG_RUNTIME_DIR": f"{self.dir}/run", "HOME": f"{self.dir}/home"}
        self.all = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")} | self.env
        for name in ("run", "home", "services"):
            (self.dir / name).mkdir(mode=0o700)
        (self.dir / "bus.conf").write_text(BUS.format(self.dir))
        if self.silent:
            (self.dir / "services" / "prompter.service").write_text(PROMPTER)
        try:
            self._start("dbus-daemon", f"--config-file={self.dir}/bus.conf", "--nofork", "--nopidfile")
            assert until(lambda: (self.dir / "bus").exists()), self.log()
            if self.service:
                self._start_service()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, *command, stdin=b""):
        with open(self.dir / "log", "ab") as log:
            p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=self.all, start_new_session=True)
        self.started.append(p)
        p.stdin.write(stdin)
        p.stdin.close()

    def _start_service(self):
        self._start("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets", stdin=b"password")
        ready = ("store", "--label=first", "service", "test", "username", "ready")
        assert until(lambda: self.tool(*ready, stdin=b"x").returncode == 0, step=0.1), self.log()

    def log(self):
        return (self.dir / "log").read_text(errors="replace")

    def tool(self, *args, stdin=b""):
        return subprocess.run(["secret-tool", *args], input=stdin, capture_output=True, timeout=WAIT, env=self.all)

    def store(self, value, service, account, *more):
        """As users do (config.md 8.5). The same attributes: the value is replaced."""
        r = self.tool("store", "--label=a test", "--", "service", service, "username", account, *more, stdin=value.encode())
        assert r.returncode == 0, r

    def lock(self):
        subprocess.run(LOCK, check=True, capture_output=True, timeout=WAIT, env=self.all)

    def unlock(self):
        """As by logging in anew."""
        old = self.started.pop()
        old.kill()
        old.wait()
        self._start_service()

    def __exit__(self, *_):
        for p in reversed(self.started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
            p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
