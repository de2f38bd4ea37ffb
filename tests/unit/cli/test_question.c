#include "cli_unit.h"
#include "cli/question.h"

static struct buf out;
static struct policy *policy;
static const struct answer_more no_more = {.n_notes = 0};

static void add(enum rule_list list, const char *entry)
{
    const char *notice;
    struct errctx why = {0};
    if (policy_add(policy, list, str_from(entry), STR("--x"), &notice, &why))
        fail_msg("%s", why.text);
}

static void add_gate(const char *host, enum scheme scheme, uint16_t port, const char *path)
{
    struct errctx why = {0};
    struct endpoint_spec rule = {
        .method = STR("GET"), .path = str_from(path), .origin = STR("f:1:2")};
    struct route_spec spec = {.id = STR("_ep"),
                              .origin = STR("f:1:1"),
                              .scheme = scheme,
                              .host = str_from(host),
                              .port = port,
                              .segment_globs = true,
                              .rules = &rule,
                              .n_rules = 1};
    if (policy_add_route(policy, &spec, &why))
        fail_msg("%s", why.text);
}

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, 1 << 16);
    assert_int_equal(policy_new(&policy), ERR_OK);
    add(RULES_ALLOW, "*");
    add(RULES_ALLOW, "127.0.0.1");
    add(RULES_DENY, "evil.test");
    add_gate("docs.test", SCHEME_HTTPS, 443, "/x/*");
    add_gate("127.0.0.1", SCHEME_HTTP, 8080, "/y");
    assert_int_equal(policy_freeze(policy), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    policy_free(policy);
    buf_fini(&out);
    return 0;
}

/* ---- reading ---- */

static void test_lines(void **state)
{
    static const struct {
        const char *line, *shown;
        enum shape shape;
        uint16_t port;
    } cases[] = {
        {"a.test", "CONNECT a.test:443", SHAPE_CONNECT, 443},
        {"  A.TEST. ", "CONNECT a.test:443", SHAPE_CONNECT, 443},
        {"a.test:80", "CONNECT a.test:80", SHAPE_CONNECT, 80},
        {"::1", "CONNECT [::1]:443", SHAPE_CONNECT, 443},
        {"[::1]:8", "CONNECT [::1]:8", SHAPE_CONNECT, 8},
        {"CONNECT a.test", "CONNECT a.test:443", SHAPE_CONNECT, 443},
        {"CONNECT  a.test:1", "CONNECT a.test:1", SHAPE_CONNECT, 1},
        {"http://a.test", "GET http://a.test/", SHAPE_FORWARD, 80},
        {"https://a.test?q", "GET https://a.test/", SHAPE_FORWARD, 443},
        {"https://a.test:443/x?q=1", "GET https://a.test/x", SHAPE_FORWARD, 443},
        {"HTTPS://a.test:80/x", "GET https://a.test:80/x", SHAPE_FORWARD, 80},
        {"POST http://[::1]/a%20b", "POST http://[::1]/a%20b", SHAPE_FORWARD, 80},
        {"M-SEARCH http://a.test/", "M-SEARCH http://a.test/", SHAPE_FORWARD, 80},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct question q;
        question_parse(str_from(cases[i].line), &q);
        if (q.wrong.code)
            fail_msg("%s: %s", cases[i].line, q.wrong.text);
        assert_int_equal(q.facts.shape, cases[i].shape);
        assert_int_equal(q.facts.port, cases[i].port);
        buf_reset(&out);
        question_format(&out, &q);
        assert_text(buf_str(&out), cases[i].shown);
    }
}

static void test_malformed_lines(void **state)
{
    static const char *const lines[] = {
        "",
        "a..test",
        "127.1",
        "a.test:0",
        "a.test:65536",
        "u@a.test",
        "[::1",
        "a.test/x",
        "GET",
        "GET a.test",
        "G(T http://a/",
        "http://",
        "http://u@a.test/",
        "ftp://a.test/",
        "http://a/#",
        "GET http://a/ x",
        "CONNECT a.test/",
        "CONNECT http://a/x y",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct question q;
        struct answer a;
        question_parse(str_from(lines[i]), &q);
        if (!q.wrong.code && strcmp(lines[i], "GET"))
            fail_msg("%s is accepted", lines[i]);
        if (!q.wrong.code)
            continue; /* a host may be called GET */
        question_ask(policy, &q, &a);
        assert_false(a.allowed);
        assert_str(a.rule, "malformed");
        assert_true(a.reason[0] != 0);
        buf_reset(&out);
        question_format(&out, &q);
        assert_text(buf_str(&out), lines[i]);
    }
}

static void test_parts(void **state)
{
    struct question q;
    (void)state;
    question_of_host(STR("a.test:80"), STR_NULL, STR("/x?y"), &q);
    assert_int_equal(q.facts.scheme, SCHEME_HTTP);
    assert_str(q.facts.method, "GET");
    assert_str(q.facts.path, "/x");
    assert_str(q.facts.query, "y");
    question_of_host(STR("a.test"), STR("PUT"), STR(""), &q);
    assert_str(q.facts.path, "/");
    question_of_host(STR("a.test"), STR_NULL, STR("x"), &q);
    assert_int_equal(q.wrong.code, ERR_BAD_REQUEST);
    question_of_host(STR("a.test"), STR_NULL, STR("/x y"), &q);
    assert_int_equal(q.wrong.code, ERR_BAD_REQUEST);
    question_of_url(STR("https://a.test/x"), STR("PUT"), &q);
    assert_str(q.facts.method, "PUT");
    question_of_url(STR("https://a.test/x"), STR(""), &q);
    assert_int_equal(q.wrong.code, ERR_BAD_REQUEST);
}

/* ---- asking ---- */

static void ask(const char *line, struct answer *ret_answer, struct question *ret_question)
{
    question_parse(str_from(line), ret_question);
    question_ask(policy, ret_question, ret_answer);
}

static void test_verdicts(void **state)
{
    static const struct {
        const char *line;
        bool allowed;
        enum verdict verdict;
        const char *rule;
    } cases[] = {
        {"a.test", true, VERDICT_ALLOW, "allow:*"},
        {"evil.test", false, VERDICT_REFUSE, "deny:evil.test"},
        {"http://evil.test/", false, VERDICT_REFUSE, "deny:evil.test"},
        {"169.254.169.254", false, VERDICT_REFUSE, "floor:metadata"},
        {"TRACE http://a.test/", false, VERDICT_REFUSE, "floor:trace"},
        {"docs.test", false, VERDICT_INTERCEPT, NULL},
        {"docs.test:80", false, VERDICT_REFUSE, NULL},
        {"https://docs.test/x/y", false, VERDICT_INTERCEPT, "route:_ep"},
        {"GET https://docs.test/x/y", true, VERDICT_ALLOW, "endpoint_policy.allow[GET /x/*]"},
        {"POST https://docs.test/x/y", false, VERDICT_REFUSE, "endpoint_policy.default"},
        {"https://docs.test/x/../y", false, VERDICT_REFUSE, "malformed-path"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct question q;
        struct answer a;
        ask(cases[i].line, &a, &q);
        if (a.allowed != cases[i].allowed || a.decision.verdict != cases[i].verdict ||
            (cases[i].rule && !str_eq(a.rule, str_from(cases[i].rule))))
            fail_msg("%s: %.*s", cases[i].line, STR_ARG(a.rule));
        assert_true(a.reason[0] != 0);
    }
}

static void test_the_scheme_of_a_port_is_the_route_s(void **state)
{
    struct question q;
    struct answer a;
    (void)state;
    question_of_host(STR("127.0.0.1:8080"), STR_NULL, STR("/y"), &q);
    question_ask(policy, &q, &a);
    assert_true(a.allowed);
    assert_int_equal(q.facts.scheme, SCHEME_HTTP);
    question_of_host(STR("docs.test"), STR_NULL, STR("/x/y"), &q);
    question_ask(policy, &q, &a);
    assert_int_equal(a.decision.verdict, VERDICT_INTERCEPT);
    assert_non_null(strstr(a.reason, "endpoint_policy.allow[GET /x/*] allows the request"));
    assert_non_null(strstr(a.remedy, "allow the whole host"));
    question_of_host(STR("other.test:8080"), STR_NULL, STR("/y"), &q);
    question_ask(policy, &q, &a);
    assert_int_equal(q.facts.scheme, SCHEME_HTTPS);
}

/* A path as long as the gateway takes one is judged, not refused for want of memory. */
static void test_long_path(void **state)
{
    static char url[60000];
    struct question q;
    struct answer a;
    (void)state;
    memset(url, 'a', sizeof(url));
    memcpy(url, "GET https://docs.test/x/", 24);
    question_parse(str_of(url, sizeof(url)), &q);
    question_ask(policy, &q, &a);
    assert_true(a.allowed);
}

/* ---- telling ---- */

static void test_text_golden(void **state)
{
    struct question q;
    struct answer a;
    (void)state;
    ask("docs.test", &a, &q);
    answer_text(&out, &q, &a, &no_more);
    assert_true(str_starts(buf_str(&out), STR("DENIED CONNECT docs.test:443\n  rule:   ")));
    assert_true(buf_holds(&out, "  place:  f:1:1\n  why:    host docs.test has endpoint rules"));
    assert_true(buf_holds(&out, "not available in this version\n  remedy: allow the whole host, or let the client send "
                                "https URLs to the proxy without a CONNECT\n  route:  _ep\n"
                                "  rules, in the order in which they are tried:\n"
                                "    allow   GET /x/*  (f:1:2)\n"
                                "    deny    everything else\n"));
    buf_reset(&out);
    ask("evil.test", &a, &q);
    answer_text(&out, &q, &a, &no_more);
    assert_str(buf_str(&out), "DENIED CONNECT evil.test:443\n"
                              "  rule:   deny:evil.test\n"
                              "  place:  --x\n"
                              "  why:    host evil.test is in the deny list\n"
                              "  remedy: take the entry off the deny list\n");
}

static void test_line_and_json_golden(void **state)
{
    struct question q;
    struct answer a;
    (void)state;
    ask("evil.test", &a, &q);
    answer_line(&out, &q, &a);
    answer_json(&out, &q, &a, &no_more);
    assert_str(
        buf_str(&out),
        "DENIED CONNECT evil.test:443 (deny:evil.test at --x): host evil.test is in the deny "
        "list; take the entry off the deny list\n"
        "{\"host\":\"evil.test\",\"port\":443,\"method\":\"CONNECT\",\"path\":null,"
        "\"allowed\":false,\"verdict\":\"deny\",\"rule\":\"deny:evil.test\","
        "\"origin\":\"--x\",\"reason\":\"host evil.test is in the deny list\","
        "\"remedy\":\"take the entry off the deny list\",\"route\":null,"
        "\"credential\":null}");
    buf_reset(&out);
    ask("bad host", &a, &q);
    answer_json(&out, &q, &a, &no_more);
    assert_true(buf_holds(&out, "{\"host\":\"bad host\",\"port\":null,"));
    buf_reset(&out);
    ask("docs.test", &a, &q);
    answer_json(&out, &q, &a, &no_more);
    assert_true(buf_holds(&out, "\"verdict\":\"intercept\""));
    assert_true(buf_holds(&out, "\"rules\":[{\"action\":\"allow\",\"method\":\"GET\",\"path\":"
                                "\"/x/*\",\"origin\":\"f:1:2\"}],\"default\":\"deny\"}"));
}

/* The remedy of a host that is not listed names it. */
static void test_remedy_names_the_host(void **state)
{
    struct policy *strict;
    struct question q;
    struct answer a;
    (void)state;
    assert_int_equal(policy_new(&strict), ERR_OK);
    policy_set_strict(strict, true);
    assert_int_equal(policy_freeze(strict), ERR_OK);
    question_parse(STR("a.test:8443"), &q);
    question_ask(strict, &q, &a);
    assert_false(a.allowed);
    assert_non_null(strstr(a.remedy, "--allow-domain a.test or a.test:8443, or allow_domain"));
    question_parse(STR("[fd00::1]:1"), &q);
    question_ask(strict, &q, &a);
    assert_non_null(strstr(a.remedy, "--allow-domain [fd00::1] or [fd00::1]:1"));
    policy_free(strict);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines),
        TEST(test_malformed_lines),
        TEST(test_parts),
        TEST(test_verdicts),
        TEST(test_the_scheme_of_a_port_is_the_route_s),
        TEST(test_long_path),
        TEST(test_text_golden),
        TEST(test_line_and_json_golden),
        TEST(test_remedy_names_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
