/* The far end of every measurement, in one thread:
 *   --http A:P    a keep-alive HTTP/1.1 server with one small answer; under a path that ends in
 *                 /events a stream of EVENTS server-sent events, each with the time it was sent
 *   --https A:P   the same over TLS (--cert, --key: PEM files); 401 for a head without --secret
 *   --source A:P  sends bytes until the peer closes        --sink A:P  swallows bytes until the
 * peer closes
 *   --dns A:P     a name server that knows one address (--answer) for every name, for 300 s
 * Each is optional. Level-triggered, because nothing here is measured; it must only be cheap. */
#include "common.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum role { ROLE_HTTP, ROLE_HTTPS, ROLE_SOURCE, ROLE_SINK, ROLE_DNS, ROLE_TICK };
enum { EVENTS = 20, EVENT_MS = 5, HEAD_MAX = 8192 };

struct end {
    int fd;
    enum role role;
    bool listening;
    uint8_t matched; /* bytes of "\r\n\r\n" seen so far */
    unsigned events; /* still to be sent */
    SSL *ssl;        /* ROLE_HTTPS */
    struct end *next_stream, **at_stream;
};

static const char answer[] =
    "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n"
    "0123456789012345678901234567890123456789012345678\n"
    "0123456789012345678901234567890123456789012345678\n";
static char bytes[256 * 1024];
static const char denied[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
static const char events_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                  "Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
static int epoll;
static struct in_addr dns_answer;
static SSL_CTX *tls;
static const char *secret;
static struct end *streams;

static void end_new(int fd, enum role role, bool listening)
{
    struct end *e = calloc(1, sizeof(*e));
    if (!e)
        die("calloc");
    *e = (struct end){.fd = fd, .role = role, .listening = listening};
    if (role == ROLE_HTTPS && !listening) {
        if (!(e->ssl = SSL_new(tls)) || !SSL_set_fd(e->ssl, fd))
            die("SSL_new");
        SSL_set_accept_state(e->ssl);
    }
    epoll_watch(epoll, fd, role == ROLE_SOURCE && !listening ? EPOLLOUT | EPOLLRDHUP : EPOLLIN, e);
}

static void stream_stop(struct end *e)
{
    if (!e->events)
        return;
    e->events = 0;
    *e->at_stream = e->next_stream;
    if (e->next_stream)
        e->next_stream->at_stream = e->at_stream;
}

static void end_free(struct end *e)
{
    stream_stop(e);
    SSL_free(e->ssl);
    close(e->fd);
    free(e);
}

static void on_accept(struct end *e)
{
    for (int fd; (fd = accept4(e->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
        end_new(fd, e->role, false);
}

/* How many heads end in these bytes. */
static unsigned heads_in(struct end *e, const char *p, size_t n)
{
    unsigned heads = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == (e->matched & 1 ? '\n' : '\r'))
            e->matched++;
        else
            e->matched = p[i] == '\r';
        if (e->matched == 4) {
            heads++;
            e->matched = 0;
        }
    }
    return heads;
}

/* ERR_AGAIN is 0 bytes, the end is -1. */
static ssize_t end_read(struct end *e, char *p, size_t cap)
{
    if (!e->ssl) {
        ssize_t n = recv(e->fd, p, cap, 0);
        return n > 0 ? n : n < 0 && errno == EAGAIN ? 0 : -1;
    }
    int n = SSL_read(e->ssl, p, (int)cap);
    return n > 0 ? n : SSL_get_error(e->ssl, n) == SSL_ERROR_WANT_READ ? 0 : -1;
}

/* Small and rare enough that the socket always has room. */
static bool end_write(struct end *e, const char *p, size_t n)
{
    return e->ssl ? SSL_write(e->ssl, p, (int)n) == (int)n
                  : send(e->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* One event in a chunk of its own; the last one's is followed by the end. */
static bool send_event(struct end *e)
{
    char chunk[64];
    bool last = e->events == 1;
    int n = snprintf(chunk, sizeof(chunk), "1c\r\ndata: %020llu\n\n\r\n%s",
                     (unsigned long long)now_ns(), last ? "0\r\n\r\n" : "");
    if (last)
        stream_stop(e);
    else
        e->events--;
    return end_write(e, chunk, (size_t)n);
}

static bool stream_start(struct end *e)
{
    if (e->events)
        return false;
    e->events = EVENTS;
    e->next_stream = streams;
    e->at_stream = &streams;
    if (streams)
        streams->at_stream = &e->next_stream;
    streams = e;
    return end_write(e, events_head, sizeof(events_head) - 1) && send_event(e);
}

static void on_tick(struct end *tick)
{
    uint64_t times;
    (void)!read(tick->fd, &times, sizeof(times));
    for (struct end *e = streams, *next; e; e = next) {
        next = e->next_stream;
        if (!send_event(e))
            end_free(e);
    }
}

/* A head that came in one piece is looked at; the others are plain requests. */
static bool respond(struct end *e, const char *in, size_t n, unsigned heads)
{
    if (e->ssl && secret && heads == 1 && !memmem(in, n, secret, strlen(secret)))
        return end_write(e, denied, sizeof(denied) - 1);
    if (heads == 1 && memmem(in, n < 80 ? n : 80, "/events ", 8))
        return stream_start(e);
    for (; heads > 0; heads--)
        if (!end_write(e, answer, sizeof(answer) - 1))
            return false;
    return true;
}

static void on_http(struct end *e)
{
    char in[HEAD_MAX];
    do {
        ssize_t n = end_read(e, in, sizeof(in));
        if (n < 0 || !respond(e, in, (size_t)n, heads_in(e, in, (size_t)n))) {
            end_free(e);
            return;
        }
        if (!n)
            return;
    } while (e->ssl && SSL_has_pending(e->ssl));
}

static void on_source(struct end *e, uint32_t events)
{
    bool gone = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (gone || (send(e->fd, bytes, sizeof(bytes), MSG_NOSIGNAL) < 0 && errno != EAGAIN))
        end_free(e);
}

static void on_sink(struct end *e)
{
    ssize_t n = recv(e->fd, NULL, 1 << 20, MSG_TRUNC); /* discards without a copy */
    if (n == 0 || (n < 0 && errno != EAGAIN))
        end_free(e);
}

/* The question comes back with one A record, or with none when it asks for another type. */
static void on_dns(struct end *e)
{
    unsigned char m[512 + 16];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(e->fd, m, 512, 0, (struct sockaddr *)&from, &len);
    if (n < 17)
        return;
    size_t q = 12;
    while (q < (size_t)n && m[q])
        q += m[q] + 1u;
    if (q + 5 > (size_t)n)
        return;
    bool is_a = m[q + 2] == 1;
    q += 5;
    static const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4};
    m[2] = 0x85, m[3] = 0x80;
    memset(m + 6, 0, 6); /* answers, authority, additional */
    m[7] = is_a;
    if (is_a) {
        memcpy(m + q, record, sizeof(record));
        memcpy(m + q + sizeof(record), &dns_answer, 4);
        q += sizeof(record) + 4;
    }
    (void)!sendto(e->fd, m, q, 0, (struct sockaddr *)&from, len);
}

static void serve(char **argv, const char *name, enum role role)
{
    const char *at = arg_text(argv, name, NULL);
    if (!at)
        return;
    struct sockaddr_in a = address_of(at);
    int fd;
    if (role == ROLE_DNS) {
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
            die("bind");
    } else {
        fd = listen_on(&a);
    }
    end_new(fd, role, role != ROLE_DNS);
}

static void start_tls(char **argv)
{
    const char *cert = arg_text(argv, "--cert", NULL), *key = arg_text(argv, "--key", NULL);
    secret = arg_text(argv, "--secret", NULL);
    if (!cert || !key)
        return;
    tls = SSL_CTX_new(TLS_server_method());
    errno = EINVAL;
    if (!tls || SSL_CTX_use_certificate_chain_file(tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        die("certificate");
    SSL_CTX_set_read_ahead(tls, 1);
}

static void start_ticks(void)
{
    struct itimerspec every = {{0, EVENT_MS * 1000000}, {0, EVENT_MS * 1000000}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0 || timerfd_settime(fd, 0, &every, NULL))
        die("timerfd");
    end_new(fd, ROLE_TICK, false);
}

static void dispatch(const struct epoll_event *event)
{
    struct end *e = event->data.ptr;
    if (e->listening)
        on_accept(e);
    else if (e->role == ROLE_HTTP || e->role == ROLE_HTTPS)
        on_http(e);
    else if (e->role == ROLE_TICK)
        on_tick(e);
    else if (e->role == ROLE_SOURCE)
        on_source(e, event->events);
    else if (e->role == ROLE_SINK)
        on_sink(e);
    else
        on_dns(e);
}

int main(int argc, char **argv)
{
    (void)argc;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    inet_pton(AF_INET, arg_text(argv, "--answer", "127.0.0.1"), &dns_answer);
    start_tls(argv);
    start_ticks();
    serve(argv, "--http", ROLE_HTTP);
    if (tls)
        serve(argv, "--https", ROLE_HTTPS);
    serve(argv, "--source", ROLE_SOURCE);
    serve(argv, "--sink", ROLE_SINK);
    serve(argv, "--dns", ROLE_DNS);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++)
            dispatch(&events[i]);
    }
}
