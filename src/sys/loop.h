/* A thread's event loop: time read once a turn, timer wheel, inbox, ready list, close list.
 * One turn: wait -> dispatch -> timers -> inbox -> ready list -> close list. Loop thread only, unless a comment says otherwise.
 * Only waiting and waking differ, and are the driver's (epoll for workers, libuv for control, the simulator's own). */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_driver; /* sys_int.h */

/* Drivers. Each gives a fresh loop or an error. */
enum err loop_new_epoll(struct loop **ret_loop) MUST_CHECK NONNULL(1);
enum err loop_new_uv(struct loop **ret_loop) MUST_CHECK NONNULL(1); /* control thread only */
void loop_free(struct loop *loop); /* runs the close list; asserts that no watch is left open; messages not yet taken are lost */

void loop_run(struct loop *loop) NONNULL(1);  /* turns until loop_stop */
void loop_stop(struct loop *loop) NONNULL(1); /* ends loop_run after this turn; from the loop's own thread */
/* One turn that waits at most max_wait_ns. */
void loop_turn(struct loop *loop, uint64_t max_wait_ns) NONNULL(1);
uint64_t loop_now(const struct loop *loop) NONNULL(1); /* monotonic ns at the beginning of the turn */
/* Turns made so far; readable from any thread (health). */
uint64_t loop_turns(const struct loop *loop) NONNULL(1);
void loop_assert_on(const struct loop *loop) NONNULL(1);
#define ASSERT_ON_LOOP(l) loop_assert_on(l)

/* --- timers: ticks of 64 ms, rounded up; fine ones (delay < 1 s) fire within 5 ms of their time --- */
struct timer;
typedef void timer_fn(struct timer *timer);
struct timer {
    struct list node_;
    timer_fn *fn_;
    uint64_t deadline_; /* ns; 0 when not armed */
    uint32_t slot_;
};
void timer_init(struct timer *t, timer_fn *fn) NONNULL(1, 2);
/* (Re)arm to fire `delay_ms` after loop_now. Moving a deadline later costs one store. */
void timer_set(struct loop *loop, struct timer *t, uint64_t delay_ms) NONNULL(1, 2);
void timer_stop(struct loop *loop, struct timer *t) NONNULL(1, 2); /* also when not armed */
bool timer_armed(const struct timer *t) NONNULL(1);

/* --- watches: readiness of a descriptor --- */
enum watch_bits {
    WATCH_READABLE = 1, /* cleared by whoever meets EAGAIN or (without FIN) a short read */
    WATCH_WRITABLE = 2, /* cleared by whoever meets EAGAIN */
    WATCH_FIN = 4,      /* the peer ended its side, or the descriptor is dead: stays */
    WATCH_ERROR = 8,    /* stays */
};
enum watch_mode { WATCH_EDGE, WATCH_LEVEL };
struct watch;
typedef void watch_fn(struct watch *watch);
/* Embedded by value. Its memory must outlive the turn in which watch_close was called (loop_close_later). */
struct watch {
    struct list ready_;
    struct loop *loop;
    watch_fn *fn_;
    int fd;       /* -1 when closed */
    uint8_t bits; /* enum watch_bits; edge mode: sticky */
    uint8_t mode_;
    uint8_t interest_;
    uint32_t slot_; /* the driver's */
};
/* Edge mode: registered once for everything. Level mode: interest as watch_interest says (nothing at first); `bits` is what was
 * reported this time. fn is called from dispatch or from the ready list. */
enum err watch_open(struct loop *loop, struct watch *w, int fd, enum watch_mode mode, watch_fn *fn) MUST_CHECK NONNULL(1, 2, 5);
void watch_interest(struct watch *w, bool readable, bool writable) NONNULL(1); /* level mode */
/* Whoever stops for another reason than EAGAIN calls this: fn is called again in this turn's or the next turn's ready list. */
void watch_again(struct watch *w) NONNULL(1);
/* Unregister; fn is not called any more. The descriptor itself stays open: its owner closes it afterwards (edge mode: at once, or gives
 * it to another watch of this loop, because the kernel is not told). */
void watch_close(struct watch *w) NONNULL(1);

/* --- the ready list for things without a descriptor, and the close list --- */
struct task;
typedef void task_fn(struct task *task);
struct task {
    struct list node_;
    task_fn *fn_;
};
void task_init(struct task *t, task_fn *fn) NONNULL(1, 2);
void task_run_soon(struct loop *loop, struct task *t) NONNULL(1, 2); /* in this turn's ready list; once, however often asked */
void task_cancel(struct task *t) NONNULL(1);
/* Run fn at the very end of the turn: the place where memory is freed. */
void loop_close_later(struct loop *loop, struct task *t) NONNULL(1, 2);

/* --- messages between threads --- */
struct msg;
typedef void msg_fn(struct msg *msg);
struct msg {
    struct msg *next_;
    msg_fn *fn; /* called on the receiving loop; owns the message from then on */
};
/* Any thread. The message's memory belongs to the receiver afterwards. Wakes only on empty -> non-empty. */
void loop_post(struct loop *loop, struct msg *msg) NONNULL(1, 2);
