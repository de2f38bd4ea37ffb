/* The environment as an array of NAME=VALUE, so that tests bring their own. */
#pragma once
#include "base/str.h"

/* NULL when unset or empty: an empty variable counts as unset. */
const char *env_get(char *const *envp, const char *name);
/* Zero the value where it stands and take the variable (every copy of it) out of the array. */
void env_wipe(char **envp, const char *name);
