#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/encode.h"
#include "policy/identify.h"

#define TOKEN "0123456789abcdef0123456789abcdef"

static struct client people[2];
static struct clients clients = {.v = people, .n = 2};

static int setup(void **state)
{
    bool locked;
    (void)state;
    secret_region_init(&locked);
    people[0] = (struct client){STR("one"), secret_new(STR(TOKEN))};
    people[1] = (struct client){STR("two"), secret_new(STR("pass: word"))};
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

/* "Name: value" lines; in values, {text} stands for the base64 of text. */
static void parse_lines(const char *lines, struct fields *f, struct buf *store)
{
    struct str rest = str_from(lines), line;
    while (str_next(&rest, '\n', &line)) {
        if (line.n == 0)
            continue;
        size_t colon = str_find(line, ':'), start = store->n;
        struct str value = str_trim(str_of(line.p + colon + 1, line.n - colon - 1));
        size_t open = str_find(value, '{'), close = str_rfind(value, '}');
        struct str name = str_of(line.p, colon);
        if (open < value.n) {
            buf_add(store, value.p, open);
            encode_base64(store, str_of(value.p + open + 1, close - open - 1));
            buf_add(store, value.p + close + 1, value.n - close - 1);
            value = str_of(store->p + start, store->n - start);
        }
        assert_true(fields_add(f, name, value));
    }
}

struct row {
    enum shape shape;
    const char *lines;
    const char *who; /* NULL: nobody */
    enum auth_mechanism mechanism;
};

static const struct row rows[] = {
    /* case 9 */
    {SHAPE_CONNECT, "Proxy-Authorization: Bearer " TOKEN, "one", AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "proxy-authorization: bearer   " TOKEN, "one", AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "PROXY-AUTHORIZATION: BEARER\t" TOKEN, "one", AUTH_PROXY_AUTHORIZATION},
    {SHAPE_FORWARD, "Proxy-Authorization: Basic {nono:" TOKEN "}", "one", AUTH_PROXY_AUTHORIZATION},
    {SHAPE_FORWARD, "Proxy-Authorization: bAsIc \t {:" TOKEN "}", "one", AUTH_PROXY_AUTHORIZATION},
    {SHAPE_FORWARD, "Proxy-Authorization: Basic {anybody:pass: word}", "two", AUTH_PROXY_AUTHORIZATION},
    {SHAPE_FORWARD, "Proxy-Authorization: Bearer pass: word", "two", AUTH_PROXY_AUTHORIZATION},
    {SHAPE_REVERSE, "Proxy-Authorization: Basic {nono:" TOKEN "}", "one", AUTH_PROXY_AUTHORIZATION},
    /* cases 1, 10 and what is no proof */
    {SHAPE_CONNECT, "", NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Bearer", NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Bearer x" TOKEN, NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: " TOKEN, NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: token " TOKEN, NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Basic " TOKEN, NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Basic {" TOKEN "}", NULL, AUTH_PROXY_AUTHORIZATION}, /* no colon */
    {SHAPE_CONNECT, "Proxy-Authorization: Basic {nono:" TOKEN "}=", NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Basic !!!!", NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Basic", NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Basic {nono:}", NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Authorization: Bearer " TOKEN, NULL, AUTH_PROXY_AUTHORIZATION},
    {SHAPE_FORWARD, "X-Api-Key: " TOKEN, NULL, AUTH_PROXY_AUTHORIZATION},
    /* the first line of a scheme of ours decides */
    {SHAPE_CONNECT, "Proxy-Authorization: Digest x\nProxy-Authorization: Bearer " TOKEN, "one",
     AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Bearer wrong\nProxy-Authorization: Bearer " TOKEN, NULL,
     AUTH_PROXY_AUTHORIZATION},
    {SHAPE_CONNECT, "Proxy-Authorization: Bearer " TOKEN "\nProxy-Authorization: Bearer wrong", "one",
     AUTH_PROXY_AUTHORIZATION},
    /* phantoms (C2) */
    {SHAPE_REVERSE, "Authorization: Bearer " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "Authorization: " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "Authorization: token " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "Authorization: Basic {user:" TOKEN "}", "one", AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "X-Api-Key: " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "x-goog-api-key: Bearer " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_LOCAL, "Private-Token: " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_LOCAL, "X-Amz-Security-Token: " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_LOCAL, "X-Auth-Token: pass: word", "two", AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "Authorization: Bearer other\nX-Api-Key: " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "Proxy-Authorization: Bearer wrong\nX-Api-Key: " TOKEN, "one", AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "X-Api-Key: other\nX-Api-Key: " TOKEN, NULL, AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "Authorization: Digest " TOKEN, NULL, AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "X-Other: " TOKEN, NULL, AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "Cookie: a=" TOKEN, NULL, AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "", NULL, AUTH_PHANTOM_HEADER},
    {SHAPE_REVERSE, "Proxy-Authorization: Bearer wrong", NULL, AUTH_PROXY_AUTHORIZATION},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct field v[8];
        struct fields f = {.v = v, .cap = ARRAY_LEN(v)};
        struct identity who;
        struct buf store;
        buf_init(&store, 4096);
        assert_non_null(buf_reserve(&store, 2048)); /* the slices must stay where they are */
        parse_lines(r->lines, &f, &store);
        identify(&clients, r->shape, &f, &who);
        bool origin_form = r->shape == SHAPE_REVERSE || r->shape == SHAPE_LOCAL;
        if ((who.client != NULL) != (r->who != NULL) || who.mechanism != r->mechanism)
            fail_msg("%s: %s by %s", r->lines, who.client ? "known" : "unknown",
                     auth_mechanism_name(who.mechanism));
        if (r->who)
            assert_true(str_eq(who.client->name, str_from(r->who)));
        assert_int_equal(who.refusal, r->who ? ERR_OK : origin_form ? ERR_UNAUTHORIZED : ERR_PROXY_AUTH);
        buf_fini(&store);
    }
}

/* The place that a route names (C2, B15). */
struct place_row {
    struct phantom_place place;
    const char *lines, *path, *query;
    const char *who;
    enum auth_mechanism mechanism;
};

#define IN_HEADER(h, f) {.kind = PHANTOM_HEADER, .header = {h, sizeof(h) - 1}, .format = {f, sizeof(f) - 1}}
#define IN_PATH(p) {.kind = PHANTOM_PATH, .pattern = {p, sizeof(p) - 1}}
#define IN_QUERY(p) {.kind = PHANTOM_QUERY, .param = {p, sizeof(p) - 1}}

static const struct place_row place_rows[] = {
    {IN_HEADER("X-In", "{}"), "x-in: " TOKEN, "/", NULL, "one", AUTH_PHANTOM_HEADER},
    {IN_HEADER("X-In", "key {}"), "X-In: KEY " TOKEN, "/", NULL, "one", AUTH_PHANTOM_HEADER},
    {IN_HEADER("X-In", "key {}"), "X-In: keys " TOKEN, "/", NULL, NULL, AUTH_PHANTOM_HEADER},
    {IN_HEADER("X-In", "a={};b={}"), "X-In: a=" TOKEN ";b=" TOKEN, "/", NULL, "one", AUTH_PHANTOM_HEADER},
    {IN_HEADER("X-In", "a={};b={}"), "X-In: a=" TOKEN ";b=x" TOKEN, "/", NULL, NULL, AUTH_PHANTOM_HEADER},
    {IN_HEADER("X-In", "a={};b={}"), "X-In: a=" TOKEN ";c=" TOKEN, "/", NULL, NULL, AUTH_PHANTOM_HEADER},
    {IN_HEADER("X-In", "no hole"), "X-In: no hole", "/", NULL, NULL, AUTH_PHANTOM_HEADER},
    {IN_HEADER("X-In", "{}"), "X-In: other\nX-In: " TOKEN, "/", NULL, NULL, AUTH_PHANTOM_HEADER}, /* the first decides */
    {IN_HEADER("X-In", "{}"), "X-Api-Key: " TOKEN, "/", NULL, "one", AUTH_PHANTOM_HEADER}, /* any field of K9 */
    {{.kind = PHANTOM_BASIC, .header = STR("X-In")}, "X-In: Basic {u:" TOKEN "}", "/", NULL, "one", AUTH_PHANTOM_HEADER},
    {{.kind = PHANTOM_BASIC, .header = STR("X-In")}, "X-In: Basic {u:wrong}", "/", NULL, NULL, AUTH_PHANTOM_HEADER}, /* case 10 */
    {IN_PATH("/bot{}/"), "", "/bot" TOKEN "/x", NULL, "one", AUTH_PHANTOM_PATH},
    {IN_PATH("/bot{}/"), "", "/a/bot%30123456789abcdef0123456789abcdef/x", NULL, "one", AUTH_PHANTOM_PATH},
    {IN_PATH("/bot{}/"), "", "/bot" TOKEN, NULL, NULL, AUTH_PHANTOM_PATH},
    {IN_PATH("/bot{}/"), "", "/botWRONG/x", NULL, NULL, AUTH_PHANTOM_PATH},
    {IN_PATH("/bot{}/"), "", "/bot/x", NULL, NULL, AUTH_PHANTOM_PATH},
    {IN_PATH("/{}"), "", "/" TOKEN "/x", NULL, "one", AUTH_PHANTOM_PATH},
    {IN_PATH("/{}"), "Authorization: Bearer " TOKEN, "/x", NULL, "one", AUTH_PHANTOM_HEADER},
    {IN_QUERY("key"), "", "/", "a=1&key=" TOKEN, "one", AUTH_PHANTOM_QUERY},
    {IN_QUERY("key"), "", "/", "key=pass%3A%20word", "two", AUTH_PHANTOM_QUERY},
    {IN_QUERY("key"), "", "/", "key=pass:+word", NULL, AUTH_PHANTOM_QUERY}, /* + is no space */
    {IN_QUERY("key"), "", "/", "key=x&key=" TOKEN, NULL, AUTH_PHANTOM_QUERY},
    {IN_QUERY("key"), "", "/", "akey=" TOKEN "&Key=" TOKEN, NULL, AUTH_PHANTOM_QUERY},
    {IN_QUERY("key"), "", "/", NULL, NULL, AUTH_PHANTOM_QUERY},
};

static enum auth_mechanism ask(const struct place_row *r, enum shape shape, const struct client **ret_who)
{
    struct field v[8];
    struct fields f = {.v = v, .cap = ARRAY_LEN(v)};
    struct facts facts = {.shape = shape, .path = str_from(r->path), .query = r->query ? str_from(r->query) : STR_NULL};
    struct identity who;
    struct buf store;
    buf_init(&store, 4096);
    assert_non_null(buf_reserve(&store, 2048));
    parse_lines(r->lines, &f, &store);
    identify_at(&clients, &facts, &r->place, &f, &who);
    buf_fini(&store);
    *ret_who = who.client;
    return who.mechanism;
}

static void test_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(place_rows); i++) {
        const struct place_row *r = &place_rows[i];
        const struct client *who;
        enum auth_mechanism m = ask(r, SHAPE_REVERSE, &who);
        if ((who != NULL) != (r->who != NULL) || m != r->mechanism)
            fail_msg("row %zu %s %s: %s by %s", i, r->lines, r->path, who ? "known" : "unknown", auth_mechanism_name(m));
        if (r->who)
            assert_true(str_eq(who->name, str_from(r->who)));
        (void)ask(r, SHAPE_FORWARD, &who); /* a phantom is no proof there */
        assert_null(who);
    }
}

/* Case 4 and C3: --no-auth takes everybody. */
static void test_no_auth(void **state)
{
    struct clients open = {.auth_off = true, .anyone = {.name = STR("anyone")}};
    struct fields none = {.v = NULL};
    (void)state;
    for (int shape = SHAPE_CONNECT; shape <= SHAPE_LOCAL; shape++) {
        struct identity who;
        identify(&open, (enum shape)shape, &none, &who);
        assert_ptr_equal(who.client, &open.anyone);
        assert_int_equal(who.mechanism, AUTH_NONE);
        assert_int_equal(who.refusal, ERR_OK);
    }
}

static void test_nobody_configured(void **state)
{
    struct clients nobody = {.v = NULL};
    struct field v[1];
    struct fields f = {.v = v, .cap = 1};
    struct identity who;
    (void)state;
    assert_true(fields_add(&f, STR("Proxy-Authorization"), STR("Bearer x")));
    identify(&nobody, SHAPE_CONNECT, &f, &who);
    assert_null(who.client);
    assert_int_equal(who.refusal, ERR_PROXY_AUTH);
}

static void test_mechanism_names(void **state)
{
    (void)state;
    assert_string_equal(auth_mechanism_name(AUTH_NONE), "none");
    assert_string_equal(auth_mechanism_name(AUTH_PROXY_AUTHORIZATION), "proxy_authorization");
    assert_string_equal(auth_mechanism_name(AUTH_PHANTOM_HEADER), "phantom_header");
    assert_string_equal(auth_mechanism_name(AUTH_PEER), "peer");
    assert_string_equal(auth_mechanism_name(AUTH_INHERITED), "inherited");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_no_auth),
        cmocka_unit_test(test_nobody_configured),
        cmocka_unit_test(test_mechanism_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
