/* Inside upstream/: asking an upstream proxy for a tunnel is a short exchange on the stream, then
 * the same stream. Loop thread only. */
#pragma once
#include "base/buf.h"
#include "config/hop.h"
#include "net/stream.h"
#include "net/vetted.h"

struct chain_target {
    const struct hop *hop; /* outlives the chain */
    const struct hostname *host;
    uint16_t port;
    const struct address *address; /* socks5: what is asked for instead of the name; else NULL */
};

/* HTTP CONNECT (RFC 9110 section 9.3.6). What is sent holds the proxy's credentials and is wiped.
 */
struct chain_http;
enum err chain_http_new(const struct chain_target *to, struct chain_http **ret_chain) MUST_CHECK;
/* Go on as far as the stream lets. ERR_OK: the tunnel stands, bytes that came behind the answer are
 * put back. ERR_AGAIN: when ready. ERR_PROXY_REFUSED with a sentence, ERR_NOMEM. */
enum err chain_http_step(struct chain_http *c, struct stream *s, struct errctx *ctx) MUST_CHECK;
void chain_http_free(struct chain_http *c);

/* SOCKS5 (RFC 1928, 1929). The same. */
struct chain_socks;
enum err chain_socks_new(const struct chain_target *to, struct chain_socks **ret_chain) MUST_CHECK;
enum err chain_socks_step(struct chain_socks *c, struct stream *s, struct errctx *ctx) MUST_CHECK;
/* After a refusal: it concerned the address asked for, another one may do. */
bool chain_socks_may_retry(const struct chain_socks *c);
void chain_socks_free(struct chain_socks *c);

/* --- what both share (chain.c) --- */
/* Write out[*at..] as far as it goes; everything written is wiped. ERR_OK: all is out. */
enum err chain_send(struct stream *s, struct buf *out, size_t *at) MUST_CHECK;
/* "HOST:PORT" of the hop and of the target, for sentences. */
struct chain_names {
    char hop[300], target[300];
};
void chain_names_set(struct chain_names *names, const struct chain_target *to);
/* What is said when the stream below ends or dies. */
enum err chain_lost(const struct chain_names *names, enum err why, struct errctx *ctx);
