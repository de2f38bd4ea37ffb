#include "base/secret.h"
#include "base/assert.h"
#include "base/base_int.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* 64 KiB is what an unprivileged process may lock in many containers; more memory comes in further
 * regions. */
enum { REGION_BYTES = 65536, SECRET_MAX_BYTES = 65536 };

/* A block of a region: these headers tile it from end to end. */
struct secret {
    uint32_t span; /* header, bytes and padding */
    uint32_t n;
    _Atomic uint32_t refs;
    bool used; /* guarded by the lock */
    alignas(16) char bytes[];
};

struct region {
    struct region *next;
    size_t size; /* of the mapping */
    alignas(16) char blocks[];
};

static struct {
    pthread_mutex_t lock;
    struct region *first;
    size_t live;
    bool ready;
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void protect(void *p, size_t n, bool *ret_locked)
{
    *ret_locked = mlock(p, n) == 0;
#ifdef MADV_DONTDUMP
    (void)madvise(p, n, MADV_DONTDUMP);
#endif
#ifdef MADV_WIPEONFORK
    (void)madvise(p, n, MADV_WIPEONFORK);
#endif
}

static struct secret *region_first(struct region *r)
{
    return (struct secret *)(void *)r->blocks;
}

/* NULL at the end of the region. */
static struct secret *block_next(struct region *r, struct secret *s)
{
    char *next = (char *)s + s->span;
    return next < (char *)r + r->size ? (struct secret *)(void *)next : NULL;
}

/* A region with room for one block of `span` bytes at least. A refused lock is told, not an error.
 */
static struct region *region_new(size_t span, bool *ret_locked)
{
    size_t size = sizeof(struct region) + span;
    size = (size + REGION_BYTES - 1) / REGION_BYTES * REGION_BYTES;
    struct region *r = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r == MAP_FAILED)
        return NULL;
    protect(r, size, ret_locked);
    r->size = size;
    region_first(r)->span = (uint32_t)(size - sizeof(struct region));
    r->next = heap.first;
    heap.first = r;
    return r;
}

void secret_region_init(bool *ret_locked)
{
    bool locked = false;
    pthread_mutex_lock(&heap.lock);
    ASSERT(!heap.ready);
    heap.ready = true;
    if (!region_new(sizeof(struct secret), &locked))
        locked = false; /* secret_new tries again, and reports it */
    pthread_mutex_unlock(&heap.lock);
    *ret_locked = locked;
}

void secret_region_fini(void)
{
    pthread_mutex_lock(&heap.lock);
    ASSERT(heap.live == 0);
    while (heap.first) {
        struct region *r = heap.first;
        heap.first = r->next;
        size_t size = r->size;
        mem_wipe(r, size);
        munmap(r, size);
    }
    heap.ready = false;
    pthread_mutex_unlock(&heap.lock);
}

/* First fit; free neighbours are joined on the way. */
static struct secret *region_find(struct region *r, size_t span)
{
    for (struct secret *s = region_first(r); s; s = block_next(r, s)) {
        if (s->used)
            continue;
        for (struct secret *n = block_next(r, s); n && !n->used; n = block_next(r, s)) {
            s->span += n->span;
            mem_wipe(n, sizeof(*n));
        }
        if (s->span >= span)
            return s;
    }
    return NULL;
}

static struct secret *heap_find(size_t span)
{
    for (struct region *r = heap.first; r; r = r->next) {
        struct secret *s = region_find(r, span);
        if (s)
            return s;
    }
    bool locked;
    struct region *r = region_new(span, &locked);
    return r ? region_first(r) : NULL;
}

/* Cut what `span` does not need off the block, if it can hold a block of its own. */
static void block_split(struct secret *s, size_t span)
{
    if (s->span - span < sizeof(struct secret) + 16)
        return;
    struct secret *rest = (struct secret *)(void *)((char *)s + span);
    rest->span = (uint32_t)(s->span - span);
    rest->used = false;
    s->span = (uint32_t)span;
}

struct secret *secret_new(struct str value)
{
    if (value.n > SECRET_MAX_BYTES || mem_must_fail())
        return NULL;
    size_t span = (sizeof(struct secret) + value.n + 15) & ~(size_t)15;
    pthread_mutex_lock(&heap.lock);
    ASSERT(heap.ready);
    struct secret *s = heap_find(span);
    if (s) {
        block_split(s, span);
        s->used = true;
        heap.live++;
    }
    pthread_mutex_unlock(&heap.lock);
    if (!s)
        return NULL;
    s->n = (uint32_t)value.n;
    if (value.n)
        memcpy(s->bytes, value.p, value.n);
    atomic_store_explicit(&s->refs, 1, memory_order_release);
    return s;
}

struct secret *secret_ref(struct secret *s)
{
    uint32_t before = atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    ASSERT(before > 0 && before < UINT32_MAX);
    return s;
}

void secret_unref(struct secret *s)
{
    if (!s)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    mem_wipe(s->bytes, s->n);
    pthread_mutex_lock(&heap.lock);
    s->n = 0;
    s->used = false;
    heap.live--;
    pthread_mutex_unlock(&heap.lock);
}

struct str secret_borrow(const struct secret *s)
{
    return str_of(s->bytes, s->n);
}

bool secret_equal(const struct secret *s, struct str candidate)
{
    if (s->n != candidate.n)
        return false;
    volatile unsigned char differ = 0; /* volatile: no early exit may be made of this */
    for (size_t i = 0; i < candidate.n; i++)
        differ = (unsigned char)(differ | (s->bytes[i] ^ candidate.p[i]));
    return differ == 0;
}
