/* Files that are watched, on the control loop only: a change is noticed within a second, also when a symbolic link on the way moves. */
#pragma once
#include "sys/loop.h"
#include "base/str.h"

struct file_watch;
typedef void file_changed_fn(void *owner);
/* The file may be missing and appear later. Compared by device, inode, size, times of what the path leads to. What differs from the
 * moment of this call is told: whoever reads after it misses nothing. fn may close the watch. */
enum err file_watch_open(struct loop *control, const char *path, file_changed_fn *fn, void *owner, struct file_watch **ret_watch) MUST_CHECK;
void file_watch_close(struct file_watch *w); /* NULL allowed */
/* The whole of a regular file of at most max bytes into a buffer that the caller wipes (mem_wipe, mem_free); an empty one gives a buffer
 * too. ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_INVALID (no regular file), ERR_NOMEM, ERR_SYSTEM with errno. Any thread. */
enum err file_read(const char *path, size_t max, char **ret_bytes, size_t *ret_n, int *ret_errno) MUST_CHECK;
/* Where a program is: an absolute path as it is, a bare name in the first folder of `path` (colons between them) that has an executable
 * regular file of that name. ERR_NOT_FOUND, ERR_INVALID (there, but not executable), ERR_NOMEM. *ret_path: mem_free. Any thread. */
enum err file_find_program(struct str name, struct str path, char **ret_path) MUST_CHECK;
/* The program that runs: its absolute path, links resolved. ERR_SYSTEM, ERR_NOMEM. *ret_path: mem_free. Any thread. */
enum err file_own_program(char **ret_path) MUST_CHECK;
