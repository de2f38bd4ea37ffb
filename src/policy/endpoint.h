/* Endpoint rules of one route (decisions E1, E4, E7), compiled: three lists and a default. Internal to policy/. */
#pragma once
#include "policy/glob.h"
#include "policy/path.h"
#include "policy/policy_int.h"
#include "policy/route.h"

struct endpoint_rule {
    struct str method, path, label, origin, backend, reason;
    struct str hint;     /* for E1; empty where the readings do not differ */
    struct glob *glob;
    uint64_t timeout_ms, weight;
    uint8_t action;      /* enum endpoint_action */
    bool whole;          /* the pattern begins with the base path itself (E7) */
};

/* A trie of path segments: what a literal begins with leads to the rules that can match. */
struct endpoint_trie {
    struct trie_node *nodes; /* 0 is the root */
    struct trie_edge *edges; /* hash of (node, segment) */
    struct trie_link *links; /* chains of rules; 0 ends one */
    uint32_t n_nodes, cap_nodes, n_edges, cap_edges, n_links, cap_links;
};

struct endpoint_list {
    struct endpoint_rule *rules;
    size_t n;
    struct endpoint_trie below, whole; /* judged by the path below the base; by the whole path */
};

struct endpoint_policy {
    struct endpoint_list lists[3]; /* by enum endpoint_action */
    enum endpoint_action fallback;
    struct str fallback_backend;
    uint64_t fallback_timeout_ms;
    enum glob_reading reading; /* of allow rules */
    bool explicit_policy;      /* endpoint_policy, not endpoint_rules */
    bool restricts;            /* does anything but allow everything */
};

/* A path in its two forms, whole and below a base (p NULL: not below it). */
struct endpoint_path {
    struct str whole[2], below[2];
};
enum { FORM_SEGMENTS, FORM_DECODED };

struct endpoint_verdict {
    enum endpoint_action action;
    const struct endpoint_rule *rule; /* NULL: the default */
    uint64_t weight;                  /* of the most specific allow or approve rule that matches */
};

/* base: segment form of the route's base path, or empty. ERR_INVALID with a sentence naming route, pattern, origin. */
enum err endpoint_compile(struct endpoint_policy *ep, struct pool *pool, const struct route_spec *spec, struct str base,
                          struct errctx *ctx) MUST_CHECK;
void endpoint_fini(struct endpoint_policy *ep);
void endpoint_judge(const struct endpoint_policy *ep, struct str method, const struct endpoint_path *path,
                    struct endpoint_verdict *ret_verdict);
/* What is to be written so that an allow rule matched this refused request (E1), or empty. */
struct str endpoint_hint(const struct endpoint_policy *ep, struct str method, const struct endpoint_path *path);
