/* Questions of a worker: back ends by name, times, withdrawal; control and worker share a loop here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "approval/approval_int.h"
#include "base/mem.h"
#include "config/runtime.h"
#include "sys/clock.h"
#include "upstream/connect.h"
#include "http/h1_leg.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct loop *loop;
static struct approvals *terminal;
static struct approver *approver;
static struct up_env up;
static struct h1_env h1;
static struct runtime rt;

struct got {
    struct approval_wait *w;
    unsigned called;
    enum approval_answer answer;
    char backend[100], sentence[1600];
};

static void on_answer(void *owner, enum approval_answer answer, const char *backend, const char *sentence)
{
    struct got *g = owner;
    assert_non_null(g->w);
    g->w = NULL;
    g->called++;
    g->answer = answer;
    (void)snprintf(g->backend, sizeof(g->backend), "%s", backend);
    (void)snprintf(g->sentence, sizeof(g->sentence), "%s", sentence);
}

static struct str tt[] = {{"tty", 3}, {"tty", 3}};
static struct approval_conf confs[] = {
    {.name = {"tty", 3}, .kind = APPROVAL_TERMINAL},
    {.name = {"hook", 4}, .kind = APPROVAL_WEBHOOK, .url = {"nonsense", 8}},
    {.name = {"any", 3}, .kind = APPROVAL_CHAIN, .backends = tt, .n_backends = 2},
    {.name = {"void", 4}, .kind = APPROVAL_CHAIN},
};

static int setup(void **state)
{
    (void)state;
    int null = open("/dev/null", O_WRONLY); /* no terminal */
    if (null < 0 || dup2(null, STDERR_FILENO) < 0 || loop_new_epoll(&loop) != ERR_OK || approvals_new(loop, &terminal) != ERR_OK)
        return -1;
    close(null);
    up.loop = h1.loop = loop;
    rt.config.approvals = (struct approval_confs){confs, ARRAY_LEN(confs), ARRAY_LEN(confs)};
    approver = approver_new(loop, loop, terminal, &up, &h1);
    return approver ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    approver_free(approver);
    loop_turn(loop, 0);
    approvals_free(terminal);
    loop_free(loop);
    return 0;
}

static void ask(struct got *g, const char *backend, uint64_t timeout_ms)
{
    struct approval_question q = {.request_id = STR("r1"), .route_id = STR("svc"), .method = STR("GET"), .path = STR("/x"),
                                  .backend = str_from(backend), .timeout_ms = timeout_ms};
    *g = (struct got){.called = 0};
    assert_int_equal(approver_ask(approver, &rt, &q, on_answer, g, &g->w), ERR_OK);
    assert_false(g->called);
}

static void turn_until(const struct got *g)
{
    uint64_t end = clock_mono_ns() + 5000 * NS_PER_MS;
    while (!g->called && clock_mono_ns() < end)
        loop_turn(loop, NS_PER_MS);
    assert_int_equal(g->called, 1);
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *backend, *fallback;
        enum approval_answer answer;
        const char *by, *says;
    } rows[] = {
        {"tty", "", APPROVAL_DENIED, "tty", "denied by approval back end 'tty': standard error is no terminal, so nobody can be asked"},
        {"", "tty", APPROVAL_DENIED, "tty", NULL},
        {"any", "", APPROVAL_DENIED, "any", "denied by approval back end 'tty': standard error is no terminal, so nobody can be asked"},
        {"", "", APPROVAL_FAILED, "", "this needs approval, and no approval back end is named: set approval_defaults.backend"},
        {"x", "tty", APPROVAL_FAILED, "x", "approval back end 'x' is unknown"},
        {"void", "", APPROVAL_FAILED, "void", "approval back end 'void' cannot be followed to its end"},
        {"hook", "", APPROVAL_FAILED, "hook", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        rt.config.approval_backend = str_from(rows[i].fallback);
        ask(&g, rows[i].backend, 0);
        turn_until(&g);
        if (g.answer != rows[i].answer || strcmp(g.backend, rows[i].by) != 0 || (rows[i].says && strcmp(g.sentence, rows[i].says) != 0))
            fail_msg("%zu: %d %s \"%s\"", i, g.answer, g.backend, g.sentence);
    }
    rt.config.approval_backend = STR_NULL;
}

/* No call, nothing lost (the leak checker says). */
static void test_withdrawn(void **state)
{
    (void)state;
    static const char *const backends[] = {"tty", "any", "hook", "x"};
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        for (int turns = 0; turns < 3; turns++) {
            struct got g;
            ask(&g, backends[i], 0);
            for (int k = 0; k < turns; k++)
                loop_turn(loop, 0);
            bool called = g.called;
            approver_withdraw(g.w);
            for (int k = 0; k < 4; k++)
                loop_turn(loop, 0);
            assert_int_equal(g.called, called);
        }
    approver_withdraw(NULL);
}

/* Whose time counts (decision O9): the rule's, the back end's, the defaults'. Control does not answer here. */
static void test_times(void **state)
{
    (void)state;
    static const struct {
        uint64_t rule, backend, defaults, ms;
    } rows[] = {{100, 5000, 5000, 100}, {0, 200, 5000, 200}, {0, 0, 150, 150}};
    struct loop *nobody;
    struct got g;
    assert_int_equal(loop_new_epoll(&nobody), ERR_OK);
    struct approver *own = approver_new(loop, nobody, terminal, &up, &h1), *usual = approver;
    assert_non_null(own);
    approver = own;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        confs[0].timeout_ms = rows[i].backend;
        rt.config.approval_timeout_ms = rows[i].defaults;
        uint64_t began = clock_mono_ns();
        loop_turn(loop, 0);
        ask(&g, "tty", rows[i].rule);
        turn_until(&g);
        uint64_t took = (clock_mono_ns() - began) / NS_PER_MS;
        assert_int_equal(g.answer, APPROVAL_TIMEOUT);
        assert_true(took + 2 >= rows[i].ms && took < rows[i].ms + 1500);
    }
    confs[0].timeout_ms = 0;
    rt.config.approval_timeout_ms = 0;
    loop_turn(nobody, 0); /* the questions, and that they were withdrawn */
    approver_free(own);
    approver = usual;
    loop_free(nobody);
    assert_non_null(strstr(g.sentence, "gave no answer within"));
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char *const backends[] = {"tty", "hook", "any"};
    for (size_t b = 0; b < ARRAY_LEN(backends); b++) {
        for (int64_t i = 0; i < 12; i++) {
            struct approval_question q = {.method = STR("GET"), .path = STR("/x"), .backend = str_from(backends[b])};
            struct got g = {.called = 0};
            mem_fail_after(i, false);
            enum err e = approver_ask(approver, &rt, &q, on_answer, &g, &g.w);
            if (e == ERR_OK)
                turn_until(&g);
            mem_fail_after(-1, false);
            assert_true(e == ERR_NOMEM || g.answer == APPROVAL_FAILED || g.answer == APPROVAL_DENIED);
            loop_turn(loop, 0);
        }
    }
}

/* Stopped: nobody is told anything any more, and what is withdrawn then is freed. */
static void test_stop(void **state)
{
    (void)state;
    struct got g;
    approvals_stop(terminal);
    ask(&g, "tty", 0);
    for (int i = 0; i < 4; i++)
        loop_turn(loop, 0);
    assert_false(g.called);
    approver_withdraw(g.w);
    loop_turn(loop, 0);
    assert_false(g.called);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_withdrawn), cmocka_unit_test(test_times),
                                       cmocka_unit_test(test_no_memory), cmocka_unit_test(test_stop)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
