/* Addresses and CIDR blocks: text to value to text, and kinds that agree with the fold of v4-mapped ones. */
#include <stdlib.h>
#include "net/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void check_address(const struct address *a)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address again;
    size_t n = address_text(a, text);
    CHECK(n < sizeof text && strlen(text) == n);
    CHECK(address_parse(str_of(text, n), &again) && address_eq(a, &again));
    CHECK(address_kind_name(address_kind(a))[0]);
}

static void check_block(const struct cidr *c)
{
    struct address past = c->base;
    unsigned width = c->base.family == ADDRESS_V4 ? 32 : 128;
    CHECK(c->bits <= width && cidr_contains(c, &c->base));
    check_address(&c->base);
    if (c->bits == 0)
        return;
    past.bytes[(c->bits - 1) / 8] ^= (uint8_t)(0x80U >> (c->bits - 1) % 8);
    CHECK(!cidr_contains(c, &past));
    if (c->bits < width) {
        past = c->base;
        past.bytes[c->bits / 8] ^= (uint8_t)(0x80U >> c->bits % 8);
        CHECK(cidr_contains(c, &past));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct str text = str_of((const char *)p, n);
    struct address a;
    struct cidr c;
    if (address_parse(text, &a)) {
        check_address(&a);
        CHECK(cidr_parse(text, &c) && cidr_contains(&c, &a));
    }
    if (cidr_parse(text, &c))
        check_block(&c);
    if (n >= 16) {
        a = address_from_bytes(ADDRESS_V6, p);
        check_address(&a);
    }
    return 0;
}
