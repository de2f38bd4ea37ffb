#include "wire.h"
#include "base/assert.h"

static struct wire *of(struct stream *s)
{
    return (struct wire *)s;
}

/* With stutter: whether this call has to wait for another turn. */
static bool hesitates(struct wire *w, bool *beat)
{
    if (!w->stutter)
        return false;
    *beat = !*beat;
    if (*beat)
        wire_poke(w);
    return *beat;
}

static enum err wire_read(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    struct wire *w = of(s);
    size_t n = w->in_n - w->in_at;

    ASSERT(!w->closed && cap);
    if (hesitates(w, &w->read_beat_))
        return ERR_AGAIN;
    if (!n)
        return w->in_end;
    if (n > cap)
        n = cap;
    if (w->read_max && n > w->read_max)
        n = w->read_max;
    if (w->stutter)
        n = 1;
    memcpy(p, w->in + w->in_at, n);
    w->in_at += n;
    w->reads++;
    *ret_n = n;
    return ERR_OK;
}

static enum err wire_writev(struct stream *s, const struct iovec *iov, int n, size_t *ret_n)
{
    struct wire *w = of(s);
    size_t max = w->stutter ? 1 : w->write_max ? w->write_max : SIZE_MAX, done = 0;

    ASSERT(!w->closed && n > 0 && n <= 8);
    if (w->write_err)
        return w->write_err;
    if (!w->room || hesitates(w, &w->write_beat_))
        return ERR_AGAIN;
    for (int i = 0; i < n; i++) {
        ASSERT(iov[i].iov_len);
        size_t k = iov[i].iov_len;
        if (k > max - done)
            k = max - done;
        if (k > w->room)
            k = w->room;
        ASSERT(w->out_n + k <= sizeof(w->out));
        memcpy(w->out + w->out_n, iov[i].iov_base, k);
        w->out_n += k, done += k, w->room -= k;
    }
    w->writes++;
    *ret_n = done;
    return ERR_OK;
}

static enum err wire_unread(struct stream *s, struct str bytes)
{
    struct wire *w = of(s);

    if (w->unread_err)
        return w->unread_err;
    ASSERT(w->in_at >= bytes.n);
    w->in_at -= bytes.n;
    ASSERT(memcmp(w->in + w->in_at, bytes.p, bytes.n) == 0);
    return ERR_OK;
}

static enum err wire_shutdown(struct stream *s)
{
    of(s)->shut = true;
    return ERR_OK;
}

static void wire_close(struct stream *s, bool reset)
{
    struct wire *w = of(s);

    ASSERT(!w->closed);
    w->closed = true, w->reset = reset;
    s->on_ready = NULL;
    task_cancel(&w->ready);
}

static void wire_again(struct stream *s)
{
    wire_poke(of(s));
}

static bool wire_fin(const struct stream *s)
{
    return ((const struct wire *)s)->in_end != ERR_AGAIN;
}

static void wire_secret(struct stream *s, bool on)
{
    of(s)->secret = on;
}

static const struct stream_ops wire_ops = {
    .read = wire_read,
    .writev = wire_writev,
    .unread = wire_unread,
    .shutdown = wire_shutdown,
    .close = wire_close,
    .again = wire_again,
    .fin = wire_fin,
    .secret = wire_secret,
};

static void on_task(struct task *t)
{
    struct wire *w = CONTAINER_OF(t, struct wire, ready);

    if (w->base.on_ready)
        w->base.on_ready(w->base.owner, &w->base);
}

void wire_init(struct wire *w, struct loop *loop)
{
    w->base = (struct stream){.ops = &wire_ops, .loop = loop};
    task_init(&w->ready, on_task);
    w->in_n = w->in_at = w->out_n = w->read_max = w->write_max = 0;
    w->room = SIZE_MAX;
    w->in_end = ERR_AGAIN;
    w->write_err = w->unread_err = ERR_OK;
    w->stutter = w->shut = w->closed = w->reset = w->read_beat_ = w->write_beat_ = false;
    w->reads = w->writes = 0;
}

void wire_give(struct wire *w, const void *p, size_t n)
{
    ASSERT(w->in_n + n <= sizeof(w->in));
    if (n)
        memcpy(w->in + w->in_n, p, n);
    w->in_n += n;
    wire_poke(w);
}

void wire_end(struct wire *w, enum err e)
{
    w->in_end = e;
    wire_poke(w);
}

void wire_poke(struct wire *w)
{
    if (!w->closed)
        task_run_soon(w->base.loop, &w->ready);
}

struct str wire_out(const struct wire *w)
{
    return str_of(w->out, w->out_n);
}
