/* Gates and services of the config as routes of the policy. */
#include "base/map.h"
#include "base/mem.h"
#include "config/host_url.h"
#include "config/runtime_int.h"
#include "policy/route.h"

/* Gates of one scheme, host and port add up (decision H12). */
struct gate_group {
    struct str key;
    const struct gate_conf *first;
    enum scheme scheme;
    struct host_pattern host;
    struct endpoint_spec *rules;
    size_t n, cap;
};

struct gates {
    struct gate_group *v; /* in order of appearance; until the routes are made */
    size_t n;
    struct map by_key;
};

/* From here on 0 is "not given"; who gives no time at all has it over at once. */
static uint64_t approval_time(bool given, uint64_t ms)
{
    return given && ms == 0 ? 1 : ms;
}

static struct endpoint_spec spec_of(const struct endpoint_conf *r)
{
    return (struct endpoint_spec){.method = r->method,
                                  .path = r->path,
                                  .backend = r->backend,
                                  .reason = r->reason,
                                  .origin = r->origin,
                                  .timeout_ms = approval_time(r->timeout_given, r->timeout_ms)};
}

static void add_host_port(struct buf *out, enum scheme scheme, const struct host_pattern *host)
{
    buf_add_str(out, scheme_name(scheme));
    buf_add_z(out, "://");
    if (host->below)
        buf_add_z(out, "*.");
    hostname_format_port(out, &host->host, host->port);
}

/* ---- adding ---- */

/* `listed`: its host goes on the allowlist, at the route's scheme and port (decision H3). */
static enum err add_route(struct build *b, const struct route_spec *spec, bool listed)
{
    struct errctx why = {0};
    struct policy *p = b->runtime->policy;
    enum err e = policy_add_route(p, spec, &why);
    if (!e && listed)
        e = policy_allow_route(p, policy_routes(p) - 1, &why);
    if (e && e != ERR_NOMEM)
        build_problem(b, spec->origin, e, &why);
    return e == ERR_NOMEM ? e : ERR_OK;
}

static struct str host_text(struct build *b, const struct host_pattern *host)
{
    struct buf text;
    buf_init(&text, 512);
    host_pattern_format(&text, host);
    struct str s = buf_ok(&text) ? config_text(&b->runtime->config, buf_str(&text)) : STR_NULL;
    buf_fini(&text);
    return s;
}

/* ---- gates ---- */

static enum scheme default_scheme(const struct host_pattern *h)
{
    bool loopback = h->host.is_address ? address_kind(&h->host.address) == ADDRESS_LOOPBACK
                                       : str_eq(hostname_str(&h->host), STR("localhost"));
    return loopback && !h->below ? SCHEME_HTTP : SCHEME_HTTPS;
}

static bool gate_place(struct build *b, const struct gate_conf *g, enum scheme *ret_scheme,
                       struct host_pattern *ret_host)
{
    struct errctx why = {0};
    enum err e = host_pattern_parse(g->domain, ret_host, &why);
    if (e) {
        build_problem(b, g->origin, e, &why);
        return false;
    }
    *ret_scheme = default_scheme(ret_host);
    if (str_eq_nocase(g->scheme, STR("https"))) {
        *ret_scheme = SCHEME_HTTPS;
    } else if (str_eq_nocase(g->scheme, STR("http"))) {
        *ret_scheme = SCHEME_HTTP;
    } else if (g->scheme.n) {
        err_set(&why, ERR_INVALID, "\"%.*s\" is no scheme of a host entry: write https or http",
                STR_ARG(g->scheme));
        build_problem(b, g->origin, ERR_INVALID, &why);
        return false;
    }
    if (!ret_host->port)
        ret_host->port = scheme_port(*ret_scheme);
    return true;
}

static struct gate_group *group_of(struct build *b, struct gates *gates, const struct gate_conf *g,
                                   enum scheme scheme, const struct host_pattern *host)
{
    struct buf key;
    buf_init(&key, 512);
    add_host_port(&key, scheme, host);
    struct gate_group *group = buf_ok(&key) ? map_get(&gates->by_key, buf_str(&key)) : NULL;
    if (!group && buf_ok(&key)) {
        group = &gates->v[gates->n];
        *group = (struct gate_group){.key = config_text(&b->runtime->config, buf_str(&key)),
                                     .first = g,
                                     .scheme = scheme,
                                     .host = *host};
        if (group->key.p && map_put(&gates->by_key, group->key, group))
            gates->n++;
        else
            group = NULL;
    }
    buf_fini(&key);
    return group;
}

static bool add_rules(struct build *b, struct gate_group *group, const struct gate_conf *g)
{
    size_t n = group->n + g->endpoints.n;
    if (n > group->cap) {
        size_t cap = n > 2 * group->cap ? n : 2 * group->cap;
        struct endpoint_spec *v = config_alloc(&b->runtime->config, cap * sizeof(*v));
        if (!v)
            return false;
        if (group->n)
            memcpy(v, group->rules, group->n * sizeof(*v));
        group->rules = v;
        group->cap = cap;
    }
    for (size_t i = 0; i < g->endpoints.n; i++)
        group->rules[group->n++] = spec_of(&g->endpoints.v[i]);
    return true;
}

static enum err collect_gates(struct build *b, struct gates *gates)
{
    const struct gate_confs *all = &b->runtime->config.gates;
    gates->v = mem_zalloc((all->n + 1) * sizeof(*gates->v));
    if (!gates->v)
        return ERR_NOMEM;
    for (size_t i = 0; i < all->n; i++) {
        enum scheme scheme;
        struct host_pattern host;
        if (!gate_place(b, &all->v[i], &scheme, &host))
            continue;
        struct gate_group *group = group_of(b, gates, &all->v[i], scheme, &host);
        if (!group || !add_rules(b, group, &all->v[i]))
            return ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err add_gate(struct build *b, const struct gate_group *g, bool listed)
{
    struct buf id;
    buf_init(&id, 512);
    buf_add_z(&id, "_ep_");
    buf_add_str(&id, g->first->domain);
    struct route_spec spec = {.id = buf_ok(&id) ? config_text(&b->runtime->config, buf_str(&id))
                                                : STR_NULL,
                              .origin = g->first->origin,
                              .scheme = g->scheme,
                              .host = host_text(b, &g->host),
                              .port = g->host.port,
                              .segment_globs = !b->runtime->config.endpoint_glob_path,
                              .rules = g->rules,
                              .n_rules = g->n};
    buf_fini(&id);
    if (!spec.id.p || !spec.host.p)
        return ERR_NOMEM;
    return add_route(b, &spec, listed);
}

static enum err add_gates(struct build *b, bool listed)
{
    struct gates gates = {0};
    map_init(&gates.by_key);
    enum err e = collect_gates(b, &gates);
    for (size_t i = 0; !e && i < gates.n; i++)
        e = add_gate(b, &gates.v[i], listed);
    mem_free(gates.v);
    map_fini(&gates.by_key);
    return e;
}

/* ---- services ---- */

static struct endpoint_spec *specs_of(struct build *b, const struct endpoint_confs *from)
{
    struct endpoint_spec *v = config_alloc(&b->runtime->config, (from->n + 1) * sizeof(*v));
    for (size_t i = 0; v && i < from->n; i++)
        v[i] = spec_of(&from->v[i]);
    return v;
}

static const enum endpoint_action actions[] = {[ENDPOINT_DENY] = ENDPOINT_ACT_DENY,
                                               [ENDPOINT_APPROVE] = ENDPOINT_ACT_APPROVE,
                                               [ENDPOINT_ALLOW] = ENDPOINT_ACT_ALLOW};

static bool set_policy(struct build *b, const struct endpoint_policy_conf *p,
                       struct route_spec *spec)
{
    spec->policy_given = p->given;
    spec->fallback = actions[p->fallback];
    spec->fallback_backend = p->backend;
    spec->fallback_timeout_ms = approval_time(p->timeout_given, p->timeout_ms);
    spec->deny = specs_of(b, &p->deny);
    spec->n_deny = p->deny.n;
    spec->approve = specs_of(b, &p->approve);
    spec->n_approve = p->approve.n;
    spec->allow = specs_of(b, &p->allow);
    spec->n_allow = p->allow.n;
    return spec->deny && spec->approve && spec->allow;
}

static struct str trim_slashes(struct str s)
{
    while (s.n && s.p[0] == '/')
        s.p++, s.n--;
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

/* `later`: its machinery is not in this version, so no request of such a route passes (decision K13). */
static enum err add_upstream(struct build *b, struct route_spec *spec, struct str url, bool later,
                             bool listed)
{
    struct upstream u;
    struct errctx why = {0};
    enum err e = upstream_parse(url, &u, &why);
    if (e) {
        build_problem(b, spec->origin, e, &why);
        return ERR_OK;
    }
    spec->prefix = trim_slashes(spec->id);
    spec->scheme = u.scheme;
    spec->host = host_text(b, &u.host);
    spec->port = u.host.port;
    spec->base_path = u.base_path;
    spec->has_credential = true;
    spec->unavailable = later;
    spec->segment_globs = !b->runtime->config.endpoint_glob_path;
    if (!spec->host.p)
        return ERR_NOMEM;
    return add_route(b, spec, listed);
}

static enum err add_service(struct build *b, const struct service_conf *s, bool listed)
{
    struct route_spec spec = {
        .id = s->name, .origin = s->builtin ? s->enabled_origin : s->origin, .n_rules = s->rules.n};
    spec.rules = specs_of(b, &s->rules);
    if (!spec.rules || !set_policy(b, &s->policy, &spec))
        return ERR_NOMEM;
    return add_upstream(b, &spec, s->upstream, s->kind != SERVICE_KEY, listed);
}

static enum err add_later(struct build *b, const struct later_route_conf *l, bool listed)
{
    struct route_spec spec = {.id = l->name, .origin = l->origin};
    if (!set_policy(b, &l->policy, &spec))
        return ERR_NOMEM;
    return add_upstream(b, &spec, l->upstream, true, listed);
}

/* In the order in which they were asked for. */
static enum err add_services(struct build *b, bool listed)
{
    const struct config *c = &b->runtime->config;
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < c->credentials.n; i++)
        for (size_t k = 0; !e && k < c->services.n; k++)
            if (c->services.v[k].enabled &&
                str_eq(c->services.v[k].name, c->credentials.v[i].value))
                e = add_service(b, &c->services.v[k], listed);
    for (size_t i = 0; !e && i < c->later_routes.n; i++)
        e = add_later(b, &c->later_routes.v[i], listed);
    return e;
}

enum err build_routes(struct build *b, bool listed)
{
    enum err e = add_services(b, listed);
    return e ? e : add_gates(b, listed);
}
