/* What a client needs to know to come here: URL and variables (decision O3). Pure. */
#pragma once
#include "cli/banner.h"

/* "http://nono:PASSWORD@HOST:PORT" of the first TCP listener: password percent-encoded, IPv6 in
 * brackets, a wildcard replaced by the loopback address of its family. False, and nothing added,
 * when there is no TCP listener. */
bool advertise_url(struct buf *out, const struct banner_facts *f);
/* The same without the password: what base URLs of routes begin with. */
bool advertise_base(struct buf *out, const struct banner_facts *f);
/* Who reads the variables, which decides whether a token that would need quotes is among them. */
enum advertise_for {
    ADVERTISE_FILE,   /* shells and container runtimes: no quotes, so such a token is left out */
    ADVERTISE_SHELL,  /* people, who paste it into one: printable ASCII, quoted where needed */
    ADVERTISE_PROGRAM /* JSON: whatever it is */
};
struct str advertise_token(const struct banner_facts *f, enum advertise_for reader);
/* Calls `fn` for each variable, those of routes included. Only the token may need quotes in a shell (the * of NONO_NO_PROXY stands in an
 * assignment, where nothing expands it). */
typedef route_variable_fn advertise_fn;
void advertise_env(const struct banner_facts *f, enum advertise_for reader, advertise_fn *fn,
                   void *owner);
/* Adds value to a line of shell, in single quotes unless it needs none. */
void advertise_quoted(struct buf *out, struct str value);
