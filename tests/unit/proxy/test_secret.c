/* The stages of a request that a credential belongs to (secret.c, retry.c), between fake legs: real policy, credentials, broker and vault.
 * Both loops run in one thread, stepped by hand. */
#include "../base/unit.h"
#include "base/mem.h"
#include "config/runtime.h"
#include "credential/broker.h"
#include "credential/table.h"
#include "proxy/proxy_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TOKEN "0123456789abcdef0123456789abcdef"
#define SECRET "sk-of-the-environment"

/* ---- legs that remember ---- */

struct fake {
    struct leg leg;
    char out[4096]; /* every head: "METHOD target\n" or "status\n", and its lines */
    size_t n;
    unsigned heads, nexts, closes;
    bool full;      /* takes heads only */
    bool sensitive; /* as it was when the last head came */
};

static void note(struct fake *f, struct str a, const char *between, struct str b)
{
    size_t room = sizeof(f->out) - f->n;
    int n = snprintf(f->out + f->n, room, "%.*s%s%.*s\n", STR_ARG(a), between, STR_ARG(b));
    assert_true(n >= 0 && (size_t)n < room);
    f->n += (size_t)n;
}

static enum err fake_head(struct leg *l, const struct http_head *head, struct str extra, bool end)
{
    struct fake *f = (struct fake *)l;
    char status[8];
    (void)extra, (void)end;
    (void)snprintf(status, sizeof(status), "%u", head->status);
    f->heads++;
    f->sensitive = l->secret_out;
    if (head->status)
        note(f, str_from(status), "", STR(""));
    else
        note(f, head->method, " ", head->target);
    for (unsigned i = 0; i < head->fields.n; i++)
        if (!head->fields.v[i].drop)
            note(f, head->fields.v[i].name, ": ", head->fields.v[i].value);
    return ERR_OK;
}

static enum err fake_body(struct leg *l, struct str bytes, size_t *ret_taken)
{
    *ret_taken = ((struct fake *)l)->full ? 0 : bytes.n;
    return ERR_OK;
}

static enum err fake_end(struct leg *l, const struct fields *trailers)
{
    (void)trailers;
    l->out_done = !((struct fake *)l)->full;
    return l->out_done ? ERR_OK : ERR_AGAIN;
}

static enum err fake_flush(struct leg *l)
{
    (void)l;
    return ERR_OK;
}

static void fake_resume(struct leg *l)
{
    (void)l;
}

static void fake_next(struct leg *l)
{
    ((struct fake *)l)->nexts++;
    l->in_done = l->out_done = l->reusable = l->secret_out = false;
}

static void fake_close(struct leg *l, bool reset)
{
    (void)reset;
    ((struct fake *)l)->closes++;
}

static const struct leg_ops fake_ops = {
    .head = fake_head, .body = fake_body, .end = fake_end, .flush = fake_flush,
    .resume = fake_resume, .next = fake_next, .close = fake_close,
};

/* ---- the world ---- */

static struct loop *control, *loop;
static struct broker *broker;
static struct runtime *guarded, *open_to_all; /* without authentication */
static char folder[64], file[96];
static struct fake client, upstream;
static struct shared shared;
static struct listen_point point;
static struct worker worker;
static struct session session;
static struct exchange x;

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct runtime *load(bool no_auth)
{
    static const char *const services[] = {"head", "path", "query", "shown", "lost", "file", "later"};
    struct config flags;
    struct runtime *rt = NULL;
    struct errctx ctx = {0};
    struct secret *token = secret_new(STR(TOKEN));
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/p.json", folder);
    config_init(&flags);
    flags.no_auth = no_auth;
    assert_true(setting_set(&flags.profile, str_from(path), STR("--profile")));
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        assert_true(settings_add(&flags.credentials, str_from(services[i]), STR("--credential")));
    if (runtime_new(&flags, token, 1, &rt, &ctx) || credentials_attach(rt, &ctx))
        fail_msg("%s", ctx.text);
    config_fini(&flags);
    secret_unref(token);
    return rt;
}

static void write_profile(void)
{
    char path[96], text[2048];
    (void)snprintf(path, sizeof(path), "%s/p.json", folder);
    (void)snprintf(file, sizeof(file), "%s/secret", folder);
#define SERVICE(name, key, more)                                                                    \
    "\"" name "\": {\"upstream\": \"http://127.0.0.1:9/base\", \"env_var\": \"V_" name "\", \"credential_key\": \"" key "\"" more "}"
    (void)snprintf(text, sizeof(text),
                   "{\"meta\": {\"name\": \"t\"}, \"network\": {\"custom_credentials\": {\n" SERVICE("head", "env://API_KEY", "") ",\n"
                   SERVICE("path", "env://API_KEY", ", \"inject_mode\": \"url_path\", \"path_pattern\": \"/bot{}/\"") ",\n"
                   SERVICE("query", "env://API_KEY", ", \"inject_mode\": \"query_param\", \"query_param_name\": \"key\"") ",\n"
                   SERVICE("shown", "env://API_KEY", ", \"proxy\": {\"inject_mode\": \"query_param\", \"query_param_name\": \"t\"}") ",\n"
                   SERVICE("lost", "env://NOT_THERE", "") ",\n" SERVICE("file", "file://%s", "") ",\n"
                   "\"later\": {\"upstream\": \"https://later.test\", \"aws_auth\": {\"service\": \"s3\", \"region\": \"eu-west-1\"}}}}}",
                   file);
    write_file(path, text);
}

static int setup(void **state)
{
    static char *environment[] = {(char *)"API_KEY=" SECRET, NULL};
    bool locked;
    (void)state;
    secret_region_init(&locked);
    tls_init();
    (void)snprintf(folder, sizeof(folder), "/tmp/nono-secret-XXXXXX");
    if (!mkdtemp(folder) || loop_new_uv(&control) || loop_new_epoll(&loop))
        return -1;
    write_profile();
    guarded = load(false);
    open_to_all = load(true);
    struct broker_env env = {.control = control, .envp = environment};
    if (broker_new(&env, &broker))
        return -1;
    point = (struct listen_point){.name = STR("127.0.0.1:8080"), .port = 8080};
    if (!address_parse(STR("127.0.0.1"), &point.address))
        return -1;
    shared = (struct shared){.points = &point, .n_points = 1};
    worker = (struct worker){.loop = loop, .shared = &shared, .vault = vault_new(loop, control, broker), .chunks = chunk_pool_new(2)};
    return worker.vault && worker.chunks ? 0 : -1;
}

static int teardown(void **state)
{
    char command[96];
    (void)state;
    vault_free(worker.vault);
    loop_turn(loop, 0);
    loop_turn(control, 0);
    broker_free(broker);
    runtime_unref(guarded);
    runtime_unref(open_to_all);
    chunk_pool_free(worker.chunks);
    loop_free(loop);
    loop_free(control);
    secret_region_fini();
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* ---- one exchange, as stage 2 finds it ---- */

static void nothing(struct task *t)
{
    (void)t;
}

static void no_timer(struct timer *t)
{
    (void)t;
}

static struct field field_room[8];

static void begin(struct runtime *rt, const char *prefix, const char *path, const char *query)
{
    struct request *r;
    client = (struct fake){.leg.ops = &fake_ops, .full = true};
    upstream = (struct fake){.leg.ops = &fake_ops};
    session = (struct session){.worker = &worker, .leg = &client.leg};
    x = (struct exchange){.session = &session, .worker = &worker, .runtime = runtime_ref(rt), .client = &client.leg, .request_done = true};
    arena_init(&x.arena, worker.chunks, LIMIT_ARENA_BYTES);
    x.request = r = arena_alloc(&x.arena, sizeof(*r));
    assert_non_null(r);
    memset(r, 0, sizeof(*r));
    record_init(&x.record);
    timer_init(&x.timer, no_timer);
    task_init(&x.task, nothing);
    r->head = (struct http_head){.method = STR("GET"), .minor = 1, .keep_alive = true, .fields = {.v = field_room, .cap = ARRAY_LEN(field_room)}};
    r->facts = (struct facts){.shape = SHAPE_REVERSE, .method = STR("GET"), .prefix = str_from(prefix), .path = str_from(path),
                              .query = query ? str_from(query) : STR_NULL, .client = rt->clients.n ? &rt->clients.v[0] : &rt->clients.anyone};
}

static void add(const char *name, const char *value)
{
    assert_true(fields_add(&x.request->head.fields, str_from(name), str_from(value)));
}

/* Stage 3, as exchange.c has it. */
static enum err judged(void)
{
    struct request *r = x.request;
    struct facts *f = &r->facts;
    struct route_view v;
    enum err e = secret_clean_reverse(&x);
    if (e)
        return e;
    policy_decide(x.runtime->policy, f, &r->decision);
    if (r->decision.verdict == VERDICT_REFUSE)
        return r->decision.refusal;
    e = secret_choose(&x);
    if (e)
        return e;
    route_view(r->decision.route, &v);
    f->host = r->decision.host, f->port = r->decision.port, f->scheme = r->decision.scheme;
    r->secret_at += v.base_path.n;
    r->head.target = arena_printf(&x.arena, "%.*s%.*s%s%.*s", STR_ARG(v.base_path), STR_ARG(f->path), f->query.p ? "?" : "", STR_ARG(f->query));
    return ERR_OK;
}

/* Stages 6 to 8, with a connection in the hand. */
static void go(const char *peer)
{
    struct vetted_addr to = {.port = 9, .by = VOUCHED_POLICY};
    enum err e;
    assert_true(address_parse(str_from(peer), &to.address));
    x.up = upconn_new(STR(""), &upstream.leg, &to);
    assert_non_null(x.up);
    x.state = EXCH_CREDENTIAL;
    e = secret_get(&x);
    if (e == ERR_OK)
        exchange_go_on(&x);
    else if (e != ERR_AGAIN)
        exchange_refuse(&x, e);
    for (unsigned i = 0; i < 1000 && x.state == EXCH_CREDENTIAL; i++) {
        loop_turn(control, 0);
        loop_turn(loop, 1000000);
    }
}

static void finish(void)
{
    secret_release(x.request);
    upconn_close(x.up);
    timer_stop(loop, &x.timer);
    task_cancel(&x.task);
    arena_fini(&x.arena);
    record_fini(&x.record);
    runtime_unref(x.runtime);
}

static void expect(const struct fake *f, const char *part, bool there)
{
    if ((strstr(f->out, part) != NULL) != there)
        fail_msg("\"%s\" %s in\n%s", part, there ? "is not" : "is", f->out);
}

/* The upstream's answer, without a body. */
static void answer(uint16_t status)
{
    struct field v[1];
    struct http_head head = {.status = status, .minor = 1, .keep_alive = true, .fields = {.v = v, .cap = 1}};
    upstream.leg.in_done = true;
    upstream.leg.reusable = upstream.leg.out_done;
    exchange_upstream_events.on_head(&x, &upstream.leg, &head, true);
    for (unsigned i = 0; i < 1000 && x.state == EXCH_CREDENTIAL; i++) {
        loop_turn(control, 0);
        loop_turn(loop, 1000000);
    }
}

/* ---- 2 and 3 ---- */

static void test_place_and_target(void **state)
{
    static const struct {
        const char *prefix, *path, *query;
        enum phantom_kind kind;
        const char *want_path, *want_query; /* NULL: 400 */
        size_t secret_at;
    } rows[] = {
        {"head", "/x", "a=1", PHANTOM_HEADER, "/x", "a=1", 0},
        {"path", "/bot" TOKEN "/x", NULL, PHANTOM_PATH, "/bot{}/x", "", 4},
        {"path", "/x", NULL, PHANTOM_PATH, NULL, NULL, 0},
        {"query", "/x", "key=" TOKEN "&b", PHANTOM_QUERY, "/x", "key=&b", 0},
        {"shown", "/x", "t=" TOKEN "&b", PHANTOM_QUERY, "/x", "b", 0},
        {"none", "/x" TOKEN, NULL, PHANTOM_NONE, "/x" TOKEN, "", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct phantom_place room = {.kind = PHANTOM_NONE};
        begin(guarded, rows[i].prefix, rows[i].path, rows[i].query);
        const struct phantom_place *place = secret_place(&x, &room);
        assert_int_equal(place ? place->kind : PHANTOM_NONE, rows[i].kind);
        assert_int_equal(secret_clean_reverse(&x), rows[i].want_path ? ERR_OK : ERR_BAD_REQUEST);
        if (rows[i].want_path) {
            assert_true(str_eq(x.request->facts.path, str_from(rows[i].want_path)));
            assert_true(str_eq(x.request->facts.query, str_from(rows[i].want_query)));
            assert_int_equal(x.request->secret_at, rows[i].secret_at);
        }
        finish();
    }
}

static void test_browsers(void **state)
{
    static const struct {
        const char *host, *origin;
        bool refused;
    } rows[] = {
        {"127.0.0.1:1", NULL, false}, {"localhost", NULL, false}, {"host.docker.internal:8080", NULL, false}, {"evil.test", NULL, true},
        {"127.0.0.1", "http://127.0.0.1:8080", false}, {"127.0.0.1", "http://127.0.0.1:8081", true}, {"127.0.0.1", "null", true},
        {"127.0.0.1", "http://evil.test:8080", true}, {"127.0.0.1", "http://127.0.0.1:8080.evil.test", true}, {"[::1", NULL, true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
        bool auth = i >= ARRAY_LEN(rows);
        size_t k = i % ARRAY_LEN(rows);
        begin(auth ? guarded : open_to_all, "head", "/x", NULL);
        add("Host", rows[k].host);
        if (rows[k].origin)
            add("Origin", rows[k].origin);
        assert_int_equal(judged(), ERR_OK);
        assert_int_equal(secret_refuse_browser(&x), rows[k].refused && !auth ? ERR_BROWSER_REFUSED : ERR_OK);
        finish();
    }
}

/* ---- 6 to 8 ---- */

static void test_injected(void **state)
{
    static const struct {
        const char *prefix, *path, *query, *line;
    } rows[] = {
        {"head", "/x", "a=1", "GET /base/x?a=1\n"}, {"path", "/bot" TOKEN "/x", NULL, "GET /base/bot" SECRET "/x\n"},
        {"query", "/x", "key=" TOKEN, "GET /base/x?key=" SECRET "\n"}, {"query", "/x", NULL, "GET /base/x?key=" SECRET "\n"},
        {"shown", "/x", "t=" TOKEN, "GET /base/x\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(guarded, rows[i].prefix, rows[i].path, rows[i].query);
        add("Host", "127.0.0.1:8080");
        add("X-Api-Key", TOKEN);
        add("Connection", "authorization, close");
        add("Authorization", "Bearer " TOKEN);
        assert_int_equal(judged(), ERR_OK);
        go("127.0.0.1");
        assert_int_equal(x.state, EXCH_SEND);
        assert_int_equal(upstream.heads, 1);
        assert_true(upstream.sensitive && x.record.credential_active && x.record.credential_version > 0);
        expect(&upstream, rows[i].line, true);
        expect(&upstream, "Authorization: Bearer " SECRET "\n", i == 0 || i == 4);
        expect(&upstream, "Host: 127.0.0.1:9\n", true);
        expect(&upstream, TOKEN, false);
        expect(&upstream, "X-Api-Key", false);
        finish();
    }
}

static void test_a_token_that_is_left_goes_nowhere(void **state)
{
    (void)state;
    begin(guarded, "head", "/x", NULL);
    add("X-Other", "see " TOKEN);
    assert_int_equal(judged(), ERR_OK);
    go("127.0.0.1");
    assert_int_equal(x.state, EXCH_REPLY);
    assert_int_equal(upstream.heads, 0);
    assert_int_equal(upstream.closes, 1);
    expect(&client, "400\n", true);
    finish();
}

static void test_K7_never_in_the_clear_beyond_loopback(void **state)
{
    static const char *const peers[] = {"10.0.0.1", "0.0.0.0", "fd00::1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        begin(guarded, "head", "/x", NULL);
        assert_int_equal(judged(), ERR_OK);
        go(peers[i]);
        assert_int_equal(x.state, EXCH_REPLY);
        assert_int_equal(upstream.heads, 0);
        expect(&client, "502\n", true);
        finish();
    }
}

static void test_unusable(void **state)
{
    struct vault *usual = worker.vault;
    (void)state;
    for (unsigned i = 0; i < 3; i++) { /* asked; known to be lost; nobody to ask */
        begin(guarded, "lost", "/x", NULL);
        assert_int_equal(judged(), ERR_OK);
        worker.vault = i < 2 ? usual : NULL;
        if (i) /* nobody is to be asked about it */
            assert_int_equal(secret_foresee(&x), ERR_CREDENTIAL_UNAVAILABLE);
        go("127.0.0.1");
        assert_int_equal(x.state, EXCH_REPLY);
        assert_int_equal(upstream.heads, 0);
        expect(&client, "503\n", true);
        assert_non_null(strstr(x.request->err.text, "route lost"));
        finish();
    }
    worker.vault = usual;
    begin(guarded, "later", "/x", NULL); /* K13 */
    assert_int_equal(judged(), ERR_CREDENTIAL_UNAVAILABLE);
    finish();
}

static void test_a_pooled_connection_that_ends_while_the_credential_is_fetched(void **state)
{
    (void)state;
    write_file(file, "first-value");
    begin(guarded, "file", "/x", NULL);
    assert_int_equal(judged(), ERR_OK);
    struct vetted_addr to = {.port = 9, .by = VOUCHED_POLICY};
    assert_true(address_parse(STR("127.0.0.1"), &to.address));
    x.up = upconn_new(STR(""), &upstream.leg, &to);
    assert_non_null(x.up);
    x.state = EXCH_CREDENTIAL;
    assert_int_equal(secret_get(&x), ERR_AGAIN);
    assert_non_null(upstream.leg.events); /* it is watched */
    upstream.leg.events->on_reset(upstream.leg.owner, &upstream.leg, ERR_EOF);
    assert_null(x.up);
    assert_int_equal(upstream.closes, 1);
    finish();
}

/* ---- after a 401 ---- */

static void test_case_82_sent_once_more(void **state)
{
    (void)state;
    write_file(file, "first-value");
    begin(guarded, "file", "/x", NULL);
    add("X-Api-Key", TOKEN);
    assert_int_equal(judged(), ERR_OK);
    go("127.0.0.1");
    expect(&upstream, "Bearer first-value\n", true);
    uint64_t version = x.record.credential_version;
    write_file(file, "second-value");
    answer(401);
    assert_int_equal(client.heads, 0);
    assert_int_equal(upstream.heads, 2);
    assert_int_equal(upstream.nexts, 1); /* the same connection */
    assert_int_equal(upstream.closes, 0);
    expect(&upstream, "Bearer second-value\n", true);
    expect(&upstream, TOKEN, false);
    assert_true(x.record.credential_version > version && upstream.sensitive && x.renewed);
    write_file(file, "third-value");
    answer(401); /* once is enough */
    assert_int_equal(upstream.heads, 2);
    assert_int_equal(x.state, EXCH_RELAY);
    expect(&client, "401\n", true);
    finish();
}

static void test_case_82_nothing_newer_or_nothing_to_repeat(void **state)
{
    (void)state;
    for (unsigned lost = 0; lost < 2; lost++) {
        begin(guarded, "head", "/x", NULL);
        assert_int_equal(judged(), ERR_OK);
        go("127.0.0.1");
        x.request->replay_lost = lost;
        answer(401);
        assert_int_equal(upstream.heads, 1);
        assert_int_equal(x.state, EXCH_RELAY);
        assert_int_equal(client.heads, 1);
        expect(&client, "401\n", true);
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place_and_target),
        cmocka_unit_test(test_browsers),
        cmocka_unit_test(test_injected),
        cmocka_unit_test(test_a_token_that_is_left_goes_nowhere),
        cmocka_unit_test(test_K7_never_in_the_clear_beyond_loopback),
        cmocka_unit_test(test_unusable),
        cmocka_unit_test(test_a_pooled_connection_that_ends_while_the_credential_is_fetched),
        cmocka_unit_test(test_case_82_sent_once_more),
        cmocka_unit_test(test_case_82_nothing_newer_or_nothing_to_repeat),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
