/* The compiled credentials of a runtime, by route index. */
#pragma once
#include "config/runtime.h"
#include "credential/credential.h"

/* Once, before the runtime is published. ERR_INVALID with a sentence, ERR_NOMEM. */
enum err credentials_attach(struct runtime *rt, struct errctx *ctx) MUST_CHECK;
/* Of route `index` (decision.credential, route_view.index); NULL: it has none, or one that is not in this version. */
const struct credential *credentials_at(const struct runtime *rt, int index);
size_t credentials_count(const struct runtime *rt); /* of routes; 0: none was attached */
/* Whether some route takes its phantom as Basic password: its clients show it only after a challenge for Basic. */
bool credentials_ask_basic(const struct runtime *rt);
