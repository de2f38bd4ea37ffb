/* A worker's idle upstream connections for requests: newest first, watched (FIN or a byte removes them), bounded, aged. A pooled
 * connection never implies permission: the taker judges its address again. Loop thread only. */
#pragma once
#include "http/leg.h"
#include "net/vetted.h"
#include "sys/loop.h"

struct pool;

/* An upstream connection that speaks HTTP/1.1. */
struct upconn {
    struct list node_, idle_;
    struct pool *pool_;
    struct leg *leg;          /* its events are the pool's while idle */
    struct vetted_addr peer;
    struct str key;           /* owned */
    uint64_t idle_since_;
    bool reused;              /* came out of the pool */
    bool never_share;         /* saw NTLM or Negotiate */
};

struct pool *pool_new(struct loop *loop) MUST_CHECK;
void pool_free(struct pool *p);
/* key: what distinguishes connections: scheme, target, chain, trust set, SNI. On NULL (out of memory) the leg stays the caller's. */
struct upconn *upconn_new(struct str key, struct leg *leg, const struct vetted_addr *peer) MUST_CHECK; /* copies key; owns leg */
void upconn_close(struct upconn *u); /* closes the leg; NULL allowed */
struct upconn *pool_take(struct pool *p, struct str key); /* newest idle one, or NULL; the caller owns it: leg_own */
/* Takes u over: kept when its message is complete both ways and the leg is reusable, else closed. */
void pool_give(struct pool *p, struct upconn *u);
size_t pool_idle(const struct pool *p);
