#include "cli/help.h"

static void each_option(struct buf *out, const char *before, const char *after)
{
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        buf_printf(out, "%s--%s%s", before, row->name, after);
        if (row->short_name)
            buf_printf(out, "%s%s%s", before, row->short_name, after);
    }
}

static void each_command(struct buf *out)
{
    for (size_t i = 0; command_at(i); i++) {
        if (!command_at(i)->hidden)
            buf_printf(out, " %s", command_at(i)->name);
    }
}

/* The fixed words of an option's value, or NULL. */
static const char *choices(const struct option_row *row)
{
    return row->id == OPTION_OUTPUT || row->id == OPTION_LOG_FORMAT ? "text json" : NULL;
}

static void bash(struct buf *out)
{
    buf_add_z(out, "# bash completion for nono\n"
                   "_nono() {\n"
                   "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                   "    case $prev in\n");
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        if (!row->value)
            continue;
        buf_printf(out, "    --%s) ", row->name);
        if (choices(row))
            buf_printf(out, "COMPREPLY=($(compgen -W '%s' -- \"$cur\"))", choices(row));
        else
            buf_add_z(out, row->flags & OPT_PATH ? "COMPREPLY=($(compgen -f -- \"$cur\"))"
                                                 : "COMPREPLY=()");
        buf_add_z(out, "; return ;;\n");
    }
    buf_add_z(out, "    esac\n    if [[ $COMP_CWORD -eq 1 && $cur != -* ]]; then\n"
                   "        COMPREPLY=($(compgen -W '");
    each_command(out);
    buf_add_z(out, "' -- \"$cur\"))\n    else\n        COMPREPLY=($(compgen -W '");
    each_option(out, " ", "");
    buf_add_z(out, "' -- \"$cur\"))\n    fi\n}\ncomplete -F _nono nono\n");
}

/* Text inside single quotes for zsh's _arguments and fish: quotes, brackets and colons would mean
 * something. */
static void add_description(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text != '\'' && *text != '[' && *text != ']' && *text != '\\')
            buf_add_c(out, *text == ':' ? ';' : *text);
    }
}

static void zsh_option(struct buf *out, const struct option_row *row, const char *name)
{
    bool repeats = row->flags & (OPT_MULTI | OPT_COUNT);
    buf_printf(out, "    '%s%s%s[", repeats ? "*" : "", name,
               row->value && name[1] == '-' ? "=" : "");
    add_description(out, row->help);
    buf_add_c(out, ']');
    if (row->value)
        buf_printf(out, ":%s:%s%s%s", row->value, choices(row) ? "(" : "",
                   choices(row)            ? choices(row)
                   : row->flags & OPT_PATH ? "_files"
                                           : " ",
                   choices(row) ? ")" : "");
    buf_add_z(out, "' \\\n");
}

static void zsh(struct buf *out)
{
    buf_add_z(out, "#compdef nono\n_arguments \\\n    '1:command:(");
    each_command(out);
    buf_add_z(out, ")' \\\n");
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        struct buf name;
        buf_init(&name, 64);
        buf_printf(&name, "--%s", row->name);
        buf_add_c(&name, 0);
        if (buf_ok(&name))
            zsh_option(out, row, name.p);
        if (row->short_name)
            zsh_option(out, row, row->short_name);
        buf_fini(&name);
    }
    buf_add_z(out, "    '*: :'\n");
}

static void fish(struct buf *out)
{
    buf_add_z(out, "# fish completion for nono\ncomplete -c nono -f\n");
    for (size_t i = 0; command_at(i); i++) {
        if (!command_at(i)->hidden)
            buf_printf(out, "complete -c nono -n __fish_use_subcommand -a %s -d '%s'\n",
                       command_at(i)->name, command_at(i)->help);
    }
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        buf_printf(out, "complete -c nono -l %s", row->name);
        if (row->short_name)
            buf_printf(out, " -s %s", row->short_name + 1);
        if (row->value)
            buf_add_z(out, row->flags & OPT_PATH ? " -r -F" : " -x");
        if (choices(row))
            buf_printf(out, " -a '%s'", choices(row));
        buf_add_z(out, " -d '");
        add_description(out, row->help);
        buf_add_z(out, "'\n");
    }
}

bool help_completion(struct buf *out, struct str shell)
{
    if (str_eq(shell, STR("bash")))
        bash(out);
    else if (str_eq(shell, STR("zsh")))
        zsh(out);
    else if (str_eq(shell, STR("fish")))
        fish(out);
    else
        return false;
    return true;
}
