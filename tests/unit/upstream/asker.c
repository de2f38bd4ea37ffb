#include "asker.h"
#include "../tls/pki.h"
#include "net/stream_tcp.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SCRATCH = 65536 };

static char ca_file[] = "/tmp/nono-connect-test-XXXXXX";
static char scratch[SCRATCH];
static struct pki_cert ca, origin_cert, proxy_cert, bad_cert;
SSL_CTX *origin_ctx, *proxy_ctx, *bad_ctx;
struct loop *loop;
static struct tls_trust *trust;
static struct tls_client *client;
struct up_env env;
struct server server;
uint16_t own_port;

/* --- DNS --- */
struct fake_dns dns;

static void dns_answer(dns_fn *fn, void *owner)
{
    struct errctx ctx = {0};
    struct address v[2];
    if (dns.how == DNS_FAILS) {
        (void)err_set(&ctx, ERR_DNS_FAILED, "proxy.test: no such name");
        fn(owner, ERR_DNS_FAILED, NULL, &ctx);
        return;
    }
    assert_true(address_parse(STR("127.0.0.1"), &v[0]));
    assert_true(address_parse(str_from(dns.address), &v[1]));
    struct dns_answer a = {.v = v, .n = 2};
    fn(owner, ERR_OK, &a, &ctx);
}

static void on_dns_task(struct task *task)
{
    (void)task;
    dns.open = false;
    dns_answer(dns.q.fn, dns.q.owner);
}

enum err dns_resolve(struct dns *d, const struct hostname *name, uint64_t timeout_ms, dns_fn *fn,
                     void *owner, struct dns_query **ret_query)
{
    (void)d;
    assert_string_equal(name->text, "proxy.test");
    assert_true(timeout_ms > 0);
    *ret_query = NULL;
    if (dns.how == DNS_SYNC || dns.how == DNS_FAILS) {
        dns_answer(fn, owner);
        return ERR_OK;
    }
    assert_false(dns.open);
    dns.open = true;
    dns.q.fn = fn, dns.q.owner = owner;
    task_init(&dns.q.answer, on_dns_task);
    if (dns.how == DNS_LATER)
        task_run_soon(loop, &dns.q.answer);
    *ret_query = &dns.q;
    return ERR_OK;
}

void dns_cancel(struct dns_query *q)
{
    if (!q)
        return;
    assert_true(dns.open);
    task_cancel(&q->answer);
    dns.open = false;
}

/* --- the one who wants a connection --- */

static void asker_ready(void *owner, struct stream *s)
{
    struct asker *k = owner;
    char b[4096];
    size_t n = 0;
    while (!stream_read(s, b, sizeof(b), &n))
        buf_add(&k->got, b, n);
}

void on_connected(void *owner, enum err e, const struct connect_result *r, const struct errctx *ctx)
{
    struct asker *k = owner;
    assert_false(k->called);
    assert_non_null(k->c); /* never before connect_start returned */
    k->called = true;
    k->e = e;
    k->c = NULL;
    if (e) {
        assert_int_equal(ctx->code, e);
        memcpy(k->text, ctx->text, sizeof(ctx->text));
        return;
    }
    k->r = *r;
    k->s = r->stream;
    stream_own(k->s, asker_ready, k);
}

void settle(void)
{
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 0);
}

struct hostname host_of(const char *text)
{
    struct hostname h;
    struct errctx ctx = {0};
    assert_int_equal(hostname_parse(str_from(text), &h, &ctx), ERR_OK);
    return h;
}

struct vetted_addr local(uint16_t port)
{
    struct vetted_addr v = {.port = port, .by = VOUCHED_POLICY};
    assert_true(address_parse(STR("127.0.0.1"), &v.address));
    return v;
}

void ask(struct asker *k, const char *host, struct connect_spec spec)
{
    struct hostname h = host_of(host);
    *k = (struct asker){.began = clock_mono_ns()};
    buf_init(&k->got, 1 << 20);
    spec.host = &h;
    if (!spec.port)
        spec.port = 443;
    if (!spec.timeout_ms)
        spec.timeout_ms = 5000;
    if (!spec.handshake_ms)
        spec.handshake_ms = 3000;
    assert_int_equal(connect_start(&env, &spec, on_connected, k, &k->c), ERR_OK);
    assert_false(k->called);
}

uint64_t took_ms(const struct asker *k)
{
    return (clock_mono_ns() - k->began) / NS_PER_MS;
}

void ask_done(struct asker *k)
{
    connect_cancel(k->c);
    stream_close(k->s, false);
    k->s = NULL, k->c = NULL;
    buf_fini(&k->got);
    settle();
}

void wants(const struct asker *k, enum err e, const char *says)
{
    if (k->e != e || (says && strcmp(k->text, says) != 0))
        fail_msg("got %s \"%s\", want %s \"%s\"", err_name(k->e), k->text, err_name(e),
                 says ? says : "");
}

/* Send through what was made and get it back. */
void check_echo(struct asker *k)
{
    struct iovec v = {(char *)"ping", 4};
    size_t n = 0, before = k->got.n;
    assert_int_equal(stream_writev(k->s, &v, 1, &n), ERR_OK);
    assert_int_equal(n, 4);
    TURN_UNTIL(k->got.n >= before + 4);
    assert_memory_equal(k->got.p + k->got.n - 4, "ping", 4);
}

/* "…:" or "…:/": the server's port goes behind the last colon. */
struct hop hop_of(const char *form)
{
    char text[200];
    struct hop h;
    struct errctx ctx = {0};
    const char *colon = strrchr(form, ':');
    (void)snprintf(text, sizeof(text), "%.*s%u%s", (int)(colon - form) + 1, form, server.port,
                   colon + 1);
    assert_int_equal(hop_parse(str_from(text), &h, &ctx), ERR_OK);
    return h;
}

static bool is_own(void *owner, const struct address *a, uint16_t port)
{
    (void)owner, (void)a;
    return own_port && port == own_port;
}

static struct pki_cert leaf_for(const char *san)
{
    return pki_make(&(struct pki_spec){.cn = "x", .san = san, .issuer = &ca});
}

int group_setup(void **state)
{
    (void)state;
    bool locked;
    tls_init();
    secret_region_init(&locked);
    int fd = mkstemp(ca_file);
    if (fd < 0 || loop_new_epoll(&loop) != ERR_OK)
        return -1;
    close(fd);
    server.fd = -1;
    dns.address = "127.0.0.1";
    ca = pki_make(&(struct pki_spec){.cn = "Test CA", .ca = 1});
    origin_cert = leaf_for("DNS:x.test");
    proxy_cert = leaf_for("DNS:proxy.test");
    bad_cert = leaf_for("DNS:other.test");
    origin_ctx = pki_server(&origin_cert, NULL);
    proxy_ctx = pki_server(&proxy_cert, NULL);
    bad_ctx = pki_server(&bad_cert, NULL);
    pki_append(ca_file, &ca);
    struct errctx ctx = {0};
    if (tls_trust_new(ca_file, NULL, &trust, &ctx) || tls_client_new(trust, &client))
        return -1;
    env = (struct up_env){
        .loop = loop, .tls = client, .scratch = scratch, .scratch_size = SCRATCH, .is_own = is_own};
    return 0;
}

int group_teardown(void **state)
{
    (void)state;
    tls_client_free(client);
    tls_trust_unref(trust);
    size_t open = stream_tcp_open_count();
    loop_free(loop);
    secret_region_fini();
    SSL_CTX_free(origin_ctx), SSL_CTX_free(proxy_ctx), SSL_CTX_free(bad_ctx);
    pki_free(&ca), pki_free(&origin_cert), pki_free(&proxy_cert), pki_free(&bad_cert);
    unlink(ca_file);
    return open == 0 ? 0 : -1;
}
