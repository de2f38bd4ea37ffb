#include "tls/client.h"
#include "tls/tls_int.h"
#include "base/assert.h"
#include "base/mem.h"
#include "sys/clock.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>

enum {
    /* One receive then serves several records; freed while a connection is idle. */
    READ_AHEAD_BYTES = 65536,
};

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_stream *t = SSL_get_app_data(ssl);
    return tls_sessions_put(&t->client->sessions, t->key, session);
}

/* Decides nothing; remembers the certificate that failed, which OpenSSL forgets. */
static int on_verify(int ok, X509_STORE_CTX *verify)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(verify, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_stream *t = ok ? NULL : SSL_get_app_data(ssl);
    X509 *bad = t ? X509_STORE_CTX_get_current_cert(verify) : NULL;
    if (bad && !t->bad_cert && X509_up_ref(bad)) {
        t->bad_cert = bad;
        t->bad_depth = X509_STORE_CTX_get_error_depth(verify);
    }
    return ok;
}

static bool ctx_configure(SSL_CTX *ctx)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD_BYTES);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    /* Names are those of the SAN alone (RFC 6125); what the operator put into the store is
     * trusted whether it is a root or not. */
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
           X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) &&
           SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) == 0;
}

/* A resumed session would not present it again. */
static bool ctx_use_pair(SSL_CTX *ctx, const struct tls_pair *pair)
{
    if (!pair)
        return true;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return SSL_CTX_use_certificate(ctx, pair->cert) == 1 &&
           SSL_CTX_use_PrivateKey(ctx, pair->key) == 1 &&
           (!pair->chain || SSL_CTX_set1_chain(ctx, pair->chain) == 1);
}

enum err tls_client_new(struct tls_trust *trust, struct tls_client **ret_client)
{
    struct tls_client *c = mem_zalloc(sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    c->refs = 1;
    c->trust = tls_trust_ref(trust);
    tls_sessions_init(&c->sessions);
    c->ctx = SSL_CTX_new(TLS_client_method());
    if (!c->ctx || !ctx_configure(c->ctx) || !ctx_use_pair(c->ctx, tls_trust_pair(trust))) {
        ERR_clear_error();
        tls_client_unref(c);
        return ERR_NOMEM;
    }
    *ret_client = c;
    return ERR_OK;
}

void tls_client_unref(struct tls_client *c)
{
    ASSERT(c->refs > 0);
    if (--c->refs)
        return;
    tls_sessions_fini(&c->sessions);
    SSL_CTX_free(c->ctx);
    tls_trust_unref(c->trust);
    mem_free(c);
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
    if (c)
        c->refs++;
    return c;
}

void tls_client_free(struct tls_client *c)
{
    if (c)
        tls_client_unref(c);
}

static bool attach_store(struct tls_client *c)
{
    if (c->has_store)
        return true;
    X509_STORE *store = tls_trust_store(c->trust);
    if (!store)
        return false;
    SSL_CTX_set1_cert_store(c->ctx, store);
    c->has_store = true;
    return true;
}

static bool ssl_identity(SSL *ssl, const struct hostname *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_time(param, (time_t)(clock_wall_ms() / 1000));
    if (host->is_address)
        return X509_VERIFY_PARAM_set1_ip(param, host->address.bytes,
                                         host->address.family == ADDRESS_V4 ? 4 : 16);
    return X509_VERIFY_PARAM_set1_host(param, host->text, host->n) &&
           SSL_set_tlsext_host_name(ssl, host->text);
}

SSL *tls_client_ssl(struct tls_client *c, struct tls_stream *t)
{
    if (!attach_store(c))
        return NULL;
    SSL *ssl = SSL_new(c->ctx);
    BIO *bio = ssl ? tls_bio_new(t) : NULL;
    if (!bio || !ssl_identity(ssl, &t->host)) {
        BIO_free(bio);
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, t);
    SSL_set_connect_state(ssl);
    SSL_SESSION *session = tls_sessions_get(&c->sessions, t->key);
    if (session)
        (void)SSL_set_session(ssl, session); /* without it the handshake is only longer */
    return ssl;
}
