#include "sys/sock.h"
#include "sys/sys_int.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { KEEPALIVE_IDLE_S = 60, KEEPALIVE_INTERVAL_S = 15, KEEPALIVE_PROBES = 4 };

static enum err err_from(int os_errno)
{
    switch (os_errno) {
    case EAGAIN:
#if EWOULDBLOCK != EAGAIN
    case EWOULDBLOCK:
#endif
        return ERR_AGAIN;
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED:
    case ENOTCONN:
    case ETIMEDOUT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ECONNREFUSED:
        return ERR_RESET;
    case EADDRINUSE:
        return ERR_IN_USE;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NOMEM;
    default:
        return ERR_SYSTEM;
    }
}

static enum err fail(int fd, enum err e, int *ret_errno)
{
    int os_errno = errno;
    if (fd >= 0)
        (void)close(fd);
    *ret_errno = os_errno;
    return e;
}

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

enum err sock_read(int fd, void *p, size_t cap, size_t *ret_n)
{
    for (;;) {
        ssize_t n = recv(fd, p, cap, 0);
        if (n > 0) {
            *ret_n = (size_t)n;
            return ERR_OK;
        }
        if (n == 0)
            return ERR_EOF;
        if (errno != EINTR)
            return err_from(errno);
    }
}

enum err sock_writev(int fd, const struct iovec *iov, int n, size_t *ret_n)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
    for (;;) {
        ssize_t sent = n == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                              : sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (sent >= 0) {
            *ret_n = (size_t)sent;
            return ERR_OK;
        }
        if (errno == EPIPE)
            return ERR_EOF;
        if (errno != EINTR)
            return err_from(errno);
    }
}

static void set_keepalive(int fd)
{
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
#endif
}

/* All three matter only after KEEPALIVE_IDLE_S of silence; they are inherited, so they cost
 * nothing. */
static void set_keepalive_pace(int fd)
{
#ifdef TCP_KEEPINTVL
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
#endif
}

static bool is_tcp(const struct sockaddr *sa)
{
    return sa->sa_family == AF_INET || sa->sa_family == AF_INET6;
}

enum err sock_connect(const struct sock_addr *to, int *ret_fd, int *ret_errno)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(fd, ERR_SYSTEM, ret_errno);
    if (is_tcp(&to->sa))
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    /* After EINTR the connection goes on being made. */
    if (connect(fd, &to->sa, to->len) < 0 && errno != EINPROGRESS && errno != EINTR)
        return fail(fd, ERR_SYSTEM, ret_errno);
    *ret_fd = fd;
    return ERR_OK;
}

int sock_error(int fd)
{
    int value = 0;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) < 0 ? errno : value;
}

/* --- accepting --- */

/* Whether accepted sockets have the options of their listener: so on Linux, and asked once, because
 * other kernels with its interface need not follow. */
enum { INHERIT_UNKNOWN, INHERIT_YES, INHERIT_NO };
static atomic_int inherit;

static int probe_inherit(int fd)
{
    int nodelay = 0, keepalive = 0;
    socklen_t len = sizeof(int);
    (void)getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len);
    len = sizeof(int);
    (void)getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, &len);
    int state = nodelay && keepalive ? INHERIT_YES : INHERIT_NO;
    atomic_store_explicit(&inherit, state, memory_order_relaxed);
    return state;
}

static void prepare_accepted(int fd)
{
    int state = atomic_load_explicit(&inherit, memory_order_relaxed);
    if (state == INHERIT_UNKNOWN)
        state = probe_inherit(fd);
    if (state == INHERIT_NO)
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void sock_keepalive(int fd)
{
    set_keepalive(fd);
    set_keepalive_pace(fd);
}

/* Errors of one connection that died while it waited, not of the listener. */
static bool is_passing(int os_errno)
{
    switch (os_errno) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

enum err sock_accept(int fd, struct sock_addr *ret_peer, int *ret_fd, int *ret_errno)
{
    int got;
    do {
        ret_peer->len = sizeof(ret_peer->storage);
        got = accept4(fd, &ret_peer->sa, &ret_peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (got < 0 && is_passing(errno));
    if (got < 0)
        return fail(-1, errno == EAGAIN ? ERR_AGAIN : ERR_SYSTEM, ret_errno);
    if (is_tcp(&ret_peer->sa))
        prepare_accepted(got);
    *ret_fd = got;
    return ERR_OK;
}

void sock_prepare_listener(int fd)
{
    struct sock_addr at;
    if (sock_local(fd, &at) || !is_tcp(&at.sa))
        return;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_keepalive(fd);
    set_keepalive_pace(fd);
}

enum err sock_listen(const struct sock_addr *at, const struct sock_listen_options *o, int *ret_fd,
                     int *ret_errno)
{
    int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(fd, ERR_SYSTEM, ret_errno);
    int one = 1;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (o->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
        return fail(fd, ERR_SYSTEM, ret_errno);
    sock_prepare_listener(fd);
    if (bind(fd, &at->sa, at->len) < 0 || listen(fd, o->backlog) < 0)
        return fail(fd, errno == EADDRINUSE ? ERR_IN_USE : ERR_SYSTEM, ret_errno);
    *ret_fd = fd;
    return ERR_OK;
}

enum err sock_local(int fd, struct sock_addr *ret_addr)
{
    struct sock_addr a = {.len = sizeof(a.storage)};
    if (getsockname(fd, &a.sa, &a.len) < 0)
        return ERR_SYSTEM;
    *ret_addr = a;
    return ERR_OK;
}

/* Only an address of this machine can be bound. */
bool sock_is_local(const struct sock_addr *a)
{
    struct sock_addr at = *a;
    if (at.sa.sa_family == AF_INET)
        ((struct sockaddr_in *)(void *)&at.storage)->sin_port = 0;
    else if (at.sa.sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&at.storage)->sin6_port = 0;
    else
        return false;
    int fd = socket(at.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool ours = bind(fd, &at.sa, at.len) == 0;
    (void)close(fd);
    return ours;
}

enum err sock_peer_uid(int fd, uint32_t *ret_uid)
{
#ifdef SO_PEERCRED
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.uid == (uid_t)-1)
        return ERR_SYSTEM;
    *ret_uid = cred.uid;
#else
    uid_t uid;
    gid_t gid;
    if (getpeereid(fd, &uid, &gid) < 0)
        return ERR_SYSTEM;
    *ret_uid = uid;
#endif
    return ERR_OK;
}

void sock_shutdown_write(int fd)
{
    (void)shutdown(fd, SHUT_WR);
}

void sock_reset(int fd)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

void sock_close(int fd)
{
    if (fd >= 0)
        (void)close(fd); /* after EINTR the descriptor is gone on Linux: never again */
}
