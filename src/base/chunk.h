/* 16 KiB chunks from a worker's pool. Exactly one owner; others borrow slices. Loop thread only. */
#pragma once
#include "base/limits.h"
#include "base/str.h"

struct chunk_pool;

struct chunk {
    struct chunk *next; /* free for the owner's use */
    uint32_t start, end; /* valid bytes are data[start..end) */
    uint32_t sensitive;  /* bytes of data, from its beginning, that are zeroed when released */
    char data[LIMIT_CHUNK_BYTES];
};

/* A pool that keeps at most `keep` free chunks and hands out any number. NULL when out of memory. */
struct chunk_pool *chunk_pool_new(size_t keep) MUST_CHECK;
void chunk_pool_free(struct chunk_pool *pool);          /* asserts that nothing is out */
struct chunk *chunk_take(struct chunk_pool *pool) MUST_CHECK NONNULL(1); /* start = end = 0; NULL when out of memory */
void chunk_release(struct chunk_pool *pool, struct chunk *c) NONNULL(1); /* c may be NULL */
size_t chunk_pool_out(const struct chunk_pool *pool) NONNULL(1);        /* how many are out: a leak counter */
