#!/usr/bin/env python3
"""What the gateway costs beside its peers: `./dev bench [--quick] [--only NAME] [--json FILE]`. See README.md.

Everything runs in a network, mount and process namespace of its own, which takes all that was started with it when it ends. The proxy
under test has one core, load generator and origin another. A cell is one proxy, freshly started, under one load; cells are
interleaved round by round, and what is compared is the proxy's CPU time per operation, from a control group of its own.
"""
import argparse, base64, collections, contextlib, ctypes, glob, json, os, platform, resource, shutil, signal, statistics, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ORIGIN, PROXY_PORT = "10.77.0.1", 3128
HTTP, SOURCE, SINK, HTTPS = (f"{ORIGIN}:{p}" for p in (8080, 8081, 8082, 8443))
PROXY = f"127.0.0.1:{PROXY_PORT}"
NAMED = "api.bench.test:8080"
AUTH = base64.b64encode(b"nono:bench").decode()
TLS_NAME = "api.bench.test"
TOKEN, SECRET = "4f" * 32, "sk-bench-" + "r" * 40  # what the client shows on the reverse path, and what the origin must see
GROUP_ROOTS = ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup")


class Bad(Exception):
    """A cell that says nothing: the proxy did not come up, or answered wrongly."""


# ---------------------------------------------------------------- the namespace
def outside():
    """Start this program again inside its namespaces, wait, and sweep up what a namespace does not take with it."""
    work = tempfile.mkdtemp(prefix="nono-bench-")
    os.chmod(work, 0o755)
    flags = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    if os.geteuid() != 0:
        flags.insert(0, "--map-root-user")
    die_with_me = lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    inner = subprocess.Popen(["unshare", *flags, sys.executable, *sys.argv], env=os.environ | {"NONO_BENCH_DIR": work}, preexec_fn=die_with_me)
    try:
        return inner.wait()
    except KeyboardInterrupt:
        inner.kill()
        inner.wait()
        return 130
    finally:
        for root in GROUP_ROOTS:
            for group in glob.glob(f"{root}/{Path(work).name}-*"):
                with contextlib.suppress(OSError):
                    os.rmdir(group)
        shutil.rmtree(work, ignore_errors=True)


def network(work):
    def sh(*a):
        subprocess.run(a, check=True, stdout=subprocess.DEVNULL)
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "addr", "add", f"{ORIGIN}/32", "dev", "lo")
    # Some 15 000 connections a second: without this the search for a free port past all that wait is what gets measured.
    # The ports that are listened on are kept out of the range: a connection to oneself is one that succeeds before anybody listens.
    settings = {"tcp_max_tw_buckets": "500", "ip_local_port_range": "2000 65000", "tcp_max_syn_backlog": "8192",
                "ip_local_reserved_ports": f"{PROXY_PORT},8080-8082,8443"}
    for name, value in settings.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)
    Path("/proc/sys/net/core/somaxconn").write_text("4096")
    (work / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    sh("mount", "--bind", str(work / "resolv.conf"), os.path.realpath("/etc/resolv.conf"))


def certificates(work):
    """A CA, and a certificate of its for the origin's name."""
    def openssl(*a):
        subprocess.run(["openssl", *a], cwd=work, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench", "-days", "2")
    openssl("req", *key, "-keyout", "origin.key", "-out", "origin.csr", "-subj", f"/CN={TLS_NAME}")
    (work / "san").write_text(f"subjectAltName=DNS:{TLS_NAME}\n")
    openssl("x509", "-req", "-in", "origin.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", "origin.pem")


def touch_memory():
    """On a virtual machine memory that was never used costs several times what used memory does, and the file that an audit grows into would be made of it."""
    available = next(int(r.split()[1]) * 1024 for r in Path("/proc/meminfo").read_text().splitlines() if r.startswith("MemAvailable:"))
    subprocess.run([sys.executable, "-c", f"b = bytearray({min(2 << 30, available // 4)}); b[::4096] = b'x' * len(b[::4096])"], check=False)


# ---------------------------------------------------------------- CPU time
class Group:
    """The processes of one cell: a control group where there can be one, else the process tree in /proc."""
    count = 0

    def __init__(self, name):
        Group.count += 1
        self.path = self.usage = None
        for root in GROUP_ROOTS:
            path = f"{root}/{name}-{Group.count}"
            with contextlib.suppress(OSError):
                os.mkdir(path)
                self.path = path
                Path(path, "cgroup.procs").write_text("")  # an empty write is refused where groups cannot be used
            if self.path:
                break
        if self.path:
            v1 = Path(self.path, "cpuacct.usage")
            self.usage = v1 if v1.exists() else Path(self.path, "cpu.stat")
            if not self.usage.exists():
                self.close()
        self.root = None

    def enter(self):
        """In the child, before exec."""
        if self.path:
            Path(self.path, "cgroup.procs").write_text("0")

    def pids(self):
        if self.path:
            return [int(p) for p in Path(self.path, "cgroup.procs").read_text().split()]
        found, todo = [], [self.root]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for kids in glob.glob(f"/proc/{pid}/task/*/children"):
                with contextlib.suppress(OSError):
                    todo += [int(k) for k in Path(kids).read_text().split()]
        return found

    def cpu(self):
        """Seconds so far."""
        if self.path:
            text = self.usage.read_text()
            return int(text) / 1e9 if self.usage.name == "cpuacct.usage" else int(text.split("usage_usec", 1)[1].split()[0]) / 1e6
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):  # all threads, and children that were waited for
                total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]))
        return total / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Bytes, shared pages divided among those who share them."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(r.split()[1]) * 1024 for r in rows if r.startswith("Pss:"))
        return total

    def close(self):
        for _ in range(100):
            if not self.path:
                return
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
                self.path = None
            time.sleep(0.01)


def core_busy(core):
    """Seconds that this core has been busy, whoever with."""
    for line in Path("/proc/stat").read_text().splitlines():
        f = line.split()
        if f[0] == f"cpu{core}":
            return (sum(map(int, f[1:9])) - int(f[4]) - int(f[5])) / os.sysconf("SC_CLK_TCK")
    return 0


# ---------------------------------------------------------------- proxies
class Proxies:
    """How each one is started. `command(name)` gives argv; files go to the work directory.

    Ours with what it is for: authentication, ten rules, audit to a file. The others in their best case: no log unless the name says so.
    """

    def __init__(self, build, work, before):
        self.build, self.work, self.before_binary = build, work, before
        self.rules = [f"h{i}.bench.test" for i in range(8)] + ["api.bench.test", ORIGIN]

    def command(self, name):
        kind, _, variant = name.partition(" ")
        return getattr(self, kind)(variant)

    def conf(self, name, text):
        path = self.work / name
        path.write_text(text)
        return str(path)

    def nono(self, variant):
        rules = list(self.rules)
        if variant == "100,000 rules":
            rules += [f"n{i}.r.test" for i in range(100_000 - len(rules))]
        workers = "2" if variant == "2 workers" else "1"
        reverse = variant.startswith("reverse")
        argv = [str(self.build / "nono"), "proxy", "--listen", PROXY, "--pass", TOKEN if reverse else "bench", "--workers", workers]
        if reverse:
            service = {"upstream": f"https://{TLS_NAME}:8443", "credential_key": "env://BENCH_KEY", "tls_ca": f"{self.work}/ca.pem", "env_var": "BENCH_TOKEN"}
            argv += ["-p", self.conf("reverse.json", json.dumps({"network": {"custom_credentials": {"bench": service}, "credentials": ["bench"]}}))]
        argv += [f"--allow-domain={r}" for r in rules]
        audit = self.work / "audit.ndjson"
        audit.unlink(missing_ok=True)
        return argv if variant.endswith("no audit") else [*argv, "--audit-log", str(audit)]

    def before(self, variant):
        return [self.before_binary, *self.nono(variant)[1:]]

    def relay(self, _):
        return [str(self.build / "bench" / "relay"), "--listen", PROXY, "--origin", HTTP]

    def haproxy(self, _):
        return ["haproxy", "-db", "-f", self.conf("haproxy.cfg", f"""
global
    nbthread 1
    maxconn 2000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option splice-request
    option splice-response
listen l
    bind {PROXY}
    server s {SOURCE}
""")]

    def nginx(self, variant):
        """A fixed upstream, because keep-alive to upstreams needs one."""
        log = f"{self.work}/nginx.log" if variant == "log" else "off"
        for d in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
            (self.work / d).mkdir(exist_ok=True)
        temp = "".join(f"{d}_temp_path {self.work}/{d if d != 'client_body' else 'body'};" for d in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        forward = 'location / { proxy_pass http://origin; proxy_set_header Connection ""; proxy_set_header Host $http_host; }'
        upstream = f"""
            proxy_pass https://origin/; proxy_set_header Connection ""; proxy_set_header Host {TLS_NAME}:8443;
            proxy_set_header Authorization "Bearer {SECRET}"; proxy_ssl_verify on; proxy_ssl_trusted_certificate {self.work}/ca.pem;
            proxy_ssl_name {TLS_NAME}; proxy_ssl_server_name on; proxy_ssl_session_reuse on; proxy_ssl_protocols TLSv1.2 TLSv1.3;"""
        reverse = f"location /bench/ {{ {upstream} }} location /bench/stream/ {{ proxy_buffering off; {upstream} }}"
        return ["nginx", "-e", "/dev/null", "-c", self.conf("nginx.conf", f"""
daemon off; user root; worker_processes 1; pid {self.work}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 16384; }}
http {{
    access_log {log}; keepalive_requests 1000000000; {temp}
    upstream origin {{ server {HTTPS if variant == "reverse" else HTTP}; keepalive 512; keepalive_requests 1000000000; }}
    server {{
        listen {PROXY} backlog=4096; proxy_http_version 1.1;
        {reverse if variant == "reverse" else forward}
    }}
}}
""")]

    def trafficserver(self, variant):
        """One event thread, no cache. Its directories are covered by ours, in our mount namespace only."""
        covered = {"/etc/trafficserver": "ats-etc", "/run/trafficserver": "ats-run", "/var/log/trafficserver": "ats-log",
                   "/var/cache/trafficserver": "ats-cache", "/var/lib/trafficserver": "ats-cache"}
        if not (self.work / "ats-bodies").exists():
            shutil.copytree("/etc/trafficserver/body_factory", self.work / "ats-bodies")
            (self.work / "ats-etc").mkdir()
            shutil.copy("/etc/trafficserver/logging.yaml", self.work / "ats-etc")
        for target, ours in covered.items():
            (self.work / ours).mkdir(exist_ok=True)
            (self.work / ours).chmod(0o777)
            if os.path.isdir(target) and not os.path.ismount(target):
                subprocess.run(["mount", "--bind", str(self.work / ours), target], check=True)
        etc = self.work / "ats-etc"
        records = {"exec_thread.autoconfig INT": 0, "exec_thread.limit INT": 1, "accept_threads INT": 0, "task_threads INT": 1,
                   "exec_thread.affinity INT": 0, "http.server_ports STRING": f"{PROXY_PORT}:ip-in=127.0.0.1", "http.cache.http INT": 0,
                   "http.connect_ports STRING": "*", "url_remap.remap_required INT": 0, "reverse_proxy.enabled INT": 0,
                   "log.logging_enabled INT": 3 if variant == "log" else 0, "admin.user_id STRING": "trafficserver", "crash_log_helper STRING": "NULL",
                   "body_factory.template_sets_dir STRING": str(self.work / "ats-bodies"), "net.connections_throttle INT": 18000,
                   "net.listen_backlog INT": 4096, "dns.nameservers STRING": "127.0.0.1", "dns.resolv_conf STRING": "NULL",
                   "http.insert_client_ip INT": 0, "http.insert_squid_x_forwarded_for INT": 0, "diags.debug.enabled INT": 0}
        (etc / "records.config").write_text("".join(f"CONFIG proxy.config.{k} {v}\n" for k, v in records.items()))
        (etc / "ip_allow.yaml").write_text("ip_allow:\n  - apply: in\n    ip_addrs: 0/0\n    action: allow\n    methods: ALL\n")
        (etc / "storage.config").write_text(f"{self.work}/ats-cache 64M\n")
        for empty in ("remap.config", "plugin.config", "ssl_multicert.config", "cache.config", "hosting.config", "volume.config", "parent.config"):
            (etc / empty).write_text("")
        return ["traffic_server"]

    def tinyproxy(self, _):
        return ["tinyproxy", "-d", "-c", self.conf("tinyproxy.conf", f"""
Port {PROXY_PORT}
Listen 127.0.0.1
MaxClients 2000
LogLevel Critical
LogFile "/dev/null"
Timeout 600
""")]

    def squid(self, _):
        (self.work / "squid").mkdir(exist_ok=True)
        return ["squid", "-N", "-f", self.conf("squid.conf", f"""
http_port {PROXY}
http_access allow all
cache deny all
access_log none
cache_log /dev/null
cache_effective_user proxy
pid_filename none
coredump_dir {self.work}/squid
dns_nameservers 127.0.0.1
max_filedescriptors 18000
shutdown_lifetime 0 seconds
""")]


# ---------------------------------------------------------------- a bench run
class Bench:
    def __init__(self, build, work, quick, before=None):
        self.build, self.work, self.quick = build, work, quick
        self.proxies = Proxies(build, work, before)
        cores = sorted(os.sched_getaffinity(0))
        self.cores, self.load_core, self.proxy_core = cores, cores[0], cores[min(1, len(cores) - 1)]
        self.seconds, self.warm = (0.8, 0.25) if quick else (2.0, 0.5)
        self.results, self.problems, self.foreign, self.workload = {}, [], {}, None
        self.repeats = 12 if quick else 100  # of cells that were disturbed

    # --- processes
    def spawn(self, argv, core, group=None, **more):
        def child():
            os.sched_setaffinity(0, core if isinstance(core, set) else {core})
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, -10)  # the same for all, so that what else runs here disturbs less
                Path("/proc/self/autogroup").write_text("-10")  # where sessions are scheduled as one, this is what counts
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            if group:
                group.enter()
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.work), "TMPDIR": str(self.work), "BENCH_KEY": SECRET}
        return subprocess.Popen(argv, preexec_fn=child, env=env, **({"stdin": subprocess.DEVNULL} | more))

    def origin(self):
        argv = [str(self.build / "bench" / "origin"), "--http", HTTP, "--source", SOURCE, "--sink", SINK, "--dns", "127.0.0.1:53", "--answer", ORIGIN]
        argv += ["--https", HTTPS, "--cert", f"{self.work}/origin.pem", "--key", f"{self.work}/origin.key", "--secret", SECRET]
        return self.spawn(argv, self.load_core)

    def load(self, mode, *args, limit=20, core=None, proxy=PROXY, **options):
        """Run the load generator to its end and give what it reports."""
        argv = [str(self.build / "bench" / "load"), mode, "--proxy", proxy, "--auth", AUTH]
        argv += [x for k, v in options.items() for x in (f"--{k}", str(v))]
        p = self.spawn([*argv, *args], self.load_core if core is None else core, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = p.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            raise Bad(f"the {mode} load hangs")
        if p.returncode:
            raise Bad(f"the {mode} load: {err.strip() or out.strip() or p.returncode}")
        seen = json.loads(out)
        if seen["errors"]:
            raise Bad(f"{seen['errors']} errors in the {mode} load")
        return seen

    @contextlib.contextmanager
    def proxy(self, name, core=None):
        """A fresh one, ready; gone with all its children afterwards."""
        group = Group(self.work.name)
        log = open(self.work / "proxy.log", "wb")
        p = self.spawn(self.proxies.command(name), self.proxy_core if core is None else core, group, stdout=log, stderr=log, start_new_session=True)
        group.root = p.pid
        try:
            self.await_port(p, 20)
            yield group
        finally:
            for sig in (signal.SIGKILL,):
                with contextlib.suppress(OSError):
                    os.killpg(p.pid, sig)
            p.wait()
            for pid in group.pids() if group.path else []:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            log.close()
            group.close()

    def await_port(self, p, limit):
        import socket
        deadline = time.monotonic() + limit
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PROXY_PORT), 1):
                return
            if p.poll() is not None or time.monotonic() > deadline:
                raise Bad(f"it did not start: {(self.work / 'proxy.log').read_text(errors='replace')[-300:]}")
            time.sleep(0.01)

    def settle(self):
        """Wait, not for ever, until the proxy's core is idle."""
        deadline = time.monotonic() + (0.3 if self.quick else 3)
        while time.monotonic() < deadline:
            before = core_busy(self.proxy_core)
            time.sleep(0.1)
            if core_busy(self.proxy_core) - before <= 0.01:
                return

    # --- cells
    def measure(self, group, mode, limit=20, **options):
        """One load against a running proxy: what was seen, and the CPU seconds it took."""
        wall, busy, cpu = time.monotonic(), core_busy(self.proxy_core), group.cpu()
        seen = self.load(mode, limit=limit, **options)
        time.sleep(0.02)  # the writer behind the audit looks every 5 ms
        seen["cpu"] = group.cpu() - cpu
        wall = time.monotonic() - wall
        seen["foreign"] = max(0.0, core_busy(self.proxy_core) - busy - seen["cpu"]) / wall
        self.noise(seen["foreign"])
        return seen

    def noise(self, share):
        self.foreign.setdefault(self.workload, []).append(share)

    def add(self, workload, name, value, seen=None):
        cell = self.results.setdefault(workload, {}).setdefault(name, {"values": []})
        cell["values"].append(value)
        for k in ("p50_us", "p99_us", "first_us"):
            if seen and seen.get(k):
                cell.setdefault(k, []).append(seen[k])
        if seen and seen.get("seconds"):
            cell.setdefault("rate", []).append((seen["ops"] or seen["bytes"] / 1e9) / seen["seconds"])

    def cell(self, workload, name, mode, **options):
        """A plain cell, once more when something else had the core."""
        best = None
        for _ in range(3):
            self.settle()
            with self.proxy(name) as group:
                self.load(mode, **options | {"seconds": self.warm})
                seen = self.measure(group, mode, **options | {"seconds": self.seconds})
            if best is None or seen["foreign"] < best["foreign"]:
                best = seen
            if best["foreign"] < 0.05 or self.repeats == 0:
                break
            self.repeats -= 1
        per = best["bytes"] / 1e9 if mode in ("down", "up") else best["ops"] / 1e6
        if per <= 0:
            raise Bad("nothing was done")
        self.add(workload, name, best["cpu"] / per, best)

    def latency(self, workload, name, rates, **options):
        """The p99 at a load below saturation: a quarter of what nginx came to in the first round, or 5000 a second. "direct" goes to the origin
        without a proxy and without TLS. Of seven short looks the middle one."""
        rate = rates.setdefault(workload, self.rate_of(workload.removesuffix(" latency"), "nginx reverse") * 0.25)
        slices = []
        self.settle()
        with self.through(name) as (group, at):
            self.load("reverse", **options, proxy=at, rate=rate, seconds=self.warm)
            for _ in range(7):  # what else runs here comes in bursts; each spoils one of them
                slices.append(self.measure(group, "reverse", **options, proxy=at, rate=rate, seconds=self.seconds / 3))
        seen = sorted(slices, key=lambda s: s["p99_us"])[len(slices) // 2]
        if seen["ops"] < 0.8 * rate * self.seconds / 3:
            raise Bad(f"{seen['ops'] / self.seconds * 3:.0f} requests a second instead of {rate:.0f}")
        self.add(workload, name, seen["p99_us"], seen)

    def events(self, name):
        """From the origin's sending of an event to the client's having it, and from the request to the first event."""
        best = None
        for _ in range(2):
            self.settle()
            with self.through(name) as (group, at):
                options = dict(connections=1, target=PROXY, token=TOKEN, path="/bench/stream/events", proxy=at)
                self.load("events", **options, seconds=self.warm)
                seen = self.measure(group, "events", **options, seconds=self.seconds)
            if best is None or seen["p50_us"] < best["p50_us"]:
                best = seen
        self.add("events", name, best["p50_us"], best)
        self.add("first event", name, best["first_us"])

    def rate_of(self, workload, name):
        rates = self.results.get(workload, {}).get(name, {}).get("rate")
        return rates[0] if rates else 20000

    @contextlib.contextmanager
    def through(self, name):
        """A proxy and where it listens, or the origin itself."""
        if name == "direct":
            group = Group(self.work.name)
            group.root = os.getpid()
            try:
                yield group, HTTP
            finally:
                group.close()
        else:
            with self.proxy(name) as group:
                yield group, PROXY

    def idle(self, name):
        """Memory per held tunnel, and the cost of a CONNECT with and without them, in one process."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        held = max(100, min(9000, (most - 1900) // 2))
        each = dict(connections=32, target=HTTP)
        with self.proxy(name) as group:
            self.load("connect", **each, seconds=self.warm)
            without = self.measure(group, "connect", **each, seconds=self.seconds)
            time.sleep(0.1)
            before = group.memory()
            argv = [str(self.build / "bench" / "load"), "idle", "--proxy", PROXY, "--auth", AUTH, "--target", HTTP, "--connections", "32",
                    "--count", str(held)]
            holder = self.spawn(argv, self.load_core, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                line = holder.stdout.readline()
                if line.split()[:4] != ["held", str(held), "errors", "0"]:
                    raise Bad(f"{held} tunnels: {line.strip() or holder.stderr.readline().strip()}")
                time.sleep(0.2)
                self.add("idle memory", name, (group.memory() - before) / held / 1024)
                with_them = self.measure(group, "connect", **each, seconds=self.seconds)
            finally:
                holder.kill()
                holder.communicate()
        self.add("connect, none held", name, without["cpu"] / without["ops"] * 1e6, without)
        self.add(f"connect, tunnels held", name, with_them["cpu"] / with_them["ops"] * 1e6, with_them)

    def start(self, name):
        argv = self.proxies.command(name)
        argv[0] = shutil.which(argv[0]) or argv[0]
        for _ in range(3):
            self.settle()
            self.add("start", name, self.load("start", "--cpu", str(self.proxy_core), "--", *argv)["start_us"] / 1000)

    def workers(self, name):
        """Rate with two cores for the proxy and two for the load; with two cores in all, operations per CPU second."""
        if len(self.cores) < 4:
            core, loads = set(self.cores[:2]), [self.cores[0]]
        else:
            core, loads = set(self.cores[1:3]), [self.cores[0], self.cores[3]]
        with self.proxy(name, core) as group:
            cpu = group.cpu()
            running = []
            for c in loads:
                argv = [str(self.build / "bench" / "load"), "forward", "--proxy", PROXY, "--auth", AUTH, "--target", HTTP, "--connections",
                        str(128 // len(loads)), "--seconds", str(self.seconds)]
                running.append(self.spawn(argv, c, stdout=subprocess.PIPE, text=True))
            seen = [json.loads(p.communicate(timeout=30)[0]) for p in running]
            cpu = group.cpu() - cpu
        ops = sum(s["ops"] for s in seen)
        self.add("workers", name, ops / seen[0]["seconds"] if len(self.cores) >= 4 else ops / cpu)


# ---------------------------------------------------------------- what is measured, and what it must come to
class Workload:
    def __init__(self, name, unit, run, peers, extra=()):
        self.name, self.unit, self.run, self.peers, self.extra = name, unit, run, peers, list(extra)


def plain(workload, mode, **options):
    return lambda bench, name: bench.cell(workload, name, mode, **options | ({"raw": ""} if name == "haproxy" else {}))


REVERSE = dict(target=PROXY, token=TOKEN, path="/bench/some/path?query=1")
RATES = {}


def latency(n):
    return lambda bench, name: bench.latency(f"reverse {n} latency", name, RATES, **REVERSE, connections=n)


WORKLOADS = [
    Workload("bulk", "s/GB", lambda b, n: bulk(b, n), ["nono", "haproxy", "relay"]),
    Workload("connect", "us", plain("connect", "connect", connections=32, target=HTTP), ["nono", "trafficserver", "relay", "nono no audit"],
             ["tinyproxy", "squid", "trafficserver log"]),
    Workload("connect by name", "us", plain("connect by name", "connect", connections=32, target=NAMED), ["nono", "trafficserver", "nono 100,000 rules"]),
    Workload("forward 64", "us", plain("forward 64", "forward", connections=64, target=HTTP), ["nono", "nginx", "relay", "nono no audit"], ["nginx log"]),
    Workload("forward 256", "us", plain("forward 256", "forward", connections=256, target=HTTP), ["nono", "nginx", "relay"]),
    Workload("reverse 64", "us", plain("reverse 64", "reverse", **REVERSE, connections=64), ["nono reverse", "nginx reverse", "nono reverse, no audit"]),
    Workload("reverse 256", "us", plain("reverse 256", "reverse", **REVERSE, connections=256), ["nono reverse", "nginx reverse"]),
    *(Workload(f"reverse {n} latency", "us", latency(n), ["nono reverse", "nginx reverse", "direct"]) for n in (64, 256)),
    Workload("events", "us", lambda b, n: b.events(n), ["nono reverse", "nginx reverse", "direct"]),
    Workload("idle", "KB", lambda b, n: b.idle(n), ["nono", "relay"]),
    Workload("start", "ms", lambda b, n: b.start(n), ["nono", "nginx"], ["tinyproxy"]),
    Workload("workers", "1/s", lambda b, n: b.workers(n), ["nono", "nono 2 workers"]),
]
UNITS = {"bulk": "s/GB", "idle memory": "KB", "start": "ms", "workers": "op/s"}

# (workload, ours, against, at most, at least). Against: a name: the ratio to it; None: the value; Less(name): the difference; Added(base, peer):
# what ours adds to the base, as a ratio to what the peer adds.
Less = collections.namedtuple("Less", "name")
Added = collections.namedtuple("Added", "base peer")
GOALS = [
    ("bulk", "nono", "haproxy", 1.05, None),
    ("bulk", "nono", "relay", 1.10, None),
    ("connect", "nono", "trafficserver", 0.87, None),
    ("connect", "nono", "relay", 1.15, None),
    ("connect by name", "nono", "trafficserver", 0.75, None),
    ("forward 64", "nono", "nginx", 1.00, None),
    ("forward 64", "nono", "relay", 1.30, None),
    ("forward 256", "nono", "nginx", 1.00, None),
    ("forward 256", "nono", "relay", 1.30, None),
    ("reverse 64", "nono reverse", "nginx reverse", 1.00, None),
    ("reverse 256", "nono reverse", "nginx reverse", 1.00, None),
    ("reverse 64", "nono reverse", "nono reverse, no audit", 1.05, None),
    ("reverse 64 latency", "nono reverse", Added("direct", "nginx reverse"), 1.10, None),
    ("reverse 256 latency", "nono reverse", Added("direct", "nginx reverse"), 1.10, None),
    ("events", "nono reverse", Less("direct"), 300, None),
    ("first event", "nono reverse", Less("direct"), 300, None),
    ("idle memory", "nono", None, 1.5, None),
    ("start", "nono", None, 10.0, None),
    ("connect", "nono", "nono no audit", 1.05, None),
    ("forward 64", "nono", "nono no audit", 1.05, None),
    ("connect by name", "nono 100,000 rules", "nono", 1.05, None),
    ("connect, tunnels held", "nono", ("connect, none held", "nono"), 1.15, None),
    ("workers", "nono 2 workers", "nono", None, 1.7),
]


def bulk(bench, name):
    extra = ("--raw",) if name == "haproxy" else ()
    bench.settle()
    with bench.proxy(name) as group:
        bench.load("down", *extra, connections=1, target=SOURCE, seconds=bench.warm)
        wall, busy, cpu = time.monotonic(), core_busy(bench.proxy_core), group.cpu()
        seen = bench.load("down", *extra, connections=1, target=SOURCE, seconds=bench.seconds)
        cpu = group.cpu() - cpu
        bench.noise(max(0.0, core_busy(bench.proxy_core) - busy - cpu) / (time.monotonic() - wall))
    if not seen["bytes"]:
        raise Bad("nothing was done")
    bench.add("bulk", name, cpu / (seen["bytes"] / 1e9), seen)


def ratio(results, workload, ours, against):
    """The median of the rounds' ratios (of the absolute values when there is nothing to compare with)."""
    values = results.get(workload, {}).get(ours, {}).get("values")
    if not values or against is None:
        return statistics.median(values) if values else None
    cells = results.get(workload, {})
    if isinstance(against, Less):
        others = cells.get(against.name, {}).get("values")
        return statistics.median(a - b for a, b in zip(values, others)) if others else None
    if isinstance(against, Added): # of medians: a single round's difference may be next to nothing
        base, peer = (cells.get(n, {}).get("values") for n in against)
        return added(values, base, peer) if base and peer else None
    w, name = against if isinstance(against, tuple) else (workload, against)
    others = results.get(w, {}).get(name, {}).get("values")
    return statistics.median(a / b for a, b in zip(values, others)) if others else None


def added(ours, base, peer):
    floor = statistics.median(base)
    return (statistics.median(ours) - floor) / max(1.0, statistics.median(peer) - floor)


def against_text(against):
    if isinstance(against, Less):
        return f"less {against.name}"
    if isinstance(against, Added):
        return f"{against.peer}, added to {against.base}"
    return " + ".join(against) if isinstance(against, tuple) else against


def judge(bench):
    rows = []
    for workload, ours, against, most, least in GOALS:
        value = ratio(bench.results, workload, ours, against)
        if value is None:
            continue
        held = value <= most if most is not None else value >= least
        verdict = "ok" if held else "MISSED"
        noise = statistics.median(bench.foreign.get(workload.split(",")[0], [0]))
        if noise > 0.10:
            verdict += f" (but others had {noise:.0%} of the core)"
        if workload == "workers" and len(bench.cores) < 4:
            verdict = f"not judged: {len(bench.cores)} cores (ratio of operations per CPU second, 1.0 is no loss)"
        other = against_text(against)
        rows.append({"workload": workload, "ours": ours, "against": other, "value": round(value, 3),
                     "goal": f"<= {most}" if most is not None else f">= {least}", "verdict": verdict})
    return rows


def show(bench, rows):
    print(f"\n{'workload':<22} {'proxy':<20} {'median':>10} {'least':>10}  {'unit':<5} {'p50 us':>9} {'p99 us':>9} {'rate':>10}")
    for workload, cells in bench.results.items():
        for name, c in cells.items():
            tail = " ".join(f"{statistics.median(c[k]):>{w}.{d}f}" if k in c else " " * w for k, w, d in (("p50_us", 9, 0), ("p99_us", 9, 0), ("rate", 10, 1)))
            print(f"{workload:<22} {name:<20} {statistics.median(c['values']):>10.3f} {min(c['values']):>10.3f}  {UNITS.get(workload, 'us'):<5} {tail}")
    print(f"\n{'goal':<66} {'value':>8}  {'wanted':<8}")
    for r in rows:
        unit = "" if r["against"] and not r["against"].startswith("less ") else " " + UNITS.get(r["workload"], "us")
        what = f"{r['workload']}: {r['ours']}" + (f" {'' if r['against'].startswith('less ') else '/ '}{r['against']}" if r["against"] else "")
        print(f"{what:<66} {r['value']:>8.3f}  {r['goal']:<8}{unit} {r['verdict']}")
    for workload, cells in bench.results.items():
        for name in cells if bench.proxies.before_binary else ():
            if name.startswith("nono"):
                value = ratio(bench.results, workload, name, "before" + name.removeprefix("nono"))
                print(f"{workload + ': ' + name + ' / before':<66} {value:>8.3f}" if value else "")
    for p in bench.problems:
        print(f"problem: {p}")
    if bench.foreign:
        shares = sum(bench.foreign.values(), [])
        print(f"others had {statistics.median(shares):.0%} (at most {max(shares):.0%}) of the proxy's core; below 5 % is quiet")


def names(workload, args):
    """Ours, its older self right behind it, peers, and in a full run what is only shown."""
    both = [n for p in workload.peers for n in (p, *(["before" + p.removeprefix("nono")] if args.before and p.startswith("nono") else []))]
    return both + ([] if args.quick or args.before else workload.extra)


def inside(args):
    work = Path(os.environ["NONO_BENCH_DIR"])
    build = Path(args.build).resolve()
    network(work)
    certificates(work)
    touch_memory()
    bench = Bench(build, work, args.quick, args.before)
    wanted = [w for w in WORKLOADS if not args.only or any(o in w.name for o in args.only)]
    if not wanted:
        sys.exit(f"no such workload; there are: {', '.join(w.name for w in WORKLOADS)}")
    resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))  # room for 100,000 arguments
    rounds = args.rounds or (3 if args.quick else 5)
    broken = {}
    began = time.monotonic()
    origin = bench.origin()
    try:
        for r in range(rounds):
            for w in wanted:
                for name in names(w, args):
                    if broken.get((w.name, name), 0) >= 2:
                        continue
                    if sys.stderr.isatty():
                        print(f"\r\033[Kround {r + 1}/{rounds}: {w.name}, {name}", end="", file=sys.stderr, flush=True)
                    bench.workload = w.name
                    try:
                        w.run(bench, name)
                    except (Bad, OSError, ValueError, subprocess.SubprocessError) as e:
                        broken[w.name, name] = broken.get((w.name, name), 0) + 1
                        bench.problems.append(f"{w.name}, {name}, round {r + 1}: {e}")
    finally:
        origin.kill()
        origin.wait()
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    rows = judge(bench)
    show(bench, rows)
    print(f"{rounds} rounds, {time.monotonic() - began:.0f} s")
    if args.json:
        machine = {"kernel": platform.release(), "cores": len(bench.cores), "load": os.getloadavg()}
        Path(args.json).write_text(json.dumps({"machine": machine, "rounds": rounds, "quick": args.quick, "results": bench.results, "goals": rows,
                                               "problems": bench.problems, "foreign": bench.foreign}, indent=1) + "\n")
    return 1 if any("nono" in key[1] for key in broken) else 0


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build-bench", help="meson build directory (-Dbench=true)")
    p.add_argument("--quick", action="store_true", help="three short rounds, some two minutes")
    p.add_argument("--only", action="append", metavar="NAME", help="workloads whose name contains NAME")
    p.add_argument("--rounds", type=int, metavar="N")
    p.add_argument("--before", metavar="BINARY", help="an older nono, measured beside ours")
    p.add_argument("--json", metavar="FILE", help="write everything there")
    args = p.parse_args()
    if "NONO_BENCH_DIR" not in os.environ:
        return outside()
    return inside(args)


if __name__ == "__main__":
    sys.exit(main())
