#include "sys/wheel.h"
#include "base/assert.h"
#include "sys/clock.h"

enum { SLOT_FIRING = WHEEL_LEVELS * WHEEL_SLOTS }; /* in the list of timers that are being fired */

static const unsigned level_shift[WHEEL_LEVELS] = {2, 6, 14, 22}; /* of milliseconds */

/* The first two levels fire a timer, so its tick is rounded up; a slot of the others is looked at
 * when it begins, to move its timers down. */
static bool level_fires(unsigned level)
{
    return level < 2;
}

static uint64_t ms_up(uint64_t ns)
{
    return (ns + NS_PER_MS - 1) / NS_PER_MS;
}

void wheel_init(struct wheel *w, uint64_t now_ns)
{
    w->due_ns = UINT64_MAX;
    for (unsigned i = 0; i < WHEEL_LEVELS; i++) {
        struct wheel_level *l = &w->levels[i];
        l->tick = (now_ns / NS_PER_MS) >> level_shift[i];
        for (unsigned s = 0; s < WHEEL_SLOTS / 64; s++)
            l->used[s] = 0;
        for (unsigned s = 0; s < WHEEL_SLOTS; s++)
            list_init(&l->slots[s]);
    }
}

static unsigned level_for(uint64_t wait_ms)
{
    if (wait_ms < 1000)
        return 0;
    const uint64_t ticks = WHEEL_SLOTS - 1;
    if (wait_ms < ticks << level_shift[1])
        return 1;
    return wait_ms < ticks << level_shift[2] ? 2 : 3;
}

/* A level is looked at only when something is due; until then all its slots up to now are empty. */
static void catch_up(struct wheel *w, unsigned level, uint64_t now_ns)
{
    uint64_t tick = (now_ns / NS_PER_MS) >> level_shift[level];
    if (now_ns < w->due_ns && tick > w->levels[level].tick)
        w->levels[level].tick = tick;
}

void wheel_put(struct wheel *w, struct timer *t, uint64_t now_ns)
{
    uint64_t wait_ms = t->deadline_ > now_ns ? ms_up(t->deadline_ - now_ns) : 0;
    uint64_t at_ms = ms_up(t->deadline_);
    unsigned level = level_for(wait_ms);
    catch_up(w, level, now_ns);
    while (!level_fires(level) && at_ms >> level_shift[level] <= w->levels[level].tick)
        catch_up(w, --level, now_ns); /* within the tick that has begun */
    struct wheel_level *l = &w->levels[level];
    unsigned shift = level_shift[level];
    uint64_t round = level_fires(level) ? (UINT64_C(1) << shift) - 1 : 0;
    uint64_t tick = (at_ms + round) >> shift;
    if (tick <= l->tick)
        tick = l->tick + 1;
    if (tick > l->tick + WHEEL_SLOTS - 1)
        tick = l->tick + WHEEL_SLOTS - 1; /* longer than the wheel: looked at again then */
    unsigned slot = (unsigned)(tick % WHEEL_SLOTS);
    t->slot_ = level * WHEEL_SLOTS + slot;
    l->used[slot / 64] |= UINT64_C(1) << (slot % 64);
    list_push(&l->slots[slot], &t->node_);
    uint64_t at = (tick << shift) * NS_PER_MS;
    if (at < w->due_ns)
        w->due_ns = at;
}

uint64_t wheel_due(const struct wheel *w, const struct timer *t)
{
    if (t->slot_ == SLOT_FIRING)
        return UINT64_MAX;
    unsigned level = t->slot_ / WHEEL_SLOTS;
    uint64_t last = w->levels[level].tick;
    uint64_t ahead = (t->slot_ - last) % WHEEL_SLOTS; /* 1 to 255: its own tick is still to come */
    return ((last + ahead) << level_shift[level]) * NS_PER_MS;
}

void wheel_take(struct wheel *w, struct timer *t)
{
    list_remove(&t->node_);
    if (t->slot_ == SLOT_FIRING)
        return;
    struct wheel_level *l = &w->levels[t->slot_ / WHEEL_SLOTS];
    unsigned slot = t->slot_ % WHEEL_SLOTS;
    if (list_empty(&l->slots[slot]))
        l->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

/* Distance from slot `from` to the first used one, in ticks; WHEEL_SLOTS when there is none. */
static unsigned next_used(const struct wheel_level *l, unsigned from)
{
    for (unsigned done = 0; done < WHEEL_SLOTS;) {
        unsigned slot = (from + done) % WHEEL_SLOTS;
        uint64_t word = l->used[slot / 64] >> (slot % 64);
        if (word) {
            unsigned d = done + (unsigned)__builtin_ctzll(word);
            return d < WHEEL_SLOTS ? d : WHEEL_SLOTS;
        }
        done += 64 - slot % 64;
    }
    return WHEEL_SLOTS;
}

static void find_due(struct wheel *w)
{
    w->due_ns = UINT64_MAX;
    for (unsigned i = 0; i < WHEEL_LEVELS; i++) {
        const struct wheel_level *l = &w->levels[i];
        unsigned d = next_used(l, (unsigned)((l->tick + 1) % WHEEL_SLOTS));
        if (d == WHEEL_SLOTS)
            continue;
        uint64_t at = ((l->tick + 1 + d) << level_shift[i]) * NS_PER_MS;
        if (at < w->due_ns)
            w->due_ns = at;
    }
}

/* Move the timers of all slots up to `tick` to `out`, in their order. */
static void level_collect(struct wheel_level *l, uint64_t tick, struct list *out)
{
    uint64_t first = l->tick + 1, n = tick - l->tick;
    if (n > WHEEL_SLOTS)
        n = WHEEL_SLOTS;
    l->tick = tick;
    for (uint64_t i = 0; i < n; i++) {
        i += next_used(l, (unsigned)((first + i) % WHEEL_SLOTS));
        if (i >= n)
            break;
        unsigned slot = (unsigned)((first + i) % WHEEL_SLOTS);
        l->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        for (struct list *node; (node = list_first(&l->slots[slot])) != NULL;) {
            list_remove(node);
            LIST_ENTRY(node, struct timer, node_)->slot_ = SLOT_FIRING;
            list_push(out, node);
        }
    }
}

void wheel_run(struct wheel *w, uint64_t now_ns)
{
    if (now_ns < w->due_ns)
        return;
    struct list firing;
    list_init(&firing);
    for (unsigned i = 0; i < WHEEL_LEVELS; i++) {
        uint64_t tick = (now_ns / NS_PER_MS) >> level_shift[i];
        if (tick > w->levels[i].tick)
            level_collect(&w->levels[i], tick, &firing);
    }
    for (struct list *node; (node = list_first(&firing)) != NULL;) {
        struct timer *t = LIST_ENTRY(node, struct timer, node_);
        list_remove(node);
        if (t->deadline_ > now_ns) {
            wheel_put(w, t, now_ns);
            continue;
        }
        t->deadline_ = 0;
        t->fn_(t);
    }
    find_due(w);
}
