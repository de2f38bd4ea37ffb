#include "net/address.h"

/* ---- text to address ---- */

static bool parse_v4(struct str text, uint8_t *ret_bytes)
{
    uint8_t bytes[4];
    size_t i = 0;
    for (unsigned part = 0; part < 4; part++) {
        if (part && (i == text.n || text.p[i++] != '.'))
            return false;
        size_t start = i;
        unsigned value = 0;
        while (i < text.n && i - start < 3 && ascii_is_digit((unsigned char)text.p[i]))
            value = value * 10 + (unsigned)(text.p[i++] - '0');
        if (i == start || value > 255 || (text.p[start] == '0' && i - start > 1))
            return false;
        bytes[part] = (uint8_t)value;
    }
    if (i != text.n)
        return false;
    memcpy(ret_bytes, bytes, 4);
    return true;
}

/* One group of up to four hexadecimal digits at text[*i]; the digits read are skipped. */
static bool parse_group(struct str text, size_t *i, unsigned *ret_value)
{
    unsigned value = 0;
    size_t start = *i;
    for (int d; *i < text.n && *i - start < 4 && (d = ascii_hex(text.p[*i])) >= 0; ++*i)
        value = value << 4 | (unsigned)d;
    *ret_value = value;
    return *i > start;
}

/* The 16 bytes of an IPv6 literal, not folded. `gap` is where "::" stands, in bytes. */
static bool parse_v6(struct str text, uint8_t *ret_bytes)
{
    uint8_t bytes[16] = {0};
    size_t n = 0, i = 0;
    int gap = -1;
    if (text.n >= 2 && text.p[0] == ':' && text.p[1] == ':')
        gap = 0, i = 2;
    while (i < text.n) {
        size_t start = i;
        unsigned value;
        if (n == 16 || !parse_group(text, &i, &value))
            return false;
        if (i < text.n && text.p[i] == '.') {
            if (n > 12 || !parse_v4(str_of(text.p + start, text.n - start), bytes + n))
                return false;
            n += 4;
            break;
        }
        bytes[n++] = (uint8_t)(value >> 8);
        bytes[n++] = (uint8_t)value;
        if (i == text.n)
            break;
        if (text.p[i++] != ':' || i == text.n)
            return false;
        if (text.p[i] == ':') {
            if (gap >= 0)
                return false;
            gap = (int)n;
            i++;
        }
    }
    if (gap < 0 ? n != 16 : n > 14)
        return false;
    size_t head = gap < 0 ? 16 : (size_t)gap, tail = n - (gap < 0 ? 16 : head);
    memset(ret_bytes, 0, 16);
    memcpy(ret_bytes, bytes, head);
    memcpy(ret_bytes + 16 - tail, bytes + head, tail);
    return true;
}

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct address address_from_bytes(enum address_family family, const void *bytes)
{
    const uint8_t *b = bytes;
    struct address a = {.family = (uint8_t)family};
    if (family == ADDRESS_V4) {
        memcpy(a.bytes, b, 4);
    } else if (memcmp(b, mapped_prefix, 12) == 0) {
        a.family = ADDRESS_V4;
        memcpy(a.bytes, b + 12, 4);
    } else {
        memcpy(a.bytes, b, 16);
    }
    return a;
}

bool address_parse(struct str text, struct address *ret_address)
{
    uint8_t bytes[16];
    if (str_find(text, ':') < text.n) {
        if (!parse_v6(text, bytes))
            return false;
        *ret_address = address_from_bytes(ADDRESS_V6, bytes);
        return true;
    }
    if (!parse_v4(text, bytes))
        return false;
    *ret_address = address_from_bytes(ADDRESS_V4, bytes);
    return true;
}

bool address_eq(const struct address *a, const struct address *b)
{
    return a->family == b->family &&
           memcmp(a->bytes, b->bytes, a->family == ADDRESS_V4 ? 4 : 16) == 0;
}

/* ---- address to text ---- */

static unsigned group_at(const struct address *a, unsigned i)
{
    return (unsigned)a->bytes[2 * i] << 8 | a->bytes[2 * i + 1];
}

/* First longest run of two or more zero groups (RFC 5952 section 4.2); *ret_length 0 when there is
 * none. */
static unsigned zero_run(const struct address *a, unsigned *ret_length)
{
    unsigned best = 0, best_n = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = 0;
        while (i + n < 8 && group_at(a, i + n) == 0)
            n++;
        if (n > best_n)
            best = i, best_n = n;
        i += n;
    }
    *ret_length = best_n > 1 ? best_n : 0;
    return best;
}

static size_t add_group(char *out, size_t n, unsigned value)
{
    char digits[8];
    unsigned d = 0;
    do {
        digits[d++] = "0123456789abcdef"[value & 15];
    } while ((value >>= 4) != 0);
    while (d)
        out[n++] = digits[--d];
    return n;
}

/* For every request twice, hence without divisions and reversing. */
static size_t text_v4(const struct address *a, char *out)
{
    size_t n = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned v = a->bytes[i];
        if (i)
            out[n++] = '.';
        if (v >= 100)
            out[n++] = (char)('0' + v / 100);
        if (v >= 10)
            out[n++] = (char)('0' + v / 10 % 10);
        out[n++] = (char)('0' + v % 10);
    }
    return n;
}

static size_t text_v6(const struct address *a, char *out)
{
    unsigned run_n, run = zero_run(a, &run_n);
    size_t n = 0;
    for (unsigned i = 0; i < 8;) {
        if (run_n && i == run) {
            out[n++] = ':', out[n++] = ':';
            i += run_n;
            continue;
        }
        if (i && !(run_n && i == run + run_n))
            out[n++] = ':';
        n = add_group(out, n, group_at(a, i));
        i++;
    }
    return n;
}

size_t address_text(const struct address *a, char ret_text[ADDRESS_TEXT_SIZE])
{
    size_t n = a->family == ADDRESS_V4 ? text_v4(a, ret_text) : text_v6(a, ret_text);
    ret_text[n] = 0;
    return n;
}

void address_format(struct buf *out, const struct address *a)
{
    char text[ADDRESS_TEXT_SIZE];
    buf_add(out, text, address_text(a, text));
}

/* ---- what kind of place ---- */

static enum address_kind kind_v4(const uint8_t *b)
{
    static const uint8_t metadata[4] = {169, 254, 169, 254};
    static const uint8_t alibaba[4] = {100, 100, 100, 200}, azure[4] = {168, 63, 129, 16};
    if (memcmp(b, metadata, 4) == 0)
        return ADDRESS_METADATA;
    if (b[0] == 169 && b[1] == 254)
        return ADDRESS_LINK_LOCAL;
    if (memcmp(b, alibaba, 4) == 0 || memcmp(b, azure, 4) == 0)
        return ADDRESS_CLOUD;
    if ((b[0] & b[1] & b[2] & b[3]) == 255)
        return ADDRESS_BROADCAST;
    if (b[0] >> 4 == 14)
        return ADDRESS_MULTICAST;
    if (b[0] == 0)
        return ADDRESS_UNSPECIFIED;
    if (b[0] == 127)
        return ADDRESS_LOOPBACK;
    if (b[0] == 10 || (b[0] == 172 && b[1] >> 4 == 1) || (b[0] == 192 && b[1] == 168) ||
        (b[0] == 100 && b[1] >> 6 == 1))
        return ADDRESS_PRIVATE;
    return ADDRESS_PUBLIC;
}

static enum address_kind kind_v6(const uint8_t *b)
{
    static const uint8_t metadata[16] = {0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0,
                                         0,    0, 0,    0,    0, 0, 2, 0x54};
    static const uint8_t loopback[16] = {[15] = 1}, unspecified[16];
    if (memcmp(b, metadata, 16) == 0)
        return ADDRESS_METADATA;
    if (b[0] == 0xfe && b[1] >> 6 == 2)
        return ADDRESS_LINK_LOCAL;
    if (b[0] == 0xff)
        return ADDRESS_MULTICAST;
    if (memcmp(b, unspecified, 16) == 0)
        return ADDRESS_UNSPECIFIED;
    if (memcmp(b, loopback, 16) == 0)
        return ADDRESS_LOOPBACK;
    return b[0] >> 1 == 0xfc >> 1 ? ADDRESS_PRIVATE : ADDRESS_PUBLIC;
}

bool address_embedded(const struct address *a, struct address *ret_inner)
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b}, zeros[15];
    const uint8_t *b = a->bytes;
    if (a->family != ADDRESS_V6)
        return false;
    if (b[0] == 0x20 && b[1] == 0x02) {
        *ret_inner = address_from_bytes(ADDRESS_V4, b + 2);
        return true;
    }
    bool compatible = memcmp(b, zeros, 12) == 0 && !(memcmp(b, zeros, 15) == 0 && b[15] <= 1);
    if (!compatible && memcmp(b, nat64, 12) != 0)
        return false;
    *ret_inner = address_from_bytes(ADDRESS_V4, b + 12);
    return true;
}

enum address_kind address_kind(const struct address *a)
{
    if (a->family == ADDRESS_V4)
        return kind_v4(a->bytes);
    enum address_kind kind = kind_v6(a->bytes);
    struct address inner;
    if (address_embedded(a, &inner)) {
        enum address_kind inside = kind_v4(inner.bytes);
        kind = inside > kind ? inside : kind;
    }
    return kind;
}

const char *address_kind_name(enum address_kind k)
{
    switch (k) {
    case ADDRESS_PUBLIC:
        return "public";
    case ADDRESS_PRIVATE:
        return "private";
    case ADDRESS_LOOPBACK:
        return "loopback";
    case ADDRESS_UNSPECIFIED:
        return "unspecified";
    case ADDRESS_MULTICAST:
        return "multicast";
    case ADDRESS_BROADCAST:
        return "broadcast";
    case ADDRESS_CLOUD:
        return "cloud-service";
    case ADDRESS_LINK_LOCAL:
        return "link-local";
    case ADDRESS_METADATA:
        return "metadata";
    }
    return "unknown";
}

/* ---- CIDR blocks ---- */

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

static bool host_bits_zero(const uint8_t *b, unsigned bits, unsigned width)
{
    if (bits % 8 && b[bits / 8] & 0xffU >> bits % 8)
        return false;
    for (unsigned i = (bits + 7) / 8; i < width / 8; i++)
        if (b[i])
            return false;
    return true;
}

bool cidr_parse(struct str text, struct cidr *ret_cidr)
{
    size_t slash = str_find(text, '/');
    struct str base = str_of(text.p, slash);
    bool v6 = str_find(base, ':') < base.n;
    uint64_t width = v6 ? 128 : 32, bits = width;
    uint8_t bytes[16] = {0};
    if (!(v6 ? parse_v6(base, bytes) : parse_v4(base, bytes)))
        return false;
    if (slash < text.n) {
        struct str length = str_of(text.p + slash + 1, text.n - slash - 1);
        if (length.n > 3 || !str_u64(length, width, &bits))
            return false;
    }
    if (!host_bits_zero(bytes, (unsigned)bits, (unsigned)width))
        return false;
    /* A block below ::ffff:0:0/96 is an IPv4 block. A shorter one cannot begin there: those are
     * host bits. */
    struct address a = address_from_bytes(v6 ? ADDRESS_V6 : ADDRESS_V4, bytes);
    if (v6 && a.family == ADDRESS_V4)
        bits -= 96;
    ret_cidr->base = a;
    ret_cidr->bits = (uint8_t)bits;
    return true;
}

bool cidr_contains(const struct cidr *c, const struct address *a)
{
    return c->base.family == a->family && bits_equal(c->base.bytes, a->bytes, c->bits);
}
