/* What the corpus does not say: where a scan refuses, what its members hold, every byte in every
 * place. */
#include "http/h1_parse.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static enum err scan(enum h1_role role, const char *p, size_t n, struct h1_scan *s)
{
    struct errctx ctx = {0};

    h1_scan_init(s, role);
    return h1_scan(s, p, n, &ctx);
}

/* The first byte that cannot become right is the one refused, though nothing after it has come (no
 * peer waits for a time limit). */
static void test_refused_at_once(void **state)
{
    static const struct {
        enum h1_role role;
        const char *text;
    } rows[] = {
        {H1_REQUEST, "\x16"},
        {H1_REQUEST, "("},
        {H1_REQUEST, "\r\n\r"},
        {H1_REQUEST, "GE\""},
        {H1_REQUEST, "GET /\r"},
        {H1_REQUEST, "GET  "},
        {H1_REQUEST, "GET / h"},
        {H1_REQUEST, "GET / HTTP/x"},
        {H1_REQUEST, "GET / HTTP/1.1\n"},
        {H1_REQUEST, "GET / HTTP/1.1\r\r"},
        {H1_REQUEST, "GET / HTTP/1.1\r\n "},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost "},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost\r"},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost: a\n"},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost: abcdefgh\x01"},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\n\t"},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\n\rx"},
        {H1_RESPONSE, "h"},
        {H1_RESPONSE, "HTTP/2"},
        {H1_RESPONSE, "HTTP/1.1 0"},
        {H1_RESPONSE, "HTTP/1.1 2000"},
        {H1_RESPONSE, "HTTP/1.1 200 OK\rx"},
        {H1_RESPONSE, "HTTP/1.1 200 OK\r\n "},
        {H1_RESPONSE, "HTTP/1.1 200 OK\r\nA b"},
        {H1_RESPONSE, "HTTP/1.1 200 OK\r\nA\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct h1_scan s;
        size_t n = strlen(rows[i].text);
        enum err want = rows[i].role == H1_REQUEST ? ERR_BAD_REQUEST : ERR_BAD_RESPONSE;
        if (scan(rows[i].role, rows[i].text, n - 1, &s) != ERR_AGAIN)
            fail_msg("row %zu refused too early", i);
        if (scan(rows[i].role, rows[i].text, n, &s) != want || s.pos != n - 1)
            fail_msg("row %zu not refused at its last byte", i);
    }
}

static void test_again_after_refusal_and_end(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
    struct h1_scan s;
    struct errctx ctx = {0};

    (void)state;
    assert_int_equal(scan(H1_REQUEST, text, sizeof(text) - 1, &s), ERR_OK);
    assert_int_equal(s.pos, sizeof(text) - 4);
    assert_int_equal(h1_scan(&s, text, sizeof(text) - 1, &ctx), ERR_OK);
    assert_int_equal(s.pos, sizeof(text) - 4);
    assert_int_equal(scan(H1_REQUEST, "GET\n", 4, &s), ERR_BAD_REQUEST);
    assert_int_equal(h1_scan(&s, "GET\n /", 6, &ctx), ERR_BAD_REQUEST);
    assert_int_equal(s.pos, 3);
}

static void test_started(void **state)
{
    struct h1_scan s;

    (void)state;
    assert_int_equal(scan(H1_REQUEST, "", 0, &s), ERR_AGAIN);
    assert_false(s.started);
    assert_int_equal(scan(H1_REQUEST, "\r\n", 2, &s), ERR_AGAIN);
    assert_false(s.started);
    assert_int_equal(scan(H1_REQUEST, "\r\nG", 3, &s), ERR_AGAIN);
    assert_true(s.started);
    assert_int_equal(scan(H1_RESPONSE, "H", 1, &s), ERR_AGAIN);
    assert_true(s.started);
}

/* The buffer of a head is 64 KiB: a full one without an end is refused, not waited for. */
static void test_limit_needs_no_further_byte(void **state)
{
    static const struct {
        enum h1_role role;
        const char *start;
        enum err e;
    } rows[] = {
        {H1_REQUEST, "GET /", ERR_URI_TOO_LONG},
        {H1_REQUEST, "GET / HTTP/1.1\r\nX:", ERR_HEAD_TOO_LARGE},
        {H1_REQUEST, "GET / HTTP/1.1\r\nX", ERR_HEAD_TOO_LARGE},
        {H1_RESPONSE, "HTTP/1.1 200 ", ERR_BAD_RESPONSE},
        {H1_RESPONSE, "HTTP/1.1 200 OK\r\nX:", ERR_BAD_RESPONSE},
    };
    static char text[LIMIT_HEAD_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct h1_scan s;
        memset(text, 'a', sizeof(text));
        memcpy(text, rows[i].start, strlen(rows[i].start));
        assert_int_equal(scan(rows[i].role, text, sizeof(text) - 1, &s), ERR_AGAIN);
        assert_int_equal(scan(rows[i].role, text, sizeof(text), &s), rows[i].e);
    }
}

/* The 257th field is refused at its first byte. */
static void test_field_limit_needs_one_byte(void **state)
{
    static char text[4096];
    size_t n = 16;

    (void)state;
    memcpy(text, "GET / HTTP/1.1\r\n", n);
    for (int i = 0; i < LIMIT_HEAD_FIELDS; i++, n += 4)
        memcpy(text + n, "A:\r\n", 4);
    struct h1_scan s;
    assert_int_equal(scan(H1_REQUEST, text, n, &s), ERR_AGAIN);
    text[n] = 'A';
    assert_int_equal(scan(H1_REQUEST, text, n + 1, &s), ERR_HEAD_TOO_LARGE);
}

static bool token(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Every byte value in every kind of place; %c marks the place. The rules are written out anew here.
 */
static void test_every_byte(void **state)
{
    static const struct {
        enum h1_role role;
        const char *before, *after;
        int place; /* 0 token, 1 target, 2 value */
    } rows[] = {
        {H1_REQUEST, "G", "T / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {H1_REQUEST, "GET /", "x HTTP/1.1\r\nHost: a\r\n\r\n", 1},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\nX", "y: z\r\n\r\n", 0},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\nX: ", "y\r\n\r\n", 2},
        {H1_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\nX: 123456789", "y23456789\r\n\r\n", 2},
        {H1_RESPONSE, "HTTP/1.1 200 a", "b\r\nContent-Length: 0\r\n\r\n", 2},
        {H1_RESPONSE, "HTTP/1.1 200 OK\r\nX", "y: z\r\n\r\n", 0},
        {H1_RESPONSE, "HTTP/1.1 200 OK\r\nX: 123456789", "y23456789\r\n\r\n", 2},
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int c = 0; c < 256; c++) {
            size_t n = strlen(rows[i].before), m = strlen(rows[i].after);
            memcpy(text, rows[i].before, n);
            text[n] = (char)c;
            memcpy(text + n + 1, rows[i].after, m);
            bool ok = rows[i].place == 0   ? token(c) || (c == ':' && i != 0)
                      : rows[i].place == 1 ? c > 32 && c != 127 && c != '#'
                                           : c == '\t' || (c >= 32 && c != 127);
            if ((c == '\n' && rows[i].role == H1_RESPONSE && rows[i].place == 2) ||
                (c == ' ' && i == 0))
                continue; /* a line that ends in LF alone, another target: the corpus has them */
            struct h1_scan s;
            enum err e = scan(rows[i].role, text, n + 1 + m, &s);
            if ((e == ERR_OK) != ok || (!ok && s.pos > n + 1))
                fail_msg("row %zu, byte 0x%02x: %s at %u", i, c, err_name(e), s.pos);
        }
    }
}

static void test_request_members(void **state)
{
    char text[] = "\r\nPOST http://h/p?q HTTP/1.7\r\nHost: h:80\r\nContent-Length: 12\r\n"
                  "Expect: 100-continue\r\nX-A:\t v w \r\n\r\n";
    struct field v[8];
    struct http_head head = {.fields = {v, 5, 8}, .tainted = true, .status = 7};
    struct errctx ctx = {0};

    (void)state;
    assert_int_equal(h1_parse_request(text, sizeof(text) - 1, &head, &ctx), ERR_OK);
    assert_true(str_eq(head.method, STR("POST")));
    assert_true(str_eq(head.target, STR("http://h/p?q")));
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.status, 0);
    assert_false(head.tainted);
    assert_true(head.expect_100 && head.keep_alive);
    assert_int_equal(head.framing, FRAMING_LENGTH);
    assert_int_equal(head.length, 12);
    assert_int_equal(head.fields.n, 4);
    assert_int_equal(v[0].id, FIELD_HOST);
    assert_int_equal(v[3].id, FIELD_OTHER);
    assert_true(str_eq(v[3].name, STR("X-A")));
    assert_true(str_eq(v[3].value, STR("v w")));
}

/* With another expectation the head is filled, so that the answer can keep the connection and be
 * logged. */
static void test_unknown_expectation_fills_head(void **state)
{
    char text[] = "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nExpect: x\r\n\r\n";
    struct field v[8];
    struct http_head head = {.fields = {v, 0, 8}};
    struct errctx ctx = {0};

    (void)state;
    assert_int_equal(h1_parse_request(text, sizeof(text) - 1, &head, &ctx), ERR_BAD_EXPECTATION);
    assert_int_equal(head.length, 12);
    assert_true(head.keep_alive);
    assert_false(head.expect_100);
}

static void test_fields_over_the_room(void **state)
{
    char text[] = "GET /p HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\n\r\n";
    struct field v[2];
    struct http_head head = {.fields = {v, 0, 2}};
    struct errctx ctx = {0};

    (void)state;
    assert_int_equal(h1_parse_request(text, sizeof(text) - 1, &head, &ctx), ERR_HEAD_TOO_LARGE);
}

/* Bytes that no scan let through are refused or read somehow, but stay inside the buffer (ASan
 * watches). */
static void test_unscanned_bytes_are_safe(void **state)
{
    static const char *const rows[] = {
        "",
        "\r\n",
        "\n",
        "G",
        "G\n",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\n",
        "G HTTP/1.1\r\n\r\n",
        " HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nx\r\n\r\n",
        "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "HTTP/1.1 200",
        "HTTP/1.1 200\n",
        "HTTP/1.1 2\r\n\r\n",
        "\n \n\n",
        "HTTP/1.1 200\n \n\n",
    };
    struct field v[8];
    struct errctx ctx = {0};
    char text[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_head head = {.fields = {v, 0, 8}};
        size_t n = strlen(rows[i]);
        memcpy(text, rows[i], n);
        err_clear(&ctx);
        assert_int_not_equal(h1_parse_request(text, n, &head, &ctx), ERR_OK);
        memcpy(text, rows[i], n);
        err_clear(&ctx);
        enum err e = h1_parse_response(text, n, STR("GET"), &head, &ctx);
        assert_true(e == ERR_OK || e == ERR_BAD_RESPONSE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_at_once),
        cmocka_unit_test(test_again_after_refusal_and_end),
        cmocka_unit_test(test_started),
        cmocka_unit_test(test_limit_needs_no_further_byte),
        cmocka_unit_test(test_field_limit_needs_one_byte),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_request_members),
        cmocka_unit_test(test_unknown_expectation_fills_head),
        cmocka_unit_test(test_fields_over_the_room),
        cmocka_unit_test(test_unscanned_bytes_are_safe),
    };

    return cmocka_run_group_tests_name("http/h1_parse", tests, NULL, NULL);
}
