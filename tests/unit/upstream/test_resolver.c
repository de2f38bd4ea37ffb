/* resolver.c and c-ares against a name server of the test's own on loopback. Real time, everything
 * bounded. */
#include "dns_server.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "upstream/resolver_int.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct loop *loop;
static struct resolver *resolver;
static struct dns_server *server;
static char dir[64], hosts_path[96], conf_path[96], servers[64];

static bool is(const struct dns_question *q, const char *name)
{
    return !strcmp(q->name, name);
}

static bool zone_answer(struct dns_server *s, const uint8_t *p, const struct dns_question *q,
                        struct dns_message *m)
{
    bool v4 = q->type == TYPE_A;
    (void)s;
    begin_answer(m, p, q, 0, false);
    if (is(q, "silent.test"))
        return false;
    if (is(q, "fail.test") || is(q, "fail.search.test"))
        begin_answer(m, p, q, RCODE_SERVFAIL, false);
    else if (is(q, "refused.test"))
        begin_answer(m, p, q, RCODE_REFUSED, false);
    else if (is(q, "empty.test") || (is(q, "six.search.test") && v4))
        return true;
    else if (is(q, "garbage.test"))
        memset(m->v + 12, 0xff, m->n - 12);
    else if (is(q, "short.test"))
        m->v[7] = 9; /* nine records announced, none there */
    else if (is(q, "big.test") && !q->tcp)
        begin_answer(m, p, q, 0, true);
    else if (is(q, "big.test"))
        for (int i = 0; i < 60; i++) {
            char value[64];
            snprintf(value, sizeof value, v4 ? "192.0.2.%d" : "2001:db8::%d", i);
            add_record(m, q->name, q->type, 60, value);
        }
    else if (is(q, "alias.test")) {
        add_record(m, "alias.test", TYPE_CNAME, 7, "a.test");
        add_record(m, "a.test", q->type, 60, v4 ? "192.0.2.1" : "2001:db8::1");
    } else if (is(q, "chain.test")) {
        add_record(m, "chain.test", TYPE_CNAME, 600, "mid.test");
        add_record(m, "mid.test", TYPE_CNAME, 3, "a.test");
        add_record(m, "a.test", q->type, 60, v4 ? "192.0.2.1" : "2001:db8::1");
    } else if (is(q, "dangling.test"))
        add_record(m, "dangling.test", TYPE_CNAME, 7, "nowhere.test");
    else if (is(q, "mapped.test") && !v4)
        add_record(m, q->name, TYPE_AAAA, 60, "::ffff:169.254.169.254");
    else if (is(q, "ttl.test")) {
        add_record(m, q->name, q->type, 60, v4 ? "192.0.2.1" : "2001:db8::1");
        add_record(m, q->name, q->type, 9, v4 ? "192.0.2.2" : "2001:db8::2");
    } else if (is(q, "huge-ttl.test"))
        add_record(m, q->name, q->type, 0x80000001u, v4 ? "192.0.2.1" : "2001:db8::1");
    else if (is(q, "a.test") || is(q, "svc.search.test") || is(q, "single") ||
             is(q, "other.second.test") || (is(q, "six.search.test") && !v4) ||
             !strncmp(q->name, "many", 4))
        add_record(m, q->name, q->type, 60, v4 ? "192.0.2.1" : "2001:db8::1");
    else
        begin_answer(m, p, q, RCODE_NXDOMAIN, false);
    return true;
}

/* --- the asker --- */

struct asker {
    unsigned calls;
    enum err err;
    struct resolver_answer answer;
    char text[160];
};

static void on_done(void *owner, enum err e, const struct resolver_answer *answer,
                    const struct errctx *ctx)
{
    struct asker *a = owner;
    a->calls++;
    a->err = e;
    if (!e)
        a->answer = *answer;
    else
        memcpy(a->text, ctx->text, sizeof a->text);
}

static struct hostname host(const char *text)
{
    struct hostname h;
    struct errctx ctx = {0};
    assert_int_equal(hostname_parse(str_from(text), &h, &ctx), ERR_OK);
    return h;
}

static void ask(struct asker *a, const char *name, enum address_family family)
{
    struct hostname h = host(name);
    memset(a, 0, sizeof *a);
    assert_int_equal(resolver_ask(resolver, &h, family, on_done, a), ERR_OK);
}

static void turn(void)
{
    serve_udp(server);
    serve_tcp(server);
    loop_turn(loop, 2 * NS_PER_MS);
}

static void wait_for(const struct asker *a, uint64_t ms)
{
    uint64_t end = clock_mono_ns() + ms * NS_PER_MS;
    while (!a->calls && clock_mono_ns() < end)
        turn();
    assert_int_equal(a->calls, 1);
}

static void expect(const char *name, enum address_family family, const char *want, uint32_t ttl)
{
    struct asker a;
    struct buf out;
    ask(&a, name, family);
    wait_for(&a, 3000);
    if (a.err)
        fail_msg("%s: %s", name, a.text);
    buf_init(&out, 4096);
    for (unsigned i = 0; i < a.answer.n; i++) {
        if (i)
            buf_add_c(&out, ' ');
        address_format(&out, &a.answer.v[i]);
    }
    buf_add_c(&out, '\0');
    assert_string_equal(out.p, want);
    if (a.answer.n)
        assert_int_equal(a.answer.ttl_s, ttl);
    buf_fini(&out);
}

static void expect_error(const char *name, enum err e, const char *text)
{
    struct asker a;
    ask(&a, name, ADDRESS_V4);
    wait_for(&a, 5000);
    assert_int_equal(a.err, e);
    assert_string_equal(a.text, text);
}

static bool asked(const char *what)
{
    for (unsigned i = 0; i < server->n_seen; i++)
        if (!strcmp(server->seen[i], what))
            return true;
    return false;
}

/* --- set-up --- */

static void write_file(const char *path, const char *text)
{
    char fresh[128];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
    assert_int_equal(rename(fresh, path), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test-resolver-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(hosts_path, sizeof hosts_path, "%s/hosts", dir);
    snprintf(conf_path, sizeof conf_path, "%s/resolv.conf", dir);
    write_file(hosts_path, "127.0.0.9 localhost\n"
                           "10.1.1.1\tone.hosts.test One-Alias.hosts.test # two.hosts.test\n"
                           "# 10.9.9.9 three.hosts.test\n"
                           "  10.1.1.2 one.hosts.test.\r\n"
                           "fd00::1 one.hosts.test six.hosts.test\n"
                           "not.an.address four.hosts.test\n"
                           "10.1.1.3\n"
                           "fe80::1%eth0 five.hosts.test\n"
                           "10.1.1.4 bad..name good.hosts.test");
    write_file(conf_path,
               "search search.test second.test\noptions ndots:5 timeout:1 attempts:1 rotate\n");
    server = mem_zalloc(sizeof *server);
    if (!server || !server_open(server))
        return -1;
    snprintf(servers, sizeof servers, "127.0.0.1:%u", server->port);
    if (loop_new_epoll(&loop) || !(resolver = resolver_new(loop)))
        return -1;
    return resolver_redirect(resolver, hosts_path, conf_path, servers) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    resolver_free(resolver);
    loop_free(loop);
    server_close(server);
    mem_free(server);
    unlink(hosts_path);
    unlink(conf_path);
    rmdir(dir);
    return 0;
}

/* --- tests --- */

static void addresses_and_ttls(void **state)
{
    (void)state;
    expect("a.test", ADDRESS_V4, "192.0.2.1", 60);
    expect("a.test", ADDRESS_V6, "2001:db8::1", 60);
    expect("ttl.test", ADDRESS_V4, "192.0.2.1 192.0.2.2", 9);
    expect("ttl.test", ADDRESS_V6, "2001:db8::1 2001:db8::2", 9);
    expect("huge-ttl.test", ADDRESS_V4, "192.0.2.1", 0);
}

static void ttls_of_aliases_count(void **state)
{
    (void)state;
    expect("alias.test", ADDRESS_V4, "192.0.2.1", 7);
    expect("alias.test", ADDRESS_V6, "2001:db8::1", 7);
    expect("chain.test", ADDRESS_V4, "192.0.2.1", 3);
}

static void no_addresses_is_no_failure_here(void **state)
{
    (void)state;
    expect("empty.test", ADDRESS_V4, "", 0);
    expect("empty.test", ADDRESS_V6, "", 0);
    expect("dangling.test", ADDRESS_V4, "", 0);
}

static void mapped_addresses_are_folded(void **state)
{
    (void)state;
    expect("mapped.test", ADDRESS_V6, "169.254.169.254", 60);
}

static void failures_have_a_sentence(void **state)
{
    (void)state;
    expect_error("nowhere.test", ERR_DNS_FAILED, "nowhere.test does not resolve: no such name");
    expect_error("fail.test", ERR_DNS_FAILED, "fail.test does not resolve: name server failure");
    expect_error("refused.test", ERR_DNS_FAILED,
                 "refused.test does not resolve: name server failure");
    expect_error("short.test", ERR_DNS_FAILED, "short.test does not resolve: malformed answer");
}

/* timeout:1 and attempts:1 of resolv.conf, which c-ares 1.18 does not read. */
static void silence_ends_by_the_options_of_resolv_conf(void **state)
{
    (void)state;
    uint64_t start = clock_mono_ns();
    expect_error("silent.test", ERR_DNS_TIMEOUT,
                 "silent.test does not resolve: the name servers did not answer in time");
    uint64_t took = (clock_mono_ns() - start) / NS_PER_MS;
    assert_true(took >= 900 && took < 1800);
}

static void garbage_is_not_believed(void **state)
{
    struct asker a;
    (void)state;
    ask(&a, "garbage.test", ADDRESS_V4);
    wait_for(&a, 3000);
    assert_true(a.err == ERR_DNS_TIMEOUT || a.err == ERR_DNS_FAILED);
}

static void a_dead_name_server(void **state)
{
    struct asker a;
    (void)state;
    server_close(server); /* its port now refuses */
    server->tcp = -1;
    ask(&a, "a.test", ADDRESS_V4);
    uint64_t end = clock_mono_ns() + 3000 * NS_PER_MS;
    while (!a.calls && clock_mono_ns() < end)
        loop_turn(loop, 2 * NS_PER_MS);
    assert_true(a.err == ERR_DNS_TIMEOUT || a.err == ERR_DNS_FAILED);
    assert_true(server_open(server));
}

/* Edge-triggered, each such answer would wait for the timeout: it comes in many pieces. */
static void truncated_answers_are_asked_by_tcp(void **state)
{
    struct asker a, b;
    (void)state;
    uint64_t start = clock_mono_ns();
    ask(&a, "big.test", ADDRESS_V4);
    ask(&b, "big.test", ADDRESS_V6);
    wait_for(&a, 3000);
    wait_for(&b, 3000);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(b.err, ERR_OK);
    assert_int_equal(a.answer.n, ARRAY_LEN(a.answer.v));
    assert_int_equal(b.answer.n, ARRAY_LEN(b.answer.v));
    assert_true(asked("A big.test") && asked("A big.test/tcp"));
    assert_true(clock_mono_ns() - start < 800 * NS_PER_MS);
}

static void the_hosts_file_comes_first(void **state)
{
    (void)state;
    expect("one.hosts.test", ADDRESS_V4, "10.1.1.1 10.1.1.2", 5);
    expect("one.hosts.test", ADDRESS_V6, "fd00::1", 5);
    expect("one-alias.hosts.test", ADDRESS_V4, "10.1.1.1", 5);
    expect("one-alias.hosts.test", ADDRESS_V6, "", 0);
    expect("six.hosts.test", ADDRESS_V4, "", 0);
    expect("good.hosts.test", ADDRESS_V4, "10.1.1.4", 5);
    assert_int_equal(server->n_seen, 0);
    expect_error("two.hosts.test", ERR_DNS_FAILED, "two.hosts.test does not resolve: no such name");
    expect_error("five.hosts.test", ERR_DNS_FAILED,
                 "five.hosts.test does not resolve: no such name");
}

static void localhost_is_never_asked_for(void **state)
{
    (void)state;
    expect("localhost", ADDRESS_V4, "127.0.0.1", 300);
    expect("localhost", ADDRESS_V6, "::1", 300);
    expect("x.localhost", ADDRESS_V4, "127.0.0.1", 300);
    assert_int_equal(server->n_seen, 0);
}

static void dotted_names_are_not_extended(void **state)
{
    (void)state;
    expect_error("other.search", ERR_DNS_FAILED, "other.search does not resolve: no such name");
    assert_int_equal(server->n_seen, 1);
    assert_true(asked("A other.search"));
}

static void single_labels_go_through_the_search_list(void **state)
{
    (void)state;
    expect("svc", ADDRESS_V4, "192.0.2.1", 60);
    assert_int_equal(server->n_seen, 1);
    expect("other", ADDRESS_V4, "192.0.2.1", 60); /* NXDOMAIN in search.test */
    assert_true(asked("A other.search.test") && asked("A other.second.test"));
    expect("single", ADDRESS_V4, "192.0.2.1", 60); /* as it is, in the end */
    assert_true(asked("A single.search.test") && asked("A single.second.test") &&
                asked("A single"));
    expect_error("gone", ERR_DNS_FAILED, "gone does not resolve: no such name");
    expect_error("fail", ERR_DNS_FAILED, "fail does not resolve: no such name");
    assert_true(asked("A fail.search.test") && asked("A fail.second.test"));
    /* Both families end at the same name. */
    expect("six", ADDRESS_V6, "2001:db8::1", 60);
    expect("six", ADDRESS_V4, "", 0);
    assert_false(asked("A six.second.test"));
}

static void names_with_an_underscore(void **state)
{
    (void)state;
    expect("many_under.test", ADDRESS_V4, "192.0.2.1", 60);
}

static void a_changed_hosts_file_counts(void **state)
{
    (void)state;
    expect("one.hosts.test", ADDRESS_V4, "10.1.1.1 10.1.1.2", 5);
    write_file(hosts_path, "10.2.2.2 one.hosts.test\n");
    resolver_recheck(resolver);
    expect("one.hosts.test", ADDRESS_V4, "10.2.2.2", 5);
    unlink(hosts_path);
    resolver_recheck(resolver);
    expect_error("one.hosts.test", ERR_DNS_FAILED, "one.hosts.test does not resolve: no such name");
}

static void files_are_looked_at_every_5_s_only(void **state)
{
    (void)state;
    expect("one.hosts.test", ADDRESS_V4, "10.1.1.1 10.1.1.2", 5);
    write_file(hosts_path, "10.2.2.2 one.hosts.test\n");
    expect("one.hosts.test", ADDRESS_V4, "10.1.1.1 10.1.1.2", 5);
}

static void a_changed_resolv_conf_makes_a_new_channel(void **state)
{
    struct asker a;
    (void)state;
    ask(&a, "silent.test", ADDRESS_V4); /* keeps the old one busy for a second */
    write_file(conf_path, "search second.test\n");
    resolver_recheck(resolver);
    expect("other", ADDRESS_V4, "192.0.2.1", 60);
    assert_false(asked("A other.search.test"));
    assert_int_equal(resolver_channels(resolver), 2);
    assert_int_equal(a.calls, 0);
    wait_for(&a, 3000);
    assert_int_equal(a.err, ERR_DNS_TIMEOUT);
    turn();
    assert_int_equal(resolver_channels(resolver), 1);
}

static void slow_answers_do_not_queue(void **state)
{
    struct asker slow[20], a;
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(slow); i++)
        ask(&slow[i], "silent.test", i % 2 ? ADDRESS_V4 : ADDRESS_V6);
    ask(&a, "a.test", ADDRESS_V4);
    wait_for(&a, 5000);
    assert_int_equal(a.err, ERR_OK);
    for (unsigned i = 0; i < ARRAY_LEN(slow); i++) /* it passed them all */
        assert_int_equal(slow[i].calls, 0);
    for (unsigned i = 0; i < ARRAY_LEN(slow); i++)
        wait_for(&slow[i], 10000); /* one after the other they would take 40 s */
}

static void a_busy_resolver_changes_its_source_port(void **state)
{
    struct asker busy, a;
    (void)state;
    ask(&busy, "silent.test", ADDRESS_V4);
    for (int i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "many%d.test", i);
        ask(&a, name, ADDRESS_V4);
        wait_for(&a, 1000);
        assert_int_equal(a.err, ERR_OK);
    }
    unsigned changes = 0;
    for (unsigned i = 1; i < server->n_ports; i++)
        changes += server->ports[i] != server->ports[i - 1];
    assert_true(changes >= 1);
    wait_for(&busy, 3000);
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void freeing_cancels_and_closes(void **state)
{
    struct asker a, b;
    (void)state;
    unsigned before = descriptors();
    ask(&a, "silent.test", ADDRESS_V4);
    ask(&b, "silent.test", ADDRESS_V6);
    turn();
    assert_true(descriptors() > before);
    resolver_free(resolver);
    loop_turn(loop, 0);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    assert_int_equal(a.err, ERR_CANCELLED);
    assert_int_equal(b.err, ERR_CANCELLED);
    assert_int_equal(descriptors(), before);
    resolver = resolver_new(loop);
    assert_non_null(resolver);
}

static void out_of_memory_anywhere(void **state)
{
    (void)state;
    for (int n = 0; n < 8; n++) {
        struct asker a = {0};
        struct hostname h = host("a.test");
        mem_fail_after(n, false);
        enum err e = resolver_ask(resolver, &h, ADDRESS_V4, on_done, &a);
        mem_fail_after(-1, false);
        if (e) {
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(a.calls, 0);
            continue;
        }
        wait_for(&a, 4000);
        assert_true(a.err == ERR_OK || a.err == ERR_DNS_TIMEOUT || a.err == ERR_NOMEM);
    }
    expect("a.test", ADDRESS_V4, "192.0.2.1", 60);
}

static void rereading_without_memory_keeps_what_was(void **state)
{
    (void)state;
    for (int n = 0; n < 12; n++) {
        write_file(hosts_path,
                   n % 2 ? "10.2.2.2 one.hosts.test x.hosts.test\n" : "10.2.2.3 one.hosts.test\n");
        write_file(conf_path, n % 2 ? "search search.test\noptions timeout:1 attempts:1\n"
                                    : "options timeout:1 attempts:1\n");
        struct asker a = {0};
        struct hostname h = host("localhost.test");
        resolver_recheck(resolver);
        mem_fail_after(n, false);
        enum err e = resolver_ask(resolver, &h, ADDRESS_V4, on_done, &a);
        mem_fail_after(-1, false);
        if (e == ERR_OK)
            wait_for(&a, 4000);
        resolver_recheck(resolver);
        expect("one.hosts.test", ADDRESS_V4, n % 2 ? "10.2.2.2" : "10.2.2.3", 5);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(addresses_and_ttls),
        CASE(ttls_of_aliases_count),
        CASE(no_addresses_is_no_failure_here),
        CASE(mapped_addresses_are_folded),
        CASE(failures_have_a_sentence),
        CASE(silence_ends_by_the_options_of_resolv_conf),
        CASE(garbage_is_not_believed),
        CASE(a_dead_name_server),
        CASE(truncated_answers_are_asked_by_tcp),
        CASE(the_hosts_file_comes_first),
        CASE(localhost_is_never_asked_for),
        CASE(dotted_names_are_not_extended),
        CASE(single_labels_go_through_the_search_list),
        CASE(names_with_an_underscore),
        CASE(a_changed_hosts_file_counts),
        CASE(files_are_looked_at_every_5_s_only),
        CASE(a_changed_resolv_conf_makes_a_new_channel),
        CASE(slow_answers_do_not_queue),
        CASE(a_busy_resolver_changes_its_source_port),
        CASE(freeing_cancels_and_closes),
        CASE(out_of_memory_anywhere),
        CASE(rereading_without_memory_keeps_what_was),
    };
    if (resolver_library_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
