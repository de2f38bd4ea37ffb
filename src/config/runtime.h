/* Everything that requests are judged and served by, built from a config: immutable after it is published, counted, shared by workers.
 * An exchange pins the one it was decided with; a reload builds a new one as a whole or not at all. */
#pragma once
#include "config/config.h"
#include "config/hop.h"
#include "policy/decide.h"
#include "policy/identify.h"
#include "policy/policy.h"
#include "tls/client.h"

struct profile_env;
struct runtime {
    _Atomic uint32_t refs_;
    uint64_t generation;         /* 1, 2, … in the order of reloads */
    struct policy *policy;
    struct clients clients;
    struct hop *hop;             /* NULL: direct */
    struct str hop_text;         /* "host:port" for audit; empty */
    uint64_t timeout_ms[TIMEOUT_COUNT_];
    struct tls_trust *trust;
    struct tls_trust **route_trust; /* by route index; NULL: `trust` serves */
    size_t n_route_trust;
    bool audit_fail_closed;
    struct hostname *server_names;
    size_t n_server_names;
    struct settings warnings;    /* notices for banner and JSON, each with the place that it is about */
    struct config config;        /* flags and profile as they were resolved; the policy's routes are made from it */
    /* What folders below make of it before it is published (credential/table.h); freed with it, before all else. */
    void *credentials;
    void (*credentials_free)(void *credentials);
};
/* What upstream connections of route `index` (-1: none) trust, and who they show themselves to be. */
struct tls_trust *runtime_trust(const struct runtime *r, int index);

/* Reads the environment for SSL_CERT_FILE / SSL_CERT_DIR. `token`: the session token (referenced). ERR_INVALID with one sentence that
 * names value, origin and remedy. Any thread. */
enum err runtime_new(const struct config *c, struct secret *token, uint64_t generation, struct runtime **ret_runtime, struct errctx *ctx)
    MUST_CHECK;
/* The same, and everything that is wrong or worth a notice as lines for stderr in *ret_report (mem_free; NULL: nothing to say). After an
 * error: "nono: <class>: …" lines, all of them (ctx has the first sentence); else "  [nono] …" notices. */
enum err runtime_load(const struct config *c, struct secret *token, uint64_t generation, struct runtime **ret_runtime, char **ret_report,
                      struct errctx *ctx) MUST_CHECK;
/* What runtime_load would find, as problems with places (`profile validate`): resolves, compiles and drops. ERR_INVALID or ERR_OK;
 * resolve_fini(ret_resolve) in any case. *ret_config (NULL allowed): the resolved config, with ERR_OK only. */
struct resolve;
enum err runtime_check(const struct config *c, const struct profile_env *env, struct resolve *ret_resolve, struct config *ret_config)
    MUST_CHECK;
struct runtime *runtime_ref(struct runtime *r);
void runtime_unref(struct runtime *r); /* any thread; NULL allowed */
