/* Asking an upstream proxy for a tunnel: HTTP CONNECT and SOCKS5. */
#include "asker.h"
#include <stdio.h>

/* --- chain --- */

struct http_case {
    const char *reply;
    enum err e;
    const char *says; /* behind "refused the tunnel to …: " */
    const char *early;
};

static void run_http(const struct http_case *t, const char *form, const char *credentials,
                     bool dribble)
{
    struct asker k;
    char request[300], says[300];
    server_open(&server, loop);
    struct server_step step = {.until = "\r\n\r\n", .reply = str_from(t->reply)};
    server.steps = &step, server.n_steps = 1;
    server.then = t->e ? THEN_SILENT : THEN_ECHO;
    server.dribble = dribble;
    struct hop hop = hop_of(form);
    ask(&k, "x.test", (struct connect_spec){.hop = &hop, .tunnel = true});
    TURN_UNTIL(k.called);
    (void)snprintf(says, sizeof(says),
                   "upstream proxy 127.0.0.1:%u refused the tunnel to x.test:443: %s", server.port,
                   t->says ? t->says : "");
    wants(&k, t->e, t->says ? says : NULL);
    (void)snprintf(request, sizeof(request),
                   "CONNECT x.test:443 HTTP/1.1\r\nHost: x.test:443\r\n%s\r\n", credentials);
    assert_int_equal(server.seen.n, strlen(request));
    assert_memory_equal(server.seen.p, request, server.seen.n);
    if (!t->e) {
        size_t n = t->early ? strlen(t->early) : 0;
        TURN_UNTIL(k.got.n >= n);
        if (n)
            assert_memory_equal(k.got.p, t->early, n);
        check_echo(&k);
        assert_int_equal(k.got.n, n + 4);
        assert_int_equal(k.r.peer.port, server.port);
        assert_int_equal(k.r.peer.by, VOUCHED_OPERATOR);
    }
    ask_done(&k);
    hop_fini(&hop);
    server_close(&server);
}

static const struct http_case http_cases[] = {
    {"HTTP/1.1 200 Connection established\r\n\r\n", ERR_OK, NULL, NULL},
    {"HTTP/1.0 200\r\nVia: 1.0 x\r\n\r\n", ERR_OK, NULL, NULL},
    {"HTTP/1.1 204 No Content\r\n\r\n", ERR_OK, NULL, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly bytes", ERR_OK, NULL, "early bytes"},
    {"HTTP/1.1 200 OK\r\n\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ERR_OK, NULL,
     "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhi",
     ERR_OK, NULL, "hi"},
    {"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", ERR_PROXY_REFUSED,
     "407 Proxy Authentication Required; set user and password in --upstream-proxy", NULL},
    {"HTTP/1.1 403 Forbidden\r\n\r\n", ERR_PROXY_REFUSED, "403 Forbidden", NULL},
    {"HTTP/1.1 502 \r\n\r\n", ERR_PROXY_REFUSED, "502", NULL},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", ERR_PROXY_REFUSED, "101 Switching Protocols",
     NULL},
    {"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\n\r\n", ERR_PROXY_REFUSED, "302 Found",
     NULL},
};

static void test_http_connect(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(http_cases); i++) {
        run_http(&http_cases[i], "127.0.0.1:", "", false);
        run_http(&http_cases[i], "http://127.0.0.1:/", "", true);
    }
}

static void test_case115_credentials(void **state)
{
    (void)state;
    const struct http_case cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", ERR_OK, NULL, NULL},
        {"HTTP/1.1 407 No\r\n\r\n", ERR_PROXY_REFUSED,
         "407 No; user or password in --upstream-proxy are not accepted", NULL},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        run_http(&cases[i], "http://us%65r:p%40ss:w@127.0.0.1:",
                 "Proxy-Authorization: Basic dXNlcjpwQHNzOnc=\r\n", false);
        run_http(&cases[i], "http://user@127.0.0.1:", "Proxy-Authorization: Basic dXNlcjo=\r\n",
                 false);
    }
}

/* Answers that are no HTTP, end early or never end. */
static void test_http_garbage(void **state)
{
    (void)state;
    static char huge[40000];
    memset(huge, 'a', sizeof(huge) - 1);
    memcpy(huge, "HTTP/1.1 200 OK\r\nX: ", 20);
    static const struct {
        const char *reply;
        enum server_then then;
        const char *says;
    } cases[] = {
        {"SSH-2.0-x\r\n", THEN_SILENT, "gave no valid answer to CONNECT"},
        {"\x05\x01", THEN_SILENT, "gave no valid answer to CONNECT"},
        {"\x15\x03\x01\x00\x02\x02\x28", THEN_SILENT, "gave no valid answer to CONNECT"},
        {"HTTP/2 200 OK\r\n\r\n", THEN_SILENT, "gave no valid answer to CONNECT"},
        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", THEN_SILENT, "gave no valid answer to CONNECT"},
        {huge, THEN_SILENT, "gave no valid answer to CONNECT: its head is too large"},
        {"HTTP/1.1 200 OK\r\n", THEN_CLOSE, "closed the connection instead of a tunnel to x.test"},
        {"", THEN_CLOSE, "closed the connection instead of a tunnel to x.test:443"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases) * 2; i++) {
        unsigned at = i / 2;
        struct asker k;
        if (i % 2 && cases[at].reply == huge)
            continue;
        server_open(&server, loop);
        struct server_step step = {.until = "\r\n\r\n", .reply = str_from(cases[at].reply)};
        server.steps = &step, server.n_steps = 1;
        server.then = cases[at].then;
        server.dribble = i % 2;
        struct hop hop = hop_of("127.0.0.1:");
        ask(&k, "x.test", (struct connect_spec){.hop = &hop, .tunnel = true});
        TURN_UNTIL(k.called);
        if (k.e != ERR_PROXY_REFUSED || !strstr(k.text, cases[at].says))
            fail_msg("case %u: %s \"%s\"", at, err_name(k.e), k.text);
        ask_done(&k);
        hop_fini(&hop);
        server_close(&server);
    }
}

/* Interim answers without end are bounded. */
static void test_http_interim_flood(void **state)
{
    (void)state;
    static char flood[101 * 25 + 1];
    for (int i = 0; i < 101; i++)
        memcpy(flood + i * 25, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    struct asker k;
    server_open(&server, loop);
    struct server_step step = {.until = "\r\n\r\n", .reply = str_of(flood, sizeof(flood) - 1)};
    server.steps = &step, server.n_steps = 1;
    struct hop hop = hop_of("127.0.0.1:");
    ask(&k, "x.test", (struct connect_spec){.hop = &hop, .tunnel = true});
    TURN_UNTIL(k.called);
    assert_int_equal(k.e, ERR_PROXY_REFUSED);
    assert_non_null(strstr(k.text, "too many interim answers"));
    ask_done(&k);
    hop_fini(&hop);
    server_close(&server);
}

static void test_case43_chain_timeout(void **state)
{
    (void)state;
    struct asker k;
    server_open(&server, loop);
    struct server_step step = {.n = 1 << 20};
    server.steps = &step, server.n_steps = 1; /* never answers */
    struct hop hop = hop_of("127.0.0.1:");
    char says[200];
    ask(&k, "x.test", (struct connect_spec){.hop = &hop, .tunnel = true, .timeout_ms = 200});
    TURN_UNTIL(k.called);
    (void)snprintf(says, sizeof(says),
                   "upstream proxy 127.0.0.1:%u opened no tunnel to x.test:443 within 200 ms",
                   server.port);
    wants(&k, ERR_CONNECT_TIMEOUT, says);
    ask_done(&k);
    hop_fini(&hop);
    server_close(&server);
}

/* --- SOCKS5 --- */

struct socks_case {
    const char *form, *host;
    struct server_step steps[3];
    unsigned n;
    enum err e;
    const char *says;   /* NULL: granted */
    struct str request; /* the last thing sent */
    const char *early;
};

#define GRANTED STR("\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50")
#define ASK_NAME STR("\x05\x01\x00\x03\x06x.test\x01\xbb")
#define CODE(c) STR("\x05" c "\x00\x01\x00\x00\x00\x00\x00\x00")

static void run_socks(const struct socks_case *t, bool dribble)
{
    struct asker k;
    server_open(&server, loop);
    server.steps = t->steps, server.n_steps = t->n;
    server.then = t->e ? THEN_SILENT : THEN_ECHO;
    server.dribble = dribble;
    struct hop hop = hop_of(t->form);
    struct vetted_addr a[1] = {{.port = 443, .by = VOUCHED_POLICY}};
    assert_true(address_parse(STR("192.0.2.7"), &a[0].address));
    ask(&k, t->host, (struct connect_spec){.hop = &hop, .addrs = a, .n = 1});
    TURN_UNTIL(k.called);
    if (k.e != t->e || (t->says && !strstr(k.text, t->says)))
        fail_msg("%s: %s \"%s\"", t->says ? t->says : "granted", err_name(k.e), k.text);
    if (!t->e) {
        assert_true(str_ends(buf_str(&server.seen), t->request));
        size_t n = t->early ? strlen(t->early) : 0;
        TURN_UNTIL(k.got.n >= n);
        check_echo(&k);
        assert_int_equal(k.got.n, n + 4);
        if (n)
            assert_memory_equal(k.got.p, t->early, n);
    }
    ask_done(&k);
    hop_fini(&hop);
    server_close(&server);
}

static const struct socks_case socks_cases[] = {
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\x00", 2}}, {NULL, 13, GRANTED}},
     2,
     ERR_OK,
     NULL,
     ASK_NAME,
     NULL},
    {"socks5h://127.0.0.1:",
     "192.0.2.1",
     {{NULL, 3, {"\x05\x00", 2}}, {NULL, 10, GRANTED}},
     2,
     ERR_OK,
     NULL,
     STR("\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb"),
     NULL},
    {"socks5h://127.0.0.1:",
     "2001:db8::1",
     {{NULL, 3, {"\x05\x00", 2}}, {NULL, 22, GRANTED}},
     2,
     ERR_OK,
     NULL,
     STR("\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb"),
     NULL},
    {"socks5://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\x00", 2}}, {NULL, 10, GRANTED}},
     2,
     ERR_OK,
     NULL,
     STR("\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"),
     NULL},
    /* the bound address may be a name or IPv6; what follows is the tunnel's */
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\x00", 2}},
      {NULL, 13,
       STR("\x05\x00\x00\x03\x03"
           "abc\x00\x50"
           "early")}},
     2,
     ERR_OK,
     NULL,
     ASK_NAME,
     "early"},
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\x00", 2}},
      {NULL, 13,
       STR("\x05\x00\x00\x04"
           "0123456789abcdef"
           "\x00\x50"
           "early")}},
     2,
     ERR_OK,
     NULL,
     ASK_NAME,
     "early"},
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\x00", 2}},
      {NULL, 13,
       STR("\x05\x00\x00\x03\x00\x00\x50"
           "early")}},
     2,
     ERR_OK,
     NULL,
     ASK_NAME,
     "early"},
    /* user and password */
    {"socks5h://us:pw@127.0.0.1:",
     "x.test",
     {{NULL, 4, {"\x05\x02", 2}}, {NULL, 7, {"\x01\x00", 2}}, {NULL, 13, GRANTED}},
     3,
     ERR_OK,
     NULL,
     STR("\x05\x02\x00\x02\x01\x02us\x02pw\x05\x01\x00\x03\x06x.test\x01\xbb"),
     NULL},
    {"socks5h://us@127.0.0.1:",
     "x.test",
     {{NULL, 4, {"\x05\x00", 2}}, {NULL, 13, GRANTED}},
     2,
     ERR_OK,
     NULL,
     ASK_NAME,
     NULL},
    {"socks5h://us:pw@127.0.0.1:",
     "x.test",
     {{NULL, 4, {"\x05\x02", 2}}, {NULL, 7, {"\x01\x01", 2}}},
     2,
     ERR_PROXY_REFUSED,
     "user or password are wrong",
     STR_NULL,
     NULL},
    {"socks5h://us:pw@127.0.0.1:",
     "x.test",
     {{NULL, 4, {"\x05\xff", 2}}},
     1,
     ERR_PROXY_REFUSED,
     "it accepts neither our user and password nor none",
     STR_NULL,
     NULL},
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\xff", 2}}},
     1,
     ERR_PROXY_REFUSED,
     "it wants authentication; set user and password in --upstream-proxy",
     STR_NULL,
     NULL},
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\x02", 2}}},
     1,
     ERR_PROXY_REFUSED,
     "it wants authentication; set user and password in --upstream-proxy",
     STR_NULL,
     NULL},
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\x01", 2}}},
     1,
     ERR_PROXY_REFUSED,
     "it chose an authentication that was not offered",
     STR_NULL,
     NULL},
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"HTTP/1.1 400", 12}}},
     1,
     ERR_PROXY_REFUSED,
     "it does not speak SOCKS5",
     STR_NULL,
     NULL},
    {"socks5h://127.0.0.1:",
     "x.test",
     {{NULL, 3, {"\x05\x00", 2}}, {NULL, 13, STR("\x05\x00\x00\x02\x00\x00")}},
     2,
     ERR_PROXY_REFUSED,
     "an answer that is not SOCKS5",
     STR_NULL,
     NULL},
};

static void test_socks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(socks_cases) * 2; i++)
        run_socks(&socks_cases[i / 2], i % 2);
}

static void test_socks_codes(void **state)
{
    (void)state;
    static const struct {
        struct str reply;
        const char *says;
    } codes[] = {
        {CODE("\x01"), "general failure (code 1)"},
        {CODE("\x02"), "not allowed by its rules (code 2)"},
        {CODE("\x03"), "network unreachable (code 3)"},
        {CODE("\x04"), "host unreachable (code 4)"},
        {STR("\x05\x05"), "connection refused (code 5)"}, /* some send no more */
        {CODE("\x06"), "time to live expired (code 6)"},
        {CODE("\x07"), "command not supported (code 7)"},
        {CODE("\x08"), "address type not supported (code 8)"},
        {CODE("\x63"), "unknown reply code (code 99)"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
        const struct socks_case t = {"socks5h://127.0.0.1:",
                                     "x.test",
                                     {{NULL, 3, {"\x05\x00", 2}}, {NULL, 13, codes[i].reply}},
                                     2,
                                     ERR_PROXY_REFUSED,
                                     codes[i].says,
                                     STR_NULL,
                                     NULL};
        run_socks(&t, false);
        run_socks(&t, true);
    }
}

/* A proxy without IPv6 (or with one dead address) is asked for the next one. */
static void test_socks_next_address(void **state)
{
    (void)state;
    struct asker k;
    static const struct server_step steps[] = {{NULL, 3, {"\x05\x00", 2}},
                                               {NULL, 10, CODE("\x04")}};
    static const struct server_step good[] = {{NULL, 3, {"\x05\x00", 2}}, {NULL, 10, GRANTED}};
    server_open(&server, loop);
    server.steps = steps, server.n_steps = 2;
    struct hop hop = hop_of("socks5://127.0.0.1:");
    struct vetted_addr a[2] = {local(443), local(443)};
    assert_true(address_parse(STR("192.0.2.9"), &a[1].address));
    ask(&k, "x.test", (struct connect_spec){.hop = &hop, .addrs = a, .n = 2});
    TURN_UNTIL(server.step == 2);
    server.steps = good, server.then = THEN_ECHO;
    TURN_UNTIL(k.called);
    wants(&k, ERR_OK, NULL);
    assert_int_equal(server.accepted, 2);
    assert_true(str_ends(buf_str(&server.seen), STR("\xc0\x00\x02\x09\x01\xbb")));
    check_echo(&k);
    ask_done(&k);
    hop_fini(&hop);
    server_close(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_connect),         cmocka_unit_test(test_case115_credentials),
        cmocka_unit_test(test_http_garbage),         cmocka_unit_test(test_http_interim_flood),
        cmocka_unit_test(test_case43_chain_timeout), cmocka_unit_test(test_socks),
        cmocka_unit_test(test_socks_codes),          cmocka_unit_test(test_socks_next_address),
    };
    return cmocka_run_group_tests_name("upstream/chain", tests, group_setup, group_teardown);
}
