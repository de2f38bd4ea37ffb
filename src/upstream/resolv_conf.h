/* The lines of resolv.conf that the resolver reads itself: c-ares 1.18 knows neither `timeout:` nor `attempts:`, and its search list
 * also applies to dotted names. Name servers are left to c-ares. Pure. */
#pragma once
#include "net/hostname.h"

enum { RESOLV_CONF_SEARCH = 8 };
struct resolv_conf {
    struct hostname search[RESOLV_CONF_SEARCH];
    unsigned n_search;
    unsigned timeout_s; /* per try; 0: not given */
    unsigned attempts;  /* 0: not given */
};

/* Lines that make no sense are skipped; the last `search` or `domain` counts. */
void resolv_conf_parse(struct str text, struct resolv_conf *ret_conf);
