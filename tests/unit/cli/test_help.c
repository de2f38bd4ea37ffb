#include "cli_unit.h"
#include "cli/help.h"
#include <stdio.h>

static struct buf text;

static bool shows(const char *what)
{
    return buf_holds(&text, what);
}

static int set_up(void **state)
{
    (void)state;
    buf_init(&text, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&text);
    return 0;
}

static void long_name(const struct option_row *row, char out[80], const char *dash)
{
    /* troff writes every '-' as "\-" */
    size_t n = 0;
    char plain[64];
    assert_true(snprintf(plain, sizeof(plain), "--%s", row->name) > 0);
    for (const char *c = plain; *c; c++) {
        const char *piece = *c == '-' ? dash : (char[]){*c, 0};
        size_t k = strlen(piece);
        assert_true(n + k < 80);
        memcpy(out + n, piece, k);
        n += k;
    }
    out[n] = 0;
}

static void test_proxy_help_has_every_option_variable_and_default(void **state)
{
    (void)state;
    help_command(&text, command_find(STR("proxy")));
    assert_true(buf_ok(&text));
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        char name[80], env[80];
        if (!(row->commands & IN_PROXY))
            continue;
        long_name(row, name, "-");
        assert_true(shows(name));
        if (row->env) {
            assert_true(snprintf(env, sizeof(env), "[env: %s]", row->env) > 0);
            assert_true(shows(env));
        }
    }
    assert_true(shows("[default: 127.0.0.1]"));
    assert_true(shows("[default: 10]"));
    assert_true(
        shows("head=30,handshake=10,dns=10,connect=30,response=600,idle=75,tunnel=3600,stall=60"));
    assert_false(shows("--allow-proxy")); /* aliases are hidden */
}

static void test_lines_fit(void **state)
{
    (void)state;
    for (size_t i = 0; command_at(i); i++)
        help_command(&text, command_at(i));
    help_group(&text, STR("profile"));
    help_main(&text);
    struct str rest = buf_str(&text), line;
    while (str_next(&rest, '\n', &line))
        assert_true(line.n <= 100);
}

/* Every command shows its own options and no other's, and the group all of its commands. */
static void test_help_of_every_command(void **state)
{
    (void)state;
    for (size_t i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);
        buf_reset(&text);
        help_command(&text, c);
        assert_true(shows(c->help));
        assert_true(shows(c->name));
        for (int id = 0; c->id != COMMAND_PROXY && id < OPTION_COUNT_; id++) {
            const struct option_row *row = option_row((enum option_id)id);
            char heading[80];
            assert_true(snprintf(heading, sizeof(heading), "      --%s%s%s\n", row->name,
                                 row->value ? " " : "", row->value ? row->value : "") > 0);
            if (!row->short_name)
                assert_int_equal(shows(heading),
                                 option_belongs(row, c) && !(row->flags & OPT_GLOBAL));
        }
    }
    buf_reset(&text);
    help_group(&text, STR("profile"));
    assert_true(shows("profile validate") && shows("profile test") && !shows("nono why"));
}

static void test_main_help(void **state)
{
    (void)state;
    help_main(&text);
    static const char *const parts[] = {"Usage: nono", "proxy",     "--silent", "--log-file",
                                        "--theme",     "--verbose", "--help",   "--version"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        assert_true(shows(parts[i]));
    assert_false(shows("--listen"));
    assert_false(shows("completion")); /* hidden */
}

static void test_version(void **state)
{
    (void)state;
    help_version(&text);
    assert_str(buf_str(&text), "nono " NONO_VERSION "\n");
}

static void test_manual_has_every_option(void **state)
{
    (void)state;
    help_man(&text);
    assert_true(buf_ok(&text));
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        char name[80];
        long_name(row, name, "\\-");
        assert_true(shows(name));
        if (row->env)
            assert_true(shows(row->env));
    }
    assert_true(shows(".TH NONO 1"));
}

/* docs/nono.1 is what `nono man` prints: run `build/nono man > docs/nono.1` after a change of
 * options.def. */
static void test_manual_page_is_up_to_date(void **state)
{
    static char page[1 << 16];
    (void)state;
    FILE *f = fopen(MANUAL_PAGE, "rb");
    assert_non_null(f);
    size_t n = fread(page, 1, sizeof(page), f);
    assert_int_equal(fclose(f), 0);
    help_man(&text);
    assert_true(str_eq(buf_str(&text), str_of(page, n)));
}

static void test_completions_list_every_option(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        buf_reset(&text);
        assert_true(help_completion(&text, str_from(shells[i])));
        assert_true(buf_ok(&text));
        for (int id = 0; id < OPTION_COUNT_; id++) {
            char name[80];
            assert_true(snprintf(name, sizeof(name), i == 2 ? "-l %s" : "--%s",
                                 option_row((enum option_id)id)->name) > 0);
            assert_true(shows(name));
        }
        assert_true(shows("proxy"));
        assert_true(shows("text json"));
        assert_true(shows("minimal developer"));
        for (size_t k = 0; command_at(k); k++) {
            const char *space = strchr(command_at(k)->name, ' ');
            assert_true(shows(space ? space + 1 : command_at(k)->name) || command_at(k)->hidden);
        }
    }
    buf_reset(&text);
    assert_false(help_completion(&text, STR("tcsh")));
    assert_int_equal(text.n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_proxy_help_has_every_option_variable_and_default),
        TEST(test_lines_fit),
        TEST(test_help_of_every_command),
        TEST(test_main_help),
        TEST(test_version),
        TEST(test_manual_has_every_option),
        TEST(test_manual_page_is_up_to_date),
        TEST(test_completions_list_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
