#include "upstream/chain.h"
#include "base/limits.h"
#include "base/mem.h"
#include "upstream/socks5.h"

enum socks_state { SOCKS_ST_METHOD, SOCKS_ST_AUTH, SOCKS_ST_REPLY };

struct chain_socks {
    struct chain_names names;
    struct chain_target to;
    enum socks_state state; /* whose answer is awaited */
    struct hostname host;
    struct address address;
    bool by_address;
    struct buf out;
    size_t out_at;
    uint8_t code;
    size_t n; /* bytes of the answer so far */
    char in[SOCKS5_REPLY_MAX];
};

static void greet(struct chain_socks *c)
{
    buf_init(&c->out, 4);
    buf_add_c(&c->out, 5);
    buf_add_c(&c->out, c->to.hop->user ? 2 : 1);
    buf_add_c(&c->out, SOCKS5_NO_AUTH);
    if (c->to.hop->user)
        buf_add_c(&c->out, SOCKS5_PASSWORD);
}

static void add_counted(struct buf *out, struct str s)
{
    buf_add_c(out, (char)s.n);
    buf_add_str(out, s);
}

static void send_password(struct chain_socks *c)
{
    struct str user = secret_borrow(c->to.hop->user), password = STR_NULL;
    if (c->to.hop->password)
        password = secret_borrow(c->to.hop->password);
    /* hop_parse bounds both */
    user.n = user.n > 255 ? 255 : user.n;
    password.n = password.n > 255 ? 255 : password.n;
    size_t whole = 3 + user.n + password.n;
    buf_init(&c->out, whole);
    if (!buf_reserve(&c->out, whole)) /* at once: growing would leave copies behind */
        return;
    buf_add_c(&c->out, 1);
    add_counted(&c->out, user);
    add_counted(&c->out, password);
}

static void send_request(struct chain_socks *c)
{
    buf_init(&c->out, 7 + LIMIT_HOST_BYTES);
    buf_add(&c->out, "\x05\x01\x00", 3);
    if (!c->by_address) {
        buf_add_c(&c->out, 3);
        add_counted(&c->out, hostname_str(&c->host));
    } else {
        bool v4 = c->address.family == ADDRESS_V4;
        buf_add_c(&c->out, v4 ? 1 : 4);
        buf_add(&c->out, c->address.bytes, v4 ? 4 : 16);
    }
    buf_add_c(&c->out, (char)(c->to.port >> 8));
    buf_add_c(&c->out, (char)(c->to.port & 0xff));
}

enum err chain_socks_new(const struct chain_target *to, struct chain_socks **ret_chain)
{
    struct chain_socks *c = mem_zalloc(sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    chain_names_set(&c->names, to);
    c->to = *to;
    c->host = *to->host;
    c->by_address = to->address || to->host->is_address;
    if (c->by_address)
        c->address = to->address ? *to->address : to->host->address;
    greet(c);
    *ret_chain = c;
    return ERR_OK;
}

void chain_socks_free(struct chain_socks *c)
{
    if (!c)
        return;
    if (c->out.p)
        buf_wipe_fini(&c->out);
    mem_free(c);
}

bool chain_socks_may_retry(const struct chain_socks *c)
{
    return c->state == SOCKS_ST_REPLY && c->code != 0 && c->code != 2 && c->code != 7;
}

static enum err refused(const struct chain_socks *c, const char *why, struct errctx *ctx)
{
    return err_set(ctx, ERR_PROXY_REFUSED, "upstream proxy %s refused the tunnel to %s: %s",
                   c->names.hop, c->names.target, why);
}

static void set_state(struct chain_socks *c, enum socks_state next)
{
    c->state = next;
    c->n = 0;
    if (next == SOCKS_ST_AUTH)
        send_password(c);
    else if (next == SOCKS_ST_REPLY)
        send_request(c);
}

static enum err on_method(struct chain_socks *c, uint8_t method, struct errctx *ctx)
{
    bool have = c->to.hop->user != NULL;
    if (method == SOCKS5_NO_AUTH)
        set_state(c, SOCKS_ST_REPLY);
    else if (method == SOCKS5_PASSWORD && have)
        set_state(c, SOCKS_ST_AUTH);
    else if (method == SOCKS5_NONE_FITS || method == SOCKS5_PASSWORD)
        return refused(c,
                       have ? "it accepts neither our user and password nor none"
                            : "it wants authentication; set user and password in "
                              "--upstream-proxy",
                       ctx);
    else
        return refused(c, "it chose an authentication that was not offered", ctx);
    return ERR_AGAIN;
}

/* Judge what has come for the present state. ERR_AGAIN with *ret_need > c->n: read up to there;
 * with *ret_need 0: the next state. */
static enum err judge(struct chain_socks *c, size_t *ret_need, struct errctx *ctx)
{
    struct errctx why = {0};
    struct str in = str_of(c->in, c->n);
    uint8_t method = 0;
    enum err e;
    *ret_need = 0;
    switch (c->state) {
    case SOCKS_ST_METHOD:
        e = socks5_parse_method(in, ret_need, &method, &why);
        if (!e)
            return on_method(c, method, ctx);
        break;
    case SOCKS_ST_AUTH:
        e = socks5_parse_auth(in, ret_need, &why);
        if (!e) {
            set_state(c, SOCKS_ST_REPLY);
            return ERR_AGAIN;
        }
        break;
    default:
        e = socks5_parse_reply(in, ret_need, &c->code, &why);
        break;
    }
    return !e || e == ERR_AGAIN ? e : refused(c, why.text, ctx);
}

enum err chain_socks_step(struct chain_socks *c, struct stream *s, struct errctx *ctx)
{
    for (;;) {
        if (!buf_ok(&c->out))
            return err_set(ctx, ERR_NOMEM, "out of memory");
        enum err e = chain_send(s, &c->out, &c->out_at);
        if (e == ERR_AGAIN)
            return e;
        if (e)
            return chain_lost(&c->names, e, ctx);
        size_t need = 0, n = 0;
        e = judge(c, &need, ctx);
        if (e != ERR_AGAIN)
            return e;
        if (!need)
            continue;
        /* never a byte more than the answer: what follows is the tunnel's */
        e = stream_read(s, c->in + c->n, need - c->n, &n);
        if (e == ERR_AGAIN)
            return e;
        if (e)
            return chain_lost(&c->names, e, ctx);
        c->n += n;
    }
}
