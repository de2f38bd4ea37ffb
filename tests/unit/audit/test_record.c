#include "../base/unit.h"
#include "audit/lifecycle.h"
#include "audit/record.h"
#include "base/encode.h"
#include "base/mem.h"
#include <stdio.h>

static struct buf out;

static struct str format(const struct record *r, const char *mechanism, uint64_t now_ns)
{
    buf_reset(&out);
    record_format(&out, r, mechanism, now_ns);
    assert_true(buf_ok(&out));
    return buf_str(&out);
}

/* The ids' prefix: the low 40 bits of the fake random number, lowest first. */
#define PREFIX "gqqsbd2f"

static void fill(struct record *r)
{
    record_init(r);
    r->timestamp_ms = 1795532645123;
    r->start_ns = 1000000000;
    r->wait_ns = 41500999;
    r->connection_id = 7;
    r->request_number = 1000;
    r->request_bytes = 5;
    r->response_bytes = 12345678901;
    r->mode = AUDIT_FORWARD;
    r->has_port = r->has_query = r->query_present = r->has_version = r->relayed = r->has_upstream =
        true;
    r->upstream_reused = true;
    r->port = 80;
    r->status = 200;
    r->minor = 1;
    r->scheme = 1;
    record_text(r, RECORD_CLIENT_ADDRESS, STR("127.0.0.1:5000"));
    record_text(r, RECORD_LISTENER, STR("127.0.0.1:8080"));
    record_text(r, RECORD_REASON, STR("allowed by rule"));
    record_text(r, RECORD_RULE, STR("allow:a.test"));
    record_text(r, RECORD_RULE_ORIGIN, STR("--allow-domain"));
    record_text(r, RECORD_TARGET, STR("a.test"));
    record_text(r, RECORD_METHOD, STR("GET"));
    record_text(r, RECORD_PATH, STR("/p/q"));
    record_text(r, RECORD_UPSTREAM_ADDRESS, STR("192.0.2.1:80"));
    record_text(r, RECORD_REMEDY, STR("not for the audit"));
}

static void test_allow(void **state)
{
    (void)state;
    struct record r;
    fill(&r);
    assert_str(
        format(&r, "proxy_authorization", 1042034567),
        "{\"type\":\"exchange\",\"timestamp_unix_ms\":1795532645123,\"connection_id\":\"c" PREFIX
        "-7\","
        "\"request_id\":\"r" PREFIX "-z8\",\"listener\":\"127.0.0.1:8080\","
        "\"client_address\":\"127.0.0.1:5000\",\"mode\":\"forward\",\"decision\":\"allow\","
        "\"outcome\":\"ok\",\"auth_mechanism\":\"proxy_authorization\",\"auth_outcome\":"
        "\"succeeded\","
        "\"rule\":\"allow:a.test\",\"rule_origin\":\"--allow-domain\",\"scheme\":\"http\","
        "\"http_version\":\"1.1\",\"query_present\":true,\"upstream_address\":\"192.0.2.1:80\","
        "\"upstream_reused\":true,\"target\":\"a.test\",\"port\":80,\"method\":\"GET\",\"path\":\"/"
        "p/q\","
        "\"status\":200,\"reason\":\"allowed by rule\",\"request_bytes\":5,"
        "\"response_bytes\":12345678901,\"duration_ms\":42.034,\"upstream_wait_ms\":41.500}\n");
    record_fini(&r);
    record_fini(&r);
}

/* Nothing known: a connection refused at the limit. */
static void test_least(void **state)
{
    (void)state;
    struct record r;
    record_init(&r);
    r.end = ERR_CONNECTION_LIMIT;
    r.start_ns = 10;
    assert_str(format(&r, NULL, 5),
               "{\"type\":\"exchange\",\"timestamp_unix_ms\":0,\"connection_id\":\"c" PREFIX "-0\","
               "\"request_id\":\"r" PREFIX "-0\",\"mode\":\"local\",\"decision\":\"deny\","
               "\"outcome\":\"refused\",\"denial_category\":\"connection_limit\",\"port\":null,"
               "\"method\":null,\"path\":null,\"status\":null,\"reason\":null,\"request_bytes\":0,"
               "\"response_bytes\":0,\"duration_ms\":0.000,\"upstream_wait_ms\":0.000}\n");
    record_fini(&r);
}

static void test_endpoint_policy(void **state)
{
    (void)state;
    struct record r;
    record_init(&r);
    r.mode = AUDIT_REVERSE;
    r.end = ERR_ENDPOINT_DENIED;
    record_text(&r, RECORD_ROUTE_ID, STR("github"));
    record_text(&r, RECORD_ENDPOINT_ACTION, STR("deny"));
    record_text(&r, RECORD_ENDPOINT_RULE, STR("endpoint_policy.deny[GET /x]"));
    struct str line = format(&r, "phantom_header", 5);
    static const char route[] = "\"outcome\":\"refused\",\"route_id\":\"github\",\"auth_mechanism\"";
    static const char policy[] = "\"denial_category\":\"endpoint_policy\",\"endpoint_policy_action\":\"deny\","
                                 "\"endpoint_policy_rule\":\"endpoint_policy.deny[GET /x]\"";
    assert_non_null(memmem(line.p, line.n, route, sizeof route - 1));
    assert_non_null(memmem(line.p, line.n, policy, sizeof policy - 1));
    record_fini(&r);
}

static bool has(struct str line, const char *what)
{
    assert_true(line.n && line.p[line.n - 1] == '\n' && str_find(line, '\n') == line.n - 1);
    return memmem(line.p, line.n, what, strlen(what)) != NULL;
}

static void test_members(void **state)
{
    (void)state;
    struct record r;
    fill(&r);
    r.auth_failed = true, r.relayed = false, r.end = ERR_PROXY_AUTH, r.has_uid = true,
    r.client_uid = 1000;
    r.minor = 0, r.scheme = 2, r.query_present = false, r.upstream_status = 401,
    r.wait_ns = UINT64_MAX;
    record_text(&r, RECORD_CLIENT_NAME, STR("ci"));
    record_text(&r, RECORD_UPSTREAM_PROXY, STR("proxy:3128"));
    struct str line = format(&r, "proxy_authorization", 1000001999);
    assert_true(
        has(line, "\"auth_mechanism\":\"proxy_authorization\",\"auth_outcome\":\"failed\""));
    assert_true(has(line, "\"decision\":\"deny\",\"outcome\":\"refused\""));
    assert_true(has(line, "\"denial_category\":\"authentication_failed\""));
    assert_true(has(line, "\"client_uid\":1000,\"client_name\":\"ci\""));
    assert_true(has(line, "\"scheme\":\"https\",\"http_version\":\"1.0\",\"query_present\":false"));
    assert_true(has(line, "\"upstream_proxy\":\"proxy:3128\""));
    assert_true(has(line, "\"upstream_status\":401"));
    assert_true(has(line, "\"duration_ms\":0.001,\"upstream_wait_ms\":0.001}"));
    r.auth_none = true, r.relayed = true, r.end = ERR_UPSTREAM_ABORTED, r.upstream_status = 200;
    r.scheme = 0, r.has_version = r.has_query = r.has_upstream = r.has_uid = false;
    line = format(&r, "proxy_authorization", 0);
    assert_true(has(line, "\"auth_mechanism\":\"none\","));
    assert_true(has(line, "\"decision\":\"allow\",\"outcome\":\"upstream_aborted\""));
    const char *absent[] = {"auth_outcome", "denial_category",  "upstream_status", "scheme",
                            "http_version", "query_present",    "upstream_reused", "client_uid",
                            "remedy",       "not for the audit"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        assert_false(has(line, absent[i]));
    record_fini(&r);
}

static void test_ends(void **state)
{
    (void)state;
    struct record r;
    char want[100];
    fill(&r);
    for (int e = 0; e < ERR_COUNT_; e++) {
        for (int relayed = 0; relayed < 2; relayed++) {
            r.end = (enum err)e, r.relayed = relayed;
            struct str line = format(&r, NULL, 0);
            const char *outcome = err_outcome(r.end), *category = err_category(r.end);
            snprintf(want, sizeof(want), "\"outcome\":\"%s\"", outcome ? outcome : "gateway_error");
            assert_true(has(line, want));
            snprintf(want, sizeof(want), "\"denial_category\":\"%s\"", category ? category : "");
            assert_int_equal(has(line, "denial_category"), category && !relayed);
            assert_int_equal(has(line, want), category && !relayed);
        }
    }
    static const char *const modes[] = {"local",     "connect", "connect_intercept",
                                        "intercept", "forward", "reverse"};
    for (uint8_t m = 0; m < ARRAY_LEN(modes); m++) {
        r.mode = m;
        snprintf(want, sizeof(want), "\"mode\":\"%s\"", modes[m]);
        assert_true(has(format(&r, NULL, 0), want));
    }
    record_fini(&r);
}

static void test_escapes(void **state)
{
    (void)state;
    struct record r;
    fill(&r);
    record_text(&r, RECORD_PATH, STR("/a\"\\\n\xff\x01"));
    assert_true(has(format(&r, NULL, 0), "\"path\":\"/a\\\"\\\\\\n\xef\xbf\xbd\\u0001\""));
    record_fini(&r);
}

/* Every byte at every place of texts of every length up to some words: as encode_json has it. */
static void test_copies(void **state)
{
    (void)state;
    struct record r;
    struct buf want;
    char text[40];
    buf_init(&want, 1000);
    record_init(&r);
    for (size_t n = 1; n <= 19; n++) {
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                memset(text, 'x', sizeof(text));
                text[at] = (char)c;
                record_text(&r, RECORD_PATH, str_of(text, n));
                buf_reset(&want);
                buf_add_z(&want, ",\"path\":");
                encode_json(&want, str_of(text, n));
                buf_add_z(&want, ",\"status\":null,\"");
                struct str line = format(&r, NULL, 0);
                if (!memmem(line.p, line.n, want.p, want.n))
                    fail_msg("byte %d at %zu of %zu", c, at, n);
            }
        }
    }
    record_fini(&r);
    buf_fini(&want);
}

/* The room that is reserved is enough for whatever a record can hold: ASan looks at its end. */
static void test_room(void **state)
{
    (void)state;
    static char big[8192];
    static const char fill_with[] = {1, 'x', '"', (char)0xff, (char)0x80};
    for (size_t n = 1; n <= sizeof(big); n = n * 3 + 1) {
        for (size_t k = 0; k < sizeof(fill_with); k++) {
            struct record r;
            struct buf one;
            struct queue *q = queue_new();
            const char *p;
            size_t got = 0, sum = 0;
            fill(&r);
            r.timestamp_ms = r.connection_id = r.request_number = r.request_bytes = UINT64_MAX;
            r.response_bytes = UINT64_MAX, r.client_uid = UINT32_MAX, r.has_uid = true;
            memset(big, fill_with[k], sizeof(big));
            for (int i = 0; i < RECORD_TEXT_COUNT_; i++)
                record_text(&r, (enum record_text)i, str_of(big, n));
            buf_init(&one, 1 << 20);
            record_format(&one, &r, "proxy_authorization", UINT64_MAX);
            assert_true(buf_ok(&one));
            for (int i = 0; i < 3; i++)
                assert_true(record_emit(q, &r, "proxy_authorization", UINT64_MAX));
            while (queue_peek(q, &p, &got)) {
                for (size_t i = 0; i < got; i += one.n)
                    assert_memory_equal(p + i, one.p, one.n);
                queue_done(q, got);
                sum += got;
            }
            assert_int_equal(sum, 3 * one.n);
            buf_fini(&one);
            record_fini(&r);
            queue_free(q);
        }
    }
}

static void test_texts(void **state)
{
    (void)state;
    static char big[10000];
    struct record r;
    record_init(&r);
    assert_null(record_get(&r, RECORD_RULE).p);
    memset(big, 'x', sizeof(big));
    for (int round = 0; round < 200; round++) { /* replacing again and again does not add up */
        record_text(&r, RECORD_PATH, str_of(big, (size_t)(round * 50)));
        record_text(&r, RECORD_RULE, round % 2 ? STR("short") : STR("a longer rule"));
        assert_int_equal(record_get(&r, RECORD_PATH).n, round * 50 < 8192 ? round * 50 : 8192);
        assert_true(
            str_eq(record_get(&r, RECORD_RULE), round % 2 ? STR("short") : STR("a longer rule")));
    }
    assert_true(r.text_cap_ <= 32768);
    record_text(&r, RECORD_RULE, STR_NULL);
    assert_int_equal(record_get(&r, RECORD_RULE).n, 0);
    for (int i = 0; i < RECORD_TEXT_COUNT_; i++)
        record_text(&r, (enum record_text)i, str_of(big, sizeof(big)));
    for (int i = 0; i < RECORD_TEXT_COUNT_; i++)
        assert_true(str_eq(record_get(&r, (enum record_text)i), str_of(big, 8192)));
    record_fini(&r);
    fill(&r);
    assert_true(sizeof(r) <= 432 && !r.text_); /* all of it in one piece */
    record_fini(&r);
}

static void test_no_memory(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'x', sizeof(text));
    for (int64_t n = 0; n < 2; n++) { /* without and with memory for a larger area */
        struct record r;
        mem_fail_after(n, true);
        fill(&r);
        record_text(&r, RECORD_PATH, str_of(text, sizeof(text)));
        assert_int_equal(record_get(&r, RECORD_PATH).n, n ? sizeof(text) : 0);
        record_text(&r, RECORD_PATH, STR("short"));
        mem_fail_after(-1, false);
        assert_int_equal(record_get(&r, RECORD_TARGET).n, 6); /* what was there stays */
        assert_true(has(format(&r, NULL, 0), "\"path\":\"short\""));
        record_fini(&r);
    }
}

static void test_ids(void **state)
{
    (void)state;
    char id[24], before[24] = "";
    audit_id(id, 'r', UINT64_MAX);
    assert_string_equal(id, "r" PREFIX "-fzzzzzzzzzzzz");
    audit_id(id, 'c', 32);
    assert_string_equal(id, "c" PREFIX "-10");
    for (uint64_t i = 0; i < 3000; i++) {
        audit_id(id, 'r', i);
        assert_string_not_equal(id, before);
        memcpy(before, id, sizeof(id));
    }
}

static void test_lifecycle(void **state)
{
    (void)state;
    buf_reset(&out);
    lifecycle_format(&out, "start", 12, STR("0.1.0"), STR("ab\"c"), STR_NULL, 0);
    assert_str(buf_str(&out),
               "{\"type\":\"lifecycle\",\"timestamp_unix_ms\":12,\"event\":\"start\","
               "\"version\":\"0.1.0\",\"config_hash\":\"ab\\\"c\"}\n");
    buf_reset(&out);
    lifecycle_format(&out, "reload_failed", 12, STR_NULL, STR_NULL, STR("bad\n"), 0);
    assert_str(buf_str(&out), "{\"type\":\"lifecycle\",\"timestamp_unix_ms\":12,"
                              "\"event\":\"reload_failed\",\"reason\":\"bad\\n\"}\n");
    buf_reset(&out);
    lifecycle_format(&out, "sink_failed", 12, STR_NULL, STR_NULL, STR_NULL, 7);
    assert_str(buf_str(&out), "{\"type\":\"lifecycle\",\"timestamp_unix_ms\":12,"
                              "\"event\":\"sink_failed\",\"count\":7}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allow),     cmocka_unit_test(test_least),
        cmocka_unit_test(test_members),   cmocka_unit_test(test_ends),
        cmocka_unit_test(test_escapes),   cmocka_unit_test(test_texts),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_ids),
        cmocka_unit_test(test_copies),    cmocka_unit_test(test_room),
        cmocka_unit_test(test_lifecycle), cmocka_unit_test(test_endpoint_policy),
    };
    buf_init(&out, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_fini(&out);
    return failed;
}
