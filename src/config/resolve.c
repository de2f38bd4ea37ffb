#include "config/resolve.h"
#include "base/encode.h"
#include "base/mem.h"
#include "config/builtin.h"
#include "config/host_url.h"
#include "config/reference.h"
#include "config/service_int.h"
#include <stdio.h>
#include <unistd.h>

/* ---- problems ---- */

/* "FILE:LINE:COLUMN" taken apart; another origin ("--allow-domain") is a file without lines. */
static struct place place_of(struct json_doc *doc, struct str origin)
{
    struct place at = {0};
    struct str file = origin;
    uint64_t line, column;
    size_t second = str_rfind(origin, ':');
    struct str head = str_of(origin.p, second);
    size_t first = str_rfind(head, ':');
    if (second < origin.n && first < head.n &&
        str_u64(str_of(origin.p + second + 1, origin.n - second - 1), UINT32_MAX, &column) &&
        str_u64(str_of(head.p + first + 1, head.n - first - 1), UINT32_MAX, &line)) {
        at.line = (uint32_t)line;
        at.column = (uint32_t)column;
        file = str_of(origin.p, first);
    }
    struct str kept = json_str(doc, file);
    at.file = kept.p ? kept.p : "";
    return at;
}

void resolve_problem(struct resolve *r, struct str origin, const char *hint, const char *format,
                     ...)
{
    char text[600];
    va_list args;
    struct place at = place_of(r->doc, origin);
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* Sentences that say the origin themselves do not say it twice. */
    if (origin.n && memmem(text, strlen(text), origin.p, origin.n))
        at = (struct place){.file = ""};
    problem_add(&r->problems, false, &at, STR_NULL, hint, "%s", text);
}

void resolve_note(struct resolve *r, struct str origin, struct str text)
{
    struct place at = place_of(r->doc, origin);
    problem_add(&r->problems, true, &at, STR_NULL, NULL, "%.*s", STR_ARG(text));
}

/* ---- entries that are URLs with a path (decision H12) ---- */

static size_t count_urls(const struct settings *allow)
{
    struct allow_url url;
    size_t n = 0;
    for (size_t i = 0; i < allow->n; i++)
        n += allow_url_split(allow->v[i].value, &url);
    return n;
}

static void make_gate(struct take *t, const struct setting *s, const struct allow_url *url,
                      struct gate_conf *g)
{
    struct endpoint_conf *rule = take_memory(t, sizeof(*rule));
    *g = (struct gate_conf){.domain = take_text(t, url->authority),
                            .scheme = take_text(t, url->scheme),
                            .origin = take_text(t, s->origin)};
    if (!rule)
        return;
    *rule = (struct endpoint_conf){
        .method = STR("*"), .path = take_text(t, url->path), .origin = g->origin};
    g->endpoints = (struct endpoint_confs){rule, 1, 1};
}

static void split_urls(struct resolve *r, struct take *t)
{
    struct config *c = t->config;
    size_t more = count_urls(&c->allow), kept = 0;
    struct gate_conf *v = take_memory(t, (c->gates.n + more) * sizeof(*v));
    if (!v || more == 0)
        return;
    if (c->gates.n)
        memcpy(v, c->gates.v, c->gates.n * sizeof(*v));
    c->gates.v = v;
    c->gates.cap = c->gates.n + more;
    for (size_t i = 0; i < c->allow.n; i++) {
        struct setting *s = &c->allow.v[i];
        struct allow_url url;
        if (!allow_url_split(s->value, &url)) {
            c->allow.v[kept++] = *s;
            continue;
        }
        if (url.has_query)
            resolve_problem(r, s->origin, "leave out what begins with ? or #",
                            "\"%.*s\": a query or fragment cannot be part of an entry, which "
                            "judges the path alone",
                            STR_ARG(s->value));
        make_gate(t, s, &url, &c->gates.v[c->gates.n++]);
        mem_free((char *)s->value.p);
        mem_free((char *)s->origin.p);
    }
    c->allow.n = kept;
}

/* ---- services ---- */

static struct service_conf *find_service(struct config *c, struct str name)
{
    for (size_t i = 0; i < c->services.n; i++)
        if (str_eq(c->services.v[i].name, name))
            return &c->services.v[i];
    return NULL;
}

static void unknown_service(struct resolve *r, const struct setting *s)
{
    struct buf names;
    const struct json *network = tree_of(r->tree, "network", JSON_OBJECT);
    buf_init(&names, 4096);
    service_names(tree_of(network, "custom_credentials", JSON_OBJECT), &names);
    resolve_problem(r, s->origin, NULL, "no credential service \"%.*s\"; there are %.*s",
                    STR_ARG(s->value), STR_ARG(buf_str(&names)));
    buf_fini(&names);
}

static void expand(struct resolve *r, struct take *t, const struct service_conf *s,
                   struct str *path, const char *what)
{
    struct buf out;
    struct errctx why = {0};
    char z[4096];
    if (!path->p)
        return;
    buf_init(&out, sizeof(z) - 1);
    if (path_expand(*path, &out, &why)) {
        resolve_problem(r, s->origin, NULL, "credential \"%.*s\": %s: %s", STR_ARG(s->name), what,
                        why.text);
    } else if (buf_ok(&out) && out.n) {
        memcpy(z, out.p, out.n);
        z[out.n] = 0;
        *path = take_text(t, buf_str(&out));
        if (access(z, R_OK))
            resolve_problem(r, s->origin, NULL, "credential \"%.*s\": %s %s cannot be read",
                            STR_ARG(s->name), what, z);
    } else {
        resolve_problem(r, s->origin, NULL, "credential \"%.*s\": %s is no path", STR_ARG(s->name),
                        what);
    }
    buf_fini(&out);
}

static void enable_services(struct resolve *r, struct take *t)
{
    struct config *c = t->config;
    for (size_t i = 0; i < c->credentials.n; i++) {
        const struct setting *s = &c->credentials.v[i];
        struct service_conf *service = find_service(c, s->value);
        if (!service) {
            unknown_service(r, s);
            continue;
        }
        service->enabled = true;
        service->enabled_origin = take_text(t, s->origin);
        expand(r, t, service, &service->tls_ca, "tls_ca");
        expand(r, t, service, &service->tls_client_cert, "tls_client_cert");
        expand(r, t, service, &service->tls_client_key, "tls_client_key");
    }
}

/* ---- --allow-endpoint ---- */

static struct service_conf *enabled_service(struct resolve *r, struct config *c,
                                            const struct setting *s, struct str name)
{
    struct service_conf *service = find_service(c, name);
    if (service && service->enabled)
        return service;
    resolve_problem(r, s->origin, "ask for it with --credential",
                    "\"%.*s\": no credential route \"%.*s\" is active", STR_ARG(s->value),
                    STR_ARG(name));
    return NULL;
}

static void append_rule(struct take *t, struct endpoint_confs *rules,
                        const struct endpoint_conf *rule)
{
    struct endpoint_conf *v = take_memory(t, (rules->n + 1) * sizeof(*v));
    if (!v)
        return;
    if (rules->n)
        memcpy(v, rules->v, rules->n * sizeof(*v));
    v[rules->n] = *rule;
    *rules = (struct endpoint_confs){v, rules->n + 1, rules->n + 1};
}

static void note_method(struct resolve *r, const struct setting *s, struct str method)
{
    struct str near;
    if (method_is_known(method, &near))
        return;
    problem_add(&r->problems, true, &(struct place){.file = ""}, STR_NULL, NULL,
                "%.*s \"%.*s\": \"%.*s\" is no method that is known%s%.*s%s", STR_ARG(s->origin),
                STR_ARG(s->value), STR_ARG(method), near.p ? "; did you mean " : "", STR_ARG(near),
                near.p ? "?" : "");
}

/* "SERVICE:METHOD:PATH"; the path may hold colons. */
static void add_endpoint(struct resolve *r, struct take *t, const struct setting *s)
{
    struct str name = str_of(s->value.p, str_find(s->value, ':')), rest, method;
    rest = name.n < s->value.n ? str_of(name.p + name.n + 1, s->value.n - name.n - 1) : STR("");
    method = str_of(rest.p, str_find(rest, ':'));
    rest = method.n < rest.n ? str_of(rest.p + method.n + 1, rest.n - method.n - 1) : STR("");
    if (!name.n || !method.n || !rest.n || rest.p[0] != '/') {
        resolve_problem(r, s->origin, NULL,
                        "\"%.*s\" must be SERVICE:METHOD:PATH with a path that begins with /",
                        STR_ARG(s->value));
        return;
    }
    struct service_conf *service = enabled_service(r, t->config, s, name);
    if (!service)
        return;
    struct endpoint_conf rule = {.method = take_text(t, method),
                                 .path = take_text(t, rest),
                                 .origin = take_text(t, s->origin)};
    append_rule(t, &service->rules, &rule);
    note_method(r, s, method);
    if (service->policy.given)
        problem_add(&r->problems, true, &(struct place){.file = ""}, STR_NULL, NULL,
                    "--allow-endpoint \"%.*s\" has no effect: the credential has an "
                    "endpoint_policy, which decides alone",
                    STR_ARG(s->value));
}

/* ---- what belongs together ---- */

static struct str host_of(struct str entry)
{
    size_t colon = str_find(entry, ':');
    if (str_starts(str_of(entry.p + colon, entry.n - colon), STR("://"))) {
        entry = str_of(entry.p + colon + 3, entry.n - colon - 3);
        entry.n = str_find(entry, '/');
    }
    return entry;
}

static bool conflict(struct resolve *r, const struct setting *entry, struct str host,
                     struct str origin, const char *what)
{
    host = host_of(host);
    if (!host.n || !no_proxy_overlaps(entry->value, host))
        return false;
    resolve_problem(r, entry->origin, "leave one of them out",
                    "no_proxy \"%.*s\" takes \"%.*s\" (%s, %.*s) past the gateway",
                    STR_ARG(entry->value), STR_ARG(host), what, STR_ARG(origin));
    return true;
}

/* What a NO_PROXY list takes past the gateway must not be what the gateway is asked to judge. */
static void check_no_proxy_entry(struct resolve *r, const struct config *c,
                                 const struct setting *entry)
{
    bool found = false;
    for (size_t i = 0; !found && i < c->gates.n; i++)
        found = conflict(r, entry, c->gates.v[i].domain, c->gates.v[i].origin, "path rules");
    for (size_t i = 0; !found && i < c->services.n; i++)
        if (c->services.v[i].enabled)
            found = conflict(r, entry, c->services.v[i].upstream, c->services.v[i].origin,
                             "credential");
    for (size_t i = 0; !found && i < c->allow.n; i++)
        found = conflict(r, entry, c->allow.v[i].value, c->allow.v[i].origin, "allowed host");
}

static void check_together(struct resolve *r, const struct config *c)
{
    struct errctx why = {0};
    if (config_check(c, &why))
        resolve_problem(r, STR_NULL, NULL, "%s", why.text);
    err_clear(&why);
    if (c->network_profile.value.p && network_profile_check(c->network_profile.value, &why))
        resolve_problem(r, c->network_profile.origin, NULL, "%s", why.text);
    for (size_t i = 0; i < c->no_proxy.n; i++)
        check_no_proxy_entry(r, c, &c->no_proxy.v[i]);
#ifndef __APPLE__
    if (c->tls_intercept.trusted)
        resolve_problem(r, c->tls_intercept.trusted_origin, "\"session\" works everywhere",
                        "ca_lifecycle \"trusted\" needs the keychain of macOS");
#endif
}

/* ---- all of it ---- */

static enum err take_profile(struct resolve *r, const struct profile_env *env, struct config *c)
{
    struct str file = STR_NULL;
    r->read =
        profile_load(r->doc, env, c->profile.value, &c->extends, &r->tree, &file, &r->problems);
    r->n_read = r->problems.n;
    if (r->read)
        return r->read == ERR_NOMEM ? ERR_NOMEM : ERR_INVALID;
    c->profile_file = config_text(c, file);
    if (!c->profile_file.p)
        return ERR_NOMEM;
    return profile_apply(r->tree, c, &r->problems);
}

static enum err resolve_copy(struct resolve *r, const struct profile_env *env, struct config *c)
{
    struct take t = {.config = c};
    enum err e = c->profile.value.p ? take_profile(r, env, c) : ERR_OK;
    if (e)
        return e;
    if (c->extends.n && !c->profile.value.p)
        resolve_problem(r, c->extends.v[0].origin, "add --profile NAME",
                        "--extends needs a profile to extend");
    if (!c->profile.value.p)
        take_services(&t, NULL);
    split_urls(r, &t);
    enable_services(r, &t);
    for (size_t i = 0; i < c->endpoints.n; i++)
        add_endpoint(r, &t, &c->endpoints.v[i]);
    check_together(r, c);
    return t.no_memory ? ERR_NOMEM : ERR_OK;
}

enum err resolve_config(const struct config *flags, const struct profile_env *env,
                        struct resolve *ret_resolve, struct config *ret_config)
{
    struct config c;
    *ret_resolve = (struct resolve){.doc = json_doc_new()};
    if (!ret_resolve->doc)
        return ERR_NOMEM;
    problems_init(&ret_resolve->problems, ret_resolve->doc);
    if (!config_copy(flags, &c))
        return ERR_NOMEM;
    enum err e = resolve_copy(ret_resolve, env, &c);
    if (e)
        config_fini(&c);
    else
        *ret_config = c;
    return e;
}

void resolve_fini(struct resolve *r)
{
    if (!r->doc)
        return;
    problems_fini(&r->problems);
    json_doc_free(r->doc);
    r->doc = NULL;
}

/* ---- the report ---- */

/* Classes of config.md 1.6: by what was being done, and by the part of the profile. */
static const char *class_of(const struct resolve *r, size_t i)
{
    static const char *const config_parts[] = {"/network/credentials", "/network/network_profile",
                                               "/network/upstream_proxy", "/groups/exclude"};
    const struct problem *p = &r->problems.v[i];
    if (i >= r->n_read)
        return "Configuration parse error: ";
    if (r->read == ERR_NOT_FOUND)
        return "Profile not found: ";
    if (r->read == ERR_SYSTEM)
        return "Profile read error at ";
    if (str_eq(p->pointer, STR("/extends")) || str_starts(p->pointer, STR("/extends/")))
        return "Profile inheritance error: ";
    for (size_t k = 0; k < ARRAY_LEN(config_parts); k++)
        if (str_starts(p->pointer, str_from(config_parts[k])))
            return "Configuration parse error: ";
    return "Profile parse error: ";
}

static void report_line(const struct problem *p, const char *before, struct buf *out)
{
    buf_add_z(out, before);
    if (p->at.file && *p->at.file) {
        struct buf place;
        buf_init(&place, 8192);
        place_format(&place, &p->at);
        encode_visible(out, buf_str(&place));
        buf_fini(&place);
        buf_add_z(out, ": ");
    }
    encode_visible(out, p->message); /* parts of it come from the file */
    if (p->hint.n) {
        buf_add_z(out, " (");
        encode_visible(out, p->hint);
        buf_add_c(out, ')');
    }
    buf_add_c(out, '\n');
}

void resolve_report(const struct resolve *r, bool notices, struct buf *out)
{
    for (size_t i = 0; i < r->problems.n; i++) {
        const struct problem *p = &r->problems.v[i];
        char before[64];
        if (p->warning != notices)
            continue;
        (void)snprintf(before, sizeof(before), "nono: %s", class_of(r, i));
        report_line(p, notices ? "  [nono] " : before, out);
    }
}
