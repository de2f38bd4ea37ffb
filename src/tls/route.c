#include "tls/tls_int.h"
#include "base/mem.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

void tls_route_fini(struct tls_route *r)
{
    X509_free(r->pair.cert);
    sk_X509_pop_free(r->pair.chain, X509_free);
    EVP_PKEY_free(r->pair.key);
    buf_fini(&r->ca);
    *r = (struct tls_route){0};
}

static enum err read_named(const char *what, const char *path, struct buf *ret_bytes,
                           EVP_MD_CTX *hash, struct errctx *ctx)
{
    int failed = tls_read_file(path, ret_bytes);
    uint64_t n;
    if (failed == ENOMEM)
        return err_set(ctx, ERR_NOMEM, "out of memory while reading %s", what);
    if (failed)
        return err_set(ctx, ERR_INVALID, "%s: cannot read %s: %s", what, path,
                       err_errno_text(failed));
    n = ret_bytes->n;
    EVP_DigestUpdate(hash, what, strlen(what) + 1);
    EVP_DigestUpdate(hash, &n, sizeof(n));
    if (n)
        EVP_DigestUpdate(hash, ret_bytes->p, n);
    return ERR_OK;
}

static X509 *next_certificate(BIO *b)
{
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
    ERR_clear_error();
    return x;
}

static enum err no_certificate(const char *what, const char *path, struct errctx *ctx)
{
    return err_set(ctx, ERR_INVALID, "%s: %s holds no PEM certificate", what, path);
}

static enum err load_ca(struct tls_route *r, const char *path, EVP_MD_CTX *hash, struct errctx *ctx)
{
    enum err e = read_named("tls_ca", path, &r->ca, hash, ctx);
    if (e)
        return e;
    BIO *b = BIO_new_mem_buf(r->ca.p ? r->ca.p : "", (int)r->ca.n);
    X509 *first = b ? next_certificate(b) : NULL;
    BIO_free(b);
    if (!first)
        return no_certificate("tls_ca", path, ctx);
    X509_free(first);
    return ERR_OK;
}

static enum err load_cert(struct tls_pair *p, const char *path, EVP_MD_CTX *hash,
                          struct errctx *ctx)
{
    struct buf bytes;
    X509 *x;
    enum err e = read_named("tls_client_cert", path, &bytes, hash, ctx);
    if (e)
        return e;
    BIO *b = BIO_new_mem_buf(bytes.p ? bytes.p : "", (int)bytes.n);
    p->cert = b ? next_certificate(b) : NULL;
    p->chain = sk_X509_new_null();
    while (p->cert && p->chain && (x = next_certificate(b)))
        if (!sk_X509_push(p->chain, x)) {
            X509_free(x);
            e = ERR_NOMEM;
        }
    BIO_free(b);
    buf_fini(&bytes);
    if (!p->chain || e)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    return p->cert ? ERR_OK : no_certificate("tls_client_cert", path, ctx);
}

/* A key that asks for a password: nobody is there to answer. */
static int no_password(char *text, int size, int writing, void *arg)
{
    (void)text, (void)size, (void)writing, (void)arg;
    return -1;
}

static enum err load_key(struct tls_pair *p, const char *path, EVP_MD_CTX *hash, struct errctx *ctx)
{
    struct buf bytes;
    enum err e = read_named("tls_client_key", path, &bytes, hash, ctx);
    if (e)
        return e;
    BIO *b = BIO_new_mem_buf(bytes.p ? bytes.p : "", (int)bytes.n);
    p->key = b ? PEM_read_bio_PrivateKey(b, NULL, no_password, NULL) : NULL;
    BIO_free(b);
    ERR_clear_error();
    buf_wipe_fini(&bytes);
    if (!p->key)
        return err_set(ctx, ERR_INVALID,
                       "tls_client_key: %s holds no PEM private key that can be read without a "
                       "password",
                       path);
    return ERR_OK;
}

enum err tls_route_load(struct tls_route *r, const struct tls_route_files *files, EVP_MD_CTX *hash,
                        struct errctx *ctx)
{
    enum err e = ERR_OK;
    if (files->ca)
        e = load_ca(r, files->ca, hash, ctx);
    if (!e && files->cert)
        e = load_cert(&r->pair, files->cert, hash, ctx);
    if (!e && files->cert && files->key)
        e = load_key(&r->pair, files->key, hash, ctx);
    if (e || !files->cert)
        return e;
    if (!r->pair.key)
        return err_set(ctx, ERR_INVALID, "tls_client_cert is set but tls_client_key is missing");
    if (X509_check_private_key(r->pair.cert, r->pair.key) == 1)
        return ERR_OK;
    ERR_clear_error();
    return err_set(ctx, ERR_INVALID, "tls_client_key %s is not the key of tls_client_cert %s",
                   files->key, files->cert);
}
