/* Threads. Each starts with every signal blocked. */
#pragma once
#include "base/err.h"

struct thread;
typedef void thread_fn(void *arg);

/* name: at most 15 bytes. */
enum err thread_start(const char *name, thread_fn *fn, void *arg, struct thread **ret_thread) MUST_CHECK;
void thread_join(struct thread *t); /* frees t */
/* Cores this process may use: affinity and cgroup (v1 and v2) CPU quota, rounded up, at least 1. */
unsigned thread_usable_cores(void);
