/* A clock that only the test moves: linked instead of sys/clock.c. */
#pragma once
#include "sys/clock.h"
#include "sys/loop.h"

static uint64_t fake_now = 1000 * NS_PER_MS;

uint64_t clock_mono_ns(void)
{
    return fake_now;
}
uint64_t clock_wall_ms(void)
{
    return UINT64_C(1700000000000) + fake_now / NS_PER_MS;
}

/* Let time pass in small steps, with a turn of the loop after each. */
static inline void fake_pass(struct loop *loop, uint64_t ms)
{
    for (uint64_t step; ms > 0; ms -= step) {
        step = ms < 100 ? ms : 100;
        fake_now += step * NS_PER_MS;
        loop_turn(loop, 0);
    }
}
