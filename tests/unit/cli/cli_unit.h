/* Command lines as arrays, ended by NULL; "nono" is put in front. */
#pragma once
#include "../base/unit.h"
#include "base/mem.h"
#include "cli/args.h"

enum { LINE_MAX_ARGS = 16 };

struct line {
    char *argv[LINE_MAX_ARGS + 1];
    int argc;
};

/* Copies, because values are wiped in place. */
static inline void line_set(struct line *l, const char *const *words)
{
    *l = (struct line){.argc = 1};
    l->argv[0] = mem_dup("nono", 4);
    while (*words) {
        assert_true(l->argc < LINE_MAX_ARGS);
        l->argv[l->argc++] = mem_dup(*words, strlen(*words));
        words++;
    }
}

static inline void line_free(struct line *l)
{
    for (int i = 0; i < l->argc; i++)
        mem_free(l->argv[i]);
}

static inline bool buf_holds(const struct buf *b, const char *text)
{
    return b->n && memmem(b->p, b->n, text, strlen(text)) != NULL;
}

/* Like assert_str, for a text that is no literal. */
static inline void assert_text(struct str got, const char *want)
{
    if (!str_eq(got, str_from(want)))
        fail_msg("got \"%.*s\", want \"%s\"", STR_ARG(got), want);
}
