#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/encode.h"
#include "credential/inject.h"

#define TOKEN "0123456789abcdef0123456789abcdef" /* long: looked for anywhere */
#define WORD "hunter2"                           /* short: only in the places of K8 */

static struct client people[2];
static struct clients clients = {.v = people, .n = 2};

static int setup(void **state)
{
    bool locked;
    (void)state;
    secret_region_init(&locked);
    people[0].token = secret_new(STR(TOKEN));
    people[1].token = secret_new(STR(WORD));
    return people[0].token && people[1].token ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    secret_unref(people[0].token);
    secret_unref(people[1].token);
    secret_region_fini();
    return 0;
}

struct row {
    const char *target, *name, *value; /* in value, {text} stands for the base64 of text */
    bool leaks;
};

static const struct row rows[] = {
    {"/", "X", "y", false},
    {"/" TOKEN, NULL, NULL, true},
    {"/a/x" TOKEN "y", NULL, NULL, true},
    {"/a?k=" TOKEN, NULL, NULL, true},
    {"/a?k=x" TOKEN "&b", NULL, NULL, true},
    {"/%30123456789abcdef0123456789abcde%66", NULL, NULL, true}, /* percent-decoded */
    {"/a?%" TOKEN, NULL, NULL, true},
    {"/a?k=%3%30123456789abcdef0123456789abcdef", NULL, NULL, true},
    {"/0123456789abcdef0123456789abcde", NULL, NULL, false},     /* a byte short */
    {"/%3123456789abcdef0123456789abcdef%", NULL, NULL, false},
    {"http://a.test/" TOKEN, NULL, NULL, true},
    {"http://" TOKEN ".test/", NULL, NULL, true},
    {"/", "X", TOKEN, true},
    {"/", "Referer", "http://a.test/?" TOKEN "#", true},
    {"/", "Cookie", "a=b; c=" TOKEN, true},
    {"/", "Authorization", "Bearer " TOKEN, true},
    {"/", "Authorization", "Basic {user:" TOKEN "}", true},
    {"/", "Authorization", "basic  {" TOKEN ":x}", true},
    {"/", "X-Other", "Basic {x:yz" TOKEN "}", true},
    {"/", "Authorization", "Basic {user:other}", false},
    {"/", "Authorization", "Digest {user:" TOKEN "}", false}, /* only Basic is decoded */
    {"/", "X-" TOKEN, "v", true},
    {"/", "Host", TOKEN, true},
    /* the short one */
    {"/" WORD, NULL, NULL, true},
    {"/a/" WORD "/b", NULL, NULL, true},
    {"/a/" WORD "?x", NULL, NULL, true},
    {"/a/%68unter2", NULL, NULL, true},
    {"/a/" WORD "x", NULL, NULL, false},
    {"/a/x" WORD, NULL, NULL, false},
    {"/a?k=" WORD, NULL, NULL, true},
    {"/a?k=%68unter%32&b", NULL, NULL, true},
    {"/a?" WORD, NULL, NULL, true},
    {"/a?k=x" WORD, NULL, NULL, false},
    {"/a?k=" WORD "=", NULL, NULL, false},
    {"/a?" WORD "=k", NULL, NULL, false}, /* a name, not a value */
    {"/a?k=a/" WORD "/b", NULL, NULL, false},
    {"http://" WORD "/a", NULL, NULL, false}, /* the host that policy allowed */
    {"http://a.test/" WORD, NULL, NULL, true},
    {"http://a.test?" WORD, NULL, NULL, true},
    {"/", "X", WORD, true},
    {"/", "X", "Bearer " WORD, true},
    {"/", "X", "Anything   " WORD, true},
    {"/", "X", "a b " WORD, false},
    {"/", "X", "x" WORD, false},
    {"/", "X", WORD " y", false},
    {"/", "Cookie", "a=" WORD, false},
    {"/", "X", "Basic {user:" WORD "}", true},
    {"/", "X", "Basic {:" WORD "}", true},
    {"/", "X", "Basic {" WORD ":x}", false},
    {"/", "X", "Basic {" WORD "}", true},
    {"/", "X", "Basic {a:b:" WORD "}", false}, /* the password begins at the first colon */
    {"/", "X", "Basic {user:x" WORD "}", false},
    {"/", "Host", WORD, false},
    {"/", WORD, "x", false},
};

/* The value of a row with {…} encoded, in pieces of the padding a client may leave out. */
static void make_value(struct buf *out, const char *value, bool padded)
{
    struct str s = str_from(value);
    size_t open = str_find(s, '{'), close = str_rfind(s, '}');
    if (open == s.n) {
        buf_add_str(out, s);
        return;
    }
    buf_add(out, s.p, open);
    encode_base64(out, str_of(s.p + open + 1, close - open - 1));
    while (!padded && out->n && out->p[out->n - 1] == '=')
        out->n--;
}

/* The look at a head without a credential. */
static enum err look(const struct clients *who, struct decision *d, struct http_head *head, struct errctx *ctx)
{
    struct injection in = {.clients = who, .decision = d};
    struct buf secret;
    d->credential = -1;
    buf_init(&secret, INJECT_SECRET_BYTES);
    enum err e = inject(&in, head, &secret, ctx);
    assert_int_equal(secret.n, 0);
    buf_fini(&secret);
    return e;
}

static enum err run_inject(const struct row *r, struct str value, bool drop, struct errctx *ctx)
{
    struct field v[3];
    struct http_head head = {.method = STR("GET"), .target = str_from(r->target), .minor = 1};
    struct decision d = {.verdict = VERDICT_ALLOW};
    head.fields = (struct fields){.v = v, .cap = 3};
    assert_true(fields_add(&head.fields, STR("Accept"), STR("*/*")));
    if (r->name) {
        assert_true(fields_add(&head.fields, str_from(r->name), value));
        v[1].drop = drop;
    }
    return look(&clients, &d, &head, ctx);
}

static void test_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i / 2];
        struct errctx ctx = {0};
        struct buf value;
        buf_init(&value, 1024);
        if (r->value)
            make_value(&value, r->value, i & 1);
        enum err e = run_inject(r, buf_str(&value), false, &ctx);
        if (e != (r->leaks ? ERR_BAD_REQUEST : ERR_OK))
            fail_msg("%s %s: %s gives %s", r->target, r->name ? r->name : "", r->value ? r->value : "", err_name(e));
        if (r->leaks) /* nor does the sentence tell it */
            assert_true(!strstr(ctx.text, TOKEN) && !strstr(ctx.text, WORD) && strlen(ctx.text) > 10);
        if (r->name) /* a field that does not go cannot leak */
            assert_int_equal(run_inject(r, buf_str(&value), true, &ctx), ERR_OK);
        buf_fini(&value);
    }
}

static void test_trailers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct field v[1];
        struct fields f = {.v = v, .cap = 1};
        struct buf value;
        if (!r->name)
            continue;
        buf_init(&value, 1024);
        make_value(&value, r->value, true);
        assert_true(fields_add(&f, str_from(r->name), buf_str(&value)));
        v[0].drop = i & 1;
        assert_int_equal(inject_trailers_leak(&clients, &f), r->leaks);
        buf_fini(&value);
    }
}

static void test_method(void **state)
{
    struct http_head head = {.method = STR(TOKEN), .target = STR("/")};
    struct decision d = {.verdict = VERDICT_ALLOW};
    struct errctx ctx = {0};
    (void)state;
    assert_int_equal(look(&clients, &d, &head, &ctx), ERR_BAD_REQUEST);
}

static void test_without_authentication_there_is_no_token(void **state)
{
    struct clients open = {.auth_off = true, .v = people, .n = 2};
    struct http_head head = {.method = STR("GET"), .target = STR("/" TOKEN)};
    struct decision d = {.verdict = VERDICT_ALLOW};
    struct errctx ctx = {0};
    (void)state;
    assert_int_equal(look(&open, &d, &head, &ctx), ERR_OK);
}

static void test_only_allowed_requests(void **state)
{
    struct http_head head = {.method = STR("GET"), .target = STR("/")};
    struct decision d = {.verdict = VERDICT_REFUSE};
    struct errctx ctx = {0};
    (void)state;
    assert_int_equal(look(&clients, &d, &head, &ctx), ERR_INTERNAL);
}

/* Case 86: any byte may stand next to a token. */
static void test_bytes_around_a_token(void **state)
{
    (void)state;
    for (unsigned c = 1; c < 256; c++) {
        char value[sizeof TOKEN + 2];
        struct row r = {.target = "/", .name = "X"};
        struct errctx ctx = {0};
        value[0] = (char)c;
        memcpy(value + 1, TOKEN, sizeof TOKEN - 1);
        value[sizeof TOKEN] = (char)c;
        assert_int_equal(run_inject(&r, str_of(value, sizeof TOKEN + 1), false, &ctx), ERR_BAD_REQUEST);
    }
}

/* What goes to the log, the audit or a client. */
static void test_texts_are_masked(void **state)
{
    static const char *const masked[][2] = {
        {"/a", "/a"},
        {"/" TOKEN, "/********************************"},
        {"no service 'x" TOKEN TOKEN "'", "no service 'x****************************************************************'"},
        {"/%30123456789abcdef0123456789abcde%66?" TOKEN, "/************************************?********************************"},
        {"no service '0123456789abcdef0': use", "no service '*****************': use"},
        {"no service '%30123456789abcdef%3': use", "no service '******************%3': use"},
        {"no service '0123456789abcde': use", "no service '0123456789abcde': use"},
        {"/" WORD "/x?k=" WORD, "/*******/x?k=*******"},
        {"/x" WORD "/" WORD "x", "/x" WORD "/" WORD "x"},
        {WORD, "*******"},
        {"%", "%"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(masked); i++) {
        char text[256];
        struct clients open = {.auth_off = true};
        size_t n = strlen(masked[i][0]);
        memcpy(text, masked[i][0], n + 1);
        inject_mask(&open, text, n);
        assert_string_equal(text, masked[i][0]);
        inject_mask(&clients, text, n);
        assert_string_equal(text, masked[i][1]);
    }
}

static void test_targets_and_host_names(void **state)
{
    (void)state;
    assert_true(inject_target_leaks(&clients, STR("/x/" TOKEN)));
    assert_true(inject_target_leaks(&clients, STR(TOKEN ".test:443")));
    assert_true(inject_target_leaks(&clients, STR("/" WORD "/x")));
    assert_false(inject_target_leaks(&clients, STR("http://" WORD "/x")));
    assert_true(inject_host_leaks(&clients, STR(TOKEN ".test")));
    assert_false(inject_host_leaks(&clients, STR(WORD)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_masked),
        cmocka_unit_test(test_targets_and_host_names),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_method),
        cmocka_unit_test(test_without_authentication_there_is_no_token),
        cmocka_unit_test(test_only_allowed_requests),
        cmocka_unit_test(test_bytes_around_a_token),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
