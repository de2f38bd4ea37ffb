/* The only random bytes. Simulations link their own. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Cryptographic quality; aborts when the kernel gives none. Any thread. */
void random_bytes(void *p, size_t n);
uint64_t random_u64(void);
