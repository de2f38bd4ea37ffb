#include "upstream/socks5.h"

enum { SOCKS_VERSION = 5, AUTH_VERSION = 1 };
enum { ATYP_V4 = 1, ATYP_NAME = 3, ATYP_V6 = 4 };

static uint8_t at(struct str in, size_t i)
{
    return (uint8_t)in.p[i];
}

static enum err need(size_t n, size_t *ret_need)
{
    *ret_need = n;
    return ERR_AGAIN;
}

static enum err check_version(struct str in, uint8_t want, struct errctx *ctx)
{
    if (in.n && at(in, 0) != want)
        return err_set(ctx, ERR_PROXY_REFUSED, "it does not speak SOCKS5");
    return ERR_OK;
}

enum err socks5_parse_method(struct str in, size_t *ret_need, uint8_t *ret_method,
                             struct errctx *ctx)
{
    enum err e = check_version(in, SOCKS_VERSION, ctx);
    if (e)
        return e;
    if (in.n < 2)
        return need(2, ret_need);
    *ret_method = at(in, 1);
    return ERR_OK;
}

enum err socks5_parse_auth(struct str in, size_t *ret_need, struct errctx *ctx)
{
    enum err e = check_version(in, AUTH_VERSION, ctx);
    if (e)
        return e;
    if (in.n < 2)
        return need(2, ret_need);
    if (at(in, 1) != 0)
        return err_set(ctx, ERR_PROXY_REFUSED, "user or password are wrong");
    return ERR_OK;
}

static const char *code_text(uint8_t code)
{
    static const char *const text[] = {
        "granted",
        "general failure",
        "not allowed by its rules",
        "network unreachable",
        "host unreachable",
        "connection refused",
        "time to live expired",
        "command not supported",
        "address type not supported",
    };
    return code < ARRAY_LEN(text) ? text[code] : "unknown reply code";
}

enum err socks5_parse_reply(struct str in, size_t *ret_need, uint8_t *ret_code, struct errctx *ctx)
{
    enum err e = check_version(in, SOCKS_VERSION, ctx);
    if (e)
        return e;
    if (in.n < 2)
        return need(5, ret_need);
    if (at(in, 1) != 0) {
        /* what follows does not matter, and some servers send nothing more */
        *ret_code = at(in, 1);
        return err_set(ctx, ERR_PROXY_REFUSED, "%s (code %u)", code_text(at(in, 1)), at(in, 1));
    }
    if (in.n < 5) /* the shortest address has four bytes, the length of a name is the fifth */
        return need(5, ret_need);
    size_t whole;
    switch (at(in, 3)) {
    case ATYP_V4:
        whole = 4 + 4 + 2;
        break;
    case ATYP_V6:
        whole = 4 + 16 + 2;
        break;
    case ATYP_NAME:
        whole = 4 + 1 + (size_t)at(in, 4) + 2;
        break;
    default:
        return err_set(ctx, ERR_PROXY_REFUSED, "an answer that is not SOCKS5");
    }
    if (in.n < whole)
        return need(whole, ret_need);
    *ret_code = 0;
    return ERR_OK;
}
