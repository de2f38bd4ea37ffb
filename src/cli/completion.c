#include "cli/help.h"
#include "config/builtin.h"

/* NULL: those that may stand before a command. */
static void each_option(struct buf *out, const struct command *c)
{
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        if (c ? !option_belongs(row, c) : !(row->flags & OPT_GLOBAL))
            continue;
        buf_printf(out, " --%s", row->name);
        if (row->short_name)
            buf_printf(out, " %s", row->short_name);
    }
}

static struct str first_word(const struct command *c)
{
    struct str name = str_from(c->name);
    return str_of(name.p, str_find(name, ' '));
}

/* The second word of the commands of a group. */
static void each_of_group(struct buf *out, struct str group)
{
    for (size_t i = 0; command_at(i); i++) {
        if (command_in_group(command_at(i), group))
            buf_printf(out, " %s", command_at(i)->name + group.n + 1);
    }
}

/* First words, each once. */
static void each_command(struct buf *out)
{
    struct str last = STR_NULL;
    for (size_t i = 0; command_at(i); i++) {
        if (command_at(i)->hidden || str_eq(first_word(command_at(i)), last))
            continue;
        last = first_word(command_at(i));
        buf_printf(out, " %.*s", STR_ARG(last));
    }
}

static bool takes_files(const struct command *c)
{
    return c->id == COMMAND_VALIDATE || c->id == COMMAND_SHOW || c->id == COMMAND_DIFF ||
           c->id == COMMAND_TEST;
}

/* The fixed words of an option's value between two texts. False, and nothing, when it has none. */
static bool add_choices(struct buf *out, const struct option_row *row, const char *before,
                        const char *after)
{
    bool networks = row->id == OPTION_NETWORK_PROFILE;
    if (!networks && row->id != OPTION_OUTPUT && row->id != OPTION_LOG_FORMAT)
        return false;
    buf_add_z(out, before);
    for (size_t i = 0; networks && builtin_network_at(i); i++)
        buf_printf(out, "%s%s", i ? " " : "", builtin_network_at(i)->name);
    buf_add_z(out, networks ? "" : "text json");
    buf_add_z(out, after);
    return true;
}

/* Shell text that prints the names of profiles, nothing when there is no such program. */
#define PROFILE_NAMES "nono profile list 2>/dev/null | cut -d\" \" -f1"

static bool names_profile(const struct option_row *row)
{
    return row->id == OPTION_PROFILE || row->id == OPTION_EXTENDS;
}

static void bash_case(struct buf *out, const struct command *c)
{
    buf_printf(out, "    '%s') COMPREPLY=($(compgen -W '", c->name);
    if (c->id == COMMAND_COMPLETION)
        buf_add_z(out, "bash zsh fish");
    else if (c->id == COMMAND_HELP)
        each_command(out);
    each_option(out, c);
    buf_add_z(out, takes_files(c) ? "' -f -- \"$cur\")) ;;\n" : "' -- \"$cur\")) ;;\n");
}

static void bash_words(struct buf *out)
{
    buf_add_z(out, "    '') COMPREPLY=($(compgen -W '");
    each_command(out);
    each_option(out, NULL);
    buf_add_z(out, "' -- \"$cur\")) ;;\n    profile) COMPREPLY=($(compgen -W '");
    each_of_group(out, STR("profile"));
    buf_add_z(out, "' -- \"$cur\")) ;;\n");
    for (size_t i = 0; command_at(i); i++)
        bash_case(out, command_at(i));
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
        buf_printf(out, "    --%s%s%s) ", row->name, row->short_name ? "|" : "",
                   row->short_name ? row->short_name : "");
        if (names_profile(row))
            buf_add_z(out, "COMPREPLY=($(compgen -f -W \"$(" PROFILE_NAMES ")\" -- \"$cur\"))");
        else if (!add_choices(out, row, "COMPREPLY=($(compgen -W '", "' -- \"$cur\"))"))
            buf_add_z(out, row->flags & OPT_PATH ? "COMPREPLY=($(compgen -f -- \"$cur\"))"
                                                 : "COMPREPLY=()");
        buf_add_z(out, "; return ;;\n");
    }
    buf_add_z(out,
              "    esac\n"
              "    local command= w i\n"
              "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
              "        w=${COMP_WORDS[i]}\n"
              "        if [[ -z $command && $w != -* ]]; then command=$w\n"
              "        elif [[ $command == profile && $w != -* ]]; then command=\"profile $w\"\n"
              "        fi\n"
              "    done\n"
              "    case $command in\n");
    bash_words(out);
    buf_add_z(out, "    esac\n}\ncomplete -F _nono nono\n");
}

/* The first sentence of a text inside single quotes. zsh's _arguments gives brackets and colons a
 * meaning; a backslash takes it away. In fish only the quote and the backslash mean something. */
static void add_description(struct buf *out, const char *text, bool for_zsh)
{
    const char *end = strstr(text, ". ");
    for (; *text && text != end; text++) {
        if (*text == '\'')
            buf_add_z(out, for_zsh ? "'\\''" : "\\'");
        else if (*text == '\\')
            buf_add_z(out, "\\\\");
        else if (for_zsh && strchr("[]:", *text))
            buf_printf(out, "\\%c", *text);
        else
            buf_add_c(out, *text);
    }
}

static void zsh_option(struct buf *out, const struct option_row *row, const char *name)
{
    bool repeats = row->flags & (OPT_MULTI | OPT_COUNT);
    buf_printf(out, "    '%s%s%s[", repeats ? "*" : "", name,
               row->value && name[1] == '-' ? "=" : "");
    add_description(out, row->help, true);
    buf_add_c(out, ']');
    if (row->value) {
        buf_add_c(out, ':');
        add_description(out, row->value, true);
        buf_add_c(out, ':');
        if (names_profile(row))
            buf_add_z(out, "{_files; compadd -- $(" PROFILE_NAMES ")}");
        else if (!add_choices(out, row, "(", ")"))
            buf_add_z(out, row->flags & OPT_PATH ? "_files" : " ");
    }
    buf_add_z(out, "' \\\n");
}

static void zsh_options(struct buf *out, const struct command *c)
{
    buf_printf(out, "'%s')\n  _arguments \\\n", c->name);
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        struct buf name;
        if (!option_belongs(row, c))
            continue;
        buf_init(&name, 64);
        buf_printf(&name, "--%s", row->name);
        buf_add_c(&name, 0);
        if (buf_ok(&name))
            zsh_option(out, row, name.p);
        if (row->short_name)
            zsh_option(out, row, row->short_name);
        buf_fini(&name);
    }
    buf_printf(out, "    '*:argument:%s' ;;\n",
               takes_files(c)                ? "_files"
               : c->id == COMMAND_COMPLETION ? "(bash zsh fish)"
                                             : " ");
}

static void zsh(struct buf *out)
{
    buf_add_z(out, "#compdef nono\n"
                   "local command=$words[2]\n"
                   "[[ $command == profile && CURRENT -gt 3 ]] && command=\"profile $words[3]\"\n"
                   "if (( CURRENT == 2 )); then compadd --");
    each_command(out);
    buf_add_z(out, "; return; fi\n"
                   "if [[ $command == profile ]]; then compadd --");
    each_of_group(out, STR("profile"));
    buf_add_z(out, "; return; fi\n"
                   "case $command in\n");
    for (size_t i = 0; command_at(i); i++)
        zsh_options(out, command_at(i));
    buf_add_z(out, "esac\n");
}

static void fish_command(struct buf *out, const struct command *c)
{
    struct str first = first_word(c), name = str_from(c->name);
    if (first.n == name.n)
        buf_printf(out, "complete -c nono -n __fish_use_subcommand -a %s -d '", c->name);
    else
        buf_printf(out, "complete -c nono -n '__fish_seen_subcommand_from %.*s' -a %s -d '",
                   STR_ARG(first), c->name + first.n + 1);
    add_description(out, c->help, false);
    buf_add_z(out, "'\n");
    if (takes_files(c))
        buf_printf(out, "complete -c nono -n '__fish_seen_subcommand_from %s' -F\n",
                   c->name + first.n + 1);
}

static void fish_option(struct buf *out, const struct option_row *row)
{
    buf_add_z(out, "complete -c nono");
    if (row->commands != IN_ALL) {
        buf_add_z(out, " -n '__fish_seen_subcommand_from");
        for (size_t i = 0; command_at(i); i++) {
            const char *space = strchr(command_at(i)->name, ' ');
            if (option_belongs(row, command_at(i)))
                buf_printf(out, " %s", space ? space + 1 : command_at(i)->name);
        }
        buf_add_c(out, '\'');
    }
    buf_printf(out, " -l %s", row->name);
    if (row->short_name)
        buf_printf(out, " -s %s", row->short_name + 1);
    if (row->value)
        buf_add_z(out, row->flags & OPT_PATH ? " -r -F" : " -x");
    if (names_profile(row))
        buf_add_z(out, " -a '(" PROFILE_NAMES ")'");
    (void)add_choices(out, row, " -a '", "'");
    buf_add_z(out, " -d '");
    add_description(out, row->help, false);
    buf_add_z(out, "'\n");
}

static void fish(struct buf *out)
{
    buf_add_z(out, "# fish completion for nono\ncomplete -c nono -f\n"
                   "complete -c nono -n __fish_use_subcommand -a profile -d '");
    add_description(out, command_group_help(STR("profile")), false);
    buf_add_z(out, "'\n");
    for (size_t i = 0; command_at(i); i++) {
        if (!command_at(i)->hidden)
            fish_command(out, command_at(i));
    }
    for (int id = 0; id < OPTION_COUNT_; id++)
        fish_option(out, option_row((enum option_id)id));
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
