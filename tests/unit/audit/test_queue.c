#include "../base/unit.h"
#include "audit/audit_int.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdio.h>

enum { LINES = 200000 };

/* Line i: its number and a length that depends on it; now and then one that is longer than a block.
 */
static size_t line_of(unsigned i, char *out)
{
    size_t n = i % 5000 == 4999 ? 70000 + i % 100 : 20 + i * 7919 % 400;
    int head = snprintf(out, 20, "%u:", i);
    memset(out + head, 'a' + (int)(i % 26), n - (size_t)head);
    out[n - 1] = '\n';
    return n;
}

/* Follows the lines of a run and checks each. */
struct reader {
    unsigned next;
    char line[80000], want[80000];
    size_t n;
    bool split; /* a run began in the middle of a line */
};

static void feed(struct reader *r, const char *p, size_t n)
{
    r->split |= r->n > 0;
    for (size_t i = 0; i < n; i++) {
        r->line[r->n++] = p[i];
        if (p[i] != '\n')
            continue;
        size_t want = line_of(r->next++, r->want);
        if (want != r->n || memcmp(r->want, r->line, want) != 0)
            fail_msg("line %u is not as it was", r->next - 1);
        r->n = 0;
    }
}

static void test_order(void **state)
{
    (void)state;
    static struct reader r;
    static char line[80000];
    struct queue *q = queue_new();
    const char *p;
    size_t n;
    uint64_t sum = 0;
    assert_non_null(q);
    assert_false(queue_peek(q, &p, &n));
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = line_of(i, line);
        assert_true(queue_add(q, line, len));
        sum += len;
        assert_int_equal(queue_pending(q), sum);
        if (i % 1000 < 700)
            continue;
        assert_true(queue_peek(q, &p, &n));
        if (i % 2 && n > 1)
            n /= 2; /* a write need not take everything */
        feed(&r, p, n);
        queue_done(q, n);
        sum -= n;
    }
    while (queue_peek(q, &p, &n)) {
        feed(&r, p, n);
        queue_done(q, n);
    }
    assert_int_equal(r.next, 20000);
    assert_int_equal(queue_pending(q), 0);
    assert_int_equal(queue_lost(q), 0);
    queue_free(q);
}

/* A line written in place is there once it is committed, as long as it became. */
static void test_in_place(void **state)
{
    (void)state;
    static struct reader r;
    static char line[80000];
    struct queue *q = queue_new();
    const char *p;
    size_t n;
    for (unsigned i = 0; i < 15000; i++) {
        size_t len = line_of(i, line);
        char *at = queue_reserve(q, len + i % 3 * 1000);
        assert_non_null(at);
        memset(at, '?', len + i % 3 * 1000);
        if (i % 4 == 1) { /* thought better of it */
            at = queue_reserve(q, len);
            assert_non_null(at);
        }
        uint64_t before = queue_pending(q);
        memcpy(at, line, len);
        queue_commit(q, len);
        assert_int_equal(queue_pending(q), before + len);
        if (i % 50 == 0 && queue_peek(q, &p, &n)) {
            feed(&r, p, n);
            queue_done(q, n);
        }
    }
    while (queue_peek(q, &p, &n)) {
        feed(&r, p, n);
        queue_done(q, n);
    }
    assert_int_equal(r.next, 15000);
    assert_false(r.split);
    assert_null(queue_reserve(q, SIZE_MAX));
    assert_int_equal(queue_lost(q), 1);
    queue_free(q);
}

/* Several emptied blocks come back: what fits into them needs no memory. */
static void test_recycled(void **state)
{
    (void)state;
    static char line[30000];
    struct queue *q = queue_new();
    const char *p;
    size_t n;
    for (int i = 0; i < 10; i++) /* two of these fill a block */
        assert_true(queue_add(q, line, sizeof(line)));
    while (queue_peek(q, &p, &n))
        queue_done(q, n);
    mem_fail_after(0, true);
    for (int i = 0; i < 10; i++)
        assert_true(queue_add(q, line, sizeof(line)));
    mem_fail_after(-1, false);
    queue_free(q);
}

/* The spare block takes what comes when memory runs out; after it, lines are counted as lost. */
static void test_no_memory(void **state)
{
    (void)state;
    static struct reader r;
    char line[500];
    for (int64_t k = 0; k < 3; k++) {
        mem_fail_after(k, true);
        assert_null(queue_new());
    }
    mem_fail_after(-1, false);
    struct queue *q = queue_new();
    mem_fail_after(0, true);
    unsigned taken = 0;
    size_t bytes = 0;
    for (size_t n; n = line_of(taken, line), queue_add(q, line, n); taken++)
        bytes += n;
    assert_true(bytes > LIMIT_AUDIT_BLOCK_BYTES * 3 / 2);
    assert_int_equal(queue_lost(q), 1);
    const char *p;
    size_t n;
    while (queue_peek(q, &p, &n)) {
        feed(&r, p, n);
        queue_done(q, n);
    }
    assert_int_equal(r.next, taken);
    assert_true(queue_add(q, line, line_of(taken, line))); /* an emptied block came back */
    mem_fail_after(-1, false);
    queue_free(q);
}

static void test_bound(void **state)
{
    (void)state;
    static char line[60000];
    struct queue *q = queue_new();
    unsigned n = 0;
    while (n < 100000 && queue_add(q, line, sizeof(line)))
        n++;
    assert_in_range(n, 16 * LIMIT_AUDIT_HIGH_BYTES / sizeof(line),
                    16 * LIMIT_AUDIT_HIGH_BYTES / sizeof(line) + 1);
    assert_int_equal(queue_lost(q), 1);
    queue_free(q);
}

static void *add_all(void *arg)
{
    static char line[80000];
    struct queue *q = arg;
    for (unsigned i = 0; i < LINES; i++) {
        while (queue_pending(q) > LIMIT_AUDIT_HIGH_BYTES)
            ;
        if (!queue_add(q, line, line_of(i, line)))
            break;
    }
    return NULL;
}

/* One adds, one reads at three places at different speeds. Clean under TSan. */
static void test_two_threads(void **state)
{
    (void)state;
    enum { PLACES = 3 };
    static struct reader r[PLACES];
    struct queue_cursor c[PLACES];
    struct queue *q = queue_new();
    pthread_t t;
    for (int i = 0; i < PLACES; i++)
        queue_cursor_init(q, &c[i]);
    assert_int_equal(pthread_create(&t, NULL, add_all, q), 0);
    for (unsigned turn = 0; r[0].next < LINES || r[1].next < LINES || r[2].next < LINES; turn++) {
        for (unsigned i = 0; i < PLACES; i++) {
            const char *p;
            size_t n;
            if (turn % (i + 1) || !queue_cursor_peek(&c[i], &p, &n))
                continue;
            feed(&r[i], p, n);
            queue_cursor_advance(&c[i], n);
        }
        queue_release(q, c, PLACES);
    }
    pthread_join(t, NULL);
    queue_release(q, c, PLACES);
    assert_int_equal(queue_pending(q), 0);
    assert_int_equal(queue_cursor_lag(q, &c[1]), 0);
    for (int i = 0; i < PLACES; i++)
        assert_false(r[i].split); /* whole lines only */
    queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_in_place), cmocka_unit_test(test_recycled),
        cmocka_unit_test(test_bound), cmocka_unit_test(test_two_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
