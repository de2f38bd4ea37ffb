/* "Did you mean …?" Pure; any thread. */
#pragma once
#include "base/str.h"

/* The option (long name without dashes) that was probably meant, or NULL. */
struct command;
const char *suggest_option(struct str name, const struct command *c);
const char *suggest_command(struct str name);
/* The same among time limit names. */
const char *suggest_timeout(struct str name);
