#include "http/fields.h"

struct field_row {
    struct str name;
    unsigned flags;
};

static const struct field_row ROWS[FIELD_COUNT_] = {
#define FIELD(id, text, bits) [FIELD_##id] = {{(text), sizeof(text) - 1}, (bits)},
#include "http/fields.def"
#undef FIELD
};

enum { NAME_MAX_BYTES = 32 };
#define FIELD(id, text, bits)                                                                      \
    _Static_assert(sizeof(text) - 1 <= NAME_MAX_BYTES, text " is too long for field_lookup");
#include "http/fields.def"
#undef FIELD

/* Whether the eight bytes at p are those at `lower` in any case. Setting bit 5 folds letters; it
 * would also turn some controls into '-' or digits, so every byte must have bit 5 or bit 6 of its
 * own. */
static inline bool eight_eq(const char *p, const char *lower)
{
    const uint64_t bit5 = UINT64_C(0x2020202020202020), bit6 = bit5 << 1;
    uint64_t x, want;

    memcpy(&x, p, 8);
    memcpy(&want, lower, 8);
    return (x | bit5) == want && ((x | x << 1) & bit6) == bit6;
}

static bool name_eq(const char *p, const char *lower, size_t n)
{
    size_t i = 0;

    if (n < 8) {
        while (i < n && ascii_lower(p[i]) == lower[i])
            i++;
        return i == n;
    }
    for (; i + 8 <= n; i += 8)
        if (!eight_eq(p + i, lower + i))
            return false;
    return i == n || eight_eq(p + n - 8, lower + n - 8);
}

/* Tries the names of exactly n bytes with this first letter; n is a constant at every call, so the
 * other names vanish at compile time. */
static inline __attribute__((always_inline)) enum field_id lookup_n(const char *p, size_t n)
{
    const char first = (char)(p[0] | 0x20);

#define FIELD(id, text, bits)                                                                      \
    if (sizeof(text) - 1 == n && first == (text)[0] && name_eq(p, (text), n))                      \
        return FIELD_##id;
#include "http/fields.def"
#undef FIELD
    return FIELD_OTHER;
}

#define LENGTH(k)                                                                                  \
    case k:                                                                                        \
        return lookup_n(name.p, k);
#define LENGTHS(k) LENGTH(k) LENGTH((k) + 1) LENGTH((k) + 2) LENGTH((k) + 3)

enum field_id field_lookup(struct str name)
{
    switch (name.n) {
        LENGTHS(1)
        LENGTHS(5)
        LENGTHS(9)
        LENGTHS(13)
        LENGTHS(17)
        LENGTHS(21)
        LENGTHS(25)
        LENGTHS(29)
    default:
        return FIELD_OTHER;
    }
}

unsigned field_flags(enum field_id id)
{
    return (unsigned)id < FIELD_COUNT_ ? ROWS[id].flags : 0;
}

struct field *fields_get(const struct fields *f, enum field_id id)
{
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id == id)
            return &f->v[i];
    return NULL;
}

struct field *fields_get_name(const struct fields *f, struct str name)
{
    enum field_id id = field_lookup(name);

    if (id != FIELD_OTHER)
        return fields_get(f, id);
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id == FIELD_OTHER && str_eq_nocase(f->v[i].name, name))
            return &f->v[i];
    return NULL;
}

unsigned fields_count(const struct fields *f, enum field_id id)
{
    unsigned count = 0;

    for (unsigned i = 0; i < f->n; i++)
        count += f->v[i].id == id;
    return count;
}

static struct str copy_bytes(char **at, struct str s)
{
    struct str copy = {*at, s.n};

    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

bool fields_copy(struct arena *a, const struct fields *from, unsigned extra,
                 struct fields *ret_fields)
{
    size_t cap = (size_t)from->n + extra, bytes = 0;

    if (cap > UINT16_MAX)
        return false;
    for (unsigned i = 0; i < from->n; i++)
        bytes += from->v[i].name.n + from->v[i].value.n;
    struct field *v = arena_alloc(a, (cap ? cap : 1) * sizeof(*v));
    char *at = arena_alloc(a, bytes ? bytes : 1);
    if (!v || !at)
        return false;
    for (unsigned i = 0; i < from->n; i++) {
        v[i] = from->v[i];
        v[i].name = copy_bytes(&at, from->v[i].name);
        v[i].value = copy_bytes(&at, from->v[i].value);
    }
    *ret_fields = (struct fields){v, from->n, (uint16_t)cap};
    return true;
}

bool fields_add(struct fields *f, struct str name, struct str value)
{
    if (f->n >= f->cap)
        return false;
    f->v[f->n++] = (struct field){name, value, (uint8_t)field_lookup(name), false};
    return true;
}

static bool list_has(struct str list, struct str token)
{
    struct str part;

    while (str_next(&list, ',', &part))
        if (str_eq_nocase(str_trim(part), token))
            return true;
    return false;
}

bool fields_has_token(const struct fields *f, enum field_id id, struct str token)
{
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id == id && list_has(f->v[i].value, token))
            return true;
    return false;
}
