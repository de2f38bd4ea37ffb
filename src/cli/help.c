#include "cli/help.h"
#include "cli/cli_int.h"

enum { HELP_WIDTH = 98, HELP_INDENT = 10, SMALL_BUF = 1024 };

static void option_heading(struct buf *out, const struct option_row *row)
{
    buf_printf(out, "  %s%s--%s", row->short_name ? row->short_name : "    ",
               row->short_name ? ", " : "", row->name);
    if (row->value)
        buf_printf(out, " %s", row->value);
    buf_add_c(out, '\n');
}

static void add_paragraph(struct buf *out, struct str text)
{
    buf_printf(out, "%*s", HELP_INDENT, "");
    cli_add_wrapped(out, text, HELP_INDENT, HELP_WIDTH);
    buf_add_c(out, '\n');
}

/* "[env: NONO_PORT] [default: 0]" on a line of its own. */
static void option_text(struct buf *out, const struct option_row *row)
{
    struct buf facts, fallback;
    buf_init(&facts, SMALL_BUF);
    buf_init(&fallback, SMALL_BUF);
    option_default(&fallback, row);
    if (row->env)
        buf_printf(&facts, "[env: %s]", row->env);
    if (fallback.n)
        buf_printf(&facts, "%s[default: %.*s]", facts.n ? " " : "", STR_ARG(buf_str(&fallback)));
    add_paragraph(out, str_from(row->help));
    if (facts.n)
        add_paragraph(out, buf_str(&facts));
    buf_fini(&fallback);
    buf_fini(&facts);
}

static void one_option(struct buf *out, const struct option_row *row)
{
    option_heading(out, row);
    option_text(out, row);
}

/* `nono proxy` shows the global options among its own. */
static bool shown_with(const struct option_row *row, const struct command *c)
{
    return option_belongs(row, c) && (c->id == COMMAND_PROXY || !(row->flags & OPT_GLOBAL));
}

static void options_of(struct buf *out, const struct command *c, enum option_group group)
{
    bool any = false;
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        if (row->group != group || !shown_with(row, c))
            continue;
        if (!any)
            buf_printf(out, "\n%s:\n", option_group_title(group));
        any = true;
        one_option(out, row);
    }
}

static void add_command(struct buf *out, const struct command *c)
{
    buf_printf(out, "  %-17s %s\n", c->name, c->help);
}

/* Paragraphs, and lines that stand as they are. */
static void add_more(struct buf *out, struct str text)
{
    struct str rest = text, line;
    while (str_next(&rest, '\n', &line)) {
        if (line.n && line.p[0] != ' ')
            cli_add_wrapped(out, line, 0, HELP_WIDTH);
        else
            buf_add_str(out, line);
        buf_add_c(out, '\n');
    }
}

void help_main(struct buf *out)
{
    buf_add_z(out, "nono, an egress gateway: it decides where a workload's requests may go\n\n"
                   "Usage: nono [OPTIONS] COMMAND\n\nCommands:\n");
    for (size_t i = 0; command_at(i); i++) {
        if (!command_at(i)->hidden)
            add_command(out, command_at(i));
    }
    buf_add_z(out, "\nOptions (before or after the command):\n");
    for (int id = 0; id < OPTION_COUNT_; id++) {
        if (option_row((enum option_id)id)->flags & OPT_GLOBAL)
            one_option(out, option_row((enum option_id)id));
    }
    buf_add_z(out, "\nRun 'nono COMMAND --help' for the options of a command.\n");
}

void help_group(struct buf *out, struct str group)
{
    buf_printf(out, "%s\n\nUsage: nono %.*s COMMAND\n\nCommands:\n", command_group_help(group),
               STR_ARG(group));
    for (size_t i = 0; command_at(i); i++) {
        if (command_in_group(command_at(i), group))
            add_command(out, command_at(i));
    }
}

void help_command(struct buf *out, const struct command *command)
{
    bool variables = false;
    buf_printf(out, "%s\n\nUsage: nono %s%s%s\n", command->help, command->name,
               *command->arguments ? " " : "", command->arguments);
    if (command->text) {
        buf_add_c(out, '\n');
        add_more(out, str_from(command->text));
    }
    for (int g = 0; g < GROUP_COUNT_; g++)
        options_of(out, command, (enum option_group)g);
    for (int id = 0; id < OPTION_COUNT_; id++)
        variables |= shown_with(option_row((enum option_id)id), command) &&
                     option_row((enum option_id)id)->env;
    if (variables)
        buf_add_z(
            out,
            "\nAn option on the command line hides its environment variable. Variables take "
            "comma-\n"
            "separated lists where the option may be repeated; an empty one counts as unset.\n");
}

void help_version(struct buf *out)
{
    buf_add_z(out, "nono " NONO_VERSION "\n");
}
