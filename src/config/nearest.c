#include "config/nearest.h"

enum { LONGEST = 40 };

static unsigned least_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned nearest_distance(struct str a, struct str b, unsigned limit)
{
    if (a.n > LONGEST || b.n > LONGEST)
        return limit + 1;
    unsigned rows[3][LONGEST + 1]; /* two rows back, one back, this one, taking turns */
    for (size_t j = 0; j <= b.n; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *now = rows[i % 3], *above = rows[(i - 1) % 3], *two = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[j - 1]);
            now[j] = least_of(above[j - 1] + (x != y), least_of(above[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && x == ascii_lower(b.p[j - 2]) && ascii_lower(a.p[i - 2]) == y)
                now[j] = least_of(now[j], two[j - 2] + 1);
        }
    }
    return least_of(rows[a.n % 3][b.n], limit + 1);
}

void nearest_try(struct str word, struct str candidate, struct str *best, unsigned *least)
{
    unsigned d = nearest_distance(word, candidate, *least);
    if (d < *least) {
        *least = d;
        *best = candidate;
    }
}

struct str nearest_of(struct str word, const struct str *names, size_t n)
{
    struct str best = STR_NULL;
    unsigned least = (unsigned)(word.n < 120 ? word.n / 3 : 40) + 2;
    for (size_t i = 0; i < n; i++)
        nearest_try(word, names[i], &best, &least);
    return best;
}
