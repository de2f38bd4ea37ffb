#include "cli/suggest.h"
#include "cli/options.h"
#include "config/config.h"

/* Longer words are nobody's typing mistake. */
enum { SUGGEST_MAX = 40 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned suggest_distance(struct str a, struct str b, unsigned limit)
{
    if (a.n > SUGGEST_MAX || b.n > SUGGEST_MAX)
        return limit + 1;
    unsigned rows[3][SUGGEST_MAX + 1]; /* two rows back, one back, this one, taking turns */
    for (size_t j = 0; j <= b.n; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *now = rows[i % 3], *above = rows[(i - 1) % 3], *two = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[j - 1]);
            now[j] = least(above[j - 1] + (x != y), least(above[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && x == ascii_lower(b.p[j - 2]) && ascii_lower(a.p[i - 2]) == y)
                now[j] = least(now[j], two[j - 2] + 1);
        }
    }
    return least(rows[a.n % 3][b.n], limit + 1);
}

struct best {
    struct str wrong;
    const char *name;
    unsigned distance;
};

static void best_init(struct best *best, struct str wrong)
{
    /* One mistake in three letters is still recognised. */
    *best = (struct best){wrong, NULL, (unsigned)(wrong.n / 3 < 1 ? 1 : wrong.n / 3) + 1};
}

/* `name` is a candidate; `means` what is shown for it. */
static void best_try(struct best *best, const char *name, const char *means)
{
    struct str candidate = str_from(name);
    unsigned d = suggest_distance(best->wrong, candidate, best->distance);
    if (best->wrong.n >= 3 && str_starts(candidate, best->wrong))
        d = least(d, 1); /* the beginning of a name is a good guess at it */
    if (d < best->distance)
        best->name = means, best->distance = d;
}

const char *suggest_option(struct str name, const struct command *c)
{
    struct best best;
    best_init(&best, name);
    for (int i = 0; i < OPTION_COUNT_; i++) {
        const struct option_row *row = option_row((enum option_id)i);
        if (!c || option_belongs(row, c))
            best_try(&best, row->name, row->name);
    }
    for (const struct option_alias *a = option_aliases(); a->name; a++)
        if (!c || option_belongs(option_row(a->id), c))
            best_try(&best, a->name, option_row(a->id)->name);
    return best.name;
}

const char *suggest_command(struct str name)
{
    struct best best;
    best_init(&best, name);
    for (size_t i = 0; command_at(i); i++)
        best_try(&best, command_at(i)->name, command_at(i)->name);
    return best.name;
}

const char *suggest_timeout(struct str name)
{
    struct best best;
    best_init(&best, name);
    for (unsigned t = 0; t < TIMEOUT_COUNT_; t++)
        best_try(&best, timeout_name((enum timeout_name)t), timeout_name((enum timeout_name)t));
    return best.name;
}
