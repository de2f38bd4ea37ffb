/* SIGHUP: everything is built anew from the same flags, as a whole or not at all, off the control loop; then each worker gets it by
 * message. */
#include "server/server_int.h"

#include "base/log.h"
#include "base/mem.h"
#include "credential/broker.h"
#include "sys/clock.h"
#include "sys/notify.h"

#include <stdio.h>

struct reload {
    struct job job;
    struct server *server;
    struct runtime *runtime;
    struct errctx err;
    char *report; /* every problem, or notices; NULL: none */
    enum err failed;
};

static void build(struct job *j)
{
    struct reload *r = CONTAINER_OF(j, struct reload, job);
    struct server *s = r->server;

    r->failed = server_load_runtime(s, s->generation + 1, &r->runtime, &r->report, &r->err);
}

struct publish {
    struct msg msg;
    struct worker *worker;
    struct runtime *runtime;
};

static void on_publish(struct msg *m)
{
    struct publish *p = CONTAINER_OF(m, struct publish, msg);

    worker_reload(p->worker, p->runtime);
    mem_free(p);
}

/* Messages first, then none can fail: all workers or none. */
static bool publish(struct server *s, struct runtime *runtime)
{
    struct publish *all[MAX_WORKERS] = {0};
    unsigned n = 0;

    while (n < s->n_threads && (all[n] = mem_alloc(sizeof(**all))))
        n++;
    for (unsigned i = 0; i < n; i++) {
        if (n < s->n_threads) {
            mem_free(all[i]);
            continue;
        }
        *all[i] = (struct publish){.msg = {.fn = on_publish}, .worker = s->shared.workers[i],
                                   .runtime = runtime_ref(runtime)};
        loop_post(s->shared.workers[i]->loop, &all[i]->msg);
    }
    return n == s->n_threads;
}

static bool more_than_one(const char *report)
{
    const char *end = strchr(report, '\n');

    return end && end[1];
}

/* Line by line: each says its place. An answer to an operator's signal is never held back by the
 * once-a-minute rule. */
static void log_report(const char *report)
{
    struct str rest = str_from(report), line;

    while (str_next(&rest, '\n', &line))
        if (line.n)
            log_write(LOG_WARN, "%.*s", STR_ARG(line));
}

static void done(struct job *j)
{
    struct reload *r = CONTAINER_OF(j, struct reload, job);
    struct server *s = r->server;

    s->reloading = false;
    if (r->failed == ERR_OK && broker_learn(s->broker, &r->runtime->config) != ERR_OK)
        log_warn("out of memory: helpers may see what new env:// sources name");
    if (r->failed == ERR_OK && !s->stopping && publish(s, r->runtime)) {
        runtime_unref(s->runtime);
        s->runtime = r->runtime;
        s->generation++;
        broker_reload(s->broker);
        server_record(s, "reload", STR(""));
        log_info("reloaded: generation %llu", (unsigned long long)s->generation);
    } else {
        runtime_unref(r->failed == ERR_OK ? r->runtime : NULL);
        server_record(s, "reload_failed", str_from(r->err.text));
        log_write(LOG_WARN, "reload failed, the former configuration stays: %s", r->err.text);
    }
    if (r->report && (r->failed == ERR_OK || more_than_one(r->report)))
        log_report(r->report);
    mem_free(r->report);
    notify_send("READY=1");
    mem_free(r);
    if (s->reload_again && !s->stopping) {
        s->reload_again = false;
        server_reload(s);
    }
}

void server_reload(struct server *s)
{
    struct reload *r;
    char text[64];

    if (s->reloading) {
        s->reload_again = true;
        return;
    }
    r = mem_zalloc(sizeof(*r));
    (void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
                   (unsigned long long)(clock_mono_ns() / 1000));
    notify_send(text);
    writer_reopen(s->writer);
    if (!r)
        return;
    r->server = s;
    r->job = (struct job){.work = build, .done = done};
    s->reloading = job_start(s->control, &r->job) == ERR_OK;
    if (!s->reloading)
        mem_free(r);
}
