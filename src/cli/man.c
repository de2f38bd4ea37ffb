#include "cli/help.h"

enum { SMALL_BUF = 1024 };

/* Text of a paragraph: backslashes and leading dots mean something to troff, and a plain '-' is a
 * hyphen. A long comma list may break after its commas. */
static void add_text(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        bool control = (i == 0 || text.p[i - 1] == '\n') && (text.p[i] == '.' || text.p[i] == '\'');
        if (control)
            buf_add_z(out, "\\&");
        if (text.p[i] == '\\')
            buf_add_z(out, "\\e");
        else if (text.p[i] == '-')
            buf_add_z(out, "\\-");
        else
            buf_add_c(out, text.p[i]);
        if (text.p[i] == ',' && i + 1 < text.n && text.p[i + 1] != ' ' && text.p[i + 1] != '\n')
            buf_add_z(out, "\\:");
    }
}

static void add_option(struct buf *out, const struct option_row *row)
{
    struct buf fallback;
    buf_init(&fallback, SMALL_BUF);
    option_default(&fallback, row);
    buf_add_z(out, ".TP\n");
    if (row->short_name) {
        buf_add_z(out, ".B ");
        add_text(out, str_from(row->short_name));
        buf_add_z(out, ", ");
    } else {
        buf_add_z(out, row->value ? ".BI " : ".B ");
    }
    add_text(out, STR("--"));
    add_text(out, str_from(row->name));
    if (row->value) {
        buf_add_z(out, " \" ");
        add_text(out, str_from(row->value));
        buf_add_c(out, '"');
    }
    buf_add_c(out, '\n');
    add_text(out, str_from(row->help));
    buf_add_z(out, ".\n");
    if (fallback.n) {
        buf_add_z(out, "Default: ");
        add_text(out, buf_str(&fallback));
        buf_add_z(out, ".\n");
    }
    if (row->env)
        buf_printf(out, "Environment: \\fB%s\\fR.\n", row->env);
    buf_fini(&fallback);
}

static void add_options(struct buf *out, const struct command *c)
{
    for (int g = 0; g < GROUP_COUNT_; g++) {
        bool any = false;
        for (int id = 0; id < OPTION_COUNT_; id++) {
            const struct option_row *row = option_row((enum option_id)id);
            if (row->group != (enum option_group)g || !option_belongs(row, c))
                continue;
            if (!any)
                buf_printf(out, ".SH OPTIONS: %s\n", option_group_title((enum option_group)g));
            any = true;
            add_option(out, row);
        }
    }
}

/* Text of commands.def: paragraphs, and lines that stand as they are. */
static void add_more(struct buf *out, struct str text)
{
    struct str rest = text, line;
    bool literal = false;
    while (str_next(&rest, '\n', &line)) {
        bool stands = line.n && line.p[0] == ' ';
        if (line.n == 0) {
            buf_add_z(out, literal ? ".fi\n" : "");
            literal = false;
            buf_add_z(out, ".PP\n");
            continue;
        }
        if (stands != literal)
            buf_add_z(out, stands ? ".nf\n" : ".fi\n");
        literal = stands;
        add_text(out, line);
        buf_add_c(out, '\n');
    }
    buf_add_z(out, literal ? ".fi\n" : "");
}

/* Options that `nono proxy` has too are only named: they are described above. */
static void add_command_options(struct buf *out, const struct command *c)
{
    struct buf shared;
    buf_init(&shared, 4 * SMALL_BUF);
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        if (!option_belongs(row, c) || row->flags & OPT_GLOBAL)
            continue;
        if (row->commands & IN_PROXY)
            buf_printf(&shared, "%s--%s", shared.n ? ", " : "", row->name);
        else
            add_option(out, row);
    }
    if (shared.n) {
        buf_add_z(out, ".PP\nAs for nono proxy: ");
        add_text(out, buf_str(&shared));
        buf_add_z(out, ".\n");
    }
    buf_fini(&shared);
}

static void add_commands(struct buf *out)
{
    buf_add_z(out, ".SH OTHER COMMANDS\n");
    for (size_t i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);
        if (c->hidden || c->id == COMMAND_PROXY)
            continue;
        buf_add_z(out, ".SS \"nono ");
        add_text(out, str_from(c->name));
        buf_add_c(out, ' ');
        add_text(out, str_from(c->arguments));
        buf_add_z(out, "\"\n");
        add_text(out, str_from(c->help));
        buf_add_z(out, ".\n");
        if (c->text) {
            buf_add_z(out, ".PP\n");
            add_more(out, str_from(c->text));
        }
        add_command_options(out, c);
    }
}

static void add_environment(struct buf *out)
{
    buf_add_z(
        out,
        ".SH ENVIRONMENT\n"
        "Each option above names its variable. An option on the command line hides it, an empty\n"
        "variable counts as unset, and options that may be repeated take comma\\-separated lists.\n"
        ".TP\n.B NONO_LOG\n"
        "Log level: error, warn, info, debug, trace or off, unless \\-v or \\-s is given.\n"
        ".TP\n.B RUST_LOG\nThe same, where NONO_LOG is unset; lists of directives are understood.\n"
        ".TP\n.BR SSL_CERT_FILE \", \" SSL_CERT_DIR\n"
        "Certificates that are trusted in addition to the system's.\n"
        ".TP\n.BR NO_COLOR \", \" CLICOLOR=0\nNo colours on a terminal.\n"
        ".TP\n.B NOTIFY_SOCKET\nReadiness is told to the service manager.\n");
}

void help_man(struct buf *out)
{
    buf_add_z(out,
              ".\\\" Made from src/cli/options.def and commands.def by `nono man`; do not edit.\n"
              ".TH NONO 1 \"\" \"nono " NONO_VERSION "\" \"User Commands\"\n"
              ".nh\n.ad l\n"
              ".SH NAME\nnono \\- egress gateway\n"
              ".SH SYNOPSIS\n.B nono proxy\n.RI [ OPTIONS ]\n.br\n"
              ".B nono why\n.RI [ OPTIONS ]\n.br\n.B nono profile\n.I COMMAND\n"
              ".SH DESCRIPTION\n"
              "A workload that something else isolates sends its HTTP and HTTPS requests through\n"
              ".BR \"nono proxy\" ,\n"
              "which decides where they may go. When it is ready it prints the variables that\n"
              "clients need.\n");
    add_options(out, command_find(STR("proxy")));
    add_commands(out);
    add_environment(out);
    buf_add_z(
        out,
        ".SH FILES\n"
        ".TP\n.I $XDG_CONFIG_HOME/nono/profiles/NAME.jsonc\nProfiles of the user; "
        "~/.config where XDG_CONFIG_HOME is unset. NAME.json too.\n"
        ".SH SIGNALS\n"
        "SIGINT and SIGTERM end the gateway after the drain timeout, a second one at once.\n"
        "SIGHUP reads profiles, secrets and certificates anew, all or nothing, and opens log and\n"
        "audit files again.\n"
        ".SH EXIT STATUS\n"
        "0 after an orderly end, 1 for a configuration or start error, 2 for a usage error.\n"
        "The other commands say theirs.\n"
        ".SH EXAMPLES\n.nf\n"
        "nono proxy \\-\\-allow\\-domain github \\-\\-allow\\-domain '*.example.com:443'\n"
        "nono proxy \\-\\-profile dev\n"
        "nono proxy \\-\\-listen unix:/run/nono/proxy.sock \\-\\-env\\-file job.env \\-\\-silent\n"
        ".fi\n");
}
