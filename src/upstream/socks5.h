/* What a SOCKS5 server answers (RFC 1928, RFC 1929), sans I/O. Each takes the bytes of one answer
 * so far and says how many the whole needs, so that never a byte behind it is read. Pure; any
 * thread. */
#pragma once
#include "base/err.h"
#include "base/str.h"

enum { SOCKS5_REPLY_MAX = 4 + 1 + 255 + 2 };
enum socks5_method { SOCKS5_NO_AUTH = 0, SOCKS5_PASSWORD = 2, SOCKS5_NONE_FITS = 0xff };

/* All three: ERR_OK; ERR_AGAIN with *ret_need > in.n, the length to read up to before asking again;
 * ERR_PROXY_REFUSED with a reason in ctx (a clause such as "connection refused", to stand behind a
 * colon). */
/* The answer to the greeting. */
enum err socks5_parse_method(struct str in, size_t *ret_need, uint8_t *ret_method,
                             struct errctx *ctx) MUST_CHECK;
/* The answer to user and password. */
enum err socks5_parse_auth(struct str in, size_t *ret_need, struct errctx *ctx) MUST_CHECK;
/* The answer to CONNECT. *ret_code: the reply field, 0 (granted) or, with ERR_PROXY_REFUSED,
 * another if that was the reason. */
enum err socks5_parse_reply(struct str in, size_t *ret_need, uint8_t *ret_code,
                            struct errctx *ctx) MUST_CHECK;
