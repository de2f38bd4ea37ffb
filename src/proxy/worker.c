#include "proxy/worker.h"

#include "approval/approval.h"
#include "base/log.h"
#include "net/sockaddr.h"
#include "net/stream_tcp.h"
#include "proxy/proxy_int.h"
#include "sys/loop.h"

enum {
    CHUNKS_KEPT = 256,       /* free chunks a worker keeps: 4 MiB */
    OVER_LIMIT_ANSWERED = 64, /* connections over the limit that get a session for their 503 at the same time */
    IDS_PER_BLOCK = 1024,
};

uint64_t worker_id(struct worker *w)
{
    if (w->next_id == w->last_id) {
        w->next_id = atomic_fetch_add(&w->shared->next_id, IDS_PER_BLOCK);
        w->last_id = w->next_id + IDS_PER_BLOCK;
    }
    return w->next_id++;
}

/* ---------------------------------------------------------------- set-up */

static enum err use_trust(struct worker *w, struct tls_trust *trust)
{
    struct tls_client *fresh;
    enum err e;

    if (w->tls_trust && tls_trust_id(w->tls_trust) == tls_trust_id(trust))
        return ERR_OK; /* warm connections, contexts and tickets stay */
    e = tls_client_new(trust, &fresh);
    if (e != ERR_OK)
        return e;
    tls_client_free(w->tls);
    tls_trust_unref(w->tls_trust);
    w->tls = fresh;
    w->tls_trust = tls_trust_ref(trust);
    w->up.tls = fresh;
    return ERR_OK;
}

/* ---------------------------------------------------------------- contexts of routes */

struct route_tls {
    uint64_t id; /* of the trust: a hash of its content */
    struct tls_client *client;
};

struct tls_client *worker_tls(struct worker *w, struct tls_trust *trust)
{
    uint64_t id = tls_trust_id(trust);
    struct route_tls *v;

    if (id == tls_trust_id(w->tls_trust))
        return w->tls;
    for (unsigned i = 0; i < w->n_route_tls; i++)
        if (w->route_tls[i].id == id)
            return w->route_tls[i].client;
    v = mem_realloc(w->route_tls, (w->n_route_tls + 1) * sizeof(*v));
    if (!v)
        return NULL;
    w->route_tls = v;
    v += w->n_route_tls;
    if (tls_client_new(trust, &v->client) != ERR_OK)
        return NULL;
    v->id = id;
    w->n_route_tls++;
    return v->client;
}

static bool is_named(const struct runtime *rt, uint64_t id)
{
    for (size_t i = 0; rt && i < rt->n_route_trust; i++)
        if (rt->route_trust[i] && tls_trust_id(rt->route_trust[i]) == id)
            return true;
    return false;
}

/* Those that no route of rt (NULL: none) has any more. */
static void forget_tls(struct worker *w, const struct runtime *rt)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < w->n_route_tls; i++) {
        if (is_named(rt, w->route_tls[i].id))
            w->route_tls[kept++] = w->route_tls[i];
        else
            tls_client_free(w->route_tls[i].client);
    }
    w->n_route_tls = kept;
}

static void lend(struct worker *w)
{
    w->h1 = (struct h1_env){.loop = w->loop, .chunks = w->chunks, .field_scratch = w->fields};
    w->pump.loop = w->loop;
    w->pump.chunks = w->chunks;
    w->pump.scratch = w->scratch;
    w->pump.scratch_size = WORKER_SCRATCH;
    w->up.loop = w->loop;
    w->up.dns = w->dns;
    w->up.scratch = w->scratch;
    w->up.scratch_size = WORKER_SCRATCH;
    w->up.is_own = worker_is_own_address;
    w->up.owner = w;
}

static bool make_parts(struct worker *w)
{
    w->chunks = chunk_pool_new(CHUNKS_KEPT);
    w->sessions = slab_new(sizeof(struct session), 64);
    w->exchanges = slab_new(sizeof(struct exchange), 64);
    w->dns = dns_new(w->loop);
    w->pool = pool_new(w->loop);
    w->fields = mem_alloc(LIMIT_HEAD_FIELDS * sizeof(*w->fields));
    w->scratch = mem_alloc(WORKER_SCRATCH);
    w->judge_scratch = mem_alloc(WORKER_JUDGE_SCRATCH);
    w->pump.pipes = pipe_pool_new();
    w->approver = approver_new(w->loop, w->shared->control, w->shared->approvals, &w->up, &w->h1);
    if (w->shared->broker)
        w->vault = vault_new(w->loop, w->shared->control, w->shared->broker);
    if (writer_has_sinks(w->shared->writer))
        w->audit = writer_add_queue(w->shared->writer);
    return w->chunks && w->sessions && w->exchanges && w->dns && w->pool && w->fields && w->scratch &&
           w->judge_scratch && w->pump.pipes && w->approver && (w->vault || !w->shared->broker) && (w->audit || !writer_has_sinks(w->shared->writer));
}

static void on_held(struct timer *t);
static void on_purge(struct timer *t);

enum err worker_new(struct shared *shared, unsigned index, struct loop *loop, struct runtime *runtime,
                    struct worker **ret_worker)
{
    struct worker *w = mem_zalloc(sizeof(*w));
    enum err e;

    if (!w)
        return ERR_NOMEM;
    w->loop = loop;
    w->index = index;
    w->shared = shared;
    w->runtime = runtime_ref(runtime);
    list_init(&w->session_list);
    list_init(&w->waiting);
    map_init(&w->limits);
    timer_init(&w->held, on_held);
    timer_init(&w->purge, on_purge);
    e = make_parts(w) ? use_trust(w, runtime->trust) : ERR_NOMEM;
    if (e != ERR_OK) {
        worker_free(w);
        return e;
    }
    lend(w);
    *ret_worker = w;
    return ERR_OK;
}

static void close_listeners(struct worker *w)
{
    for (unsigned i = 0; i < w->n_listeners; i++)
        listener_close(w->listeners[i]);
    mem_free(w->listeners);
    w->listeners = NULL;
    w->n_listeners = 0;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    close_listeners(w);
    worker_end_all(w);
    timer_stop(w->loop, &w->held);
    timer_stop(w->loop, &w->purge);
    vault_free(w->vault);
    approver_free(w->approver);
    map_fini(&w->limits);
    pool_free(w->pool);
    dns_free(w->dns);
    forget_tls(w, NULL);
    mem_free(w->route_tls);
    tls_client_free(w->tls);
    tls_trust_unref(w->tls_trust);
    loop_turn(w->loop, 0); /* the close list: what was closed above is freed here */
    pipe_pool_free(w->pump.pipes);
    slab_free(w->exchanges);
    slab_free(w->sessions);
    chunk_pool_free(w->chunks);
    mem_free(w->fields);
    mem_free(w->scratch);
    mem_free(w->judge_scratch);
    runtime_unref(w->runtime);
    mem_free(w);
}

/* ---------------------------------------------------------------- connections */

static void on_accept(void *owner, int fd, const struct sock_addr *peer, unsigned tag);

enum err worker_listen(struct worker *w, int fd, unsigned tag)
{
    struct listener **v = mem_realloc(w->listeners, (w->n_listeners + 1) * sizeof(struct listener *));
    enum err e;

    if (!v)
        return ERR_NOMEM;
    w->listeners = v;
    e = listener_open(w->loop, fd, tag, on_accept, w, &v[w->n_listeners]);
    if (e == ERR_OK)
        w->n_listeners++;
    return e;
}

/* Of the many over the limit those beyond OVER_LIMIT_ANSWERED: no session for them, but an answer as far as it goes out at once, and
 * their record. */
static void turn_away(struct worker *w, struct stream *s, const struct sock_addr *peer, unsigned tag)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 1\r\n"
                                 "Connection: close\r\nContent-Length: 45\r\n\r\n"
                                 "nono: the gateway is at its connection limit\n";
    struct iovec iov = {(char *)answer, sizeof(answer) - 1};
    struct record r;
    struct address from = {0};
    char text[ADDRESS_TEXT_SIZE];
    size_t n = 0;

    record_init(&r);
    r.timestamp_ms = clock_wall_ms();
    r.start_ns = clock_mono_ns();
    r.connection_id = worker_id(w);
    r.request_number = worker_id(w);
    r.auth_none = true;
    r.status = 503;
    r.response_bytes = 45;
    r.end = ERR_CONNECTION_LIMIT;
    record_text(&r, RECORD_LISTENER, w->shared->points[tag].name);
    record_text(&r, RECORD_REASON, STR("the gateway is at its connection limit (--max-connections)"));
    if (peer && sockaddr_to_address(peer, &from, NULL)) {
        address_text(&from, text);
        record_text(&r, RECORD_CLIENT_ADDRESS, str_from(text));
    }
    if (w->audit)
        (void)record_emit(w->audit, &r, "none", r.start_ns);
    record_fini(&r);
    if (stream_writev(s, &iov, 1, &n) == ERR_OK) /* as a courtesy */
        (void)stream_shutdown(s);
    stream_close(s, false);
}

void worker_adopt_stream(struct worker *w, struct stream *s, const struct sock_addr *peer, unsigned tag)
{
    uint64_t max = w->shared->max_connections;
    bool over = max && atomic_load(&w->shared->connections) >= max;

    if (w->draining) {
        stream_close(s, false);
        return;
    }
    if (over && w->n_over_limit >= OVER_LIMIT_ANSWERED) {
        turn_away(w, s, peer, tag);
        return;
    }
    session_start(w, s, peer, tag, over, stream_tcp_fd(s));
}

void worker_adopt(struct worker *w, int fd, const struct sock_addr *peer, unsigned tag)
{
    struct stream *s;

    if (stream_tcp_new(w->loop, fd, &s) == ERR_OK)
        worker_adopt_stream(w, s, peer, tag);
}

/* A connection on its way to a less loaded worker. */
struct hand_over {
    struct msg msg;
    struct worker *to;
    struct sock_addr peer;
    int fd;
    unsigned tag;
};

static void on_handed(struct msg *m)
{
    struct hand_over *h = CONTAINER_OF(m, struct hand_over, msg);

    worker_adopt(h->to, h->fd, &h->peer, h->tag);
    mem_free(h);
}

static bool hand_over(struct worker *to, int fd, const struct sock_addr *peer, unsigned tag)
{
    struct hand_over *h = mem_alloc(sizeof(*h));

    if (!h)
        return false;
    *h = (struct hand_over){.msg = {.fn = on_handed}, .to = to, .peer = *peer, .fd = fd, .tag = tag};
    loop_post(to->loop, &h->msg);
    return true;
}

static void on_accept(void *owner, int fd, const struct sock_addr *peer, unsigned tag)
{
    struct worker *w = owner;
    struct worker *to = w->shared->place ? w->shared->place(w) : w;

    if (to == w || !hand_over(to, fd, peer, tag))
        worker_adopt(w, fd, peer, tag);
}

/* ---------------------------------------------------------------- audit catches up */

static void on_held(struct timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, held);
    struct list now = w->waiting;
    struct list *node;

    if (list_empty(&w->waiting))
        return;
    now.next->prev = now.prev->next = &now;
    list_init(&w->waiting);
    while ((node = list_first(&now)))
        session_unhold(LIST_ENTRY(node, struct session, held_node));
}

/* ---------------------------------------------------------------- the end, and changes on the way */

/* fn may close the session it is given. */
static void each_session(struct worker *w, void (*fn)(struct session *))
{
    struct list *node = w->session_list.next, *next;

    for (; node != &w->session_list; node = next) {
        next = node->next;
        fn(LIST_ENTRY(node, struct session, node));
    }
}

void worker_drain(struct worker *w)
{
    w->draining = true;
    close_listeners(w);
    each_session(w, session_drain);
    if (list_empty(&w->session_list) && w->shared->on_empty)
        w->shared->on_empty(w);
}

static void end_for_shutdown(struct session *s)
{
    session_end(s, ERR_SHUTDOWN);
}

void worker_end_all(struct worker *w)
{
    each_session(w, end_for_shutdown);
}

static void rejudge(struct session *s)
{
    if (s->exchange)
        exchange_rejudge(s->exchange, s->worker->runtime);
}

static void end_doomed(struct session *s)
{
    if (s->exchange)
        exchange_end_doomed(s->exchange);
}

static void on_purge(struct timer *t)
{
    each_session(CONTAINER_OF(t, struct worker, purge), end_doomed);
}

void worker_reload(struct worker *w, struct runtime *runtime)
{
    struct runtime *old = w->runtime;

    w->runtime = runtime;
    if (use_trust(w, runtime->trust) != ERR_OK)
        log_warn("out of memory: the former TLS trust stays in use");
    forget_tls(w, runtime);
    each_session(w, rejudge);
    if (!timer_armed(&w->purge)) /* reloads in a row do not put it off */
        timer_set(w->loop, &w->purge, w->shared->drain_timeout_ms);
    runtime_unref(old);
}
