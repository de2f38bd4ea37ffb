/* Rate limits across workers: one 64-bit atomic per limit (theoretical arrival time, GCRA), keyed by name so that a reload keeps it. */
#pragma once
#include "base/str.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct limit {
    _Atomic uint64_t tat_; /* theoretical arrival time, monotonic ns */
};
struct limit_spec {
    uint32_t per_minute; /* 0: no limit */
    uint32_t burst;      /* at least 1 */
    uint64_t max_delay_ms;
};
/* Count one request at `now`. True: *ret_delay_ns to wait first (0: none). False: over the limit even with the longest delay;
 * *ret_retry_after_s says when to come back. Any thread. */
bool limit_take(struct limit *l, const struct limit_spec *spec, uint64_t now_ns, uint64_t *ret_delay_ns, uint32_t *ret_retry_after_s);

/* All limits of the process by name: made once, shared, never removed while the process lives (bounded by configuration). Any thread. */
struct limits;
struct limits *limits_new(void) MUST_CHECK;
void limits_free(struct limits *l);
struct limit *limits_get(struct limits *l, struct str name) MUST_CHECK; /* NULL: out of memory */
struct str limit_name(const struct limit *l); /* of one that limits_get gave; lives as long as it */
