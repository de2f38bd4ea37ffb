#include "cli_unit.h"
#include "base/secret.h"
#include "cli/proxy_options.h"
#include <stdio.h>

#define WORDS(...) ((const char *const[]){"proxy", __VA_ARGS__, NULL})
#define NO_WORDS ((const char *const[]){"proxy", NULL})
#define ENV(...) ((char *const[]){__VA_ARGS__, NULL})
#define NO_ENV ((char *const[]){NULL})

struct run {
    struct line line;
    struct args args;
    struct config config;
    struct settings warnings;
    struct buf error;
    int code;
};

static void run(struct run *r, const char *const *words, char *const *env)
{
    line_set(&r->line, words);
    buf_init(&r->error, 8192);
    if (!args_parse(r->line.argc, r->line.argv, &r->args, &r->error))
        fail_msg("%.*s", STR_ARG(buf_str(&r->error)));
    r->code = cli_proxy_parse(&r->args, env, &r->config, &r->warnings, &r->error);
}

static void drop(struct run *r)
{
    config_fini(&r->config);
    settings_fini(&r->warnings);
    args_fini(&r->args);
    buf_fini(&r->error);
    line_free(&r->line);
}

static void run_ok(struct run *r, const char *const *words, char *const *env)
{
    run(r, words, env);
    if (r->code)
        fail_msg("exit %d: %.*s", r->code, STR_ARG(buf_str(&r->error)));
    assert_int_equal(r->error.n, 0);
}

/* "a|b|c" of the values and the origin that all of them have. */
static void assert_settings(const struct settings *s, const char *values, const char *origin)
{
    struct str rest = str_from(*values ? values : NULL), value;
    size_t n = 0;
    while (str_next(&rest, '|', &value)) {
        assert_true(n < s->n);
        if (!str_eq(s->v[n].value, value))
            fail_msg("got %.*s, want %.*s", STR_ARG(s->v[n].value), STR_ARG(value));
        assert_true(str_eq(s->v[n].origin, str_from(origin)));
        n++;
    }
    assert_int_equal(s->n, n);
}

static void test_defaults(void **state)
{
    struct run r;
    struct config plain;
    (void)state;
    config_init(&plain);
    run_ok(&r, NO_WORDS, NO_ENV);
    assert_true(config_hash(&r.config) == config_hash(&plain));
    assert_null(r.config.pass);
    assert_int_equal(r.warnings.n, 0);
    drop(&r);
    config_fini(&plain);
}

/* ---- every option once, by flag and by variable ---- */

static void check_listen(const struct config *c)
{
    assert_int_equal(c->listen.n, 1);
    assert_str(c->listen.v[0].value, "[::1]:8080");
}
static void check_port(const struct config *c)
{
    assert_int_equal(c->port, 65535);
}
static void check_server_name(const struct config *c)
{
    assert_str(c->server_names.v[0].value, "gate.test");
}
static void check_pass(const struct config *c)
{
    assert_true(secret_equal(c->pass, STR("p@ss/w:rd %")));
}
static void check_max(const struct config *c)
{
    assert_true(c->max_connections_given);
    assert_int_equal(c->max_connections, 0);
}
static void check_allow(const struct config *c)
{
    assert_str(c->allow.v[0].value, "*.a.test:443");
}
static void check_deny(const struct config *c)
{
    assert_str(c->deny.v[0].value, "private");
}
static void check_upstream(const struct config *c)
{
    assert_str(c->upstream_proxy.value, "socks5://u:p@h.test:1080");
}
static void check_timeout(const struct config *c)
{
    assert_int_equal(c->timeout_ms[TIMEOUT_CONNECT], 1500);
    assert_int_equal(c->timeout_ms[TIMEOUT_HEAD], 30000);
}
static void check_drain(const struct config *c)
{
    assert_int_equal(c->drain_timeout_ms, 0);
}
static void check_workers(const struct config *c)
{
    assert_int_equal(c->workers, 3);
}
static void check_audit(const struct config *c)
{
    assert_str(c->audit_log.v[0].value, "fd:3");
}
static void check_output(const struct config *c)
{
    assert_true(c->output_json);
}
static void check_env_file(const struct config *c)
{
    assert_str(c->env_file.value, "/tmp/e v");
}
static void check_log_format(const struct config *c)
{
    assert_true(c->log_json);
}
static void check_log_file(const struct config *c)
{
    assert_str(c->log_file.value, "\xff.log");
}
static void check_profile(const struct config *c)
{
    assert_str(c->profile.value, "./dev.jsonc");
}

static void check_network_profile(const struct config *c)
{
    assert_str(c->network_profile.value, "minimal");
}

static void check_credential(const struct config *c)
{
    assert_int_equal(c->credentials.n, 1);
    assert_str(c->credentials.v[0].value, "github");
}

static void check_theme(const struct config *c)
{
    (void)c;
}

static const struct {
    enum option_id id;
    const char *value;
    void (*check)(const struct config *c);
} values[] = {
    {OPTION_LISTEN, "[::1]:8080", check_listen},
    {OPTION_PORT, "65535", check_port},
    {OPTION_SERVER_NAME, "gate.test", check_server_name},
    {OPTION_PASS, "p@ss/w:rd %", check_pass},
    {OPTION_MAX_CONNECTIONS, "0", check_max},
    {OPTION_ALLOW_DOMAIN, "*.a.test:443", check_allow},
    {OPTION_DENY_DOMAIN, "private", check_deny},
    {OPTION_UPSTREAM_PROXY, "socks5://u:p@h.test:1080", check_upstream},
    {OPTION_TIMEOUT, "connect=1.5", check_timeout},
    {OPTION_DRAIN_TIMEOUT, "0", check_drain},
    {OPTION_WORKERS, "3", check_workers},
    {OPTION_AUDIT_LOG, "fd:3", check_audit},
    {OPTION_OUTPUT, "json", check_output},
    {OPTION_ENV_FILE, "/tmp/e v", check_env_file},
    {OPTION_LOG_FORMAT, "json", check_log_format},
    {OPTION_LOG_FILE, "\xff.log", check_log_file},
    {OPTION_THEME, "no-such-theme", check_theme},
    {OPTION_PROFILE, "./dev.jsonc", check_profile},
    {OPTION_NETWORK_PROFILE, "minimal", check_network_profile},
    {OPTION_CREDENTIAL, "github", check_credential},
};

/* Case 95: a flag and its variable do the same; the flag hides the variable, an empty variable
 * counts as unset. */
static void test_each_value_by_flag_and_variable(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        const struct option_row *row = option_row(values[i].id);
        char flag[128], variable[128], rubbish[128], empty[128];
        struct run r;
        assert_true(snprintf(flag, sizeof(flag), "--%s=%s", row->name, values[i].value) > 0);
        assert_true(snprintf(variable, sizeof(variable), "%s=%s", row->env, values[i].value) > 0);
        assert_true(snprintf(rubbish, sizeof(rubbish), "%s=\x01 *", row->env) > 0);
        assert_true(snprintf(empty, sizeof(empty), "%s=", row->env) > 0);
        run_ok(&r, WORDS(flag), NO_ENV);
        values[i].check(&r.config);
        drop(&r);
        run_ok(&r, NO_WORDS, ENV(variable));
        values[i].check(&r.config);
        drop(&r);
        run_ok(&r, WORDS(flag), ENV(rubbish));
        values[i].check(&r.config);
        drop(&r);
        run_ok(&r, NO_WORDS, ENV(empty));
        assert_null(r.config.pass);
        assert_int_equal(r.config.listen.n + r.config.allow.n + r.config.deny.n + r.config.bypass.n,
                         0);
        assert_false(r.config.max_connections_given);
        drop(&r);
    }
}

static void test_flags(void **state)
{
    struct run r;
    (void)state;
    run_ok(&r, WORDS("--no-auth", "--audit-fail-closed", "-s"), NO_ENV);
    assert_true(r.config.no_auth);
    assert_true(r.config.audit_fail_closed);
    assert_true(r.config.silent);
    assert_int_equal(r.config.log_level, LOG_OFF);
    drop(&r);
    run_ok(&r, WORDS("--output", "text", "--log-format=text"), ENV((char *)"NONO_OUTPUT=json"));
    assert_false(r.config.output_json);
    assert_false(r.config.log_json);
    drop(&r);
}

static void test_lists(void **state)
{
    struct run r;
    (void)state;
    run_ok(&r,
           WORDS("--allow-domain", "b", "--allow-domain=a,c", "--upstream-bypass", " x , ,y",
                 "--upstream-bypass=z", "--upstream-proxy", "p:1"),
           NO_ENV);
    assert_settings(&r.config.allow, "b|a,c", "--allow-domain"); /* commas are for variables */
    assert_settings(&r.config.bypass, "x|y|z", "--upstream-bypass");
    drop(&r);
    run_ok(&r, NO_WORDS,
           ENV((char *)"NONO_ALLOW_DOMAIN= a.test ,,b.test:443, https://h.test/{x,y}/{z ,",
               (char *)"NONO_DENY_DOMAIN=d.test,private", (char *)"NONO_UPSTREAM_BYPASS=x,y",
               (char *)"NONO_UPSTREAM_PROXY=p:1", (char *)"NONO_AUDIT_LOG=/a,-,fd:4",
               (char *)"NONO_TIMEOUT=head=1,dns=2", (char *)"NONO_SERVER_NAME=a,b",
               (char *)"NONO_LISTEN=::1,unix:/s,mode=0600,group=g,127.0.0.1:1"));
    assert_settings(&r.config.allow, "a.test|b.test:443|https://h.test/{x,y}/{z",
                    "NONO_ALLOW_DOMAIN");
    assert_settings(&r.config.deny, "d.test|private", "NONO_DENY_DOMAIN");
    assert_settings(&r.config.bypass, "x|y", "NONO_UPSTREAM_BYPASS");
    assert_settings(&r.config.audit_log, "/a|-|fd:4", "NONO_AUDIT_LOG");
    assert_settings(&r.config.server_names, "a|b", "NONO_SERVER_NAME");
    assert_settings(&r.config.listen, "::1|unix:/s,mode=0600,group=g|127.0.0.1:1", "NONO_LISTEN");
    assert_int_equal(r.config.timeout_ms[TIMEOUT_HEAD], 1000);
    assert_int_equal(r.config.timeout_ms[TIMEOUT_DNS], 2000);
    drop(&r);
}

static void test_origins(void **state)
{
    struct run r;
    (void)state;
    run_ok(&r, WORDS("--proxy-allow", "a", "--upstream-proxy=p:1"),
           ENV((char *)"NONO_ALLOW_DOMAIN=hidden", (char *)"NONO_DENY_DOMAIN=d"));
    assert_settings(&r.config.allow, "a", "--proxy-allow");
    assert_settings(&r.config.deny, "d", "NONO_DENY_DOMAIN");
    assert_str(r.config.upstream_proxy.origin, "--upstream-proxy");
    drop(&r);
}

/* ---- old names (section 1.4) ---- */

static void assert_warnings(const struct run *r, const char *texts)
{
    struct str rest = str_from(*texts ? texts : NULL), text;
    size_t n = 0;
    while (str_next(&rest, '|', &text)) {
        assert_true(n < r->warnings.n);
        if (!str_eq(r->warnings.v[n].value, text))
            fail_msg("got \"%.*s\"", STR_ARG(r->warnings.v[n].value));
        n++;
    }
    assert_int_equal(r->warnings.n, n);
}

static void test_old_names_warn_in_table_order_once_each(void **state)
{
    struct run r;
    (void)state;
    run_ok(&r,
           WORDS("--external-proxy=p:1", "--proxy-allow=b", "--allow-proxy", "a", "--proxy-allow=c",
                 "--external-proxy-bypass", "x"),
           ENV((char *)"NONO_EXTERNAL_PROXY=q:1", (char *)"NONO_ALLOW_PROXY=z"));
    assert_warnings(&r, "--allow-proxy is an old name; use --allow-domain|"
                        "--proxy-allow is an old name; use --allow-domain|"
                        "--external-proxy is an old name; use --upstream-proxy|"
                        "--external-proxy-bypass is an old name; use --upstream-bypass|"
                        "NONO_ALLOW_PROXY is an old name; use NONO_ALLOW_DOMAIN|"
                        "NONO_EXTERNAL_PROXY is an old name; use NONO_UPSTREAM_PROXY");
    assert_int_equal(r.config.allow.n, 3);
    assert_str(r.config.allow.v[1].value, "a");
    assert_str(r.config.upstream_proxy.value, "p:1");
    drop(&r);
}

static void test_old_variables(void **state)
{
    struct run r;
    (void)state;
    run_ok(&r, NO_WORDS, ENV((char *)"NONO_PROXY_ALLOW=late", (char *)"NONO_ALLOW_PROXY=early"));
    assert_settings(&r.config.allow, "early", "NONO_ALLOW_PROXY");
    assert_warnings(&r, "NONO_ALLOW_PROXY is an old name; use NONO_ALLOW_DOMAIN|"
                        "NONO_PROXY_ALLOW is an old name; use NONO_ALLOW_DOMAIN");
    drop(&r);
    run_ok(&r, NO_WORDS, ENV((char *)"NONO_PROXY_ALLOW=old", (char *)"NONO_ALLOW_DOMAIN=new"));
    assert_settings(&r.config.allow, "new", "NONO_ALLOW_DOMAIN");
    assert_int_equal(r.warnings.n, 1);
    drop(&r);
    run_ok(&r, NO_WORDS,
           ENV((char *)"NONO_PROXY_ALLOW=", (char *)"NONO_EXTERNAL_PROXY=p:1",
               (char *)"NONO_EXTERNAL_PROXY_BYPASS=a,b", (char *)"NONO_ALLOW_DOMAIN="));
    assert_int_equal(r.config.allow.n, 0);
    assert_settings(&r.config.bypass, "a|b", "NONO_EXTERNAL_PROXY_BYPASS");
    assert_str(r.config.upstream_proxy.value, "p:1");
    assert_int_equal(r.warnings.n, 2);
    drop(&r);
}

/* ---- log level (section 1.5) ---- */

static void test_log_level(void **state)
{
    static const struct {
        const char *flag, *ours, *rust;
        enum log_level level;
    } cases[] = {
        {NULL, NULL, NULL, LOG_WARN},
        {"-v", NULL, NULL, LOG_INFO},
        {"-vv", NULL, NULL, LOG_DEBUG},
        {"-vvv", NULL, NULL, LOG_TRACE},
        {"-vvvv", NULL, NULL, LOG_TRACE},
        {"-v", "NONO_LOG=trace", "RUST_LOG=debug", LOG_INFO},
        {"-vs", "NONO_LOG=trace", NULL, LOG_OFF},
        {NULL, "NONO_LOG=error", "RUST_LOG=debug", LOG_ERROR},
        {NULL, "NONO_LOG=off", NULL, LOG_OFF},
        {NULL, "NONO_LOG=", "RUST_LOG=debug", LOG_DEBUG},
        {NULL, NULL, "RUST_LOG=hyper=trace,nono_proxy=info", LOG_INFO},
        {NULL, NULL, "RUST_LOG=???", LOG_WARN},
        {"-v", "NONO_LOG=loud", NULL, LOG_INFO},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *env[3] = {0};
        size_t n = 0;
        struct run r;
        if (cases[i].ours)
            env[n++] = (char *)cases[i].ours;
        if (cases[i].rust)
            env[n++] = (char *)cases[i].rust;
        run_ok(&r, cases[i].flag ? WORDS(cases[i].flag) : NO_WORDS, env);
        assert_int_equal(r.config.log_level, cases[i].level);
        drop(&r);
    }
}

/* ---- what is refused ---- */

struct refused {
    const char *const *words;
    const char *env; /* one variable, or NULL */
    int code;
    const char *says, *more;
};

static void check_refused(const struct refused *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct run r;
        run(&r, cases[i].words, cases[i].env ? ENV((char *)cases[i].env) : NO_ENV);
        if (r.code != cases[i].code)
            fail_msg("case %zu: exit %d: %.*s", i, r.code, STR_ARG(buf_str(&r.error)));
        if (!buf_holds(&r.error, cases[i].says) || !buf_holds(&r.error, cases[i].more))
            fail_msg("case %zu says: %.*s", i, STR_ARG(buf_str(&r.error)));
        assert_false(buf_holds(&r.error, "hunter2"));
        drop(&r);
    }
}

static void test_usage_errors(void **state)
{
    const struct refused cases[] = {
        {WORDS("--port", "x"), NULL, 2, "--port 'x'", "0 to 65535"},
        {WORDS("--port", "65536"), NULL, 2, "--port '65536'", "0 to 65535"},
        {WORDS("--port=-1"), NULL, 2, "--port '-1'", "0 to 65535"},
        {WORDS("--port", "+1"), NULL, 2, "--port '+1'", "0 to 65535"},
        {WORDS("--port", " 1"), NULL, 2, "--port ' 1'", "0 to 65535"},
        {NO_WORDS, "NONO_PORT=x", 2, "NONO_PORT 'x'", "0 to 65535"},
        {WORDS("--listen", "localhost"), NULL, 2, "--listen 'localhost'", "names are not taken"},
        {WORDS("--listen", "1.2.3"), NULL, 2, "--listen '1.2.3'", "no IP address"},
        {NO_WORDS, "NONO_LISTEN=::1,localhost", 2, "NONO_LISTEN 'localhost'", "no IP address"},
        {WORDS("--listen", "unix:/x,mode=9"), NULL, 2, "--listen", "octal"},
        {WORDS("--server-name", "a b"), NULL, 2, "--server-name 'a b'", ":"},
        {WORDS("--max-connections", "many"), NULL, 2, "--max-connections 'many'", "0 is unlimited"},
        {WORDS("--max-connections=-1"), NULL, 2, "--max-connections '-1'", "number"},
        {NO_WORDS, "NONO_PROXY_MAX_CONNECTIONS=1e3", 2, "NONO_PROXY_MAX_CONNECTIONS", "number"},
        {WORDS("--workers", "x"), NULL, 2, "--workers 'x'", "1 to 1024"},
        {WORDS("--workers=-1"), NULL, 2, "--workers '-1'", "1 to 1024"},
        {WORDS("--workers=1025"), NULL, 2, "--workers '1025'", "1 to 1024"},
        {WORDS("--output", "xml"), NULL, 2, "--output 'xml'", "text or json"},
        {WORDS("--output", "JSON"), NULL, 2, "--output 'JSON'", "text or json"},
        {WORDS("--log-format", "xml"), NULL, 2, "--log-format 'xml'", "text or json"},
        {WORDS("--drain-timeout", "soon"), NULL, 2, "--drain-timeout 'soon'", "seconds"},
        {WORDS("--drain-timeout=-1"), NULL, 2, "--drain-timeout '-1'", "seconds"},
        {WORDS("--drain-timeout=1.2345"), NULL, 2, "--drain-timeout", "seconds"},
        {WORDS("--drain-timeout=1."), NULL, 2, "--drain-timeout", "seconds"},
        {WORDS("--drain-timeout=31536001"), NULL, 2, "--drain-timeout", "seconds"},
        {WORDS("--timeout", "10"), NULL, 2, "--timeout '10'", "NAME=SECONDS"},
        {WORDS("--timeout", "conect=10"), NULL, 2, "--timeout 'conect=10'",
         "did you mean connect?"},
        {WORDS("--timeout", "x=10"), NULL, 2, "no such time limit", "head, handshake, dns"},
        {WORDS("--timeout", "dns=0"), NULL, 2, "--timeout 'dns=0'", "above 0"},
        {WORDS("--timeout", "dns="), NULL, 2, "--timeout 'dns='", "seconds"},
        {WORDS("--timeout", "dns=1", "--timeout", "dns=2"), NULL, 2, "--timeout 'dns=2'", "twice"},
        {WORDS("--audit-log", "fd:x"), NULL, 2, "--audit-log 'fd:x'", "fd:N"},
        {WORDS("--audit-log", "fd:"), NULL, 2, "--audit-log 'fd:'", "fd:N"},
        {WORDS("--upstream-bypass", " , "), NULL, 2, "--upstream-bypass ' , '", "names nothing"},
        {WORDS("--no-auth", "--pass", "hunter2"), NULL, 2, "--pass and --no-auth", "exclude"},
        {WORDS("--no-auth", "--pass="), NULL, 2, "--pass and --no-auth", "exclude"},
        {WORDS("--no-auth"), "NONO_PROXY_PASS=hunter2", 2, "NONO_PROXY_PASS and --no-auth", ""},
        {WORDS("--pass", "hunter2\n"), NULL, 2, "--pass", "control characters"},
        {WORDS("--pass", "hunter2\t"), NULL, 2, "--pass", "control characters"},
        {WORDS("--pass", "hunter2\x7f"), NULL, 2, "--pass", "control characters"},
        {NO_WORDS, "NONO_PROXY_PASS=hunter2\r", 2, "NONO_PROXY_PASS", "control characters"},
        {NO_WORDS, "NONO_PROXY_PASS=hunter2\xff", 2, "NONO_PROXY_PASS", "UTF-8"},
        {NO_WORDS, "NONO_ALLOW_DOMAIN=\xff", 2, "NONO_ALLOW_DOMAIN", "UTF-8"},
        {NO_WORDS, "NONO_LOG=loud", 2, "NONO_LOG 'loud'", "trace or off"},
        {WORDS("--port", "\x1b[2J"), NULL, 2, "'\\x1b[2J'", ""},
        {WORDS("--extends", "a"), NULL, 2, "--extends needs a profile", "--profile"},
        {NO_WORDS, "NONO_EXTENDS=a,b", 2, "NONO_EXTENDS needs a profile", ""},
    };
    (void)state;
    check_refused(cases, ARRAY_LEN(cases));
}

static void test_configuration_errors(void **state)
{
    const struct refused cases[] = {
        {WORDS("--pass", ""), NULL, 1, "--pass is empty", "random token"},
        {WORDS("--pass="), "NONO_PROXY_PASS=hunter2", 1, "--pass is empty", ""},
        {WORDS("--no-auth", "--listen", "10.0.0.1"), NULL, 1, "--no-auth", "10.0.0.1"},
        {WORDS("--no-auth", "--listen", "0.0.0.0"), NULL, 1, "--no-auth", "loopback"},
        {WORDS("--no-auth", "--listen", "unix:/x,mode=0666"), NULL, 1, "--no-auth", "mode=0660"},
        {WORDS("--no-auth"), "NONO_LISTEN=::", 1, "--no-auth", "NONO_LISTEN"},
        {WORDS("--upstream-bypass", "a"), NULL, 1, "--upstream-bypass", "--upstream-proxy"},
        {NO_WORDS, "NONO_UPSTREAM_BYPASS=a", 1, "NONO_UPSTREAM_BYPASS", "--upstream-proxy"},
    };
    (void)state;
    check_refused(cases, ARRAY_LEN(cases));
}

/* --extends goes with a profile from either side; what a bypass list needs may be in the profile.
 */
static void test_profile_options(void **state)
{
    struct run r;
    (void)state;
    run_ok(&r, WORDS("-p", "dev", "--extends", "a", "--extends=./b.json", "--allow-http2"),
           ENV((char *)"NONO_EXTENDS=hidden"));
    assert_str(r.config.profile.value, "dev");
    assert_str(r.config.profile.origin, "-p");
    assert_settings(&r.config.extends, "a|./b.json", "--extends");
    assert_true(r.config.allow_http2);
    drop(&r);
    run_ok(&r, WORDS("--extends", "a"), ENV((char *)"NONO_PROFILE=dev"));
    assert_str(r.config.profile.origin, "NONO_PROFILE");
    assert_false(r.config.allow_http2);
    drop(&r);
    run_ok(&r, WORDS("-pdev", "--upstream-bypass", "x.test", "--timeout", "dns=1"), NO_ENV);
    assert_true(r.config.timeout_given[TIMEOUT_DNS]);
    assert_int_equal(r.config.credentials.n, 0);
    assert_false(r.config.timeout_given[TIMEOUT_HEAD]);
    drop(&r);
}

static void test_credentials(void **state)
{
    struct run r;
    (void)state;
    run_ok(&r, WORDS("--credential", "b", "--proxy-credential=a"), NO_ENV);
    assert_int_equal(r.config.credentials.n, 2);
    assert_str(r.config.credentials.v[1].origin, "--proxy-credential");
    assert_warnings(&r, "--proxy-credential is an old name; use --credential (it goes with "
                        "version 1.0.0)");
    drop(&r);
    run_ok(&r, NO_WORDS, ENV((char *)"NONO_PROXY_CREDENTIAL=x, y"));
    assert_settings(&r.config.credentials, "x|y", "NONO_PROXY_CREDENTIAL");
    drop(&r);
}

/* `why` takes the policy's options and variables, and is blind to all others. */
static void test_why_reads_the_policy_only(void **state)
{
    struct run r;
    (void)state;
    line_set(&r.line, (const char *const[]){"why", "--host", "x", "--allow-domain", "a", NULL});
    buf_init(&r.error, 8192);
    assert_true(args_parse(r.line.argc, r.line.argv, &r.args, &r.error));
    r.code = cli_proxy_parse(&r.args,
                             ENV((char *)"NONO_PORT=bad", (char *)"NONO_LOG=bad",
                                 (char *)"NONO_LISTEN=bad,", (char *)"NONO_PROXY_PASS=\x01",
                                 (char *)"NONO_DENY_DOMAIN=d", (char *)"NONO_NETWORK_PROFILE=n"),
                             &r.config, &r.warnings, &r.error);
    assert_int_equal(r.code, 0);
    assert_settings(&r.config.allow, "a", "--allow-domain");
    assert_settings(&r.config.deny, "d", "NONO_DENY_DOMAIN");
    assert_str(r.config.network_profile.value, "n");
    drop(&r);
}

static void test_longest_password(void **state)
{
    static char word[7 + 4097 + 1] = "--pass=";
    struct run r;
    (void)state;
    memset(word + 7, 'a', 4096);
    run_ok(&r, WORDS(word), NO_ENV);
    assert_int_equal(secret_borrow(r.config.pass).n, 4096);
    drop(&r);
    word[7 + 4096] = 'a';
    run(&r, WORDS(word), NO_ENV);
    assert_int_equal(r.code, 2);
    assert_true(buf_holds(&r.error, "longer than 4096"));
    drop(&r);
}

static void test_harmless_variables(void **state)
{
    struct run r;
    (void)state;
    run_ok(&r, NO_WORDS,
           ENV((char *)"NONO_SOMETHING=x", (char *)"NONO_PROFILE=", (char *)"NONO_NO_UPDATE_CHECK=",
               (char *)"NONO_UPDATE_URL=x", (char *)"NONO_ALLOW_DOMAIN=,,",
               (char *)"NONO_THEME=x"));
    assert_int_equal(r.config.allow.n, 0);
    drop(&r);
}

static void test_secrets_are_wiped(void **state)
{
    char pass[] = "NONO_PROXY_PASS=hunter2", proxy[] = "NONO_EXTERNAL_PROXY=http://u:hunter2@p:1";
    char plain[] = "NONO_UPSTREAM_PROXY=p:1";
    char *env[] = {pass, plain, proxy, NULL};
    struct run r;
    (void)state;
    run_ok(&r,
           WORDS("--pass", "hunter2", "--upstream-proxy=u:hunter2@p:1", "--allow-domain", "keep"),
           env);
    cli_proxy_wipe(&r.args, env);
    assert_ptr_equal(env[0], plain);
    assert_null(env[1]);
    assert_int_equal(pass[16], 0);
    assert_int_equal(proxy[20], 0);
    for (int i = 1; i < r.line.argc; i++)
        assert_null(strstr(r.line.argv[i], "hunter2"));
    assert_string_equal(r.line.argv[5], "--allow-domain");
    assert_string_equal(r.line.argv[6], "keep");
    assert_true(secret_equal(r.config.pass, STR("hunter2"))); /* a copy */
    drop(&r);
}

static void test_refused_memory(void **state)
{
    bool done = false;
    (void)state;
    for (int after = 0; !done && after < 200; after++) {
        struct run r;
        line_set(&r.line, WORDS("--allow-proxy=a", "--pass=x", "--listen=::1"));
        buf_init(&r.error, 8192);
        mem_fail_after(after, false);
        r.warnings = (struct settings){0};
        config_init(&r.config);
        bool parsed = args_parse(r.line.argc, r.line.argv, &r.args, &r.error);
        r.code = parsed ? cli_proxy_parse(&r.args, NO_ENV, &r.config, &r.warnings, &r.error) : 2;
        mem_fail_after(-1, false);
        done = r.code == 0;
        drop(&r);
    }
    assert_true(done);
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
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_each_value_by_flag_and_variable),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_old_names_warn_in_table_order_once_each),
        cmocka_unit_test(test_old_variables),
        cmocka_unit_test(test_log_level),
        cmocka_unit_test(test_usage_errors),
        cmocka_unit_test(test_configuration_errors),
        cmocka_unit_test(test_longest_password),
        cmocka_unit_test(test_profile_options),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_why_reads_the_policy_only),
        cmocka_unit_test(test_harmless_variables),
        cmocka_unit_test(test_secrets_are_wiped),
        cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
