/* Pipes and splice: Linux only. */
#include "sys/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIPE_BYTES = 1 << 20, PIPE_BYTES_LEAST = 1 << 16 };

enum err pipe_new(int ret_fds[2])
{
    int fds[2];
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return ERR_SYSTEM;
    /* A user has 16384 pages in pipes; above that a new pipe has two, slower than read and write.
     */
    if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) < 0 &&
        fcntl(fds[1], F_GETPIPE_SZ) < PIPE_BYTES_LEAST) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return ERR_NOMEM;
    }
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return ERR_OK;
}

static enum err splice_between(int from, int to, size_t max, size_t *ret_n)
{
    for (;;) {
        ssize_t n = splice(from, NULL, to, NULL, max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n > 0) {
            *ret_n = (size_t)n;
            return ERR_OK;
        }
        if (n == 0)
            return ERR_EOF;
        switch (errno) {
        case EINTR:
            continue;
        case EAGAIN:
            return ERR_AGAIN;
        case EINVAL:
        case ENOSYS:
        case EOPNOTSUPP:
            return ERR_UNSUPPORTED;
        case ENOMEM:
        case ENOBUFS:
            return ERR_NOMEM;
        case EBADF:
            return ERR_SYSTEM;
        default:
            return ERR_RESET;
        }
    }
}

enum err splice_in(int sock, int pipe_w, size_t max, size_t *ret_n)
{
    return splice_between(sock, pipe_w, max, ret_n);
}

enum err splice_out(int pipe_r, int sock, size_t max, size_t *ret_n)
{
    return splice_between(pipe_r, sock, max, ret_n);
}
