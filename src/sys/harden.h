/* What the process does to itself at start. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

void harden_no_dumps(void);                /* no core dumps, not dumpable (no ptrace by peers of the same uid) */
uint64_t harden_raise_descriptors(void);   /* soft limit to the hard one; returns the limit in force */
bool harden_is_terminal(int fd);
/* Wipe the value of an argument in place so that /proc/PID/cmdline does not show it. */
void harden_wipe_argument(char *arg);
