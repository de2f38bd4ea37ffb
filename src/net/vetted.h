/* An address that somebody vouched for: the only thing dial accepts. */
#pragma once
#include "net/address.h"

enum vouched_by { VOUCHED_POLICY = 1, VOUCHED_OPERATOR };
struct vetted_addr {
    struct address address;
    uint16_t port;
    uint8_t by; /* enum vouched_by; 0 is refused by dial */
};
/* Made by policy_addr (policy/decide.h) and by vetted_by_operator (policy/floor.h) alone. */
