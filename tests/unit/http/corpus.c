#include "corpus.h"
#include "base/mem.h"
#include <stdio.h>

enum { CASE_BYTES = 1 << 20 };

static int hex(char c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* After a backslash; the number of characters used, 0 when unknown. */
static size_t unescape(struct str s, struct buf *out)
{
    static const char plain[] = "r\rn\nt\t\\\\\"\"";

    if (!s.n)
        return 0;
    for (size_t i = 0; i + 1 < sizeof(plain); i += 2)
        if (s.p[0] == plain[i])
            return buf_add_c(out, plain[i + 1]), 1;
    if (s.p[0] == '0')
        return buf_add_c(out, '\0'), 1;
    if (s.p[0] != 'x' || s.n < 3 || hex(s.p[1]) < 0 || hex(s.p[2]) < 0)
        return 0;
    return buf_add_c(out, (char)(hex(s.p[1]) << 4 | hex(s.p[2]))), 3;
}

/* "…" from its first quote to the end of the line. */
static bool quoted(struct str s, struct buf *out)
{
    if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
        return false;
    for (size_t i = 1; i < s.n - 1; i++) {
        if (s.p[i] != '\\') {
            buf_add_c(out, s.p[i]);
            continue;
        }
        size_t used = unescape(str_of(s.p + i + 1, s.n - 2 - i), out);
        if (!used)
            return false;
        i += used;
    }
    return true;
}

static bool repeated(struct str s, struct buf *out)
{
    size_t space = str_find(s, ' ');
    struct buf piece;
    uint64_t times;

    if (space == s.n || !str_u64(str_of(s.p, space), CASE_BYTES, &times))
        return false;
    buf_init(&piece, CASE_BYTES);
    bool ok = quoted(str_of(s.p + space + 1, s.n - space - 1), &piece);
    for (uint64_t i = 0; ok && i < times; i++)
        buf_add_str(out, buf_str(&piece));
    buf_fini(&piece);
    return ok;
}

static void case_init(struct corpus_case *c, const char *file)
{
    memset(c, 0, sizeof(*c));
    c->file = file;
    buf_init(&c->name, CASE_BYTES);
    buf_init(&c->method, CASE_BYTES);
    buf_init(&c->message, CASE_BYTES);
    buf_init(&c->expect, CASE_BYTES);
    buf_init(&c->writes, CASE_BYTES);
}

static void case_fini(struct corpus_case *c)
{
    buf_fini(&c->name);
    buf_fini(&c->method);
    buf_fini(&c->message);
    buf_fini(&c->expect);
    buf_fini(&c->writes);
}

static struct str after(struct str s, size_t n)
{
    return str_trim(str_of(s.p + n, s.n - n));
}

static bool case_line(struct corpus_case *c, struct str s)
{
    if (s.p[0] == '"')
        return quoted(s, &c->message);
    if (str_starts(s, STR("repeat ")))
        return repeated(after(s, 7), &c->message);
    if (str_starts(s, STR("method ")))
        return buf_add_str(&c->method, after(s, 7)), true;
    if (str_starts(s, STR("expect ")) && !c->expect.n)
        return buf_add_str(&c->expect, after(s, 7)), true;
    if (str_starts(s, STR("writes "))) {
        c->has_writes = true;
        return quoted(after(s, 7), &c->writes);
    }
    return false;
}

struct loader {
    struct corpus_case one;
    corpus_fn *each;
    void *owner;
    int cases;
    bool open;
};

static bool finish(struct loader *l)
{
    if (!l->open)
        return true;
    if (!l->one.expect.n)
        return false;
    l->cases++;
    l->each(l->owner, &l->one);
    case_fini(&l->one);
    l->open = false;
    return true;
}

static bool line(struct loader *l, const char *file, int number, struct str s)
{
    if (!s.n || s.p[0] == '#')
        return true;
    if (!str_starts(s, STR("case ")))
        return l->open && case_line(&l->one, s);
    if (!finish(l))
        return false;
    case_init(&l->one, file);
    l->one.line = number;
    l->open = true;
    buf_add_str(&l->one.name, after(s, 5));
    return true;
}

int corpus_load(const char *path, corpus_fn *each, void *owner)
{
    struct loader l = {.each = each, .owner = owner};
    static char text[65536];
    int number = 0;
    bool ok = true;

    FILE *f = fopen(path, "r");
    if (!f)
        return fprintf(stderr, "cannot open %s\n", path), -1;
    while (ok && fgets(text, sizeof(text), f))
        ok = line(&l, path, ++number, str_of(text, strcspn(text, "\r\n")));
    fclose(f);
    ok = ok && finish(&l);
    if (l.open)
        case_fini(&l.one);
    return ok ? l.cases : (fprintf(stderr, "%s:%d: malformed case\n", path, number), -1);
}
