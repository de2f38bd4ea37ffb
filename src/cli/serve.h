/* `nono proxy` from the parsed command line to the exit code: the only caller of the server. */
#pragma once
#include "cli/args.h"

/* What must stand before the first secret and the first thread. */
void serve_init(void);
/* Runs the gateway. `envp` is the process's own array: what is secret in it is wiped. */
int serve_proxy(const struct args *args, char **envp);
