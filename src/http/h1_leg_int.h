/* Inside of http/ only: an HTTP/1 leg. h1_leg.c holds its life, h1_leg_in.c the half that reads,
 * h1_leg_out.c the half that writes.
 *
 * Commands (leg_head, leg_body, leg_resume, ...) change state and write to the stream. Events are
 * called from leg_turn() alone, which the stream's readiness or the ready list starts, never from
 * inside a command. After every event `closed` and `epoch` are looked at, because the owner may
 * have closed the leg or put it into another mode; memory that slices point to lives until the end
 * of the turn. */
#pragma once
#include "http/h1_chunk.h"
#include "http/h1_leg.h"
#include "sys/loop.h"

/* Bytes in one piece: a chunk of the pool, or memory of their own once they outgrow it. */
struct h1_bytes {
    union {
        struct chunk *chunk; /* cap == LIMIT_CHUNK_BYTES */
        char *own;           /* any other cap */
    } mem;
    uint32_t start, end, cap; /* valid: [start..end); cap 0: no memory */
    bool wipe;                /* holds a secret: zeroed when released */
};

enum h1_in {
    H1_IN_IDLE, /* upstream: no request was written yet; whatever comes is the end */
    H1_IN_HEAD,
    H1_IN_LENGTH, /* in_left bytes were not yet offered */
    H1_IN_CHUNKED,
    H1_IN_TRAILERS,
    H1_IN_CLOSE,  /* until the stream ends */
    H1_IN_DONE,   /* the message is complete; nothing is read */
    H1_IN_LINGER, /* what comes is thrown away */
    H1_IN_DEAD,   /* on_reset or the last on_fin was called; nothing is read */
};

struct h1_leg {
    struct leg leg;
    struct chunk_pool *chunks;
    struct field *scratch;
    struct loop *loop;
    struct stream *s; /* NULL once closed or detached */
    struct task task; /* in the ready list; at the very end in the close list */

    /* Reading. in.start is the next byte to parse; [data_off..+data_n) before it are body bytes to
     * offer. */
    struct h1_bytes in;
    uint32_t data_off, data_n;
    union {
        struct h1_scan scan;   /* H1_IN_HEAD */
        struct h1_chunk chunk; /* H1_IN_CHUNKED, H1_IN_TRAILERS */
    } codec;
    uint64_t in_left;
    uint8_t in_state; /* enum h1_in */
    uint8_t in_end;   /* enum err: how the stream ended, ERR_OK while it has not */
    uint8_t in_err;   /* enum err: malformed; told once the bytes before it were taken */
    uint8_t interims;
    uint8_t epoch; /* changes when a command moves the reading half elsewhere */
    bool client : 1;
    bool closed : 1;
    bool running : 1;
    bool missed : 1; /* an event came while nobody owned the leg */
    bool paused : 1;
    bool resume_asked : 1;
    bool skipping : 1;
    bool expects_100 : 1; /* the client may wait with its body */
    bool answered : 1;
    bool begun_told : 1;
    bool fin_told : 1;
    bool reset_told : 1; /* that the connection is dead */
    bool no_reuse : 1;
    bool asked_head : 1; /* the request was a HEAD */
    bool asked_connect : 1;

    /* Writing: `out` (heads, trailers), then what is left of the tail, then the size line, data and
     * tail of the open chunk. */
    bool want_write : 1;
    bool full : 1; /* the stream said ERR_AGAIN and has not called since: two blocked legs must not wake each other */
    bool out_ended : 1; /* the owner said so */
    bool out_dead : 1;
    bool out_dead_told : 1;
    bool last_queued : 1; /* the last chunk is part of the tail */
    bool shut_wanted : 1;
    uint8_t out_framing;
    uint8_t line_off;           /* bytes sent of the open chunk's size line */
    uint8_t tail_off, tail_end; /* unsent part of "\r\n0\r\n\r\n" */
    uint32_t chunk_size;        /* as announced */
    uint64_t out_left;          /* of the open chunk (0: none is open), or of FRAMING_LENGTH */
    struct h1_bytes out;
};

static inline struct h1_leg *h1_leg_of(struct leg *l)
{
    return (struct h1_leg *)l; /* leg is the first member */
}

/* h1_leg.c */
void h1_leg_kick(struct h1_leg *l); /* h1_leg_turn in the ready list */
void h1_leg_judge_reuse(struct h1_leg *l);
char *h1_bytes_at(const struct h1_bytes *b, uint32_t offset);
static inline uint32_t h1_bytes_len(const struct h1_bytes *b)
{
    return b->end - b->start;
}
/* Memory for the first byte. False: out of memory. */
bool h1_bytes_take(struct h1_leg *l, struct h1_bytes *b) MUST_CHECK;
/* Move to memory of `cap` bytes, valid bytes to its beginning. False: out of memory, nothing
 * changed. */
bool h1_bytes_grow(struct h1_leg *l, struct h1_bytes *b, uint32_t cap) MUST_CHECK;
void h1_bytes_release(struct h1_leg *l, struct h1_bytes *b);

/* h1_leg_in.c */
void h1_in_turn(struct h1_leg *l);
void h1_in_start(struct h1_leg *l);            /* look for a head from now on */
void h1_in_expect(struct h1_leg *l);           /* upstream: a request goes out */
void h1_in_fail(struct h1_leg *l, enum err e); /* calls on_reset; may close */
/* Chunked: the rest of the message was received already. */
bool h1_in_end_is_here(const struct h1_leg *l);
void h1_in_trim(struct h1_leg *l); /* gives empty memory back */

/* h1_leg_out.c */
enum err h1_out_head(struct leg *leg, const struct http_head *head, struct str extra,
                     bool end) MUST_CHECK;
enum err h1_out_body(struct leg *leg, struct str bytes, size_t *ret_taken) MUST_CHECK;
enum err h1_out_end(struct leg *leg, const struct fields *trailers) MUST_CHECK;
enum err h1_out_flush(struct leg *leg) MUST_CHECK;
void h1_out_turn(struct h1_leg *l);
bool h1_out_pending(const struct h1_leg *l);
