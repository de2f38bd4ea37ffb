/* WebSocket handshakes of the worlds: keys and what accepts them, worked out elsewhere. */
#include "worlds.h"

static const char *const pairs[4][2] = {
    {"QUFBQUFBQUFBQUFBQUFBQQ==", "uZFFNKUXmCHTUIyb2Ne3MPSqlt0="},
    {"QkJCQkJCQkJCQkJCQkJCQg==", "QMFcOtsGA54c+qOcfZ/s9znRX/U="},
    {"Q0NDQ0NDQ0NDQ0NDQ0NDQw==", "tcytM3Gw2534K8nkQ0TzmiQP+Wc="},
    {"RERERERERERERERERERERA==", "CblelT9aGKMFb085voINZAKxmBQ="},
};

const char *socket_key(unsigned tag)
{
    return pairs[tag / 2 % 4][0];
}

const char *socket_accept(struct str key)
{
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (str_eq(key, str_from(pairs[i][0])))
            return pairs[i][1];
    return NULL;
}
