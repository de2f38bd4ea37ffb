/* Names to addresses: a worker's cache over the resolver. Stores raw answers, judges nothing. TTL = least of address and CNAME TTLs,
 * clamped; failures are kept a short while; identical questions are joined. Loop thread only. */
#pragma once
#include "net/hostname.h"
#include "sys/loop.h"

struct dns;
struct dns_query;

struct dns_answer {
    const struct address *v; /* IPv6 and IPv4 interleaved (RFC 8305 section 4), IPv6 first; valid during the callback */
    unsigned n;              /* at most LIMIT_DNS_ADDRESSES */
};
/* ERR_OK (n > 0), ERR_DNS_FAILED (no such name, no addresses, server failure: sentence in ctx), ERR_DNS_TIMEOUT, ERR_NOMEM. */
typedef void dns_fn(void *owner, enum err e, const struct dns_answer *answer, const struct errctx *ctx);

struct dns *dns_new(struct loop *loop) MUST_CHECK;
void dns_free(struct dns *d); /* open queries end with ERR_CANCELLED */
/* From cache: fn is called before this returns and *ret_query is NULL. Otherwise later, unless cancelled. timeout_ms: this asker's. */
enum err dns_resolve(struct dns *d, const struct hostname *name, uint64_t timeout_ms, dns_fn *fn, void *owner, struct dns_query **ret_query)
    MUST_CHECK;
void dns_cancel(struct dns_query *q); /* NULL allowed; fn is not called */
