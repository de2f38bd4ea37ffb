#include "net/pump.h"
#include "base/assert.h"
#include "base/mem.h"
#include "net/pipe_pool.h"
#include "net/stream_tcp.h"
#include "sys/sock.h"

/* After as long without a byte the kernel is told to ask whether both are still there. */
enum { KEEPALIVE_AFTER_MS = 60000 };

/* One direction. At most one of chunk and pipe holds bytes, and only while its sink takes no more.
 */
enum way_state {
    WAY_OPEN,
    WAY_ENDING, /* the source ended and all is delivered: the sink has to be told */
    WAY_ENDED,
    WAY_DEAD, /* the sink takes no more; nothing is read any longer */
};
struct way {
    uint64_t delivered;
    struct chunk *chunk;
    struct pipe_pair pipe;
    uint32_t in_pipe;
    uint8_t state; /* enum way_state */
    bool blocked;  /* the sink said ERR_AGAIN */
    bool no_splice;
};

/* Side 0 is a, side 1 is b; way i goes from side i to the other. */
struct pump {
    const struct pump_env *env;
    pump_done_fn *done;
    void *owner;
    uint64_t idle_ms;
    struct stream *side[2]; /* NULL: closed */
    struct way way[2];
    struct timer idle;
    struct task freeing;
    bool over, lingering;
    bool kept; /* the kernel looks after silent peers */
};
_Static_assert(sizeof(struct pump) <= 200, "one per tunnel");

static void way_drop(struct pump *p, struct way *w)
{
    if (w->chunk)
        chunk_release(p->env->chunks, w->chunk);
    if (w->pipe.r >= 0)
        pipe_pool_give(p->env->pipes, w->pipe, w->in_pipe == 0);
    w->chunk = NULL;
    w->pipe = (struct pipe_pair){-1, -1};
    w->in_pipe = 0;
}

static void close_side(struct pump *p, unsigned side, bool reset)
{
    stream_close(p->side[side], reset);
    p->side[side] = NULL;
}

/* A side whose peer ended in order, and whose end we passed on, is closed in order too: bytes on
 * their way to the other peer are not thrown away by a reset. */
static void release(struct pump *p, bool reset_a, bool reset_b)
{
    timer_stop(p->env->loop, &p->idle);
    way_drop(p, &p->way[0]);
    way_drop(p, &p->way[1]);
    close_side(p, 0, reset_a);
    close_side(p, 1, reset_b);
}

static void finish(struct pump *p, enum pump_end why)
{
    bool cut = why != PUMP_BOTH_ENDED;
    p->over = true;
    release(p, cut && p->way[1].state != WAY_ENDED, cut && p->way[0].state != WAY_ENDED);
    p->done(p->owner, why); /* may free p */
}

static enum pump_end failed(unsigned side)
{
    return side == 0 ? PUMP_A_FAILED : PUMP_B_FAILED;
}

/* --- one step of a way: each returns ERR_OK to go on, ERR_AGAIN to wait, else finish was called
 * --- */

static enum err end_with(struct pump *p, enum pump_end why)
{
    finish(p, why);
    return ERR_CANCELLED;
}

static bool way_over(const struct way *w)
{
    return w->state == WAY_ENDED || w->state == WAY_DEAD;
}

/* The sink of way i refuses bytes. What its peer sent before may be whole and is still delivered;
 * if that has happened already, the source gets a moment to take it before it is closed. */
static enum err sink_failed(struct pump *p, unsigned i)
{
    struct way *w = &p->way[i], *back = &p->way[1 - i];
    way_drop(p, w);
    w->state = WAY_DEAD;
    if (back->state == WAY_DEAD)
        return end_with(p, failed(1 - i));
    if (back->state == WAY_ENDED && !p->lingering) {
        p->lingering = true;
        timer_stop(p->env->loop, &p->idle);
        timer_set(p->env->loop, &p->idle, LIMIT_TIMEOUT_LINGER);
    }
    return ERR_AGAIN;
}

static enum err after_write(struct pump *p, unsigned i, enum err e, size_t n)
{
    if (e == ERR_OK) {
        p->way[i].delivered += n;
        return ERR_OK;
    }
    if (e != ERR_AGAIN)
        return sink_failed(p, i);
    p->way[i].blocked = true;
    return ERR_AGAIN;
}

static enum err flush_chunk(struct pump *p, unsigned i)
{
    struct way *w = &p->way[i];
    struct chunk *c = w->chunk;
    while (c->start < c->end) {
        struct iovec iov = {c->data + c->start, c->end - c->start};
        size_t n = 0;
        enum err e = stream_writev(p->side[1 - i], &iov, 1, &n);
        e = after_write(p, i, e, n);
        if (e)
            return e;
        c->start += (uint32_t)n;
    }
    way_drop(p, w);
    return ERR_OK;
}

static enum err flush_pipe(struct pump *p, unsigned i)
{
    struct way *w = &p->way[i];
    struct stream *sink = p->side[1 - i];
    while (w->in_pipe > 0) {
        size_t n = 0;
        enum err e = sink->ops->splice_out(sink, w->pipe.r, w->in_pipe, &n);
        e = after_write(p, i, e, n);
        if (e)
            return e;
        w->in_pipe -= (uint32_t)n;
    }
    way_drop(p, w);
    return ERR_OK;
}

static enum err flush(struct pump *p, unsigned i)
{
    struct way *w = &p->way[i];
    w->blocked = false;
    if (w->chunk)
        return flush_chunk(p, i);
    return w->in_pipe > 0 ? flush_pipe(p, i) : ERR_OK;
}

/* Tell the sink that the source has ended. With both ways over, closing a socket tells as much. */
static enum err pass_end(struct pump *p, unsigned i)
{
    struct way *w = &p->way[i], *back = &p->way[1 - i];
    struct stream *sink = p->side[1 - i];
    bool needless = back->state == WAY_ENDED && stream_tcp_fd(sink) >= 0;
    enum err e = needless ? ERR_OK : stream_shutdown(sink);
    if (e == ERR_AGAIN) {
        w->blocked = true;
        return ERR_AGAIN;
    }
    if (e)
        return sink_failed(p, i);
    w->state = WAY_ENDED;
    if (back->state == WAY_ENDED)
        return end_with(p, PUMP_BOTH_ENDED);
    if (back->state == WAY_DEAD) /* side i took no more, but all that it sent has arrived */
        return sink_failed(p, 1 - i);
    return ERR_AGAIN;
}

/* What the source said when it gave no bytes. */
static enum err after_read(struct pump *p, unsigned i, enum err e)
{
    if (e == ERR_AGAIN)
        return ERR_AGAIN;
    if (e == ERR_NOMEM)
        return end_with(p, PUMP_NOMEM);
    if (e != ERR_EOF)
        return end_with(p, failed(i));
    p->way[i].state = WAY_ENDING;
    return pass_end(p, i);
}

static enum err keep(struct pump *p, unsigned i, const char *rest, size_t n)
{
    struct chunk *c = chunk_take(p->env->chunks);
    if (!c)
        return end_with(p, PUMP_NOMEM);
    memcpy(c->data, rest, n);
    c->end = (uint32_t)n;
    p->way[i].chunk = c;
    return ERR_AGAIN;
}

static enum err copy(struct pump *p, unsigned i, size_t *ret_n)
{
    char *buf = p->env->scratch;
    size_t cap =
        p->env->scratch_size < LIMIT_CHUNK_BYTES ? p->env->scratch_size : LIMIT_CHUNK_BYTES;
    size_t got;
    enum err e = stream_read(p->side[i], buf, cap, &got);
    if (e)
        return after_read(p, i, e);
    *ret_n = got;
    size_t sent = 0;
    while (sent < got) {
        struct iovec iov = {buf + sent, got - sent};
        size_t n = 0;
        e = stream_writev(p->side[1 - i], &iov, 1, &n);
        e = after_write(p, i, e, n);
        if (e == ERR_AGAIN && p->way[i].state == WAY_OPEN)
            return keep(p, i, buf + sent, got - sent);
        if (e)
            return e;
        sent += n;
    }
    return ERR_OK;
}

static bool may_splice(const struct pump *p, unsigned i)
{
    const struct way *w = &p->way[i];
    return w->delivered >= LIMIT_SPLICE_AFTER && !w->no_splice && p->side[i]->ops->splice_in &&
           p->side[1 - i]->ops->splice_out;
}

/* ERR_UNSUPPORTED: copy instead. */
static enum err splice_step(struct pump *p, unsigned i, size_t max, size_t *ret_n)
{
    struct way *w = &p->way[i];
    struct stream *source = p->side[i];
    struct pipe_pair pipe = pipe_pool_take(p->env->pipes);
    if (pipe.r < 0)
        return ERR_UNSUPPORTED;
    w->pipe = pipe;
    size_t n;
    enum err e = source->ops->splice_in(source, pipe.w, max, &n);
    if (e) {
        way_drop(p, w);
        w->no_splice = e == ERR_UNSUPPORTED;
        return e == ERR_UNSUPPORTED ? e : after_read(p, i, e);
    }
    *ret_n = n;
    w->in_pipe = (uint32_t)n;
    return flush_pipe(p, i);
}

static enum err move(struct pump *p, unsigned i, size_t max, size_t *ret_n)
{
    if (may_splice(p, i)) {
        enum err e = splice_step(p, i, max, ret_n);
        if (e != ERR_UNSUPPORTED)
            return e;
    }
    return copy(p, i, ret_n);
}

/* False when finish was called: p may be gone. */
static bool run_way(struct pump *p, unsigned i)
{
    struct way *w = &p->way[i];
    if (way_over(w))
        return true;
    enum err e = flush(p, i);
    if (e == ERR_OK && w->state == WAY_ENDING)
        e = pass_end(p, i);
    for (size_t moved = 0; e == ERR_OK;) {
        if (moved >= LIMIT_TURN_BYTES) {
            stream_again(p->side[i]); /* others first */
            break;
        }
        size_t n = 0;
        e = move(p, i, LIMIT_TURN_BYTES - moved, &n);
        moved += n;
    }
    return e != ERR_CANCELLED;
}

static uint64_t quiet_ms(const struct pump *p)
{
    return p->env->keepalive_ms ? p->env->keepalive_ms : KEEPALIVE_AFTER_MS;
}

static bool may_keep_alive(const struct pump *p)
{
    return !p->kept && p->idle_ms > quiet_ms(p);
}

/* Until the next look at a tunnel that is silent from now on. */
static void wait_idle(struct pump *p)
{
    timer_set(p->env->loop, &p->idle, may_keep_alive(p) ? quiet_ms(p) : p->idle_ms);
}

static void on_ready(void *owner, struct stream *s)
{
    struct pump *p = owner;
    unsigned i = s == p->side[0] ? 0 : 1;
    uint64_t before = p->way[0].delivered + p->way[1].delivered;
    if (!run_way(p, i))
        return;
    if (p->way[1 - i].blocked && !run_way(p, 1 - i))
        return;
    if (!p->lingering && p->way[0].delivered + p->way[1].delivered != before)
        wait_idle(p);
}

static void keep_alive(struct pump *p)
{
    p->kept = true;
    for (unsigned i = 0; i < 2; i++) {
        int fd = stream_tcp_fd(p->side[i]);
        if (fd >= 0)
            sock_keepalive(fd);
    }
    timer_set(p->env->loop, &p->idle, p->idle_ms - quiet_ms(p));
}

static void on_idle(struct timer *t)
{
    struct pump *p = CONTAINER_OF(t, struct pump, idle);
    if (!p->lingering && may_keep_alive(p))
        keep_alive(p);
    else if (p->lingering)
        finish(p, failed(p->way[0].state == WAY_DEAD ? 1 : 0));
    else
        finish(p, PUMP_IDLE);
}

static void on_free(struct task *t)
{
    mem_free(CONTAINER_OF(t, struct pump, freeing));
}

enum err pump_new(const struct pump_env *env, struct stream *a, struct stream *b, uint64_t idle_ms,
                  pump_done_fn *done, void *owner, struct pump **ret_pump)
{
    struct pump *p = mem_zalloc(sizeof(*p));
    if (!p)
        return ERR_NOMEM;
    p->env = env;
    p->done = done;
    p->owner = owner;
    p->idle_ms = idle_ms;
    p->side[0] = a;
    p->side[1] = b;
    p->way[0].pipe.r = p->way[1].pipe.r = -1;
    task_init(&p->freeing, on_free);
    timer_init(&p->idle, on_idle);
    wait_idle(p);
    stream_own(a, on_ready, p);
    stream_own(b, on_ready, p);
    stream_again(a);
    stream_again(b);
    *ret_pump = p;
    return ERR_OK;
}

struct pump_bytes pump_bytes(const struct pump *p)
{
    return (struct pump_bytes){p->way[0].delivered, p->way[1].delivered};
}

void pump_free(struct pump *p, bool reset)
{
    if (!p)
        return;
    if (!p->over)
        release(p, reset, reset);
    p->over = true;
    loop_close_later(p->env->loop, &p->freeing);
}
