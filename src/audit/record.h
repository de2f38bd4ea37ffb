/* The audit record of one exchange (../shared spec: docs/audit.md): a compact block that outlives the exchange's arena. */
#pragma once
#include "audit/queue.h"
#include "base/buf.h"
#include "base/err.h"

enum audit_mode { AUDIT_LOCAL, AUDIT_CONNECT, AUDIT_CONNECT_INTERCEPT, AUDIT_INTERCEPT, AUDIT_FORWARD, AUDIT_REVERSE };

/* Text members; set with record_text. */
enum record_text {
    RECORD_CLIENT_ADDRESS, RECORD_CLIENT_NAME, RECORD_LISTENER, RECORD_REASON, RECORD_RULE, RECORD_RULE_ORIGIN, RECORD_TARGET,
    RECORD_METHOD, RECORD_PATH, RECORD_UPSTREAM_ADDRESS, RECORD_UPSTREAM_PROXY, RECORD_REMEDY,
    RECORD_ROUTE_ID, RECORD_ENDPOINT_ACTION, RECORD_ENDPOINT_RULE, RECORD_CREDENTIAL_ID,
    RECORD_INJECTION_MODE, RECORD_UPSTREAM, RECORD_APPROVAL_BACKEND, RECORD_TEXT_COUNT_
};

enum { RECORD_INLINE_BYTES = 192 };

struct record {
    uint64_t timestamp_ms;   /* wall clock when the head was complete */
    uint64_t start_ns, wait_ns; /* monotonic start; time spent waiting for DNS, connect and the upstream's answer */
    uint64_t connection_id, request_number; /* unique in the process; printed by audit_id */
    uint64_t request_bytes, response_bytes;
    uint64_t credential_version; /* 0: none was used */
    uint32_t client_uid;
    uint16_t port, status, upstream_status;
    uint8_t mode;            /* enum audit_mode */
    uint8_t auth_mechanism;  /* enum auth_mechanism as a number; name given at emission */
    uint8_t minor;           /* http_version 1.<minor> */
    uint8_t scheme;          /* 0 none, 1 http, 2 https */
    bool has_port, has_uid, has_query, query_present, auth_failed, auth_none, has_version;
    bool relayed;            /* something of the upstream's answer was relayed, or the tunnel stood: decision allow */
    bool upstream_reused, has_upstream;
    bool credential_active;  /* a secret went into the head */
    enum err end;            /* ERR_OK, or why it ended */
    /* text area */
    uint32_t at_[RECORD_TEXT_COUNT_];
    uint16_t n_[RECORD_TEXT_COUNT_];
    char *text_;             /* NULL: inline_ */
    uint32_t text_n_, text_cap_;
    char inline_[RECORD_INLINE_BYTES];
};

void record_init(struct record *r);
void record_fini(struct record *r);
/* Copy a text in (at most 8 KiB of it); replaces the former value. Lost silently only when out of memory. */
void record_text(struct record *r, enum record_text which, struct str value);
struct str record_get(const struct record *r, enum record_text which);
/* Short unique strings: "c…" for connections, "r…" for requests; a per-process random prefix makes them unique across runs. */
void audit_id(char out[24], char kind, uint64_t number);
/* One NDJSON line, newline included. auth_mechanism: its name. */
void record_format(struct buf *out, const struct record *r, const char *auth_mechanism, uint64_t now_ns);
/* The same, straight into a queue. False when that is out of memory (counted there). */
bool record_emit(struct queue *q, const struct record *r, const char *auth_mechanism, uint64_t now_ns);
