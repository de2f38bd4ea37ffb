/* A request with its body. */
#include "invariants.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct replay whole;

    if (n > 4 * LIMIT_HEAD_BYTES)
        return 0;
    same_in_pieces(H1_REQUEST, STR_NULL, str_of((const char *)p, n), &whole);
    same_when_written(&whole);
    replay_fini(&whole);
    return 0;
}
