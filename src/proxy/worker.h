/* A worker: thread-bound home of sessions, with everything they borrow. Only messages come from other threads. */
#pragma once
#include "audit/queue.h"
#include "audit/writer.h"
#include "base/map.h"
#include "base/slab.h"
#include "config/runtime.h"
#include "credential/vault.h"
#include "http/h1_leg.h"
#include "net/listener.h"
#include "net/pump.h"
#include "upstream/connect.h"
#include "upstream/pool.h"

enum { WORKER_SCRATCH = 65536 };
/* Two forms of the longest path below the longest base path (policy/facts.h). */
enum { WORKER_JUDGE_SCRATCH = 2 * (65536 + 4096) + 4 };

/* A listener as workers know it: immutable for the process's life. */
struct listen_point {
    bool is_unix;
    struct str name;         /* "127.0.0.1:8080", "unix:/run/x": audit and logs */
    struct address address;
    uint16_t port;
    bool wildcard;
};

/* What all workers share: immutable, or atomic. */
struct shared {
    const struct listen_point *points;
    unsigned n_points;
    struct writer *writer;
    uint64_t max_connections;       /* 0: unlimited */
    _Atomic uint64_t connections;   /* open client connections of all workers */
    _Atomic uint64_t next_id;       /* connection and request numbers, handed out in blocks */
    struct worker **workers;
    unsigned n_workers;
    /* Which worker gets a connection that `w` accepted (server/place.c); NULL: the one that accepted it. */
    struct worker *(*place)(struct worker *w);
    /* A draining worker has no session left (or had none); any number of times. NULL: nobody asks. */
    void (*on_empty)(struct worker *w);
    struct loop *control;           /* of the broker; with it: */
    struct broker *broker;          /* NULL: there are no credentials */
    struct approvals *approvals;    /* NULL: there is no terminal */
    struct limits *limits;          /* rate limits by name; NULL: none holds */
    void *server;
    uint64_t drain_timeout_ms;
};

struct worker {
    struct loop *loop;
    unsigned index;
    struct shared *shared;
    struct runtime *runtime;     /* the current one; exchanges pin theirs */
    struct chunk_pool *chunks;
    struct slab *sessions, *exchanges;
    struct dns *dns;
    struct tls_client *tls;
    struct tls_trust *tls_trust; /* of tls */
    struct route_tls *route_tls; /* contexts of routes with a trust of their own */
    unsigned n_route_tls;
    struct vault *vault;         /* NULL without a broker */
    struct approver *approver;
    struct map limits;           /* of shared->limits, as far as they were met here */
    struct pool *pool;
    struct queue *audit;
    struct h1_env h1;
    struct pump_env pump;
    struct up_env up;
    struct field *fields;        /* LIMIT_HEAD_FIELDS entries, valid within one event */
    char *scratch;               /* WORKER_SCRATCH bytes, valid within one call */
    char *judge_scratch;         /* WORKER_JUDGE_SCRATCH bytes, valid within policy_decide */
    struct list session_list;
    struct list waiting;         /* sessions that hold back a head while audit is behind */
    struct timer held;           /* looks at `waiting` again */
    _Atomic uint32_t n_sessions; /* read by place() of other workers */
    uint64_t next_id, last_id;   /* block of ids */
    struct listener **listeners;
    unsigned n_listeners;
    bool draining;
    struct timer purge;          /* ends what a reload denied and still runs */
    unsigned n_over_limit;       /* sessions that only get their 503 */
};

/* Everything but the listeners. The loop is the caller's (epoll, or the simulator's). Takes a reference on runtime. */
enum err worker_new(struct shared *shared, unsigned index, struct loop *loop, struct runtime *runtime, struct worker **ret_worker)
    MUST_CHECK;
/* After the loop stopped: everything that is left is closed at once. */
void worker_free(struct worker *w);
/* Accept on a bound descriptor (borrowed) of point `tag`. Loop thread. */
enum err worker_listen(struct worker *w, int fd, unsigned tag) MUST_CHECK;
/* Serve a connection that was accepted somewhere: owns fd. Loop thread. */
void worker_adopt(struct worker *w, int fd, const struct sock_addr *peer, unsigned tag);
/* The same over any stream (simulations, tests). */
void worker_adopt_stream(struct worker *w, struct stream *s, const struct sock_addr *peer, unsigned tag);
/* The context over that trust: one per content, kept as long as a runtime names it. NULL: out of memory. Loop thread. */
struct tls_client *worker_tls(struct worker *w, struct tls_trust *trust);
/* A new unique number for a connection or request. */
uint64_t worker_id(struct worker *w);
/* Stop accepting, close idle connections; running exchanges go on. Loop thread. */
void worker_drain(struct worker *w);
/* End what still runs, reason `shutdown`. Loop thread. */
void worker_end_all(struct worker *w);
/* Use a new runtime for new heads and judge again whatever runs (decision O1). Takes over the caller's reference. Loop thread. */
void worker_reload(struct worker *w, struct runtime *runtime);
bool worker_is_own_address(void *worker, const struct address *a, uint16_t port);
