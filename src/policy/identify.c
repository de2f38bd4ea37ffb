#include "policy/identify.h"
#include "base/encode.h"

const char *auth_mechanism_name(enum auth_mechanism m)
{
    switch (m) {
    case AUTH_NONE:
        return "none";
    case AUTH_PROXY_AUTHORIZATION:
        return "proxy_authorization";
    case AUTH_PHANTOM_HEADER:
        return "phantom_header";
    case AUTH_PEER:
        return "peer";
    case AUTH_INHERITED:
        return "inherited";
    }
    return "none";
}

/* Whose token a candidate is. Every client is compared, whoever matched before: time tells nothing.
 */
static const struct client *whose(const struct clients *c, struct str candidate)
{
    const struct client *found = NULL;
    for (unsigned i = 0; i < c->n; i++)
        if (secret_equal(c->v[i].token, candidate) && !found)
            found = &c->v[i];
    return found;
}

/* Cut "Scheme credentials" in two; false when there is only one word. */
static bool cut_scheme(struct str value, struct str *ret_scheme, struct str *ret_rest)
{
    size_t i = 0;
    while (i < value.n && value.p[i] != ' ' && value.p[i] != '\t')
        i++;
    *ret_scheme = str_of(value.p, i);
    *ret_rest = str_trim(str_of(value.p + i, value.n - i));
    return ret_rest->n > 0;
}

/* The password of Basic credentials; the user name may be anything, and the password may hold
 * colons. */
static const struct client *whose_basic(const struct clients *c, struct str encoded)
{
    struct buf plain;
    const struct client *found = NULL;
    buf_init(&plain, LIMIT_HEAD_BYTES);
    if (decode_base64(&plain, encoded)) {
        struct str pair = buf_str(&plain);
        size_t colon = str_find(pair, ':');
        if (colon < pair.n)
            found = whose(c, str_of(pair.p + colon + 1, pair.n - colon - 1));
    }
    buf_wipe_fini(&plain);
    return found;
}

/* The first line with a scheme of ours decides; lines with another one are none of ours. */
static const struct client *by_proxy_authorization(const struct clients *c,
                                                   const struct fields *fields, bool *ret_tried)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *f = &fields->v[i];
        struct str scheme, rest;
        if (f->id != FIELD_PROXY_AUTHORIZATION)
            continue;
        bool two_words = cut_scheme(str_trim(f->value), &scheme, &rest);
        bool basic = str_eq_nocase(scheme, STR("basic"));
        if (!basic && !str_eq_nocase(scheme, STR("bearer")))
            continue;
        *ret_tried = true;
        if (!two_words)
            return NULL;
        return basic ? whose_basic(c, rest) : whose(c, rest);
    }
    return NULL;
}

/* A phantom in a credential field: bare, after Bearer or token, or as a Basic password. */
static const struct client *by_value(const struct clients *c, struct str value)
{
    struct str scheme, rest;
    if (!cut_scheme(value, &scheme, &rest))
        return whose(c, value);
    if (str_eq_nocase(scheme, STR("bearer")) || str_eq_nocase(scheme, STR("token")))
        return whose(c, rest);
    if (str_eq_nocase(scheme, STR("basic")))
        return whose_basic(c, rest);
    return whose(c, value); /* a --pass may hold blanks */
}

static const struct client *by_phantom(const struct clients *c, const struct fields *fields)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *f = &fields->v[i];
        enum field_id id = f->id;
        if (!(field_flags(id) & FIELD_F_CRED) || id == FIELD_PROXY_AUTHORIZATION)
            continue;
        if (fields_get(fields, id) != f) /* of a field that comes twice the first line decides */
            continue;
        const struct client *found = by_value(c, str_trim(f->value));
        if (found)
            return found;
    }
    return NULL;
}

void identify(const struct clients *c, enum shape shape, const struct fields *fields,
              struct identity *ret_identity)
{
    bool origin_form = shape == SHAPE_REVERSE || shape == SHAPE_LOCAL;
    bool tried = false;
    *ret_identity = (struct identity){0};
    if (c->auth_off) {
        ret_identity->client = &c->anyone;
        ret_identity->mechanism = AUTH_NONE;
        return;
    }
    ret_identity->client = by_proxy_authorization(c, fields, &tried);
    ret_identity->mechanism =
        origin_form && !tried ? AUTH_PHANTOM_HEADER : AUTH_PROXY_AUTHORIZATION;
    if (ret_identity->client)
        return;
    if (origin_form && (ret_identity->client = by_phantom(c, fields)) != NULL) {
        ret_identity->mechanism = AUTH_PHANTOM_HEADER;
        return;
    }
    ret_identity->refusal = origin_form ? ERR_UNAUTHORIZED : ERR_PROXY_AUTH;
}
