#include "policy/endpoint.h"
#include "base/mem.h"

/* ---- the trie ---- */

struct trie_node {
    uint32_t exact, below, globs; /* chains of links, in the order of the rules */
};
struct trie_edge {
    struct str segment;
    uint32_t parent, child; /* child 0: free slot */
};
struct trie_link {
    uint32_t rule, next;
};

static bool grow(void **items, uint32_t *cap, uint32_t n, size_t size)
{
    if (n < *cap)
        return true;
    uint32_t bigger = *cap ? *cap * 2 : 2; /* most routes have one rule */
    void *moved = mem_realloc(*items, bigger * size);
    if (!moved)
        return false;
    *items = moved;
    *cap = bigger;
    return true;
}

static uint32_t new_node(struct endpoint_trie *t)
{
    void *nodes = t->nodes;
    bool ok = grow(&nodes, &t->cap_nodes, t->n_nodes, sizeof *t->nodes);
    t->nodes = nodes;
    if (!ok)
        return 0;
    t->nodes[t->n_nodes] = (struct trie_node){0};
    return t->n_nodes++;
}

static struct trie_edge *edge_slot(const struct endpoint_trie *t, uint32_t parent,
                                   struct str segment)
{
    uint64_t hash = (str_hash(segment) ^ parent) * 0x9e3779b97f4a7c15U;
    for (size_t i = hash >> 32 & (t->cap_edges - 1U);; i = (i + 1) & (t->cap_edges - 1U)) {
        struct trie_edge *e = &t->edges[i];
        if (!e->child || (e->parent == parent && str_eq(e->segment, segment)))
            return e;
    }
}

static uint32_t child_of(const struct endpoint_trie *t, uint32_t parent, struct str segment)
{
    return t->n_edges ? edge_slot(t, parent, segment)->child : 0;
}

static bool grow_edges(struct endpoint_trie *t)
{
    struct endpoint_trie bigger = *t;
    if ((t->n_edges + 1) * 4 <= t->cap_edges * 3)
        return true;
    bigger.cap_edges = t->cap_edges ? t->cap_edges * 2 : 2;
    bigger.edges = mem_zalloc(bigger.cap_edges * sizeof *bigger.edges);
    if (!bigger.edges)
        return false;
    for (uint32_t i = 0; i < t->cap_edges; i++)
        if (t->edges[i].child)
            *edge_slot(&bigger, t->edges[i].parent, t->edges[i].segment) = t->edges[i];
    mem_free(t->edges);
    *t = bigger;
    return true;
}

/* 0: no memory. */
static uint32_t make_child(struct endpoint_trie *t, uint32_t parent, struct str segment)
{
    uint32_t child = child_of(t, parent, segment);
    if (child)
        return child;
    if (!grow_edges(t) || !(child = new_node(t)))
        return 0;
    *edge_slot(t, parent, segment) = (struct trie_edge){segment, parent, child};
    t->n_edges++;
    return child;
}

/* The node of "/a/b". False: no memory. */
static bool make_path(struct endpoint_trie *t, struct str path, uint32_t *ret_node)
{
    uint32_t node = 0;
    struct str rest = path, segment;
    if (!t->n_nodes) {
        (void)new_node(t);
        if (!t->n_nodes)
            return false;
    }
    while (str_next(&rest, '/', &segment))
        if (segment.n && !(node = make_child(t, node, segment)))
            return false;
    *ret_node = node;
    return true;
}

/* At the end of the chain, unless an earlier rule says the same: rules keep their order. */
static bool add_link(struct endpoint_trie *t, uint32_t *chain, const struct endpoint_rule *rules,
                     uint32_t rule, bool same_text)
{
    uint32_t last = 0;
    for (uint32_t i = *chain; i; i = t->links[i].next) {
        if (same_text && str_eq_nocase(rules[t->links[i].rule].method, rules[rule].method))
            return true;
        last = i;
    }
    if (!t->n_links)
        t->n_links = 1; /* 0 ends a chain */
    void *links = t->links;
    bool ok = grow(&links, &t->cap_links, t->n_links, sizeof *t->links);
    t->links = links;
    if (!ok)
        return false;
    t->links[t->n_links] = (struct trie_link){rule, 0};
    *(last ? &t->links[last].next : chain) = t->n_links;
    t->n_links++;
    return true;
}

static bool trie_add(struct endpoint_trie *t, const struct endpoint_list *list, uint32_t rule)
{
    const struct glob *g = list->rules[rule].glob;
    struct str literal = glob_literal(g);
    uint32_t node;
    bool exact = false, simple = glob_is_simple(g, &literal, &exact);
    if (!simple) /* up to its last slash: what follows may go on within the segment */
        literal.n = str_rfind(literal, '/') < literal.n ? str_rfind(literal, '/') : 0;
    if (!make_path(t, literal, &node))
        return false;
    struct trie_node *at = &t->nodes[node];
    return add_link(t,
                    !simple ? &at->globs
                    : exact ? &at->exact
                            : &at->below,
                    list->rules, rule, simple);
}

static void trie_fini(struct endpoint_trie *t)
{
    mem_free(t->nodes);
    mem_free(t->edges);
    mem_free(t->links);
}

/* ---- looking up ---- */

struct search {
    const struct endpoint_list *list;
    const struct endpoint_trie *trie;
    struct str method, path;
    enum glob_reading reading;
    size_t best;     /* lowest index so far; list->n: none */
    uint64_t weight; /* highest so far */
};

static void found(struct search *s, uint32_t rule)
{
    if (rule < s->best)
        s->best = rule;
    if (s->list->rules[rule].weight > s->weight)
        s->weight = s->list->rules[rule].weight;
}

static bool method_fits(const struct endpoint_rule *r, struct str method)
{
    return str_eq(r->method, STR("*")) || str_eq_nocase(r->method, method);
}

static void look_at_chain(struct search *s, uint32_t chain, bool globs)
{
    for (uint32_t i = chain; i; i = s->trie->links[i].next) {
        uint32_t at = s->trie->links[i].rule;
        const struct endpoint_rule *r = &s->list->rules[at];
        if (at >= s->best && r->weight <= s->weight)
            continue;
        if (method_fits(r, s->method) && (!globs || glob_match_as(r->glob, s->path, s->reading)))
            found(s, at);
    }
}

static void search_trie(struct search *s, const struct endpoint_trie *trie, struct str path)
{
    uint32_t node = 0;
    struct str rest = path, segment;
    s->trie = trie;
    s->path = path;
    if (!trie->n_nodes || !path.p)
        return;
    for (;;) {
        look_at_chain(s, trie->nodes[node].below, false);
        look_at_chain(s, trie->nodes[node].globs, true);
        do {
            if (!str_next(&rest, '/', &segment)) {
                look_at_chain(s, trie->nodes[node].exact, false);
                return;
            }
        } while (!segment.n);
        if (!(node = child_of(trie, node, segment)))
            return;
    }
}

static void search_form(struct search *s, const struct endpoint_path *path, int form)
{
    search_trie(s, &s->list->below, path->below[form]);
    search_trie(s, &s->list->whole, path->whole[form]);
}

static bool forms_equal(const struct endpoint_path *path)
{
    return path->whole[FORM_SEGMENTS].p == path->whole[FORM_DECODED].p &&
           path->below[FORM_SEGMENTS].n == path->below[FORM_DECODED].n;
}

static const struct endpoint_rule *search_list(const struct endpoint_policy *ep,
                                               enum endpoint_action action, struct str method,
                                               const struct endpoint_path *path,
                                               enum glob_reading reading, uint64_t *weight)
{
    const struct endpoint_list *list = &ep->lists[action];
    struct search s = {.list = list, .method = method, .reading = reading, .best = list->n};
    if (!list->n)
        return NULL;
    search_form(&s, path, FORM_SEGMENTS);
    if (action != ENDPOINT_ACT_ALLOW && !forms_equal(path))
        search_form(&s, path, FORM_DECODED);
    *weight = s.weight;
    return s.best < list->n ? &list->rules[s.best] : NULL;
}

void endpoint_judge(const struct endpoint_policy *ep, struct str method,
                    const struct endpoint_path *path, struct endpoint_verdict *ret_verdict)
{
    for (enum endpoint_action a = ENDPOINT_ACT_DENY; a <= ENDPOINT_ACT_ALLOW; a++) {
        enum glob_reading reading = a == ENDPOINT_ACT_ALLOW ? ep->reading : GLOB_PATH;
        uint64_t weight = 0;
        const struct endpoint_rule *r = search_list(ep, a, method, path, reading, &weight);
        if (r) {
            *ret_verdict = (struct endpoint_verdict){a, r, weight};
            return;
        }
    }
    *ret_verdict = (struct endpoint_verdict){ep->fallback, NULL, 0};
}

struct str endpoint_hint(const struct endpoint_policy *ep, struct str method,
                         const struct endpoint_path *path)
{
    uint64_t weight;
    if (ep->reading == GLOB_PATH)
        return STR("");
    const struct endpoint_rule *r =
        search_list(ep, ENDPOINT_ACT_ALLOW, method, path, GLOB_PATH, &weight);
    return r ? r->hint : STR("");
}

/* ---- compiling ---- */

static enum err no_memory(struct errctx *ctx)
{
    return err_set(ctx, ERR_NOMEM, "out of memory for endpoint rules");
}

static struct str keep(struct pool *pool, struct buf *text)
{
    struct str kept = buf_ok(text) ? pool_str(pool, buf_str(text)) : STR_NULL;
    buf_fini(text);
    return kept;
}

static struct str make_label(struct pool *pool, const struct endpoint_rule *r)
{
    static const char *const names[] = {
        [ENDPOINT_ACT_DENY] = "deny",
        [ENDPOINT_ACT_APPROVE] = "approve",
        [ENDPOINT_ACT_ALLOW] = "allow",
    };
    struct buf text;
    buf_init(&text, 16384);
    buf_printf(&text, "endpoint_policy.%s[", names[r->action]);
    buf_add_str(&text, r->method);
    buf_add_c(&text, ' ');
    buf_add_str(&text, r->path);
    buf_add_c(&text, ']');
    return keep(pool, &text);
}

static struct str make_hint(struct pool *pool, const struct endpoint_rule *r)
{
    struct buf text;
    if (r->action != ENDPOINT_ACT_ALLOW || !glob_readings_differ(r->glob))
        return STR("");
    buf_init(&text, 32768);
    buf_add_z(&text, "* and ? stay inside one path segment, write ");
    glob_suggest(&text, r->path);
    return keep(pool, &text);
}

/* Whether what the pattern begins with is the base path itself. */
static bool begins_with_base(const struct glob *g, struct str base)
{
    struct str literal = glob_literal(g);
    bool exact;
    if (!base.n || !str_starts(literal, base))
        return false;
    if (literal.n > base.n)
        return literal.p[base.n] == '/';
    return glob_is_simple(g, &literal, &exact);
}

/* Longest literal beginning first, then the literal as a whole, then how much is literal at all. */
static uint64_t weigh(const struct endpoint_rule *r, struct str base)
{
    struct str literal = glob_literal(r->glob);
    bool exact = false;
    if (!glob_is_simple(r->glob, &literal, &exact))
        exact = false;
    uint64_t extra = r->whole ? 0 : base.n;
    return (literal.n + extra) << 32 | (uint64_t)exact << 31 | (glob_weight(r->glob) + extra);
}

/* Place and pattern, then what is wrong with it; the route last, should the sentence be cut. */
static enum err bad_rule(const struct route_spec *spec, const struct endpoint_spec *from,
                         const struct errctx *why, struct errctx *ctx)
{
    int shown = from->path.n > 40 ? 40 : (int)from->path.n;
    struct str origin = from->origin.n ? from->origin : spec->origin;
    return err_set(ctx, ERR_INVALID, "%.*s: path pattern \"%.*s\": %s (route %.*s)",
                   STR_ARG(origin), shown, from->path.n ? from->path.p : "", why->text,
                   STR_ARG(spec->id));
}

static enum err fill_rule(struct endpoint_rule *r, struct pool *pool, const struct route_spec *spec,
                          const struct endpoint_spec *from, struct str base, struct errctx *ctx)
{
    struct errctx why = {0};
    enum err e = glob_compile(from->path, GLOB_SEGMENT, &r->glob, &why);
    if (e == ERR_OK && !from->method.n)
        e = err_set(&why, ERR_INVALID, "the method is empty (* stands for every one)");
    if (e == ERR_NOMEM)
        return no_memory(ctx);
    if (e != ERR_OK)
        return bad_rule(spec, from, &why, ctx);
    r->method = pool_str(pool, from->method);
    r->path = pool_str(pool, from->path);
    r->origin = pool_str(pool, from->origin.n ? from->origin : spec->origin);
    r->backend = pool_str(pool, from->backend);
    r->reason = pool_str(pool, from->reason);
    r->timeout_ms = from->timeout_ms;
    r->whole = begins_with_base(r->glob, base);
    r->weight = weigh(r, base);
    if (!r->method.p || !r->path.p || !r->origin.p || !r->backend.p || !r->reason.p)
        return no_memory(ctx);
    r->label = make_label(pool, r);
    r->hint = make_hint(pool, r);
    return r->label.p && r->hint.p ? ERR_OK : no_memory(ctx);
}

/* Deny and approve rules hold under either reading of E7, allow rules under the one that was
 * settled. */
static bool index_rule(struct endpoint_list *list, uint32_t at, struct str base)
{
    const struct endpoint_rule *r = &list->rules[at];
    bool either = base.n && r->action != ENDPOINT_ACT_ALLOW;
    if ((either || !r->whole) && !trie_add(&list->below, list, at))
        return false;
    return !(either || r->whole) || trie_add(&list->whole, list, at);
}

static enum err compile_list(struct endpoint_policy *ep, enum endpoint_action action,
                             struct pool *pool, const struct route_spec *spec,
                             const struct endpoint_spec *from, size_t n, struct str base,
                             struct errctx *ctx)
{
    struct endpoint_list *list = &ep->lists[action];
    if (!n)
        return ERR_OK;
    if (n > UINT32_MAX / 2 || !(list->rules = mem_zalloc(n * sizeof *list->rules)))
        return no_memory(ctx);
    for (; list->n < n; list->n++) {
        struct endpoint_rule *r = &list->rules[list->n];
        r->action = (uint8_t)action;
        enum err e = fill_rule(r, pool, spec, &from[list->n], base, ctx);
        if (e == ERR_OK && !index_rule(list, (uint32_t)list->n, base))
            e = no_memory(ctx);
        if (e != ERR_OK) {
            glob_free(r->glob);
            return e;
        }
    }
    return ERR_OK;
}

enum err endpoint_compile(struct endpoint_policy *ep, struct pool *pool,
                          const struct route_spec *spec, struct str base, struct errctx *ctx)
{
    bool given = spec->policy_given;
    enum err e = ERR_OK;
    ep->explicit_policy = given;
    ep->reading = spec->segment_globs ? GLOB_SEGMENT : GLOB_PATH;
    ep->fallback = given ? spec->fallback : spec->n_rules ? ENDPOINT_ACT_DENY : ENDPOINT_ACT_ALLOW;
    ep->fallback_backend = pool_str(pool, given ? spec->fallback_backend : STR(""));
    ep->fallback_timeout_ms = given ? spec->fallback_timeout_ms : 0;
    if (!ep->fallback_backend.p)
        return no_memory(ctx);
    if (!given)
        e = compile_list(ep, ENDPOINT_ACT_ALLOW, pool, spec, spec->rules, spec->n_rules, base, ctx);
    else if (!(e = compile_list(ep, ENDPOINT_ACT_DENY, pool, spec, spec->deny, spec->n_deny, base,
                                ctx)) &&
             !(e = compile_list(ep, ENDPOINT_ACT_APPROVE, pool, spec, spec->approve,
                                spec->n_approve, base, ctx)))
        e = compile_list(ep, ENDPOINT_ACT_ALLOW, pool, spec, spec->allow, spec->n_allow, base, ctx);
    ep->restricts = ep->fallback != ENDPOINT_ACT_ALLOW || ep->lists[ENDPOINT_ACT_DENY].n ||
                    ep->lists[ENDPOINT_ACT_APPROVE].n;
    return e;
}

void endpoint_fini(struct endpoint_policy *ep)
{
    for (size_t a = 0; a < ARRAY_LEN(ep->lists); a++) {
        struct endpoint_list *list = &ep->lists[a];
        for (size_t i = 0; i < list->n; i++)
            glob_free(list->rules[i].glob);
        mem_free(list->rules);
        trie_fini(&list->below);
        trie_fini(&list->whole);
    }
}
