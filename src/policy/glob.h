/* Endpoint patterns (decisions E1, E2): `*` and `?` within a segment, `**` across segments, classes, alternation, escapes. Compiled to a
 * small automaton with a bounded size; matching never backtracks. Pure; any thread. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum glob_reading {
    GLOB_SEGMENT, /* the documented one: * and ? stop at / */
    GLOB_PATH,    /* the reference's: they cross it. Matches whatever GLOB_SEGMENT matches, and more */
};
struct glob;
/* The pattern is normalised like a path (dot segments refused, repeated slashes collapsed, trailing one dropped, percent-decoded per
 * segment). ERR_INVALID with a sentence: unclosed class or brace, bad range, lone backslash, malformed escape, a pattern that begins with
 * an ordinary character other than / (it could never match), over 4096 bytes, braces nested over 64 deep. */
enum err glob_compile(struct str pattern, enum glob_reading reading, struct glob **ret_glob, struct errctx *ctx) MUST_CHECK;
void glob_free(struct glob *g);
/* path: a form of policy/path.h. */
bool glob_match(const struct glob *g, struct str path);
/* The same by the other reading than it was compiled with. */
bool glob_match_as(const struct glob *g, struct str path, enum glob_reading reading);
/* True when the pattern is a literal or a literal prefix followed by a final `**` (so that a table can serve it): exact: path equals
 * prefix; else path is prefix or begins with it and a slash (prefix "": every path). */
bool glob_is_simple(const struct glob *g, struct str *ret_prefix, bool *ret_exact);
/* The literal text that every matching path begins with; may end within a segment. */
struct str glob_literal(const struct glob *g);
/* Bytes of literal text in all: how specific the pattern is. */
size_t glob_weight(const struct glob *g);
/* Whether it holds a `*` or `?`, so that the two readings differ. */
bool glob_readings_differ(const struct glob *g);
/* The pattern to write where those should cross: each `*` run and `?` as `**`. Says what GLOB_PATH matches, and more. */
void glob_suggest(struct buf *out, struct str pattern);
