/* Short CPU work off the control loop, on libuv's pool. Asked by control only; completions run on the control loop. */
#pragma once
#include "sys/loop.h"

struct job;
typedef void job_fn(struct job *job);
struct job {
    job_fn *work; /* any thread */
    job_fn *done; /* control loop; owns the job from then on */
    void *handle_;
};
enum err job_start(struct loop *control, struct job *job) MUST_CHECK NONNULL(1, 2);
