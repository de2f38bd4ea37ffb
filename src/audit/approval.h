/* Records of approvals: {"type":"approval"}, one when somebody is asked and one when that ended. */
#pragma once
#include "base/buf.h"

struct approval_event {
    uint64_t wall_ms;
    struct str request_id;
    const char *decision; /* "approve_requested", "approve_granted", "approve_denied", "approve_timeout", "approve_error" */
    const char *mode;     /* of the exchange: "reverse", "forward", … */
    struct str route_id, rule, backend, target, upstream;
    uint16_t port;           /* 0: null */
    struct str method, path; /* path without query */
    struct str reason;
};
/* One NDJSON line. */
void approval_event_format(struct buf *out, const struct approval_event *e);
