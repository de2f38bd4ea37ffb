#include "base/assert.h"
#include "base/mem.h"
#include "http/h1_leg_int.h"
#include "http/h1_write.h"

/* What may stand behind the data of a chunk: its CRLF, and the last chunk without trailers. */
static const char TAIL[] = "\r\n0\r\n\r\n";

enum {
    TAIL_CRLF = 2,
    TAIL_ALL = sizeof(TAIL) - 1,
    LINE_MAX = 10, /* a size line: eight digits and CRLF */
    CHUNK_MAX = 0x7fffffff,
    SOON_MAX = 2048, /* a copy of so much is cheaper than a call */
    /* A head as received, and what we and the injector add. */
    HEAD_OUT_MEMORY = LIMIT_HEAD_BYTES + LIMIT_CHUNK_BYTES,
};

bool h1_out_pending(const struct h1_leg *l)
{
    return h1_bytes_len(&l->out) || l->tail_off < l->tail_end;
}

/* ---- heads ---- */

/* A buffer over memory that is not its own: it can neither grow nor be freed. */
static struct buf buf_over(struct h1_bytes *b)
{
    return (struct buf){
        .p = h1_bytes_at(b, b->end), .cap_ = b->cap - b->end, .max_ = b->cap - b->end};
}

struct render {
    const struct http_head *head;
    struct str extra;
    const struct fields *trailers; /* instead of a head: last chunk and trailers */
};

static void render_trailers(struct buf *b, const struct fields *trailers)
{
    buf_add_z(b, "0\r\n");
    for (unsigned i = 0; i < trailers->n; i++) {
        if (trailers->v[i].drop)
            continue;
        buf_add_str(b, trailers->v[i].name);
        buf_add_z(b, ": ");
        buf_add_str(b, trailers->v[i].value);
        buf_add_z(b, "\r\n");
    }
    buf_add_z(b, "\r\n");
}

/* What is still owed of the message or chunk before goes first. */
static bool render(struct h1_leg *l, const struct render *r)
{
    struct buf b = buf_over(&l->out);

    buf_add(&b, TAIL + l->tail_off, (size_t)(l->tail_end - l->tail_off));
    if (r->trailers)
        render_trailers(&b, r->trailers);
    else if (l->client)
        h1_write_response(&b, r->head, r->extra);
    else
        h1_write_request(&b, r->head, r->extra);
    if (!buf_ok(&b)) {
        if (l->out.wipe)
            mem_wipe(h1_bytes_at(&l->out, l->out.end), l->out.cap - l->out.end);
        return false;
    }
    l->out.end += (uint32_t)b.n;
    l->tail_off = l->tail_end;
    return true;
}

/* Append to what is gathered; on failure that is unchanged. */
static enum err gather(struct h1_leg *l, const struct render *r)
{
    if (!h1_bytes_take(l, &l->out))
        return err_set(&l->leg.err, ERR_NOMEM, "no memory to write from");
    if (l->leg.secret_out)
        l->out.wipe = true;
    if (render(l, r))
        return ERR_OK;
    if (l->out.cap < HEAD_OUT_MEMORY && !h1_bytes_grow(l, &l->out, HEAD_OUT_MEMORY))
        return err_set(&l->leg.err, ERR_NOMEM, "no memory to write a long head");
    if (render(l, r))
        return ERR_OK;
    if (!h1_bytes_len(&l->out))
        h1_bytes_release(l, &l->out);
    return err_set(&l->leg.err, ERR_TOO_LARGE, "head to send is over %d bytes", HEAD_OUT_MEMORY);
}

static bool names_close(struct str value)
{
    struct str token;

    while (str_next(&value, ',', &token))
        if (str_eq_nocase(str_trim(token), STR("close")))
            return true;
    return false;
}

/* Whether the head tells the peer that the connection ends, judged by what goes out. */
static bool says_close(const struct http_head *head, struct str extra)
{
    struct str line;

    for (unsigned i = 0; i < head->fields.n; i++) {
        const struct field *f = &head->fields.v[i];
        if (f->id == FIELD_CONNECTION && !f->drop && names_close(f->value))
            return true;
    }
    while (str_next(&extra, '\n', &line)) {
        size_t colon = str_find(line, ':');
        if (colon < line.n && str_eq_nocase(str_of(line.p, colon), STR("connection")) &&
            names_close(
                str_of(line.p + colon + 1, line.n - colon - (line.p[line.n - 1] == '\r') - 1)))
            return true;
    }
    return false;
}

static void begin_message(struct h1_leg *l, const struct http_head *head, struct str extra,
                          bool end)
{
    l->out_ended = end;
    l->out_framing = end ? FRAMING_NONE : head->framing;
    l->out_left = l->out_framing == FRAMING_LENGTH ? head->length : 0;
    if (l->out_framing == FRAMING_CLOSE || says_close(head, extra))
        l->no_reuse = true;
}

static void begin_request(struct h1_leg *l, const struct http_head *head)
{
    l->asked_head = str_eq(head->method, STR("HEAD"));
    l->asked_connect = str_eq(head->method, STR("CONNECT"));
    h1_in_expect(l);
}

enum err h1_out_head(struct leg *leg, const struct http_head *head, struct str extra, bool end)
{
    struct h1_leg *l = h1_leg_of(leg);
    bool interim = l->client && head->status < 200 && head->status != 101;

    if (l->closed || l->out_dead || (!l->client && l->in_state == H1_IN_DEAD))
        return ERR_RESET;
    ASSERT(!l->out_ended && l->out_framing == FRAMING_NONE);
    enum err e = gather(l, &(struct render){head, extra, NULL});
    if (e)
        return e;
    if (interim) {
        l->expects_100 = l->expects_100 && head->status != 100;
        return ERR_OK;
    }
    begin_message(l, head, extra, end);
    if (!l->client)
        begin_request(l, head);
    else if (l->in_state == H1_IN_HEAD) /* answered before it came: it is not waited for */
        l->in_state = H1_IN_DEAD, l->no_reuse = true;
    return ERR_OK;
}

/* ---- writing ---- */

/* One gather write: what is gathered, the rest of the tail before, size line, data, tail behind. */
struct round {
    struct iovec iov[5];
    int n;
    size_t head, before, line, data, behind; /* bytes offered of each */
    char line_[LINE_MAX];
};

static size_t put(struct round *r, const char *p, size_t n)
{
    if (n)
        r->iov[r->n++] = (struct iovec){(char *)p, n};
    return n;
}

static size_t size_line(char *line, uint32_t size)
{
    static const char digits[] = "0123456789abcdef";
    char reversed[8];
    size_t n = 0, k = 0;

    do {
        reversed[n++] = digits[size & 15];
        size >>= 4;
    } while (size);
    while (n)
        line[k++] = reversed[--n];
    line[k++] = '\r';
    line[k++] = '\n';
    return k;
}

static void put_chunk(struct h1_leg *l, struct round *r, struct str bytes)
{
    if (!l->out_left) {
        l->chunk_size = bytes.n < CHUNK_MAX ? (uint32_t)bytes.n : CHUNK_MAX;
        l->line_off = 0;
    }
    uint64_t left = l->out_left ? l->out_left : l->chunk_size;
    size_t line = size_line(r->line_, l->chunk_size);
    r->line = put(r, r->line_ + l->line_off, line - l->line_off);
    r->data = put(r, bytes.p, bytes.n < left ? bytes.n : (size_t)left);
    if (r->data == left)
        r->behind = put(r, TAIL, l->leg.out_last && r->data == bytes.n ? TAIL_ALL : TAIL_CRLF);
}

static void compose(struct h1_leg *l, struct round *r, struct str bytes)
{
    r->n = 0;
    r->line = r->data = r->behind = 0;
    r->head = put(r, h1_bytes_len(&l->out) ? h1_bytes_at(&l->out, l->out.start) : NULL,
                  h1_bytes_len(&l->out));
    r->before = put(r, TAIL + l->tail_off, (size_t)(l->tail_end - l->tail_off));
    if (!bytes.n)
        return;
    if (l->out_framing == FRAMING_CHUNKED)
        put_chunk(l, r, bytes);
    else
        r->data = put(r, bytes.p, bytes.n);
}

static size_t portion(size_t *n, size_t of)
{
    size_t k = *n < of ? *n : of;

    *n -= k;
    return k;
}

/* Note what the stream took of a round; returns how much of it was data. */
static size_t account(struct h1_leg *l, const struct round *r, size_t n)
{
    l->out.start += (uint32_t)portion(&n, r->head);
    if (!h1_bytes_len(&l->out))
        h1_bytes_release(l, &l->out);
    l->tail_off = (uint8_t)(l->tail_off + portion(&n, r->before));
    size_t line = portion(&n, r->line);
    size_t data = portion(&n, r->data);
    if (l->out_framing == FRAMING_CHUNKED && line + data) {
        if (!l->out_left) /* the chunk is announced: exactly these bytes come now */
            l->out_left = l->chunk_size;
        l->line_off = (uint8_t)(l->line_off + line);
    }
    if (l->out_framing != FRAMING_CLOSE)
        l->out_left -= data;
    l->leg.bytes_out += data;
    if (r->behind && data == r->data) {
        l->tail_off = (uint8_t)n;
        l->tail_end = (uint8_t)r->behind;
        l->last_queued = r->behind == TAIL_ALL;
    }
    return data;
}

static enum err write_failed(struct h1_leg *l)
{
    l->out_dead = true;
    l->leg.reusable = false;
    l->want_write = false;
    l->tail_off = l->tail_end;
    h1_bytes_release(l, &l->out);
    h1_leg_kick(l); /* the event */
    return ERR_RESET;
}

/* Everything gathered and `bytes`. ERR_OK; ERR_AGAIN: the stream is full; ERR_RESET. */
static enum err send_all(struct h1_leg *l, struct str bytes, size_t *ret_taken)
{
    struct round r;

    *ret_taken = 0;
    while (bytes.n || h1_out_pending(l)) {
        size_t n = 0;
        compose(l, &r, bytes);
        stream_secret(l->s, l->out.wipe); /* what is gathered comes first */
        enum err e = stream_writev(l->s, r.iov, r.n, &n);
        if (e == ERR_AGAIN) {
            l->want_write = true;
            l->full = true;
            return ERR_AGAIN;
        }
        if (e)
            return write_failed(l);
        n = account(l, &r, n);
        if (n)
            bytes = str_of(bytes.p + n, bytes.n - n);
        *ret_taken += n;
    }
    return ERR_OK;
}

enum err h1_out_flush(struct leg *leg)
{
    struct h1_leg *l = h1_leg_of(leg);
    size_t none;

    if (l->closed || l->out_dead)
        return ERR_RESET;
    enum err e = send_all(l, STR_NULL, &none);
    if (e == ERR_OK && l->out_ended && !leg->out_done) {
        leg->out_done = true;
        h1_leg_judge_reuse(l);
    }
    return e;
}

/* More than the head announced would be read as the next message. */
static bool may_send(const struct h1_leg *l, size_t n)
{
    return !l->out_ended && !l->last_queued && l->out_framing != FRAMING_NONE &&
           (l->out_framing != FRAMING_LENGTH || n <= l->out_left);
}

/* The last bytes of a message behind what is gathered, to be written with it when the turn ends. Only few: they are copied. */
static bool gather_body(struct h1_leg *l, struct str bytes)
{
    struct round r;
    size_t n = 0;

    if (!l->leg.out_soon || !l->leg.out_last || l->full || bytes.n > SOON_MAX ||
        !h1_bytes_len(&l->out))
        return false;
    compose(l, &r, bytes);
    for (int i = 1; i < r.n; i++)
        n += r.iov[i].iov_len;
    if (r.data < bytes.n || n > l->out.cap - l->out.end)
        return false;
    for (int i = 1; i < r.n; i++) {
        memcpy(h1_bytes_at(&l->out, l->out.end), r.iov[i].iov_base, r.iov[i].iov_len);
        l->out.end += (uint32_t)r.iov[i].iov_len;
    }
    r.head = 0;
    (void)account(l, &r, n);
    l->tail_off = l->tail_end; /* it was copied too */
    return true;
}

enum err h1_out_body(struct leg *leg, struct str bytes, size_t *ret_taken)
{
    struct h1_leg *l = h1_leg_of(leg);
    size_t taken;

    if (l->closed || l->out_dead)
        return ERR_RESET;
    if (bytes.n && !may_send(l, bytes.n))
        return ERR_INVALID;
    if (gather_body(l, bytes)) {
        leg->out_last = false;
        *ret_taken = bytes.n;
        return ERR_OK;
    }
    enum err e = send_all(l, bytes, &taken);
    leg->out_last = false;
    if (e && e != ERR_AGAIN)
        return e;
    *ret_taken = taken;
    return ERR_OK;
}

/* Last chunk and trailers, behind what is still owed of the chunk before. */
static enum err gather_last(struct h1_leg *l, const struct fields *trailers)
{
    if (l->last_queued)
        return ERR_OK;
    ASSERT(!l->out_left); /* an announced chunk was not sent whole */
    if (!trailers) {
        if (l->tail_off == l->tail_end)
            l->tail_off = TAIL_CRLF;
        l->tail_end = TAIL_ALL;
    } else {
        enum err e = gather(l, &(struct render){.trailers = trailers});
        if (e)
            return e;
    }
    l->last_queued = true;
    return ERR_OK;
}

enum err h1_out_end(struct leg *leg, const struct fields *trailers)
{
    struct h1_leg *l = h1_leg_of(leg);

    if (l->closed || l->out_dead)
        return ERR_RESET;
    if (!l->out_ended && l->out_framing == FRAMING_CHUNKED) {
        enum err e = gather_last(l, trailers);
        if (e)
            return e;
    } else if (!l->out_ended && l->out_framing == FRAMING_LENGTH && l->out_left) {
        l->no_reuse = true; /* cut short: the peer waits for the rest */
    }
    l->out_ended = true;
    return leg->out_soon && !l->full && h1_out_pending(l) ? ERR_AGAIN : h1_out_flush(leg);
}

/* ---- turns ---- */

static void tell_write_error(struct h1_leg *l)
{
    l->out_dead_told = true;
    if (l->in_state == H1_IN_LINGER)
        return;
    if (!l->client && l->in_state != H1_IN_DEAD) {
        l->leg.events->on_write_error(l->leg.owner, &l->leg);
    } else if (l->client) {
        (void)err_set(&l->leg.err, ERR_RESET, "client takes no more bytes");
        h1_in_fail(l, ERR_RESET);
    }
}

void h1_out_turn(struct h1_leg *l)
{
    if (l->reset_told)
        return;
    if ((l->want_write && !l->full) || (l->shut_wanted && h1_out_pending(l))) {
        enum err e = h1_out_flush(&l->leg);
        if (e == ERR_AGAIN)
            return;
        if (e == ERR_OK && l->want_write) {
            l->want_write = false;
            l->leg.events->on_writable(l->leg.owner, &l->leg);
            if (l->closed || !l->leg.events)
                return;
        }
    }
    if (l->out_dead && !l->out_dead_told) {
        tell_write_error(l);
    } else if (l->shut_wanted && !l->out_dead && !h1_out_pending(l)) {
        l->shut_wanted = stream_shutdown(l->s) == ERR_AGAIN;
    }
}
