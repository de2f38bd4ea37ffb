/* The one who is asked for approval: a webhook that grants, denies, talks nonsense, or says nothing. */
#include "sys/clock.h"
#include "worlds.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 30000, GRAIN_MS = 100 /* of timers */, WITHDRAW_MS = 3000, BODY = 2048 };

struct hook {
    struct sim_peer peer;
    struct wire wire;
    struct world *world;
    struct hook *next;
    char body[BODY];
    size_t n;
    unsigned tag; /* of the request that is asked about; 0: not known yet */
    uint64_t asked, answered, gone; /* ns; 0: not yet */
    enum { ANSWER_GRANT, ANSWER_DENY, ANSWER_NONSENSE, ANSWER_NEVER, ANSWER_LATE } mode;
};

const char *const ask_prefixes[] = {"/free", "/never", "/ask"};

enum ask_kind ask_kind(const struct step *s, bool calm)
{
    unsigned k = s->tag / 2 % 8;
    return k == 0 ? ASK_FREE : k == 1 && !calm ? ASK_NEVER : ASK_NEEDED;
}

/* --- the question --- */

static void check_question(struct hook *h, struct sent *t)
{
    struct world *w = h->world;
    const struct step *s = t->step;
    if (s->route != ROUTE_ASKED || ask_kind(s, w->calm) != ASK_NEEDED)
        broken(w, "asked about a request that needs no approval", "");
    if (!s->auth && !w->no_auth)
        broken(w, "asked for a client without credentials", "");
    if (t->asked++)
        broken(w, "asked twice about one request", "");
    if (t->reached)
        broken(w, "asked about a request that its upstream has", "");
}

static const char *method_of(const struct step *s)
{
    bool posts = s->kind == STEP_POST || s->kind == STEP_POST_CHUNKED || s->kind == STEP_EXPECT;
    return posts                  ? "\"method\":\"POST\""
           : s->kind == STEP_HEAD ? "\"method\":\"HEAD\""
                                  : "\"method\":\"GET\"";
}

static bool read_question(struct hook *h)
{
    static const char path[] = "\"path\":\"/ask/t/";
    struct world *w = h->world;
    struct str body = str_of(h->body, h->n);
    const char *at = h->n ? memmem(h->body, h->n, path, sizeof path - 1) : NULL;
    unsigned tag = at ? (unsigned)strtoul(at + sizeof path - 1, NULL, 10) : 0;
    key_absent(w, body, "a question for approval");
    if (body.n && memmem(body.p, body.n, TOKEN, sizeof TOKEN - 1))
        broken(w, "the token is in a question for approval", "");
    if (!tag || tag >= TAGS || !w->sent[tag].at) {
        broken(w, "asked about a request that nobody sent", "");
        return false;
    }
    h->tag = tag;
    h->asked = sim_now();
    w->asked++;
    check_question(h, &w->sent[tag]);
    const char *method = method_of(w->sent[tag].step);
    if (!memmem(h->body, h->n, method, strlen(method)))
        broken(w, "asked about another method", method);
    return true;
}

/* --- the answer --- */

static void say(struct hook *h, unsigned status, const char *body)
{
    write_text(&h->peer,
               "HTTP/1.1 %u Word\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               status, strlen(body), body);
}

static void say_grant(struct hook *h)
{
    static const char *const words[] = {"\"Granted\"", "{\"decision\":\"approve\"}",
                                        "{\"decision\": \"Allowed\", \"reason\": \"why not\"}"};
    struct sent *t = &h->world->sent[h->tag];
    if (sim_now() - h->asked < (ASK_MS + GRAIN_MS) * NS_PER_MS && !t->granted) {
        t->granted = sim_now();
        h->world->granted++;
    }
    say(h, 200 + (unsigned)sim_below(2), words[sim_below(ARRAY_LEN(words))]);
}

static void say_deny(struct hook *h)
{
    static const char *const words[] = {"{\"Denied\":{\"reason\":\"no\"}}", "\"Timeout\"",
                                        "{\"decision\":\"blocked\"}"};
    say(h, 200, words[sim_below(ARRAY_LEN(words))]);
}

/* None of it is a grant. */
static void say_nonsense(struct hook *h)
{
    static const char *const words[] = {"Granted",
                                        "{\"decision\":\"grant\",\"Denied\":{}}",
                                        "",
                                        "[\"Granted\"]",
                                        "{\"decision\":\"granted\"",
                                        "{\"decision\":\"deny\",\"decision\":\"grant\"}"};
    switch (sim_below(4)) {
    case 0:
        say(h, 500, "\"Granted\"");
        break;
    case 1: /* cut short: what follows may turn it */
        write_text(&h->peer, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n\"Granted\"");
        sim_shutdown(&h->peer);
        break;
    case 2:
        sim_chance(500) ? sim_reset(&h->peer) : sim_close(&h->peer);
        break;
    default:
        say(h, 200, words[sim_below(ARRAY_LEN(words))]);
        break;
    }
}

static void answer(void *owner)
{
    struct hook *h = owner;
    if (!sim_is_open(&h->peer))
        return;
    h->answered = sim_now();
    if (h->mode == ANSWER_DENY)
        say_deny(h);
    else if (h->mode == ANSWER_NONSENSE)
        say_nonsense(h);
    else if (h->mode != ANSWER_NEVER)
        say_grant(h);
}

static void draw_answer(struct hook *h)
{
    static const unsigned modes[] = {ANSWER_GRANT, ANSWER_GRANT,    ANSWER_GRANT, ANSWER_GRANT,
                                     ANSWER_DENY,  ANSWER_NONSENSE, ANSWER_NEVER, ANSWER_LATE};
    uint64_t ms = sim_below(sim_chance(200) ? 9000 : 2000);
    h->mode = h->world->calm ? ANSWER_GRANT : modes[sim_below(ARRAY_LEN(modes))];
    if (h->mode == ANSWER_LATE) /* about when nobody waits any more */
        ms = ASK_MS - 1000 + sim_below(3000);
    if (h->mode != ANSWER_NEVER)
        sim_after(ms * NS_PER_MS, answer, h);
}

/* --- the connection --- */

static enum wire_body on_head(void *owner, struct str head)
{
    struct hook *h = owner;
    if (!str_starts(head, STR("POST /decide ")))
        broken(h->world, "a question went to another place", "");
    if (memmem(head.p, head.n, TOKEN, sizeof TOKEN - 1))
        broken(h->world, "the token went to the webhook", "");
    key_absent(h->world, head, "a webhook's head");
    return WIRE_BY_FIELDS;
}

static void on_body(void *owner, struct str bytes)
{
    struct hook *h = owner;
    size_t n = bytes.n < BODY - h->n ? bytes.n : BODY - h->n;
    memcpy(h->body + h->n, bytes.p, n);
    h->n += n;
}

static void on_end(void *owner)
{
    struct hook *h = owner;
    if (read_question(h))
        draw_answer(h);
}

static void on_bytes(struct sim_peer *p, const char *bytes, size_t n)
{
    struct hook *h = p->owner;
    wire_feed(&h->wire, bytes, n);
}

static void on_fin(struct sim_peer *p)
{
    struct hook *h = p->owner;
    h->gone = sim_now();
    sim_close(p);
}

static void on_reset(struct sim_peer *p, int os_errno)
{
    struct hook *h = p->owner;
    (void)os_errno;
    h->gone = sim_now();
}

struct sim_peer *ask_dialled(struct world *w)
{
    struct hook *h = sim_alloc(sizeof *h);
    h->world = w;
    h->next = w->hooks;
    w->hooks = h;
    h->peer =
        (struct sim_peer){.owner = h, .on_bytes = on_bytes, .on_fin = on_fin, .on_reset = on_reset};
    h->wire = (struct wire){.owner = h, .on_head = on_head, .on_body = on_body, .on_end = on_end};
    return &h->peer;
}

/* --- what follows from it --- */

void ask_reached(struct world *w, unsigned tag, struct str head)
{
    const struct sent *t = &w->sent[tag];
    enum ask_kind kind = ask_kind(t->step, w->calm);
    if (!memmem(head.p, head.n, ask_prefixes[kind], strlen(ask_prefixes[kind])))
        broken(w, "a request came with another path", "");
    if (kind == ASK_NEVER)
        broken(w, "a request that a rule denies went upstream", "");
    if (kind == ASK_NEEDED && !t->granted)
        broken(w, "a request went upstream without a grant", "");
}

/* Whoever leaves takes his question with him; and no question outlives its time. */
static void check_withdrawn(struct world *w, const struct hook *h)
{
    const struct browser *c = w->sent[h->tag].by;
    uint64_t end = h->asked + ASK_MS * NS_PER_MS;
    if (c->left && c->left < end)
        end = c->left > h->asked ? c->left : h->asked;
    if (!h->answered && (!h->gone || h->gone > end + WITHDRAW_MS * NS_PER_MS))
        broken(w, "a question was not withdrawn", c->left ? "its client left" : "");
}

void ask_check(struct world *w, bool whole)
{
    for (const struct hook *h = w->hooks; h && whole; h = h->next)
        if (h->tag && !w->oom && !sim_faults.stall && !sim_faults.slow)
            check_withdrawn(w, h);
}

void ask_leave(struct world *w)
{
    for (struct hook *h = w->hooks; h; h = h->next)
        sim_reset(&h->peer);
}

void ask_forget(struct world *w)
{
    while (w->hooks) {
        struct hook *h = w->hooks;
        w->hooks = h->next;
        wire_fini(&h->wire);
        sim_free(h);
    }
}
