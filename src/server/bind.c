#include "server/server_int.h"

#include "base/mem.h"
#include "net/sockaddr.h"
#include "sys/notify.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static enum err refuse(const char *where, enum err e, int os_errno)
{
    bool tcp = !str_starts(str_from(where), STR("unix:"));
    const char *why = e == ERR_IN_USE && !tcp ? "address already in use: another program listens there"
                      : e == ERR_IN_USE ? "address already in use: stop the program that listens there, or choose another "
                                        "(--port 0 takes a free one)"
                      : os_errno == EEXIST && !tcp ? "a file that is no socket has that name: remove it, or choose another"
                      : os_errno == EADDRNOTAVAIL ? "no interface of this machine has that address"
                                                  : err_errno_text(os_errno);

    (void)fprintf(stderr, "nono: cannot listen on %s: %s\n", where, why);
    return ERR_INVALID;
}

static struct str point_name(const struct listen_point *p)
{
    struct buf b;
    struct str name;

    buf_init(&b, 512);
    if (p->address.family == ADDRESS_V6)
        buf_add_c(&b, '[');
    address_format(&b, &p->address);
    if (p->address.family == ADDRESS_V6)
        buf_add_c(&b, ']');
    if (p->port)
        buf_printf(&b, ":%u", p->port);
    name.p = mem_dup(b.p, b.n);
    name.n = name.p ? b.n : 0;
    buf_fini(&b);
    return name;
}

static bool add_fd(struct bound *b, int fd)
{
    int *fds = mem_realloc(b->fds, (b->n_fds + 1) * sizeof(int));

    if (!fds) {
        sock_close(fd);
        return false;
    }
    b->fds = fds;
    fds[b->n_fds++] = fd;
    return true;
}

/* Several sockets on one address would also be shared with another gateway of the same user, silently: a first bind without
 * SO_REUSEPORT proves the port free. */
static enum err bind_tcp_fds(struct bound *b, struct sock_addr at, unsigned workers)
{
    struct sock_listen_options alone = {.backlog = BACKLOG}, shared = {.reuse_port = true, .backlog = BACKLOG};
    char where[80];
    struct sock_addr local;
    int fd, os_errno = 0;
    enum err e = sock_listen(&at, &alone, &fd, &os_errno);

    (void)snprintf(where, sizeof(where), "%.*s", STR_ARG(b->point.name));
    if (e != ERR_OK)
        return refuse(where, e, os_errno);
    if (sock_local(fd, &local) != ERR_OK || !sockaddr_to_address(&local, &b->point.address, &b->point.port)) {
        sock_close(fd);
        return refuse(where, ERR_SYSTEM, errno);
    }
    if (workers == 1)
        return add_fd(b, fd) ? ERR_OK : ERR_NOMEM;
    sock_close(fd);
    for (unsigned i = 0; i < workers; i++) {
        e = sock_listen(&local, &shared, &fd, &os_errno);
        if (e != ERR_OK)
            return refuse(where, e, os_errno);
        if (!add_fd(b, fd))
            return ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err bind_tcp(struct server *s, struct bound *b, const struct listen_spec *spec, unsigned workers)
{
    struct listen_point *p = &b->point;
    struct sock_addr at;
    enum err e;

    p->address = address_from_bytes(spec->family, spec->bytes);
    p->port = spec->port_given ? spec->port : s->config->port;
    p->wildcard = address_kind(&p->address) == ADDRESS_UNSPECIFIED;
    p->name = point_name(p);
    at = sockaddr_from_address(&p->address, p->port);
    e = bind_tcp_fds(b, at, workers);
    if (e != ERR_OK)
        return e;
    mem_free((void *)p->name.p);
    p->name = point_name(p);
    return p->name.p ? ERR_OK : ERR_NOMEM;
}

/* -1 when nothing is asked for; false when there is no such user or group. */
static bool find_user(struct str name, int *ret_uid)
{
    char text[128];
    uint64_t n;
    struct passwd *pw;

    *ret_uid = -1;
    if (!name.n)
        return true;
    if (str_u64(name, INT32_MAX, &n)) {
        *ret_uid = (int)n;
        return true;
    }
    (void)snprintf(text, sizeof(text), "%.*s", STR_ARG(name));
    pw = getpwnam(text);
    if (pw)
        *ret_uid = (int)pw->pw_uid;
    return pw != NULL;
}

static bool find_group(struct str name, int *ret_gid)
{
    char text[128];
    uint64_t n;
    struct group *gr;

    *ret_gid = -1;
    if (!name.n)
        return true;
    if (str_u64(name, INT32_MAX, &n)) {
        *ret_gid = (int)n;
        return true;
    }
    (void)snprintf(text, sizeof(text), "%.*s", STR_ARG(name));
    gr = getgrnam(text);
    if (gr)
        *ret_gid = (int)gr->gr_gid;
    return gr != NULL;
}

static enum err bind_unix(struct bound *b, const struct listen_spec *spec)
{
    char *path = mem_dup(spec->path.p, spec->path.n);
    char name[300];
    int uid, gid, fd, os_errno = 0;
    enum err e;

    if (!path)
        return ERR_NOMEM;
    (void)snprintf(name, sizeof(name), "unix:%s", path);
    b->point.is_unix = true;
    b->point.name = (struct str){mem_dup(name, strlen(name)), strlen(name)};
    if (!find_user(spec->owner, &uid) || !find_group(spec->group, &gid)) {
        (void)fprintf(stderr, "nono: cannot listen on %s: no such user or group\n", name);
        mem_free(path);
        return ERR_INVALID;
    }
    e = sock_listen_unix(path, spec->mode, uid, gid, &fd, &os_errno);
    mem_free(path);
    if (e != ERR_OK)
        return refuse(name, e, os_errno);
    b->unlink_at_end = true;
    return add_fd(b, fd) ? ERR_OK : ERR_NOMEM;
}

static enum err bind_one(struct server *s, struct str text, unsigned workers)
{
    struct errctx ctx = {0};
    struct listen_spec spec;

    if (s->n_bound == MAX_LISTENERS) {
        (void)fprintf(stderr, "nono: more than %d listeners\n", MAX_LISTENERS);
        return ERR_INVALID;
    }
    if (listen_parse(text, &spec, &ctx) != ERR_OK) {
        (void)fprintf(stderr, "nono: Configuration parse error: %s\n", ctx.text);
        return ERR_INVALID;
    }
    s->n_bound++;
    if (spec.is_unix)
        return bind_unix(&s->bound[s->n_bound - 1], &spec);
    return bind_tcp(s, &s->bound[s->n_bound - 1], &spec, workers);
}

/* The path of a unix socket, empty where it has none in the file system. */
static struct str unix_path(const struct sock_addr *local)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&local->storage;
    size_t room = local->len > offsetof(struct sockaddr_un, sun_path)
                      ? local->len - offsetof(struct sockaddr_un, sun_path) : 0;

    return str_of(un->sun_path, strnlen(un->sun_path, room));
}

/* What --no-auth asks of our own listeners holds for those of the service manager: only this machine, and no other user. */
static bool is_open_to_others(const struct bound *b, struct str path)
{
    char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    struct stat st;

    if (!b->point.is_unix)
        return address_kind(&b->point.address) != ADDRESS_LOOPBACK;
    (void)snprintf(name, sizeof(name), "%.*s", STR_ARG(path));
    return stat(name, &st) != 0 || (st.st_mode & 07) != 0;
}

/* A socket that the service manager made. */
static enum err take_passed(struct server *s, int fd)
{
    struct bound *b = &s->bound[s->n_bound];
    struct sock_addr local;
    struct str path = STR_NULL;
    char name[160];

    if (s->n_bound == MAX_LISTENERS || sock_local(fd, &local) != ERR_OK) {
        (void)fprintf(stderr, "nono: descriptor %d from the service manager is not a socket\n", fd);
        return ERR_INVALID;
    }
    s->n_bound++;
    if (sockaddr_to_address(&local, &b->point.address, &b->point.port)) {
        b->point.wildcard = address_kind(&b->point.address) == ADDRESS_UNSPECIFIED;
        b->point.name = point_name(&b->point);
    } else {
        b->point.is_unix = true;
        path = unix_path(&local);
        if (path.n)
            (void)snprintf(name, sizeof(name), "unix:%.*s", STR_ARG(path));
        else
            (void)snprintf(name, sizeof(name), "unix:fd:%d", fd);
        b->point.name = (struct str){mem_dup(name, strlen(name)), strlen(name)};
    }
    if (s->config->no_auth && is_open_to_others(b, path)) {
        (void)fprintf(stderr, "nono: Configuration parse error: --no-auth with %.*s from the service manager: without "
                      "authentication only loopback addresses and sockets that other users cannot open may serve; "
                      "leave --no-auth out\n", STR_ARG(b->point.name));
        return ERR_INVALID;
    }
    return b->point.name.p && add_fd(b, fd) ? ERR_OK : ERR_NOMEM;
}

enum err server_bind(struct server *s, unsigned workers)
{
    int passed = notify_listen_fds();
    enum err e = ERR_OK;

    for (int i = 0; e == ERR_OK && i < passed; i++)
        e = take_passed(s, 3 + i);
    for (size_t i = 0; e == ERR_OK && i < s->config->listen.n; i++)
        e = bind_one(s, s->config->listen.v[i].value, workers);
    if (e == ERR_OK && !s->n_bound)
        e = bind_one(s, STR("127.0.0.1"), workers);
    for (unsigned i = 0; i < s->n_bound; i++)
        s->points[i] = s->bound[i].point;
    return e;
}

void server_unbind(struct server *s)
{
    for (unsigned i = 0; i < s->n_bound; i++) {
        struct bound *b = &s->bound[i];

        for (unsigned k = 0; k < b->n_fds; k++)
            sock_close(b->fds[k]);
        if (b->unlink_at_end)
            (void)unlink(b->point.name.p + sizeof("unix:") - 1);
        mem_free((void *)b->point.name.p);
        mem_free(b->fds);
    }
    s->n_bound = 0;
}
