/* Names answer what the world says, when it says. Replaces upstream/resolver.c. */
#include "upstream/resolver.h"
#include "base/mem.h"
#include "sim_int.h"
#include <stdio.h>

struct question {
    struct list node;
    struct resolver *resolver;
    struct timer timer;
    resolver_fn *fn;
    void *owner;
    struct hostname name;
    struct sim_dns_reply reply;
};
struct resolver {
    struct loop *loop;
    struct list questions;
};
static sim_dns_fn *dns_fn;
static void *dns_owner;
static unsigned n_open;

enum err resolver_library_init(void)
{
    return ERR_OK;
}

struct resolver *resolver_new(struct loop *loop)
{
    struct resolver *r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    r->loop = loop;
    list_init(&r->questions);
    return r;
}

static void tell(const struct hostname *name, const struct sim_dns_reply *reply, resolver_fn *fn,
                 void *owner)
{
    struct errctx ctx = {0};
    struct resolver_answer a = {.n = reply->n, .ttl_s = reply->ttl_s};
    memcpy(a.v, reply->v, sizeof a.v);
    if (reply->err)
        err_set(&ctx, reply->err, "%.100s does not resolve: the world says so", name->text);
    fn(owner, reply->err, reply->err ? NULL : &a, reply->err ? &ctx : NULL);
}

static void question_end(struct question *q)
{
    struct question was = *q;
    timer_stop(q->resolver->loop, &q->timer);
    list_remove(&q->node);
    sim_free(q);
    n_open--;
    tell(&was.name, &was.reply, was.fn, was.owner);
}

static void on_timer(struct timer *t)
{
    question_end(CONTAINER_OF(t, struct question, timer));
}

void resolver_free(struct resolver *r)
{
    struct list *node;
    if (!r)
        return;
    while ((node = list_first(&r->questions))) {
        struct question *q = LIST_ENTRY(node, struct question, node);
        q->reply.err = ERR_CANCELLED;
        question_end(q);
    }
    mem_free(r);
}

enum err resolver_ask(struct resolver *r, const struct hostname *name, enum address_family family,
                      resolver_fn *fn, void *owner)
{
    struct sim_dns_reply reply = {.err = ERR_DNS_FAILED};
    if (dns_fn)
        dns_fn(dns_owner, name, family, &reply);
    sim_note(name->text, name->n);
    if (reply.delay_ms == 0 && sim_chance(500)) {
        tell(name, &reply, fn, owner);
        return ERR_OK;
    }
    struct question *q = sim_alloc(sizeof *q);
    *q = (struct question){.resolver = r, .fn = fn, .owner = owner, .name = *name, .reply = reply};
    timer_init(&q->timer, on_timer);
    list_push(&r->questions, &q->node);
    n_open++;
    if (reply.delay_ms != UINT64_MAX)
        timer_set(r->loop, &q->timer, reply.delay_ms);
    return ERR_OK;
}

void sim_on_dns(sim_dns_fn *fn, void *owner)
{
    dns_fn = fn;
    dns_owner = owner;
}

unsigned sim_open_questions(void)
{
    return n_open;
}

void sim_dns_end(void)
{
    dns_fn = NULL;
    n_open = 0;
}
