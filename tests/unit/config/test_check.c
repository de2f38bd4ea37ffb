/* Every rule of the loader beyond shape, with the place it is found at (decision W3). A ^ in a text
 * marks that place. */
#include "world.h"

#include "config/profile_int.h"

struct row {
    const char *text, *says, *pointer;
};

static void check(struct world *w, const struct row *r)
{
    char plain[2048];
    size_t n = 0;
    unsigned line = 1, column = 1, at_line = 0, at_column = 0;
    for (const char *p = r->text; *p; p++) {
        if (*p == '^') {
            at_line = line;
            at_column = column;
            continue;
        }
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
        plain[n++] = *p;
    }
    plain[n] = 0;
    put(w, "p.json", plain);
    enum err e = load(w, "@p.json");
    const struct problem *p = find_problem(&w->problems, r->says);
    if (e != ERR_INVALID || !p) {
        print_problems(&w->problems);
        fail_msg("%s: wanted \"%s\"", plain, r->says);
    }
    if (p->at.line != at_line || p->at.column != at_column ||
        !str_eq(p->pointer, str_from(r->pointer))) {
        print_problems(&w->problems);
        fail_msg("%s: wanted %u:%u %s, got %u:%u", plain, at_line, at_column, r->pointer,
                 p->at.line, p->at.column);
    }
    if (w->problems.errors != 1) {
        print_problems(&w->problems);
        fail_msg("%s: more than one problem", plain);
    }
}

static void check_all(const struct row *rows, size_t n)
{
    struct world w;
    world_init(&w);
    for (size_t i = 0; i < n; i++)
        check(&w, &rows[i]);
    world_fini(&w);
}

#define NET(inside) "{\"network\": {\n" inside "}}"

static void test_network(void **state)
{
    static const struct row rows[] = {
        {NET("\"allow_domain\": [\"a.test\", ^\"a.*.test\"]"), "a * stands alone",
         "/network/allow_domain/1"},
        {NET("\"allow_domain\": [{\"domain\": ^\"127.1\"}]"), "127.1", "/network/allow_domain/0"},
        {NET("\"allow_domain\": [^\"0x7f.1\"]"), "0x7f.1", "/network/allow_domain/0"},
        {NET("\"allow_domain\": [^\"a.test:0\"]"), "port", "/network/allow_domain/0"},
        {NET("\"allow_domain\": [^\"\"]"), "empty", "/network/allow_domain/0"},
        {NET("\"allow_domain\": [^\"x--y..test\"]"), "label", "/network/allow_domain/0"},
        {NET("\"allow_domain\": [^\"https://a.test/[x\"]"), "is not closed",
         "/network/allow_domain/0"},
        {NET("\"allow_domain\": [^\"https://a.test/../x\"]"), "dot segment",
         "/network/allow_domain/0"},
        {NET("\"allow_domain\": [^\"ftp://a.test/x\"]"), "is no scheme", "/network/allow_domain/0"},
        {NET("\"allow_domain\": [^\"https://u@a.test/x\"]"), "path rules for",
         "/network/allow_domain/0"},
        {NET("\"allow_domain\": [{\"domain\": ^\"*\", \"endpoints\": [{\"method\": \"GET\", "
             "\"path\": \"/\"}]}]"),
         "path rules for", "/network/allow_domain/0/domain"},
        {NET("\"allow_domain\": [{\"domain\": ^\"10.0.0.0/8\", \"endpoints\": [{\"method\": "
             "\"GET\", \"path\": \"/\"}]}]"),
         "path rules for", "/network/allow_domain/0/domain"},
        {NET("\"allow_domain\": [{\"domain\": \"a.test\", \"endpoints\": [{\"method\": \"GET\", "
             "\"path\": ^\"/{a\"}]}]"),
         "is not closed", "/network/allow_domain/0/endpoints/0/path"},
        {NET("\"allow_domain\": [{\"domain\": \"a.test\", \"endpoints\": [{\"method\": \"GET\", "
             "\"path\": ^\"x\"}]}]"),
         "pattern \"x\"", "/network/allow_domain/0/endpoints/0/path"},
        {NET("\"allow_domain\": [{\"domain\": \"a.test\", \"endpoints\": [{\"method\": ^\"G ET\", "
             "\"path\": \"/x\"}]}]"),
         "is no method", "/network/allow_domain/0/endpoints/0/method"},
        {NET("\"deny_domain\": [^\"*corp\"]"), "a * stands alone", "/network/deny_domain/0"},
        {NET("\"deny_domain\": [^\"https://a.test\"]"), "URL", "/network/deny_domain/0"},
        {NET("\"upstream_proxy\": \"p.test:1\", \"upstream_bypass\": [^\"*\"]"), "bypass",
         "/network/upstream_bypass/0"},
        {NET("\"upstream_proxy\": ^\"p.test\""), "port is missing", "/network/upstream_proxy"},
        {NET("\"upstream_proxy\": ^\"socks4://p.test:1\""), "SOCKS", "/network/upstream_proxy"},
        {NET("\"network_profile\": ^\"develop\""), "developer", "/network/network_profile"},
        {NET("\"credentials\": [\"github\", ^\"nope\"]"), "there are anthropic, gemini, github",
         "/network/credentials/1"},
        {NET("\"tls_intercept\": {\"ca_validity\": ^\"0s\"}"), "is no duration",
         "/network/tls_intercept/ca_validity"},
        {NET("\"tls_intercept\": {\"leaf_validity\": ^\"1w\"}"), "is no duration",
         "/network/tls_intercept/leaf_validity"},
        {NET("\"tls_intercept\": {\"ca_env_vars\": [^\"LD_PRELOAD\"]}"), "LD_PRELOAD",
         "/network/tls_intercept/ca_env_vars/0"},
        {NET("\"tls_intercept\": {\"ca_env_vars\": [^\"A-B\"]}"), "A-B",
         "/network/tls_intercept/ca_env_vars/0"},
    };
    (void)state;
    check_all(rows, ARRAY_LEN(rows));
}

static void test_no_proxy(void **state)
{
    static const struct row rows[] = {
        {NET("\"no_proxy\": [^\"\"]"), "is empty", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\" redis\"]"), "blank", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"a,b\"]"), "comma", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"http://a\"]"), "URL", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"u@a\"]"), "user", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"10.0.0.0/8\"]"), "block", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"redis:80\"]"), "port", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"[::1]:80\"]"), "[IPv6]", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"*\"]"), "every host", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"a.*.b\"]"), "*", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\".\"]"), "no host", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\".a..b\"]"), "empty label", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"internal\"]"), "metadata", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"*.google.internal\"]"), "metadata", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"169.254.1.1\"]"), "link-local", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"::ffff:169.254.169.254\"]"), "metadata", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\"a.example.com\"]"), "write .NAME", "/network/no_proxy/0"},
        {NET("\"no_proxy\": [^\".a%b\"]"), "character", "/network/no_proxy/0"},
        {NET("\"allow_domain\": [\"a.x.test\"], \"no_proxy\": [\"ok\", ^\".x.test\"]"),
         "past the gateway", "/network/no_proxy/1"},
        {NET("\"allow_domain\": [\"https://a.x.test/y\"], \"no_proxy\": [^\"test\"]"),
         "past the gateway", "/network/no_proxy/0"},
    };
    (void)state;
    check_all(rows, ARRAY_LEN(rows));
}

#define CRED(inside) "{\"network\": {\"custom_credentials\": {\n\"svc\": {" inside "}\n}}}"
#define BASE "\"upstream\": \"https://a.test\", \"credential_key\": \"KEY\", "
#define AT "/network/custom_credentials/svc"

static void test_credentials(void **state)
{
    static const struct row rows[] = {
        {"{\"network\": {\"custom_credentials\": {\n\"svc\": ^{\"upstream\": "
         "\"https://a.test\"}\n}}}",
         "one of credential_key", AT},
        {CRED(BASE "\"aws_auth\": ^{}"), "exclude each other", AT "/aws_auth"},
        {CRED(BASE "\"auth\": ^{\"token_url\": \"https://t.test\", \"client_id\": \"a\", "
                   "\"client_secret\": \"b\"}"),
         "exclude each other", AT "/auth"},
        {CRED("\"upstream\": ^\"http://a.test\", \"credential_key\": \"KEY\""), "plain http",
         AT "/upstream"},
        {CRED("\"upstream\": ^\"a.test\", \"credential_key\": \"KEY\""), "is a URL",
         AT "/upstream"},
        {CRED("\"upstream\": ^\"ftp://a.test\", \"credential_key\": \"KEY\""), "scheme",
         AT "/upstream"},
        {CRED("\"upstream\": ^\"https://u:p@a.test\", \"credential_key\": \"KEY\""), "upstream",
         AT "/upstream"},
        {CRED("\"upstream\": \"https://a.test\", \"credential_key\": ^\"\""), "empty",
         AT "/credential_key"},
        {CRED("\"upstream\": \"https://a.test\", \"credential_key\": ^\"a-b\""), "keyring account",
         AT "/credential_key"},
        {CRED("\"upstream\": \"https://a.test\", \"credential_key\": ^\"vault://a\""),
         "unknown scheme", AT "/credential_key"},
        {CRED("\"upstream\": \"https://a.test\", \"credential_key\": ^\"env://LD_PRELOAD\""),
         "LD_PRELOAD", AT "/credential_key"},
        {"{\"network\": {\"custom_credentials\": {\n\"svc\": ^{\"upstream\": \"https://a.test\", "
         "\"credential_key\": \"file:///x\"}\n}}}",
         "env_var is missing", AT},
        {CRED(BASE "\"env_var\": ^\"a-b\""), "a-b", AT "/env_var"},
        {CRED(BASE "\"env_var\": ^\"path\""), "path", AT "/env_var"},
        {CRED(BASE "\"inject_header\": ^\"a b\""), "header field", AT "/inject_header"},
        {CRED(BASE "\"inject_mode\": \"basic_auth\", \"inject_header\": ^\"a b\""), "header field",
         AT "/inject_header"},
        {CRED(BASE "\"inject_header\": ^\"Host\""), "cannot carry", AT "/inject_header"},
        {CRED(BASE "\"inject_header\": ^\"content-length\""), "cannot carry", AT "/inject_header"},
        {CRED(BASE "\"inject_header\": ^\"Transfer-Encoding\""), "cannot carry",
         AT "/inject_header"},
        {CRED(BASE "\"credential_format\": ^\"a\\n{}\""), "control", AT "/credential_format"},
        {CRED(BASE "\"credential_format\": ^\"a\\u0001{}\""), "control",
         AT "/credential_format"},
        {CRED(BASE "\"credential_format\": ^\"{}\\u007f\""), "control", AT "/credential_format"},
        {"{\"network\": {\"custom_credentials\": {\n\"svc\": ^{" BASE
         "\"inject_mode\": \"url_path\"}\n}}}",
         "needs a path_pattern", AT},
        {CRED(BASE "\"inject_mode\": \"url_path\", \"path_pattern\": ^\"/bot\""), "must hold {}",
         AT "/path_pattern"},
        {CRED(BASE "\"inject_mode\": \"url_path\", \"path_pattern\": ^\"bot{}\""), "begin with /",
         AT "/path_pattern"},
        {CRED(BASE "\"inject_mode\": \"url_path\", \"path_pattern\": \"/b{}\", "
                   "\"path_replacement\": ^\"/{}{}\""),
         "exactly one", AT "/path_replacement"},
        {"{\"network\": {\"custom_credentials\": {\n\"svc\": ^{" BASE
         "\"inject_mode\": \"query_param\"}\n}}}",
         "query_param_name", AT},
        {CRED(BASE "\"inject_mode\": \"query_param\", \"query_param_name\": ^\"a b\""),
         "letters, digits", AT "/query_param_name"},
        {CRED(BASE "\"proxy\": ^{\"inject_mode\": \"url_path\"}"), "needs a path_pattern",
         AT "/proxy"},
        {CRED(BASE "\"inject_mode\": \"url_path\", \"path_pattern\": ^\"/a b{}\""), "blank",
         AT "/path_pattern"},
        {CRED(BASE "\"inject_mode\": \"url_path\", \"path_pattern\": \"/a{}\", "
                   "\"path_replacement\": ^\"/b#{}\""),
         "blank", AT "/path_replacement"},
        {CRED(BASE "\"proxy\": {\"inject_header\": ^\"Connection\"}"), "cannot carry",
         AT "/proxy/inject_header"},
        {CRED(BASE "\"proxy\": {\"inject_header\": ^\"a b\"}"), "header field",
         AT "/proxy/inject_header"},
        {CRED(BASE "\"endpoint_rules\": [{\"method\": \"GET\", \"path\": ^\"/[b-a]\"}]"), "pattern",
         AT "/endpoint_rules/0/path"},
        {CRED(BASE
              "\"endpoint_policy\": {\"approve\": [{\"method\": \"GET\", \"path\": ^\"/a\\\\\"}]}"),
         "", AT "/endpoint_policy/approve/0/path"},
        {CRED(BASE "\"endpoint_policy\": {\"approve\": [{\"method\": \"GET\", \"path\": \"/a\", "
                   "\"backend\": ^\"hook\"}]}"),
         "no approval back end", AT "/endpoint_policy/approve/0/backend"},
        {CRED(BASE "\"endpoint_policy\": {\"default\": {\"decision\": \"approve\", \"backend\": "
                   "^\"hook\"}}"),
         "no approval back end", AT "/endpoint_policy/default/backend"},
        {CRED(BASE "\"tls_client_cert\": ^\"c.pem\""), "go together", AT "/tls_client_cert"},
        {CRED("\"upstream\": \"https://a.test\", \"env_var\": \"A\", \"credential_key\": "
              "^\"cmd://x\""),
         "has no entry", AT "/credential_key"},
        {CRED("\"upstream\": \"https://a.test\", \"aws_auth\": {\"region\": ^\"EU\"}"), "capitals",
         AT "/aws_auth/region"},
        {CRED("\"upstream\": \"https://a.test\", \"aws_auth\": {\"profile\": ^\"a b\"}"), "blanks",
         AT "/aws_auth/profile"},
        {CRED("\"upstream\": \"https://a.test\", \"auth\": ^{\"token_url\": \"https://t.test\", "
              "\"client_id\": \"a\"}"),
         "client_secret", AT "/auth/client_secret"},
        {CRED("\"upstream\": \"https://a.test\", \"auth\": {\"token_url\": ^\"http://t.test\", "
              "\"client_id\": \"a\", \"client_secret\": \"b\"}"),
         "token_url", AT "/auth/token_url"},
        {CRED("\"upstream\": \"https://a.test\", \"spiffe\": {\"type\": \"jwt\", "
              "\"workload_api_socket\": \"s\", \"audience\": [\"a\"], \"inject_header\": ^\"\"}"),
         "header field", AT "/spiffe/inject_header"},
    };
    (void)state;
    check_all(rows, ARRAY_LEN(rows));
}

static void test_what_credentials_may_be(void **state)
{
    static const char *const good[] = {
        CRED(BASE "\"inject_header\": \"x-api-key\""),
        CRED("\"upstream\": \"http://localhost:8080\", \"credential_key\": \"KEY\""),
        CRED("\"upstream\": \"http://127.0.0.9\", \"credential_key\": \"KEY\""),
        CRED("\"upstream\": \"http://0.0.0.0\", \"credential_key\": \"KEY\""),
        CRED("\"upstream\": \"http://[::1]:9/x\", \"credential_key\": \"KEY\""),
        CRED("\"upstream\": \"https://*.a.test/v1/\", \"credential_key\": \"env://KEY\""),
        CRED("\"upstream\": \"https://a.test\", \"credential_key\": \"keyring://nono/key\""),
        CRED("\"upstream\": \"https://a.test\", \"env_var\": \"A\", \"credential_key\": "
             "\"op://V/I/F\""),
        CRED("\"upstream\": \"https://a.test\", \"auth\": {\"token_url\": \"https://t.test/o?v=1\", "
             "\"client_id\": \"a\", \"client_secret\": \"b\"}"),
        CRED(BASE "\"credential_format\": \"no marks\""),
        CRED(BASE "\"endpoint_policy\": {\"default\": \"allow\"}"),
    };
    struct world w;
    (void)state;
    world_init(&w);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        put(&w, "p.json", good[i]);
        expect_ok(&w, "@p.json");
    }
    world_fini(&w);
}

#define CAP(inside) "{\"credential_capture\": {\n\"h\": {" inside "}}}"

static void test_captures(void **state)
{
    static const struct row rows[] = {
        {"{\"credential_capture\": {\n\"h\": ^{}}}", "exactly one of", "/credential_capture/h"},
        {"{\"credential_capture\": {\n\"h\": ^{\"command\": [\"a\"], \"provider\": {\"command\": "
         "[\"b\"]}}}}",
         "exactly one of", "/credential_capture/h"},
        {"{\"credential_capture\": {\n^\"a-b\": {\"command\": [\"a\"]}}}", "letters, digits",
         "/credential_capture/a-b"},
        {CAP("\"command\": [\"a\", ^\"\"]"), "empty", "/credential_capture/h/command/1"},
        {CAP("\"command\": [^\"bin/a\"]"), "relative", "/credential_capture/h/command/0"},
        {CAP("\"command\": [\"a\"], \"timeout_secs\": ^301"), "300",
         "/credential_capture/h/timeout_secs"},
        {CAP("\"command\": [\"a\"], \"ttl_secs\": ^3601"), "3600",
         "/credential_capture/h/ttl_secs"},
        {CAP("\"command\": [\"a\"], \"ttl_secs\": 1, \"cache_ttl_secs\": ^2"), "differs",
         "/credential_capture/h/cache_ttl_secs"},
        {CAP("\"command\": [\"a\"], \"output\": {\"format\": \"json\", \"allow_headers\": "
             "[^\"Host\"]}"),
         "may set", "/credential_capture/h/output/allow_headers/0"},
        {CAP("\"command\": [\"a\"], \"interaction\": {\"open_urls\": {\"allow_origins\": "
             "[^\"x\"]}}"),
         "URL", "/credential_capture/h/interaction/open_urls/allow_origins/0"},
        {"{\"credential_capture\": {\"h\": {\"command\": [\"a\"], \"output\": {\"format\": "
         "\"json\", \"allow_headers\": [\"X\"]}}},\n"
         "\"network\": {\"custom_credentials\": {\"svc\": {\"upstream\": \"https://a.test\", "
         "\"env_var\": \"A\", "
         "\"credential_key\": ^\"cmd://h\", \"inject_mode\": \"query_param\", "
         "\"query_param_name\": \"q\"}}}}",
         "cannot use", AT "/credential_key"},
    };
    (void)state;
    check_all(rows, ARRAY_LEN(rows));
}

#define SEC(inside) "{\"security\": {\"approval_backends\": {\n" inside "}}}"
#define BACK "/security/approval_backends/"

static void test_approvals(void **state)
{
    static const struct row rows[] = {
        {SEC("^\"session\": {\"type\": \"terminal\"}"), "cannot name", BACK "session"},
        {SEC("^\"a b\": {\"type\": \"terminal\"}"), "cannot name", BACK "a b"},
        {SEC("\"a\": {\"type\": \"terminal\"}, ^\"A\": {\"type\": \"terminal\"}"), "only in case",
         BACK "A"},
        {SEC("\"a\": {\"type\": \"terminal\", \"url\": ^\"https://x\"}"), "takes no url",
         BACK "a/url"},
        {SEC("\"a\": ^{\"type\": \"webhook\"}"), "needs a url", BACK "a/url"},
        {SEC("\"a\": {\"type\": \"webhook\", \"url\": ^\"\"}"), "needs a url", BACK "a/url"},
        {SEC("\"a\": {\"type\": \"webhook\", \"url\": ^\"x\"}"), "begins with http", BACK "a/url"},
        {SEC("\"a\": {\"type\": \"terminal\", \"timeout_secs\": ^0}"), "", BACK "a/timeout_secs"},
        {SEC("\"a\": ^{\"type\": \"chain\", \"backends\": [\"b\"]}, \"b\": {\"type\": "
             "\"terminal\"}"),
         "mode", BACK "a/mode"},
        {SEC("\"a\": {\"type\": \"chain\", \"mode\": \"any\", \"backends\": [^\"a\"]}"), "itself",
         BACK "a/backends/0"},
        {SEC("\"a\": {\"type\": \"chain\", \"mode\": \"any\", \"backends\": [^\"b\"]}"),
         "no approval back end", BACK "a/backends/0"},
        {"{\"security\": {\"approval_defaults\": {\"backend\": ^\"x\"}}}", "no approval back end",
         "/security/approval_defaults/backend"},
        {"{\"command_policies\": {^\"entrypoint\": \"x\"}}", "without commands",
         "/command_policies/entrypoint"},
    };
    (void)state;
    check_all(rows, ARRAY_LEN(rows));
}

static void test_chains_that_lead_to_each_other(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put(&w, "p.json",
        SEC("\"a\": {\"type\": \"chain\", \"mode\": \"any\", \"backends\": [\"b\"]},"
            "\"b\": {\"type\": \"chain\", \"mode\": \"any\", \"backends\": [\"t\", \"c\"]},"
            "\"c\": {\"type\": \"chain\", \"mode\": \"all\", \"backends\": [\"a\"]},"
            "\"t\": {\"type\": \"terminal\"}"));
    expect_problem(&w, "@p.json", "lead to each other");
    assert_int_equal(w.problems.errors, 3);
    world_fini(&w);
}

static void test_the_rest(void **state)
{
    static const struct row rows[] = {
        {"{\"env_credentials\": {^\"a-b\": \"X\"}}", "keyring account", "/env_credentials/a-b"},
        {"{\"env_credentials\": {\"K\": ^\"PATH\"}}", "PATH", "/env_credentials/K"},
        {"{\"env_credentials\": {\"K\": {\"env_var\": ^\"a b\"}}}", "a b", "/env_credentials/K"},
        {"{\"environment\": {\"set_vars\": {^\"PATH\": \"x\"}}}", "PATH",
         "/environment/set_vars/PATH"},
        {"{\"environment\": {\"set_vars\": {^\"NONO_X\": \"x\"}}}", "NONO_",
         "/environment/set_vars/NONO_X"},
        {"{\"environment\": {\"set_vars\": {^\"1A\": \"x\"}}}", "digit",
         "/environment/set_vars/1A"},
        {"{\"groups\": {\"exclude\": [\"x\", ^\"deny_credentials\"]}}", "required",
         "/groups/exclude/1"},
        {"{\"credential_routes\": [{\"name\": \"r\", \"provider\": ^\"p\"}]}", "no entry",
         "/credential_routes/0/provider"},
    };
    (void)state;
    check_all(rows, ARRAY_LEN(rows));
}

static void test_notes(void **state) /* decision E1 */
{
    struct world w;
    (void)state;
    world_init(&w);
    put(&w, "p.json",
        NET("\"allow_domain\": [{\"domain\": \"a.test\", \"endpoints\": [{\"method\": \"*\", "
            "\"path\": \"/r/*/i\"},"
            "{\"method\": \"*\", \"path\": \"/r/**\"}, {\"method\": \"*\", \"path\": "
            "\"/r/\\\\*\"}]}]"));
    expect_ok(&w, "@p.json");
    assert_int_equal(w.problems.n, 0); /* a start says nothing */
    profile_notes(w.tree, &w.problems);
    assert_int_equal(w.problems.n, 1);
    assert_true(w.problems.v[0].warning);
    assert_str(w.problems.v[0].pointer, "/network/allow_domain/0/endpoints/0/path");
    put(&w, "p.json",
        NET("\"endpoint_glob\": \"path\", \"allow_domain\": [{\"domain\": \"a.test\", "
            "\"endpoints\": [{\"method\": \"*\", \"path\": \"/r/*/i\"}]}]"));
    expect_ok(&w, "@p.json");
    profile_notes(w.tree, &w.problems);
    assert_int_equal(w.problems.n, 0);
    world_fini(&w);
}

static void test_origins_that_allow_nothing(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put(&w, "p.json",
        "{\"credential_capture\": {\"h\": {\"command\": [\"a\"], \"interaction\": {\"open_urls\": "
        "{\"allow_origins\": [\"https://a.test\", \"http://a.test\", \"https://a.test:8443/\", "
        "\"https://a.test/x\", {\"origin\": \"https://a.test?q\"}]}}}}}");
    expect_ok(&w, "@p.json");
    assert_int_equal(w.problems.n, 0);
    profile_notes(w.tree, &w.problems);
    assert_int_equal(w.problems.n, 3);
    for (size_t i = 0; i < 3; i++) {
        static const char *const at[] = {
            "/credential_capture/h/interaction/open_urls/allow_origins/1",
            "/credential_capture/h/interaction/open_urls/allow_origins/3",
            "/credential_capture/h/interaction/open_urls/allow_origins/4"};
        assert_true(w.problems.v[i].warning);
        assert_true(str_eq(w.problems.v[i].pointer, str_from(at[i])));
    }
    world_fini(&w);
}

/* All that is wrong, not the first only; a plain name is never judged wrong by the quick look. */
static void test_all_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put(&w, "p.json",
        "{\"netwrok\": 1, \"network\": {\"deny_domain\": [\"*x\"], \"no_proxy\": [\"*\"], "
        "\"upstream_proxy\": \"x\",\n"
        "\"allow_domain\": [\"a.test\", \"a_b.test\", \"A.TEST\", \"xn--bcher-kva.test\", "
        "\"b.test.\", \"x-.test\", \"::1\"],\n"
        "\"credentials\": [\"no\"], \"tls_intercept\": {\"ca_validity\": \"x\"}}}");
    assert_int_equal(load(&w, "@p.json"), ERR_INVALID);
    if (w.problems.errors != 6)
        print_problems(&w.problems);
    assert_int_equal(w.problems.errors, 6);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_no_proxy),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_what_credentials_may_be),
        cmocka_unit_test(test_captures),
        cmocka_unit_test(test_approvals),
        cmocka_unit_test(test_chains_that_lead_to_each_other),
        cmocka_unit_test(test_the_rest),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_origins_that_allow_nothing),
        cmocka_unit_test(test_all_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
