/* `nono why`. Main thread; returns the exit code. */
#pragma once
#include "cli/args.h"

int why_command(const struct args *args, char **envp);
