/* What the files of policy/ share. */
#pragma once
#include "base/map.h"
#include "net/hostname.h"
#include "policy/policy.h"

/* ---- entry.c: the text of an entry ---- */

enum pattern_kind {
    PATTERN_NAME, /* exactly host */
    PATTERN_BELOW, /* one or more labels below host */
    PATTERN_ANY, /* `*` */
    PATTERN_BLOCK, /* address or CIDR block */
};
enum { SCHEME_BIT_HTTP = 1, SCHEME_BIT_HTTPS = 2, SCHEME_BITS_ALL = 3 };

struct pattern {
    enum pattern_kind kind;
    struct hostname host; /* NAME, BELOW */
    struct cidr block;    /* BLOCK */
    uint16_t port;        /* 0: any */
    uint8_t schemes;      /* SCHEME_BIT_* */
};
/* ERR_INVALID with a sentence that names entry and origin. */
enum err pattern_parse(struct str text, enum rule_list list, struct str origin,
                       struct pattern *ret_pattern, struct errctx *ctx) MUST_CHECK;
/* Canonical text, as it stands in rule ids. */
void pattern_format(struct buf *out, const struct pattern *pattern);

/* ---- rules.c: the sets that entries are compiled into ---- */

struct rule {
    struct str key;    /* host text, suffix, or the bytes of a block */
    struct str id;     /* "allow:*.example.org:443" */
    struct str origin; /* interned by the policy */
    uint32_t hash;
    uint16_t port; /* 0: any */
    uint8_t schemes;
    bool by_group; /* a group's member is not "explicit" (decision H5) */
    bool derived;  /* put there for a route: not an entry of the host's own (decision E6) */
};

/* Hash from (key, port) to rule. */
struct rule_table {
    struct rule **slots;
    size_t n, cap;
    bool has_ports;
};

/* Path-compressed bit trie: which blocks hold an address. Node 0 is nobody. */
struct block_trie {
    struct block_node *nodes;
    uint32_t n, cap;
    uint32_t root;
};

struct rule_set {
    struct rule_table names, below, blocks; /* `*` is the empty suffix in `below` */
    struct block_trie v4, v6;
    size_t n;
};

/* Bump allocation, freed as a whole: rules live as long as their policy. */
struct pool {
    struct pool_block *blocks;
    size_t left;
};
void *pool_alloc(struct pool *p, size_t n) MUST_CHECK;
struct str pool_str(struct pool *p, struct str s) MUST_CHECK; /* with NUL; p NULL: no memory */
void pool_fini(struct pool *p);

/* Which rules count: those of exactly this port, those of every port, or both (exact ones first). */
enum { SCOPE_PORT = 1, SCOPE_ANY = 2, SCOPE_BOTH = 3 };
struct query {
    uint16_t port;
    uint8_t schemes; /* those the request may have */
    uint8_t scopes;
    bool explicit_only;
};

/* A rule with that key and port that is there already keeps its id and origin: the first counts. */
enum err rule_set_add(struct rule_set *set, struct pool *pool, const struct pattern *pattern,
                      const struct rule *model) MUST_CHECK;
void rule_set_fini(struct rule_set *set);
/* Most specific match: exact name, longest suffix, `*`; for an address the longest block, then `*`.
 * NULL: none. */
const struct rule *rule_set_host(const struct rule_set *set, const struct hostname *host,
                                 const struct query *q);
/* Only by an entry of exactly that name. */
const struct rule *rule_set_exact(const struct rule_set *set, const struct hostname *name,
                                  const struct query *q);
/* Only by IP and CIDR entries. */
const struct rule *rule_set_address(const struct rule_set *set, const struct address *a,
                                    const struct query *q);
/* Whether `*` without a port is in the set. */
bool rule_set_has_any(const struct rule_set *set);

/* Only by an entry that names exactly this host, name or address; by one for all that is below it. */
const struct rule *rule_set_own(const struct rule_set *set, const struct hostname *host,
                                const struct query *q);
const struct rule *rule_set_below(const struct rule_set *set, const struct hostname *suffix,
                                  const struct query *q);

/* ---- route.c ---- */

/* Found by prefix and by host; those of one host are chained. */
struct routes {
    struct route **v;
    size_t n, cap;
    struct map prefixes, hosts, suffixes;
    struct map loopbacks; /* port to a route with a loopback upstream */
};

/* ---- policy.c ---- */

struct policy {
    struct rule_set sets[3]; /* by enum rule_list */
    struct pool pool;
    struct map origins; /* text to itself: each origin is kept once */
    struct routes routes;
    bool strict, chain, names_there;
};

/* ---- decide.c ---- */

struct decision;
struct cause {
    struct str rule, origin, remedy;
};
/* Makes *d a refusal; always true. */
bool decision_refuse(struct decision *d, enum err refusal, const struct cause *cause,
                     const char *format, ...) PRINTF_LIKE(4, 5);

/* ---- floor.c: what no configuration allows (decision H5) ---- */

bool floor_name(const struct hostname *host);
/* METADATA and LINK_LOCAL; CLOUD is refused too, but can be unlocked. */
bool floor_kind(enum address_kind kind);
/* Whether an entry names or covers something that stays refused whatever it says. */
bool floor_covers(const struct pattern *pattern);
