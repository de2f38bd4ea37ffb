#include "unit.h"

/* One policy and what it says of several targets: '+' allowed, '-' refused, '!' malformed (400). */
struct scene {
    const char *name, *allow, *deny;
    const char *targets; /* blank-separated, each with its sign in front */
};

static void check_scene(const struct scene *s)
{
    struct policy *p = make_policy(s->allow, s->deny);
    struct str rest = str_from(s->targets), word;
    while (str_next(&rest, ' ', &word)) {
        char target[300];
        if (word.n == 0)
            continue;
        memcpy(target, word.p + 1, word.n - 1);
        target[word.n - 1] = 0;
        struct decision d = ask(p, target);
        char got = d.verdict == VERDICT_ALLOW ? '+' : d.refusal == ERR_BAD_REQUEST ? '!' : '-';
        if (got != word.p[0])
            fail_msg("%s: %s gives %c (%s)", s->name, target, got, d.reason);
        if (got == '-' && (d.refusal != ERR_HOST_DENIED || d.rule.n == 0 || d.remedy.n == 0))
            fail_msg("%s: %s: refusal %s", s->name, target, err_name(d.refusal));
        if (got == '+' && (d.rule.n == 0 || d.reason[0]))
            fail_msg("%s: %s: an allowed request needs a rule and no reason", s->name, target);
    }
    policy_free(p);
}

static const struct scene scenes[] = {
    {"case 17: deny on host and port", "*", "h:8975", "-h:8975 +h:8976 +x.h:8975"},
    {"case 18: trailing dot", "", "evil.com:443", "-evil.com:443 -evil.com.:443 -evil.com...:443 +evil.com:80"},
    {"case 19: spellings of a denied name", "", "evil.com b\xc3\xbc" "cher.de",
     "-evil.com:1 -EVIL.com:1 -Evil.Com.:1 -evil\xe3\x80\x82" "com:1 -evil\xef\xbc\x8e" "com\xef\xbc\x8e:1 "
     "-\xef\xbd\x85vil.com:1 -ev\xe2\x80\x8bil.com:1 -\xef\xbb\xbf" "evil.com:1 -ev\xc2\xadil.com:1 "
     "-b\xc3\xbc" "cher.de:1 -B\xc3\x9c" "CHER.DE:1 -xn--bcher-kva.de:1 -XN--BCHER-KVA.de.:1 -bu\xcc\x88" "cher.de:1 "
     "!evil.com\x01:1 !evil\x7f.com:1 !evil%2ecom:1 +good.com:1"},
    {"case 19: spellings of metadata names", "*", "",
     "-metadata.google.internal:80 -METADATA.google.internal.:80 -metadata\xe3\x80\x82google.internal:80 "
     "-\xef\xbd\x8d" "etadata.google.internal:80 -metadata.azure.internal:443 +metadata.google.internal.test:80"},
    {"case 19: spellings of metadata addresses", "* 0.0.0.0/0 ::/0", "",
     "-169.254.169.254:80 -169.254.169.254.:80 -[::ffff:169.254.169.254]:80 -[::ffff:a9fe:a9fe]:80 "
     "-[64:ff9b::a9fe:a9fe]:80 -[2002:a9fe:a9fe::]:80 -[::169.254.169.254]:80 -[fd00:ec2::254]:80 "
     "-[fd00:0ec2:0:0:0:0:0:254]:80 !0xa9fea9fe:80 !2852039166:80 !169.254.43518:80 !0251.0376.0251.0376:80"},
    {"case 20: not on the allowlist", "a.test", "", "+a.test:1 -b.test:1 -a.test.test:1 -xa.test:1 -sub.a.test:1"},
    {"case 21: allow with a port", "example.com:8443", "",
     "+example.com:8443 -example.com:443 -example.com:80 -a.example.com:8443"},
    {"case 22: wildcard", "*.example.com", "",
     "+a.example.com:1 +a.b.example.com:1 -example.com:1 -badexample.com:1 -example.com.test:1"},
    {"case 23: no filter, something denied elsewhere", "", "x.test", "+a.test:1"},
    {"case 25: deny-only", "", "evil.test *.bad.test", "-evil.test:1 -a.bad.test:1 +bad.test:1 +good.test:1 +8.8.8.8:1"},
    {"case 28: loopback literals without a rule", "", "",
     "-127.0.0.1:80 -127.1.2.3:80 -0.0.0.0:80 -0.1.2.3:80 -[::1]:80 -[::]:80 -localhost:80 -LOCALHOST.:80 "
     "-a.localhost:80 -[::ffff:127.0.0.1]:80 -224.0.0.1:80 -[ff02::1]:80 -255.255.255.255:80 "
     "-[64:ff9b::127.0.0.1]:80 -[2002:7f00:1::]:80 -[::127.0.0.1]:80 "
     "+10.0.0.1:80 +192.168.1.1:80 +100.64.0.1:80 +[fd00::1]:80 +8.8.8.8:80 +localhost.test:80"},
    {"case 28, 14-A15: `*` unlocks nothing", "* *.localhost", "",
     "-127.0.0.1:80 -[::1]:80 -localhost:80 -a.localhost:80 -0.0.0.0:80 -224.0.0.1:80"},
    {"case 28: with a rule", "127.0.0.1 [::1]:8080 localhost:3000", "",
     "+127.0.0.1:80 +127.0.0.1:1 -127.0.0.2:80 +[::1]:8080 -[::1]:80 +localhost:3000 -localhost:80 "
     "-a.localhost:3000 -a.test:80"},
    {"H6: keep the rest open", "* 127.0.0.0/8", "",
     "+127.0.0.1:80 +127.255.255.255:80 +a.test:80 +localhost:80 +a.localhost:80 -[::1]:80 -0.0.0.0:80"},
    {"H6: ports of unlocking entries", "* 127.0.0.0/8:8080", "",
     "+127.0.0.1:8080 -127.0.0.1:80 +localhost:8080 -localhost:80"},
    {"H6: other kinds", "0.0.0.0 224.0.0.0/4 255.255.255.255 ff00::/8", "",
     "+0.0.0.0:1 -0.0.0.1:1 +239.1.1.1:1 +255.255.255.255:1 +[ff02::1]:1 -127.0.0.1:1"},
    {"H10a: localhost with ::1", "* ::1", "", "+localhost:1 +[::1]:1 -127.0.0.1:1"},
    {"H10a: localhost names exactly one host", "* localhost", "",
     "+localhost:1 -a.localhost:1 -127.0.0.1:1 -[::1]:1"},
    {"H10a: a name below it", "app.localhost", "", "+app.localhost:1 -x.app.localhost:1 -localhost:1"},
    {"H10a: an address alone does not permit the name", "127.0.0.1", "", "-localhost:1 +127.0.0.1:1"},
    {"group loopback", "loopback", "", "+localhost:1 +127.3.3.3:1 +[::1]:1 -a.test:1"},
    {"H7: deny private", "", "private",
     "-10.0.0.1:1 -172.31.0.1:1 -192.168.0.1:1 -100.100.1.1:1 -[fd00::1]:1 -[::ffff:10.0.0.1]:1 "
     "-[64:ff9b::10.0.0.1]:1 -[2002:a00:1::]:1 +8.8.8.8:1 +172.32.0.1:1 +a.test:1"},
    {"case 29: by name or by literal", "", "10.1.2.3:443", "-10.1.2.3:443 +10.1.2.3:80 -[::ffff:10.1.2.3]:443"},
    {"case 32: bracketed IPv6 and port", "[2001:db8::1]:8443", "",
     "+[2001:db8::1]:8443 +[2001:DB8:0:0::1]:8443 -[2001:db8::1]:443 -[2001:db8::2]:8443"},
    {"H4: blocks", "10.0.0.0/8 fd00::/8:443", "10.6.0.0/16 10.7.7.7",
     "+10.1.1.1:1 -11.1.1.1:1 -10.6.1.1:1 -10.7.7.7:1 +10.7.7.8:1 +[fd00::1]:443 -[fd00::1]:80 -a.test:1"},
    {"H4: a block that is first a fork of two others", "", "128.0.0.0/1 10.0.0.0/16 0.0.0.0/0:443",
     "-1.2.3.4:443 +1.2.3.4:80 -10.0.1.1:80 -200.1.1.1:80"},
    {"H5: cloud addresses", "* 100.64.0.0/10", "", "+100.100.100.200:80 -168.63.129.16:80 +100.64.0.1:80"},
    {"H5: cloud addresses by themselves", "168.63.129.16:80 100.100.100.200", "",
     "+168.63.129.16:80 -168.63.129.16:443 +100.100.100.200:1"},
    {"H5: `*` and groups do not name them", "* private", "", "-100.100.100.200:80 -168.63.129.16:80 +100.64.0.1:1"},
    {"H5: a block that a group has too still does", "* private 100.64.0.0/10", "", "+100.100.100.200:80 -168.63.129.16:80"},
    {"H5: nothing unlocks the rest", "169.254.0.0/16 fe80::/10 metadata.google.internal fd00::/8 *", "",
     "-169.254.169.254:80 -169.254.1.1:80 -[fe80::1]:80 -[febf::1]:80 -metadata.google.internal:80 "
     "-[fd00:ec2::254]:80 +[fd00:ec2::253]:80 -[::ffff:169.254.1.1]:80 -[64:ff9b::169.254.1.1]:80"},
    {"H8: deny beats allow", "a.test 10.0.0.1 *.b.test", "a.test 10.0.0.0/8 x.b.test:443",
     "-a.test:1 -10.0.0.1:1 -x.b.test:443 +x.b.test:80 +y.b.test:443"},
    {"H8: deny `*:443`", "*", "*:443", "-a.test:443 -8.8.8.8:443 -[2001:db8::1]:443 +a.test:80"},
    {"H9: any host on 443", "*:443", "", "+a.test:443 -a.test:80 +8.8.8.8:443 -127.0.0.1:443 -localhost:443"},
    {"H12: a URL keeps its port", "https://a.test http://b.test", "", "+a.test:443 -a.test:80 +b.test:80 -b.test:443"},
    {"nothing but a wildcard below a top-level name", "*.test", "", "+a.test:1 -test:1 -a.testing:1"},
};

static void test_scenes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scenes); i++)
        check_scene(&scenes[i]);
}

static void test_case_33_strict_and_empty(void **state)
{
    struct policy *p = make_policy("", "");
    (void)state;
    policy_set_strict(p, true);
    struct decision d = ask(p, "a.test:443");
    assert_int_equal(d.verdict, VERDICT_REFUSE);
    assert_true(str_eq(d.rule, STR("default-deny")));
    policy_free(p);
}

/* wire.md 5.3.3: these texts are interface. */
static void test_reasons(void **state)
{
    static const struct {
        const char *allow, *deny, *target, *rule, *reason;
    } table[] = {
        {"", "evil.test", "EVIL.test.:443", "deny:evil.test", "host evil.test is in the deny list"},
        {"", "evil.test:443", "Evil.test:443", "deny:evil.test:443", "host evil.test:443 is in the deny list"},
        {"", "*.evil.test", "a.evil.test:443", "deny:*.evil.test", "host a.evil.test is in the deny list"},
        {"", "evil.test evil.test:443", "evil.test:443", "deny:evil.test:443", "host evil.test:443 is in the deny list"},
        {"", "*:443 evil.test", "evil.test:443", "deny:*:443", "host evil.test:443 is in the deny list"},
        {"", "10.0.0.0/8", "10.1.1.1:1", "deny:10.0.0.0/8", "host 10.1.1.1 is in the deny list"},
        {"", "[2001:db8::1]:1", "[2001:db8::1]:1", "deny:[2001:db8::1]:1", "host [2001:db8::1]:1 is in the deny list"},
        {"", "2001:db8::/32", "[2001:db8::1]:1", "deny:2001:db8::/32", "host 2001:db8::1 is in the deny list"},
        {"a.test", "", "ABC.De.:443", "default-deny", "host abc.de:443 is not in the allowlist"},
        {"a.test", "", "[2001:DB8::1]:80", "default-deny", "host [2001:db8::1]:80 is not in the allowlist"},
        {"", "", "169.254.7.7:80", "floor:link-local",
         "resolved IP 169.254.7.7 is in the link-local range (cloud metadata protection)"},
        {"", "", "[::ffff:169.254.7.7]:80", "floor:link-local",
         "resolved IP 169.254.7.7 is in the link-local range (cloud metadata protection)"},
        {"", "", "[fe80::1]:80", "floor:link-local",
         "resolved IP fe80::1 is in the link-local range (cloud metadata protection)"},
        {"", "", "169.254.169.254:80", "floor:metadata",
         "host 169.254.169.254 is in the deny list (cloud metadata protection)"},
        {"", "", "metadata.google.internal:80", "floor:metadata",
         "host metadata.google.internal is in the deny list (cloud metadata protection)"},
        {"", "", "127.0.0.1:80", "floor:loopback",
         "host 127.0.0.1 is a loopback address, which only an IP or CIDR entry allows"},
        {"", "", "0.0.0.0:80", "floor:unspecified",
         "host 0.0.0.0 is an unspecified address, which only an IP or CIDR entry allows"},
        {"", "", "168.63.129.16:80", "floor:cloud",
         "host 168.63.129.16 is a cloud-service address, which only an IP or CIDR entry allows"},
        {"", "", "localhost:80", "floor:loopback",
         "host localhost:80 is a loopback name, which only an entry for it or for a loopback address allows"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct policy *p = make_policy(table[i].allow, table[i].deny);
        struct decision d = ask(p, table[i].target);
        assert_int_equal(d.verdict, VERDICT_REFUSE);
        assert_string_equal(d.reason, table[i].reason);
        if (!str_eq(d.rule, str_from(table[i].rule)))
            fail_msg("%s: rule %.*s", table[i].target, STR_ARG(d.rule));
        policy_free(p);
    }
}

static void test_rules_that_allow(void **state)
{
    static const struct {
        const char *allow, *target, *rule;
    } table[] = {
        {"", "a.test:1", "default-allow"},
        {"* *.test a.test a.test:1", "a.test:1", "allow:a.test:1"},
        {"* *.test a.test", "a.test:1", "allow:a.test"},
        {"* *.test *.b.test", "a.b.test:1", "allow:*.b.test"},
        {"* *.test *.b.test:2", "a.b.test:1", "allow:*.test"},
        {"* *:1", "a.b.test:1", "allow:*:1"},
        {"* 10.0.0.0/8 10.1.0.0/16 10.1.1.1", "10.1.1.1:1", "allow:10.1.1.1"},
        {"* 10.0.0.0/8 10.1.0.0/16", "10.1.1.1:1", "allow:10.1.0.0/16"},
        {"* 10.0.0.0/8:1 10.1.0.0/16", "10.1.1.1:1", "allow:10.1.0.0/16"},
        {"10.0.0.0/8 10.0.0.0/8:1", "10.1.1.1:1", "allow:10.0.0.0/8:1"},
        {"github", "github.com:443", "allow:github"},
        {"http://h:80 https://h:80", "h:80", "allow:h:80"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct policy *p = make_policy(table[i].allow, "");
        struct decision d = ask(p, table[i].target);
        assert_int_equal(d.verdict, VERDICT_ALLOW);
        if (!str_eq(d.rule, str_from(table[i].rule)))
            fail_msg("%s, %s: rule %.*s", table[i].allow, table[i].target, STR_ARG(d.rule));
        policy_free(p);
    }
}

static struct facts forward(const char *uri)
{
    struct facts f = {.shape = SHAPE_FORWARD, .method = STR("GET")};
    struct target_uri u;
    struct errctx ctx = {0};
    assert_int_equal(target_parse_uri(str_from(uri), &u, &ctx), ERR_OK);
    f.scheme = u.scheme, f.host = u.host, f.port = u.port, f.path = u.origin;
    return f;
}

static void test_forward_and_schemes(void **state)
{
    static const struct {
        const char *allow, *uri;
        bool allowed;
    } table[] = {
        {"https://a.test", "https://a.test/", true},       {"https://a.test", "http://a.test:443/", false},
        {"https://a.test", "http://a.test/", false},       {"https://a.test:8443", "http://a.test:8443/", false},
        {"http://a.test:8443 https://a.test:8443", "http://a.test:8443/", true},
        {"http://a.test:8443 https://a.test:8443", "https://a.test:8443/", true},
        {"https://a.test:8443 a.test:8443", "http://a.test:8443/", true},
        {"https://a.test:8443 a.test", "http://a.test:8443/", true},
        {"a.test", "http://a.test/", true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct policy *p = make_policy(table[i].allow, "");
        struct facts f = forward(table[i].uri);
        struct decision d;
        policy_decide(p, &f, &d);
        if ((d.verdict == VERDICT_ALLOW) != table[i].allowed)
            fail_msg("%s, %s", table[i].allow, table[i].uri);
        policy_free(p);
    }
}

static void test_trace(void **state)
{
    static const enum shape shapes[] = {SHAPE_FORWARD, SHAPE_REVERSE, SHAPE_LOCAL, SHAPE_CONNECT};
    struct policy *p = make_policy("*", "");
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct facts f = forward("http://a.test/");
        struct decision d;
        f.shape = shapes[i];
        f.method = STR("TRACE");
        policy_decide(p, &f, &d);
        assert_int_equal(d.verdict, VERDICT_REFUSE);
        assert_int_equal(d.refusal, ERR_TRACE_REFUSED);
        assert_true(d.rule.n && strlen(d.reason) > 10);
    }
    policy_free(p);
}

static void test_unknown_service(void **state)
{
    struct policy *p = make_policy("*", "");
    struct facts f = {.shape = SHAPE_REVERSE, .method = STR("GET"), .prefix = STR("sv\xc3\x01\"c")};
    struct decision d;
    (void)state;
    policy_decide(p, &f, &d);
    assert_int_equal(d.verdict, VERDICT_REFUSE);
    assert_int_equal(d.refusal, ERR_UNKNOWN_SERVICE);
    for (const char *c = d.reason; *c; c++)
        assert_true(*c >= ' ' && *c < 0x7f);
    policy_free(p);
}

/* ---- the second half ---- */

struct resolved {
    const char *allow, *deny, *target, *ip;
    const char *rule, *reason; /* NULL: the address passes */
};

static const struct resolved resolutions[] = {
    {"", "", "a.test:80", "8.8.8.8", NULL, NULL},
    {"", "", "a.test:80", "10.0.0.1", NULL, NULL}, /* H7 */
    {"a.test", "", "a.test:80", "fd00::1", NULL, NULL},
    /* case 26 */
    {"a.test", "", "a.test:80", "169.254.1.2", "floor:link-local",
     "resolved IP 169.254.1.2 is in the link-local range (cloud metadata protection)"},
    {"a.test", "", "a.test:80", "fe80::1", "floor:link-local",
     "resolved IP fe80::1 is in the link-local range (cloud metadata protection)"},
    {"a.test", "", "a.test:80", "::ffff:169.254.1.2", "floor:link-local",
     "resolved IP 169.254.1.2 is in the link-local range (cloud metadata protection)"},
    {"a.test 0.0.0.0/0 ::/0", "", "a.test:80", "64:ff9b::a9fe:a9fe", "floor:metadata",
     "resolved IP 64:ff9b::a9fe:a9fe is in the link-local range (cloud metadata protection)"},
    {"* 169.254.0.0/16", "", "a.test:80", "169.254.169.254", "floor:metadata",
     "resolved IP 169.254.169.254 is in the link-local range (cloud metadata protection)"},
    {"", "", "a.test:80", "fd00:ec2::254", "floor:metadata",
     "resolved IP fd00:ec2::254 is a metadata address (cloud metadata protection)"},
    {"", "", "a.test:80", "2002:a9fe:101::1", "floor:link-local",
     "resolved IP 2002:a9fe:101::1 is in the link-local range (cloud metadata protection)"},
    /* H6: rebinding to loopback */
    {"a.test *", "", "a.test:80", "127.0.0.1", "floor:loopback",
     "resolved IP 127.0.0.1 of host a.test is a loopback address, which only an IP or CIDR entry allows"},
    {"", "", "a.test:80", "::1", "floor:loopback",
     "resolved IP ::1 of host a.test is a loopback address, which only an IP or CIDR entry allows"},
    {"", "", "a.test:80", "0.0.0.0", "floor:unspecified",
     "resolved IP 0.0.0.0 of host a.test is an unspecified address, which only an IP or CIDR entry allows"},
    {"", "", "a.test:80", "224.0.0.1", "floor:multicast",
     "resolved IP 224.0.0.1 of host a.test is a multicast address, which only an IP or CIDR entry allows"},
    {"", "", "a.test:80", "255.255.255.255", "floor:broadcast",
     "resolved IP 255.255.255.255 of host a.test is a broadcast address, which only an IP or CIDR entry allows"},
    {"", "", "a.test:80", "64:ff9b::7f00:1", "floor:loopback",
     "resolved IP 64:ff9b::7f00:1 of host a.test is a loopback address, which only an IP or CIDR entry allows"},
    {"", "", "a.test:80", "168.63.129.16", "floor:cloud",
     "resolved IP 168.63.129.16 of host a.test is a cloud-service address, which only an IP or CIDR entry allows"},
    {"* 168.63.129.16:80", "", "a.test:80", "168.63.129.16", NULL, NULL},
    {"* private", "", "a.test:80", "100.100.100.200", "floor:cloud",
     "resolved IP 100.100.100.200 of host a.test is a cloud-service address, which only an IP or CIDR entry allows"},
    /* H10a: unlocking judges the address, for every permitted name */
    {"a.test 127.0.0.0/8", "", "a.test:80", "127.0.0.1", NULL, NULL},
    {"a.test 127.0.0.1:80", "", "a.test:80", "127.0.0.1", NULL, NULL},
    {"a.test 127.0.0.1:81", "", "a.test:80", "127.0.0.1", "floor:loopback",
     "resolved IP 127.0.0.1 of host a.test is a loopback address, which only an IP or CIDR entry allows"},
    {"a.test localhost", "", "a.test:80", "127.0.0.1", "floor:loopback",
     "resolved IP 127.0.0.1 of host a.test is a loopback address, which only an IP or CIDR entry allows"},
    {"localhost", "", "localhost:80", "127.0.0.1", NULL, NULL},
    {"localhost", "", "localhost:80", "::1", NULL, NULL},
    {"localhost", "", "localhost:80", "0.0.0.0", "floor:unspecified",
     "resolved IP 0.0.0.0 of host localhost is an unspecified address, which only an IP or CIDR entry allows"},
    {"localhost", "", "localhost:80", "64:ff9b::7f00:1", "floor:loopback",
     "resolved IP 64:ff9b::7f00:1 of host localhost is a loopback address, which only an IP or CIDR entry allows"},
    {"* 127.0.0.0/8", "", "localhost:80", "127.0.0.1", NULL, NULL},
    {"* 127.0.0.0/8", "", "localhost:80", "::1", "floor:loopback",
     "resolved IP ::1 of host localhost is a loopback address, which only an IP or CIDR entry allows"},
    /* deny blocks are matched against addresses (H4) */
    {"", "10.0.0.0/8", "a.test:80", "10.1.2.3", "deny:10.0.0.0/8",
     "resolved IP 10.1.2.3 of host a.test is in the deny list"},
    {"a.test", "10.1.2.3", "a.test:80", "10.1.2.3", "deny:10.1.2.3",
     "resolved IP 10.1.2.3 of host a.test is in the deny list"},
    {"", "10.0.0.0/8:22", "a.test:80", "10.1.2.3", NULL, NULL},
    {"", "10.0.0.0/8:22", "a.test:22", "10.1.2.3", "deny:10.0.0.0/8:22",
     "resolved IP 10.1.2.3 of host a.test is in the deny list"},
    {"", "private", "a.test:80", "::ffff:192.168.0.1", "deny:private",
     "resolved IP 192.168.0.1 of host a.test is in the deny list"},
    {"", "private", "a.test:80", "64:ff9b::10.0.0.1", "deny:private",
     "resolved IP 64:ff9b::a00:1 of host a.test is in the deny list"},
    {"* 127.0.0.0/8", "127.0.0.1", "a.test:80", "127.0.0.1", "deny:127.0.0.1",
     "resolved IP 127.0.0.1 of host a.test is in the deny list"},
    {"* 127.0.0.0/8", "127.0.0.1", "a.test:80", "127.0.0.2", NULL, NULL},
    /* literals */
    {"127.0.0.1", "", "127.0.0.1:80", "127.0.0.1", NULL, NULL},
    {"", "", "8.8.8.8:80", "8.8.8.8", NULL, NULL},
};

static void test_resolved_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(resolutions); i++) {
        const struct resolved *r = &resolutions[i];
        struct policy *p = make_policy(r->allow, r->deny);
        struct decision d = ask(p, r->target);
        if (d.verdict != VERDICT_ALLOW)
            fail_msg("%s: %s", r->target, d.reason);
        enum err e = ask_address(p, &d, r->ip);
        if (!r->rule) {
            if (e != ERR_OK || d.verdict != VERDICT_ALLOW)
                fail_msg("%s at %s: %s", r->target, r->ip, d.reason);
        } else {
            assert_int_equal(e, ERR_ADDRESS_DENIED);
            assert_int_equal(d.verdict, VERDICT_REFUSE);
            assert_int_equal(d.refusal, ERR_ADDRESS_DENIED);
            assert_string_equal(d.reason, r->reason);
            if (!str_eq(d.rule, str_from(r->rule)))
                fail_msg("%s at %s: rule %.*s", r->target, r->ip, STR_ARG(d.rule));
        }
        policy_free(p);
    }
}

/* One bad address among several denies the name: a refused decision stays refused. */
static void test_one_refused_address_refuses_the_name(void **state)
{
    struct policy *p = make_policy("a.test", "");
    struct decision d = ask(p, "a.test:80");
    (void)state;
    assert_int_equal(ask_address(p, &d, "8.8.8.8"), ERR_OK);
    assert_int_equal(ask_address(p, &d, "169.254.169.254"), ERR_ADDRESS_DENIED);
    assert_int_equal(ask_address(p, &d, "8.8.8.8"), ERR_ADDRESS_DENIED);
    policy_free(p);
}

/* A reload judges a running exchange's address again under another policy: literals answer as literals do. */
static void test_literal_judged_again(void **state)
{
    struct policy *open = make_policy("127.0.0.1", ""), *closed = make_policy("*", "");
    struct policy *denied = make_policy("127.0.0.1", "127.0.0.1:80");
    struct decision d = ask(open, "127.0.0.1:80");
    (void)state;
    assert_int_equal(ask_address(closed, &d, "127.0.0.1"), ERR_HOST_DENIED);
    d = ask(open, "127.0.0.1:80");
    assert_int_equal(ask_address(denied, &d, "127.0.0.1"), ERR_HOST_DENIED);
    assert_string_equal(d.reason, "host 127.0.0.1:80 is in the deny list");
    policy_free(open);
    policy_free(closed);
    policy_free(denied);
}

static void test_operator_addresses(void **state)
{
    static const struct {
        const char *ip;
        enum err want;
    } table[] = {
        {"127.0.0.1", ERR_OK}, {"::1", ERR_OK}, {"10.0.0.1", ERR_OK}, {"8.8.8.8", ERR_OK}, {"0.0.0.0", ERR_OK},
        {"169.254.169.254", ERR_ADDRESS_DENIED}, {"fe80::1", ERR_ADDRESS_DENIED}, {"fd00:ec2::254", ERR_ADDRESS_DENIED},
        {"64:ff9b::169.254.169.254", ERR_ADDRESS_DENIED}, {"100.100.100.200", ERR_ADDRESS_DENIED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct address a;
        struct vetted_addr vetted = {.by = 0};
        struct errctx ctx = {0};
        assert_true(address_parse(str_from(table[i].ip), &a));
        assert_int_equal(policy_addr_operator(&a, 3128, &vetted, &ctx), table[i].want);
        assert_int_equal(vetted.by, table[i].want == ERR_OK ? VOUCHED_OPERATOR : 0);
        assert_int_equal(vetted.port, table[i].want == ERR_OK ? 3128 : 0);
    }
}

/* ---- upstream proxy ---- */

static void test_chain_and_bypass(void **state)
{
    /* wire.md 8.4 with canonical comparison and optional ports (case 114) */
    static const struct {
        const char *bypass, *target;
        bool chained;
    } table[] = {
        {"", "a.test:443", true},
        {"corp.test", "corp.test:443", false},
        {"Corp.Test.", "CORP.test.:443", false},
        {"corp.test", "a.corp.test:443", true},
        {"*.corp.test", "a.b.corp.test:443", false},
        {"*.corp.test", "corp.test:443", true},
        {"*.corp.test", "xcorp.test:443", true},
        {"corp.test:8443", "corp.test:8443", false},
        {"corp.test:8443", "corp.test:443", true},
        {"10.0.0.0/8", "10.1.1.1:443", false},
        {"10.0.0.0/8", "11.1.1.1:443", true},
        {"[2001:db8::1]", "[2001:DB8::0:1]:443", false},
        {"github", "github.com:443", true}, /* no groups here */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (int there = 0; there < 2; there++) {
            struct policy *p = make_policy("", "");
            add_words(p, RULES_BYPASS, table[i].bypass, "--upstream-bypass");
            policy_set_chain(p, there);
            struct decision d = ask(p, table[i].target);
            assert_int_equal(d.verdict, VERDICT_ALLOW);
            if (d.chained != table[i].chained || d.resolve_here != (!d.chained || !there))
                fail_msg("bypass %s, %s", table[i].bypass, table[i].target);
            policy_free(p);
        }
    }
    struct policy *p = make_policy("", "");
    struct decision d = ask(p, "a.test:1");
    assert_true(!d.chained && d.resolve_here);
    policy_free(p);
}

/* H10a: the same refusals where the upstream proxy would resolve the name. */
static void test_chained_targets_are_judged_by_name(void **state)
{
    static const char *const refused[] = {"localhost:80", "a.localhost:80", "127.0.0.1:80", "[::1]:80",
                                          "metadata.google.internal:80", "169.254.169.254:80", "0.0.0.0:80"};
    struct policy *p = make_policy("*", "");
    (void)state;
    policy_set_chain(p, true);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_int_equal(ask(p, refused[i]).refusal, ERR_HOST_DENIED);
    policy_free(p);
    p = make_policy("localhost", "");
    policy_set_chain(p, true);
    assert_int_equal(ask(p, "localhost:80").verdict, VERDICT_ALLOW);
    policy_free(p);
}

/* A reason never gets longer than its place, whatever the host (14-A, wire.md 13: no second status line). */
static void test_longest_host(void **state)
{
    char host[254], target[300];
    struct policy *p = make_policy("a.test", "");
    (void)state;
    memset(host, 'a', 253);
    for (size_t i = 49; i < 253; i += 50)
        host[i] = '.';
    host[253] = 0;
    memcpy(target, host, 253);
    memcpy(target + 253, ":65535", 7);
    struct decision d = ask(p, target);
    assert_int_equal(d.refusal, ERR_HOST_DENIED);
    assert_non_null(strstr(d.reason, ":65535 is not in the allowlist"));
    policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenes),
        cmocka_unit_test(test_case_33_strict_and_empty),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_rules_that_allow),
        cmocka_unit_test(test_forward_and_schemes),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_unknown_service),
        cmocka_unit_test(test_resolved_addresses),
        cmocka_unit_test(test_one_refused_address_refuses_the_name),
        cmocka_unit_test(test_literal_judged_again),
        cmocka_unit_test(test_operator_addresses),
        cmocka_unit_test(test_chain_and_bypass),
        cmocka_unit_test(test_chained_targets_are_judged_by_name),
        cmocka_unit_test(test_longest_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
