#include "cli/env.h"
#include "base/mem.h"

/* The value when `entry` is NAME=…, else NULL. */
static char *value_of(char *entry, struct str name)
{
    struct str text = str_from(entry);
    bool is_it = str_starts(text, name) && text.n > name.n && entry[name.n] == '=';
    return is_it ? entry + name.n + 1 : NULL;
}

const char *env_get(char *const *envp, const char *name)
{
    for (; envp && *envp; envp++) {
        const char *value = value_of(*envp, str_from(name));
        if (value)
            return *value ? value : NULL;
    }
    return NULL;
}

void env_wipe(char **envp, const char *name)
{
    char **keep = envp;
    for (; envp && *envp; envp++) {
        char *value = value_of(*envp, str_from(name));
        if (value)
            mem_wipe(value, strlen(value));
        else
            *keep++ = *envp;
    }
    if (keep)
        *keep = NULL;
}
