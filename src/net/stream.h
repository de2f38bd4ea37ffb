/* A stream of bytes: tcp, unix, memory, or TLS over any of these. Loop thread only.
 * Readiness is edge-like: after ERR_AGAIN the owner's on_ready is called when it is worth trying again. Whoever stops reading or
 * writing for another reason calls stream_again, because no event will come. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include "sys/sock.h"

struct stream;
struct loop;

/* Something changed: bytes may be readable, room to write, the peer ended (stream_fin), or an error is there to be read. The callee may
 * close the stream. */
typedef void stream_ready_fn(void *owner, struct stream *s);

struct stream_ops {
    enum err (*read)(struct stream *s, void *p, size_t cap, size_t *ret_n);
    enum err (*writev)(struct stream *s, const struct iovec *iov, int n, size_t *ret_n);
    enum err (*unread)(struct stream *s, struct str bytes);
    enum err (*shutdown)(struct stream *s);
    void (*close)(struct stream *s, bool reset);
    void (*again)(struct stream *s);
    bool (*fin)(const struct stream *s);
    void (*secret)(struct stream *s, bool on); /* NULL: it makes no copies */
    bool (*dry)(const struct stream *s); /* NULL: cannot tell */
    enum err (*splice_in)(struct stream *s, int pipe_w, size_t max, size_t *ret_n);  /* NULL: cannot */
    enum err (*splice_out)(struct stream *s, int pipe_r, size_t max, size_t *ret_n); /* NULL: cannot */
};

/* Implementations embed this first. */
struct stream {
    const struct stream_ops *ops;
    struct loop *loop;
    stream_ready_fn *on_ready; /* NULL: nobody listens */
    void *owner;
};

static inline void stream_own(struct stream *s, stream_ready_fn *fn, void *owner)
{
    s->on_ready = fn, s->owner = owner;
}
/* ERR_OK with *ret_n > 0; ERR_AGAIN; ERR_EOF (a clean end; for TLS: after close_notify); ERR_RESET and others: dead. A TLS stream that
 * ends without close_notify says ERR_UPSTREAM_ABORTED. */
static inline MUST_CHECK enum err stream_read(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    return s->ops->read(s, p, cap, ret_n);
}
/* ERR_OK with 0 < *ret_n <= sum of iov (short writes are normal); ERR_AGAIN; others: dead for writing. n <= 8. */
static inline MUST_CHECK enum err stream_writev(struct stream *s, const struct iovec *iov, int n, size_t *ret_n)
{
    return s->ops->writev(s, iov, n, ret_n);
}
/* The first piece that the next stream_writev is given holds a secret (until said otherwise): no copy of it stays behind. */
static inline void stream_secret(struct stream *s, bool on)
{
    if (s->ops->secret)
        s->ops->secret(s, on);
}
/* Put bytes back in front (copied; any length). on_ready follows. ERR_NOMEM. */
static inline MUST_CHECK enum err stream_unread(struct stream *s, struct str bytes)
{
    return s->ops->unread(s, bytes);
}
/* End our sending side after everything written (FIN; TLS: close_notify then FIN). ERR_AGAIN: call again when ready. */
static inline enum err stream_shutdown(struct stream *s)
{
    return s->ops->shutdown(s);
}
/* End both ways and free at the end of the turn; on_ready is not called any more. reset: tell a TCP peer by RST. */
static inline void stream_close(struct stream *s, bool reset)
{
    if (s)
        s->ops->close(s, reset);
}
/* Call on_ready again in the ready list. */
static inline void stream_again(struct stream *s)
{
    s->ops->again(s);
}
/* The peer ended its side or the connection died, though unread bytes may remain. */
static inline bool stream_fin(const struct stream *s)
{
    return s->ops->fin(s);
}
/* A read would say ERR_AGAIN for certain; false says nothing. For layers whose reading costs more than asking. */
static inline bool stream_dry(const struct stream *s)
{
    return s->ops->dry && s->ops->dry(s);
}
