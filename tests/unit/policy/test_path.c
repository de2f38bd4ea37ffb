/* Request paths as rules see them (E3, E4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "policy/path.h"

#define S(literal) {literal, sizeof(literal) - 1}

static const struct {
    struct str path, segments, decoded; /* decoded p NULL: the same */
} accepted[] = {
    {S("/a//b/c/"), S("/a/b/c"), STR_NULL},
    {S(""), S("/"), STR_NULL},
    {S("/"), S("/"), STR_NULL},
    {S("///"), S("/"), STR_NULL},
    {S("*"), S("/*"), STR_NULL},
    {S("/%3Fq"), S("/?q"), STR_NULL},
    {S("/a%2Fb"), S("/a\0b"), S("/a/b")},
    {S("/a%2f"), S("/a\0"), S("/a")},
    {S("/%2F"), S("/\0"), S("/")},
    {S("/%2F%5c/"), S("/\0\\"), S("/")},
    {S("/a%5Cb"), S("/a\\b"), S("/a/b")},
    {S("/a%5C%5Cb"), S("/a\\\\b"), S("/a/b")},
    {S("/api/%70rojects"), S("/api/projects"), STR_NULL},
    {S("/%FF"), S("/\xff"), STR_NULL},
    {S("/\xff"), S("/\xff"), STR_NULL},
    {S("/%252e%252E"), S("/%2e%2E"), STR_NULL},
    {S("/..."), S("/..."), STR_NULL},
    {S("/.a/a./..b"), S("/.a/a./..b"), STR_NULL},
    {S("/%0a%09%01"), S("/\n\t\x01"), STR_NULL},
    {S("/a;b=c/d"), S("/a;b=c/d"), STR_NULL},
    {S("/a+b%2Bc%20"), S("/a+b+c "), STR_NULL},
};

static enum err judge(struct str path, struct judged_path *out, struct errctx *ctx)
{
    static char scratch[4096];
    memset(scratch, 0x55, sizeof scratch);
    return path_judge(path, scratch, 2 * path.n + 4, out, ctx);
}

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        struct judged_path out;
        struct errctx ctx = {0};
        if (judge(accepted[i].path, &out, &ctx) != ERR_OK)
            fail_msg("%s: %s", accepted[i].path.p, ctx.text);
        struct str decoded = accepted[i].decoded.p ? accepted[i].decoded : accepted[i].segments;
        if (!str_eq(out.segments, accepted[i].segments) || !str_eq(out.decoded, decoded))
            fail_msg("%s: %.*s and %.*s", accepted[i].path.p, STR_ARG(out.segments), STR_ARG(out.decoded));
        assert_int_equal(out.segments.p == out.decoded.p, !accepted[i].decoded.p);
    }
}

static const struct str refused[] = {
    S("/a/%2e%2e/b"), S("/../x"), S("/a/.."), S("/."), S("/./a"), S("/%2E"), S("/.%2e/a"), S("/a%2F..%2Fb"), S("/a%5C..%5Cb"),
    S("/..%2Fa"), S("/a%2f.."), S("/a%5c."), S("/a\\b"), S("/a\x01"), S("/a\x7f"), S("/a\0b"), S("/%00"), S("/%"), S("/%4"),
    S("/%zz"), S("/%4g"), S("/a%"), S("/a/%2e%2E%2fb"), S("/a b%"), S(".."), S("/a//../b"), S("/%5c%2e%2e"),
};

static void test_case_70_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct judged_path out = {.segments = STR_NULL};
        struct errctx ctx = {0};
        if (judge(refused[i], &out, &ctx) != ERR_BAD_REQUEST || !ctx.text[0] || out.segments.p)
            fail_msg("%s is accepted", refused[i].p);
    }
}

static void test_below(void **state)
{
    char scratch[100];
    struct judged_path out;
    struct errctx ctx = {0};
    (void)state;
    assert_int_equal(path_judge_below(STR("/v1"), STR("/a%2Fb/"), scratch, sizeof scratch, &out, &ctx), ERR_OK);
    assert_true(str_eq(out.segments, (struct str)S("/v1/a\0b")));
    assert_true(str_eq(out.decoded, STR("/v1/a/b")));
    assert_true(str_eq(path_below(out.decoded, STR("/v1")), STR("/a/b")));
    assert_int_equal(path_judge_below(STR("/v1"), STR("/"), scratch, sizeof scratch, &out, &ctx), ERR_OK);
    assert_true(str_eq(out.segments, STR("/v1")));
    assert_true(str_eq(path_below(out.segments, STR("/v1")), STR("/")));
    assert_null(path_below(STR("/v1x"), STR("/v1")).p);
    assert_null(path_below(STR("/v"), STR("/v1")).p);
    assert_true(str_eq(path_below(STR("/x"), STR("")), STR("/x")));
    assert_int_equal(path_judge(STR("/abc"), scratch, 11, &out, &ctx), ERR_URI_TOO_LONG);
}

/* However a byte is written, the forms are the same, and every form judged again is itself. */
static void test_spellings(void **state)
{
    static const char letters[] = "ab.-/";
    uint64_t seed = 3;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char plain[16], spelt[64], first[80], second[160];
        size_t n = 0, m = 0;
        plain[n++] = spelt[m++] = '/';
        for (unsigned k = 0; k < 8; k++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            char c = letters[(seed >> 33) % (sizeof letters - 1)];
            plain[n++] = c;
            if (c == '/')
                m += (size_t)snprintf(spelt + m, sizeof spelt - m, "%s", seed >> 60 & 1 ? "//" : "/");
            else if (seed >> 61 & 1)
                m += (size_t)snprintf(spelt + m, sizeof spelt - m, seed >> 62 & 1 ? "%%%02x" : "%%%02X", (unsigned)c);
            else
                spelt[m++] = c;
        }
        struct judged_path a, b;
        struct errctx ctx = {0}, other = {0};
        enum err e = path_judge(str_of(plain, n), first, sizeof first, &a, &ctx);
        assert_int_equal(e, path_judge(str_of(spelt, m), second, sizeof second, &b, &other));
        if (e == ERR_OK)
            assert_true(str_eq(a.segments, b.segments) && str_eq(a.decoded, b.decoded));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_case_70_refused),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
