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

enum auth_mechanism { AUTH_NONE, AUTH_PROXY_AUTHORIZATION, AUTH_PHANTOM_HEADER, AUTH_PEER, AUTH_INHERITED };
const char *auth_mechanism_name(enum auth_mechanism m); /* "proxy_authorization", "phantom_header", … "none" */

struct identity {
    const struct client *client; /* NULL: refuse with `refusal` */
    enum auth_mechanism mechanism; /* what was tried or asked for */
    enum err refusal; /* ERR_PROXY_AUTH for CONNECT and absolute form, ERR_UNAUTHORIZED for origin form */
};
/* Proxy-Authorization: Basic (any user name, password compared) or Bearer; the first field line with either scheme decides. For origin
 * form, also a token in any field of decision K9: bare, after Bearer or token, or as a Basic password. Lines in any case, OWS as RFC 9110. */
void identify(const struct clients *c, enum shape shape, const struct fields *fields, struct identity *ret_identity) NONNULL(1, 3, 4);
