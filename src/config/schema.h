/* The shape of a profile as one table (schema.def): every object, its keys with aliases, types, nullability, defaults, merge rule and a
 * line of documentation. Loader, unknown-key suggestions, merging, `profile schema` and docs are made from it. */
#pragma once
#include "config/json.h"

/* Collects everything that is wrong, not the first thing only. */
struct problem {
    struct place at;
    struct str pointer; /* JSON pointer; may be empty */
    struct str message; /* one sentence */
    struct str hint;    /* what to write instead; may be empty */
    bool warning;       /* a notice: legacy names, repeated keys of maps, patterns that E1 notes */
};
struct problems {
    struct json_doc *doc; /* owns the texts */
    struct problem *v;
    size_t n, cap;
    size_t errors; /* how many are no warnings */
};
void problems_init(struct problems *p, struct json_doc *doc);
void problems_fini(struct problems *p);
/* What was said before (same place, same message) is not said again: a file is checked alone and as part of the whole. */
void problem_add(struct problems *p, bool warning, const struct place *at, struct str pointer, const char *hint, const char *format, ...)
    PRINTF_LIKE(6, 7);

/* Check a file's tree and make it canonical: aliases become their names, legacy sections are drained, conditional entries whose `when` is
 * false are dropped. `facts` of the running system for `when` (NULL: read from it). The result is a new tree in doc (places kept); problems
 * are added; NULL only when out of memory. What is wrong is left out: a member of the result has the right type (required ones may lack
 * after an error). null is left out where it means absent; network_profile keeps it (it clears a base's). Values of other modules' grammar
 * (hosts, globs, references, …) are checked by profile_check. */
struct platform;
const struct json *schema_normalise(struct json_doc *doc, const struct json *root, const struct platform *facts, struct problems *problems);
/* Merge base and child (section 2.7 of the reference's tables) into a new tree. */
const struct json *schema_merge(struct json_doc *doc, const struct json *base, const struct json *child) MUST_CHECK;
/* The JSON Schema (2020-12) that accepts what the loader accepts. */
void schema_write(struct buf *out);
