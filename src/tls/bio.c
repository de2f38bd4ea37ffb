#include "tls/tls_int.h"
#include "base/assert.h"
#include <openssl/bio.h>

enum { OUT_MAX = 1 << 20 }; /* far above the one record that ever waits */

static BIO_METHOD *method; /* made once by tls_bio_init, read only afterwards */

static int bio_read(BIO *b, char *p, size_t cap, size_t *ret_n)
{
    struct tls_stream *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    enum err e = stream_read(t->under, p, cap, ret_n);
    t->under_dry = e != ERR_OK || stream_dry(t->under);
    if (e == ERR_OK)
        return 1;
    *ret_n = 0;
    if (e == ERR_AGAIN)
        BIO_set_retry_read(b);
    else
        t->under_err = e;
    return 0;
}

static void keep(struct tls_stream *t, const char *p, size_t n)
{
    if (!tls_stream_owes(t))
        buf_init(&t->out, OUT_MAX), t->out_at = 0;
    buf_add(&t->out, p, n);
    if (!buf_ok(&t->out)) {
        t->write_err = ERR_NOMEM;
        buf_fini(&t->out);
        buf_init(&t->out, OUT_MAX), t->out_at = 0;
    }
}

static int bio_write(BIO *b, const char *p, size_t n, size_t *ret_n)
{
    struct tls_stream *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    *ret_n = n;
    if (tls_stream_owes(t)) {
        keep(t, p, n);
        return 1;
    }
    while (n && !t->write_err) {
        struct iovec v = {(void *)(uintptr_t)p, n};
        size_t k = 0;
        enum err e = stream_writev(t->under, &v, 1, &k);
        if (e == ERR_AGAIN) {
            keep(t, p, n);
            break;
        }
        if (e)
            t->write_err = e; /* reading may go on: the peer's last words are still there */
        else
            p += k, n -= k;
    }
    return 1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    const struct tls_stream *t = BIO_get_data(b);
    (void)num, (void)ptr;
    switch (cmd) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return t->under_err == ERR_EOF;
    default:
        return 0;
    }
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

void tls_bio_init(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "nono stream");
    ASSERT(m && BIO_meth_set_read_ex(m, bio_read) && BIO_meth_set_write_ex(m, bio_write) &&
           BIO_meth_set_ctrl(m, bio_ctrl) && BIO_meth_set_create(m, bio_create));
    method = m;
}

BIO *tls_bio_new(struct tls_stream *t)
{
    ASSERT(method); /* tls_init was called */
    BIO *b = BIO_new(method);
    if (b)
        BIO_set_data(b, t);
    return b;
}
