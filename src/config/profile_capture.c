/* What is checked of credential_capture (9.1), credential_providers and credential_routes (7.9). */
#include "config/profile_int.h"
#include "config/host_url.h"
#include "config/reference.h"
#include "config/regex.h"
#include <string.h>

static void bad(struct problems *p, const struct json *holder, const struct path *path,
                const char *key, const char *sentence)
{
    const struct json *at = tree_get(holder, key);
    complain(p, PATH_KEY(path, str_from(key)), at ? &at->at : &holder->at, NULL, "%s", sentence);
}

static bool has_nul(struct str s)
{
    return s.n && memchr(s.p, 0, s.n);
}

/* ---- credential_capture ---- */

static void check_command(const struct json *holder, const struct path *path, struct problems *p)
{
    const struct json *list = tree_of(holder, "command", JSON_ARRAY);
    const struct path *at = PATH_KEY(path, STR("command"));
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *v = list->items[i];
        if (is_kind(v, JSON_STRING) && (v->text.n == 0 || has_nul(v->text)))
            complain(p, PATH_INDEX(at, i), &v->at, NULL,
                     "a part of a command is empty or holds a NUL byte");
    }
    if (list && list->n && is_kind(list->items[0], JSON_STRING)) {
        const struct json *program = list->items[0];
        if (program->text.n && program->text.p[0] != '/' && program->text.p[0] != '$' &&
            str_find(program->text, '/') < program->text.n)
            complain(p, PATH_INDEX(at, 0), &program->at, "give an absolute path, or a bare name",
                     "\"%.*s\" is a relative path: what it names depends on where one starts",
                     STR_ARG(program->text));
    }
}

static bool command_given(const struct json *holder)
{
    const struct json *list = tree_of(holder, "command", JSON_ARRAY);
    return list && list->n;
}

static void check_number(const struct json *holder, const struct path *path, const char *key,
                         uint64_t least, uint64_t most, struct problems *p)
{
    const struct json *v = tree_of(holder, key, JSON_INTEGER);
    uint64_t n = 0;
    if (v && (!tree_number(holder, key, &n) || n < least || n > most))
        complain(p, PATH_KEY(path, str_from(key)), &v->at, NULL, "%s must be from %llu to %llu",
                 key, (unsigned long long)least, (unsigned long long)most);
}

static void check_ttls(const struct json *c, const struct path *path, struct problems *p)
{
    uint64_t old, new;
    check_number(c, path, "timeout_secs", 1, 300, p);
    check_number(c, path, "ttl_secs", 0, 3600, p);
    check_number(c, path, "cache_ttl_secs", 0, 3600, p);
    if (tree_number(c, "ttl_secs", &old) && tree_number(c, "cache_ttl_secs", &new) && old != new) {
        struct buf where;
        buf_init(&where, 4096);
        place_format(&where, &tree_get(c, "ttl_secs")->at);
        complain(p, PATH_KEY(path, STR("cache_ttl_secs")), &tree_get(c, "cache_ttl_secs")->at,
                 "leave ttl_secs out", "cache_ttl_secs differs from ttl_secs (%.*s)",
                 STR_ARG(buf_str(&where)));
        buf_fini(&where);
    }
}

static void check_output(const struct json *c, const struct path *path, struct problems *p)
{
    const struct json *output = tree_get(c, "output");
    const struct path *at = PATH_KEY(path, STR("output"));
    const struct path *list_at = PATH_KEY(at, STR("allow_headers"));
    if (is_kind(output, JSON_STRING) && !str_eq(output->text, STR("text")))
        complain(p, at, &output->at,
                 "{\"format\": \"json\", \"allow_headers\": [\"Authorization\"]}",
                 "output is \"text\", or an object with format and allow_headers");
    if (!is_kind(output, JSON_OBJECT))
        return;
    const struct json *list = tree_of(output, "allow_headers", JSON_ARRAY);
    if (!str_eq(tree_text(output, "format"), STR("json")))
        bad(p, output, at, "format", "an output object has the format \"json\"");
    if (!list || list->n == 0)
        bad(p, output, at, "allow_headers", "allow_headers names at least one header field");
    for (size_t i = 0; list && i < list->n; i++)
        if (is_kind(list->items[i], JSON_STRING) && !header_is_safe(list->items[i]->text))
            complain(p, PATH_INDEX(list_at, i), &list->items[i]->at, NULL,
                     "\"%.*s\" is no header field that a helper may set",
                     STR_ARG(list->items[i]->text));
}

/* Each origin of interaction.open_urls, with its place. */
typedef void origin_fn(struct str origin, const struct path *path, const struct place *at,
                       struct problems *p);

static void each_origin(const struct json *c, const struct path *path, origin_fn *fn,
                        struct problems *p)
{
    const struct json *open =
        tree_of(tree_of(c, "interaction", JSON_OBJECT), "open_urls", JSON_OBJECT);
    const struct json *list = tree_of(open, "allow_origins", JSON_ARRAY);
    const struct path *a = PATH_KEY(path, STR("interaction"));
    const struct path *b = PATH_KEY(a, STR("open_urls"));
    const struct path *at = PATH_KEY(b, STR("allow_origins"));
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *v = list->items[i];
        struct str origin = is_kind(v, JSON_STRING) ? v->text : tree_text(v, "origin");
        if (origin.p)
            fn(origin, PATH_INDEX(at, i), &v->at, p);
    }
}

/* scheme://host with http or https. */
static void check_url_origin(struct str origin, const struct path *path, const struct place *at,
                         struct problems *p)
{
    struct target_uri uri;
    struct errctx why = {0};
    if (target_parse_uri(origin, &uri, &why))
        complain(p, path, at, "https://login.example.com",
                 "\"%.*s\" is no http or https URL with a host", STR_ARG(origin));
}

static void note_origin(struct str origin, const struct path *path, const struct place *at,
                        struct problems *p)
{
    struct target_uri uri;
    struct errctx why = {0};
    if (target_parse_uri(origin, &uri, &why))
        return;
    if (uri.scheme != SCHEME_HTTPS)
        remark(p, path, at, "write https, or allow_localhost for this machine's own addresses",
               "\"%.*s\" allows nothing: only https is opened", STR_ARG(origin));
    else if (!target_is_origin(&uri))
        remark(p, path, at, "leave out what is behind the host",
               "\"%.*s\" allows nothing: an origin has no path", STR_ARG(origin));
}

void note_captures(const struct json *tree, struct problems *p)
{
    const struct json *map = tree_of(tree, "credential_capture", JSON_OBJECT);
    const struct path *root = PATH_KEY(NULL, STR("credential_capture"));
    for (size_t i = 0; map && i < map->n; i++)
        each_origin(map->members[i].value, PATH_KEY(root, map->members[i].key), note_origin, p);
}

/* What the helpers are run with: compiled here to be judged, and dropped. */
static void check_regex(const struct json *c, const struct path *path, struct problems *p)
{
    const struct json *pattern = tree_of(c, "cache_path_regex", JSON_STRING);
    struct regex *regex = NULL;
    struct errctx why = {0};
    if (!pattern)
        return;
    if (pattern->text.n == 0 || has_nul(pattern->text))
        bad(p, c, path, "cache_path_regex", "cache_path_regex is empty or holds a NUL byte");
    else if (regex_new(pattern->text, &regex, &why))
        complain(p, PATH_KEY(path, STR("cache_path_regex")), &pattern->at, NULL,
                 "cache_path_regex: %s", why.text[0] ? why.text : "out of memory");
    regex_free(regex);
}

static void check_capture(const struct json_member *m, const struct path *path, struct problems *p)
{
    const struct json *c = m->value, *provider = tree_of(c, "provider", JSON_OBJECT);
    if (!name_is_word(m->key))
        complain(p, path, &m->key_at, NULL, "a name here is letters, digits and _");
    if (command_given(c) == (provider != NULL))
        complain(p, path, &c->at, NULL, "exactly one of command and provider is needed");
    check_command(c, path, p);
    if (provider) {
        check_command(provider, PATH_KEY(path, STR("provider")), p);
        if (!command_given(provider))
            bad(p, provider, PATH_KEY(path, STR("provider")), "command", "command is empty");
    }
    check_ttls(c, path, p);
    check_regex(c, path, p);
    check_output(c, path, p);
    each_origin(c, path, check_url_origin, p);
}

void check_captures(const struct json *tree, struct problems *p)
{
    const struct json *map = tree_of(tree, "credential_capture", JSON_OBJECT);
    const struct path *at = PATH_KEY(NULL, STR("credential_capture"));
    for (size_t i = 0; map && i < map->n; i++)
        if (is_kind(map->members[i].value, JSON_OBJECT))
            check_capture(&map->members[i], PATH_KEY(at, map->members[i].key), p);
}

/* ---- credential_providers ---- */

static bool is_identifier(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '_' && c != '-')
            return false;
    }
    return s.n > 0;
}

bool is_https_origin(struct str text)
{
    struct target_uri uri;
    struct errctx why = {0};
    return !target_parse_uri(text, &uri, &why) && uri.scheme == SCHEME_HTTPS &&
           (uri.origin.n == 0 || str_eq(uri.origin, STR("/")));
}

static void check_origin(const struct json *v, const struct path *path, struct problems *p)
{
    if (is_kind(v, JSON_STRING) && !is_https_origin(v->text))
        complain(p, path, &v->at, "https://api.example.com",
                 "\"%.*s\" is no https URL of a host alone", STR_ARG(v->text));
}

static void check_filled(const struct json *holder, const struct path *path, const char *key,
                         struct problems *p)
{
    const struct json *list = tree_of(holder, key, JSON_ARRAY);
    if (holder && (!list || list->n == 0))
        bad(p, holder, path, key, "the list must not be empty");
}

static void check_slash(const struct json *holder, const struct path *path, struct problems *p)
{
    const struct json *v = tree_of(holder, "path", JSON_STRING);
    if (v && (v->text.n == 0 || v->text.p[0] != '/'))
        bad(p, holder, path, "path", "the path must begin with /");
}

static void check_token_endpoints(const struct json *v, const struct path *path, struct problems *p)
{
    const struct json *list = tree_of(v, "token_endpoints", JSON_ARRAY);
    const struct path *all = PATH_KEY(path, STR("token_endpoints"));
    check_filled(v, path, "token_endpoints", p);
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *e = list->items[i];
        const struct path *at = PATH_INDEX(all, i);
        if (!is_kind(e, JSON_OBJECT))
            continue;
        check_origin(tree_get(e, "host"), PATH_KEY(at, STR("host")), p);
        check_slash(e, at, p);
        check_filled(e, at, "response_fields", p);
    }
}

static void check_store(const struct json *v, const struct path *path, struct problems *p)
{
    const struct json *s = tree_of(v, "credential_store", JSON_OBJECT);
    const struct path *at = PATH_KEY(path, STR("credential_store"));
    struct str type = tree_text(s, "type");
    if (str_eq(type, STR("command_status"))) {
        check_filled(s, at, "command", p);
        return;
    }
    if (str_eq(type, STR("keychain_json")))
        check_filled(s, at, "account_candidates", p);
    if (type.n)
        check_filled(s, at, "phantom_fields", p);
}

static void check_provider(const struct json_member *m, const struct path *path, struct problems *p)
{
    const struct json *v = m->value, *hosts = tree_of(v, "api_hosts", JSON_ARRAY);
    const struct path *at = PATH_KEY(path, STR("api_hosts"));
    struct str format = tree_text(v, "credential_format"), header = tree_text(v, "inject_header");
    bool marked = false;
    if (!is_identifier(m->key))
        complain(p, path, &m->key_at, NULL, "a name here is letters, digits, - and _");
    check_token_endpoints(v, path, p);
    check_filled(v, path, "api_hosts", p);
    for (size_t i = 0; hosts && i < hosts->n; i++)
        check_origin(hosts->items[i], PATH_INDEX(at, i), p);
    if (header.p && !name_is_token(header))
        bad(p, v, path, "inject_header", "inject_header is no name of a header field");
    for (size_t i = 0; i < format.n; i++) {
        if (ascii_is_ctl((unsigned char)format.p[i]) && format.p[i] != '\t')
            bad(p, v, path, "credential_format", "credential_format holds a control character");
        marked |= i + 1 < format.n && format.p[i] == '{' && format.p[i + 1] == '}';
    }
    if (format.p && !marked)
        bad(p, v, path, "credential_format", "credential_format must hold {}");
    check_store(v, path, p);
}

/* ---- credential_routes ---- */

static bool lists_text(const struct json *list, struct str text)
{
    for (size_t i = 0; is_kind(list, JSON_ARRAY) && i < list->n; i++)
        if (is_kind(list->items[i], JSON_STRING) && str_eq(list->items[i]->text, text))
            return true;
    return false;
}

static void check_route(const struct json *r, const struct path *path, struct problems *p)
{
    static const char *const variables[] = {"env_var", "base_url_env_var"};
    const struct json *name = tree_of(r, "name", JSON_STRING);
    const struct json *upgrades = tree_of(r, "upgrades", JSON_ARRAY);
    const struct path *list = PATH_KEY(path, STR("upgrades"));
    if (name && !is_identifier(name->text))
        bad(p, r, path, "name", "a name here is letters, digits, - and _");
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        struct errctx why = {0};
        struct str v = tree_text(r, variables[i]);
        if (v.p && env_name_check(v, &why))
            bad(p, r, path, variables[i], why.text);
    }
    for (size_t i = 0; upgrades && i < upgrades->n; i++) {
        const struct path *at = PATH_INDEX(list, i);
        if (!is_kind(upgrades->items[i], JSON_OBJECT))
            continue;
        check_origin(tree_get(upgrades->items[i], "origin"), PATH_KEY(at, STR("origin")), p);
        check_slash(upgrades->items[i], at, p);
    }
    check_endpoint_policy(tree_get(r, "endpoint_policy"), PATH_KEY(path, STR("endpoint_policy")),
                          p);
}

static void check_unique(const struct json *list, size_t i, const struct path *path,
                         struct problems *p)
{
    const struct json *name = tree_of(list->items[i], "name", JSON_STRING);
    for (size_t k = 0; name && k < i; k++)
        if (str_eq(tree_text(list->items[k], "name"), name->text)) {
            struct buf where;
            buf_init(&where, 4096);
            place_format(&where, &tree_get(list->items[k], "name")->at);
            complain(p, PATH_KEY(path, STR("name")), &name->at, NULL,
                     "a route of that name is at %.*s already", STR_ARG(buf_str(&where)));
            buf_fini(&where);
            return;
        }
}

static void link_route(const struct json *tree, const struct json *r, const struct path *path,
                       struct problems *p)
{
    const struct json *providers = tree_of(tree, "credential_providers", JSON_OBJECT);
    const struct json *name = tree_of(r, "provider", JSON_STRING);
    const struct json *upgrades = tree_of(r, "upgrades", JSON_ARRAY);
    const struct json_member *m = name && providers ? json_get(providers, name->text) : NULL;
    if (name && !m)
        bad(p, r, path, "provider", "credential_providers has no entry of that name");
    for (size_t i = 0; m && upgrades && i < upgrades->n; i++) {
        struct str origin = tree_text(upgrades->items[i], "origin");
        if (origin.p && !lists_text(tree_get(m->value, "api_hosts"), origin))
            bad(p, upgrades->items[i], PATH_INDEX(PATH_KEY(path, STR("upgrades")), i), "origin",
                "the origin is none of the provider's api_hosts");
    }
    check_policy_backends(tree, tree_get(r, "endpoint_policy"),
                          PATH_KEY(path, STR("endpoint_policy")), p);
}

void check_providers(const struct json *tree, bool merged, struct problems *p)
{
    const struct json *map = tree_of(tree, "credential_providers", JSON_OBJECT);
    const struct json *list = tree_of(tree, "credential_routes", JSON_ARRAY);
    const struct path *providers = PATH_KEY(NULL, STR("credential_providers"));
    const struct path *routes = PATH_KEY(NULL, STR("credential_routes"));
    for (size_t i = 0; !merged && map && i < map->n; i++)
        if (is_kind(map->members[i].value, JSON_OBJECT))
            check_provider(&map->members[i], PATH_KEY(providers, map->members[i].key), p);
    for (size_t i = 0; list && i < list->n; i++) {
        const struct path *path = PATH_INDEX(routes, i);
        if (!is_kind(list->items[i], JSON_OBJECT))
            continue;
        if (merged)
            check_unique(list, i, path, p);
        if (merged)
            link_route(tree, list->items[i], path, p);
        else
            check_route(list->items[i], path, p);
    }
}
