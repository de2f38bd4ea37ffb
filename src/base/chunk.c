#include "base/chunk.h"
#include "base/assert.h"
#include "base/base_int.h"
#include "base/mem.h"

struct chunk_pool {
    struct chunk *free;
    size_t n_free, keep, out;
};

struct chunk_pool *chunk_pool_new(size_t keep)
{
    struct chunk_pool *pool = mem_zalloc(sizeof(*pool));
    if (pool)
        pool->keep = keep;
    return pool;
}

void chunk_pool_free(struct chunk_pool *pool)
{
    if (!pool)
        return;
    ASSERT(pool->out == 0);
    while (pool->free) {
        struct chunk *c = pool->free;
        pool->free = c->next;
        mem_free(c);
    }
    mem_free(pool);
}

/* A test's refused allocation also refuses a pooled chunk: the caller's path is the same. */
struct chunk *chunk_take(struct chunk_pool *pool)
{
    struct chunk *c = pool->free;
    if (c) {
        if (mem_must_fail())
            return NULL;
        pool->free = c->next;
        pool->n_free--;
        UNPOISON(c->data, sizeof(c->data));
    } else {
        c = mem_alloc(sizeof(*c));
        if (!c)
            return NULL;
    }
    c->next = NULL;
    c->start = c->end = 0;
    c->sensitive = 0;
    pool->out++;
    return c;
}

void chunk_release(struct chunk_pool *pool, struct chunk *c)
{
    if (!c)
        return;
    ASSERT(pool->out > 0);
    pool->out--;
    mem_wipe(c->data, c->sensitive);
    if (pool->n_free >= pool->keep) {
        mem_free(c);
        return;
    }
    POISON(c->data, sizeof(c->data));
    c->next = pool->free;
    pool->free = c;
    pool->n_free++;
}

size_t chunk_pool_out(const struct chunk_pool *pool)
{
    return pool->out;
}
