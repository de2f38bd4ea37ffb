/* What a credential source yields: one secret, or named header fields each with one; a version; an end. Counted, immutable but for the
 * moment from which it is not to be used any more. Any thread. */
#pragma once
#include "base/err.h"
#include "base/secret.h"
#include <stdatomic.h>

struct material_field {
    struct str name;         /* owned */
    struct secret *value;
};
struct material {
    _Atomic uint32_t refs_;
    uint64_t version;        /* grows with each refresh of this credential */
    uint64_t refresh_ns;     /* monotonic: from here on a use asks for a newer one; 0: never */
    uint64_t end_ns;         /* monotonic: serves to its very end; 0: no end */
    struct secret *secret;   /* NULL when fields are given */
    struct material_field *fields;
    size_t n_fields;
    bool once;               /* not kept: each request asks anew (a time to live of 0) */
    struct material *origin_; /* a worker's own copy asks the broker's whether it still holds */
    _Atomic uint64_t until_ns_; /* monotonic: superseded, or its source gone; 0: not so */
    _Atomic bool worked_;
};
struct material *material_ref(struct material *m);
void material_unref(struct material *m); /* NULL allowed */
/* Whether it may be used at this moment. */
bool material_valid(const struct material *m, uint64_t now_ns);
/* Not after `until_ns`, whoever holds it. The earliest counts. */
void material_stop(struct material *m, uint64_t until_ns);
/* An upstream took it (an answer other than 401), whoever's copy it was. Should it be refused later, a newer one is fetched at once
 * (decision K5). */
void material_mark_worked(struct material *m);
bool material_worked(const struct material *m);

/* Building. Takes the references of secret, or of the fields (names too), also when it fails. */
struct material *material_new(struct secret *secret, struct material_field *fields, size_t n_fields) MUST_CHECK;
void material_fields_free(struct material_field *fields, size_t n);
/* A copy with a count of its own that shares the secrets: a worker's. */
struct material *material_copy(struct material *m) MUST_CHECK;
/* The same version, secrets and end in one that was not stopped and asks nobody. */
struct material *material_again(const struct material *m) MUST_CHECK;
/* Whether both yield the same bytes. */
bool material_equal(const struct material *a, const struct material *b) MUST_CHECK;
/* Decision K4: neither empty nor with control characters (tab allowed), and UTF-8. The sentence begins with `what` and never holds any of
 * the value. */
enum err material_check(struct str value, const char *what, struct errctx *ctx) MUST_CHECK;
