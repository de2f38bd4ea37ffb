/* A command line from anywhere: each line of the input is an argument, or after '$' a variable.
 * Whatever they say: it is taken and holds together, or it is refused with a sentence in visible
 * ASCII and exit code 1 or 2. */
#include <stdlib.h>
#include "base/mem.h"
#include "cli/proxy_options.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

enum { WORDS_MAX = 32 };

static void check_error(const struct buf *error, int code)
{
    CHECK(buf_ok(error));
    CHECK((code == 0) == (error->n == 0));
    for (size_t i = 0; i < error->n; i++)
        CHECK(error->p[i] >= ' ' && error->p[i] < 0x7f);
}

static void check_config(const struct config *c)
{
    for (size_t i = 0; i < c->listen.n; i++) {
        struct listen_spec spec;
        struct errctx ctx = {0};
        CHECK(listen_parse(c->listen.v[i].value, &spec, &ctx) == ERR_OK);
    }
    for (unsigned t = 0; t < TIMEOUT_COUNT_; t++)
        CHECK(c->timeout_ms[t] > 0);
    CHECK(!c->no_auth || !c->pass);
    CHECK(!c->silent || c->log_level == LOG_OFF);
}

static void parse(int argc, char **argv, char **env)
{
    struct args args;
    struct buf error;
    buf_init(&error, 65536);
    if (!args_parse(argc, argv, &args, &error)) {
        /* An unknown option or a word is repeated, whatever it is. */
        CHECK(error.n > 0 && buf_ok(&error));
    } else if (args.command && str_eq(str_from(args.command->name), STR("proxy"))) {
        struct config config;
        struct settings warnings;
        int code = cli_proxy_parse(&args, env, &config, &warnings, &error);
        CHECK(code >= 0 && code <= 2);
        check_error(&error, code);
        if (code == 0)
            check_config(&config);
        config_fini(&config);
        settings_fini(&warnings);
    }
    args_fini(&args);
    buf_fini(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char name[] = "nono", command[] = "proxy";
    char *argv[WORDS_MAX + 3] = {name, command}, *env[WORDS_MAX + 1] = {0};
    int argc = 2, variables = 0;
    struct str rest = str_of((const char *)bytes, n), line;
    static bool ready, locked;
    if (!ready)
        secret_region_init(&locked);
    ready = true;
    while (n && argc + variables < WORDS_MAX && str_next(&rest, '\n', &line)) {
        bool variable = line.n && line.p[0] == '$';
        char *copy = mem_dup(line.p + variable, line.n - variable);
        CHECK(copy);
        if (variable)
            env[variables++] = copy;
        else
            argv[argc++] = copy;
    }
    parse(argc, argv, env);
    while (argc > 2)
        mem_free(argv[--argc]);
    while (variables)
        mem_free(env[--variables]);
    return 0;
}
