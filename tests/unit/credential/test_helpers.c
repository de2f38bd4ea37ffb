/* Real helpers of every temper, and the tools of the key stores. */
#include "broker_fixture.h"
#include <stdio.h>

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
        {"printf 'a\\033[0mb'", "control character", "collect_failed"},
        {"printf 'a\\0b'", "NUL byte", "collect_failed"},
        {"head -c 65537 /dev/zero | tr '\\0' k", "more than 64 KiB", "output_too_large"},
        {"setsid yes & exit 0", "more than 64 KiB", "output_too_large"},
        {"exec >&- 2>&-; sleep 60", "took too long", "timeout"},
        {"true", "printed nothing", "empty_stdout"},
        {"yes >&2", "took too long", "timeout"},
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
        "head -c 10000000 /dev/zero >&2; echo token", "setsid sleep 5 & echo token",
        "setsid sh -c 'while echo noise >&2; do sleep 0.02; done' & echo token"};
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

/* Its stdin is larger than any pipe: whether it reads that is the helper's affair. */
static void stdin_that_nobody_reads(void **state)
{
    static char config_text[300000];
    static const char *const bodies[] = {"exec <&-; sleep 0.1;", "", "head -c 10 >/dev/null;",
                                         "[ $(wc -c) -gt 300000 ] &&"};
    static const char *const answer =
        "echo '{\"material\":{\"type\":\"secret\",\"value\":\"t\"}}'";
    (void)state;
    memset(config_text, 'c', sizeof(config_text));
    config_text[0] = config_text[sizeof(config_text) - 1] = '"';
    capture.provider = true;
    capture.provider_config = str_of(config_text, sizeof(config_text));
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct service_conf s = {0};
        char name[16], body[200];
        (void)snprintf(name, sizeof(name), "h%zu", i);
        (void)snprintf(body, sizeof(body), "%s %s", bodies[i], answer);
        script(name, body);
        struct credential c = cmd_of(&s, name);
        struct told t = get(&c);
        assert_string_equal(t.value, "t");
        credential_fini(&c);
    }
}

static void a_secret_of_64_kib(void **state)
{
    struct service_conf s = {0};
    (void)state;
    script("helper", "head -c 65536 /dev/zero | tr '\\0' k");
    struct credential c = cmd_of(&s, "helper");
    struct told t = get(&c);
    assert_int_equal(t.e, ERR_OK);
    assert_int_equal(secret_borrow(entry_of_last()->current->secret).n, 65536);
    credential_fini(&c);
}

/* The 4 KiB of stderr that are kept end within it. */
static void case_125_half_a_secret_is_scrubbed(void **state)
{
    struct service_conf s = {0};
    (void)state;
    script("helper", "head -c 4080 /dev/zero | tr '\\0' e >&2; echo ' my pass phrase of it' >&2; "
                     "echo 'my pass phrase of it'");
    struct credential c = cmd_of(&s, "helper");
    struct told t = get(&c);
    assert_string_equal(t.value, "my pass phrase of it");
    const char *lines = audited();
    assert_non_null(strstr(lines, "eee"));
    assert_null(strstr(lines, "my pass"));
    credential_fini(&c);
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

static void tools(void **state)
{
    static const struct {
        const char *key, *tool, *body, *value, *sentence;
    } rows[] = {
        {"ACCOUNT", "secret-tool",
         "[ \"$*\" = 'lookup -- service nono username ACCOUNT' ] && printf key", "key", NULL},
        {"google-ai", "secret-tool", "printf \"$6\"", "google-ai", NULL},
        {"keyring://s/a", "secret-tool", "[ \"$*\" = 'lookup -- service s username a' ] && echo key",
         "key", NULL},
        {"keyring://s/b?decode=go-keyring", "secret-tool",
         "[ $6 = b ] && printf go-keyring-base64:a2V5", "key", NULL},
        {"keyring://s/c?decode=go-keyring", "secret-tool", "printf plain", NULL,
         "does not begin with"},
        {"keyring://s/d", "secret-tool", "exit 1", NULL, "has no item keyring://s/<redacted>"},
        {"keyring://s/e", "secret-tool", "echo 'The name org.freedesktop.secrets' >&2; exit 1", NULL,
         "no keyring service"},
        {"keyring://s/g", "secret-tool", "echo 'Could not connect: No such file' >&2; exit 1", NULL,
         "no keyring service"},
        {"keyring://s/h", "secret-tool", "echo 'in a locked collection' >&2; exit 1", NULL,
         "is locked: unlock it"},
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

static void a_value_that_is_kept_for_ever(void **state)
{
    static const uint64_t times[] = {99999999999000, UINT64_MAX / NS_PER_MS, UINT64_MAX};
    (void)state;
    script("secret-tool", "printf key");
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct service_conf s = {.cache_ttl_ms = times[i]};
        struct credential c = of(&s, "KEY");
        struct told t = get(&c);
        assert_string_equal(t.value, "key");
        assert_true(t.end_ns > loop_now(loop) + FAR_MS / 2 * NS_PER_MS);
    }
}

static void times_for_the_keyring(void **state)
{
    static const struct {
        const char *variable;
        uint64_t ms;
    } rows[] = {{"NONO_KEYRING_TIMEOUT_SECS= 7\t", 7000}, {"NONO_KEYRING_TIMEOUT_SECS=0", 0},
                {"NONO_KEYRING_TIMEOUT_SECS=", 120000},   {"NONO_KEYRING_TIMEOUT_SECS=1s", 120000},
                {"NONO_KEYRING_TIMEOUT_SECS=-1", 120000}, {"X=1", 120000}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *variables[] = {(char *)rows[i].variable, NULL};
        struct helper_env env;
        assert_int_equal(helper_env_init(&env, variables), ERR_OK);
        assert_int_equal(env.keyring_timeout_ms, rows[i].ms);
        helper_env_fini(&env);
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
}

static void case_78_no_secret_tool(void **state)
{
    struct service_conf s = {.cache_ttl_ms = 300000};
    struct credential c = of(&s, "MISSING");
    char *variables[] = {(char *)"PATH=/nonexistent", NULL};
    struct broker_env env = {.control = loop, .envp = variables};
    struct broker *before = broker;
    struct buf text;
    (void)state;
    assert_int_equal(broker_new(&env, &broker), ERR_OK);
    struct told t = get(&c);
    expect_sentence(&t, "install the package libsecret-tools");
    buf_init(&text, 1000);
    broker_probe(broker, &c, &text);
    assert_non_null(memmem(text.p, text.n, "libsecret-tools", 15));
    buf_fini(&text);
    broker_free(broker);
    broker = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CMD(environment_of_a_helper),
        CMD(providers),
        CMD(case_83_hostile_helpers),
        CMD(helpers_that_are_odd_but_fine),
        CMD(stdin_that_nobody_reads),
        CMD(a_secret_of_64_kib),
        CMD(case_125_half_a_secret_is_scrubbed),
        CMD(case_125_stderr_is_scrubbed),
        CMD(withdrawn_helpers_are_killed),
        CMD(the_end_tells_everybody),
        CMD(more_helpers_than_may_run),
        CMD(programs_that_are_not_there),
        PLAIN(tools),
        PLAIN(a_value_that_is_kept_for_ever),
        PLAIN(times_for_the_keyring),
        PLAIN(case_78_no_secret_tool),
        PLAIN(case_84_a_locked_keyring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
