/* The small grammars: references, names of variables, durations, paths, NO_PROXY, URLs. */
#include "../base/unit.h"
#include "base/buf.h"
#include "config/builtin.h"
#include "config/host_url.h"
#include "config/profile_int.h"
#include "config/reference.h"
#include <stdlib.h>

static void test_references(void **state)
{
    static const struct {
        const char *text;
        int scheme; /* -1: refused */
    } rows[] = {
        {"openai", REFERENCE_KEYRING},
        {"A_9", REFERENCE_KEYRING},
        {"google-ai", -1},
        {"", -1},
        {"env://A", REFERENCE_ENV},
        {"env://", -1},
        {"env://A-B", -1},
        {"env://ld_preload", -1},
        {"env://PATH", -1},
        {"ENV://A", -1},
        {"file:///run/x", REFERENCE_FILE},
        {"file:///run/x%20y z", REFERENCE_FILE},
        {"file://run/x", -1},
        {"file:///", -1},
        {"file:////", -1},
        {"file:///a/../b", -1},
        {"file:///a/..b", REFERENCE_FILE},
        {"file:///a;b", -1},
        {"file:///a$b", -1},
        {"op://v/i/f", REFERENCE_OP},
        {"op://v/i/s/f", REFERENCE_OP},
        {"op://v/i", -1},
        {"op://v//f", -1},
        {"op://v/i/f?x", -1},
        {"op://v/i/f(1)", -1},
        {"bw://item", REFERENCE_BW},
        {"bw://item/field", REFERENCE_BW},
        {"bw://a/b/c", -1},
        {"bw://-x", -1},
        {"bw://a/-x", -1},
        {"bw://a=b", -1},
        {"apple-password://s/a", REFERENCE_APPLE},
        {"apple-passwords://s/a", REFERENCE_APPLE},
        {"apple-password://s", -1},
        {"keyring://s/a", REFERENCE_KEYRING},
        {"keyring://s/a?decode=go-keyring", REFERENCE_KEYRING},
        {"keyring://s/a?decode=x", -1},
        {"keyring://s", -1},
        {"keyring://s/a#x", -1},
        {"cmd://x", REFERENCE_CMD},
        {"cmd://x-y", -1},
        {"vault://x", -1},
        {"aws://x", -1},
        {"https://x", -1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum reference_scheme scheme = REFERENCE_CMD;
        struct errctx why = {0};
        enum err e = reference_parse(str_from(rows[i].text), &scheme, &why);
        if ((e != ERR_OK) != (rows[i].scheme < 0) || (!e && (int)scheme != rows[i].scheme))
            fail_msg("%s: %s", rows[i].text, why.text);
        if (e)
            assert_true(why.text[0]);
    }
}

static void test_headers_and_variables(void **state)
{
    struct errctx why = {0};
    (void)state;
    assert_true(header_is_safe(STR("X-Key")) && header_is_safe(STR("Authorization")));
    assert_false(header_is_safe(STR("HOST")) || header_is_safe(STR("te")) ||
                 header_is_safe(STR("")) || header_is_safe(STR("a b")));
    assert_int_equal(env_name_check(STR("GITHUB_TOKEN"), &why), ERR_OK);
    assert_int_equal(env_name_check(STR("9X"), &why), ERR_OK);
    assert_int_equal(env_name_check(STR("home"), &why), ERR_INVALID);
    err_clear(&why);
    assert_int_equal(env_name_check(STR("_java_options"), &why), ERR_INVALID);
    err_clear(&why);
    assert_int_equal(env_name_check(STR(""), &why), ERR_INVALID);
}

static void test_durations(void **state) /* section 14 */
{
    static const struct {
        const char *text;
        uint64_t seconds; /* 0: refused */
    } rows[] = {{"90", 90},
                {" 15m ", 900},
                {"1d", 86400},
                {"+5s", 5},
                {"12h", 43200},
                {"0s", 0},
                {"1w", 0},
                {"1.5h", 0},
                {"5 s", 0},
                {"5S", 0},
                {"", 0},
                {"+", 0},
                {"s", 0},
                {"-1", 0},
                {"99999999999d", 8639999999913600ull},
                {"18446744073709551615", UINT64_MAX},
                {"18446744073709551615m", 0},
                {"18446744073709551616", 0}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct errctx why = {0};
        uint64_t seconds = 0;
        if (duration_parse(str_from(rows[i].text), &seconds, &why))
            seconds = 0;
        if (seconds != rows[i].seconds)
            fail_msg("\"%s\": %llu", rows[i].text, (unsigned long long)seconds);
    }
}

static void test_paths(void **state) /* section 7.8 */
{
    static const struct {
        const char *path, *result; /* NULL: refused */
    } rows[] = {{"~", "/home/x"},
                {"~/a", "/home/x/a"},
                {"~b/a", "~b/a"},
                {"$HOME", "/home/x"},
                {"$HOME/a", "/home/x/a"},
                {"$TMPDIR/a", "/tmp/a"},
                {"$NONO_D/a/$NONO_E/$NONO_UNSET", "/d/a/e/$NONO_UNSET"},
                {"$NONO_E/a", NULL}, /* not absolute */
                {"$NONO_UNSET/a", NULL},
                {"${HOME}/a", NULL},
                {"$", NULL},
                {"a/$HOME", "a/$HOME"},
                {"/a/b", "/a/b"}};
    (void)state;
    setenv("HOME", "/home/x", 1);
    unsetenv("TMPDIR");
    setenv("NONO_D", "/d", 1);
    setenv("NONO_E", "e", 1);
    unsetenv("NONO_UNSET");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        struct errctx why = {0};
        buf_init(&out, 4096);
        enum err e = path_expand(str_from(rows[i].path), &out, &why);
        if ((e != ERR_OK) != (rows[i].result == NULL) ||
            (!e && !str_eq(buf_str(&out), str_from(rows[i].result))))
            fail_msg("%s: %.*s %s", rows[i].path, STR_ARG(buf_str(&out)), why.text);
        buf_fini(&out);
    }
}

static void test_overlaps(void **state) /* section 3.2 */
{
    static const struct {
        const char *entry, *pattern;
        bool overlaps;
    } rows[] = {
        {"", "a", true},
        {"a", "", true},
        {"redis", "redis", true},
        {"REDIS", "redis.:8443", true},
        {"redis", "x.redis", true},
        {"redis", "*.redis", true},
        {"redis", "redis.test", false},
        {"redis", "xredis", false},
        {"*.x.test", "a.x.test", true},
        {"*.x.test", "a.b.x.test", true},
        {"*.x.test", "x.test", false},
        {"*.x.test", "*.x.test", true},
        {"*.x.test", "*.a.x.test", true},
        {"*.a.x.test", "*.x.test", true},
        {"*.x.test", "*.y.test", false},
        {".x.test", "x.test", true},
        {".x.test", "a.x.test:443", true},
        {".x.test", "ax.test", false},
        {"internal", "metadata.google.internal", true},
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"[::1]", "::1", true},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"1", "10.0.0.1", false},
        {"redis", "*", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (no_proxy_overlaps(str_from(rows[i].entry), str_from(rows[i].pattern)) !=
            rows[i].overlaps)
            fail_msg("%s, %s", rows[i].entry, rows[i].pattern);
}

static void test_good_no_proxy(void **state)
{
    static const char *const good[] = {"redis",     "localhost", ".internal-only.example.net",
                                       "*.x.test",  "10.1.2.3",  "[fd00::1]",
                                       "127.0.0.1", "::1",       "a_b"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct errctx why = {0};
        if (no_proxy_check(str_from(good[i]), &why))
            fail_msg("%s: %s", good[i], why.text);
    }
}

static void test_upstreams(void **state)
{
    struct upstream u;
    struct errctx why = {0};
    (void)state;
    assert_int_equal(upstream_parse(STR("HTTPS://API.test.:8443/v1//"), &u, &why), ERR_OK);
    assert_int_equal(u.scheme, SCHEME_HTTPS);
    assert_str(hostname_str(&u.host.host), "api.test");
    assert_int_equal(u.host.port, 8443);
    assert_str(u.base_path, "/v1");
    assert_int_equal(upstream_parse(STR("https://*.test"), &u, &why), ERR_OK);
    assert_true(u.host.below);
    assert_int_equal(u.host.port, 443);
    assert_int_equal(u.base_path.n, 0);
    assert_int_equal(upstream_parse(STR("http://[::1]:8/x"), &u, &why), ERR_OK);
    static const char *const bad[] = {"https://",
                                      "https:///x",
                                      "https://a/?q",
                                      "https://a/#f",
                                      "https://a:0",
                                      "https://a:x",
                                      "http://10.0.0.1",
                                      "http://0.0.0.1",
                                      "http://a.localhost.test",
                                      "https://*",
                                      "https://*.1.2.3.4",
                                      "https://a b",
                                      "https://a/x y",
                                      "//a",
                                      "https://::1/",
                                      "http://*.localhost"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err_clear(&why);
        if (upstream_parse(str_from(bad[i]), &u, &why) != ERR_INVALID)
            fail_msg("%s was taken", bad[i]);
    }
}

static void test_allow_urls(void **state)
{
    struct allow_url u;
    (void)state;
    static const char *const plain[] = {
        "a.test",           "a.test:443", "https://a.test", "https://a.test/",
        "https://a.test?x", "10.0.0.0/8", "*.a.test",       ""};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (allow_url_split(str_from(plain[i]), &u))
            fail_msg("%s", plain[i]);
    assert_true(allow_url_split(STR("http://[::1]:8/x/{a,b}?q#f"), &u));
    assert_str(u.scheme, "http");
    assert_str(u.authority, "[::1]:8");
    assert_str(u.path, "/x/{a,b}");
}

static void test_builtins(void **state) /* section 6 */
{
    (void)state;
    assert_non_null(builtin_network_find(STR("codex")));
    assert_null(builtin_network_find(STR("Codex")));
    assert_null(builtin_profile_find(STR("codex")));
    assert_string_equal(builtin_service_find(STR("gitlab"))->upstream, "https://gitlab.com/api");
    for (size_t i = 0; builtin_service_at(i); i++) {
        struct upstream u;
        struct errctx why = {0};
        assert_int_equal(upstream_parse(str_from(builtin_service_at(i)->upstream), &u, &why),
                         ERR_OK);
    }
    for (size_t i = 0; builtin_profile_at(i); i++) {
        const struct builtin_profile *p = builtin_profile_at(i);
        assert_true(!*p->extends || builtin_profile_find(str_from(p->extends)));
        assert_true(!*p->network_profile || builtin_network_find(str_from(p->network_profile)));
    }
}

static void test_redaction(void **state) /* section 8.7 */
{
    static const struct {
        const char *reference, *told;
    } refs[] = {{"op://v/i/f", "op://v/i/<redacted>"},
                {"op://v/i/s/f", "op://v/i/<redacted>"},
                {"op://v", "op://***"},
                {"bw://id", "bw://<redacted>"},
                {"bw://id/field", "bw://<redacted>/field"},
                {"keyring://s/a?decode=go-keyring", "keyring://s/<redacted>?decode=go-keyring"},
                {"apple-password://s/a", "apple-password://s/<redacted>"},
                {"keyring://s", "keyring://***"},
                {"file:///run/secrets/key", "file:///run/secrets/[REDACTED]"},
                {"env://NAME", "env://NAME"},
                {"cmd://x", "cmd://x"},
                {"", ""},
                {"account", "account"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        struct buf out;
        buf_init(&out, 1000);
        reference_redact(&out, str_from(refs[i].reference));
        assert_true(str_eq(buf_str(&out), str_from(refs[i].told)));
        buf_fini(&out);
    }
}

static void test_source(void **state)
{
    static const struct {
        const char *text, *rest;
        enum reference_scheme scheme;
        bool at_hand;
    } rows[] = {
        {"env://NAME", "NAME", REFERENCE_ENV, true},
        {"file:///run/key", "/run/key", REFERENCE_FILE, true},
        {"openai", "openai", REFERENCE_KEYRING, false},
        {"google-ai", "google-ai", REFERENCE_KEYRING, false}, /* no name for a profile, but a built-in's */
        {"keyring://shop/me", "shop/me", REFERENCE_KEYRING, false},
        {"op://v/i/f", "v/i/f", REFERENCE_OP, false},
        {"cmd://helper", "helper", REFERENCE_CMD, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum reference_scheme scheme = REFERENCE_APPLE;
        struct errctx why = {0};
        struct str rest = reference_rest(str_from(rows[i].text));
        assert_int_equal(reference_source(str_from(rows[i].text), &scheme, &why), ERR_OK);
        assert_int_equal(scheme, rows[i].scheme);
        assert_int_equal(reference_at_hand(scheme), rows[i].at_hand);
        assert_true(str_eq(rest, str_from(rows[i].rest)));
    }
    static const char *const none[] = {"", "vault://x", "env://", "file://relative"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        enum reference_scheme scheme = REFERENCE_APPLE;
        struct errctx why = {0};
        assert_int_equal(reference_source(str_from(none[i]), &scheme, &why), ERR_INVALID);
        assert_true(why.text[0] && scheme == REFERENCE_APPLE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references), cmocka_unit_test(test_headers_and_variables),
        cmocka_unit_test(test_durations),  cmocka_unit_test(test_paths),
        cmocka_unit_test(test_overlaps),   cmocka_unit_test(test_good_no_proxy),
        cmocka_unit_test(test_upstreams),  cmocka_unit_test(test_allow_urls),
        cmocka_unit_test(test_builtins),  cmocka_unit_test(test_redaction), cmocka_unit_test(test_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
