/* Inside upstream/: one TCP connection to one of several addresses (happy eyeballs, RFC 8305
 * section 5). Loop thread only. */
#pragma once
#include "net/stream.h"
#include "net/vetted.h"
#include "sys/loop.h"

struct dial;
struct dial_spec {
    struct loop *loop;
    struct str name;                 /* "host:port" for sentences; borrowed until the end */
    const struct vetted_addr *addrs; /* in the order to be tried; borrowed until the end */
    unsigned n;
    bool (*is_own)(void *owner, const struct address *a, uint16_t port); /* NULL: none is */
    void *is_own_owner;
};
/* ERR_OK with a stream that the callee owns, or ERR_CONNECT_FAILED (the most telling of the
 * failures), ERR_NOMEM. */
typedef void dial_fn(void *owner, enum err e, struct stream *s, const struct vetted_addr *peer,
                     const struct errctx *ctx);

/* The first attempt begins at once. ERR_ADDRESS_DENIED (an address nobody vouched for), ERR_LOOP
 * (one of our own listeners), ERR_CONNECT_FAILED (all failed already), ERR_NOMEM: with a sentence,
 * and nothing runs. fn is
 * called once, never before this returns, unless cancelled. */
enum err dial_start(const struct dial_spec *spec, dial_fn *fn, void *owner, struct dial **ret_dial,
                    struct errctx *ctx) MUST_CHECK;
void dial_cancel(struct dial *d); /* closes every attempt; NULL allowed */
