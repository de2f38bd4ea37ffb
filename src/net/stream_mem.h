/* Memory streams for tests: two ends joined by bounded buffers, and a wrapper that stutters. */
#pragma once
#include "net/stream.h"
#include "sys/loop.h"

/* Two joined ends; each direction holds at most `cap` bytes. */
enum err stream_mem_pair(struct loop *loop, size_t cap, struct stream **ret_a, struct stream **ret_b) MUST_CHECK;
/* Stutter: every read and write moves one byte, and every other call says ERR_AGAIN (on_ready follows). Owns `under`. */
enum err stream_stutter_new(struct stream *under, struct stream **ret_stream) MUST_CHECK;
