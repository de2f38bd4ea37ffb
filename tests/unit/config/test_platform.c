#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "config/platform_int.h"

static const struct platform ubuntu = {.os = "linux", .id = "ubuntu", .id_like = "debian foo",
    .version_id = "22.04", .variant_id = "server"};
static const struct platform rolling = {.os = "linux", .id = "arch"};
static const struct platform mac = {.os = "macos", .macos_version = "14.5.1"};

static const struct {
    const struct platform *on;
    const char *predicate;
    bool holds;
} good[] = {
    {&ubuntu, "linux", true}, {&ubuntu, "!linux", false}, {&ubuntu, "macos", false},
    {&ubuntu, "!macos", true}, {&ubuntu, "windows", false}, {&ubuntu, "freebsd", false},
    {&ubuntu, "!freebsd", true}, {&ubuntu, "Linux", false},
    {&ubuntu, "linux:ubuntu", true}, {&ubuntu, "!linux:ubuntu", false}, {&ubuntu, "linux:debian", false},
    {&ubuntu, "linux:debian-like", true}, {&ubuntu, "linux:ubuntu-like", true},
    {&ubuntu, "linux:foo-like", true}, {&ubuntu, "linux:fo-like", false},
    {&ubuntu, "linux:ubuntu:22.04", true}, {&ubuntu, "linux:ubuntu:==22.04", true},
    {&ubuntu, "linux:ubuntu:22.4", true}, {&ubuntu, "linux:ubuntu:22", false},
    {&ubuntu, "linux:ubuntu:>=22.04", true}, {&ubuntu, "linux:ubuntu:>22.04", false},
    {&ubuntu, "linux:ubuntu:<=22.04", true}, {&ubuntu, "linux:ubuntu:<22.10", true},
    {&ubuntu, "linux:ubuntu:>22", true}, {&ubuntu, "linux:ubuntu:>=9.10", true},
    {&ubuntu, "linux:ubuntu:<22.04.1", true}, {&ubuntu, "linux:ubuntu:<x", true},
    {&ubuntu, "linux:ubuntu:>x", false}, {&ubuntu, "linux:ubuntu:22.04:server", true},
    {&ubuntu, "linux:ubuntu:22.04:desktop", false},
    {&rolling, "linux:arch", true}, {&rolling, "linux:arch:>=1", false}, {&rolling, "linux:arch:<1", false},
    {&rolling, "!linux:arch:<1", true}, {&rolling, "linux:-like", false},
    {&mac, "macos", true}, {&mac, "macos:>=14", true}, {&mac, "macos:14.5.1", true},
    {&mac, "macos:<14.6", true}, {&mac, "macos:>15", false}, {&mac, "linux", false},
    {&ubuntu, "windows:>=10:19045", false}, {&ubuntu, "a.b_c-1", false},
};
static const struct {
    const char *predicate, *says;
} bad[] = {
    {"", "empty"}, {"!", "empty"}, {"!!linux", "letters"}, {"linux:", "empty"}, {":linux", "empty"},
    {"linux::x", "empty"}, {"linux:ubuntu:22.04:server:x", "too many"}, {"macos:1:2", "too many"},
    {"windows:1:2:3", "too many"}, {"linux:ubuntu:>=", "empty"}, {"linux:>=22", "letters"},
    {"linux ", "letters"}, {"linux:a b", "letters"}, {"linux:ubuntu:=22", "letters"},
    {"linux:!ubuntu", "letters"}, {"linux,macos", "letters"},
};

static void test_predicates(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        struct errctx ctx = {0};
        bool holds = !good[i].holds;
        if (!platform_when(good[i].on, str_from(good[i].predicate), &holds, &ctx) || holds != good[i].holds)
            fail_msg("%s: %d %s", good[i].predicate, holds, ctx.text);
    }
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct errctx ctx = {0};
        bool holds;
        if (platform_when(&ubuntu, str_from(bad[i].predicate), &holds, &ctx) ||
            !strstr(ctx.text, bad[i].says))
            fail_msg("%s: %s", bad[i].predicate, ctx.text);
    }
}

static void test_os_release(void **state)
{
    (void)state;
    struct platform p = {0};
    platform_os_release(&p, STR("NAME=x\nID=debian\nID_LIKE=\"a b\"\n# c\nVERSION_ID='12'\r\nnonsense\n"
                                "VARIANT_ID=\nVARIANT=\"\nPRETTY_ID=no"));
    assert_string_equal(p.id, "debian");
    assert_string_equal(p.id_like, "a b");
    assert_string_equal(p.version_id, "12");
    assert_string_equal(p.variant_id, "");
    platform_os_release(&p, STR("ID=\"half\nVERSION_ID=\"\""));
    assert_string_equal(p.id, "\"half"); /* quotes go in pairs */
    assert_string_equal(p.version_id, "");
    platform_read(&p);
    assert_true(p.os[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_predicates), cmocka_unit_test(test_os_release)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
