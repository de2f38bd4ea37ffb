/* How a secret gets into a head, and what of the client's goes for it. All of it is written into one buffer of its final size, which the
 * caller wipes: no copy is left behind. */
#include "base/encode.h"
#include "credential/inject_int.h"
#include <stdio.h>

static enum err no_memory(struct errctx *ctx)
{
    return err_set(ctx, ERR_NOMEM, "the gateway is out of memory");
}

static size_t holes_of(struct str format)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < format.n; i++)
        if (format.p[i] == '{' && format.p[i + 1] == '}')
            n++, i++;
    return n;
}

/* ---- what goes ---- */

static bool is_its_header(const struct credential *c, struct str name)
{
    enum inject_mode into = c->conf->inject_mode;
    return (into == INJECT_HEADER || into == INJECT_BASIC_AUTH) &&
           str_eq_nocase(name, c->conf->inject_header);
}

static bool is_set_by(const struct credential *c, const struct material *m, struct str name)
{
    if (m->secret && is_its_header(c, name))
        return true;
    for (size_t i = 0; i < m->n_fields; i++)
        if (str_eq_nocase(name, m->fields[i].name))
            return true;
    return false;
}

/* The same before the source was asked. */
static bool may_be_set_by(const struct credential *c, struct str name)
{
    for (size_t i = 0; c->capture && i < c->capture->n_allow_headers; i++)
        if (str_eq_nocase(name, c->capture->allow_headers[i]))
            return true;
    return is_its_header(c, name);
}

static bool is_place(const struct credential *c, struct str name)
{
    return (c->shown == INJECT_HEADER || c->shown == INJECT_BASIC_AUTH) &&
           str_eq_nocase(name, c->shown_header);
}

void inject_drop(const struct clients *clients, const struct credential *c,
                 const struct material *m, struct fields *fields)
{
    bool keep = c->conf->keep_client_credentials;
    for (unsigned i = 0; i < fields->n; i++) {
        struct field *f = &fields->v[i];
        bool own = field_flags(f->id) & FIELD_F_CRED;
        if ((m ? is_set_by(c, m, f->name) : may_be_set_by(c, f->name)) ||
            (own && (!keep || inject_value_leaks(clients, f->value))) ||
            (is_place(c, f->name) && (!own || !keep)))
            f->drop = true;
    }
}

void inject_clean_trailers(const struct credential *c, const struct material *m, const struct fields *trailers)
{
    for (unsigned i = 0; i < trailers->n; i++)
        if (is_set_by(c, m, trailers->v[i].name) || is_place(c, trailers->v[i].name))
            trailers->v[i].drop = true;
}

/* ---- fields ---- */

static bool make_room(struct arena *a, struct fields *f, size_t more)
{
    size_t cap = f->n + more;
    if (cap <= f->cap)
        return true;
    struct field *v = arena_alloc(a, cap * sizeof(*v));
    if (!v || cap > UINT16_MAX)
        return false;
    memcpy(v, f->v, f->n * sizeof(*v));
    f->v = v;
    f->cap = (uint16_t)cap;
    return true;
}

/* The format with every "{}" replaced; room is there. */
static struct str put_format(struct buf *out, struct str format, struct str value)
{
    size_t start = out->n;
    while (format.n) {
        const char *hole = memmem(format.p, format.n, "{}", 2);
        size_t n = hole ? (size_t)(hole - format.p) : format.n;
        buf_add_str(out, str_of(format.p, n));
        if (!hole)
            break;
        buf_add_str(out, value);
        format = str_of(hole + 2, format.n - n - 2);
    }
    return str_of(out->p + start, out->n - start);
}

static enum err put_header(const struct injection *in, struct http_head *head, struct buf *out,
                           struct errctx *ctx)
{
    const struct service_conf *conf = in->credential->conf;
    struct str secret = secret_borrow(in->material->secret), value;
    if (!make_room(in->arena, &head->fields, 1) ||
        !buf_reserve(out, conf->credential_format.n + 16 + secret.n * 4 / 3 +
                              holes_of(conf->credential_format) * secret.n))
        return no_memory(ctx);
    if (conf->inject_mode == INJECT_BASIC_AUTH) {
        buf_add_z(out, "Basic ");
        encode_base64(out, secret);
        value = buf_str(out);
    } else {
        value = put_format(out, conf->credential_format, secret);
    }
    return buf_ok(out) && fields_add(&head->fields, conf->inject_header, str_trim(value))
               ? ERR_OK
               : no_memory(ctx);
}

/* What a helper answered: named fields, each with its value. */
static enum err put_fields(const struct injection *in, struct http_head *head, struct errctx *ctx)
{
    const struct material *m = in->material;
    if (!make_room(in->arena, &head->fields, m->n_fields))
        return no_memory(ctx);
    for (size_t i = 0; i < m->n_fields; i++)
        if (!fields_add(&head->fields, m->fields[i].name, secret_borrow(m->fields[i].value)))
            return no_memory(ctx);
    return ERR_OK;
}

/* ---- target ---- */

static enum err no_secret(const struct injection *in, const char *place, struct errctx *ctx)
{
    return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                   "credential %.*s yields header fields, but its route puts one secret into the "
                   "%s",
                   STR_ARG(in->credential->id), place);
}

/* A segment that servers would take for a step up or none. */
static bool makes_dots(struct str target, size_t at, struct str secret)
{
    bool dots = str_eq(secret, STR(".")) || str_eq(secret, STR(".."));
    bool begins = at == 0 || target.p[at - 1] == '/';
    bool ends = at + 2 >= target.n || target.p[at + 2] == '/' || target.p[at + 2] == '?';
    return dots && begins && ends;
}

/* As one segment: whatever is in the secret, it stays one. What may stand there goes as it is: the token of a
 * Telegram bot has a colon, and its API compares bytes. */
static enum err put_path(const struct injection *in, struct http_head *head, struct buf *out,
                         struct errctx *ctx)
{
    struct str target = head->target;
    size_t at = in->secret_at;
    if (!in->material->secret)
        return no_secret(in, "path", ctx);
    struct str secret = secret_borrow(in->material->secret);
    if (at + 2 > target.n || memcmp(target.p + at, "{}", 2) != 0)
        return err_set(ctx, ERR_INTERNAL, "the place of the secret in the path was lost");
    if (makes_dots(target, at, secret))
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "the secret of credential %.*s cannot stand in a path",
                       STR_ARG(in->credential->id));
    if (!buf_reserve(out, target.n + 3 * secret.n))
        return no_memory(ctx);
    buf_add_str(out, str_of(target.p, at));
    encode_segment(out, secret);
    buf_add_str(out, str_of(target.p + at + 2, target.n - at - 2));
    head->target = buf_str(out);
    return ERR_OK;
}

static size_t count_params(struct str param, struct str query)
{
    size_t n = 0, at = 0;
    struct str value;
    while (phantom_in_query(param, query, &at, &value))
        n++;
    return n;
}

static void put_params(struct buf *out, struct str param, struct str query, struct str secret)
{
    size_t at = 0, from = 0;
    struct str value;
    while (phantom_in_query(param, query, &at, &value)) {
        size_t end = (size_t)(value.p - query.p);
        buf_add_str(out, str_of(query.p + from, end - from));
        encode_percent(out, secret);
        from = end + value.n;
    }
    buf_add_str(out, str_of(query.p + from, query.n - from));
}

/* Every parameter of that name gets the secret; where there is none it is added. */
static enum err put_query(const struct injection *in, struct http_head *head, struct buf *out,
                          struct errctx *ctx)
{
    struct str param = in->credential->conf->query_param_name, target = head->target;
    size_t mark = str_find(target, '?');
    struct str query = mark < target.n ? str_of(target.p + mark + 1, target.n - mark - 1) : STR("");
    size_t n = count_params(param, query);
    if (!in->material->secret)
        return no_secret(in, "query", ctx);
    struct str secret = secret_borrow(in->material->secret);
    if (!buf_reserve(out, target.n + param.n + 3 + 3 * secret.n * (n ? n : 1)))
        return no_memory(ctx);
    buf_add_str(out, str_of(target.p, mark));
    buf_add_c(out, '?');
    put_params(out, param, query, secret);
    if (!n) {
        if (query.n)
            buf_add_c(out, '&');
        buf_add_str(out, param);
        buf_add_c(out, '=');
        encode_percent(out, secret);
    }
    head->target = buf_str(out);
    return ERR_OK;
}

enum err inject_put(const struct injection *in, struct http_head *head, struct buf *out,
                    struct errctx *ctx)
{
    enum err e = ERR_OK;
    inject_drop(in->clients, in->credential, in->material, &head->fields);
    switch (in->credential->conf->inject_mode) {
    case INJECT_HEADER:
    case INJECT_BASIC_AUTH:
        e = in->material->secret ? put_header(in, head, out, ctx) : ERR_OK;
        break;
    case INJECT_URL_PATH:
        e = put_path(in, head, out, ctx);
        break;
    case INJECT_QUERY_PARAM:
        e = put_query(in, head, out, ctx);
        break;
    }
    if (!e)
        e = put_fields(in, head, ctx);
    if (!e && !buf_ok(out))
        e = no_memory(ctx);
    return e;
}
