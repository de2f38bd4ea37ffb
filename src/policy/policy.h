/* A compiled policy: built once from configuration, then immutable and shared. Matching does not depend on the number of rules: hash of
 * exact names, trie of labels for wildcards, bit trie of CIDRs. */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct policy;

enum rule_list { RULES_ALLOW, RULES_DENY, RULES_BYPASS };

enum err policy_new(struct policy **ret_policy) MUST_CHECK;
void policy_free(struct policy *p);

/* Add one entry: name, *.name, `*` (all lists but BYPASS), IP literal, CIDR, each with an optional :port ([v6]:port); or a built-in group
 * (groups.def; not for BYPASS) whose members become entries under the rule id "allow:GROUP". `origin` ("--allow-domain") is copied.
 * ERR_INVALID with a sentence that names entry, origin and remedy: empty, `*corp`, `a.*.test`, `*.*.test`, port 0, legacy numeric IPv4,
 * bad characters. A URL is taken for RULES_ALLOW only: scheme and port are kept (the scheme's default port), path "/" or none; with a path:
 * ERR_INVALID "path rules come with profiles". An allow entry that names or covers a never-allowed address is accepted; *ret_notice then
 * holds a sentence without the origin (static or owned by the policy), else NULL. */
enum err policy_add(struct policy *p, enum rule_list list, struct str entry, struct str origin, const char **ret_notice, struct errctx *ctx)
    MUST_CHECK;
/* Empty allowlist = deny all (network.block). */
void policy_set_strict(struct policy *p, bool strict);
/* Requests go through an upstream proxy unless bypassed; names_there: it resolves names (http, https, socks5h). */
void policy_set_chain(struct policy *p, bool names_there);
/* After the last addition. ERR_NOMEM. */
enum err policy_freeze(struct policy *p) MUST_CHECK;

enum policy_kind { POLICY_ALLOW_ALL, POLICY_ALLOWLIST, POLICY_DENY_ALL };
enum policy_kind policy_kind(const struct policy *p); /* banner and --output json; `*` counts as allow all */

/* Built-in groups: the name of the index-th (NULL past the end), and the members of one (NULL at the end; NULL: no such group). */
const char *policy_group_name(size_t index);
const char *const *policy_group_members(struct str name);
