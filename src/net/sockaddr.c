#include "net/sockaddr.h"

#include <netinet/in.h>

bool sockaddr_to_address(const struct sock_addr *from, struct address *ret_address, uint16_t *ret_port)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (from->sa.sa_family == AF_INET) {
        memcpy(&v4, &from->storage, sizeof(v4));
        *ret_address = address_from_bytes(ADDRESS_V4, &v4.sin_addr);
        if (ret_port)
            *ret_port = ntohs(v4.sin_port);
        return true;
    }
    if (from->sa.sa_family != AF_INET6)
        return false;
    memcpy(&v6, &from->storage, sizeof(v6));
    *ret_address = address_from_bytes(ADDRESS_V6, &v6.sin6_addr);
    if (ret_port)
        *ret_port = ntohs(v6.sin6_port);
    return true;
}

struct sock_addr sockaddr_from_address(const struct address *a, uint16_t port)
{
    struct sock_addr to = {0};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (a->family == ADDRESS_V4) {
        memcpy(&v4.sin_addr, a->bytes, 4);
        memcpy(&to.storage, &v4, sizeof(v4));
        to.len = sizeof(v4);
    } else {
        memcpy(&v6.sin6_addr, a->bytes, 16);
        memcpy(&to.storage, &v6, sizeof(v6));
        to.len = sizeof(v6);
    }
    return to;
}
