/* One HTTP message pair on one side: a request and its response, towards a client or an upstream. HTTP/1 implements it (h1_leg.c);
 * HTTP/2 streams will. The exchange knows legs, never a codec or a socket. Loop thread only.
 *
 * Bytes: the reading leg owns them. on_body hands a slice; the callee returns how many bytes it took. What it did not take stays in the
 * leg, which then stops reading until leg_resume (HTTP/2: the count taken is the window given back). leg_body likewise returns how much it
 * took; what it did not take stays the caller's and on_writable follows. Small writes are gathered until leg_flush or the next body.
 *
 * Commands never call back: every event comes from the stream's readiness or from the ready list. A callee may call any command on this
 * or another leg, leg_close included; slices given to it stay readable until it returns. An owner is changed (leg_own) between two
 * messages, or inside an event; a leg without events (NULL) is silent, and what it missed is looked at by its next leg_head. */
#pragma once
#include "base/err.h"
#include "http/head.h"

struct leg;

struct leg_events {
    /* Client leg: the first byte of a head came (an empty line before it is none), also when the whole head came. May be NULL. */
    void (*on_begun)(void *owner, struct leg *l);
    /* A final or interim head (status 1xx; a 101 is final) came; its slices live until the callback returns. end: no body follows, the
     * message is complete (in_done) and on_end is not called. A request with an unknown expectation comes as any other, with
     * leg->err.code == ERR_BAD_EXPECTATION. */
    void (*on_head)(void *owner, struct leg *l, const struct http_head *head, bool end);
    /* Body bytes, never none; returns how many were taken. Fewer than offered: nothing more comes until leg_resume. */
    size_t (*on_body)(void *owner, struct leg *l, struct str bytes);
    /* The body is complete. trailers may be NULL; slices live until the callback returns. */
    void (*on_end)(void *owner, struct leg *l, const struct fields *trailers);
    /* The leg takes bytes again (after leg_body took less than all, or leg_flush or leg_end said ERR_AGAIN). May come though nothing was
     * waited for. */
    void (*on_writable)(void *owner, struct leg *l);
    /* The message is over before its time; nothing more is read. Upstream: ERR_EOF: it closed or died before any byte of an answer (also
     * while idle); ERR_UPSTREAM_ABORTED: in the middle, or a body that ends with the connection was cut; ERR_BAD_RESPONSE. Client:
     * ERR_CLIENT_ABORTED: it ended inside a head or body; ERR_RESET: it is gone; ERR_BAD_REQUEST, ERR_URI_TOO_LONG,
     * ERR_HEAD_TOO_LARGE, ERR_BAD_VERSION: malformed, and an answer can be written to it (so ERR_RESET may follow once). ERR_NOMEM.
     * The sentence is in leg->err. */
    void (*on_reset)(void *owner, struct leg *l, enum err e);
    /* Once per message: the peer ended its sending side while nothing is owed by it. Client: between requests, or while its complete
     * request, or a body that is not taken, waits (a pipelined request may still be here: h1_leg_has_rest); when lingering: it is
     * gone. Upstream: after its answer. */
    void (*on_fin)(void *owner, struct leg *l);
    /* Upstream, once, before the answer is complete or after: it can no longer be written to, though its answer may still be readable
     * (C14); reading goes on. (A client that cannot be written to is on_reset(ERR_RESET).) */
    void (*on_write_error)(void *owner, struct leg *l);
};

struct leg_ops {
    enum err (*head)(struct leg *l, const struct http_head *head, struct str extra, bool end);
    enum err (*body)(struct leg *l, struct str bytes, size_t *ret_taken);
    enum err (*end)(struct leg *l, const struct fields *trailers);
    enum err (*flush)(struct leg *l);
    void (*resume)(struct leg *l);
    void (*next)(struct leg *l);
    void (*close)(struct leg *l, bool reset);
};

struct leg {
    const struct leg_ops *ops;
    const struct leg_events *events;
    void *owner;
    struct errctx err;       /* why it was reset */
    uint64_t bytes_in;       /* body bytes of the current message received and taken */
    uint64_t bytes_out;      /* body bytes of the current message sent (accepted by the stream) */
    bool in_done;            /* the incoming message is complete */
    bool out_done;           /* the outgoing message is complete and handed to the stream */
    bool reusable;           /* after both are done: the connection may serve another message */
    bool secret_out;         /* set by the injector before head: what is written goes through sensitive memory */
    bool in_last;            /* during on_body: these are the last bytes of the body and no trailers follow */
    bool out_soon;           /* promise, for a message: the owner flushes when the turn ends, so its end may wait (leg_end says ERR_AGAIN) */
    bool out_last;           /* hint, set before leg_body: once these bytes are taken leg_end follows without trailers (saves a write) */
};

static inline void leg_own(struct leg *l, const struct leg_events *events, void *owner)
{
    l->events = events, l->owner = owner;
}
/* Send a head (interim heads too). head->framing tells how the body is sent: LENGTH, CHUNKED, or CLOSE/NONE; end: no body follows
 * whatever the framing says (an answer to HEAD), and a flush completes the message (leg_end may be called too). `extra` are further
 * complete lines ("Connection: close\r\n"). Whether the connection can be reused is judged by what is written (extra and fields that
 * are not dropped), not by head->keep_alive. A client leg answered before its request came reads no request any more. Gathered.
 * ERR_NOMEM, ERR_TOO_LARGE (over 80 KiB): nothing was gathered. ERR_RESET: the connection is dead. */
static inline MUST_CHECK enum err leg_head(struct leg *l, const struct http_head *head, struct str extra, bool end)
{
    return l->ops->head(l, head, extra, end);
}
/* Send body bytes with everything gathered, in one write. ERR_OK (*ret_taken may be less than all, then on_writable follows: offer the
 * same bytes again, a chunk of that size may be announced). ERR_RESET: dead for writing (on_write_error or on_reset follows once, if it
 * did not come yet). ERR_INVALID: more than the head announced, nothing is sent. */
static inline MUST_CHECK enum err leg_body(struct leg *l, struct str bytes, size_t *ret_taken)
{
    return l->ops->body(l, bytes, ret_taken);
}
/* The outgoing message is complete (last chunk, trailers when not NULL; dropped fields are left out). Flushes. ERR_OK: out_done.
 * ERR_AGAIN: on_writable follows and out_done is set then. ERR_NOMEM (trailers only), ERR_RESET. Fewer body bytes than announced: the
 * connection is not reusable. */
static inline enum err leg_end(struct leg *l, const struct fields *trailers)
{
    return l->ops->end(l, trailers);
}
/* Hand everything gathered to the stream. ERR_OK; ERR_AGAIN (on_writable follows); dead otherwise. */
static inline enum err leg_flush(struct leg *l)
{
    return l->ops->flush(l);
}
/* Room again: on_body is called with what was left, then reading goes on, from the ready list. Does nothing to a leg that is not paused. */
static inline void leg_resume(struct leg *l)
{
    l->ops->resume(l);
}
