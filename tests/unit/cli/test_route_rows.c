#include "cli_unit.h"
#include "cli/route_rows.h"

static struct buf out;
static struct policy *policy;
static struct config config;

static void add_route(const char *id, const char *prefix, const char *host, uint16_t port,
                      const char *base, bool credential, size_t rules)
{
    struct errctx why = {0};
    struct endpoint_spec rule[3] = {{.method = STR("GET"), .path = STR("/a"), .origin = STR("o")},
                                    {.method = STR("GET"), .path = STR("/b"), .origin = STR("o")},
                                    {.method = STR("GET"), .path = STR("/c"), .origin = STR("o")}};
    struct route_spec spec = {.id = str_from(id),
                              .origin = str_from(id),
                              .prefix = str_from(prefix),
                              .scheme = SCHEME_HTTPS,
                              .host = str_from(host),
                              .port = port,
                              .base_path = str_from(base),
                              .has_credential = credential,
                              .unavailable = credential,
                              .segment_globs = true,
                              .rules = rule,
                              .n_rules = rules};
    if (policy_add_route(policy, &spec, &why))
        fail_msg("%s", why.text);
}

static int set_up(void **state)
{
    static struct service_conf services[3];
    const char *notice;
    struct errctx why = {0};
    (void)state;
    buf_init(&out, 1 << 16);
    config_init(&config);
    services[0] = (struct service_conf){.name = STR("one"),
                                        .enabled = true,
                                        .credential_key = STR("env://K"),
                                        .inject_header = STR("X-Key")};
    services[1] = (struct service_conf){.name = STR("two"),
                                        .enabled = true,
                                        .kind = SERVICE_AUTH,
                                        .inject_mode = INJECT_QUERY_PARAM,
                                        .query_param_name = STR("key"),
                                        .policy = {.given = true}};
    services[2] = (struct service_conf){
        .name = STR("off"), .inject_mode = INJECT_URL_PATH, .path_pattern = STR("/p/{}")};
    config.services = (struct service_confs){services, 3, 3};
    assert_int_equal(policy_new(&policy), ERR_OK);
    add_route("one", "one", "api.test", 443, "/v1", true, 2);
    add_route("two", "two", "two.test", 8443, "", true, 0);
    add_route("again", "again", "api.test", 443, "/v1", false, 3);
    add_route("hidden", "hidden", "denied.test", 443, "", false, 1);
    assert_int_equal(policy_add(policy, RULES_DENY, STR("denied.test"), STR("o"), &notice, &why),
                     ERR_OK);
    assert_int_equal(policy_freeze(policy), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    policy_free(policy);
    config_fini(&config);
    buf_fini(&out);
    return 0;
}

/* Section 12.2: one row per upstream, rules summed, what cannot be reached left out. */
static void test_rows_golden(void **state)
{
    (void)state;
    assert_int_equal(route_rows_text(&out, &config, policy, NULL, "  "), 2);
    assert_str(buf_str(&out),
               "  https://api.test/v1 | creds: env://K \xe2\x9c\x97 (not in this version) | "
               "intercept: off | endpoint_rules: 5\n"
               "  https://two.test:8443 | creds: oauth2 \xe2\x9c\x97 (not in this version) | "
               "intercept: off | endpoint_policy: on\n");
    buf_reset(&out);
    route_row_text(&out, &config, policy, 2);
    assert_str(buf_str(&out),
               "https://api.test/v1 | creds: none | intercept: off | endpoint_rules: 3");
}

static void test_json_golden(void **state)
{
    (void)state;
    route_rows_json(&out, &config, policy, NULL, STR("http://127.0.0.1:1"), STR(""));
    assert_true(str_starts(
        buf_str(&out),
        STR("{\"prefix\":\"one\",\"upstream\":\"https://api.test/v1\",\"base_url\":"
            "\"http://127.0.0.1:1/one\",\"env\":{},\"credential\":\"unavailable\","
            "\"intercept\":false,\"endpoint_rules\":2,\"reason\":\"the credential is not in this "
            "version\"},{\"prefix\":\"two\"")));
    buf_reset(&out);
    route_rows_json(&out, &config, policy, NULL, STR(""), STR(""));
    assert_true(buf_holds(&out, "\"base_url\":null"));
}

static void test_places(void **state)
{
    static const char *const places[] = {"header X-Key", "query parameter key", "path /p/{}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        buf_reset(&out);
        route_credential_place(&out, &config.services.v[i]);
        assert_text(buf_str(&out), places[i]);
    }
    assert_ptr_equal(route_service(&config, STR("two")), &config.services.v[1]);
    assert_null(route_service(&config, STR("off"))); /* nobody asked for it */
    assert_null(route_service(&config, STR("none")));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rows_golden),
        TEST(test_json_golden),
        TEST(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
