#include "unit.h"
#include "base/map.h"
#include "base/mem.h"
#include <stdio.h>

enum { KEYS = 300 };
static char keys[KEYS][12];

static struct str key(size_t i)
{
    return str_from(keys[i]);
}

static void make_keys(void)
{
    for (size_t i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
}

static size_t walk(const struct map *m)
{
    struct str k;
    void *v;
    size_t n = 0;
    for (size_t pos = 0; map_next(m, &pos, &k, &v); n++)
        assert_ptr_equal(v, k.p);
    return n;
}

/* Against a plain array, with a fixed sequence of pseudo-random steps. */
static void test_against_array(void **state)
{
    (void)state;
    struct map m;
    bool in[KEYS] = {false};
    size_t n = 0;
    uint32_t x = 12345;
    make_keys();
    map_init(&m);
    for (int step = 0; step < 20000; step++) {
        x = x * 1664525 + 1013904223;
        size_t i = (x >> 8) % (step % 4000 < 2000 ? 40 : KEYS);
        assert_ptr_equal(map_get(&m, key(i)), in[i] ? keys[i] : NULL);
        if (x >> 31) {
            assert_true(map_put(&m, key(i), keys[i]));
            n += !in[i], in[i] = true;
        } else {
            assert_ptr_equal(map_remove(&m, key(i)), in[i] ? keys[i] : NULL);
            n -= in[i], in[i] = false;
        }
        assert_int_equal(m.n, n);
        if (step % 500 == 0)
            assert_int_equal(walk(&m), n);
    }
    map_fini(&m);
}

static void test_replace(void **state)
{
    (void)state;
    struct map m;
    char first[] = "key", second[] = "key";
    int v;
    struct str k;
    size_t pos = 0;
    map_init(&m);
    assert_null(map_get(&m, STR("key")));
    assert_null(map_remove(&m, STR("key")));
    assert_false(map_next(&m, &pos, NULL, NULL));
    assert_true(map_put(&m, str_from(first), first));
    assert_true(map_put(&m, str_from(second), &v));
    memset(first, 'x', 3); /* the first entry is gone, and its key with it */
    assert_ptr_equal(map_get(&m, STR("key")), &v);
    pos = 0;
    assert_true(map_next(&m, &pos, &k, NULL));
    assert_ptr_equal(k.p, second);
    assert_true(map_put(&m, STR(""), &v));
    assert_ptr_equal(map_get(&m, STR_NULL), &v);
    map_fini(&m);
}

static void test_no_memory(void **state)
{
    (void)state;
    bool done = false;
    int64_t n = 0;
    make_keys();
    for (; !done && n < 50; n++) {
        struct map m;
        map_init(&m);
        mem_fail_after(n, true);
        size_t put = 0;
        while (put < KEYS && map_put(&m, key(put), keys[put]))
            put++;
        assert_int_equal(m.n, put);
        for (size_t i = 0; i < KEYS; i++)
            assert_ptr_equal(map_get(&m, key(i)), i < put ? keys[i] : NULL);
        done = put == KEYS;
        mem_fail_after(-1, false);
        map_fini(&m);
    }
    assert_true(done && n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_array),
                                       cmocka_unit_test(test_replace),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
