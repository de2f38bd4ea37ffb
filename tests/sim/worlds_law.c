/* What the policies of the worlds say, told without the gateway's code. */
#include "sys/clock.h"
#include "worlds.h"
#include <string.h>

enum { CUT_WITHIN_MS = 500, DENIED_FOR_MS = 2000 };

bool law_allows(unsigned policy, const struct step *s)
{
    if (s->route >= 0)
        return policy != POLICY_LESSER || s->route != ROUTE_HELPED;
    if (!strcmp(s->name, "denied.test"))
        return false;
    return policy != POLICY_LESSER || strcmp(s->name, "good2.test") != 0;
}

bool law_allowed(const struct world *w, unsigned tag)
{
    const struct sent *t = &w->sent[tag];
    for (unsigned i = 0; t->step && i < w->n_eras; i++)
        if (w->eras[i].until >= t->at && law_allows(w->eras[i].policy, t->step))
            return true;
    return false;
}

static unsigned source_of(unsigned policy, int route)
{
    return policy == POLICY_LESSER && route == ROUTE_FILED ? SOURCE_OTHER : (unsigned)route;
}

bool law_has_source(const struct world *w, unsigned tag, unsigned source)
{
    const struct sent *t = &w->sent[tag];
    for (unsigned i = 0; t->step && i < w->n_eras; i++)
        if (w->eras[i].until >= t->at && source_of(w->eras[i].policy, t->step->route) == source)
            return true;
    return false;
}

/* For so long that whatever was on its way has arrived. */
bool law_denies_now(const struct world *w, const struct step *s)
{
    const struct era *e = &w->eras[w->n_eras - 1];
    return w->n_eras > 1 && !e->n_left && e[-1].until + DENIED_FOR_MS * NS_PER_MS < sim_now() &&
           !sim_faults.stall && !sim_faults.slow && !law_allows(e->policy, s);
}

/* --- cuts --- */

struct cut {
    struct browser *c;
    const struct step *step;
};

/* A client that reads sees its end soon. */
static void check_cut(void *owner)
{
    struct cut *cut = owner;
    struct browser *c = cut->c;
    if (sim_is_open(&c->peer) && !c->peer.paused)
        broken(c->world, "a reload denied a tunnel, and it lives on", cut->step->name);
    sim_free(cut);
}

void law_cuts(struct world *w)
{
    unsigned policy = w->eras[w->n_eras - 1].policy;
    for (unsigned i = 0; i < w->n_clients; i++) {
        struct browser *c = &w->clients[i];
        const struct step *s = &c->steps[c->answered];
        if (!c->tunnel || !sim_is_open(&c->peer) || law_allows(policy, s))
            continue;
        w->cuts++;
        if (sim_faults.stall || sim_faults.slow)
            continue; /* word of it may never arrive */
        struct cut *cut = sim_alloc(sizeof *cut);
        *cut = (struct cut){c, s};
        sim_after(CUT_WITHIN_MS * NS_PER_MS, check_cut, cut);
    }
}
