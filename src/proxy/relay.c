/* Stage 9: the answer on its way to the client, both bodies, and the end of both. */
#include "proxy/proxy_int.h"

#include "sys/clock.h"
#include "sys/loop.h"

/* ---------------------------------------------------------------- progress */

static uint64_t bytes_moved(const struct exchange *x)
{
    uint64_t n = x->client->bytes_in + x->client->bytes_out;

    return x->up ? n + x->up->leg->bytes_in + x->up->leg->bytes_out : n;
}

uint64_t exchange_quiet_ns(struct exchange *x)
{
    uint64_t now = loop_now(exchange_loop(x)), moved = bytes_moved(x);

    if (moved != x->bytes_seen || !x->progress_ns) {
        x->bytes_seen = moved;
        x->progress_ns = now;
    }
    return now - x->progress_ns;
}

/* Looking four times per stall time (or tunnel time, should that be shorter) costs nothing per byte. */
void exchange_watch_progress(struct exchange *x)
{
    uint64_t stall = exchange_timeout(x, TIMEOUT_STALL), quiet = exchange_timeout(x, TIMEOUT_TUNNEL);
    uint64_t ms = (quiet < stall ? quiet : stall) / 4;

    (void)exchange_quiet_ns(x);
    timer_set(exchange_loop(x), &x->timer, ms ? ms : 1);
}

void relay_on_timer(struct exchange *x)
{
    uint64_t quiet = exchange_quiet_ns(x);
    bool holding = x->client_full || x->up_full || x->response_done;

    if ((holding && quiet >= exchange_timeout(x, TIMEOUT_STALL) * NS_PER_MS) ||
        quiet >= exchange_timeout(x, TIMEOUT_TUNNEL) * NS_PER_MS) {
        (void)err_set(&x->request->err, ERR_STALLED, "nothing moved within the time limit");
        exchange_abort(x, ERR_STALLED);
        return;
    }
    exchange_watch_progress(x);
}

/* ---------------------------------------------------------------- heads */

/* What the client's connection gets: the framing its version knows, and whether it lasts. */
static void choose_framing(struct exchange *x, struct http_head *out)
{
    const struct http_head *asked = &x->request->head;

    if (out->framing == FRAMING_CLOSE && asked->minor >= 1)
        out->framing = FRAMING_CHUNKED; /* so that the connection lasts and a cut shows */
    else if (out->framing == FRAMING_CHUNKED && asked->minor == 0)
        out->framing = FRAMING_CLOSE;
    if (out->framing == FRAMING_CLOSE || !asked->keep_alive || x->worker->draining || x->awaiting_100)
        x->close_client = true;
    if (!x->request_done && !out->keep_alive)
        x->close_client = true;
}

static struct str connection_line(const struct exchange *x)
{
    if (x->close_client)
        return STR("Connection: close\r\n");
    return x->request->head.minor == 0 ? STR("Connection: keep-alive\r\n") : STR("");
}

/* NTLM and Negotiate authenticate the connection, not the request: such a one is never shared. */
static void look_for_connection_auth(struct exchange *x, const struct http_head *head)
{
    for (unsigned i = 0; i < head->fields.n; i++) {
        const struct field *f = &head->fields.v[i];

        if (f->id != FIELD_WWW_AUTHENTICATE)
            continue;
        if ((f->value.n >= 4 && str_eq_nocase(str_of(f->value.p, 4), STR("NTLM"))) ||
            (f->value.n >= 9 && str_eq_nocase(str_of(f->value.p, 9), STR("Negotiate"))))
            x->up->never_share = true;
    }
}

static void bad_answer(struct exchange *x, const char *why)
{
    (void)err_set(&x->request->err, ERR_BAD_RESPONSE, "%s", why);
    exchange_refuse(x, ERR_BAD_RESPONSE);
}

static void relay_interim(struct exchange *x, struct http_head *out)
{
    if (out->status == 100)
        x->awaiting_100 = false;
    if (x->request->head.minor == 0)
        return; /* HTTP/1.0 knows no interim answers */
    hop_strip(out);
    if (leg_head(x->client, out, STR(""), false) != ERR_OK)
        exchange_abort(x, ERR_CLIENT_ABORTED);
    else
        (void)leg_flush(x->client);
    if (!exchange_over(x) && !x->request_done && !x->awaiting_100)
        exchange_watch_progress(x);
}

static bool accept_matches(struct exchange *x, const struct http_head *head)
{
    struct field *key = fields_get(&x->request->head.fields, FIELD_SEC_WEBSOCKET_KEY);
    struct field *got = fields_get(&head->fields, FIELD_SEC_WEBSOCKET_ACCEPT);

    if (!key || !got || fields_count(&head->fields, FIELD_SEC_WEBSOCKET_ACCEPT) != 1)
        return false;
    return hop_websocket_accept(key->value, x->request->accept) &&
           str_eq(got->value, str_from(x->request->accept)) &&
           fields_has_token(&head->fields, FIELD_UPGRADE, STR("websocket"));
}

static void relay_upgrade(struct exchange *x, struct http_head *out)
{
    if (x->request->upgrade != UPGRADE_WEBSOCKET) {
        bad_answer(x, "the upstream switched protocols though nobody asked it to");
        return;
    }
    if (!accept_matches(x, out)) {
        bad_answer(x, "the upstream's WebSocket handshake is wrong: Sec-WebSocket-Accept does not match");
        return;
    }
    if (x->doomed) { /* denied while it was made: no tunnel begins that a reload would cut at once */
        exchange_refuse(x, ERR_POLICY_CHANGED);
        return;
    }
    hop_strip(out);
    x->record.status = 101;
    x->response_started = x->record.relayed = true;
    exchange_wait_end(x);
    if (leg_head(x->client, out, STR("Connection: Upgrade\r\nUpgrade: websocket\r\n"), true) != ERR_OK) {
        exchange_abort(x, ERR_CLIENT_ABORTED);
        return;
    }
    tunnel_upgrade(x);
}

/* The upstream proxy wants credentials: the operator's to give, not the client's. */
static void proxy_wants_auth(struct exchange *x)
{
    (void)err_set(&x->request->err, ERR_PROXY_REFUSED, "upstream proxy %.*s wants authentication (407)%s",
                  STR_ARG(x->runtime->hop_text),
                  x->runtime->hop->user ? "; user or password in --upstream-proxy are not accepted"
                                        : "; set user and password in --upstream-proxy");
    exchange_refuse(x, ERR_PROXY_REFUSED);
}

static void relay_final(struct exchange *x, struct http_head *out, bool end)
{
    if (out->status == 407 && send_is_at_proxy(x)) {
        proxy_wants_auth(x);
        return;
    }
    look_for_connection_auth(x, out);
    if (!x->request->held_done && retry_take_401(x, out, end))
        return;
    exchange_wait_end(x);
    x->record.status = x->record.upstream_status = out->status;
    choose_framing(x, out);
    hop_strip(out);
    exchange_set_state(x, EXCH_RELAY);
    x->response_started = x->record.relayed = true;
    if (leg_head(x->client, out, connection_line(x), end) != ERR_OK) {
        exchange_abort(x, ERR_CLIENT_ABORTED);
        return;
    }
    x->watch_soon = true; /* most answers end before the turn does, and need no watch of their own */
    if (end)
        relay_end(x, NULL);
    if (!exchange_over(x))
        exchange_flush_soon(x);
}

void relay_held(struct exchange *x, struct http_head *out, bool end)
{
    x->request->held_done = true;
    relay_final(x, out, end);
}

void relay_head(struct exchange *x, const struct http_head *head, bool end)
{
    struct http_head out = *head; /* its fields stay the leg's; marks on them are ours for this event */

    if (head->status == 101)
        relay_upgrade(x, &out);
    else if (head->status < 200)
        relay_interim(x, &out);
    else
        relay_final(x, &out, end);
}

/* ---------------------------------------------------------------- body and end */

size_t relay_body(struct exchange *x, struct str bytes)
{
    size_t taken = 0;

    x->client->out_last = x->client->out_soon = x->up->leg->in_last; /* then the last chunk goes out in the same write */
    if (leg_body(x->client, bytes, &taken) != ERR_OK) {
        if (!exchange_over(x))
            exchange_abort(x, ERR_CLIENT_ABORTED);
        return 0;
    }
    x->client_full = taken < bytes.n;
    return taken;
}

void relay_end(struct exchange *x, const struct fields *trailers)
{
    enum err e;

    if (x->response_done)
        return;
    x->response_done = true;
    x->client->out_soon = true;
    e = leg_end(x->client, x->request->head.minor == 0 ? NULL : trailers);
    if (exchange_over(x))
        return;
    if (e == ERR_AGAIN)
        exchange_flush_soon(x);
    else if (e != ERR_OK)
        exchange_abort(x, ERR_CLIENT_ABORTED);
    else
        relay_check_done(x);
}

static void give_back(struct exchange *x)
{
    struct upconn *u = x->up;

    if (!u)
        return;
    x->up = NULL;
    if (x->request->key.p && u->leg->reusable && !x->up_dead)
        pool_give(x->worker->pool, u);
    else
        upconn_close(u);
}

void relay_check_done(struct exchange *x)
{
    if (!x->client->out_done)
        return; /* on_writable follows */
    if (!x->request_done) {
        /* The upstream answered before the request was out: its rest is treated as after an answer of our own. */
        upconn_close(x->up);
        x->up = NULL;
        if (x->close_client || h1_leg_skip(x->client) != ERR_OK) {
            exchange_finish(x, ERR_OK, SESSION_LINGER);
            return;
        }
        if (!x->request_done)
            return; /* on_end follows */
    }
    give_back(x);
    exchange_finish(x, ERR_OK, x->close_client ? SESSION_LINGER : SESSION_KEEP);
}
