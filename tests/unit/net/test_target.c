#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "net/target.h"

struct row {
    const char *text, *host; /* NULL: refused */
    uint16_t port;
};

typedef enum err parse_fn(struct str text, struct hostname *ret_host, uint16_t *ret_port, struct errctx *ctx);

static void check_rows(parse_fn *parse, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct hostname h = {.n = 77};
        uint16_t port = 9999;
        struct errctx ctx = {0};
        enum err e = parse(str_from(rows[i].text), &h, &port, &ctx);
        if (!rows[i].host) {
            if (e != ERR_BAD_REQUEST || h.n != 77 || port != 9999 || strlen(ctx.text) < 5)
                fail_msg("\"%s\" is not refused as it should be", rows[i].text);
        } else if (e != ERR_OK || strcmp(h.text, rows[i].host) != 0 || port != rows[i].port) {
            fail_msg("\"%s\": %s", rows[i].text, e ? ctx.text : h.text);
        }
    }
}

static void test_authority(void **state)
{
    static const struct row rows[] = {
        {"example.com:443", "example.com", 443},
        {"EXAMPLE.com.:443", "example.com", 443},
        {"a:1", "a", 1},
        {"a:65535", "a", 65535},
        {"a:00080", "a", 80},
        {"1.2.3.4:80", "1.2.3.4", 80},
        {"[::1]:8080", "::1", 8080}, /* case 32 */
        {"[::ffff:1.2.3.4]:80", "1.2.3.4", 80},
        {"b\xc3\xbc" "cher.de:443", "xn--bcher-kva.de", 443},
        {"example.com", NULL, 0},
        {"example.com:", NULL, 0},
        {"example.com:0", NULL, 0},
        {"example.com:00", NULL, 0},
        {"example.com:65536", NULL, 0},
        {"example.com:000443", NULL, 0},
        {"example.com:+443", NULL, 0},
        {"example.com:-1", NULL, 0},
        {"example.com:4 43", NULL, 0},
        {"example.com: 443", NULL, 0},
        {"example.com:443 ", NULL, 0},
        {"example.com:0x50", NULL, 0},
        {"example.com:http", NULL, 0},
        {"example.com:80:80", NULL, 0},
        {":443", NULL, 0},
        {"", NULL, 0},
        {":", NULL, 0},
        {"::1:443", NULL, 0},
        {"[::1]", NULL, 0},
        {"[::1]443", NULL, 0},
        {"[::1:443", NULL, 0},
        {"::1]:443", NULL, 0},
        {"[fe80::1%25eth0]:443", NULL, 0},
        {"user@example.com:443", NULL, 0},
        {"u:p@example.com:443", NULL, 0},
        {"@example.com:443", NULL, 0},
        {"http://example.com:443", NULL, 0},
        {"example.com:443/", NULL, 0},
        {"example.com:443?x", NULL, 0},
        {"example.com:443#x", NULL, 0},
        {"exa%6dple.com:443", NULL, 0},
        {"127.1:80", NULL, 0},
        {"2130706433:80", NULL, 0},
        {"*:443", NULL, 0},
    };
    (void)state;
    check_rows(target_parse_authority, rows, ARRAY_LEN(rows));
}

static void test_host(void **state)
{
    static const struct row rows[] = {
        {"example.com", "example.com", 0},   {"example.com:8080", "example.com", 8080},
        {"example.com:", "example.com", 0},  {"[::1]", "::1", 0},
        {"[::1]:80", "::1", 80},             {"[::1]:", "::1", 0},
        {"1.2.3.4", "1.2.3.4", 0},           {"", NULL, 0},
        {":80", NULL, 0},                    {"example.com:0", NULL, 0},
        {"example.com:99999", NULL, 0},      {"a@b", NULL, 0},
        {"a/b", NULL, 0},                    {"a b", NULL, 0},
        {"::1", NULL, 0},                    {"a,b", NULL, 0},
        {"a\\b", NULL, 0},                   {"[::1]x", NULL, 0},
    };
    (void)state;
    check_rows(target_parse_host, rows, ARRAY_LEN(rows));
}

static void test_uri(void **state)
{
    static const struct {
        const char *text;
        enum scheme scheme; /* 0: refused */
        const char *host;
        uint16_t port;
        const char *origin;
    } rows[] = {
        {"http://example.com/", SCHEME_HTTP, "example.com", 80, "/"},
        {"http://example.com", SCHEME_HTTP, "example.com", 80, ""},
        {"HTTP://Example.COM./A?b", SCHEME_HTTP, "example.com", 80, "/A?b"},
        {"hTtPs://example.com/a", SCHEME_HTTPS, "example.com", 443, "/a"},
        {"https://example.com:8443/a/b?c=d&e=/?", SCHEME_HTTPS, "example.com", 8443, "/a/b?c=d&e=/?"},
        {"http://example.com:/x", SCHEME_HTTP, "example.com", 80, "/x"},
        {"http://example.com?x=1", SCHEME_HTTP, "example.com", 80, "?x=1"},
        {"http://[::1]:8080/x", SCHEME_HTTP, "::1", 8080, "/x"},
        {"http://[::1]/x", SCHEME_HTTP, "::1", 80, "/x"},
        {"http://example.com/a@b:c", SCHEME_HTTP, "example.com", 80, "/a@b:c"},
        {"http://example.com//x\\y%00\xc3\xbc", SCHEME_HTTP, "example.com", 80, "//x\\y%00\xc3\xbc"},
        {"http://b\xc3\xbc" "cher.de/", SCHEME_HTTP, "xn--bcher-kva.de", 80, "/"},
        {"ftp://example.com/", 0, NULL, 0, NULL},
        {"ws://example.com/", 0, NULL, 0, NULL},
        {"example.com", 0, NULL, 0, NULL},
        {"//example.com/", 0, NULL, 0, NULL},
        {"http:/example.com/", 0, NULL, 0, NULL},
        {"http:example.com/", 0, NULL, 0, NULL},
        {"http:", 0, NULL, 0, NULL},
        {"http", 0, NULL, 0, NULL},
        {"", 0, NULL, 0, NULL},
        {"http://", 0, NULL, 0, NULL},
        {"http:///path", 0, NULL, 0, NULL},
        {"http://?x", 0, NULL, 0, NULL},
        {"http://:80/", 0, NULL, 0, NULL},
        {" http://example.com/", 0, NULL, 0, NULL},
        {"http ://example.com/", 0, NULL, 0, NULL},
        {"http://user@example.com/", 0, NULL, 0, NULL}, /* W6 */
        {"http://user:pw@example.com/", 0, NULL, 0, NULL},
        {"http://good.com@evil.com/", 0, NULL, 0, NULL},
        {"http://good.com\\@evil.com/", 0, NULL, 0, NULL},
        {"http://evil.com\\good.com/", 0, NULL, 0, NULL},
        {"http://example.com/#frag", 0, NULL, 0, NULL},
        {"http://example.com#frag", 0, NULL, 0, NULL},
        {"http://example.com:0/", 0, NULL, 0, NULL},
        {"http://example.com:65536/", 0, NULL, 0, NULL},
        {"http://example.com:+80/", 0, NULL, 0, NULL},
        {"http://example.com:8o/", 0, NULL, 0, NULL},
        {"http://exa%6Dple.com/", 0, NULL, 0, NULL},
        {"http://127.1/", 0, NULL, 0, NULL},
        {"http://::1/", 0, NULL, 0, NULL},
        {"http://example.com/a b", 0, NULL, 0, NULL},
        {"http://example.com/a\x01", 0, NULL, 0, NULL},
        {"http://example.com/a\x7f", 0, NULL, 0, NULL},
        {"http://exa mple.com/", 0, NULL, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target_uri uri = {.port = 9999};
        struct errctx ctx = {0};
        enum err e = target_parse_uri(str_from(rows[i].text), &uri, &ctx);
        if (!rows[i].scheme) {
            if (e != ERR_BAD_REQUEST || uri.port != 9999)
                fail_msg("\"%s\" is accepted", rows[i].text);
            continue;
        }
        if (e != ERR_OK)
            fail_msg("\"%s\": %s", rows[i].text, ctx.text);
        assert_int_equal(uri.scheme, rows[i].scheme);
        assert_string_equal(uri.host.text, rows[i].host);
        assert_int_equal(uri.port, rows[i].port);
        assert_true(str_eq(uri.origin, str_from(rows[i].origin)));
    }
}

static void test_path_and_query(void **state)
{
    struct str path, query;
    (void)state;
    assert_true(target_path_ok(STR("/a\\b\"<>^`{|}%zz\xff")));
    assert_true(target_path_ok(STR("")));
    assert_false(target_path_ok(STR("/a b")));
    assert_false(target_path_ok(STR("/a#b")));
    assert_false(target_path_ok(STR("/a\0b")));
    assert_false(target_path_ok(STR("/\x7f")));
    target_split_query(STR("/a/b?c=d?e"), &path, &query);
    assert_true(str_eq(path, STR("/a/b")) && str_eq(query, STR("c=d?e")));
    target_split_query(STR("/a?"), &path, &query);
    assert_true(str_eq(path, STR("/a")) && query.p && query.n == 0);
    target_split_query(STR("/a"), &path, &query);
    assert_true(str_eq(path, STR("/a")) && !query.p);
}

static void test_schemes(void **state)
{
    (void)state;
    assert_int_equal(scheme_port(SCHEME_HTTP), 80);
    assert_int_equal(scheme_port(SCHEME_HTTPS), 443);
    assert_true(str_eq(scheme_name(SCHEME_HTTP), STR("http")));
    assert_true(str_eq(scheme_name(SCHEME_HTTPS), STR("https")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authority),      cmocka_unit_test(test_host),
        cmocka_unit_test(test_uri),            cmocka_unit_test(test_path_and_query),
        cmocka_unit_test(test_schemes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
