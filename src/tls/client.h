/* TLS towards origins and upstream proxies (RFC 8446, RFC 5280, RFC 6125): always verified, SNI, ALPN http/1.1, session resumption. */
#pragma once
#include "net/hostname.h"
#include "net/stream.h"

struct tls_trust;  /* an immutable, counted certificate store, shared by workers */
struct tls_client; /* a worker's context over one trust set; keeps sessions per host and port */

/* OpenSSL's default store and, in addition, SSL_CERT_FILE / SSL_CERT_DIR (decision O7: an empty variable counts as unset, an unreadable
 * one is ERR_INVALID with a sentence naming the variable and the path). Certificates are parsed when a chain names them: this takes
 * a fraction of a millisecond. Any thread. */
enum err tls_trust_new(const char *cert_file, const char *cert_dir, struct tls_trust **ret_trust, struct errctx *ctx) MUST_CHECK;
/* `base`, and what one route says in addition (paths; NULL: nothing): certificates to trust, and a client certificate (its chain behind it)
 * with its key, PEM. Files are read now. ERR_INVALID with a sentence naming option and path. Connections made with different ones are never
 * shared: the id is a hash of their contents. With a client certificate no session is resumed, so that it is always presented. */
struct tls_route_files {
    const char *ca, *cert, *key;
};
enum err tls_trust_route(struct tls_trust *base, const struct tls_route_files *files, struct tls_trust **ret_trust, struct errctx *ctx)
    MUST_CHECK;
struct tls_trust *tls_trust_ref(struct tls_trust *t);
void tls_trust_unref(struct tls_trust *t);
/* Hash of what it trusts, for pool keys. */
uint64_t tls_trust_id(const struct tls_trust *t);
/* Library set-up, once from main before the first thread. */
void tls_init(void);

enum err tls_client_new(struct tls_trust *trust, struct tls_client **ret_client) MUST_CHECK;
struct tls_client *tls_client_ref(struct tls_client *c); /* for one who makes a stream later; given back by tls_client_free; NULL is NULL */
void tls_client_free(struct tls_client *c); /* streams made from it may outlive it (counted inside) */

/* The result of a handshake. ERR_OK: the peer is verified for the host, bytes may flow. Otherwise ERR_UPSTREAM_TLS with a sentence in
 * ctx ("certificate of HOST is not trusted: self-signed certificate", "… is for other names", "peer does not speak TLS"), or ERR_NOMEM;
 * the stream is dead then, and the callee closes it all the same. */
typedef void tls_done_fn(void *owner, struct stream *s, enum err e, const struct errctx *ctx);

/* A client stream over `under` (owned from now on, closed with it). The handshake starts in the ready list; `done` is called exactly
 * once unless the stream is closed first. After it the caller becomes the owner (stream_own). SNI is sent for names only; the
 * certificate is checked against name or IP address. scratch/scratch_size: the worker's, for coalescing writes (valid in one call). */
enum err tls_client_stream(struct tls_client *c, struct stream *under, const struct hostname *host, uint16_t port, char *scratch,
                           size_t scratch_size, tls_done_fn *done, void *owner, struct stream **ret_stream) MUST_CHECK;
/* Whether the handshake resumed a session (audit, tests). */
bool tls_stream_resumed(const struct stream *s);
