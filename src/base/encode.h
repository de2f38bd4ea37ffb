/* Text encodings. Pure; any thread. */
#pragma once
#include "base/buf.h"

/* Lower-case hexadecimal. */
void encode_hex(struct buf *out, const void *p, size_t n) NONNULL(1);
/* Standard base64 with padding (RFC 4648 section 4). */
void encode_base64(struct buf *out, struct str in) NONNULL(1);
/* Strict: padded, no white space. False when invalid; out then holds rubbish. */
bool decode_base64(struct buf *out, struct str in) MUST_CHECK NONNULL(1);
/* A JSON string with its quotes. Valid UTF-8 passes; other bytes >= 0x80 become U+FFFD; controls are escaped. */
void encode_json(struct buf *out, struct str in) NONNULL(1);
/* Percent-encode everything but RFC 3986 unreserved characters. */
void encode_percent(struct buf *out, struct str in) NONNULL(1);
/* As one path segment: whatever RFC 3986 section 3.3 lets stand in one (pchar) stays as it is, the rest is percent-encoded. */
void encode_segment(struct buf *out, struct str in) NONNULL(1);
/* Strict percent-decoding: false at a malformed escape. */
bool decode_percent(struct buf *out, struct str in) MUST_CHECK NONNULL(1);
/* Lenient, a byte at a time: the one at text.p[*i], a valid %XX read as one; *i moves behind it. */
char decode_percent_at(struct str text, size_t *i) NONNULL(2);
/* Peer bytes made visible: printable ASCII passes, the rest becomes \xNN. */
void encode_visible(struct buf *out, struct str in) NONNULL(1);
