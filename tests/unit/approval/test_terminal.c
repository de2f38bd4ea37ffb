/* What a terminal is shown of what others wrote, and which answer is a yes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "approval/approval_int.h"

static const struct {
    struct str in;
    size_t max;
    const char *out;
} rows[] = {
    {STR("/plain?x=%20"), 99, "/plain?x=%20"},
    {STR(""), 99, ""},
    {STR("a\tb\nc\rd\x7f" "e\0f"), 99, "a b c d e f"},
    {STR("a\x1b[31mred\x1b[0m"), 99, "ared"},
    {STR("a\x1b[?25;1hb"), 99, "ab"},
    {STR("a\x1b]0;title\ab"), 99, "ab"},
    {STR("a\x1b]8;;http://x\x1b\\link"), 99, "alink"},
    {STR("a\x1bPq#0\x1b\\b\x1b^p\ac\x1b_x\ad\x1bXs\x1b\\e"), 99, "abcde"},
    {STR("a\x1b]0;never ended"), 99, "a]0;never ended"}, /* nothing is hidden by it */
    {STR("a\x1b[12"), 99, "a[12"},
    {STR("a\x1b"), 99, "a"},
    {STR("a\x1b(Bb\x1b" "7c\x1b=d"), 99, "abcd"},
    {STR("a\x1b\0b\a"), 99, "a b "},
    {STR("a\x1b\x1b[31mb"), 99, "ab"},
    {STR("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7"), 99, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7"},
    {STR("a\xc2\x9b" "31mb"), 99, "a 31mb"},          /* C1 */
    {STR("a\x9b" "31mb\xff\xc3"), 99, "a?31mb??"},    /* no UTF-8 */
    {STR("\xc0\x80\xe0\x80\x80\xed\xa0\x80\xf4\x90\x80\x80"), 99, "????????????"},
    {STR("x\xe2\x80\xae" "y\xe2\x81\xa6z\xef\xbb\xbf\xe2\x80\x8b"), 99, "x?y?z??"},
    {STR("abcdef"), 6, "abcdef"},
    {STR("abcdefg"), 6, "abcdef... (1 bytes more)"},
    {STR("abcde\xc3\xbc"), 6, "abcde?... (1 bytes more)"},
};

static void test_clean(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 1000);
        terminal_clean(&b, rows[i].in, rows[i].max);
        assert_true(buf_ok(&b));
        if (!str_eq(buf_str(&b), str_from(rows[i].out)))
            fail_msg("%zu: \"%.*s\"", i, STR_ARG(buf_str(&b)));
        buf_fini(&b);
    }
}

/* Whatever comes in, no control goes out. */
static void test_clean_anything(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 3000; round++) {
        char in[40];
        struct buf b;
        for (size_t i = 0; i < sizeof(in); i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            in[i] = x & 3 ? (char)(x >> 8) : "\x1b[]P\\\a;m"[x >> 8 & 7];
        }
        buf_init(&b, 1000);
        terminal_clean(&b, str_of(in, sizeof(in)), sizeof(in));
        for (size_t i = 0; i < b.n; i++) {
            assert_false(ascii_is_ctl((unsigned char)b.p[i]));
            assert_false(i && (unsigned char)b.p[i - 1] == 0xc2 && (unsigned char)b.p[i] < 0xa0);
        }
        buf_fini(&b);
    }
}

static void test_yes(void **state)
{
    (void)state;
    static const char *const yes[] = {"y", "Y", "yes", "YES", " yEs \r", "y\r"};
    static const char *const no[] = {"", "n", "no", "yy", "yes please", "ye", "y e s", "j", "1", "true", "y\tn"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        assert_true(terminal_is_yes(str_from(yes[i])));
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(terminal_is_yes(str_from(no[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clean), cmocka_unit_test(test_clean_anything), cmocka_unit_test(test_yes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
