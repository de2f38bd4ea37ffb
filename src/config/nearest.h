/* "Did you mean …?": how near two words are. Pure; any thread. */
#pragma once
#include "base/str.h"

/* Edits between two words: insertions, deletions, replacements, swaps of neighbours; at most `limit` + 1. ASCII case is ignored. Words over
 * 40 bytes are nobody's typing mistake, and far from everything. */
unsigned nearest_distance(struct str a, struct str b, unsigned limit);
/* Keep the nearer one of *best and `candidate`; *least is the distance that was reached, and is only ever made smaller. */
void nearest_try(struct str word, struct str candidate, struct str *best, unsigned *least);
/* The closest of `n` names (one mistake in three letters is still recognised), or p NULL when none is near. */
struct str nearest_of(struct str word, const struct str *names, size_t n);
