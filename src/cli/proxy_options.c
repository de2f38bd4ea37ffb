#include "cli/proxy_options.h"
#include "base/encode.h"
#include "cli/cli_int.h"
#include "cli/env.h"
#include "cli/loglevel.h"
#include "cli/suggest.h"
#include "config/nearest.h"
#include "net/hostname.h"
#include "sys/harden.h"

enum {
    EXIT_CONFIG = 1,
    EXIT_USAGE = 2,
    SECONDS_MAX = 31536000, /* a year: more is a typing mistake */
    WORKERS_MAX = 1024,
    PASS_MAX_BYTES = 4096,
};

struct parse {
    const struct args *args;
    char *const *envp;
    struct config *config;
    struct settings *warnings;
    struct buf *error;
    int code; /* 0 while all is well */
};

/* ---- saying what is wrong ---- */

static bool out_of_memory(struct parse *p)
{
    buf_add_z(p->error, "out of memory");
    p->code = EXIT_CONFIG;
    return false;
}

/* "--port 'x': must be …", "NONO_PORT 'x': must be …" */
static bool bad_value(struct parse *p, const struct setting *s, const char *text)
{
    buf_add_str(p->error, s->origin);
    buf_add_c(p->error, ' ');
    cli_add_quoted(p->error, s->value);
    buf_add_z(p->error, ": ");
    buf_add_z(p->error, text);
    p->code = EXIT_USAGE;
    return false;
}

static bool fail(struct parse *p, int code)
{
    p->code = code;
    return false;
}

/* ---- where a value comes from ---- */

/* The variable that speaks for an option: its own, else the first old one that is set. */
static const char *from_env(const struct parse *p, const struct option_row *row,
                            const char **ret_name)
{
    const char *value = row->env ? env_get(p->envp, row->env) : NULL;
    *ret_name = row->env;
    for (const struct option_alias *old = option_legacy_env(); !value && old->name; old++) {
        if (old->id == row->id)
            value = env_get(p->envp, old->name), *ret_name = old->name;
    }
    return value;
}

/* Where an item of a comma list ends: a comma inside {a,b} belongs to the item. */
static size_t item_end(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == ',')
            return i;
        size_t close = s.p[i] == '{' ? str_find(str_of(s.p + i, s.n - i), '}') : 0;
        if (close && close < s.n - i)
            i += close;
    }
    return s.n;
}

/* unix:PATH,mode=0660 is one item: these words go on with the socket before them. */
static bool continues_item(enum option_id id, struct str rest)
{
    return id == OPTION_LISTEN &&
           (str_starts(rest, STR("mode=")) || str_starts(rest, STR("owner=")) ||
            str_starts(rest, STR("group=")));
}

/* Blanks round an item are dropped, empty items ignored. */
static bool add_list(struct settings *out, enum option_id id, struct str text, struct str origin)
{
    struct str rest = text;
    while (rest.n) {
        size_t end = item_end(rest);
        while (end < rest.n && continues_item(id, str_of(rest.p + end + 1, rest.n - end - 1)))
            end += 1 + item_end(str_of(rest.p + end + 1, rest.n - end - 1));
        struct str item = str_trim(str_of(rest.p, end));
        if (item.n && !settings_add(out, item, origin))
            return false;
        rest = end < rest.n ? str_of(rest.p + end + 1, rest.n - end - 1) : STR_NULL;
    }
    return true;
}

static bool gather_args(struct parse *p, const struct option_row *row, struct settings *out)
{
    for (size_t i = 0; i < p->args->n; i++) {
        const struct arg *a = &p->args->v[i];
        struct str value = str_from(a->value);
        if (a->row != row)
            continue;
        size_t before = out->n;
        if (!(row->flags & OPT_LIST ? add_list(out, row->id, value, a->spelling)
                                    : settings_add(out, value, a->spelling)))
            return out_of_memory(p);
        if (out->n == before)
            return bad_value(p, &(struct setting){value, a->spelling},
                             "names nothing; give one, or leave the option out");
    }
    return true;
}

/* All values of an option. One on the command line hides the environment. */
static bool gather(struct parse *p, enum option_id id, struct settings *out)
{
    const struct option_row *row = option_row(id);
    if (!option_belongs(row, p->args->command))
        return true;
    if (args_count(p->args, id))
        return gather_args(p, row, out);
    const char *name, *value = from_env(p, row, &name);
    if (!value)
        return true;
    struct str text = str_from(value), origin = str_from(name);
    if (!(row->flags & OPT_PATH) && !str_is_utf8(text)) {
        buf_printf(p->error, "%s: the value is not valid UTF-8", name);
        return fail(p, EXIT_USAGE);
    }
    bool ok =
        row->flags & OPT_MULTI ? add_list(out, id, text, origin) : settings_add(out, text, origin);
    return ok || out_of_memory(p);
}

/* Call `use` for each value of an option. */
typedef bool use_fn(struct parse *p, const struct setting *s);

static bool each(struct parse *p, enum option_id id, use_fn *use)
{
    struct settings values = {0};
    bool ok = gather(p, id, &values);
    for (size_t i = 0; ok && i < values.n; i++)
        ok = use(p, &values.v[i]);
    settings_fini(&values);
    return ok;
}

/* ---- values ---- */

static bool use_listen(struct parse *p, const struct setting *s)
{
    struct listen_spec spec;
    struct errctx why = {0};
    if (listen_parse(s->value, &spec, &why))
        return bad_value(p, s, why.text);
    return settings_add(&p->config->listen, s->value, s->origin) || out_of_memory(p);
}

static bool use_server_name(struct parse *p, const struct setting *s)
{
    struct hostname host;
    struct errctx why = {0};
    size_t colon = str_find(s->value, ':');
    if (hostname_parse(s->value, &host, &why))
        return bad_value(p, s, colon < s->value.n && colon == str_rfind(s->value, ':')
                                   ? "must be a name without a port"
                                   : why.text);
    return settings_add(&p->config->server_names, s->value, s->origin) || out_of_memory(p);
}

static bool use_port(struct parse *p, const struct setting *s)
{
    uint64_t n;
    if (!str_u64(s->value, 65535, &n))
        return bad_value(p, s, "must be a number from 0 to 65535");
    p->config->port = (uint16_t)n;
    return true;
}

static bool use_max_connections(struct parse *p, const struct setting *s)
{
    if (!str_u64(s->value, INT64_MAX, &p->config->max_connections))
        return bad_value(p, s, "must be a number; 0 is unlimited");
    p->config->max_connections_given = true;
    return true;
}

static bool use_workers(struct parse *p, const struct setting *s)
{
    uint64_t n;
    if (!str_u64(s->value, WORKERS_MAX, &n))
        return bad_value(p, s, "must be a number from 1 to 1024; 0 is one for each usable core");
    p->config->workers = (unsigned)n;
    return true;
}

/* "10", "0.5": seconds with at most three decimals. */
static bool parse_seconds(struct str text, uint64_t *ret_ms)
{
    size_t dot = str_find(text, '.');
    uint64_t whole, part = 0;
    if (!str_u64(str_of(text.p, dot), SECONDS_MAX, &whole))
        return false;
    if (dot < text.n) {
        struct str decimals = str_of(text.p + dot + 1, text.n - dot - 1);
        if (decimals.n > 3 || !str_u64(decimals, 999, &part))
            return false;
        for (size_t i = decimals.n; i < 3; i++)
            part *= 10;
    }
    *ret_ms = whole * 1000 + part;
    return true;
}

static bool use_drain_timeout(struct parse *p, const struct setting *s)
{
    return parse_seconds(s->value, &p->config->drain_timeout_ms) ||
           bad_value(p, s, "must be a number of seconds; 0 ends everything at once");
}

static bool unknown_timeout(struct parse *p, const struct setting *s, struct str name)
{
    const char *meant = suggest_timeout(name);
    bad_value(p, s, "there is no such time limit; ");
    if (meant)
        buf_printf(p->error, "did you mean %s? ", meant);
    buf_add_z(p->error, meant ? "They are" : "they are");
    for (unsigned t = 0; t < TIMEOUT_COUNT_; t++)
        buf_printf(p->error, "%s %s", t ? "," : "", timeout_name((enum timeout_name)t));
    return false;
}

static bool use_timeout(struct parse *p, const struct setting *s, unsigned *seen)
{
    size_t equals = str_find(s->value, '=');
    struct str name = str_of(s->value.p, equals);
    enum timeout_name t;
    uint64_t ms;
    if (equals == s->value.n)
        return bad_value(p, s, "must be NAME=SECONDS, as in connect=10");
    if (!timeout_find(name, &t))
        return unknown_timeout(p, s, name);
    if (str_find(s->value, ',') < s->value.n)
        return bad_value(p, s, "holds more than one limit; repeat the option for each");
    if (!parse_seconds(str_of(s->value.p + equals + 1, s->value.n - equals - 1), &ms) || ms == 0)
        return bad_value(p, s, "must be a number of seconds above 0, at most a year");
    if (*seen & 1u << t)
        return bad_value(p, s, "this time limit is given twice: leave one out");
    *seen |= 1u << t;
    p->config->timeout_ms[t] = ms;
    p->config->timeout_given[t] = true;
    return true;
}

static bool use_timeouts(struct parse *p)
{
    struct settings values = {0};
    unsigned seen = 0;
    bool ok = gather(p, OPTION_TIMEOUT, &values);
    for (size_t i = 0; ok && i < values.n; i++)
        ok = use_timeout(p, &values.v[i], &seen);
    settings_fini(&values);
    return ok;
}

static bool use_audit_log(struct parse *p, const struct setting *s)
{
    uint64_t fd;
    if (str_starts(s->value, STR("fd:")) &&
        !str_u64(str_of(s->value.p + 3, s->value.n - 3), INT32_MAX, &fd))
        return bad_value(p, s, "must be fd:N with the number of an open descriptor");
    return settings_add(&p->config->audit_log, s->value, s->origin) || out_of_memory(p);
}

/* "text" or "json". */
static bool is_json(struct parse *p, const struct setting *s, bool *ret_json)
{
    *ret_json = str_eq(s->value, STR("json"));
    return *ret_json || str_eq(s->value, STR("text")) || bad_value(p, s, "must be text or json");
}

static bool use_output(struct parse *p, const struct setting *s)
{
    return is_json(p, s, &p->config->output_json);
}

static bool use_log_format(struct parse *p, const struct setting *s)
{
    return is_json(p, s, &p->config->log_json);
}

static bool use_env_file(struct parse *p, const struct setting *s)
{
    if (str_eq(s->value, STR("-")))
        return bad_value(p, s, "must be a file (./- for one of that name); --output json prints "
                               "the variables");
    return setting_set(&p->config->env_file, s->value, s->origin) || out_of_memory(p);
}

static bool use_log_file(struct parse *p, const struct setting *s)
{
    return setting_set(&p->config->log_file, s->value, s->origin) || out_of_memory(p);
}

static bool use_upstream_proxy(struct parse *p, const struct setting *s)
{
    return setting_set(&p->config->upstream_proxy, s->value, s->origin) || out_of_memory(p);
}

static bool use_allow(struct parse *p, const struct setting *s)
{
    return settings_add(&p->config->allow, s->value, s->origin) || out_of_memory(p);
}

static bool use_deny(struct parse *p, const struct setting *s)
{
    return settings_add(&p->config->deny, s->value, s->origin) || out_of_memory(p);
}

static bool use_bypass(struct parse *p, const struct setting *s)
{
    return settings_add(&p->config->bypass, s->value, s->origin) || out_of_memory(p);
}

static bool use_nothing(struct parse *p, const struct setting *s)
{
    (void)p, (void)s;
    return true;
}

/* ---- password and log level ---- */

/* What is wrong with a password, without repeating it; NULL: nothing. */
static const char *wrong_pass(const struct parse *p, struct str pass)
{
    if (args_first(p->args, OPTION_NO_AUTH))
        return " and --no-auth exclude each other: leave one out";
    for (size_t i = 0; i < pass.n; i++) {
        if (ascii_is_ctl((unsigned char)pass.p[i]))
            return ": the password holds control characters; use visible ones";
    }
    if (!str_is_utf8(pass))
        return ": the value is not valid UTF-8";
    return pass.n > PASS_MAX_BYTES ? ": the password is longer than 4096 bytes" : NULL;
}

/* Whoever may connect may guess. */
static bool warn_short(struct parse *p, const char *origin, size_t n)
{
    enum { GUESSABLE = 8 };
    struct buf text;
    if (n >= GUESSABLE)
        return true;
    buf_init(&text, 128);
    buf_printf(&text, "%s: the password is shorter than %d bytes and easily guessed", origin,
               GUESSABLE);
    bool ok = buf_ok(&text) && settings_add(p->warnings, buf_str(&text), STR("command line"));
    buf_fini(&text);
    return ok || out_of_memory(p);
}

static bool use_pass(struct parse *p)
{
    const struct arg *a = args_first(p->args, OPTION_PASS);
    const char *origin = "--pass";
    const char *value = a ? a->value : from_env(p, option_row(OPTION_PASS), &origin);
    if (!value)
        return true;
    const char *wrong = wrong_pass(p, str_from(value));
    if (wrong || !*value) {
        buf_add_z(p->error, origin);
        buf_add_z(p->error, wrong ? wrong
                                  : " is empty: give a password, or leave it out for a random "
                                    "token");
        return fail(p, wrong ? EXIT_USAGE : EXIT_CONFIG);
    }
    p->config->pass = secret_new(str_from(value));
    return p->config->pass ? warn_short(p, origin, strlen(value)) : out_of_memory(p);
}

static bool use_log_level(struct parse *p)
{
    unsigned verbose = args_count(p->args, OPTION_VERBOSE);
    const char *ours = env_get(p->envp, "NONO_LOG"), *rust = env_get(p->envp, "RUST_LOG");
    enum log_level *level = &p->config->log_level;
    p->config->silent = args_first(p->args, OPTION_SILENT) != NULL;
    if (p->config->silent)
        *level = LOG_OFF;
    else if (verbose)
        *level = verbose == 1 ? LOG_INFO : verbose == 2 ? LOG_DEBUG : LOG_TRACE;
    else if (ours && !loglevel_word(str_from(ours), level))
        return bad_value(p, &(struct setting){str_from(ours), STR("NONO_LOG")},
                         "must be error, warn, info, debug, trace or off");
    else if (!ours && rust)
        loglevel_directives(str_from(rust), level);
    return true;
}

/* ---- old and foreign names ---- */

static bool warn_renamed(struct parse *p, const char *dashes, const char *old, const char *now)
{
    struct buf text;
    buf_init(&text, 256);
    buf_printf(&text, "%s%s is an old name; use %s%s", dashes, old, dashes, now);
    if (str_eq(str_from(now), STR("credential")) || str_eq(str_from(now), STR("NONO_CREDENTIAL")))
        buf_add_z(&text, " (it goes with version 1.0.0)");
    bool ok = buf_ok(&text) && settings_add(p->warnings, buf_str(&text), STR("command line"));
    buf_fini(&text);
    return ok || out_of_memory(p);
}

static bool typed(const struct args *args, const char *name)
{
    for (size_t i = 0; i < args->n; i++) {
        struct str s = args->v[i].spelling;
        if (str_starts(s, STR("--")) && str_eq(str_of(s.p + 2, s.n - 2), str_from(name)))
            return true;
    }
    return false;
}

static bool warn_old_names(struct parse *p)
{
    bool ok = true;
    for (const struct option_alias *a = option_aliases(); ok && a->name; a++) {
        if (typed(p->args, a->name))
            ok = warn_renamed(p, "--", a->name, option_row(a->id)->name);
    }
    for (const struct option_alias *a = option_legacy_env(); ok && a->name; a++) {
        if (env_get(p->envp, a->name))
            ok = warn_renamed(p, "", a->name, option_row(a->id)->env);
    }
    return ok;
}

/* ---- variables that nobody reads ---- */

static bool is_variable(struct str name)
{
    static const char *const others[] = {"NONO_LOG", "NONO_NO_UPDATE_CHECK", "NONO_UPDATE_URL",
                                         "NONO_NO_MIGRATE", "NONO_AUTO_MIGRATE", "NONO_NO_PROXY",
                                         "NONO_PROXY_TOKEN", "NONO_SESSION_ID",
                                         "NONO_KEYRING_TIMEOUT_SECS"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (str_eq(name, str_from(others[i])))
            return true;
    }
    for (int i = 0; i < OPTION_COUNT_; i++) {
        if (str_eq(name, str_from(option_row((enum option_id)i)->env)))
            return true;
    }
    for (const struct option_alias *a = option_legacy_env(); a->name; a++) {
        if (str_eq(name, str_from(a->name)))
            return true;
    }
    return false;
}

/* The variable that was probably meant, or NULL: others may have names in NONO_, too. */
static const char *near_variable(struct str name)
{
    enum { NEAR = 2 };
    for (int i = 0; i < OPTION_COUNT_; i++) {
        const char *env = option_row((enum option_id)i)->env;
        if (env && nearest_distance(name, str_from(env), NEAR) <= NEAR)
            return env;
    }
    return NULL;
}

/* A misspelt NONO_ALLOW_DOMAIN would leave the gateway open without a word. */
static bool warn_misspelt(struct parse *p)
{
    bool ok = true;
    for (size_t i = 0; ok && p->envp[i]; i++) {
        struct str rest = str_from(p->envp[i]), name;
        const char *near;
        if (!str_starts(rest, STR("NONO_")) || !str_next(&rest, '=', &name) || !rest.n ||
            is_variable(name) || !(near = near_variable(name)))
            continue;
        struct buf text;
        buf_init(&text, 512);
        buf_add_str(&text, str_of(name.p, name.n < 64 ? name.n : 64));
        buf_printf(&text, " has no effect; did you mean %s?", near);
        ok = (buf_ok(&text) && settings_add(p->warnings, buf_str(&text), STR("environment"))) ||
             out_of_memory(p);
        buf_fini(&text);
    }
    return ok;
}

static bool use_profile(struct parse *p, const struct setting *s)
{
    return setting_set(&p->config->profile, s->value, s->origin) || out_of_memory(p);
}

static bool use_extends(struct parse *p, const struct setting *s)
{
    return settings_add(&p->config->extends, s->value, s->origin) || out_of_memory(p);
}

static bool use_network_profile(struct parse *p, const struct setting *s)
{
    return setting_set(&p->config->network_profile, s->value, s->origin) || out_of_memory(p);
}

static bool use_credential(struct parse *p, const struct setting *s)
{
    for (size_t i = 0; i < p->config->credentials.n; i++)
        if (str_eq(p->config->credentials.v[i].value, s->value))
            return true; /* asked for twice is asked for once */
    return settings_add(&p->config->credentials, s->value, s->origin) || out_of_memory(p);
}

static bool use_allow_endpoint(struct parse *p, const struct setting *s)
{
    return settings_add(&p->config->endpoints, s->value, s->origin) || out_of_memory(p);
}

static bool profile_is_named(struct parse *p)
{
    const struct config *c = p->config;
    if (!c->extends.n || c->profile.value.p)
        return true;
    buf_add_str(p->error, c->extends.v[0].origin);
    buf_add_z(p->error, " needs a profile to go under: add --profile NAME_OR_PATH");
    return fail(p, EXIT_USAGE);
}

static bool use_all(struct parse *p)
{
    static const struct {
        enum option_id id;
        use_fn *use;
    } plain[] = {
        {OPTION_LISTEN, use_listen},
        {OPTION_PORT, use_port},
        {OPTION_SERVER_NAME, use_server_name},
        {OPTION_MAX_CONNECTIONS, use_max_connections},
        {OPTION_PROFILE, use_profile},
        {OPTION_EXTENDS, use_extends},
        {OPTION_NETWORK_PROFILE, use_network_profile},
        {OPTION_CREDENTIAL, use_credential},
        {OPTION_ALLOW_ENDPOINT, use_allow_endpoint},
        {OPTION_ALLOW_DOMAIN, use_allow},
        {OPTION_DENY_DOMAIN, use_deny},
        {OPTION_UPSTREAM_PROXY, use_upstream_proxy},
        {OPTION_UPSTREAM_BYPASS, use_bypass},
        {OPTION_DRAIN_TIMEOUT, use_drain_timeout},
        {OPTION_WORKERS, use_workers},
        {OPTION_AUDIT_LOG, use_audit_log},
        {OPTION_OUTPUT, use_output},
        {OPTION_ENV_FILE, use_env_file},
        {OPTION_LOG_FORMAT, use_log_format},
        {OPTION_LOG_FILE, use_log_file},
        {OPTION_THEME, use_nothing},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < ARRAY_LEN(plain); i++)
        ok = each(p, plain[i].id, plain[i].use);
    p->config->no_auth = args_first(p->args, OPTION_NO_AUTH) != NULL;
    p->config->allow_http2 = args_first(p->args, OPTION_ALLOW_HTTP2) != NULL;
    p->config->audit_fail_closed = args_first(p->args, OPTION_AUDIT_FAIL_CLOSED) != NULL;
    /* The password last: its emptiness is the lesser error. */
    ok = ok && profile_is_named(p) && use_timeouts(p);
    return ok && (p->args->command->id != COMMAND_PROXY || (use_log_level(p) && use_pass(p)));
}

int cli_proxy_parse(const struct args *args, char *const *envp, struct config *ret_config,
                    struct settings *ret_warnings, struct buf *error)
{
    struct parse p = {args, envp, ret_config, ret_warnings, error, 0};
    struct errctx why = {0};
    config_init(ret_config);
    *ret_warnings = (struct settings){0};
    /* With a profile only the whole can be judged (runtime_load). */
    if (use_all(&p) && warn_old_names(&p) && warn_misspelt(&p) && !ret_config->profile.value.p &&
        config_check(ret_config, &why)) {
        buf_add_z(error, why.text);
        p.code = EXIT_CONFIG;
    }
    return p.code;
}

static bool holds_secret(const struct option_row *row, const char *value)
{
    return row->flags & OPT_SECRET || (row->id == OPTION_UPSTREAM_PROXY && strchr(value, '@'));
}

void cli_proxy_wipe(const struct args *args, char **envp)
{
    for (size_t i = 0; i < args->n; i++) {
        if (args->v[i].value && holds_secret(args->v[i].row, args->v[i].value))
            harden_wipe_argument(args->v[i].value);
    }
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        const char *value = row->env ? env_get(envp, row->env) : NULL;
        if (value && holds_secret(row, value))
            env_wipe(envp, row->env);
    }
    for (const struct option_alias *a = option_legacy_env(); a->name; a++) {
        const char *value = env_get(envp, a->name);
        if (value && holds_secret(option_row(a->id), value))
            env_wipe(envp, a->name);
    }
}
