/* Entries of network.no_proxy: hosts that clients reach without the gateway. */
#include "config/profile_int.h"
#include "net/hostname.h"

static enum err refuse(struct errctx *ctx, struct str entry, const char *why)
{
    return err_set(ctx, ERR_INVALID, "no_proxy entry \"%.*s\" %s", entry.n > 60 ? 60 : (int)entry.n,
                   entry.n ? entry.p : "", why);
}

/* ---- the host in an entry ---- */

/* Canonical text without brackets, port and trailing dots; lower case. */
struct host {
    char text[LIMIT_HOST_BYTES + 1];
    size_t n;
    bool address;
    struct address a;
};

static struct str unbracket(struct str s)
{
    return s.n > 1 && s.p[0] == '[' && s.p[s.n - 1] == ']' ? str_of(s.p + 1, s.n - 2) : s;
}

static void normalise(struct str s, struct host *h)
{
    s = unbracket(s);
    *h = (struct host){0};
    if (address_parse(s, &h->a)) {
        h->address = true;
        h->n = address_text(&h->a, h->text);
        return;
    }
    for (size_t i = 0; i < s.n && h->n < LIMIT_HOST_BYTES; i++)
        h->text[h->n++] = ascii_lower(s.p[i]);
    while (h->n && h->text[h->n - 1] == '.')
        h->n--;
}

static struct str host_str(const struct host *h)
{
    return str_of(h->text, h->n);
}

static struct str cut_port(struct str s)
{
    size_t colon = str_rfind(s, ':'), bracket = str_rfind(s, ']');
    if (s.n && s.p[0] == '[')
        return bracket < s.n ? str_of(s.p, bracket + 1) : s;
    return colon < s.n && str_find(s, ':') == colon ? str_of(s.p, colon) : s;
}

/* ---- syntax (3.2) ---- */

static enum err check_characters(struct str e, struct errctx *ctx)
{
    struct str rest;
    if (e.n == 0)
        return refuse(ctx, e, "is empty");
    for (size_t i = 0; i < e.n; i++) {
        unsigned char c = (unsigned char)e.p[i];
        if (c <= ' ' || c == 0x7f)
            return refuse(ctx, e, "holds a blank or control character");
        if (c == ',')
            return refuse(ctx, e, "holds a comma: write one entry for each host");
        if (c == '@')
            return refuse(ctx, e, "holds user information");
        rest = str_of(e.p + i, e.n - i);
        if (str_starts(rest, STR("://")))
            return refuse(ctx, e, "is a URL: write the host alone");
        if (c == '/' || c == '?' || c == '#')
            return refuse(ctx, e, "holds a path, a query or a block: write the host alone");
    }
    return ERR_OK;
}

static enum err check_brackets(struct str e, struct errctx *ctx)
{
    struct address a;
    if (str_find(e, '[') < e.n || str_find(e, ']') < e.n)
        return e.p[0] == '[' && e.p[e.n - 1] == ']' && address_parse(unbracket(e), &a) &&
                       a.family == ADDRESS_V6
                   ? ERR_OK
                   : refuse(ctx, e, "is no [IPv6] address (a port is not taken)");
    size_t colon = str_rfind(e, ':');
    if (colon + 1 < e.n && str_find(e, ':') == colon)
        return refuse(ctx, e, "has a port: NO_PROXY entries hold for every port");
    return ERR_OK;
}

static enum err check_wildcard(struct str e, struct str *ret_host, struct errctx *ctx)
{
    struct str rest = e;
    if (str_eq(e, STR("*")))
        return refuse(ctx, e, "would take every host past the gateway");
    if (str_starts(e, STR("*.")))
        rest = str_of(e.p + 2, e.n - 2);
    else if (e.p[0] == '.')
        rest = str_of(e.p + 1, e.n - 1);
    if (str_find(rest, '*') < rest.n)
        return refuse(ctx, e, "has a * that is not first before a dot, as in *.example.com");
    if (rest.n == 0)
        return refuse(ctx, e, "names no host behind the dot");
    *ret_host = rest;
    return ERR_OK;
}

static bool good_characters(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static enum err check_address(struct str e, const struct address *a, struct errctx *ctx)
{
    enum address_kind kind = address_kind(a);
    return kind == ADDRESS_LINK_LOCAL || kind == ADDRESS_METADATA
               ? refuse(ctx, e, "is a link-local or cloud metadata address")
               : ERR_OK;
}

static bool has_empty_label(struct str s)
{
    struct str rest = s, label;
    while (str_next(&rest, '.', &label))
        if (label.n == 0)
            return true;
    return s.n == 0 || s.p[s.n - 1] == '.';
}

enum err no_proxy_check(struct str entry, struct errctx *ctx)
{
    static const char *const metadata[] = {"169.254.169.254", "fd00:ec2::254",
                                           "metadata.google.internal", "metadata.azure.internal"};
    struct str host = entry;
    struct host h;
    enum err e = check_characters(entry, ctx);
    if (e || (e = check_brackets(entry, ctx)) || (e = check_wildcard(entry, &host, ctx)))
        return e;
    normalise(host, &h);
    if (!h.address && has_empty_label(host))
        return refuse(ctx, entry, "has an empty label (two dots, or one at an end)");
    for (size_t i = 0; i < ARRAY_LEN(metadata); i++)
        if (no_proxy_overlaps(entry, str_from(metadata[i])))
            return refuse(ctx, entry, "covers a cloud metadata host");
    if (h.address)
        return check_address(entry, &h.a, ctx);
    if (!good_characters(host))
        return refuse(ctx, entry, "holds a character that no host name has");
    if (host.p == entry.p && str_find(host, '.') < host.n)
        return refuse(ctx, entry,
                      "is a full name: clients disagree on what it covers, write .NAME or *.NAME");
    return ERR_OK;
}

/* ---- overlap ---- */

/* host is suffix or below it. */
static bool at_or_below(struct str host, struct str suffix)
{
    if (str_eq(host, suffix))
        return true;
    return host.n > suffix.n + 1 && str_ends(host, suffix) && host.p[host.n - suffix.n - 1] == '.';
}

bool no_proxy_overlaps(struct str entry, struct str pattern)
{
    struct host e, p;
    struct str name = cut_port(entry), other = cut_port(pattern);
    bool star = str_starts(name, STR("*.")), dot = !star && str_starts(name, STR("."));
    bool below = str_starts(other, STR("*.")), dotted = !below && str_starts(other, STR("."));
    if (name.n == 0 || other.n == 0)
        return true;
    normalise(str_of(name.p + (star ? 2 : dot ? 1 : 0), name.n - (star ? 2 : dot ? 1 : 0)), &e);
    normalise(str_of(other.p + (below    ? 2
                                : dotted ? 1
                                         : 0),
                     other.n - (below    ? 2
                                : dotted ? 1
                                         : 0)),
              &p);
    struct str es = host_str(&e), ps = host_str(&p);
    if (star == below && dot == dotted && str_eq(es, ps))
        return true;
    if (e.address || p.address)
        return false;
    bool single = !star && !dot && str_find(es, '.') == es.n;
    if (single)
        return at_or_below(ps, es);
    if (below)
        return at_or_below(ps, es) || at_or_below(es, ps);
    if (star)
        return !str_eq(ps, es) && at_or_below(ps, es);
    return dot ? at_or_below(ps, es) : str_eq(ps, es);
}
