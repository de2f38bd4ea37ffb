/* The network in memory: sockets, listeners and pipes of the program, and the actors at the other
 * ends. Replaces sys/sock*.c. */
#include "base/assert.h"
#include "net/sockaddr.h"
#include "sim_int.h"
#include "sys/clock.h"
#include "sys/sock.h"
#include <errno.h>
#include <string.h>

enum { FIRST_FD = 3, MAX_FDS = 4096, WINDOW = 65536, PIPE_BYTES = 65536, ONE_BYTE_FOR = 2000 };

struct bytes {
    char *p;
    size_t n, cap;
};
enum end_state { END_CONNECTING, END_OPEN, END_FAILED, END_CLOSED };
enum pace { PACE_WHOLE, PACE_SPLIT, PACE_ONE_BYTE };

/* One side of a connection; it belongs to a descriptor or to an actor. */
struct sim_end {
    struct conn *conn;
    struct sim_end *peer;
    struct sim_peer *actor;
    int fd; /* -1: an actor's, or not accepted yet */
    enum end_state state;
    struct bytes rx; /* arrived, not taken */
    size_t flying;   /* on the way here */
    bool fin, dead;  /* arrived: FIN; reset */
    int error;       /* SO_ERROR */
    bool shut, no_space, linger0;
    size_t sent;      /* bytes ever */
    uint64_t arrival; /* of what this side sent last */
};
struct conn {
    struct sim_end end[2]; /* [0] connected, [1] accepted */
    unsigned refs;         /* open ends and things on the way */
    size_t window;
    enum pace pace;
    size_t cut_at, stall_at; /* bytes of both sides together; SIZE_MAX: never */
    struct sock_addr from;
};
struct parcel {
    struct sim_end *to;
    enum { DATA, FIN, RST } kind;
    size_t n;
    char p[];
};
enum fd_kind { FD_FREE, FD_LISTENER, FD_SOCKET, FD_PIPE_R, FD_PIPE_W };
struct pipe {
    struct bytes bytes;
    unsigned refs;
};
struct fd {
    enum fd_kind kind;
    struct watch *watch;
    bool edge;
    struct sim_end *end;
    struct pipe *pipe;
    struct address at; /* listener */
    uint16_t port;
    struct sim_end *waiting[256];
    unsigned n_waiting;
};

static struct fd fds[MAX_FDS];
static unsigned top = FIRST_FD, n_conns;
static sim_dial_fn *dial_fn;
static void *dial_owner;
static uint16_t next_port = 20000;

/* --- bytes --- */

static void bytes_add(struct bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2;
        b->p = sim_grow(b->p, b->cap);
    }
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void bytes_drop(struct bytes *b, size_t n)
{
    b->n -= n;
    if (b->n)
        memmove(b->p, b->p + n, b->n);
}

/* --- descriptors --- */

static int fd_new(enum fd_kind kind)
{
    for (int i = FIRST_FD; i < MAX_FDS; i++) {
        if (fds[i].kind != FD_FREE)
            continue;
        memset(&fds[i], 0, sizeof fds[i]);
        fds[i].kind = kind;
        if ((unsigned)i >= top)
            top = (unsigned)i + 1;
        return i;
    }
    return -1;
}

static struct fd *fd_get(int fd, enum fd_kind kind)
{
    ASSERT(fd >= FIRST_FD && fd < MAX_FDS && fds[fd].kind == kind);
    return &fds[fd];
}

unsigned sim_net_top(void)
{
    return top;
}

struct watch *sim_net_watch(int fd)
{
    return fds[fd].watch;
}

static void fd_edge(int fd)
{
    if (fd < 0)
        return;
    fds[fd].edge = true;
    sim_dirty = true;
}

void sim_net_set_watch(int fd, struct watch *w)
{
    ASSERT(fd >= FIRST_FD && fd < MAX_FDS && fds[fd].kind != FD_FREE);
    ASSERT(!w || !fds[fd].watch);
    fds[fd].watch = w;
    if (w)
        fd_edge(fd); /* what is true already is told once */
}

static size_t room(const struct sim_end *e)
{
    size_t used = e->peer->rx.n + e->peer->flying;
    return used < e->conn->window ? e->conn->window - used : 0;
}

static unsigned socket_bits(const struct sim_end *e)
{
    unsigned bits = 0;
    if (e->state == END_CONNECTING)
        return 0;
    if (e->rx.n)
        bits |= WATCH_READABLE;
    if (e->state == END_OPEN && !e->no_space)
        bits |= WATCH_WRITABLE;
    if (e->fin)
        bits |= WATCH_FIN | WATCH_READABLE;
    if (e->dead || e->state == END_FAILED)
        bits |= WATCH_FIN | WATCH_READABLE | WATCH_WRITABLE;
    if (e->error)
        bits |= WATCH_ERROR | WATCH_READABLE | WATCH_WRITABLE;
    return bits;
}

unsigned sim_net_bits(int fd, bool *ret_edge)
{
    struct fd *f = &fds[fd];
    *ret_edge = f->edge;
    f->edge = false;
    if (f->kind == FD_LISTENER)
        return f->n_waiting ? WATCH_READABLE : 0;
    return f->kind == FD_SOCKET ? socket_bits(f->end) : 0;
}

unsigned sim_open_descriptors(void)
{
    unsigned n = 0;
    for (unsigned i = FIRST_FD; i < top; i++)
        n += fds[i].kind != FD_FREE;
    return n;
}

unsigned sim_connections(void)
{
    return n_conns;
}

/* --- connections --- */

static void conn_unref(struct conn *c)
{
    if (--c->refs)
        return;
    for (int i = 0; i < 2; i++)
        sim_free(c->end[i].rx.p);
    sim_free(c);
    n_conns--;
}

static struct conn *conn_new(void)
{
    struct conn *c = sim_alloc(sizeof *c);
    n_conns++;
    c->window = sim_chance(sim_faults.small_window) ? 1 + sim_below(200) : WINDOW;
    c->pace = sim_chance(sim_faults.one_byte) ? PACE_ONE_BYTE
              : sim_chance(sim_faults.split)  ? PACE_SPLIT
                                              : PACE_WHOLE;
    c->cut_at = sim_chance(sim_faults.cut) ? sim_below(sim_chance(500) ? 400 : 40000) : SIZE_MAX;
    c->stall_at =
        sim_chance(sim_faults.stall) ? sim_below(sim_chance(500) ? 400 : 40000) : SIZE_MAX;
    for (int i = 0; i < 2; i++) {
        c->end[i].conn = c;
        c->end[i].peer = &c->end[1 - i];
        c->end[i].fd = -1;
    }
    return c;
}

static uint64_t latency(void)
{
    if (sim_chance(sim_faults.slow))
        return sim_below(3000) * NS_PER_MS;
    return 20000 + sim_below(2 * NS_PER_MS);
}

static void end_lost(struct sim_end *e, int os_errno);
static void on_parcel(void *owner);

/* Everything from one side arrives in its order. */
static void send_parcel(struct sim_end *from, int kind, const void *p, size_t n, bool at_once)
{
    struct parcel *m = sim_alloc(sizeof *m + n);
    uint64_t at = sim_now() + (at_once ? 1000 : latency());
    m->to = from->peer;
    m->kind = kind;
    m->n = n;
    if (n)
        memcpy(m->p, p, n);
    if (at <= from->arrival)
        at = from->arrival + 1;
    from->arrival = at;
    from->peer->flying += n;
    from->conn->refs++;
    sim_after(at - sim_now(), on_parcel, m);
}

static size_t piece(const struct sim_end *e, size_t n)
{
    if (e->conn->pace == PACE_ONE_BYTE && e->sent < ONE_BYTE_FOR)
        return 1;
    return e->conn->pace == PACE_WHOLE ? n : 1 + sim_below(n);
}

static void cut(struct conn *c)
{
    c->cut_at = SIZE_MAX;
    for (int i = 0; i < 2; i++)
        send_parcel(&c->end[i], RST, NULL, 0, false);
}

/* A silent connection swallows; the window stays full. */
static void transmit(struct sim_end *e, const char *p, size_t n)
{
    struct conn *c = e->conn;
    sim_note(p, n);
    while (n) {
        size_t k = piece(e, n);
        e->sent += k;
        size_t all = e->sent + e->peer->sent;
        if (all >= c->stall_at)
            e->peer->flying += k;
        else
            send_parcel(e, DATA, p, k, false);
        if (all >= c->cut_at)
            cut(c);
        p += k;
        n -= k;
    }
}

static bool is_silent(const struct sim_end *e)
{
    return e->sent + e->peer->sent >= e->conn->stall_at;
}

static void end_fin(struct sim_end *e)
{
    if (e->shut)
        return;
    e->shut = true;
    if (!is_silent(e))
        send_parcel(e, FIN, NULL, 0, false);
}

static void flush_actor(struct sim_peer *p);

/* Bytes were taken at e: its peer may have room again. A kernel waits until a third is free. */
static void made_room(struct sim_end *e)
{
    struct sim_end *from = e->peer;
    if (from->state != END_OPEN || !from->no_space || room(from) < (e->conn->window + 2) / 3)
        return;
    from->no_space = false;
    if (from->actor)
        flush_actor(from->actor);
    else
        fd_edge(from->fd);
}

static void feed_actor(struct sim_end *e)
{
    struct sim_peer *p = e->actor;
    if (p->paused || !e->rx.n)
        return;
    struct bytes taken = e->rx;
    e->rx = (struct bytes){0};
    e->conn->refs++;
    made_room(e);
    if (p->on_bytes)
        p->on_bytes(p, taken.p, taken.n);
    sim_free(taken.p);
    conn_unref(e->conn);
}

static void tell_fin(struct sim_end *e)
{
    struct sim_peer *p = e->actor;
    if (p && p->end_ == e && e->fin && !e->rx.n && p->on_fin)
        p->on_fin(p);
}

static void arrived(struct sim_end *e)
{
    if (!e->actor) {
        fd_edge(e->fd);
        return;
    }
    feed_actor(e);
    tell_fin(e);
}

static void take_data(struct sim_end *e, const struct parcel *m)
{
    e->flying -= m->n;
    if (e->state == END_CLOSED) { /* nobody reads that: a reset comes back */
        if (e->peer->state != END_CLOSED && !e->peer->dead)
            send_parcel(e, RST, NULL, 0, true);
        return;
    }
    if (e->dead)
        return;
    bytes_add(&e->rx, m->p, m->n);
    arrived(e);
}

static void on_parcel(void *owner)
{
    struct parcel *m = owner;
    struct sim_end *e = m->to;
    struct conn *c = e->conn;
    if (m->kind == DATA)
        take_data(e, m);
    else if (m->kind == RST)
        end_lost(e, ECONNRESET);
    else if (e->state != END_CLOSED && !e->dead) {
        e->fin = true;
        arrived(e);
    }
    sim_free(m);
    conn_unref(c);
}

static void actor_leaves(struct sim_peer *p)
{
    sim_free(p->out_);
    p->out_ = NULL;
    p->out_n_ = p->out_cap_ = 0;
}

/* The connection is dead as seen from e. */
static void end_lost(struct sim_end *e, int os_errno)
{
    if (e->state == END_CLOSED || e->dead)
        return;
    e->dead = true;
    e->error = os_errno;
    if (!e->actor) {
        fd_edge(e->fd);
        return;
    }
    struct sim_peer *p = e->actor;
    e->state = END_CLOSED;
    p->end_ = NULL;
    actor_leaves(p);
    conn_unref(e->conn);
    if (p->on_reset)
        p->on_reset(p, os_errno);
}

static void end_close(struct sim_end *e)
{
    struct conn *c = e->conn;
    if (e->state == END_CLOSED)
        return;
    bool alive = (e->state == END_OPEN || e->state == END_CONNECTING) && !e->dead;
    if (alive && !is_silent(e)) {
        if (e->linger0 || e->rx.n || e->state == END_CONNECTING)
            send_parcel(e, RST, NULL, 0, false);
        else
            end_fin(e);
    }
    e->state = END_CLOSED;
    e->rx.n = 0;
    conn_unref(c);
}

/* --- actors --- */

static void flush_actor(struct sim_peer *p)
{
    struct sim_end *e = p->end_;
    if (!e || e->state != END_OPEN)
        return;
    size_t n = room(e) < p->out_n_ ? room(e) : p->out_n_;
    if (n) {
        transmit(e, p->out_, n);
        p->out_n_ -= n;
        memmove(p->out_, p->out_ + n, p->out_n_);
    }
    e->no_space = p->out_n_ > 0;
    if (!p->out_n_ && p->fin_after_out_)
        end_fin(e);
}

void sim_write(struct sim_peer *p, const void *bytes, size_t n)
{
    if (!p->end_)
        return;
    if (p->out_n_ + n > p->out_cap_) {
        p->out_cap_ = (p->out_n_ + n) * 2;
        p->out_ = sim_grow(p->out_, p->out_cap_);
    }
    memcpy(p->out_ + p->out_n_, bytes, n);
    p->out_n_ += n;
    flush_actor(p);
}

void sim_shutdown(struct sim_peer *p)
{
    p->fin_after_out_ = true;
    flush_actor(p);
}

/* What was written and not taken by the network is lost: real ones that care wait. */
void sim_close(struct sim_peer *p)
{
    struct sim_end *e = p->end_;
    actor_leaves(p);
    if (!e)
        return;
    p->end_ = NULL;
    end_close(e);
}

void sim_reset(struct sim_peer *p)
{
    if (p->end_)
        p->end_->linger0 = true;
    sim_close(p);
}

void sim_pause(struct sim_peer *p, bool paused)
{
    p->paused = paused;
    if (paused || !p->end_)
        return;
    struct sim_end *e = p->end_;
    e->conn->refs++;
    feed_actor(e);
    tell_fin(e);
    conn_unref(e->conn);
}

bool sim_is_open(const struct sim_peer *p)
{
    return p->end_ != NULL;
}

static void actor_join(struct sim_peer *p, struct sim_end *e, enum end_state state)
{
    p->end_ = e;
    p->fin_after_out_ = false;
    e->actor = p;
    e->state = state;
    e->conn->refs++;
}

struct opening {
    struct sim_end *end;
    int os_errno;
};

/* Three-way handshake over: both sides may send. */
static void on_opened(void *owner)
{
    struct opening *o = owner;
    struct sim_end *e = o->end;
    struct conn *c = e->conn;
    int os_errno = o->os_errno;
    sim_free(o);
    if (e->state == END_CONNECTING && os_errno) {
        e->state = END_FAILED;
        e->error = os_errno;
        fd_edge(e->fd);
    } else if (e->state == END_CONNECTING) {
        e->state = END_OPEN;
        if (e->actor) {
            if (e->actor->on_open)
                e->actor->on_open(e->actor);
        } else {
            fd_edge(e->fd);
        }
    }
    conn_unref(c);
}

static void open_later(struct sim_end *e, int os_errno)
{
    struct opening *o = sim_alloc(sizeof *o);
    *o = (struct opening){e, os_errno};
    e->conn->refs++;
    sim_after(latency(), on_opened, o);
}

static struct fd *find_listener(const struct address *to, uint16_t port)
{
    for (unsigned i = FIRST_FD; i < top; i++)
        if (fds[i].kind == FD_LISTENER && fds[i].port == port && address_eq(&fds[i].at, to))
            return &fds[i];
    return NULL;
}

bool sim_connect(struct sim_peer *p, const struct address *to, uint16_t port)
{
    struct fd *l = find_listener(to, port);
    if (!l || l->n_waiting == ARRAY_LEN(l->waiting))
        return false;
    struct conn *c = conn_new();
    uint8_t local[4] = {10, 200, 0, 1};
    struct address from = address_from_bytes(ADDRESS_V4, local);
    c->from = sockaddr_from_address(&from, next_port++ | 1);
    actor_join(p, &c->end[0], END_CONNECTING);
    c->end[1].state = END_OPEN;
    c->refs++;
    l->waiting[l->n_waiting++] = &c->end[1];
    open_later(&c->end[0], 0);
    sim_dirty = true;
    return true;
}

void sim_on_dial(sim_dial_fn *fn, void *owner)
{
    dial_fn = fn;
    dial_owner = owner;
}

/* --- sys/sock.h --- */

enum err sock_read(int fd, void *p, size_t cap, size_t *ret_n)
{
    struct sim_end *e = fd_get(fd, FD_SOCKET)->end;
    ASSERT(cap > 0);
    if (e->rx.n) {
        size_t n = e->rx.n < cap ? e->rx.n : cap;
        memcpy(p, e->rx.p, n);
        bytes_drop(&e->rx, n);
        made_room(e);
        *ret_n = n;
        return ERR_OK;
    }
    if (e->error) {
        e->error = 0;
        return ERR_RESET;
    }
    if (e->dead || e->fin || e->state == END_FAILED)
        return ERR_EOF;
    return ERR_AGAIN;
}

/* How many bytes may be sent now, or why none. */
static enum err may_send(struct sim_end *e, size_t want, size_t *ret_n)
{
    if (e->error) {
        e->error = 0;
        return ERR_RESET;
    }
    if (e->dead || e->shut || e->state == END_FAILED)
        return ERR_EOF;
    if (e->state == END_CONNECTING)
        return ERR_AGAIN;
    size_t n = room(e);
    if (n < want)
        e->no_space = true;
    if (!n)
        return ERR_AGAIN;
    *ret_n = n < want ? n : want;
    return ERR_OK;
}

enum err sock_writev(int fd, const struct iovec *iov, int n, size_t *ret_n)
{
    struct sim_end *e = fd_get(fd, FD_SOCKET)->end;
    size_t want = 0, left;
    for (int i = 0; i < n; i++)
        want += iov[i].iov_len;
    enum err err = may_send(e, want, &left);
    if (err)
        return err;
    *ret_n = left;
    for (int i = 0; i < n && left; i++) {
        size_t k = iov[i].iov_len < left ? iov[i].iov_len : left;
        transmit(e, iov[i].iov_base, k);
        left -= k;
    }
    return ERR_OK;
}

static enum err refuse_now(int os_errno, int *ret_errno)
{
    *ret_errno = os_errno;
    return ERR_SYSTEM;
}

enum err sock_connect(const struct sock_addr *to, int *ret_fd, int *ret_errno)
{
    struct address a;
    uint16_t port;
    struct sim_peer *server = NULL;
    if (!sockaddr_to_address(to, &a, &port))
        return refuse_now(EAFNOSUPPORT, ret_errno);
    enum sim_reach reach = dial_fn ? dial_fn(dial_owner, &a, port, &server) : SIM_REFUSES;
    if (reach == SIM_UNREACHABLE)
        return refuse_now(ENETUNREACH, ret_errno);
    int fd = fd_new(FD_SOCKET);
    if (fd < 0) {
        if (server && server->on_reset)
            server->on_reset(server, ECONNABORTED);
        return refuse_now(EMFILE, ret_errno);
    }
    struct conn *c = conn_new();
    c->refs++;
    c->end[0].fd = fd;
    c->end[0].state = END_CONNECTING;
    c->end[1].state = END_CLOSED;
    fds[fd].end = &c->end[0];
    if (reach == SIM_ANSWERS)
        actor_join(server, &c->end[1], END_OPEN);
    if (reach != SIM_HOLE)
        open_later(&c->end[0], reach == SIM_REFUSES ? ECONNREFUSED : 0);
    *ret_fd = fd;
    return ERR_OK;
}

int sock_error(int fd)
{
    struct sim_end *e = fd_get(fd, FD_SOCKET)->end;
    int os_errno = e->error;
    e->error = 0;
    return os_errno;
}

enum err sock_accept(int fd, struct sock_addr *ret_peer, int *ret_fd, int *ret_errno)
{
    struct fd *l = fd_get(fd, FD_LISTENER);
    if (!l->n_waiting)
        return ERR_AGAIN;
    if (sim_chance(sim_faults.accept_error))
        return refuse_now(EMFILE, ret_errno);
    int got = fd_new(FD_SOCKET);
    if (got < 0)
        return refuse_now(EMFILE, ret_errno);
    struct sim_end *e = l->waiting[0];
    memmove(l->waiting, l->waiting + 1, --l->n_waiting * sizeof l->waiting[0]);
    fds[got].end = e;
    e->fd = got;
    *ret_peer = e->conn->from;
    *ret_fd = got;
    return ERR_OK;
}

enum err sock_listen(const struct sock_addr *at, const struct sock_listen_options *o, int *ret_fd,
                     int *ret_errno)
{
    struct address a;
    uint16_t port;
    (void)o;
    if (!sockaddr_to_address(at, &a, &port))
        return refuse_now(EAFNOSUPPORT, ret_errno);
    int fd = fd_new(FD_LISTENER);
    if (fd < 0)
        return refuse_now(EMFILE, ret_errno);
    fds[fd].at = a;
    fds[fd].port = port;
    *ret_fd = fd;
    return ERR_OK;
}

enum err sock_listen_unix(const char *path, unsigned mode, int uid, int gid, int *ret_fd,
                          int *ret_errno)
{
    (void)path, (void)mode, (void)uid, (void)gid, (void)ret_fd;
    return refuse_now(EOPNOTSUPP, ret_errno);
}

bool sock_is_local(const struct sock_addr *a)
{
    (void)a; /* the simulated machine has the addresses it listens on, no more */
    return false;
}

enum err sock_local(int fd, struct sock_addr *ret_addr)
{
    const struct fd *l = fd_get(fd, FD_LISTENER);
    *ret_addr = sockaddr_from_address(&l->at, l->port);
    return ERR_OK;
}

enum err sock_peer_uid(int fd, uint32_t *ret_uid)
{
    (void)fd, (void)ret_uid;
    return ERR_UNSUPPORTED;
}

void sock_shutdown_write(int fd)
{
    struct sim_end *e = fd_get(fd, FD_SOCKET)->end;
    if (e->state == END_OPEN && !e->dead)
        end_fin(e);
}

void sock_reset(int fd)
{
    fd_get(fd, FD_SOCKET)->end->linger0 = true;
}

static void close_listener(struct fd *f)
{
    for (unsigned i = 0; i < f->n_waiting; i++) {
        f->waiting[i]->linger0 = true;
        end_close(f->waiting[i]);
    }
}

static void close_pipe(struct pipe *p)
{
    if (--p->refs)
        return;
    sim_free(p->bytes.p);
    sim_free(p);
}

void sock_close(int fd)
{
    ASSERT(fd >= FIRST_FD && fd < MAX_FDS && fds[fd].kind != FD_FREE && !fds[fd].watch);
    struct fd *f = &fds[fd];
    if (f->kind == FD_SOCKET) {
        f->end->fd = -1;
        end_close(f->end);
    } else if (f->kind == FD_LISTENER) {
        close_listener(f);
    } else {
        close_pipe(f->pipe);
    }
    memset(f, 0, sizeof *f);
}

void sock_keepalive(int fd)
{
    (void)fd_get(fd, FD_SOCKET);
}

/* --- pipes --- */

enum err pipe_new(int ret_fds[2])
{
    int r = fd_new(FD_PIPE_R), w = r < 0 ? -1 : fd_new(FD_PIPE_W);
    if (w < 0) {
        if (r >= 0)
            memset(&fds[r], 0, sizeof fds[r]);
        return ERR_SYSTEM;
    }
    struct pipe *p = sim_alloc(sizeof *p);
    p->refs = 2;
    fds[r].pipe = fds[w].pipe = p;
    ret_fds[0] = r;
    ret_fds[1] = w;
    return ERR_OK;
}

enum err splice_in(int sock, int pipe_w, size_t max, size_t *ret_n)
{
    struct pipe *p = fd_get(pipe_w, FD_PIPE_W)->pipe;
    char piece_of[4096];
    size_t space = PIPE_BYTES - p->bytes.n, want = max < space ? max : space, n;
    if (!want)
        return ERR_AGAIN;
    enum err e = sock_read(sock, piece_of, want < sizeof piece_of ? want : sizeof piece_of, &n);
    if (e)
        return e;
    bytes_add(&p->bytes, piece_of, n);
    *ret_n = n;
    return ERR_OK;
}

enum err splice_out(int pipe_r, int sock, size_t max, size_t *ret_n)
{
    struct pipe *p = fd_get(pipe_r, FD_PIPE_R)->pipe;
    size_t n = max < p->bytes.n ? max : p->bytes.n;
    if (!n)
        return ERR_AGAIN;
    struct iovec iov = {p->bytes.p, n};
    enum err e = sock_writev(sock, &iov, 1, &n);
    if (e)
        return e;
    bytes_drop(&p->bytes, n);
    *ret_n = n;
    return ERR_OK;
}

/* --- the end --- */

void sim_net_end(void)
{
    dial_fn = NULL;
    next_port = 20000;
    top = FIRST_FD;
    n_conns = 0;
    memset(fds, 0, sizeof fds);
}
