/* dns.c over a resolver that answers when the test says so, under a fake clock. */
#include "upstream/dns.h"
#include "base/mem.h"
#include "fake_clock.h"
#include "upstream/resolver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* --- the resolver --- */

enum { ASKS = 64 };
struct ask {
    bool open;
    struct hostname name;
    enum address_family family;
    resolver_fn *fn;
    void *owner;
};
struct resolver {
    struct ask v[ASKS];
    unsigned total; /* questions ever */
    bool at_once;   /* answer 192.0.2.1 and "no IPv6" from inside resolver_ask */
    enum err refuse;
};
static struct resolver *fake;

struct resolver *resolver_new(struct loop *loop)
{
    (void)loop;
    return fake = mem_zalloc(sizeof *fake);
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < ASKS; i++) {
        if (!r->v[i].open)
            continue;
        r->v[i].open = false;
        r->v[i].fn(r->v[i].owner, ERR_CANCELLED, NULL, NULL);
    }
    mem_free(r);
}

static struct resolver_answer answer_of(const char *text, uint32_t ttl)
{
    struct resolver_answer a = {.ttl_s = ttl};
    struct str rest = str_from(text), one;
    while (*text && str_next(&rest, ' ', &one))
        assert_true(address_parse(one, &a.v[a.n++]));
    return a;
}

enum err resolver_ask(struct resolver *r, const struct hostname *name, enum address_family family,
                      resolver_fn *fn, void *owner)
{
    r->total++;
    if (r->refuse)
        return r->refuse;
    if (r->at_once) {
        struct resolver_answer a = answer_of(family == ADDRESS_V4 ? "192.0.2.1" : "", 60);
        fn(owner, ERR_OK, &a, NULL);
        return ERR_OK;
    }
    for (unsigned i = 0; i < ASKS; i++) {
        if (r->v[i].open)
            continue;
        r->v[i] = (struct ask){true, *name, family, fn, owner};
        return ERR_OK;
    }
    return ERR_NOMEM;
}

static struct ask *find_ask(const char *name, enum address_family family)
{
    for (unsigned i = 0; i < ASKS; i++)
        if (fake->v[i].open && fake->v[i].family == family && !strcmp(fake->v[i].name.text, name))
            return &fake->v[i];
    fail_msg("%s was not asked for", name);
    return NULL;
}

static void reply(const char *name, enum address_family family, const char *addresses, uint32_t ttl)
{
    struct ask *a = find_ask(name, family);
    struct resolver_answer answer = answer_of(addresses, ttl);
    a->open = false;
    a->fn(a->owner, ERR_OK, &answer, NULL);
}

static void reply_error(const char *name, enum address_family family, enum err e, const char *text)
{
    struct ask *a = find_ask(name, family);
    struct errctx ctx = {0};
    err_set(&ctx, e, "%s", text);
    a->open = false;
    a->fn(a->owner, e, NULL, &ctx);
}

/* --- askers --- */

static struct loop *loop;
static struct dns *dns;

struct asker {
    struct dns_query *query;
    unsigned calls;
    enum err err;
    char got[1024]; /* addresses, or the sentence */
    void (*more)(struct asker *a);
};

static void on_done(void *owner, enum err e, const struct dns_answer *answer,
                    const struct errctx *ctx)
{
    struct asker *a = owner;
    struct buf out;
    mem_fail_after(-1, false); /* what follows is the test's own */
    a->calls++;
    a->err = e;
    a->query = NULL;
    if (a->more)
        a->more(a);
    buf_init(&out, sizeof a->got - 1);
    for (unsigned i = 0; !e && i < answer->n; i++) {
        if (i)
            buf_add_c(&out, ' ');
        address_format(&out, &answer->v[i]);
    }
    if (e)
        buf_add_z(&out, ctx->text);
    assert_true(buf_ok(&out));
    if (out.n)
        memcpy(a->got, out.p, out.n);
    a->got[out.n] = '\0';
    buf_fini(&out);
}

static struct hostname host(const char *text)
{
    struct hostname h;
    struct errctx ctx = {0};
    assert_int_equal(hostname_parse(str_from(text), &h, &ctx), ERR_OK);
    return h;
}

static void ask_within(struct asker *a, const char *name, uint64_t ms)
{
    struct hostname h = host(name);
    struct dns_query *q = (struct dns_query *)(void *)a; /* rubbish that must be overwritten */
    assert_int_equal(dns_resolve(dns, &h, ms, on_done, a, &q), ERR_OK);
    a->query = q;
}

static void ask(struct asker *a, const char *name)
{
    ask_within(a, name, 10000);
}

static void expect_now(const char *name, enum err e, const char *got)
{
    struct asker a = {0};
    ask(&a, name);
    assert_int_equal(a.calls, 1);
    assert_null(a.query);
    assert_int_equal(a.err, e);
    assert_string_equal(a.got, got);
}

static void expect_done(const struct asker *a, enum err e, const char *got)
{
    assert_int_equal(a->calls, 1);
    assert_int_equal(a->err, e);
    assert_string_equal(a->got, got);
}

static int set_up(void **state)
{
    (void)state;
    if (loop_new_epoll(&loop))
        return -1;
    dns = dns_new(loop);
    return dns ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    dns_free(dns);
    loop_free(loop);
    return 0;
}

/* --- tests --- */

static void joined_and_interleaved(void **state)
{
    (void)state;
    struct asker a = {0};
    ask(&a, "both.test");
    assert_non_null(a.query);
    reply("both.test", ADDRESS_V4, "192.0.2.1 192.0.2.2 192.0.2.3", 60);
    assert_int_equal(a.calls, 0);
    reply("both.test", ADDRESS_V6, "2001:db8::1 2001:db8::2", 60);
    const char *all = "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 192.0.2.3";
    expect_done(&a, ERR_OK, all);
    expect_now("both.test", ERR_OK, all);
    assert_int_equal(fake->total, 2);
}

static void literals_are_not_asked(void **state)
{
    (void)state;
    expect_now("192.0.2.7", ERR_OK, "192.0.2.7");
    expect_now("[2001:db8::7]", ERR_OK, "2001:db8::7");
    assert_int_equal(fake->total, 0);
}

static void answers_from_inside_the_resolver(void **state)
{
    (void)state;
    fake->at_once = true;
    expect_now("hosts.test", ERR_OK, "192.0.2.1");
}

static void identical_questions_are_one(void **state)
{
    (void)state;
    struct asker a[4] = {{0}};
    for (unsigned i = 0; i < ARRAY_LEN(a); i++)
        ask(&a[i], "same.test");
    assert_int_equal(fake->total, 2);
    dns_cancel(a[1].query);
    reply("same.test", ADDRESS_V6, "", 60);
    reply("same.test", ADDRESS_V4, "192.0.2.1", 60);
    for (unsigned i = 0; i < ARRAY_LEN(a); i++)
        if (i == 1)
            assert_int_equal(a[i].calls, 0);
        else
            expect_done(&a[i], ERR_OK, "192.0.2.1");
}

static void a_cancelled_question_fills_the_cache(void **state)
{
    (void)state;
    struct asker a = {0};
    ask(&a, "left.test");
    dns_cancel(a.query);
    dns_cancel(NULL);
    reply("left.test", ADDRESS_V6, "", 60);
    reply("left.test", ADDRESS_V4, "192.0.2.1", 60);
    assert_int_equal(a.calls, 0);
    expect_now("left.test", ERR_OK, "192.0.2.1");
}

static void each_asker_has_its_own_timeout(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0};
    ask_within(&a, "slow.test", 2000);
    fake_pass(loop, 1000);
    ask_within(&b, "slow.test", 5000);
    fake_pass(loop, 800);
    assert_int_equal(a.calls, 0);
    fake_pass(loop, 400);
    expect_done(&a, ERR_DNS_TIMEOUT, "slow.test does not resolve: no answer within 2 s");
    fake_pass(loop, 3000);
    assert_int_equal(b.calls, 0);
    reply("slow.test", ADDRESS_V4, "192.0.2.1", 60);
    reply("slow.test", ADDRESS_V6, "", 60);
    expect_done(&b, ERR_OK, "192.0.2.1");
    fake_pass(loop, 10000);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
}

static void a_late_family_is_waited_for_250_ms(void **state)
{
    static const struct {
        enum address_family first, late;
        const char *one, *two, *all;
    } cases[] = {
        {ADDRESS_V4, ADDRESS_V6, "192.0.2.1", "2001:db8::1", "2001:db8::1 192.0.2.1"},
        {ADDRESS_V6, ADDRESS_V4, "2001:db8::1", "192.0.2.1", "2001:db8::1 192.0.2.1"},
        {ADDRESS_V4, ADDRESS_V6, "192.0.2.1", "", "192.0.2.1"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct asker a = {0}, b = {0};
        char name[32];
        snprintf(name, sizeof name, "late%u.test", i);
        unsigned before = fake->total;
        ask(&a, name);
        fake_pass(loop, 600);
        reply(name, cases[i].first, cases[i].one, 60);
        fake_pass(loop, 200);
        assert_int_equal(a.calls, 0);
        fake_pass(loop, 100);
        expect_done(&a, ERR_OK, cases[i].one);
        expect_now(name, ERR_OK, cases[i].one);
        reply(name, cases[i].late, cases[i].two, 60);
        expect_now(name, ERR_OK, cases[i].all);
        ask(&b, name);
        assert_int_equal(fake->total, before + 2);
        assert_int_equal(a.calls, 1);
    }
}

static void a_late_failure_keeps_the_good_family(void **state)
{
    (void)state;
    struct asker a = {0};
    ask(&a, "half.test");
    reply("half.test", ADDRESS_V4, "192.0.2.1", 60);
    fake_pass(loop, 300);
    expect_done(&a, ERR_OK, "192.0.2.1");
    reply_error("half.test", ADDRESS_V6, ERR_DNS_TIMEOUT, "x");
    expect_now("half.test", ERR_OK, "192.0.2.1");
}

static void an_empty_family_is_no_reason_to_hurry(void **state)
{
    (void)state;
    struct asker a = {0};
    ask(&a, "six.test");
    reply("six.test", ADDRESS_V4, "", 60);
    fake_pass(loop, 3000);
    assert_int_equal(a.calls, 0);
    reply("six.test", ADDRESS_V6, "2001:db8::1", 60);
    expect_done(&a, ERR_OK, "2001:db8::1");
}

/* A name whose IPv6 answer never comes, asked again when the IPv4 answer is too old: not held up by
 * the old question. */
static void an_old_flight_does_not_hold_up_a_new_one(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0};
    ask(&a, "drop6.test");
    reply("drop6.test", ADDRESS_V4, "192.0.2.1", 1);
    fake_pass(loop, 1500);
    expect_done(&a, ERR_OK, "192.0.2.1");
    ask(&b, "drop6.test");
    assert_int_equal(fake->total, 4);
    reply("drop6.test", ADDRESS_V4, "192.0.2.2", 100);
    fake_pass(loop, 300);
    expect_done(&b, ERR_OK, "192.0.2.2");
    reply("drop6.test", ADDRESS_V6, "2001:db8::1",
          100); /* the first question's: nobody's any more */
    expect_now("drop6.test", ERR_OK, "192.0.2.2");
    reply("drop6.test", ADDRESS_V6, "2001:db8::2", 100);
    expect_now("drop6.test", ERR_OK, "2001:db8::2 192.0.2.2");
}

static void one_good_family_is_enough(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0};
    ask(&a, "g4.test");
    reply_error("g4.test", ADDRESS_V6, ERR_DNS_FAILED, "x");
    assert_int_equal(a.calls, 0);
    reply("g4.test", ADDRESS_V4, "192.0.2.1", 60);
    expect_done(&a, ERR_OK, "192.0.2.1");
    ask(&b, "g6.test");
    reply("g6.test", ADDRESS_V6, "2001:db8::1", 60);
    reply_error("g6.test", ADDRESS_V4, ERR_DNS_TIMEOUT, "x");
    expect_done(&b, ERR_OK, "2001:db8::1");
}

/* Decision H8: no addresses and a failing resolver are failures with a sentence. */
static void H8_failures_have_a_sentence(void **state)
{
    static const struct {
        enum err v6, v4, want;
        const char *text;
    } cases[] = {
        {ERR_OK, ERR_OK, ERR_DNS_FAILED, "f.test has no addresses"},
        {ERR_DNS_FAILED, ERR_DNS_FAILED, ERR_DNS_FAILED, "four"},
        {ERR_DNS_FAILED, ERR_OK, ERR_DNS_FAILED, "six"},
        {ERR_OK, ERR_DNS_FAILED, ERR_DNS_FAILED, "four"},
        {ERR_DNS_TIMEOUT, ERR_DNS_FAILED, ERR_DNS_TIMEOUT, "six"},
        {ERR_DNS_FAILED, ERR_DNS_TIMEOUT, ERR_DNS_TIMEOUT, "four"},
        {ERR_DNS_TIMEOUT, ERR_OK, ERR_DNS_TIMEOUT, "six"},
        {ERR_DNS_TIMEOUT, ERR_NOMEM, ERR_NOMEM, "four"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct asker a = {0};
        ask(&a, "f.test");
        if (cases[i].v4)
            reply_error("f.test", ADDRESS_V4, cases[i].v4, "four");
        else
            reply("f.test", ADDRESS_V4, "", 60);
        assert_int_equal(a.calls, 0);
        if (cases[i].v6)
            reply_error("f.test", ADDRESS_V6, cases[i].v6, "six");
        else
            reply("f.test", ADDRESS_V6, "", 60);
        expect_done(&a, cases[i].want, cases[i].text);
        fake_pass(loop, LIMIT_DNS_TTL_FAILURE + 100);
    }
}

static void failures_are_kept_5_s(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0};
    ask(&a, "no.test");
    reply_error("no.test", ADDRESS_V6, ERR_DNS_FAILED, "no.test does not resolve: no such name");
    reply_error("no.test", ADDRESS_V4, ERR_DNS_FAILED, "no.test does not resolve: no such name");
    fake_pass(loop, LIMIT_DNS_TTL_FAILURE - 100);
    expect_now("no.test", ERR_DNS_FAILED, "no.test does not resolve: no such name");
    fake_pass(loop, 200);
    ask(&b, "no.test");
    assert_int_equal(b.calls, 0);
    assert_int_equal(fake->total, 4);
    dns_cancel(b.query);
}

static void our_own_failures_are_not_kept(void **state)
{
    (void)state;
    struct asker a = {0};
    fake->refuse = ERR_NOMEM;
    expect_now("mem.test", ERR_NOMEM, "out of memory");
    fake->refuse = ERR_OK;
    ask(&a, "mem.test");
    assert_int_equal(a.calls, 0);
    reply("mem.test", ADDRESS_V4, "192.0.2.1", 60);
    reply("mem.test", ADDRESS_V6, "", 60);
    expect_done(&a, ERR_OK, "192.0.2.1");
}

static void life_of_an_answer(void **state)
{
    static const struct {
        uint32_t v4, v6;
        uint64_t life_ms;
    } cases[] = {
        {0, 0, LIMIT_DNS_TTL_MIN},
        {1, 60, 1000},
        {60, 5, 5000},
        {60, 60, 60000},
        {86400, 400, LIMIT_DNS_TTL_MAX},
        {UINT32_MAX, UINT32_MAX, LIMIT_DNS_TTL_MAX},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct asker a = {0}, b = {0};
        ask(&a, "ttl.test");
        reply("ttl.test", ADDRESS_V4, "192.0.2.1", cases[i].v4);
        reply("ttl.test", ADDRESS_V6, "2001:db8::1", cases[i].v6);
        fake_pass(loop, cases[i].life_ms - 1);
        expect_now("ttl.test", ERR_OK, "2001:db8::1 192.0.2.1");
        fake_pass(loop, 2);
        ask(&b, "ttl.test");
        assert_int_equal(b.calls, 0);
        reply("ttl.test", ADDRESS_V4, "", 0);
        reply("ttl.test", ADDRESS_V6, "", 0);
        fake_pass(loop, LIMIT_DNS_TTL_FAILURE + 100);
    }
}

/* The life of an empty family says nothing about the other's. */
static void an_empty_family_does_not_shorten_life(void **state)
{
    (void)state;
    struct asker a = {0};
    ask(&a, "four.test");
    reply("four.test", ADDRESS_V6, "", 0);
    reply("four.test", ADDRESS_V4, "192.0.2.1", 60);
    fake_pass(loop, 50000);
    expect_now("four.test", ERR_OK, "192.0.2.1");
}

static void the_least_recently_used_name_goes(void **state)
{
    (void)state;
    char name[32];
    fake->at_once = true;
    for (unsigned i = 0; i < LIMIT_DNS_CACHE_NAMES; i++) {
        snprintf(name, sizeof name, "n%u.test", i);
        expect_now(name, ERR_OK, "192.0.2.1");
    }
    expect_now("n0.test", ERR_OK, "192.0.2.1"); /* now n1 is the oldest */
    assert_int_equal(fake->total, 2 * LIMIT_DNS_CACHE_NAMES);
    expect_now("one-more.test", ERR_OK, "192.0.2.1");
    assert_int_equal(fake->total, 2 * LIMIT_DNS_CACHE_NAMES + 2);
    expect_now("n0.test", ERR_OK, "192.0.2.1");
    expect_now("n2.test", ERR_OK, "192.0.2.1");
    assert_int_equal(fake->total, 2 * LIMIT_DNS_CACHE_NAMES + 2);
    expect_now("n1.test", ERR_OK, "192.0.2.1");
    assert_int_equal(fake->total, 2 * LIMIT_DNS_CACHE_NAMES + 4);
}

static void at_most_32_addresses_each_once(void **state)
{
    (void)state;
    struct asker a = {0};
    char v4[1024] = "", v6[1024] = "";
    size_t n4 = 0, n6 = 0;
    for (unsigned i = 0; i < 32; i++) {
        n4 += (size_t)snprintf(v4 + n4, sizeof v4 - n4, "%s192.0.2.%u", i ? " " : "", i);
        n6 += (size_t)snprintf(v6 + n6, sizeof v6 - n6, "%s2001:db8::%x", i ? " " : "", i / 2);
    }
    ask(&a, "many.test");
    reply("many.test", ADDRESS_V4, v4, 60);
    reply("many.test", ADDRESS_V6, v6, 60);
    struct str rest = str_from(a.got), one;
    unsigned n = 0, six = 0;
    while (str_next(&rest, ' ', &one)) {
        n++;
        six += str_find(one, ':') < one.n;
    }
    assert_int_equal(n, LIMIT_DNS_ADDRESSES);
    assert_true(six >= 10 && six <= 16);
}

/* --- askers that do things from inside their callback --- */

static struct asker *other;

static void cancel_other(struct asker *a)
{
    (void)a;
    dns_cancel(other->query);
}

static void fill_cache(struct asker *a)
{
    char name[32];
    a->more = NULL;
    fake->at_once = true;
    for (unsigned i = 0; i < LIMIT_DNS_CACHE_NAMES + 1; i++) {
        snprintf(name, sizeof name, "fill%u.test", i);
        expect_now(name, ERR_OK, "192.0.2.1");
    }
    fake->at_once = false;
}

static void ask_another(struct asker *a)
{
    a->more = NULL;
    ask(other, "another.test");
    a->query = other->query;
}

static void an_asker_may_cancel_the_next_one(void **state)
{
    (void)state;
    struct asker a = {.more = cancel_other}, b = {0};
    other = &b;
    ask(&a, "c.test");
    ask(&b, "c.test");
    reply("c.test", ADDRESS_V6, "", 60);
    reply("c.test", ADDRESS_V4, "192.0.2.1", 60);
    expect_done(&a, ERR_OK, "192.0.2.1");
    assert_int_equal(b.calls, 0);
}

static void an_answer_outlives_its_eviction(void **state)
{
    (void)state;
    struct asker a = {.more = fill_cache}, b = {0};
    ask(&a, "evicted.test");
    ask(&b, "evicted.test");
    reply("evicted.test", ADDRESS_V6, "", 60);
    reply("evicted.test", ADDRESS_V4, "192.0.2.9", 60);
    expect_done(&a, ERR_OK, "192.0.2.9");
    expect_done(&b, ERR_OK, "192.0.2.9");
    a = (struct asker){.more = fill_cache};
    fake->at_once = true;
    ask(&a, "evicted.test"); /* from cache or from inside: the same rule */
    expect_done(&a, ERR_OK, "192.0.2.1");
}

static void an_asker_may_ask_again(void **state)
{
    (void)state;
    struct asker a = {.more = ask_another}, b = {0};
    other = &b;
    struct hostname h = host("first.test");
    fake->at_once = true;
    expect_now("first.test", ERR_OK, "192.0.2.1");
    fake->at_once = false;
    /* The callback stores a query of its own where ours would have gone: it must not be
     * overwritten. */
    assert_int_equal(dns_resolve(dns, &h, 1000, on_done, &a, &a.query), ERR_OK);
    assert_ptr_equal(a.query, b.query);
    assert_non_null(b.query);
    dns_cancel(b.query);
}

static void freeing_cancels(void **state)
{
    (void)state;
    struct asker a = {0}, b = {0};
    ask(&a, "open.test");
    ask(&b, "half-open.test");
    reply("half-open.test", ADDRESS_V4, "192.0.2.1", 60);
    dns_free(dns);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.err, ERR_CANCELLED);
    assert_int_equal(b.calls, 1);
    assert_int_equal(b.err, ERR_CANCELLED);
    dns = dns_new(loop);
    assert_non_null(dns);
}

/* Every allocation fails once: an error or an answer comes, exactly one, and nothing leaks. */
static void out_of_memory_anywhere(void **state)
{
    (void)state;
    for (int n = 0; n < 24; n++) {
        struct asker a = {0};
        struct hostname h = host("oom.test");
        char name[32];
        int len = snprintf(name, sizeof name, "oom%d.test", n);
        h = host(name);
        assert_true(len > 0);
        mem_fail_after(n, false);
        enum err e = dns_resolve(dns, &h, 1000, on_done, &a, &a.query);
        if (e) {
            mem_fail_after(-1, false);
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(a.calls, 0);
            continue;
        }
        reply(name, ADDRESS_V4, "192.0.2.1", 60);
        reply(name, ADDRESS_V6, "2001:db8::1", 60);
        mem_fail_after(-1, false);
        assert_int_equal(a.calls, 1);
        assert_true(a.err == ERR_OK || a.err == ERR_NOMEM);
    }
    struct asker a = {0};
    ask(&a, "oom0.test");
    reply("oom0.test", ADDRESS_V4, "192.0.2.1", 60);
    reply("oom0.test", ADDRESS_V6, "", 60);
    expect_done(&a, ERR_OK, "192.0.2.1");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(joined_and_interleaved),
        CASE(literals_are_not_asked),
        CASE(answers_from_inside_the_resolver),
        CASE(identical_questions_are_one),
        CASE(a_cancelled_question_fills_the_cache),
        CASE(each_asker_has_its_own_timeout),
        CASE(a_late_family_is_waited_for_250_ms),
        CASE(a_late_failure_keeps_the_good_family),
        CASE(an_empty_family_is_no_reason_to_hurry),
        CASE(an_old_flight_does_not_hold_up_a_new_one),
        CASE(one_good_family_is_enough),
        CASE(H8_failures_have_a_sentence),
        CASE(failures_are_kept_5_s),
        CASE(our_own_failures_are_not_kept),
        CASE(life_of_an_answer),
        CASE(an_empty_family_does_not_shorten_life),
        CASE(the_least_recently_used_name_goes),
        CASE(at_most_32_addresses_each_once),
        CASE(an_asker_may_cancel_the_next_one),
        CASE(an_answer_outlives_its_eviction),
        CASE(an_asker_may_ask_again),
        CASE(freeing_cancels),
        CASE(out_of_memory_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
