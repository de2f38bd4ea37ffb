#include "common.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>

_Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static char **arg_find(char **argv, const char *name)
{
    for (char **a = argv + 1; *a && strcmp(*a, "--") != 0; a++) {
        if (!strcmp(*a, name))
            return a;
    }
    return NULL;
}

const char *arg_text(char **argv, const char *name, const char *fallback)
{
    char **a = arg_find(argv, name);
    return a && a[1] ? a[1] : fallback;
}

double arg_number(char **argv, const char *name, double fallback)
{
    const char *text = arg_text(argv, name, NULL);
    return text ? strtod(text, NULL) : fallback;
}

bool arg_flag(char **argv, const char *name)
{
    return arg_find(argv, name) != NULL;
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct sockaddr_in address_of(const char *host_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strchr(host_port, ':');
    if (colon && (size_t)(colon - host_port) < sizeof(host)) {
        memcpy(host, host_port, (size_t)(colon - host_port));
        a.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    }
    errno = EINVAL;
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || !a.sin_port)
        die(host_port);
    return a;
}

void no_delay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int listen_on(const struct sockaddr_in *at)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    no_delay(fd); /* accepted sockets inherit it */
    if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) || listen(fd, 4096))
        die("listen");
    return fd;
}

void epoll_watch(int epoll, int fd, uint32_t events, void *owner)
{
    struct epoll_event e = {.events = events, .data.ptr = owner};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
        die("epoll_ctl");
}

const char *after_head(const char *p, size_t n)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    return end ? end + 4 : NULL;
}

size_t content_length(const char *head, const char *end)
{
    static const char name[] = "Content-Length:";
    for (const char *line = head; line < end;) {
        if (!strncasecmp(line, name, sizeof(name) - 1))
            return strtoul(line + sizeof(name) - 1, NULL, 10);
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        if (!lf)
            break;
        line = lf + 1;
    }
    return 0;
}
