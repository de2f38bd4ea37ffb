/* Who gets a new connection. The kernel spreads connections over the workers' sockets by hash, which puts two of them on one worker half
 * the time; a worker that is clearly fuller than the least loaded one hands over. Sockets that only one worker accepts on (unix, passed by
 * the service manager) are spread the same way. */
#include "server/server_int.h"

struct worker *server_place(struct worker *w)
{
    const struct shared *sh = w->shared;
    struct worker *least = w;
    uint32_t mine = atomic_load_explicit(&w->n_sessions, memory_order_relaxed), n = mine;

    for (unsigned i = 0; i < sh->n_workers; i++) {
        uint32_t other = atomic_load_explicit(&sh->workers[i]->n_sessions, memory_order_relaxed);

        if (other < n) {
            n = other;
            least = sh->workers[i];
        }
    }
    return mine > 2 * n + 1 ? least : w;
}
