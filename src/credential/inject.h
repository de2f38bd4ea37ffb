/* The only place where a secret may enter a request: one call, on the head about to be written, after the upstream's identity is verified
 * (decisions K7 to K10). */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "credential/credential.h"
#include "credential/material.h"
#include "http/head.h"
#include "policy/decide.h"
#include "policy/identify.h"

struct injection {
    const struct clients *clients;
    const struct decision *decision;
    const struct credential *credential; /* NULL exactly when the decision names none */
    const struct material *material;     /* of it */
    size_t secret_at;                    /* url_path: where "{}" stands in head->target (phantom.h) */
    struct arena *arena;                 /* for more room in head->fields */
};
/* ERR_OK: the head may go. With a credential it holds the secret, the client's own credential fields are dropped, and `secret` (initialised,
 * empty; large enough: INJECT_SECRET_BYTES) is what head now points into: buf_wipe_fini once the head is written, which must go through
 * sensitive memory. ERR_BAD_REQUEST: it still holds a client's token (K8: 16 bytes or more anywhere, also percent-decoded target and
 * Basic values; shorter ones only as a whole value, after a scheme word, Basic password, query value or path segment).
 * ERR_CREDENTIAL_UNAVAILABLE: what the source yields does not fit the route. ERR_NOMEM. */
enum { INJECT_SECRET_BYTES = 1 << 20 };
enum err inject(const struct injection *in, struct http_head *head, struct buf *secret, struct errctx *ctx) MUST_CHECK;
/* Marks those trailers as dropped that the route sets itself, or where its phantom would stand (K11). material may be NULL. */
void inject_clean_trailers(const struct credential *c, const struct material *m, const struct fields *trailers);
/* Whether inject() would refuse this head for a token in it, asked before the credential is there; credential NULL: none. It drops fields
 * as inject() does, so give it a copy. ERR_OK or ERR_BAD_REQUEST. */
enum err inject_look(const struct clients *clients, const struct credential *credential, struct http_head *head, struct errctx *ctx)
    MUST_CHECK;
/* The same look at a request's trailers (K11): true when one holds a client's token. */
bool inject_trailers_leak(const struct clients *clients, const struct fields *trailers) MUST_CHECK;
/* Whether a target or a host name holds a client's token: asked before any name is looked up (K8). In a host name only a long one counts. */
bool inject_target_leaks(const struct clients *clients, struct str target) MUST_CHECK;
bool inject_host_leaks(const struct clients *clients, struct str host) MUST_CHECK;
/* Writes '*' over every client's token in a text that goes to the log, the audit or a client: long ones anywhere, also their beginning
 * (16 bytes or more of it) where the text was cut; short ones where they stand alone between separators. */
void inject_mask(const struct clients *clients, char *text, size_t n);
