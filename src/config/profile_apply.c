/* A loaded profile put under the flags (section 1.8). The tree has been checked; whatever is of a
 * wrong kind is passed over. */
#include "base/mem.h"
#include "config/builtin.h"
#include "config/host_url.h"
#include "config/profile_int.h"
#include "config/reference.h"
#include "config/service_int.h"

/* ---- texts ---- */

struct str take_text(struct take *t, struct str s)
{
    struct str copy = s.p ? config_text(t->config, s) : STR_NULL;
    if (s.p && !copy.p)
        t->no_memory = true;
    return copy;
}

void *take_memory(struct take *t, size_t n)
{
    void *p = config_alloc(t->config, n ? n : 1);
    if (!p)
        t->no_memory = true;
    return p;
}

struct str take_origin(struct take *t, const struct place *at)
{
    struct buf text;
    buf_init(&text, 8192);
    place_format(&text, at);
    struct str origin = take_text(t, buf_ok(&text) && text.n ? buf_str(&text) : STR("profile"));
    buf_fini(&text);
    return origin;
}

struct str take_member(struct take *t, const struct json *object, const char *key)
{
    return take_text(t, tree_text(object, key));
}

static void add_setting(struct take *t, struct settings *list, struct str value,
                        const struct place *at)
{
    struct buf text;
    buf_init(&text, 8192);
    place_format(&text, at);
    if (!settings_add(list, value, buf_str(&text)))
        t->no_memory = true;
    buf_fini(&text);
}

/* ---- lists that flags add to: the profile's come first ---- */

static bool holds(const struct settings *s, struct str value)
{
    for (size_t i = 0; i < s->n; i++)
        if (str_eq(s->v[i].value, value))
            return true;
    return false;
}

/* Move the entries of `flags` behind those of `list`. */
static void append_flags(struct take *t, struct settings *list, struct settings *flags, bool once)
{
    for (size_t i = 0; i < flags->n; i++) {
        if (once && holds(list, flags->v[i].value))
            continue;
        if (!settings_add(list, flags->v[i].value, flags->v[i].origin))
            t->no_memory = true;
    }
    settings_fini(flags);
}

static void take_list(struct take *t, const struct json *network, const char *key,
                      struct settings *list, bool once)
{
    const struct json *from = tree_of(network, key, JSON_ARRAY);
    struct settings flags = *list;
    *list = (struct settings){0};
    for (size_t i = 0; from && i < from->n; i++) {
        const struct json *v = from->items[i];
        if (is_kind(v, JSON_STRING) && !(once && holds(list, v->text)))
            add_setting(t, list, v->text, &v->at);
    }
    append_flags(t, list, &flags, once);
}

static void take_single(struct take *t, const struct json *network, const char *key,
                        struct setting *ret_setting)
{
    const struct json *v = tree_of(network, key, JSON_STRING);
    if (!v || ret_setting->value.p)
        return;
    struct str origin = take_origin(t, &v->at);
    if (!origin.p || !setting_set(ret_setting, v->text, origin))
        t->no_memory = true;
}

/* ---- allow_domain ---- */

static void take_gate(struct take *t, const struct json *item, const struct json *domain)
{
    struct gate_conf *g = &t->config->gates.v[t->config->gates.n++];
    struct str text = domain->text;
    size_t colon = str_find(text, ':');
    *g = (struct gate_conf){.origin = take_origin(t, &item->at)};
    if (str_starts(str_of(text.p + colon, text.n - colon), STR("://"))) {
        g->scheme = take_text(t, str_of(text.p, colon));
        text = str_of(text.p + colon + 3, text.n - colon - 3);
        if (text.n && text.p[text.n - 1] == '/')
            text.n--;
    }
    g->domain = take_text(t, text);
    take_rules(t, tree_of(item, "endpoints", JSON_ARRAY), &g->endpoints);
}

static size_t count_gates(const struct json *list)
{
    size_t n = 0;
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *rules = tree_of(list->items[i], "endpoints", JSON_ARRAY);
        n += rules && rules->n;
    }
    return n;
}

static void take_allow(struct take *t, const struct json *network)
{
    const struct json *list = tree_of(network, "allow_domain", JSON_ARRAY);
    struct settings flags = t->config->allow;
    size_t gates = count_gates(list);
    t->config->allow = (struct settings){0};
    t->config->gates.v = take_memory(t, gates * sizeof(*t->config->gates.v));
    t->config->gates.cap = gates;
    for (size_t i = 0; !t->no_memory && list && i < list->n; i++) {
        const struct json *item = list->items[i];
        const struct json *rules = tree_of(item, "endpoints", JSON_ARRAY);
        const struct json *domain = tree_of(item, "domain", JSON_STRING);
        if (is_kind(item, JSON_STRING))
            add_setting(t, &t->config->allow, item->text, &item->at);
        else if (domain && rules && rules->n)
            take_gate(t, item, domain);
        else if (domain)
            add_setting(t, &t->config->allow, domain->text, &domain->at);
    }
    append_flags(t, &t->config->allow, &flags, false);
}

/* ---- settings that stand alone ---- */

static void take_tls(struct take *t, const struct json *network)
{
    struct tls_intercept_conf *c = &t->config->tls_intercept;
    const struct json *tls = tree_of(network, "tls_intercept", JSON_OBJECT);
    const struct json *lifecycle = tree_of(tls, "ca_lifecycle", JSON_STRING);
    struct errctx why = {0};
    if (!tls)
        return;
    c->given = true;
    c->trusted = lifecycle && str_eq(lifecycle->text, STR("trusted"));
    if (c->trusted)
        c->trusted_origin = take_origin(t, &lifecycle->at);
    if (duration_parse(tree_text(tls, "ca_validity"), &c->ca_validity_s, &why))
        c->ca_validity_s = 0;
    if (duration_parse(tree_text(tls, "leaf_validity"), &c->leaf_validity_s, &why))
        c->leaf_validity_s = 0;
    take_list(t, tls, "ca_env_vars", &c->ca_env_vars, true);
}

static void take_timeouts(struct take *t, const struct json *network)
{
    const struct json *map = tree_of(network, "timeouts", JSON_OBJECT);
    for (size_t i = 0; map && i < map->n; i++) {
        enum timeout_name name;
        uint64_t ms;
        if (timeout_find(map->members[i].key, &name) && !t->config->timeout_given[name] &&
            seconds_of(map->members[i].value, &ms))
            t->config->timeout_ms[name] = ms;
    }
}

static void take_network(struct take *t, const struct json *network)
{
    struct config *c = t->config;
    take_allow(t, network);
    take_list(t, network, "deny_domain", &c->deny, false);
    take_list(t, network, "upstream_bypass", &c->bypass, false);
    take_list(t, network, "credentials", &c->credentials, true);
    take_list(t, network, "no_proxy", &c->no_proxy, true);
    take_single(t, network, "network_profile", &c->network_profile);
    take_single(t, network, "upstream_proxy", &c->upstream_proxy);
    take_tls(t, network);
    take_timeouts(t, network);
    c->block = tree_true(network, "block");
    c->allow_http2 |= tree_true(network, "allow_http2");
    c->max_body_given = tree_number(network, "max_body_bytes", &c->max_body_bytes);
    c->endpoint_glob_path = str_eq(tree_text(network, "endpoint_glob"), STR("path"));
}

/* ---- approval back ends ---- */

static void take_names(struct take *t, const struct json *list, struct str **ret_v, size_t *ret_n)
{
    size_t n = is_kind(list, JSON_ARRAY) ? list->n : 0;
    struct str *v = take_memory(t, n * sizeof(*v));
    *ret_v = v;
    *ret_n = 0;
    for (size_t i = 0; v && i < n; i++)
        if (is_kind(list->items[i], JSON_STRING))
            v[(*ret_n)++] = take_text(t, list->items[i]->text);
}

static bool approval_taken(const struct config *c, struct str name)
{
    for (size_t i = 0; i < c->approvals.n; i++)
        if (str_eq(c->approvals.v[i].name, name))
            return true;
    return false;
}

static void take_approval(struct take *t, const struct json_member *m)
{
    struct approval_conf *a = &t->config->approvals.v[t->config->approvals.n++];
    struct str type = tree_text(m->value, "type");
    *a = (struct approval_conf){.name = take_text(t, m->key),
                                .origin = take_origin(t, &m->key_at),
                                .url = take_member(t, m->value, "url"),
                                .all = str_eq(tree_text(m->value, "mode"), STR("all"))};
    a->kind = str_eq(type, STR("webhook")) ? APPROVAL_WEBHOOK
              : str_eq(type, STR("chain")) ? APPROVAL_CHAIN
                                           : APPROVAL_TERMINAL;
    take_names(t, tree_get(m->value, "backends"), &a->backends, &a->n_backends);
    (void)take_seconds(m->value, "timeout_secs", &a->timeout_ms);
}

/* `security` comes first where both know a name. */
static void take_approvals(struct take *t, const struct json *tree)
{
    static const char *const holders[] = {"security", "command_policies"};
    struct config *c = t->config;
    size_t n = 0;
    for (size_t h = 0; h < ARRAY_LEN(holders); h++) {
        const struct json *map =
            tree_of(tree_get(tree, holders[h]), "approval_backends", JSON_OBJECT);
        n += map ? map->n : 0;
    }
    c->approvals.v = take_memory(t, n * sizeof(*c->approvals.v));
    c->approvals.cap = n;
    for (size_t h = 0; !t->no_memory && h < ARRAY_LEN(holders); h++) {
        const struct json *holder = tree_get(tree, holders[h]);
        const struct json *map = tree_of(holder, "approval_backends", JSON_OBJECT);
        const struct json *defaults = tree_of(holder, "approval_defaults", JSON_OBJECT);
        for (size_t i = 0; map && i < map->n; i++)
            if (!approval_taken(c, map->members[i].key))
                take_approval(t, &map->members[i]);
        if (!c->approval_backend.p)
            c->approval_backend = take_member(t, defaults, "backend");
        if (!c->approval_timeout_ms)
            (void)take_seconds(defaults, "timeout_secs", &c->approval_timeout_ms);
    }
}

/* ---- captures ---- */

static void take_provider_config(struct take *t, const struct json *provider, struct str *ret_text)
{
    const struct json *config = tree_of(provider, "config", JSON_OBJECT);
    struct buf text;
    if (!config)
        return;
    buf_init(&text, 1 << 20);
    json_write(&text, config, 0);
    if (buf_ok(&text))
        *ret_text = take_text(t, buf_str(&text));
    else
        t->no_memory = true;
    buf_fini(&text);
}

/* Items are strings, or objects whose `when` was true. */
static void take_origins(struct take *t, const struct json *list, struct capture_conf *c)
{
    size_t n = is_kind(list, JSON_ARRAY) ? list->n : 0;
    c->allow_origins = take_memory(t, n * sizeof(*c->allow_origins));
    for (size_t i = 0; c->allow_origins && i < n; i++) {
        const struct json *v = list->items[i];
        struct str text = is_kind(v, JSON_STRING) ? v->text : tree_text(v, "origin");
        if (text.p)
            c->allow_origins[c->n_allow_origins++] = take_text(t, text);
    }
}

static void take_interaction(struct take *t, const struct json *capture, struct capture_conf *c)
{
    const struct json *i = tree_of(capture, "interaction", JSON_OBJECT);
    const struct json *open = tree_of(i, "open_urls", JSON_OBJECT);
    c->stdio = tree_true(i, "stdio");
    c->stdin_terminal = tree_true(i, "stdin");
    c->allow_launch_services = tree_true(i, "allow_launch_services");
    c->open_urls = open != NULL;
    c->allow_localhost = tree_true(open, "allow_localhost");
    take_origins(t, tree_get(open, "allow_origins"), c);
}

static void take_capture(struct take *t, const struct json_member *m)
{
    struct capture_conf *c = &t->config->captures.v[t->config->captures.n++];
    const struct json *v = m->value, *provider = tree_of(v, "provider", JSON_OBJECT);
    const struct json *output = tree_of(v, "output", JSON_OBJECT);
    *c = (struct capture_conf){.name = take_text(t, m->key),
                               .origin = take_origin(t, &m->key_at),
                               .provider = provider != NULL,
                               .timeout_ms = 5000,
                               .ttl_ms = 900000,
                               .cache_path_regex = take_member(t, v, "cache_path_regex"),
                               .output_json = output && !provider};
    take_names(t, tree_get(provider ? provider : v, "command"), &c->command, &c->n_command);
    take_provider_config(t, provider, &c->provider_config);
    (void)take_seconds(v, "timeout_secs", &c->timeout_ms);
    if (!take_seconds(v, "cache_ttl_secs", &c->ttl_ms))
        (void)take_seconds(v, "ttl_secs", &c->ttl_ms);
    c->stdin_json = provider || str_eq(tree_text(v, "stdin"), STR("request_json"));
    take_names(t, tree_get(output, "allow_headers"), &c->allow_headers, &c->n_allow_headers);
    take_interaction(t, v, c);
}

static void take_captures(struct take *t, const struct json *tree)
{
    const struct json *map = tree_of(tree, "credential_capture", JSON_OBJECT);
    size_t n = map ? map->n : 0;
    t->config->captures.v = take_memory(t, n * sizeof(*t->config->captures.v));
    t->config->captures.cap = n;
    for (size_t i = 0; !t->no_memory && i < n; i++)
        take_capture(t, &map->members[i]);
}

/* ---- credential_routes (decision K13) ---- */

static size_t count_upstreams(const struct json *providers, const struct json *routes)
{
    size_t n = 0;
    for (size_t i = 0; routes && i < routes->n; i++) {
        struct str name = tree_text(routes->items[i], "provider");
        const struct json_member *m = name.p && providers ? json_get(providers, name) : NULL;
        const struct json *hosts = m ? tree_of(m->value, "api_hosts", JSON_ARRAY) : NULL;
        n += hosts ? hosts->n : 0;
    }
    return n;
}

static void take_later_route(struct take *t, const struct json *route, const struct json *hosts,
                             size_t i)
{
    struct later_route_conf *r = &t->config->later_routes.v[t->config->later_routes.n++];
    struct buf name;
    buf_init(&name, 4096);
    buf_add_str(&name, tree_text(route, "name"));
    if (hosts->n > 1)
        buf_printf(&name, "_%zu", i);
    *r = (struct later_route_conf){.name = take_text(t, buf_str(&name)),
                                   .origin = take_origin(t, &route->at),
                                   .upstream = take_text(t, hosts->items[i]->text)};
    take_policy(t, tree_get(route, "endpoint_policy"), &r->policy);
    buf_fini(&name);
}

static void take_later_routes(struct take *t, const struct json *tree)
{
    const struct json *providers = tree_of(tree, "credential_providers", JSON_OBJECT);
    const struct json *routes = tree_of(tree, "credential_routes", JSON_ARRAY);
    size_t n = count_upstreams(providers, routes);
    t->config->later_routes.v = take_memory(t, n * sizeof(*t->config->later_routes.v));
    t->config->later_routes.cap = n;
    for (size_t i = 0; !t->no_memory && routes && i < routes->n; i++) {
        struct str name = tree_text(routes->items[i], "provider");
        const struct json_member *m = name.p && providers ? json_get(providers, name) : NULL;
        const struct json *hosts = m ? tree_of(m->value, "api_hosts", JSON_ARRAY) : NULL;
        for (size_t k = 0; hosts && k < hosts->n; k++)
            if (is_kind(hosts->items[k], JSON_STRING))
                take_later_route(t, routes->items[i], hosts, k);
    }
}

/* ---- variables that hold secrets ---- */

static void take_env_source(struct take *t, struct str text, struct str *v, size_t *n)
{
    struct str prefix = STR("env://");
    if (!str_starts(text, prefix))
        return;
    if (v)
        v[*n] = take_text(t, str_of(text.p + prefix.n, text.n - prefix.n));
    ++*n;
}

/* Wherever in the profile: also a reference of a kind whose machinery comes later names a variable
 * that no helper is to see. v NULL: counts. */
static void walk_env_sources(struct take *t, const struct json *tree, struct str *v, size_t *n)
{
    if (is_kind(tree, JSON_STRING))
        take_env_source(t, tree->text, v, n);
    for (size_t i = 0; is_kind(tree, JSON_ARRAY) && i < tree->n; i++)
        walk_env_sources(t, tree->items[i], v, n);
    for (size_t i = 0; is_kind(tree, JSON_OBJECT) && i < tree->n; i++) {
        take_env_source(t, tree->members[i].key, v, n); /* env_credentials */
        walk_env_sources(t, tree->members[i].value, v, n);
    }
}

static void take_env_sources(struct take *t, const struct json *tree)
{
    size_t n = 0;
    walk_env_sources(t, tree, NULL, &n);
    t->config->env_sources = take_memory(t, n * sizeof(*t->config->env_sources));
    if (t->config->env_sources)
        walk_env_sources(t, tree, t->config->env_sources, &t->config->n_env_sources);
}

enum err profile_apply(const struct json *tree, struct config *c, struct problems *problems)
{
    struct take t = {.config = c};
    const struct json *network = tree_of(tree, "network", JSON_OBJECT);
    (void)problems;
    take_network(&t, network);
    take_services(&t, tree_of(network, "custom_credentials", JSON_OBJECT));
    take_approvals(&t, tree);
    take_captures(&t, tree);
    take_later_routes(&t, tree);
    take_env_sources(&t, tree);
    return t.no_memory ? ERR_NOMEM : ERR_OK;
}
