/* A request of our own: approval webhooks (later token endpoints). Small client over dial, TLS, chain and the h1 leg; bounded answer
 * (64 KiB), one deadline, no redirects. The URL is the operator's own text: its addresses are vouched by the operator. Loop thread only. */
#pragma once
#include "config/hop.h"
#include "http/h1_leg.h"
#include "upstream/connect.h"

struct fetch;
struct fetch_spec {
    struct str method, url;        /* http or https; copied */
    struct str content_type, body; /* copied */
    const struct hop *hop;         /* NULL: direct; loopback targets go directly anyway (K12); outlives the fetch */
    uint64_t timeout_ms;           /* for everything together; 0: LIMIT_TIMEOUT_FETCH */
};
/* ERR_OK with status and body (valid during the callback), or the error with a sentence: ERR_INVALID (the URL), ERR_TOO_LARGE (the
 * answer), ERR_UPSTREAM_SILENT (the deadline), what connect_start and the leg say, ERR_NOMEM. */
typedef void fetch_fn(void *owner, enum err e, unsigned status, struct str body, const struct errctx *ctx);
/* fn is never called before this returns, once at most; when it is called the fetch is gone. ERR_NOMEM. */
enum err fetch_start(const struct up_env *up, const struct h1_env *h1, const struct fetch_spec *spec, fetch_fn *fn, void *owner,
                     struct fetch **ret_fetch) MUST_CHECK;
void fetch_cancel(struct fetch *f); /* fn is not called; NULL allowed */
