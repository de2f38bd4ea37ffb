/* Time, chance, the loop's driver, and what happens later. */
#include "sim_int.h"
#include "base/assert.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/random.h"
#include "sys/thread.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_LOOPS = 16, MAX_DESCRIPTORS = 8192, SPIN_ROUNDS = 100000 };

struct sim_event {
    uint64_t at, order;
    sim_fn *fn;
    void *owner;
    size_t place; /* in the heap */
};
struct sim_driver {
    struct loop_driver base;
    struct loop *loop;
    uint64_t until; /* the loop sleeps until then */
    bool busy;      /* had something to do */
    bool woken;
};
static struct {
    uint64_t now, random[2], digest, order;
    int64_t wall_ms;
    struct sim_event **heap;
    size_t n_events, cap_events;
    struct sim_driver *drivers[MAX_LOOPS];
    unsigned n_drivers;
} world;
struct sim_faults sim_faults;
bool sim_dirty;

void *sim_alloc(size_t n)
{
    void *p = calloc(1, n);
    if (!p)
        abort();
    return p;
}

void *sim_grow(void *p, size_t n)
{
    p = realloc(p, n);
    if (!p)
        abort();
    return p;
}

void sim_free(void *p)
{
    free(p);
}

/* --- chance --- */

static uint64_t next_random(void)
{
    uint64_t a = world.random[0], b = world.random[1];
    world.random[0] = b;
    a ^= a << 23;
    world.random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return world.random[1] + b;
}

uint64_t sim_below(uint64_t n)
{
    return n ? next_random() % n : 0;
}

bool sim_chance(unsigned per_mille)
{
    return per_mille && sim_below(1000) < per_mille;
}

void random_bytes(void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)p)[i] = (unsigned char)(next_random() >> 24);
}

uint64_t random_u64(void)
{
    return next_random();
}

/* --- time --- */

uint64_t clock_mono_ns(void)
{
    return world.now;
}

uint64_t clock_wall_ms(void)
{
    return (uint64_t)(world.wall_ms + (int64_t)(world.now / NS_PER_MS));
}

uint64_t sim_now(void)
{
    return world.now;
}

void sim_jump_wall(int64_t ms)
{
    world.wall_ms += ms;
}

/* Control and workers of a world share one thread. */
enum err thread_start(const char *name, thread_fn *fn, void *arg, struct thread **ret_thread)
{
    (void)name, (void)fn, (void)arg, (void)ret_thread;
    return ERR_UNSUPPORTED;
}

void thread_join(struct thread *t)
{
    (void)t;
}

unsigned thread_usable_cores(void)
{
    return 1;
}

/* --- later --- */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_put(size_t i, struct sim_event *e)
{
    world.heap[i] = e;
    e->place = i;
}

static void heap_up(size_t i, struct sim_event *e)
{
    while (i > 0 && earlier(e, world.heap[(i - 1) / 2])) {
        heap_put(i, world.heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(i, e);
}

static void heap_down(size_t i, struct sim_event *e)
{
    for (size_t child; (child = 2 * i + 1) < world.n_events; i = child) {
        if (child + 1 < world.n_events && earlier(world.heap[child + 1], world.heap[child]))
            child++;
        if (!earlier(world.heap[child], e))
            break;
        heap_put(i, world.heap[child]);
    }
    heap_put(i, e);
}

static void heap_remove(struct sim_event *e)
{
    struct sim_event *last = world.heap[--world.n_events];
    if (last == e)
        return;
    if (e->place > 0 && earlier(last, world.heap[(e->place - 1) / 2]))
        heap_up(e->place, last);
    else
        heap_down(e->place, last);
}

struct sim_event *sim_after(uint64_t ns, sim_fn *fn, void *owner)
{
    struct sim_event *e = sim_alloc(sizeof *e);
    *e = (struct sim_event){.at = world.now + ns, .order = world.order++, .fn = fn, .owner = owner};
    if (world.n_events == world.cap_events) {
        world.cap_events = world.cap_events ? world.cap_events * 2 : 64;
        world.heap = sim_grow(world.heap, world.cap_events * sizeof world.heap[0]);
    }
    heap_up(world.n_events++, e);
    return e;
}

void sim_forget(struct sim_event *e)
{
    heap_remove(e);
    sim_free(e);
}

static void run_events(void)
{
    while (world.n_events && world.heap[0]->at <= world.now) {
        struct sim_event e = *world.heap[0];
        sim_forget(world.heap[0]);
        sim_note(&e.at, sizeof e.at);
        e.fn(e.owner);
    }
}

/* --- the driver --- */

static struct sim_driver *driver_from(struct loop_driver *d)
{
    return CONTAINER_OF(d, struct sim_driver, base);
}

static void shuffle(int *v, unsigned n)
{
    for (unsigned i = n; i > 1; i--) {
        unsigned k = (unsigned)sim_below(i);
        int t = v[i - 1];
        v[i - 1] = v[k];
        v[k] = t;
    }
}

/* What epoll would report: level mode what is true and wanted, edge mode everything that is true
 * once something happened. */
static bool report_one(const struct loop *loop, int fd)
{
    struct watch *w = sim_net_watch(fd);
    bool edge;
    if (!w || w->loop != loop)
        return false;
    unsigned bits = sim_net_bits(fd, &edge);
    bool news = edge;
    if (w->mode_ == WATCH_LEVEL)
        bits &= w->interest_ | (unsigned)WATCH_ERROR;
    else if (!edge &&
             !sim_chance(sim_faults.spurious)) /* kernels repeat what is true, now and then */
        bits = 0;
    if (!bits)
        return false;
    loop_report(w, bits);
    return news || w->mode_ == WATCH_LEVEL;
}

static void driver_wait(struct loop_driver *base, struct loop *loop, uint64_t max_wait_ns)
{
    static int fds[MAX_DESCRIPTORS];
    struct sim_driver *d = driver_from(base);
    unsigned n = 0, top = sim_net_top();
    uint64_t since = loop_now(loop); /* max_wait_ns counts from the turn before: it may have slept on */
    loop_woke(loop);
    d->busy = max_wait_ns == 0 || d->woken;
    d->woken = false;
    d->until = max_wait_ns == LOOP_FOR_EVER ? UINT64_MAX : since + max_wait_ns;
    ASSERT(top <= MAX_DESCRIPTORS);
    for (unsigned fd = 0; fd < top; fd++)
        if (sim_net_watch((int)fd))
            fds[n++] = (int)fd;
    shuffle(fds, n);
    for (unsigned i = 0; i < n; i++)
        d->busy |= report_one(loop, fds[i]);
}

static void driver_wake(struct loop_driver *base)
{
    driver_from(base)->woken = true;
}

static enum err driver_add(struct loop_driver *base, struct watch *w)
{
    (void)base;
    sim_net_set_watch(w->fd, w);
    return ERR_OK;
}

static void driver_modify(struct loop_driver *base, struct watch *w)
{
    (void)base, (void)w;
}

static void driver_remove(struct loop_driver *base, struct watch *w)
{
    (void)base;
    sim_net_set_watch(w->fd, NULL);
}

static void driver_free(struct loop_driver *base)
{
    struct sim_driver *d = driver_from(base);
    for (unsigned i = 0; i < world.n_drivers; i++)
        if (world.drivers[i] == d)
            world.drivers[i] = world.drivers[--world.n_drivers];
    sim_free(d);
}

static const struct loop_driver_ops sim_ops = {
    .wait = driver_wait,
    .wake = driver_wake,
    .add = driver_add,
    .modify = driver_modify,
    .remove = driver_remove,
    .free = driver_free,
};

enum err sim_loop_new(struct loop **ret_loop)
{
    ASSERT(world.n_drivers < MAX_LOOPS);
    struct sim_driver *d = sim_alloc(sizeof *d);
    d->base.ops = &sim_ops;
    enum err e = loop_new(&d->base, &d->loop);
    if (e)
        return e;
    world.drivers[world.n_drivers++] = d;
    *ret_loop = d->loop;
    return ERR_OK;
}

/* --- the world --- */

void sim_begin(uint64_t seed, const struct sim_faults *faults)
{
    memset(&world, 0, sizeof world);
    world.random[0] = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    world.random[1] = ~seed ^ UINT64_C(0xd1b54a32d192ed03);
    for (int i = 0; i < 8; i++)
        (void)next_random();
    world.now = 1000 * NS_PER_MS;
    world.wall_ms = INT64_C(1800000000000);
    sim_faults = *faults;
}

void sim_end(void)
{
    ASSERT(world.n_drivers == 0);
    for (int i = 0; i < 1000000 && world.n_events; i++) { /* what is on the way still arrives */
        world.now = world.heap[0]->at;
        run_events();
    }
    sim_net_end();
    sim_dns_end();
    sim_outside_end();
    for (size_t i = 0; i < world.n_events; i++)
        sim_free(world.heap[i]);
    sim_free(world.heap);
    memset(&world, 0, sizeof world);
}

uint64_t sim_digest(void)
{
    return world.digest;
}

void sim_note(const void *p, size_t n)
{
    uint64_t h = world.digest ^ world.now;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const unsigned char *)p)[i]) * UINT64_C(0x100000001b3);
    world.digest = h;
}

/* One turn of every loop, in a random order. True: some loop had work. */
static bool turn_loops(uint64_t *ret_next)
{
    unsigned n = world.n_drivers, first = (unsigned)sim_below(n);
    bool busy = false;
    *ret_next = UINT64_MAX;
    sim_dirty = false;
    for (unsigned i = 0; i < n; i++) {
        struct sim_driver *d = world.drivers[(first + i) % n];
        loop_turn(d->loop, LOOP_FOR_EVER);
        busy |= d->busy;
    }
    for (unsigned i = 0; i < n; i++) {
        busy |= world.drivers[i]->woken || sim_dirty;
        if (world.drivers[i]->until < *ret_next)
            *ret_next = world.drivers[i]->until;
    }
    return busy;
}

enum sim_ran sim_run(uint64_t ns, void (*after)(void *owner), void *owner)
{
    uint64_t end = world.now + ns, next, busy_rounds = 0;
    while (world.now < end) {
        run_events();
        bool busy = turn_loops(&next);
        if (after)
            after(owner);
        if (busy && ++busy_rounds > SPIN_ROUNDS)
            return SIM_SPINS;
        if (busy) {
            world.now += 1000 + sim_below(20000);
            continue;
        }
        busy_rounds = 0;
        if (world.n_events && world.heap[0]->at < next)
            next = world.heap[0]->at;
        if (next == UINT64_MAX) {
            world.now = end;
            return SIM_QUIET;
        }
        if (next > world.now)
            world.now = next < end ? next : end;
        else
            world.now += 1000;
    }
    return SIM_TIME_OVER;
}
