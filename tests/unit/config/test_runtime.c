#include "../base/unit.h"
#include "base/mem.h"
#include "config/runtime.h"
#include <stdlib.h>

struct fixture {
    struct config config;
    struct secret *token;
};

static void start(struct fixture *f)
{
    config_init(&f->config);
    f->token = secret_new(STR("the token"));
    assert_non_null(f->token);
}

static void end(struct fixture *f)
{
    config_fini(&f->config);
    secret_unref(f->token);
}

static void add(struct settings *s, const char *value, const char *origin)
{
    assert_true(settings_add(s, str_from(value), str_from(origin)));
}

static enum verdict judge(const struct runtime *r, const char *host)
{
    struct facts facts = {
        .shape = SHAPE_CONNECT, .port = 443, .scheme = SCHEME_HTTPS, .method = STR("CONNECT")};
    struct errctx ctx = {0};
    struct decision d;
    assert_int_equal(hostname_parse(str_from(host), &facts.host, &ctx), ERR_OK);
    policy_decide(r->policy, &facts, &d);
    return d.verdict;
}

static void test_everything_is_carried_over(void **state)
{
    struct fixture f;
    struct runtime *r = NULL;
    struct errctx ctx = {0};
    (void)state;
    start(&f);
    add(&f.config.allow, "a.test", "--allow-domain");
    add(&f.config.allow, "*.b.test", "--allow-domain");
    add(&f.config.deny, "no.b.test", "--deny-domain");
    add(&f.config.bypass, "near.test", "--upstream-bypass");
    add(&f.config.server_names, "Gate.Test", "--server-name");
    assert_true(setting_set(&f.config.upstream_proxy, STR("socks5h://u:p@proxy.test:1080"),
                            STR("--upstream-proxy")));
    f.config.timeout_ms[TIMEOUT_DNS] = 77;
    f.config.audit_fail_closed = true;
    add(&f.config.audit_log, "-", "--audit-log");
    assert_int_equal(runtime_new(&f.config, f.token, 5, &r, &ctx), ERR_OK);
    assert_int_equal(r->generation, 5);
    assert_int_equal(policy_kind(r->policy), POLICY_ALLOWLIST);
    assert_int_equal(judge(r, "a.test"), VERDICT_ALLOW);
    assert_int_equal(judge(r, "x.b.test"), VERDICT_ALLOW);
    assert_int_equal(judge(r, "no.b.test"), VERDICT_REFUSE);
    assert_int_equal(judge(r, "other.test"), VERDICT_REFUSE);
    assert_int_equal(r->clients.n, 1);
    assert_false(r->clients.auth_off);
    assert_true(secret_equal(r->clients.v[0].token, STR("the token")));
    assert_non_null(r->hop);
    assert_int_equal(r->hop->kind, HOP_SOCKS5H);
    assert_str(r->hop_text, "proxy.test:1080");
    assert_int_equal(r->timeout_ms[TIMEOUT_DNS], 77);
    assert_int_equal(r->timeout_ms[TIMEOUT_IDLE], 75000);
    assert_true(r->audit_fail_closed);
    assert_int_equal(r->n_server_names, 1);
    assert_str(hostname_str(&r->server_names[0]), "gate.test");
    assert_non_null(r->trust);
    assert_int_equal(r->warnings.n, 0);
    struct runtime *again = runtime_ref(r);
    runtime_unref(r);
    assert_int_equal(policy_kind(again->policy), POLICY_ALLOWLIST); /* still there */
    runtime_unref(again);
    runtime_unref(NULL);
    end(&f);
}

static void test_nothing_given_allows_all(void **state)
{
    struct fixture f;
    struct runtime *r = NULL;
    struct errctx ctx = {0};
    (void)state;
    start(&f);
    f.config.no_auth = true;
    assert_int_equal(runtime_new(&f.config, f.token, 1, &r, &ctx), ERR_OK);
    assert_int_equal(policy_kind(r->policy), POLICY_ALLOW_ALL);
    assert_true(r->clients.auth_off);
    assert_null(r->hop);
    assert_int_equal(r->hop_text.n, 0);
    runtime_unref(r);
    end(&f);
}

static void test_notices_are_collected(void **state)
{
    struct fixture f;
    struct runtime *r = NULL;
    struct errctx ctx = {0};
    (void)state;
    start(&f);
    f.config.audit_fail_closed = true; /* without a sink */
    add(&f.config.allow, "169.254.169.254", "--allow-domain");
    assert_int_equal(runtime_new(&f.config, f.token, 1, &r, &ctx), ERR_OK);
    assert_int_equal(r->warnings.n, 2);
    assert_non_null(strstr(r->warnings.v[0].value.p, "169.254.169.254"));
    assert_string_equal(r->warnings.v[1].origin.p, "--audit-fail-closed");
    runtime_unref(r);
    end(&f);
}

struct bad {
    const char *allow, *deny, *bypass, *upstream, *server_name, *says, *origin;
};

static void give(struct config *c, const struct bad *b)
{
    if (b->allow)
        add(&c->allow, b->allow, b->origin);
    if (b->deny)
        add(&c->deny, b->deny, b->origin);
    if (b->bypass)
        add(&c->bypass, b->bypass, b->origin);
    if (b->server_name)
        add(&c->server_names, b->server_name, b->origin);
    if (b->upstream)
        assert_true(setting_set(&c->upstream_proxy, str_from(b->upstream), str_from(b->origin)));
}

/* Decisions H2, H9, O6: what cannot be meant is an error that says where it stands. */
static void test_errors_name_value_and_origin(void **state)
{
    static const struct bad cases[] = {
        {.allow = "*corp", .says = "*corp", .origin = "--allow-domain"},
        {.allow = "a.*.test", .says = "a.*.test", .origin = "NONO_ALLOW_DOMAIN"},
        {.allow = "x.test:0", .says = "x.test:0", .origin = "--allow-domain"},
        {.allow = "127.1", .says = "127.1", .origin = "--allow-domain"},
        {.deny = "*.*.test", .says = "*.*.test", .origin = "NONO_DENY_DOMAIN"},
        {.deny = "a b", .says = "a b", .origin = "--deny-domain"},
        {.bypass = "*", .upstream = "p.test:1", .says = "*", .origin = "--upstream-bypass"},
        {.bypass = "a.test", .says = "--upstream-proxy", .origin = "--upstream-bypass"},
        {.upstream = "proxy.test", .says = "HOST:PORT", .origin = "--upstream-proxy"},
        {.upstream = "socks4://p.test:1", .says = "socks", .origin = "NONO_UPSTREAM_PROXY"},
        {.upstream = "http://p.test:1/x", .says = "", .origin = "--upstream-proxy"},
        {.server_name = "a b", .says = "", .origin = "--server-name"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;
        struct runtime *r = NULL;
        struct errctx ctx = {0};
        start(&f);
        give(&f.config, &cases[i]);
        if (runtime_new(&f.config, f.token, 1, &r, &ctx) != ERR_INVALID)
            fail_msg("case %zu is accepted", i);
        assert_null(r);
        if (!strstr(ctx.text, cases[i].says) || !strstr(ctx.text, cases[i].origin))
            fail_msg("case %zu says \"%s\"", i, ctx.text);
        end(&f);
    }
}

static void test_a_password_of_the_upstream_proxy_is_not_repeated(void **state)
{
    struct fixture f;
    struct runtime *r = NULL;
    struct errctx ctx = {0};
    (void)state;
    start(&f);
    assert_true(setting_set(&f.config.upstream_proxy, STR("http://user:hunter2@p.test"),
                            STR("--upstream-proxy")));
    assert_int_equal(runtime_new(&f.config, f.token, 1, &r, &ctx), ERR_INVALID);
    assert_null(strstr(ctx.text, "hunter2"));
    end(&f);
}

/* Decision O7. */
static void test_certificate_variables(void **state)
{
    struct fixture f;
    struct runtime *r = NULL;
    struct errctx ctx = {0};
    (void)state;
    start(&f);
    assert_int_equal(setenv("SSL_CERT_FILE", "", 1), 0);
    assert_int_equal(runtime_new(&f.config, f.token, 1, &r, &ctx), ERR_OK);
    runtime_unref(r);
    r = NULL;
    assert_int_equal(setenv("SSL_CERT_FILE", "/no/such/file.pem", 1), 0);
    assert_int_equal(runtime_new(&f.config, f.token, 1, &r, &ctx), ERR_INVALID);
    assert_null(r);
    assert_non_null(strstr(ctx.text, "SSL_CERT_FILE"));
    assert_non_null(strstr(ctx.text, "/no/such/file.pem"));
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    end(&f);
}

static void test_refused_memory_leaves_nothing_behind(void **state)
{
    struct fixture f;
    bool done = false;
    (void)state;
    start(&f);
    add(&f.config.allow, "a.test", "--allow-domain");
    add(&f.config.allow, "10.0.0.0/8", "--allow-domain");
    add(&f.config.server_names, "gate.test", "--server-name");
    assert_true(setting_set(&f.config.upstream_proxy, STR("http://u:p@p.test:1"), STR("x")));
    for (int after = 0; !done && after < 400; after++) {
        struct runtime *r = NULL;
        struct errctx ctx = {0};
        mem_fail_after(after, false);
        enum err e = runtime_new(&f.config, f.token, 1, &r, &ctx);
        mem_fail_after(-1, false);
        assert_true((e == ERR_OK) == (r != NULL));
        done = e == ERR_OK;
        runtime_unref(r);
    }
    assert_true(done);
    end(&f);
}

static int set_up(void **state)
{
    bool locked;
    (void)state;
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    assert_int_equal(unsetenv("SSL_CERT_DIR"), 0);
    secret_region_init(&locked);
    tls_init();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    secret_region_fini(); /* asserts that every reference came back */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_carried_over),
        cmocka_unit_test(test_nothing_given_allows_all),
        cmocka_unit_test(test_notices_are_collected),
        cmocka_unit_test(test_errors_name_value_and_origin),
        cmocka_unit_test(test_a_password_of_the_upstream_proxy_is_not_repeated),
        cmocka_unit_test(test_certificate_variables),
        cmocka_unit_test(test_refused_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
