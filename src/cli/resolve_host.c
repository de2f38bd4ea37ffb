#include "cli/resolve_host.h"
#include "sys/loop.h"
#include "upstream/dns.h"
#include "upstream/resolver.h"

enum { TURN_NS = 100000000 };

struct waiting {
    bool done;
    enum err e;
    struct addresses found;
    struct errctx why;
};

static void on_answer(void *owner, enum err e, const struct dns_answer *answer,
                      const struct errctx *ctx)
{
    struct waiting *w = owner;
    w->done = true;
    w->e = e;
    if (ctx)
        w->why = *ctx;
    for (unsigned i = 0; e == ERR_OK && i < answer->n && i < ARRAY_LEN(w->found.v); i++)
        w->found.v[w->found.n++] = answer->v[i];
}

static enum err ask(struct loop *loop, struct dns *dns, const struct hostname *name,
                    uint64_t timeout_ms, struct waiting *w)
{
    struct dns_query *query = NULL;
    enum err e = dns_resolve(dns, name, timeout_ms, on_answer, w, &query);
    while (!e && !w->done)
        loop_turn(loop, TURN_NS);
    return e;
}

enum err resolve_host(const struct hostname *name, uint64_t timeout_ms,
                      struct addresses *ret_addresses, struct errctx *ctx)
{
    static bool library_ready;
    struct waiting w = {0};
    struct loop *loop = NULL;
    enum err e = library_ready ? ERR_OK : resolver_library_init();
    library_ready |= !e;
    if (!e)
        e = loop_new_epoll(&loop);
    struct dns *dns = e ? NULL : dns_new(loop);
    if (!e)
        e = dns ? ask(loop, dns, name, timeout_ms, &w) : ERR_NOMEM;
    if (dns)
        dns_free(dns);
    if (loop)
        loop_free(loop);
    if (e)
        return err_set(ctx, e, "the resolver does not start: %s", err_name(e));
    if (w.e)
        return err_set(ctx, w.e, "%s", w.why.code ? w.why.text : err_name(w.e));
    *ret_addresses = w.found;
    return ERR_OK;
}
