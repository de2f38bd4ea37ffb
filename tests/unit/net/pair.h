/* Connected pairs for the tests of streams. */
#pragma once
#include "net/stream_mem.h"
#include "net/stream_tcp.h"
#include "sys/sock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

/* Two ends of a TCP connection over loopback. buffer > 0: small kernel buffers of about that size.
 */
static inline void tcp_fds(int ret_fds[2], int buffer)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sock_addr at = {.len = sizeof(in)}, peer;
    const struct sock_listen_options options = {.backlog = 4};
    int listener, os_errno;
    memcpy(&at.storage, &in, sizeof(in));
    assert_int_equal(sock_listen(&at, &options, &listener, &os_errno), ERR_OK);
    if (buffer > 0)
        assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)), 0);
    assert_int_equal(sock_local(listener, &at), ERR_OK);
    assert_int_equal(sock_connect(&at, &ret_fds[0], &os_errno), ERR_OK);
    struct pollfd p = {listener, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(sock_accept(listener, &peer, &ret_fds[1], &os_errno), ERR_OK);
    sock_close(listener);
    for (unsigned i = 0; i < 2 && buffer > 0; i++) {
        (void)setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
        (void)setsockopt(ret_fds[i], SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    }
}

static inline void tcp_streams(struct loop *loop, int buffer, struct stream *ret_ends[2])
{
    int fds[2];
    tcp_fds(fds, buffer);
    assert_int_equal(stream_tcp_new(loop, fds[0], &ret_ends[0]), ERR_OK);
    assert_int_equal(stream_tcp_new(loop, fds[1], &ret_ends[1]), ERR_OK);
}

static inline unsigned open_descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n;
}

static inline enum err write_one(struct stream *s, const void *p, size_t len, size_t *ret_n)
{
    struct iovec iov = {(void *)(uintptr_t)p, len};
    return stream_writev(s, &iov, 1, ret_n);
}
