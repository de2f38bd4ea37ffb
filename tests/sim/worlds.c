/* Seeded worlds: a worker with its policy, clients, origins and faults drawn from a seed, run to
 * its end in simulated time. Usage: worlds --seconds S | worlds --seed N [--count N] [--twice]. A
 * failing seed is printed; `--seed N` replays it bit for bit; --twice runs every world twice and
 * compares. */
#include "audit/record.h"
#include "base/assert.h"
#include "base/encode.h"
#include "base/mem.h"
#include "net/sockaddr.h"
#include "net/stream_tcp.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "sim_int.h"
#include "sys/clock.h"
#include "sys/sock.h"
#include "upstream/pool.h"
#include "wire.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    STEPS = 6,
    CLIENTS = 24,
    SERVERS = 512,
    PORT_GATEWAY = 8080,
    N_POLICIES = 5,
    PORT_HOP = 3128
};
#define TOKEN "world-token-0123456789abcdef"

enum step_kind {
    STEP_GET,
    STEP_HEAD,
    STEP_POST,
    STEP_POST_CHUNKED,
    STEP_EXPECT,
    STEP_OLD,
    STEP_CONNECT,
    STEP_GARBAGE,
    STEP_HALF_HEAD
};
struct step {
    enum step_kind kind;
    unsigned tag;
    const char *name;
    bool auth, with_next;
};
struct world;
struct browser {
    struct sim_peer peer;
    struct wire wire;
    struct world *world;
    struct step steps[STEPS];
    unsigned n_steps, sent, answered;
    bool interim, tunnel, lingers, owes_body, no_body, closing;
    unsigned tag; /* of the response being read; 0: not an origin's */
    size_t got, tunnel_len;
};
enum server_mode {
    SERVE_WELL,
    SERVE_EARLY,
    SERVE_SHORT,
    SERVE_RESET,
    SERVE_CLOSE,
    SERVE_SILENT,
    SERVE_GARBAGE,
    SERVE_MODES
};
struct server {
    struct sim_peer peer;
    struct wire wire;
    struct world *world;
    enum server_mode mode;
    unsigned tag;
    size_t got, want;
    bool echo, hop, answered, ends, no_body;
};
struct world {
    uint64_t seed;
    struct loop *loop;
    struct shared shared;
    struct listen_point point;
    struct worker *worker;
    struct runtime *runtime;
    int listener;
    struct browser clients[CLIENTS];
    unsigned n_clients;
    struct server *servers[SERVERS];
    unsigned n_servers, next_tag;
    unsigned heads_sent, connections, responses, records, relayed, tunnels;
    char (*ids)[24];
    bool calm; /* nothing goes wrong here: every request has to succeed */
    bool oom, ending, broken, verbose,
        no_auth; /* no_auth: a policy of this world asks for no credentials */
};
static struct writer *writer;
static struct runtime *runtimes[N_POLICIES];
static unsigned statuses[600]; /* of all answers of all worlds: shows what they try */
static unsigned all_heads, all_relayed, all_tunnels, all_records;

static void broken(struct world *w, const char *what, const char *detail)
{
    if (!w->broken)
        printf("seed %" PRIu64 ": %s%s%s (at %.6f s)\n", w->seed, what, *detail ? ": " : "", detail,
               (double)sim_now() / 1e9);
    w->broken = true;
}

/* --- what every tag means --- */

static size_t tag_length(unsigned tag)
{
    unsigned h = tag * 2654435761u;
    unsigned most = h % 3 == 0 ? 60000 : h % 3 == 1 ? 5000 : 200;
    return (h >> 8) % most;
}

static char tag_byte(unsigned tag, size_t i)
{
    return (char)('a' + (tag * 7 + i) % 26);
}

static bool tag_matches(unsigned tag, size_t at, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++)
        if (bytes.p[i] != tag_byte(tag, at + i))
            return false;
    return true;
}

static void write_text(struct sim_peer *p, const char *format, ...) PRINTF_LIKE(2, 3);
static void write_text(struct sim_peer *p, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    sim_write(p, text, (size_t)n);
}

static void write_tagged(struct sim_peer *p, unsigned tag, size_t from, size_t n)
{
    char piece[1024];
    while (n) {
        size_t k = n < sizeof piece ? n : sizeof piece;
        for (size_t i = 0; i < k; i++)
            piece[i] = tag_byte(tag, from + i);
        sim_write(p, piece, k);
        from += k;
        n -= k;
    }
}

static void write_chunked(struct sim_peer *p, unsigned tag, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t k = 1 + sim_below(n - at);
        write_text(p, "%zx\r\n", k);
        write_tagged(p, tag, at, k);
        write_text(p, "\r\n");
        at += k;
    }
    write_text(p, "0\r\n\r\n");
}

/* --- origins --- */

static void no_secret(struct world *w, struct str bytes)
{
    if (bytes.n && memmem(bytes.p, bytes.n, TOKEN, sizeof TOKEN - 1))
        broken(w, "the token reached an origin", "");
}

static void server_answer(struct server *s)
{
    size_t n = tag_length(s->tag);
    struct sim_peer *p = &s->peer;
    s->answered = true;
    if (s->mode == SERVE_SILENT)
        return;
    if (s->no_body) {
        write_text(p, "HTTP/1.1 200 OK\r\nX-Tag: %u\r\nContent-Length: %zu\r\n\r\n", s->tag, n);
        return;
    }
    if (s->mode == SERVE_GARBAGE) {
        write_text(p, "HTTP/1.1 2\x01 what\r\n: x\r\n\r\n");
        return;
    }
    if (s->mode == SERVE_CLOSE) {
        sim_close(p);
        return;
    }
    if (sim_chance(100))
        write_text(p, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    unsigned framing = (unsigned)sim_below(3);
    write_text(p, "HTTP/1.1 200 OK\r\nX-Tag: %u\r\n", s->tag);
    if (s->mode == SERVE_SHORT || s->mode == SERVE_RESET) { /* never the whole of it */
        if (framing == 0 || (framing == 2 && s->mode == SERVE_SHORT))
            write_text(p, "Content-Length: %zu\r\n\r\n", n + 1);
        else if (framing == 1)
            write_text(p, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", n + 1);
        else
            write_text(p, "\r\n");
        write_tagged(p, s->tag, 0, sim_below(n + 1));
        s->mode == SERVE_SHORT ? sim_shutdown(p) : sim_reset(p);
        return;
    }
    if (framing == 0) {
        write_text(p, "Content-Length: %zu\r\n\r\n", n);
        write_tagged(p, s->tag, 0, n);
    } else if (framing == 1) {
        write_text(p, "Transfer-Encoding: chunked\r\n\r\n");
        write_chunked(p, s->tag, n);
    } else {
        write_text(p, "Connection: close\r\n\r\n");
        write_tagged(p, s->tag, 0, n);
        s->ends = true;
        sim_shutdown(p);
    }
}

static void unpause_server(void *owner)
{
    struct server *s = owner;
    sim_pause(&s->peer, false);
}

/* The upstream proxy is asked for a tunnel: behind it is an echo. */
static enum wire_body hop_connect(struct server *s)
{
    unsigned how = s->world->calm ? 9 : (unsigned)sim_below(10);
    s->echo = true;
    if (how == 0) {
        write_text(&s->peer, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        return WIRE_NO_BODY;
    }
    if (how == 1)
        sim_close(&s->peer);
    else if (how > 2) /* else silent */
        write_text(&s->peer, "HTTP/1.1 200 Connected\r\nX-Hop: 1\r\n\r\n");
    return WIRE_RAW;
}

static enum wire_body server_head(void *owner, struct str head)
{
    struct server *s = owner;
    const char *at = memmem(head.p, head.n, "/t/", 3);
    struct str len = wire_field(head, "x-length");
    uint64_t tag = 0, want = 0;
    no_secret(s->world, head);
    if (memmem(head.p, head.n, "denied.test", 11))
        broken(s->world, "a denied name went to the upstream proxy", "");
    if (s->hop && str_starts(head, STR("CONNECT ")))
        return hop_connect(s);
    s->no_body = str_starts(head, STR("HEAD "));
    if (at)
        tag = strtoull(at + 3, NULL, 10);
    if (len.n && !str_u64(len, UINT32_MAX, &want))
        broken(s->world, "X-Length changed on the way", "");
    if (!tag)
        broken(s->world, "an origin got a request that nobody sent", "");
    s->tag = (unsigned)tag;
    s->got = 0;
    s->want = (size_t)want;
    s->answered = false;
    s->mode =
        s->world->calm || sim_chance(600) ? SERVE_WELL : (enum server_mode)sim_below(SERVE_MODES);
    if (!s->world->calm && sim_chance(100)) { /* takes nothing for a while, or ever */
        sim_pause(&s->peer, true);
        if (sim_chance(700))
            sim_after(sim_below(90000) * NS_PER_MS, unpause_server, s);
    }
    if (s->mode == SERVE_EARLY)
        server_answer(s);
    else if (wire_field(head, "expect").n)
        write_text(&s->peer, "HTTP/1.1 100 Continue\r\n\r\n");
    return WIRE_BY_FIELDS;
}

static void server_body(void *owner, struct str bytes)
{
    struct server *s = owner;
    if (s->echo) {
        no_secret(s->world, bytes);
        sim_write(&s->peer, bytes.p, bytes.n);
        return;
    }
    if (!tag_matches(s->tag, s->got, bytes))
        broken(s->world, "a request body changed on the way", "");
    s->got += bytes.n;
}

static void server_end(void *owner)
{
    struct server *s = owner;
    if (s->echo)
        return;
    if (s->got != s->want)
        broken(s->world, "a request looked complete and was not", "");
    if (!s->answered)
        server_answer(s);
}

static void server_bytes(struct sim_peer *p, const char *bytes, size_t n)
{
    struct server *s = p->owner;
    if (s->echo && !s->hop)
        server_body(s, str_of(bytes, n));
    else
        wire_feed(&s->wire, bytes, n);
}

static void server_fin(struct sim_peer *p)
{
    struct server *s = p->owner;
    if (s->echo)
        sim_shutdown(p);
    else
        sim_close(p);
}

static struct server *server_new(struct world *w, bool echo)
{
    struct server *s = sim_alloc(sizeof *s);
    s->world = w;
    s->echo = echo;
    s->peer.owner = s;
    s->peer.on_bytes = server_bytes;
    s->peer.on_fin = server_fin;
    s->wire = (struct wire){
        .owner = s, .on_head = server_head, .on_body = server_body, .on_end = server_end};
    w->servers[w->n_servers++] = s;
    return s;
}

/* The oracle: what no policy of these worlds lets through. Not the gateway's own code. */
static bool forbidden(const struct address *a)
{
    const uint8_t *b = a->bytes;
    if (a->family == ADDRESS_V4)
        return b[0] == 127 || b[0] == 0 || (b[0] == 169 && b[1] == 254) ||
               (b[0] == 10 && b[1] == 66);
    static const uint8_t none[16];
    return !memcmp(b, none, 15) || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || b[0] == 0xff;
}

static enum sim_reach on_dial(void *owner, const struct address *to, uint16_t port,
                              struct sim_peer **ret_peer)
{
    struct world *w = owner;
    if (forbidden(to))
        broken(w, "dialled an address that policy denies", "");
    if (w->n_servers == SERVERS)
        return SIM_REFUSES;
    uint8_t last = to->bytes[to->family == ADDRESS_V4 ? 3 : 15];
    if (last % 16 == 13)
        return SIM_REFUSES;
    if (last % 16 == 14)
        return SIM_HOLE;
    if (last % 16 == 15)
        return SIM_UNREACHABLE;
    struct server *s = server_new(w, port == 443);
    s->hop = port == PORT_HOP;
    *ret_peer = &s->peer;
    return SIM_ANSWERS;
}

/* --- names --- */

static const char *const names[] = {"good.test", "good2.test",  "six.test",    "both.test",
                                    "dead.test", "hole.test",   "rebind.test", "meta.test",
                                    "cidr.test", "denied.test", "nx.test",     "fail.test",
                                    "slow.test", "never.test",  "localhost",   "mapped.test"};

static void add_address(struct sim_dns_reply *r, enum address_family family, const char *text)
{
    struct address a;
    if (address_parse(str_from(text), &a) && a.family == family)
        r->v[r->n++] = a;
}

static void answer_name(const struct hostname *name, enum address_family family,
                        struct sim_dns_reply *r)
{
    static const struct {
        const char *name, *addresses;
    } zone[] = {
        {"good.test", "10.1.0.1 10.1.0.2"},
        {"good2.test", "10.1.0.3"},
        {"six.test", "2001:db8::1"},
        {"both.test", "2001:db8::e 2001:db8::2 10.1.0.4"},
        {"dead.test", "10.1.0.13 10.1.0.15 10.1.0.5"},
        {"hole.test", "10.1.0.14 10.1.0.6"},
        {"rebind.test", "10.1.0.7"},
        {"meta.test", "10.1.0.8 169.254.169.254"},
        {"cidr.test", "10.66.0.1"},
        {"slow.test", "10.1.0.9"},
        {"localhost", "127.0.0.1 ::1"},
        {"mapped.test", "::ffff:127.0.0.1 fe80::1"},
        {"denied.test", "10.1.0.10"},
        {"hop.test", "10.9.0.2 10.9.0.13"},
    };
    for (size_t i = 0; i < ARRAY_LEN(zone); i++) {
        struct str rest = str_from(zone[i].addresses), one;
        if (strcmp(zone[i].name, name->text))
            continue;
        r->err = ERR_OK;
        while (str_next(&rest, ' ', &one)) {
            char text[64] = "";
            memcpy(text, one.p, one.n);
            add_address(r, family, text);
        }
    }
}

static void on_dns(void *owner, const struct hostname *name, enum address_family family,
                   struct sim_dns_reply *r)
{
    struct world *w = owner;
    *r = (struct sim_dns_reply){
        .err = ERR_DNS_FAILED, .ttl_s = (uint32_t)sim_below(5), .delay_ms = sim_below(40)};
    if (!strcmp(name->text, "denied.test"))
        broken(w, "asked for the address of a denied name", "");
    answer_name(name, family, r);
    if (!strcmp(name->text, "rebind.test") && sim_chance(500)) {
        r->n = 0;
        add_address(r, family, sim_chance(500) ? "127.0.0.1" : "169.254.169.254");
    }
    if (!strcmp(name->text, "slow.test"))
        r->delay_ms = sim_below(15000);
    if (!strcmp(name->text, "never.test"))
        r->delay_ms = UINT64_MAX;
    if (!strcmp(name->text, "fail.test"))
        r->err = sim_chance(500) ? ERR_DNS_TIMEOUT : ERR_DNS_FAILED;
}

/* --- clients --- */

static void credentials(const struct step *s, char *text, size_t n)
{
    if (s->auth)
        snprintf(text, n, "Proxy-Authorization: Bearer %s\r\n", TOKEN);
    else
        snprintf(text, n, "X-No-Credentials: 1\r\n");
}

static void send_step(struct browser *c, const struct step *s)
{
    struct sim_peer *p = &c->peer;
    char auth[128];
    size_t len = tag_length(s->tag + 1);
    credentials(s, auth, sizeof auth);
    c->world->heads_sent++;
    c->sent++;
    switch (s->kind) {
    case STEP_GET:
        write_text(p, "GET http://%s/t/%u HTTP/1.1\r\nHost: %s\r\n%s\r\n", s->name, s->tag, s->name,
                   auth);
        break;
    case STEP_HEAD:
        write_text(p, "HEAD http://%s/t/%u HTTP/1.1\r\nHost: %s\r\n%s\r\n", s->name, s->tag,
                   s->name, auth);
        break;
    case STEP_OLD:
        write_text(p, "GET http://%s/t/%u HTTP/1.0\r\n%s\r\n", s->name, s->tag, auth);
        break;
    case STEP_EXPECT:
        write_text(
            p,
            "POST http://%s/t/%u HTTP/1.1\r\nHost: %s\r\n%sX-Length: %zu\r\nContent-Length: %zu\r\n"
            "Expect: 100-continue\r\n\r\n",
            s->name, s->tag, s->name, auth, len, len);
        c->owes_body = true;
        break;
    case STEP_POST:
        write_text(p,
                   "POST http://%s/t/%u HTTP/1.1\r\nHost: %s\r\n%sX-Length: %zu\r\nContent-Length: "
                   "%zu\r\n\r\n",
                   s->name, s->tag, s->name, auth, len, len);
        write_tagged(p, s->tag, 0, len);
        break;
    case STEP_POST_CHUNKED:
        write_text(p,
                   "POST http://%s/t/%u HTTP/1.1\r\nHost: %s\r\n%sX-Length: "
                   "%zu\r\nTransfer-Encoding: chunked\r\n\r\n",
                   s->name, s->tag, s->name, auth, len);
        write_chunked(p, s->tag, len);
        break;
    case STEP_CONNECT:
        write_text(p, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n%s\r\n", s->name, s->name, auth);
        break;
    case STEP_GARBAGE:
        write_text(p, "GET http://good.test/t/%u HTTP/1.1\r\nHost : x\r\n\r\n", s->tag);
        break;
    default:
        write_text(p, "GET http://good.test/t/%u HTT", s->tag);
        break;
    }
}

static void send_next(struct browser *c)
{
    while (c->sent < c->n_steps && sim_is_open(&c->peer)) {
        const struct step *s = &c->steps[c->sent];
        send_step(c, s);
        if (!s->with_next || s->kind == STEP_CONNECT || s->kind == STEP_EXPECT ||
            s->kind == STEP_OLD)
            return;
    }
}

static void client_open(struct sim_peer *p)
{
    send_next(p->owner);
}

static enum wire_body client_head(void *owner, struct str head)
{
    struct browser *c = owner;
    struct world *w = c->world;
    struct sim_peer *p = &c->peer;
    uint64_t status = 0, tag = 0;
    struct str x = wire_field(head, "x-tag");
    if (head.n < 13 || !str_u64(str_of(head.p + 9, 3), 999, &status) || status < 100)
        broken(w, "a client got a malformed answer", "");
    c->interim = status < 200;
    if (status == 100 && c->owes_body) {
        const struct step *s = &c->steps[c->sent - 1];
        c->owes_body = false;
        write_tagged(p, s->tag, 0, tag_length(s->tag + 1));
    }
    if (c->interim)
        return WIRE_NO_BODY;
    w->responses++;
    statuses[status < 600 ? status : 0]++;
    c->closing = str_eq_nocase(wire_field(head, "connection"), STR("close")) ||
                 str_starts(head, STR("HTTP/1.0"));
    if (c->answered >= c->sent) {
        /* a late head's 408 and a limit's 503 answer nothing that was complete */
        c->tag = 0;
        return WIRE_BY_FIELDS;
    }
    const struct step *s = &c->steps[c->answered];
    if (w->calm && s->auth && status != 200)
        broken(w, "a request failed though nothing was wrong", s->name);
    w->relayed += x.n > 0;
    c->got = 0;
    c->tag = x.n && str_u64(x, UINT32_MAX, &tag) ? (unsigned)tag : 0;
    if (c->tag && (c->tag != s->tag || status != 200))
        broken(w, "an answer went to another request", "");
    if (c->tag && !s->auth && !w->no_auth)
        broken(w, "an origin answered a client without credentials", "");
    if (!strcmp(s->name, "denied.test") && status == 200)
        broken(w, "a denied name answered", "");
    if (s->kind == STEP_CONNECT && status == 200) {
        c->tunnel = true;
        w->tunnels++;
        c->tunnel_len = tag_length(s->tag) + 1;
        write_tagged(&c->peer, s->tag, 0, c->tunnel_len);
        c->tag = s->tag;
        return WIRE_RAW;
    }
    if (!c->tag && status == 200)
        broken(w, "a 200 that no origin sent", "");
    c->no_body = s->kind == STEP_HEAD;
    return c->no_body ? WIRE_NO_BODY : WIRE_BY_FIELDS;
}

static void client_body(void *owner, struct str bytes)
{
    struct browser *c = owner;
    if (c->tag && !tag_matches(c->tag, c->got, bytes))
        broken(c->world, c->tunnel ? "tunnel bytes changed" : "a response body changed on the way",
               "");
    c->got += bytes.n;
    if (c->tunnel && c->got > c->tunnel_len)
        broken(c->world, "a tunnel made bytes of its own", "");
    if (c->tunnel && c->got == c->tunnel_len && !c->lingers)
        sim_chance(500) ? sim_shutdown(&c->peer) : sim_close(&c->peer);
}

static void client_end(void *owner)
{
    struct browser *c = owner;
    if (c->interim)
        return;
    if (c->tag && !c->no_body && c->got != tag_length(c->tag))
        broken(c->world, "a response looked complete and was not", "");
    c->answered++;
    if (c->owes_body ||
        c->closing) /* answered without its body: a client may only close then, or send it */
        sim_close(&c->peer);
    c->owes_body = false;
    if (c->answered == c->sent)
        send_next(c);
    if (c->answered == c->n_steps && !c->lingers)
        sim_close(&c->peer);
}

static void client_bytes(struct sim_peer *p, const char *bytes, size_t n)
{
    struct browser *c = p->owner;
    wire_feed(&c->wire, bytes, n);
}

static void client_fin(struct sim_peer *p)
{
    struct browser *c = p->owner;
    if (!c->tunnel)
        wire_fin(&c->wire);
    sim_close(p);
}

static void start_client(void *owner)
{
    struct browser *c = owner;
    static const uint8_t v4[4] = {127, 0, 0, 1};
    struct address at = address_from_bytes(ADDRESS_V4, v4);
    if (!c->world->ending && sim_connect(&c->peer, &at, PORT_GATEWAY))
        c->world->connections++;
}

static void leave(void *owner)
{
    struct browser *c = owner;
    sim_chance(500) ? sim_close(&c->peer) : sim_reset(&c->peer);
}

static void pause_client(void *owner)
{
    struct browser *c = owner;
    sim_pause(&c->peer, true);
}

static void unpause_client(void *owner)
{
    struct browser *c = owner;
    sim_pause(&c->peer, false);
}

static void plan_client(struct world *w, struct browser *c)
{
    *c = (struct browser){.world = w,
                          .n_steps = 1 + (unsigned)sim_below(STEPS),
                          .lingers = !w->calm && sim_chance(200)};
    c->peer = (struct sim_peer){
        .owner = c, .on_open = client_open, .on_bytes = client_bytes, .on_fin = client_fin};
    c->wire = (struct wire){.is_response = true,
                            .owner = c,
                            .on_head = client_head,
                            .on_body = client_body,
                            .on_end = client_end};
    for (unsigned i = 0; i < c->n_steps; i++) {
        struct step *s = &c->steps[i];
        s->kind = !w->calm && sim_chance(30)   ? STEP_GARBAGE
                  : !w->calm && sim_chance(20) ? STEP_HALF_HEAD
                                               : (enum step_kind)sim_below(STEP_GARBAGE);
        s->name = w->calm           ? names[sim_below(6)]
                  : sim_chance(500) ? names[sim_below(4)]
                                    : names[sim_below(ARRAY_LEN(names))];
        s->tag = w->next_tag += 2;
        s->auth = !sim_chance(50);
        s->with_next = !w->calm && sim_chance(150);
    }
    uint64_t start = sim_below(4000) * NS_PER_MS;
    sim_after(start, start_client, c);
    if (w->calm)
        return;
    if (sim_chance(150))
        sim_after(start + sim_below(3000) * NS_PER_MS, leave, c);
    if (sim_chance(150)) {
        sim_after(start + sim_below(100) * NS_PER_MS, pause_client, c);
        if (sim_chance(700))
            sim_after(start + (100 + sim_below(90000)) * NS_PER_MS, unpause_client, c);
    }
}

/* --- audit --- */

static void read_records(struct world *w)
{
    const char *p;
    size_t n;
    while (w->worker->audit && queue_peek(w->worker->audit, &p, &n)) {
        struct str rest = str_of(p, n), line;
        while (str_next(&rest, '\n', &line)) {
            static const char key[] = "\"request_id\":\"";
            const char *at = line.n ? memmem(line.p, line.n, key, sizeof key - 1) : NULL;
            if (!at)
                continue;
            w->ids = sim_grow(w->ids, (w->records + 1) * sizeof w->ids[0]);
            if (w->verbose)
                printf("%.*s\n", (int)line.n, line.p);
            char *id = w->ids[w->records++];
            snprintf(id, 24, "%.*s", (int)strcspn(at + sizeof key - 1, "\""), at + sizeof key - 1);
            if (memmem(line.p, line.n, TOKEN, sizeof TOKEN - 1))
                broken(w, "the token is in a record", "");
        }
        sim_note(p, n);
        queue_done(w->worker->audit, n);
    }
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void check_records(struct world *w)
{
    char text[128];
    if (w->records)
        qsort(w->ids, w->records, sizeof w->ids[0], compare_ids);
    for (unsigned i = 1; i < w->records; i++)
        if (!strcmp(w->ids[i - 1], w->ids[i]))
            broken(w, "two records of one exchange", w->ids[i]);
    snprintf(text, sizeof text,
             "%u heads on %u connections, %u answers (%u of origins, %u tunnels), %u records",
             w->heads_sent, w->connections, w->responses, w->relayed, w->tunnels, w->records);
    if (!w->oom && (w->records < w->responses || w->records > w->heads_sent + w->connections))
        broken(w, "records do not fit the exchanges", text);
    if (w->verbose)
        printf("seed %" PRIu64 ": %s, digest %016" PRIx64 "\n", w->seed, text, sim_digest());
}

/* --- the world --- */

static void after_turn(void *owner)
{
    struct world *w = owner;
    read_records(w);
    if (chunk_pool_out(w->worker->chunks) > 8u * (w->n_clients + 4u) * 4u)
        broken(w, "more chunks are out than the budget has", "");
    if (w->oom && sim_chance(20))
        mem_fail_after((int64_t)sim_below(60), false);
}

static void reload(void *owner)
{
    struct world *w = owner;
    struct runtime *r = runtimes[sim_below(N_POLICIES)];
    w->no_auth |= r->clients.auth_off;
    if (!w->ending)
        worker_reload(w->worker, runtime_ref(r));
}

static void jump_clock(void *owner)
{
    (void)owner;
    sim_jump_wall((int64_t)sim_below(7200000) - 3600000);
}

static bool start_world(struct world *w)
{
    static const uint8_t v4[4] = {127, 0, 0, 1};
    struct sock_listen_options o = {.backlog = 64};
    int os_errno;
    w->point = (struct listen_point){.name = STR("127.0.0.1:8080"),
                                     .address = address_from_bytes(ADDRESS_V4, v4),
                                     .port = PORT_GATEWAY};
    w->shared = (struct shared){.points = &w->point,
                                .n_points = 1,
                                .writer = writer,
                                .workers = &w->worker,
                                .n_workers = 1,
                                .drain_timeout_ms = LIMIT_TIMEOUT_DRAIN,
                                .max_connections = !w->calm && sim_chance(100) ? 3 : 0};
    atomic_store(&w->shared.next_id, 1);
    struct sock_addr at = sockaddr_from_address(&w->point.address, PORT_GATEWAY);
    if (sim_loop_new(&w->loop) || sock_listen(&at, &o, &w->listener, &os_errno))
        return false;
    w->runtime = runtimes[sim_below(N_POLICIES)];
    w->no_auth = w->runtime->clients.auth_off;
    if (worker_new(&w->shared, 0, w->loop, w->runtime, &w->worker))
        return false;
    w->worker->audit = queue_new();
    return w->worker->audit && !worker_listen(w->worker, w->listener, 0);
}

static void run(struct world *w, uint64_t seconds, const char *when)
{
    if (sim_run(seconds * 1000 * NS_PER_MS, after_turn, w) == SIM_SPINS)
        broken(w, "the loop spins", when);
}

static void check_nothing_left(struct world *w, const char *when)
{
    struct worker *k = w->worker;
    char text[160];
    unsigned sessions = atomic_load(&k->n_sessions);
    size_t chunks = chunk_pool_out(k->chunks), idle = pool_idle(k->pool),
           streams = stream_tcp_open_count();
    snprintf(text, sizeof text,
             "%s: %u sessions, %zu sessions and %zu exchanges of the slabs, %zu chunks, %zu idle, "
             "%zu streams",
             when, sessions, slab_out(k->sessions), slab_out(k->exchanges), chunks, idle, streams);
    if (sessions || slab_out(k->sessions) || slab_out(k->exchanges) || chunks || idle || streams ||
        atomic_load(&w->shared.connections))
        broken(w, "something is left", text);
}

static void check_all_answered(struct world *w)
{
    for (unsigned i = 0; i < w->n_clients; i++) {
        const struct browser *c = &w->clients[i];
        bool done = c->tunnel ? c->got == c->tunnel_len : c->answered == c->sent;
        if (!c->sent || !done)
            broken(w, c->tunnel ? "a tunnel lost bytes" : "a request was never answered",
                   c->steps[c->answered].name);
    }
}

static void end_world(struct world *w)
{
    w->ending = true;
    mem_fail_after(-1, false);
    w->oom = false;
    worker_drain(w->worker);
    run(w, 12, "in drain");
    worker_end_all(w->worker);
    run(w, 1, "at the end");
    read_records(w);
    struct queue *audit = w->worker->audit;
    pool_free(w->worker->pool); /* what is idle may stay until now */
    w->worker->pool = pool_new(w->loop);
    run(w, 1, "at the end");
    check_nothing_left(w, "at the end");
    worker_free(w->worker);
    queue_free(audit);
    sock_close(w->listener);
    loop_free(w->loop);
    if (sim_open_descriptors())
        broken(w, "descriptors are left open", "");
}

static void actors_leave(struct world *w)
{
    for (unsigned i = 0; i < w->n_clients; i++)
        sim_reset(&w->clients[i].peer);
    for (unsigned i = 0; i < w->n_servers; i++)
        sim_reset(&w->servers[i]->peer);
}

static void forget_actors(struct world *w)
{
    for (unsigned i = 0; i < w->n_clients; i++)
        wire_fini(&w->clients[i].wire);
    for (unsigned i = 0; i < w->n_servers; i++) {
        wire_fini(&w->servers[i]->wire);
        sim_free(w->servers[i]);
    }
    sim_free(w->ids);
}

static struct sim_faults draw_faults(bool calm)
{
    struct sim_faults f = {0};
    if (sim_chance(300))
        return f;
    f.split = sim_chance(500) ? 500 : 0;
    f.one_byte = sim_chance(300) ? 300 : 0;
    f.small_window = sim_chance(300) ? 200 : 0;
    f.accept_error = sim_chance(200) ? 200 : 0;
    f.spurious = sim_chance(300) ? 20 : 0;
    if (calm)
        return f;
    f.cut = sim_chance(300) ? 150 : 0;
    f.stall = sim_chance(200) ? 100 : 0;
    f.slow = sim_chance(200) ? 10 : 0;
    return f;
}

/* True when every invariant held. */
static bool run_world(uint64_t seed, bool verbose, uint64_t *ret_digest)
{
    static struct world world;
    struct world *w = &world;
    struct sim_faults none = {0};
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->verbose = verbose;
    sim_begin(seed, &none);
    w->calm = sim_chance(200);
    sim_faults = draw_faults(w->calm);
    sim_on_dial(on_dial, w);
    sim_on_dns(on_dns, w);
    if (!start_world(w))
        abort();
    w->n_clients = 1 + (unsigned)sim_below(CLIENTS);
    w->oom = !w->calm && sim_chance(150);
    bool oom = w->oom;
    for (unsigned i = 0; i < w->n_clients; i++)
        plan_client(w, &w->clients[i]);
    if (!w->calm && sim_chance(300))
        sim_after(sim_below(6000) * NS_PER_MS, reload, w);
    if (sim_chance(200))
        sim_after(sim_below(6000) * NS_PER_MS, jump_clock, w);
    bool cut_short = !w->calm && sim_chance(300);
    run(w, cut_short ? sim_below(8) : 4 * 3600, "on its way");
    mem_fail_after(-1, false);
    if (!cut_short)
        check_nothing_left(w, "after four hours");
    if (w->calm)
        check_all_answered(w);
    end_world(w);
    w->oom = oom;
    check_records(w);
    *ret_digest = sim_digest();
    all_heads += w->heads_sent;
    all_relayed += w->relayed;
    all_tunnels += w->tunnels;
    all_records += w->records;
    actors_leave(w);
    sim_end();
    forget_actors(w);
    return !w->broken;
}

/* --- the program --- */

static struct runtime *make_runtime(unsigned i, struct secret *token)
{
    struct config c;
    struct errctx ctx = {0};
    struct runtime *r = NULL;
    static const char *const deny[] = {"denied.test", "10.66.0.0/16"};
    config_init(&c);
    c.no_auth = i == 2;
    for (size_t k = 0; k < ARRAY_LEN(deny); k++)
        if (!settings_add(&c.deny, str_from(deny[k]), STR("--deny-domain")))
            abort();
    if (i == 1 && !settings_add(&c.allow, STR("*.test"), STR("--allow-domain")))
        abort();
    if (i >= 3 &&
        !setting_set(&c.upstream_proxy, i == 3 ? STR("10.9.0.1:3128") : STR("http://hop.test:3128"),
                     STR("--upstream-proxy")))
        abort();
    if (runtime_new(&c, token, i + 1, &r, &ctx)) {
        fprintf(stderr, "%s\n", ctx.text);
        exit(2);
    }
    config_fini(&c);
    return r;
}

static void set_up(void)
{
    bool locked;
    char id[24];
    struct sim_faults none = {0};
    struct errctx ctx = {0};
    sim_begin(1, &none);
    str_hash_seed(1);
    audit_id(id, 'c', 1); /* draws the process's prefix, the same for every run */
    sim_end();
    secret_region_init(&locked);
    struct secret *token = secret_new(STR(TOKEN));
    if (!token || writer_new(NULL, 0, NULL, &writer, &ctx))
        abort();
    for (unsigned i = 0; i < N_POLICIES; i++)
        runtimes[i] = make_runtime(i, token);
    secret_unref(token);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int finish(unsigned worlds, unsigned bad)
{
    printf("%u worlds: %u heads, %u answers of origins, %u tunnels, %u records; answers", worlds,
           all_heads, all_relayed, all_tunnels, all_records);
    for (unsigned i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i])
            printf(" %u x %u", i, statuses[i]);
    printf("\n%u worlds, %u failed\n", worlds, bad);
    for (unsigned i = 0; i < N_POLICIES; i++)
        runtime_unref(runtimes[i]);
    writer_finish(writer);
    return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = 0, count = 0, fixed = 20;
    double limit = 0;
    unsigned worlds = 0, bad = 0;
    bool twice = argc > 1 && !strcmp(argv[argc - 1], "--twice");
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 10), count = count ? count : 1;
        else if (!strcmp(argv[i], "--count"))
            count = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--seconds"))
            limit = strtod(argv[i + 1], NULL);
    }
    if (!count && limit <= 0) {
        fprintf(stderr, "usage: worlds --seconds S | worlds --seed N [--count N] [--twice]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    set_up();
    double end = seconds_now() + limit;
    uint64_t fresh = (uint64_t)time(NULL) * 1000003u;
    for (; count ? worlds < count : seconds_now() < end; worlds++) {
        uint64_t s = count ? seed + worlds : worlds < fixed ? worlds : fresh + worlds;
        uint64_t digest, again;
        bool good = run_world(s, count == 1, &digest);
        if (twice && (run_world(s, false, &again), again != digest)) {
            printf("seed %" PRIu64 ": two runs differ\n", s);
            good = false;
        }
        bad += !good;
    }
    return finish(worlds, bad);
}
