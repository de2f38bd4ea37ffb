/* The option table (options.def) as data. Pure; any thread. */
#pragma once
#include "base/buf.h"

enum { ARGUMENTS_ANY = 1000000 };
enum command_id {
#define COMMAND(id, ...) COMMAND_##id,
#include "cli/commands.def"
    COMMAND_COUNT_
};
/* Bits of the commands that an option belongs to. */
enum command_bit {
    IN_PROXY = 1u << COMMAND_PROXY,
    IN_WHY = 1u << COMMAND_WHY,
    IN_VALIDATE = 1u << COMMAND_VALIDATE,
    IN_SHOW = 1u << COMMAND_SHOW,
    IN_ALL = (1u << COMMAND_COUNT_) - 1,
};

enum option_id {
    OPTION_NONE_ = -1,
#define OPTION(id, ...) OPTION_##id,
#include "cli/options.def"
    OPTION_COUNT_
};

enum option_flag {
    OPT_GLOBAL = 1,
    OPT_MULTI = 2,
    OPT_COUNT = 4,
    OPT_SECRET = 8,
    OPT_PATH = 16,
    OPT_LIST = 32,
};

enum option_group {
    GROUP_QUESTION, GROUP_ANSWER, GROUP_CLIENTS, GROUP_POLICY, GROUP_RUN, GROUP_OUTPUT, GROUP_COUNT_
};

struct option_row {
    enum option_id id;
    const char *name;       /* without dashes */
    const char *short_name; /* "-v"; NULL: none */
    const char *value;      /* what the value is called; NULL: a flag */
    const char *env;        /* NULL: none */
    const char *fallback;   /* default as text; NULL: nothing to say */
    unsigned flags;
    unsigned commands;      /* of enum command_bit */
    enum option_group group;
    const char *help;
};
struct option_alias {
    enum option_id id;
    const char *name;
};

/* Row of an option (always there for ids below OPTION_COUNT_). */
const struct option_row *option_row(enum option_id id);
/* By long name without dashes, hidden aliases too; NULL when there is none. No prefixes. */
const struct option_row *option_find(struct str name);
const struct option_row *option_find_short(char c);
const char *option_group_title(enum option_group g);
/* The default as text ("" when there is none); time limits are read from the table of limits. */
void option_default(struct buf *out, const struct option_row *row);
/* Hidden old spellings and old variables in table order; end where id is OPTION_NONE_. */
const struct option_alias *option_aliases(void);
const struct option_alias *option_legacy_env(void);

/* A subcommand (commands.def). */
struct command {
    enum command_id id;
    const char *name;      /* "proxy", "profile show" */
    const char *arguments; /* for usage lines; "" */
    unsigned min_arguments, max_arguments;
    bool hidden;
    const char *help;
    const char *text;      /* NULL: nothing more to say */
};
const struct command *command_at(size_t i); /* NULL past the end */
const struct command *command_find(struct str name);
/* The line of help of a group such as "profile"; NULL: there is no such group. */
const char *command_group_help(struct str name);
/* Whether the command's name has two words and begins with that group. */
bool command_in_group(const struct command *c, struct str group);
bool option_belongs(const struct option_row *row, const struct command *c);
