/* `nono open-url-helper URL…`: asks the gateway that runs this credential helper to open URLs. Returns the exit code. Main thread. */
#pragma once
#include "cli/args.h"

int open_url_command(const struct args *args, char **envp);
