#include "audit/audit_int.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A terminal says "writable" while it has room for little; a pipe has room for PIPE_BUF then. */
enum { PIECE_FILE = 1 << 20, PIECE_TERMINAL = 256 };

static int open_path(const char *path)
{
    /* O_NONBLOCK: a FIFO without a reader is an error now, instead of a start that hangs. */
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
}

static void learn_kind(struct outlet *o)
{
    struct stat st;
    bool known = fstat(o->fd, &st) == 0;
    if (known && S_ISREG(st.st_mode))
        o->piece_max = PIECE_FILE;
    else if (known && S_ISCHR(st.st_mode) && !o->nonblocking)
        o->piece_max = PIECE_TERMINAL;
    else
        o->piece_max = PIPE_BUF;
    if (o->piece_max == PIECE_FILE)
        o->nonblocking = true; /* poll says nothing about files */
}

/* A descriptor that others share must not become non-blocking. A pipe or terminal can be opened a
 * second time, which gives a file description of our own; where that is not possible: a duplicate,
 * and poll before each write. */
static int open_again(int fd, bool *ret_own)
{
    *ret_own = false;
#ifdef __linux__
    struct stat st;
    if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || isatty(fd))) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int own = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (own >= 0) {
            *ret_own = true;
            return own;
        }
    }
#endif
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static bool open_for_writing(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

static enum err open_fd(struct outlet *o, int fd, struct errctx *ctx)
{
    if (!open_for_writing(fd))
        return err_set(ctx, ERR_INVALID, "audit sink %s: the descriptor is not open for writing",
                       o->name);
    o->fd = open_again(fd, &o->nonblocking);
    if (o->fd < 0) {
        ctx->os_errno = errno;
        return err_set(ctx, ERR_INVALID, "audit sink %s: %s", o->name, err_errno_text(errno));
    }
    if (fd > STDERR_FILENO) /* handed in for us, not for helper programs */
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    learn_kind(o);
    return ERR_OK;
}

static enum err open_named(struct outlet *o, struct errctx *ctx)
{
    struct str text = str_from(o->name);
    uint64_t number;
    if (str_eq(text, STR("-")))
        return open_fd(o, STDOUT_FILENO, ctx);
    if (str_starts(text, STR("fd:"))) {
        if (!str_u64(str_of(text.p + 3, text.n - 3), INT_MAX, &number))
            return err_set(ctx, ERR_INVALID, "audit sink %s: not a descriptor number", o->name);
        return open_fd(o, (int)number, ctx);
    }
    o->is_path = o->nonblocking = true;
    o->fd = open_path(o->name);
    if (o->fd < 0) {
        int code = errno;
        ctx->os_errno = code;
        return err_set(ctx, ERR_INVALID, "cannot open %s: %s", o->name, err_errno_text(code));
    }
    learn_kind(o);
    return ERR_OK;
}

enum err outlet_open(struct outlet *o, struct str text, struct errctx *ctx)
{
    if (!text.n || str_find(text, '\0') < text.n)
        return err_set(ctx, ERR_INVALID, "an audit sink needs a path, \"-\" or fd:N");
    *o = (struct outlet){.fd = -1, .name = mem_dup(text.p, text.n)};
    if (!o->name)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    enum err e = open_named(o, ctx);
    if (e != ERR_OK)
        outlet_close(o);
    return e;
}

enum err outlet_open_stderr(struct outlet *o)
{
    *o = (struct outlet){.fd = -1, .name = mem_dup("stderr", 6)};
    if (!o->name)
        return ERR_NOMEM;
    if (open_for_writing(STDERR_FILENO))
        o->fd = open_again(STDERR_FILENO, &o->nonblocking);
    if (o->fd >= 0)
        learn_kind(o);
    return ERR_OK;
}

int outlet_reopen(struct outlet *o)
{
    if (!o->is_path)
        return 0;
    int fd = open_path(o->name);
    if (fd < 0)
        return errno;
    close(o->fd);
    o->fd = fd;
    learn_kind(o);
    return 0;
}

void outlet_close(struct outlet *o)
{
    if (o->fd >= 0)
        close(o->fd);
    mem_free(o->name);
    *o = (struct outlet){.fd = -1};
}

/* How much of p one write gets: whole lines if any fits, so that they stay whole among other
 * writers of the same pipe. */
static size_t piece_of(const struct outlet *o, const char *p, size_t n)
{
    if (n <= o->piece_max)
        return n;
    size_t line_end = str_rfind(str_of(p, o->piece_max), '\n');
    return line_end < o->piece_max ? line_end + 1 : o->piece_max;
}

static bool is_writable(const struct outlet *o)
{
    struct pollfd pfd = {.fd = o->fd, .events = POLLOUT};
    return o->nonblocking ||
           poll(&pfd, 1, 0) > 0; /* an error state counts: the write tells which */
}

enum outlet_state outlet_write(struct outlet *o, const char *p, size_t n, size_t *ret_n,
                               int *ret_errno)
{
    *ret_n = 0;
    while (*ret_n < n) {
        if (o->fd >= 0 && !is_writable(o))
            return OUTLET_BUSY;
        ssize_t wrote = write(o->fd, p + *ret_n, piece_of(o, p + *ret_n, n - *ret_n));
        if (wrote > 0) {
            *ret_n += (size_t)wrote;
            continue;
        }
        int code = wrote < 0 ? errno : EIO;
        if (code == EINTR)
            continue;
        if (code == EAGAIN || code == EWOULDBLOCK)
            return OUTLET_BUSY;
        *ret_errno = code;
        return OUTLET_BROKEN;
    }
    return OUTLET_WROTE;
}
