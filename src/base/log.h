/* The debug log. Lines go to one process-wide sink that main hands in; each is one call of the sink. Never secrets; bytes of a peer
 * are escaped here (controls and non-ASCII as \xNN). Any thread. At the default level (warn) nothing that one client did is logged. */
#pragma once
#include "base/attr.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* The last moment one call site spoke: warnings come at most once a minute from each. */
struct log_site {
    _Atomic uint64_t last_ms;
};

/* Receives one complete line, newline included; must not block. */
typedef void log_sink_fn(void *owner, const char *line, size_t n);

struct log_config {
    enum log_level level;
    bool json;   /* one JSON object per line: timestamp, level, message */
    bool colour; /* only for text */
    log_sink_fn *sink;
    void *sink_owner;
    uint64_t (*wall_ms)(void); /* the clock, handed in because base/ has none */
};

/* Before the first thread starts; the level may be changed later from control (log_set_level). */
void log_init(const struct log_config *config) NONNULL(1);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
/* False when this site spoke within the last minute. */
bool log_site_due(struct log_site *site) NONNULL(1);
const char *log_level_name(enum log_level level);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_info(...) (log_enabled(LOG_INFO) ? log_write(LOG_INFO, __VA_ARGS__) : (void)0)
#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, __VA_ARGS__) : (void)0)
#define log_trace(...) (log_enabled(LOG_TRACE) ? log_write(LOG_TRACE, __VA_ARGS__) : (void)0)
/* Warnings concern the gateway's own state, at most once a minute each. */
#define log_warn(...)                                                                                                                  \
    do {                                                                                                                               \
        static struct log_site site_here_;                                                                                             \
        if (log_enabled(LOG_WARN) && log_site_due(&site_here_))                                                                        \
            log_write(LOG_WARN, __VA_ARGS__);                                                                                          \
    } while (0)
