/* Helper processes, on the control loop only (libuv driver). No shell. Every descriptor of ours is close-on-exec; the child gets its own
 * process group (unless it may use the terminal) and is killed as a group at the deadline or when its output passes the limit. */
#pragma once
#include "sys/loop.h"
#include "base/str.h"

struct child;
struct child_spec {
    char *const *argv;      /* argv[0]: absolute path */
    char *const *envp;
    struct str stdin_bytes; /* written, then closed; p NULL: /dev/null. A child that closes stdin early is no error */
    bool terminal_stdin, terminal_stderr; /* inherit instead; the child then stays in our group and is killed by pid */
    bool no_output;         /* stdout and stderr are /dev/null: a child that may outlive us must not write into a broken pipe */
    uint64_t timeout_ms;    /* 0: for ever */
    size_t max_stdout;      /* killed as soon as it passes this */
    size_t max_stderr;      /* the rest is thrown away */
};
enum child_end { CHILD_EXITED, CHILD_SIGNALLED, CHILD_TIMEOUT, CHILD_TOO_MUCH, CHILD_NOT_STARTED };
struct child_result {
    enum child_end end;
    int status;              /* exit status, signal, or errno */
    struct str out, err;     /* valid during the callback; wiped afterwards */
};
typedef void child_fn(void *owner, const struct child_result *result);
/* fn comes later, exactly once, unless cancelled. argv, envp and stdin_bytes are needed during the call only. Output is drained while it
 * runs; once the child itself has gone, a grandchild that keeps a pipe open is waited for only while it writes to stdout, and never past the
 * deadline. */
enum err child_start(struct loop *control, const struct child_spec *spec, child_fn *fn, void *owner, struct child **ret_child) MUST_CHECK;
void child_cancel(struct child *c); /* kills; fn is not called; NULL allowed. Not after fn was called */
/* Lets it run on, whatever becomes of us: fn is not called, nobody kills it, it is reaped when it ends. Of a child with no_output; not after
 * fn was called. */
void child_release(struct child *c);
/* Before the loop goes: kills and reaps what still runs or was cancelled a moment ago, but not what was released. No fn is called. Waits
 * for the kernel. */
void children_end(struct loop *control);
