/* The phantom's place in path and query, and the target without it (wire.md 7.7; case 87). */
#include "credential/phantom.h"
#include "base/chunk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define TOKEN "0123456789abcdef0123456789abcdef"

static struct client people[1];
static struct clients clients = {.v = people, .n = 1};

struct row {
    enum inject_mode shown, into;
    const char *pattern, *replacement; /* PATH; or the parameter's name */
    const char *path, *query;
    const char *want_path, *want_query; /* want_path NULL: 400 */
    int secret_at;                      /* -1: none */
};

#define P INJECT_URL_PATH
#define Q INJECT_QUERY_PARAM
#define H INJECT_HEADER

static const struct row rows[] = {
    /* cut out of the path: exactly one slash stays */
    {P, H, "/{}/", NULL, "/" TOKEN "/api/v1", NULL, "/api/v1", NULL, -1},
    {P, H, "/auth/{}/", NULL, "/auth/" TOKEN "/api", NULL, "/api", NULL, -1},
    {P, H, "/{}", NULL, "/" TOKEN, NULL, "/", NULL, -1},
    {P, H, "/k8s/{}/", NULL, "/api/k8s/" TOKEN "/data", NULL, "/api/data", NULL, -1},
    {P, H, "/prefix/{}/", NULL, "/prefix/" TOKEN "//suffix", NULL, "/suffix", NULL, -1},
    {P, H, "/{}", NULL, "/" TOKEN "/api", "limit=10", "/api", "limit=10", -1},
    {P, H, "/t/{}/", NULL, "/t/another/api", NULL, "/t/another/api", NULL, -1}, /* optional (C2) */
    {P, H, "/t/{}/", NULL, "/api", NULL, "/api", NULL, -1},
    /* cut out of the query */
    {Q, H, "token", NULL, "/", "token=" TOKEN "&limit=10", "/", "limit=10", -1},
    {Q, H, "token", NULL, "/", "token=" TOKEN, "/", NULL, -1},
    {Q, H, "token", NULL, "/", "a=%41&token=x&b=+&token=y&&c", "/", "a=%41&b=+&&c", -1},
    {Q, H, "token", NULL, "/", "", "/", "", -1},
    {Q, H, "token", NULL, "/", "xtoken=1&tokenx=2", "/", "xtoken=1&tokenx=2", -1},
    {Q, H, "token", NULL, "/", "t%6Fken=x&%74%6F%6b%65%6E=y&t%6=z&a", "/", "t%6=z&a", -1},
    /* emptied, for the secret */
    {Q, Q, "key", NULL, "/", "k%65y=1&%6bey=&ke%79x=2&k%65", "/", "k%65y=&%6bey=&ke%79x=2&k%65", -1},
    {Q, Q, "k%y", NULL, "/", "k%y=1&k%25y=2", "/", "k%y=&k%25y=", -1},
    {Q, Q, "key", NULL, "/", "a=1&key=" TOKEN "&b=2&key=other", "/", "a=1&key=&b=2&key=", -1},
    {Q, Q, "key", NULL, "/", "akey=1", "/", "akey=1", -1},
    {H, Q, "key", NULL, "/", NULL, "/", NULL, -1},
    /* marked, for the secret */
    {P, P, "/bot{}/", NULL, "/bot" TOKEN "/send", "q=1", "/bot{}/send", "q=1", 4},
    {P, P, "/in/{}/", "/out/{}/", "/in/" TOKEN "/x/in/y", NULL, "/out/{}/x/in/y", NULL, 5},
    {P, P, "/v/{}", NULL, "/a/v/" TOKEN, NULL, "/a/v/{}", NULL, 5},
    {H, P, "/bot{}/", NULL, "/bot/x", NULL, "/bot{}/x", NULL, 4},
    {P, P, "/bot{}/", NULL, "/other", NULL, NULL, NULL, 0}, /* W5 */
    {P, P, "/bot{}/", NULL, "/bot" TOKEN, NULL, NULL, NULL, 0},
};

static struct str str_or_null(const char *z)
{
    return z ? str_from(z) : STR_NULL;
}

static void check(struct chunk_pool *pool, const struct row *r)
{
    struct service_conf conf = {.inject_mode = r->into,
                                .path_pattern = str_or_null(r->pattern),
                                .path_replacement = str_or_null(r->replacement ? r->replacement : r->pattern),
                                .query_param_name = str_or_null(r->pattern)};
    struct credential c = {.id = STR("svc"), .conf = &conf, .shown = r->shown,
                           .shown_pattern = conf.path_pattern, .shown_param = conf.query_param_name};
    struct phantom_target t = {.secret_at = SIZE_MAX};
    struct errctx ctx = {0};
    struct arena a;
    arena_init(&a, pool, 65536);
    enum err e = phantom_clean(&a, &clients, &c, str_from(r->path), str_or_null(r->query), &t, &ctx);
    if (!r->want_path) {
        assert_int_equal(e, ERR_BAD_REQUEST);
        assert_true(strlen(ctx.text) > 10 && !strstr(ctx.text, TOKEN));
        assert_int_equal(t.secret_at, SIZE_MAX); /* untouched */
    } else {
        if (e || !str_eq(t.path, str_from(r->want_path)) || !str_eq(t.query, str_or_null(r->want_query)) ||
            !t.query.p != !r->want_query)
            fail_msg("%s ? %s: %s, %.*s ? %.*s", r->path, r->query ? r->query : "", err_name(e), STR_ARG(t.path),
                     STR_ARG(t.query));
        if (r->secret_at >= 0)
            assert_int_equal(t.secret_at, r->secret_at);
    }
    arena_fini(&a);
}

static void test_clean(void **state)
{
    (void)state;
    struct chunk_pool *pool = chunk_pool_new(1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(pool, &rows[i]);
    chunk_pool_free(pool);
}

/* Without authentication there is no token: what stands at the place goes all the same. */
static void test_without_authentication(void **state)
{
    (void)state;
    struct chunk_pool *pool = chunk_pool_new(1);
    static const struct row row = {P, H, "/t/{}/", NULL, "/t/any/api", NULL, "/api", NULL, -1};
    clients.auth_off = true;
    check(pool, &row);
    clients.auth_off = false;
    chunk_pool_free(pool);
}

static void test_find(void **state)
{
    (void)state;
    size_t at = 7, n = 7;
    assert_false(phantom_in_path(STR("/bot"), STR("/bot/x"), &at, &n)); /* no {} */
    assert_false(phantom_in_path(STR(""), STR("/bot/x"), &at, &n));
    assert_false(phantom_in_path(STR("/{}"), STR(""), &at, &n));
    assert_true(at == 7 && n == 7);
    assert_true(phantom_in_path(STR("/b{}/"), STR("/ba/bc/"), &at, &n)); /* the first occurrence */
    assert_true(at == 2 && n == 1);
    assert_true(phantom_is(&clients, STR(TOKEN)));
    assert_true(phantom_is(&clients, STR("%30123456789abcdef0123456789abcde%66")));
    assert_false(phantom_is(&clients, STR("%z" TOKEN)));
    assert_false(phantom_is(&clients, STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_without_authentication),
        cmocka_unit_test(test_find),
    };
    bool locked;
    secret_region_init(&locked);
    people[0].token = secret_new(STR(TOKEN));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    secret_unref(people[0].token);
    secret_region_fini();
    return failed;
}
