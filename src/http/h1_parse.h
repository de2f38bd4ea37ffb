/* HTTP/1 heads, sans I/O (RFC 9112, decisions C6 and C6a). Feed it bytes; it says how far it is. Pure. */
#pragma once
#include "base/err.h"
#include "http/head.h"

enum h1_role { H1_REQUEST, H1_RESPONSE };

/* Finds the end of a head that arrives in pieces, looking at every byte once and refusing what can never become right at the first
 * byte that shows it (controls, bare CR, in requests bare LF), so that no peer waits for a time limit. */
struct h1_scan {
    uint8_t role;  /* enum h1_role */
    uint8_t state_;
    bool started;  /* a byte of the head itself was seen (one empty line before a request line is skipped) */
    bool in_first_line_;
    bool bare_lf;  /* response: some line ended in LF alone */
    uint32_t pos;  /* bytes looked at, from the beginning of the head's buffer */
    uint32_t lines_;
};
void h1_scan_init(struct h1_scan *s, enum h1_role role);
/* p[0..n) is everything so far (the same bytes as before and more). ERR_OK: s->pos is the length of the head with its last empty line.
 * ERR_AGAIN. ERR_BAD_REQUEST (requests), ERR_BAD_RESPONSE; over the limits ERR_URI_TOO_LONG / ERR_HEAD_TOO_LARGE (requests; of a response
 * they are ERR_BAD_RESPONSE too). A head without an end is over the limit as soon as LIMIT_HEAD_BYTES are here. Sentence in ctx. */
enum err h1_scan(struct h1_scan *s, const char *p, size_t n, struct errctx *ctx) MUST_CHECK;

/* Parse a whole head as h1_scan delimited it; what that has judged is not judged again. head->fields.v/.cap are the caller's
 * (LIMIT_HEAD_FIELDS); slices point into p, which the parser may change in place (unfolding a response). Requests: ERR_BAD_REQUEST,
 * ERR_HEAD_TOO_LARGE (fields), ERR_BAD_VERSION. Fills framing, length, keep_alive, expect_100 (only with a body); ERR_BAD_EXPECTATION
 * for another expectation, with the head filled (HTTP/1.0: Expect is ignored and marked drop). `Content-Length: 0` is FRAMING_LENGTH
 * with length 0, of a CONNECT FRAMING_NONE. Host: exactly one in HTTP/1.1 and syntactically valid, which target_parse_host may still
 * refuse. The target is checked for bytes that may not be sent, not for its form. */
enum err h1_parse_request(char *p, size_t n, struct http_head *head, struct errctx *ctx) MUST_CHECK;
/* Responses: `method` of the request decides the framing (HEAD, CONNECT). ERR_BAD_RESPONSE with the reason. */
enum err h1_parse_response(char *p, size_t n, struct str method, struct http_head *head, struct errctx *ctx) MUST_CHECK;
