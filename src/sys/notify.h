/* systemd: readiness notification and socket activation (the documented protocols, no library). Control thread only. */
#pragma once
#include "base/err.h"
#include "base/str.h"

/* Send "READY=1" and the like to $NOTIFY_SOCKET; does nothing when unset. */
void notify_send(const char *text);
/* Sockets passed by the service manager: count (0: none), first is descriptor 3. Clears the variables. */
int notify_listen_fds(void);
/* Half of WATCHDOG_USEC in ms, or 0. */
uint64_t notify_watchdog_ms(void);
