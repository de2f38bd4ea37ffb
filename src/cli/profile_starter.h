/* The profile that `nono profile init` writes: it allows a few hosts, and everything else in it is commented out. Pure. */
#pragma once
#include "base/buf.h"

void profile_starter(struct buf *out, struct str name);
