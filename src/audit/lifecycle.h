/* Records of the gateway's own life: {"type":"lifecycle","event":"start"|"reload"|"reload_failed"|"drain"|"stop"|"sink_failed",…}. */
#pragma once
#include "base/buf.h"

/* One NDJSON line. version and config_hash for start and reload; reason for reload_failed; count for sink_failed; absent when empty/0. */
void lifecycle_format(struct buf *out, const char *event, uint64_t wall_ms, struct str version, struct str config_hash, struct str reason,
                      uint64_t count);
