/* What helpers are run with: arguments, environment, stdin; and what may be told of them. */
#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "credential/bridge.h"
#include "sys/random.h"
#include <stdlib.h>

enum { KEYRING_TIMEOUT_MS = 120000 };

/* ---- the environment ---- */

/* Proxies would send a helper through ourselves; the others hold secrets of the gateway. */
static const char *const always_hidden[] = {
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "all_proxy", "NODE_USE_ENV_PROXY", "NONO_PROXY_TOKEN", "NONO_PROXY_PASS",
    "NONO_UPSTREAM_PROXY", "NONO_EXTERNAL_PROXY",
};

/* Room for one more pointer and a NULL behind it. */
static bool grow(char ***v, size_t n, size_t *cap)
{
    if (n + 2 <= *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 16;
    char **p = mem_realloc(*v, more * sizeof(*p));
    if (!p)
        return false;
    *v = p;
    *cap = more;
    return true;
}

static uint64_t keyring_timeout(const struct helper_env *env)
{
    const char *text = helper_env_get(env, STR("NONO_KEYRING_TIMEOUT_SECS"));
    uint64_t seconds;
    if (text && str_u64(str_trim(str_from(text)), UINT64_C(86400) * 365, &seconds))
        return seconds * 1000;
    if (text)
        log_warn("NONO_KEYRING_TIMEOUT_SECS is no number of seconds: %d are used",
                 KEYRING_TIMEOUT_MS / 1000);
    return KEYRING_TIMEOUT_MS;
}

enum err helper_env_init(struct helper_env *env, char *const *envp)
{
    struct buf id;
    uint64_t drawn = random_u64();
    *env = (struct helper_env){0};
    while (envp && envp[env->n])
        env->n++;
    env->v = mem_alloc((env->n + 1) * sizeof(*env->v));
    if (!env->v)
        return ERR_NOMEM;
    for (size_t i = 0; i < env->n; i++)
        env->v[i] = envp[i];
    env->v[env->n] = NULL;
    for (size_t i = 0; i < ARRAY_LEN(always_hidden); i++)
        if (helper_env_hide(env, str_from(always_hidden[i])) != ERR_OK) {
            helper_env_fini(env);
            return ERR_NOMEM;
        }
    env->keyring_timeout_ms = keyring_timeout(env);
    buf_init(&id, 64);
    encode_hex(&id, &drawn, sizeof(drawn));
    if (id.n == sizeof(env->session_id) - 1)
        memcpy(env->session_id, id.p, id.n);
    buf_fini(&id);
    return ERR_OK;
}

void helper_env_fini(struct helper_env *env)
{
    for (size_t i = 0; i < env->n_hidden; i++)
        mem_free(env->hidden[i]);
    mem_free(env->hidden);
    mem_free(env->v);
    *env = (struct helper_env){0};
}

static struct str name_of(const char *variable)
{
    struct str s = str_from(variable);
    return str_of(s.p, str_find(s, '='));
}

const char *helper_env_get(const struct helper_env *env, struct str name)
{
    for (size_t i = 0; i < env->n; i++)
        if (str_eq(name_of(env->v[i]), name) && env->v[i][name.n] == '=')
            return env->v[i] + name.n + 1;
    return NULL;
}

bool helper_env_hides(const struct helper_env *env, struct str name)
{
    for (size_t i = 0; i < env->n_hidden; i++)
        if (str_eq(str_from(env->hidden[i]), name))
            return true;
    return false;
}

enum err helper_env_hide(struct helper_env *env, struct str name)
{
    if (helper_env_hides(env, name))
        return ERR_OK;
    if (!grow(&env->hidden, env->n_hidden, &env->cap_hidden))
        return ERR_NOMEM;
    char *copy = mem_dup(name.p, name.n);
    if (!copy)
        return ERR_NOMEM;
    env->hidden[env->n_hidden++] = copy;
    return ERR_OK;
}

/* ---- orders ---- */

void order_init(struct order *o, const struct helper_env *env, uint64_t timeout_ms)
{
    *o = (struct order){.env = env, .timeout_ms = timeout_ms};
    buf_init(&o->in, 4u << 20);
}

static void texts_free(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(v[i]);
    mem_free(v);
}

void order_fini(struct order *o)
{
    texts_free(o->argv, o->n_argv);
    texts_free(o->own, o->n_own);
    buf_wipe_fini(&o->in);
    bridge_close(o->bridge);
    o->bridge = NULL;
    o->argv = o->own = NULL;
    o->n_argv = o->n_own = 0;
}

void order_argument(struct order *o, struct str text)
{
    char *copy = NULL;
    if (grow(&o->argv, o->n_argv, &o->cap_argv))
        copy = mem_dup(text.p, text.n);
    if (!copy) {
        o->failed = true;
        return;
    }
    o->argv[o->n_argv++] = copy;
    o->argv[o->n_argv] = NULL;
}

void order_variable(struct order *o, const char *name, struct str value)
{
    struct buf text;
    char *copy = NULL;
    buf_init(&text, 1u << 20);
    buf_add_z(&text, name);
    buf_add_c(&text, '=');
    buf_add_str(&text, str_of(value.p, str_find(value, 0)));
    if (buf_ok(&text) && grow(&o->own, o->n_own, &o->cap_own))
        copy = mem_dup(text.p, text.n);
    buf_fini(&text);
    if (copy)
        o->own[o->n_own++] = copy;
    else
        o->failed = true;
}

enum err order_program(struct order *o, struct str name, const char *advice, struct errctx *ctx)
{
    const char *path = helper_env_get(o->env, STR("PATH"));
    char *found = NULL;
    enum err e = file_find_program(name, str_from(path), &found);
    if (e == ERR_NOMEM)
        return e;
    if (e == ERR_INVALID)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%.*s is there but cannot be run",
                       STR_ARG(name));
    if (e)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%.*s is not installed: %s", STR_ARG(name),
                       advice);
    order_argument(o, str_from(found));
    mem_free(found);
    return o->failed ? ERR_NOMEM : ERR_OK;
}

static bool is_own(const struct order *o, struct str name)
{
    for (size_t i = 0; i < o->n_own; i++)
        if (str_eq(name_of(o->own[i]), name))
            return true;
    return false;
}

/* What only we say: one of the gateway's own (it may itself run below a helper) would be taken for ours. */
static bool is_ours_to_say(struct str name)
{
    return str_eq(name, STR("NONO_SUPERVISOR_PATH")) || str_eq(name, STR("NONO_CAPTURE_ALLOW_LAUNCH_SERVICES"));
}

/* The gateway's environment less what is hidden, then ours. */
static char **build_environment(const struct order *o)
{
    size_t n = 0;
    char **v = mem_alloc((o->env->n + o->n_own + 1) * sizeof(*v));
    if (!v)
        return NULL;
    for (size_t i = 0; i < o->env->n; i++) {
        struct str name = name_of(o->env->v[i]);
        if (!helper_env_hides(o->env, name) && !is_own(o, name) && !is_ours_to_say(name))
            v[n++] = o->env->v[i];
    }
    for (size_t i = 0; i < o->n_own; i++)
        v[n++] = o->own[i];
    v[n] = NULL;
    return v;
}

enum err order_start(struct order *o, struct loop *control, child_fn *fn, void *owner,
                     struct child **ret_child)
{
    char **environment = o->failed || !buf_ok(&o->in) ? NULL : build_environment(o);
    if (!environment)
        return ERR_NOMEM;
    struct child_spec spec = {.argv = o->argv,
                              .envp = environment,
                              .stdin_bytes = o->has_in ? str_of(o->in.p ? o->in.p : "", o->in.n)
                                                       : STR_NULL,
                              .terminal_stdin = o->terminal_stdin,
                              .terminal_stderr = o->terminal_stderr,
                              .no_output = o->no_output,
                              .timeout_ms = o->timeout_ms,
                              .max_stdout = VALUE_BYTES,
                              .max_stderr = STDERR_BYTES};
    enum err e = child_start(control, &spec, fn, owner, ret_child);
    mem_free(environment);
    return e;
}

/* ---- what every helper may come to ---- */

struct str trim_lines(struct str out)
{
    while (out.n && (out.p[out.n - 1] == '\n' || out.p[out.n - 1] == '\r'))
        out.n--;
    return out;
}

enum err material_take(struct str value, const char *what, struct material **ret_material,
                       struct errctx *ctx)
{
    enum err e = material_check(value, what, ctx);
    if (e)
        return e;
    struct secret *secret = secret_new(value);
    struct material *m = secret ? material_new(secret, NULL, 0) : NULL;
    if (!m)
        return ERR_NOMEM;
    *ret_material = m;
    return ERR_OK;
}

enum err helper_verdict(const char *tool, const struct child_result *r, struct report *report,
                        struct errctx *ctx)
{
    static const char *const actions[] = {[CHILD_EXITED] = "command_failed",
                                          [CHILD_SIGNALLED] = "command_failed",
                                          [CHILD_TIMEOUT] = "timeout",
                                          [CHILD_TOO_MUCH] = "output_too_large",
                                          [CHILD_NOT_STARTED] = "spawn_failed"};
    if (r->end == CHILD_EXITED && r->status == 0)
        return ERR_OK;
    report->action = actions[r->end];
    switch (r->end) {
    case CHILD_EXITED:
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s ended with exit status %d", tool,
                       r->status);
    case CHILD_SIGNALLED:
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s was ended by signal %d", tool,
                       r->status);
    case CHILD_TIMEOUT:
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s took too long and was ended", tool);
    case CHILD_TOO_MUCH:
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s printed more than %d KiB", tool,
                       VALUE_BYTES / 1024);
    case CHILD_NOT_STARTED:
        break;
    }
    return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s could not be started: %s", tool,
                   err_errno_text(r->status));
}
