/* Four legs in a row, as in the gateway: a user agent, our two, and an origin that sends every body
 * back. Everything that goes in must come out, whatever the framings and however small the pipes
 * between. */
#include "base/assert.h"
#include "http/h1_leg.h"
#include "net/stream_mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { BODY_MAX = 50000, REQUESTS = 6 };

struct side { /* one of our two, or the origin: what comes from `from` goes to `to` */
    struct leg *from, *to;
    bool done;
};

static struct loop *loop;
static struct chunk_pool *chunks;
static struct field scratch[LIMIT_HEAD_FIELDS];
static char body[BODY_MAX], got[BODY_MAX];

static struct world {
    struct leg *agent, *client, *up, *origin;
    size_t n, sent, got_n; /* of the body */
    enum framing ask, answer;
    bool trailers, got_trailer;
    bool asked, answered, gw_done;
    unsigned served;
    uint32_t dice;
} W;

static uint32_t roll(uint32_t n)
{
    W.dice = W.dice * 1664525 + 1013904223;
    return (W.dice >> 8) % n;
}

/* ---- the relay, both ways, and the origin's echo ---- */

static struct leg *other(struct leg *l)
{
    if (l == W.client)
        return W.up;
    return l == W.up ? W.client : W.origin;
}

static void next_if_done(void)
{
    if (!W.gw_done && W.client->in_done && W.client->out_done && W.up->in_done && W.up->out_done) {
        W.gw_done = true;
        assert_true(W.client->reusable);
        assert_true(W.up->reusable);
        h1_leg_next(W.client);
        h1_leg_next(W.up);
    }
}

static void origin_next(void)
{
    if (W.origin->in_done && W.origin->out_done) {
        assert_true(W.origin->reusable);
        W.served++;
        h1_leg_next(W.origin);
    }
}

static void look_for_next(const struct leg *l)
{
    if (l == W.origin)
        origin_next();
    else
        next_if_done();
}

static void on_head(void *owner, struct leg *l, const struct http_head *head, bool end)
{
    struct http_head out = *head;
    (void)owner;
    if (l == W.origin) {
        out = (struct http_head){.status = 200, .reason = STR("O"), .framing = (uint8_t)W.answer};
        out.length = W.n;
        end = W.answer == FRAMING_LENGTH && !W.n;
    }
    for (unsigned i = 0; i < out.fields.n; i++)
        if (field_flags((enum field_id)out.fields.v[i].id) & FIELD_F_HOP)
            out.fields.v[i].drop = true;
    assert_int_equal(leg_head(other(l), &out, STR(""), end), ERR_OK);
    if (l->in_done) {
        (void)leg_end(other(l), NULL);
        look_for_next(l);
    }
}

static size_t on_body(void *owner, struct leg *l, struct str bytes)
{
    size_t taken = 0;
    (void)owner;
    other(l)->out_last = l->in_last;
    assert_int_equal(leg_body(other(l), bytes, &taken), ERR_OK);
    return taken;
}

static void on_end(void *owner, struct leg *l, const struct fields *trailers)
{
    (void)owner;
    if (l == W.origin && W.answer != FRAMING_CHUNKED)
        trailers = NULL;
    (void)leg_end(other(l), trailers);
    look_for_next(l);
}

static void on_writable(void *owner, struct leg *l)
{
    (void)owner;
    leg_resume(other(l));
    look_for_next(l);
}

static void on_reset(void *owner, struct leg *l, enum err e)
{
    (void)owner;
    fail_msg("reset of leg %d: %s, %s",
             l == W.agent    ? 0
             : l == W.client ? 1
             : l == W.up     ? 2
                             : 3,
             err_name(e), l->err.text);
}

static void on_other(void *owner, struct leg *l)
{
    (void)owner, (void)l;
    fail_msg("a peer ended");
}

static const struct leg_events relay_events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
    .on_fin = on_other,
    .on_write_error = on_other,
};

/* ---- the user agent ---- */

static void agent_push(void)
{
    static struct field t = {.name = STR("Sum"), .value = STR("1")};
    struct fields trailers = {.v = &t, .n = 1, .cap = 1};

    while (W.sent < W.n) {
        size_t taken = 0, n = 1 + roll(9000);
        if (n > W.n - W.sent)
            n = W.n - W.sent;
        assert_int_equal(leg_body(W.agent, str_of(body + W.sent, n), &taken), ERR_OK);
        W.sent += taken;
        if (taken < n) /* the same bytes again: an announced chunk is kept to */
            return;
    }
    if (!W.asked) {
        W.asked = true;
        (void)leg_end(W.agent, W.trailers ? &trailers : NULL);
    }
}

static void agent_writable(void *owner, struct leg *l)
{
    (void)owner, (void)l;
    agent_push();
}

static void agent_head(void *owner, struct leg *l, const struct http_head *head, bool end)
{
    (void)owner, (void)l;
    assert_int_equal(head->status, 200);
    W.answered = end;
}

static size_t agent_body(void *owner, struct leg *l, struct str bytes)
{
    size_t n = bytes.n > 3 && roll(3) == 0 ? bytes.n / 2 : bytes.n;
    (void)owner;
    assert_true(W.got_n + n <= sizeof(got));
    memcpy(got + W.got_n, bytes.p, n);
    W.got_n += n;
    if (n < bytes.n)
        leg_resume(l); /* from inside: comes again in the ready list */
    return n;
}

static void agent_end(void *owner, struct leg *l, const struct fields *trailers)
{
    (void)owner, (void)l;
    W.answered = true;
    W.got_trailer = trailers && trailers->n == 1 && str_eq(trailers->v[0].name, STR("Sum"));
}

static const struct leg_events agent_events = {
    .on_head = agent_head,
    .on_body = agent_body,
    .on_end = agent_end,
    .on_writable = agent_writable,
    .on_reset = on_reset,
    .on_fin = on_other,
    .on_write_error = on_other,
};

static void ask(size_t n)
{
    struct field host = {.name = STR("Host"), .value = STR("h")};
    struct http_head head = {
        .method = STR("PUT"), .target = STR("/x"), .framing = (uint8_t)W.ask, .length = n};

    head.fields = (struct fields){.v = &host, .n = 1, .cap = 1};
    W.n = n, W.sent = W.got_n = 0;
    W.asked = W.answered = W.got_trailer = W.gw_done = false;
    assert_int_equal(leg_head(W.agent, &head, STR(""), false), ERR_OK);
    agent_push();
    for (unsigned guard = 0; !W.answered || !W.gw_done || !W.agent->out_done; guard++) {
        if (guard == 400000)
            fail_msg("stuck: %zu of %zu sent, %zu back", W.sent, W.n, W.got_n);
        loop_turn(loop, 0);
    }
    assert_int_equal(W.got_n, n);
    assert_memory_equal(got, body, n);
    assert_int_equal(W.got_trailer, W.trailers && W.answer == FRAMING_CHUNKED);
    assert_int_equal(W.client->bytes_in + W.up->bytes_in, 0); /* next: counters begin anew */
    assert_true(W.agent->reusable);
    h1_leg_next(W.agent);
}

/* ---- worlds ---- */

static void join(size_t cap, bool stutter, struct leg **ret_up, struct leg **ret_client)
{
    struct h1_env env = {.loop = loop, .chunks = chunks, .field_scratch = scratch};
    struct stream *a, *b, *s;
    assert_int_equal(stream_mem_pair(loop, cap, &a, &b), ERR_OK);
    if (stutter) {
        assert_int_equal(stream_stutter_new(a, &s), ERR_OK);
        a = s;
        assert_int_equal(stream_stutter_new(b, &s), ERR_OK);
        b = s;
    }
    assert_int_equal(h1_leg_new_upstream(&env, a, ret_up), ERR_OK);
    assert_int_equal(h1_leg_new_client(&env, b, ret_client), ERR_OK);
}

static void run_world(uint32_t seed, size_t cap, bool stutter, size_t largest)
{
    memset(&W, 0, sizeof(W));
    W.dice = seed;
    join(cap, stutter, &W.agent, &W.client);
    join(cap, stutter, &W.up, &W.origin);
    leg_own(W.agent, &agent_events, NULL);
    leg_own(W.client, &relay_events, NULL);
    leg_own(W.up, &relay_events, NULL);
    leg_own(W.origin, &relay_events, NULL);
    for (unsigned i = 0; i < REQUESTS; i++) {
        W.ask = roll(2) ? FRAMING_LENGTH : FRAMING_CHUNKED;
        W.answer = roll(2) ? FRAMING_LENGTH : FRAMING_CHUNKED;
        W.trailers = W.ask == FRAMING_CHUNKED && roll(2);
        ask(roll(4) ? roll((uint32_t)largest) : 0);
    }
    for (int i = 0; i < 8; i++)
        loop_turn(loop, 0);
    assert_int_equal(W.served, REQUESTS);
    assert_int_equal(chunk_pool_out(chunks), 0); /* four idle legs hold nothing */
    leg_close(W.agent, false);
    leg_close(W.client, false);
    leg_close(W.up, false);
    leg_close(W.origin, false);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
}

static void test_bodies_come_back(void **state)
{
    static const struct {
        size_t cap, largest;
        bool stutter;
    } rows[] = {{1, 300, false},         {7, 800, false},          {100, 5000, false},
                {4096, BODY_MAX, false}, {65536, BODY_MAX, false}, {64, 300, true},
                {3, 200, true}};
    (void)state;
    for (size_t i = 0; i < BODY_MAX; i++)
        body[i] = (char)("0123456789abcdef\r\n;"[i * 7919 % 19]);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (uint32_t seed = 1; seed <= 12; seed++)
            run_world(seed * 77 + (uint32_t)i, rows[i].cap, rows[i].stutter, rows[i].largest);
}

static int set_up(void **state)
{
    (void)state;
    chunks = chunk_pool_new(4);
    return chunks && loop_new_epoll(&loop) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    chunk_pool_free(chunks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bodies_come_back)};

    return cmocka_run_group_tests_name("h1_relay", tests, set_up, tear_down);
}
