/* Inside tls/ only: what trust, client, stream and bio know of each other. */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "net/front.h"
#include "sys/loop.h"
#include "tls/client.h"
#include <openssl/ssl.h>

/* --- trust.c --- */
/* The store, loaded by whoever asks first; borrowed. NULL when out of memory. Any thread. */
X509_STORE *tls_trust_store(struct tls_trust *t);
/* A route's client certificate, or NULL. */
const struct tls_pair *tls_trust_pair(const struct tls_trust *t);

/* --- route.c: what one route adds --- */
struct tls_pair {
    X509 *cert;
    STACK_OF(X509) *chain;
    EVP_PKEY *key;
};
struct tls_route {
    struct buf ca; /* PEM */
    struct tls_pair pair; /* cert NULL: none */
};
void tls_route_fini(struct tls_route *r);
/* Reads and checks the files; what is read goes into the hash. */
enum err tls_route_load(struct tls_route *r, const struct tls_route_files *files, EVP_MD_CTX *hash, struct errctx *ctx);
/* The whole file. 0, or errno. Born here: buf_fini after success. */
int tls_read_file(const char *path, struct buf *ret_bytes);

/* --- bundle.c: PEM certificates that enter a store when their name is asked for --- */
struct tls_bundle {
    struct tls_bundle_entry *v;
    size_t n, cap;
};
void tls_bundle_init(struct tls_bundle *b);
void tls_bundle_fini(struct tls_bundle *b);
void tls_bundle_add_pem(struct tls_bundle *b, struct str pem);
/* Put every certificate of that subject into the store. Any thread, once nothing is added any more.
 */
void tls_bundle_enter(struct tls_bundle *b, const X509_NAME *subject, X509_STORE *store);

/* --- session.c: sessions to resume, newest used first, one per key --- */
struct tls_sessions {
    struct map by_key;
    struct list order; /* newest first */
    unsigned n;
};
void tls_sessions_init(struct tls_sessions *s);
void tls_sessions_fini(struct tls_sessions *s);
/* Borrowed, or NULL; one that is too old is forgotten. */
SSL_SESSION *tls_sessions_get(struct tls_sessions *s, struct str key);
/* Takes the reference when it returns true. */
bool tls_sessions_put(struct tls_sessions *s, struct str key, SSL_SESSION *session) MUST_CHECK;
void tls_sessions_forget(struct tls_sessions *s, struct str key);

/* --- client.c --- */
struct tls_client {
    unsigned refs; /* the worker's and one per stream */
    struct tls_trust *trust;
    SSL_CTX *ctx;
    bool has_store;
    struct tls_sessions sessions;
};
void tls_client_unref(struct tls_client *c);
struct tls_stream;
/* A client SSL over t, for t->host, with a session to resume if there is one. NULL when out of
 * memory. */
SSL *tls_client_ssl(struct tls_client *c, struct tls_stream *t);

/* --- stream.c --- */
struct tls_stream {
    struct stream base;
    SSL *ssl;
    struct stream *under;
    struct tls_client *client;
    tls_done_fn *done; /* NULL once called */
    void *done_owner;
    char *scratch;
    size_t scratch_size;
    struct hostname host;
    uint16_t port;
    bool established, closed;
    bool secret;    /* what is written next begins with a secret */
    bool under_dry; /* when it was last read from, nothing more was below */
    /* why the task is queued: somebody asked, or a read stopped while more was there */
    bool asked, unread_rest;
    enum err read_err, write_err; /* sticky: how a direction died */
    enum err under_err;           /* what the stream below said when it failed */
    X509 *bad_cert;               /* what verification stumbled over, for the sentence */
    int bad_depth;                /* 0: the peer's own */
    struct task ready, free;
    struct front *front; /* put back by unread */
    struct buf out;      /* ciphertext that the stream below did not take: bytes [out_at, out.n) */
    size_t out_at;
    struct str key; /* session key, stored behind this struct */
};
static inline bool tls_stream_owes(const struct tls_stream *t)
{
    return t->out_at < t->out.n;
}
/* Hand waiting ciphertext down. ERR_OK (nothing is left), ERR_AGAIN, or the error of the direction.
 */
enum err tls_stream_flush(struct tls_stream *t);

/* --- bio.c --- */
/* A BIO over t->under. Writes always succeed: what the stream below does not take waits in t->out,
 * so that OpenSSL never holds a half written record for which the very same bytes would have to be
 * offered again. NULL when out of memory. */
BIO *tls_bio_new(struct tls_stream *t);
void tls_bio_init(void);

/* --- explain.c --- */
/* Why the handshake of t failed, from OpenSSL's error queue, the verify result and the stream
 * below. Returns the code set. */
enum err tls_explain(struct tls_stream *t, struct errctx *ctx);
