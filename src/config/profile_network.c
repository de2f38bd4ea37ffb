/* What is checked of the `network` section. */
#include "config/nearest.h"
#include "config/profile_int.h"
#include "config/builtin.h"
#include "config/host_url.h"
#include "config/hop.h"
#include "config/reference.h"
#include "policy/glob.h"
#include "policy/policy.h"
#include <stdio.h>

struct walk {
    const struct json *network;
    const struct path *path; /* /network */
    struct problems *problems;
};

/* ---- host entries ---- */

/* Most entries are plain names; those are not worth a scratch policy. */
static bool plainly_good(struct str s)
{
    size_t label = 0;
    bool digits = true;
    if (str_starts(s, STR("*.")))
        s = str_of(s.p + 2, s.n - 2);
    if (s.n == 0 || s.n > LIMIT_HOST_BYTES)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            digits = true;
            continue;
        }
        if (!ascii_is_digit(c) && !(c >= 'a' && c <= 'z') && !(c == '-' && label))
            return false;
        if (label == 0 && (c == 'x' || c == '0')) /* xn--, 0x…: to the real parser */
            return false;
        digits &= ascii_is_digit(c);
        if (++label > LIMIT_LABEL_BYTES)
            return false;
    }
    return label && !digits && s.p[s.n - 1] != '-';
}

static void check_host(struct walk *w, struct policy *scratch, enum rule_list list,
                       const char *member, const struct json *item, size_t i)
{
    const char *notice;
    struct errctx why = {0};
    const struct path *path = PATH_KEY(w->path, str_from(member));
    if (plainly_good(item->text))
        return;
    if (policy_add(scratch, list, item->text, str_from(member), &notice, &why))
        complain(w->problems, PATH_INDEX(path, i), &item->at, NULL, "%s", why.text);
}

static void check_gate(struct walk *w, const struct json *domain, struct str text,
                       const struct path *path)
{
    struct host_pattern host;
    struct errctx why = {0};
    struct str rest = text;
    static const char *const schemes[] = {"https://", "http://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (str_starts(text, str_from(schemes[i])))
            rest = str_of(text.p + strlen(schemes[i]), text.n - strlen(schemes[i]));
    if (rest.p != text.p && rest.n && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (host_pattern_parse(rest, &host, &why))
        complain(w->problems, path, &domain->at, NULL, "path rules for %s", why.text);
}

static void check_url(struct walk *w, const struct json *item, const struct allow_url *url,
                      const struct path *path)
{
    struct glob *glob = NULL;
    struct errctx why = {0};
    if (!str_eq_nocase(url->scheme, STR("https")) && !str_eq_nocase(url->scheme, STR("http")))
        complain(w->problems, path, &item->at, "write https or http",
                 "\"%.*s\" is no scheme of a host entry", STR_ARG(url->scheme));
    check_gate(w, item, url->authority, path);
    if (glob_compile(url->path, GLOB_SEGMENT, &glob, &why))
        complain(w->problems, path, &item->at, NULL, "pattern \"%.*s\": %s", STR_ARG(url->path),
                 why.text);
    glob_free(glob);
}

/* Whether an entry of allow_domain has path rules of its own. */
static const struct json *endpoints_of(const struct json *item)
{
    const struct json *list = tree_of(item, "endpoints", JSON_ARRAY);
    return list && list->n ? list : NULL;
}

static void check_allow_entry(struct walk *w, struct policy *scratch, const struct json *item,
                              size_t i)
{
    const struct path *list = PATH_KEY(w->path, STR("allow_domain"));
    const struct path *path = PATH_INDEX(list, i);
    const struct json *domain = tree_of(item, "domain", JSON_STRING);
    struct allow_url url;
    if (is_kind(item, JSON_STRING)) {
        if (allow_url_split(item->text, &url))
            check_url(w, item, &url, path);
        else
            check_host(w, scratch, RULES_ALLOW, "allow_domain", item, i);
    } else if (domain && endpoints_of(item)) {
        check_gate(w, domain, domain->text, PATH_KEY(path, STR("domain")));
    } else if (domain) {
        check_host(w, scratch, RULES_ALLOW, "allow_domain", domain, i);
    }
}

/* Entries of all files are still there in the merged profile: judged once, there. */
static void check_hosts(struct walk *w)
{
    static const struct {
        const char *member;
        enum rule_list list;
    } lists[] = {{"deny_domain", RULES_DENY}, {"upstream_bypass", RULES_BYPASS}};
    const struct json *allow = tree_of(w->network, "allow_domain", JSON_ARRAY);
    struct policy *scratch;
    if (policy_new(&scratch))
        return;
    for (size_t i = 0; allow && i < allow->n; i++)
        check_allow_entry(w, scratch, allow->items[i], i);
    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        const struct json *list = tree_of(w->network, lists[k].member, JSON_ARRAY);
        for (size_t i = 0; list && i < list->n; i++)
            if (is_kind(list->items[i], JSON_STRING))
                check_host(w, scratch, lists[k].list, lists[k].member, list->items[i], i);
    }
    policy_free(scratch);
}

static void check_gate_rules(struct walk *w)
{
    const struct json *allow = tree_of(w->network, "allow_domain", JSON_ARRAY);
    const struct path *list = PATH_KEY(w->path, STR("allow_domain"));
    for (size_t i = 0; allow && i < allow->n; i++) {
        const struct json *rules = endpoints_of(allow->items[i]);
        if (rules)
            check_endpoint_list(rules, PATH_KEY(PATH_INDEX(list, i), STR("endpoints")),
                                w->problems);
    }
}

/* ---- no_proxy ---- */

static bool said_already(const struct problems *p, const struct place *at)
{
    for (size_t i = 0; i < p->n && i < 1000; i++)
        if (p->v[i].at.line == at->line && p->v[i].at.column == at->column && p->v[i].at.file &&
            at->file && strcmp(p->v[i].at.file, at->file) == 0)
            return true;
    return false;
}

/* Host part of an allow entry: no scheme, no path. */
static struct str host_of_entry(const struct json *item)
{
    struct str text = is_kind(item, JSON_STRING) ? item->text : tree_text(item, "domain");
    size_t colon = str_find(text, ':');
    if (str_starts(str_of(text.p + colon, text.n - colon), STR("://"))) {
        text = str_of(text.p + colon + 3, text.n - colon - 3);
        text.n = str_find(text, '/');
    }
    return text;
}

static void check_conflicts(struct walk *w, const struct json *entry, const struct path *path)
{
    const struct json *allow = tree_of(w->network, "allow_domain", JSON_ARRAY);
    struct buf other;
    for (size_t i = 0; allow && i < allow->n; i++) {
        struct str host = host_of_entry(allow->items[i]);
        if (!host.n || !no_proxy_overlaps(entry->text, host) ||
            said_already(w->problems, &entry->at))
            continue;
        buf_init(&other, 1024);
        place_format(&other, &allow->items[i]->at);
        complain(w->problems, path, &entry->at, "leave one of them out",
                 "no_proxy \"%.*s\" takes \"%.*s\" (allow_domain, %.*s) past the gateway",
                 STR_ARG(entry->text), STR_ARG(host), STR_ARG(buf_str(&other)));
        buf_fini(&other);
        return;
    }
}

static void check_no_proxy(struct walk *w, bool merged)
{
    const struct json *list = tree_of(w->network, "no_proxy", JSON_ARRAY);
    const struct path *path = PATH_KEY(w->path, STR("no_proxy"));
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *item = list->items[i];
        struct errctx why = {0};
        if (!is_kind(item, JSON_STRING))
            continue;
        if (no_proxy_check(item->text, &why)) {
            if (!merged)
                complain(w->problems, PATH_INDEX(path, i), &item->at, NULL, "%s", why.text);
        } else {
            check_conflicts(w, item, PATH_INDEX(path, i));
        }
    }
}

/* ---- tls_intercept, limits ---- */

static void check_duration(struct walk *w, const struct json *tls, const char *key)
{
    const struct json *v = tree_of(tls, key, JSON_STRING);
    struct errctx why = {0};
    uint64_t seconds;
    if (v && duration_parse(v->text, &seconds, &why))
        complain(w->problems, PATH_KEY(PATH_KEY(w->path, STR("tls_intercept")), str_from(key)),
                 &v->at, "12h, 30m, 90 or 1d", "%s", why.text);
}

static void check_tls(struct walk *w)
{
    const struct json *tls = tree_of(w->network, "tls_intercept", JSON_OBJECT);
    const struct json *names = tree_of(tls, "ca_env_vars", JSON_ARRAY);
    const struct path *path = PATH_KEY(w->path, STR("tls_intercept"));
    const struct path *list = PATH_KEY(path, STR("ca_env_vars"));
    check_duration(w, tls, "ca_validity");
    check_duration(w, tls, "leaf_validity");
    for (size_t i = 0; names && i < names->n; i++) {
        struct errctx why = {0};
        if (is_kind(names->items[i], JSON_STRING) && env_name_check(names->items[i]->text, &why))
            complain(w->problems, PATH_INDEX(list, i), &names->items[i]->at, NULL, "%s", why.text);
    }
}

static void timeout_names_text(char *out, size_t size)
{
    size_t n = 0;
    for (unsigned t = 0; t < TIMEOUT_COUNT_ && n < size; t++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", t ? ", " : "",
                              timeout_name((enum timeout_name)t));
}

static void check_timeouts(struct walk *w)
{
    const struct json *map = tree_of(w->network, "timeouts", JSON_OBJECT);
    const struct path *path = PATH_KEY(w->path, STR("timeouts"));
    char names[128];
    timeout_names_text(names, sizeof(names));
    for (size_t i = 0; map && i < map->n; i++) {
        const struct json_member *m = &map->members[i];
        enum timeout_name t;
        uint64_t ms;
        if (!timeout_find(m->key, &t))
            complain(w->problems, PATH_KEY(path, m->key), &m->key_at, names,
                     "no time limit is called \"%.*s\"", STR_ARG(m->key));
        else if (!seconds_of(m->value, &ms))
            complain(w->problems, PATH_KEY(path, m->key), &m->value->at, NULL,
                     "a time limit is a number of seconds above 0, at most a year");
    }
}

bool seconds_of(const struct json *v, uint64_t *ret_ms)
{
    static const double year = 366 * 86400.0;
    double s = is_kind(v, JSON_REAL) ? v->real : is_kind(v, JSON_INTEGER) ? (double)v->integer : 0;
    if (!(s >= 0.001) || s > year || (is_kind(v, JSON_INTEGER) && v->negative))
        return false;
    *ret_ms = (uint64_t)(s * 1000 + 0.5);
    return true;
}

/* ---- names that must exist ---- */

static void check_network_profile(struct walk *w)
{
    const struct json *v = tree_of(w->network, "network_profile", JSON_STRING);
    struct errctx why = {0};
    if (v && network_profile_check(v->text, &why))
        complain(w->problems, PATH_KEY(w->path, STR("network_profile")), &v->at, NULL, "%s",
                 why.text);
}

enum err network_profile_check(struct str name, struct errctx *ctx)
{
    struct str names[32];
    size_t n = 0;
    if (builtin_network_find(name))
        return ERR_OK;
    for (; n < ARRAY_LEN(names) && builtin_network_at(n); n++)
        names[n] = str_from(builtin_network_at(n)->name);
    struct str near = nearest_of(name, names, n);
    if (near.p)
        return err_set(ctx, ERR_INVALID,
                       "no network profile is called \"%.*s\" (did you mean \"%.*s\"?)",
                       STR_ARG(name), STR_ARG(near));
    return err_set(ctx, ERR_INVALID,
                   "no network profile is called \"%.*s\" (there are minimal, developer, "
                   "enterprise, claude-code, codex, opencode)",
                   STR_ARG(name));
}

static void check_upstream_proxy(struct walk *w)
{
    const struct json *v = tree_of(w->network, "upstream_proxy", JSON_STRING);
    struct errctx why = {0};
    struct hop hop = {0};
    if (!v)
        return;
    if (hop_parse(v->text, &hop, &why))
        complain(w->problems, PATH_KEY(w->path, STR("upstream_proxy")), &v->at, NULL, "%s",
                 why.text);
    else
        hop_fini(&hop);
}

void check_network(const struct json *tree, bool merged, struct problems *p)
{
    struct walk w = {.network = tree_of(tree, "network", JSON_OBJECT),
                     .path = PATH_KEY(NULL, STR("network")),
                     .problems = p};
    if (!w.network)
        return;
    check_no_proxy(&w, merged);
    if (merged) {
        check_hosts(&w);
        check_network_profile(&w);
        check_upstream_proxy(&w);
    } else {
        check_gate_rules(&w);
        check_tls(&w);
        check_timeouts(&w);
    }
}
