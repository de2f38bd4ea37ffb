/* Texts made from the option table. Pure; any thread. */
#pragma once
#include "cli/options.h"

/* `nono --help`: commands and global options. */
void help_main(struct buf *out);
/* `nono COMMAND --help`. */
void help_command(struct buf *out, const struct command *command);
/* `nono profile`: the subcommands of a group. */
void help_group(struct buf *out, struct str group);
void help_version(struct buf *out);
/* The manual page in troff (docs/nono.1). */
void help_man(struct buf *out);
/* A completion script for bash, zsh or fish. False for another shell. */
bool help_completion(struct buf *out, struct str shell) MUST_CHECK;
