#include "audit/lifecycle.h"
#include "base/encode.h"

static void add_text(struct buf *out, const char *key, struct str value)
{
    if (!value.n)
        return;
    buf_add_z(out, key);
    encode_json(out, value);
}

void lifecycle_format(struct buf *out, const char *event, uint64_t wall_ms, struct str version,
                      struct str config_hash, struct str reason, uint64_t count)
{
    buf_add_z(out, "{\"type\":\"lifecycle\",\"timestamp_unix_ms\":");
    buf_add_u64(out, wall_ms);
    add_text(out, ",\"event\":", str_from(event));
    add_text(out, ",\"version\":", version);
    add_text(out, ",\"config_hash\":", config_hash);
    add_text(out, ",\"reason\":", reason);
    if (count) {
        buf_add_z(out, ",\"count\":");
        buf_add_u64(out, count);
    }
    buf_add_z(out, "}\n");
}
