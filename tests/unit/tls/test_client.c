/* The client half of TLS against an OpenSSL server in the same loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "net/stream_mem.h"
#include "net/stream_tcp.h"
#include "net/sockaddr.h"
#include "peer.h"
#include "pki.h"
#include "sys/clock.h"
#include "sys/loop.h"
#include "tls/client.h"
#include <stdlib.h>
#include <unistd.h>

enum { SCRATCH = 65536, PIPE_CAP = 4096, WAIT_MS = 10000 };

static char ca_file[] = "/tmp/nono-tls-test-XXXXXX";
static char scratch[SCRATCH];
static struct pki_cert ca, stranger, expired_ca;
static struct loop *loop;
static struct tls_trust *trust;
static struct tls_client *client;

/* --- the side under test --- */
struct side {
    struct stream *s;
    bool done, resumed, close_in_done, close_in_ready;
    enum err e, read_end;
    char text[200];
    struct buf got;
    struct str send;
    size_t sent, at_most; /* at_most: bytes per read, 0: many */
    unsigned pieces;      /* iovecs per write */
};

static void side_write(struct side *x)
{
    while (x->s && x->sent < x->send.n) {
        struct iovec v[4];
        size_t n = x->send.n - x->sent, k = 0, at = x->sent;
        int pieces = 0;
        for (unsigned i = 1; i < x->pieces && n > 100; i++, pieces++)
            v[pieces] = (struct iovec){(char *)(uintptr_t)x->send.p + at, 33}, at += 33, n -= 33;
        v[pieces++] = (struct iovec){(char *)(uintptr_t)x->send.p + at, n};
        enum err e = stream_writev(x->s, v, pieces, &k);
        if (e)
            return;
        assert_true(k > 0);
        x->sent += k;
    }
}

static void side_read(struct side *x)
{
    char b[20000];
    size_t n = 0;
    while (x->s && !x->read_end) {
        enum err e = stream_read(x->s, b, x->at_most ? x->at_most : sizeof(b), &n);
        if (e == ERR_AGAIN)
            return;
        if (e)
            x->read_end = e;
        else
            buf_add(&x->got, b, n);
        if (x->at_most)
            return; /* as one who trusts that he is called again */
    }
}

static void side_ready(void *owner, struct stream *s)
{
    struct side *x = owner;
    assert_ptr_equal(s, x->s);
    if (x->close_in_ready) {
        stream_close(s, false);
        x->s = NULL;
        return;
    }
    side_write(x);
    side_read(x);
}

static void side_done(void *owner, struct stream *s, enum err e, const struct errctx *ctx)
{
    struct side *x = owner;
    assert_false(x->done);
    assert_ptr_equal(s, x->s);
    x->done = true;
    x->e = e;
    if (e) {
        assert_int_equal(ctx->code, e);
        memcpy(x->text, ctx->text, sizeof(ctx->text));
    }
    x->resumed = tls_stream_resumed(s);
    if (e || x->close_in_done) {
        stream_close(s, false);
        x->s = NULL;
        return;
    }
    stream_own(s, side_ready, x);
}

static struct hostname host_of(const char *text)
{
    struct hostname h;
    struct errctx ctx = {0};
    assert_int_equal(hostname_parse(str_from(text), &h, &ctx), ERR_OK);
    return h;
}

static void side_open(struct side *x, struct stream *under, const char *host, uint16_t port)
{
    struct hostname h = host_of(host);
    *x = (struct side){0};
    buf_init(&x->got, 64 << 20);
    assert_int_equal(
        tls_client_stream(client, under, &h, port, scratch, SCRATCH, side_done, x, &x->s), ERR_OK);
}

static void side_close(struct side *x)
{
    stream_close(x->s, false);
    x->s = NULL;
    buf_fini(&x->got);
}

/* --- time --- */
#define TURN_UNTIL(cond)                                                                           \
    do {                                                                                           \
        uint64_t end_ = clock_mono_ns() + WAIT_MS * NS_PER_MS;                                     \
        while (!(cond)) {                                                                          \
            loop_turn(loop, NS_PER_MS);                                                            \
            assert_true(clock_mono_ns() < end_);                                                   \
        }                                                                                          \
    } while (0)

static void settle(void)
{
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 0);
}

static void mem_pair(struct stream **ret_a, struct stream **ret_b)
{
    assert_int_equal(stream_mem_pair(loop, PIPE_CAP, ret_a, ret_b), ERR_OK);
}

static void tcp_pair(struct stream **ret_a, struct stream **ret_b)
{
    struct address lo = {0};
    assert_true(address_parse(STR("127.0.0.1"), &lo));
    struct sock_addr at = sockaddr_from_address(&lo, 0), peer;
    struct sock_listen_options o = {.backlog = 8};
    int listener, a, b, os = 0;
    assert_int_equal(sock_listen(&at, &o, &listener, &os), ERR_OK);
    assert_int_equal(sock_local(listener, &at), ERR_OK);
    assert_int_equal(sock_connect(&at, &a, &os), ERR_OK);
    uint64_t end = clock_mono_ns() + WAIT_MS * NS_PER_MS;
    while (sock_accept(listener, &peer, &b, &os) == ERR_AGAIN)
        assert_true(clock_mono_ns() < end);
    sock_close(listener);
    assert_int_equal(stream_tcp_new(loop, a, ret_a), ERR_OK);
    assert_int_equal(stream_tcp_new(loop, b, ret_b), ERR_OK);
}

/* --- cases --- */

struct handshake_case {
    const char *name;
    struct pki_spec cert;
    const char *host;
    enum err e;
    const char *says; /* part of the sentence */
};

static void run_handshake(const struct handshake_case *k)
{
    struct stream *a, *b;
    struct peer p;
    struct side x;
    struct pki_cert leaf = pki_make(&k->cert);
    SSL_CTX *ctx = pki_server(&leaf, k->cert.issuer);
    mem_pair(&a, &b);
    peer_open(&p, b, ctx);
    side_open(&x, a, k->host, 443);
    TURN_UNTIL(x.done);
    if (x.e != k->e || (k->says && !strstr(x.text, k->says)))
        fail_msg("%s: %s \"%s\"", k->name, err_name(x.e), x.text);
    side_close(&x);
    settle();
    peer_close(&p);
    settle();
    SSL_CTX_free(ctx);
    pki_free(&leaf);
}

static void test_verification(void **state)
{
    (void)state;
    const struct handshake_case cases[] = {
        {"good", {.cn = "x", .san = "DNS:a.test", .issuer = &ca}, "a.test", ERR_OK, NULL},
        {"wildcard", {.cn = "x", .san = "DNS:*.a.test", .issuer = &ca}, "b.a.test", ERR_OK, NULL},
        {"wildcard is one label",
         {.cn = "x", .san = "DNS:*.a.test", .issuer = &ca},
         "c.b.a.test",
         ERR_UPSTREAM_TLS,
         "is for other names: *.a.test"},
        {"partial wildcard",
         {.cn = "x", .san = "DNS:b*.a.test", .issuer = &ca},
         "bb.a.test",
         ERR_UPSTREAM_TLS,
         "is for other names"},
        {"ip", {.cn = "x", .san = "IP:127.0.0.1", .issuer = &ca}, "127.0.0.1", ERR_OK, NULL},
        {"ip6", {.cn = "x", .san = "IP:::1", .issuer = &ca}, "::1", ERR_OK, NULL},
        {"ip as dns name",
         {.cn = "x", .san = "DNS:127.0.0.1", .issuer = &ca},
         "127.0.0.1",
         ERR_UPSTREAM_TLS,
         "certificate of 127.0.0.1 is for other names: 127.0.0.1"},
        {"wrong name",
         {.cn = "a.test", .san = "DNS:b.test,DNS:c.test,IP:10.0.0.1,DNS:d.test", .issuer = &ca},
         "a.test",
         ERR_UPSTREAM_TLS,
         "certificate of a.test is for other names: b.test, c.test, 10.0.0.1 and 1 more"},
        {"common name alone",
         {.cn = "a.test", .issuer = &ca},
         "a.test",
         ERR_UPSTREAM_TLS,
         "is for other names: none"},
        {"name with escape",
         {.cn = "x", .san = "DNS:evil\x01\x1b.test", .issuer = &ca},
         "a.test",
         ERR_UPSTREAM_TLS,
         "evil\\x01\\x1b.test"},
        {"unknown issuer",
         {.cn = "x", .san = "DNS:a.test", .issuer = &stranger},
         "a.test",
         ERR_UPSTREAM_TLS,
         "certificate of a.test is not trusted"},
        {"self-signed",
         {.cn = "x", .san = "DNS:a.test"},
         "a.test",
         ERR_UPSTREAM_TLS,
         "certificate of a.test is not trusted: self-signed certificate"},
        {"expired",
         {.cn = "x", .san = "DNS:a.test", .from_s = -9000, .to_s = -100, .issuer = &ca},
         "a.test",
         ERR_UPSTREAM_TLS,
         "is not trusted: it expired on 2"},
        {"not yet",
         {.cn = "x", .san = "DNS:a.test", .from_s = 9000, .to_s = 90000, .issuer = &ca},
         "a.test",
         ERR_UPSTREAM_TLS,
         "it is not valid before 2"},
        {"chain expired",
         {.cn = "x", .san = "DNS:a.test", .issuer = &expired_ca},
         "a.test",
         ERR_UPSTREAM_TLS,
         "a certificate of its chain expired on 2"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
        run_handshake(&cases[i]);
}

/* A peer that answers with fixed bytes and ends. */
static void raw_ready(void *owner, struct stream *s)
{
    const char *answer = *(const char **)owner;
    char b[4096];
    size_t n = 0;
    if (!answer || stream_read(s, b, sizeof(b), &n))
        return;
    *(const char **)owner = NULL;
    if (*answer) {
        struct iovec v = {(void *)(uintptr_t)answer, strlen(answer)};
        assert_int_equal(stream_writev(s, &v, 1, &n), ERR_OK);
    }
    (void)stream_shutdown(s);
}

static void test_not_tls(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *says;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "a.test does not speak TLS on port 8443"},
        {"SSH-2.0-OpenSSH_9.2\r\n", "a.test does not speak TLS on port 8443"},
        {"", "a.test closed the connection in the TLS handshake"},
        {"\x15\x03\x03", "a.test closed the connection in the TLS handshake"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct stream *a, *b;
        struct side x;
        const char *answer = cases[i].answer;
        mem_pair(&a, &b);
        stream_own(b, raw_ready, &answer);
        side_open(&x, a, "a.test", 8443);
        TURN_UNTIL(x.done);
        assert_int_equal(x.e, ERR_UPSTREAM_TLS);
        if (!strstr(x.text, cases[i].says))
            fail_msg("\"%s\"", x.text);
        side_close(&x);
        stream_close(b, false);
        settle();
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct pki_cert leaf =
        pki_make(&(struct pki_spec){.cn = "x", .san = "DNS:a.test", .issuer = &ca});
    for (int i = 0; i < 2; i++) {
        struct stream *a, *b;
        struct side x;
        struct peer p;
        SSL_CTX *ctx = pki_server(&leaf, NULL);
        if (i == 0) {
            SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
            SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
            SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
        } else {
            SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
            SSL_CTX_set_cipher_list(ctx, "AES128-SHA256"); /* RSA only, with an EC key */
        }
        mem_pair(&a, &b);
        peer_open(&p, b, ctx);
        side_open(&x, a, "a.test", 443);
        TURN_UNTIL(x.done);
        assert_int_equal(x.e, ERR_UPSTREAM_TLS);
        const char *says = i ? "a.test refused the TLS handshake: alert handshake failure"
                             : "a.test speaks no TLS version from 1.2 on";
        if (!strstr(x.text, says))
            fail_msg("\"%s\"", x.text);
        side_close(&x);
        peer_close(&p);
        settle();
        SSL_CTX_free(ctx);
    }
    pki_free(&leaf);
}

/* A server and a client joined; the handshake is over. */
struct joined {
    struct pki_cert leaf;
    SSL_CTX *ctx;
    struct peer p;
    struct side x;
};

static void join(struct joined *j, struct stream *a, struct stream *b, const char *host,
                 uint16_t port)
{
    peer_open(&j->p, b, j->ctx);
    side_open(&j->x, a, host, port);
    TURN_UNTIL(j->x.done);
    assert_int_equal(j->x.e, ERR_OK);
}

static void server_make(struct joined *j)
{
    j->leaf =
        pki_make(&(struct pki_spec){.cn = "x", .san = "DNS:a.test,DNS:b.test", .issuer = &ca});
    j->ctx = pki_server(&j->leaf, NULL);
}

static void part(struct joined *j)
{
    side_close(&j->x);
    settle();
    peer_close(&j->p);
    settle();
}

static void server_free(struct joined *j)
{
    SSL_CTX_free(j->ctx);
    pki_free(&j->leaf);
}

static void fill(char *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1103515245u + 12345u;
        p[i] = (char)(seed >> 16);
    }
}

static void check_transfer(struct joined *j, size_t up, size_t down)
{
    char *a = mem_alloc(up), *b = mem_alloc(down);
    fill(a, up, 1), fill(b, down, 2);
    peer_send(&j->p, str_of(b, down));
    j->x.send = str_of(a, up);
    stream_again(j->x.s);
    TURN_UNTIL(j->p.got.n >= up && j->x.got.n >= down);
    assert_int_equal(j->p.got.n, up);
    assert_int_equal(j->x.got.n, down);
    assert_memory_equal(j->p.got.p, a, up);
    assert_memory_equal(j->x.got.p, b, down);
    mem_free(a), mem_free(b);
}

static void test_big_transfers(void **state)
{
    (void)state;
    struct joined j;
    server_make(&j);
    for (unsigned i = 0; i < 8; i++) {
        struct stream *a, *b;
        if (i & 1)
            tcp_pair(&a, &b);
        else
            mem_pair(&a, &b);
        join(&j, a, b, "a.test", 443);
        j.x.pieces = i & 2 ? 3 : 1;
        j.x.at_most = i & 4 ? 1000 : 0; /* a reader that stops early is called again */
        check_transfer(&j, 1500000, 2500000);
        part(&j);
    }
    server_free(&j);
}

static void test_stutter(void **state)
{
    (void)state;
    struct joined j;
    server_make(&j);
    for (unsigned i = 0; i < 4; i++) {
        struct stream *a, *b;
        mem_pair(&a, &b);
        if (i & 1)
            assert_int_equal(stream_stutter_new(a, &a), ERR_OK);
        if (i & 2)
            assert_int_equal(stream_stutter_new(b, &b), ERR_OK);
        join(&j, a, b, "a.test", 443);
        j.x.at_most = 1;
        j.x.pieces = 3;
        check_transfer(&j, 20000, 3000);
        j.p.end = PEER_CLOSE_NOTIFY;
        peer_pump(&j.p);
        TURN_UNTIL(j.x.read_end);
        assert_int_equal(j.x.read_end, ERR_EOF);
        part(&j);
    }
    server_free(&j);
}

static void test_end(void **state)
{
    (void)state;
    struct joined j;
    server_make(&j);
    for (unsigned i = 0; i < 4; i++) {
        struct stream *a, *b;
        if (i & 1)
            tcp_pair(&a, &b);
        else
            mem_pair(&a, &b);
        join(&j, a, b, "a.test", 443);
        j.p.end = i & 2 ? PEER_TRUNCATES : PEER_CLOSE_NOTIFY;
        peer_send(&j.p, STR("all of it"));
        TURN_UNTIL(j.x.read_end);
        assert_int_equal(j.x.got.n, 9);
        assert_int_equal(j.x.read_end, i & 2 ? ERR_UPSTREAM_ABORTED : ERR_EOF);
        assert_true(stream_fin(j.x.s));
        char c;
        size_t n = 77;
        assert_int_equal(stream_read(j.x.s, &c, 1, &n), j.x.read_end); /* stays so */
        assert_int_equal(n, 77);
        part(&j);
    }
    server_free(&j);
}

static void test_our_shutdown(void **state)
{
    (void)state;
    struct joined j;
    server_make(&j);
    for (unsigned i = 0; i < 2; i++) {
        struct stream *a, *b;
        mem_pair(&a, &b);
        join(&j, a, b, "a.test", 443);
        j.p.echo = true;
        j.x.send = STR("last words");
        side_write(&j.x);
        if (i == 0) {
            enum err e;
            while ((e = stream_shutdown(j.x.s)) == ERR_AGAIN)
                loop_turn(loop, NS_PER_MS);
            assert_int_equal(e, ERR_OK);
        } else {
            side_close(&j.x);
            buf_init(&j.x.got, 1);
        }
        TURN_UNTIL(j.p.saw_eof);
        assert_true(j.p.saw_close_notify);
        assert_false(j.p.failed);
        assert_int_equal(j.p.got.n, 10);
        if (i == 0) /* half-closed: the other way goes on */
            TURN_UNTIL(j.x.got.n == 10 && j.x.read_end);
        part(&j);
    }
    server_free(&j);
}

static bool resumes(struct joined *j, const char *host, uint16_t port, bool reset)
{
    struct stream *a, *b;
    mem_pair(&a, &b);
    join(j, a, b, host, port);
    check_transfer(j, 10, 10); /* TLS 1.3 tickets come behind the handshake */
    if (reset) {
        stream_close(j->x.s, true);
        j->x.s = NULL;
    }
    part(j);
    return j->x.resumed;
}

static void test_resumption(void **state)
{
    (void)state;
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        uint16_t port = version, next = (uint16_t)(version + 100);
        struct joined j;
        server_make(&j);
        SSL_CTX_set_max_proto_version(j.ctx, version);
        assert_false(resumes(&j, "a.test", port, false));
        assert_true(resumes(&j, "a.test", port, true));
        assert_true(resumes(&j, "a.test", port, false));
        assert_false(resumes(&j, "a.test", next, false)); /* another port */
        assert_false(resumes(&j, "b.test", port, false)); /* another host */
        assert_true(resumes(&j, "b.test", port, false));
        server_free(&j);
    }
}

/* A session of one host never helps another, and the oldest of many is forgotten. */
static void test_many_sessions(void **state)
{
    (void)state;
    struct joined j;
    server_make(&j);
    assert_false(resumes(&j, "a.test", 1, false));
    for (uint16_t port = 2; port < 259; port++)
        assert_false(resumes(&j, "a.test", port, false));
    assert_true(resumes(&j, "a.test", 258, false));
    assert_false(resumes(&j, "a.test", 1, false));
    server_free(&j);
}

static void test_close_in_callbacks(void **state)
{
    (void)state;
    struct joined j;
    server_make(&j);
    for (unsigned i = 0; i < 3; i++) {
        struct stream *a, *b;
        mem_pair(&a, &b);
        peer_open(&j.p, b, j.ctx);
        side_open(&j.x, a, "a.test", 443);
        if (i == 0) {
            stream_close(j.x.s, false); /* before anything happened: done is not called */
            j.x.s = NULL;
            settle();
            assert_false(j.x.done);
        } else if (i == 1) {
            j.x.close_in_done = true;
            TURN_UNTIL(j.x.done);
        } else {
            j.x.close_in_ready = true;
            peer_send(&j.p, STR("early"));
            TURN_UNTIL(j.x.done && !j.x.s);
        }
        part(&j);
    }
    server_free(&j);
}

static void test_unread(void **state)
{
    (void)state;
    struct joined j;
    struct stream *a, *b;
    server_make(&j);
    mem_pair(&a, &b);
    join(&j, a, b, "a.test", 443);
    settle();
    assert_int_equal(stream_unread(j.x.s, STR("two")), ERR_OK);
    assert_int_equal(stream_unread(j.x.s, STR("one")), ERR_OK);
    assert_int_equal(stream_unread(j.x.s, STR("")), ERR_OK);
    j.x.at_most = 2;
    peer_send(&j.p, STR("three"));
    TURN_UNTIL(j.x.got.n >= 11);
    assert_memory_equal(j.x.got.p, "onetwothree", 11);
    part(&j);
    server_free(&j);
}

/* After the handshake the new owner is called once by itself, though the peer says nothing. */
static void test_first_call(void **state)
{
    (void)state;
    struct joined j;
    struct stream *a, *b;
    server_make(&j);
    SSL_CTX_set_num_tickets(j.ctx, 0);
    mem_pair(&a, &b);
    peer_open(&j.p, b, j.ctx);
    side_open(&j.x, a, "a.test", 443);
    j.x.send = STR("I go first");
    TURN_UNTIL(j.p.got.n == 10);
    part(&j);
    server_free(&j);
}

/* What stands in SSL_CERT_FILE is trusted, be it a root or the server's own certificate. */
static void test_pinned_certificate(void **state)
{
    (void)state;
    char path[] = "/tmp/nono-tls-pin-XXXXXX";
    struct tls_trust *pin_trust;
    struct tls_client *usual = client;
    struct errctx ctx = {0};
    struct joined j;
    struct stream *a, *b;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    j.leaf = pki_make(&(struct pki_spec){.cn = "x", .san = "DNS:a.test", .issuer = &stranger});
    j.ctx = pki_server(&j.leaf, NULL);
    pki_append(path, &j.leaf);
    assert_int_equal(tls_trust_new(path, NULL, &pin_trust, &ctx), ERR_OK);
    assert_int_equal(tls_client_new(pin_trust, &client), ERR_OK);
    mem_pair(&a, &b);
    join(&j, a, b, "a.test", 443);
    tls_client_free(client); /* a stream may outlive its client */
    tls_trust_unref(pin_trust);
    client = usual;
    check_transfer(&j, 1000, 1000);
    part(&j);
    server_free(&j);
    unlink(path);
}

/* Pieces that lie in the scratch itself are not overwritten by coalescing. */
static void test_pieces_in_scratch(void **state)
{
    (void)state;
    struct joined j;
    struct stream *a, *b;
    server_make(&j);
    tcp_pair(&a, &b);
    join(&j, a, b, "a.test", 443);
    memcpy(scratch, "body of it", 10);
    struct iovec v[3] = {{(char *)"", 0}, {(char *)"head:", 5}, {scratch, 10}};
    size_t n = 0;
    assert_int_equal(stream_writev(j.x.s, v, 3, &n), ERR_OK);
    assert_int_equal(n, 5);
    assert_int_equal(stream_writev(j.x.s, v + 2, 1, &n), ERR_OK);
    TURN_UNTIL(j.p.got.n >= 15);
    assert_memory_equal(j.p.got.p, "head:body of it", 15);
    part(&j);
    server_free(&j);
}

/* Coalescing leaves no copy of a secret piece behind, and none of others is touched. */
static void test_secret_leaves_scratch(void **state)
{
    (void)state;
    struct joined j;
    struct stream *a, *b;
    server_make(&j);
    tcp_pair(&a, &b);
    join(&j, a, b, "a.test", 443);
    struct iovec v[3] = {{(char *)"", 0}, {(char *)"hush:", 5}, {(char *)"body", 4}};
    size_t n = 0;
    for (unsigned secret = 0; secret < 2; secret++) {
        memset(scratch, 'x', 16);
        stream_secret(j.x.s, secret);
        assert_int_equal(stream_writev(j.x.s, v, 3, &n), ERR_OK);
        assert_int_equal(n, 9);
        assert_memory_equal(scratch, secret ? "\0\0\0\0\0bodyx" : "hush:bodyx", 10);
    }
    char own[] = "hush:own"; /* a single piece is nobody's copy */
    struct iovec one = {own, 8};
    assert_int_equal(stream_writev(j.x.s, &one, 1, &n), ERR_OK);
    assert_string_equal(own, "hush:own");
    TURN_UNTIL(j.p.got.n >= 26);
    assert_memory_equal(j.p.got.p, "hush:bodyhush:bodyhush:own", 26);
    part(&j);
    server_free(&j);
}

/* Every allocation of ours in turn fails: an error or success, never a crash or a leak. */
static void test_no_memory(void **state)
{
    (void)state;
    struct joined j;
    server_make(&j);
    bool through = false;
    for (int64_t n = 0; !through; n++) {
        struct stream *a, *b;
        struct hostname h = host_of("a.test");
        assert_true(n < 500);
        mem_pair(&a, &b);
        peer_open(&j.p, b, j.ctx);
        j.x = (struct side){0};
        buf_init(&j.x.got, 1 << 20);
        j.x.send = STR("hello");
        mem_fail_after(n, false);
        enum err e =
            tls_client_stream(client, a, &h, 443, scratch, SCRATCH, side_done, &j.x, &j.x.s);
        for (int i = 0; !e && i < 60; i++)
            loop_turn(loop, 0);
        through = !e && j.x.e == ERR_OK && j.x.done && j.p.got.n == 5 && n > 12;
        mem_fail_after(-1, false);
        if (e)
            assert_int_equal(e, ERR_NOMEM);
        part(&j);
    }
    server_free(&j);
}

static int group_setup(void **state)
{
    (void)state;
    tls_init();
    int fd = mkstemp(ca_file);
    assert_true(fd >= 0);
    close(fd);
    ca = pki_make(&(struct pki_spec){.cn = "Test CA", .ca = 1});
    stranger = pki_make(&(struct pki_spec){.cn = "Stranger CA", .ca = 1});
    expired_ca = pki_make(
        &(struct pki_spec){.cn = "Old CA", .ca = 1, .from_s = -9000, .to_s = -100, .issuer = &ca});
    pki_append(ca_file, &ca);
    struct errctx ctx = {0};
    assert_int_equal(tls_trust_new(ca_file, NULL, &trust, &ctx), ERR_OK);
    assert_int_equal(tls_client_new(trust, &client), ERR_OK);
    return loop_new_epoll(&loop) == ERR_OK ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    tls_client_free(client);
    tls_trust_unref(trust);
    size_t open = stream_tcp_open_count();
    loop_free(loop);
    pki_free(&ca), pki_free(&stranger), pki_free(&expired_ca);
    unlink(ca_file);
    return open == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verification),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_big_transfers),
        cmocka_unit_test(test_stutter),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_our_shutdown),
        cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_many_sessions),
        cmocka_unit_test(test_close_in_callbacks),
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_first_call),
        cmocka_unit_test(test_pinned_certificate),
        cmocka_unit_test(test_pieces_in_scratch),
        cmocka_unit_test(test_secret_leaves_scratch),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("tls/client", tests, group_setup, group_teardown);
}
