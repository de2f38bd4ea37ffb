/* What profile_apply.c and service.c share: values of a tree copied into a config. */
#pragma once
#include "config/profile_int.h"

struct take {
    struct config *config;
    bool no_memory; /* sticky */
};
struct str take_text(struct take *t, struct str s); /* p NULL stays p NULL */
struct str take_member(struct take *t, const struct json *object, const char *key);
struct str take_origin(struct take *t, const struct place *at);
void *take_memory(struct take *t, size_t n); /* zeroed; never NULL for n 0 but out of memory */
/* A member in seconds; false: it is not there. */
bool take_seconds(const struct json *object, const char *key, uint64_t *ret_ms);
void take_rules(struct take *t, const struct json *list, struct endpoint_confs *ret_rules);
void take_policy(struct take *t, const struct json *policy,
                 struct endpoint_policy_conf *ret_policy);
/* custom_credentials (NULL: none) and the built-in services that none of them shadows. */
void take_services(struct take *t, const struct json *custom);
