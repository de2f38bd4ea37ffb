/* A directory of its own for each test: files, XDG variables, loading. */
#pragma once
#include "../base/unit.h"
#include "base/mem.h"
#include "config/platform.h"
#include "config/profile.h"
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    char dir[128]; /* canonical */
    char profiles[160];
    char config[160];
    struct platform platform;
    struct profile_env env;
    struct json_doc *doc;
    struct problems problems;
    const struct json *tree;
    struct str file;
};

static inline void make_dirs(const char *path)
{
    char part[512];
    for (size_t i = 1; path[i]; i++)
        if (path[i] == '/') {
            memcpy(part, path, i);
            part[i] = 0;
            (void)mkdir(part, 0700);
        }
    (void)mkdir(path, 0700);
}

static inline void world_init(struct world *w)
{
    char made[] = "/tmp/nono-profile-XXXXXX";
    *w = (struct world){.tree = NULL};
    assert_non_null(mkdtemp(made));
    char real[PATH_MAX];
    assert_non_null(realpath(made, real));
    (void)snprintf(w->dir, sizeof(w->dir), "%.100s", real);
    (void)snprintf(w->config, sizeof(w->config), "%s/cfg", w->dir);
    (void)snprintf(w->profiles, sizeof(w->profiles), "%s/cfg/nono/profiles", w->dir);
    make_dirs(w->profiles);
    w->platform = (struct platform){.os = "linux", .id = "debian", .version_id = "12"};
    w->env = (struct profile_env){
        .home = w->dir, .xdg_config_home = w->config, .platform = &w->platform};
    w->doc = json_doc_new();
    assert_non_null(w->doc);
    problems_init(&w->problems, w->doc);
}

static inline void world_again(struct world *w)
{
    problems_fini(&w->problems);
    json_doc_free(w->doc);
    w->doc = json_doc_new();
    assert_non_null(w->doc);
    problems_init(&w->problems, w->doc);
    w->tree = NULL;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline void world_fini(struct world *w)
{
    problems_fini(&w->problems);
    json_doc_free(w->doc);
    (void)nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* `name` below the world's directory. */
static inline void put(struct world *w, const char *name, const char *text)
{
    char path[512], dir[512];
    (void)snprintf(path, sizeof(path), "%s/%s", w->dir, name);
    (void)snprintf(dir, sizeof(dir), "%s", path);
    *strrchr(dir, '/') = 0;
    make_dirs(dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

/* A user profile, `a.jsonc`. */
static inline void put_user(struct world *w, const char *file, const char *text)
{
    char name[256];
    (void)snprintf(name, sizeof(name), "cfg/nono/profiles/%s", file);
    put(w, name, text);
}

static inline enum err load_extending(struct world *w, const char *name,
                                      const struct settings *extends)
{
    char path[512];
    world_again(w);
    if (name[0] == '@') { /* below the world's directory */
        (void)snprintf(path, sizeof(path), "%s/%s", w->dir, name + 1);
        name = path;
    }
    return profile_load(w->doc, &w->env, str_from(name), extends, &w->tree, &w->file, &w->problems);
}

static inline enum err load(struct world *w, const char *name)
{
    return load_extending(w, name, NULL);
}

static inline void print_problems(const struct problems *p)
{
    for (size_t i = 0; i < p->n; i++)
        print_message("  %s %s:%u:%u %.*s: %.*s (%.*s)\n", p->v[i].warning ? "warning" : "error",
                      p->v[i].at.file, p->v[i].at.line, p->v[i].at.column, STR_ARG(p->v[i].pointer),
                      STR_ARG(p->v[i].message), STR_ARG(p->v[i].hint));
}

static inline const struct problem *find_problem(const struct problems *p, const char *part)
{
    for (size_t i = 0; i < p->n; i++)
        if (memmem(p->v[i].message.p, p->v[i].message.n, part, strlen(part)))
            return &p->v[i];
    return NULL;
}

static inline void expect_ok(struct world *w, const char *name)
{
    enum err e = load(w, name);
    if (e)
        print_problems(&w->problems);
    assert_int_equal(e, ERR_OK);
    assert_non_null(w->tree);
}

/* It fails, and one of its problems says `part`. */
static inline const struct problem *expect_problem(struct world *w, const char *name,
                                                   const char *part)
{
    enum err e = load(w, name);
    const struct problem *p = find_problem(&w->problems, part);
    if (!e || !p) {
        print_message("%s: %s, wanted \"%s\"\n", name, err_name(e), part);
        print_problems(&w->problems);
    }
    assert_int_not_equal(e, ERR_OK);
    assert_non_null(p);
    return p;
}

/* "a b c": the texts of /network/<key>. */
static inline void texts_of(const struct json *tree, const char *key, char *out, size_t size)
{
    const struct json_member *network = json_get(tree, STR("network"));
    const struct json_member *m = network ? json_get(network->value, str_from(key)) : NULL;
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; m && m->value->kind == JSON_ARRAY && i < m->value->n; i++) {
        const struct json *v = m->value->items[i];
        const struct json_member *d = v->kind == JSON_OBJECT ? json_get(v, STR("domain")) : NULL;
        struct str text = d ? d->value->text : v->text;
        n += (size_t)snprintf(out + n, size - n, "%s%.*s", n ? " " : "", STR_ARG(text));
    }
    if (m && m->value->kind == JSON_STRING)
        (void)snprintf(out, size, "%.*s", STR_ARG(m->value->text));
}

static inline void expect_texts(struct world *w, const char *key, const char *want)
{
    char got[512];
    texts_of(w->tree, key, got, sizeof(got));
    assert_string_equal(got, want);
}
