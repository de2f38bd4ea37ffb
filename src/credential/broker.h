/* The broker: sources of credentials, on the control thread. Single flight per credential and scope, bounded in time, failures kept 5 s,
 * refresh asked for by use. Workers hold the version they were last told (vault.h). */
#pragma once
#include "credential/credential.h"
#include "credential/material.h"
#include "sys/loop.h"

struct broker;
struct buf;

/* What cmd:// helpers are told, and what scopes a cache. Texts are copied. The path must hold no phantom: it reaches helpers and, without
 * its query, the audit. */
struct question {
    struct str method, host, path; /* upstream's host; path below the upstream's base path */
    struct str route;
};

/* Answer to a worker: material (referenced only during the call), or an error with a sentence that a person can act on
 * (ERR_CREDENTIAL_UNAVAILABLE; ERR_NOMEM; ERR_CANCELLED from broker_free). */
typedef void broker_answer_fn(void *owner, enum err e, struct material *material, const char *sentence);

/* Control thread. The broker outlives reloads; helpers' environment is taken at start (proxy variables, the gateway's own secrets and every
 * variable that an env:// source names are left out). audit: a queue for `credential` and `capture` records, or NULL. */
struct queue;
struct broker_env {
    struct loop *control;
    struct queue *audit;
    char *const *envp;           /* the texts must outlive the broker */
    /* A source failed, with what its helper wrote to stderr (secrets cut out; may be empty): for the log. NULL: nobody asks. */
    void (*on_failed)(void *owner, struct str credential_id, const char *sentence, struct str stderr_text);
    void *owner;
};
enum err broker_new(const struct broker_env *env, struct broker **ret_broker) MUST_CHECK;
/* After the workers have joined and control's loop turned once more, so that their last messages arrived. Kills what runs; whoever still
 * asks is told ERR_CANCELLED. */
void broker_free(struct broker *b);
/* At start and at each reload: variables that env:// sources of this config name are from now on kept from every helper. */
enum err broker_learn(struct broker *b, const struct config *config) MUST_CHECK;
/* After a reload: the next use of each source reads it anew and waits for that (files are looked at now; env:// is fixed). Where that fails,
 * what was there before serves to its end. Runs no helper itself. */
void broker_reload(struct broker *b);

/* Control thread. Ask for material newer than bad_version: a version the upstream refused (0: any valid one will do). fn comes later, exactly
 * once, unless withdrawn. The credential's conf must stay valid until then: the asker pins its runtime. */
struct broker_ask;
enum err broker_ask(struct broker *b, const struct credential *c, const struct question *q, uint64_t bad_version, broker_answer_fn *fn,
                    void *owner, struct broker_ask **ret_ask) MUST_CHECK;
/* A newer one than `version`, which has not been refused but comes to its end. */
enum err broker_refresh(struct broker *b, const struct credential *c, const struct question *q, uint64_t version, broker_answer_fn *fn,
                        void *owner, struct broker_ask **ret_ask) MUST_CHECK;
void broker_withdraw(struct broker_ask *a); /* fn is not called; a helper that runs for nobody else is killed. NULL allowed */

/* Whether the source works, for banner and `health`: looked at without running a helper (a tool counts as working when it is installed and
 * has not failed within the last 5 s). Sentence for what is missing, or nothing. */
void broker_probe(struct broker *b, const struct credential *c, struct buf *ret_sentence);
