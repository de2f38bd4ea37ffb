#include "upstream/pool.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/h1_leg.h"

struct pool {
    struct loop *loop;
    struct map buckets; /* struct bucket */
    struct list idle;   /* struct upconn node_, longest idle first */
    size_t n;
    struct timer age; /* armed while anything is idle */
};
/* The idle connections of one key. */
struct bucket {
    struct list idle; /* struct upconn idle_, longest idle first */
    size_t n;
    struct str key;
    char text[];
};

static struct upconn *oldest(struct pool *p)
{
    struct list *node = list_first(&p->idle);
    return node ? LIST_ENTRY(node, struct upconn, node_) : NULL;
}

static uint64_t deadline(const struct upconn *u)
{
    return u->idle_since_ + LIMIT_TIMEOUT_POOL_IDLE * UINT64_C(1000000);
}

static void set_age(struct pool *p)
{
    uint64_t now = loop_now(p->loop);
    const struct upconn *u = oldest(p);
    if (!u)
        timer_stop(p->loop, &p->age);
    else if (!timer_armed(&p->age))
        timer_set(p->loop, &p->age, deadline(u) > now ? (deadline(u) - now) / 1000000 + 1 : 0);
}

/* Out of the pool; the leg's events are nobody's. */
static void unlink_idle(struct upconn *u)
{
    struct pool *p = u->pool_;
    struct bucket *b = map_get(&p->buckets, u->key);
    ASSERT(b && b->n > 0 && p->n > 0);
    list_remove(&u->node_);
    list_remove(&u->idle_);
    u->pool_ = NULL;
    p->n--;
    if (--b->n == 0) {
        map_remove(&p->buckets, b->key);
        mem_free(b);
    }
}

static void drop(struct upconn *u)
{
    struct pool *p = u->pool_;
    unlink_idle(u);
    upconn_close(u);
    set_age(p);
}

static void on_age(struct timer *timer)
{
    struct pool *p = CONTAINER_OF(timer, struct pool, age);
    struct upconn *u;
    while ((u = oldest(p)) && deadline(u) <= loop_now(p->loop)) {
        unlink_idle(u);
        upconn_close(u);
    }
    set_age(p);
}

/* --- whatever happens to an idle connection ends it --- */

static void on_head(void *owner, struct leg *l, const struct http_head *head, bool end)
{
    (void)l, (void)head, (void)end;
    drop(owner);
}

static size_t on_body(void *owner, struct leg *l, struct str bytes)
{
    (void)l, (void)bytes;
    drop(owner);
    return 0;
}

static void on_end(void *owner, struct leg *l, const struct fields *trailers)
{
    (void)l, (void)trailers;
    drop(owner);
}

static void on_writable(void *owner, struct leg *l)
{
    (void)owner, (void)l;
}

static void on_reset(void *owner, struct leg *l, enum err e)
{
    (void)l, (void)e;
    drop(owner);
}

static void on_over(void *owner, struct leg *l)
{
    (void)l;
    drop(owner);
}

static const struct leg_events idle_events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
    .on_fin = on_over,
    .on_write_error = on_over,
};

/* --- connections --- */

struct upconn *upconn_new(struct str key, struct leg *leg, const struct vetted_addr *peer)
{
    struct upconn *u = mem_zalloc(sizeof *u + key.n + 1);
    if (!u)
        return NULL;
    char *text = (char *)(u + 1);
    if (key.n)
        memcpy(text, key.p, key.n);
    list_init(&u->node_);
    list_init(&u->idle_);
    u->key = str_of(text, key.n);
    u->leg = leg;
    u->peer = *peer;
    return u;
}

void upconn_close(struct upconn *u)
{
    if (!u)
        return;
    struct pool *p = u->pool_;
    if (p) {
        unlink_idle(u);
        set_age(p);
    }
    leg_close(u->leg, false);
    mem_free(u);
}

/* --- the pool --- */

struct pool *pool_new(struct loop *loop)
{
    struct pool *p = mem_zalloc(sizeof *p);
    if (!p)
        return NULL;
    p->loop = loop;
    map_init(&p->buckets);
    list_init(&p->idle);
    timer_init(&p->age, on_age);
    return p;
}

void pool_free(struct pool *p)
{
    struct upconn *u;
    if (!p)
        return;
    while ((u = oldest(p)))
        drop(u);
    map_fini(&p->buckets);
    mem_free(p);
}

struct upconn *pool_take(struct pool *p, struct str key)
{
    struct bucket *b = map_get(&p->buckets, key);
    if (!b)
        return NULL;
    struct upconn *u = LIST_ENTRY(b->idle.prev, struct upconn, idle_);
    unlink_idle(u);
    set_age(p);
    leg_own(u->leg, NULL, NULL);
    u->reused = true;
    return u;
}

static struct bucket *bucket_get(struct pool *p, struct str key)
{
    struct bucket *b = map_get(&p->buckets, key);
    if (b)
        return b;
    b = mem_zalloc(sizeof *b + key.n + 1);
    if (!b)
        return NULL;
    if (key.n)
        memcpy(b->text, key.p, key.n);
    list_init(&b->idle);
    b->key = str_of(b->text, key.n);
    if (!map_put(&p->buckets, b->key, b)) {
        mem_free(b);
        return NULL;
    }
    return b;
}

void pool_give(struct pool *p, struct upconn *u)
{
    const struct leg *l = u->leg;
    ASSERT(!u->pool_);
    struct bucket *b =
        l->in_done && l->out_done && l->reusable && !u->never_share ? bucket_get(p, u->key) : NULL;
    if (!b) {
        upconn_close(u);
        return;
    }
    u->pool_ = p;
    u->idle_since_ = loop_now(p->loop);
    list_push(&p->idle, &u->node_);
    list_push(&b->idle, &u->idle_);
    p->n++;
    if (++b->n > LIMIT_POOL_IDLE_PER_KEY)
        drop(LIST_ENTRY(b->idle.next, struct upconn, idle_));
    set_age(p);
    leg_own(u->leg, &idle_events, u);
    h1_leg_next(u->leg); /* may end it at once */
}

size_t pool_idle(const struct pool *p)
{
    return p->n;
}
