/* A bench for one leg over one wire, and an owner that writes down what it is told. */
#pragma once
#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "http/h1_leg.h"
#include "wire.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HOST "Host: h\r\n"

enum act {
    ACT_NONE,
    ACT_CLOSE,
    ACT_LINGER,
    ACT_DETACH,
    ACT_NEXT, /* answers, then next */
    ACT_RESUME,
    ACT_SKIP,
    ACT_COUNT_,
    ACT_NEST,   /* the stream says that it is ready */
    ACT_DISOWN, /* nobody listens any more */
};

enum when {
    ON_BEGUN,
    ON_HEAD,
    ON_BODY,
    ON_END,
    ON_WRITABLE,
    ON_RESET,
    ON_FIN,
    ON_WRITE_ERROR,
    WHEN_COUNT_
};

struct bench {
    struct loop *loop;
    struct chunk_pool *chunks;
    struct field scratch[LIMIT_HEAD_FIELDS];
    struct wire wire;
    struct leg *leg;
    struct stream *detached;
    char trace[1 << 19];
    size_t n;
    bool in_body;
    size_t take; /* per on_body; SIZE_MAX: all */
    bool serve;  /* client: answer every request with a 204 and go on */
    bool begun;  /* write on_begun down */
    bool last;   /* note in_last */
    enum when when;
    enum act act;
    unsigned acted;
    unsigned heads, ends, fins, resets, write_errors, writables;
    enum err reset_code;
    bool expect_100;
    bool reusable; /* as on_end, or on_head at the end, saw it */
};

extern struct bench B;
extern char big[LIMIT_HEAD_BYTES * 3]; /* for whoever needs many bytes */
extern const struct leg_events bench_events;

const char *bench_trace(void);
struct http_head response(uint16_t status, enum framing framing, uint64_t length);
struct http_head request(const char *method, enum framing framing, uint64_t length);
enum err send_head(struct http_head head, const char *extra, bool end);
void answer_204(void);
void turns(unsigned n);
enum err bench_leg(bool client);
void client(void);
/* An upstream leg whose request was sent and forgotten. */
void upstream(const char *method);
/* Closes what is left; nothing may stay behind. */
void done(void);
void give(const char *z);
void expect_out(const char *z);
/* A head (or section of lines) of n bytes from `first` to `last`. */
size_t bench_long_head(char *p, size_t n, const char *first, const char *last);
int bench_set_up(void **state);
int bench_tear_down(void **state);
