/* Helpers and files as the world says they are. Replaces sys/child.c and sys/files.c. */
#include "base/assert.h"
#include "base/mem.h"
#include "sim_int.h"
#include "sys/child.h"
#include "sys/files.h"
#include <errno.h>
#include <string.h>

/* --- helpers --- */

struct child {
    struct timer timer;
    struct loop *loop;
    struct sim_child_reply reply;
    bool late; /* the deadline comes first */
    child_fn *fn;
    void *owner;
};
static struct {
    sim_child_fn *child_fn;
    sim_file_fn *file_fn;
    void *child_owner, *file_owner;
    struct list watches;
    unsigned n_children;
} outside;

static void child_free(struct child *c)
{
    timer_stop(c->loop, &c->timer);
    sim_free(c);
    outside.n_children--;
}

static void on_child_time(struct timer *t)
{
    struct child *c = CONTAINER_OF(t, struct child, timer);
    struct child was = *c;
    struct child_result r = {.end = was.late ? CHILD_TIMEOUT : CHILD_EXITED,
                             .status = was.reply.status,
                             .out = str_from(was.late ? "" : was.reply.out),
                             .err = str_from(was.reply.err)};
    child_free(c);
    was.fn(was.owner, &r);
}

enum err child_start(struct loop *control, const struct child_spec *spec, child_fn *fn, void *owner,
                     struct child **ret_child)
{
    struct child *c = sim_alloc(sizeof *c);
    *c = (struct child){.loop = control, .fn = fn, .owner = owner, .reply.status = 127};
    if (outside.child_fn)
        outside.child_fn(outside.child_owner, spec->argv, spec->envp, &c->reply);
    sim_note(c->reply.out, strlen(c->reply.out));
    uint64_t delay = c->reply.delay_ms;
    c->late = spec->timeout_ms && delay > spec->timeout_ms;
    timer_init(&c->timer, on_child_time);
    outside.n_children++;
    if (c->late || delay != UINT64_MAX)
        timer_set(control, &c->timer, c->late ? spec->timeout_ms : delay);
    *ret_child = c;
    return ERR_OK;
}

void child_cancel(struct child *c)
{
    if (c)
        child_free(c);
}

/* No world opens a browser. */
void child_release(struct child *c)
{
    child_cancel(c);
}

void children_end(struct loop *control)
{
    (void)control;
    ASSERT(!outside.n_children);
}

void sim_on_child(sim_child_fn *fn, void *owner)
{
    outside.child_fn = fn;
    outside.child_owner = owner;
}

unsigned sim_children(void)
{
    return outside.n_children;
}

/* --- files --- */

/* A change is noticed some time within a second: here by a timer that runs while there is something
 * to notice. It is set on the loop, as everything of a watch. */
struct file_watch {
    struct list node;
    struct loop *loop;
    struct timer timer;
    file_changed_fn *fn;
    void *owner;
};
struct notice {
    struct msg msg;
    struct file_watch *watch;
};

static void on_file_time(struct timer *t)
{
    struct file_watch *w = CONTAINER_OF(t, struct file_watch, timer);
    w->fn(w->owner);
}

enum err file_watch_open(struct loop *control, const char *path, file_changed_fn *fn, void *owner,
                         struct file_watch **ret_watch)
{
    (void)path; /* a change of any file is a change of all */
    struct file_watch *w = sim_alloc(sizeof *w);
    *w = (struct file_watch){.loop = control, .fn = fn, .owner = owner};
    timer_init(&w->timer, on_file_time);
    if (!outside.watches.next)
        list_init(&outside.watches);
    list_push(&outside.watches, &w->node);
    *ret_watch = w;
    return ERR_OK;
}

void file_watch_close(struct file_watch *w)
{
    if (!w)
        return;
    timer_stop(w->loop, &w->timer);
    list_remove(&w->node);
    sim_free(w);
}

static bool is_watched(const struct file_watch *w)
{
    for (struct list *n = outside.watches.next; n != &outside.watches; n = n->next)
        if (LIST_ENTRY(n, struct file_watch, node) == w)
            return true;
    return false;
}

static void on_notice(struct msg *m)
{
    struct notice *n = CONTAINER_OF(m, struct notice, msg);
    if (is_watched(n->watch))
        timer_set(n->watch->loop, &n->watch->timer, 1 + sim_below(999));
    sim_free(n);
}

void sim_file_changed(void)
{
    for (struct list *n = outside.watches.next; n && n != &outside.watches; n = n->next) {
        struct notice *notice = sim_alloc(sizeof *notice);
        *notice = (struct notice){.msg.fn = on_notice, .watch = LIST_ENTRY(n, struct file_watch, node)};
        loop_post(notice->watch->loop, &notice->msg);
    }
}

enum err file_read(const char *path, size_t max, char **ret_bytes, size_t *ret_n, int *ret_errno)
{
    char text[256] = "";
    *ret_errno = ENOENT;
    if (!outside.file_fn || !outside.file_fn(outside.file_owner, path, text, sizeof text))
        return ERR_NOT_FOUND;
    size_t n = strlen(text);
    if (n > max)
        return ERR_TOO_LARGE;
    char *copy = mem_dup(text, n);
    if (!copy)
        return ERR_NOMEM;
    *ret_bytes = copy;
    *ret_n = n;
    return ERR_OK;
}

void sim_on_file(sim_file_fn *fn, void *owner)
{
    outside.file_fn = fn;
    outside.file_owner = owner;
}

enum err file_find_program(struct str name, struct str path, char **ret_path)
{
    (void)path;
    *ret_path = mem_dup(name.p, name.n);
    return *ret_path ? ERR_OK : ERR_NOMEM;
}

enum err file_own_program(char **ret_path)
{
    *ret_path = mem_dup("nono", 4);
    return *ret_path ? ERR_OK : ERR_NOMEM;
}

void sim_outside_end(void)
{
    ASSERT(!outside.n_children);
    memset(&outside, 0, sizeof outside);
}
