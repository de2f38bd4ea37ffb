#include "tls/hash.h"

#include <openssl/evp.h>

enum err hash_sha1(struct str a, struct str b, unsigned char ret_digest[HASH_SHA1_BYTES])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1 && EVP_DigestUpdate(ctx, a.p, a.n) == 1 &&
              EVP_DigestUpdate(ctx, b.p, b.n) == 1 && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;

    EVP_MD_CTX_free(ctx);
    if (!ok)
        return ERR_NOMEM;
    memcpy(ret_digest, digest, HASH_SHA1_BYTES);
    return ERR_OK;
}
