/* A world without processes and files: what sources of credentials find in it is nothing. */
#include "base/assert.h"
#include "sys/child.h"
#include "sys/files.h"
#include <errno.h>

enum err child_start(struct loop *control, const struct child_spec *spec, child_fn *fn, void *owner, struct child **ret_child)
{
    (void)control, (void)spec, (void)fn, (void)owner, (void)ret_child;
    return ERR_SYSTEM;
}

void child_cancel(struct child *c)
{
    ASSERT(!c);
}

void children_end(struct loop *control)
{
    (void)control;
}

enum err file_watch_open(struct loop *control, const char *path, file_changed_fn *fn, void *owner, struct file_watch **ret_watch)
{
    (void)control, (void)path, (void)fn, (void)owner, (void)ret_watch;
    return ERR_SYSTEM;
}

void file_watch_close(struct file_watch *w)
{
    ASSERT(!w);
}

enum err file_read(const char *path, size_t max, char **ret_bytes, size_t *ret_n, int *ret_errno)
{
    (void)path, (void)max, (void)ret_bytes, (void)ret_n;
    *ret_errno = ENOENT;
    return ERR_SYSTEM;
}

enum err file_find_program(struct str name, struct str path, char **ret_path)
{
    (void)name, (void)path, (void)ret_path;
    return ERR_NOT_FOUND;
}
