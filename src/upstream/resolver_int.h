/* For the resolver's tests only. */
#pragma once
#include "upstream/resolver.h"

/* Read these files instead of those in /etc, and ask `servers` ("127.0.0.1:5353", comma separated) instead of the listed ones; NULL: as
 * ever. The strings must outlive r. Takes effect at once. */
enum err resolver_redirect(struct resolver *r, const char *hosts, const char *resolv_conf, const char *servers) MUST_CHECK;
/* Look at the files again at the next question, though 5 s have not passed. */
void resolver_recheck(struct resolver *r);
/* Channels that exist: one, and old ones that still wait for answers. */
unsigned resolver_channels(const struct resolver *r);
