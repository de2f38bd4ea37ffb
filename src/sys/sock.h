/* Calls on sockets, one to one. Every descriptor is non-blocking and close-on-exec. Simulations link their own, with descriptors of
 * an in-memory network. ERR_AGAIN is EAGAIN; ERR_EOF is a read of 0; ERR_RESET is ECONNRESET, EPIPE, ECONNABORTED and the like;
 * ERR_SYSTEM is the rest, with errno in *ret_errno where there is one. EINTR is retried inside. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* A socket address of any family. */
struct sock_addr {
    socklen_t len;
    union {
        struct sockaddr sa;
        struct sockaddr_storage storage;
    };
};

enum err sock_read(int fd, void *p, size_t cap, size_t *ret_n) MUST_CHECK;
/* Never raises SIGPIPE. ERR_EOF is EPIPE: no more can be sent, but what the peer sent before is whole; ERR_RESET: it may be cut. */
enum err sock_writev(int fd, const struct iovec *iov, int n, size_t *ret_n) MUST_CHECK;
/* Start a connection from a new socket with TCP_NODELAY and keep-alive. ERR_OK: connected or in progress (wait for WRITABLE, then
 * ask sock_error). */
enum err sock_connect(const struct sock_addr *to, int *ret_fd, int *ret_errno) MUST_CHECK;
/* The pending error of a socket (SO_ERROR): 0, or errno. */
int sock_error(int fd);
/* Accept one: TCP_NODELAY set, peer address filled. ERR_AGAIN; ERR_SYSTEM with errno (EMFILE and the like). fd comes from sock_listen,
 * sock_listen_unix or notify_listen_fds: accepted sockets inherit their options, which saves calls. */
enum err sock_accept(int fd, struct sock_addr *ret_peer, int *ret_fd, int *ret_errno) MUST_CHECK;
struct sock_listen_options {
    bool reuse_port; /* several sockets on one address, one per worker */
    int backlog;
};
/* Bind and listen on TCP. ERR_IN_USE, ERR_SYSTEM with errno. Port 0 picks one: read it back with sock_local. */
enum err sock_listen(const struct sock_addr *at, const struct sock_listen_options *o, int *ret_fd, int *ret_errno) MUST_CHECK;
/* The same for a unix socket path: a stale socket file is replaced, a live one is ERR_IN_USE. uid/gid -1: unchanged. */
enum err sock_listen_unix(const char *path, unsigned mode, int uid, int gid, int *ret_fd, int *ret_errno) MUST_CHECK;
enum err sock_local(int fd, struct sock_addr *ret_addr) MUST_CHECK;
bool sock_is_local(const struct sock_addr *a); /* whether an address is one of this machine's; the port does not matter */
enum err sock_peer_uid(int fd, uint32_t *ret_uid) MUST_CHECK; /* unix sockets */
void sock_shutdown_write(int fd);
void sock_reset(int fd); /* SO_LINGER 0, so that closing sends a reset */
void sock_close(int fd);
/* Have the kernel ask a silent peer whether it is still there. Accepted sockets inherit it on Linux; of those that we connect, whoever
 * keeps one asks for it: four system calls that most tunnels, which are short, do without. */
void sock_keepalive(int fd);

/* Pipes for splice. */
enum err pipe_new(int ret_fds[2]) MUST_CHECK; /* [0] read, [1] write; 1 MiB where the kernel allows */
enum err splice_in(int sock, int pipe_w, size_t max, size_t *ret_n) MUST_CHECK;  /* ERR_EOF at the peer's end */
enum err splice_out(int pipe_r, int sock, size_t max, size_t *ret_n) MUST_CHECK;
