#include "peer.h"
#include "base/assert.h"
#include <openssl/err.h>

enum { PEER_MAX = 64 << 20 };

static void take_in(struct peer *p)
{
    char b[16384];
    size_t n = 0;
    enum err e;
    while (p->s && (e = stream_read(p->s, b, sizeof(b), &n)) != ERR_AGAIN) {
        if (e) {
            p->saw_eof = true;
            return;
        }
        ASSERT(BIO_write(p->in, b, (int)n) == (int)n);
    }
}

static void put_out(struct peer *p)
{
    char b[16384];
    int n;
    while ((n = BIO_read(p->out, b, sizeof(b))) > 0)
        buf_add(&p->wire, b, (size_t)n);
    while (p->s && p->wired < p->wire.n) {
        struct iovec v = {p->wire.p + p->wired, p->wire.n - p->wired};
        size_t k = 0;
        enum err e = stream_writev(p->s, &v, 1, &k);
        if (e)
            return;
        p->wired += k;
    }
    buf_reset(&p->wire);
    p->wired = 0;
}

static void read_plain(struct peer *p)
{
    char b[16384];
    size_t n = 0;
    while (SSL_read_ex(p->ssl, b, sizeof(b), &n) == 1) {
        buf_add(&p->got, b, n);
        if (p->echo)
            buf_add(&p->send, b, n);
    }
    if (SSL_get_shutdown(p->ssl) & SSL_RECEIVED_SHUTDOWN)
        p->saw_close_notify = true;
    else if (ERR_peek_error())
        p->failed = true;
    ERR_clear_error();
}

static void write_plain(struct peer *p)
{
    while (p->sent < p->send.n && p->wired == p->wire.n) {
        size_t n = p->send.n - p->sent, k = 0;
        if (SSL_write_ex(p->ssl, p->send.p + p->sent, n < 16384 ? n : 16384, &k) != 1)
            return;
        p->sent += k;
        put_out(p);
    }
}

void peer_pump(struct peer *p)
{
    if (!p->s)
        return;
    ERR_clear_error();
    put_out(p);
    take_in(p);
    if (!SSL_is_init_finished(p->ssl))
        (void)SSL_do_handshake(p->ssl);
    if (SSL_is_init_finished(p->ssl)) {
        read_plain(p);
        write_plain(p);
    } else if (ERR_peek_error()) {
        p->failed = true;
    }
    ERR_clear_error();
    put_out(p);
    if (p->end != PEER_STAYS && SSL_is_init_finished(p->ssl) && p->sent == p->send.n &&
        p->wired == p->wire.n) {
        if (p->end == PEER_CLOSE_NOTIFY)
            (void)SSL_shutdown(p->ssl);
        put_out(p);
        p->end = PEER_TRUNCATES; /* once the alert is out */
        if (p->wired < p->wire.n)
            return;
        (void)stream_shutdown(p->s);
        p->end = PEER_STAYS;
    } else if (p->saw_eof || p->failed) {
        (void)stream_shutdown(p->s);
    }
}

static void on_ready(void *owner, struct stream *s)
{
    (void)s;
    peer_pump(owner);
}

void peer_open(struct peer *p, struct stream *s, SSL_CTX *ctx)
{
    *p = (struct peer){.s = s};
    p->ssl = SSL_new(ctx);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    ASSERT(p->ssl && p->in && p->out);
    SSL_set_bio(p->ssl, p->in, p->out);
    SSL_set_accept_state(p->ssl);
    SSL_set_mode(p->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    buf_init(&p->got, PEER_MAX);
    buf_init(&p->send, PEER_MAX);
    buf_init(&p->wire, PEER_MAX);
    stream_own(s, on_ready, p);
    stream_again(s);
}

void peer_send(struct peer *p, struct str bytes)
{
    buf_add_str(&p->send, bytes);
    peer_pump(p);
}

void peer_close(struct peer *p)
{
    stream_close(p->s, false);
    p->s = NULL;
    if (p->ssl)
        SSL_set_shutdown(p->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(p->ssl);
    p->ssl = NULL;
    buf_fini(&p->got);
    buf_fini(&p->send);
    buf_fini(&p->wire);
}
