#include "audit/audit_int.h"

void bell_init(struct bell *b)
{
    atomic_init(&b->asleep, false);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->cond, NULL);
}

void bell_fini(struct bell *b)
{
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->lock);
}

/* Of several who ring at once one does it. The lock is taken between the word and the signal, so that
 * the sleeper has either seen the word or waits for the signal. */
void bell_wake(struct bell *b)
{
    if (!atomic_exchange_explicit(&b->asleep, false, memory_order_seq_cst))
        return;
    pthread_mutex_lock(&b->lock);
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

void bell_sleep(struct bell *b, bool (*has_work)(void *owner), void *owner)
{
    atomic_store_explicit(&b->asleep, true, memory_order_seq_cst);
    if (has_work(owner)) {
        atomic_store_explicit(&b->asleep, false, memory_order_seq_cst);
        return;
    }
    pthread_mutex_lock(&b->lock);
    while (atomic_load_explicit(&b->asleep, memory_order_seq_cst))
        pthread_cond_wait(&b->cond, &b->lock);
    pthread_mutex_unlock(&b->lock);
}
