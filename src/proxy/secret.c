/* What a credential adds to the stages: where the phantom stands (2), the target without it (3), the version that is used (6), and what
 * goes into the head (8). What an upstream's 401 leads to is in retry.c. */
#include "proxy/proxy_int.h"

#include "credential/inject.h"
#include "credential/phantom.h"
#include "credential/table.h"
#include "credential/vault.h"
#include "http/hop.h"

/* ---------------------------------------------------------------- 2: the phantom's place */

const struct phantom_place *secret_place(const struct exchange *x, struct phantom_place *room)
{
    const struct facts *f = &x->request->facts;
    const struct credential *c;
    const struct route *route;
    struct route_view v;

    if (f->shape != SHAPE_REVERSE || !credentials_count(x->runtime))
        return NULL;
    route = policy_route_by_prefix(x->runtime->policy, f->prefix);
    if (!route)
        return NULL;
    route_view(route, &v);
    c = credentials_at(x->runtime, (int)v.index);
    if (!c)
        return NULL;
    phantom_place_of(c, room);
    return room;
}

/* ---------------------------------------------------------------- 3: the target without it */

static enum err clean_with(struct exchange *x, const struct credential *c, struct str path)
{
    struct request *r = x->request;
    struct phantom_target t;
    enum err e = phantom_clean(&x->arena, &x->runtime->clients, c, path, r->facts.query, &t, &r->err);

    if (e != ERR_OK)
        return e;
    r->facts.path = t.path;
    r->facts.query = t.query;
    r->secret_at = t.secret_at;
    if (t.path.p != path.p)
        exchange_record_masked(x, RECORD_PATH, t.path);
    return ERR_OK;
}

/* A reverse request names its credential before it is judged; so what is judged, logged and asked about holds no phantom. */
enum err secret_clean_reverse(struct exchange *x)
{
    struct request *r = x->request;
    const struct route *route;
    struct route_view v;
    const struct credential *c;

    if (r->facts.shape != SHAPE_REVERSE || !credentials_count(x->runtime))
        return ERR_OK;
    route = policy_route_by_prefix(x->runtime->policy, r->facts.prefix);
    if (!route)
        return ERR_OK;
    route_view(route, &v);
    c = credentials_at(x->runtime, (int)v.index);
    return c ? clean_with(x, c, r->facts.path) : ERR_OK;
}

/* Whether a client's token in an absolute target may be where its route wants it. */
bool secret_may_hide(const struct exchange *x)
{
    enum shape shape = x->request->facts.shape;

    return shape == SHAPE_FORWARD && credentials_count(x->runtime);
}

/* Any other request is known to be a route's when it was judged; without its phantom it is another one, and is judged again. */
enum err secret_clean_forward(struct exchange *x, bool *ret_changed)
{
    struct request *r = x->request;
    struct facts *f = &r->facts;
    struct str path = f->path, query = f->query, base;
    struct route_view v;
    enum err e;

    if (f->shape != SHAPE_FORWARD || !r->credential)
        return ERR_OK;
    policy_route_view(x->runtime->policy, (size_t)r->decision.credential, &v);
    base = str_starts(path, v.base_path) ? v.base_path : STR("");
    path = str_of(path.p + base.n, path.n - base.n);
    e = clean_with(x, r->credential, path.n ? path : STR("/"));
    if (e != ERR_OK)
        return e;
    *ret_changed = f->path.p != path.p || f->query.p != query.p || f->query.n != query.n;
    if (!*ret_changed) {
        f->path = str_of(path.p - base.n, path.n + base.n);
        return ERR_OK;
    }
    f->path = arena_printf(&x->arena, "%.*s%.*s", STR_ARG(base), STR_ARG(f->path));
    r->secret_at += base.n;
    r->head.target = arena_printf(&x->arena, "%.*s%s%.*s", STR_ARG(f->path), f->query.p ? "?" : "",
                                  STR_ARG(f->query));
    exchange_record_masked(x, RECORD_PATH, f->path);
    return f->path.p && r->head.target.p ? ERR_OK
                                         : err_set(&r->err, ERR_NOMEM, "the gateway is out of memory");
}

/* ---------------------------------------------------------------- without authentication: no browsers (decision C3) */

static bool is_container_host(struct str name)
{
    return str_eq(name, STR("host.docker.internal")) || str_eq(name, STR("gateway.docker.internal")) ||
           str_eq(name, STR("host.containers.internal"));
}

static bool is_own_name(const struct exchange *x, const struct hostname *host)
{
    const struct shared *sh = x->worker->shared;

    if (host->is_address && address_kind(&host->address) == ADDRESS_LOOPBACK)
        return true;
    if (!host->is_address && (hostname_is_localhost(host) || is_container_host(hostname_str(host))))
        return true;
    for (unsigned i = 0; host->is_address && i < sh->n_points; i++)
        if (!sh->points[i].is_unix && address_eq(&sh->points[i].address, &host->address))
            return true;
    for (size_t i = 0; i < x->runtime->n_server_names; i++)
        if (hostname_eq(&x->runtime->server_names[i], host))
            return true;
    return false;
}

static bool parse_authority(struct str text, struct hostname *ret_host, uint16_t *ret_port)
{
    struct errctx ctx = {0};

    return target_parse_host(text, ret_host, ret_port, &ctx) == ERR_OK;
}

static bool is_own_origin(const struct exchange *x, struct str origin)
{
    const struct shared *sh = x->worker->shared;
    struct str mark = STR("://");
    const char *at = origin.n ? memmem(origin.p, origin.n, mark.p, mark.n) : NULL;
    struct hostname host;
    uint16_t port;

    if (!at)
        return false; /* "null" too */
    at += mark.n;
    if (!parse_authority(str_of(at, origin.n - (size_t)(at - origin.p)), &host, &port) || !is_own_name(x, &host))
        return false;
    for (unsigned i = 0; i < sh->n_points; i++)
        if (sh->points[i].port == (port ? port : 80))
            return true;
    return false;
}

enum err secret_refuse_browser(struct exchange *x)
{
    struct request *r = x->request;
    const struct field *host = fields_get(&r->head.fields, FIELD_HOST);
    struct hostname name;
    uint16_t port;

    if (!x->runtime->clients.auth_off || !r->credential)
        return ERR_OK;
    for (unsigned i = 0; i < r->head.fields.n; i++)
        if (r->head.fields.v[i].id == FIELD_ORIGIN && !is_own_origin(x, r->head.fields.v[i].value))
            return err_set(&r->err, ERR_BROWSER_REFUSED,
                           "a web page may not use the credential of route %.*s: authentication is off, and the "
                           "Origin is not this gateway's",
                           STR_ARG(r->credential->id));
    if (r->facts.shape == SHAPE_FORWARD || !host) /* only HTTP/1.0 comes without; no browser does */
        return ERR_OK;
    if (parse_authority(host->value, &name, &port) && is_own_name(x, &name))
        return ERR_OK;
    return err_set(&r->err, ERR_BROWSER_REFUSED,
                   "the Host of this request is no name of this gateway, and authentication is off: for the credential of "
                   "route %.*s name it with --server-name",
                   STR_ARG(r->credential->id));
}

/* ---------------------------------------------------------------- 6: a version that is valid now */

static const char *mode_word(enum inject_mode m)
{
    static const char *const words[] = {[INJECT_HEADER] = "header",
                                        [INJECT_URL_PATH] = "url_path",
                                        [INJECT_QUERY_PARAM] = "query_param",
                                        [INJECT_BASIC_AUTH] = "basic_auth"};
    return words[m];
}

void secret_record(struct exchange *x)
{
    struct request *r = x->request;
    struct route_view v;

    if (r->decision.route) {
        route_view(r->decision.route, &v);
        record_text(&x->record, RECORD_UPSTREAM, v.upstream);
    }
    if (!r->credential)
        return;
    record_text(&x->record, RECORD_CREDENTIAL_ID, r->credential->id);
    record_text(&x->record, RECORD_INJECTION_MODE, str_from(mode_word(r->credential->conf->inject_mode)));
}

enum err secret_choose(struct exchange *x)
{
    struct request *r = x->request;

    r->credential = credentials_at(x->runtime, r->decision.credential);
    if (r->decision.credential < 0 || r->credential)
        return ERR_OK;
    return err_set(&r->err, ERR_CREDENTIAL_UNAVAILABLE, "the credential of this route is not in this version");
}

/* Path below the upstream's base path, with its query. */
static bool make_question(struct exchange *x, struct question *ret_question)
{
    struct request *r = x->request;
    struct str path = r->head.target;
    struct route_view v;

    policy_route_view(x->runtime->policy, (size_t)r->decision.credential, &v);
    if (str_starts(path, v.base_path))
        path = str_of(path.p + v.base_path.n, path.n - v.base_path.n);
    *ret_question = (struct question){.method = r->head.method,
                                      .host = hostname_str(&r->facts.host),
                                      .path = path.n && path.p[0] == '/' ? path
                                                                         : arena_printf(&x->arena, "/%.*s", STR_ARG(path)),
                                      .route = v.id};
    return ret_question->path.p != NULL;
}

static enum err unavailable(struct exchange *x, enum err e, const char *why)
{
    struct str id = x->request->credential->id;

    return err_set(&x->request->err, e, "the credential of route %.*s cannot be used: %s", id.n > 60 ? 60 : (int)id.n,
                   id.p, why);
}

void secret_use(struct exchange *x, struct material *m)
{
    struct request *r = x->request;

    material_unref(r->material);
    r->material = m;
    x->record.credential_version = m->version;
}

static void on_material(void *owner, enum err e, struct material *m, const char *sentence)
{
    struct exchange *x = owner;

    x->request->vault_wait = NULL;
    hold_unpark(x);
    exchange_wait_end(x);
    if (e != ERR_OK) {
        exchange_refuse(x, unavailable(x, e == ERR_CANCELLED ? ERR_CREDENTIAL_UNAVAILABLE : e, sentence));
        return;
    }
    secret_use(x, material_ref(m));
    exchange_credential_done(x);
}

static bool known_bad(struct exchange *x)
{
    struct request *r = x->request;
    struct errctx why = {0};

    if (!r->credential || !x->worker->vault || !make_question(x, &r->question) ||
        !vault_known_bad(x->worker->vault, r->credential, &r->question, &why))
        return false;
    (void)unavailable(x, ERR_CREDENTIAL_UNAVAILABLE, why.text);
    return true;
}

/* The head as it would be sent, as far as that can be told now. */
static enum err look_at_head(struct exchange *x)
{
    struct request *r = x->request;
    struct http_head head = r->head;

    head.fields.v = arena_alloc(&x->arena, head.fields.n * sizeof(*head.fields.v) + 1);
    if (!head.fields.v)
        return err_set(&r->err, ERR_NOMEM, "the gateway is out of memory");
    if (head.fields.n)
        memcpy(head.fields.v, r->head.fields.v, head.fields.n * sizeof(*head.fields.v));
    hop_strip(&head);
    return inject_look(&x->runtime->clients, r->credential, &head, &r->err);
}

enum err secret_foresee(struct exchange *x)
{
    struct request *r = x->request;
    enum err e = look_at_head(x);

    if (e != ERR_OK || !r->credential)
        return e;
    if (known_bad(x))
        return ERR_CREDENTIAL_UNAVAILABLE;
    if (!reference_at_hand(r->credential->source))
        return ERR_OK;
    e = secret_get(x);
    if (e == ERR_OK) { /* who is asked may take his time: then it is read anew */
        material_unref(r->material);
        r->material = NULL;
        x->record.credential_version = 0;
    }
    return e;
}

enum err secret_get(struct exchange *x)
{
    struct request *r = x->request;
    struct material *m = NULL;
    struct errctx why = {0};
    enum err e;

    if (!r->credential || r->material)
        return ERR_OK;
    if (!x->worker->vault)
        return unavailable(x, ERR_CREDENTIAL_UNAVAILABLE, "nothing here asks its source");
    if (!make_question(x, &r->question))
        return err_set(&r->err, ERR_NOMEM, "the gateway is out of memory");
    exchange_wait_begin(x);
    e = vault_get(x->worker->vault, x->runtime, r->credential, &r->question, 0, on_material, x, &r->vault_wait, &m, &why);
    if (e == ERR_AGAIN) {
        hold_park(x);
        return e;
    }
    exchange_wait_end(x);
    if (e != ERR_OK)
        return unavailable(x, e, why.text[0] ? why.text : err_name(e));
    secret_use(x, m);
    return ERR_OK;
}

/* ---------------------------------------------------------------- 8: into the head */

/* Never in the clear but to loopback (decision K7). */
static enum err must_be_safe(struct exchange *x)
{
    struct request *r = x->request;

    if (!r->credential || r->facts.scheme == SCHEME_HTTPS ||
        (!r->decision.chained && address_kind(&x->up->peer.address) == ADDRESS_LOOPBACK))
        return ERR_OK;
    return err_set(&r->err, ERR_CONNECT_FAILED,
                   "the upstream of route %.*s is plain http and not on this machine: its credential does not go there",
                   STR_ARG(r->credential->id));
}

enum err secret_inject(struct exchange *x, struct http_head *head, struct buf *secret)
{
    struct request *r = x->request;
    struct injection in = {.clients = &x->runtime->clients,
                           .decision = &r->decision,
                           .credential = r->credential,
                           .material = r->material,
                           .secret_at = r->secret_at,
                           .arena = &x->arena};
    enum err e = must_be_safe(x);

    if (e == ERR_OK)
        e = inject(&in, head, secret, &r->err);
    if (e == ERR_OK && r->credential) {
        x->up->leg->secret_out = true;
        x->record.credential_active = true;
    }
    return e;
}

void secret_release(struct request *r)
{
    vault_cancel(r->vault_wait);
    r->vault_wait = NULL;
    material_unref(r->material);
    r->material = NULL;
}
