#include "tls/tls_int.h"
#include "base/mem.h"
#include "sys/clock.h"

enum {
    SESSIONS_MAX = 256,
    /* A resumed session skips the certificate check: bound how long one look at a certificate
       counts. */
    SESSION_LIFE_S = 7200,
};

struct entry {
    struct list node;
    SSL_SESSION *session;
    struct str key; /* bytes behind this struct */
};

void tls_sessions_init(struct tls_sessions *s)
{
    map_init(&s->by_key);
    list_init(&s->order);
    s->n = 0;
}

static void drop(struct tls_sessions *s, struct entry *e)
{
    (void)map_remove(&s->by_key, e->key);
    list_remove(&e->node);
    SSL_SESSION_free(e->session);
    mem_free(e);
    s->n--;
}

void tls_sessions_fini(struct tls_sessions *s)
{
    struct list *node;
    while ((node = list_first(&s->order)))
        drop(s, LIST_ENTRY(node, struct entry, node));
    map_fini(&s->by_key);
}

static bool too_old(const SSL_SESSION *session)
{
    long now = (long)(clock_wall_ms() / 1000), made = SSL_SESSION_get_time(session);
    long life = SSL_SESSION_get_timeout(session);
    return now < made - 1 || now - made >= (life < SESSION_LIFE_S ? life : SESSION_LIFE_S);
}

SSL_SESSION *tls_sessions_get(struct tls_sessions *s, struct str key)
{
    struct entry *e = map_get(&s->by_key, key);
    if (!e)
        return NULL;
    if (too_old(e->session) || !SSL_SESSION_is_resumable(e->session)) {
        drop(s, e);
        return NULL;
    }
    list_remove(&e->node);
    list_push_front(&s->order, &e->node);
    return e->session;
}

static struct entry *entry_new(struct str key, SSL_SESSION *session)
{
    struct entry *e = mem_zalloc(sizeof(*e) + key.n);
    if (!e)
        return NULL;
    list_init(&e->node);
    memcpy(e + 1, key.p, key.n);
    e->key = str_of((char *)(e + 1), key.n);
    e->session = session;
    return e;
}

bool tls_sessions_put(struct tls_sessions *s, struct str key, SSL_SESSION *session)
{
    struct entry *e = map_get(&s->by_key, key);
    if (e) {
        SSL_SESSION_free(e->session);
        e->session = session;
        list_remove(&e->node);
        list_push_front(&s->order, &e->node);
        return true;
    }
    e = entry_new(key, session);
    if (!e)
        return false;
    if (!map_put(&s->by_key, e->key, e)) {
        mem_free(e);
        return false;
    }
    list_push_front(&s->order, &e->node);
    if (++s->n > SESSIONS_MAX)
        drop(s, LIST_ENTRY(s->order.prev, struct entry, node));
    return true;
}

void tls_sessions_forget(struct tls_sessions *s, struct str key)
{
    struct entry *e = map_get(&s->by_key, key);
    if (e)
        drop(s, e);
}
