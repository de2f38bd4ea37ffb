#include "cli/serve.h"
#include "base/log.h"
#include "cli/banner.h"
#include "cli/cli_int.h"
#include "cli/env.h"
#include "cli/env_file.h"
#include "cli/proxy_options.h"
#include "config/hop.h"
#include "sys/clock.h"
#include "sys/harden.h"
#include "sys/random.h"
#include "tls/client.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { MESSAGE_MAX_BYTES = 8192 };

struct serve {
    const struct config *config;
    char **envp;
};

static bool secrets_locked;

/* Descriptors 0 to 2 are open: else the first socket or file would take such a number, and get the
 * banner. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd ? O_WRONLY : O_RDONLY); /* takes the lowest free number */
    }
}

void serve_init(void)
{
    fill_standard_descriptors();
    str_hash_seed(random_u64());
    secret_region_init(&secrets_locked);
    tls_init();
    (void)signal(SIGPIPE, SIG_IGN); /* a banner that nobody reads is no reason to end */
}

static void say(const char *before, struct str text)
{
    struct buf line;
    buf_init(&line, MESSAGE_MAX_BYTES);
    buf_add_z(&line, before);
    buf_add_str(&line, text);
    buf_add_c(&line, '\n');
    cli_print(STDERR_FILENO, &line);
    buf_fini(&line);
}

/* ---- when ready ---- */

static bool sink_is_stdout(const struct config *c)
{
    for (size_t i = 0; i < c->audit_log.n; i++) {
        if (str_eq(c->audit_log.v[i].value, STR("-")))
            return true;
    }
    return false;
}

static bool may_colour(int fd, char *const *envp)
{
    const char *clicolor = env_get(envp, "CLICOLOR"), *term = env_get(envp, "TERM");
    return harden_is_terminal(fd) && !env_get(envp, "NO_COLOR") &&
           !(clicolor && str_eq(str_from(clicolor), STR("0"))) &&
           !(term && str_eq(str_from(term), STR("dumb")));
}

static enum err write_env_file(const struct config *c, const struct banner_facts *f)
{
    struct buf lines;
    struct errctx why = {0};
    if (!c->env_file.value.p)
        return ERR_OK;
    buf_init(&lines, BANNER_MAX_BYTES);
    banner_env_lines(&lines, f);
    enum err e = buf_ok(&lines) ? env_file_write(c->env_file.value.p, buf_str(&lines), &why)
                                : err_set(&why, ERR_NOMEM, "out of memory");
    buf_wipe_fini(&lines);
    if (e)
        say("nono: ", str_from(why.text));
    return e;
}

static void print_banner(const struct serve *s, const struct config *c,
                         const struct banner_facts *f)
{
    int fd = sink_is_stdout(c) ? STDERR_FILENO : STDOUT_FILENO;
    struct buf text;
    buf_init(&text, BANNER_MAX_BYTES);
    if (c->output_json)
        banner_json(&text, f);
    else
        banner_text(&text, c, f, may_colour(fd, s->envp));
    cli_print(fd, &text);
    buf_wipe_fini(&text);
}

static enum err on_ready(void *owner, const struct server_ready *ready)
{
    struct serve *s = owner;
    const struct runtime *r = ready->runtime;
    struct banner_facts facts = {
        .listeners = ready->listeners,
        .n = ready->n,
        .token = ready->token,
        .policy = policy_kind(r->policy),
        .upstream = r->hop_text,
        .names_there = r->hop && hop_resolves_names(r->hop),
        .warnings = &r->warnings,
        .config = &r->config,
        .rules = r->policy,
        .state = {ready->missing, ready->n_missing},
    };
    enum err e = write_env_file(s->config, &facts);
    if (e)
        return e;
    if (!secrets_locked)
        log_warn(
            "the memory of secrets could not be locked (RLIMIT_MEMLOCK): it may be swapped out");
    if (!s->config->silent)
        print_banner(s, &r->config, &facts);
    return ERR_OK;
}

/* ---- before that ---- */

static void print_line(void *owner, const char *line, size_t n)
{
    (void)owner;
    struct buf text;
    buf_init(&text, n + 1);
    buf_add(&text, line, n);
    cli_print(STDERR_FILENO, &text);
    buf_fini(&text);
}

/* The log does not run yet; where every line of stderr is to be JSON, these are too. */
static void print_warnings(const struct config *c, const struct settings *warnings)
{
    if (c->log_json)
        log_init(&(struct log_config){
            .level = LOG_WARN, .json = true, .sink = print_line, .wall_ms = clock_wall_ms});
    for (size_t i = 0; !c->silent && i < warnings->n; i++) {
        struct str text = warnings->v[i].value;
        if (c->log_json)
            log_write(LOG_WARN, "%.*s", STR_ARG(text));
        else
            say("  [nono] ", text);
    }
}

int serve_proxy(const struct args *args, char **envp)
{
    struct config config;
    struct settings warnings;
    struct buf error;
    buf_init(&error, MESSAGE_MAX_BYTES);
    int code = cli_proxy_parse(args, envp, &config, &warnings, &error);
    cli_proxy_wipe(args, envp);
    if (code == 2)
        cli_usage_error(args->command, buf_str(&error));
    else if (code)
        say("nono: Configuration parse error: ", buf_str(&error));
    else
        print_warnings(&config, &warnings);
    buf_fini(&error);
    settings_fini(&warnings);
    if (!code)
        code = server_run(&config, on_ready, &(struct serve){&config, envp});
    config_fini(&config);
    return code;
}
