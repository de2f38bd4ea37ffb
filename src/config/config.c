#include "config/config.h"
#include "base/limits.h"
#include "base/mem.h"

bool settings_add(struct settings *s, struct str value, struct str origin)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 8;
        struct setting *v = mem_realloc(s->v, cap * sizeof(*v));
        if (!v)
            return false;
        s->v = v, s->cap = cap;
    }
    char *text = mem_dup(value.p, value.n), *from = mem_dup(origin.p, origin.n);
    if (!text || !from) {
        mem_free(text);
        mem_free(from);
        return false;
    }
    s->v[s->n++] = (struct setting){str_of(text, value.n), str_of(from, origin.n)};
    return true;
}

static void setting_fini(struct setting *s)
{
    mem_free((char *)s->value.p);
    mem_free((char *)s->origin.p);
    *s = (struct setting){STR_NULL, STR_NULL};
}

bool setting_set(struct setting *s, struct str value, struct str origin)
{
    char *text = mem_dup(value.p, value.n), *from = mem_dup(origin.p, origin.n);
    if (!text || !from) {
        mem_free(text);
        mem_free(from);
        return false;
    }
    setting_fini(s);
    *s = (struct setting){str_of(text, value.n), str_of(from, origin.n)};
    return true;
}

void settings_fini(struct settings *s)
{
    for (size_t i = 0; i < s->n; i++)
        setting_fini(&s->v[i]);
    mem_free(s->v);
    *s = (struct settings){0};
}

/* ---- memory that lives as long as the config ---- */

enum { BLOCK_BYTES = 16384, ALLOC_ALIGN = 16 };

struct config_block {
    struct config_block *next;
    size_t used, cap;
    _Alignas(ALLOC_ALIGN) char bytes[];
};

void *config_alloc(struct config *c, size_t n)
{
    struct config_block *b = c->pool_;
    size_t need = (n + ALLOC_ALIGN - 1) / ALLOC_ALIGN * ALLOC_ALIGN;
    if (!b || b->cap - b->used < need) {
        size_t cap = need > BLOCK_BYTES ? need : BLOCK_BYTES;
        b = mem_zalloc(sizeof(*b) + cap);
        if (!b)
            return NULL;
        b->next = c->pool_;
        b->cap = cap;
        c->pool_ = b;
    }
    void *p = b->bytes + b->used;
    b->used += need;
    return p;
}

struct str config_text(struct config *c, struct str s)
{
    char *p = config_alloc(c, s.n + 1);
    if (!p)
        return STR_NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    return str_of(p, s.n);
}

static void pool_fini(struct config *c)
{
    while (c->pool_) {
        struct config_block *next = c->pool_->next;
        mem_free(c->pool_);
        c->pool_ = next;
    }
}

static const char *const timeout_names[TIMEOUT_COUNT_] = {
    [TIMEOUT_HEAD] = "head",       [TIMEOUT_HANDSHAKE] = "handshake", [TIMEOUT_DNS] = "dns",
    [TIMEOUT_CONNECT] = "connect", [TIMEOUT_RESPONSE] = "response",   [TIMEOUT_IDLE] = "idle",
    [TIMEOUT_TUNNEL] = "tunnel",   [TIMEOUT_STALL] = "stall",
};

const char *timeout_name(enum timeout_name t)
{
    return (unsigned)t < TIMEOUT_COUNT_ ? timeout_names[t] : NULL;
}

bool timeout_find(struct str name, enum timeout_name *ret_timeout)
{
    for (unsigned t = 0; t < TIMEOUT_COUNT_; t++) {
        if (str_eq(name, str_from(timeout_names[t]))) {
            *ret_timeout = (enum timeout_name)t;
            return true;
        }
    }
    return false;
}

void config_init(struct config *c)
{
    *c = (struct config){
        .drain_timeout_ms = LIMIT_TIMEOUT_DRAIN,
        .log_level = LOG_WARN,
        .timeout_ms =
            {
                [TIMEOUT_HEAD] = LIMIT_TIMEOUT_HEAD,
                [TIMEOUT_HANDSHAKE] = LIMIT_TIMEOUT_HANDSHAKE,
                [TIMEOUT_DNS] = LIMIT_TIMEOUT_DNS,
                [TIMEOUT_CONNECT] = LIMIT_TIMEOUT_CONNECT,
                [TIMEOUT_RESPONSE] = LIMIT_TIMEOUT_RESPONSE,
                [TIMEOUT_IDLE] = LIMIT_TIMEOUT_IDLE,
                [TIMEOUT_TUNNEL] = LIMIT_TIMEOUT_TUNNEL,
                [TIMEOUT_STALL] = LIMIT_TIMEOUT_STALL,
            },
    };
}

/* The members that own memory, of two configs at once. */
enum { LISTS = 11, SINGLES = 5 };

static void lists_of(struct config *c, struct settings *ret_lists[LISTS])
{
    struct settings *const all[LISTS] = {&c->listen,   &c->server_names,
                                         &c->allow,    &c->deny,
                                         &c->bypass,   &c->audit_log,
                                         &c->extends,  &c->credentials,
                                         &c->no_proxy, &c->tls_intercept.ca_env_vars,
                                         &c->endpoints};
    memcpy(ret_lists, all, sizeof(all));
}

static void singles_of(struct config *c, struct setting *ret_singles[SINGLES])
{
    struct setting *const all[SINGLES] = {&c->upstream_proxy, &c->env_file, &c->log_file,
                                          &c->profile, &c->network_profile};
    memcpy(ret_singles, all, sizeof(all));
}

void config_fini(struct config *c)
{
    struct settings *lists[LISTS];
    struct setting *singles[SINGLES];
    lists_of(c, lists);
    singles_of(c, singles);
    for (size_t i = 0; i < LISTS; i++)
        settings_fini(lists[i]);
    for (size_t i = 0; i < SINGLES; i++)
        setting_fini(singles[i]);
    secret_unref(c->pass);
    c->pass = NULL;
    pool_fini(c);
}

static bool copy_lists(struct config *from, struct config *to)
{
    struct settings *source[LISTS], *target[LISTS];
    struct setting *one[SINGLES], *other[SINGLES];
    bool ok = true;
    lists_of(from, source);
    lists_of(to, target);
    singles_of(from, one);
    singles_of(to, other);
    for (size_t i = 0; i < LISTS; i++)
        for (size_t k = 0; ok && k < source[i]->n; k++)
            ok = settings_add(target[i], source[i]->v[k].value, source[i]->v[k].origin);
    for (size_t i = 0; ok && i < SINGLES; i++)
        ok = !one[i]->value.p || setting_set(other[i], one[i]->value, one[i]->origin);
    return ok;
}

bool config_copy(const struct config *c, struct config *ret_copy)
{
    struct config from = *c; /* only to walk over its members */
    struct config copy = *c;
    struct settings *lists[LISTS];
    struct setting *singles[SINGLES];
    lists_of(&copy, lists);
    singles_of(&copy, singles);
    for (size_t i = 0; i < LISTS; i++)
        *lists[i] = (struct settings){0};
    for (size_t i = 0; i < SINGLES; i++)
        *singles[i] = (struct setting){STR_NULL, STR_NULL};
    copy.pool_ = NULL;
    copy.pass = c->pass ? secret_ref(c->pass) : NULL;
    if (!copy_lists(&from, &copy)) {
        config_fini(&copy);
        return false;
    }
    *ret_copy = copy;
    return true;
}

/* 127.0.0.0/8 or ::1, or a socket whose mode shuts everybody else out (--no-auth may serve only
 * there). */
static bool listen_is_private(const struct listen_spec *l)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    if (l->is_unix)
        return (l->mode & 07) == 0;
    return l->family == 4 ? l->bytes[0] == 127 : memcmp(l->bytes, loopback6, 16) == 0;
}

static enum err check_listen(const struct config *c, const struct setting *s, struct errctx *ctx)
{
    struct listen_spec spec;
    struct errctx why = {0};
    enum err e = listen_parse(s->value, &spec, &why);
    if (e)
        return err_set(ctx, e, "%.*s: %s", STR_ARG(s->origin), why.text);
    if (!c->no_auth || listen_is_private(&spec))
        return ERR_OK;
    if (spec.is_unix)
        return err_set(ctx, ERR_INVALID,
                       "--no-auth with %.*s %.*s, a socket open to every user: give it mode=0660 "
                       "or leave --no-auth out",
                       STR_ARG(s->origin), STR_ARG(s->value));
    return err_set(ctx, ERR_INVALID,
                   "--no-auth with %.*s %.*s: without authentication only loopback addresses "
                   "may serve; leave --no-auth out",
                   STR_ARG(s->origin), STR_ARG(s->value));
}

enum err config_check(const struct config *c, struct errctx *ctx)
{
    if (c->no_auth && c->pass)
        return err_set(ctx, ERR_INVALID, "--no-auth and --pass exclude each other: leave one out");
    for (size_t i = 0; i < c->listen.n; i++) {
        enum err e = check_listen(c, &c->listen.v[i], ctx);
        if (e)
            return e;
    }
    if (c->bypass.n && !c->upstream_proxy.value.p)
        return err_set(ctx, ERR_INVALID,
                       "%.*s %.*s has nothing to bypass: add --upstream-proxy HOST:PORT "
                       "or leave it out",
                       STR_ARG(c->bypass.v[0].origin), STR_ARG(c->bypass.v[0].value));
    return ERR_OK;
}

/* ---- fingerprint: FNV-1a, because it must not depend on the process's seed ---- */

static void hash_bytes(uint64_t *h, const void *p, size_t n)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < n; i++)
        *h = (*h ^ bytes[i]) * UINT64_C(0x100000001b3);
}

/* With its length, so that ["ab", "c"] is not ["a", "bc"]. */
static void hash_str(uint64_t *h, struct str s)
{
    uint64_t n = s.n;
    hash_bytes(h, &n, sizeof(n));
    hash_bytes(h, s.p, s.n);
}

static void hash_u64(uint64_t *h, uint64_t v)
{
    hash_bytes(h, &v, sizeof(v));
}

static void hash_settings(uint64_t *h, const struct settings *s)
{
    hash_u64(h, s->n);
    for (size_t i = 0; i < s->n; i++)
        hash_str(h, s->v[i].value);
}

/* Without user information: it may be a password. */
static void hash_upstream(uint64_t *h, struct str s)
{
    size_t at = str_rfind(s, '@');
    size_t colon = str_find(s, ':');
    hash_str(h, at < s.n && colon < at ? str_of(s.p, colon) : STR_NULL);
    hash_str(h, at < s.n ? str_of(s.p + at, s.n - at) : s);
}

static void hash_rules(uint64_t *h, const struct endpoint_confs *rules)
{
    hash_u64(h, rules->n);
    for (size_t i = 0; i < rules->n; i++) {
        const struct endpoint_conf *r = &rules->v[i];
        hash_str(h, r->method);
        hash_str(h, r->path);
        hash_str(h, r->backend);
        hash_str(h, r->reason);
        hash_u64(h, r->timeout_ms);
    }
}

static void hash_policy(uint64_t *h, const struct endpoint_policy_conf *p)
{
    const struct endpoint_confs *const lists[] = {&p->deny, &p->approve, &p->allow};
    hash_u64(h, p->given);
    hash_u64(h, p->fallback);
    hash_str(h, p->backend);
    hash_u64(h, p->timeout_ms);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        hash_rules(h, lists[i]);
}

/* A reference says where a secret is, not what it is. */
static void hash_service(uint64_t *h, const struct service_conf *s)
{
    const struct str texts[] = {s->name,
                                s->upstream,
                                s->credential_key,
                                s->inject_header,
                                s->credential_format,
                                s->path_pattern,
                                s->path_replacement,
                                s->query_param_name,
                                s->proxy_header,
                                s->proxy_format,
                                s->proxy_pattern,
                                s->proxy_param,
                                s->env_var,
                                s->tls_ca,
                                s->tls_client_cert,
                                s->tls_client_key};
    const uint64_t numbers[] = {s->kind,        s->inject_mode,       s->proxy_given,
                                s->proxy_mode,  s->rate_given,        s->rate_per_minute,
                                s->rate_burst,  s->rate_max_delay_ms, s->keep_client_credentials,
                                s->cache_ttl_ms};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        hash_str(h, texts[i]);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        hash_u64(h, numbers[i]);
    hash_rules(h, &s->rules);
    hash_policy(h, &s->policy);
}

static void hash_texts(uint64_t *h, const struct str *v, size_t n)
{
    hash_u64(h, n);
    for (size_t i = 0; i < n; i++)
        hash_str(h, v[i]);
}

static void hash_helpers(uint64_t *h, const struct config *c)
{
    hash_u64(h, c->approvals.n);
    for (size_t i = 0; i < c->approvals.n; i++) {
        const struct approval_conf *a = &c->approvals.v[i];
        hash_str(h, a->name);
        hash_str(h, a->url);
        hash_u64(h, a->kind);
        hash_u64(h, a->all);
        hash_u64(h, a->timeout_ms);
        hash_texts(h, a->backends, a->n_backends);
    }
    hash_u64(h, c->captures.n);
    for (size_t i = 0; i < c->captures.n; i++) {
        const struct capture_conf *k = &c->captures.v[i];
        hash_str(h, k->name);
        hash_texts(h, k->command, k->n_command);
        hash_str(h, k->provider_config);
        hash_str(h, k->cache_path_regex);
        hash_texts(h, k->allow_headers, k->n_allow_headers);
        hash_texts(h, k->allow_origins, k->n_allow_origins);
        hash_u64(h, k->timeout_ms);
        hash_u64(h, k->ttl_ms);
        hash_u64(h, k->stdin_json);
        hash_u64(h, k->output_json);
    }
}

/* What only a profile says. */
static void hash_profile(uint64_t *h, const struct config *c)
{
    const uint64_t numbers[] = {c->block,
                                c->allow_http2,
                                c->max_body_given,
                                c->max_body_bytes,
                                c->endpoint_glob_path,
                                c->tls_intercept.trusted,
                                c->tls_intercept.ca_validity_s,
                                c->tls_intercept.leaf_validity_s,
                                c->approval_timeout_ms};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        hash_u64(h, numbers[i]);
    hash_str(h, c->network_profile.value);
    hash_str(h, c->approval_backend);
    for (size_t i = 0; i < c->gates.n; i++) {
        hash_str(h, c->gates.v[i].domain);
        hash_str(h, c->gates.v[i].scheme);
        hash_rules(h, &c->gates.v[i].endpoints);
    }
    for (size_t i = 0; i < c->services.n; i++)
        if (c->services.v[i].enabled)
            hash_service(h, &c->services.v[i]);
    for (size_t i = 0; i < c->later_routes.n; i++) {
        hash_str(h, c->later_routes.v[i].name);
        hash_str(h, c->later_routes.v[i].upstream);
        hash_policy(h, &c->later_routes.v[i].policy);
    }
    hash_helpers(h, c);
}

uint64_t config_hash(const struct config *c)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    const struct settings *const lists[] = {&c->listen,   &c->server_names,
                                            &c->allow,    &c->deny,
                                            &c->bypass,   &c->audit_log,
                                            &c->extends,  &c->credentials,
                                            &c->no_proxy, &c->tls_intercept.ca_env_vars,
                                            &c->endpoints};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        hash_settings(&h, lists[i]);
    hash_str(&h, c->profile.value);
    hash_profile(&h, c);
    hash_upstream(&h, c->upstream_proxy.value);
    hash_str(&h, c->env_file.value);
    hash_str(&h, c->log_file.value);
    const uint64_t numbers[] = {c->port,
                                c->no_auth,
                                c->pass != NULL,
                                c->max_connections_given,
                                c->max_connections,
                                c->drain_timeout_ms,
                                c->audit_fail_closed,
                                c->output_json,
                                c->log_json,
                                c->log_level,
                                c->silent,
                                c->workers};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        hash_u64(&h, numbers[i]);
    for (size_t i = 0; i < TIMEOUT_COUNT_; i++)
        hash_u64(&h, c->timeout_ms[i]);
    return h;
}
