/* Clients of the worlds: what they send, and what they may be answered. */
#include "worlds.h"
#include "sys/clock.h"
#include <stdio.h>
#include <string.h>

enum { REPLAY_BYTES = 8000 }; /* of a request body; what is larger need not be sent again */

unsigned all_statuses[600];

static const char *const prefixes[ROUTES] = {"/filed", "/helped", "/rated", "/asked"};

static bool is_plain(enum step_kind k)
{
    return k < STEP_SOCKET;
}

/* The token where this request has to show it, or another field. */
static void credentials(const struct step *s, char *text, size_t n)
{
    static const char *const shown[] = {"Authorization: Bearer " TOKEN, "X-Api-Key: " TOKEN};
    bool own = s->tag / 8 % 2; /* where the route's secret goes */
    if (!s->auth)
        snprintf(text, n, "X-No-Credentials: 1\r\n");
    else if (s->route < 0 || s->tag % 8 == 0)
        snprintf(text, n, "Proxy-Authorization: Bearer %s\r\n", TOKEN);
    else
        snprintf(text, n, "%s\r\n", shown[own == (s->route == ROUTE_HELPED)]);
}

/* Absolute form, or below a route's prefix; with the fields that every request has. */
static void write_head(struct browser *c, const struct step *s, const char *method,
                       const char *version)
{
    struct sim_peer *p = &c->peer;
    bool calm = c->world->calm;
    char auth[128], target[128];
    const char *host = s->route < 0 ? s->name : "127.0.0.1:8080";
    credentials(s, auth, sizeof auth);
    if (s->route < 0)
        snprintf(target, sizeof target, "http://%s/t/%u", s->name, s->tag);
    else
        snprintf(target, sizeof target, "%s%s/t/%u", prefixes[s->route],
                 s->route == ROUTE_ASKED ? ask_prefixes[ask_kind(s, calm)] : "", s->tag);
    write_text(p, "%s %s HTTP/%s\r\nHost: %s\r\n%s%s", method, target, version, host, auth,
               s->closes ? "Connection: close\r\n" : "");
}

static void send_post(struct browser *c, const struct step *s)
{
    struct sim_peer *p = &c->peer;
    size_t len = tag_length(s->tag + 1);
    write_head(c, s, "POST", "1.1");
    write_text(p, "X-Length: %zu\r\n", len);
    if (s->kind == STEP_POST_CHUNKED) {
        write_text(p, "Transfer-Encoding: chunked\r\n\r\n");
        write_chunked(p, s->tag, len);
        return;
    }
    c->owes_body = s->kind == STEP_EXPECT;
    write_text(p, "Content-Length: %zu\r\n%s\r\n", len,
               c->owes_body ? "Expect: 100-continue\r\n" : "");
    if (!c->owes_body)
        write_tagged(p, s->tag, 0, len);
}

static void send_connect(struct sim_peer *p, const struct step *s)
{
    char auth[128];
    credentials(s, auth, sizeof auth);
    write_text(p, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n%s\r\n", s->name, s->name, auth);
}

static void send_step(struct browser *c, const struct step *s)
{
    struct sim_peer *p = &c->peer;
    struct sent *t = &c->world->sent[s->tag];
    *t = (struct sent){.step = s, .by = c, .at = sim_now()};
    c->world->heads_sent++;
    c->sent++;
    switch (s->kind) {
    case STEP_GET:
    case STEP_HEAD:
        write_head(c, s, s->kind == STEP_GET ? "GET" : "HEAD", "1.1");
        write_text(p, "\r\n");
        break;
    case STEP_OLD:
        write_head(c, s, "GET", "1.0");
        write_text(p, "\r\n");
        break;
    case STEP_OLD_KEEP:
        write_head(c, s, "GET", "1.0");
        write_text(p, "%s\r\n", s->closes ? "" : "Connection: keep-alive\r\n");
        break;
    case STEP_SOCKET:
        write_head(c, s, "GET", "1.1");
        write_text(p,
                   "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: %s\r\n\r\n",
                   socket_key(s->tag));
        break;
    case STEP_EXPECT:
    case STEP_POST:
    case STEP_POST_CHUNKED:
        send_post(c, s);
        break;
    case STEP_CONNECT:
        send_connect(p, s);
        break;
    case STEP_GARBAGE:
        write_text(p, "GET http://good.test/t/%u HTTP/1.1\r\nHost : x\r\n\r\n", s->tag);
        break;
    case STEP_HALF_HEAD:
        write_text(p, "GET http://good.test/t/%u HTT", s->tag);
        break;
    }
}

/* Nothing goes behind these before they are answered. */
static bool is_last_for_now(const struct step *s)
{
    return !s->with_next || s->closes || s->kind == STEP_CONNECT || s->kind == STEP_SOCKET ||
           s->kind == STEP_EXPECT || s->kind == STEP_OLD || s->kind == STEP_OLD_KEEP;
}

static void send_next(struct browser *c)
{
    while (c->sent < c->n_steps && sim_is_open(&c->peer)) {
        const struct step *s = &c->steps[c->sent];
        if (s->kind == STEP_EXPECT && c->sent != c->answered)
            return; /* a 100 has to be its own */
        send_step(c, s);
        if (!is_last_for_now(s))
            continue;
        bool over = c->sent == c->n_steps || s->closes;
        if (over && c->half_closes && is_plain(s->kind) && s->kind != STEP_EXPECT)
            sim_shutdown(&c->peer);
        return;
    }
}

static void client_open(struct sim_peer *p)
{
    send_next(p->owner);
}

/* A secret changed while a request was out that cannot be sent once more. */
static bool may_be_refused(const struct step *s)
{
    bool sends = s->kind == STEP_POST || s->kind == STEP_POST_CHUNKED || s->kind == STEP_EXPECT;
    return s->route >= 0 && sends && tag_length(s->tag + 1) > REPLAY_BYTES;
}

/* What an answer may say, whatever its origin did. */
static void check_status(struct browser *c, const struct step *s, unsigned status, struct str head)
{
    struct world *w = c->world;
    struct sent *t = &w->sent[s->tag];
    unsigned good = s->kind == STEP_SOCKET ? 101 : 200;
    bool limited = status == 429 && s->route == ROUTE_RATED;
    if (w->calm && s->auth && status != good && !limited && !(status == 401 && may_be_refused(s)))
        broken(w, "a request failed though nothing was wrong", s->name);
    if (status == 429 && !limited)
        broken(w, "a 429 that no rate limit says", s->name);
    if (limited && (!str_u64(wire_field(head, "retry-after"), 3600, &t->retry_after) || !t->retry_after))
        broken(w, "a 429 does not say when to come back", "");
    if (status == 101 && (s->kind != STEP_SOCKET || !t->upgraded))
        broken(w, "an upgrade that no origin granted", s->name);
    if ((status == 101 || (status == 200 && s->kind == STEP_CONNECT)) && law_denies_now(w, s))
        broken(w, "a tunnel begins that a reload denied", s->name);
    if (s->closes && status != 101 && s->kind != STEP_CONNECT && !c->closing)
        broken(w, "asked to close, and the answer does not say so", s->name);
}

/* Some stay open, so that reloads meet them. */
static void begin_tunnel(struct browser *c, unsigned tag)
{
    c->world->tunnels++;
    c->tunnel = true;
    c->tag = tag;
    c->tunnel_len = tag_length(tag) + 1;
    c->lingers |= !c->world->calm && sim_chance(500);
}

/* Both sides send: each checks the other's bytes. */
static void begin_socket(struct browser *c, const struct step *s, struct str head)
{
    const char *accept = socket_accept(str_from(socket_key(s->tag)));
    if (!str_eq(wire_field(head, "sec-websocket-accept"), str_from(accept)) ||
        !str_eq_nocase(wire_field(head, "upgrade"), STR("websocket")) ||
        !str_eq_nocase(wire_field(head, "connection"), STR("upgrade")))
        broken(c->world, "a 101 without its fields", "");
    c->world->upgrades++;
    begin_tunnel(c, s->tag + 1);
    write_tagged(&c->peer, s->tag, 0, tag_length(s->tag) + 1);
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
    c->interim = status < 200 && status != 101;
    if (status == 100 && c->owes_body) {
        const struct step *s = &c->steps[c->sent - 1];
        c->owes_body = false;
        write_tagged(p, s->tag, 0, tag_length(s->tag + 1));
    }
    if (c->interim)
        return WIRE_NO_BODY;
    w->responses++;
    all_statuses[status < 600 ? status : 0]++;
    c->closing = str_eq_nocase(wire_field(head, "connection"), STR("close")) ||
                 str_starts(head, STR("HTTP/1.0"));
    if (c->answered >= c->sent) {
        /* a late head's 408 and a limit's 503 answer nothing that was complete */
        c->tag = 0;
        return WIRE_BY_FIELDS;
    }
    const struct step *s = &c->steps[c->answered];
    check_status(c, s, (unsigned)status, head);
    key_absent(w, head, "an answer's head");
    w->relayed += x.n > 0;
    c->got = 0;
    c->tag = x.n && str_u64(x, UINT32_MAX, &tag) ? (unsigned)tag : 0;
    if (c->tag && (c->tag != s->tag || (status != 200 && status != 101)))
        broken(w, "an answer went to another request", "");
    if (c->tag && !s->auth && !w->no_auth)
        broken(w, "an origin answered a client without credentials", "");
    if (s->route < 0 && !strcmp(s->name, "denied.test") && status == 200)
        broken(w, "a denied name answered", "");
    if (s->kind == STEP_CONNECT && status == 200) {
        begin_tunnel(c, s->tag);
        write_tagged(&c->peer, s->tag, 0, c->tunnel_len);
        return WIRE_RAW;
    }
    if (!c->tag && status == 200)
        broken(w, "a 200 that no origin sent", "");
    if (status == 101) {
        begin_socket(c, s, head);
        return WIRE_RAW;
    }
    c->no_body = s->kind == STEP_HEAD;
    return c->no_body ? WIRE_NO_BODY : WIRE_BY_FIELDS;
}

static void client_body(void *owner, struct str bytes)
{
    struct browser *c = owner;
    key_absent(c->world, bytes, "an answer's body");
    if (c->tag && !tag_matches(c->tag, c->got, bytes))
        broken(c->world, c->tunnel ? "tunnel bytes changed" : "a response body changed on the way",
               "");
    c->got += bytes.n;
    if (c->tunnel && c->got > c->tunnel_len)
        broken(c->world, "a tunnel made bytes of its own", "");
    if (c->tunnel && c->got == c->tunnel_len && !c->lingers)
        c->world->calm || sim_chance(500) ? sim_shutdown(&c->peer) : sim_close(&c->peer);
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
    if (!sim_is_open(&c->peer))
        return;
    c->left = sim_now();
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

void plan_client(struct world *w, struct browser *c)
{
    *c = (struct browser){.world = w,
                          .n_steps = 1 + (unsigned)sim_below(STEPS),
                          .lingers = !w->calm && sim_chance(200),
                          .half_closes = sim_chance(100)};
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
        s->name = w->calm           ? world_names[sim_below(6)]
                  : sim_chance(500) ? world_names[sim_below(4)]
                                    : world_names[sim_below(ARRAY_LEN(world_names))];
        s->tag = w->next_tag += 2;
        s->route = s->kind <= STEP_SOCKET && sim_chance(500) ? (int)sim_below(ROUTES) : -1;
        s->auth = !sim_chance(50);
        s->with_next = sim_chance(150);
        s->closes = is_plain(s->kind) && sim_chance(50);
        if (w->calm && s->route >= ROUTE_RATED) /* whoever half-closes does not wait to be let in */
            c->half_closes = false;
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
