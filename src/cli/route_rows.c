#include "cli/route_rows.h"
#include "base/encode.h"
#include "base/map.h"
#include "base/mem.h"
#include "config/reference.h"
#include "policy/decide.h"

#define TICK "\xe2\x9c\x93"
#define CROSS "\xe2\x9c\x97"

/* ---- what is known of a route ---- */

const struct service_conf *route_service(const struct config *c, struct str id)
{
    for (size_t i = 0; i < c->services.n; i++) {
        if (c->services.v[i].enabled && str_eq(c->services.v[i].name, id))
            return &c->services.v[i];
    }
    return NULL;
}

void route_credential_place(struct buf *out, const struct service_conf *s)
{
    switch (s->inject_mode) {
    case INJECT_HEADER:
    case INJECT_BASIC_AUTH:
        buf_add_z(out, "header ");
        encode_visible(out, s->inject_header);
        break;
    case INJECT_QUERY_PARAM:
        buf_add_z(out, "query parameter ");
        encode_visible(out, s->query_param_name);
        break;
    case INJECT_URL_PATH:
        buf_add_z(out, "path ");
        encode_visible(out, s->path_replacement.n ? s->path_replacement : s->path_pattern);
        break;
    }
}

static bool has_policy(const struct config *c, const struct route_view *v)
{
    const struct service_conf *s = route_service(c, v->id);
    return s && s->policy.given;
}

/* Could anybody get there? By name, port and scheme; nothing is resolved. */
static bool reachable(const struct policy *p, const struct route_view *v)
{
    struct facts f = {
        .shape = SHAPE_CONNECT, .port = v->port, .scheme = v->scheme, .method = STR("CONNECT")};
    struct decision d;
    struct errctx why = {0};
    if (hostname_parse(v->host_pattern, &f.host, &why)) /* *.suffix: many hosts */
        return true;
    policy_decide(p, &f, &d);
    return d.verdict != VERDICT_REFUSE || d.refusal != ERR_HOST_DENIED;
}

/* Every demand of a route is met inside an intercepted connection, or not at all (decision K1). */
static const char *intercept_word(void)
{
    return "off"; /* this version does not intercept: such hosts are refused */
}

/* ---- rows ---- */

enum usable {
    USABLE,
    USABLE_UNCHECKED,   /* a store that is asked at the first use: that may take long, and prompt */
    USABLE_UNAVAILABLE, /* decision K13 */
    USABLE_MISSING,
};

/* The credential of one route. */
struct shown {
    struct str name; /* empty: it has none */
    enum usable usable;
    struct str missing; /* why it cannot be used now */
};

enum { SHOWN_OTHERS = 5, OTHER_BYTES = 8192 };

/* Several routes may share an upstream: they are one row. */
struct row {
    struct route_view first; /* gives the upstream */
    struct shown credential; /* of the first route that has one */
    struct str last_other;
    struct buf others;       /* those behind it that cannot be used: a tick before them is not theirs */
    size_t n_others;
    size_t rules;
    bool policy;
};

/* How rows call a credential: its reference, or its kind. */
static struct str credential_name(const struct config *c, const struct route_view *v)
{
    const struct service_conf *s = route_service(c, v->id);
    if (!v->has_credential)
        return STR_NULL;
    if (!s)
        return v->id;
    switch (s->kind) {
    case SERVICE_KEY:
        return s->credential_key;
    case SERVICE_AUTH:
        return STR("oauth2");
    case SERVICE_AWS:
        return STR("aws");
    case SERVICE_SPIFFE:
        return STR("spiffe");
    }
    return v->id;
}

static struct str missing_of(const struct route_state *state, size_t index)
{
    return state && index < state->n ? state->missing[index] : STR_NULL;
}

/* Variables, files and helpers are looked at without asking anybody; the stores are not. */
static bool asked_at_first_use(struct str reference)
{
    enum reference_scheme scheme;
    struct errctx why = {0};
    return !reference_source(reference, &scheme, &why) && scheme != REFERENCE_CMD &&
           !reference_at_hand(scheme);
}

static struct shown shown_of(const struct config *c, const struct route_view *v,
                             const struct route_state *state)
{
    const struct service_conf *s = route_service(c, v->id);
    struct shown shown = {credential_name(c, v), USABLE, missing_of(state, v->index)};
    if (v->unavailable)
        shown.usable = USABLE_UNAVAILABLE;
    else if (shown.missing.n)
        shown.usable = USABLE_MISSING;
    else if (s && s->kind == SERVICE_KEY && asked_at_first_use(s->credential_key))
        shown.usable = USABLE_UNCHECKED;
    return shown;
}

static void add_redacted(struct buf *out, struct str ref)
{
    struct buf shown;
    buf_init(&shown, ref.n + 64);
    reference_redact(&shown, ref);
    encode_visible(out, buf_str(&shown));
    buf_fini(&shown);
}

/* The codes of the reference's diagnostics: nothing is there, or it cannot be had. */
static const char *missing_code(struct str sentence)
{
    static const char *const absent[] = {"is not set", "is missing", "is empty", "no item"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
        if (memmem(sentence.p, sentence.n, absent[i], strlen(absent[i])))
            return "credential_not_found";
    }
    return "credential_unavailable";
}

static void add_credential(struct buf *out, const struct shown *s)
{
    if (!s->name.n) {
        buf_add_z(out, "none");
        return;
    }
    if (s->usable == USABLE_MISSING)
        add_redacted(out, s->name);
    else
        encode_visible(out, s->name);
    switch (s->usable) {
    case USABLE:
        buf_add_z(out, " " TICK);
        break;
    case USABLE_UNCHECKED:
        buf_add_z(out, " ? (asked at the first use)");
        break;
    case USABLE_UNAVAILABLE:
        buf_add_z(out, " " CROSS " (not in this version)");
        break;
    case USABLE_MISSING:
        buf_printf(out, " " CROSS " (%s)", missing_code(s->missing));
        break;
    }
}

static void add_other(struct row *row, const struct shown *s)
{
    bool broken = s->usable == USABLE_UNAVAILABLE || s->usable == USABLE_MISSING;
    if (!broken || str_eq(s->name, row->credential.name) || str_eq(s->name, row->last_other))
        return;
    row->last_other = s->name;
    if (row->n_others++ >= SHOWN_OTHERS)
        return;
    buf_add_z(&row->others, ", ");
    add_credential(&row->others, s);
}

static void add_to_row(struct row *row, const struct config *c, const struct policy *p,
                       const struct route_view *v, const struct route_state *state)
{
    struct shown s = shown_of(c, v, state);
    if (!row->credential.name.n)
        row->credential = s;
    else if (s.name.n)
        add_other(row, &s);
    row->rules += route_rules(policy_route(p, v->index));
    row->policy |= has_policy(c, v);
}

struct rows {
    struct row *v;
    size_t n;
    struct map by_upstream;
};

/* False: out of memory. */
static bool rows_make(struct rows *rows, const struct config *c, const struct policy *p,
                      const struct route_state *state)
{
    size_t n = policy_routes(p);
    *rows = (struct rows){.v = mem_zalloc((n + 1) * sizeof(*rows->v))};
    map_init(&rows->by_upstream);
    for (size_t i = 0; rows->v && i < n; i++) {
        struct route_view v;
        policy_route_view(p, i, &v);
        struct row *row = map_get(&rows->by_upstream, v.upstream);
        if (!row) {
            row = &rows->v[rows->n++];
            row->first = v;
            buf_init(&row->others, OTHER_BYTES);
            if (!map_put(&rows->by_upstream, v.upstream, row))
                return false;
        }
        add_to_row(row, c, p, &v, state);
    }
    return rows->v != NULL;
}

static void rows_fini(struct rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        buf_fini(&rows->v[i].others);
    mem_free(rows->v);
    map_fini(&rows->by_upstream);
}

static void add_row(struct buf *out, const struct row *row)
{
    encode_visible(out, row->first.upstream);
    buf_add_z(out, " | creds: ");
    add_credential(out, &row->credential);
    buf_add_str(out, buf_str(&row->others));
    if (row->n_others > SHOWN_OTHERS)
        buf_printf(out, " and %zu more", row->n_others - SHOWN_OTHERS);
    buf_printf(out, " | intercept: %s | ", intercept_word());
    if (row->policy)
        buf_add_z(out, "endpoint_policy: on");
    else
        buf_printf(out, "endpoint_rules: %zu", row->rules);
}

void route_row_text(struct buf *out, const struct config *c, const struct policy *p, size_t index)
{
    struct row row = {.rules = 0};
    buf_init(&row.others, OTHER_BYTES);
    policy_route_view(p, index, &row.first);
    add_to_row(&row, c, p, &row.first, NULL);
    add_row(out, &row);
    buf_fini(&row.others);
}

size_t route_rows_text(struct buf *out, const struct config *c, const struct policy *p,
                       const struct route_state *state, const char *before)
{
    size_t n = 0;
    struct rows rows;
    bool ok = rows_make(&rows, c, p, state);
    for (size_t i = 0; ok && i < rows.n; i++) {
        if (!reachable(p, &rows.v[i].first))
            continue;
        buf_add_z(out, before);
        add_row(out, &rows.v[i]);
        buf_add_c(out, '\n');
        n++;
    }
    rows_fini(&rows);
    return n;
}

/* ---- variables ---- */

/* A name that shells take: letters in capitals, digits, and _ for everything else. */
static void add_variable_name(struct buf *out, struct str from, const char *behind)
{
    for (size_t i = 0; i < from.n; i++) {
        char c = from.p[i];
        bool word = ascii_is_alpha((unsigned char)c) || ascii_is_digit((unsigned char)c);
        buf_add_c(out, !word ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
    }
    buf_add_z(out, behind);
    buf_add_c(out, '\0');
}

/* The variable that SDKs read the key from; false: none is known. */
static bool token_variable(const struct service_conf *s, struct buf *out)
{
    struct str key = s->credential_key;
    if (s->env_var.n)
        buf_add_str(out, s->env_var);
    else if (str_starts(key, STR("env://")))
        buf_add_str(out, str_of(key.p + 6, key.n - 6));
    else if (!memmem(key.p, key.n, "://", 3))
        add_variable_name(out, key, "");
    buf_add_c(out, '\0');
    return out->n > 1;
}

void route_variables(const struct config *c, const struct policy *p, size_t index,
                     const struct route_state *state, struct str base, struct str token,
                     route_variable_fn *fn, void *owner)
{
    struct route_view v;
    struct buf name, url;
    policy_route_view(p, index, &v);
    const struct service_conf *s = route_service(c, v.id);
    if (!v.prefix.n || !s || v.unavailable)
        return;
    buf_init(&name, 4096);
    buf_init(&url, 65536);
    add_variable_name(&name, v.prefix, "_BASE_URL");
    buf_add_str(&url, base);
    buf_add_c(&url, '/');
    encode_percent(&url, v.prefix);
    if (base.n && buf_ok(&name) && buf_ok(&url))
        fn(owner, name.p, buf_str(&url));
    buf_reset(&name);
    if (token.n && !missing_of(state, index).n && token_variable(s, &name) && buf_ok(&name))
        fn(owner, name.p, token);
    buf_fini(&name);
    buf_fini(&url);
}

/* ---- JSON ---- */

static void add_string(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, "\"%s\":", name);
    if (value.n)
        encode_json(out, value);
    else
        buf_add_z(out, "null");
}

struct members {
    struct buf *out;
    bool more;
};

static void add_member(void *owner, const char *name, struct str value)
{
    struct members *m = owner;
    buf_add_z(m->out, m->more ? "," : "");
    encode_json(m->out, str_from(name));
    buf_add_c(m->out, ':');
    encode_json(m->out, value);
    m->more = true;
}

static void add_reason(struct buf *out, const struct shown *s)
{
    struct str reason = s->usable == USABLE_UNAVAILABLE ? STR("the credential is not in this version")
                        : s->usable == USABLE_UNCHECKED ? STR("its store is asked at the first use")
                                                        : s->missing;
    if (!reason.n)
        return;
    buf_add_z(out, ",\"reason\":");
    encode_json(out, reason);
}

static void add_route_json(struct buf *out, const struct config *c, const struct policy *p,
                           size_t index, const struct route_state *state, struct str base,
                           struct str token)
{
    struct route_view view;
    struct route_view *v = &view;
    struct members env = {out, false};
    static const char *const words[] = {[USABLE] = "ok",
                                        [USABLE_UNCHECKED] = "unchecked",
                                        [USABLE_UNAVAILABLE] = "unavailable",
                                        [USABLE_MISSING] = "missing"};
    struct buf url;
    policy_route_view(p, index, v);
    struct shown shown = shown_of(c, v, state);
    buf_init(&url, 65536);
    if (base.n && v->prefix.n) {
        buf_add_str(&url, base);
        buf_add_c(&url, '/');
        encode_percent(&url, v->prefix);
    }
    buf_add_c(out, '{');
    add_string(out, "prefix", v->prefix);
    buf_add_c(out, ',');
    add_string(out, "upstream", v->upstream);
    buf_add_c(out, ',');
    add_string(out, "base_url", buf_str(&url));
    buf_add_z(out, ",\"env\":{");
    route_variables(c, p, index, state, base, token, add_member, &env);
    buf_printf(out, "},\"credential\":\"%s\",\"intercept\":%s,\"endpoint_rules\":%zu",
               v->has_credential ? words[shown.usable] : "none",
               intercept_word()[1] == 'n' ? "true" : "false", route_rules(policy_route(p, v->index)));
    add_reason(out, &shown);
    buf_add_c(out, '}');
    buf_fini(&url);
}

void route_rows_json(struct buf *out, const struct config *c, const struct policy *p,
                     const struct route_state *state, struct str base, struct str token)
{
    for (size_t i = 0; i < policy_routes(p); i++) {
        buf_add_z(out, i ? "," : "");
        add_route_json(out, c, p, i, state, base, token);
    }
}
