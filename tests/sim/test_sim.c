/* The simulated network behaves like the kernel's: seen through the program's own streams and
 * listener. */
#include "sim.h"
#include "base/mem.h"
#include "net/listener.h"
#include "net/sockaddr.h"
#include "net/stream_tcp.h"
#include "sys/clock.h"
#include "sys/sock.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct sim_faults perfect;
static struct loop *loop;

static struct address address(const char *text)
{
    struct address a;
    assert_true(address_parse(str_from(text), &a));
    return a;
}

/* --- a program that echoes --- */

struct echo {
    struct listener *listener;
    struct stream *s;
    int fd;
    char held[64];
    size_t n;
    bool ended;
};

static void echo_ready(void *owner, struct stream *s)
{
    struct echo *e = owner;
    for (;;) {
        if (!e->n) {
            enum err err = stream_read(s, e->held, sizeof e->held, &e->n);
            if (err == ERR_AGAIN)
                return;
            if (err) {
                e->ended = err == ERR_EOF;
                stream_close(s, false);
                e->s = NULL;
                return;
            }
        }
        struct iovec iov = {e->held, e->n};
        size_t n;
        enum err err = stream_writev(s, &iov, 1, &n);
        if (err && err != ERR_AGAIN) {
            stream_close(s, false);
            e->s = NULL;
        }
        if (err)
            return;
        e->n -= n;
        memmove(e->held, e->held + n, e->n);
    }
}

static void echo_accept(void *owner, int fd, const struct sock_addr *peer, unsigned tag)
{
    struct echo *e = owner;
    (void)peer, (void)tag;
    assert_int_equal(stream_tcp_new(loop, fd, &e->s), ERR_OK);
    stream_own(e->s, echo_ready, e);
}

static void echo_open(struct echo *e)
{
    struct sock_listen_options o = {.backlog = 1};
    struct address a = address("127.0.0.1");
    struct sock_addr at = sockaddr_from_address(&a, 80);
    int os_errno;
    memset(e, 0, sizeof *e);
    assert_int_equal(sim_loop_new(&loop), ERR_OK);
    assert_int_equal(sock_listen(&at, &o, &e->fd, &os_errno), ERR_OK);
    assert_int_equal(listener_open(loop, e->fd, 0, echo_accept, e, &e->listener), ERR_OK);
}

static void echo_close(struct echo *e)
{
    listener_close(e->listener);
    stream_close(e->s, false);
    sock_close(e->fd);
    loop_free(loop);
    assert_int_equal(sim_open_descriptors(), 0);
    sim_end();
}

/* --- a client --- */

enum { BYTES = 30000 };
struct caller {
    struct sim_peer peer;
    size_t got;
    bool fin;
    int reset;
};

static void caller_open(struct sim_peer *p)
{
    char c;
    for (size_t i = 0; i < BYTES; i++) {
        c = (char)(i * 31 + i / 256);
        sim_write(p, &c, 1);
    }
    sim_shutdown(p);
}

static void caller_bytes(struct sim_peer *p, const char *bytes, size_t n)
{
    struct caller *c = p->owner;
    for (size_t i = 0; i < n; i++, c->got++)
        assert_int_equal(bytes[i], (char)(c->got * 31 + c->got / 256));
}

static void caller_fin(struct sim_peer *p)
{
    ((struct caller *)p->owner)->fin = true;
    sim_close(p);
}

static void caller_reset(struct sim_peer *p, int os_errno)
{
    ((struct caller *)p->owner)->reset = os_errno;
}

static void call(struct caller *c)
{
    struct address a = address("127.0.0.1");
    *c = (struct caller){.peer = {.owner = c,
                                  .on_open = caller_open,
                                  .on_bytes = caller_bytes,
                                  .on_fin = caller_fin,
                                  .on_reset = caller_reset}};
    assert_true(sim_connect(&c->peer, &a, 80));
}

static void bytes_survive_every_pace(void **state)
{
    static const struct sim_faults cases[] = {
        {0},
        {.split = 1000},
        {.one_byte = 1000},
        {.small_window = 1000},
        {.split = 1000, .small_window = 1000, .slow = 5, .spurious = 50, .accept_error = 300},
        {.one_byte = 1000, .small_window = 1000, .spurious = 50},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct echo e;
            struct caller c;
            sim_begin(seed, &cases[i]);
            echo_open(&e);
            call(&c);
            assert_int_equal(sim_run(UINT64_C(86400000) * NS_PER_MS, NULL, NULL), SIM_QUIET);
            assert_int_equal(c.got, BYTES);
            assert_true(c.fin && e.ended);
            assert_int_equal(sim_connections(), 0);
            echo_close(&e);
        }
    }
}

static void a_cut_connection_ends_on_both_sides(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct sim_faults f = {.cut = 1000};
        struct echo e;
        struct caller c;
        sim_begin(seed, &f);
        echo_open(&e);
        call(&c);
        assert_int_equal(sim_run(60000 * NS_PER_MS, NULL, NULL), SIM_QUIET);
        assert_int_equal(c.reset, ECONNRESET);
        assert_null(e.s);
        assert_true(c.got < BYTES);
        echo_close(&e);
    }
}

static void a_silent_connection_says_nothing(void **state)
{
    struct sim_faults f = {.stall = 1000};
    struct echo e;
    struct caller c;
    (void)state;
    sim_begin(3, &f);
    echo_open(&e);
    call(&c);
    assert_int_equal(sim_run(60000 * NS_PER_MS, NULL, NULL), SIM_QUIET);
    assert_true(c.got < BYTES && !c.fin && !c.reset);
    sim_reset(&c.peer);
    echo_close(&e);
}

static void nobody_listens(void **state)
{
    struct sim_peer p = {0};
    struct address a = address("127.0.0.1");
    (void)state;
    sim_begin(1, &perfect);
    assert_false(sim_connect(&p, &a, 81));
    sim_end();
}

/* --- dialling --- */

static enum sim_reach reach;
static struct sim_peer server;
static bool server_gone;

static enum sim_reach on_dial(void *owner, const struct address *to, uint16_t port,
                              struct sim_peer **ret_peer)
{
    (void)owner;
    struct address want = address("10.0.0.1");
    assert_true(address_eq(to, &want));
    assert_int_equal(port, 443);
    *ret_peer = &server;
    return reach;
}

static void on_server_reset(struct sim_peer *p, int os_errno)
{
    (void)p, (void)os_errno;
    server_gone = true;
}

static unsigned calls;
static void on_ready(void *owner, struct stream *s)
{
    (void)owner, (void)s;
    calls++;
}

static void dialling(void **state)
{
    (void)state;
    for (reach = SIM_REFUSES; reach <= SIM_UNREACHABLE; reach++) {
        struct address a = address("10.0.0.1");
        struct sock_addr to = sockaddr_from_address(&a, 443);
        struct stream *s;
        int fd, os_errno = 0;
        char byte;
        size_t n;
        sim_begin(reach, &perfect);
        sim_on_dial(on_dial, NULL);
        calls = 0;
        server_gone = false;
        server = (struct sim_peer){.on_reset = on_server_reset};
        assert_int_equal(sim_loop_new(&loop), ERR_OK);
        enum err e = sock_connect(&to, &fd, &os_errno);
        if (reach == SIM_UNREACHABLE) {
            assert_int_equal(e, ERR_SYSTEM);
            assert_int_equal(os_errno, ENETUNREACH);
        } else {
            assert_int_equal(e, ERR_OK);
            assert_int_equal(stream_tcp_new(loop, fd, &s), ERR_OK);
            stream_own(s, on_ready, NULL);
            sim_run(1000 * NS_PER_MS, NULL, NULL);
            assert_int_equal(calls, reach == SIM_HOLE ? 0 : 1);
            assert_int_equal(stream_fin(s), reach == SIM_REFUSES);
            assert_int_equal(sock_error(fd), reach == SIM_REFUSES ? ECONNREFUSED : 0);
            if (reach == SIM_ANSWERS) {
                sim_reset(&server);
                sim_run(1000 * NS_PER_MS, NULL, NULL);
                assert_int_equal(sock_read(fd, &byte, 1, &n), ERR_RESET); /* told once */
                assert_int_equal(sock_read(fd, &byte, 1, &n), ERR_EOF);
            }
            stream_close(s, false);
        }
        loop_free(loop);
        assert_int_equal(sim_open_descriptors(), 0);
        sim_end();
    }
}

/* A connection that is given up while it opens: the server hears of it. */
static void giving_up_a_connection(void **state)
{
    struct address a = address("10.0.0.1");
    struct sock_addr to = sockaddr_from_address(&a, 443);
    int fd, os_errno;
    (void)state;
    sim_begin(1, &perfect);
    sim_on_dial(on_dial, NULL);
    reach = SIM_ANSWERS;
    server_gone = false;
    server = (struct sim_peer){.on_reset = on_server_reset};
    assert_int_equal(sim_loop_new(&loop), ERR_OK);
    assert_int_equal(sock_connect(&to, &fd, &os_errno), ERR_OK);
    sock_close(fd);
    sim_run(1000 * NS_PER_MS, NULL, NULL);
    assert_true(server_gone);
    assert_int_equal(sim_connections(), 0);
    loop_free(loop);
    sim_end();
}

/* --- time --- */

static void later(void *owner)
{
    *(uint64_t *)owner = sim_now();
}

static void things_happen_at_their_time(void **state)
{
    uint64_t at[3] = {0};
    (void)state;
    sim_begin(1, &perfect);
    uint64_t start = sim_now();
    assert_int_equal(sim_loop_new(&loop), ERR_OK);
    sim_after(3000 * NS_PER_MS, later, &at[0]);
    struct sim_event *never = sim_after(2000 * NS_PER_MS, later, &at[1]);
    sim_after(1000 * NS_PER_MS, later, &at[2]);
    sim_forget(never);
    assert_int_equal(sim_run(10000 * NS_PER_MS, NULL, NULL), SIM_QUIET);
    assert_true(at[0] >= start + 3000 * NS_PER_MS && at[0] < start + 3001 * NS_PER_MS);
    assert_int_equal(at[1], 0);
    assert_true(at[2] >= start + 1000 * NS_PER_MS && at[2] < start + 1001 * NS_PER_MS);
    assert_int_equal(sim_now(), start + 10000 * NS_PER_MS);
    loop_free(loop);
    sim_end();
}

static struct task again;
static void on_again(struct task *t)
{
    task_run_soon(loop, t);
}

static void a_loop_that_never_waits_is_noticed(void **state)
{
    (void)state;
    sim_begin(1, &perfect);
    assert_int_equal(sim_loop_new(&loop), ERR_OK);
    task_init(&again, on_again);
    task_run_soon(loop, &again);
    assert_int_equal(sim_run(UINT64_C(3600000) * NS_PER_MS, NULL, NULL), SIM_SPINS);
    task_cancel(&again);
    loop_free(loop);
    sim_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_survive_every_pace),
        cmocka_unit_test(a_cut_connection_ends_on_both_sides),
        cmocka_unit_test(a_silent_connection_says_nothing),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(dialling),
        cmocka_unit_test(giving_up_a_connection),
        cmocka_unit_test(things_happen_at_their_time),
        cmocka_unit_test(a_loop_that_never_waits_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
