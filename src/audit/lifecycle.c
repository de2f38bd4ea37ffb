#include "audit/lifecycle.h"
#include "audit/member.h"

void lifecycle_format(struct buf *out, const char *event, uint64_t wall_ms, struct str version,
                      struct str config_hash, struct str reason, uint64_t count)
{
    buf_add_z(out, "{\"type\":\"lifecycle\",\"timestamp_unix_ms\":");
    buf_add_u64(out, wall_ms);
    member_text(out, ",\"event\":", str_from(event));
    member_text(out, ",\"version\":", version);
    member_text(out, ",\"config_hash\":", config_hash);
    member_text(out, ",\"reason\":", reason);
    if (count) {
        buf_add_z(out, ",\"count\":");
        buf_add_u64(out, count);
    }
    buf_add_z(out, "}\n");
}
