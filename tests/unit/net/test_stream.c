/* The contract of stream.h, on every kind of stream; then what is particular to TCP. */
#include "base/mem.h"
#include "pair.h"
#include "sys/loop.h"
#include <stdlib.h>
#include <unistd.h>

enum kind { TCP, MEMORY, STUTTER_TCP, STUTTER_MEMORY };

struct world {
    enum kind kind;
    struct loop *loop;
    struct stream *a, *b;
    unsigned a_ready, b_ready;
};

static void count_ready(void *owner, struct stream *s)
{
    (void)s;
    (*(unsigned *)owner)++;
}

static void world_open(struct world *w, void **state)
{
    struct stream *ends[2];
    *w = (struct world){.kind = *(const enum kind *)*state};
    assert_int_equal(loop_new_epoll(&w->loop), ERR_OK);
    if (w->kind == TCP || w->kind == STUTTER_TCP)
        tcp_streams(w->loop, 0, ends);
    else
        assert_int_equal(stream_mem_pair(w->loop, 5000, &ends[0], &ends[1]), ERR_OK);
    if (w->kind == STUTTER_TCP || w->kind == STUTTER_MEMORY)
        assert_int_equal(stream_stutter_new(ends[1], &ends[1]), ERR_OK);
    w->a = ends[0], w->b = ends[1];
    stream_own(w->a, count_ready, &w->a_ready);
    stream_own(w->b, count_ready, &w->b_ready);
}

static void world_close(struct world *w)
{
    stream_close(w->a, false);
    stream_close(w->b, false);
    loop_turn(w->loop, 0);
    loop_free(w->loop);
    assert_int_equal(stream_tcp_open_count(), 0);
}

/* Read until something else than bytes comes, or `n` are there; waits for readiness in between. */
static enum err read_all(struct world *w, struct stream *s, const unsigned *ready, char *buf,
                         size_t n, size_t *ret_n)
{
    size_t have = 0;
    while (have < n) {
        size_t got = 0;
        unsigned before = *ready;
        enum err e = stream_read(s, buf + have, n - have, &got);
        if (e == ERR_AGAIN) {
            for (unsigned i = 0; *ready == before; i++) { /* it must be told */
                assert_true(i < 200);
                loop_turn(w->loop, 20000000);
            }
            continue;
        }
        if (e) {
            *ret_n = have;
            return e;
        }
        assert_true(got > 0);
        have += got;
    }
    *ret_n = have;
    return ERR_OK;
}

static void write_all(struct world *w, struct stream *s, const unsigned *ready, const char *p,
                      size_t n)
{
    for (size_t done = 0; done < n;) {
        size_t sent = 0;
        unsigned before = *ready;
        enum err e = write_one(s, p + done, n - done, &sent);
        if (e == ERR_AGAIN) {
            for (unsigned i = 0; *ready == before; i++) {
                assert_true(i < 200);
                loop_turn(w->loop, 20000000);
            }
            continue;
        }
        assert_int_equal(e, ERR_OK);
        done += sent;
    }
}

static void bytes_and_end_arrive(void **state)
{
    struct world w;
    char buf[64];
    size_t n = 0;
    world_open(&w, state);
    assert_int_equal(stream_read(w.b, buf, sizeof(buf), &n), ERR_AGAIN);
    assert_false(stream_fin(w.b));
    write_all(&w, w.a, &w.a_ready, "hello", 5);
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, 5, &n), ERR_OK);
    assert_memory_equal(buf, "hello", 5);
    write_all(&w, w.a, &w.a_ready, "bye", 3);
    while (stream_shutdown(w.a) == ERR_AGAIN)
        loop_turn(w.loop, 0);
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, sizeof(buf), &n), ERR_EOF);
    assert_int_equal(n, 3);
    assert_memory_equal(buf, "bye", 3);
    assert_true(stream_fin(w.b));
    /* The other way is still open. */
    write_all(&w, w.b, &w.b_ready, "answer", 6);
    assert_int_equal(read_all(&w, w.a, &w.a_ready, buf, 6, &n), ERR_OK);
    assert_memory_equal(buf, "answer", 6);
    while (stream_shutdown(w.b) == ERR_AGAIN)
        loop_turn(w.loop, 0);
    assert_int_equal(read_all(&w, w.a, &w.a_ready, buf, sizeof(buf), &n), ERR_EOF);
    world_close(&w);
}

static void gather_write_keeps_order(void **state)
{
    struct world w;
    char buf[64];
    size_t n = 0, sent = 0;
    world_open(&w, state);
    struct iovec iov[3] = {{"ab", 2}, {"", 0}, {"cdef", 4}};
    if (w.kind == TCP || w.kind == MEMORY) {
        assert_int_equal(stream_writev(w.b, iov, 3, &sent), ERR_OK);
        assert_int_equal(sent, 6);
        assert_int_equal(read_all(&w, w.a, &w.a_ready, buf, 6, &n), ERR_OK);
        assert_memory_equal(buf, "abcdef", 6);
    } else {
        assert_int_equal(stream_writev(w.b, iov + 1, 2, &sent), ERR_OK);
        assert_int_equal(sent, 1);
        assert_int_equal(stream_writev(w.b, iov, 3, &sent), ERR_AGAIN);
    }
    world_close(&w);
}

/* Who is told that a stream is dry does not read: so never while there is something to read. */
static void dry_is_never_said_of_bytes(void **state)
{
    struct world w;
    char buf[8];
    size_t n = 0;
    world_open(&w, state);
    loop_turn(w.loop, 0);
    if (w.kind == TCP)
        assert_true(stream_dry(w.b));
    write_all(&w, w.a, &w.a_ready, "12345678", 8);
    for (unsigned before = w.b_ready; w.b_ready == before;)
        loop_turn(w.loop, 20000000);
    while (n < 8) {
        size_t got = 0;
        bool dry = stream_dry(w.b);
        enum err e = stream_read(w.b, buf, 3, &got);
        if (dry)
            assert_int_equal(e, ERR_AGAIN);
        if (e == ERR_AGAIN)
            loop_turn(w.loop, 20000000);
        n += e ? 0 : got;
    }
    assert_int_equal(stream_unread(w.b, STR("x")), ERR_OK);
    assert_false(stream_dry(w.b));
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, 1, &n), ERR_OK);
    stream_shutdown(w.a);
    while (!stream_fin(w.b) && w.kind != MEMORY && w.kind != STUTTER_MEMORY)
        loop_turn(w.loop, 20000000);
    assert_false(stream_dry(w.b)); /* the end is there to be read */
    world_close(&w);
}

static void unread_bytes_come_first(void **state)
{
    struct world w;
    char buf[64];
    size_t n = 0;
    world_open(&w, state);
    write_all(&w, w.a, &w.a_ready, "world", 5);
    assert_int_equal(stream_unread(w.b, STR(" ")), ERR_OK);
    assert_int_equal(stream_unread(w.b, STR("hello")), ERR_OK);
    assert_int_equal(stream_unread(w.b, STR("")), ERR_OK);
    unsigned before = w.b_ready;
    loop_turn(w.loop, 0);
    assert_true(w.b_ready > before); /* on_ready follows */
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, 11, &n), ERR_OK);
    assert_memory_equal(buf, "hello world", 11);
    assert_int_equal(stream_unread(w.b, STR("rest")), ERR_OK);
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, 2, &n), ERR_OK);
    assert_int_equal(stream_unread(w.b, STR("RE")), ERR_OK); /* with some still there */
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, 4, &n), ERR_OK);
    assert_memory_equal(buf, "REst", 4);
    mem_fail_after(0, false);
    assert_int_equal(stream_unread(w.b, STR("x")), ERR_NOMEM);
    mem_fail_after(-1, false);
    assert_int_equal(stream_unread(w.b, STR("left over")), ERR_OK); /* freed by close */
    world_close(&w);
}

static void again_calls_back_without_an_event(void **state)
{
    struct world w;
    world_open(&w, state);
    for (unsigned i = 0; i < 3; i++)
        loop_turn(w.loop, 0);
    unsigned before = w.b_ready;
    loop_turn(w.loop, 0);
    assert_int_equal(w.b_ready, before);
    stream_again(w.b);
    stream_again(w.b);
    loop_turn(w.loop, UINT64_MAX); /* does not sleep */
    assert_int_equal(w.b_ready, before + 1);
    world_close(&w);
}

static void a_reset_is_told(void **state)
{
    struct world w;
    char buf[64];
    size_t n = 0;
    world_open(&w, state);
    stream_close(w.a, true);
    w.a = NULL;
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, sizeof(buf), &n), ERR_RESET);
    assert_true(stream_fin(w.b));
    enum err e;
    while ((e = write_one(w.b, "x", 1, &n)) == ERR_AGAIN)
        loop_turn(w.loop, 0);
    assert_int_equal(e, ERR_RESET);
    world_close(&w);
}

static void a_full_stream_says_when_there_is_room(void **state)
{
    enum { MORE = 1000 };
    struct world w;
    static char block[65536], buf[1 << 20];
    size_t n = 0, total = 0;
    world_open(&w, state);
    for (unsigned i = 0; i < sizeof(block); i++)
        block[i] = (char)(i % 251);
    for (;;) {
        enum err e = write_one(w.a, block + total % 251, 60000, &n);
        if (e == ERR_AGAIN)
            break;
        assert_int_equal(e, ERR_OK);
        total += n;
    }
    unsigned before = w.a_ready;
    for (unsigned i = 0; i < 3; i++)
        loop_turn(w.loop, 0);
    assert_int_equal(write_one(w.a, "x", 1, &n), ERR_AGAIN);
    size_t seen = 0;
    unsigned idle = 0;
    while (w.a_ready == before || seen < total) {
        size_t got = 0;
        enum err e = stream_read(w.b, buf, sizeof(buf), &got);
        for (size_t i = 0; i < got; i++)
            assert_int_equal((unsigned char)buf[i], (seen + i) % 251);
        seen += got;
        idle = got ? 0 : idle + 1;
        assert_true(idle < 1000 && (e == ERR_OK || e == ERR_AGAIN));
        if (e == ERR_AGAIN)
            loop_turn(w.loop, 1000000);
        if (w.kind > MEMORY && seen > MORE)
            break; /* byte by byte: enough */
    }
    world_close(&w);
}

/* --- TCP --- */

static void close_in_order(void **state)
{
    struct world w;
    char buf[8];
    size_t n = 0;
    world_open(&w, state);
    assert_true(stream_tcp_fd(w.a) >= 0);
    assert_int_equal(stream_tcp_open_count(), 2);
    write_all(&w, w.a, &w.a_ready, "last", 4);
    stream_close(w.a, false);
    w.a = NULL;
    /* Told of the end while nothing is read. */
    for (unsigned i = 0; i < 100 && !stream_fin(w.b); i++)
        loop_turn(w.loop, 10000000);
    assert_true(stream_fin(w.b));
    /* With FIN a short read does not mean that no more comes: the end is read without an event. */
    assert_int_equal(stream_read(w.b, buf, sizeof(buf), &n), ERR_OK);
    assert_int_equal(n, 4);
    assert_int_equal(stream_read(w.b, buf, sizeof(buf), &n), ERR_EOF);
    world_close(&w);
}

/* A short read is the last: no system call asks again. */
static void short_read_ends_reading(void **state)
{
    struct world w;
    char buf[8];
    size_t n = 0;
    world_open(&w, state);
    write_all(&w, w.a, &w.a_ready, "12345678", 8);
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, 4, &n), ERR_OK);
    assert_int_equal(stream_read(w.b, buf, sizeof(buf), &n), ERR_OK);
    assert_int_equal(n, 4); /* short: unset */
    write_all(&w, w.a, &w.a_ready, "later", 5);
    assert_int_equal(stream_read(w.b, buf, sizeof(buf), &n), ERR_AGAIN); /* not before its event */
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, 5, &n), ERR_OK);
    world_close(&w);
}

/* The write that meets a reset hears of it once; the end that is read then is no clean one. */
static void a_reset_met_in_writing_spoils_the_end(void **state)
{
    struct world w;
    char buf[8];
    size_t n = 0;
    world_open(&w, state);
    for (unsigned i = 0; i < 3; i++)
        loop_turn(w.loop, 0);
    stream_close(w.a, true);
    w.a = NULL;
    enum err e = ERR_OK;
    for (unsigned i = 0; i < 100 && e == ERR_OK; i++) {
        (void)usleep(1000);
        e = write_one(w.b, "x", 1, &n); /* no turn in between: no event either */
    }
    assert_int_equal(e, ERR_RESET);
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, 1, &n), ERR_RESET);
    world_close(&w);
}

/* Answer and FIN came in order, then our late bytes were refused: the answer is whole. */
static void a_refused_write_spoils_nothing(void **state)
{
    struct world w;
    char buf[8];
    size_t n = 0;
    world_open(&w, state);
    write_all(&w, w.a, &w.a_ready, "answer", 6);
    stream_close(w.a, false);
    w.a = NULL;
    enum err e = ERR_OK;
    for (unsigned i = 0; i < 100 && e == ERR_OK; i++) {
        (void)usleep(1000);
        e = write_one(w.b, "x", 1, &n);
    }
    assert_int_equal(e, ERR_RESET);
    assert_int_equal(read_all(&w, w.b, &w.b_ready, buf, sizeof(buf), &n), ERR_EOF);
    assert_int_equal(n, 6);
    world_close(&w);
}

static void close_twice_and_in_callback(void **state)
{
    struct world w;
    world_open(&w, state);
    struct stream *a = w.a;
    stream_close(a, false);
    stream_close(a, true); /* within the turn: nothing happens */
    w.a = NULL;
    world_close(&w);
}

static void failing_to_open_closes_the_descriptor(void **state)
{
    (void)state;
    struct loop *loop;
    struct stream *s = NULL;
    int fds[2];
    unsigned before = open_descriptors();
    assert_int_equal(loop_new_epoll(&loop), ERR_OK);
    tcp_fds(fds, 0);
    mem_fail_after(0, true);
    assert_int_equal(stream_tcp_new(loop, fds[0], &s), ERR_NOMEM);
    mem_fail_after(1, false); /* the driver's table */
    assert_int_equal(stream_tcp_new(loop, fds[1], &s), ERR_NOMEM);
    mem_fail_after(-1, false);
    assert_null(s);
    loop_free(loop);
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    static enum kind tcp = TCP, memory = MEMORY, slow_tcp = STUTTER_TCP,
                     slow_memory = STUTTER_MEMORY;
#define ON(f, what, k)                                                                             \
    {                                                                                              \
#f "/" what, f, NULL, NULL, &(k)                                                           \
    }
#define ON_ALL(f)                                                                                  \
    ON(f, "tcp", tcp), ON(f, "memory", memory), ON(f, "stutter over tcp", slow_tcp),               \
        ON(f, "stutter over memory", slow_memory)
    const struct CMUnitTest tests[] = {
        ON_ALL(bytes_and_end_arrive),
        ON_ALL(gather_write_keeps_order),
        ON_ALL(dry_is_never_said_of_bytes),
        ON_ALL(unread_bytes_come_first),
        ON_ALL(again_calls_back_without_an_event),
        ON_ALL(a_reset_is_told),
        ON_ALL(a_full_stream_says_when_there_is_room),
        ON_ALL(close_twice_and_in_callback),
        ON(close_in_order, "tcp", tcp),
        ON(short_read_ends_reading, "tcp", tcp),
        ON(a_reset_met_in_writing_spoils_the_end, "tcp", tcp),
        ON(a_refused_write_spoils_nothing, "tcp", tcp),
        cmocka_unit_test(failing_to_open_closes_the_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
