/* What the operator asked for, each value with its origin. Flags and environment fill it; profiles will. Plain data, owned. */
#pragma once
#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/str.h"

/* A text value and where it came from ("--allow-domain", "NONO_ALLOW_DOMAIN"; later FILE:LINE:COLUMN). Both owned, NUL after them. */
struct setting {
    struct str value;
    struct str origin;
};
struct settings {
    struct setting *v;
    size_t n, cap;
};
bool settings_add(struct settings *s, struct str value, struct str origin) MUST_CHECK; /* copies */
void settings_fini(struct settings *s);
/* The same for one that stands alone; what it held goes. */
bool setting_set(struct setting *s, struct str value, struct str origin) MUST_CHECK;

enum timeout_name {
    TIMEOUT_HEAD, TIMEOUT_HANDSHAKE, TIMEOUT_DNS, TIMEOUT_CONNECT, TIMEOUT_RESPONSE, TIMEOUT_IDLE, TIMEOUT_TUNNEL, TIMEOUT_STALL,
    TIMEOUT_COUNT_
};
/* Name as in --timeout NAME=SECONDS; NULL past the end. */
const char *timeout_name(enum timeout_name t);
bool timeout_find(struct str name, enum timeout_name *ret_timeout) MUST_CHECK;

struct config {
    struct settings listen;       /* texts as given; empty: 127.0.0.1 */
    struct settings server_names;
    uint16_t port;                /* for TCP listeners that name none */
    bool no_auth;
    struct secret *pass;          /* NULL: random token */
    struct settings allow, deny, bypass;
    struct setting upstream_proxy; /* value.p NULL: none */
    bool max_connections_given;
    uint64_t max_connections;     /* 0: unlimited; not given: (descriptor limit - 512) / 2 */
    uint64_t drain_timeout_ms;
    struct settings audit_log;    /* PATH, "-", "fd:N" */
    bool audit_fail_closed;
    uint64_t timeout_ms[TIMEOUT_COUNT_];
    bool output_json;
    struct setting env_file;
    bool log_json;
    struct setting log_file;
    enum log_level log_level;
    bool silent;
    unsigned workers;             /* 0: usable cores */
};
void config_init(struct config *c); /* defaults */
void config_fini(struct config *c);
/* Fingerprint of the settings (never of a secret), the same for the same settings in every run: audit's start and reload. */
uint64_t config_hash(const struct config *c);
/* What contradicts itself: --no-auth with --pass or with a listener that others reach, a bypass list without upstream proxy.
 * ERR_INVALID with a sentence naming both. runtime_new asks too; the command line asks first, before anything is bound. */
enum err config_check(const struct config *c, struct errctx *ctx) MUST_CHECK;

/* A listen address, parsed. */
struct listen_spec {
    bool is_unix;
    struct str path;      /* unix: owned by the config text */
    unsigned mode;        /* default 0660 */
    struct str owner, group; /* empty: unchanged */
    uint8_t family;       /* tcp: ADDRESS_V4 or ADDRESS_V6 */
    uint8_t bytes[16];
    uint16_t port;        /* 0: config port */
    bool port_given;
};
/* "ADDR", "ADDR:PORT", "[v6]", "[v6]:PORT", bare v6, "unix:PATH[,mode=0660][,owner=USER][,group=GROUP]". ERR_INVALID with a sentence. */
enum err listen_parse(struct str text, struct listen_spec *ret_spec, struct errctx *ctx) MUST_CHECK;
