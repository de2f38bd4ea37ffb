#include "config/runtime.h"
#include "base/mem.h"
#include <stdlib.h>

/* Sentences of the modules below do not always say where the value stands; the operator must see
 * it. */
static enum err at_origin(struct errctx *ctx, const struct setting *s, enum err e,
                          const struct errctx *why)
{
    size_t n = s->origin.n;
    if (e == ERR_NOMEM)
        return err_set(ctx, e, "out of memory");
    if (n && memmem(why->text, strlen(why->text), s->origin.p, n))
        return err_set(ctx, e, "%s", why->text);
    return err_set(ctx, e, "%.*s: %s", STR_ARG(s->origin), why->text);
}

static enum err out_of_memory(struct errctx *ctx)
{
    return err_set(ctx, ERR_NOMEM, "out of memory");
}

static enum err add_rules(struct runtime *r, enum rule_list list, const struct settings *from,
                          struct errctx *ctx)
{
    for (size_t i = 0; i < from->n; i++) {
        const struct setting *s = &from->v[i];
        const char *notice = NULL;
        struct errctx why = {0};
        enum err e = policy_add(r->policy, list, s->value, s->origin, &notice, &why);
        if (e)
            return at_origin(ctx, s, e, &why);
        if (notice && !settings_add(&r->warnings, str_from(notice), s->origin))
            return out_of_memory(ctx);
    }
    return ERR_OK;
}

static enum err set_hop(struct runtime *r, const struct setting *s, struct errctx *ctx)
{
    if (!s->value.p)
        return ERR_OK;
    struct errctx why = {0};
    struct hop *hop = mem_zalloc(sizeof(*hop));
    if (!hop)
        return out_of_memory(ctx);
    enum err e = hop_parse(s->value, hop, &why);
    if (e) {
        mem_free(hop);
        return at_origin(ctx, s, e, &why);
    }
    r->hop = hop;
    struct buf text;
    buf_init(&text, LIMIT_HOST_BYTES + 16);
    hop_format(&text, hop);
    char *copy = buf_ok(&text) ? mem_dup(text.p, text.n) : NULL;
    if (copy)
        r->hop_text = str_of(copy, text.n);
    buf_fini(&text);
    if (!copy)
        return out_of_memory(ctx);
    policy_set_chain(r->policy, hop_resolves_names(hop));
    return ERR_OK;
}

static enum err set_server_names(struct runtime *r, const struct settings *names,
                                 struct errctx *ctx)
{
    if (names->n == 0)
        return ERR_OK;
    r->server_names = mem_zalloc(names->n * sizeof(*r->server_names));
    if (!r->server_names)
        return out_of_memory(ctx);
    for (size_t i = 0; i < names->n; i++) {
        struct errctx why = {0};
        enum err e = hostname_parse(names->v[i].value, &r->server_names[i], &why);
        if (e)
            return at_origin(ctx, &names->v[i], e == ERR_NOMEM ? e : ERR_INVALID, &why);
        r->n_server_names++;
    }
    return ERR_OK;
}

static enum err set_clients(struct runtime *r, const struct config *c, struct secret *token,
                            struct errctx *ctx)
{
    r->clients.auth_off = c->no_auth;
    if (!token)
        return ERR_OK;
    r->clients.v = mem_zalloc(sizeof(*r->clients.v));
    if (!r->clients.v)
        return out_of_memory(ctx);
    r->clients.v[0].token = secret_ref(token);
    r->clients.n = 1;
    return ERR_OK;
}

static enum err set_policy(struct runtime *r, const struct config *c, struct errctx *ctx)
{
    enum err e = policy_new(&r->policy);
    if (e)
        return out_of_memory(ctx);
    if ((e = add_rules(r, RULES_ALLOW, &c->allow, ctx)) ||
        (e = add_rules(r, RULES_DENY, &c->deny, ctx)) ||
        (e = add_rules(r, RULES_BYPASS, &c->bypass, ctx)) ||
        (e = set_hop(r, &c->upstream_proxy, ctx)))
        return e;
    return policy_freeze(r->policy) ? out_of_memory(ctx) : ERR_OK;
}

/* An empty variable counts as unset (decision O7). */
static const char *path_from_env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static enum err fill(struct runtime *r, const struct config *c, struct secret *token,
                     struct errctx *ctx)
{
    enum err e = config_check(c, ctx);
    if (e || (e = set_policy(r, c, ctx)) || (e = set_server_names(r, &c->server_names, ctx)) ||
        (e = set_clients(r, c, token, ctx)))
        return e;
    memcpy(r->timeout_ms, c->timeout_ms, sizeof(r->timeout_ms));
    r->audit_fail_closed = c->audit_fail_closed;
    if (c->audit_fail_closed && c->audit_log.n == 0 &&
        !settings_add(&r->warnings, STR("--audit-fail-closed has no effect without --audit-log"),
                      STR("--audit-fail-closed")))
        return out_of_memory(ctx);
    return tls_trust_new(path_from_env("SSL_CERT_FILE"), path_from_env("SSL_CERT_DIR"), &r->trust,
                         ctx);
}

static void runtime_free(struct runtime *r)
{
    policy_free(r->policy);
    for (unsigned i = 0; i < r->clients.n; i++)
        secret_unref(r->clients.v[i].token);
    mem_free(r->clients.v);
    if (r->hop)
        hop_fini(r->hop);
    mem_free(r->hop);
    mem_free((char *)r->hop_text.p);
    if (r->trust)
        tls_trust_unref(r->trust);
    mem_free(r->server_names);
    settings_fini(&r->warnings);
    mem_free(r);
}

enum err runtime_new(const struct config *c, struct secret *token, uint64_t generation,
                     struct runtime **ret_runtime, struct errctx *ctx)
{
    struct runtime *r = mem_zalloc(sizeof(*r));
    if (!r)
        return out_of_memory(ctx);
    atomic_init(&r->refs_, 1);
    r->generation = generation;
    enum err e = fill(r, c, token, ctx);
    if (e) {
        runtime_free(r);
        return e;
    }
    *ret_runtime = r;
    return ERR_OK;
}

struct runtime *runtime_ref(struct runtime *r)
{
    atomic_fetch_add_explicit(&r->refs_, 1, memory_order_relaxed);
    return r;
}

void runtime_unref(struct runtime *r)
{
    if (r && atomic_fetch_sub_explicit(&r->refs_, 1, memory_order_acq_rel) == 1)
        runtime_free(r);
}
