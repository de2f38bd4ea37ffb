#include "proxy/limit.h"

#include "base/map.h"
#include "base/mem.h"
#include "sys/clock.h"

#include <pthread.h>

/* GCRA: the theoretical arrival time moves on by one interval per request; how far it is ahead of now is the wait. */
bool limit_take(struct limit *l, const struct limit_spec *spec, uint64_t now_ns, uint64_t *ret_delay_ns,
                uint32_t *ret_retry_after_s)
{
    uint64_t interval = spec->per_minute ? 60 * 1000 * NS_PER_MS / spec->per_minute : 0;
    uint64_t slack = interval * ((spec->burst ? spec->burst : 1) - 1);
    uint64_t seen = atomic_load_explicit(&l->tat_, memory_order_relaxed), start, wait;

    do {
        start = seen > now_ns ? seen : now_ns;
        wait = start > now_ns + slack ? start - now_ns - slack : 0;
        if (wait > spec->max_delay_ms * NS_PER_MS) {
            *ret_retry_after_s = (uint32_t)((wait - spec->max_delay_ms * NS_PER_MS) / (1000 * NS_PER_MS)) + 1;
            return false;
        }
    } while (interval && !atomic_compare_exchange_weak_explicit(&l->tat_, &seen, start + interval,
                                                                memory_order_relaxed, memory_order_relaxed));
    *ret_delay_ns = interval ? wait : 0;
    return true;
}

/* A lock is taken when a runtime is built, never by a request. */
struct limits {
    pthread_mutex_t lock;
    struct map by_name;
};

struct named_limit {
    struct limit limit;
    char *name;
};

struct limits *limits_new(void)
{
    struct limits *l = mem_zalloc(sizeof(*l));

    if (!l)
        return NULL;
    (void)pthread_mutex_init(&l->lock, NULL);
    map_init(&l->by_name);
    return l;
}

void limits_free(struct limits *l)
{
    size_t pos = 0;
    struct str key;
    void *value;

    if (!l)
        return;
    while (map_next(&l->by_name, &pos, &key, &value)) {
        mem_free(((struct named_limit *)value)->name);
        mem_free(value);
    }
    map_fini(&l->by_name);
    (void)pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

static struct named_limit *add_limit(struct limits *l, struct str name)
{
    struct named_limit *fresh = mem_zalloc(sizeof(*fresh));

    if (!fresh)
        return NULL;
    fresh->name = mem_dup(name.p, name.n);
    if (fresh->name && map_put(&l->by_name, str_of(fresh->name, name.n), fresh))
        return fresh;
    mem_free(fresh->name);
    mem_free(fresh);
    return NULL;
}

struct limit *limits_get(struct limits *l, const char *name)
{
    struct named_limit *found;

    (void)pthread_mutex_lock(&l->lock);
    found = map_get(&l->by_name, str_from(name));
    if (!found)
        found = add_limit(l, str_from(name));
    (void)pthread_mutex_unlock(&l->lock);
    return found ? &found->limit : NULL;
}
