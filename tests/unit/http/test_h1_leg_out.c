#include "h1_bench.h"

/* ---- writing ---- */

/* Ends may wait for a flush: the same bytes come out. */
static bool soon;

enum dribble { WRITE_ALL, WRITE_ONE, WRITE_STUTTER, WRITE_ROOM, WRITE_COUNT_ };

/* Offers everything as an exchange does: what was not taken is offered again when the leg is
 * writable. */
static void pour(const char *const *parts, size_t n, const struct fields *trailers, bool hint,
                 enum dribble how)
{
    size_t i = 0, at = 0;
    bool ended = false;

    if (how == WRITE_ONE)
        B.wire.write_max = 1;
    if (how == WRITE_STUTTER)
        B.wire.stutter = true;
    if (how == WRITE_ROOM)
        B.wire.room = 0;
    for (unsigned guard = 0; !B.leg->out_done; guard++) {
        if (guard == 5000)
            fail_msg("way %d: part %zu at %zu, wrote \"%.*s\"", how, i, at,
                     STR_ARG(wire_out(&B.wire)));
        while (i < n) {
            size_t taken = 99999, left = strlen(parts[i]) - at;
            B.leg->out_soon = soon;
            B.leg->out_last = hint && i + 1 == n && !trailers;
            assert_int_equal(leg_body(B.leg, str_of(parts[i] + at, left), &taken), ERR_OK);
            assert_true(taken <= left);
            at += taken;
            if (taken < left)
                break;
            i++, at = 0;
        }
        if (i == n && !ended) {
            B.leg->out_soon = soon;
            enum err e = leg_end(B.leg, trailers);
            assert_int_equal(e, B.leg->out_done ? ERR_OK : ERR_AGAIN);
            ended = true;
            (void)leg_flush(B.leg);
        }
        if (how == WRITE_ROOM) {
            B.wire.room = 1 + guard % 5;
            wire_poke(&B.wire);
        }
        turns(1);
    }
}

static void test_every_framing_out(void **state)
{
    static const char *const parts[] = {"hello", "0123456789abcdef0", "", "x"};
    struct field fv[] = {{.name = STR("T"), .value = STR("v")},
                         {.name = STR("Secret"), .value = STR("v"), .drop = true}};
    struct fields trailers = {.v = fv, .n = 2, .cap = 2};
    (void)state;
    for (int how = 0; how < 2 * WRITE_COUNT_; how++) {
        soon = how >= WRITE_COUNT_;
        client();
        assert_int_equal(send_head(response(200, FRAMING_LENGTH, 23), "A: b\r\n", false), ERR_OK);
        pour(parts, 4, NULL, false, (enum dribble)(how % WRITE_COUNT_));
        expect_out("HTTP/1.1 200 R\r\nContent-Length: 23\r\nA: b\r\n\r\nhello0123456789abcdef0x");
        assert_int_equal(B.leg->bytes_out, 23);
        assert_int_equal(chunk_pool_out(B.chunks), 0);
        done();

        client();
        assert_int_equal(send_head(response(200, FRAMING_CLOSE, 0), "", false), ERR_OK);
        pour(parts, 4, NULL, false, (enum dribble)(how % WRITE_COUNT_));
        expect_out("HTTP/1.1 200 R\r\n\r\nhello0123456789abcdef0x");
        done();

        for (int hint = 0; hint < 2; hint++) {
            client();
            assert_int_equal(send_head(response(200, FRAMING_CHUNKED, 0), "", false), ERR_OK);
            pour(parts, 4, NULL, hint, (enum dribble)(how % WRITE_COUNT_));
            expect_out("HTTP/1.1 200 R\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
                       "11\r\n0123456789abcdef0\r\n1\r\nx\r\n0\r\n\r\n");
            assert_int_equal(B.leg->bytes_out, 23);
            done();
        }

        assert_int_equal(bench_leg(false), ERR_OK);
        assert_int_equal(send_head(request("POST", FRAMING_CHUNKED, 0), "", false), ERR_OK);
        pour(parts, 4, &trailers, true, (enum dribble)(how % WRITE_COUNT_));
        expect_out("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
                   "11\r\n0123456789abcdef0\r\n1\r\nx\r\n0\r\nT: v\r\n\r\n");
        assert_int_equal(chunk_pool_out(B.chunks), 0);
        done();

        assert_int_equal(bench_leg(false), ERR_OK);
        assert_int_equal(send_head(request("POST", FRAMING_CHUNKED, 0), "", false), ERR_OK);
        pour(parts, 0, NULL, false, (enum dribble)(how % WRITE_COUNT_));
        expect_out("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        done();

        assert_int_equal(bench_leg(false), ERR_OK);
        assert_int_equal(send_head(request("HEAD", FRAMING_NONE, 0), "", true), ERR_OK);
        pour(parts, 0, NULL, false, (enum dribble)(how % WRITE_COUNT_));
        expect_out("HEAD / HTTP/1.1\r\n\r\n");
        done();
    }
    soon = false;
}

/* An answer to HEAD says how it would be framed, and has no body. */
static void test_98_bodiless_chunked_answer(void **state)
{
    (void)state;
    client();
    assert_int_equal(send_head(response(200, FRAMING_CHUNKED, 0), "", true), ERR_OK);
    assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
    expect_out("HTTP/1.1 200 R\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_true(B.leg->out_done);
    done();
}

/* Too many bytes would be the beginning of another message. */
static void test_more_than_announced_is_refused(void **state)
{
    size_t taken = 7;
    (void)state;
    client();
    assert_int_equal(send_head(response(200, FRAMING_LENGTH, 3), "", false), ERR_OK);
    assert_int_equal(leg_body(B.leg, STR("abcd"), &taken), ERR_INVALID);
    assert_int_equal(leg_body(B.leg, STR("abc"), &taken), ERR_OK);
    assert_int_equal(taken, 3);
    assert_int_equal(leg_body(B.leg, STR("d"), &taken), ERR_INVALID);
    assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
    assert_int_equal(leg_body(B.leg, STR("d"), &taken), ERR_INVALID);
    expect_out("HTTP/1.1 200 R\r\nContent-Length: 3\r\n\r\nabc");
    done();
}

static void test_large_heads_out(void **state)
{
    static const struct {
        size_t n;
        enum err want;
    } rows[] = {
        {100, ERR_OK},   {16300, ERR_OK},        {16400, ERR_OK},         {60000, ERR_OK},
        {81000, ERR_OK}, {82000, ERR_TOO_LARGE}, {150000, ERR_TOO_LARGE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int secret = 0; secret < 2; secret++) {
            memset(big, 'v', rows[i].n);
            struct field f = {.name = STR("X"), .value = str_of(big, rows[i].n)};
            struct http_head head = request("GET", FRAMING_NONE, 0);
            head.fields = (struct fields){.v = &f, .n = 1, .cap = 1};
            assert_int_equal(bench_leg(false), ERR_OK);
            B.leg->secret_out = secret;
            assert_int_equal(leg_head(B.leg, &head, STR("Y: z\r\n"), true), rows[i].want);
            if (!rows[i].want) {
                B.wire.write_max = 7777;
                assert_int_equal(leg_flush(B.leg), ERR_OK);
                assert_int_equal(B.wire.out_n,
                                 rows[i].n + strlen("GET / HTTP/1.1\r\nX: \r\nY: z\r\n\r\n"));
            }
            assert_int_equal(chunk_pool_out(B.chunks), 0);
            done();
        }
    }
}

/* The hint that these are the last bytes holds for them only, not for the chunk that was announced
 * before. */
static void test_hint_of_the_last_bytes(void **state)
{
    size_t taken;
    (void)state;
    client();
    assert_int_equal(send_head(response(200, FRAMING_CHUNKED, 0), "", false), ERR_OK);
    B.wire.room = strlen("HTTP/1.1 200 R\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na");
    B.leg->out_last = true;
    assert_int_equal(leg_body(B.leg, STR("abcd"), &taken), ERR_OK);
    assert_int_equal(taken, 1);
    assert_false(B.leg->out_last);
    B.wire.room = 3;
    B.leg->out_last = true;
    assert_int_equal(leg_body(B.leg, STR("bcdefg"), &taken), ERR_OK); /* three are announced */
    assert_int_equal(taken, 3);
    B.wire.room = SIZE_MAX;
    B.leg->out_last = true;
    assert_int_equal(leg_body(B.leg, STR("efg"), &taken), ERR_OK);
    assert_int_equal(taken, 3);
    assert_int_equal(leg_body(B.leg, STR("h"), &taken), ERR_INVALID);
    assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
    expect_out(
        "HTTP/1.1 200 R\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n");
    done();
}

/* What held a secret is zero when it goes back to the pool. */
static void test_secrets_are_wiped(void **state)
{
    struct chunk_pool *kept = B.chunks;
    (void)state;
    for (int secret = 0; secret < 2; secret++) {
        B.chunks = chunk_pool_new(1);
        assert_non_null(B.chunks);
        assert_int_equal(bench_leg(false), ERR_OK);
        B.leg->secret_out = secret;
        assert_int_equal(send_head(request("GET", FRAMING_NONE, 0), "X-Key: hunter2\r\n", true),
                         ERR_OK);
        assert_int_equal(leg_flush(B.leg), ERR_OK);
        assert_int_equal(B.wire.secret, secret); /* and the stream keeps no copy */
        struct chunk *c = chunk_take(B.chunks);
        assert_non_null(c);
        assert_int_equal(memmem(c->data, 100, "hunter2", 7) != NULL, !secret);
        chunk_release(B.chunks, c);
        done();
        chunk_pool_free(B.chunks);
    }
    B.chunks = kept;
}

/* ---- few system calls ---- */

static void test_one_write_for_head_and_body(void **state)
{
    size_t taken;
    (void)state;
    client();
    turns(1);
    give("GET / HTTP/1.1\r\n" HOST "\r\n");
    turns(1);
    assert_int_equal(B.wire.reads, 1);
    assert_int_equal(send_head(response(200, FRAMING_LENGTH, 2), "", false), ERR_OK);
    assert_int_equal(leg_body(B.leg, STR("hi"), &taken), ERR_OK);
    assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
    assert_int_equal(B.wire.writes, 1);
    assert_true(B.leg->reusable);
    assert_int_equal(chunk_pool_out(B.chunks), 0);
    h1_leg_next(B.leg);
    turns(2);
    assert_int_equal(chunk_pool_out(B.chunks), 0); /* idle: no memory but the leg */
    give("GET / HTTP/1.1\r\n" HOST "\r\n");
    turns(1);
    B.wire.writes = 0;
    assert_int_equal(send_head(response(200, FRAMING_CHUNKED, 0), "", false), ERR_OK);
    B.leg->out_last = true;
    assert_int_equal(leg_body(B.leg, STR("hi"), &taken), ERR_OK);
    assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
    assert_int_equal(B.wire.writes, 1);
    done();
}

/* Nothing is written until the owner flushes: what a batch of events ends goes out back to back behind it. */
static void test_end_of_the_turn(void **state)
{
    static char large[4000];
    size_t taken = 0;
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        client();
        B.leg->out_soon = B.leg->out_last = true;
        memset(large, 'x', sizeof(large));
        unsigned before = B.wire.writes;
        size_t n = i == 2 ? sizeof(large) : 5;
        assert_int_equal(
            send_head(response(200, i == 1 ? FRAMING_CHUNKED : FRAMING_LENGTH, n), "", false), ERR_OK);
        assert_int_equal(leg_body(B.leg, str_of(large, n), &taken), ERR_OK);
        assert_int_equal(taken, n);
        assert_int_equal(B.wire.writes, i == 2 ? before + 1 : before);
        assert_int_equal(leg_end(B.leg, NULL), i == 2 ? ERR_OK : ERR_AGAIN);
        assert_int_equal(B.leg->out_done, i == 2);
        assert_int_equal(leg_flush(B.leg), ERR_OK);
        assert_int_equal(B.wire.writes, before + 1);
        assert_true(B.leg->out_done);
        assert_int_equal(chunk_pool_out(B.chunks), 0);
        done();
    }
}

/* ---- expectations, early answers, dead writers ---- */

static void test_100_continue(void **state)
{
    (void)state;
    client();
    give("PUT / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    turns(2);
    assert_true(B.expect_100);
    assert_int_equal(h1_leg_skip(B.leg), ERR_TOO_LARGE); /* it may never come */
    assert_int_equal(send_head(response(100, FRAMING_NONE, 0), "", false), ERR_OK);
    assert_int_equal(leg_flush(B.leg), ERR_OK);
    assert_false(B.leg->out_done);
    expect_out("HTTP/1.1 100 R\r\n\r\n");
    give("abc");
    turns(1);
    assert_string_equal(bench_trace(), "PUT / (abc) end");
    answer_204();
    assert_true(B.leg->reusable);
    expect_out("HTTP/1.1 100 R\r\n\r\nHTTP/1.1 204 R\r\n\r\n");
    done();

    client();
    give("PUT / HTTP/1.1\r\n" HOST "Expect: nonsense\r\nContent-Length: 3\r\n\r\nabc");
    turns(2);
    assert_string_equal(bench_trace(), "PUT / (abc) end");
    assert_int_equal(B.leg->err.code, ERR_BAD_EXPECTATION);
    answer_204();
    assert_true(B.leg->reusable);
    done();
}

static void test_early_answer(void **state)
{
    size_t taken;
    (void)state;
    for (int dead = 0; dead < 2; dead++) {
        assert_int_equal(bench_leg(false), ERR_OK);
        assert_int_equal(send_head(request("PUT", FRAMING_LENGTH, 10), "", false), ERR_OK);
        assert_int_equal(leg_body(B.leg, STR("abc"), &taken), ERR_OK);
        if (dead) {
            B.wire.write_err = ERR_RESET;
            assert_int_equal(leg_body(B.leg, STR("defg"), &taken), ERR_RESET);
            assert_int_equal(B.write_errors, 0); /* not from inside */
            turns(1);
            assert_int_equal(B.write_errors, 1);
            assert_int_equal(leg_body(B.leg, STR("defg"), &taken), ERR_RESET);
            assert_int_equal(leg_end(B.leg, NULL), ERR_RESET);
        }
        give("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
        turns(2);
        assert_string_equal(bench_trace(), dead ? "write_error 403 (no) end" : "403 (no) end");
        assert_true(B.leg->in_done);
        assert_false(B.leg->reusable);
        if (!dead) { /* it still takes the rest */
            assert_int_equal(leg_body(B.leg, STR("defghij"), &taken), ERR_OK);
            assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
            assert_true(B.leg->out_done);
            assert_true(B.leg->reusable);
        }
        done();
    }
}

static void test_write_error_while_waiting(void **state)
{
    size_t taken;
    (void)state;
    for (int is_client = 0; is_client < 2; is_client++) {
        assert_int_equal(bench_leg(is_client), ERR_OK);
        if (is_client) {
            give("GET / HTTP/1.1\r\n" HOST "\r\n");
            turns(1);
            assert_int_equal(send_head(response(200, FRAMING_CLOSE, 0), "", false), ERR_OK);
        } else {
            assert_int_equal(send_head(request("PUT", FRAMING_CHUNKED, 0), "", false), ERR_OK);
        }
        B.wire.room = 30;
        assert_int_equal(leg_body(B.leg, STR("0123456789012345678901234567890123456789"), &taken),
                         ERR_OK);
        assert_true(taken < 40);
        turns(1);
        B.wire.write_err = ERR_RESET;
        wire_poke(&B.wire);
        turns(2);
        /* nothing of ours is left for a response that is framed by the end: only the next write can
         * notice */
        if (is_client) {
            assert_int_equal(leg_body(B.leg, STR("x"), &taken), ERR_RESET);
            turns(1);
            assert_string_equal(bench_trace(), "GET / end reset:reset");
        } else {
            assert_string_equal(bench_trace(), "write_error");
            wire_end(&B.wire, ERR_RESET);
            turns(2);
            assert_string_equal(bench_trace(), "write_error reset:eof");
        }
        done();
    }
}

/* Who is told that the connection is dead is not told again, nor of a message that is over. */
static void test_death_is_told_once(void **state)
{
    (void)state;
    client();
    give("GET / HTTP/1.1\r\n" HOST "\r\n");
    turns(1);
    wire_end(&B.wire, ERR_RESET);
    B.wire.write_err = ERR_RESET;
    turns(2);
    assert_string_equal(bench_trace(), "GET / end reset:reset");
    answer_204();
    turns(2);
    assert_int_equal(B.resets, 1);
    done();

    client(); /* malformed, and then it does not wait for the answer */
    give("nonsense\r\n");
    turns(1);
    assert_string_equal(bench_trace(), "reset:bad_request");
    B.wire.write_err = ERR_RESET;
    assert_int_equal(send_head(response(400, FRAMING_LENGTH, 0), "", true), ERR_OK);
    assert_int_equal(leg_flush(B.leg), ERR_RESET);
    turns(2);
    assert_string_equal(bench_trace(), "reset:bad_request reset:reset");
    done();

    assert_int_equal(bench_leg(false), ERR_OK);
    assert_int_equal(send_head(request("PUT", FRAMING_CHUNKED, 0), "", false), ERR_OK);
    give("nonsense\r\n");
    turns(1);
    B.wire.write_err = ERR_RESET;
    assert_int_equal(leg_flush(B.leg), ERR_RESET);
    turns(2);
    assert_string_equal(bench_trace(), "reset:bad_response");
    done();
}

static void test_reuse_says_what_was_written(void **state)
{
    static const struct {
        const char *extra, *field;
        enum framing framing;
        bool want;
    } rows[] = {
        {"", "x", FRAMING_LENGTH, true},
        {"Connection: close\r\n", "x", FRAMING_LENGTH, false},
        {"A: b\r\nconnection:keep-alive , CLOSE\r\n", "x", FRAMING_LENGTH, false},
        {"Connection: keep-alive\r\n", "x", FRAMING_LENGTH, true},
        {"", "close", FRAMING_LENGTH, false},
        {"", "x", FRAMING_CHUNKED, true},
        {"", "x", FRAMING_CLOSE, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        client();
        give("GET / HTTP/1.1\r\n" HOST "\r\n");
        turns(1);
        struct field f = {
            .name = STR("Connection"), .value = str_from(rows[i].field), .id = FIELD_CONNECTION};
        struct http_head head = response(200, rows[i].framing, 0);
        head.fields = (struct fields){.v = &f, .n = 1, .cap = 1};
        assert_int_equal(leg_head(B.leg, &head, str_from(rows[i].extra), false), ERR_OK);
        assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
        if (B.leg->reusable != rows[i].want)
            fail_msg("row %zu", i);
        done();
    }
    client(); /* a body that was cut */
    give("GET / HTTP/1.1\r\n" HOST "\r\n");
    turns(1);
    assert_int_equal(send_head(response(200, FRAMING_LENGTH, 3), "", false), ERR_OK);
    assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
    assert_false(B.leg->reusable);
    done();
}

/* A peer that answers 101 before it took our request whole gets no tunnel. */
static void test_no_detach_with_output(void **state)
{
    struct stream *s = NULL;
    (void)state;
    assert_int_equal(bench_leg(false), ERR_OK);
    assert_int_equal(send_head(request("GET", FRAMING_NONE, 0), "", true), ERR_OK);
    B.wire.room = 5;
    assert_int_equal(leg_end(B.leg, NULL), ERR_AGAIN);
    give("HTTP/1.1 101 S\r\n\r\n");
    turns(2);
    assert_int_equal(h1_leg_detach(B.leg, &s), ERR_RESET);
    B.leg = NULL;
    assert_null(s);
    done();
}

/* A half-closed client that reads slowly gets all of its last answer before we leave. */
static void test_linger_waits_for_output(void **state)
{
    (void)state;
    for (int flush = 0; flush < 2; flush++) {
        client();
        give("GET / HTTP/1.1\r\n" HOST "\r\n");
        wire_end(&B.wire, ERR_EOF);
        turns(2);
        assert_string_equal(bench_trace(), "GET / end fin");
        assert_int_equal(send_head(response(204, FRAMING_NONE, 0), "", true), ERR_OK);
        B.wire.room = 3;
        if (flush)
            assert_int_equal(leg_flush(B.leg), ERR_AGAIN);
        h1_leg_linger(B.leg);
        turns(3);
        assert_string_equal(bench_trace(), "GET / end fin");
        B.wire.room = SIZE_MAX;
        wire_poke(&B.wire);
        turns(2);
        assert_string_equal(bench_trace(), "GET / end fin fin");
        assert_true(B.wire.shut);
        expect_out("HTTP/1.1 204 R\r\n\r\n");
        done();
    }
}

/* The next answer goes behind what is left of the one before, even when nobody waited for that. */
static void test_answers_stay_in_order(void **state)
{
    size_t taken;
    (void)state;
    client();
    give("GET / HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n");
    turns(2);
    assert_int_equal(send_head(response(200, FRAMING_CHUNKED, 0), "", false), ERR_OK);
    B.wire.room = strlen("HTTP/1.1 200 R\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0");
    assert_int_equal(leg_body(B.leg, STR("x"), &taken), ERR_OK);
    assert_int_equal(taken, 1);
    assert_int_equal(leg_end(B.leg, NULL), ERR_AGAIN);
    h1_leg_next(B.leg);
    turns(2);
    answer_204();
    B.wire.room = SIZE_MAX;
    wire_poke(&B.wire);
    turns(2);
    expect_out("HTTP/1.1 200 R\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
               "HTTP/1.1 204 R\r\n\r\n");
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_framing_out),
        cmocka_unit_test(test_98_bodiless_chunked_answer),
        cmocka_unit_test(test_more_than_announced_is_refused),
        cmocka_unit_test(test_large_heads_out),
        cmocka_unit_test(test_secrets_are_wiped),
        cmocka_unit_test(test_hint_of_the_last_bytes),
        cmocka_unit_test(test_one_write_for_head_and_body),
        cmocka_unit_test(test_end_of_the_turn),
        cmocka_unit_test(test_100_continue),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_death_is_told_once),
        cmocka_unit_test(test_write_error_while_waiting),
        cmocka_unit_test(test_reuse_says_what_was_written),
        cmocka_unit_test(test_no_detach_with_output),
        cmocka_unit_test(test_linger_waits_for_output),
        cmocka_unit_test(test_answers_stay_in_order),
    };

    return cmocka_run_group_tests_name("h1_leg_out", tests, bench_set_up, bench_tear_down);
}
