/* Replays the corpus of ambiguous messages: every one whole, split at every byte, and byte by byte
 * (case 39). */
#include "corpus.h"
#include "replay.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *directory;

struct tally {
    enum h1_role role;
    int failed;
};

static void complain(struct tally *t, const struct corpus_case *c, const struct replay *r,
                     const char *what, const struct buf *want, const struct buf *got)
{
    struct buf line;

    t->failed++;
    buf_init(&line, 1 << 20);
    buf_printf(&line, "%s:%d: %.*s, first %zu, step %zu: %s\n  want %.*s\n  got  %.*s\n", c->file,
               c->line, STR_ARG(buf_str(&c->name)), r->first, r->step, what, STR_ARG(buf_str(want)),
               STR_ARG(buf_str(got)));
    fwrite(line.p, 1, line.n, stderr);
    buf_fini(&line);
}

static struct replay *run(struct tally *t, const struct corpus_case *c, size_t first, size_t step)
{
    static struct replay r;

    r.role = t->role;
    r.method = c->method.n ? buf_str(&c->method) : STR("GET");
    r.first = first;
    r.step = step;
    replay_run(&r, buf_str(&c->message));
    if (!str_eq(buf_str(&r.text), buf_str(&c->expect)))
        complain(t, c, &r, "outcome", &c->expect, &r.text);
    else if (c->has_writes && !str_eq(buf_str(&r.written), buf_str(&c->writes)))
        complain(t, c, &r, "written head", &c->writes, &r.written);
    return &r;
}

static void same_in_pieces(struct tally *t, const struct corpus_case *c, size_t used, size_t first,
                           size_t step)
{
    struct replay *r = run(t, c, first, step);

    if (r->used != used) {
        t->failed++;
        fprintf(stderr, "%s:%d: first %zu, step %zu: used %zu, not %zu\n", c->file, c->line, first,
                step, r->used, used);
    }
    replay_fini(r);
}

static void each(void *owner, const struct corpus_case *c)
{
    struct tally *t = owner;
    struct replay *r = run(t, c, 0, 0);
    const size_t used = r->used, n = c->message.n;
    const int failed = t->failed;

    replay_fini(r);
    same_in_pieces(t, c, used, 1, 1);
    /* Long ones are split at a few places only, to stay within seconds. */
    for (size_t at = 1; at < n && t->failed == failed; at += n > 4096 ? 1999 : 1)
        same_in_pieces(t, c, used, at, 0);
}

static void replay_file(const char *name, enum h1_role role, int least)
{
    struct tally t = {role, 0};
    char path[1024];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int cases = corpus_load(path, each, &t);
    assert_int_equal(t.failed, 0);
    assert_true(cases >= least);
}

static void test_requests(void **state)
{
    (void)state;
    replay_file("requests.txt", H1_REQUEST, 120);
}

static void test_responses(void **state)
{
    (void)state;
    replay_file("responses.txt", H1_RESPONSE, 60);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_responses),
    };

    directory = argc > 1 ? argv[1] : "tests/unit/http/corpus";
    return cmocka_run_group_tests_name("http/corpus", tests, NULL, NULL);
}
