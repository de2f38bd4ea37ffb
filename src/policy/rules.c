#include "policy/policy_int.h"
#include "base/mem.h"
#include <stdalign.h>

/* ---- memory ---- */

enum { POOL_BLOCK = 65536 };
struct pool_block {
    struct pool_block *next;
    alignas(16) char bytes[];
};

void *pool_alloc(struct pool *p, size_t n)
{
    n = (n + 7) & ~(size_t)7;
    if (n > p->left || !p->blocks) {
        size_t size = n > POOL_BLOCK ? n : POOL_BLOCK;
        struct pool_block *block = mem_alloc(sizeof *block + size);
        if (!block)
            return NULL;
        block->next = p->blocks;
        p->blocks = block;
        p->left = size;
    }
    /* Taken from the end, so that the block need not remember its size. */
    p->left -= n;
    return p->blocks->bytes + p->left;
}

struct str pool_str(struct pool *p, struct str s)
{
    char *copy = pool_alloc(p, s.n + 1);
    if (!copy)
        return STR_NULL;
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = 0;
    return str_of(copy, s.n);
}

void pool_fini(struct pool *p)
{
    while (p->blocks) {
        struct pool_block *next = p->blocks->next;
        mem_free(p->blocks);
        p->blocks = next;
    }
    p->left = 0;
}

/* ---- hash of (key, port) ---- */

static uint32_t hash_of(uint64_t key_hash, uint16_t port)
{
    uint64_t h = (key_hash ^ port) * 0x9e3779b97f4a7c15U;
    return (uint32_t)(h >> 32);
}

static struct rule *table_find(const struct rule_table *t, struct str key, uint16_t port,
                               uint32_t hash)
{
    if (t->n == 0)
        return NULL;
    for (size_t i = hash & (t->cap - 1); t->slots[i]; i = (i + 1) & (t->cap - 1)) {
        struct rule *r = t->slots[i];
        if (r->hash == hash && r->port == port && str_eq(r->key, key))
            return r;
    }
    return NULL;
}

static void table_place(struct rule_table *t, struct rule *r)
{
    size_t i = r->hash & (t->cap - 1);
    while (t->slots[i])
        i = (i + 1) & (t->cap - 1);
    t->slots[i] = r;
}

static bool table_grow(struct rule_table *t)
{
    struct rule_table bigger = *t;
    bigger.cap = t->cap ? t->cap * 2 : 16;
    bigger.slots = mem_zalloc(bigger.cap * sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i])
            table_place(&bigger, t->slots[i]);
    mem_free(t->slots);
    *t = bigger;
    return true;
}

static bool rule_counts(const struct rule *r, const struct query *q)
{
    return r && (r->schemes & q->schemes) && !(q->explicit_only && r->by_group);
}

/* Whether any rule of the table can count, without looking at keys. */
static bool table_can(const struct rule_table *t, const struct query *q)
{
    return t->n && (t->has_ports || q->scopes & SCOPE_ANY);
}

static const struct rule *table_get(const struct rule_table *t, struct str key,
                                    const struct query *q)
{
    if (!table_can(t, q))
        return NULL;
    uint64_t key_hash = str_hash(key);
    if (t->has_ports && q->scopes & SCOPE_PORT) {
        const struct rule *r = table_find(t, key, q->port, hash_of(key_hash, q->port));
        if (rule_counts(r, q))
            return r;
    }
    if (q->scopes & SCOPE_ANY) {
        const struct rule *r = table_find(t, key, 0, hash_of(key_hash, 0));
        if (rule_counts(r, q))
            return r;
    }
    return NULL;
}

/* Find or make the rule; true in *ret_new when it was made. */
static enum err table_add(struct rule_table *t, struct pool *pool, struct str key,
                          const struct rule *model, bool *ret_new)
{
    uint32_t hash = hash_of(str_hash(key), model->port);
    struct rule *r = table_find(t, key, model->port, hash);
    *ret_new = !r;
    if (r) {
        r->schemes |= model->schemes;
        r->by_group = r->by_group && model->by_group;
        if (r->derived && !model->derived)
            r->origin = model->origin; /* the operator's own word counts, whichever came first */
        r->derived = r->derived && model->derived;
        return ERR_OK;
    }
    if ((t->n + 1) * 4 > t->cap * 3 && !table_grow(t))
        return ERR_NOMEM;
    r = pool_alloc(pool, sizeof *r);
    struct str copy = pool_str(pool, key);
    if (!r || !copy.p)
        return ERR_NOMEM;
    *r = *model;
    r->key = copy;
    r->hash = hash;
    table_place(t, r);
    t->n++;
    t->has_ports |= r->port != 0;
    return ERR_OK;
}

/* ---- bit trie of blocks ---- */

struct block_node {
    uint8_t base[16];
    uint8_t bits;
    bool used; /* a block of the set, not just a fork */
    uint32_t child[2];
};

static unsigned bit_at(const uint8_t *bytes, unsigned i)
{
    return bytes[i / 8] >> (7 - i % 8) & 1U;
}

static uint64_t big_endian(const uint8_t *bytes)
{
    uint64_t v;
    memcpy(&v, bytes, sizeof v);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* Length of the common prefix of two 16-byte addresses, at most `max` bits. */
static unsigned common_bits(const uint8_t *a, const uint8_t *b, unsigned max)
{
    for (unsigned i = 0; i < 16; i += 8) {
        uint64_t differ = big_endian(a + i) ^ big_endian(b + i);
        if (differ) {
            unsigned n = 8 * i + (unsigned)__builtin_clzll(differ);
            return n < max ? n : max;
        }
    }
    return max;
}

static bool trie_reserve(struct block_trie *t)
{
    if (t->n + 2 <= t->cap)
        return true;
    uint32_t cap = t->cap ? t->cap * 2 : 16;
    struct block_node *nodes = mem_realloc(t->nodes, cap * sizeof *nodes);
    if (!nodes)
        return false;
    t->nodes = nodes;
    t->cap = cap;
    t->n += t->n == 0; /* node 0 is nobody */
    return true;
}

/* Host bits are cleared: a fork may become a block of the set later, and its base is then part of a
 * key. */
static uint32_t trie_node(struct block_trie *t, const uint8_t *base, unsigned bits, bool used)
{
    struct block_node *node = &t->nodes[t->n];
    *node = (struct block_node){.bits = (uint8_t)bits, .used = used};
    memcpy(node->base, base, bits / 8);
    if (bits % 8)
        node->base[bits / 8] = (uint8_t)(base[bits / 8] & 0xff00U >> bits % 8);
    return t->n++;
}

static enum err trie_add(struct block_trie *t, const struct cidr *block)
{
    const uint8_t *base = block->base.bytes;
    uint32_t *link = &t->root;
    if (!trie_reserve(t))
        return ERR_NOMEM;
    while (*link) {
        uint32_t old = *link;
        struct block_node *node = &t->nodes[old];
        unsigned max = node->bits < block->bits ? node->bits : block->bits;
        unsigned common = common_bits(node->base, base, max);
        if (common == node->bits && common == block->bits) {
            node->used = true;
            return ERR_OK;
        }
        if (common == node->bits) {
            link = &node->child[bit_at(base, common)];
            continue;
        }
        unsigned side = bit_at(node->base, common);
        *link = trie_node(t, base, common, common == block->bits);
        t->nodes[*link].child[side] = old;
        if (common < block->bits)
            t->nodes[*link].child[!side] = trie_node(t, base, block->bits, true);
        return ERR_OK;
    }
    *link = trie_node(t, base, block->bits, true);
    return ERR_OK;
}

/* ---- sets ---- */

enum { BLOCK_KEY = 18 };

static struct str block_key(const struct cidr *block, char out[BLOCK_KEY])
{
    out[0] = (char)block->base.family;
    out[1] = (char)block->bits;
    memcpy(out + 2, block->base.bytes, 16);
    return str_of(out, BLOCK_KEY);
}

enum err rule_set_add(struct rule_set *set, struct pool *pool, const struct pattern *pattern,
                      const struct rule *model)
{
    char key[BLOCK_KEY];
    bool is_new = false;
    enum err e = ERR_OK;
    switch (pattern->kind) {
    case PATTERN_NAME:
        e = table_add(&set->names, pool, hostname_str(&pattern->host), model, &is_new);
        break;
    case PATTERN_BELOW:
        e = table_add(&set->below, pool, hostname_str(&pattern->host), model, &is_new);
        break;
    case PATTERN_ANY:
        e = table_add(&set->below, pool, STR(""), model, &is_new);
        break;
    case PATTERN_BLOCK:
        e = trie_add(pattern->block.base.family == ADDRESS_V4 ? &set->v4 : &set->v6,
                     &pattern->block);
        if (e == ERR_OK)
            e = table_add(&set->blocks, pool, block_key(&pattern->block, key), model, &is_new);
        break;
    }
    set->n += is_new;
    return e;
}

void rule_set_fini(struct rule_set *set)
{
    mem_free(set->names.slots);
    mem_free(set->below.slots);
    mem_free(set->blocks.slots);
    mem_free(set->v4.nodes);
    mem_free(set->v6.nodes);
    *set = (struct rule_set){0};
}

const struct rule *rule_set_address(const struct rule_set *set, const struct address *a,
                                    const struct query *q)
{
    bool v4 = a->family == ADDRESS_V4;
    const struct block_trie *t = v4 ? &set->v4 : &set->v6;
    const struct rule *best = NULL;
    if (!table_can(&set->blocks, q))
        return NULL;
    for (uint32_t at = t->root; at;) {
        const struct block_node *node = &t->nodes[at];
        if (common_bits(node->base, a->bytes, node->bits) < node->bits)
            break;
        if (node->used) {
            char key[BLOCK_KEY];
            struct cidr block = {.base = {.family = a->family}, .bits = node->bits};
            memcpy(block.base.bytes, node->base, 16);
            const struct rule *r = table_get(&set->blocks, block_key(&block, key), q);
            best = r ? r : best;
        }
        if (node->bits == (v4 ? 32 : 128))
            break;
        at = node->child[bit_at(a->bytes, node->bits)];
    }
    return best;
}

static const struct rule *match_name(const struct rule_set *set, struct str name,
                                     const struct query *q)
{
    const struct rule *r = table_get(&set->names, name, q);
    struct str rest = name, label;
    if (r || !table_can(&set->below, q))
        return r;
    while (str_next(&rest, '.', &label) && rest.p)
        if ((r = table_get(&set->below, rest, q)) != NULL)
            return r;
    return NULL;
}

const struct rule *rule_set_host(const struct rule_set *set, const struct hostname *host,
                                 const struct query *q)
{
    const struct rule *r = host->is_address ? rule_set_address(set, &host->address, q)
                                            : match_name(set, hostname_str(host), q);
    return r ? r : table_get(&set->below, STR(""), q);
}

const struct rule *rule_set_exact(const struct rule_set *set, const struct hostname *name,
                                  const struct query *q)
{
    return table_get(&set->names, hostname_str(name), q);
}

const struct rule *rule_set_own(const struct rule_set *set, const struct hostname *host,
                                const struct query *q)
{
    char key[BLOCK_KEY];
    struct cidr block = {.base = host->address};
    if (!host->is_address)
        return rule_set_exact(set, host, q);
    block.bits = host->address.family == ADDRESS_V4 ? 32 : 128;
    return table_get(&set->blocks, block_key(&block, key), q);
}

const struct rule *rule_set_below(const struct rule_set *set, const struct hostname *suffix,
                                  const struct query *q)
{
    return table_get(&set->below, hostname_str(suffix), q);
}

bool rule_set_has_any(const struct rule_set *set)
{
    static const struct query every = {.schemes = SCHEME_BITS_ALL, .scopes = SCOPE_ANY};
    return table_get(&set->below, STR(""), &every) != NULL;
}
