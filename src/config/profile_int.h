/* What the profile*.c files share: trees read tolerantly (a tree with errors is walked too),
 * problems with place and pointer. */
#pragma once
#include "config/profile.h"

/* Where a walk stands, for JSON pointers: linked up to the root on the caller's stack. NULL: the
 * root. */
struct path {
    const struct path *up;
    struct str key; /* p NULL: an index */
    size_t index;
};
#define PATH_KEY(parent, name) (&(const struct path){(parent), (name), 0})
#define PATH_INDEX(parent, i) (&(const struct path){(parent), STR_NULL, (i)})

/* Sentences of at most 600 bytes. `hint` may be NULL. Out of memory is swallowed by the list
 * itself. */
void complain(struct problems *p, const struct path *path, const struct place *at, const char *hint,
              const char *format, ...) PRINTF_LIKE(5, 6);
void remark(struct problems *p, const struct path *path, const struct place *at, const char *hint,
            const char *format, ...) PRINTF_LIKE(5, 6);

/* Value of a member; NULL when it is not there, null, or `object` is no object. */
const struct json *tree_get(const struct json *object, const char *key);
/* The same, and of that kind. */
const struct json *tree_of(const struct json *object, const char *key, enum json_kind kind);
/* Text of a string member; p NULL: none. */
struct str tree_text(const struct json *object, const char *key);
bool tree_true(const struct json *object, const char *key);
/* A non-negative integer member. */
bool tree_number(const struct json *object, const char *key, uint64_t *ret_value);
static inline bool is_kind(const struct json *v, enum json_kind kind)
{
    return v && v->kind == kind;
}

/* ---- profile.c: finding ---- */

enum profile_form { PROFILE_NAME, PROFILE_PATH, PROFILE_REGISTRY, PROFILE_BAD_NAME };
enum profile_form profile_form(struct str text); /* section 2.1 */
/* The user's file of a name, `.jsonc` before `.json`: its path in `out`. False: there is none. */
bool profile_user_file(const struct profile_env *env, struct str name, struct buf *out);
/* The file of an installed pack: by "NAMESPACE/PACK", or by profile name. False: there is none. */
bool profile_pack_file(struct json_doc *doc, const struct profile_env *env, struct str name,
                       struct buf *out);
bool file_exists(struct str path);
/* Canonical path of an existing file. */
bool file_canonical(struct str path, struct buf *out);
struct str path_directory(struct str path); /* "/a/b.json": "/a" */
/* Why there is no profile of that name, and what to write instead. */
void profile_explain_missing(const struct profile_env *env, struct str name, struct buf *out,
                             struct buf *hint);

/* ---- profile_check.c and its parts ---- */

void check_network(const struct json *tree, bool merged,
                   struct problems *p);                           /* profile_network.c */
void check_services(const struct json *tree, struct problems *p); /* profile_service.c */
void check_service_links(const struct json *tree, struct problems *p);
void check_captures(const struct json *tree, struct problems *p); /* profile_capture.c */
void note_captures(const struct json *tree, struct problems *p);
void check_providers(const struct json *tree, bool merged, struct problems *p);
void check_approvals(const struct json *tree, bool merged,
                     struct problems *p); /* profile_approval.c */
/* Whether an approval back end of that name exists. */
bool approval_known(const struct json *tree, struct str name);
/* An `endpoint_policy` or a list of endpoint rules. `service` for sentences. */
/* Whether HTTP knows the method, in any case, or it is `*`; else *ret_near is the one that was probably meant (p NULL: none). */
bool method_is_known(struct str method, struct str *ret_near);
void check_endpoint_list(const struct json *list, const struct path *path, struct problems *p);
void check_endpoint_policy(const struct json *policy, const struct path *path, struct problems *p);
void check_policy_backends(const struct json *tree, const struct json *policy,
                           const struct path *path, struct problems *p);
enum err network_profile_check(struct str name, struct errctx *ctx) MUST_CHECK;
/* A time limit in milliseconds: seconds above 0, at most a year. */
bool seconds_of(const struct json *v, uint64_t *ret_ms);
/* https://host[:port] and nothing else. */
bool is_https_origin(struct str text);

/* "a, b, c": every service there is, sorted (custom_credentials may be NULL). */
void service_names(const struct json *custom, struct buf *out);

/* ---- no_proxy.c ---- */

enum err no_proxy_check(struct str entry, struct errctx *ctx) MUST_CHECK;
/* Whether clients that obey `entry` could go past the gateway for what `pattern` (host, *.suffix,
 * with or without port) names. */
bool no_proxy_overlaps(struct str entry, struct str pattern);
