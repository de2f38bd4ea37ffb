/* Secrets of the worlds: where they come from, how they change, and who may see them. */
#include "worlds.h"
#include "sys/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void key_text(const struct key *k, char *text, size_t n)
{
    snprintf(text, n, SECRET_MARK "%u-%u-", k->source, k->stored);
}

/* --- sources --- */

static bool on_file(void *owner, const char *path, char *ret_text, size_t size)
{
    struct world *w = owner;
    unsigned source = 0;
    if (sscanf(path, "/world/key-%u", &source) != 1 || source >= SOURCES || source == ROUTE_HELPED)
        broken(w, "another file was read", path), source = 0;
    const struct key *k = &w->keys[source];
    if (k->missing)
        return false;
    key_text(k, ret_text, size);
    return true;
}

static void no_secret_in(struct world *w, char *const *texts, const char *where)
{
    for (; *texts; texts++)
        if (strstr(*texts, TOKEN) || strstr(*texts, SECRET_MARK))
            broken(w, "a secret went to a helper", where);
}

static void on_child(void *owner, char *const *argv, char *const *envp, struct sim_child_reply *r)
{
    struct world *w = owner;
    const struct key *k = &w->keys[ROUTE_HELPED];
    no_secret_in(w, argv, "argv");
    no_secret_in(w, envp, "environment");
    if (sim_children())
        broken(w, "two helpers run for one credential", "");
    w->helper_runs++;
    *r = (struct sim_child_reply){.delay_ms = sim_below(3000)};
    key_text(k, r->out, sizeof r->out);
    if (w->calm || sim_chance(800))
        return;
    switch (sim_below(5)) {
    case 0:
        r->delay_ms = UINT64_MAX;
        break;
    case 1:
        r->status = 1;
        snprintf(r->err, sizeof r->err, "no: %.100s", r->out);
        break;
    case 2:
        strcat(r->out, "\r\nX-Evil: 1");
        break;
    case 3:
        r->out[0] = 0;
        break;
    default:
        r->delay_ms = 4900 + sim_below(200);
        break;
    }
}

/* --- rotation --- */

static void stop_old(void *owner)
{
    struct key *k = owner;
    k->least = k->stored;
}

/* The new version is at its source first, or (never in a calm world) the upstream forgets the old one first. */
static void store_new(void *owner)
{
    struct key *k = owner;
    k->stored++;
    k->missing = false;
    sim_file_changed();
    sim_after(sim_below(3000) * NS_PER_MS, stop_old, k);
}

static void forget_early(void *owner)
{
    struct key *k = owner;
    k->least = k->stored + 1;
}

static void lose(void *owner)
{
    struct key *k = owner;
    k->missing = true;
    sim_file_changed();
}

void keys_begin(struct world *w)
{
    sim_on_file(on_file, w);
    sim_on_child(on_child, w);
    for (unsigned i = 0; i < SOURCES; i++) {
        struct key *k = &w->keys[i];
        uint64_t at = sim_below(6000) * NS_PER_MS;
        *k = (struct key){.world = w, .source = i, .stored = 1, .least = 1};
        if (sim_chance(600))
            sim_after(at, store_new, k);
        if (w->calm)
            continue;
        k->missing = sim_chance(100);
        if (sim_chance(100))
            sim_after(at / 2, forget_early, k);
        if (sim_chance(100))
            sim_after(at / 3, lose, k);
        if (sim_chance(200))
            sim_after(at + sim_below(4000) * NS_PER_MS, store_new, k);
    }
}

/* --- who may see them --- */

void key_absent(struct world *w, struct str bytes, const char *where)
{
    if (bytes.n && memmem(bytes.p, bytes.n, SECRET_MARK, sizeof SECRET_MARK - 1))
        broken(w, "a secret is where none may be", where);
}

/* The one secret of a head: from where, which version. False: there is none. */
static bool read_secret(struct world *w, struct str head, unsigned *ret_source,
                        unsigned *ret_version)
{
    const size_t mark = sizeof SECRET_MARK - 1;
    const char *at = memmem(head.p, head.n, SECRET_MARK, mark), *end = head.p + head.n;
    if (!at)
        return false;
    if (memmem(at + mark, (size_t)(end - at) - mark, SECRET_MARK, mark))
        broken(w, "two secrets in one head", "");
    char text[32] = "";
    size_t n = (size_t)(end - at) - mark;
    memcpy(text, at + mark, n < sizeof text - 1 ? n : sizeof text - 1);
    return sscanf(text, "%u-%u-", ret_source, ret_version) == 2;
}

bool key_taken(struct world *w, int route, unsigned tag, struct str head)
{
    unsigned of = 0, version = 0;
    bool has = read_secret(w, head, &of, &version);
    struct str field = wire_field(head, route != ROUTE_HELPED ? "authorization" : "x-api-key");
    struct str other = wire_field(head, route != ROUTE_HELPED ? "x-api-key" : "authorization");
    if (route < 0) {
        if (has)
            broken(w, "a secret went to another origin", "");
        return true;
    }
    w->keyed++;
    if (!has || !memmem(field.p, field.n, SECRET_MARK, sizeof SECRET_MARK - 1))
        broken(w, "a route's request came without its secret", "");
    else if (of >= SOURCES || (of != (unsigned)route && !(route == ROUTE_FILED && of == SOURCE_OTHER)))
        broken(w, "a secret went to another route's upstream", "");
    else if (!law_has_source(w, tag, of))
        broken(w, "a secret is used that a reload took away", "");
    of = of < SOURCES ? of : 0;
    if (other.n)
        broken(w, "the client's own credential went upstream", "");
    if (version > w->keys[of].stored)
        broken(w, "a secret that never was", "");
    bool good = version >= w->keys[of].least;
    w->refused_keys += !good;
    return good;
}
