/* Shared inside audit/ only: reading a queue at several places at once, and descriptors that are
 * written without waiting. */
#pragma once
#include "audit/queue.h"
#include "base/err.h"
#include "base/str.h"
#include <pthread.h>
#include <stdatomic.h>

/* How a writer with nothing to do sleeps, and how those who give it something wake it. Neither side
 * makes a system call while it is awake. */
struct bell {
    _Atomic bool asleep; /* sequentially consistent on both sides, see queue_commit */
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

void bell_init(struct bell *b);
void bell_fini(struct bell *b);
void bell_wake(struct bell *b);
/* Any thread, after what there is to do can be seen. */
static inline void bell_ring(struct bell *b)
{
    if (atomic_load_explicit(&b->asleep, memory_order_seq_cst))
        bell_wake(b);
}
/* Sleep until the bell is rung, unless `has_work` says that there is something after all. */
void bell_sleep(struct bell *b, bool (*has_work)(void *owner), void *owner);

/* The bell that queue_add and queue_commit ring. Before the owner adds anything. */
void queue_set_bell(struct queue *q, struct bell *bell);

/* A place in a queue, one per sink. Writer thread only. */
struct queue_cursor {
    struct queue_block *block;
    size_t off;   /* within the block */
    uint64_t pos; /* since the queue began */
};

void queue_cursor_init(const struct queue *q,
                       struct queue_cursor *c); /* at the oldest byte not yet done */
/* The next run of bytes, never across a block: it ends with a whole line. False when there is none.
 */
bool queue_cursor_peek(struct queue_cursor *c, const char **ret_p, size_t *ret_n);
void queue_cursor_advance(struct queue_cursor *c, size_t n);
uint64_t queue_cursor_lag(const struct queue *q,
                          const struct queue_cursor *c); /* bytes behind the owner */
/* What all n cursors (at least one) have passed is done: its blocks may be used again. */
void queue_release(struct queue *q, struct queue_cursor *cursors, size_t n);

/* A file, pipe, terminal or socket that the writer writes to. Only a regular file may make it wait
 * (for the disk). */
struct outlet {
    int fd;           /* -1: none */
    bool is_path;     /* can be opened again */
    bool nonblocking; /* the file description is ours alone and non-blocking: no poll needed */
    size_t piece_max; /* most bytes of one write */
    char *name;       /* as messages call it; NUL-terminated */
};

enum outlet_state { OUTLET_WROTE, OUTLET_BUSY, OUTLET_BROKEN };

/* PATH, "-" (standard output) or "fd:N". ERR_INVALID with a sentence, ERR_NOMEM. On failure nothing
 * needs closing. */
enum err outlet_open(struct outlet *o, struct str text, struct errctx *ctx) MUST_CHECK;
/* Standard error, for logs. A closed one is an outlet that is always broken. */
enum err outlet_open_stderr(struct outlet *o) MUST_CHECK;
/* Open the path anew; the old file stays in use when that fails. 0 or an errno. */
int outlet_reopen(struct outlet *o) MUST_CHECK;
void outlet_close(struct outlet *o);
/* Write as much of p as goes without waiting. *ret_n is always set; *ret_errno when broken. Cuts at
 * line ends where it can. */
enum outlet_state outlet_write(struct outlet *o, const char *p, size_t n, size_t *ret_n,
                               int *ret_errno) MUST_CHECK;

struct sink;

/* A queue with each sink's place in it. Never removed before the writer ends. */
struct writer_queue {
    struct writer_queue *next;
    struct queue *q;
    struct queue_cursor cursors[]; /* one per sink, by its number */
};

enum err sink_new(struct str text, size_t number, struct sink **ret_sink,
                  struct errctx *ctx) MUST_CHECK;
void sink_free(struct sink *s);
/* Write what goes without waiting, at most a block of each queue; fail, drop or recover as it turns
 * out. Returns bytes written. */
size_t sink_pass(struct sink *s, struct writer_queue *queues, uint64_t now_ns);
void sink_want_reopen(struct sink *s);
void sink_retry_now(struct sink *s); /* a failing one is tried at the next pass */
bool sink_failing(const struct sink *s);
bool sink_behind(const struct sink *s,
                 const struct writer_queue *queues); /* healthy, with something left to write */
int sink_blocked_fd(const struct sink *s);           /* to poll for: healthy and busy, else -1 */
uint64_t sink_lost(const struct sink *s);            /* any thread; lines since the start */
/* At the end of time: what is left counts as lost, and is told. */
void sink_abandon(struct sink *s, struct writer_queue *queues);

struct log_queue;

/* NULL path: stderr; also, with a word on it, when the path cannot be opened. */
enum err log_queue_new(const char *path, struct log_queue **ret_queue,
                       struct errctx *ctx) MUST_CHECK;
void log_queue_free(struct log_queue *l);
void log_queue_add(struct log_queue *l, const char *line,
                   size_t n);               /* any thread; never waits for the outlet */
size_t log_queue_pass(struct log_queue *l); /* writer thread; returns bytes written */
bool log_queue_behind(struct log_queue *l);
bool log_queue_idle(struct log_queue *l); /* nothing to write, nothing to say */
int log_queue_blocked_fd(const struct log_queue *l);
void log_queue_reopen(struct log_queue *l);
