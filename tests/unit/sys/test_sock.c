#include "sys/sock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct sock_addr loopback(uint16_t port)
{
    struct sock_addr a = {0};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(&a.storage, &in, sizeof(in));
    a.len = sizeof(in);
    return a;
}

static int listen_any(struct sock_addr *ret_at)
{
    const struct sock_listen_options o = {.backlog = 16};
    struct sock_addr at = loopback(0);
    int fd, os_errno;
    assert_int_equal(sock_listen(&at, &o, &fd, &os_errno), ERR_OK);
    assert_int_equal(sock_local(fd, ret_at), ERR_OK);
    return fd;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {fd, events, 0};
    assert_int_equal(poll(&p, 1, 5000), 1);
}

static void tcp_pair(int *ret_client, int *ret_server)
{
    struct sock_addr at, peer;
    int os_errno, listener = listen_any(&at);
    assert_int_equal(sock_accept(listener, &peer, ret_server, &os_errno), ERR_AGAIN);
    assert_int_equal(sock_connect(&at, ret_client, &os_errno), ERR_OK);
    wait_for(listener, POLLIN);
    assert_int_equal(sock_accept(listener, &peer, ret_server, &os_errno), ERR_OK);
    assert_int_equal(peer.sa.sa_family, AF_INET);
    wait_for(*ret_client, POLLOUT);
    assert_int_equal(sock_error(*ret_client), 0);
    sock_close(listener);
}

static int option(int fd, int level, int name)
{
    int v = -1;
    socklen_t n = sizeof(v);
    assert_int_equal(getsockopt(fd, level, name, &v, &n), 0);
    return v;
}

static void both_sides_have_the_options(void **state)
{
    (void)state;
    int fds[2];
    tcp_pair(&fds[0], &fds[1]);
    for (unsigned i = 0; i < 2; i++) {
        sock_keepalive(fds[i]);
        assert_int_equal(option(fds[i], IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(option(fds[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option(fds[i], IPPROTO_TCP, TCP_KEEPIDLE), 60);
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        sock_close(fds[i]);
    }
}

static enum err write_some(int fd, size_t *ret_n)
{
    static char bytes[65536];
    struct iovec iov[2] = {{bytes, 100}, {bytes, sizeof(bytes)}};
    return sock_writev(fd, iov, 2, ret_n);
}

static void reading_and_writing(void **state)
{
    (void)state;
    int client, server;
    char buf[1000];
    size_t n = 0;
    tcp_pair(&client, &server);
    assert_int_equal(sock_read(server, buf, sizeof(buf), &n), ERR_AGAIN);
    struct iovec iov[2] = {{"ab", 2}, {"cde", 3}};
    assert_int_equal(sock_writev(client, iov, 2, &n), ERR_OK);
    assert_int_equal(n, 5);
    wait_for(server, POLLIN);
    assert_int_equal(sock_read(server, buf, sizeof(buf), &n), ERR_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(buf, "abcde", 5);
    sock_shutdown_write(client);
    wait_for(server, POLLIN);
    assert_int_equal(sock_read(server, buf, sizeof(buf), &n), ERR_EOF);
    assert_int_equal(write_some(client, &n), ERR_EOF); /* ended by ourselves; no SIGPIPE */
    enum err e;
    while ((e = write_some(server, &n)) == ERR_OK)
        ;
    assert_int_equal(e, ERR_AGAIN);
    sock_reset(server);
    sock_close(server);
    wait_for(client, POLLHUP);
    while ((e = sock_read(client, buf, sizeof(buf), &n)) == ERR_OK)
        ;
    assert_int_equal(e, ERR_RESET);
    sock_close(client);
}

static void a_reset_met_in_writing_is_told(void **state)
{
    (void)state;
    int client, server;
    size_t n;
    tcp_pair(&client, &server);
    sock_reset(server);
    sock_close(server);
    wait_for(client, POLLHUP);
    assert_int_equal(write_some(client, &n), ERR_RESET);
    sock_close(client);
}

static void a_refused_connection_shows_in_sock_error(void **state)
{
    (void)state;
    struct sock_addr at;
    int fd = -1, os_errno = 0;
    sock_close(listen_any(&at));
    enum err e = sock_connect(&at, &fd, &os_errno);
    if (e == ERR_OK) {
        wait_for(fd, POLLOUT);
        os_errno = sock_error(fd);
        sock_close(fd);
    }
    assert_int_equal(os_errno, ECONNREFUSED);
}

static void a_port_in_use_is_said(void **state)
{
    (void)state;
    struct sock_addr at;
    const struct sock_listen_options alone = {.backlog = 1}, shared = {true, 1};
    int other = -1, os_errno = 0, fd = listen_any(&at);
    assert_int_equal(sock_listen(&at, &alone, &other, &os_errno), ERR_IN_USE);
    assert_int_equal(os_errno, EADDRINUSE);
    assert_int_equal(sock_listen(&at, &shared, &other, &os_errno), ERR_IN_USE);
    assert_int_equal(other, -1);
    sock_close(fd);
    assert_int_equal(sock_listen(&at, &shared, &fd, &os_errno), ERR_OK);
    assert_int_equal(sock_listen(&at, &shared, &other, &os_errno), ERR_OK);
    sock_close(fd);
    sock_close(other);
    struct sock_addr foreign = loopback(0);
    ((struct sockaddr_in *)(void *)&foreign.storage)->sin_addr.s_addr = htonl(0xC0000201);
    assert_int_equal(sock_listen(&foreign, &alone, &fd, &os_errno), ERR_SYSTEM);
    assert_int_equal(os_errno, EADDRNOTAVAIL);
}

/* --- unix sockets --- */

static char directory[64];
static char path[96];

static int set_up_directory(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/nono-sock-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    (void)snprintf(path, sizeof(path), "%s/s", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(directory);
}

static void unix_socket_mode_and_life(void **state)
{
    (void)state;
    int fd, second = -1, os_errno = 0, client, served;
    struct sock_addr peer, at = {.len = sizeof(struct sockaddr_un)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat st;
    uint32_t uid;
    mode_t umask_before = umask(0077);
    assert_int_equal(sock_listen_unix(path, 0660, -1, (int)getgid(), &fd, &os_errno), ERR_OK);
    (void)umask(umask_before);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(sock_listen_unix(path, 0660, -1, -1, &second, &os_errno), ERR_IN_USE);
    assert_int_equal(os_errno, EADDRINUSE);
    memcpy(un.sun_path, path, strlen(path));
    memcpy(&at.storage, &un, sizeof(un));
    assert_int_equal(sock_accept(fd, &peer, &served, &os_errno), ERR_OK); /* the probe of above */
    sock_close(served);
    assert_int_equal(sock_connect(&at, &client, &os_errno), ERR_OK);
    assert_int_equal(sock_accept(fd, &peer, &served, &os_errno), ERR_OK);
    assert_int_equal(sock_peer_uid(served, &uid), ERR_OK);
    assert_int_equal(uid, getuid());
    sock_close(client);
    sock_close(served);
    sock_close(fd); /* leaves a stale file */
    assert_int_equal(sock_listen_unix(path, 0600, -1, -1, &fd, &os_errno), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    sock_close(fd);
    assert_int_equal(unlink(path), 0);
}

static void a_file_is_never_removed(void **state)
{
    (void)state;
    int fd = -1, os_errno = 0, file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    struct stat st;
    char longer[200];
    (void)close(file);
    assert_int_equal(sock_listen_unix(path, 0660, -1, -1, &fd, &os_errno), ERR_SYSTEM);
    assert_int_equal(os_errno, EEXIST);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(sock_listen_unix(longer, 0660, -1, -1, &fd, &os_errno), ERR_SYSTEM);
    assert_int_equal(os_errno, ENAMETOOLONG);
    assert_int_equal(fd, -1);
}

/* --- pipes --- */

static void splice_moves_bytes(void **state)
{
    (void)state;
    int a[2], b[2], pipe[2];
    size_t n = 0;
    char buf[16];
    tcp_pair(&a[0], &a[1]);
    tcp_pair(&b[0], &b[1]);
    assert_int_equal(pipe_new(pipe), ERR_OK);
    assert_int_equal(splice_in(a[1], pipe[1], 65536, &n), ERR_AGAIN);
    struct iovec iov = {"hello", 5};
    assert_int_equal(sock_writev(a[0], &iov, 1, &n), ERR_OK);
    wait_for(a[1], POLLIN);
    assert_int_equal(splice_in(a[1], pipe[1], 65536, &n), ERR_OK);
    assert_int_equal(n, 5);
    assert_int_equal(splice_out(pipe[0], b[0], 5, &n), ERR_OK);
    wait_for(b[1], POLLIN);
    assert_int_equal(sock_read(b[1], buf, sizeof(buf), &n), ERR_OK);
    assert_int_equal(n, 5);
    sock_shutdown_write(a[0]);
    wait_for(a[1], POLLIN);
    assert_int_equal(splice_in(a[1], pipe[1], 65536, &n), ERR_EOF);
    for (unsigned i = 0; i < 2; i++)
        sock_close(a[i]), sock_close(b[i]), sock_close(pipe[i]);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_DFL); /* sock_writev must not need it ignored */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_have_the_options),
        cmocka_unit_test(reading_and_writing),
        cmocka_unit_test(a_reset_met_in_writing_is_told),
        cmocka_unit_test(a_refused_connection_shows_in_sock_error),
        cmocka_unit_test(a_port_in_use_is_said),
        cmocka_unit_test_setup_teardown(unix_socket_mode_and_life, set_up_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_file_is_never_removed, set_up_directory,
                                        remove_directory),
        cmocka_unit_test(splice_moves_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
