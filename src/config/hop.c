#include "config/hop.h"
#include "base/encode.h"
#include "base/mem.h"

/* How a value is written, for sentences. The value itself is never repeated: it may hold a
 * password. */
#define HOP_FORM "write HOST:PORT or SCHEME://[USER:PASSWORD@]HOST:PORT"

enum { SECRET_MAX = 4096, SOCKS_SECRET_MAX = 255 };

static enum err invalid(struct errctx *ctx, const char *what)
{
    return err_set(ctx, ERR_INVALID, "upstream proxy: %s", what);
}

static bool is_socks(enum hop_kind kind)
{
    return kind == HOP_SOCKS5 || kind == HOP_SOCKS5H;
}

static size_t find(struct str s, char c)
{
    size_t i = 0;
    while (i < s.n && s.p[i] != c)
        i++;
    return i;
}

static struct str from(struct str s, size_t at)
{
    return str_of(s.p + at, s.n - at);
}

/* The scheme goes off *text. */
static enum err take_scheme(struct str *text, enum hop_kind *ret_kind, struct errctx *ctx)
{
    static const struct {
        struct str name;
        enum hop_kind kind;
    } schemes[] = {
        {{"http", 4}, HOP_HTTP},
        {{"https", 5}, HOP_HTTPS},
        {{"socks5", 6}, HOP_SOCKS5},
        {{"socks5h", 7}, HOP_SOCKS5H},
    };
    struct str scheme = str_of(text->p, find(*text, ':'));
    *text = from(*text, scheme.n + 3);
    for (unsigned i = 0; i < ARRAY_LEN(schemes); i++) {
        if (!str_eq_nocase(scheme, schemes[i].name))
            continue;
        *ret_kind = schemes[i].kind;
        return ERR_OK;
    }
    if (str_eq_nocase(scheme, STR("socks4")) || str_eq_nocase(scheme, STR("socks4a")) ||
        str_eq_nocase(scheme, STR("socks")))
        return invalid(ctx, "only version 5 of SOCKS is spoken; write socks5:// (names resolved "
                            "here) or socks5h:// (resolved there)");
    return invalid(ctx, "unknown scheme; write http, https, socks5 or socks5h");
}

static bool has_controls(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f)
            return true;
    }
    return false;
}

static enum err decode_part(struct str text, enum hop_kind kind, struct buf *ret_plain,
                            struct errctx *ctx)
{
    buf_init(ret_plain, SECRET_MAX);
    if (text.n > SECRET_MAX)
        return invalid(ctx, "user or password are too long");
    if (text.n && !buf_reserve(ret_plain, text.n))
        return err_set(ctx, ERR_NOMEM, "out of memory");
    if (!decode_percent(ret_plain, text))
        return invalid(ctx, "malformed percent-encoding in user or password");
    if (has_controls(buf_str(ret_plain)))
        return invalid(ctx, "control characters in user or password");
    if (is_socks(kind) && ret_plain->n > SOCKS_SECRET_MAX)
        return invalid(ctx, "SOCKS5 takes at most 255 bytes of user and of password");
    return ERR_OK;
}

static enum err make_secrets(const struct buf *user, const struct buf *password, struct hop *hop,
                             struct errctx *ctx)
{
    if (!user->n && (!password->n || is_socks(hop->kind)))
        return invalid(ctx, "the user is empty");
    if (!is_socks(hop->kind) && find(buf_str(user), ':') < user->n)
        return invalid(ctx, "a user for an HTTP proxy cannot contain a colon");
    hop->user = secret_new(buf_str(user));
    hop->password = secret_new(buf_str(password));
    if (!hop->user || !hop->password)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    return ERR_OK;
}

static enum err take_user(struct str text, struct hop *hop, struct errctx *ctx)
{
    struct buf user, password;
    size_t colon = find(text, ':');
    buf_init(&password, 0);
    enum err e = decode_part(str_of(text.p, colon), hop->kind, &user, ctx);
    if (!e && colon < text.n)
        e = decode_part(from(text, colon + 1), hop->kind, &password, ctx);
    if (!e)
        e = make_secrets(&user, &password, hop, ctx);
    buf_wipe_fini(&user);
    buf_wipe_fini(&password);
    return e;
}

static enum err parse_port(struct str text, uint16_t *ret_port, struct errctx *ctx)
{
    uint32_t port = 0;
    if (!text.n)
        return invalid(ctx, "the port is missing; " HOP_FORM);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return invalid(ctx, "the port is not a number; " HOP_FORM);
        port = port * 10 + (uint32_t)(text.p[i] - '0');
        if (port > 65535)
            break;
    }
    if (!port || port > 65535)
        return invalid(ctx, "the port must be from 1 to 65535");
    *ret_port = (uint16_t)port;
    return ERR_OK;
}

/* Where the host ends and ":port" begins. */
static enum err split_port(struct str text, struct str *ret_host, struct str *ret_port,
                           struct errctx *ctx)
{
    size_t end;
    if (text.n && text.p[0] == '[') {
        end = find(text, ']');
        if (end == text.n)
            return invalid(ctx, "']' is missing after the IPv6 address");
        end++;
    } else {
        end = find(text, ':');
    }
    struct str rest = from(text, end);
    if (!end)
        return invalid(ctx, "the host is missing; " HOP_FORM);
    if (!rest.n)
        return invalid(ctx, "the port is missing; " HOP_FORM);
    if (rest.p[0] != ':')
        return invalid(ctx, HOP_FORM);
    rest = from(rest, 1);
    if (find(rest, ':') < rest.n)
        return invalid(ctx, "too many colons; write an IPv6 address as [ADDRESS]:PORT");
    *ret_host = str_of(text.p, end);
    *ret_port = rest;
    return ERR_OK;
}

static enum err parse_place(struct str text, struct hop *hop, bool hide, struct errctx *ctx)
{
    struct str host = STR_NULL, port = STR_NULL;
    enum err e = split_port(text, &host, &port, ctx);
    if (!e)
        e = parse_port(port, &hop->port, ctx);
    if (e)
        return e;
    struct errctx why = {0};
    e = hostname_parse(host, &hop->host, &why);
    if (e == ERR_NOMEM)
        return err_set(ctx, e, "out of memory");
    if (e)
        return invalid(ctx, hide || !why.text[0] ? "the host is not valid" : why.text);
    return ERR_OK;
}

/* Behind the authority nothing may stand but "/". */
static enum err take_path(struct str *text, struct errctx *ctx)
{
    size_t n = 0;
    while (n < text->n && text->p[n] != '/' && text->p[n] != '?' && text->p[n] != '#')
        n++;
    struct str path = from(*text, n);
    text->n = n;
    if (path.n && !str_eq(path, STR("/")))
        return invalid(ctx, "nothing may follow the port (and '/', '?', '#' in user or password "
                            "must be percent-encoded)");
    return ERR_OK;
}

static bool find_scheme(struct str text)
{
    size_t colon = find(text, ':');
    return colon + 2 < text.n && text.p[colon + 1] == '/' && text.p[colon + 2] == '/';
}

enum err hop_parse(struct str text, struct hop *ret_hop, struct errctx *ctx)
{
    struct hop hop = {.kind = HOP_HTTP};
    bool url = find_scheme(text), has_user = false;
    enum err e = url ? take_scheme(&text, &hop.kind, ctx) : ERR_OK;
    if (!e && url)
        e = take_path(&text, ctx);
    size_t at = text.n;
    while (at && text.p[at - 1] != '@')
        at--;
    has_user = at > 0;
    if (!e && has_user && !url)
        e = invalid(ctx, "with a user a scheme is needed; write http://USER:PASSWORD@HOST:PORT");
    if (!e)
        e = parse_place(from(text, at), &hop, has_user, ctx);
    if (!e && has_user)
        e = take_user(str_of(text.p, at - 1), &hop, ctx);
    if (e)
        hop_fini(&hop);
    else
        *ret_hop = hop;
    return e;
}

void hop_fini(struct hop *h)
{
    secret_unref(h->user);
    secret_unref(h->password);
    h->user = h->password = NULL;
}

bool hop_resolves_names(const struct hop *h)
{
    return h->kind != HOP_SOCKS5;
}

void hop_format(struct buf *out, const struct hop *h)
{
    hostname_format_port(out, &h->host, h->port);
}

bool hop_add_authorization(struct buf *out, const struct hop *h)
{
    struct str user = secret_borrow(h->user);
    struct str password = h->password ? secret_borrow(h->password) : STR("");
    size_t n = user.n + 1 + password.n;
    struct buf pair;
    buf_init(&pair, n);
    if (buf_reserve(&pair, n) && buf_reserve(out, 64 + n / 3 * 4 + 4)) {
        buf_add_str(&pair, user);
        buf_add_c(&pair, ':');
        buf_add_str(&pair, password);
        buf_add_z(out, "Proxy-Authorization: Basic ");
        encode_base64(out, buf_str(&pair));
        buf_add_z(out, "\r\n");
    }
    bool ok = buf_ok(&pair) && buf_ok(out);
    buf_wipe_fini(&pair);
    return ok;
}
