#include "h1_bench.h"

/* ---- the same events however the bytes come ---- */

struct script {
    const char *name, *method, *bytes, *want;
    enum err end; /* behind the bytes; ERR_OK: nothing */
};

static void begin_script(const struct script *s)
{
    if (s->method) {
        upstream(s->method);
    } else {
        client();
        B.serve = true;
    }
}

static void end_script(const struct script *s, const char *how, size_t at)
{
    if (s->end) {
        wire_end(&B.wire, s->end);
        turns(B.wire.stutter ? 8 : 3);
    }
    if (strcmp(bench_trace(), s->want) != 0)
        fail_msg("%s, %s %zu: got \"%s\", not \"%s\"", s->name, how, at, B.trace, s->want);
    done();
}

static void play(const struct script *s)
{
    size_t n = strlen(s->bytes);

    for (size_t at = 0; at <= n; at++) { /* at 0 and n: whole */
        begin_script(s);
        wire_give(&B.wire, s->bytes, at);
        turns(1);
        wire_give(&B.wire, s->bytes + at, n - at);
        turns(6);
        end_script(s, "split at", at);
    }
    begin_script(s);
    for (size_t at = 0; at < n; at++) {
        wire_give(&B.wire, s->bytes + at, 1);
        turns(1);
    }
    turns(4);
    end_script(s, "bytes of", n);
    begin_script(s);
    B.wire.stutter = true;
    give(s->bytes);
    turns((unsigned)(4 * n + 400));
    end_script(s, "stutter of", n);
    begin_script(s);
    B.take = 1; /* every byte is taken for itself */
    B.wire.read_max = 3;
    give(s->bytes);
    for (size_t at = 0; at < n + 8; at++) {
        turns(1);
        if (B.leg)
            leg_resume(B.leg);
    }
    turns(6);
    end_script(s, "one taken at a time of", n);
}

static const struct script REQUESTS[] = {
    {.name = "no body", .bytes = "GET /a HTTP/1.1\r\n" HOST "\r\n", .want = "GET /a end"},
    {.name = "empty line first",
     .bytes = "\r\nGET /a HTTP/1.1\r\n" HOST "\r\n",
     .want = "GET /a end"},
    {.name = "length",
     .bytes = "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
     .want = "PUT /a (hello) end"},
    {.name = "length 0",
     .bytes = "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
     .want = "PUT /a end"},
    {.name = "38 chunked",
     .bytes = "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
              "3\r\nabc\r\n1;x=y\r\nd\r\n0000a\r\n0123456789\r\n0\r\n\r\n",
     .want = "POST /a (abcd0123456789) end"},
    {.name = "chunked, empty",
     .bytes = "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     .want = "POST /a end"},
    {.name = "trailers",
     .bytes = "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
              "1\r\na\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n",
     .want = "POST /a (a) end X-Sum=7"},
    {.name = "C5 pipelined",
     .bytes =
         "GET /a HTTP/1.1\r\n" HOST "\r\nPUT /b HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"
         "POST /c HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
         "GET /d HTTP/1.1\r\n" HOST "\r\n",
     .want = "GET /a end PUT /b (hi) end POST /c (x) end GET /d end fin",
     .end = ERR_EOF},
    {.name = "closes",
     .bytes = "GET /a HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /b HTTP/1.1\r\n",
     .want = "GET /a end"},
    {.name = "1.0",
     .bytes = "GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
     .want = "GET /a end"},
    {.name = "1.0 keep-alive",
     .bytes = "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
     .want = "GET /a end GET /b end"},
    {.name = "nothing", .bytes = "", .want = "fin", .end = ERR_EOF},
    {.name = "nothing, TLS cut", .bytes = "", .want = "fin", .end = ERR_UPSTREAM_ABORTED},
    {.name = "nothing, reset", .bytes = "", .want = "reset:reset", .end = ERR_RESET},
    {.name = "empty line", .bytes = "\r\n", .want = "fin", .end = ERR_EOF},
    {.name = "half a head", .bytes = "GET /a HT", .want = "reset:client_aborted", .end = ERR_EOF},
    {.name = "half a body",
     .bytes = "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel",
     .want = "PUT /a (hel) reset:client_aborted",
     .end = ERR_EOF},
    {.name = "half a body, reset",
     .bytes = "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel",
     .want = "PUT /a (hel) reset:reset",
     .end = ERR_RESET},
    {.name = "39 both",
     .bytes = "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
     .want = "reset:bad_request"},
    {.name = "39 chunk",
     .bytes = "PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
              "2\r\nab\r\nzz\r\n",
     .want = "PUT /a (ab) reset:bad_request"},
    {.name = "39 chunk end",
     .bytes = "PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
              "2\r\nabc\r\n",
     .want = "PUT /a (ab) reset:bad_request"},
    {.name = "39 trailer",
     .bytes = "PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
              "0\r\nno colon\r\n\r\n",
     .want = "PUT /a reset:bad_request"},
    {.name = "garbage", .bytes = "\x16\x03\x01\x02", .want = "reset:bad_request"},
    {.name = "505", .bytes = "GET / HTTP/2.0\r\n\r\n", .want = "reset:unsupported_version"},
    {.name = "no host", .bytes = "GET / HTTP/1.1\r\n\r\n", .want = "reset:bad_request"},
};

static const struct script RESPONSES[] = {
    {.name = "length",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
     .want = "200 (hello) end"},
    {.name = "98 length 0",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
     .want = "200 end"},
    {.name = "98 HEAD",
     .method = "HEAD",
     .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
     .want = "200 end"},
    {.name = "98 204", .method = "GET", .bytes = "HTTP/1.1 204 OK\r\n\r\n", .want = "204 end"},
    {.name = "98 304",
     .method = "GET",
     .bytes = "HTTP/1.1 304 OK\r\nContent-Length: 5\r\n\r\n",
     .want = "304 end"},
    {.name = "97 chunked",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nT: "
              "v\r\n\r\n",
     .want = "200 (abc) end T=v"},
    {.name = "close",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\n\r\nhello",
     .want = "200 (hello) end fin",
     .end = ERR_EOF},
    {.name = "C6a close, cut TLS",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\n\r\nhello",
     .want = "200 (hello) reset:upstream_aborted",
     .end = ERR_UPSTREAM_ABORTED},
    {.name = "110 close, reset",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\n\r\nhello",
     .want = "200 (hello) reset:upstream_aborted",
     .end = ERR_RESET},
    {.name = "98 interim",
     .method = "GET",
     .bytes = "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
              "Content-Length: 1\r\n\r\nx",
     .want = "100 103 200 (x) end"},
    {.name = "101",
     .method = "GET",
     .bytes = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\nearly",
     .want = "101 end"},
    {.name = "CONNECT",
     .method = "CONNECT",
     .bytes = "HTTP/1.1 200 OK\r\n\r\nearly",
     .want = "200 end"},
    {.name = "nothing", .method = "GET", .bytes = "", .want = "reset:eof", .end = ERR_EOF},
    {.name = "nothing, reset", .method = "GET", .bytes = "", .want = "reset:eof", .end = ERR_RESET},
    {.name = "only interim",
     .method = "GET",
     .bytes = "HTTP/1.1 100 C\r\n\r\n",
     .want = "100 reset:upstream_aborted",
     .end = ERR_EOF},
    {.name = "half a head",
     .method = "GET",
     .bytes = "HTTP/1.1 20",
     .want = "reset:upstream_aborted",
     .end = ERR_EOF},
    {.name = "half a body",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
     .want = "200 (hel) reset:upstream_aborted",
     .end = ERR_EOF},
    {.name = "bad chunk",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nx\r\n",
     .want = "200 (a) reset:bad_response"},
    {.name = "garbage", .method = "GET", .bytes = "SSH-2.0-x\r\n", .want = "reset:bad_response"},
    {.name = "differing lengths",
     .method = "GET",
     .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
     .want = "reset:bad_response"},
};

static void test_requests_however_they_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(REQUESTS); i++)
        play(&REQUESTS[i]);
}

static void test_responses_however_they_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(RESPONSES); i++)
        play(&RESPONSES[i]);
}

/* What the end of the stream means at every byte of a message that is whole at its end. */
static void cut_everywhere(const char *method, const char *bytes, const char *nothing,
                           const char *middle)
{
    size_t n = strlen(bytes);

    for (size_t at = 0; at < n; at++) {
        method ? upstream(method) : client();
        wire_give(&B.wire, bytes, at);
        if (at & 1)
            turns(2); /* else end and bytes are seen together */
        wire_end(&B.wire, ERR_EOF);
        turns(4);
        const char *want = at ? middle : nothing, *got = bench_trace();
        size_t w = strlen(want), g = strlen(got);
        if (g < w || strcmp(got + g - w, want) != 0)
            fail_msg("cut at %zu of \"%s\": \"%s\"", at, bytes, got);
        assert_int_equal(B.resets + B.fins, 1);
        assert_int_equal(B.ends, 0);
        done();
    }
}

static void test_end_at_every_byte(void **state)
{
    (void)state;
    cut_everywhere(NULL, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", "fin",
                   "reset:client_aborted");
    cut_everywhere(NULL,
                   "PUT / HTTP/1.1\r\n" HOST
                   "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n",
                   "fin", "reset:client_aborted");
    cut_everywhere("GET", "HTTP/1.1 200 O\r\nContent-Length: 3\r\n\r\nabc", "reset:eof",
                   "reset:upstream_aborted");
    cut_everywhere("GET",
                   "HTTP/1.1 200 O\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                   "reset:eof", "reset:upstream_aborted");
}

static void test_111_long_heads(void **state)
{
    static const size_t sizes[] = {16000, 16384, 16385, 17000, 32768, 40000, 65535, 65536};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t max = 0; max <= 5000; max += 5000) {
            size_t n = bench_long_head(big, sizes[i], "PUT /l HTTP/1.1\r\n" HOST,
                                       "Content-Length: 4\r\n\r\n");
            memcpy(big + n, "bodyGET /b HTTP/1.1\r\n" HOST "\r\n", 32);
            client();
            B.serve = true;
            B.wire.read_max = max;
            wire_give(&B.wire, big, n + 4 + strlen("GET /b HTTP/1.1\r\n" HOST "\r\n"));
            turns(6);
            assert_string_equal(bench_trace(), "PUT /l (body) end GET /b end");
            assert_int_equal(chunk_pool_out(B.chunks), 0);
            done();
            n = bench_long_head(big, sizes[i], "HTTP/1.1 200 O\r\n", "Content-Length: 4\r\n\r\n");
            memcpy(big + n, "body", 4);
            upstream("GET");
            B.wire.read_max = max;
            wire_give(&B.wire, big, n + 4);
            turns(6);
            assert_string_equal(bench_trace(), "200 (body) end");
            assert_true(B.leg->reusable);
            done();
        }
    }
}

static void test_105_heads_too_long(void **state)
{
    (void)state;
    size_t n = bench_long_head(big, LIMIT_HEAD_BYTES + 1, "PUT /l HTTP/1.1\r\n" HOST, "\r\n");
    client();
    wire_give(&B.wire, big, n);
    turns(3);
    assert_string_equal(bench_trace(), "reset:head_too_large");
    /* and it can be told so */
    assert_int_equal(send_head(response(431, FRAMING_LENGTH, 2), "Connection: close\r\n", false),
                     ERR_OK);
    size_t taken;
    assert_int_equal(leg_body(B.leg, STR("no"), &taken), ERR_OK);
    assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
    expect_out("HTTP/1.1 431 R\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    assert_true(B.leg->out_done);
    assert_false(B.leg->reusable);
    done();

    client();
    memset(big, 'a', LIMIT_HEAD_BYTES + 1);
    memcpy(big, "GET /", 5);
    wire_give(&B.wire, big, LIMIT_HEAD_BYTES + 1);
    turns(3);
    assert_string_equal(bench_trace(), "reset:uri_too_long");
    done();

    n = bench_long_head(big, LIMIT_HEAD_BYTES + 1, "HTTP/1.1 200 O\r\n", "\r\n");
    upstream("GET");
    wire_give(&B.wire, big, n);
    turns(3);
    assert_string_equal(bench_trace(), "reset:bad_response");
    assert_int_equal(B.leg->err.code, ERR_BAD_RESPONSE);
    done();

    upstream("GET");
    for (int i = 0; i < LIMIT_INTERIM_RESPONSES; i++)
        give("HTTP/1.1 102 P\r\n\r\n");
    turns(3);
    assert_int_equal(B.heads, LIMIT_INTERIM_RESPONSES);
    assert_int_equal(B.resets, 0);
    give("HTTP/1.1 102 P\r\n\r\n");
    turns(3);
    assert_int_equal(B.heads, LIMIT_INTERIM_RESPONSES);
    assert_int_equal(B.reset_code, ERR_BAD_RESPONSE);
    done();
}

/* A trailer section longer than a chunk of memory, and one over the limit. */
static void test_long_trailers(void **state)
{
    (void)state;
    for (size_t n = 30000; n < 100000; n += 60000) {
        client();
        give("PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n");
        size_t k = bench_long_head(big, n, "", "\r\n");
        wire_give(&B.wire, big, k);
        turns(4);
        if (n < LIMIT_HEAD_BYTES)
            assert_memory_equal(bench_trace(), "PUT / (a) end X=xxx", 19);
        else
            assert_string_equal(bench_trace(), "PUT / (a) reset:head_too_large");
        done();
    }
}

/* Many chunks that came together are one offer. */
static void test_chunks_are_joined(void **state)
{
    (void)state;
    upstream("GET");
    B.last = true;
    give("HTTP/1.1 200 O\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 500; i++)
        give("2\r\nab\r\n");
    give("0\r\n\r\n");
    turns(2);
    assert_int_equal(B.ends, 1);
    assert_int_equal(B.leg->bytes_in, 1000);
    assert_true(B.leg->reusable);
    const char *got = bench_trace();
    assert_memory_equal(got + 4, "( ", 0);
    assert_ptr_equal(strchr(got, '!'), got + 5 + 1000); /* once, behind all of it */
    done();
}

static void test_turn_has_a_budget(void **state)
{
    (void)state;
    upstream("GET");
    give("HTTP/1.1 200 O\r\n\r\n");
    turns(1);
    memset(big, 'x', sizeof(big));
    wire_give(&B.wire, big, 190000);
    wire_give(&B.wire, big, 190000);
    B.n = 0, B.in_body = false;
    loop_turn(B.loop, 0);
    assert_in_range(B.leg->bytes_in, LIMIT_TURN_BYTES, LIMIT_TURN_BYTES + LIMIT_CHUNK_BYTES);
    B.n = 0, B.in_body = false;
    turns(2);
    assert_int_equal(B.leg->bytes_in, 380000);
    done();
}

/* ---- back-pressure ---- */

static void test_paused_body_is_not_read(void **state)
{
    (void)state;
    upstream("GET");
    B.take = 0;
    give("HTTP/1.1 200 O\r\nContent-Length: 60000\r\n\r\n");
    memset(big, 'x', 60000);
    wire_give(&B.wire, big, 60000);
    turns(4);
    assert_string_equal(bench_trace(), "200");
    assert_in_range(B.wire.in_at, 1, LIMIT_CHUNK_BYTES);
    assert_int_equal(chunk_pool_out(B.chunks), 1);
    wire_poke(&B.wire);
    turns(2);
    assert_in_range(B.wire.in_at, 1, LIMIT_CHUNK_BYTES);
    B.take = 1000;
    for (int i = 0; i < 70; i++) {
        uint64_t before = B.leg->bytes_in;
        leg_resume(B.leg);
        assert_int_equal(B.leg->bytes_in, before); /* never from inside the command */
        turns(1);
    }
    assert_int_equal(B.leg->bytes_in, 60000);
    assert_int_equal(B.ends, 1);
    assert_int_equal(chunk_pool_out(B.chunks), 0);
    done();
}

/* An upstream that dies while its answer waits: what came is given first. */
static void test_paused_answer_then_death(void **state)
{
    (void)state;
    upstream("GET");
    B.take = 0;
    give("HTTP/1.1 200 O\r\nContent-Length: 60000\r\n\r\nabc");
    turns(2);
    wire_end(&B.wire, ERR_RESET);
    turns(2);
    assert_string_equal(bench_trace(), "200");
    B.take = SIZE_MAX;
    leg_resume(B.leg);
    turns(2);
    assert_string_equal(bench_trace(), "200 (abc) reset:upstream_aborted");
    done();
}

/* A client that leaves while its body waits for us is noticed, whatever lies unread. */
static void test_paused_request_then_gone(void **state)
{
    static const struct {
        const char *framing, *body;
        enum err end;
        const char *want;
    } rows[] = {
        {"Content-Length: 9", "abc", ERR_RESET, "PUT / reset:reset"},
        {"Content-Length: 9", "abc", ERR_EOF, "PUT / reset:client_aborted"},
        {"Content-Length: 3", "abc", ERR_EOF, "PUT / fin"},
        {"Content-Length: 3", "abcGET", ERR_EOF, "PUT / fin"},
        {"Transfer-Encoding: chunked", "3\r\nabc", ERR_EOF, "PUT / fin"},
        {"Transfer-Encoding: chunked", "3\r\nabc", ERR_RESET, "PUT / reset:reset"},
    };
    char head[200];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        client();
        B.take = 0;
        (void)snprintf(head, sizeof(head), "PUT / HTTP/1.1\r\n" HOST "%s\r\n\r\n%s",
                       rows[i].framing, rows[i].body);
        give(head);
        turns(2);
        wire_end(&B.wire, rows[i].end);
        turns(3);
        assert_string_equal(bench_trace(), rows[i].want);
        wire_poke(&B.wire);
        turns(2);
        assert_string_equal(bench_trace(), rows[i].want); /* once */
        done();
    }
    /* no room to look behind what is there: a FIN at least is told */
    client();
    B.take = 0;
    give("PUT / HTTP/1.1\r\n" HOST "Content-Length: 99999\r\n\r\n");
    memset(big, 'x', 90000);
    wire_give(&B.wire, big, 90000);
    turns(2);
    wire_end(&B.wire, ERR_EOF);
    turns(2);
    assert_string_equal(bench_trace(), "PUT / fin");
    B.take = SIZE_MAX;
    leg_resume(B.leg);
    turns(2);
    assert_int_equal(B.reset_code, ERR_CLIENT_ABORTED);
    done();
}

/* The client of a complete request leaves while it waits for the answer. */
static void test_waiting_client_leaves(void **state)
{
    (void)state;
    for (int pipelined = 0; pipelined < 2; pipelined++) {
        for (int reset = 0; reset < 2; reset++) {
            client();
            give("GET / HTTP/1.1\r\n" HOST "\r\n");
            if (pipelined)
                give("GET /2 HTTP/1.1\r\n" HOST "\r\n");
            turns(2);
            assert_int_equal(h1_leg_has_rest(B.leg), pipelined);
            wire_end(&B.wire, reset ? ERR_RESET : ERR_EOF);
            turns(3);
            assert_string_equal(bench_trace(), reset ? "GET / end reset:reset" : "GET / end fin");
            if (!reset) { /* half-closed: it still reads, and the pipelined request counts */
                B.serve = true;
                answer_204();
                assert_int_equal(B.leg->reusable, pipelined);
                h1_leg_next(B.leg);
                turns(3);
                assert_string_equal(bench_trace(), pipelined ? "GET / end fin GET /2 end fin"
                                                             : "GET / end fin fin");
            }
            done();
        }
    }
}

static void test_begun(void **state)
{
    (void)state;
    client();
    B.begun = true;
    B.serve = true;
    turns(1);
    give("\r\n");
    turns(1);
    assert_string_equal(bench_trace(), "");
    give("G");
    turns(1);
    assert_string_equal(bench_trace(), "begun");
    give("ET / HTTP/1.1\r\n");
    turns(1);
    assert_string_equal(bench_trace(), "begun");
    give(HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n");
    turns(3);
    assert_string_equal(bench_trace(), "begun GET / end begun GET /b end");
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_however_they_come),
        cmocka_unit_test(test_responses_however_they_come),
        cmocka_unit_test(test_end_at_every_byte),
        cmocka_unit_test(test_111_long_heads),
        cmocka_unit_test(test_105_heads_too_long),
        cmocka_unit_test(test_long_trailers),
        cmocka_unit_test(test_chunks_are_joined),
        cmocka_unit_test(test_turn_has_a_budget),
        cmocka_unit_test(test_paused_body_is_not_read),
        cmocka_unit_test(test_paused_answer_then_death),
        cmocka_unit_test(test_paused_request_then_gone),
        cmocka_unit_test(test_waiting_client_leaves),
        cmocka_unit_test(test_begun),
    };

    return cmocka_run_group_tests_name("h1_leg_in", tests, bench_set_up, bench_tear_down);
}
