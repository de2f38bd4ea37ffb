#include "policy/policy.h"
#include "base/mem.h"
#include "policy/policy_int.h"
#include "policy/route_int.h"

static const char *const list_prefix[] = {
    [RULES_ALLOW] = "allow:", [RULES_DENY] = "deny:", [RULES_BYPASS] = "bypass:"};

enum err policy_new(struct policy **ret_policy)
{
    struct policy *p = mem_zalloc(sizeof *p);
    if (!p)
        return ERR_NOMEM;
    map_init(&p->origins);
    map_init(&p->routes.prefixes);
    map_init(&p->routes.hosts);
    map_init(&p->routes.suffixes);
    map_init(&p->routes.loopbacks);
    *ret_policy = p;
    return ERR_OK;
}

void policy_free(struct policy *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < ARRAY_LEN(p->sets); i++)
        rule_set_fini(&p->sets[i]);
    routes_fini(&p->routes);
    map_fini(&p->origins);
    pool_fini(&p->pool);
    mem_free(p);
}

/* One copy of each origin, however many entries it has. p NULL: no memory. */
static struct str intern(struct policy *p, struct str origin)
{
    struct str *kept = map_get(&p->origins, origin);
    if (kept)
        return *kept;
    kept = pool_alloc(&p->pool, sizeof *kept);
    struct str copy = pool_str(&p->pool, origin);
    if (!kept || !copy.p)
        return STR_NULL;
    *kept = copy;
    return map_put(&p->origins, copy, kept) ? copy : STR_NULL;
}

static struct str make_id(struct policy *p, enum rule_list list, const struct pattern *pattern,
                          struct str group)
{
    struct buf text;
    struct str id = STR_NULL;
    buf_init(&text, 512);
    buf_add_z(&text, list_prefix[list]);
    if (group.n)
        buf_add_str(&text, group);
    else
        pattern_format(&text, pattern);
    if (buf_ok(&text))
        id = pool_str(&p->pool, buf_str(&text));
    buf_fini(&text);
    return id;
}

static enum err add_pattern(struct policy *p, enum rule_list list, const struct pattern *pattern,
                            struct rule *model)
{
    model->port = pattern->port;
    model->schemes = pattern->schemes;
    return rule_set_add(&p->sets[list], &p->pool, pattern, model);
}

/* *ret_notice stays NULL when there is nothing to say. */
static enum err make_notice(struct policy *p, struct str entry, const char **ret_notice)
{
    struct buf text;
    struct str kept = STR_NULL;
    buf_init(&text, 1024);
    buf_printf(
        &text,
        "\"%.*s\" names or covers a cloud metadata or link-local address: that stays refused",
        STR_ARG(entry));
    if (buf_ok(&text))
        kept = pool_str(&p->pool, buf_str(&text));
    buf_fini(&text);
    if (!kept.p)
        return ERR_NOMEM;
    *ret_notice = kept.p;
    return ERR_OK;
}

/* Members of a group are entries of ours: none of them can be wrong but by a bug. */
static enum err add_group(struct policy *p, enum rule_list list, const char *const *members,
                          struct pattern *like, struct rule *model, bool *ret_covers,
                          struct errctx *ctx)
{
    for (; *members; members++) {
        struct pattern pattern;
        enum err e = pattern_parse(str_from(*members), list, model->origin, &pattern, ctx);
        if (e != ERR_OK)
            return e;
        pattern.port = like->port;
        *ret_covers |= list == RULES_ALLOW && floor_covers(&pattern);
        e = add_pattern(p, list, &pattern, model);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* "github" or "github:443": the members, or NULL. */
static const char *const *find_group(enum rule_list list, struct str entry)
{
    return list == RULES_BYPASS ? NULL : policy_group_members(str_of(entry.p, str_find(entry, ':')));
}

static enum err add_entry(struct policy *p, enum rule_list list, struct str entry,
                          struct rule *model, bool *ret_covers, struct errctx *ctx)
{
    struct pattern pattern;
    const char *const *members = find_group(list, entry);
    enum err e = pattern_parse(entry, list, model->origin, &pattern, ctx);
    if (e != ERR_OK)
        return e;
    model->by_group = members != NULL;
    model->id = make_id(p, list, &pattern, members ? entry : STR_NULL);
    if (!model->id.p)
        return ERR_NOMEM;
    if (members)
        return add_group(p, list, members, &pattern, model, ret_covers, ctx);
    *ret_covers = list == RULES_ALLOW && floor_covers(&pattern);
    return add_pattern(p, list, &pattern, model);
}

enum err policy_add(struct policy *p, enum rule_list list, struct str entry, struct str origin,
                    const char **ret_notice, struct errctx *ctx)
{
    bool covers = false;
    const char *notice = NULL;
    struct rule model = {.origin = intern(p, origin)};
    enum err e = model.origin.p ? add_entry(p, list, entry, &model, &covers, ctx) : ERR_NOMEM;
    if (e == ERR_OK && covers)
        e = make_notice(p, entry, &notice);
    if (e == ERR_NOMEM)
        return err_set(ctx, ERR_NOMEM, "out of memory for host rules");
    if (e == ERR_OK)
        *ret_notice = notice;
    return e;
}

/* Scheme and port are the route's (decision H3), and the entry is not one of the host's own (E6).
 */
enum err policy_allow_route(struct policy *p, size_t index, struct errctx *ctx)
{
    const struct route *r = p->routes.v[index];
    struct rule model = {.origin = r->view.origin, .derived = true};
    struct pattern pattern = {.kind = r->wildcard ? PATTERN_BELOW : PATTERN_NAME,
                              .host = r->host,
                              .port = r->view.port,
                              .schemes = r->view.scheme == SCHEME_HTTPS ? SCHEME_BIT_HTTPS
                                                                        : SCHEME_BIT_HTTP};
    if (r->host.is_address) {
        pattern.kind = PATTERN_BLOCK;
        pattern.block.base = r->host.address;
        pattern.block.bits = r->host.address.family == ADDRESS_V4 ? 32 : 128;
    }
    model.id = make_id(p, RULES_ALLOW, &pattern, STR_NULL);
    if (!model.id.p || add_pattern(p, RULES_ALLOW, &pattern, &model) != ERR_OK)
        return err_set(ctx, ERR_NOMEM, "out of memory for host rules");
    return ERR_OK;
}

void policy_set_strict(struct policy *p, bool strict)
{
    p->strict = strict;
}

void policy_set_chain(struct policy *p, bool names_there)
{
    p->chain = true;
    p->names_there = names_there;
}

enum err policy_freeze(struct policy *p)
{
    /* Everything is compiled as it is added; what only adding needs can go. */
    map_fini(&p->origins);
    return ERR_OK;
}

enum policy_kind policy_kind(const struct policy *p)
{
    const struct rule_set *allow = &p->sets[RULES_ALLOW];
    if (allow->n == 0)
        return p->strict ? POLICY_DENY_ALL : POLICY_ALLOW_ALL;
    return rule_set_has_any(allow) ? POLICY_ALLOW_ALL : POLICY_ALLOWLIST;
}
