#include "config/profile_int.h"
#include <stdio.h>

static void path_format(struct buf *out, const struct path *path)
{
    if (!path)
        return;
    path_format(out, path->up);
    if (path->key.p)
        json_pointer_add(out, path->key);
    else
        buf_printf(out, "/%zu", path->index);
}

static void PRINTF_LIKE(6, 0)
    add(struct problems *p, bool warning, const struct path *path, const struct place *at,
        const char *hint, const char *format, va_list args)
{
    char text[600];
    struct buf pointer;
    buf_init(&pointer, 4096);
    path_format(&pointer, path);
    (void)vsnprintf(text, sizeof(text), format, args);
    problem_add(p, warning, at, buf_ok(&pointer) ? buf_str(&pointer) : STR_NULL, hint, "%s", text);
    buf_fini(&pointer);
}

void complain(struct problems *p, const struct path *path, const struct place *at, const char *hint,
              const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(p, false, path, at, hint, format, args);
    va_end(args);
}

void remark(struct problems *p, const struct path *path, const struct place *at, const char *hint,
            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(p, true, path, at, hint, format, args);
    va_end(args);
}

const struct json *tree_get(const struct json *object, const char *key)
{
    const struct json_member *m =
        is_kind(object, JSON_OBJECT) ? json_get(object, str_from(key)) : NULL;
    return m && m->value->kind != JSON_NULL ? m->value : NULL;
}

const struct json *tree_of(const struct json *object, const char *key, enum json_kind kind)
{
    const struct json *v = tree_get(object, key);
    return is_kind(v, kind) ? v : NULL;
}

struct str tree_text(const struct json *object, const char *key)
{
    const struct json *v = tree_of(object, key, JSON_STRING);
    return v ? v->text : STR_NULL;
}

bool tree_true(const struct json *object, const char *key)
{
    const struct json *v = tree_of(object, key, JSON_BOOL);
    return v && v->truth;
}

bool tree_number(const struct json *object, const char *key, uint64_t *ret_value)
{
    const struct json *v = tree_of(object, key, JSON_INTEGER);
    if (!v || (v->negative && v->integer))
        return false;
    *ret_value = v->integer;
    return true;
}
