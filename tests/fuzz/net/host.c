/* Host names, authorities and URLs from anywhere: what is accepted is canonical, and survives being written and read again. */
#include <stdlib.h>
#include "net/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void check_canonical(const struct hostname *h)
{
    struct hostname again;
    struct errctx ctx = {0};
    CHECK(h->n > 0 && h->n <= LIMIT_HOST_BYTES && strlen(h->text) == h->n);
    for (size_t i = 0; i < h->n; i++)
        CHECK(h->text[i] > ' ' && h->text[i] < 0x7f && !(h->text[i] >= 'A' && h->text[i] <= 'Z'));
    CHECK(h->text[h->n - 1] != '.');
    CHECK(hostname_parse(hostname_str(h), &again, &ctx) == ERR_OK && hostname_eq(h, &again));
    if (h->is_address) {
        struct address a;
        CHECK(address_parse(hostname_str(h), &a) && address_eq(&a, &h->address));
    }
}

/* Written with its port, an accepted target is the same target. */
static void check_round_trip(const struct hostname *h, uint16_t port)
{
    struct hostname again;
    uint16_t port_again;
    struct errctx ctx = {0};
    struct buf out;
    check_canonical(h);
    buf_init(&out, 300);
    hostname_format_port(&out, h, port);
    CHECK(buf_ok(&out));
    CHECK(target_parse_authority(buf_str(&out), &again, &port_again, &ctx) == ERR_OK);
    CHECK(hostname_eq(h, &again) && port == port_again);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct str text = str_of((const char *)p, n);
    struct hostname h;
    struct target_uri uri;
    uint16_t port;
    struct errctx ctx = {0};
    if (hostname_parse(text, &h, &ctx) == ERR_OK)
        check_canonical(&h);
    else
        CHECK(ctx.code == ERR_BAD_REQUEST);
    err_clear(&ctx);
    if (target_parse_authority(text, &h, &port, &ctx) == ERR_OK) {
        CHECK(port != 0);
        check_round_trip(&h, port);
    }
    err_clear(&ctx);
    if (target_parse_host(text, &h, &port, &ctx) == ERR_OK)
        check_round_trip(&h, port ? port : 80);
    err_clear(&ctx);
    if (target_parse_uri(text, &uri, &ctx) == ERR_OK) {
        struct str path, query;
        check_round_trip(&uri.host, uri.port);
        CHECK(uri.origin.n == 0 || uri.origin.p + uri.origin.n == text.p + text.n);
        CHECK(target_path_ok(uri.origin));
        target_split_query(uri.origin, &path, &query);
        CHECK(path.n + (query.p ? query.n + 1 : 0) == uri.origin.n);
    }
    return 0;
}
