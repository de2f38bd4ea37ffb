/* The head of a request or response, whatever the protocol version it came in. */
#pragma once
#include "http/fields.h"

enum framing {
    FRAMING_NONE,    /* no body */
    FRAMING_LENGTH,  /* head.length bytes */
    FRAMING_CHUNKED,
    FRAMING_CLOSE,   /* response only: until the connection ends */
};

struct http_head {
    /* request */
    struct str method, target;
    /* response */
    uint16_t status;
    struct str reason;
    /* both */
    uint8_t minor; /* HTTP/1.x: 0, or 1 for any x >= 1 */
    uint8_t framing; /* enum framing */
    bool keep_alive;   /* what version and Connection field say of the connection */
    bool expect_100;   /* request: Expect: 100-continue */
    bool tainted;      /* response: repaired in a way that ends reuse (decision C6a) */
    uint64_t length;   /* FRAMING_LENGTH */
    struct fields fields;
};

/* Deep copy into an arena, with room for `extra` more fields. */
bool http_head_copy(struct arena *a, const struct http_head *from, unsigned extra, struct http_head *ret_head) MUST_CHECK;
