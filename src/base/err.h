/* Error codes (err.def) and the place where the first one of a session or exchange is written down. */
#pragma once
#include "base/attr.h"

enum err {
    ERR_OK = 0,
#define ERR(code, name, status, category, outcome) ERR_##code,
#include "base/err.def"
#undef ERR
    ERR_COUNT_
};

/* Short name of an error, its HTTP status (0: none), its audit words (NULL: none). Static strings. Any thread. */
const char *err_name(enum err e);
int err_status(enum err e);
const char *err_category(enum err e);
const char *err_outcome(enum err e);

/* Where an error came from, embedded by value. Written once, at the origin; a later one overwrites only when the first is
 * ERR_OK. `text` is one sentence without a full stop, visible ASCII only (err_set escapes the rest). */
struct errctx {
    enum err code;
    int os_errno; /* errno, or 0 */
    char text[160];
};

/* Record `code` with a formatted sentence unless one is recorded already. Returns the code recorded (for `return err_set(…)`). */
enum err err_set(struct errctx *ctx, enum err code, const char *format, ...) PRINTF_LIKE(3, 4) NONNULL(1);
void err_clear(struct errctx *ctx) NONNULL(1);
/* Text of an errno value, thread safe, static storage. */
const char *err_errno_text(int os_errno);
