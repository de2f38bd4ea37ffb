/* How many cores this process may keep busy. */
#include "base/str.h"
#include "sys/sys_int.h"
#include "sys/thread.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static unsigned affinity_cores(void)
{
#ifdef __linux__
    static const size_t sizes[] = {1024, 8192, 65536};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        cpu_set_t *set = CPU_ALLOC(sizes[i]);
        if (!set)
            break;
        int n = 0;
        if (sched_getaffinity(0, CPU_ALLOC_SIZE(sizes[i]), set) == 0)
            n = CPU_COUNT_S(CPU_ALLOC_SIZE(sizes[i]), set);
        CPU_FREE(set);
        if (n > 0)
            return (unsigned)n;
    }
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

/* The beginning of a small file, without its trailing line end; p NULL when it cannot be read. */
static struct str small_file(const char *path, char *buf, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return STR_NULL;
    ssize_t n = read(fd, buf, cap);
    (void)close(fd);
    if (n < 0)
        return STR_NULL;
    while (n > 0 && buf[n - 1] == '\n')
        n--;
    return str_of(buf, (size_t)n);
}

static unsigned quota_cores(struct str quota, struct str period)
{
    uint64_t q, p; /* "max" and "-1" are not numbers */
    if (!str_u64(quota, UINT64_MAX / 2, &q) || !str_u64(period, UINT64_MAX / 4, &p) || q == 0 ||
        p == 0)
        return 0;
    uint64_t n = (q + p - 1) / p;
    return n < 65536 ? (unsigned)n : 65536;
}

/* The quota written in one directory; 0: none. */
static unsigned directory_cores(const char *root, const char *controller, struct str group)
{
    char path[4200], text[64], text2[64];
    int n = snprintf(path, sizeof(path), "%s/%s%.*s", root, controller, STR_ARG(group));
    if (n < 0 || (size_t)n + 32 > sizeof(path))
        return 0;
    char *end = path + n;
    if (!*controller) {
        (void)snprintf(end, 32, "/cpu.max");
        struct str rest = small_file(path, text, sizeof(text)), quota;
        return rest.p && str_next(&rest, ' ', &quota) ? quota_cores(quota, rest) : 0;
    }
    (void)snprintf(end, 32, "/cpu.cfs_quota_us");
    struct str quota = small_file(path, text, sizeof(text));
    (void)snprintf(end, 32, "/cpu.cfs_period_us");
    struct str period = small_file(path, text2, sizeof(text2));
    return quota.p && period.p ? quota_cores(quota, period) : 0;
}

static unsigned least(unsigned a, unsigned b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

/* The group and all above it: each may have a quota. Inside a container the path may be the host's,
 * and only the root is there. */
static unsigned group_cores(const char *root, const char *controller, struct str group)
{
    unsigned cores = 0;
    while (group.n > 0 && group.p[group.n - 1] == '/')
        group.n--;
    for (;;) {
        cores = least(cores, directory_cores(root, controller, group));
        if (group.n == 0)
            return cores;
        size_t slash = str_rfind(group, '/');
        group.n = slash < group.n ? slash : 0;
    }
}

static bool has_cpu_controller(struct str list)
{
    struct str name;
    while (str_next(&list, ',', &name))
        if (str_eq(name, STR("cpu")))
            return true;
    return false;
}

unsigned thread_quota_cores(const char *membership, const char *root)
{
    char text[8192];
    struct str rest = small_file(membership, text, sizeof(text)), line;
    unsigned cores = 0;
    while (str_next(&rest, '\n', &line)) { /* "hierarchy:controllers:path" */
        struct str number, controllers;
        if (!str_next(&line, ':', &number) || !str_next(&line, ':', &controllers) || !line.p)
            continue;
        if (controllers.n == 0)
            cores = least(cores, group_cores(root, "", line));
        else if (has_cpu_controller(controllers))
            cores = least(cores, group_cores(root, "cpu", line));
    }
    return cores;
}

unsigned thread_usable_cores(void)
{
    unsigned cores = affinity_cores();
    unsigned quota = thread_quota_cores("/proc/self/cgroup", "/sys/fs/cgroup");
    return quota > 0 && quota < cores ? quota : cores;
}
