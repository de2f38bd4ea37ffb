#include "cli_unit.h"
#include "cli/advertise.h"
#include "cli/banner.h"
#include "policy/route.h"

static struct buf out;

static struct server_listener tcp(const char *address, uint16_t port)
{
    struct server_listener l = {.port = port};
    assert_true(address_parse(str_from(address), &l.address));
    l.wildcard = address_kind(&l.address) == ADDRESS_UNSPECIFIED;
    return l;
}

static struct server_listener sock(const char *path)
{
    return (struct server_listener){.is_unix = true, .path = str_from(path)};
}

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, BANNER_MAX_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

static void test_banner_golden(void **state)
{
    struct config c;
    struct server_listener l[] = {tcp("127.0.0.1", 4321)};
    struct secret *token = secret_new(STR("abc123"));
    struct banner_facts f = {.listeners = l, .n = 1, .token = token, .policy = POLICY_ALLOW_ALL};
    (void)state;
    config_init(&c);
    banner_text(&out, &c, &f, false);
    assert_str(buf_str(&out), "\n"
                              "  nono proxy listening on 127.0.0.1:4321\n"
                              "  proxy URL: http://nono:abc123@127.0.0.1:4321\n"
                              "  token:     abc123\n"
                              "\n"
                              "  export HTTPS_PROXY=http://nono:abc123@127.0.0.1:4321\n"
                              "  export HTTP_PROXY=http://nono:abc123@127.0.0.1:4321\n"
                              "  export https_proxy=http://nono:abc123@127.0.0.1:4321\n"
                              "  export http_proxy=http://nono:abc123@127.0.0.1:4321\n"
                              "  export NO_PROXY=localhost,127.0.0.1\n"
                              "  export no_proxy=localhost,127.0.0.1\n"
                              "  export NONO_NO_PROXY=localhost,127.0.0.1\n"
                              "  export NODE_USE_ENV_PROXY=1\n"
                              "\n"
                              "  policy: every host is allowed (no --allow-domain given)\n"
                              "\n"
                              "  Press Ctrl-C to stop.\n");
    secret_unref(token);
    config_fini(&c);
}

static void test_banner_golden_without_authentication(void **state)
{
    struct config c;
    struct settings warnings = {0};
    struct server_listener l[] = {tcp("::1", 80), sock("/run/n\x1b.sock"), tcp("10.0.0.1", 80)};
    struct banner_facts f = {.listeners = l,
                             .n = 3,
                             .policy = POLICY_ALLOWLIST,
                             .upstream = STR("proxy.test:3128"),
                             .names_there = true,
                             .warnings = &warnings};
    (void)state;
    config_init(&c);
    assert_true(settings_add(&c.allow, STR("a.test"), STR("--allow-domain")));
    assert_true(settings_add(&warnings, STR("mind the gap"), STR("--x")));
    banner_text(&out, &c, &f, false);
    assert_str(buf_str(&out), "\n"
                              "  nono proxy listening on ::1:80\n"
                              "  nono proxy listening on unix:/run/n\\x1b.sock\n"
                              "  nono proxy listening on 10.0.0.1:80\n"
                              "  auth disabled (--no-auth): any local process can use this proxy\n"
                              "  proxy URL: http://[::1]:80\n"
                              "\n"
                              "  export HTTPS_PROXY=http://[::1]:80\n"
                              "  export HTTP_PROXY=http://[::1]:80\n"
                              "  export https_proxy=http://[::1]:80\n"
                              "  export http_proxy=http://[::1]:80\n"
                              "  export NO_PROXY=localhost,127.0.0.1,::1,10.0.0.1\n"
                              "  export no_proxy=localhost,127.0.0.1,::1,10.0.0.1\n"
                              "  export NONO_NO_PROXY=localhost,127.0.0.1,::1,10.0.0.1\n"
                              "  export NODE_USE_ENV_PROXY=1\n"
                              "\n"
                              "  policy: only listed hosts are allowed (1 allow, 0 deny)\n"
                              "  upstream proxy: proxy.test:3128 (it resolves names: they are "
                              "judged by name, not by address)\n"
                              "  warning: --x: mind the gap\n"
                              "\n"
                              "  Press Ctrl-C to stop.\n");
    settings_fini(&warnings);
    config_fini(&c);
}

/* Decision H10: the words "every host is allowed" stand there exactly when that is so. */
static void test_policy_line(void **state)
{
    static const struct {
        enum policy_kind kind;
        const char *allow, *origin, *line;
    } cases[] = {
        {POLICY_ALLOW_ALL, NULL, NULL,
         "  policy: every host is allowed (no --allow-domain given)\n"},
        {POLICY_ALLOW_ALL, "*", "NONO_ALLOW_DOMAIN",
         "  policy: every host is allowed ('*' in NONO_ALLOW_DOMAIN)\n"},
        {POLICY_ALLOW_ALL, "**", "x", "  policy: every host is allowed\n"},
        {POLICY_ALLOWLIST, "a", "x", "  policy: only listed hosts are allowed (1 allow, 0 deny)\n"},
        {POLICY_DENY_ALL, NULL, NULL, "  policy: every host is denied\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c;
        struct server_listener l[] = {tcp("127.0.0.1", 1)};
        struct banner_facts f = {.listeners = l, .n = 1, .policy = cases[i].kind};
        config_init(&c);
        if (cases[i].allow)
            assert_true(
                settings_add(&c.allow, str_from(cases[i].allow), str_from(cases[i].origin)));
        buf_reset(&out);
        banner_text(&out, &c, &f, false);
        assert_true(buf_holds(&out, cases[i].line));
        assert_int_equal(buf_holds(&out, "every host is allowed"),
                         cases[i].kind == POLICY_ALLOW_ALL);
        config_fini(&c);
    }
}

static void test_colours(void **state)
{
    struct config c;
    struct server_listener l[] = {tcp("127.0.0.1", 1)};
    struct banner_facts f = {.listeners = l, .n = 1};
    (void)state;
    config_init(&c);
    banner_text(&out, &c, &f, true);
    assert_true(buf_holds(&out, "\x1b[1mnono proxy listening on\x1b[0m 127.0.0.1:1\n"));
    assert_true(buf_holds(&out, "\x1b[33mauth disabled"));
    assert_true(buf_holds(&out, "\x1b[2mPress Ctrl-C to stop.\x1b[0m\n"));
    buf_reset(&out);
    banner_text(&out, &c, &f, false);
    assert_false(buf_holds(&out, "\x1b"));
    config_fini(&c);
}

/* Case 128: listeners on IPv6 or every address, and any password, make URLs that work. */
static void test_urls(void **state)
{
    static const struct {
        const char *address, *password, *url;
    } cases[] = {
        {"127.0.0.1", "p@ss/w:rd %", "http://nono:p%40ss%2Fw%3Ard%20%25@127.0.0.1:8"},
        {"127.0.0.1", "~a~'$`\"\\", "http://nono:%7Ea%7E%27%24%60%22%5C@127.0.0.1:8"},
        {"127.0.0.1", "\xc3\xa9", "http://nono:%C3%A9@127.0.0.1:8"},
        {"127.0.0.1", NULL, "http://127.0.0.1:8"},
        {"::1", "x", "http://nono:x@[::1]:8"},
        {"fd00::5", "x", "http://nono:x@[fd00::5]:8"},
        {"0.0.0.0", "x", "http://nono:x@127.0.0.1:8"},
        {"::", "x", "http://nono:x@[::1]:8"},
        {"10.0.0.1", NULL, "http://10.0.0.1:8"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server_listener l[] = {sock("/first"), tcp(cases[i].address, 8), tcp("10.9.9.9", 9)};
        struct secret *token = cases[i].password ? secret_new(str_from(cases[i].password)) : NULL;
        struct banner_facts f = {.listeners = l, .n = 3, .token = token};
        buf_reset(&out);
        assert_true(advertise_url(&out, &f));
        if (!str_eq(buf_str(&out), str_from(cases[i].url)))
            fail_msg("got %.*s, want %s", STR_ARG(buf_str(&out)), cases[i].url);
        secret_unref(token);
    }
}

/* A value of an export line or env file means the same with and without a shell. */
static bool shell_safe(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!ascii_is_alpha((unsigned char)c) && !ascii_is_digit((unsigned char)c) &&
            !strchr("-_.:/@%,[]", c))
            return false;
    }
    return true;
}

static void check_line(void *owner, const char *name, struct str value)
{
    *(unsigned *)owner += 1;
    if (!shell_safe(value))
        fail_msg("%s=%.*s", name, STR_ARG(value));
}

static void test_values_need_no_quotes_whatever_the_password(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char password[3] = {(char)c, 'x', (char)c};
        struct secret *token = secret_new(str_of(password, 3));
        struct server_listener l[] = {tcp("::", 8)}, u[] = {sock("/s")};
        struct banner_facts f = {.listeners = l, .n = 1, .token = token};
        unsigned n = 0;
        advertise_env(&f, ADVERTISE_FILE, check_line, &n);
        assert_int_equal(n, 8);
        f.listeners = u;
        advertise_env(&f, ADVERTISE_FILE, check_line, &n);
        secret_unref(token);
    }
}

static void test_no_proxy_names_the_gateway(void **state)
{
    struct server_listener l[] = {tcp("0.0.0.0", 1), tcp("10.0.0.1", 1), sock("/s"),
                                  tcp("fd00::1", 1), tcp("10.0.0.1", 2), tcp("127.0.0.2", 1)};
    struct banner_facts f = {.listeners = l, .n = 6};
    (void)state;
    banner_env_lines(&out, &f);
    assert_true(buf_holds(&out, "\nNO_PROXY=localhost,127.0.0.1,10.0.0.1,fd00::1,127.0.0.2\n"));
}

static void test_env_lines_golden(void **state)
{
    struct server_listener l[] = {tcp("127.0.0.1", 5)}, u[] = {sock("/s")};
    struct secret *token = secret_new(STR("t0k.en")), *odd = secret_new(STR("a b"));
    struct banner_facts f = {.listeners = l, .n = 1, .token = token};
    (void)state;
    banner_env_lines(&out, &f);
    assert_str(buf_str(&out), "HTTPS_PROXY=http://nono:t0k.en@127.0.0.1:5\n"
                              "HTTP_PROXY=http://nono:t0k.en@127.0.0.1:5\n"
                              "https_proxy=http://nono:t0k.en@127.0.0.1:5\n"
                              "http_proxy=http://nono:t0k.en@127.0.0.1:5\n"
                              "NO_PROXY=localhost,127.0.0.1\n"
                              "no_proxy=localhost,127.0.0.1\n"
                              "NONO_NO_PROXY=localhost,127.0.0.1\n"
                              "NODE_USE_ENV_PROXY=1\n");
    f.listeners = u;
    buf_reset(&out);
    banner_env_lines(&out, &f);
    assert_str(buf_str(&out), "NONO_PROXY_TOKEN=t0k.en\n"
                              "NO_PROXY=localhost,127.0.0.1\n"
                              "no_proxy=localhost,127.0.0.1\n"
                              "NONO_NO_PROXY=localhost,127.0.0.1\n"
                              "NODE_USE_ENV_PROXY=1\n");
    f.token = odd; /* cannot be written without quotes */
    buf_reset(&out);
    banner_env_lines(&out, &f);
    assert_false(buf_holds(&out, "NONO_PROXY_TOKEN"));
    secret_unref(token);
    secret_unref(odd);
}

static void test_json_golden(void **state)
{
    struct settings warnings = {0};
    struct server_listener l[] = {tcp("::1", 7), sock("/a\"b")};
    struct secret *token = secret_new(STR("a\"b"));
    struct banner_facts f = {
        .listeners = l, .n = 2, .token = token, .policy = POLICY_ALLOWLIST, .warnings = &warnings};
    (void)state;
    assert_true(settings_add(&warnings, STR("one"), STR("x")));
    assert_true(settings_add(&warnings, STR("t\"wo"), STR("x")));
    banner_json(&out, &f);
#define URL "\"http://nono:a%22b@[::1]:7\""
    assert_str(buf_str(&out),
               "{\"version\":\"" NONO_VERSION "\","
               "\"listeners\":[{\"address\":\"::1\",\"port\":7},{\"path\":\"/a\\\"b\"}],"
               "\"url\":" URL ",\"token\":\"a\\\"b\","
               "\"env\":{\"HTTPS_PROXY\":" URL ",\"HTTP_PROXY\":" URL ",\"https_proxy\":" URL
               ",\"http_proxy\":" URL ",\"NO_PROXY\":\"localhost,127.0.0.1,::1\","
               "\"no_proxy\":\"localhost,127.0.0.1,::1\","
               "\"NONO_NO_PROXY\":\"localhost,127.0.0.1,::1\",\"NODE_USE_ENV_PROXY\":\"1\"},"
               "\"routes\":[],\"ca_bundle\":null,\"ca_cert\":null,\"policy\":\"allowlist\","
               "\"warnings\":[\"x: one\",\"x: t\\\"wo\"]}\n");
    secret_unref(token);
    settings_fini(&warnings);
}

static void test_json_without_authentication_or_address(void **state)
{
    struct server_listener l[] = {sock("/s")}, t[] = {tcp("127.0.0.1", 7)};
    struct banner_facts f = {.listeners = l, .n = 1, .policy = POLICY_DENY_ALL};
    (void)state;
    banner_json(&out, &f);
    assert_true(buf_holds(&out, "\"url\":null,\"token\":null,\"env\":{\"NO_PROXY\""));
    assert_true(buf_holds(&out, "\"policy\":\"deny_all\",\"warnings\":[]}\n"));
    f.listeners = t;
    f.policy = POLICY_ALLOW_ALL;
    buf_reset(&out);
    banner_json(&out, &f);
    assert_true(buf_holds(&out, "\"url\":\"http://127.0.0.1:7\",\"token\":null"));
    assert_true(buf_holds(&out, "\"policy\":\"allow_all\""));
    assert_false(buf_holds(&out, "@"));
}

static int group_up(void **state)
{
    bool locked;
    (void)state;
    secret_region_init(&locked);
    return 0;
}

static int group_down(void **state)
{
    (void)state;
    secret_region_fini();
    return 0;
}

/* ---- what a profile adds ---- */

static struct policy *policy_with_a_gate(const char *host, enum scheme scheme, uint16_t port)
{
    struct policy *p;
    struct errctx why = {0};
    struct endpoint_spec rule = {.method = STR("GET"), .path = STR("/x"), .origin = STR("f:1:2")};
    struct route_spec spec = {.id = STR("gate"),
                              .origin = STR("f:1:1"),
                              .scheme = scheme,
                              .host = str_from(host),
                              .port = port,
                              .segment_globs = true,
                              .rules = &rule,
                              .n_rules = 1};
    assert_int_equal(policy_new(&p), ERR_OK);
    assert_int_equal(policy_add_route(p, &spec, &why), ERR_OK);
    assert_int_equal(policy_freeze(p), ERR_OK);
    return p;
}

static void test_routes_and_no_proxy_of_a_profile(void **state)
{
    struct config c;
    struct server_listener l[] = {tcp("10.0.0.1", 80)};
    struct policy *p = policy_with_a_gate("docs.test", SCHEME_HTTPS, 443);
    struct banner_facts f = {
        .listeners = l, .n = 1, .policy = POLICY_ALLOWLIST, .config = &c, .rules = p};
    (void)state;
    config_init(&c);
    assert_true(settings_add(&c.no_proxy, STR("*.a.test"), STR("f:1:1")));
    assert_true(settings_add(&c.no_proxy, STR(".b.test"), STR("f:1:2")));
    assert_true(settings_add(&c.no_proxy, STR("*.b.test"), STR("f:1:3"))); /* the same */
    assert_true(settings_add(&c.no_proxy, STR("localhost"), STR("f:1:4")));
    assert_true(setting_set(&c.network_profile, STR("minimal"), STR("f:1:5")));
    banner_text(&out, &c, &f, false);
    assert_true(
        buf_holds(&out, "  export NO_PROXY=localhost,127.0.0.1,10.0.0.1,.a.test,.b.test\n"));
    assert_true(buf_holds(&out, "  export NODE_USE_ENV_PROXY=1\n\n  routes:\n"
                                "    https://docs.test | creds: none | intercept: off | "
                                "endpoint_rules: "));
    assert_true(buf_holds(&out, "\n\n  policy: only listed hosts are allowed (0 allow, 0 deny, "
                                "network profile minimal)\n"));
    buf_reset(&out);
    banner_json(&out, &f);
    assert_true(buf_holds(&out, "\"routes\":[{\"prefix\":null,\"upstream\":"
                                "\"https://docs.test\",\"base_url\":null"));
    policy_free(p);
    config_fini(&c);
}

/* Section 12.4: what is gated on this machine must not be reached past the gateway. */
static void test_no_proxy_leaves_out_a_gated_loopback(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "::1", "localhost", "127.8.8.8"};
    struct server_listener l[] = {tcp("127.0.0.1", 80)};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct policy *p = policy_with_a_gate(hosts[i], SCHEME_HTTP, 8080);
        struct banner_facts f = {.listeners = l, .n = 1, .rules = p};
        buf_reset(&out);
        banner_env_lines(&out, &f);
        if (!buf_holds(&out, "\nNO_PROXY=\nno_proxy=\n"))
            fail_msg("%s: %.*s", hosts[i], STR_ARG(buf_str(&out)));
        policy_free(p);
    }
}

static void test_network_block_in_words(void **state)
{
    struct config c;
    struct banner_facts f = {.policy = POLICY_DENY_ALL};
    (void)state;
    config_init(&c);
    c.block = true;
    banner_text(&out, &c, &f, false);
    assert_true(buf_holds(&out, "  policy: every host is denied (network.block"));
    config_fini(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_banner_golden),
        TEST(test_banner_golden_without_authentication),
        TEST(test_policy_line),
        TEST(test_colours),
        TEST(test_urls),
        TEST(test_values_need_no_quotes_whatever_the_password),
        TEST(test_no_proxy_names_the_gateway),
        TEST(test_routes_and_no_proxy_of_a_profile),
        TEST(test_no_proxy_leaves_out_a_gated_loopback),
        TEST(test_network_block_in_words),
        TEST(test_env_lines_golden),
        TEST(test_json_golden),
        TEST(test_json_without_authentication_or_address),
    };
    return cmocka_run_group_tests(tests, group_up, group_down);
}
