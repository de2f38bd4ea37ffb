#include "policy/decide.h"
#include "policy/policy_int.h"

static const char *const metadata_names[] = {"metadata.google.internal", "metadata.azure.internal"};

bool floor_name(const struct hostname *host)
{
    for (size_t i = 0; i < ARRAY_LEN(metadata_names); i++)
        if (str_eq(hostname_str(host), str_from(metadata_names[i])))
            return true;
    return false;
}

bool floor_kind(enum address_kind kind)
{
    return kind == ADDRESS_METADATA || kind == ADDRESS_LINK_LOCAL;
}

static bool covers_metadata_name(const struct hostname *suffix)
{
    for (size_t i = 0; i < ARRAY_LEN(metadata_names); i++) {
        struct str name = str_from(metadata_names[i]);
        if (name.n > suffix->n && name.p[name.n - suffix->n - 1] == '.' &&
            str_ends(name, hostname_str(suffix)))
            return true;
    }
    return false;
}

static bool overlaps(const struct cidr *a, const struct cidr *b)
{
    return a->bits < b->bits ? cidr_contains(a, &b->base) : cidr_contains(b, &a->base);
}

static bool covers_floor_address(const struct cidr *block)
{
    static const char *const ranges[] = {
        "169.254.0.0/16",      "fe80::/10",      "fd00:ec2::254",
        "64:ff9b::a9fe:0/112", "2002:a9fe::/32", "::a9fe:0/112", /* link-local as embedded */
    };
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        struct cidr range;
        if (cidr_parse(str_from(ranges[i]), &range) && overlaps(block, &range))
            return true;
    }
    return false;
}

bool floor_covers(const struct pattern *pattern)
{
    switch (pattern->kind) {
    case PATTERN_NAME:
        return floor_name(&pattern->host);
    case PATTERN_BELOW:
        return covers_metadata_name(&pattern->host);
    case PATTERN_BLOCK:
        return covers_floor_address(&pattern->block);
    case PATTERN_ANY: /* meant as "everything that can be allowed" */
        break;
    }
    return false;
}

enum err policy_addr_operator(const struct address *a, uint16_t port,
                              struct vetted_addr *ret_vetted, struct errctx *ctx)
{
    enum address_kind kind = address_kind(a);
    if (floor_kind(kind) || kind == ADDRESS_CLOUD) {
        char text[ADDRESS_TEXT_SIZE];
        address_text(a, text);
        return err_set(ctx, ERR_ADDRESS_DENIED, "IP %s is a %s address (cloud metadata protection)",
                       text, address_kind_name(kind));
    }
    *ret_vetted = (struct vetted_addr){.address = *a, .port = port, .by = VOUCHED_OPERATOR};
    return ERR_OK;
}
