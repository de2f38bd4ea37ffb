/* One who asks for connections, on a loop with a scripted server and a DNS of its own. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "server.h"
#include "sys/clock.h"
#include "upstream/connect.h"

enum { WAIT_MS = 8000 };

struct dns_query {
    struct task answer;
    dns_fn *fn;
    void *owner;
};
struct fake_dns {
    enum { DNS_SYNC, DNS_LATER, DNS_FAILS, DNS_NEVER } how;
    const char *address; /* besides 127.0.0.1 */
    struct dns_query q;
    bool open;
};

struct asker {
    struct connector *c;
    bool called;
    enum err e;
    char text[200];
    struct connect_result r;
    struct stream *s;
    struct buf got;
    uint64_t began;
};

extern struct loop *loop;
extern struct server server;
extern struct up_env env;
extern struct fake_dns dns;
extern uint16_t own_port; /* what is_own calls ours; 0: nothing */
extern SSL_CTX *origin_ctx, *proxy_ctx, *bad_ctx;

#define TURN_UNTIL(cond)                                                                           \
    do {                                                                                           \
        uint64_t end_ = clock_mono_ns() + WAIT_MS * NS_PER_MS;                                     \
        while (!(cond)) {                                                                          \
            loop_turn(loop, NS_PER_MS);                                                            \
            if (server.fd >= 0)                                                                    \
                server_turn(&server);                                                              \
            assert_true(clock_mono_ns() < end_);                                                   \
        }                                                                                          \
    } while (0)

int group_setup(void **state);
int group_teardown(void **state);
void settle(void);
struct hostname host_of(const char *text);
struct vetted_addr local(uint16_t port);
/* "…:" or "…:/": the server's port goes behind the last colon. */
struct hop hop_of(const char *form);
void on_connected(void *owner, enum err e, const struct connect_result *r,
                  const struct errctx *ctx);
void ask(struct asker *k, const char *host, struct connect_spec spec);
void ask_done(struct asker *k);
uint64_t took_ms(const struct asker *k);
void wants(const struct asker *k, enum err e, const char *says);
/* Send through what was made and get it back. */
void check_echo(struct asker *k);
