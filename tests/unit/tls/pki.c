#include "pki.h"
#include "base/assert.h"
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX v3;
    X509V3_set_ctx(&v3, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &v3, nid, value);
    ASSERT(e && X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
}

struct pki_cert pki_make(const struct pki_spec *spec)
{
    static long serial = 1000;
    struct pki_cert c = {X509_new(), EVP_EC_gen("P-256")};
    ASSERT(c.x && c.key);
    X509 *issuer = spec->issuer ? spec->issuer->x : c.x;
    long from = spec->from_s, to = spec->to_s;
    if (!from && !to)
        from = -3600, to = 86400;
    X509_set_version(c.x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c.x), from);
    X509_gmtime_adj(X509_getm_notAfter(c.x), to);
    X509_set_pubkey(c.x, c.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x), "CN", MBSTRING_ASC,
                               (const unsigned char *)spec->cn, -1, -1, 0);
    X509_set_issuer_name(c.x, X509_get_subject_name(issuer));
    extend(c.x, issuer, NID_basic_constraints, spec->ca ? "critical,CA:TRUE" : "CA:FALSE");
    extend(c.x, issuer, NID_subject_key_identifier, "hash");
    if (spec->issuer)
        extend(c.x, issuer, NID_authority_key_identifier, "keyid");
    if (spec->san)
        extend(c.x, issuer, NID_subject_alt_name, spec->san);
    ASSERT(X509_sign(c.x, spec->issuer ? spec->issuer->key : c.key, EVP_sha256()));
    return c;
}

void pki_free(struct pki_cert *c)
{
    X509_free(c->x);
    EVP_PKEY_free(c->key);
    memset(c, 0, sizeof(*c));
}

void pki_append(const char *path, const struct pki_cert *c)
{
    FILE *f = fopen(path, "a");
    ASSERT(f && PEM_write_X509(f, c->x));
    ASSERT(fclose(f) == 0);
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                       const unsigned char *in, unsigned in_n, void *owner)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl, (void)owner;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_n, ours, sizeof(ours) - 1,
                                 in, in_n) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

SSL_CTX *pki_server(const struct pki_cert *leaf, const struct pki_cert *chain)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    ASSERT(ctx && SSL_CTX_use_certificate(ctx, leaf->x) == 1 &&
           SSL_CTX_use_PrivateKey(ctx, leaf->key) == 1);
    if (chain)
        ASSERT(SSL_CTX_add1_chain_cert(ctx, chain->x) == 1);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    return ctx;
}
