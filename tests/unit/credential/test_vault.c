/* A worker's side of the broker: with both loops in one thread, stepped by hand, and once with threads. */
#include "credential/vault.h"
#include "base/mem.h"
#include "credential/broker_int.h"
#include "sys/clock.h"
#include "sys/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loop *control, *worker;
static struct broker *broker;
static struct vault *vault;
static char folder[64], path_variable[128], program[128];
static struct config config;
static struct capture_conf capture;
static struct str words[1];
static struct service_conf service;
static struct credential credential;

static const char *in(const char *name)
{
    static char path[4][160];
    static unsigned next;
    char *p = path[next++ % 4];
    (void)snprintf(p, 160, "%s/%s", folder, name);
    return p;
}

static unsigned runs(void)
{
    FILE *f = fopen(in("runs"), "r");
    unsigned n = 0;
    int c;
    while (f && (c = fgetc(f)) != EOF)
        n += c == '\n';
    if (f)
        (void)fclose(f);
    return n;
}

/* `body` sees how often it ran in $n. */
static void helper(const char *body)
{
    FILE *f = fopen(in("helper"), "w");
    assert_non_null(f);
    (void)fprintf(f, "#!/bin/sh\necho run >>%s\nn=$(wc -l <%s)\n%s\n", in("runs"), in("runs"), body);
    (void)fclose(f);
    assert_int_equal(chmod(in("helper"), 0700), 0);
}

static void compile(uint64_t ttl_ms)
{
    struct errctx ctx = {0};
    capture = (struct capture_conf){.name = STR("helper"), .command = words, .n_command = 1,
                                    .timeout_ms = 5000, .ttl_ms = ttl_ms};
    words[0] = str_from(program);
    service = (struct service_conf){.name = STR("svc"), .credential_key = STR("cmd://helper")};
    config.captures = (struct capture_confs){&capture, 1, 1};
    assert_int_equal(credential_init(&credential, &service, &config, &ctx), ERR_OK);
}

static int setup(void **state)
{
    static char *environment[] = {path_variable, (char *)"API_KEY=sk-env", NULL};
    bool locked;
    (void)state;
    secret_region_init(&locked);
    (void)snprintf(folder, sizeof(folder), "/tmp/nono-vault-XXXXXX");
    if (!mkdtemp(folder) || loop_new_uv(&control) || loop_new_epoll(&worker))
        return -1;
    (void)snprintf(path_variable, sizeof(path_variable), "PATH=/usr/bin:/bin");
    (void)snprintf(program, sizeof(program), "%s/helper", folder);
    config_init(&config);
    struct broker_env env = {.control = control, .envp = environment};
    loop_turn(control, 0);
    loop_turn(worker, 0);
    if (broker_new(&env, &broker))
        return -1;
    vault = vault_new(worker, control, broker);
    compile(900000);
    return vault ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    vault_free(vault);
    loop_turn(worker, 0);
    loop_turn(control, 0);
    broker_free(broker);
    config.captures = (struct capture_confs){0};
    config_fini(&config);
    loop_free(worker);
    loop_free(control);
    credential_fini(&credential);
    secret_region_fini();
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

struct told {
    unsigned times;
    enum err e;
    uint64_t version;
    char value[64], sentence[200];
    struct vault_wait *wait;
};

static void take(struct told *t, enum err e, const struct material *m, const char *sentence)
{
    t->e = e;
    t->version = m ? m->version : 0;
    t->value[0] = 0;
    if (m)
        (void)snprintf(t->value, sizeof(t->value), "%.*s", STR_ARG(secret_borrow(m->secret)));
    (void)snprintf(t->sentence, sizeof(t->sentence), "%s", sentence ? sentence : "");
}

static void on_told(void *owner, enum err e, struct material *m, const char *sentence)
{
    struct told *t = owner;
    t->times++;
    t->wait = NULL;
    take(t, e, m, sentence);
}

static const struct question question = {.method = {"GET", 3},
                                         .host = {"api.example.com", 15},
                                         .path = {"/p", 2},
                                         .route = {"svc", 3}};

static void turn(uint64_t ms)
{
    uint64_t start = clock_mono_ns();
    do {
        loop_turn(control, 5 * NS_PER_MS);
        loop_turn(worker, 0);
    } while (clock_mono_ns() - start < ms * NS_PER_MS);
}

/* ERR_AGAIN, or the answer at once in *t. */
static enum err begin_of(const struct credential *c, uint64_t bad, struct told *t)
{
    struct errctx ctx = {0};
    struct material *m = NULL;
    memset(t, 0, sizeof(*t));
    enum err e = vault_get(vault, NULL, c, &question, bad, on_told, t, &t->wait, &m, &ctx);
    if (e != ERR_AGAIN)
        take(t, e, m, ctx.text);
    material_unref(m);
    return e;
}

static void until_told(struct told *t)
{
    uint64_t start = clock_mono_ns();
    while (!t->times && clock_mono_ns() - start < 20000 * NS_PER_MS)
        turn(1);
    assert_int_equal(t->times, 1);
}

static struct told get(uint64_t bad)
{
    static struct told t;
    if (begin_of(&credential, bad, &t) == ERR_AGAIN)
        until_told(&t);
    return t;
}

static void steady_state_asks_nobody(void **state)
{
    struct told t;
    (void)state;
    helper("echo token$n");
    assert_int_equal(begin_of(&credential, 0, &t), ERR_AGAIN);
    assert_int_equal(t.times, 0);
    until_told(&t);
    assert_string_equal(t.value, "token1");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(begin_of(&credential, 0, &t), ERR_OK);
        assert_string_equal(t.value, "token1");
    }
    assert_int_equal(runs(), 1);
}

static void case_82_many_wait_for_one(void **state)
{
    static struct told t[100];
    (void)state;
    helper("sleep 0.2; echo token$n");
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(begin_of(&credential, 0, &t[i]), ERR_AGAIN);
    vault_cancel(t[50].wait);
    until_told(&t[0]);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(t[i].times, i != 50);
    assert_int_equal(runs(), 1);
    vault_cancel(NULL);
}

static void cancelled_waits_withdraw_the_helper(void **state)
{
    struct told a, b;
    (void)state;
    helper("sleep 1; echo done >>${0%helper}done; echo token");
    (void)begin_of(&credential, 0, &a);
    (void)begin_of(&credential, 0, &b);
    turn(150);
    assert_int_equal(broker->n_running, 1);
    vault_cancel(a.wait);
    turn(50);
    assert_int_equal(broker->n_running, 1);
    vault_cancel(b.wait);
    turn(50);
    assert_int_equal(broker->n_running, 0);
    turn(1300);
    assert_int_equal(a.times + b.times, 0);
    assert_int_not_equal(access(in("done"), F_OK), 0);
    /* cancelled before control heard of it, and again asked for at once */
    helper("echo token");
    (void)begin_of(&credential, 0, &a);
    vault_cancel(a.wait);
    a = get(0);
    assert_string_equal(a.value, "token");
}

/* The answer is on its way to the worker when nobody wants it any more. */
static void late_answers_are_dropped(void **state)
{
    struct told t;
    (void)state;
    helper("echo token");
    (void)begin_of(&credential, 0, &t);
    uint64_t start = clock_mono_ns();
    while (clock_mono_ns() - start < 500 * NS_PER_MS)
        loop_turn(control, 5 * NS_PER_MS);
    vault_cancel(t.wait);
    turn(50);
    assert_int_equal(t.times, 0);
    t = get(0);
    assert_string_equal(t.value, "token");
    assert_int_equal(runs(), 1);
}

static void failures_are_known(void **state)
{
    struct errctx ctx = {0};
    struct told t;
    (void)state;
    helper("exit 3");
    assert_false(vault_known_bad(vault, &credential, &question, &ctx));
    t = get(0);
    assert_int_equal(t.e, ERR_CREDENTIAL_UNAVAILABLE);
    assert_true(vault_known_bad(vault, &credential, &question, &ctx));
    assert_non_null(strstr(ctx.text, "exit status 3"));
    assert_int_equal(begin_of(&credential, 0, &t), ERR_CREDENTIAL_UNAVAILABLE);
    assert_non_null(strstr(t.sentence, "exit status 3"));
    assert_int_equal(runs(), 1);
    struct credential gone = {.gone = true};
    struct errctx other = {0};
    assert_true(vault_known_bad(vault, &gone, &question, &other));
}

static void case_82_refused_versions(void **state)
{
    struct told t, a, b;
    (void)state;
    helper("echo token$n");
    t = get(0);
    assert_int_equal(t.version, 1);
    /* two are refused at once, a third comes anew: one run, the newer for all */
    helper("sleep 0.1; echo token$n");
    assert_int_equal(begin_of(&credential, 1, &a), ERR_AGAIN);
    assert_int_equal(begin_of(&credential, 1, &b), ERR_AGAIN);
    assert_int_equal(begin_of(&credential, 0, &t), ERR_AGAIN);
    until_told(&a);
    assert_int_equal(a.version, 2);
    assert_int_equal(b.version, 2);
    assert_int_equal(t.version, 2);
    assert_int_equal(runs(), 2);
    t = get(1); /* it has a newer one already */
    assert_int_equal(t.version, 2);
    t = get(2); /* refused before it ever worked */
    assert_int_equal(t.e, ERR_CREDENTIAL_UNAVAILABLE);
    assert_int_equal(runs(), 2);
    t = get(0); /* used on */
    assert_int_equal(t.version, 2);
}

/* The upstream took what the vault gives now. */
static void it_works(void)
{
    struct errctx ctx = {0};
    struct vault_wait *wait = NULL;
    struct material *m = NULL;
    assert_int_equal(vault_get(vault, NULL, &credential, &question, 0, on_told, NULL, &wait, &m, &ctx),
                     ERR_OK);
    material_mark_worked(m);
    material_unref(m);
}

static void a_version_that_worked_is_fetched_anew_at_once(void **state)
{
    struct told t;
    (void)state;
    helper("echo token$n");
    for (uint64_t v = 1; v < 5; v++) { /* a token that ends after some requests */
        t = get(v - 1);
        assert_int_equal(t.version, v);
        it_works();
    }
    /* a streamed request was refused: the next one waits for a newer */
    vault_mark_bad(vault, &credential, &question, 3); /* long past */
    assert_int_equal(begin_of(&credential, 0, &t), ERR_OK);
    vault_mark_bad(vault, &credential, &question, 4);
    assert_int_equal(begin_of(&credential, 0, &t), ERR_AGAIN);
    until_told(&t);
    assert_int_equal(t.version, 5);
}

static void env_is_used_on_after_a_401(void **state)
{
    struct service_conf s = {.name = STR("env"), .credential_key = STR("env://API_KEY")};
    struct credential c;
    struct errctx ctx = {0};
    struct told t;
    (void)state;
    assert_int_equal(credential_init(&c, &s, &config, &ctx), ERR_OK);
    assert_int_equal(begin_of(&c, 0, &t), ERR_AGAIN);
    until_told(&t);
    assert_string_equal(t.value, "sk-env");
    assert_int_equal(begin_of(&c, 1, &t), ERR_AGAIN);
    until_told(&t);
    assert_int_equal(t.e, ERR_CREDENTIAL_UNAVAILABLE);
    assert_int_equal(begin_of(&c, 0, &t), ERR_OK);
    vault_mark_bad(vault, &c, &question, 1);
    assert_int_equal(begin_of(&c, 0, &t), ERR_AGAIN);
    until_told(&t);
    assert_int_equal(t.e, ERR_OK);
    assert_string_equal(t.value, "sk-env");
    assert_int_equal(begin_of(&c, 0, &t), ERR_OK);
}

static void case_82_refresh_by_use(void **state)
{
    struct told t;
    (void)state;
    credential_fini(&credential);
    compile(2000);
    helper("echo token$n");
    t = get(0);
    uint64_t start = clock_mono_ns();
    while (runs() < 2 && clock_mono_ns() - start < 1950 * NS_PER_MS) { /* no use waits */
        turn(50);
        assert_int_equal(begin_of(&credential, 0, &t), ERR_OK);
    }
    assert_int_equal(runs(), 2);
    assert_true(clock_mono_ns() - start > 1400 * NS_PER_MS); /* the last quarter */
    turn(100);
    assert_int_equal(begin_of(&credential, 0, &t), ERR_OK);
    assert_string_equal(t.value, "token2");
    turn(2500); /* an idle gateway runs nothing */
    assert_int_equal(runs(), 2);
    assert_int_equal(begin_of(&credential, 0, &t), ERR_AGAIN); /* its end has come */
    until_told(&t);
    assert_string_equal(t.value, "token3");
}

static void ttl_0_is_not_kept(void **state)
{
    struct told t, more[3];
    (void)state;
    credential_fini(&credential);
    compile(0);
    helper("echo token$n");
    for (unsigned i = 1; i < 4; i++) {
        t = get(0);
        assert_int_equal(t.version, i);
        assert_int_equal(runs(), i);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(begin_of(&credential, 0, &more[i]), ERR_AGAIN);
    vault_cancel(more[1].wait);
    until_told(&more[0]);
    until_told(&more[2]);
    t = get(more[2].version); /* refused: another run */
    assert_int_equal(t.version, more[2].version + 1);
}

static void items_are_bounded(void **state)
{
    struct told t;
    struct errctx ctx = {0};
    (void)state;
    for (int i = 0; i < 1100; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "s%d", i);
        struct service_conf s = {.name = str_from(name), .credential_key = STR("env://API_KEY")};
        struct credential c;
        assert_int_equal(credential_init(&c, &s, &config, &ctx), ERR_OK);
        assert_int_equal(begin_of(&c, 0, &t), ERR_AGAIN);
        until_told(&t);
        assert_string_equal(t.value, "sk-env");
    }
    assert_true(broker->n_sources <= MAX_SOURCES);
}

static void the_vault_goes_first(void **state)
{
    struct told t[3];
    (void)state;
    helper("sleep 60");
    (void)begin_of(&credential, 0, &t[0]);
    turn(100);
    vault_free(vault); /* runs */
    turn(50);
    assert_int_equal(broker->n_running, 0);
    vault = vault_new(worker, control, broker);
    (void)begin_of(&credential, 0, &t[1]);
    vault_free(vault); /* control has not heard of it */
    turn(50);
    helper("echo token");
    vault = vault_new(worker, control, broker);
    (void)begin_of(&credential, 0, &t[2]);
    uint64_t start = clock_mono_ns();
    while (clock_mono_ns() - start < 400 * NS_PER_MS)
        loop_turn(control, 5 * NS_PER_MS);
    vault_free(vault); /* the answer lies in the inbox */
    vault = NULL;
    turn(20);
    for (int i = 0; i < 3; i++)
        assert_int_equal(t[i].times, 0);
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    helper("echo token");
    for (int i = 0; i < 40; i++) {
        struct told t;
        struct service_conf s = service;
        struct credential c = credential;
        char name[16];
        (void)snprintf(name, sizeof(name), "m%d", i);
        s.name = c.id = str_from(name);
        c.conf = &s;
        mem_fail_after(i, false);
        enum err e = begin_of(&c, 0, &t);
        if (e == ERR_AGAIN)
            until_told(&t);
        mem_fail_after(-1, false);
        if (t.e)
            assert_true(t.e == ERR_NOMEM || t.e == ERR_CREDENTIAL_UNAVAILABLE);
        else
            assert_string_equal(t.value, "token");
    }
}

/* ---- with threads ---- */

struct user {
    struct loop *loop;
    struct thread *thread;
    struct vault *vault;
    struct timer timer;
    struct told told;
    unsigned done, asked;
    uint64_t seed;
};

static _Atomic unsigned users_done;

static void next_use(struct timer *timer)
{
    struct user *u = CONTAINER_OF(timer, struct user, timer);
    struct errctx ctx = {0};
    struct material *m = NULL;
    u->seed = u->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    if (u->told.wait && (u->seed >> 40) % 3 == 0) {
        vault_cancel(u->told.wait);
        u->told.wait = NULL;
    }
    if (!u->told.wait) {
        uint64_t bad = (u->seed >> 33) % 4 ? 0 : u->told.version;
        enum err e = vault_get(u->vault, NULL, &credential, &question, bad, on_told, &u->told,
                               &u->told.wait, &m, &ctx);
        if (e == ERR_OK)
            u->told.version = m->version;
        material_unref(m);
    }
    if (++u->asked == 300) {
        loop_stop(u->loop);
        return;
    }
    timer_set(u->loop, &u->timer, (u->seed >> 50) % 4);
}

static void use(void *arg)
{
    struct user *u = arg;
    assert_int_equal(loop_new_epoll(&u->loop), ERR_OK);
    u->vault = vault_new(u->loop, control, broker);
    timer_init(&u->timer, next_use);
    timer_set(u->loop, &u->timer, 0);
    loop_run(u->loop);
    vault_free(u->vault);
    loop_turn(u->loop, 0);
    loop_free(u->loop);
    atomic_fetch_add(&users_done, 1);
}

static void workers_come_and_go(void **state)
{
    static struct user users[3];
    (void)state;
    credential_fini(&credential);
    compile(40);
    helper("echo token$n");
    atomic_store(&users_done, 0);
    for (unsigned i = 0; i < ARRAY_LEN(users); i++) {
        users[i] = (struct user){.seed = i + 1};
        assert_int_equal(thread_start("user", use, &users[i], &users[i].thread), ERR_OK);
    }
    uint64_t start = clock_mono_ns();
    while (atomic_load(&users_done) < ARRAY_LEN(users) &&
           clock_mono_ns() - start < 40000 * NS_PER_MS)
        loop_turn(control, 10 * NS_PER_MS);
    assert_int_equal(atomic_load(&users_done), ARRAY_LEN(users));
    for (unsigned i = 0; i < ARRAY_LEN(users); i++)
        thread_join(users[i].thread);
    assert_true(users[0].told.times > 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(steady_state_asks_nobody),
        TEST(case_82_many_wait_for_one),
        TEST(cancelled_waits_withdraw_the_helper),
        TEST(late_answers_are_dropped),
        TEST(failures_are_known),
        TEST(case_82_refused_versions),
        TEST(a_version_that_worked_is_fetched_anew_at_once),
        TEST(env_is_used_on_after_a_401),
        TEST(case_82_refresh_by_use),
        TEST(ttl_0_is_not_kept),
        TEST(items_are_bounded),
        TEST(the_vault_goes_first),
        TEST(memory_that_runs_out),
        TEST(workers_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
