#include "config/platform.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif
#include "config/platform_int.h"

/* --- this system --- */

static void keep(char *to, size_t size, struct str value)
{
    if (value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\'') &&
        value.p[value.n - 1] == value.p[0])
        value = str_of(value.p + 1, value.n - 2);
    snprintf(to, size, "%.*s", STR_ARG(value));
}

void platform_os_release(struct platform *p, struct str text)
{
    struct str line, name;
    while (str_next(&text, '\n', &line)) {
        line = str_trim(line);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (!str_next(&line, '=', &name) || !line.p)
            continue;
        if (str_eq(name, STR("ID")))
            keep(p->id, sizeof(p->id), line);
        else if (str_eq(name, STR("ID_LIKE")))
            keep(p->id_like, sizeof(p->id_like), line);
        else if (str_eq(name, STR("VERSION_ID")))
            keep(p->version_id, sizeof(p->version_id), line);
        else if (str_eq(name, STR("VARIANT_ID")))
            keep(p->variant_id, sizeof(p->variant_id), line);
    }
}

#ifdef __APPLE__
void platform_read(struct platform *ret_platform)
{
    struct platform p = {.os = "macos"};
    size_t n = sizeof(p.macos_version);
    if (sysctlbyname("kern.osproductversion", p.macos_version, &n, NULL, 0) != 0)
        p.macos_version[0] = '\0';
    p.macos_version[sizeof(p.macos_version) - 1] = '\0';
    *ret_platform = p;
}
#else
static size_t read_text(const char *path, char *to, size_t size)
{
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : 1;
    while (got > 0 && n < size) {
        got = read(fd, to + n, size - n);
        if (got > 0)
            n += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    if (fd >= 0)
        close(fd);
    return n;
}

void platform_read(struct platform *ret_platform)
{
    struct platform p = {.os = "linux"};
    char text[16 * 1024];
    size_t n = read_text("/etc/os-release", text, sizeof(text));
    if (!n)
        n = read_text("/usr/lib/os-release", text, sizeof(text));
    platform_os_release(&p, str_of(text, n));
    *ret_platform = p;
}
#endif

/* --- versions --- */

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

/* Parts pairwise, as numbers where both are; parts that differ otherwise count as less. */
static int version_order(struct str a, struct str b)
{
    struct str x, y;
    for (;;) {
        bool more_a = str_next(&a, '.', &x), more_b = str_next(&b, '.', &y);
        uint64_t m, n;
        if (!more_a || !more_b)
            return more_a - more_b;
        if (str_u64(x, UINT64_MAX, &m) && str_u64(y, UINT64_MAX, &n)) {
            if (m != n)
                return m < n ? -1 : 1;
        } else if (!str_eq(x, y)) {
            return -1;
        }
    }
}

struct version {
    char op; /* '=', 'g' (>=), 'l' (<=), '>', '<' */
    struct str text;
};

static struct version version_split(struct str s)
{
    static const struct {
        struct str text;
        char op;
    } ops[] = {{STR("=="), '='}, {STR(">="), 'g'}, {STR("<="), 'l'}, {STR(">"), '>'}, {STR("<"), '<'}};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (str_starts(s, ops[i].text))
            return (struct version){
                ops[i].op, str_of(s.p + ops[i].text.n, s.n - ops[i].text.n)};
    return (struct version){'=', s};
}

static bool version_fits(struct str wanted, const char *have)
{
    struct version v = version_split(wanted);
    if (!have[0])
        return false;
    int order = sign(version_order(str_from(have), v.text));
    switch (v.op) {
    case 'g':
        return order >= 0;
    case 'l':
        return order <= 0;
    case '>':
        return order > 0;
    case '<':
        return order < 0;
    default:
        return order == 0;
    }
}

/* --- predicates --- */

static bool segment_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '_' && c != '.' && c != '-')
            return false;
    }
    return s.n > 0;
}

static bool id_fits(const struct platform *p, struct str id)
{
    struct str words = str_from(p->id_like), one;
    if (!str_ends(id, STR("-like")))
        return str_eq(id, str_from(p->id));
    id.n -= 5;
    if (!id.n)
        return false;
    if (str_eq(id, str_from(p->id)))
        return true;
    while (str_next(&words, ' ', &one))
        if (str_eq(one, id))
            return true;
    return false;
}

enum { PARTS_MAX = 4 };

static enum err wrong(struct errctx *ctx, struct str predicate, const char *what)
{
    return err_set(ctx, ERR_INVALID, "\"%.*s\" is no predicate: %s",
        (int)(predicate.n > 60 ? 60 : predicate.n), predicate.n ? predicate.p : "", what);
}

/* Pieces between colons; how many may follow an operating system, and which of them is a version,
 * depends on it. */
static bool split(struct str predicate, struct str text, struct str part[PARTS_MAX], size_t *ret_n,
    struct errctx *ctx)
{
    static const struct {
        struct str os;
        size_t max, version; /* version: bit per part */
    } systems[] = {{STR("linux"), 4, 1 << 2}, {STR("macos"), 2, 1 << 1},
        {STR("windows"), 3, 1 << 1 | 1 << 2}};
    size_t max = PARTS_MAX, versions = 0, n = 0;
    for (struct str piece; str_next(&text, ':', &piece); n++) {
        for (size_t i = 0; n == 0 && i < ARRAY_LEN(systems); i++)
            if (str_eq(piece, systems[i].os)) {
                max = systems[i].max;
                versions = systems[i].version;
            }
        if (n == max)
            return wrong(ctx, predicate, "it has too many parts"), false;
        struct str name = versions >> n & 1 ? version_split(piece).text : piece;
        if (!segment_ok(name))
            return wrong(ctx, predicate,
                       name.n ? "a part holds more than letters, digits, '_', '.' and '-'"
                               : "a part is empty"),
                   false;
        part[n] = piece;
    }
    *ret_n = n;
    return n > 0 || (wrong(ctx, predicate, "it is empty"), false);
}

static bool fits(const struct platform *p, const struct str *part, size_t n)
{
    if (!str_eq(part[0], str_from(p->os)))
        return false;
    if (str_eq(part[0], STR("linux")))
        return (n < 2 || id_fits(p, part[1])) && (n < 3 || version_fits(part[2], p->version_id)) &&
               (n < 4 || str_eq(part[3], str_from(p->variant_id)));
    if (str_eq(part[0], STR("macos")))
        return n < 2 || version_fits(part[1], p->macos_version);
    return n == 1;
}

bool platform_when(const struct platform *p, struct str predicate, bool *ret_true,
    struct errctx *ctx)
{
    bool negated = predicate.n && predicate.p[0] == '!';
    struct str text = negated ? str_of(predicate.p + 1, predicate.n - 1) : predicate;
    struct str part[PARTS_MAX] = {0};
    size_t n;
    if (!split(predicate, text, part, &n, ctx))
        return false;
    *ret_true = fits(p, part, n) != negated;
    return true;
}
