/* What is told when the gateway is ready: text, JSON, and the lines of --env-file. Pure: they only
 * fill buffers, which then hold the token (use buf_wipe_fini). Main thread. */
#pragma once
#include "cli/route_rows.h"
#include "policy/policy.h"
#include "server/server.h"

struct banner_facts {
    const struct server_listener *listeners; /* as really bound, in order */
    size_t n;
    const struct secret *token; /* NULL: --no-auth */
    enum policy_kind policy;
    struct str upstream; /* "host:port" of the upstream proxy; empty: direct */
    bool names_there;    /* it resolves names: they are judged by name only */
    const struct settings *warnings;
    /* What profile and flags came to, and the routes made of it; NULL: nothing to say. */
    const struct config *config;
    const struct policy *rules;
    struct route_state state; /* what is known of the routes' credentials */
};

/* A buffer of this size always suffices. */
enum { BANNER_MAX_BYTES = 64 << 20 }; /* a row for each of very many hosts */

void banner_text(struct buf *out, const struct config *c, const struct banner_facts *f,
                 bool colour);
void banner_json(struct buf *out, const struct banner_facts *f);
/* NAME=VALUE lines, unquoted: container runtimes take quotes literally. */
void banner_env_lines(struct buf *out, const struct banner_facts *f);
