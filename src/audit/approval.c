#include "audit/approval.h"
#include "audit/member.h"

void approval_event_format(struct buf *out, const struct approval_event *e)
{
    buf_add_z(out, "{\"type\":\"approval\",\"timestamp_unix_ms\":");
    buf_add_u64(out, e->wall_ms);
    member_text(out, ",\"request_id\":", e->request_id);
    member_text(out, ",\"mode\":", str_from(e->mode));
    member_text(out, ",\"decision\":", str_from(e->decision));
    member_text(out, ",\"route_id\":", e->route_id);
    buf_add_z(out, ",\"endpoint_policy_action\":\"approve\"");
    member_text(out, ",\"endpoint_policy_rule\":", e->rule);
    member_text(out, ",\"approval_backend\":", e->backend);
    member_text(out, ",\"target\":", e->target);
    member_text(out, ",\"upstream\":", e->upstream);
    buf_add_z(out, ",\"port\":");
    if (e->port)
        buf_add_u64(out, e->port);
    else
        buf_add_z(out, "null");
    member_text_or_null(out, ",\"method\":", e->method);
    member_text_or_null(out, ",\"path\":", e->path);
    buf_add_z(out, ",\"status\":null");
    member_text_or_null(out, ",\"reason\":", e->reason);
    buf_add_z(out, "}\n");
}
