#include "audit/audit_int.h"
#include "audit/lifecycle.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "sys/clock.h"
#include <inttypes.h>
#include <stdatomic.h>

#define RETRY_NS (100 * NS_PER_MS) /* how often a failing sink is tried */

struct sink {
    struct outlet outlet;
    size_t number;
    bool failing; /* takes nothing: lines are counted and dropped until a sink_failed line could be
                     written */
    bool busy;    /* the last write did not go without waiting */
    bool torn;    /* the last byte written was not the end of a line */
    bool want_reopen;
    struct writer_queue *torn_in; /* whose line that is */
    const char *why;              /* it fails; static */
    uint64_t missed;              /* lines since it fails */
    uint64_t retry_ns, slow_ns;   /* next try; since when it is too far behind (0: it is not) */
    _Atomic uint64_t lost;        /* lines since the start */
    struct log_site fail_site, works_site, reopen_site;
};

enum err sink_new(struct str text, size_t number, struct sink **ret_sink, struct errctx *ctx)
{
    struct sink *s = mem_zalloc(sizeof(*s));
    if (!s)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    enum err e = outlet_open(&s->outlet, text, ctx);
    if (e != ERR_OK) {
        mem_free(s);
        return e;
    }
    s->number = number;
    *ret_sink = s;
    return ERR_OK;
}

void sink_free(struct sink *s)
{
    if (!s)
        return;
    outlet_close(&s->outlet);
    mem_free(s);
}

/* Pass over all that waits for this sink, counting lines. The rest of a torn line ends in a newline
 * too: it counts as one. */
static uint64_t discard(struct sink *s, struct writer_queue *queues)
{
    uint64_t lines = 0;
    const char *p;
    size_t n;
    for (struct writer_queue *wq = queues; wq; wq = wq->next) {
        struct queue_cursor *c = &wq->cursors[s->number];
        while (queue_cursor_peek(c, &p, &n)) {
            for (size_t i = 0; i < n; i++)
                lines += p[i] == '\n';
            queue_cursor_advance(c, n);
        }
    }
    s->missed += lines;
    atomic_fetch_add_explicit(&s->lost, lines, memory_order_relaxed);
    s->torn_in = NULL;
    s->slow_ns = 0;
    s->busy = false;
    return lines;
}

/* At most once a minute, as long as it goes on. */
static void warn_failing(struct sink *s)
{
    if (log_enabled(LOG_WARN) && log_site_due(&s->fail_site))
        log_write(LOG_WARN, "audit sink %s fails: %s; %" PRIu64 " records lost so far",
                  s->outlet.name, s->why, s->missed);
}

static void fail(struct sink *s, struct writer_queue *queues, const char *why, uint64_t now_ns)
{
    s->failing = true;
    s->why = why;
    s->retry_ns = now_ns + RETRY_NS;
    discard(s, queues);
    warn_failing(s);
}

/* A failing sink works again once it has taken the line that says how much it missed. */
static void try_recover(struct sink *s, uint64_t now_ns)
{
    struct buf line;
    size_t wrote = 0;
    int code;
    if (now_ns < s->retry_ns)
        return;
    s->retry_ns = now_ns + RETRY_NS;
    buf_init(&line, 512);
    if (s->torn)
        buf_add_c(&line, '\n');
    lifecycle_format(&line, "sink_failed", clock_wall_ms(), STR_NULL, STR_NULL, STR_NULL,
                     s->missed);
    if (buf_ok(&line))
        s->failing = outlet_write(&s->outlet, line.p, line.n, &wrote, &code) != OUTLET_WROTE;
    if (wrote)
        s->torn = line.p[wrote - 1] != '\n';
    buf_fini(&line);
    if (s->failing)
        return;
    if (log_enabled(LOG_WARN) && log_site_due(&s->works_site))
        log_write(LOG_WARN, "audit sink %s works again; %" PRIu64 " records were lost",
                  s->outlet.name, s->missed);
    s->missed = 0;
}

static void try_reopen(struct sink *s)
{
    if (s->torn && !s->failing) /* the rest of the line belongs into the old file */
        return;
    s->want_reopen = false;
    int code = outlet_reopen(&s->outlet);
    if (!code) {
        s->retry_ns = 0;
        s->torn = s->torn && !s->outlet.is_path; /* a new file begins with a whole line */
    } else if (log_enabled(LOG_WARN) && log_site_due(&s->reopen_site)) {
        log_write(LOG_WARN, "audit sink %s cannot be opened again: %s; the old file stays in use",
                  s->outlet.name, err_errno_text(code));
    }
}

/* One run of one queue. False: the sink takes no more now. */
static bool write_run(struct sink *s, struct writer_queue *wq, struct writer_queue *queues,
                      uint64_t now_ns, size_t *sum)
{
    struct queue_cursor *c = &wq->cursors[s->number];
    const char *p;
    size_t n, wrote;
    int code = 0;
    if (!queue_cursor_peek(c, &p, &n))
        return true;
    enum outlet_state state = outlet_write(&s->outlet, p, n, &wrote, &code);
    if (wrote) {
        s->torn = p[wrote - 1] != '\n';
        s->torn_in = s->torn ? wq : NULL;
        queue_cursor_advance(c, wrote);
        *sum += wrote;
    }
    s->busy = state == OUTLET_BUSY;
    if (state == OUTLET_BROKEN)
        fail(s, queues, err_errno_text(code), now_ns);
    return state == OUTLET_WROTE;
}

/* Too far behind for too long is as good as broken: requests wait for it. */
static void judge_speed(struct sink *s, struct writer_queue *queues, uint64_t now_ns)
{
    uint64_t lag = 0;
    for (struct writer_queue *wq = queues; wq; wq = wq->next) {
        uint64_t one = queue_cursor_lag(wq->q, &wq->cursors[s->number]);
        lag = one > lag ? one : lag;
    }
    if (lag <= LIMIT_AUDIT_HIGH_BYTES)
        s->slow_ns = 0;
    else if (!s->slow_ns)
        s->slow_ns = now_ns | 1;
    else if (now_ns - s->slow_ns > LIMIT_AUDIT_HOLD_MS * NS_PER_MS)
        fail(s, queues, "it takes records too slowly", now_ns);
}

static void write_queues(struct sink *s, struct writer_queue *queues, uint64_t now_ns, size_t *sum)
{
    s->busy = false;
    if (s->torn_in && !write_run(s, s->torn_in, queues, now_ns, sum))
        return;
    for (struct writer_queue *wq = queues; wq; wq = wq->next) {
        if (!write_run(s, wq, queues, now_ns, sum))
            return;
    }
}

size_t sink_pass(struct sink *s, struct writer_queue *queues, uint64_t now_ns)
{
    size_t sum = 0;
    if (s->want_reopen)
        try_reopen(s);
    if (s->failing)
        try_recover(s, now_ns);
    if (s->failing) {
        if (discard(s, queues))
            warn_failing(s);
        return 0;
    }
    write_queues(s, queues, now_ns, &sum);
    if (!s->failing)
        judge_speed(s, queues, now_ns);
    return sum;
}

void sink_want_reopen(struct sink *s)
{
    s->want_reopen = s->outlet.is_path;
}

void sink_retry_now(struct sink *s)
{
    s->retry_ns = 0;
}

bool sink_failing(const struct sink *s)
{
    return s->failing;
}

bool sink_behind(const struct sink *s, const struct writer_queue *queues)
{
    for (const struct writer_queue *wq = queues; wq && !s->failing; wq = wq->next) {
        if (queue_cursor_lag(wq->q, &wq->cursors[s->number]))
            return true;
    }
    return false;
}

int sink_blocked_fd(const struct sink *s)
{
    return s->busy && !s->failing ? s->outlet.fd : -1;
}

uint64_t sink_lost(const struct sink *s)
{
    return atomic_load_explicit(&s->lost, memory_order_relaxed);
}

void sink_abandon(struct sink *s, struct writer_queue *queues)
{
    discard(s, queues);
    if (s->missed)
        log_error("audit sink %s: %" PRIu64 " records could not be written before the exit",
                  s->outlet.name, s->missed);
}
