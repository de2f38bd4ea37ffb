#include "http/h1_chunk.h"
#include "http/http_int.h"

enum chunk_state {
    CHUNK_SIZE,  /* digits */
    CHUNK_BLANK, /* response: blanks after them */
    CHUNK_EXT,   /* after ';' */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILERS,
};

enum { SIZE_DIGITS = 16 };

void h1_chunk_init(struct h1_chunk *c, bool response)
{
    memset(c, 0, sizeof(*c));
    c->role_ = response ? H1_RESPONSE : H1_REQUEST;
    h1_scan_init_trailers(&c->trailer_, (enum h1_role)c->role_);
}

static enum err refuse(const struct h1_chunk *c, unsigned char byte, const char *what,
                       struct errctx *ctx)
{
    return err_set(ctx, c->role_ == H1_REQUEST ? ERR_BAD_REQUEST : ERR_BAD_RESPONSE,
                   "%s (byte 0x%02x)", what, byte);
}

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What may follow the digits or a blank after them: the end of the line or an extension. */
static enum err size_follows(struct h1_chunk *c, unsigned char byte, struct errctx *ctx)
{
    const bool blank = byte == ' ' || byte == '\t';

    if (byte == '\r')
        c->state_ = CHUNK_SIZE_LF;
    else if (byte == ';')
        c->state_ = CHUNK_EXT;
    else if (blank && c->role_ == H1_RESPONSE)
        c->state_ = CHUNK_BLANK;
    else
        return refuse(c, byte, "malformed chunk size", ctx);
    return ERR_OK;
}

static enum err size_byte(struct h1_chunk *c, unsigned char byte, struct errctx *ctx)
{
    int v = hex_value(byte);

    if (v < 0)
        return c->digits_ ? size_follows(c, byte, ctx)
                          : refuse(c, byte, "malformed chunk size", ctx);
    if (c->digits_ == SIZE_DIGITS || c->left_ > (uint64_t)INT64_MAX >> 4)
        return refuse(c, byte, "chunk size is over 2^63-1 or has more than 16 digits", ctx);
    c->digits_++;
    c->left_ = c->left_ << 4 | (unsigned)v;
    return ERR_OK;
}

static enum err ext_byte(struct h1_chunk *c, unsigned char byte, struct errctx *ctx)
{
    if (byte == '\r')
        c->state_ = CHUNK_SIZE_LF;
    else if (byte == 0x7f || (byte < 0x20 && byte != '\t'))
        return refuse(c, byte, "control character in a chunk extension", ctx);
    return ERR_OK;
}

static enum err expect_byte(struct h1_chunk *c, unsigned char byte, unsigned char want,
                            unsigned next, struct errctx *ctx)
{
    if (byte != want)
        return refuse(c, byte, "chunk line or chunk does not end in CRLF", ctx);
    c->state_ = (uint8_t)next;
    return ERR_OK;
}

static void size_begin(struct h1_chunk *c)
{
    c->left_ = 0;
    c->line_ = 0;
    c->digits_ = 0;
}

static enum err framing_byte(struct h1_chunk *c, unsigned char byte, struct errctx *ctx)
{
    enum err e;

    switch ((enum chunk_state)c->state_) {
    case CHUNK_SIZE:
        return size_byte(c, byte, ctx);
    case CHUNK_BLANK:
        return size_follows(c, byte, ctx);
    case CHUNK_EXT:
        return ext_byte(c, byte, ctx);
    case CHUNK_SIZE_LF:
        return expect_byte(c, byte, '\n', c->left_ ? CHUNK_DATA : CHUNK_TRAILERS, ctx);
    case CHUNK_DATA_CR:
        return expect_byte(c, byte, '\r', CHUNK_DATA_LF, ctx);
    default:
        e = expect_byte(c, byte, '\n', CHUNK_SIZE, ctx);
        if (!e)
            size_begin(c);
        return e;
    }
}

static enum err line_limit(struct h1_chunk *c, struct errctx *ctx)
{
    if (c->state_ > CHUNK_SIZE_LF || c->line_ < LIMIT_HEAD_BYTES) {
        c->line_++;
        return ERR_OK;
    }
    return err_set(ctx, c->role_ == H1_REQUEST ? ERR_HEAD_TOO_LARGE : ERR_BAD_RESPONSE,
                   "chunk-size line is over %d bytes", LIMIT_HEAD_BYTES);
}

static struct str take_data(struct h1_chunk *c, const char *p, size_t n)
{
    struct str data = {p, c->left_ < n ? (size_t)c->left_ : n};

    c->left_ -= data.n;
    if (!c->left_)
        c->state_ = CHUNK_DATA_CR;
    return data;
}

enum err h1_chunk_feed(struct h1_chunk *c, const char *p, size_t n, size_t *ret_used,
                       struct str *ret_data, struct errctx *ctx)
{
    size_t i = 0;
    struct str data = {p, 0};

    while (i < n && c->state_ != CHUNK_TRAILERS && !data.n) {
        if (c->state_ == CHUNK_DATA) {
            data = take_data(c, p + i, n - i);
            i += data.n;
            continue;
        }
        enum err e = line_limit(c, ctx);
        if (!e)
            e = framing_byte(c, (unsigned char)p[i], ctx);
        if (e)
            return e;
        i++;
    }
    *ret_used = i;
    *ret_data = data;
    if (data.n)
        return ERR_OK;
    return c->state_ == CHUNK_TRAILERS ? ERR_EOF : ERR_AGAIN;
}

/* Never in a trailer, in either direction (RFC 9110 6.5.1, decision K11). */
static void drop_forbidden(struct fields *f)
{
    for (unsigned i = 0; i < f->n; i++)
        if (field_flags((enum field_id)f->v[i].id) & (FIELD_F_FRAMING | FIELD_F_CRED | FIELD_F_HOP))
            f->v[i].drop = true;
}

enum err h1_chunk_trailers(struct h1_chunk *c, char *p, size_t n, size_t *ret_used,
                           struct fields *trailers, struct errctx *ctx)
{
    enum err e = h1_scan(&c->trailer_, p, n, ctx);

    if (e)
        return e;
    e = h1_parse_fields(p, c->trailer_.pos, (enum h1_role)c->role_, trailers, &c->bare_lf, ctx);
    if (e)
        return e;
    drop_forbidden(trailers);
    *ret_used = c->trailer_.pos;
    return ERR_OK;
}
