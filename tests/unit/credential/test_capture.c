/* What sources yield, without running any: values, outputs of helpers, times, scopes, what is told of them. */
#include "credential/broker_int.h"
#include "credential/pick.h"
#include "config/regex.h"
#include "base/mem.h"
#include "sys/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static int setup(void **state)
{
    bool locked;
    (void)state;
    secret_region_init(&locked);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    secret_region_fini();
    return 0;
}

#define S(literal) {literal, sizeof(literal) - 1}

static void case_76_values(void **state)
{
    static const struct {
        struct str value;
        const char *sentence; /* NULL: good */
    } rows[] = {
        {S("sk-abc"), NULL},
        {S("with\ttab and space "), NULL},
        {S("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), NULL},
        {S(""), "it is empty"},
        {S("a\nb"), "it holds a line break"},
        {S("a\r"), "it holds a line break"},
        {S("a\0b"), "it holds a NUL byte"},
        {S("a\x1B"), "it holds a control character"},
        {S("a\x7F"), "it holds a control character"},
        {S("\xFF"), "it is no UTF-8 text"},
        {S("\xC0\x80"), "it is no UTF-8 text"},
        {S("\xE0\x80\x80"), "it is no UTF-8 text"},
        {S("\xED\xA0\x80"), "it is no UTF-8 text"},
        {S("\xF4\x90\x80\x80"), "it is no UTF-8 text"},
        {S("\xE2\x82"), "it is no UTF-8 text"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct errctx ctx = {0};
        enum err e = material_check(rows[i].value, "it", &ctx);
        assert_int_equal(e, rows[i].sentence ? ERR_CREDENTIAL_UNAVAILABLE : ERR_OK);
        assert_string_equal(ctx.text, rows[i].sentence ? rows[i].sentence : "");
    }
}

static void json_is_strict(void **state)
{
    static const char *const good[] = {"{}", " [1,2.5e-3,-0] ", "\"\\u00e9\\n\"", "true", "null",
                                       "{\"a\":{\"b\":[{}]}}"};
    static const char *const bad[] = {"", "{", "{a:1}", "[1,]", "{\"a\":1,}", "01", "1.", "-",
                                      "\"\n\"", "\"\\x\"", "nul", "{} {}", "'a'", "\"\\u12g4\"",
                                      "// x\n1", "{\"a\" 1}", "\"open"};
    char deep[300];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(pick_valid(str_from(good[i])));
        struct str whole = str_trim(str_from(good[i])); /* every proper prefix of a container is not */
        for (size_t n = 1; strchr("{[\"", whole.p[0]) && n < whole.n; n++)
            assert_false(pick_valid(str_of(whole.p, n)));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(pick_valid(str_from(bad[i])));
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    assert_false(pick_valid(str_of(deep, 200)));
    assert_true(pick_valid(str_of(deep + 50, 100)));
}

static void json_is_picked(void **state)
{
    struct str text = STR("{ \"a\" : [1, \"x\"], \"b\\u0063\":\"\\\"\\u20ac\\ud83d\\ude00\\ud800z\","
                          "\"a\":{\"k\":null} }");
    struct str v, list = STR("[ 1 , [2] ,\"3\"]");
    struct buf out;
    size_t at = 0;
    (void)state;
    assert_true(pick_valid(text));
    assert_true(str_eq(pick_get(text, "a"), STR("{\"k\":null}"))); /* the last of two */
    assert_null(pick_get(text, "k").p);
    assert_null(pick_get(STR("[]"), "k").p);
    assert_null(pick_get(STR_NULL, "k").p);
    buf_init(&out, 100);
    pick_text(pick_get(text, "bc"), &out);
    assert_true(str_eq(buf_str(&out), STR("\"\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBDz")));
    buf_fini(&out);
    assert_true(pick_item(list, &at, &v) && str_eq(v, STR("1")));
    assert_true(pick_item(list, &at, &v) && str_eq(v, STR("[2]")));
    assert_true(pick_item(list, &at, &v) && str_eq(v, STR("\"3\"")));
    assert_false(pick_item(list, &at, &v));
}

static void times(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0", 0},
                {"1700000000", 1700000000000},
                {"1700000000.25", 1700000000000},
                {"1970-01-01T00:00:00Z", 0},
                {"2023-11-14T22:13:20Z", 1700000000000},
                {"2023-11-14t22:13:20.5z", 1700000000500},
                {"2023-11-15T00:13:20.123456+02:00", 1700000000123},
                {"2023-11-14T17:13:20-05:00", 1700000000000},
                {"2024-02-29T00:00:00Z", 1709164800000}};
    static const char *const bad[] = {"", "x", "-5", "1e9", "1.", "2023-11-14", "2023-13-14T22:13:20Z",
                                      "2023-11-14T22:13:20", "2023-11-14T22:13:20.Z",
                                      "2023-11-14T22:13:20Zx", "2023-11-14T24:13:20Z",
                                      "2023-11-14T22:13:20+0200", "99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint64_t ms = 1;
        assert_true(time_parse(str_from(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t ms = 1;
        assert_false(time_parse(str_from(bad[i]), &ms));
    }
}

static void outputs(void **state)
{
    static struct str allowed[] = {S("Authorization"), S("X-Org"), S("Host")};
    static const struct {
        char kind; /* t j p */
        struct str out;
        const char *action;
        const char *secret; /* or "Name=value;…" */
    } rows[] = {
        {'t', S("abc\r\n\n"), "captured", "abc"}, /* case 77 */
        {'t', S(" a b \n"), "captured", " a b "},
        {'t', S("\n"), "empty_stdout", NULL},
        {'t', S(""), "empty_stdout", NULL},
        {'t', S("a\nb"), "collect_failed", NULL},
        {'t', S("a\0b"), "collect_failed", NULL},
        {'t', S("\xFF"), "non_utf8_stdout", NULL},
        {'t', S("\xFF\n\x01"), "non_utf8_stdout", NULL},
        {'j', S("{\"headers\":{\"X-Org\":\"\xFF\"}}"), "non_utf8_stdout", NULL},
        {'p', S("\xC0\x80"), "non_utf8_stdout", NULL},
        {'j', S("{\"headers\":{\"authorization\":\"Bearer x\",\"x-org\":\"o\"}}"), "captured",
         "Authorization=Bearer x;X-Org=o;"},
        {'j', S("nonsense"), "invalid_json_output", NULL},
        {'j', S("[]"), "invalid_json_output", NULL},
        {'j', S("{}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{}}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"X-Other\":\"1\"}}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"Host\":\"1\"}}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"X-Org\":\"\"}}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"X-Org\":5}}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"X-Org\":\"a\\r\\nb\"}}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"X-Org\":\"a\\u0000\"}}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"X-Org\":\"a\",\"x-org\":\"b\"}}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"X-Org\":\"a\"},\"expires_at\":\"soon\"}"), "invalid_json_output",
         NULL},
        {'j', S("{\"headers\":{\"X-Org\":\"a\"},\"expires_at\":1}"), "invalid_json_output", NULL},
        {'j', S("{\"headers\":{\"X-Org\":\"a\"},\"expires_at\":null}"), "captured", "X-Org=a;"},
        {'p', S("{\"material\":{\"type\":\"secret\",\"value\":\"v\"},\"more\":1}"), "captured", "v"},
        {'p', S("{\"material\":{\"type\":\"headers\",\"headers\":{\"X-Org\":\"a\"}}}"), "captured",
         "X-Org=a;"},
        {'p', S("{\"material\":{\"type\":\"secret\",\"value\":\"a\\nb\"}}"), "invalid_json_output",
         NULL},
        {'p', S("{\"material\":{\"type\":\"secret\"}}"), "invalid_json_output", NULL},
        {'p', S("{\"material\":{\"type\":\"other\"}}"), "invalid_json_output", NULL},
        {'p', S("{\"headers\":{\"X-Org\":\"a\"}}"), "invalid_json_output", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct capture_conf c = {.output_json = rows[i].kind == 'j', .provider = rows[i].kind == 'p',
                                 .allow_headers = allowed, .n_allow_headers = ARRAY_LEN(allowed)};
        for (int fail = -1; fail < 8; fail++) {
            struct report report = {0};
            struct errctx ctx = {0};
            struct material *m = NULL;
            mem_fail_after(fail, false);
            enum err e = capture_read(&c, rows[i].out, 1, 1700000000000, &m, &report, &ctx);
            mem_fail_after(-1, false);
            if (fail >= 0) {
                material_unref(m);
                continue;
            }
            assert_string_equal(report.action, rows[i].action);
            assert_int_equal(e, rows[i].secret ? ERR_OK : ERR_CREDENTIAL_UNAVAILABLE);
            if (e) {
                assert_true(ctx.text[0] != 0);
                continue;
            }
            char text[200] = "";
            size_t n = 0;
            for (size_t k = 0; k < m->n_fields; k++)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s=%.*s;",
                                      STR_ARG(m->fields[k].name),
                                      STR_ARG(secret_borrow(m->fields[k].value)));
            if (m->secret)
                (void)snprintf(text, sizeof(text), "%.*s", STR_ARG(secret_borrow(m->secret)));
            assert_string_equal(text, rows[i].secret);
            assert_int_equal(report.n_header_names, m->n_fields);
            material_unref(m);
        }
    }
}

static void case_82_expires_at(void **state)
{
    struct capture_conf c = {.provider = true};
    struct report report = {0};
    struct errctx ctx = {0};
    struct material *m = NULL;
    (void)state;
    assert_int_equal(capture_read(&c, STR("{\"material\":{\"type\":\"secret\",\"value\":\"v\"},"
                                          "\"expires_at\":\"2023-11-14T22:13:30Z\"}"),
                                  7, 1700000000000, &m, &report, &ctx),
                     ERR_OK);
    assert_int_equal(m->end_ns, 7 + 10000 * NS_PER_MS);
    material_unref(m);
}

static void regular_expressions(void **state)
{
    static const char *const refused[] = {"(?=a)", "(?!a)",  "(?<=a)b",  "(?<!a)b", "(a)\\1",
                                          "(?P=n)", "(?R)",  "(?>a)",    "(*ANY)a", "(?(1)a)",
                                          "\\Ka",   "(?1)",  "(?<n>a)\\k<n>", "(", "[",  "a{2,1}",
                                          "\\g1",   "(?C)a"};
    static const struct {
        const char *pattern, *text, *part; /* part NULL: none */
    } rows[] = {
        {"^/repos/([^/]+)/", "/repos/me/x", "me"}, {"^/repos/[^/]+", "/repos/me/x", "/repos/me"},
        {"^/x", "/repos", NULL},                   {"(a)?b", "b", "b"},
        {"(?i)REPOS/(?P<owner>\\w+)", "/repos/me", "me"}, {"(?:a|b)(c)", "bc", "c"},
        {"(?<owner>x)", "/x", "x"},                {"a$", "a\n", NULL},
        {"\\d+", "/\xFF/12", "12"},                {"[(*]x", "(x", "refused"},
    };
    struct regex *r;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct errctx ctx = {0};
        assert_int_equal(regex_new(str_from(refused[i]), &r, &ctx), ERR_INVALID);
        assert_true(ctx.text[0] != 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct errctx ctx = {0};
        struct str part;
        enum err e = regex_new(str_from(rows[i].pattern), &r, &ctx);
        if (e) {
            assert_string_equal(rows[i].part, "refused");
            continue;
        }
        e = regex_match(r, str_from(rows[i].text), &part);
        assert_int_equal(e, rows[i].part ? ERR_OK : ERR_NOT_FOUND);
        if (!e)
            assert_true(str_eq(part, str_from(rows[i].part)));
        regex_free(r);
    }
    /* a pattern that explodes meets its limit, at once */
    struct errctx ctx = {0};
    struct str part;
    char long_text[4096];
    memset(long_text, 'a', sizeof(long_text));
    assert_int_equal(regex_new(STR("^(a+)+$"), &r, &ctx), ERR_OK);
    long_text[sizeof(long_text) - 1] = '!';
    uint64_t start = clock_mono_ns();
    enum err e = regex_match(r, str_of(long_text, sizeof(long_text)), &part);
    assert_true(e == ERR_TOO_LARGE || e == ERR_NOT_FOUND);
    assert_true(clock_mono_ns() - start < 2000 * NS_PER_MS);
    regex_free(r);
    for (int i = 0; i < 8; i++) {
        mem_fail_after(i, false);
        e = regex_new(STR("^/repos/([^/]+)/"), &r, &ctx);
        mem_fail_after(-1, false);
        if (e)
            assert_int_equal(e, ERR_NOMEM);
        else
            regex_free(r);
    }
}

static void case_125_nothing_returned_is_told(void **state)
{
    static const struct {
        const char *err, *out, *secret, *told;
    } rows[] = {
        {"got sk-1 now", "sk-1\n", "sk-1", "got [REDACTED] now"},
        {"sk-1sk-1", "x", "sk-1", "[REDACTED][REDACTED]"},
        {"debug: token=abcdefgh1234 ok", "{\"token\":\"abcdefgh1234\"}", NULL,
         "debug: token=[REDACTED] ok"},
        {"xabcdefgh1234x", "abcdefgh1234", NULL, "x[REDACTED]x"},
        {"nothing of it", "value-of-it", NULL, "nothing of it"},
        {"", "value", "value", ""},
        {"trace: my own pa", "my own pass phrase", "my own pass phrase", "trace: *********"},
        {"my own pa", "x", "my own pass phrase", "*********"}, /* where the 4 KiB end */
        {"x abab abab", "abab abab", "abab abab", "x [REDACTED]"},
        {"for my", "my own pass phrase", "my own pass phrase", "for my"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text;
        struct material *m =
            rows[i].secret ? material_new(secret_new(str_from(rows[i].secret)), NULL, 0) : NULL;
        buf_init(&text, 8192);
        buf_add_z(&text, rows[i].err);
        scrub(&text, str_from(rows[i].out), m);
        assert_int_equal(text.n, strlen(rows[i].told));
        assert_memory_equal(text.p ? text.p : "", rows[i].told, text.n);
        buf_fini(&text);
        material_unref(m);
    }
}

static void arguments_and_references(void **state)
{
    static const struct {
        const char *before, *argument, *told;
    } rows[] = {
        {"x", "--verbose", "--verbose"},
        {"--token", "abc", "[REDACTED]"},
        {"x", "--API-KEY=abc", "--API-KEY=[REDACTED]"},
        {"-H", "Authorization: Bearer abc", "Authorization: [REDACTED]"},
        {"x", "https://me:pw@host/p?a=1&token=t&b", "https://me:[REDACTED]@host/p?a=1&token=[REDACTED]&b"},
        {"x", "https://host/p", "https://host/p"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 1000);
        scrub_argument(&out, str_from(rows[i].argument), str_from(rows[i].before));
        assert_true(str_eq(buf_str(&out), str_from(rows[i].told)));
        buf_fini(&out);
    }
}

static void material_lives(void **state)
{
    struct material *m = material_new(secret_new(STR("a")), NULL, 0);
    (void)state;
    m->version = 3;
    m->end_ns = 100;
    struct material *copy = material_copy(m);
    assert_true(material_equal(m, copy));
    assert_int_equal(copy->version, 3);
    assert_true(material_valid(copy, 99));
    assert_false(material_valid(copy, 100));
    material_stop(m, 50); /* the copy hears of it */
    material_stop(m, 80); /* the earliest counts */
    assert_true(material_valid(copy, 49));
    assert_false(material_valid(copy, 50));
    material_unref(m);
    assert_false(material_valid(copy, 50));
    material_unref(copy);
    material_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_76_values),
        cmocka_unit_test(json_is_strict),
        cmocka_unit_test(json_is_picked),
        cmocka_unit_test(times),
        cmocka_unit_test(outputs),
        cmocka_unit_test(case_82_expires_at),
        cmocka_unit_test(regular_expressions),
        cmocka_unit_test(case_125_nothing_returned_is_told),
        cmocka_unit_test(arguments_and_references),
        cmocka_unit_test(material_lives),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
