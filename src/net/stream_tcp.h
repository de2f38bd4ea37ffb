/* TCP and unix stream sockets on a loop. */
#pragma once
#include "net/stream.h"
#include "sys/loop.h"

/* Take over a connected descriptor (closed with the stream; closed here on failure). */
enum err stream_tcp_new(struct loop *loop, int fd, struct stream **ret_stream) MUST_CHECK NONNULL(1, 3);
/* The descriptor of such a stream, or -1 for any other kind. */
int stream_tcp_fd(const struct stream *s) NONNULL(1);
/* How many such streams are open on this thread's loops together (leak counter; atomic). */
size_t stream_tcp_open_count(void);
