/* The writer: the only thread that blocks on a sink, audit or log. Looks at the queues every 5 ms while something comes,
 * and sleeps until somebody adds something when nothing has come for a while. */
#pragma once
#include "audit/queue.h"
#include "base/err.h"
#include "base/str.h"

struct writer;

struct writer_sink_spec {
    struct str text; /* PATH, "-", "fd:N" */
};
/* Open the audit sinks (append, 0600) and the log file (append; NULL: stderr; when it cannot be opened: said on stderr, stderr is used).
 * ERR_INVALID with a sentence naming the sink that cannot be opened. The thread does not run yet. */
enum err writer_new(const struct str *sinks, size_t n, const char *log_file, struct writer **ret_writer, struct errctx *ctx) MUST_CHECK;
enum err writer_start(struct writer *w) MUST_CHECK;
/* Before writer_start, or from control later: a queue per worker (and one for control). Owned by the writer from then on. */
struct queue *writer_add_queue(struct writer *w) MUST_CHECK;
/* Log lines from any thread (a queue of its own with a lock; drops and counts when full; never blocks for long). A log_sink_fn. */
void writer_log(void *writer, const char *line, size_t n);
/* Reopen audit files and the log file (SIGHUP). Any thread; done by the writer soon. */
void writer_reopen(struct writer *w);
/* Any thread: some sink is failing, or has been too slow for LIMIT_AUDIT_HOLD_MS. */
bool writer_failing(const struct writer *w);
bool writer_has_sinks(const struct writer *w);
uint64_t writer_lost(const struct writer *w);
/* Write what is left (at most LIMIT_AUDIT_EXIT_MS), stop the thread, close, free. After the workers ended. */
void writer_finish(struct writer *w);
