/* Hop-by-hop fields (RFC 9110 section 7.6.1), both ways. Pure. */
#pragma once
#include "base/err.h"
#include "http/head.h"

/* Mark as dropped: every FIELD_F_HOP field and whatever Connection names (never Host, Expect or framing that our own leg needs;
 * a list of more than LIMIT_HEAD_FIELDS names drops every other field).
 * Transfer-Encoding and Content-Length are dropped too: the sending leg writes its own framing from head->framing. */
void hop_strip(struct http_head *head);
/* What `Upgrade` asks for, looked at before hop_strip. */
enum upgrade { UPGRADE_NONE, UPGRADE_WEBSOCKET, UPGRADE_OTHER };
/* WEBSOCKET: a GET of HTTP/1.1 with Connection: upgrade, Upgrade: websocket. Its handshake fields are checked: ERR_BAD_REQUEST when
 * Sec-WebSocket-Key is missing, repeated or not 16 base64-encoded bytes, the version is not 13 (RFC 6455 4.2.1), or there is a
 * body. */
enum err hop_upgrade(const struct http_head *head, enum upgrade *ret_upgrade, struct errctx *ctx) MUST_CHECK;
/* Sec-WebSocket-Accept for a key (RFC 6455 4.2.2), 28 characters and NUL. False: out of memory. */
bool hop_websocket_accept(struct str key, char ret_accept[29]);
