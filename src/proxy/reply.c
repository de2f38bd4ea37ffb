/* Answers of our own: every failure has one, with framing, reason and request id. */
#include "proxy/proxy_int.h"

#include "base/encode.h"
#include "credential/inject.h"
#include "credential/table.h"
#include "sys/loop.h"

static const char *reason_phrase(int status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Error";
    }
}

static bool is_connect(const struct exchange *x)
{
    return str_eq(x->request->head.method, STR("CONNECT"));
}

/* ---------------------------------------------------------------- does the connection last? */

static bool is_fatal_status(int status)
{
    return status == 400 || status == 408 || status == 414 || status == 431 || status == 505;
}

/* A refused CONNECT closes, and nothing behind it is parsed; but a 407 with nothing behind it may be tried again. */
static bool connect_lasts(const struct exchange *x, int status)
{
    return status == 407 && !h1_leg_has_rest(x->client);
}

static bool must_close(struct exchange *x, int status)
{
    const struct http_head *head = &x->request->head;

    if (x->reply_close || is_fatal_status(status) || !head->keep_alive || x->worker->draining)
        return true;
    if (is_connect(x))
        return !connect_lasts(x, status);
    if (x->client->in_done || x->request_done)
        return false;
    return head->expect_100 || h1_leg_skip(x->client) != ERR_OK;
}

/* ---------------------------------------------------------------- body */

/* A weight of nothing: not acceptable (RFC 9110 12.4.2). */
static bool has_no_weight(struct str params)
{
    struct str param;

    while (str_next(&params, ';', &param)) {
        param = str_trim(param);
        if (param.n < 3 || ascii_lower(param.p[0]) != 'q' || param.p[1] != '=' || param.p[2] != '0')
            continue;
        while (param.n && (param.p[param.n - 1] == '0' || param.p[param.n - 1] == '.'))
            param.n--;
        return param.n == 2;
    }
    return false;
}

/* One item of Accept: names this media type; not_acceptable: as one that is not wanted. */
static bool names_media(struct str item, struct str type, bool not_acceptable)
{
    size_t n = str_find(item, ';');

    return str_eq_nocase(str_trim(str_of(item.p, n)), type) &&
           has_no_weight(str_of(item.p + n, item.n - n)) == not_acceptable;
}

static bool wants_json(const struct exchange *x)
{
    const struct request *r = x->request;
    bool by_default = r->facts.shape == SHAPE_LOCAL || r->facts.shape == SHAPE_REVERSE;

    for (unsigned i = 0; i < r->head.fields.n; i++) {
        const struct field *f = &r->head.fields.v[i];
        struct str rest = f->value, item;

        if (f->id != FIELD_ACCEPT)
            continue;
        while (str_next(&rest, ',', &item)) {
            if (names_media(item, STR("application/json"), false))
                return true;
            if (names_media(item, STR("text/plain"), false) || names_media(item, STR("application/json"), true))
                by_default = false;
        }
    }
    return by_default;
}

struct str exchange_reason(struct exchange *x)
{
    struct request *r = x->request;
    struct errctx kept = {0};
    char *text = r->err.text;

    (void)err_set(&kept, r->err.code, "%s", r->decision.reason);
    if (strcmp(kept.text, text) == 0)
        text = r->decision.reason;
    inject_mask(&x->runtime->clients, text, strlen(text));
    return str_from(text);
}

static void add_member(struct buf *b, const char *name, struct str value)
{
    if (!value.n)
        return;
    if (b->n > 1)
        buf_add_c(b, ',');
    encode_json(b, str_from(name));
    buf_add_c(b, ':');
    encode_json(b, value);
}

/* The rule that let a request pass has nothing to do with an upstream that fails: only the audit names it then. */
static struct str rule_of(const struct exchange *x, enum err e)
{
    int status = err_status(e);
    return status == 502 || status == 504 ? STR_NULL : record_get(&x->record, RECORD_RULE);
}

static void json_body(struct exchange *x, enum err e, struct str id, struct buf *b)
{
    buf_add_c(b, '{');
    add_member(b, "error", str_from(err_name(e)));
    add_member(b, "reason", exchange_reason(x));
    add_member(b, "rule", rule_of(x, e));
    add_member(b, "origin", rule_of(x, e).n ? record_get(&x->record, RECORD_RULE_ORIGIN) : STR_NULL);
    add_member(b, "remedy", x->request->decision.remedy);
    add_member(b, "request_id", id);
    buf_add_z(b, "}\n");
}

static void text_body(struct exchange *x, enum err e, struct str id, struct buf *b)
{
    struct str rule = rule_of(x, e), reason = exchange_reason(x);

    buf_printf(b, "nono: %.*s (", STR_ARG(reason));
    if (rule.n)
        buf_printf(b, "rule %.*s, ", STR_ARG(rule));
    buf_printf(b, "request %.*s)\n", STR_ARG(id));
}

/* ---------------------------------------------------------------- head */

/* Coming back is of no use while the gateway runs as it does. */
static bool stays_so(const struct exchange *x, enum err e)
{
    const struct credential *c = x->request->credential;

    if (e == ERR_CREDENTIAL_UNAVAILABLE) /* not in this version, or read at start only */
        return !c || c->source == REFERENCE_ENV;
    return e == ERR_NOT_INTERCEPTED;
}

static bool add_challenge(struct exchange *x, struct fields *f, enum err e)
{
    int status = err_status(e);
    struct str seconds;

    if (status == 407)
        return fields_add(f, STR("Proxy-Authenticate"), STR("Basic realm=\"nono\"")) &&
               fields_add(f, STR("Proxy-Authenticate"), STR("Bearer realm=\"nono\""));
    if (status == 401) /* the same for every prefix; container tools take the first that they know */
        return (!credentials_ask_basic(x->runtime) || fields_add(f, STR("WWW-Authenticate"), STR("Basic realm=\"nono\""))) &&
               fields_add(f, STR("WWW-Authenticate"), STR("Bearer realm=\"nono\""));
    if (status == 503 && !stays_so(x, e))
        return fields_add(f, STR("Retry-After"), STR("1"));
    if (status == 429) {
        seconds = arena_printf(&x->arena, "%u", x->request->retry_after_s);
        return seconds.p && fields_add(f, STR("Retry-After"), seconds);
    }
    return true;
}

/* Clients show nothing of a failed CONNECT but its status line, so the reason stands there too. */
static struct str status_text(struct exchange *x, int status)
{
    struct str phrase = str_from(reason_phrase(status)), reason, full;

    if (!is_connect(x) || !x->request->err.text[0])
        return phrase;
    reason = exchange_reason(x);
    full = arena_printf(&x->arena, "%.*s: %.*s", STR_ARG(phrase), STR_ARG(reason));
    return full.p ? full : phrase;
}

/* ---------------------------------------------------------------- sending */

static void reply_over(struct exchange *x)
{
    exchange_finish(x, x->record.end, x->reply_close ? SESSION_LINGER : SESSION_KEEP);
}

void reply_on_writable(struct exchange *x)
{
    struct request *r = x->request;
    size_t taken = 0;
    enum err e = ERR_OK;

    while (e == ERR_OK && r->body.n) {
        e = leg_body(x->client, r->body, &taken);
        if (exchange_over(x))
            return;
        r->body = str_of(r->body.p + taken, r->body.n - taken);
        if (e == ERR_OK && !taken)
            return; /* on_writable follows */
    }
    if (e == ERR_OK && !x->response_done) {
        x->response_done = true;
        e = leg_end(x->client, NULL);
    }
    if (exchange_over(x))
        return;
    if (e != ERR_OK && e != ERR_AGAIN)
        exchange_finish(x, x->record.end, SESSION_CLOSE);
    else if (x->client->out_done && (x->reply_close || x->request_done || x->client->in_done))
        reply_over(x);
}

static void send_reply(struct exchange *x, struct http_head *head, struct str body)
{
    struct request *r = x->request;
    bool no_body = str_eq(r->head.method, STR("HEAD")) || head->status == 204;
    struct str extra = x->reply_close               ? STR("Connection: close\r\n")
                       : r->head.minor == 0 && r->head.method.n ? STR("Connection: keep-alive\r\n")
                                                                : STR("");

    head->minor = 1;
    head->framing = no_body ? FRAMING_NONE : FRAMING_LENGTH;
    head->length = body.n;
    r->body = no_body ? STR_NULL : body;
    x->response_started = true;
    if (leg_head(x->client, head, extra, no_body || !body.n) != ERR_OK)
        exchange_finish(x, x->record.end, SESSION_CLOSE);
    else
        reply_on_writable(x);
}

/* Into REPLY with the record written: whoever vanishes now changes nothing of it. */
static void enter_reply(struct exchange *x, enum err e, int status, size_t body_n)
{
    exchange_release_upstream(x);
    x->reply_close = must_close(x, status);
    exchange_set_state(x, EXCH_REPLY);
    timer_set(exchange_loop(x), &x->timer, LIMIT_TIMEOUT_REPLY);
    x->record.status = (uint16_t)status;
    x->record.response_bytes = body_n;
    exchange_record(x, e);
}

static void refuse_with(struct exchange *x, enum err e, struct str body, bool json)
{
    int status = err_status(e);
    struct field v[8];
    struct http_head head = {.status = (uint16_t)status, .fields = {.v = v, .cap = ARRAY_LEN(v)}};
    struct str length;
    bool is_head = str_eq(x->request->head.method, STR("HEAD"));

    enter_reply(x, e, status, is_head ? 0 : body.n);
    head.reason = status_text(x, status);
    length = arena_printf(&x->arena, "%zu", body.n);
    if (!fields_add(&head.fields, STR("Content-Type"), json ? STR("application/json") : STR("text/plain")) ||
        !add_challenge(x, &head.fields, e) ||
        (is_head && length.p && !fields_add(&head.fields, STR("Content-Length"), length))) {
        exchange_finish(x, e, SESSION_CLOSE);
        return;
    }
    send_reply(x, &head, body);
}

void exchange_refuse(struct exchange *x, enum err e)
{
    char id[24];
    struct buf b;
    struct str body;
    bool json;

    if (x->response_started || !err_status(e)) {
        exchange_abort(x, x->response_started ? ERR_UPSTREAM_ABORTED : e);
        return;
    }
    if (!x->request->err.text[0])
        (void)err_set(&x->request->err, e, "%s", e == ERR_NOMEM ? "the gateway is out of memory" : err_name(e));
    json = wants_json(x);
    audit_id(id, 'r', x->record.request_number);
    buf_init(&b, 8192);
    if (json)
        json_body(x, e, str_from(id), &b);
    else
        text_body(x, e, str_from(id), &b);
    body = buf_ok(&b) ? arena_str(&x->arena, buf_str(&b)) : STR_NULL;
    buf_fini(&b);
    refuse_with(x, e, body.p ? body : STR(""), json);
}

void exchange_refuse_nomem(struct exchange *x)
{
    (void)err_set(&x->request->err, ERR_NOMEM, "the gateway is out of memory");
    exchange_refuse(x, ERR_NOMEM);
}

void exchange_answer_local(struct exchange *x)
{
    struct request *r = x->request;
    const struct facts *f = &r->facts;

    if (str_eq(r->head.method, STR("OPTIONS")) && str_eq(r->head.target, STR("*"))) {
        reply_options(x);
        return;
    }
    policy_decide(x->runtime->policy, f, &r->decision);
    if (r->decision.refusal == ERR_TRACE_REFUSED) {
        record_text(&x->record, RECORD_RULE, r->decision.rule);
        (void)err_set(&r->err, ERR_TRACE_REFUSED, "%s", r->decision.reason);
        exchange_refuse(x, ERR_TRACE_REFUSED);
        return;
    }
    struct decision none; /* policy knows what to say of a service that it has not got */
    policy_decide(x->runtime->policy, f, &none);
    (void)err_set(&r->err, none.refusal, "%s", none.reason);
    exchange_refuse(x, none.refusal);
}

void reply_options(struct exchange *x)
{
    struct field v[2];
    struct http_head head = {.status = 204, .reason = STR("No Content"),
                             .fields = {.v = v, .cap = ARRAY_LEN(v)}};

    enter_reply(x, ERR_OK, 204, 0);
    if (!fields_add(&head.fields, STR("Allow"), STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT")))
        UNREACHABLE("two fields have room for one");
    send_reply(x, &head, STR(""));
}
