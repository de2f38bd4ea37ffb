#include "unit.h"
#include "base/mem.h"
#include "base/secret.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int start(void **state)
{
    (void)state;
    bool locked;
    secret_region_init(&locked);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    secret_region_fini(); /* asserts that none is left */
    return 0;
}

static void test_life(void **state)
{
    (void)state;
    struct secret *s = secret_new(STR("hunter2"));
    const char *at = secret_borrow(s).p;
    assert_str(secret_borrow(s), "hunter2");
    assert_true(secret_equal(s, STR("hunter2")));
    assert_false(secret_equal(s, STR("hunter3")));
    assert_false(secret_equal(s, STR("hunter")));
    assert_false(secret_equal(s, STR("Hunter2")));
    assert_false(secret_equal(s, STR_NULL));
    assert_ptr_equal(secret_ref(s), s);
    secret_unref(s);
    assert_str(secret_borrow(s), "hunter2");
    secret_unref(s);
    for (size_t i = 0; i < 7; i++) /* the region stays mapped: look at what was left there */
        assert_int_equal(at[i], 0);
    secret_unref(NULL);
    s = secret_new(STR_NULL);
    assert_int_equal(secret_borrow(s).n, 0);
    assert_true(secret_equal(s, STR("")));
    secret_unref(s);
}

static void test_many(void **state)
{
    (void)state;
    enum { N = 400 };
    static char big[65536];
    struct secret *s[N] = {NULL};
    uint32_t x = 1;
    for (int step = 0; step < 8000; step++) {
        x = x * 1664525 + 1013904223;
        size_t i = (x >> 8) % N, n = (x >> 20) % (i % 50 ? 600 : 65537);
        secret_unref(s[i]);
        s[i] = NULL;
        if (x >> 31) {
            memset(big, (int)(i & 0x3f) + 1, n);
            s[i] = secret_new(str_of(big, n));
            assert_non_null(s[i]);
        }
        size_t k = (x >> 4) % N; /* another one is as it was */
        for (size_t b = 0; s[k] && b < secret_borrow(s[k]).n; b += 13)
            assert_int_equal(secret_borrow(s[k]).p[b], (k & 0x3f) + 1);
    }
    for (size_t i = 0; i < N; i++)
        secret_unref(s[i]);
    memset(big, 'x', sizeof(big));
    struct secret *largest = secret_new(str_of(big, sizeof(big)));
    assert_true(secret_equal(largest, str_of(big, sizeof(big))));
    secret_unref(largest);
    assert_null(secret_new(str_of(big, sizeof(big) + 1)));
}

static void test_no_memory(void **state)
{
    (void)state;
    mem_fail_after(0, false);
    assert_null(secret_new(STR("x")));
    mem_fail_after(-1, false);
}

/* A forked child finds nothing but zeros. */
static void test_fork(void **state)
{
    (void)state;
    struct secret *s = secret_new(STR("hunter2"));
    const char *at = secret_borrow(s).p;
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        for (int i = 0; i < 7; i++) {
            if (at[i])
                _exit(1);
        }
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    secret_unref(s);
}

static void *share(void *arg)
{
    for (int i = 0; i < 5000; i++) {
        struct secret *own = secret_new(STR("own"));
        secret_unref(secret_ref(arg));
        secret_unref(own);
    }
    secret_unref(arg);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct secret *s = secret_new(STR("shared"));
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, share, secret_ref(s)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_str(secret_borrow(s), "shared");
    secret_unref(s);
}

/* A secret that is still held when the region goes is an assertion. */
static void test_leak_is_noticed(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        signal(SIGABRT, SIG_DFL);
        (void)!freopen("/dev/null", "w", stderr);
        secret_region_fini();
        bool locked;
        secret_region_init(&locked);
        if (!secret_new(STR("left")))
            _exit(1);
        secret_region_fini();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, start, stop),
        cmocka_unit_test_setup_teardown(test_many, start, stop),
        cmocka_unit_test_setup_teardown(test_no_memory, start, stop),
        cmocka_unit_test_setup_teardown(test_fork, start, stop),
        cmocka_unit_test_setup_teardown(test_threads, start, stop),
        cmocka_unit_test(test_leak_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
