#include "cli/banner.h"
#include "base/encode.h"
#include "cli/advertise.h"
#include "cli/route_rows.h"

struct style {
    const char *bold, *yellow, *cyan, *dim, *end;
};
static const struct style plain = {"", "", "", "", ""};
static const struct style coloured = {"\x1b[1m", "\x1b[33m", "\x1b[36m", "\x1b[2m", "\x1b[0m"};

static void add_listeners(struct buf *out, const struct banner_facts *f, const struct style *s)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct server_listener *l = &f->listeners[i];
        char text[ADDRESS_TEXT_SIZE];
        buf_printf(out, "  %snono proxy listening on%s ", s->bold, s->end);
        if (l->is_unix) {
            buf_add_z(out, "unix:");
            encode_visible(out, l->path);
        } else {
            buf_printf(out, "%.*s:%u", (int)address_text(&l->address, text), text, l->port);
        }
        buf_add_c(out, '\n');
    }
}

static bool only_sockets(const struct banner_facts *f)
{
    bool only = f->n > 0;
    for (size_t i = 0; i < f->n; i++)
        only &= f->listeners[i].is_unix;
    return only;
}

static void add_url(struct buf *out, const struct banner_facts *f, const struct style *s)
{
    buf_printf(out, "  proxy URL: %s", f->token ? s->cyan : "");
    if (!advertise_url(out, f))
        buf_add_z(out, "none for a unix socket; a relay to it makes one");
    buf_printf(out, "%s\n", f->token ? s->end : "");
}

/* A password may hold anything but ASCII controls. What is no UTF-8 or a C1 control must not reach
 * the terminal; there is none:
 * --pass is UTF-8, and C1 controls are escaped here. */
static void add_token(struct buf *out, struct str token)
{
    for (size_t i = 0; i < token.n; i++) {
        bool c1 = token.p[i] == '\xc2' && i + 1 < token.n && (unsigned char)token.p[i + 1] < 0xa0;
        if (c1)
            buf_printf(out, "\\u00%02x", (unsigned char)token.p[++i]);
        else
            buf_add_c(out, token.p[i]);
    }
}

static void add_export(void *owner, const char *name, struct str value)
{
    struct buf *out = owner;
    buf_printf(out, "  export %s=", name);
    advertise_quoted(out, value);
    buf_add_c(out, '\n');
}

/* `*` opens the gateway as an empty list does; the banner says which of them it was. */
static const struct setting *star(const struct config *c)
{
    for (size_t i = 0; i < c->allow.n; i++) {
        if (str_eq(c->allow.v[i].value, STR("*")))
            return &c->allow.v[i];
    }
    return NULL;
}

/* What makes up the list. */
static void add_counts(struct buf *out, const struct config *c)
{
    buf_printf(out, "only listed hosts are allowed (%zu allow, %zu deny", c->allow.n + c->gates.n,
               c->deny.n);
    if (c->network_profile.value.n) {
        buf_add_z(out, ", network profile ");
        encode_visible(out, c->network_profile.value);
    }
    buf_add_z(out, ")\n");
}

/* Everything but what the deny list takes away. */
static void add_open(struct buf *out, const struct config *c)
{
    const struct setting *opener = star(c);
    buf_add_z(out, "every host is allowed");
    if (c->deny.n)
        buf_printf(out, " except %zu deny %s", c->deny.n, c->deny.n == 1 ? "entry" : "entries");
    if (opener)
        buf_printf(out, " ('*' in %.*s)", STR_ARG(opener->origin));
    else if (c->allow.n == 0 && c->profile.value.p)
        buf_add_z(out, " (neither the profile nor --allow-domain lists any)");
    else if (c->allow.n == 0)
        buf_add_z(out, " (no --allow-domain given)");
    buf_add_c(out, '\n');
}

static void add_policy(struct buf *out, const struct config *c, const struct banner_facts *f)
{
    buf_add_z(out, "  policy: ");
    if (f->policy == POLICY_ALLOWLIST)
        add_counts(out, c);
    else if (f->policy == POLICY_DENY_ALL)
        buf_add_z(out, c->block ? "every host is denied (network.block, and nothing is allowed)\n"
                                : "every host is denied\n");
    else
        add_open(out, c);
}

static void add_routes(struct buf *out, const struct banner_facts *f, const struct style *s)
{
    struct buf rows;
    if (!f->rules || !f->config)
        return;
    buf_init(&rows, BANNER_MAX_BYTES);
    if (route_rows_text(&rows, f->config, f->rules, &f->state, "    ")) {
        buf_printf(out, "\n  %sroutes:%s\n", s->bold, s->end);
        buf_add_str(out, buf_str(&rows));
    }
    buf_fini(&rows);
}

/* "PLACE: sentence" */
static void add_warning(struct buf *out, const struct setting *s)
{
    if (s->origin.n) {
        buf_add_str(out, s->origin);
        buf_add_z(out, ": ");
    }
    buf_add_str(out, s->value);
}

static void add_bypass(struct buf *out, const struct settings *bypass)
{
    enum { SHOWN = 5 };
    for (size_t i = 0; i < bypass->n && i < SHOWN; i++) {
        buf_add_z(out, i ? ", " : ", but not for ");
        encode_visible(out, bypass->v[i].value);
    }
    if (bypass->n > SHOWN)
        buf_printf(out, " and %zu more", bypass->n - SHOWN);
}

static void add_notes(struct buf *out, const struct config *c, const struct banner_facts *f,
                      const struct style *s)
{
    if (f->upstream.n) {
        buf_add_z(out, "  upstream proxy: ");
        encode_visible(out, f->upstream);
        buf_add_z(out, f->names_there
                           ? " (it resolves names: they are judged by name, not by address)"
                           : "");
        add_bypass(out, &c->bypass);
        buf_add_c(out, '\n');
    }
    for (size_t i = 0; f->warnings && i < f->warnings->n; i++) {
        struct buf text;
        buf_init(&text, BANNER_MAX_BYTES);
        add_warning(&text, &f->warnings->v[i]);
        buf_printf(out, "  %swarning:%s ", s->yellow, s->end);
        encode_visible(out, buf_str(&text));
        buf_add_c(out, '\n');
        buf_fini(&text);
    }
}

void banner_text(struct buf *out, const struct config *c, const struct banner_facts *f, bool colour)
{
    const struct style *s = colour ? &coloured : &plain;
    buf_add_c(out, '\n');
    add_listeners(out, f, s);
    if (!f->token)
        buf_printf(out, "  %sauth disabled (--no-auth): %s can use this proxy%s\n", s->yellow,
                   only_sockets(f) ? "whoever may open the socket" : "any local process", s->end);
    add_url(out, f, s);
    if (f->token) {
        buf_printf(out, "  token:     %s", s->dim);
        add_token(out, secret_borrow(f->token));
        buf_printf(out, "%s\n", s->end);
    }
    buf_add_c(out, '\n');
    advertise_env(f, ADVERTISE_SHELL, add_export, out);
    if (c->env_file.value.n) {
        buf_add_z(out, "  these variables are also in ");
        encode_visible(out, c->env_file.value);
        buf_add_c(out, '\n');
    }
    add_routes(out, f, s);
    buf_add_c(out, '\n');
    add_policy(out, c, f);
    add_notes(out, c, f, s);
    buf_printf(out, "\n  %sPress Ctrl-C to stop.%s\n", s->dim, s->end);
}

static void add_env_line(void *owner, const char *name, struct str value)
{
    struct buf *out = owner;
    buf_add_z(out, name);
    buf_add_c(out, '=');
    buf_add_str(out, value);
    buf_add_c(out, '\n');
}

void banner_env_lines(struct buf *out, const struct banner_facts *f)
{
    advertise_env(f, ADVERTISE_FILE, add_env_line, out);
}

static void json_listener(struct buf *out, const struct server_listener *l)
{
    char text[ADDRESS_TEXT_SIZE];
    if (l->is_unix) {
        buf_add_z(out, "{\"path\":");
        encode_json(out, l->path);
    } else {
        buf_printf(out, "{\"address\":\"%.*s\",\"port\":%u", (int)address_text(&l->address, text),
                   text, l->port);
    }
    buf_add_c(out, '}');
}

struct json_env {
    struct buf *out;
    bool more;
};

static void json_variable(void *owner, const char *name, struct str value)
{
    struct json_env *e = owner;
    buf_add_z(e->out, e->more ? "," : "");
    encode_json(e->out, str_from(name));
    buf_add_c(e->out, ':');
    encode_json(e->out, value);
    e->more = true;
}

static void json_url(struct buf *out, const struct banner_facts *f)
{
    /* Everything in it is percent-encoded or an address: no JSON escapes are needed. */
    size_t before = out->n;
    buf_add_c(out, '"');
    if (advertise_url(out, f)) {
        buf_add_c(out, '"');
        return;
    }
    if (buf_ok(out))
        out->n = before;
    buf_add_z(out, "null");
}

static void json_warnings(struct buf *out, const struct settings *warnings)
{
    for (size_t i = 0; warnings && i < warnings->n; i++) {
        struct buf text;
        buf_init(&text, BANNER_MAX_BYTES);
        add_warning(&text, &warnings->v[i]);
        buf_add_z(out, i ? "," : "");
        encode_json(out, buf_str(&text));
        buf_fini(&text);
    }
}

static void json_routes(struct buf *out, const struct banner_facts *f)
{
    struct buf base;
    if (!f->rules || !f->config)
        return;
    buf_init(&base, BANNER_MAX_BYTES);
    advertise_base(&base, f);
    route_rows_json(out, f->config, f->rules, &f->state, buf_str(&base), advertise_token(f, ADVERTISE_PROGRAM));
    buf_fini(&base);
}

void banner_json(struct buf *out, const struct banner_facts *f)
{
    static const char *const kinds[] = {
        [POLICY_ALLOW_ALL] = "allow_all",
        [POLICY_ALLOWLIST] = "allowlist",
        [POLICY_DENY_ALL] = "deny_all",
    };
    struct json_env env = {out, false};
    buf_add_z(out, "{\"version\":\"" NONO_VERSION "\",\"listeners\":[");
    for (size_t i = 0; i < f->n; i++) {
        buf_add_z(out, i ? "," : "");
        json_listener(out, &f->listeners[i]);
    }
    buf_add_z(out, "],\"url\":");
    json_url(out, f);
    buf_add_z(out, ",\"token\":");
    if (f->token)
        encode_json(out, secret_borrow(f->token));
    else
        buf_add_z(out, "null");
    buf_add_z(out, ",\"env\":{");
    advertise_env(f, ADVERTISE_PROGRAM, json_variable, &env);
    buf_add_z(out, "},\"routes\":[");
    json_routes(out, f);
    buf_add_z(out, "],\"ca_bundle\":null,\"ca_cert\":null,\"policy\":\"");
    buf_add_z(out, kinds[f->policy]);
    buf_add_z(out, "\",\"warnings\":[");
    json_warnings(out, f->warnings);
    buf_add_z(out, "]}\n");
}
