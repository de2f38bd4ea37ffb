#include "base/log.h"
#include "base/encode.h"
#include <stdarg.h>
#include <stdio.h>

enum { LOG_TEXT_BYTES = 2048, LOG_SITE_MS = 60000 };

static struct log_config log_to; /* written before the first thread starts */
static _Atomic int log_level_now;

void log_init(const struct log_config *config)
{
    log_to = *config;
    log_set_level(config->level);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed) &&
           level != LOG_OFF;
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"off", "error", "warn", "info", "debug", "trace"};
    return (unsigned)level < ARRAY_LEN(names) ? names[level] : "off";
}

static uint64_t now_ms(void)
{
    return log_to.wall_ms ? log_to.wall_ms() : 0;
}

bool log_site_due(struct log_site *site)
{
    uint64_t now = now_ms() + 1; /* 0 means that it never spoke */
    uint64_t last = atomic_load_explicit(&site->last_ms, memory_order_relaxed);
    if (last && now >= last && now - last < LOG_SITE_MS) /* a clock set back does not silence it */
        return false;
    return atomic_compare_exchange_strong(&site->last_ms, &last, now);
}

/* The day `days` after 1970-01-01 in the Gregorian calendar; years begin in March here, so that
 * leap days come last. */
static void civil_date(uint64_t days, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    uint64_t z = days + 719468, era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), month = (5 * doy + 2) / 153;
    *ret_day = (unsigned)(doy - (153 * month + 2) / 5 + 1);
    *ret_month = (unsigned)(month < 10 ? month + 3 : month - 9);
    *ret_year = (unsigned)(yoe + era * 400 + (*ret_month <= 2));
}

/* RFC 3339 in UTC with milliseconds. */
static void add_time(struct buf *out, uint64_t ms)
{
    unsigned year, month, day;
    unsigned of_day = (unsigned)(ms % 86400000);
    civil_date(ms / 86400000, &year, &month, &day);
    buf_printf(out, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year, month, day, of_day / 3600000,
               of_day / 60000 % 60, of_day / 1000 % 60, of_day % 1000);
}

static void format_json(struct buf *line, enum log_level level, struct str message)
{
    buf_add_z(line, "{\"timestamp\":\"");
    add_time(line, now_ms());
    buf_add_z(line, "\",\"level\":\"");
    buf_add_z(line, log_level_name(level));
    buf_add_z(line, "\",\"message\":");
    encode_json(line, message);
    buf_add_z(line, "}\n");
}

static void format_text(struct buf *line, enum log_level level, struct str message)
{
    static const char *const words[] = {"OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
    static const char *const colours[] = {"",         "\x1b[31m", "\x1b[33m",
                                          "\x1b[32m", "\x1b[34m", "\x1b[35m"};
    add_time(line, now_ms());
    buf_add_c(line, ' ');
    if (log_to.colour)
        buf_add_z(line, colours[level]);
    buf_add_z(line, words[level]);
    if (log_to.colour)
        buf_add_z(line, "\x1b[0m");
    buf_add_c(line, ' ');
    buf_add_str(line, message);
    buf_add_c(line, '\n');
}

/* A line that finds no memory is lost: a log cannot complain about itself. */
static void emit(enum log_level level, struct str text)
{
    struct buf message, line;
    buf_init(&message, 4 * LOG_TEXT_BYTES);
    buf_init(&line, 16 * LOG_TEXT_BYTES);
    encode_visible(&message, text);
    if (log_to.json)
        format_json(&line, level, buf_str(&message));
    else
        format_text(&line, level, buf_str(&message));
    if (buf_ok(&message) && buf_ok(&line))
        log_to.sink(log_to.sink_owner, line.p, line.n);
    buf_fini(&line);
    buf_fini(&message);
}

void log_write(enum log_level level, const char *format, ...)
{
    if (!log_enabled(level) || !log_to.sink)
        return;
    char text[LOG_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof(text)) {
        n = sizeof(text) - 1;
        memcpy(text + n - 3, "...", 3);
    }
    emit((unsigned)level <= LOG_TRACE ? level : LOG_TRACE, str_of(text, (size_t)n));
}
