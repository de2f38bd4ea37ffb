#include "server/server.h"

#include "approval/approval.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/limit.h"
#include "server/server_int.h"
#include "sys/clock.h"
#include "sys/harden.h"
#include "sys/notify.h"
#include "sys/random.h"
#include "upstream/resolver.h"

#include <stdio.h>
#include <unistd.h>

enum { DESCRIPTORS_SPARE = 512, TOKEN_BYTES = 32 };

/* ---------------------------------------------------------------- what must be there before the first worker */

static struct secret *make_token(const struct config *c)
{
    unsigned char raw[TOKEN_BYTES];
    struct secret *token;
    struct buf hex;

    if (c->pass)
        return secret_ref(c->pass);
    random_bytes(raw, sizeof(raw));
    buf_init(&hex, 2 * TOKEN_BYTES + 1);
    encode_hex(&hex, raw, sizeof(raw));
    token = secret_new(buf_str(&hex));
    buf_wipe_fini(&hex);
    mem_wipe(raw, sizeof(raw));
    return token;
}

static enum err open_writer(struct server *s)
{
    const struct config *c = s->config;
    struct str sinks[64] = {STR_NULL};
    struct errctx ctx = {0};
    size_t n = c->audit_log.n;
    enum err e;

    if (n > ARRAY_LEN(sinks)) {
        (void)fprintf(stderr, "nono: Configuration parse error: more than %zu --audit-log\n", ARRAY_LEN(sinks));
        return ERR_INVALID;
    }
    for (size_t i = 0; i < n; i++)
        sinks[i] = c->audit_log.v[i].value;
    e = writer_new(sinks, n, c->log_file.value.p, &s->writer, &ctx);
    if (e != ERR_OK) {
        (void)fprintf(stderr, "nono: %.*s: %s\n", n ? (int)c->audit_log.v[0].origin.n : 0,
                      n ? c->audit_log.v[0].origin.p : "", ctx.text);
        return e;
    }
    if (writer_has_sinks(s->writer))
        s->audit = writer_add_queue(s->writer);
    log_init(&(struct log_config){.level = c->silent ? LOG_OFF : c->log_level,
                                  .json = c->log_json,
                                  .colour = !c->log_json && !c->log_file.value.p && harden_is_terminal(STDERR_FILENO),
                                  .sink = writer_log,
                                  .sink_owner = s->writer,
                                  .wall_ms = clock_wall_ms});
    return ERR_OK;
}

static void set_limits(struct server *s)
{
    uint64_t descriptors = harden_raise_descriptors();
    uint64_t fit = descriptors > DESCRIPTORS_SPARE ? (descriptors - DESCRIPTORS_SPARE) / 2 : 16;

    s->shared.max_connections = s->config->max_connections_given ? s->config->max_connections : fit;
    s->shared.drain_timeout_ms = s->config->drain_timeout_ms;
}

static enum err build_runtime(struct server *s)
{
    struct errctx ctx = {0};
    char *report = NULL;
    enum err e;

    s->token = make_token(s->config);
    if (!s->token)
        return ERR_NOMEM;
    s->generation = 1;
    e = server_load_runtime(s, s->generation, &s->runtime, &report, &ctx);
    if (report && (e != ERR_OK || !s->config->silent))
        (void)fputs(report, stderr);
    else if (e != ERR_OK)
        (void)fprintf(stderr, "nono: Configuration parse error: %s\n", ctx.text);
    mem_free(report);
    return e;
}

static unsigned count_workers(const struct server *s)
{
    unsigned n = s->config->workers ? s->config->workers : thread_usable_cores();

    return n > MAX_WORKERS ? MAX_WORKERS : n;
}

/* What requests are held back by: rate limits, and questions on the terminal. */
static enum err open_holds(struct server *s)
{
    s->shared.control = s->control;
    s->shared.limits = limits_new();
    if (!s->shared.limits)
        return ERR_NOMEM;
    return approvals_new(s->control, &s->shared.approvals);
}

static enum err prepare(struct server *s)
{
    unsigned workers = count_workers(s);
    enum err e = build_runtime(s);

    if (e == ERR_OK)
        e = resolver_library_init();
    if (e == ERR_OK)
        e = server_bind(s, workers);
    if (e == ERR_OK)
        e = open_writer(s);
    if (e == ERR_OK)
        e = loop_new_uv(&s->control);
    if (e == ERR_OK) /* in place before the banner, and before any thread could be hit */
        e = signals_open(s->control, server_on_signal, s, &s->signals);
    if (e != ERR_OK)
        return e;
    set_limits(s);
    s->shared.points = s->points;
    s->shared.n_points = s->n_bound;
    s->shared.writer = s->writer;
    s->shared.place = server_place;
    s->shared.on_empty = server_on_empty;
    s->shared.server = s;
    atomic_store(&s->shared.next_id, 1);
    e = writer_start(s->writer);
    if (e != ERR_OK)
        return e;
    server_record(s, "start", STR("")); /* before there can be any other record */
    e = server_open_broker(s);
    if (e == ERR_OK)
        e = open_holds(s);
    if (e != ERR_OK)
        return e;
    return server_start_workers(s, workers);
}

/* ---------------------------------------------------------------- ready, and the end */

static enum err announce(struct server *s, server_ready_fn *ready, void *owner)
{
    struct server_listener list[MAX_LISTENERS];
    struct server_ready facts = {.listeners = list, .n = s->n_bound, .runtime = s->runtime,
                                 .token = s->config->no_auth ? NULL : s->token};

    struct str *missing = server_probe(s, &facts.n_missing);
    enum err e;

    facts.missing = missing;
    for (unsigned i = 0; i < s->n_bound; i++) {
        const struct listen_point *p = &s->points[i];

        list[i] = (struct server_listener){.is_unix = p->is_unix, .address = p->address, .port = p->port,
                                           .wildcard = p->wildcard};
        if (p->is_unix)
            list[i].path = str_of(p->name.p + 5, p->name.n - 5);
    }
    e = ready(owner, &facts);
    mem_free(missing);
    return e;
}

/* What was lost while the gateway ran, in one number: the sinks' own lines may have gone unread. */
static void close_writer(struct writer *w)
{
    uint64_t lost = writer_lost(w);

    if (lost)
        log_error("audit: %llu records were lost", (unsigned long long)lost);
    writer_finish(w);
}

static void take_down(struct server *s)
{
    if (s->control) {
        timer_stop(s->control, &s->deadline);
        timer_stop(s->control, &s->watchdog);
        while (s->reloading)
            loop_turn(s->control, 100 * NS_PER_MS);
        loop_turn(s->control, 0); /* what the workers said last: each message is freed by its receiver */
        server_close_broker(s);
        approvals_free(s->shared.approvals);
        limits_free(s->shared.limits);
    }
    server_record(s, "stop", STR(""));
    if (s->writer)
        close_writer(s->writer);
    log_init(&(struct log_config){.level = LOG_OFF});
    server_unbind(s);
    signals_close(s->signals);
    if (s->control)
        loop_free(s->control);
    runtime_unref(s->runtime);
    secret_unref(s->token);
}

static int run(struct server *s, server_ready_fn *ready, void *owner)
{
    enum err e = prepare(s);

    if (e == ERR_OK)
        e = announce(s, ready, owner);
    if (e == ERR_OK) {
        notify_send("READY=1");
        server_watchdog_start(s);
        loop_run(s->control);
    } else {
        server_stop(s);
        if (!s->stopping)
            loop_run(s->control); /* until the workers have heard of it */
    }
    return e == ERR_OK ? 0 : 1;
}

int server_run(const struct config *config, server_ready_fn *ready, void *owner)
{
    static struct server the_server; /* one per process; large */
    struct server *s = &the_server;
    int code;

    s->config = config;
    harden_no_dumps();
    code = run(s, ready, owner);
    server_join_workers(s);
    take_down(s);
    return code;
}
