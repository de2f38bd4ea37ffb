/* What runtime.c and routes.c share. */
#pragma once
#include "config/resolve.h"
#include "config/runtime.h"

/* Building: problems are collected, not the first only. */
struct build {
    struct runtime *runtime;
    struct resolve *resolve;
};
/* A sentence of a module below, about a value that stands at `origin`. */
void build_problem(struct build *b, struct str origin, enum err e, const struct errctx *why);
/* Gates and services into the policy as routes, with the allow entries that follow from them when
 * `listed` (4.5, decisions H3, H12). */
/* Notices of the finished policy into the runtime's warnings. */
enum err build_notes(struct build *b) MUST_CHECK;
enum err build_routes(struct build *b, bool listed) MUST_CHECK;
