/* Which URLs a helper may have opened (config.md 9.7). */
#include "base/limits.h"
#include "credential/bridge.h"
#include "net/target.h"

/* Printable ASCII less what RFC 3986 has no place for and readers differ about: browsers take a
 * backslash for a slash, shells mind the others. */
static bool url_bytes_ok(struct str url)
{
    for (size_t i = 0; i < url.n; i++)
        if (url.p[i] <= ' ' || url.p[i] > '~' || strchr("\"<>\\`", url.p[i]))
            return false;
    return true;
}

static enum err parse(struct str url, struct target_uri *ret_uri, struct errctx *ctx)
{
    struct errctx why = {0};
    struct str bare = str_of(url.p, str_find(url, '#'));
    if (url.n == 0 || url.n > LIMIT_BRIDGE_URL_BYTES)
        return err_set(ctx, ERR_INVALID, "the URL is empty or longer than %d bytes",
                       LIMIT_BRIDGE_URL_BYTES);
    if (!url_bytes_ok(url))
        return err_set(ctx, ERR_INVALID,
                       "the URL holds a byte that must be percent-encoded (a control character, a "
                       "blank, quotes, a backslash, not ASCII)");
    if (target_parse_uri(bare, ret_uri, &why))
        return err_set(ctx, ERR_INVALID, "the URL is not understood: %s", why.text);
    return ERR_OK;
}

static bool is_this_machine(const struct hostname *h)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(hostname_str(h), str_from(names[i])))
            return true;
    return false;
}

/* An entry with a path is no origin: it names nothing. */
static bool is_origin_of(struct str entry, const struct target_uri *uri)
{
    struct target_uri allowed;
    struct errctx why = {0};
    if (target_parse_uri(entry, &allowed, &why))
        return false;
    return allowed.scheme == uri->scheme && allowed.port == uri->port &&
           hostname_eq(&allowed.host, &uri->host) &&
           target_is_origin(&allowed);
}

static enum err judge(const struct capture_conf *rules, const struct target_uri *uri,
                      struct errctx *ctx)
{
    if (is_this_machine(&uri->host))
        return rules->allow_localhost ? ERR_OK
                                      : err_set(ctx, ERR_INVALID,
                                                "this machine's own addresses need allow_localhost "
                                                "in interaction.open_urls");
    if (uri->scheme != SCHEME_HTTPS)
        return err_set(ctx, ERR_INVALID,
                       "only https is opened, but for this machine's own addresses");
    for (size_t i = 0; i < rules->n_allow_origins; i++)
        if (is_origin_of(rules->allow_origins[i], uri))
            return ERR_OK;
    return err_set(ctx, ERR_INVALID,
                   "allow_origins in interaction.open_urls does not name https://%s (port %u)",
                   uri->host.text, uri->port);
}

enum err bridge_judge(const struct capture_conf *rules, struct str url, struct str *ret_origin,
                      struct errctx *ctx)
{
    struct target_uri uri;
    enum err e = parse(url, &uri, ctx);
    if (e)
        return e;
    struct str bare = str_of(url.p, str_find(url, '#'));
    *ret_origin = str_of(url.p, bare.n - uri.origin.n);
    return judge(rules, &uri, ctx);
}
