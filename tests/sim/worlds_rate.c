/* The rate limit of a route against an oracle: what passes, what waits, what is refused, and when to come back. It knows from the audit
 * when each request was counted, and in what order only as far as that tells. */
#include "sys/clock.h"
#include "worlds.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of worlds.jsonc, in ms. */
enum { INTERVAL = 2000, SLACK = 2000, PATIENCE = 3000, BLUR = 2, LATE = 5000 };
static const uint64_t wall_start = 1800000000000u;

static uint64_t number_after(struct str line, const char *key)
{
    const char *at = memmem(line.p, line.n, key, strlen(key));
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static bool has(struct str line, const char *text)
{
    return memmem(line.p, line.n, text, strlen(text)) != NULL;
}

/* What was refused before anybody counts is no part of it. */
void rate_record(struct world *w, struct str line)
{
    bool early = has(line, "\"outcome\":\"refused\"") &&
                 (has(line, "\"status\":400") || has(line, "\"status\":401") ||
                  has(line, "\"status\":407"));
    if (early || !has(line, "\"route_id\":\"rated\""))
        return;
    w->counted = sim_grow(w->counted, (w->n_counted + 1) * sizeof w->counted[0]);
    w->counted[w->n_counted++] =
        (struct counted){.ms = number_after(line, "\"timestamp_unix_ms\":") - wall_start,
                         .tag = (unsigned)number_after(line, "\"path\":\"/t/"),
                         .refused = has(line, "\"status\":429")};
}

static int compare(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    return x->ms != y->ms ? (x->ms < y->ms ? -1 : 1) : x->refused - y->refused;
}

static void wrong(struct world *w, const struct counted *c, const char *what, double wait)
{
    char text[128];
    snprintf(text, sizeof text, "tag %u, counted at %llu ms, has to wait %.0f ms", c->tag,
             (unsigned long long)c->ms, wait);
    broken(w, what, text);
}

static void check_refused(struct world *w, const struct counted *c, double wait)
{
    double over = wait - PATIENCE;
    double told = (double)w->sent[c->tag].retry_after * 1000;
    w->limited++;
    if (over < -BLUR)
        wrong(w, c, "a request was refused that had a slot", wait);
    if (told > 0 && told < over - BLUR)
        wrong(w, c, "Retry-After is too early", wait);
    if (told > 0 && told > over + 1000 + BLUR)
        wrong(w, c, "Retry-After is too late", wait);
}

static void check_passed(struct world *w, const struct counted *c, double wait)
{
    double reached = (double)w->sent[c->tag].reached / 1e6;
    double due = (double)c->ms + wait;
    if (wait > PATIENCE + BLUR)
        wrong(w, c, "a request passed over the rate limit", wait);
    if (reached > 0 && reached < due - BLUR)
        wrong(w, c, "a request went upstream before its time", wait);
    if (w->calm && reached > due + LATE)
        wrong(w, c, "a request waited longer than it had to", wait);
}

void rate_check(struct world *w)
{
    double next = 0; /* when the limit is as good as new */
    if (w->n_counted)
        qsort(w->counted, w->n_counted, sizeof w->counted[0], compare);
    if (w->oom || w->jumps)
        return;
    for (unsigned i = 0; i < w->n_counted; i++) {
        const struct counted *c = &w->counted[i];
        double start = next > (double)c->ms ? next : (double)c->ms;
        double ahead = start - (double)c->ms - SLACK, wait = ahead > 0 ? ahead : 0;
        if (c->tag >= TAGS)
            continue;
        if (c->refused) {
            check_refused(w, c, wait);
            continue;
        }
        check_passed(w, c, wait);
        next = start + INTERVAL;
    }
}
