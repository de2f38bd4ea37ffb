#include "cli/env_file.h"
#include "sys/random.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENV_FILE_MODE = 0600, PATH_MAX_BYTES = 4096 };

static enum err failed(struct errctx *ctx, const char *path)
{
    int why = errno;
    return err_set(ctx, ERR_SYSTEM, "--env-file %s cannot be written: %s", path,
                   err_errno_text(why));
}

static bool write_all(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return false;
        text = n > 0 ? str_of(text.p + n, text.n - (size_t)n) : text;
    }
    return true;
}

/* Closes fd. errno is that of the first failure. */
static bool fill(int fd, struct str text)
{
    bool ok = write_all(fd, text);
    int why = errno;
    if (close(fd) != 0 && ok)
        return false;
    errno = why;
    return ok;
}

static bool write_in_place(const char *path, struct str text)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    (void)fcntl(fd, F_SETFL, 0); /* it was for opening a pipe that nobody reads */
    if (regular && (fchmod(fd, ENV_FILE_MODE) != 0 || ftruncate(fd, 0) != 0)) {
        int why = errno;
        close(fd);
        errno = why;
        return false;
    }
    return fill(fd, text);
}

/* `old`: the file that is replaced, or NULL. */
static bool replace(const char *path, const struct stat *old, struct str text)
{
    char temporary[PATH_MAX_BYTES + 32];
    int n = snprintf(temporary, sizeof(temporary), "%s.%016llx", path,
                     (unsigned long long)random_u64());
    if (n < 0 || (size_t)n >= sizeof(temporary)) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, ENV_FILE_MODE);
    if (fd < 0)
        return false;
    bool owned = !old || (old->st_uid == geteuid() && old->st_gid == getegid()) ||
                 fchown(fd, old->st_uid, old->st_gid) == 0;
    bool ok = fchmod(fd, ENV_FILE_MODE) == 0 && owned;
    if (!ok)
        close(fd);
    ok = ok && fill(fd, text) && rename(temporary, path) == 0;
    if (!ok) {
        int why = errno;
        (void)unlink(temporary);
        errno = why;
    }
    return ok;
}

enum err env_file_write(const char *path, struct str text, struct errctx *ctx)
{
    struct stat st;
    bool there = lstat(path, &st) == 0;
    if (!there && errno != ENOENT)
        return failed(ctx, path);
    if (there && !S_ISREG(st.st_mode))
        return write_in_place(path, text) ? ERR_OK : failed(ctx, path);
    if (replace(path, there ? &st : NULL, text))
        return ERR_OK;
    /* A file that may be written in a directory that may not, or one that is a mount point. */
    return there && write_in_place(path, text) ? ERR_OK : failed(ctx, path);
}
