#include "sys/jobs.h"
#include "base/mem.h"
#include "sys/sys_int.h"
#include <uv.h>

struct work {
    uv_work_t request;
    struct loop *loop;
    struct job *job;
};

static void on_work(uv_work_t *request)
{
    struct job *job = CONTAINER_OF(request, struct work, request)->job;
    job->work(job);
}

static void on_done(uv_work_t *request, int status)
{
    (void)status; /* we never cancel */
    struct work *w = CONTAINER_OF(request, struct work, request);
    struct job *job = w->job;
    loop_woke(w->loop);
    mem_free(w);
    job->handle_ = NULL;
    job->done(job);
}

enum err job_start(struct loop *control, struct job *job)
{
    struct work *w = mem_zalloc(sizeof(*w));
    if (!w)
        return ERR_NOMEM;
    w->loop = control;
    w->job = job;
    job->handle_ = w;
    if (uv_queue_work(loop_uv(control), &w->request, on_work, on_done) < 0) {
        mem_free(w);
        job->handle_ = NULL;
        return ERR_SYSTEM;
    }
    return ERR_OK;
}
