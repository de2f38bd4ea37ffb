#include "base/mem.h"
#include "base/base_int.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Allocations that may still succeed; negative: the hook is off, which is all that the normal path
 * tests. */
static _Atomic int64_t fail_left = -1;
static _Atomic bool fail_forever;

void mem_fail_after(int64_t after, bool forever)
{
    atomic_store(&fail_forever, forever);
    atomic_store(&fail_left, after < 0 ? -1 : after);
}

static bool fail_count_down(void)
{
    int64_t left = atomic_load(&fail_left);
    do {
        if (left < 0)
            return false;
        if (left == 0 && atomic_load(&fail_forever))
            return true;
    } while (!atomic_compare_exchange_weak(&fail_left, &left, left - 1));
    return left == 0;
}

bool mem_must_fail(void)
{
    return atomic_load_explicit(&fail_left, memory_order_relaxed) >= 0 && fail_count_down();
}

void *mem_alloc(size_t n)
{
    if (mem_must_fail())
        return NULL;
    return malloc(n ? n : 1);
}

void *mem_zalloc(size_t n)
{
    if (mem_must_fail())
        return NULL;
    return calloc(1, n ? n : 1);
}

void *mem_realloc(void *p, size_t n)
{
    if (mem_must_fail())
        return NULL;
    return realloc(p, n ? n : 1);
}

char *mem_dup(const char *p, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *copy = mem_alloc(n + 1);
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

void mem_wipe(void *p, size_t n)
{
    if (!n)
        return;
    memset(p, 0, n);
    __asm__ __volatile__("" : : "r"(p) : "memory"); /* the compiler must believe that it is read */
}
