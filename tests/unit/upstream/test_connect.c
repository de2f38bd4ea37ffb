/* Dial, TLS and the whole machine against loopback sockets. */
#include "asker.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/sockaddr.h"
#include "net/stream_tcp.h"

#define GRANTED STR("\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50")

/* --- dial --- */

static uint16_t closed_port(void)
{
    struct server v;
    server_open(&v, loop);
    uint16_t port = v.port;
    server_close(&v);
    return port;
}

/* A listener whose queue is full: connections to it neither succeed nor fail. */
struct dead {
    int listener, fill[4];
    uint16_t port;
};

static void dead_open(struct dead *d)
{
    struct address lo;
    int os = 0;
    assert_true(address_parse(STR("127.0.0.1"), &lo));
    struct sock_addr at = sockaddr_from_address(&lo, 0);
    assert_int_equal(
        sock_listen(&at, &(struct sock_listen_options){.backlog = 0}, &d->listener, &os), ERR_OK);
    assert_int_equal(sock_local(d->listener, &at), ERR_OK);
    assert_true(sockaddr_to_address(&at, &lo, &d->port));
    for (unsigned i = 0; i < ARRAY_LEN(d->fill); i++)
        assert_int_equal(sock_connect(&at, &d->fill[i], &os), ERR_OK);
}

static void dead_close(struct dead *d)
{
    for (unsigned i = 0; i < ARRAY_LEN(d->fill); i++)
        sock_close(d->fill[i]);
    sock_close(d->listener);
}

static void test_direct(void **state)
{
    (void)state;
    struct asker k;
    struct vetted_addr a[1];
    server_open(&server, loop);
    server.then = THEN_ECHO;
    a[0] = local(server.port);
    ask(&k, "a.test", (struct connect_spec){.addrs = a, .n = 1});
    TURN_UNTIL(k.called);
    wants(&k, ERR_OK, NULL);
    assert_int_equal(k.r.peer.port, server.port);
    assert_int_equal(k.r.peer.by, VOUCHED_POLICY);
    check_echo(&k);
    ask_done(&k);
    server_close(&server);
}

static void test_case43_refused(void **state)
{
    (void)state;
    struct asker k;
    struct vetted_addr a[2] = {local(closed_port()), local(closed_port())};
    ask(&k, "a.test", (struct connect_spec){.addrs = a, .n = 2});
    TURN_UNTIL(k.called);
    wants(&k, ERR_CONNECT_FAILED, "cannot connect to a.test:443: connection refused");
    assert_true(took_ms(&k) < 200);
    ask_done(&k);
}

static void test_case46_refused_then_next(void **state)
{
    (void)state;
    struct asker k;
    server_open(&server, loop);
    server.then = THEN_ECHO;
    struct vetted_addr a[3] = {local(closed_port()), local(server.port), local(closed_port())};
    ask(&k, "a.test", (struct connect_spec){.addrs = a, .n = 3});
    TURN_UNTIL(k.called);
    wants(&k, ERR_OK, NULL);
    assert_true(took_ms(&k) < LIMIT_EYEBALLS_DELAY);
    assert_int_equal(k.r.peer.port, server.port);
    ask_done(&k);
    server_close(&server);
}

static void test_case46_dead_first(void **state)
{
    (void)state;
    struct asker k;
    struct dead d;
    dead_open(&d);
    server_open(&server, loop);
    server.then = THEN_ECHO;
    struct vetted_addr a[3] = {local(d.port), local(closed_port()), local(server.port)};
    ask(&k, "a.test", (struct connect_spec){.addrs = a, .n = 3});
    TURN_UNTIL(k.called);
    wants(&k, ERR_OK, NULL);
    assert_true(took_ms(&k) >= LIMIT_EYEBALLS_DELAY - 10);
    assert_true(took_ms(&k) < LIMIT_EYEBALLS_DELAY + 300);
    settle();
    assert_int_equal(stream_tcp_open_count(), server.s ? 2 : 1); /* the loser is gone */
    check_echo(&k);
    ask_done(&k);
    server_close(&server);
    dead_close(&d);
}

static void test_case43_timeout(void **state)
{
    (void)state;
    struct asker k;
    struct dead d;
    dead_open(&d);
    struct vetted_addr a[2] = {local(d.port), local(closed_port())};
    ask(&k, "a.test", (struct connect_spec){.addrs = a, .n = 2, .timeout_ms = 400});
    TURN_UNTIL(k.called);
    wants(&k, ERR_CONNECT_TIMEOUT, "cannot connect to a.test:443 within 400 ms");
    ask_done(&k);
    dead_close(&d);
}

static void test_only_vetted(void **state)
{
    (void)state;
    struct asker k;
    server_open(&server, loop);
    struct vetted_addr a[2] = {local(server.port), local(server.port)};
    a[1].by = 0;
    ask(&k, "a.test", (struct connect_spec){.addrs = a, .n = 2});
    TURN_UNTIL(k.called);
    assert_int_equal(k.e, ERR_ADDRESS_DENIED);
    ask_done(&k);
    ask(&k, "a.test", (struct connect_spec){.addrs = a, .n = 0});
    TURN_UNTIL(k.called);
    wants(&k, ERR_DNS_FAILED, "a.test has no addresses");
    ask_done(&k);
    own_port = server.port;
    ask(&k, "a.test", (struct connect_spec){.addrs = a, .n = 1, .port = server.port});
    TURN_UNTIL(k.called);
    assert_int_equal(k.e, ERR_LOOP);
    assert_non_null(strstr(k.text, "is this gateway itself"));
    ask_done(&k);
    own_port = 0;
    server_turn(&server);
    assert_int_equal(server.accepted, 0);
    server_close(&server);
}

/* --- TLS on top --- */

static const struct server_step connect_ok = {"\r\n\r\n", 0, {"HTTP/1.1 200 OK\r\n\r\n", 19}};
static const struct server_step socks_ok[] = {{NULL, 3, {"\x05\x00", 2}}, {NULL, 13, GRANTED}};

static const struct tls_case {
    const char *form; /* NULL: direct */
    bool outer, tunnel, tls, chain;
} tls_cases[] = {
    {NULL, false, false, true, false},
    {"http://127.0.0.1:", false, true, true, true},
    {"http://proxy.test:", false, false, false, false},
    {"https://proxy.test:", true, true, true, true},
    {"https://proxy.test:", true, true, false, true},
    {"https://proxy.test:", true, false, false, false},
    {"socks5h://127.0.0.1:", false, false, true, true},
};

static void tls_server(const struct tls_case *t, SSL_CTX *outer, SSL_CTX *inner)
{
    bool socks = t->form && strncmp(t->form, "socks", 5) == 0;
    server_open(&server, loop);
    server.outer = t->outer ? outer : NULL;
    server.inner = inner;
    server.steps = socks ? socks_ok : &connect_ok;
    server.n_steps = !t->chain ? 0 : socks ? 2 : 1;
    server.then = t->tls ? THEN_TLS : THEN_ECHO;
}

static void ask_tls(const struct tls_case *t, struct asker *k, struct hop *hop)
{
    struct vetted_addr a[1] = {local(server.port)};
    if (t->form)
        *hop = hop_of(t->form);
    ask(k, "x.test",
        (struct connect_spec){
            .hop = t->form ? hop : NULL, .tls = t->tls, .tunnel = t->tunnel, .addrs = a, .n = 1});
}

static void test_case113_tls_over_everything(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(tls_cases) * 2; i++) {
        const struct tls_case *t = &tls_cases[i / 2];
        struct asker k;
        struct hop hop = {0};
        dns.how = i % 2 ? DNS_LATER : DNS_SYNC;
        tls_server(t, proxy_ctx, origin_ctx);
        ask_tls(t, &k, &hop);
        TURN_UNTIL(k.called);
        wants(&k, ERR_OK, NULL);
        check_echo(&k);
        ask_done(&k);
        hop_fini(&hop);
        server_close(&server);
    }
}

static void test_tls_failures(void **state)
{
    (void)state;
    static const struct {
        unsigned at;
        bool bad_outer;
        const char *says;
    } cases[] = {
        {0, false, "certificate of x.test is for other names: other.test"},
        {1, false, "certificate of x.test is for other names: other.test"},
        {3, false, "certificate of x.test is for other names: other.test"},
        {3, true, "upstream proxy: certificate of proxy.test is for other names: other.test"},
        {5, true, "upstream proxy: certificate of proxy.test is for other names: other.test"},
    };
    dns.how = DNS_SYNC;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const struct tls_case *t = &tls_cases[cases[i].at];
        struct asker k;
        struct hop hop = {0};
        tls_server(t, cases[i].bad_outer ? bad_ctx : proxy_ctx,
                   cases[i].bad_outer ? origin_ctx : bad_ctx);
        ask_tls(t, &k, &hop);
        TURN_UNTIL(k.called);
        wants(&k, ERR_UPSTREAM_TLS, cases[i].says);
        ask_done(&k);
        hop_fini(&hop);
        server_close(&server);
    }
}

static void test_handshake_timeout(void **state)
{
    (void)state;
    struct asker k;
    server_open(&server, loop); /* accepts and says nothing */
    struct vetted_addr a[1] = {local(server.port)};
    ask(&k, "x.test", (struct connect_spec){.tls = true, .addrs = a, .n = 1, .handshake_ms = 150});
    TURN_UNTIL(k.called);
    wants(&k, ERR_CONNECT_TIMEOUT, "TLS handshake with x.test took longer than 150 ms");
    ask_done(&k);
    server_close(&server);
}

/* --- the hop's own address --- */

static void test_hop_addresses(void **state)
{
    (void)state;
    struct asker k;
    struct hop hop;
    server_open(&server, loop);
    hop = hop_of("http://proxy.test:");
    dns.how = DNS_FAILS;
    ask(&k, "x.test", (struct connect_spec){.hop = &hop, .tunnel = true});
    TURN_UNTIL(k.called);
    wants(&k, ERR_DNS_FAILED, "upstream proxy: proxy.test: no such name");
    ask_done(&k);

    dns.how = DNS_SYNC, dns.address = "169.254.169.254"; /* one on the floor refuses the name */
    ask(&k, "x.test", (struct connect_spec){.hop = &hop, .tunnel = true});
    TURN_UNTIL(k.called);
    assert_int_equal(k.e, ERR_ADDRESS_DENIED);
    ask_done(&k);
    dns.address = "127.0.0.1";

    dns.how = DNS_NEVER;
    ask(&k, "x.test", (struct connect_spec){.hop = &hop, .tunnel = true, .timeout_ms = 100});
    TURN_UNTIL(k.called);
    wants(&k, ERR_CONNECT_TIMEOUT, "no address for upstream proxy proxy.test within 100 ms");
    assert_false(dns.open);
    ask_done(&k);

    own_port = server.port; /* a gateway that is its own upstream proxy */
    dns.how = DNS_SYNC;
    ask(&k, "x.test", (struct connect_spec){.hop = &hop, .tunnel = true});
    TURN_UNTIL(k.called);
    assert_int_equal(k.e, ERR_LOOP);
    ask_done(&k);
    own_port = 0;

    hop_fini(&hop);
    server_turn(&server);
    assert_int_equal(server.accepted, 0);
    server_close(&server);
}

/* --- cancel everywhere, and memory that is refused --- */

static void test_cancel_at_every_turn(void **state)
{
    (void)state;
    dns.how = DNS_LATER;
    for (unsigned i = 0; i < ARRAY_LEN(tls_cases); i++) {
        for (unsigned turns = 0;; turns++) {
            struct asker k;
            struct hop hop = {0};
            bool called;
            assert_true(turns < 200);
            tls_server(&tls_cases[i], proxy_ctx, origin_ctx);
            ask_tls(&tls_cases[i], &k, &hop);
            for (unsigned n = 0; n < turns && !k.called; n++) {
                loop_turn(loop, NS_PER_MS);
                server_turn(&server);
            }
            called = k.called;
            connect_cancel(k.c); /* with everything half done */
            k.c = NULL;
            settle();
            assert_int_equal(k.called, called);
            assert_false(dns.open);
            ask_done(&k);
            hop_fini(&hop);
            server_close(&server);
            settle();
            assert_int_equal(stream_tcp_open_count(), 0);
            if (called)
                break;
        }
    }
}

/* In turn `turn` the allocation number `n` fails, of ours or of the server's in this loop. */
static void run_no_memory(const struct tls_case *t, unsigned turn, int64_t n)
{
    struct hop hop = {0};
    struct hostname h = host_of("x.test");
    struct asker k = {.began = 1};
    tls_server(t, proxy_ctx, origin_ctx);
    if (t->form)
        hop = hop_of(t->form);
    struct vetted_addr a[1] = {local(server.port)};
    struct connect_spec spec = {.host = &h,
                                .port = 443,
                                .hop = t->form ? &hop : NULL,
                                .tls = t->tls,
                                .tunnel = t->tunnel,
                                .addrs = a,
                                .n = 1,
                                .timeout_ms = 250,
                                .handshake_ms = 150};
    mem_fail_after(turn ? -1 : n, false);
    enum err e = connect_start(&env, &spec, on_connected, &k, &k.c);
    mem_fail_after(-1, false);
    uint64_t end = clock_mono_ns() + WAIT_MS * NS_PER_MS;
    for (unsigned i = 1; !e && !k.called; i++) {
        mem_fail_after(i == turn ? n : -1, false);
        loop_turn(loop, NS_PER_MS);
        mem_fail_after(-1, false);
        server_turn(&server);
        assert_true(clock_mono_ns() < end);
    }
    if (e)
        assert_int_equal(e, ERR_NOMEM);
    buf_init(&k.got, 1);
    ask_done(&k);
    hop_fini(&hop);
    server_close(&server);
    settle();
    assert_int_equal(stream_tcp_open_count(), 0);
}

static void test_no_memory(void **state)
{
    (void)state;
    dns.how = DNS_LATER;
    for (unsigned i = 0; i < ARRAY_LEN(tls_cases); i++) {
        for (unsigned turn = 0; turn < 10; turn++) {
            for (int64_t n = 0; n < 3; n++)
                run_no_memory(&tls_cases[i], turn, n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_case43_refused),
        cmocka_unit_test(test_case46_refused_then_next),
        cmocka_unit_test(test_case46_dead_first),
        cmocka_unit_test(test_case43_timeout),
        cmocka_unit_test(test_only_vetted),
        cmocka_unit_test(test_case113_tls_over_everything),
        cmocka_unit_test(test_tls_failures),
        cmocka_unit_test(test_handshake_timeout),
        cmocka_unit_test(test_hop_addresses),
        cmocka_unit_test(test_cancel_at_every_turn),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("upstream/connect", tests, group_setup, group_teardown);
}
