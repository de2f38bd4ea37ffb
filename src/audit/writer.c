#include "audit/writer.h"
#include "audit/audit_int.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/thread.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    BUSY_BYTES = 16384, /* who wrote as much looks again at once */
    IDLE_LOOKS = 20,    /* as many in vain, and it sleeps until it is woken: no wake-ups under load */
};

struct writer {
    struct sink **sinks;
    size_t n_sinks;
    struct log_queue *log;
    _Atomic(struct writer_queue *) queues; /* only ever pushed at the front */
    pthread_mutex_t add_lock;              /* between those who push */
    struct thread *thread;
    struct pollfd *pollfds; /* one per sink and one for the log */
    _Atomic bool reopen, stop, ended, failing;
    _Atomic uint64_t looked_ns; /* when the thread last went round; 0: it does not run, or sleeps */
    struct bell bell;
};

static void writer_free(struct writer *w)
{
    struct writer_queue *wq = atomic_load(&w->queues);
    while (wq) {
        struct writer_queue *next = wq->next;
        queue_free(wq->q);
        mem_free(wq);
        wq = next;
    }
    for (size_t i = 0; i < w->n_sinks; i++)
        sink_free(w->sinks[i]);
    log_queue_free(w->log);
    pthread_mutex_destroy(&w->add_lock);
    bell_fini(&w->bell);
    mem_free(w->sinks);
    mem_free(w->pollfds);
    mem_free(w);
}

static enum err open_all(struct writer *w, const struct str *sinks, size_t n, const char *log_file,
                         struct errctx *ctx)
{
    w->sinks = mem_zalloc(n * sizeof(struct sink *));
    w->pollfds = mem_zalloc((n + 1) * sizeof(struct pollfd));
    if (!w->sinks || !w->pollfds)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    for (; w->n_sinks < n; w->n_sinks++) {
        enum err e = sink_new(sinks[w->n_sinks], w->n_sinks, &w->sinks[w->n_sinks], ctx);
        if (e != ERR_OK)
            return e;
    }
    return log_queue_new(log_file, &w->log, ctx);
}

enum err writer_new(const struct str *sinks, size_t n, const char *log_file,
                    struct writer **ret_writer, struct errctx *ctx)
{
    struct writer *w = mem_zalloc(sizeof(*w));
    if (!w)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&w->add_lock, NULL);
    bell_init(&w->bell);
    enum err e = open_all(w, sinks, n, log_file, ctx);
    if (e != ERR_OK) {
        writer_free(w);
        return e;
    }
    *ret_writer = w;
    return ERR_OK;
}

struct queue *writer_add_queue(struct writer *w)
{
    struct writer_queue *wq = mem_zalloc(sizeof(*wq) + w->n_sinks * sizeof(struct queue_cursor));
    struct queue *q = wq ? queue_new() : NULL;
    if (!q) {
        mem_free(wq);
        return NULL;
    }
    wq->q = q;
    queue_set_bell(q, &w->bell);
    for (size_t i = 0; i < w->n_sinks; i++)
        queue_cursor_init(q, &wq->cursors[i]);
    pthread_mutex_lock(&w->add_lock);
    wq->next = atomic_load_explicit(&w->queues, memory_order_relaxed);
    atomic_store_explicit(&w->queues, wq, memory_order_seq_cst); /* has_work */
    pthread_mutex_unlock(&w->add_lock);
    return q;
}

void writer_log(void *writer, const char *line, size_t n)
{
    struct writer *w = writer;
    log_queue_add(w->log, line, n);
    bell_ring(&w->bell);
}

static void do_reopen(struct writer *w)
{
    for (size_t i = 0; i < w->n_sinks; i++)
        sink_want_reopen(w->sinks[i]);
    log_queue_reopen(w->log);
}

/* Nobody wants the records: the queues must not grow all the same. */
static void throw_away(struct writer_queue *queues)
{
    const char *p;
    size_t n;
    for (struct writer_queue *wq = queues; wq; wq = wq->next) {
        while (queue_peek(wq->q, &p, &n))
            queue_done(wq->q, n);
    }
}

/* Go round once. Returns bytes written. */
static size_t look(struct writer *w, uint64_t now_ns)
{
    struct writer_queue *queues = atomic_load_explicit(&w->queues, memory_order_acquire);
    size_t sum = 0;
    bool failing = false;
    if (atomic_exchange_explicit(&w->reopen, false, memory_order_relaxed))
        do_reopen(w);
    for (size_t i = 0; i < w->n_sinks; i++) {
        sum += sink_pass(w->sinks[i], queues, now_ns);
        failing |= sink_failing(w->sinks[i]);
    }
    atomic_store_explicit(&w->failing, failing, memory_order_relaxed);
    if (!w->n_sinks)
        throw_away(queues);
    for (struct writer_queue *wq = queues; wq && w->n_sinks; wq = wq->next)
        queue_release(wq->q, wq->cursors, w->n_sinks);
    return sum + log_queue_pass(w->log);
}

/* The pause between two looks. Ends early when a reader that was too slow takes bytes again; but if
 * the last look wrote nothing although poll had said it would go, poll is not to be believed and
 * the pause is a plain one. */
static void rest(struct writer *w, bool believe_poll)
{
    nfds_t n = 0;
    for (size_t i = 0; i <= w->n_sinks && believe_poll; i++) {
        int fd = i < w->n_sinks ? sink_blocked_fd(w->sinks[i]) : log_queue_blocked_fd(w->log);
        if (fd >= 0)
            w->pollfds[n++] = (struct pollfd){.fd = fd, .events = POLLOUT};
    }
    (void)poll(w->pollfds, n, LIMIT_WRITER_LOOK_MS);
}

/* Whether there is, or may soon be, something to do that nobody will ring for. All that the others do
 * before they ring is asked for after the word that this thread sleeps, with loads that order them. */
static bool has_work(void *owner)
{
    struct writer *w = owner;
    struct writer_queue *wq = atomic_load_explicit(&w->queues, memory_order_seq_cst);
    if (atomic_load_explicit(&w->stop, memory_order_seq_cst) ||
        atomic_load_explicit(&w->reopen, memory_order_seq_cst) || !log_queue_idle(w->log))
        return true;
    for (size_t i = 0; i < w->n_sinks; i++) {
        if (sink_failing(w->sinks[i]))
            return true;
    }
    for (; wq; wq = wq->next) {
        if (queue_pending(wq->q))
            return true;
    }
    return false;
}

static void sleep_until_rung(struct writer *w)
{
    atomic_store_explicit(&w->looked_ns, 0, memory_order_relaxed);
    bell_sleep(&w->bell, has_work, w);
}

static bool anything_left(struct writer *w)
{
    struct writer_queue *queues = atomic_load_explicit(&w->queues, memory_order_acquire);
    for (size_t i = 0; i < w->n_sinks; i++) {
        if (sink_behind(w->sinks[i], queues))
            return true;
    }
    return log_queue_behind(w->log);
}

/* The last words. Runs on the writer's thread, or on the caller's if that never started. */
static void flush_all(struct writer *w)
{
    uint64_t end_ns = clock_mono_ns() + LIMIT_AUDIT_EXIT_MS * NS_PER_MS;
    for (size_t i = 0; i < w->n_sinks; i++)
        sink_retry_now(w->sinks[i]);
    uint64_t now_ns = clock_mono_ns();
    size_t wrote = look(w, now_ns);
    while (anything_left(w) && now_ns < end_ns) {
        if (wrote < BUSY_BYTES)
            rest(w, wrote > 0);
        now_ns = clock_mono_ns();
        wrote = look(w, now_ns);
    }
    struct writer_queue *queues = atomic_load_explicit(&w->queues, memory_order_acquire);
    for (size_t i = 0; i < w->n_sinks; i++)
        sink_abandon(w->sinks[i], queues);
    for (int i = 0; i < 3 && log_queue_behind(w->log); i++)
        (void)log_queue_pass(w->log); /* also what abandoning said */
}

static void run(void *arg)
{
    struct writer *w = arg;
    unsigned in_vain = 0;
    while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
        uint64_t now_ns = clock_mono_ns();
        atomic_store_explicit(&w->looked_ns, now_ns | 1, memory_order_relaxed);
        size_t wrote = look(w, now_ns);
        in_vain = wrote || has_work(w) ? 0 : in_vain + 1;
        if (in_vain >= IDLE_LOOKS)
            sleep_until_rung(w);
        else if (wrote < BUSY_BYTES)
            rest(w, wrote > 0);
    }
    flush_all(w);
    atomic_store_explicit(&w->ended, true, memory_order_release);
}

enum err writer_start(struct writer *w)
{
    return thread_start("writer", run, w, &w->thread);
}

void writer_reopen(struct writer *w)
{
    atomic_store_explicit(&w->reopen, true, memory_order_seq_cst);
    bell_ring(&w->bell);
}

bool writer_failing(const struct writer *w)
{
    if (!w->n_sinks)
        return false;
    uint64_t looked = atomic_load_explicit(&w->looked_ns, memory_order_relaxed);
    uint64_t now = looked ? clock_mono_ns() : 0;
    /* A thread that does not come round hangs in a write, say to a dead network file system. */
    return atomic_load_explicit(&w->failing, memory_order_relaxed) ||
           (now > looked && now - looked > LIMIT_AUDIT_HOLD_MS * NS_PER_MS);
}

bool writer_has_sinks(const struct writer *w)
{
    return w->n_sinks > 0;
}

uint64_t writer_lost(const struct writer *w)
{
    uint64_t lost = 0;
    for (size_t i = 0; i < w->n_sinks; i++)
        lost += sink_lost(w->sinks[i]);
    struct writer_queue *wq = atomic_load_explicit(&w->queues, memory_order_acquire);
    for (; wq; wq = wq->next)
        lost += queue_lost(wq->q);
    return lost;
}

void writer_finish(struct writer *w)
{
    if (!w)
        return;
    atomic_store_explicit(&w->stop, true, memory_order_seq_cst);
    bell_ring(&w->bell);
    if (!w->thread) {
        flush_all(w);
        writer_free(w);
        return;
    }
    for (int ms = 0; ms < 2 * LIMIT_AUDIT_EXIT_MS; ms++) {
        if (atomic_load_explicit(&w->ended, memory_order_acquire)) {
            thread_join(w->thread);
            writer_free(w);
            return;
        }
        (void)poll(NULL, 0, 1);
    }
    /* It hangs in a write that nobody can end: leave it, and its memory, to the exit of the
     * process. */
}
