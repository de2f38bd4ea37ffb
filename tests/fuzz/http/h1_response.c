/* A response with its body: the first byte is the method it answers. */
#include "invariants.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct replay whole;
    static const struct str methods[] = {{"GET", 3}, {"HEAD", 4}, {"CONNECT", 7}};

    if (!n || n > 4 * LIMIT_HEAD_BYTES)
        return 0;
    same_in_pieces(H1_RESPONSE, methods[p[0] % 3], str_of((const char *)p + 1, n - 1), &whole);
    same_when_written(&whole);
    replay_fini(&whole);
    return 0;
}
