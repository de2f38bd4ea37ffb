#include "sys/signals.h"
#include "base/mem.h"
#include "sys/sys_int.h"
#include <signal.h>
#include <uv.h>

static const int handled[] = {SIGINT, SIGTERM, SIGHUP};

struct signals {
    struct loop *loop;
    signals_fn *fn;
    void *owner;
    unsigned open; /* handles not yet closed */
    uv_signal_t handles[ARRAY_LEN(handled)];
};

static void on_signal(uv_signal_t *handle, int signo)
{
    struct signals *s = handle->data;
    loop_woke(s->loop);
    if (s->fn)
        s->fn(s->owner, signo);
}

static void on_closed(uv_handle_t *handle)
{
    struct signals *s = handle->data;
    if (--s->open == 0)
        mem_free(s);
}

enum err signals_open(struct loop *control, signals_fn *fn, void *owner,
                      struct signals **ret_signals)
{
    struct signals *s = mem_zalloc(sizeof(*s));
    if (!s)
        return ERR_NOMEM;
    s->loop = control;
    s->fn = fn;
    s->owner = owner;
    for (size_t i = 0; i < ARRAY_LEN(handled); i++) {
        int rc = uv_signal_init(loop_uv(control), &s->handles[i]);
        if (rc == 0) {
            s->handles[i].data = s;
            s->open++;
            rc = uv_signal_start(&s->handles[i], on_signal, handled[i]);
        }
        if (rc < 0) {
            if (s->open == 0)
                mem_free(s);
            else
                signals_close(s);
            return ERR_SYSTEM;
        }
    }
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    *ret_signals = s;
    return ERR_OK;
}

void signals_close(struct signals *s)
{
    if (!s)
        return;
    s->fn = NULL;
    for (unsigned i = 0, n = s->open; i < n; i++)
        uv_close((uv_handle_t *)&s->handles[i], on_closed);
    /* libuv has put the defaults back: an impatient second signal must not cut the way out short. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    for (size_t i = 0; i < ARRAY_LEN(handled); i++)
        (void)sigaction(handled[i], &ignore, NULL);
}
