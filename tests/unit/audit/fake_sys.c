#include "fake_sys.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/random.h"
#include "sys/thread.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

static _Atomic uint64_t added;

void fake_clock_add(uint64_t ns)
{
    atomic_fetch_add(&added, ns);
}

uint64_t clock_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec + atomic_load(&added);
}

uint64_t clock_wall_ms(void)
{
    return 1795532645123;
}

uint64_t random_u64(void)
{
    return 0x123456789abcdef0;
}

struct thread {
    pthread_t id;
    thread_fn *fn;
    void *arg;
};

static void *begin(void *arg)
{
    struct thread *t = arg;
    t->fn(t->arg);
    return NULL;
}

enum err thread_start(const char *name, thread_fn *fn, void *arg, struct thread **ret_thread)
{
    (void)name;
    struct thread *t = mem_alloc(sizeof(*t));
    if (!t)
        return ERR_NOMEM;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    *t = (struct thread){.fn = fn, .arg = arg};
    *ret_thread = t;
    int failed = pthread_create(&t->id, NULL, begin, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? ERR_SYSTEM : ERR_OK;
}

void thread_join(struct thread *t)
{
    pthread_join(t->id, NULL);
    mem_free(t);
}
