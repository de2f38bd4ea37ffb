#include "world.h"

#include "config/builtin.h"
#include "config/profile_int.h"

static void test_forms(void **state)
{
    static const struct {
        const char *text;
        enum profile_form form;
    } rows[] = {
        /* the vectors of section 14 */
        {"foo", PROFILE_NAME},
        {"./foo", PROFILE_PATH},
        {"a/b", PROFILE_REGISTRY},
        {"a/b.json", PROFILE_PATH},
        {"a/b.jsonc", PROFILE_REGISTRY},
        {"foo.jsonc", PROFILE_PATH},
        {"a/b@1.2", PROFILE_REGISTRY},
        {"a/b/c", PROFILE_PATH},
        {"foo_bar", PROFILE_BAD_NAME},
        /* and more */
        {"foo.json", PROFILE_PATH},
        {"/a/b", PROFILE_PATH},
        {"~/b", PROFILE_PATH},
        {"../b", PROFILE_PATH},
        {"", PROFILE_BAD_NAME},
        {"-x", PROFILE_BAD_NAME},
        {"x-", PROFILE_BAD_NAME},
        {"a b", PROFILE_BAD_NAME},
        {"foo@1", PROFILE_BAD_NAME},
        {"A-9", PROFILE_NAME},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (profile_form(str_from(rows[i].text)) != rows[i].form)
            fail_msg("%s: %d", rows[i].text, profile_form(str_from(rows[i].text)));
}

#define ALLOW(host) "{\"network\": {\"allow_domain\": [\"" host "\"]}}"

static void test_a_name_is_looked_up_in_order(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put_user(&w, "both.json", ALLOW("json.test"));
    expect_ok(&w, "both");
    expect_texts(&w, "allow_domain", "json.test");
    put_user(&w, "both.jsonc", "// better\n" ALLOW("jsonc.test"));
    expect_ok(&w, "both");
    expect_texts(&w, "allow_domain", "jsonc.test");
    assert_true(str_ends(w.file, STR("/cfg/nono/profiles/both.jsonc")));
    expect_ok(&w, "python-dev");
    assert_str(w.file, "built-in:python-dev");
    expect_texts(&w, "network_profile", "developer");
    put_user(&w, "python-dev.json", ALLOW("mine.test"));
    expect_ok(&w, "python-dev");
    expect_texts(&w, "allow_domain", "mine.test");
    world_fini(&w);
}

static void test_every_builtin_loads(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    for (size_t i = 0; builtin_profile_at(i); i++) {
        expect_ok(&w, builtin_profile_at(i)->name);
        expect_texts(&w, "network_profile", builtin_profile_at(i)->network_profile);
    }
    world_fini(&w);
}

static void test_paths_and_registry_names(void **state)
{
    struct world w;
    char before[512];
    (void)state;
    world_init(&w);
    put(&w, "dir/foo", ALLOW("plain.test"));
    put(&w, "dir/foo.jsonc", ALLOW("jsonc.test"));
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(w.dir), 0);
    expect_ok(&w, "dir/foo"); /* decision O4 */
    expect_texts(&w, "allow_domain", "plain.test");
    expect_ok(&w, "dir/foo.jsonc");
    expect_texts(&w, "allow_domain", "jsonc.test");
    expect_ok(&w, "./dir/foo");
    assert_int_equal(load(&w, "org/pack"), ERR_NOT_FOUND);
    assert_non_null(find_problem(&w.problems, "registry"));
    assert_int_equal(load(&w, "./nothing.json"), ERR_SYSTEM);
    assert_int_equal(chdir(before), 0);
    expect_ok(&w, "@dir/foo");
    world_fini(&w);
}

static void test_a_missing_profile_is_explained(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put_user(&w, "my-work.jsonc", ALLOW("a.test"));
    assert_int_equal(load(&w, "my-wrok"), ERR_NOT_FOUND);
    assert_int_equal(w.problems.n, 1);
    assert_non_null(find_problem(&w.problems, "/cfg/nono/profiles/my-wrok.jsonc"));
    assert_str(w.problems.v[0].hint, "did you mean \"my-work\"?");
    assert_int_equal(load(&w, "claude-code"), ERR_NOT_FOUND);
    assert_str(w.problems.v[0].hint,
               "a network profile has that name: --network-profile claude-code");
    assert_int_equal(load(&w, "bad_name"), ERR_INVALID);
    assert_non_null(find_problem(&w.problems, "is no name of a profile"));
    w.env.home = NULL;
    w.env.xdg_config_home = "relative";
    assert_int_equal(load(&w, "my-work"), ERR_NOT_FOUND);
    assert_non_null(find_problem(&w.problems, "HOME is not set"));
    expect_ok(&w, "default");
    world_fini(&w);
}

static void test_directories(void **state)
{
    struct world w;
    struct buf out;
    char home[256], want[512];
    (void)state;
    world_init(&w);
    buf_init(&out, 4096);
    assert_true(profile_directory(&w.env, &out));
    (void)snprintf(want, sizeof(want), "%s/cfg/nono/profiles", w.dir);
    assert_true(str_eq(buf_str(&out), str_from(want)));
    w.env.xdg_config_home = "relative/dir";
    buf_reset(&out);
    assert_true(profile_directory(&w.env, &out));
    (void)snprintf(want, sizeof(want), "%s/.config/nono/profiles", w.dir);
    assert_true(str_eq(buf_str(&out), str_from(want)));
    w.env.xdg_config_home = "/does/not/exist";
    (void)snprintf(home, sizeof(home), "%s/link", w.dir);
    assert_int_equal(symlink(w.dir, home), 0);
    w.env.home = home; /* canonical */
    buf_reset(&out);
    assert_true(profile_directory(&w.env, &out));
    assert_true(str_eq(buf_str(&out), str_from(want)));
    w.env.home = "/not/there";
    buf_reset(&out);
    assert_true(profile_directory(&w.env, &out));
    assert_str(buf_str(&out), "/not/there/.config/nono/profiles");
    w.env.home = "";
    buf_reset(&out);
    assert_true(profile_directory(&w.env, &out));
    assert_int_equal(out.n, 0);
    buf_fini(&out);
    world_fini(&w);
}

static void add_name(void *owner, struct str name, const char *path)
{
    struct buf *out = owner;
    buf_printf(out, "%.*s%s ", STR_ARG(name), path ? "" : "*");
}

static void test_the_list(void **state)
{
    struct world w;
    struct buf out;
    (void)state;
    world_init(&w);
    put_user(&w, "b.json", "{}");
    put_user(&w, "a.jsonc", "{}");
    put_user(&w, "a.json", "{}");
    put_user(&w, "bad_name.json", "{}");
    put_user(&w, "notes.txt", "");
    buf_init(&out, 4096);
    profile_each(&w.env, add_name, &out);
    assert_true(str_starts(buf_str(&out), STR("a b default* linux-host-compat* mise-dev*")));
    buf_fini(&out);
    world_fini(&w);
}

/* ---- packs that are there ---- */

static void test_installed_packs(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put(&w, "cfg/nono/packages/org/tool/package.json",
        "{\"artifacts\": [{\"type\": \"hook\", \"install_as\": \"x\"},"
        "{\"type\": \"profile\", \"install_as\": \"tool-work\", \"aliases\": [\"tw\"]}]}");
    put(&w, "cfg/nono/packages/org/tool/profiles/tool-work.json", ALLOW("pack.test"));
    put(&w, "cfg/nono/packages/org/broken/package.json", "{");
    static const char *const names[] = {"tool-work", "tw", "org/tool", "org/tool@9"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        expect_ok(&w, names[i]);
        expect_texts(&w, "allow_domain", "pack.test");
    }
    put_user(&w, "tw.json", ALLOW("user.test"));
    expect_ok(&w, "tw");
    expect_texts(&w, "allow_domain", "user.test");
    assert_int_equal(load(&w, "org/other"), ERR_NOT_FOUND);
    world_fini(&w);
}

/* ---- extends ---- */

#define EXTENDS(what, host)                                                                        \
    "{\"extends\": " what ", \"network\": {\"allow_domain\": [\"" host "\"]}}"

static void test_extends(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put_user(&w, "a.json", ALLOW("a.test"));
    put_user(&w, "b.json", ALLOW("b.test"));
    put_user(&w, "c.jsonc", EXTENDS("\"b\"", "c.test"));
    expect_ok(&w, "c");
    expect_texts(&w, "allow_domain", "b.test c.test");
    put(&w, "work/l.json", EXTENDS("[\"a\", \"c\"]", "z.test"));
    expect_ok(&w, "@work/l.json");
    expect_texts(&w, "allow_domain", "a.test b.test c.test z.test");
    put(&w, "work/none.json", EXTENDS("[]", "z.test"));
    expect_ok(&w, "@work/none.json");
    expect_texts(&w, "allow_domain", "z.test");
    put(&w, "work/null.json", EXTENDS("null", "z.test"));
    expect_ok(&w, "@work/null.json");
    world_fini(&w);
}

static void test_extends_from_flags(void **state)
{
    struct world w;
    struct settings extends = {0};
    char path[256];
    (void)state;
    world_init(&w);
    put_user(&w, "a.json", EXTENDS("\"c\"", "a.test"));
    put_user(&w, "b.json", ALLOW("b.test"));
    put_user(&w, "c.json", ALLOW("c.test"));
    put(&w, "work/p.json", ALLOW("p.test"));
    (void)snprintf(path, sizeof(path), "%s/work/p.json", w.dir);
    assert_true(settings_add(&extends, STR("b"), STR("--extends")));
    assert_true(settings_add(&extends, str_from(path), STR("--extends")));
    assert_int_equal(load_extending(&w, "a", &extends), ERR_OK);
    expect_texts(&w, "allow_domain", "b.test p.test c.test a.test");
    assert_int_equal(load_extending(&w, "go-dev", &extends), ERR_OK); /* built-ins too */
    expect_texts(&w, "allow_domain", "b.test p.test");
    assert_true(settings_add(&extends, STR("nowhere"), STR("--extends")));
    assert_int_equal(load_extending(&w, "a", &extends), ERR_INVALID);
    const struct problem *p = find_problem(&w.problems, "nowhere");
    assert_non_null(p);
    assert_string_equal(p->at.file, "--extends");
    assert_str(p->pointer, "/extends");
    settings_fini(&extends);
    world_fini(&w);
}

static void test_paths_as_bases(void **state) /* decision W4 */
{
    struct world w;
    (void)state;
    world_init(&w);
    put(&w, "x/up.json", ALLOW("up.test"));
    put(&w, "x/y/side.jsonc", EXTENDS("\"../up.json\"", "side.test"));
    put(&w, "x/y/child.json", EXTENDS("\"./side.jsonc\"", "child.test"));
    expect_ok(&w, "@x/y/child.json");
    expect_texts(&w, "allow_domain", "up.test side.test child.test");
    put(&w, "x/y/bare.json", EXTENDS("\"side.jsonc\"", "child.test"));
    const struct problem *p = expect_problem(&w, "@x/y/bare.json", "is no name of a profile");
    assert_int_equal(p->at.line, 1);
    assert_int_equal(p->at.column, 13);
    assert_str(p->pointer, "/extends");
    put(&w, "x/y/pack.json", EXTENDS("\"org/pack\"", "child.test"));
    expect_problem(&w, "@x/y/pack.json", "registry");
    put(&w, "x/y/gone.json", EXTENDS("[\"./gone-base.json\"]", "child.test"));
    p = expect_problem(&w, "@x/y/gone.json", "cannot read");
    assert_str(p->pointer, "/extends/0");
    world_fini(&w);
}

static void test_neighbours_come_first(void **state)
{
    struct world w;
    char from[256], to[256];
    (void)state;
    world_init(&w);
    put_user(&w, "a.jsonc", ALLOW("user-jsonc.test"));
    put_user(&w, "a.json", ALLOW("user-json.test"));
    put_user(&w, "n.json", EXTENDS("\"a\"", "n.test"));
    expect_ok(&w, "n"); /* as its neighbour, so the .json */
    expect_texts(&w, "allow_domain", "user-json.test n.test");
    put(&w, "work/near.json", EXTENDS("\"a\"", "near.test"));
    expect_ok(&w, "@work/near.json");
    expect_texts(&w, "allow_domain", "user-jsonc.test near.test");
    put(&w, "work/a.jsonc", ALLOW("ignored.test")); /* only .json counts */
    expect_ok(&w, "@work/near.json");
    expect_texts(&w, "allow_domain", "user-jsonc.test near.test");
    put(&w, "work/a.json", ALLOW("beside.test"));
    expect_ok(&w, "@work/near.json");
    expect_texts(&w, "allow_domain", "beside.test near.test");
    /* a link looks beside its target */
    (void)snprintf(from, sizeof(from), "%s/work/near.json", w.dir);
    (void)snprintf(to, sizeof(to), "%s/linked.json", w.dir);
    assert_int_equal(symlink(from, to), 0);
    expect_ok(&w, "@linked.json");
    expect_texts(&w, "allow_domain", "beside.test near.test");
    /* the file that asks is not its own neighbour */
    put(&w, "own/default.json", EXTENDS("\"default\"", "own.test"));
    expect_ok(&w, "@own/default.json");
    expect_texts(&w, "allow_domain", "own.test");
    /* built-ins are not hijacked by neighbours, but by the user's own */
    put(&w, "work/default.json", ALLOW("hijack.test"));
    put(&w, "work/dev.json", EXTENDS("\"go-dev\"", "dev.test"));
    expect_ok(&w, "@work/dev.json");
    expect_texts(&w, "allow_domain", "dev.test");
    put_user(&w, "default.json", ALLOW("mine.test"));
    expect_ok(&w, "@work/dev.json");
    expect_texts(&w, "allow_domain", "mine.test dev.test");
    world_fini(&w);
}

static void test_diamonds_cycles_and_depth(void **state)
{
    struct world w;
    char name[64], text[256];
    (void)state;
    world_init(&w);
    put_user(&w, "top.json", ALLOW("top.test"));
    put_user(&w, "left.json", EXTENDS("\"top\"", "left.test"));
    put_user(&w, "right.json", EXTENDS("\"top\"", "right.test"));
    put(&w, "dia.json", EXTENDS("[\"left\", \"right\"]", "dia.test"));
    expect_ok(&w, "@dia.json");
    expect_texts(&w, "allow_domain", "top.test left.test right.test dia.test");
    put_user(&w, "loop-a.json", EXTENDS("\"loop-b\"", "x.test"));
    put_user(&w, "loop-b.json", EXTENDS("\"loop-a\"", "x.test"));
    const struct problem *p =
        expect_problem(&w, "loop-a", "circular dependency detected: loop-b -> loop-a -> loop-b");
    assert_true(str_starts(p->pointer, STR("/extends")));
    put_user(&w, "self.json", EXTENDS("\"self\"", "x.test"));
    expect_problem(&w, "self", "circular dependency detected: self -> self");
    for (int i = 0; i < 12; i++) {
        (void)snprintf(name, sizeof(name), "deep-%d.json", i);
        (void)snprintf(text, sizeof(text), "{\"extends\": \"deep-%d\"}", i + 1);
        put_user(&w, name, i < 11 ? text : "{}");
    }
    expect_problem(&w, "deep-0", "inheritance chain too deep (max 10): deep-1 -> ");
    expect_ok(&w, "deep-1"); /* ten ancestors */
    world_fini(&w);
}

/* Ten levels that each extend the next twice are 1024 walks unless each file is read once. */
static void test_wide_diamonds_are_quick(void **state)
{
    struct world w;
    char name[64], text[256];
    (void)state;
    world_init(&w);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof(name), "w%d.json", i);
        (void)snprintf(text, sizeof(text),
                       "{\"extends\": [\"w%d\", \"w%d\", \"w%d\", \"w%d\", \"w%d\"]}", i + 1, i + 1,
                       i + 1, i + 1, i + 1);
        put_user(&w, name, i < 9 ? text : "{\"oops\": 1}");
    }
    assert_int_equal(load(&w, "w0"), ERR_INVALID);
    assert_int_equal(w.problems.errors, 1);
    world_fini(&w);
}

static void test_every_base_is_checked(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put_user(&w, "bad.json", "{\"network\": {\"tls_intercept\": {\"ca_validity\": \"0s\"}}}");
    put(&w, "c.json",
        "{\"extends\": \"bad\", \"network\": {\"tls_intercept\": {\"ca_validity\": \"1h\"}}}");
    const struct problem *p = expect_problem(&w, "@c.json", "\"0s\" is no duration");
    assert_true(str_ends(str_from(p->at.file), STR("/bad.json")));
    assert_int_equal(p->at.column, 47);
    assert_str(p->pointer, "/network/tls_intercept/ca_validity");
    put_user(&w, "broken.json", "{\"network\": ");
    put(&w, "d.json", EXTENDS("[\"broken\", \"bad\", \"nowhere\"]", "x.test"));
    assert_int_equal(load(&w, "@d.json"), ERR_INVALID);
    assert_true(w.problems.errors >= 3); /* all of them, not the first only */
    world_fini(&w);
}

static void test_platform_overrides(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    put_user(
        &w, "base.json",
        "{\"meta\": {\"name\": \"base\"}, \"network\": {\"allow_domain\": [\"a.test\"]},"
        "\"platform_overrides\": {\"linux\": {\"network\": {\"allow_domain\": [\"b.test\"]}}}}");
    put_user(&w, "child.json",
             "{\"meta\": {\"name\": \"child\"}, \"extends\": \"base\", "
             "\"network\": {\"allow_domain\": [\"c.test\"]}, \"platform_overrides\": {"
             "\"linux\": {\"network\": {\"allow_domain\": [\"x.test\"]}},"
             "\"macos\": {\"network\": {\"allow_domain\": [\"y.test\"]}}}}");
    expect_ok(&w, "child");
    expect_texts(&w, "allow_domain", "a.test c.test b.test x.test");
    const struct json_member *meta = json_get(w.tree, STR("meta"));
    assert_non_null(meta);
    assert_str(json_get(meta->value, STR("name"))->value->text, "child");
    (void)snprintf(w.platform.os, sizeof(w.platform.os), "macos");
    expect_ok(&w, "child");
    expect_texts(&w, "allow_domain", "a.test c.test y.test");
    put(&w, "bad.json", "{\"platform_overrides\": {\"linux\": {\"extends\": \"base\"}}}");
    assert_int_equal(load(&w, "@bad.json"), ERR_INVALID);
    put(&w, "bad.json", "{\"platform_overrides\": {\"beos\": {}}}");
    assert_int_equal(load(&w, "@bad.json"), ERR_INVALID);
    world_fini(&w);
}

/* Out of memory at every place: nothing leaks, nothing crashes. */
static void test_refused_memory(void **state)
{
    struct world w;
    enum err e = ERR_NOMEM;
    (void)state;
    world_init(&w);
    put_user(&w, "a.json", ALLOW("a.test"));
    put(&w, "c.json", EXTENDS("[\"a\", \"go-dev\"]", "c.test"));
    for (int n = 0; e && n < 20000; n++) {
        world_again(&w);
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/c.json", w.dir);
        mem_fail_after(n, false);
        e = profile_load(w.doc, &w.env, str_from(path), NULL, &w.tree, &w.file, &w.problems);
        mem_fail_after(-1, false);
    }
    assert_int_equal(e, ERR_OK);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_a_name_is_looked_up_in_order),
        cmocka_unit_test(test_every_builtin_loads),
        cmocka_unit_test(test_paths_and_registry_names),
        cmocka_unit_test(test_a_missing_profile_is_explained),
        cmocka_unit_test(test_directories),
        cmocka_unit_test(test_the_list),
        cmocka_unit_test(test_installed_packs),
        cmocka_unit_test(test_extends),
        cmocka_unit_test(test_extends_from_flags),
        cmocka_unit_test(test_paths_as_bases),
        cmocka_unit_test(test_neighbours_come_first),
        cmocka_unit_test(test_diamonds_cycles_and_depth),
        cmocka_unit_test(test_wide_diamonds_are_quick),
        cmocka_unit_test(test_every_base_is_checked),
        cmocka_unit_test(test_platform_overrides),
        cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
