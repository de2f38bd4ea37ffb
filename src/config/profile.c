#include "config/profile.h"
#include "config/builtin.h"
#include "config/nearest.h"
#include "config/profile_int.h"
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { PATH_BYTES = PATH_MAX };

void profile_env_from_process(struct profile_env *ret_env)
{
    *ret_env = (struct profile_env){.home = getenv("HOME"),
                                    .xdg_config_home = getenv("XDG_CONFIG_HOME"),
                                    .xdg_state_home = getenv("XDG_STATE_HOME")};
}

/* ---- files ---- */

static bool as_z(struct str path, char out[PATH_BYTES])
{
    if (path.n == 0 || path.n >= PATH_BYTES || memchr(path.p, 0, path.n))
        return false;
    memcpy(out, path.p, path.n);
    out[path.n] = 0;
    return true;
}

bool file_exists(struct str path)
{
    char z[PATH_BYTES];
    struct stat st;
    return as_z(path, z) && stat(z, &st) == 0 && !S_ISDIR(st.st_mode);
}

bool file_canonical(struct str path, struct buf *out)
{
    char z[PATH_BYTES], real[PATH_BYTES];
    if (!as_z(path, z) || !realpath(z, real))
        return false;
    buf_add_z(out, real);
    return buf_ok(out);
}

struct str path_directory(struct str path)
{
    size_t slash = str_rfind(path, '/');
    if (slash == path.n)
        return STR(".");
    return slash ? str_of(path.p, slash) : STR("/");
}

/* ---- directories ---- */

static bool is_absolute(const char *path)
{
    return path && path[0] == '/';
}

/* Out of the environment: "" when nothing there leads to a directory. */
static void add_config_root(const struct profile_env *env, struct buf *out)
{
    if (is_absolute(env->xdg_config_home) && file_canonical(str_from(env->xdg_config_home), out))
        return;
    if (!is_absolute(env->home))
        return;
    if (!file_canonical(str_from(env->home), out))
        buf_add_z(out, env->home);
    buf_add_z(out, "/.config");
}

static void add_below_root(const struct profile_env *env, const char *below, struct buf *out)
{
    size_t before = out->n;
    add_config_root(env, out);
    if (out->n > before)
        buf_add_z(out, below);
}

bool profile_directory(const struct profile_env *env, struct buf *out)
{
    add_below_root(env, "/nono/profiles", out);
    return buf_ok(out);
}

/* ---- names ---- */

bool profile_is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-')
            return false;
    }
    return s.n && s.p[0] != '-' && s.p[s.n - 1] != '-';
}

enum profile_form profile_form(struct str text)
{
    struct str left = str_of(text.p, str_find(text, '@'));
    size_t slash = str_find(left, '/');
    bool two = slash > 0 && slash + 1 < left.n && slash == str_rfind(left, '/');
    bool json = str_ends(text, STR(".json"));
    if (two && !strchr(".~/", text.p[0]) && !json)
        return PROFILE_REGISTRY;
    if (str_find(text, '/') < text.n || json || str_ends(text, STR(".jsonc")))
        return PROFILE_PATH;
    return profile_is_name(text) ? PROFILE_NAME : PROFILE_BAD_NAME;
}

bool profile_user_file(const struct profile_env *env, struct str name, struct buf *out)
{
    static const char *const ends[] = {".jsonc", ".json"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        buf_reset(out);
        if (!profile_directory(env, out) || out->n == 0)
            return false;
        buf_add_c(out, '/');
        buf_add_str(out, name);
        buf_add_z(out, ends[i]);
        if (buf_ok(out) && file_exists(buf_str(out)))
            return true;
    }
    return false;
}

struct name_list {
    struct str v[256];
    size_t n;
    struct buf text; /* the user's names live here; born with its maximum and never moved */
};

static void collect(void *owner, struct str name, const char *path)
{
    struct name_list *l = owner;
    (void)path;
    if (l->n == ARRAY_LEN(l->v) || l->text.n + name.n > 8192)
        return;
    buf_add_str(&l->text, name);
    if (buf_ok(&l->text))
        l->v[l->n++] = str_of(l->text.p + l->text.n - name.n, name.n);
}

void profile_explain_missing(const struct profile_env *env, struct str name, struct buf *out,
                             struct buf *hint)
{
    struct name_list names = {.n = 0};
    struct buf dir;
    buf_init(&dir, PATH_BYTES);
    buf_init(&names.text, 16384);
    (void)buf_reserve(&names.text, 8192); /* so that names keep their place */
    buf_printf(out, "\"%.*s\": ", STR_ARG(name));
    if (profile_directory(env, &dir) && dir.n)
        buf_printf(out, "neither %.*s/%.*s.jsonc nor .json is there, and no",
                   STR_ARG(buf_str(&dir)), STR_ARG(name));
    else
        buf_add_z(out, "there is no directory of user profiles (HOME is not set), and no");
    buf_add_z(out, " built-in profile has that name; packs are never fetched from a registry");
    if (buf_ok(&names.text))
        profile_each(env, collect, &names);
    struct str near = nearest_of(name, names.v, names.n);
    if (builtin_network_find(name))
        buf_printf(hint, "a network profile has that name: --network-profile %.*s", STR_ARG(name));
    else if (near.p)
        buf_printf(hint, "did you mean \"%.*s\"?", STR_ARG(near));
    else
        buf_add_z(hint, "`nono profile list` prints the names; a path works too");
    buf_fini(&dir);
    buf_fini(&names.text);
}

/* ---- the list ---- */

static bool profile_of_file(const char *file, struct str *ret_name)
{
    struct str name = str_from(file);
    if (str_ends(name, STR(".jsonc")))
        name.n -= 6;
    else if (str_ends(name, STR(".json")))
        name.n -= 5;
    else
        return false;
    *ret_name = name;
    return profile_is_name(name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the files in a directory, sorted, in `text`; NULL-ended blocks of NUL-ended names. */
static size_t read_directory(const char *dir, struct buf *text, char **names, size_t max)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    size_t n = 0, at = 0;
    while (d && (e = readdir(d))) {
        buf_add_z(text, e->d_name);
        buf_add_c(text, 0);
    }
    if (d)
        (void)closedir(d);
    for (; buf_ok(text) && at < text->n && n < max; at += strlen(text->p + at) + 1)
        names[n++] = text->p + at;
    qsort(names, n, sizeof(*names), compare_names);
    return n;
}

void profile_each(const struct profile_env *env, profile_name_fn *fn, void *owner)
{
    enum { MAX_FILES = 4096 };
    static const size_t text_max = (size_t)MAX_FILES * 64;
    char *names[MAX_FILES];
    struct buf dir, text, path;
    struct str name, last = STR_NULL;
    buf_init(&dir, PATH_BYTES);
    buf_init(&text, text_max);
    buf_init(&path, 2 * PATH_BYTES);
    size_t n = 0;
    if (profile_directory(env, &dir) && dir.n) {
        buf_add_c(&dir, 0);
        n = buf_ok(&dir) ? read_directory(dir.p, &text, names, MAX_FILES) : 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (!profile_of_file(names[i], &name) || str_eq(name, last) ||
            !profile_user_file(env, name, &path))
            continue;
        buf_add_c(&path, 0);
        if (buf_ok(&path))
            fn(owner, name, path.p);
        last = name;
    }
    for (size_t i = 0; builtin_profile_at(i); i++)
        fn(owner, str_from(builtin_profile_at(i)->name), NULL);
    buf_fini(&dir);
    buf_fini(&text);
    buf_fini(&path);
}

/* ---- packs that are installed already (2.3): nothing is ever fetched ---- */

static bool is_profile_of(const struct json *artifact, struct str name)
{
    struct str as = tree_text(artifact, "install_as");
    const struct json *aliases = tree_of(artifact, "aliases", JSON_ARRAY);
    if (!str_eq(tree_text(artifact, "type"), STR("profile")) || as.n == 0)
        return false;
    if (name.n == 0 || str_eq(as, name))
        return true;
    for (size_t i = 0; aliases && i < aliases->n; i++)
        if (is_kind(aliases->items[i], JSON_STRING) && str_eq(aliases->items[i]->text, name))
            return true;
    return false;
}

/* The first profile of the pack in `dir` that fits; name empty: any. */
static bool pack_profile(struct json_doc *doc, struct str dir, struct str name, struct buf *out)
{
    const struct json *root = NULL;
    struct json_error why;
    buf_reset(out);
    buf_add_str(out, dir);
    buf_add_z(out, "/package.json");
    buf_add_c(out, 0);
    if (!buf_ok(out) || json_read_file(doc, out->p, &root, &why))
        return false;
    const struct json *artifacts = tree_of(root, "artifacts", JSON_ARRAY);
    for (size_t i = 0; artifacts && i < artifacts->n; i++) {
        struct str as = tree_text(artifacts->items[i], "install_as");
        if (!is_profile_of(artifacts->items[i], name) || !profile_is_name(as))
            continue;
        buf_reset(out);
        buf_printf(out, "%.*s/profiles/%.*s.json", STR_ARG(dir), STR_ARG(as));
        if (buf_ok(out) && file_exists(buf_str(out)))
            return true;
    }
    return false;
}

/* Every NAMESPACE/PACK below `root` in order of the alphabet. */
static bool search_packs(struct json_doc *doc, struct str root, struct str name, struct buf *out)
{
    enum { MAX_DIRS = 256 };
    char *spaces[MAX_DIRS], *packs[MAX_DIRS];
    struct buf text, inner, dir;
    bool found = false;
    buf_init(&text, 65536);
    buf_init(&dir, PATH_BYTES);
    size_t n = read_directory(root.p, &text, spaces, MAX_DIRS);
    for (size_t i = 0; !found && i < n; i++) {
        if (spaces[i][0] == '.')
            continue;
        buf_init(&inner, 65536);
        buf_reset(&dir);
        buf_printf(&dir, "%.*s/%s", STR_ARG(root), spaces[i]);
        size_t base = dir.n;
        buf_add_c(&dir, 0);
        size_t m = buf_ok(&dir) ? read_directory(dir.p, &inner, packs, MAX_DIRS) : 0;
        for (size_t k = 0; !found && k < m; k++) {
            if (packs[k][0] == '.')
                continue;
            dir.n = base;
            buf_printf(&dir, "/%s", packs[k]);
            found = buf_ok(&dir) && pack_profile(doc, buf_str(&dir), name, out);
        }
        buf_fini(&inner);
    }
    buf_fini(&text);
    buf_fini(&dir);
    return found;
}

bool profile_pack_file(struct json_doc *doc, const struct profile_env *env, struct str name,
                       struct buf *out)
{
    struct buf root;
    struct str pack = str_of(name.p, str_find(name, '@'));
    bool found = false;
    buf_init(&root, PATH_BYTES);
    add_below_root(env, "/nono/packages", &root);
    if (root.n && str_find(pack, '/') < pack.n) {
        buf_add_c(&root, '/');
        buf_add_str(&root, pack);
        found = buf_ok(&root) && pack_profile(doc, buf_str(&root), STR_NULL, out);
    } else if (root.n) {
        size_t n = root.n;
        buf_add_c(&root, 0);
        found = buf_ok(&root) && search_packs(doc, str_of(root.p, n), name, out);
    }
    buf_fini(&root);
    return found;
}
