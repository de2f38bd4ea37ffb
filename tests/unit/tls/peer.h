/* A TLS server on the other end of any stream, in the same loop. */
#pragma once
#include "base/buf.h"
#include "net/stream.h"
#include <openssl/ssl.h>

enum peer_end { PEER_STAYS, PEER_CLOSE_NOTIFY, PEER_TRUNCATES };

struct peer {
    struct stream *s; /* NULL once closed */
    SSL *ssl;
    BIO *in, *out;
    struct buf got;  /* plaintext received */
    struct buf send; /* plaintext still to go: bytes [sent, send.n) */
    size_t sent;
    struct buf wire; /* ciphertext on its way out */
    size_t wired;
    enum peer_end end; /* what follows when everything was sent */
    bool echo;
    bool saw_close_notify, saw_eof, failed;
};
void peer_open(struct peer *p, struct stream *s, SSL_CTX *ctx);
void peer_send(struct peer *p, struct str bytes);
void peer_pump(struct peer *p); /* after changing what it shall do */
void peer_close(struct peer *p);
