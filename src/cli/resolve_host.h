/* The addresses of a name, as the gateway itself would find them, waited for. Main thread. */
#pragma once
#include "base/err.h"
#include "net/hostname.h"

struct addresses {
    struct address v[64];
    unsigned n;
};
enum err resolve_host(const struct hostname *name, uint64_t timeout_ms, struct addresses *ret_addresses, struct errctx *ctx) MUST_CHECK;
