/* The only clocks. Simulations link their own. */
#pragma once
#include <stdint.h>

#define NS_PER_MS UINT64_C(1000000)

uint64_t clock_mono_ns(void); /* monotonic; never goes back */
uint64_t clock_wall_ms(void); /* Unix time in ms */
