#include "../base/unit.h"
#include "audit/writer.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "fake_sys.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[40], path[2][70];
static char *content; /* of the file last read */
static size_t content_n;

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Until cond holds, for at most 20 s. */
#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        for (int i_ = 0; i_ < 10000 && !(cond); i_++)                                              \
            wait_ms(2);                                                                            \
        assert_true(cond);                                                                         \
    } while (0)

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Reads on, behind what was read before, until `what` came or 3000 looks were in vain. */
static struct str read_more(int fd);
static bool read_until(int fd, const char *what, void (*meanwhile)(int turn))
{
    content_n = 0;
    for (int turn = 0; turn < 3000; turn++) {
        size_t from = content_n > 200 ? content_n - 200 : 0;
        if (read_more(fd).n > from && strstr(content + from, what))
            return true;
        meanwhile(turn);
        wait_ms(2);
    }
    return false;
}

/* What can be read now, behind what was read before. */
static struct str read_more(int fd)
{
    for (;;) {
        content = realloc(content, content_n + 65537);
        ssize_t n = read(fd, content + content_n, 65536);
        if (n <= 0)
            break;
        content_n += (size_t)n;
    }
    content[content_n] = '\0';
    return str_of(content, content_n);
}

static struct str read_fd(int fd)
{
    content_n = 0;
    return read_more(fd);
}

static struct str read_file(const char *name)
{
    int fd = open(name, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    struct str s = read_fd(fd);
    close(fd);
    return s;
}

static size_t count(struct str s, const char *what)
{
    size_t n = 0;
    for (const char *p = s.p; s.n && (p = strstr(p, what)); p++)
        n++;
    return n;
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/nono-writer-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof(path[i]), "%s/%d", dir, i);
    return 0;
}

static int cleanup(void **state)
{
    (void)state;
    char old[80];
    for (int i = 0; i < 2; i++) {
        snprintf(old, sizeof(old), "%.69s.old", path[i]);
        unlink(old);
        unlink(path[i]);
    }
    log_init(&(struct log_config){.level = LOG_OFF});
    return rmdir(dir);
}

static struct writer *make(const char *one, const char *two, const char *log)
{
    struct str sinks[2] = {str_from(one), str_from(two)};
    struct errctx ctx = {0};
    struct writer *w = NULL;
    enum err e = writer_new(sinks, (size_t)(one != NULL) + (two != NULL), log, &w, &ctx);
    if (e != ERR_OK)
        fail_msg("%s", ctx.text);
    return w;
}

static _Atomic uint64_t wall_now = 1795532645123;

static uint64_t wall(void)
{
    return atomic_load(&wall_now);
}

static void log_into(struct writer *w)
{
    log_init(&(struct log_config){LOG_WARN, false, false, writer_log, w, wall});
}

static void test_files(void **state)
{
    (void)state;
    struct writer *w = make(path[0], path[1], NULL);
    struct queue *a = writer_add_queue(w);
    assert_true(writer_has_sinks(w));
    assert_true(queue_add(a, "early\n", 6));
    assert_int_equal(writer_start(w), ERR_OK);
    struct queue *b = writer_add_queue(w); /* while it runs */
    for (int i = 0; i < 1000; i++) {
        assert_true(queue_add(a, "aaa\n", 4));
        assert_true(queue_add(b, "b\n", 2));
    }
    UNTIL(queue_pending(a) == 0 && queue_pending(b) == 0);
    assert_true(queue_add(b, "last\n", 5));
    assert_false(writer_failing(w));
    assert_int_equal(writer_lost(w), 0);
    writer_finish(w);
    for (int i = 0; i < 2; i++) {
        struct stat st;
        assert_int_equal(stat(path[i], &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        struct str s = read_file(path[i]);
        assert_int_equal(s.n, 6 + 1000 * 6 + 5);
        assert_true(count(s, "early\n") == 1 && count(s, "aaa\n") == 1000 &&
                    count(s, "last\n") == 1);
    }
    w = make(path[0], NULL, NULL); /* appends; a writer that never started writes too */
    assert_true(queue_add(writer_add_queue(w), "second run\n", 11));
    writer_finish(w);
    assert_true(str_ends(read_file(path[0]), STR("last\nsecond run\n")));
    writer_finish(NULL);
}

static void test_bad_sinks(void **state)
{
    (void)state;
    char dir_slash[100], fifo[100], closed[20], reading[20];
    int fd = open("/dev/null", O_RDONLY);
    snprintf(dir_slash, sizeof(dir_slash), "%s/no/such", dir);
    snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
    snprintf(reading, sizeof(reading), "fd:%d", fd);
    snprintf(closed, sizeof(closed), "fd:%d", fd + 50);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const char *bad[] = {"",      dir_slash, dir,    fifo,    closed,
                         reading, "fd:",     "fd:x", "fd:-1", "fd:99999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct str sinks[2] = {str_from(path[0]), str_from(bad[i])};
        struct writer *w = (struct writer *)1;
        struct errctx ctx = {0};
        assert_int_equal(writer_new(sinks, 2, NULL, &w, &ctx), ERR_INVALID);
        assert_true(strstr(ctx.text, bad[i]) != NULL); /* names the sink */
        assert_ptr_equal(w, (struct writer *)1);
    }
    unlink(fifo);
    close(fd);
}

static void test_fd(void **state)
{
    (void)state;
    int p[2];
    char text[20];
    assert_int_equal(pipe(p), 0);
    snprintf(text, sizeof(text), "fd:%d", p[1]);
    struct writer *w = make(text, NULL, NULL);
    close(p[1]); /* it has its own */
    struct queue *q = writer_add_queue(w);
    assert_int_equal(writer_start(w), ERR_OK);
    for (int i = 0; i < 1000; i++)
        assert_true(queue_add(q, "0123456789\n", 11));
    UNTIL(queue_pending(q) == 0);
    writer_finish(w);
    assert_int_equal(read_fd(p[0]).n, 11000);
    close(p[0]);
}

static void test_standard_output(void **state)
{
    (void)state;
    int saved = dup(STDOUT_FILENO), fd = open(path[0], O_RDWR | O_CREAT, 0600);
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    struct writer *w = make("-", NULL, NULL);
    dup2(saved, STDOUT_FILENO);
    assert_true(queue_add(writer_add_queue(w), "to stdout\n", 10));
    writer_finish(w);
    close(fd);
    close(saved);
    assert_str(read_file(path[0]), "to stdout\n");
}

static void test_no_sinks(void **state)
{
    (void)state;
    struct writer *w = make(NULL, NULL, NULL);
    struct queue *q = writer_add_queue(w);
    assert_false(writer_has_sinks(w));
    assert_int_equal(writer_start(w), ERR_OK);
    for (int i = 0; i < 1000; i++)
        assert_true(queue_add(q, "x\n", 2));
    UNTIL(queue_pending(q) == 0);
    assert_false(writer_failing(w));
    writer_finish(w);
}

static void pass_time(int turn)
{
    (void)turn;
    fake_clock_add(100000000);
}

/* A pipe that nobody reads: the other sink has everything at once; after 4 MiB and 5 s it counts as
 * failing and holds nothing back; once it is read, it says how much it missed, and no line is torn.
 */
static void test_unread_pipe(void **state)
{
    (void)state;
    enum { LINES = 60000, LINE = 101 };
    int p[2];
    char text[20], line[LINE + 1];
    memset(line, 'x', LINE);
    line[LINE - 1] = '\n';
    assert_int_equal(pipe(p), 0);
    snprintf(text, sizeof(text), "fd:%d", p[1]);
    struct writer *w = make(text, path[0], path[1]);
    close(p[1]);
    log_into(w);
    struct queue *q = writer_add_queue(w);
    assert_int_equal(writer_start(w), ERR_OK);
    for (int i = 0; i < LINES; i++)
        assert_true(queue_add(q, line, LINE));
    struct stat st;
    UNTIL(stat(path[0], &st) == 0 && st.st_size == LINES * LINE);
    assert_true(queue_pending(q) > LIMIT_AUDIT_HIGH_BYTES);
    assert_false(writer_failing(w));
    wait_ms(50);
    fake_clock_add(UINT64_C(1000000) * LIMIT_AUDIT_HOLD_MS);
    UNTIL(writer_failing(w) && queue_pending(q) == 0);
    uint64_t lost = writer_lost(w);
    assert_true(lost > LINES / 2 && lost < LINES);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    struct str s;
    char want[50];
    snprintf(want, sizeof(want), "\"event\":\"sink_failed\",\"count\":%llu}\n",
             (unsigned long long)lost);
    assert_true(read_until(p[0], want, pass_time));
    s = str_of(content, content_n);
    assert_int_equal(count(s, want), 1);
    assert_int_equal(count(s, "\n"), LINES - lost + 1);
    UNTIL(!writer_failing(w));
    assert_true(queue_add(q, "after\n", 6));
    UNTIL(queue_pending(q) == 0);
    assert_str(read_fd(p[0]), "after\n");
    assert_int_equal(writer_lost(w), lost);
    writer_finish(w);
    close(p[0]);
    s = read_file(path[1]);
    assert_true(count(s, "WARN audit sink fd:") == 2 && count(s, "too slowly") == 1 &&
                count(s, "works again") == 1);
}

static void nothing(int turn)
{
    (void)turn;
}

/* A socket cannot be opened a second time: poll and small pieces must do. Lines of two queues do
 * not mix, although the reader's pace cuts writes anywhere. */
static void test_unread_socket(void **state)
{
    (void)state;
    enum { LINES = 2000, LINE = 1501 };
    int p[2];
    char text[20], line[2][LINE + 1];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
    snprintf(text, sizeof(text), "fd:%d", p[1]);
    struct writer *w = make(text, path[0], NULL);
    struct queue *q[2] = {writer_add_queue(w), writer_add_queue(w)};
    assert_int_equal(writer_start(w), ERR_OK);
    for (int i = 0; i < 2 * LINES; i++) {
        memset(line[i % 2], i % 2 ? 'b' : 'a', LINE);
        line[i % 2][LINE - 1] = '\n';
        assert_true(queue_add(q[i % 2], line[i % 2], LINE));
    }
    struct stat st;
    UNTIL(stat(path[0], &st) == 0 && st.st_size == 2 * LINES * LINE);
    assert_true(queue_pending(q[0]) + queue_pending(q[1]) > LINES * LINE);
    assert_false(writer_failing(w));
    assert_true(queue_add(q[0], "end a\n", 6));
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    assert_true(read_until(p[0], "end a\n", nothing));
    UNTIL(queue_pending(q[1]) == 0);
    struct str s = read_more(p[0]), part;
    for (int i = 0; i < 2 * LINES + 1; i++) {
        assert_true(str_next(&s, '\n', &part));
        assert_true(part.n == LINE - 1 ? !memchr(part.p, part.p[0] ^ 3, part.n)
                                       : str_eq(part, STR("end a")));
    }
    assert_int_equal(s.n, 0);
    close(p[0]);
    close(p[1]);
    writer_finish(w);
}

static void test_dev_full(void **state)
{
    (void)state;
    struct writer *w = make("/dev/full", path[0], path[1]);
    log_into(w);
    struct queue *q = writer_add_queue(w);
    assert_int_equal(writer_start(w), ERR_OK);
    for (int i = 0; i < 20; i++) {
        assert_true(queue_add(q, "record\n", 7));
        UNTIL(queue_pending(q) == 0);
    }
    assert_true(writer_failing(w));
    assert_int_equal(writer_lost(w), 20);
    atomic_fetch_add(&wall_now, 60000);
    assert_true(queue_add(q, "record\n", 7));
    UNTIL(queue_pending(q) == 0);
    writer_finish(w);
    assert_int_equal(count(read_file(path[0]), "record\n"), 21);
    struct str s = read_file(path[1]); /* once a minute, and at the end */
    assert_int_equal(count(s, "WARN audit sink /dev/full fails: No space left on device"), 2);
    assert_int_equal(count(s, "ERROR audit sink /dev/full: 21 records"), 1);
}

/* A FIFO whose reader leaves and comes back, in the middle of a long line. */
static void test_reader_comes_back(void **state)
{
    (void)state;
    static char line[200000];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    assert_int_equal(mkfifo(path[0], 0600), 0);
    int fd = open(path[0], O_RDONLY | O_NONBLOCK);
    struct writer *w = make(path[0], NULL, NULL);
    struct queue *a = writer_add_queue(w), *b = writer_add_queue(w);
    assert_int_equal(writer_start(w), ERR_OK);
    assert_true(queue_add(a, line, sizeof(line)));
    wait_ms(50);
    assert_true(queue_add(b, "other\n", 6)); /* must not get into the long line */
    assert_true(queue_add(a, "behind\n", 7));
    size_t got = 0;
    while (got < 70000) {
        char piece[1000];
        ssize_t n = read(fd, piece, sizeof(piece));
        got += n > 0 ? (size_t)n : 0;
        assert_true(n <= 0 || !memchr(piece, 'o', (size_t)n));
    }
    close(fd);
    UNTIL(writer_failing(w));
    assert_int_equal(writer_lost(w), 3);
    assert_true(queue_add(a, "missed\n", 7));
    UNTIL(writer_lost(w) == 4);
    fd = open(path[0], O_RDONLY | O_NONBLOCK);
    UNTIL(!writer_failing(w));
    assert_true(queue_add(a, "again\n", 6));
    UNTIL(queue_pending(a) == 0);
    struct str s = read_fd(fd);
    s.p += strspn(s.p, "x"), s.n = strlen(s.p); /* what the pipe still held of the long line */
    assert_true(str_starts(s, STR("\n{\"type\":\"lifecycle\"")));
    assert_true(str_ends(s, STR("\"count\":4}\nagain\n")));
    close(fd);
    writer_finish(w);
}

static void test_reopen(void **state)
{
    (void)state;
    char old[2][80];
    struct writer *w = make(path[0], NULL, path[1]);
    log_into(w);
    struct queue *q = writer_add_queue(w);
    assert_int_equal(writer_start(w), ERR_OK);
    assert_true(queue_add(q, "one\n", 4));
    log_error("first");
    UNTIL(queue_pending(q) == 0 && count(read_file(path[1]), "first") == 1);
    for (int i = 0; i < 2; i++) {
        snprintf(old[i], sizeof(old[i]), "%.69s.old", path[i]);
        assert_int_equal(rename(path[i], old[i]), 0);
    }
    writer_reopen(w);
    UNTIL(access(path[0], F_OK) == 0 && access(path[1], F_OK) == 0);
    assert_true(queue_add(q, "two\n", 4));
    log_error("second");
    writer_finish(w);
    assert_str(read_file(old[0]), "one\n");
    assert_str(read_file(path[0]), "two\n");
    assert_int_equal(count(read_file(old[1]), "ERROR first\n"), 1);
    assert_int_equal(count(read_file(path[1]), "ERROR second\n"), 1);
}

static void *log_much(void *arg)
{
    for (int i = 0; i < 20000; i++)
        log_error("%s: %0150d", (const char *)arg, i);
    return NULL;
}

static void say_more(int turn)
{
    if (turn % 100 == 99)
        log_error("more");
}

/* A stderr that nobody reads stops neither who logs, nor the audit, nor the exit. */
static void test_unread_stderr(void **state)
{
    (void)state;
    int p[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(p), 0);
    dup2(p[1], STDERR_FILENO);
    struct writer *w = make(path[0], NULL, NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    log_into(w);
    struct queue *q = writer_add_queue(w);
    assert_int_equal(writer_start(w), ERR_OK);
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, log_much, i ? "second" : "first"), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    assert_true(queue_add(q, "record\n", 7));
    UNTIL(queue_pending(q) == 0);
    assert_false(writer_failing(w));
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    assert_true(
        read_until(p[0], "log lines were dropped: stderr", say_more)); /* now somebody does */
    size_t lines = count(str_of(content, content_n), "\n");
    assert_true(lines > 5000 && lines < 39000);
    assert_int_equal(fcntl(p[1], F_GETFL) & O_NONBLOCK,
                     0); /* the shared description is as it was */
    log_much("third");   /* and nobody again */
    double begin = seconds();
    writer_finish(w);
    assert_true(seconds() - begin < 2.5 + LIMIT_AUDIT_EXIT_MS / 1000.0);
    assert_str(read_file(path[0]), "record\n");
    close(p[0]);
    close(p[1]);
}

/* An exit with a sink that nobody reads ends in time, and says what was lost. */
static void test_exit_in_time(void **state)
{
    (void)state;
    static char line[1000];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    int p[2];
    char text[20];
    assert_int_equal(pipe(p), 0);
    snprintf(text, sizeof(text), "fd:%d", p[1]);
    struct writer *w = make(text, NULL, path[1]);
    log_into(w);
    struct queue *q = writer_add_queue(w);
    assert_int_equal(writer_start(w), ERR_OK);
    for (int i = 0; i < 1000; i++)
        assert_true(queue_add(q, line, sizeof(line)));
    double begin = seconds();
    writer_finish(w);
    assert_true(seconds() - begin < 2.0 + LIMIT_AUDIT_EXIT_MS / 1000.0);
    assert_int_equal(count(read_file(path[1]), "records could not be written before the exit\n"),
                     1);
    close(p[0]);
    close(p[1]);
}

static void test_log_file_unusable(void **state)
{
    (void)state;
    int p[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(p), 0);
    dup2(p[1], STDERR_FILENO);
    struct writer *w = make(NULL, NULL, "/no/such/dir/log");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(p[1]);
    log_into(w);
    log_error("line");
    writer_finish(w);
    struct str s = read_fd(p[0]);
    assert_true(count(s, "cannot open /no/such/dir/log: No such file or directory") == 1);
    assert_true(str_ends(s, STR("ERROR line\n")));
    close(p[0]);
}

static void test_no_memory(void **state)
{
    (void)state;
    bool done = false;
    int64_t n = 0;
    for (; !done && n < 40; n++) {
        struct str sink = str_from(path[0]);
        struct errctx ctx = {0};
        struct writer *w = NULL;
        mem_fail_after(n, false);
        enum err e = writer_new(&sink, 1, NULL, &w, &ctx);
        struct queue *q = w ? writer_add_queue(w) : NULL;
        mem_fail_after(-1, false);
        assert_true(e == ERR_OK || (e == ERR_NOMEM && !w));
        done = q != NULL;
        writer_finish(w);
    }
    assert_true(done && n > 8);
}

static long switches(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_nvcsw;
}

/* With nothing to do it sleeps; a line, a log line, a wish to reopen and the end wake it. */
static void test_sleeps_and_wakes(void **state)
{
    (void)state;
    char old[80];
    struct writer *w = make(path[0], NULL, path[1]);
    struct queue *q = writer_add_queue(w);
    assert_int_equal(writer_start(w), ERR_OK);
    assert_true(queue_add(q, "first\n", 6));
    UNTIL(queue_pending(q) == 0);
    wait_ms(400);
    long before = switches();
    wait_ms(1000); /* 200 looks if it did not sleep */
    assert_in_range(switches() - before, 0, 60);
    assert_false(writer_failing(w));
    assert_true(queue_add(q, "second\n", 7));
    UNTIL(queue_pending(q) == 0);
    wait_ms(400);
    log_into(w);
    log_error("a line");
    UNTIL(count(read_file(path[1]), "a line") == 1);
    wait_ms(400);
    snprintf(old, sizeof(old), "%.69s.old", path[0]);
    assert_int_equal(rename(path[0], old), 0);
    writer_reopen(w);
    UNTIL(access(path[0], F_OK) == 0);
    wait_ms(400);
    struct queue *late = writer_add_queue(w); /* while it sleeps */
    assert_true(queue_add(late, "third\n", 6));
    UNTIL(queue_pending(late) == 0);
    wait_ms(400);
    double start = seconds();
    writer_finish(w);
    assert_true(seconds() - start < 5);
    assert_true(str_eq(read_file(path[0]), STR("third\n")));
}

enum { PULSES = 40 };

static void *pulse(void *arg)
{
    struct queue *q = arg;
    for (int i = 0; i < PULSES; i++) {
        if (!queue_add(q, "pulse\n", 6))
            break;
        wait_ms(90 + i % 40); /* around the moment when it goes to sleep */
    }
    return NULL;
}

/* No line is left lying, whatever the moment it comes at: for every one of several queues whose
 * pauses are about as long as the writer waits before it sleeps. */
static void test_no_wake_is_lost(void **state)
{
    (void)state;
    pthread_t t[4];
    struct queue *q[4];
    struct writer *w = make(path[0], NULL, NULL);
    assert_int_equal(writer_start(w), ERR_OK);
    for (int i = 0; i < 4; i++)
        assert_non_null(q[i] = writer_add_queue(w));
    for (int i = 0; i < 40; i++) { /* one at a time: nobody else wakes it */
        assert_true(queue_add(q[0], "pulse\n", 6));
        UNTIL(queue_pending(q[0]) == 0);
        wait_ms(95 + i % 20);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, pulse, q[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++)
        UNTIL(queue_pending(q[i]) == 0);
    writer_finish(w);
    assert_int_equal(count(read_file(path[0]), "pulse\n"), 40 + 4 * PULSES);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_files),
        CASE(test_bad_sinks),
        CASE(test_fd),
        CASE(test_standard_output),
        CASE(test_no_sinks),
        CASE(test_unread_pipe),
        CASE(test_unread_socket),
        CASE(test_dev_full),
        CASE(test_reader_comes_back),
        CASE(test_reopen),
        CASE(test_unread_stderr),
        CASE(test_exit_in_time),
        CASE(test_log_file_unusable),
        CASE(test_no_memory),
        CASE(test_sleeps_and_wakes),
        CASE(test_no_wake_is_lost),
    };
    signal(SIGPIPE, SIG_IGN); /* as main does */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(content);
    return failed;
}
