/* The table of schema.def as data, for the loader, the merger and the writer of the JSON Schema. */
#pragma once
#include "config/schema.h"

enum schema_type_id {
#define SCHEMA_ID(type) T_##type,
#define ANYTHING(type) SCHEMA_ID(type)
#define BOOLEAN(type) SCHEMA_ID(type)
#define INTEGER(type, least, most) SCHEMA_ID(type)
#define STRING(type, pattern) SCHEMA_ID(type)
#define WORDS(type, words) SCHEMA_ID(type)
#define PREDICATES(type) SCHEMA_ID(type)
#define LIST(type, of, least, most) SCHEMA_ID(type)
#define MAP(type, of, pattern) SCHEMA_ID(type)
#define EITHER(type, one, other) SCHEMA_ID(type)
#define CONDITIONAL(type, object) SCHEMA_ID(type)
#define OBJECT(type, flags, more, doc) SCHEMA_ID(type)
#define LIKE(type, object, doc) SCHEMA_ID(type)
#include "config/schema.def"
    T_COUNT_
};

enum schema_shape {
    SHAPE_ANYTHING, SHAPE_BOOLEAN, SHAPE_INTEGER, SHAPE_STRING, SHAPE_WORDS, SHAPE_PREDICATES, SHAPE_LIST, SHAPE_MAP, SHAPE_EITHER,
    SHAPE_CONDITIONAL, SHAPE_OBJECT
};

enum schema_merge_rule {
    MERGE_NONE, MERGE_CHILD, MERGE_OR, MERGE_APPEND, MERGE_CONCAT, MERGE_UNION, MERGE_DEEP, MERGE_DOMAINS, MERGE_EMPTIES, MERGE_OWN,
    MERGE_DROP, MERGE_VARIABLES, MERGE_NOT_NONE, MERGE_BASE, MERGE_BASE_UNION, MERGE_BASE_DEEP
};

/* of objects */
enum { SCHEMA_OPEN = 1, SCHEMA_LIKE = 2 };
/* of fields */
enum { FIELD_REQUIRED = 1, FIELD_NULLABLE = 2, FIELD_CLEARS = 4, FIELD_ROOT = 8, FIELD_OLD = 16, FIELD_SANDBOX = 32 };

struct schema_field {
    struct str name;
    const char *aliases; /* separated by |; NULL: none */
    uint8_t type;        /* enum schema_type_id */
    uint8_t flags, merge;
    const char *fallback; /* JSON; NULL: none */
    const char *doc;
};
struct schema_type {
    const char *name;
    uint8_t shape, flags;
    uint8_t one, other;     /* types of items, values, alternatives */
    uint16_t first, n;      /* fields of an object */
    uint64_t least, most;
    const char *text;       /* pattern, words, or further JSON Schema */
    const char *doc;
};
struct schema_moved {
    struct str old_object, old_name, new_object, new_name;
};

extern const struct schema_type schema_types[];
extern const struct schema_field schema_fields[];
extern const struct schema_moved schema_moved[];
extern const size_t schema_moved_n;

/* Fields of an object: NULL when the name is not known. `alias`: also under its other names. */
const struct schema_field *schema_field_find(enum schema_type_id object, struct str name, bool alias);
/* Whether a value of that kind can be of the type at all. */
bool schema_takes_kind(enum schema_type_id type, enum json_kind kind);
