#include "upstream/fetch.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/target.h"
#include "policy/decide.h"
#include <stdio.h>

enum { NAME_SIZE = LIMIT_HOST_BYTES + 16, HEAD_FIELDS = 6 };

/* START -> RESOLVE -> CONNECT -> TALK -> DONE; a literal, or a name that the upstream proxy
 * resolves, skips RESOLVE. */
enum fetch_state {
    FETCH_ST_START,
    FETCH_ST_RESOLVE,
    FETCH_ST_CONNECT,
    FETCH_ST_TALK,
    FETCH_ST_DONE,
};

struct fetch {
    struct up_env up;
    struct h1_env h1;
    struct str method, url, content_type, body; /* behind this struct */
    const struct hop *hop;
    uint64_t timeout_ms, deadline;
    fetch_fn *fn;
    void *owner;

    enum fetch_state state;
    struct target_uri to;
    char name[NAME_SIZE]; /* "host:port" for sentences */
    struct timer timer;
    struct task begin, free;
    struct dns_query *query;
    struct connector *connector;
    struct leg *leg;
    size_t sent; /* of body */
    unsigned status;
    struct buf answer;
    unsigned n_addrs;
    struct vetted_addr addrs[LIMIT_DNS_ADDRESSES];
};

/* --- the end --- */

static void on_free(struct task *task)
{
    struct fetch *f = CONTAINER_OF(task, struct fetch, free);
    buf_wipe_fini(&f->answer);
    tls_client_free(f->up.tls);
    mem_free(f);
}

static void end(struct fetch *f)
{
    f->state = FETCH_ST_DONE;
    timer_stop(f->up.loop, &f->timer);
    task_cancel(&f->begin);
    dns_cancel(f->query);
    connect_cancel(f->connector);
    leg_close(f->leg, true);
    f->query = NULL, f->connector = NULL, f->leg = NULL;
    loop_close_later(f->up.loop, &f->free);
}

static void fail(struct fetch *f, const struct errctx *ctx)
{
    end(f);
    f->fn(f->owner, ctx->code, 0, STR_NULL, ctx);
}

static void fail_nomem(struct fetch *f)
{
    struct errctx ctx = {0};
    (void)err_set(&ctx, ERR_NOMEM, "the gateway is out of memory");
    fail(f, &ctx);
}

static void succeed(struct fetch *f)
{
    end(f);
    if (!buf_ok(&f->answer)) {
        struct errctx ctx = {0};
        (void)err_set(&ctx, ERR_NOMEM, "the gateway is out of memory");
        f->fn(f->owner, ERR_NOMEM, 0, STR_NULL, &ctx);
        return;
    }
    f->fn(f->owner, ERR_OK, f->status, buf_str(&f->answer), NULL);
}

static void on_timer(struct timer *timer)
{
    struct fetch *f = CONTAINER_OF(timer, struct fetch, timer);
    struct errctx ctx = {0};
    (void)err_set(&ctx, ERR_UPSTREAM_SILENT, "%.100s gave no answer within %.3g s", f->name,
                  (double)f->timeout_ms / 1000);
    fail(f, &ctx);
}

static uint64_t left_ms(const struct fetch *f)
{
    uint64_t now = loop_now(f->up.loop);
    return f->deadline > now ? (f->deadline - now) / UINT64_C(1000000) + 1 : 1;
}

/* --- the answer --- */

static void fail_answer(struct fetch *f, enum err e, const char *what)
{
    struct errctx ctx = {0};
    (void)err_set(&ctx, e, "%.100s %s", f->name, what);
    fail(f, &ctx);
}

static void on_head(void *owner, struct leg *l, const struct http_head *head, bool last)
{
    struct fetch *f = owner;
    (void)l;
    if (head->status == 101)
        fail_answer(f, ERR_BAD_RESPONSE, "switched protocols unasked");
    if (head->status < 200)
        return; /* interim: the leg counts them */
    f->status = head->status;
    if (head->framing == FRAMING_LENGTH && head->length > LIMIT_FETCH_ANSWER)
        fail_answer(f, ERR_TOO_LARGE, "sent an answer over 64 KiB");
    else if (last)
        succeed(f);
}

static size_t on_body(void *owner, struct leg *l, struct str bytes)
{
    struct fetch *f = owner;
    (void)l;
    if (bytes.n > LIMIT_FETCH_ANSWER - f->answer.n) {
        fail_answer(f, ERR_TOO_LARGE, "sent an answer over 64 KiB");
        return 0;
    }
    buf_add_str(&f->answer, bytes);
    if (!buf_ok(&f->answer)) {
        fail_nomem(f);
        return 0;
    }
    return bytes.n;
}

static void on_end(void *owner, struct leg *l, const struct fields *trailers)
{
    (void)l, (void)trailers;
    succeed(owner);
}

static void on_reset(void *owner, struct leg *l, enum err e)
{
    struct fetch *f = owner;
    struct errctx ctx = {0};
    if (e == ERR_EOF)
        e = ERR_UPSTREAM_CLOSED;
    if (l->err.text[0])
        (void)err_set(&ctx, e, "%.60s: %.90s", f->name, l->err.text);
    else
        (void)err_set(&ctx, e, "%.100s closed the connection without an answer", f->name);
    fail(f, &ctx);
}

/* --- the request --- */

static void send_body(struct fetch *f)
{
    while (f->sent < f->body.n) {
        size_t taken = 0;
        struct str rest = str_of(f->body.p + f->sent, f->body.n - f->sent);
        if (leg_body(f->leg, rest, &taken) != ERR_OK)
            return; /* its answer may still be readable; else on_reset follows */
        f->sent += taken;
        if (!taken)
            return; /* on_writable follows */
    }
    if (!f->leg->out_done)
        (void)leg_end(f->leg, NULL);
}

static void on_writable(void *owner, struct leg *l)
{
    (void)l;
    send_body(owner);
}

static void on_nothing(void *owner, struct leg *l)
{
    (void)owner, (void)l; /* the answer, or its reset, says what became of it */
}

static const struct leg_events events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
    .on_fin = on_nothing,
    .on_write_error = on_nothing,
};

/* Plain requests go to an http(s) upstream proxy in absolute form (decision O6). */
static bool is_at_proxy(const struct fetch *f)
{
    return f->hop && f->to.scheme == SCHEME_HTTP &&
           (f->hop->kind == HOP_HTTP || f->hop->kind == HOP_HTTPS);
}

static void put_target(struct buf *out, const struct fetch *f)
{
    bool slash = f->to.origin.n && f->to.origin.p[0] == '/';
    if (is_at_proxy(f))
        target_format_uri(out, f->to.scheme, &f->to.host, f->to.port, slash ? STR("") : STR("/"));
    else if (!slash)
        buf_add_c(out, '/');
    buf_add_str(out, f->to.origin);
}

static enum err write_head(struct fetch *f, struct str target, struct str place, struct str extra)
{
    struct field v[HEAD_FIELDS];
    struct http_head head = {.method = f->method,
                             .target = target,
                             .minor = 1,
                             .framing = f->body.n ? FRAMING_LENGTH : FRAMING_NONE,
                             .length = f->body.n,
                             .fields = {.v = v, .cap = HEAD_FIELDS}};
    bool ok = fields_add(&head.fields, STR("Host"), place) &&
              fields_add(&head.fields, STR("User-Agent"), STR("nono-cli/" NONO_VERSION)) &&
              fields_add(&head.fields, STR("Accept"), STR("application/json"));
    if (ok && f->content_type.n)
        ok = fields_add(&head.fields, STR("Content-Type"), f->content_type);
    return ok ? leg_head(f->leg, &head, extra, !f->body.n) : ERR_NOMEM;
}

static enum err send_head(struct fetch *f)
{
    struct buf target, place, extra;
    enum err e = ERR_NOMEM;
    buf_init(&target, LIMIT_HEAD_BYTES);
    buf_init(&place, NAME_SIZE);
    buf_init(&extra, 16384); /* user and password may be 4 KiB each, and grow by a third */
    put_target(&target, f);
    target_format_host(&place, f->to.scheme, &f->to.host, f->to.port);
    bool ok = true;
    if (is_at_proxy(f) && f->hop->user) {
        ok = hop_add_authorization(&extra, f->hop);
        f->leg->secret_out = true;
    }
    buf_add_z(&extra, "Connection: close\r\n");
    if (ok && buf_ok(&target) && buf_ok(&place) && buf_ok(&extra))
        e = write_head(f, buf_str(&target), buf_str(&place), buf_str(&extra));
    buf_fini(&target), buf_fini(&place), buf_wipe_fini(&extra);
    return e;
}

static void on_connected(void *owner, enum err e, const struct connect_result *r,
                         const struct errctx *ctx)
{
    struct fetch *f = owner;
    f->connector = NULL;
    if (e) {
        fail(f, ctx);
        return;
    }
    f->state = FETCH_ST_TALK;
    if (h1_leg_new_upstream(&f->h1, r->stream, &f->leg)) {
        stream_close(r->stream, true);
        fail_nomem(f);
        return;
    }
    leg_own(f->leg, &events, f);
    e = send_head(f);
    if (e == ERR_RESET) {
        fail_answer(f, ERR_UPSTREAM_CLOSED, "closed the connection at once");
    } else if (e) {
        fail_nomem(f);
    } else if (f->body.n) {
        send_body(f);
    } else {
        (void)leg_flush(f->leg);
    }
}

/* --- whereto --- */

static void enter_connect(struct fetch *f)
{
    struct connect_spec spec = {.host = &f->to.host,
                                .port = f->to.port,
                                .tls = f->to.scheme == SCHEME_HTTPS,
                                .hop = f->hop,
                                .tunnel = !is_at_proxy(f),
                                .addrs = f->addrs,
                                .n = f->n_addrs,
                                .timeout_ms = left_ms(f)};
    f->state = FETCH_ST_CONNECT;
    if (connect_start(&f->up, &spec, on_connected, f, &f->connector))
        fail_nomem(f);
}

static bool is_local(const struct address *a)
{
    enum address_kind kind = address_kind(a);
    return kind == ADDRESS_LOOPBACK || kind == ADDRESS_UNSPECIFIED;
}

/* The operator named the place, so only the floor of decision H5 holds. A loopback one is ours, not
 * the upstream proxy's (K12). */
static void take_addresses(struct fetch *f, const struct address *v, unsigned n)
{
    struct errctx ctx = {0};
    for (unsigned i = 0; i < n && i < LIMIT_DNS_ADDRESSES; i++) {
        if (policy_addr_operator(&v[i], f->to.port, &f->addrs[i], &ctx)) {
            fail(f, &ctx);
            return;
        }
        f->n_addrs = i + 1;
        if (is_local(&v[i]))
            f->hop = NULL;
    }
    enter_connect(f);
}

static void on_resolved(void *owner, enum err e, const struct dns_answer *answer,
                        const struct errctx *ctx)
{
    struct fetch *f = owner;
    f->query = NULL;
    if (e)
        fail(f, ctx);
    else
        take_addresses(f, answer->v, answer->n);
}

static void enter_resolve(struct fetch *f)
{
    uint64_t ms = left_ms(f);
    struct dns_query *query = NULL;
    f->state = FETCH_ST_RESOLVE;
    if (dns_resolve(f->up.dns, &f->to.host, ms < LIMIT_TIMEOUT_DNS ? ms : LIMIT_TIMEOUT_DNS,
                    on_resolved, f, &query))
        fail_nomem(f);
    else if (f->state == FETCH_ST_RESOLVE)
        f->query = query;
}

static void set_name(struct fetch *f)
{
    struct buf b;
    buf_init(&b, sizeof(f->name) - 1);
    hostname_format_port(&b, &f->to.host, f->to.port);
    if (buf_ok(&b))
        memcpy(f->name, b.p, b.n);
    f->name[buf_ok(&b) ? b.n : 0] = '\0';
    buf_fini(&b);
}

static void on_begin(struct task *task)
{
    struct fetch *f = CONTAINER_OF(task, struct fetch, begin);
    struct errctx why = {0}, ctx = {0};
    if (target_parse_uri(f->url, &f->to, &why)) {
        (void)err_set(&ctx, ERR_INVALID, "the URL is not usable: %s", why.text);
        fail(f, &ctx);
        return;
    }
    set_name(f);
    if (hostname_is_localhost(&f->to.host) ||
        (f->to.host.is_address && is_local(&f->to.host.address)))
        f->hop = NULL;
    if (f->to.host.is_address)
        take_addresses(f, &f->to.host.address, 1);
    else if (f->hop && hop_resolves_names(f->hop))
        enter_connect(f);
    else
        enter_resolve(f);
}

static struct str keep(char **at, struct str s)
{
    char *p = *at;
    if (s.n)
        memcpy(p, s.p, s.n);
    *at = p + s.n;
    return str_of(p, s.n);
}

enum err fetch_start(const struct up_env *up, const struct h1_env *h1,
                     const struct fetch_spec *spec, fetch_fn *fn, void *owner,
                     struct fetch **ret_fetch)
{
    size_t n = spec->method.n + spec->url.n + spec->content_type.n + spec->body.n;
    struct fetch *f = mem_zalloc(sizeof(*f) + n + 1);
    char *at;
    if (!f)
        return ERR_NOMEM;
    at = (char *)(f + 1);
    f->up = *up, f->h1 = *h1;
    if (f->up.tls) /* as connect.c */
        (void)tls_client_ref(f->up.tls);
    f->method = keep(&at, spec->method), f->url = keep(&at, spec->url);
    f->content_type = keep(&at, spec->content_type), f->body = keep(&at, spec->body);
    f->hop = spec->hop;
    f->timeout_ms = spec->timeout_ms ? spec->timeout_ms : LIMIT_TIMEOUT_FETCH;
    f->deadline = loop_now(up->loop) + f->timeout_ms * UINT64_C(1000000);
    f->fn = fn, f->owner = owner;
    buf_init(&f->answer, LIMIT_FETCH_ANSWER);
    timer_init(&f->timer, on_timer);
    task_init(&f->begin, on_begin);
    task_init(&f->free, on_free);
    timer_set(up->loop, &f->timer, f->timeout_ms);
    task_run_soon(up->loop, &f->begin);
    *ret_fetch = f;
    return ERR_OK;
}

void fetch_cancel(struct fetch *f)
{
    if (f && f->state != FETCH_ST_DONE)
        end(f);
}
