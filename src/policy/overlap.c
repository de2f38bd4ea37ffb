#include "policy/overlap.h"
#include "policy/policy_int.h"
#include "policy/route_int.h"

/* The pattern of a well-formed entry that is no group. */
static bool pattern_of(struct str entry, struct pattern *ret_pattern)
{
    struct errctx why = {0};
    return !policy_group_members(str_of(entry.p, str_find(entry, ':'))) &&
           pattern_parse(entry, RULES_ALLOW, STR(""), ret_pattern, &why) == ERR_OK;
}

static bool is_one_address(const struct pattern *e)
{
    return e->kind == PATTERN_BLOCK && e->block.bits == (e->block.base.family == ADDRESS_V4 ? 32 : 128);
}

bool policy_entry_denied(const struct policy *p, struct str entry, struct str *ret_rule,
                         struct str *ret_origin)
{
    const struct rule_set *deny = &p->sets[RULES_DENY];
    const struct rule *r = NULL;
    struct pattern e;
    if (!deny->n || !pattern_of(entry, &e))
        return false;
    /* An entry for every port is not taken away by one for a single port. */
    struct query q = {e.port, SCHEME_BITS_ALL, e.port ? SCOPE_BOTH : SCOPE_ANY, false};
    if (e.kind == PATTERN_NAME)
        r = rule_set_host(deny, &e.host, &q);
    else if (e.kind == PATTERN_BELOW)
        r = rule_set_below(deny, &e.host, &q);
    else if (is_one_address(&e))
        r = rule_set_address(deny, &e.block.base, &q);
    if (!r)
        return false;
    *ret_rule = r->id;
    *ret_origin = r->origin;
    return true;
}

const struct route *policy_entry_gated(const struct policy *p, struct str entry)
{
    struct route_walk w = {.policy = p};
    const struct route *r;
    struct pattern e;
    if (!p->routes.n || !pattern_of(entry, &e) || e.kind == PATTERN_ANY)
        return NULL;
    if (e.kind == PATTERN_BLOCK && !is_one_address(&e))
        return NULL;
    if (e.kind == PATTERN_BLOCK)
        e.host = hostname_from_address(&e.block.base);
    if (e.kind == PATTERN_BELOW)
        w.next = map_get(&p->routes.suffixes, hostname_str(&e.host));
    else
        route_walk_init(&w, p, &e.host);
    while ((r = route_walk_next(&w)) != NULL)
        if (r->view.has_rules && !r->view.has_credential)
            return r;
    return NULL;
}

const struct route *policy_route_equal(const struct policy *p, size_t index)
{
    const struct route *r = policy_route_rival(p, index);
    for (size_t i = index + 1; !r && i < p->routes.n; i++)
        if (policy_route_rival(p, i) == p->routes.v[index])
            r = p->routes.v[i];
    return r;
}
