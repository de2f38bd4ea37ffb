/* Regular expressions of configuration, matched on bytes that clients choose: no look-around, no back-references, no recursion, limits on
 * time and memory. Compiled once, immutable; matching from any thread. */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct regex;
/* ERR_INVALID with a sentence, ERR_NOMEM. */
enum err regex_new(struct str pattern, struct regex **ret_regex, struct errctx *ctx) MUST_CHECK;
void regex_free(struct regex *r); /* NULL allowed */
/* The first capture group where there is one and it took part, else the whole match: a slice of text. ERR_NOT_FOUND: no match.
 * ERR_TOO_LARGE: a limit was met. ERR_NOMEM. */
enum err regex_match(const struct regex *r, struct str text, struct str *ret_part) MUST_CHECK;
