#include "../base/unit.h"
#include "cli/options.h"

static void test_names_are_found_whole(void **state)
{
    (void)state;
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        struct str name = str_from(row->name);
        assert_int_equal(row->id, id);
        assert_ptr_equal(option_find(name), row);
        assert_ptr_not_equal(option_find(str_of(name.p, name.n - 1)), row);
        if (row->short_name)
            assert_ptr_equal(option_find_short(row->short_name[1]), row);
    }
    for (const struct option_alias *a = option_aliases(); a->name; a++)
        assert_ptr_equal(option_find(str_from(a->name)), option_row(a->id));
    assert_null(option_find(STR("")));
    assert_null(option_find_short('-'));
    assert_null(option_find_short(0));
}

/* Decision O9: every option with a value has a variable, and no two share one. */
static void test_every_value_has_its_variable(void **state)
{
    (void)state;
    for (int i = 0; i < OPTION_COUNT_; i++) {
        const struct option_row *row = option_row((enum option_id)i);
        if (row->commands & IN_PROXY)
            assert_int_equal(row->value != NULL, row->env != NULL);
        assert_true(row->commands);
        assert_true(strlen(row->help) >= 10);
        for (int k = 0; row->env && k < i; k++) {
            const char *other = option_row((enum option_id)k)->env;
            assert_true(!other || strcmp(other, row->env));
        }
    }
}

static void test_variable_names(void **state)
{
    static const struct {
        enum option_id id;
        const char *env;
    } names[] = {
        {OPTION_PASS, "NONO_PROXY_PASS"},
        {OPTION_ALLOW_DOMAIN, "NONO_ALLOW_DOMAIN"},
        {OPTION_DENY_DOMAIN, "NONO_DENY_DOMAIN"},
        {OPTION_UPSTREAM_PROXY, "NONO_UPSTREAM_PROXY"},
        {OPTION_UPSTREAM_BYPASS, "NONO_UPSTREAM_BYPASS"},
        {OPTION_MAX_CONNECTIONS, "NONO_PROXY_MAX_CONNECTIONS"},
        {OPTION_LOG_FILE, "NONO_LOG_FILE"},
        {OPTION_THEME, "NONO_THEME"},
        {OPTION_LISTEN, "NONO_LISTEN"},
        {OPTION_PORT, "NONO_PORT"},
        {OPTION_WORKERS, "NONO_WORKERS"},
        {OPTION_AUDIT_LOG, "NONO_AUDIT_LOG"},
        {OPTION_SERVER_NAME, "NONO_SERVER_NAME"},
        {OPTION_DRAIN_TIMEOUT, "NONO_DRAIN_TIMEOUT"},
        {OPTION_TIMEOUT, "NONO_TIMEOUT"},
        {OPTION_OUTPUT, "NONO_OUTPUT"},
        {OPTION_ENV_FILE, "NONO_ENV_FILE"},
        {OPTION_LOG_FORMAT, "NONO_LOG_FORMAT"},
        {OPTION_PROFILE, "NONO_PROFILE"},
        {OPTION_EXTENDS, "NONO_EXTENDS"},
        {OPTION_NETWORK_PROFILE, "NONO_NETWORK_PROFILE"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_string_equal(option_row(names[i].id)->env, names[i].env);
}

/* Names are found whole; those of two words belong to a group with a line of help. */
static void test_commands(void **state)
{
    (void)state;
    for (size_t i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);
        struct str name = str_from(c->name);
        struct str first = str_of(name.p, str_find(name, ' '));
        assert_int_equal(c->id, i);
        assert_ptr_equal(command_find(name), c);
        assert_true(c->min_arguments <= c->max_arguments);
        assert_true(strlen(c->help) >= 10);
        assert_int_equal(first.n < name.n, command_group_help(first) != NULL);
        assert_int_equal(first.n < name.n, command_in_group(c, first));
    }
    assert_null(command_find(STR("profile")));
    assert_null(command_find(STR("profile sho")));
    assert_null(command_group_help(STR("proxy")));
    assert_non_null(command_group_help(STR("profile")));
    assert_true(option_belongs(option_row(OPTION_HELP), command_find(STR("profile list"))));
    assert_true(option_belongs(option_row(OPTION_PROFILE), command_find(STR("why"))));
    assert_false(option_belongs(option_row(OPTION_PORT), command_find(STR("why"))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_found_whole),
        cmocka_unit_test(test_every_value_has_its_variable),
        cmocka_unit_test(test_variable_names),
        cmocka_unit_test(test_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
