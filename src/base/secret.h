/* Secrets: the only type that may hold one. Each lives in a slot of one region that is locked, left out of core dumps and of
 * forked children; counted; immutable; zeroed with its last reference. There is no formatter. Any thread. */
#pragma once
#include "base/str.h"

struct secret;

/* Make the region: once, from main, before the first secret. *ret_locked tells whether mlock was granted. */
void secret_region_init(bool *ret_locked);
void secret_region_fini(void); /* zeroes and unmaps; asserts that no secret is left */

/* Copies n bytes (0 allowed). NULL when out of memory. The caller wipes its own copy. */
struct secret *secret_new(struct str value) MUST_CHECK;
struct secret *secret_ref(struct secret *s);
void secret_unref(struct secret *s); /* NULL allowed */
/* A view that is valid while the caller holds its reference. Do not copy it anywhere that outlives the use. */
struct str secret_borrow(const struct secret *s);
/* Constant time in the content of both (the lengths may show). */
bool secret_equal(const struct secret *s, struct str candidate) MUST_CHECK;
