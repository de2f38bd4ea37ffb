/* Request paths as endpoint rules see them (decisions E3, E4). Derived from the bytes that are forwarded; nothing is rewritten. Pure. */
#pragma once
#include "base/err.h"
#include "base/str.h"

/* A slash that was written %2F, in the segment form: no accepted path holds a NUL otherwise. */
#define PATH_DATA_SLASH '\0'

struct judged_path {
    struct str segments; /* segment form: split at literal '/', each decoded once, joined by '/' with a decoded slash kept apart
                            (PATH_DATA_SLASH); repeated and trailing slashes dropped; "/" when empty */
    struct str decoded;  /* the whole path decoded once, '\' read as '/', split anew, empty segments dropped; the same slice where
                            both are equal */
};
/* ERR_BAD_REQUEST with a sentence: dot segments (plain, encoded, also after decoding %2F/%5C), backslash, control, encoded NUL, malformed
 * escape; ERR_URI_TOO_LONG when scratch is too small. scratch/cap: the caller's, at least 2 * path.n + 4 bytes. */
enum err path_judge(struct str path, char *scratch, size_t cap, struct judged_path *ret_path, struct errctx *ctx) MUST_CHECK;
/* The same for a path below `base` (a segment form, or empty): both forms begin with it. cap: 2 * (base.n + path.n) + 4. */
enum err path_judge_below(struct str base, struct str path, char *scratch, size_t cap, struct judged_path *ret_path, struct errctx *ctx)
    MUST_CHECK;
/* What of `path` is left below `base`, "/" when they are equal; p NULL when it is not below. Both in the same form; base empty: all. */
struct str path_below(struct str path, struct str base);
