/* A worker's side of the broker: a bounded LRU of what it was last told. In steady state a request costs no message. Loop thread only. */
#pragma once
#include "credential/broker.h"

struct vault;
struct vault_wait;
struct runtime;

/* Questions go to control's loop as messages, answers come back to `loop`. */
struct vault *vault_new(struct loop *loop, struct loop *control, struct broker *broker) MUST_CHECK;
/* Open questions are withdrawn; no fn is called. Let the loop turn once more before it goes, so that answers under way find their end. */
void vault_free(struct vault *v);

/* The material is the callee's to reference: it is valid during the call. Not from inside vault_get. */
typedef void vault_fn(void *owner, enum err e, struct material *material, const char *sentence);
/* ERR_OK: *ret_material (referenced for the caller) is valid now; when it is in the last quarter of its life (at most 60 s) a refresh was
 * asked for by the way. ERR_AGAIN: fn is called later unless vault_cancel; rt is pinned meanwhile (NULL: the caller does it).
 * ERR_CREDENTIAL_UNAVAILABLE: known to fail (kept 5 s), sentence in ctx. bad_version: the upstream refused it: wait for a newer one; the error
 * says that there is none (the held 401 is then the answer). ERR_NOMEM. q and c are needed during the call only. */
enum err vault_get(struct vault *v, struct runtime *rt, const struct credential *c, const struct question *q, uint64_t bad_version,
                   vault_fn *fn, void *owner, struct vault_wait **ret_wait, struct material **ret_material, struct errctx *ctx) MUST_CHECK;
void vault_cancel(struct vault_wait *w); /* NULL allowed; not after fn was called */
/* The upstream refused this version: the next use waits until the source was asked anew. (Where that gives nothing newer, it is used on:
 * the upstream is who decides, and one client's 401 must not shut out the others.) */
void vault_mark_bad(struct vault *v, const struct credential *c, const struct question *q, uint64_t version);
/* True when the credential is known to be unusable right now (stage 5: no prompt for it). */
bool vault_known_bad(struct vault *v, const struct credential *c, const struct question *q, struct errctx *ctx);
