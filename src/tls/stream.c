#include "tls/tls_int.h"
#include "base/assert.h"
#include "base/mem.h"
#include <openssl/err.h>

enum { RECORD_BYTES = 16384 };

static struct tls_stream *of(struct stream *s)
{
    return (struct tls_stream *)s;
}
static const struct tls_stream *of_const(const struct stream *s)
{
    return (const struct tls_stream *)s;
}

/* What lies in the queue of errors is taken for the next call's. Clearing an empty one costs more than the calls it is made for. */
static void clear_errors(void)
{
    if (ERR_peek_error())
        ERR_clear_error();
}

/* --- handshake --- */

static void ask(struct tls_stream *t)
{
    t->asked = true;
    task_run_soon(t->base.loop, &t->ready);
}

static void finish(struct tls_stream *t, enum err e, const struct errctx *ctx)
{
    tls_done_fn *done = t->done;
    t->done = NULL;
    if (e) {
        t->read_err = t->write_err = ERR_UPSTREAM_ABORTED;
        tls_sessions_forget(&t->client->sessions, t->key); /* it may be what the peer disliked */
    } else {
        t->established = true;
        ask(t); /* the new owner looks once by itself: bytes may be here already */
    }
    done(t->done_owner, &t->base, e, ctx);
}

static void handshake(struct tls_stream *t)
{
    struct errctx ctx = {0};
    clear_errors();
    int r = SSL_connect(t->ssl);
    if (r == 1) {
        finish(t, ERR_OK, &ctx);
        return;
    }
    int why = SSL_get_error(t->ssl, r);
    if ((why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) && t->write_err != ERR_NOMEM)
        return;
    finish(t, tls_explain(t, &ctx), &ctx);
}

static void wake(struct tls_stream *t)
{
    if (t->closed)
        return;
    if (tls_stream_owes(t))
        (void)tls_stream_flush(t); /* a failure is kept in write_err */
    if (!t->established) {
        if (t->done)
            handshake(t);
        return;
    }
    if (t->base.on_ready)
        t->base.on_ready(t->base.owner, &t->base);
}

static void on_under_ready(void *owner, struct stream *under)
{
    struct tls_stream *t = owner;
    (void)under;
    t->under_dry = false; /* a reader may be content with what was deciphered, and never ask below */
    wake(t);
}

static void on_task(struct task *task)
{
    struct tls_stream *t = CONTAINER_OF(task, struct tls_stream, ready);
    t->asked = t->unread_rest = false;
    wake(t);
}

/* --- operations --- */

static enum err read_front(struct tls_stream *t, void *p, size_t cap, size_t *ret_n)
{
    *ret_n = front_take(&t->front, p, cap);
    t->unread_rest = true;
    task_run_soon(t->base.loop, &t->ready);
    return ERR_OK;
}

/* Nothing came: is it a pause or an end, and which one. */
static enum err read_failed(struct tls_stream *t, int why)
{
    switch (why) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return t->read_err = ERR_EOF;
    default:
        clear_errors();
        /* the end of TCP without close_notify may be an attacker's: never a clean end */
        return t->read_err =
                   t->under_err && t->under_err != ERR_EOF ? t->under_err : ERR_UPSTREAM_ABORTED;
    }
}

/* After a read: whoever stops reading now would wait for an edge that never comes, unless all is
 * drained. */
static void mark_rest(struct tls_stream *t, enum err e)
{
    t->unread_rest = e != ERR_AGAIN && (e || SSL_has_pending(t->ssl) || !t->under_dry);
    if (t->unread_rest)
        task_run_soon(t->base.loop, &t->ready);
    else if (!t->asked)
        task_cancel(&t->ready);
}

static bool tls_dry(const struct stream *s)
{
    const struct tls_stream *t = of_const(s);
    return t->established && !t->front && !t->read_err && stream_dry(t->under) &&
           !SSL_has_pending(t->ssl);
}

static enum err tls_read(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    struct tls_stream *t = of(s);
    if (t->front)
        return read_front(t, p, cap, ret_n);
    if (t->read_err)
        return t->read_err;
    if (!t->established)
        return ERR_AGAIN;
    if (tls_dry(s)) {
        mark_rest(t, ERR_AGAIN);
        return ERR_AGAIN;
    }
    size_t n = 0, k = 0;
    int ok;
    clear_errors();
    /* several small records in one call, but only what is here already */
    while ((ok = SSL_read_ex(t->ssl, (char *)p + n, cap - n, &k)) == 1) {
        n += k;
        if (n == cap || !SSL_has_pending(t->ssl))
            break;
    }
    enum err e = ok == 1 ? ERR_OK : read_failed(t, SSL_get_error(t->ssl, ok));
    mark_rest(t, e);
    if (n)
        *ret_n = n;
    return n ? ERR_OK : e;
}

enum err tls_stream_flush(struct tls_stream *t)
{
    while (tls_stream_owes(t) && !t->write_err) {
        struct iovec v = {t->out.p + t->out_at, t->out.n - t->out_at};
        size_t k = 0;
        enum err e = stream_writev(t->under, &v, 1, &k);
        if (e == ERR_AGAIN)
            return e;
        if (e)
            t->write_err = e;
        else
            t->out_at += k;
    }
    buf_fini(&t->out);
    t->out = (struct buf){0};
    t->out_at = 0;
    return t->write_err;
}

/* Record by record, until the stream below is full. */
static enum err write_all(struct tls_stream *t, const char *p, size_t n, size_t *ret_n)
{
    size_t done = 0;
    clear_errors();
    while (done < n && !tls_stream_owes(t)) {
        size_t k = 0, want = n - done < RECORD_BYTES ? n - done : RECORD_BYTES;
        int ok = SSL_write_ex(t->ssl, p + done, want, &k);
        if (t->write_err)
            return t->write_err;
        if (ok != 1) {
            int why = SSL_get_error(t->ssl, ok);
            clear_errors();
            if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
                break;
            return t->write_err = ERR_UPSTREAM_ABORTED;
        }
        done += k;
    }
    if (!done)
        return ERR_AGAIN;
    *ret_n = done;
    return ERR_OK;
}

static int first_piece(const struct iovec *iov, int n)
{
    int first = 0;
    while (first + 1 < n && !iov[first].iov_len)
        first++;
    return first;
}

/* The pieces as one, so that a head and its body's beginning share a record. Not when one of them
 * lies in the scratch itself. */
static struct iovec coalesce(const struct tls_stream *t, const struct iovec *iov, int n)
{
    size_t at = 0, room = t->scratch_size < RECORD_BYTES ? t->scratch_size : RECORD_BYTES;
    uintptr_t from = (uintptr_t)t->scratch, to = from + room;
    int first = first_piece(iov, n);
    if (first + 1 == n || iov[first].iov_len >= room)
        return iov[first];
    for (int i = first; i < n; i++) {
        uintptr_t p = (uintptr_t)iov[i].iov_base;
        if (iov[i].iov_len && p < to && p + iov[i].iov_len > from)
            return iov[first];
    }
    for (int i = first; i < n && at < room; i++) {
        size_t k = iov[i].iov_len < room - at ? iov[i].iov_len : room - at;
        if (k)
            memcpy(t->scratch + at, iov[i].iov_base, k);
        at += k;
    }
    return (struct iovec){t->scratch, at};
}

static enum err tls_writev(struct stream *s, const struct iovec *iov, int n, size_t *ret_n)
{
    struct tls_stream *t = of(s);
    if (t->write_err)
        return t->write_err;
    if (!t->established)
        return ERR_AGAIN;
    enum err e = tls_stream_flush(t);
    if (e)
        return e;
    struct iovec all = coalesce(t, iov, n), head = iov[first_piece(iov, n)];
    e = write_all(t, all.iov_base, all.iov_len, ret_n);
    if (t->secret && all.iov_base != head.iov_base) /* OpenSSL encrypts its own copy in place */
        mem_wipe(t->scratch, head.iov_len);
    return e;
}

static enum err tls_unread(struct stream *s, struct str bytes)
{
    struct tls_stream *t = of(s);
    if (!bytes.n)
        return ERR_OK;
    enum err e = front_put(&t->front, bytes);
    if (!e)
        ask(t);
    return e;
}

static void close_notify(struct tls_stream *t)
{
    if (SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)
        return;
    clear_errors();
    (void)SSL_shutdown(t->ssl);
    clear_errors();
}

static enum err tls_shutdown(struct stream *s)
{
    struct tls_stream *t = of(s);
    if (!t->established)
        return t->write_err ? t->write_err : ERR_AGAIN;
    enum err e = t->write_err ? t->write_err : tls_stream_flush(t);
    if (e)
        return e;
    close_notify(t);
    e = tls_stream_flush(t);
    return e ? e : stream_shutdown(t->under);
}

static void on_free(struct task *task)
{
    struct tls_stream *t = CONTAINER_OF(task, struct tls_stream, free);
    SSL_free(t->ssl);
    tls_client_unref(t->client);
    X509_free(t->bad_cert);
    buf_fini(&t->out);
    front_free(&t->front);
    mem_free(t);
}

static void tls_close(struct stream *s, bool reset)
{
    struct tls_stream *t = of(s);
    if (t->closed)
        return;
    t->closed = true;
    task_cancel(&t->ready);
    if (t->established) {
        if (!reset && !t->write_err && tls_stream_flush(t) == ERR_OK)
            close_notify(t);
        /* without it SSL_free marks the session as not resumable */
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    stream_close(t->under, reset);
    loop_close_later(s->loop, &t->free);
}

static void tls_again(struct stream *s)
{
    ask(of(s));
}

static bool tls_fin(const struct stream *s)
{
    const struct tls_stream *t = of_const(s);
    return t->read_err || (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN) ||
           stream_fin(t->under);
}

static void tls_secret(struct stream *s, bool on)
{
    of(s)->secret = on;
}

static const struct stream_ops tls_ops = {
    .read = tls_read,
    .writev = tls_writev,
    .unread = tls_unread,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .again = tls_again,
    .fin = tls_fin,
    .secret = tls_secret,
    .dry = tls_dry,
};

/* "host:port" behind the struct. */
static void set_key(struct tls_stream *t, const struct hostname *host, uint16_t port)
{
    char *p = (char *)(t + 1);
    memcpy(p, host->text, host->n);
    p[host->n] = (char)(port >> 8), p[host->n + 1] = (char)(port & 0xff);
    t->key = str_of(p, host->n + 2u);
    t->host = *host;
    t->port = port;
}

enum err tls_client_stream(struct tls_client *c, struct stream *under, const struct hostname *host,
                           uint16_t port, char *scratch, size_t scratch_size, tls_done_fn *done,
                           void *owner, struct stream **ret_stream)
{
    struct tls_stream *t = mem_zalloc(sizeof(*t) + host->n + 2u);
    if (!t)
        goto no_memory;
    t->base = (struct stream){.ops = &tls_ops, .loop = under->loop};
    t->under = under;
    t->client = c;
    t->done = done, t->done_owner = owner;
    t->scratch = scratch, t->scratch_size = scratch_size;
    set_key(t, host, port);
    task_init(&t->ready, on_task);
    task_init(&t->free, on_free);
    t->ssl = tls_client_ssl(c, t);
    if (!t->ssl) {
        mem_free(t);
        goto no_memory;
    }
    c->refs++;
    stream_own(under, on_under_ready, t);
    ask(t);
    *ret_stream = &t->base;
    return ERR_OK;

no_memory:
    stream_close(under, false);
    return ERR_NOMEM;
}

bool tls_stream_resumed(const struct stream *s)
{
    return s->ops == &tls_ops && SSL_session_reused(of_const(s)->ssl) == 1;
}
