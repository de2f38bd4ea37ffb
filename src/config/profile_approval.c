/* What is checked of approval back ends (9.9): command_policies and security, each with its own
 * map. */
#include "config/profile_int.h"
#include "net/target.h"

static const char *const holders[] = {"security", "command_policies"};

static const struct json *backends_of(const struct json *tree, size_t holder)
{
    return tree_of(tree_of(tree, holders[holder], JSON_OBJECT), "approval_backends", JSON_OBJECT);
}

static const struct json_member *find(const struct json *tree, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(holders); i++) {
        const struct json *map = backends_of(tree, i);
        const struct json_member *m = map ? json_get(map, name) : NULL;
        if (m)
            return m;
    }
    return NULL;
}

bool approval_known(const struct json *tree, struct str name)
{
    return find(tree, name) != NULL;
}

static bool name_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !strchr("._+-", (int)c))
            return false;
    }
    return s.n && !str_eq(s, STR(".")) && !str_eq(s, STR("..")) &&
           !str_eq_nocase(s, STR("session"));
}

static void bad(struct problems *p, const struct json *holder, const struct path *path,
                const char *key, const char *sentence)
{
    const struct json *at = tree_get(holder, key);
    complain(p, PATH_KEY(path, str_from(key)), at ? &at->at : &holder->at, NULL, "%s", sentence);
}

static void refuse_members(const struct json *b, const struct path *path, const char *type,
                           const char *const *keys, size_t n, struct problems *p)
{
    for (size_t i = 0; i < n; i++) {
        const struct json *v = tree_get(b, keys[i]);
        if (v)
            complain(p, PATH_KEY(path, str_from(keys[i])), &v->at, "leave it out",
                     "a %s back end takes no %s", type, keys[i]);
    }
}

/* As it is parsed when somebody is asked. The url is not repeated: it may hold a password. */
static void check_url(const struct json *b, struct str url, const struct path *path,
                      struct problems *p)
{
    struct target_uri uri;
    struct errctx why = {0};
    struct str authority = str_of(url.p + str_find(url, ':') + 3, url.n - str_find(url, ':') - 3);
    authority.n = str_find(authority, '/');
    if (str_find(authority, '@') < authority.n)
        complain(p, PATH_KEY(path, STR("url")), &tree_get(b, "url")->at,
                 "leave USER:PASSWORD@ out; a secret in the path or query works",
                 "the url of a webhook takes no user and password");
    else if (target_parse_uri(url, &uri, &why))
        complain(p, PATH_KEY(path, STR("url")), &tree_get(b, "url")->at, NULL,
                 "the url of a webhook: %s", why.text);
}

static void check_webhook(const struct json *b, const struct path *path, struct problems *p)
{
    static const char *const others[] = {"mode", "backends"};
    struct str url = tree_text(b, "url");
    refuse_members(b, path, "webhook", others, ARRAY_LEN(others), p);
    if (url.n == 0)
        bad(p, b, path, "url", "a webhook needs a url");
    else if (memchr(url.p, 0, url.n))
        bad(p, b, path, "url", "the url holds a NUL byte");
    else if (!str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
        bad(p, b, path, "url", "the url of a webhook begins with http:// or https://");
    else
        check_url(b, url, path, p);
}

static void check_chain(const struct json *b, const struct path *path, struct problems *p)
{
    static const char *const others[] = {"url"};
    const struct json *list = tree_of(b, "backends", JSON_ARRAY);
    refuse_members(b, path, "chain", others, 1, p);
    if (!tree_get(b, "mode"))
        bad(p, b, path, "mode", "a chain needs the mode all or any");
    if (!list || list->n == 0)
        bad(p, b, path, "backends", "a chain needs at least one back end");
}

/* Nobody can answer in no time (decision O9). */
static void check_answer_time(const struct json *holder, const struct path *path, struct problems *p)
{
    uint64_t n;
    if (tree_number(holder, "timeout_secs", &n) && n == 0)
        complain(p, PATH_KEY(path, STR("timeout_secs")), &tree_get(holder, "timeout_secs")->at,
                 "leave it out for the time that holds otherwise", "timeout_secs must be above 0");
}

static void check_backend(const struct json_member *m, const struct path *path, struct problems *p)
{
    static const char *const others[] = {"url", "mode", "backends"};
    struct str type = tree_text(m->value, "type");
    if (!name_ok(m->key))
        complain(p, path, &m->key_at, "letters, digits, . _ + - (and not \"session\")",
                 "\"%.*s\" cannot name an approval back end", STR_ARG(m->key));
    if (str_eq(type, STR("terminal")))
        refuse_members(m->value, path, "terminal", others, ARRAY_LEN(others), p);
    else if (str_eq(type, STR("webhook")))
        check_webhook(m->value, path, p);
    else if (str_eq(type, STR("chain")))
        check_chain(m->value, path, p);
    check_answer_time(m->value, path, p);
}

static void check_case(const struct json *map, size_t i, const struct path *path,
                       struct problems *p)
{
    for (size_t k = 0; k < i; k++)
        if (str_eq_nocase(map->members[k].key, map->members[i].key)) {
            struct buf where;
            buf_init(&where, 4096);
            place_format(&where, &map->members[k].key_at);
            complain(p, path, &map->members[i].key_at, NULL,
                     "the name differs only in case from the one at %.*s",
                     STR_ARG(buf_str(&where)));
            buf_fini(&where);
        }
}

/* ---- references, on the merged profile ---- */

enum { MAX_CHAINS = 256 };

/* What a walk has been to: each back end once, so that no set of chains takes long. */
struct visited {
    const struct json_member *v[MAX_CHAINS];
    size_t n;
};

static bool visit(struct visited *s, const struct json_member *m)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i] == m)
            return false;
    if (s->n < MAX_CHAINS)
        s->v[s->n++] = m;
    return s->n < MAX_CHAINS;
}

/* Whether following chains from `m` leads back to `target`. */
static bool reaches(const struct json *tree, const struct json_member *m, struct str target,
                    struct visited *seen)
{
    const struct json *list = tree_of(m->value, "backends", JSON_ARRAY);
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *v = list->items[i];
        const struct json_member *next = is_kind(v, JSON_STRING) ? find(tree, v->text) : NULL;
        if (is_kind(v, JSON_STRING) && str_eq(v->text, target))
            return true;
        if (next && visit(seen, next) && reaches(tree, next, target, seen))
            return true;
    }
    return false;
}

static void link_chain(const struct json *tree, const struct json_member *m,
                       const struct path *path, struct problems *p)
{
    const struct json *list = tree_of(m->value, "backends", JSON_ARRAY);
    const struct path *at = PATH_KEY(path, STR("backends"));
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *v = list->items[i];
        struct visited seen = {.n = 0};
        if (!is_kind(v, JSON_STRING))
            continue;
        const struct json_member *next = find(tree, v->text);
        if (!next)
            complain(p, PATH_INDEX(at, i), &v->at, NULL, "no approval back end \"%.*s\"",
                     STR_ARG(v->text));
        else if (str_eq(v->text, m->key))
            complain(p, PATH_INDEX(at, i), &v->at, "leave it out", "a chain cannot hold itself");
        else if (reaches(tree, next, m->key, &seen))
            complain(p, PATH_INDEX(at, i), &v->at, "take one of them out",
                     "the chains \"%.*s\" and \"%.*s\" lead to each other", STR_ARG(m->key),
                     STR_ARG(v->text));
    }
}

static void check_default(const struct json *tree, const struct json *holder,
                          const struct path *path, bool merged, struct problems *p)
{
    const struct json *d = tree_of(holder, "approval_defaults", JSON_OBJECT);
    const struct path *at = PATH_KEY(path, STR("approval_defaults"));
    struct str name = tree_text(d, "backend");
    if (d && !merged)
        check_answer_time(d, at, p);
    if (merged && name.p && !approval_known(tree, name))
        bad(p, d, at, "backend", "no approval back end has that name");
}

/* A command_policies object without commands is the trap of 9.9; only what could never work is
 * refused. */
static void check_commands(const struct json *tree, struct problems *p)
{
    static const char *const alone[] = {"approval_backends", "approval_defaults"};
    const struct json *c = tree_of(tree, "command_policies", JSON_OBJECT);
    const struct json *commands = tree_of(c, "commands", JSON_OBJECT);
    if (!c || (commands && commands->n))
        return;
    for (size_t i = 0; i < c->n; i++) {
        const struct json_member *m = &c->members[i];
        bool approval = str_eq(m->key, str_from(alone[0])) || str_eq(m->key, str_from(alone[1]));
        bool empty =
            m->value->kind == JSON_NULL ||
            ((m->value->kind == JSON_ARRAY || m->value->kind == JSON_OBJECT) && m->value->n == 0) ||
            (m->value->kind == JSON_BOOL && !m->value->truth);
        if (!approval && !empty)
            complain(p, PATH_KEY(PATH_KEY(NULL, STR("command_policies")), m->key), &m->key_at,
                     "add a command, or leave it out",
                     "command_policies without commands makes no use of \"%.*s\"", STR_ARG(m->key));
    }
}

void check_approvals(const struct json *tree, bool merged, struct problems *p)
{
    for (size_t h = 0; h < ARRAY_LEN(holders); h++) {
        const struct json *map = backends_of(tree, h);
        const struct path *root = PATH_KEY(NULL, str_from(holders[h]));
        const struct path *at = PATH_KEY(root, STR("approval_backends"));
        for (size_t i = 0; map && i < map->n; i++) {
            const struct json_member *m = &map->members[i];
            const struct path *path = PATH_KEY(at, m->key);
            if (!is_kind(m->value, JSON_OBJECT))
                continue;
            if (merged) {
                link_chain(tree, m, path, p);
            } else {
                check_backend(m, path, p);
                check_case(map, i, path, p);
            }
        }
        check_default(tree, tree_of(tree, holders[h], JSON_OBJECT), root, merged, p);
    }
    if (!merged)
        check_commands(tree, p);
}
