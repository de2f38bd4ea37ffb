#include "net/pipe_pool.h"
#include "base/assert.h"
#include "base/mem.h"
#include "net/pump.h"
#include "sys/sock.h"

/* Two descriptors each that no connection limit counts, and memory that the kernel counts per user.
 */
enum { KEPT = 8, MOST_OUT = 64 };

struct pipe_pool {
    unsigned n_kept, n_out;
    unsigned refused; /* turns of takers to skip after the kernel gave none */
    struct pipe_pair kept[KEPT];
};

struct pipe_pool *pipe_pool_new(void)
{
    return mem_zalloc(sizeof(struct pipe_pool));
}

static void pair_close(struct pipe_pair pair)
{
    sock_close(pair.r);
    sock_close(pair.w);
}

void pipe_pool_free(struct pipe_pool *p)
{
    if (!p)
        return;
    ASSERT(p->n_out == 0);
    while (p->n_kept > 0)
        pair_close(p->kept[--p->n_kept]);
    mem_free(p);
}

struct pipe_pair pipe_pool_take(struct pipe_pool *p)
{
    enum { SKIP_AFTER_REFUSAL = 256 };
    const struct pipe_pair none = {-1, -1};
    if (p->n_kept > 0) {
        p->n_out++;
        return p->kept[--p->n_kept];
    }
    if (p->n_out >= MOST_OUT)
        return none;
    if (p->refused > 0) {
        p->refused--;
        return none;
    }
    int fds[2];
    if (pipe_new(fds)) {
        p->refused = SKIP_AFTER_REFUSAL;
        return none;
    }
    p->n_out++;
    return (struct pipe_pair){fds[0], fds[1]};
}

void pipe_pool_give(struct pipe_pool *p, struct pipe_pair pair, bool empty)
{
    ASSERT(p->n_out > 0);
    p->n_out--;
    if (empty && p->n_kept < KEPT)
        p->kept[p->n_kept++] = pair;
    else
        pair_close(pair);
}
