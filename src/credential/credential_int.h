/* Shared inside credential/ only: the broker's sources, what a run of a helper is made of, and what it yields. */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "config/reference.h"
#include "credential/broker.h"
#include "sys/child.h"
#include "sys/files.h"

enum {
    VALUE_BYTES = 65536,  /* a secret, and a helper's stdout */
    STDERR_BYTES = 4096,  /* of a helper's stderr */
    HEADER_FIELDS = 32,   /* of one helper's answer */
    SENTENCE_BYTES = 160,
};

#define FAR_MS (UINT64_C(86400000) * 3650) /* no value is kept longer: ten years are for ever, and no clock overflows */

/* Appends the key that scopes what the source yields (nothing for sources of one secret); *ret_scope, a slice of q, is what a helper is
 * told of it (untouched where there is none). ERR_CREDENTIAL_UNAVAILABLE with a sentence, ERR_NOMEM. */
enum err credential_scope(const struct credential *c, const struct question *q, struct buf *out, struct str *ret_scope,
                          struct errctx *ctx) MUST_CHECK;

/* ---- the environment that helpers get (helper.c) ---- */

struct helper_env {
    char **v;        /* the gateway's own, borrowed texts; ends in NULL */
    size_t n;
    char **hidden;   /* names, owned */
    size_t n_hidden, cap_hidden;
    uint64_t keyring_timeout_ms; /* 0: for ever */
    char session_id[17];
};
enum err helper_env_init(struct helper_env *env, char *const *envp) MUST_CHECK;
void helper_env_fini(struct helper_env *env);
const char *helper_env_get(const struct helper_env *env, struct str name); /* NULL: unset */
bool helper_env_hides(const struct helper_env *env, struct str name);
enum err helper_env_hide(struct helper_env *env, struct str name) MUST_CHECK;

/* ---- what is to be run (helper.c): born empty, filled by a source, errors sticky ---- */

struct bridge;
struct bridges;
struct order {
    const struct helper_env *env;
    char **argv;     /* owned texts, NULL behind */
    size_t n_argv, cap_argv;
    char **own;      /* variables of our own, "NAME=value" */
    size_t n_own, cap_own;
    struct buf in;   /* stdin; has_in tells whether there is one */
    bool has_in, terminal_stdin, terminal_stderr, no_output;
    uint64_t timeout_ms;
    struct bridges *bridges;    /* NULL: nothing will be run, so no bridge is built */
    struct bridge *bridge;      /* owned; open until order_fini */
    const char *failed_action;  /* what audit calls it that it could not be prepared; NULL: spawn_failed */
    bool failed;     /* out of memory */
};
void order_init(struct order *o, const struct helper_env *env, uint64_t timeout_ms);
void order_fini(struct order *o);
void order_argument(struct order *o, struct str text);
void order_variable(struct order *o, const char *name, struct str value); /* a NUL in the value: the rest of it is left out */
/* argv[0]: looked for in PATH. ERR_CREDENTIAL_UNAVAILABLE with "`name` is not installed: <advice>". */
enum err order_program(struct order *o, struct str name, const char *advice, struct errctx *ctx) MUST_CHECK;
enum err order_start(struct order *o, struct loop *control, child_fn *fn, void *owner, struct child **ret_child) MUST_CHECK;

/* Cuts secrets out of a helper's stderr: the values of `m` (NULL allowed), and every longer word of `out`. */
void scrub(struct buf *text, struct str out, const struct material *m);
/* An argument as audit shows it: values of flags and headers that carry secrets, passwords in URLs. `before`: the argument in front. */
void scrub_argument(struct buf *ret_text, struct str argument, struct str before);

/* ---- sources ---- */

struct source;
/* Who asked for the run, and what a cmd:// helper is told. Owned by the run. */
struct asked {
    struct str method, host, path, route, scope;
    char *memory_;
};
/* What a helper's run came to, for the audit. */
struct report {
    const char *action;          /* "captured", "timeout", … */
    struct str header_names[HEADER_FIELDS];
    size_t n_header_names;
};
struct source_kind {
    enum reference_scheme scheme;
    const char *name;            /* as audit calls it */
    /* At once: the value of a source that needs no helper. */
    enum err (*look)(struct source *s, struct material **ret_material, struct errctx *ctx);
    /* By a helper: what to run, and what its end means. */
    enum err (*prepare)(struct source *s, const struct asked *a, struct order *o, struct errctx *ctx);
    enum err (*collect)(struct source *s, const struct child_result *r, struct material **ret_material, struct report *report,
                        struct errctx *ctx);
    /* What is missing, without running anything. */
    enum err (*probe)(struct source *s, struct errctx *ctx);
};
const struct source_kind *source_kind_of(enum reference_scheme scheme);
extern const struct source_kind source_env, source_file, source_keyring, source_op, source_bw, source_apple, source_cmd;

/* One credential of one source_hash. Texts are copies: it outlives the runtime that named it. */
struct source {
    struct list node;            /* the broker's, least lately asked first */
    struct broker *broker;
    const struct helper_env *env;
    const struct source_kind *kind;
    struct str key;              /* in the broker's map */
    struct str id, reference;    /* whole reference */
    struct str rest;             /* of the reference, behind "scheme://" */
    struct capture_conf capture; /* cmd:// */
    bool has_capture, once, loaded;
    uint64_t ttl_ms;             /* keyring, op, bw, apple, cmd */
    uint64_t version;            /* last one given */
    uint64_t used_ns;
    struct file_watch *watch;
    struct map entries;
    struct list entry_list;      /* least lately asked first */
    size_t n_entries;
    struct config store;         /* memory of the texts */
};
/* A source without entries or watch. ERR_NOMEM. */
enum err source_new(const struct credential *c, struct str key, const struct helper_env *env, struct source **ret_source) MUST_CHECK;
void source_free(struct source *s); /* its entries have gone */
char *source_path(const struct source *s) MUST_CHECK; /* of a file:// source; mem_free */

/* A material of one secret after decision K4; `value` is not wiped. `what` begins the sentence. */
enum err material_take(struct str value, const char *what, struct material **ret_material, struct errctx *ctx) MUST_CHECK;
/* A helper's stdout without line breaks at its end. */
struct str trim_lines(struct str out);
/* What every helper may come to; ERR_OK: it exited with 0. `tool` begins the sentence. */
enum err helper_verdict(const char *tool, const struct child_result *r, struct report *report, struct errctx *ctx) MUST_CHECK;
/* A helper's stdout by the rules of its capture entry (capture_output.c). end_ns: of expires_at, in *ret_material. */
enum err capture_read(const struct capture_conf *c, struct str out, uint64_t now_ns, uint64_t wall_ms, struct material **ret_material,
                      struct report *report, struct errctx *ctx) MUST_CHECK;
/* RFC 3339 or Unix seconds. */
bool time_parse(struct str text, uint64_t *ret_wall_ms) MUST_CHECK;
