/* `nono profile init`, `list` and `schema`. */
#include "base/encode.h"
#include "cli/cli_int.h"
#include "cli/profile_command.h"
#include "cli/profile_load.h"
#include "cli/profile_starter.h"
#include "config/builtin.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_WRONG = 1, PATH_BYTES = 8192, DIRECTORY_MODE = 0755, FILE_MODE = 0644 };

static int failed(const char *what, struct str path, const char *why)
{
    struct buf text;
    buf_init(&text, LINE_MAX_BYTES);
    buf_printf(&text, "%s%s", what, *what ? " " : "");
    encode_visible(&text, path);
    buf_printf(&text, ": %s", why);
    profile_say(buf_str(&text));
    buf_fini(&text);
    return EXIT_WRONG;
}

/* ---- init ---- */

/* `path` ends in NUL and is put together again before this returns. */
static bool make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        bool ok = mkdir(path, DIRECTORY_MODE) == 0 || errno == EEXIST;
        *slash = '/';
        if (!ok)
            return false;
    }
    return true;
}

static bool write_new(const char *path, struct str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    bool ok = fd >= 0;
    while (ok && text.n) {
        ssize_t n = write(fd, text.p, text.n);
        ok = n > 0 || (n < 0 && errno == EINTR);
        text = n > 0 ? str_of(text.p + n, text.n - (size_t)n) : text;
    }
    if (fd >= 0 && close(fd))
        ok = false;
    return ok;
}

/* NAME.json beside it would be hidden by the new file. */
static bool is_taken(struct buf *path, struct str name)
{
    static const char *const ends[] = {".json", ".jsonc"};
    size_t n = path->n;
    struct stat st;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        path->n = n;
        buf_printf(path, "/%.*s%s", STR_ARG(name), ends[i]);
        buf_add_c(path, 0);
        if (!buf_ok(path) || lstat(path->p, &st) == 0)
            return true;
        path->n--;
    }
    return false;
}

/* path: the directory; then the file's path with its NUL behind. */
static int create(struct buf *path, struct str name)
{
    struct buf text;
    if (!buf_ok(path) || path->n == 0)
        return failed("there is no place for", name, "HOME is not set");
    if (is_taken(path, name))
        return failed("", buf_ok(path) ? str_from(path->p) : name,
                      "it exists already; choose another name");
    buf_init(&text, LINE_MAX_BYTES);
    profile_starter(&text, name);
    bool ok = buf_ok(&text) && make_directories(path->p) && write_new(path->p, buf_str(&text));
    int why = errno;
    buf_reset(&text);
    buf_printf(&text, "%s\n", path->p);
    if (ok)
        cli_print(STDOUT_FILENO, &text);
    buf_fini(&text);
    return ok ? 0 : failed("cannot write", str_from(path->p), err_errno_text(why));
}

int profile_init(const struct args *args, char **envp)
{
    struct profile_env env;
    struct buf path;
    struct str name = str_from(args->words[0]);
    (void)envp;
    if (!profile_is_name(name))
        return failed("no name of a profile:", name,
                      "names are letters, digits and - (not first or last)");
    if (builtin_profile_find(name))
        return failed("", name,
                      "a built-in profile has that name and would be hidden; choose another, and "
                      "write \"extends\" into it to build on that one");
    profile_env_from_process(&env);
    buf_init(&path, PATH_BYTES);
    int code = profile_directory(&env, &path) ? create(&path, name) : EXIT_WRONG;
    buf_fini(&path);
    return code;
}

/* ---- list ---- */

static void add_name(void *owner, struct str name, const char *path)
{
    struct buf *out = owner;
    const struct builtin_profile *built_in = path ? NULL : builtin_profile_find(name);
    buf_printf(out, "%-20.*s  ", STR_ARG(name));
    encode_visible(out, path ? str_from(path) : STR("built-in"));
    if (built_in && built_in->network_profile && *built_in->network_profile)
        buf_printf(out, ", network profile %s", built_in->network_profile);
    buf_add_c(out, '\n');
}

int profile_list(const struct args *args, char **envp)
{
    struct profile_env env;
    struct buf out;
    (void)args, (void)envp;
    profile_env_from_process(&env);
    buf_init(&out, PRINT_MAX_BYTES);
    profile_each(&env, add_name, &out);
    int code = profile_answer(&out, 0);
    buf_fini(&out);
    return code;
}

/* ---- schema ---- */

int profile_schema(const struct args *args, char **envp)
{
    struct buf out;
    (void)args, (void)envp;
    buf_init(&out, PRINT_MAX_BYTES);
    schema_write(&out);
    if (buf_ok(&out) && out.n && out.p[out.n - 1] != '\n')
        buf_add_c(&out, '\n');
    int code = profile_answer(&out, 0);
    buf_fini(&out);
    return code;
}
