/* What the tests of policy/ share: a policy from two lists of words, and a question about it. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "policy/decide.h"
#include "policy/policy.h"

static inline void add_words(struct policy *p, enum rule_list list, const char *words, const char *origin)
{
    struct str rest = str_from(words), word;
    while (str_next(&rest, ' ', &word)) {
        struct errctx ctx = {0};
        const char *notice;
        if (word.n && policy_add(p, list, word, str_from(origin), &notice, &ctx) != ERR_OK)
            fail_msg("%s", ctx.text);
    }
}

static inline struct policy *make_policy(const char *allow, const char *deny)
{
    struct policy *p;
    assert_int_equal(policy_new(&p), ERR_OK);
    add_words(p, RULES_ALLOW, allow, "--allow-domain");
    add_words(p, RULES_DENY, deny, "--deny-domain");
    assert_int_equal(policy_freeze(p), ERR_OK);
    return p;
}

/* CONNECT to "host:port"; a target that is malformed counts as refused with ERR_BAD_REQUEST. */
static inline struct decision ask(const struct policy *p, const char *target)
{
    struct facts f = {.shape = SHAPE_CONNECT, .method = STR("CONNECT"), .scheme = SCHEME_HTTPS};
    struct decision d = {.verdict = VERDICT_REFUSE, .refusal = ERR_BAD_REQUEST};
    struct errctx ctx = {0};
    if (target_parse_authority(str_from(target), &f.host, &f.port, &ctx) == ERR_OK)
        policy_decide(p, &f, &d);
    return d;
}

/* The second half for one resolved address. */
static inline enum err ask_address(const struct policy *p, struct decision *d, const char *ip)
{
    struct address a;
    struct vetted_addr vetted = {.by = 0};
    assert_true(address_parse(str_from(ip), &a));
    enum err e = policy_addr(p, d, &a, &vetted);
    assert_int_equal(vetted.by, e == ERR_OK ? VOUCHED_POLICY : 0);
    if (e == ERR_OK) {
        assert_true(address_eq(&vetted.address, &a));
        assert_int_equal(vetted.port, d->port);
    }
    return e;
}
