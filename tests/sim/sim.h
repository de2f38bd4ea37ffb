/* The world below a simulation: time, chance, a network of memory, and actors at the far ends of it. Linked instead of sys/'s clock,
 * random, sock and driver, and of upstream/resolver.c. One world at a time, one thread, everything in the order that the seed says.
 *
 * Faults are those of a network, so that readiness stays as a kernel would report it: what is written arrives in pieces and late, a
 * window may be one byte wide, a connection is cut or falls silent after so many bytes. */
#pragma once
#include "net/address.h"
#include "net/hostname.h"
#include "sys/loop.h"

/* Chances are per thousand. All zero: a perfect network. */
struct sim_faults {
    unsigned split;        /* a connection delivers in random pieces */
    unsigned one_byte;     /* a connection delivers byte by byte (the first kilobytes) */
    unsigned small_window; /* a connection takes 1 to 200 bytes before it is full */
    unsigned cut;          /* a connection is reset after some bytes */
    unsigned stall;        /* a connection goes silent both ways after some bytes, for good */
    unsigned slow;         /* a piece is late: up to 3 s */
    unsigned accept_error; /* accept says EMFILE */
    unsigned spurious;     /* an event that tells nothing new */
};

/* --- the world --- */
void sim_begin(uint64_t seed, const struct sim_faults *faults);
/* After all loops are freed: forget everything. */
void sim_end(void);
uint64_t sim_now(void); /* monotonic ns */
void sim_jump_wall(int64_t ms); /* the wall clock jumps */
uint64_t sim_below(uint64_t n); /* random, 0 <= r < n */
bool sim_chance(unsigned per_mille);
/* A loop of this world. */
enum err sim_loop_new(struct loop **ret_loop) MUST_CHECK;
enum sim_ran { SIM_TIME_OVER, SIM_QUIET, SIM_SPINS };
/* Let at most `ns` pass. QUIET: nothing will ever happen any more (time went to its end); SPINS: too many turns without a wait. after:
 * called after every round of turns (invariants); may be NULL. */
enum sim_ran sim_run(uint64_t ns, void (*after)(void *owner), void *owner);
/* Leak counters: descriptors that the program has open, connections that exist. */
unsigned sim_open_descriptors(void);
unsigned sim_connections(void);
/* A number made of everything that happened: equal for equal seeds. */
uint64_t sim_digest(void);
void sim_note(const void *p, size_t n); /* goes into the digest */

/* --- things that happen later --- */
typedef void sim_fn(void *owner);
struct sim_event;
struct sim_event *sim_after(uint64_t ns, sim_fn *fn, void *owner);
void sim_forget(struct sim_event *e); /* one that has not happened yet */

/* --- actors: the other ends of the program's connections --- */
struct sim_end;
struct sim_peer {
    struct sim_end *end_;
    char *out_; /* written, not yet taken by the network */
    size_t out_n_, out_cap_;
    bool fin_after_out_;
    void *owner;
    bool paused;  /* takes no bytes (back-pressure) */
    /* Any may be NULL. on_open: connected (clients). on_end: the connection is over for this side: reset (errno) or closed by us. */
    void (*on_open)(struct sim_peer *p);
    void (*on_bytes)(struct sim_peer *p, const char *bytes, size_t n);
    void (*on_fin)(struct sim_peer *p);
    void (*on_reset)(struct sim_peer *p, int os_errno);
};
/* Connect to a socket on which the program listens. False: nobody does. */
bool sim_connect(struct sim_peer *p, const struct address *to, uint16_t port);
void sim_write(struct sim_peer *p, const void *bytes, size_t n); /* any amount: goes out as the window allows */
void sim_shutdown(struct sim_peer *p); /* FIN after what was written */
void sim_close(struct sim_peer *p);    /* gone; unread bytes make it a reset */
void sim_reset(struct sim_peer *p);
void sim_pause(struct sim_peer *p, bool paused);
bool sim_is_open(const struct sim_peer *p);

/* What the program finds where it connects to. */
enum sim_reach { SIM_REFUSES, SIM_ANSWERS, SIM_HOLE, SIM_UNREACHABLE };
/* Called for every connection attempt of the program. ANSWERS: *ret_peer is the server's side, alive until its connection is over. */
typedef enum sim_reach sim_dial_fn(void *owner, const struct address *to, uint16_t port, struct sim_peer **ret_peer);
void sim_on_dial(sim_dial_fn *fn, void *owner);

/* --- names --- */
struct sim_dns_reply {
    uint64_t delay_ms; /* 0: from inside the call, or soon; UINT64_MAX: never */
    enum err err;      /* ERR_DNS_FAILED, ERR_DNS_TIMEOUT */
    struct address v[32];
    unsigned n;
    uint32_t ttl_s;
};
typedef void sim_dns_fn(void *owner, const struct hostname *name, enum address_family family, struct sim_dns_reply *ret_reply);
void sim_on_dns(sim_dns_fn *fn, void *owner);
unsigned sim_open_questions(void);

/* --- helpers and files: missing until the world says otherwise --- */
struct sim_child_reply {
    uint64_t delay_ms; /* UINT64_MAX: it hangs */
    int status;        /* exit status */
    char out[512], err[128];
};
typedef void sim_child_fn(void *owner, char *const *argv, char *const *envp, struct sim_child_reply *ret_reply);
void sim_on_child(sim_child_fn *fn, void *owner);
unsigned sim_children(void); /* that run now */
/* What a file holds. False: it is missing. */
typedef bool sim_file_fn(void *owner, const char *path, char *ret_text, size_t size);
void sim_on_file(sim_file_fn *fn, void *owner);
void sim_file_changed(void); /* whoever watches a file notices within a second */
