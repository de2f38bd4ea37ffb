/* Host rules from anywhere. The first line is the target, the second an address it resolves to; each further line is an entry after
 * '+' (allow), '-' (deny) or '~' (bypass). Whatever the entries say: the floor holds, a reason is visible ASCII, and a deny entry
 * more never allows more. */
#include <stdlib.h>
#include "policy/decide.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void check_decision(const struct decision *d)
{
    CHECK(d->rule.n > 0);
    for (const char *c = d->reason; *c; c++)
        CHECK(*c >= ' ' && *c < 0x7f);
    if (d->verdict == VERDICT_REFUSE) {
        CHECK(d->reason[0] && (d->refusal == ERR_HOST_DENIED || d->refusal == ERR_ADDRESS_DENIED));
        return;
    }
    CHECK(d->verdict == VERDICT_ALLOW && !d->reason[0]);
    CHECK(!str_eq(hostname_str(&d->host), STR("metadata.google.internal")));
    if (d->host.is_address) {
        enum address_kind kind = address_kind(&d->host.address);
        CHECK(kind != ADDRESS_METADATA && kind != ADDRESS_LINK_LOCAL);
    }
}

static bool allowed(const struct policy *p, const struct facts *f, const struct address *a)
{
    struct decision d;
    struct vetted_addr vetted = {.by = 0};
    policy_decide(p, f, &d);
    check_decision(&d);
    if (d.verdict == VERDICT_REFUSE)
        return false;
    bool ok = policy_addr(p, &d, d.host.is_address ? &d.host.address : a, &vetted) == ERR_OK;
    check_decision(&d);
    if (ok) {
        enum address_kind kind = address_kind(&vetted.address);
        CHECK(vetted.by == VOUCHED_POLICY && kind != ADDRESS_METADATA && kind != ADDRESS_LINK_LOCAL);
    }
    return ok;
}

static void add_and_check(struct policy *p, struct str line, const struct facts *f, const struct address *a)
{
    struct errctx ctx = {0};
    const char *notice = NULL;
    enum rule_list list = line.p[0] == '+' ? RULES_ALLOW : line.p[0] == '-' ? RULES_DENY : RULES_BYPASS;
    bool before = allowed(p, f, a);
    enum err e = policy_add(p, list, str_of(line.p + 1, line.n - 1), STR("fuzz"), &notice, &ctx);
    CHECK(e == ERR_OK || (e == ERR_INVALID && ctx.text[0]));
    bool after = allowed(p, f, a);
    if (e != ERR_OK || list == RULES_BYPASS)
        CHECK(before == after);
    else if (list == RULES_DENY)
        CHECK(before || !after);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str rest = str_of((const char *)bytes, n), target = STR(""), ip = STR(""), line;
    struct facts f = {.shape = SHAPE_CONNECT, .method = STR("CONNECT")};
    struct errctx ctx = {0};
    struct address a;
    struct policy *p;
    if (!n || !str_next(&rest, '\n', &target) || !str_next(&rest, '\n', &ip))
        return 0;
    if (target_parse_authority(target, &f.host, &f.port, &ctx) != ERR_OK || !address_parse(ip, &a))
        return 0;
    if (policy_new(&p) != ERR_OK)
        return 0;
    while (str_next(&rest, '\n', &line))
        if (line.n && strchr("+-~", line.p[0]) && line.p[0])
            add_and_check(p, line, &f, &a);
    if (policy_freeze(p) == ERR_OK)
        (void)allowed(p, &f, &a);
    policy_free(p);
    return 0;
}
