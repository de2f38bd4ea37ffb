#include "audit/audit_int.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

/* Lines gather in one buffer while the other is being written. */
struct log_queue {
    pthread_mutex_t lock; /* held for a copy or a swap, never for a write */
    char *in;
    size_t in_n; /* guarded by the lock, as `in` is */
    char *out;   /* writer's */
    size_t out_n, off;
    _Atomic uint64_t dropped;
    struct log_site dropped_site, reopen_site;
    struct outlet outlet;
    bool busy, works; /* what the last write told */
};

static void open_outlet(struct log_queue *l, const char *path, enum err *ret_error)
{
    struct errctx ctx = {0};
    if (path && outlet_open(&l->outlet, str_from(path), &ctx) == ERR_OK) {
        *ret_error = ERR_OK;
        return;
    }
    *ret_error = outlet_open_stderr(&l->outlet);
    if (!path || *ret_error != ERR_OK)
        return;
    char text[300];
    int code;
    size_t wrote;
    int n = snprintf(text, sizeof(text), "nono: log file: %s; logs go to stderr\n", ctx.text);
    if (n > 0)
        (void)!outlet_write(&l->outlet, text, (size_t)n, &wrote, &code);
}

enum err log_queue_new(const char *path, struct log_queue **ret_queue, struct errctx *ctx)
{
    struct log_queue *l = mem_zalloc(sizeof(*l));
    if (!l)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&l->lock, NULL);
    l->outlet.fd = -1;
    /* Whole from the start, so that adding cannot fail; the kernel gives the pages as they are
     * touched. */
    l->in = mem_alloc(LIMIT_LOG_QUEUE_BYTES);
    l->out = mem_alloc(LIMIT_LOG_QUEUE_BYTES);
    enum err e = ERR_NOMEM;
    if (l->in && l->out)
        open_outlet(l, path, &e);
    if (e != ERR_OK) {
        log_queue_free(l);
        return err_set(ctx, e, "out of memory");
    }
    *ret_queue = l;
    return ERR_OK;
}

void log_queue_free(struct log_queue *l)
{
    if (!l)
        return;
    outlet_close(&l->outlet);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->in);
    mem_free(l->out);
    mem_free(l);
}

void log_queue_add(struct log_queue *l, const char *line, size_t n)
{
    pthread_mutex_lock(&l->lock);
    bool fits = n <= LIMIT_LOG_QUEUE_BYTES - l->in_n;
    if (fits) {
        memcpy(l->in + l->in_n, line, n);
        l->in_n += n;
    }
    pthread_mutex_unlock(&l->lock);
    if (!fits)
        atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
}

static void swap_buffers(struct log_queue *l)
{
    pthread_mutex_lock(&l->lock);
    char *full = l->in;
    l->in = l->out;
    l->out = full;
    l->out_n = l->in_n;
    l->in_n = 0;
    pthread_mutex_unlock(&l->lock);
    l->off = 0;
}

/* Only right after a swap, when the queue has room for the line, and while the outlet works: the
 * count must not be lost with it. */
static void tell_dropped(struct log_queue *l)
{
    if (!l->works || !atomic_load_explicit(&l->dropped, memory_order_relaxed) ||
        !log_enabled(LOG_WARN) || !log_site_due(&l->dropped_site))
        return;
    uint64_t n = atomic_exchange_explicit(&l->dropped, 0, memory_order_relaxed);
    log_write(LOG_WARN, "%" PRIu64 " log lines were dropped: %s takes them too slowly or fails", n,
              l->outlet.name);
}

size_t log_queue_pass(struct log_queue *l)
{
    size_t wrote = 0;
    int code;
    if (l->off == l->out_n) {
        swap_buffers(l);
        tell_dropped(l);
    }
    l->busy = false;
    if (l->off == l->out_n)
        return 0;
    enum outlet_state state =
        outlet_write(&l->outlet, l->out + l->off, l->out_n - l->off, &wrote, &code);
    l->off += wrote;
    l->busy = state == OUTLET_BUSY;
    l->works = state == OUTLET_WROTE;
    if (state == OUTLET_BROKEN) { /* nowhere to say so: count, and go on */
        uint64_t lines = 0;
        for (; l->off < l->out_n; l->off++)
            lines += l->out[l->off] == '\n';
        atomic_fetch_add_explicit(&l->dropped, lines, memory_order_relaxed);
    }
    return wrote;
}

bool log_queue_behind(struct log_queue *l)
{
    pthread_mutex_lock(&l->lock);
    bool behind = l->in_n > 0 || l->off < l->out_n;
    pthread_mutex_unlock(&l->lock);
    return behind;
}

bool log_queue_idle(struct log_queue *l)
{
    return !log_queue_behind(l) &&
           !(l->works && atomic_load_explicit(&l->dropped, memory_order_relaxed));
}

int log_queue_blocked_fd(const struct log_queue *l)
{
    return l->busy ? l->outlet.fd : -1;
}

void log_queue_reopen(struct log_queue *l)
{
    int code = outlet_reopen(&l->outlet);
    if (code && log_enabled(LOG_WARN) && log_site_due(&l->reopen_site))
        log_write(LOG_WARN, "log file %s cannot be opened again: %s; the old one stays in use",
                  l->outlet.name, err_errno_text(code));
}
