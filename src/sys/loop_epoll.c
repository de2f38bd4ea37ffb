/* The workers' driver: one epoll set, a socket is added once and never changed. */
#include "base/assert.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/sys_int.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BATCH = 48, /* so few that what belongs to their connections is still in the cache when the turn ends and is written */
    WAKE_SLOT = UINT32_MAX
};

/* Edge-mode descriptors are not taken out of the set: closing does that, unless a child that was
 * just forked holds a copy for a moment. So an event names a slot and its generation, never memory.
 */
struct slot {
    struct watch *watch; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* index + 1; 0: end */
};

struct epoll_driver {
    struct loop_driver base;
    int fd, wake_fd;
    struct slot *slots;
    uint32_t n_slots, first_free; /* index + 1 */
    struct epoll_event events[BATCH];
};

static struct epoll_driver *driver_from(struct loop_driver *d)
{
    return CONTAINER_OF(d, struct epoll_driver, base);
}

static unsigned bits_of(uint32_t events)
{
    unsigned bits = 0;
    if (events & EPOLLIN)
        bits |= WATCH_READABLE;
    if (events & EPOLLOUT)
        bits |= WATCH_WRITABLE;
    if (events & (EPOLLRDHUP | EPOLLHUP))
        bits |= WATCH_FIN | WATCH_READABLE;
    if (events & EPOLLERR)
        bits |= WATCH_ERROR | WATCH_READABLE | WATCH_WRITABLE;
    return bits;
}

static int timeout_ms(uint64_t ns)
{
    if (ns == LOOP_FOR_EVER)
        return -1;
    uint64_t ms = ns / NS_PER_MS + (ns % NS_PER_MS != 0);
    return ms < 1000000 ? (int)ms : 1000000;
}

static void drain_wake(const struct epoll_driver *d)
{
    uint64_t count;
    while (read(d->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

static void driver_wait(struct loop_driver *base, struct loop *loop, uint64_t max_wait_ns)
{
    struct epoll_driver *d = driver_from(base);
    int n = epoll_wait(d->fd, d->events, BATCH, timeout_ms(max_wait_ns));
    ASSERT(n >= 0 || errno == EINTR);
    loop_woke(loop);
    for (int i = 0; i < n; i++) {
        uint32_t slot = (uint32_t)d->events[i].data.u64;
        uint32_t generation = (uint32_t)(d->events[i].data.u64 >> 32);
        if (slot == WAKE_SLOT)
            drain_wake(d);
        else if (d->slots[slot].generation == generation && d->slots[slot].watch)
            loop_report(d->slots[slot].watch, bits_of(d->events[i].events));
    }
}

static void driver_wake(struct loop_driver *base)
{
    uint64_t one = 1;
    while (write(driver_from(base)->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static enum err slots_grow(struct epoll_driver *d)
{
    uint32_t n = d->n_slots ? d->n_slots * 2 : 64;
    struct slot *slots = mem_realloc(d->slots, n * sizeof(*slots));
    if (!slots)
        return ERR_NOMEM;
    for (uint32_t i = n; i-- > d->n_slots;) {
        slots[i] = (struct slot){NULL, 0, d->first_free};
        d->first_free = i + 1;
    }
    d->slots = slots;
    d->n_slots = n;
    return ERR_OK;
}

static struct epoll_event event_for(const struct epoll_driver *d, const struct watch *w)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    if (w->mode_ == WATCH_LEVEL) {
        ev.events = (w->interest_ & WATCH_READABLE) ? EPOLLIN | EPOLLRDHUP : 0;
        ev.events |= (w->interest_ & WATCH_WRITABLE) ? EPOLLOUT : 0;
    }
    ev.data.u64 = (uint64_t)d->slots[w->slot_].generation << 32 | w->slot_;
    return ev;
}

static void slot_give(struct epoll_driver *d, uint32_t i)
{
    d->slots[i] = (struct slot){NULL, d->slots[i].generation + 1, d->first_free};
    d->first_free = i + 1;
}

static enum err driver_add(struct loop_driver *base, struct watch *w)
{
    struct epoll_driver *d = driver_from(base);
    if (!d->first_free && slots_grow(d))
        return ERR_NOMEM;
    w->slot_ = d->first_free - 1;
    d->first_free = d->slots[w->slot_].next_free;
    d->slots[w->slot_].watch = w;
    struct epoll_event ev = event_for(d, w);
    int rc = epoll_ctl(d->fd, EPOLL_CTL_ADD, w->fd, &ev);
    if (rc < 0 && errno == EEXIST) /* handed on from a watch that was closed */
        rc = epoll_ctl(d->fd, EPOLL_CTL_MOD, w->fd, &ev);
    if (rc == 0)
        return ERR_OK;
    slot_give(d, w->slot_);
    return errno == ENOMEM || errno == ENOSPC ? ERR_NOMEM : ERR_SYSTEM;
}

static void driver_modify(struct loop_driver *base, struct watch *w)
{
    struct epoll_driver *d = driver_from(base);
    struct epoll_event ev = event_for(d, w);
    (void)epoll_ctl(d->fd, EPOLL_CTL_MOD, w->fd, &ev);
}

static void driver_remove(struct loop_driver *base, struct watch *w)
{
    struct epoll_driver *d = driver_from(base);
    if (w->mode_ == WATCH_LEVEL)
        (void)epoll_ctl(d->fd, EPOLL_CTL_DEL, w->fd, NULL);
    slot_give(d, w->slot_);
}

static void driver_free(struct loop_driver *base)
{
    struct epoll_driver *d = driver_from(base);
    if (d->wake_fd >= 0)
        (void)close(d->wake_fd);
    if (d->fd >= 0)
        (void)close(d->fd);
    mem_free(d->slots);
    mem_free(d);
}

static const struct loop_driver_ops epoll_ops = {
    .wait = driver_wait,
    .wake = driver_wake,
    .add = driver_add,
    .modify = driver_modify,
    .remove = driver_remove,
    .free = driver_free,
};

enum err loop_new_epoll(struct loop **ret_loop)
{
    struct epoll_driver *d = mem_zalloc(sizeof(*d));
    if (!d)
        return ERR_NOMEM;
    d->base.ops = &epoll_ops;
    d->fd = epoll_create1(EPOLL_CLOEXEC);
    d->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = WAKE_SLOT};
    if (d->fd < 0 || d->wake_fd < 0 || epoll_ctl(d->fd, EPOLL_CTL_ADD, d->wake_fd, &ev) < 0) {
        driver_free(&d->base);
        return ERR_SYSTEM;
    }
    return loop_new(&d->base, ret_loop);
}
