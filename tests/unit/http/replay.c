#include "replay.h"
#include "base/assert.h"
#include "base/mem.h"
#include "http/h1_write.h"
#include "http/hop.h"

struct feeder {
    struct replay *r;
    size_t avail, n;
};

static bool more(struct feeder *f)
{
    size_t step = f->avail == 0 && f->r->first ? f->r->first : f->r->step;

    if (f->avail == f->n)
        return false;
    if (!step || step > f->n - f->avail)
        step = f->n - f->avail;
    f->avail += step;
    return true;
}

static enum err read_head(struct feeder *f, struct errctx *ctx)
{
    struct replay *r = f->r;
    struct h1_scan scan;
    enum err e = ERR_AGAIN;

    h1_scan_init(&scan, r->role);
    while (e == ERR_AGAIN && more(f))
        e = h1_scan(&scan, r->copy_, f->avail, ctx);
    r->used = scan.pos;
    if (e)
        return e;
    r->head.fields = (struct fields){r->fields_, 0, LIMIT_HEAD_FIELDS};
    if (r->role == H1_REQUEST)
        return h1_parse_request(r->copy_, scan.pos, &r->head, ctx);
    return h1_parse_response(r->copy_, scan.pos, r->method, &r->head, ctx);
}

static enum err read_chunks(struct feeder *f, struct h1_chunk *c, struct errctx *ctx)
{
    struct replay *r = f->r;
    struct str data;
    size_t used;

    for (;;) {
        enum err e = h1_chunk_feed(c, r->copy_ + r->used, f->avail - r->used, &used, &data, ctx);
        if (e && e != ERR_AGAIN && e != ERR_EOF)
            return e;
        ASSERT(e != ERR_AGAIN || used == f->avail - r->used);
        ASSERT(!data.n || e == ERR_OK);
        r->used += used;
        buf_add_str(&r->body, data);
        if (e == ERR_EOF)
            return ERR_OK;
        if (e == ERR_AGAIN && !more(f))
            return ERR_AGAIN;
    }
}

static enum err read_chunked(struct feeder *f, struct errctx *ctx)
{
    struct replay *r = f->r;
    struct h1_chunk c;
    size_t used = 0;

    h1_chunk_init(&c, r->role == H1_RESPONSE);
    enum err e = read_chunks(f, &c, ctx);
    if (e)
        return e;
    r->trailers = (struct fields){r->trailers_, 0, LIMIT_HEAD_FIELDS};
    do {
        e = h1_chunk_trailers(&c, r->copy_ + r->used, f->avail - r->used, &used, &r->trailers, ctx);
    } while (e == ERR_AGAIN && more(f));
    r->used += used;
    if (!e && c.bare_lf)
        r->head.tainted = true;
    return e;
}

static enum err read_body(struct feeder *f, struct errctx *ctx)
{
    struct replay *r = f->r;
    size_t left = f->n - r->used;

    if (r->head.framing == FRAMING_CHUNKED)
        return read_chunked(f, ctx);
    if (r->head.framing == FRAMING_NONE)
        return ERR_OK;
    if (r->head.framing == FRAMING_LENGTH && r->head.length > left)
        return ERR_AGAIN;
    if (r->head.framing == FRAMING_LENGTH)
        left = (size_t)r->head.length;
    buf_add(&r->body, r->copy_ + r->used, left);
    r->used += left;
    return ERR_OK;
}

static void write_out(struct replay *r)
{
    hop_strip(&r->head);
    if (r->role == H1_REQUEST)
        h1_write_request(&r->written, &r->head, STR_NULL);
    else
        h1_write_response(&r->written, &r->head, STR_NULL);
    ASSERT(buf_ok(&r->written));
}

static void describe_ok(struct replay *r)
{
    static const char *const framing[] = {"none", "length", "chunked", "close"};

    buf_printf(&r->text, "ok %s", framing[r->head.framing]);
    if (r->head.framing == FRAMING_LENGTH)
        buf_printf(&r->text, " %llu", (unsigned long long)r->head.length);
    if (r->head.framing == FRAMING_CHUNKED && r->body.n < 256)
        buf_printf(&r->text, " \"%.*s\"", (int)r->body.n, r->body.n ? r->body.p : "");
    if (!r->head.keep_alive)
        buf_add_z(&r->text, " last");
    if (r->head.expect_100)
        buf_add_z(&r->text, " expect");
    if (r->head.tainted)
        buf_add_z(&r->text, " tainted");
    for (unsigned i = 0; i < r->trailers.n; i++)
        buf_printf(&r->text, " %s[%.*s=%.*s]", r->trailers.v[i].drop ? "-" : "+",
                   STR_ARG(r->trailers.v[i].name), STR_ARG(r->trailers.v[i].value));
}

static void describe(struct replay *r)
{
    if (r->result == ERR_OK)
        describe_ok(r);
    else if (r->result == ERR_AGAIN)
        buf_add_z(&r->text, "more");
    else if (r->result == ERR_BAD_RESPONSE)
        buf_add_z(&r->text, "bad");
    else
        buf_add_u64(&r->text, (uint64_t)err_status(r->result));
}

void replay_run(struct replay *r, struct str message)
{
    struct feeder f = {r, 0, message.n};
    struct errctx ctx = {0};

    r->copy_ = mem_alloc(message.n + !message.n);
    ASSERT(r->copy_);
    if (message.n)
        memcpy(r->copy_, message.p, message.n);
    memset(&r->head, 0, sizeof(r->head));
    memset(&r->trailers, 0, sizeof(r->trailers));
    buf_init(&r->text, 1 << 20);
    buf_init(&r->body, 1 << 20);
    buf_init(&r->written, 1 << 20);
    r->result = read_head(&f, &ctx);
    const size_t head = r->used;
    if (!r->result)
        r->result = read_body(&f, &ctx);
    if (r->result && r->result != ERR_AGAIN && head)
        r->used = head; /* how far a refused body was read depends on the pieces */
    /* A refusal is recorded with its sentence, and as what was returned. */
    ASSERT(r->result == ERR_OK || r->result == ERR_AGAIN || (ctx.code == r->result && ctx.text[0]));
    describe(r);
    if (!r->result)
        write_out(r);
}

void replay_fini(struct replay *r)
{
    mem_free(r->copy_);
    buf_fini(&r->text);
    buf_fini(&r->body);
    buf_fini(&r->written);
}
