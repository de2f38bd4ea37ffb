#include "config/nearest.h"
#include "config/profile_int.h"
#include "config/reference.h"
#include "policy/glob.h"
#include <stdio.h>

/* ---- endpoint rules ---- */

static const char *const known_methods[] = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY",
    /* WebDAV and its kin */
    "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK",
    "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE",
    "ORDERPATCH", "PROPFIND", "PROPPATCH", "REBIND", "REPORT", "SEARCH", "UNBIND", "UNCHECKOUT",
    "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
    /* caches */
    "PURGE", "BAN"};

bool method_is_known(struct str method, struct str *ret_near)
{
    struct str names[ARRAY_LEN(known_methods)];
    if (str_eq(method, STR("*")))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(known_methods); i++) {
        names[i] = str_from(known_methods[i]);
        if (str_eq_nocase(method, names[i]))
            return true;
    }
    *ret_near = nearest_of(method, names, ARRAY_LEN(names));
    return false;
}

/* Any token may be a method, but one that nobody knows is a typing mistake more often than not. */
static void check_method(const struct json *method, const struct path *path, struct problems *p)
{
    struct str near;
    char hint[64];
    if (!str_eq(method->text, STR("*")) && !name_is_token(method->text)) {
        complain(p, path, &method->at, "write a method such as GET, or *", "\"%.*s\" is no method",
                 STR_ARG(method->text));
    } else if (!method_is_known(method->text, &near)) {
        (void)snprintf(hint, sizeof(hint), "did you mean %.*s?", STR_ARG(near));
        remark(p, path, &method->at, near.p ? hint : NULL,
               "\"%.*s\" is no method that is known", STR_ARG(method->text));
    }
}

/* A rule, unlike a back end, may give no time at all: whoever is asked is late then. */
static void remark_no_time(const struct json *rule, const struct path *path, struct problems *p)
{
    uint64_t n;
    if (tree_number(rule, "timeout_secs", &n) && n == 0)
        remark(p, PATH_KEY(path, STR("timeout_secs")), &tree_get(rule, "timeout_secs")->at,
               "leave it out for the time that holds otherwise",
               "timeout_secs is 0: nobody can answer in time, and the request is refused");
}

static void check_rule(const struct json *rule, const struct path *path, struct problems *p)
{
    const struct json *method = tree_of(rule, "method", JSON_STRING);
    const struct json *pattern = tree_of(rule, "path", JSON_STRING);
    struct glob *glob = NULL;
    struct errctx why = {0};
    if (method)
        check_method(method, PATH_KEY(path, STR("method")), p);
    remark_no_time(rule, path, p);
    if (!pattern)
        return;
    if (glob_compile(pattern->text, GLOB_SEGMENT, &glob, &why))
        complain(p, PATH_KEY(path, STR("path")), &pattern->at, NULL, "pattern \"%.*s\": %s",
                 STR_ARG(pattern->text), why.text);
    glob_free(glob);
}

void check_endpoint_list(const struct json *list, const struct path *path, struct problems *p)
{
    for (size_t i = 0; is_kind(list, JSON_ARRAY) && i < list->n; i++)
        check_rule(list->items[i], PATH_INDEX(path, i), p);
}

static const char *const policy_lists[] = {"deny", "approve", "allow"};

void check_endpoint_policy(const struct json *policy, const struct path *path, struct problems *p)
{
    remark_no_time(tree_get(policy, "default"), PATH_KEY(path, STR("default")), p);
    for (size_t i = 0; i < ARRAY_LEN(policy_lists); i++)
        check_endpoint_list(tree_get(policy, policy_lists[i]),
                            PATH_KEY(path, str_from(policy_lists[i])), p);
}

static void check_backend(const struct json *tree, const struct json *holder,
                          const struct path *path, struct problems *p)
{
    const struct json *name = tree_of(holder, "backend", JSON_STRING);
    if (name && !approval_known(tree, name->text))
        complain(p, PATH_KEY(path, STR("backend")), &name->at,
                 "define it under security.approval_backends", "no approval back end \"%.*s\"",
                 STR_ARG(name->text));
}

void check_policy_backends(const struct json *tree, const struct json *policy,
                           const struct path *path, struct problems *p)
{
    check_backend(tree, tree_get(policy, "default"), PATH_KEY(path, STR("default")), p);
    for (size_t i = 0; i < ARRAY_LEN(policy_lists); i++) {
        const struct path *at = PATH_KEY(path, str_from(policy_lists[i]));
        const struct json *list = tree_of(policy, policy_lists[i], JSON_ARRAY);
        for (size_t k = 0; list && k < list->n; k++)
            check_backend(tree, list->items[k], PATH_INDEX(at, k), p);
    }
}

/* ---- environment ---- */

static void check_target_name(const struct json *name, const struct path *path, struct problems *p)
{
    struct errctx why = {0};
    if (is_kind(name, JSON_STRING) && env_name_check(name->text, &why))
        complain(p, path, &name->at, NULL, "%s", why.text);
}

static void check_env_credentials(const struct json *tree, struct problems *p)
{
    const struct json *map = tree_of(tree, "env_credentials", JSON_OBJECT);
    const struct path *root = PATH_KEY(NULL, STR("env_credentials"));
    for (size_t i = 0; map && i < map->n; i++) {
        const struct json_member *m = &map->members[i];
        const struct path *path = PATH_KEY(root, m->key);
        enum reference_scheme scheme;
        struct errctx why = {0};
        if (reference_parse(m->key, &scheme, &why))
            complain(p, path, &m->key_at, NULL, "%s", why.text);
        if (is_kind(m->value, JSON_OBJECT))
            check_target_name(tree_get(m->value, "env_var"), PATH_KEY(path, STR("env_var")), p);
        else
            check_target_name(m->value, path, p);
    }
}

static const char *set_vars_fault(struct str name)
{
    if (str_eq(name, STR("PATH")))
        return "PATH cannot be set";
    if (str_starts(name, STR("NONO_")))
        return "names that begin with NONO_ cannot be set";
    if (!name_is_word(name) || ascii_is_digit((unsigned char)name.p[0]))
        return "a variable's name is letters, digits and _, no digit first";
    return NULL;
}

static void check_set_vars(const struct json *tree, struct problems *p)
{
    const struct json *vars = tree_of(tree_get(tree, "environment"), "set_vars", JSON_OBJECT);
    const struct path *root = PATH_KEY(NULL, STR("environment"));
    const struct path *at = PATH_KEY(root, STR("set_vars"));
    for (size_t i = 0; vars && i < vars->n; i++) {
        const struct json_member *m = &vars->members[i];
        const char *fault = set_vars_fault(m->key);
        if (fault)
            complain(p, PATH_KEY(at, m->key), &m->key_at, NULL, "%s", fault);
    }
}

/* ---- groups of the sandboxing command ---- */

static void check_required_groups(const struct json *tree, struct problems *p)
{
    static const char *const required[] = {"deny_credentials",        "deny_keychains_macos",
                                           "deny_keychains_linux",    "deny_browser_data_macos",
                                           "deny_macos_private",      "deny_shell_history",
                                           "deny_browser_data_linux", "deny_shell_configs"};
    const struct json *list = tree_of(tree_get(tree, "groups"), "exclude", JSON_ARRAY);
    const struct path *root = PATH_KEY(NULL, STR("groups"));
    const struct path *at = PATH_KEY(root, STR("exclude"));
    for (size_t i = 0; list && i < list->n; i++) {
        const struct json *item = list->items[i];
        struct str name = is_kind(item, JSON_STRING) ? item->text : tree_text(item, "name");
        for (size_t k = 0; k < ARRAY_LEN(required); k++)
            if (str_eq(name, str_from(required[k])))
                complain(p, PATH_INDEX(at, i), &item->at, "leave it out",
                         "the group %s is required and cannot be excluded", required[k]);
    }
}

void profile_check(const struct json *tree, bool merged, struct problems *problems)
{
    check_network(tree, merged, problems);
    if (merged) {
        check_service_links(tree, problems);
        check_required_groups(tree, problems);
    } else {
        check_services(tree, problems);
        check_captures(tree, problems);
        check_env_credentials(tree, problems);
        check_set_vars(tree, problems);
    }
    check_providers(tree, merged, problems);
    check_approvals(tree, merged, problems);
}

/* ---- notes of `profile validate` ---- */

/* Decision E1: a `*` that the reference lets cross `/` and we do not. */
static bool has_lone_star(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '*' && i + 1 < s.n && s.p[i + 1] == '*')
            i++;
        else if (s.p[i] == '*')
            return true;
    }
    return false;
}

static void note_list(const struct json *list, const struct path *path, struct problems *p)
{
    for (size_t i = 0; is_kind(list, JSON_ARRAY) && i < list->n; i++) {
        const struct json *pattern = tree_of(list->items[i], "path", JSON_STRING);
        if (pattern && has_lone_star(pattern->text))
            remark(p, PATH_KEY(PATH_INDEX(path, i), STR("path")), &pattern->at,
                   "write ** to cross segments, or set network.endpoint_glob to \"path\"",
                   "in \"%.*s\" a * stays inside one path segment", STR_ARG(pattern->text));
    }
}

static void note_patterns(const struct json *tree, struct problems *problems)
{
    const struct json *network = tree_of(tree, "network", JSON_OBJECT);
    const struct json *allow = tree_of(network, "allow_domain", JSON_ARRAY);
    const struct json *services = tree_of(network, "custom_credentials", JSON_OBJECT);
    const struct path *root = PATH_KEY(NULL, STR("network"));
    const struct path *domains = PATH_KEY(root, STR("allow_domain"));
    const struct path *map = PATH_KEY(root, STR("custom_credentials"));
    if (str_eq(tree_text(network, "endpoint_glob"), STR("path")))
        return;
    for (size_t i = 0; allow && i < allow->n; i++)
        note_list(tree_get(allow->items[i], "endpoints"),
                  PATH_KEY(PATH_INDEX(domains, i), STR("endpoints")), problems);
    for (size_t i = 0; services && i < services->n; i++) {
        const struct json_member *m = &services->members[i];
        const struct path *at = PATH_KEY(map, m->key);
        const struct json *policy = tree_get(m->value, "endpoint_policy");
        note_list(tree_get(m->value, "endpoint_rules"), PATH_KEY(at, STR("endpoint_rules")),
                  problems);
        note_list(tree_get(policy, "allow"),
                  PATH_KEY(PATH_KEY(at, STR("endpoint_policy")), STR("allow")), problems);
    }
}

void profile_notes(const struct json *tree, struct problems *problems)
{
    note_patterns(tree, problems);
    note_captures(tree, problems);
}
