/* Flags and profile as one config, with everything that is wrong with them. Start, reload, `why` and `profile validate` share it.
 * Any thread. */
#pragma once
#include "config/profile.h"

struct resolve {
    struct json_doc *doc;      /* NULL after a failure of memory */
    struct problems problems;
    size_t n_read;             /* the first so many problems come from reading the profile */
    enum err read;             /* what profile_load said */
    const struct json *tree;   /* the merged profile; NULL: none */
};
/* Copy `flags`, put the profile they name under them, switch services on, check what belongs together. ERR_INVALID: the profile could not
 * be read, the problems say why. With ERR_OK *ret_config is set (config_fini), but problems may hold errors all the same: what belongs
 * together is judged, so that compiling can add what it finds. resolve_fini in any case. */
enum err resolve_config(const struct config *flags, const struct profile_env *env, struct resolve *ret_resolve, struct config *ret_config)
    MUST_CHECK;
void resolve_fini(struct resolve *r);
/* A problem of the resolved config at `origin` (FILE:LINE:COLUMN or a flag). */
void resolve_problem(struct resolve *r, struct str origin, const char *hint, const char *format, ...) PRINTF_LIKE(4, 5);
/* A notice of a module below, about a value that stands at `origin`. */
void resolve_note(struct resolve *r, struct str origin, struct str text);
/* Lines for stderr: "nono: <class>: FILE:LINE:COLUMN: message (hint)" for errors, "  [nono] FILE:LINE:COLUMN: message (hint)" for
 * notices. */
void resolve_report(const struct resolve *r, bool notices, struct buf *out);
