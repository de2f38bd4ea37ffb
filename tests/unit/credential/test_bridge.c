/* The browser bridge: which URLs pass, what the launcher says, and a whole exchange while memory runs out. */
#include "base/mem.h"
#include "credential/bridge.h"
#include "sys/clock.h"
#include "sys/sock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define S(literal) {literal, sizeof(literal) - 1}

static struct loop *loop;
static struct bridges bridges;
static struct helper_env env;
static char folder[64], tmp_variable[128], path_variable[128];

static int setup(void **state)
{
    static char *environment[] = {tmp_variable, path_variable, NULL};
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/nono-bridge-XXXXXX");
    if (!mkdtemp(folder) || loop_new_uv(&loop))
        return -1;
    (void)snprintf(tmp_variable, sizeof(tmp_variable), "TMPDIR=%s", folder);
    (void)snprintf(path_variable, sizeof(path_variable), "PATH=%s:/usr/bin:/bin", folder);
    loop_turn(loop, 0);
    if (helper_env_init(&env, environment))
        return -1;
    return bridges_init(&bridges, loop, &env) ? -1 : 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    bridges_fini(&bridges);
    children_end(loop);
    helper_env_fini(&env);
    loop_free(loop);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* Whatever stands in the folder besides what the test put there. */
static bool left(void)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    bool any = false;
    while ((e = readdir(d)))
        any |= strstr(e->d_name, "nono-capture-") != NULL;
    (void)closedir(d);
    return any;
}

/* ---- URLs ---- */

static void which_urls_pass(void **state)
{
    static struct str origins[] = {S("https://a.test"),       S("https://b.test:8443/"), S("https://c.test/path"),
                                   S("http://plain.test"),    S("https://[2001:DB8::1]"), S("https://d.test?q"),
                                   S("https://b\xC3\xBC.test"), S("https://E.test.:443")};
    static const struct {
        struct str url;
        bool local; /* allow_localhost */
        const char *words; /* of the refusal; NULL: passes */
        const char *origin;
    } rows[] = {
        {S("https://a.test"), false, NULL, "https://a.test"},
        {S("https://a.test/x?y#z"), false, NULL, "https://a.test"},
        {S("https://a.test:443?q"), false, NULL, "https://a.test:443"},
        {S("https://A.TEST./"), false, NULL, "https://A.TEST."},
        {S("https://a.test#@evil.test/"), false, NULL, "https://a.test"},
        {S("https://b.test:8443/"), false, NULL, "https://b.test:8443"},
        {S("https://[2001:db8:0::1]/"), false, NULL, "https://[2001:db8:0::1]"},
        {S("https://xn--b-eha.test/"), false, NULL, "https://xn--b-eha.test"},
        {S("https://e.test/"), false, NULL, "https://e.test"},
        {S("https://b.test/"), false, "does not name https://b.test (port 443)", "https://b.test"},
        {S("https://a.test:8443/"), false, "does not name", "https://a.test:8443"},
        {S("https://c.test/path"), false, "does not name", "https://c.test"},
        {S("https://d.test?q"), false, "does not name", "https://d.test"},
        {S("https://x.a.test/"), false, "does not name", "https://x.a.test"},
        {S("http://plain.test/"), true, "only https", "http://plain.test"},
        {S("http://a.test/"), true, "only https", "http://a.test"},
        {S("http://localhost:80/x"), true, NULL, "http://localhost:80"},
        {S("https://127.0.0.1/"), true, NULL, "https://127.0.0.1"},
        {S("http://[::1]:1/"), true, NULL, "http://[::1]:1"},
        {S("http://[0:0::1]"), true, NULL, "http://[0:0::1]"},
        {S("http://localhost/"), false, "allow_localhost", "http://localhost"},
        {S("https://[::1]/"), false, "allow_localhost", "https://[::1]"},
        {S("http://127.0.0.2/"), true, "only https", "http://127.0.0.2"},
        {S("http://a.localhost/"), true, "only https", "http://a.localhost"},
        {S("http://0.0.0.0/"), true, "only https", "http://0.0.0.0"},
        {S(""), true, "empty", ""},
        {S("https://a.test/\\"), true, "percent-encoded", ""},
        {S("https://evil.test\\@a.test/"), true, "percent-encoded", ""},
        {S("https://a.test/ "), true, "percent-encoded", ""},
        {S("https://a.test/\n"), true, "percent-encoded", ""},
        {S("https://a.test/\0"), true, "percent-encoded", ""},
        {S("https://a.test/\x7F"), true, "percent-encoded", ""},
        {S("https://a.test/\""), true, "percent-encoded", ""},
        {S("https://a.test/`id`"), true, "percent-encoded", ""},
        {S("https://a.test/\xC3\xA9"), true, "percent-encoded", ""},
        {S("https://b\xC3\xBC.test/"), true, "percent-encoded", ""},
        {S("https://me@a.test/"), true, "not understood", ""},
        {S("https://me:pw@a.test/"), true, "not understood", ""},
        {S("https://%61.test/"), true, "not understood", ""},
        {S("https:a.test"), true, "not understood", ""},
        {S("https:///a.test"), true, "not understood", ""},
        {S("https://#a.test"), true, "not understood", ""},
        {S("//a.test/"), true, "not understood", ""},
        {S("a.test"), true, "not understood", ""},
        {S("file:///etc/passwd"), true, "not understood", ""},
        {S("javascript:alert(1)//https://a.test"), true, "not understood", ""},
        {S("https://a.test:0/"), true, "not understood", ""},
        {S("https://0x7f.1/"), true, "not understood", ""},
        {S("--"), true, "not understood", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct capture_conf c = {.allow_origins = origins,
                                 .n_allow_origins = ARRAY_LEN(origins),
                                 .allow_localhost = rows[i].local};
        struct errctx ctx = {0};
        struct str origin = STR("");
        enum err e = bridge_judge(&c, rows[i].url, &origin, &ctx);
        if (e != (rows[i].words ? ERR_INVALID : ERR_OK) ||
            (rows[i].words && !strstr(ctx.text, rows[i].words)))
            fail_msg("%s: %d \"%s\"", rows[i].url.p, (int)e, ctx.text);
        assert_true(str_eq(origin, str_from(rows[i].origin)));
    }
}

static void long_urls(void **state)
{
    static struct str origins[] = {S("https://a.test")};
    struct capture_conf c = {.allow_origins = origins, .n_allow_origins = 1};
    static char url[8200];
    (void)state;
    memset(url, 'a', sizeof(url));
    memcpy(url, "https://a.test/", 15);
    for (size_t n = 8190; n <= sizeof(url); n++) {
        struct errctx ctx = {0};
        struct str origin;
        assert_int_equal(bridge_judge(&c, str_of(url, n), &origin, &ctx), n <= 8192 ? ERR_OK : ERR_INVALID);
    }
}

/* ---- launchers ---- */

static void launcher_is_quoted(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 4096);
    bridge_launcher_write(&out, STR("/it's/nono"), STR("/t/$(x)/s"), false, false);
    buf_add_c(&out, 0);
    assert_string_equal(out.p, "#!/bin/sh\nNONO_SUPERVISOR_PATH='/t/$(x)/s'\nexport NONO_SUPERVISOR_PATH\n"
                               "exec '/it'\\''s/nono' open-url-helper -- \"$@\"\n");
    buf_fini(&out);
}

/* What sh makes of the macOS launcher: the words that the program gets, or the exit status. */
static void say(const char *words, bool launch_services, char *ret_text, size_t cap, int *ret_code)
{
    char name[128], program[128], command[512];
    struct buf out;
    (void)snprintf(name, sizeof(name), "%s/open", folder);
    (void)snprintf(program, sizeof(program), "%s/nono", folder);
    FILE *f = fopen(program, "w");
    assert_true(fputs("#!/bin/sh\nfor a; do printf '%s|' \"$a\"; done; printf %s \"$NONO_SUPERVISOR_PATH\"\n", f) > 0);
    (void)fclose(f);
    assert_int_equal(chmod(program, 0700), 0);
    buf_init(&out, 4096);
    bridge_launcher_write(&out, str_from(program), STR("/sock"), true, launch_services);
    f = fopen(name, "w");
    assert_int_equal(fwrite(out.p, 1, out.n, f), out.n);
    (void)fclose(f);
    buf_fini(&out);
    (void)snprintf(command, sizeof(command), "sh %s %s 2>&1", name, words);
    f = popen(command, "r");
    ret_text[fread(ret_text, 1, cap - 1, f)] = 0;
    *ret_code = pclose(f) >> 8;
}

static void launcher_on_macos(void **state)
{
    char text[300];
    int code;
    (void)state;
    say("-a 'A B' 'https://a.test/?x y' HTTP://b.test 'https:' file", false, text, sizeof(text), &code);
    assert_string_equal(text, "open-url-helper|--|https://a.test/?x y|HTTP://b.test|/sock");
    assert_int_equal(code, 0);
    say("-a Terminal", false, text, sizeof(text), &code);
    assert_non_null(strstr(text, "allow_launch_services"));
    assert_int_equal(code, 126);
    say("", false, text, sizeof(text), &code);
    assert_int_equal(code, 126);
    say("-a Terminal", true, text, sizeof(text), &code); /* the real one, which is not on every machine */
    assert_null(strstr(text, "allow_launch_services"));
}

/* ---- folders ---- */

static void folders(void **state)
{
    struct capture_conf c = {.name = STR("h")};
    struct errctx ctx = {0};
    struct bridge *b;
    struct stat st;
    (void)state;
    assert_int_equal(bridge_open(&bridges, &c, &b, &ctx), ERR_OK);
    assert_int_equal(stat(bridge_folder(b), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(bridge_socket(b), &st), 0);
    assert_true(S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
    assert_int_equal(stat(bridge_launcher(b), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    bridge_close(b);
    assert_false(left());
    bridge_close(NULL);
    (void)snprintf(tmp_variable, sizeof(tmp_variable), "TMPDIR=%s/a:b", folder);
    assert_int_equal(bridge_open(&bridges, &c, &b, &ctx), ERR_CREDENTIAL_UNAVAILABLE);
    assert_non_null(strstr(ctx.text, "set TMPDIR"));
    err_clear(&ctx);
    (void)snprintf(tmp_variable, sizeof(tmp_variable), "TMPDIR=.");
    assert_int_equal(bridge_open(&bridges, &c, &b, &ctx), ERR_CREDENTIAL_UNAVAILABLE);
    char *program = bridges.program;
    bridges.program = NULL;
    err_clear(&ctx);
    assert_int_equal(bridge_open(&bridges, &c, &b, &ctx), ERR_CREDENTIAL_UNAVAILABLE);
    assert_non_null(strstr(ctx.text, "/proc"));
    bridges.program = program;
    (void)snprintf(tmp_variable, sizeof(tmp_variable), "TMPDIR=%s", folder);
}

/* ---- an exchange ---- */

static int dial(const struct bridge *b)
{
    struct sock_addr to = {.len = sizeof(struct sockaddr_un)};
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd, os_errno;
    memcpy(at.sun_path, bridge_socket(b), strlen(bridge_socket(b)));
    memcpy(&to.storage, &at, sizeof(at));
    assert_int_equal(sock_connect(&to, &fd, &os_errno), ERR_OK);
    return fd;
}

static void put_request(int fd, const char *json)
{
    char frame[600] = {0, 0};
    size_t n = strlen(json), sent = 0;
    frame[2] = (char)(n >> 8), frame[3] = (char)n;
    memcpy(frame + 4, json, n);
    assert_int_equal(sock_writev(fd, &(struct iovec){frame, n + 4}, 1, &sent), ERR_OK);
    assert_int_equal(sent, n + 4);
}

/* Until the end, or NULL: cut off without an answer. */
static const char *take_answer(int fd)
{
    static char text[2000];
    size_t n = 0, got;
    uint64_t start = clock_mono_ns();
    enum err e = ERR_AGAIN;
    while ((!e || e == ERR_AGAIN) && clock_mono_ns() - start < 20000 * NS_PER_MS) {
        loop_turn(loop, 5 * NS_PER_MS);
        e = sock_read(fd, text + n, sizeof(text) - 1 - n, &got);
        n += e ? 0 : got;
    }
    sock_close(fd);
    text[n] = 0;
    return n > 4 ? text + 4 : NULL;
}

static void opener(const char *text)
{
    char name[128];
    (void)snprintf(name, sizeof(name), "%s/xdg-open", folder);
    FILE *f = fopen(name, "w");
    assert_true(fprintf(f, "#!/bin/sh\n%s\n", text) > 0);
    (void)fclose(f);
    assert_int_equal(chmod(name, 0700), 0);
}

#define REQUEST "{\"OpenUrl\":{\"request_id\":\"i\",\"url\":\"https://a.test/\",\"child_pid\":1,\"session_id\":\"s\"}}"

static void memory_that_runs_out(void **state)
{
    static struct str origins[] = {S("https://a.test")};
    struct capture_conf c = {.name = STR("h"), .allow_origins = origins, .n_allow_origins = 1};
    bool opened = false;
    (void)state;
    opener("exit 0");
    for (int i = 0; i < 90; i++) {
        struct errctx ctx = {0};
        struct bridge *b;
        mem_fail_after(i, false);
        enum err e = bridge_open(&bridges, &c, &b, &ctx);
        const char *answer = NULL;
        if (!e) {
            int fd = dial(b);
            put_request(fd, REQUEST);
            answer = take_answer(fd);
        }
        mem_fail_after(-1, false);
        assert_true(!e || e == ERR_NOMEM || e == ERR_CREDENTIAL_UNAVAILABLE);
        opened = answer && strstr(answer, "\"success\":true,\"error\":null");
        if (answer && !opened)
            assert_non_null(strstr(answer, "\"success\":false,\"error\":\""));
        if (!e)
            bridge_close(b);
        loop_turn(loop, 0);
        assert_false(left());
        assert_int_equal(bridges.n_openers, 0);
    }
    assert_true(opened); /* the last one had all it needed */
}

static void closed_while_the_opener_runs(void **state)
{
    static struct str origins[] = {S("https://a.test")};
    struct capture_conf c = {.name = STR("h"), .allow_origins = origins, .n_allow_origins = 1};
    struct errctx ctx = {0};
    struct bridge *b;
    (void)state;
    opener("sleep 0.3");
    assert_int_equal(bridge_open(&bridges, &c, &b, &ctx), ERR_OK);
    int fd = dial(b);
    put_request(fd, REQUEST);
    uint64_t start = clock_mono_ns();
    while (!bridges.n_openers && clock_mono_ns() - start < 20000 * NS_PER_MS)
        loop_turn(loop, 5 * NS_PER_MS);
    assert_int_equal(bridge_opened(b), 1);
    bridge_close(b);
    assert_int_equal(bridges.n_openers, 1);
    assert_null(take_answer(fd));
    while (bridges.n_openers && clock_mono_ns() - start < 20000 * NS_PER_MS)
        loop_turn(loop, 5 * NS_PER_MS);
    assert_int_equal(bridges.n_openers, 0);
}

int main(void)
{
#define PLAIN(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_urls_pass),
        cmocka_unit_test(long_urls),
        cmocka_unit_test(launcher_is_quoted),
        PLAIN(launcher_on_macos),
        PLAIN(folders),
        PLAIN(memory_that_runs_out),
        PLAIN(closed_while_the_opener_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
