#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "config/hop.h"
#include <stdlib.h>

static const struct {
    const char *text;
    enum hop_kind kind;
    const char *place;
    const char *user, *password; /* NULL: none */
} good[] = {
    {"proxy.corp:3128", HOP_HTTP, "proxy.corp:3128", NULL, NULL},
    {"PROXY.Corp.:3128", HOP_HTTP, "proxy.corp:3128", NULL, NULL},
    {"10.1.2.3:1", HOP_HTTP, "10.1.2.3:1", NULL, NULL},
    {"[::1]:65535", HOP_HTTP, "[::1]:65535", NULL, NULL},
    {"http://proxy.corp:80", HOP_HTTP, "proxy.corp:80", NULL, NULL},
    {"HTTPS://proxy.corp:443/", HOP_HTTPS, "proxy.corp:443", NULL, NULL},
    {"socks5://p:1080", HOP_SOCKS5, "p:1080", NULL, NULL},
    {"Socks5H://[2001:DB8::1]:1080/", HOP_SOCKS5H, "[2001:db8::1]:1080", NULL, NULL},
    {"http://u:p@p.test:1", HOP_HTTP, "p.test:1", "u", "p"},
    {"http://u@p.test:1", HOP_HTTP, "p.test:1", "u", ""},
    {"http://u:@p.test:1", HOP_HTTP, "p.test:1", "u", ""},
    {"http://:token@p.test:1", HOP_HTTP, "p.test:1", "", "token"},
    {"http://do%6dain%5Cu:p%40s%3As%2f%25@p.test:1", HOP_HTTP, "p.test:1", "domain\\u", "p@s:s/%"},
    {"http://u:a:b@p.test:1", HOP_HTTP, "p.test:1", "u", "a:b"},
    {"http://u:a@b@p.test:1", HOP_HTTP, "p.test:1", "u", "a@b"},
    {"socks5h://a%3Ab:p@p.test:1", HOP_SOCKS5H, "p.test:1", "a:b", "p"},
};

static void check_secret(const struct secret *s, const char *want)
{
    assert_int_equal(s != NULL, want != NULL);
    if (want)
        assert_true(secret_equal(s, str_from(want)));
}

static void test_good(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        struct hop h;
        struct errctx ctx = {0};
        if (hop_parse(str_from(good[i].text), &h, &ctx) != ERR_OK)
            fail_msg("%s: %s", good[i].text, ctx.text);
        struct buf b;
        buf_init(&b, 400);
        hop_format(&b, &h);
        assert_int_equal(h.kind, good[i].kind);
        assert_int_equal(hop_resolves_names(&h), h.kind != HOP_SOCKS5);
        if (!str_eq(buf_str(&b), str_from(good[i].place)))
            fail_msg("%s: %.*s", good[i].text, STR_ARG(buf_str(&b)));
        check_secret(h.user, good[i].user);
        check_secret(h.password, good[i].password);
        buf_fini(&b);
        hop_fini(&h);
        hop_fini(&h); /* twice is harmless */
    }
}

static const struct {
    const char *text, *says;
} bad[] = {
    {"", "the host is missing"},
    {"proxy.corp", "the port is missing"},
    {"proxy.corp:", "the port is missing"},
    {"http://proxy.corp", "the port is missing"},
    {"http://proxy.corp/", "the port is missing"},
    {":3128", "the host is missing"},
    {"http://:3128", "the host is missing"},
    {"http://", "the host is missing"},
    {"proxy.corp:0", "from 1 to 65535"},
    {"proxy.corp:65536", "from 1 to 65535"},
    {"proxy.corp:99999999999999999999", "from 1 to 65535"},
    {"proxy.corp:+80", "the port is not a number"},
    {"proxy.corp:80x", "the port is not a number"},
    {"proxy.corp:80/", "the port is not a number"}, /* a path needs a scheme */
    {"::1:8080", "the host is missing"},
    {"2001:db8::1:8080", "too many colons"},
    {"[::1]", "the port is missing"},
    {"[::1:8080", "']' is missing"},
    {"[::1]8080", "write HOST:PORT"},
    {"[]:8080", "upstream proxy: "},
    {"socks4://p:1080", "only version 5 of SOCKS"},
    {"socks4a://p:1080", "only version 5 of SOCKS"},
    {"socks://p:1080", "only version 5 of SOCKS"},
    {"ftp://p:1080", "unknown scheme"},
    {"://p:1080", "unknown scheme"},
    {"http://p:1080/path", "nothing may follow the port"},
    {"http://p:1080//", "nothing may follow the port"},
    {"http://p:1080?x", "nothing may follow the port"},
    {"http://p:1080#x", "nothing may follow the port"},
    {"http://exa mple:80", "upstream proxy: "},
    {"0x7f.1:80", "upstream proxy: "}, /* decision H2 */
    {"127.1:80", "upstream proxy: "},
    {"hunter2:hunter2@p:80", "a scheme is needed"},
    {"http://@p:80", "the user is empty"},
    {"http://:@p:80", "the user is empty"},
    {"socks5://:hunter2@p:80", "the user is empty"},
    {"http://hunter2%3A:x@p:80", "cannot contain a colon"},
    {"http://u:hunter2%@p:80", "malformed percent-encoding"},
    {"http://u:hunter2%0d%0a@p:80", "control characters"},
    {"http://u:hunter2%00@p:80", "control characters"},
    {"http://u:hunter2@p", "the port is missing"},
    {"http://u:hunter2@:80", "the host is missing"},
    {"http://u:hunter2@p q:80", "the host is not valid"},
    {"http://u:hunter2/x@p:80", "nothing may follow the port"},
    {"http://u:hunter2?x@p:80", "nothing may follow the port"},
    {"gopher://u:hunter2@p:80", "unknown scheme"},
    {"hunter2://u:hunter2@p:80", "unknown scheme"},
};

static void test_bad(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct hop h = {.port = 7777};
        struct errctx ctx = {0};
        enum err e = hop_parse(str_from(bad[i].text), &h, &ctx);
        if (e != ERR_INVALID || !strstr(ctx.text, bad[i].says))
            fail_msg("\"%s\": %s \"%s\"", bad[i].text, err_name(e), ctx.text);
        assert_int_equal(h.port, 7777); /* untouched */
        if (strstr(ctx.text, "hunter2"))
            fail_msg("user information shows: %s", ctx.text);
    }
}

static void test_socks_lengths(void **state)
{
    (void)state;
    char text[1000];
    for (size_t n = 254; n < 258; n++) {
        struct hop h;
        struct errctx ctx = {0};
        memset(text, 'x', sizeof(text));
        memcpy(text, "socks5://u:", 11);
        memcpy(text + 11 + n, "@p:1", 5);
        enum err e = hop_parse(str_from(text), &h, &ctx);
        assert_int_equal(e, n <= 255 ? ERR_OK : ERR_INVALID);
        if (!e)
            hop_fini(&h);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    enum err e = ERR_NOMEM;
    for (int64_t n = 0; e; n++) {
        struct hop h;
        struct errctx ctx = {0};
        assert_true(n < 50);
        mem_fail_after(n, false);
        e = hop_parse(STR("http://user:password@proxy.test:80"), &h, &ctx);
        mem_fail_after(-1, false);
        if (e)
            assert_int_equal(e, ERR_NOMEM);
        else
            hop_fini(&h);
    }
}

static int group_setup(void **state)
{
    (void)state;
    bool locked;
    secret_region_init(&locked);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    secret_region_fini(); /* asserts that no secret is left */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_socks_lengths),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("config/hop", tests, group_setup, group_teardown);
}
