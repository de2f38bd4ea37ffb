/* Shared inside approval/ only. */
#pragma once
#include "approval/approval.h"
#include "base/buf.h"
#include "sys/loop.h"

enum { SENTENCE_SIZE = 1200 };

/* --- chain.c: which back end is asked next. Pure. --- */
struct chain_frame {
    const struct approval_conf *conf;
    size_t next; /* of its back ends */
};
struct chain {
    const struct approval_confs *all;
    struct chain_frame *stack; /* as many as there are back ends: chains are acyclic */
    size_t depth;
    unsigned steps;
};
const struct approval_conf *approval_find(const struct approval_confs *all, struct str name); /* NULL: unknown */
/* False: out of memory. */
bool chain_init(struct chain *c, const struct approval_confs *all) MUST_CHECK;
void chain_fini(struct chain *c);
/* The first one to ask (the back end itself when it is no chain), or NULL: the chain cannot be followed. */
const struct approval_conf *chain_first(struct chain *c, const struct approval_conf *backend);
/* The one asked last has answered: the next one to ask, or NULL when *answer is the answer of the whole. all: the first that does not grant
 * denies, one that fails fails; any: the first that grants grants, failures count as denials. */
const struct approval_conf *chain_after(struct chain *c, enum approval_answer *answer);

/* --- webhook.c. Pure. --- */
void webhook_body(struct buf *out, struct str backend, const struct approval_question *q);
/* What an answer means; the sentence says it, with the reason that was given. */
enum approval_answer webhook_answer(unsigned status, struct str body, char sentence[SENTENCE_SIZE]);

/* --- terminal.c --- */
/* A question on its way to the terminal and back. Counted: the one who waits, the queue and each message hold one. */
struct prompt;
typedef void prompt_fn(void *owner, enum approval_answer answer, const char *sentence);
/* Worker's thread. NULL: out of memory. fn comes later on `worker`'s loop, once, unless withdrawn. */
struct prompt *prompt_ask(struct approvals *a, struct loop *control, struct loop *worker, const struct approval_question *q,
                          uint64_t timeout_ms, prompt_fn *fn, void *owner) MUST_CHECK;
/* Worker's thread. The prompt goes away and says so: timed_out, or the request went away. NULL allowed. */
void prompt_withdraw(struct prompt *p, bool timed_out);
/* Escape sequences go, controls become blanks, what is no UTF-8 or would reorder text becomes '?'; at most max bytes of text are looked at,
 * and the rest is counted. */
void terminal_clean(struct buf *out, struct str text, size_t max);
/* "y" or "yes" in any case, blanks around it. */
bool terminal_is_yes(struct str line);
