#include "cli/advertise.h"
#include "base/encode.h"
#include "net/hostname.h"

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

bool advertise_url(struct buf *out, const struct banner_facts *f)
{
    const struct server_listener *l = first_tcp(f);
    if (!l)
        return false;
    struct address address = reachable(l);
    struct hostname host = hostname_from_address(&address);
    buf_add_z(out, "http://");
    if (f->token) {
        buf_add_z(out, "nono:");
        add_password(out, secret_borrow(f->token));
        buf_add_c(out, '@');
    }
    hostname_format_port(out, &host, l->port);
    return true;
}

/* Loopback, and the address of the gateway itself where that is another one. */
static void add_no_proxy(struct buf *out, const struct banner_facts *f)
{
    char text[ADDRESS_TEXT_SIZE];
    buf_add_z(out, "localhost,127.0.0.1,::1");
    for (size_t i = 0; i < f->n; i++) {
        const struct server_listener *l = &f->listeners[i];
        if (l->is_unix || l->wildcard || address_kind(&l->address) == ADDRESS_LOOPBACK)
            continue;
        bool again = false;
        for (size_t k = 0; k < i; k++)
            again |= !f->listeners[k].is_unix && address_eq(&f->listeners[k].address, &l->address);
        if (!again)
            buf_printf(out, ",%.*s", (int)address_text(&l->address, text), text);
    }
}

/* May stand in a file that shells and container runtimes read, without quotes? */
static bool needs_no_quotes(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alpha((unsigned char)s.p[i]) && !ascii_is_digit((unsigned char)s.p[i]) &&
            s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
            return false;
    }
    return true;
}

void advertise_env(const struct banner_facts *f, advertise_fn *fn, void *owner)
{
    static const char *const proxies[] = {"HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"};
    static const char *const exceptions[] = {"NO_PROXY", "no_proxy"};
    struct buf text;
    buf_init(&text, URL_MAX_BYTES);
    if (advertise_url(&text, f) && buf_ok(&text)) {
        for (size_t i = 0; i < ARRAY_LEN(proxies); i++)
            fn(owner, proxies[i], buf_str(&text));
    } else if (f->token && needs_no_quotes(secret_borrow(f->token))) {
        /* Sockets have no URL: whoever relays to one still needs the token. */
        fn(owner, "NONO_PROXY_TOKEN", secret_borrow(f->token));
    }
    buf_wipe_fini(&text);
    buf_init(&text, URL_MAX_BYTES);
    add_no_proxy(&text, f);
    for (size_t i = 0; i < ARRAY_LEN(exceptions); i++)
        fn(owner, exceptions[i], buf_str(&text));
    fn(owner, "NODE_USE_ENV_PROXY", STR("1"));
    buf_fini(&text);
}
