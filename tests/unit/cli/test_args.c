#include "cli_unit.h"
#include <stdio.h>

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

struct parsed {
    struct line line;
    struct args args;
    struct buf error;
    bool ok;
};

static void parse(struct parsed *p, const char *const *words)
{
    line_set(&p->line, words);
    buf_init(&p->error, 4096);
    p->ok = args_parse(p->line.argc, p->line.argv, &p->args, &p->error);
}

static void drop(struct parsed *p)
{
    args_fini(&p->args);
    buf_fini(&p->error);
    line_free(&p->line);
}

struct good {
    const char *const *words;
    enum option_id id;
    const char *spelling, *value;
    unsigned count;
};

static void test_spellings(void **state)
{
    const struct good cases[] = {
        {WORDS("proxy", "--port", "80"), OPTION_PORT, "--port", "80", 1},
        {WORDS("proxy", "--port=80"), OPTION_PORT, "--port", "80", 1},
        {WORDS("proxy", "--pass=a=b"), OPTION_PASS, "--pass", "a=b", 1},
        {WORDS("proxy", "--pass=--x"), OPTION_PASS, "--pass", "--x", 1},
        {WORDS("proxy", "--pass="), OPTION_PASS, "--pass", "", 1},
        {WORDS("proxy", "--pass", ""), OPTION_PASS, "--pass", "", 1},
        {WORDS("proxy", "--audit-log", "-"), OPTION_AUDIT_LOG, "--audit-log", "-", 1},
        {WORDS("proxy", "--allow-domain", "a", "--allow-domain=b"), OPTION_ALLOW_DOMAIN,
         "--allow-domain", "a", 2},
        {WORDS("proxy", "--allow-proxy", "a", "--proxy-allow=b"), OPTION_ALLOW_DOMAIN,
         "--allow-proxy", "a", 2},
        {WORDS("proxy", "--external-proxy", "p:1"), OPTION_UPSTREAM_PROXY, "--external-proxy",
         "p:1", 1},
        {WORDS("proxy", "--external-proxy-bypass=x"), OPTION_UPSTREAM_BYPASS,
         "--external-proxy-bypass", "x", 1},
        {WORDS("proxy", "-v"), OPTION_VERBOSE, "-v", NULL, 1},
        {WORDS("proxy", "-vv"), OPTION_VERBOSE, "-v", NULL, 2},
        {WORDS("-v", "proxy", "-v", "--verbose"), OPTION_VERBOSE, "-v", NULL, 3},
        {WORDS("proxy", "-vvs"), OPTION_SILENT, "-s", NULL, 1},
        {WORDS("--silent", "proxy"), OPTION_SILENT, "--silent", NULL, 1},
        {WORDS("--log-file", "f", "proxy"), OPTION_LOG_FILE, "--log-file", "f", 1},
        {WORDS("proxy", "--theme=latte"), OPTION_THEME, "--theme", "latte", 1},
        {WORDS("proxy", "--no-auth", "--"), OPTION_NO_AUTH, "--no-auth", NULL, 1},
        {WORDS("proxy", "--log-file", "\xff"), OPTION_LOG_FILE, "--log-file", "\xff", 1},
        {WORDS("proxy", "--env-file=\xff"), OPTION_ENV_FILE, "--env-file", "\xff", 1},
        {WORDS("proxy", "--pass", "p\xc3\xa9"), OPTION_PASS, "--pass", "p\xc3\xa9", 1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct parsed p;
        parse(&p, cases[i].words);
        if (!p.ok)
            fail_msg("case %zu: %.*s", i, STR_ARG(buf_str(&p.error)));
        assert_string_equal(p.args.command->name, "proxy");
        assert_int_equal(args_count(&p.args, cases[i].id), cases[i].count);
        const struct arg *a = args_first(&p.args, cases[i].id);
        assert_true(str_eq(a->spelling, str_from(cases[i].spelling)));
        if (cases[i].value)
            assert_string_equal(a->value, cases[i].value);
        else
            assert_null(a->value);
        drop(&p);
    }
}

struct bad {
    const char *const *words;
    const char *says, *more;
};

static void test_mistakes(void **state)
{
    const struct bad cases[] = {
        {WORDS("proxy", "--no-such-option"), "unknown option '--no-such-option'", ""},
        {WORDS("proxy", "--no-such-option=secret"), "unknown option '--no-such-option'", ""},
        {WORDS("proxy", "-Z"), "unknown option '-Z'", ""},
        {WORDS("proxy", "-vZ"), "unknown option '-Z'", ""},
        {WORDS("proxy", "-s=yes"), "unknown option '-='", ""},
        {WORDS("proxy", "extra"), "unexpected argument 'extra'", "options only"},
        {WORDS("proxy", "--", "extra"), "unexpected argument 'extra'", ""},
        {WORDS("proxy", "--", "--port"), "unexpected argument '--port'", ""},
        {WORDS("proxy", "-"), "unexpected argument '-'", ""},
        {WORDS("proxy", ""), "unexpected argument ''", ""},
        {WORDS("--", "proxy", "extra"), "unexpected argument 'extra'", ""},
        {WORDS("proxy", "--allow-dom", "x"), "unknown option '--allow-dom'",
         "did you mean --allow-domain?"},
        {WORDS("proxy", "--alow-domain", "x"), "unknown", "did you mean --allow-domain?"},
        {WORDS("proxy", "--noauth"), "unknown", "did you mean --no-auth?"},
        {WORDS("proxy", "--external-prox", "x"), "unknown", "did you mean --upstream-proxy?"},
        {WORDS("proxy", "--port"), "--port needs a value", "--port PORT"},
        {WORDS("proxy", "--allow-domain", "--port"), "--allow-domain needs a value", "="},
        {WORDS("proxy", "--port", "-1"), "--port needs a value", "--port=PORT"},
        {WORDS("proxy", "--pass", "--"), "--pass needs a value", "--pass=PASSWORD"},
        {WORDS("proxy", "--port="), "--port is given an empty value", ""},
        {WORDS("proxy", "--allow-domain", ""), "--allow-domain is given an empty value", ""},
        {WORDS("proxy", "--upstream-proxy="), "--upstream-proxy is given an empty value", ""},
        {WORDS("proxy", "--log-file="), "--log-file is given an empty value", ""},
        {WORDS("proxy", "--port", "0", "--port", "0"), "--port is given twice", ""},
        {WORDS("proxy", "--upstream-proxy=a:1", "--external-proxy=b:1"),
         "--external-proxy means the same as --upstream-proxy", "given twice"},
        {WORDS("proxy", "-s", "-s"), "-s is given twice", ""},
        {WORDS("-s", "proxy", "--silent"), "--silent means the same as -s", ""},
        {WORDS("proxy", "--no-auth", "--no-auth"), "--no-auth is given twice", ""},
        {WORDS("proxy", "--no-auth=yes"), "--no-auth is a switch", ""},
        {WORDS("proxy", "--silent="), "--silent is a switch", ""},
        {WORDS("--port", "1", "proxy"), "--port belongs behind the subcommand", "'nono proxy'"},
        {WORDS("man", "--port", "1"), "--port is an option of 'nono proxy' only", ""},
        {WORDS("why", "--port", "1"), "--port is an option of 'nono proxy' only", ""},
        {WORDS("proxy", "--host", "x"), "--host is an option of 'nono why' only", ""},
        {WORDS("profile", "list", "--json"), "--json is an option of 'nono why'",
         "'nono profile validate', 'nono profile show' only"},
        {WORDS("--host", "x", "why"), "--host belongs behind the subcommand: 'nono why'", ""},
        {WORDS("profile", "foo"), "unknown command 'profile foo'", ""},
        {WORDS("profile", "valdate", "x"), "unknown command",
         "did you mean 'nono profile validate'?"},
        {WORDS("profile", "validate"), "an argument is missing", "NAME_OR_PATH..."},
        {WORDS("profile", "diff", "a"), "an argument is missing: nono profile diff", ""},
        {WORDS("profile", "diff", "a", "b", "c"), "unexpected argument 'c'", "takes two"},
        {WORDS("profile", "show", "a", "b"), "unexpected argument 'b'", "takes one"},
        {WORDS("profile", "list", "a"), "unexpected argument 'a'", "options only"},
        {WORDS("completion"), "an argument is missing", "bash|zsh|fish"},
        {WORDS("why", "--hots", "x"), "unknown option '--hots'", "did you mean --host?"},
        {WORDS("prox"), "unknown command 'prox'", "did you mean 'nono proxy'?"},
        {WORDS("serve"), "unknown command 'serve'", "nono help"},
        {WORDS("completion", "bash", "zsh"), "unexpected argument 'zsh'", "takes one"},
        {WORDS("proxy", "--allow-domain", "\xff"), "--allow-domain: the value is not valid UTF-8",
         ""},
        {WORDS("proxy", "--allow-domain=\xc0\x80"), "not valid UTF-8", ""},
        {WORDS("proxy", "--\xff"), "'--\\xff'", "not valid UTF-8"},
        {WORDS("\xff"), "not valid UTF-8", ""},
        {WORDS("proxy", "-\xff"), "not valid UTF-8", ""},
        {WORDS("proxy", "--x\x1b[2J"), "'--x\\x1b[2J'", ""},
        {WORDS("proxy", "--no-such", "--help"), "unknown option", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct parsed p;
        parse(&p, cases[i].words);
        if (p.ok)
            fail_msg("case %zu is accepted", i);
        if (!buf_holds(&p.error, cases[i].says) ||
            (*cases[i].more && !buf_holds(&p.error, cases[i].more)))
            fail_msg("case %zu says: %.*s", i, STR_ARG(buf_str(&p.error)));
        assert_false(buf_holds(&p.error, "secret"));
        drop(&p);
    }
}

/* An option of `nono profile …` alone. */
static void check_profile_option(const struct option_row *row, const char *name)
{
    const char *sub = row->commands & IN_SHOW ? "show" : "validate";
    struct parsed p;
    parse(&p, WORDS("profile", sub, "x", name));
    assert_true(p.ok);
    assert_int_equal(args_count(&p.args, row->id), 1);
    drop(&p);
    parse(&p, WORDS("profile", sub, "x", name, name));
    assert_false(p.ok);
    drop(&p);
}

/* Every option by its long name: a value where it takes one, none where it does not, twice only
 * where it may. */
static void test_every_row(void **state)
{
    (void)state;
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct option_row *row = option_row((enum option_id)id);
        char name[64];
        struct parsed p;
        if (id == OPTION_HELP || id == OPTION_VERSION)
            continue;
        assert_true(snprintf(name, sizeof(name), "--%s%s", row->name, row->value ? "=v" : "") > 0);
        const char *command = row->commands & IN_PROXY ? "proxy"
                              : row->commands & IN_WHY ? "why"
                                                       : NULL;
        if (!command) {
            check_profile_option(row, name);
            continue;
        }
        parse(&p, WORDS(command, name));
        assert_true(p.ok);
        assert_int_equal(args_count(&p.args, (enum option_id)id), 1);
        drop(&p);
        parse(&p, WORDS(command, name, name));
        assert_int_equal(p.ok, (row->flags & (OPT_MULTI | OPT_COUNT)) != 0);
        drop(&p);
        parse(&p, WORDS(name, command));
        assert_int_equal(p.ok, (row->flags & OPT_GLOBAL) != 0);
        drop(&p);
        assert_true(snprintf(name, sizeof(name), "--%s%s", row->name, row->value ? "" : "=v") > 0);
        parse(&p, WORDS(command, name));
        assert_false(p.ok);
        drop(&p);
    }
}

/* The words behind the subcommand, in order, options between them. */
static void test_words(void **state)
{
    struct parsed p;
    (void)state;
    parse(&p, WORDS("-s", "profile", "validate", "a", "--json", "b", "--", "-c"));
    assert_true(p.ok);
    assert_int_equal(p.args.command->id, COMMAND_VALIDATE);
    assert_int_equal(p.args.n_words, 3);
    assert_string_equal(p.args.words[0], "a");
    assert_string_equal(p.args.words[1], "b");
    assert_string_equal(p.args.words[2], "-c");
    drop(&p);
    parse(&p, WORDS("why", "--host", "-"));
    assert_true(p.ok);
    assert_string_equal(args_first(&p.args, OPTION_HOST)->value, "-");
    drop(&p);
    parse(&p, WORDS("profile"));
    assert_true(p.ok);
    assert_null(p.args.command);
    assert_str(p.args.group, "profile");
    drop(&p);
    parse(&p, WORDS("proxy", "-pdev", "--extends", "a", "--extends=b"));
    assert_true(p.ok);
    assert_string_equal(args_first(&p.args, OPTION_PROFILE)->value, "dev");
    assert_int_equal(args_count(&p.args, OPTION_EXTENDS), 2);
    drop(&p);
}

static void test_help_and_version_end_the_line(void **state)
{
    const struct {
        const char *const *words;
        bool help, version;
        const char *command;
    } cases[] = {
        {WORDS("--help"), true, false, NULL},
        {WORDS("-h"), true, false, NULL},
        {WORDS("proxy", "-h"), true, false, "proxy"},
        {WORDS("proxy", "--help", "--no-such"), true, false, "proxy"},
        {WORDS("-V"), false, true, NULL},
        {WORDS("proxy", "--version", "extra"), false, true, "proxy"},
        {WORDS("proxy", "--port", "0", "-V"), false, true, "proxy"},
        {WORDS("help"), false, false, "help"},
        {WORDS("help", "proxy"), false, false, "help"},
        {WORDS("help", "profile", "show"), false, false, "help"},
        {WORDS("profile", "show", "-h"), true, false, "profile show"},
        {WORDS("profile", "--help"), true, false, NULL},
        {WORDS("profile", "-V"), false, true, NULL},
        {WORDS("man"), false, false, "man"},
        {WORDS("completion", "bash"), false, false, "completion"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct parsed p;
        parse(&p, cases[i].words);
        assert_true(p.ok);
        assert_int_equal(p.args.help, cases[i].help);
        assert_int_equal(p.args.version, cases[i].version);
        if (cases[i].command)
            assert_string_equal(p.args.command->name, cases[i].command);
        else
            assert_null(p.args.command);
        drop(&p);
    }
}

static void test_nothing(void **state)
{
    struct parsed p;
    (void)state;
    parse(&p, (const char *const[]){NULL});
    assert_true(p.ok);
    assert_null(p.args.command);
    drop(&p);
    p.ok = args_parse(0, NULL, &p.args, &p.error); /* execve without even a name */
    assert_true(p.ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_every_row), cmocka_unit_test(test_help_and_version_end_the_line),
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
