#include "../base/unit.h"
#include "cli/env.h"

static void test_get(void **state)
{
    char *env[] = {
        (char *)"A=1", (char *)"AB=2", (char *)"EMPTY=", (char *)"X=a=b", (char *)"A=9", NULL};
    (void)state;
    assert_string_equal(env_get(env, "A"), "1");
    assert_string_equal(env_get(env, "AB"), "2");
    assert_string_equal(env_get(env, "X"), "a=b");
    assert_null(env_get(env, "EMPTY"));
    assert_null(env_get(env, "B"));
    assert_null(env_get(env, ""));
    assert_null(env_get(NULL, "A"));
}

static void test_wipe_zeroes_and_removes_every_copy(void **state)
{
    char first[] = "P=secret", second[] = "P=again", other[] = "PP=x", last[] = "Q=y";
    char *env[] = {first, other, second, last, NULL};
    (void)state;
    env_wipe(env, "P");
    assert_ptr_equal(env[0], other);
    assert_ptr_equal(env[1], last);
    assert_null(env[2]);
    assert_memory_equal(first, "P=\0\0\0\0\0\0", 8);
    assert_memory_equal(second, "P=\0\0\0\0\0", 7);
    env_wipe(env, "NOT_THERE");
    assert_ptr_equal(env[0], other);
    env_wipe(NULL, "P");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_wipe_zeroes_and_removes_every_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
