#include "http/head.h"
#include "base/chunk.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const names[FIELD_COUNT_] = {
#define FIELD(id, text, bits) [FIELD_##id] = (text),
#include "http/fields.def"
#undef FIELD
};

static void mixed_case(char *to, const char *from, unsigned mask)
{
    size_t i = 0;

    for (; from[i]; i++)
        to[i] = mask >> (i % 3) & 1 && from[i] >= 'a' && from[i] <= 'z' ? (char)(from[i] - 32)
                                                                        : from[i];
    to[i] = '\0';
}

static void test_lookup_every_name(void **state)
{
    char text[64];

    (void)state;
    for (unsigned id = 1; id < FIELD_COUNT_; id++) {
        for (unsigned mask = 0; mask < 8; mask++) {
            mixed_case(text, names[id], mask);
            assert_int_equal(field_lookup(str_from(text)), id);
        }
    }
}

static bool known(const char *p, size_t n)
{
    for (unsigned id = 1; id < FIELD_COUNT_; id++)
        if (str_eq_nocase(str_of(p, n), str_from(names[id])))
            return true;
    return false;
}

/* One byte changed to every other value, one left out, one more: found only where the name is
 * known. */
static void test_lookup_neighbours(void **state)
{
    char text[64];

    (void)state;
    for (unsigned id = 1; id < FIELD_COUNT_; id++) {
        size_t n = strlen(names[id]);
        for (size_t i = 0; i < n; i++) {
            for (int c = 0; c < 256; c++) {
                memcpy(text, names[id], n);
                text[i] = (char)c;
                assert_int_equal(field_lookup(str_of(text, n)) != FIELD_OTHER, known(text, n));
            }
        }
        memcpy(text, names[id], n);
        text[n] = 's';
        assert_int_equal(field_lookup(str_of(text, n + 1)), FIELD_OTHER);
        assert_int_equal(field_lookup(str_of(text, n - 1)) != FIELD_OTHER, known(text, n - 1));
    }
    assert_int_equal(field_lookup(STR_NULL), FIELD_OTHER);
    assert_int_equal(field_lookup(STR("x-a-name-that-is-longer-than-every-other-one")),
                     FIELD_OTHER);
}

static void test_flags(void **state)
{
    (void)state;
    assert_true(field_flags(FIELD_CONNECTION) & FIELD_F_HOP);
    assert_true(field_flags(FIELD_CONTENT_LENGTH) & FIELD_F_FRAMING);
    assert_true(field_flags(FIELD_AUTHORIZATION) & FIELD_F_CRED);
    assert_int_equal(field_flags(FIELD_ACCEPT), 0);
    assert_int_equal(field_flags(FIELD_OTHER), 0);
}

static void test_get_count_token(void **state)
{
    struct field v[4];
    struct fields f = {v, 0, 4};

    (void)state;
    assert_true(fields_add(&f, STR("Connection"), STR(" a,  Close ,b")));
    assert_true(fields_add(&f, STR("X-One"), STR("1")));
    assert_true(fields_add(&f, STR("CONNECTION"), STR("Upgrade")));
    assert_true(fields_add(&f, STR("x-one"), STR("2")));
    assert_false(fields_add(&f, STR("full"), STR("")));
    assert_int_equal(f.n, 4);
    assert_ptr_equal(fields_get(&f, FIELD_CONNECTION), &v[0]);
    assert_null(fields_get(&f, FIELD_HOST));
    assert_ptr_equal(fields_get_name(&f, STR("x-ONE")), &v[1]);
    assert_ptr_equal(fields_get_name(&f, STR("connection")), &v[0]);
    assert_null(fields_get_name(&f, STR("x-two")));
    assert_int_equal(fields_count(&f, FIELD_CONNECTION), 2);
    assert_true(fields_has_token(&f, FIELD_CONNECTION, STR("close")));
    assert_true(fields_has_token(&f, FIELD_CONNECTION, STR("upgrade")));
    assert_false(fields_has_token(&f, FIELD_CONNECTION, STR("clos")));
    assert_false(fields_has_token(&f, FIELD_UPGRADE, STR("upgrade")));
}

static void test_copy(void **state)
{
    char name[] = "X-Name", value[] = "value", target[] = "/target";
    struct field v[2];
    struct http_head head = {.method = STR("GET"), .target = str_from(target), .fields = {v, 0, 2}};
    struct http_head copy = {0};
    struct chunk_pool *pool = chunk_pool_new(2);
    struct arena a;

    (void)state;
    assert_true(fields_add(&head.fields, str_from(name), str_from(value)));
    assert_true(fields_add(&head.fields, STR("Host"), STR("")));
    v[1].drop = true;
    arena_init(&a, pool, 65536);
    assert_true(http_head_copy(&a, &head, 3, &copy));
    memset(name, '#', sizeof(name) - 1);
    memset(value, '#', sizeof(value) - 1);
    memset(target, '#', sizeof(target) - 1);
    assert_true(str_eq(copy.target, STR("/target")));
    assert_true(str_eq(copy.fields.v[0].name, STR("X-Name")));
    assert_true(str_eq(copy.fields.v[0].value, STR("value")));
    assert_true(copy.fields.v[1].drop && copy.fields.v[1].id == FIELD_HOST);
    assert_null(copy.reason.p);
    for (int i = 0; i < 3; i++)
        assert_true(fields_add(&copy.fields, STR("a"), STR("b")));
    assert_false(fields_add(&copy.fields, STR("a"), STR("b")));
    arena_fini(&a);
    chunk_pool_free(pool);
}

static void test_copy_out_of_memory(void **state)
{
    struct field v[1];
    struct fields f = {v, 0, 1}, copy = {0};
    struct chunk_pool *pool = chunk_pool_new(2);
    struct arena a;

    (void)state;
    assert_true(fields_add(&f, STR("name"), STR("value")));
    arena_init(&a, pool, 16);
    assert_false(fields_copy(&a, &f, 0, &copy));
    assert_false(fields_copy(&a, &f, 70000, &copy));
    assert_null(copy.v);
    arena_fini(&a);
    chunk_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup_every_name),
        cmocka_unit_test(test_lookup_neighbours),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_get_count_token),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_out_of_memory),
    };

    return cmocka_run_group_tests_name("http/fields", tests, NULL, NULL);
}
