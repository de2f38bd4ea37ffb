#include "proxy/session.h"

#include "proxy/proxy_int.h"

#include "net/sockaddr.h"

#define TO(s) (1u << SESS_##s)
static const uint8_t state_next[] = {
    [SESS_OPEN] = TO(HEAD) | TO(BUSY) | TO(CLOSED),
    [SESS_HEAD] = TO(BUSY) | TO(CLOSED),
    [SESS_BUSY] = TO(IDLE) | TO(LINGER) | TO(CLOSED),
    [SESS_IDLE] = TO(HEAD) | TO(BUSY) | TO(CLOSED),
    [SESS_LINGER] = TO(CLOSED),
    [SESS_CLOSED] = 0,
};

static uint64_t timeout(const struct session *s, enum timeout_name t)
{
    return s->worker->runtime->timeout_ms[t];
}

/* The time limit of each state; a running exchange has its own. */
static void set_timer(struct session *s)
{
    struct loop *l = s->worker->loop;

    switch ((enum session_state)s->state) {
    case SESS_OPEN:
    case SESS_HEAD:
        timer_set(l, &s->timer, timeout(s, TIMEOUT_HEAD));
        break;
    case SESS_IDLE:
        timer_set(l, &s->timer, timeout(s, TIMEOUT_IDLE));
        break;
    case SESS_LINGER:
        timer_set(l, &s->timer, LIMIT_TIMEOUT_LINGER);
        break;
    case SESS_BUSY: /* an armed timer finds BUSY and does nothing: cheaper than stopping it */
        break;
    case SESS_CLOSED:
        timer_stop(l, &s->timer);
        break;
    }
}

void session_set_state(struct session *s, enum session_state next)
{
    ASSERT(state_next[s->state] & (1u << next));
    s->state = (uint8_t)next;
    set_timer(s);
}

/* ---------------------------------------------------------------- the end */

static void session_destroy(struct task *t)
{
    struct session *s = CONTAINER_OF(t, struct session, task);

    slab_give(s->worker->sessions, s);
}

static void session_close(struct session *s, bool reset)
{
    struct worker *w = s->worker;

    if (s->state == SESS_CLOSED)
        return;
    session_set_state(s, SESS_CLOSED);
    leg_close(s->leg, reset);
    s->leg = NULL;
    list_remove(&s->node);
    list_remove(&s->held_node);
    if (s->over_limit)
        w->n_over_limit--;
    atomic_fetch_sub(&w->n_sessions, 1);
    atomic_fetch_sub(&w->shared->connections, 1);
    task_init(&s->task, session_destroy);
    loop_close_later(w->loop, &s->task);
    if (w->draining && list_empty(&w->session_list) && w->shared->on_empty)
        w->shared->on_empty(w);
}

void session_end(struct session *s, enum err why)
{
    if (s->exchange)
        exchange_abort(s->exchange, why);
    session_close(s, true);
}

static void linger(struct session *s)
{
    session_set_state(s, SESS_LINGER);
    s->linger_until = loop_now(s->worker->loop) + LIMIT_TIMEOUT_LINGER_ALL * NS_PER_MS;
    s->linger_seen = s->leg->bytes_in;
    h1_leg_linger(s->leg);
}

/* ---------------------------------------------------------------- between requests */

/* Above its high mark a queue of audit lines holds new heads back (architecture, section 5). */
static bool audit_behind(const struct session *s)
{
    const struct worker *w = s->worker;

    return w->audit && queue_pending(w->audit) > LIMIT_AUDIT_HIGH_BYTES && !writer_failing(w->shared->writer);
}

static void read_next(struct session *s)
{
    if (audit_behind(s)) {
        if (s->state == SESS_OPEN) /* a new leg reads by itself */
            leg_own(s->leg, NULL, NULL);
        list_push(&s->worker->waiting, &s->held_node);
        if (!timer_armed(&s->worker->held))
            timer_set(s->worker->loop, &s->worker->held, LIMIT_WRITER_LOOK_MS);
        return;
    }
    leg_own(s->leg, &session_events, s);
    h1_leg_next(s->leg);
}

void session_unhold(struct session *s)
{
    list_remove(&s->held_node);
    read_next(s);
}

static void keep(struct session *s)
{
    if (s->worker->draining || (s->client_fin && !h1_leg_has_rest(s->leg))) {
        session_close(s, false);
        return;
    }
    session_set_state(s, SESS_IDLE);
    read_next(s);
}

void session_exchange_done(struct session *s, enum session_next next)
{
    if (s->state == SESS_CLOSED)
        return;
    if (s->leg)
        leg_own(s->leg, &session_events, s);
    if (next == SESSION_KEEP && s->leg)
        keep(s);
    else if (next == SESSION_LINGER && s->leg)
        linger(s);
    else
        session_close(s, true);
}

void session_drain(struct session *s)
{
    if (s->state == SESS_OPEN || s->state == SESS_IDLE)
        session_close(s, false);
}

/* ---------------------------------------------------------------- events */

static void on_begun(void *owner, struct leg *l)
{
    struct session *s = owner;

    (void)l;
    if (s->state == SESS_OPEN || s->state == SESS_IDLE)
        session_set_state(s, SESS_HEAD);
}

static void on_head(void *owner, struct leg *l, const struct http_head *head, bool end)
{
    struct session *s = owner;

    session_set_state(s, SESS_BUSY);
    exchange_start(s, l, head, end, l->err.code);
}

static size_t on_body(void *owner, struct leg *l, struct str bytes)
{
    (void)owner, (void)l, (void)bytes;
    return 0; /* no exchange, no body */
}

static void on_end(void *owner, struct leg *l, const struct fields *trailers)
{
    (void)owner, (void)l, (void)trailers;
}

static void on_writable(void *owner, struct leg *l)
{
    (void)owner, (void)l;
}

static void on_reset(void *owner, struct leg *l, enum err e)
{
    struct session *s = owner;

    if (err_status(e) && s->state != SESS_LINGER && s->state != SESS_CLOSED) {
        session_set_state(s, SESS_BUSY);
        exchange_start_refused(s, l, &l->err);
        return;
    }
    session_close(s, false);
}

static void on_fin(void *owner, struct leg *l)
{
    struct session *s = owner;

    (void)l;
    s->client_fin = true;
    if (s->state != SESS_BUSY)
        session_close(s, false);
}

static void on_write_error(void *owner, struct leg *l)
{
    struct session *s = owner;

    (void)l;
    session_close(s, true);
}

const struct leg_events session_events = {
    .on_begun = on_begun,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
    .on_fin = on_fin,
    .on_write_error = on_write_error,
};

static void late_head(struct session *s)
{
    struct errctx err = {0};

    (void)err_set(&err, ERR_HEAD_TIMEOUT, "the request head did not arrive in time");
    session_set_state(s, SESS_BUSY);
    exchange_start_refused(s, s->leg, &err);
}

/* Lingering goes on while bytes still come, up to its own limit. */
static void linger_more(struct session *s)
{
    if (s->leg->bytes_in == s->linger_seen || loop_now(s->worker->loop) >= s->linger_until) {
        session_close(s, false);
        return;
    }
    s->linger_seen = s->leg->bytes_in;
    set_timer(s);
}

static void on_timer(struct timer *t)
{
    struct session *s = CONTAINER_OF(t, struct session, timer);

    switch ((enum session_state)s->state) {
    case SESS_HEAD:
        late_head(s);
        break;
    case SESS_LINGER:
        linger_more(s);
        break;
    case SESS_OPEN:
    case SESS_IDLE:
        session_close(s, false);
        break;
    case SESS_BUSY:
    case SESS_CLOSED:
        break;
    }
}

/* ---------------------------------------------------------------- the beginning */

static void refuse_over_limit(struct session *s)
{
    struct errctx err = {0};

    (void)err_set(&err, ERR_CONNECTION_LIMIT, "the gateway is at its limit of %llu connections (--max-connections)",
                  (unsigned long long)s->worker->shared->max_connections);
    session_set_state(s, SESS_BUSY);
    exchange_start_refused(s, s->leg, &err);
}

void session_start(struct worker *w, struct stream *stream, const struct sock_addr *peer, unsigned listener,
                   bool over_limit, int fd)
{
    struct session *s = slab_take(w->sessions);

    if (!s || h1_leg_new_client(&w->h1, stream, &s->leg) != ERR_OK) {
        if (s)
            slab_give(w->sessions, s);
        stream_close(stream, true);
        return;
    }
    s->worker = w;
    s->id = worker_id(w);
    s->opened_ns = loop_now(w->loop);
    s->opened_ms = clock_wall_ms();
    s->listener = (uint8_t)listener;
    s->over_limit = over_limit;
    if (peer)
        (void)sockaddr_to_address(peer, &s->peer, NULL);
    if (!s->peer.family && fd >= 0)
        s->has_uid = sock_peer_uid(fd, &s->uid) == ERR_OK;
    timer_init(&s->timer, on_timer);
    list_init(&s->held_node);
    list_push(&w->session_list, &s->node);
    atomic_fetch_add(&w->n_sessions, 1);
    atomic_fetch_add(&w->shared->connections, 1);
    w->n_over_limit += over_limit;
    leg_own(s->leg, &session_events, s);
    set_timer(s);
    if (over_limit)
        refuse_over_limit(s);
    else
        read_next(s);
}
