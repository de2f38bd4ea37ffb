/* What is checked of custom_credentials (sections 7.2 to 7.7), whether enabled or not. */
#include "config/profile_int.h"
#include "config/builtin.h"
#include "config/host_url.h"
#include "config/reference.h"
#include <stdio.h>

struct entry {
    const struct json *v;
    struct str name;
    const struct path *path;
    struct problems *problems;
};

/* At the member `key` of `holder` where it is there, else at the holder itself. */
static void PRINTF_LIKE(6, 7)
    fault(const struct entry *e, const struct json *holder, const struct path *path,
          const char *key, const char *hint, const char *format, ...)
{
    char text[500];
    va_list args;
    const struct json *at = key ? tree_get(holder, key) : NULL;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    complain(e->problems, key ? PATH_KEY(path, str_from(key)) : path, at ? &at->at : &holder->at,
             hint, "credential \"%.*s\": %s", STR_ARG(e->name), text);
}

static void own_fault(const struct entry *e, const char *key, const char *hint,
                      const char *sentence)
{
    fault(e, e->v, e->path, key, hint, "%s", sentence);
}

/* What no field value may hold (case 76): control characters but the tab. */
static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return true;
    return false;
}

/* What would end or cut a request target. */
static bool cuts_target(struct str s)
{
    return has_control(s) || str_find(s, ' ') < s.n || str_find(s, '\t') < s.n ||
           str_find(s, '#') < s.n;
}

/* Fields that say where a request goes, how it is framed or how long a connection lives would not
 * carry a secret, or not only that. */
static bool may_carry_secret(struct str name)
{
    return header_is_safe(name) || str_eq_nocase(name, STR("proxy-authorization"));
}

static size_t count_marks(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < s.n; i++)
        n += s.p[i] == '{' && s.p[i + 1] == '}';
    return n;
}

static bool is_param_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '_' && c != '-')
            return false;
    }
    return s.n > 0;
}

/* ---- which source ---- */

static void both(const struct entry *e, const char *a, const char *b)
{
    const struct json *first = tree_get(e->v, a), *second = tree_get(e->v, b);
    struct buf where;
    if (!first || !second)
        return;
    buf_init(&where, 4096);
    place_format(&where, &first->at);
    fault(e, e->v, e->path, b, "leave one of them out", "%s (%.*s) and %s exclude each other", a,
          STR_ARG(buf_str(&where)), b);
    buf_fini(&where);
}

static void check_sources(const struct entry *e)
{
    static const char *const pairs[][2] = {
        {"credential_key", "aws_auth"}, {"auth", "aws_auth"},   {"credential_key", "auth"},
        {"credential_key", "spiffe"},   {"aws_auth", "spiffe"}, {"auth", "spiffe"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        both(e, pairs[i][0], pairs[i][1]);
    if (!tree_get(e->v, "credential_key") && !tree_get(e->v, "auth") &&
        !tree_get(e->v, "aws_auth") && !tree_get(e->v, "spiffe"))
        own_fault(e, NULL, "add \"credential_key\": \"env://NAME\"",
                  "it needs one of credential_key, auth, aws_auth and spiffe");
}

/* The path of a token endpoint may have a query, an upstream's may not. */
static void check_url(const struct entry *e, const struct json *holder, const struct path *path,
                      const char *key, bool query)
{
    struct upstream u;
    struct errctx why = {0};
    const struct json *v = tree_of(holder, key, JSON_STRING);
    struct str url = v ? v->text : STR_NULL;
    if (query)
        url.n = str_find(url, '?');
    if (v && upstream_parse(url, &u, &why))
        fault(e, holder, path, key, NULL, "%s %s", key, why.text);
}

static void check_spiffe(const struct entry *e)
{
    const struct json *s = tree_of(e->v, "spiffe", JSON_OBJECT);
    const struct json *header = tree_of(s, "inject_header", JSON_STRING);
    const struct path *path = PATH_KEY(e->path, STR("spiffe"));
    if (header && !name_is_token(header->text))
        fault(e, s, path, "inject_header", NULL, "inject_header is no name of a header field");
    if (has_control(tree_text(s, "credential_format")))
        fault(e, s, path, "credential_format", NULL, "credential_format holds a control character");
}

static void check_assertion(const struct entry *e, const struct json *auth, const struct path *path)
{
    const struct json *a = tree_of(auth, "client_assertion", JSON_OBJECT);
    const struct path *at = PATH_KEY(path, STR("client_assertion"));
    const struct json *audience = tree_of(a, "audience", JSON_ARRAY);
    static const char *const ids[] = {"client_id", "client_secret"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        if (tree_text(auth, ids[i]).n)
            fault(e, auth, path, ids[i], "leave it out",
                  "%s and client_assertion exclude each other", ids[i]);
    if (tree_text(a, "workload_api_socket").n == 0)
        fault(e, a, at, "workload_api_socket", NULL, "workload_api_socket is empty");
    if (!audience || audience->n == 0)
        fault(e, a, at, "audience", NULL, "audience is empty");
}

static void check_auth(const struct entry *e)
{
    const struct json *auth = tree_of(e->v, "auth", JSON_OBJECT);
    const struct path *path = PATH_KEY(e->path, STR("auth"));
    static const char *const ids[] = {"client_id", "client_secret"};
    if (!auth)
        return;
    check_url(e, auth, path, "token_url", true);
    if (tree_of(auth, "client_assertion", JSON_OBJECT)) {
        check_assertion(e, auth, path);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        if (tree_text(auth, ids[i]).n == 0)
            fault(e, auth, path, ids[i], NULL, "auth needs a %s", ids[i]);
}

static bool has_blank_or_upper(struct str s, bool upper)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (upper && s.p[i] >= 'A' && s.p[i] <= 'Z'))
            return true;
    return false;
}

static void check_aws(const struct entry *e)
{
    const struct json *aws = tree_of(e->v, "aws_auth", JSON_OBJECT);
    const struct path *path = PATH_KEY(e->path, STR("aws_auth"));
    static const char *const keys[] = {"profile", "region", "service"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct json *v = tree_of(aws, keys[i], JSON_STRING);
        if (v && (v->text.n == 0 || has_blank_or_upper(v->text, i > 0)))
            fault(e, aws, path, keys[i], NULL, "%s is empty or holds blanks%s", keys[i],
                  i ? " or capitals" : "");
    }
}

/* ---- the key and where the phantom goes ---- */

static void check_env_var(const struct entry *e, bool needed)
{
    struct errctx why = {0};
    const struct json *v = tree_of(e->v, "env_var", JSON_STRING);
    if (!v) {
        if (needed && !tree_get(e->v, "env_var"))
            own_fault(e, NULL, "add \"env_var\": \"NAME\"",
                      "env_var is missing: only env:// and keyring accounts go without it");
    } else if (env_name_check(v->text, &why)) {
        fault(e, e->v, e->path, "env_var", NULL, "%s", why.text);
    }
}

static void check_key(const struct entry *e)
{
    const struct json *key = tree_of(e->v, "credential_key", JSON_STRING);
    enum reference_scheme scheme = REFERENCE_ENV;
    struct errctx why = {0};
    bool bad = key && reference_parse(key->text, &scheme, &why);
    if (bad)
        fault(e, e->v, e->path, "credential_key", NULL, "%s", why.text);
    check_env_var(e, key && !bad && scheme != REFERENCE_ENV && scheme != REFERENCE_KEYRING);
}

/* ---- modes ---- */

/* Where a field of the mode stands: in `proxy`, or in the entry. */
struct mode_view {
    const struct json *holder, *entry;
    const struct path *path, *entry_path;
};

static const struct json *find_field(const struct mode_view *m, const char *key,
                                     const struct json **ret_holder, const struct path **ret_path)
{
    const struct json *v = tree_of(m->holder, key, JSON_STRING);
    *ret_holder = v ? m->holder : m->entry;
    *ret_path = v ? m->path : m->entry_path;
    return v ? v : tree_of(m->entry, key, JSON_STRING);
}

static void check_header(const struct entry *e, const struct mode_view *m, bool format)
{
    const struct json *holder;
    const struct path *path;
    const struct json *v = find_field(m, "inject_header", &holder, &path);
    if (v && !name_is_token(v->text))
        fault(e, holder, path, "inject_header", NULL, "inject_header is no name of a header field");
    else if (v && !may_carry_secret(v->text))
        fault(e, holder, path, "inject_header", NULL, "the field %.*s cannot carry a secret",
              STR_ARG(v->text));
    v = find_field(m, "credential_format", &holder, &path);
    if (format && v && has_control(v->text))
        fault(e, holder, path, "credential_format", NULL,
              "credential_format holds a control character");
}

static void check_path_pattern(const struct entry *e, const struct mode_view *m)
{
    const struct json *holder, *v;
    const struct path *path;
    v = find_field(m, "path_pattern", &holder, &path);
    if (!v)
        fault(e, m->holder, m->path, NULL, "\"path_pattern\": \"/bot{}/\"",
              "inject_mode url_path needs a path_pattern");
    else if (count_marks(v->text) == 0 || cuts_target(v->text))
        fault(e, holder, path, "path_pattern", "\"/bot{}/\"",
              "path_pattern must hold {} and no blank, control character or #");
    const struct json *replacement = find_field(m, "path_replacement", &holder, &path);
    if (!replacement && v && count_marks(v->text) && !cuts_target(v->text))
        replacement = find_field(m, "path_pattern", &holder, &path);
    if (replacement && (count_marks(replacement->text) != 1 || replacement->text.p[0] != '/' ||
                        cuts_target(replacement->text))) /* decision W5 */
        fault(e, holder, path, replacement == v ? "path_pattern" : "path_replacement",
              "\"/v2/bot{}/\"",
              "path_replacement (path_pattern where it is not given) must begin with / and hold "
              "exactly one {} and no blank, control character or #");
}

static void check_param(const struct entry *e, const struct mode_view *m)
{
    const struct json *holder;
    const struct path *path;
    const struct json *v = find_field(m, "query_param_name", &holder, &path);
    if (!v)
        fault(e, m->holder, m->path, NULL, "\"query_param_name\": \"key\"",
              "inject_mode query_param needs a query_param_name");
    else if (!is_param_name(v->text))
        fault(e, holder, path, "query_param_name", NULL,
              "query_param_name is letters, digits, - and _");
}

static void check_mode(const struct entry *e, struct str mode, const struct mode_view *m)
{
    if (mode.n == 0 || str_eq(mode, STR("header")))
        check_header(e, m, true);
    else if (str_eq(mode, STR("basic_auth")))
        check_header(e, m, false);
    else if (str_eq(mode, STR("url_path")))
        check_path_pattern(e, m);
    else if (str_eq(mode, STR("query_param")))
        check_param(e, m);
}

static void check_modes(const struct entry *e)
{
    const struct json *proxy = tree_of(e->v, "proxy", JSON_OBJECT);
    struct mode_view m = {e->v, e->v, e->path, e->path};
    struct str mode = tree_text(e->v, "inject_mode"), shown = tree_text(proxy, "inject_mode");
    if (tree_of(e->v, "credential_key", JSON_STRING))
        check_mode(e, mode, &m);
    if (proxy) {
        m.holder = proxy;
        m.path = PATH_KEY(e->path, STR("proxy"));
        check_mode(e, shown.n ? shown : mode, &m);
    }
}

static void check_tls(const struct entry *e)
{
    bool cert = tree_get(e->v, "tls_client_cert"), key = tree_get(e->v, "tls_client_key");
    if (cert != key)
        own_fault(e, cert ? "tls_client_cert" : "tls_client_key", "give both or neither",
                  "tls_client_cert and tls_client_key go together");
}

static void check_entry(const struct entry *e)
{
    check_sources(e);
    check_spiffe(e);
    check_auth(e);
    check_aws(e);
    check_key(e);
    check_url(e, e->v, e->path, "upstream", false);
    check_modes(e);
    check_tls(e);
    check_endpoint_list(tree_get(e->v, "endpoint_rules"), PATH_KEY(e->path, STR("endpoint_rules")),
                        e->problems);
    check_endpoint_policy(tree_get(e->v, "endpoint_policy"),
                          PATH_KEY(e->path, STR("endpoint_policy")), e->problems);
}

typedef void entry_fn(const struct json *tree, const struct entry *e);

static void each_entry(const struct json *tree, struct problems *p, entry_fn *fn)
{
    const struct json *map =
        tree_of(tree_of(tree, "network", JSON_OBJECT), "custom_credentials", JSON_OBJECT);
    const struct path *root = PATH_KEY(NULL, STR("network"));
    const struct path *at = PATH_KEY(root, STR("custom_credentials"));
    for (size_t i = 0; map && i < map->n; i++) {
        const struct json_member *m = &map->members[i];
        struct entry e = {m->value, m->key, PATH_KEY(at, m->key), p};
        if (is_kind(m->value, JSON_OBJECT))
            fn(tree, &e);
    }
}

static void check_one(const struct json *tree, const struct entry *e)
{
    (void)tree;
    check_entry(e);
}

void check_services(const struct json *tree, struct problems *p)
{
    each_entry(tree, p, check_one);
}

/* ---- what refers to other parts of the merged profile ---- */

static bool output_is_json(const struct json *capture)
{
    const struct json *output = tree_of(capture, "output", JSON_OBJECT);
    return output && str_eq(tree_text(output, "format"), STR("json")) &&
           !tree_get(capture, "provider");
}

static void link_capture(const struct json *tree, const struct entry *e)
{
    struct str key = tree_text(e->v, "credential_key");
    const struct json *captures = tree_of(tree, "credential_capture", JSON_OBJECT);
    struct str mode = tree_text(e->v, "inject_mode");
    if (!str_starts(key, STR("cmd://")))
        return;
    struct str name = str_of(key.p + 6, key.n - 6);
    const struct json_member *m = captures ? json_get(captures, name) : NULL;
    if (!m)
        fault(e, e->v, e->path, "credential_key", "add it to credential_capture",
              "credential_capture has no entry \"%.*s\"", STR_ARG(name));
    else if (output_is_json(m->value) && mode.n && !str_eq(mode, STR("header")) &&
             !str_eq(mode, STR("basic_auth")))
        fault(e, e->v, e->path, "credential_key", "use inject_mode header or output \"text\"",
              "\"%.*s\" returns header fields, which inject_mode %.*s cannot use", STR_ARG(name),
              STR_ARG(mode));
}

static void link_entry(const struct json *tree, const struct entry *e)
{
    link_capture(tree, e);
    check_policy_backends(tree, tree_get(e->v, "endpoint_policy"),
                          PATH_KEY(e->path, STR("endpoint_policy")), e->problems);
}

static void link_names(const struct json *tree, struct problems *p)
{
    const struct json *network = tree_of(tree, "network", JSON_OBJECT);
    const struct json *list = tree_of(network, "credentials", JSON_ARRAY);
    const struct json *custom = tree_of(network, "custom_credentials", JSON_OBJECT);
    const struct path *root = PATH_KEY(NULL, STR("network"));
    const struct path *at = PATH_KEY(root, STR("credentials"));
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *name = list->items[i];
        struct buf text;
        if (!is_kind(name, JSON_STRING) || (custom && json_get(custom, name->text)) ||
            builtin_service_find(name->text))
            continue;
        buf_init(&text, 4096);
        service_names(custom, &text);
        complain(p, PATH_INDEX(at, i), &name->at, "define it under custom_credentials",
                 "no credential service \"%.*s\"; there are %.*s", STR_ARG(name->text),
                 STR_ARG(buf_str(&text)));
        buf_fini(&text);
    }
}

void check_service_links(const struct json *tree, struct problems *p)
{
    each_entry(tree, p, link_entry);
    link_names(tree, p);
}

/* ---- the names there are ---- */

static void add_next(const struct json *custom, struct str after, struct str *best)
{
    for (size_t i = 0; custom && i < custom->n; i++) {
        struct str name = custom->members[i].key;
        if (str_cmp(name, after) > 0 && (!best->p || str_cmp(name, *best) < 0))
            *best = name;
    }
    for (size_t i = 0; builtin_service_at(i); i++) {
        struct str name = str_from(builtin_service_at(i)->name);
        if (str_cmp(name, after) > 0 && (!best->p || str_cmp(name, *best) < 0))
            *best = name;
    }
}

void service_names(const struct json *custom, struct buf *out)
{
    struct str last = STR("");
    for (size_t n = 0; n < 40; n++) {
        struct str next = STR_NULL;
        add_next(custom, last, &next);
        if (!next.p)
            return;
        buf_printf(out, "%s%.*s", n ? ", " : "", STR_ARG(next));
        last = next;
    }
    buf_add_z(out, ", ...");
}
