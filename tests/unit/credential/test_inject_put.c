/* Where a secret goes, and what of the client's goes for it (decisions K4, K8, K9; wire.md 7.7; cases 74, 86; A18). */
#include "base/chunk.h"
#include "base/mem.h"
#include "credential/inject.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define TOKEN "0123456789abcdef0123456789abcdef"

static struct client people[1];
static const struct clients clients = {.v = people, .n = 1};
static struct chunk_pool *pool;

/* A request "target|Name: value|…" with one secret; `want` is what goes, in order, in the same form. */
struct row {
    enum inject_mode into;
    const char *header, *format; /* or pattern, parameter */
    const char *secret, *request, *want;
    bool keep;
};

#define H INJECT_HEADER
#define B INJECT_BASIC_AUTH
#define P INJECT_URL_PATH
#define Q INJECT_QUERY_PARAM

static const struct row rows[] = {
    {H, "Authorization", "Bearer {}", "s3", "/|A: 1|Authorization: Bearer " TOKEN "|B: 2", "/|A: 1|B: 2|Authorization: Bearer s3", false},
    {H, "X-Api-Key", "{}", "s3", "/|x-api-key: " TOKEN "|X-API-KEY: mine|X-Api-Key: mine2", "/|X-Api-Key: s3", false},
    {H, "X-Two", "a={};b={}", "s3", "/|X-Two: " TOKEN, "/|X-Two: a=s3;b=s3", false},
    {B, "Authorization", "Bearer {}", "u:p", "/|authorization: x", "/|Authorization: Basic dTpw", false},
    /* decision K9: none of the client's goes up */
    {H, "X-Key", "{}", "s", "/|Authorization: a|X-Api-Key: b|Api-Key: c|X-Goog-Api-Key: d|Private-Token: e|X-Auth-Token: f|X-Amz-Security-Token: g|Cookie: h",
     "/|Cookie: h|X-Key: s", false},
    {H, "X-Key", "{}", "s", "/|Authorization: a|X-Key: b|X-Api-Key: " TOKEN, "/|Authorization: a|X-Key: s", true},
    {P, "/b{}/", NULL, "a/b?c=d e%\xff", "/b{}/x?y=1", "/ba%2Fb%3Fc=d%20e%25%FF/x?y=1", false},
    {Q, "key", NULL, "q+r&1", "/p?a=%41&key=&b={}&key=", "/p?a=%41&key=q%2Br%261&b={}&key=q%2Br%261", false},
    {Q, "key", NULL, "s", "/p", "/p?key=s", false},
    {Q, "key", NULL, "s", "/p?", "/p?key=s", false},
    {Q, "key", NULL, "s", "/p?akey=&a", "/p?akey=&a&key=s", false},
    /* steps that servers would take */
    {P, "/bot{}/", NULL, "110:A-_+@", "/bot{}/x", "/bot110:A-_+@/x", false},
    {P, "/{}/", NULL, "..", "/{}/x", NULL, false},
    {P, "/{}", NULL, ".", "/{}?x", NULL, false},
    {P, "/b{}/", NULL, "..", "/b{}/x", "/b../x", false},
};

static void add_field(struct fields *f, struct str line)
{
    size_t colon = str_find(line, ':');
    assert_true(fields_add(f, str_of(line.p, colon), str_of(line.p + colon + 2, line.n - colon - 2)));
}

static void parse(const char *text, struct http_head *head)
{
    struct str rest = str_from(text), line;
    assert_true(str_next(&rest, '|', &head->target));
    while (str_next(&rest, '|', &line))
        add_field(&head->fields, line);
}

static void format(struct buf *out, const struct http_head *head)
{
    buf_add_str(out, head->target);
    for (unsigned i = 0; i < head->fields.n; i++) {
        const struct field *f = &head->fields.v[i];
        if (!f->drop)
            buf_printf(out, "|%.*s: %.*s", STR_ARG(f->name), STR_ARG(f->value));
    }
}

struct world {
    struct service_conf conf;
    struct credential c;
    struct material *m;
    struct decision d;
    struct arena a;
    struct field v[16];
    struct http_head head;
    struct buf secret;
    struct errctx ctx;
};

static void open_world(struct world *w, const struct row *r, const char *request)
{
    *w = (struct world){.d = {.verdict = VERDICT_ALLOW}};
    w->conf = (struct service_conf){.inject_mode = r->into,
                                    .inject_header = str_from(r->header),
                                    .credential_format = str_from(r->format ? r->format : "{}"),
                                    .query_param_name = str_from(r->header),
                                    .keep_client_credentials = r->keep};
    w->c = (struct credential){.id = STR("svc"), .conf = &w->conf, .shown = r->into, .shown_header = w->conf.inject_header};
    w->m = r->secret ? material_new(secret_new(str_from(r->secret)), NULL, 0) : NULL;
    arena_init(&w->a, pool, 65536);
    w->head = (struct http_head){.method = STR("GET"), .minor = 1, .fields = {.v = w->v, .cap = ARRAY_LEN(w->v)}};
    parse(request, &w->head);
    w->head.fields.cap = w->head.fields.n; /* no room: it has to be made */
    buf_init(&w->secret, INJECT_SECRET_BYTES);
}

static enum err run(struct world *w)
{
    const char *hole = memmem(w->head.target.p, w->head.target.n, "{}", 2);
    struct injection in = {.clients = &clients, .decision = &w->d, .credential = &w->c, .material = w->m,
                           .secret_at = hole ? (size_t)(hole - w->head.target.p) : 0, .arena = &w->a};
    return inject(&in, &w->head, &w->secret, &w->ctx);
}

static void close_world(struct world *w)
{
    buf_wipe_fini(&w->secret);
    material_unref(w->m);
    arena_fini(&w->a);
}

static void test_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct world w;
        struct buf got;
        open_world(&w, r, r->request);
        buf_init(&got, 4096);
        enum err e = run(&w);
        format(&got, &w.head);
        if (e != (r->want ? ERR_OK : ERR_CREDENTIAL_UNAVAILABLE) || (r->want && !str_eq(buf_str(&got), str_from(r->want))))
            fail_msg("%s: %s, %.*s", r->request, err_name(e), STR_ARG(buf_str(&got)));
        buf_fini(&got);
        close_world(&w);
    }
}

/* What is written is all in the one buffer that is wiped: it never moved, so it left no copy behind. */
static void test_secret_stands_in_one_buffer(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct world w;
        if (!r->want)
            continue;
        open_world(&w, r, r->request);
        assert_int_equal(run(&w), ERR_OK);
        struct str at = r->into == P || r->into == Q ? w.head.target : w.head.fields.v[w.head.fields.n - 1].value;
        assert_true(at.p >= w.secret.p && at.p + at.n <= w.secret.p + w.secret.n);
        close_world(&w);
    }
}

static void test_a_second_phantom_is_refused(void **state) /* K8 */
{
    static const char *const requests[] = {("/?t=" TOKEN "|X-Api-Key: " TOKEN), ("/|X-Note: see " TOKEN), "/%30123456789abcdef0123456789abcdef"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        static const struct row row = {H, "X-Api-Key", "{}", "s3", NULL, NULL, false};
        struct world w;
        open_world(&w, &row, requests[i]);
        assert_int_equal(run(&w), ERR_BAD_REQUEST);
        assert_null(strstr(w.ctx.text, TOKEN));
        close_world(&w);
    }
}

static struct material *two_fields(const char *second_name)
{
    struct material_field *f = mem_alloc(2 * sizeof(*f));
    f[0] = (struct material_field){.name = {mem_dup("X-One", 5), 5}, .value = secret_new(STR("one"))};
    f[1] = (struct material_field){.name = {mem_dup(second_name, strlen(second_name)), strlen(second_name)}, .value = secret_new(STR("two"))};
    return material_new(NULL, f, 2);
}

static void test_fields_of_a_helper(void **state)
{
    static const struct row header = {H, "Authorization", "Bearer {}", NULL, NULL, NULL, false};
    static const struct row path = {P, "/b{}/", NULL, NULL, NULL, NULL, false};
    struct world w;
    struct buf got;
    (void)state;
    open_world(&w, &header, "/|x-one: mine|X-TWO: mine|Authorization: Bearer " TOKEN "|A: 1");
    w.m = two_fields("X-Two");
    assert_int_equal(run(&w), ERR_OK);
    buf_init(&got, 4096);
    format(&got, &w.head);
    assert_true(str_eq(buf_str(&got), STR("/|A: 1|X-One: one|X-Two: two")));
    buf_fini(&got);
    close_world(&w);
    open_world(&w, &path, "/b{}/");
    w.m = two_fields("X-Two");
    assert_int_equal(run(&w), ERR_CREDENTIAL_UNAVAILABLE); /* no one secret for the path */
    close_world(&w);
}

static void test_credential_and_decision_agree(void **state)
{
    static const struct row row = {H, "X-Key", "{}", "s3", NULL, NULL, false};
    struct world w;
    (void)state;
    open_world(&w, &row, "/");
    w.d.credential = -1;
    assert_int_equal(run(&w), ERR_INTERNAL);
    assert_int_equal(w.secret.n, 0);
    close_world(&w);
    open_world(&w, &row, "/");
    material_unref(w.m);
    w.m = NULL;
    assert_int_equal(run(&w), ERR_INTERNAL);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_secret_stands_in_one_buffer),
        cmocka_unit_test(test_a_second_phantom_is_refused),
        cmocka_unit_test(test_fields_of_a_helper),
        cmocka_unit_test(test_credential_and_decision_agree),
    };
    bool locked;
    secret_region_init(&locked);
    people[0].token = secret_new(STR(TOKEN));
    pool = chunk_pool_new(1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    chunk_pool_free(pool);
    secret_unref(people[0].token);
    secret_region_fini();
    return failed;
}
