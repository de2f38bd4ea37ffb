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

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four, of which the last `pad` are '='. False also when bits that padding cuts off
 * are set. */
static bool decode_group(struct buf *out, const char *four, size_t pad)
{
    unsigned v = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = i < 4 - pad ? base64_value(four[i]) : 0;
        if (digit < 0)
            return false;
        v = v << 6 | (unsigned)digit;
    }
    if (v & ((1u << 8 * pad) - 1))
        return false;
    char three[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
    buf_add(out, three, 3 - pad);
    return true;
}

bool decode_base64(struct buf *out, struct str in)
{
    if (in.n % 4)
        return false;
    for (size_t i = 0; i < in.n; i += 4) {
        size_t pad = 0;
        if (i + 4 == in.n)
            pad = in.p[i + 3] != '=' ? 0 : in.p[i + 2] == '=' ? 2 : 1;
        if (!decode_group(out, in.p + i, pad))
            return false;
    }
    return true;
}

static bool is_tail(const unsigned char *p, size_t n, size_t i)
{
    return i < n && (p[i] & 0xc0) == 0x80;
}

/* Length of the valid UTF-8 sequence (of two bytes and more) at p, or 0. No overlong forms, no
 * surrogates. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    unsigned char a = p[0];
    if (a >= 0xc2 && a <= 0xdf)
        return is_tail(p, n, 1) ? 2 : 0;
    if (a >= 0xe0 && a <= 0xef) {
        if (!is_tail(p, n, 1) || !is_tail(p, n, 2))
            return 0;
        return (a == 0xe0 && p[1] < 0xa0) || (a == 0xed && p[1] > 0x9f) ? 0 : 3;
    }
    if (a >= 0xf0 && a <= 0xf4) {
        if (!is_tail(p, n, 1) || !is_tail(p, n, 2) || !is_tail(p, n, 3))
            return 0;
        return (a == 0xf0 && p[1] < 0x90) || (a == 0xf4 && p[1] > 0x8f) ? 0 : 4;
    }
    return 0;
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
    size_t length = utf8_length(p, n);
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

void encode_percent(struct buf *out, struct str in)
{
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        char three[3] = {'%', hex_upper[c >> 4], hex_upper[c & 15]};
        if (is_unreserved(c))
            buf_add_c(out, (char)c);
        else
            buf_add(out, three, sizeof(three));
    }
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
