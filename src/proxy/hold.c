#include "proxy/proxy_int.h"

enum err hold_ask(struct exchange *x)
{
    /* Limits and approvals are named by routes (decision.limit, decision.approval); no policy has a route yet. */
    return x->request->decision.verdict == VERDICT_ALLOW ? ERR_OK : ERR_INTERNAL;
}
