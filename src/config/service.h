/* What a profile says of credentials and endpoint rules, as plain immutable data. Texts are owned by the config (config_text). */
#pragma once
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* {method, path} with where it stands. */
struct endpoint_conf {
    struct str method, path;
    struct str backend, reason;  /* approve rules; empty: none */
    uint64_t timeout_ms;         /* approve rules; 0: not given */
    bool timeout_given;
    struct str origin;           /* FILE:LINE:COLUMN, "--allow-endpoint", "--allow-domain" */
};
struct endpoint_confs {
    struct endpoint_conf *v;
    size_t n, cap;
};
enum endpoint_decision { ENDPOINT_DENY, ENDPOINT_APPROVE, ENDPOINT_ALLOW };
struct endpoint_policy_conf {
    bool given;
    enum endpoint_decision fallback;  /* "default" */
    struct str backend;               /* of the default */
    uint64_t timeout_ms;
    bool timeout_given;
    struct endpoint_confs deny, approve, allow;
    struct str origin;
};

/* An allow entry with endpoints: gates a host. */
struct gate_conf {
    struct str domain; /* host, host:port, *.suffix */
    struct str scheme; /* "http", "https"; empty: by decision (https, http for loopback) */
    struct endpoint_confs endpoints;
    struct str origin;
};
struct gate_confs {
    struct gate_conf *v;
    size_t n, cap;
};

enum inject_mode { INJECT_HEADER, INJECT_URL_PATH, INJECT_QUERY_PARAM, INJECT_BASIC_AUTH };
enum service_kind { SERVICE_KEY, SERVICE_AUTH, SERVICE_AWS, SERVICE_SPIFFE };

struct service_conf {
    struct str name;   /* route prefix */
    struct str origin;
    bool builtin;
    bool enabled;             /* asked for: a route */
    struct str enabled_origin; /* by whom: FILE:LINE:COLUMN, "--credential" */
    enum service_kind kind; /* others than KEY: decision K13, "not in this version" */
    struct str upstream;
    struct str credential_key;
    enum inject_mode inject_mode;
    struct str inject_header;     /* default Authorization */
    struct str credential_format; /* effective: "Bearer {}" or "{}" when not given */
    struct str path_pattern, path_replacement, query_param_name;
    bool proxy_given;             /* how the phantom is shown, where it differs */
    enum inject_mode proxy_mode;
    struct str proxy_header, proxy_format, proxy_pattern, proxy_param;
    struct str env_var;
    struct endpoint_confs rules;
    struct endpoint_policy_conf policy;
    struct str tls_ca, tls_client_cert, tls_client_key; /* expanded paths */
    bool rate_given;
    uint32_t rate_per_minute, rate_burst;
    uint64_t rate_max_delay_ms;
    bool keep_client_credentials;
    uint64_t cache_ttl_ms;
};
struct service_confs {
    struct service_conf *v;
    size_t n, cap;
};

/* One upstream of a `credential_routes` entry: decision K13, its host counts as one with a credential. */
struct later_route_conf {
    struct str name, origin, upstream;
    struct endpoint_policy_conf policy;
};
struct later_route_confs {
    struct later_route_conf *v;
    size_t n, cap;
};

/* Approval back ends. */
enum approval_kind { APPROVAL_TERMINAL, APPROVAL_WEBHOOK, APPROVAL_CHAIN };
struct approval_conf {
    struct str name, origin, url;
    enum approval_kind kind;
    bool all;              /* chain mode: all (else any) */
    struct str *backends;  /* chain */
    size_t n_backends;
    uint64_t timeout_ms;   /* 0: not given */
};
struct approval_confs {
    struct approval_conf *v;
    size_t n, cap;
};

/* credential_capture entries. */
struct capture_conf {
    struct str name, origin;
    struct str *command;
    size_t n_command;
    bool provider;
    struct str provider_config; /* JSON text or empty */
    uint64_t timeout_ms, ttl_ms;
    struct str cache_path_regex;
    bool stdin_json, output_json;
    struct str *allow_headers;
    size_t n_allow_headers;
    bool stdio, stdin_terminal, open_urls, allow_localhost, allow_launch_services;
    struct str *allow_origins;
    size_t n_allow_origins;
};
struct capture_confs {
    struct capture_conf *v;
    size_t n, cap;
};
