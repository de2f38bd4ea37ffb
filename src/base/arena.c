#include "base/arena.h"
#include "base/chunk.h"
#include "base/mem.h"
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>

/* What does not fit well into a chunk has a block of its own. */
enum { ARENA_LARGE_BYTES = LIMIT_CHUNK_BYTES / 4, ARENA_ALIGN = alignof(max_align_t) };

struct arena_large {
    struct arena_large *next;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, struct chunk_pool *pool, size_t cap)
{
    *a = (struct arena){.pool_ = pool, .cap_ = cap};
}

void arena_fini(struct arena *a)
{
    while (a->chunks_) {
        struct chunk *c = a->chunks_;
        a->chunks_ = c->next;
        chunk_release(a->pool_, c);
    }
    while (a->large_) {
        struct arena_large *large = a->large_;
        a->large_ = large->next;
        mem_free(large);
    }
    a->total_ = 0;
}

static void *alloc_large(struct arena *a, size_t n)
{
    struct arena_large *large = mem_alloc(sizeof(*large) + n);
    if (!large)
        return NULL;
    large->next = a->large_;
    a->large_ = large;
    return large->bytes;
}

#ifdef ARENA_EMULATE
static void *alloc_piece(struct arena *a, size_t n)
{
    return alloc_large(a, n);
}
#else
/* The next aligned address in c, or NULL when n bytes do not fit there. */
static char *bump(struct chunk *c, size_t n)
{
    size_t off = c->end + (size_t)(-(uintptr_t)(c->data + c->end) & (ARENA_ALIGN - 1));
    if (off > sizeof(c->data) || n > sizeof(c->data) - off)
        return NULL;
    c->end = (uint32_t)(off + n);
    return c->data + off;
}

static void *alloc_piece(struct arena *a, size_t n)
{
    if (n > ARENA_LARGE_BYTES)
        return alloc_large(a, n);
    char *p = a->chunks_ ? bump(a->chunks_, n) : NULL;
    if (p)
        return p;
    struct chunk *c = chunk_take(a->pool_);
    if (!c)
        return NULL;
    c->next = a->chunks_;
    a->chunks_ = c;
    return bump(c, n);
}
#endif

/* The cap counts what was asked for, rounded: the same in both builds. */
void *arena_alloc(struct arena *a, size_t n)
{
    size_t left = a->cap_ - a->total_;
    size_t rounded = n ? (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1) : ARENA_ALIGN;
    if (n > left || rounded > left)
        return NULL;
    void *p = alloc_piece(a, n ? n : 1);
    if (p)
        a->total_ += rounded;
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = s.n == SIZE_MAX ? NULL : arena_alloc(a, s.n + 1);
    if (!p)
        return STR_NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return str_of(p, s.n);
}

struct str arena_join(struct arena *a, const struct str *parts, size_t n_parts)
{
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++)
        n = parts[i].n < SIZE_MAX - n ? n + parts[i].n : SIZE_MAX;
    char *p = n == SIZE_MAX ? NULL : arena_alloc(a, n + 1), *at = p;
    if (!p)
        return STR_NULL;
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].n)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    *at = '\0';
    return str_of(p, n);
}

struct str arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        n = vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p && n >= 0 ? str_of(p, (size_t)n) : STR_NULL;
}
