/* Level words of NONO_LOG and RUST_LOG. Pure; any thread. */
#pragma once
#include "base/log.h"
#include "base/str.h"

/* error, warn, info, debug, trace, off, in any case. False: none of them. */
bool loglevel_word(struct str text, enum log_level *ret_level) MUST_CHECK;
/* A list such as `warn,nono_proxy=debug,hyper=trace`: the highest level that a bare word or one of
 * our names asks for. Untouched when nothing in it is for us. */
void loglevel_directives(struct str text, enum log_level *ret_level);
