/* Addresses to and from the kernel's form. Pure; any thread. */
#pragma once
#include "net/address.h"
#include "sys/sock.h"

/* False for other families than IPv4 and IPv6; v4-mapped is folded. ret_port may be NULL. */
bool sockaddr_to_address(const struct sock_addr *from, struct address *ret_address, uint16_t *ret_port);
struct sock_addr sockaddr_from_address(const struct address *a, uint16_t port);
