/* What a client needs to know to come here: URL and variables (decision O3). Pure. */
#pragma once
#include "cli/banner.h"

/* "http://nono:PASSWORD@HOST:PORT" of the first TCP listener: password percent-encoded, IPv6 in
 * brackets, a wildcard replaced by the loopback address of its family. False, and nothing added,
 * when there is no TCP listener. */
bool advertise_url(struct buf *out, const struct banner_facts *f);
/* The same without the password: what base URLs of routes begin with. */
bool advertise_base(struct buf *out, const struct banner_facts *f);
/* The token where it needs no quotes; else empty. */
struct str advertise_token(const struct banner_facts *f);
/* Calls `fn` for each variable, those of routes included. The values need no quotes in a shell. */
typedef route_variable_fn advertise_fn;
void advertise_env(const struct banner_facts *f, advertise_fn *fn, void *owner);
