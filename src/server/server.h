/* The running gateway: control loop, workers, writer, from ready to exit. */
#pragma once
#include "config/config.h"
#include "config/runtime.h"
#include "net/address.h"

/* A listener as it was really bound. */
struct server_listener {
    bool is_unix;
    struct str path;       /* unix */
    struct address address;
    uint16_t port;         /* tcp */
    bool wildcard;
};
struct server_ready {
    const struct server_listener *listeners;
    size_t n;
    const struct secret *token; /* NULL with --no-auth */
    const struct runtime *runtime;
    /* By route index: why its credential cannot be used now, as far as one sees without running a helper; empty: nothing is known against
     * it. n_missing 0: nobody looked. */
    const struct str *missing;
    size_t n_missing;
};
/* Called once, on the main thread, when every listener is bound and accepts: writes the env file, then the banner. An error ends the
 * program with exit code 1 (the hook has said why on stderr). */
typedef enum err server_ready_fn(void *owner, const struct server_ready *ready);

/* Run until a signal ends it. Returns the exit code: 0 after an orderly end, 1 for a start-up error (said on stderr as
 * "nono: …"). Main thread; called once. */
int server_run(const struct config *config, server_ready_fn *ready, void *owner);
