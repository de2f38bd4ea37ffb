/* Accepting connections on one socket of one worker, with back-off. Loop thread only. */
#pragma once
#include "sys/loop.h"
#include "sys/sock.h"

struct listener;
/* A connection was accepted; the callee owns fd. `tag` says which configured listener (index). */
typedef void listener_accept_fn(void *owner, int fd, const struct sock_addr *peer, unsigned tag);

/* Starts accepting. The descriptor is borrowed: whoever bound it closes it. On EMFILE and the like interest goes off for 100 ms. */
enum err listener_open(struct loop *loop, int fd, unsigned tag, listener_accept_fn *fn, void *owner, struct listener **ret_listener)
    MUST_CHECK;
void listener_close(struct listener *l); /* NULL allowed */
