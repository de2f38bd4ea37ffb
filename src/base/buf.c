#include "base/buf.h"
#include "base/mem.h"
#include <stdio.h>

enum { BUF_FIRST_BYTES = 256 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max_ = max};
}

void buf_fini(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){.max_ = b->max_};
}

void buf_wipe_fini(struct buf *b)
{
    if (b->p)
        mem_wipe(b->p, b->cap_);
    buf_fini(b);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->failed_ = false;
}

/* Not mem_realloc: the old block may hold a secret (buf_wipe_fini comes later) and must not stay
 * behind in the heap. */
static bool grow(struct buf *b, size_t need)
{
    size_t cap = b->cap_ < BUF_FIRST_BYTES / 2 ? BUF_FIRST_BYTES : b->cap_ * 2;
    if (b->cap_ > b->max_ / 2 || cap > b->max_)
        cap = b->max_;
    if (cap < need)
        cap = need;
    char *p = mem_alloc(cap);
    if (!p)
        return false;
    if (b->p) {
        memcpy(p, b->p, b->n);
        mem_wipe(b->p, b->cap_);
        mem_free(b->p);
    }
    b->p = p;
    b->cap_ = cap;
    return true;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed_)
        return NULL;
    if (n > b->max_ - b->n || ((n > b->cap_ - b->n || !b->p) && !grow(b, b->n + n))) {
        b->failed_ = true;
        return NULL;
    }
    return b->p + b->n;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    char *at = n <= b->cap_ - b->n && !b->failed_ ? b->p + b->n : buf_reserve(b, n);
    if (!at)
        return;
    memcpy(at, p, n);
    b->n += n;
}

void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void buf_add_z(struct buf *b, const char *z)
{
    buf_add(b, z, strlen(z));
}

void buf_add_c(struct buf *b, char c)
{
    if (b->n < b->cap_ && !b->failed_)
        b->p[b->n++] = c;
    else
        buf_add(b, &c, 1);
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = b->failed_ || !b->p ? 0 : b->cap_ - b->n;
    int n = vsnprintf(room ? b->p + b->n : NULL, room, format, args);
    if (n < 0) {
        b->failed_ = true;
    } else if ((size_t)n < room) {
        b->n += (size_t)n;
    } else if ((size_t)n <= b->max_ - b->n) {
        /* The formatter needs a byte for its NUL, which the maximum need not have: format aside. */
        char *aside = mem_alloc((size_t)n + 1);
        if (aside && vsnprintf(aside, (size_t)n + 1, format, again) == n)
            buf_add(b, aside, (size_t)n);
        else
            b->failed_ = true;
        if (aside)
            mem_wipe(aside, (size_t)n);
        mem_free(aside);
    } else {
        b->failed_ = true;
    }
    va_end(again);
    va_end(args);
}

void buf_drop(struct buf *b, size_t n)
{
    if (n > b->n)
        n = b->n;
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

bool buf_ok(const struct buf *b)
{
    return !b->failed_;
}
