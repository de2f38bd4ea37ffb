/* Approvals: a person or a service is asked about a request. Questions live on the control thread; prompts on the terminal are serialised;
 * a question nobody waits for any more goes away. Webhooks use upstream/fetch on the worker that asks. */
#pragma once
#include "config/config.h"
#include "sys/loop.h"

struct approval_question {
    struct str request_id, route_id, upstream, method, path, rule_label, reason; /* copied; no token, no query values of phantoms */
    struct str backend;      /* name; empty: approval_defaults.backend */
    uint64_t timeout_ms;     /* 0: back end's, defaults', 60 s (decision O9) */
};
enum approval_answer { APPROVAL_GRANTED, APPROVAL_DENIED, APPROVAL_TIMEOUT, APPROVAL_FAILED };
/* backend: its name, empty where there is none. The sentence holds what the back end wrote; both are valid during the call. */
typedef void approval_fn(void *owner, enum approval_answer answer, const char *backend, const char *sentence);

struct approvals; /* control's side: the terminal */
enum err approvals_new(struct loop *control, struct approvals **ret_approvals) MUST_CHECK;
/* No worker is told anything from now on: before the workers' loops go. Control thread. */
void approvals_stop(struct approvals *a);
/* After the workers have joined and control's loop turned once more, so that what they withdrew arrived. NULL allowed. */
void approvals_free(struct approvals *a);

struct approver; /* a worker's side */
struct up_env;
struct h1_env;
/* approvals NULL: there is no terminal. up and h1 are read at each question and outlive the approver. */
struct approver *approver_new(struct loop *loop, struct loop *control, struct approvals *approvals, const struct up_env *up,
                              const struct h1_env *h1) MUST_CHECK;
void approver_free(struct approver *a); /* what is still asked is withdrawn; NULL allowed */
struct runtime;
struct approval_wait;
/* The back end that a question would go to, by name: the question's, else the default; empty: none is named. */
struct str approval_backend_name(const struct runtime *rt, const struct approval_question *q);
/* fn comes later, exactly once, unless withdrawn; the wait is gone then. The caller pins rt meanwhile. ERR_NOMEM. */
enum err approver_ask(struct approver *a, struct runtime *rt, const struct approval_question *q, approval_fn *fn, void *owner,
                      struct approval_wait **ret_wait) MUST_CHECK;
void approver_withdraw(struct approval_wait *w); /* NULL allowed */
