/* The far side of the gateway: origins, an upstream proxy, and the names they have. */
#include "worlds.h"
#include "sys/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void no_token(struct world *w, struct str bytes)
{
    if (bytes.n && memmem(bytes.p, bytes.n, TOKEN, sizeof TOKEN - 1))
        broken(w, "the token reached an origin", "");
}

/* Now and then with more body than is worth reading away, or with one that never comes. */
static void refuse_key(struct server *s)
{
    size_t n = sim_below(sim_chance(100) ? 200000 : 400);
    bool chunked = !s->no_body && sim_chance(500);
    write_text(&s->peer, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n");
    if (chunked)
        write_text(&s->peer, "Transfer-Encoding: chunked\r\n\r\n");
    else
        write_text(&s->peer, "Content-Length: %zu\r\n\r\n", n);
    if (s->no_body || (!s->world->calm && sim_chance(50)))
        return;
    if (chunked)
        write_chunked(&s->peer, s->tag, n);
    else
        write_tagged(&s->peer, s->tag, 0, n);
}

static void server_answer(struct server *s)
{
    size_t n = tag_length(s->tag);
    struct sim_peer *p = &s->peer;
    s->answered = true;
    if (s->mode == SERVE_SILENT)
        return;
    if (s->mode == SERVE_401) {
        refuse_key(s);
        return;
    }
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

/* As servers do with connections that are kept: the gateway may have just taken it, or hold it for a request that waits. */
static void close_idle(void *owner)
{
    struct server *s = owner;
    if (s->answered && !s->ends && !s->wire.n && !s->socket && !s->echo)
        sim_close(&s->peer);
}

static void unpause_server(void *owner)
{
    struct server *s = owner;
    sim_pause(&s->peer, false);
}

/* The upstream proxy is asked for a tunnel: behind it is an echo, or for a WebSocket its origin. */
static enum wire_body hop_connect(struct server *s, bool plain)
{
    unsigned how = s->world->calm ? 9 : (unsigned)sim_below(10);
    s->echo = !plain || how == 1 || how == 2;
    if (how == 0) {
        write_text(&s->peer, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        return WIRE_NO_BODY;
    }
    if (how == 1)
        sim_close(&s->peer);
    else if (how > 2) /* else silent */
        write_text(&s->peer, "HTTP/1.1 200 Connected\r\nX-Hop: 1\r\n\r\n");
    s->answered = true;
    return s->echo ? WIRE_RAW : WIRE_NO_BODY;
}

/* The origin's own bytes go out with its answer. False: it refuses, as any other request. */
static bool accept_socket(struct server *s, struct str head)
{
    struct world *w = s->world;
    const char *accept = socket_accept(wire_field(head, "sec-websocket-key"));
    if (!accept)
        broken(w, "a WebSocket key changed on the way", "");
    if (!accept || (s->mode != SERVE_WELL && s->mode != SERVE_EARLY && s->mode != SERVE_SHORT))
        return false;
    bool wrong = s->mode == SERVE_SHORT;
    w->sent[s->tag].upgraded |= !wrong;
    s->socket = true;
    write_text(&s->peer,
               "HTTP/1.1 101 Up\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Tag: %u\r\n"
               "Sec-WebSocket-Accept: %s\r\n\r\n",
               s->tag, wrong ? "AAAAAAAAAAAAAAAAAAAAAAAAAAA=" : accept);
    write_tagged(&s->peer, s->tag + 1, 0, tag_length(s->tag + 1) + 1);
    return true;
}

/* What was never sent, or is not allowed, may not come here. */
static void check_request(struct server *s, struct str head)
{
    struct world *w = s->world;
    struct sent *t = &w->sent[s->tag < TAGS ? s->tag : 0];
    if (!s->tag || !t->at) {
        broken(w, "an origin got a request that nobody sent", "");
        return;
    }
    if (t->step->route != s->route)
        broken(w, "a request went to another route's upstream", "");
    if (!law_allowed(w, s->tag))
        broken(w, "a request went upstream that every policy denies", t->step->name);
    if (s->route == ROUTE_ASKED)
        ask_reached(w, s->tag, head);
    if (!t->reached)
        t->reached = sim_now();
}

static enum wire_body server_head(void *owner, struct str head)
{
    struct server *s = owner;
    const char *at = memmem(head.p, head.n, "/t/", 3);
    struct str len = wire_field(head, "x-length");
    uint64_t tag = 0, want = 0;
    no_token(s->world, head);
    if (memmem(head.p, head.n, "denied.test", 11))
        broken(s->world, "a denied name went to the upstream proxy", "");
    if (s->hop && str_starts(head, STR("CONNECT ")))
        return hop_connect(s, memmem(head.p, head.n, ":80 ", 4) != NULL);
    s->no_body = str_starts(head, STR("HEAD "));
    if (at)
        tag = strtoull(at + 3, NULL, 10);
    if (len.n && !str_u64(len, UINT32_MAX, &want))
        broken(s->world, "X-Length changed on the way", "");
    s->tag = tag < TAGS ? (unsigned)tag : 0;
    check_request(s, head);
    s->got = 0;
    s->want = (size_t)want;
    s->answered = false;
    s->mode =
        s->world->calm || sim_chance(600) ? SERVE_WELL : (enum server_mode)sim_below(SERVE_MODES);
    if (!key_taken(s->world, s->route, s->tag, head) && s->mode != SERVE_CLOSE)
        s->mode = SERVE_401;
    if (!s->world->calm && sim_chance(100)) { /* takes nothing for a while, or ever */
        sim_pause(&s->peer, true);
        if (sim_chance(700))
            sim_after(sim_below(90000) * NS_PER_MS, unpause_server, s);
    }
    if (wire_field(head, "upgrade").n && accept_socket(s, head))
        return WIRE_RAW;
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
        no_token(s->world, bytes);
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
    if (!s->world->calm && sim_chance(200))
        sim_after(sim_below(4000) * NS_PER_MS, close_idle, s);
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
    if (s->socket && s->world->calm && s->got != tag_length(s->tag) + 1)
        broken(s->world, "a WebSocket lost bytes on their way up", "");
    if (s->echo || s->socket)
        sim_shutdown(p);
    else
        sim_close(p);
}

static struct server *server_new(struct world *w, bool echo)
{
    struct server *s = sim_alloc(sizeof *s);
    s->world = w;
    s->echo = echo;
    s->route = -1;
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

enum sim_reach origin_dialled(void *owner, const struct address *to, uint16_t port,
                              struct sim_peer **ret_peer)
{
    struct world *w = owner;
    int route = to->family == ADDRESS_V4 && to->bytes[0] == 127 && port >= PORT_ROUTE &&
                        port < PORT_ROUTE + ROUTES
                    ? port - PORT_ROUTE
                    : -1;
    if (address_eq(to, &w->point.address) && port == PORT_HOOK) {
        *ret_peer = ask_dialled(w);
        return SIM_ANSWERS;
    }
    if (forbidden(to) && route < 0)
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
    s->route = route;
    *ret_peer = &s->peer;
    return SIM_ANSWERS;
}

/* --- names --- */

const char *const world_names[] = {"good.test", "good2.test",  "six.test",    "both.test",
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

void origin_asked(void *owner, const struct hostname *name, enum address_family family,
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
