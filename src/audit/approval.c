#include "audit/approval.h"
#include "base/encode.h"

static void add_text(struct buf *out, const char *key, struct str value)
{
    if (!value.n)
        return;
    buf_add_z(out, key);
    encode_json(out, value);
}

static void add_text_or_null(struct buf *out, const char *key, struct str value)
{
    buf_add_z(out, key);
    if (value.n)
        encode_json(out, value);
    else
        buf_add_z(out, "null");
}

void approval_event_format(struct buf *out, const struct approval_event *e)
{
    buf_add_z(out, "{\"type\":\"approval\",\"timestamp_unix_ms\":");
    buf_add_u64(out, e->wall_ms);
    add_text(out, ",\"request_id\":", e->request_id);
    add_text(out, ",\"mode\":", str_from(e->mode));
    add_text(out, ",\"decision\":", str_from(e->decision));
    add_text(out, ",\"route_id\":", e->route_id);
    buf_add_z(out, ",\"endpoint_policy_action\":\"approve\"");
    add_text(out, ",\"endpoint_policy_rule\":", e->rule);
    add_text(out, ",\"approval_backend\":", e->backend);
    add_text(out, ",\"target\":", e->target);
    add_text(out, ",\"upstream\":", e->upstream);
    buf_add_z(out, ",\"port\":");
    if (e->port)
        buf_add_u64(out, e->port);
    else
        buf_add_z(out, "null");
    add_text_or_null(out, ",\"method\":", e->method);
    add_text_or_null(out, ",\"path\":", e->path);
    buf_add_z(out, ",\"status\":null");
    add_text_or_null(out, ",\"reason\":", e->reason);
    buf_add_z(out, "}\n");
}
