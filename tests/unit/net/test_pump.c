/* Tunnels between two peers that this test plays too: peer 0 - side a - pump - side b - peer 1. */
#include "net/pump.h"
#include "base/mem.h"
#include "pair.h"
#include "sys/clock.h"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Linked with --wrap: counts the calls of the splice path. */
enum err __real_splice_in(int sock, int pipe_w, size_t max, size_t *ret_n);
enum err __wrap_splice_in(int sock, int pipe_w, size_t max, size_t *ret_n);
enum err __real_pipe_new(int ret_fds[2]);
enum err __wrap_pipe_new(int ret_fds[2]);

static unsigned splices, pipes;
static bool no_pipes;

enum err __wrap_splice_in(int sock, int pipe_w, size_t max, size_t *ret_n)
{
    splices++;
    return __real_splice_in(sock, pipe_w, max, ret_n);
}

enum err __wrap_pipe_new(int ret_fds[2])
{
    pipes++;
    return no_pipes ? ERR_NOMEM : __real_pipe_new(ret_fds);
}

enum { MIB = 1 << 20 };
enum kind { TCP, SMALL_TCP, MEMORY, MIXED, STUTTER };
static const char *const kind_names[] = {"tcp", "small tcp", "memory", "mixed", "stutter"};

struct peer {
    struct stream *s;                            /* NULL: closed */
    size_t to_send, sent, received, reset_after; /* reset_after: close by RST after so many sent */
    uint64_t sent_sum, received_sum;             /* of every byte and its place */
    bool ends, ended;                            /* shuts down when all is sent; has */
    bool waits; /* sends nothing before it has seen the other's end */
    bool deaf;  /* reads nothing */
    bool saw_end;
    enum err error;
};

struct world {
    struct loop *loop;
    struct pump_env env;
    struct pump *pump;
    struct peer peers[2];
    char scratch[65536];
    unsigned done;
    enum pump_end why;
    struct pump_bytes bytes;
    bool free_in_done, stream_b_given;
};

static uint64_t mix(uint64_t sum, unsigned char byte)
{
    return (sum ^ byte) * UINT64_C(1099511628211);
}

static unsigned char byte_at(const struct peer *p, size_t at)
{
    uint64_t x = at * UINT64_C(0x9E3779B97F4A7C15) + (uintptr_t)p;
    return (unsigned char)(x >> 40);
}

static void peer_send(struct peer *p, const struct peer *other)
{
    char buf[20000];
    if (p->waits && !p->saw_end)
        return;
    (void)other;
    while (p->s && p->sent < p->to_send) {
        size_t n = p->to_send - p->sent, got = 0;
        if (n > sizeof(buf))
            n = sizeof(buf);
        for (size_t i = 0; i < n; i++)
            buf[i] = (char)byte_at(p, p->sent + i);
        enum err e = write_one(p->s, buf, n, &got);
        if (e) {
            if (e != ERR_AGAIN)
                p->error = e;
            return;
        }
        for (size_t i = 0; i < got; i++)
            p->sent_sum = mix(p->sent_sum, (unsigned char)buf[i]);
        p->sent += got;
        if (p->reset_after && p->sent >= p->reset_after) {
            stream_close(p->s, true);
            p->s = NULL;
            return;
        }
    }
    if (p->s && p->ends && !p->ended) {
        p->ended = true;
        assert_int_equal(stream_shutdown(p->s), ERR_OK);
    }
}

static void peer_read(struct peer *p)
{
    char buf[30000];
    while (p->s && !p->deaf && !p->saw_end) {
        size_t n = 0;
        enum err e = stream_read(p->s, buf, sizeof(buf), &n);
        if (e == ERR_EOF)
            p->saw_end = true;
        else if (e && e != ERR_AGAIN)
            p->error = e;
        if (e)
            return;
        for (size_t i = 0; i < n; i++)
            p->received_sum = mix(p->received_sum, (unsigned char)buf[i]);
        p->received += n;
    }
}

static void on_peer(void *owner, struct stream *s)
{
    struct peer *p = owner;
    (void)s;
    peer_read(p);
    peer_send(p, p);
}

static void on_done(void *owner, enum pump_end why)
{
    struct world *w = owner;
    w->done++;
    w->why = why;
    w->bytes = pump_bytes(w->pump);
    if (w->free_in_done) {
        pump_free(w->pump, false);
        w->pump = NULL;
    }
}

static void make_ends(struct world *w, enum kind kind, unsigned which, struct stream *ends[2])
{
    bool memory = kind == MEMORY || (kind == MIXED && which == 1);
    if (memory)
        assert_int_equal(stream_mem_pair(w->loop, 7000, &ends[0], &ends[1]), ERR_OK);
    else
        tcp_streams(w->loop, kind == SMALL_TCP ? 32768 : 0, ends);
    if (kind == STUTTER)
        assert_int_equal(stream_stutter_new(ends[1], &ends[1]), ERR_OK);
}

static struct world *world_new(enum kind kind)
{
    struct world *w = mem_zalloc(sizeof(*w));
    assert_non_null(w);
    assert_int_equal(loop_new_epoll(&w->loop), ERR_OK);
    w->env = (struct pump_env){w->loop, chunk_pool_new(4), pipe_pool_new(), w->scratch,
                               sizeof(w->scratch), 0};
    struct stream *sides[2];
    for (unsigned i = 0; i < 2; i++) {
        struct stream *ends[2];
        make_ends(w, kind, i, ends);
        w->peers[i].s = ends[0];
        w->peers[i].ends = true;
        stream_own(ends[0], on_peer, &w->peers[i]);
        sides[i] = ends[1];
    }
    splices = pipes = 0;
    assert_int_equal(pump_new(&w->env, sides[0], sides[1], 60000, on_done, w, &w->pump), ERR_OK);
    return w;
}

static void world_start(struct world *w)
{
    for (unsigned i = 0; i < 2; i++)
        stream_again(w->peers[i].s);
}

/* Turns until the pump is done and both peers know. */
static void world_run(struct world *w)
{
    uint64_t end = clock_mono_ns() + UINT64_C(40) * 1000000000;
    for (;;) {
        bool told = true;
        for (unsigned i = 0; i < 2; i++) {
            const struct peer *p = &w->peers[i];
            told = told && (!p->s || p->saw_end || p->error || p->deaf);
        }
        if (w->done && told)
            return;
        assert_true(clock_mono_ns() < end);
        loop_turn(w->loop, 100000000);
    }
}

static void world_free(struct world *w)
{
    pump_free(w->pump, false);
    for (unsigned i = 0; i < 2; i++)
        stream_close(w->peers[i].s, false);
    loop_turn(w->loop, 0);
    loop_free(w->loop);
    assert_int_equal(chunk_pool_out(w->env.chunks), 0);
    chunk_pool_free(w->env.chunks);
    pipe_pool_free(w->env.pipes); /* asserts that none is out */
    assert_int_equal(stream_tcp_open_count(), 0);
    mem_free(w);
}

static void assert_delivered(const struct world *w)
{
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(w->peers[i].sent, w->peers[i].to_send);
        assert_int_equal(w->peers[1 - i].received, w->peers[i].sent);
        assert_true(w->peers[1 - i].received_sum == w->peers[i].sent_sum);
        assert_true(w->peers[i].saw_end);
        assert_int_equal(w->peers[i].error, ERR_OK);
    }
    assert_int_equal(w->done, 1);
    assert_int_equal(w->why, PUMP_BOTH_ENDED);
    assert_int_equal(w->bytes.a_to_b, w->peers[0].sent);
    assert_int_equal(w->bytes.b_to_a, w->peers[1].sent);
}

static size_t bulk_bytes(enum kind kind)
{
    if (kind == STUTTER)
        return 20000;
    return kind == TCP ? 24 * MIB : kind == SMALL_TCP ? 2 * MIB : 4 * MIB;
}

static void bulk_both_ways(void **state)
{
    for (enum kind kind = TCP; kind <= STUTTER; kind++) {
        struct world *w = world_new(kind);
        print_message("%s\n", kind_names[kind]);
        w->free_in_done = kind % 2 == 0;
        w->peers[0].to_send = bulk_bytes(kind);
        w->peers[1].to_send = bulk_bytes(kind) - 12345;
        world_start(w);
        world_run(w);
        assert_delivered(w);
        assert_true((splices > 0) == (kind == TCP || kind == SMALL_TCP));
        world_free(w);
    }
    (void)state;
}

static void without_pipes_it_copies(void **state)
{
    (void)state;
    struct world *w = world_new(TCP);
    no_pipes = true;
    w->peers[0].to_send = w->peers[1].to_send = 3 * MIB;
    world_start(w);
    world_run(w);
    no_pipes = false;
    assert_delivered(w);
    assert_int_equal(splices, 0);
    assert_true(pipes > 0);
    world_free(w);
}

static void small_tunnels_take_no_pipe(void **state)
{
    (void)state;
    struct world *w = world_new(TCP);
    w->peers[0].to_send = w->peers[1].to_send = 50000;
    world_start(w);
    world_run(w);
    assert_delivered(w);
    assert_int_equal(pipes, 0);
    world_free(w);
}

/* The end of one side goes through and the other way still works: peer i answers only after it. */
static void half_close_in_both_orders(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 300000};
    for (enum kind kind = TCP; kind <= STUTTER; kind++)
        for (unsigned second = 0; second < 2; second++)
            for (unsigned k = 0; k < ARRAY_LEN(sizes); k++) {
                size_t n = kind == STUTTER && sizes[k] > 5000 ? 5000 : sizes[k];
                struct world *w = world_new(kind);
                w->peers[0].to_send = n;
                w->peers[1].to_send = n + 7;
                w->peers[second].waits = true;
                world_start(w);
                world_run(w);
                assert_delivered(w);
                world_free(w);
            }
}

/* Bytes that came with the CONNECT head were put back before the pump started. */
static void unread_bytes_go_first(void **state)
{
    (void)state;
    for (unsigned large = 0; large < 2; large++) {
        struct world *w = mem_zalloc(sizeof(*w));
        static char early[300000];
        struct stream *a[2], *b[2];
        size_t n = large ? sizeof(early) : 5;
        assert_non_null(w);
        memset(early, 'e', sizeof(early));
        assert_int_equal(loop_new_epoll(&w->loop), ERR_OK);
        w->env = (struct pump_env){w->loop, chunk_pool_new(4), pipe_pool_new(), w->scratch,
                                   sizeof(w->scratch), 0};
        tcp_streams(w->loop, 0, a);
        tcp_streams(w->loop, 0, b);
        assert_int_equal(stream_unread(a[1], str_of(early, n)), ERR_OK);
        assert_int_equal(pump_new(&w->env, a[1], b[1], 60000, on_done, w, &w->pump), ERR_OK);
        w->peers[0] = (struct peer){.s = a[0], .ends = true, .to_send = 3};
        w->peers[1] = (struct peer){.s = b[0], .ends = true};
        for (size_t i = 0; i < n; i++)
            w->peers[0].sent_sum = mix(w->peers[0].sent_sum, 'e');
        stream_own(a[0], on_peer, &w->peers[0]);
        stream_own(b[0], on_peer, &w->peers[1]);
        world_start(w);
        world_run(w);
        assert_int_equal(w->peers[1].received, n + 3);
        assert_true(w->peers[1].received_sum == w->peers[0].sent_sum);
        assert_int_equal(w->bytes.a_to_b, n + 3);
        world_free(w);
    }
}

static void a_reset_goes_through(void **state)
{
    (void)state;
    for (enum kind kind = TCP; kind <= STUTTER; kind++)
        for (unsigned who = 0; who < 2; who++) {
            struct world *w = world_new(kind);
            w->peers[who].to_send = 1000;
            w->peers[who].reset_after = 500;
            w->peers[1 - who].ends = false; /* only waits */
            world_start(w);
            world_run(w);
            assert_int_equal(w->done, 1);
            assert_int_equal(w->why, who == 0 ? PUMP_A_FAILED : PUMP_B_FAILED);
            assert_int_equal(w->peers[1 - who].error, ERR_RESET);
            world_free(w);
        }
}

/* Peer 1 answers, ends and closes while peer 0 still uploads. What it sent arrives whole, with a
 * clean end, though the upload fails. */
static void an_early_answer_arrives(void **state)
{
    (void)state;
    static const enum kind kinds[] = {TCP, SMALL_TCP};
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        struct world *w = world_new(kinds[k]);
        struct peer *client = &w->peers[0], *server = &w->peers[1];
        client->to_send = 1u << 30;
        client->deaf = true; /* at first */
        server->to_send = 3000;
        server->deaf = true;
        world_start(w);
        for (unsigned i = 0; i < 50; i++)
            loop_turn(w->loop, 1000000);
        assert_true(server->ended);
        /* Take what has come, so that the close is one in order; what comes later is refused. */
        server->deaf = false;
        peer_read(server);
        stream_close(server->s, false);
        server->s = NULL;
        for (unsigned i = 0; i < 20; i++)
            loop_turn(w->loop, 1000000);
        client->deaf = false;
        stream_again(client->s);
        world_run(w);
        assert_int_equal(client->received, 3000);
        assert_true(client->received_sum == server->sent_sum);
        assert_int_equal(w->why, PUMP_B_FAILED);
        world_free(w);
    }
}

/* Peer 0 is gone: the download stops soon and is not read to its end. */
static void an_aborted_download_stops(void **state)
{
    (void)state;
    struct world *w = world_new(TCP);
    w->peers[1].to_send = 1u << 30;
    world_start(w);
    while (w->peers[0].received < 5 * MIB)
        loop_turn(w->loop, 1000000);
    stream_close(w->peers[0].s, false); /* with bytes unread: the kernel resets */
    w->peers[0].s = NULL;
    size_t before = w->peers[1].sent;
    world_run(w);
    assert_int_equal(w->why, PUMP_A_FAILED);
    assert_true(w->peers[1].sent - before < 20 * MIB);
    world_free(w);
}

static void back_pressure_is_bounded(void **state)
{
    (void)state;
    for (enum kind kind = TCP; kind <= MIXED; kind++) {
        struct world *w = world_new(kind);
        w->peers[0].to_send = 200 * MIB;
        w->peers[1].deaf = true;
        world_start(w);
        size_t before;
        unsigned quiet = 0;
        do {
            before = w->peers[0].sent;
            loop_turn(w->loop, 5000000);
            quiet = w->peers[0].sent == before ? quiet + 1 : 0;
        } while (quiet < 20);
        /* Kernel buffers, and of ours at most one chunk or one turn's pipe. */
        assert_true(w->peers[0].sent < 100 * MIB);
        assert_in_range(chunk_pool_out(w->env.chunks), 0, 1);
        w->peers[0].to_send = w->peers[0].sent + 1000;
        w->peers[1].deaf = false;
        stream_again(w->peers[1].s);
        world_run(w);
        assert_delivered(w);
        world_free(w);
    }
}

static int asks_peer(const struct stream *s)
{
    int on = -1;
    socklen_t n = sizeof(on);
    assert_int_equal(getsockopt(stream_tcp_fd(s), SOL_SOCKET, SO_KEEPALIVE, &on, &n), 0);
    return on;
}

/* The kernel is told to ask silent peers only after a while, and the idle time is no other for it. */
static void keepalive_comes_with_silence(void **state)
{
    (void)state;
    struct world *w = world_new(TCP);
    struct stream *a[2], *b[2];
    struct world second = {0};
    w->env.keepalive_ms = 200;
    tcp_streams(w->loop, 0, a);
    tcp_streams(w->loop, 0, b);
    assert_int_equal(asks_peer(b[0]), 0); /* the end that connected */
    second.loop = w->loop;
    assert_int_equal(pump_new(&w->env, a[1], b[0], 600, on_done, &second, &second.pump), ERR_OK);
    uint64_t start = clock_mono_ns(), asked_ms = 0, now_ms;
    size_t n;
    while (!second.done) {
        (void)usleep(5000);
        loop_turn(w->loop, 20000000);
        now_ms = (clock_mono_ns() - start) / NS_PER_MS;
        if (now_ms < 300)
            assert_int_equal(write_one(a[0], "x", 1, &n), ERR_OK);
        if (!second.done && !asked_ms && asks_peer(b[0]))
            asked_ms = now_ms;
    }
    assert_int_equal(second.why, PUMP_IDLE);
    assert_in_range(asked_ms, 450, 850);
    assert_in_range((clock_mono_ns() - start) / NS_PER_MS, 850, 1700);
    pump_free(second.pump, false);
    stream_close(a[0], false);
    stream_close(b[1], false);
    world_free(w);
}

static void idle_ends_it(void **state)
{
    (void)state;
    struct world *w = world_new(TCP);
    struct stream *a[2], *b[2];
    struct pump *other;
    struct world second = {0};
    w->peers[0].ends = w->peers[1].ends = false;
    tcp_streams(w->loop, 0, a);
    tcp_streams(w->loop, 0, b);
    second.loop = w->loop;
    assert_int_equal(pump_new(&w->env, a[1], b[1], 300, on_done, &second, &other), ERR_OK);
    second.pump = other;
    uint64_t start = clock_mono_ns();
    size_t n;
    while (!second.done) {
        (void)usleep(5000);
        loop_turn(w->loop, 20000000);
        if (clock_mono_ns() - start < 400 * NS_PER_MS)
            assert_int_equal(write_one(a[0], "x", 1, &n), ERR_OK); /* keeps it alive */
    }
    assert_int_equal(second.why, PUMP_IDLE);
    assert_in_range((clock_mono_ns() - start) / NS_PER_MS, 650, 1500);
    assert_int_equal(w->done, 0);
    pump_free(other, false);
    stream_close(a[0], false);
    stream_close(b[0], false);
    pump_free(w->pump, true); /* without done */
    w->pump = NULL;
    for (unsigned i = 0; i < 5; i++)
        loop_turn(w->loop, 1000000);
    assert_int_equal(w->peers[1].error, ERR_RESET);
    assert_int_equal(w->done, 0);
    world_free(w);
}

/* Every allocation that can fail does: the pump says so or works. */
static void out_of_memory(void **state)
{
    (void)state;
    for (int after = 0; after < 3; after++) {
        struct world *w = world_new(MEMORY);
        w->peers[0].to_send = 400000;
        w->peers[1].deaf = true;
        for (unsigned i = 0; i < 5; i++)
            loop_turn(w->loop, 0);
        world_start(w);
        mem_fail_after(after, true);
        for (unsigned i = 0; i < 50 && !w->done; i++)
            loop_turn(w->loop, 1000000);
        mem_fail_after(-1, false);
        w->peers[1].deaf = false;
        stream_again(w->peers[1].s);
        world_run(w);
        if (after == 0)
            assert_int_equal(w->why, PUMP_NOMEM);
        if (w->why != PUMP_NOMEM)
            assert_delivered(w);
        world_free(w);
    }
    struct pump *p = NULL;
    struct pump_env env = {0};
    mem_fail_after(0, false);
    assert_int_equal(pump_new(&env, NULL, NULL, 1, on_done, NULL, &p), ERR_NOMEM);
    mem_fail_after(-1, false);
    assert_null(p);
}

static unsigned descriptors_before;

static int count_before(void **state)
{
    (void)state;
    descriptors_before = open_descriptors();
    return 0;
}

static int count_after(void **state)
{
    (void)state;
    return open_descriptors() == descriptors_before ? 0 : -1;
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* splice has no MSG_NOSIGNAL; workers block the signal */
    (void)alarm(300);
#define CASE(f) cmocka_unit_test_setup_teardown(f, count_before, count_after)
    const struct CMUnitTest tests[] = {
        CASE(bulk_both_ways),
        CASE(without_pipes_it_copies),
        CASE(small_tunnels_take_no_pipe),
        CASE(half_close_in_both_orders),
        CASE(unread_bytes_go_first),
        CASE(a_reset_goes_through),
        CASE(an_early_answer_arrives),
        CASE(an_aborted_download_stops),
        CASE(back_pressure_is_bounded),
        CASE(keepalive_comes_with_silence),
        CASE(idle_ends_it),
        CASE(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
