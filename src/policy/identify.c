#include "policy/identify.h"
#include "base/encode.h"
#include "base/mem.h"

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
    case AUTH_PHANTOM_PATH:
        return "phantom_path";
    case AUTH_PHANTOM_QUERY:
        return "phantom_query";
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
static const struct client *whose_pair(const struct clients *c, struct str pair)
{
    size_t colon = str_find(pair, ':');
    return colon < pair.n ? whose(c, str_of(pair.p + colon + 1, pair.n - colon - 1)) : NULL;
}

/* Longer than usual: decoded in memory of its own. */
static const struct client *whose_long_basic(const struct clients *c, struct str encoded)
{
    struct buf plain;
    buf_init(&plain, LIMIT_HEAD_BYTES);
    const struct client *found =
        decode_base64(&plain, encoded) ? whose_pair(c, buf_str(&plain)) : NULL;
    buf_wipe_fini(&plain);
    return found;
}

static const struct client *whose_basic(const struct clients *c, struct str encoded)
{
    enum { USUAL_BYTES = 192 };
    char room[USUAL_BYTES];
    struct buf plain = {.p = room, .cap_ = sizeof(room), .max_ = sizeof(room)};
    if (encoded.n > USUAL_BYTES)
        return whose_long_basic(c, encoded);
    const struct client *found =
        decode_base64(&plain, encoded) ? whose_pair(c, buf_str(&plain)) : NULL;
    mem_wipe(room, encoded.n); /* also what was decoded before it turned out wrong */
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

/* ---- the place that a route names ---- */

bool phantom_in_path(struct str pattern, struct str path, size_t *ret_at, size_t *ret_n)
{
    const char *mark = pattern.n ? memmem(pattern.p, pattern.n, "{}", 2) : NULL;
    if (!mark || !path.n)
        return false;
    size_t hole = (size_t)(mark - pattern.p);
    struct str behind = str_of(pattern.p + hole + 2, pattern.n - hole - 2);
    const char *found = hole ? memmem(path.p, path.n, pattern.p, hole) : path.p;
    if (!found)
        return false;
    size_t at = (size_t)(found - path.p) + hole;
    struct str rest = str_of(path.p + at, path.n - at);
    size_t n = str_find(rest, '/');
    if (behind.n) {
        const char *end = rest.n ? memmem(rest.p, rest.n, behind.p, behind.n) : NULL;
        if (!end)
            return false;
        n = (size_t)(end - rest.p);
    }
    *ret_at = at;
    *ret_n = n;
    return true;
}

bool phantom_is_param(struct str param, struct str name)
{
    size_t i = 0, k = 0;
    if (str_eq(name, param))
        return true;
    while (k < param.n && i < name.n && decode_percent_at(name, &i) == param.p[k])
        k++;
    return k == param.n && i == name.n;
}

bool phantom_in_query(struct str param, struct str query, size_t *at, struct str *ret_value)
{
    while (*at < query.n) {
        struct str rest = str_of(query.p + *at, query.n - *at);
        struct str pair = str_of(rest.p, str_find(rest, '&'));
        *at += pair.n + 1;
        size_t eq = str_find(pair, '=');
        if (eq < pair.n && phantom_is_param(param, str_of(pair.p, eq))) {
            *ret_value = str_of(pair.p + eq + 1, pair.n - eq - 1);
            return true;
        }
    }
    return false;
}

static const struct client *whose_encoded(const struct clients *c, struct str text)
{
    const struct client *found = whose(c, text);
    struct buf plain;
    if (found || str_find(text, '%') == text.n)
        return found;
    buf_init(&plain, LIMIT_HEAD_BYTES);
    if (decode_percent(&plain, text) && buf_ok(&plain))
        found = whose(c, buf_str(&plain));
    buf_wipe_fini(&plain);
    return found;
}

bool phantom_is(const struct clients *c, struct str text)
{
    return whose_encoded(c, text) != NULL;
}

/* Cut "literal" off the front, in any case. */
static bool skip_literal(struct str *value, struct str literal)
{
    if (value->n < literal.n || !str_eq_nocase(str_of(value->p, literal.n), literal))
        return false;
    *value = str_of(value->p + literal.n, value->n - literal.n);
    return true;
}

/* How long each "{}" of a format is in a value of n bytes; false: none can be. */
static bool hole_size(struct str format, size_t n, size_t *ret_n)
{
    size_t holes = 0;
    for (size_t i = 0; i + 1 < format.n; i++)
        if (format.p[i] == '{' && format.p[i + 1] == '}')
            holes++, i++;
    size_t literal = format.n - 2 * holes;
    if (!holes || n < literal || (n - literal) % holes)
        return false;
    *ret_n = (n - literal) / holes;
    return true;
}

/* A value in the form of credential_format, the same token at every "{}". */
static const struct client *by_format(const struct clients *c, struct str format, struct str value)
{
    const struct client *found = NULL;
    size_t n;
    if (!hole_size(format, value.n, &n))
        return NULL;
    while (format.n) {
        const char *hole = memmem(format.p, format.n, "{}", 2);
        size_t literal = hole ? (size_t)(hole - format.p) : format.n;
        if (!skip_literal(&value, str_of(format.p, literal)))
            return NULL;
        format = str_of(format.p + literal, format.n - literal);
        if (!hole)
            break;
        const struct client *this = whose(c, str_of(value.p, n));
        if (!this || (found && found != this))
            return NULL;
        found = this;
        value = str_of(value.p + n, value.n - n);
        format = str_of(format.p + 2, format.n - 2);
    }
    return found;
}

static const struct client *by_place_header(const struct clients *c,
                                            const struct phantom_place *place,
                                            const struct fields *fields)
{
    const struct field *f = fields_get_name(fields, place->header);
    if (!f)
        return NULL;
    struct str value = str_trim(f->value);
    const struct client *found = by_value(c, value);
    return found || place->kind == PHANTOM_BASIC ? found : by_format(c, place->format, value);
}

static const struct client *by_place(const struct clients *c, const struct phantom_place *place,
                                     const struct facts *f, const struct fields *fields)
{
    size_t at = 0, n;
    struct str value;
    switch (place->kind) {
    case PHANTOM_HEADER:
    case PHANTOM_BASIC:
        return by_place_header(c, place, fields);
    case PHANTOM_PATH:
        if (!phantom_in_path(place->pattern, f->path, &at, &n))
            return NULL;
        return whose_encoded(c, str_of(f->path.p + at, n));
    case PHANTOM_QUERY:
        if (!phantom_in_query(place->param, f->query, &at, &value))
            return NULL;
        return whose_encoded(c, value);
    case PHANTOM_NONE:
        break;
    }
    return NULL;
}

static enum auth_mechanism mechanism_of(const struct phantom_place *place)
{
    return !place                        ? AUTH_PHANTOM_HEADER
           : place->kind == PHANTOM_PATH  ? AUTH_PHANTOM_PATH
           : place->kind == PHANTOM_QUERY ? AUTH_PHANTOM_QUERY
                                          : AUTH_PHANTOM_HEADER;
}

void identify_at(const struct clients *c, const struct facts *f, const struct phantom_place *place,
                 const struct fields *fields, struct identity *ret_identity)
{
    bool origin_form = f->shape == SHAPE_REVERSE || f->shape == SHAPE_LOCAL;
    bool tried = false;
    *ret_identity = (struct identity){0};
    if (c->auth_off) {
        ret_identity->client = &c->anyone;
        ret_identity->mechanism = AUTH_NONE;
        return;
    }
    ret_identity->client = by_proxy_authorization(c, fields, &tried);
    ret_identity->mechanism =
        origin_form && !tried ? mechanism_of(place) : AUTH_PROXY_AUTHORIZATION;
    if (ret_identity->client)
        return;
    if (origin_form && place && (ret_identity->client = by_place(c, place, f, fields)) != NULL) {
        ret_identity->mechanism = mechanism_of(place);
        return;
    }
    if (origin_form && (ret_identity->client = by_phantom(c, fields)) != NULL) {
        ret_identity->mechanism = AUTH_PHANTOM_HEADER;
        return;
    }
    ret_identity->refusal = origin_form ? ERR_UNAUTHORIZED : ERR_PROXY_AUTH;
}

void identify(const struct clients *c, enum shape shape, const struct fields *fields,
              struct identity *ret_identity)
{
    struct facts f = {.shape = shape};
    identify_at(c, &f, NULL, fields, ret_identity);
}
