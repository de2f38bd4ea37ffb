#include "proxy/limit.h"

#include "base/map.h"
#include "base/mem.h"
#include "sys/clock.h"

#include <pthread.h>

enum { HOUR_MS = 3600000, DAY_S = 86400 };

/* What a specification says in ns, bounded so that no sum below overflows. */
struct pace {
    uint64_t interval; /* 0: no limit */
    uint64_t slack;    /* how far a burst may run ahead */
    uint64_t patience; /* the longest delay */
};

static struct pace pace_of(const struct limit_spec *spec)
{
    uint64_t burst = spec->burst ? spec->burst : 1, longest = HOUR_MS * NS_PER_MS;
    struct pace p = {.interval = spec->per_minute ? 60 * 1000 * NS_PER_MS / spec->per_minute : 0};

    p.slack = p.interval && burst - 1 > DAY_S * 1000 * NS_PER_MS / p.interval
                  ? DAY_S * 1000 * NS_PER_MS
                  : p.interval * (burst - 1);
    p.patience = spec->max_delay_ms < HOUR_MS ? spec->max_delay_ms * NS_PER_MS : longest;
    return p;
}

/* GCRA: the theoretical arrival time moves on by one interval per request; how far it is ahead of now is the wait. What a reload that
 * made the limit wider left behind counts no more than this limit itself could have. */
bool limit_take(struct limit *l, const struct limit_spec *spec, uint64_t now_ns, uint64_t *ret_delay_ns,
                uint32_t *ret_retry_after_s)
{
    struct pace p = pace_of(spec);
    uint64_t most = now_ns + p.slack + p.patience + p.interval;
    uint64_t seen = atomic_load_explicit(&l->tat_, memory_order_relaxed), start, wait;

    if (!p.interval) {
        *ret_delay_ns = 0;
        return true;
    }
    while (seen > most && !atomic_compare_exchange_weak_explicit(&l->tat_, &seen, most, memory_order_relaxed,
                                                                 memory_order_relaxed))
        ;
    seen = seen > most ? most : seen;
    do {
        start = seen > now_ns ? seen : now_ns;
        wait = start > now_ns + p.slack ? start - now_ns - p.slack : 0;
        if (wait > p.patience) {
            *ret_retry_after_s = (uint32_t)((wait - p.patience) / (1000 * NS_PER_MS)) + 1;
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&l->tat_, &seen, start + p.interval, memory_order_relaxed,
                                                    memory_order_relaxed));
    *ret_delay_ns = wait;
    return true;
}

/* A lock is taken when a worker meets a name for the first time. */
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

struct str limit_name(const struct limit *l)
{
    return str_from(CONTAINER_OF(l, const struct named_limit, limit)->name);
}

struct limit *limits_get(struct limits *l, struct str name)
{
    struct named_limit *found;

    (void)pthread_mutex_lock(&l->lock);
    found = map_get(&l->by_name, name);
    if (!found)
        found = add_limit(l, name);
    (void)pthread_mutex_unlock(&l->lock);
    return found ? &found->limit : NULL;
}
