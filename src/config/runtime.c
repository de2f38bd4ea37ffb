#include "config/runtime.h"
#include "base/mem.h"
#include "config/builtin.h"
#include "config/runtime_int.h"
#include <stdlib.h>

static enum err out_of_memory(struct errctx *ctx)
{
    return err_set(ctx, ERR_NOMEM, "out of memory");
}

void build_problem(struct build *b, struct str origin, enum err e, const struct errctx *why)
{
    resolve_problem(b->resolve, origin, NULL, "%s", e == ERR_NOMEM ? "out of memory" : why->text);
}

static enum err add_rules(struct build *b, enum rule_list list, const struct settings *from)
{
    struct runtime *r = b->runtime;
    for (size_t i = 0; i < from->n; i++) {
        const struct setting *s = &from->v[i];
        const char *notice = NULL;
        struct errctx why = {0};
        enum err e = policy_add(r->policy, list, s->value, s->origin, &notice, &why);
        if (e == ERR_NOMEM)
            return e;
        if (e)
            build_problem(b, s->origin, e, &why);
        if (notice && !settings_add(&r->warnings, str_from(notice), s->origin))
            return ERR_NOMEM;
    }
    return ERR_OK;
}

/* Groups of the network profile, before all other entries (4.5). */
static enum err add_network_profile(struct build *b)
{
    const struct setting *s = &b->runtime->config.network_profile;
    const struct builtin_network *network = builtin_network_find(s->value);
    for (size_t i = 0; network && network->groups[i]; i++) {
        const char *notice = NULL;
        struct errctx why = {0};
        enum err e = policy_add(b->runtime->policy, RULES_ALLOW, str_from(network->groups[i]),
                                s->origin, &notice, &why);
        if (e)
            return e;
    }
    return ERR_OK;
}

static enum err name_hop(struct runtime *r)
{
    struct buf text;
    buf_init(&text, LIMIT_HOST_BYTES + 16);
    hop_format(&text, r->hop);
    char *copy = buf_ok(&text) ? mem_dup(text.p, text.n) : NULL;
    if (copy)
        r->hop_text = str_of(copy, text.n);
    buf_fini(&text);
    return copy ? ERR_OK : ERR_NOMEM;
}

/* A flag or variable says by its own name what it is about. */
static const char *hop_fault(struct str origin, const struct errctx *why)
{
    static const char before[] = "upstream proxy: ";
    bool named = str_starts(origin, STR("--")) || str_starts(origin, STR("NONO_"));
    bool said = strncmp(why->text, before, strlen(before)) == 0;
    return named && said ? why->text + strlen(before) : why->text;
}

static enum err set_hop(struct build *b, const struct setting *s)
{
    struct runtime *r = b->runtime;
    if (!s->value.p)
        return ERR_OK;
    struct errctx why = {0};
    struct hop *hop = mem_zalloc(sizeof(*hop));
    if (!hop)
        return ERR_NOMEM;
    enum err e = hop_parse(s->value, hop, &why);
    if (e) {
        mem_free(hop);
        if (e != ERR_NOMEM)
            resolve_problem(b->resolve, s->origin, NULL, "%s", hop_fault(s->origin, &why));
        return e == ERR_NOMEM ? e : ERR_OK;
    }
    r->hop = hop;
    policy_set_chain(r->policy, hop_resolves_names(hop));
    return name_hop(r);
}

static enum err set_server_names(struct build *b, const struct settings *names)
{
    struct runtime *r = b->runtime;
    if (names->n == 0)
        return ERR_OK;
    r->server_names = mem_zalloc(names->n * sizeof(*r->server_names));
    if (!r->server_names)
        return ERR_NOMEM;
    for (size_t i = 0; i < names->n; i++) {
        struct errctx why = {0};
        enum err e = hostname_parse(names->v[i].value, &r->server_names[r->n_server_names], &why);
        if (e == ERR_NOMEM)
            return e;
        if (e)
            build_problem(b, names->v[i].origin, e, &why);
        else
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

/* Something makes the list of allowed hosts count; a list that stays empty allows all (H10). */
static bool is_listed(const struct config *c)
{
    return c->block || c->allow.n || c->gates.n || c->network_profile.value.p;
}

static enum err set_policy(struct build *b)
{
    struct runtime *r = b->runtime;
    const struct config *c = &r->config;
    enum err e = policy_new(&r->policy);
    if (e)
        return e;
    policy_set_strict(r->policy, c->block);
    if ((e = add_network_profile(b)) || (e = add_rules(b, RULES_ALLOW, &c->allow)) ||
        (e = build_routes(b, is_listed(c))) || (e = add_rules(b, RULES_DENY, &c->deny)) ||
        (e = add_rules(b, RULES_BYPASS, &c->bypass)) || (e = set_hop(b, &c->upstream_proxy)))
        return e;
    if ((e = policy_freeze(r->policy)))
        return e;
    return b->resolve->problems.errors ? ERR_OK : build_notes(b);
}

/* An empty variable counts as unset (decision O7). */
static const char *path_from_env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static enum err set_trust(struct build *b)
{
    struct errctx why = {0};
    enum err e = tls_trust_new(path_from_env("SSL_CERT_FILE"), path_from_env("SSL_CERT_DIR"),
                               &b->runtime->trust, &why);
    if (e && e != ERR_NOMEM)
        build_problem(b, STR_NULL, e, &why);
    return e == ERR_NOMEM ? e : ERR_OK;
}

static const char *path_or_null(struct str path)
{
    return path.n ? path.p : NULL; /* texts of the config end in NUL */
}

static enum err set_route_trust(struct build *b, const struct service_conf *s, size_t route)
{
    struct runtime *r = b->runtime;
    struct errctx why = {0};
    struct tls_route_files files = {.ca = path_or_null(s->tls_ca),
                                    .cert = path_or_null(s->tls_client_cert),
                                    .key = path_or_null(s->tls_client_key)};
    if (!files.ca && !files.cert)
        return ERR_OK;
    enum err e = tls_trust_route(r->trust, &files, &r->route_trust[route], &why);
    if (e && e != ERR_NOMEM)
        resolve_problem(b->resolve, s->origin, NULL, "credential \"%.*s\": %s", STR_ARG(s->name),
                        why.text);
    return e == ERR_NOMEM ? e : ERR_OK;
}

/* tls_ca, tls_client_cert and tls_client_key of services, by the index of their routes. */
static enum err set_route_trusts(struct build *b)
{
    struct runtime *r = b->runtime;
    const struct service_confs *all = &r->config.services;
    enum err e = ERR_OK;
    size_t n = policy_routes(r->policy);
    if (!r->trust || !n)
        return ERR_OK;
    r->route_trust = mem_zalloc(n * sizeof(*r->route_trust));
    if (!r->route_trust)
        return ERR_NOMEM;
    r->n_route_trust = n;
    for (size_t i = 0; !e && i < n; i++) {
        struct route_view v;
        policy_route_view(r->policy, i, &v);
        for (size_t k = 0; !e && v.has_credential && k < all->n; k++)
            if (all->v[k].enabled && str_eq(all->v[k].name, v.id))
                e = set_route_trust(b, &all->v[k], i);
    }
    return e;
}

struct tls_trust *runtime_trust(const struct runtime *r, int index)
{
    struct tls_trust *own =
        index >= 0 && (size_t)index < r->n_route_trust ? r->route_trust[index] : NULL;
    return own ? own : r->trust;
}

static enum err fill(struct build *b, struct secret *token, struct errctx *ctx)
{
    struct runtime *r = b->runtime;
    const struct config *c = &r->config;
    enum err e;
    if ((e = set_policy(b)) || (e = set_server_names(b, &c->server_names)) ||
        (e = set_clients(r, c, token, ctx)) || (e = set_trust(b)) || (e = set_route_trusts(b)))
        return e;
    memcpy(r->timeout_ms, c->timeout_ms, sizeof(r->timeout_ms));
    r->audit_fail_closed = c->audit_fail_closed;
    if (c->audit_fail_closed && c->audit_log.n == 0 &&
        !settings_add(&r->warnings, STR("it has no effect without --audit-log"),
                      STR("--audit-fail-closed")))
        return ERR_NOMEM;
    return b->resolve->problems.errors ? ERR_INVALID : ERR_OK;
}

static void runtime_free(struct runtime *r)
{
    if (r->credentials)
        r->credentials_free(r->credentials);
    for (size_t i = 0; i < r->n_route_trust; i++)
        if (r->route_trust[i])
            tls_trust_unref(r->route_trust[i]);
    mem_free(r->route_trust);
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
    config_fini(&r->config);
    mem_free(r);
}

/* The first error's sentence, for those who have room for one only. */
static enum err first_sentence(const struct resolve *r, enum err e, struct errctx *ctx)
{
    for (size_t i = 0; e != ERR_NOMEM && r->doc && i < r->problems.n; i++) {
        const struct problem *p = &r->problems.v[i];
        struct buf at;
        if (p->warning)
            continue;
        buf_init(&at, 4096);
        if (p->at.file && *p->at.file)
            place_format(&at, &p->at);
        e = err_set(ctx, e, "%.*s%s%.*s", STR_ARG(buf_str(&at)), at.n ? ": " : "",
                    STR_ARG(p->message));
        buf_fini(&at);
        return e;
    }
    return e == ERR_NOMEM ? out_of_memory(ctx) : err_set(ctx, e, "the configuration is invalid");
}

static char *make_report(const struct resolve *r, bool notices)
{
    struct buf text;
    char *copy = NULL;
    if (!r->doc)
        return NULL;
    buf_init(&text, 1 << 20);
    resolve_report(r, notices, &text);
    if (text.n)
        copy = mem_dup(text.p, text.n);
    buf_fini(&text);
    return copy;
}

static enum err build_runtime(const struct config *c, const struct profile_env *env,
                              struct secret *token, struct resolve *resolve,
                              struct runtime **ret_runtime, struct errctx *ctx)
{
    struct runtime *r = mem_zalloc(sizeof(*r));
    if (!r) {
        *resolve = (struct resolve){0};
        return ERR_NOMEM;
    }
    config_init(&r->config);
    atomic_init(&r->refs_, 1);
    enum err e = resolve_config(c, env, resolve, &r->config);
    if (!e)
        e = fill(&(struct build){r, resolve}, token, ctx);
    if (e)
        runtime_free(r);
    else
        *ret_runtime = r;
    return e;
}

enum err runtime_load(const struct config *c, struct secret *token, uint64_t generation,
                      struct runtime **ret_runtime, char **ret_report, struct errctx *ctx)
{
    struct profile_env env;
    struct resolve resolve;
    struct runtime *r = NULL;
    profile_env_from_process(&env);
    enum err e = build_runtime(c, &env, token, &resolve, &r, ctx);
    if (e) {
        e = first_sentence(&resolve, e, ctx);
    } else {
        r->generation = generation;
        *ret_runtime = r;
    }
    *ret_report = make_report(&resolve, !e);
    resolve_fini(&resolve);
    return e;
}

enum err runtime_new(const struct config *c, struct secret *token, uint64_t generation,
                     struct runtime **ret_runtime, struct errctx *ctx)
{
    char *report = NULL;
    enum err e = runtime_load(c, token, generation, ret_runtime, &report, ctx);
    mem_free(report);
    return e;
}

enum err runtime_check(const struct config *c, const struct profile_env *env,
                       struct resolve *ret_resolve, struct config *ret_config)
{
    struct runtime *r = NULL;
    struct errctx ctx = {0};
    enum err e = build_runtime(c, env, NULL, ret_resolve, &r, &ctx);
    if (e)
        return e;
    for (size_t i = 0; i < r->warnings.n; i++)
        resolve_note(ret_resolve, r->warnings.v[i].origin, r->warnings.v[i].value);
    if (ret_config) {
        *ret_config = r->config;
        config_init(&r->config);
    }
    runtime_unref(r);
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
