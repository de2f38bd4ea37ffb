#include "audit/queue.h"
#include "audit/audit_int.h"
#include "base/limits.h"
#include "base/mem.h"
#include <stdatomic.h>
#include <string.h>

/* A queue that nobody empties must end somewhere: this is far above what holds requests back. */
#define QUEUE_MAX_BYTES ((uint64_t)LIMIT_AUDIT_HIGH_BYTES * 16)

/* The owner appends to the last block and links new ones; the writer frees from the front. `end`
 * and `next` are stored with release after what they stand for, so the writer needs no lock. Lines
 * never cross blocks; a longer one has a block of its own. */
struct queue_block {
    _Atomic(struct queue_block *) next;
    _Atomic size_t end;
    size_t cap;
    uint64_t base; /* position of data[0] since the queue began */
    char data[];
};

#define BLOCK_CAP (LIMIT_AUDIT_BLOCK_BYTES - sizeof(struct queue_block))

/* Emptied blocks on their way back: what a busy worker fills between two looks of the writer. */
enum { RECYCLED = 4 };

struct queue {
    struct queue_block *tail, *spare;       /* owner's */
    struct bell *bell;                      /* rung when the writer sleeps; NULL: nobody does */
    _Atomic uint64_t added, lost;           /* written by the owner */
    char apart_[64];                        /* the two threads' words on different cache lines */
    _Atomic uint64_t done;                  /* written by the writer */
    struct queue_block *head;               /* writer's */
    struct queue_cursor own;                /* of queue_peek */
    _Atomic(struct queue_block *) recycled[RECYCLED];
};

static struct queue_block *block_new(size_t cap)
{
    struct queue_block *b = mem_alloc(sizeof(*b) + cap);
    if (b)
        b->cap = cap;
    return b;
}

static void block_begin(struct queue_block *b, uint64_t base)
{
    atomic_init(&b->next, NULL);
    atomic_init(&b->end, 0);
    b->base = base;
}

struct queue *queue_new(void)
{
    struct queue *q = mem_zalloc(sizeof(*q));
    if (!q)
        return NULL;
    q->head = q->tail = block_new(BLOCK_CAP);
    q->spare = block_new(BLOCK_CAP);
    if (!q->tail || !q->spare) {
        mem_free(q->tail);
        mem_free(q->spare);
        mem_free(q);
        return NULL;
    }
    block_begin(q->tail, 0);
    q->own.block = q->head;
    return q;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    while (q->head) {
        struct queue_block *b = q->head;
        q->head = atomic_load(&b->next);
        mem_free(b);
    }
    mem_free(q->spare);
    for (int i = 0; i < RECYCLED; i++)
        mem_free(atomic_load(&q->recycled[i]));
    mem_free(q);
}

static struct queue_block *block_fresh(struct queue *q)
{
    for (int i = 0; i < RECYCLED; i++) {
        struct queue_block *b = NULL;
        if (atomic_load_explicit(&q->recycled[i], memory_order_relaxed))
            b = atomic_exchange_explicit(&q->recycled[i], NULL, memory_order_acquire);
        if (b)
            return b;
    }
    return block_new(BLOCK_CAP);
}

/* Link a block with room for n bytes at the end; then see that a spare one lies ready for the next
 * time. */
static bool add_block(struct queue *q, size_t n)
{
    struct queue_block *b;
    if (n > BLOCK_CAP) {
        b = n < SIZE_MAX / 2 ? block_new(n) : NULL;
    } else {
        b = q->spare ? q->spare : block_fresh(q);
        q->spare = NULL;
    }
    if (!b)
        return false;
    block_begin(b, atomic_load_explicit(&q->added, memory_order_relaxed));
    atomic_store_explicit(&q->tail->next, b, memory_order_release);
    q->tail = b;
    if (!q->spare)
        q->spare = block_fresh(q); /* NULL: the next add_block tries again */
    return true;
}

char *queue_reserve(struct queue *q, size_t most)
{
    size_t used = atomic_load_explicit(&q->tail->end, memory_order_relaxed);
    if (queue_pending(q) < QUEUE_MAX_BYTES) {
        if (most <= q->tail->cap - used)
            return q->tail->data + used;
        if (add_block(q, most))
            return q->tail->data;
    }
    atomic_fetch_add_explicit(&q->lost, 1, memory_order_relaxed);
    return NULL;
}

/* That something was added must be known before it is asked whether the writer sleeps, as the writer
 * says that it sleeps before it asks whether something was added: one of the two sees the other. */
void queue_commit(struct queue *q, size_t n)
{
    struct queue_block *b = q->tail;
    size_t used = atomic_load_explicit(&b->end, memory_order_relaxed);
    uint64_t added = atomic_load_explicit(&q->added, memory_order_relaxed);
    atomic_store_explicit(&b->end, used + n, memory_order_release);
    atomic_store_explicit(&q->added, added + n, memory_order_seq_cst);
    if (q->bell)
        bell_ring(q->bell);
}

bool queue_add(struct queue *q, const char *line, size_t n)
{
    char *at = queue_reserve(q, n);
    if (!at)
        return false;
    memcpy(at, line, n);
    queue_commit(q, n);
    return true;
}

void queue_set_bell(struct queue *q, struct bell *bell)
{
    q->bell = bell;
}

uint64_t queue_pending(const struct queue *q)
{
    /* done first: it never passes added, and what was added meanwhile only makes the answer larger.
     */
    uint64_t done = atomic_load_explicit(&q->done, memory_order_acquire);
    uint64_t added = atomic_load_explicit(&q->added, memory_order_seq_cst); /* queue_commit */
    return added > done ? added - done : 0;
}

uint64_t queue_lost(const struct queue *q)
{
    return atomic_load_explicit(&q->lost, memory_order_relaxed);
}

void queue_cursor_init(const struct queue *q, struct queue_cursor *c)
{
    *c = q->own;
}

bool queue_cursor_peek(struct queue_cursor *c, const char **ret_p, size_t *ret_n)
{
    for (;;) {
        struct queue_block *b = c->block;
        /* next before end: a block with a successor is complete. */
        struct queue_block *next = atomic_load_explicit(&b->next, memory_order_acquire);
        size_t end = atomic_load_explicit(&b->end, memory_order_acquire);
        if (c->off < end) {
            *ret_p = b->data + c->off;
            *ret_n = end - c->off;
            return true;
        }
        if (!next)
            return false;
        c->block = next;
        c->off = 0;
    }
}

void queue_cursor_advance(struct queue_cursor *c, size_t n)
{
    c->off += n;
    c->pos += n;
}

uint64_t queue_cursor_lag(const struct queue *q, const struct queue_cursor *c)
{
    uint64_t added = atomic_load_explicit(&q->added, memory_order_relaxed);
    return added > c->pos ? added - c->pos : 0;
}

static void recycle(struct queue *q, struct queue_block *b)
{
    for (int i = 0; i < RECYCLED && b->cap == BLOCK_CAP; i++) {
        struct queue_block *none = NULL;
        if (atomic_compare_exchange_strong_explicit(&q->recycled[i], &none, b, memory_order_release,
                                                    memory_order_relaxed))
            return;
    }
    mem_free(b);
}

void queue_release(struct queue *q, struct queue_cursor *cursors, size_t n)
{
    uint64_t least = cursors[0].pos;
    for (size_t i = 1; i < n; i++)
        least = cursors[i].pos < least ? cursors[i].pos : least;
    for (;;) {
        struct queue_block *b = q->head;
        struct queue_block *next = atomic_load_explicit(&b->next, memory_order_acquire);
        if (!next || b->base + atomic_load_explicit(&b->end, memory_order_acquire) > least)
            break;
        for (size_t i = 0; i < n; i++) { /* all are at its end, or beyond */
            if (cursors[i].block == b) {
                cursors[i].block = next;
                cursors[i].off = 0;
            }
        }
        q->head = next;
        recycle(q, b);
    }
    atomic_store_explicit(&q->done, least, memory_order_release);
}

bool queue_peek(struct queue *q, const char **ret_p, size_t *ret_n)
{
    return queue_cursor_peek(&q->own, ret_p, ret_n);
}

void queue_done(struct queue *q, size_t n)
{
    queue_cursor_advance(&q->own, n);
    queue_release(q, &q->own, 1);
}
