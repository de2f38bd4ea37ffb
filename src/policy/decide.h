/* The decision: two pure functions, no I/O, no state. The data path, `nono why`, `profile test` and reload call the same ones. */
#pragma once
#include "base/err.h"
#include "net/vetted.h"
#include "policy/facts.h"
#include "policy/route.h"

struct policy;

enum verdict { VERDICT_REFUSE, VERDICT_ALLOW, VERDICT_INTERCEPT };

struct decision {
    enum verdict verdict;
    enum err refusal;     /* VERDICT_REFUSE: a row of err.def */
    struct str rule;      /* rule id: "allow:*.example.org", "deny:evil.test:443", "default-allow", "default-deny", "floor:metadata", … */
    struct str origin;    /* where it stands: "--deny-domain", "NONO_DENY_DOMAIN", later FILE:LINE:COLUMN; empty for defaults and floor */
    struct str remedy;    /* what to change; empty when there is nothing to say */
    char reason[400];     /* the sentence, visible ASCII (a rule's own reason: UTF-8 without controls); ALLOW: empty, or who is asked (approve) */
    bool chained;         /* goes through the upstream proxy (not bypassed) */
    bool resolve_here;    /* names are resolved by us: direct, or socks5 */
    bool unlock_loopback; /* the name is `localhost` (or below) and an entry says so */
    struct hostname host;
    uint16_t port;
    enum scheme scheme;   /* REVERSE: the route's; else the facts' */

    /* What routes say; route NULL: the target has none, and the rest says nothing. */
    const struct route *route;   /* whose credential goes in, else the one that judged (its rules, its place) */
    int credential;              /* index of the route whose credential goes in, or -1: none must */
    bool endpoint_judged;        /* method and path were judged: */
    enum endpoint_action endpoint_action;
    struct str endpoint_rule;    /* label: "endpoint_policy.allow[GET /x]", "endpoint_policy.default" */
    struct str approval_backend, approval_reason; /* of an approve rule or default; empty: the default's */
    uint64_t approval_timeout_ms;                 /* 0: not given */
    struct str hint;             /* E1: a refusal that an allow rule would not have made if * crossed /: what to write; empty */
    bool route_loopback;         /* the target is a route's own loopback upstream (decision H6) */
};

/* Judge a request (name rules, deny before allow before default, floor, TRACE, address rules for literals; then routes: scheme and port,
 * endpoint rules, which credential). VERDICT_INTERCEPT: a CONNECT to a host with rules or a credential; `reason` says why. All slices in the decision
 * point into the policy (static for its life) but `reason`. Any thread. */
void policy_decide(const struct policy *p, const struct facts *f, struct decision *ret_decision) NONNULL(1, 2, 3);

/* The second half: may this allowed request go to this address? ERR_OK and a vetted address, or ERR_ADDRESS_DENIED (ERR_HOST_DENIED for
 * literals) with rule, origin and reason of *d rewritten. Every address of a name must pass; one refused address refuses the name.
 * Decision K: the floor (H5), H6 unless unlocked (H10a), deny CIDRs and deny literals (with port). Any thread. */
enum err policy_addr(const struct policy *p, struct decision *d, const struct address *a, struct vetted_addr *ret_vetted) MUST_CHECK;

/* Whether the bypass list keeps a target off the upstream proxy: for requests of our own, which nothing is decided about. */
bool policy_bypasses(const struct policy *p, const struct hostname *host, uint16_t port);

/* An address that the operator's own text named (upstream proxy and the like): only the floor of H5 holds. */
enum err policy_addr_operator(const struct address *a, uint16_t port, struct vetted_addr *ret_vetted, struct errctx *ctx) MUST_CHECK;
