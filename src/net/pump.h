/* Bytes between two streams, both ways, until both sides ended: tunnels, upgraded connections. Half-close is preserved. Read/write
 * through the worker's scratch first, splice after LIMIT_SPLICE_AFTER where both are sockets, with a pooled pipe held only while it
 * holds bytes. Loop thread only. */
#pragma once
#include "base/chunk.h"
#include "net/stream.h"
#include "sys/loop.h"

struct pump;
struct pipe_pool;

/* Per worker: what pumps borrow. */
struct pump_env {
    struct loop *loop;
    struct chunk_pool *chunks; /* for bytes that a full peer did not take */
    struct pipe_pool *pipes;
    char *scratch; /* 64 KiB, valid within one call */
    size_t scratch_size;
    uint64_t keepalive_ms; /* after as long without a byte the kernel asks the peers; 0: a minute */
};
struct pipe_pool *pipe_pool_new(void) MUST_CHECK;
void pipe_pool_free(struct pipe_pool *p);

enum pump_end {
    PUMP_BOTH_ENDED,  /* both sides said FIN and everything was delivered */
    PUMP_A_FAILED,    /* reset or error on side a (the client) */
    PUMP_B_FAILED,
    PUMP_IDLE,        /* no byte either way for the idle time */
    PUMP_NOMEM,
};
typedef void pump_done_fn(void *owner, enum pump_end why);

struct pump_bytes {
    uint64_t a_to_b, b_to_a; /* delivered */
};
/* Starts at once (in the ready list); owns both streams from now on and closes them when done or freed (the caller keeps
 * them when this fails). A side whose peer ended in order is closed in order, others by RST; if one side takes no more after the other has
 * ended, that one gets LIMIT_TIMEOUT_LINGER to take what is on its way. idle_ms: timer. */
enum err pump_new(const struct pump_env *env, struct stream *a, struct stream *b, uint64_t idle_ms, pump_done_fn *done, void *owner,
                  struct pump **ret_pump) MUST_CHECK;
struct pump_bytes pump_bytes(const struct pump *p);
/* Ends both streams at once (reset: by RST) and frees; done is not called. After done was called, this frees what is left. */
void pump_free(struct pump *p, bool reset);
