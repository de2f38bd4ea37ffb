#include "unit.h"
#include "base/log.h"
#include <stdio.h>

static char seen[40000];
static size_t seen_n, lines;
static uint64_t now;

static void sink(void *owner, const char *line, size_t n)
{
    assert_ptr_equal(owner, seen);
    assert_true(n < sizeof(seen) && line[n - 1] == '\n');
    memcpy(seen, line, n);
    seen_n = n;
    lines++;
}

static uint64_t wall(void)
{
    return now;
}

static void begin(enum log_level level, bool json, bool colour)
{
    log_init(&(struct log_config){level, json, colour, sink, seen, wall});
    now = 1795532645123;
    lines = 0;
    seen_n = 0;
}

static void test_format(void **state)
{
    (void)state;
    begin(LOG_WARN, false, false);
    log_error("x=%d %s", 5, "\x1b\n\xc3\xa9");
    assert_str(str_of(seen, seen_n), "2026-11-24T15:04:05.123Z ERROR x=5 \\x1b\\x0a\\xc3\\xa9\n");
    begin(LOG_WARN, false, true);
    log_write(LOG_WARN, "x");
    assert_str(str_of(seen, seen_n), "2026-11-24T15:04:05.123Z \x1b[33mWARN\x1b[0m x\n");
    begin(LOG_TRACE, true, true);
    log_trace("say \"%s\"", "\n");
    assert_str(str_of(seen, seen_n),
               "{\"timestamp\":\"2026-11-24T15:04:05.123Z\",\"level\":\"trace\","
               "\"message\":\"say \\\"\\\\x0a\\\"\"}\n");
}

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        uint64_t ms;
        const char *text;
    } t[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1735689599000, "2024-12-31T23:59:59.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        begin(LOG_WARN, false, false);
        now = t[i].ms;
        log_error("x");
        assert_memory_equal(seen, t[i].text, 24);
    }
}

static void test_levels(void **state)
{
    (void)state;
    begin(LOG_WARN, false, false);
    log_info("no");
    log_debug("no");
    log_write(LOG_INFO, "no");
    assert_int_equal(lines, 0);
    assert_true(log_enabled(LOG_ERROR) && log_enabled(LOG_WARN) && !log_enabled(LOG_INFO));
    log_set_level(LOG_DEBUG);
    log_info("yes");
    log_debug("yes");
    log_trace("no");
    assert_int_equal(lines, 2);
    log_set_level(LOG_OFF);
    log_error("no");
    assert_false(log_enabled(LOG_OFF));
    assert_int_equal(lines, 2);
    assert_string_equal(log_level_name(LOG_WARN), "warn");
}

static void warn_here(void)
{
    log_warn("again");
}

static void test_once_a_minute(void **state)
{
    (void)state;
    begin(LOG_WARN, false, false);
    warn_here();
    warn_here();
    log_warn("another site");
    assert_int_equal(lines, 2);
    now += 59999;
    warn_here();
    assert_int_equal(lines, 2);
    now += 1;
    warn_here();
    assert_int_equal(lines, 3);
    now -= 3600000; /* a clock set back does not silence it */
    warn_here();
    assert_int_equal(lines, 4);
}

static void test_long(void **state)
{
    (void)state;
    for (int json = 0; json < 2; json++) {
        begin(LOG_WARN, json, false);
        log_error("%*s", 5000, "\xff");
        assert_int_equal(lines, 1);
        assert_true(strstr(seen, "...") != NULL && seen_n < 2200);
        char high[3000];
        memset(high, json ? '\\' : 0xff, sizeof(high) - 1);
        high[2999] = 0;
        log_error("%s", high);
        assert_int_equal(lines, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_format), cmocka_unit_test(test_dates),
                                       cmocka_unit_test(test_levels), cmocka_unit_test(test_long),
                                       cmocka_unit_test(test_once_a_minute)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
