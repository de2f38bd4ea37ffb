#include "base/err.h"
#include "base/str.h"
#include <stdarg.h>
#include <stdio.h>

struct err_row {
    const char *name;
    int status;
    const char *category;
    const char *outcome;
};

static const struct err_row rows[ERR_COUNT_] = {
    [ERR_OK] = {"ok", 0, NULL, "ok"},
#define ERR(code, name, status, category, outcome) [ERR_##code] = {name, status, category, outcome},
#include "base/err.def"
#undef ERR
};

/* An unknown number is named so; this must never crash, since it speaks about failures. */
static const struct err_row *row_of(enum err e)
{
    static const struct err_row unknown = {"unknown", 0, NULL, NULL};
    return (unsigned)e < ERR_COUNT_ ? &rows[e] : &unknown;
}

const char *err_name(enum err e)
{
    return row_of(e)->name;
}

int err_status(enum err e)
{
    return row_of(e)->status;
}

const char *err_category(enum err e)
{
    return row_of(e)->category;
}

const char *err_outcome(enum err e)
{
    return row_of(e)->outcome;
}

/* Copy with everything but printable ASCII as \xNN; an escape is never cut in the middle. */
static void copy_visible(char *out, size_t room, const char *in)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (; *in; in++) {
        unsigned char c = (unsigned char)*in;
        bool plain = c >= 0x20 && c < 0x7f;
        if (n + (plain ? 1 : 4) >= room)
            break;
        if (plain) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '\\';
        out[n++] = 'x';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    out[n] = '\0';
}

enum err err_set(struct errctx *ctx, enum err code, const char *format, ...)
{
    if (ctx->code != ERR_OK)
        return ctx->code;
    char text[sizeof(ctx->text)];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    copy_visible(ctx->text, sizeof(ctx->text), n < 0 ? "" : text);
    ctx->code = code;
    return code;
}

void err_clear(struct errctx *ctx)
{
    *ctx = (struct errctx){.code = ERR_OK};
}

const char *err_errno_text(int os_errno)
{
#ifdef __GLIBC__
    const char *text = strerrordesc_np(os_errno); /* static, not translated, any thread */
    return text ? text : "unknown error";
#else
    return strerror(os_errno);
#endif
}
