#include "cli/suggest.h"
#include "cli/options.h"
#include "config/config.h"
#include "config/nearest.h"

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
    unsigned d = nearest_distance(best->wrong, candidate, best->distance);
    if (d > 1 && best->wrong.n >= 3 && str_starts(candidate, best->wrong))
        d = 1; /* the beginning of a name is a good guess at it */
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
    if (command_group_help(STR("profile"))) /* a group stands for all that begins with it */
        best_try(&best, "profile", "profile");
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
