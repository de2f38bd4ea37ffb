/* Signals of the process, delivered on the control loop (libuv driver). Control thread only. */
#pragma once
#include "sys/loop.h"

struct signals;
typedef void signals_fn(void *owner, int signo);

/* Handle SIGINT, SIGTERM and SIGHUP; ignore SIGPIPE. */
enum err signals_open(struct loop *control, signals_fn *fn, void *owner, struct signals **ret_signals) MUST_CHECK;
/* From then on they are ignored: what is left is the way out. NULL allowed. */
void signals_close(struct signals *s);
