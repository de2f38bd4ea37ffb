#include "upstream/dns.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "upstream/resolver.h"

enum { V6, V4, FAMILIES };
static const enum address_family families[FAMILIES] = {ADDRESS_V6, ADDRESS_V4};

struct dns {
    struct loop *loop;
    struct resolver *resolver;
    struct map names;    /* struct entry */
    struct list lru;     /* entries without a flight, most recently used first */
    struct list orphans; /* flights whose entry went on without them */
    unsigned flights;
    bool closing;
};
/* What is known of a name: immutable, counted, so that an asker's view outlives eviction and
 * replacement from inside its callback. */
struct result {
    unsigned refs;
    enum err err;
    uint64_t expires;   /* ns; 0: not to be kept */
    struct errctx *ctx; /* of a failure; owned; may be NULL */
    unsigned n;
    struct address v[];
};
struct entry {
    struct list lru;
    struct result *result; /* NULL: never known */
    struct flight *flight; /* NULL: nothing is being asked */
    uint8_t n;
    char name[];
};
struct half {
    struct flight *flight;
    bool done;
    enum err err;
    uint64_t expires;
    struct errctx ctx;
    struct resolver_answer answer;
};
/* A question under way, one for all who ask the same. */
struct flight {
    struct list node; /* in dns->orphans once it has no entry */
    struct dns *dns;
    struct entry *entry;
    struct list waiters; /* struct dns_query */
    struct timer family_wait;
    bool starting; /* answers may come from inside resolver_ask: wait for both calls */
    bool released; /* the waiters went on with one family */
    struct half half[FAMILIES];
};
struct dns_query {
    struct list node;
    struct dns *dns;
    struct timer timer;
    dns_fn *fn;
    void *owner;
    uint64_t timeout_ms;
    bool asking, over; /* dns_resolve has not returned; it ended meanwhile */
    struct hostname name;
};

/* --- results --- */

static void result_unref(struct result *r)
{
    if (!r || --r->refs)
        return;
    mem_free(r->ctx);
    mem_free(r);
}

static bool result_has(const struct result *r, const struct address *a)
{
    for (unsigned i = 0; i < r->n; i++)
        if (address_eq(&r->v[i], a))
            return true;
    return false;
}

static void result_add(struct result *r, const struct half *h, unsigned i)
{
    if (!h->done || h->err || i >= h->answer.n)
        return;
    if (r->n < LIMIT_DNS_ADDRESSES && !result_has(r, &h->answer.v[i]))
        r->v[r->n++] = h->answer.v[i];
    if (h->expires < r->expires)
        r->expires = h->expires;
}

static bool half_good(const struct half *h)
{
    return h->done && !h->err && h->answer.n > 0;
}

static struct result *result_ok(const struct flight *f)
{
    unsigned n = 0;
    for (int i = 0; i < FAMILIES; i++)
        if (half_good(&f->half[i]))
            n += f->half[i].answer.n;
    struct result *r = mem_zalloc(sizeof *r + n * sizeof r->v[0]);
    if (!r)
        return NULL;
    r->refs = 1;
    r->expires = UINT64_MAX;
    for (unsigned i = 0; i < ARRAY_LEN(f->half[0].answer.v); i++)
        for (int family = 0; family < FAMILIES; family++)
            result_add(r, &f->half[family], i);
    return r;
}

/* The more telling of two failures: our own state, then a timeout, then IPv4's answer (some servers
 * err about IPv6 only). */
static const struct half *worst_half(const struct flight *f)
{
    static const enum err order[] = {ERR_CANCELLED, ERR_NOMEM, ERR_DNS_TIMEOUT};
    const struct half *h = f->half;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        for (int family = 0; family < FAMILIES; family++)
            if (h[family].err == order[i])
                return &h[family];
    return h[V4].err ? &h[V4] : h[V6].err ? &h[V6] : NULL;
}

static struct result *result_failed(const struct flight *f)
{
    const struct half *h = worst_half(f);
    struct result *r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    r->refs = 1;
    r->err = h ? h->err : ERR_DNS_FAILED;
    if (r->err == ERR_DNS_FAILED || r->err == ERR_DNS_TIMEOUT)
        r->expires = loop_now(f->dns->loop) + LIMIT_DNS_TTL_FAILURE * NS_PER_MS;
    r->ctx = mem_zalloc(sizeof *r->ctx);
    if (r->ctx && h)
        *r->ctx = h->ctx;
    else if (r->ctx && f->entry)
        err_set(r->ctx, r->err, "%.100s has no addresses", f->entry->name);
    return r;
}

static void call_failed(dns_fn *fn, void *owner, const struct result *r)
{
    enum err e = r ? r->err : ERR_NOMEM;
    struct errctx ctx = {0};
    if (r && r->ctx)
        ctx = *r->ctx;
    if (!ctx.code)
        err_set(&ctx, e, "%s", e == ERR_NOMEM ? "out of memory" : "name look-up failed");
    fn(owner, e, NULL, &ctx);
}

static void call(dns_fn *fn, void *owner, const struct result *r)
{
    if (!r || r->err) {
        call_failed(fn, owner, r);
        return;
    }
    struct dns_answer answer = {r->v, r->n};
    fn(owner, ERR_OK, &answer, NULL);
}

/* --- askers --- */

static void query_end(struct dns_query *q, const struct result *r)
{
    dns_fn *fn = q->fn;
    void *owner = q->owner;
    if (q->asking) { /* ask frees it */
        list_remove(&q->node);
        q->over = true;
    } else {
        dns_cancel(q);
    }
    call(fn, owner, r);
}

static void on_query_timer(struct timer *timer)
{
    struct dns_query *q = CONTAINER_OF(timer, struct dns_query, timer);
    struct errctx ctx = {0};
    dns_fn *fn = q->fn;
    void *owner = q->owner;
    err_set(&ctx, ERR_DNS_TIMEOUT, "%.100s does not resolve: no answer within %.3g s", q->name.text,
            (double)q->timeout_ms / 1000);
    dns_cancel(q);
    fn(owner, ERR_DNS_TIMEOUT, NULL, &ctx);
}

void dns_cancel(struct dns_query *q)
{
    if (!q)
        return;
    timer_stop(q->dns->loop, &q->timer);
    list_remove(&q->node);
    mem_free(q);
}

static struct dns_query *query_new(struct dns *d, const struct hostname *name, uint64_t timeout_ms,
                                   dns_fn *fn, void *owner)
{
    struct dns_query *q = mem_alloc(sizeof *q);
    if (!q)
        return NULL;
    *q = (struct dns_query){
        .dns = d, .fn = fn, .owner = owner, .timeout_ms = timeout_ms, .name = *name};
    list_init(&q->node);
    timer_init(&q->timer, on_query_timer);
    return q;
}

/* --- flights --- */

/* Make what is known the entry's, and let the waiters have it. They may ask, cancel and evict from
 * inside. */
static void flight_publish(struct flight *f, struct list *waiters)
{
    struct dns *d = f->dns;
    struct result *r;
    if (!d->closing && (half_good(&f->half[V6]) || half_good(&f->half[V4])))
        r = result_ok(f);
    else
        r = result_failed(f);
    if (r && f->entry) {
        result_unref(f->entry->result);
        f->entry->result = r;
        r->refs++;
    }
    list_init(waiters);
    struct list *node;
    while ((node = list_first(&f->waiters))) {
        list_remove(node);
        list_push(waiters, node);
    }
    if (f->half[V6].done && f->half[V4].done) {
        timer_stop(d->loop, &f->family_wait);
        if (f->entry) {
            f->entry->flight = NULL;
            list_push_front(&d->lru, &f->entry->lru);
        }
        list_remove(&f->node);
        d->flights--;
        mem_free(f);
    }
    while ((node = list_first(waiters)))
        query_end(LIST_ENTRY(node, struct dns_query, node), r);
    result_unref(r);
}

static void on_family_wait(struct timer *timer)
{
    struct flight *f = CONTAINER_OF(timer, struct flight, family_wait);
    struct list waiters;
    f->released = true;
    flight_publish(f, &waiters);
}

/* An answer came: go on, or wait a little for the other family. */
static void flight_look(struct flight *f)
{
    struct list waiters;
    bool v6 = f->half[V6].done, v4 = f->half[V4].done;
    if (v6 && v4)
        flight_publish(f, &waiters);
    else if (!f->released && (half_good(&f->half[V6]) || half_good(&f->half[V4])))
        timer_set(f->dns->loop, &f->family_wait, LIMIT_DNS_FAMILY_WAIT);
}

static uint64_t expiry(const struct dns *d, uint32_t ttl_s)
{
    uint64_t ms = (uint64_t)ttl_s * 1000;
    if (ms < LIMIT_DNS_TTL_MIN)
        ms = LIMIT_DNS_TTL_MIN;
    if (ms > LIMIT_DNS_TTL_MAX)
        ms = LIMIT_DNS_TTL_MAX;
    return loop_now(d->loop) + ms * NS_PER_MS;
}

static void on_answer(void *owner, enum err e, const struct resolver_answer *answer,
                      const struct errctx *ctx)
{
    struct half *h = owner;
    struct flight *f = h->flight;
    h->done = true;
    h->err = e;
    if (ctx)
        h->ctx = *ctx;
    if (!e) {
        h->answer = *answer;
        h->expires = expiry(f->dns, answer->ttl_s);
    }
    if (!f->starting)
        flight_look(f);
}

static struct flight *flight_new(struct dns *d, struct entry *entry)
{
    struct flight *f = mem_zalloc(sizeof *f);
    if (!f)
        return NULL;
    f->dns = d;
    f->entry = entry;
    list_init(&f->node);
    list_init(&f->waiters);
    timer_init(&f->family_wait, on_family_wait);
    for (int i = 0; i < FAMILIES; i++)
        f->half[i].flight = f;
    d->flights++;
    return f;
}

static void flight_start(struct flight *f, const struct hostname *name)
{
    f->starting = true;
    for (int i = 0; i < FAMILIES; i++) {
        struct half *h = &f->half[i];
        enum err e = resolver_ask(f->dns->resolver, name, families[i], on_answer, h);
        if (e) {
            h->done = true;
            h->err = e;
        }
    }
    f->starting = false;
    flight_look(f);
}

/* --- entries --- */

static struct str entry_key(const struct entry *e)
{
    return str_of(e->name, e->n);
}

static void entry_free(struct dns *d, struct entry *e)
{
    map_remove(&d->names, entry_key(e));
    list_remove(&e->lru);
    result_unref(e->result);
    mem_free(e);
}

/* Over the bound the name that was not asked for the longest goes; names being asked for stay. */
static struct entry *entry_new(struct dns *d, const struct hostname *name)
{
    if (d->names.n >= LIMIT_DNS_CACHE_NAMES && !list_empty(&d->lru))
        entry_free(d, LIST_ENTRY(d->lru.prev, struct entry, lru));
    struct entry *e = mem_zalloc(sizeof *e + name->n + 1u);
    if (!e)
        return NULL;
    list_init(&e->lru);
    e->n = name->n;
    memcpy(e->name, name->text, name->n);
    if (!map_put(&d->names, entry_key(e), e)) {
        mem_free(e);
        return NULL;
    }
    list_push_front(&d->lru, &e->lru);
    return e;
}

/* The flight that an asker may wait for: the entry's, or a new one. One that has already let its
 * waiters go is left to itself when its result is too old: the missing family may take long. */
static struct flight *entry_flight(struct dns *d, struct entry *e)
{
    if (e->flight && !e->flight->released)
        return e->flight;
    if (d->flights >= LIMIT_DNS_CACHE_NAMES)
        return NULL;
    struct flight *f = flight_new(d, e);
    if (!f)
        return NULL;
    if (e->flight) {
        e->flight->entry = NULL;
        list_push(&d->orphans, &e->flight->node);
    }
    e->flight = f;
    list_remove(&e->lru);
    return f;
}

/* --- the whole --- */

struct dns *dns_new(struct loop *loop)
{
    struct dns *d = mem_zalloc(sizeof *d);
    if (!d)
        return NULL;
    d->loop = loop;
    map_init(&d->names);
    list_init(&d->lru);
    list_init(&d->orphans);
    d->resolver = resolver_new(loop);
    if (!d->resolver) {
        dns_free(d);
        return NULL;
    }
    return d;
}

void dns_free(struct dns *d)
{
    if (!d)
        return;
    struct list *node;
    d->closing = true;
    resolver_free(d->resolver);
    ASSERT(d->flights == 0 && list_empty(&d->orphans));
    while ((node = list_first(&d->lru)))
        entry_free(d, LIST_ENTRY(node, struct entry, lru));
    map_fini(&d->names);
    mem_free(d);
}

static void call_literal(const struct hostname *name, dns_fn *fn, void *owner)
{
    struct dns_answer answer = {&name->address, 1};
    fn(owner, ERR_OK, &answer, NULL);
}

/* Nothing usable is cached: join or start a flight. *ret_query is not touched any more once fn may
 * have been called: the asker's memory may have gone to another use. */
static enum err ask(struct dns *d, const struct hostname *name, struct entry *e,
                    struct dns_query *q, struct dns_query **ret_query)
{
    struct flight *running = e->flight, *f = entry_flight(d, e);
    if (!f)
        return ERR_NOMEM;
    *ret_query = NULL;
    list_push(&f->waiters, &q->node);
    q->asking = true;
    if (f != running)
        flight_start(f, name);
    q->asking = false;
    if (q->over) {
        mem_free(q);
        return ERR_OK;
    }
    timer_set(d->loop, &q->timer, q->timeout_ms);
    *ret_query = q;
    return ERR_OK;
}

static bool entry_fresh(const struct dns *d, const struct entry *e)
{
    return e && e->result && e->result->expires > loop_now(d->loop);
}

static void entry_answer(struct dns *d, struct entry *e, dns_fn *fn, void *owner)
{
    struct result *r = e->result;
    if (!e->flight) {
        list_remove(&e->lru);
        list_push_front(&d->lru, &e->lru);
    }
    r->refs++;
    call(fn, owner, r);
    result_unref(r);
}

enum err dns_resolve(struct dns *d, const struct hostname *name, uint64_t timeout_ms, dns_fn *fn,
                     void *owner, struct dns_query **ret_query)
{
    ASSERT_ON_LOOP(d->loop);
    if (d->closing)
        return ERR_CANCELLED;
    if (name->is_address) {
        *ret_query = NULL;
        call_literal(name, fn, owner);
        return ERR_OK;
    }
    struct entry *e = map_get(&d->names, hostname_str(name));
    if (entry_fresh(d, e)) {
        *ret_query = NULL;
        entry_answer(d, e, fn, owner);
        return ERR_OK;
    }
    if (!e && !(e = entry_new(d, name)))
        return ERR_NOMEM;
    struct dns_query *q = query_new(d, name, timeout_ms, fn, owner);
    if (!q)
        return ERR_NOMEM;
    enum err err = ask(d, name, e, q, ret_query);
    if (err)
        dns_cancel(q);
    return err;
}
