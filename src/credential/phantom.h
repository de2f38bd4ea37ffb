/* The client's stand-in for a credential, its phantom: where a route expects it, and the target without it. Pure. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "credential/credential.h"
#include "policy/identify.h"

/* Texts are the credential's. */
void phantom_place_of(const struct credential *c, struct phantom_place *ret_place);

/* A path and query as policy, log and helpers may see them. */
struct phantom_target {
    struct str path, query; /* query p NULL: none */
    size_t secret_at;       /* url_path: of the "{}" in path that stands for the secret */
};
/* Takes whatever stands at the phantom's place out of a target below the upstream's base path: cut out where the secret goes elsewhere, else
 * "{}" in the path (by path_replacement), an empty value in the query. ERR_BAD_REQUEST with a sentence: the path does not fit path_pattern
 * (decision W5). ERR_NOMEM. Slices point into the arguments or the arena. */
enum err phantom_clean(struct arena *a, const struct clients *clients, const struct credential *c, struct str path, struct str query,
                       struct phantom_target *ret_target, struct errctx *ctx) MUST_CHECK;
