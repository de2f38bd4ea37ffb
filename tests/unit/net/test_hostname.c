#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "net/hostname.h"

static void check(struct str text, const char *want) /* NULL: refused */
{
    struct hostname h = {.n = 77}, again;
    struct errctx ctx = {0};
    enum err e = hostname_parse(text, &h, &ctx);
    if (!want) {
        if (e != ERR_BAD_REQUEST)
            fail_msg("\"%.*s\" gives \"%s\"", STR_ARG(text), h.text);
        assert_int_equal(h.n, 77);
        assert_true(strlen(ctx.text) > 5);
        return;
    }
    if (e != ERR_OK || strcmp(h.text, want) != 0)
        fail_msg("\"%.*s\" gives \"%s\" (%s), want \"%s\"", STR_ARG(text), e ? "" : h.text, ctx.text, want);
    assert_int_equal(h.n, strlen(want));
    if (hostname_parse(hostname_str(&h), &again, &ctx) != ERR_OK)
        fail_msg("%s is refused the second time: %s", h.text, ctx.text);
    assert_true(hostname_eq(&h, &again));
}

struct row {
    const char *text, *want;
};

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check(str_from(rows[i].text), rows[i].want);
}

static void test_ascii_names(void **state)
{
    static const struct row rows[] = {
        {"example.com", "example.com"},
        {"Example.COM", "example.com"},
        {"example.com.", "example.com"},
        {"example.com....", "example.com"},
        {"localhost", "localhost"},
        {"a", "a"},
        {"_dmarc.a_b.test", "_dmarc.a_b.test"},
        {"r3---sn-x.googlevideo.com", "r3---sn-x.googlevideo.com"},
        {"-a-.test", "-a-.test"},
        {"1.com", "1.com"},
        {"1e100.net", "1e100.net"},
        {"1.2.3.4x", "1.2.3.4x"},
        {"0xg", "0xg"},
        {"deadbeef", "deadbeef"},
        {"", NULL},
        {".", NULL},
        {"...", NULL},
        {".a", NULL},
        {"a..b", NULL},
        {"a b", NULL},
        {" a", NULL},
        {"a ", NULL},
        {"a\t", NULL},
        {"a\n", NULL},
        {"a/b", NULL},
        {"a%41", NULL},
        {"a,b", NULL},
        {"a@b", NULL},
        {"*.a", NULL},
        {"*", NULL},
        {"a\x7f", NULL},
        {"a\x01z", NULL},
        {"a?", NULL},
        {"a#", NULL},
        {"a\\b", NULL},
        {"a'b", NULL},
        {"a:b", NULL},
        {"a:80", NULL},
    };
    (void)state;
    check_rows(rows, ARRAY_LEN(rows));
    check(STR("a\0b"), NULL);
    check(STR("evil.com\0"), NULL);
    check(STR("\0"), NULL);
}

static void test_lengths(void **state)
{
    char text[600];
    (void)state;
    memset(text, 'a', sizeof text);
    check(str_of(text, 64), NULL);
    text[63] = 0;
    check(str_of(text, 63), text);
    memset(text, 'a', sizeof text);
    for (size_t i = 49; i < sizeof text; i += 50)
        text[i] = '.';
    check(str_of(text, 254), NULL);
    check(str_of(text, 600), NULL);
    text[253] = 0;
    check(str_of(text, 253), text);
    text[253] = '.'; /* the trailing dot does not count */
    char want[254];
    memcpy(want, text, 253);
    want[253] = 0;
    check(str_of(text, 254), want);
}

static void test_addresses(void **state)
{
    static const struct row rows[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"127.0.0.1.", "127.0.0.1"},
        {"[::1]", "::1"},
        {"::1", "::1"},
        {"[0:0:0:0:0:0:0:1]", "::1"},
        {"[2001:DB8::A]", "2001:db8::a"},
        {"[::ffff:10.0.0.1]", "10.0.0.1"},
        {"::FFFF:a00:1", "10.0.0.1"},
        {"[1.2.3.4]", NULL},
        {"[::1", NULL},
        {"::1]", NULL},
        {"[]", NULL},
        {"[", NULL},
        {"[[::1]]", NULL},
        {"[::1].", NULL},
        {"::1.", NULL},
        {"[fe80::1%eth0]", NULL},
        {"fe80::1%25eth0", NULL},
        {"[::1]x", NULL},
        {":", NULL},
        {"[localhost]", NULL},
    };
    (void)state;
    check_rows(rows, ARRAY_LEN(rows));
}

/* Decision H2: what inet_aton would take must not reach anything. */
static void test_legacy_numeric(void **state)
{
    static const char *const rows[] = {
        "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0X7F000001", "017700000001", "0177.0.0.1",
        "127.0.0.01", "127.0.0.1.1", "0", "1", "00", "0x", "0x0", "256.256.256.256", "1.2.3.256", "1.2.3.",
        "127.0.0.0x1", "a.1", "example.com.0", "example.0x7f", "example.0X", "999999999999999999999", "1.2.3",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(str_from(rows[i]), NULL);
}

static void test_unicode(void **state)
{
    static const struct row rows[] = {
        {"b\xc3\xbc" "cher.de", "xn--bcher-kva.de"},
        {"B\xc3\x9c" "CHER.de", "xn--bcher-kva.de"},
        {"bu\xcc\x88" "cher.de", "xn--bcher-kva.de"}, /* decomposed */
        {"xn--bcher-kva.de", "xn--bcher-kva.de"},
        {"XN--BCHER-KVA.DE.", "xn--bcher-kva.de"},
        {"fa\xc3\x9f.de", "xn--fa-hia.de"}, /* non-transitional */
        {"a_b.b\xc3\xbc" "cher.de", "a_b.xn--bcher-kva.de"},
        {"r3---sn-x.xn--bcher-kva.de", "r3---sn-x.xn--bcher-kva.de"},
        {"evil\xe3\x80\x82" "com", "evil.com"},             /* U+3002 */
        {"evil\xef\xbc\x8e" "com\xef\xbc\x8e", "evil.com"}, /* U+FF0E */
        {"\xef\xbd\x85vil.com", "evil.com"},                /* full-width e */
        {"ev\xe2\x80\x8bil.com", "evil.com"},               /* zero-width space */
        {"\xef\xbb\xbf" "evil.com", "evil.com"},            /* byte order mark */
        {"ev\xc2\xadil.com", "evil.com"},                   /* soft hyphen */
        {"\xe2\x84\xaa.com", "k.com"},                      /* Kelvin sign */
        /* symbols: no letters of IDNA2008, but of UTS-46, and of names in use */
        {"i\xe2\x9d\xa4.ws", "xn--i-7iq.ws"},
        {"I\xe2\x9d\xa4\xef\xb8\x8f\xe3\x80\x82ws", "xn--i-7iq.ws"}, /* variation selector, U+3002 */
        {"XN--I-7IQ.ws.", "xn--i-7iq.ws"},
        {"\xf0\x9f\x92\xa9.la", "xn--ls8h.la"},
        {"xn--ls8h.la", "xn--ls8h.la"},
        {"\xc3\x9f\xe2\x9d\xa4.ws", NULL},             /* sharp s would become ss */
        {"\xe2\x9d\xa4\xe2\x80\x8d.ws", NULL},        /* a joiner after a symbol */
        {"\xe2\x9d\xa4 .ws", NULL},
        {"\xe2\x9d\xa4\xe2\x84\x80.ws", NULL},        /* a/c again */
        {"\xef\xbc\x91\xe2\x9d\xa4.1", NULL},
        {"a.com\xe2\x81\x84" "b", NULL},             /* fraction slash */
        {"a.com\xe2\x88\xb6" "80", NULL},            /* ratio */
        /* an address in disguise */
        {"\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", NULL},
        {"127\xe3\x80\x82" "0\xe3\x80\x82" "0\xe3\x80\x82" "1", NULL},
        {"169.254.169.\xef\xbc\x92" "54", NULL},
        {"\xef\xbc\x90x7f.1", NULL},
        {"\xef\xbc\x9a\xef\xbc\x9a\xef\xbc\x91", NULL}, /* full-width ::1 */
        {"a\xe3\x80\x82\xe3\x80\x82" "b", NULL},
        {"\xe3\x80\x82", NULL},
        {"\xe2\x80\x8b", NULL},
        {"\xe2\x84\x80.com", NULL},  /* maps to a/c */
        {"\xef\xbc\x85" "41.com", NULL}, /* full-width % */
        {"a\xef\xbc\xa0" "b.com", NULL}, /* full-width @ */
        {"\xef\xbc\x8a.com", NULL},  /* full-width * */
        /* not UTF-8 */
        {"a\x80" "b.com", NULL},
        {"\xc3.com", NULL},
        {"\xed\xa0\x80.com", NULL},
        {"\xff", NULL},
        /* A-labels that are none, or a second spelling of something */
        {"xn--", NULL},
        {"xn--a", NULL},
        {"xn--abc-.com", NULL},
        {"xn--zzzzzz99.com", NULL},
        {"b\xc3\xbc c.de", NULL},
        {"b\xc3\xbc\x01.de", NULL},
    };
    (void)state;
    check_rows(rows, ARRAY_LEN(rows));
    check(STR("b\xc3\xbc\0.de"), NULL);
}

static void test_unicode_lengths(void **state)
{
    char text[5000];
    (void)state;
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xbc", 2);
    for (size_t n = 0; n < sizeof text; n += 61) {
        struct hostname h;
        struct errctx ctx = {0};
        enum err e = hostname_parse(str_of(text, n), &h, &ctx);
        assert_true(e == ERR_BAD_REQUEST || (e == ERR_OK && n < 128));
    }
}

static void test_format(void **state)
{
    static const char *const rows[][3] = {
        {"a.test", "a.test", "a.test:80"},
        {"1.2.3.4", "1.2.3.4", "1.2.3.4:80"},
        {"::1", "[::1]", "[::1]:80"},
        {"[::ffff:1.2.3.4]", "1.2.3.4", "1.2.3.4:80"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hostname h;
        struct errctx ctx = {0};
        struct buf out;
        buf_init(&out, 300);
        assert_int_equal(hostname_parse(str_from(rows[i][0]), &h, &ctx), ERR_OK);
        hostname_format(&out, &h);
        assert_true(buf_ok(&out) && str_eq(buf_str(&out), str_from(rows[i][1])));
        buf_reset(&out);
        hostname_format_port(&out, &h, 80);
        assert_true(buf_ok(&out) && str_eq(buf_str(&out), str_from(rows[i][2])));
        buf_fini(&out);
    }
}

static void test_localhost(void **state)
{
    static const struct {
        const char *text;
        bool is;
    } rows[] = {
        {"localhost", true},  {"LOCALHOST.", true},      {"a.localhost", true},
        {"a.b.localhost", true}, {"xlocalhost", false}, {"localhost.test", false}, {"127.0.0.1", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hostname h;
        struct errctx ctx = {0};
        assert_int_equal(hostname_parse(str_from(rows[i].text), &h, &ctx), ERR_OK);
        assert_int_equal(hostname_is_localhost(&h), rows[i].is);
    }
}

/* Property: what is accepted is canonical, so that parsing it again changes nothing. */
static void test_canonical_is_idempotent(void **state)
{
    static const char *const pieces[] = {
        "a", "B", "-", "_", "7", "0x", ".", "xn--", "bcher-kva", "\xc3\xbc", "\xc3\x9f", "\xe3\x80\x82",
        "\xe2\x80\x8d", "\xef\xbc\x91", "\xef\xbd\x85", "\xcc\x88", "\xd7\x90", "\xe2\x80\x8b", "[", "]", ":", "::",
        "127", "255", "com", "\xf0\x9f\x92\xa9", "\xe4\xb8\xad", "\xff",
    };
    uint64_t seed = 20240607;
    unsigned accepted = 0;
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        char text[128];
        size_t n = 0;
        for (unsigned k = 0; k < 1 + round % 6; k++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            const char *piece = pieces[(seed >> 33) % ARRAY_LEN(pieces)];
            memcpy(text + n, piece, strlen(piece));
            n += strlen(piece);
        }
        struct hostname h, again;
        struct errctx ctx = {0};
        if (hostname_parse(str_of(text, n), &h, &ctx) != ERR_OK)
            continue;
        accepted++;
        assert_int_equal(strlen(h.text), h.n);
        for (size_t i = 0; i < h.n; i++)
            assert_true(h.text[i] > ' ' && h.text[i] < 0x7f && !(h.text[i] >= 'A' && h.text[i] <= 'Z'));
        if (hostname_parse(hostname_str(&h), &again, &ctx) != ERR_OK || !hostname_eq(&h, &again))
            fail_msg("\"%.*s\" gives %s, and that is not its own canonical form", (int)n, text, h.text);
    }
    assert_true(accepted > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ascii_names),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_legacy_numeric),
        cmocka_unit_test(test_unicode),
        cmocka_unit_test(test_unicode_lengths),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_localhost),
        cmocka_unit_test(test_canonical_is_idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
