#include "net/listener.h"
#include "base/limits.h"
#include "base/mem.h"

/* One connection per event, because asking until EAGAIN is a call wasted on most; several once
 * events have come in every turn of late, which is what a long queue looks like. */
enum { STREAK = 4, BURST = 16, BACK_OFF_MS = 100 };

struct listener {
    struct watch watch;
    struct timer back_off;
    struct task freeing;
    listener_accept_fn *fn;
    void *owner;
    uint64_t last_turn;
    unsigned streak;
    unsigned tag;
};

static void back_off(struct listener *l)
{
    watch_interest(&l->watch, false, false);
    timer_set(l->watch.loop, &l->back_off, BACK_OFF_MS);
}

static void on_back_off_over(struct timer *t)
{
    struct listener *l = CONTAINER_OF(t, struct listener, back_off);
    watch_interest(&l->watch, true, false);
}

static unsigned how_many(struct listener *l)
{
    uint64_t turn = loop_turns(l->watch.loop);
    l->streak = turn == l->last_turn + 1 ? l->streak + 1 : 0;
    l->last_turn = turn;
    return l->streak < STREAK ? 1 : BURST;
}

static void on_connection(struct watch *w)
{
    struct listener *l = CONTAINER_OF(w, struct listener, watch);
    unsigned n = how_many(l);
    for (unsigned i = 0; i < n && w->fd >= 0; i++) {
        struct sock_addr peer;
        int fd, os_errno;
        enum err e = sock_accept(w->fd, &peer, &fd, &os_errno);
        if (e == ERR_AGAIN) {
            l->streak = 0;
            return;
        }
        if (e) {
            back_off(l); /* no descriptors or memory: what runs has to end first */
            return;
        }
        l->fn(l->owner, fd, &peer, l->tag); /* may pause or close us */
    }
}

enum err listener_open(struct loop *loop, int fd, unsigned tag, listener_accept_fn *fn, void *owner,
                       struct listener **ret_listener)
{
    struct listener *l = mem_zalloc(sizeof(*l));
    enum err e = l ? watch_open(loop, &l->watch, fd, WATCH_LEVEL, on_connection) : ERR_NOMEM;
    if (e) {
        mem_free(l);
        return e;
    }
    l->fn = fn;
    l->owner = owner;
    l->tag = tag;
    l->last_turn = UINT64_MAX - 1;
    timer_init(&l->back_off, on_back_off_over);
    watch_interest(&l->watch, true, false);
    *ret_listener = l;
    return ERR_OK;
}

static void listener_free(struct task *task)
{
    mem_free(CONTAINER_OF(task, struct listener, freeing));
}

void listener_close(struct listener *l)
{
    if (!l)
        return;
    timer_stop(l->watch.loop, &l->back_off);
    watch_close(&l->watch);
    task_init(&l->freeing, listener_free);
    loop_close_later(l->watch.loop, &l->freeing);
}
