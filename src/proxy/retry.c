/* After an upstream's 401 on a request with a credential (decision K5): its head is held until the broker has said whether there is a newer
 * version. If so, its body is read away and the request is sent once more, else it is the answer. Nothing of it has reached the client
 * before that. */
#include "proxy/proxy_int.h"

#include "sys/loop.h"

/* ---------------------------------------------------------------- the 401 is the answer */

static void go_on_with_401(struct exchange *x)
{
    struct request *r = x->request;

    r->held = false;
    exchange_set_state(x, EXCH_SEND);
    if (r->held_dead && !r->held_end) {
        (void)err_set(&r->err, ERR_UPSTREAM_CLOSED, "the upstream closed the connection without an answer");
        exchange_refuse(x, ERR_UPSTREAM_CLOSED);
        return;
    }
    relay_held(x, &r->held_head, r->held_end && !r->held_empty);
    if (!exchange_over(x) && r->held_empty)
        relay_end(x, NULL);
    if (exchange_over(x))
        return;
    if (x->up)
        leg_resume(x->up->leg);
    if (!x->request_done)
        leg_resume(x->client);
}

/* ---------------------------------------------------------------- once more */

/* The connection is worth the rest of the 401: it can serve the second try once that is gone. */
static bool worth_reading(const struct exchange *x)
{
    const struct request *r = x->request;
    const struct leg *l = x->up->leg;

    if (!x->request_done || !l->out_done || x->up_dead || r->held_dead)
        return false;
    if (l->in_done)
        return l->reusable;
    return r->held_head.keep_alive && r->held_head.framing != FRAMING_CLOSE &&
           (r->held_head.framing != FRAMING_LENGTH || r->held_head.length <= LIMIT_SKIP_BYTES);
}

static void send_once_more(struct exchange *x)
{
    struct request *r = x->request;
    bool clean = worth_reading(x) && x->up->leg->in_done;

    r->held = r->reading_away = false;
    x->renewed = true;
    if (!clean) {
        exchange_send_again(x);
        return;
    }
    timer_stop(exchange_loop(x), &x->timer);
    h1_leg_next(x->up->leg);
    x->up->reused = true; /* it may end before it answers, as any other that served before */
    exchange_send(x);
}

/* A newer version is there. The client waits: a body that is long or slow is not worth its time. */
static void read_away(struct exchange *x)
{
    uint64_t stall = exchange_timeout(x, TIMEOUT_STALL);

    x->request->reading_away = true;
    if (x->up->leg->in_done || !worth_reading(x)) {
        send_once_more(x);
        return;
    }
    timer_set(exchange_loop(x), &x->timer, stall < LIMIT_TIMEOUT_READ_AWAY ? stall : LIMIT_TIMEOUT_READ_AWAY);
    leg_resume(x->up->leg);
}

static void on_newer(void *owner, enum err e, struct material *m, const char *sentence)
{
    struct exchange *x = owner;

    (void)sentence; /* the 401 is the answer then */
    x->request->vault_wait = NULL;
    if (e != ERR_OK) {
        go_on_with_401(x);
        return;
    }
    secret_use(x, material_ref(m));
    read_away(x);
}

/* ---------------------------------------------------------------- what comes while it is held */

size_t retry_body(struct exchange *x, struct str bytes)
{
    struct request *r = x->request;

    if (!r->reading_away)
        return 0; /* it stays where it is */
    r->read_away += bytes.n;
    if (r->read_away <= LIMIT_SKIP_BYTES)
        return bytes.n;
    r->held_dead = true; /* longer than the connection is worth */
    send_once_more(x);
    return 0;
}

/* The end, of which nothing was left to take: perhaps before anybody knows what becomes of it. */
void retry_end(struct exchange *x)
{
    x->request->held_end = x->request->held_empty = true;
    if (x->request->reading_away)
        send_once_more(x);
}

void retry_reset(struct exchange *x)
{
    x->request->held_dead = true;
    if (x->request->reading_away)
        send_once_more(x);
}

void retry_on_timer(struct exchange *x)
{
    x->request->held_dead = true;
    send_once_more(x);
}

/* ---------------------------------------------------------------- an answer came */

static bool hold_head(struct exchange *x, const struct http_head *head, bool end)
{
    struct request *r = x->request;

    if (!http_head_copy(&x->arena, head, 4, &r->held_head))
        return false;
    r->held = true;
    r->held_end = end;
    exchange_set_state(x, EXCH_CREDENTIAL);
    timer_stop(exchange_loop(x), &x->timer);
    return true;
}

bool retry_take_401(struct exchange *x, const struct http_head *head, bool end)
{
    struct request *r = x->request;
    struct vault *v = x->worker->vault;
    struct material *m = NULL;
    struct errctx why = {0};
    uint64_t version;
    enum err e;

    if (!r->material || !v)
        return false;
    version = r->material->version;
    if (head->status != 401) {
        material_mark_worked(r->material);
        return false;
    }
    vault_mark_bad(v, r->credential, &r->question, version);
    if (x->renewed || r->replay_lost)
        return false;
    e = vault_get(v, x->runtime, r->credential, &r->question, version, on_newer, x, &r->vault_wait, &m, &why);
    if (e != ERR_OK && e != ERR_AGAIN)
        return false;
    if (!hold_head(x, head, end)) {
        vault_cancel(r->vault_wait);
        r->vault_wait = NULL;
        material_unref(m);
        return false;
    }
    if (e == ERR_OK) {
        secret_use(x, m);
        read_away(x);
    }
    return true;
}
