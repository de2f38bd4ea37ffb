/* Credential references (`env://NAME`, `op://…`, a bare keyring account, …) and names of environment variables: syntax only. Pure. */
#pragma once
#include "base/err.h"
#include "base/str.h"

enum reference_scheme {
    REFERENCE_KEYRING, /* a bare account or keyring:// */
    REFERENCE_ENV, REFERENCE_FILE, REFERENCE_OP, REFERENCE_BW, REFERENCE_APPLE, REFERENCE_CMD,
};
/* ERR_INVALID with a sentence: which rule of its scheme it breaks. */
enum err reference_parse(struct str text, enum reference_scheme *ret_scheme, struct errctx *ctx) MUST_CHECK;
/* What a configured credential is read from: as reference_parse, but any bare name is a keyring account, also one that a profile may not
 * write (the built-in `google-ai`). */
enum err reference_source(struct str text, enum reference_scheme *ret_scheme, struct errctx *ctx) MUST_CHECK;
/* Whether that tells its value at once: nothing is run and nobody is disturbed to read it. */
bool reference_at_hand(enum reference_scheme scheme);
/* What follows the scheme: a variable's name, a file's path, …; a bare name whole. */
struct str reference_rest(struct str text);
/* A reference as messages show it, without what tells where the secret lies: op://V/I/<redacted>, bw://<redacted>/FIELD,
 * keyring://SERVICE/<redacted>?decode=go-keyring, file:///dir/[REDACTED] (config.md 8.7). Bytes are not made visible. */
struct buf;
void reference_redact(struct buf *out, struct str reference);
/* A variable that may be read or set: [A-Za-z0-9_]+, none that changes how programs load code or find things. */
enum err env_name_check(struct str name, struct errctx *ctx) MUST_CHECK;
/* Only letters, digits and `_`, at least one. */
bool name_is_word(struct str s);
/* RFC 9110 token, at least one character. */
bool name_is_token(struct str s);
/* A token that is no field of framing, routing or of the connection. */
bool header_is_safe(struct str s);
/* "90", "15m", "12h", "1d" (blanks around allowed) in seconds. */
enum err duration_parse(struct str text, uint64_t *ret_seconds, struct errctx *ctx) MUST_CHECK;
/* Where a path with `~`, `$HOME`, `$TMPDIR` or `$NAME` in front leads. ERR_INVALID with a sentence. */
enum err path_expand(struct str path, struct buf *out, struct errctx *ctx) MUST_CHECK;
