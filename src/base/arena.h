/* Memory of one exchange: bump allocation, freed as a whole. Blocks are chunks of the worker's pool; larger pieces come from
 * mem_alloc. The sum has a hard cap. With -DARENA_EMULATE every piece is its own mem_alloc, so that ASan sees it. Loop thread only. */
#pragma once
#include "base/str.h"

struct chunk;
struct chunk_pool;

struct arena {
    struct chunk_pool *pool_;
    struct chunk *chunks_;
    struct arena_large *large_;
    size_t total_, cap_;
};

void arena_init(struct arena *a, struct chunk_pool *pool, size_t cap) NONNULL(1, 2);
void arena_fini(struct arena *a) NONNULL(1); /* frees everything; may be called twice */
/* NULL when over the cap or out of memory. Aligned for any type. */
void *arena_alloc(struct arena *a, size_t n) MUST_CHECK NONNULL(1);
/* Copy; ret.p is NULL when there is no room (an empty s gives a non-NULL empty copy). Followed by a NUL byte. */
struct str arena_str(struct arena *a, struct str s) MUST_CHECK NONNULL(1);
/* The parts behind each other, as arena_str gives them. */
struct str arena_join(struct arena *a, const struct str *parts, size_t n_parts) MUST_CHECK NONNULL(1, 2);
struct str arena_printf(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3) NONNULL(1);
