/* Heads as bytes. Fields marked drop are left out. Pure. */
#pragma once
#include "base/buf.h"
#include "http/head.h"

/* "METHOD target HTTP/1.1", fields, our own framing fields (from framing/length; a request without a body gets none, but
 * `Content-Length: 0` where the method expects content: POST, PUT, PATCH), then `extra` (complete lines) and the empty line. */
void h1_write_request(struct buf *out, const struct http_head *head, struct str extra);
/* "HTTP/1.1 status reason", fields, framing, extra, empty line. A FRAMING_NONE response keeps the Content-Length it had (HEAD, 304). */
void h1_write_response(struct buf *out, const struct http_head *head, struct str extra);
