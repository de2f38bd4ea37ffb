#include "world.h"

#include "config/resolve.h"
#include "config/runtime.h"
#include "policy/route.h"

#include <malloc.h>
#include <time.h>

struct gate_world {
    struct world w;
    struct config flags;
    struct resolve resolve;
    struct config config;
    struct secret *token;
};

static void start(struct gate_world *g)
{
    world_init(&g->w);
    config_init(&g->flags);
    g->token = secret_new(STR("the token"));
    assert_non_null(g->token);
    assert_int_equal(setenv("HOME", g->w.dir, 1), 0);
    assert_int_equal(setenv("XDG_CONFIG_HOME", g->w.config, 1), 0);
}

static void end(struct gate_world *g)
{
    config_fini(&g->flags);
    secret_unref(g->token);
    world_fini(&g->w);
}

static void flag(struct settings *s, const char *value, const char *origin)
{
    assert_true(settings_add(s, str_from(value), str_from(origin)));
}

static void use_profile(struct gate_world *g, const char *text)
{
    put_user(&g->w, "p.jsonc", text);
    assert_true(setting_set(&g->flags.profile, STR("p"), STR("--profile")));
}

static void resolved(struct gate_world *g)
{
    enum err e = resolve_config(&g->flags, &g->w.env, &g->resolve, &g->config);
    if (e || g->resolve.problems.errors)
        print_problems(&g->resolve.problems);
    assert_int_equal(e, ERR_OK);
    assert_int_equal(g->resolve.problems.errors, 0);
}

static void done(struct gate_world *g)
{
    config_fini(&g->config);
    resolve_fini(&g->resolve);
}

static void join(const struct settings *s, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < s->n; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", s->v[i].value.p);
}

static void expect_list(const struct settings *s, const char *want)
{
    char got[1024];
    join(s, got, sizeof(got));
    assert_string_equal(got, want);
}

/* ---- flags over the profile (section 1.8) ---- */

static void test_flags_and_profile(void **state)
{
    struct gate_world g;
    (void)state;
    start(&g);
    use_profile(
        &g, "{\"network\": {\n"
            " \"network_profile\": \"minimal\", \"block\": true, \"allow_http2\": true,\n"
            " \"allow_domain\": [\"a.test\", {\"domain\": \"b.test\"},\n"
            "   {\"domain\": \"g.test:8443\", \"endpoints\": [{\"method\": \"GET\", \"path\": "
            "\"/x\"}]}],\n"
            " \"deny_domain\": [\"no.test\"], \"upstream_proxy\": \"up.test:3128\",\n"
            " \"upstream_bypass\": [\"near.test\"], \"credentials\": [\"github\", \"gitlab\"],\n"
            " \"no_proxy\": [\"redis\"], \"timeouts\": {\"dns\": 3, \"idle\": 2},\n"
            " \"max_body_bytes\": 1000, \"endpoint_glob\": \"path\",\n"
            " \"tls_intercept\": {\"ca_validity\": \"12h\", \"ca_env_vars\": [\"MY_CA\"]}\n"
            "}}");
    flag(&g.flags.allow, "c.test", "--allow-domain");
    flag(&g.flags.allow, "https://u.test:9/p/**", "--allow-domain");
    flag(&g.flags.deny, "no2.test", "--deny-domain");
    flag(&g.flags.bypass, "far.test", "--upstream-bypass");
    flag(&g.flags.credentials, "gitlab", "--credential");
    flag(&g.flags.credentials, "openai", "--credential");
    assert_true(setting_set(&g.flags.upstream_proxy, STR("mine.test:1"), STR("--upstream-proxy")));
    g.flags.timeout_ms[TIMEOUT_DNS] = 7000;
    g.flags.timeout_given[TIMEOUT_DNS] = true;
    resolved(&g);
    const struct config *c = &g.config;
    expect_list(&c->allow, "a.test b.test c.test");
    expect_list(&c->deny, "no.test no2.test");
    expect_list(&c->bypass, "near.test far.test");
    expect_list(&c->credentials, "github gitlab openai");
    expect_list(&c->no_proxy, "redis");
    assert_str(c->upstream_proxy.value, "mine.test:1");
    assert_str(c->network_profile.value, "minimal");
    assert_true(c->block && c->allow_http2 && c->endpoint_glob_path && c->max_body_given);
    assert_int_equal(c->max_body_bytes, 1000);
    assert_int_equal(c->timeout_ms[TIMEOUT_DNS], 7000); /* the flag */
    assert_int_equal(c->timeout_ms[TIMEOUT_IDLE], 2000);
    assert_int_equal(c->tls_intercept.ca_validity_s, 12 * 3600);
    expect_list(&c->tls_intercept.ca_env_vars, "MY_CA");
    assert_int_equal(c->gates.n, 2);
    assert_str(c->gates.v[0].domain, "g.test:8443");
    assert_str(c->gates.v[1].domain, "u.test:9");
    assert_str(c->gates.v[1].scheme, "https");
    assert_str(c->gates.v[1].endpoints.v[0].path, "/p/**"); /* the query is cut off */
    assert_str(c->gates.v[1].origin, "--allow-domain");
    /* every value knows its place */
    assert_true(str_ends(c->allow.v[0].origin, STR("/p.jsonc:3:19")));
    assert_true(str_ends(c->allow.v[1].origin, STR("/p.jsonc:3:40")));
    assert_str(c->allow.v[2].origin, "--allow-domain");
    assert_true(str_ends(c->network_profile.origin, STR("/p.jsonc:2:21")));
    assert_true(str_ends(c->profile_file, STR("/p.jsonc")));
    size_t enabled = 0;
    for (size_t i = 0; i < c->services.n; i++)
        enabled += c->services.v[i].enabled;
    assert_int_equal(enabled, 3);
    done(&g);
    /* the network profile of a flag beats the profile's */
    assert_true(setting_set(&g.flags.network_profile, STR("developer"), STR("--network-profile")));
    resolved(&g);
    assert_str(g.config.network_profile.value, "developer");
    done(&g);
    end(&g);
}

static void test_flags_are_not_touched(void **state)
{
    struct gate_world g;
    (void)state;
    start(&g);
    use_profile(&g, "{\"network\": {\"allow_domain\": [\"a.test\"]}}");
    flag(&g.flags.allow, "c.test", "--allow-domain");
    for (int i = 0; i < 2; i++) { /* a reload starts from the same flags */
        resolved(&g);
        expect_list(&g.config.allow, "a.test c.test");
        done(&g);
    }
    expect_list(&g.flags.allow, "c.test");
    use_profile(&g, "{\"network\": {\"allow_domain\": [\"b.test\"]}}");
    resolved(&g);
    expect_list(&g.config.allow, "b.test c.test");
    done(&g);
    end(&g);
}

static void test_services(void **state)
{
    struct gate_world g;
    (void)state;
    start(&g);
    use_profile(&g,
                "{\"network\": {\"credentials\": [\"k\"], \"custom_credentials\": {\n"
                "\"k\": {\"upstream\": \"https://k.test/v1\", \"credential_key\": \"env://K\",\n"
                "  \"inject_header\": \"x-api-key\", \"rate_limit\": {\"requests_per_minute\": 60, "
                "\"burst\": 0},\n"
                "  \"keep_client_credentials\": true, \"cache_ttl_secs\": 9,\n"
                "  \"endpoint_policy\": {\"default\": \"allow\", \"deny\": [{\"method\": \"GET\", "
                "\"path\": \"/d\"}]},\n"
                "  \"proxy\": {\"inject_mode\": \"query_param\", \"query_param_name\": \"t\"}},\n"
                "\"openai\": {\"upstream\": \"https://o.test\", \"credential_key\": \"O\"},\n"
                "\"path\": {\"upstream\": \"https://o.test\", \"credential_key\": \"O\", "
                "\"inject_mode\": \"url_path\", \"path_pattern\": \"/bot{}/\"}\n"
                "}}}");
    resolved(&g);
    const struct service_conf *k = &g.config.services.v[0], *o = &g.config.services.v[1];
    assert_str(k->name, "k");
    assert_true(k->enabled && !k->builtin && k->keep_client_credentials);
    assert_str(k->credential_format, "{}");
    assert_int_equal(k->cache_ttl_ms, 9000);
    assert_true(k->rate_given);
    assert_int_equal(k->rate_per_minute, 60);
    assert_int_equal(k->rate_burst, 1);
    assert_int_equal(k->rate_max_delay_ms, 5000);
    assert_true(k->policy.given);
    assert_int_equal(k->policy.fallback, ENDPOINT_ALLOW);
    assert_int_equal(k->policy.deny.n, 1);
    assert_true(k->proxy_given);
    assert_int_equal(k->proxy_mode, INJECT_QUERY_PARAM);
    assert_str(k->proxy_param, "t");
    assert_str(k->proxy_header, "x-api-key");
    assert_str(o->credential_format, "Bearer {}");
    assert_str(o->inject_header, "Authorization");
    assert_int_equal(o->cache_ttl_ms, 300000);
    assert_str(g.config.services.v[2].path_replacement, "/bot{}/");
    size_t openai = 0, builtin = 0;
    for (size_t i = 0; i < g.config.services.n; i++) {
        openai += str_eq(g.config.services.v[i].name, STR("openai"));
        builtin += g.config.services.v[i].builtin;
    }
    assert_int_equal(openai, 1); /* the custom one shadows */
    assert_int_equal(builtin, 5);
    done(&g);
    end(&g);
}

static void test_approvals_and_captures(void **state)
{
    struct gate_world g;
    (void)state;
    start(&g);
    use_profile(&g, "{\"security\": {\"approval_backends\": {\"hook\": {\"type\": \"webhook\", "
                    "\"url\": \"https://h.test\", \"timeout_secs\": 20}},\n"
                    "  \"approval_defaults\": {\"timeout_secs\": 9}},\n"
                    " \"command_policies\": {\"approval_backends\": {\"hook\": {\"type\": "
                    "\"terminal\"}, \"tty\": {\"type\": \"terminal\"},\n"
                    "   \"any\": {\"type\": \"chain\", \"mode\": \"any\", \"backends\": [\"tty\", "
                    "\"hook\"]}}, \"approval_defaults\": {\"backend\": \"any\"}},\n"
                    " \"credential_capture\": {\"h\": {\"command\": [\"helper\", \"-x\"], "
                    "\"ttl_secs\": 0, \"stdin\": \"request_json\",\n"
                    "   \"output\": {\"format\": \"json\", \"allow_headers\": [\"X-A\"]}},\n"
                    "  \"v\": {\"provider\": {\"command\": [\"p\"], \"config\": {\"t\": 1}}}}}");
    resolved(&g);
    const struct config *c = &g.config;
    assert_int_equal(c->approvals.n, 3);
    assert_int_equal(c->approvals.v[0].kind, APPROVAL_WEBHOOK); /* security comes first */
    assert_int_equal(c->approvals.v[0].timeout_ms, 20000);
    assert_int_equal(c->approvals.v[2].kind, APPROVAL_CHAIN);
    assert_false(c->approvals.v[2].all);
    assert_int_equal(c->approvals.v[2].n_backends, 2);
    assert_str(c->approval_backend, "any");
    assert_int_equal(c->approval_timeout_ms, 9000);
    assert_int_equal(c->captures.n, 2);
    assert_int_equal(c->captures.v[0].n_command, 2);
    assert_int_equal(c->captures.v[0].ttl_ms, 0);
    assert_int_equal(c->captures.v[0].timeout_ms, 5000);
    assert_true(c->captures.v[0].stdin_json && c->captures.v[0].output_json);
    assert_int_equal(c->captures.v[0].n_allow_headers, 1);
    assert_true(c->captures.v[1].provider);
    assert_int_equal(c->captures.v[1].ttl_ms, 900000);
    assert_true(str_starts(c->captures.v[1].provider_config, STR("{\"t\"")));
    done(&g);
    end(&g);
}

/* ---- the runtime ---- */

static struct runtime *running(struct gate_world *g)
{
    struct runtime *r = NULL;
    char *report = NULL;
    struct errctx ctx = {0};
    enum err e = runtime_load(&g->flags, g->token, 1, &r, &report, &ctx);
    if (e)
        print_message("%s\n", report ? report : ctx.text);
    assert_int_equal(e, ERR_OK);
    mem_free(report);
    return r;
}

/* What a CONNECT to host:port, or a GET of a URL, is answered: A allowed, I intercepted, R refused,
 * U unavailable. */
static char judge(const struct runtime *r, const char *host, uint16_t port)
{
    struct facts f = {.shape = SHAPE_CONNECT,
                      .port = port,
                      .method = STR("CONNECT"),
                      .scheme = port == 443 ? SCHEME_HTTPS : SCHEME_HTTP};
    struct errctx ctx = {0};
    struct decision d;
    assert_int_equal(hostname_parse(str_from(host), &f.host, &ctx), ERR_OK);
    policy_decide(r->policy, &f, &d);
    return d.verdict == VERDICT_ALLOW ? 'A' : d.verdict == VERDICT_INTERCEPT ? 'I' : 'R';
}

static char get(const struct runtime *r, const char *url)
{
    struct facts f = {.shape = SHAPE_FORWARD, .method = STR("GET")};
    struct target_uri uri;
    struct errctx ctx = {0};
    struct decision d;
    assert_int_equal(target_parse_uri(str_from(url), &uri, &ctx), ERR_OK);
    f.host = uri.host;
    f.port = uri.port;
    f.scheme = uri.scheme;
    target_split_query(uri.origin, &f.path, &f.query);
    policy_decide(r->policy, &f, &d);
    if (d.verdict == VERDICT_REFUSE)
        return err_status(d.refusal) == 503 ? 'U' : 'R';
    return d.verdict == VERDICT_ALLOW ? 'A' : 'I';
}

/* Section 14, "Domain" (route ports scoped as decision H3 says). */
static void test_domain_vectors(void **state)
{
    struct gate_world g;
    struct runtime *r;
    (void)state;
    start(&g);
    flag(&g.flags.allow, "github.com", "--allow-domain");
    r = running(&g);
    assert_int_equal(policy_routes(r->policy), 0);
    assert_int_equal(judge(r, "github.com", 443), 'A');
    assert_int_equal(judge(r, "api.github.com", 443), 'R');
    runtime_unref(r);
    end(&g);

    start(&g);
    flag(&g.flags.allow, "https://api.github.com/repos/**", "--allow-domain");
    r = running(&g);
    assert_int_equal(policy_routes(r->policy), 1);
    struct route_view view;
    policy_route_view(r->policy, 0, &view);
    assert_str(view.id, "_ep_api.github.com");
    assert_int_equal(get(r, "https://api.github.com/repos/x"), 'A');
    assert_int_equal(get(r, "https://api.github.com/users/x"), 'R');
    assert_int_equal(get(r, "http://api.github.com/repos/x"), 'R'); /* decision H11 */
    assert_int_not_equal(judge(r, "api.github.com", 443), 'A');
    assert_int_equal(judge(r, "api.github.com", 8443), 'R');
    assert_int_equal(judge(r, "github.com", 443), 'R');
    runtime_unref(r);
    end(&g);

    start(&g);
    flag(&g.flags.credentials, "github", "--credential");
    r = running(&g);
    assert_int_equal(policy_kind(r->policy), POLICY_ALLOW_ALL);
    assert_non_null(policy_route_by_prefix(r->policy, STR("github")));
    assert_int_equal(judge(r, "other.test", 443), 'A');
    assert_int_not_equal(judge(r, "api.github.com", 443), 'A'); /* decision K1 */
    assert_int_equal(get(r, "https://api.github.com/x"), 'A');
    runtime_unref(r);
    flag(&g.flags.allow, "example.com", "--allow-domain");
    r = running(&g);
    assert_int_equal(judge(r, "example.com", 443), 'A');
    assert_int_equal(judge(r, "other.test", 443), 'R');
    assert_int_equal(judge(r, "api.github.com", 80), 'R');
    assert_int_equal(get(r, "https://api.github.com/x"), 'A');
    runtime_unref(r);
    end(&g);

    start(&g);
    flag(&g.flags.deny, "*.ads.com", "--deny-domain");
    r = running(&g);
    assert_int_equal(policy_kind(r->policy), POLICY_ALLOW_ALL);
    assert_int_equal(judge(r, "x.ads.com", 443), 'R');
    assert_int_equal(judge(r, "ads.com", 443), 'A');
    runtime_unref(r);
    end(&g);

    start(&g);
    assert_true(setting_set(&g.flags.network_profile, STR("minimal"), STR("--network-profile")));
    flag(&g.flags.allow, "gitlab", "--allow-domain");
    r = running(&g);
    assert_int_equal(judge(r, "claude.ai", 443), 'A');
    assert_int_equal(judge(r, "registry.gitlab.com", 443), 'A');
    assert_int_equal(judge(r, "github.com", 443), 'R');
    runtime_unref(r);
    end(&g);
}

static void test_gates_add_up(void **state) /* decision H12 */
{
    struct gate_world g;
    struct runtime *r;
    (void)state;
    start(&g);
    use_profile(
        &g,
        "{\"network\": {\"allow_domain\": [\"https://two.test/p\",\n"
        " {\"domain\": \"two.test\", \"endpoints\": [{\"method\": \"GET\", \"path\": \"/q\"}]},\n"
        " {\"domain\": \"TWO.test.:443\", \"endpoints\": [{\"method\": \"POST\", \"path\": "
        "\"/r\"}]},\n"
        " \"http://two.test:8080/s\", \"https://*.wild.test/w/**\"]}}");
    flag(&g.flags.allow, "https://two.test/t", "--allow-domain");
    r = running(&g);
    assert_int_equal(policy_routes(r->policy), 3);
    assert_int_equal(get(r, "https://two.test/p"), 'A');
    assert_int_equal(get(r, "https://two.test/q"), 'A');
    assert_int_equal(get(r, "https://two.test/r"), 'R'); /* POST only */
    assert_int_equal(get(r, "https://two.test/t"), 'A');
    assert_int_equal(get(r, "https://two.test/s"), 'R');
    assert_int_equal(get(r, "http://two.test:8080/s"), 'A');
    assert_int_equal(get(r, "http://two.test:8080/p"), 'R');
    assert_int_equal(get(r, "https://two.test:9/p"), 'R');
    assert_int_equal(get(r, "https://a.wild.test/w/x"), 'A');
    assert_int_equal(get(r, "https://a.wild.test/x"), 'R');
    assert_int_equal(get(r, "https://wild.test/w/x"), 'R');
    runtime_unref(r);
    end(&g);
}

static void test_block(void **state) /* decision H10, cases 24 and 33 */
{
    struct gate_world g;
    struct runtime *r;
    (void)state;
    start(&g);
    use_profile(&g, "{\"network\": {\"block\": true}}");
    r = running(&g);
    assert_int_equal(policy_kind(r->policy), POLICY_DENY_ALL);
    assert_int_equal(judge(r, "a.test", 443), 'R');
    runtime_unref(r);
    flag(&g.flags.credentials, "github", "--credential");
    r = running(&g);
    assert_int_equal(judge(r, "a.test", 443), 'R');
    assert_int_equal(get(r, "https://api.github.com/x"), 'A');
    runtime_unref(r);
    end(&g);
}

static void test_later_kinds_are_refused(void **state) /* decision K13 */
{
    struct gate_world g;
    struct runtime *r;
    (void)state;
    start(&g);
    use_profile(&g,
                "{\"network\": {\"credentials\": [\"aws\"], \"custom_credentials\": {\"aws\": "
                "{\"upstream\": \"https://aws.test\", \"aws_auth\": {}}}},\n"
                "\"credential_providers\": {\"prov\": {\"type\": \"oauth_capture\", "
                "\"token_endpoints\": [{\"host\": \"https://tok.test\", \"path\": \"/t\", "
                "\"response_fields\": [{\"path\": \"a\"}]}], \"api_hosts\": [\"https://x.test\", "
                "\"https://y.test\"],\n"
                "\"inject_header\": \"Authorization\", \"credential_format\": \"Bearer {}\", "
                "\"credential_store\": {\"type\": \"command_status\", \"command\": [\"c\"]}}},\n"
                "\"credential_routes\": [{\"name\": \"lr\", \"provider\": \"prov\"}]}");
    r = running(&g);
    assert_int_equal(policy_routes(r->policy), 3);
    assert_int_equal(get(r, "https://aws.test/x"), 'U');
    assert_int_equal(get(r, "https://x.test/x"), 'U');
    assert_non_null(policy_route_by_prefix(r->policy, STR("lr_1")));
    assert_int_equal(judge(r, "other.test", 443), 'A');
    runtime_unref(r);
    end(&g);
}

/* ---- what is said ---- */

static char *report_of(struct gate_world *g)
{
    struct runtime *r = NULL;
    char *report = NULL;
    struct errctx ctx = {0};
    assert_int_not_equal(runtime_load(&g->flags, g->token, 1, &r, &report, &ctx), ERR_OK);
    assert_null(r);
    assert_non_null(report);
    assert_true(ctx.text[0]);
    return report;
}

static void expect_report(struct gate_world *g, const char *profile, const char *text,
                          const char *want)
{
    if (text)
        put_user(&g->w, "p.jsonc", text);
    assert_true(setting_set(&g->flags.profile, str_from(profile), STR("--profile")));
    char *report = report_of(g);
    if (!strstr(report, want))
        fail_msg("wanted \"%s\" in:\n%s", want, report);
    mem_free(report);
}

static void test_classes(void **state) /* section 1.6 */
{
    struct gate_world g;
    (void)state;
    start(&g);
    expect_report(&g, "p", "{\"netwrok\": {}}", "nono: Profile parse error: ");
    expect_report(&g, "p", "{\"netwrok\": {}}", "/p.jsonc:1:2: ");
    expect_report(&g, "p", "{", "nono: Profile parse error: ");
    expect_report(&g, "none", NULL, "nono: Profile not found: \"none\"");
    expect_report(&g, "bad_name", NULL, "nono: Profile parse error: \"bad_name\"");
    expect_report(&g, "/no/such.json", NULL, "nono: Profile read error at /no/such.json: ");
    expect_report(&g, "p", "{\"extends\": \"nowhere\"}", "nono: Profile inheritance error: ");
    expect_report(&g, "p", "{\"network\": {\"credentials\": [\"nope\"]}}",
                  "nono: Configuration parse error: ");
    expect_report(&g, "p", "{\"network\": {\"credentials\": [\"nope\"]}}", "anthropic, gemini");
    expect_report(&g, "p", "{\"network\": {\"network_profile\": \"develper\"}}",
                  "(did you mean \"developer\"?)");
    expect_report(&g, "p", "{\"network\": {\"upstream_bypass\": [\"a.test\"]}}",
                  "nono: Configuration parse error: ");
    expect_report(&g, "p", "{\"network\": {\"tls_intercept\": {\"ca_lifecycle\": \"trusted\"}}}",
                  "macOS");
    end(&g);
}

static void test_everything_is_reported_at_once(void **state)
{
    struct gate_world g;
    size_t lines = 0;
    (void)state;
    start(&g);
    flag(&g.flags.allow, "a.*.test", "--allow-domain");
    flag(&g.flags.deny, "*corp", "--deny-domain");
    flag(&g.flags.server_names, "..", "--server-name");
    flag(&g.flags.credentials, "nope", "--credential");
    flag(&g.flags.allow, "https://x.test/[a", "--allow-domain");
    flag(&g.flags.allow, "ftp://x.test/a", "--allow-domain");
    assert_true(setting_set(&g.flags.network_profile, STR("huge"), STR("--network-profile")));
    assert_true(setting_set(&g.flags.upstream_proxy, STR("noport"), STR("--upstream-proxy")));
    char *report = report_of(&g);
    for (const char *p = report; (p = strstr(p, "nono: Configuration parse error: ")); p++)
        lines++;
    if (lines != 8)
        print_message("%s", report);
    assert_int_equal(lines, 8);
    assert_non_null(strstr(report, "--server-name: "));
    mem_free(report);
    end(&g);
}

static void test_no_proxy_conflicts(void **state)
{
    struct gate_world g;
    (void)state;
    start(&g);
    expect_report(&g, "p",
                  "{\"network\": {\"no_proxy\": [\".github.com\"], \"credentials\": [\"github\"]}}",
                  "takes \"api.github.com\" (credential");
    put_user(&g.w, "p.jsonc", "{\"network\": {\"no_proxy\": [\"*.x.test\"]}}");
    flag(&g.flags.allow, "a.x.test", "--allow-domain");
    expect_report(&g, "p", NULL, "past the gateway");
    end(&g);
}

static void test_tls_paths(void **state) /* section 7.8 */
{
    struct gate_world g;
    (void)state;
    start(&g);
    const char *text =
        "{\"network\": {\"credentials\": [\"k\"], \"custom_credentials\": {\"k\": {\"upstream\": "
        "\"https://k.test\", \"credential_key\": \"K\", \"tls_ca\": "
        "\"$NONO_TEST_CERTS/ca.pem\"}}}}";
    unsetenv("NONO_TEST_CERTS");
    expect_report(&g, "p", text, "Environment variable 'NONO_TEST_CERTS' validation failed");
    setenv("NONO_TEST_CERTS", g.w.dir, 1);
    expect_report(&g, "p", text, "/ca.pem cannot be read");
    put(&g.w, "ca.pem", "x");
    resolved(&g);
    assert_true(str_ends(g.config.services.v[0].tls_ca, STR("/ca.pem")));
    assert_true(str_starts(g.config.services.v[0].tls_ca, STR("/tmp/")));
    done(&g);
    end(&g);
}

/* ---- the examples ---- */

#ifdef EXAMPLES
/* A certificate and its key, made for this test and nothing else. */
static const char certificate[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBgDCCASWgAwIBAgIUW03y+6uUuBqtDlRqgORotob6chkwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJbm9ubyB0ZXN0MCAXDTI2MTEyNDE3MzQzMloYDzIxMjYxMDMx\n"
    "MTczNDMyWjAUMRIwEAYDVQQDDAlub25vIHRlc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAATyC/RIYRbHW1+2moK0A2Rd+NblOyerbmrBZHBx3F6zHqjYOVZqFc3v\n"
    "abeDKN0LoZPeOHCtqEyrKx0OpW47p9B4o1MwUTAdBgNVHQ4EFgQU33ngNkenx1Bb\n"
    "fBsNNPoZPfDiCVswHwYDVR0jBBgwFoAU33ngNkenx1BbfBsNNPoZPfDiCVswDwYD\n"
    "VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA+AN2cJbOhEcYcNpmb5fj\n"
    "uIuxaEmVaDSllhnBZs0ubvUCIQCyJ8dXaY1zkrkqVq0J7cs/kPGutIkgYjrEoED+\n"
    "kNmybQ==\n"
    "-----END CERTIFICATE-----\n";
static const char private_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg88chxdkm03CJMlaw\n"
    "pvZ99l6PUzds3vJULqGrfCWLfcOhRANCAATyC/RIYRbHW1+2moK0A2Rd+NblOyer\n"
    "bmrBZHBx3F6zHqjYOVZqFc3vabeDKN0LoZPeOHCtqEyrKx0OpW47p9B4\n"
    "-----END PRIVATE KEY-----\n";

static void test_examples_load(void **state)
{
    static const char *const names[] = {"01-allowlist.jsonc",
                                        "02-extends.jsonc",
                                        "03-header-keys.jsonc",
                                        "04-basic-auth.jsonc",
                                        "05-url-path.jsonc",
                                        "06-query-param.jsonc",
                                        "07-endpoint-rules.jsonc",
                                        "08-policy-approval.jsonc",
                                        "09-capture.jsonc",
                                        "10-oauth2.jsonc",
                                        "11-aws.jsonc",
                                        "12-tls-and-upstream.jsonc",
                                        "13-tolerated.jsonc",
                                        "company-base.json"};
    struct gate_world g;
    char path[512];
    (void)state;
    start(&g);
    setenv("CERTS", g.w.dir, 1);
    put(&g.w, "ca.pem", certificate);
    put(&g.w, "client.pem", certificate);
    put(&g.w, "client.key", private_key);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", EXAMPLES, names[i]);
        assert_true(setting_set(&g.flags.profile, str_from(path), STR("--profile")));
        runtime_unref(running(&g));
        resolved(&g);
        if (i == 1) { /* what its comment says */
            assert_null(g.config.network_profile.value.p);
            assert_int_equal(g.config.gates.n, 1);
            assert_int_equal(g.config.gates.v[0].endpoints.n, 2);
            expect_list(&g.config.credentials, "github tracker");
            expect_list(&g.config.deny, "old.example.com older.example.com mac-only.example.com");
            expect_list(&g.config.bypass, "*.corp.example.com");
            assert_str(g.config.upstream_proxy.value, "proxy.corp.example.com:3128");
        }
        done(&g);
    }
    end(&g);
}
#endif

/* Out of memory at every place: an error, and nothing is left behind. */
static void test_refused_memory(void **state)
{
    struct gate_world g;
    enum err e = ERR_NOMEM;
    (void)state;
    start(&g);
    use_profile(&g,
                "{\"network\": {\"network_profile\": \"minimal\", \"credentials\": [\"k\"], "
                "\"no_proxy\": [\"r\"],\n"
                "\"allow_domain\": [\"https://g.test/x\", {\"domain\": \"h.test\", \"endpoints\": "
                "[{\"method\": \"GET\", \"path\": \"/a/*\"}]}], \"custom_credentials\": {\"k\": "
                "{\"upstream\": \"https://k.test/v1\", \"credential_key\": \"K\"}}},"
                "\"security\": {\"approval_backends\": {\"t\": {\"type\": \"terminal\"}}}}");
    flag(&g.flags.allow, "a.test", "--allow-domain");
    for (int n = 0; e && n < 50000; n += n < 400 ? 1 : 7) {
        struct runtime *r = NULL;
        char *report = NULL;
        struct errctx ctx = {0};
        mem_fail_after(n, true);
        e = runtime_load(&g.flags, g.token, 1, &r, &report, &ctx);
        mem_fail_after(-1, false);
        if (e)
            assert_null(r);
        runtime_unref(r);
        mem_free(report);
    }
    assert_int_equal(e, ERR_OK);
    end(&g);
}

/* ---- size ---- */

static size_t held(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void test_seventy_thousand_hosts(void **state)
{
    enum { HOSTS = 70000 };
    struct gate_world g;
    struct timespec from, to;
    struct buf text;
    (void)state;
    start(&g);
    buf_init(&text, 8 << 20);
    buf_add_z(&text, "{\"network\": {\"allow_domain\": [\n");
    for (unsigned i = 0; i < HOSTS; i++)
        buf_printf(&text, "\"host-%u.example%u.test\",\n", i, i % 100);
    buf_add_z(&text, "]}}");
    buf_add_c(&text, 0);
    assert_true(buf_ok(&text));
    use_profile(&g, text.p);
    buf_fini(&text);
    size_t before = held();
    (void)before;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    struct runtime *r = running(&g);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    print_message("%d hosts in %.0f ms\n", HOSTS, ms);
    assert_int_equal(judge(r, "host-69999.example99.test", 443), 'A');
    assert_int_equal(judge(r, "host-70000.example99.test", 443), 'R');
    assert_true(ms < LIMIT_MS);
#if LIMIT_MS < 1000 /* sanitizers count for themselves */
    size_t now = held();
    print_message("%zu bytes each\n", (now - before) / HOSTS);
    assert_true((now - before) / HOSTS < 1024);
#endif
    runtime_unref(r);
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_and_profile),
        cmocka_unit_test(test_flags_are_not_touched),
        cmocka_unit_test(test_services),
        cmocka_unit_test(test_approvals_and_captures),
        cmocka_unit_test(test_domain_vectors),
        cmocka_unit_test(test_gates_add_up),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_later_kinds_are_refused),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_everything_is_reported_at_once),
        cmocka_unit_test(test_no_proxy_conflicts),
        cmocka_unit_test(test_tls_paths),
#ifdef EXAMPLES
        cmocka_unit_test(test_examples_load),
#endif
        cmocka_unit_test(test_refused_memory),
        cmocka_unit_test(test_seventy_thousand_hosts),
    };
    bool locked;
    secret_region_init(&locked);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    secret_region_fini();
    return failed;
}
