/* The only callers of malloc and free. Tests and simulations can make the n-th allocation fail. */
#pragma once
#include "base/attr.h"
#include <stdbool.h>
#include <stdint.h>

/* NULL when out of memory. Any thread. `mem_free(NULL)` does nothing. */
void *mem_alloc(size_t n) MUST_CHECK;
void *mem_zalloc(size_t n) MUST_CHECK; /* zeroed */
void *mem_realloc(void *p, size_t n) MUST_CHECK;
char *mem_dup(const char *p, size_t n) MUST_CHECK; /* copy with a terminating NUL */
void mem_free(void *p);
/* Zero memory in a way the compiler keeps. */
void mem_wipe(void *p, size_t n);

/* Tests only: let `after` more allocations succeed, then fail one (or all that follow when `forever`). after < 0 switches off. */
void mem_fail_after(int64_t after, bool forever);
