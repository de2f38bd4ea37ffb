/* Who is asking. Authentication comes before every other judgement (decision C1). Pure but for constant-time secret comparison. */
#pragma once
#include "base/secret.h"
#include "http/fields.h"
#include "policy/facts.h"

/* One who may use the gateway. This issue has one; profiles will bring more. */
struct client {
    struct str name;       /* empty: unnamed */
    struct secret *token;  /* session token or --pass */
};

struct clients {
    bool auth_off; /* --no-auth: everybody is `anyone` */
    struct client *v;
    unsigned n;
    struct client anyone;
};

enum auth_mechanism {
    AUTH_NONE, AUTH_PROXY_AUTHORIZATION, AUTH_PHANTOM_HEADER, AUTH_PEER, AUTH_INHERITED, AUTH_PHANTOM_PATH, AUTH_PHANTOM_QUERY
};
const char *auth_mechanism_name(enum auth_mechanism m); /* "proxy_authorization", "phantom_header", … "none" */

/* Where a route expects the phantom (decision C2). Texts are borrowed. */
enum phantom_kind { PHANTOM_NONE, PHANTOM_HEADER, PHANTOM_BASIC, PHANTOM_PATH, PHANTOM_QUERY };
struct phantom_place {
    enum phantom_kind kind; /* PHANTOM_NONE: the fields of decision K9 alone */
    struct str header;      /* HEADER, BASIC */
    struct str format;      /* HEADER: "token {}", accepted besides the bare token and "Bearer" */
    struct str pattern;     /* PATH: holds one "{}" */
    struct str param;       /* QUERY: its name, byte for byte */
};

struct identity {
    const struct client *client; /* NULL: refuse with `refusal` */
    enum auth_mechanism mechanism; /* what was tried or asked for */
    enum err refusal; /* ERR_PROXY_AUTH for CONNECT and absolute form, ERR_UNAUTHORIZED for origin form */
};
/* Proxy-Authorization: Basic (any user name, password compared) or Bearer; the first field line with either scheme decides. For origin
 * form, also a token in any field of decision K9: bare, after Bearer or token, or as a Basic password. Lines in any case, OWS as RFC 9110. */
void identify(const struct clients *c, enum shape shape, const struct fields *fields, struct identity *ret_identity) NONNULL(1, 3, 4);
/* The same for a reverse route that says where its phantom stands; place NULL: as above. */
void identify_at(const struct clients *c, const struct facts *f, const struct phantom_place *place, const struct fields *fields,
                 struct identity *ret_identity) NONNULL(1, 2, 4, 5);

/* What stands for the "{}" of a pattern: behind the first occurrence of what is before "{}", up to what is behind it (nothing: to the next
 * slash or the end). False: the path does not fit. */
bool phantom_in_path(struct str pattern, struct str path, size_t *ret_at, size_t *ret_n) MUST_CHECK;
/* Whether that is the name of the parameter for a server: escapes are read (K9: "k%65y" is "key"). */
bool phantom_is_param(struct str param, struct str name) MUST_CHECK;
/* The next parameter of that name from *at on (0 at first): its value. */
bool phantom_in_query(struct str param, struct str query, size_t *at, struct str *ret_value) MUST_CHECK;
/* Whether a text is a client's token, as it stands or percent-decoded. */
bool phantom_is(const struct clients *c, struct str text) MUST_CHECK;
