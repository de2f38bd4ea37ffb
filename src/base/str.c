#include "base/str.h"

enum { TCHAR = 1, DIGIT = 2, ALPHA = 4, CTL = 8 };

/* RFC 9110 5.6.2: token characters are visible ASCII less the delimiters. */
static const unsigned char classes[256] = {
    [0 ... 31] = CTL,
    [127] = CTL,
    ['!'] = TCHAR,
    ['#' ... '\''] = TCHAR,
    ['*' ... '+'] = TCHAR,
    ['-' ... '.'] = TCHAR,
    ['0' ... '9'] = TCHAR | DIGIT,
    ['A' ... 'Z'] = TCHAR | ALPHA,
    ['^' ... '`'] = TCHAR,
    ['a' ... 'z'] = TCHAR | ALPHA,
    ['|'] = TCHAR,
    ['~'] = TCHAR,
};

bool ascii_is_tchar(unsigned char c)
{
    return classes[c] & TCHAR;
}

bool ascii_is_digit(unsigned char c)
{
    return classes[c] & DIGIT;
}

bool ascii_is_alpha(unsigned char c)
{
    return classes[c] & ALPHA;
}

bool ascii_is_ctl(unsigned char c)
{
    return classes[c] & CTL;
}

char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (a.p[i] != b.p[i] && ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_of(s.p, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    if (s.n < suffix.n || suffix.n == 0)
        return suffix.n == 0;
    return str_eq(str_of(s.p + (s.n - suffix.n), suffix.n), suffix);
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order)
        return order;
    return a.n < b.n ? -1 : a.n > b.n;
}

static bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.n && is_ows(s.p[0]))
        s.p++, s.n--;
    while (s.n && is_ows(s.p[s.n - 1]))
        s.n--;
    return s;
}

size_t str_find(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

size_t str_rfind(struct str s, char c)
{
    for (size_t i = s.n; i > 0; i--) {
        if (s.p[i - 1] == c)
            return i - 1;
    }
    return s.n;
}

bool str_next(struct str *rest, char sep, struct str *ret_part)
{
    if (!rest->p)
        return false;
    size_t at = str_find(*rest, sep);
    *ret_part = str_of(rest->p, at);
    *rest = at < rest->n ? str_of(rest->p + at + 1, rest->n - at - 1) : STR_NULL;
    return true;
}

bool str_u64(struct str s, uint64_t max, uint64_t *ret_value)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit((unsigned char)s.p[i]))
            return false;
        unsigned digit = (unsigned)(s.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (v > max)
        return false;
    *ret_value = v;
    return true;
}

int ascii_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_hex(struct str s, uint64_t max, uint64_t *ret_value)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 16)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int digit = ascii_hex(s.p[i]);
        if (digit < 0)
            return false;
        v = v << 4 | (unsigned)digit;
    }
    if (v > max)
        return false;
    *ret_value = v;
    return true;
}

/* SipHash-1-3: keyed, so that peers cannot choose keys that collide. */
static uint64_t hash_key[2];

void str_hash_seed(uint64_t seed)
{
    for (int i = 0; i < 2; i++) { /* splitmix64 spreads one word over two */
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        hash_key[i] = z ^ z >> 31;
    }
}

static inline uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t str_hash(struct str s)
{
    uint64_t v[4] = {
        hash_key[0] ^ UINT64_C(0x736f6d6570736575), hash_key[1] ^ UINT64_C(0x646f72616e646f6d),
        hash_key[0] ^ UINT64_C(0x6c7967656e657261), hash_key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word, last = (uint64_t)s.n << 56;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        memcpy(&word, s.p + i, 8);
        sip_word(v, word);
    }
    /* the last word there is, without what of it was taken */
    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && i && i < s.n) {
        memcpy(&word, s.p + s.n - 8, 8);
        last |= word >> (8 - (s.n - i)) * 8;
        i = s.n;
    }
    for (int shift = 0; i < s.n; i++, shift += 8)
        last |= (uint64_t)(unsigned char)s.p[i] << shift;
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int r = 0; r < 3; r++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- UTF-8 (RFC 3629) ---- */

static bool continues(const unsigned char *p, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return false;
    return true;
}

size_t str_utf8_length(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n;
    if (!s.n)
        return 0;
    if (p[0] < 0x80)
        return 1;
    n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < n || !continues(p, n))
        return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

bool str_is_utf8(struct str s)
{
    for (size_t i = 0, n; i < s.n; i += n)
        if (!(n = str_utf8_length(str_of(s.p + i, s.n - i))))
            return false;
    return true;
}
