#include "config/builtin.h"

#define PROFILE(...)
#define NETWORK(...)
#define SERVICE(...)

static const struct builtin_profile profiles[] = {
#undef PROFILE
#define PROFILE(name, extends, network) {name, extends, network},
#include "config/builtin.def"
#undef PROFILE
#define PROFILE(...)
};

static const struct builtin_network networks[] = {
#undef NETWORK
#define NETWORK(name, ...) {name, (const char *const[]){__VA_ARGS__, NULL}},
#include "config/builtin.def"
#undef NETWORK
#define NETWORK(...)
};

static const struct builtin_service services[] = {
#undef SERVICE
#define SERVICE(name, upstream, header, format, key, env_var)                                      \
    {name, upstream, header, format, key, env_var},
#include "config/builtin.def"
#undef SERVICE
};

const struct builtin_profile *builtin_profile_at(size_t i)
{
    return i < ARRAY_LEN(profiles) ? &profiles[i] : NULL;
}

const struct builtin_network *builtin_network_at(size_t i)
{
    return i < ARRAY_LEN(networks) ? &networks[i] : NULL;
}

const struct builtin_service *builtin_service_at(size_t i)
{
    return i < ARRAY_LEN(services) ? &services[i] : NULL;
}

const struct builtin_profile *builtin_profile_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(profiles); i++)
        if (str_eq(str_from(profiles[i].name), name))
            return &profiles[i];
    return NULL;
}

const struct builtin_network *builtin_network_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(networks); i++)
        if (str_eq(str_from(networks[i].name), name))
            return &networks[i];
    return NULL;
}

const struct builtin_service *builtin_service_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        if (str_eq(str_from(services[i].name), name))
            return &services[i];
    return NULL;
}
