#include "config/host_url.h"

static enum err refuse(struct errctx *ctx, struct str text, const char *why)
{
    size_t at = str_rfind(text, '@');
    const char *masked = at < text.n ? "***@" : ""; /* user information may be a password */

    if (*masked)
        text = str_of(text.p + at + 1, text.n - at - 1);
    return err_set(ctx, ERR_INVALID, "\"%s%.*s\": %s", masked, text.n > 70 ? 70 : (int)text.n,
                   text.n ? text.p : "", why);
}

enum err host_pattern_parse(struct str text, struct host_pattern *ret_pattern, struct errctx *ctx)
{
    struct host_pattern p = {.below = str_starts(text, STR("*."))};
    struct str rest = p.below ? str_of(text.p + 2, text.n - 2) : text;
    struct errctx why = {0};
    if (str_find(rest, '*') < rest.n)
        return refuse(ctx, text, "a * stands first before a dot, as in *.example.com");
    if (str_find(rest, '/') < rest.n)
        return refuse(ctx, text, "one host or *.suffix is needed here, no block and no path");
    if (rest.n && rest.p[0] != '[' && str_find(rest, ':') != str_rfind(rest, ':'))
        return refuse(ctx, text, "write an IPv6 address in brackets, [ADDRESS] or [ADDRESS]:PORT");
    if (target_parse_host(rest, &p.host, &p.port, &why))
        return refuse(ctx, text, why.text);
    if (p.below && p.host.is_address)
        return refuse(ctx, text, "a * cannot stand before an address");
    *ret_pattern = p;
    return ERR_OK;
}

void host_pattern_format(struct buf *out, const struct host_pattern *p)
{
    if (p->below)
        buf_add_z(out, "*.");
    buf_add_str(out, hostname_str(&p->host));
}

/* "scheme://", cut off *text. */
static bool cut_scheme(struct str *text, struct str *ret_scheme)
{
    size_t colon = str_find(*text, ':');
    if (!str_starts(str_of(text->p + colon, text->n - colon), STR("://")))
        return false;
    *ret_scheme = str_of(text->p, colon);
    *text = str_of(text->p + colon + 3, text->n - colon - 3);
    return true;
}

static size_t find_any(struct str s, const char *set)
{
    size_t i = 0;
    while (i < s.n && !(s.p[i] && strchr(set, s.p[i])))
        i++;
    return i;
}

static bool is_loopback(const struct host_pattern *p)
{
    enum address_kind kind;
    if (p->below || !p->host.is_address)
        return !p->below && str_eq(hostname_str(&p->host), STR("localhost"));
    kind = address_kind(&p->host.address);
    if (kind == ADDRESS_UNSPECIFIED) /* 0/8 is more than 0.0.0.0 */
        return str_eq(hostname_str(&p->host), STR("0.0.0.0")) ||
               str_eq(hostname_str(&p->host), STR("::"));
    return kind == ADDRESS_LOOPBACK;
}

enum err upstream_parse(struct str url, struct upstream *ret_upstream, struct errctx *ctx)
{
    struct upstream u = {.scheme = SCHEME_HTTPS};
    struct str rest = url, scheme;
    if (!cut_scheme(&rest, &scheme))
        return refuse(ctx, url, "an upstream is a URL, https://HOST[:PORT][/PATH]");
    if (str_eq_nocase(scheme, STR("http")))
        u.scheme = SCHEME_HTTP;
    else if (!str_eq_nocase(scheme, STR("https")))
        return refuse(ctx, url, "the scheme of an upstream is https (http for a loopback host)");
    size_t slash = find_any(rest, "/?#");
    u.base_path = str_of(rest.p + slash, rest.n - slash);
    if (find_any(u.base_path, "?#") < u.base_path.n)
        return refuse(ctx, url, "an upstream has no query and no fragment");
    while (u.base_path.n && u.base_path.p[u.base_path.n - 1] == '/')
        u.base_path.n--;
    if (!target_path_ok(u.base_path))
        return refuse(ctx, url, "the path holds a blank or control character");
    enum err e = host_pattern_parse(str_of(rest.p, slash), &u.host, ctx);
    if (e)
        return e;
    if (u.scheme == SCHEME_HTTP && !is_loopback(&u.host))
        return refuse(ctx, url, "plain http is only for a loopback host: write https");
    if (!u.host.port)
        u.host.port = scheme_port(u.scheme);
    *ret_upstream = u;
    return ERR_OK;
}

bool allow_url_split(struct str entry, struct allow_url *ret_url)
{
    struct allow_url u;
    struct str rest = entry;
    if (!cut_scheme(&rest, &u.scheme))
        return false;
    size_t slash = find_any(rest, "/?#");
    u.authority = str_of(rest.p, slash);
    u.path = str_of(rest.p + slash, rest.n - slash);
    size_t path_n = find_any(u.path, "?#");
    u.has_query = path_n < u.path.n;
    u.path.n = path_n;
    if (u.path.n == 0 || str_eq(u.path, STR("/")))
        return false;
    *ret_url = u;
    return true;
}
