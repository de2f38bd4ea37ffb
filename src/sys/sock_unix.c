/* Listening on a unix socket path. */
#include "sys/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Two gateways that start at once must not both find the same file stale: the second would remove
 * the first one's fresh socket. They hold a lock on its directory meanwhile. Best effort: who may
 * write in a directory need not be able to read it, and a lock of somebody else's must not stop us.
 */
static int lock_directory(const char *path)
{
    char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) {
        size_t n = slash > path ? (size_t)(slash - path) : 1;
        memcpy(dir, path, n);
        dir[n] = '\0';
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int tries = 0; fd >= 0 && tries < 100 && flock(fd, LOCK_EX | LOCK_NB) < 0; tries++)
        (void)usleep(10000);
    return fd;
}

static bool is_stale(const struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

/* Make room at the path; sets errno. */
static enum err clear_path(const struct sockaddr_un *at)
{
    struct stat st;
    if (lstat(at->sun_path, &st) < 0)
        return errno == ENOENT ? ERR_OK : ERR_SYSTEM;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return ERR_SYSTEM;
    }
    if (!is_stale(at)) {
        errno = EADDRINUSE;
        return ERR_IN_USE;
    }
    return unlink(at->sun_path) < 0 && errno != ENOENT ? ERR_SYSTEM : ERR_OK;
}

/* Owner first, then mode; through a descriptor, so that it is our file and no link that replaced
 * it. */
static bool set_access(const char *path, unsigned mode, int uid, int gid)
{
#ifdef O_PATH
    char self[64];
    struct stat st;
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    if (ok && (uid != -1 || gid != -1))
        ok = fchownat(fd, "", (uid_t)uid, (gid_t)gid, AT_EMPTY_PATH) == 0;
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    ok = ok && (chmod(self, mode) == 0 || (errno == ENOENT && chmod(path, mode) == 0));
    int os_errno = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = os_errno;
    return ok;
#else
    return ((uid == -1 && gid == -1) || lchown(path, (uid_t)uid, (gid_t)gid) == 0) &&
           lchmod(path, (mode_t)mode) == 0;
#endif
}

/* Nobody can connect before listen, so the file is never connectable with another mode. */
static enum err bind_and_listen(int fd, const struct sockaddr_un *at, unsigned mode, int uid,
                                int gid)
{
    (void)fchmod(fd, (mode_t)mode & 0777); /* Linux: the file is made with no more than this */
    if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
        return errno == EADDRINUSE ? ERR_IN_USE : ERR_SYSTEM;
    if (set_access(at->sun_path, mode & 0777, uid, gid) && listen(fd, SOMAXCONN) == 0)
        return ERR_OK;
    int os_errno = errno;
    (void)unlink(at->sun_path);
    errno = os_errno;
    return ERR_SYSTEM;
}

enum err sock_listen_unix(const char *path, unsigned mode, int uid, int gid, int *ret_fd,
                          int *ret_errno)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(at.sun_path)) {
        *ret_errno = n ? ENAMETOOLONG : ENOENT;
        return ERR_SYSTEM;
    }
    memcpy(at.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *ret_errno = errno;
        return ERR_SYSTEM;
    }
    int lock = lock_directory(path);
    enum err e = clear_path(&at);
    if (!e)
        e = bind_and_listen(fd, &at, mode, uid, gid);
    int os_errno = errno;
    if (lock >= 0)
        (void)close(lock);
    if (e) {
        (void)close(fd);
        *ret_errno = os_errno;
        return e;
    }
    *ret_fd = fd;
    return ERR_OK;
}
