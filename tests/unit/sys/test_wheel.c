/* The wheel against a plain list of deadlines, on a clock of the test's own. */
#include "sys/wheel.h"
#include "sys/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

enum { TIMERS = 300 };

struct model {
    struct timer timer; /* first */
    uint64_t due, delay_ms;
    bool armed;
    unsigned fired;
};

static struct wheel wheel;
static struct model models[TIMERS];
static uint64_t now_ns;
static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed % below;
}

/* What loop.c does, without a loop. */
static void set(struct model *m, uint64_t delay_ms)
{
    uint64_t deadline = now_ns + delay_ms * NS_PER_MS;
    struct timer *t = &m->timer;
    bool armed = t->deadline_ != 0;
    bool later = armed && (deadline >= t->deadline_ || deadline >= wheel_due(&wheel, t));
    t->deadline_ = deadline;
    m->due = deadline, m->delay_ms = delay_ms, m->armed = true;
    if (later)
        return;
    if (armed)
        wheel_take(&wheel, t);
    wheel_put(&wheel, t, now_ns);
}

static void stop(struct model *m)
{
    if (m->timer.deadline_)
        wheel_take(&wheel, &m->timer);
    m->timer.deadline_ = 0;
    m->armed = false;
}

static void on_fire(struct timer *t)
{
    struct model *m = (struct model *)(void *)t;
    assert_true(m->armed);
    assert_true(now_ns >= m->due); /* never early */
    uint64_t late = (now_ns - m->due) / NS_PER_MS;
    assert_in_range(late, 0, m->delay_ms < 1000 ? 5 : 65);
    m->armed = false;
    m->fired++;
    if (draw(4) == 0)
        set(&models[draw(TIMERS)], draw(3000)); /* perhaps itself, perhaps one that fires now too */
    if (draw(4) == 0)
        stop(&models[draw(TIMERS)]);
}

static uint64_t random_delay(void)
{
    static const uint64_t below[] = {5, 300, 1100, 20000, 1000000, 5000000, 90000000};
    return draw(below[draw(sizeof(below) / sizeof(below[0]))]);
}

/* Advance as the loop does: to the time the wheel names, or part of it. */
static void advance(void)
{
    uint64_t step = draw(3) ? draw(70 * NS_PER_MS) : 1000 * NS_PER_MS * draw(60);
    uint64_t end = now_ns + step;
    while (now_ns < end) {
        uint64_t due = wheel.due_ns;
        now_ns = due < end ? (due > now_ns ? due : now_ns + 1) : end;
        wheel_run(&wheel, now_ns);
    }
}

static void wheel_agrees_with_a_list(void **state)
{
    (void)state;
    for (unsigned round = 1; round <= 20; round++) {
        seed = round * UINT64_C(0x9E3779B97F4A7C15);
        now_ns = draw(UINT64_C(1) << 50);
        wheel_init(&wheel, now_ns);
        for (unsigned i = 0; i < TIMERS; i++) {
            models[i] = (struct model){0};
            timer_init(&models[i].timer, on_fire);
        }
        for (unsigned step = 0; step < 2000; step++) {
            struct model *m = &models[draw(TIMERS)];
            if (draw(3))
                set(m, random_delay());
            else
                stop(m);
            advance();
            for (unsigned i = 0; i < TIMERS; i++)
                assert_true(!models[i].armed || models[i].due + 65 * NS_PER_MS > now_ns);
        }
        unsigned fired = 0;
        for (unsigned i = 0; i < TIMERS; i++) {
            stop(&models[i]);
            fired += models[i].fired;
        }
        assert_true(fired > 100);
        wheel_run(&wheel, now_ns + 3600 * 1000 * NS_PER_MS);
        assert_true(wheel.due_ns == UINT64_MAX);
    }
}

/* Hours of a timer that is pushed back at every byte wake the loop seldom. */
static void moving_later_is_cheap(void **state)
{
    (void)state;
    seed = 1, now_ns = 12345;
    wheel_init(&wheel, now_ns);
    struct model *m = &models[0];
    *m = (struct model){0};
    timer_init(&m->timer, on_fire);
    unsigned wakes = 0;
    for (unsigned i = 0; i < 100000; i++) {
        set(m, 3600000);
        now_ns += 100 * NS_PER_MS;
        if (now_ns >= wheel.due_ns)
            wakes++;
        wheel_run(&wheel, now_ns);
    }
    assert_int_equal(m->fired, 0);
    assert_in_range(wakes, 1, 20);
    stop(m);
}

/* A timer that nobody moves wakes the loop once on each level it lies on, the last time to fire. */
static void few_wakes_for_one_timer(void **state)
{
    static const struct {
        uint64_t delay_ms;
        unsigned wakes;
    } rows[] = {{1, 1}, {250, 1}, {999, 1}, {1000, 1}, {16000, 1}, {60000, 2}, {3600000, 2}};
    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned wakes = 0;
        seed = 3, now_ns = 987654321987;
        wheel_init(&wheel, now_ns);
        models[0] = (struct model){0};
        timer_init(&models[0].timer, on_fire);
        set(&models[0], rows[i].delay_ms);
        for (; models[0].fired == 0; wakes++) {
            now_ns = wheel.due_ns;
            wheel_run(&wheel, now_ns);
        }
        assert_int_equal(wakes, rows[i].wakes);
        for (unsigned k = 0; k < TIMERS; k++)
            stop(&models[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wheel_agrees_with_a_list),
        cmocka_unit_test(moving_later_is_cheap),
        cmocka_unit_test(few_wakes_for_one_timer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
