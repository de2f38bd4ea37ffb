/* What the parts of the seeded worlds share: actors and the world they are in. */
#pragma once
#include "config/runtime.h"
#include "credential/broker.h"
#include "proxy/worker.h"
#include "sim_int.h"
#include "wire.h"

enum {
    STEPS = 6,
    CLIENTS = 24,
    TAGS = 2 * (CLIENTS * STEPS + 2),
    SERVERS = 512,
    WORKERS = 2,
    RELOADS = 3,
    POLICIES = 6,
    POLICY_LESSER = 5, /* one name and one route less, another secret for the first route */
    PORT_GATEWAY = 8080,
    PORT_HOP = 3128,
    PORT_HOOK = 9100,
    PORT_ROUTE = 9000 /* of the first route's upstream, on loopback; the others' are the next */
};
/* The routes of worlds.jsonc. */
enum { ROUTE_FILED, ROUTE_HELPED, ROUTE_RATED, ROUTE_ASKED, ROUTES };
/* Where their secrets come from: one source each, and what the lesser policy has for the first. */
enum { SOURCE_OTHER = ROUTES, SOURCES };
#define TOKEN "world-token-0123456789abcdef"
#define SECRET_MARK "top-secret-" /* begins every secret of every world */

enum step_kind {
    STEP_GET,
    STEP_HEAD,
    STEP_POST,
    STEP_POST_CHUNKED,
    STEP_EXPECT,
    STEP_OLD,
    STEP_OLD_KEEP,
    STEP_SOCKET,
    STEP_CONNECT,
    STEP_GARBAGE,
    STEP_HALF_HEAD
};
struct step {
    enum step_kind kind;
    unsigned tag;
    const char *name;
    int route; /* of a reverse request; -1: an absolute target or CONNECT */
    bool auth, with_next, closes; /* closes: asks for Connection: close */
};
/* What became of a request, by its tag. */
struct sent {
    const struct step *step;
    struct browser *by;
    uint64_t at;          /* ns; 0: not yet */
    uint64_t reached;     /* its origin, first */
    uint64_t granted;     /* whoever had to be asked said yes in time */
    uint64_t retry_after; /* s, of a 429 */
    unsigned asked;
    bool upgraded; /* its origin accepted the WebSocket */
};
struct world;
struct browser {
    struct sim_peer peer;
    struct wire wire;
    struct world *world;
    struct step steps[STEPS];
    unsigned n_steps, sent, answered;
    bool interim, tunnel, lingers, owes_body, no_body, closing, half_closes;
    uint64_t left; /* ns; 0: it has not gone before its time */
    unsigned tag; /* of the response being read; 0: not an origin's */
    size_t got, tunnel_len;
};
enum server_mode {
    SERVE_WELL,
    SERVE_EARLY,
    SERVE_SHORT,
    SERVE_RESET,
    SERVE_CLOSE,
    SERVE_SILENT,
    SERVE_GARBAGE,
    SERVE_MODES,
    SERVE_401
};
struct server {
    struct sim_peer peer;
    struct wire wire;
    struct world *world;
    enum server_mode mode;
    int route; /* whose upstream this is; -1: anybody's */
    unsigned tag;
    size_t got, want;
    bool echo, hop, answered, ends, no_body, socket;
};
/* A secret: numbered versions. */
struct key {
    struct world *world;
    unsigned source, stored, least; /* at its source; the oldest that the upstream takes */
    bool missing;                  /* the source has none */
};
/* A policy and when it was in force, on any worker. */
struct era {
    unsigned policy, n_left; /* workers that have an older one */
    uint64_t from, until;
};
/* A request that was counted against the rate limit, or refused by it. */
struct counted {
    uint64_t ms; /* since the world's beginning */
    unsigned tag;
    bool refused;
};
struct hook;
struct world {
    uint64_t seed;
    struct loop *loops[WORKERS], *control;
    struct shared shared;
    struct listen_point point;
    struct worker *workers[WORKERS];
    unsigned n_workers;
    struct broker *broker;
    struct queue *told; /* the broker's records */
    struct runtime *runtime;
    struct era eras[RELOADS + 1];
    unsigned n_eras;
    int listener;
    struct browser clients[CLIENTS];
    unsigned n_clients;
    struct server *servers[SERVERS];
    unsigned n_servers, next_tag;
    unsigned heads_sent, connections, responses, records, relayed, tunnels, keyed, refused_keys, helper_runs;
    struct key keys[SOURCES];
    struct sent sent[TAGS];
    struct hook *hooks; /* all that were asked */
    struct counted *counted;
    unsigned n_counted, asked, granted, upgrades, cuts, limited;
    char (*ids)[24];
    bool calm; /* nothing goes wrong here: every request has to succeed */
    bool oom, ending, broken, verbose, no_auth; /* no_auth: a policy of this world asks for no credentials */
    bool jumps, placed; /* the wall clock jumps; connections are placed by the server's own rule */
};

/* An invariant does not hold. */
void broken(struct world *w, const char *what, const char *detail);

/* --- what every tag means --- */
size_t tag_length(unsigned tag);
bool tag_matches(unsigned tag, size_t at, struct str bytes);
void write_text(struct sim_peer *p, const char *format, ...) PRINTF_LIKE(2, 3);
void write_tagged(struct sim_peer *p, unsigned tag, size_t from, size_t n);
void write_chunked(struct sim_peer *p, unsigned tag, size_t n);

/* --- worlds_gate.c: the gateway of a world --- */
extern struct runtime *world_policies[POLICIES];
bool gate_start(struct world *w, struct writer *writer);
void gate_reload(void *world); /* to a policy drawn */
void gate_check_empty(struct world *w, const char *when);
void gate_end(struct world *w);
void gate_read_records(struct world *w);
/* Let time pass. */
void gate_run(struct world *w, uint64_t seconds, const char *when);

/* --- worlds_law.c: what policies say, told without the gateway's code --- */
bool law_allows(unsigned policy, const struct step *s);
/* A policy that was in force since this request was sent allows it. */
bool law_allowed(const struct world *w, unsigned tag);
/* The newest policy denies it, and has done so for a while. */
bool law_denies_now(const struct world *w, const struct step *s);
/* A policy that was in force since then takes this route's secret from there. */
bool law_has_source(const struct world *w, unsigned tag, unsigned source);
/* The newest policy holds on all workers: what it denies is cut. */
void law_cuts(struct world *w);

/* --- worlds_rate.c --- */
void rate_record(struct world *w, struct str line); /* of an exchange */
void rate_check(struct world *w);                   /* at the end */

/* --- worlds_ask.c: who is asked for approval --- */
struct sim_peer *ask_dialled(struct world *w);
void ask_reached(struct world *w, unsigned tag, struct str head); /* an upstream got this */
void ask_check(struct world *w, bool whole); /* at the end; whole: the world had all its time */
void ask_leave(struct world *w);
void ask_forget(struct world *w);
/* Whether a request of the route needs a grant, and where it goes: by its tag. */
enum ask_kind { ASK_FREE, ASK_NEVER, ASK_NEEDED };
enum ask_kind ask_kind(const struct step *s, bool calm);
extern const char *const ask_prefixes[];

/* --- worlds_socket.c: WebSocket handshakes --- */
const char *socket_key(unsigned tag);
const char *socket_accept(struct str key); /* NULL: unknown */

/* --- worlds_origin.c --- */
extern const char *const world_names[16]; /* the first six always answer */
enum sim_reach origin_dialled(void *owner, const struct address *to, uint16_t port, struct sim_peer **ret_peer);
void origin_asked(void *owner, const struct hostname *name, enum address_family family, struct sim_dns_reply *r);

/* --- worlds_client.c --- */
void plan_client(struct world *w, struct browser *c);
extern unsigned all_statuses[600]; /* of all answers of all worlds: shows what they try */

/* --- worlds_key.c --- */
void keys_begin(struct world *w); /* the secrets of a world and when they change */
/* A request came to the upstream of a route. True: it takes the secret in it. */
bool key_taken(struct world *w, int route, unsigned tag, struct str head);
/* No secret may be here. */
void key_absent(struct world *w, struct str bytes, const char *where);
