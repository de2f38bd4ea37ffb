#include "policy/path.h"

static enum err bad(struct errctx *ctx, const char *what)
{
    return err_set(ctx, ERR_BAD_REQUEST, "the path holds %s, which endpoint rules do not accept",
                   what);
}

/* One byte of a segment at path.p[*i], decoded; *i moves behind it. */
static enum err take_byte(struct str path, size_t *i, char *ret_byte, struct errctx *ctx)
{
    char c = path.p[(*i)++];
    if (c == '\\')
        return bad(ctx, "a backslash");
    if (ascii_is_ctl((unsigned char)c))
        return bad(ctx, "a control character");
    if (c != '%') {
        *ret_byte = c;
        return ERR_OK;
    }
    int high = *i + 2 <= path.n ? ascii_hex(path.p[*i]) : -1;
    int low = high >= 0 ? ascii_hex(path.p[*i + 1]) : -1;
    if (low < 0)
        return bad(ctx, "a malformed percent escape");
    if (high == 0 && low == 0)
        return bad(ctx, "an encoded NUL");
    *i += 2;
    c = (char)(high << 4 | low);
    *ret_byte = c == '/' ? PATH_DATA_SLASH : c;
    return ERR_OK;
}

/* Appends the segment form of path behind out[0..*n]. */
static enum err write_segments(struct str path, char *out, size_t *n, struct errctx *ctx)
{
    bool open = false; /* within a segment */
    for (size_t i = 0; i < path.n;) {
        if (path.p[i] == '/') {
            open = false;
            i++;
            continue;
        }
        if (!open)
            out[(*n)++] = '/';
        open = true;
        enum err e = take_byte(path, &i, &out[*n], ctx);
        if (e != ERR_OK)
            return e;
        (*n)++;
    }
    return ERR_OK;
}

static bool is_separator(char c)
{
    return c == '/' || c == '\\' || c == PATH_DATA_SLASH;
}

static struct str write_decoded(struct str segments, char *out)
{
    size_t n = 0;
    bool open = false;
    for (size_t i = 0; i < segments.n; i++) {
        bool separator = is_separator(segments.p[i]);
        if (!separator && !open)
            out[n++] = '/';
        if (!separator)
            out[n++] = segments.p[i];
        open = !separator;
    }
    if (n == 0)
        out[n++] = '/';
    return str_of(out, n);
}

/* Whether a segment of the fully decoded form is "." or "..": the segment form has none then
 * either. */
static bool has_dots(struct str path)
{
    struct str rest = path, part;
    while (str_next(&rest, '/', &part))
        if (str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return true;
    return false;
}

static bool forms_differ(struct str segments)
{
    return str_find(segments, PATH_DATA_SLASH) < segments.n ||
           str_find(segments, '\\') < segments.n;
}

enum err path_judge_below(struct str base, struct str path, char *scratch, size_t cap,
                          struct judged_path *ret_path, struct errctx *ctx)
{
    struct judged_path judged;
    size_t n = base.n;
    /* A path without a leading slash ("*") gains one. */
    if (cap < 4 || (cap - 4) / 2 < base.n + path.n)
        return err_set(ctx, ERR_URI_TOO_LONG,
                       "the path is too long to be judged by endpoint rules");
    if (base.n)
        memcpy(scratch, base.p, base.n);
    enum err e = write_segments(path, scratch, &n, ctx);
    if (e != ERR_OK)
        return e;
    if (n == 0)
        scratch[n++] = '/';
    judged.segments = judged.decoded = str_of(scratch, n);
    if (forms_differ(judged.segments))
        judged.decoded = write_decoded(judged.segments, scratch + n);
    if (has_dots(judged.decoded))
        return bad(ctx, "a dot segment");
    *ret_path = judged;
    return ERR_OK;
}

enum err path_judge(struct str path, char *scratch, size_t cap, struct judged_path *ret_path,
                    struct errctx *ctx)
{
    return path_judge_below(STR(""), path, scratch, cap, ret_path, ctx);
}

struct str path_below(struct str path, struct str base)
{
    if (base.n == 0)
        return path;
    if (!str_starts(path, base))
        return STR_NULL;
    if (path.n == base.n)
        return STR("/");
    return path.p[base.n] == '/' ? str_of(path.p + base.n, path.n - base.n) : STR_NULL;
}
