#include "base/assert.h"
#include "http/h1_leg_int.h"

enum step {
    STEP_GO,   /* something was done: look again */
    STEP_MORE, /* more bytes are needed */
    STEP_STOP, /* paused, complete, dead, closed, or put into another mode */
};

enum {
    /* A head of LIMIT_HEAD_BYTES, an empty line before it, and what shows that it is longer. */
    HEAD_MEMORY = LIMIT_HEAD_BYTES + 16,
    LINGER_READ = 4096,
};

/* ---- events: each may close the leg or move it elsewhere ---- */

static bool moved(const struct h1_leg *l, uint8_t epoch)
{
    return l->closed || l->epoch != epoch || !l->leg.events;
}

static void tell_fin(struct h1_leg *l)
{
    l->fin_told = true;
    l->leg.events->on_fin(l->leg.owner, &l->leg);
}

void h1_in_fail(struct h1_leg *l, enum err e)
{
    l->in_state = H1_IN_DEAD;
    l->no_reuse = true;
    l->leg.reusable = false;
    l->data_n = 0;
    if (e == ERR_RESET)
        l->reset_told = true;
    l->leg.events->on_reset(l->leg.owner, &l->leg, e);
}

static void fail_saying(struct h1_leg *l, enum err e, const char *what)
{
    (void)err_set(&l->leg.err, e, "%s", what);
    h1_in_fail(l, e);
}

/* What the codec refused; of a response every reason is one. */
static enum err malformed(struct h1_leg *l, enum err e)
{
    if (l->client || e == ERR_NOMEM)
        return e;
    l->leg.err.code = ERR_BAD_RESPONSE;
    return ERR_BAD_RESPONSE;
}

/* ---- bytes ---- */

void h1_in_trim(struct h1_leg *l)
{
    if (l->in_state == H1_IN_DEAD || l->in_state == H1_IN_LINGER)
        l->in.start = l->in.end, l->data_n = 0;
    if (!l->data_n && !h1_bytes_len(&l->in))
        h1_bytes_release(l, &l->in);
}

/* A head or trailer section stays in one piece and may outgrow its chunk. */
static enum err make_room(struct h1_leg *l)
{
    struct h1_bytes *b = &l->in;

    if (!h1_bytes_take(l, b))
        return err_set(&l->leg.err, ERR_NOMEM, "no memory to read into");
    if (!l->data_n && b->start) {
        memmove(h1_bytes_at(b, 0), h1_bytes_at(b, b->start), h1_bytes_len(b));
        b->end -= b->start, b->start = 0;
    }
    if (b->end < b->cap)
        return ERR_OK;
    if (b->cap >= HEAD_MEMORY)
        return err_set(&l->leg.err, ERR_HEAD_TOO_LARGE, "head is over %d bytes", LIMIT_HEAD_BYTES);
    uint32_t cap = b->cap * 2 < HEAD_MEMORY ? b->cap * 2 : HEAD_MEMORY;
    if (!h1_bytes_grow(l, b, cap))
        return err_set(&l->leg.err, ERR_NOMEM, "no memory for a long head");
    return ERR_OK;
}

static void note_end(struct h1_leg *l, enum err e)
{
    l->in_end = (uint8_t)(e == ERR_EOF || e == ERR_UPSTREAM_ABORTED ? e : ERR_RESET);
}

/* One read behind what is here. */
static enum err read_once(struct h1_leg *l)
{
    size_t n = 0;
    enum err e = stream_read(l->s, h1_bytes_at(&l->in, l->in.end), l->in.cap - l->in.end, &n);

    if (e == ERR_OK) {
        l->in.end += (uint32_t)n;
        l->answered = true;
    } else if (e != ERR_AGAIN) {
        note_end(l, e);
    }
    return e;
}

/* Whether anything at all comes behind the last message (an upstream owes us nothing then):
 * ERR_AGAIN is quiet. What came is lost, so nothing may need it. */
static enum err peek_surplus(struct h1_leg *l)
{
    char byte;
    size_t n;

    if (h1_bytes_len(&l->in))
        return ERR_OK;
    if (l->in_end)
        return (enum err)l->in_end;
    enum err e = stream_read(l->s, &byte, 1, &n);
    if (e != ERR_OK && e != ERR_AGAIN)
        note_end(l, e);
    return e;
}

/* ---- heads ---- */

void h1_in_start(struct h1_leg *l)
{
    h1_scan_init(&l->codec.scan, l->client ? H1_REQUEST : H1_RESPONSE);
    l->in_state = H1_IN_HEAD;
    l->begun_told = false;
}

/* What an upstream said before it was asked is no answer to what it is asked now: as if it had
 * closed. A connection that ended meanwhile says so by on_reset, as one that ends a moment later.
 */
void h1_in_expect(struct h1_leg *l)
{
    ASSERT(l->in_state == H1_IN_IDLE);
    if (peek_surplus(l) != ERR_AGAIN) {
        l->in.start = l->in.end;
        l->in_end = ERR_EOF;
    }
    h1_in_start(l);
    if (l->missed || l->in_end || stream_fin(l->s))
        h1_leg_kick(l);
    l->missed = false;
}

/* The message is complete. An upstream connection that says more than it was asked is not used
 * again. */
static void complete(struct h1_leg *l)
{
    l->in_state = H1_IN_DONE;
    l->leg.in_done = true;
    if (!l->client && !l->no_reuse && peek_surplus(l) != ERR_AGAIN)
        l->no_reuse = true;
    h1_leg_judge_reuse(l);
}

static bool is_interim(const struct http_head *head)
{
    return head->status < 200 && head->status != 101;
}

/* What follows the head: a body, nothing, or (after an interim response) another head. */
static bool begin_body(struct h1_leg *l, const struct http_head *head)
{
    if (!l->client && is_interim(head)) {
        l->no_reuse |= head->tainted; /* what it announced may be taken for the next answer */
        h1_in_start(l);
        return false;
    }
    if (!head->keep_alive || head->tainted || head->framing == FRAMING_CLOSE)
        l->no_reuse = true;
    if (l->client)
        l->expects_100 = head->expect_100;
    else if (head->status == 101 || (l->asked_connect && head->status < 300))
        l->no_reuse = true; /* what follows is no HTTP */
    switch ((enum framing)head->framing) {
    case FRAMING_LENGTH:
        l->in_left = head->length;
        l->in_state = H1_IN_LENGTH;
        return !head->length;
    case FRAMING_CHUNKED:
        h1_chunk_init(&l->codec.chunk, !l->client);
        l->in_state = H1_IN_CHUNKED;
        return false;
    case FRAMING_CLOSE:
        l->in_state = H1_IN_CLOSE;
        return false;
    case FRAMING_NONE:
        break;
    }
    return true;
}

static enum err parse_head(struct h1_leg *l, char *p, size_t n, struct http_head *head)
{
    if (l->client) {
        enum err e = h1_parse_request(p, n, head, &l->leg.err);
        /* it stays in leg.err for the owner, who may answer and keep the connection */
        return e == ERR_BAD_EXPECTATION ? ERR_OK : e;
    }
    struct str method = l->asked_head      ? STR("HEAD")
                        : l->asked_connect ? STR("CONNECT")
                                           : STR("GET");
    enum err e = h1_parse_response(p, n, method, head, &l->leg.err);
    if (e == ERR_OK && is_interim(head) && ++l->interims > LIMIT_INTERIM_RESPONSES)
        return err_set(&l->leg.err, ERR_BAD_RESPONSE, "more than %d interim responses",
                       LIMIT_INTERIM_RESPONSES);
    return e;
}

/* A response whose first chunk has no size is told as a bad one instead of a good head and a cut, where
 * that is seen in time: nothing of it has been passed on yet (decision C6a). */
static enum err look_at_first_chunk(struct h1_leg *l, uint32_t at)
{
    struct h1_chunk look;
    struct str run;
    size_t used;

    h1_chunk_init(&look, true);
    enum err e = h1_chunk_feed(&look, h1_bytes_at(&l->in, at), l->in.end - at, &used, &run,
                               &l->leg.err);
    return e == ERR_AGAIN || e == ERR_EOF ? ERR_OK : e;
}

static enum step give_head(struct h1_leg *l)
{
    struct http_head head = {.fields = {.v = l->scratch, .cap = LIMIT_HEAD_FIELDS}};
    uint32_t n = l->codec.scan.pos;
    uint8_t epoch = l->epoch;
    enum err e = parse_head(l, h1_bytes_at(&l->in, l->in.start), n, &head);

    if (!e && !l->client && head.framing == FRAMING_CHUNKED && l->in.start + n < l->in.end)
        e = look_at_first_chunk(l, l->in.start + n);
    if (e) {
        h1_in_fail(l, malformed(l, e));
        return STEP_STOP;
    }
    l->in.start += n;
    bool end = begin_body(l, &head);
    if (end)
        complete(l);
    l->leg.events->on_head(l->leg.owner, &l->leg, &head, end);
    return end || moved(l, epoch) ? STEP_STOP : STEP_GO;
}

static enum step step_head(struct h1_leg *l)
{
    uint32_t n = h1_bytes_len(&l->in);
    uint8_t epoch = l->epoch;

    if (!n)
        return STEP_MORE;
    enum err e = h1_scan(&l->codec.scan, h1_bytes_at(&l->in, l->in.start), n, &l->leg.err);
    if (l->client && !l->begun_told && (l->codec.scan.started || (e && e != ERR_AGAIN))) {
        l->begun_told = true;
        if (l->leg.events->on_begun)
            l->leg.events->on_begun(l->leg.owner, &l->leg);
        if (moved(l, epoch))
            return STEP_STOP;
    }
    if (e == ERR_AGAIN)
        return STEP_MORE;
    if (e == ERR_OK)
        return give_head(l);
    h1_in_fail(l, malformed(l, e));
    return STEP_STOP;
}

/* ---- bodies ---- */

static void take(struct h1_leg *l, uint32_t n)
{
    l->data_off += n;
    l->data_n -= n;
}

/* Whether the bytes on offer are the last ones, with nothing said behind them. */
static bool is_last(const struct h1_leg *l)
{
    if (l->in_state == H1_IN_LENGTH)
        return !l->in_left;
    return l->in_state == H1_IN_TRAILERS && h1_bytes_len(&l->in) >= 2 &&
           memcmp(h1_bytes_at(&l->in, l->in.start), "\r\n", 2) == 0;
}

static enum step step_offer(struct h1_leg *l)
{
    uint8_t epoch = l->epoch;

    l->expects_100 = false;
    if (l->skipping) {
        take(l, l->data_n);
        return STEP_GO;
    }
    if (l->paused)
        return STEP_STOP;
    uint32_t n = l->data_n;
    l->resume_asked = false;
    l->leg.in_last = is_last(l);
    size_t taken =
        l->leg.events->on_body(l->leg.owner, &l->leg, str_of(h1_bytes_at(&l->in, l->data_off), n));
    l->leg.in_last = false;
    if (l->closed || l->epoch != epoch)
        return STEP_STOP;
    ASSERT(taken <= n);
    take(l, (uint32_t)taken);
    l->leg.bytes_in += taken;
    if (l->data_n && !l->skipping)
        l->paused = !l->resume_asked; /* else the ready list offers it again */
    return moved(l, epoch) || (l->data_n && !l->skipping) ? STEP_STOP : STEP_GO;
}

static enum step give_end(struct h1_leg *l, const struct fields *trailers)
{
    complete(l);
    l->leg.events->on_end(l->leg.owner, &l->leg, l->skipping ? NULL : trailers);
    return STEP_STOP;
}

static enum step offer_next(struct h1_leg *l, uint32_t n)
{
    l->data_off = l->in.start;
    l->data_n = n;
    l->in.start += n;
    return STEP_GO;
}

static enum step step_length(struct h1_leg *l)
{
    uint32_t n = h1_bytes_len(&l->in);

    if (!l->in_left)
        return give_end(l, NULL);
    if (!n)
        return STEP_MORE;
    if (n > l->in_left)
        n = (uint32_t)l->in_left;
    l->in_left -= n;
    return offer_next(l, n);
}

/* All data of what is here, moved together over the chunk lines between: one offer, one write. */
static enum step step_chunked(struct h1_leg *l)
{
    struct h1_bytes *b = &l->in;
    char *base = b->cap ? h1_bytes_at(b, 0) : NULL;
    enum err e = ERR_AGAIN;

    while (b->start < b->end) {
        size_t used = 0;
        struct str run = STR_NULL;
        e = h1_chunk_feed(&l->codec.chunk, base + b->start, b->end - b->start, &used, &run,
                          &l->leg.err);
        if (e && e != ERR_AGAIN && e != ERR_EOF)
            break;
        b->start += (uint32_t)used;
        if (run.n && !l->data_n)
            l->data_off = (uint32_t)(run.p - base);
        else if (run.n)
            memmove(base + l->data_off + l->data_n, run.p, run.n);
        l->data_n += (uint32_t)run.n;
        if (e)
            break;
        e = ERR_AGAIN;
    }
    if (e == ERR_EOF)
        l->in_state = H1_IN_TRAILERS;
    else if (e != ERR_AGAIN)
        l->in_err =
            (uint8_t)e; /* what came before it is given first, so that splits do not matter */
    return l->data_n || e != ERR_AGAIN ? STEP_GO : STEP_MORE;
}

static enum step step_trailers(struct h1_leg *l)
{
    struct fields trailers = {.v = l->scratch, .cap = LIMIT_HEAD_FIELDS};
    uint32_t n = h1_bytes_len(&l->in);
    size_t used = 0;

    if (!n)
        return STEP_MORE;
    enum err e = h1_chunk_trailers(&l->codec.chunk, h1_bytes_at(&l->in, l->in.start), n, &used,
                                   &trailers, &l->leg.err);
    if (e == ERR_AGAIN)
        return STEP_MORE;
    if (e) {
        h1_in_fail(l, malformed(l, e));
        return STEP_STOP;
    }
    l->in.start += (uint32_t)used;
    if (l->codec.chunk.bare_lf)
        l->no_reuse = true;
    return give_end(l, trailers.n ? &trailers : NULL);
}

bool h1_in_end_is_here(const struct h1_leg *l)
{
    struct h1_chunk copy = l->codec.chunk;
    struct errctx ctx = {0};
    uint32_t at = l->in.start;
    enum err e = l->in_state == H1_IN_TRAILERS ? ERR_EOF : ERR_OK;
    struct str run;
    size_t used = 0;

    while (e == ERR_OK && at < l->in.end) {
        e = h1_chunk_feed(&copy, h1_bytes_at(&l->in, at), l->in.end - at, &used, &run, &ctx);
        if (e == ERR_OK || e == ERR_EOF)
            at += (uint32_t)used;
    }
    /* only delimited, not parsed: field_scratch may hold the head that is being looked at */
    return e == ERR_EOF && at < l->in.end &&
           h1_scan(&copy.trailer_, h1_bytes_at(&l->in, at), l->in.end - at, &ctx) == ERR_OK;
}

/* ---- the end of the stream ---- */

static void client_ended(struct h1_leg *l)
{
    if (l->in_end == ERR_RESET) {
        fail_saying(l, ERR_RESET, "client reset the connection");
    } else if (l->in_state != H1_IN_HEAD) {
        fail_saying(l, ERR_CLIENT_ABORTED, "client ended in the middle of a request body");
    } else if (l->codec.scan.started) {
        fail_saying(l, ERR_CLIENT_ABORTED, "client ended in the middle of a request head");
    } else {
        l->in_state = H1_IN_DEAD;
        l->no_reuse = true;
        tell_fin(l);
    }
}

static void upstream_ended(struct h1_leg *l)
{
    if (l->in_state == H1_IN_CLOSE && l->in_end == ERR_EOF) {
        (void)give_end(l, NULL);
    } else if (!l->answered) {
        fail_saying(l, ERR_EOF,
                    l->in_end == ERR_RESET ? "upstream reset the connection before it answered"
                                           : "upstream closed the connection before it answered");
    } else {
        fail_saying(l, ERR_UPSTREAM_ABORTED,
                    l->in_end == ERR_RESET ? "upstream reset the connection in its answer"
                                           : "upstream closed in the middle of its answer");
    }
}

/* ---- turns ---- */

static enum step step(struct h1_leg *l)
{
    if (l->data_n)
        return step_offer(l);
    if (l->in_err) {
        enum err e = malformed(l, (enum err)l->in_err);
        l->in_err = ERR_OK;
        h1_in_fail(l, e);
        return STEP_STOP;
    }
    switch ((enum h1_in)l->in_state) {
    case H1_IN_HEAD:
        return step_head(l);
    case H1_IN_LENGTH:
        return step_length(l);
    case H1_IN_CHUNKED:
        return step_chunked(l);
    case H1_IN_TRAILERS:
        return step_trailers(l);
    case H1_IN_CLOSE:
        return h1_bytes_len(&l->in) ? offer_next(l, h1_bytes_len(&l->in)) : STEP_MORE;
    default:
        return STEP_STOP;
    }
}

/* Reads until the stream has nothing more (a stream knows a short read from a full one and answers
 * the next call without asking the kernel), the message is over, or somebody is full. */
static void read_message(struct h1_leg *l)
{
    size_t budget = LIMIT_TURN_BYTES;

    for (;;) {
        enum step next;
        do
            next = step(l);
        while (next == STEP_GO);
        if (next == STEP_STOP)
            return;
        if (l->in_end) {
            l->client ? client_ended(l) : upstream_ended(l);
            return;
        }
        if (!budget) {
            stream_again(l->s);
            return;
        }
        enum err e = make_room(l);
        if (e) {
            h1_in_fail(l, malformed(l, e));
            return;
        }
        uint32_t before = l->in.end;
        e = read_once(l);
        if (e == ERR_AGAIN)
            return;
        size_t n = l->in.end - before;
        budget = n < budget ? budget - n : 0;
    }
}

/* A client that left while we do not read: how it left shows only behind what it sent, so that is
 * read as far as there is room. */
static void look_for_client_end(struct h1_leg *l)
{
    if (l->fin_told || !stream_fin(l->s))
        return;
    while (!l->in_end && h1_bytes_take(l, &l->in) && l->in.end < l->in.cap)
        if (read_once(l) == ERR_AGAIN)
            return;
    if (l->in_end == ERR_RESET)
        fail_saying(l, ERR_RESET, "client reset the connection");
    else if (l->in_end && l->in_state == H1_IN_LENGTH && h1_bytes_len(&l->in) < l->in_left)
        fail_saying(l, ERR_CLIENT_ABORTED, "client ended in the middle of a request body");
    else
        tell_fin(l);
}

static void look_behind_response(struct h1_leg *l)
{
    if (!l->no_reuse && peek_surplus(l) != ERR_AGAIN)
        l->no_reuse = true;
    h1_leg_judge_reuse(l);
    if (!l->fin_told && (l->in_end || stream_fin(l->s)))
        tell_fin(l);
}

static void look_at_idle(struct h1_leg *l)
{
    if (stream_fin(l->s) || peek_surplus(l) != ERR_AGAIN)
        fail_saying(l, ERR_EOF, "upstream ended an idle connection");
}

/* A peer that ended may still read: the end is told once our answer is out. */
static bool may_leave(const struct h1_leg *l)
{
    return l->in_end == ERR_RESET || l->out_dead || !h1_out_pending(l);
}

static void throw_away(struct h1_leg *l)
{
    char bytes[LINGER_READ];
    size_t n, budget = LIMIT_TURN_BYTES;

    while (!l->in_end && budget >= sizeof(bytes)) {
        enum err e = stream_read(l->s, bytes, sizeof(bytes), &n);
        if (e == ERR_AGAIN)
            return;
        if (e)
            note_end(l, e);
        else
            l->leg.bytes_in += n, budget -= n;
    }
    if (!l->in_end)
        stream_again(l->s);
    else if (!l->fin_told && may_leave(l))
        tell_fin(l);
}

void h1_in_turn(struct h1_leg *l)
{
    if (l->closed || !l->leg.events)
        return;
    read_message(l);
    if (l->closed || !l->leg.events)
        return;
    if (l->in_state == H1_IN_LINGER)
        throw_away(l);
    else if (l->in_state == H1_IN_IDLE)
        look_at_idle(l);
    else if (l->client && (l->in_state == H1_IN_DONE || (l->paused && l->data_n)))
        look_for_client_end(l);
    else if (l->in_state == H1_IN_DONE)
        look_behind_response(l);
    if (!l->closed)
        h1_in_trim(l);
}
