#include "config/schema_int.h"
#include "base/encode.h"

/* The text is made in one line, read back, which proves it to be JSON, and written with indentation. */

static void write_type(struct buf *b, enum schema_type_id id);

static void write_string(struct buf *b, const char *z)
{
    encode_json(b, str_from(z));
}

static void write_words(struct buf *b, const char *words)
{
    struct str rest = str_from(words), one;
    buf_add_z(b, "\"enum\":[");
    for (bool first = true; str_next(&rest, '|', &one); first = false) {
        if (!first)
            buf_add_c(b, ',');
        encode_json(b, one);
    }
    buf_add_c(b, ']');
}

static void write_list(struct buf *b, const struct schema_type *t)
{
    buf_add_z(b, "\"type\":\"array\",\"items\":");
    write_type(b, (enum schema_type_id)t->one);
    if (t->least)
        buf_printf(b, ",\"minItems\":%u", (unsigned)t->least);
    if (t->most)
        buf_printf(b, ",\"maxItems\":%u", (unsigned)t->most);
}

static void write_map(struct buf *b, const struct schema_type *t)
{
    buf_add_z(b, "\"type\":\"object\",\"additionalProperties\":");
    write_type(b, (enum schema_type_id)t->one);
    if (t->text) {
        buf_add_z(b, ",\"propertyNames\":{\"pattern\":");
        write_string(b, t->text);
        buf_add_c(b, '}');
    }
}

static void write_either(struct buf *b, enum schema_type_id one, enum schema_type_id other)
{
    buf_add_z(b, "\"anyOf\":[");
    write_type(b, one);
    buf_add_c(b, ',');
    write_type(b, other);
    buf_add_c(b, ']');
}

static void write_predicates(struct buf *b)
{
    buf_add_z(b, "\"anyOf\":[");
    write_type(b, T_predicate);
    buf_add_z(b, ",{\"type\":\"array\",\"minItems\":1,\"items\":");
    write_type(b, T_predicate);
    buf_add_z(b, "}]");
}

/* What stands between the braces. */
static void write_inner(struct buf *b, enum schema_type_id id)
{
    const struct schema_type *t = &schema_types[id];
    switch ((enum schema_shape)t->shape) {
    case SHAPE_ANYTHING:
        return;
    case SHAPE_BOOLEAN:
        buf_add_z(b, "\"type\":\"boolean\"");
        return;
    case SHAPE_INTEGER:
        buf_add_z(b, "\"type\":\"integer\",\"minimum\":");
        buf_add_u64(b, t->least);
        buf_add_z(b, ",\"maximum\":");
        buf_add_u64(b, t->most);
        return;
    case SHAPE_STRING:
        buf_add_z(b, "\"type\":\"string\"");
        if (t->text) {
            buf_add_z(b, ",\"pattern\":");
            write_string(b, t->text);
        }
        return;
    case SHAPE_WORDS:
        write_words(b, t->text);
        return;
    case SHAPE_PREDICATES:
        write_predicates(b);
        return;
    case SHAPE_LIST:
        write_list(b, t);
        return;
    case SHAPE_MAP:
        write_map(b, t);
        return;
    case SHAPE_EITHER:
        write_either(b, (enum schema_type_id)t->one, (enum schema_type_id)t->other);
        return;
    case SHAPE_CONDITIONAL: /* a text alone has the grammar of the object's first field */
        write_either(b, (enum schema_type_id)schema_fields[schema_types[t->other].first].type,
            (enum schema_type_id)t->other);
        return;
    case SHAPE_OBJECT:
        buf_printf(b, "\"$ref\":\"#/$defs/%s\"", t->name);
        return;
    }
}

static void write_type(struct buf *b, enum schema_type_id id)
{
    buf_add_c(b, '{');
    write_inner(b, id);
    buf_add_c(b, '}');
}

/* --- objects --- */

static void write_doc(struct buf *b, const struct schema_field *f)
{
    buf_add_z(b, "\"description\":");
    write_string(b, f->doc);
    if (f->fallback) {
        buf_add_z(b, ",\"default\":");
        buf_add_z(b, f->fallback);
    }
    if (f->flags & FIELD_OLD)
        buf_add_z(b, ",\"deprecated\":true");
}

static void write_field(struct buf *b, struct str name, const struct schema_field *f, bool alias)
{
    enum schema_type_id type = (enum schema_type_id)f->type;
    encode_json(b, name);
    buf_add_z(b, ":{");
    if (alias)
        buf_printf(b, "\"description\":\"Old name of %.*s\",\"deprecated\":true", STR_ARG(f->name));
    else
        write_doc(b, f);
    if (schema_types[type].shape != SHAPE_ANYTHING)
        buf_add_c(b, ',');
    if (f->flags & (FIELD_NULLABLE | FIELD_CLEARS)) {
        buf_add_z(b, "\"anyOf\":[");
        write_type(b, type);
        buf_add_z(b, ",{\"type\":\"null\"}]");
    } else {
        write_inner(b, type);
    }
    buf_add_c(b, '}');
}

static bool is_field_of(const struct schema_type *t, const struct schema_field *f)
{
    return !(t->flags & SCHEMA_LIKE && f->flags & FIELD_ROOT);
}

static void write_fields(struct buf *b, const struct schema_type *t)
{
    bool first = true;
    buf_add_z(b, "\"properties\":{");
    for (size_t i = 0; i < t->n; i++) {
        const struct schema_field *f = &schema_fields[t->first + i];
        struct str rest = str_from(f->aliases), alias;
        if (!is_field_of(t, f))
            continue;
        if (!first)
            buf_add_c(b, ',');
        first = false;
        write_field(b, f->name, f, false);
        while (str_next(&rest, '|', &alias)) {
            buf_add_c(b, ',');
            write_field(b, alias, f, true);
        }
    }
    buf_add_c(b, '}');
}

static void write_required(struct buf *b, const struct schema_type *t)
{
    bool first = true;
    for (size_t i = 0; i < t->n; i++) {
        const struct schema_field *f = &schema_fields[t->first + i];
        if (!(f->flags & FIELD_REQUIRED))
            continue;
        buf_add_z(b, first ? ",\"required\":[" : ",");
        encode_json(b, f->name);
        first = false;
    }
    if (!first)
        buf_add_c(b, ']');
}

/* Of a name and its aliases at most one may be given: each excludes those after it. */
static void write_exclusions(struct buf *b, const struct schema_type *t)
{
    bool first = true;
    for (size_t i = 0; i < t->n; i++) {
        const struct schema_field *f = &schema_fields[t->first + i];
        struct str rest = str_from(f->aliases), name = f->name;
        for (; rest.p; (void)str_next(&rest, '|', &name)) {
            struct str others = rest, other;
            buf_add_z(b, first ? ",\"dependentSchemas\":{" : ",");
            first = false;
            encode_json(b, name);
            buf_add_z(b, ":{\"not\":{\"anyOf\":[");
            for (bool start = true; str_next(&others, '|', &other); start = false) {
                buf_add_z(b, start ? "{\"required\":[" : ",{\"required\":[");
                encode_json(b, other);
                buf_add_z(b, "]}");
            }
            buf_add_z(b, "]}}");
        }
    }
    if (!first)
        buf_add_c(b, '}');
}

static void write_object(struct buf *b, const struct schema_type *t)
{
    buf_add_z(b, "{\"type\":\"object\",\"description\":");
    write_string(b, t->doc);
    buf_add_c(b, ',');
    write_fields(b, t);
    write_required(b, t);
    write_exclusions(b, t);
    if (!(t->flags & SCHEMA_OPEN))
        buf_add_z(b, ",\"additionalProperties\":false");
    if (t->text) {
        buf_add_c(b, ',');
        buf_add_z(b, t->text);
    }
    buf_add_c(b, '}');
}

static void write_all(struct buf *b)
{
    bool first = true;
    buf_add_z(b, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"nono profile\","
                 "\"$ref\":\"#/$defs/profile\",\"$defs\":{");
    for (unsigned id = 0; id < T_COUNT_; id++) {
        if (schema_types[id].shape != SHAPE_OBJECT)
            continue;
        if (!first)
            buf_add_c(b, ',');
        first = false;
        write_string(b, schema_types[id].name);
        buf_add_c(b, ':');
        write_object(b, &schema_types[id]);
    }
    buf_add_z(b, "}}");
}

void schema_write(struct buf *out)
{
    struct json_doc *doc = json_doc_new();
    struct json_error error;
    const struct json *v;
    struct buf b;
    buf_init(&b, 1024 * 1024);
    write_all(&b);
    if (doc && buf_ok(&b) && json_read(doc, buf_str(&b), "schema", &v, &error) == ERR_OK) {
        json_write(out, v, 2);
        buf_add_c(out, '\n');
    }
    buf_fini(&b);
    json_doc_free(doc);
}
