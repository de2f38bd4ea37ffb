/* The socket of a browser bridge: one request and one answer per connection, each a big-endian
 * length of four bytes and JSON. */
#include "credential/bridge.h"
#include "base/encode.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "credential/pick.h"
#include "sys/sock.h"
#include <unistd.h>

enum { LENGTH_BYTES = 4, ID_BYTES = 256, ANSWER_BYTES = 8192, ACCEPT_REST_MS = 100 };

#ifdef __APPLE__
#define OPENER "open"
#define OPENER_ADVICE "it belongs to macOS"
#else
#define OPENER "xdg-open"
#define OPENER_ADVICE "install the package xdg-utils"
#endif

/* One connection: its request comes in, the opener runs, the answer goes out. */
struct conn {
    struct list node;
    struct bridge *bridge;
    struct watch watch;
    struct timer timer; /* for the peer */
    struct task end;
    struct buf in, id, out;
    size_t sent;
    struct opener *opener; /* that the answer waits for */
};

/* xdg-open at work. It may turn out to be the browser itself, and lives as long as that. */
struct opener {
    struct list node;
    struct bridges *all;
    struct conn *conn; /* NULL: nobody waits for it any more */
    struct child *child;
    struct timer wait;
};

struct bridge {
    struct bridges *all;
    const struct capture_conf *rules;
    struct bridge_place place;
    struct watch listener;
    bool listening;
    struct timer rest;
    struct list conns;
    unsigned n_conns, n_exchanges, n_opened, n_refused;
    struct task end;
};

/* ---- connections ---- */

static void stop_listening(struct bridge *b)
{
    if (!b->listening)
        return;
    int fd = b->listener.fd;
    b->listening = false;
    timer_stop(b->all->control, &b->rest);
    watch_close(&b->listener);
    sock_close(fd);
}

/* Whoever comes while all places are taken waits in the kernel's queue. */
static void set_interest(struct bridge *b)
{
    if (b->listening)
        watch_interest(&b->listener,
                       b->n_conns < LIMIT_BRIDGE_CONNECTIONS && !timer_armed(&b->rest), false);
}

static void free_conn(struct task *t)
{
    mem_free(CONTAINER_OF(t, struct conn, end));
}

static void conn_close(struct conn *c)
{
    struct bridge *b = c->bridge;
    int fd = c->watch.fd;
    if (c->opener) {
        timer_stop(b->all->control, &c->opener->wait);
        c->opener->conn = NULL;
    }
    timer_stop(b->all->control, &c->timer);
    watch_close(&c->watch);
    sock_close(fd);
    list_remove(&c->node);
    buf_wipe_fini(&c->in); /* the URL may hold what only its opener should see */
    buf_fini(&c->id);
    buf_fini(&c->out);
    loop_close_later(b->all->control, &c->end);
    b->n_conns--;
    set_interest(b);
}

static void on_late(struct timer *t)
{
    conn_close(CONTAINER_OF(t, struct conn, timer));
}

/* ---- the answer ---- */

static void flush(struct conn *c)
{
    struct iovec v = {c->out.p + c->sent, c->out.n - c->sent};
    size_t n = 0;
    enum err e = sock_writev(c->watch.fd, &v, 1, &n);
    c->sent += n;
    if ((e && e != ERR_AGAIN) || c->sent == c->out.n)
        conn_close(c);
    else
        watch_interest(&c->watch, false, true);
}

/* error NULL: it was opened. */
static void conn_answer(struct conn *c, const char *error)
{
    struct buf text;
    buf_init(&text, ANSWER_BYTES);
    buf_add_z(&text, "{\"UrlOpened\":{\"request_id\":");
    encode_json(&text, buf_str(&c->id));
    buf_printf(&text, ",\"success\":%s,\"error\":", error ? "false" : "true");
    if (error)
        encode_json(&text, str_from(error));
    else
        buf_add_z(&text, "null");
    buf_add_z(&text, "}}");
    const unsigned char length[LENGTH_BYTES] = {0, 0, (unsigned char)(text.n >> 8),
                                                (unsigned char)text.n};
    buf_add(&c->out, length, sizeof(length));
    buf_add_str(&c->out, buf_str(&text));
    bool ok = buf_ok(&text) && buf_ok(&c->out);
    buf_fini(&text);
    if (!ok) {
        conn_close(c);
        return;
    }
    timer_set(c->bridge->all->control, &c->timer, LIMIT_BRIDGE_PEER_MS);
    flush(c);
}

static void refuse(struct conn *c, struct str origin, const char *sentence)
{
    c->bridge->n_refused++;
    log_info("the helper %.*s may not open %.*s: %s", STR_ARG(c->bridge->rules->name),
             STR_ARG(origin.n ? origin : STR("a URL")), sentence);
    conn_answer(c, sentence);
}

/* ---- opening ---- */

static void opener_free(struct opener *o)
{
    timer_stop(o->all->control, &o->wait);
    list_remove(&o->node);
    o->all->n_openers--;
    mem_free(o);
}

static void on_opener_end(void *owner, const struct child_result *result)
{
    struct opener *o = owner;
    struct conn *c = o->conn;
    struct report unused = {0};
    struct errctx why = {0};
    opener_free(o);
    if (!c)
        return;
    c->opener = NULL;
    conn_answer(c, helper_verdict(OPENER, result, &unused, &why) ? why.text : NULL);
}

/* It runs on: a browser in the foreground. */
static void on_opener_wait(struct timer *t)
{
    struct opener *o = CONTAINER_OF(t, struct opener, wait);
    struct conn *c = o->conn;
    o->conn = NULL;
    c->opener = NULL;
    conn_answer(c, NULL);
}

static enum err opener_start(struct opener *o, struct str url, struct errctx *ctx)
{
    struct order order;
    order_init(&order, o->all->env, 0);
    order.no_output = true;
    enum err e = order_program(&order, STR(OPENER), OPENER_ADVICE, ctx);
    order_argument(&order, url);
    if (!e)
        e = order_start(&order, o->all->control, on_opener_end, o, &o->child);
    order_fini(&order);
    return e;
}

static enum err open_url(struct conn *c, struct str url, struct errctx *ctx)
{
    struct bridge *b = c->bridge;
    struct bridges *all = b->all;
    if (b->n_opened >= LIMIT_BRIDGE_URLS)
        return err_set(ctx, ERR_INVALID, "this run of the helper has opened %d URLs already",
                       LIMIT_BRIDGE_URLS);
    if (all->n_openers >= LIMIT_BRIDGE_OPENERS)
        return err_set(ctx, ERR_INVALID, "%d browsers that the gateway opened still run",
                       LIMIT_BRIDGE_OPENERS);
    struct opener *o = mem_zalloc(sizeof(*o));
    if (!o)
        return ERR_NOMEM;
    o->all = all;
    timer_init(&o->wait, on_opener_wait);
    enum err e = opener_start(o, url, ctx);
    if (e) {
        mem_free(o);
        return e;
    }
    list_push(&all->openers, &o->node);
    all->n_openers++;
    b->n_opened++;
    o->conn = c;
    c->opener = o;
    timer_set(all->control, &o->wait, LIMIT_BRIDGE_OPENER_MS);
    return ERR_OK;
}

/* ---- the request ---- */

static bool take_text(struct str value, struct buf *out)
{
    if (!value.p || pick_kind(value) != '"')
        return false;
    pick_text(value, out);
    return buf_ok(out);
}

/* {"OpenUrl":{"request_id","url","child_pid","session_id"}}: the last two say what we know. */
static bool parse(struct conn *c, struct str text, struct buf *url)
{
    if (!pick_valid(text))
        return false;
    struct str open = pick_get(text, "OpenUrl");
    bool known = take_text(pick_get(open, "request_id"), &c->id);
    if (!buf_ok(&c->id)) {
        buf_fini(&c->id);
        buf_init(&c->id, ID_BYTES);
    }
    return known && take_text(pick_get(open, "url"), url);
}

static void serve(struct conn *c, struct str text)
{
    struct bridge *b = c->bridge;
    struct errctx why = {0};
    struct str origin = STR_NULL;
    struct buf url;
    buf_init(&url, LIMIT_BRIDGE_MESSAGE);
    timer_stop(b->all->control, &c->timer);
    watch_interest(&c->watch, false, false);
    if (!parse(c, text, &url)) {
        refuse(c, origin,
               "the request is not understood: OpenUrl with request_id and url is expected");
    } else if (bridge_judge(b->rules, buf_str(&url), &origin, &why)) {
        refuse(c, origin, why.text);
    } else if (open_url(c, buf_str(&url), &why)) {
        refuse(c, origin, why.text[0] ? why.text : "out of memory");
    } else {
        log_info("the helper %.*s opens %.*s in a browser", STR_ARG(b->rules->name),
                 STR_ARG(origin));
    }
    buf_wipe_fini(&url);
}

/* How many bytes of the request are still to come; 0: all are here. */
static size_t missing(const struct conn *c, uint32_t *ret_length)
{
    const unsigned char *p = (const unsigned char *)c->in.p;
    if (c->in.n < LENGTH_BYTES)
        return LENGTH_BYTES - c->in.n;
    *ret_length = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    if (*ret_length > LIMIT_BRIDGE_MESSAGE)
        return 0;
    return LENGTH_BYTES + *ret_length - c->in.n;
}

/* Nothing behind the request is ever read. */
static void on_request(struct conn *c)
{
    uint32_t length = 0;
    size_t want, n;
    while ((want = missing(c, &length)) > 0) {
        char *p = buf_reserve(&c->in, want);
        enum err e = p ? sock_read(c->watch.fd, p, want, &n) : ERR_NOMEM;
        if (e == ERR_AGAIN)
            return;
        if (e) {
            conn_close(c);
            return;
        }
        c->in.n += n;
    }
    if (length > LIMIT_BRIDGE_MESSAGE)
        refuse(c, STR_NULL, "the request is longer than 64 KiB");
    else
        serve(c, str_of(c->in.p + LENGTH_BYTES, length));
}

static void on_conn(struct watch *w)
{
    struct conn *c = CONTAINER_OF(w, struct conn, watch);
    if (c->out.n)
        flush(c);
    else if (!c->opener)
        on_request(c);
}

/* ---- the listener ---- */

static void conn_new(struct bridge *b, int fd)
{
    uint32_t uid;
    struct conn *c = sock_peer_uid(fd, &uid) || uid != geteuid() ? NULL : mem_zalloc(sizeof(*c));
    if (!c || watch_open(b->all->control, &c->watch, fd, WATCH_LEVEL, on_conn)) {
        mem_free(c);
        sock_close(fd);
        return;
    }
    c->bridge = b;
    timer_init(&c->timer, on_late);
    task_init(&c->end, free_conn);
    buf_init(&c->in, LENGTH_BYTES + LIMIT_BRIDGE_MESSAGE);
    buf_init(&c->id, ID_BYTES);
    buf_init(&c->out, ANSWER_BYTES + LENGTH_BYTES);
    list_push(&b->conns, &c->node);
    b->n_conns++;
    timer_set(b->all->control, &c->timer, LIMIT_BRIDGE_PEER_MS);
    watch_interest(&c->watch, true, false);
}

static void on_rest(struct timer *t)
{
    set_interest(CONTAINER_OF(t, struct bridge, rest));
}

static void on_listener(struct watch *w)
{
    struct bridge *b = CONTAINER_OF(w, struct bridge, listener);
    while (b->n_conns < LIMIT_BRIDGE_CONNECTIONS && b->n_exchanges < LIMIT_BRIDGE_EXCHANGES) {
        struct sock_addr peer;
        int fd, os_errno;
        enum err e = sock_accept(w->fd, &peer, &fd, &os_errno);
        if (e == ERR_AGAIN)
            break;
        if (e) { /* no descriptors: not asked again at once */
            timer_set(b->all->control, &b->rest, ACCEPT_REST_MS);
            break;
        }
        b->n_exchanges++;
        conn_new(b, fd);
    }
    if (b->n_exchanges >= LIMIT_BRIDGE_EXCHANGES)
        stop_listening(b);
    set_interest(b);
}

/* ---- life ---- */

static void free_bridge(struct task *t)
{
    mem_free(CONTAINER_OF(t, struct bridge, end));
}

enum err bridge_open(struct bridges *all, const struct capture_conf *rules,
                     struct bridge **ret_bridge, struct errctx *ctx)
{
    int fd;
    struct bridge *b = mem_zalloc(sizeof(*b));
    if (!b)
        return ERR_NOMEM;
    b->all = all;
    b->rules = rules;
    list_init(&b->conns);
    timer_init(&b->rest, on_rest);
    task_init(&b->end, free_bridge);
    enum err e = bridge_place_make(all, rules->allow_launch_services, &b->place, &fd, ctx);
    if (e) {
        mem_free(b);
        return e;
    }
    if (watch_open(all->control, &b->listener, fd, WATCH_LEVEL, on_listener)) {
        sock_close(fd);
        bridge_place_remove(&b->place);
        mem_free(b);
        return ERR_NOMEM;
    }
    b->listening = true;
    set_interest(b);
    *ret_bridge = b;
    return ERR_OK;
}

void bridge_close(struct bridge *b)
{
    struct list *n;
    if (!b)
        return;
    stop_listening(b);
    while ((n = list_first(&b->conns)))
        conn_close(LIST_ENTRY(n, struct conn, node));
    bridge_place_remove(&b->place);
    loop_close_later(b->all->control, &b->end);
}

const char *bridge_socket(const struct bridge *b)
{
    return b->place.socket;
}

const char *bridge_launcher(const struct bridge *b)
{
    return b->place.launcher;
}

const char *bridge_folder(const struct bridge *b)
{
    return b->place.folder;
}

unsigned bridge_opened(const struct bridge *b)
{
    return b->n_opened;
}

unsigned bridge_refused(const struct bridge *b)
{
    return b->n_refused;
}

enum err bridges_init(struct bridges *all, struct loop *control, const struct helper_env *env)
{
    *all = (struct bridges){.control = control, .env = env};
    list_init(&all->openers);
    enum err e = file_own_program(&all->program);
    return e == ERR_NOMEM ? e : ERR_OK; /* only who needs it has to do without */
}

void bridges_fini(struct bridges *all)
{
    struct list *n;
    while ((n = list_first(&all->openers))) {
        struct opener *o = LIST_ENTRY(n, struct opener, node);
        child_release(o->child);
        opener_free(o);
    }
    mem_free(all->program);
    all->program = NULL;
}
