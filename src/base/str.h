/* Slices of bytes. A slice never owns and need not end in NUL. */
#pragma once
#include "base/attr.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* For printf: "%.*s", STR_ARG(s) */
#define STR_ARG(s) (int)(s).n, (s).n ? (s).p : ""

static inline struct str str_from(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}
static inline struct str str_of(const char *p, size_t n)
{
    return (struct str){p, n};
}

bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII case folding only */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
int str_cmp(struct str a, struct str b);
/* Without leading and trailing SP and HTAB (RFC 9110 OWS). */
struct str str_trim(struct str s);
/* Index of byte c, or s.n when absent; the same from the end. */
size_t str_find(struct str s, char c);
size_t str_rfind(struct str s, char c);
/* Cut the part before the first `sep` off *rest (the separator goes too). False when *rest is exhausted (p NULL). */
bool str_next(struct str *rest, char sep, struct str *ret_part);
/* Decimal digits only, no sign, no blanks, at least one digit, value <= max. */
bool str_u64(struct str s, uint64_t max, uint64_t *ret_value) MUST_CHECK;
/* First 1 to 16 hexadecimal digits only. */
bool str_hex(struct str s, uint64_t max, uint64_t *ret_value) MUST_CHECK;
/* 64-bit hash, seeded by the process (see str_hash_seed), stable within it. */
uint64_t str_hash(struct str s);
/* Called once by main with random bits before the first thread starts. */
void str_hash_seed(uint64_t seed);

/* ASCII character classes, by table (RFC 9110 5.6.2, RFC 9112). */
bool ascii_is_tchar(unsigned char c);
bool ascii_is_digit(unsigned char c);
bool ascii_is_alpha(unsigned char c);
bool ascii_is_ctl(unsigned char c); /* 0-31 and 127 */
char ascii_lower(char c);
int ascii_hex(char c); /* value of a hexadecimal digit, -1: it is none */
/* Bytes of the UTF-8 sequence that s begins with, 0: of none. RFC 3629: shortest form, no surrogates, up to U+10FFFF. */
size_t str_utf8_length(struct str s);
bool str_is_utf8(struct str s); /* all of it; the empty text is */
