#include "unit.h"
#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_OK), "ok");
    assert_string_equal(err_outcome(ERR_OK), "ok");
    assert_null(err_category(ERR_OK));
    assert_string_equal(err_name(ERR_PROXY_AUTH), "proxy_authentication_required");
    assert_int_equal(err_status(ERR_PROXY_AUTH), 407);
    assert_string_equal(err_category(ERR_PROXY_AUTH), "authentication_failed");
    assert_string_equal(err_outcome(ERR_PROXY_AUTH), "refused");
    assert_string_equal(err_name(ERR_COUNT_), "unknown");
    assert_string_equal(err_name((enum err) - 1), "unknown");
    for (int e = 1; e < ERR_COUNT_; e++) {
        assert_true(strlen(err_name(e)) > 0);
        for (int o = 0; o < e; o++)
            assert_string_not_equal(err_name(e), err_name(o));
        if (err_status(e)) /* what a client is told, the audit tells too */
            assert_non_null(err_outcome(e));
    }
}

static void test_set(void **state)
{
    (void)state;
    struct errctx ctx = {0};
    assert_int_equal(err_set(&ctx, ERR_INVALID, "bad %s\n\xff", "thing"), ERR_INVALID);
    assert_string_equal(ctx.text, "bad thing\\x0a\\xff");
    assert_int_equal(err_set(&ctx, ERR_RESET, "later"), ERR_INVALID); /* the first one stays */
    assert_string_equal(ctx.text, "bad thing\\x0a\\xff");
    err_clear(&ctx);
    assert_int_equal(err_set(&ctx, ERR_RESET, "%200d", 7), ERR_RESET);
    assert_int_equal(strlen(ctx.text), sizeof(ctx.text) - 1);
    err_clear(&ctx);
    char high[200];
    memset(high, 0x80, sizeof(high) - 1);
    high[199] = 0;
    assert_int_equal(err_set(&ctx, ERR_RESET, "%s", high), ERR_RESET);
    assert_int_equal(strlen(ctx.text) % 4, 0); /* no half escape */
    assert_true(strlen(ctx.text) > 150);
    assert_string_equal(err_errno_text(ENOENT), "No such file or directory");
    assert_non_null(err_errno_text(-5));
}

static void test_assert(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        signal(SIGABRT, SIG_DFL);
        dup2(p[1], STDERR_FILENO);
        ASSERT(1 + 1 == 3);
        _exit(0);
    }
    close(p[1]);
    char text[300];
    ssize_t n = read(p[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = 0;
    assert_non_null(strstr(text, "test_err.c:"));
    assert_non_null(strstr(text, "1 + 1 == 3"));
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    close(p[0]);
}

static void test_mem(void **state)
{
    (void)state;
    char *p = mem_dup("ab\0c", 4);
    assert_memory_equal(p, "ab\0c\0", 5);
    mem_wipe(p, 4);
    assert_memory_equal(p, "\0\0\0\0\0", 5);
    p = mem_realloc(p, 100);
    assert_non_null(p);
    mem_free(p);
    mem_free(NULL);
    p = mem_alloc(0);
    assert_non_null(p);
    mem_free(p);
    assert_null(mem_dup("", SIZE_MAX));
    p = mem_zalloc(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    mem_free(p);
}

static bool try_alloc(void)
{
    void *p = mem_alloc(1);
    mem_free(p);
    return p;
}

static void test_fail_after(void **state)
{
    (void)state;
    mem_fail_after(2, false);
    assert_true(try_alloc() && try_alloc() && !try_alloc() && try_alloc() && try_alloc());
    mem_fail_after(1, true);
    assert_true(try_alloc() && !try_alloc() && !try_alloc());
    assert_null(mem_zalloc(1));
    assert_null(mem_realloc(NULL, 1));
    assert_null(mem_dup("", 0));
    mem_fail_after(-1, false);
    assert_true(try_alloc());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_set),
                                       cmocka_unit_test(test_assert), cmocka_unit_test(test_mem),
                                       cmocka_unit_test(test_fail_after)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
