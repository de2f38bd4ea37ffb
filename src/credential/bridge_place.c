/* The folder of a browser bridge: made for one run of a helper, gone with it. */
#include "base/encode.h"
#include "base/mem.h"
#include "credential/bridge.h"
#include "sys/random.h"
#include "sys/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, SCRIPT_BYTES = 65536 };

#ifdef __APPLE__
enum { IS_MAC = 1 };
#define LAUNCHER "/open"
#else
enum { IS_MAC = 0 };
#define LAUNCHER "/nono-browser"
#endif

/* ---- the launcher ---- */

static void add_quoted(struct buf *out, struct str text)
{
    buf_add_c(out, '\'');
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\'')
            buf_add_z(out, "'\\''");
        else
            buf_add_c(out, text.p[i]);
    buf_add_c(out, '\'');
}

/* `open` takes files and programs, too: only web addresses are ours. */
static void add_mac_choice(struct buf *out, bool launch_services)
{
    buf_add_z(
        out,
        "web=\n"
        "for a do case $a in [Hh][Tt][Tt][Pp]://*|[Hh][Tt][Tt][Pp][Ss]://*) web=1;; esac; done\n"
        "if [ -z \"$web\" ]; then\n");
    if (launch_services)
        buf_add_z(out, "    exec /usr/bin/open \"$@\"\n");
    else
        buf_add_z(out, "    echo 'nono: only web addresses may be opened here: "
                       "allow_launch_services is not set' >&2\n"
                       "    exit 126\n");
    buf_add_z(out, "fi\n"
                   "for a do\n"
                   "    shift\n"
                   "    case $a in [Hh][Tt][Tt][Pp]://*|[Hh][Tt][Tt][Pp][Ss]://*) set -- \"$@\" "
                   "\"$a\";; esac\n"
                   "done\n");
}

void bridge_launcher_write(struct buf *out, struct str program, struct str socket, bool mac,
                           bool launch_services)
{
    buf_add_z(out, "#!/bin/sh\nNONO_SUPERVISOR_PATH=");
    add_quoted(out, socket);
    buf_add_z(out, "\nexport NONO_SUPERVISOR_PATH\n");
    if (mac)
        add_mac_choice(out, launch_services);
    buf_add_z(out, "exec ");
    add_quoted(out, program);
    buf_add_z(out, " open-url-helper -- \"$@\"\n");
}

static bool write_all(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text = str_of(text.p + n, text.n - (size_t)n);
    }
    return true;
}

/* False: errno. */
static bool make_launcher(const struct bridges *all, const struct bridge_place *place,
                          bool launch_services)
{
    struct buf text;
    buf_init(&text, SCRIPT_BYTES);
    bridge_launcher_write(&text, str_from(all->program), str_from(place->socket), IS_MAC,
                          launch_services);
    int fd = open(place->launcher, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700);
    bool ok = fd >= 0 && fchmod(fd, 0700) == 0 && buf_ok(&text) && write_all(fd, buf_str(&text));
    int os_errno = errno;
    if (fd >= 0)
        ok &= close(fd) == 0;
    buf_fini(&text);
    errno = os_errno;
    return ok;
}

/* ---- the folder ---- */

static char *join(const char *folder, const char *name)
{
    struct buf path;
    char *copy = NULL;
    buf_init(&path, PATH_BYTES);
    buf_add_z(&path, folder);
    buf_add_z(&path, name);
    if (buf_ok(&path))
        copy = mem_dup(path.p, path.n);
    buf_fini(&path);
    return copy;
}

/* A name that nobody can guess: whoever finds it taken is being fooled. */
static bool name_all(struct str base, struct bridge_place *place)
{
    uint64_t drawn = random_u64();
    struct buf path;
    buf_init(&path, PATH_BYTES);
    buf_add_str(&path, base);
    buf_add_z(&path, "/nono-capture-");
    encode_hex(&path, &drawn, sizeof(drawn));
    if (buf_ok(&path))
        place->folder = mem_dup(path.p, path.n);
    buf_fini(&path);
    if (!place->folder)
        return false;
    place->socket = join(place->folder, "/supervisor.sock");
    place->launcher = join(place->folder, LAUNCHER);
    return place->socket && place->launcher;
}

/* It is put into PATH, and a program runs from it. */
static int base_errno(struct str base)
{
    struct statvfs fs;
    char path[PATH_BYTES];
    if (base.n >= sizeof(path) || base.n == 0 || base.p[0] != '/' || str_find(base, ':') < base.n)
        return EINVAL;
    memcpy(path, base.p, base.n);
    path[base.n] = 0;
    if (statvfs(path, &fs) < 0)
        return errno;
#ifdef ST_NOEXEC
    if (fs.f_flag & ST_NOEXEC)
        return EACCES;
#endif
    return 0;
}

static void forget(struct bridge_place *place)
{
    mem_free(place->folder);
    mem_free(place->socket);
    mem_free(place->launcher);
    *place = (struct bridge_place){0};
}

void bridge_place_remove(struct bridge_place *place)
{
    (void)unlink(place->socket);
    (void)unlink(place->launcher);
    (void)rmdir(place->folder);
    forget(place);
}

/* ERR_SYSTEM with errno. */
static enum err make_in(const struct bridges *all, struct str base, bool launch_services,
                        struct bridge_place *ret_place, int *ret_fd, int *ret_errno)
{
    struct bridge_place place = {0};
    *ret_errno = base_errno(base);
    if (*ret_errno)
        return ERR_SYSTEM;
    if (!name_all(base, &place)) {
        forget(&place);
        return ERR_NOMEM;
    }
    if (mkdir(place.folder, 0700) < 0) {
        *ret_errno = errno;
        forget(&place);
        return ERR_SYSTEM;
    }
    bool made = chmod(place.folder, 0700) == 0 && make_launcher(all, &place, launch_services);
    *ret_errno = errno;
    if (!made || sock_listen_unix(place.socket, 0600, -1, -1, ret_fd, ret_errno)) {
        bridge_place_remove(&place);
        return ERR_SYSTEM;
    }
    *ret_place = place;
    return ERR_OK;
}

enum err bridge_place_make(const struct bridges *all, bool launch_services,
                           struct bridge_place *ret_place, int *ret_fd, struct errctx *ctx)
{
    const char *tmp = helper_env_get(all->env, STR("TMPDIR"));
    const char *const bases[] = {tmp && *tmp ? tmp : "/tmp",
                                 helper_env_get(all->env, STR("XDG_RUNTIME_DIR"))};
    int os_errno = 0, first = 0;
    if (!all->program)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "the gateway cannot tell where its own program lies: is /proc mounted?");
    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        if (!bases[i] || !*bases[i])
            continue;
        enum err e =
            make_in(all, str_from(bases[i]), launch_services, ret_place, ret_fd, &os_errno);
        if (e != ERR_SYSTEM)
            return e;
        first = first ? first : os_errno;
    }
    return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                   "set TMPDIR to a short path where programs may run, for open_urls: %s (%.60s)",
                   err_errno_text(first), bases[0]);
}
