#include "sys/random.h"
#include "base/assert.h"
#include "base/attr.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Identifiers are drawn for every request, so 64-bit numbers come from a stock that one system call
 * fills. Each is taken by an exchange with 0 and so given out once; 0 itself never is. */
static _Atomic uint64_t stock[32];
static atomic_uint stock_at;

/* getentropy, because <sys/random.h> would be our own header. */
static void from_kernel(void *p, size_t n)
{
    enum { AT_ONCE = 256 };
    char *at = p;
    while (n > 0) {
        size_t part = n < AT_ONCE ? n : AT_ONCE;
        int rc = getentropy(at, part);
        ASSERT(rc == 0 || errno == EINTR);
        if (rc)
            continue;
        at += part;
        n -= part;
    }
}

uint64_t random_u64(void)
{
    unsigned i = atomic_fetch_add_explicit(&stock_at, 1, memory_order_relaxed) % ARRAY_LEN(stock);
    uint64_t v = atomic_exchange_explicit(&stock[i], 0, memory_order_relaxed);
    if (v)
        return v;
    uint64_t fresh[ARRAY_LEN(stock)];
    from_kernel(fresh, sizeof(fresh));
    for (size_t k = 1; k < ARRAY_LEN(fresh); k++)
        atomic_store_explicit(&stock[(i + k) % ARRAY_LEN(stock)], fresh[k], memory_order_relaxed);
    return fresh[0];
}

void random_bytes(void *p, size_t n)
{
    if (n > 16) {
        from_kernel(p, n);
        return;
    }
    uint64_t v[2] = {0, 0};
    for (size_t i = 0; i * 8 < n; i++)
        v[i] = random_u64();
    memcpy(p, v, n);
}
