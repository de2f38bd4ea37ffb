#include "../base/unit.h"
#include "cli/env_file.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/nono-env-file-XXXXXX";
static char path[128];

static const char *in_folder(const char *name)
{
    assert_true(snprintf(path, sizeof(path), "%s/%s", folder, name) > 0);
    return path;
}

static void put(const char *name, const char *text, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void assert_file(const char *name, const char *text)
{
    char got[256];
    struct stat st;
    int fd = open(in_folder(name), O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, got, sizeof(got));
    assert_true(n >= 0);
    assert_true(str_eq(str_of(got, (size_t)n), str_from(text)));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(close(fd), 0);
}

static unsigned entries(void)
{
    unsigned n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    assert_int_equal(closedir(d), 0);
    return n;
}

static void write_ok(const char *name, const char *text)
{
    struct errctx ctx = {0};
    if (env_file_write(in_folder(name), str_from(text), &ctx) != ERR_OK)
        fail_msg("%s", ctx.text);
}

static void test_new_file(void **state)
{
    (void)state;
    mode_t before = umask(0);
    write_ok("new", "A=1\nB=2\n");
    umask(before);
    assert_file("new", "A=1\nB=2\n");
    assert_int_equal(entries(), 1); /* nothing temporary is left */
    assert_int_equal(unlink(in_folder("new")), 0);
}

static void test_existing_file_is_replaced_whole(void **state)
{
    (void)state;
    put("old", "old text that is longer than the new\n", 0644);
    write_ok("old", "A=1\n");
    assert_file("old", "A=1\n");
    assert_int_equal(entries(), 1);
    assert_int_equal(unlink(in_folder("old")), 0);
}

static void test_owner_stays(void **state)
{
    struct stat st;
    (void)state;
    if (geteuid() != 0)
        skip();
    put("owned", "x", 0640);
    assert_int_equal(chown(in_folder("owned"), 12345, 54321), 0);
    write_ok("owned", "A=1\n");
    assert_int_equal(stat(in_folder("owned"), &st), 0);
    assert_int_equal(st.st_uid, 12345);
    assert_int_equal(st.st_gid, 54321);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(unlink(in_folder("owned")), 0);
}

static void test_symbolic_link_is_followed_not_replaced(void **state)
{
    struct stat st;
    (void)state;
    put("target", "old", 0644);
    assert_int_equal(symlink("target", in_folder("link")), 0);
    write_ok("link", "A=1\n");
    assert_file("target", "A=1\n");
    assert_int_equal(lstat(in_folder("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(unlink(in_folder("link")), 0);
    assert_int_equal(unlink(in_folder("target")), 0);
}

static void test_a_pipe_gets_the_text(void **state)
{
    char got[16];
    (void)state;
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    int fd = open(in_folder("pipe"), O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    write_ok("pipe", "A=1\n");
    assert_int_equal(read(fd, got, sizeof(got)), 4);
    assert_int_equal(close(fd), 0);
    struct errctx ctx = {0}; /* nobody reads: an error, not a wait for ever */
    assert_int_equal(env_file_write(in_folder("pipe"), STR("A=1\n"), &ctx), ERR_SYSTEM);
    assert_int_equal(unlink(in_folder("pipe")), 0);
}

static void test_unwritable_places_are_named(void **state)
{
    static const char *const names[] = {"no/such/env", "file/env", ".", ""};
    (void)state;
    put("file", "x", 0600);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct errctx ctx = {0};
        assert_int_equal(env_file_write(in_folder(names[i]), STR("A=1\n"), &ctx), ERR_SYSTEM);
        assert_non_null(strstr(ctx.text, path));
        assert_non_null(strstr(ctx.text, "--env-file"));
    }
    assert_int_equal(unlink(in_folder("file")), 0);
    assert_int_equal(entries(), 0);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_file),
        cmocka_unit_test(test_existing_file_is_replaced_whole),
        cmocka_unit_test(test_owner_stays),
        cmocka_unit_test(test_symbolic_link_is_followed_not_replaced),
        cmocka_unit_test(test_a_pipe_gets_the_text),
        cmocka_unit_test(test_unwritable_places_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
