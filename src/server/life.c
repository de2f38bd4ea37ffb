/* From the first signal to the end. */
#include "server/server_int.h"

#include "approval/approval.h"
#include "audit/lifecycle.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/notify.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

void server_record(struct server *s, const char *event, struct str reason)
{
    struct buf b;
    char hash[24] = "";
    bool whole = str_eq(str_from(event), STR("start")) || str_eq(str_from(event), STR("reload"));

    if (!s->audit)
        return;
    if (whole) /* flags and profile as they were resolved */
        (void)snprintf(hash, sizeof(hash), "%016llx",
                       (unsigned long long)config_hash(&s->runtime->config));
    buf_init(&b, 8192);
    lifecycle_format(&b, event, clock_wall_ms(), whole ? STR(NONO_VERSION) : STR(""),
                     whole ? str_from(hash) : STR(""), reason, 0);
    if (buf_ok(&b))
        (void)queue_add(s->audit, b.p, b.n);
    buf_fini(&b);
}

static void stop_worker(struct worker *w)
{
    worker_end_all(w);
    loop_stop(w->loop);
}

/* Only when every worker has closed what it accepts on: one that still accepts hands connections to the others' loops. */
static void stop_if_drained(struct server *s)
{
    if (s->stopping || !s->stop_wanted || s->n_drained < s->n_live)
        return;
    s->stopping = true;
    if (s->shared.approvals)
        approvals_stop(s->shared.approvals);
    server_tell(s, stop_worker);
    if (s->control)
        loop_stop(s->control);
}

static void on_deadline(struct timer *t)
{
    server_stop(CONTAINER_OF(t, struct server, deadline));
}

/* A stderr that nobody reads must not keep us here. */
static void say(const char *text)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT))
        (void)!write(STDERR_FILENO, text, strlen(text));
}

/* A line that is always said; where every line is JSON, as one. */
static void say_farewell(const struct config *c)
{
    if (c->silent)
        return;
    if (!c->log_json) {
        say("\n  [nono] Shutting down proxy...\n");
        return;
    }
    log_set_level(c->log_level > LOG_INFO ? c->log_level : LOG_INFO);
    log_info("Shutting down proxy...");
    log_set_level(c->log_level);
}

/* Something that a worker tells control. */
struct note {
    struct msg msg;
    struct server *server;
};

static bool post_note(struct worker *w, msg_fn *fn)
{
    struct server *s = w->shared->server;
    struct note *n = mem_alloc(sizeof(*n));

    if (!n)
        return false;
    *n = (struct note){.msg = {.fn = fn}, .server = s};
    loop_post(s->control, &n->msg);
    return true;
}

static struct server *read_note(struct msg *m)
{
    struct note *n = CONTAINER_OF(m, struct note, msg);
    struct server *s = n->server;

    mem_free(n);
    return s;
}

static void on_drained(struct msg *m)
{
    struct server *s = read_note(m);

    s->n_drained++;
    stop_if_drained(s);
}

/* Close what this worker accepts on: an open socket would still take connections into its queue, where nobody fetches them. A unix
 * socket's file goes now, too: later it may be a successor's. */
static void stop_accepting(struct worker *w)
{
    struct server *s = w->shared->server;
    bool told;

    worker_drain(w);
    for (unsigned i = 0; i < s->n_bound; i++) {
        struct bound *b = &s->bound[i];
        unsigned k = b->n_fds == 1 ? 0 : w->index;

        if (b->n_fds == 1 && w->index > 0)
            continue; /* worker 0's */
        if (b->n_fds == 1 && b->unlink_at_end) {
            (void)unlink(b->point.name.p + sizeof("unix:") - 1);
            b->unlink_at_end = false;
        }
        sock_close(b->fds[k]);
        b->fds[k] = -1;
    }
    told = post_note(w, on_drained);
    ASSERT(told); /* control would wait for ever; nobody else's bytes decide this */
}

/* Told to every worker once; each says when it has. */
static void begin_drain(struct server *s)
{
    s->draining = true;
    server_tell(s, stop_accepting);
}

void server_stop(struct server *s)
{
    s->stop_wanted = true;
    if (!s->draining)
        begin_drain(s);
    stop_if_drained(s);
}

static void drain(struct server *s)
{
    notify_send("STOPPING=1");
    say_farewell(s->config);
    server_record(s, "drain", STR(""));
    begin_drain(s);
    timer_init(&s->deadline, on_deadline);
    if (s->config->drain_timeout_ms)
        timer_set(s->control, &s->deadline, s->config->drain_timeout_ms);
    else
        server_stop(s);
}

void server_on_signal(void *owner, int signo)
{
    struct server *s = owner;

    if (signo == SIGHUP) {
        if (!s->draining)
            server_reload(s);
    } else if (s->draining) {
        server_stop(s);
    } else {
        drain(s);
    }
}

/* A worker that drains has nothing left: when that is true of all, there is nothing to wait for. */
static void on_empty_said(struct msg *m)
{
    struct server *s = read_note(m);

    s->n_empty++;
    if (s->n_empty == s->n_live)
        server_stop(s);
}

void server_on_empty(struct worker *w)
{
    struct server *s = w->shared->server;

    if (!atomic_exchange(&s->threads[w->index].empty_said, true))
        (void)post_note(w, on_empty_said); /* out of memory: the deadline ends it */
}

/* ---------------------------------------------------------------- systemd's watchdog */

static void pong(struct worker *w)
{
    struct server *s = w->shared->server;

    atomic_fetch_add(&s->threads[w->index].pongs, 1);
}

/* Every loop must have turned since the last look. */
static void on_watchdog(struct timer *t)
{
    struct server *s = CONTAINER_OF(t, struct server, watchdog);
    bool all = true;

    for (unsigned i = 0; i < s->n_threads; i++)
        all &= atomic_exchange(&s->threads[i].pongs, 0) > 0;
    if (all)
        notify_send("WATCHDOG=1");
    server_tell(s, pong);
    timer_set(s->control, t, notify_watchdog_ms());
}

void server_watchdog_start(struct server *s)
{
    if (!notify_watchdog_ms())
        return;
    timer_init(&s->watchdog, on_watchdog);
    server_tell(s, pong);
    timer_set(s->control, &s->watchdog, notify_watchdog_ms());
}
