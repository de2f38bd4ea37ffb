/* Options and environment of `nono proxy`, and those that other commands share with it, into a
 * configuration. Pure but for the secret it makes. */
#pragma once
#include "cli/args.h"
#include "config/config.h"

/* 0, or the exit code: 2 for a usage error, 1 for a configuration error; *error is then the
 * sentence. *ret_warnings: what old names are told (without the leading "  [nono] "). `ret_config`
 * is initialised here and to be given to config_fini in any case. */
int cli_proxy_parse(const struct args *args, char *const *envp, struct config *ret_config,
                    struct settings *ret_warnings, struct buf *error) MUST_CHECK;
/* Zero what is secret in arguments and environment: passwords, and an upstream proxy's where it has
 * user information. */
void cli_proxy_wipe(const struct args *args, char **envp);
