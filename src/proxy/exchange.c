#include "proxy/exchange.h"

#include "proxy/proxy_int.h"

#include "base/log.h"
#include "credential/inject.h"
#include "sys/clock.h"
#include "sys/loop.h"

#include <stdio.h>

/* ---------------------------------------------------------------- states */

static const char *const state_names[] = {"judge", "resolve", "hold",  "credential", "connect",
                                          "send",  "relay",   "tunnel", "reply",     "done"};
#define TO(s) (1u << EXCH_##s)
static const uint16_t state_next[] = {
    [EXCH_JUDGE] = TO(RESOLVE) | TO(HOLD) | TO(REPLY) | TO(DONE),
    [EXCH_RESOLVE] = TO(HOLD) | TO(REPLY) | TO(DONE),
    [EXCH_HOLD] = TO(HOLD) | TO(RESOLVE) | TO(CREDENTIAL) | TO(REPLY) | TO(DONE),
    [EXCH_CREDENTIAL] = TO(CONNECT) | TO(SEND) | TO(RESOLVE) | TO(HOLD) | TO(REPLY) | TO(DONE),
    [EXCH_CONNECT] = TO(SEND) | TO(TUNNEL) | TO(REPLY) | TO(DONE),
    [EXCH_SEND] = TO(RELAY) | TO(TUNNEL) | TO(RESOLVE) | TO(CREDENTIAL) | TO(REPLY) | TO(DONE),
    [EXCH_RELAY] = TO(DONE),
    [EXCH_TUNNEL] = TO(DONE),
    [EXCH_REPLY] = TO(DONE),
    [EXCH_DONE] = 0,
};

void exchange_set_state(struct exchange *x, enum exchange_state next)
{
    ASSERT(state_next[x->state] & (1u << next));
    log_trace("r%llu: %s -> %s", (unsigned long long)x->record.request_number, state_names[x->state],
              state_names[next]);
    x->state = (uint8_t)next;
}

uint64_t exchange_timeout(const struct exchange *x, enum timeout_name t)
{
    return x->runtime->timeout_ms[t];
}

void exchange_wait_begin(struct exchange *x)
{
    if (!x->wait_since)
        x->wait_since = clock_mono_ns();
}

void exchange_wait_end(struct exchange *x)
{
    if (x->wait_since)
        x->record.wait_ns += clock_mono_ns() - x->wait_since;
    x->wait_since = 0;
}

/* ---------------------------------------------------------------- the stages, in their order */

static void stage_hold(struct exchange *x);
static void stage_credential(struct exchange *x);
static void stage_connect(struct exchange *x);

/* 2. Who is asking? Before any other judgement. */
static enum err stage_identify(struct exchange *x)
{
    struct request *r = x->request;
    struct phantom_place place;

    identify_at(&x->runtime->clients, &r->facts, secret_place(x, &place), &r->head.fields, &r->identity);
    x->record.auth_mechanism = (uint8_t)r->identity.mechanism;
    x->record.auth_none = r->identity.mechanism == AUTH_NONE;
    x->record.auth_failed = !r->identity.client;
    r->facts.client = r->identity.client;
    if (r->identity.client) {
        record_text(&x->record, RECORD_CLIENT_NAME, r->identity.client->name);
        return ERR_OK;
    }
    return err_set(&r->err, r->identity.refusal,
                   r->identity.refusal == ERR_PROXY_AUTH
                       ? "proxy authentication is missing or wrong: use the proxy URL of the banner or of --env-file, "
                         "which holds the session token"
                       : "authentication is missing or wrong: send the session token as a Bearer token");
}

static void record_decision(struct exchange *x)
{
    const struct decision *d = &x->request->decision;
    struct route_view route;

    record_text(&x->record, RECORD_RULE, d->rule);
    record_text(&x->record, RECORD_RULE_ORIGIN, d->origin);
    if (d->route) {
        route_view(d->route, &route);
        record_text(&x->record, RECORD_ROUTE_ID, route.id);
    }
    if (d->endpoint_judged) {
        record_text(&x->record, RECORD_ENDPOINT_ACTION, str_from(endpoint_action_name(d->endpoint_action)));
        record_text(&x->record, RECORD_ENDPOINT_RULE, d->endpoint_rule);
    }
}

/* A reverse request goes to its route's upstream: from here on it is as if it had been asked for there. */
static enum err take_route_target(struct exchange *x)
{
    struct request *r = x->request;
    struct facts *f = &r->facts;
    struct route_view route;

    if (f->shape != SHAPE_REVERSE || !r->decision.route)
        return ERR_OK;
    f->host = r->decision.host;
    f->port = r->decision.port;
    f->scheme = r->decision.scheme;
    x->record.port = f->port;
    x->record.has_port = true;
    x->record.scheme = (uint8_t)f->scheme;
    route_view(r->decision.route, &route);
    const struct str target[] = {route.base_path, f->path, f->query.p ? STR("?") : STR(""), f->query};
    r->head.target = arena_join(&x->arena, target, ARRAY_LEN(target));
    r->secret_at += route.base_path.n;
    return r->head.target.p ? ERR_OK : err_set(&r->err, ERR_NOMEM, "the gateway is out of memory");
}

/* A rule that is built in, and so stands nowhere. */
static void record_builtin(struct exchange *x, struct str rule)
{
    record_text(&x->record, RECORD_RULE, rule);
    record_text(&x->record, RECORD_RULE_ORIGIN, STR(""));
}

/* A tunnel to ourselves, said at once: the rule that would refuse it too names nothing that could be changed (decision C13). Names that
 * lead here are met when they are dialled. */
static enum err refuse_loop(struct exchange *x)
{
    const struct facts *f = &x->request->facts;

    if (f->shape != SHAPE_CONNECT || !(f->host.is_address || hostname_is_localhost(&f->host)) ||
        !classify_is_self(x, &f->host, f->port))
        return ERR_OK;
    record_builtin(x, STR("loop"));
    return err_set(&x->request->err, ERR_LOOP, "%s:%u is this gateway itself", f->host.text, f->port);
}

static enum err decide(struct exchange *x)
{
    struct request *r = x->request;
    struct decision *d = &r->decision;

    policy_decide(x->runtime->policy, &r->facts, d);
    record_decision(x);
    if (d->verdict == VERDICT_ALLOW)
        return secret_choose(x);
    if (d->verdict == VERDICT_INTERCEPT) {
        size_t n = strlen(d->reason);

        (void)snprintf(d->reason + n, sizeof(d->reason) - n, ", which is not available in this version");
        return err_set(&r->err, ERR_NOT_INTERCEPTED, "%s", d->reason);
    }
    return err_set(&r->err, d->refusal, "%s", d->reason);
}

/* 3. May it go there? One pure call; two where the first one tells that a phantom stands in the target. */
static enum err stage_decide(struct exchange *x)
{
    bool changed = false;
    enum err e = refuse_loop(x);

    if (e == ERR_OK)
        e = secret_clean_reverse(x);
    if (e == ERR_OK)
        e = decide(x);
    if (e == ERR_OK)
        e = secret_clean_forward(x, &changed);
    if (e == ERR_OK && changed)
        e = decide(x);
    if (e == ERR_OK)
        e = take_route_target(x);
    if (e == ERR_OK)
        e = secret_refuse_browser(x);
    secret_record(x);
    return e;
}

/* New requests wait for an audit that must not miss them. */
static enum err audit_must_work(struct exchange *x)
{
    if (!x->runtime->audit_fail_closed || !writer_failing(x->worker->shared->writer))
        return ERR_OK;
    return err_set(&x->request->err, ERR_AUDIT_FAILED,
                   "the audit log cannot be written and --audit-fail-closed is set");
}

/* K8, for the part that would show even in a look-up; the rest of the head is looked at when it is about to be written. */
static enum err target_must_not_leak(struct exchange *x)
{
    struct request *r = x->request;

    if (!inject_target_leaks(&x->runtime->clients, r->head.target) &&
        !inject_host_leaks(&x->runtime->clients, hostname_str(&r->facts.host)))
        return ERR_OK;
    return err_set(&r->err, ERR_BAD_REQUEST, "the request would carry the gateway's own token or password upstream");
}

/* OPTIONS with Max-Forwards: 0 is for us; a larger value goes on less one (RFC 9110 7.6.2). True when it was answered. */
static bool answer_options(struct exchange *x)
{
    struct request *r = x->request;
    struct field *f = fields_get(&r->head.fields, FIELD_MAX_FORWARDS);
    uint64_t n;

    if (!f || !str_eq(r->head.method, STR("OPTIONS")) || !str_u64(f->value, UINT32_MAX, &n))
        return false;
    if (n == 0) {
        reply_options(x);
        return true;
    }
    f->value = arena_printf(&x->arena, "%llu", (unsigned long long)(n - 1));
    return false;
}

static void judge(struct exchange *x, enum err head_err)
{
    enum err e = classify(x, head_err);
    bool phantom; /* may stand in the target: it is looked at when that was taken out */

    if (e == ERR_OK)
        e = stage_identify(x);
    if (e == ERR_OK)
        e = audit_must_work(x);
    if (e == ERR_OK && x->request->facts.shape == SHAPE_LOCAL) {
        exchange_answer_local(x);
        return;
    }
    phantom = x->request->facts.shape == SHAPE_REVERSE || secret_may_hide(x);
    if (e == ERR_OK && !phantom)
        e = target_must_not_leak(x);
    if (e == ERR_OK)
        e = stage_decide(x);
    if (e == ERR_OK && phantom)
        e = target_must_not_leak(x);
    if (e == ERR_OK && x->request->head.framing == FRAMING_LENGTH)
        e = send_body_fits(x, x->request->head.length);
    if (e != ERR_OK) {
        exchange_refuse(x, e);
        return;
    }
    if (!answer_options(x))
        exchange_resolve(x);
}

/* What distinguishes upstream connections: nobody whose key differs may share one. By hand, because it is made for every request:
 * parts of a fixed length first, then the host (which holds no '|') and the upstream proxy. */
static struct str join_key(struct arena *a, char kind, uint16_t port, uint64_t trust, struct str host, struct str hop)
{
    size_t n = sizeof(kind) + sizeof(port) + sizeof(trust) + host.n + 1 + hop.n;
    char *p = arena_alloc(a, n), *at = p;

    if (!p)
        return STR_NULL;
    *at++ = kind;
    memcpy(at, &port, sizeof(port));
    at += sizeof(port);
    memcpy(at, &trust, sizeof(trust));
    at += sizeof(trust);
    memcpy(at, host.p, host.n);
    at += host.n;
    *at++ = '|';
    if (hop.n)
        memcpy(at, hop.p, hop.n);
    return str_of(p, n);
}

static struct tls_trust *trust_of(const struct exchange *x)
{
    return runtime_trust(x->runtime, x->request->decision.credential);
}

static bool make_key(struct exchange *x)
{
    struct request *r = x->request;
    const struct facts *f = &r->facts;
    bool at_proxy = r->decision.chained && f->scheme == SCHEME_HTTP &&
                    (x->runtime->hop->kind == HOP_HTTP || x->runtime->hop->kind == HOP_HTTPS);
    struct str hop = r->decision.chained ? x->runtime->hop_text : STR_NULL;
    uint64_t trust = f->scheme == SCHEME_HTTPS || hop.n ? tls_trust_id(trust_of(x)) : 0;

    if (at_proxy) /* plain requests share the connections to the proxy, whatever their host */
        r->key = join_key(&x->arena, 'p', (uint16_t)x->runtime->hop->kind, trust, STR(""), hop);
    else
        r->key = join_key(&x->arena, (char)('0' + (int)f->scheme), f->port, trust, hostname_str(&f->host), hop);
    return r->key.p != NULL;
}

/* A pooled connection never implies permission: its address is judged again. */
static bool take_pooled(struct exchange *x)
{
    struct request *r = x->request;
    struct upconn *u = pool_take(x->worker->pool, r->key);
    struct vetted_addr again;

    if (!u)
        return false;
    if (u->peer.by == VOUCHED_POLICY &&
        policy_addr(x->runtime->policy, &r->decision, &u->peer.address, &again) != ERR_OK) {
        upconn_close(u);
        return false;
    }
    x->up = u;
    return true;
}

static enum err judge_address(struct exchange *x, const struct address *a)
{
    struct request *r = x->request;
    enum err e = policy_addr(x->runtime->policy, &r->decision, a, &r->addrs[r->n_addrs]);

    if (e == ERR_OK) {
        r->n_addrs++;
        return ERR_OK;
    }
    record_text(&x->record, RECORD_RULE, r->decision.rule);
    record_text(&x->record, RECORD_RULE_ORIGIN, r->decision.origin);
    return err_set(&r->err, e, "%s", r->decision.reason);
}

static void on_resolved(void *owner, enum err e, const struct dns_answer *answer, const struct errctx *ctx)
{
    struct exchange *x = owner;

    x->query = NULL;
    exchange_wait_end(x);
    if (e != ERR_OK)
        (void)err_set(&x->request->err, e, "%s", ctx->text);
    for (unsigned i = 0; e == ERR_OK && i < answer->n && i < LIMIT_DNS_ADDRESSES; i++)
        e = judge_address(x, &answer->v[i]);
    if (e != ERR_OK)
        exchange_refuse(x, e);
    else
        stage_hold(x);
}

/* 4. Addresses, each judged. Skipped when a pooled connection will do, or the upstream proxy resolves. */
void exchange_resolve(struct exchange *x)
{
    struct request *r = x->request;
    enum err e = ERR_OK;

    r->n_addrs = 0;
    if (r->facts.shape != SHAPE_CONNECT && r->upgrade != UPGRADE_WEBSOCKET && !x->retried && !x->renewed) {
        if (!make_key(x)) {
            exchange_refuse_nomem(x);
            return;
        }
        if (take_pooled(x)) {
            stage_hold(x);
            return;
        }
    }
    exchange_set_state(x, EXCH_RESOLVE);
    if (r->decision.chained && !r->decision.resolve_here) {
        stage_hold(x);
        return;
    }
    if (r->facts.host.is_address) {
        e = judge_address(x, &r->facts.host.address);
    } else {
        exchange_wait_begin(x);
        e = dns_resolve(x->worker->dns, &r->facts.host, exchange_timeout(x, TIMEOUT_DNS), on_resolved, x,
                        &x->query);
        if (e == ERR_OK)
            return;
    }
    if (e != ERR_OK)
        exchange_refuse(x, e);
    else
        stage_hold(x);
}

/* 5. Rate limit and approval: last before the credential, once per exchange. */
static void stage_hold(struct exchange *x)
{
    const struct decision *d = &x->request->decision;
    enum err e = ERR_OK;

    exchange_set_state(x, EXCH_HOLD);
    if (!x->hold_over && d->endpoint_judged && d->endpoint_action == ENDPOINT_ACT_APPROVE)
        e = secret_foresee(x);
    if (e != ERR_OK && e != ERR_AGAIN) {
        exchange_refuse(x, e);
        return;
    }
    if (e == ERR_OK && !x->hold_over)
        e = hold_ask(x);
    if (e == ERR_AGAIN) {
        if (x->session->client_fin) /* nobody is left to wait for it */
            exchange_abort(x, ERR_CLIENT_ABORTED);
        return;
    }
    exchange_hold_done(x, e);
}

/* A pooled connection that ended meanwhile takes the request back to stage 4. */
static bool lacks_address(const struct exchange *x)
{
    const struct request *r = x->request;

    return !x->up && !r->n_addrs && (r->decision.resolve_here || !r->decision.chained);
}

void exchange_hold_done(struct exchange *x, enum err e)
{
    x->hold_over = true;
    if (e != ERR_OK)
        exchange_refuse(x, e);
    else if (lacks_address(x))
        exchange_resolve(x);
    else
        stage_credential(x);
}

/* 6. A credential that is valid now. */
static void stage_credential(struct exchange *x)
{
    enum err e;

    exchange_set_state(x, EXCH_CREDENTIAL);
    e = secret_get(x);
    if (e == ERR_OK)
        stage_connect(x);
    else if (e != ERR_AGAIN)
        exchange_refuse(x, e);
}

void exchange_credential_done(struct exchange *x)
{
    if (x->hold_over)
        exchange_go_on(x);
    else
        stage_hold(x);
}

static void record_address(struct exchange *x, enum record_text which, const struct address *a)
{
    char text[ADDRESS_TEXT_SIZE];
    size_t n = address_text(a, text);

    record_text(&x->record, which, str_of(text, n));
}

static void note_peer(struct exchange *x, const struct vetted_addr *peer)
{
    record_address(x, RECORD_UPSTREAM_ADDRESS, &peer->address);
    x->record.has_upstream = true;
    if (x->request->decision.chained)
        record_text(&x->record, RECORD_UPSTREAM_PROXY, x->runtime->hop_text);
}

static enum err adopt_connection(struct exchange *x, const struct connect_result *got)
{
    struct leg *leg;
    enum err e = h1_leg_new_upstream(&x->worker->h1, got->stream, &leg);

    if (e != ERR_OK) {
        stream_close(got->stream, true);
        return e;
    }
    x->up = upconn_new(x->request->key.p ? x->request->key : STR(""), leg, &got->peer);
    if (!x->up) {
        leg_close(leg, true);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

static void on_connected(void *owner, enum err e, const struct connect_result *got, const struct errctx *ctx)
{
    struct exchange *x = owner;

    x->connector = NULL;
    exchange_wait_end(x);
    if (e == ERR_LOOP || e == ERR_ADDRESS_DENIED) /* the latter: of the upstream proxy; those of the target are judged before */
        record_builtin(x, e == ERR_LOOP ? STR("loop") : STR("floor"));
    if (e != ERR_OK) {
        if (x->request->decision.chained) /* whoever failed, it was on this way */
            record_text(&x->record, RECORD_UPSTREAM_PROXY, x->runtime->hop_text);
        (void)err_set(&x->request->err, e, "%s", ctx->text);
        exchange_refuse(x, e);
        return;
    }
    note_peer(x, &got->peer);
    if (x->request->facts.shape == SHAPE_CONNECT) {
        tunnel_connect(x, got->stream);
        return;
    }
    e = adopt_connection(x, got);
    if (e != ERR_OK)
        exchange_refuse(x, e);
    else
        exchange_send(x);
}

void exchange_go_on(struct exchange *x)
{
    if (lacks_address(x))
        exchange_resolve(x);
    else
        stage_connect(x);
}

/* 7. Pool, dial, chain, TLS verified. */
static void stage_connect(struct exchange *x)
{
    struct request *r = x->request;
    const struct facts *f = &r->facts;
    struct connect_spec spec = {
        .host = &f->host,
        .port = f->port,
        .tls = f->shape != SHAPE_CONNECT && f->scheme == SCHEME_HTTPS,
        .hop = r->decision.chained ? x->runtime->hop : NULL,
        .tunnel = f->shape == SHAPE_CONNECT || f->scheme == SCHEME_HTTPS || r->upgrade == UPGRADE_WEBSOCKET,
        .addrs = r->addrs,
        .n = r->n_addrs,
        .timeout_ms = exchange_timeout(x, TIMEOUT_CONNECT),
        .handshake_ms = exchange_timeout(x, TIMEOUT_HANDSHAKE),
    };
    enum err e;

    exchange_set_state(x, EXCH_CONNECT);
    if (spec.tls && !(spec.client = worker_tls(x->worker, trust_of(x)))) {
        exchange_refuse_nomem(x);
        return;
    }
    if (x->up) {
        x->record.upstream_reused = true;
        note_peer(x, &x->up->peer);
        exchange_send(x);
        return;
    }
    exchange_wait_begin(x);
    e = connect_start(&x->worker->up, &spec, on_connected, x, &x->connector);
    if (e != ERR_OK)
        exchange_refuse(x, e);
}

/* 8 is exchange_send (send.c), 9 relay.c and tunnel.c, 10 exchange_record below. */

/* ---------------------------------------------------------------- events of the client's side */

static size_t client_body(void *owner, struct leg *l, struct str bytes)
{
    struct exchange *x = owner;

    (void)l;
    if (x->state == EXCH_SEND || x->state == EXCH_RELAY)
        return send_client_body(x, bytes);
    return 0; /* nobody to give it to yet: it stays where it is */
}

static void client_end(void *owner, struct leg *l, const struct fields *trailers)
{
    struct exchange *x = owner;

    (void)l;
    if (x->request_done)
        return;
    x->request_done = true;
    if (x->state == EXCH_SEND || x->state == EXCH_RELAY)
        send_client_end(x, trailers);
    else if (x->state == EXCH_REPLY)
        reply_on_writable(x);
    else if (trailers && !fields_copy(&x->arena, trailers, 0, &x->request->trailers))
        exchange_refuse_nomem(x);
}

static void client_writable(void *owner, struct leg *l)
{
    struct exchange *x = owner;

    (void)l;
    if (x->state == EXCH_REPLY)
        reply_on_writable(x);
    else if (x->state == EXCH_TUNNEL)
        tunnel_on_writable(x);
    else if (x->response_done)
        relay_check_done(x);
    else if (x->up && (x->state == EXCH_RELAY || x->state == EXCH_SEND))
        leg_resume(x->up->leg);
}

static void client_reset(void *owner, struct leg *l, enum err e)
{
    struct exchange *x = owner;

    if (err_status(e) && !x->response_started && x->state != EXCH_REPLY) {
        x->request->err = l->err;
        x->reply_close = true;
        exchange_refuse(x, e);
        return;
    }
    exchange_abort(x, ERR_CLIENT_ABORTED);
}

static void client_fin(void *owner, struct leg *l)
{
    struct exchange *x = owner;

    (void)l;
    x->session->client_fin = true;
    if (x->state == EXCH_HOLD)
        exchange_abort(x, ERR_CLIENT_ABORTED);
}

static void client_write_error(void *owner, struct leg *l)
{
    (void)l;
    exchange_abort(owner, ERR_CLIENT_ABORTED);
}

static void client_no_head(void *owner, struct leg *l, const struct http_head *head, bool end)
{
    (void)owner, (void)l, (void)head, (void)end;
    UNREACHABLE("a client's leg gives one head per message");
}

static const struct leg_events exchange_client_events = {
    .on_head = client_no_head,
    .on_body = client_body,
    .on_end = client_end,
    .on_writable = client_writable,
    .on_reset = client_reset,
    .on_fin = client_fin,
    .on_write_error = client_write_error,
};

static void on_timer(struct timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, timer);

    if (x->state == EXCH_SEND)
        send_on_timer(x);
    else if (x->state == EXCH_RELAY)
        relay_on_timer(x);
    else if (x->state == EXCH_HOLD)
        hold_on_timer(x);
    else if (x->state == EXCH_CREDENTIAL)
        retry_on_timer(x);
    else
        exchange_abort(x, ERR_STALLED);
}

/* ---------------------------------------------------------------- life */

static void exchange_destroy(struct task *t);

static void describe_client(struct exchange *x)
{
    const struct session *s = x->session;

    x->record.connection_id = s->id;
    x->record.client_uid = s->uid;
    x->record.has_uid = s->has_uid;
    record_text(&x->record, RECORD_LISTENER, x->worker->shared->points[s->listener].name);
    if (s->peer.family)
        record_address(x, RECORD_CLIENT_ADDRESS, &s->peer);
}

static struct exchange *exchange_new(struct session *s, struct leg *client)
{
    struct worker *w = s->worker;
    struct exchange *x = slab_take(w->exchanges);

    if (!x)
        return NULL;
    x->session = s;
    x->worker = w;
    x->client = client;
    arena_init(&x->arena, w->chunks, LIMIT_ARENA_BYTES);
    x->request = arena_alloc(&x->arena, sizeof(*x->request));
    if (!x->request) {
        arena_fini(&x->arena);
        slab_give(w->exchanges, x);
        return NULL;
    }
    memset(x->request, 0, offsetof(struct request, addrs));
    x->runtime = runtime_ref(w->runtime);
    timer_init(&x->timer, on_timer);
    task_init(&x->task, exchange_destroy);
    record_init(&x->record);
    x->record.timestamp_ms = clock_wall_ms();
    x->record.start_ns = clock_mono_ns();
    x->record.request_number = worker_id(w);
    x->record.auth_none = true; /* until somebody is asked who he is */
    describe_client(x);
    s->exchange = x;
    leg_own(client, &exchange_client_events, x);
    return x;
}

void exchange_start(struct session *s, struct leg *client, const struct http_head *head, bool end, enum err head_err)
{
    struct exchange *x = exchange_new(s, client);

    if (!x) {
        session_end(s, ERR_NOMEM);
        return;
    }
    x->request_done = end;
    if (!http_head_copy(&x->arena, head, 4, &x->request->head)) {
        x->reply_close = true;
        exchange_refuse_nomem(x);
        return;
    }
    x->awaiting_100 = head->expect_100 && !end;
    if (head_err != ERR_OK)
        x->request->err = client->err;
    judge(x, head_err);
}

void exchange_start_refused(struct session *s, struct leg *client, const struct errctx *err)
{
    struct exchange *x = exchange_new(s, client);

    if (!x) {
        session_end(s, ERR_NOMEM);
        return;
    }
    x->record.timestamp_ms = s->opened_ms;
    x->record.auth_none = true;
    x->request->err = *err;
    x->reply_close = true;
    exchange_refuse(x, err->code);
}

void exchange_release_upstream(struct exchange *x)
{
    exchange_wait_end(x);
    hold_withdraw(x);
    if (x->request) {
        vault_cancel(x->request->vault_wait);
        x->request->vault_wait = NULL;
    }
    dns_cancel(x->query);
    connect_cancel(x->connector);
    upconn_close(x->up);
    stream_close(x->tunnel, true);
    x->tunnel = NULL;
    x->query = NULL;
    x->connector = NULL;
    x->up = NULL;
}

static void count_bytes(struct exchange *x)
{
    struct pump_bytes moved;

    if (x->pump) {
        moved = pump_bytes(x->pump);
        x->record.request_bytes = moved.a_to_b;
        x->record.response_bytes = moved.b_to_a;
    } else if (x->client) {
        x->record.request_bytes = x->client->bytes_in;
        if (x->state != EXCH_REPLY)
            x->record.response_bytes = x->client->bytes_out;
    }
}

/* What ends an exchange from outside has no sentence of its own. */
static const char *plain_reason(enum err end)
{
    switch ((int)end) {
    case ERR_CLIENT_ABORTED: return "the client ended the connection";
    case ERR_UPSTREAM_ABORTED: return "the upstream ended the connection before its time";
    case ERR_STALLED: return "nothing moved within the time limit";
    case ERR_TUNNEL_IDLE: return "the tunnel was idle for too long";
    case ERR_SHUTDOWN: return "the gateway shut down";
    default: return "";
    }
}

/* At level info: what the audit has, in a line for people. */
static void log_exchange(const struct exchange *x)
{
    const struct record *r = &x->record;
    struct str method = record_get(r, RECORD_METHOD), to = record_get(r, RECORD_TARGET);
    struct str path = record_get(r, RECORD_PATH), reason = record_get(r, RECORD_REASON);
    char id[24], port[8] = "";

    audit_id(id, 'r', r->request_number);
    if (r->has_port)
        (void)snprintf(port, sizeof(port), ":%u", r->port);
    log_write(LOG_INFO, "%s: %.*s%s%.*s%s%.*s%s%u %s%s%.*s", id, STR_ARG(method), method.n ? " " : "", STR_ARG(to), port,
              STR_ARG(path), to.n || path.n ? " " : "", r->status, r->end == ERR_OK ? "ok" : err_name(r->end), reason.n ? ": " : "", STR_ARG(reason));
}

void exchange_record(struct exchange *x, enum err end)
{
    struct worker *w = x->worker;

    if (x->record_out)
        return;
    x->record_out = true;
    x->record.end = end;
    count_bytes(x);
    if (x->request && x->request->err.code && end != ERR_OK)
        record_text(&x->record, RECORD_REASON, exchange_reason(x));
    else if (!record_get(&x->record, RECORD_REASON).n)
        record_text(&x->record, RECORD_REASON, str_from(plain_reason(end)));
    if (log_enabled(LOG_INFO))
        log_exchange(x);
    if (!w->audit)
        return;
    /* what does not fit in memory is counted there */
    (void)record_emit(w->audit, &x->record, auth_mechanism_name(x->record.auth_mechanism), clock_mono_ns());
}

static void exchange_destroy(struct task *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, task);

    if (x->request)
        secret_release(x->request);
    arena_fini(&x->arena);
    record_fini(&x->record);
    runtime_unref(x->runtime);
    slab_give(x->worker->exchanges, x);
}

void exchange_finish(struct exchange *x, enum err end, enum session_next next)
{
    struct session *s = x->session;

    exchange_record(x, end);
    exchange_release_upstream(x);
    pump_free(x->pump, end != ERR_OK);
    x->pump = NULL;
    timer_stop(exchange_loop(x), &x->timer);
    exchange_set_state(x, EXCH_DONE);
    s->exchange = NULL;
    task_cancel(&x->task);
    task_init(&x->task, exchange_destroy);
    loop_close_later(exchange_loop(x), &x->task);
    session_exchange_done(s, next);
}

void exchange_abort(struct exchange *x, enum err why)
{
    exchange_finish(x, why, SESSION_CLOSE);
}

/* ---------------------------------------------------------------- reload */

/* The facts of something that runs, as far as they still matter: from the record, because a tunnel keeps nothing else. */
static bool facts_again(struct exchange *x, struct runtime *rt, struct facts *f)
{
    struct errctx ctx = {0};

    if (x->request) { /* the record may be masked, or cut short */
        *f = x->request->facts;
        f->now_ms = clock_wall_ms();
        f->client = rt->clients.n ? &rt->clients.v[0] : &rt->clients.anyone;
        return x->record.has_port;
    }
    memset(f, 0, sizeof(*f));
    f->scratch = x->worker->judge_scratch;
    f->scratch_size = WORKER_JUDGE_SCRATCH;
    f->shape = x->record.mode == AUDIT_CONNECT ? SHAPE_CONNECT : SHAPE_FORWARD;
    f->port = x->record.port;
    f->scheme = x->record.scheme == SCHEME_HTTPS ? SCHEME_HTTPS : SCHEME_HTTP;
    f->method = record_get(&x->record, RECORD_METHOD);
    f->path = record_get(&x->record, RECORD_PATH);
    f->listener = x->session->listener;
    f->now_ms = clock_wall_ms();
    f->client = rt->clients.n ? &rt->clients.v[0] : &rt->clients.anyone;
    if (x->record.mode == AUDIT_REVERSE) {
        f->shape = SHAPE_REVERSE;
        f->prefix = record_get(&x->record, RECORD_TARGET);
        return x->record.has_port;
    }
    return x->record.has_port &&
           hostname_parse(record_get(&x->record, RECORD_TARGET), &f->host, &ctx) == ERR_OK;
}

static bool still_allowed(struct exchange *x, struct runtime *rt)
{
    struct facts f;
    struct decision d;
    struct address a;
    struct vetted_addr v;

    if (!facts_again(x, rt, &f))
        return true; /* nothing of an upstream's: an answer of our own */
    policy_decide(rt->policy, &f, &d);
    if (d.verdict != VERDICT_ALLOW)
        return false;
    if (d.chained || !address_parse(record_get(&x->record, RECORD_UPSTREAM_ADDRESS), &a))
        return true;
    return policy_addr(rt->policy, &d, &a, &v) == ERR_OK;
}

void exchange_rejudge(struct exchange *x, struct runtime *runtime)
{
    static const char *const changed = "policy_changed: the policy changed and no longer allows this";

    if (x->state == EXCH_REPLY)
        return;
    if (still_allowed(x, runtime)) {
        if (x->doomed) /* by an earlier reload */
            err_clear(&x->request->err);
        x->doomed = false;
        return;
    }
    if (x->request)
        (void)err_set(&x->request->err, ERR_POLICY_CHANGED, "%s", changed);
    else
        record_text(&x->record, RECORD_REASON, str_from(changed));
    if (x->state == EXCH_TUNNEL)
        exchange_abort(x, ERR_POLICY_CHANGED);
    else if (x->record.mode == AUDIT_CONNECT) /* one that is still being made */
        exchange_refuse(x, ERR_POLICY_CHANGED);
    else
        x->doomed = true;
}

void exchange_end_doomed(struct exchange *x)
{
    if (!x->doomed || x->state == EXCH_REPLY) /* an answer of our own: it has its timer */
        return;
    if (x->response_started)
        exchange_abort(x, ERR_POLICY_CHANGED);
    else
        exchange_refuse(x, ERR_POLICY_CHANGED);
}
