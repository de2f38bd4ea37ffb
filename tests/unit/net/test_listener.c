#include "net/listener.h"
#include "base/mem.h"
#include "pair.h"
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CLIENTS = 100 };

struct world {
    struct loop *loop;
    struct listener *listener;
    struct sock_addr at;
    int fd;
    unsigned accepted, close_after;
    int got[CLIENTS], clients[CLIENTS];
};

static void on_accept(void *owner, int fd, const struct sock_addr *peer, unsigned tag)
{
    struct world *w = owner;
    assert_int_equal(tag, 7);
    assert_int_equal(peer->sa.sa_family, AF_INET);
    w->got[w->accepted++] = fd;
    if (w->accepted == w->close_after) {
        listener_close(w->listener);
        w->listener = NULL;
    }
}

static void world_open(struct world *w)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sock_listen_options options = {.backlog = CLIENTS};
    int os_errno;
    *w = (struct world){.at.len = sizeof(in)};
    memcpy(&w->at.storage, &in, sizeof(in));
    assert_int_equal(loop_new_epoll(&w->loop), ERR_OK);
    assert_int_equal(sock_listen(&w->at, &options, &w->fd, &os_errno), ERR_OK);
    assert_int_equal(sock_local(w->fd, &w->at), ERR_OK);
    assert_int_equal(listener_open(w->loop, w->fd, 7, on_accept, w, &w->listener), ERR_OK);
}

static void connect_clients(struct world *w, unsigned from, unsigned to)
{
    int os_errno;
    for (unsigned i = from; i < to; i++)
        assert_int_equal(sock_connect(&w->at, &w->clients[i], &os_errno), ERR_OK);
}

static void turns_until(struct world *w, unsigned accepted)
{
    for (unsigned i = 0; i < 300 && w->accepted < accepted; i++)
        loop_turn(w->loop, 10000000);
    assert_int_equal(w->accepted, accepted);
}

static void turns(struct world *w, unsigned n)
{
    while (n-- > 0)
        loop_turn(w->loop, 1000000);
}

static void world_close(struct world *w, unsigned clients)
{
    listener_close(w->listener);
    for (unsigned i = 0; i < w->accepted; i++)
        sock_close(w->got[i]);
    for (unsigned i = 0; i < clients; i++)
        sock_close(w->clients[i]);
    loop_turn(w->loop, 0);
    loop_free(w->loop);
    sock_close(w->fd); /* was only borrowed */
}

static void a_queue_is_taken_in_few_turns(void **state)
{
    (void)state;
    struct world w;
    unsigned before = open_descriptors();
    world_open(&w);
    connect_clients(&w, 0, CLIENTS);
    uint64_t start = loop_turns(w.loop);
    turns_until(&w, CLIENTS);
    assert_in_range(loop_turns(w.loop) - start, 2, 20);
    world_close(&w, CLIENTS);
    assert_int_equal(open_descriptors(), before);
}

static void close_in_the_callback(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.close_after = 1;
    connect_clients(&w, 0, 3);
    turns_until(&w, 1);
    turns(&w, 5);
    assert_int_equal(w.accepted, 1);
    world_close(&w, 3);
    listener_close(NULL);
}

/* Out of descriptors: no spinning, and it goes on by itself. */
static void backs_off_without_descriptors(void **state)
{
    (void)state;
    struct world w;
    struct rlimit before, low;
    world_open(&w);
    connect_clients(&w, 0, 2);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0);
    (void)close(lowest);
    low = before;
    low.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    loop_turn(w.loop, 10000000);
    uint64_t start = loop_now(w.loop);
    uint64_t turn = loop_turns(w.loop);
    loop_turn(w.loop, 50000000);
    assert_int_equal(w.accepted, 0);
    assert_true(loop_now(w.loop) - start >= 40000000); /* slept, although a connection waits */
    assert_int_equal(loop_turns(w.loop), turn + 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    turns_until(&w, 2);
    world_close(&w, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_is_taken_in_few_turns),
        cmocka_unit_test(close_in_the_callback),
        cmocka_unit_test(backs_off_without_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
