#include "sys/notify.h"
#include "sys/sys_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_FD = 3, MOST_FDS = 1024 };

/* The address of $NOTIFY_SOCKET: a path, or an abstract name behind '@'. */
static bool notify_address(struct sockaddr_un *ret_at, socklen_t *ret_len)
{
    struct str path = str_from(getenv("NOTIFY_SOCKET"));
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (path.n < 2 || path.n >= sizeof(at.sun_path) || (path.p[0] != '/' && path.p[0] != '@'))
        return false;
    memcpy(at.sun_path, path.p, path.n);
    bool abstract = path.p[0] == '@';
    if (abstract)
        at.sun_path[0] = '\0';
    *ret_at = at;
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + (abstract ? 0 : 1));
    return true;
}

void notify_send(const char *text)
{
    struct sockaddr_un at;
    socklen_t len;
    if (!notify_address(&at, &len))
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    struct timeval patience = {.tv_sec = 1}; /* a full queue must not stop the control thread */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    ssize_t n;
    do {
        n = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&at, len);
    } while (n < 0 && errno == EINTR);
    (void)close(fd);
}

/* The variable is a number and means us. */
static bool env_is_us(const char *name)
{
    uint64_t pid;
    return str_u64(str_from(getenv(name)), INT32_MAX, &pid) && (pid_t)pid == getpid();
}

static void adopt(int fd)
{
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    sock_prepare_listener(fd);
}

int notify_listen_fds(void)
{
    uint64_t n = 0;
    if (!env_is_us("LISTEN_PID") || !str_u64(str_from(getenv("LISTEN_FDS")), MOST_FDS, &n))
        n = 0;
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    for (int i = 0; i < (int)n; i++)
        adopt(FIRST_FD + i);
    return (int)n;
}

uint64_t notify_watchdog_ms(void)
{
    uint64_t us;
    if (!str_u64(str_from(getenv("WATCHDOG_USEC")), UINT64_MAX / 2, &us))
        return 0;
    if (getenv("WATCHDOG_PID") && !env_is_us("WATCHDOG_PID"))
        return 0;
    return us / 2000;
}
