/* Hash map from byte strings to pointers, open addressing. Keys are borrowed: they live as long as their entry. Reads of a map that
 * nobody changes any more are safe from any thread. */
#pragma once
#include "base/str.h"

struct map {
    struct map_slot *slots_;
    size_t n, cap_;
};

void map_init(struct map *m) NONNULL(1);
void map_fini(struct map *m) NONNULL(1); /* not what the values point to */
void *map_get(const struct map *m, struct str key) NONNULL(1); /* NULL when absent */
/* Insert or replace. False when out of memory. value must not be NULL. */
bool map_put(struct map *m, struct str key, void *value) MUST_CHECK NONNULL(1, 3);
void *map_remove(struct map *m, struct str key) NONNULL(1); /* the value, or NULL */
/* Iterate: *pos starts at 0; false at the end. Not while changing the map. */
bool map_next(const struct map *m, size_t *pos, struct str *ret_key, void **ret_value) NONNULL(1, 2);
