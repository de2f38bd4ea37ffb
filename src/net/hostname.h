/* The one canonical host type (decision H1): a lower-case A-label name without trailing dots, or an IP literal with v4-mapped folded.
 * Policy, routes, pool, bypass, audit and certificates accept nothing else. Pure; any thread. */
#pragma once
#include "base/err.h"
#include "base/limits.h"
#include "net/address.h"

struct hostname {
    uint8_t is_address;
    uint8_t n;                      /* bytes of text */
    char text[LIMIT_HOST_BYTES + 1]; /* canonical; IPv6 without brackets; NUL after it */
    struct address address;         /* when is_address */
};

/* Canonicalise `text` (brackets round IPv6 allowed). ERR_BAD_REQUEST with one sentence in ctx otherwise: empty, bad characters,
 * lengths, legacy numeric IPv4 (decision H2), last label a number, not convertible by UTS-46 (non-ASCII and xn-- only, libidn2). */
enum err hostname_parse(struct str text, struct hostname *ret_host, struct errctx *ctx) MUST_CHECK NONNULL(2, 3);
struct hostname hostname_from_address(const struct address *a);
static inline struct str hostname_str(const struct hostname *h)
{
    return (struct str){h->text, h->n};
}
bool hostname_eq(const struct hostname *a, const struct hostname *b);
/* For URLs, Host and CONNECT: brackets round IPv6. */
void hostname_format(struct buf *out, const struct hostname *h);
/* The same with ":port". */
void hostname_format_port(struct buf *out, const struct hostname *h, uint16_t port);
bool hostname_is_localhost(const struct hostname *h); /* "localhost" or below it ("x.localhost") */
