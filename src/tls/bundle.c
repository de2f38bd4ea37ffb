#include "tls/tls_int.h"
#include "base/mem.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdatomic.h>

/* Parsing a certificate takes OpenSSL 3.0 some 250 us, a system's bundle 40 ms, and two or three of
 * its certificates are ever needed. So only subjects are read here; a certificate enters the store
 * when a verification asks for its name. */
struct tls_bundle_entry {
    X509_NAME *subject;
    unsigned char *der;
    long n;
    bool aux; /* with OpenSSL's own trust settings behind it */
    atomic_bool loaded;
};

void tls_bundle_init(struct tls_bundle *b)
{
    *b = (struct tls_bundle){0};
}

void tls_bundle_fini(struct tls_bundle *b)
{
    for (size_t i = 0; i < b->n; i++) {
        X509_NAME_free(b->v[i].subject);
        OPENSSL_free(b->v[i].der);
    }
    mem_free(b->v);
    tls_bundle_init(b);
}

/* Step over (or, with `into`, behind the header of) one element. False: not DER. */
static bool step(const unsigned char **p, const unsigned char *end, bool into)
{
    long n;
    int tag, class;
    int r = ASN1_get_object(p, &n, &tag, &class, end - *p);
    if ((r & 0x80) || (r & 1)) /* an error, or an indefinite length */
        return false;
    if (!into)
        *p += n;
    return *p <= end;
}

/* The subject of a certificate without parsing the rest of it. */
static X509_NAME *subject_of(const unsigned char *der, long n)
{
    const unsigned char *p = der, *end = der + n;
    if (!step(&p, end, true) || !step(&p, end, true) || p >= end)
        return NULL;
    if (*p == 0xa0 && !step(&p, end, false)) /* version */
        return NULL;
    for (int i = 0; i < 4; i++) { /* serial, signature, issuer, validity */
        if (!step(&p, end, false))
            return NULL;
    }
    return d2i_X509_NAME(NULL, &p, end - p);
}

static bool add(struct tls_bundle *b, unsigned char *der, long n, bool aux)
{
    X509_NAME *subject = subject_of(der, n);
    if (!subject)
        return false;
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        struct tls_bundle_entry *v = mem_realloc(b->v, cap * sizeof(*v));
        if (!v) {
            X509_NAME_free(subject);
            return false;
        }
        b->v = v, b->cap = cap;
    }
    struct tls_bundle_entry *e = &b->v[b->n++];
    e->subject = subject, e->der = der, e->n = n, e->aux = aux;
    atomic_init(&e->loaded, false);
    return true;
}

void tls_bundle_add_pem(struct tls_bundle *b, struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    size_t left = pem.n + 1;
    while (bio && BIO_pending(bio) > 0 && (size_t)BIO_pending(bio) < left) {
        char *name = NULL, *header = NULL;
        unsigned char *der = NULL;
        long n = 0;
        left = (size_t)BIO_pending(bio);
        if (PEM_read_bio(bio, &name, &header, &der, &n) != 1)
            continue; /* a broken block is nobody's certificate; no block at all ends it */
        bool aux = strcmp(name, PEM_STRING_X509_TRUSTED) == 0;
        bool is =
            aux || strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0;
        if (!is || !add(b, der, n, aux))
            OPENSSL_free(der);
        OPENSSL_free(name);
        OPENSSL_free(header);
    }
    BIO_free(bio);
    ERR_clear_error();
}

static void enter(struct tls_bundle_entry *e, X509_STORE *store)
{
    const unsigned char *p = e->der;
    X509 *x = e->aux ? d2i_X509_AUX(NULL, &p, e->n) : d2i_X509(NULL, &p, e->n);
    if (x)
        (void)X509_STORE_add_cert(store, x); /* one that is there already is no error */
    else
        ERR_clear_error();
    X509_free(x);
    atomic_store_explicit(&e->loaded, true, memory_order_release);
}

void tls_bundle_enter(struct tls_bundle *b, const X509_NAME *subject, X509_STORE *store)
{
    for (size_t i = 0; i < b->n; i++) {
        struct tls_bundle_entry *e = &b->v[i];
        if (X509_NAME_cmp(e->subject, subject) == 0 &&
            !atomic_load_explicit(&e->loaded, memory_order_acquire))
            enter(e, store);
    }
}
