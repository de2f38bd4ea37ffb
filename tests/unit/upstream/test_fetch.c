/* A request of our own, against a scripted server. */
#include "asker.h"
#include "base/chunk.h"
#include "base/limits.h"
#include "base/mem.h"
#include "upstream/fetch.h"
#include <stdio.h>

struct got {
    struct fetch *f;
    bool called;
    enum err e;
    unsigned status;
    char body[200], text[200];
    size_t n;
};

static struct field fields[LIMIT_HEAD_FIELDS];
static struct chunk_pool *chunks;
static struct h1_env h1;

static void on_fetched(void *owner, enum err e, unsigned status, struct str body, const struct errctx *ctx)
{
    struct got *g = owner;
    assert_false(g->called);
    assert_non_null(g->f);
    g->called = true;
    g->f = NULL;
    g->e = e;
    g->status = status;
    g->n = body.n;
    memcpy(g->body, body.n ? body.p : "", body.n < sizeof(g->body) ? body.n : sizeof(g->body));
    if (e)
        memcpy(g->text, ctx->text, sizeof(ctx->text));
}

static void go(struct got *g, const char *url, struct fetch_spec spec)
{
    *g = (struct got){.e = ERR_OK};
    spec.url = str_from(url);
    if (!spec.method.n)
        spec.method = STR("POST");
    if (!spec.timeout_ms)
        spec.timeout_ms = 5000;
    assert_int_equal(fetch_start(&env, &h1, &spec, on_fetched, g, &g->f), ERR_OK);
    assert_false(g->called);
}

static const char *url_of(const char *host, const char *path)
{
    static char url[300];
    (void)snprintf(url, sizeof(url), "%s:%u%s", host, server.port, path);
    return url;
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

static void test_plain(void **state)
{
    (void)state;
    static const struct server_step steps[] = {{"{\"a\":1}", 0, STR("HTTP/1.1 103 Early\r\n\r\n" OK_HEAD "hello")}};
    char want[400];
    for (int dribble = 0; dribble < 2; dribble++) {
        struct got g;
        server_open(&server, loop);
        server.steps = steps, server.n_steps = 1, server.dribble = dribble;
        go(&g, url_of("http://127.0.0.1", "/h?x=y"), (struct fetch_spec){.body = STR("{\"a\":1}"), .content_type = STR("application/json")});
        TURN_UNTIL(g.called);
        assert_int_equal(g.e, ERR_OK);
        assert_int_equal(g.status, 200);
        assert_int_equal(g.n, 5);
        assert_memory_equal(g.body, "hello", 5);
        (void)snprintf(want, sizeof(want),
                       "POST /h?x=y HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: nono-cli/" NONO_VERSION
                       "\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}",
                       server.port);
        assert_int_equal(server.seen.n, strlen(want));
        assert_memory_equal(server.seen.p, want, server.seen.n);
        server_close(&server);
        settle();
    }
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum err e;
        unsigned status;
        size_t n;
        const char *says;
    } rows[] = {
        {"HTTP/1.1 204 No\r\n\r\n", ERR_OK, 204, 0, NULL},
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\nno", ERR_OK, 302, 2, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", ERR_OK, 200, 3, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", ERR_TOO_LARGE, 0, 0, "over 64 KiB"},
        {"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", ERR_BAD_RESPONSE, 0, 0, ""},
        {"SSH-2.0-x\r\n\r\n", ERR_BAD_RESPONSE, 0, 0, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        struct server_step step = {"\r\n\r\n", 0, str_from(rows[i].reply)};
        server_open(&server, loop);
        server.steps = &step, server.n_steps = 1;
        go(&g, url_of("http://127.0.0.1", ""), (struct fetch_spec){.method = STR("GET")});
        TURN_UNTIL(g.called);
        if (g.e != rows[i].e || g.status != rows[i].status || g.n != rows[i].n)
            fail_msg("%zu: %s %u %zu \"%s\"", i, err_name(g.e), g.status, g.n, g.text);
        if (rows[i].says)
            assert_non_null(strstr(g.text, rows[i].says));
        assert_true(str_starts(buf_str(&server.seen), STR("GET / HTTP/1.1\r\n")));
        server_close(&server);
        settle();
    }
}

static void test_closed_early(void **state)
{
    (void)state;
    static const struct server_step nothing[] = {{"\r\n\r\n", 0, STR("")}}, half[] = {{"\r\n\r\n", 0, STR(OK_HEAD "he")}};
    struct got g;
    server_open(&server, loop);
    server.steps = nothing, server.n_steps = 1, server.then = THEN_CLOSE;
    go(&g, url_of("http://127.0.0.1", "/"), (struct fetch_spec){.method = STR("GET")});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_UPSTREAM_CLOSED);
    server.steps = half;
    go(&g, url_of("http://127.0.0.1", "/"), (struct fetch_spec){.method = STR("GET")});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_UPSTREAM_ABORTED);
    server_close(&server);
    settle();
}

static void test_bad_places(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum err e;
    } rows[] = {{"ftp://x/", ERR_INVALID},
                {"http://", ERR_INVALID},
                {"http://u:p@127.0.0.1/", ERR_INVALID},
                {"http://169.254.169.254/latest", ERR_ADDRESS_DENIED},
                {"http://127.0.0.1:0/", ERR_INVALID}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g;
        go(&g, rows[i].url, (struct fetch_spec){.method = STR("GET")});
        TURN_UNTIL(g.called);
        if (g.e != rows[i].e || !g.text[0] || strstr(g.text, "u:p"))
            fail_msg("%s: %s \"%s\"", rows[i].url, err_name(g.e), g.text);
    }
    struct got g;
    dns.how = DNS_FAILS;
    go(&g, "http://proxy.test/", (struct fetch_spec){.method = STR("GET")});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_DNS_FAILED);
    own_port = 4711;
    go(&g, "http://127.0.0.1:4711/", (struct fetch_spec){.method = STR("GET")});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_LOOP);
    own_port = 0;
    dns.how = DNS_SYNC;
    dns.address = "169.254.169.254"; /* one of the name's addresses is on the floor */
    go(&g, "http://proxy.test/", (struct fetch_spec){.method = STR("GET")});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_ADDRESS_DENIED);
    dns.address = "127.0.0.1";
    settle();
}

static void test_deadline_and_cancel(void **state)
{
    (void)state;
    struct got g;
    uint64_t began = clock_mono_ns();
    server_open(&server, loop);
    go(&g, url_of("http://127.0.0.1", "/"), (struct fetch_spec){.body = STR("x"), .timeout_ms = 300});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_UPSTREAM_SILENT);
    assert_non_null(strstr(g.text, "gave no answer within 0.3 s"));
    assert_true(clock_mono_ns() - began > 250 * NS_PER_MS);
    for (int turns = 0; turns < 8; turns++) { /* in every state */
        go(&g, url_of("http://127.0.0.1", "/"), (struct fetch_spec){.body = STR("x")});
        for (int i = 0; i < turns; i++) {
            loop_turn(loop, NS_PER_MS);
            server_turn(&server);
        }
        assert_false(g.called);
        fetch_cancel(g.f);
        settle();
        assert_false(g.called);
    }
    dns.how = DNS_NEVER;
    go(&g, "http://proxy.test/", (struct fetch_spec){.body = STR("x"), .timeout_ms = 200});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_UPSTREAM_SILENT);
    assert_false(dns.open);
    dns.how = DNS_SYNC;
    fetch_cancel(NULL);
    server_close(&server);
    settle();
}

static void test_tls(void **state)
{
    (void)state;
    static const struct server_step steps[] = {{"x", 0, STR(OK_HEAD "hello")}};
    struct got g;
    server_open(&server, loop);
    server.steps = steps, server.n_steps = 1;
    server.outer = proxy_ctx;
    go(&g, url_of("https://proxy.test", "/"), (struct fetch_spec){.body = STR("x")});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_OK);
    assert_int_equal(g.n, 5);
    server.outer = bad_ctx;
    go(&g, url_of("https://proxy.test", "/"), (struct fetch_spec){.body = STR("x")});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_UPSTREAM_TLS);
    server_close(&server);
    settle();
}

/* Plain: absolute form with the proxy's credentials; loopback: never through it. */
static void test_hops(void **state)
{
    (void)state;
    static const struct server_step steps[] = {{"x", 0, STR(OK_HEAD "hello")}};
    struct got g;
    server_open(&server, loop);
    server.steps = steps, server.n_steps = 1;
    struct hop hop = hop_of("http://u:p@127.0.0.1:");
    go(&g, "http://far.test/a", (struct fetch_spec){.body = STR("x"), .hop = &hop});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_OK);
    assert_true(str_starts(buf_str(&server.seen), STR("POST http://far.test/a HTTP/1.1\r\nHost: far.test\r\n")));
    assert_non_null(memmem(server.seen.p, server.seen.n, "Proxy-Authorization: Basic dTpw\r\n", 33));
    unsigned before = server.accepted;
    go(&g, url_of("http://127.0.0.1", "/b"), (struct fetch_spec){.body = STR("x"), .hop = &hop});
    TURN_UNTIL(g.called);
    assert_int_equal(g.e, ERR_OK);
    assert_int_equal(server.accepted, before + 1);
    assert_true(str_starts(buf_str(&server.seen), STR("POST /b HTTP/1.1\r\n")));
    assert_null(memmem(server.seen.p, server.seen.n, "Proxy-Authorization", 19));
    hop_fini(&hop);
    server_close(&server);
    settle();
}

static void test_no_memory(void **state)
{
    (void)state;
    static const struct server_step steps[] = {{"x", 0, STR(OK_HEAD "hello")}};
    bool went = false;
    for (int64_t i = 0; i < 200 && !went; i++) {
        struct got g = {.e = ERR_OK};
        struct fetch_spec spec = {.method = STR("POST"), .body = STR("x"), .timeout_ms = 2000};
        server_open(&server, loop);
        server.steps = steps, server.n_steps = 1;
        spec.url = str_from(url_of("http://127.0.0.1", "/"));
        mem_fail_after(i, false);
        if (fetch_start(&env, &h1, &spec, on_fetched, &g, &g.f) == ERR_OK) {
            uint64_t end = clock_mono_ns() + WAIT_MS * NS_PER_MS;
            while (!g.called && clock_mono_ns() < end) {
                loop_turn(loop, NS_PER_MS);
                mem_fail_after(-1, false);
                server_turn(&server);
                if (i < 12)
                    mem_fail_after(0, false);
            }
            mem_fail_after(-1, false);
            assert_true(g.called);
            went = i >= 12 && g.e == ERR_OK;
        }
        mem_fail_after(-1, false);
        server_close(&server);
        settle();
    }
    assert_true(went);
}

static int setup(void **state)
{
    if (group_setup(state))
        return -1;
    chunks = chunk_pool_new(4);
    h1 = (struct h1_env){.loop = loop, .chunks = chunks, .field_scratch = fields};
    dns.how = DNS_SYNC;
    return chunks ? 0 : -1;
}

static int teardown(void **state)
{
    settle();
    assert_int_equal(chunk_pool_out(chunks), 0);
    chunk_pool_free(chunks);
    return group_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_closed_early),
        cmocka_unit_test(test_bad_places),
        cmocka_unit_test(test_deadline_and_cancel),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_hops),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
