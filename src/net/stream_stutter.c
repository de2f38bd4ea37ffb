#include "base/mem.h"
#include "net/stream_mem.h"

struct stream_stutter {
    struct stream base;
    struct stream *under; /* NULL when closed */
    struct task ready, freeing;
    unsigned reads, writes;
};

static struct stream_stutter *stutter_from(struct stream *s)
{
    return CONTAINER_OF(s, struct stream_stutter, base);
}

static void stutter_ready(struct stream_stutter *t)
{
    if (t->base.on_ready)
        t->base.on_ready(t->base.owner, &t->base);
}

static void on_under_ready(void *owner, struct stream *under)
{
    (void)under;
    stutter_ready(owner);
}

static void on_ready_task(struct task *task)
{
    stutter_ready(CONTAINER_OF(task, struct stream_stutter, ready));
}

static bool says_again(struct stream_stutter *t, unsigned *calls)
{
    if ((*calls)++ % 2 == 0)
        return false;
    task_run_soon(t->base.loop, &t->ready);
    return true;
}

static enum err stutter_read(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    struct stream_stutter *t = stutter_from(s);
    if (says_again(t, &t->reads))
        return ERR_AGAIN;
    return stream_read(t->under, p, cap ? 1 : 0, ret_n);
}

static enum err stutter_writev(struct stream *s, const struct iovec *iov, int n, size_t *ret_n)
{
    struct stream_stutter *t = stutter_from(s);
    if (says_again(t, &t->writes))
        return ERR_AGAIN;
    while (n > 1 && iov->iov_len == 0)
        iov++, n--;
    struct iovec one = {iov->iov_base, iov->iov_len ? 1 : 0};
    return stream_writev(t->under, &one, 1, ret_n);
}

static enum err stutter_unread(struct stream *s, struct str bytes)
{
    return stream_unread(stutter_from(s)->under, bytes);
}

static enum err stutter_shutdown(struct stream *s)
{
    struct stream_stutter *t = stutter_from(s);
    if (says_again(t, &t->writes))
        return ERR_AGAIN;
    return stream_shutdown(t->under);
}

static void stutter_free(struct task *task)
{
    mem_free(CONTAINER_OF(task, struct stream_stutter, freeing));
}

static void stutter_close(struct stream *s, bool reset)
{
    struct stream_stutter *t = stutter_from(s);
    if (!t->under)
        return;
    s->on_ready = NULL;
    stream_close(t->under, reset);
    t->under = NULL;
    task_cancel(&t->ready);
    loop_close_later(s->loop, &t->freeing);
}

static void stutter_again(struct stream *s)
{
    struct stream_stutter *t = stutter_from(s);
    task_run_soon(s->loop, &t->ready);
}

static bool stutter_fin(const struct stream *s)
{
    return stream_fin(((const struct stream_stutter *)(const void *)s)->under);
}

static const struct stream_ops stutter_ops = {
    .read = stutter_read,
    .writev = stutter_writev,
    .unread = stutter_unread,
    .shutdown = stutter_shutdown,
    .close = stutter_close,
    .again = stutter_again,
    .fin = stutter_fin,
};

enum err stream_stutter_new(struct stream *under, struct stream **ret_stream)
{
    struct stream_stutter *t = mem_zalloc(sizeof(*t));
    if (!t)
        return ERR_NOMEM;
    t->base.ops = &stutter_ops;
    t->base.loop = under->loop;
    t->under = under;
    task_init(&t->ready, on_ready_task);
    task_init(&t->freeing, stutter_free);
    stream_own(under, on_under_ready, t);
    *ret_stream = &t->base;
    return ERR_OK;
}
