/* The far end of every measurement, in one thread:
 *   --http A:P    a keep-alive HTTP/1.1 server with one small answer
 *   --source A:P  sends bytes until the peer closes        --sink A:P  swallows bytes until the
 * peer closes
 *   --dns A:P     a name server that knows one address (--answer) for every name, for 300 s
 * Each is optional. Level-triggered, because nothing here is measured; it must only be cheap. */
#include "common.h"
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum role { ROLE_HTTP, ROLE_SOURCE, ROLE_SINK, ROLE_DNS };

struct end {
    int fd;
    enum role role;
    bool listening;
    uint8_t matched; /* bytes of "\r\n\r\n" seen so far */
};

static const char answer[] =
    "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n"
    "0123456789012345678901234567890123456789012345678\n"
    "0123456789012345678901234567890123456789012345678\n";
static char bytes[256 * 1024];
static int epoll;
static struct in_addr dns_answer;

static void end_new(int fd, enum role role, bool listening)
{
    struct end *e = calloc(1, sizeof(*e));
    if (!e)
        die("calloc");
    *e = (struct end){.fd = fd, .role = role, .listening = listening};
    epoll_watch(epoll, fd, role == ROLE_SOURCE && !listening ? EPOLLOUT | EPOLLRDHUP : EPOLLIN, e);
}

static void end_free(struct end *e)
{
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

static void on_http(struct end *e)
{
    char in[8192];
    ssize_t n = recv(e->fd, in, sizeof(in), 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            end_free(e);
        return;
    }
    for (unsigned heads = heads_in(e, in, (size_t)n); heads > 0; heads--) {
        if (send(e->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0) {
            end_free(e);
            return;
        }
    }
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

static void dispatch(const struct epoll_event *event)
{
    struct end *e = event->data.ptr;
    if (e->listening)
        on_accept(e);
    else if (e->role == ROLE_HTTP)
        on_http(e);
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
    serve(argv, "--http", ROLE_HTTP);
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
