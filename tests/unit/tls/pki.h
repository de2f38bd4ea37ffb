/* Certificates made on the spot, for tests of everything that speaks TLS. */
#pragma once
#include <openssl/ssl.h>

struct pki_cert {
    X509 *x;
    EVP_PKEY *key;
};
struct pki_spec {
    const char *cn;
    const char *san;               /* "DNS:a.test,IP:127.0.0.1"; NULL: none */
    long from_s, to_s;             /* validity, relative to now; 0, 0: an hour back and a day on */
    const struct pki_cert *issuer; /* NULL: self-signed */
    int ca;
};
struct pki_cert pki_make(const struct pki_spec *spec);
void pki_free(struct pki_cert *c);
/* Append as PEM to a file; made when missing. */
void pki_append(const char *path, const struct pki_cert *c);
/* A server context with that certificate (and, unless NULL, one more of the chain), ALPN http/1.1.
 */
SSL_CTX *pki_server(const struct pki_cert *leaf, const struct pki_cert *chain);
