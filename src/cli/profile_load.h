/* A profile loaded for a subcommand, as a start would load it. */
#pragma once
#include "config/resolve.h"
#include "config/runtime.h"

enum { PRINT_MAX_BYTES = 256 << 20, LINE_MAX_BYTES = 65536 };

struct loaded {
    struct resolve resolve; /* tree, problems */
    struct config config;   /* with everything merged; only when ok */
    bool ok;
};
/* Everything that a start does before it binds anything. loaded_fini in any case. */
void loaded_profile(struct str name_or_path, struct loaded *ret);
void loaded_fini(struct loaded *l);
/* The errors to stderr, as a start prints them. */
void loaded_report(const struct loaded *l);
/* The runtime of these flags, with all that is wrong (or worth a notice) said on stderr. NULL: it cannot be built. */
struct runtime *loaded_runtime(const struct config *flags) MUST_CHECK;
/* Flags that name a profile and nothing else. */
bool loaded_flags(struct str name_or_path, struct config *ret_flags) MUST_CHECK;
/* The exit code once the answer is on standard output: `code`, or 1 where that could have been read as success and the answer is lost. */
int profile_answer(const struct buf *out, int code);
/* "nono: TEXT" on stderr. */
void profile_say(struct str text);
