#include "policy/route.h"
#include "base/mem.h"
#include "policy/route_int.h"

enum { BASE_MAX = 4096 };

const char *endpoint_action_name(enum endpoint_action a)
{
    return a == ENDPOINT_ACT_ALLOW ? "allow" : a == ENDPOINT_ACT_APPROVE ? "approve" : "deny";
}

/* ---- building one ---- */

struct builder {
    struct policy *policy;
    const struct route_spec *spec;
    struct route *route;
    struct errctx *ctx;
};

static enum err no_memory(struct builder *b)
{
    return err_set(b->ctx, ERR_NOMEM, "out of memory for routes");
}

static enum err invalid(struct builder *b, const char *what, const char *why)
{
    const struct route_spec *spec = b->spec;
    return err_set(b->ctx, ERR_INVALID, "%.*s%sroute %.*s: %s%s%s", STR_ARG(spec->origin),
                   spec->origin.n ? ": " : "", STR_ARG(spec->id), what, why ? ": " : "",
                   why ? why : "");
}

static enum err take_host(struct builder *b)
{
    struct route *r = b->route;
    struct str text = b->spec->host;
    struct errctx why = {0};
    r->wildcard = str_starts(text, STR("*."));
    if (r->wildcard)
        text = str_of(text.p + 2, text.n - 2);
    if (hostname_parse(text, &r->host, &why) != ERR_OK)
        return invalid(b, "bad host", why.text);
    if (r->wildcard && r->host.is_address)
        return invalid(b, "a * cannot stand before an address", NULL);
    r->loopback = r->host.is_address ? address_kind(&r->host.address) == ADDRESS_LOOPBACK
                                     : !r->wildcard && hostname_is_localhost(&r->host);
    return ERR_OK;
}

static struct str copy_judged(struct builder *b, struct str form)
{
    return pool_str(&b->policy->pool, form);
}

static enum err take_base(struct builder *b)
{
    char scratch[2 * BASE_MAX + 4];
    struct judged_path judged;
    struct errctx why = {0};
    struct route *r = b->route;
    r->base[FORM_SEGMENTS] = r->base[FORM_DECODED] = STR("");
    if (b->spec->base_path.n > BASE_MAX)
        return invalid(b, "the upstream's path is longer than 4096 bytes", NULL);
    if (path_judge(b->spec->base_path, scratch, sizeof scratch, &judged, &why) != ERR_OK)
        return invalid(b, "bad path of the upstream", why.text);
    if (judged.segments.n == 1) /* "/" */
        return ERR_OK;
    r->base[FORM_SEGMENTS] = copy_judged(b, judged.segments);
    r->base[FORM_DECODED] = copy_judged(b, judged.decoded);
    return r->base[FORM_SEGMENTS].p && r->base[FORM_DECODED].p ? ERR_OK : no_memory(b);
}

static struct str keep(struct builder *b, struct buf *text)
{
    struct str kept = buf_ok(text) ? pool_str(&b->policy->pool, buf_str(text)) : STR_NULL;
    buf_fini(text);
    return kept;
}

/* host, or *.suffix, with brackets round IPv6. */
static void add_host(const struct route *r, struct buf *out)
{
    if (r->wildcard)
        buf_add_z(out, "*.");
    hostname_format(out, &r->host);
}

/* "https://host:port/base"; the port only where it is not the scheme's. */
static void add_url(const struct route *r, bool with_base, struct buf *out)
{
    buf_add_str(out, scheme_name(r->view.scheme));
    buf_add_z(out, "://");
    add_host(r, out);
    if (r->view.port != scheme_port(r->view.scheme)) {
        buf_add_c(out, ':');
        buf_add_u64(out, r->view.port);
    }
    if (with_base)
        buf_add_str(out, r->view.base_path);
}

static struct str trim_slashes(struct str s)
{
    while (s.n && s.p[0] == '/')
        s = str_of(s.p + 1, s.n - 1);
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

static struct str without_trailing(struct str s)
{
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

static enum err take_texts(struct builder *b)
{
    struct pool *pool = &b->policy->pool;
    const struct route_spec *spec = b->spec;
    struct route *r = b->route;
    struct route_view *v = &r->view;
    struct buf text;
    v->id = pool_str(pool, spec->id);
    v->origin = pool_str(pool, spec->origin);
    v->prefix = pool_str(pool, trim_slashes(spec->prefix));
    v->base_path = pool_str(pool, without_trailing(spec->base_path));
    buf_init(&text, BASE_MAX + 512);
    add_url(r, true, &text);
    v->upstream = keep(b, &text);
    buf_init(&text, 512);
    buf_add_z(&text, "use ");
    add_url(r, false, &text);
    r->remedy = keep(b, &text);
    r->address = r->remedy.p ? str_of(r->remedy.p + 4, r->remedy.n - 4) : STR_NULL;
    buf_init(&text, 512);
    add_host(r, &text);
    v->host_pattern = keep(b, &text);
    buf_init(&text, spec->id.n + 16);
    buf_printf(&text, "route:%.*s", STR_ARG(spec->id));
    r->rule_id = keep(b, &text);
    return v->id.p && v->origin.p && v->prefix.p && v->base_path.p && v->upstream.p &&
                   v->host_pattern.p && r->address.p && r->rule_id.p
               ? ERR_OK
               : no_memory(b);
}

static enum err fill(struct builder *b)
{
    const struct route_spec *spec = b->spec;
    struct route *r = b->route;
    struct route_view *v = &r->view;
    v->scheme = spec->scheme;
    v->port = spec->port ? spec->port : scheme_port(spec->scheme);
    v->has_credential = spec->has_credential;
    v->unavailable = spec->unavailable;
    enum err e = take_host(b);
    if (e == ERR_OK)
        e = take_base(b);
    if (e == ERR_OK)
        e = take_texts(b);
    if (e == ERR_OK)
        e = endpoint_compile(&r->endpoints, &b->policy->pool, spec, r->base[FORM_SEGMENTS], b->ctx);
    v->has_rules = r->endpoints.restricts;
    return e;
}

/* ---- the index ---- */

static bool chain(struct map *map, struct str key, struct route *r)
{
    struct route *first = map_get(map, key);
    r->last = r;
    if (!first)
        return map_put(map, key, r);
    first->last->next = r;
    first->last = r;
    return true;
}

/* By host only what demands something there; a route that does not is one of its prefix. */
static bool index_host(struct routes *routes, struct route *r)
{
    struct str port_key = str_of(r->port_key, sizeof r->port_key);
    if (!r->view.has_rules && !r->view.has_credential)
        return true;
    memcpy(r->port_key, &r->view.port, sizeof r->port_key);
    if (r->loopback && !map_get(&routes->loopbacks, port_key) &&
        !map_put(&routes->loopbacks, port_key, r))
        return false;
    return chain(r->wildcard ? &routes->suffixes : &routes->hosts, hostname_str(&r->host), r);
}

static bool make_room(struct routes *routes)
{
    if (routes->n < routes->cap)
        return true;
    size_t cap = routes->cap ? routes->cap * 2 : 8;
    struct route **v = mem_realloc(routes->v, cap * sizeof(struct route *));
    if (!v)
        return false;
    routes->v = v;
    routes->cap = cap;
    return true;
}

static enum err insert(struct builder *b)
{
    struct routes *routes = &b->policy->routes;
    struct route *r = b->route;
    if (r->view.prefix.n && map_get(&routes->prefixes, r->view.prefix))
        return invalid(b, "another route has the same prefix", NULL);
    if (!make_room(routes) || (r->view.prefix.n && !map_put(&routes->prefixes, r->view.prefix, r)))
        return no_memory(b); /* map_put put nothing */
    /* The maps may point to it: from here on it is freed with the policy, whatever fails. */
    r->view.index = (unsigned)routes->n;
    routes->v[routes->n++] = r;
    b->route = NULL;
    return index_host(routes, r) ? ERR_OK : no_memory(b);
}

enum err policy_add_route(struct policy *p, const struct route_spec *spec, struct errctx *ctx)
{
    struct builder b = {p, spec, mem_zalloc(sizeof(struct route)), ctx};
    enum err e = b.route ? fill(&b) : no_memory(&b);
    if (e == ERR_OK)
        e = insert(&b);
    if (e != ERR_OK && b.route) {
        endpoint_fini(&b.route->endpoints);
        mem_free(b.route);
    }
    return e;
}

void routes_fini(struct routes *r)
{
    for (size_t i = 0; i < r->n; i++) {
        endpoint_fini(&r->v[i]->endpoints);
        mem_free(r->v[i]);
    }
    mem_free(r->v);
    map_fini(&r->prefixes);
    map_fini(&r->hosts);
    map_fini(&r->suffixes);
    map_fini(&r->loopbacks);
}

/* ---- finding ---- */

void route_walk_init(struct route_walk *w, const struct policy *p, const struct hostname *host)
{
    struct str name = hostname_str(host);
    const struct routes *routes = &p->routes;
    *w = (struct route_walk){.policy = p};
    if (!routes->n)
        return;
    w->next = map_get(&routes->hosts, name);
    w->rest = host->is_address || !routes->suffixes.n ? STR_NULL : name;
}

const struct route *route_walk_next(struct route_walk *w)
{
    struct str label;
    while (!w->next) {
        if (!str_next(&w->rest, '.', &label) || !w->rest.p)
            return NULL;
        w->next = map_get(&w->policy->routes.suffixes, w->rest);
    }
    const struct route *r = w->next;
    w->next = r->next;
    return r;
}

const struct route *route_on_loopback(const struct policy *p, uint16_t port)
{
    char key[2];
    memcpy(key, &port, sizeof key);
    return p->routes.n ? map_get(&p->routes.loopbacks, str_of(key, sizeof key)) : NULL;
}

const struct route *policy_route_by_prefix(const struct policy *p, struct str prefix)
{
    return p->routes.n ? map_get(&p->routes.prefixes, prefix) : NULL;
}

/* ---- rivals ---- */

static bool rules_rival(const struct endpoint_rule *a, const struct endpoint_rule *b)
{
    return a->weight == b->weight && str_eq(a->path, b->path) &&
           (str_eq_nocase(a->method, b->method) || str_eq(a->method, STR("*")) ||
            str_eq(b->method, STR("*")));
}

static bool lists_rival(const struct endpoint_list *a, const struct endpoint_list *b)
{
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < b->n; k++)
            if (rules_rival(&a->rules[i], &b->rules[k]))
                return true;
    return false;
}

static bool endpoints_rival(const struct endpoint_policy *a, const struct endpoint_policy *b)
{
    if (a->fallback != ENDPOINT_ACT_DENY && b->fallback != ENDPOINT_ACT_DENY)
        return true;
    for (int i = ENDPOINT_ACT_APPROVE; i <= ENDPOINT_ACT_ALLOW; i++)
        for (int k = ENDPOINT_ACT_APPROVE; k <= ENDPOINT_ACT_ALLOW; k++)
            if (lists_rival(&a->lists[i], &b->lists[k]))
                return true;
    return false;
}

const struct route *policy_route_rival(const struct policy *p, size_t index)
{
    const struct route *r = p->routes.v[index];
    const struct map *map = r->wildcard ? &p->routes.suffixes : &p->routes.hosts;
    const struct route *other =
        r->view.has_credential ? map_get(map, hostname_str(&r->host)) : NULL;
    for (; other && other != r; other = other->next)
        if (other->view.has_credential && other->view.port == r->view.port &&
            other->view.scheme == r->view.scheme &&
            str_eq(other->base[FORM_SEGMENTS], r->base[FORM_SEGMENTS]) &&
            endpoints_rival(&other->endpoints, &r->endpoints))
            return other;
    return NULL;
}

/* ---- views ---- */

size_t policy_routes(const struct policy *p)
{
    return p->routes.n;
}

const struct route *policy_route(const struct policy *p, size_t index)
{
    return p->routes.v[index];
}

void policy_route_view(const struct policy *p, size_t index, struct route_view *ret_view)
{
    route_view(p->routes.v[index], ret_view);
}

void route_view(const struct route *r, struct route_view *ret_view)
{
    *ret_view = r->view;
}

size_t route_rules(const struct route *r)
{
    size_t n = 0;
    for (size_t a = 0; a < ARRAY_LEN(r->endpoints.lists); a++)
        n += r->endpoints.lists[a].n;
    return n;
}

void route_rule_view(const struct route *r, size_t index, struct route_rule_view *ret_view)
{
    const struct endpoint_list *list = r->endpoints.lists;
    while (index >= list->n)
        index -= list++->n;
    const struct endpoint_rule *rule = &list->rules[index];
    *ret_view = (struct route_rule_view){(enum endpoint_action)rule->action, rule->method,
                                         rule->path, rule->origin, rule->whole};
}

enum endpoint_action route_default(const struct route *r)
{
    return r->endpoints.fallback;
}
