/* pool.c with legs that only note what is done to them, under a fake clock. */
#include "upstream/pool.h"
#include "base/mem.h"
#include "fake_clock.h"
#include "http/h1_leg.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct fake_leg {
    struct leg leg;
    unsigned nexts, closes;
    bool die_in_next; /* bytes were there already */
};

static void leg_next(struct leg *l)
{
    struct fake_leg *f = CONTAINER_OF(l, struct fake_leg, leg);
    f->nexts++;
    l->in_done = l->out_done = l->reusable = false;
    if (f->die_in_next)
        l->events->on_reset(l->owner, l, ERR_EOF);
}

static void leg_closed(struct leg *l, bool reset)
{
    (void)reset;
    CONTAINER_OF(l, struct fake_leg, leg)->closes++;
}

static const struct leg_ops ops = {.next = leg_next, .close = leg_closed};

static struct loop *loop;
static struct pool *pool;
static struct fake_leg legs[LIMIT_POOL_IDLE_PER_KEY + 8];

static struct upconn *conn(unsigned i, const char *key)
{
    struct vetted_addr peer = {.port = (uint16_t)(1000 + i), .by = VOUCHED_POLICY};
    struct fake_leg *f = &legs[i];
    *f = (struct fake_leg){
        .leg = {.ops = &ops, .in_done = true, .out_done = true, .reusable = true}};
    struct upconn *u = upconn_new(str_from(key), &f->leg, &peer);
    assert_non_null(u);
    return u;
}

static void give(unsigned i, const char *key)
{
    pool_give(pool, conn(i, key));
}

static int set_up(void **state)
{
    (void)state;
    memset(legs, 0, sizeof legs);
    if (loop_new_epoll(&loop))
        return -1;
    pool = pool_new(loop);
    return pool ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    pool_free(pool);
    loop_free(loop);
    return 0;
}

static void newest_first_and_by_key(void **state)
{
    (void)state;
    give(0, "http a:80");
    give(1, "http a:80");
    give(2, "http b:80");
    assert_int_equal(pool_idle(pool), 3);
    assert_null(pool_take(pool, STR("http c:80")));
    struct upconn *u = pool_take(pool, STR("http a:80"));
    assert_ptr_equal(u->leg, &legs[1].leg);
    assert_true(u->reused);
    assert_int_equal(u->peer.port, 1001);
    assert_true(str_eq(u->key, STR("http a:80")));
    assert_int_equal(legs[1].nexts, 1);
    struct upconn *v = pool_take(pool, STR("http a:80"));
    assert_ptr_equal(v->leg, &legs[0].leg);
    assert_null(pool_take(pool, STR("http a:80")));
    assert_int_equal(pool_idle(pool), 1);
    upconn_close(u);
    upconn_close(v);
    upconn_close(NULL);
    assert_int_equal(legs[0].closes, 1);
    assert_int_equal(legs[1].closes, 1);
    assert_int_equal(legs[2].closes, 0);
}

static void only_clean_connections_are_kept(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct upconn *u = conn(i, "k");
        u->leg->in_done = i != 0;
        u->leg->out_done = i != 1;
        u->leg->reusable = i != 2;
        u->never_share = i == 3;
        pool_give(pool, u);
        assert_int_equal(legs[i].closes, 1);
        assert_int_equal(pool_idle(pool), 0);
    }
    assert_null(pool_take(pool, STR("k")));
}

static void end_of(unsigned i, int how)
{
    struct leg *l = &legs[i].leg;
    const struct http_head *head = NULL;
    if (how == 0)
        l->events->on_reset(l->owner, l, ERR_EOF);
    else if (how == 1)
        l->events->on_fin(l->owner, l);
    else if (how == 2)
        l->events->on_write_error(l->owner, l);
    else if (how == 3)
        l->events->on_head(l->owner, l, head, false);
    else if (how == 4)
        assert_int_equal(l->events->on_body(l->owner, l, STR("x")), 0);
    else
        l->events->on_end(l->owner, l, NULL);
}

static void whatever_an_idle_peer_does_removes_it(void **state)
{
    (void)state;
    for (int how = 0; how < 6; how++) {
        give(0, "k");
        give(1, "k");
        legs[1].leg.events->on_writable(legs[1].leg.owner, &legs[1].leg);
        end_of(1, how);
        assert_int_equal(legs[1].closes, 1);
        assert_int_equal(pool_idle(pool), 1);
        end_of(0, how);
        assert_int_equal(legs[0].closes, 1);
        assert_int_equal(pool_idle(pool), 0);
        assert_null(pool_take(pool, STR("k")));
    }
}

static void one_that_is_dead_already(void **state)
{
    (void)state;
    struct upconn *u = conn(0, "k");
    legs[0].die_in_next = true;
    pool_give(pool, u);
    assert_int_equal(legs[0].closes, 1);
    assert_int_equal(pool_idle(pool), 0);
}

static void at_most_256_per_key_the_oldest_goes(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= LIMIT_POOL_IDLE_PER_KEY; i++)
        give(i, "k");
    assert_int_equal(legs[0].closes, 1);
    assert_int_equal(legs[1].closes, 0);
    assert_int_equal(pool_idle(pool), LIMIT_POOL_IDLE_PER_KEY);
    give(LIMIT_POOL_IDLE_PER_KEY + 1, "other");
    assert_int_equal(legs[1].closes, 0);
    assert_int_equal(pool_idle(pool), LIMIT_POOL_IDLE_PER_KEY + 1);
}

static void each_is_idle_for_60_s(void **state)
{
    (void)state;
    give(0, "a");
    fake_pass(loop, 30000);
    give(1, "a");
    fake_pass(loop, LIMIT_TIMEOUT_POOL_IDLE - 30000 - 100);
    assert_int_equal(legs[0].closes, 0);
    fake_pass(loop, 400);
    assert_int_equal(legs[0].closes, 1);
    assert_int_equal(legs[1].closes, 0);
    struct upconn *u = pool_take(pool, STR("a"));
    u->leg->in_done = u->leg->out_done = u->leg->reusable = true;
    pool_give(pool, u); /* its time starts anew */
    fake_pass(loop, LIMIT_TIMEOUT_POOL_IDLE - 200);
    assert_int_equal(legs[1].closes, 0);
    fake_pass(loop, 400);
    assert_int_equal(legs[1].closes, 1);
    assert_int_equal(pool_idle(pool), 0);
}

static void closing_an_idle_one_takes_it_out(void **state)
{
    (void)state;
    struct upconn *u = conn(0, "k");
    pool_give(pool, u);
    upconn_close(u);
    assert_int_equal(legs[0].closes, 1);
    assert_int_equal(pool_idle(pool), 0);
    assert_null(pool_take(pool, STR("k")));
}

static void freeing_closes_all(void **state)
{
    (void)state;
    give(0, "a");
    give(1, "b");
    give(2, "");
    pool_free(pool);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(legs[i].closes, 1);
    pool = pool_new(loop);
    assert_non_null(pool);
}

static void out_of_memory_closes(void **state)
{
    struct vetted_addr peer = {.port = 1};
    unsigned kept = 0;
    (void)state;
    for (int n = 0; n < 6; n++) {
        struct upconn *u = conn(0, "oom");
        mem_fail_after(n, false);
        pool_give(pool, u);
        mem_fail_after(-1, false);
        kept += pool_idle(pool) == 1;
        assert_int_equal(legs[0].closes + pool_idle(pool), 1);
        upconn_close(pool_take(pool, STR("oom")));
        assert_int_equal(legs[0].closes, 1);
    }
    assert_true(kept > 0 && kept < 6);
    legs[0].closes = 0;
    mem_fail_after(0, false);
    assert_null(upconn_new(STR("k"), &legs[0].leg, &peer));
    mem_fail_after(-1, false);
    assert_int_equal(legs[0].closes, 0); /* the leg stays the caller's */
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(newest_first_and_by_key),
        CASE(only_clean_connections_are_kept),
        CASE(whatever_an_idle_peer_does_removes_it),
        CASE(one_that_is_dead_already),
        CASE(at_most_256_per_key_the_oldest_goes),
        CASE(each_is_idle_for_60_s),
        CASE(closing_an_idle_one_takes_it_out),
        CASE(freeing_closes_all),
        CASE(out_of_memory_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
