/* Key stores that are asked through their own tools: the system keyring, op, bw, security. */
#include "base/encode.h"
#include "credential/credential_int.h"
#include "credential/pick.h"

enum { TOOL_TIMEOUT_MS = 30000 };

/* Two parts around a slash, without a query. */
static void split(struct str rest, struct str *ret_first, struct str *ret_second)
{
    struct str path = str_of(rest.p, str_find(rest, '?'));
    size_t slash = str_find(path, '/');
    *ret_first = str_of(path.p, slash);
    *ret_second = slash < path.n ? str_of(path.p + slash + 1, path.n - slash - 1) : STR_NULL;
}

static bool says(struct str text, const char *words)
{
    struct str w = str_from(words);
    return text.n >= w.n && memmem(text.p, text.n, w.p, w.n) != NULL;
}

static bool says_any(struct str text, const char *const *list)
{
    for (; *list; list++)
        if (says(text, *list))
            return true;
    return false;
}

static enum err missing_or(const struct source *s, const char *store, const char *rest,
                           struct errctx *ctx)
{
    struct buf name;
    buf_init(&name, 4096);
    reference_redact(&name, s->reference);
    enum err e = err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s has no item %.*s%s", store,
                         STR_ARG(buf_str(&name)), rest);
    buf_fini(&name);
    return e;
}

static enum err missing(const struct source *s, const char *store, struct errctx *ctx)
{
    return missing_or(s, store, "", ctx);
}

static bool failed_with(const struct child_result *r, const char *const *words)
{
    return r->end == CHILD_EXITED && r->status != 0 && says_any(r->err, words);
}

static enum err take_line(const struct child_result *r, const char *what,
                          struct material **ret_material, struct errctx *ctx)
{
    return material_take(trim_lines(r->out), what, ret_material, ctx);
}

/* Whether its program is there. */
static enum err probe_order(struct source *s, struct errctx *ctx)
{
    struct order o;
    order_init(&o, s->env, 0);
    enum err e = s->kind->prepare(s, &(struct asked){0}, &o, ctx);
    order_fini(&o);
    return e;
}

/* ---- the keyring ---- */

static void keyring_item(const struct source *s, struct str *ret_service, struct str *ret_account)
{
    if (str_starts(s->reference, STR("keyring://"))) {
        split(s->rest, ret_service, ret_account);
    } else {
        *ret_service = STR("nono");
        *ret_account = s->reference;
    }
}

static enum err keyring_prepare(struct source *s, const struct asked *a, struct order *o,
                                struct errctx *ctx)
{
    struct str service, account;
    (void)a;
    keyring_item(s, &service, &account);
    o->timeout_ms = s->env->keyring_timeout_ms;
#ifdef __APPLE__
    enum err e = order_program(o, STR("security"), "it is part of macOS: look at PATH", ctx);
    const struct str arguments[] = {STR("find-generic-password"), STR("-s"), service, STR("-a"),
                                    account, STR("-w")};
#else
    enum err e = order_program(o, STR("secret-tool"), "install the package libsecret-tools", ctx);
    const struct str arguments[] = {STR("lookup"), STR("--"), STR("service"), service,
                                    STR("username"), account};
#endif
    for (size_t i = 0; !e && i < ARRAY_LEN(arguments); i++)
        order_argument(o, arguments[i]);
    return e;
}

/* go-keyring stores some values as base64 behind a mark. */
static enum err take_go_keyring(struct str value, struct material **ret_material,
                                struct errctx *ctx)
{
    struct str mark = STR("go-keyring-base64:");
    struct buf text;
    if (!str_starts(value, mark))
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "the keyring's item does not begin with go-keyring-base64:");
    buf_init(&text, VALUE_BYTES);
    enum err e = ERR_OK;
    if (!decode_base64(&text, str_of(value.p + mark.n, value.n - mark.n)))
        e = err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "the keyring's item is no valid base64");
    else
        e = material_take(buf_str(&text), "the keyring's item", ret_material, ctx);
    buf_wipe_fini(&text);
    return e;
}

static enum err keyring_collect(struct source *s, const struct child_result *r,
                                struct material **ret_material, struct report *report,
                                struct errctx *ctx)
{
    static const char *const absent[] = {"could not be found in the keychain",
                                         "The specified item could not be found", NULL};
    static const char *const locked[] = {"User interaction is not allowed", "locked", NULL};
    static const char *const away[] = {"org.freedesktop.secrets", "D-Bus", "Could not connect",
                                       NULL};
    if (r->end == CHILD_TIMEOUT)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "the keyring did not answer in time: unlock it, or set "
                       "NONO_KEYRING_TIMEOUT_SECS");
    if (failed_with(r, absent))
        return missing(s, "the keyring", ctx);
    /* secret-tool says no more of one whose prompt nobody can answer */
    if (r->end == CHILD_EXITED && r->status == 1 && trim_lines(r->err).n == 0)
        return missing_or(s, "the keyring", ", or is locked", ctx);
    if (failed_with(r, locked))
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "the keyring is locked: unlock it");
    if (failed_with(r, away))
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "no keyring service can be reached: start one, and the gateway in its "
                       "session (DBUS_SESSION_BUS_ADDRESS)");
    enum err e = helper_verdict("the keyring's tool", r, report, ctx);
    if (e)
        return e;
    if (str_ends(s->reference, STR("?decode=go-keyring")))
        return take_go_keyring(trim_lines(r->out), ret_material, ctx);
    return take_line(r, "the keyring's item", ret_material, ctx);
}

const struct source_kind source_keyring = {.scheme = REFERENCE_KEYRING,
                                           .name = "keyring",
                                           .prepare = keyring_prepare,
                                           .collect = keyring_collect,
                                           .probe = probe_order};

/* ---- 1Password ---- */

static enum err op_prepare(struct source *s, const struct asked *a, struct order *o,
                           struct errctx *ctx)
{
    (void)a;
    o->timeout_ms = TOOL_TIMEOUT_MS;
    enum err e = order_program(o, STR("op"), "install the 1Password command line tool", ctx);
    if (e)
        return e;
    order_argument(o, STR("read"));
    order_argument(o, STR("--"));
    order_argument(o, s->reference);
    return ERR_OK;
}

static enum err op_collect(struct source *s, const struct child_result *r,
                           struct material **ret_material, struct report *report,
                           struct errctx *ctx)
{
    static const char *const locked[] = {"not signed in", "sign in", "authentication required",
                                         "session expired", NULL};
    static const char *const absent[] = {"not found", "could not find", "isn't an item", NULL};
    if (failed_with(r, locked))
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "1Password is not signed in: run `op signin`");
    if (failed_with(r, absent))
        return missing(s, "1Password", ctx);
    enum err e = helper_verdict("op", r, report, ctx);
    return e ? e : take_line(r, "the 1Password field", ret_material, ctx);
}

const struct source_kind source_op = {.scheme = REFERENCE_OP,
                                      .name = "op",
                                      .prepare = op_prepare,
                                      .collect = op_collect,
                                      .probe = probe_order};

/* ---- Bitwarden ---- */

static enum err bw_prepare(struct source *s, const struct asked *a, struct order *o,
                           struct errctx *ctx)
{
    struct str item, field;
    (void)a;
    split(s->rest, &item, &field);
    o->timeout_ms = TOOL_TIMEOUT_MS;
    enum err e = order_program(o, STR("bw"), "install the Bitwarden command line tool", ctx);
    if (e)
        return e;
    order_argument(o, STR("get"));
    order_argument(o, field.n ? STR("item") : STR("password"));
    order_argument(o, STR("--"));
    order_argument(o, item);
    return ERR_OK;
}

/* The built-in slots of an item. */
static struct str bw_slot(struct str item, struct str field)
{
    struct str login = pick_get(item, "login"), uri;
    size_t at = 0;
    if (str_eq(field, STR("password")))
        return pick_get(login, "password");
    if (str_eq(field, STR("username")))
        return pick_get(login, "username");
    if (str_eq(field, STR("totp")))
        return pick_get(login, "totp");
    if (str_eq(field, STR("notes")))
        return pick_get(item, "notes");
    if (str_eq(field, STR("uri")) && pick_item(pick_get(login, "uris"), &at, &uri))
        return pick_get(uri, "uri");
    return STR_NULL;
}

static bool text_is(struct str string, struct str want)
{
    struct buf text;
    buf_init(&text, string.n);
    pick_text(string, &text);
    bool same = pick_kind(string) == '"' && buf_ok(&text) && str_eq(buf_str(&text), want);
    buf_wipe_fini(&text);
    return same;
}

static struct str bw_field(struct str item, struct str field)
{
    struct str found = bw_slot(item, field), list = pick_get(item, "fields"), f;
    size_t at = 0;
    if (pick_kind(found) == '"')
        return found;
    while (pick_item(list, &at, &f))
        if (text_is(pick_get(f, "name"), field) && pick_kind(pick_get(f, "value")) == '"')
            return pick_get(f, "value");
    return STR_NULL;
}

static enum err bw_take_field(struct source *s, struct str out, struct material **ret_material,
                              struct errctx *ctx)
{
    struct str item, field;
    struct buf text;
    split(s->rest, &item, &field);
    if (!pick_valid(out))
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "bw printed no valid JSON");
    struct str value = bw_field(str_trim(out), field);
    if (!value.p)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "the Bitwarden item has no field %.*s",
                       STR_ARG(field));
    buf_init(&text, VALUE_BYTES);
    pick_text(value, &text);
    enum err e = buf_ok(&text) ? material_take(buf_str(&text), "the Bitwarden field", ret_material,
                                               ctx)
                               : ERR_NOMEM;
    buf_wipe_fini(&text);
    return e;
}

static enum err bw_collect(struct source *s, const struct child_result *r,
                           struct material **ret_material, struct report *report,
                           struct errctx *ctx)
{
    static const char *const locked[] = {"not authenticated",   "You are not logged in",
                                         "Session has expired", "Vault is locked",
                                         "Master password",     "ERR_USE_AFTER_CLOSE", NULL};
    static const char *const absent[] = {"not found", "Not found", "Couldn't find", NULL};
    bool blank = r->end == CHILD_EXITED && r->status == 0 && trim_lines(r->out).n == 0;
    if (failed_with(r, locked) || blank)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "Bitwarden is locked or not logged in: run `bw unlock` and set BW_SESSION");
    if (failed_with(r, absent))
        return missing(s, "Bitwarden", ctx);
    enum err e = helper_verdict("bw", r, report, ctx);
    if (e)
        return e;
    if (str_find(s->rest, '/') < s->rest.n)
        return bw_take_field(s, trim_lines(r->out), ret_material, ctx);
    return take_line(r, "the Bitwarden password", ret_material, ctx);
}

const struct source_kind source_bw = {.scheme = REFERENCE_BW,
                                      .name = "bw",
                                      .prepare = bw_prepare,
                                      .collect = bw_collect,
                                      .probe = probe_order};

/* ---- Apple's passwords ---- */

static enum err apple_prepare(struct source *s, const struct asked *a, struct order *o,
                              struct errctx *ctx)
{
    (void)a;
#ifdef __APPLE__
    struct str server, account;
    split(s->rest, &server, &account);
    o->timeout_ms = TOOL_TIMEOUT_MS;
    enum err e = order_program(o, STR("security"), "it is part of macOS: look at PATH", ctx);
    const struct str arguments[] = {STR("find-internet-password"), STR("-s"), server, STR("-a"),
                                    account, STR("-w")};
    for (size_t i = 0; !e && i < ARRAY_LEN(arguments); i++)
        order_argument(o, arguments[i]);
    return e;
#else
    (void)s, (void)o;
    return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                   "apple-password:// works on macOS only: use keyring://, file:// or env:// here");
#endif
}

static enum err apple_collect(struct source *s, const struct child_result *r,
                              struct material **ret_material, struct report *report,
                              struct errctx *ctx)
{
    static const char *const absent[] = {"could not be found in the keychain",
                                         "The specified item could not be found", NULL};
    if (failed_with(r, absent))
        return missing(s, "the keychain", ctx);
    enum err e = helper_verdict("security", r, report, ctx);
    return e ? e : take_line(r, "the keychain's item", ret_material, ctx);
}

const struct source_kind source_apple = {.scheme = REFERENCE_APPLE,
                                         .name = "apple-password",
                                         .prepare = apple_prepare,
                                         .collect = apple_collect,
                                         .probe = probe_order};
