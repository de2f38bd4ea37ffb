#include "server/server_int.h"

#include "base/log.h"
#include "base/assert.h"
#include "base/mem.h"
#include "sys/clock.h"

#include <stdio.h>

static enum err listen_everywhere(struct server_thread *t)
{
    struct server *s = t->server;

    for (unsigned i = 0; i < s->n_bound; i++) {
        const struct bound *b = &s->bound[i];
        enum err e;

        if (b->n_fds == 1 && t->index > 0)
            continue; /* one worker accepts; place() spreads */
        e = worker_listen(t->worker, b->fds[b->n_fds == 1 ? 0 : t->index], i);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static void on_started(struct msg *m)
{
    struct server_thread *t = CONTAINER_OF(m, struct server_thread, started);

    t->server->n_started++;
}

/* A thread's life: its own loop and worker, until control says stop. */
static void run_worker(void *arg)
{
    struct server_thread *t = arg;
    struct server *s = t->server;
    struct loop *loop = NULL;

    t->failed = loop_new_epoll(&loop);
    if (t->failed == ERR_OK)
        t->failed = worker_new(&s->shared, t->index, loop, s->runtime, &t->worker);
    if (t->failed == ERR_OK)
        s->shared.workers[t->index] = t->worker;
    t->started.fn = on_started;
    loop_post(s->control, &t->started);
    if (t->failed == ERR_OK) {
        loop_run(loop);
        worker_free(t->worker);
    }
    if (loop)
        loop_free(loop);
}

/* Accepting begins when every worker is there: placing looks at all of them. */
struct begin {
    struct msg msg;
    struct server_thread *thread;
};

static void on_begin(struct msg *m)
{
    struct begin *b = CONTAINER_OF(m, struct begin, msg);
    struct server_thread *t = b->thread;

    if (listen_everywhere(t) != ERR_OK)
        log_error("worker %u cannot accept connections", t->index);
    mem_free(b);
}

static enum err begin_all(struct server *s)
{
    for (unsigned i = 0; i < s->n_threads; i++) {
        struct begin *b = mem_alloc(sizeof(*b));

        if (!b)
            return ERR_NOMEM;
        b->msg.fn = on_begin;
        b->thread = &s->threads[i];
        loop_post(s->shared.workers[i]->loop, &b->msg);
    }
    return ERR_OK;
}

enum err server_start_workers(struct server *s, unsigned workers)
{
    char name[16];
    enum err e = ERR_OK;

    s->threads = mem_zalloc(workers * sizeof(*s->threads));
    s->shared.workers = mem_zalloc(workers * sizeof(struct worker *));
    if (!s->threads || !s->shared.workers)
        return ERR_NOMEM;
    for (unsigned i = 0; e == ERR_OK && i < workers; i++) {
        struct server_thread *t = &s->threads[i];

        t->server = s;
        t->index = i;
        (void)snprintf(name, sizeof(name), "worker-%u", i % 1000);
        e = thread_start(name, run_worker, t, &t->thread);
        t->running = e == ERR_OK;
        s->n_threads += t->running;
    }
    while (s->n_started < s->n_threads)
        loop_turn(s->control, 1000 * NS_PER_MS);
    for (unsigned i = 0; i < s->n_threads; i++) {
        s->n_live += s->threads[i].failed == ERR_OK;
        if (s->threads[i].failed != ERR_OK)
            e = s->threads[i].failed;
    }
    if (e != ERR_OK)
        return e;
    s->shared.n_workers = workers;
    return begin_all(s);
}

struct tell {
    struct msg msg;
    struct worker *worker;
    void (*fn)(struct worker *w);
};

static void on_told(struct msg *m)
{
    struct tell *t = CONTAINER_OF(m, struct tell, msg);

    t->fn(t->worker);
    mem_free(t);
}

void server_tell(struct server *s, void (*fn)(struct worker *w))
{
    for (unsigned i = 0; i < s->n_threads; i++) {
        struct tell *t;

        if (!s->shared.workers[i])
            continue;
        t = mem_alloc(sizeof(*t));
        ASSERT(t); /* control at start or end: nobody else's bytes decide this */
        *t = (struct tell){.msg = {.fn = on_told}, .worker = s->shared.workers[i], .fn = fn};
        loop_post(s->shared.workers[i]->loop, &t->msg);
    }
}

void server_join_workers(struct server *s)
{
    for (unsigned i = 0; i < s->n_threads; i++)
        if (s->threads[i].running)
            thread_join(s->threads[i].thread);
    mem_free(s->threads);
    mem_free(s->shared.workers);
}
