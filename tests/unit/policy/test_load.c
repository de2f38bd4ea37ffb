/* 100,000 rules: loaded quickly, small, and matched without looking at them one by one. Bounds are generous: what they must catch is a
 * scan or a quadratic load. */
#include "unit.h"
#include "base/mem.h"
#include <malloc.h>
#include <stdio.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOW = 20 };
#else
enum { SLOW = 4 };
#endif
enum { RULES = 100000, LOAD_MS = 150 * SLOW, MATCH_NS = 5000 * SLOW };

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

typedef void entry_fn(unsigned i, char *out, size_t size);

static void mixed(unsigned i, char *out, size_t size)
{
    switch (i % 5) {
    case 0:
        (void)snprintf(out, size, "*.zone%u.example.org", i);
        break;
    case 1:
        (void)snprintf(out, size, "host%u.example.org:%u", i, 1 + i % 65535);
        break;
    case 2:
        (void)snprintf(out, size, "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
        break;
    case 3:
        (void)snprintf(out, size, "[2001:db8:%x:%x::]/64:443", i >> 8, i & 255);
        break;
    default:
        (void)snprintf(out, size, "host%u.example.org", i);
        break;
    }
}

/* The same host with every port: nothing may walk a list of ports. */
static void same_host(unsigned i, char *out, size_t size)
{
    (void)snprintf(out, size, "%s:%u", i < 50000 ? "one.test" : "10.1.1.1", 1 + i % 50000);
}

/* Long addresses, which make the deepest trie. */
static void addresses(unsigned i, char *out, size_t size)
{
    uint32_t v = i * 2654435761U;
    (void)snprintf(out, size, "[fd%02x:%x:%x:%x:%x:%x:%x:%x]", v & 255, v >> 16, i & 0xffff, v >> 8 & 0xffff,
                   ~i & 0xffff, v & 0xffff, i & 0xff, i >> 8);
}

static size_t memory_now(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd; /* both 0 under a sanitizer: then the test says nothing about memory */
}

static struct policy *load(entry_fn *entry, enum rule_list list, double *ret_ms, size_t *ret_bytes)
{
    struct policy *p;
    size_t before = memory_now();
    double start = now_ms();
    assert_int_equal(policy_new(&p), ERR_OK);
    for (unsigned i = 0; i < RULES; i++) {
        char text[96];
        const char *notice;
        struct errctx ctx = {0};
        entry(i, text, sizeof text);
        if (policy_add(p, list, str_from(text), STR("--deny-domain"), &notice, &ctx) != ERR_OK)
            fail_msg("%s", ctx.text);
    }
    assert_int_equal(policy_freeze(p), ERR_OK);
    *ret_ms = now_ms() - start;
    *ret_bytes = memory_now() - before;
    return p;
}

static double match_ns(const struct policy *p, const char *target)
{
    struct facts f = {.shape = SHAPE_CONNECT, .method = STR("CONNECT")};
    struct errctx ctx = {0};
    struct decision d;
    double start;
    enum { TIMES = 20000 };
    assert_int_equal(target_parse_authority(str_from(target), &f.host, &f.port, &ctx), ERR_OK);
    start = now_ms();
    for (unsigned i = 0; i < TIMES; i++)
        policy_decide(p, &f, &d);
    return (now_ms() - start) * 1e6 / TIMES;
}

static void check(const char *name, entry_fn *entry, const char *const *targets, const char *denied)
{
    double ms;
    size_t bytes;
    struct policy *p = load(entry, RULES_DENY, &ms, &bytes);
    struct decision d = ask(p, denied);
    assert_int_equal(d.verdict, VERDICT_REFUSE);
    print_message("%s: loaded in %.0f ms, %zu bytes per rule\n", name, ms, bytes / RULES);
    assert_true(ms < LOAD_MS);
    assert_true(bytes / RULES < 1024);
    for (; *targets; targets++) {
        double ns = match_ns(p, *targets);
        print_message("  %s: %.0f ns\n", *targets, ns);
        assert_true(ns < MATCH_NS);
    }
    policy_free(p);
}

static void test_mixed(void **state)
{
    static const char *const targets[] = {"host99999.example.org:80", "a.b.c.zone99995.example.org:443", "10.1.134.157:1",
                                          "[2001:db8:186:9d::1]:443", "not.there.test:1", "8.8.8.8:1", NULL};
    (void)state;
    check("mixed", mixed, targets, "x.zone99995.example.org:1");
}

static void test_one_host_with_many_ports(void **state)
{
    static const char *const targets[] = {"one.test:50000", "one.test:50001", "10.1.1.1:1", "10.1.1.1:60000", NULL};
    (void)state;
    check("one host", same_host, targets, "one.test:50000");
}

static void test_many_addresses(void **state)
{
    static const char *const targets[] = {"[fd00::1]:1", "[fd00:0:0:0:ffff::]:1", "[fd00:0:0:0:ffff::1]:1", NULL};
    (void)state;
    check("addresses", addresses, targets, "[fd00:0:0:0:ffff::]:1");
}

/* Memory that runs out is an error, never a rule that is silently missing. */
static void test_out_of_memory(void **state)
{
    (void)state;
    for (int64_t after = 0; after < 200; after++) {
        struct policy *p = NULL;
        enum err e;
        unsigned i = 0;
        mem_fail_after(after, true);
        e = policy_new(&p);
        for (; e == ERR_OK && i < 400; i++) {
            char text[96];
            const char *notice;
            struct errctx ctx = {0};
            mixed(i, text, sizeof text);
            e = policy_add(p, RULES_DENY, str_from(text), STR("--deny-domain"), &notice, &ctx);
        }
        mem_fail_after(-1, false);
        if (after < 100)
            assert_int_equal(e, ERR_NOMEM);
        policy_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_one_host_with_many_ports),
        cmocka_unit_test(test_many_addresses),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
