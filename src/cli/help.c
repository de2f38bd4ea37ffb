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

static void options_of(struct buf *out, enum option_group group, unsigned flags)
{
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        if (row->group != group || (row->flags & flags) != flags)
            continue;
        option_heading(out, row);
        option_text(out, row);
    }
}

void help_main(struct buf *out)
{
    buf_add_z(out, "nono, an egress gateway: it decides where a workload's requests may go\n\n"
                   "Usage: nono [OPTIONS] COMMAND\n\nCommands:\n");
    for (size_t i = 0; command_at(i); i++) {
        if (!command_at(i)->hidden)
            buf_printf(out, "  %-10s %s\n", command_at(i)->name, command_at(i)->help);
    }
    buf_add_z(out, "\nOptions (before or after the command):\n");
    options_of(out, GROUP_OUTPUT, OPT_GLOBAL);
    buf_add_z(out, "\nRun 'nono proxy --help' for the options of the gateway.\n");
}

void help_command(struct buf *out, const struct command *command)
{
    buf_printf(out, "%s\n\nUsage: nono %s%s%s\n", command->help, command->name,
               *command->arguments ? " " : "", command->arguments);
    if (!str_eq(str_from(command->name), STR("proxy")))
        return;
    for (int g = 0; g < GROUP_COUNT_; g++) {
        buf_printf(out, "\n%s:\n", option_group_title((enum option_group)g));
        options_of(out, (enum option_group)g, 0);
    }
    buf_add_z(
        out,
        "\nAn option on the command line hides its environment variable. Variables take comma-\n"
        "separated lists where the option may be repeated; an empty one counts as unset.\n");
}

void help_version(struct buf *out)
{
    buf_add_z(out, "nono " NONO_VERSION "\n");
}
