/* The ceiling: what a relay costs that has no policy, no log, no timers and no resolver.
 * Edge-triggered, one thread. relay --listen A:P [--origin A:P] CONNECT becomes a tunnel (read and
 * write first, splice after 128 KiB); a GET in absolute form goes over a pooled connection. A
 * target that is no address is taken to be --origin. It believes its peers: heads come whole,
 * bodies have a Content-Length. */
#include "common.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SMALL = 16 * 1024,
    SPLICE_AFTER = 128 * 1024,
    PIPE_BYTES = 1 << 20,
    TURN_BYTES = 256 * 1024
};

enum kind { KIND_LISTENER, KIND_CLIENT, KIND_CONNECTING, KIND_TUNNEL, KIND_UPSTREAM, KIND_DEAD };

struct pipe_pair {
    int r, w;
    struct pipe_pair *next;
};

/* One descriptor. In a tunnel it also carries the bytes that were read from it and wait for the
 * other one. */
struct end {
    int fd;
    uint8_t kind; /* enum kind */
    bool readable, writable, fin, ended;
    struct end *other;
    struct end *next;     /* dead, idle */
    struct end *starving; /* next of `hungry` */
    bool is_hungry;
    uint64_t moved;
    struct pipe_pair *pipe;
    char *rest; /* what a socket did not take, or a request whose connection is on its way */
    size_t rest_n, in_pipe;
    size_t owed; /* upstream: bytes of the answer still to come */
};

static int epoll;
static struct sockaddr_in origin;
static struct end *dead, *idle, *spare, *hungry;
static struct pipe_pair *pipes;
static char scratch[SMALL];

static struct end *end_new(int fd, enum kind kind)
{
    struct end *e = spare ? spare : malloc(sizeof(*e));
    if (!e)
        die("malloc");
    if (e == spare)
        spare = e->next;
    *e = (struct end){.fd = fd, .kind = (uint8_t)kind};
    epoll_watch(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, e);
    return e;
}

static void pipe_give(struct end *e)
{
    e->pipe->next = pipes;
    pipes = e->pipe;
    e->pipe = NULL;
}

static void end_close(struct end *e)
{
    if (!e || e->kind == KIND_DEAD)
        return;
    close(e->fd);
    if (e->pipe) {
        close(e->pipe->r);
        close(e->pipe->w);
        free(e->pipe);
    }
    free(e->rest);
    e->kind = KIND_DEAD; /* events of this batch may still name it */
    e->next = dead;
    dead = e;
}

static void link_close(struct end *e)
{
    end_close(e->other);
    end_close(e);
}

static void bury(void)
{
    while (dead) {
        struct end *e = dead;
        dead = e->next;
        e->next = spare;
        spare = e;
    }
}

static void keep_rest(struct end *e, const char *p, size_t n)
{
    e->rest = malloc(n);
    if (!e->rest)
        die("malloc");
    memcpy(e->rest, p, n);
    e->rest_n = n;
}

/* How much was taken; SIZE_MAX when the peer is gone. */
static size_t put(struct end *to, const char *p, size_t n)
{
    ssize_t did = send(to->fd, p, n, MSG_NOSIGNAL);
    if (did < 0 && errno != EAGAIN)
        return SIZE_MAX;
    size_t took = did < 0 ? 0 : (size_t)did;
    if (took < n)
        to->writable = false;
    return took;
}

/* One read. False when there is none, or the end came. */
static bool get(struct end *e, ssize_t *ret_n)
{
    *ret_n = recv(e->fd, scratch, sizeof(scratch), 0);
    if (*ret_n < (ssize_t)sizeof(scratch) && !(*ret_n > 0 && e->fin))
        e->readable = false;
    return *ret_n > 0;
}

static bool flush_rest(struct end *from, struct end *to)
{
    size_t took = put(to, from->rest, from->rest_n);
    if (took == SIZE_MAX)
        return false;
    from->rest_n -= took;
    memmove(from->rest, from->rest + took, from->rest_n);
    if (from->rest_n == 0) {
        free(from->rest);
        from->rest = NULL;
    }
    return true;
}

/* These two: 1 go on, 0 the source is at its end, -1 broken. */
static int copy_some(struct end *from, struct end *to)
{
    ssize_t n;
    if (!get(from, &n))
        return n == 0 ? 0 : errno == EAGAIN ? 1 : -1;
    size_t took = put(to, scratch, (size_t)n);
    if (took == SIZE_MAX)
        return -1;
    if (took < (size_t)n)
        keep_rest(from, scratch + took, (size_t)n - took);
    from->moved += (size_t)n;
    return 1;
}

static bool pipe_take(struct end *e)
{
    int fds[2];
    e->pipe = pipes;
    if (pipes) {
        pipes = pipes->next;
        return true;
    }
    e->pipe = malloc(sizeof(*e->pipe));
    if (!e->pipe || pipe2(fds, O_NONBLOCK | O_CLOEXEC))
        return false;
    (void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
    *e->pipe = (struct pipe_pair){fds[0], fds[1], NULL};
    return true;
}

static int splice_some(struct end *from, struct end *to)
{
    if (!from->pipe && !pipe_take(from))
        return -1;
    if (from->in_pipe == 0) {
        ssize_t n = splice(from->fd, NULL, from->pipe->w, NULL, PIPE_BYTES,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n <= 0) {
            pipe_give(from);
            from->readable = false;
            return n == 0 ? 0 : errno == EAGAIN ? 1 : -1;
        }
        from->in_pipe = (size_t)n;
        from->moved += (size_t)n;
    }
    ssize_t n =
        splice(from->pipe->r, NULL, to->fd, NULL, from->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n <= 0) {
        to->writable = false;
        return errno == EAGAIN ? 1 : -1;
    }
    from->in_pipe -= (size_t)n;
    if (from->in_pipe == 0)
        pipe_give(from);
    return 1;
}

/* Move what can be moved from one side to the other. False when the tunnel is broken. */
static bool way_run(struct end *from, struct end *to)
{
    uint64_t stop = from->moved + TURN_BYTES;
    while (to->writable && !from->ended && (from->readable || from->rest_n || from->in_pipe)) {
        int is = 1;
        if (from->rest_n)
            is = flush_rest(from, to) ? 1 : -1;
        else if (from->moved < SPLICE_AFTER)
            is = copy_some(from, to);
        else
            is = splice_some(from, to);
        if (is < 0)
            return false;
        if (is == 0) {
            from->ended = true;
            if (!to->ended)
                shutdown(to->fd, SHUT_WR);
        }
        if (from->moved >= stop) {
            if (!from->is_hungry) {
                from->is_hungry = true;
                from->starving = hungry;
                hungry = from;
            }
            break;
        }
    }
    return true;
}

static void tunnel_run(struct end *e)
{
    if (!way_run(e, e->other) || !way_run(e->other, e) || (e->ended && e->other->ended))
        link_close(e);
}

/* `host:port` of a head's target, or the origin when the host is a name. */
static struct sockaddr_in target_of(const char *p)
{
    struct sockaddr_in a = origin;
    char host[INET_ADDRSTRLEN];
    size_t n = strcspn(p, ":/ ");
    if (n >= sizeof(host) || !isdigit((unsigned char)*p))
        return a;
    memcpy(host, p, n);
    host[n] = 0;
    if (inet_pton(AF_INET, host, &a.sin_addr) == 1)
        a.sin_port = htons(p[n] == ':' ? (uint16_t)strtoul(p + n + 1, NULL, 10) : 80);
    return a;
}

static struct end *dial(const struct sockaddr_in *to, enum kind kind)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    no_delay(fd);
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) && errno != EINPROGRESS) {
        close(fd);
        return NULL;
    }
    return end_new(fd, kind);
}

static void open_tunnel(struct end *client, const char *authority)
{
    struct sockaddr_in to = target_of(authority);
    struct end *up = dial(&to, KIND_CONNECTING);
    if (!up) {
        end_close(client);
        return;
    }
    client->other = up;
    up->other = client;
}

static void tunnel_opened(struct end *up)
{
    static const char ok[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    struct end *client = up->other;
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(up->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error || put(client, ok, sizeof(ok) - 1) != sizeof(ok) - 1) {
        link_close(up);
        return;
    }
    up->kind = client->kind = KIND_TUNNEL;
    tunnel_run(up);
}

/* The head in scratch with the target in origin form, for the client's upstream connection. */
static void forward(struct end *client, size_t n)
{
    char out[SMALL];
    char *url = memmem(scratch, n, "http://", 7);
    char *path = url ? memchr(url + 7, '/', n - (size_t)(url + 7 - scratch)) : NULL;
    if (!path) {
        end_close(client);
        return;
    }
    size_t method = (size_t)(url - scratch), tail = n - (size_t)(path - scratch);
    memcpy(out, scratch, method);
    memcpy(out + method, path, tail);
    struct end *up = idle;
    if (up) {
        idle = up->next;
    } else {
        struct sockaddr_in to = target_of(url + 7);
        up = dial(&to, KIND_UPSTREAM);
    }
    if (!up) {
        end_close(client);
        return;
    }
    up->next = NULL;
    up->other = client;
    client->other = up;
    if (!up->writable)
        keep_rest(up, out, method + tail);
    else if (put(up, out, method + tail) != method + tail)
        link_close(client);
}

static void on_client(struct end *client)
{
    ssize_t n;
    if (client->other || !client->readable)
        return;
    if (!get(client, &n)) {
        if (n == 0 || errno != EAGAIN)
            end_close(client);
    } else if (!after_head(scratch, (size_t)n)) {
        end_close(client);
    } else if (!memcmp(scratch, "CONNECT ", 8)) {
        open_tunnel(client, scratch + 8);
    } else {
        forward(client, (size_t)n);
    }
}

static void idle_remove(struct end *up)
{
    for (struct end **at = &idle; *at; at = &(*at)->next) {
        if (*at == up) {
            *at = up->next;
            return;
        }
    }
}

static void on_upstream(struct end *up)
{
    ssize_t n;
    if (up->rest_n && up->writable && put(up, up->rest, up->rest_n) == up->rest_n) {
        free(up->rest);
        up->rest = NULL;
        up->rest_n = 0;
    }
    if (!up->readable)
        return;
    struct end *client = up->other;
    if (!get(up, &n)) {
        if (n < 0 && errno == EAGAIN)
            return;
        if (!client)
            idle_remove(up);
        link_close(up);
        return;
    }
    if (up->owed == 0) {
        const char *body = after_head(scratch, (size_t)n);
        up->owed = body ? (size_t)(body - scratch) + content_length(scratch, body) : SIZE_MAX;
    }
    if (!client || up->owed < (size_t)n || put(client, scratch, (size_t)n) != (size_t)n) {
        link_close(up);
        return;
    }
    up->owed -= (size_t)n;
    if (up->owed == 0) {
        client->other = up->other = NULL;
        up->next = idle;
        idle = up;
    }
}

static void on_listener(struct end *listener)
{
    for (int fd; (fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
        end_new(fd, KIND_CLIENT);
}

static void on_end(struct end *e, uint32_t events)
{
    e->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    e->fin |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    e->writable |= (events & EPOLLOUT) != 0;
    if (e->kind == KIND_LISTENER)
        on_listener(e);
    else if (e->kind == KIND_CLIENT)
        on_client(e);
    else if (e->kind == KIND_CONNECTING && (events & (EPOLLOUT | EPOLLERR)))
        tunnel_opened(e);
    else if (e->kind == KIND_TUNNEL)
        tunnel_run(e);
    else if (e->kind == KIND_UPSTREAM)
        on_upstream(e);
}

/* Tunnels that stopped for fairness, not because a side had no more. */
static void feed_hungry(void)
{
    struct end *e = hungry;
    hungry = NULL;
    while (e) {
        struct end *next = e->starving;
        e->is_hungry = false;
        if (e->kind == KIND_TUNNEL)
            tunnel_run(e);
        e = next;
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN); /* splice has no MSG_NOSIGNAL */
    struct sockaddr_in at = address_of(arg_text(argv, "--listen", "127.0.0.1:3128"));
    origin = address_of(arg_text(argv, "--origin", "127.0.0.1:80"));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    end_new(listen_on(&at), KIND_LISTENER);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, hungry ? 0 : -1);
        for (int i = 0; i < n; i++)
            on_end(events[i].data.ptr, events[i].events);
        feed_hungry();
        bury();
    }
}
