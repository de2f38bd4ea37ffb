#include "cli/help.h"

enum { SMALL_BUF = 1024 };

/* Text of a paragraph: backslashes and leading dots mean something to troff, and a plain '-' is a
 * hyphen. */
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
              ".\\\" Made from src/cli/options.def by `nono man`; do not edit.\n"
              ".TH NONO 1 \"\" \"nono " NONO_VERSION "\" \"User Commands\"\n"
              ".nh\n.ad l\n"
              ".SH NAME\nnono \\- egress gateway\n"
              ".SH SYNOPSIS\n.B nono proxy\n.RI [ OPTIONS ]\n"
              ".SH DESCRIPTION\n"
              "A workload that something else isolates sends its HTTP and HTTPS requests through\n"
              ".BR \"nono proxy\" ,\n"
              "which decides where they may go. When it is ready it prints the variables that\n"
              "clients need.\n");
    for (int g = 0; g < GROUP_COUNT_; g++) {
        buf_printf(out, ".SH OPTIONS: %s\n", option_group_title((enum option_group)g));
        for (int id = 0; id < OPTION_COUNT_; id++) {
            if (option_row((enum option_id)id)->group == (enum option_group)g)
                add_option(out, option_row((enum option_id)id));
        }
    }
    add_environment(out);
    buf_add_z(
        out,
        ".SH SIGNALS\n"
        "SIGINT and SIGTERM end the gateway after the drain timeout, a second one at once.\n"
        "SIGHUP reads the configuration and the audit files anew.\n"
        ".SH EXIT STATUS\n"
        "0 after an orderly end, 1 for a configuration or start error, 2 for a usage error.\n"
        ".SH EXAMPLES\n.nf\n"
        "nono proxy \\-\\-allow\\-domain github \\-\\-allow\\-domain '*.example.com:443'\n"
        "nono proxy \\-\\-listen unix:/run/nono/proxy.sock \\-\\-env\\-file job.env \\-\\-silent\n"
        ".fi\n");
}
