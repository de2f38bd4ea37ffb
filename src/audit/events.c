#include "audit/events.h"
#include "audit/member.h"
#include "base/encode.h"

static void add_number(struct buf *out, const char *key, uint64_t value)
{
    buf_add_z(out, key);
    buf_add_u64(out, value);
}

static void add_list(struct buf *out, const char *key, const struct str *v, size_t n)
{
    if (!n)
        return;
    buf_add_z(out, key);
    for (size_t i = 0; i < n; i++) {
        buf_add_c(out, i ? ',' : '[');
        encode_json(out, v[i]);
    }
    buf_add_c(out, ']');
}

void credential_event_format(struct buf *out, const struct credential_event *e)
{
    add_number(out, "{\"type\":\"credential\",\"timestamp_unix_ms\":", e->wall_ms);
    member_text(out, ",\"event\":", str_from(e->event));
    member_text(out, ",\"credential_id\":", e->id);
    if (e->version)
        add_number(out, ",\"credential_version\":", e->version);
    member_text(out, ",\"source\":", str_from(e->source));
    member_text(out, ",\"reason\":", e->reason);
    buf_add_z(out, "}\n");
}

static void add_run(struct buf *out, const struct capture_event *e)
{
    member_text(out, ",\"credential_capture_action\":", str_from(e->action));
    member_text(out, ",\"credential_capture_name\":", e->name);
    member_text(out, ",\"credential_capture_command\":", e->command);
    add_list(out, ",\"credential_capture_argv\":", e->argv, e->n_argv);
    if (e->has_exit_status)
        buf_printf(out, ",\"credential_capture_exit_status\":%d", e->exit_status);
    add_number(out, ",\"credential_capture_duration_ms\":", e->duration_ms);
    add_number(out, ",\"credential_capture_stdout_bytes\":", e->stdout_bytes);
    member_text(out, ",\"credential_capture_stderr\":", e->stderr_text);
    member_text(out, ",\"credential_capture_cache_scope\":", e->cache_scope);
    member_text(out, ",\"credential_capture_output_format\":", str_from(e->output_format));
    add_list(out, ",\"credential_capture_header_names\":", e->header_names, e->n_header_names);
    member_text(out, ",\"credential_capture_stdin_mode\":", str_from(e->stdin_mode));
    buf_add_z(out, ",\"credential_capture_interactive\":");
    buf_add_z(out, e->interactive ? "true" : "false");
    if (!e->has_urls)
        return;
    add_number(out, ",\"credential_capture_urls_opened\":", e->urls_opened);
    add_number(out, ",\"credential_capture_urls_refused\":", e->urls_refused);
}

void capture_event_format(struct buf *out, const struct capture_event *e)
{
    bool captured = str_eq(str_from(e->action), STR("captured"));
    add_number(out, "{\"type\":\"capture\",\"timestamp_unix_ms\":", e->wall_ms);
    member_text(out, ",\"decision\":", captured ? STR("allow") : STR("deny"));
    member_text(out, ",\"route_id\":", e->route_id);
    if (!captured)
        member_text(out, ",\"denial_category\":", STR("managed_credential_unavailable"));
    member_text(out, ",\"credential_id\":", e->credential_id);
    add_run(out, e);
    member_text(out, ",\"target\":", e->target);
    buf_add_z(out, ",\"port\":null");
    member_text_or_null(out, ",\"method\":", e->method);
    member_text_or_null(out, ",\"path\":", e->path);
    buf_add_z(out, ",\"status\":null");
    member_text_or_null(out, ",\"reason\":", e->reason);
    buf_add_z(out, "}\n");
}
