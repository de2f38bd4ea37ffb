#include "credential/pick.h"

enum { MAX_DEPTH = 64 };

struct scan {
    const char *p, *end;
};

static void skip_blank(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool eat(struct scan *s, char c)
{
    if (s->p >= s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool skip_escape(struct scan *s)
{
    if (s->p >= s->end)
        return false;
    char c = *s->p++;
    if (c != 'u')
        return c && strchr("\"\\/bfnrt", c);
    for (int i = 0; i < 4; i++, s->p++)
        if (s->p >= s->end || !*s->p || !strchr("0123456789abcdefABCDEF", *s->p))
            return false;
    return true;
}

static bool skip_string(struct scan *s)
{
    if (!eat(s, '"'))
        return false;
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p++;
        if (c == '"')
            return true;
        if (c < 0x20 || (c == '\\' && !skip_escape(s)))
            return false;
    }
    return false;
}

static bool skip_digits(struct scan *s)
{
    const char *from = s->p;
    while (s->p < s->end && ascii_is_digit((unsigned char)*s->p))
        s->p++;
    return s->p > from;
}

static bool skip_number(struct scan *s)
{
    (void)eat(s, '-');
    if (!eat(s, '0') && !skip_digits(s))
        return false;
    if (eat(s, '.') && !skip_digits(s))
        return false;
    if (!eat(s, 'e') && !eat(s, 'E'))
        return true;
    if (!eat(s, '+'))
        (void)eat(s, '-');
    return skip_digits(s);
}

static bool skip_word(struct scan *s, struct str word)
{
    if ((size_t)(s->end - s->p) < word.n || memcmp(s->p, word.p, word.n) != 0)
        return false;
    s->p += word.n;
    return true;
}

static bool skip_value(struct scan *s, unsigned depth);

static bool skip_members(struct scan *s, char close, unsigned depth)
{
    bool object = close == '}';
    s->p++;
    skip_blank(s);
    if (eat(s, close))
        return true;
    for (;;) {
        skip_blank(s);
        if (object) {
            if (!skip_string(s))
                return false;
            skip_blank(s);
            if (!eat(s, ':'))
                return false;
        }
        if (!skip_value(s, depth + 1))
            return false;
        skip_blank(s);
        if (eat(s, close))
            return true;
        if (!eat(s, ','))
            return false;
    }
}

static bool skip_value(struct scan *s, unsigned depth)
{
    skip_blank(s);
    if (s->p >= s->end || depth > MAX_DEPTH)
        return false;
    switch (*s->p) {
    case '{':
        return skip_members(s, '}', depth);
    case '[':
        return skip_members(s, ']', depth);
    case '"':
        return skip_string(s);
    case 't':
        return skip_word(s, STR("true"));
    case 'f':
        return skip_word(s, STR("false"));
    case 'n':
        return skip_word(s, STR("null"));
    default:
        return skip_number(s);
    }
}

bool pick_valid(struct str text)
{
    struct scan s = {text.p, text.p + text.n};
    if (!text.n || !skip_value(&s, 0))
        return false;
    skip_blank(&s);
    return s.p == s.end;
}

char pick_kind(struct str value)
{
    return value.n ? value.p[0] : 0;
}

/* One value from *s on, without the blanks around it. */
static struct str take_value(struct scan *s)
{
    skip_blank(s);
    const char *from = s->p;
    if (!skip_value(s, 0))
        return STR_NULL;
    return str_of(from, (size_t)(s->p - from));
}

/* To the next member or item. False at the end. */
static bool next_place(struct str holder, char open, size_t at, struct scan *ret_scan)
{
    struct scan s = {holder.p, holder.p + holder.n};
    if (pick_kind(holder) != open)
        return false;
    s.p += at ? at : 1;
    skip_blank(&s);
    if (at && !eat(&s, ','))
        return false;
    skip_blank(&s);
    *ret_scan = s;
    return s.p < s.end && *s.p != ']' && *s.p != '}';
}

bool pick_member(struct str object, size_t *at, struct str *ret_key, struct str *ret_value)
{
    struct scan s;
    if (!next_place(object, '{', *at, &s))
        return false;
    struct str key = take_value(&s);
    skip_blank(&s);
    if (!key.p || !eat(&s, ':'))
        return false;
    struct str value = take_value(&s);
    if (!value.p)
        return false;
    *at = (size_t)(s.p - object.p);
    *ret_key = key;
    *ret_value = value;
    return true;
}

bool pick_item(struct str array, size_t *at, struct str *ret_value)
{
    struct scan s;
    if (!next_place(array, '[', *at, &s))
        return false;
    struct str value = take_value(&s);
    if (!value.p)
        return false;
    *at = (size_t)(s.p - array.p);
    *ret_value = value;
    return true;
}

struct str pick_get(struct str object, const char *key)
{
    struct str found = STR_NULL, k, v;
    size_t at = 0;
    while (pick_member(object, &at, &k, &v)) {
        struct buf text;
        buf_init(&text, k.n);
        pick_text(k, &text);
        if (buf_ok(&text) && str_eq(buf_str(&text), str_from(key)))
            found = v;
        buf_wipe_fini(&text);
    }
    return found;
}

static void add_point(struct buf *out, uint32_t c)
{
    if (c >= 0xD800 && c <= 0xDFFF)
        c = 0xFFFD;
    if (c < 0x80) {
        buf_add_c(out, (char)c);
    } else if (c < 0x800) {
        buf_add_c(out, (char)(0xC0 | c >> 6));
        buf_add_c(out, (char)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        buf_add_c(out, (char)(0xE0 | c >> 12));
        buf_add_c(out, (char)(0x80 | (c >> 6 & 0x3F)));
        buf_add_c(out, (char)(0x80 | (c & 0x3F)));
    } else {
        buf_add_c(out, (char)(0xF0 | c >> 18));
        buf_add_c(out, (char)(0x80 | (c >> 12 & 0x3F)));
        buf_add_c(out, (char)(0x80 | (c >> 6 & 0x3F)));
        buf_add_c(out, (char)(0x80 | (c & 0x3F)));
    }
}

static uint32_t hex4(const char *p)
{
    uint64_t v = 0;
    return str_hex(str_of(p, 4), 0xFFFF, &v) ? (uint32_t)v : 0xFFFD;
}

/* \uXXXX at p, which stands behind the u; a pair takes the next escape too. Bytes taken. */
static size_t add_unicode(struct buf *out, const char *p, const char *end)
{
    uint32_t c = hex4(p);
    if (c >= 0xD800 && c < 0xDC00 && end - p >= 10 && p[4] == '\\' && p[5] == 'u') {
        uint32_t low = hex4(p + 6);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            add_point(out, 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00));
            return 10;
        }
    }
    add_point(out, c);
    return 4;
}

void pick_text(struct str string, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (pick_kind(string) != '"')
        return;
    const char *p = string.p + 1, *end = string.p + string.n - 1;
    while (p < end) {
        if (*p != '\\') {
            buf_add_c(out, *p++);
            continue;
        }
        p++;
        if (*p == 'u') {
            p++;
            p += add_unicode(out, p, end);
        } else {
            const char *at = strchr(from, *p++);
            buf_add_c(out, at ? to[at - from] : '?');
        }
    }
}
