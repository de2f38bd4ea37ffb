/* The answers of a SOCKS5 server: the first byte chooses which one. Read as chain_socks reads, in
 * one go and byte by byte: the same result, never more asked for than an answer can hold, never a
 * byte of the tunnel taken. */
#include "base/assert.h"
#include "upstream/socks5.h"

static enum err parse(unsigned kind, struct str in, size_t *ret_need, uint8_t *ret_code)
{
    struct errctx ctx = {0};
    enum err e = kind == 0   ? socks5_parse_method(in, ret_need, ret_code, &ctx)
                 : kind == 1 ? socks5_parse_auth(in, ret_need, &ctx)
                             : socks5_parse_reply(in, ret_need, ret_code, &ctx);
    ASSERT(e == ERR_OK || e == ERR_AGAIN || e == ERR_PROXY_REFUSED);
    ASSERT((e == ERR_PROXY_REFUSED) == (ctx.text[0] != '\0'));
    return e;
}

/* The result and how many bytes were read for it. */
static enum err run(unsigned kind, struct str all, size_t step, size_t *ret_n, uint8_t *ret_code)
{
    size_t n = 0;
    for (;;) {
        size_t need = 0;
        enum err e = parse(kind, str_of(all.p, n), &need, ret_code);
        *ret_n = n;
        if (e != ERR_AGAIN)
            return e;
        ASSERT(need > n && need <= SOCKS5_REPLY_MAX);
        size_t k = need - n < step ? need - n : step;
        if (n + k > all.n)
            return ERR_EOF;
        n += k;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    if (n < 1)
        return 0;
    struct str all = str_of((const char *)p + 1, n - 1);
    size_t whole = 0, pieces = 0;
    uint8_t a = 0, b = 0;
    enum err e = run(p[0] % 3, all, SIZE_MAX, &whole, &a);
    enum err f = run(p[0] % 3, all, 1, &pieces, &b);
    if (e == ERR_OK) {
        ASSERT(f == ERR_OK && whole == pieces && a == b);
        /* what follows changes nothing */
        size_t need = 0;
        ASSERT(parse(p[0] % 3, all, &need, &b) == ERR_OK && a == b);
    } else if (e == ERR_PROXY_REFUSED) {
        ASSERT(f == ERR_PROXY_REFUSED);
    } else {
        ASSERT(f != ERR_OK);
    }
    return 0;
}
