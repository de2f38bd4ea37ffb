#include "config/schema.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>

/* A file that is checked alone and again as part of the whole says everything twice; beyond this
 * many problems nobody minds. */
enum { COMPARED_MAX = 256 };

void problems_init(struct problems *p, struct json_doc *doc)
{
    *p = (struct problems){.doc = doc};
}

void problems_fini(struct problems *p)
{
    mem_free(p->v);
    p->v = NULL;
    p->n = p->cap = p->errors = 0;
}

static bool same_place(const struct place *a, const struct place *b)
{
    return a->line == b->line && a->column == b->column &&
           str_eq(str_from(a->file), str_from(b->file));
}

static bool is_known(const struct problems *p, const struct problem *new)
{
    for (size_t i = 0; i < p->n && i < COMPARED_MAX; i++) {
        const struct problem *old = &p->v[i];
        if (same_place(&old->at, &new->at) && old->warning == new->warning &&
            str_eq(old->message, new->message))
            return true;
    }
    return false;
}

static bool make_room(struct problems *p)
{
    if (p->n < p->cap)
        return true;
    size_t cap = p->cap ? p->cap * 2 : 16;
    struct problem *v = mem_realloc(p->v, cap * sizeof(*v));
    if (!v)
        return false;
    p->v = v;
    p->cap = cap;
    return true;
}

void problem_add(struct problems *p, bool warning, const struct place *at, struct str pointer,
    const char *hint, const char *format, ...)
{
    struct problem new = {.warning = warning};
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (at)
        new.at = *at;
    new.message = str_from(line);
    if (is_known(p, &new))
        return;
    p->errors += !warning; /* counted even where there is no memory to keep it */
    new.message = json_str(p->doc, new.message);
    new.pointer = json_str(p->doc, pointer);
    new.hint = json_str(p->doc, str_from(hint ? hint : ""));
    if (new.message.p && new.pointer.p && new.hint.p && make_room(p))
        p->v[p->n++] = new;
}
