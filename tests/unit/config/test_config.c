#include "../base/unit.h"
#include "base/mem.h"
#include "config/config.h"

static void add(struct settings *s, const char *value)
{
    assert_true(settings_add(s, str_from(value), STR("--flag")));
}

static void test_settings_keep_order_value_and_origin(void **state)
{
    struct settings s = {0};
    (void)state;
    for (int i = 0; i < 100; i++) {
        char text[8] = {(char)('a' + i % 26), (char)('0' + i % 10)};
        assert_true(settings_add(&s, str_of(text, 2), STR("NONO_X")));
    }
    assert_int_equal(s.n, 100);
    assert_str(s.v[27].value, "b7");
    assert_str(s.v[27].origin, "NONO_X");
    assert_int_equal(s.v[27].value.p[2], 0); /* NUL after it */
    settings_fini(&s);
    assert_int_equal(s.n, 0);
}

static void test_settings_out_of_memory(void **state)
{
    struct settings s = {0};
    (void)state;
    for (int after = 0; after < 3; after++) {
        mem_fail_after(after, false);
        assert_false(settings_add(&s, STR("v"), STR("o")));
        mem_fail_after(-1, false);
        assert_int_equal(s.n, 0);
        settings_fini(&s);
    }
}

static void test_setting_set_replaces(void **state)
{
    struct setting s = {0};
    (void)state;
    assert_true(setting_set(&s, STR("one"), STR("a")));
    assert_true(setting_set(&s, STR("two"), STR("b")));
    assert_str(s.value, "two");
    assert_str(s.origin, "b");
    struct settings for_fini = {.v = mem_alloc(sizeof(s)), .n = 1, .cap = 1};
    assert_non_null(for_fini.v);
    for_fini.v[0] = s;
    settings_fini(&for_fini);
}

static void test_timeout_names(void **state)
{
    static const char *const names[] = {"head",     "handshake", "dns",    "connect",
                                        "response", "idle",      "tunnel", "stall"};
    (void)state;
    assert_int_equal(ARRAY_LEN(names), TIMEOUT_COUNT_);
    for (unsigned t = 0; t < TIMEOUT_COUNT_; t++) {
        enum timeout_name found;
        assert_string_equal(timeout_name((enum timeout_name)t), names[t]);
        assert_true(timeout_find(str_from(names[t]), &found));
        assert_int_equal(found, t);
    }
    enum timeout_name none = TIMEOUT_DNS;
    assert_null(timeout_name(TIMEOUT_COUNT_));
    assert_false(timeout_find(STR("Head"), &none));
    assert_false(timeout_find(STR(""), &none));
    assert_false(timeout_find(STR("heads"), &none));
    assert_int_equal(none, TIMEOUT_DNS);
}

static void test_defaults(void **state)
{
    static const uint64_t ms[TIMEOUT_COUNT_] = {30000,  10000, 10000,   30000,
                                                600000, 75000, 3600000, 60000};
    struct config c;
    (void)state;
    config_init(&c);
    assert_memory_equal(c.timeout_ms, ms, sizeof(ms));
    assert_int_equal(c.drain_timeout_ms, 10000);
    assert_int_equal(c.log_level, LOG_WARN);
    assert_int_equal(c.port, 0);
    assert_int_equal(c.workers, 0);
    assert_false(c.max_connections_given);
    assert_false(c.no_auth);
    assert_null(c.pass);
    assert_null(c.upstream_proxy.value.p);
    assert_null(c.env_file.value.p);
    assert_int_equal(c.allow.n, 0);
    config_fini(&c);
    config_fini(&c); /* twice does no harm */
}

static void test_no_auth_serves_only_where_nobody_else_gets_in(void **state)
{
    static const struct {
        const char *listen;
        bool good;
    } cases[] = {
        {"127.0.0.1", true},
        {"127.8.9.10:80", true},
        {"::1", true},
        {"[::1]:80", true},
        {"::ffff:127.0.0.1", true},
        {"0.0.0.0", false},
        {"::", false},
        {"10.0.0.1", false},
        {"::2", false},
        {"unix:/x", true},
        {"unix:/x,mode=0600", true},
        {"unix:/x,mode=0666", false},
        {"unix:/x,mode=0661", false},
        {"unix:/x,mode=0664", false},
        {"128.0.0.1", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c;
        struct errctx ctx = {0};
        config_init(&c);
        add(&c.listen, "127.0.0.1");
        add(&c.listen, cases[i].listen); /* a good one before it does not help */
        assert_int_equal(config_check(&c, &ctx), ERR_OK);
        c.no_auth = true;
        enum err e = config_check(&c, &ctx);
        if ((e == ERR_OK) != cases[i].good)
            fail_msg("%s: %s", cases[i].listen, ctx.text);
        if (e) {
            assert_non_null(strstr(ctx.text, "--no-auth"));
            assert_non_null(strstr(ctx.text, cases[i].listen));
        }
        config_fini(&c);
    }
}

static void test_contradictions_name_both(void **state)
{
    struct config c;
    struct errctx ctx = {0};
    (void)state;
    config_init(&c);
    assert_true(settings_add(&c.bypass, STR("b.test"), STR("NONO_UPSTREAM_BYPASS")));
    assert_int_equal(config_check(&c, &ctx), ERR_INVALID);
    assert_non_null(strstr(ctx.text, "NONO_UPSTREAM_BYPASS"));
    assert_non_null(strstr(ctx.text, "--upstream-proxy"));
    assert_true(setting_set(&c.upstream_proxy, STR("p:1"), STR("--upstream-proxy")));
    err_clear(&ctx);
    assert_int_equal(config_check(&c, &ctx), ERR_OK);
    c.no_auth = true;
    c.pass = secret_new(STR("x"));
    assert_int_equal(config_check(&c, &ctx), ERR_INVALID);
    assert_non_null(strstr(ctx.text, "--no-auth and --pass"));
    config_fini(&c);
}

static void test_hash_follows_settings_but_no_secret(void **state)
{
    struct config a, b;
    (void)state;
    config_init(&a);
    config_init(&b);
    assert_true(config_hash(&a) == config_hash(&b));
    add(&a.allow, "ab");
    add(&a.allow, "c");
    add(&b.allow, "a");
    add(&b.allow, "bc");
    assert_true(config_hash(&a) != config_hash(&b));
    uint64_t before = config_hash(&a);
    a.port = 1;
    assert_true(config_hash(&a) != before);
    config_fini(&b);
    config_init(&b);
    config_fini(&a);
    config_init(&a);
    assert_true(setting_set(&a.upstream_proxy, STR("http://u:one@h:1"), STR("x")));
    assert_true(setting_set(&b.upstream_proxy, STR("http://u:two@h:1"), STR("x")));
    assert_true(config_hash(&a) == config_hash(&b));
    assert_true(setting_set(&b.upstream_proxy, STR("socks5://u:two@h:1"), STR("x")));
    assert_true(config_hash(&a) != config_hash(&b));
    config_fini(&a);
    config_fini(&b);
}

static int set_up(void **state)
{
    bool locked;
    (void)state;
    secret_region_init(&locked);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    secret_region_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_keep_order_value_and_origin),
        cmocka_unit_test(test_settings_out_of_memory),
        cmocka_unit_test(test_setting_set_replaces),
        cmocka_unit_test(test_timeout_names),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_no_auth_serves_only_where_nobody_else_gets_in),
        cmocka_unit_test(test_contradictions_name_both),
        cmocka_unit_test(test_hash_follows_settings_but_no_secret),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
