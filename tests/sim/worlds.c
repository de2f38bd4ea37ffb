/* Seeded worlds: a worker with its policy, clients, origins and faults drawn from a seed, run to
 * its end in simulated time. Usage: worlds --seconds S | worlds --seed N [--count N] [--twice]. A
 * failing seed is printed; `--seed N` replays it bit for bit; --twice runs every world twice and
 * compares. */
#include "worlds.h"
#include "audit/record.h"
#include "base/mem.h"
#include "credential/table.h"
#include "sys/clock.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct writer *writer;
static unsigned all_heads, all_relayed, all_tunnels, all_records, all_keyed, all_refused_keys,
    all_runs, all_asked, all_granted, all_upgrades, all_cuts, all_limited;

void broken(struct world *w, const char *what, const char *detail)
{
    if (!w->broken)
        printf("seed %" PRIu64 ": %s%s%s (at %.6f s)\n", w->seed, what, *detail ? ": " : "", detail,
               (double)sim_now() / 1e9);
    w->broken = true;
}

/* --- the world --- */

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

static void after_turn(void *owner)
{
    struct world *w = owner;
    gate_read_records(w);
    for (unsigned i = 0; i < w->n_workers; i++)
        if (chunk_pool_out(w->workers[i]->chunks) > 8u * (w->n_clients + 4u) * 4u)
            broken(w, "more chunks are out than the budget has", "");
    if (w->oom && sim_chance(20))
        mem_fail_after((int64_t)sim_below(60), false);
}

void gate_run(struct world *w, uint64_t seconds, const char *when)
{
    if (sim_run(seconds * 1000 * NS_PER_MS, after_turn, w) == SIM_SPINS)
        broken(w, "the loop spins", when);
}

static void jump_clock(void *owner)
{
    (void)owner;
    sim_jump_wall((int64_t)sim_below(7200000) - 3600000);
}

static bool is_done(const struct browser *c)
{
    if (c->closing && c->answered && !c->tag)
        return true; /* refused, and what was sent behind it with it */
    return c->sent && (c->tunnel ? c->got == c->tunnel_len : c->answered == c->sent);
}

static void check_all_answered(struct world *w)
{
    char text[64];
    for (unsigned i = 0; i < w->n_clients; i++) {
        const struct browser *c = &w->clients[i];
        if (is_done(c))
            continue;
        snprintf(text, sizeof text, "tag %u", c->steps[c->answered].tag);
        broken(w, c->tunnel ? "a tunnel lost bytes" : "a request was never answered", text);
    }
}

static void actors_leave(struct world *w)
{
    for (unsigned i = 0; i < w->n_clients; i++)
        sim_reset(&w->clients[i].peer);
    for (unsigned i = 0; i < w->n_servers; i++)
        sim_reset(&w->servers[i]->peer);
    ask_leave(w);
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
    sim_free(w->counted);
    ask_forget(w);
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

/* Who comes, and what happens when. */
static void plan_world(struct world *w)
{
    w->n_clients = 1 + (unsigned)sim_below(CLIENTS);
    w->oom = !w->calm && sim_chance(150);
    for (unsigned i = 0; i < w->n_clients; i++)
        plan_client(w, &w->clients[i]);
    keys_begin(w);
    for (unsigned n = sim_chance(400) ? 1 + (unsigned)sim_below(RELOADS) : 0; n; n--)
        sim_after(sim_below(6000) * NS_PER_MS, gate_reload, w);
    w->jumps = sim_chance(200);
    if (w->jumps)
        sim_after(sim_below(6000) * NS_PER_MS, jump_clock, w);
}

static void check_world(struct world *w, bool whole)
{
    check_records(w);
    rate_check(w);
    ask_check(w, whole);
}

static void add_up(const struct world *w)
{
    all_heads += w->heads_sent;
    all_relayed += w->relayed;
    all_tunnels += w->tunnels;
    all_records += w->records;
    all_keyed += w->keyed;
    all_refused_keys += w->refused_keys;
    all_runs += w->helper_runs;
    all_asked += w->asked;
    all_granted += w->granted;
    all_upgrades += w->upgrades;
    all_cuts += w->cuts;
    all_limited += w->limited;
}

static void live(struct world *w)
{
    bool cut_short = !w->calm && sim_chance(300), oom;
    plan_world(w);
    oom = w->oom;
    gate_run(w, cut_short ? sim_below(8) : 4 * 3600, "on its way");
    mem_fail_after(-1, false);
    if (!cut_short)
        gate_check_empty(w, "after four hours");
    if (w->calm)
        check_all_answered(w);
    w->oom = false;
    gate_end(w);
    w->oom = oom;
    check_world(w, !cut_short);
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
    if (!gate_start(w, writer))
        abort();
    live(w);
    *ret_digest = sim_digest();
    add_up(w);
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
    static const char *const deny[] = {"denied.test", "10.66.0.0/16", "good2.test"};
    const char *profile = i == POLICY_LESSER ? WORLDS_FOLDER "/worlds_lesser.jsonc"
                                             : WORLDS_FOLDER "/worlds.jsonc";
    config_init(&c);
    c.no_auth = i == 2;
    if (!setting_set(&c.profile, str_from(profile), STR("--profile")))
        abort();
    for (size_t k = 0; k < ARRAY_LEN(deny) - (i != POLICY_LESSER); k++)
        if (!settings_add(&c.deny, str_from(deny[k]), STR("--deny-domain")))
            abort();
    if (i == 1 && !settings_add(&c.allow, STR("*.test"), STR("--allow-domain")))
        abort();
    if ((i == 3 || i == 4) &&
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
    for (unsigned i = 0; i < POLICIES; i++)
        world_policies[i] = make_runtime(i, token);
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
           "(%u refused, %u helper runs), %u approvals asked (%u granted), %u upgrades, %u tunnels cut, "
           "%u over the rate; answers",
           worlds, all_heads, all_relayed, all_tunnels, all_records, all_keyed, all_refused_keys,
           all_runs, all_asked, all_granted, all_upgrades, all_cuts, all_limited);
    for (unsigned i = 0; i < ARRAY_LEN(all_statuses); i++)
        if (all_statuses[i])
            printf(" %u x %u", i, all_statuses[i]);
    printf("\n%u worlds, %u failed\n", worlds, bad);
    for (unsigned i = 0; i < POLICIES; i++)
        runtime_unref(world_policies[i]);
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
