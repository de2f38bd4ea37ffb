/* What a route is compiled into, and how the routes of a target are found. Internal to policy/. */
#pragma once
#include "policy/decide.h"
#include "policy/endpoint.h"

struct route {
    struct route_view view;
    struct str rule_id;       /* "route:openai" */
    struct str remedy;        /* "use https://host[:port]" */
    struct str address;       /* where it is reachable: the end of that */
    struct hostname host;     /* of a wildcard: what stands behind "*." */
    bool wildcard, loopback;
    struct str base[2];       /* base path in both forms, empty: none */
    struct endpoint_policy endpoints;
    struct route *next, *last; /* chain of one host key; last: in its first alone */
    char port_key[2];
};

/* Routes that demand something of a host, the most specific hosts first. */
struct route_walk {
    const struct policy *policy;
    struct str rest; /* labels not yet looked at */
    const struct route *next;
};
void route_walk_init(struct route_walk *w, const struct policy *p, const struct hostname *host);
const struct route *route_walk_next(struct route_walk *w);
/* The first route to a loopback upstream with that port, or NULL. */
const struct route *route_on_loopback(const struct policy *p, uint16_t port);
void routes_fini(struct routes *r);

/* ---- judge.c: what routes say, between and after the host rules of decide.c; true when refused ---- */

/* The host has routes, and this is not the scheme and port of one (decision H11); or it is another name of a route's upstream. */
bool judge_place_refuses(const struct policy *p, const struct facts *f, struct decision *d);
/* An address that a name resolved to is the upstream of a route which would be dodged (case 29). */
bool judge_address_refuses(const struct policy *p, struct decision *d, const struct address *a);
/* Allowed by name: route, rules, credential. Sets verdict ALLOW or INTERCEPT when not refused. */
bool judge_request_refuses(const struct policy *p, const struct facts *f, struct decision *d);
