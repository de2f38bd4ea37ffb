/* The load generator. One thread, epoll, one line of JSON at the end.
 *
 *   load MODE --proxy A:P --target HOST:PORT [--connections N] [--seconds S | --count N]
 *             [--auth BASE64] [--raw]
 *   connect   a new tunnel each: CONNECT, one request and its answer through it, close
 *   forward   keep-alive connections, absolute-form GET after GET
 *   down, up  bytes through open tunnels
 *   idle      open --count tunnels (32 at a time), one request through each, say "held N", hold
 *             until stdin ends
 *   reverse   keep-alive connections, GET --path with Authorization: Bearer --token
 *   events    the same, one answer a stream of server-sent events: --path ends in /events
 *   --rate R (forward, reverse): so many requests a second in all; a latency counts from the moment
 *             its request was due
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
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum mode {
    MODE_CONNECT,
    MODE_FORWARD,
    MODE_REVERSE,
    MODE_EVENTS,
    MODE_DOWN,
    MODE_UP,
    MODE_IDLE,
    MODE_START,
    MODE_COUNT
};
static const char *const mode_names[MODE_COUNT] = {"connect", "forward", "reverse", "events",
                                                   "down",    "up",      "idle",    "start"};
enum { STEPS = 64 }; /* of a latency, per power of two */

enum step { STEP_TUNNEL, STEP_ANSWER, STEP_BYTES, STEP_HELD };
struct conn {
    int fd; /* -1: unused */
    enum step step;
    bool streaming;  /* events: the head and the first one came */
    uint64_t started;
    size_t got;
    struct conn *next_free;
    char in[1000];
};

static struct {
    enum mode mode;
    struct sockaddr_in proxy;
    bool raw;
    uint64_t connections, count, opened, deadline;
    char head[1024], request[1024]; /* the CONNECT, and what goes through it or is forwarded */
    size_t head_len, request_len;
    int epoll, timer;
    bool over;
    uint64_t due, every; /* --rate */
    struct conn *first_free, *last_free;
} l;
static struct {
    uint64_t ops, bytes, errors, reopened;
    struct times {
        uint64_t n, slots[64 * STEPS]; /* ns */
    } latency, first;                  /* first: from the request to the first event */
} seen;
static char bytes[256 * 1024];

static void times_add(struct times *t, uint64_t ns)
{
    unsigned top = 63u - (unsigned)__builtin_clzll(ns | STEPS);
    t->slots[(top * STEPS + (unsigned)(ns >> (top - 6) & (STEPS - 1)))]++;
    t->n++;
}

static double times_us(const struct times *t, double quantile)
{
    uint64_t want = (uint64_t)(quantile * (double)t->n), sum = 0;
    for (unsigned i = 0; t->n && i < 64 * STEPS; i++) {
        sum += t->slots[i];
        if (sum > want)
            return (double)((STEPS + (uint64_t)i % STEPS) << (i / STEPS - 6)) / 1000.0;
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

static bool has_no_tunnel(void)
{
    return l.mode == MODE_FORWARD || l.mode == MODE_REVERSE || l.mode == MODE_EVENTS;
}

/* With --rate: a request that is due, or a place behind those that wait for one. */
static void conn_rest(struct conn *c)
{
    if (l.due <= now_ns()) {
        c->started = l.due;
        l.due += l.every;
        conn_talk(c);
        return;
    }
    c->next_free = NULL;
    if (l.first_free)
        l.last_free->next_free = c;
    else
        l.first_free = c;
    l.last_free = c;
}

static void on_timer(void)
{
    uint64_t times;
    (void)!read(l.timer, &times, sizeof(times));
    while (l.first_free && l.due <= now_ns()) {
        struct conn *c = l.first_free;
        l.first_free = c->next_free;
        conn_rest(c);
    }
    l.over = l.over || now_ns() >= l.deadline;
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
    if (l.every) {
        conn_rest(c);
    } else if (l.raw || has_no_tunnel()) {
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
    if (l.mode != MODE_EVENTS)
        times_add(&seen.latency, now - c->started);
    l.over = l.over || (l.count ? seen.ops >= l.count : now >= l.deadline);
    if (l.mode == MODE_IDLE) {
        c->step = STEP_HELD;
    } else if (l.mode == MODE_CONNECT) {
        conn_close(c);
        if (!l.over)
            conn_open(c);
    } else if (l.every) {
        conn_rest(c);
    } else if (!l.over) {
        c->started = now;
        conn_talk(c);
    }
}

/* Every event that is here whole; true when the last one was. */
static bool conn_events(struct conn *c)
{
    static const char mark[] = "data: ", end[] = "0\r\n\r\n";
    char *at = c->in, *stop = c->in + c->got, *p;
    uint64_t now = now_ns();

    while ((p = memmem(at, (size_t)(stop - at), mark, 6)) && stop - p >= 28) {
        times_add(&seen.latency, now - strtoull(p + 6, NULL, 10));
        if (!c->streaming)
            times_add(&seen.first, now - c->started);
        c->streaming = true;
        at = p + 28;
    }
    c->got = (size_t)(stop - at);
    memmove(c->in, at, c->got);
    if (!c->streaming || c->got < 5 || memcmp(c->in + c->got - 5, end, 5) != 0)
        return false;
    c->streaming = false;
    return true;
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
    if (n == 0 && has_no_tunnel() &&
        c->got == 0 && !c->streaming) { /* allowed between two requests; counted */
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
    if (l.mode == MODE_EVENTS && c->step == STEP_ANSWER) {
        good = c->streaming || c->got < 12 || !memcmp(c->in + 8, " 200", 4);
        if (good && !conn_events(c))
            return;
    } else if (!conn_message(c, &good)) {
        return;
    }
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
    for (int i = 0; i < n; i++) {
        if (!events[i].data.ptr)
            on_timer();
        else
            on_event(events[i].data.ptr, events[i].events);
    }
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
        "\"p50_us\": %.1f, \"p99_us\": %.1f, \"first_us\": %.1f}\n",
        (unsigned long long)seen.ops, (unsigned long long)seen.bytes, seconds,
        (unsigned long long)seen.errors, (unsigned long long)seen.reopened,
        times_us(&seen.latency, 0.5), times_us(&seen.latency, 0.99), times_us(&seen.first, 0.5));
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

static void pace(double rate)
{
    if (rate <= 0)
        return;
    l.every = (uint64_t)(1e9 / rate);
    l.due = now_ns() + 20000000;
    struct itimerspec t = {{0, (long)l.every}, {0, (long)l.every}};
    l.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (l.timer < 0 || timerfd_settime(l.timer, 0, &t, NULL))
        die("timerfd");
    epoll_watch(l.epoll, l.timer, EPOLLIN, NULL);
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
    bool forward = l.mode == MODE_FORWARD, bearer = l.mode == MODE_REVERSE || l.mode == MODE_EVENTS;
    const char *scheme = forward ? "Proxy-Authorization: Basic "
                         : bearer ? "Authorization: Bearer "
                                  : "";
    if (bearer)
        auth = arg_text(argv, "--token", "none");
    l.request_len = (size_t)snprintf(
        l.request, sizeof(l.request),
        "GET %s%s%s HTTP/1.1\r\nHost: %s\r\n%s%s%sUser-Agent: load\r\n"
        "Accept: */*\r\n\r\n",
        forward ? "http://" : "", forward ? target : "",
        arg_text(argv, "--path", "/some/path?query=1"), target, scheme, *scheme ? auth : "",
        *scheme ? "\r\n" : "");
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.deadline = now_ns() + (uint64_t)(arg_number(argv, "--seconds", 1) * 1e9);
    pace(arg_number(argv, "--rate", 0));
}

int main(int argc, char **argv)
{
    for (l.mode = 0; l.mode < MODE_COUNT && (argc < 2 || strcmp(argv[1], mode_names[l.mode]) != 0);)
        l.mode++;
    if (l.mode == MODE_COUNT) {
        fputs("load connect|forward|reverse|events|down|up|idle|start …\n", stderr);
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
