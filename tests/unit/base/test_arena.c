#include "unit.h"
#include "base/arena.h"
#include "base/chunk.h"
#include "base/mem.h"
#include <stdalign.h>

static void test_pieces(void **state)
{
    (void)state;
    struct chunk_pool *pool = chunk_pool_new(2);
    struct arena a;
    char *piece[300];
    arena_init(&a, pool, 1000000);
    for (size_t i = 0; i < ARRAY_LEN(piece);
         i++) { /* small and large ones, none overlaps another */
        size_t n = i * 37 % 6000;
        piece[i] = arena_alloc(&a, n);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % alignof(max_align_t), 0);
        memset(piece[i], (int)(i & 0xff), n);
    }
    for (size_t i = 0; i < ARRAY_LEN(piece); i++) {
        for (size_t k = 0; k < i * 37 % 6000; k++)
            assert_int_equal((unsigned char)piece[i][k], i & 0xff);
    }
    arena_fini(&a);
    arena_fini(&a);
    assert_int_equal(chunk_pool_out(pool), 0);
    chunk_pool_free(pool);
}

static void test_cap(void **state)
{
    (void)state;
    struct chunk_pool *pool = chunk_pool_new(2);
    struct arena a;
    arena_init(&a, pool, 160);
    assert_null(arena_alloc(&a, 161));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    for (int i = 0; i < 10; i++)
        assert_non_null(arena_alloc(&a, i % 2 ? 16 : 0));
    assert_null(arena_alloc(&a, 0));
    assert_null(arena_str(&a, STR("")).p);
    assert_null(arena_printf(&a, "x").p);
    arena_fini(&a);
    assert_non_null(arena_alloc(&a, 160)); /* usable again */
    arena_fini(&a);
    chunk_pool_free(pool);
}

static void test_text(void **state)
{
    (void)state;
    struct chunk_pool *pool = chunk_pool_new(2);
    struct arena a;
    arena_init(&a, pool, 100000);
    struct str s = arena_str(&a, STR("ab\0c"));
    assert_str(s, "ab\0c");
    assert_int_equal(s.p[4], 0);
    s = arena_str(&a, STR_NULL);
    assert_non_null(s.p);
    assert_int_equal(s.n, 0);
    const struct str parts[] = {STR("ab"), STR_NULL, STR("c")};
    s = arena_join(&a, parts, 3);
    assert_true(str_eq(s, STR("abc")) && s.p[3] == '\0');
    s = arena_join(&a, parts + 1, 1);
    assert_true(s.p && s.n == 0);
    s = arena_printf(&a, "%s:%d", "host", 8080);
    assert_str(s, "host:8080");
    assert_int_equal(s.p[s.n], 0);
    assert_int_equal(arena_printf(&a, "%20000d", 1).n, 20000);
    arena_fini(&a);
    chunk_pool_free(pool);
}

static void test_no_memory(void **state)
{
    (void)state;
    bool done = false;
    int64_t n = 0;
    for (; !done && n < 200; n++) {
        mem_fail_after(n, false);
        struct chunk_pool *pool = chunk_pool_new(1);
        if (!pool)
            continue;
        struct arena a;
        arena_init(&a, pool, 100000);
        done = true;
        for (int i = 0; i < 30; i++)
            done = arena_alloc(&a, i % 5 ? 700 : 5000) && done;
        mem_fail_after(-1, false);
        arena_fini(&a);
        chunk_pool_free(pool);
    }
    mem_fail_after(-1, false);
    assert_true(done && n > 7);
}

static void test_chunks(void **state)
{
    (void)state;
    struct chunk_pool *pool = chunk_pool_new(1);
    struct chunk *a = chunk_take(pool), *b = chunk_take(pool);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(chunk_pool_out(pool), 2);
    memset(a->data, 's', sizeof(a->data));
    a->sensitive = sizeof(a->data);
    a->end = 100, a->start = 50;
    chunk_release(pool, a);
    chunk_release(pool, b); /* one more than is kept */
    chunk_release(pool, NULL);
    assert_int_equal(chunk_pool_out(pool), 0);
    struct chunk *c = chunk_take(pool);
    assert_ptr_equal(a, c);
    assert_true(c->start == 0 && c->end == 0 && !c->sensitive && !c->next);
    for (size_t i = 0; i < sizeof(c->data); i++)
        assert_int_equal(c->data[i], 0);
    chunk_release(pool, c);
    mem_fail_after(0, false);
    assert_null(chunk_take(pool));
    assert_int_equal(chunk_pool_out(pool), 0);
    mem_fail_after(-1, false);
    chunk_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces), cmocka_unit_test(test_cap),
        cmocka_unit_test(test_text),   cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
