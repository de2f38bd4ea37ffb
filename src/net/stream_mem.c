#include "net/stream_mem.h"
#include "base/assert.h"
#include "base/mem.h"
#include "net/front.h"

/* One direction: a bounded queue, gone when both ends are. */
struct way {
    size_t cap, start, n;
    bool ended, reset; /* by the writer: after the bytes, instead of them */
    bool refused;      /* the reader is closed */
    bool wanted;       /* the writer met a full queue */
    unsigned users;
    char bytes[];
};

struct stream_mem {
    struct stream base;
    struct way *in, *out;
    struct stream_mem *other; /* NULL when it is closed */
    struct front *front;
    struct task ready, freeing;
};

static struct stream_mem *mem_from(struct stream *s)
{
    return CONTAINER_OF(s, struct stream_mem, base);
}

static void on_ready_task(struct task *task)
{
    struct stream *s = &CONTAINER_OF(task, struct stream_mem, ready)->base;
    if (s->on_ready)
        s->on_ready(s->owner, s);
}

static void tell(struct stream_mem *m)
{
    if (m)
        task_run_soon(m->base.loop, &m->ready);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t way_take(struct way *w, char *p, size_t cap)
{
    size_t n = smaller(cap, w->n), first = smaller(n, w->cap - w->start);
    memcpy(p, w->bytes + w->start, first);
    memcpy(p + first, w->bytes, n - first);
    w->start = (w->start + n) % w->cap;
    w->n -= n;
    return n;
}

static size_t way_put(struct way *w, const char *p, size_t len)
{
    size_t n = smaller(len, w->cap - w->n), at = (w->start + w->n) % w->cap;
    size_t first = smaller(n, w->cap - at);
    memcpy(w->bytes + at, p, first);
    memcpy(w->bytes, p + first, n - first);
    w->n += n;
    return n;
}

static enum err memory_read(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    struct stream_mem *m = mem_from(s);
    if (m->front) {
        *ret_n = front_take(&m->front, p, cap);
        return ERR_OK;
    }
    if (m->in->reset)
        return ERR_RESET;
    if (m->in->n == 0)
        return m->in->ended ? ERR_EOF : ERR_AGAIN;
    *ret_n = way_take(m->in, p, cap);
    if (m->in->wanted) {
        m->in->wanted = false;
        tell(m->other);
    }
    return ERR_OK;
}

static enum err memory_writev(struct stream *s, const struct iovec *iov, int n, size_t *ret_n)
{
    struct stream_mem *m = mem_from(s);
    struct way *w = m->out;
    size_t sum = 0, asked = 0;
    if (w->refused || w->ended || m->in->reset)
        return ERR_RESET;
    for (int i = 0; i < n; i++) {
        sum += way_put(w, iov[i].iov_base, iov[i].iov_len);
        asked += iov[i].iov_len;
    }
    if (sum == 0 && asked > 0) {
        w->wanted = true;
        return ERR_AGAIN;
    }
    tell(m->other);
    *ret_n = sum;
    return ERR_OK;
}

static enum err memory_unread(struct stream *s, struct str bytes)
{
    struct stream_mem *m = mem_from(s);
    enum err e = front_put(&m->front, bytes);
    if (!e)
        tell(m);
    return e;
}

static enum err memory_shutdown(struct stream *s)
{
    struct stream_mem *m = mem_from(s);
    if (!m->out->ended) {
        m->out->ended = true;
        tell(m->other);
    }
    return ERR_OK;
}

static void way_unref(struct way *w)
{
    if (--w->users == 0)
        mem_free(w);
}

static void memory_free(struct task *task)
{
    mem_free(CONTAINER_OF(task, struct stream_mem, freeing));
}

static void memory_close(struct stream *s, bool reset)
{
    struct stream_mem *m = mem_from(s);
    if (!m->in)
        return;
    s->on_ready = NULL;
    m->out->ended = true;
    m->out->reset |= reset || m->in->n > 0; /* as TCP does when bytes were left unread */
    m->in->refused = true;
    tell(m->other);
    if (m->other)
        m->other->other = NULL;
    way_unref(m->in);
    way_unref(m->out);
    m->in = m->out = NULL;
    front_free(&m->front);
    task_cancel(&m->ready);
    loop_close_later(s->loop, &m->freeing);
}

static void memory_again(struct stream *s)
{
    tell(mem_from(s));
}

static bool memory_fin(const struct stream *s)
{
    const struct stream_mem *m = (const struct stream_mem *)(const void *)s;
    return m->in->ended || m->in->reset;
}

static const struct stream_ops memory_ops = {
    .read = memory_read,
    .writev = memory_writev,
    .unread = memory_unread,
    .shutdown = memory_shutdown,
    .close = memory_close,
    .again = memory_again,
    .fin = memory_fin,
};

static struct way *way_new(size_t cap)
{
    struct way *w = mem_zalloc(sizeof(*w) + cap);
    if (w) {
        w->cap = cap;
        w->users = 2;
    }
    return w;
}

static struct stream_mem *end_new(struct loop *loop)
{
    struct stream_mem *m = mem_zalloc(sizeof(*m));
    if (m) {
        m->base.ops = &memory_ops;
        m->base.loop = loop;
        task_init(&m->ready, on_ready_task);
        task_init(&m->freeing, memory_free);
    }
    return m;
}

enum err stream_mem_pair(struct loop *loop, size_t cap, struct stream **ret_a,
                         struct stream **ret_b)
{
    ASSERT(cap > 0);
    struct stream_mem *a = end_new(loop), *b = end_new(loop);
    struct way *to_b = way_new(cap), *to_a = way_new(cap);
    if (!a || !b || !to_a || !to_b) {
        mem_free(a);
        mem_free(b);
        mem_free(to_a);
        mem_free(to_b);
        return ERR_NOMEM;
    }
    a->in = b->out = to_a;
    a->out = b->in = to_b;
    a->other = b;
    b->other = a;
    *ret_a = &a->base;
    *ret_b = &b->base;
    return ERR_OK;
}
