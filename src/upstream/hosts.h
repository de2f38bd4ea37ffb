/* The hosts file as a table, read once and again when it changes: c-ares would read the whole file for every question. Any thread, one
 * at a time. */
#pragma once
#include "net/hostname.h"

struct hosts;
struct host_addrs {
    const struct address *v;
    unsigned n; /* at most LIMIT_DNS_ADDRESSES */
};

/* Parse the text of a hosts file. Lines that make no sense are skipped. NULL when out of memory. */
struct hosts *hosts_parse(struct str text) MUST_CHECK;
void hosts_free(struct hosts *h); /* NULL allowed */
/* All addresses of a name, in the file's order; NULL when it is not listed. h may be NULL. */
const struct host_addrs *hosts_find(const struct hosts *h, const struct hostname *name);
