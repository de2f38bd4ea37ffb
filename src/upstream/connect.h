/* One upstream connection: dial (happy eyeballs, RFC 8305), upstream proxy (HTTP CONNECT, SOCKS5), TLS. A bounded state machine that
 * ends with a stream that speaks to the target (or to the HTTP proxy, for plain forward requests). Loop thread only. */
#pragma once
#include "config/hop.h"
#include "net/stream.h"
#include "net/vetted.h"
#include "tls/client.h"
#include "upstream/dns.h"

struct up_env {
    struct loop *loop;
    struct dns *dns;
    struct tls_client *tls;
    char *scratch;
    size_t scratch_size;
    /* Whether an address is one of our own listeners (ERR_LOOP). */
    bool (*is_own)(void *owner, const struct address *a, uint16_t port);
    void *owner;
};

struct connect_spec {
    const struct hostname *host; /* target; copied */
    uint16_t port;
    bool tls;                    /* TLS to the target */
    struct tls_client *client;   /* with which trust and client certificate; NULL: the environment's */
    const struct hop *hop;       /* NULL: direct; must outlive the connector */
    bool tunnel;                 /* http(s) hop: ask it for a tunnel; false: the stream speaks to the proxy itself */
    const struct vetted_addr *addrs; /* direct and socks5: the target's addresses that policy let through; copied; at most 32 */
    unsigned n;
    uint64_t timeout_ms;         /* for everything together */
    uint64_t handshake_ms;
};
struct connect_result {
    struct stream *stream;    /* the callee owns it; stream_own at once */
    struct vetted_addr peer;  /* address really connected (the hop's when chained) */
    uint64_t waited_dns_ns;
};
/* ERR_OK, or ERR_CONNECT_FAILED, ERR_CONNECT_TIMEOUT, ERR_UPSTREAM_TLS, ERR_PROXY_REFUSED, ERR_DNS_FAILED, ERR_DNS_TIMEOUT, ERR_LOOP,
 * ERR_ADDRESS_DENIED (hop on the floor), ERR_NOMEM, with a sentence. Bytes the proxy sent behind its answer are unread into the stream. */
typedef void connect_fn(void *owner, enum err e, const struct connect_result *r, const struct errctx *ctx);

struct connector;
/* fn is never called before this returns, and once at most; when it is called the connector is gone (cancelling it in the same turn does
 * no harm). */
enum err connect_start(const struct up_env *env, const struct connect_spec *spec, connect_fn *fn, void *owner, struct connector **ret_connector)
    MUST_CHECK;
void connect_cancel(struct connector *c); /* closes everything; fn is not called; NULL allowed */
