/* The pipes that the pumps of one worker borrow for splice. Loop thread only. */
#pragma once
#include "base/attr.h"
#include <stdbool.h>

struct pipe_pool; /* pump.h: pipe_pool_new, pipe_pool_free */

struct pipe_pair {
    int r, w; /* r < 0: none */
};
/* An empty pipe; r < 0 when the kernel gives none or too many are out: then read and write. */
struct pipe_pair pipe_pool_take(struct pipe_pool *p) MUST_CHECK NONNULL(1);
/* empty: false closes it. */
void pipe_pool_give(struct pipe_pool *p, struct pipe_pair pair, bool empty) NONNULL(1);
