/* Shared by inject.c and inject_put.c only. */
#pragma once
#include "credential/inject.h"

/* Drops the client's version of what is set and puts the secret in. */
enum err inject_put(const struct injection *in, struct http_head *head, struct buf *out, struct errctx *ctx) MUST_CHECK;
/* Drops whatever the route sets (m NULL: whatever it might), the phantom's place, and the client's own credentials (decision K9). */
void inject_drop(const struct clients *clients, const struct credential *c, const struct material *m, struct fields *fields);
/* Whether a field's value is, or holds, a client's token. */
bool inject_value_leaks(const struct clients *clients, struct str value) MUST_CHECK;
