#include "sys/harden.h"
#include "base/mem.h"
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

void harden_no_dumps(void)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
#ifdef __linux__
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

uint64_t harden_raise_descriptors(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return 1024;
    if (l.rlim_cur < l.rlim_max) {
        struct rlimit raised = {l.rlim_max, l.rlim_max};
#ifdef __APPLE__
        if (raised.rlim_cur > 10240) /* OPEN_MAX: more is refused */
            raised.rlim_cur = 10240;
#endif
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            l = raised;
    }
    return (uint64_t)l.rlim_cur;
}

bool harden_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

void harden_wipe_argument(char *arg)
{
    mem_wipe(arg, strlen(arg));
}
