/* The timer wheel of a loop: four levels of 256 slots with ticks of 4 ms, 64 ms, 16 s and 70 min.
 * A timer shorter than a second lies in the first level, others in the coarsest that tells their
 * time from now; they move down as their slot comes up. Loop thread only. */
#pragma once
#include "sys/loop.h"

enum { WHEEL_LEVELS = 4, WHEEL_SLOTS = 256 };

struct wheel_level {
    uint64_t tick; /* the last one that was looked at */
    uint64_t used[WHEEL_SLOTS / 64];
    struct list slots[WHEEL_SLOTS];
};
struct wheel {
    uint64_t due_ns; /* nothing is due earlier; UINT64_MAX: no timer */
    struct wheel_level levels[WHEEL_LEVELS];
};

void wheel_init(struct wheel *w, uint64_t now_ns) NONNULL(1);
void wheel_put(struct wheel *w, struct timer *t, uint64_t now_ns) NONNULL(1, 2);
void wheel_take(struct wheel *w, struct timer *t) NONNULL(1, 2);
/* When the slot of an armed timer comes up: whatever its deadline is by then, it is looked at. */
uint64_t wheel_due(const struct wheel *w, const struct timer *t) NONNULL(1, 2);
/* Fire what is due. Timer functions may arm and stop any timer. */
void wheel_run(struct wheel *w, uint64_t now_ns) NONNULL(1);
