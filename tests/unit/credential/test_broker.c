/* The broker: env:// and file://, who shares a run, how long what it yields is kept. */
#include "broker_fixture.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- env:// ---- */

static void env_is_fixed(void **state)
{
    struct service_conf s = {0}, e = {0}, u = {0}, b = {0};
    struct credential c = of(&s, "env://API_KEY"), empty = of(&e, "env://EMPTY"),
                      unset = of(&u, "env://UNSET"), broken = of(&b, "env://BROKEN");
    (void)state;
    struct told t = get(&c);
    assert_int_equal(t.e, ERR_OK);
    assert_string_equal(t.value, "sk-from-env");
    assert_int_equal(t.version, 1);
    assert_int_equal(t.end_ns, 0);
    t = get_bad(&c, 1);
    expect_sentence(&t, "read at start only");
    t = get(&c); /* and it is used on */
    assert_string_equal(t.value, "sk-from-env");
    t = get(&empty);
    expect_sentence(&t, "EMPTY is empty");
    t = get(&unset); /* case 78 */
    expect_sentence(&t, "UNSET is not set");
    t = get(&broken); /* case 76 */
    expect_sentence(&t, "BROKEN holds a line break");
    const char *lines = audited();
    assert_non_null(strstr(lines, "\"type\":\"credential\""));
    assert_non_null(strstr(lines, "\"event\":\"loaded\",\"credential_id\":\"svc\","
                                  "\"credential_version\":1,\"source\":\"env\""));
    assert_non_null(strstr(lines, "\"event\":\"failed\""));
    assert_null(strstr(lines, "sk-from-env"));
}

/* ---- file:// ---- */

static void case_77_file_values(void **state)
{
    static const struct {
        const char *text, *value, *sentence;
    } rows[] = {
        {"abc\n", "abc", NULL},          {"abc\r\n", "abc", NULL}, {" a b ", " a b ", NULL},
        {"abc\n\n", NULL, "line break"}, {"a\nb", NULL, "line break"}, {"\n", NULL, "is empty"},
        {"", NULL, "is empty"},          {"\xFF", NULL, "UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[16];
        struct service_conf s = {0};
        (void)snprintf(name, sizeof(name), "f%zu", i);
        put(name, rows[i].text);
        struct credential c = file_of(&s, name);
        struct told t = get(&c);
        if (rows[i].sentence)
            expect_sentence(&t, rows[i].sentence);
        else
            assert_string_equal(t.value, rows[i].value);
        assert_null(strstr(t.sentence, name)); /* config.md 8.7: the name itself is not told */
    }
}

static void case_80_81_files_change(void **state)
{
    struct service_conf s = {0};
    struct credential c = file_of(&s, "secret");
    (void)state;
    struct told t = get(&c);
    expect_sentence(&t, "is missing");
    put("secret", "one\n"); /* case 81 */
    turn(1200);
    t = get(&c);
    assert_string_equal(t.value, "one");
    uint64_t first = t.version;
    struct material *held = NULL;
    struct entry *e = map_get(&LIST_ENTRY(broker->source_list.next, struct source, node)->entries,
                              STR(""));
    held = material_ref(e->current); /* as a worker holds it */
    put("secret", "two\n"); /* case 80 */
    turn(1200);
    assert_false(material_valid(held, loop_now(loop)));
    material_unref(held);
    t = get(&c);
    assert_string_equal(t.value, "two");
    assert_int_equal(t.version, first + 1);
    /* gone: the last value stays for a while, 60 s by the clock */
    held = material_ref(e->current);
    assert_int_equal(unlink(in("secret")), 0);
    turn(1200);
    t = get(&c);
    assert_string_equal(t.value, "two");
    assert_true(material_valid(held, loop_now(loop) + 50000 * NS_PER_MS));
    assert_false(material_valid(held, loop_now(loop) + 61000 * NS_PER_MS));
    assert_non_null(strstr(audited(), "\"event\":\"failed\""));
    /* then it fails */
    atomic_store(&e->current->until_ns_, loop_now(loop));
    t = get(&c);
    expect_sentence(&t, "is missing");
    assert_non_null(strstr(audited(), "\"event\":\"expired\""));
    material_unref(held);
    put("secret", "three\n"); /* and comes back */
    turn(1200);
    t = get(&c);
    assert_string_equal(t.value, "three");
    put("secret", "bad\nvalue\n"); /* unusable: at once */
    turn(1200);
    t = get(&c);
    expect_sentence(&t, "line break");
}

static void case_80_kubernetes(void **state)
{
    struct service_conf s = {0};
    struct credential c = file_of(&s, "token");
    (void)state;
    assert_int_equal(mkdir(in("..1"), 0700) + mkdir(in("..2"), 0700), 0);
    put("..1/token", "old");
    put("..2/token", "new");
    assert_int_equal(symlink("..1", in("..data")) + symlink("..data/token", in("token")), 0);
    struct told t = get(&c);
    assert_string_equal(t.value, "old");
    assert_int_equal(symlink("..2", in("..tmp")) + rename(in("..tmp"), in("..data")), 0);
    turn(1200);
    t = get(&c);
    assert_string_equal(t.value, "new");
}

/* Decision K5: re-read after a 401, without waiting for the watch; the same value is no newer one. */
static void a_file_after_a_401(void **state)
{
    struct service_conf s = {0};
    struct credential c = file_of(&s, "key");
    (void)state;
    put("key", "one");
    struct told t = get(&c);
    uint64_t v = t.version;
    t = get_bad(&c, v);
    expect_sentence(&t, "still gives the value");
    t = get(&c);
    assert_string_equal(t.value, "one");
    put("key", "two");
    t = get_bad(&c, v); /* the watch has not seen it yet */
    assert_int_equal(t.e, ERR_OK);
    assert_string_equal(t.value, "two");
    assert_int_equal(t.version, v + 1);
}

/* ---- cmd:// ---- */

static void case_82_a_hundred_ask_one_runs(void **state)
{
    struct service_conf s = {0};
    static struct told t[100];
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; sleep 0.2; echo token", in("runs"));
    script("helper", body);
    struct credential c = cmd_of(&s, "helper");
    for (size_t i = 0; i < 100; i++)
        begin_of(&c, &nobody, 0, &t[i]);
    for (size_t i = 0; i < 100; i++) {
        until_told(&t[i]);
        assert_string_equal(t[i].value, "token");
        assert_int_equal(t[i].version, 1);
    }
    struct told again = get(&c);
    assert_string_equal(again.value, "token");
    assert_int_equal(count("runs"), 1);
    assert_true(again.end_ns > loop_now(loop) + 800000 * NS_PER_MS);
    credential_fini(&c);
}

static void failures_are_kept_five_seconds(void **state)
{
    struct service_conf s = {0};
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; exit 1", in("runs"));
    script("helper", body);
    struct credential c = cmd_of(&s, "helper");
    for (int i = 0; i < 5; i++) {
        struct told t = get(&c);
        expect_sentence(&t, "exit status 1");
    }
    assert_int_equal(count("runs"), 1);
    struct entry *e = entry_of_last();
    assert_in_range((e->failed_ns - loop_now(loop)) / NS_PER_MS, 3000, 5000);
    e->failed_ns = loop_now(loop); /* they are over */
    (void)get(&c);
    assert_int_equal(count("runs"), 2);
    credential_fini(&c);
}

/* Decision K5: once newer; refused again before it worked, it is not fetched anew for 5 s. */
static void case_82_after_a_401(void **state)
{
    struct service_conf s = {0};
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; wc -l <%s", in("runs"), in("runs"));
    script("helper", body);
    struct credential c = cmd_of(&s, "helper");
    struct told t = get(&c), many[20];
    assert_string_equal(t.value, "1");
    for (size_t i = 0; i < ARRAY_LEN(many); i++) /* many are refused at once */
        begin_of(&c, &nobody, 1, &many[i]);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        until_told(&many[i]);
        assert_int_equal(many[i].version, 2);
        assert_string_equal(many[i].value, "2");
    }
    assert_int_equal(count("runs"), 2);
    t = get_bad(&c, 1); /* a late one: the newer is there */
    assert_int_equal(t.version, 2);
    t = get_bad(&c, 2);
    expect_sentence(&t, "refused it again");
    assert_int_equal(count("runs"), 2);
    t = get(&c); /* used on: the upstream decides */
    assert_int_equal(t.version, 2);
    struct entry *e = entry_of_last(); /* one that had worked is fetched at once */
    e->hold_ns = 0;
    material_mark_worked(e->current);
    t = get_bad(&c, 2);
    assert_int_equal(t.version, 3);
    t = get_bad(&c, 3);
    expect_sentence(&t, "refused it again");
    e->hold_ns = loop_now(loop); /* five seconds later */
    t = get_bad(&c, 3);
    assert_int_equal(t.version, 4);
    credential_fini(&c);
}

/* What worked with one worker has worked for all, also after a refresh that brought the same. */
static void case_82_what_worked_is_fetched_anew_at_once(void **state)
{
    struct service_conf s = {0};
    struct told t, r = {0};
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "cat %s", in("value"));
    script("helper", body);
    put("value", "one");
    struct credential c = cmd_of(&s, "helper");
    (void)get(&c);
    put("value", "two");
    t = get_bad(&c, 1);
    assert_string_equal(t.value, "two");
    struct material *workers = material_copy(entry_of_last()->current);
    material_mark_worked(workers);
    material_unref(workers);
    assert_int_equal(broker_refresh(broker, &c, &nobody, 2, on_told, &r, &r.ask), ERR_OK);
    until_told(&r);
    assert_int_equal(r.version, 2);
    put("value", "three");
    t = get_bad(&c, 2);
    assert_string_equal(t.value, "three");
    credential_fini(&c);
}

/* SIGHUP reads secrets anew: by the next use, and what cannot be read anew serves on. */
static void a_reload_reads_anew(void **state)
{
    struct service_conf s = {0}, f = {.name = STR("file")};
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; cat %s", in("runs"), in("value"));
    script("helper", body);
    put("value", "one");
    put("secret", "file one");
    struct credential c = cmd_of(&s, "helper"), file = file_of(&f, "secret");
    struct told t = get(&file);
    (void)get(&c);
    struct material *held = material_copy(entry_of_last()->current);
    put("value", "two");
    put("secret", "file two");
    t = get(&c);
    assert_string_equal(t.value, "one");
    broker_reload(broker);
    assert_false(material_valid(held, loop_now(loop)));
    material_unref(held);
    turn(50);
    assert_int_equal(count("runs"), 1); /* nothing runs before it is used */
    t = get(&c);
    assert_string_equal(t.value, "two");
    assert_int_equal(t.version, 2);
    t = get(&file);
    assert_string_equal(t.value, "file two");
    script("helper", "exit 1"); /* what is there serves on */
    broker_reload(broker);
    t = get(&c);
    assert_string_equal(t.value, "two");
    assert_int_equal(t.version, 2);
    assert_int_equal(n_failed, 1);
    t = get(&c);
    assert_int_equal(n_failed, 1); /* and is not asked for each time */
    broker_reload(broker);
    entry_of_last()->current->end_ns = loop_now(loop); /* but not past its end */
    t = get(&c);
    expect_sentence(&t, "exit status 1");
    script("helper", "echo back");
    broker_reload(broker); /* a failure is forgotten */
    t = get(&c);
    assert_string_equal(t.value, "back");
    credential_fini(&c);
}

static void a_reload_outdates_what_runs(void **state)
{
    struct service_conf s = {0};
    static struct told t;
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "cat %s; echo run >>%s; sleep 0.3", in("value"), in("runs"));
    script("helper", body);
    put("value", "one");
    struct credential c = cmd_of(&s, "helper");
    begin_of(&c, &nobody, 0, &t);
    while (!count("runs"))
        turn(10);
    put("value", "two");
    broker_reload(broker);
    until_told(&t);
    assert_string_equal(t.value, "one"); /* it had asked before */
    t = get(&c);
    assert_string_equal(t.value, "two");
    credential_fini(&c);
}

static void case_82_refresh(void **state)
{
    struct service_conf s = {0};
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; wc -l <%s", in("runs"), in("runs"));
    script("helper", body);
    capture.ttl_ms = 400000;
    struct credential c = cmd_of(&s, "helper");
    struct told t = get(&c), r = {0};
    struct entry *e = entry_of_last();
    assert_int_equal((e->current->end_ns - e->current->refresh_ns) / NS_PER_MS, 60000);
    struct material *old = material_ref(e->current);
    assert_int_equal(broker_refresh(broker, &c, &nobody, t.version, on_told, &r, &r.ask), ERR_OK);
    t = get(&c); /* the old one serves meanwhile */
    assert_string_equal(t.value, "1");
    until_told(&r);
    assert_string_equal(r.value, "2");
    assert_false(material_valid(old, loop_now(loop)));
    material_unref(old);
    /* one that fails leaves the old one to its very end */
    script("helper", "exit 1");
    memset(&r, 0, sizeof(r));
    assert_int_equal(broker_refresh(broker, &c, &nobody, 2, on_told, &r, &r.ask), ERR_OK);
    until_told(&r);
    expect_sentence(&r, "exit status 1");
    t = get(&c);
    assert_string_equal(t.value, "2");
    e->current->end_ns = loop_now(loop);
    t = get(&c);
    expect_sentence(&t, "exit status 1");
    credential_fini(&c);
}

static void ttl_0_is_shared_by_nobody(void **state)
{
    struct service_conf s = {0};
    struct told t[6];
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; sleep 0.1; echo token", in("runs"));
    script("helper", body);
    capture.ttl_ms = 0;
    struct credential c = cmd_of(&s, "helper");
    for (int i = 0; i < 3; i++) /* the first runs; the others came after that began */
        begin_of(&c, &nobody, 0, &t[i]);
    for (int i = 3; i < 6; i++) {
        struct question q = nobody;
        q.path = i == 3 ? STR("/three") : i == 4 ? STR("/four") : STR("/five");
        begin_of(&c, &q, 0, &t[i]);
    }
    for (int i = 0; i < 6; i++) {
        until_told(&t[i]);
        assert_string_equal(t[i].value, "token");
    }
    assert_int_equal(count("runs"), 5);
    (void)get(&c);
    assert_int_equal(count("runs"), 6);
    struct source *src = LIST_ENTRY(broker->source_list.next, struct source, node);
    assert_int_equal(src->n_entries, 0);
    credential_fini(&c);
}

static void scopes(void **state)
{
    struct service_conf s = {0};
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; echo \"for $NONO_CACHE_SCOPE\"", in("runs"));
    script("helper", body);
    capture.cache_path_regex = STR("^/repos/([^/]+)");
    struct credential c = cmd_of(&s, "helper");
    static const struct {
        const char *path, *value;
    } rows[] = {{"/repos/a/x", "for a"}, {"/repos/a/y?z", "for a"}, {"/repos/b", "for b"},
                {"/", "for api.example.com"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct question q = nobody;
        struct told t;
        q.path = str_from(rows[i].path);
        begin_of(&c, &q, 0, &t);
        until_told(&t);
        assert_string_equal(t.value, rows[i].value);
    }
    assert_int_equal(count("runs"), 3);
    /* many scopes: bounded */
    struct source *src = LIST_ENTRY(broker->source_list.next, struct source, node);
    for (int i = 0; i < 3; i++)
        assert_true(src->n_entries <= MAX_ENTRIES);
    credential_fini(&c);
}

static void probing_runs_nothing(void **state)
{
    struct service_conf s = {0}, e = {0}, u = {0};
    char body[200];
    struct buf text;
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; echo token", in("runs"));
    script("helper", body);
    struct credential c = cmd_of(&s, "helper"), env = of(&e, "env://API_KEY"),
                      unset = of(&u, "env://UNSET"), gone = {.gone = true};
    buf_init(&text, 1000);
    broker_probe(broker, &c, &text);
    broker_probe(broker, &env, &text);
    assert_int_equal(text.n, 0);
    broker_probe(broker, &unset, &text);
    assert_true(text.n > 0);
    buf_reset(&text);
    broker_probe(broker, &gone, &text);
    assert_true(text.n > 0);
    buf_fini(&text);
    assert_int_equal(count("runs"), 0);
    struct told t = get(&gone);
    expect_sentence(&t, "not in this version");
    credential_fini(&c);
}

/* A reload that changes the source starts anew; one that does not shares what is there. */
static void reloads(void **state)
{
    struct service_conf a = {0}, b = {0};
    struct credential c = of(&a, "env://API_KEY"), same = of(&b, "env://API_KEY");
    (void)state;
    assert_int_equal(c.source_hash, same.source_hash);
    (void)get(&c);
    struct told t = get(&same);
    assert_int_equal(t.version, 1);
    struct credential other = of(&b, "env://HELLO");
    assert_true(c.source_hash != other.source_hash);
    t = get(&other);
    assert_string_equal(t.value, "world");
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    script("helper", "echo token");
    put("secret", "value");
    for (int i = 0; i < 60; i++) {
        struct service_conf s = {0}, f = {0};
        struct told t = {0};
        char name[16];
        (void)snprintf(name, sizeof(name), "svc%d", i);
        s.name = f.name = str_from(name);
        struct credential c = cmd_of(&s, "helper"), d = file_of(&f, "secret");
        const struct credential *both[] = {&c, &d};
        for (int k = 0; k < 2; k++) {
            memset(&t, 0, sizeof(t));
            mem_fail_after(i, false);
            enum err e = broker_ask(broker, both[k], &nobody, 0, on_told, &t, &t.ask);
            if (!e)
                until_told(&t);
            mem_fail_after(-1, false);
            if (e)
                assert_int_equal(e, ERR_NOMEM);
            else if (!t.e)
                assert_string_equal(t.value, k ? "value" : "token");
        }
        credential_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(env_is_fixed),
        PLAIN(case_77_file_values),
        PLAIN(case_80_81_files_change),
        PLAIN(case_80_kubernetes),
        PLAIN(a_file_after_a_401),
        CMD(case_82_a_hundred_ask_one_runs),
        CMD(failures_are_kept_five_seconds),
        CMD(case_82_after_a_401),
        CMD(case_82_what_worked_is_fetched_anew_at_once),
        CMD(a_reload_reads_anew),
        CMD(a_reload_outdates_what_runs),
        CMD(case_82_refresh),
        CMD(ttl_0_is_shared_by_nobody),
        CMD(scopes),
        CMD(probing_runs_nothing),
        PLAIN(reloads),
        CMD(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
