#include "upstream/chain.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/h1_parse.h"

struct chain_http {
    struct chain_names names;
    bool with_credentials;
    struct buf out, in;
    size_t out_at;
    struct h1_scan scan;
    unsigned interim;
    struct field fields[LIMIT_HEAD_FIELDS];
};

static bool write_request(struct buf *out, const struct chain_target *to)
{
    size_t secret = 0;
    if (to->hop->user)
        secret = secret_borrow(to->hop->user).n + 1;
    if (to->hop->password)
        secret += secret_borrow(to->hop->password).n;
    /* all the room at once: growing would leave copies of the password behind */
    size_t most = 256 + 2 * (LIMIT_HOST_BYTES + 8) + (secret + 2) / 3 * 4;
    buf_init(out, most);
    if (!buf_reserve(out, most))
        return false;
    buf_add_z(out, "CONNECT ");
    hostname_format_port(out, to->host, to->port);
    buf_add_z(out, " HTTP/1.1\r\nHost: ");
    hostname_format_port(out, to->host, to->port);
    buf_add_z(out, "\r\n");
    if (to->hop->user && !hop_add_authorization(out, to->hop))
        return false;
    buf_add_z(out, "\r\n");
    return buf_ok(out);
}

enum err chain_http_new(const struct chain_target *to, struct chain_http **ret_chain)
{
    struct chain_http *c = mem_zalloc(sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    chain_names_set(&c->names, to);
    c->with_credentials = to->hop->user != NULL;
    buf_init(&c->in, LIMIT_CHAIN_HEAD_BYTES);
    h1_scan_init(&c->scan, H1_RESPONSE);
    if (!write_request(&c->out, to)) {
        chain_http_free(c);
        return ERR_NOMEM;
    }
    *ret_chain = c;
    return ERR_OK;
}

void chain_http_free(struct chain_http *c)
{
    if (!c)
        return;
    if (c->out.p)
        buf_wipe_fini(&c->out);
    buf_fini(&c->in);
    mem_free(c);
}

static enum err refused(const struct chain_http *c, const struct http_head *head,
                        struct errctx *ctx)
{
    const char *hint = "";
    if (head->status == 407)
        hint = c->with_credentials ? "; user or password in --upstream-proxy are not accepted"
                                   : "; set user and password in --upstream-proxy";
    struct str reason = head->reason;
    if (reason.n > 40)
        reason.n = 40;
    return err_set(ctx, ERR_PROXY_REFUSED, "upstream proxy %s refused the tunnel to %s: %u%s%.*s%s",
                   c->names.hop, c->names.target, head->status, reason.n ? " " : "",
                   STR_ARG(reason), hint);
}

static enum err no_answer(const struct chain_http *c, const char *why, struct errctx *ctx)
{
    return err_set(ctx, ERR_PROXY_REFUSED, "upstream proxy %s gave no valid answer to CONNECT: %s",
                   c->names.hop, why);
}

/* The head that c->scan delimited. ERR_AGAIN: it was an interim one and is gone. */
static enum err judge(struct chain_http *c, struct stream *s, struct errctx *ctx)
{
    struct errctx why = {0};
    struct http_head head = {.fields = {.v = c->fields, .cap = ARRAY_LEN(c->fields)}};
    size_t n = c->scan.pos;
    enum err e = h1_parse_response(c->in.p, n, STR("CONNECT"), &head, &why);
    if (e == ERR_NOMEM)
        return err_set(ctx, e, "out of memory");
    if (e)
        return no_answer(c, why.text, ctx);
    if (head.status >= 100 && head.status < 200 && head.status != 101) {
        if (++c->interim > LIMIT_INTERIM_RESPONSES)
            return no_answer(c, "too many interim answers", ctx);
        buf_drop(&c->in, n);
        h1_scan_init(&c->scan, H1_RESPONSE);
        return ERR_AGAIN;
    }
    if (head.status / 100 != 2)
        return refused(c, &head, ctx);
    if (stream_unread(s, str_of(c->in.p + n, c->in.n - n)))
        return err_set(ctx, ERR_NOMEM, "out of memory");
    return ERR_OK;
}

/* Look at what has come. ERR_AGAIN: more is needed. */
static enum err look(struct chain_http *c, struct stream *s, struct errctx *ctx)
{
    for (;;) {
        struct errctx why = {0};
        enum err e = h1_scan(&c->scan, c->in.p, c->in.n, &why);
        if (e == ERR_AGAIN && c->in.n >= LIMIT_CHAIN_HEAD_BYTES)
            return no_answer(c, "its head is too large", ctx);
        if (e == ERR_AGAIN)
            return e;
        if (e)
            return no_answer(c, why.text, ctx);
        e = judge(c, s, ctx);
        if (e != ERR_AGAIN || !c->in.n)
            return e;
    }
}

enum err chain_http_step(struct chain_http *c, struct stream *s, struct errctx *ctx)
{
    enum err e = chain_send(s, &c->out, &c->out_at);
    if (e == ERR_NOMEM)
        return chain_lost(&c->names, e, ctx);
    /* a proxy that refuses at once may have closed its reading side: its answer is still there */
    for (;;) {
        size_t n = 0, room = LIMIT_CHAIN_HEAD_BYTES - c->in.n;
        char *p = buf_reserve(&c->in, room < 2048 ? room : 2048);
        if (!p)
            return err_set(ctx, ERR_NOMEM, "out of memory");
        e = stream_read(s, p, room < 2048 ? room : 2048, &n);
        if (e == ERR_AGAIN)
            return e;
        if (e)
            return chain_lost(&c->names, e, ctx);
        c->in.n += n;
        e = look(c, s, ctx);
        if (e != ERR_AGAIN)
            return e;
    }
}
