/* The system a profile is loaded on, for `when` predicates and platform_overrides. */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct platform {
    char os[16];           /* "linux", "macos" */
    char id[64];           /* os-release ID */
    char id_like[256];     /* blank-separated */
    char version_id[64], variant_id[64];
    char macos_version[32];
};
void platform_read(struct platform *ret_platform);
/* False with a sentence for a predicate that does not parse. */
bool platform_when(const struct platform *p, struct str predicate, bool *ret_true, struct errctx *ctx) MUST_CHECK;
