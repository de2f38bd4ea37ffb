/* The only place where a secret may enter a request: one call, on the head about to be written, after the upstream's identity is verified.
 * Routes come with a later issue; what holds without them is here: decisions K8 and K10. */
#pragma once
#include "base/err.h"
#include "http/head.h"
#include "policy/decide.h"
#include "policy/identify.h"

/* ERR_OK: the head may go. ERR_BAD_REQUEST: it still holds a client's token (K8: 16 bytes or more anywhere, also percent-decoded target and
 * Basic values; shorter ones only as a whole value, after a scheme word, Basic password, query value or path segment). */
enum err inject(const struct clients *clients, const struct decision *d, struct http_head *head, struct errctx *ctx) MUST_CHECK;
/* The same look at a request's trailers (K11): true when one holds a client's token. */
bool inject_trailers_leak(const struct clients *clients, const struct fields *trailers) MUST_CHECK;
/* Whether a target or a host name holds a client's token: asked before any name is looked up (K8). In a host name only a long one counts. */
bool inject_target_leaks(const struct clients *clients, struct str target) MUST_CHECK;
bool inject_host_leaks(const struct clients *clients, struct str host) MUST_CHECK;
/* Writes '*' over every client's token in a text that goes to the log, the audit or a client: long ones anywhere, short ones where they
 * stand alone between separators. */
void inject_mask(const struct clients *clients, char *text, size_t n);
