#include "config/schema_int.h"
#include "base/map.h"
#include "base/mem.h"

struct merge {
    struct json_doc *doc;
    bool failed; /* out of memory */
};

static void *take(struct merge *m, size_t n)
{
    void *p = json_alloc(m->doc, n);
    m->failed |= !p;
    return p;
}

static void put(struct merge *m, struct map *map, struct str key, const void *value)
{
    if (!m->failed && !map_put(map, key, (void *)(uintptr_t)value))
        m->failed = true;
}

/* --- lists --- */

struct list {
    const struct json **items;
    size_t n;
};

static size_t length(const struct json *v)
{
    return v ? v->n : 0;
}

static struct list list_for(struct merge *m, size_t n)
{
    return (struct list){take(m, n * sizeof(const struct json *)), 0};
}

static const struct json *list_done(struct merge *m, const struct list *l, const struct json *like)
{
    struct json *v = m->failed ? NULL : take(m, sizeof(*v));
    if (v)
        *v = (struct json){.kind = JSON_ARRAY, .at = like->at, .items = l->items, .n = l->n};
    return v;
}

/* What two equal values share. Texts are their own; others are told apart by their strict text. */
static struct str value_key(struct merge *m, const struct json *v)
{
    struct buf b;
    if (v->kind == JSON_STRING)
        return v->text;
    buf_init(&b, SIZE_MAX / 2);
    json_write(&b, v, 0);
    struct str key = buf_ok(&b) ? json_str(m->doc, buf_str(&b)) : STR_NULL;
    buf_fini(&b);
    m->failed |= !key.p;
    return key;
}

struct seen {
    struct map texts, others;
};

static void append(struct merge *m, struct list *l, const struct json *from, struct seen *seen)
{
    for (size_t i = 0; i < length(from) && !m->failed; i++) {
        const struct json *item = from->items[i];
        struct str key = value_key(m, item);
        struct map *map = item->kind == JSON_STRING ? &seen->texts : &seen->others;
        if (m->failed || map_get(map, key))
            continue;
        put(m, map, key, item);
        l->items[l->n++] = item;
    }
}

static const struct json *merge_append(struct merge *m, const struct json *base,
    const struct json *child)
{
    struct seen seen;
    struct list l = list_for(m, length(base) + length(child));
    map_init(&seen.texts);
    map_init(&seen.others);
    append(m, &l, base, &seen);
    append(m, &l, child, &seen);
    map_fini(&seen.texts);
    map_fini(&seen.others);
    return list_done(m, &l, child ? child : base);
}

static const struct json *merge_concat(struct merge *m, const struct json *base,
    const struct json *child)
{
    struct list l = list_for(m, length(base) + length(child));
    for (size_t i = 0; i < length(base) && !m->failed; i++)
        l.items[l.n++] = base->items[i];
    for (size_t i = 0; i < length(child) && !m->failed; i++)
        l.items[l.n++] = child->items[i];
    return list_done(m, &l, child ? child : base);
}

/* --- allow_domain: entries of one domain become one --- */

struct domain {
    struct domain *next; /* in order of appearance */
    struct str name;
    const struct json *first;    /* the first entry */
    const struct json *alone;    /* the entry that has all endpoints there are; NULL: none yet, or several */
    size_t endpoints, entries;   /* endpoints in all; entries that have some */
    const struct json **rules;   /* all of them, once they are collected */
    size_t collected;
};

static struct str domain_of(const struct json *entry)
{
    const struct json_member *m;
    if (entry->kind == JSON_STRING)
        return entry->text;
    m = json_get(entry, STR("domain"));
    return m ? m->value->text : STR_NULL;
}

static const struct json *endpoints_of(const struct json *entry)
{
    const struct json_member *m = json_get(entry, STR("endpoints"));
    return m ? m->value : NULL;
}

struct domains {
    struct map by_name;
    struct domain *first, **end;
    size_t n;
};

static struct domain *domain_at(struct merge *m, struct domains *d, const struct json *entry)
{
    struct str name = domain_of(entry);
    struct domain *one = map_get(&d->by_name, name);
    if (one || !name.p)
        return one; /* an entry without a domain is an error elsewhere */
    one = take(m, sizeof(*one));
    if (!one)
        return NULL;
    *one = (struct domain){.name = name, .first = entry};
    put(m, &d->by_name, name, one);
    *d->end = one;
    d->end = &one->next;
    d->n++;
    return one;
}

static void domains_count(struct merge *m, struct domains *d, const struct json *from)
{
    for (size_t i = 0; i < length(from) && !m->failed; i++) {
        struct domain *one = domain_at(m, d, from->items[i]);
        size_t n = length(endpoints_of(from->items[i]));
        if (!one || !n)
            continue;
        one->alone = one->entries ? NULL : from->items[i];
        one->entries++;
        one->endpoints += n;
    }
}

static void domains_collect(struct merge *m, struct domains *d, const struct json *from)
{
    for (size_t i = 0; i < length(from) && !m->failed; i++) {
        struct domain *one = domain_at(m, d, from->items[i]);
        const struct json *rules = endpoints_of(from->items[i]);
        if (!one || one->entries < 2 || !length(rules))
            continue;
        if (!one->rules)
            one->rules = take(m, one->endpoints * sizeof(*one->rules));
        for (size_t k = 0; k < rules->n && one->rules; k++)
            one->rules[one->collected++] = rules->items[k];
    }
}

/* Entries are borrowed where one says it all, and made anew where several have endpoints. */
static const struct json *domain_entry(struct merge *m, const struct domain *d)
{
    struct json *v, *rules;
    struct json_member *members;
    if (!d->entries)
        return d->first;
    if (d->alone)
        return d->alone;
    v = take(m, sizeof(*v));
    rules = take(m, sizeof(*rules));
    members = take(m, 2 * sizeof(*members));
    struct json *name = take(m, sizeof(*name));
    if (m->failed)
        return NULL;
    *rules = (struct json){
        .kind = JSON_ARRAY, .at = d->rules[0]->at, .items = d->rules, .n = d->collected};
    *name = (struct json){.kind = JSON_STRING, .at = d->first->at, .text = d->name};
    members[0] = (struct json_member){STR("domain"), d->first->at, name, NULL};
    members[1] = (struct json_member){STR("endpoints"), d->first->at, rules, NULL};
    *v = (struct json){.kind = JSON_OBJECT, .at = d->first->at, .members = members, .n = 2};
    return v;
}

static const struct json *merge_domains(struct merge *m, const struct json *base,
    const struct json *child)
{
    struct domains d = {.first = NULL};
    d.end = &d.first;
    map_init(&d.by_name);
    domains_count(m, &d, base);
    domains_count(m, &d, child);
    domains_collect(m, &d, base);
    domains_collect(m, &d, child);
    struct list l = list_for(m, d.n);
    for (const struct domain *one = d.first; one && !m->failed; one = one->next)
        l.items[l.n++] = domain_entry(m, one);
    map_fini(&d.by_name);
    return list_done(m, &l, child ? child : base);
}

/* --- objects --- */

/* What becomes of a member that both have; NULL: it goes. */
typedef const struct json *entry_fn(struct merge *m, const struct json_member *base,
    const struct json_member *child);

/* Base's members in order, then those that only the child has; fn is asked for each. */
static const struct json *merge_members(struct merge *m, const struct json *base,
    const struct json *child, entry_fn *fn, enum schema_type_id object);

static const struct json *child_wins(struct merge *m, const struct json_member *base,
    const struct json_member *child)
{
    (void)m;
    return child ? child->value : base->value;
}

static const struct json *base_wins(struct merge *m, const struct json_member *base,
    const struct json_member *child)
{
    (void)m;
    return base ? base->value : child->value;
}

static const struct json *base_deep(struct merge *m, const struct json_member *base,
    const struct json_member *child)
{
    if (!base || !child)
        return base_wins(m, base, child);
    if (base->value->kind != child->value->kind)
        return base->value;
    switch ((enum json_kind)base->value->kind) {
    case JSON_OBJECT:
        return merge_members(m, base->value, child->value, base_deep, T_any);
    case JSON_ARRAY:
        return merge_append(m, base->value, child->value);
    case JSON_BOOL:
        return child->value->truth ? child->value : base->value;
    default:
        return base->value;
    }
}

/* An entry of the base goes when an entry of the child sets the same variable. */
static const struct json *merge_variables(struct merge *m, const struct json *base,
    const struct json *child)
{
    struct map targets;
    struct json *left = take(m, sizeof(*left));
    struct json_member *members = take(m, base->n * sizeof(*members));
    if (m->failed)
        return NULL;
    map_init(&targets);
    *left = (struct json){.kind = JSON_OBJECT, .at = base->at, .members = members};
    for (size_t i = 0; i < child->n; i++)
        put(m, &targets, child->members[i].value->text, &child->members[i]);
    for (size_t i = 0; i < base->n; i++)
        if (!map_get(&targets, base->members[i].value->text))
            members[left->n++] = base->members[i];
    map_fini(&targets);
    return merge_members(m, left, child, child_wins, T_any);
}

static bool is_none(const struct json *v)
{
    return v->kind == JSON_STRING && str_eq(v->text, STR("none"));
}

static const struct json *value_of(const struct json_member *m)
{
    return m ? m->value : NULL;
}

/* One of the two may be missing, never both. */
static const struct json *merge_field(struct merge *m, const struct schema_field *f,
    const struct json_member *base_member, const struct json_member *child_member)
{
    const struct json *base = value_of(base_member), *child = value_of(child_member);
    switch ((enum schema_merge_rule)f->merge) {
    case MERGE_DROP:
        return NULL;
    case MERGE_OWN:
        return child;
    case MERGE_APPEND:
        return merge_append(m, base, child);
    case MERGE_DOMAINS:
        return merge_domains(m, base, child);
    case MERGE_EMPTIES:
        return child && !child->n ? child : merge_append(m, base, child);
    case MERGE_CONCAT:
        return merge_concat(m, base, child);
    default:
        break;
    }
    if (!base || !child)
        return base ? base : child;
    switch ((enum schema_merge_rule)f->merge) {
    case MERGE_OR:
        return child->truth || !base->truth ? child : base;
    case MERGE_UNION:
        return merge_members(m, base, child, child_wins, T_any);
    case MERGE_BASE_UNION:
        return merge_members(m, base, child, base_wins, T_any);
    case MERGE_DEEP:
        return merge_members(m, base, child, NULL, (enum schema_type_id)f->type);
    case MERGE_VARIABLES:
        return merge_variables(m, base, child);
    case MERGE_NOT_NONE:
        return is_none(child) ? base : child;
    case MERGE_BASE:
        return base;
    case MERGE_BASE_DEEP:
        return base_deep(m, base_member, child_member);
    default:
        return child;
    }
}

static void add_member(struct merge *m, struct json *to, const struct json_member *base,
    const struct json_member *child, entry_fn *fn, enum schema_type_id object)
{
    struct str key = base ? base->key : child->key;
    const struct schema_field *f = fn ? NULL : schema_field_find(object, key, false);
    const struct json *value = NULL;
    if (fn)
        value = fn(m, base, child);
    else if (f)
        value = merge_field(m, f, base, child);
    if (!value || m->failed)
        return;
    bool from_base = base && (!child || value == base->value);
    to->members[to->n++] =
        (struct json_member){key, from_base ? base->key_at : child->key_at, value, NULL};
}

static const struct json *merge_members(struct merge *m, const struct json *base,
    const struct json *child, entry_fn *fn, enum schema_type_id object)
{
    struct map of_base, of_child;
    struct json *to = take(m, sizeof(*to));
    struct json_member *members = take(m, (base->n + child->n) * sizeof(*members));
    if (m->failed)
        return NULL;
    *to = (struct json){.kind = JSON_OBJECT, .at = child->n ? child->at : base->at,
        .members = members};
    map_init(&of_base);
    map_init(&of_child);
    for (size_t i = 0; i < child->n; i++)
        put(m, &of_child, child->members[i].key, &child->members[i]);
    for (size_t i = 0; i < base->n && !m->failed; i++) {
        put(m, &of_base, base->members[i].key, &base->members[i]);
        add_member(m, to, &base->members[i], map_get(&of_child, base->members[i].key), fn, object);
    }
    for (size_t i = 0; i < child->n && !m->failed; i++)
        if (!map_get(&of_base, child->members[i].key))
            add_member(m, to, NULL, &child->members[i], fn, object);
    map_fini(&of_base);
    map_fini(&of_child);
    return m->failed ? NULL : to;
}

const struct json *schema_merge(struct json_doc *doc, const struct json *base,
    const struct json *child)
{
    struct merge m = {.doc = doc};
    const struct json *v = merge_members(&m, base, child, NULL, T_profile);
    return m.failed ? NULL : v;
}
