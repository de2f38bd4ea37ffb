/* A name server for one test: UDP and TCP on one loopback port, answered between turns of the loop by the names' own rules. */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3, RCODE_REFUSED = 5 };

struct dns_message {
    uint8_t v[65536];
    size_t n;
};
struct dns_question {
    char name[256];
    unsigned type;
    bool tcp;
    size_t end; /* of the question section */
};
struct dns_server {
    int udp, listener, tcp;
    uint16_t port;
    struct dns_message in, out; /* of the TCP connection */
    size_t out_done;
    char seen[512][300]; /* "A name" or "AAAA name", "/tcp" behind */
    unsigned n_seen;
    uint16_t ports[512]; /* source ports */
    unsigned n_ports;
};

static inline void put16(struct dns_message *m, unsigned v)
{
    m->v[m->n++] = (uint8_t)(v >> 8);
    m->v[m->n++] = (uint8_t)v;
}
static inline void put32(struct dns_message *m, uint32_t v)
{
    put16(m, v >> 16);
    put16(m, v & 0xffff);
}
static inline void put_name(struct dns_message *m, const char *name)
{
    while (*name) {
        size_t n = strcspn(name, ".");
        m->v[m->n++] = (uint8_t)n;
        memcpy(m->v + m->n, name, n);
        m->n += n;
        name += n + (name[n] == '.');
    }
    m->v[m->n++] = 0;
}

static inline bool read_question(const uint8_t *p, size_t n, struct dns_question *q)
{
    size_t at = 12, len = 0;
    if (n < 17)
        return false;
    while (at < n && p[at]) {
        size_t label = p[at++];
        if (len)
            q->name[len++] = '.';
        memcpy(q->name + len, p + at, label);
        len += label;
        at += label;
    }
    q->name[len] = '\0';
    q->type = (unsigned)p[at + 1] << 8 | p[at + 2];
    q->end = at + 5;
    return true;
}

/* Header and question of the answer; records follow. */
static inline void begin_answer(struct dns_message *m, const uint8_t *p, const struct dns_question *q, unsigned rcode, bool truncated)
{
    memcpy(m->v, p, q->end);
    m->n = q->end;
    m->v[2] = (uint8_t)(0x81 | (truncated ? 2 : 0));
    m->v[3] = (uint8_t)(0x80 | rcode);
    memset(m->v + 6, 0, 6);
}
static inline void add_record(struct dns_message *m, const char *name, unsigned type, uint32_t ttl, const char *value)
{
    put_name(m, name);
    put16(m, type);
    put16(m, 1);
    put32(m, ttl);
    size_t at = m->n;
    put16(m, 0);
    if (type == TYPE_A) {
        inet_pton(AF_INET, value, m->v + m->n);
        m->n += 4;
    } else if (type == TYPE_AAAA) {
        inet_pton(AF_INET6, value, m->v + m->n);
        m->n += 16;
    } else {
        put_name(m, value);
    }
    size_t n = m->n - at - 2;
    m->v[at] = (uint8_t)(n >> 8);
    m->v[at + 1] = (uint8_t)n;
    m->v[7]++; /* ANCOUNT */
}

/* The test's: fill m; false: no answer. */
static bool zone_answer(struct dns_server *s, const uint8_t *p, const struct dns_question *q, struct dns_message *m);

static inline bool server_answer(struct dns_server *s, const uint8_t *p, size_t n, bool tcp, struct dns_message *m)
{
    struct dns_question q = {.tcp = tcp};
    if (!read_question(p, n, &q))
        return false;
    if (s->n_seen < 512)
        snprintf(s->seen[s->n_seen++], sizeof s->seen[0], "%s %s%s", q.type == TYPE_A ? "A" : "AAAA", q.name, tcp ? "/tcp" : "");
    return zone_answer(s, p, &q, m);
}

static inline void serve_udp(struct dns_server *s)
{
    static struct dns_message in, out;
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t n;
    while ((n = recvfrom(s->udp, in.v, sizeof in.v, MSG_DONTWAIT, (struct sockaddr *)&from, &len)) > 0) {
        if (s->n_ports < 512)
            s->ports[s->n_ports++] = from.sin_port;
        if (server_answer(s, in.v, (size_t)n, false, &out))
            (void)!sendto(s->udp, out.v, out.n, 0, (struct sockaddr *)&from, len);
    }
}

/* One connection at a time; the answer goes out in pieces of 100 bytes, one each turn. */
static inline void serve_tcp(struct dns_server *s)
{
    static struct dns_message answer;
    if (s->tcp < 0)
        s->tcp = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (s->tcp < 0)
        return;
    ssize_t n = recv(s->tcp, s->in.v + s->in.n, sizeof s->in.v - s->in.n, MSG_DONTWAIT);
    if (n == 0) {
        close(s->tcp);
        s->tcp = -1;
        s->in.n = s->out.n = s->out_done = 0;
        return;
    }
    if (n > 0)
        s->in.n += (size_t)n;
    size_t want = s->in.n >= 2 ? (size_t)s->in.v[0] << 8 | s->in.v[1] : 65536;
    if (s->in.n >= want + 2) {
        if (server_answer(s, s->in.v + 2, want, true, &answer)) {
            put16(&s->out, (unsigned)answer.n);
            memcpy(s->out.v + s->out.n, answer.v, answer.n);
            s->out.n += answer.n;
        }
        memmove(s->in.v, s->in.v + want + 2, s->in.n - want - 2);
        s->in.n -= want + 2;
    }
    size_t left = s->out.n - s->out_done;
    if (left && (n = send(s->tcp, s->out.v + s->out_done, left < 100 ? left : 100, MSG_NOSIGNAL)) > 0)
        s->out_done += (size_t)n;
}

static inline bool server_open(struct dns_server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    memset(s, 0, sizeof *s);
    s->tcp = -1;
    s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(s->udp, (struct sockaddr *)&a, sizeof a) || getsockname(s->udp, (struct sockaddr *)&a, &len))
        return false;
    s->port = ntohs(a.sin_port);
    return !bind(s->listener, (struct sockaddr *)&a, sizeof a) && !listen(s->listener, 16);
}

static inline void server_close(struct dns_server *s)
{
    close(s->udp);
    close(s->listener);
    if (s->tcp >= 0)
        close(s->tcp);
}
