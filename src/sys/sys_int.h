/* What the loop, its drivers and the rest of sys/ share. Simulations include it to bring a driver
 * of their own: they link loop.c (sys_loop_dep) and fake clock, random and sock. */
#pragma once
#include "sys/loop.h"

#define LOOP_FOR_EVER UINT64_MAX

struct loop_driver_ops {
    /* Wait at most max_wait_ns (LOOP_FOR_EVER), call loop_woke, then loop_report for every event.
     */
    void (*wait)(struct loop_driver *d, struct loop *loop, uint64_t max_wait_ns);
    void (*wake)(struct loop_driver *d); /* any thread: end the wait */
    /* w->fd, w->mode_ and, for modify, w->interest_ are set. w->slot_ is the driver's. */
    enum err (*add)(struct loop_driver *d, struct watch *w);
    void (*modify)(struct loop_driver *d, struct watch *w); /* level mode only */
    void (*remove)(struct loop_driver *d, struct watch *w);
    void (*free)(struct loop_driver *d);
};
/* Drivers embed this first. */
struct loop_driver {
    const struct loop_driver_ops *ops;
};

/* A loop on a driver, which it owns from then on (also when this fails). */
enum err loop_new(struct loop_driver *driver, struct loop **ret_loop) MUST_CHECK NONNULL(1, 2);
struct loop_driver *loop_driver_of(struct loop *loop) NONNULL(1);
/* Read the clock: after every wait, before anything is called back. */
void loop_woke(struct loop *loop) NONNULL(1);

/* One event. FIN comes with READABLE so that the end is read; ERROR with both. */
static inline void loop_report(struct watch *w, unsigned bits)
{
    if (w->fd < 0)
        return; /* closed earlier in this turn */
    if (!list_empty(&w->ready_))
        list_remove(&w->ready_); /* it is being called now */
    w->bits = (uint8_t)(w->mode_ == WATCH_EDGE ? w->bits | bits : bits);
    w->fn_(w);
}

/* The libuv loop below a loop of loop_new_uv. Its callbacks call loop_woke before anything else. */
struct uv_loop_s *loop_uv(struct loop *loop) NONNULL(1);

/* Cores that a cgroup's CPU quota leaves, rounded up; 0: no quota. `membership` is the text file
 * that names the process's groups (/proc/self/cgroup), `root` where they are mounted
 * (/sys/fs/cgroup). */
unsigned thread_quota_cores(const char *membership, const char *root) NONNULL(1, 2);

/* Options that accepted connections inherit; also for listening sockets that were handed to us. */
void sock_prepare_listener(int fd);
