/* What the operator asked for, each value with its origin. Flags and environment fill the first half; config_resolve copies them and puts
 * the profile under them, which fills the second. Plain data, owned. */
#pragma once
#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/str.h"
#include "config/service.h"

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

/* network.tls_intercept */
struct tls_intercept_conf {
    bool given;
    bool trusted;                      /* ca_lifecycle "trusted" */
    struct str trusted_origin;
    uint64_t ca_validity_s, leaf_validity_s; /* 0: not given */
    struct settings ca_env_vars;
};

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
    struct setting profile;       /* name or path; value.p NULL: none */
    struct settings extends;      /* names and paths in front of the profile's own */
    struct setting network_profile; /* value.p NULL: none. A flag beats the profile */
    struct settings credentials;  /* services asked for: the network profile's, the profile's, then flags */
    struct settings endpoints;    /* SERVICE:METHOD:PATH, appended to the rules of services */
    bool allow_http2;             /* flag or profile */
    bool timeout_given[TIMEOUT_COUNT_]; /* by --timeout: beats network.timeouts */

    /* --- what only a profile says. Texts and arrays belong to the pool (config_text, config_alloc) --- */
    struct str profile_file;      /* path of the root file or "built-in:NAME"; p NULL: no profile */
    bool block;                   /* network.block: an empty allowlist denies all */
    struct settings no_proxy;
    struct gate_confs gates;      /* in order, not yet added up by host */
    struct service_confs services; /* custom and built-in, whether enabled or not */
    struct later_route_confs later_routes; /* credential_routes (decision K13) */
    struct approval_confs approvals;
    struct str approval_backend;  /* approval_defaults */
    uint64_t approval_timeout_ms; /* approval_defaults; 0: not given */
    struct capture_confs captures;
    struct str *env_sources;      /* variables that some env:// reference of the profile names, whatever will use it */
    size_t n_env_sources;
    struct tls_intercept_conf tls_intercept;
    bool max_body_given;
    uint64_t max_body_bytes;      /* 0: unlimited */
    bool endpoint_glob_path;      /* network.endpoint_glob "path" (decision E1) */
    struct config_block *pool_;
};
void config_init(struct config *c); /* defaults */
void config_fini(struct config *c);
/* An independent copy of what flags and environment set (the second half stays empty). */
bool config_copy(const struct config *c, struct config *ret_copy) MUST_CHECK;
/* Memory that lives as long as the config, zeroed; and a text in it, with a NUL behind. NULL (p NULL): out of memory. */
void *config_alloc(struct config *c, size_t n) MUST_CHECK;
struct str config_text(struct config *c, struct str s) MUST_CHECK;
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
