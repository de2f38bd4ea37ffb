#include "../base/unit.h"
#include "cli/options.h"
#include "cli/suggest.h"
#include "config/nearest.h"

static void test_distance(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned distance;
    } cases[] = {
        {"", "", 0},
        {"a", "", 1},
        {"", "abc", 3},
        {"abc", "abc", 0},
        {"abc", "ABC", 0},
        {"abc", "axc", 1},
        {"abc", "acb", 1},
        {"abc", "ab", 1},
        {"ca", "abc", 3},
        {"kitten", "sitting", 3},
        {"abcdef", "uvwxyz", 6},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str a = str_from(cases[i].a), b = str_from(cases[i].b);
        assert_int_equal(nearest_distance(a, b, 9), cases[i].distance);
        assert_int_equal(nearest_distance(b, a, 9), cases[i].distance);
    }
    assert_int_equal(nearest_distance(STR("abcdef"), STR("uvwxyz"), 2), 3);
    char word[41];
    memset(word, 'a', sizeof(word));
    assert_int_equal(nearest_distance(str_of(word, 40), str_of(word, 40), 2), 0);
    assert_int_equal(nearest_distance(str_of(word, 41), str_of(word, 41), 2), 3);
}

static void test_options(void **state)
{
    static const struct {
        const char *wrong, *right;
    } cases[] = {
        {"alow-domain", "allow-domain"},
        {"denydomain", "deny-domain"},
        {"max-connection", "max-connections"},
        {"noauth", "no-auth"},
        {"upstream-prox", "upstream-proxy"},
        {"allow-dom", "allow-domain"},
        {"allow_domain", "allow-domain"},
        {"Port", "port"},
        {"prot", "port"},
        {"pas", "pass"},
        {"allow-proxi", "allow-domain"},
        {"audit", "audit-log"},
        {"no-such-option", NULL},
        {"zzz", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = suggest_option(str_from(cases[i].wrong), command_find(STR("proxy")));
        if (cases[i].right ? !got || strcmp(got, cases[i].right) : got != NULL)
            fail_msg("%s: %s", cases[i].wrong, got ? got : "nothing");
    }
}

static void test_commands_and_timeouts(void **state)
{
    (void)state;
    assert_string_equal(suggest_command(STR("prox")), "proxy");
    assert_string_equal(suggest_command(STR("porxy")), "proxy");
    assert_null(suggest_command(STR("serve")));
    assert_string_equal(suggest_timeout(STR("conect")), "connect");
    assert_string_equal(suggest_timeout(STR("tunel")), "tunnel");
    assert_null(suggest_timeout(STR("zzzzzz")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_commands_and_timeouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
