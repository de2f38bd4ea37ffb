/* Routes: what a host (or service prefix) demands beyond being reachable: endpoint rules, a credential. Compiled into the policy;
 * immutable. policy_decide looks them up in a time that does not depend on their number. */
#pragma once
#include "net/target.h"
#include "policy/policy.h"

/* A rule as configured. */
struct endpoint_spec {
    struct str method, path, backend, reason, origin;
    uint64_t timeout_ms; /* 0: not given */
};
enum endpoint_action { ENDPOINT_ACT_DENY, ENDPOINT_ACT_APPROVE, ENDPOINT_ACT_ALLOW };

struct route_spec {
    struct str id;         /* "openai", "_ep_github.com" */
    struct str origin;
    struct str prefix;     /* reverse prefix; empty: none (endpoint-only) */
    enum scheme scheme;
    struct str host;       /* canonical-able host or *.suffix */
    uint16_t port;         /* the scheme's default when none was given */
    struct str base_path;  /* upstream's path without trailing slash; empty: none */
    bool has_credential;
    bool unavailable;      /* decision K13 */
    bool segment_globs;    /* allow rules by segment (default); false: network.endpoint_glob "path" */
    const struct endpoint_spec *rules; /* legacy endpoint_rules: any match allows */
    size_t n_rules;
    bool policy_given;
    enum endpoint_action fallback;
    struct str fallback_backend;
    uint64_t fallback_timeout_ms;
    const struct endpoint_spec *deny, *approve, *allow;
    size_t n_deny, n_approve, n_allow;
};
const char *endpoint_action_name(enum endpoint_action a); /* "deny", "approve", "allow" */

struct route; /* opaque; its public view: */
struct route_view {
    struct str id, origin, prefix, upstream; /* upstream: canonical URL text */
    enum scheme scheme;
    struct str host_pattern;
    uint16_t port;
    struct str base_path;
    bool has_credential, unavailable;
    bool has_rules; /* it restricts anything: an endpoint_policy that allows everything is none */
    unsigned index; /* in the order of policy_add_route */
};
/* Before policy_freeze. Patterns are compiled: a bad one is ERR_INVALID with a sentence naming route, pattern and origin; so are a bad host,
 * base path, or a prefix that another route has. Everything is copied. The host is not put on the allowlist by this: policy_allow_route
 * does. */
enum err policy_add_route(struct policy *p, const struct route_spec *spec, struct errctx *ctx) MUST_CHECK;
/* Put the host of route `index` on the allowlist, for its scheme and port alone (decision H3). Unlike an entry of policy_add it is none of
 * the host's own, which would open what the route's rules leave out (decision E6). Only where the allowlist is not empty otherwise (H10). */
enum err policy_allow_route(struct policy *p, size_t index, struct errctx *ctx) MUST_CHECK;
size_t policy_routes(const struct policy *p);
const struct route *policy_route(const struct policy *p, size_t index);
void policy_route_view(const struct policy *p, size_t index, struct route_view *ret_view);
/* The route of a reverse prefix (first path segment), or NULL. */
const struct route *policy_route_by_prefix(const struct policy *p, struct str prefix);
void route_view(const struct route *r, struct route_view *ret_view);

/* An earlier route whose credential some intercepted request fits as well as that of route `index` (both take everything, or share a rule),
 * so that it will be 403 (decision K2); NULL: none. For a note at load; rules that differ in text are not compared. */
const struct route *policy_route_rival(const struct policy *p, size_t index);

/* The rules of a route, in the order in which they are tried; then its default. For `why` and `profile show`. */
struct route_rule_view {
    enum endpoint_action action;
    struct str method, path, origin;
    bool whole_path; /* the pattern begins with the base path, so it is the whole path (decision E7) */
};
size_t route_rules(const struct route *r);
void route_rule_view(const struct route *r, size_t index, struct route_rule_view *ret_view);
enum endpoint_action route_default(const struct route *r);
