#include "credential/phantom.h"
#include "base/buf.h"
#include "base/limits.h"

void phantom_place_of(const struct credential *c, struct phantom_place *ret_place)
{
    static const enum phantom_kind kinds[] = {[INJECT_HEADER] = PHANTOM_HEADER,
                                              [INJECT_BASIC_AUTH] = PHANTOM_BASIC,
                                              [INJECT_URL_PATH] = PHANTOM_PATH,
                                              [INJECT_QUERY_PARAM] = PHANTOM_QUERY};
    *ret_place = (struct phantom_place){.kind = kinds[c->shown],
                                        .header = c->shown_header,
                                        .format = c->shown_format,
                                        .pattern = c->shown_pattern,
                                        .param = c->shown_param};
}

static enum err no_memory(struct errctx *ctx)
{
    return err_set(ctx, ERR_NOMEM, "the gateway is out of memory");
}

/* What is in front of "{}" in a pattern, and what is behind it. */
static void split(struct str pattern, struct str *ret_before, struct str *ret_behind)
{
    const char *hole = pattern.n ? memmem(pattern.p, pattern.n, "{}", 2) : NULL;
    size_t n = hole ? (size_t)(hole - pattern.p) : pattern.n;
    *ret_before = str_of(pattern.p, n);
    *ret_behind = hole ? str_of(hole + 2, pattern.n - n - 2) : STR("");
}

/* The whole occurrence: [*ret_start, *ret_end) of path; the token in it is *ret_token. */
static bool occurrence(struct str pattern, struct str path, size_t *ret_start, size_t *ret_end,
                       struct str *ret_token)
{
    struct str before, behind;
    size_t at, n;
    if (!phantom_in_path(pattern, path, &at, &n))
        return false;
    split(pattern, &before, &behind);
    *ret_start = at - before.n;
    *ret_end = at + n + behind.n;
    *ret_token = str_of(path.p + at, n);
    return true;
}

/* ---- cut out: the secret goes elsewhere ---- */

/* Exactly one slash where the cut is. */
static enum err cut_path(struct arena *a, const struct clients *clients,
                         const struct credential *c, struct str path, struct str *ret_path,
                         struct errctx *ctx)
{
    size_t start, end;
    struct str token;
    if (!occurrence(c->shown_pattern, path, &start, &end, &token) ||
        (!clients->auth_off && !phantom_is(clients, token))) { /* it is optional (decision C2) */
        *ret_path = path;
        return ERR_OK;
    }
    struct str left = str_of(path.p, start), right = str_of(path.p + end, path.n - end);
    while (left.n && left.p[left.n - 1] == '/')
        left.n--;
    while (right.n && right.p[0] == '/')
        right = str_of(right.p + 1, right.n - 1);
    *ret_path = arena_printf(a, "%.*s/%.*s", STR_ARG(left), STR_ARG(right));
    return ret_path->p ? ERR_OK : no_memory(ctx);
}

static enum err cut_query(struct arena *a, struct str param, struct str query, struct str *ret_query,
                          struct errctx *ctx)
{
    char *out = query.n ? arena_alloc(a, query.n) : NULL;
    size_t n = 0, kept = 0;
    struct str rest = query, pair;
    if (!query.n)
        return ERR_OK;
    if (!out)
        return no_memory(ctx);
    while (str_next(&rest, '&', &pair)) {
        if (phantom_is_param(param, str_of(pair.p, str_find(pair, '='))))
            continue;
        if (kept++)
            out[n++] = '&';
        if (pair.n)
            memcpy(out + n, pair.p, pair.n);
        n += pair.n;
    }
    *ret_query = kept ? str_of(out, n) : STR_NULL;
    return ERR_OK;
}

/* ---- emptied: the secret comes there ---- */

static enum err mark_path(struct arena *a, const struct credential *c, struct str pattern,
                          struct phantom_target *t, struct errctx *ctx)
{
    size_t start, end;
    struct str token, before, behind;
    if (!occurrence(pattern, t->path, &start, &end, &token))
        return err_set(ctx, ERR_BAD_REQUEST,
                       "the path does not fit the pattern %.*s of route %.*s",
                       pattern.n > 100 ? 100 : (int)pattern.n, pattern.p,
                       c->id.n > 60 ? 60 : (int)c->id.n, c->id.p);
    split(c->conf->path_replacement, &before, &behind);
    struct str left = str_of(t->path.p, start);
    struct str right = str_of(t->path.p + end, t->path.n - end);
    t->secret_at = left.n + before.n;
    t->path = arena_printf(a, "%.*s%.*s{}%.*s%.*s", STR_ARG(left), STR_ARG(before),
                           STR_ARG(behind), STR_ARG(right));
    return t->path.p ? ERR_OK : no_memory(ctx);
}

static enum err empty_query(struct arena *a, struct str param, struct str query,
                            struct str *ret_query, struct errctx *ctx)
{
    char *out = query.n ? arena_alloc(a, query.n) : NULL;
    size_t n = 0, from = 0, at = 0;
    struct str value;
    if (!query.n)
        return ERR_OK;
    if (!out)
        return no_memory(ctx);
    while (phantom_in_query(param, query, &at, &value)) {
        size_t end = (size_t)(value.p - query.p);
        memcpy(out + n, query.p + from, end - from);
        n += end - from;
        from = end + value.n;
    }
    memcpy(out + n, query.p + from, query.n - from);
    *ret_query = str_of(out, n + query.n - from);
    return ERR_OK;
}

enum err phantom_clean(struct arena *a, const struct clients *clients, const struct credential *c,
                       struct str path, struct str query, struct phantom_target *ret_target,
                       struct errctx *ctx)
{
    struct phantom_target t = {.path = path, .query = query};
    enum inject_mode into = c->conf->inject_mode;
    enum err e = ERR_OK;
    if (c->shown == INJECT_URL_PATH && into != INJECT_URL_PATH)
        e = cut_path(a, clients, c, t.path, &t.path, ctx);
    else if (c->shown == INJECT_QUERY_PARAM && (into != INJECT_QUERY_PARAM ||
                                                !str_eq(c->shown_param, c->conf->query_param_name)))
        e = cut_query(a, c->shown_param, t.query, &t.query, ctx);
    if (!e && into == INJECT_URL_PATH)
        e = mark_path(a, c, c->shown == into ? c->shown_pattern : c->conf->path_pattern, &t, ctx);
    else if (!e && into == INJECT_QUERY_PARAM)
        e = empty_query(a, c->conf->query_param_name, t.query, &t.query, ctx);
    if (!e)
        *ret_target = t;
    return e;
}
