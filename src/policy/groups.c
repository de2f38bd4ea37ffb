#include "policy/policy.h"

struct group {
    const char *name;
    const char *const *members;
};

static const struct group groups[] = {
#define GROUP(name, ...) {name, (const char *const[]){__VA_ARGS__, NULL}},
#include "policy/groups.def"
#undef GROUP
};

const char *policy_group_name(size_t index)
{
    return index < ARRAY_LEN(groups) ? groups[index].name : NULL;
}

const char *const *policy_group_members(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (str_eq(str_from(groups[i].name), name))
            return groups[i].members;
    return NULL;
}
