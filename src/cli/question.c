#include "cli/question.h"
#include "base/encode.h"
#include <stdio.h>

enum { DEFAULT_PORT = 443, SCRATCH_BYTES = 262144 };

/* ---- questions ---- */

static void set_method(struct question *q, struct str method)
{
    q->facts.method = method.p ? method : STR("GET");
    for (size_t i = 0; i < q->facts.method.n; i++) {
        if (!ascii_is_tchar((unsigned char)q->facts.method.p[i]))
            (void)err_set(&q->wrong, ERR_BAD_REQUEST, "the method holds a character that none has");
    }
    if (q->facts.method.n == 0)
        (void)err_set(&q->wrong, ERR_BAD_REQUEST, "the method is empty");
}

static void set_path(struct question *q, struct str origin)
{
    if (origin.n == 0)
        origin = STR("/");
    target_split_query(origin, &q->facts.path, &q->facts.query);
    if (q->facts.path.n == 0)
        q->facts.path = STR("/");
    if (q->facts.path.p[0] != '/')
        (void)err_set(&q->wrong, ERR_BAD_REQUEST, "the path does not begin with /");
    else if (!target_path_ok(origin))
        (void)err_set(&q->wrong, ERR_BAD_REQUEST,
                      "the path holds a blank, a control character or #");
}

static void set_host(struct question *q, struct str host)
{
    uint16_t port = 0;
    struct address address;
    /* A bare IPv6 address has colons, but no port. */
    if (address_parse(host, &address))
        q->facts.host = hostname_from_address(&address);
    else if (target_parse_host(host, &q->facts.host, &port, &q->wrong))
        return;
    q->facts.port = port ? port : DEFAULT_PORT;
}

void question_of_host(struct str host, struct str method, struct str path,
                      struct question *ret_question)
{
    struct question *q = ret_question;
    *q = (struct question){.asked = host,
                           .facts = {.shape = SHAPE_CONNECT, .method = STR("CONNECT")}};
    set_host(q, host);
    q->facts.scheme = q->facts.port == scheme_port(SCHEME_HTTP) ? SCHEME_HTTP : SCHEME_HTTPS;
    if (!path.p) {
        q->facts.scheme = q->facts.port == DEFAULT_PORT ? SCHEME_HTTPS : SCHEME_HTTP;
        return;
    }
    q->facts.shape = SHAPE_FORWARD;
    q->scheme_open = true;
    q->by_tunnel = true;
    set_method(q, method);
    set_path(q, path);
}

/* As the gateway cuts an origin-form target: the first segment is the service, the rest its path. */
static void set_service(struct question *q, struct str target)
{
    set_path(q, target);
    if (q->wrong.code)
        return;
    struct str rest = str_of(q->facts.path.p + 1, q->facts.path.n - 1);
    q->facts.shape = SHAPE_REVERSE;
    q->facts.prefix = str_of(rest.p, str_find(rest, '/'));
    q->facts.path = str_of(rest.p + q->facts.prefix.n, rest.n - q->facts.prefix.n);
    if (q->facts.path.n == 0)
        q->facts.path = STR("/");
}

void question_of_url(struct str url, struct str method, struct question *ret_question)
{
    struct question *q = ret_question;
    struct target_uri uri = {0};
    *q = (struct question){.asked = url, .by_tunnel = true, .facts = {.shape = SHAPE_FORWARD}};
    set_method(q, method);
    if (url.n && url.p[0] == '/' && !q->wrong.code) {
        set_service(q, url);
        return;
    }
    if (q->wrong.code || target_parse_uri(url, &uri, &q->wrong))
        return;
    q->facts.host = uri.host;
    q->facts.port = uri.port;
    q->facts.scheme = uri.scheme;
    set_path(q, uri.origin);
}

static bool is_url(struct str s)
{
    return memmem(s.p, s.n, "://", 3) != NULL;
}

void question_parse(struct str line, struct question *ret_question)
{
    struct str text = str_trim(line);
    size_t blank = str_find(text, ' ');
    struct str method = STR_NULL, rest = text;
    if (blank < text.n) {
        method = str_of(text.p, blank);
        rest = str_trim(str_of(text.p + blank, text.n - blank));
    }
    if (str_eq(method, STR("CONNECT")) && !is_url(rest))
        question_of_host(rest, STR_NULL, STR_NULL, ret_question);
    else if (method.p || is_url(rest) || str_starts(rest, STR("/")))
        question_of_url(rest, method, ret_question);
    else
        question_of_host(rest, STR_NULL, STR_NULL, ret_question);
    ret_question->asked = text;
    if (method.p)
        ret_question->by_tunnel = false;
}

/* ---- answers ---- */

/* Words of a remedy that stand for the host asked about. */
static void add_remedy(struct buf *out, struct str text, const struct hostname *host, uint16_t port)
{
    struct str rest = text, word;
    for (bool first = true; str_next(&rest, ' ', &word); first = false) {
        buf_add_z(out, first ? "" : " ");
        size_t n = word.n && word.p[word.n - 1] == ',' ? word.n - 1 : word.n;
        struct str bare = str_of(word.p, n);
        if (str_eq(bare, STR("HOST:PORT")))
            hostname_format_port(out, host, port);
        else if (str_eq(bare, STR("HOST")) || (str_eq(bare, STR("ADDRESS")) && host->is_address))
            hostname_format(out, host);
        else
            buf_add_str(out, bare);
        buf_add_str(out, str_of(word.p + n, word.n - n));
    }
}

static void set_remedy(struct answer *a)
{
    struct buf text;
    buf_init(&text, sizeof(a->remedy) - 1);
    add_remedy(&text, a->decision.remedy, &a->decision.host, a->decision.port);
    if (buf_ok(&text) && text.n)
        memcpy(a->remedy, text.p, text.n);
    a->remedy[buf_ok(&text) ? text.n : 0] = 0;
    buf_fini(&text);
}

static void allowed_sentence(struct answer *a)
{
    const struct decision *d = &a->decision;
    if (str_eq(d->rule, STR("default-allow")))
        (void)snprintf(a->reason, sizeof(a->reason), "every host is allowed: no list says which");
    else if (d->endpoint_judged)
        (void)snprintf(a->reason, sizeof(a->reason), "method and path are allowed by %.*s",
                       STR_ARG(d->endpoint_rule));
    else
        (void)snprintf(a->reason, sizeof(a->reason), "an entry of the allowlist covers it");
}

/* Interception does not exist in this version: the gateway refuses what would need it (503), with
 * this sentence. */
static void intercept_sentence(struct answer *a)
{
    const struct decision *d = &a->decision;
    (void)snprintf(a->reason, sizeof(a->reason), "%s, which is not available in this version",
                   d->reason);
}

/* What to do instead. */
static void intercept_remedy(struct answer *a)
{
    struct route_view v;
    if (!a->decision.route)
        return;
    route_view(a->decision.route, &v);
    if (v.prefix.n)
        (void)snprintf(a->remedy, sizeof(a->remedy),
                       "use the base URL of the route, http://GATEWAY/%.*s", STR_ARG(v.prefix));
    else
        (void)snprintf(a->remedy, sizeof(a->remedy),
                       "allow the whole host, or let the client send https URLs to the proxy "
                       "without a CONNECT");
}

void answer_refresh(struct answer *a)
{
    const struct decision *d = &a->decision;
    a->allowed = d->verdict == VERDICT_ALLOW;
    a->rule = d->rule;
    if (d->reason[0] && d->verdict != VERDICT_INTERCEPT)
        (void)snprintf(a->reason, sizeof(a->reason), "%s", d->reason);
    else if (d->verdict == VERDICT_INTERCEPT)
        intercept_sentence(a);
    else
        allowed_sentence(a);
    set_remedy(a);
    if (d->verdict == VERDICT_INTERCEPT)
        intercept_remedy(a);
}

void answer_deny(struct answer *a, struct str rule, const char *reason)
{
    a->allowed = false;
    a->rule = rule;
    a->decision.verdict = VERDICT_REFUSE;
    (void)snprintf(a->reason, sizeof(a->reason), "%s", reason);
}

/* http or https, where only the port could tell: as the route of that host and port says. */
static enum scheme scheme_of_route(const struct policy *p, const struct facts *f)
{
    for (size_t i = 0; i < policy_routes(p); i++) {
        struct route_view v;
        struct hostname host;
        struct errctx why = {0};
        policy_route_view(p, i, &v);
        if (v.port == f->port && hostname_parse(v.host_pattern, &host, &why) == ERR_OK &&
            hostname_eq(&host, &f->host))
            return v.scheme;
    }
    return f->scheme;
}

/* The request would be served, but a client sends it through a tunnel. Which credential it would get stays in the answer. */
static void judge_tunnel(const struct policy *policy, const struct question *q, struct answer *a)
{
    struct facts facts = {.shape = SHAPE_CONNECT,
                          .host = q->facts.host,
                          .port = q->facts.port,
                          .scheme = SCHEME_HTTPS,
                          .method = STR("CONNECT")};
    struct decision tunnel, inside = a->decision;
    policy_decide(policy, &facts, &tunnel);
    if (tunnel.verdict == VERDICT_ALLOW)
        return;
    a->decision = tunnel;
    a->decision.credential = inside.credential;
    if (inside.route)
        a->decision.route = inside.route;
    answer_refresh(a);
    if (tunnel.verdict == VERDICT_INTERCEPT && inside.endpoint_judged) {
        size_t n = strlen(a->reason);
        (void)snprintf(a->reason + n, sizeof(a->reason) - n, "; by itself %.*s allows the request",
                       STR_ARG(inside.endpoint_rule));
    }
}

/* What the gateway does with the request. The path may be longer than the policy's own memory for
 * it: then it gets some, as from an exchange's arena. */
void question_ask(const struct policy *policy, struct question *q, struct answer *ret_answer)
{
    struct answer *a = ret_answer;
    struct facts facts;
    char scratch[SCRATCH_BYTES];
    struct vetted_addr vetted;
    if (q->scheme_open)
        q->facts.scheme = scheme_of_route(policy, &q->facts);
    q->scheme_open = false;
    facts = q->facts;
    *a = (struct answer){.decision = {.credential = -1, .verdict = VERDICT_REFUSE}};
    a->decision.host = facts.host;
    a->decision.port = facts.port;
    if (q->wrong.code) {
        a->decision.refusal = q->wrong.code;
        answer_deny(a, STR("malformed"), q->wrong.text);
        return;
    }
    facts.scratch = scratch;
    facts.scratch_size = sizeof(scratch);
    policy_decide(policy, &facts, &a->decision);
    /* A refusal is in the decision then. */
    if (a->decision.verdict == VERDICT_ALLOW && a->decision.host.is_address)
        (void)!policy_addr(policy, &a->decision, &a->decision.host.address, &vetted);
    answer_refresh(a);
    if (a->allowed && q->by_tunnel && facts.shape == SHAPE_FORWARD && facts.scheme == SCHEME_HTTPS)
        judge_tunnel(policy, q, a);
}

/* ---- how they are shown ---- */

void question_format(struct buf *out, const struct question *q)
{
    const struct facts *f = &q->facts;
    if (q->wrong.code) {
        encode_visible(out, q->asked);
        return;
    }
    buf_add_str(out, f->method);
    buf_add_c(out, ' ');
    if (f->shape == SHAPE_FORWARD) {
        buf_add_str(out, scheme_name(f->scheme));
        buf_add_z(out, "://");
    }
    if (f->shape == SHAPE_REVERSE) {
        buf_add_z(out, f->prefix.n ? "/" : "");
        encode_visible(out, f->prefix);
        encode_visible(out, f->path);
        return;
    }
    if (f->shape == SHAPE_CONNECT || f->port != scheme_port(f->scheme))
        hostname_format_port(out, &f->host, f->port);
    else
        hostname_format(out, &f->host);
    encode_visible(out, f->path);
}

static void add_row(struct buf *out, const char *name, struct str text)
{
    if (text.n == 0)
        return;
    buf_printf(out, "  %-7s ", name);
    encode_visible(out, text);
    buf_add_c(out, '\n');
}

static void add_rules_text(struct buf *out, const struct route *r)
{
    for (size_t i = 0; i < route_rules(r); i++) {
        struct route_rule_view v;
        route_rule_view(r, i, &v);
        buf_printf(out, "    %-7s %.*s %.*s  (%.*s)\n", endpoint_action_name(v.action),
                   STR_ARG(v.method), STR_ARG(v.path), STR_ARG(v.origin));
    }
    buf_printf(out, "    %-7s everything else\n", endpoint_action_name(route_default(r)));
}

/* The route behind an answer, when there is one. */
static bool view_of(const struct answer *a, struct route_view *ret_view)
{
    if (a->decision.route)
        route_view(a->decision.route, ret_view);
    return a->decision.route != NULL;
}

static bool rules_wanted(const struct question *q, const struct answer *a, struct route_view *v)
{
    return q->facts.shape == SHAPE_CONNECT && view_of(a, v) && v->has_rules;
}

bool answer_credential(const struct answer *a, struct route_view *ret_route)
{
    const struct decision *d = &a->decision;
    struct route_view v;
    if (!view_of(a, &v))
        return false;
    bool goes_in = d->credential >= 0 && (unsigned)d->credential == v.index;
    bool missing = d->verdict == VERDICT_REFUSE && d->refusal == ERR_CREDENTIAL_UNAVAILABLE;
    if (goes_in || missing)
        *ret_route = v;
    return goes_in || missing;
}

void answer_text(struct buf *out, const struct question *q, const struct answer *a,
                 const struct answer_more *more)
{
    struct route_view v = {0}, gets;
    buf_add_z(out, a->allowed ? "ALLOWED " : "DENIED ");
    question_format(out, q);
    buf_add_c(out, '\n');
    add_row(out, "rule:", a->rule);
    add_row(out, "place:", a->decision.origin);
    add_row(out, "why:", str_from(a->reason));
    add_row(out, "remedy:", str_from(a->remedy));
    if (view_of(a, &v))
        add_row(out, "route:", v.id);
    if (answer_credential(a, &gets)) {
        buf_printf(out, "  %-7s %.*s", "gets:", STR_ARG(gets.id));
        if (more->place.n)
            buf_printf(out, ", %.*s", STR_ARG(more->place));
        buf_add_c(out, '\n');
    }
    for (size_t i = 0; i < more->n_notes; i++)
        add_row(out, "note:", more->notes[i]);
    if (rules_wanted(q, a, &v)) {
        buf_add_z(out, "  rules, in the order in which they are tried:\n");
        add_rules_text(out, a->decision.route);
    }
}

void answer_line(struct buf *out, const struct question *q, const struct answer *a)
{
    buf_add_z(out, a->allowed ? "ALLOWED " : "DENIED ");
    question_format(out, q);
    buf_printf(out, " (%.*s", STR_ARG(a->rule));
    if (a->decision.origin.n) {
        buf_add_z(out, " at ");
        encode_visible(out, a->decision.origin);
    }
    buf_add_z(out, "): ");
    encode_visible(out, str_from(a->reason));
    if (a->remedy[0]) {
        buf_add_z(out, "; ");
        encode_visible(out, str_from(a->remedy));
    }
    buf_add_c(out, '\n');
}

static void add_member(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, ",\"%s\":", name);
    if (value.n)
        encode_json(out, value);
    else
        buf_add_z(out, "null");
}

static void add_rules_json(struct buf *out, const struct route *r)
{
    buf_add_z(out, ",\"rules\":[");
    for (size_t i = 0; i < route_rules(r); i++) {
        struct route_rule_view v;
        route_rule_view(r, i, &v);
        buf_printf(out, "%s{\"action\":\"%s\"", i ? "," : "", endpoint_action_name(v.action));
        add_member(out, "method", v.method);
        add_member(out, "path", v.path);
        add_member(out, "origin", v.origin);
        buf_add_c(out, '}');
    }
    buf_printf(out, "],\"default\":\"%s\"", endpoint_action_name(route_default(r)));
}

void answer_json(struct buf *out, const struct question *q, const struct answer *a,
                 const struct answer_more *more)
{
    static const char *const verdicts[] = {
        [VERDICT_REFUSE] = "deny", [VERDICT_ALLOW] = "allow", [VERDICT_INTERCEPT] = "intercept"};
    struct route_view v = {0}, gets = {0};
    bool routed = view_of(a, &v), secret = answer_credential(a, &gets);
    const struct hostname *host = q->facts.host.n ? &q->facts.host : &a->decision.host;
    unsigned port = q->facts.port ? q->facts.port : a->decision.port; /* a service's: its route says */
    buf_add_z(out, "{\"host\":");
    encode_json(out, host->n ? hostname_str(host) : q->asked);
    if (port)
        buf_printf(out, ",\"port\":%u", port);
    else
        buf_add_z(out, ",\"port\":null");
    add_member(out, "method", q->facts.method);
    add_member(out, "path", q->facts.path);
    buf_printf(out, ",\"allowed\":%s,\"verdict\":\"%s\"", a->allowed ? "true" : "false",
               verdicts[a->decision.verdict]);
    add_member(out, "rule", a->rule);
    add_member(out, "origin", a->decision.origin);
    add_member(out, "reason", str_from(a->reason));
    add_member(out, "remedy", str_from(a->remedy));
    add_member(out, "route", routed ? v.id : STR_NULL);
    add_member(out, "credential", gets.id);
    if (secret && more->place.n)
        add_member(out, "credential_place", more->place);
    for (size_t i = 0; i < more->n_notes; i++) {
        buf_add_z(out, i ? "," : ",\"notes\":[");
        encode_json(out, more->notes[i]);
    }
    buf_add_z(out, more->n_notes ? "]" : "");
    if (rules_wanted(q, a, &v))
        add_rules_json(out, a->decision.route);
    buf_add_c(out, '}');
}
