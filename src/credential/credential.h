/* A credential as configured and compiled: where it comes from, how it goes into a request, how the client shows its phantom. Part of the
 * runtime: immutable, counted with it; index = decision.credential = the route's index. */
#pragma once
#include "base/err.h"
#include "config/config.h"
#include "config/reference.h"
#include "config/service.h"

struct regex;
struct credential {
    struct str id;               /* service name */
    uint64_t source_hash;        /* of everything that decides what the source yields: same id and hash share material across reloads */
    const struct service_conf *conf; /* lives in the runtime's config */
    enum reference_scheme source; /* what conf->credential_key is read from; unset when gone */
    const struct capture_conf *capture; /* cmd:// */
    enum inject_mode shown;      /* how the phantom is shown (proxy override) */
    struct str shown_header, shown_format, shown_pattern, shown_param;
    bool gone;                   /* the route has none or is unavailable */
    bool once;                   /* a time to live of 0: each request asks anew */
    struct regex *scope;         /* of cache_path_regex; NULL: none */
};
/* Compiles what a service says; `config` (which holds conf and the captures) must outlive it. Kinds that come later and services without
 * a key are `gone`. ERR_INVALID with a sentence (the key, the cache_path_regex), ERR_NOMEM. */
enum err credential_init(struct credential *c, const struct service_conf *conf, const struct config *config, struct errctx *ctx) MUST_CHECK;
void credential_fini(struct credential *c);
