/* The SOCKS5 answers, whole and in pieces, and never a byte too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "upstream/socks5.h"

enum kind { METHOD, AUTH, REPLY };

static enum err parse(enum kind kind, struct str in, size_t *ret_need, struct errctx *ctx)
{
    uint8_t b = 0xee;
    enum err e;
    switch (kind) {
    case METHOD:
        e = socks5_parse_method(in, ret_need, &b, ctx);
        if (!e)
            assert_int_equal(b, (uint8_t)in.p[1]);
        return e;
    case AUTH:
        return socks5_parse_auth(in, ret_need, ctx);
    default:
        e = socks5_parse_reply(in, ret_need, &b, ctx);
        if (!e)
            assert_int_equal(b, 0);
        return e;
    }
}

static const struct {
    enum kind kind;
    struct str in;
    size_t whole; /* ERR_OK after so many bytes; 0: refused */
    const char *says;
} cases[] = {
    {METHOD, {"\x05\x00", 2}, 2, NULL},
    {METHOD,
     {"\x05\xff"
      "x",
      3},
     2,
     NULL},
    {METHOD, {"\x04\x00", 2}, 0, "it does not speak SOCKS5"},
    {METHOD, {"HTTP", 4}, 0, "it does not speak SOCKS5"},
    {AUTH,
     {"\x01\x00"
      "tunnel",
      8},
     2,
     NULL},
    {AUTH, {"\x01\x01", 2}, 0, "user or password are wrong"},
    {AUTH, {"\x05\x00", 2}, 0, "it does not speak SOCKS5"},
    {REPLY,
     {"\x05\x00\x00\x01"
      "abcd"
      "\x00\x50"
      "tunnel",
      16},
     10,
     NULL},
    {REPLY,
     {"\x05\x00\x00\x04"
      "abcdabcdabcdabcd"
      "\x00\x50"
      "t",
      23},
     22,
     NULL},
    {REPLY,
     {"\x05\x00\x00\x03\x00\x00\x50"
      "tunnel",
      13},
     7,
     NULL},
    {REPLY,
     {"\x05\x00\x00\x03\x05"
      "abcde"
      "\x00\x50"
      "tunnel",
      18},
     12,
     NULL},
    {REPLY, {"\x05\x05", 2}, 0, "connection refused (code 5)"},
    {REPLY,
     {"\x05\x09\x00\x01"
      "abcd"
      "\x00\x50",
      10},
     0,
     "unknown reply code (code 9)"},
    {REPLY,
     {"\x05\x00\x00\x02"
      "a",
      5},
     0,
     "an answer that is not SOCKS5"},
    {REPLY,
     {"\x00\x5a\x00\x01"
      "abcd",
      8},
     0,
     "it does not speak SOCKS5"}, /* SOCKS4 */
};

/* Read as chain_socks does: only as far as was asked for, at most `step` bytes at once. */
static void run(unsigned i, size_t step)
{
    size_t n = 0;
    for (;;) {
        size_t need = 0;
        struct errctx ctx = {0};
        enum err e = parse(cases[i].kind, str_of(cases[i].in.p, n), &need, &ctx);
        if (e == ERR_AGAIN) {
            assert_true(need > n && need <= SOCKS5_REPLY_MAX);
            size_t k = need - n < step ? need - n : step;
            assert_true(n + k <= cases[i].in.n);
            n += k;
            continue;
        }
        if (cases[i].whole) {
            assert_int_equal(e, ERR_OK);
            assert_int_equal(n, cases[i].whole);
        } else {
            assert_int_equal(e, ERR_PROXY_REFUSED);
            assert_string_equal(ctx.text, cases[i].says);
        }
        return;
    }
}

static void test_in_pieces(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t step = 1; step <= cases[i].in.n; step++)
            run(i, step);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_pieces)};
    return cmocka_run_group_tests_name("upstream/socks5", tests, NULL, NULL);
}
