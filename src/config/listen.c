#include "config/config.h"
#include "net/address.h"

/* The longest path that sun_path holds, its NUL excluded. */
enum { UNIX_PATH_MAX_BYTES = 107, UNIX_MODE_DEFAULT = 0660 };

static enum err parse_mode(struct str value, unsigned *ret_mode, struct errctx *ctx)
{
    unsigned mode = 0;
    bool good = value.n >= 1 && value.n <= 4;
    for (size_t i = 0; good && i < value.n; i++) {
        good = value.p[i] >= '0' && value.p[i] <= '7';
        mode = mode * 8 + (unsigned)(value.p[i] - '0');
    }
    if (!good || mode > 0777)
        return err_set(ctx, ERR_INVALID, "mode=%.*s is not an octal file mode such as 0660",
                       STR_ARG(value));
    *ret_mode = mode;
    return ERR_OK;
}

static enum err parse_unix_part(struct str part, struct listen_spec *spec, unsigned *seen,
                                struct errctx *ctx)
{
    static const char *const keys[] = {"mode=", "owner=", "group="};
    unsigned k = 0;
    while (k < ARRAY_LEN(keys) && !str_starts(part, str_from(keys[k])))
        k++;
    if (k == ARRAY_LEN(keys))
        return err_set(ctx, ERR_INVALID,
                       "'%.*s' after the socket path is none of mode=0660, owner=USER, group=GROUP",
                       STR_ARG(part));
    size_t key_n = strlen(keys[k]);
    struct str value = str_of(part.p + key_n, part.n - key_n);
    if (*seen & 1u << k)
        return err_set(ctx, ERR_INVALID, "%s is given twice for one socket", keys[k]);
    *seen |= 1u << k;
    if (value.n == 0)
        return err_set(ctx, ERR_INVALID, "%s has no value", keys[k]);
    if (k == 0)
        return parse_mode(value, &spec->mode, ctx);
    *(k == 1 ? &spec->owner : &spec->group) = value;
    return ERR_OK;
}

static enum err parse_unix(struct str text, struct listen_spec *ret_spec, struct errctx *ctx)
{
    struct listen_spec spec = {.is_unix = true, .mode = UNIX_MODE_DEFAULT};
    struct str rest = text, part;
    unsigned seen = 0;
    if (str_next(&rest, ',', &part))
        spec.path = part;
    if (spec.path.n == 0)
        return err_set(ctx, ERR_INVALID, "unix: needs a path, as in unix:/run/nono/proxy.sock");
    if (spec.path.n > UNIX_PATH_MAX_BYTES)
        return err_set(ctx, ERR_INVALID, "the socket path is longer than %d bytes",
                       UNIX_PATH_MAX_BYTES);
    if (memchr(spec.path.p, 0, spec.path.n))
        return err_set(ctx, ERR_INVALID, "the socket path holds a NUL byte");
    while (str_next(&rest, ',', &part)) {
        enum err e = parse_unix_part(part, &spec, &seen, ctx);
        if (e)
            return e;
    }
    *ret_spec = spec;
    return ERR_OK;
}

static enum err not_an_address(struct str text, struct errctx *ctx)
{
    return err_set(ctx, ERR_INVALID,
                   "'%.*s' is no IP address, ADDRESS:PORT or unix:PATH (names are not taken)",
                   STR_ARG(text));
}

/* Cut "HOST:PORT" or "[HOST]:PORT"; a bare IPv6 literal has more than one colon and no port. */
static bool split_port(struct str text, struct str *ret_host, struct str *ret_port)
{
    *ret_port = STR_NULL;
    *ret_host = text;
    if (text.n && text.p[0] == '[') {
        size_t close = str_find(text, ']');
        if (close == text.n)
            return false;
        *ret_host = str_of(text.p + 1, close - 1);
        if (str_find(*ret_host, ':') == ret_host->n)
            return false; /* brackets are for IPv6 */
        struct str after = str_of(text.p + close + 1, text.n - close - 1);
        if (after.n && after.p[0] != ':')
            return false;
        if (after.n)
            *ret_port = str_of(after.p + 1, after.n - 1);
        return true;
    }
    size_t colon = str_find(text, ':');
    if (colon < text.n && colon == str_rfind(text, ':')) {
        *ret_host = str_of(text.p, colon);
        *ret_port = str_of(text.p + colon + 1, text.n - colon - 1);
    }
    return true;
}

enum err listen_parse(struct str text, struct listen_spec *ret_spec, struct errctx *ctx)
{
    if (str_starts(text, STR("unix:")))
        return parse_unix(str_of(text.p + 5, text.n - 5), ret_spec, ctx);
    struct str host, port;
    struct address address;
    uint64_t number = 0;
    if (!split_port(text, &host, &port) || !address_parse(host, &address))
        return not_an_address(text, ctx);
    if (port.p && !str_u64(port, 65535, &number))
        return err_set(ctx, ERR_INVALID, "'%.*s' after the address is no port from 0 to 65535",
                       STR_ARG(port));
    struct listen_spec spec = {
        .family = address.family, .port = (uint16_t)number, .port_given = port.p != NULL};
    memcpy(spec.bytes, address.bytes, sizeof(spec.bytes));
    *ret_spec = spec;
    return ERR_OK;
}
