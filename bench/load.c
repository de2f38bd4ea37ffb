/* The load generator. One thread, epoll, one line of JSON at the end.
 *
 *   load MODE --proxy A:P --target HOST:PORT [--connections N] [--seconds S | --count N] [--auth
 * BASE64] [--raw] connect   a new tunnel each: CONNECT, one request and its answer through it,
 * close forward   keep-alive connections, absolute-form GET after GET down, up  bytes through open
 * tunnels idle      open --count tunnels (32 at a time), one request through each, say "held N",
 * hold until stdin ends
 *   --raw: the proxy is a plain TCP forwarder, no CONNECT is sent (down, up, connect, idle)
 *
 *   load start --proxy A:P [--cpu N] -- COMMAND…   microseconds from fork to the first byte of an
 * answer */
#include "common.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum mode { MODE_CONNECT, MODE_FORWARD, MODE_DOWN, MODE_UP, MODE_IDLE, MODE_START, MODE_COUNT };
static const char *const mode_names[MODE_COUNT] = {"connect", "forward", "down",
                                                   "up",      "idle",    "start"};

enum step { STEP_TUNNEL, STEP_ANSWER, STEP_BYTES, STEP_HELD };
struct conn {
    int fd; /* -1: unused */
    enum step step;
    uint64_t started;
    size_t got;
    char in[1000];
};

static struct {
    enum mode mode;
    struct sockaddr_in proxy;
    bool raw;
    uint64_t connections, count, opened, deadline;
    char head[1024], request[1024]; /* the CONNECT, and what goes through it or is forwarded */
    size_t head_len, request_len;
    int epoll;
    bool over;
} l;
static struct {
    uint64_t ops, bytes, errors, reopened;
    uint64_t latency[64 * 16]; /* 16 steps per power of two, in ns */
} seen;
static char bytes[256 * 1024];

static unsigned latency_slot(uint64_t ns)
{
    unsigned top = 63u - (unsigned)__builtin_clzll(ns | 16);
    return top * 16 + (unsigned)(ns >> (top - 4) & 15);
}

static double latency_us(double quantile)
{
    uint64_t want = (uint64_t)(quantile * (double)seen.ops), sum = 0;
    for (unsigned i = 0; i < 64 * 16; i++) {
        sum += seen.latency[i];
        if (sum > want)
            return (double)((16ull + i % 16) << (i / 16 - 4)) / 1000.0;
    }
    return 0;
}

static void conn_send(struct conn *c, const char *p, size_t n)
{
    c->got = 0;
    if (send(c->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
        seen.errors++;
}

static void conn_talk(struct conn *c)
{
    bool bulk = l.mode == MODE_DOWN || l.mode == MODE_UP;
    c->step = bulk ? STEP_BYTES : STEP_ANSWER;
    if (bulk) {
        struct epoll_event e = {.events = l.mode == MODE_UP ? EPOLLOUT : EPOLLIN, .data.ptr = c};
        epoll_ctl(l.epoll, EPOLL_CTL_MOD, c->fd, &e);
    } else {
        conn_send(c, l.request, l.request_len);
    }
}

/* The connect blocks: on loopback it needs nothing of the proxy but room in its backlog. */
static void conn_open(struct conn *c)
{
    struct timeval limit = {5, 0};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    no_delay(c->fd);
    c->started = now_ns();
    if (connect(c->fd, (struct sockaddr *)&l.proxy, sizeof(l.proxy)))
        die("connect to the proxy");
    epoll_watch(l.epoll, c->fd, EPOLLIN, c);
    l.opened++;
    if (l.raw || l.mode == MODE_FORWARD) {
        conn_talk(c);
    } else {
        c->step = STEP_TUNNEL;
        conn_send(c, l.head, l.head_len);
    }
}

static void conn_close(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
}

static void conn_broken(struct conn *c)
{
    seen.errors++;
    conn_close(c);
    if (seen.errors > 1000)
        l.over = true;
    else if (!l.over)
        conn_open(c);
}

static void conn_finished(struct conn *c)
{
    uint64_t now = now_ns();
    seen.ops++;
    seen.latency[latency_slot(now - c->started)]++;
    l.over = l.over || (l.count ? seen.ops >= l.count : now >= l.deadline);
    if (l.mode == MODE_IDLE) {
        c->step = STEP_HELD;
    } else if (l.mode == MODE_CONNECT) {
        conn_close(c);
        if (!l.over)
            conn_open(c);
    } else if (!l.over) {
        c->started = now;
        conn_talk(c);
    }
}

/* A whole message in the buffer? */
static bool conn_message(const struct conn *c, bool *ret_good)
{
    const char *body = after_head(c->in, c->got);
    if (!body)
        return false;
    *ret_good = c->got > 12 && !memcmp(c->in + 8, " 200", 4);
    if (c->step == STEP_TUNNEL)
        return true;
    return (size_t)(c->in + c->got - body) >= content_length(c->in, body);
}

static void on_bytes(struct conn *c, uint32_t events)
{
    ssize_t n = events & EPOLLOUT ? send(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : recv(c->fd, NULL, 1 << 20, MSG_DONTWAIT | MSG_TRUNC);
    if (n > 0)
        seen.bytes += (uint64_t)n;
    else if (n == 0 || errno != EAGAIN)
        conn_broken(c);
    l.over = l.over || now_ns() >= l.deadline;
}

static void on_event(struct conn *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->step == STEP_BYTES) {
        on_bytes(c, events);
        return;
    }
    ssize_t n = recv(c->fd, c->in + c->got, sizeof(c->in) - 1 - c->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n == 0 && l.mode == MODE_FORWARD &&
        c->got == 0) { /* allowed between two requests; counted */
        seen.reopened++;
        conn_close(c);
        conn_open(c);
        return;
    }
    if (n <= 0 || c->step == STEP_HELD) {
        conn_broken(c);
        return;
    }
    c->got += (size_t)n;
    c->in[c->got] = 0;
    bool good;
    if (!conn_message(c, &good))
        return;
    if (!good)
        conn_broken(c);
    else if (c->step == STEP_TUNNEL)
        conn_talk(c);
    else
        conn_finished(c);
}

/* When nothing has finished for ten seconds, the proxy hangs. */
static void turn(void)
{
    struct epoll_event events[256];
    int n = epoll_wait(l.epoll, events, 256, 10000);
    if (n == 0) {
        seen.errors++;
        l.over = true;
    }
    for (int i = 0; i < n; i++)
        on_event(events[i].data.ptr, events[i].events);
}

static void hold(struct conn *conns)
{
    for (uint64_t next = l.connections; !l.over;) {
        turn();
        for (; next < l.count && next < seen.ops + l.connections; next++)
            conn_open(&conns[next]);
    }
    printf("held %llu errors %llu\n", (unsigned long long)seen.ops,
           (unsigned long long)seen.errors);
    fflush(stdout);
    char c;
    while (read(0, &c, 1) > 0)
        continue;
}

static void report(double seconds)
{
    printf(
        "{\"ops\": %llu, \"bytes\": %llu, \"seconds\": %.4f, \"errors\": %llu, \"reopened\": %llu, "
        "\"p50_us\": %.1f, \"p99_us\": %.1f}\n",
        (unsigned long long)seen.ops, (unsigned long long)seen.bytes, seconds,
        (unsigned long long)seen.errors, (unsigned long long)seen.reopened, latency_us(0.5),
        latency_us(0.99));
}

static bool answers(void)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    char c;
    struct timeval limit = {1, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    bool good = !connect(fd, (struct sockaddr *)&l.proxy, sizeof(l.proxy)) &&
                send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 && recv(fd, &c, 1, 0) == 1;
    close(fd);
    return good;
}

static void run_on(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (cpu >= 0)
        sched_setaffinity(0, sizeof(set), &set);
}

static int start(char **argv)
{
    int cpu = (int)arg_number(argv, "--cpu", -1);
    while (*argv && strcmp(*argv, "--") != 0)
        argv++;
    if (!*argv || !argv[1])
        die("load start … -- COMMAND");
    uint64_t from = now_ns();
    pid_t child = fork();
    if (child == 0) {
        run_on(cpu);
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(127);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    bool up = false;
    while (!(up = answers()) && now_ns() - from < 5000000000u)
        usleep(50);
    uint64_t took = now_ns() - from;
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    printf("{\"start_us\": %.1f, \"errors\": %d}\n", (double)took / 1000.0, up ? 0 : 1);
    return up ? 0 : 1;
}

static void prepare(char **argv)
{
    const char *target = arg_text(argv, "--target", "127.0.0.1:80"),
               *auth = arg_text(argv, "--auth", "Ong=");
    l.raw = arg_flag(argv, "--raw");
    l.connections = (uint64_t)arg_number(argv, "--connections", 32);
    l.count = (uint64_t)arg_number(argv, "--count", 0);
    l.head_len =
        (size_t)snprintf(l.head, sizeof(l.head),
                         "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Basic %s\r\n"
                         "User-Agent: load\r\n\r\n",
                         target, target, auth);
    bool forward = l.mode == MODE_FORWARD;
    l.request_len = (size_t)snprintf(
        l.request, sizeof(l.request),
        "GET %s%s/some/path?query=1 HTTP/1.1\r\nHost: %s\r\n%s%s%sUser-Agent: load\r\n"
        "Accept: */*\r\n\r\n",
        forward ? "http://" : "", forward ? target : "", target,
        forward ? "Proxy-Authorization: Basic " : "", forward ? auth : "", forward ? "\r\n" : "");
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.deadline = now_ns() + (uint64_t)(arg_number(argv, "--seconds", 1) * 1e9);
}

int main(int argc, char **argv)
{
    for (l.mode = 0; l.mode < MODE_COUNT && (argc < 2 || strcmp(argv[1], mode_names[l.mode]) != 0);)
        l.mode++;
    if (l.mode == MODE_COUNT) {
        fputs("load connect|forward|down|up|idle|start …\n", stderr);
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    l.proxy = address_of(arg_text(argv, "--proxy", "127.0.0.1:3128"));
    if (l.mode == MODE_START)
        return start(argv);
    prepare(argv);
    uint64_t slots = l.mode == MODE_IDLE ? l.count : l.connections;
    struct conn *conns = calloc(slots, sizeof(*conns));
    if (!conns)
        die("calloc");
    uint64_t from = now_ns();
    for (uint64_t i = 0; i < l.connections && i < slots; i++)
        conn_open(&conns[i]);
    if (l.mode == MODE_IDLE) {
        hold(conns);
        return seen.errors ? 1 : 0;
    }
    while (!l.over)
        turn();
    report((double)(now_ns() - from) / 1e9);
    free(conns);
    return 0;
}
