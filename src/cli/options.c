#include "cli/options.h"
#include "base/assert.h"
#include "config/config.h"

static const struct option_row rows[OPTION_COUNT_] = {
#define OPTION(id, long_name, short_name, value, env, fallback, flags, commands, group, help)      \
    [OPTION_##id] = {OPTION_##id, long_name, short_name, value, env,                               \
                     fallback,    flags,     commands,   group, help},
#include "cli/options.def"
};

static const struct option_alias aliases[] = {
#define ALIAS(id, name) {OPTION_##id, name},
#include "cli/options.def"
    {OPTION_NONE_, NULL},
};

static const struct option_alias legacy_env[] = {
#define LEGACY_ENV(id, name) {OPTION_##id, name},
#include "cli/options.def"
    {OPTION_NONE_, NULL},
};

static const struct command commands[COMMAND_COUNT_] = {
#define COMMAND(id, name, arguments, min, max, hidden, help, text)                                 \
    [COMMAND_##id] = {COMMAND_##id, name, arguments, min, max, hidden, help, text},
#include "cli/commands.def"
};

static const struct command_group {
    const char *name, *help;
} groups[] = {
    {"profile", "Check, print, compare and try profiles"},
};

const struct option_row *option_row(enum option_id id)
{
    ASSERT((unsigned)id < OPTION_COUNT_);
    return &rows[id];
}

const struct option_row *option_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (str_eq(name, str_from(rows[i].name)))
            return &rows[i];
    }
    for (const struct option_alias *a = aliases; a->name; a++) {
        if (str_eq(name, str_from(a->name)))
            return &rows[a->id];
    }
    return NULL;
}

const struct option_row *option_find_short(char c)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].short_name && rows[i].short_name[1] == c)
            return &rows[i];
    }
    return NULL;
}

const char *option_group_title(enum option_group g)
{
    static const char *const titles[GROUP_COUNT_] = {
        [GROUP_QUESTION] = "The question", [GROUP_ANSWER] = "The answer",
        [GROUP_CLIENTS] = "Clients",       [GROUP_POLICY] = "Where they may go",
        [GROUP_RUN] = "Running",           [GROUP_OUTPUT] = "Output",
    };
    return titles[g];
}

void option_default(struct buf *out, const struct option_row *row)
{
    if (row->id != OPTION_TIMEOUT) {
        buf_add_z(out, row->fallback ? row->fallback : "");
        return;
    }
    struct config c;
    config_init(&c);
    for (unsigned t = 0; t < TIMEOUT_COUNT_; t++) {
        buf_add_z(out, t ? "," : "");
        buf_add_z(out, timeout_name((enum timeout_name)t));
        buf_add_c(out, '=');
        buf_add_u64(out, c.timeout_ms[t] / 1000);
    }
    config_fini(&c);
}

const struct option_alias *option_aliases(void)
{
    return aliases;
}

const struct option_alias *option_legacy_env(void)
{
    return legacy_env;
}

const struct command *command_at(size_t i)
{
    return i < ARRAY_LEN(commands) ? &commands[i] : NULL;
}

const struct command *command_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (str_eq(name, str_from(commands[i].name)))
            return &commands[i];
    }
    return NULL;
}

const char *command_group_help(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (str_eq(name, str_from(groups[i].name)))
            return groups[i].help;
    }
    return NULL;
}

bool command_in_group(const struct command *c, struct str group)
{
    struct str name = str_from(c->name);
    return str_starts(name, group) && name.n > group.n && name.p[group.n] == ' ';
}

bool option_belongs(const struct option_row *row, const struct command *c)
{
    return row->commands & 1u << c->id;
}
