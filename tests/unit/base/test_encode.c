#include "unit.h"
#include "base/encode.h"

typedef void encode_fn(struct buf *out, struct str in);
typedef bool decode_fn(struct buf *out, struct str in);

struct row {
    struct str in, out;
};
#define ROW(in, out)                                                                               \
    {                                                                                              \
        {in, sizeof(in) - 1},                                                                      \
        {                                                                                          \
            out, sizeof(out) - 1                                                                   \
        }                                                                                          \
    }

static void check(encode_fn *encode, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct buf b;
        buf_init(&b, 1000);
        encode(&b, rows[i].in);
        assert_true(buf_ok(&b));
        if (!str_eq(buf_str(&b), rows[i].out))
            fail_msg("row %zu: got %.*s want %.*s", i, STR_ARG(buf_str(&b)), STR_ARG(rows[i].out));
        buf_fini(&b);
        buf_init(&b, rows[i].out.n ? rows[i].out.n - 1 : 0); /* one byte too short */
        encode(&b, rows[i].in);
        assert_int_equal(buf_ok(&b), rows[i].out.n == 0);
        buf_fini(&b);
    }
}

static void check_decode(decode_fn *decode, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) { /* the columns swapped */
        struct buf b;
        buf_init(&b, 1000);
        assert_true(decode(&b, rows[i].out));
        assert_true(str_eq(buf_str(&b), rows[i].in));
        buf_fini(&b);
    }
}

static void check_refused(decode_fn *decode, const struct str *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct buf b;
        buf_init(&b, 1000);
        if (decode(&b, in[i]))
            fail_msg("accepted %.*s", STR_ARG(in[i]));
        buf_fini(&b);
    }
}

static void test_base64(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("", ""),
        ROW("f", "Zg=="),
        ROW("fo", "Zm8="),
        ROW("foo", "Zm9v"),
        ROW("foob", "Zm9vYg=="),
        ROW("fooba", "Zm9vYmE="),
        ROW("\xff\xfe\xfb\x00", "//77AA=="),
    };
    static const struct str bad[] = {
        {"Z", 1},    {"Zg", 2},       {"Zg=", 3},   {"====", 4},  {"Z===", 4},
        {"=Zg=", 4}, {"Zg==Zg==", 8}, {"Zm9\n", 4}, {"Zm 9v", 5}, {"Zm9-", 4},
        {"Zm9_", 4}, {"Zh==", 4},     {"Zm9=", 4},  {"Zg=\0", 4},
    };
    check(encode_base64, rows, ARRAY_LEN(rows));
    check_decode(decode_base64, rows, ARRAY_LEN(rows));
    check_refused(decode_base64, bad, ARRAY_LEN(bad));
}

static void test_percent(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("", ""),
        ROW("aZ09-._~", "aZ09-._~"),
        ROW("a b/c?", "a%20b%2Fc%3F"),
        ROW("\0\xff%", "%00%FF%25"),
    };
    static const struct row segment[] = {ROW("", ""), ROW("1:aZ~@!$&'()*+,;=", "1:aZ~@!$&'()*+,;="),
                                         ROW("a/b?#[]\\ %\0\xff", "a%2Fb%3F%23%5B%5D%5C%20%25%00%FF")};
    static const struct row lax[] = {ROW("\xff/", "%fF/"), ROW("+ ", "+ "), ROW("%41", "%2541")};
    static const struct str bad[] = {{"%", 1},    {"a%4", 3}, {"%4g", 3},
                                     {"%%41", 4}, {"% 1", 3}, {"%+1", 3}};
    check(encode_percent, rows, ARRAY_LEN(rows));
    check(encode_segment, segment, ARRAY_LEN(segment));
    check_decode(decode_percent, rows, ARRAY_LEN(rows));
    check_decode(decode_percent, lax, ARRAY_LEN(lax));
    check_refused(decode_percent, bad, ARRAY_LEN(bad));
}

#define BAD_ "\xef\xbf\xbd"

static void test_json(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("", "\"\""),
        ROW("a\"b\\c/", "\"a\\\"b\\\\c/\""),
        ROW("\n\r\t\0\x1f\x7f", "\"\\n\\r\\t\\u0000\\u001f\\u007f\""),
        ROW("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""),
        ROW("\xc2\x85\xc2\xa0", "\"\\u0085\xc2\xa0\""),
        ROW("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\"\\u2028\\u2029\xe2\x80\xaa\""),
        ROW("\xff\xfe", "\"" BAD_ BAD_ "\""),
        ROW("\xc0\xaf", "\"" BAD_ BAD_ "\""),                   /* overlong */
        ROW("\xe0\x80\x80x", "\"" BAD_ BAD_ BAD_ "x\""),        /* overlong */
        ROW("\xed\xa0\x80", "\"" BAD_ BAD_ BAD_ "\""),          /* surrogate */
        ROW("\xf4\x90\x80\x80", "\"" BAD_ BAD_ BAD_ BAD_ "\""), /* above U+10FFFF */
        ROW("\xe2\x82", "\"" BAD_ BAD_ "\""),                   /* cut off */
        ROW("\xe2\x82\"", "\"" BAD_ BAD_ "\\\"\""),
        ROW("\x80\xbf", "\"" BAD_ BAD_ "\""),
    };
    check(encode_json, rows, ARRAY_LEN(rows));
}

static void test_visible(void **state)
{
    (void)state;
    static const struct row rows[] = {ROW("", ""), ROW("a ~", "a ~"),
                                      ROW("\x1b[31m\n\x7f\xc3", "\\x1b[31m\\x0a\\x7f\\xc3")};
    check(encode_visible, rows, ARRAY_LEN(rows));
}

static void encode_hex_str(struct buf *out, struct str in)
{
    encode_hex(out, in.p, in.n);
}

static void test_hex(void **state)
{
    (void)state;
    static const struct row rows[] = {ROW("", ""), ROW("\x00\x0f\xf0\xff", "000ff0ff")};
    check(encode_hex_str, rows, ARRAY_LEN(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_base64),
                                       cmocka_unit_test(test_percent), cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_visible), cmocka_unit_test(test_hex)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
