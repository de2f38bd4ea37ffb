/* The corpus of ambiguous messages, tests/unit/http/corpus/ *.txt. One case:
 *
 *     case NAME
 *     method HEAD                        (responses: of the request; GET unless given)
 *     "bytes\r\n"                        (as many lines as it takes; escapes \r \n \t \0 \\ \"
 * \xNN) repeat 70000 "bytes" expect 400 writes "GET / HTTP/1.1\r\n\r\n"    (optional: the head as
 * it goes on)
 *
 * expect: requests a status, `more` (incomplete) or `ok` with framing (`none`, `length N`, `chunked
 * "BODY"`), `last` (no keep-alive), `expect`; responses `bad`, `more`, or `ok` with the same,
 * `close`, and `tainted`. Trailers follow as +[name=value], -[…] dropped. */
#pragma once
#include "base/buf.h"

struct corpus_case {
    const char *file;
    int line;
    struct buf name, method, message, expect, writes;
    bool has_writes;
};
typedef void corpus_fn(void *owner, const struct corpus_case *one);

/* Calls `each` for every case; the number of cases, or -1 after a message to stderr. */
int corpus_load(const char *path, corpus_fn *each, void *owner);
