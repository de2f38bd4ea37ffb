#include "sys/files.h"
#include "base/mem.h"
#include "sys/sys_int.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

/* Looked at, not listened to: inotify would have to follow every symbolic link and folder on the
 * way, and network file systems do not tell. The look is made on libuv's pool, where a slow file
 * system holds up nobody. */
enum { LOOK_MS = 500 };

struct file_state {
    bool there;
    uint64_t dev, ino, size, mode;
    uint64_t mtime_s, mtime_ns, ctime_s, ctime_ns;
};

struct file_watch {
    struct loop *loop;
    file_changed_fn *fn; /* NULL: closed */
    void *owner;
    char *path;
    struct timer timer;
    uv_fs_t request;
    bool asking; /* the request is at libuv */
    struct file_state state;
};

static struct file_state state_of(const uv_fs_t *request)
{
    const uv_stat_t *s = &request->statbuf;
    if (request->result < 0)
        return (struct file_state){0};
    return (struct file_state){
        .there = true,
        .dev = s->st_dev,
        .ino = s->st_ino,
        .size = s->st_size,
        .mode = s->st_mode,
        .mtime_s = (uint64_t)s->st_mtim.tv_sec,
        .mtime_ns = (uint64_t)s->st_mtim.tv_nsec,
        .ctime_s = (uint64_t)s->st_ctim.tv_sec,
        .ctime_ns = (uint64_t)s->st_ctim.tv_nsec,
    };
}

static bool same(const struct file_state *a, const struct file_state *b)
{
    return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mode == b->mode && a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns &&
           a->ctime_s == b->ctime_s && a->ctime_ns == b->ctime_ns;
}

static void watch_free(struct file_watch *w)
{
    mem_free(w->path);
    mem_free(w);
}

static void on_looked(uv_fs_t *request)
{
    struct file_watch *w = CONTAINER_OF(request, struct file_watch, request);
    struct file_state now = state_of(request);
    uv_fs_req_cleanup(request);
    w->asking = false;
    loop_woke(w->loop);
    if (!w->fn) {
        watch_free(w);
        return;
    }
    timer_set(w->loop, &w->timer, LOOK_MS);
    if (same(&now, &w->state))
        return;
    w->state = now;
    w->fn(w->owner); /* may close */
}

static void on_timer(struct timer *t)
{
    struct file_watch *w = CONTAINER_OF(t, struct file_watch, timer);
    w->asking = uv_fs_stat(loop_uv(w->loop), &w->request, w->path, on_looked) == 0;
    if (!w->asking)
        timer_set(w->loop, &w->timer, LOOK_MS); /* out of memory: the next look */
}

enum err file_watch_open(struct loop *control, const char *path, file_changed_fn *fn, void *owner,
                         struct file_watch **ret_watch)
{
    struct file_watch *w = mem_zalloc(sizeof(*w));
    if (w)
        w->path = mem_dup(path, strlen(path));
    if (!w || !w->path) {
        mem_free(w);
        return ERR_NOMEM;
    }
    w->loop = control;
    w->fn = fn;
    w->owner = owner;
    timer_init(&w->timer, on_timer);
    (void)uv_fs_stat(loop_uv(control), &w->request, path, NULL); /* at once: what is before us */
    w->state = state_of(&w->request);
    uv_fs_req_cleanup(&w->request);
    timer_set(control, &w->timer, LOOK_MS);
    *ret_watch = w;
    return ERR_OK;
}

void file_watch_close(struct file_watch *w)
{
    if (!w)
        return;
    timer_stop(w->loop, &w->timer);
    w->fn = NULL;
    if (w->asking)
        (void)uv_cancel((uv_req_t *)&w->request); /* it comes back either way, and frees */
    else
        watch_free(w);
}

/* ---- reading ---- */

static enum err read_all(int fd, char *p, size_t cap, size_t *ret_n, int *ret_errno)
{
    size_t n = 0;
    while (n < cap) {
        ssize_t got = read(fd, p + n, cap - n);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            *ret_errno = errno;
            return ERR_SYSTEM;
        }
        n += (size_t)got;
    }
    *ret_n = n;
    return ERR_OK;
}

/* The size is no promise (the file may grow, or lie under /proc): one byte more than allowed is
 * asked for. */
static enum err read_open(int fd, size_t max, char **ret_bytes, size_t *ret_n, int *ret_errno)
{
    struct stat st;
    size_t n = 0;
    if (fstat(fd, &st) < 0) {
        *ret_errno = errno;
        return ERR_SYSTEM;
    }
    if (!S_ISREG(st.st_mode))
        return ERR_INVALID;
    if (st.st_size > 0 && (uint64_t)st.st_size > max)
        return ERR_TOO_LARGE;
    char *p = mem_alloc(max + 1);
    if (!p)
        return ERR_NOMEM;
    enum err e = read_all(fd, p, max + 1, &n, ret_errno);
    if (!e && n > max)
        e = ERR_TOO_LARGE;
    if (e) {
        mem_wipe(p, max + 1);
        mem_free(p);
        return e;
    }
    *ret_bytes = p;
    *ret_n = n;
    return ERR_OK;
}

enum err file_read(const char *path, size_t max, char **ret_bytes, size_t *ret_n, int *ret_errno)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold us */
    if (fd < 0) {
        *ret_errno = errno;
        return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_SYSTEM;
    }
    enum err e = read_open(fd, max, ret_bytes, ret_n, ret_errno);
    (void)close(fd);
    return e;
}

/* ---- programs ---- */

static enum err program_check(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return ERR_NOT_FOUND;
    return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? ERR_OK : ERR_INVALID;
}

static enum err program_take(struct str folder, struct str name, char **ret_path)
{
    bool bare = folder.p == NULL;
    char *p = mem_alloc(folder.n + name.n + 2);
    if (!p)
        return ERR_NOMEM;
    if (!bare) {
        memcpy(p, folder.p, folder.n);
        p[folder.n] = '/';
    }
    memcpy(p + folder.n + !bare, name.p, name.n);
    p[folder.n + !bare + name.n] = 0;
    enum err e = program_check(p);
    if (e)
        mem_free(p);
    else
        *ret_path = p;
    return e;
}

enum err file_find_program(struct str name, struct str path, char **ret_path)
{
    struct str folder;
    enum err found = ERR_NOT_FOUND;
    if (name.n && name.p[0] == '/')
        return program_take(STR_NULL, name, ret_path);
    if (name.n == 0 || str_find(name, '/') < name.n)
        return ERR_NOT_FOUND;
    while (str_next(&path, ':', &folder)) {
        if (folder.n == 0 || folder.p[0] != '/')
            continue; /* what the working directory holds is nobody's word */
        enum err e = program_take(folder, name, ret_path);
        if (e == ERR_OK || e == ERR_NOMEM)
            return e;
        if (e == ERR_INVALID)
            found = e;
    }
    return found;
}

enum err file_own_program(char **ret_path)
{
    char path[4096];
    size_t n = sizeof(path);
    if (uv_exepath(path, &n) < 0)
        return ERR_SYSTEM;
    char *copy = mem_dup(path, n);
    if (!copy)
        return ERR_NOMEM;
    *ret_path = copy;
    return ERR_OK;
}
