/* Shared inside proxy/ only. */
#pragma once
#include "proxy/exchange.h"
#include "base/assert.h"
#include "base/mem.h"
#include "proxy/session.h"
#include "sys/clock.h"
#include "sys/loop.h"

/* --- exchange.c --- */
void exchange_set_state(struct exchange *x, enum exchange_state next);
/* The exchange is over: record (unless it is out already), everything released, session told. x is freed at the end of the turn. */
void exchange_finish(struct exchange *x, enum err end, enum session_next next);
/* Let go of whatever the exchange holds or asked for on the upstream's side. */
void exchange_release_upstream(struct exchange *x);
/* Write the audit record now, once. */
void exchange_record(struct exchange *x, enum err end);
/* Time spent waiting for the upstream's side. */
void exchange_wait_begin(struct exchange *x);
void exchange_wait_end(struct exchange *x);
/* From the beginning of stage 4 (a reused connection died). */
void exchange_resolve(struct exchange *x);
uint64_t exchange_timeout(const struct exchange *x, enum timeout_name t);
static inline struct loop *exchange_loop(const struct exchange *x)
{
    return x->worker->loop;
}
static inline bool exchange_over(const struct exchange *x)
{
    return x->state == EXCH_DONE;
}

/* --- classify.c --- */
/* Stage 1: the front of every HTTP/1 shape. Fills facts and the record's description. ERR_OK or what the message gets wrong. */
enum err classify(struct exchange *x, enum err head_err) MUST_CHECK;
/* Is this host and port one of our own listeners? */
bool classify_is_self(const struct exchange *x, const struct hostname *host, uint16_t port);

/* --- reply.c --- */
/* Answer with an error of our own (request->err holds the sentence) and end. After a response head went out: abort instead. */
void exchange_refuse(struct exchange *x, enum err e);
void exchange_refuse_nomem(struct exchange *x);
/* Answers of the gateway itself: 404 and OPTIONS. */
void exchange_answer_local(struct exchange *x);
void reply_options(struct exchange *x);
void reply_on_writable(struct exchange *x);

/* --- send.c --- */
void exchange_send(struct exchange *x);
/* ERR_BODY_TOO_LARGE when a request body of that many bytes is over network.max_body_bytes. */
enum err send_body_fits(struct exchange *x, uint64_t bytes) MUST_CHECK;
size_t send_client_body(struct exchange *x, struct str bytes);
void send_client_end(struct exchange *x, const struct fields *trailers);
void send_on_timer(struct exchange *x);
/* The request goes to an HTTP upstream proxy in absolute form: what answers first is that proxy. */
bool send_is_at_proxy(const struct exchange *x);
extern const struct leg_events exchange_upstream_events;

/* Have gathered bytes handed to both sides at the end of this turn, unless more come and take them along. */
void exchange_flush_soon(struct exchange *x);

/* --- relay.c --- */
void relay_head(struct exchange *x, const struct http_head *head, bool end);
size_t relay_body(struct exchange *x, struct str bytes);
void relay_end(struct exchange *x, const struct fields *trailers);
/* Both messages may be complete now: end the exchange if so. */
void relay_check_done(struct exchange *x);
void relay_on_timer(struct exchange *x);
/* Watch the progress of both bodies: sets the timer. */
void exchange_watch_progress(struct exchange *x);
/* Looks again: how long (ns) nothing has moved. */
uint64_t exchange_quiet_ns(struct exchange *x);

/* --- tunnel.c --- */
/* After a CONNECT: answer 200, then bytes. Owns up. */
void tunnel_connect(struct exchange *x, struct stream *up);
/* After the upstream's 101 (already handed to the client's leg, perhaps unflushed). */
void tunnel_upgrade(struct exchange *x);
void tunnel_on_writable(struct exchange *x);

/* --- session.c --- */
extern const struct leg_events session_events;
void session_set_state(struct session *s, enum session_state next);

/* --- hold.c --- */
/* Stage 5: rate limit and approval, once per exchange. Nothing asks for either yet, so the way is free. ERR_OK or ERR_AGAIN. */
enum err hold_ask(struct exchange *x) MUST_CHECK;
