/* What URLs of the configuration name: upstreams of credentials, gated hosts. Syntax only. Pure; any thread. */
#pragma once
#include "base/err.h"
#include "net/target.h"

/* host, or everything below a suffix; a port. */
struct host_pattern {
    bool below;           /* "*.suffix" */
    struct hostname host;
    uint16_t port;        /* 0: none given */
};
/* "host", "*.suffix", each with an optional port; no blocks, no `*`, no user information. ERR_INVALID with a sentence. */
enum err host_pattern_parse(struct str text, struct host_pattern *ret_pattern, struct errctx *ctx) MUST_CHECK;
void host_pattern_format(struct buf *out, const struct host_pattern *p); /* without port; IPv6 without brackets */

struct upstream {
    enum scheme scheme;
    struct host_pattern host; /* port: the scheme's default when none was given */
    struct str base_path;     /* slice of the input without trailing slashes; empty: none */
};
/* https://…, or http://… to a loopback host. ERR_INVALID with a sentence. */
enum err upstream_parse(struct str url, struct upstream *ret_upstream, struct errctx *ctx) MUST_CHECK;

/* An allow entry that is a URL with a path other than "/": scheme, authority and path (query and fragment are cut off). False: it is a
 * plain entry. */
struct allow_url {
    struct str scheme, authority, path;
    bool has_query; /* a ? or # ended the path: no entry has such a thing */
};
bool allow_url_split(struct str entry, struct allow_url *ret_url);
