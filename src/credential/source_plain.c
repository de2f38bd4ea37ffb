/* env:// and file://: values that are there without asking anybody. */
#include "base/mem.h"
#include "credential/credential_int.h"

/* ---- env ---- */

static enum err env_missing(const struct source *s, bool set, struct errctx *ctx)
{
    if (set)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "the environment variable %.*s is empty: set it and start the gateway anew",
                       STR_ARG(s->rest));
    return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                   "the environment variable %.*s is not set: set it and start the gateway anew",
                   STR_ARG(s->rest));
}

static enum err env_look(struct source *s, struct material **ret_material, struct errctx *ctx)
{
    const char *value = helper_env_get(s->env, s->rest);
    char what[SENTENCE_BYTES];
    struct buf text;
    if (!value || !*value)
        return env_missing(s, value != NULL, ctx);
    buf_init(&text, sizeof(what) - 1);
    buf_printf(&text, "the environment variable %.*s", STR_ARG(s->rest));
    struct str t = buf_ok(&text) ? buf_str(&text) : STR("the environment variable");
    memcpy(what, t.p, t.n);
    what[t.n] = 0;
    buf_fini(&text);
    return material_take(str_from(value), what, ret_material, ctx);
}

static enum err look_and_drop(struct source *s, struct errctx *ctx)
{
    struct material *m = NULL;
    enum err e = s->kind->look(s, &m, ctx);
    if (!e)
        material_unref(m);
    return e;
}

const struct source_kind source_env = {
    .scheme = REFERENCE_ENV, .name = "env", .look = env_look, .probe = look_and_drop};

/* ---- file ---- */

char *source_path(const struct source *s)
{
    return mem_dup(s->rest.p, s->rest.n);
}

/* Missing and unreadable are alike: a file that is being replaced is often both for a moment. */
static enum err file_failed(const struct source *s, enum err why, int os_errno, struct errctx *ctx)
{
    struct buf name;
    buf_init(&name, 4096);
    reference_redact(&name, s->reference);
    struct str n = buf_str(&name);
    enum err e;
    if (why == ERR_NOT_FOUND)
        e = err_set(ctx, ERR_NOT_FOUND, "%.*s is missing: it is used once it is there", STR_ARG(n));
    else if (why == ERR_TOO_LARGE)
        e = err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%.*s is larger than %d KiB", STR_ARG(n),
                    VALUE_BYTES / 1024);
    else if (why == ERR_INVALID)
        e = err_set(ctx, ERR_NOT_FOUND, "%.*s is no regular file", STR_ARG(n));
    else if (why == ERR_EOF)
        e = err_set(ctx, ERR_NOT_FOUND, "%.*s is empty: it is used once it is filled", STR_ARG(n));
    else
        e = err_set(ctx, ERR_NOT_FOUND, "%.*s cannot be read: %s", STR_ARG(n),
                    err_errno_text(os_errno));
    buf_fini(&name);
    return e;
}

/* Exactly one line break at the end goes; deliberate white space stays. */
static struct str strip_line(struct str s)
{
    if (s.n && s.p[s.n - 1] == '\n') {
        s.n--;
        if (s.n && s.p[s.n - 1] == '\r')
            s.n--;
    }
    return s;
}

static enum err file_look(struct source *s, struct material **ret_material, struct errctx *ctx)
{
    char *path = source_path(s), *bytes = NULL;
    size_t n = 0;
    int os_errno = 0;
    if (!path)
        return ERR_NOMEM;
    enum err e = file_read(path, VALUE_BYTES, &bytes, &n, &os_errno);
    mem_free(path);
    if (e)
        return e == ERR_NOMEM ? e : file_failed(s, e, os_errno, ctx);
    struct str value = strip_line(str_of(bytes, n));
    if (value.n == 0)
        e = file_failed(s, ERR_EOF, 0, ctx);
    else
        e = material_take(value, "the credential's file", ret_material, ctx);
    mem_wipe(bytes, n);
    mem_free(bytes);
    return e;
}

const struct source_kind source_file = {
    .scheme = REFERENCE_FILE, .name = "file", .look = file_look, .probe = look_and_drop};
