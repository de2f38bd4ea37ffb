/* The resolver below the cache: one question (name and family) at a time to c-ares, or to the hosts file. Simulations link their own.
 * Loop thread only. */
#pragma once
#include "net/address.h"
#include "net/hostname.h"
#include "sys/loop.h"

struct resolver;
struct resolver_answer {
    struct address v[32];
    unsigned n;
    uint32_t ttl_s; /* least of all records of the answer */
};
/* ERR_OK (n may be 0: no address of that family), ERR_DNS_FAILED (NXDOMAIN, SERVFAIL, …: sentence), ERR_DNS_TIMEOUT, ERR_CANCELLED. */
typedef void resolver_fn(void *owner, enum err e, const struct resolver_answer *answer, const struct errctx *ctx);

enum err resolver_library_init(void) MUST_CHECK; /* once, from main before the first thread */
struct resolver *resolver_new(struct loop *loop) MUST_CHECK;
void resolver_free(struct resolver *r); /* open questions end with ERR_CANCELLED */
/* fn may be called before this returns. */
enum err resolver_ask(struct resolver *r, const struct hostname *name, enum address_family family, resolver_fn *fn, void *owner) MUST_CHECK;
