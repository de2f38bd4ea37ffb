#include "http/hop.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct field room[LIMIT_HEAD_FIELDS];

/* Pairs of name and value, ended by NULL. */
static struct http_head head_of(const char *const *pairs)
{
    struct http_head head = {
        .method = STR("GET"), .minor = 1, .fields = {room, 0, LIMIT_HEAD_FIELDS}};

    for (; *pairs; pairs += 2)
        assert_true(fields_add(&head.fields, str_from(pairs[0]), str_from(pairs[1])));
    return head;
}

static void test_strip(void **state)
{
    static const struct {
        const char *name, *value;
        bool drop;
    } rows[] = {
        {"Host", "a", false},
        {"Connection", "X-Hop, authorization , host,content-length, ,Expect", true},
        {"Keep-Alive", "timeout=5", true},
        {"Proxy-Connection", "keep-alive", true},
        {"Proxy-Authorization", "Basic x", true},
        {"TE", "trailers", true},
        {"Trailer", "X-Sum", false},
        {"Upgrade", "h2c", true},
        {"HTTP2-Settings", "x", true},
        {"Transfer-Encoding", "chunked", true},
        {"Content-Length", "5", true},
        {"Expect", "100-continue", false},
        {"x-hop", "1", true},
        {"X-HOP", "2", true},
        {"X-Hop2", "3", false},
        {"Authorization", "Bearer x", true}, /* named by Connection: decision K10 */
        {"Connection", "x-second", true},
        {"X-Second", "4", true},
        {"Accept", "*/*", false},
    };
    struct http_head head = {.fields = {room, 0, LIMIT_HEAD_FIELDS}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(fields_add(&head.fields, str_from(rows[i].name), str_from(rows[i].value)));
    hop_strip(&head);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (room[i].drop != rows[i].drop)
            fail_msg("%s: drop %d", rows[i].name, room[i].drop);
}

/* A list longer than any head drops everything but what is needed, and in bounded time. */
static void test_strip_endless_list(void **state)
{
    struct http_head head = {.fields = {room, 0, LIMIT_HEAD_FIELDS}};
    struct buf list;

    (void)state;
    buf_init(&list, 65536);
    for (int i = 0; i < 16000; i++)
        buf_add_z(&list, "q,");
    assert_true(fields_add(&head.fields, STR("Connection"), buf_str(&list)));
    assert_true(fields_add(&head.fields, STR("Host"), STR("a")));
    assert_true(fields_add(&head.fields, STR("X-End"), STR("a")));
    hop_strip(&head);
    assert_false(room[1].drop);
    assert_true(room[2].drop);
    buf_fini(&list);
}

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define WS "Connection", "keep-alive, Upgrade", "Upgrade", "WebSocket"

/* Case 103: a malformed handshake is 400. */
static void test_upgrade_case_103(void **state)
{
    static const struct {
        enum err e;
        enum upgrade up;
        const char *pairs[12];
    } rows[] = {
        {ERR_OK, UPGRADE_NONE, {"Accept", "*/*"}},
        {ERR_OK, UPGRADE_NONE, {"Connection", "upgrade"}},
        {ERR_OK, UPGRADE_OTHER, {"Connection", "upgrade", "Upgrade", "h2c"}},
        {ERR_OK, UPGRADE_OTHER, {"Upgrade", "websocket"}},
        {ERR_OK, UPGRADE_OTHER, {"Connection", "upgrade", "Upgrade", "websockets"}},
        {ERR_OK, UPGRADE_WEBSOCKET, {WS, "Sec-WebSocket-Key", KEY, "Sec-WebSocket-Version", "13"}},
        {ERR_BAD_REQUEST, 0, {WS, "Sec-WebSocket-Version", "13"}},
        {ERR_BAD_REQUEST, 0, {WS, "Sec-WebSocket-Key", KEY}},
        {ERR_BAD_REQUEST, 0, {WS, "Sec-WebSocket-Key", KEY, "Sec-WebSocket-Version", "8"}},
        {ERR_BAD_REQUEST, 0, {WS, "Sec-WebSocket-Key", KEY, "Sec-WebSocket-Version", "13, 8"}},
        {ERR_BAD_REQUEST,
         0,
         {WS, "Sec-WebSocket-Key", KEY, "Sec-WebSocket-Key", KEY, "Sec-WebSocket-Version"}},
        {ERR_BAD_REQUEST, 0, {WS, "Sec-WebSocket-Key", "", "Sec-WebSocket-Version", "13"}},
        {ERR_BAD_REQUEST,
         0,
         {WS, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ===", "Sec-WebSocket-Version", "13"}},
        {ERR_BAD_REQUEST,
         0,
         {WS, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSE=", "Sec-WebSocket-Version", "13"}},
        {ERR_BAD_REQUEST,
         0,
         {WS, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j Q==", "Sec-WebSocket-Version", "13"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *pairs[13] = {0};
        for (size_t k = 0; k < 12 && rows[i].pairs[k]; k++)
            pairs[k] = rows[i].pairs[k];
        if (pairs[8] && !pairs[9])
            pairs[9] = "13";
        struct http_head head = head_of(pairs);
        struct errctx ctx = {0};
        enum upgrade up = (enum upgrade)77;
        if (hop_upgrade(&head, &up, &ctx) != rows[i].e)
            fail_msg("row %zu: %s", i, ctx.text);
        assert_int_equal(up, rows[i].e ? 77u : (unsigned)rows[i].up);
    }
}

static void test_upgrade_only_get_1_1_without_body(void **state)
{
    static const char *const pairs[] = {
        WS, "Sec-WebSocket-Key", KEY, "Sec-WebSocket-Version", "13", NULL};
    struct http_head head = head_of(pairs);
    struct errctx ctx = {0};
    enum upgrade up;

    (void)state;
    head.method = STR("POST");
    assert_int_equal(hop_upgrade(&head, &up, &ctx), ERR_OK);
    assert_int_equal(up, UPGRADE_OTHER);
    head.method = STR("GET"), head.minor = 0;
    assert_int_equal(hop_upgrade(&head, &up, &ctx), ERR_OK);
    assert_int_equal(up, UPGRADE_OTHER);
    head.minor = 1, head.framing = FRAMING_CHUNKED;
    assert_int_equal(hop_upgrade(&head, &up, &ctx), ERR_BAD_REQUEST);
    head.framing = FRAMING_LENGTH, head.length = 1;
    err_clear(&ctx);
    assert_int_equal(hop_upgrade(&head, &up, &ctx), ERR_BAD_REQUEST);
    head.length = 0;
    err_clear(&ctx);
    assert_int_equal(hop_upgrade(&head, &up, &ctx), ERR_OK);
    assert_int_equal(up, UPGRADE_WEBSOCKET);
}

/* Computed once with `printf | openssl sha1 -binary | base64`; the first is RFC 6455's own example
 * (case 102). */
static void test_accept_case_102(void **state)
{
    static const struct {
        struct str key;
        const char *accept;
    } rows[] = {
        {{"dGhlIHNhbXBsZSBub25jZQ==", 24}, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
        {{"", 0}, "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="},
        {{"x3JJHMbDL1EzLkh9GBhXDw==", 24}, "HSmrc0sMlYUkAGmm5OPpG2HaGWk="},
        {{"aaaaaaaaaaaaaaaaaaaaaaaa", 24}, "TmYIHLoW1r4FYPaacqDVONL30tQ="},
    };
    char accept[29];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(hop_websocket_accept(rows[i].key, accept));
        assert_string_equal(accept, rows[i].accept);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strip),
        cmocka_unit_test(test_strip_endless_list),
        cmocka_unit_test(test_upgrade_case_103),
        cmocka_unit_test(test_upgrade_only_get_1_1_without_body),
        cmocka_unit_test(test_accept_case_102),
    };

    return cmocka_run_group_tests_name("http/hop", tests, NULL, NULL);
}
