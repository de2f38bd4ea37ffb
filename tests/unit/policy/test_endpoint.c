/* Random endpoint rules against a naive judge that looks at every rule, spellings that must not dodge a rule, and the time it takes. */
#include "unit.h"
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include "policy/glob.h"
#include "policy/path.h"
#include "policy/route.h"

static uint64_t seed;

static unsigned pick(unsigned limit)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(seed >> 33) % limit;
}

static const char *const segments[] = {"a", "b", "v1", "ab", "x"};
static const char *const pieces[] = {"a", "b", "v1", "*", "**", "a*", "?", "{a,b}", "[ab]", "a%2Fb", "ab"};
static const char *const methods[] = {"GET", "POST", "get", "*"};

struct rule {
    char path[64];
    const char *method;
};

static void random_rule(struct rule *r)
{
    size_t n = 0;
    r->method = methods[pick(ARRAY_LEN(methods))];
    for (unsigned k = 1 + pick(3); k; k--)
        n += (size_t)snprintf(r->path + n, sizeof r->path - n, "/%s", pieces[pick(ARRAY_LEN(pieces))]);
    if (pick(3) == 0)
        (void)snprintf(r->path + n, sizeof r->path - n, "/**");
}

enum { RULES = 12 };
struct world {
    struct rule lists[3][RULES]; /* deny, approve, allow */
    unsigned n[3];
    bool policy, crossing;
    const char *base;
    enum endpoint_action fallback;
    struct policy *p;
};

static void fill(const struct world *w, int list, struct endpoint_spec *out)
{
    for (unsigned i = 0; i < w->n[list]; i++)
        out[i] = (struct endpoint_spec){.method = str_from(w->lists[list][i].method), .path = str_from(w->lists[list][i].path)};
}

static void make_world(struct world *w)
{
    static const char *const bases[] = {"", "", "/v1", "/a/b"};
    struct endpoint_spec specs[3][RULES];
    struct errctx ctx = {0};
    memset(w, 0, sizeof *w);
    w->policy = pick(2);
    w->crossing = pick(4) == 0;
    w->base = bases[pick(ARRAY_LEN(bases))];
    w->fallback = w->policy ? (enum endpoint_action)pick(3) : ENDPOINT_ACT_DENY;
    for (int list = w->policy ? 0 : 2; list < 3; list++) {
        w->n[list] = 1 + pick(RULES);
        for (unsigned i = 0; i < w->n[list]; i++)
            random_rule(&w->lists[list][i]);
        fill(w, list, specs[list]);
    }
    struct route_spec s = {.id = STR("r"), .prefix = STR("r"), .scheme = SCHEME_HTTPS, .host = STR("h.test"), .base_path = str_from(w->base),
                           .has_credential = true, .segment_globs = !w->crossing, .rules = specs[2], .n_rules = w->policy ? 0 : w->n[2],
                           .policy_given = w->policy, .fallback = w->fallback, .deny = specs[0], .n_deny = w->n[0],
                           .approve = specs[1], .n_approve = w->n[1], .allow = specs[2], .n_allow = w->policy ? w->n[2] : 0};
    assert_int_equal(policy_new(&w->p), ERR_OK);
    if (policy_add_route(w->p, &s, &ctx) != ERR_OK)
        fail_msg("%s", ctx.text);
}

/* ---- the naive judge ---- */

static bool naive_glob(const char *pattern, struct str path, bool crossing)
{
    struct glob *g;
    struct errctx ctx = {0};
    assert_int_equal(glob_compile(str_from(pattern), crossing ? GLOB_PATH : GLOB_SEGMENT, &g, &ctx), ERR_OK);
    bool match = glob_match(g, path);
    glob_free(g);
    return match;
}

/* A pattern that names the base path first is the whole path: "/v1/…" or "/v1" itself. */
static bool names_base(const struct world *w, const char *pattern)
{
    size_t n = strlen(w->base);
    return n && strncmp(pattern, w->base, n) == 0 && (pattern[n] == '/' || !pattern[n]);
}

static bool naive_rule(const struct world *w, int list, const struct rule *r, const char *method, struct str below, struct str below_decoded)
{
    char whole[200], whole_decoded[200];
    bool root = below.n == 1, root_decoded = below_decoded.n == 1;
    if (strcmp(r->method, "*") != 0 && strcasecmp(r->method, method) != 0)
        return false;
    size_t n = strlen(w->base), k = root && n ? 0 : below.n, m = root_decoded && n ? 0 : below_decoded.n;
    memcpy(whole, w->base, n), memcpy(whole + n, below.p, k);
    memcpy(whole_decoded, w->base, n), memcpy(whole_decoded + n, below_decoded.p, m);
    if (list == 2)
        return names_base(w, r->path) ? naive_glob(r->path, str_of(whole, n + k), w->crossing) : naive_glob(r->path, below, w->crossing);
    return naive_glob(r->path, below, true) || naive_glob(r->path, below_decoded, true) || naive_glob(r->path, str_of(whole, n + k), true) ||
           naive_glob(r->path, str_of(whole_decoded, n + m), true);
}

static enum endpoint_action naive_judge(const struct world *w, const char *method, struct str path, int *ret_rule)
{
    char scratch[500];
    struct judged_path judged;
    struct errctx ctx = {0};
    *ret_rule = -1;
    assert_int_equal(path_judge(path, scratch, sizeof scratch, &judged, &ctx), ERR_OK);
    for (int list = 0; list < 3; list++)
        for (unsigned i = 0; i < w->n[list]; i++)
            if (naive_rule(w, list, &w->lists[list][i], method, judged.segments, judged.decoded)) {
                *ret_rule = (int)i;
                return (enum endpoint_action)list;
            }
    return w->fallback;
}

/* ---- requests ---- */

static size_t random_path(char *out, bool data_slashes)
{
    size_t n = 0;
    for (unsigned k = pick(5); k; k--)
        n += (size_t)snprintf(out + n, 16, "%s%s", k > 1 && data_slashes && pick(4) == 0 ? "%2F" : "/", segments[pick(ARRAY_LEN(segments))]);
    if (!n || out[0] != '/') {
        memmove(out + 1, out, n);
        out[0] = '/';
        n++;
    }
    return n;
}

static struct decision judge(const struct world *w, const char *method, struct str path)
{
    struct facts f = {.shape = SHAPE_REVERSE, .prefix = STR("r"), .method = str_from(method), .path = path};
    struct decision d;
    policy_decide(w->p, &f, &d);
    return d;
}

static void test_against_naive(void **state)
{
    unsigned seen[3] = {0};
    (void)state;
    seed = 42;
    for (int round = 0; round < 400; round++) {
        struct world w;
        make_world(&w);
        for (int i = 0; i < 25; i++) {
            char path[200], label[120] = "endpoint_policy.default";
            const char *method = methods[pick(2)];
            size_t n = random_path(path, true);
            int rule;
            enum endpoint_action expected = naive_judge(&w, method, str_of(path, n), &rule);
            struct decision d = judge(&w, method, str_of(path, n));
            if (rule >= 0)
                (void)snprintf(label, sizeof label, "endpoint_policy.%s[%s %s]", endpoint_action_name(expected),
                               w.lists[expected][rule].method, w.lists[expected][rule].path);
            if (!d.endpoint_judged || d.endpoint_action != expected || !str_eq(d.endpoint_rule, str_from(label)))
                fail_msg("%s %.*s under %s: %.*s, expected %s", method, (int)n, path, w.base, STR_ARG(d.endpoint_rule), label);
            assert_int_equal(d.verdict == VERDICT_ALLOW, expected != ENDPOINT_ACT_DENY);
            seen[expected]++;
        }
        policy_free(w.p);
    }
    assert_true(seen[0] > 500 && seen[1] > 500 && seen[2] > 500);
}

/* The same path in other letters: escapes, repeated and trailing slashes; with `data`, also slashes as %2F and %5C. */
static size_t respell(const char *path, size_t n, char *out, bool data)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        if (path[i] == '/' && i && data && pick(2))
            m += (size_t)snprintf(out + m, 4, "%s", pick(2) ? "%2f" : "%5C");
        else if (path[i] == '/')
            m += (size_t)snprintf(out + m, 3, "%s", pick(3) ? "/" : "//");
        else if (path[i] != '%' && pick(3) == 0)
            m += (size_t)snprintf(out + m, 4, pick(2) ? "%%%02x" : "%%%02X", (unsigned)path[i]);
        else
            out[m++] = path[i];
    }
    if (pick(4) == 0)
        out[m++] = '/';
    return m;
}

static void test_case_70_spellings_dodge_nothing(void **state)
{
    unsigned denied = 0;
    (void)state;
    seed = 99;
    for (int round = 0; round < 300; round++) {
        struct world w;
        make_world(&w);
        for (int i = 0; i < 30; i++) {
            char path[200], other[700];
            size_t n = random_path(path, false);
            struct decision plain = judge(&w, "GET", str_of(path, n));
            size_t m = respell(path, n, other, false);
            struct decision same = judge(&w, "GET", str_of(other, m));
            if (plain.verdict != same.verdict || !str_eq(plain.endpoint_rule, same.endpoint_rule))
                fail_msg("%.*s and %.*s differ", (int)n, path, (int)m, other);
            m = respell(path, n, other, true);
            struct decision data = judge(&w, "GET", str_of(other, m));
            bool closed = plain.endpoint_action == ENDPOINT_ACT_DENY && !str_eq(plain.endpoint_rule, STR("endpoint_policy.default"));
            if (closed && data.verdict != VERDICT_REFUSE)
                fail_msg("%.*s is denied, %.*s is not", (int)n, path, (int)m, other);
            denied += closed;
        }
        policy_free(w.p);
    }
    assert_true(denied > 500);
}

/* ---- time ---- */

static struct policy *many_rules(unsigned n, bool legacy)
{
    static char texts[10000][48];
    static struct endpoint_spec rules[10000];
    struct policy *p;
    struct errctx ctx = {0};
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(texts[i], sizeof texts[i], i % 2 ? "/repos/org%u/name%u/**" : "/repos/org%u/name%u/file", i / 4, i);
        rules[i] = (struct endpoint_spec){.method = STR("GET"), .path = str_from(texts[i])};
    }
    struct route_spec s = {.id = STR("r"), .scheme = SCHEME_HTTPS, .host = STR("h.test"), .segment_globs = true, .policy_given = !legacy,
                           .fallback = ENDPOINT_ACT_ALLOW};
    if (legacy)
        s.rules = rules, s.n_rules = n;
    else
        s.deny = rules, s.n_deny = n;
    assert_int_equal(policy_new(&p), ERR_OK);
    assert_int_equal(policy_add_route(p, &s, &ctx), ERR_OK);
    return p;
}

static double time_of(const struct policy *p, const char *path, enum verdict expected)
{
    struct facts f = {.shape = SHAPE_FORWARD, .scheme = SCHEME_HTTPS, .port = 443, .method = STR("GET"), .path = str_from(path)};
    struct errctx ctx = {0};
    struct decision d;
    double best = 1e9;
    assert_int_equal(hostname_parse(STR("h.test"), &f.host, &ctx), ERR_OK);
    for (int round = 0; round < 7; round++) {
        clock_t start = clock();
        for (int i = 0; i < 2000; i++)
            policy_decide(p, &f, &d);
        double took = (double)(clock() - start) / CLOCKS_PER_SEC / 2000;
        best = took < best ? took : best;
    }
    assert_int_equal(d.verdict, expected);
    return best;
}

static void test_ten_thousand_rules(void **state)
{
    static const char *const paths[] = {"/repos/org0/name3/x/y/z", "/repos/org0/name2/file", "/repos/org1/none", "/"};
    static const enum verdict allow[] = {VERDICT_ALLOW, VERDICT_ALLOW, VERDICT_REFUSE, VERDICT_REFUSE};
    (void)state;
    for (int legacy = 0; legacy < 2; legacy++) {
        struct policy *few = many_rules(10, legacy), *many = many_rules(10000, legacy);
        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
            enum verdict v = legacy ? allow[i] : allow[i] == VERDICT_ALLOW ? VERDICT_REFUSE : VERDICT_ALLOW;
            double a = time_of(few, paths[i], v), b = time_of(many, paths[i], v);
            print_message("%s: 10 rules %.0f ns, 10000 rules %.0f ns\n", paths[i], a * 1e9, b * 1e9);
            if (b > 3 * a + 2e-6)
                fail_msg("%s: %g s with 10 rules, %g s with 10000", paths[i], a, b);
        }
        policy_free(few);
        policy_free(many);
    }
}

/* 10,000 hosts with rules: found by hash. */
static void test_ten_thousand_routes(void **state)
{
    struct policy *p;
    struct errctx ctx = {0};
    struct endpoint_spec rule = {.method = STR("*"), .path = STR("/ok/**")};
    (void)state;
    assert_int_equal(policy_new(&p), ERR_OK);
    for (unsigned i = 0; i < 10000; i++) {
        char host[40];
        int n = snprintf(host, sizeof host, i % 2 ? "*.h%u.test" : "h%u.test", i);
        struct route_spec s = {.id = STR("r"), .scheme = SCHEME_HTTPS, .host = str_of(host, (size_t)n), .segment_globs = true,
                               .rules = &rule, .n_rules = 1};
        assert_int_equal(policy_add_route(p, &s, &ctx), ERR_OK);
    }
    double listed = time_of(p, "/ok/x", VERDICT_ALLOW);
    print_message("10000 routes: %.0f ns\n", listed * 1e9);
    assert_true(listed < 20e-6);
    policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_naive),
        cmocka_unit_test(test_case_70_spellings_dodge_nothing),
        cmocka_unit_test(test_ten_thousand_rules),
        cmocka_unit_test(test_ten_thousand_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
