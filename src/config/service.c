#include "config/service.h"
#include "config/builtin.h"
#include "config/service_int.h"

bool take_seconds(const struct json *object, const char *key, uint64_t *ret_ms)
{
    uint64_t seconds;
    if (!tree_number(object, key, &seconds))
        return false;
    *ret_ms = seconds > UINT64_MAX / 1000 ? UINT64_MAX : seconds * 1000;
    return true;
}

/* ---- endpoint rules ---- */

static void take_rule(struct take *t, const struct json *v, struct endpoint_conf *r)
{
    *r = (struct endpoint_conf){.method = take_member(t, v, "method"),
                                .path = take_member(t, v, "path"),
                                .backend = take_member(t, v, "backend"),
                                .reason = take_member(t, v, "reason"),
                                .origin = take_origin(t, &v->at)};
    r->timeout_given = take_seconds(v, "timeout_secs", &r->timeout_ms);
}

void take_rules(struct take *t, const struct json *list, struct endpoint_confs *ret_rules)
{
    size_t n = is_kind(list, JSON_ARRAY) ? list->n : 0;
    *ret_rules = (struct endpoint_confs){.v = n ? take_memory(t, n * sizeof(*ret_rules->v)) : NULL,
                                         .cap = n};
    for (size_t i = 0; ret_rules->v && i < n; i++)
        if (is_kind(list->items[i], JSON_OBJECT))
            take_rule(t, list->items[i], &ret_rules->v[ret_rules->n++]);
}

static enum endpoint_decision decision_of(struct str word)
{
    return str_eq(word, STR("allow"))     ? ENDPOINT_ALLOW
           : str_eq(word, STR("approve")) ? ENDPOINT_APPROVE
                                          : ENDPOINT_DENY;
}

void take_policy(struct take *t, const struct json *policy, struct endpoint_policy_conf *ret_policy)
{
    const struct json *fallback = tree_get(policy, "default");
    *ret_policy = (struct endpoint_policy_conf){0};
    if (!is_kind(policy, JSON_OBJECT))
        return;
    ret_policy->given = true;
    ret_policy->origin = take_origin(t, &policy->at);
    ret_policy->fallback = decision_of(
        is_kind(fallback, JSON_STRING) ? fallback->text : tree_text(fallback, "decision"));
    ret_policy->backend = take_member(t, fallback, "backend");
    ret_policy->timeout_given = take_seconds(fallback, "timeout_secs", &ret_policy->timeout_ms);
    take_rules(t, tree_get(policy, "deny"), &ret_policy->deny);
    take_rules(t, tree_get(policy, "approve"), &ret_policy->approve);
    take_rules(t, tree_get(policy, "allow"), &ret_policy->allow);
}

/* ---- services ---- */

static enum inject_mode mode_of(struct str word)
{
    return str_eq(word, STR("url_path"))      ? INJECT_URL_PATH
           : str_eq(word, STR("query_param")) ? INJECT_QUERY_PARAM
           : str_eq(word, STR("basic_auth"))  ? INJECT_BASIC_AUTH
                                              : INJECT_HEADER;
}

static enum service_kind kind_of(const struct json *v)
{
    return tree_get(v, "auth")       ? SERVICE_AUTH
           : tree_get(v, "aws_auth") ? SERVICE_AWS
           : tree_get(v, "spiffe")   ? SERVICE_SPIFFE
                                     : SERVICE_KEY;
}

static struct str default_format(struct str header)
{
    return str_eq_nocase(header, STR("Authorization")) ? STR("Bearer {}") : STR("{}");
}

static struct str or_else(struct str s, struct str other)
{
    return s.p ? s : other;
}

static void take_rate(const struct json *v, struct service_conf *s)
{
    const struct json *rate = tree_of(v, "rate_limit", JSON_OBJECT);
    uint64_t rpm, burst = 5, delay_ms = 5000;
    if (!tree_number(rate, "requests_per_minute", &rpm) || rpm == 0)
        return;
    (void)tree_number(rate, "burst", &burst);
    (void)take_seconds(rate, "max_delay_secs", &delay_ms);
    s->rate_given = true;
    s->rate_per_minute = rpm > UINT32_MAX ? UINT32_MAX : (uint32_t)rpm;
    s->rate_burst = burst > UINT32_MAX ? UINT32_MAX : burst < 1 ? 1 : (uint32_t)burst;
    s->rate_max_delay_ms = delay_ms;
}

/* How the phantom is shown, where it differs from how the secret goes out. */
static void take_proxy(struct take *t, const struct json *v, struct service_conf *s)
{
    const struct json *proxy = tree_of(v, "proxy", JSON_OBJECT);
    struct str mode = tree_text(proxy, "inject_mode");
    if (!proxy)
        return;
    s->proxy_given = true;
    s->proxy_mode = mode.p ? mode_of(mode) : s->inject_mode;
    s->proxy_header = or_else(take_member(t, proxy, "inject_header"), s->inject_header);
    s->proxy_format = or_else(take_member(t, proxy, "credential_format"), s->credential_format);
    s->proxy_pattern = or_else(take_member(t, proxy, "path_pattern"), s->path_pattern);
    s->proxy_param = or_else(take_member(t, proxy, "query_param_name"), s->query_param_name);
}

static void take_service(struct take *t, const struct json_member *m, struct service_conf *s)
{
    const struct json *v = m->value;
    *s = (struct service_conf){
        .name = take_text(t, m->key),
        .origin = take_origin(t, &m->key_at),
        .kind = kind_of(v),
        .upstream = take_member(t, v, "upstream"),
        .credential_key = take_member(t, v, "credential_key"),
        .inject_mode = mode_of(tree_text(v, "inject_mode")),
        .inject_header = or_else(take_member(t, v, "inject_header"), STR("Authorization")),
        .path_pattern = take_member(t, v, "path_pattern"),
        .query_param_name = take_member(t, v, "query_param_name"),
        .env_var = take_member(t, v, "env_var"),
        .tls_ca = take_member(t, v, "tls_ca"),
        .tls_client_cert = take_member(t, v, "tls_client_cert"),
        .tls_client_key = take_member(t, v, "tls_client_key"),
        .keep_client_credentials = tree_true(v, "keep_client_credentials"),
        .cache_ttl_ms = 300000};
    s->credential_format =
        or_else(take_member(t, v, "credential_format"), default_format(s->inject_header));
    s->path_replacement = or_else(take_member(t, v, "path_replacement"), s->path_pattern);
    (void)take_seconds(v, "cache_ttl_secs", &s->cache_ttl_ms);
    take_proxy(t, v, s);
    take_rate(v, s);
    take_rules(t, tree_get(v, "endpoint_rules"), &s->rules);
    take_policy(t, tree_get(v, "endpoint_policy"), &s->policy);
}

static void take_builtin(const struct builtin_service *b, struct service_conf *s)
{
    *s = (struct service_conf){.name = str_from(b->name),
                               .origin = STR("built-in"),
                               .builtin = true,
                               .upstream = str_from(b->upstream),
                               .credential_key = str_from(b->key),
                               .inject_header = str_from(b->header),
                               .credential_format = str_from(b->format),
                               .env_var = *b->env_var ? str_from(b->env_var) : STR_NULL,
                               .cache_ttl_ms = 300000};
}

void take_services(struct take *t, const struct json *custom)
{
    struct service_confs *list = &t->config->services;
    size_t n = custom ? custom->n : 0, builtin = 0;
    while (builtin_service_at(builtin))
        builtin++;
    list->v = take_memory(t, (n + builtin) * sizeof(*list->v));
    list->cap = n + builtin;
    for (size_t i = 0; list->v && i < n; i++)
        if (is_kind(custom->members[i].value, JSON_OBJECT))
            take_service(t, &custom->members[i], &list->v[list->n++]);
    for (size_t i = 0; list->v && i < builtin; i++) {
        const struct builtin_service *b = builtin_service_at(i);
        if (!custom || !json_get(custom, str_from(b->name)))
            take_builtin(b, &list->v[list->n++]);
    }
}
