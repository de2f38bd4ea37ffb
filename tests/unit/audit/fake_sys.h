/* sys/ as audit's tests need it: real threads, the real clock plus what a test adds to it, numbers
 * instead of random bytes. */
#pragma once
#include <stdint.h>

void fake_clock_add(uint64_t ns);
