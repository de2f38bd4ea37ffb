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
/* The credential that was waited for is there: on with stage 5 or, when that is over, exchange_go_on. */
void exchange_credential_done(struct exchange *x);
/* The credential is there: stage 7, or stage 4 when the pooled connection ended meanwhile. */
void exchange_go_on(struct exchange *x);
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
/* What a client wrote goes into the record without any token in it (K8). */
void exchange_record_masked(struct exchange *x, enum record_text which, struct str value);
/* Is this host and port one of our own listeners? */
bool classify_is_self(const struct exchange *x, const struct hostname *host, uint16_t port);

/* --- reply.c --- */
/* Why the request failed, for the client, the record and the log: what request->err says, or the policy's own sentence where err keeps
 * a shortened copy of it (so that all three say what `nono why` says). No secret and no control character stands in it. Valid as long
 * as the request; empty when nothing failed. */
struct str exchange_reason(struct exchange *x);
/* Answer with an error of our own (exchange_reason is the sentence) and end. After a response head went out: abort instead. */
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

/* Once more, on a fresh connection. */
void exchange_send_again(struct exchange *x);

/* --- secret.c --- */
/* Stage 2: where the phantom stands, in *room; NULL: the fields of decision K9 alone. */
const struct phantom_place *secret_place(const struct exchange *x, struct phantom_place *room);
/* Stage 3: facts (and the target) without the phantom, before a reverse request is judged, after any other was. */
enum err secret_clean_reverse(struct exchange *x) MUST_CHECK;
enum err secret_clean_forward(struct exchange *x, bool *ret_changed) MUST_CHECK;
bool secret_may_hide(const struct exchange *x);
/* The credential of the decision into the request; and what the record says of it. */
enum err secret_choose(struct exchange *x) MUST_CHECK;
void secret_record(struct exchange *x);
enum err secret_refuse_browser(struct exchange *x) MUST_CHECK;
/* Stage 5, before somebody is asked about the request: an error (request->err says why) where it would be refused anyway, for a token in
 * its head or for a credential that is known to be unusable, or found so where finding out runs nothing. ERR_AGAIN:
 * exchange_credential_done is called. */
enum err secret_foresee(struct exchange *x) MUST_CHECK;
/* Stage 6: ERR_OK, or ERR_AGAIN: exchange_credential_done or a refusal follows. */
enum err secret_get(struct exchange *x) MUST_CHECK;
/* Stage 8. What head points into afterwards is in *secret: buf_wipe_fini when it is written. */
enum err secret_inject(struct exchange *x, struct http_head *head, struct buf *secret) MUST_CHECK;
void secret_use(struct exchange *x, struct material *m); /* takes the reference: this is the version from now on */
void secret_release(struct request *r);

/* --- retry.c --- */
/* A final head came. True: it is a 401 that is held, or the request is on its way once more. */
bool retry_take_401(struct exchange *x, const struct http_head *head, bool end);
/* What the upstream's side says while a 401 is held (request->held), and the timer of its body. */
size_t retry_body(struct exchange *x, struct str bytes);
void retry_end(struct exchange *x);
void retry_reset(struct exchange *x);
void retry_on_timer(struct exchange *x);

/* --- relay.c --- */
/* A head that was held. */
void relay_held(struct exchange *x, struct http_head *out, bool end);
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
/* Stage 5: rate limit, then approval; once per exchange. ERR_OK; ERR_AGAIN: exchange_hold_done follows; ERR_RATE_LIMITED, ERR_NOMEM. */
enum err hold_ask(struct exchange *x) MUST_CHECK;
void hold_on_timer(struct exchange *x);
/* A pooled connection that was taken already is watched while its request waits: x->up is NULL afterwards if it ended. */
void hold_park(struct exchange *x);
void hold_unpark(struct exchange *x);
void hold_withdraw(struct exchange *x); /* the exchange goes: so does its question */
/* exchange.c: what was waited for in HOLD has come (ERR_OK), or is refused. */
void exchange_hold_done(struct exchange *x, enum err e);
