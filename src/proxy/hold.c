/* Stage 5: rate limit, then approval; once per exchange. Nobody is asked about a request that would be refused anyway. */
#include "proxy/proxy_int.h"

#include "approval/approval.h"
#include "audit/approval.h"
#include "base/log.h"
#include "credential/inject.h"
#include "credential/table.h"
#include "proxy/limit.h"

/* ---------------------------------------------------------------- while it waits */

static size_t lost_body(void *owner, struct leg *l, struct str bytes);
static void lost_head(void *owner, struct leg *l, const struct http_head *head, bool end);
static void lost_end(void *owner, struct leg *l, const struct fields *trailers);
static void lost_reset(void *owner, struct leg *l, enum err e);
static void lost(void *owner, struct leg *l);

static void nothing(void *owner, struct leg *l)
{
    (void)owner, (void)l;
}

/* A pooled connection that was taken for this request: whatever happens to it meanwhile is its end. */
static const struct leg_events waiting_events = {
    .on_head = lost_head,
    .on_body = lost_body,
    .on_end = lost_end,
    .on_writable = nothing,
    .on_reset = lost_reset,
    .on_fin = lost,
    .on_write_error = lost,
};

static void lost(void *owner, struct leg *l)
{
    struct exchange *x = owner;

    (void)l;
    upconn_close(x->up);
    x->up = NULL;
}

static void lost_head(void *owner, struct leg *l, const struct http_head *head, bool end)
{
    (void)head, (void)end;
    lost(owner, l);
}

static size_t lost_body(void *owner, struct leg *l, struct str bytes)
{
    (void)bytes;
    lost(owner, l);
    return 0;
}

static void lost_end(void *owner, struct leg *l, const struct fields *trailers)
{
    (void)trailers;
    lost(owner, l);
}

static void lost_reset(void *owner, struct leg *l, enum err e)
{
    (void)e;
    lost(owner, l);
}

void hold_park(struct exchange *x)
{
    if (x->up)
        leg_own(x->up->leg, &waiting_events, x);
}

void hold_unpark(struct exchange *x)
{
    if (x->up)
        leg_own(x->up->leg, NULL, NULL);
}

static enum err park(struct exchange *x)
{
    hold_park(x);
    return ERR_AGAIN;
}

static void go_on(struct exchange *x, enum err e)
{
    hold_unpark(x);
    exchange_hold_done(x, e);
}

/* ---------------------------------------------------------------- rate limits */

/* All workers' limit of that name; asked for once, then remembered here. */
static struct limit *limit_named(struct worker *w, struct str name)
{
    struct limit *l = map_get(&w->limits, name);

    if (l || !w->shared->limits)
        return l;
    l = limits_get(w->shared->limits, name);
    if (l && !map_put(&w->limits, limit_name(l), l))
        log_debug("out of memory: the limit is looked up again");
    return l;
}

static enum err refuse_rate(struct exchange *x, const struct service_conf *s, uint32_t retry_after_s)
{
    x->request->retry_after_s = retry_after_s;
    return err_set(&x->request->err, ERR_RATE_LIMITED,
                   "the rate limit of route %.*s is %u requests a minute: come back in %u s", s->name.n > 60 ? 60 : (int)s->name.n,
                   s->name.p, s->rate_per_minute, retry_after_s);
}

/* ERR_OK with the time to wait, which is the request's own slot from now on. */
static enum err take_slot(struct exchange *x, uint64_t *ret_delay_ns)
{
    const struct credential *c = credentials_at(x->runtime, x->request->decision.credential);
    const struct service_conf *s = c ? c->conf : NULL;
    struct limit_spec spec;
    struct limit *l;
    uint32_t retry_after_s = 0;

    *ret_delay_ns = 0;
    if (!s || !s->rate_given || !s->rate_per_minute)
        return ERR_OK;
    l = limit_named(x->worker, s->name);
    if (!l)
        return err_set(&x->request->err, ERR_NOMEM, "the gateway is out of memory");
    spec = (struct limit_spec){.per_minute = s->rate_per_minute, .burst = s->rate_burst, .max_delay_ms = s->rate_max_delay_ms};
    if (limit_take(l, &spec, loop_now(exchange_loop(x)), ret_delay_ns, &retry_after_s))
        return ERR_OK;
    return refuse_rate(x, s, retry_after_s);
}

/* ---------------------------------------------------------------- approval: its records */

static const char *mode_word(const struct exchange *x)
{
    switch (x->record.mode) {
    case AUDIT_REVERSE: return "reverse";
    case AUDIT_INTERCEPT: return "intercept";
    default: return "forward";
    }
}

static void add_record(struct exchange *x, struct approval_event *e)
{
    struct buf line;

    buf_init(&line, 65536);
    approval_event_format(&line, e);
    if (buf_ok(&line))
        (void)queue_add(x->worker->audit, line.p, line.n); /* what does not fit in memory is counted there */
    buf_fini(&line);
}

static void note(struct exchange *x, const char *decision, const char *reason)
{
    const struct decision *d = &x->request->decision;
    const struct record *r = &x->record;
    struct str text = arena_str(&x->arena, str_from(reason));
    struct route_view v = {0};
    char id[24];

    audit_id(id, 'r', r->request_number);
    if (text.n)
        inject_mask(&x->runtime->clients, (char *)(uintptr_t)text.p, text.n);
    log_info("%s: %s%s%.*s", id, decision, text.n ? ": " : "", STR_ARG(text));
    if (!x->worker->audit)
        return;
    if (d->route)
        route_view(d->route, &v);
    add_record(x, &(struct approval_event){.wall_ms = clock_wall_ms(),
                                           .request_id = str_from(id),
                                           .decision = decision,
                                           .mode = mode_word(x),
                                           .route_id = v.id,
                                           .rule = d->endpoint_rule,
                                           .backend = record_get(r, RECORD_APPROVAL_BACKEND),
                                           .target = record_get(r, RECORD_TARGET),
                                           .upstream = v.upstream,
                                           .port = r->has_port ? r->port : 0,
                                           .method = record_get(r, RECORD_METHOD),
                                           .path = record_get(r, RECORD_PATH),
                                           .reason = text});
}

/* ---------------------------------------------------------------- approval */

static void on_answer(void *owner, enum approval_answer answer, const char *backend, const char *sentence)
{
    static const struct {
        const char *decision;
        enum err e;
    } ends[] = {[APPROVAL_GRANTED] = {"approve_granted", ERR_OK},
                [APPROVAL_DENIED] = {"approve_denied", ERR_APPROVAL_DENIED},
                [APPROVAL_TIMEOUT] = {"approve_timeout", ERR_APPROVAL_TIMEOUT},
                [APPROVAL_FAILED] = {"approve_error", ERR_APPROVAL_FAILED}};
    struct exchange *x = owner;
    enum err e = ends[answer].e;

    (void)backend;
    x->approval = NULL;
    note(x, ends[answer].decision, sentence);
    if (e != ERR_OK)
        (void)err_set(&x->request->err, e, "%s", sentence);
    go_on(x, e);
}

/* Slices of a question; what a client wrote holds none of its tokens when it leaves us (K8). */
static struct str masked(struct exchange *x, struct str text)
{
    struct str copy = arena_str(&x->arena, text);

    if (copy.n)
        inject_mask(&x->runtime->clients, (char *)(uintptr_t)copy.p, copy.n);
    return copy;
}

static bool describe(struct exchange *x, struct approval_question *q, char id[24])
{
    const struct request *r = x->request;
    const struct decision *d = &r->decision;
    struct route_view v = {0};

    if (d->route)
        route_view(d->route, &v);
    audit_id(id, 'r', x->record.request_number);
    *q = (struct approval_question){.request_id = str_from(id),
                                    .route_id = v.id,
                                    .upstream = v.upstream,
                                    .rule_label = d->endpoint_rule,
                                    .backend = d->approval_backend,
                                    .timeout_ms = d->approval_timeout_ms};
    q->method = masked(x, r->facts.method);
    q->path = masked(x, arena_printf(&x->arena, "%.*s%s%.*s", STR_ARG(r->facts.path), r->facts.query.p ? "?" : "",
                                     STR_ARG(r->facts.query)));
    q->reason = d->approval_reason;
    if (!q->reason.n)
        q->reason = arena_printf(&x->arena, "endpoint approval required by %.*s for %.*s %.*s", STR_ARG(d->endpoint_rule),
                                 STR_ARG(q->method), STR_ARG(q->path));
    return q->method.p && q->path.p && q->reason.p;
}

static enum err ask_approval(struct exchange *x)
{
    const struct decision *d = &x->request->decision;
    struct approval_question q;
    char id[24];

    if (!d->endpoint_judged || d->endpoint_action != ENDPOINT_ACT_APPROVE)
        return ERR_OK;
    if (!describe(x, &q, id) ||
        approver_ask(x->worker->approver, x->runtime, &q, on_answer, x, &x->approval) != ERR_OK)
        return err_set(&x->request->err, ERR_NOMEM, "the gateway is out of memory");
    record_text(&x->record, RECORD_APPROVAL_BACKEND, approval_backend_name(x->runtime, &q));
    note(x, "approve_requested", "");
    return park(x);
}

/* ---------------------------------------------------------------- the stage */

enum err hold_ask(struct exchange *x)
{
    uint64_t delay_ns;
    enum err e = take_slot(x, &delay_ns);

    if (e != ERR_OK)
        return e;
    if (!delay_ns)
        return ask_approval(x);
    timer_set(exchange_loop(x), &x->timer, delay_ns / NS_PER_MS + 1);
    return park(x);
}

void hold_on_timer(struct exchange *x)
{
    enum err e = ask_approval(x);

    if (e != ERR_AGAIN)
        go_on(x, e);
}

void hold_withdraw(struct exchange *x)
{
    if (!x->approval)
        return;
    approver_withdraw(x->approval);
    x->approval = NULL;
    note(x, "approve_error", "withdrawn: the request went away");
}
