/* Timers, tasks, messages and the close list, on both drivers. */
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/loop.h"
#include "sys/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef enum err new_fn(struct loop **ret_loop);

static struct loop *loop_of(void **state)
{
    struct loop *loop;
    new_fn *make = *(new_fn **)*state;
    assert_int_equal(make(&loop), ERR_OK);
    return loop;
}

static uint64_t ms_between(uint64_t from, uint64_t to)
{
    return (to - from) / NS_PER_MS;
}

/* --- timers --- */

struct probe {
    struct timer timer;
    struct loop *loop;
    uint64_t at;
    unsigned fired;
    bool stops;
};

static void on_probe(struct timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);
    p->fired++;
    p->at = clock_mono_ns();
    if (p->stops)
        loop_stop(p->loop);
}

static struct probe probe(struct loop *loop)
{
    struct probe p = {.loop = loop};
    timer_init(&p.timer, on_probe);
    return p;
}

static void timers_fire_in_order_and_on_time(void **state)
{
    struct loop *loop = loop_of(state);
    struct probe fine = probe(loop), coarse = probe(loop), stopped = probe(loop),
                 zero = probe(loop);
    loop_turn(loop, 0);
    uint64_t start = loop_now(loop);
    coarse.stops = true;
    timer_set(loop, &coarse.timer, 1100);
    timer_set(loop, &fine.timer, 250);
    timer_set(loop, &stopped.timer, 50);
    timer_set(loop, &zero.timer, 0);
    timer_stop(loop, &stopped.timer);
    timer_stop(loop, &stopped.timer);
    assert_false(timer_armed(&stopped.timer));
    assert_true(timer_armed(&fine.timer));
    loop_run(loop);
    assert_int_equal(zero.fired, 1);
    assert_int_equal(fine.fired, 1);
    assert_int_equal(coarse.fired, 1);
    assert_int_equal(stopped.fired, 0);
    assert_true(zero.at < fine.at && fine.at < coarse.at);
    /* Not early; the upper bounds leave room for a busy machine. */
    assert_in_range(ms_between(start, fine.at), 250, 400);
    assert_in_range(ms_between(start, coarse.at), 1100, 1400);
    assert_false(timer_armed(&coarse.timer));
    loop_free(loop);
}

static void a_timer_can_move_both_ways(void **state)
{
    struct loop *loop = loop_of(state);
    struct probe p = probe(loop);
    loop_turn(loop, 0);
    uint64_t start = loop_now(loop);
    p.stops = true;
    timer_set(loop, &p.timer, 20);
    timer_set(loop, &p.timer, 200); /* later */
    timer_set(loop, &p.timer, 100); /* earlier than that */
    loop_run(loop);
    assert_int_equal(p.fired, 1);
    assert_in_range(ms_between(start, p.at), 100, 190);
    loop_free(loop);
}

/* --- tasks --- */

struct step {
    struct task task, closing;
    struct loop *loop;
    unsigned runs, limit;
    bool freed;
};

static void on_step(struct task *t)
{
    struct step *s = CONTAINER_OF(t, struct step, task);
    assert_false(s->freed);
    if (++s->runs < s->limit)
        task_run_soon(s->loop, t);
}

static void on_step_closed(struct task *t)
{
    CONTAINER_OF(t, struct step, closing)->freed = true;
}

static void tasks_run_once_per_turn_without_sleep(void **state)
{
    struct loop *loop = loop_of(state);
    struct step s = {.loop = loop, .limit = 3}, cancelled = {.loop = loop, .limit = 1};
    task_init(&s.task, on_step);
    task_init(&s.closing, on_step_closed);
    task_init(&cancelled.task, on_step);
    task_run_soon(loop, &s.task);
    task_run_soon(loop, &s.task);
    task_run_soon(loop, &cancelled.task);
    task_cancel(&cancelled.task);
    uint64_t turns = loop_turns(loop);
    for (unsigned i = 1; i <= 3; i++) {
        loop_turn(loop, UINT64_MAX); /* would hang if it slept */
        assert_int_equal(s.runs, i);
    }
    assert_int_equal(loop_turns(loop), turns + 3);
    assert_int_equal(cancelled.runs, 0);
    loop_close_later(loop, &s.closing);
    assert_false(s.freed);
    loop_turn(loop, 0);
    assert_true(s.freed);
    s.freed = false;
    loop_close_later(loop, &s.closing);
    loop_free(loop); /* runs the close list too */
    assert_true(s.freed);
}

/* --- messages --- */

enum { SENDERS = 3, MESSAGES = 20000 };

struct note {
    struct msg msg;
    unsigned sender, number;
    struct inbox *to;
};
struct inbox {
    struct loop *loop;
    unsigned next[SENDERS], n;
};
struct sender {
    struct inbox *to;
    unsigned index;
};

static void on_note(struct msg *m)
{
    struct note *n = CONTAINER_OF(m, struct note, msg);
    struct inbox *in = n->to;
    loop_assert_on(in->loop);
    assert_int_equal(n->number, in->next[n->sender]); /* in order of each sender */
    in->next[n->sender]++;
    mem_free(n);
    if (++in->n == SENDERS * MESSAGES)
        loop_stop(in->loop);
}

static void send_notes(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct note *n = mem_zalloc(sizeof(*n));
        if (!n)
            abort();
        *n = (struct note){.msg.fn = on_note, .sender = s->index, .number = i, .to = s->to};
        loop_post(s->to->loop, &n->msg);
        if (i % 1000 == 0)
            (void)usleep(500); /* so that the loop sleeps now and then */
    }
}

static void messages_arrive_in_order(void **state)
{
    struct inbox in = {.loop = loop_of(state)};
    struct sender senders[SENDERS];
    struct thread *threads[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&in, i};
        assert_int_equal(thread_start("sender", send_notes, &senders[i], &threads[i]), ERR_OK);
    }
    loop_run(in.loop); /* a lost wake-up hangs here until the test's time is up */
    for (unsigned i = 0; i < SENDERS; i++)
        thread_join(threads[i]);
    assert_int_equal(in.n, SENDERS * MESSAGES);
    loop_free(in.loop);
}

/* --- watches --- */

struct seen {
    struct watch watch;
    unsigned calls, bits;
    struct watch *closes; /* closed by the first call */
};

static void on_watch(struct watch *w)
{
    struct seen *s = CONTAINER_OF(w, struct seen, watch);
    assert_true(w->fd >= 0);
    s->calls++;
    s->bits = w->bits;
    if (s->closes)
        watch_close(s->closes);
}

static void pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void turns(struct loop *loop, unsigned n)
{
    while (n-- > 0)
        loop_turn(loop, 0);
}

static void edge_bits_stick(void **state)
{
    struct loop *loop = loop_of(state);
    struct seen s = {0};
    int fds[2];
    char c;
    pair(fds);
    assert_int_equal(watch_open(loop, &s.watch, fds[0], WATCH_EDGE, on_watch), ERR_OK);
    assert_int_equal(s.watch.bits, 0);
    turns(loop, 2);
    assert_int_equal(s.bits, WATCH_WRITABLE);
    assert_int_equal(s.calls, 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    turns(loop, 3);
    assert_int_equal(s.bits, WATCH_WRITABLE | WATCH_READABLE);
    assert_int_equal(s.calls, 2); /* an edge, although nobody read */
    assert_int_equal(read(fds[0], &c, 1), 1);
    s.watch.bits = WATCH_WRITABLE;
    watch_again(&s.watch);
    turns(loop, 1);
    assert_int_equal(s.calls, 3);
    (void)close(fds[1]);
    turns(loop, 2);
    assert_true((s.bits & (WATCH_FIN | WATCH_READABLE)) == (WATCH_FIN | WATCH_READABLE));
    unsigned calls = s.calls;
    watch_again(&s.watch);
    watch_close(&s.watch);
    watch_close(&s.watch);
    turns(loop, 2);
    assert_int_equal(s.calls, calls);
    (void)close(fds[0]);
    loop_free(loop);
}

static void level_reports_what_is_asked_for(void **state)
{
    struct loop *loop = loop_of(state);
    struct seen s = {0};
    int fds[2];
    pair(fds);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(watch_open(loop, &s.watch, fds[0], WATCH_LEVEL, on_watch), ERR_OK);
    turns(loop, 2);
    assert_int_equal(s.calls, 0);
    watch_interest(&s.watch, true, false);
    turns(loop, 3);
    assert_int_equal(s.calls, 3);
    assert_int_equal(s.bits, WATCH_READABLE);
    watch_interest(&s.watch, false, true);
    turns(loop, 1);
    assert_int_equal(s.bits, WATCH_WRITABLE);
    watch_interest(&s.watch, false, false);
    turns(loop, 2);
    assert_int_equal(s.calls, 4);
    watch_interest(&s.watch, true, false);
    watch_close(&s.watch);
    turns(loop, 2); /* the descriptor is still open and readable: no event, no spin */
    assert_int_equal(s.calls, 4);
    (void)close(fds[0]);
    (void)close(fds[1]);
    loop_free(loop);
}

/* Both are readable in one batch; whoever comes first closes the other, whose event is dropped. */
static void events_of_a_closed_watch_are_dropped(void **state)
{
    struct loop *loop = loop_of(state);
    struct seen a = {0}, b = {0};
    int fa[2], fb[2];
    pair(fa), pair(fb);
    assert_int_equal(watch_open(loop, &a.watch, fa[0], WATCH_EDGE, on_watch), ERR_OK);
    assert_int_equal(watch_open(loop, &b.watch, fb[0], WATCH_EDGE, on_watch), ERR_OK);
    a.closes = &b.watch, b.closes = &a.watch;
    turns(loop, 3);
    assert_int_equal(a.calls + b.calls, 1);
    watch_close(&a.watch);
    watch_close(&b.watch);
    for (unsigned i = 0; i < 2; i++)
        (void)close(fa[i]), (void)close(fb[i]);
    loop_free(loop);
}

/* A descriptor goes from one watch to another: the connector's, then the stream's. */
static void a_descriptor_is_handed_on(void **state)
{
    struct loop *loop = loop_of(state);
    struct seen a = {0}, b = {0};
    int fds[2];
    pair(fds);
    assert_int_equal(watch_open(loop, &a.watch, fds[0], WATCH_EDGE, on_watch), ERR_OK);
    turns(loop, 2);
    watch_close(&a.watch);
    turns(loop, 1);
    assert_int_equal(watch_open(loop, &b.watch, fds[0], WATCH_EDGE, on_watch), ERR_OK);
    assert_int_equal(write(fds[1], "x", 1), 1);
    turns(loop, 2);
    assert_int_equal(a.calls, 1);
    assert_true(b.bits & WATCH_READABLE);
    watch_close(&b.watch);
    (void)close(fds[0]), (void)close(fds[1]);
    loop_free(loop);
}

/* A child that was just forked holds copies of all descriptors until it runs its program: the
 * kernel then goes on reporting one that we have closed. */
static void events_of_a_descriptor_that_lives_on_in_a_child(void **state)
{
    struct loop *loop = loop_of(state);
    struct seen *a = test_calloc(1, sizeof(*a)), b = {0};
    int fds[2], others[2];
    pair(fds);
    assert_int_equal(watch_open(loop, &a->watch, fds[0], WATCH_EDGE, on_watch), ERR_OK);
    turns(loop, 2);
    int copy = dup(fds[0]); /* what the child would hold */
    watch_close(&a->watch);
    (void)close(fds[0]);
    test_free(a);
    pair(others);
    assert_int_equal(watch_open(loop, &b.watch, others[0], WATCH_EDGE, on_watch), ERR_OK);
    turns(loop, 2);
    unsigned calls = b.calls, bits = b.bits;
    (void)close(fds[1]); /* reported for a watch that is gone */
    turns(loop, 3);
    assert_int_equal(b.calls, calls);
    assert_int_equal(b.bits, bits);
    watch_close(&b.watch);
    (void)close(copy), (void)close(others[0]), (void)close(others[1]);
    loop_free(loop);
}

static void many_watches(void **state)
{
    enum { N = 300 }; /* more than one batch (of 48) and one growth of the driver's table */
    struct loop *loop = loop_of(state);
    static struct seen s[N];
    static int fds[N][2];
    memset(s, 0, sizeof(s));
    for (unsigned i = 0; i < N; i++) {
        pair(fds[i]);
        assert_int_equal(watch_open(loop, &s[i].watch, fds[i][0], WATCH_EDGE, on_watch), ERR_OK);
    }
    turns(loop, N / 48 + 2);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(s[i].calls, 1);
    for (unsigned i = 0; i < N; i++) {
        watch_close(&s[i].watch);
        (void)close(fds[i][0]), (void)close(fds[i][1]);
    }
    loop_free(loop);
}

int main(void)
{
    static new_fn *epoll = loop_new_epoll, *uv = loop_new_uv;
#define ON_BOTH(f)                                                                                 \
    {#f "/epoll", f, NULL, NULL, &epoll},                                                          \
    {                                                                                              \
#f "/uv", f, NULL, NULL, &uv                                                               \
    }
    const struct CMUnitTest tests[] = {
        ON_BOTH(timers_fire_in_order_and_on_time),
        ON_BOTH(a_timer_can_move_both_ways),
        ON_BOTH(tasks_run_once_per_turn_without_sleep),
        ON_BOTH(messages_arrive_in_order),
        ON_BOTH(edge_bits_stick),
        ON_BOTH(level_reports_what_is_asked_for),
        ON_BOTH(events_of_a_closed_watch_are_dropped),
        ON_BOTH(a_descriptor_is_handed_on),
        ON_BOTH(events_of_a_descriptor_that_lives_on_in_a_child),
        ON_BOTH(many_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
