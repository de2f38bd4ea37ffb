/* The file of --env-file. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* Put `text` into `path`, whole, mode 0600 also where the file exists (its owner stays). A regular
 * file is replaced by renaming, so that a reader never sees half of it; anything else (a symbolic
 * link, a pipe, a mount point) is written in place. ERR_SYSTEM with a sentence that names the path.
 */
enum err env_file_write(const char *path, struct str text, struct errctx *ctx) MUST_CHECK;
