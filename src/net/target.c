#include "net/target.h"

static enum err bad(struct errctx *ctx, const char *why)
{
    return err_set(ctx, ERR_BAD_REQUEST, "%s", why);
}

uint16_t scheme_port(enum scheme s)
{
    return s == SCHEME_HTTPS ? 443 : 80;
}

struct str scheme_name(enum scheme s)
{
    return s == SCHEME_HTTPS ? STR("https") : STR("http");
}

/* Index of the first byte of s that is in the set; s.n when there is none. */
static size_t find_any(struct str s, const char *set)
{
    size_t at = s.n;
    for (; *set; set++) /* one pass per member: far cheaper than a look into the set per byte */
        at = str_find(str_of(s.p, at), *set);
    return at;
}

static enum err parse_port(struct str text, uint16_t *ret_port, struct errctx *ctx)
{
    uint64_t port;
    if (text.n > 5 || !str_u64(text, 65535, &port))
        return bad(ctx, "the port is not a number from 1 to 65535");
    if (port == 0)
        return bad(ctx, "port 0 is not a port");
    *ret_port = (uint16_t)port;
    return ERR_OK;
}

/* Cut "host", "host:port", "[v6]", "[v6]:port" in two. *ret_port.p is NULL when there is no colon.
 */
static enum err split_port(struct str text, struct str *ret_host, struct str *ret_port,
                           struct errctx *ctx)
{
    size_t end = str_find(text, ':');
    size_t wrong = find_any(text, "@/?#\\");
    if (wrong < text.n)
        return bad(ctx, text.p[wrong] == '@' ? "user information in a target is not accepted"
                                             : "the authority holds more than host and port");
    if (text.n && text.p[0] == '[') {
        end = str_find(text, ']');
        if (end == text.n || (end + 1 < text.n && text.p[end + 1] != ':'))
            return bad(ctx, "the brackets of the host do not match");
        end++;
    } else if (end < text.n && str_rfind(text, ':') != end) {
        return bad(ctx, "an IPv6 address must stand in brackets");
    }
    *ret_host = str_of(text.p, end);
    *ret_port = end < text.n ? str_of(text.p + end + 1, text.n - end - 1) : STR_NULL;
    return ERR_OK;
}

enum err target_parse_authority(struct str text, struct hostname *ret_host, uint16_t *ret_port,
                                struct errctx *ctx)
{
    struct str host, digits;
    uint16_t port = 0;
    enum err e = split_port(text, &host, &digits, ctx);
    if (e != ERR_OK)
        return e;
    if (digits.n == 0)
        return bad(ctx, "the target has no port");
    e = parse_port(digits, &port, ctx);
    if (e == ERR_OK)
        e = hostname_parse(host, ret_host, ctx);
    if (e == ERR_OK)
        *ret_port = port;
    return e;
}

enum err target_parse_host(struct str text, struct hostname *ret_host, uint16_t *ret_port,
                           struct errctx *ctx)
{
    struct str host, digits;
    uint16_t port = 0;
    enum err e = split_port(text, &host, &digits, ctx);
    if (e == ERR_OK && digits.n) /* "host:" is allowed (RFC 3986 section 3.2.3) */
        e = parse_port(digits, &port, ctx);
    if (e == ERR_OK)
        e = hostname_parse(host, ret_host, ctx);
    if (e == ERR_OK)
        *ret_port = port;
    return e;
}

static enum err parse_scheme(struct str text, enum scheme *ret_scheme, struct str *ret_rest,
                             struct errctx *ctx)
{
    size_t colon = str_find(text, ':');
    struct str name = str_of(text.p, colon);
    struct str rest = str_of(text.p + colon, text.n - colon);
    enum scheme scheme = SCHEME_HTTP;
    if (str_eq_nocase(name, STR("https")))
        scheme = SCHEME_HTTPS;
    else if (!str_eq_nocase(name, STR("http")))
        return bad(ctx, "the scheme of the target is neither http nor https");
    if (!str_starts(rest, STR("://")))
        return bad(ctx, "the target is no URL: :// is missing");
    *ret_scheme = scheme;
    *ret_rest = str_of(rest.p + 3, rest.n - 3);
    return ERR_OK;
}

enum err target_parse_uri(struct str text, struct target_uri *ret_uri, struct errctx *ctx)
{
    struct target_uri uri;
    struct str rest = STR_NULL;
    if (str_find(text, '#') < text.n)
        return bad(ctx, "a fragment in a target is not accepted");
    enum err e = parse_scheme(text, &uri.scheme, &rest, ctx);
    if (e != ERR_OK)
        return e;
    size_t end = find_any(rest, "/?");
    uri.origin = str_of(rest.p + end, rest.n - end);
    if (!target_path_ok(uri.origin))
        return bad(ctx, "the target holds a blank or a control character");
    e = target_parse_host(str_of(rest.p, end), &uri.host, &uri.port, ctx);
    if (e != ERR_OK)
        return e;
    if (uri.port == 0)
        uri.port = scheme_port(uri.scheme);
    *ret_uri = uri;
    return ERR_OK;
}

bool target_is_origin(const struct target_uri *uri)
{
    return uri->origin.n == 0 || str_eq(uri->origin, STR("/"));
}

bool target_path_ok(struct str path)
{
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c <= ' ' || c == 0x7f || c == '#')
            return false;
    }
    return true;
}

void target_split_query(struct str origin, struct str *ret_path, struct str *ret_query)
{
    size_t mark = str_find(origin, '?');
    *ret_path = str_of(origin.p, mark);
    *ret_query = mark < origin.n ? str_of(origin.p + mark + 1, origin.n - mark - 1) : STR_NULL;
}

void target_format_host(struct buf *out, enum scheme s, const struct hostname *h, uint16_t port)
{
    if (port == scheme_port(s))
        hostname_format(out, h);
    else
        hostname_format_port(out, h, port);
}

void target_format_uri(struct buf *out, enum scheme s, const struct hostname *h, uint16_t port, struct str origin)
{
    buf_add_str(out, scheme_name(s));
    buf_add_z(out, "://");
    target_format_host(out, s, h, port);
    buf_add_str(out, origin);
}
