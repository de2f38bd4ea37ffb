#include "unit.h"
#include "base/buf.h"
#include "base/mem.h"

static void test_add(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    buf_add_z(&b, "ab");
    buf_add_c(&b, '-');
    buf_add_u64(&b, 0);
    buf_add_u64(&b, UINT64_MAX);
    buf_add_str(&b, STR_NULL);
    buf_printf(&b, "|%s|%d", "x", -5);
    assert_true(buf_ok(&b));
    assert_str(buf_str(&b), "ab-018446744073709551615|x|-5");
    buf_drop(&b, 3);
    assert_str(buf_str(&b), "018446744073709551615|x|-5");
    buf_drop(&b, 1000);
    assert_int_equal(b.n, 0);
    buf_fini(&b);
}

static void test_maximum(void **state)
{
    (void)state;
    for (size_t max = 0; max < 700; max += 7) {
        struct buf b;
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            buf_add_c(&b, 'x');
        assert_true(buf_ok(&b));
        assert_int_equal(b.n, max);
        buf_add(&b, "", 0);
        assert_true(buf_ok(&b));
        buf_add_c(&b, 'y');
        assert_false(buf_ok(&b));
        assert_int_equal(b.n, max);
        assert_null(buf_reserve(&b, 0));
        buf_reset(&b); /* sticky until here */
        buf_add(&b, "0123456789", max < 10 ? max : 10);
        assert_true(buf_ok(&b));
        buf_fini(&b);
    }
}

static void test_printf_at_maximum(void **state)
{
    (void)state;
    for (size_t max = 0; max < 300; max++) {
        struct buf b;
        buf_init(&b, max);
        buf_printf(&b, "%*s", 200, "x"); /* exactly 200 must fit without room for a NUL */
        assert_int_equal(buf_ok(&b), max >= 200);
        if (max >= 200) {
            assert_int_equal(b.n, 200);
            assert_int_equal(b.p[199], 'x');
        }
        buf_fini(&b);
    }
}

static void test_overflow(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, SIZE_MAX);
    buf_add_c(&b, 'x');
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_false(buf_ok(&b));
    buf_fini(&b);
}

static void test_no_memory(void **state)
{
    (void)state;
    int64_t n = 0;
    for (bool done = false; !done && n < 100; n++) {
        struct buf b;
        buf_init(&b, 10000);
        mem_fail_after(n, false);
        for (int i = 0; i < 500; i++)
            buf_add_z(&b, "0123456789");
        buf_printf(&b, "%5000d", 1);
        mem_fail_after(-1, false);
        done = buf_ok(&b);
        if (done)
            assert_int_equal(b.n, 10000);
        buf_fini(&b);
    }
    assert_in_range(n, 5, 20);
}

/* Linked with --wrap: whether a block that was freed (all have 64 bytes here) still held anything.
 */
static bool watch, dirty;
static int frees;
void __real_mem_free(void *p);
void __wrap_mem_free(void *p);
void __wrap_mem_free(void *p)
{
    for (size_t i = 0; p && watch && i < 64; i++)
        dirty |= ((char *)p)[i] != 0;
    frees += p != NULL;
    __real_mem_free(p);
}

/* No copy of a secret is left behind, neither by growing nor by a long printf nor at the end. */
static void test_nothing_left(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    buf_add_z(&b, "secret");
    watch = true;
    frees = 0;
    buf_printf(&b, "%1000s", "x");
    buf_printf(&b, "%2000s", "x");
    assert_int_equal(frees, 4);
    buf_wipe_fini(&b);
    assert_int_equal(frees, 5);
    watch = false;
    assert_false(dirty);
}

static void test_wipe(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_add_z(&b, "secret");
    buf_wipe_fini(&b);
    assert_null(b.p);
    buf_wipe_fini(&b); /* twice is fine */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),       cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_overflow),  cmocka_unit_test(test_printf_at_maximum),
        cmocka_unit_test(test_wipe),      cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
