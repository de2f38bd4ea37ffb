/* What belongs to the process: random bytes, cores, notification, jobs, signals, hardening. */
#include "sys/harden.h"
#include "sys/jobs.h"
#include "sys/notify.h"
#include "sys/random.h"
#include "sys/signals.h"
#include "sys/sys_int.h"
#include "sys/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* --- random --- */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum { DRAWS = 20000, DRAWERS = 3 };
static uint64_t drawn[DRAWERS * DRAWS];

static void draw_many(void *arg)
{
    uint64_t *at = arg;
    for (unsigned i = 0; i < DRAWS; i++)
        at[i] = random_u64();
}

static void random_numbers_differ(void **state)
{
    (void)state;
    struct thread *threads[DRAWERS];
    for (unsigned i = 0; i < DRAWERS; i++)
        assert_int_equal(thread_start("draw", draw_many, drawn + i * DRAWS, &threads[i]), ERR_OK);
    for (unsigned i = 0; i < DRAWERS; i++)
        thread_join(threads[i]);
    qsort(drawn, DRAWERS * DRAWS, sizeof(drawn[0]), compare);
    for (unsigned i = 1; i < DRAWERS * DRAWS; i++)
        assert_true(drawn[i] != drawn[i - 1]);
}

static void random_bytes_fill_exactly(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 600; n += n < 40 ? 1 : 40) {
        unsigned char buf[640], all[640] = {0};
        for (unsigned round = 0; round < 40; round++) {
            memset(buf, 0, sizeof(buf));
            random_bytes(buf, n);
            for (size_t i = 0; i < sizeof(buf); i++)
                all[i] |= buf[i];
        }
        for (size_t i = 0; i < sizeof(buf); i++) /* 2^-320 that a byte stays 0 */
            assert_true((all[i] != 0) == (i < n));
    }
}

/* --- cores --- */

static char root[64];

static void put(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static unsigned quota(const char *membership)
{
    char path[256];
    put("membership", membership);
    (void)snprintf(path, sizeof(path), "%s/membership", root);
    return thread_quota_cores(path, root);
}

static void quotas_of_both_hierarchies(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/nono-cores-XXXXXX");
    assert_non_null(mkdtemp(root));
    put("a/b/cpu.max", "150000 100000\n");
    put("a/cpu.max", "max 100000\n");
    put("c/cpu.max", "400000 100000\n");
    put("c/d/cpu.max", "max 100000\n");
    put("e/cpu.max", "rubbish\n");
    put("cpu/x/cpu.cfs_quota_us", "250000\n");
    put("cpu/x/cpu.cfs_period_us", "100000\n");
    put("cpu/x/y/cpu.cfs_quota_us", "-1\n");
    put("cpu/x/y/cpu.cfs_period_us", "100000\n");
    static const struct {
        const char *membership;
        unsigned cores;
    } rows[] = {
        {"0::/a/b\n", 2},
        {"0::/a\n", 0},
        {"0::/c/d\n", 4}, /* the quota of the group above */
        {"0::/\n", 0},
        {"0::/e\n", 0},
        {"0::/elsewhere/not/here\n", 0},
        {"7:memory:/a\n3:cpu,cpuacct:/x/y\n", 3},
        {"7:memory:/x\n3:cpuset:/x\n", 0},
        {"3:cpu:/x\n0::/a/b", 2},
        {"", 0},
        {"no colons\n:\n::\n", 0},
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(quota(rows[i].membership), rows[i].cores);
    put("cpu.max", "50000 100000\n"); /* inside a container only the root is there */
    assert_int_equal(quota("0::/docker/abc\n"), 1);
    assert_int_equal(thread_quota_cores("/nonexistent", root), 0);
    char command[96];
    (void)snprintf(command, sizeof(command), "rm -r %s", root);
    assert_int_equal(system(command), 0);
    assert_in_range(thread_usable_cores(), 1, 4096);
}

/* --- threads --- */

static void look_at_thread(void *arg)
{
    sigset_t blocked;
    char name[16];
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    assert_true(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGPIPE));
    assert_int_equal(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
    assert_string_equal(name, "a-name-of-too-m"); /* cut */
    *(bool *)arg = true;
}

static void threads_block_signals(void **state)
{
    (void)state;
    bool ran = false;
    struct thread *t;
    sigset_t blocked;
    assert_int_equal(thread_start("a-name-of-too-many", look_at_thread, &ran, &t), ERR_OK);
    thread_join(t);
    assert_true(ran);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    assert_false(sigismember(&blocked, SIGTERM)); /* ours is as before */
}

/* --- systemd --- */

static void receive_notification(struct sockaddr_un *at, socklen_t len, const char *variable)
{
    char buf[64];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)at, len), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", variable, 1), 0);
    notify_send("READY=1");
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    assert_int_equal(n, 7);
    assert_memory_equal(buf, "READY=1", 7);
    (void)close(fd);
    notify_send("READY=1"); /* nobody listens: nothing happens */
}

static void notification(void **state)
{
    (void)state;
    char name[64];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int n = snprintf(name, sizeof(name), "/tmp/nono-notify-%d", (int)getpid());
    memcpy(at.sun_path, name, (size_t)n);
    receive_notification(&at, sizeof(at), name);
    (void)unlink(name);
    name[0] = '@';
    memcpy(at.sun_path, name, (size_t)n);
    at.sun_path[0] = '\0';
    receive_notification(&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n),
                         name);
    assert_int_equal(setenv("NOTIFY_SOCKET", "relative", 1), 0);
    notify_send("x");
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    notify_send("x");
}

static void watchdog_and_listen_variables(void **state)
{
    (void)state;
    char pid[16];
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_int_equal(notify_watchdog_ms(), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "3000000", 1), 0);
    assert_int_equal(notify_watchdog_ms(), 1500);
    assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0);
    assert_int_equal(notify_watchdog_ms(), 0);
    assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
    assert_int_equal(notify_watchdog_ms(), 1500);
    assert_int_equal(setenv("WATCHDOG_USEC", "soon", 1), 0);
    assert_int_equal(notify_watchdog_ms(), 0);
    assert_int_equal(notify_listen_fds(), 0);
    assert_int_equal(setenv("LISTEN_PID", "1", 1), 0);
    assert_int_equal(setenv("LISTEN_FDS", "2", 1), 0);
    assert_int_equal(notify_listen_fds(), 0); /* not for us, and cleared */
    assert_null(getenv("LISTEN_FDS"));
    assert_int_equal(setenv("LISTEN_PID", pid, 1), 0);
    assert_int_equal(setenv("LISTEN_FDS", "-1", 1), 0);
    assert_int_equal(notify_listen_fds(), 0);
    assert_null(getenv("LISTEN_PID"));
}

/* --- control loop --- */

struct sum {
    struct job job;
    struct loop *loop;
    unsigned value;
    unsigned *left;
};

static void work(struct job *job)
{
    CONTAINER_OF(job, struct sum, job)->value++;
}

static void done(struct job *job)
{
    struct sum *s = CONTAINER_OF(job, struct sum, job);
    loop_assert_on(s->loop);
    if (--*s->left == 0)
        loop_stop(s->loop);
}

static void jobs_come_back_to_the_loop(void **state)
{
    (void)state;
    enum { N = 20 };
    struct loop *loop;
    struct sum sums[N];
    unsigned left = N;
    assert_int_equal(loop_new_uv(&loop), ERR_OK);
    for (unsigned i = 0; i < N; i++) {
        sums[i] = (struct sum){{work, done, NULL}, loop, i, &left};
        assert_int_equal(job_start(loop, &sums[i].job), ERR_OK);
    }
    loop_run(loop);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(sums[i].value, i + 1);
    loop_free(loop);
}

static int last_signal;

static void on_signal(void *owner, int signo)
{
    last_signal = signo;
    loop_stop(owner);
}

static void signals_reach_the_loop(void **state)
{
    (void)state;
    static const int numbers[] = {SIGHUP, SIGTERM, SIGINT};
    struct loop *loop;
    struct signals *signals;
    assert_int_equal(loop_new_uv(&loop), ERR_OK);
    assert_int_equal(signals_open(loop, on_signal, loop, &signals), ERR_OK);
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
        last_signal = 0;
        assert_int_equal(kill(getpid(), numbers[i]), 0);
        loop_run(loop);
        assert_int_equal(last_signal, numbers[i]);
    }
    assert_int_equal(raise(SIGPIPE), 0);
    signals_close(signals);
    signals_close(NULL);
    loop_free(loop);
}

/* --- hardening --- */

static void hardening(void **state)
{
    (void)state;
    struct rlimit l;
    uint64_t limit = harden_raise_descriptors();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
    assert_true(l.rlim_cur == l.rlim_max && limit == l.rlim_cur);
    char arg[] = "--token=secret";
    harden_wipe_argument(arg + 8);
    assert_memory_equal(arg, "--token=\0\0\0\0\0\0", sizeof(arg));
    assert_false(harden_is_terminal(-1));
    harden_no_dumps();
    assert_int_equal(getrlimit(RLIMIT_CORE, &l), 0);
    assert_int_equal(l.rlim_max, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers_differ),
        cmocka_unit_test(random_bytes_fill_exactly),
        cmocka_unit_test(quotas_of_both_hierarchies),
        cmocka_unit_test(threads_block_signals),
        cmocka_unit_test(notification),
        cmocka_unit_test(watchdog_and_listen_variables),
        cmocka_unit_test(jobs_come_back_to_the_loop),
        cmocka_unit_test(signals_reach_the_loop),
        cmocka_unit_test(hardening), /* last: leak checkers need to be allowed to trace us */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
