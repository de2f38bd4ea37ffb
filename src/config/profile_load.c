/* A profile with all that it extends (sections 2.3 to 2.6). */
#include "config/profile_int.h"
#include "base/map.h"
#include "base/mem.h"
#include "config/builtin.h"
#include "config/platform.h"
#include <limits.h>

enum { MAX_ANCESTORS = 10 };

/* A file (or built-in) that was read: once, however many extend it. */
struct source {
    struct str key;              /* canonical path, or "built-in:NAME" */
    struct str file;             /* as the user knows it */
    struct str dir;              /* where its neighbours are looked for; p NULL: nowhere */
    const struct json *tree;     /* normalised; NULL: it has no value */
    const struct json *resolved; /* with its bases; NULL: not yet */
    unsigned height;             /* levels of bases below it */
};

struct loader {
    struct json_doc *doc;
    const struct profile_env *env;
    struct platform platform;
    struct problems *problems;
    struct map sources;
    struct str ancestors[MAX_ANCESTORS]; /* names of bases, for the cycle's sentence */
    const struct source *stack[MAX_ANCESTORS];
    unsigned n;
    bool no_memory;
};

/* One entry of `extends`. */
struct base_ref {
    struct str text;
    const struct path *path;
    struct place at;
    struct str dir; /* that relative paths start from */
    bool flag;
};

static struct source *out_of_memory(struct loader *l)
{
    l->no_memory = true;
    return NULL;
}

/* ---- sources ---- */

static struct source *keep(struct loader *l, struct source *model)
{
    struct source *s = json_alloc(l->doc, sizeof(*s));
    if (!s)
        return out_of_memory(l);
    *s = *model;
    return map_put(&l->sources, s->key, s) ? s : out_of_memory(l);
}

static void check_source(struct loader *l, struct source *s, const struct json *root)
{
    s->tree = schema_normalise(l->doc, root, &l->platform, l->problems);
    if (!s->tree) {
        l->no_memory = true;
        return;
    }
    if (!is_kind(s->tree, JSON_OBJECT))
        s->tree = NULL; /* said by the schema */
    else
        profile_check(s->tree, false, l->problems);
}

/* `why` of a file that could not be read at all. */
static struct source *read_file(struct loader *l, struct str path, enum err *ret_err,
                                struct json_error *why)
{
    struct buf real;
    struct source s = {0};
    const struct json *root = NULL;
    buf_init(&real, PATH_MAX);
    struct str shown = json_str(l->doc, path);
    if (!file_canonical(path, &real)) /* the reader says why */
        buf_add_str(&real, path);
    struct source *known = buf_ok(&real) ? map_get(&l->sources, buf_str(&real)) : NULL;
    s.key = json_str(l->doc, buf_str(&real));
    buf_fini(&real);
    *ret_err = ERR_OK;
    if (known)
        return known;
    if (!shown.p || !s.key.p)
        return out_of_memory(l);
    s.file = shown;
    s.dir = path_directory(s.key);
    *ret_err = json_read_file(l->doc, shown.p, &root, why);
    if (*ret_err == ERR_INVALID)
        complain(l->problems, NULL, &why->at, why->hint, "%s", why->text);
    else if (*ret_err)
        return NULL;
    if (!*ret_err)
        check_source(l, &s, root);
    *ret_err = ERR_OK;
    return keep(l, &s);
}

static void add_builtin_text(struct buf *out, const struct builtin_profile *b)
{
    buf_printf(out, "{\"meta\":{\"name\":\"%s\"}", b->name);
    if (*b->extends)
        buf_printf(out, ",\"extends\":\"%s\"", b->extends);
    buf_add_z(out, ",\"network\":{\"block\":false");
    if (*b->network_profile)
        buf_printf(out, ",\"network_profile\":\"%s\"", b->network_profile);
    buf_add_z(out, "}}");
}

static struct source *make_builtin(struct loader *l, const struct builtin_profile *b)
{
    struct buf text;
    struct json_error why;
    const struct json *root = NULL;
    struct source s = {0};
    buf_init(&text, 1024);
    buf_printf(&text, "built-in:%s", b->name);
    struct source *known = map_get(&l->sources, buf_str(&text));
    s.key = s.file = json_str(l->doc, buf_str(&text));
    buf_reset(&text);
    add_builtin_text(&text, b);
    bool ok = s.key.p && buf_ok(&text) && !json_read(l->doc, buf_str(&text), s.key.p, &root, &why);
    buf_fini(&text);
    if (known)
        return known;
    if (!ok)
        return out_of_memory(l);
    check_source(l, &s, root);
    return keep(l, &s);
}

/* ---- bases ---- */

static struct source *refuse_base(struct loader *l, const struct base_ref *b, const char *hint,
                                  const char *sentence)
{
    complain(l->problems, b->path, &b->at, hint, "\"%.*s\" %s", STR_ARG(b->text), sentence);
    return NULL;
}

static struct source *read_base(struct loader *l, const struct base_ref *b, struct str path)
{
    enum err e;
    struct json_error why = {0};
    struct source *s = read_file(l, path, &e, &why);
    if (!s && !l->no_memory)
        complain(l->problems, b->path, &b->at, NULL, "cannot read %.*s: %s", STR_ARG(path),
                 why.text);
    return s;
}

static bool is_base_path(const struct base_ref *b)
{
    return str_starts(b->text, STR("/")) || str_starts(b->text, STR("./")) ||
           str_starts(b->text, STR("../")) || (b->flag && profile_form(b->text) == PROFILE_PATH) ||
           (b->flag && profile_form(b->text) == PROFILE_REGISTRY && file_exists(b->text));
}

static struct source *base_by_path(struct loader *l, const struct base_ref *b)
{
    struct buf path;
    struct source *s;
    buf_init(&path, PATH_MAX);
    if (b->text.p[0] != '/' && b->dir.n) {
        buf_add_str(&path, b->dir);
        buf_add_c(&path, '/');
    }
    buf_add_str(&path, b->text);
    s = buf_ok(&path) ? read_base(l, b, buf_str(&path))
                      : refuse_base(l, b, NULL, "is too long for a path");
    buf_fini(&path);
    return s;
}

/* `<dir>/NAME.json`, unless it is the very file that asks. */
static bool neighbour(const struct base_ref *b, const struct source *asker, struct buf *out)
{
    struct buf real;
    bool other = false;
    if (!b->dir.p || b->flag)
        return false;
    buf_reset(out);
    buf_printf(out, "%.*s/%.*s.json", STR_ARG(b->dir), STR_ARG(b->text));
    buf_init(&real, PATH_MAX);
    if (buf_ok(out) && file_exists(buf_str(out)) && file_canonical(buf_str(out), &real))
        other = !asker || !str_eq(buf_str(&real), asker->key);
    buf_fini(&real);
    return other;
}

static struct source *missing_base(struct loader *l, const struct base_ref *b)
{
    struct buf text, hint;
    buf_init(&text, 2048);
    buf_init(&hint, 512);
    profile_explain_missing(l->env, b->text, &text, &hint);
    buf_add_c(&hint, 0);
    complain(l->problems, b->path, &b->at, buf_ok(&hint) ? hint.p : NULL,
             "there is no base profile %.*s", STR_ARG(buf_str(&text)));
    buf_fini(&text);
    buf_fini(&hint);
    return NULL;
}

/* A pack's or built-in's bases are not looked for beside it. */
static struct source *base_by_name(struct loader *l, const struct base_ref *b,
                                   const struct source *asker)
{
    struct buf path;
    struct source *s;
    const struct builtin_profile *builtin = builtin_profile_find(b->text);
    buf_init(&path, PATH_MAX);
    if (neighbour(b, asker, &path) || profile_user_file(l->env, b->text, &path)) {
        s = read_base(l, b, buf_str(&path));
    } else if (profile_pack_file(l->doc, l->env, b->text, &path)) {
        s = read_base(l, b, buf_str(&path));
        if (s)
            s->dir = STR_NULL;
    } else {
        s = builtin ? make_builtin(l, builtin) : missing_base(l, b);
    }
    buf_fini(&path);
    return s;
}

static struct source *find_base(struct loader *l, const struct base_ref *b,
                                const struct source *asker)
{
    if (is_base_path(b))
        return base_by_path(l, b);
    switch (profile_form(b->text)) {
    case PROFILE_NAME:
        return base_by_name(l, b, asker);
    case PROFILE_REGISTRY:
        return base_by_name(l, b, asker);
    case PROFILE_PATH:
        return refuse_base(l, b, "begin a path with /, ./ or ../", "is no name of a profile");
    default:
        return refuse_base(l, b, "names are letters, digits and - (not first or last)",
                           "is no name of a profile");
    }
}

/* ---- inheritance ---- */

static bool resolve(struct loader *l, struct source *s, const struct settings *in_front);

static bool fold(struct loader *l, const struct json **acc, const struct json *next)
{
    *acc = *acc ? schema_merge(l->doc, *acc, next) : next;
    if (!*acc)
        l->no_memory = true;
    return *acc != NULL;
}

static bool circular(struct loader *l, const struct base_ref *b, unsigned from)
{
    struct buf text;
    buf_init(&text, 4096);
    for (unsigned i = from; i < l->n; i++)
        buf_printf(&text, "%.*s -> ", STR_ARG(l->ancestors[i]));
    buf_add_str(&text, l->ancestors[from]);
    complain(l->problems, b->path, &b->at, "leave one of them out",
             "circular dependency detected: %.*s", STR_ARG(buf_str(&text)));
    buf_fini(&text);
    return false;
}

static bool too_deep(struct loader *l, const struct base_ref *b)
{
    struct buf text;
    buf_init(&text, 4096);
    for (unsigned i = 0; i < l->n; i++)
        buf_printf(&text, "%.*s -> ", STR_ARG(l->ancestors[i]));
    buf_add_str(&text, b->text);
    complain(l->problems, b->path, &b->at, "put some of them together",
             "inheritance chain too deep (max %d): %.*s", MAX_ANCESTORS, STR_ARG(buf_str(&text)));
    buf_fini(&text);
    return false;
}

/* False: said why (or no memory). */
static bool enter_base(struct loader *l, const struct base_ref *b, struct source *base)
{
    for (unsigned i = 0; i < l->n; i++)
        if (l->stack[i] == base)
            return circular(l, b, i);
    if (l->n == MAX_ANCESTORS || l->n + 1 + (base->resolved ? base->height : 0) > MAX_ANCESTORS)
        return too_deep(l, b);
    if (base->resolved)
        return true;
    l->ancestors[l->n] = b->text;
    l->stack[l->n++] = base;
    bool ok = resolve(l, base, NULL);
    l->n--;
    return ok;
}

static bool take_base(struct loader *l, struct source *s, const struct base_ref *b,
                      const struct json **acc)
{
    struct source *base = find_base(l, b, s);
    if (!base || !base->tree || !enter_base(l, b, base))
        return !l->no_memory;
    if (base->height + 1 > s->height)
        s->height = base->height + 1;
    return fold(l, acc, base->resolved);
}

static bool take_flags(struct loader *l, struct source *s, const struct settings *in_front,
                       const struct json **acc)
{
    for (size_t i = 0; in_front && i < in_front->n; i++) {
        const struct setting *f = &in_front->v[i];
        struct str from = json_str(l->doc, f->origin);
        struct base_ref b = {.text = json_str(l->doc, f->value),
                             .flag = true,
                             .path = PATH_KEY(NULL, STR("extends")),
                             .at = {.file = from.p}};
        if (!from.p || !b.text.p) {
            l->no_memory = true;
            return false;
        }
        if (b.text.n == 0)
            (void)refuse_base(l, &b, NULL, "is empty");
        else if (!take_base(l, s, &b, acc))
            return false;
    }
    return true;
}

static bool take_own(struct loader *l, struct source *s, const struct json **acc)
{
    const struct json *list = tree_get(s->tree, "extends");
    const struct path *root = PATH_KEY(NULL, STR("extends"));
    size_t n = is_kind(list, JSON_ARRAY) ? list->n : is_kind(list, JSON_STRING) ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        const struct json *v = list->kind == JSON_ARRAY ? list->items[i] : list;
        const struct path *path = list->kind == JSON_ARRAY ? PATH_INDEX(root, i) : root;
        if (!is_kind(v, JSON_STRING))
            continue;
        struct base_ref b = {.text = v->text, .path = path, .at = v->at, .dir = s->dir};
        if (b.text.n == 0)
            (void)refuse_base(l, &b, NULL, "is empty");
        else if (!take_base(l, s, &b, acc))
            return false;
    }
    return true;
}

/* s->resolved is set unless memory ends: what is wrong is in the list of problems. */
static bool resolve(struct loader *l, struct source *s, const struct settings *in_front)
{
    const struct json *acc = NULL;
    if (!s->tree)
        return true;
    if (!take_flags(l, s, in_front, &acc) || !take_own(l, s, &acc) || !fold(l, &acc, s->tree))
        return false;
    s->resolved = acc;
    return true;
}

/* ---- platform_overrides ---- */

/* The override with the profile's own `meta`, which merging would replace. */
static const struct json *with_meta(struct loader *l, const struct json *override,
                                    const struct json *tree)
{
    const struct json_member *meta = json_get(tree, STR("meta"));
    if (!meta || json_get(override, STR("meta")))
        return override;
    struct json *copy = json_alloc(l->doc, sizeof(*copy));
    struct json_member *members = json_alloc(l->doc, (override->n + 1) * sizeof(*members));
    if (!copy || !members)
        return NULL;
    *copy = *override;
    if (override->n)
        memcpy(members, override->members, override->n * sizeof(*members));
    members[override->n] = *meta;
    copy->members = members;
    copy->n = override->n + 1;
    return copy;
}

static const struct json *apply_platform(struct loader *l, const struct json *tree)
{
    const struct json *all = tree_of(tree, "platform_overrides", JSON_OBJECT);
    const struct json *override = tree_of(all, l->platform.os, JSON_OBJECT);
    if (!override)
        return tree;
    override = with_meta(l, override, tree);
    return override ? schema_merge(l->doc, tree, override) : NULL;
}

/* ---- the root ---- */

static struct source *not_found(struct loader *l, struct str name, enum err *ret_err)
{
    struct buf text, hint;
    buf_init(&text, 2048);
    buf_init(&hint, 512);
    profile_explain_missing(l->env, name, &text, &hint);
    buf_add_c(&hint, 0);
    complain(l->problems, NULL, &(struct place){.file = ""}, buf_ok(&hint) ? hint.p : NULL, "%.*s",
             STR_ARG(buf_str(&text)));
    buf_fini(&text);
    buf_fini(&hint);
    *ret_err = ERR_NOT_FOUND;
    return NULL;
}

static struct source *root_by_path(struct loader *l, struct str path, enum err *ret_err)
{
    struct json_error why = {0};
    struct str shown = json_str(l->doc, path);
    struct source *s = read_file(l, path, ret_err, &why);
    if (!s && !l->no_memory && shown.p) {
        complain(l->problems, NULL, &(struct place){.file = shown.p}, NULL, "%s",
                 why.text[0] ? why.text : "it cannot be read");
        *ret_err = ERR_SYSTEM;
    }
    return s;
}

static struct source *root_by_name(struct loader *l, struct str name, enum err *ret_err)
{
    struct buf path;
    struct source *s;
    const struct builtin_profile *builtin = builtin_profile_find(name);
    buf_init(&path, PATH_MAX);
    if ((profile_form(name) == PROFILE_NAME && profile_user_file(l->env, name, &path)) ||
        profile_pack_file(l->doc, l->env, name, &path))
        s = root_by_path(l, buf_str(&path), ret_err);
    else
        s = builtin ? make_builtin(l, builtin) : not_found(l, name, ret_err);
    buf_fini(&path);
    return s;
}

static struct source *find_root(struct loader *l, struct str text, enum err *ret_err)
{
    *ret_err = ERR_OK;
    switch (profile_form(text)) {
    case PROFILE_PATH:
        return root_by_path(l, text, ret_err);
    case PROFILE_REGISTRY: /* decision O4 */
        return file_exists(text) ? root_by_path(l, text, ret_err) : root_by_name(l, text, ret_err);
    case PROFILE_NAME:
        return root_by_name(l, text, ret_err);
    default:
        complain(l->problems, NULL, &(struct place){.file = ""},
                 "names are letters, digits and - (not first or last); a path holds a / or ends in "
                 ".json or .jsonc",
                 "\"%.*s\" is no name of a profile", STR_ARG(text));
        *ret_err = ERR_INVALID;
        return NULL;
    }
}

static enum err load(struct loader *l, struct str text, const struct settings *extends,
                     const struct json **ret_tree, struct str *ret_file)
{
    enum err e;
    struct source *root = find_root(l, text, &e);
    if (l->no_memory)
        return ERR_NOMEM;
    if (!root)
        return e;
    *ret_file = root->file;
    if (!root->tree)
        return ERR_INVALID;
    if (!resolve(l, root, extends))
        return ERR_NOMEM;
    const struct json *tree = apply_platform(l, root->resolved);
    if (!tree)
        return ERR_NOMEM;
    profile_check(tree, true, l->problems);
    *ret_tree = tree;
    return l->problems->errors ? ERR_INVALID : ERR_OK;
}

enum err profile_load(struct json_doc *doc, const struct profile_env *env, struct str name_or_path,
                      const struct settings *extends, const struct json **ret_tree,
                      struct str *ret_file, struct problems *problems)
{
    struct loader l = {.doc = doc, .env = env, .problems = problems};
    if (env->platform)
        l.platform = *env->platform;
    else
        platform_read(&l.platform);
    map_init(&l.sources);
    enum err e = load(&l, name_or_path, extends, ret_tree, ret_file);
    map_fini(&l.sources);
    return e;
}
