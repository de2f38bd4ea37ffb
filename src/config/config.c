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

void config_fini(struct config *c)
{
    struct settings *const lists[] = {&c->listen, &c->server_names, &c->allow,
                                      &c->deny,   &c->bypass,       &c->audit_log};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        settings_fini(lists[i]);
    setting_fini(&c->upstream_proxy);
    setting_fini(&c->env_file);
    setting_fini(&c->log_file);
    secret_unref(c->pass);
    c->pass = NULL;
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

uint64_t config_hash(const struct config *c)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    const struct settings *const lists[] = {&c->listen, &c->server_names, &c->allow,
                                            &c->deny,   &c->bypass,       &c->audit_log};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        hash_settings(&h, lists[i]);
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
