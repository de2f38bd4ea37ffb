#include "base/slab.h"
#include "base/assert.h"
#include "base/base_int.h"
#include "base/mem.h"
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

struct slab_block {
    struct slab_block *next;
    alignas(max_align_t) char objects[];
};

/* Lies in the first bytes of a free object. */
struct slab_free_object {
    struct slab_free_object *next;
};

struct slab {
    struct slab_block *blocks;
    struct slab_free_object *free;
    size_t object_size, per_block, out;
};

struct slab *slab_new(size_t object_size, size_t objects_per_block)
{
    size_t align = alignof(max_align_t);
    ASSERT(object_size > 0 && objects_per_block > 0 &&
           object_size < SIZE_MAX / 2 / objects_per_block - align);
    struct slab *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->object_size = (object_size + align - 1) / align * align;
    s->per_block = objects_per_block;
    return s;
}

void slab_free(struct slab *s)
{
    if (!s)
        return;
    ASSERT(s->out == 0);
    while (s->blocks) {
        struct slab_block *b = s->blocks;
        s->blocks = b->next;
        mem_free(b);
    }
    mem_free(s);
}

static void put_free(struct slab *s, void *object)
{
    struct slab_free_object *f = object;
    f->next = s->free;
    s->free = f;
    POISON((char *)object + sizeof(*f), s->object_size - sizeof(*f));
}

static bool add_block(struct slab *s)
{
    struct slab_block *b = mem_alloc(sizeof(*b) + s->object_size * s->per_block);
    if (!b)
        return false;
    b->next = s->blocks;
    s->blocks = b;
    for (size_t i = s->per_block; i > 0; i--)
        put_free(s, b->objects + (i - 1) * s->object_size);
    return true;
}

void *slab_take(struct slab *s)
{
    if (s->free ? mem_must_fail() : !add_block(s))
        return NULL;
    struct slab_free_object *f = s->free;
    s->free = f->next;
    UNPOISON(f, s->object_size);
    memset(f, 0, s->object_size);
    s->out++;
    return f;
}

void slab_give(struct slab *s, void *object)
{
    ASSERT(s->out > 0);
    s->out--;
    put_free(s, object);
}

size_t slab_out(const struct slab *s)
{
    return s->out;
}
