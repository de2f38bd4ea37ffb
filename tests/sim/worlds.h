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
    SERVERS = 512,
    PORT_GATEWAY = 8080,
    PORT_HOP = 3128,
    PORT_ROUTE = 9000, /* of the first route's upstream, on loopback; the second's is the next */
    ROUTES = 2
};
#define TOKEN "world-token-0123456789abcdef"
#define SECRET_MARK "top-secret-" /* begins every secret of every world */

enum step_kind {
    STEP_GET,
    STEP_HEAD,
    STEP_POST,
    STEP_POST_CHUNKED,
    STEP_EXPECT,
    STEP_OLD,
    STEP_CONNECT,
    STEP_GARBAGE,
    STEP_HALF_HEAD
};
struct step {
    enum step_kind kind;
    unsigned tag;
    const char *name;
    int route; /* of a reverse request; -1: an absolute target or CONNECT */
    bool auth, with_next;
};
struct world;
struct browser {
    struct sim_peer peer;
    struct wire wire;
    struct world *world;
    struct step steps[STEPS];
    unsigned n_steps, sent, answered;
    bool interim, tunnel, lingers, owes_body, no_body, closing;
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
    bool echo, hop, answered, ends, no_body;
};
/* A route's secret: numbered versions. */
struct key {
    struct world *world;
    unsigned route, stored, least; /* at its source; the oldest that the upstream takes */
    bool missing;                  /* the source has none */
};
struct world {
    uint64_t seed;
    struct loop *loop, *control;
    struct shared shared;
    struct listen_point point;
    struct worker *worker;
    struct broker *broker;
    struct queue *told; /* the broker's records */
    struct runtime *runtime;
    int listener;
    struct browser clients[CLIENTS];
    unsigned n_clients;
    struct server *servers[SERVERS];
    unsigned n_servers, next_tag;
    unsigned heads_sent, connections, responses, records, relayed, tunnels, keyed, refused_keys, helper_runs;
    struct key keys[ROUTES];
    char (*ids)[24];
    bool calm; /* nothing goes wrong here: every request has to succeed */
    bool oom, ending, broken, verbose, no_auth; /* no_auth: a policy of this world asks for no credentials */
};

/* An invariant does not hold. */
void broken(struct world *w, const char *what, const char *detail);

/* --- what every tag means --- */
size_t tag_length(unsigned tag);
bool tag_matches(unsigned tag, size_t at, struct str bytes);
void write_text(struct sim_peer *p, const char *format, ...) PRINTF_LIKE(2, 3);
void write_tagged(struct sim_peer *p, unsigned tag, size_t from, size_t n);
void write_chunked(struct sim_peer *p, unsigned tag, size_t n);

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
bool key_taken(struct world *w, int route, struct str head);
/* No secret may be here. */
void key_absent(struct world *w, struct str bytes, const char *where);
