#include "upstream/connect.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/stream_tcp.h"
#include "policy/decide.h"
#include "sys/sock.h"
#include "upstream/chain.h"
#include "upstream/dial.h"

/* RESOLVE_HOP -> DIAL -> HOP_TLS -> CHAIN -> TLS -> DONE; what a connection does not need is
 * skipped. */
enum connect_state {
    CONNECT_ST_START,
    CONNECT_ST_RESOLVE_HOP, /* the upstream proxy's own name */
    CONNECT_ST_DIAL,
    CONNECT_ST_HOP_TLS,
    CONNECT_ST_CHAIN, /* asking the upstream proxy for a tunnel */
    CONNECT_ST_TLS,
    CONNECT_ST_DONE,
};

struct connector {
    struct up_env env;
    struct hostname host;
    uint16_t port;
    bool tls, tunnel;
    struct tls_client *client; /* towards the target; counted */
    const struct hop *hop;
    uint64_t timeout_ms, handshake_ms;
    connect_fn *fn;
    void *owner;

    enum connect_state state;
    struct timer total, handshake;
    struct task begin, free;
    struct dns_query *query;
    uint64_t dns_began;
    struct dial *dial;
    struct stream *stream; /* the outermost so far */
    struct chain_http *http;
    struct chain_socks *socks;
    struct connect_result result;
    char name[300];     /* who is dialled, for sentences */
    unsigned target_at; /* socks5: which of the target's addresses is asked for */
    unsigned n_addrs, n_hop_addrs;
    struct vetted_addr *hop_addrs; /* behind addrs */
    struct vetted_addr addrs[];
};

static void go_on(struct connector *c);

static const char *state_name(enum connect_state s)
{
    static const char *const names[] = {"start", "resolve-hop", "dial", "hop-tls",
                                        "chain", "tls",         "done"};
    return names[s];
}

static bool may_follow(enum connect_state from, enum connect_state to)
{
    static const unsigned next[] = {
        [CONNECT_ST_START] = 1u << CONNECT_ST_RESOLVE_HOP | 1u << CONNECT_ST_DIAL,
        [CONNECT_ST_RESOLVE_HOP] = 1u << CONNECT_ST_DIAL,
        [CONNECT_ST_DIAL] =
            1u << CONNECT_ST_HOP_TLS | 1u << CONNECT_ST_CHAIN | 1u << CONNECT_ST_TLS,
        [CONNECT_ST_HOP_TLS] = 1u << CONNECT_ST_CHAIN,
        [CONNECT_ST_CHAIN] = 1u << CONNECT_ST_TLS | 1u << CONNECT_ST_DIAL, /* another address */
        [CONNECT_ST_TLS] = 0,
        [CONNECT_ST_DONE] = 0,
    };
    return to == CONNECT_ST_DONE ? from != to : (next[from] >> to & 1u) != 0;
}

static void set_state(struct connector *c, enum connect_state to)
{
    ASSERT(may_follow(c->state, to));
    log_trace("connect %s:%u: %s -> %s", c->host.text, c->port, state_name(c->state),
              state_name(to));
    c->state = to;
    if ((to == CONNECT_ST_HOP_TLS || to == CONNECT_ST_TLS) && c->handshake_ms)
        timer_set(c->env.loop, &c->handshake, c->handshake_ms);
    else
        timer_stop(c->env.loop, &c->handshake);
}

/* --- the end --- */

static void on_free(struct task *task)
{
    struct connector *c = CONTAINER_OF(task, struct connector, free);

    tls_client_free(c->env.tls);
    tls_client_free(c->client);
    mem_free(c);
}

static void drop_chain(struct connector *c)
{
    chain_http_free(c->http);
    chain_socks_free(c->socks);
    c->http = NULL, c->socks = NULL;
}

/* Everything that is ours ends; whatever the result holds was taken out before. */
static void end(struct connector *c)
{
    set_state(c, CONNECT_ST_DONE);
    timer_stop(c->env.loop, &c->total);
    task_cancel(&c->begin);
    dns_cancel(c->query);
    dial_cancel(c->dial);
    stream_close(c->stream, false);
    drop_chain(c);
    c->query = NULL, c->dial = NULL, c->stream = NULL;
    loop_close_later(c->env.loop, &c->free);
}

static void fail(struct connector *c, const struct errctx *ctx)
{
    end(c);
    c->fn(c->owner, ctx->code, NULL, ctx);
}

static void fail_nomem(struct connector *c)
{
    struct errctx ctx = {0};
    (void)err_set(&ctx, ERR_NOMEM, "out of memory while connecting to %s", c->host.text);
    fail(c, &ctx);
}

/* The sentence of a layer that does not know that it spoke to the upstream proxy. */
static void fail_hop(struct connector *c, enum err e, const struct errctx *why)
{
    struct errctx ctx = {0};
    (void)err_set(&ctx, e, "upstream proxy: %s", why->text);
    ctx.os_errno = why->os_errno;
    fail(c, &ctx);
}

static void succeed(struct connector *c)
{
    c->result.stream = c->stream;
    c->stream = NULL;
    stream_own(c->result.stream, NULL, NULL);
    /* we may have stopped before its last byte: let the new owner look */
    stream_again(c->result.stream);
    end(c);
    c->fn(c->owner, ERR_OK, &c->result, NULL);
}

/* --- time --- */

static void time_text(uint64_t ms, char *text, size_t cap)
{
    struct buf b;
    buf_init(&b, cap - 1);
    if (ms % 1000)
        buf_printf(&b, "%llu ms", (unsigned long long)ms);
    else
        buf_printf(&b, "%llu second%s", (unsigned long long)ms / 1000, ms == 1000 ? "" : "s");
    size_t n = buf_ok(&b) ? b.n : 0;
    if (n)
        memcpy(text, b.p, n);
    text[n] = '\0';
    buf_fini(&b);
}

static void time_out(struct connector *c, uint64_t ms)
{
    struct errctx ctx = {0};
    char within[32];
    time_text(ms, within, sizeof(within));
    switch (c->state) {
    case CONNECT_ST_RESOLVE_HOP:
        (void)err_set(&ctx, ERR_CONNECT_TIMEOUT, "no address for upstream proxy %s within %s",
                      c->hop->host.text, within);
        break;
    case CONNECT_ST_HOP_TLS:
    case CONNECT_ST_TLS:
        (void)err_set(&ctx, ERR_CONNECT_TIMEOUT, "TLS handshake with %s took longer than %s",
                      c->state == CONNECT_ST_TLS ? c->host.text : c->hop->host.text, within);
        break;
    case CONNECT_ST_CHAIN:
        (void)err_set(&ctx, ERR_CONNECT_TIMEOUT, "%s opened no tunnel to %s:%u within %s", c->name,
                      c->host.text, c->port, within);
        break;
    default:
        (void)err_set(&ctx, ERR_CONNECT_TIMEOUT, "cannot connect to %s within %s", c->name, within);
    }
    fail(c, &ctx);
}

static void on_total(struct timer *timer)
{
    struct connector *c = CONTAINER_OF(timer, struct connector, total);
    time_out(c, c->timeout_ms);
}

static void on_handshake(struct timer *timer)
{
    struct connector *c = CONTAINER_OF(timer, struct connector, handshake);
    time_out(c, c->handshake_ms);
}

/* --- dial --- */

static void on_dialled(void *owner, enum err e, struct stream *s, const struct vetted_addr *peer,
                       const struct errctx *ctx)
{
    struct connector *c = owner;
    c->dial = NULL;
    if (e) {
        fail(c, ctx);
        return;
    }
    c->stream = s;
    c->result.peer = *peer;
    if ((c->tls || !c->tunnel) && stream_tcp_fd(s) >= 0)
        sock_keepalive(stream_tcp_fd(s)); /* it may wait long for answers; a tunnel sees to itself */
    go_on(c);
}

static void set_name(struct connector *c)
{
    struct buf b;
    buf_init(&b, sizeof(c->name) - 1);
    if (c->hop) {
        buf_add_z(&b, "upstream proxy ");
        hop_format(&b, c->hop);
    } else {
        hostname_format_port(&b, &c->host, c->port);
    }
    size_t n = buf_ok(&b) ? b.n : 0;
    if (n)
        memcpy(c->name, b.p, n);
    c->name[n] = '\0';
    buf_fini(&b);
}

static void enter_dial(struct connector *c)
{
    struct errctx ctx = {0};
    struct dial_spec spec = {
        .loop = c->env.loop,
        .name = str_from(c->name),
        .addrs = c->hop ? c->hop_addrs : c->addrs,
        .n = c->hop ? c->n_hop_addrs : c->n_addrs,
        .is_own = c->env.is_own,
        .is_own_owner = c->env.owner,
    };
    set_state(c, CONNECT_ST_DIAL);
    if (dial_start(&spec, on_dialled, c, &c->dial, &ctx)) {
        c->dial = NULL;
        fail(c, &ctx);
    }
}

/* --- the upstream proxy's address --- */

static void take_hop_addresses(struct connector *c, const struct address *v, unsigned n)
{
    struct errctx why = {0};
    for (unsigned i = 0; i < n && i < LIMIT_DNS_ADDRESSES; i++) {
        enum err e = policy_addr_operator(&v[i], c->hop->port, &c->hop_addrs[i], &why);
        if (e) {
            fail_hop(c, e, &why);
            return;
        }
        c->n_hop_addrs = i + 1;
    }
    enter_dial(c);
}

static void on_hop_dns(void *owner, enum err e, const struct dns_answer *answer,
                       const struct errctx *ctx)
{
    struct connector *c = owner;
    c->query = NULL;
    c->result.waited_dns_ns = loop_now(c->env.loop) - c->dns_began;
    if (e)
        fail_hop(c, e, ctx);
    else
        take_hop_addresses(c, answer->v, answer->n);
}

static void enter_resolve_hop(struct connector *c)
{
    const struct hostname *host = &c->hop->host;
    set_state(c, CONNECT_ST_RESOLVE_HOP);
    if (host->is_address) {
        take_hop_addresses(c, &host->address, 1);
        return;
    }
    uint64_t ms = c->timeout_ms < LIMIT_TIMEOUT_DNS ? c->timeout_ms : LIMIT_TIMEOUT_DNS;
    struct dns_query *query = NULL;
    c->dns_began = loop_now(c->env.loop);
    if (dns_resolve(c->env.dns, host, ms, on_hop_dns, c, &query))
        fail_nomem(c);
    else if (c->state == CONNECT_ST_RESOLVE_HOP)
        c->query = query;
}

/* --- TLS --- */

static void on_tls(void *owner, struct stream *s, enum err e, const struct errctx *ctx)
{
    struct connector *c = owner;
    (void)s;
    if (!e)
        go_on(c);
    else if (c->state == CONNECT_ST_HOP_TLS)
        fail_hop(c, e, ctx);
    else
        fail(c, ctx);
}

static void enter_tls(struct connector *c, enum connect_state state)
{
    bool to_hop = state == CONNECT_ST_HOP_TLS;
    struct stream *under = c->stream;
    c->stream = NULL;
    set_state(c, state);
    if (tls_client_stream(to_hop ? c->env.tls : c->client, under, to_hop ? &c->hop->host : &c->host,
                          to_hop ? c->hop->port : c->port, c->env.scratch, c->env.scratch_size,
                          on_tls, c, &c->stream))
        fail_nomem(c);
}

/* --- chain --- */

static bool next_target_address(struct connector *c)
{
    if (!c->socks || c->hop->kind != HOP_SOCKS5 || !chain_socks_may_retry(c->socks) ||
        c->target_at + 1 >= c->n_addrs)
        return false;
    c->target_at++;
    stream_close(c->stream, false);
    c->stream = NULL;
    drop_chain(c);
    return true;
}

static void on_chain_ready(void *owner, struct stream *s)
{
    struct connector *c = owner;
    struct errctx ctx = {0};
    enum err e = c->http ? chain_http_step(c->http, s, &ctx) : chain_socks_step(c->socks, s, &ctx);
    if (e == ERR_AGAIN)
        return;
    if (!e)
        go_on(c);
    else if (next_target_address(c))
        enter_dial(c);
    else
        fail(c, &ctx);
}

static void enter_chain(struct connector *c)
{
    bool socks = c->hop->kind == HOP_SOCKS5 || c->hop->kind == HOP_SOCKS5H;
    struct chain_target to = {.hop = c->hop, .host = &c->host, .port = c->port};
    set_state(c, CONNECT_ST_CHAIN);
    if (c->hop->kind == HOP_SOCKS5 && !c->host.is_address)
        to.address = &c->addrs[c->target_at].address;
    if (socks ? chain_socks_new(&to, &c->socks) : chain_http_new(&to, &c->http)) {
        fail_nomem(c);
        return;
    }
    stream_own(c->stream, on_chain_ready, c);
    on_chain_ready(c, c->stream);
}

/* --- what comes next --- */

static bool needs_chain(const struct connector *c)
{
    return c->hop && (c->tunnel || c->hop->kind == HOP_SOCKS5 || c->hop->kind == HOP_SOCKS5H);
}

/* The present state has done its part. */
static void go_on(struct connector *c)
{
    bool tls_left = c->tls && (!c->hop || needs_chain(c));
    if (c->state == CONNECT_ST_DIAL && c->hop && c->hop->kind == HOP_HTTPS)
        enter_tls(c, CONNECT_ST_HOP_TLS);
    else if (c->state < CONNECT_ST_CHAIN && needs_chain(c))
        enter_chain(c);
    else if (c->state < CONNECT_ST_TLS && tls_left)
        enter_tls(c, CONNECT_ST_TLS);
    else
        succeed(c);
}

/* Addresses are dialled here, or (socks5) told to the upstream proxy: nobody else may have made
 * them. */
static bool lacks_addresses(const struct connector *c, struct errctx *ctx)
{
    bool needed = !c->hop || (c->hop->kind == HOP_SOCKS5 && !c->host.is_address);
    if (needed && !c->n_addrs)
        return err_set(ctx, ERR_DNS_FAILED, "%s has no addresses", c->host.text) != ERR_OK;
    for (unsigned i = 0; i < c->n_addrs; i++) {
        if (!c->addrs[i].by)
            return err_set(ctx, ERR_ADDRESS_DENIED, "an address of %s was never judged",
                           c->host.text) != ERR_OK;
    }
    return false;
}

static void on_begin(struct task *task)
{
    struct connector *c = CONTAINER_OF(task, struct connector, begin);
    struct errctx ctx = {0};
    if (lacks_addresses(c, &ctx))
        fail(c, &ctx);
    else if (c->hop)
        enter_resolve_hop(c);
    else
        enter_dial(c);
}

static void copy_spec(struct connector *c, const struct connect_spec *spec)
{
    c->host = *spec->host;
    c->port = spec->port;
    c->tls = spec->tls;
    c->hop = spec->hop;
    c->tunnel = spec->tunnel;
    c->timeout_ms = spec->timeout_ms ? spec->timeout_ms : LIMIT_TIMEOUT_CONNECT;
    c->handshake_ms = spec->handshake_ms;
    c->n_addrs = spec->n < LIMIT_DNS_ADDRESSES ? spec->n : LIMIT_DNS_ADDRESSES;
    for (unsigned i = 0; i < c->n_addrs; i++)
        c->addrs[i] = spec->addrs[i];
    c->hop_addrs = c->addrs + c->n_addrs;
}

enum err connect_start(const struct up_env *env, const struct connect_spec *spec, connect_fn *fn,
                       void *owner, struct connector **ret_connector)
{
    size_t n = (size_t)spec->n + (spec->hop ? LIMIT_DNS_ADDRESSES : 0);
    struct connector *c = mem_zalloc(sizeof(*c) + n * sizeof(c->addrs[0]));
    if (!c)
        return ERR_NOMEM;
    c->env = *env;
    if (c->env.tls) /* a reload may replace the worker's before we come to TLS */
        (void)tls_client_ref(c->env.tls);
    c->client = tls_client_ref(spec->client ? spec->client : env->tls);
    c->fn = fn, c->owner = owner;
    copy_spec(c, spec);
    set_name(c);
    timer_init(&c->total, on_total);
    timer_init(&c->handshake, on_handshake);
    task_init(&c->begin, on_begin);
    task_init(&c->free, on_free);
    timer_set(env->loop, &c->total, c->timeout_ms);
    task_run_soon(env->loop, &c->begin);
    *ret_connector = c;
    return ERR_OK;
}

void connect_cancel(struct connector *c)
{
    if (c && c->state != CONNECT_ST_DONE)
        end(c);
}
