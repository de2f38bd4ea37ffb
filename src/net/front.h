/* Bytes put back in front of a stream: one block, there only while it holds bytes. */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct front; /* NULL: none */

/* Put `bytes` before what is there. */
enum err front_put(struct front **front, struct str bytes) MUST_CHECK NONNULL(1);
/* Take up to cap bytes of a front that is not NULL; frees it with its last byte. */
size_t front_take(struct front **front, void *p, size_t cap) NONNULL(1, 2);
void front_free(struct front **front) NONNULL(1);
