#include "h1_bench.h"

/* ---- commands from inside of events ---- */

static void drive(bool is_client, bool body)
{
    size_t taken;
    if (is_client) {
        client();
        give(body ? "PUT / HTTP/1.1\r\n" HOST
                    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"
                  : "GET / HTTP/1.1\r\n" HOST "\r\n");
    } else {
        assert_int_equal(bench_leg(false), ERR_OK);
        assert_int_equal(send_head(request("PUT", FRAMING_CHUNKED, 0), "", false), ERR_OK);
        B.wire.room = 10;
        assert_int_equal(leg_body(B.leg, STR("abc"), &taken), ERR_OK);
        assert_int_equal(taken, 0);
    }
}

static void test_commands_inside_events(void **state)
{
    (void)state;
    for (int is_client = 0; is_client < 2; is_client++) {
        for (int when = 0; when < WHEN_COUNT_; when++) {
            for (int act = ACT_CLOSE; act < ACT_COUNT_; act++) {
                if (act == ACT_NEXT && (!is_client || (when != ON_HEAD && when != ON_END)))
                    continue;
                if (act == ACT_DETACH && !is_client && when != ON_END)
                    continue; /* it still has output */
                drive(is_client, act != ACT_NEXT || when == ON_END);
                B.when = (enum when)when, B.act = (enum act)act;
                if (when == ON_BODY)
                    B.take = 1;
                turns(2);
                B.wire.room = SIZE_MAX;
                if (when == ON_WRITE_ERROR || when == ON_RESET)
                    B.wire.write_err = ERR_RESET;
                wire_poke(&B.wire);
                turns(1);
                if (!is_client && when != ON_WRITE_ERROR && when != ON_RESET) {
                    if (B.leg)
                        (void)leg_flush(B.leg);
                    give("HTTP/1.1 200 O\r\nContent-Length: 3\r\n\r\nabc");
                    turns(2);
                }
                if (B.leg && when == ON_RESET && is_client)
                    answer_204();
                turns(1);
                if (!B.wire.closed)
                    wire_end(&B.wire, ERR_EOF);
                turns(4);
                if (!B.acted && (when != ON_BEGUN || is_client) &&
                    !(is_client && (when == ON_WRITABLE || when == ON_WRITE_ERROR)))
                    fail_msg("client %d, event %d, act %d never came", is_client, when, act);
                done();
            }
        }
    }
}

/* Answering and next from inside the head event: the pipelined request comes in its own turn. */
static void test_next_inside_head(void **state)
{
    (void)state;
    client();
    turns(1);
    B.when = ON_HEAD, B.act = ACT_NEXT;
    give("GET /a HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n");
    turns(1);
    assert_string_equal(bench_trace(), "GET /a end");
    turns(1);
    assert_string_equal(bench_trace(), "GET /a end GET /b end");
    expect_out("HTTP/1.1 204 R\r\n\r\nHTTP/1.1 204 R\r\n\r\n");
    done();
}

/* A leg that is given away inside of an event is silent until somebody owns it again. */
static void test_disowned_inside_events(void **state)
{
    (void)state;
    for (int when = ON_BEGUN; when <= ON_END; when++) {
        client();
        B.when = (enum when)when, B.act = ACT_DISOWN;
        give("PUT / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
        turns(2);
        wire_end(&B.wire, ERR_EOF);
        turns(2);
        assert_int_equal(B.acted, 1);
        assert_int_equal(B.fins + B.resets, 0);
        B.act = ACT_NONE;
        leg_own(B.leg, &bench_events, &B);
        leg_resume(B.leg);
        turns(2);
        assert_string_equal(bench_trace(), "PUT / (abc) end fin");
        done();
    }
}

/* A stream that reports from inside of a call, which none should: nothing nests. */
static void test_nested_readiness(void **state)
{
    (void)state;
    client();
    B.when = ON_BODY, B.act = ACT_NEST;
    B.take = 2;
    give("PUT / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabcdef");
    turns(1);
    assert_string_equal(bench_trace(), "PUT / (ab)");
    assert_int_equal(B.acted, 1);
    done();
}

/* ---- tunnels ---- */

static void detach_with(const char *rest)
{
    struct stream *s = NULL;
    char got[64];
    size_t n = 0;

    assert_int_equal(h1_leg_detach(B.leg, &s), ERR_OK);
    B.leg = NULL;
    assert_ptr_equal(s, &B.wire.base);
    assert_null(s->on_ready);
    B.detached = s;
    enum err e = stream_read(s, got, sizeof(got), &n);
    assert_int_equal(e, *rest ? ERR_OK : ERR_AGAIN);
    assert_int_equal(n, strlen(rest));
    assert_memory_equal(got, rest, n);
}

static void test_47_102_early_bytes(void **state)
{
    static const char *const rests[] = {"", "early", "\x16\x03\x01"};
    char bytes[200];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        client();
        (void)snprintf(bytes, sizeof(bytes), "CONNECT h:443 HTTP/1.1\r\n" HOST "\r\n%s", rests[i]);
        give(bytes);
        turns(2);
        assert_string_equal(bench_trace(), "CONNECT h:443 end");
        assert_int_equal(h1_leg_has_rest(B.leg), *rests[i] != 0);
        assert_int_equal(send_head(response(200, FRAMING_NONE, 0), "", true), ERR_OK);
        assert_int_equal(leg_flush(B.leg), ERR_OK);
        detach_with(rests[i]);
        done();

        upstream("GET");
        (void)snprintf(bytes, sizeof(bytes), "HTTP/1.1 101 S\r\n\r\n%s", rests[i]);
        give(bytes);
        turns(2);
        assert_string_equal(bench_trace(), "101 end");
        assert_false(B.leg->reusable);
        detach_with(rests[i]);
        done();
    }
    /* no memory to put them back: the stream is closed */
    client();
    give("CONNECT h:443 HTTP/1.1\r\n" HOST "\r\nearly");
    turns(2);
    B.wire.unread_err = ERR_NOMEM;
    struct stream *s = NULL;
    assert_int_equal(h1_leg_detach(B.leg, &s), ERR_NOMEM);
    B.leg = NULL;
    assert_null(s);
    assert_true(B.wire.closed);
    done();
}

/* ---- skipping and lingering ---- */

static void test_c4_skip(void **state)
{
    static const struct {
        const char *framing, *body;
        size_t fill;
        enum err want;
    } rows[] = {
        {"Content-Length: 3", "", 0, ERR_OK},
        {"Content-Length: 65536", "", 0, ERR_OK},
        {"Content-Length: 65539", "abc", 0, ERR_TOO_LARGE},
        {"Content-Length: 65537", "", 0, ERR_TOO_LARGE},
        {"Transfer-Encoding: chunked", "", 0, ERR_TOO_LARGE},
        {"Transfer-Encoding: chunked", "3\r\nabc\r\n", 0, ERR_TOO_LARGE},
        {"Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n", 0, ERR_TOO_LARGE},
        {"Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\nA: b\r\n", 0, ERR_TOO_LARGE},
        {"Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", 0, ERR_OK},
        {"Transfer-Encoding: chunked", "3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n", 0, ERR_OK},
        {"Transfer-Encoding: chunked", "3\r\nabc\r\n2\r\ndeX", 0, ERR_TOO_LARGE},
    };
    char bytes[300];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        client();
        B.take = 0;
        (void)snprintf(bytes, sizeof(bytes), "PUT / HTTP/1.1\r\n" HOST "%s\r\n\r\n%s",
                       rows[i].framing, rows[i].body);
        give(bytes);
        turns(2);
        assert_int_equal(B.resets, 0);
        enum err e = h1_leg_skip(B.leg);
        if (e != rows[i].want)
            fail_msg("row %zu: %d", i, e);
        if (e == ERR_OK) {
            answer_204();
            memset(big, 'x', 65536);
            size_t length = strtoul(rows[i].framing + 16, NULL, 10);
            if (rows[i].framing[0] == 'C')
                wire_give(&B.wire, big, length - strlen(rows[i].body));
            turns(3);
            assert_string_equal(bench_trace(), "PUT / end");
            assert_int_equal(h1_leg_skip(B.leg), ERR_OK); /* nothing is left */
            assert_int_equal(B.leg->bytes_in, 0);
            assert_true(B.leg->reusable);
            assert_int_equal(chunk_pool_out(B.chunks), 0);
            B.take = SIZE_MAX;
            h1_leg_next(B.leg);
            give("GET /n HTTP/1.1\r\n" HOST "\r\n");
            turns(2);
            assert_string_equal(bench_trace(), "PUT / end GET /n end");
        }
        done();
    }
    client(); /* it does not come */
    give("PUT / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n");
    turns(1);
    assert_int_equal(h1_leg_skip(B.leg), ERR_OK);
    wire_end(&B.wire, ERR_EOF);
    turns(2);
    assert_string_equal(bench_trace(), "PUT / reset:client_aborted");
    done();
}

static void test_c4_linger(void **state)
{
    (void)state;
    client();
    give("CONNECT h:1 HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n\r\n");
    turns(2);
    assert_int_equal(send_head(response(403, FRAMING_LENGTH, 2), "Connection: close\r\n", false),
                     ERR_OK);
    B.wire.room = 20;
    size_t taken;
    assert_int_equal(leg_body(B.leg, STR("no"), &taken), ERR_OK);
    h1_leg_linger(B.leg);
    turns(2);
    assert_false(B.wire.shut); /* not before the answer is out */
    B.wire.room = SIZE_MAX;
    wire_poke(&B.wire);
    turns(2);
    assert_true(B.wire.shut);
    memset(big, 'x', 190000);
    wire_give(&B.wire, big, 190000);
    give("GET / HTTP/1.1\r\n" HOST "\r\n");
    wire_give(&B.wire, big, 190000);
    turns(4);
    assert_int_equal(B.wire.in_at, B.wire.in_n);
    assert_true(B.leg->bytes_in > 380000);
    assert_int_equal(chunk_pool_out(B.chunks), 0);
    assert_string_equal(bench_trace(), "CONNECT h:1 end");
    wire_end(&B.wire, ERR_EOF);
    turns(2);
    assert_string_equal(bench_trace(), "CONNECT h:1 end fin");
    wire_poke(&B.wire);
    turns(2);
    assert_string_equal(bench_trace(), "CONNECT h:1 end fin");
    done();

    client(); /* with a body on offer, and a reset instead of an end */
    B.take = 0;
    give("PUT / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    turns(2);
    leg_resume(B.leg);
    h1_leg_linger(B.leg);
    B.take = SIZE_MAX;
    turns(2);
    assert_true(B.wire.shut);
    wire_end(&B.wire, ERR_RESET);
    turns(2);
    assert_string_equal(bench_trace(), "PUT / fin");
    done();
}

/* ---- reuse ---- */

static void test_97_reuse_of_upstreams(void **state)
{
    static const struct {
        const char *method, *bytes;
        bool want;
        enum err end;
    } rows[] = {
        {"GET", "HTTP/1.1 200 O\r\nContent-Length: 1\r\n\r\nx", true, ERR_AGAIN},
        {"GET", "HTTP/1.1 204 O\r\n\r\n", true, ERR_AGAIN},
        {"HEAD", "HTTP/1.1 200 O\r\n\r\n", true, ERR_AGAIN},
        {"HEAD", "HTTP/1.1 200 O\r\nContent-Length: 3\r\n\r\n", true, ERR_AGAIN},
        {"GET", "HTTP/1.1 200 O\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", true,
         ERR_AGAIN},
        {"GET", "HTTP/1.1 200 O\r\nContent-Length: 1\r\n\r\nxy", false, ERR_AGAIN},
        {"GET", "HTTP/1.1 200 O\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 O\r\n", false, ERR_AGAIN},
        {"GET", "HTTP/1.1 200 O\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n", false,
         ERR_AGAIN},
        {"GET", "HTTP/1.1 200 O\r\nContent-Length: 1\r\n\r\nx", false, ERR_EOF},
        {"GET", "HTTP/1.1 200 O\r\nContent-Length: 1\r\n\r\nx", false, ERR_RESET},
        {"GET", "HTTP/1.1 200 O\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", false,
         ERR_AGAIN},
        {"GET", "HTTP/1.0 200 O\r\nContent-Length: 1\r\n\r\nx", false, ERR_AGAIN},
        {"GET", "HTTP/1.0 200 O\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", true,
         ERR_AGAIN},
        {"GET", "HTTP/1.1 200 O\nContent-Length: 1\n\nx", false, ERR_AGAIN},
        {"GET",
         "HTTP/1.1 200 O\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
         false, ERR_AGAIN},
        {"GET", "HTTP/1.1 200 O\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n", false,
         ERR_AGAIN},
        {"GET", "HTTP/1.1 101 O\r\n\r\n", false, ERR_AGAIN},
        {"CONNECT", "HTTP/1.1 200 O\r\n\r\n", false, ERR_AGAIN},
        {"CONNECT", "HTTP/1.1 403 O\r\nContent-Length: 0\r\n\r\n", true, ERR_AGAIN},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int whole = 0; whole < 2; whole++) {
            bool want = rows[i].want;
            upstream(rows[i].method);
            B.wire.in_end = rows[i].end;
            if (!whole)
                B.wire.read_max = 1;
            give(rows[i].bytes);
            turns(3);
            assert_true(B.leg->in_done);
            assert_true(h1_leg_answered(B.leg));
            if (whole && B.reusable != want)
                fail_msg("row %zu: reusable is %d in the event", i, B.reusable);
            if (B.leg->reusable != want)
                fail_msg("row %zu: reusable is %d", i, B.leg->reusable);
            if (B.leg->reusable) {
                h1_leg_next(B.leg);
                turns(2);
                assert_int_equal(B.resets, 0);
                assert_false(h1_leg_answered(B.leg));
                assert_int_equal(send_head(request("GET", FRAMING_NONE, 0), "", true), ERR_OK);
                assert_int_equal(leg_flush(B.leg), ERR_OK);
                give("HTTP/1.1 204 O\r\n\r\n");
                turns(2);
                assert_int_equal(B.heads, 2);
                assert_true(B.leg->reusable);
            }
            done();
        }
    }
}

/* In the pool: anything at all is the end. */
static void test_121_idle_upstream(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        for (int used = 0; used < 2; used++) {
            if (used) {
                upstream("GET");
                give("HTTP/1.1 204 O\r\n\r\n");
                turns(2);
                assert_true(B.leg->reusable);
                h1_leg_next(B.leg);
            } else {
                assert_int_equal(bench_leg(false), ERR_OK);
            }
            turns(1);
            wire_poke(&B.wire); /* writable: nothing */
            turns(1);
            assert_int_equal(B.resets, 0);
            assert_int_equal(chunk_pool_out(B.chunks), 0);
            if (how == 0)
                give("x");
            else
                wire_end(&B.wire, how == 1 ? ERR_EOF : how == 2 ? ERR_RESET : ERR_UPSTREAM_ABORTED);
            bool taken = how == 1 && used; /* taken out before anybody heard of it */
            if (taken)
                assert_int_equal(send_head(request("GET", FRAMING_NONE, 0), "", true), ERR_OK);
            turns(2);
            assert_int_equal(B.resets, 1);
            assert_int_equal(B.reset_code, ERR_EOF);
            assert_false(h1_leg_answered(B.leg));
            done();
        }
    }
}

/* Out of the pool and not yet asked anything: nobody hears what happens, and the next request must
 * not take it for its answer. */
static void test_stale_bytes_are_no_answer(void **state)
{
    (void)state;
    for (int how = 0; how < 6; how++) {
        upstream("GET");
        give("HTTP/1.1 204 O\r\n\r\n");
        turns(2);
        h1_leg_next(B.leg);
        turns(1);
        leg_own(B.leg, NULL, NULL);
        if (how % 2)
            give("HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n");
        else
            wire_end(&B.wire, ERR_EOF);
        if (how / 2)
            turns(how / 2); /* seen, but told to nobody */
        leg_own(B.leg, &bench_events, &B);
        assert_int_equal(send_head(request("GET", FRAMING_NONE, 0), "", true), ERR_OK);
        assert_int_equal(leg_flush(B.leg), ERR_OK);
        turns(3);
        assert_string_equal(bench_trace(), "204 end reset:eof");
        assert_int_equal(send_head(request("GET", FRAMING_NONE, 0), "", true), ERR_RESET);
        done();
    }
}

/* An answer that is written before the request came (connection limit, head timeout) ends the
 * reading. */
static void test_119_answered_before_it_came(void **state)
{
    (void)state;
    client();
    give("GET / HT");
    turns(1);
    assert_int_equal(send_head(response(408, FRAMING_LENGTH, 0), "Connection: close\r\n", true),
                     ERR_OK);
    give("TP/1.1\r\n" HOST "\r\n");
    turns(2);
    assert_string_equal(bench_trace(), "");
    assert_int_equal(leg_end(B.leg, NULL), ERR_OK);
    assert_false(B.leg->reusable);
    h1_leg_linger(B.leg);
    turns(2);
    assert_true(B.wire.shut);
    assert_string_equal(bench_trace(), "");
    done();
}

/* ---- no memory ---- */

static unsigned exercise(bool is_client)
{
    size_t taken;
    unsigned did = 0;

    if (bench_leg(is_client) != ERR_OK) {
        stream_close(&B.wire.base, true);
        return 0;
    }
    if (is_client) {
        B.serve = true;
        size_t n =
            bench_long_head(big, 30000, "PUT /l HTTP/1.1\r\n" HOST, "Content-Length: 2\r\n\r\n");
        wire_give(&B.wire, big, n);
        give("hiGET /b HTTP/1.1\r\n" HOST "\r\n");
    } else {
        memset(big, 'v', 20000);
        struct field f = {.name = STR("X"), .value = str_of(big, 20000)};
        struct http_head head = request("PUT", FRAMING_CHUNKED, 0);
        head.fields = (struct fields){.v = &f, .n = 1, .cap = 1};
        struct fields trailers = head.fields;
        B.wire.room = 5000;
        did += leg_head(B.leg, &head, STR_NULL, false) == ERR_OK;
        if (did)
            did += leg_body(B.leg, STR("abc"), &taken) == ERR_OK;
        turns(1);
        B.wire.room = SIZE_MAX;
        wire_poke(&B.wire);
        turns(1);
        if (did == 2 && leg_body(B.leg, STR("abc"), &taken) == ERR_OK)
            did += leg_end(B.leg, &trailers) == ERR_OK;
        give("HTTP/1.1 200 O\r\nContent-Length: 2\r\n\r\nok");
    }
    turns(6);
    if (!is_client && !B.resets && B.leg->reusable)
        did++;
    return is_client ? B.heads + (B.resets == 0) : did;
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    for (int is_client = 0; is_client < 2; is_client++) {
        for (int forever = 0; forever < 2; forever++) {
            unsigned full = is_client ? 3 : 4, n;
            for (n = 0; n < 100; n++) {
                mem_fail_after((int64_t)n, forever);
                unsigned did = exercise(is_client);
                mem_fail_after(-1, false);
                if (B.resets && B.reset_code != ERR_EOF)
                    assert_int_equal(B.reset_code, ERR_NOMEM);
                done();
                if (did == full)
                    break;
            }
            assert_in_range(n, 3, 30); /* some of them did fail, and in the end none */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_inside_events),
        cmocka_unit_test(test_next_inside_head),
        cmocka_unit_test(test_disowned_inside_events),
        cmocka_unit_test(test_nested_readiness),
        cmocka_unit_test(test_47_102_early_bytes),
        cmocka_unit_test(test_c4_skip),
        cmocka_unit_test(test_c4_linger),
        cmocka_unit_test(test_97_reuse_of_upstreams),
        cmocka_unit_test(test_121_idle_upstream),
        cmocka_unit_test(test_stale_bytes_are_no_answer),
        cmocka_unit_test(test_119_answered_before_it_came),
        cmocka_unit_test(test_every_allocation_fails),
    };

    return cmocka_run_group_tests_name("h1_leg", tests, bench_set_up, bench_tear_down);
}
