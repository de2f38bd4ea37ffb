#include "cli/cli.h"
#include "cli/args.h"
#include "cli/cli_int.h"
#include "cli/help.h"
#include "cli/open_url.h"
#include "cli/profile_command.h"
#include "cli/serve.h"
#include "cli/why.h"
#include <unistd.h>

enum { TEXT_MAX_BYTES = 1048576, ERROR_MAX_BYTES = 8192, EXIT_USAGE = 2 };

void cli_usage_error(const struct command *command, struct str text)
{
    struct buf out;
    buf_init(&out, ERROR_MAX_BYTES);
    buf_add_z(&out, "nono: ");
    buf_add_str(&out, text);
    buf_printf(&out, "\n\nFor all options, try 'nono %s%s--help'.\n", command ? command->name : "",
               command ? " " : "");
    cli_print(STDERR_FILENO, &out);
    buf_fini(&out);
}

static int unknown_topic(struct str name)
{
    struct buf error;
    buf_init(&error, ERROR_MAX_BYTES);
    buf_add_z(&error, "unknown command ");
    cli_add_quoted(&error, name);
    cli_usage_error(NULL, buf_str(&error));
    buf_fini(&error);
    return EXIT_USAGE;
}

/* `nono help [COMMAND]`, where a command may have two words. */
static int help_words(const struct args *a, struct buf *out)
{
    struct buf name;
    int code = 0;
    buf_init(&name, ERROR_MAX_BYTES);
    for (size_t i = 0; i < a->n_words; i++)
        buf_printf(&name, "%s%s", i ? " " : "", a->words[i]);
    const struct command *about = command_find(buf_str(&name));
    if (about)
        help_command(out, about);
    else if (command_group_help(buf_str(&name)))
        help_group(out, buf_str(&name));
    else if (a->n_words)
        code = unknown_topic(buf_str(&name));
    else
        help_main(out);
    buf_fini(&name);
    return code;
}

static int completion(const struct args *a, struct buf *out)
{
    if (help_completion(out, str_from(a->words[0])))
        return 0;
    cli_usage_error(a->command, STR("completion needs a shell: bash, zsh or fish"));
    return EXIT_USAGE;
}

/* Everything that only prints texts made from the tables. */
static int print(const struct args *a, struct buf *out)
{
    if (a->version && !a->help)
        help_version(out);
    else if (a->help && a->command)
        help_command(out, a->command);
    else if (a->help && a->group.n)
        help_group(out, a->group);
    else if (a->help)
        help_main(out);
    else if (a->command->id == COMMAND_HELP)
        return help_words(a, out);
    else if (a->command->id == COMMAND_MAN)
        help_man(out);
    else
        return completion(a, out);
    return 0;
}

/* The commands that do something; NULL: one that prints a text. */
typedef int command_fn(const struct args *a, char **envp);

static command_fn *const doers[COMMAND_COUNT_] = {
    [COMMAND_PROXY] = serve_proxy,         [COMMAND_WHY] = why_command,
    [COMMAND_VALIDATE] = profile_validate, [COMMAND_SHOW] = profile_show,
    [COMMAND_LIST] = profile_list,         [COMMAND_INIT] = profile_init,
    [COMMAND_SCHEMA] = profile_schema,     [COMMAND_DIFF] = profile_diff,
    [COMMAND_TEST] = profile_test,         [COMMAND_OPEN_URL] = open_url_command,
};

static int run(const struct args *a)
{
    struct buf out;
    int code = EXIT_USAGE, fd = STDOUT_FILENO;
    bool asked = a->help || a->version;
    if (!asked && a->command && doers[a->command->id]) {
        serve_init();
        return doers[a->command->id](a, environ);
    }
    buf_init(&out, TEXT_MAX_BYTES);
    if (asked || a->command) {
        code = print(a, &out);
    } else {
        if (a->group.n)
            help_group(&out, a->group);
        else
            help_main(&out);
        fd = STDERR_FILENO;
    }
    cli_print(fd, &out);
    buf_fini(&out);
    return code;
}

int cli_main(int argc, char **argv)
{
    struct args args;
    struct buf error;
    buf_init(&error, ERROR_MAX_BYTES);
    int code = EXIT_USAGE;
    if (args_parse(argc, argv, &args, &error))
        code = run(&args);
    else
        cli_usage_error(args.command, buf_str(&error));
    args_fini(&args);
    buf_fini(&error);
    return code;
}
