#include "policy/policy_int.h"
#include "net/target.h"
#include <stdio.h>

/* An entry being parsed, for the error sentence. */
struct entry {
    struct str text, origin;
    enum rule_list list;
    struct errctx *ctx;
};

static enum err invalid(const struct entry *e, const char *why)
{
    struct str origin = e->origin.n ? e->origin : STR("entry");
    return err_set(e->ctx, ERR_INVALID, "%.*s \"%.*s\": %s", STR_ARG(origin),
                   e->text.n > 60 ? 60 : (int)e->text.n, e->text.n ? e->text.p : "", why);
}

/* ---- scheme://…, accepted for allow entries ---- */

static enum err cut_url(const struct entry *e, struct str *text, struct pattern *pattern)
{
    size_t colon = str_find(*text, ':');
    struct str rest = str_of(text->p + colon, text->n - colon);
    if (!str_starts(rest, STR("://")))
        return ERR_OK;
    if (e->list != RULES_ALLOW)
        return invalid(e, "a URL is not accepted here, write HOST or HOST:PORT");
    if (str_eq_nocase(str_of(text->p, colon), STR("https")))
        pattern->schemes = SCHEME_BIT_HTTPS;
    else if (str_eq_nocase(str_of(text->p, colon), STR("http")))
        pattern->schemes = SCHEME_BIT_HTTP;
    else
        return invalid(e, "the scheme of a URL must be http or https");
    pattern->port = scheme_port(pattern->schemes == SCHEME_BIT_HTTPS ? SCHEME_HTTPS : SCHEME_HTTP);
    rest = str_of(rest.p + 3, rest.n - 3);
    size_t slash = str_find(rest, '/');
    if (str_find(rest, '?') < rest.n || str_find(rest, '#') < rest.n)
        return invalid(e, "a query or fragment cannot be part of an entry");
    if (slash + 1 < rest.n)
        return invalid(e, "path rules come with profiles, give the host alone");
    *text = str_of(rest.p, slash);
    return ERR_OK;
}

/* ---- port ---- */

/* Where the ":port" begins; text.n when there is none. A bare IPv6 address has none. */
static size_t port_start(struct str text)
{
    size_t last = str_rfind(text, ':');
    size_t slash = str_rfind(text, '/'), bracket = str_rfind(text, ']');
    if (last == text.n)
        return text.n;
    if (bracket < text.n || slash < text.n) {
        size_t end = bracket < text.n ? bracket : slash;
        return last > end ? last : text.n;
    }
    return str_find(text, ':') == last ? last : text.n;
}

/* "::1:8080" is an address, and was probably meant as address and port. */
static bool ambiguous_ipv6(struct str text)
{
    struct address a;
    uint64_t port;
    size_t last = str_rfind(text, ':');
    return last < text.n && address_parse(text, &a) && address_parse(str_of(text.p, last), &a) &&
           str_u64(str_of(text.p + last + 1, text.n - last - 1), 65535, &port);
}

static enum err cut_port(const struct entry *e, struct str *text, struct pattern *pattern)
{
    uint64_t port;
    size_t at = port_start(*text);
    if (ambiguous_ipv6(*text))
        return invalid(e, "write an IPv6 address in brackets, [ADDRESS] or [ADDRESS]:PORT");
    if (at == text->n)
        return ERR_OK;
    struct str digits = str_of(text->p + at + 1, text->n - at - 1);
    if (digits.n > 5 || !str_u64(digits, 65535, &port) || port == 0)
        return invalid(e, "the port must be a number from 1 to 65535");
    pattern->port = (uint16_t)port;
    *text = str_of(text->p, at);
    return ERR_OK;
}

/* ---- the three kinds of host ---- */

/* "example.com/path": somebody left the scheme out. */
static enum err bad_path(const struct entry *e)
{
    char why[128];
    struct str shown = str_of(e->text.p, e->text.n > 60 ? 60 : e->text.n);
    if (e->list != RULES_ALLOW)
        return invalid(e, "a path cannot be part of it, write the host alone");
    (void)snprintf(why, sizeof why, "a path needs a scheme, write https://%.*s", STR_ARG(shown));
    return invalid(e, why);
}

/* The block that was probably meant, where only the host bits are wrong. */
static enum err bad_block(const struct entry *e, struct str text)
{
    char why[128], base_text[ADDRESS_TEXT_SIZE];
    struct address a;
    uint64_t bits;
    size_t slash = str_find(text, '/');
    if (!address_parse(str_of(text.p, slash), &a) &&
        !str_u64(str_of(text.p + slash + 1, text.n - slash - 1), UINT64_MAX, &bits))
        return bad_path(e);
    if (!address_parse(str_of(text.p, slash), &a) ||
        !str_u64(str_of(text.p + slash + 1, text.n - slash - 1), 128, &bits) ||
        bits > (a.family == ADDRESS_V4 ? 32U : 128U))
        return invalid(e, "not a CIDR block, write ADDRESS/LENGTH as 10.0.0.0/8 or fd00::/8");
    for (unsigned i = (unsigned)bits; i < 128; i++)
        a.bytes[i / 8] &= (uint8_t) ~(0x80U >> i % 8);
    address_text(&a, base_text);
    (void)snprintf(why, sizeof why, "bits behind the prefix must be zero, write %s/%u", base_text,
                   (unsigned)bits);
    return invalid(e, why);
}

static enum err take_block(const struct entry *e, struct str text, struct pattern *pattern)
{
    pattern->kind = PATTERN_BLOCK;
    return cidr_parse(text, &pattern->block) ? ERR_OK : bad_block(e, text);
}

/* "[v6]" and "[v6]/len" to the form without brackets; anything else stays. */
static struct str unbracket(struct str text, char *scratch, size_t size)
{
    size_t close = str_find(text, ']');
    if (text.n == 0 || text.p[0] != '[' || close == text.n || text.n > size)
        return text;
    memcpy(scratch, text.p + 1, close - 1);
    memcpy(scratch + close - 1, text.p + close + 1, text.n - close - 1);
    return str_of(scratch, text.n - 2);
}

static enum err take_host(const struct entry *e, struct str text, struct pattern *pattern)
{
    struct errctx why = {0};
    if (str_find(text, ',') < text.n)
        return invalid(e, "an entry holds one host: repeat the option, or write more strings");
    if (hostname_parse(text, &pattern->host, &why) != ERR_OK)
        return invalid(e, why.text);
    pattern->kind = PATTERN_NAME;
    if (!pattern->host.is_address)
        return ERR_OK;
    pattern->kind = PATTERN_BLOCK;
    pattern->block.base = pattern->host.address;
    pattern->block.bits = pattern->host.address.family == ADDRESS_V4 ? 32 : 128;
    return ERR_OK;
}

static enum err take_wildcard(const struct entry *e, struct str text, struct pattern *pattern)
{
    if (text.n == 1) {
        if (e->list == RULES_BYPASS)
            return invalid(
                e, "* would bypass the upstream proxy for every host, leave it out instead");
        pattern->kind = PATTERN_ANY;
        return ERR_OK;
    }
    struct str suffix = text.n > 2 && text.p[1] == '.' ? str_of(text.p + 2, text.n - 2) : STR_NULL;
    if (suffix.n == 0 || str_find(suffix, '*') < suffix.n)
        return invalid(e, "a * stands alone or first before a dot, as in *.example.com");
    enum err r = take_host(e, suffix, pattern);
    if (r == ERR_OK && pattern->kind != PATTERN_NAME)
        return invalid(e, "a * cannot stand before an address, write a CIDR block");
    pattern->kind = PATTERN_BELOW;
    return r;
}

static enum err take_any(const struct entry *e, struct str text, struct pattern *pattern)
{
    char scratch[64];
    if (text.n == 0)
        return invalid(e, "the host is empty, leave the entry out");
    if (str_find(text, '*') < text.n && text.p[0] != '*')
        return invalid(e, "a * stands alone or first before a dot, as in *.example.com");
    if (text.p[0] == '*')
        return take_wildcard(e, text, pattern);
    if (text.p[0] == '.')
        return invalid(e, "an entry cannot begin with a dot, write *.example.com");
    if (str_find(text, '/') < text.n)
        return take_block(e, unbracket(text, scratch, sizeof scratch), pattern);
    return take_host(e, text, pattern);
}

enum err pattern_parse(struct str text, enum rule_list list, struct str origin,
                       struct pattern *ret_pattern, struct errctx *ctx)
{
    struct entry e = {.text = text, .origin = origin, .list = list, .ctx = ctx};
    struct pattern pattern = {.schemes = SCHEME_BITS_ALL};
    enum err r = cut_url(&e, &text, &pattern);
    if (r == ERR_OK && str_find(text, '@') < text.n)
        return invalid(&e, "user information is not accepted");
    if (r == ERR_OK)
        r = cut_port(&e, &text, &pattern);
    if (r == ERR_OK)
        r = take_any(&e, text, &pattern);
    if (r == ERR_OK)
        *ret_pattern = pattern;
    return r;
}

static void format_block(struct buf *out, const struct pattern *pattern)
{
    const struct cidr *c = &pattern->block;
    bool v6 = c->base.family == ADDRESS_V6, whole = c->bits == (v6 ? 128 : 32);
    bool brackets = v6 && (whole || pattern->port);
    if (brackets)
        buf_add_c(out, '[');
    address_format(out, &c->base);
    if (brackets)
        buf_add_c(out, ']');
    if (!whole) {
        buf_add_c(out, '/');
        buf_add_u64(out, c->bits);
    }
}

void pattern_format(struct buf *out, const struct pattern *pattern)
{
    switch (pattern->kind) {
    case PATTERN_BLOCK:
        format_block(out, pattern);
        break;
    case PATTERN_ANY:
        buf_add_c(out, '*');
        break;
    case PATTERN_BELOW:
        buf_add_z(out, "*.");
        buf_add_str(out, hostname_str(&pattern->host));
        break;
    case PATTERN_NAME:
        buf_add_str(out, hostname_str(&pattern->host));
        break;
    }
    if (pattern->port) {
        buf_add_c(out, ':');
        buf_add_u64(out, pattern->port);
    }
}
