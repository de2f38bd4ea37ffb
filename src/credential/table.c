#include "credential/table.h"
#include "base/mem.h"

struct table {
    size_t n;
    bool basic;
    struct credential v[];
};

static void table_free(void *credentials)
{
    struct table *t = credentials;
    for (size_t i = 0; i < t->n; i++)
        credential_fini(&t->v[i]);
    mem_free(t);
}

static const struct service_conf *service_of(const struct config *c, struct str id)
{
    for (size_t i = 0; i < c->services.n; i++)
        if (c->services.v[i].enabled && str_eq(c->services.v[i].name, id))
            return &c->services.v[i];
    return NULL;
}

enum err credentials_attach(struct runtime *rt, struct errctx *ctx)
{
    size_t n = policy_routes(rt->policy);
    struct table *t = n ? mem_zalloc(sizeof(*t) + n * sizeof(t->v[0])) : NULL;
    enum err e = ERR_OK;
    if (n && !t)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    if (!n)
        return ERR_OK;
    for (size_t i = 0; !e && i < n; i++) {
        struct route_view v;
        policy_route_view(rt->policy, i, &v);
        const struct service_conf *s = v.has_credential ? service_of(&rt->config, v.id) : NULL;
        if (s)
            e = credential_init(&t->v[i], s, &rt->config, ctx);
        else
            t->v[i].gone = true;
        t->basic |= !t->v[i].gone && t->v[i].shown == INJECT_BASIC_AUTH;
        t->n = i + 1;
    }
    if (e) {
        t->n--; /* what failed holds nothing */
        table_free(t);
        return e;
    }
    rt->credentials = t;
    rt->credentials_free = table_free;
    return ERR_OK;
}

const struct credential *credentials_at(const struct runtime *rt, int index)
{
    const struct table *t = rt->credentials;
    if (!t || index < 0 || (size_t)index >= t->n || t->v[index].gone)
        return NULL;
    return &t->v[index];
}

size_t credentials_count(const struct runtime *rt)
{
    const struct table *t = rt->credentials;
    return t ? t->n : 0;
}

bool credentials_ask_basic(const struct runtime *rt)
{
    const struct table *t = rt->credentials;
    return t && t->basic;
}
