/* Profiles: found, read, extended, merged, checked. */
#pragma once
#include "config/config.h"
#include "config/schema.h"

/* Directories and environment a look-up depends on. */
struct profile_env {
    const char *home, *xdg_config_home, *xdg_state_home; /* NULL or empty: unset */
    const struct platform *platform;                     /* NULL: this system */
};
void profile_env_from_process(struct profile_env *ret_env);

/* Load NAME_OR_PATH with everything it extends (and `extends` in front, --extends), platform override applied, merged into one canonical
 * tree whose nodes know their places. Every file on the way is checked on its own, then the result. ERR_INVALID when there are errors:
 * problems has them all. ERR_NOT_FOUND: no such profile (a sentence with the place looked at, and the closest name). *ret_file: the path
 * of the root file, or "built-in:NAME". */
enum err profile_load(struct json_doc *doc, const struct profile_env *env, struct str name_or_path, const struct settings *extends,
                      const struct json **ret_tree, struct str *ret_file, struct problems *problems) MUST_CHECK;
/* Put a loaded tree under the flags of c (section 1.8: flags add to or beat the profile). Origins are FILE:LINE:COLUMN. */
enum err profile_apply(const struct json *tree, struct config *c, struct problems *problems) MUST_CHECK;
/* What validation finds beyond shape, on one file or on the merged result: hosts, globs, references, cross references (W3: everything
 * that a start would find except what needs the network or a secret's value). */
void profile_check(const struct json *tree, bool merged, struct problems *problems);

/* What only `profile validate` says, as warnings: allow patterns in which the reference would let `*` cross `/` (decision E1), origins
 * that allow nothing. */
void profile_notes(const struct json *tree, struct problems *problems);

/* Letters, digits and - within: what --profile takes for a name. */
bool profile_is_name(struct str s);
/* Names for `profile list`: user's and built-in. fn(owner, name, path or NULL for built-in). */
typedef void profile_name_fn(void *owner, struct str name, const char *path);
void profile_each(const struct profile_env *env, profile_name_fn *fn, void *owner);
/* <config>/nono/profiles; out of memory: false. */
bool profile_directory(const struct profile_env *env, struct buf *out) MUST_CHECK;
