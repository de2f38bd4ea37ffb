#include "upstream/chain.h"
#include "base/mem.h"

enum err chain_send(struct stream *s, struct buf *out, size_t *at)
{
    while (*at < out->n) {
        struct iovec v = {out->p + *at, out->n - *at};
        size_t n = 0;
        enum err e = stream_writev(s, &v, 1, &n);
        if (e)
            return e;
        *at += n;
    }
    if (out->n)
        buf_wipe_fini(out);
    out->p = NULL, out->n = 0, *at = 0;
    return ERR_OK;
}

static void name_set(char *text, size_t cap, const struct hostname *host, uint16_t port)
{
    struct buf b;
    buf_init(&b, cap - 1);
    hostname_format_port(&b, host, port);
    size_t n = buf_ok(&b) ? b.n : 0;
    if (n)
        memcpy(text, b.p, n);
    text[n] = '\0';
    buf_fini(&b);
}

void chain_names_set(struct chain_names *names, const struct chain_target *to)
{
    name_set(names->hop, sizeof(names->hop), &to->hop->host, to->hop->port);
    name_set(names->target, sizeof(names->target), to->host, to->port);
}

enum err chain_lost(const struct chain_names *names, enum err why, struct errctx *ctx)
{
    if (why == ERR_NOMEM)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    return err_set(ctx, ERR_PROXY_REFUSED, "upstream proxy %s %s instead of a tunnel to %s",
                   names->hop, why == ERR_RESET ? "reset the connection" : "closed the connection",
                   names->target);
}
