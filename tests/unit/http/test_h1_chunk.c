/* The codec's own interface; malformed chunks are in the corpus. */
#include "http/h1_chunk.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void feed(struct h1_chunk *c, struct str *rest, enum err want, const char *data)
{
    struct errctx ctx = {0};
    struct str got;
    size_t used = 0;

    assert_int_equal(h1_chunk_feed(c, rest->p, rest->n, &used, &got, &ctx), want);
    assert_true(used <= rest->n);
    if (!str_eq(got, str_from(data)))
        fail_msg("want %s, got %.*s", data, STR_ARG(got));
    rest->p += used, rest->n -= used;
}

static void test_runs(void **state)
{
    struct str rest = STR("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\nnext");
    struct h1_chunk c;

    (void)state;
    h1_chunk_init(&c, false);
    feed(&c, &rest, ERR_OK, "abc");
    feed(&c, &rest, ERR_OK, "de");
    feed(&c, &rest, ERR_EOF, "");
    assert_true(str_eq(rest, STR("X: y\r\n\r\nnext")));
    feed(&c, &rest, ERR_EOF, ""); /* and stays there */
    assert_int_equal(rest.n, 12);
}

static void test_pieces(void **state)
{
    struct h1_chunk c;
    struct str rest = STR("5\r");

    (void)state;
    h1_chunk_init(&c, false);
    feed(&c, &rest, ERR_AGAIN, "");
    rest = STR("\nhe");
    feed(&c, &rest, ERR_OK, "he");
    feed(&c, &rest, ERR_AGAIN, "");
    rest = STR("llo");
    feed(&c, &rest, ERR_OK, "llo");
    rest = STR("\r\n0\r\n");
    feed(&c, &rest, ERR_EOF, "");
}

/* Data in a buffer that is far larger than what has come of it: no sum overflows. */
static void test_largest(void **state)
{
    struct h1_chunk c;
    struct str rest = STR("7fffffffffffffff\r\nab");

    (void)state;
    h1_chunk_init(&c, true);
    feed(&c, &rest, ERR_OK, "ab");
    feed(&c, &rest, ERR_AGAIN, "");
}

static void test_size_line_limit(void **state)
{
    static char line[LIMIT_HEAD_BYTES + 1];
    static const enum err want[2] = {ERR_HEAD_TOO_LARGE, ERR_BAD_RESPONSE};

    (void)state;
    memset(line, 'x', sizeof(line));
    memcpy(line, "1;", 2);
    for (int response = 0; response < 2; response++) {
        struct h1_chunk c;
        struct errctx ctx = {0};
        struct str got;
        size_t used = 0;
        h1_chunk_init(&c, response);
        assert_int_equal(h1_chunk_feed(&c, line, sizeof(line) - 1, &used, &got, &ctx), ERR_AGAIN);
        assert_int_equal(h1_chunk_feed(&c, line + used, 1, &used, &got, &ctx), want[response]);
    }
}

static void test_trailers(void **state)
{
    char text[] = "X: y\r\nHost: h\r\nProxy-Authorization: p\r\nprivate-token: t\r\n\r\nnext";
    struct field v[4];
    struct fields trailers = {v, 0, 4};
    struct h1_chunk c;
    struct errctx ctx = {0};
    size_t used = 77;

    (void)state;
    h1_chunk_init(&c, false);
    for (size_t n = 0; n < sizeof(text) - 5; n++)
        assert_int_equal(h1_chunk_trailers(&c, text, n, &used, &trailers, &ctx), ERR_AGAIN);
    assert_int_equal(used, 77);
    assert_int_equal(h1_chunk_trailers(&c, text, sizeof(text) - 1, &used, &trailers, &ctx), ERR_OK);
    assert_int_equal(used, sizeof(text) - 5);
    assert_int_equal(trailers.n, 4);
    assert_false(v[0].drop);
    assert_true(v[1].drop && v[2].drop && v[3].drop);
}

static void test_no_trailers(void **state)
{
    char text[] = "\r\nnext";
    struct field v[1];
    struct fields trailers = {v, 0, 1};
    struct h1_chunk c;
    struct errctx ctx = {0};
    size_t used = 0;

    (void)state;
    h1_chunk_init(&c, false);
    assert_int_equal(h1_chunk_trailers(&c, text, 6, &used, &trailers, &ctx), ERR_OK);
    assert_int_equal(used, 2);
    assert_int_equal(trailers.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),     cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_largest),  cmocka_unit_test(test_size_line_limit),
        cmocka_unit_test(test_trailers), cmocka_unit_test(test_no_trailers),
    };

    return cmocka_run_group_tests_name("http/h1_chunk", tests, NULL, NULL);
}
