/* Helper processes: hostile ones too. */
#include "base/mem.h"
#include "sys/child.h"
#include "sys/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct loop *loop;

static int setup(void **state)
{
    (void)state;
    return loop_new_uv(&loop) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    children_end(loop);
    loop_free(loop);
    return 0;
}

struct told {
    unsigned times;
    enum child_end end;
    int status;
    char out[256], err[256];
    size_t n_out, n_err;
};

static void on_told(void *owner, const struct child_result *r)
{
    struct told *t = owner;
    t->times++;
    t->end = r->end;
    t->status = r->status;
    t->n_out = r->out.n;
    t->n_err = r->err.n;
    memcpy(t->out, r->out.p ? r->out.p : "", r->out.n < 255 ? r->out.n : 255);
    memcpy(t->err, r->err.p ? r->err.p : "", r->err.n < 255 ? r->err.n : 255);
}

/* Turns until it was told, or ms have passed. Returns how long it took. */
static uint64_t turn_until(const struct told *t, uint64_t ms)
{
    uint64_t start = clock_mono_ns();
    while (!t->times && clock_mono_ns() - start < ms * NS_PER_MS)
        loop_turn(loop, 10 * NS_PER_MS);
    return (clock_mono_ns() - start) / NS_PER_MS;
}

static struct child *begin(const char *script, struct child_spec spec, struct told *t)
{
    char *argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};
    char *envp[] = {(char *)"PATH=/usr/bin:/bin", NULL};
    struct child *c = NULL;
    memset(t, 0, sizeof(*t));
    spec.argv = argv;
    spec.envp = envp;
    spec.timeout_ms = spec.timeout_ms ? spec.timeout_ms : 10000;
    spec.max_stdout = spec.max_stdout ? spec.max_stdout : 65536;
    spec.max_stderr = spec.max_stderr ? spec.max_stderr : 4096;
    loop_turn(loop, 0);
    assert_int_equal(child_start(loop, &spec, on_told, t, &c), ERR_OK);
    assert_int_equal(t->times, 0);
    return c;
}

static uint64_t run(const char *script, struct child_spec spec, struct told *t)
{
    (void)begin(script, spec, t);
    uint64_t ms = turn_until(t, 20000);
    assert_int_equal(t->times, 1);
    loop_turn(loop, 0);
    assert_int_equal(t->times, 1);
    return ms;
}

static void ends_are_told(void **state)
{
    static const struct {
        const char *script;
        enum child_end end;
        int status;
        const char *out, *err;
    } rows[] = {
        {"echo hello; echo oops >&2", CHILD_EXITED, 0, "hello\n", "oops\n"},
        {"printf x; exit 7", CHILD_EXITED, 7, "x", ""},
        {"kill -TERM $$", CHILD_SIGNALLED, SIGTERM, "", ""},
        {"exec /no/such/thing", CHILD_EXITED, 127, "", NULL},
        {"", CHILD_EXITED, 0, "", ""},
        /* opened anew: works with pipes, not with socket pairs */
        {"echo a >/dev/stdout; echo b >/dev/stderr", CHILD_EXITED, 0, "a\n", "b\n"},
        {"read x; echo \"got $x\"", CHILD_EXITED, 0, "got \n", ""}, /* /dev/null */
        {"exec >&- 2>&-; exit 3", CHILD_EXITED, 3, "", ""},
        {"trap '' PIPE; kill -0 $$; echo $(ls /proc/self/fd | wc -l)", CHILD_EXITED, 0, NULL, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct told t;
        (void)run(rows[i].script, (struct child_spec){0}, &t);
        assert_int_equal(t.end, rows[i].end);
        assert_int_equal(t.status, rows[i].status);
        if (rows[i].out)
            assert_string_equal(t.out, rows[i].out);
        if (rows[i].err)
            assert_string_equal(t.err, rows[i].err);
    }
}

static void a_program_that_is_not_there(void **state)
{
    char *argv[] = {(char *)"/no/such/program", NULL}, *envp[] = {NULL};
    struct child_spec spec = {.argv = argv, .envp = envp, .timeout_ms = 1000, .max_stdout = 10};
    struct told t = {0};
    struct child *c;
    (void)state;
    assert_int_equal(child_start(loop, &spec, on_told, &t, &c), ERR_OK);
    (void)turn_until(&t, 5000);
    assert_int_equal(t.times, 1);
    assert_int_equal(t.end, CHILD_NOT_STARTED);
    assert_int_equal(t.status, ENOENT);
    assert_int_equal(child_start(loop, &spec, on_told, &t, &c), ERR_OK);
    child_cancel(c);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    assert_int_equal(t.times, 1);
}

static void stdin_is_written_and_closed(void **state)
{
    struct told t;
    char *large = malloc(1 << 20);
    (void)state;
    (void)run("cat /dev/stdin; echo end", (struct child_spec){.stdin_bytes = STR("question")}, &t);
    assert_string_equal(t.out, "questionend\n");
    (void)run("cat", (struct child_spec){.stdin_bytes = STR("")}, &t);
    assert_int_equal(t.n_out, 0);
    memset(large, 'x', 1 << 20);
    /* more than a pipe holds, both ways at once */
    (void)run("cat", (struct child_spec){.stdin_bytes = str_of(large, 1 << 20),
                                         .max_stdout = 1 << 20}, &t);
    assert_int_equal(t.end, CHILD_EXITED);
    assert_int_equal(t.n_out, 1 << 20);
    /* closes it early: no error */
    (void)run("exec <&-; echo fine", (struct child_spec){.stdin_bytes = str_of(large, 1 << 20)}, &t);
    assert_int_equal(t.end, CHILD_EXITED);
    assert_int_equal(t.status, 0);
    assert_string_equal(t.out, "fine\n");
    free(large);
}

static void case_83_a_hang_is_killed_with_its_group(void **state)
{
    struct told t;
    char file[] = "/tmp/nono-child-XXXXXX", script[256];
    int fd = mkstemp(file), pid = 0;
    (void)state;
    assert_true(fd >= 0);
    (void)snprintf(script, sizeof(script),
                   "trap '' TERM INT HUP; sleep 60 & echo $! >%s; wait; sleep 60", file);
    uint64_t ms = run(script, (struct child_spec){.timeout_ms = 300}, &t);
    assert_int_equal(t.end, CHILD_TIMEOUT);
    assert_in_range(ms, 250, 1500);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    (void)fclose(f);
    (void)close(fd);
    (void)unlink(file);
    assert_true(pid > 0);
    uint64_t start = clock_mono_ns();
    while (kill(pid, 0) == 0 && clock_mono_ns() - start < 3000 * NS_PER_MS) {
        char path[64], state_of = 0;
        (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        f = fopen(path, "r");
        if (f) {
            (void)fscanf(f, "%*d %*s %c", &state_of);
            (void)fclose(f);
        }
        if (state_of == 'Z')
            break; /* dead; whoever adopts orphans here has not looked yet */
        loop_turn(loop, 10 * NS_PER_MS);
    }
    assert_true(clock_mono_ns() - start < 3000 * NS_PER_MS);
}

static void a_flood_is_killed_at_once(void **state)
{
    struct told t;
    (void)state;
    uint64_t ms = run("yes", (struct child_spec){0}, &t);
    assert_int_equal(t.end, CHILD_TOO_MUCH);
    assert_true(t.n_out <= 65536);
    assert_true(ms < 3000);
    (void)run("head -c 65536 /dev/zero", (struct child_spec){0}, &t);
    assert_int_equal(t.end, CHILD_EXITED);
    assert_int_equal(t.n_out, 65536);
    (void)run("head -c 65537 /dev/zero", (struct child_spec){0}, &t);
    assert_int_equal(t.end, CHILD_TOO_MUCH);
}

static void much_stderr_is_thrown_away(void **state)
{
    struct told t;
    (void)state;
    (void)run("head -c 10000000 /dev/zero >&2; echo value", (struct child_spec){0}, &t);
    assert_int_equal(t.end, CHILD_EXITED);
    assert_string_equal(t.out, "value\n");
    assert_int_equal(t.n_err, 4096);
}

static void a_grandchild_does_not_hold_the_pipe(void **state)
{
    struct told t;
    (void)state;
    uint64_t ms = run("sleep 30 & echo value", (struct child_spec){0}, &t);
    assert_int_equal(t.end, CHILD_EXITED);
    assert_string_equal(t.out, "value\n");
    assert_true(ms < 2000);
    /* one that goes on writing: until the deadline, no longer */
    ms = run("(while :; do echo x; sleep 0.02; done) & exit 0",
             (struct child_spec){.timeout_ms = 700, .max_stdout = 1 << 20}, &t);
    assert_int_equal(t.end, CHILD_TIMEOUT);
    assert_in_range(ms, 600, 2500);
    /* one that only complains, in a session of its own, is not waited for */
    ms = run("setsid sh -c 'while :; do echo x >&2; sleep 0.02; done' & echo value",
             (struct child_spec){.timeout_ms = 10000}, &t);
    assert_int_equal(t.end, CHILD_EXITED);
    assert_string_equal(t.out, "value\n");
    assert_true(ms < 5000);
    /* the last words of a grandchild are waited for while it speaks */
    (void)run("(echo a; sleep 0.03; echo b) & exit 0", (struct child_spec){0}, &t);
    assert_string_equal(t.out, "a\nb\n");
}

static void cancelled_ones_are_killed_and_reaped(void **state)
{
    struct told t;
    char file[] = "/tmp/nono-child-XXXXXX", script[128];
    (void)state;
    int fd = mkstemp(file);
    (void)snprintf(script, sizeof(script), "sleep 1; echo alive >%s", file);
    struct child *c = begin(script, (struct child_spec){0}, &t);
    child_cancel(c);
    for (int i = 0; i < 150; i++)
        loop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(t.times, 0);
    char byte;
    assert_int_equal(read(fd, &byte, 1), 0);
    (void)close(fd);
    (void)unlink(file);
    child_cancel(NULL);
    /* the loop goes while some run and some are being reaped */
    for (int i = 0; i < 4; i++) {
        c = begin("sleep 60", (struct child_spec){0}, &t);
        if (i % 2)
            child_cancel(c);
    }
    children_end(loop);
    assert_int_equal(t.times, 0);
}

static void silent_ones_write_to_nobody(void **state)
{
    struct told t;
    char file[] = "/tmp/nono-child-XXXXXX", script[200], text[100] = "";
    (void)state;
    int fd = mkstemp(file);
    (void)snprintf(script, sizeof(script),
                   "for i in 0 1 2; do x=$(readlink /proc/$$/fd/$i); echo $x >>%s; done; exit 4", file);
    (void)run(script, (struct child_spec){.no_output = true}, &t);
    assert_int_equal(t.end, CHILD_EXITED);
    assert_int_equal(t.status, 4);
    assert_int_equal(t.n_out + t.n_err, 0);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    assert_string_equal(text, "/dev/null\n/dev/null\n/dev/null\n");
    (void)close(fd);
    (void)unlink(file);
}

/* Waits for the file to hold something. */
static bool written(int fd, bool turning)
{
    char byte;
    for (int i = 0; i < 1000; i++) {
        if (pread(fd, &byte, 1, 0) == 1)
            return true;
        if (turning)
            loop_turn(loop, 10 * NS_PER_MS);
        else
            (void)usleep(10000);
    }
    return false;
}

static void released_ones_live_on(void **state)
{
    struct told t;
    char script[128];
    (void)state;
    for (int end = 0; end < 2; end++) {
        char file[] = "/tmp/nono-child-XXXXXX";
        int fd = mkstemp(file);
        (void)snprintf(script, sizeof(script), "sleep 0.5; echo alive >%s", file);
        struct child *c = begin(script, (struct child_spec){.no_output = true}, &t);
        child_release(c);
        if (end)
            children_end(loop);
        assert_true(written(fd, !end));
        assert_int_equal(t.times, 0);
        (void)close(fd);
        (void)unlink(file);
    }
    /* one that could not be started */
    char *argv[] = {(char *)"/nonexistent", NULL}, *envp[] = {NULL};
    struct child_spec spec = {.argv = argv, .envp = envp, .no_output = true};
    struct child *c;
    assert_int_equal(child_start(loop, &spec, on_told, &t, &c), ERR_OK);
    child_release(c);
    loop_turn(loop, 0);
    assert_int_equal(t.times, 0);
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        char *argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)"cat; echo value", NULL};
        char *envp[] = {NULL};
        struct child_spec spec = {.argv = argv, .envp = envp, .stdin_bytes = STR("in"),
                                  .timeout_ms = 5000, .max_stdout = 100, .max_stderr = 100};
        struct told t = {0};
        struct child *c;
        mem_fail_after(i, false);
        enum err e = child_start(loop, &spec, on_told, &t, &c);
        if (!e)
            (void)turn_until(&t, 10000);
        mem_fail_after(-1, false);
        if (e)
            assert_int_equal(e, ERR_NOMEM);
        else if (t.end == CHILD_EXITED)
            assert_string_equal(t.out, "invalue\n");
        else
            assert_int_equal(t.end, CHILD_NOT_STARTED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ends_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_program_that_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(stdin_is_written_and_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(case_83_a_hang_is_killed_with_its_group, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_is_killed_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(much_stderr_is_thrown_away, setup, teardown),
        cmocka_unit_test_setup_teardown(a_grandchild_does_not_hold_the_pipe, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled_ones_are_killed_and_reaped, setup, teardown),
        cmocka_unit_test_setup_teardown(silent_ones_write_to_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(released_ones_live_on, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_that_runs_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
