/* The decision: two pure functions, no I/O, no state. The data path, `nono why`, `profile test` and reload call the same ones. */
#pragma once
#include "base/err.h"
#include "net/vetted.h"
#include "policy/facts.h"

struct policy;

enum verdict { VERDICT_REFUSE, VERDICT_ALLOW, VERDICT_INTERCEPT };

struct decision {
    enum verdict verdict;
    enum err refusal;     /* VERDICT_REFUSE: a row of err.def */
    struct str rule;      /* rule id: "allow:*.example.org", "deny:evil.test:443", "default-allow", "default-deny", "floor:metadata", … */
    struct str origin;    /* where it stands: "--deny-domain", "NONO_DENY_DOMAIN", later FILE:LINE:COLUMN; empty for defaults and floor */
    struct str remedy;    /* what to change; empty when there is nothing to say */
    char reason[400];     /* the sentence, visible ASCII; empty for ALLOW */
    bool chained;         /* goes through the upstream proxy (not bypassed) */
    bool resolve_here;    /* names are resolved by us: direct, or socks5 */
    bool unlock_loopback; /* the name is `localhost` (or below) and an entry says so */
    struct hostname host;
    uint16_t port;
};

/* Judge a request (name rules, deny before allow before default, floor, TRACE, address rules for literals). All slices in the decision
 * point into the policy (static for its life) but `reason`. Any thread. */
void policy_decide(const struct policy *p, const struct facts *f, struct decision *ret_decision) NONNULL(1, 2, 3);

/* The second half: may this allowed request go to this address? ERR_OK and a vetted address, or ERR_ADDRESS_DENIED (ERR_HOST_DENIED for
 * literals) with rule, origin and reason of *d rewritten. Every address of a name must pass; one refused address refuses the name.
 * Decision K: the floor (H5), H6 unless unlocked (H10a), deny CIDRs and deny literals (with port). Any thread. */
enum err policy_addr(const struct policy *p, struct decision *d, const struct address *a, struct vetted_addr *ret_vetted) MUST_CHECK;

/* An address that the operator's own text named (upstream proxy and the like): only the floor of H5 holds. */
enum err policy_addr_operator(const struct address *a, uint16_t port, struct vetted_addr *ret_vetted, struct errctx *ctx) MUST_CHECK;
