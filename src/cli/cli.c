#include "cli/cli.h"
#include "cli/args.h"
#include "cli/cli_int.h"
#include "cli/help.h"
#include "cli/serve.h"
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

static int help_words(const struct args *a, struct buf *out)
{
    const struct command *about = a->word ? command_find(str_from(a->word)) : NULL;
    if (a->word && !about) {
        struct buf error;
        buf_init(&error, ERROR_MAX_BYTES);
        buf_add_z(&error, "unknown command ");
        cli_add_quoted(&error, str_from(a->word));
        cli_usage_error(NULL, buf_str(&error));
        buf_fini(&error);
        return EXIT_USAGE;
    }
    if (about)
        help_command(out, about);
    else
        help_main(out);
    return 0;
}

static int completion(const struct args *a, struct buf *out)
{
    if (a->word && help_completion(out, str_from(a->word)))
        return 0;
    cli_usage_error(a->command, STR("completion needs a shell: bash, zsh or fish"));
    return EXIT_USAGE;
}

/* Everything that only prints. */
static int print(const struct args *a, struct buf *out)
{
    if (a->version && !a->help)
        help_version(out);
    else if (a->help && a->command)
        help_command(out, a->command);
    else if (a->help)
        help_main(out);
    else if (str_eq(str_from(a->command->name), STR("help")))
        return help_words(a, out);
    else if (str_eq(str_from(a->command->name), STR("man")))
        help_man(out);
    else
        return completion(a, out);
    return 0;
}

static int run(const struct args *a)
{
    struct buf out;
    int code = EXIT_USAGE, fd = STDOUT_FILENO;
    bool asked = a->help || a->version;
    if (!asked && a->command && str_eq(str_from(a->command->name), STR("proxy"))) {
        serve_init();
        return serve_proxy(a, environ);
    }
    buf_init(&out, TEXT_MAX_BYTES);
    if (asked || a->command) {
        code = print(a, &out);
    } else {
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
