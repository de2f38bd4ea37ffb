/* Routes as the banner, `--output json` and `profile show` tell of them. Pure. */
#pragma once
#include "base/buf.h"
#include "config/config.h"
#include "policy/route.h"

/* By route index: why its credential cannot be used now; empty: nothing is known against it. n 0: nobody looked. */
struct route_state {
    const struct str *missing;
    size_t n;
};
/* Calls fn for the variables of a route: its base URL (base: "http://ADDR:PORT"; empty: none), and the one that holds the token where the
 * key would stand (token empty: none). A route whose secret is missing announces no token (case 79). */
typedef void route_variable_fn(void *owner, const char *name, struct str value);
void route_variables(const struct config *c, const struct policy *p, size_t index, const struct route_state *state, struct str base,
                     struct str token, route_variable_fn *fn, void *owner);

/* "UPSTREAM | CREDS | intercept: on|off | endpoint_rules: N" (or "endpoint_policy: on"). */
void route_row_text(struct buf *out, const struct config *c, const struct policy *p, size_t index);
/* One row per upstream, in the order of their first routes, each after `before`; returns how many. CREDS is that of the first route that
 * has one, and then the first few of the others that cannot be used. Upstreams that the policy does not let anybody reach are left out. */
size_t route_rows_text(struct buf *out, const struct config *c, const struct policy *p,
                       const struct route_state *state, const char *before);
/* The members of `routes` (audit.md), separated by commas. base: "http://ADDR:PORT", or empty where there is no URL. */
void route_rows_json(struct buf *out, const struct config *c, const struct policy *p,
                     const struct route_state *state, struct str base, struct str token);
/* The service behind a route; NULL: it has none. */
const struct service_conf *route_service(const struct config *c, struct str id);
/* Where its secret goes: "header X-Key", "query parameter key". */
void route_credential_place(struct buf *out, const struct service_conf *s);
