#include "sys/child.h"
#include "base/buf.h"
#include "base/mem.h"
#include "sys/sys_int.h"
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum {
    IDLE_GRACE_MS = 100,  /* silence after the child's end that ends the wait for a grandchild */
    READ_BYTES = 16384,
    REAP_STEPS = 2000,    /* of 1 ms */
};

/* Ours and the child's ends are real pipes, not the socket pairs that libuv would make: programs
 * open /dev/stdin and /dev/stderr anew, which a socket refuses. */
struct child {
    struct loop *loop;
    child_fn *fn; /* NULL: cancelled, or told already */
    void *owner;
    uv_process_t process;
    uv_pipe_t pipe[3]; /* our ends */
    bool open[3];      /* the pipe is not yet closed by us */
    unsigned handles;  /* of libuv, not yet closed by it */
    bool spawned, exited, group, released;
    int64_t exit_status;
    int exit_signal, spawn_errno;
    uv_write_t write;
    struct buf in, out, err;
    size_t err_max;
    bool too_much, no_memory;
    struct timer deadline, grace;
    struct task task; /* tells a start that failed */
    char scratch[READ_BYTES];
};

static void wipe(struct child *c)
{
    buf_wipe_fini(&c->in);
    buf_wipe_fini(&c->out);
    buf_wipe_fini(&c->err);
    mem_wipe(c->scratch, sizeof(c->scratch));
}

static void free_if_done(struct child *c)
{
    if (c->handles || c->fn)
        return;
    wipe(c);
    mem_free(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct child *c = handle->data;
    c->handles--;
    free_if_done(c);
}

static void close_pipe(struct child *c, int i)
{
    if (!c->open[i])
        return;
    c->open[i] = false;
    uv_close((uv_handle_t *)&c->pipe[i], on_closed);
}

static void kill_all(struct child *c)
{
    if (!c->spawned)
        return;
    if (c->group)
        (void)kill(-c->process.pid, SIGKILL);
    else if (!c->exited)
        (void)kill(c->process.pid, SIGKILL);
}

/* Nothing more is read or written; the process handle stays until the child is reaped. */
static void stop(struct child *c)
{
    timer_stop(c->loop, &c->deadline);
    timer_stop(c->loop, &c->grace);
    task_cancel(&c->task);
    for (int i = 0; i < 3; i++)
        close_pipe(c, i);
}

/* fn may free nothing of ours: the handles close at the end of the turn at the earliest. */
static void finish(struct child *c, enum child_end end, int status)
{
    struct child_result r = {end, status, buf_str(&c->out), buf_str(&c->err)};
    child_fn *fn = c->fn;
    stop(c);
    c->fn = NULL;
    if (fn)
        fn(c->owner, &r);
    wipe(c);
    free_if_done(c);
}

static void finish_exited(struct child *c)
{
    if (c->exit_signal)
        finish(c, CHILD_SIGNALLED, c->exit_signal);
    else
        finish(c, CHILD_EXITED, (int)c->exit_status);
}

/* The child has gone and nobody can write any more. */
static void look(struct child *c)
{
    if (c->fn && c->exited && !c->open[1] && !c->open[2])
        finish_exited(c);
}

static void on_exit(uv_process_t *process, int64_t status, int signo)
{
    struct child *c = process->data;
    loop_woke(c->loop);
    c->exited = true;
    c->exit_status = status;
    c->exit_signal = signo;
    uv_close((uv_handle_t *)process, on_closed);
    if (!c->fn)
        return;
    timer_set(c->loop, &c->grace, IDLE_GRACE_MS);
    look(c);
}

static void on_grace(struct timer *t)
{
    finish_exited(CONTAINER_OF(t, struct child, grace));
}

static void on_deadline(struct timer *t)
{
    struct child *c = CONTAINER_OF(t, struct child, deadline);
    kill_all(c);
    finish(c, CHILD_TIMEOUT, 0);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *ret_buf)
{
    struct child *c = handle->data;
    (void)wanted;
    *ret_buf = uv_buf_init(c->scratch, sizeof(c->scratch));
}

/* Of stdout everything counts; of stderr what has room, the rest is thrown away. */
static void take(struct child *c, int which, size_t n)
{
    struct buf *b = which == 1 ? &c->out : &c->err;
    if (which == 1 && n > b->max_ - b->n)
        c->too_much = true;
    else if (which == 2 && n > b->max_ - b->n)
        n = b->max_ - b->n;
    if (!c->too_much && n)
        buf_add(b, c->scratch, n);
    if (which == 1 && !c->too_much && !buf_ok(b))
        c->no_memory = true;
    mem_wipe(c->scratch, n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct child *c = stream->data;
    int which = stream == (uv_stream_t *)&c->pipe[1] ? 1 : 2;
    (void)buf;
    loop_woke(c->loop);
    if (n == 0)
        return;
    if (n < 0) {
        close_pipe(c, which);
        look(c);
        return;
    }
    take(c, which, (size_t)n);
    if (c->too_much || c->no_memory) {
        kill_all(c);
        finish(c, c->too_much ? CHILD_TOO_MUCH : CHILD_NOT_STARTED, c->too_much ? 0 : ENOMEM);
    } else if (c->exited && which == 1) { /* what it goes on to complain about is not waited for */
        timer_set(c->loop, &c->grace, IDLE_GRACE_MS);
    }
}

/* However it ended: a child that does not read is none of our errors. */
static void on_written(uv_write_t *write, int status)
{
    struct child *c = write->data;
    (void)status;
    loop_woke(c->loop);
    close_pipe(c, 0);
}

/* ---- start ---- */

/* A pipe whose end `mine` is ours, non-blocking, in a handle; the other is put into *ret_theirs. */
static int make_pipe(struct child *c, int which, int *ret_theirs)
{
    uv_file fds[2];
    int mine = which == 0; /* we write to stdin and read the others */
    int rc = uv_pipe(fds, mine ? 0 : UV_NONBLOCK_PIPE, mine ? UV_NONBLOCK_PIPE : 0);
    if (rc < 0)
        return rc;
    (void)uv_pipe_init(loop_uv(c->loop), &c->pipe[which], 0); /* cannot fail */
    c->pipe[which].data = c;
    c->handles++;
    c->open[which] = true;
    *ret_theirs = fds[!mine];
    rc = uv_pipe_open(&c->pipe[which], fds[mine]);
    if (rc < 0)
        (void)close(fds[mine]);
    return rc;
}

static int make_stdio(struct child *c, const struct child_spec *s, uv_stdio_container_t stdio[3])
{
    const bool piped[3] = {!s->terminal_stdin && s->stdin_bytes.p, !s->no_output,
                           !s->no_output && !s->terminal_stderr};
    const bool inherited[3] = {s->terminal_stdin, false, s->terminal_stderr};
    for (int i = 0; i < 3; i++) {
        stdio[i].flags = UV_IGNORE; /* /dev/null */
        if (piped[i]) {
            int fd = -1, rc = make_pipe(c, i, &fd);
            if (fd >= 0) {
                stdio[i].flags = UV_INHERIT_FD;
                stdio[i].data.fd = fd;
            }
            if (rc < 0)
                return rc;
        } else if (inherited[i]) {
            stdio[i].flags = UV_INHERIT_FD;
            stdio[i].data.fd = i;
        }
    }
    return 0;
}

static int spawn(struct child *c, const struct child_spec *s)
{
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
    uv_process_options_t o = {.exit_cb = on_exit,
                              .file = s->argv[0],
                              .args = (char **)s->argv,
                              .env = (char **)s->envp,
                              .flags = c->group ? UV_PROCESS_DETACHED : 0,
                              .stdio_count = 3,
                              .stdio = stdio};
    int rc = make_stdio(c, s, stdio);
    if (rc == 0) {
        c->process.data = c;
        rc = uv_spawn(loop_uv(c->loop), &c->process, &o);
        c->handles++;
        if (rc < 0)
            uv_close((uv_handle_t *)&c->process, on_closed);
    }
    for (int i = 0; i < 3; i++)
        if (stdio[i].flags == UV_INHERIT_FD && stdio[i].data.fd > 2)
            (void)close(stdio[i].data.fd);
    return rc;
}

static void begin_io(struct child *c)
{
    for (int i = 1; i < 3; i++)
        if (c->open[i] && uv_read_start((uv_stream_t *)&c->pipe[i], on_alloc, on_read) < 0)
            close_pipe(c, i);
    if (!c->open[0])
        return;
    uv_buf_t b = uv_buf_init(c->in.p, (unsigned)c->in.n);
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->pipe[0], &b, 1, on_written) < 0)
        close_pipe(c, 0);
}

static void on_not_started(struct task *t)
{
    struct child *c = CONTAINER_OF(t, struct child, task);
    finish(c, CHILD_NOT_STARTED, c->spawn_errno);
}

enum err child_start(struct loop *control, const struct child_spec *spec, child_fn *fn, void *owner,
                     struct child **ret_child)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct child *c = mem_zalloc(sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    (void)sigaction(SIGPIPE, &ignore, NULL); /* libuv puts the default back in the child */
    c->loop = control;
    c->group = !spec->terminal_stdin && !spec->terminal_stderr;
    buf_init(&c->in, spec->stdin_bytes.n);
    buf_init(&c->out, spec->max_stdout);
    buf_init(&c->err, spec->max_stderr);
    buf_add_str(&c->in, spec->stdin_bytes);
    if (!buf_ok(&c->in)) {
        wipe(c);
        mem_free(c);
        return ERR_NOMEM;
    }
    timer_init(&c->deadline, on_deadline);
    timer_init(&c->grace, on_grace);
    task_init(&c->task, on_not_started);
    c->fn = fn;
    c->owner = owner;
    int rc = spawn(c, spec);
    c->spawned = rc == 0;
    if (c->spawned) {
        begin_io(c);
        if (spec->timeout_ms)
            timer_set(control, &c->deadline, spec->timeout_ms);
    } else {
        c->spawn_errno = -rc;
        task_run_soon(control, &c->task);
    }
    *ret_child = c;
    return ERR_OK;
}

void child_cancel(struct child *c)
{
    if (!c)
        return;
    kill_all(c);
    c->fn = NULL;
    stop(c);
    wipe(c);
    free_if_done(c);
}

void child_release(struct child *c)
{
    c->fn = NULL;
    c->released = true;
    stop(c);
    free_if_done(c);
}

/* ---- the end of everything ---- */

static void end_one(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (handle->type != UV_PROCESS || uv_is_closing(handle))
        return;
    struct child *c = handle->data;
    pid_t pid = c->process.pid;
    bool wait = !c->released;
    if (wait)
        kill_all(c);
    c->fn = NULL;
    stop(c);
    uv_close(handle, on_closed); /* from here on libuv does not wait for it */
    for (int i = 0; wait && i < REAP_STEPS && waitpid(pid, NULL, WNOHANG) == 0; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void children_end(struct loop *control)
{
    uv_walk(loop_uv(control), end_one, NULL);
}
