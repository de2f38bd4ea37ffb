/* The broker with real files and real helpers, hostile ones too. */
#include "audit/queue.h"
#include "base/mem.h"
#include "credential/broker_int.h"
#include "sys/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loop *loop;
static struct broker *broker;
static struct queue *audit;
static char folder[64], path_variable[128], failed_text[8192], failed_sentence[200];
static struct config config;
static unsigned n_failed;

static const char *in(const char *name)
{
    static char path[8][160];
    static unsigned next;
    char *p = path[next++ % 8];
    (void)snprintf(p, 160, "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    (void)fclose(f);
}

static void script(const char *name, const char *body)
{
    char text[4096];
    (void)snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
    put(name, text);
    assert_int_equal(chmod(in(name), 0700), 0);
}

/* Lines of a file: how often a helper ran. */
static unsigned count(const char *name)
{
    FILE *f = fopen(in(name), "r");
    unsigned n = 0;
    int c;
    if (!f)
        return 0;
    while ((c = fgetc(f)) != EOF)
        n += c == '\n';
    (void)fclose(f);
    return n;
}

static void on_failed(void *owner, struct str id, const char *sentence, struct str text)
{
    (void)owner, (void)id;
    n_failed++;
    (void)snprintf(failed_text, sizeof(failed_text), "%.*s", STR_ARG(text));
    (void)snprintf(failed_sentence, sizeof(failed_sentence), "%s", sentence);
}

static int setup(void **state)
{
    static char *environment[] = {path_variable,
                                  (char *)"API_KEY=sk-from-env",
                                  (char *)"EMPTY=",
                                  (char *)"BROKEN=a\nb",
                                  (char *)"HTTPS_PROXY=http://127.0.0.1:1",
                                  (char *)"all_proxy=x",
                                  (char *)"NONO_PROXY_PASS=hunter2hunter2",
                                  (char *)"NONO_UPSTREAM_PROXY=http://u:p@h:1",
                                  (char *)"HELLO=world",
                                  (char *)"NONO_REQUEST_HOST=forged",
                                  (char *)"NONO_KEYRING_TIMEOUT_SECS= 1 ",
                                  NULL};
    bool locked;
    (void)state;
    secret_region_init(&locked);
    (void)snprintf(folder, sizeof(folder), "/tmp/nono-broker-XXXXXX");
    if (!mkdtemp(folder) || loop_new_uv(&loop))
        return -1;
    (void)snprintf(path_variable, sizeof(path_variable), "PATH=%s:/usr/bin:/bin", folder);
    audit = queue_new();
    config_init(&config);
    n_failed = 0;
    struct broker_env env = {
        .control = loop, .audit = audit, .envp = environment, .on_failed = on_failed};
    loop_turn(loop, 0);
    return broker_new(&env, &broker) ? -1 : 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    broker_free(broker);
    config_fini(&config);
    queue_free(audit);
    loop_free(loop);
    secret_region_fini();
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* ---- asking ---- */

struct told {
    unsigned times;
    enum err e;
    uint64_t version, end_ns;
    char value[300], sentence[200];
    struct broker_ask *ask;
};

static void on_told(void *owner, enum err e, struct material *m, const char *sentence)
{
    struct told *t = owner;
    size_t n = 0;
    t->times++;
    t->e = e;
    t->version = m ? m->version : 0;
    t->end_ns = m ? m->end_ns : 0;
    t->value[0] = 0;
    if (m && m->secret)
        (void)snprintf(t->value, sizeof(t->value), "%.*s", STR_ARG(secret_borrow(m->secret)));
    for (size_t i = 0; m && i < m->n_fields; i++)
        n += (size_t)snprintf(t->value + n, sizeof(t->value) - n, "%.*s=%.*s;",
                              STR_ARG(m->fields[i].name), STR_ARG(secret_borrow(m->fields[i].value)));
    (void)snprintf(t->sentence, sizeof(t->sentence), "%s", sentence ? sentence : "");
}

static const struct question nobody = {.method = {"GET", 3},
                                       .host = {"api.example.com", 15},
                                       .path = {"/p/q?x=1", 8},
                                       .route = {"svc", 3}};

static void turn(uint64_t ms)
{
    uint64_t start = clock_mono_ns();
    do
        loop_turn(loop, 10 * NS_PER_MS);
    while (clock_mono_ns() - start < ms * NS_PER_MS);
}

static void begin_of(const struct credential *c, const struct question *q, uint64_t bad,
                     struct told *t)
{
    memset(t, 0, sizeof(*t));
    assert_int_equal(broker_ask(broker, c, q, bad, on_told, t, &t->ask), ERR_OK);
    assert_int_equal(t->times, 0); /* never from inside */
}

static void until_told(struct told *t)
{
    uint64_t start = clock_mono_ns();
    while (!t->times && clock_mono_ns() - start < 20000 * NS_PER_MS)
        loop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(t->times, 1);
}

static struct told get_bad(const struct credential *c, uint64_t bad)
{
    static struct told t;
    begin_of(c, &nobody, bad, &t);
    until_told(&t);
    return t;
}

static struct told get(const struct credential *c)
{
    return get_bad(c, 0);
}

static struct credential of(struct service_conf *s, const char *key)
{
    struct credential c;
    struct errctx ctx = {0};
    if (!s->name.n)
        s->name = STR("svc");
    s->credential_key = str_from(key);
    assert_int_equal(credential_init(&c, s, &config, &ctx), ERR_OK);
    return c;
}

/* Everything the audit got since the last look. */
static const char *audited(void)
{
    static char text[65536];
    const char *p;
    size_t n, all = 0;
    while (queue_peek(audit, &p, &n)) {
        size_t room = sizeof(text) - 1 - all, take = n < room ? n : room;
        memcpy(text + all, p, take);
        all += take;
        queue_done(audit, n);
    }
    text[all] = 0;
    return text;
}

static void expect_sentence(const struct told *t, const char *words)
{
    assert_int_equal(t->e, ERR_CREDENTIAL_UNAVAILABLE);
    if (!strstr(t->sentence, words))
        fail_msg("\"%s\" does not hold \"%s\"", t->sentence, words);
}

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

static struct credential file_of(struct service_conf *s, const char *name)
{
    static char reference[4][200];
    static unsigned next;
    char *p = reference[next++ % 4];
    (void)snprintf(p, 200, "file://%s", in(name));
    return of(s, p);
}

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

static struct capture_conf capture;
static struct str words[8];

static struct credential cmd_of(struct service_conf *s, const char *program)
{
    words[0] = str_from(program);
    capture.name = STR("helper");
    capture.command = words;
    capture.n_command = capture.n_command ? capture.n_command : 1;
    capture.timeout_ms = capture.timeout_ms ? capture.timeout_ms : 5000;
    config.captures.v = &capture;
    config.captures.n = 1;
    return of(s, "cmd://helper");
}

static int fresh_capture(void **state)
{
    capture = (struct capture_conf){.ttl_ms = 900000};
    return setup(state);
}

static int end_capture(void **state)
{
    config.captures.v = NULL;
    config.captures.n = 0;
    return teardown(state);
}

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

static void environment_of_a_helper(void **state)
{
    struct service_conf s = {0}, hidden = {0}, *services = &hidden;
    char body[600], line[4096], all[16384] = "";
    (void)state;
    hidden.credential_key = STR("env://API_KEY");
    struct config learn = {.services = {services, 1, 1}};
    assert_int_equal(broker_learn(broker, &learn), ERR_OK);
    (void)snprintf(body, sizeof(body), "env >%s; printf '%%s\\n' \"$@\" >%s; cat >%s; echo x",
                   in("env"), in("args"), in("stdin"));
    script("helper", body);
    capture.stdin_json = true;
    capture.allow_launch_services = true;
    capture.n_command = 4;
    words[1] = STR("$HELLO/$UNSET_ONE");
    words[2] = STR("$");
    words[3] = STR("a b");
    struct credential c = cmd_of(&s, "helper");
    struct told t = get(&c);
    assert_string_equal(t.value, "x");
    FILE *f = fopen(in("env"), "r");
    while (fgets(line, sizeof(line), f))
        (void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "\n%s", line);
    (void)fclose(f);
    static const char *const there[] = {
        "\nHELLO=world",  "\nNONO_REQUEST_HOST=api.example.com\n", "\nNONO_REQUEST_PATH=/p/q?x=1\n",
        "\nNONO_REQUEST_METHOD=GET\n", "\nNONO_CACHE_SCOPE=api.example.com\n",
        "\nNONO_CAPTURE_CREDENTIAL=helper\n", "\nNONO_CAPTURE_ROUTE=svc\n",
        "\nNONO_CAPTURE_ALLOW_LAUNCH_SERVICES=1\n", "\nNONO_SESSION_ID="};
    static const char *const absent[] = {"API_KEY", "sk-from-env", "PROXY", "all_proxy", "hunter2",
                                         "forged", "BROWSER"};
    for (size_t i = 0; i < ARRAY_LEN(there); i++)
        if (!strstr(all, there[i]))
            fail_msg("no %s in %s", there[i], all);
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        if (strstr(all, absent[i]))
            fail_msg("%s is in %s", absent[i], all);
    f = fopen(in("args"), "r");
    all[fread(all, 1, sizeof(all) - 1, f)] = 0;
    (void)fclose(f);
    assert_string_equal(all, "world/$UNSET_ONE\n$\na b\n");
    f = fopen(in("stdin"), "r");
    all[fread(all, 1, sizeof(all) - 1, f)] = 0;
    (void)fclose(f);
    assert_non_null(strstr(all, "\"credential_name\":\"helper\",\"route_id\":\"svc\","
                                "\"request_host\":\"api.example.com\","
                                "\"request_path\":\"/p/q?x=1\",\"request_method\":\"GET\","
                                "\"cache_scope\":\"api.example.com\"}"));
    assert_null(strstr(all, "protocol"));
    const char *lines = audited();
    assert_non_null(strstr(lines, "\"type\":\"capture\""));
    assert_non_null(strstr(lines, "\"credential_capture_action\":\"captured\""));
    assert_non_null(strstr(lines, "\"credential_capture_stdin_mode\":\"request_json\""));
    assert_non_null(strstr(lines, "\"path\":\"/p/q\""));
    credential_fini(&c);
    /* a secret in the arguments is refused */
    capture.name = STR("other");
    words[1] = STR("$API_KEY");
    struct credential d = cmd_of(&s, "helper");
    t = get(&d);
    expect_sentence(&t, "holds a secret");
    credential_fini(&d);
}

static void providers(void **state)
{
    struct service_conf s = {0};
    static struct str allowed[] = {{"Authorization", 13}};
    char body[400], all[4096];
    (void)state;
    (void)snprintf(body, sizeof(body),
                   "cat >%s; echo '{\"material\":{\"type\":\"headers\",\"headers\":"
                   "{\"authorization\":\"Bearer abc\"}},\"expires_at\":'$(($(date +%%s) + 20))'}'",
                   in("stdin"));
    script("helper", body);
    capture.provider = true;
    capture.provider_config = STR("{\"k\":1}");
    capture.allow_headers = allowed;
    capture.n_allow_headers = 1;
    struct credential c = cmd_of(&s, "helper");
    struct told t = get(&c);
    assert_string_equal(t.value, "Authorization=Bearer abc;");
    uint64_t left = (t.end_ns - loop_now(loop)) / NS_PER_MS;
    assert_in_range(left, 15000, 20000); /* the earlier of TTL and expires_at */
    FILE *f = fopen(in("stdin"), "r");
    all[fread(all, 1, sizeof(all) - 1, f)] = 0;
    (void)fclose(f);
    assert_non_null(strstr(all, "\"protocol\":\"nono.credential-provider.v1\""));
    assert_non_null(strstr(all, "\"config\":{\"k\":1},\"interaction\":{}}"));
    const char *lines = audited();
    assert_non_null(strstr(lines, "\"credential_capture_header_names\":[\"Authorization\"]"));
    assert_null(strstr(lines, "Bearer abc"));
    credential_fini(&c);
}

static void case_83_hostile_helpers(void **state)
{
    static const struct {
        const char *body, *sentence, *action;
    } rows[] = {
        {"trap '' TERM; sleep 60", "took too long", "timeout"},
        {"yes", "more than 64 KiB", "output_too_large"},
        {"echo a; echo b", "line break", "collect_failed"},
        {"printf 'a\\r'; printf 'b'", "line break", "collect_failed"},
        {"exit 3", "exit status 3", "command_failed"},
        {"kill -9 $$", "signal 9", "command_failed"},
        {"head -c 10000000 /dev/zero | tr '\\0' e >&2; exit 1", "exit status 1", "command_failed"},
        {"true", "printed nothing", "empty_stdout"},
        {"printf '\\377'", "UTF-8", "non_utf8_stdout"},
    };
    (void)state;
    capture.timeout_ms = 400;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct service_conf s = {0};
        char name[16], action[100];
        (void)snprintf(name, sizeof(name), "h%zu", i);
        script(name, rows[i].body);
        struct credential c = cmd_of(&s, name);
        uint64_t start = clock_mono_ns();
        struct told t = get(&c);
        expect_sentence(&t, rows[i].sentence);
        assert_true(clock_mono_ns() - start < 5000 * NS_PER_MS);
        assert_true(strlen(failed_text) <= STDERR_BYTES);
        (void)snprintf(action, sizeof(action), "\"credential_capture_action\":\"%s\"",
                       rows[i].action);
        if (!strstr(audited(), action))
            fail_msg("no %s", action);
        credential_fini(&c);
    }
}

static void helpers_that_are_odd_but_fine(void **state)
{
    static const char *const bodies[] = {
        "exec <&-; echo token", "sleep 30 & echo token", "echo token; exec >&-; sleep 0.05",
        "head -c 10000000 /dev/zero >&2; echo token"};
    (void)state;
    capture.stdin_json = true;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct service_conf s = {0};
        char name[16];
        (void)snprintf(name, sizeof(name), "h%zu", i);
        script(name, bodies[i]);
        struct credential c = cmd_of(&s, name);
        struct told t = get(&c);
        assert_string_equal(t.value, "token");
        credential_fini(&c);
    }
}

static void case_125_stderr_is_scrubbed(void **state)
{
    struct service_conf s = {0};
    (void)state;
    script("helper", "echo the-very-secret; echo 'trace: the-very-secret was made' >&2; exit 4");
    struct credential c = cmd_of(&s, "helper");
    struct told t = get(&c);
    expect_sentence(&t, "exit status 4");
    assert_int_equal(n_failed, 1);
    assert_non_null(strstr(failed_text, "trace: "));
    assert_null(strstr(failed_text, "the-very-secret"));
    assert_null(strstr(audited(), "the-very-secret"));
    assert_null(strstr(t.sentence, "the-very-secret"));
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
    struct source *src = LIST_ENTRY(broker->source_list.next, struct source, node);
    struct entry *e = LIST_ENTRY(src->entry_list.next, struct entry, node);
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
    struct told w = {0}; /* one that had worked is fetched at once */
    struct source *src = LIST_ENTRY(broker->source_list.next, struct source, node);
    struct entry *e = LIST_ENTRY(src->entry_list.next, struct entry, node);
    e->hold_ns = 0;
    assert_int_equal(broker_ask_worked(broker, &c, &nobody, 2, on_told, &w, &w.ask), ERR_OK);
    until_told(&w);
    assert_int_equal(w.version, 3);
    t = get_bad(&c, 3);
    expect_sentence(&t, "refused it again");
    e->hold_ns = loop_now(loop); /* five seconds later */
    t = get_bad(&c, 3);
    assert_int_equal(t.version, 4);
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
    struct source *src = LIST_ENTRY(broker->source_list.next, struct source, node);
    struct entry *e = LIST_ENTRY(src->entry_list.next, struct entry, node);
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

static void withdrawn_helpers_are_killed(void **state)
{
    struct service_conf s = {0};
    struct told a, b;
    char body[200];
    (void)state;
    (void)snprintf(body, sizeof(body), "echo run >>%s; sleep 1; echo done >>%s; echo token",
                   in("runs"), in("done"));
    script("helper", body);
    struct credential c = cmd_of(&s, "helper");
    begin_of(&c, &nobody, 0, &a);
    begin_of(&c, &nobody, 0, &b);
    turn(200);
    broker_withdraw(a.ask);
    turn(100);
    assert_int_equal(broker->n_running, 1); /* b still waits */
    broker_withdraw(b.ask);
    assert_int_equal(broker->n_running, 0);
    turn(1500);
    assert_int_equal(a.times + b.times, 0);
    assert_int_equal(count("done"), 0);
    assert_non_null(strstr(audited(), "withdrawn"));
    begin_of(&c, &nobody, 0, &a); /* and it goes on as if nothing had been */
    until_told(&a);
    assert_string_equal(a.value, "token");
    begin_of(&c, &nobody, 0, &a); /* withdrawn when the answer is on its way */
    broker_withdraw(a.ask);
    turn(50);
    assert_int_equal(a.times, 0);
    broker_withdraw(NULL);
    credential_fini(&c);
}

static void the_end_tells_everybody(void **state)
{
    struct service_conf s = {0};
    static struct told a, b;
    (void)state;
    script("helper", "sleep 60");
    struct credential c = cmd_of(&s, "helper");
    begin_of(&c, &nobody, 0, &a);
    turn(50);
    begin_of(&c, &nobody, 0, &b);
    broker_free(broker);
    broker = NULL;
    assert_int_equal(a.times, 1);
    assert_int_equal(a.e, ERR_CANCELLED);
    assert_int_equal(b.e, ERR_CANCELLED);
    credential_fini(&c);
}

static void more_helpers_than_may_run(void **state)
{
    struct service_conf s = {0};
    static struct told t[MAX_RUNNING + 8];
    (void)state;
    script("helper", "sleep 0.3; echo token");
    capture.ttl_ms = 0;
    capture.timeout_ms = 20000;
    struct credential c = cmd_of(&s, "helper");
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char path[16];
        struct question q = nobody;
        (void)snprintf(path, sizeof(path), "/%zu", i);
        q.path = str_from(path);
        begin_of(&c, &q, 0, &t[i]);
    }
    assert_int_equal(broker->n_running, MAX_RUNNING);
    assert_int_equal(broker->n_queued, 8);
    broker_withdraw(t[MAX_RUNNING].ask); /* one that waits for its turn */
    assert_int_equal(broker->n_queued, 7);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        if (i == MAX_RUNNING)
            continue;
        until_told(&t[i]);
        assert_string_equal(t[i].value, "token");
    }
    credential_fini(&c);
}

static void programs_that_are_not_there(void **state)
{
    static const struct {
        const char *program, *sentence;
    } rows[] = {{"no-such-helper", "is not installed"},
                {"/no/such/helper", "is not installed"},
                {"sub/helper", "relative path"},
                {"$UNSET_ONE", "is not installed"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct service_conf s = {0};
        struct buf text;
        struct credential c = cmd_of(&s, rows[i].program);
        struct told t = get(&c);
        expect_sentence(&t, rows[i].sentence);
        buf_init(&text, 1000);
        broker_probe(broker, &c, &text);
        assert_true(text.n > 0);
        buf_fini(&text);
        credential_fini(&c);
    }
    struct service_conf s = {0};
    struct credential c = of(&s, "cmd://unknown");
    struct told t = get(&c);
    expect_sentence(&t, "no entry unknown");
}

/* ---- tools ---- */

static void tools(void **state)
{
    static const struct {
        const char *key, *tool, *body, *value, *sentence;
    } rows[] = {
        {"ACCOUNT", "secret-tool",
         "[ \"$*\" = 'lookup service nono username ACCOUNT' ] && printf key", "key", NULL},
        {"google-ai", "secret-tool", "printf \"$5\"", "google-ai", NULL},
        {"keyring://s/a", "secret-tool", "[ \"$*\" = 'lookup service s username a' ] && echo key",
         "key", NULL},
        {"keyring://s/b?decode=go-keyring", "secret-tool",
         "[ $5 = b ] && printf go-keyring-base64:a2V5", "key", NULL},
        {"keyring://s/c?decode=go-keyring", "secret-tool", "printf plain", NULL,
         "does not begin with"},
        {"keyring://s/d", "secret-tool", "exit 1", NULL, "has no item keyring://s/<redacted>"},
        {"keyring://s/e", "secret-tool", "echo 'The name org.freedesktop.secrets' >&2; exit 1", NULL,
         "locked or not running"},
        {"keyring://s/f", "secret-tool", "printf 'a\\nb'", NULL, "line break"},
        {"op://v/i/f", "op", "[ \"$*\" = 'read -- op://v/i/f' ] && echo key", "key", NULL},
        {"op://v/i/g", "op", "true", NULL, "is empty"},
        {"op://v/i/h", "op", "echo '[ERROR] you are not signed in' >&2; exit 1", NULL, "op signin"},
        {"op://v/i/j", "op", "echo 'item not found' >&2; exit 1", NULL, "no item op://v/i/<redacted>"},
        {"bw://id", "bw", "[ \"$*\" = 'get password -- id' ] && echo key", "key", NULL},
        {"bw://id/username", "bw",
         "[ \"$*\" = 'get item -- id' ] && echo '{\"login\":{\"username\":\"me\"}}'", "me", NULL},
        {"bw://id/notes", "bw", "echo '{\"login\":null,\"notes\":\"n\"}'", "n", NULL},
        {"bw://id/uri", "bw", "echo '{\"login\":{\"uris\":[{\"uri\":\"u\"}]}}'", "u", NULL},
        {"bw://id/custom", "bw",
         "echo '{\"fields\":[{\"name\":\"x\",\"value\":1},{\"name\":\"custom\",\"value\":\"c\\u00e9\"}]}'",
         "c\xC3\xA9", NULL},
        {"bw://id/none", "bw", "echo '{\"fields\":[]}'", NULL, "no field none"},
        {"bw://id/bad", "bw", "echo '{'", NULL, "no valid JSON"},
        {"bw://locked", "bw", "true", NULL, "bw unlock"},
        {"bw://gone", "bw", "echo 'Not found.' >&2; exit 1", NULL, "no item bw://<redacted>"},
        {"apple-password://s/a", "security", "echo x", NULL, "macOS only"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct service_conf s = {.cache_ttl_ms = 300000};
        script(rows[i].tool, rows[i].body);
        struct credential c = of(&s, rows[i].key);
        struct told t = get(&c);
        if (rows[i].sentence) {
            expect_sentence(&t, rows[i].sentence);
            continue;
        }
        if (t.e)
            fail_msg("%s: %s", rows[i].key, t.sentence);
        assert_string_equal(t.value, rows[i].value);
        assert_in_range((t.end_ns - loop_now(loop)) / NS_PER_MS, 290000, 300000);
    }
}

static void case_84_a_locked_keyring(void **state)
{
    struct service_conf s = {.cache_ttl_ms = 300000};
    struct credential c = of(&s, "LOCKED");
    (void)state;
    script("secret-tool", "sleep 60");
    uint64_t start = clock_mono_ns();
    struct told t = get(&c);
    expect_sentence(&t, "NONO_KEYRING_TIMEOUT_SECS");
    assert_true(clock_mono_ns() - start < 4000 * NS_PER_MS);
    assert_int_equal(unlink(in("secret-tool")), 0);
    if (access("/usr/bin/secret-tool", X_OK) == 0)
        return;
    struct service_conf other = {.cache_ttl_ms = 300000};
    struct credential d = of(&other, "MISSING");
    struct buf text;
    t = get(&d);
    expect_sentence(&t, "install the package libsecret-tools");
    buf_init(&text, 1000);
    broker_probe(broker, &d, &text);
    assert_non_null(memmem(text.p, text.n, "libsecret-tools", 15));
    buf_fini(&text);
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
#define PLAIN(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define CMD(f) cmocka_unit_test_setup_teardown(f, fresh_capture, end_capture)
    const struct CMUnitTest tests[] = {
        PLAIN(env_is_fixed),
        PLAIN(case_77_file_values),
        PLAIN(case_80_81_files_change),
        PLAIN(case_80_kubernetes),
        PLAIN(a_file_after_a_401),
        CMD(case_82_a_hundred_ask_one_runs),
        CMD(environment_of_a_helper),
        CMD(providers),
        CMD(case_83_hostile_helpers),
        CMD(helpers_that_are_odd_but_fine),
        CMD(case_125_stderr_is_scrubbed),
        CMD(failures_are_kept_five_seconds),
        CMD(case_82_after_a_401),
        CMD(case_82_refresh),
        CMD(ttl_0_is_shared_by_nobody),
        CMD(scopes),
        CMD(withdrawn_helpers_are_killed),
        CMD(the_end_tells_everybody),
        CMD(more_helpers_than_may_run),
        CMD(programs_that_are_not_there),
        PLAIN(tools),
        PLAIN(case_84_a_locked_keyring),
        CMD(probing_runs_nothing),
        PLAIN(reloads),
        CMD(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
