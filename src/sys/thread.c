#include "sys/thread.h"
#include "base/mem.h"
#include "sys/sys_int.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>

struct thread {
    pthread_t id;
    thread_fn *fn;
    void *arg;
    char name[16];
};

static void *thread_main(void *p)
{
    struct thread *t = p;
#ifdef __APPLE__
    (void)pthread_setname_np(t->name);
#else
    (void)pthread_setname_np(pthread_self(), t->name);
#endif
    t->fn(t->arg);
    return NULL;
}

enum err thread_start(const char *name, thread_fn *fn, void *arg, struct thread **ret_thread)
{
    struct thread *t = mem_zalloc(sizeof(*t));
    if (!t)
        return ERR_NOMEM;
    t->fn = fn;
    t->arg = arg;
    size_t n = strnlen(name, sizeof(t->name) - 1);
    memcpy(t->name, name, n);
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
    int rc = pthread_create(&t->id, NULL, thread_main, t);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        mem_free(t);
        return ERR_SYSTEM;
    }
    *ret_thread = t;
    return ERR_OK;
}

void thread_join(struct thread *t)
{
    if (!t)
        return;
    (void)pthread_join(t->id, NULL);
    mem_free(t);
}
