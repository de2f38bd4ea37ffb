"""The program as a process: streams, exit codes, what is printed and what is wiped. Argument: path of nono. Bounded: every wait is."""
import json, os, re, signal, stat, subprocess, sys, tempfile, time

NONO, WAIT = sys.argv[1], 20.0
failed = []


def environment(extra):
    ours = re.compile(r"NONO_.*|RUST_LOG|NO_COLOR|CLICOLOR.*|NOTIFY_SOCKET|LISTEN_.*|WATCHDOG_.*|SSL_CERT_.*")
    return {k: v for k, v in os.environ.items() if not ours.fullmatch(k)} | (extra or {})


def check(name, ok, detail=""):
    if not ok:
        failed.append(name)
        print(f"FAIL {name}: {detail!r}")


def run(*args, env=None):
    p = subprocess.run([NONO, *args], capture_output=True, env=environment(env), stdin=subprocess.DEVNULL, timeout=WAIT)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


class Running:
    """A gateway that is ready; .out and .err are what it printed so far."""

    def __init__(self, *args, env=None, ready=lambda self: "Press Ctrl-C" in self.out + self.err, **streams):
        self.files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        self.p = subprocess.Popen([NONO, "proxy", "--port", "0", *args], stdin=subprocess.DEVNULL, env=environment(env),
                                  **({"stdout": self.files[0], "stderr": self.files[1]} | streams))
        end = time.monotonic() + WAIT
        while not ready(self) and self.p.poll() is None and time.monotonic() < end:
            time.sleep(0.01)

    out = property(lambda self: os.pread(self.files[0].fileno(), 1 << 20, 0).decode())
    err = property(lambda self: os.pread(self.files[1].fileno(), 1 << 20, 0).decode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
        try:
            self.code = self.p.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.code = self.p.wait()


def lowest_open(pid):
    return sorted(int(n) for n in os.listdir(f"/proc/{pid}/fd"))


for args in (["--help"], ["-h"], ["proxy", "--help"], ["proxy", "-vh"], ["help"], ["help", "proxy"], ["man"], ["completion", "zsh"]):
    code, out, err = run(*args)
    check(f"nono {' '.join(args)}", code == 0 and len(out) > 200 and not err, (code, err))
for args in (["--version"], ["-V"], ["proxy", "-V"], ["proxy", "--port", "1", "--version"]):
    code, out, err = run(*args)
    check(f"nono {' '.join(args)}", code == 0 and re.fullmatch(r"nono \d+\.\d+\.\d+\n", out) and not err, (code, out, err))
code, out, err = run()
check("nono alone", code == 2 and not out and "Usage: nono" in err, (code, out))
for args, env in ((["proxy", "--nope"], {}), (["prox"], {}), (["proxy", "--port", "x"], {}), (["proxy"], {"NONO_PORT": "x"}), (["help", "x"], {}),
                  (["completion"], {}), (["completion", "tcsh"], {}), (["proxy", b"\xff"], {}), (["proxy", "--no-auth"], {"NONO_PROXY_PASS": "hunter2"})):
    code, out, err = run(*args, env=env)
    check(f"usage error {args} {env}", code == 2 and not out and err.startswith("nono: ") and "--help" in err.splitlines()[-1] and "hunter2" not in err,
          (code, out, err))
for args in (["--pass", ""], ["--no-auth", "--listen", "0.0.0.0"], ["--upstream-bypass", "x"], ["--allow-domain", "*corp"], ["--upstream-proxy", "x"]):
    code, out, err = run("proxy", "--port", "0", *args)
    check(f"configuration error {args}", code == 1 and not out and err.startswith("nono: Configuration parse error: ") and args[-2] in err, (code, err))

with Running("--pass", "hunter2 x", "--upstream-proxy=http://u:hunter2@127.0.0.1:1") as g:
    line = open(f"/proc/{g.p.pid}/cmdline", "rb").read() if os.access(f"/proc/{g.p.pid}/cmdline", os.R_OK) else b""
    check("secrets are wiped from the arguments", b"hunter2" not in line and b"--pass" in line, line)
    check("the token line has the password, the URL its encoding", "token:     hunter2 x\n" in g.out and "nono:hunter2%20x@" in g.out, g.out)
check("ends with 0", g.code == 0, g.err)
check("only the farewell is on stderr", g.err == "\n  [nono] Shutting down proxy...\n", g.err)
with Running(env={"NONO_PROXY_PASS": "hunter2"}) as g:
    try:
        held = open(f"/proc/{g.p.pid}/environ", "rb").read()
    except PermissionError:
        held = b""
    check("secrets are wiped from the environment", b"hunter2" not in held, held)
    check("the password of the variable is used", "token:     hunter2\n" in g.out, g.out)

with tempfile.TemporaryDirectory() as d:
    path = f"{d}/env"
    open(path, "w").close()
    os.chmod(path, 0o644)
    with Running("--env-file", path, ready=lambda g: "listening" in g.out) as g:
        check("the env file is there before the banner", "HTTPS_PROXY=http://nono:" in open(path).read() and stat.S_IMODE(os.stat(path).st_mode) == 0o600)
    with Running("--silent", "--allow-proxy", "x.test", "--env-file", path, ready=lambda g: time.sleep(0.5) or True) as g:
        pass
    check("--silent says nothing", g.out == g.err == "" and g.code == 0, (g.out, g.err, g.code))
    code, out, err = run("proxy", "--port", "0", "--env-file", f"{d}/no/such")
    check("an env file that cannot be written", code == 1 and not out and f"{d}/no/such" in err, (code, out, err))

with Running("--audit-log", "-") as g:
    check("with records on stdout the banner is on stderr", "Press Ctrl-C" in g.err and "Press" not in g.out, (g.out, g.err))
with Running("--output", "json", ready=lambda g: g.out.endswith("}\n")) as g:
    check("--output json is one object and nothing else", json.loads(g.out)["policy"] == "allow_all" and g.out.count("\n") == 1, g.out)
with Running("--allow-proxy", "x.test", env={"NONO_PROXY_ALLOW": "y.test"}) as g:
    check("old names warn", "  [nono] --allow-proxy is" in g.err and "  [nono] NONO_PROXY_ALLOW is" in g.err, g.err)
with Running("--allow-proxy", "x.test", "--log-format", "json") as g:
    check("warnings are JSON where the log is", json.loads(g.err.splitlines()[0])["message"].startswith("--allow-proxy"), g.err)

r, w = os.pipe()
os.close(r)
with Running(stdout=w, ready=lambda g: time.sleep(0.7) or True) as g:
    check("a broken stdout does not end it", g.p.poll() is None)
os.close(w)
check("a broken stdout: orderly end", g.code == 0, (g.code, g.err))
with open("/dev/full", "wb") as full, Running(stdout=full, ready=lambda g: time.sleep(0.7) or True) as g:
    check("a full stdout does not end it", g.p.poll() is None)
with Running(preexec_fn=lambda: (os.close(0), os.close(1)), ready=lambda g: time.sleep(0.7) or True) as g:
    check("closed descriptors are filled", g.p.poll() is None and os.readlink(f"/proc/{g.p.pid}/fd/1") == "/dev/null", lowest_open(g.p.pid))
check("closed descriptors: orderly end", g.code == 0, g.err)

print("all held" if not failed else f"{len(failed)} failed")
sys.exit(1 if failed else 0)
