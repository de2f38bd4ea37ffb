#include "upstream/resolver.h"
#include "base/assert.h"
#include "base/mem.h"
#include "upstream/hosts.h"
#include "upstream/resolv_conf.h"
#include "upstream/resolver_int.h"
#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    DNS_CLASS_IN = 1,
    DNS_TYPE_A = 1,
    DNS_TYPE_AAAA = 28,
    TRY_MS = 2000,
    TRIES = 3,
    HOSTS_TTL_S = 5,
    RECHECK_MS = 5000,
    /* c-ares keeps one source port while it is busy: a fresh channel now and then brings a fresh
       port. */
    CHANNEL_QUESTIONS = 256,
    HOSTS_MAX = 16 * 1024 * 1024,
    RESOLV_CONF_MAX = 64 * 1024,
};

/* What tells that a file is another one than last time. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    int64_t sec, nsec;
};
struct resolver {
    struct loop *loop;
    struct list channels; /* the current one and retired ones that are still busy */
    struct channel *current;
    struct hosts *hosts;
    struct resolv_conf conf;
    struct stamp hosts_stamp, conf_stamp;
    uint64_t look_again; /* ns */
    const char *hosts_path, *conf_path, *servers;
};
struct channel {
    struct list node;
    struct resolver *resolver;
    ares_channel ares;
    struct list socks;
    struct timer timer;
    struct task reap;
    unsigned asked, open; /* questions: ever, and now */
    bool retired;
};
/* One of c-ares' sockets. */
struct sock {
    struct list node;
    struct channel *channel;
    struct watch watch;
    struct task task; /* close list */
};
struct question {
    struct channel *channel;
    resolver_fn *fn;
    void *owner;
    enum address_family family;
    unsigned search; /* next entry of the search list */
    bool as_is;      /* the name itself was asked: the last try */
    struct hostname name;
};

enum err resolver_library_init(void)
{
    return ares_library_init(ARES_LIB_INIT_ALL) ? ERR_SYSTEM : ERR_OK;
}

/* --- channels --- */

static void channel_free(struct channel *ch)
{
    if (ch->ares)
        ares_destroy(ch->ares); /* ends open questions, closes sockets */
    ASSERT(ch->open == 0 && list_empty(&ch->socks));
    timer_stop(ch->resolver->loop, &ch->timer);
    task_cancel(&ch->reap);
    list_remove(&ch->node);
    mem_free(ch);
}

static void on_reap(struct task *task)
{
    struct channel *ch = CONTAINER_OF(task, struct channel, reap);
    if (ch->retired && ch->open == 0)
        channel_free(ch);
}

/* After every call into c-ares: its next deadline, and whether a retired channel has served its
 * time. */
static void channel_settle(struct channel *ch)
{
    struct loop *loop = ch->resolver->loop;
    struct timeval tv;
    const struct timeval *next = ares_timeout(ch->ares, NULL, &tv);
    if (next)
        timer_set(loop, &ch->timer, (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + 1);
    else
        timer_stop(loop, &ch->timer);
    if (ch->retired && ch->open == 0)
        task_run_soon(loop, &ch->reap);
}

static void on_timer(struct timer *timer)
{
    struct channel *ch = CONTAINER_OF(timer, struct channel, timer);
    ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    channel_settle(ch);
}

static void on_socket(struct watch *watch)
{
    struct sock *s = CONTAINER_OF(watch, struct sock, watch);
    struct channel *ch = s->channel;
    int fd = watch->fd;
    bool dead = watch->bits & (WATCH_FIN | WATCH_ERROR);
    bool readable = dead || watch->bits & WATCH_READABLE;
    bool writable = dead || watch->bits & WATCH_WRITABLE;
    ares_process_fd(ch->ares, readable ? fd : ARES_SOCKET_BAD, writable ? fd : ARES_SOCKET_BAD);
    channel_settle(ch);
}

static struct sock *sock_find(struct channel *ch, int fd)
{
    for (struct list *l = ch->socks.next; l != &ch->socks; l = l->next) {
        struct sock *s = LIST_ENTRY(l, struct sock, node);
        if (s->watch.fd == fd)
            return s;
    }
    return NULL;
}

static void on_sock_free(struct task *task)
{
    mem_free(CONTAINER_OF(task, struct sock, task));
}

static void sock_forget(struct sock *s)
{
    watch_close(&s->watch);
    list_remove(&s->node);
    task_init(&s->task, on_sock_free);
    loop_close_later(s->channel->resolver->loop, &s->task);
}

static struct sock *sock_new(struct channel *ch, int fd)
{
    struct sock *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->channel = ch;
    list_init(&s->node);
    if (watch_open(ch->resolver->loop, &s->watch, fd, WATCH_LEVEL, on_socket)) {
        mem_free(s);
        return NULL;
    }
    list_push(&ch->socks, &s->node);
    return s;
}

/* c-ares tells what it wants of a socket; both false: it is about to be closed. Level-triggered,
 * because 1.18 takes one read of a TCP answer per call. Without memory nothing is watched, and the
 * question ends by its timeout. */
static void on_sock_state(void *owner, ares_socket_t fd, int readable, int writable)
{
    struct channel *ch = owner;
    struct sock *s = sock_find(ch, fd);
    if (!readable && !writable) {
        if (s)
            sock_forget(s);
        return;
    }
    if (!s)
        s = sock_new(ch, fd);
    if (s)
        watch_interest(&s->watch, readable, writable);
}

static enum err channel_init(struct channel *ch)
{
    const struct resolver *r = ch->resolver;
    unsigned try_ms =
        r->conf.timeout_s && r->conf.timeout_s * 1000 < TRY_MS ? r->conf.timeout_s * 1000 : TRY_MS;
    unsigned tries = r->conf.attempts && r->conf.attempts < TRIES ? r->conf.attempts : TRIES;
    char path[256], lookups[] = "b";
    struct ares_options o = {.timeout = (int)try_ms,
                             .tries = (int)tries,
                             .ndots = 1,
                             .lookups = lookups,
                             .resolvconf_path = path,
                             .sock_state_cb = on_sock_state,
                             .sock_state_cb_data = ch};
    size_t n = strlen(r->conf_path);
    if (n >= sizeof path)
        return ERR_TOO_LARGE;
    memcpy(path, r->conf_path, n + 1);
    if (ares_init_options(&ch->ares, &o,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_LOOKUPS |
                              ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB | ARES_OPT_NOROTATE)) {
        ch->ares = NULL;
        return ERR_NOMEM;
    }
    if (r->servers && ares_set_servers_ports_csv(ch->ares, r->servers))
        return ERR_INVALID;
    return ERR_OK;
}

static struct channel *channel_new(struct resolver *r)
{
    struct channel *ch = mem_zalloc(sizeof *ch);
    if (!ch)
        return NULL;
    ch->resolver = r;
    list_init(&ch->node);
    list_init(&ch->socks);
    timer_init(&ch->timer, on_timer);
    task_init(&ch->reap, on_reap);
    if (channel_init(ch)) {
        channel_free(ch);
        return NULL;
    }
    return ch;
}

/* A new channel for new questions; the old one stays until its questions are answered. */
static enum err channel_renew(struct resolver *r)
{
    struct channel *ch = channel_new(r), *old = r->current;
    if (!ch)
        return ERR_NOMEM;
    list_push(&r->channels, &ch->node);
    r->current = ch;
    if (old) {
        old->retired = true;
        channel_settle(old);
    }
    return ERR_OK;
}

/* --- the two files --- */

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return (struct stamp){.size = -1};
    return (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
}

static bool stamp_same(const struct stamp *a, const struct stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->sec == b->sec &&
           a->nsec == b->nsec;
}

/* The text of a file; empty when it cannot be read. False when out of memory, or when it is too
 * large to be meant. */
static bool read_text(const char *path, struct buf *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return true;
    char piece[4096];
    while (buf_ok(text)) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        buf_add(text, piece, (size_t)n);
    }
    close(fd);
    return buf_ok(text);
}

static bool load_hosts(struct resolver *r)
{
    struct buf text;
    buf_init(&text, HOSTS_MAX);
    struct hosts *h = read_text(r->hosts_path, &text) ? hosts_parse(buf_str(&text)) : NULL;
    buf_fini(&text);
    if (!h)
        return false;
    hosts_free(r->hosts);
    r->hosts = h;
    return true;
}

static bool load_conf(struct resolver *r)
{
    struct buf text;
    buf_init(&text, RESOLV_CONF_MAX);
    bool ok = read_text(r->conf_path, &text);
    if (ok)
        resolv_conf_parse(buf_str(&text), &r->conf);
    buf_fini(&text);
    return ok && channel_renew(r) == ERR_OK;
}

/* At most once every 5 s: c-ares itself never reads resolv.conf again. What cannot be loaded stays
 * as it was until the next look. */
static void look_at_files(struct resolver *r)
{
    uint64_t now = loop_now(r->loop);
    if (now < r->look_again)
        return;
    r->look_again = now + RECHECK_MS * UINT64_C(1000000);
    struct stamp hosts = stamp_of(r->hosts_path), conf = stamp_of(r->conf_path);
    if (!stamp_same(&hosts, &r->hosts_stamp) && load_hosts(r))
        r->hosts_stamp = hosts;
    if (!stamp_same(&conf, &r->conf_stamp) && load_conf(r))
        r->conf_stamp = conf;
}

/* --- questions --- */

static void question_end(struct question *q, enum err e, const struct resolver_answer *answer,
                         const struct errctx *ctx)
{
    resolver_fn *fn = q->fn;
    void *owner = q->owner;
    q->channel->open--;
    mem_free(q);
    fn(owner, e, answer, ctx);
}

static void question_fail(struct question *q, enum err e, const char *why)
{
    struct errctx ctx = {0};
    err_set(&ctx, e, "%.100s does not resolve: %s", q->name.text, why);
    question_end(q, e, NULL, &ctx);
}

/* c-ares 1.18 says "connection refused" when every name server failed, refused the question, or
 * could not be reached. */
static void fail_by_status(struct question *q, int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
        question_fail(q, ERR_DNS_FAILED, "no such name");
        return;
    case ARES_ECONNREFUSED:
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ENOTIMP:
        question_fail(q, ERR_DNS_FAILED, "name server failure");
        return;
    case ARES_ETIMEOUT:
        question_fail(q, ERR_DNS_TIMEOUT, "the name servers did not answer in time");
        return;
    case ARES_ENOMEM:
        question_fail(q, ERR_NOMEM, "out of memory");
        return;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        question_fail(q, ERR_CANCELLED, "cancelled");
        return;
    default:
        question_fail(q, ERR_DNS_FAILED, "malformed answer");
        return;
    }
}

/* Whether a search goes on with the next domain. */
static bool is_miss(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ESERVFAIL || status == ARES_ECONNREFUSED;
}

static void answer_add(struct resolver_answer *a, enum address_family family, const void *bytes,
                       int ttl)
{
    uint32_t t = ttl < 0 ? 0 : (uint32_t)ttl; /* RFC 2181 section 8 */
    if (a->n == 0 || t < a->ttl_s)
        a->ttl_s = t;
    if (a->n < ARRAY_LEN(a->v))
        a->v[a->n++] = address_from_bytes(family, bytes);
}

/* c-ares' parsers already fold the TTLs of CNAMEs into those of the addresses. */
static int parse_answer(enum address_family family, const unsigned char *p, int n,
                        struct resolver_answer *answer)
{
    struct ares_addrttl v4[ARRAY_LEN(answer->v)];
    struct ares_addr6ttl v6[ARRAY_LEN(answer->v)];
    int status, count = (int)ARRAY_LEN(answer->v);
    if (family == ADDRESS_V4)
        status = ares_parse_a_reply(p, n, NULL, v4, &count);
    else
        status = ares_parse_aaaa_reply(p, n, NULL, v6, &count);
    if (status)
        return status;
    for (int i = 0; i < count; i++) {
        if (family == ADDRESS_V4)
            answer_add(answer, family, &v4[i].ipaddr, v4[i].ttl);
        else
            answer_add(answer, family, &v6[i].ip6addr, v6[i].ttl);
    }
    return ARES_SUCCESS;
}

static void question_send(struct question *q);

/* A name that exists without addresses of this family ends the search: A and AAAA are asked apart,
 * and must not end at two hosts. */
static void on_answer(void *owner, int status, int timeouts, unsigned char *p, int n)
{
    struct question *q = owner;
    struct resolver_answer answer = {0};
    (void)timeouts;
    if (status == ARES_SUCCESS)
        status = parse_answer(q->family, p, n, &answer);
    if (status == ARES_SUCCESS || status == ARES_ENODATA)
        question_end(q, ERR_OK, &answer, NULL);
    else if (!q->as_is && is_miss(status))
        question_send(q);
    else
        fail_by_status(q, status);
}

/* The next name to ask for: single-label names go through the search list first, dotted ones are
 * never extended. */
static void question_text(struct question *q, struct buf *text)
{
    const struct resolv_conf *conf = &q->channel->resolver->conf;
    bool dotted = str_find(hostname_str(&q->name), '.') < q->name.n;
    buf_add_str(text, hostname_str(&q->name));
    while (!dotted && q->search < conf->n_search) {
        const struct hostname *domain = &conf->search[q->search++];
        if (q->name.n + 1u + domain->n > LIMIT_HOST_BYTES)
            continue;
        buf_add_c(text, '.');
        buf_add_str(text, hostname_str(domain));
        return;
    }
    q->as_is = true;
}

static void question_send(struct question *q)
{
    struct buf text;
    buf_init(&text, LIMIT_HOST_BYTES + 1);
    question_text(q, &text);
    buf_add_c(&text, '\0');
    int type = q->family == ADDRESS_V4 ? DNS_TYPE_A : DNS_TYPE_AAAA;
    if (buf_ok(&text))
        ares_query(q->channel->ares, text.p, DNS_CLASS_IN, type, on_answer, q);
    else
        fail_by_status(q, ARES_ENOMEM);
    buf_fini(&text);
}

/* The hosts file answers for both families once it knows the name. */
static void answer_from_hosts(const struct host_addrs *hosts, enum address_family family,
                              resolver_fn *fn, void *owner)
{
    struct resolver_answer answer = {.ttl_s = HOSTS_TTL_S};
    for (unsigned i = 0; i < hosts->n; i++)
        if (hosts->v[i].family == family)
            answer.v[answer.n++] = hosts->v[i];
    fn(owner, ERR_OK, &answer, NULL);
}

/* RFC 6761 section 6.3: never asked for, whatever the files say. */
static void answer_localhost(enum address_family family, resolver_fn *fn, void *owner)
{
    static const uint8_t v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
    struct resolver_answer answer = {.n = 1, .ttl_s = LIMIT_DNS_TTL_MAX / 1000};
    answer.v[0] = address_from_bytes(family, family == ADDRESS_V4 ? v4 : v6);
    fn(owner, ERR_OK, &answer, NULL);
}

static enum err ask_dns(struct resolver *r, const struct hostname *name, enum address_family family,
                        resolver_fn *fn, void *owner)
{
    /* Without memory for a fresh one the old channel goes on. */
    if (!r->current || r->current->asked >= CHANNEL_QUESTIONS)
        if (channel_renew(r) && !r->current)
            return ERR_NOMEM;
    struct question *q = mem_alloc(sizeof *q);
    if (!q)
        return ERR_NOMEM;
    struct channel *ch = r->current;
    *q =
        (struct question){.channel = ch, .fn = fn, .owner = owner, .family = family, .name = *name};
    ch->asked++;
    ch->open++;
    question_send(q);
    channel_settle(ch);
    return ERR_OK;
}

enum err resolver_ask(struct resolver *r, const struct hostname *name, enum address_family family,
                      resolver_fn *fn, void *owner)
{
    ASSERT_ON_LOOP(r->loop);
    if (hostname_is_localhost(name)) {
        answer_localhost(family, fn, owner);
        return ERR_OK;
    }
    look_at_files(r);
    const struct host_addrs *hosts = hosts_find(r->hosts, name);
    if (!hosts)
        return ask_dns(r, name, family, fn, owner);
    answer_from_hosts(hosts, family, fn, owner);
    return ERR_OK;
}

/* --- the whole --- */

struct resolver *resolver_new(struct loop *loop)
{
    struct resolver *r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    r->loop = loop;
    r->hosts_path = "/etc/hosts";
    r->conf_path = "/etc/resolv.conf";
    list_init(&r->channels);
    look_at_files(r);
    if (!r->current) {
        resolver_free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    struct list *node;
    r->current = NULL;
    while ((node = list_first(&r->channels)))
        channel_free(LIST_ENTRY(node, struct channel, node));
    hosts_free(r->hosts);
    mem_free(r);
}

enum err resolver_redirect(struct resolver *r, const char *hosts, const char *resolv_conf,
                           const char *servers)
{
    r->hosts_path = hosts ? hosts : "/etc/hosts";
    r->conf_path = resolv_conf ? resolv_conf : "/etc/resolv.conf";
    r->servers = servers;
    resolver_recheck(r);
    look_at_files(r);
    return channel_renew(r);
}

void resolver_recheck(struct resolver *r)
{
    r->look_again = 0;
}

unsigned resolver_channels(const struct resolver *r)
{
    unsigned n = 0;
    for (const struct list *l = r->channels.next; l != &r->channels; l = l->next)
        n++;
    return n;
}
