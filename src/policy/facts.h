/* All that policy may look at. A request shape is a front that fills this. */
#pragma once
#include "net/hostname.h"
#include "net/target.h"

enum shape {
    SHAPE_CONNECT, /* CONNECT authority */
    SHAPE_FORWARD, /* absolute-form */
    SHAPE_REVERSE, /* origin-form whose prefix is a route's (policy_route_by_prefix); the target is the route's */
    SHAPE_LOCAL,   /* origin-form or asterisk-form to the gateway itself */
};

struct client; /* policy/identify.h */

struct facts {
    enum shape shape;
    struct hostname host; /* CONNECT, FORWARD */
    uint16_t port;
    enum scheme scheme;   /* FORWARD; CONNECT: SCHEME_HTTPS for port 443, else SCHEME_HTTP (informative) */
    struct str method;
    struct str path;      /* without query; empty for CONNECT; REVERSE: below the prefix, from its slash on ("/" when nothing is) */
    struct str query;     /* p NULL: none */
    struct str prefix;    /* first path segment of an origin-form request */
    bool websocket;       /* asks for a WebSocket upgrade */
    unsigned listener;    /* index of the listener it came in by */
    const struct client *client; /* who is asking; NULL: nobody identified */
    uint64_t now_ms;      /* wall clock */
    char *scratch;        /* for paths too long for the stack: 2 * (path + base path) + 4 bytes; NULL: such paths are 414 where rules
                             must judge them. Valid within the call; nothing in the decision points there */
    size_t scratch_size;
};
