/* Stage 8: the head goes upstream with whatever belongs into it, then the body; and what the upstream's side says. */
#include "proxy/proxy_int.h"

#include "credential/inject.h"
#include "sys/loop.h"

/* ---------------------------------------------------------------- the head */

static bool put_host(struct http_head *head, struct str value)
{
    struct field *f = fields_get(&head->fields, FIELD_HOST);

    if (!f)
        return fields_add(&head->fields, STR("Host"), value);
    f->value = value;
    f->drop = false;
    return true;
}

/* Host comes from the target (RFC 9112 3.2.2): canonical, the port only where it is not the scheme's. */
static bool set_host(struct exchange *x, struct http_head *head)
{
    const struct facts *f = &x->request->facts;
    size_t max = (size_t)f->host.n + sizeof("[]:65535");
    struct buf b = {.p = arena_alloc(&x->arena, max), .cap_ = max, .max_ = max};

    if (!b.p)
        return false;
    target_format_host(&b, f->scheme, &f->host, f->port);
    return put_host(head, buf_str(&b));
}

/* Plain requests go to an HTTP proxy in absolute form, with its credentials. */
bool send_is_at_proxy(const struct exchange *x)
{
    const struct request *r = x->request;
    enum hop_kind kind;

    if (!r->decision.chained || r->facts.scheme != SCHEME_HTTP || r->upgrade == UPGRADE_WEBSOCKET)
        return false;
    kind = x->runtime->hop->kind;
    return kind == HOP_HTTP || kind == HOP_HTTPS;
}

static struct str absolute_target(struct exchange *x, const struct http_head *head)
{
    const struct facts *f = &x->request->facts;
    struct str origin = str_eq(head->target, STR("*")) ? STR("") : head->target;
    struct buf b;
    struct str t;

    buf_init(&b, LIMIT_HEAD_BYTES + 512);
    target_format_uri(&b, f->scheme, &f->host, f->port, origin);
    t = buf_ok(&b) ? arena_str(&x->arena, buf_str(&b)) : STR_NULL;
    buf_fini(&b);
    return t;
}

/* The head as it goes upstream. Hop-by-hop fields, and what Connection names, go before anything is put in (K10). */
static bool prepare_head(struct exchange *x, struct http_head *head)
{
    struct field *expect = fields_get(&head->fields, FIELD_EXPECT);

    hop_strip(head);
    /* HTTP/1.0 knows none; and on a second try the body is here already, so nobody is to be told to send it once more */
    if (expect && (head->minor == 0 || ((x->retried || x->renewed) && !x->awaiting_100)))
        expect->drop = true;
    if (send_is_at_proxy(x)) {
        head->target = absolute_target(x, head);
        if (!head->target.p)
            return false;
    }
    return set_host(x, head);
}

static enum err send_head(struct exchange *x, const struct http_head *head, bool end)
{
    struct buf extra;
    bool ok = true;
    enum err e;

    buf_init(&extra, 16384); /* user and password may be 4 KiB each, and grow by a third */
    if (x->request->upgrade == UPGRADE_WEBSOCKET)
        buf_add_z(&extra, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    if (send_is_at_proxy(x) && x->runtime->hop->user) {
        ok = hop_add_authorization(&extra, x->runtime->hop);
        x->up->leg->secret_out = true;
    }
    e = ok && buf_ok(&extra) ? leg_head(x->up->leg, head, buf_str(&extra), end) : ERR_NOMEM;
    buf_wipe_fini(&extra);
    return e;
}

/* ---------------------------------------------------------------- gathered bytes */

static void flush_now(struct task *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, task);

    if (x->up && !x->up_dead)
        (void)leg_flush(x->up->leg); /* a failure is reported by on_write_error or on_reset */
    if (!exchange_over(x) && x->response_started && x->client)
        (void)leg_flush(x->client);
    if (exchange_over(x))
        return;
    if (x->response_done && x->client->out_done) {
        relay_check_done(x);
        return;
    }
    if (x->watch_soon)
        exchange_watch_progress(x);
    x->watch_soon = false;
}

void exchange_flush_soon(struct exchange *x)
{
    task_run_soon(exchange_loop(x), &x->task);
}

/* ---------------------------------------------------------------- replay */

static bool is_idempotent(struct str method) /* RFC 9110 9.2.2; TRACE is refused */
{
    return str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")) || str_eq(method, STR("PUT")) ||
           str_eq(method, STR("DELETE")) || str_eq(method, STR("OPTIONS"));
}

/* A reused connection may have died without our knowing; an upstream may refuse the credential. */
static bool may_be_sent_again(const struct exchange *x)
{
    return x->request->material || (x->up->reused && is_idempotent(x->request->head.method));
}

/* Keep what was sent of the body while it may have to be sent again. */
static void keep_for_replay(struct exchange *x, struct str sent)
{
    struct request *r = x->request;

    if (!may_be_sent_again(x) || r->replay_lost || !sent.n)
        return;
    if (!r->replay)
        r->replay = arena_alloc(&x->arena, LIMIT_CHUNK_BYTES);
    if (!r->replay || sent.n > LIMIT_CHUNK_BYTES - r->replay_n) {
        r->replay_lost = true;
        return;
    }
    memcpy(r->replay + r->replay_n, sent.p, sent.n);
    r->replay_n += (uint32_t)sent.n;
    r->replay_at = r->replay_n; /* out on this connection; a second one starts from the first byte */
}

static bool can_send_again(const struct exchange *x)
{
    const struct request *r = x->request;

    return x->up->reused && !x->retried && !r->replay_lost && is_idempotent(r->head.method) &&
           !h1_leg_answered(x->up->leg);
}

/* The kept bytes go first. True when none are left. */
static bool push_replay(struct exchange *x)
{
    struct request *r = x->request;
    size_t taken = 0;

    if (r->replay_at == r->replay_n)
        return true;
    if (leg_body(x->up->leg, str_of(r->replay + r->replay_at, r->replay_n - r->replay_at), &taken) != ERR_OK)
        x->up_dead = true;
    r->replay_at += (uint32_t)taken;
    return r->replay_at == r->replay_n;
}

/* ---------------------------------------------------------------- the body */

static void request_is_out(struct exchange *x)
{
    exchange_wait_begin(x);
    if (x->state == EXCH_SEND)
        timer_set(exchange_loop(x), &x->timer, exchange_timeout(x, TIMEOUT_RESPONSE));
}

static void end_request(struct exchange *x, const struct fields *trailers)
{
    enum err e;

    x->up->leg->out_soon = true;
    e = leg_end(x->up->leg, trailers);
    if (exchange_over(x) || !x->up)
        return;
    if (e == ERR_AGAIN)
        exchange_flush_soon(x);
    else if (e != ERR_OK)
        x->up_dead = true;
    request_is_out(x);
}

enum err send_body_fits(struct exchange *x, uint64_t bytes)
{
    uint64_t max = x->runtime->config.max_body_bytes;

    if (!max || bytes <= max)
        return ERR_OK;
    return err_set(&x->request->err, ERR_BODY_TOO_LARGE, "the request body is larger than the %llu bytes of network.max_body_bytes",
                   (unsigned long long)max);
}

size_t send_client_body(struct exchange *x, struct str bytes)
{
    size_t taken = 0;

    if (!x->up || x->up_dead || !push_replay(x))
        return 0;
    if (send_body_fits(x, x->client->bytes_in + bytes.n) != ERR_OK) {
        x->reply_close = true; /* the upload is cut where it exceeds */
        exchange_refuse(x, ERR_BODY_TOO_LARGE);
        return 0;
    }
    x->up->leg->out_last = x->client->in_last;
    if (leg_body(x->up->leg, bytes, &taken) != ERR_OK) {
        x->up_dead = true;
        return 0;
    }
    if (x->awaiting_100 && taken) {
        x->awaiting_100 = false;
        if (x->state == EXCH_SEND)
            exchange_watch_progress(x);
    }
    x->up_full = taken < bytes.n;
    keep_for_replay(x, str_of(bytes.p, taken));
    return taken;
}

void send_client_end(struct exchange *x, const struct fields *trailers)
{
    struct request *r = x->request;

    if (x->response_done) {
        relay_check_done(x);
        return;
    }
    if (!x->up || x->up_dead)
        return;
    if (!push_replay(x)) { /* the end follows what goes before it: on_writable */
        if (trailers && trailers != &r->trailers && !fields_copy(&x->arena, trailers, 0, &r->trailers))
            exchange_refuse_nomem(x);
        return;
    }
    if (trailers && trailers->n) {
        r->replay_lost = true;
        if (inject_trailers_leak(&x->runtime->clients, trailers)) {
            (void)err_set(&r->err, ERR_BAD_REQUEST, "a trailer field holds the session token");
            x->reply_close = true;
            exchange_refuse(x, ERR_BAD_REQUEST);
            return;
        }
        if (r->credential)
            inject_clean_trailers(r->credential, r->material, trailers);
    }
    end_request(x, trailers);
}

/* The body that is already here, or the end where there is none. */
static void start_body(struct exchange *x)
{
    if (x->request_done) {
        send_client_end(x, &x->request->trailers);
        return;
    }
    (void)push_replay(x); /* its client may wait for an answer to just that */
    if (x->awaiting_100)
        request_is_out(x);
    else
        exchange_watch_progress(x);
    exchange_flush_soon(x);
    leg_resume(x->client);
}

/* What the leg says of a head that it cannot write is nothing a client could be told. */
static enum err head_failed(struct exchange *x, enum err e)
{
    if (e == ERR_TOO_LARGE)
        return err_set(&x->request->err, ERR_HEAD_TOO_LARGE,
                       "the request head is too large to be sent with what the gateway adds to it");
    if (e == ERR_RESET)
        return err_set(&x->request->err, ERR_UPSTREAM_CLOSED, "the upstream closed the connection without an answer");
    return e;
}

void exchange_send(struct exchange *x)
{
    struct request *r = x->request;
    struct http_head head = r->head; /* kept as it came: a second try starts from it */
    struct buf secret;
    enum err e;

    exchange_set_state(x, EXCH_SEND);
    task_cancel(&x->task);
    task_init(&x->task, flush_now);
    x->up_full = false;
    x->progress_ns = 0; /* of a second try: time that went by while nobody owed a byte */
    leg_own(x->up->leg, &exchange_upstream_events, x);
    if (!prepare_head(x, &head)) {
        exchange_refuse_nomem(x);
        return;
    }
    buf_init(&secret, INJECT_SECRET_BYTES);
    e = secret_inject(x, &head, &secret);
    if (e == ERR_OK)
        e = send_head(x, &head, x->request_done && !r->replay_n && head.framing != FRAMING_CHUNKED);
    buf_wipe_fini(&secret);
    if (e != ERR_OK) {
        exchange_refuse(x, head_failed(x, e));
        return;
    }
    r->replay_at = 0;
    start_body(x);
}

void send_on_timer(struct exchange *x)
{
    uint64_t stall = exchange_timeout(x, TIMEOUT_STALL) * NS_PER_MS;
    enum err e = ERR_UPSTREAM_SILENT;

    if (!x->request_done && !x->awaiting_100) {
        if (exchange_quiet_ns(x) < stall) {
            exchange_watch_progress(x);
            return;
        }
        e = x->up_full || x->up_dead ? ERR_UPSTREAM_STALLED : ERR_CLIENT_STALLED;
    }
    (void)err_set(&x->request->err, e, "%s",
                  e == ERR_UPSTREAM_SILENT    ? "the upstream sent no answer in time"
                  : e == ERR_UPSTREAM_STALLED ? "the upstream took no more of the request in time"
                                              : "the client sent no more of the request in time");
    exchange_refuse(x, e);
}

/* ---------------------------------------------------------------- events of the upstream's side */

static void up_head(void *owner, struct leg *l, const struct http_head *head, bool end)
{
    (void)l;
    relay_head(owner, head, end);
}

static size_t up_body(void *owner, struct leg *l, struct str bytes)
{
    struct exchange *x = owner;

    (void)l;
    return x->request->held ? retry_body(x, bytes) : relay_body(x, bytes);
}

static void up_end(void *owner, struct leg *l, const struct fields *trailers)
{
    struct exchange *x = owner;

    (void)l;
    if (x->request->held)
        retry_end(x);
    else
        relay_end(x, trailers);
}

static void up_writable(void *owner, struct leg *l)
{
    struct exchange *x = owner;

    (void)l;
    x->up_full = false;
    if (x->request->held || !push_replay(x))
        return;
    if (x->request_done && !x->up->leg->out_done) {
        if (x->request->replay_n)
            send_client_end(x, &x->request->trailers);
    } else if (!x->request_done) {
        leg_resume(x->client);
    }
}

void exchange_send_again(struct exchange *x)
{
    upconn_close(x->up);
    x->up = NULL;
    x->up_dead = x->up_full = false;
    x->record.upstream_reused = false;
    task_cancel(&x->task);
    timer_stop(exchange_loop(x), &x->timer);
    err_clear(&x->request->err);
    exchange_resolve(x);
}

static void up_reset(void *owner, struct leg *l, enum err e)
{
    struct exchange *x = owner;

    if (x->request->held) {
        retry_reset(x);
        return;
    }
    if (x->response_done && x->state == EXCH_RELAY) { /* the answer is whole; the rest of the request has nowhere to go */
        x->up_dead = true;
        return;
    }
    if (x->state == EXCH_SEND && e != ERR_BAD_RESPONSE && e != ERR_NOMEM && can_send_again(x)) {
        x->retried = true;
        exchange_send_again(x);
        return;
    }
    if (x->response_started) {
        (void)err_set(&x->request->err, ERR_UPSTREAM_ABORTED, "%s",
                      l->err.text[0] ? l->err.text : "the upstream ended its answer before its time");
        exchange_abort(x, ERR_UPSTREAM_ABORTED);
        return;
    }
    if (!err_status(e))
        e = ERR_UPSTREAM_CLOSED;
    (void)err_set(&x->request->err, e, "%s",
                  l->err.text[0] ? l->err.text : "the upstream closed the connection without an answer");
    exchange_refuse(x, e);
}

static void up_fin(void *owner, struct leg *l)
{
    (void)owner, (void)l; /* the leg is not reusable then; nothing is owed */
}

static void up_write_error(void *owner, struct leg *l)
{
    struct exchange *x = owner;

    (void)l;
    x->up_dead = true; /* its answer may still be readable (C14) */
    if (x->state == EXCH_SEND)
        timer_set(exchange_loop(x), &x->timer, exchange_timeout(x, TIMEOUT_RESPONSE));
}

const struct leg_events exchange_upstream_events = {
    .on_head = up_head,
    .on_body = up_body,
    .on_end = up_end,
    .on_writable = up_writable,
    .on_reset = up_reset,
    .on_fin = up_fin,
    .on_write_error = up_write_error,
};
