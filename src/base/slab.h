/* Fixed-size objects with a free list, for sessions, streams and the like. Loop thread only. */
#pragma once
#include "base/attr.h"

struct slab;

struct slab *slab_new(size_t object_size, size_t objects_per_block) MUST_CHECK;
void slab_free(struct slab *s);                       /* asserts that nothing is out */
void *slab_take(struct slab *s) MUST_CHECK NONNULL(1); /* zeroed; NULL when out of memory */
void slab_give(struct slab *s, void *object) NONNULL(1);
size_t slab_out(const struct slab *s) NONNULL(1); /* leak counter */
