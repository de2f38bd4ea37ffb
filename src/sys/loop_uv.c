/* The control thread's driver: libuv waits, because it also knows signals, children, file watches
 * and the job pool. Few descriptors are watched here, so each wait looks at all of them. */
#include "base/assert.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/sys_int.h"
#include <uv.h>

struct uv_driver {
    struct loop_driver base;
    struct loop *loop; /* of the wait that runs */
    uv_loop_t uv;
    uv_timer_t timer;
    uv_async_t wake;
    struct list polls;
};
struct poll {
    uv_poll_t handle;
    struct list node;
    struct uv_driver *driver;
    struct watch *watch;
    int asked; /* events libuv waits for */
};

static struct uv_driver *driver_from(struct loop_driver *d)
{
    return CONTAINER_OF(d, struct uv_driver, base);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poll *p = CONTAINER_OF(handle, struct poll, handle);
    unsigned bits = 0;
    if (status < 0) { /* libuv has stopped it */
        p->asked = 0;
        bits = WATCH_ERROR | WATCH_FIN | WATCH_READABLE | WATCH_WRITABLE;
    }
    if (events & UV_READABLE)
        bits |= WATCH_READABLE;
    if (events & UV_WRITABLE)
        bits |= WATCH_WRITABLE;
    if (events & UV_DISCONNECT)
        bits |= WATCH_FIN | WATCH_READABLE;
    loop_woke(p->driver->loop);
    loop_report(p->watch, bits);
}

/* libuv reports levels; an edge is asked for only while its bit is not set. */
static int wanted(const struct watch *w)
{
    int events = 0;
    if (w->mode_ == WATCH_LEVEL) {
        events |= (w->interest_ & WATCH_READABLE) ? UV_READABLE | UV_DISCONNECT : 0;
        return events | ((w->interest_ & WATCH_WRITABLE) ? UV_WRITABLE : 0);
    }
    if (!(w->bits & WATCH_READABLE))
        events |= UV_READABLE;
    if (!(w->bits & WATCH_WRITABLE))
        events |= UV_WRITABLE;
    return events | ((w->bits & WATCH_FIN) ? 0 : UV_DISCONNECT);
}

static void ask(struct poll *p)
{
    int events = wanted(p->watch);
    if (events == p->asked)
        return;
    int rc = events ? uv_poll_start(&p->handle, events, on_poll) : uv_poll_stop(&p->handle);
    if (rc == 0)
        p->asked = events;
}

static void on_timer(uv_timer_t *t)
{
    (void)t; /* only ends the wait */
}

static void on_wake(uv_async_t *a)
{
    (void)a;
}

static void driver_wait(struct loop_driver *base, struct loop *loop, uint64_t max_wait_ns)
{
    struct uv_driver *d = driver_from(base);
    d->loop = loop;
    for (struct list *n = d->polls.next; n != &d->polls; n = n->next)
        ask(LIST_ENTRY(n, struct poll, node));
    if (max_wait_ns != 0 && max_wait_ns != LOOP_FOR_EVER) {
        uint64_t ms = max_wait_ns / NS_PER_MS + (max_wait_ns % NS_PER_MS != 0);
        uv_update_time(&d->uv);
        (void)uv_timer_start(&d->timer, on_timer, ms, 0);
    }
    (void)uv_run(&d->uv, max_wait_ns ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    (void)uv_timer_stop(&d->timer);
    loop_woke(loop);
}

static void driver_wake(struct loop_driver *base)
{
    (void)uv_async_send(&driver_from(base)->wake);
}

static enum err driver_add(struct loop_driver *base, struct watch *w)
{
    struct uv_driver *d = driver_from(base);
    struct poll *p = mem_zalloc(sizeof(*p));
    if (!p)
        return ERR_NOMEM;
    if (uv_poll_init(&d->uv, &p->handle, w->fd) < 0) {
        mem_free(p);
        return ERR_SYSTEM;
    }
    p->driver = d;
    p->watch = w;
    list_push(&d->polls, &p->node);
    return ERR_OK;
}

static void driver_modify(struct loop_driver *base, struct watch *w)
{
    (void)base, (void)w; /* looked at before the next wait */
}

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(CONTAINER_OF(handle, struct poll, handle));
}

static void driver_remove(struct loop_driver *base, struct watch *w)
{
    struct uv_driver *d = driver_from(base);
    for (struct list *n = d->polls.next; n != &d->polls; n = n->next) {
        struct poll *p = LIST_ENTRY(n, struct poll, node);
        if (p->watch != w)
            continue;
        list_remove(n);
        uv_close((uv_handle_t *)&p->handle, on_poll_closed);
        return;
    }
}

static void assert_closing(uv_handle_t *handle, void *arg)
{
    (void)arg;
    ASSERT(uv_is_closing(handle)); /* signals and the like go before their loop */
}

static void driver_free(struct loop_driver *base)
{
    struct uv_driver *d = driver_from(base);
    uv_close((uv_handle_t *)&d->timer, NULL);
    uv_close((uv_handle_t *)&d->wake, NULL);
    uv_walk(&d->uv, assert_closing, NULL);
    (void)uv_run(&d->uv, UV_RUN_DEFAULT); /* also waits for jobs that run */
    ASSERT(uv_loop_close(&d->uv) == 0);
    mem_free(d);
}

static const struct loop_driver_ops uv_ops = {
    .wait = driver_wait,
    .wake = driver_wake,
    .add = driver_add,
    .modify = driver_modify,
    .remove = driver_remove,
    .free = driver_free,
};

enum err loop_new_uv(struct loop **ret_loop)
{
    struct uv_driver *d = mem_zalloc(sizeof(*d));
    if (!d)
        return ERR_NOMEM;
    d->base.ops = &uv_ops;
    list_init(&d->polls);
    if (uv_loop_init(&d->uv) < 0) {
        mem_free(d);
        return ERR_SYSTEM;
    }
    (void)uv_timer_init(&d->uv, &d->timer); /* cannot fail */
    if (uv_async_init(&d->uv, &d->wake, on_wake) < 0) {
        uv_close((uv_handle_t *)&d->timer, NULL);
        (void)uv_run(&d->uv, UV_RUN_DEFAULT);
        (void)uv_loop_close(&d->uv);
        mem_free(d);
        return ERR_SYSTEM;
    }
    return loop_new(&d->base, ret_loop);
}

uv_loop_t *loop_uv(struct loop *loop)
{
    ASSERT(loop_driver_of(loop)->ops == &uv_ops);
    return &driver_from(loop_driver_of(loop))->uv;
}
