/* Hashes, by OpenSSL. Any thread. */
#pragma once
#include "base/err.h"
#include "base/str.h"

enum { HASH_SHA1_BYTES = 20 };

/* SHA-1 of a followed by b. ERR_NOMEM when the library has none to give. */
enum err hash_sha1(struct str a, struct str b, unsigned char ret_digest[HASH_SHA1_BYTES]) MUST_CHECK;
