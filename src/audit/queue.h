/* A worker's lines on their way to the writer: a list of 64 KiB blocks with one always spare. One thread adds, the writer takes. Adding
 * never waits and never fails for audit; log lines are dropped and counted when the queue is full. */
#pragma once
#include "base/attr.h"
#include <stdbool.h>
#include <stdint.h>

struct queue;

struct queue *queue_new(void) MUST_CHECK;
void queue_free(struct queue *q);
/* Owner thread. False when out of memory (counted). */
bool queue_add(struct queue *q, const char *line, size_t n);
/* The same in two steps, for a line that is written in place: room for at most `most` bytes, then what it became, whole lines only. NULL
 * when out of memory (counted). What was reserved and not committed is forgotten by the next call. Owner thread. */
char *queue_reserve(struct queue *q, size_t most) MUST_CHECK;
void queue_commit(struct queue *q, size_t n);
/* Any thread: bytes added and not yet written. */
uint64_t queue_pending(const struct queue *q);
/* Any thread: lines that queue_add could not take. */
uint64_t queue_lost(const struct queue *q);
/* Writer thread: the next run of bytes, valid until queue_done. False when empty. */
bool queue_peek(struct queue *q, const char **ret_p, size_t *ret_n);
void queue_done(struct queue *q, size_t n); /* n bytes were written (or lost) */
