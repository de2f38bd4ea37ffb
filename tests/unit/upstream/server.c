#include "server.h"
#include "base/assert.h"
#include "net/sockaddr.h"
#include "net/stream_mem.h"
#include "net/stream_tcp.h"

enum { SERVER_MAX = 4 << 20 };

void server_open(struct server *v, struct loop *loop)
{
    struct address lo;
    int os = 0;
    *v = (struct server){.loop = loop, .fd = -1};
    ASSERT(address_parse(STR("127.0.0.1"), &lo));
    struct sock_addr at = sockaddr_from_address(&lo, 0);
    struct sock_listen_options o = {.backlog = 16};
    ASSERT(sock_listen(&at, &o, &v->fd, &os) == ERR_OK);
    ASSERT(sock_local(v->fd, &at) == ERR_OK);
    ASSERT(sockaddr_to_address(&at, &lo, &v->port));
    buf_init(&v->in, SERVER_MAX);
    buf_init(&v->out, SERVER_MAX);
    buf_init(&v->seen, SERVER_MAX);
}

static void drop(struct server *v)
{
    if (v->has_inner)
        peer_close(&v->inner_peer);
    if (v->has_outer)
        peer_close(&v->outer_peer);
    if (!v->has_outer && !(v->has_inner && !v->near))
        stream_close(v->s, false);
    stream_close(v->near, false);
    v->s = v->near = v->far = NULL;
    v->has_inner = v->has_outer = false;
}

static void accept_one(struct server *v)
{
    struct sock_addr peer;
    int fd = -1, os = 0;
    if (sock_accept(v->fd, &peer, &fd, &os))
        return;
    drop(v);
    v->accepted++;
    v->step = 0;
    v->over = false;
    buf_reset(&v->in), buf_reset(&v->out), buf_reset(&v->seen);
    ASSERT(stream_tcp_new(v->loop, fd, &v->s) == ERR_OK);
    if (v->outer) {
        peer_open(&v->outer_peer, v->s, v->outer);
        v->has_outer = true;
    }
}

static void take(struct server *v, const char *p, size_t n)
{
    buf_add(&v->in, p, n);
    buf_add(&v->seen, p, n);
}

static void receive(struct server *v)
{
    if (v->has_outer) {
        peer_pump(&v->outer_peer);
        take(v, v->outer_peer.got.p, v->outer_peer.got.n);
        buf_reset(&v->outer_peer.got);
        return;
    }
    char b[4096];
    size_t n = 0;
    while (!v->has_inner && !stream_read(v->s, b, sizeof(b), &n))
        take(v, b, n);
}

static void transmit(struct server *v)
{
    size_t n = v->out.n, k = 0;
    if (v->dribble && n > 1)
        n = 1;
    if (!n)
        return;
    if (v->has_outer) {
        peer_send(&v->outer_peer, str_of(v->out.p, n));
        k = n;
    } else {
        struct iovec one = {v->out.p, n};
        if (stream_writev(v->s, &one, 1, &k))
            return;
    }
    buf_drop(&v->out, k);
}

static bool step_met(const struct server *v, const struct server_step *st)
{
    if (!st->until)
        return v->in.n >= st->n;
    return str_ends(buf_str(&v->in), str_from(st->until));
}

/* The inner TLS over the outer one: bytes go through a pair of memory streams. */
static void bridge(struct server *v)
{
    char b[4096];
    size_t n = 0;
    while (v->in.n) {
        struct iovec one = {v->in.p, v->in.n};
        if (stream_writev(v->near, &one, 1, &n))
            break;
        buf_drop(&v->in, n);
    }
    peer_pump(&v->inner_peer);
    while (!stream_read(v->near, b, sizeof(b), &n))
        peer_send(&v->outer_peer, str_of(b, n));
}

static void begin_then(struct server *v)
{
    v->over = true;
    if (v->then == THEN_CLOSE) {
        drop(v);
    } else if (v->then == THEN_TLS) {
        struct stream *under = v->s;
        if (v->has_outer) {
            ASSERT(stream_mem_pair(v->loop, 65536, &v->near, &v->far) == ERR_OK);
            under = v->far;
        }
        ASSERT(v->has_outer || !v->in.n);
        peer_open(&v->inner_peer, under, v->inner);
        v->inner_peer.echo = true;
        v->has_inner = true;
    }
}

void server_turn(struct server *v)
{
    if (v->fd >= 0)
        accept_one(v);
    if (!v->s)
        return;
    receive(v);
    while (v->step < v->n_steps && !v->out.n && step_met(v, &v->steps[v->step])) {
        const struct server_step *st = &v->steps[v->step++];
        buf_drop(&v->in, st->until ? v->in.n : st->n);
        buf_add_str(&v->out, st->reply);
    }
    if (v->over && v->then == THEN_ECHO && v->in.n) {
        buf_add(&v->out, v->in.p, v->in.n);
        buf_reset(&v->in);
    }
    transmit(v);
    if (!v->over && v->step == v->n_steps && !v->out.n)
        begin_then(v);
    if (v->has_inner && v->near)
        bridge(v);
    else if (v->has_inner)
        peer_pump(&v->inner_peer);
}

void server_close(struct server *v)
{
    drop(v);
    if (v->fd >= 0)
        sock_close(v->fd);
    v->fd = -1;
    buf_fini(&v->in), buf_fini(&v->out), buf_fini(&v->seen);
}
