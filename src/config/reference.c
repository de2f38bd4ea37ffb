#include "config/reference.h"
#include "base/buf.h"
#include <stdlib.h>
#include <string.h>

static enum err invalid(struct errctx *ctx, const char *sentence)
{
    return err_set(ctx, ERR_INVALID, "%s", sentence);
}

bool name_is_word(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '_')
            return false;
    }
    return s.n > 0;
}

bool name_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_tchar((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

static bool listed(struct str s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_nocase(s, str_from(names[i])))
            return true;
    return false;
}

bool header_is_safe(struct str s)
{
    static const char *const unsafe[] = {"host",
                                         "content-length",
                                         "transfer-encoding",
                                         "connection",
                                         "proxy-authorization",
                                         "upgrade",
                                         "te",
                                         "trailer",
                                         "keep-alive",
                                         "proxy-authenticate"};
    return name_is_token(s) && !listed(s, unsafe, ARRAY_LEN(unsafe));
}

enum err env_name_check(struct str name, struct errctx *ctx)
{
    static const char *const dangerous[] = {"LD_PRELOAD",
                                            "LD_LIBRARY_PATH",
                                            "LD_AUDIT",
                                            "DYLD_LIBRARY_PATH",
                                            "DYLD_FRAMEWORK_PATH",
                                            "DYLD_INSERT_LIBRARIES",
                                            "BASH_ENV",
                                            "ENV",
                                            "IFS",
                                            "CDPATH",
                                            "PROMPT_COMMAND",
                                            "NODE_OPTIONS",
                                            "NODE_PATH",
                                            "PYTHONSTARTUP",
                                            "PYTHONPATH",
                                            "PERL5OPT",
                                            "PERL5LIB",
                                            "RUBYOPT",
                                            "RUBYLIB",
                                            "JAVA_TOOL_OPTIONS",
                                            "_JAVA_OPTIONS",
                                            "GOFLAGS",
                                            "PATH",
                                            "HOME",
                                            "DOTNET_STARTUP_HOOKS",
                                            "SHELL"};
    if (!name_is_word(name))
        return err_set(ctx, ERR_INVALID,
                       "\"%.*s\" is no name of an environment variable (letters, digits, _)",
                       STR_ARG(name));
    if (listed(name, dangerous, ARRAY_LEN(dangerous)))
        return err_set(ctx, ERR_INVALID,
                       "the environment variable %.*s changes how programs run and is not taken",
                       STR_ARG(name));
    return ERR_OK;
}

/* ---- references ---- */

static bool has_any(struct str s, const char *set)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == 0 || strchr(set, s.p[i]))
            return true;
    return false;
}

/* What no reference that goes to a tool may hold. */
static const char forbidden[] = ";|&$`(){}<>!\\\"'\n\r";

/* Segments between slashes: their number, 0 when one is empty. */
static size_t count_segments(struct str s)
{
    struct str rest = s, part;
    size_t n = 0;
    while (str_next(&rest, '/', &part)) {
        if (part.n == 0)
            return 0;
        n++;
    }
    return n;
}

static enum err check_tool(struct str rest, struct errctx *ctx)
{
    if (has_any(rest, forbidden))
        return invalid(ctx, "the reference holds a character that shells treat specially");
    if (has_any(rest, "?#"))
        return invalid(ctx, "the reference holds ? or #");
    return ERR_OK;
}

static enum err check_env(struct str rest, struct errctx *ctx)
{
    return env_name_check(rest, ctx);
}

static enum err check_file(struct str rest, struct errctx *ctx)
{
    struct str path = rest, part;
    bool more_than_slashes = false;
    if (rest.n == 0 || rest.p[0] != '/')
        return invalid(ctx, "file:// needs an absolute path, as in file:///run/secrets/name");
    if (has_any(rest, "\n\r;`|$&><"))
        return invalid(ctx, "the path holds a character that shells treat specially");
    while (str_next(&path, '/', &part)) {
        if (str_eq(part, STR("..")))
            return invalid(ctx, "the path holds a .. component");
        more_than_slashes |= part.n > 0;
    }
    return more_than_slashes ? ERR_OK : invalid(ctx, "file:// names no file");
}

static enum err check_op(struct str rest, struct errctx *ctx)
{
    enum err e = check_tool(rest, ctx);
    if (!e && count_segments(rest) < 3)
        return invalid(ctx, "op:// needs vault, item and field: op://VAULT/ITEM/FIELD");
    return e;
}

static enum err check_bw(struct str rest, struct errctx *ctx)
{
    enum err e = check_tool(rest, ctx);
    size_t n = count_segments(rest);
    struct str part;
    if (e)
        return e;
    if (has_any(rest, "="))
        return invalid(ctx, "the reference holds =");
    if (n < 1 || n > 2)
        return invalid(ctx, "bw:// needs an item and at most one field: bw://ITEM/FIELD");
    while (str_next(&rest, '/', &part))
        if (part.p[0] == '-')
            return invalid(ctx, "no part of a bw:// reference may begin with -");
    return ERR_OK;
}

static enum err check_apple(struct str rest, struct errctx *ctx)
{
    enum err e = check_tool(rest, ctx);
    if (!e && count_segments(rest) != 2)
        return invalid(ctx, "apple-password:// needs server and account: "
                            "apple-password://SERVER/ACCOUNT");
    return e;
}

static enum err check_keyring(struct str rest, struct errctx *ctx)
{
    size_t query = str_find(rest, '?');
    struct str path = str_of(rest.p, query);
    struct str params = query < rest.n ? str_of(rest.p + query + 1, rest.n - query - 1) : STR_NULL;
    if (rest.n > 1024)
        return invalid(ctx, "the reference is longer than 1024 bytes");
    if (has_any(rest, "#") || has_any(path, forbidden))
        return invalid(ctx, "the reference holds a character that is not taken");
    if (count_segments(path) != 2)
        return invalid(ctx, "keyring:// needs service and account: keyring://SERVICE/ACCOUNT");
    if (query < rest.n && !str_eq(params, STR("decode=go-keyring")))
        return invalid(ctx, "keyring:// knows only the parameter decode=go-keyring");
    return ERR_OK;
}

static enum err check_cmd(struct str rest, struct errctx *ctx)
{
    return name_is_word(rest) ? ERR_OK
                              : invalid(ctx, "cmd:// needs a name of letters, digits and _");
}

static const struct reference_kind {
    const char *prefix;
    enum reference_scheme scheme;
    enum err (*check)(struct str rest, struct errctx *ctx);
} kinds[] = {
    {"env://", REFERENCE_ENV, check_env},
    {"file://", REFERENCE_FILE, check_file},
    {"op://", REFERENCE_OP, check_op},
    {"bw://", REFERENCE_BW, check_bw},
    {"apple-password://", REFERENCE_APPLE, check_apple},
    {"apple-passwords://", REFERENCE_APPLE, check_apple},
    {"keyring://", REFERENCE_KEYRING, check_keyring},
    {"cmd://", REFERENCE_CMD, check_cmd},
};

static bool has_scheme(struct str text)
{
    size_t colon = str_find(text, ':');
    return str_starts(str_of(text.p + colon, text.n - colon), STR("://"));
}

enum err reference_parse(struct str text, enum reference_scheme *ret_scheme, struct errctx *ctx)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct str prefix = str_from(kinds[i].prefix);
        if (!str_starts(text, prefix))
            continue;
        enum err e = kinds[i].check(str_of(text.p + prefix.n, text.n - prefix.n), ctx);
        if (!e)
            *ret_scheme = kinds[i].scheme;
        return e;
    }
    if (text.n == 0)
        return invalid(ctx, "the reference is empty");
    if (has_scheme(text))
        return invalid(ctx, "unknown scheme: write env://, file://, keyring://, op://, bw://, "
                            "apple-password:// or cmd://");
    if (!name_is_word(text))
        return invalid(ctx, "a keyring account is letters, digits and _");
    *ret_scheme = REFERENCE_KEYRING;
    return ERR_OK;
}

/* ---- durations ---- */

enum err duration_parse(struct str text, uint64_t *ret_seconds, struct errctx *ctx)
{
    static const struct {
        char suffix;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    uint64_t unit = 1, number;
    struct str digits = text;
    while (digits.n && strchr(" \t\r\n\f\v", digits.p[0]) && digits.p[0])
        digits.p++, digits.n--;
    while (digits.n && strchr(" \t\r\n\f\v", digits.p[digits.n - 1]) && digits.p[digits.n - 1])
        digits.n--;
    if (digits.n && digits.p[0] == '+')
        digits.p++, digits.n--;
    for (size_t i = 0; digits.n && i < ARRAY_LEN(units); i++) {
        if (digits.p[digits.n - 1] != units[i].suffix)
            continue;
        unit = units[i].seconds;
        digits.n--;
        break;
    }
    if (!str_u64(digits, UINT64_MAX, &number) || number == 0 || number > UINT64_MAX / unit)
        return err_set(ctx, ERR_INVALID,
                       "\"%.*s\" is no duration: write a number above 0 with s, m, h or d",
                       STR_ARG(text));
    *ret_seconds = number * unit;
    return ERR_OK;
}

/* ---- paths ---- */

static size_t word_end(struct str s, size_t at)
{
    while (at < s.n && (ascii_is_alpha((unsigned char)s.p[at]) ||
                        ascii_is_digit((unsigned char)s.p[at]) || s.p[at] == '_'))
        at++;
    return at;
}

static const char *variable(struct str name)
{
    char text[256];
    if (name.n == 0 || name.n >= sizeof(text))
        return NULL;
    memcpy(text, name.p, name.n);
    text[name.n] = 0;
    return getenv(text);
}

/* Further `$NAME`s in the text; unset ones stay. */
static void add_substituted(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t end = s.p[i] == '$' ? word_end(s, i + 1) : i;
        const char *value = end > i + 1 ? variable(str_of(s.p + i + 1, end - i - 1)) : NULL;
        if (value) {
            buf_add_z(out, value);
            i = end;
        } else {
            buf_add_c(out, s.p[i++]);
        }
    }
}

enum err path_expand(struct str path, struct buf *out, struct errctx *ctx)
{
    bool tilde = str_eq(path, STR("~")) || str_starts(path, STR("~/"));
    size_t end = tilde ? 1 : 0;
    if (!tilde && (path.n == 0 || path.p[0] != '$')) {
        buf_add_str(out, path);
        return ERR_OK;
    }
    if (!tilde)
        end = word_end(path, 1);
    struct str name = tilde ? STR("HOME") : str_of(path.p + 1, end - 1);
    const char *value = variable(name);
    if (!value && str_eq(name, STR("TMPDIR")))
        value = "/tmp";
    if (!value)
        return err_set(ctx, ERR_INVALID,
                       "Environment variable '%.*s' validation failed: it is not set",
                       STR_ARG(name));
    if (value[0] != '/')
        return err_set(ctx, ERR_INVALID,
                       "Environment variable '%.*s' validation failed: it is no absolute path",
                       STR_ARG(name));
    buf_add_z(out, value);
    add_substituted(out, str_of(path.p + end, path.n - end));
    return ERR_OK;
}

enum err reference_source(struct str text, enum reference_scheme *ret_scheme, struct errctx *ctx)
{
    struct errctx why = {0};
    if (!reference_parse(text, ret_scheme, &why))
        return ERR_OK;
    if (!text.n || memmem(text.p, text.n, "://", 3))
        return err_set(ctx, ERR_INVALID, "%s", why.text);
    *ret_scheme = REFERENCE_KEYRING;
    return ERR_OK;
}

bool reference_at_hand(enum reference_scheme scheme)
{
    return scheme == REFERENCE_ENV || scheme == REFERENCE_FILE;
}

struct str reference_rest(struct str text)
{
    size_t colon = str_find(text, ':');
    return has_scheme(text) ? str_of(text.p + colon + 3, text.n - colon - 3) : text;
}

/* ---- as messages show it ---- */

/* Where the secret part of what follows the scheme begins; its end for a reference that has none. */
static size_t secret_part(struct str scheme, struct str path)
{
    size_t slash = str_find(path, '/');
    if (str_eq(scheme, STR("op://")) && slash < path.n) /* a section tells as much as the field */
        slash += 1 + str_find(str_of(path.p + slash + 1, path.n - slash - 1), '/');
    else
        slash = str_rfind(path, '/');
    return slash < path.n ? slash + 1 : path.n;
}

void reference_redact(struct buf *out, struct str reference)
{
    struct str rest = reference_rest(reference);
    size_t n = reference.n - rest.n;
    struct str scheme = str_of(reference.p, n);
    struct str path = str_of(rest.p, str_find(rest, '?'));
    if (n == 0 || str_eq(scheme, STR("env://")) || str_eq(scheme, STR("cmd://"))) {
        buf_add_str(out, reference);
    } else if (str_eq(scheme, STR("bw://"))) {
        size_t field = str_find(rest, '/');
        buf_add_z(out, "bw://<redacted>");
        buf_add(out, rest.p + field, rest.n - field);
    } else if (secret_part(scheme, path) == path.n) {
        buf_add_str(out, scheme);
        buf_add_z(out, "***");
    } else {
        buf_add(out, reference.p, n + secret_part(scheme, path));
        buf_add_z(out, str_eq(scheme, STR("file://")) ? "[REDACTED]" : "<redacted>");
        buf_add(out, rest.p + path.n, rest.n - path.n);
    }
}
