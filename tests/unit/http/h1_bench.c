#include "h1_bench.h"

struct bench B;
char big[LIMIT_HEAD_BYTES * 3];

static void note(const char *format, ...) PRINTF_LIKE(1, 2);
static void note(const char *format, ...)
{
    va_list args;
    int n;

    if (B.in_body)
        B.trace[B.n++] = ')';
    B.in_body = false;
    if (B.n)
        B.trace[B.n++] = ' ';
    va_start(args, format);
    n = vsnprintf(B.trace + B.n, sizeof(B.trace) - B.n, format, args);
    va_end(args);
    ASSERT(n >= 0 && B.n + (size_t)n < sizeof(B.trace));
    B.n += (size_t)n;
}

const char *bench_trace(void)
{
    if (B.in_body)
        B.trace[B.n++] = ')';
    B.in_body = false;
    B.trace[B.n] = '\0';
    return B.trace;
}

struct http_head response(uint16_t status, enum framing framing, uint64_t length)
{
    return (struct http_head){.status = status,
                              .reason = STR("R"),
                              .minor = 1,
                              .framing = (uint8_t)framing,
                              .length = length,
                              .keep_alive = true};
}

struct http_head request(const char *method, enum framing framing, uint64_t length)
{
    return (struct http_head){.method = str_from(method),
                              .target = STR("/"),
                              .minor = 1,
                              .framing = (uint8_t)framing,
                              .length = length,
                              .keep_alive = true};
}

enum err send_head(struct http_head head, const char *extra, bool end)
{
    return leg_head(B.leg, &head, str_from(extra), end);
}

void answer_204(void)
{
    if (send_head(response(204, FRAMING_NONE, 0), "", true) == ERR_OK)
        (void)leg_end(B.leg, NULL);
}

static void maybe_act(enum when when)
{
    struct leg *l = B.leg;

    if (B.act == ACT_NONE || B.when != when || !l)
        return;
    B.acted++;
    switch (B.act) {
    case ACT_CLOSE:
        B.leg = NULL;
        leg_close(l, true);
        break;
    case ACT_LINGER:
        h1_leg_linger(l);
        break;
    case ACT_DETACH:
        B.leg = NULL;
        B.detached = NULL;
        if (h1_leg_detach(l, &B.detached))
            assert_null(B.detached);
        break;
    case ACT_NEXT:
        answer_204();
        h1_leg_next(l);
        break;
    case ACT_RESUME:
        leg_resume(l);
        break;
    case ACT_SKIP:
        if (h1_leg_skip(l))
            note("unskipped");
        break;
    case ACT_DISOWN:
        leg_own(l, NULL, NULL);
        break;
    case ACT_NEST:
        B.wire.base.on_ready(B.wire.base.owner, &B.wire.base);
        break;
    default:
        break;
    }
}

static void served(struct leg *l)
{
    if (!B.serve || B.leg != l)
        return;
    answer_204();
    if (l->reusable)
        h1_leg_next(l);
}

/* An answer that the wire did not take at once. */
static void serve_on(struct leg *l)
{
    if (B.serve && B.leg == l && l->reusable)
        h1_leg_next(l);
}

static void on_begun(void *owner, struct leg *l)
{
    (void)owner, (void)l;
    if (B.begun)
        note("begun");
    maybe_act(ON_BEGUN);
}

static void on_head(void *owner, struct leg *l, const struct http_head *head, bool end)
{
    const char *first = head->fields.n ? head->fields.v[0].name.p : NULL;

    (void)owner;
    B.heads++;
    if (head->method.n)
        note("%.*s %.*s", STR_ARG(head->method), STR_ARG(head->target));
    else
        note("%d", head->status);
    if (end)
        note("end");
    B.expect_100 = head->expect_100;
    B.reusable = l->reusable;
    assert_int_equal(l->in_done, end);
    maybe_act(ON_HEAD);
    if (end)
        served(l);
    /* slices live until here, whatever was done */
    assert_true(!head->fields.n || (head->fields.v[0].name.p == first && *first >= 'A'));
}

static size_t on_body(void *owner, struct leg *l, struct str bytes)
{
    size_t n = bytes.n < B.take ? bytes.n : B.take;

    (void)owner;
    assert_true(bytes.n > 0);
    if (!B.in_body && n) {
        note("(");
        B.in_body = true;
    }
    ASSERT(B.n + n < sizeof(B.trace));
    if (n)
        memcpy(B.trace + B.n, bytes.p, n);
    B.n += n;
    if (B.last && l->in_last)
        B.trace[B.n++] = '!';
    maybe_act(ON_BODY);
    return n;
}

static void on_end(void *owner, struct leg *l, const struct fields *trailers)
{
    (void)owner;
    B.ends++;
    B.reusable = l->reusable;
    note("end");
    assert_true(l->in_done);
    for (unsigned i = 0; trailers && i < trailers->n; i++)
        if (!trailers->v[i].drop)
            note("%.*s=%.*s", STR_ARG(trailers->v[i].name), STR_ARG(trailers->v[i].value));
    maybe_act(ON_END);
    served(l);
}

static void on_writable(void *owner, struct leg *l)
{
    (void)owner;
    B.writables++;
    maybe_act(ON_WRITABLE);
    serve_on(l);
}

static void on_reset(void *owner, struct leg *l, enum err e)
{
    (void)owner;
    B.resets++;
    B.reset_code = e;
    note("reset:%s", err_name(e));
    assert_int_not_equal(l->err.text[0], 0);
    assert_false(l->reusable);
    maybe_act(ON_RESET);
}

static void on_fin(void *owner, struct leg *l)
{
    (void)owner, (void)l;
    B.fins++;
    note("fin");
    maybe_act(ON_FIN);
}

static void on_write_error(void *owner, struct leg *l)
{
    (void)owner, (void)l;
    B.write_errors++;
    note("write_error");
    maybe_act(ON_WRITE_ERROR);
}

const struct leg_events bench_events = {
    .on_begun = on_begun,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
    .on_fin = on_fin,
    .on_write_error = on_write_error,
};

void turns(unsigned n)
{
    while (n--)
        loop_turn(B.loop, 0);
}

enum err bench_leg(bool client)
{
    struct h1_env env = {.loop = B.loop, .chunks = B.chunks, .field_scratch = B.scratch};
    enum err e;

    wire_init(&B.wire, B.loop);
    B.leg = NULL, B.detached = NULL;
    B.n = 0, B.in_body = false;
    B.take = SIZE_MAX;
    B.serve = B.begun = B.last = B.expect_100 = false;
    B.act = ACT_NONE, B.acted = 0;
    B.heads = B.ends = B.fins = B.resets = B.write_errors = B.writables = 0;
    B.reset_code = ERR_OK;
    e = client ? h1_leg_new_client(&env, &B.wire.base, &B.leg)
               : h1_leg_new_upstream(&env, &B.wire.base, &B.leg);
    if (e == ERR_OK)
        leg_own(B.leg, &bench_events, &B);
    return e;
}

void client(void)
{
    assert_int_equal(bench_leg(true), ERR_OK);
}

/* An upstream leg whose request was sent and forgotten. */
void upstream(const char *method)
{
    assert_int_equal(bench_leg(false), ERR_OK);
    assert_int_equal(send_head(request(method, FRAMING_NONE, 0), "", true), ERR_OK);
    assert_int_equal(leg_flush(B.leg), ERR_OK);
    assert_true(B.leg->out_done);
    B.wire.out_n = 0;
}

/* Closes what is left; nothing may stay behind. */
void done(void)
{
    leg_close(B.leg, false);
    B.leg = NULL;
    if (B.detached)
        stream_close(B.detached, false);
    B.detached = NULL;
    turns(2);
    assert_true(B.wire.closed);
    assert_int_equal(chunk_pool_out(B.chunks), 0);
}

void give(const char *z)
{
    wire_give(&B.wire, z, strlen(z));
}

void expect_out(const char *z)
{
    struct str got = wire_out(&B.wire);

    if (got.n != strlen(z) || memcmp(got.p, z, got.n) != 0)
        fail_msg("wrote \"%.*s\", not \"%s\"", STR_ARG(got), z);
}

size_t bench_long_head(char *p, size_t n, const char *first, const char *last)
{
    size_t at = strlen(first), end = n - strlen(last);

    memcpy(p, first, at);
    while (at < end) {
        size_t line = end - at < 9000 ? end - at : 8000;
        memcpy(p + at, "X: ", 3);
        memset(p + at + 3, 'x', line - 5);
        memcpy(p + at + line - 2, "\r\n", 2);
        at += line;
    }
    memcpy(p + end, last, strlen(last));
    return n;
}

int bench_set_up(void **state)
{
    (void)state;
    B.chunks = chunk_pool_new(0); /* every chunk is an allocation */
    return B.chunks && loop_new_epoll(&B.loop) == ERR_OK ? 0 : -1;
}

int bench_tear_down(void **state)
{
    (void)state;
    loop_free(B.loop);
    chunk_pool_free(B.chunks);
    return 0;
}
