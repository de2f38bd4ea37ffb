/* A pattern in the first line, a path after it. Whatever they are: a refusal has a sentence; the crossing reading matches what the
 * documented one does; a simple pattern is what it says; what the hint suggests matches what the crossing reading did. */
#include <stdlib.h>
#include "base/mem.h"
#include "policy/glob.h"
#include "policy/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void check_simple(const struct glob *g, struct str path)
{
    struct str prefix;
    bool exact;
    bool match = glob_match(g, path);
    CHECK(!match || str_starts(path, glob_literal(g)));
    if (!glob_is_simple(g, &prefix, &exact))
        return;
    CHECK(match == glob_match_as(g, path, GLOB_PATH));
    CHECK(match == (exact ? str_eq(path, prefix) : path_below(path, prefix).p != NULL));
}

static void check_suggestion(struct str pattern, struct str path)
{
    struct buf wider;
    struct glob *w = NULL;
    struct errctx ctx = {0};
    buf_init(&wider, 16384);
    glob_suggest(&wider, pattern);
    enum err e = glob_compile(buf_str(&wider), GLOB_SEGMENT, &w, &ctx);
    CHECK(e == ERR_OK || wider.n > 4096);
    CHECK(e != ERR_OK || glob_match(w, path));
    glob_free(w);
    buf_fini(&wider);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str rest = str_of((const char *)bytes, n), pattern = STR("");
    struct glob *g = NULL;
    struct errctx ctx = {0}, why = {0};
    struct judged_path path;
    char *scratch = mem_alloc(2 * n + 4);
    if (!scratch || !n || !str_next(&rest, '\n', &pattern) ||
        path_judge(rest.p ? rest : STR("/"), scratch, 2 * n + 4, &path, &why) != ERR_OK) {
        mem_free(scratch);
        return 0;
    }
    enum err e = glob_compile(pattern, GLOB_SEGMENT, &g, &ctx);
    CHECK(e == ERR_OK ? g && !ctx.text[0] : e == ERR_INVALID && ctx.text[0] && !g);
    if (e == ERR_OK) {
        bool segment = glob_match(g, path.segments);
        bool crossing = glob_match_as(g, path.segments, GLOB_PATH);
        CHECK(crossing || !segment);
        CHECK(glob_readings_differ(g) || crossing == segment);
        check_simple(g, path.segments);
        check_simple(g, path.decoded);
        if (crossing)
            check_suggestion(pattern, path.segments);
    }
    glob_free(g);
    mem_free(scratch);
    return 0;
}
