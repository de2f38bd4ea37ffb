/* Field lines of a head or trailer section, in order, as slices. Pure; any thread. */
#pragma once
#include "base/arena.h"
#include "base/limits.h"
#include "base/str.h"

enum field_flags { FIELD_F_HOP = 1, FIELD_F_FRAMING = 2, FIELD_F_CRED = 4 };
enum field_id {
    FIELD_OTHER,
#define FIELD(id, name, flags) FIELD_##id,
#include "http/fields.def"
#undef FIELD
    FIELD_COUNT_
};

struct field {
    struct str name;  /* as received */
    struct str value; /* without surrounding blanks */
    uint8_t id;       /* enum field_id */
    bool drop;        /* does not go on (hop-by-hop, named by Connection, replaced) */
};
struct fields {
    struct field *v;
    uint16_t n, cap;
};

enum field_id field_lookup(struct str name); /* any case */
unsigned field_flags(enum field_id id);
/* First field of that id (dropped ones too), or NULL. */
struct field *fields_get(const struct fields *f, enum field_id id);
struct field *fields_get_name(const struct fields *f, struct str name);
unsigned fields_count(const struct fields *f, enum field_id id);
/* Deep copy (names and values too) into an arena, with room for `extra` more. False when out of memory. */
bool fields_copy(struct arena *a, const struct fields *from, unsigned extra, struct fields *ret_fields) MUST_CHECK;
/* Append; slices are borrowed. False when full. */
bool fields_add(struct fields *f, struct str name, struct str value) MUST_CHECK;
/* Whether a comma-separated list value (of all fields of that id) holds a token, in any case. */
bool fields_has_token(const struct fields *f, enum field_id id, struct str token);
