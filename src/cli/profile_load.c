#include "cli/profile_load.h"
#include "base/mem.h"
#include "cli/cli_int.h"
#include <unistd.h>

void profile_say(struct str text)
{
    struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    buf_add_z(&line, "nono: ");
    buf_add_str(&line, text);
    buf_add_c(&line, '\n');
    cli_print(STDERR_FILENO, &line);
    buf_fini(&line);
}

int profile_answer(const struct buf *out, int code)
{
    if (cli_answer(out))
        return code;
    profile_say(STR("standard output cannot be written"));
    return code ? code : 1;
}

bool loaded_flags(struct str name_or_path, struct config *ret_flags)
{
    config_init(ret_flags);
    return setting_set(&ret_flags->profile, name_or_path, STR("--profile"));
}

void loaded_profile(struct str name_or_path, struct loaded *ret)
{
    struct profile_env env;
    struct config flags;
    *ret = (struct loaded){0};
    profile_env_from_process(&env);
    if (loaded_flags(name_or_path, &flags))
        ret->ok = !runtime_check(&flags, &env, &ret->resolve, &ret->config);
    config_fini(&flags);
}

void loaded_fini(struct loaded *l)
{
    if (l->ok)
        config_fini(&l->config);
    resolve_fini(&l->resolve);
}

void loaded_report(const struct loaded *l)
{
    struct buf text;
    buf_init(&text, PRINT_MAX_BYTES);
    if (l->resolve.doc)
        resolve_report(&l->resolve, false, &text);
    if (text.n == 0)
        buf_add_z(&text, "nono: out of memory\n");
    cli_print(STDERR_FILENO, &text);
    buf_fini(&text);
}

struct runtime *loaded_runtime(const struct config *flags)
{
    struct runtime *r = NULL;
    struct errctx why = {0};
    char *report = NULL;
    enum err e = runtime_load(flags, NULL, 1, &r, &report, &why);
    struct buf text;
    buf_init(&text, PRINT_MAX_BYTES);
    if (report)
        buf_add_z(&text, report);
    else if (e)
        buf_printf(&text, "nono: Configuration parse error: %s\n", why.text);
    cli_print(STDERR_FILENO, &text);
    buf_fini(&text);
    mem_free(report);
    return e ? NULL : r;
}
