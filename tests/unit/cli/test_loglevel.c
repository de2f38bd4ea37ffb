#include "../base/unit.h"
#include "cli/loglevel.h"

static void test_words(void **state)
{
    static const char *const words[] = {"off", "error", "warn", "info", "debug", "trace"};
    enum log_level l = LOG_OFF;
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        assert_true(loglevel_word(str_from(words[i]), &l));
        assert_int_equal(l, i);
    }
    assert_true(loglevel_word(STR("DeBuG"), &l));
    assert_int_equal(l, LOG_DEBUG);
    assert_false(loglevel_word(STR("loud"), &l));
    assert_false(loglevel_word(STR(""), &l));
    assert_int_equal(l, LOG_DEBUG);
}

static void test_directives(void **state)
{
    static const struct {
        const char *text;
        enum log_level level; /* LOG_WARN before */
    } cases[] = {
        {"debug", LOG_DEBUG},
        {"error", LOG_ERROR},
        {"off", LOG_OFF},
        {"warn,nono_proxy=debug", LOG_DEBUG},
        {"nono_proxy=debug,warn", LOG_DEBUG},
        {"trace,nono_proxy=info", LOG_TRACE},
        {"nono_proxy::server=trace", LOG_TRACE},
        {"nono=info", LOG_INFO},
        {" nono_cli = info ", LOG_INFO},
        {"nono_proxy", LOG_TRACE},
        {"nono_proxies=trace", LOG_WARN},
        {"hyper=trace", LOG_WARN},
        {"hyper", LOG_WARN},
        {"hyper=trace,error", LOG_ERROR},
        {"nono_proxy=loud", LOG_WARN},
        {"", LOG_WARN},
        {",,", LOG_WARN},
        {"=debug", LOG_WARN},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum log_level l = LOG_WARN;
        loglevel_directives(str_from(cases[i].text), &l);
        if (l != cases[i].level)
            fail_msg("'%s' gives %d", cases[i].text, l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_directives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
