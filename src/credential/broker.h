/* Asks for a credential that is valid now. No route has one yet, so every question is answered at once with nothing. */
#pragma once
#include "base/err.h"
#include "policy/decide.h"

/* ERR_OK: go on (no credential is wanted); ERR_AGAIN is for the broker to come. */
static inline MUST_CHECK enum err broker_ask(const struct decision *d)
{
    return d->verdict == VERDICT_ALLOW ? ERR_OK : ERR_INTERNAL;
}
