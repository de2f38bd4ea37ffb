#include "cli/advertise.h"
#include "base/encode.h"
#include "net/hostname.h"
#include "policy/route.h"

enum { URL_MAX_BYTES = 65536 };

static const struct server_listener *first_tcp(const struct banner_facts *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (!f->listeners[i].is_unix)
            return &f->listeners[i];
    }
    return NULL;
}

/* An address that a client on this machine can connect to. */
static struct address reachable(const struct server_listener *l)
{
    static const uint8_t loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
    if (!l->wildcard)
        return l->address;
    return l->address.family == ADDRESS_V4 ? address_from_bytes(ADDRESS_V4, loopback4)
                                           : address_from_bytes(ADDRESS_V6, loopback6);
}

/* '~' is unreserved in URLs, but a shell may expand it behind the ':'. */
static void add_password(struct buf *out, struct str password)
{
    struct str rest = password, part;
    for (bool first = true; str_next(&rest, '~', &part); first = false) {
        buf_add_z(out, first ? "" : "%7E");
        encode_percent(out, part);
    }
}

bool advertise_base(struct buf *out, const struct banner_facts *f)
{
    const struct server_listener *l = first_tcp(f);
    if (!l)
        return false;
    struct address address = reachable(l);
    struct hostname host = hostname_from_address(&address);
    buf_add_z(out, "http://");
    hostname_format_port(out, &host, l->port);
    return true;
}

bool advertise_url(struct buf *out, const struct banner_facts *f)
{
    struct buf base;
    buf_init(&base, URL_MAX_BYTES);
    bool there = advertise_base(&base, f);
    if (there) {
        struct str url = buf_str(&base);
        size_t scheme = strlen("http://");
        buf_add_str(out, str_of(url.p, scheme));
        if (f->token) {
            buf_add_z(out, "nono:");
            add_password(out, secret_borrow(f->token));
            buf_add_c(out, '@');
        }
        buf_add_str(out, str_of(url.p + scheme, url.n - scheme));
    }
    buf_fini(&base);
    return there;
}

/* Clients must not go past the gateway to a loopback upstream that has rules or a credential. */
static bool guards_loopback(const struct banner_facts *f)
{
    for (size_t i = 0; f->rules && i < policy_routes(f->rules); i++) {
        struct route_view v;
        struct hostname host;
        struct errctx why = {0};
        policy_route_view(f->rules, i, &v);
        if (hostname_parse(v.host_pattern, &host, &why))
            continue; /* *.suffix */
        if (host.is_address ? address_kind(&host.address) == ADDRESS_LOOPBACK
                            : hostname_is_localhost(&host))
            return true;
    }
    return false;
}

static struct str without_dot(struct str entry)
{
    size_t n = str_starts(entry, STR("*.")) ? 2 : str_starts(entry, STR(".")) ? 1 : 0;
    return str_of(entry.p + n, entry.n - n);
}

static bool listed(const struct buf *out, struct str entry)
{
    struct str rest = buf_str(out), one;
    while (str_next(&rest, ',', &one)) {
        if (str_eq_nocase(without_dot(one), without_dot(entry)))
            return true;
    }
    return false;
}

static void add_exception(struct buf *out, struct str entry)
{
    if (entry.n == 0 || listed(out, entry))
        return;
    buf_add_z(out, out->n ? "," : "");
    buf_add_str(out, entry);
}

/* An entry of the profile: addresses canonical and without brackets; clients read ".x" as "*.x". */
static void add_entry(struct buf *out, struct str entry, bool stars)
{
    struct hostname host;
    struct errctx why = {0};
    if (!hostname_parse(entry, &host, &why) && host.is_address)
        entry = hostname_str(&host);
    else if (!stars && str_starts(entry, STR("*.")))
        entry = str_of(entry.p + 1, entry.n - 1);
    add_exception(out, entry);
}

/* Loopback, the address of the gateway itself where that is another one, and the profile's list;
 * `stars`: with "*.x" as it is, for programs that tell it from ".x" (NONO_NO_PROXY). */
static void add_no_proxy(struct buf *out, const struct banner_facts *f, bool stars)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1"};
    char text[ADDRESS_TEXT_SIZE];
    bool keep = !guards_loopback(f);
    for (size_t i = 0; keep && i < ARRAY_LEN(loopback); i++)
        add_exception(out, str_from(loopback[i]));
    for (size_t i = 0; i < f->n; i++) {
        const struct server_listener *l = &f->listeners[i];
        bool own = !l->is_unix && !l->wildcard;
        if (own && (keep || address_kind(&l->address) != ADDRESS_LOOPBACK))
            add_exception(out, str_of(text, address_text(&l->address, text)));
    }
    for (size_t i = 0; f->config && i < f->config->no_proxy.n; i++)
        add_entry(out, f->config->no_proxy.v[i].value, stars);
}

static bool consists_of(struct str s, const char *more)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alpha((unsigned char)s.p[i]) && !ascii_is_digit((unsigned char)s.p[i]) &&
            !memchr(more, s.p[i], strlen(more)))
            return false;
    }
    return true;
}

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || (unsigned char)s.p[i] > '~')
            return false;
    return true;
}

struct str advertise_token(const struct banner_facts *f, enum advertise_for reader)
{
    struct str token = f->token ? secret_borrow(f->token) : STR_NULL;
    bool fits = reader == ADVERTISE_FILE    ? consists_of(token, "-_.")
                : reader == ADVERTISE_SHELL ? is_printable(token)
                                            : true;
    return fits ? token : STR_NULL;
}

void advertise_quoted(struct buf *out, struct str value)
{
    if (consists_of(value, "-_.,:/@%[]*")) {
        buf_add_str(out, value);
        return;
    }
    buf_add_c(out, '\'');
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '\'')
            buf_add_z(out, "'\\'");
        buf_add_c(out, value.p[i]);
    }
    buf_add_c(out, '\'');
}

static void add_routes(const struct banner_facts *f, struct str token, advertise_fn *fn,
                       void *owner)
{
    struct buf base;
    if (!f->rules || !f->config)
        return;
    buf_init(&base, URL_MAX_BYTES);
    advertise_base(&base, f);
    for (size_t i = 0; i < policy_routes(f->rules); i++)
        route_variables(f->config, f->rules, i, &f->state, buf_str(&base), token, fn, owner);
    buf_fini(&base);
}

void advertise_env(const struct banner_facts *f, enum advertise_for reader, advertise_fn *fn,
                   void *owner)
{
    struct str token = advertise_token(f, reader);
    static const char *const proxies[] = {"HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"};
    static const char *const exceptions[] = {"NO_PROXY", "no_proxy", "NONO_NO_PROXY"};
    struct buf text;
    buf_init(&text, URL_MAX_BYTES);
    if (advertise_url(&text, f) && buf_ok(&text)) {
        for (size_t i = 0; i < ARRAY_LEN(proxies); i++)
            fn(owner, proxies[i], buf_str(&text));
    } else if (token.n) {
        /* Sockets have no URL: whoever relays to one still needs the token. */
        fn(owner, "NONO_PROXY_TOKEN", token);
    }
    buf_wipe_fini(&text);
    for (size_t i = 0; i < ARRAY_LEN(exceptions); i++) {
        buf_init(&text, URL_MAX_BYTES);
        add_no_proxy(&text, f, i == 2);
        fn(owner, exceptions[i], buf_str(&text));
        buf_fini(&text);
    }
    fn(owner, "NODE_USE_ENV_PROXY", STR("1"));
    add_routes(f, token, fn, owner);
}
