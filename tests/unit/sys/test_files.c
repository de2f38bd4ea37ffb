/* Watched files, reading them, finding programs. */
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/files.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loop *loop;
static char folder[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/nono-files-XXXXXX");
    return mkdtemp(folder) && loop_new_uv(&loop) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    loop_free(loop);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[4][128];
    static unsigned next;
    char *p = path[next++ % 4];
    (void)snprintf(p, 128, "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    (void)fclose(f);
}

static unsigned changes;

static void on_changed(void *owner)
{
    (void)owner;
    changes++;
}

/* A change is told within a second (some more on a busy machine). */
static void expect_change(void)
{
    uint64_t start = clock_mono_ns();
    unsigned before = changes;
    while (changes == before && clock_mono_ns() - start < 3000 * NS_PER_MS)
        loop_turn(loop, 20 * NS_PER_MS);
    assert_int_equal(changes, before + 1);
    assert_true(clock_mono_ns() - start < 1500 * NS_PER_MS);
}

static void expect_silence(void)
{
    uint64_t start = clock_mono_ns();
    unsigned before = changes;
    while (clock_mono_ns() - start < 1200 * NS_PER_MS)
        loop_turn(loop, 20 * NS_PER_MS);
    assert_int_equal(changes, before);
}

static void case_80_changes_are_noticed(void **state)
{
    struct file_watch *w;
    (void)state;
    changes = 0;
    put("secret", "one");
    assert_int_equal(file_watch_open(loop, path_of("secret"), on_changed, NULL, &w), ERR_OK);
    expect_silence();
    put("secret", "two"); /* same size, in place */
    expect_change();
    put("new", "two");
    assert_int_equal(rename(path_of("new"), path_of("secret")), 0);
    expect_change();
    assert_int_equal(unlink(path_of("secret")), 0);
    expect_change();
    expect_silence();
    put("secret", "again"); /* case 81 */
    expect_change();
    file_watch_close(w);
    file_watch_close(NULL);
}

/* Kubernetes: secret -> ..data/secret, ..data -> ..1, and ..data moves. */
static void case_80_a_link_on_the_way_moves(void **state)
{
    struct file_watch *w;
    (void)state;
    changes = 0;
    assert_int_equal(mkdir(path_of("..1"), 0700), 0);
    assert_int_equal(mkdir(path_of("..2"), 0700), 0);
    put("..1/secret", "same");
    put("..2/secret", "same");
    assert_int_equal(symlink("..1", path_of("..data")), 0);
    assert_int_equal(symlink("..data/secret", path_of("secret")), 0);
    assert_int_equal(file_watch_open(loop, path_of("secret"), on_changed, NULL, &w), ERR_OK);
    expect_silence();
    assert_int_equal(symlink("..2", path_of("..tmp")), 0);
    assert_int_equal(rename(path_of("..tmp"), path_of("..data")), 0);
    expect_change();
    /* closed while it looks */
    for (int i = 0; i < 60; i++)
        loop_turn(loop, 10 * NS_PER_MS);
    file_watch_close(w);
}

/* What happens between opening the watch and its first look is not missed. */
static void a_change_right_after_opening(void **state)
{
    struct file_watch *w;
    (void)state;
    changes = 0;
    assert_int_equal(file_watch_open(loop, path_of("later"), on_changed, NULL, &w), ERR_OK);
    put("later", "x");
    expect_change();
    file_watch_close(w);
    mem_fail_after(0, false);
    assert_int_equal(file_watch_open(loop, path_of("later"), on_changed, NULL, &w), ERR_NOMEM);
    mem_fail_after(1, false);
    assert_int_equal(file_watch_open(loop, path_of("later"), on_changed, NULL, &w), ERR_NOMEM);
    mem_fail_after(-1, false);
}

static enum err read_of(const char *path, size_t max, size_t *ret_n, int *ret_errno)
{
    char *p = NULL;
    enum err e = file_read(path, max, &p, ret_n, ret_errno);
    mem_free(p);
    return e;
}

static void reading(void **state)
{
    char *p;
    size_t n = 99;
    int os_errno = 0;
    (void)state;
    put("five", "12345");
    assert_int_equal(file_read(path_of("five"), 5, &p, &n, &os_errno), ERR_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(p, "12345", 5);
    mem_free(p);
    assert_int_equal(read_of(path_of("five"), 4, &n, &os_errno), ERR_TOO_LARGE);
    put("none", "");
    assert_int_equal(read_of(path_of("none"), 5, &n, &os_errno), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(read_of(path_of("absent"), 5, &n, &os_errno), ERR_NOT_FOUND);
    assert_int_equal(read_of(folder, 5, &n, &os_errno), ERR_INVALID);
    assert_int_equal(read_of("/dev/zero", 5, &n, &os_errno), ERR_INVALID);
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0); /* must not hold us */
    assert_int_equal(read_of(path_of("fifo"), 5, &n, &os_errno), ERR_INVALID);
    assert_int_equal(symlink("loop", path_of("loop")), 0);
    assert_int_equal(read_of(path_of("loop"), 5, &n, &os_errno), ERR_SYSTEM);
    assert_int_equal(os_errno, ELOOP);
    mem_fail_after(0, false);
    assert_int_equal(read_of(path_of("five"), 5, &n, &os_errno), ERR_NOMEM);
    mem_fail_after(-1, false);
}

static void programs(void **state)
{
    char *found = NULL, path[256];
    (void)state;
    assert_int_equal(mkdir(path_of("a"), 0700), 0);
    assert_int_equal(mkdir(path_of("b"), 0700), 0);
    put("a/tool", "#!/bin/sh\n"); /* not executable: the search goes on */
    put("b/tool", "#!/bin/sh\n");
    (void)chmod(path_of("b/tool"), 0700);
    (void)snprintf(path, sizeof(path), ":relative:%s/a::%s/b", folder, folder);
    assert_int_equal(file_find_program(STR("tool"), str_from(path), &found), ERR_OK);
    assert_string_equal(found, path_of("b/tool"));
    mem_free(found);
    (void)chmod(path_of("b/tool"), 0600);
    assert_int_equal(file_find_program(STR("tool"), str_from(path), &found), ERR_INVALID);
    assert_int_equal(file_find_program(STR("absent"), str_from(path), &found), ERR_NOT_FOUND);
    assert_int_equal(file_find_program(STR(""), str_from(path), &found), ERR_NOT_FOUND);
    assert_int_equal(file_find_program(STR("a/tool"), str_from(path), &found), ERR_NOT_FOUND);
    assert_int_equal(file_find_program(STR("tool"), STR_NULL, &found), ERR_NOT_FOUND);
    assert_int_equal(file_find_program(STR("/bin/sh"), STR_NULL, &found), ERR_OK);
    assert_string_equal(found, "/bin/sh");
    mem_free(found);
    assert_int_equal(file_find_program(STR("/bin"), STR_NULL, &found), ERR_INVALID);
    mem_fail_after(0, false);
    assert_int_equal(file_find_program(STR("/bin/sh"), STR_NULL, &found), ERR_NOMEM);
    mem_fail_after(-1, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(case_80_changes_are_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(case_80_a_link_on_the_way_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_right_after_opening, setup, teardown),
        cmocka_unit_test_setup_teardown(reading, setup, teardown),
        cmocka_unit_test_setup_teardown(programs, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
