/* An upstream proxy as configured (decision O6). */
#pragma once
#include "base/err.h"
#include "base/secret.h"
#include "net/hostname.h"

enum hop_kind { HOP_HTTP, HOP_HTTPS, HOP_SOCKS5, HOP_SOCKS5H };
struct hop {
    enum hop_kind kind;
    struct hostname host;
    uint16_t port;
    struct secret *user;     /* NULL: no credentials */
    struct secret *password; /* with user; may be an empty secret */
};
/* "HOST:PORT" or URL with scheme http, https, socks5, socks5h and explicit port; user information percent-decoded; path none or "/".
 * ERR_INVALID with a sentence naming what is wrong and what to write; never repeats the user information. */
enum err hop_parse(struct str text, struct hop *ret_hop, struct errctx *ctx) MUST_CHECK;
void hop_fini(struct hop *h);
bool hop_resolves_names(const struct hop *h); /* http, https, socks5h */
/* "Proxy-Authorization: Basic …" as a complete line, for one that has a user. Room in `out` is reserved first and the pair is wiped:
 * growing would leave copies behind. `out` is the caller's to wipe. False: out of memory, or more than fits. */
bool hop_add_authorization(struct buf *out, const struct hop *h) MUST_CHECK;
/* "host:port" for audit and banner. */
void hop_format(struct buf *out, const struct hop *h);
