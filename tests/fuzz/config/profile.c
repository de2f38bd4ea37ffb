/* A profile file from anywhere, through all of the loader: it is refused with sentences in visible
 * ASCII that each say what is wrong, or taken, and then it holds together. */
#include "base/mem.h"
#include "config/platform.h"
#include "config/resolve.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static int file = -1;
static char path[64];

static void write_file(const uint8_t *p, size_t n)
{
    if (file < 0) {
        file = memfd_create("profile.json", MFD_CLOEXEC);
        CHECK(file >= 0);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    CHECK(ftruncate(file, 0) == 0);
    CHECK(pwrite(file, p, n, 0) == (ssize_t)n);
}

static void check_report(const struct resolve *r)
{
    struct buf out;
    size_t lines = 0;
    buf_init(&out, 64 << 20);
    resolve_report(r, false, &out);
    CHECK(buf_ok(&out));
    for (size_t i = 0; i < out.n; i++) {
        lines += out.p[i] == '\n';
        CHECK(out.p[i] == '\n' || (out.p[i] >= ' ' && out.p[i] < 0x7f));
    }
    CHECK(lines == r->problems.errors);
    buf_fini(&out);
}

static void check_places(const struct problems *p)
{
    for (size_t i = 0; i < p->n; i++) {
        CHECK(p->v[i].message.n > 0);
        CHECK(p->v[i].at.line == 0 || p->v[i].at.column > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const struct platform platform = {.os = "linux", .id = "debian", .version_id = "12"};
    static const struct profile_env env = {.platform = &platform}; /* no user profiles */
    struct config flags, config;
    struct resolve r;
    static bool ready, locked;
    if (!ready)
        secret_region_init(&locked);
    ready = true;
    write_file(p, n);
    config_init(&flags);
    CHECK(setting_set(&flags.profile, str_from(path), STR("--profile")));
    enum err e = resolve_config(&flags, &env, &r, &config);
    CHECK(e == ERR_OK || e == ERR_INVALID);
    CHECK((e == ERR_OK) || r.problems.errors > 0);
    check_report(&r);
    check_places(&r.problems);
    if (!e) {
        CHECK(config_hash(&config) == config_hash(&config));
        for (size_t i = 0; i < config.gates.n; i++)
            CHECK(config.gates.v[i].endpoints.n > 0 && config.gates.v[i].origin.n > 0);
        config_fini(&config);
    }
    resolve_fini(&r);
    config_fini(&flags);
    return 0;
}
