#include "proxy/proxy_int.h"

#include "credential/inject.h"
#include "net/sockaddr.h"

static bool point_is(const struct listen_point *p, const struct address *a)
{
    struct sock_addr at;

    if (address_eq(&p->address, a))
        return true;
    if (!p->wildcard)
        return false;
    if (address_kind(a) == ADDRESS_LOOPBACK)
        return true;
    at = sockaddr_from_address(a, 0); /* asked only for a port that we listen on */
    return sock_is_local(&at);
}

bool worker_is_own_address(void *owner, const struct address *a, uint16_t port)
{
    const struct shared *sh = ((struct worker *)owner)->shared;

    for (unsigned i = 0; i < sh->n_points; i++)
        if (!sh->points[i].is_unix && sh->points[i].port == port && point_is(&sh->points[i], a))
            return true;
    return false;
}

/* A name under which the operator's clients know this gateway, at a port that it listens on. */
static bool is_server_name(const struct exchange *x, const struct hostname *host, uint16_t port)
{
    const struct shared *sh = x->worker->shared;
    bool port_ours = false, loopback = false;

    for (unsigned i = 0; i < sh->n_points; i++) {
        const struct listen_point *p = &sh->points[i];

        if (p->is_unix || p->port != port)
            continue;
        port_ours = true;
        loopback |= p->wildcard || address_kind(&p->address) == ADDRESS_LOOPBACK;
    }
    if (port_ours && loopback && str_eq(hostname_str(host), STR("localhost")))
        return true;
    for (size_t i = 0; i < x->runtime->n_server_names; i++)
        if (hostname_eq(&x->runtime->server_names[i], host) &&
            (port_ours || sh->points[x->session->listener].is_unix))
            return true;
    return false;
}

bool classify_is_self(const struct exchange *x, const struct hostname *host, uint16_t port)
{
    if (host->is_address)
        return worker_is_own_address(x->worker, &host->address, port);
    return is_server_name(x, host, port);
}

void exchange_record_masked(struct exchange *x, enum record_text which, struct str value)
{
    char *copy;

    if (!inject_target_leaks(&x->runtime->clients, value)) {
        record_text(&x->record, which, value);
        return;
    }
    copy = arena_alloc(&x->arena, value.n);
    if (!copy)
        return;
    memcpy(copy, value.p, value.n);
    inject_mask(&x->runtime->clients, copy, value.n);
    record_text(&x->record, which, str_of(copy, value.n));
}

static void describe_target(struct exchange *x)
{
    const struct facts *f = &x->request->facts;

    if (inject_host_leaks(&x->runtime->clients, hostname_str(&f->host)))
        exchange_record_masked(x, RECORD_TARGET, hostname_str(&f->host));
    else
        record_text(&x->record, RECORD_TARGET, hostname_str(&f->host));
    x->record.port = f->port;
    x->record.has_port = true;
}

static enum err classify_connect(struct exchange *x)
{
    struct request *r = x->request;
    struct facts *f = &r->facts;
    enum err e = target_parse_authority(r->head.target, &f->host, &f->port, &r->err);

    f->shape = SHAPE_CONNECT;
    x->record.mode = AUDIT_CONNECT;
    if (e != ERR_OK)
        return e;
    f->scheme = f->port == 443 ? SCHEME_HTTPS : SCHEME_HTTP;
    describe_target(x);
    return ERR_OK;
}

static void set_path(struct exchange *x, struct str origin)
{
    struct facts *f = &x->request->facts;

    target_split_query(origin, &f->path, &f->query);
    exchange_record_masked(x, RECORD_PATH, f->path);
    x->record.has_query = true;
    x->record.query_present = f->query.p != NULL;
}

/* "/svc/rest" and "/svc": the target is the route's, the path what is below the prefix. */
static void classify_reverse(struct exchange *x)
{
    struct facts *f = &x->request->facts;
    size_t cut = 1 + f->prefix.n;

    f->shape = SHAPE_REVERSE;
    x->record.mode = AUDIT_REVERSE;
    f->path = cut < f->path.n ? str_of(f->path.p + cut, f->path.n - cut) : STR("/");
    record_text(&x->record, RECORD_TARGET, f->prefix);
    exchange_record_masked(x, RECORD_PATH, f->path);
}

static enum err classify_origin(struct exchange *x, struct str origin)
{
    struct facts *f = &x->request->facts;
    struct str rest;

    f->shape = SHAPE_LOCAL;
    x->record.mode = AUDIT_LOCAL;
    set_path(x, origin);
    rest = str_of(f->path.p + 1, f->path.n ? f->path.n - 1 : 0);
    f->prefix = str_of(rest.p, str_find(rest, '/'));
    if (policy_route_by_prefix(x->runtime->policy, f->prefix))
        classify_reverse(x);
    return ERR_OK;
}

/* The origin-form that goes upstream: "http://h" is "/", "http://h?q" is "/?q"; OPTIONS of a whole server is "*" (RFC 9112 3.2.4). */
static struct str origin_of(struct exchange *x, struct str origin)
{
    if (origin.n && origin.p[0] == '/')
        return origin;
    if (!origin.n && str_eq(x->request->head.method, STR("OPTIONS")))
        return STR("*");
    return arena_printf(&x->arena, "/%.*s", STR_ARG(origin));
}

static enum err classify_absolute(struct exchange *x)
{
    struct request *r = x->request;
    struct facts *f = &r->facts;
    struct target_uri uri;
    enum err e = target_parse_uri(r->head.target, &uri, &r->err);

    f->shape = SHAPE_FORWARD;
    x->record.mode = AUDIT_FORWARD;
    if (e != ERR_OK)
        return e;
    f->host = uri.host;
    f->port = uri.port;
    f->scheme = uri.scheme;
    x->record.scheme = (uint8_t)uri.scheme;
    uri.origin = origin_of(x, uri.origin);
    if (!uri.origin.p)
        return err_set(&r->err, ERR_NOMEM, "the gateway is out of memory");
    r->head.target = uri.origin;
    if (classify_is_self(x, &f->host, f->port))
        return classify_origin(x, uri.origin);
    describe_target(x);
    set_path(x, uri.origin);
    return ERR_OK;
}

static enum err classify_target(struct exchange *x)
{
    struct request *r = x->request;
    struct str t = r->head.target;

    if (str_eq(r->head.method, STR("CONNECT")))
        return classify_connect(x);
    if (t.n && t.p[0] == '/')
        return classify_origin(x, t);
    if (str_eq(t, STR("*"))) {
        if (!str_eq(r->head.method, STR("OPTIONS")))
            return err_set(&r->err, ERR_BAD_REQUEST, "the target * is for OPTIONS only");
        return classify_origin(x, t);
    }
    return classify_absolute(x);
}

enum err classify(struct exchange *x, enum err head_err)
{
    struct request *r = x->request;
    struct facts *f = &r->facts;
    enum err e = classify_target(x);

    exchange_record_masked(x, RECORD_METHOD, r->head.method);
    x->record.minor = r->head.minor;
    x->record.has_version = true;
    if (e != ERR_OK)
        return e;
    if (head_err != ERR_OK)
        return head_err;
    f->method = r->head.method;
    f->listener = x->session->listener;
    f->scratch = x->worker->judge_scratch;
    f->scratch_size = WORKER_JUDGE_SCRATCH;
    f->now_ms = x->record.timestamp_ms;
    if (f->shape == SHAPE_CONNECT)
        return ERR_OK;
    e = hop_upgrade(&r->head, &r->upgrade, &r->err);
    f->websocket = r->upgrade == UPGRADE_WEBSOCKET;
    return e;
}
