/* Rate limits: pace, bursts, delays, refusals; several threads; by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "proxy/limit.h"
#include "sys/clock.h"
#include <pthread.h>

#define S (1000 * NS_PER_MS)

static bool take(struct limit *l, struct limit_spec s, uint64_t now, uint64_t *delay, uint32_t *after)
{
    *delay = *after = 12345;
    return limit_take(l, &s, now, delay, after);
}

static void test_case94_pace(void **state)
{
    (void)state;
    struct limit l = {0};
    struct limit_spec s = {.per_minute = 60, .burst = 3, .max_delay_ms = 2000};
    uint64_t now = 1000 * S, delay;
    uint32_t after;
    for (int i = 0; i < 3; i++)
        assert_true(take(&l, s, now, &delay, &after) && delay == 0);
    assert_true(take(&l, s, now, &delay, &after) && delay == S);
    assert_true(take(&l, s, now, &delay, &after) && delay == 2 * S);
    assert_false(take(&l, s, now, &delay, &after)); /* takes no slot */
    assert_int_equal(after, 2);
    assert_false(take(&l, s, now + S / 2, &delay, &after));
    assert_int_equal(after, 1);
    assert_true(take(&l, s, now + S, &delay, &after) && delay == 2 * S);
    assert_true(take(&l, s, now + 60 * S, &delay, &after) && delay == 0); /* rested: a whole burst again */
    assert_true(take(&l, s, now + 60 * S, &delay, &after) && delay == 0);
    assert_true(take(&l, s, now + 60 * S, &delay, &after) && delay == 0);
    assert_true(take(&l, s, now + 60 * S, &delay, &after) && delay == S);
}

static void test_retry_is_enough(void **state)
{
    (void)state;
    for (uint32_t rate = 1; rate < 200; rate += 7) {
        struct limit l = {0};
        struct limit_spec s = {.per_minute = rate, .burst = 1, .max_delay_ms = 0};
        uint64_t delay;
        uint32_t after;
        assert_true(take(&l, s, 5 * S, &delay, &after) && delay == 0);
        assert_false(take(&l, s, 5 * S, &delay, &after));
        assert_true(after >= 1 && after <= 60 / rate + 1);
        assert_true(take(&l, s, 5 * S + after * S, &delay, &after));
    }
}

static void test_extremes(void **state)
{
    (void)state;
    static const struct limit_spec specs[] = {
        {1, UINT32_MAX, UINT64_MAX}, {1, 0, UINT64_MAX}, {UINT32_MAX, UINT32_MAX, 0}, {1, 1, 0}, {UINT32_MAX, 0, 0}, {60, 5, 5000}};
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        struct limit l = {0};
        uint64_t delay;
        uint32_t after;
        for (int k = 0; k < 10000; k++)
            if (take(&l, specs[i], 7 * S, &delay, &after))
                assert_true(delay <= 3600 * S);
            else
                assert_true(after >= 1 && after <= 61);
        assert_true(take(&l, specs[i], 7 * S + 3 * 86400 * S, &delay, &after) && delay == 0);
    }
    struct limit off = {.tat_ = UINT64_MAX / 2};
    uint64_t delay;
    uint32_t after;
    assert_true(take(&off, (struct limit_spec){.per_minute = 0, .burst = 1}, S, &delay, &after) && delay == 0);
}

/* A reload that makes it wider does not leave the route shut for hours. */
static void test_wider_after_reload(void **state)
{
    (void)state;
    struct limit l = {0};
    struct limit_spec slow = {.per_minute = 1, .burst = 600, .max_delay_ms = 0}, fast = {.per_minute = 6000, .burst = 10, .max_delay_ms = 100};
    uint64_t now = 50 * S, delay;
    uint32_t after;
    for (int i = 0; i < 600; i++)
        assert_true(take(&l, slow, now, &delay, &after));
    assert_false(take(&l, fast, now, &delay, &after));
    assert_int_equal(after, 1);
    assert_true(take(&l, fast, now + S, &delay, &after) && delay == 0);
}

enum { THREADS = 4, EACH = 20000 };
static struct limit shared_limit;
static const struct limit_spec shared_spec = {.per_minute = 60, .burst = 1000, .max_delay_ms = 500000};

static void *worker(void *arg)
{
    unsigned *granted = arg;
    uint64_t delay;
    uint32_t after;
    for (int i = 0; i < EACH; i++)
        *granted += limit_take(&shared_limit, &shared_spec, 9 * S, &delay, &after);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t t[THREADS];
    unsigned granted[THREADS] = {0}, sum = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, worker, &granted[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
        sum += granted[i];
    }
    assert_int_equal(sum, 1000 + 500);
}

static void test_names(void **state)
{
    (void)state;
    struct limits *l = limits_new();
    assert_non_null(l);
    struct limit *a = limits_get(l, STR("a")), *b = limits_get(l, STR("b"));
    assert_true(a && b && a != b);
    char text[] = "a-"; /* need not be the same text, nor end in NUL */
    assert_ptr_equal(limits_get(l, str_of(text, 1)), a);
    assert_true(str_eq(limit_name(b), STR("b")));
    limits_free(l);
    limits_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_case94_pace), cmocka_unit_test(test_retry_is_enough), cmocka_unit_test(test_extremes),
                                       cmocka_unit_test(test_wider_after_reload), cmocka_unit_test(test_threads), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
