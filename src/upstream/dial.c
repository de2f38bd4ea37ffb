#include "upstream/dial.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/sockaddr.h"
#include "net/stream_tcp.h"
#include <errno.h>

struct attempt {
    struct dial *dial;
    struct stream *stream; /* NULL: not begun, or over */
    unsigned at;           /* index of its address */
};

struct dial {
    struct dial_spec spec;
    dial_fn *fn;
    void *owner;
    struct timer next_timer; /* until the next address gets its chance */
    struct task free;
    unsigned begun, running;
    int worst; /* errno of the most telling failure so far */
    bool over;
    struct attempt attempts[];
};

/* How much a failure tells: an answer of the host, then silence, then no way, then our own
 * troubles. */
static int weight(int os_errno)
{
    switch (os_errno) {
    case 0:
        return 0;
    case ECONNREFUSED:
        return 5;
    case ECONNRESET:
    case ECONNABORTED:
        return 4;
    case ETIMEDOUT:
        return 3;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return 2;
    default:
        return 6; /* EMFILE, EACCES and the like: what the operator has to know first */
    }
}

static const char *words(int os_errno)
{
    switch (os_errno) {
    case ECONNREFUSED:
        return "connection refused";
    case ECONNRESET:
    case ECONNABORTED:
        return "connection reset";
    case ETIMEDOUT:
        return "connection timed out";
    case EHOSTUNREACH:
        return "no route to host";
    case ENETUNREACH:
        return "network unreachable";
    default:
        return err_errno_text(os_errno);
    }
}

static void note(struct dial *d, int os_errno)
{
    if (weight(os_errno) > weight(d->worst))
        d->worst = os_errno;
}

static void on_free(struct task *task)
{
    mem_free(CONTAINER_OF(task, struct dial, free));
}

/* Everything stops; memory goes at the end of the turn. */
static void stop(struct dial *d)
{
    d->over = true;
    timer_stop(d->spec.loop, &d->next_timer);
    for (unsigned i = 0; i < d->begun; i++) {
        stream_close(d->attempts[i].stream, false);
        d->attempts[i].stream = NULL;
    }
    loop_close_later(d->spec.loop, &d->free);
}

static enum err explain(const struct dial *d, struct errctx *ctx)
{
    if (d->worst == ENOMEM)
        (void)err_set(ctx, ERR_NOMEM, "out of memory while connecting to %.*s",
                      STR_ARG(d->spec.name));
    else
        (void)err_set(ctx, ERR_CONNECT_FAILED, "cannot connect to %.*s: %s", STR_ARG(d->spec.name),
                      words(d->worst));
    ctx->os_errno = d->worst;
    return ctx->code;
}

static void fail(struct dial *d)
{
    struct errctx ctx = {0};
    (void)explain(d, &ctx);
    stop(d);
    d->fn(d->owner, ctx.code, NULL, NULL, &ctx);
}

static void win(struct attempt *a)
{
    struct dial *d = a->dial;
    struct stream *s = a->stream;
    a->stream = NULL;
    stream_own(s, NULL, NULL);
    stop(d);
    d->fn(d->owner, ERR_OK, s, &d->spec.addrs[a->at], NULL);
}

static void on_attempt(void *owner, struct stream *s);

/* Begin with the next address. False: it failed at once. */
static bool try_next(struct dial *d)
{
    struct attempt *a = &d->attempts[d->begun];
    *a = (struct attempt){.dial = d, .at = d->begun};
    d->begun++;
    const struct vetted_addr *v = &d->spec.addrs[a->at];
    struct sock_addr to = sockaddr_from_address(&v->address, v->port);
    int fd = -1, os_errno = 0;
    enum err e = sock_connect(&to, &fd, &os_errno);
    if (e) {
        note(d, os_errno ? os_errno : ECONNREFUSED);
        return false;
    }
    /* the registration made now serves the dial and, later, the data */
    e = stream_tcp_new(d->spec.loop, fd, &a->stream);
    if (e) {
        a->stream = NULL;
        note(d, ENOMEM);
        return false;
    }
    stream_own(a->stream, on_attempt, a);
    d->running++;
    return true;
}

/* Begin with the next address that can be tried at all. False: none is left and none is running. */
static bool go_on(struct dial *d)
{
    while (d->begun < d->spec.n) {
        if (!try_next(d))
            continue;
        if (d->begun < d->spec.n)
            timer_set(d->spec.loop, &d->next_timer, LIMIT_EYEBALLS_DELAY);
        return true;
    }
    return d->running > 0;
}

static void on_attempt(void *owner, struct stream *s)
{
    struct attempt *a = owner;
    struct dial *d = a->dial;
    /* the first event tells the outcome; a failed one always reports an end or an error too */
    int os_errno = stream_fin(s) ? sock_error(stream_tcp_fd(s)) : 0;
    if (!os_errno) {
        win(a);
        return;
    }
    note(d, os_errno);
    stream_close(s, false);
    a->stream = NULL;
    d->running--;
    timer_stop(d->spec.loop, &d->next_timer);
    if (!go_on(d))
        fail(d);
}

static void on_next_timer(struct timer *timer)
{
    struct dial *d = CONTAINER_OF(timer, struct dial, next_timer);
    if (!go_on(d))
        fail(d);
}

static enum err check(const struct dial_spec *spec, struct errctx *ctx)
{
    for (unsigned i = 0; i < spec->n; i++) {
        const struct vetted_addr *v = &spec->addrs[i];
        if (v->by != VOUCHED_POLICY && v->by != VOUCHED_OPERATOR)
            return err_set(ctx, ERR_ADDRESS_DENIED, "an address of %.*s was never judged",
                           STR_ARG(spec->name));
        if (spec->is_own && spec->is_own(spec->is_own_owner, &v->address, v->port))
            return err_set(ctx, ERR_LOOP, "%.*s is this gateway itself", STR_ARG(spec->name));
    }
    if (!spec->n)
        return err_set(ctx, ERR_DNS_FAILED, "%.*s has no addresses", STR_ARG(spec->name));
    return ERR_OK;
}

enum err dial_start(const struct dial_spec *spec, dial_fn *fn, void *owner, struct dial **ret_dial,
                    struct errctx *ctx)
{
    enum err e = check(spec, ctx);
    if (e)
        return e;
    struct dial *d = mem_zalloc(sizeof(*d) + spec->n * sizeof(d->attempts[0]));
    if (!d)
        return err_set(ctx, ERR_NOMEM, "out of memory");
    d->spec = *spec;
    d->fn = fn, d->owner = owner;
    timer_init(&d->next_timer, on_next_timer);
    task_init(&d->free, on_free);
    if (!go_on(d)) {
        e = explain(d, ctx);
        mem_free(d); /* nothing points to it */
        return e;
    }
    *ret_dial = d;
    return ERR_OK;
}

void dial_cancel(struct dial *d)
{
    if (d && !d->over)
        stop(d);
}
