/* An exchange: one request and what becomes of it; a tunnel is an exchange that stays long. exchange.c shows, top to bottom, the stages of
 * docs/architecture.md section 1 in their order. */
#pragma once
#include "audit/record.h"
#include "base/arena.h"
#include "credential/vault.h"
#include "http/hop.h"
#include "http/leg.h"
#include "net/pump.h"
#include "policy/decide.h"
#include "policy/identify.h"
#include "proxy/worker.h"

struct session;

enum exchange_state {
    EXCH_JUDGE, EXCH_RESOLVE, EXCH_HOLD, EXCH_CREDENTIAL, EXCH_CONNECT, EXCH_SEND, EXCH_RELAY, EXCH_TUNNEL, EXCH_REPLY, EXCH_DONE
};

/* What is only needed until a tunnel stands: lives in the arena and goes with it. */
struct request {
    struct http_head head;    /* the client's, copied */
    struct facts facts;
    struct decision decision;
    struct identity identity;
    unsigned n_addrs;
    struct str key;           /* pool key; p NULL: not poolable */
    enum upgrade upgrade;
    struct fields trailers;   /* of a request whose end came before it could be sent */
    char *replay;             /* body bytes sent so far, while they all fit in a chunk; NULL: none kept */
    uint32_t replay_n, replay_at; /* kept; sent again so far */
    bool replay_lost;         /* more was sent than is kept: the request cannot be sent again */
    char accept[29];          /* Sec-WebSocket-Accept that the 101 must carry */
    struct str body;          /* of an answer of our own */
    uint32_t retry_after_s;   /* of a 429 */
    const struct credential *credential; /* goes in; NULL: none does */
    struct question question; /* what its source is asked; set with the material */
    struct vault_wait *vault_wait;
    struct material *material; /* the version in use */
    size_t secret_at;         /* credential/inject.h */
    struct http_head held_head; /* a 401 that waits for a newer version */
    bool held, held_end, held_dead, held_done; /* it waits; its end came; its connection died meanwhile; it is the answer */
    bool held_empty;          /* its end came as that of a body, which is empty or was read away */
    bool reading_away;        /* the request is sent once more when its body is gone */
    size_t read_away;         /* bytes of it */
    struct errctx err;        /* why it failed */
    struct vetted_addr addrs[LIMIT_DNS_ADDRESSES]; /* last, and not zeroed: n_addrs of them are there */
};

struct exchange {
    struct session *session;
    struct worker *worker;
    struct runtime *runtime;  /* pinned */
    struct arena arena;
    struct request *request;  /* NULL in a tunnel */
    struct leg *client;       /* the session's leg; NULL in a tunnel */
    struct upconn *up;
    struct dns_query *query;
    struct connector *connector;
    struct approval_wait *approval;
    struct pump *pump;
    struct stream *tunnel;    /* the upstream's stream until the pump has it */
    struct timer timer;
    uint64_t bytes_seen;      /* of both bodies at the last look, and when they last grew */
    uint64_t progress_ns;
    struct record record;
    uint64_t wait_since;      /* ns; 0: not waiting for the upstream's side */
    struct task task;         /* flush soon; then the close list */
    uint8_t state;            /* enum exchange_state; changed by the setter alone */
    bool request_done;        /* the client's message is complete */
    bool response_started;    /* a head (final) went to the client */
    bool response_done;       /* its end was handed to the client's leg */
    bool reply_close;         /* the connection ends after our answer */
    bool up_dead;             /* the upstream takes no more bytes */
    bool up_full, client_full; /* that side did not take all it was offered */
    bool retried;             /* a reused connection died before it answered: sent again on a fresh one */
    bool renewed;             /* sent again with a newer version after a 401 */
    bool hold_over;           /* the rate limit has counted it, and whoever had to be asked has granted it */
    bool close_client;        /* the answer says Connection: close */
    bool record_out;
    bool awaiting_100;        /* the client waits for its 100 and has sent no body yet */
    bool watch_soon;          /* the answer has begun: progress is watched from the end of this turn on */
    bool doomed;              /* a reload denied it; ends after the drain timeout */
};

/* A complete head came. The slices of head live until this returns. */
void exchange_start(struct session *s, struct leg *client, const struct http_head *head, bool end, enum err head_err);
/* An exchange that starts in REPLY: a head that is malformed or late, or a connection over the limit. err holds the sentence. */
void exchange_start_refused(struct session *s, struct leg *client, const struct errctx *err);
/* End at once: record with `why`, both sides reset. */
void exchange_abort(struct exchange *x, enum err why);
/* Decide again after a reload: tunnels that the new policy denies end at once, others after the drain timeout. */
void exchange_rejudge(struct exchange *x, struct runtime *runtime);
/* The drain timeout is over: what a reload denied ends, with a 403 if nothing of an answer went out. */
void exchange_end_doomed(struct exchange *x);
