/* A profile's tree for people and programs; what may hold a secret is masked. Pure. */
#pragma once
#include "config/json.h"

/* Where a value stands: linked up to the root on the caller's stack. NULL: the root. */
struct trail {
    const struct trail *up;
    struct str key; /* p NULL: an item of a list */
    size_t index;
};
/* "network.allow_domain[0]" */
void trail_format(struct buf *out, const struct trail *at);
/* A value in one line of JSON. */
void tree_value(struct buf *out, const struct trail *at, const struct json *v);
/* One line for each value: "network.block = true  # FILE:1:2". */
void tree_lines(struct buf *out, const struct trail *at, const struct json *v);
/* Indented JSON; with origins each value is {"value", "origin"}. */
void tree_json(struct buf *out, const struct json *v, bool origins);
