/* Seeded worlds: a worker with its policy, clients, origins and faults drawn from a seed, run to
 * its end in simulated time. Usage: worlds --seconds S | worlds --seed N [--count N] [--twice]. A
 * failing seed is printed; `--seed N` replays it bit for bit; --twice runs every world twice and
 * compares. */
#include "worlds.h"
#include "audit/record.h"
#include "base/mem.h"
#include "credential/table.h"
#include "net/sockaddr.h"
#include "net/stream_tcp.h"
#include "proxy/session.h"
#include "sys/clock.h"
#include "sys/sock.h"
#include "upstream/pool.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_POLICIES = 5 };
static struct writer *writer;
static struct runtime *runtimes[N_POLICIES];
static unsigned all_heads, all_relayed, all_tunnels, all_records, all_keyed, all_refused_keys, all_runs;

void broken(struct world *w, const char *what, const char *detail)
{
    if (!w->broken)
        printf("seed %" PRIu64 ": %s%s%s (at %.6f s)\n", w->seed, what, *detail ? ": " : "", detail,
               (double)sim_now() / 1e9);
    w->broken = true;
}

/* --- audit --- */

static void read_records(struct world *w)
{
    const char *p;
    size_t n;
    while (w->worker->audit && queue_peek(w->worker->audit, &p, &n)) {
        struct str rest = str_of(p, n), line;
        while (str_next(&rest, '\n', &line)) {
            static const char key[] = "\"request_id\":\"";
            const char *at = line.n ? memmem(line.p, line.n, key, sizeof key - 1) : NULL;
            if (!at)
                continue;
            w->ids = sim_grow(w->ids, (w->records + 1) * sizeof w->ids[0]);
            if (w->verbose)
                printf("%.*s\n", (int)line.n, line.p);
            char *id = w->ids[w->records++];
            snprintf(id, 24, "%.*s", (int)strcspn(at + sizeof key - 1, "\""), at + sizeof key - 1);
            if (memmem(line.p, line.n, TOKEN, sizeof TOKEN - 1))
                broken(w, "the token is in a record", "");
            key_absent(w, line, "a record");
        }
        sim_note(p, n);
        queue_done(w->worker->audit, n);
    }
}

static void read_told(struct world *w)
{
    const char *p;
    size_t n;
    while (queue_peek(w->told, &p, &n)) {
        key_absent(w, str_of(p, n), "a record of the broker");
        if (w->verbose)
            printf("%.*s", (int)n, p);
        sim_note(p, n);
        queue_done(w->told, n);
    }
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void check_records(struct world *w)
{
    char text[128];
    if (w->records)
        qsort(w->ids, w->records, sizeof w->ids[0], compare_ids);
    for (unsigned i = 1; i < w->records; i++)
        if (!strcmp(w->ids[i - 1], w->ids[i]))
            broken(w, "two records of one exchange", w->ids[i]);
    snprintf(text, sizeof text,
             "%u heads on %u connections, %u answers (%u of origins, %u tunnels), %u records",
             w->heads_sent, w->connections, w->responses, w->relayed, w->tunnels, w->records);
    if (!w->oom && (w->records < w->responses || w->records > w->heads_sent + w->connections))
        broken(w, "records do not fit the exchanges", text);
    if (w->verbose)
        printf("seed %" PRIu64 ": %s, digest %016" PRIx64 "\n", w->seed, text, sim_digest());
}

/* --- the world --- */

static void after_turn(void *owner)
{
    struct world *w = owner;
    read_records(w);
    read_told(w);
    if (chunk_pool_out(w->worker->chunks) > 8u * (w->n_clients + 4u) * 4u)
        broken(w, "more chunks are out than the budget has", "");
    if (w->oom && sim_chance(20))
        mem_fail_after((int64_t)sim_below(60), false);
}

static void reload(void *owner)
{
    struct world *w = owner;
    struct runtime *r = runtimes[sim_below(N_POLICIES)];
    w->no_auth |= r->clients.auth_off;
    if (!w->ending)
        worker_reload(w->worker, runtime_ref(r));
}

static void jump_clock(void *owner)
{
    (void)owner;
    sim_jump_wall((int64_t)sim_below(7200000) - 3600000);
}

static bool start_broker(struct world *w)
{
    static char *environment[] = {(char *)"PATH=/world", (char *)"NONO_PROXY_PASS=" TOKEN, NULL};
    w->told = queue_new();
    struct broker_env env = {.control = w->control, .audit = w->told, .envp = environment};
    return w->told && !broker_new(&env, &w->broker) && !broker_learn(w->broker, &w->runtime->config);
}

static bool start_world(struct world *w)
{
    static const uint8_t v4[4] = {127, 0, 0, 1};
    struct sock_listen_options o = {.backlog = 64};
    int os_errno;
    w->point = (struct listen_point){.name = STR("127.0.0.1:8080"),
                                     .address = address_from_bytes(ADDRESS_V4, v4),
                                     .port = PORT_GATEWAY};
    w->shared = (struct shared){.points = &w->point,
                                .n_points = 1,
                                .writer = writer,
                                .workers = &w->worker,
                                .n_workers = 1,
                                .drain_timeout_ms = LIMIT_TIMEOUT_DRAIN,
                                .max_connections = !w->calm && sim_chance(100) ? 3 : 0};
    atomic_store(&w->shared.next_id, 1);
    struct sock_addr at = sockaddr_from_address(&w->point.address, PORT_GATEWAY);
    if (sim_loop_new(&w->loop) || sim_loop_new(&w->control) ||
        sock_listen(&at, &o, &w->listener, &os_errno))
        return false;
    w->runtime = runtimes[sim_below(N_POLICIES)];
    if (!start_broker(w))
        return false;
    w->shared.control = w->control;
    w->shared.broker = w->broker;
    w->no_auth = w->runtime->clients.auth_off;
    if (worker_new(&w->shared, 0, w->loop, w->runtime, &w->worker))
        return false;
    w->worker->audit = queue_new();
    return w->worker->audit && !worker_listen(w->worker, w->listener, 0);
}

static void run(struct world *w, uint64_t seconds, const char *when)
{
    if (sim_run(seconds * 1000 * NS_PER_MS, after_turn, w) == SIM_SPINS)
        broken(w, "the loop spins", when);
}

static void check_nothing_left(struct world *w, const char *when)
{
    struct worker *k = w->worker;
    char text[160];
    unsigned sessions = atomic_load(&k->n_sessions);
    size_t chunks = chunk_pool_out(k->chunks), idle = pool_idle(k->pool),
           streams = stream_tcp_open_count();
    snprintf(text, sizeof text,
             "%s: %u sessions, %zu sessions and %zu exchanges of the slabs, %zu chunks, %zu idle, "
             "%zu streams",
             when, sessions, slab_out(k->sessions), slab_out(k->exchanges), chunks, idle, streams);
    if (sessions || slab_out(k->sessions) || slab_out(k->exchanges) || chunks || idle || streams ||
        atomic_load(&w->shared.connections))
        broken(w, "something is left", text);
}

static void check_all_answered(struct world *w)
{
    for (unsigned i = 0; i < w->n_clients; i++) {
        const struct browser *c = &w->clients[i];
        bool done = c->tunnel ? c->got == c->tunnel_len : c->answered == c->sent;
        if (!c->sent || !done)
            broken(w, c->tunnel ? "a tunnel lost bytes" : "a request was never answered",
                   c->steps[c->answered].name);
    }
}

static void end_world(struct world *w)
{
    w->ending = true;
    mem_fail_after(-1, false);
    w->oom = false;
    worker_drain(w->worker);
    run(w, 12, "in drain");
    worker_end_all(w->worker);
    run(w, 1, "at the end");
    read_records(w);
    struct queue *audit = w->worker->audit;
    pool_free(w->worker->pool); /* what is idle may stay until now */
    w->worker->pool = pool_new(w->loop);
    run(w, 1, "at the end");
    check_nothing_left(w, "at the end");
    worker_free(w->worker);
    queue_free(audit);
    sock_close(w->listener);
    (void)sim_run(1000 * NS_PER_MS, NULL, NULL); /* its last words to the broker */
    broker_free(w->broker);
    read_told(w);
    queue_free(w->told);
    loop_free(w->loop);
    loop_free(w->control);
    if (sim_open_descriptors())
        broken(w, "descriptors are left open", "");
}

static void actors_leave(struct world *w)
{
    for (unsigned i = 0; i < w->n_clients; i++)
        sim_reset(&w->clients[i].peer);
    for (unsigned i = 0; i < w->n_servers; i++)
        sim_reset(&w->servers[i]->peer);
}

static void forget_actors(struct world *w)
{
    for (unsigned i = 0; i < w->n_clients; i++)
        wire_fini(&w->clients[i].wire);
    for (unsigned i = 0; i < w->n_servers; i++) {
        wire_fini(&w->servers[i]->wire);
        sim_free(w->servers[i]);
    }
    sim_free(w->ids);
}

static struct sim_faults draw_faults(bool calm)
{
    struct sim_faults f = {0};
    if (sim_chance(300))
        return f;
    f.split = sim_chance(500) ? 500 : 0;
    f.one_byte = sim_chance(300) ? 300 : 0;
    f.small_window = sim_chance(300) ? 200 : 0;
    f.accept_error = sim_chance(200) ? 200 : 0;
    f.spurious = sim_chance(300) ? 20 : 0;
    if (calm)
        return f;
    f.cut = sim_chance(300) ? 150 : 0;
    f.stall = sim_chance(200) ? 100 : 0;
    f.slow = sim_chance(200) ? 10 : 0;
    return f;
}

/* True when every invariant held. */
static bool run_world(uint64_t seed, bool verbose, uint64_t *ret_digest)
{
    static struct world world;
    struct world *w = &world;
    struct sim_faults none = {0};
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->verbose = verbose;
    sim_begin(seed, &none);
    w->calm = sim_chance(200);
    sim_faults = draw_faults(w->calm);
    sim_on_dial(origin_dialled, w);
    sim_on_dns(origin_asked, w);
    if (!start_world(w))
        abort();
    w->n_clients = 1 + (unsigned)sim_below(CLIENTS);
    w->oom = !w->calm && sim_chance(150);
    bool oom = w->oom;
    for (unsigned i = 0; i < w->n_clients; i++)
        plan_client(w, &w->clients[i]);
    keys_begin(w);
    if (!w->calm && sim_chance(300))
        sim_after(sim_below(6000) * NS_PER_MS, reload, w);
    if (sim_chance(200))
        sim_after(sim_below(6000) * NS_PER_MS, jump_clock, w);
    bool cut_short = !w->calm && sim_chance(300);
    run(w, cut_short ? sim_below(8) : 4 * 3600, "on its way");
    mem_fail_after(-1, false);
    if (!cut_short)
        check_nothing_left(w, "after four hours");
    if (w->calm)
        check_all_answered(w);
    end_world(w);
    w->oom = oom;
    check_records(w);
    *ret_digest = sim_digest();
    all_heads += w->heads_sent;
    all_relayed += w->relayed;
    all_tunnels += w->tunnels;
    all_records += w->records;
    all_keyed += w->keyed;
    all_refused_keys += w->refused_keys;
    all_runs += w->helper_runs;
    actors_leave(w);
    sim_end();
    forget_actors(w);
    return !w->broken;
}

/* --- the program --- */

static struct runtime *make_runtime(unsigned i, struct secret *token)
{
    struct config c;
    struct errctx ctx = {0};
    struct runtime *r = NULL;
    static const char *const deny[] = {"denied.test", "10.66.0.0/16"};
    config_init(&c);
    c.no_auth = i == 2;
    if (!setting_set(&c.profile, STR(WORLDS_PROFILE), STR("--profile")))
        abort();
    for (size_t k = 0; k < ARRAY_LEN(deny); k++)
        if (!settings_add(&c.deny, str_from(deny[k]), STR("--deny-domain")))
            abort();
    if (i == 1 && !settings_add(&c.allow, STR("*.test"), STR("--allow-domain")))
        abort();
    if (i >= 3 &&
        !setting_set(&c.upstream_proxy, i == 3 ? STR("10.9.0.1:3128") : STR("http://hop.test:3128"),
                     STR("--upstream-proxy")))
        abort();
    if (runtime_new(&c, token, i + 1, &r, &ctx) || credentials_attach(r, &ctx)) {
        fprintf(stderr, "%s\n", ctx.text);
        exit(2);
    }
    config_fini(&c);
    return r;
}

static void set_up(void)
{
    bool locked;
    char id[24];
    struct sim_faults none = {0};
    struct errctx ctx = {0};
    sim_begin(1, &none);
    str_hash_seed(1);
    audit_id(id, 'c', 1); /* draws the process's prefix, the same for every run */
    sim_end();
    secret_region_init(&locked);
    struct secret *token = secret_new(STR(TOKEN));
    if (!token || writer_new(NULL, 0, NULL, &writer, &ctx))
        abort();
    for (unsigned i = 0; i < N_POLICIES; i++)
        runtimes[i] = make_runtime(i, token);
    secret_unref(token);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int finish(unsigned worlds, unsigned bad)
{
    printf("%u worlds: %u heads, %u answers of origins, %u tunnels, %u records, %u secrets used "
           "(%u refused, %u helper runs); answers",
           worlds, all_heads, all_relayed, all_tunnels, all_records, all_keyed, all_refused_keys,
           all_runs);
    for (unsigned i = 0; i < ARRAY_LEN(all_statuses); i++)
        if (all_statuses[i])
            printf(" %u x %u", i, all_statuses[i]);
    printf("\n%u worlds, %u failed\n", worlds, bad);
    for (unsigned i = 0; i < N_POLICIES; i++)
        runtime_unref(runtimes[i]);
    writer_finish(writer);
    return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = 0, count = 0, fixed = 20;
    double limit = 0;
    unsigned worlds = 0, bad = 0;
    bool twice = argc > 1 && !strcmp(argv[argc - 1], "--twice");
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 10), count = count ? count : 1;
        else if (!strcmp(argv[i], "--count"))
            count = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--seconds"))
            limit = strtod(argv[i + 1], NULL);
    }
    if (!count && limit <= 0) {
        fprintf(stderr, "usage: worlds --seconds S | worlds --seed N [--count N] [--twice]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    set_up();
    double end = seconds_now() + limit;
    uint64_t fresh = (uint64_t)time(NULL) * 1000003u;
    for (; count ? worlds < count : seconds_now() < end; worlds++) {
        uint64_t s = count ? seed + worlds : worlds < fixed ? worlds : fresh + worlds;
        uint64_t digest, again;
        bool good = run_world(s, count == 1, &digest);
        if (twice && (run_world(s, false, &again), again != digest)) {
            printf("seed %" PRIu64 ": two runs differ\n", s);
            good = false;
        }
        bad += !good;
    }
    return finish(worlds, bad);
}
