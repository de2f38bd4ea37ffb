/* Random rule sets against a naive matcher that looks at every entry, and what must hold for every policy. */
#include "unit.h"
#include <stdio.h>

static uint64_t seed;

static unsigned pick(unsigned limit)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(seed >> 33) % limit;
}

/* ---- small worlds: few labels and addresses, so that rules hit ---- */

static const char *const labels[] = {"a", "b", "c", "www", "localhost", "x-1"};
static const char *const tops[] = {"test", "example.org", "localhost", "b.test"};
static const char *const addresses[] = {
    "10.0.0.1", "10.0.1.1", "10.1.0.1", "127.0.0.1", "127.0.0.2", "0.0.0.0", "8.8.8.8", "100.100.100.200",
    "192.168.7.7", "2001:db8::1", "2001:db8:8000::1", "fd00::1", "::1", "ff02::1", "64:ff9b::a00:1",
    "169.254.1.1", "fe80::1", "255.255.255.255", "2002:7f00:1::1",
};
static const char *const blocks[] = {
    "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/31", "10.0.0.1", "127.0.0.0/8", "127.0.0.1", "0.0.0.0/0", "0.0.0.0/8",
    "::/0", "2001:db8::/32", "2001:db8::/33", "2001:db8::1", "fc00::/7", "::1", "100.64.0.0/10", "128.0.0.0/1",
    "64:ff9b::/96", "255.255.255.255",
};
static const unsigned ports[] = {80, 443, 8443};

static size_t random_name(char *out, size_t size)
{
    size_t n = 0;
    for (unsigned i = pick(3); i > 0; i--)
        n += (size_t)snprintf(out + n, size - n, "%s.", labels[pick(ARRAY_LEN(labels))]);
    return n + (size_t)snprintf(out + n, size - n, "%s", tops[pick(ARRAY_LEN(tops))]);
}

static void random_host(char *out, size_t size)
{
    if (pick(3))
        (void)random_name(out, size);
    else
        (void)snprintf(out, size, "%s", addresses[pick(ARRAY_LEN(addresses))]);
}

/* One entry, kept in parts for the naive matcher. */
struct entry {
    enum { NAME, BELOW, ANY, BLOCK } kind;
    char text[96];
    struct cidr block;
    unsigned port; /* 0: any */
};

static void random_entry(struct entry *e)
{
    unsigned kind = pick(10);
    *e = (struct entry){.port = pick(2) ? 0 : ports[pick(ARRAY_LEN(ports))]};
    if (kind == 0) {
        e->kind = ANY;
    } else if (kind < 4) {
        e->kind = BLOCK;
        (void)snprintf(e->text, sizeof e->text, "%s", blocks[pick(ARRAY_LEN(blocks))]);
        assert_true(cidr_parse(str_from(e->text), &e->block));
    } else {
        e->kind = kind < 7 ? NAME : BELOW;
        (void)random_name(e->text, sizeof e->text);
    }
}

static void entry_text(const struct entry *e, char *out, size_t size)
{
    const char *left = e->kind == BLOCK && strchr(e->text, ':') ? "[" : "", *right = *left ? "]" : "";
    char port[16] = "";
    if (e->port)
        (void)snprintf(port, sizeof port, ":%u", e->port);
    (void)snprintf(out, size, "%s%s%s%s%s", e->kind == BELOW ? "*." : "", left, e->kind == ANY ? "*" : e->text,
                   right, port);
}

struct world {
    struct entry allow[12], deny[12];
    unsigned allows, denies;
    struct policy *policy;
};

static void add(struct policy *p, enum rule_list list, const struct entry *e)
{
    char text[128];
    const char *notice;
    struct errctx ctx = {0};
    entry_text(e, text, sizeof text);
    if (policy_add(p, list, str_from(text), STR("test"), &notice, &ctx) != ERR_OK)
        fail_msg("%s", ctx.text);
}

static void make_world(struct world *w, unsigned allows, unsigned denies)
{
    w->allows = allows;
    w->denies = denies;
    assert_int_equal(policy_new(&w->policy), ERR_OK);
    for (unsigned i = 0; i < allows; i++) {
        random_entry(&w->allow[i]);
        add(w->policy, RULES_ALLOW, &w->allow[i]);
    }
    for (unsigned i = 0; i < denies; i++) {
        random_entry(&w->deny[i]);
        add(w->policy, RULES_DENY, &w->deny[i]);
    }
    assert_int_equal(policy_freeze(w->policy), ERR_OK);
}

/* ---- the naive matcher ---- */

static bool covers(const struct entry *e, const struct address *a, unsigned port)
{
    return e->kind == BLOCK && (!e->port || e->port == port) && cidr_contains(&e->block, a);
}

static bool matches(const struct entry *e, const struct hostname *h, unsigned port)
{
    size_t n = strlen(e->text);
    if (e->port && e->port != port)
        return false;
    switch (e->kind) {
    case ANY:
        return true;
    case BLOCK:
        return h->is_address && cidr_contains(&e->block, &h->address);
    case NAME:
        return !h->is_address && strcmp(h->text, e->text) == 0;
    case BELOW:
        return !h->is_address && h->n > n + 1 && h->text[h->n - n - 1] == '.' && strcmp(h->text + h->n - n, e->text) == 0;
    }
    return false;
}

static bool any_covers(const struct entry *list, unsigned n, const char *ip, unsigned port)
{
    struct address a;
    assert_true(address_parse(str_from(ip), &a));
    for (unsigned i = 0; i < n; i++)
        if (covers(&list[i], &a, port))
            return true;
    return false;
}

static bool naive_allows(const struct world *w, const struct hostname *h, unsigned port)
{
    bool listed = w->allows == 0, exact = false;
    struct address inner;
    enum address_kind kind = h->is_address ? address_kind(&h->address) : ADDRESS_PUBLIC;
    if (kind == ADDRESS_METADATA || kind == ADDRESS_LINK_LOCAL)
        return false;
    for (unsigned i = 0; i < w->denies; i++)
        if (matches(&w->deny[i], h, port) ||
            (h->is_address && address_embedded(&h->address, &inner) && covers(&w->deny[i], &inner, port)))
            return false;
    for (unsigned i = 0; i < w->allows; i++) {
        listed |= matches(&w->allow[i], h, port);
        exact |= w->allow[i].kind == NAME && matches(&w->allow[i], h, port);
    }
    if (!listed)
        return false;
    if (kind > ADDRESS_PRIVATE)
        return any_covers(w->allow, w->allows, h->text, port);
    if (!h->is_address && hostname_is_localhost(h))
        return exact || any_covers(w->allow, w->allows, "127.0.0.1", port) ||
               any_covers(w->allow, w->allows, "::1", port);
    return true;
}

static bool naive_allows_address(const struct world *w, const struct decision *d, const struct address *a)
{
    struct address inner;
    bool embedded = address_embedded(a, &inner);
    enum address_kind kind = address_kind(a);
    char text[ADDRESS_TEXT_SIZE];
    address_text(a, text);
    if (kind == ADDRESS_METADATA || kind == ADDRESS_LINK_LOCAL || any_covers(w->deny, w->denies, text, d->port))
        return false;
    for (unsigned i = 0; embedded && i < w->denies; i++)
        if (covers(&w->deny[i], &inner, d->port))
            return false;
    if (kind <= ADDRESS_PRIVATE || any_covers(w->allow, w->allows, text, d->port))
        return true;
    if (kind != ADDRESS_LOOPBACK || embedded || !hostname_is_localhost(&d->host))
        return false;
    for (unsigned i = 0; i < w->allows; i++)
        if (w->allow[i].kind == NAME && matches(&w->allow[i], &d->host, d->port))
            return true;
    return false;
}

/* ---- properties ---- */

static void make_facts(const char *host, unsigned port, struct facts *f)
{
    struct errctx ctx = {0};
    *f = (struct facts){.shape = SHAPE_CONNECT, .method = STR("CONNECT"), .port = (uint16_t)port};
    if (hostname_parse(str_from(host), &f->host, &ctx) != ERR_OK)
        fail_msg("%s: %s", host, ctx.text);
}

static void explain(const struct world *w, const char *host, unsigned port, const struct decision *d)
{
    char text[128];
    for (unsigned i = 0; i < w->allows + w->denies; i++) {
        bool deny = i >= w->allows;
        entry_text(deny ? &w->deny[i - w->allows] : &w->allow[i], text, sizeof text);
        print_message("%s %s\n", deny ? "deny" : "allow", text);
    }
    fail_msg("%s:%u is judged wrongly: %s (%.*s)", host, port, d->reason, STR_ARG(d->rule));
}

static void test_agrees_with_naive_matcher(void **state)
{
    unsigned allowed = 0, refused = 0;
    (void)state;
    seed = 1;
    for (unsigned round = 0; round < 3000; round++) {
        struct world w;
        make_world(&w, pick(4) ? pick(12) : 0, pick(3) ? pick(6) : 0);
        for (unsigned k = 0; k < 30; k++) {
            char host[96];
            unsigned port = ports[pick(ARRAY_LEN(ports))];
            struct facts f;
            struct decision d;
            random_host(host, sizeof host);
            make_facts(host, port, &f);
            policy_decide(w.policy, &f, &d);
            if ((d.verdict == VERDICT_ALLOW) != naive_allows(&w, &f.host, port))
                explain(&w, host, port, &d);
            if (d.verdict != VERDICT_ALLOW) {
                refused++;
                continue;
            }
            allowed++;
            struct address a;
            struct vetted_addr vetted;
            const char *ip = f.host.is_address ? f.host.text : addresses[pick(ARRAY_LEN(addresses))];
            assert_true(address_parse(str_from(ip), &a));
            bool want = naive_allows_address(&w, &d, &a);
            if ((policy_addr(w.policy, &d, &a, &vetted) == ERR_OK) != want)
                explain(&w, host, port, &d);
        }
        policy_free(w.policy);
    }
    assert_true(allowed > 10000 && refused > 10000); /* else the worlds are too dull to show anything */
}

/* wire.md 13: a deny entry more never allows more, and changes nothing for hosts it does not match. */
static void test_deny_entries_never_allow_more(void **state)
{
    unsigned changed = 0;
    (void)state;
    seed = 2;
    for (unsigned round = 0; round < 2000; round++) {
        struct world w;
        struct facts f[10];
        struct decision before[10];
        struct entry extra;
        make_world(&w, pick(6), pick(4));
        for (unsigned k = 0; k < 10; k++) {
            char host[96];
            random_host(host, sizeof host);
            make_facts(host, ports[pick(ARRAY_LEN(ports))], &f[k]);
            policy_decide(w.policy, &f[k], &before[k]);
        }
        random_entry(&extra);
        add(w.policy, RULES_DENY, &extra);
        for (unsigned k = 0; k < 10; k++) {
            struct decision d;
            policy_decide(w.policy, &f[k], &d);
            if (d.verdict == VERDICT_ALLOW)
                assert_int_equal(before[k].verdict, VERDICT_ALLOW);
            else if (before[k].verdict == VERDICT_ALLOW)
                changed++;
        }
        policy_free(w.policy);
    }
    assert_true(changed > 300);
}

/* Put a letter of an ASCII name into another spelling that UTS-46 maps to it, or add what it ignores. */
static size_t respell(char c, char *out)
{
    switch (pick(6)) {
    case 0: /* upper case */
        *out = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        return 1;
    case 1: /* full width */
        if (c >= 'a' && c <= 'z') {
            memcpy(out, "\xef\xbd", 2);
            out[2] = (char)(0x81 + (c - 'a'));
            return 3;
        }
        if (c == '.') {
            memcpy(out, pick(2) ? "\xef\xbc\x8e" : "\xe3\x80\x82", 3);
            return 3;
        }
        break;
    case 2: /* ignored characters */
        out[0] = c;
        if (c == '.')
            return 1;
        if (pick(2)) {
            memcpy(out + 1, "\xc2\xad", 2); /* soft hyphen */
            return 3;
        }
        memcpy(out + 1, "\xe2\x80\x8b", 3); /* zero-width space */
        return 4;
    default:
        break;
    }
    *out = c;
    return 1;
}

/* Case 19: any spelling of a denied name is denied or malformed. */
static void test_spellings_of_denied_names(void **state)
{
    static const char *const names[] = {"evil.com", "a-b.evil.com", "metadata.google.internal", "x.y.z.bad.test"};
    struct policy *p = make_policy("*", "evil.com a-b.evil.com:443 *.bad.test");
    unsigned judged = 0;
    (void)state;
    seed = 3;
    for (unsigned round = 0; round < 5000; round++) {
        const char *name = names[pick(ARRAY_LEN(names))];
        char text[400];
        size_t n = 0;
        for (const char *c = name; *c; c++)
            n += respell(*c, text + n);
        for (unsigned dots = pick(3); dots > 0; dots--)
            text[n++] = '.';
        memcpy(text + n, ":443", 5);
        struct decision d = ask(p, text);
        if (d.verdict != VERDICT_REFUSE)
            fail_msg("%s passes", text);
        judged += d.refusal == ERR_HOST_DENIED;
    }
    assert_true(judged > 4000);
    policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_naive_matcher),
        cmocka_unit_test(test_deny_entries_never_allow_more),
        cmocka_unit_test(test_spellings_of_denied_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
