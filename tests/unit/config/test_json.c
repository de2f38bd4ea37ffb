#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "config/json.h"
#include <stdlib.h>
#include <unistd.h>

/* Loose text and the strict text of what it means. */
static const struct {
    const char *text, *strict;
} good[] = {
    {"null", "null"},
    {" true ", "true"},
    {"false", "false"},
    {"{}", "{}"},
    {"[]", "[]"},
    {"\"\"", "\"\""},
    {"{\"a\": 1, \"b\": [true, null]}", "{\"a\":1,\"b\":[true,null]}"},
    /* comments */
    {"// c\n1", "1"},
    {"1 // c", "1"},
    {"1 //", "1"},
    {"/* c */ 1 /* ** / */", "1"},
    {"/**/1", "1"},
    {"[1,/* , */2]", "[1,2]"},
    {"{a/**/:/**/1}", "{\"a\":1}"},
    {"[1 // ]\r\n, 2]", "[1,2]"},
    {"/* // */ 1", "1"},
    {"// /*\n1", "1"},
    /* commas */
    {"[1, 2,]", "[1,2]"},
    {"{\"a\": 1,}", "{\"a\":1}"},
    {"[1 2 3]", "[1,2,3]"},
    {"[\"a\" \"b\"\"c\"]", "[\"a\",\"b\",\"c\"]"},
    {"[[][]{}{}]", "[[],[],{},{}]"},
    {"[true false null]", "[true,false,null]"},
    {"{\"a\": 1 \"b\": 2}", "{\"a\":1,\"b\":2}"},
    {"{a: 'x' b: \"y\" c: {} d: [],}", "{\"a\":\"x\",\"b\":\"y\",\"c\":{},\"d\":[]}"},
    {"{a: 1\nb: 2}", "{\"a\":1,\"b\":2}"},
    /* names */
    {"{name: 1}", "{\"name\":1}"},
    {"{a_b-c: 1, _: 2, x9: 3}", "{\"a_b-c\":1,\"_\":2,\"x9\":3}"},
    {"{true: 1, null: 2}", "{\"true\":1,\"null\":2}"},
    {"{'single': 1, '': 2}", "{\"single\":1,\"\":2}"},
    {"{\xc3\xa9t\xc3\xa9: 1}", "{\"\xc3\xa9t\xc3\xa9\":1}"},
    /* strings */
    {"'a'", "\"a\""},
    {"'it\\'s'", "\"it's\""},
    {"'say \"x\"'", "\"say \\\"x\\\"\""},
    {"'\\\"'", "\"\\\"\""},
    {"\"it's\"", "\"it's\""},
    {"\"\\\" \\\\ \\/ \\b \\f \\n \\r \\t\"", "\"\\\" \\\\ / \\u0008 \\u000c \\n \\r \\t\""},
    {"\"\\u0041\\u00e9\\uD83D\\ude00\"", "\"A\xc3\xa9\xf0\x9f\x98\x80\""},
    {"\"a\nb\r\nc\"", "\"a\\nb\\r\\nc\""},
    {"\"a\tb\x01\x1f\"", "\"a\\tb\\u0001\\u001f\""},
    {"\"\xe2\x80\xa8\"", "\"\\u2028\""},
    {"\"// no /* comment\"", "\"// no /* comment\""},
    /* numbers */
    {"0", "0"},
    {"-0", "0"},
    {"+443", "443"},
    {"-7", "-7"},
    {"0x50", "80"},
    {"0XfF", "255"},
    {"+0x10", "16"},
    {"-0x10", "-16"},
    {"0x0000000000000000000001", "1"},
    {"0xffffffffffffffff", "18446744073709551615"},
    {"18446744073709551615", "18446744073709551615"},
    {"-9223372036854775808", "-9223372036854775808"},
    {"18446744073709551616", "1.8446744073709552e19"},
    {"60.0", "60.0"},
    {"6e1", "60.0"},
    {"-1.5E-3", "-0.0015"},
    {"+2.5e+2", "250.0"},
    {"0.5", "0.5"},
    /* white space */
    {"\t\v\f\r\n 1", "1"},
    {"\xc2\xa0[\xc2\xa0" "1\xc2\x85,\xe2\x80\xa8" "2\xe3\x80\x80\xe2\x80\xa9]", "[1,2]"},
};

static struct str write_to(struct buf *b, const struct json *v)
{
    buf_init(b, 1 << 20);
    json_write(b, v, 0);
    assert_true(buf_ok(b));
    return buf_str(b);
}

static double close_to(const char *strict)
{
    return strtod(strict, NULL);
}

static void test_good(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        struct json_doc *d = json_doc_new();
        struct json_error e = {0};
        const struct json *v;
        if (json_read(d, str_from(good[i].text), "f", &v, &e) != ERR_OK)
            fail_msg("%s: %u:%u: %s", good[i].text, e.at.line, e.at.column, e.text);
        struct buf b;
        struct str got = write_to(&b, v);
        if (v->kind == JSON_REAL)
            assert_true(v->real == close_to(good[i].strict) && close_to(b.p) == v->real);
        else if (!str_eq(got, str_from(good[i].strict)))
            fail_msg("%s: %.*s, not %s", good[i].text, STR_ARG(got), good[i].strict);
        buf_fini(&b);
        json_doc_free(d);
    }
}

static const struct {
    const char *text;
    uint32_t line, column;
    const char *says, *hint;
} bad[] = {
    {"", 1, 1, "no value", ""},
    {" \n// only\n", 3, 1, "no value", ""},
    {"\xef\xbb\xbf{}", 1, 1, "byte order mark", "without"},
    {"{}\xef\xbb\xbf", 1, 3, "U+FEFF after the end", ""},
    {"# c\n{}", 1, 1, "found '#'", "comments are //"},
    {"{} # c", 1, 4, "'#' after the end", ""},
    {"{\n  a: 1, # c\n}", 2, 9, "found '#'", "comments are //"},
    {"{} {}", 1, 4, "after the end", ""},
    {"1 2", 1, 3, "after the end", ""},
    {"[1,,2]", 1, 4, "found ','", "remove the comma"},
    {"[,1]", 1, 2, "found ','", "remove the comma"},
    {"[,]", 1, 2, "found ','", ""},
    {"{,}", 1, 2, "found ','", ""},
    {"{\"a\": 1,,}", 1, 9, "found ','", ""},
    {"{\"a\":, }", 1, 6, "found ','", ""},
    {"[1,2", 1, 1, "never closed", ""},
    {"{\n \"a\": [\n1", 2, 7, "this [ is never closed", ""},
    {"{", 1, 1, "this { is never closed", ""},
    {"{\"a\"", 1, 5, "colon", ""},
    {"{\"a\":", 1, 6, "the end of the text", ""},
    {"{\"a\" \"b\"}", 1, 6, "colon", ""},
    {"{\"a\" = 1}", 1, 6, "colon", "colon"},
    {"{\"a\": 1]", 1, 8, "expected '}' for the '{' in line 1", ""},
    {"[1}", 1, 3, "expected ']'", ""},
    {"]", 1, 1, "expected a value", ""},
    {"\"\\x41\"", 1, 2, "\\x", "\\u00"},
    {"\"ab\\q\"", 1, 4, "escape", ""},
    {"\"\\'\"", 1, 2, "escape", ""},
    {"\"\\\n\"", 1, 2, "escape", ""},
    {"\"\\", 1, 2, "escape", ""},
    {"\"\\ud800\"", 1, 2, "half a character", ""},
    {"\"\\ud800\\u0041\"", 1, 2, "half", ""},
    {"\"\\udc00\"", 1, 2, "half", ""},
    {"\"\\ud800\\ud800\"", 1, 2, "half", ""},
    {"\"\\u12\"", 1, 2, "incomplete", ""},
    {"\"\\u12", 1, 2, "incomplete", ""},
    {"[\n\"abc]", 2, 1, "never ends", "quote"},
    {"[\n\"abc\ndef]", 2, 1, "never ends", "quote"},
    {"{\"a: 1,\n \"b\": 2}", 2, 3, "colon", "line 1 holds a line end"},
    {"/* never", 1, 1, "never ends", "*/"},
    {"[1, / 2]", 1, 5, "'/'", "//"},
    {"NaN", 1, 1, "NaN is no value", ""},
    {"-Infinity", 1, 1, "sign without a number", ""},
    {".5", 1, 1, "'.'", "0.5"},
    {"-.5", 1, 1, "point", "0 before"},
    {"5.", 1, 1, "incomplete number", ""},
    {"5.e1", 1, 1, "incomplete number", ""},
    {"1e", 1, 1, "incomplete number", ""},
    {"1e+", 1, 1, "incomplete number", ""},
    {"007", 1, 1, "begin with 0", ""},
    {"-01", 1, 1, "begin with 0", ""},
    {"0x", 1, 1, "0x without digits", ""},
    {"0xg", 1, 1, "0x without digits", ""},
    {"0x10000000000000000", 1, 1, "too large", ""},
    {"-0x8000000000000001", 1, 1, "too large", ""},
    {"[1,\n 1e999]", 2, 2, "too large", ""},
    {"12abc", 1, 1, "followed by text", "quotes"},
    {"1.2.3", 1, 1, "followed by text", "quotes"},
    {"10.0.0.1", 1, 1, "followed by text", "quotes"},
    {"+-5", 1, 1, "sign", ""},
    {"- 5", 1, 1, "sign", ""},
    {"True", 1, 1, "True is no value", "write true"},
    {"{a: yes}", 1, 5, "yes is no value", "write true"},
    {"{a: None}", 1, 5, "None is no value", "write null"},
    {"{a: hello}", 1, 5, "hello is no value", "\"hello\""},
    {"[truefalse]", 1, 2, "truefalse is no value", ""},
    {"{$schema: 1}", 1, 2, "'$'", "quotes"},
    {"{1: 2}", 1, 2, "a name", ""},
    {"{a b: 2}", 1, 4, "colon", ""},
    {"{[]: 2}", 1, 2, "a name", ""},
    {"{\xe2\x80\x9c" "a\xe2\x80\x9d: 1}", 1, 2, "U+201C", "straight quotes"},
    {"\"\xff\"", 1, 2, "0xFF", "UTF-8"},
    {"[1,\n\"\xc3\"]", 2, 2, "0xC3", "UTF-8"},
    {"// \xed\xa0\x80\n1", 1, 4, "no UTF-8", ""},
    {"\"\xc0\x80\"", 1, 2, "no UTF-8", ""},
    {"\"\xf4\x90\x80\x80\"", 1, 2, "no UTF-8", ""},
    {"\xe2\x82\xac", 1, 1, "U+20AC", ""},
};

static void test_bad(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct json_doc *d = json_doc_new();
        struct json_error e = {0};
        const struct json *v = NULL;
        if (json_read(d, str_from(bad[i].text), "file.json", &v, &e) != ERR_INVALID)
            fail_msg("%s was read", bad[i].text);
        if (e.at.line != bad[i].line || e.at.column != bad[i].column || !strstr(e.text, bad[i].says) ||
            !strstr(e.hint, bad[i].hint))
            fail_msg("%s: %u:%u: %s (%s)", bad[i].text, e.at.line, e.at.column, e.text, e.hint);
        assert_string_equal(e.at.file, "file.json");
        assert_null(v);
        json_doc_free(d);
    }
}

/* Every prefix of every text is read or refused with a place inside of it; the same bytes twice give the same. */
static void test_prefixes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(good) + ARRAY_LEN(bad); i++) {
        const char *text = i < ARRAY_LEN(good) ? good[i].text : bad[i - ARRAY_LEN(good)].text;
        for (size_t n = 0; n <= strlen(text); n++) {
            char *exact = mem_dup(text, n); /* ASan sees reads past the end */
            char *tight = mem_realloc(exact, n ? n : 1);
            struct json_doc *d = json_doc_new();
            struct json_error e = {0};
            const struct json *v = NULL;
            enum err r = json_read(d, str_of(tight, n), "f", &v, &e);
            assert_true(r == ERR_OK ? v != NULL : r == ERR_INVALID && e.at.line && e.text[0]);
            json_doc_free(d);
            mem_free(tight);
        }
    }
}

static void nest(struct buf *b, unsigned depth, const char *open, const char *close)
{
    for (unsigned i = 0; i < depth; i++)
        buf_add_z(b, open);
    buf_add_c(b, '1');
    for (unsigned i = 0; i < depth; i++)
        buf_add_z(b, close);
}

static void test_depth(void **state)
{
    (void)state;
    for (unsigned depth = 511; depth <= 513; depth++)
        for (unsigned kind = 0; kind < 2; kind++) {
            struct json_doc *d = json_doc_new();
            struct json_error e = {0};
            const struct json *v;
            struct buf b;
            buf_init(&b, 100000);
            nest(&b, depth, kind ? "[" : "{a:", kind ? "]" : "}");
            assert_int_equal(json_read(d, buf_str(&b), "f", &v, &e), depth > 512 ? ERR_INVALID : ERR_OK);
            if (depth > 512)
                assert_non_null(strstr(e.text, "512"));
            buf_fini(&b);
            json_doc_free(d);
        }
}

static void check_place(const struct place *at, const char *want)
{
    struct buf b;
    buf_init(&b, 1000);
    place_format(&b, at);
    if (!str_eq(buf_str(&b), str_from(want)))
        fail_msg("%.*s, not %s", STR_ARG(buf_str(&b)), want);
    buf_fini(&b);
}

static void test_places(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct json_error e;
    const struct json *v;
    struct str text = STR("/* x\n y */ {\r\n  key: [1, 'two\nlines', {b: null}],\n\t\"\xc3\xa9\": 3, after: 4\n}");
    assert_int_equal(json_read(d, text, "dir/p.jsonc", &v, &e), ERR_OK);
    check_place(&v->at, "dir/p.jsonc:2:7");
    const struct json_member *key = json_get(v, STR("key"));
    check_place(&key->key_at, "dir/p.jsonc:3:3");
    check_place(&key->value->at, "dir/p.jsonc:3:8");
    check_place(&key->value->items[0]->at, "dir/p.jsonc:3:9");
    check_place(&key->value->items[1]->at, "dir/p.jsonc:3:12");
    const struct json *inner = key->value->items[2];
    check_place(&inner->at, "dir/p.jsonc:4:9");
    check_place(&inner->members[0].key_at, "dir/p.jsonc:4:10");
    check_place(&inner->members[0].value->at, "dir/p.jsonc:4:13");
    check_place(&json_get(v, STR("\xc3\xa9"))->key_at, "dir/p.jsonc:5:2");
    check_place(&json_get(v, STR("after"))->key_at, "dir/p.jsonc:5:11"); /* columns count bytes */
    assert_null(json_get(v, STR("none")));
    assert_null(json_get(key->value, STR("a")));
    check_place(&(struct place){"--flag", 0, 0}, "--flag");
    json_doc_free(d);
}

/* a few keys and many: the search differs */
static void test_repeats(void **state)
{
    (void)state;
    for (unsigned many = 0; many < 2; many++) {
        struct json_doc *d = json_doc_new();
        struct json_error e;
        const struct json *v;
        struct buf b;
        buf_init(&b, 100000);
        buf_add_z(&b, "{a: 1,\nb: 2,\na: 3,\n");
        for (unsigned i = 0; many && i < 100; i++)
            buf_printf(&b, "k%u: 0,", i);
        buf_add_z(&b, "c: 4,\na: 5}");
        assert_int_equal(json_read(d, buf_str(&b), "f", &v, &e), ERR_OK);
        assert_int_equal(v->n, many ? 103 : 3);
        const struct json_member *a = json_get(v, STR("a"));
        assert_int_equal(a->value->integer, 5);
        assert_ptr_equal(a, &v->members[v->n - 1]);
        assert_int_equal(a->repeats->value->integer, 3);
        assert_int_equal(a->repeats->key_at.line, 3);
        assert_int_equal(a->repeats->repeats->value->integer, 1);
        assert_null(a->repeats->repeats->repeats);
        assert_null(json_get(v, STR("b"))->repeats);
        buf_fini(&b);
        json_doc_free(d);
    }
}

static void test_values(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct json_error e;
    const struct json *v;
    assert_int_equal(json_read(d, STR("[-5, 'a\\u0000b', 2.5, true]"), "f", &v, &e), ERR_OK);
    assert_true(v->items[0]->negative && v->items[0]->integer == 5);
    assert_true(str_eq(v->items[1]->text, STR("a\0b")));
    assert_true(v->items[2]->kind == JSON_REAL && v->items[2]->real == 2.5);
    assert_true(v->items[3]->truth);
    struct buf b;
    buf_init(&b, 1000);
    json_write(&b, v, 2);
    assert_true(str_eq(buf_str(&b), STR("[\n  -5,\n  \"a\\u0000b\",\n  2.5,\n  true\n]")));
    buf_reset(&b);
    json_pointer_add(&b, STR("a/b~c"));
    assert_true(str_eq(buf_str(&b), STR("/a~1b~0c")));
    buf_fini(&b);
    json_doc_free(d);
}

static void test_file(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct json_error e;
    const struct json *v;
    char path[] = "/tmp/nono-json-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "{a: 1}", 6) == 6);
    close(fd);
    assert_int_equal(json_read_file(d, path, &v, &e), ERR_OK);
    assert_string_equal(v->at.file, path);
    assert_int_equal(truncate(path, 17 * 1024 * 1024), 0);
    assert_int_equal(json_read_file(d, path, &v, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "16 MiB"));
    unlink(path);
    assert_int_equal(json_read_file(d, path, &v, &e), ERR_NOT_FOUND);
    assert_string_equal(e.at.file, path);
    assert_int_equal(json_read_file(d, "/tmp", &v, &e), ERR_SYSTEM);
    assert_non_null(strstr(e.text, "irectory"));
    json_doc_free(d);
}

/* Every allocation fails once: out of memory is said, and nothing leaks. */
static void test_memory(void **state)
{
    (void)state;
    struct str text = STR("{a: [1, 2.5, 'x', {b: null, b: true}], c: \"\\u00e9\"}");
    enum err r = ERR_NOMEM;
    for (int64_t n = 0; r != ERR_OK; n++) {
        struct json_doc *d = json_doc_new();
        struct json_error e;
        const struct json *v = NULL;
        mem_fail_after(n, false);
        r = json_read(d, text, "f", &v, &e);
        mem_fail_after(-1, false);
        assert_true(r == ERR_OK || r == ERR_NOMEM);
        assert_true((v != NULL) == (r == ERR_OK));
        json_doc_free(d);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad), cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_places), cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_values), cmocka_unit_test(test_file), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
