#include "policy/policy_int.h"
#include "unit.h"

static size_t rules(const struct policy *p)
{
    return p->sets[RULES_ALLOW].n + p->sets[RULES_DENY].n + p->sets[RULES_BYPASS].n;
}

struct row {
    enum rule_list list;
    const char *entry;
    const char *id;      /* rule id of a request to `target`; NULL: the entry is an error */
    const char *target;  /* or a piece of the error sentence */
};

/* Add the one entry and ask for a target that it should be about. */
static void check(const struct row *row)
{
    struct policy *p;
    struct errctx ctx = {0};
    const char *notice = "untouched";
    assert_int_equal(policy_new(&p), ERR_OK);
    enum err e = policy_add(p, row->list, str_from(row->entry), STR("--some-option"), &notice, &ctx);
    if (!row->id) {
        assert_string_equal(notice, "untouched");
        if (e != ERR_INVALID || !strstr(ctx.text, row->target) || !strstr(ctx.text, "--some-option \"") ||
            rules(p) != 0)
            fail_msg("%s: %d %s", row->entry, e, ctx.text);
    } else {
        if (e != ERR_OK)
            fail_msg("%s", ctx.text);
        assert_int_equal(policy_freeze(p), ERR_OK);
        struct decision d = ask(p, row->target);
        if (!str_eq(d.rule, str_from(row->id)) || !str_eq(d.origin, STR("--some-option")))
            fail_msg("%s: rule %.*s, reason %s", row->entry, STR_ARG(d.rule), d.reason);
        assert_int_equal(d.verdict, row->list == RULES_ALLOW ? VERDICT_ALLOW : VERDICT_REFUSE);
    }
    policy_free(p);
}

/* config.md 4.1 as decisions H3 and H12 have it, and H2, H4, H9. */
static const struct row rows[] = {
    {RULES_ALLOW, "github.com", "allow:github.com", "github.com:22"},
    {RULES_ALLOW, "GitHub.COM.", "allow:github.com", "github.com:443"},
    {RULES_ALLOW, "*.example.com", "allow:*.example.com", "a.b.example.com:1"},
    {RULES_ALLOW, "*.EXAMPLE.com.", "allow:*.example.com", "a.example.com:1"},
    {RULES_ALLOW, "*", "allow:*", "any.test:1"},
    {RULES_ALLOW, "*:443", "allow:*:443", "any.test:443"},
    {RULES_ALLOW, "github", "allow:github", "codeload.github.com:443"},
    {RULES_ALLOW, "github:443", "allow:github:443", "codeload.github.com:443"},
    {RULES_ALLOW, "google_cloud", "allow:google_cloud", "storage.googleapis.com:443"},
    {RULES_ALLOW, "Gitlab", "allow:gitlab", "gitlab:443"}, /* no group, a host */
    {RULES_ALLOW, "https://github.com", "allow:github.com:443", "github.com:443"},
    {RULES_ALLOW, "HTTPS://github.com/", "allow:github.com:443", "github.com:443"},
    {RULES_ALLOW, "http://github.com", "allow:github.com:80", "github.com:80"},
    {RULES_ALLOW, "https://github.com:8443/", "allow:github.com:8443", "github.com:8443"},
    {RULES_ALLOW, "https://*.example.com", "allow:*.example.com:443", "a.example.com:443"},
    {RULES_ALLOW, "http://[::1]:3000", "allow:[::1]:3000", "[::1]:3000"},
    {RULES_ALLOW, "http://localhost:3000", "allow:localhost:3000", "localhost:3000"},
    {RULES_ALLOW, "localhost:3000", "allow:localhost:3000", "localhost:3000"},
    {RULES_ALLOW, "example.com:443", "allow:example.com:443", "example.com:443"},
    {RULES_ALLOW, "127.0.0.1:80", "allow:127.0.0.1:80", "127.0.0.1:80"},
    {RULES_ALLOW, "*.x.com:443", "allow:*.x.com:443", "a.x.com:443"},
    {RULES_ALLOW, "::1", "allow:[::1]", "[::1]:1"},
    {RULES_ALLOW, "[0:0:0:0:0:0:0:1]", "allow:[::1]", "[::1]:1"},
    {RULES_ALLOW, "[2001:DB8::1]:8080", "allow:[2001:db8::1]:8080", "[2001:db8::1]:8080"},
    {RULES_ALLOW, "::ffff:10.0.0.1", "allow:10.0.0.1", "10.0.0.1:1"},
    {RULES_ALLOW, "10.0.0.0/8", "allow:10.0.0.0/8", "10.1.2.3:1"},
    {RULES_ALLOW, "10.0.0.0/8:22", "allow:10.0.0.0/8:22", "10.1.2.3:22"},
    {RULES_ALLOW, "10.0.0.1/32", "allow:10.0.0.1", "10.0.0.1:22"},
    {RULES_ALLOW, "fd00::/8", "allow:fd00::/8", "[fd12::1]:1"},
    {RULES_ALLOW, "[fd00::/8]:443", "allow:[fd00::]/8:443", "[fd12::1]:443"},
    {RULES_ALLOW, "[fd00::]/8:443", "allow:[fd00::]/8:443", "[fd12::1]:443"},
    {RULES_ALLOW, "fd00::/8:443", "allow:[fd00::]/8:443", "[fd12::1]:443"},
    {RULES_ALLOW, "0.0.0.0/0", "allow:0.0.0.0/0", "8.8.8.8:443"},
    {RULES_ALLOW, "b\xc3\xbc" "cher.de:443", "allow:xn--bcher-kva.de:443", "xn--bcher-kva.de:443"},
    {RULES_ALLOW, "*.b\xc3\xbc" "cher.de", "allow:*.xn--bcher-kva.de", "a.xn--bcher-kva.de:443"},
    {RULES_ALLOW, "_srv.test", "allow:_srv.test", "_srv.test:1"},
    {RULES_ALLOW, "example.com:65535", "allow:example.com:65535", "example.com:65535"},
    {RULES_DENY, "evil.test:443", "deny:evil.test:443", "evil.test:443"},
    {RULES_DENY, "*", "deny:*", "any.test:1"},
    {RULES_DENY, "*:443", "deny:*:443", "any.test:443"},
    {RULES_DENY, "private", "deny:private", "192.168.1.1:80"},
    {RULES_DENY, "private:22", "deny:private:22", "[fd00::1]:22"},
    {RULES_DENY, "loopback", "deny:loopback", "127.9.9.9:80"},
    {RULES_DENY, "8.8.8.0/24", "deny:8.8.8.0/24", "8.8.8.8:53"},
    {RULES_DENY, "llm_apis", "deny:llm_apis", "api.x.ai:443"},
    /* errors, with a piece of the sentence */
    {RULES_ALLOW, "", NULL, "empty"},
    {RULES_ALLOW, ".", NULL, "dot"},
    {RULES_ALLOW, ".example.com", NULL, "write *.example.com"},
    {RULES_ALLOW, "*corp", NULL, "stands alone or first before a dot"},
    {RULES_ALLOW, "a.*.test", NULL, "stands alone or first before a dot"},
    {RULES_ALLOW, "*.*.test", NULL, "stands alone or first before a dot"},
    {RULES_ALLOW, "**", NULL, "stands alone or first before a dot"},
    {RULES_ALLOW, "*.", NULL, "stands alone or first before a dot"},
    {RULES_ALLOW, "*..", NULL, "empty"},
    {RULES_ALLOW, "a*", NULL, "stands alone or first before a dot"},
    {RULES_ALLOW, "*.1.2.3.4", NULL, "before an address"},
    {RULES_ALLOW, "*.10", NULL, "number"},
    {RULES_ALLOW, "*.[::1]", NULL, "before an address"},
    {RULES_ALLOW, "example.com:0", NULL, "from 1 to 65535"},
    {RULES_ALLOW, "*:0", NULL, "from 1 to 65535"},
    {RULES_ALLOW, "example.com:65536", NULL, "from 1 to 65535"},
    {RULES_ALLOW, "example.com:", NULL, "from 1 to 65535"},
    {RULES_ALLOW, "example.com:http", NULL, "from 1 to 65535"},
    {RULES_ALLOW, "example.com:+1", NULL, "from 1 to 65535"},
    {RULES_ALLOW, "mailto:x", NULL, "from 1 to 65535"},
    {RULES_ALLOW, "[::1]:0", NULL, "from 1 to 65535"},
    {RULES_ALLOW, ":80", NULL, "empty"},
    {RULES_ALLOW, "127.1", NULL, "number"},
    {RULES_ALLOW, "0x7f000001", NULL, "number"},
    {RULES_ALLOW, "2130706433", NULL, "number"},
    {RULES_ALLOW, "0177.0.0.1", NULL, "number"},
    {RULES_ALLOW, "a b", NULL, "character"},
    {RULES_ALLOW, "a_b!.test", NULL, "character"},
    {RULES_ALLOW, "a..b", NULL, "empty label"},
    {RULES_ALLOW, "user@example.com", NULL, "user information"},
    {RULES_ALLOW, "https://user@example.com", NULL, "user information"},
    {RULES_ALLOW, "https://github.com/org/**", NULL, "path rules come with profiles"},
    {RULES_ALLOW, "https://github.com?x", NULL, "a query or fragment cannot be part of an entry"},
    {RULES_ALLOW, "https://10.0.0.0/8", NULL, "path rules come with profiles"},
    {RULES_ALLOW, "ftp://localhost", NULL, "http or https"},
    {RULES_ALLOW, "https://", NULL, "empty"},
    {RULES_ALLOW, "https:///", NULL, "empty"},
    {RULES_ALLOW, "https://h:0", NULL, "from 1 to 65535"},
    {RULES_DENY, "https://evil.test", NULL, "URL"},
    {RULES_BYPASS, "https://evil.test", NULL, "URL"},
    {RULES_BYPASS, "*", NULL, "every host"},
    {RULES_BYPASS, "*:443", NULL, "every host"},
    {RULES_BYPASS, "*corp", NULL, "stands alone or first before a dot"},
    {RULES_BYPASS, "a.*.test", NULL, "stands alone or first before a dot"},
    {RULES_BYPASS, "corp.test:0", NULL, "from 1 to 65535"},
    {RULES_ALLOW, "10.0.0.1/8", NULL, "write 10.0.0.0/8"},
    {RULES_ALLOW, "fd00:1::1/16", NULL, "write fd00::/16"},
    {RULES_ALLOW, "10.0.0.0/33", NULL, "not a CIDR block"},
    {RULES_ALLOW, "10.0.0.0/", NULL, "not a CIDR block"},
    {RULES_ALLOW, "example.com/8", NULL, "not a CIDR block"},
    {RULES_ALLOW, "github.com/org", NULL, "write https://github.com/org"},
    {RULES_DENY, "github.com/org", NULL, "write the host alone"},
    {RULES_ALLOW, "a.test,b.test", NULL, "repeat the option"},
    {RULES_ALLOW, "::1:8080", NULL, "in brackets"},
    {RULES_ALLOW, "2001:db8::1:443", NULL, "in brackets"},
    {RULES_ALLOW, "[::1", NULL, "bracket"},
    {RULES_ALLOW, "[fe80::1%eth0]", NULL, "zone"},
    {RULES_ALLOW, "\xef\xbc\x91.1.1.1", NULL, "ASCII"},
};

static void test_entries(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(&rows[i]);
}

static void test_long_entries_are_cut_in_sentences(void **state)
{
    char text[1000];
    struct policy *p;
    struct errctx ctx = {0};
    const char *notice;
    (void)state;
    assert_int_equal(policy_new(&p), ERR_OK);
    memset(text, '\x01', sizeof text);
    assert_int_equal(policy_add(p, RULES_DENY, str_of(text, sizeof text), STR("NONO_DENY_DOMAIN"), &notice, &ctx),
                     ERR_INVALID);
    assert_true(strstr(ctx.text, "NONO_DENY_DOMAIN") == ctx.text);
    policy_free(p);
}

/* H5: accepted with a notice. */
static void test_notices(void **state)
{
    static const struct {
        enum rule_list list;
        const char *entry;
        bool notice;
    } table[] = {
        {RULES_ALLOW, "169.254.169.254", true},
        {RULES_ALLOW, "169.254.0.0/16", true},
        {RULES_ALLOW, "169.254.1.1:80", true},
        {RULES_ALLOW, "0.0.0.0/0", true},
        {RULES_ALLOW, "::/0", true},
        {RULES_ALLOW, "fe80::/10", true},
        {RULES_ALLOW, "[fe80::1]", true},
        {RULES_ALLOW, "fd00:ec2::254", true},
        {RULES_ALLOW, "fd00::/8", true},
        {RULES_ALLOW, "private", true},
        {RULES_ALLOW, "64:ff9b::/96", true},
        {RULES_ALLOW, "2002::/16", true},
        {RULES_ALLOW, "metadata.google.internal", true},
        {RULES_ALLOW, "METADATA.azure.internal.:80", true},
        {RULES_ALLOW, "*.google.internal", true},
        {RULES_ALLOW, "*.internal", true},
        {RULES_ALLOW, "*", false},
        {RULES_ALLOW, "*.metadata.google.internal", false},
        {RULES_ALLOW, "*.ogle.internal", false},
        {RULES_ALLOW, "google.internal", false},
        {RULES_ALLOW, "10.0.0.0/8", false},
        {RULES_ALLOW, "100.100.100.200", false},
        {RULES_ALLOW, "168.63.129.16", false},
        {RULES_ALLOW, "loopback", false},
        {RULES_DENY, "169.254.169.254", false},
        {RULES_DENY, "metadata.google.internal", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct policy *p;
        struct errctx ctx = {0};
        const char *notice = "untouched";
        assert_int_equal(policy_new(&p), ERR_OK);
        assert_int_equal(
            policy_add(p, table[i].list, str_from(table[i].entry), STR("--allow-domain"), &notice, &ctx), ERR_OK);
        if ((notice != NULL) != table[i].notice)
            fail_msg("%s: %s", table[i].entry, notice ? notice : "no notice");
        if (notice)
            assert_non_null(strstr(notice, table[i].entry));
        policy_free(p);
    }
}

/* config.md 6.1: every member of every group is taken. */
static void test_groups(void **state)
{
    static const struct {
        const char *group;
        size_t members;
        const char *target;
    } table[] = {
        {"llm_apis", 16, "generativelanguage.googleapis.com:443"},
        {"package_registries", 15, "esm.sh:443"},
        {"github", 8, "ghcr.io:443"},
        {"gitlab", 3, "registry.gitlab.com:443"},
        {"sigstore", 4, "rekor.sigstore.dev:443"},
        {"documentation", 8, "pkg.go.dev:443"},
        {"google_cloud", 1, "a.googleapis.com:443"},
        {"azure", 2, "x.openai.azure.com:443"},
        {"aws_bedrock", 2, "x.bedrock-runtime.amazonaws.com:443"},
        {"private", 5, "100.64.0.1:443"},
        {"loopback", 3, "localhost:443"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct policy *p = make_policy(table[i].group, "");
        struct decision d = ask(p, table[i].target);
        assert_int_equal(rules(p), table[i].members);
        assert_int_equal(d.verdict, VERDICT_ALLOW);
        d = ask(p, "elsewhere.test:443");
        assert_int_equal(d.verdict, VERDICT_REFUSE);
        policy_free(p);
    }
    struct policy *p = make_policy("google_cloud", ""); /* a suffix does not match its apex */
    assert_int_equal(ask(p, "googleapis.com:443").verdict, VERDICT_REFUSE);
    policy_free(p);
}

static void test_first_entry_gives_the_origin(void **state)
{
    struct policy *p;
    (void)state;
    assert_int_equal(policy_new(&p), ERR_OK);
    add_words(p, RULES_ALLOW, "a.test A.TEST.", "NONO_ALLOW_DOMAIN");
    add_words(p, RULES_ALLOW, "a.test", "--allow-domain");
    assert_int_equal(rules(p), 1);
    struct decision d = ask(p, "a.test:1");
    assert_true(str_eq(d.origin, STR("NONO_ALLOW_DOMAIN")));
    policy_free(p);
}

static void test_kinds(void **state)
{
    static const struct {
        const char *allow;
        bool strict;
        enum policy_kind kind;
    } table[] = {
        {"", false, POLICY_ALLOW_ALL},    {"", true, POLICY_DENY_ALL},       {"*", false, POLICY_ALLOW_ALL},
        {"*", true, POLICY_ALLOW_ALL},    {"a.test", false, POLICY_ALLOWLIST}, {"*:443", false, POLICY_ALLOWLIST},
        {"a.test *", false, POLICY_ALLOW_ALL}, {"0.0.0.0/0 ::/0", false, POLICY_ALLOWLIST},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct policy *p = make_policy(table[i].allow, "");
        policy_set_strict(p, table[i].strict);
        assert_int_equal(policy_kind(p), table[i].kind);
        policy_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries), cmocka_unit_test(test_long_entries_are_cut_in_sentences),
        cmocka_unit_test(test_notices), cmocka_unit_test(test_groups),
        cmocka_unit_test(test_first_entry_gives_the_origin), cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
