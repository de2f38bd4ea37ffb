/* What a webhook is sent and may answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "approval/approval_int.h"
#include <stdio.h>

static void test_body(void **state)
{
    (void)state;
    struct approval_question q = {.request_id = STR("r1"), .route_id = STR("svc"), .upstream = STR("https://x.test"), .method = STR("POST"),
                                  .path = STR("/a\"b?q=\x01"), .rule_label = STR("endpoint_policy.approve[POST /a]"), .reason = STR("why")};
    struct buf b;
    buf_init(&b, 4096);
    webhook_body(&b, STR("hook"), &q);
    static const char want[] =
        "{\"backend\":\"hook\",\"request\":{\"capability_type\":\"endpoint\",\"request_id\":\"r1\",\"route_id\":\"svc\",\"upstream\":"
        "\"https://x.test\",\"method\":\"POST\",\"path\":\"/a\\\"b?q=\\u0001\",\"rule_label\":\"endpoint_policy.approve[POST /a]\","
        "\"reason\":\"why\",\"child_pid\":0,\"session_id\":\"proxy\"}}";
    assert_int_equal(b.n, sizeof(want) - 1);
    assert_memory_equal(b.p, want, b.n);
    buf_fini(&b);
}

static const struct {
    unsigned status;
    const char *body;
    enum approval_answer answer;
    const char *says;
} rows[] = {
    {200, "\"Granted\"", APPROVAL_GRANTED, ""},
    {201, " \"Granted\" \r\n", APPROVAL_GRANTED, ""},
    {200, "\"Timeout\"", APPROVAL_TIMEOUT, ""},
    {200, "{\"Denied\":{\"reason\":\"not now\"}}", APPROVAL_DENIED, "it was denied: not now"},
    {200, "{\"Denied\":{}}", APPROVAL_DENIED, "it was denied"},
    {200, "{\"Denied\":\"x\"}", APPROVAL_FAILED, ""},
    {200, "\"Denied\"", APPROVAL_FAILED, ""},
    {200, "\"granted\"", APPROVAL_FAILED, ""},
    {200, "{\"decision\":\"grant\"}", APPROVAL_GRANTED, ""},
    {200, "{\"decision\":\"\\t GRANTED \\n\"}", APPROVAL_GRANTED, ""},
    {200, "{\"decision\":\"approve\",\"extra\":[1]}", APPROVAL_GRANTED, ""},
    {200, "{\"decision\":\"Approved\"}", APPROVAL_GRANTED, ""},
    {200, "{\"decision\":\"allow\"}", APPROVAL_GRANTED, ""},
    {200, "{\"decision\":\"allowed\",\"reason\":\"ok\"}", APPROVAL_GRANTED, "it was granted: ok"},
    {200, "{\"decision\":\"deny\"}", APPROVAL_DENIED, ""},
    {200, "{\"decision\":\"denied\",\"reason\":7}", APPROVAL_DENIED, "it was denied"},
    {200, "{\"decision\":\"reject\"}", APPROVAL_DENIED, ""},
    {200, "{\"decision\":\"rejected\",\"reason\":\"a\\nb\\u001b[2J\"}", APPROVAL_DENIED, "it was denied: a b [2J"},
    {200, "{\"decision\":\"block\"}", APPROVAL_DENIED, ""},
    {200, "{\"decision\":\"blocked\"}", APPROVAL_DENIED, ""},
    {200, "{\"decision\":\"timeout\"}", APPROVAL_TIMEOUT, ""},
    {200, "{\"decision\":\"timed_out\"}", APPROVAL_TIMEOUT, ""},
    {200, "{\"decision\":\"timed out\"}", APPROVAL_FAILED, ""},
    {200, "{\"decision\":\"\"}", APPROVAL_FAILED, ""},
    {200, "{\"decision\":\"grantedx\"}", APPROVAL_FAILED, ""},
    {200, "{\"decision\":\"granted\\u0000\"}", APPROVAL_FAILED, ""},
    {200, "{\"decision\":true}", APPROVAL_FAILED, ""},
    {200, "{\"decision\":\"deny\",\"decision\":\"grant\"}", APPROVAL_FAILED, ""},
    {200, "{\"decision\":\"grant\",\"Denied\":{\"reason\":\"x\"}}", APPROVAL_FAILED, ""},
    {200, "{\"reason\":\"granted\"}", APPROVAL_FAILED, ""},
    {200, "{}", APPROVAL_FAILED, ""},
    {200, "[]", APPROVAL_FAILED, ""},
    {200, "[\"Granted\"]", APPROVAL_FAILED, ""},
    {200, "true", APPROVAL_FAILED, ""},
    {200, "1", APPROVAL_FAILED, ""},
    {200, "null", APPROVAL_FAILED, ""},
    {200, "", APPROVAL_FAILED, ""},
    {200, "\"Granted", APPROVAL_FAILED, ""},
    {200, "'Granted'", APPROVAL_FAILED, ""},
    {200, "// yes\n\"Granted\"", APPROVAL_FAILED, ""},
    {200, "{decision: \"grant\"}", APPROVAL_FAILED, ""},
    {200, "{\"decision\":\"grant\",}", APPROVAL_FAILED, ""},
    {200, "\"Granted\" \"Granted\"", APPROVAL_FAILED, ""},
    {204, "", APPROVAL_FAILED, ""},
    {302, "\"Granted\"", APPROVAL_DENIED, "it answered with status 302, and redirects are not followed"},
    {403, "\"Granted\"", APPROVAL_DENIED, "it answered with status 403"},
    {500, "{\"decision\":\"grant\"}", APPROVAL_DENIED, "it answered with status 500"},
};

static void test_case71_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char sentence[SENTENCE_SIZE] = "";
        enum approval_answer a = webhook_answer(rows[i].status, str_from(rows[i].body), sentence);
        if (a != rows[i].answer || !sentence[0] || (rows[i].says[0] && strcmp(sentence, rows[i].says) != 0))
            fail_msg("%u %s: %d \"%s\"", rows[i].status, rows[i].body, a, sentence);
    }
}

static void test_long_reason(void **state)
{
    (void)state;
    char sentence[SENTENCE_SIZE];
    for (size_t n = 1020; n < 1030; n++) {
        struct buf b;
        buf_init(&b, 4096);
        buf_add_z(&b, "{\"decision\":\"deny\",\"reason\":\"");
        for (size_t i = 0; i < n; i++)
            buf_add_c(&b, 'x');
        buf_add_z(&b, "\"}");
        assert_int_equal(webhook_answer(200, buf_str(&b), sentence), APPROVAL_DENIED);
        size_t shown = strlen(sentence) - strlen("it was denied: ");
        assert_int_equal(shown, n > 1024 ? 1024 : n);
        assert_int_equal(str_ends(str_from(sentence), STR("...")), n > 1024);
        buf_fini(&b);
    }
}

static void test_deep(void **state)
{
    (void)state;
    char sentence[SENTENCE_SIZE];
    static char deep[65536];
    memset(deep, '[', sizeof(deep));
    assert_int_equal(webhook_answer(200, str_of(deep, sizeof(deep)), sentence), APPROVAL_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_body), cmocka_unit_test(test_case71_answers), cmocka_unit_test(test_long_reason),
                                       cmocka_unit_test(test_deep)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
