/* HTTP/1.1 legs over a stream, towards clients (server side) and upstreams (client side). One message pair at a time, many in a row.
 * Loop thread only. */
#pragma once
#include "base/chunk.h"
#include "http/h1_parse.h"
#include "http/leg.h"
#include "net/stream.h"

/* What legs borrow from their worker. */
struct h1_env {
    struct loop *loop;
    struct chunk_pool *chunks;
    struct field *field_scratch; /* LIMIT_HEAD_FIELDS entries, valid within one event */
};

/* Towards a client: owns `s` (not on failure); reads requests, the first one at once (h1_leg_next may be called for it too). Events come
 * from the ready list at the earliest: call leg_own before this turn ends. ERR_NOMEM. */
enum err h1_leg_new_client(const struct h1_env *env, struct stream *s, struct leg **ret_leg) MUST_CHECK;
/* Towards an upstream: owns `s` (not on failure); writes requests, reads responses. Idle until leg_head. ERR_NOMEM. */
enum err h1_leg_new_upstream(const struct h1_env *env, struct stream *s, struct leg **ret_leg) MUST_CHECK;

/* Get ready for the next message pair, when the incoming message is complete: counters and flags are reset; a client leg starts to look
 * for a request head (bytes that are already here are looked at in the ready list, not from inside this call); an upstream leg becomes
 * idle: any byte, FIN or error then is on_reset(ERR_EOF), also when leg_head came in between (such bytes are never taken for an answer).
 * An idle leg holds no chunk. After on_reset this does nothing. */
static inline void h1_leg_next(struct leg *l)
{
    l->ops->next(l);
}
/* Client leg: bytes beyond the current request are here already (pipelining, or what follows a CONNECT head). */
bool h1_leg_has_rest(const struct leg *l);
/* Client leg: the rest of the incoming body can be skipped: ERR_OK when it is at most LIMIT_SKIP_BYTES and it will be read and thrown away
 * (on_end follows when it is, on_reset on failure), or when in_done already (nothing follows); ERR_TOO_LARGE when not (chunked counts as
 * more unless its end is already here; so does a body that may never come: Expect: 100-continue without a 100 or a byte of it).
 * bytes_in does not count it. May be called inside on_head. */
enum err h1_leg_skip(struct leg *l) MUST_CHECK;
/* Client leg: stop parsing for good (a refused CONNECT, lingering close): what comes is read and thrown away (and added to bytes_in, so
 * that the owner's timer sees whether something comes); shuts down our sending side once everything is flushed. on_fin is called once
 * when the peer ended or is gone, but not before what we wrote is out; on_head, on_body, on_reset never. The owner has the timers. */
void h1_leg_linger(struct leg *l);
/* Take the stream out for a tunnel: unread bytes go back with stream_unread, nobody owns its readiness. Frees the leg at the end of the
 * turn. ERR_NOMEM, ERR_RESET (output was not flushed): the stream is closed. Inside on_head too. */
enum err h1_leg_detach(struct leg *l, struct stream **ret_stream) MUST_CHECK;
/* Upstream leg: anything of a response was received (replay is no longer possible). */
bool h1_leg_answered(const struct leg *l);
/* Close the stream and free at the end of the turn. NULL allowed. */
static inline void leg_close(struct leg *l, bool reset)
{
    if (l)
        l->ops->close(l, reset);
}
