/* What routes say of a request: where their host is reachable (H11), the rules of endpoint-only
 * routes, then which credential (K2, E6). */
#include "base/limits.h"
#include "policy/decide.h"
#include "policy/facts.h"
#include "policy/route_int.h"
#include <stdio.h>

enum { STACK_SCRATCH = 2048, PATH_SHOWN = 48 };

struct judge {
    const struct policy *policy;
    const struct facts *facts;
    struct decision *d;
    struct judged_path path; /* whole path, the base path of a reverse route included */
};

/* ---- which routes ---- */

static bool is_here(const struct route *r, const struct facts *f, const struct decision *d)
{
    return r->view.port == d->port && (f->shape == SHAPE_CONNECT || r->view.scheme == d->scheme);
}

static const struct route *next_here(struct route_walk *w, const struct judge *j)
{
    const struct route *r;
    do
        r = route_walk_next(w);
    while (r && !is_here(r, j->facts, j->d));
    return r;
}

static const struct route *next_of_kind(struct route_walk *w, const struct judge *j,
                                        bool credential)
{
    const struct route *r;
    do
        r = next_here(w, j);
    while (r && r->view.has_credential != credential);
    return r;
}

/* ---- place ---- */

static bool refuse_place(struct decision *d, const struct route *r, const char *what)
{
    struct cause cause = {r->rule_id, r->view.origin, r->remedy};
    return decision_refuse(d, ERR_ENDPOINT_DENIED, &cause,
                           "host %.60s:%u %s (route %.*s): it is reachable only at %.*s",
                           d->host.text, (unsigned)d->port, what,
                           r->view.id.n > 40 ? 40 : (int)r->view.id.n, r->view.id.p,
                           STR_ARG(r->address));
}

static bool is_loopback(const struct hostname *host)
{
    enum address_kind kind;
    if (!host->is_address)
        return hostname_is_localhost(host);
    kind = address_kind(&host->address);
    return kind == ADDRESS_LOOPBACK || kind == ADDRESS_UNSPECIFIED;
}

bool judge_place_refuses(const struct policy *p, const struct facts *f, struct decision *d)
{
    struct route_walk w;
    const struct route *r, *first = NULL;
    route_walk_init(&w, p, &d->host);
    while ((r = route_walk_next(&w)) != NULL) {
        if (is_here(r, f, d)) {
            d->route_loopback = r->loopback;
            return false;
        }
        if (!first)
            first = r;
    }
    if (first)
        return refuse_place(d, first,
                            first->view.has_credential ? "has a credential" : "has endpoint rules");
    /* Another name of a loopback upstream would dodge its rules (case 29). */
    r = is_loopback(&d->host) ? route_on_loopback(p, d->port) : NULL;
    return r && refuse_place(d, r, "is the upstream of a route");
}

bool judge_address_refuses(const struct policy *p, struct decision *d, const struct address *a)
{
    struct route_walk w;
    const struct route *r;
    if (!p->routes.n || d->route)
        return false;
    struct hostname host = hostname_from_address(a);
    route_walk_init(&w, p, &host);
    while ((r = route_walk_next(&w)) != NULL)
        if (r->view.port == d->port)
            return refuse_place(d, r, "resolves to the upstream of a route");
    r = is_loopback(&host) ? route_on_loopback(p, d->port) : NULL;
    return r && refuse_place(d, r, "resolves to the upstream of a route");
}

/* ---- one route's word ---- */

static void path_for(const struct judge *j, const struct route *r, struct endpoint_path *out)
{
    out->whole[FORM_SEGMENTS] = j->path.segments;
    out->whole[FORM_DECODED] = j->path.decoded;
    for (int form = FORM_SEGMENTS; form <= FORM_DECODED; form++)
        out->below[form] = path_below(out->whole[form], r->base[form]);
}

/* What a route says, and how much that counts beside what others of its kind say. */
struct opinion {
    const struct route *route;
    struct endpoint_verdict verdict;
    struct endpoint_path path;
    bool outside; /* of the base path: not this route's request */
};

static void ask(const struct judge *j, const struct route *r, struct opinion *o)
{
    *o = (struct opinion){.route = r, .verdict = {.action = ENDPOINT_ACT_DENY}};
    path_for(j, r, &o->path);
    o->outside = !o->path.below[FORM_SEGMENTS].p;
    if (o->outside && !o->path.below[FORM_DECODED].p)
        return;
    endpoint_judge(&r->endpoints, j->facts->method, &o->path, &o->verdict);
}

static struct str label_of(const struct opinion *o)
{
    return o->verdict.rule ? o->verdict.rule->label : STR("endpoint_policy.default");
}

/* The opinion that decides goes into the decision. */
static void note(struct decision *d, const struct opinion *o)
{
    const struct endpoint_rule *rule = o->verdict.rule;
    const struct endpoint_policy *ep = &o->route->endpoints;
    d->endpoint_judged = true;
    d->endpoint_action = o->verdict.action;
    d->endpoint_rule = label_of(o);
    if (ep->restricts) {
        d->rule = d->endpoint_rule;
        d->origin = rule ? rule->origin : o->route->view.origin;
    }
    if (o->verdict.action != ENDPOINT_ACT_APPROVE)
        return;
    d->approval_backend = rule ? rule->backend : ep->fallback_backend;
    d->approval_reason = rule ? rule->reason : STR("");
    d->approval_timeout_ms = rule ? rule->timeout_ms : ep->fallback_timeout_ms;
}

/* ---- refusing ---- */

/* Part of a request for a sentence: visible, and not too much of it. */
static const char *shown(struct str s, char out[PATH_SHOWN + 4])
{
    size_t n = s.n < PATH_SHOWN ? s.n : PATH_SHOWN;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)s.p[i] > ' ' && (unsigned char)s.p[i] < 0x7f ? s.p[i] : '?';
    memcpy(out + n, s.n > n ? "..." : "", s.n > n ? 4 : 1);
    return out;
}

/* The reason that a rule gives is the profile's text, which may hold anything: controls (those of UTF-8 too) become blanks. */
static bool refuse_as_told(struct decision *d, const struct cause *cause, struct str reason)
{
    bool refused = decision_refuse(d, ERR_ENDPOINT_DENIED, cause, "%.*s", STR_ARG(reason));
    for (char *c = d->reason; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
        else if (c > d->reason && c[-1] == '\xc2' && (unsigned char)*c < 0xa0)
            c[-1] = *c = ' ';
    }
    return refused;
}

static bool refuse_denied(const struct judge *j, const struct opinion *o)
{
    struct decision *d = j->d;
    const struct route_view *v = &o->route->view;
    const struct endpoint_rule *rule = o->verdict.rule;
    char path[PATH_SHOWN + 4], method[PATH_SHOWN + 4];
    struct str label = label_of(o), service = v->prefix.n ? v->prefix : v->host_pattern;
    struct cause cause = {label, rule ? rule->origin : v->origin,
                          STR("add an endpoint rule for it to the route")};
    d->route = o->route;
    note(d, o);
    if (!rule && !o->outside)
        d->hint = endpoint_hint(&o->route->endpoints, j->facts->method, &o->path);
    if (rule && rule->reason.n) {
        cause.remedy = STR("");
        return refuse_as_told(d, &cause, rule->reason);
    }
    (void)shown(j->facts->path, path);
    (void)shown(j->facts->method, method);
    if (d->hint.n)
        cause.remedy = d->hint;
    else if (rule)
        cause.remedy = STR("change the rule that denies it");
    return decision_refuse(
        d, ERR_ENDPOINT_DENIED, &cause, "endpoint denied by %.*s: %s %s on %s '%.*s'%s%.*s",
        label.n > 100 ? 100 : (int)label.n, label.p, method, path, v->prefix.n ? "service" : "host",
        service.n > 60 ? 60 : (int)service.n, service.p, d->hint.n ? "; " : "",
        d->hint.n > 200 ? 200 : (int)d->hint.n, d->hint.n ? d->hint.p : "");
}

static bool refuse_unavailable(struct decision *d, const struct route *r)
{
    struct cause cause = {r->rule_id, r->view.origin, STR_NULL};
    d->route = r;
    return decision_refuse(d, ERR_CREDENTIAL_UNAVAILABLE, &cause,
                           "the credential of route %.*s is not in this version",
                           r->view.id.n > 60 ? 60 : (int)r->view.id.n, r->view.id.p);
}

static bool refuse_ambiguous(struct decision *d, const struct route *a, const struct route *b)
{
    struct cause cause = {
        a->rule_id, a->view.origin,
        STR("give the credentials endpoint rules that differ, or use a reverse prefix")};
    d->route = a;
    return decision_refuse(d, ERR_ENDPOINT_DENIED, &cause,
                           "the credentials of routes %.*s and %.*s fit this request equally",
                           a->view.id.n > 40 ? 40 : (int)a->view.id.n, a->view.id.p,
                           b->view.id.n > 40 ? 40 : (int)b->view.id.n, b->view.id.p);
}

/* ---- endpoint-only routes ---- */

/* Of several gates an explicit word beats a default, and deny beats approve beats allow. */
static int gate_rank(const struct opinion *o)
{
    int by_action = ENDPOINT_ACT_ALLOW - (int)o->verdict.action;
    return o->verdict.rule ? 4 + by_action : 1 + by_action;
}

/* False: no gate, or none that refuses; the deciding one in *ret_gate (route NULL: none). */
static bool gates_refuse(const struct judge *j, struct opinion *ret_gate)
{
    struct route_walk w;
    const struct route *r;
    struct opinion best = {0}, o;
    route_walk_init(&w, j->policy, &j->d->host);
    while ((r = next_of_kind(&w, j, false)) != NULL) {
        ask(j, r, &o);
        if (!best.route || gate_rank(&o) > gate_rank(&best))
            best = o;
    }
    *ret_gate = best;
    return best.route && best.verdict.action == ENDPOINT_ACT_DENY && refuse_denied(j, &best);
}

/* ---- credentials ---- */

struct choice {
    struct opinion best, denied;     /* route NULL: none */
    const struct route *equal;       /* fits as well as best */
    const struct route *unavailable; /* has a credential that is not in this version */
    bool vetoed, closed;
};

/* The length of what is literal, then whether a rule says it at all, then the host. */
static int compare_fit(const struct opinion *a, const struct opinion *b)
{
    uint64_t left = a->verdict.weight, right = b->verdict.weight;
    if (!a->verdict.rule)
        left = (uint64_t)a->route->base[FORM_SEGMENTS].n << 32;
    if (!b->verdict.rule)
        right = (uint64_t)b->route->base[FORM_SEGMENTS].n << 32;
    if (left >> 32 != right >> 32)
        return left >> 32 > right >> 32 ? 1 : -1;
    if (!a->verdict.rule != !b->verdict.rule)
        return a->verdict.rule ? 1 : -1;
    if (left != right)
        return left > right ? 1 : -1;
    if (a->route->wildcard != b->route->wildcard)
        return b->route->wildcard ? 1 : -1;
    return (a->route->host.n > b->route->host.n) - (a->route->host.n < b->route->host.n);
}

static void consider(struct choice *c, const struct opinion *o)
{
    bool denied = o->verdict.action == ENDPOINT_ACT_DENY;
    bool explicit_policy = o->route->endpoints.explicit_policy;
    if (o->route->view.unavailable)
        c->unavailable = o->route;
    if (denied && o->verdict.rule)
        c->vetoed = true;
    if (denied && explicit_policy && !o->outside)
        c->closed = true;
    if (denied && (!c->denied.route || (o->verdict.rule && !c->denied.verdict.rule)))
        c->denied = *o;
    if (denied || o->outside)
        return;
    int fit = c->best.route ? compare_fit(o, &c->best) : 1;
    if (fit > 0) {
        c->best = *o;
        c->equal = NULL;
    } else if (fit == 0) {
        c->equal = o->route;
    }
}

/* A reverse request is its prefix's; any other may be any credential's of the host. */
static void choose(const struct judge *j, const struct route *only, struct choice *c)
{
    struct route_walk w;
    const struct route *r;
    struct opinion o;
    if (only) {
        ask(j, only, &o);
        consider(c, &o);
        return;
    }
    route_walk_init(&w, j->policy, &j->d->host);
    while ((r = next_of_kind(&w, j, true)) != NULL) {
        ask(j, r, &o);
        consider(c, &o);
    }
}

/* An entry that came with a route says nothing of the host as a whole. */
static bool is_plain(const struct judge *j, const struct rule *rule)
{
    struct route_walk w;
    const struct route *r;
    if (!rule || rule->derived)
        return false;
    route_walk_init(&w, j->policy, &j->d->host);
    while (rule->port && (r = next_here(&w, j)) != NULL)
        if (rule->port == r->view.port && str_eq(rule->origin, r->view.origin))
            return false;
    return true;
}

/* Whether the host has a plain allow entry of its own, or its wildcard's (decision E6). */
static bool has_plain_entry(const struct judge *j)
{
    const struct rule_set *allow = &j->policy->sets[RULES_ALLOW];
    static const uint8_t scopes[] = {SCOPE_PORT, SCOPE_ANY};
    uint8_t scheme = j->d->scheme == SCHEME_HTTPS ? SCHEME_BIT_HTTPS : SCHEME_BIT_HTTP;
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        struct query q = {j->d->port, scheme, scopes[i], false};
        struct route_walk w;
        const struct route *r;
        if (is_plain(j, rule_set_own(allow, &j->d->host, &q)))
            return true;
        route_walk_init(&w, j->policy, &j->d->host);
        while ((r = next_of_kind(&w, j, true)) != NULL)
            if (r->wildcard && is_plain(j, rule_set_below(allow, &r->host, &q)))
                return true;
    }
    return false;
}

/* No credential fits, though the host (or the prefix) has one. */
static bool left_out_refuses(const struct judge *j, const struct choice *c, bool reverse)
{
    if (!c->vetoed && c->unavailable)
        return refuse_unavailable(j->d, c->unavailable);
    if (!reverse && !c->vetoed && !c->closed && has_plain_entry(j)) {
        j->d->route = c->denied.route;
        return false;
    }
    return refuse_denied(j, &c->denied);
}

static bool credentials_refuse(const struct judge *j, const struct route *only,
                               struct opinion *ret_best)
{
    struct choice c = {0};
    choose(j, only, &c);
    *ret_best = c.best;
    if (!c.best.route)
        return c.denied.route && left_out_refuses(j, &c, only != NULL);
    /* A deny rule of one credential yields to a rule of another, not to one that takes everything.
     */
    if (c.vetoed && !c.best.verdict.rule)
        return refuse_denied(j, &c.denied);
    if (c.equal)
        return refuse_ambiguous(j->d, c.best.route, c.equal);
    return c.best.route->view.unavailable && refuse_unavailable(j->d, c.best.route);
}

/* ---- a request with method and path ---- */

/* Allowed, once somebody has said so: that is asked for at the very end (stage 5). */
static void say_who_is_asked(struct decision *d)
{
    struct str who = d->approval_backend;
    if (!d->endpoint_judged || d->endpoint_action != ENDPOINT_ACT_APPROVE)
        return;
    if (who.n)
        (void)snprintf(d->reason, sizeof d->reason,
                       "allowed if approval back end '%.*s' grants it when it is asked for",
                       who.n > 100 ? 100 : (int)who.n, who.p);
    else
        (void)snprintf(d->reason, sizeof d->reason,
                       "allowed if the default approval back end grants it when it is asked for");
}

/* Both say yes, perhaps after asking: the one that asks decides, else the one with the credential.
 */
static void combine(struct decision *d, const struct opinion *gate, const struct opinion *best)
{
    bool ask_gate = gate->route && gate->verdict.action == ENDPOINT_ACT_APPROVE;
    bool ask_best = best->route && best->verdict.action == ENDPOINT_ACT_APPROVE;
    if (best->route || gate->route)
        d->route = best->route ? best->route : gate->route;
    if (best->route && best->route->view.has_credential)
        d->credential = (int)best->route->view.index;
    if (gate->route)
        note(d, gate);
    if (best->route && (ask_best || (!ask_gate && (best->verdict.rule || !gate->route))))
        note(d, best);
}

static bool rules_refuse(struct judge *j, const struct route *only)
{
    struct opinion gate, best;
    if (gates_refuse(j, &gate) || credentials_refuse(j, only, &best))
        return true;
    combine(j->d, &gate, &best);
    say_who_is_asked(j->d);
    return false;
}

static const struct cause *path_cause(void)
{
    static const struct cause cause = {STR("malformed-path"), STR_NULL, STR_NULL};
    return &cause;
}

static bool judge_with(struct judge *j, const struct route *only, char *scratch, size_t size)
{
    struct errctx why = {0};
    struct str base = only ? only->base[FORM_SEGMENTS] : STR("");
    enum err e = path_judge_below(base, j->facts->path, scratch, size, &j->path, &why);
    if (e != ERR_OK)
        return decision_refuse(j->d, e, path_cause(), "%s", why.text);
    return rules_refuse(j, only);
}

static bool judge_short(struct judge *j, const struct route *only)
{
    char scratch[STACK_SCRATCH];
    return judge_with(j, only, scratch, sizeof scratch);
}

static bool paths_refuse(struct judge *j, const struct route *only)
{
    size_t base = only ? only->base[FORM_SEGMENTS].n : 0;
    if (2 * (base + j->facts->path.n) + 4 <= STACK_SCRATCH)
        return judge_short(j, only);
    return judge_with(j, only, j->facts->scratch, j->facts->scratch ? j->facts->scratch_size : 0);
}

/* ---- a CONNECT ---- */

static bool connect_refuses(const struct judge *j)
{
    struct route_walk w;
    const struct route *r, *gate = NULL, *missing = NULL, *credential = NULL;
    struct decision *d = j->d;
    route_walk_init(&w, j->policy, &d->host);
    while ((r = next_here(&w, j)) != NULL) {
        const struct route **first = !r->view.has_credential ? &gate
                                     : r->view.unavailable   ? &missing
                                                             : &credential;
        if (!*first)
            *first = r;
    }
    if (missing && !credential)
        return refuse_unavailable(d, missing);
    d->route = credential ? credential : gate;
    d->verdict = VERDICT_INTERCEPT;
    d->rule = d->route->rule_id;
    d->origin = d->route->view.origin;
    (void)snprintf(d->reason, sizeof d->reason,
                   "host %.60s has %s (route %.*s), so a tunnel to it must be intercepted",
                   d->host.text, credential ? "a credential" : "endpoint rules",
                   d->route->view.id.n > 60 ? 60 : (int)d->route->view.id.n, d->route->view.id.p);
    return false;
}

bool judge_request_refuses(const struct policy *p, const struct facts *f, struct decision *d)
{
    struct judge j = {.policy = p, .facts = f, .d = d};
    struct route_walk w;
    const struct route *only =
        f->shape == SHAPE_REVERSE ? policy_route_by_prefix(p, f->prefix) : NULL;
    d->verdict = VERDICT_ALLOW;
    if (!p->routes.n)
        return false;
    route_walk_init(&w, p, &d->host);
    if (!next_here(&w, &j)) { /* nothing but a prefix without demands */
        d->route = only;
        return false;
    }
    return f->shape == SHAPE_CONNECT ? connect_refuses(&j) : paths_refuse(&j, only);
}
