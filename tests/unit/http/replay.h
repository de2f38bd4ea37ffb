/* Feeds one message (head, body, trailers) through the sans-I/O parsers as a leg would, in pieces,
 * and says in text what came out. Shared by the corpus test and the fuzz targets. */
#pragma once
#include "base/buf.h"
#include "http/h1_chunk.h"
#include "http/h1_parse.h"

struct replay {
    /* in */
    enum h1_role role;
    struct str method;  /* of the request, for responses */
    size_t first, step; /* the first piece's bytes, then every other's; 0: all that is left */
    /* out */
    enum err result; /* ERR_OK, ERR_AGAIN (incomplete), or the refusal */
    size_t used;     /* bytes of the message; of a refused head, where it was refused */
    struct buf text; /* "400", "more", "ok length 5 tainted" */
    struct buf body;
    struct buf written;    /* the head as it would go on: hop-by-hop fields stripped, our framing */
    struct http_head head; /* its slices live until replay_fini */
    struct fields trailers;
    struct field fields_[LIMIT_HEAD_FIELDS], trailers_[LIMIT_HEAD_FIELDS];
    char *copy_;
};
void replay_run(struct replay *r, struct str message);
void replay_fini(struct replay *r);
