#include "invariants.h"
#include "base/assert.h"

enum { LONG = 2048 };

static void check_same(const struct replay *a, const struct replay *b)
{
    ASSERT(a->result == b->result);
    ASSERT(a->used == b->used);
    ASSERT(str_eq(buf_str(&a->text), buf_str(&b->text)));
    ASSERT(str_eq(buf_str(&a->written), buf_str(&b->written)));
    ASSERT(a->result != ERR_OK || str_eq(buf_str(&a->body), buf_str(&b->body)));
}

static void compare(const struct replay *whole, struct str message, size_t first, size_t step)
{
    static struct replay r;

    r.role = whole->role;
    r.method = whole->method;
    r.first = first;
    r.step = step;
    replay_run(&r, message);
    check_same(whole, &r);
    replay_fini(&r);
}

void same_in_pieces(enum h1_role role, struct str method, struct str message,
                    struct replay *ret_whole)
{
    ret_whole->role = role;
    ret_whole->method = method;
    ret_whole->first = ret_whole->step = 0;
    replay_run(ret_whole, message);
    compare(ret_whole, message, 1, 1);
    compare(ret_whole, message, 3, 7);
    /* Cuts where the bytes say, so that a fuzzer can move them. */
    size_t cut = message.n ? (uint8_t)message.p[message.n / 2] : 0;
    if (message.n)
        compare(ret_whole, message, 1 + cut % message.n, 0);
    if (message.n < LONG)
        compare(ret_whole, message, 1 + message.n / 2, 2);
    ASSERT(ret_whole->body.n <= message.n);
}

static void check_head(const struct http_head *a, const struct http_head *b)
{
    ASSERT(str_eq(a->method, b->method) && str_eq(a->target, b->target));
    ASSERT(a->status == b->status && str_eq(a->reason, b->reason));
    /* An empty body may have become an explicit one. */
    ASSERT(a->framing == b->framing || (!a->length && !b->length));
    ASSERT(a->length == b->length);
    ASSERT(a->expect_100 == b->expect_100);
}

static bool comparable(const struct replay *whole)
{
    if (whole->result || whole->written.n > LIMIT_HEAD_BYTES)
        return false;
    /* Our Content-Length may be one field too many, and an HTTP/1.0 request without Host gets none
     * here. */
    if (whole->head.fields.n == LIMIT_HEAD_FIELDS)
        return false;
    return whole->role == H1_RESPONSE || fields_get(&whole->head.fields, FIELD_HOST);
}

void same_when_written(const struct replay *whole)
{
    static struct replay r;

    if (!comparable(whole))
        return;
    r.role = whole->role;
    r.method = whole->method;
    r.first = r.step = 0;
    replay_run(&r, buf_str(&whole->written));
    /* Only a body may be missing. */
    ASSERT(r.result == ERR_OK || r.result == ERR_AGAIN);
    ASSERT(r.used <= whole->written.n && !r.head.tainted && r.head.keep_alive);
    check_head(&whole->head, &r.head);
    if (!r.result)
        ASSERT(str_eq(buf_str(&whole->written), buf_str(&r.written)));
    replay_fini(&r);
}
