/* A scripted upstream proxy or origin on a loopback socket, in the test's own loop. */
#pragma once
#include "../tls/peer.h"
#include "net/hostname.h"
#include "sys/loop.h"

enum server_then { THEN_SILENT, THEN_CLOSE, THEN_ECHO, THEN_TLS };

struct server_step {
    const char *until; /* wait for these bytes at the end of what came; NULL: n bytes */
    size_t n;
    struct str reply;
};
struct server {
    struct loop *loop;
    int fd; /* listener */
    uint16_t port;
    SSL_CTX *outer, *inner; /* outer: TLS towards the proxy itself; inner: with THEN_TLS */
    const struct server_step *steps;
    unsigned n_steps;
    enum server_then then;
    bool dribble; /* replies go byte by byte */
    unsigned accepted;
    /* of the present connection */
    struct stream *s, *far, *near; /* far, near: carry the inner TLS through the outer */
    struct peer outer_peer, inner_peer;
    bool has_outer, has_inner, over;
    struct buf in, out, seen; /* seen: everything that ever came, until the next connection */
    unsigned step;
};

/* Listens at once; the caller sets the script afterwards. */
void server_open(struct server *v, struct loop *loop);
/* Do what can be done; after every turn of the loop. */
void server_turn(struct server *v);
void server_close(struct server *v);
