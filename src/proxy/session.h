/* A session: one client connection. It reads heads, one exchange at a time (HTTP/2 will have a list of them), and closes properly. */
#pragma once
#include "proxy/exchange.h"
#include "proxy/worker.h"

/* OPEN: nothing came yet. HEAD: a head has begun. BUSY: an exchange runs. IDLE: between requests. LINGER: our side is shut down, what comes
 * is thrown away. CLOSED: freed at the end of the turn. (HANDSHAKE comes with TLS listeners and interception.) */
enum session_state { SESS_OPEN, SESS_HEAD, SESS_BUSY, SESS_IDLE, SESS_LINGER, SESS_CLOSED };

struct session {
    struct list node;          /* in worker->session_list */
    struct worker *worker;
    struct session *parent;    /* of a session inside an intercepted CONNECT */
    struct leg *leg;           /* NULL while a tunnel has the stream */
    struct exchange *exchange; /* h1: one at a time */
    struct timer timer;
    struct task task;          /* close list */
    struct list held_node;     /* in worker->waiting */
    uint64_t id;
    uint64_t opened_ns, opened_ms;
    uint64_t linger_until, linger_seen;
    struct address peer;       /* family 0: unix */
    uint32_t uid;              /* unix */
    uint8_t state;             /* enum session_state; changed by the setter alone */
    uint8_t listener;
    bool has_uid, client_fin, over_limit, close_after, held;
};

void session_start(struct worker *w, struct stream *s, const struct sock_addr *peer, unsigned listener, bool over_limit, int fd);
/* The exchange is finished. keep: the connection may serve another request; linger: close so that our answer is not lost. */
enum session_next { SESSION_KEEP, SESSION_LINGER, SESSION_CLOSE };
void session_exchange_done(struct session *s, enum session_next next);
/* Drain: close when idle, answers say close. */
void session_drain(struct session *s);
/* End now; a running exchange gets its record with `why`. */
void session_end(struct session *s, enum err why);
/* Held-back heads may go on (audit caught up), or must be refused (failing and fail-closed). */
void session_unhold(struct session *s);
