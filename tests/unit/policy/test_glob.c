/* Patterns (E1, E2): vectors of both readings, what is refused, and a naive matcher that backtracks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>
#include "base/mem.h"
#include "policy/glob.h"

static struct glob *compiled(const char *pattern)
{
    struct glob *g = NULL;
    struct errctx ctx = {0};
    if (glob_compile(str_from(pattern), GLOB_SEGMENT, &g, &ctx) != ERR_OK)
        fail_msg("%s: %s", pattern, ctx.text);
    return g;
}

/* 's' both readings match, 'p' only the path reading, '-' neither. */
struct vector {
    const char *pattern, *path;
    char expected;
};

static const struct vector vectors[] = {
    /* config.md 14, as changed by E1 to E4 */
    {"/r/*/i", "/r/a/b/i", 'p'}, {"/r/*/i", "/r/a/i", 's'}, {"/r/**", "/r", 's'}, {"/r/**", "/r/x/y", 's'},
    {"/r/**", "/rx", '-'}, {"/a/**/z", "/a/z", 's'}, {"/a/**/z", "/a/b/c/z", 's'}, {"/a/**/z", "/az", '-'},
    {"**/z", "/z", 's'}, {"**/z", "/a/b/z", 's'}, {"**/z", "/az", '-'}, {"/a/", "/a", 's'}, {"/a/", "/a/b", '-'},
    {"/x{1,2}", "/x2", 's'}, {"/x{1,2}", "/x3", '-'}, {"/X", "/x", '-'}, {"/a**b", "/a/b", 's'}, {"/[!a]", "/b", 's'},
    {"/[!a]", "/a", '-'}, {"/{,x}", "/", '-'}, {"/{,x}", "/x", 's'}, {"/a\\*", "/a*", 's'}, {"/a\\*", "/ab", '-'},
    {"/{a,b/**}/c", "/b/x/c", 's'}, {"/{a,b/**}/c", "/a/c", 's'}, {"/{a,b/**}/c", "/b/c", 's'},
    {"/a?", "/a\xc3\xa9", '-'}, {"/a??", "/a\xc3\xa9", 's'},
    /* one segment */
    {"/*", "/", 's'}, {"/*", "/a", 's'}, {"/*", "/a/b", 'p'}, {"/a/*", "/a", '-'}, {"/a/*", "/a/", 's'}, {"/a*", "/a", 's'},
    {"/a*c", "/abbc", 's'}, {"/a*c", "/ab/c", 'p'}, {"/?", "/a", 's'}, {"/a?c", "/a/c", 'p'}, {"/?", "/", '-'},
    {"*", "/a", 'p'}, {"*", "/", 'p'}, {"?a", "/a", 'p'}, {"/*/*", "/a/b", 's'}, {"/*/*", "/a/b/c", 'p'}, {"/*/*", "/a", '-'},
    /* any segments */
    {"**", "/", 's'}, {"**", "/a/b", 's'}, {"**/", "/a", 's'}, {"/**", "/", 's'}, {"/**", "/a/b/c", 's'},
    {"/**/**", "/", 's'}, {"/a/**/**/b", "/a/b", 's'}, {"/a/**/**/b", "/a/x/y/b", 's'}, {"/a/**/*", "/a/b", 's'},
    {"/a/**/*", "/a", '-'}, {"/a/**/*", "/a/b/c", 's'}, {"/**/b", "/b", 's'}, {"/**/b", "/a/b", 's'}, {"/**/b", "/ab", '-'},
    {"/a/***", "/a/b/c", 's'}, {"/a***b", "/a/x/b", 's'}, {"/api/**/", "/api", 's'}, {"**/a/**", "/a", 's'},
    {"**/a/**", "/x/a/y/z", 's'}, {"**/a/**", "/xa", '-'},
    /* alternation */
    {"/{a,b{c,d}}/e", "/bd/e", 's'}, {"/{a,b{c,d}}/e", "/b/e", '-'}, {"/a{}", "/a", 's'}, {"/a{}b", "/ab", 's'},
    {"/a{,{,}}b", "/ab", 's'}, {"/{a}", "/a", 's'}, {"/a,b", "/a,b", 's'}, {"{/a,/b}/c", "/b/c", 's'},
    {"/{**/b,c}", "/x/b", 's'}, {"/{**/b,c}", "/b", 's'}, {"/api{/**,x}", "/api", 's'}, {"/api{/**,x}", "/apix", 's'},
    {"/api{/**,x}", "/api/y/z", 's'}, {"/{a/,b}", "/a", 's'}, {"/{*,b}/c", "/x/c", 's'}, {"/{*,b}/c", "/x/y/c", 'p'},
    {"/{a,ab}{c,bc}", "/abc", 's'}, {"/{a,ab}{c,bc}", "/abbc", 's'}, {"/{a,ab}{c,bc}", "/abcc", '-'},
    /* classes */
    {"/[a-c]", "/b", 's'}, {"/[a-c]", "/d", '-'}, {"/[]]", "/]", 's'}, {"/[]a]", "/a", 's'}, {"/[-a]", "/-", 's'},
    {"/[a-]", "/-", 's'}, {"/[^a]", "/b", 's'}, {"/[^a]", "/a", '-'}, {"/[!]]", "/]", '-'}, {"/[a,b]", "/,", 's'},
    {"/x[/]y", "/x/y", 's'}, {"/[{]", "/{", 's'}, {"/[*]", "/*", 's'}, {"/[*]", "/a", '-'}, {"/[%41-%43]", "/B", 's'},
    {"/[!-a]", "/-", '-'}, {"/[\\]", "/\\", 's'},
    /* escapes, normalising */
    {"/\\{a\\}", "/{a}", 's'}, {"/\\[a]", "/[a]", 's'}, {"/\\a", "/a", 's'}, {"/%41", "/A", 's'}, {"/%2A", "/*", 's'},
    {"/%2a", "/x", '-'}, {"/a%2Fb", "/a/b", '-'}, {"//a///b//", "/a/b", 's'}, {"/%7Ba,b%7D", "/{a,b}", 's'},
    {"/%7Ba,b%7D", "/a", '-'}, {"/", "/", 's'}, {"//", "/", 's'}, {"/", "/a", '-'}, {"/a b", "/a b", 's'}, {"/a%20b", "/a b", 's'},
    {"/...", "/...", 's'}, {"/.a", "/.a", 's'}, {"/a.", "/a.", 's'}, {"/..*", "/..x", 's'}, {"/%25", "/%", 's'},
    {"/\xc3\xa9", "/\xc3\xa9", 's'}, {"/%C3%A9", "/\xc3\xa9", 's'}, {"/\\*\\?", "/*?", 's'},
};

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        struct glob *g = compiled(v->pattern);
        bool segment = glob_match_as(g, str_from(v->path), GLOB_SEGMENT);
        bool path = glob_match_as(g, str_from(v->path), GLOB_PATH);
        char got = segment ? (path ? 's' : '!') : path ? 'p' : '-';
        if (got != v->expected)
            fail_msg("%s ~ %s: %c, expected %c", v->pattern, v->path, got, v->expected);
        assert_int_equal(glob_match(g, str_from(v->path)), segment);
        if (got == 'p')
            assert_true(glob_readings_differ(g));
        glob_free(g);
    }
}

static void test_data_slash_is_no_separator(void **state)
{
    struct glob *data = compiled("/a%2Fb"), *star = compiled("/*"), *class = compiled("/a[%2F]b");
    (void)state;
    assert_true(glob_match(data, str_of("/a\0b", 4)));
    assert_true(glob_match(star, str_of("/a\0b", 4)));
    assert_true(glob_match(class, str_of("/a\0b", 4)));
    assert_false(glob_match(class, STR("/a/b")));
    glob_free(data);
    glob_free(star);
    glob_free(class);
}

static const char *const refused[] = {
    "/[a", "/{a", "/a}", "/[b-a]", "/a\\", "/[", "/[]", "/[!]", "", "a", "api/**", "/%", "/%4", "/%zz", "/a/../b", "/.", "/./a",
    "/%2e%2e", "/a/%2E", "/a%2F..%2Fb", "/..", "/%00", "/a\x01", "/{a,b", "/{{a}", "%2Fa", "/a\\\\..\\\\b", "/x/\\.\\.",
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct glob *g = NULL;
        struct errctx ctx = {0};
        if (glob_compile(str_from(refused[i]), GLOB_SEGMENT, &g, &ctx) != ERR_INVALID || g || !ctx.text[0])
            fail_msg("%s: accepted, or no sentence", refused[i]);
    }
}

static enum err compile_repeated(const char *unit, size_t times, struct glob **ret_glob)
{
    struct buf text;
    struct errctx ctx = {0};
    buf_init(&text, 100000);
    buf_add_c(&text, '/');
    for (size_t i = 0; i < times; i++)
        buf_add_z(&text, unit);
    enum err e = glob_compile(buf_str(&text), GLOB_SEGMENT, ret_glob, &ctx);
    buf_fini(&text);
    return e;
}

static void test_bounds(void **state)
{
    struct glob *g = NULL;
    static const char *const units[] = {"a", "*", "?", "a*", "[a]", "{a,b}", "{/**,**/}", "/**", "**/", "{*,*,*}", "/", "\\a"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t most = 4095 / strlen(units[i]);
        assert_int_equal(compile_repeated(units[i], most, &g), ERR_OK);
        (void)glob_match(g, STR("/abababababababab"));
        glob_free(g);
        g = NULL;
    }
    assert_int_equal(compile_repeated("a", 4096, &g), ERR_INVALID);
    assert_int_equal(compile_repeated("{", 65, &g), ERR_INVALID);
    assert_null(g);
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* What blows up a matcher that backtracks. */
static void test_no_blow_up(void **state)
{
    struct glob *g = NULL;
    char path[2000] = "/";
    (void)state;
    memset(path + 1, 'a', sizeof path - 1);
    static const char *const units[] = {"*a", "{a,a}", "a**", "{a,aa}*", "?*"};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        assert_int_equal(compile_repeated(units[i], 100, &g), ERR_OK);
        double start = cpu_seconds();
        path[sizeof path - 1] = 'b';
        (void)glob_match(g, str_of(path, sizeof path));
        if (cpu_seconds() - start > 2)
            fail_msg("%s takes %g s", units[i], cpu_seconds() - start);
        glob_free(g);
    }
}

/* ---- the naive matcher: the pattern's own text, tried every way ---- */

static bool naive_at(const char *p, const char *s, bool cross, bool fresh);

static bool naive_run(const char *rest, const char *s, bool cross, bool stop)
{
    for (;; s++) {
        if (naive_at(rest, s, cross, false))
            return true;
        if (!*s || (stop && *s == '/'))
            return false;
    }
}

static bool naive_skip_segments(const char *rest, const char *s, bool cross)
{
    if (naive_at(rest, s, cross, true))
        return true;
    for (; *s; s++)
        if (*s == '/' && naive_at(rest, s + 1, cross, true))
            return true;
    return false;
}

/* fresh: p is the start, or behind a slash. */
static bool naive_at(const char *p, const char *s, bool cross, bool fresh)
{
    if (!*p)
        return !*s;
    if (p[0] == '/' && p[1] == '*' && p[2] == '*' && !p[3])
        return !*s || *s == '/';
    if (fresh && p[0] == '*' && p[1] == '*' && p[2] == '/')
        return naive_skip_segments(p + 3, s, cross);
    if (p[0] == '*' && p[1] == '*')
        return naive_run(p + 2, s, cross, false);
    if (*p == '*')
        return naive_run(p + 1, s, cross, !cross);
    if (!*s)
        return false;
    if (*p == '?')
        return (cross || *s != '/') && naive_at(p + 1, s + 1, cross, false);
    return *p == *s && naive_at(p + 1, s + 1, cross, *p == '/');
}

/* The first innermost pair of braces, each branch put in its place in turn. */
static bool naive_match(const char *p, const char *s, bool cross)
{
    const char *close = strchr(p, '}'), *open = close;
    if (!close)
        return naive_at(p, s, cross, true);
    while (*open != '{')
        open--;
    for (const char *branch = open + 1; branch <= close;) {
        char text[512];
        const char *end = branch;
        while (*end != ',' && *end != '}')
            end++;
        (void)snprintf(text, sizeof text, "%.*s%.*s%s", (int)(open - p), p, (int)(end - branch), branch, close + 1);
        if (naive_match(text, s, cross))
            return true;
        branch = end + 1;
    }
    return false;
}

static uint64_t seed;

static unsigned pick(unsigned limit)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(seed >> 33) % limit;
}

static void add(char *out, const char *piece)
{
    (void)snprintf(out + strlen(out), 64 - strlen(out), "%s", piece);
}

static void random_segment(char *out, bool braces)
{
    static const char *const pieces[] = {"a", "b", "ab", "*", "?", "a", "b", "*"};
    for (unsigned n = 1 + pick(3); n; n--) {
        if (braces && pick(6) == 0) {
            add(out, "{");
            random_segment(out, pick(3) == 0);
            add(out, ",");
            random_segment(out, false);
            add(out, "}");
        } else {
            size_t at = strlen(out);
            const char *piece = pieces[pick(ARRAY_LEN(pieces))];
            if (*piece == '*' && at && strchr("*{,}", out[at - 1]))
                piece = "a"; /* runs of stars are for the vectors */
            add(out, piece);
        }
    }
}

static void random_pattern(char out[64])
{
    memset(out, 0, 64);
    if (pick(8) == 0)
        add(out, "**");
    for (unsigned n = 1 + pick(3); n; n--) {
        add(out, "/");
        if (pick(4) == 0)
            add(out, "**");
        else
            random_segment(out, true);
    }
}

static void random_path(char out[32])
{
    size_t n = 0;
    for (unsigned k = 1 + pick(4); k; k--) {
        out[n++] = '/';
        for (unsigned c = 1 + pick(3); c; c--)
            out[n++] = (char)('a' + pick(2));
    }
    out[n] = 0;
}

static bool usable(const char *p)
{
    return strlen(p) < 60 && !strstr(p, "*{") && !strstr(p, "}*") && !strstr(p, "***") && !strstr(p, "{*") && !strstr(p, ",*") &&
           !strstr(p, "*}") && !strstr(p, "*,") && !strstr(p, "**/**");
}

static void test_against_naive(void **state)
{
    unsigned matched = 0, crossed = 0, tried = 0;
    (void)state;
    seed = 7;
    while (tried < 6000) {
        char pattern[64], path[32];
        random_pattern(pattern);
        if (!usable(pattern))
            continue;
        struct glob *g = compiled(pattern);
        tried++;
        for (int i = 0; i < 20; i++) {
            random_path(path);
            bool segment = naive_match(pattern, path, false), cross = naive_match(pattern, path, true);
            if (glob_match_as(g, str_from(path), GLOB_SEGMENT) != segment || glob_match_as(g, str_from(path), GLOB_PATH) != cross)
                fail_msg("%s ~ %s: naive says %d and %d", pattern, path, segment, cross);
            assert_true(cross || !segment);
            matched += segment;
            crossed += cross && !segment;
        }
        glob_free(g);
    }
    assert_true(matched > 1000 && crossed > 300);
}

static void test_simple_and_literal(void **state)
{
    static const struct {
        const char *pattern, *prefix;
        int exact; /* -1: not simple */
    } t[] = {{"/a/b", "/a/b", 1}, {"/a/**", "/a", 0}, {"/**", "", 0}, {"**", "", 0}, {"/a/b/**/**", "/a/b", 0}, {"/%61/", "/a", 1},
             {"/a*", "/a", -1}, {"/a**", "/a", -1}, {"/a/**/b", "/a/", -1}, {"/a{b,c}", "/a", -1}, {"**/b", "", -1}, {"/", "/", 1}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct glob *g = compiled(t[i].pattern);
        struct str prefix = STR_NULL;
        bool exact = false, simple = glob_is_simple(g, &prefix, &exact);
        assert_int_equal(simple ? exact : -1, t[i].exact);
        assert_true(str_eq(glob_literal(g), str_from(t[i].prefix)));
        if (simple)
            assert_true(str_eq(prefix, str_from(t[i].prefix)));
        glob_free(g);
    }
}

/* What the hint says to write matches whatever the crossing reading did. */
static void test_suggestion(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 1000);
    glob_suggest(&out, STR("/r/*/[*?]/\\*?/{a*,b}/[]*]/**"));
    assert_true(str_eq(buf_str(&out), STR("/r/**/[*?]/\\***/{a**,b}/[]*]/**")));
    seed = 11;
    for (unsigned i = 0; i < 3000; i++) {
        char pattern[64], path[32], wider[200];
        random_pattern(pattern);
        buf_reset(&out);
        glob_suggest(&out, str_from(pattern));
        (void)snprintf(wider, sizeof wider, "%.*s", STR_ARG(buf_str(&out)));
        struct glob *g = NULL;
        struct errctx ctx = {0};
        if (glob_compile(str_from(pattern), GLOB_SEGMENT, &g, &ctx) != ERR_OK)
            continue;
        struct glob *w = compiled(wider);
        for (int k = 0; k < 10; k++) {
            random_path(path);
            if (glob_match_as(g, str_from(path), GLOB_PATH) && !glob_match(w, str_from(path)))
                fail_msg("%s for %s does not match %s", wider, pattern, path);
        }
        glob_free(g);
        glob_free(w);
    }
    buf_fini(&out);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int after = 0;; after++) {
        struct glob *g = NULL;
        struct errctx ctx = {0};
        mem_fail_after(after, false);
        enum err e = glob_compile(STR("/a/{b,c*}/[d]/**"), GLOB_SEGMENT, &g, &ctx);
        mem_fail_after(-1, false);
        if (e == ERR_OK) {
            glob_free(g);
            assert_true(after > 0);
            return;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_null(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_data_slash_is_no_separator),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_blow_up),    cmocka_unit_test(test_against_naive),
        cmocka_unit_test(test_simple_and_literal), cmocka_unit_test(test_suggestion),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
