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
        assert_null(option_find(str_of(name.p, name.n - 1)));
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
        assert_int_equal(row->value != NULL, row->env != NULL);
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
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_string_equal(option_row(names[i].id)->env, names[i].env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_found_whole),
        cmocka_unit_test(test_every_value_has_its_variable),
        cmocka_unit_test(test_variable_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
