#!/usr/bin/env python3
"""The rules that machines can check (design principles): folder order, library homes, banned calls, sizes, headers that compile alone,
options documented. Prints every violation; exit 1 when there is one."""
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
ORDER = ["base", "sys", "net", "audit", "tls", "http", "policy", "config", "upstream", "credential", "approval", "proxy", "server", "cli"]
POLICY_MAY = re.compile(r"base/|policy/|net/(address|hostname|target|vetted)\.h|http/(fields|uri)\.(h|def)")
HOMES = {  # a library's headers occur in one place
    r"openssl/": r"tls/", r"uv\.h": r"sys/", r"nghttp2/": r"http/h2_", r"ares\.h|ares_": r"upstream/resolver", r"jansson\.h": r"config/json",
    r"idn2\.h": r"net/hostname", r"sys/(epoll|eventfd|timerfd|event)\.h": r"sys/",
}
BANNED = [  # (pattern, where it is allowed, what to use)
    (r"\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|sscanf|alloca|gets)\s*\(", r"$^", "a bounded function of base/"),
    (r"(?<![_\w.>])(malloc|calloc|realloc|free)\s*\(", r"base/mem\.c", "mem_alloc and mem_free"),
    (r"(?<![_\w.>])(send|recv|sendmsg|recvmsg|sendto|recvfrom|accept4?|connect|socket|splice)\s*\(", r"sys/", "sys/sock.h"),
    (r"\b(clock_gettime|gettimeofday|time\s*\(\s*NULL|getrandom|arc4random)\b", r"sys/", "sys/clock.h or sys/random.h"),
    (r"(?<![_\w.>])(fork|vfork|execv\w*|execl\w*|popen|system|posix_spawn\w*)\s*\(", r"sys/", "sys/child.h"),
    (r"\b(_Thread_local|__thread|thread_local)\b", r"$^", "the worker"),
    (r"\b(TODO|FIXME|XXX|HACK)\b", r"$^", "an issue"),
]
MAX_FUNCTION, MEDIAN_FUNCTION, P95_FUNCTION, MAX_FILE, MAX_COLUMNS = 120, 18, 70, 1000, 150
bad = []


def complain(path, line, text):
    bad.append(f"{path.relative_to(ROOT)}:{line}: {text}")


def code_of(text):
    """The text with comments and strings blanked, line numbers kept."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text, flags=re.S)


def check_includes(path, text):
    folder = path.relative_to(SRC).parts[0]
    own = f"{folder}/{path.stem}.h"
    includes = re.findall(r'^#include [<"]([^>"]+)[>"]', text, re.M)
    quoted = set(re.findall(r'^#include "([^"]+)"', text, re.M))
    for inc in includes:
        line = text[: text.index(inc)].count("\n") + 1
        top = inc.split("/")[0]
        if inc in quoted and top in ORDER and folder in ORDER and ORDER.index(top) > ORDER.index(folder):
            complain(path, line, f"{folder}/ may not include {inc}: it is below")
        if folder == "policy" and top in ORDER and not POLICY_MAY.match(inc):
            complain(path, line, f"policy/ may not include {inc}")
        if inc.endswith("_int.h") and top != folder:
            complain(path, line, f"{inc} is internal to {top}/")
        for library, home in HOMES.items():
            if re.match(library, inc) and not re.match(home, str(path.relative_to(SRC))):
                complain(path, line, f"{inc} has its home in {home}")
    if path.suffix == ".c" and (SRC / own).exists() and includes and includes[0] != own:
        complain(path, 1, f"its own header {own} comes first")


def check_banned(path, code):
    rel = str(path.relative_to(SRC))
    for pattern, allowed, instead in BANNED:
        if re.match(allowed, rel):
            continue
        for m in re.finditer(pattern, code):
            complain(path, code[: m.start()].count("\n") + 1, f"{m.group(0).strip()} is banned: use {instead}")


def functions(text):
    start = None
    for i, line in enumerate(text.split("\n"), 1):
        if line == "{":
            start = i
        elif line == "}" and start:
            yield start, i - start - 1
            start = None


def check_sizes(files):
    sizes = []
    for path in files:
        text = path.read_text()
        lines = text.split("\n")
        if len(lines) > MAX_FILE:
            complain(path, 1, f"{len(lines)} lines, at most {MAX_FILE}")
        for i, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS:
                complain(path, i, f"{len(line)} columns")
            if line.rstrip() != line:
                complain(path, i, "blanks at the end of the line")
        for line, n in functions(text):
            sizes.append(n)
            if n > MAX_FUNCTION:
                complain(path, line, f"a function of {n} lines, at most {MAX_FUNCTION}")
    sizes.sort()
    if sizes and sizes[len(sizes) // 2] > MEDIAN_FUNCTION:
        bad.append(f"src: the median function has {sizes[len(sizes) // 2]} lines, at most {MEDIAN_FUNCTION}")
    if sizes and sizes[int(len(sizes) * 0.95)] > P95_FUNCTION:
        bad.append(f"src: one function in twenty has more than {sizes[int(len(sizes) * 0.95)]} lines, at most {P95_FUNCTION}")
    return sizes


def compile_alone(path):
    with tempfile.NamedTemporaryFile("w", suffix=".c") as f:
        f.write(f'#include "{path.relative_to(SRC)}"\n')
        f.flush()
        r = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", f"-I{SRC}", "-Wall", "-Wextra", "-fsyntax-only", f.name],
                           capture_output=True, text=True)
    return path, r.stderr.strip()


def main():
    files = sorted(p for p in SRC.rglob("*.[ch]"))
    for path in files:
        text = path.read_text()
        check_includes(path, text)
        check_banned(path, code_of(text))
    sizes = check_sizes(files)
    with ThreadPoolExecutor(2) as pool:
        for path, err in pool.map(compile_alone, [p for p in files if p.suffix == ".h"]):
            if err:
                complain(path, 1, f"does not compile alone: {err.splitlines()[0]}")
    for line in bad:
        print(line)
    n = len(sizes)
    print(f"lint: {len(files)} files, {n} functions, median {sizes[n // 2] if n else 0} lines, longest {sizes[-1] if n else 0}; {len(bad)} complaints")
    sys.exit(1 if bad else 0)


main()
