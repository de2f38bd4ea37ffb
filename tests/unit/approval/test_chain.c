/* Chains: who is asked after whom, and what becomes of the answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "approval/approval_int.h"
#include "base/limits.h"

static struct str ab[] = {{"a", 1}, {"b", 1}}, x_c[] = {{"x", 1}, {"c", 1}}, a_[] = {{"a", 1}}, gone[] = {{"?", 1}}, xy[] = {{"x", 1}, {"y", 1}};
static struct approval_conf confs[] = {
    {.name = {"a", 1}, .kind = APPROVAL_TERMINAL},
    {.name = {"b", 1}, .kind = APPROVAL_WEBHOOK},
    {.name = {"c", 1}, .kind = APPROVAL_WEBHOOK},
    {.name = {"all", 3}, .kind = APPROVAL_CHAIN, .all = true, .backends = ab, .n_backends = 2},
    {.name = {"any", 3}, .kind = APPROVAL_CHAIN, .backends = ab, .n_backends = 2},
    {.name = {"one", 3}, .kind = APPROVAL_CHAIN, .all = true, .backends = a_, .n_backends = 1},
    {.name = {"x", 1}, .kind = APPROVAL_CHAIN, .backends = ab, .n_backends = 2},
    {.name = {"y", 1}, .kind = APPROVAL_CHAIN, .all = true, .backends = x_c, .n_backends = 2},
    {.name = {"z", 1}, .kind = APPROVAL_CHAIN, .backends = xy, .n_backends = 2},
    {.name = {"gone", 4}, .kind = APPROVAL_CHAIN, .backends = gone, .n_backends = 1},
    {.name = {"empty", 5}, .kind = APPROVAL_CHAIN},
};
static const struct approval_confs all = {confs, ARRAY_LEN(confs), ARRAY_LEN(confs)};

static const struct {
    const char *backend;
    const char *answers; /* g, d, t, f in turn */
    const char *asked;
    char whole;
} rows[] = {
    {"a", "g", "a", 'g'},      {"a", "d", "a", 'd'},      {"a", "t", "a", 't'},      {"a", "f", "a", 'f'},
    {"all", "gg", "ab", 'g'},  {"all", "gd", "ab", 'd'},  {"all", "d", "a", 'd'},    {"all", "t", "a", 'd'},
    {"all", "f", "a", 'f'},    {"all", "gf", "ab", 'f'},  {"any", "g", "a", 'g'},    {"any", "dg", "ab", 'g'},
    {"any", "dd", "ab", 'd'},  {"any", "fg", "ab", 'g'},  {"any", "ff", "ab", 'd'},  {"any", "tt", "ab", 'd'},
    {"one", "g", "a", 'g'},    {"one", "d", "a", 'd'},    {"y", "gg", "ac", 'g'},    {"y", "dgg", "abc", 'g'},
    {"y", "ddx", "ab", 'd'},   {"y", "gf", "ac", 'f'},    {"z", "ddddx", "abab", 'd'}, {"z", "dddgg", "ababc", 'g'},
    {"gone", "", "", 'f'},     {"empty", "", "", 'f'},
};

static enum approval_answer of(char c)
{
    return c == 'g' ? APPROVAL_GRANTED : c == 'd' ? APPROVAL_DENIED : c == 't' ? APPROVAL_TIMEOUT : APPROVAL_FAILED;
}

static void test_case71_walks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct chain c;
        char asked[16] = "";
        size_t n = 0;
        enum approval_answer answer = APPROVAL_FAILED;
        assert_true(chain_init(&c, &all));
        const struct approval_conf *b = chain_first(&c, approval_find(&all, str_from(rows[i].backend)));
        while (b) {
            assert_true(n < 15 && rows[i].answers[n]);
            asked[n] = b->name.p[0];
            answer = of(rows[i].answers[n++]);
            b = chain_after(&c, &answer);
        }
        if (strcmp(asked, rows[i].asked) != 0 || answer != of(rows[i].whole))
            fail_msg("%s %s: asked %s, answer %d", rows[i].backend, rows[i].answers, asked, answer);
        chain_fini(&c);
    }
    assert_null(approval_find(&all, STR("nobody")));
}

/* A chain of chains that name each other twice asks 2^n times: it ends all the same. */
static void test_endless(void **state)
{
    (void)state;
    enum { N = 20 };
    static struct approval_conf v[N + 1];
    static struct str names[N + 1][2];
    static char text[N + 1];
    for (size_t i = 0; i <= N; i++) {
        text[i] = (char)('a' + i);
        v[i].name = str_of(&text[i], 1);
        v[i].kind = i == N ? APPROVAL_WEBHOOK : APPROVAL_CHAIN;
        v[i].backends = names[i], v[i].n_backends = i == N ? 0 : 2;
        names[i][0] = names[i][1] = str_of(&text[i + 1 <= N ? i + 1 : N], 1);
    }
    struct approval_confs many = {v, N + 1, N + 1};
    struct chain c;
    unsigned asked = 0;
    enum approval_answer answer = APPROVAL_DENIED;
    assert_true(chain_init(&c, &many));
    for (const struct approval_conf *b = chain_first(&c, &v[0]); b; b = chain_after(&c, &answer)) {
        answer = APPROVAL_DENIED;
        asked++;
    }
    assert_int_equal(answer, APPROVAL_FAILED);
    assert_int_equal(asked, LIMIT_APPROVAL_STEPS);
    chain_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_case71_walks), cmocka_unit_test(test_endless)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
