/* IP addresses, one canonical form: v4-mapped IPv6 is folded to IPv4 before any comparison. Pure; any thread. */
#pragma once
#include "base/buf.h"

enum address_family { ADDRESS_V4 = 4, ADDRESS_V6 = 6 };
struct address {
    uint8_t family; /* enum address_family */
    uint8_t bytes[16]; /* v4 in the first four */
};

/* Text of an IPv4 (exactly four decimal parts, no leading zeros) or IPv6 literal (no brackets, no zone). False otherwise. */
bool address_parse(struct str text, struct address *ret_address) MUST_CHECK;
/* From the 4 or 16 network-order bytes of DNS or a sockaddr; folds v4-mapped. */
struct address address_from_bytes(enum address_family family, const void *bytes);
bool address_eq(const struct address *a, const struct address *b);
/* RFC 5952 text; IPv6 without brackets. */
void address_format(struct buf *out, const struct address *a);
/* The same into the caller's array, with a NUL; returns its length. Needs no memory. */
enum { ADDRESS_TEXT_SIZE = 40 };
size_t address_text(const struct address *a, char ret_text[ADDRESS_TEXT_SIZE]);

/* What kind of place an address is. Embeddings of IPv4 in IPv6 (NAT64 64:ff9b::/96, 6to4 2002::/16, v4-compatible ::a.b.c.d) are
 * judged as the address inside as well: the worse kind counts. */
enum address_kind {
    ADDRESS_PUBLIC,
    ADDRESS_PRIVATE,      /* RFC 1918, ULA fc00::/7, CGNAT 100.64/10 */
    ADDRESS_LOOPBACK,     /* 127/8, ::1 */
    ADDRESS_UNSPECIFIED,  /* 0/8, :: */
    ADDRESS_MULTICAST,    /* 224/4, ff00::/8 */
    ADDRESS_BROADCAST,    /* 255.255.255.255 */
    ADDRESS_CLOUD,        /* 100.100.100.200, 168.63.129.16: refused unless an explicit IP or CIDR entry names them */
    ADDRESS_LINK_LOCAL,   /* 169.254/16, fe80::/10 */
    ADDRESS_METADATA,     /* 169.254.169.254, fd00:ec2::254 */
};
enum address_kind address_kind(const struct address *a);
const char *address_kind_name(enum address_kind k); /* "link-local", … */
/* The IPv4 address inside such an embedding; false when there is none. */
bool address_embedded(const struct address *a, struct address *ret_inner) MUST_CHECK;

/* CIDR blocks. */
struct cidr {
    struct address base; /* host bits zero */
    uint8_t bits;        /* 0..32 or 0..128 */
};
/* "10.0.0.0/8", "fd00::/8", or a bare address (full length). Host bits must be zero. False otherwise. */
bool cidr_parse(struct str text, struct cidr *ret_cidr) MUST_CHECK;
bool cidr_contains(const struct cidr *c, const struct address *a);
