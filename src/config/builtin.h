/* The embedded tables of builtin.def. Static; any thread. */
#pragma once
#include "base/str.h"

struct builtin_profile {
    const char *name, *extends, *network_profile; /* empty: none */
};
struct builtin_network {
    const char *name;
    const char *const *groups; /* NULL at the end */
};
struct builtin_service {
    const char *name, *upstream, *header, *format, *key, *env_var; /* env_var empty: derived */
};
/* The i-th; NULL past the end. */
const struct builtin_profile *builtin_profile_at(size_t i);
const struct builtin_network *builtin_network_at(size_t i);
const struct builtin_service *builtin_service_at(size_t i);
/* By name; NULL: none. */
const struct builtin_profile *builtin_profile_find(struct str name);
const struct builtin_network *builtin_network_find(struct str name);
const struct builtin_service *builtin_service_find(struct str name);
