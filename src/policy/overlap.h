/* What the parts of a policy take from each other: for notices at load and for `nono why`. Nothing is decided here. Pure. */
#pragma once
#include "policy/route.h"

/* An allow entry that is left with nothing, because a deny entry covers all of it: the deny entry's id and origin. Groups are never told of. */
bool policy_entry_denied(const struct policy *p, struct str entry, struct str *ret_rule, struct str *ret_origin);
/* The endpoint-only route that holds for all of the host which a plain allow entry names, so that the entry opens nothing. NULL: none. */
const struct route *policy_entry_gated(const struct policy *p, struct str entry);
/* A route that is as good a candidate as route `index` for the same requests of a host (decision K2): see policy_route_rival, which looks at
 * earlier ones only. NULL: none. */
const struct route *policy_route_equal(const struct policy *p, size_t index);
