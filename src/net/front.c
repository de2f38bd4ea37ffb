#include "net/front.h"
#include "base/mem.h"

struct front {
    size_t start, end;
    char bytes[];
};

enum err front_put(struct front **front, struct str bytes)
{
    struct front *old = *front;
    size_t rest = old ? old->end - old->start : 0;
    if (bytes.n == 0)
        return ERR_OK;
    if (bytes.n > SIZE_MAX / 2 - rest)
        return ERR_NOMEM;
    struct front *f = mem_alloc(sizeof(*f) + bytes.n + rest);
    if (!f)
        return ERR_NOMEM;
    f->start = 0;
    f->end = bytes.n + rest;
    memcpy(f->bytes, bytes.p, bytes.n);
    if (rest)
        memcpy(f->bytes + bytes.n, old->bytes + old->start, rest);
    front_free(front);
    *front = f;
    return ERR_OK;
}

size_t front_take(struct front **front, void *p, size_t cap)
{
    struct front *f = *front;
    size_t n = f->end - f->start;
    if (n > cap)
        n = cap;
    memcpy(p, f->bytes + f->start, n);
    f->start += n;
    if (f->start == f->end)
        front_free(front);
    return n;
}

void front_free(struct front **front)
{
    struct front *f = *front;
    if (f)
        mem_wipe(f->bytes, f->end); /* may be a head with a secret */
    mem_free(f);
    *front = NULL;
}
