/* The chunked transfer coding (RFC 9112 section 7), sans I/O. Pure. */
#pragma once
#include "base/err.h"
#include "http/h1_parse.h"

struct h1_chunk {
    uint8_t state_;
    uint8_t role_;    /* enum h1_role */
    uint8_t digits_;  /* of the current size */
    bool bare_lf;     /* responses: a trailer line ended in LF alone; ends reuse (decision C6a) */
    uint64_t left_;   /* of the current chunk */
    uint32_t line_;   /* bytes of the current size line */
    struct h1_scan trailer_;
};
/* Size lines and the CRLF after data are strict on both sides; of a response, blanks before ';' and before the CRLF of a size line are
 * skipped, and trailer lines are read as field lines of a response head are (folding, bare LF). */
void h1_chunk_init(struct h1_chunk *c, bool response);
/* Consume from p[0..n). *ret_used: bytes consumed; *ret_data: a run of body data among them (empty when none; at most one per call).
 * ERR_OK: call again with the rest (always so when there is data); ERR_AGAIN: everything consumed, more is needed; ERR_EOF: the last
 * chunk's size line is consumed and the trailer section begins at p + *ret_used. ERR_BAD_REQUEST: malformed; ERR_HEAD_TOO_LARGE: a size
 * line over the limit; of a response both are ERR_BAD_RESPONSE. */
enum err h1_chunk_feed(struct h1_chunk *c, const char *p, size_t n, size_t *ret_used, struct str *ret_data, struct errctx *ctx) MUST_CHECK;
/* The trailer section (after ERR_EOF), all of it so far at p[0..n). ERR_OK: *ret_used is its length with the final empty line and
 * `trailers` (v/cap the caller's) holds it, fields that may not stand in trailers marked drop (FIELD_F_FRAMING, FIELD_F_CRED, FIELD_F_HOP;
 * decision K11). ERR_AGAIN. ERR_BAD_REQUEST, ERR_HEAD_TOO_LARGE; of a response ERR_BAD_RESPONSE. */
enum err h1_chunk_trailers(struct h1_chunk *c, char *p, size_t n, size_t *ret_used, struct fields *trailers, struct errctx *ctx) MUST_CHECK;
