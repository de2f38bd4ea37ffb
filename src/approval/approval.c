#include "approval/approval.h"
#include "approval/approval_int.h"
#include "base/limits.h"
#include "base/mem.h"
#include "config/runtime.h"
#include "upstream/fetch.h"
#include <stdio.h>

enum {
    TEXTS = 7,             /* of a question, the back end's name aside */
    BODY_BYTES = 1 << 20,  /* what a webhook is sent: a path of 64 KiB, escaped */
    LONGEST_MS = 86400000, /* no question waits longer than a day */
};

struct approver {
    struct loop *loop, *control;
    struct approvals *approvals;
    const struct up_env *up;
    const struct h1_env *h1;
    struct list waits;
};

struct approval_wait {
    struct list node;
    struct approver *approver;
    struct runtime *runtime; /* the asker's to hold */
    approval_fn *fn;
    void *owner;
    struct approval_question q; /* texts behind this struct */
    char *backend;              /* its name, with a NUL */
    struct chain chain;
    const struct approval_conf *top, *asked; /* asked: who has the question now */
    uint64_t timeout_ms, deadline;
    struct timer overall, own; /* own: of the one that is asked, inside a chain */
    struct task begin;
    struct fetch *fetch;
    struct prompt *prompt;
};

/* --- the end --- */

static void stop_asking(struct approval_wait *w, bool timed_out)
{
    timer_stop(w->approver->loop, &w->own);
    fetch_cancel(w->fetch);
    prompt_withdraw(w->prompt, timed_out);
    w->fetch = NULL, w->prompt = NULL;
}

static void unhook(struct approval_wait *w, bool timed_out)
{
    stop_asking(w, timed_out);
    timer_stop(w->approver->loop, &w->overall);
    task_cancel(&w->begin);
    list_remove(&w->node);
    chain_fini(&w->chain);
}

static void finish(struct approval_wait *w, enum approval_answer answer, const char *sentence)
{
    unhook(w, answer == APPROVAL_TIMEOUT);
    w->fn(w->owner, answer, w->backend, sentence);
    mem_free(w);
}

void approver_withdraw(struct approval_wait *w)
{
    if (!w)
        return;
    unhook(w, false);
    mem_free(w);
}

/* --- one back end after the other --- */

static void ask(struct approval_wait *w, const struct approval_conf *b);

/* The one that was asked has answered (or did not): on to the next, or over. */
static void answered(struct approval_wait *w, enum approval_answer answer, const char *sentence)
{
    char whole[SENTENCE_SIZE + 300];
    const struct approval_conf *next;
    struct str by = w->asked->name;
    stop_asking(w, answer == APPROVAL_TIMEOUT);
    next = chain_after(&w->chain, &answer);
    if (next) {
        ask(w, next);
        return;
    }
    (void)snprintf(whole, sizeof(whole), "%s by approval back end '%.*s': %s",
                   answer == APPROVAL_GRANTED  ? "granted"
                   : answer == APPROVAL_FAILED ? "not decided"
                   : answer == APPROVAL_DENIED ? "denied"
                                               : "not decided in time",
                   by.n > 100 ? 100 : (int)by.n, by.p, sentence);
    finish(w, answer, whole);
}

static void on_fetched(void *owner, enum err e, unsigned status, struct str body,
                       const struct errctx *ctx)
{
    struct approval_wait *w = owner;
    char sentence[SENTENCE_SIZE];
    w->fetch = NULL;
    if (e == ERR_OK)
        answered(w, webhook_answer(status, body, sentence), sentence);
    else
        answered(w, e == ERR_UPSTREAM_SILENT ? APPROVAL_TIMEOUT : APPROVAL_FAILED, ctx->text);
}

static void on_prompted(void *owner, enum approval_answer answer, const char *sentence)
{
    struct approval_wait *w = owner;
    w->prompt = NULL;
    answered(w, answer, sentence);
}

static uint64_t left_ms(const struct approval_wait *w)
{
    uint64_t now = loop_now(w->approver->loop);
    return w->deadline > now ? (w->deadline - now) / UINT64_C(1000000) + 1 : 1;
}

/* The upstream proxy, but for what its bypass list names (decisions O6, K12). */
static const struct hop *way_to(const struct runtime *rt, struct str url)
{
    struct target_uri uri;
    struct errctx why = {0};
    if (rt->hop && !target_parse_uri(url, &uri, &why) &&
        policy_bypasses(rt->policy, &uri.host, uri.port))
        return NULL;
    return rt->hop;
}

static bool ask_webhook(struct approval_wait *w, const struct approval_conf *b)
{
    struct approver *a = w->approver;
    struct buf body;
    struct fetch_spec spec = {.method = STR("POST"),
                              .url = b->url,
                              .content_type = STR("application/json"),
                              .hop = way_to(w->runtime, b->url),
                              .timeout_ms = left_ms(w) + 1000}; /* our own timers come first */
    bool ok;
    buf_init(&body, BODY_BYTES);
    webhook_body(&body, b->name, &w->q);
    spec.body = buf_str(&body);
    ok = buf_ok(&body) && fetch_start(a->up, a->h1, &spec, on_fetched, w, &w->fetch) == ERR_OK;
    buf_fini(&body);
    return ok;
}

static bool ask_terminal(struct approval_wait *w, uint64_t timeout_ms)
{
    struct approver *a = w->approver;
    w->prompt =
        prompt_ask(a->approvals, a->control, a->loop, &w->q, timeout_ms, on_prompted, w);
    return w->prompt != NULL;
}

static void ask(struct approval_wait *w, const struct approval_conf *b)
{
    uint64_t left = left_ms(w);
    bool ok;
    w->asked = b;
    if (b != w->top && b->timeout_ms && b->timeout_ms < left) {
        left = b->timeout_ms;
        timer_set(w->approver->loop, &w->own, left);
    }
    ok = b->kind == APPROVAL_WEBHOOK ? ask_webhook(w, b)
         : w->approver->approvals    ? ask_terminal(w, left)
                                     : false;
    if (!ok)
        finish(w, APPROVAL_FAILED,
               b->kind == APPROVAL_WEBHOOK || w->approver->approvals
                   ? "the gateway is out of memory"
                   : "there is no terminal on which somebody could be asked");
}

static void on_own(struct timer *t)
{
    struct approval_wait *w = CONTAINER_OF(t, struct approval_wait, own);
    answered(w, APPROVAL_TIMEOUT, "no answer in time");
}

static void on_overall(struct timer *t)
{
    struct approval_wait *w = CONTAINER_OF(t, struct approval_wait, overall);
    char sentence[SENTENCE_SIZE];
    (void)snprintf(sentence, sizeof(sentence),
                   "approval back end '%.100s' gave no answer within %.3g s", w->backend,
                   (double)w->timeout_ms / 1000);
    finish(w, APPROVAL_TIMEOUT, sentence);
}

static void on_begin(struct task *t)
{
    struct approval_wait *w = CONTAINER_OF(t, struct approval_wait, begin);
    const struct approval_conf *first;
    char sentence[SENTENCE_SIZE];
    if (!w->backend[0]) {
        finish(w, APPROVAL_FAILED,
               "this needs approval, and no approval back end is named: set "
               "approval_defaults.backend");
        return;
    }
    first = w->top ? chain_first(&w->chain, w->top) : NULL;
    if (first) {
        ask(w, first);
        return;
    }
    (void)snprintf(sentence, sizeof(sentence), "approval back end '%.100s' %s", w->backend,
                   w->top ? "cannot be followed to its end" : "is unknown");
    finish(w, APPROVAL_FAILED, sentence);
}

/* --- asking --- */

struct str approval_backend_name(const struct runtime *rt, const struct approval_question *q)
{
    return q->backend.n ? q->backend : rt->config.approval_backend;
}

/* The rule's, the back end's, the defaults', a minute (decision O9). */
static uint64_t time_for(const struct approval_wait *w)
{
    uint64_t ms = w->q.timeout_ms;
    if (!ms && w->top)
        ms = w->top->timeout_ms;
    if (!ms)
        ms = w->runtime->config.approval_timeout_ms;
    if (!ms)
        ms = LIMIT_TIMEOUT_APPROVAL;
    return ms < LONGEST_MS ? ms : LONGEST_MS;
}

static void copy_texts(struct approval_wait *w, const struct approval_question *q, struct str name)
{
    struct str *const texts[TEXTS] = {&w->q.request_id, &w->q.route_id, &w->q.upstream,
                                      &w->q.method,     &w->q.path,     &w->q.rule_label,
                                      &w->q.reason};
    char *at = (char *)(w + 1);
    w->q = *q;
    w->backend = at;
    if (name.n)
        memcpy(at, name.p, name.n);
    at += name.n + 1;
    for (size_t i = 0; i < TEXTS; i++) {
        if (texts[i]->n)
            memcpy(at, texts[i]->p, texts[i]->n);
        texts[i]->p = at;
        at += texts[i]->n;
    }
}

enum err approver_ask(struct approver *a, struct runtime *rt, const struct approval_question *q,
                      approval_fn *fn, void *owner, struct approval_wait **ret_wait)
{
    struct str name = approval_backend_name(rt, q);
    size_t n = name.n + 1 + q->request_id.n + q->route_id.n + q->upstream.n + q->method.n +
               q->path.n + q->rule_label.n + q->reason.n;
    struct approval_wait *w = mem_zalloc(sizeof(*w) + n);
    if (!w || !chain_init(&w->chain, &rt->config.approvals)) {
        mem_free(w);
        return ERR_NOMEM;
    }
    w->approver = a, w->runtime = rt, w->fn = fn, w->owner = owner;
    copy_texts(w, q, name);
    w->top = approval_find(&rt->config.approvals, str_from(w->backend));
    w->timeout_ms = time_for(w);
    w->deadline = loop_now(a->loop) + w->timeout_ms * UINT64_C(1000000);
    timer_init(&w->overall, on_overall);
    timer_init(&w->own, on_own);
    task_init(&w->begin, on_begin);
    timer_set(a->loop, &w->overall, w->timeout_ms);
    task_run_soon(a->loop, &w->begin);
    list_push(&a->waits, &w->node);
    *ret_wait = w;
    return ERR_OK;
}

struct approver *approver_new(struct loop *loop, struct loop *control, struct approvals *approvals,
                              const struct up_env *up, const struct h1_env *h1)
{
    struct approver *a = mem_zalloc(sizeof(*a));
    if (!a)
        return NULL;
    *a = (struct approver){
        .loop = loop, .control = control, .approvals = approvals, .up = up, .h1 = h1};
    list_init(&a->waits);
    return a;
}

void approver_free(struct approver *a)
{
    struct list *node;
    while (a && (node = list_first(&a->waits)))
        approver_withdraw(LIST_ENTRY(node, struct approval_wait, node));
    mem_free(a);
}
