/* A small HTTP/1.1 reader for the actors of simulated worlds: heads, bodies by length, chunks or until the end, and raw bytes. */
#pragma once
#include "base/str.h"

enum wire_body { WIRE_BY_FIELDS, WIRE_NO_BODY, WIRE_RAW };
struct wire {
    char *p;
    size_t n, cap;
    enum { WIRE_HEAD, WIRE_LENGTH, WIRE_CHUNK_SIZE, WIRE_CHUNK, WIRE_TRAILER, WIRE_TO_END, WIRE_TUNNEL, WIRE_BAD } state;
    uint64_t left;
    bool is_response; /* without length or chunks: until the end */
    void *owner;
    enum wire_body (*on_head)(void *owner, struct str head);
    void (*on_body)(void *owner, struct str bytes);
    void (*on_end)(void *owner);
};
void wire_feed(struct wire *w, const char *p, size_t n);
void wire_fin(struct wire *w); /* ends a body that lasts until the end */
void wire_fini(struct wire *w);
/* Value of a field in a head; empty when absent. */
struct str wire_field(struct str head, const char *name);
