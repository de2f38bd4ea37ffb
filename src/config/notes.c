/* Notices of a finished policy: nothing in it is wrong, but not all of it does what it seems to. */
#include "config/nearest.h"
#include "config/runtime_int.h"
#include "policy/overlap.h"
#include <stdarg.h>
#include <stdio.h>

enum { NOTE_BYTES = 1024, SHOWN_HOSTS = 3 };

static enum err PRINTF_LIKE(3, 4)
    note(struct build *b, struct str origin, const char *format, ...)
{
    char text[NOTE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return settings_add(&b->runtime->warnings, str_from(text), origin) ? ERR_OK : ERR_NOMEM;
}

/* ---- entries ---- */

/* A name without a dot that is nearly a group's: "githb" would be a host that nobody has. */
static enum err note_group(struct build *b, const struct setting *s)
{
    struct str names[32], host = str_of(s->value.p, str_find(s->value, ':'));
    size_t n = 0;
    if (memchr(host.p, '.', host.n) || memchr(host.p, '*', host.n) ||
        str_eq_nocase(host, STR("localhost")) || policy_group_members(host))
        return ERR_OK;
    for (; n < ARRAY_LEN(names) && policy_group_name(n); n++)
        names[n] = str_from(policy_group_name(n));
    struct str near = nearest_of(host, names, n);
    if (!near.p)
        return ERR_OK;
    return note(b, s->origin,
                "\"%.*s\" is no built-in group and is taken as a host name; did you mean %.*s?",
                STR_ARG(host), STR_ARG(near));
}

static enum err note_denied(struct build *b, const struct setting *s)
{
    struct str rule, origin;
    if (!policy_entry_denied(b->runtime->policy, s->value, &rule, &origin))
        return ERR_OK;
    return note(b, s->origin, "\"%.*s\" has no effect: %.*s (%.*s) takes all of it away",
                STR_ARG(s->value), STR_ARG(rule), STR_ARG(origin));
}

static enum err note_gated(struct build *b, const struct setting *s)
{
    const struct route *r = policy_entry_gated(b->runtime->policy, s->value);
    struct route_view v;
    if (!r)
        return ERR_OK;
    route_view(r, &v);
    return note(b, s->origin,
                "\"%.*s\" does not open the whole host: the path rules of %.*s (%.*s) hold",
                STR_ARG(s->value), STR_ARG(v.upstream), STR_ARG(v.origin));
}

static enum err note_entries(struct build *b)
{
    const struct config *c = &b->runtime->config;
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < c->allow.n; i++)
        if (!(e = note_group(b, &c->allow.v[i])) && !(e = note_denied(b, &c->allow.v[i])))
            e = note_gated(b, &c->allow.v[i]);
    for (size_t i = 0; !e && i < c->deny.n; i++)
        e = note_group(b, &c->deny.v[i]);
    return e;
}

/* ---- routes ---- */

/* Two accounts on one host (decision K2). */
static enum err note_rival(struct build *b, size_t index)
{
    const struct policy *p = b->runtime->policy;
    const struct route *r = policy_route_rival(p, index);
    struct route_view v, other;
    if (!r)
        return ERR_OK;
    policy_route_view(p, index, &v);
    route_view(r, &other);
    return note(b, v.origin,
                "the credentials \"%.*s\" and \"%.*s\" (%.*s) fit the same requests to %.*s: each serves "
                "its own prefix, but a request for the host itself is refused with 403, unless "
                "endpoint rules tell them apart",
                STR_ARG(v.id), STR_ARG(other.id), STR_ARG(other.origin), STR_ARG(v.host_pattern));
}

static enum err note_later(struct build *b, size_t index)
{
    struct route_view v;
    policy_route_view(b->runtime->policy, index, &v);
    if (!v.unavailable)
        return ERR_OK;
    return note(b, v.origin,
                "the credential of \"%.*s\" is not in this version: its requests are answered with "
                "503",
                STR_ARG(v.id));
}

/* Hosts of https that are reached without interception only, the first few by name. */
struct closed {
    size_t n;
    struct str origin, last; /* origin: of the first */
    struct buf names;
};

static void add_closed(struct closed *c, const struct route_view *v)
{
    if (c->n == 0)
        c->origin = v->origin;
    if (str_eq(c->last, v->host_pattern)) /* several accounts, or ports */
        return;
    c->last = v->host_pattern;
    if (c->n < SHOWN_HOSTS)
        buf_printf(&c->names, "%s%.*s", c->n ? ", " : "", STR_ARG(v->host_pattern));
    c->n++;
}

static enum err note_closed(struct build *b, struct closed *c, const char *why)
{
    char more[48] = "";
    enum err e = ERR_OK;
    if (c->n > SHOWN_HOSTS)
        (void)snprintf(more, sizeof(more), " and %zu more", c->n - SHOWN_HOSTS);
    if (c->n)
        e = note(b, c->origin, "%s: every CONNECT to %.*s%s is answered with 503", why,
                 STR_ARG(buf_str(&c->names)), more);
    buf_fini(&c->names);
    return e;
}

/* Interception does not exist yet: what would need it is refused (decision K1). */
static enum err note_interception(struct build *b)
{
    const struct policy *p = b->runtime->policy;
    struct closed rules = {.n = 0}, credentials = {.n = 0};
    buf_init(&rules.names, NOTE_BYTES);
    buf_init(&credentials.names, NOTE_BYTES);
    for (size_t i = 0; i < policy_routes(p); i++) {
        struct route_view v;
        policy_route_view(p, i, &v);
        if (v.scheme != SCHEME_HTTPS || v.unavailable)
            continue;
        if (v.has_credential)
            add_closed(&credentials, &v);
        else if (v.has_rules)
            add_closed(&rules, &v);
    }
    enum err e = note_closed(b, &rules,
                             "path rules on https need interception, which this version lacks");
    enum err f = note_closed(b, &credentials,
                             "credentials go in on the base URLs of their routes alone, because "
                             "this version lacks interception");
    return e ? e : f;
}

enum err build_notes(struct build *b)
{
    enum err e = note_entries(b);
    for (size_t i = 0; !e && i < policy_routes(b->runtime->policy); i++)
        if (!(e = note_rival(b, i)))
            e = note_later(b, i);
    return e ? e : note_interception(b);
}
