#include "sys/loop.h"
#include "base/assert.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/sys_int.h"
#include "sys/wheel.h"
#include <pthread.h>

struct loop {
    struct loop_driver *driver;
    uint64_t now;
    struct list ready_watches, ready_tasks, closing;
    size_t watches; /* open ones */
    bool stop, owned;
    pthread_t owner;
    _Atomic uint64_t turns;
    _Atomic(struct msg *) inbox; /* newest first; any thread pushes */
    struct wheel wheel;
};

enum err loop_new(struct loop_driver *driver, struct loop **ret_loop)
{
    struct loop *loop = mem_zalloc(sizeof(*loop));
    if (!loop) {
        driver->ops->free(driver);
        return ERR_NOMEM;
    }
    loop->driver = driver;
    loop->now = clock_mono_ns();
    list_init(&loop->ready_watches);
    list_init(&loop->ready_tasks);
    list_init(&loop->closing);
    wheel_init(&loop->wheel, loop->now);
    *ret_loop = loop;
    return ERR_OK;
}

struct loop_driver *loop_driver_of(struct loop *loop)
{
    return loop->driver;
}

static void run_closing(struct loop *loop)
{
    for (struct list *node; (node = list_first(&loop->closing)) != NULL;) {
        list_remove(node);
        struct task *t = LIST_ENTRY(node, struct task, node_);
        t->fn_(t);
    }
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    run_closing(loop);
    ASSERT(loop->watches == 0);
    loop->driver->ops->free(loop->driver);
    mem_free(loop);
}

/* Move the whole list, so that what is added meanwhile waits for the next turn. */
static void list_move(struct list *from, struct list *to)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    list_init(from);
}

static void run_inbox(struct loop *loop)
{
    if (!atomic_load_explicit(&loop->inbox, memory_order_relaxed))
        return;
    struct msg *m = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
    struct msg *oldest = NULL;
    while (m) {
        struct msg *next = m->next_;
        m->next_ = oldest;
        oldest = m;
        m = next;
    }
    while (oldest) {
        struct msg *next = oldest->next_;
        oldest->fn(oldest);
        oldest = next;
    }
}

static void run_ready(struct loop *loop)
{
    struct list watches, tasks;
    list_move(&loop->ready_watches, &watches);
    list_move(&loop->ready_tasks, &tasks);
    for (struct list *node; (node = list_first(&watches)) != NULL;) {
        list_remove(node);
        struct watch *w = LIST_ENTRY(node, struct watch, ready_);
        w->fn_(w);
    }
    for (struct list *node; (node = list_first(&tasks)) != NULL;) {
        list_remove(node);
        struct task *t = LIST_ENTRY(node, struct task, node_);
        t->fn_(t);
    }
}

static uint64_t wait_for(const struct loop *loop, uint64_t max_wait_ns)
{
    if (!list_empty(&loop->ready_watches) || !list_empty(&loop->ready_tasks))
        return 0;
    uint64_t due = loop->wheel.due_ns;
    if (due == UINT64_MAX)
        return max_wait_ns;
    uint64_t wait = due > loop->now ? due - loop->now : 0;
    return wait < max_wait_ns ? wait : max_wait_ns;
}

void loop_turn(struct loop *loop, uint64_t max_wait_ns)
{
    loop->owner = pthread_self();
    loop->owned = true;
    loop->driver->ops->wait(loop->driver, loop, wait_for(loop, max_wait_ns));
    wheel_run(&loop->wheel, loop->now);
    run_inbox(loop);
    run_ready(loop);
    run_closing(loop);
    uint64_t turns = atomic_load_explicit(&loop->turns, memory_order_relaxed);
    atomic_store_explicit(&loop->turns, turns + 1, memory_order_relaxed);
}

void loop_run(struct loop *loop)
{
    while (!loop->stop)
        loop_turn(loop, LOOP_FOR_EVER);
    loop->stop = false;
}

void loop_stop(struct loop *loop)
{
    loop->stop = true;
}

void loop_woke(struct loop *loop)
{
    loop->now = clock_mono_ns();
}

uint64_t loop_now(const struct loop *loop)
{
    return loop->now;
}

uint64_t loop_turns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->turns, memory_order_relaxed);
}

void loop_assert_on(const struct loop *loop)
{
    ASSERT(!loop->owned || pthread_equal(loop->owner, pthread_self()));
}

/* --- timers --- */

void timer_init(struct timer *t, timer_fn *fn)
{
    list_init(&t->node_);
    t->fn_ = fn;
    t->deadline_ = 0;
    t->slot_ = 0;
}

void timer_set(struct loop *loop, struct timer *t, uint64_t delay_ms)
{
    uint64_t most = (UINT64_MAX - loop->now) / NS_PER_MS;
    uint64_t deadline = loop->now + (delay_ms < most ? delay_ms : most) * NS_PER_MS;
    bool armed = t->deadline_ != 0;
    bool later = armed && (deadline >= t->deadline_ || deadline >= wheel_due(&loop->wheel, t));
    t->deadline_ = deadline;
    if (later)
        return; /* its slot comes up earlier and corrects it */
    if (armed)
        wheel_take(&loop->wheel, t);
    wheel_put(&loop->wheel, t, loop->now);
}

void timer_stop(struct loop *loop, struct timer *t)
{
    if (t->deadline_ == 0)
        return;
    t->deadline_ = 0;
    wheel_take(&loop->wheel, t);
}

bool timer_armed(const struct timer *t)
{
    return t->deadline_ != 0;
}

/* --- watches --- */

enum err watch_open(struct loop *loop, struct watch *w, int fd, enum watch_mode mode, watch_fn *fn)
{
    list_init(&w->ready_);
    w->loop = loop;
    w->fn_ = fn;
    w->fd = fd;
    w->bits = 0;
    w->mode_ = (uint8_t)mode;
    w->interest_ = 0;
    w->slot_ = 0;
    enum err e = loop->driver->ops->add(loop->driver, w);
    if (e) {
        w->fd = -1;
        return e;
    }
    loop->watches++;
    return ERR_OK;
}

void watch_interest(struct watch *w, bool readable, bool writable)
{
    ASSERT(w->mode_ == WATCH_LEVEL);
    unsigned interest = (readable ? WATCH_READABLE : 0u) | (writable ? WATCH_WRITABLE : 0u);
    if (w->fd < 0 || w->interest_ == interest)
        return;
    w->interest_ = (uint8_t)interest;
    w->loop->driver->ops->modify(w->loop->driver, w);
}

void watch_again(struct watch *w)
{
    if (w->fd >= 0 && list_empty(&w->ready_))
        list_push(&w->loop->ready_watches, &w->ready_);
}

void watch_close(struct watch *w)
{
    if (w->fd < 0)
        return;
    list_remove(&w->ready_);
    w->loop->driver->ops->remove(w->loop->driver, w);
    w->fd = -1;
    w->loop->watches--;
}

/* --- tasks --- */

void task_init(struct task *t, task_fn *fn)
{
    list_init(&t->node_);
    t->fn_ = fn;
}

void task_run_soon(struct loop *loop, struct task *t)
{
    if (list_empty(&t->node_))
        list_push(&loop->ready_tasks, &t->node_);
}

void task_cancel(struct task *t)
{
    list_remove(&t->node_);
}

void loop_close_later(struct loop *loop, struct task *t)
{
    list_remove(&t->node_);
    list_push(&loop->closing, &t->node_);
}

/* --- messages --- */

void loop_post(struct loop *loop, struct msg *msg)
{
    struct msg *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);
    do {
        msg->next_ = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->inbox, &head, msg, memory_order_release,
                                                    memory_order_relaxed));
    if (!head)
        loop->driver->ops->wake(loop->driver);
}
