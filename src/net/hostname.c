#include "net/hostname.h"
#include <idn2.h>

/* Input that needs UTS-46 may shrink a lot (ignored characters), but not without bound. */
enum { UNICODE_MAX = 4 * LIMIT_HOST_BYTES };

static enum err bad(struct errctx *ctx, const char *why)
{
    return err_set(ctx, ERR_BAD_REQUEST, "%s", why);
}

/* 1: may stand in a name, 2: upper case letter (adding 32 makes it lower case). */
static const uint8_t name_char[256] = {
    ['-'] = 1, ['_'] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1,
    ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1,
    ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1,
    ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1,
    ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1, ['A'] = 2, ['B'] = 2,
    ['C'] = 2, ['D'] = 2, ['E'] = 2, ['F'] = 2, ['G'] = 2, ['H'] = 2, ['I'] = 2, ['J'] = 2,
    ['K'] = 2, ['L'] = 2, ['M'] = 2, ['N'] = 2, ['O'] = 2, ['P'] = 2, ['Q'] = 2, ['R'] = 2,
    ['S'] = 2, ['T'] = 2, ['U'] = 2, ['V'] = 2, ['W'] = 2, ['X'] = 2, ['Y'] = 2, ['Z'] = 2,
};

/* A name being made canonical. */
struct name {
    char text[LIMIT_HOST_BYTES + 1];
    size_t n;
    bool has_alabel; /* a label begins with xn-- */
};

static struct str without_dots(struct str s)
{
    while (s.n && s.p[s.n - 1] == '.')
        s.n--;
    return s;
}

static bool is_alabel(struct str label)
{
    return label.n >= 4 && memcmp(label.p, "xn--", 4) == 0;
}

/* Check and note the label that ends here. */
static const char *end_label(struct name *name, size_t start)
{
    size_t n = name->n - start;
    if (n == 0)
        return "the host name has an empty label";
    if (n > LIMIT_LABEL_BYTES)
        return "a label of the host name is longer than 63 bytes";
    name->has_alabel |= is_alabel(str_of(name->text + start, n));
    return NULL;
}

/* The ASCII rules of decision H1, one pass; trailing dots are gone already. NULL, or what is wrong.
 */
static const char *ascii_name(struct str text, struct name *ret_name)
{
    size_t start = 0;
    ret_name->n = 0;
    ret_name->has_alabel = false;
    if (text.n == 0)
        return "the host name is empty";
    if (text.n > LIMIT_HOST_BYTES)
        return "the host name is longer than 253 bytes";
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '.') {
            const char *why = end_label(ret_name, start);
            if (why)
                return why;
            start = i + 1;
        } else if (!name_char[c]) {
            return "the host name has a character that no host name may have";
        }
        ret_name->text[ret_name->n++] = (char)(c | (name_char[c] & 2) << 4);
    }
    ret_name->text[ret_name->n] = 0;
    return end_label(ret_name, start);
}

/* Ends in a label that old resolvers read as a number: decimal, octal or hexadecimal digits
 * (decision H2). */
static bool ends_in_number(const struct name *name)
{
    struct str s = str_of(name->text, name->n);
    size_t dot = str_rfind(s, '.');
    struct str last = dot < s.n ? str_of(s.p + dot + 1, s.n - dot - 1) : s;
    bool hex = last.n >= 2 && last.p[0] == '0' && last.p[1] == 'x';
    for (size_t i = hex ? 2 : 0; i < last.n; i++) {
        char c = last.p[i];
        if (!ascii_is_digit((unsigned char)c) && !(hex && c >= 'a' && c <= 'f'))
            return false;
    }
    return true;
}

/* Holds a character that the two processings of UTS-46 treat differently (sharp s, final sigma, the
 * joiners), or a symbol that passes for a delimiter (fraction and division slash, set minus, ratio,
 * the big and reverse solidus). */
static bool is_delicate(const char *piece)
{
    static const char *const delicate[] = {
        "\xc3\x9f",     "\xe1\xba\x9e", "\xcf\x82",     "\xe2\x80\x8c", "\xe2\x80\x8d",
        "\xe2\x81\x84", "\xe2\x88\x95", "\xe2\x88\x96", "\xe2\x88\xb6", "\xe2\xa7\xb5",
        "\xe2\xa7\xb8", "\xe2\xa7\xb9"};
    for (size_t i = 0; i < ARRAY_LEN(delicate); i++)
        if (strstr(piece, delicate[i]))
            return true;
    return false;
}

/* libidn2 adds to the non-transitional processing what IDNA2008 forbids, and so refuses symbols,
 * which UTS-46 has and which names in use hold. Its transitional processing has the same tables
 * without that; only the delicate ones must not get there. */
static int convert(const char *piece, char **ret_made)
{
    int e = idn2_to_ascii_8z(piece, ret_made, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    if (e == IDN2_DISALLOWED && !is_delicate(piece))
        e = idn2_to_ascii_8z(piece, ret_made, IDN2_TRANSITIONAL | IDN2_NFC_INPUT);
    return e;
}

/* Run one NUL-terminated piece through UTS-46; the result is appended to out (size LIMIT_HOST_BYTES
 * + 1, *n used). */
static bool to_ascii(const char *piece, char *out, size_t *n)
{
    char *made = NULL;
    if (convert(piece, &made) != IDN2_OK)
        return false;
    size_t made_n = strlen(made);
    bool fits = made_n <= LIMIT_HOST_BYTES - *n;
    if (fits) {
        memcpy(out + *n, made, made_n + 1);
        *n += made_n;
    }
    idn2_free(made);
    return fits;
}

/* Only the xn-- labels are converted: UTS-46 in libidn2 refuses names that are in use, as
 * r3---sn-x. */
static bool convert_alabels(const struct name *name, char *out, size_t *n)
{
    struct str rest = str_of(name->text, name->n), label;
    for (bool first = true; str_next(&rest, '.', &label); first = false) {
        char piece[LIMIT_LABEL_BYTES + 1];
        if (*n + !first + label.n > LIMIT_HOST_BYTES)
            return false;
        if (!first)
            out[(*n)++] = '.';
        memcpy(is_alabel(label) ? piece : out + *n, label.p, label.n);
        if (!is_alabel(label)) {
            *n += label.n;
            continue;
        }
        piece[label.n] = 0;
        if (!to_ascii(piece, out, n))
            return false;
    }
    out[*n] = 0;
    return true;
}

static const char *const not_convertible =
    "the host name is not a valid internationalised name (UTS-46)";

/* A name with A-labels must be its own conversion: anything else is a second spelling of some other
 * name. */
static const char *settle_alabels(struct name *name)
{
    char out[LIMIT_HOST_BYTES + 1];
    size_t n = 0;
    if (!name->has_alabel)
        return NULL;
    if (!convert_alabels(name, out, &n) || !str_eq(str_of(out, n), str_of(name->text, name->n)))
        return not_convertible;
    return NULL;
}

static const char *unicode_name(struct str text, struct name *ret_name)
{
    char in[UNICODE_MAX + 1], out[LIMIT_HOST_BYTES + 2];
    size_t n = 0;
    if (text.n > UNICODE_MAX)
        return "the host name is longer than 253 bytes";
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x80 && c != '.' && !name_char[c])
            return "the host name has a character that no host name may have";
        in[i] = ascii_lower(text.p[i]);
    }
    in[text.n] = 0;
    if (!to_ascii(in, out, &n))
        return not_convertible;
    const char *why = ascii_name(without_dots(str_of(out, n)), ret_name);
    if (why)
        return why;
    /* Full-width digits and dots can make an address: nobody writes one so by accident. */
    if (ends_in_number(ret_name))
        return "an IP address must be written in ASCII";
    return settle_alabels(ret_name);
}

static bool has_unicode(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] >= 0x80)
            return true;
    return false;
}

static enum err parse_ipv6(struct str text, struct hostname *ret_host, struct errctx *ctx)
{
    struct str inner = text;
    struct address a;
    if (text.p[0] == '[') {
        if (text.n < 2 || text.p[text.n - 1] != ']')
            return bad(ctx, "the host has an opening bracket and no closing one at its end");
        inner = str_of(text.p + 1, text.n - 2);
    }
    if (str_find(inner, '%') < inner.n)
        return bad(ctx, "an IPv6 address with a zone is not accepted");
    if (str_find(inner, ':') == inner.n || !address_parse(inner, &a))
        return bad(ctx, "the host is not a valid IPv6 address");
    *ret_host = hostname_from_address(&a);
    return ERR_OK;
}

static enum err take_name(const struct name *name, struct hostname *ret_host, struct errctx *ctx)
{
    if (ends_in_number(name)) {
        struct address a;
        if (!address_parse(str_of(name->text, name->n), &a))
            return bad(ctx,
                       "the host ends in a number and is no IPv4 address of four decimal parts");
        *ret_host = hostname_from_address(&a);
        return ERR_OK;
    }
    ret_host->is_address = 0;
    ret_host->n = (uint8_t)name->n;
    memcpy(ret_host->text, name->text, name->n + 1);
    ret_host->address = (struct address){0};
    return ERR_OK;
}

enum err hostname_parse(struct str text, struct hostname *ret_host, struct errctx *ctx)
{
    struct name name;
    struct str bare = without_dots(text);
    const char *why = ascii_name(bare, &name);
    if (!why)
        why = settle_alabels(&name);
    else if (text.n && (text.p[0] == '[' || str_find(text, ':') < text.n))
        return parse_ipv6(text, ret_host, ctx);
    else if (has_unicode(bare))
        why = unicode_name(bare, &name);
    return why ? bad(ctx, why) : take_name(&name, ret_host, ctx);
}

struct hostname hostname_from_address(const struct address *a)
{
    struct hostname h = {.is_address = 1, .address = *a};
    h.n = (uint8_t)address_text(a, h.text);
    return h;
}

bool hostname_eq(const struct hostname *a, const struct hostname *b)
{
    return a->is_address == b->is_address && a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
}

void hostname_format(struct buf *out, const struct hostname *h)
{
    bool brackets = h->is_address && h->address.family == ADDRESS_V6;
    if (brackets)
        buf_add_c(out, '[');
    buf_add(out, h->text, h->n);
    if (brackets)
        buf_add_c(out, ']');
}

void hostname_format_port(struct buf *out, const struct hostname *h, uint16_t port)
{
    hostname_format(out, h);
    buf_add_c(out, ':');
    buf_add_u64(out, port);
}

bool hostname_is_localhost(const struct hostname *h)
{
    struct str s = hostname_str(h);
    return str_eq(s, STR("localhost")) || str_ends(s, STR(".localhost"));
}
