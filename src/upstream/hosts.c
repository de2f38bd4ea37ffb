#include "upstream/hosts.h"
#include "base/map.h"
#include "base/mem.h"

struct hosts {
    struct map names; /* struct host_entry */
};
struct host_entry {
    struct host_addrs addrs;
    struct address first; /* most names have one: addrs.v points here */
    struct address *more; /* owned; all of them, when there are several */
    struct str name;
    char text[];
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Cut the next word off the line; p NULL at its end. */
static struct str next_word(struct str *line)
{
    size_t a = 0, b;
    while (a < line->n && is_blank(line->p[a]))
        a++;
    for (b = a; b < line->n && !is_blank(line->p[b]); b++)
        ;
    struct str word = b > a ? str_of(line->p + a, b - a) : STR_NULL;
    *line = str_of(line->p + b, line->n - b);
    return word;
}

static struct host_entry *entry_get(struct hosts *h, const struct hostname *name)
{
    struct host_entry *e = map_get(&h->names, hostname_str(name));
    if (e)
        return e;
    e = mem_zalloc(sizeof *e + name->n);
    if (!e)
        return NULL;
    memcpy(e->text, name->text, name->n);
    e->name = str_of(e->text, name->n);
    if (!map_put(&h->names, e->name, e)) {
        mem_free(e);
        return NULL;
    }
    return e;
}

static bool entry_add(struct host_entry *e, const struct address *a)
{
    unsigned n = e->addrs.n;
    for (unsigned i = 0; i < n; i++)
        if (address_eq(&e->addrs.v[i], a))
            return true;
    if (n == LIMIT_DNS_ADDRESSES)
        return true;
    if (n == 0) {
        e->first = *a;
        e->addrs = (struct host_addrs){&e->first, 1};
        return true;
    }
    struct address *more = mem_realloc(e->more, (n + 1) * sizeof *more);
    if (!more)
        return false;
    if (n == 1)
        more[0] = e->first;
    more[n] = *a;
    e->more = more;
    e->addrs = (struct host_addrs){more, n + 1};
    return true;
}

static bool parse_line(struct hosts *h, struct str line)
{
    struct address a;
    line.n = str_find(line, '#');
    if (!address_parse(next_word(&line), &a))
        return true;
    for (struct str word = next_word(&line); word.p; word = next_word(&line)) {
        struct hostname name;
        struct errctx ignored = {0};
        if (hostname_parse(word, &name, &ignored) || name.is_address)
            continue;
        struct host_entry *e = entry_get(h, &name);
        if (!e || !entry_add(e, &a))
            return false;
    }
    return true;
}

struct hosts *hosts_parse(struct str text)
{
    struct hosts *h = mem_zalloc(sizeof *h);
    if (!h)
        return NULL;
    map_init(&h->names);
    struct str line;
    while (str_next(&text, '\n', &line)) {
        if (!parse_line(h, line)) {
            hosts_free(h);
            return NULL;
        }
    }
    return h;
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    size_t pos = 0;
    struct str name;
    void *value;
    while (map_next(&h->names, &pos, &name, &value)) {
        struct host_entry *e = value;
        mem_free(e->more);
        mem_free(e);
    }
    map_fini(&h->names);
    mem_free(h);
}

const struct host_addrs *hosts_find(const struct hosts *h, const struct hostname *name)
{
    if (!h)
        return NULL;
    const struct host_entry *e = map_get(&h->names, hostname_str(name));
    return e ? &e->addrs : NULL;
}
