#include "credential/vault.h"
#include "base/mem.h"
#include "config/runtime.h"
#include "credential/broker_int.h"
#include "sys/clock.h"
#include <sched.h>

enum { VAULT_ENTRIES = 1024 };

/* How answers find their way back to a worker that may be gone. Control marks itself as posting
 * before it looks at `closed`; the worker closes, then waits until nobody posts: a microsecond, at
 * the end of its life only. */
struct mailbox {
    _Atomic uint32_t refs;
    _Atomic uint32_t posting;
    _Atomic bool closed;
    struct loop *loop;
};

/* One question on its way to control and back. Held by the worker (`held`), by the question message
 * until its answer has been taken or dropped, and by the withdrawal message. */
struct query {
    _Atomic uint32_t refs;
    struct msg asks, withdraws;
    struct mailbox *box;
    struct broker *broker;
    struct runtime *rt;
    struct credential credential; /* what it points to belongs to rt */
    struct question question;     /* texts behind this struct */
    uint64_t version;
    bool refresh;
    /* control's */
    struct broker_ask *ask;
    /* the answer */
    enum err e;
    struct material *material;
    uint64_t failed_until_ns;
    char sentence[SENTENCE_BYTES];
    /* the worker's */
    struct vitem *item; /* NULL: nobody wants the answer */
};

/* What the worker knows of one credential in one scope. */
struct vitem {
    struct list node; /* least lately used first */
    struct vault *vault;
    char *key;
    size_t key_n;
    struct material *material; /* the worker's own copy, or NULL */
    bool bad;                  /* refused by the upstream */
    uint64_t failed_ns;
    char sentence[SENTENCE_BYTES];
    struct query *query;       /* on its way; at most one */
    uint64_t refresh_ns;       /* no refresh is asked for before */
    struct list waits;
    bool once;                 /* only this one request's */
    bool answering;
};

struct vault_wait {
    struct list node;
    struct vitem *item;
    uint64_t newer_than;
    vault_fn *fn;
    void *owner;
};

struct vault {
    struct loop *loop, *control;
    struct broker *broker;
    struct mailbox *box;
    struct map items;
    struct list lru;
    size_t n_items;
    struct buf key;
};

/* ---- counts ---- */

static void box_unref(struct mailbox *box)
{
    if (atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) == 1)
        mem_free(box);
}

static void query_unref(struct query *q)
{
    if (atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) > 1)
        return;
    material_unref(q->material);
    runtime_unref(q->rt);
    box_unref(q->box);
    mem_free(q);
}

/* ---- control's side ---- */

static void on_returned(struct msg *m);

static void post_back(struct query *q)
{
    struct mailbox *box = q->box;
    atomic_fetch_add(&box->refs, 1);
    atomic_fetch_add(&box->posting, 1);
    if (atomic_load(&box->closed)) {
        query_unref(q);
    } else {
        q->asks.fn = on_returned;
        loop_post(box->loop, &q->asks);
    }
    atomic_fetch_sub(&box->posting, 1);
    box_unref(box);
}

static void on_broker(void *owner, enum err e, struct material *material, const char *sentence)
{
    struct query *q = owner;
    q->e = e;
    q->material = material ? material_ref(material) : NULL;
    if (e && sentence)
        memcpy(q->sentence, sentence, strnlen(sentence, sizeof(q->sentence) - 1));
    if (q->ask)
        q->failed_until_ns = broker_ask_failed_until(q->ask);
    q->ask = NULL;
    post_back(q);
}

static void on_asks(struct msg *m)
{
    struct query *q = CONTAINER_OF(m, struct query, asks);
    enum err e;
    if (q->refresh)
        e = broker_refresh(q->broker, &q->credential, &q->question, q->version, on_broker, q,
                           &q->ask);
    else
        e = broker_ask(q->broker, &q->credential, &q->question, q->version, on_broker, q, &q->ask);
    if (e)
        on_broker(q, e, NULL, "out of memory");
}

static void on_withdraws(struct msg *m)
{
    struct query *q = CONTAINER_OF(m, struct query, withdraws);
    if (q->ask) {
        broker_withdraw(q->ask);
        q->ask = NULL;
        query_unref(q); /* no answer comes */
    }
    query_unref(q);
}

/* ---- questions ---- */

static struct str place_text(char **at, struct str text)
{
    struct str copy = str_of(*at, text.n);
    if (text.n)
        memcpy(*at, text.p, text.n);
    *at += text.n;
    return copy;
}

static struct query *query_new(struct vault *v, struct runtime *rt, const struct credential *c,
                               const struct question *asked)
{
    size_t n = asked->method.n + asked->host.n + asked->path.n + asked->route.n;
    struct query *q = mem_zalloc(sizeof(*q) + n);
    if (!q)
        return NULL;
    char *at = (char *)(q + 1);
    atomic_init(&q->refs, 2); /* the worker's and the message's */
    q->box = v->box;
    atomic_fetch_add(&v->box->refs, 1);
    q->broker = v->broker;
    q->rt = rt ? runtime_ref(rt) : NULL;
    q->credential = *c;
    q->question = (struct question){.method = place_text(&at, asked->method),
                                    .host = place_text(&at, asked->host),
                                    .path = place_text(&at, asked->path),
                                    .route = place_text(&at, asked->route)};
    q->asks.fn = on_asks;
    q->withdraws.fn = on_withdraws;
    return q;
}

static void query_post(struct vitem *i, struct query *q)
{
    q->item = i;
    i->query = q;
    loop_post(i->vault->control, &q->asks);
}

/* Whoever asks for an item that the upstream refused asks for a newer one, too. */
static void query_wants(struct query *q, const struct vitem *i, uint64_t bad_version)
{
    q->version = bad_version;
    if (i->bad && i->material && i->material->version > q->version)
        q->version = i->material->version;
}

static void query_withdraw(struct vitem *i)
{
    struct query *q = i->query;
    i->query = NULL;
    q->item = NULL;
    atomic_fetch_add(&q->refs, 1);
    loop_post(i->vault->control, &q->withdraws);
    query_unref(q);
}

/* ---- items ---- */

static void item_free(struct vitem *i)
{
    struct vault *v = i->vault;
    list_remove(&i->node);
    if (!i->once) {
        (void)map_remove(&v->items, str_of(i->key, i->key_n));
        v->n_items--;
    }
    material_unref(i->material);
    mem_free(i->key);
    mem_free(i);
}

static void evict(struct vault *v)
{
    for (struct list *n = v->lru.next; n != &v->lru; n = n->next) {
        struct vitem *i = LIST_ENTRY(n, struct vitem, node);
        if (!i->query && !i->answering && list_empty(&i->waits)) {
            item_free(i);
            return;
        }
    }
}

static struct vitem *item_new(struct vault *v, struct str key, bool once)
{
    struct vitem *i = mem_zalloc(sizeof(*i));
    if (!i)
        return NULL;
    i->vault = v;
    i->once = once;
    list_init(&i->waits);
    list_init(&i->node);
    i->key = mem_dup(key.p, key.n);
    i->key_n = key.n;
    if (!i->key || (!once && !map_put(&v->items, str_of(i->key, key.n), i))) {
        mem_free(i->key);
        mem_free(i);
        return NULL;
    }
    v->n_items += !once;
    list_push(&v->lru, &i->node);
    return i;
}

static enum err find_key(struct vault *v, const struct credential *c, const struct question *q,
                         struct errctx *ctx)
{
    struct str scope = STR_NULL;
    buf_reset(&v->key);
    buf_add_str(&v->key, c->id);
    buf_add_c(&v->key, 0);
    buf_add(&v->key, &c->source_hash, sizeof(c->source_hash));
    enum err e = credential_scope(c, q, &v->key, &scope, ctx);
    return !e && !buf_ok(&v->key) ? ERR_NOMEM : e;
}

/* What is known already, or NULL. Its value is dropped when its time is over. */
static struct vitem *item_find(struct vault *v)
{
    struct vitem *i = map_get(&v->items, buf_str(&v->key));
    if (i && i->material && !material_valid(i->material, loop_now(v->loop))) {
        material_unref(i->material);
        i->material = NULL;
        i->bad = false;
    }
    return i;
}

static struct vitem *item_get(struct vault *v, bool once)
{
    struct vitem *i = once ? NULL : item_find(v);
    if (i) {
        list_remove(&i->node);
        list_push(&v->lru, &i->node);
        return i;
    }
    if (!once && v->n_items >= VAULT_ENTRIES)
        evict(v);
    return item_new(v, buf_str(&v->key), once);
}

/* ---- answers ---- */

static void wait_end(struct vault_wait *w, enum err e, struct material *m, const char *sentence)
{
    vault_fn *fn = w->fn;
    void *owner = w->owner;
    list_remove(&w->node);
    mem_free(w);
    fn(owner, e, m, sentence);
}

/* One who waits: with what there is now, or what there is not. False: it goes on waiting, because
 * the answer was for others who asked for less. */
static bool answer_wait(struct vitem *i, struct vault_wait *w, const struct query *q,
                        struct material *fresh)
{
    struct material *m = fresh ? fresh : i->material;
    bool valid = m && (fresh || material_valid(m, loop_now(i->vault->loop)));
    if (valid && m->version > w->newer_than)
        wait_end(w, ERR_OK, m, NULL);
    else if (q->e)
        wait_end(w, q->e, NULL, q->sentence);
    else
        return false;
    return true;
}

/* Ask on for those whom this answer did not serve. */
static void ask_again(struct vitem *i, const struct query *q)
{
    uint64_t newest = 0;
    for (struct list *n = i->waits.next; n != &i->waits; n = n->next) {
        struct vault_wait *w = LIST_ENTRY(n, struct vault_wait, node);
        if (w->newer_than > newest)
            newest = w->newer_than;
    }
    struct query *next = query_new(i->vault, q->rt, &q->credential, &q->question);
    if (next) {
        query_wants(next, i, newest);
        query_post(i, next);
        return;
    }
    while (!list_empty(&i->waits))
        wait_end(LIST_ENTRY(i->waits.next, struct vault_wait, node), ERR_NOMEM, NULL,
                 "out of memory");
}

static void answer_waits(struct vitem *i, const struct query *q, struct material *fresh)
{
    struct list waits, *n;
    list_init(&waits);
    while ((n = list_first(&i->waits))) {
        list_remove(n);
        list_push(&waits, n);
    }
    i->answering = true;
    while ((n = list_first(&waits))) {
        if (answer_wait(i, LIST_ENTRY(n, struct vault_wait, node), q, fresh))
            continue;
        list_remove(n);
        list_push(&i->waits, n);
    }
    if (!list_empty(&i->waits) && !i->query)
        ask_again(i, q);
    i->answering = false;
}

static void take_answer(struct vitem *i, struct query *q, struct material *copy)
{
    uint64_t now = loop_now(i->vault->loop);
    if (q->e) {
        i->bad = i->bad && (q->refresh || !q->version); /* nothing newer: it is used on */
        i->refresh_ns = now + FAILURE_MS * NS_PER_MS;
        i->failed_ns = q->failed_until_ns;
        memcpy(i->sentence, q->sentence, sizeof(i->sentence));
        return;
    }
    i->failed_ns = 0;
    i->refresh_ns = 0;
    if (i->once)
        return;
    i->bad = false;
    material_unref(i->material);
    i->material = material_ref(copy);
}

static void on_returned(struct msg *m)
{
    struct query *q = CONTAINER_OF(m, struct query, asks);
    struct vitem *i = q->item;
    struct material *copy = NULL;
    if (i) {
        i->query = NULL;
        q->item = NULL;
        if (!q->e && !(copy = material_copy(q->material))) {
            q->e = ERR_NOMEM;
            memcpy(q->sentence, "out of memory", sizeof("out of memory"));
        }
        take_answer(i, q, copy);
        answer_waits(i, q, copy);
        material_unref(copy);
        query_unref(q);
        if (i->once && !i->query)
            item_free(i);
    }
    query_unref(q);
}

/* ---- the worker's questions ---- */

static void refresh_by_use(struct vitem *i, struct runtime *rt, const struct credential *c,
                           const struct question *asked)
{
    const struct material *m = i->material;
    uint64_t now = loop_now(i->vault->loop);
    if (!m->refresh_ns || now < m->refresh_ns || now < i->refresh_ns || i->query)
        return;
    struct query *q = query_new(i->vault, rt, c, asked);
    if (!q)
        return; /* the next use tries again */
    q->refresh = true;
    q->version = m->version;
    query_post(i, q);
}

static enum err wait_for(struct vitem *i, struct runtime *rt, const struct credential *c,
                         const struct question *asked, uint64_t bad_version, vault_fn *fn,
                         void *owner, struct vault_wait **ret_wait)
{
    struct vault_wait *w = mem_zalloc(sizeof(*w));
    struct query *q = NULL;
    if (!w || (!i->query && !(q = query_new(i->vault, rt, c, asked)))) {
        mem_free(w);
        if (i->once)
            item_free(i);
        return ERR_NOMEM;
    }
    *w = (struct vault_wait){.item = i, .newer_than = bad_version, .fn = fn, .owner = owner};
    list_push(&i->waits, &w->node);
    if (q) {
        query_wants(q, i, bad_version);
        query_post(i, q);
    }
    *ret_wait = w;
    return ERR_AGAIN;
}

enum err vault_get(struct vault *v, struct runtime *rt, const struct credential *c,
                   const struct question *q, uint64_t bad_version, vault_fn *fn, void *owner,
                   struct vault_wait **ret_wait, struct material **ret_material, struct errctx *ctx)
{
    enum err e = find_key(v, c, q, ctx);
    struct vitem *i = e ? NULL : item_get(v, c->once);
    if (!i)
        return e ? e : ERR_NOMEM;
    if (i->material && bad_version && i->material->version == bad_version)
        i->bad = true;
    if (i->material && !i->bad && i->material->version > bad_version) {
        refresh_by_use(i, rt, c, q);
        *ret_material = material_ref(i->material);
        return ERR_OK;
    }
    if (loop_now(v->loop) < i->failed_ns)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s", i->sentence);
    return wait_for(i, rt, c, q, bad_version, fn, owner, ret_wait);
}

void vault_cancel(struct vault_wait *w)
{
    if (!w)
        return;
    struct vitem *i = w->item;
    list_remove(&w->node);
    mem_free(w);
    if (i->answering || !list_empty(&i->waits))
        return;
    if (i->query && !i->query->refresh)
        query_withdraw(i);
    if (i->once && !i->query)
        item_free(i);
}

static struct vitem *item_of(struct vault *v, const struct credential *c, const struct question *q)
{
    struct errctx ignored = {0};
    return c->once || find_key(v, c, q, &ignored) ? NULL : item_find(v);
}

void vault_mark_bad(struct vault *v, const struct credential *c, const struct question *q,
                    uint64_t version)
{
    struct vitem *i = item_of(v, c, q);
    if (i && i->material && i->material->version == version)
        i->bad = true;
}

bool vault_known_bad(struct vault *v, const struct credential *c, const struct question *q,
                     struct errctx *ctx)
{
    if (c->gone) {
        (void)err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                      "this kind of credential is not in this version");
        return true;
    }
    struct vitem *i = item_of(v, c, q);
    if (!i || i->material || loop_now(v->loop) >= i->failed_ns)
        return false;
    (void)err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s", i->sentence);
    return true;
}

/* ---- life ---- */

struct vault *vault_new(struct loop *loop, struct loop *control, struct broker *broker)
{
    struct vault *v = mem_zalloc(sizeof(*v));
    struct mailbox *box = mem_zalloc(sizeof(*box));
    if (!v || !box) {
        mem_free(v);
        mem_free(box);
        return NULL;
    }
    atomic_init(&box->refs, 1);
    box->loop = loop;
    *v = (struct vault){.loop = loop, .control = control, .broker = broker, .box = box};
    map_init(&v->items);
    list_init(&v->lru);
    buf_init(&v->key, 1u << 20);
    return v;
}

void vault_free(struct vault *v)
{
    struct list *n;
    if (!v)
        return;
    atomic_store(&v->box->closed, true);
    while (atomic_load(&v->box->posting))
        (void)sched_yield();
    while ((n = list_first(&v->lru))) {
        struct vitem *i = LIST_ENTRY(n, struct vitem, node);
        while (!list_empty(&i->waits)) {
            struct vault_wait *w = LIST_ENTRY(i->waits.next, struct vault_wait, node);
            list_remove(&w->node);
            mem_free(w);
        }
        if (i->query)
            query_withdraw(i);
        item_free(i);
    }
    map_fini(&v->items);
    buf_wipe_fini(&v->key);
    box_unref(v->box);
    mem_free(v);
}
