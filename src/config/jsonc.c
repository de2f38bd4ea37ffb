#include "config/json_int.h"
#include "base/encode.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>

enum { DEPTH_MAX = 512, WORD_SHOWN = 40 };

struct scan {
    const char *p, *end;
    const char *line_start;
    uint32_t line;
    unsigned depth;
    struct buf *strict;
    struct json_tokens *tokens;
    struct json_error *error;
    uint32_t spanning; /* line of the last string that holds a line end; 0: none */
    enum err failed;
};

struct spot {
    uint32_t line, column;
};

static struct spot here(const struct scan *s)
{
    return (struct spot){s->line, (uint32_t)(s->p - s->line_start) + 1};
}

static bool fail(struct scan *s, struct spot at, const char *hint, const char *format, ...)
    PRINTF_LIKE(4, 5);
static bool fail(struct scan *s, struct spot at, const char *hint, const char *format, ...)
{
    va_list args;
    if (s->failed)
        return false;
    s->failed = ERR_INVALID;
    s->error->at.line = at.line;
    s->error->at.column = at.column;
    va_start(args, format);
    vsnprintf(s->error->text, sizeof(s->error->text), format, args);
    va_end(args);
    if (!hint && s->spanning)
        snprintf(s->error->hint, sizeof(s->error->hint),
            "a string that begins in line %u holds a line end: is its closing quote missing?",
            s->spanning);
    else
        snprintf(s->error->hint, sizeof(s->error->hint), "%s", hint ? hint : "");
    return false;
}

static bool out_of_memory(struct scan *s)
{
    if (!s->failed)
        s->failed = ERR_NOMEM;
    return false;
}

/* --- characters --- */

static struct str rest(const struct scan *s)
{
    return str_of(s->p, (size_t)(s->end - s->p));
}

/* Code point at the scanner's place; the text is known to be valid. */
static unsigned code_point(const struct scan *s)
{
    const unsigned char *p = (const unsigned char *)s->p;
    size_t n = str_utf8_length(rest(s));
    if (n < 2)
        return p[0];
    unsigned c = p[0] & (n == 2 ? 0x1fu : n == 3 ? 0x0fu : 0x07u);
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3fu);
    return c;
}

/* Unicode's White_Space above ASCII. */
static bool is_wide_blank(unsigned c)
{
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Letters of other scripts stand in unquoted names too; what looks like punctuation does not. */
static bool is_wide_letter(unsigned c)
{
    return c >= 0xc0 && c != 0xd7 && c != 0xf7 && !is_wide_blank(c) && !(c >= 0x2000 && c <= 0x2bff) &&
           !(c >= 0x3000 && c <= 0x3004) && !(c >= 0xd800 && c <= 0xf8ff) && c != 0xfeff &&
           !(c >= 0xff00 && c <= 0xff0f) && c < 0xfff0;
}

static bool at_name_byte(const struct scan *s)
{
    unsigned char c;
    if (s->p == s->end)
        return false;
    c = (unsigned char)*s->p;
    if (c >= 0x80)
        return is_wide_letter(code_point(s));
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '_' || c == '-';
}

/* What stands here, for messages. */
static const char *shown(const struct scan *s, char out[16])
{
    if (s->p == s->end)
        return "the end of the text";
    unsigned c = code_point(s);
    if (c > 0x20 && c < 0x7f)
        snprintf(out, 16, "'%c'", (char)c);
    else
        snprintf(out, 16, "U+%04X", c);
    return out;
}

static void new_line(struct scan *s, const char *newline)
{
    s->line++;
    s->line_start = newline + 1;
}

static bool skip_comment(struct scan *s)
{
    struct spot at = here(s);
    if (s->end - s->p < 2 || (s->p[1] != '/' && s->p[1] != '*'))
        return fail(s, at, "comments are // … and /* … */", "unexpected '/'");
    bool to_line_end = s->p[1] == '/';
    for (s->p += 2; s->p < s->end; s->p++) {
        if (to_line_end && *s->p == '\n')
            return true; /* the caller counts the line */
        if (!to_line_end && *s->p == '*' && s->end - s->p > 1 && s->p[1] == '/') {
            s->p += 2;
            return true;
        }
        if (*s->p == '\n')
            new_line(s, s->p);
    }
    return to_line_end || fail(s, at, "close it with */", "this comment never ends");
}

/* To the next byte that means something. */
static bool skip(struct scan *s)
{
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '\n')
            new_line(s, s->p++);
        else if (c == ' ' || (c >= '\t' && c <= '\r'))
            s->p++;
        else if (c >= 0x80 && is_wide_blank(code_point(s)))
            s->p += str_utf8_length(rest(s));
        else if (c != '/')
            return true;
        else if (!skip_comment(s))
            return false;
    }
    return true;
}

/* --- tokens --- */

static struct json_token *token(struct scan *s, enum json_kind kind)
{
    struct json_tokens *t = s->tokens;
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct json_token *v = mem_realloc(t->v, cap * sizeof(*v));
        if (!v) {
            out_of_memory(s);
            return NULL;
        }
        t->v = v;
        t->cap = cap;
    }
    struct spot at = here(s);
    t->v[t->n] = (struct json_token){
        .strict = s->strict->n, .line = at.line, .column = at.column, .kind = (uint8_t)kind};
    return &t->v[t->n++];
}

static bool is_hex(char c)
{
    return ascii_is_digit((unsigned char)c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool four_hex(const char *p, const char *end, uint64_t *ret_value)
{
    return end - p >= 4 && str_hex(str_of(p, 4), 0xffff, ret_value);
}

/* \uXXXX at the scanner's place; a pair of surrogates as one. */
static bool unicode_escape(struct scan *s)
{
    uint64_t first, second;
    const char *p = s->p;
    if (!four_hex(p + 2, s->end, &first))
        return fail(s, here(s), "write \\u and four hexadecimal digits", "incomplete \\u escape");
    size_t n = 6;
    if (first >= 0xd800 && first <= 0xdfff) {
        if (first >= 0xdc00 || s->end - p < 12 || p[6] != '\\' || p[7] != 'u' ||
            !four_hex(p + 8, s->end, &second) || second < 0xdc00 || second > 0xdfff)
            return fail(s, here(s), "characters above U+FFFF are two escapes, high one first",
                "\\u%.4s is half a character", p + 2);
        n = 12;
    }
    buf_add(s->strict, p, n);
    s->p += n;
    return true;
}

static bool escape(struct scan *s, char quote)
{
    char c = s->end - s->p > 1 ? s->p[1] : '\0';
    if (c == 'u')
        return unicode_escape(s);
    if (c == '\'' && quote == '\'')
        buf_add_c(s->strict, '\'');
    else if (c && strchr("\"\\/bfnrt", c))
        buf_add(s->strict, s->p, 2);
    else if (c == 'x')
        return fail(s, here(s), "write \\u00 and two hexadecimal digits", "\\x is no escape");
    else
        return fail(s, here(s), "a backslash itself is written \\\\",
            "unknown escape: \\ stands before \" \\ / b f n r t u only");
    s->p += 2;
    return true;
}

/* Bytes from the scanner's place that pass as they are. */
static size_t plain_run(const struct scan *s, char quote)
{
    const char *p = s->p;
    while (p < s->end && (unsigned char)*p >= 0x20 && *p != '\\' && *p != '"' && *p != quote)
        p++;
    return (size_t)(p - s->p);
}

static bool string(struct scan *s)
{
    char quote = *s->p;
    struct spot at = here(s);
    if (!token(s, JSON_STRING))
        return false;
    buf_add_c(s->strict, '"');
    s->p++;
    bool spans = false;
    for (;;) {
        size_t n = plain_run(s, quote);
        buf_add(s->strict, s->p, n);
        s->p += n;
        if (s->p == s->end) {
            if (!s->spanning)
                s->spanning = spans ? at.line : 0;
            return fail(s, at, "a closing quote is missing", "this string never ends");
        }
        char c = *s->p;
        if (c == quote)
            break;
        if (c == '\\') {
            if (!escape(s, quote))
                return false;
            continue;
        }
        if (c == '"')
            buf_add_z(s->strict, "\\\"");
        else
            buf_printf(s->strict, "\\u%04x", (unsigned char)c);
        if (c == '\n') {
            new_line(s, s->p);
            spans = true;
        }
        s->p++;
    }
    if (spans)
        s->spanning = at.line;
    s->p++;
    buf_add_c(s->strict, '"');
    return true;
}

/* --- numbers --- */

static size_t digits(const char *p, const char *end)
{
    const char *q = p;
    while (q < end && ascii_is_digit((unsigned char)*q))
        q++;
    return (size_t)(q - p);
}

static bool hexadecimal(struct scan *s, struct spot at, struct json_token *t)
{
    const char *p = s->p + 2;
    size_t n = 0;
    while (p + n < s->end && is_hex(p[n]))
        n++;
    struct str number = str_of(p, n);
    while (number.n > 1 && number.p[0] == '0')
        number = str_of(number.p + 1, number.n - 1);
    if (!str_hex(number, UINT64_MAX, &t->integer))
        return fail(s, at, NULL, n ? "this number is too large" : "0x without digits");
    s->p = p + n;
    return true;
}

/* The part after the digits; *ret_real whether there is one. */
static bool fraction(struct scan *s, struct spot at, bool *ret_real)
{
    *ret_real = false;
    if (s->p < s->end && *s->p == '.') {
        size_t n = digits(s->p + 1, s->end);
        if (!n)
            return fail(s, at, "write a digit after the point", "incomplete number");
        s->p += 1 + n;
        *ret_real = true;
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        const char *p = s->p + 1;
        if (p < s->end && (*p == '+' || *p == '-'))
            p++;
        size_t n = digits(p, s->end);
        if (!n)
            return fail(s, at, NULL, "incomplete number: an exponent without digits");
        s->p = p + n;
        *ret_real = true;
    }
    return true;
}

static bool decimal(struct scan *s, struct spot at, struct json_token *t)
{
    const char *start = s->p;
    size_t n = digits(s->p, s->end);
    bool real;
    if (n > 1 && *start == '0')
        return fail(s, at, "write it without the zero in front", "a number may not begin with 0");
    s->p += n;
    if (!fraction(s, at, &real))
        return false;
    uint64_t max = t->negative ? (uint64_t)INT64_MAX + 1 : UINT64_MAX;
    if (!real && str_u64(str_of(start, n), max, &t->integer)) {
        t->negative = t->negative && t->integer;
        buf_add_c(s->strict, '0');
        return true;
    }
    t->kind = JSON_REAL;
    if (t->negative)
        buf_add_c(s->strict, '-');
    buf_add(s->strict, start, (size_t)(s->p - start));
    if (!real)
        buf_add_z(s->strict, ".0");
    return true;
}

static bool number(struct scan *s)
{
    struct spot at = here(s);
    struct json_token *t = token(s, JSON_INTEGER);
    if (!t)
        return false;
    t->negative = *s->p == '-';
    if (*s->p == '-' || *s->p == '+')
        s->p++;
    if (s->p < s->end && *s->p == '.')
        return fail(s, at, "write 0 before the point", "a number may not begin with a point");
    if (!digits(s->p, s->end))
        return fail(s, at, NULL, "a sign without a number");
    if (*s->p == '0' && s->end - s->p > 1 && (s->p[1] | 0x20) == 'x') {
        if (!hexadecimal(s, at, t))
            return false;
        t->negative = t->negative && t->integer;
        if (t->negative && t->integer > (uint64_t)INT64_MAX + 1)
            return fail(s, at, NULL, "this number is too large");
        buf_add_c(s->strict, '0');
    } else if (!decimal(s, at, t)) {
        return false;
    }
    if (at_name_byte(s) || (s->p < s->end && *s->p == '.'))
        return fail(s, at, "text stands in quotes", "a number followed by text");
    return true;
}

/* --- words --- */

static struct str take_word(struct scan *s)
{
    const char *start = s->p;
    while (at_name_byte(s))
        s->p += str_utf8_length(rest(s));
    return str_of(start, (size_t)(s->p - start));
}

static struct str word_shown(struct str word)
{
    size_t n = 0, step;
    while (n < word.n && (step = str_utf8_length(str_of(word.p + n, word.n - n))) &&
           n + step <= WORD_SHOWN)
        n += step;
    return str_of(word.p, n);
}

static bool wrong_word(struct scan *s, struct spot at, struct str word)
{
    static const char *const means[][2] = {
        {"true", "true"}, {"yes", "true"}, {"on", "true"}, {"false", "false"}, {"no", "false"},
        {"off", "false"}, {"null", "null"}, {"none", "null"}, {"nil", "null"}, {"undefined", "null"}};
    char hint[160];
    struct str w = word_shown(word);
    snprintf(hint, sizeof(hint), "text stands in quotes: \"%.*s\"", STR_ARG(w));
    for (size_t i = 0; i < ARRAY_LEN(means); i++)
        if (str_eq_nocase(word, str_from(means[i][0])))
            snprintf(hint, sizeof(hint), "write %s", means[i][1]);
    if (str_eq_nocase(word, STR("nan")) || str_eq_nocase(word, STR("infinity")))
        hint[0] = '\0';
    return fail(s, at, hint, "%.*s is no value", STR_ARG(w));
}

static bool word(struct scan *s)
{
    struct spot at = here(s);
    struct json_token *t = token(s, JSON_NULL);
    if (!t)
        return false;
    struct str w = take_word(s);
    if (str_eq(w, STR("true")) || str_eq(w, STR("false")))
        t->kind = JSON_BOOL;
    else if (!str_eq(w, STR("null")))
        return wrong_word(s, at, w);
    buf_add_str(s->strict, w);
    return true;
}

static bool bad_byte(struct scan *s, const char *wanted)
{
    char out[16];
    unsigned c = s->p == s->end ? 0 : code_point(s);
    const char *hint = NULL;
    if (c == '#')
        hint = "comments are // … and /* … */";
    else if (c == ',')
        hint = "remove the comma";
    else if (c == '.')
        hint = "numbers begin with a digit: 0.5";
    else if (c >= 0x2018 && c <= 0x201f)
        hint = "use straight quotes: \"";
    else if (c == '=')
        hint = "between a name and its value stands a colon";
    else if (c == 0xfeff)
        hint = "save the file as UTF-8 without byte order mark";
    else if (c == '$')
        hint = "put the name in quotes";
    return fail(s, here(s), hint, "expected %s, found %s", wanted, shown(s, out));
}

/* --- structure --- */

static bool value(struct scan *s);

/* A comma or nothing between items. False at the end of the container or when it failed. */
static bool next_item(struct scan *s, struct spot opened, char close, bool first)
{
    if (!skip(s))
        return false;
    if (!first && s->p < s->end && *s->p == ',') {
        s->p++;
        if (!skip(s))
            return false;
    }
    if (s->p == s->end)
        return fail(s, opened, NULL, "this %c is never closed", close == ']' ? '[' : '{');
    if (*s->p == close) {
        s->p++;
        return false;
    }
    if ((*s->p == ']' || *s->p == '}') && *s->p != close)
        return fail(s, here(s), NULL, "expected '%c' for the '%c' in line %u, found '%c'", close,
            close == ']' ? '[' : '{', opened.line, *s->p);
    if (!first)
        buf_add_c(s->strict, ',');
    return true;
}

static bool key(struct scan *s)
{
    if (*s->p == '"' || *s->p == '\'')
        return string(s);
    if (ascii_is_digit((unsigned char)*s->p) || !at_name_byte(s))
        return bad_byte(s, "a name");
    if (!token(s, JSON_STRING))
        return false;
    encode_json(s->strict, take_word(s));
    return true;
}

static bool member(struct scan *s)
{
    if (!key(s) || !skip(s))
        return false;
    if (s->p == s->end || *s->p != ':')
        return bad_byte(s, "a colon after the name");
    s->p++;
    buf_add_c(s->strict, ',');
    return skip(s) && value(s);
}

static bool container(struct scan *s, enum json_kind kind)
{
    struct spot opened = here(s);
    char close = kind == JSON_ARRAY ? ']' : '}';
    if (s->depth == DEPTH_MAX)
        return fail(s, opened, NULL, "nested deeper than %d levels", DEPTH_MAX);
    if (!token(s, kind))
        return false;
    s->depth++;
    s->p++;
    buf_add_c(s->strict, '[');
    for (bool first = true; next_item(s, opened, close, first); first = false)
        if (!(kind == JSON_ARRAY ? value(s) : member(s)))
            return false;
    buf_add_c(s->strict, ']');
    s->depth--;
    return !s->failed;
}

static bool value(struct scan *s)
{
    if (s->p == s->end)
        return bad_byte(s, "a value");
    switch (*s->p) {
    case '{':
        return container(s, JSON_OBJECT);
    case '[':
        return container(s, JSON_ARRAY);
    case '"':
    case '\'':
        return string(s);
    case '+':
    case '-':
        return number(s);
    default:
        if (ascii_is_digit((unsigned char)*s->p))
            return number(s);
        return at_name_byte(s) ? word(s) : bad_byte(s, "a value");
    }
}

/* The first byte that is no UTF-8, if any. */
static bool check_utf8(struct scan *s)
{
    struct scan at = *s;
    while (at.p < at.end) {
        size_t n = (unsigned char)*at.p < 0x80 ? 1 : str_utf8_length(rest(&at));
        if (!n)
            return fail(s, here(&at), "save the file as UTF-8", "this is no UTF-8: byte 0x%02X",
                (unsigned char)*at.p);
        if (*at.p == '\n')
            new_line(&at, at.p);
        at.p += n;
    }
    return true;
}

static bool document(struct scan *s)
{
    if (str_starts(rest(s), STR("\xef\xbb\xbf")))
        return fail(s, here(s), "save the file as UTF-8 without byte order mark",
            "the text begins with a byte order mark");
    if (!check_utf8(s) || !skip(s))
        return false;
    if (s->p == s->end)
        return fail(s, here(s), "the least profile is {}", "there is no value in it");
    if (!value(s) || !skip(s))
        return false;
    char out[16];
    if (s->p < s->end)
        return fail(s, here(s), NULL, "unexpected %s after the end of the value", shown(s, out));
    return buf_ok(s->strict) || out_of_memory(s);
}

enum err jsonc_scan(struct str text, struct buf *strict, struct json_tokens *tokens,
    struct json_error *ret_error)
{
    struct scan s = {.p = text.n ? text.p : "", .line = 1, .strict = strict, .tokens = tokens,
        .error = ret_error};
    s.end = s.p + text.n;
    s.line_start = s.p;
    return document(&s) ? ERR_OK : s.failed;
}
