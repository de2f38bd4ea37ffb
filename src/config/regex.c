#include "config/regex.h"
#include "base/mem.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MATCH_STEPS = 200000, MATCH_DEPTH = 2000, HEAP_KIB = 1024, PATTERN_BYTES = 4096 };

struct regex {
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_code *code;
};

static void *get_memory(PCRE2_SIZE n, void *unused)
{
    (void)unused;
    return mem_alloc(n);
}

static void put_memory(void *p, void *unused)
{
    (void)unused;
    mem_free(p);
}

/* What follows "(?": a group that only groups, names, or sets flags. */
static bool group_is_plain(struct str s)
{
    size_t i = 0;
    if (str_starts(s, STR("P<")))
        return true;
    if (str_starts(s, STR("<")))
        return s.n > 1 && s.p[1] != '=' && s.p[1] != '!';
    while (i < s.n && s.p[i] && strchr("imsUx-", s.p[i]))
        i++;
    return i < s.n && (s.p[i] == ':' || (i > 0 && s.p[i] == ')'));
}

/* PCRE2 knows more than is safe or than the documented language has. */
static enum err refuse_extras(struct str s, struct errctx *ctx)
{
    for (size_t i = 0; i + 1 < s.n; i++) {
        struct str rest = str_of(s.p + i + 1, s.n - i - 1);
        if (s.p[i] == '\\') {
            if (rest.p[0] == 0 || strchr("123456789gkKGCRXQ", rest.p[0]))
                return err_set(ctx, ERR_INVALID,
                               "back-references and the escape \\%c are not taken", rest.p[0]);
            i++;
        } else if (s.p[i] == '(' && rest.p[0] == '*') {
            return err_set(ctx, ERR_INVALID, "verbs, as in (*VERB), are not taken");
        } else if (s.p[i] == '(' && rest.p[0] == '?' &&
                   !group_is_plain(str_of(rest.p + 1, rest.n - 1))) {
            return err_set(ctx, ERR_INVALID,
                           "look-around, recursion and conditions are not taken");
        }
    }
    return ERR_OK;
}

static enum err compile(struct regex *r, struct str pattern, struct errctx *ctx)
{
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF |
                             PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    int code = 0;
    PCRE2_SIZE at = 0;
    uint32_t refs = 0;
    pcre2_compile_context *how = pcre2_compile_context_create(r->general);
    if (!how)
        return ERR_NOMEM;
    r->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, options, &code, &at, how);
    pcre2_compile_context_free(how);
    if (!r->code) {
        char text[96] = "";
        if (code == PCRE2_ERROR_NOMEMORY || code == 121) /* 121: heap_failed of the compiler */
            return ERR_NOMEM;
        (void)pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof(text));
        return err_set(ctx, ERR_INVALID, "at byte %zu: %s", (size_t)at, text);
    }
    (void)pcre2_pattern_info(r->code, PCRE2_INFO_BACKREFMAX, &refs);
    return refs ? err_set(ctx, ERR_INVALID, "back-references are not taken") : ERR_OK;
}

enum err regex_new(struct str pattern, struct regex **ret_regex, struct errctx *ctx)
{
    if (pattern.n > PATTERN_BYTES)
        return err_set(ctx, ERR_INVALID, "the expression is longer than %d bytes", PATTERN_BYTES);
    enum err e = refuse_extras(pattern, ctx);
    if (e)
        return e;
    struct regex *r = mem_zalloc(sizeof(*r));
    if (!r)
        return ERR_NOMEM;
    r->general = pcre2_general_context_create(get_memory, put_memory, NULL);
    r->limits = r->general ? pcre2_match_context_create(r->general) : NULL;
    e = r->limits ? compile(r, pattern, ctx) : ERR_NOMEM;
    if (e) {
        regex_free(r);
        return e;
    }
    (void)pcre2_set_match_limit(r->limits, MATCH_STEPS);
    (void)pcre2_set_depth_limit(r->limits, MATCH_DEPTH);
    (void)pcre2_set_heap_limit(r->limits, HEAP_KIB);
    *ret_regex = r;
    return ERR_OK;
}

void regex_free(struct regex *r)
{
    if (!r)
        return;
    pcre2_code_free(r->code);
    pcre2_match_context_free(r->limits);
    pcre2_general_context_free(r->general);
    mem_free(r);
}

static struct str part_of(const PCRE2_SIZE *at, struct str text, int i)
{
    size_t from = at[2 * i], to = at[2 * i + 1];
    if (from == PCRE2_UNSET || to < from || to > text.n)
        return STR_NULL;
    return str_of(text.p + from, to - from);
}

enum err regex_match(const struct regex *r, struct str text, struct str *ret_part)
{
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(r->code, r->general);
    if (!m)
        return ERR_NOMEM;
    int n = pcre2_match(r->code, (PCRE2_SPTR)(text.n ? text.p : ""), text.n, 0, 0, m, r->limits);
    struct str part = STR_NULL;
    if (n > 0) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m);
        part = n > 1 ? part_of(at, text, 1) : STR_NULL;
        if (!part.p)
            part = part_of(at, text, 0);
    }
    pcre2_match_data_free(m);
    if (n == PCRE2_ERROR_NOMATCH)
        return ERR_NOT_FOUND;
    if (n == PCRE2_ERROR_NOMEMORY)
        return ERR_NOMEM;
    if (n <= 0)
        return ERR_TOO_LARGE;
    *ret_part = part.p ? part : STR("");
    return ERR_OK;
}
