/* Records of credentials: {"type":"credential"} (loaded, refreshed, failed, expired) and {"type":"capture"} (one run of a cmd:// helper).
 * No member may hold a secret: the caller has cut them out. */
#pragma once
#include "base/buf.h"

struct credential_event {
    uint64_t wall_ms;
    const char *event;     /* "loaded", "refreshed", "failed", "expired" */
    struct str id;
    uint64_t version;      /* 0: none */
    const char *source;    /* "env", "file", "keyring", "op", "bw", "apple-password", "cmd" */
    struct str reason;     /* empty: absent */
};
/* One NDJSON line. */
void credential_event_format(struct buf *out, const struct credential_event *e);

struct capture_event {
    uint64_t wall_ms;
    struct str credential_id, route_id;
    const char *action;    /* "captured", "timeout", "command_failed", …: wire.md 9.6 of the reference's labels */
    struct str name, command;
    const struct str *argv;
    size_t n_argv;
    bool has_exit_status;
    int exit_status;
    uint64_t duration_ms;
    size_t stdout_bytes;
    struct str stderr_text, cache_scope;
    const char *output_format; /* "text", "json", "provider_json" */
    const struct str *header_names;
    size_t n_header_names;
    const char *stdin_mode;    /* "null", "request_json", "provider_json" */
    bool interactive;
    bool has_urls;         /* the helper could open URLs */
    unsigned urls_opened, urls_refused;
    struct str target, method, path; /* path without query */
    struct str reason;
};
void capture_event_format(struct buf *out, const struct capture_event *e);
