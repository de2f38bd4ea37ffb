/* The rows of limits.def as constants LIMIT_<NAME>. */
#pragma once

enum {
#define LIMIT(name, value, unit, doc) LIMIT_##name = (value),
#include "base/limits.def"
#undef LIMIT
};
