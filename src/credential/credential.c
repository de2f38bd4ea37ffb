#include "credential/credential.h"
#include "config/reference.h"
#include "credential/credential_int.h"
#include "config/regex.h"

static const struct capture_conf *find_capture(const struct config *config, struct str name)
{
    for (size_t i = 0; i < config->captures.n; i++)
        if (str_eq(config->captures.v[i].name, name))
            return &config->captures.v[i];
    return NULL;
}

static void add_counted(struct buf *out, struct str s)
{
    buf_add_u64(out, s.n);
    buf_add_c(out, ':');
    buf_add_str(out, s);
}

static void add_list(struct buf *out, const struct str *v, size_t n)
{
    buf_add_u64(out, n);
    buf_add_c(out, ';');
    for (size_t i = 0; i < n; i++)
        add_counted(out, v[i]);
}

static void add_capture(struct buf *out, const struct capture_conf *c)
{
    add_counted(out, c->name);
    add_list(out, c->command, c->n_command);
    add_counted(out, c->provider_config);
    add_counted(out, c->cache_path_regex);
    add_list(out, c->allow_headers, c->n_allow_headers);
    add_list(out, c->allow_origins, c->n_allow_origins);
    buf_printf(out, "%d%d%d%d%d%d%d%d %llu %llu", c->provider, c->stdin_json, c->output_json,
               c->stdio, c->stdin_terminal, c->open_urls, c->allow_localhost,
               c->allow_launch_services, (unsigned long long)c->timeout_ms,
               (unsigned long long)c->ttl_ms);
}

static enum err hash_source(struct credential *c)
{
    struct buf text;
    buf_init(&text, 4u << 20);
    add_counted(&text, c->conf->credential_key);
    buf_add_u64(&text, c->conf->cache_ttl_ms);
    if (c->capture)
        add_capture(&text, c->capture);
    enum err e = buf_ok(&text) ? ERR_OK : ERR_NOMEM;
    c->source_hash = str_hash(buf_str(&text));
    buf_fini(&text);
    return e;
}

static void show(struct credential *c)
{
    const struct service_conf *s = c->conf;
    c->shown = s->proxy_given ? s->proxy_mode : s->inject_mode;
    c->shown_header = s->proxy_given ? s->proxy_header : s->inject_header;
    c->shown_format = s->proxy_given ? s->proxy_format : s->credential_format;
    c->shown_pattern = s->proxy_given ? s->proxy_pattern : s->path_pattern;
    c->shown_param = s->proxy_given ? s->proxy_param : s->query_param_name;
}

static bool is_once(const struct credential *c)
{
    if (c->source == REFERENCE_CMD)
        return c->capture && c->capture->ttl_ms == 0;
    return c->conf->cache_ttl_ms == 0 && !reference_at_hand(c->source);
}

enum err credential_init(struct credential *c, const struct service_conf *conf,
                         const struct config *config, struct errctx *ctx)
{
    struct str key = conf->credential_key;
    *c = (struct credential){.id = conf->name, .conf = conf};
    c->gone = conf->kind != SERVICE_KEY || key.n == 0;
    show(c);
    struct errctx why = {0};
    if (!c->gone && reference_source(key, &c->source, &why))
        return err_set(ctx, ERR_INVALID, "credential_key of %.*s: %s", STR_ARG(c->id), why.text);
    if (c->source == REFERENCE_CMD)
        c->capture = find_capture(config, reference_rest(key));
    c->once = is_once(c);
    if (c->capture && c->capture->cache_path_regex.n) {
        enum err e = regex_new(c->capture->cache_path_regex, &c->scope, &why);
        if (e)
            return err_set(ctx, e, "cache_path_regex of credential_capture.%.*s: %s",
                           STR_ARG(c->capture->name), why.text);
    }
    enum err e = hash_source(c);
    if (e)
        credential_fini(c);
    return e;
}

void credential_fini(struct credential *c)
{
    regex_free(c->scope);
    c->scope = NULL;
}

/* The first capture group of the path, else the host. A limit met is no "does not match": the value
 * would be shared by paths that were to be kept apart. */
static enum err find_scope(const struct credential *c, const struct question *q,
                           struct str *ret_scope, struct errctx *ctx)
{
    enum err e = c->scope ? regex_match(c->scope, q->path, ret_scope) : ERR_NOT_FOUND;
    if (e == ERR_NOT_FOUND) {
        *ret_scope = q->host;
        return ERR_OK;
    }
    if (e == ERR_TOO_LARGE)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "cache_path_regex takes too long on this path");
    return e;
}

enum err credential_scope(const struct credential *c, const struct question *q, struct buf *out,
                          struct str *ret_scope, struct errctx *ctx)
{
    struct str scope = STR_NULL;
    if (!c->capture)
        return ERR_OK;
    enum err e = find_scope(c, q, &scope, ctx);
    if (e)
        return e;
    buf_add_str(out, q->host);
    buf_add_c(out, 0);
    buf_add_str(out, scope);
    if (c->once) { /* what is not kept may depend on the whole question */
        buf_add_c(out, 0);
        buf_add_str(out, q->method);
        buf_add_c(out, 0);
        buf_add_str(out, q->path);
        buf_add_c(out, 0);
        buf_add_str(out, q->route);
    }
    *ret_scope = scope;
    return buf_ok(out) ? ERR_OK : ERR_NOMEM;
}
