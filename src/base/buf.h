/* A growable byte buffer that is born with its maximum. Errors are sticky: check once, at the end. */
#pragma once
#include "base/str.h"
#include <stdarg.h>

struct buf {
    char *p;
    size_t n;      /* bytes used */
    size_t cap_;
    size_t max_;
    bool failed_; /* over the maximum or out of memory; what was appended since is lost */
};

void buf_init(struct buf *b, size_t max) NONNULL(1);
void buf_fini(struct buf *b) NONNULL(1);            /* frees; also after failure */
void buf_wipe_fini(struct buf *b) NONNULL(1);       /* zeroes first */
void buf_reset(struct buf *b) NONNULL(1);           /* empty, not failed, keeps its memory */
void buf_add(struct buf *b, const void *p, size_t n) NONNULL(1);
void buf_add_str(struct buf *b, struct str s) NONNULL(1);
void buf_add_z(struct buf *b, const char *z) NONNULL(1);
void buf_add_c(struct buf *b, char c) NONNULL(1);
void buf_add_u64(struct buf *b, uint64_t v) NONNULL(1);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3) NONNULL(1);
/* Room for n more bytes at b->p + b->n, or NULL (failed). Add to b->n what was used. */
char *buf_reserve(struct buf *b, size_t n) NONNULL(1);
/* Drop the first n bytes. */
void buf_drop(struct buf *b, size_t n) NONNULL(1);
bool buf_ok(const struct buf *b) NONNULL(1);
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->n};
}
