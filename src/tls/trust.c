#include "tls/tls_int.h"
#include "base/assert.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 20, PATH_BYTES = 4096 };

/* The store is made by whoever needs it first, not at start, and its certificates are parsed when a
 * chain names them (bundle.c). Directories are looked into by OpenSSL, by hash, whenever an issuer
 * is missing. */
struct tls_trust {
    atomic_uint refs;
    pthread_mutex_t lock; /* for the first use only */
    _Atomic(X509_STORE *) store;
    struct tls_bundle bundle; /* complete before the store is published */
    char *file, *dir;         /* in addition to the default; NULL: none */
    struct tls_route route;   /* in addition to all that */
    uint64_t id;
};

static int trust_index; /* of a store's extra data; set by tls_init, read only afterwards */

void tls_init(void)
{
    ASSERT(OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL));
    trust_index = X509_STORE_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ASSERT(trust_index >= 0);
    tls_bio_init();
}

/* The whole file. 0, or errno. */
int tls_read_file(const char *path, struct buf *ret_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    buf_init(ret_bytes, FILE_MAX);
    int failed = 0;
    for (;;) {
        char *p = buf_reserve(ret_bytes, 65536);
        if (!p) {
            failed = ENOMEM;
            break;
        }
        ssize_t n = read(fd, p, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            failed = errno;
        if (n <= 0)
            break;
        ret_bytes->n += (size_t)n;
    }
    (void)close(fd);
    if (failed)
        buf_fini(ret_bytes);
    return failed;
}

/* Whether the first certificate of a bundle can be read: the rest is parsed at first use. */
static bool has_certificate(const struct buf *bytes)
{
    BIO *b = BIO_new_mem_buf(bytes->p, (int)bytes->n);
    X509 *x = b ? PEM_read_bio_X509_AUX(b, NULL, NULL, NULL) : NULL;
    bool ok = x != NULL;
    X509_free(x);
    BIO_free(b);
    ERR_clear_error();
    return ok;
}

static void hash_z(EVP_MD_CTX *h, const char *what, const void *p, size_t n)
{
    /* with names and lengths, so that no two sets run together */
    uint64_t len = n;
    EVP_DigestUpdate(h, what, strlen(what) + 1);
    EVP_DigestUpdate(h, &len, sizeof(len));
    if (n)
        EVP_DigestUpdate(h, p, n);
}

/* A file or directory that is not read now: its place, size and time of change stand for its
 * content. */
static void hash_place(EVP_MD_CTX *h, const char *path)
{
    struct stat st;
    uint64_t v[4] = {0};
    if (stat(path, &st) == 0) {
        v[0] = (uint64_t)st.st_ino, v[1] = (uint64_t)st.st_size;
        v[2] = (uint64_t)st.st_mtim.tv_sec, v[3] = (uint64_t)st.st_mtim.tv_nsec;
    }
    hash_z(h, "path", path, strlen(path));
    hash_z(h, "stat", v, sizeof(v));
}

static enum err check_file(const char *path, EVP_MD_CTX *h, struct errctx *ctx)
{
    struct buf bytes;
    int failed = tls_read_file(path, &bytes);
    if (failed == ENOMEM)
        return err_set(ctx, ERR_NOMEM, "out of memory while reading SSL_CERT_FILE");
    if (failed)
        return err_set(ctx, ERR_INVALID, "SSL_CERT_FILE: cannot read %s: %s", path,
                       err_errno_text(failed));
    enum err e = ERR_OK;
    if (has_certificate(&bytes))
        hash_z(h, "file", bytes.p, bytes.n);
    else
        e = err_set(ctx, ERR_INVALID, "SSL_CERT_FILE: %s holds no PEM certificate", path);
    buf_fini(&bytes);
    return e;
}

/* A list of directories, separated by colons as OpenSSL has it. */
static enum err check_dirs(const char *list, EVP_MD_CTX *h, struct errctx *ctx)
{
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ":");
        char one[PATH_BYTES];
        if (n >= sizeof(one))
            return err_set(ctx, ERR_INVALID, "SSL_CERT_DIR: a path is too long");
        memcpy(one, at, n);
        one[n] = '\0';
        at += n + (at[n] == ':');
        if (!n)
            continue;
        DIR *d = opendir(one);
        if (!d)
            return err_set(ctx, ERR_INVALID, "SSL_CERT_DIR: cannot read %s: %s", one,
                           err_errno_text(errno));
        (void)closedir(d);
        hash_place(h, one);
    }
    return ERR_OK;
}

/* What a trust stands on, for its id: route files over another trust, or the places themselves. */
struct basis {
    const struct tls_trust *base;
    const struct tls_route_files *files;
};

static enum err hash_basis(struct tls_trust *t, const struct basis *b, EVP_MD_CTX *h,
                           struct errctx *ctx)
{
    if (b) {
        hash_z(h, "base", &b->base->id, sizeof(b->base->id));
        return tls_route_load(&t->route, b->files, h, ctx);
    }
    hash_place(h, X509_get_default_cert_file());
    hash_place(h, X509_get_default_cert_dir());
    enum err e = ERR_OK;
    if (t->file)
        e = check_file(t->file, h, ctx);
    if (!e && t->dir)
        e = check_dirs(t->dir, h, ctx);
    return e;
}

static enum err load_basis(struct tls_trust *t, const struct basis *b, struct errctx *ctx)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *h = EVP_MD_CTX_new();
    enum err e = ERR_OK;
    if (!h || !EVP_DigestInit_ex(h, EVP_sha256(), NULL))
        e = err_set(ctx, ERR_NOMEM, "out of memory");
    if (!e)
        e = hash_basis(t, b, h, ctx);
    if (!e && !EVP_DigestFinal_ex(h, sum, NULL))
        e = err_set(ctx, ERR_NOMEM, "out of memory");
    if (!e)
        memcpy(&t->id, sum, sizeof(t->id));
    EVP_MD_CTX_free(h);
    return e;
}

/* A copy, NULL for NULL and for the empty string. */
static bool copy_setting(const char *z, char **ret_copy)
{
    if (!z || !*z)
        return true;
    *ret_copy = mem_dup(z, strlen(z));
    return *ret_copy != NULL;
}

static enum err new_trust(const char *file, const char *dir, const struct basis *b,
                          struct tls_trust **ret_trust, struct errctx *ctx)
{
    struct tls_trust *t = mem_zalloc(sizeof(*t));
    if (!t)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    atomic_init(&t->refs, 1);
    pthread_mutex_init(&t->lock, NULL);
    enum err e;
    if (!copy_setting(file, &t->file) || !copy_setting(dir, &t->dir))
        e = err_set(ctx, ERR_NOMEM, "out of memory");
    else
        e = load_basis(t, b, ctx);
    if (e) {
        tls_trust_unref(t);
        return e;
    }
    *ret_trust = t;
    return ERR_OK;
}

enum err tls_trust_new(const char *cert_file, const char *cert_dir, struct tls_trust **ret_trust,
                       struct errctx *ctx)
{
    return new_trust(cert_file, cert_dir, NULL, ret_trust, ctx);
}

enum err tls_trust_route(struct tls_trust *base, const struct tls_route_files *files,
                         struct tls_trust **ret_trust, struct errctx *ctx)
{
    struct basis b = {.base = base, .files = files};
    return new_trust(base->file, base->dir, &b, ret_trust, ctx);
}

const struct tls_pair *tls_trust_pair(const struct tls_trust *t)
{
    return t->route.pair.cert ? &t->route.pair : NULL;
}

struct tls_trust *tls_trust_ref(struct tls_trust *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_trust_unref(struct tls_trust *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    X509_STORE_free(atomic_load(&t->store));
    tls_bundle_fini(&t->bundle);
    pthread_mutex_destroy(&t->lock);
    mem_free(t->file);
    mem_free(t->dir);
    tls_route_fini(&t->route);
    mem_free(t);
}

uint64_t tls_trust_id(const struct tls_trust *t)
{
    return t->id;
}

static void load_bundle(struct tls_bundle *b, const char *path)
{
    struct buf bytes;
    if (tls_read_file(path, &bytes) != 0)
        return;
    tls_bundle_add_pem(b, buf_str(&bytes));
    buf_fini(&bytes);
}

static void enter(const X509_STORE_CTX *verify, const X509_NAME *subject)
{
    X509_STORE *store = X509_STORE_CTX_get0_store(verify);
    struct tls_trust *t = X509_STORE_get_ex_data(store, trust_index);
    tls_bundle_enter(&t->bundle, subject, store);
}

/* OpenSSL's own look-ups, after what they may look for was put in. */
static int get_issuer(X509 **issuer, X509_STORE_CTX *verify, X509 *x)
{
    enter(verify, X509_get_issuer_name(x));
    return X509_STORE_CTX_get1_issuer(issuer, verify, x);
}

static STACK_OF(X509) * lookup_certs(X509_STORE_CTX *verify, const X509_NAME *subject)
{
    enter(verify, subject);
    return X509_STORE_CTX_get1_certs(verify, subject);
}

static X509_STORE *load(struct tls_trust *t)
{
    X509_STORE *s = X509_STORE_new();
    X509_LOOKUP *dirs = s ? X509_STORE_add_lookup(s, X509_LOOKUP_hash_dir()) : NULL;
    if (!dirs || !X509_STORE_set_ex_data(s, trust_index, t)) {
        X509_STORE_free(s);
        return NULL;
    }
    X509_STORE_set_get_issuer(s, get_issuer);
    X509_STORE_set_lookup_certs(s, lookup_certs);
    load_bundle(&t->bundle, X509_get_default_cert_file());
    if (t->file)
        load_bundle(&t->bundle, t->file);
    if (t->route.ca.n)
        tls_bundle_add_pem(&t->bundle, buf_str(&t->route.ca));
    (void)X509_LOOKUP_add_dir(dirs, X509_get_default_cert_dir(), X509_FILETYPE_PEM);
    if (t->dir)
        (void)X509_LOOKUP_add_dir(dirs, t->dir, X509_FILETYPE_PEM);
    ERR_clear_error();
    return s;
}

X509_STORE *tls_trust_store(struct tls_trust *t)
{
    X509_STORE *s = atomic_load_explicit(&t->store, memory_order_acquire);
    if (s)
        return s;
    pthread_mutex_lock(&t->lock);
    s = atomic_load_explicit(&t->store, memory_order_relaxed);
    if (!s) {
        s = load(t);
        atomic_store_explicit(&t->store, s, memory_order_release);
    }
    pthread_mutex_unlock(&t->lock);
    return s;
}
