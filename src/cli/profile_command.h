/* `nono profile …`: each returns the exit code. Main thread. */
#pragma once
#include "cli/args.h"

int profile_validate(const struct args *args, char **envp);
int profile_show(const struct args *args, char **envp);
int profile_list(const struct args *args, char **envp);
int profile_init(const struct args *args, char **envp);
int profile_schema(const struct args *args, char **envp);
int profile_diff(const struct args *args, char **envp);
int profile_test(const struct args *args, char **envp);
