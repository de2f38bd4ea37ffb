/* The gateway of a world: one or two workers on loops of their own, the broker on control's, and what happens to them all: reloads,
 * the drain, the end. */
#include "audit/record.h"
#include "credential/table.h"
#include "net/sockaddr.h"
#include "net/stream_tcp.h"
#include "proxy/limit.h"
#include "proxy/session.h"
#include "sys/clock.h"
#include "sys/sock.h"
#include "upstream/pool.h"
#include "worlds.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct runtime *world_policies[POLICIES];

struct worker *server_place(struct worker *w); /* server/place.c */

/* --- audit --- */

static void read_exchange(struct world *w, struct str line)
{
    static const char key[] = "\"request_id\":\"";
    const char *at = memmem(line.p, line.n, key, sizeof key - 1);
    if (!at)
        return;
    w->ids = sim_grow(w->ids, (w->records + 1) * sizeof w->ids[0]);
    char *id = w->ids[w->records++];
    snprintf(id, 24, "%.*s", (int)strcspn(at + sizeof key - 1, "\""), at + sizeof key - 1);
    rate_record(w, line);
}

static void read_lines(struct world *w, struct str lines)
{
    struct str line;
    while (str_next(&lines, '\n', &line)) {
        if (!line.n)
            continue;
        if (w->verbose)
            printf("%.*s\n", (int)line.n, line.p);
        if (memmem(line.p, line.n, TOKEN, sizeof TOKEN - 1))
            broken(w, "the token is in a record", "");
        key_absent(w, line, "a record");
        if (str_starts(line, STR("{\"type\":\"exchange\"")))
            read_exchange(w, line);
    }
}

static void read_queue(struct world *w, struct queue *q)
{
    const char *p;
    size_t n;
    while (q && queue_peek(q, &p, &n)) {
        read_lines(w, str_of(p, n));
        sim_note(p, n);
        queue_done(q, n);
    }
}

void gate_read_records(struct world *w)
{
    for (unsigned i = 0; i < w->n_workers; i++)
        read_queue(w, w->workers[i]->audit);
    read_queue(w, w->told);
}

/* --- the start --- */

/* In some worlds as the server does it, in others anywhere. */
static struct worker *place(struct worker *k)
{
    struct world *w = k->shared->server;
    return w->placed ? server_place(k) : w->workers[sim_below(w->n_workers)];
}

static bool start_broker(struct world *w)
{
    static char *environment[] = {(char *)"PATH=/world", (char *)"NONO_PROXY_PASS=" TOKEN, NULL};
    w->told = queue_new();
    struct broker_env env = {.control = w->control, .audit = w->told, .envp = environment};
    if (!w->told || broker_new(&env, &w->broker) || broker_learn(w->broker, &w->runtime->config))
        return false;
    w->shared.control = w->control;
    w->shared.broker = w->broker;
    return true;
}

static bool start_worker(struct world *w, unsigned i)
{
    if (sim_loop_new(&w->loops[i]) ||
        worker_new(&w->shared, i, w->loops[i], w->runtime, &w->workers[i]))
        return false;
    w->workers[i]->audit = queue_new();
    return w->workers[i]->audit != NULL;
}

static bool start_workers(struct world *w)
{
    static const uint8_t v4[4] = {127, 0, 0, 1};
    struct sock_listen_options o = {.backlog = 64};
    struct address a = address_from_bytes(ADDRESS_V4, v4);
    struct sock_addr at = sockaddr_from_address(&a, PORT_GATEWAY);
    int os_errno;
    for (unsigned i = 0; i < w->n_workers; i++)
        if (!start_worker(w, i))
            return false;
    return !sock_listen(&at, &o, &w->listener, &os_errno) &&
           !worker_listen(w->workers[0], w->listener, 0);
}

static void begin_era(struct world *w, unsigned policy)
{
    w->eras[w->n_eras++] = (struct era){.policy = policy, .from = sim_now(), .until = UINT64_MAX};
    w->no_auth |= world_policies[policy]->clients.auth_off;
}

/* In a calm world no policy denies what is asked for. */
static unsigned draw_policy(const struct world *w)
{
    if (!w->calm && w->n_eras && sim_chance(300))
        return POLICY_LESSER; /* what there is to lose is lost now and then */
    return (unsigned)sim_below(w->calm ? POLICY_LESSER : POLICIES);
}

bool gate_start(struct world *w, struct writer *writer)
{
    static const uint8_t v4[4] = {127, 0, 0, 1};
    w->n_workers = 1 + (unsigned)sim_below(WORKERS);
    w->placed = sim_chance(500);
    w->point = (struct listen_point){.name = STR("127.0.0.1:8080"),
                                     .address = address_from_bytes(ADDRESS_V4, v4),
                                     .port = PORT_GATEWAY};
    w->shared = (struct shared){.points = &w->point,
                                .n_points = 1,
                                .writer = writer,
                                .workers = w->workers,
                                .n_workers = w->n_workers,
                                .place = w->n_workers > 1 ? place : NULL,
                                .server = w,
                                .limits = limits_new(),
                                .drain_timeout_ms = LIMIT_TIMEOUT_DRAIN,
                                .max_connections = !w->calm && sim_chance(100) ? 3 : 0};
    atomic_store(&w->shared.next_id, 1);
    begin_era(w, draw_policy(w));
    w->runtime = world_policies[w->eras[0].policy];
    return w->shared.limits && !sim_loop_new(&w->control) && start_broker(w) && start_workers(w);
}

/* --- reload, as the server does it --- */

struct publish {
    struct msg msg;
    struct world *world;
    struct worker *worker;
    unsigned era;
};

static void on_publish(struct msg *m)
{
    struct publish *p = CONTAINER_OF(m, struct publish, msg);
    struct world *w = p->world;
    struct era *era = &w->eras[p->era];
    worker_reload(p->worker, runtime_ref(world_policies[era->policy]));
    if (--era->n_left == 0) {
        era[-1].until = sim_now();
        if (p->era == w->n_eras - 1)
            law_cuts(w);
    }
    sim_free(p);
}

void gate_reload(void *owner)
{
    struct world *w = owner;
    if (w->ending)
        return;
    begin_era(w, draw_policy(w));
    struct era *era = &w->eras[w->n_eras - 1];
    if (broker_learn(w->broker, &world_policies[era->policy]->config) && !w->oom)
        broken(w, "a reload failed", "");
    era->n_left = w->n_workers;
    for (unsigned i = 0; i < w->n_workers; i++) {
        struct publish *p = sim_alloc(sizeof *p);
        *p = (struct publish){
            .msg.fn = on_publish, .world = w, .worker = w->workers[i], .era = w->n_eras - 1};
        loop_post(w->loops[i], &p->msg);
    }
    broker_reload(w->broker);
}

/* --- the end --- */

static void check_worker(struct world *w, const struct worker *k, const char *when)
{
    char text[160];
    unsigned sessions = atomic_load(&k->n_sessions);
    size_t chunks = chunk_pool_out(k->chunks), idle = pool_idle(k->pool);
    snprintf(text, sizeof text,
             "%s: %u sessions, %zu sessions and %zu exchanges of the slabs, %zu chunks, %zu idle",
             when, sessions, slab_out(k->sessions), slab_out(k->exchanges), chunks, idle);
    if (sessions || slab_out(k->sessions) || slab_out(k->exchanges) || chunks || idle)
        broken(w, "something is left", text);
}

void gate_check_empty(struct world *w, const char *when)
{
    for (unsigned i = 0; i < w->n_workers; i++)
        check_worker(w, w->workers[i], when);
    if (stream_tcp_open_count() || atomic_load(&w->shared.connections))
        broken(w, "streams or connections are left", when);
}

/* What is idle may stay until now. */
static void empty_pools(struct world *w)
{
    for (unsigned i = 0; i < w->n_workers; i++) {
        pool_free(w->workers[i]->pool);
        w->workers[i]->pool = pool_new(w->loops[i]);
    }
}

static void free_workers(struct world *w)
{
    for (unsigned i = 0; i < w->n_workers; i++) {
        struct queue *audit = w->workers[i]->audit;
        worker_free(w->workers[i]);
        queue_free(audit);
    }
    sock_close(w->listener);
}

static void drain(struct world *w)
{
    for (unsigned i = 0; i < w->n_workers; i++)
        worker_drain(w->workers[i]);
    gate_run(w, 12, "in drain");
    for (unsigned i = 0; i < w->n_workers; i++)
        worker_end_all(w->workers[i]);
    gate_run(w, 1, "at the end");
}

void gate_end(struct world *w)
{
    w->ending = true;
    drain(w);
    gate_read_records(w);
    empty_pools(w);
    gate_run(w, 1, "at the end");
    gate_check_empty(w, "at the end");
    free_workers(w);
    (void)sim_run(1000 * NS_PER_MS, NULL, NULL); /* its last words to the broker */
    broker_free(w->broker);
    read_queue(w, w->told);
    queue_free(w->told);
    limits_free(w->shared.limits);
    for (unsigned i = 0; i < w->n_workers; i++)
        loop_free(w->loops[i]);
    loop_free(w->control);
    if (sim_open_descriptors())
        broken(w, "descriptors are left open", "");
}
