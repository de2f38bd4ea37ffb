#include "http/h1_leg.h"
#include "base/assert.h"
#include "base/mem.h"
#include "http/h1_leg_int.h"

/* One per keep-alive connection, most of them idle. */
_Static_assert(sizeof(struct h1_leg) <= 400, "a leg is small");

/* ---- bytes ---- */

char *h1_bytes_at(const struct h1_bytes *b, uint32_t offset)
{
    return (b->cap == LIMIT_CHUNK_BYTES ? b->mem.chunk->data : b->mem.own) + offset;
}

bool h1_bytes_take(struct h1_leg *l, struct h1_bytes *b)
{
    if (b->cap)
        return true;
    struct chunk *c = chunk_take(l->chunks);
    if (!c)
        return false;
    *b = (struct h1_bytes){.mem.chunk = c, .cap = LIMIT_CHUNK_BYTES};
    return true;
}

bool h1_bytes_grow(struct h1_leg *l, struct h1_bytes *b, uint32_t cap)
{
    ASSERT(cap != LIMIT_CHUNK_BYTES && cap > b->cap);
    char *own = mem_alloc(cap);
    if (!own)
        return false;
    struct h1_bytes old = *b;
    uint32_t n = h1_bytes_len(b);
    if (n)
        memcpy(own, h1_bytes_at(b, b->start), n);
    h1_bytes_release(l, &old);
    *b = (struct h1_bytes){.mem.own = own, .end = n, .cap = cap, .wipe = b->wipe};
    return true;
}

void h1_bytes_release(struct h1_leg *l, struct h1_bytes *b)
{
    if (b->cap == LIMIT_CHUNK_BYTES) {
        b->mem.chunk->sensitive = b->wipe ? b->end : 0; /* end never goes back, and nothing is left behind it */
        chunk_release(l->chunks, b->mem.chunk);
    } else if (b->cap) {
        if (b->wipe)
            mem_wipe(b->mem.own, b->cap);
        mem_free(b->mem.own);
    }
    *b = (struct h1_bytes){0};
}

/* ---- turns ---- */

static void leg_turn(struct h1_leg *l)
{
    if (l->closed)
        return;
    if (!l->leg.events) { /* between two owners: the next message looks */
        l->missed = true;
        return;
    }
    if (l->running) { /* a stream that reports from inside of a call: not now */
        h1_leg_kick(l);
        return;
    }
    l->running = true;
    h1_out_turn(l);
    h1_in_turn(l);
    l->running = false;
}

static void on_stream_ready(void *owner, struct stream *s)
{
    (void)s;
    ((struct h1_leg *)owner)->full = false;
    leg_turn(owner);
}

static void on_task(struct task *t)
{
    leg_turn(CONTAINER_OF(t, struct h1_leg, task));
}

void h1_leg_kick(struct h1_leg *l)
{
    if (!l->closed)
        task_run_soon(l->loop, &l->task);
}

/* ---- life ---- */

static void leg_free(struct task *t)
{
    struct h1_leg *l = CONTAINER_OF(t, struct h1_leg, task);

    h1_bytes_release(l, &l->in);
    h1_bytes_release(l, &l->out);
    mem_free(l);
}

/* Slices that a running event was given point into `in`: memory goes at the end of the turn. */
static void leg_retire(struct h1_leg *l)
{
    l->closed = true;
    l->leg.reusable = false;
    l->s = NULL;
    task_cancel(&l->task);
    task_init(&l->task, leg_free);
    loop_close_later(l->loop, &l->task);
}

static void leg_op_close(struct leg *leg, bool reset)
{
    struct h1_leg *l = h1_leg_of(leg);

    if (l->closed)
        return;
    struct stream *s = l->s;
    leg_retire(l);
    stream_close(s, reset);
}

static void leg_op_resume(struct leg *leg)
{
    struct h1_leg *l = h1_leg_of(leg);

    l->paused = false;
    l->resume_asked = true;
    h1_leg_kick(l);
}

/* Then the next event is the stream's, and a look before it would find nothing. */
static bool nothing_new(const struct h1_leg *l)
{
    return !l->missed && !l->in_end && !l->data_n && !h1_bytes_len(&l->in) && stream_dry(l->s) &&
           !stream_fin(l->s);
}

static void leg_op_next(struct leg *leg)
{
    struct h1_leg *l = h1_leg_of(leg);

    if (l->closed || l->in_state == H1_IN_DEAD)
        return;
    ASSERT(l->in_state == H1_IN_DONE || l->in_state == H1_IN_HEAD || l->in_state == H1_IN_IDLE);
    err_clear(&leg->err);
    leg->bytes_in = leg->bytes_out = 0;
    leg->in_done = leg->out_done = leg->reusable = leg->secret_out = false;
    leg->in_last = leg->out_last = leg->out_soon = false;
    l->interims = 0;
    l->paused = l->skipping = l->expects_100 = l->answered = l->fin_told = l->no_reuse = false;
    l->asked_head = l->asked_connect = false;
    l->out_ended = l->last_queued = false;
    l->out_framing = FRAMING_NONE;
    l->out_left = 0;
    if (!l->client)
        l->in_state = H1_IN_IDLE;
    else if (l->in_state == H1_IN_DONE)
        h1_in_start(l);
    l->epoch++;
    if ((l->client || !l->running) && !nothing_new(l)) /* else this turn ends with a look */
        h1_leg_kick(l);
}

static const struct leg_ops h1_leg_ops = {
    .head = h1_out_head,
    .body = h1_out_body,
    .end = h1_out_end,
    .flush = h1_out_flush,
    .resume = leg_op_resume,
    .next = leg_op_next,
    .close = leg_op_close,
};

static enum err leg_new(const struct h1_env *env, struct stream *s, bool client,
                        struct leg **ret_leg)
{
    struct h1_leg *l = mem_zalloc(sizeof(*l));

    if (!l)
        return ERR_NOMEM;
    l->leg.ops = &h1_leg_ops;
    l->chunks = env->chunks;
    l->scratch = env->field_scratch;
    l->loop = env->loop;
    l->s = s;
    l->client = client;
    task_init(&l->task, on_task);
    if (client)
        h1_in_start(l);
    else
        l->in_state = H1_IN_IDLE;
    stream_own(s, on_stream_ready, l);
    h1_leg_kick(l); /* something may be here already */
    *ret_leg = &l->leg;
    return ERR_OK;
}

enum err h1_leg_new_client(const struct h1_env *env, struct stream *s, struct leg **ret_leg)
{
    return leg_new(env, s, true, ret_leg);
}

enum err h1_leg_new_upstream(const struct h1_env *env, struct stream *s, struct leg **ret_leg)
{
    return leg_new(env, s, false, ret_leg);
}

/* ---- what is special to HTTP/1 ---- */

void h1_leg_judge_reuse(struct h1_leg *l)
{
    bool ended = l->in_end != ERR_OK && (!l->client || !h1_bytes_len(&l->in));

    l->leg.reusable = l->leg.in_done && l->leg.out_done && !l->no_reuse && !ended && !l->out_dead;
}

bool h1_leg_has_rest(const struct leg *leg)
{
    const struct h1_leg *l = (const struct h1_leg *)leg;

    return leg->in_done && h1_bytes_len(&l->in) > 0;
}

bool h1_leg_answered(const struct leg *leg)
{
    return ((const struct h1_leg *)leg)->answered;
}

static bool rest_is_short(const struct h1_leg *l)
{
    if (l->expects_100) /* it may come or not: nobody can tell what the next byte is */
        return false;
    if (l->in_state == H1_IN_LENGTH)
        return l->in_left + l->data_n <= LIMIT_SKIP_BYTES;
    return h1_in_end_is_here(l);
}

enum err h1_leg_skip(struct leg *leg)
{
    struct h1_leg *l = h1_leg_of(leg);

    if (leg->in_done)
        return ERR_OK;
    if (l->in_state < H1_IN_LENGTH || l->in_state > H1_IN_TRAILERS || !rest_is_short(l))
        return ERR_TOO_LARGE;
    l->skipping = true;
    leg_op_resume(leg);
    return ERR_OK;
}

void h1_leg_linger(struct leg *leg)
{
    struct h1_leg *l = h1_leg_of(leg);

    if (l->closed)
        return;
    l->in_state = H1_IN_LINGER;
    l->data_n = 0;
    l->in_err = ERR_OK;
    l->no_reuse = true;
    l->fin_told = false;
    l->shut_wanted = true;
    leg->reusable = false;
    l->epoch++;
    h1_leg_kick(l);
}

enum err h1_leg_detach(struct leg *leg, struct stream **ret_stream)
{
    struct h1_leg *l = h1_leg_of(leg);
    struct stream *s = l->s;
    enum err e = h1_out_pending(l) ? ERR_RESET : ERR_OK;

    ASSERT(!l->closed);
    stream_own(s, NULL, NULL);
    if (!e && h1_bytes_len(&l->in))
        e = stream_unread(s, str_of(h1_bytes_at(&l->in, l->in.start), h1_bytes_len(&l->in)));
    leg_retire(l);
    if (e) {
        stream_close(s, true);
        return e;
    }
    *ret_stream = s;
    return ERR_OK;
}
