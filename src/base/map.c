#include "base/map.h"
#include "base/mem.h"

enum { MAP_FIRST_SLOTS = 16 };

struct map_slot {
    struct str key;
    void *value; /* NULL: empty */
    uint64_t hash;
};

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_fini(struct map *m)
{
    mem_free(m->slots_);
    *m = (struct map){0};
}

/* The slot that holds key, or the empty one where it belongs. There is always an empty one. */
static size_t probe(const struct map *m, struct str key, uint64_t hash)
{
    size_t i = hash & (m->cap_ - 1);
    while (m->slots_[i].value && (m->slots_[i].hash != hash || !str_eq(m->slots_[i].key, key)))
        i = (i + 1) & (m->cap_ - 1);
    return i;
}

void *map_get(const struct map *m, struct str key)
{
    return m->n ? m->slots_[probe(m, key, str_hash(key))].value : NULL;
}

static bool grow(struct map *m)
{
    struct map bigger = {.n = m->n, .cap_ = m->cap_ ? m->cap_ * 2 : MAP_FIRST_SLOTS};
    if (bigger.cap_ > SIZE_MAX / sizeof(struct map_slot))
        return false;
    bigger.slots_ = mem_zalloc(bigger.cap_ * sizeof(struct map_slot));
    if (!bigger.slots_)
        return false;
    for (size_t i = 0; i < m->cap_; i++) {
        const struct map_slot *s = &m->slots_[i];
        if (s->value)
            bigger.slots_[probe(&bigger, s->key, s->hash)] = *s;
    }
    mem_free(m->slots_);
    *m = bigger;
    return true;
}

bool map_put(struct map *m, struct str key, void *value)
{
    uint64_t hash = str_hash(key);
    if (m->n) {
        struct map_slot *s = &m->slots_[probe(m, key, hash)];
        if (s->value) { /* the new entry's key, which lives as long as the new value */
            s->key = key;
            s->value = value;
            return true;
        }
    }
    if (m->n >= m->cap_ / 4 * 3 && !grow(m))
        return false;
    m->slots_[probe(m, key, hash)] = (struct map_slot){key, value, hash};
    m->n++;
    return true;
}

/* Close the gap at `hole`: move back each later entry of the run whose home does not lie behind the
 * gap. */
static void close_gap(struct map *m, size_t hole)
{
    size_t mask = m->cap_ - 1;
    for (size_t i = (hole + 1) & mask; m->slots_[i].value; i = (i + 1) & mask) {
        size_t home = m->slots_[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        m->slots_[hole] = m->slots_[i];
        hole = i;
    }
    m->slots_[hole] = (struct map_slot){0};
}

void *map_remove(struct map *m, struct str key)
{
    if (!m->n)
        return NULL;
    size_t i = probe(m, key, str_hash(key));
    void *value = m->slots_[i].value;
    if (value) {
        close_gap(m, i);
        m->n--;
    }
    return value;
}

bool map_next(const struct map *m, size_t *pos, struct str *ret_key, void **ret_value)
{
    for (; *pos < m->cap_; ++*pos) {
        const struct map_slot *s = &m->slots_[*pos];
        if (!s->value)
            continue;
        ++*pos;
        if (ret_key)
            *ret_key = s->key;
        if (ret_value)
            *ret_value = s->value;
        return true;
    }
    return false;
}
