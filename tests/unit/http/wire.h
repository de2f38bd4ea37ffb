/* A stream whose other end is the test itself: what it reads is given, what it writes is kept, and
 * every way in which a stream may hesitate, stop or break can be set. It asks nothing of mem_alloc,
 * so that allocation failures are those of the code under test. */
#pragma once
#include "net/stream.h"
#include "sys/loop.h"

enum { WIRE_BYTES = 1 << 19 };

struct wire {
    struct stream base;
    struct task ready;
    /* towards the code under test */
    char in[WIRE_BYTES];
    size_t in_n, in_at;
    size_t read_max; /* per read; 0: any */
    enum err in_end; /* behind the bytes: ERR_AGAIN (nothing), ERR_EOF, ERR_RESET, ... */
    bool stutter;    /* one byte per call, and every other call says ERR_AGAIN */
    /* from the code under test */
    char out[WIRE_BYTES];
    size_t out_n;
    size_t room;        /* bytes it takes before it is full */
    size_t write_max;   /* per write; 0: any */
    enum err write_err; /* ERR_OK: none */
    enum err unread_err;
    bool shut, closed, reset;
    bool secret; /* as last said */
    unsigned reads, writes; /* calls that moved bytes: what would be system calls */
    bool read_beat_, write_beat_;
};

void wire_init(struct wire *w, struct loop *loop);
void wire_give(struct wire *w, const void *p, size_t n); /* bytes arrive */
void wire_end(struct wire *w, enum err e);               /* the peer ends */
void wire_poke(struct wire *w);                          /* readiness without a change */
struct str wire_out(const struct wire *w);
