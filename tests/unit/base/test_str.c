#include "unit.h"

static void test_compare(void **state)
{
    (void)state;
    assert_true(str_eq(STR_NULL, STR("")));
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_false(str_eq(STR("abc"), STR("ab")));
    assert_true(str_eq_nocase(STR("AbZ-9"), STR("aBz-9")));
    assert_false(str_eq_nocase(STR("["), STR("{"))); /* differ by 0x20, no letters */
    assert_false(str_eq_nocase(STR("\xc4"), STR("\xe4")));
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("b"), STR("aa")) > 0);
    assert_true(str_cmp(STR("a"), STR("aa")) < 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR_NULL, STR("")), 0);
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        size_t first; /* length of the sequence that it begins with */
        bool all;
    } rows[] = {
        {"a\xc3\xa9", 1, true},        {"\xc3\xa9x", 2, true},        {"\xe2\x82\xac", 3, true},
        {"\xf0\x9f\x92\xa9", 4, true}, {"\xef\xbf\xbf", 3, true},    {"\xf4\x8f\xbf\xbf", 4, true},
        {"a\xff", 1, false},           {"\x80", 0, false},           {"\xc0\x80", 0, false},
        {"\xc1\xbf", 0, false},        {"\xe0\x9f\xbf", 0, false},   {"\xed\xa0\x80", 0, false},
        {"\xf0\x8f\xbf\xbf", 0, false}, {"\xf4\x90\x80\x80", 0, false}, {"\xf5\x80\x80\x80", 0, false},
        {"\xe2\x82", 0, false},        {"\xc3", 0, false},           {"\xc3(", 0, false},
    };
    (void)state;
    assert_true(str_is_utf8(STR("")));
    assert_int_equal(str_utf8_length(STR("")), 0);
    assert_int_equal(str_utf8_length(str_of("\0", 1)), 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(str_utf8_length(str_from(rows[i].text)), rows[i].first);
        assert_int_equal(str_is_utf8(str_from(rows[i].text)), rows[i].all);
    }
}

static void test_ends(void **state)
{
    (void)state;
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), STR_NULL));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_true(str_ends(STR_NULL, STR("")));
    assert_false(str_ends(STR("abc"), STR("ab")));
    assert_false(str_ends(STR("c"), STR("bc")));
    assert_str(str_trim(STR(" \t a b \t")), "a b");
    assert_str(str_trim(STR(" \t ")), "");
    assert_str(str_trim(STR("\r\na\v")), "\r\na\v");
    assert_str(str_trim(STR_NULL), "");
}

static void test_find(void **state)
{
    (void)state;
    assert_int_equal(str_find(STR("abca"), 'a'), 0);
    assert_int_equal(str_rfind(STR("abca"), 'a'), 3);
    assert_int_equal(str_find(STR("abca"), 'x'), 4);
    assert_int_equal(str_rfind(STR("abca"), 'x'), 4);
    assert_int_equal(str_find(STR_NULL, 'x'), 0);
    assert_int_equal(str_find(STR("a\0b"), '\0'), 1);
}

static void test_next(void **state)
{
    (void)state;
    struct str rest = STR("a,,b,"), part;
    const char *want[] = {"a", "", "b", ""};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(str_next(&rest, ',', &part));
        assert_true(str_eq(part, str_from(want[i])));
    }
    assert_false(str_next(&rest, ',', &part));
    rest = STR("");
    assert_true(str_next(&rest, ',', &part));
    assert_int_equal(part.n, 0);
    assert_false(str_next(&rest, ',', &part));
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
        bool hex, ok;
        uint64_t value;
    } t[] = {
        {"0", 0, false, true, 0},
        {"65535", 65535, false, true, 65535},
        {"65536", 65535, false, false, 0},
        {"0000000000000000000000000000001", 1, false, true, 1},
        {"18446744073709551615", UINT64_MAX, false, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, false, 0},
        {"99999999999999999999", UINT64_MAX, false, false, 0},
        {"", 9, false, false, 0},
        {"+1", 9, false, false, 0},
        {"-1", 9, false, false, 0},
        {" 1", 9, false, false, 0},
        {"1 ", 9, false, false, 0},
        {"1a", 99, false, false, 0},
        {"fF", 255, true, true, 255},
        {"100", 255, true, false, 0},
        {"ffffffffffffffff", UINT64_MAX, true, true, UINT64_MAX},
        {"0ffffffffffffffff", UINT64_MAX, true, false, 0},
        {"", 9, true, false, 0},
        {"0x1", 9, true, false, 0},
        {"g", 99, true, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        uint64_t v = 77;
        struct str s = str_from(t[i].text);
        bool ok = t[i].hex ? str_hex(s, t[i].max, &v) : str_u64(s, t[i].max, &v);
        if (ok != t[i].ok || v != (ok ? t[i].value : 77))
            fail_msg("row %zu: %s", i, t[i].text);
    }
}

static void test_classes(void **state)
{
    (void)state;
    const char *tchars = "!#$%&'*+-.^_`|~";
    for (int c = 0; c < 256; c++) {
        bool digit = c >= '0' && c <= '9';
        bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        unsigned char u = (unsigned char)c;
        assert_int_equal(ascii_is_digit(u), digit);
        assert_int_equal(ascii_is_alpha(u), alpha);
        assert_int_equal(ascii_is_ctl(u), c < 32 || c == 127);
        assert_int_equal(ascii_is_tchar(u), digit || alpha || (c && strchr(tchars, c)));
    }
}

static void test_hash(void **state)
{
    (void)state;
    char text[40] = "the quick brown fox jumps over the lazy";
    str_hash_seed(1);
    uint64_t one = str_hash(str_of(text, 39));
    for (size_t i = 0; i < 39; i++) { /* every byte and the length count */
        text[i] ^= 1;
        assert_true(str_hash(str_of(text, 39)) != one);
        text[i] ^= 1;
        assert_true(str_hash(str_of(text, i)) != one);
    }
    assert_true(str_hash(str_of(text, 39)) == one);
    assert_true(str_hash(STR_NULL) == str_hash(STR("")));
    assert_true(str_hash(STR("\0")) != str_hash(STR("")));
    str_hash_seed(2);
    assert_true(str_hash(str_of(text, 39)) != one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare), cmocka_unit_test(test_ends), cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_find),    cmocka_unit_test(test_next),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_classes),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
