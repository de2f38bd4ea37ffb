#include "http/h1_write.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct field room[8];

static void expect(struct buf *b, const char *text)
{
    assert_true(buf_ok(b));
    if (!str_eq(buf_str(b), str_from(text)))
        fail_msg("want\n%s\ngot\n%.*s", text, STR_ARG(buf_str(b)));
    buf_reset(b);
}

static struct http_head head_with(const char *name, const char *value)
{
    struct http_head head = {.method = STR("GET"),
                             .target = STR("/x"),
                             .status = 200,
                             .reason = STR("OK"),
                             .fields = {room, 0, 8}};

    if (name)
        assert_true(fields_add(&head.fields, str_from(name), str_from(value)));
    return head;
}

static void test_request_framing(void **state)
{
    static const struct {
        const char *method;
        enum framing framing;
        uint64_t length;
        const char *lines;
    } rows[] = {
        {"GET", FRAMING_NONE, 0, ""},
        {"HEAD", FRAMING_NONE, 9, ""},
        {"DELETE", FRAMING_NONE, 0, ""},
        {"POST", FRAMING_NONE, 0, "Content-Length: 0\r\n"},
        {"PUT", FRAMING_NONE, 0, "Content-Length: 0\r\n"},
        {"PATCH", FRAMING_NONE, 0, "Content-Length: 0\r\n"},
        {"GET", FRAMING_LENGTH, 0, "Content-Length: 0\r\n"},
        {"POST", FRAMING_LENGTH, INT64_MAX, "Content-Length: 9223372036854775807\r\n"},
        {"POST", FRAMING_CHUNKED, 7, "Transfer-Encoding: chunked\r\n"},
    };
    char want[256];
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_head head = head_with("Host", "a");
        head.method = str_from(rows[i].method);
        head.framing = (uint8_t)rows[i].framing;
        head.length = rows[i].length;
        snprintf(want, sizeof(want), "%s /x HTTP/1.1\r\nHost: a\r\n%sA: b\r\n\r\n", rows[i].method,
                 rows[i].lines);
        h1_write_request(&b, &head, STR("A: b\r\n"));
        expect(&b, want);
    }
    buf_fini(&b);
}

/* Neither dropped fields nor a second framing ever go out, whatever the fields hold. */
static void test_own_framing_only(void **state)
{
    struct http_head head = head_with("Content-Length", "5");
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    assert_true(fields_add(&head.fields, STR("transfer-encoding"), STR("gzip")));
    assert_true(fields_add(&head.fields, STR("X-Gone"), STR("1")));
    assert_true(fields_add(&head.fields, STR("X-Stays"), STR("2")));
    room[2].drop = true;
    head.framing = FRAMING_CHUNKED;
    h1_write_request(&b, &head, STR_NULL);
    expect(&b, "GET /x HTTP/1.1\r\nX-Stays: 2\r\nTransfer-Encoding: chunked\r\n\r\n");
    h1_write_response(&b, &head, STR_NULL);
    expect(&b, "HTTP/1.1 200 OK\r\nX-Stays: 2\r\nTransfer-Encoding: chunked\r\n\r\n");
    head.framing = FRAMING_NONE;
    h1_write_request(&b, &head, STR_NULL);
    expect(&b, "GET /x HTTP/1.1\r\nX-Stays: 2\r\n\r\n");
    h1_write_response(&b, &head, STR_NULL);
    expect(&b, "HTTP/1.1 200 OK\r\nX-Stays: 2\r\n\r\n");
    buf_fini(&b);
}

static void test_response_framing(void **state)
{
    static const struct {
        uint16_t status;
        enum framing framing;
        const char *kept; /* Content-Length it had */
        const char *lines;
    } rows[] = {
        {200, FRAMING_LENGTH, NULL, "Content-Length: 7\r\n"},
        {200, FRAMING_CHUNKED, NULL, "Transfer-Encoding: chunked\r\n"},
        {200, FRAMING_CLOSE, NULL, ""},
        {200, FRAMING_CLOSE, "5", ""},
        {200, FRAMING_NONE, NULL, ""},
        {200, FRAMING_NONE, "5", "Content-Length: 5\r\n"},
        {304, FRAMING_NONE, "5", "Content-Length: 5\r\n"},
        {200, FRAMING_NONE, "x\r\nEvil: 1", ""},
        {204, FRAMING_NONE, "5", ""},
        {100, FRAMING_NONE, "5", ""},
        {101, FRAMING_NONE, "5", ""},
    };
    char want[256];
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_head head = head_with(rows[i].kept ? "Content-Length" : NULL, rows[i].kept);
        head.status = rows[i].status;
        head.framing = (uint8_t)rows[i].framing;
        head.length = 7;
        room[0].drop = true; /* as hop_strip leaves it */
        snprintf(want, sizeof(want), "HTTP/1.1 %u OK\r\n%s\r\n", rows[i].status, rows[i].lines);
        h1_write_response(&b, &head, STR_NULL);
        expect(&b, want);
    }
    buf_fini(&b);
}

static void test_exact_room(void **state)
{
    static const char want[] = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_head head = head_with("Host", "a");
    struct buf b;

    (void)state;
    buf_init(&b, sizeof(want) - 1);
    h1_write_request(&b, &head, STR_NULL);
    expect(&b, want);
    buf_fini(&b);
    buf_init(&b, sizeof(want) - 2);
    h1_write_request(&b, &head, STR_NULL);
    assert_false(buf_ok(&b));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_framing),
        cmocka_unit_test(test_own_framing_only),
        cmocka_unit_test(test_response_framing),
        cmocka_unit_test(test_exact_room),
    };

    return cmocka_run_group_tests_name("http/h1_write", tests, NULL, NULL);
}
