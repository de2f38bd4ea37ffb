/* Request targets (RFC 9112 section 3.2) into scheme, canonical host, port, path. Syntax only. Pure; any thread. */
#pragma once
#include "net/hostname.h"

enum scheme { SCHEME_HTTP = 1, SCHEME_HTTPS };
uint16_t scheme_port(enum scheme s); /* 80, 443 */
struct str scheme_name(enum scheme s);

/* "host:port", "[v6]:port": CONNECT, with a port; 400 for anything else (user information, port 0, a path, no port). */
enum err target_parse_authority(struct str text, struct hostname *ret_host, uint16_t *ret_port, struct errctx *ctx) MUST_CHECK;

/* A Host field value or the like: host with an optional port (*ret_port 0: none given). Empty is 400. */
enum err target_parse_host(struct str text, struct hostname *ret_host, uint16_t *ret_port, struct errctx *ctx) MUST_CHECK;

struct target_uri {
    enum scheme scheme;
    struct hostname host;
    uint16_t port;      /* the scheme's default when none is given */
    struct str origin;  /* slice of the input from the path on, query included; empty when the URI ends at the authority */
};
/* "http://host[:port][/path][?query]", scheme in any case. 400: other schemes, user information, fragment, port 0 or bad, bad host. */
enum err target_parse_uri(struct str text, struct target_uri *ret_uri, struct errctx *ctx) MUST_CHECK;

/* Nothing behind the authority but perhaps a slash. */
bool target_is_origin(const struct target_uri *uri);

/* As a Host field has it: the port only where it is not the scheme's, brackets round IPv6. */
void target_format_host(struct buf *out, enum scheme s, const struct hostname *h, uint16_t port);
/* Absolute form: scheme, host and port as above, then `origin` (path and query; may be empty). */
void target_format_uri(struct buf *out, enum scheme s, const struct hostname *h, uint16_t port, struct str origin);

/* Every byte of a path with query may be sent (decision C6): no controls, SP, DEL, '#'. */
bool target_path_ok(struct str path);
/* Split "/a/b?c=d" at the first '?': *ret_query without it, p NULL when there is none. */
void target_split_query(struct str origin, struct str *ret_path, struct str *ret_query);
