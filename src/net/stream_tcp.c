#include "net/stream_tcp.h"
#include "base/mem.h"
#include "net/front.h"

struct stream_tcp {
    struct stream base;
    struct watch watch;
    struct front *front;
    struct task freeing;
    bool cut; /* a reset was met, which the kernel tells only once: the end is no clean one */
};

static atomic_size_t open_count;

static struct stream_tcp *tcp_from(struct stream *s)
{
    return CONTAINER_OF(s, struct stream_tcp, base);
}

static const struct stream_tcp *tcp_from_const(const struct stream *s)
{
    return (const struct stream_tcp *)(const void *)s;
}

static void on_watch(struct watch *w)
{
    struct stream *s = &CONTAINER_OF(w, struct stream_tcp, watch)->base;
    if (s->on_ready)
        s->on_ready(s->owner, s);
}

/* What the owner is told of a read that gave nothing. */
static enum err tcp_end(struct stream_tcp *t, enum err e)
{
    if (e == ERR_RESET)
        t->cut = true;
    return e == ERR_EOF && t->cut ? ERR_RESET : e;
}

static enum err tcp_read(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    struct stream_tcp *t = tcp_from(s);
    if (t->front) {
        *ret_n = front_take(&t->front, p, cap);
        return ERR_OK;
    }
    if (!(t->watch.bits & WATCH_READABLE))
        return ERR_AGAIN;
    size_t n;
    enum err e = sock_read(t->watch.fd, p, cap, &n);
    if (e) {
        if (e == ERR_AGAIN)
            t->watch.bits &= (uint8_t)~WATCH_READABLE;
        return tcp_end(t, e);
    }
    if (n < cap && !(t->watch.bits & WATCH_FIN))
        t->watch.bits &= (uint8_t)~WATCH_READABLE;
    *ret_n = n;
    return ERR_OK;
}

/* Shared by both ways of writing. */
static enum err tcp_wrote(struct stream_tcp *t, enum err e)
{
    if (e == ERR_AGAIN)
        t->watch.bits &= (uint8_t)~WATCH_WRITABLE;
    if (e == ERR_RESET)
        t->cut = true;
    return e == ERR_EOF ? ERR_RESET : e;
}

static enum err tcp_writev(struct stream *s, const struct iovec *iov, int n, size_t *ret_n)
{
    struct stream_tcp *t = tcp_from(s);
    if (!(t->watch.bits & WATCH_WRITABLE))
        return ERR_AGAIN;
    return tcp_wrote(t, sock_writev(t->watch.fd, iov, n, ret_n));
}

static enum err tcp_unread(struct stream *s, struct str bytes)
{
    struct stream_tcp *t = tcp_from(s);
    enum err e = front_put(&t->front, bytes);
    if (!e)
        watch_again(&t->watch);
    return e;
}

static enum err tcp_shutdown(struct stream *s)
{
    sock_shutdown_write(tcp_from(s)->watch.fd);
    return ERR_OK;
}

static void tcp_free(struct task *task)
{
    mem_free(CONTAINER_OF(task, struct stream_tcp, freeing));
}

static void tcp_close(struct stream *s, bool reset)
{
    struct stream_tcp *t = tcp_from(s);
    int fd = t->watch.fd;
    if (fd < 0)
        return;
    s->on_ready = NULL;
    watch_close(&t->watch);
    if (reset)
        sock_reset(fd);
    sock_close(fd);
    front_free(&t->front);
    atomic_fetch_sub_explicit(&open_count, 1, memory_order_relaxed);
    loop_close_later(s->loop, &t->freeing);
}

static void tcp_again(struct stream *s)
{
    watch_again(&tcp_from(s)->watch);
}

static bool tcp_fin(const struct stream *s)
{
    return (tcp_from_const(s)->watch.bits & (WATCH_FIN | WATCH_ERROR)) != 0;
}

static bool tcp_dry(const struct stream *s)
{
    const struct stream_tcp *t = tcp_from_const(s);
    return !t->front && !(t->watch.bits & WATCH_READABLE);
}

static enum err tcp_splice_in(struct stream *s, int pipe_w, size_t max, size_t *ret_n)
{
    struct stream_tcp *t = tcp_from(s);
    if (t->front)
        return ERR_UNSUPPORTED; /* read that first */
    if (!(t->watch.bits & WATCH_READABLE))
        return ERR_AGAIN;
    enum err e = splice_in(t->watch.fd, pipe_w, max, ret_n);
    if (e == ERR_AGAIN) /* a short splice may also mean that the pipe has no slot left */
        t->watch.bits &= (uint8_t)~WATCH_READABLE;
    return tcp_end(t, e);
}

static enum err tcp_splice_out(struct stream *s, int pipe_r, size_t max, size_t *ret_n)
{
    struct stream_tcp *t = tcp_from(s);
    if (!(t->watch.bits & WATCH_WRITABLE))
        return ERR_AGAIN;
    return tcp_wrote(t, splice_out(pipe_r, t->watch.fd, max, ret_n));
}

static const struct stream_ops tcp_ops = {
    .read = tcp_read,
    .writev = tcp_writev,
    .unread = tcp_unread,
    .shutdown = tcp_shutdown,
    .close = tcp_close,
    .again = tcp_again,
    .fin = tcp_fin,
    .dry = tcp_dry,
    .splice_in = tcp_splice_in,
    .splice_out = tcp_splice_out,
};

enum err stream_tcp_new(struct loop *loop, int fd, struct stream **ret_stream)
{
    struct stream_tcp *t = mem_zalloc(sizeof(*t));
    enum err e = t ? watch_open(loop, &t->watch, fd, WATCH_EDGE, on_watch) : ERR_NOMEM;
    if (e) {
        mem_free(t);
        sock_close(fd);
        return e;
    }
    t->base.ops = &tcp_ops;
    t->base.loop = loop;
    t->watch.bits = WATCH_WRITABLE; /* nearly always true, and if not the first write says so */
    task_init(&t->freeing, tcp_free);
    atomic_fetch_add_explicit(&open_count, 1, memory_order_relaxed);
    *ret_stream = &t->base;
    return ERR_OK;
}

int stream_tcp_fd(const struct stream *s)
{
    return s->ops == &tcp_ops ? tcp_from_const(s)->watch.fd : -1;
}

size_t stream_tcp_open_count(void)
{
    return atomic_load_explicit(&open_count, memory_order_relaxed);
}

_Static_assert(sizeof(struct stream_tcp) <= 120, "two per tunnel, 9000 tunnels");
