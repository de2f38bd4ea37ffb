#include "config/schema_int.h"

/* Fields of all objects in one array; where an object's begin and how many there are is counted by
 * the compiler. */
enum {
    FIELD_START_ = -1,
#define OBJECT(type, flags, more, doc) FIRST_##type, RESET_##type = FIRST_##type - 1,
#define FIELD_PASTE(a, b) a##b
#define FIELD_LINE(line) FIELD_PASTE(FIELD_AT_, line)
#define FIELD(name, aliases, type, flags, merge, fallback, doc) FIELD_LINE(__LINE__),
#define END(type) PAST_##type, RESET_END_##type = PAST_##type - 1,
#include "config/schema.def"
};

#define REQUIRED FIELD_REQUIRED
#define NULLABLE FIELD_NULLABLE
#define CLEARS FIELD_CLEARS
#define ROOT FIELD_ROOT
#define OLD FIELD_OLD
#define SANDBOX FIELD_SANDBOX
#define TEXT(literal) {literal, sizeof(literal) - 1}

const struct schema_field schema_fields[] = {
#define FIELD(name, aliases, type, flags, merge, fallback, doc)                                    \
    {TEXT(name), aliases, T_##type, flags, MERGE_##merge, fallback, doc},
#include "config/schema.def"
};

#define OPEN SCHEMA_OPEN
#define RAW(...) #__VA_ARGS__
#define PLAIN(type, shape, low, high, text) [T_##type] = {#type, shape, 0, 0, 0, 0, 0, low, high, text, NULL},
const struct schema_type schema_types[] = {
#define ANYTHING(type) PLAIN(type, SHAPE_ANYTHING, 0, 0, NULL)
#define BOOLEAN(type) PLAIN(type, SHAPE_BOOLEAN, 0, 0, NULL)
#define INTEGER(type, least, most) PLAIN(type, SHAPE_INTEGER, least, most, NULL)
#define STRING(type, pattern) PLAIN(type, SHAPE_STRING, 0, 0, pattern)
#define WORDS(type, words) PLAIN(type, SHAPE_WORDS, 0, 0, words)
#define PREDICATES(type) PLAIN(type, SHAPE_PREDICATES, 0, 0, NULL)
#define LIST(type, of, least, most)                                                                \
    [T_##type] = {#type, SHAPE_LIST, 0, T_##of, 0, 0, 0, least, most, NULL, NULL},
#define MAP(type, of, pattern)                                                                     \
    [T_##type] = {#type, SHAPE_MAP, 0, T_##of, 0, 0, 0, 0, 0, pattern, NULL},
#define EITHER(type, one, other)                                                                   \
    [T_##type] = {#type, SHAPE_EITHER, 0, T_##one, T_##other, 0, 0, 0, 0, NULL, NULL},
#define CONDITIONAL(type, object)                                                                  \
    [T_##type] = {#type, SHAPE_CONDITIONAL, 0, T_string, T_##object, 0, 0, 0, 0, NULL, NULL},
#define OBJECT(type, flags, more, doc)                                                             \
    [T_##type] = {#type, SHAPE_OBJECT, flags, 0, 0, FIRST_##type, PAST_##type - FIRST_##type, 0,   \
        0, more, doc},
#define LIKE(type, object, doc)                                                                    \
    [T_##type] = {#type, SHAPE_OBJECT, SCHEMA_LIKE, 0, 0, FIRST_##object,                           \
        PAST_##object - FIRST_##object, 0, 0, NULL, doc},
#include "config/schema.def"
};

const struct schema_moved schema_moved[] = {
#define MOVED(old_object, old_name, new_object, new_name)                                          \
    {TEXT(old_object), TEXT(old_name), TEXT(new_object), TEXT(new_name)},
#include "config/schema.def"
};
const size_t schema_moved_n = ARRAY_LEN(schema_moved);

static bool has_alias(const struct schema_field *f, struct str name)
{
    struct str rest = str_from(f->aliases), one;
    while (str_next(&rest, '|', &one))
        if (str_eq(one, name))
            return true;
    return false;
}

const struct schema_field *schema_field_find(enum schema_type_id object, struct str name,
    bool alias)
{
    const struct schema_type *t = &schema_types[object];
    for (size_t i = 0; i < t->n; i++) {
        const struct schema_field *f = &schema_fields[t->first + i];
        if (str_eq(f->name, name) || (alias && has_alias(f, name)))
            return f;
    }
    return NULL;
}

bool schema_takes_kind(enum schema_type_id type, enum json_kind kind)
{
    const struct schema_type *t = &schema_types[type];
    switch ((enum schema_shape)t->shape) {
    case SHAPE_ANYTHING:
        return true;
    case SHAPE_BOOLEAN:
        return kind == JSON_BOOL;
    case SHAPE_INTEGER:
        return kind == JSON_INTEGER;
    case SHAPE_STRING:
    case SHAPE_WORDS:
        return kind == JSON_STRING;
    case SHAPE_PREDICATES:
        return kind == JSON_STRING || kind == JSON_ARRAY;
    case SHAPE_LIST:
        return kind == JSON_ARRAY;
    case SHAPE_MAP:
    case SHAPE_OBJECT:
        return kind == JSON_OBJECT;
    case SHAPE_EITHER:
    case SHAPE_CONDITIONAL:
        return schema_takes_kind(t->one, kind) || schema_takes_kind(t->other, kind);
    }
    return false;
}
