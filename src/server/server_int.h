/* Shared inside server/ only. */
#pragma once
#include "proxy/worker.h"
#include "server/server.h"
#include "sys/jobs.h"
#include "sys/loop.h"
#include "sys/signals.h"
#include "sys/thread.h"

enum { MAX_LISTENERS = 64, MAX_WORKERS = 256 };

/* A bound address: one descriptor for worker 0 alone, or one per worker (SO_REUSEPORT). */
struct bound {
    struct listen_point point;
    int *fds;            /* n_fds of them */
    unsigned n_fds;
    bool unlink_at_end;  /* a unix socket path that we made */
};

struct server_thread {
    struct server *server;
    struct thread *thread;
    struct worker *worker; /* valid from `started` to the join */
    unsigned index;
    enum err failed;
    struct msg started;
    bool running;
    _Atomic bool empty_said;
    _Atomic uint64_t pongs;
};

struct server {
    const struct config *config;
    struct loop *control;
    struct broker *broker;       /* sources of credentials */
    uint64_t warned_ns[32];      /* when a failing credential was last warned of, by its hash */
    struct signals *signals;
    struct shared shared;
    struct runtime *runtime;     /* the current one, for reload and the banner */
    struct secret *token;
    struct writer *writer;
    struct queue *audit;         /* control's own lines */
    struct bound bound[MAX_LISTENERS];
    struct listen_point points[MAX_LISTENERS];
    unsigned n_bound;
    struct server_thread *threads;
    unsigned n_threads, n_started; /* threads that run; that have said how their start went */
    unsigned n_live, n_drained, n_empty; /* workers there are; that accept no more; that have nothing left */
    struct timer deadline, watchdog;
    bool draining, stop_wanted, stopping, reloading, reload_again;
    uint64_t generation;
};

/* --- bind.c --- */
/* Bind everything that the config names and what the service manager passed. Says on stderr what fails. */
enum err server_bind(struct server *s, unsigned workers) MUST_CHECK;
void server_unbind(struct server *s);

/* --- threads.c --- */
enum err server_start_workers(struct server *s, unsigned workers) MUST_CHECK;
/* Run fn(worker) on every worker's loop. */
void server_tell(struct server *s, void (*fn)(struct worker *w));
void server_join_workers(struct server *s);
struct worker *server_place(struct worker *w);

/* --- credentials.c --- */
enum err server_open_broker(struct server *s) MUST_CHECK;
/* One sentence per route, for the banner; mem_free. NULL: there are no routes, or out of memory. */
struct str *server_probe(struct server *s, size_t *ret_n);
void server_close_broker(struct server *s); /* after the workers have joined and control's loop has turned */
/* runtime_load with the credentials compiled. Any thread. */
enum err server_load_runtime(struct server *s, uint64_t generation, struct runtime **ret_runtime, char **ret_report,
                             struct errctx *ctx) MUST_CHECK;

/* --- reload.c --- */
void server_reload(struct server *s);

/* --- life.c --- */
void server_on_signal(void *owner, int signo);
/* Workers end what still runs and stop; then control's loop ends. */
void server_stop(struct server *s);
void server_on_empty(struct worker *w);
void server_record(struct server *s, const char *event, struct str reason);
void server_watchdog_start(struct server *s);
