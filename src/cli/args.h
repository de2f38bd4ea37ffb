/* The command line cut into options and words. Values are not judged here, but for being there and
 * being UTF-8. Pure. */
#pragma once
#include "cli/options.h"

struct arg {
    const struct option_row *row;
    struct str spelling; /* "--allow-proxy", "-s": as typed, without the value */
    char *value;         /* inside argv; NULL: a flag */
};

struct args {
    struct arg *v;
    size_t n;
    const struct command *command; /* NULL: none was given */
    struct str group;              /* "profile" before its second word came; p NULL: none */
    const char **words;            /* the command's own arguments */
    size_t n_words;
    bool help, version;            /* asked for; nothing behind it was looked at */
};

/* The rules of section 1.1: `--opt value`, `--opt=value`, clusters of short options, a value in its
 * own argument does not begin with
 * '-' (a lone '-' does), nothing but MULTI and COUNT options twice, no positionals but a command's
 * own and as many as it takes, global options anywhere. False: *error is a sentence that names the option and the remedy;
 * `ret` is still to be given to args_fini. */
bool args_parse(int argc, char **argv, struct args *ret, struct buf *error) MUST_CHECK;
void args_fini(struct args *a);
/* How often an option was given; the first one, or NULL. */
unsigned args_count(const struct args *a, enum option_id id);
const struct arg *args_first(const struct args *a, enum option_id id);
