#include "base/encode.h"

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";
static const char base64_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void encode_hex(struct buf *out, const void *p, size_t n)
{
    const unsigned char *in = p;
    if (n > SIZE_MAX / 2)
        n = SIZE_MAX / 2; /* over every maximum: fails below */
    char *at = buf_reserve(out, n * 2);
    if (!at)
        return;
    for (size_t i = 0; i < n; i++) {
        *at++ = hex_lower[in[i] >> 4];
        *at++ = hex_lower[in[i] & 15];
    }
    out->n += n * 2;
}

void encode_base64(struct buf *out, struct str in)
{
    const unsigned char *p = (const unsigned char *)in.p;
    for (size_t i = 0; i < in.n; i += 3) {
        size_t left = in.n - i;
        unsigned v = (unsigned)p[i] << 16;
        v |= left > 1 ? (unsigned)p[i + 1] << 8 : 0;
        v |= left > 2 ? p[i + 2] : 0;
        char four[4] = {base64_chars[v >> 18], base64_chars[v >> 12 & 63],
                        left > 1 ? base64_chars[v >> 6 & 63] : '=',
                        left > 2 ? base64_chars[v & 63] : '='};
        buf_add(out, four, sizeof(four));
    }
}

/* Digits with 64 added, so that 0 is no digit. */
static const unsigned char base64_digits[256] = {
#define D(c, v) [c] = 64 + (v)
#define D4(c, v) D(c, v), D((c) + 1, (v) + 1), D((c) + 2, (v) + 2), D((c) + 3, (v) + 3)
#define D24(c, v)                                                                                  \
    D4(c, v), D4((c) + 4, (v) + 4), D4((c) + 8, (v) + 8), D4((c) + 12, (v) + 12),                  \
        D4((c) + 16, (v) + 16), D4((c) + 20, (v) + 20)
    D24('A', 0), D('Y', 24),  D('Z', 25),  D24('a', 26), D('y', 50), D('z', 51),
    D4('0', 52), D4('4', 56), D('8', 60), D('9', 61),  D('+', 62), D('/', 63),
#undef D24
#undef D4
#undef D
};

/* One group of four, of which the last `pad` are '='. False also when bits that padding cuts off
 * are set. */
static bool decode_group(char *out, const unsigned char *four, size_t pad)
{
    unsigned v = 0, all = 64;
    for (size_t i = 0; i < 4; i++) {
        unsigned digit = i < 4 - pad ? base64_digits[four[i]] : 64;
        all &= digit;
        v = v << 6 | (digit & 63);
    }
    if (!all || v & ((1u << 8 * pad) - 1))
        return false;
    out[0] = (char)(v >> 16);
    if (pad < 2)
        out[1] = (char)(v >> 8);
    if (pad < 1)
        out[2] = (char)v;
    return true;
}

bool decode_base64(struct buf *out, struct str in)
{
    if (in.n % 4)
        return false;
    size_t pad = !in.n || in.p[in.n - 1] != '=' ? 0 : in.p[in.n - 2] == '=' ? 2 : 1;
    char *at = in.n ? buf_reserve(out, in.n / 4 * 3 - pad) : NULL;
    if (!at)
        return true; /* nothing to decode, or out has failed */
    for (size_t i = 0; i < in.n; i += 4, at += 3) {
        if (!decode_group(at, (const unsigned char *)in.p + i, i + 4 == in.n ? pad : 0))
            return false;
    }
    out->n += in.n / 4 * 3 - pad;
    return true;
}

static void json_escape(struct buf *out, unsigned code)
{
    char six[6] = {'\\',
                   'u',
                   hex_lower[code >> 12 & 15],
                   hex_lower[code >> 8 & 15],
                   hex_lower[code >> 4 & 15],
                   hex_lower[code & 15]};
    switch (code) {
    case '"':
    case '\\':
        six[1] = (char)code;
        break;
    case '\n':
        six[1] = 'n';
        break;
    case '\r':
        six[1] = 'r';
        break;
    case '\t':
        six[1] = 't';
        break;
    default:
        buf_add(out, six, 6);
        return;
    }
    buf_add(out, six, 2);
}

/* A byte sequence that starts with a byte >= 0x80. Returns how much of it was used. */
static size_t json_high(struct buf *out, const unsigned char *p, size_t n)
{
    size_t length = str_utf8_length(str_of((const char *)p, n));
    if (!length) {
        buf_add(out, "\xef\xbf\xbd", 3);
        return 1;
    }
    if (length == 2 && p[0] == 0xc2 && p[1] < 0xa0)
        json_escape(out, p[1]); /* the C1 controls */
    else if (length == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8)
        json_escape(
            out,
            0x2028u | (p[2] & 1u)); /* line and paragraph separator break lines for some readers */
    else
        buf_add(out, p, length);
    return length;
}

/* Bytes that stand for themselves in a JSON string. A table: this is the hot loop of the audit. */
static const bool json_plain[256] = {
    [0x20 ... 0x21] = true,
    [0x23 ... 0x5b] = true,
    [0x5d ... 0x7e] = true,
};

/* What is not plain, from p[i] on. Returns the index behind what was used. */
static size_t json_special(struct buf *out, const unsigned char *p, size_t n, size_t i)
{
    if (p[i] >= 0x80)
        return i + json_high(out, p + i, n - i);
    json_escape(out, p[i]);
    return i + 1;
}

void encode_json(struct buf *out, struct str in)
{
    const unsigned char *p = (const unsigned char *)in.p;
    size_t i = 0;
    buf_add_c(out, '"');
    while (i < in.n) {
        size_t run = i;
        while (run < in.n && json_plain[p[run]])
            run++;
        buf_add(out, p + i, run - i);
        i = run < in.n ? json_special(out, p, in.n, run) : run;
    }
    buf_add_c(out, '"');
}

static bool is_unreserved(unsigned char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static void percent_but(struct buf *out, struct str in, const char *also_plain)
{
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        char three[3] = {'%', hex_upper[c >> 4], hex_upper[c & 15]};
        if (is_unreserved(c) || (c && strchr(also_plain, c)))
            buf_add_c(out, (char)c);
        else
            buf_add(out, three, sizeof(three));
    }
}

void encode_percent(struct buf *out, struct str in)
{
    percent_but(out, in, "");
}

void encode_segment(struct buf *out, struct str in)
{
    percent_but(out, in, ":@!$&'()*+,;=");
}

bool decode_percent(struct buf *out, struct str in)
{
    for (size_t i = 0; i < in.n; i++) {
        uint64_t v;
        if (in.p[i] != '%') {
            buf_add_c(out, in.p[i]);
            continue;
        }
        if (in.n - i < 3 || !str_hex(str_of(in.p + i + 1, 2), 255, &v))
            return false;
        buf_add_c(out, (char)v);
        i += 2;
    }
    return true;
}

char decode_percent_at(struct str text, size_t *i)
{
    char c = text.p[(*i)++];
    if (c != '%' || *i + 2 > text.n)
        return c;
    int high = ascii_hex(text.p[*i]), low = ascii_hex(text.p[*i + 1]);
    if (high < 0 || low < 0)
        return c;
    *i += 2;
    return (char)(high << 4 | low);
}

void encode_visible(struct buf *out, struct str in)
{
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        char four[4] = {'\\', 'x', hex_lower[c >> 4], hex_lower[c & 15]};
        if (c >= 0x20 && c < 0x7f)
            buf_add_c(out, (char)c);
        else
            buf_add(out, four, sizeof(four));
    }
}
