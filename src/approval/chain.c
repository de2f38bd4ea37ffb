/* Chains of approval back ends, one after the other. */
#include "approval/approval_int.h"
#include "base/limits.h"
#include "base/mem.h"

const struct approval_conf *approval_find(const struct approval_confs *all, struct str name)
{
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->v[i].name, name))
            return &all->v[i];
    return NULL;
}

bool chain_init(struct chain *c, const struct approval_confs *all)
{
    *c = (struct chain){.all = all, .stack = mem_zalloc((all->n + 1) * sizeof(*c->stack))};
    return c->stack != NULL;
}

void chain_fini(struct chain *c)
{
    mem_free(c->stack);
    c->stack = NULL;
}

/* Down to somebody who can be asked. A chain that names the same one again and again is cut off
 * somewhere. */
static const struct approval_conf *descend(struct chain *c, const struct approval_conf *b)
{
    while (b && b->kind == APPROVAL_CHAIN) {
        if (!b->n_backends || c->depth >= c->all->n)
            return NULL;
        c->stack[c->depth++] = (struct chain_frame){.conf = b, .next = 1};
        b = approval_find(c->all, b->backends[0]);
    }
    return b && c->steps++ < LIMIT_APPROVAL_STEPS ? b : NULL;
}

const struct approval_conf *chain_first(struct chain *c, const struct approval_conf *backend)
{
    c->depth = 0;
    c->steps = 0;
    return descend(c, backend);
}

/* What the answer of one of its back ends makes of a chain that is over with it. */
static enum approval_answer closed_with(const struct approval_conf *chain, enum approval_answer a)
{
    if (a == APPROVAL_GRANTED || (a == APPROVAL_FAILED && chain->all))
        return a;
    return APPROVAL_DENIED;
}

const struct approval_conf *chain_after(struct chain *c, enum approval_answer *answer)
{
    while (c->depth) {
        struct chain_frame *top = &c->stack[c->depth - 1];
        bool settled = (*answer == APPROVAL_GRANTED) != top->conf->all;
        if (!settled && top->next < top->conf->n_backends) {
            const struct approval_conf *next =
                descend(c, approval_find(c->all, top->conf->backends[top->next++]));
            if (!next)
                *answer = APPROVAL_FAILED;
            return next;
        }
        *answer = closed_with(top->conf, *answer);
        c->depth--;
    }
    return NULL;
}
