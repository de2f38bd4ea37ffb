#include "config/schema.h"
#include "base/encode.h"
#include "base/mem.h"
#include "config/nearest.h"
#include "config/platform.h"
#include "config/schema_int.h"
#include <stdarg.h>
#include <stdio.h>

/* Where the walk stands: on the caller's stack, linked to the root. */
struct frame {
    const struct frame *up;
    struct str key; /* p NULL: an item */
    size_t index;
};

struct norm {
    struct json_doc *doc;
    const struct platform *facts;
    struct problems *problems;
    bool failed; /* out of memory */
};

/* --- saying what is wrong --- */

static void pointer_of(struct buf *out, const struct frame *f)
{
    if (!f || !f->up)
        return;
    pointer_of(out, f->up);
    if (f->key.p)
        json_pointer_add(out, f->key);
    else
        buf_printf(out, "/%zu", f->index);
}

static bool is_simple(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        unsigned char c = (unsigned char)key.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '_' && c != '-' && c != '$')
            return false;
    }
    return key.n > 0;
}

/* network.custom_credentials.svc, network.allow_domain[3].domain */
static void dotted_of(struct buf *out, const struct frame *f)
{
    if (!f || !f->up)
        return;
    dotted_of(out, f->up);
    if (!f->key.p) {
        buf_printf(out, "[%zu]", f->index);
        return;
    }
    if (out->n)
        buf_add_c(out, '.');
    if (is_simple(f->key))
        buf_add_str(out, f->key);
    else
        encode_json(out, f->key);
}

static void say(struct norm *n, bool warning, const struct frame *f, const struct place *at,
    const char *hint, const char *format, va_list args) PRINTF_LIKE(6, 0);
static void say(struct norm *n, bool warning, const struct frame *f, const struct place *at,
    const char *hint, const char *format, va_list args)
{
    char text[800];
    struct buf pointer;
    buf_init(&pointer, 4096);
    pointer_of(&pointer, f);
    vsnprintf(text, sizeof(text), format, args);
    problem_add(n->problems, warning, at, buf_ok(&pointer) ? buf_str(&pointer) : STR_NULL, hint,
        "%s", text);
    buf_fini(&pointer);
}

static void wrong(struct norm *n, const struct frame *f, const struct place *at, const char *hint,
    const char *format, ...) PRINTF_LIKE(5, 6);
static void wrong(struct norm *n, const struct frame *f, const struct place *at, const char *hint,
    const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(n, false, f, at, hint, format, args);
    va_end(args);
}

static void notice(struct norm *n, const struct frame *f, const struct place *at, const char *hint,
    const char *format, ...) PRINTF_LIKE(5, 6);
static void notice(struct norm *n, const struct frame *f, const struct place *at, const char *hint,
    const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(n, true, f, at, hint, format, args);
    va_end(args);
}

/* Texts for sentences, cut to their room; a buffer that is full keeps what it has. */
struct text {
    char s[240];
};

static struct text text_take(struct buf *b)
{
    struct text t;
    snprintf(t.s, sizeof(t.s), "%.*s", STR_ARG(buf_str(b)));
    buf_fini(b);
    return t;
}

static struct text where(const struct frame *f)
{
    struct buf b;
    buf_init(&b, 4096);
    dotted_of(&b, f);
    if (!b.n)
        buf_add_z(&b, "the profile");
    return text_take(&b);
}

static struct str shortened(struct str s)
{
    if (s.n <= 60)
        return s;
    s.n = 60;
    while (s.n && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
        s.n--;
    return s;
}

static struct text quoted(struct str s)
{
    struct buf b;
    buf_init(&b, 1024);
    encode_json(&b, shortened(s));
    return text_take(&b);
}

static struct text place_text(const struct place *at)
{
    struct buf b;
    buf_init(&b, 8192);
    place_format(&b, at);
    return text_take(&b);
}

static struct text found(const struct json *v)
{
    struct buf b;
    buf_init(&b, 1024);
    switch ((enum json_kind)v->kind) {
    case JSON_ARRAY:
        buf_add_z(&b, "a list");
        break;
    case JSON_OBJECT:
        buf_add_z(&b, "an object");
        break;
    case JSON_STRING:
        buf_add_z(&b, "the string ");
        encode_json(&b, shortened(v->text));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        buf_add_z(&b, "the number ");
        json_write(&b, v, 0);
        break;
    case JSON_NULL:
    case JSON_BOOL:
        json_write(&b, v, 0);
        break;
    }
    return text_take(&b);
}

static void expected_words(struct buf *b, const char *words)
{
    struct str rest = str_from(words), one;
    for (bool first = true; str_next(&rest, '|', &one); first = false) {
        if (!first)
            buf_add_z(b, rest.p ? ", " : " or ");
        buf_printf(b, "\"%.*s\"", STR_ARG(one));
    }
}

static void expected(struct buf *b, enum schema_type_id id)
{
    const struct schema_type *t = &schema_types[id];
    switch ((enum schema_shape)t->shape) {
    case SHAPE_ANYTHING:
        buf_add_z(b, "a value");
        break;
    case SHAPE_BOOLEAN:
        buf_add_z(b, "true or false");
        break;
    case SHAPE_INTEGER:
        buf_add_z(b, "an integer from ");
        buf_add_u64(b, t->least);
        buf_add_z(b, " to ");
        buf_add_u64(b, t->most);
        break;
    case SHAPE_STRING:
        buf_add_z(b, "a string");
        break;
    case SHAPE_WORDS:
        expected_words(b, t->text);
        break;
    case SHAPE_PREDICATES:
        buf_add_z(b, "a predicate or a list of them");
        break;
    case SHAPE_LIST:
        buf_add_z(b, "a list");
        if (t->least && t->least == t->most)
            buf_printf(b, " of %u", (unsigned)t->least);
        break;
    case SHAPE_MAP:
    case SHAPE_OBJECT:
        buf_add_z(b, "an object");
        break;
    case SHAPE_EITHER:
    case SHAPE_CONDITIONAL:
        expected(b, t->one);
        buf_add_z(b, " or ");
        expected(b, t->other);
        break;
    }
}

/* --- the closest known word --- */

/* p NULL: none is near, and a wild guess would only lead astray. */
static struct str closest_field(enum schema_type_id object, struct str name)
{
    const struct schema_type *t = &schema_types[object];
    struct str best = STR_NULL, rest, alias;
    unsigned least = (unsigned)(name.n < 80 ? name.n / 2 : 40) + 1;
    for (size_t i = 0; i < t->n; i++) {
        const struct schema_field *f = &schema_fields[t->first + i];
        if (f->flags & FIELD_OLD || (t->flags & SCHEMA_LIKE && f->flags & FIELD_ROOT))
            continue;
        nearest_try(name, f->name, &best, &least);
        rest = str_from(f->aliases);
        while (str_next(&rest, '|', &alias))
            nearest_try(name, alias, &best, &least);
    }
    return best;
}

/* Only where it is near: the sentence lists them all. */
static struct text word_hint(const char *words, struct str name)
{
    struct str rest = str_from(words), one, best = STR_NULL;
    unsigned least = UINT32_MAX - 1;
    struct text hint = {""};
    while (str_next(&rest, '|', &one))
        nearest_try(name, one, &best, &least);
    if (least <= best.n / 2)
        snprintf(hint.s, sizeof(hint.s), "did you mean \"%.*s\"?", STR_ARG(best));
    return hint;
}

/* --- values --- */

static const struct json *norm_value(struct norm *n, const struct frame *f, enum schema_type_id id,
    const struct json *v);

/* What to write instead of a value of the wrong kind, where that is plain. */
static struct text kind_hint(enum schema_type_id id, const struct json *v)
{
    struct text hint = {""};
    uint64_t number;
    bool integer = schema_takes_kind(id, JSON_INTEGER);
    if (schema_takes_kind(id, JSON_BOOL) && v->kind == JSON_STRING &&
        (str_eq(v->text, STR("true")) || str_eq(v->text, STR("false"))))
        snprintf(hint.s, sizeof(hint.s), "write %s without quotes", v->text.p);
    else if (integer && v->kind == JSON_STRING && str_u64(v->text, UINT64_MAX, &number))
        snprintf(hint.s, sizeof(hint.s), "write %llu without quotes", (unsigned long long)number);
    else if (integer && v->kind == JSON_REAL && v->real >= 0 && v->real < 1e15 &&
             (double)(uint64_t)v->real == v->real)
        snprintf(hint.s, sizeof(hint.s), "write %llu", (unsigned long long)v->real);
    else if (v->kind == JSON_STRING && schema_types[id].shape == SHAPE_LIST)
        snprintf(hint.s, sizeof(hint.s), "write [%.200s]", quoted(v->text).s);
    else if (v->kind == JSON_NULL)
        snprintf(hint.s, sizeof(hint.s), "leave it out instead");
    return hint;
}

static void wrong_kind(struct norm *n, const struct frame *f, enum schema_type_id id,
    const struct json *v)
{
    struct buf b;
    buf_init(&b, 512);
    expected(&b, id);
    struct text want = text_take(&b), hint = kind_hint(id, v);
    wrong(n, f, &v->at, hint.s, "%s must be %s, not %s", where(f).s, want.s, found(v).s);
}

static const struct json *norm_integer(struct norm *n, const struct frame *f,
    enum schema_type_id id, const struct json *v)
{
    const struct schema_type *t = &schema_types[id];
    if ((v->negative && v->integer) || v->integer < t->least || v->integer > t->most) {
        wrong_kind(n, f, id, v);
        return NULL;
    }
    return v;
}

static const struct json *norm_word(struct norm *n, const struct frame *f, enum schema_type_id id,
    const struct json *v)
{
    struct str rest = str_from(schema_types[id].text), one;
    while (str_next(&rest, '|', &one))
        if (str_eq(one, v->text))
            return v;
    struct buf b;
    buf_init(&b, 512);
    expected(&b, id);
    struct text want = text_take(&b), hint = word_hint(schema_types[id].text, v->text);
    wrong(n, f, &v->at, hint.s, "%s must be %s, not %s", where(f).s, want.s, quoted(v->text).s);
    return NULL;
}

/* Any JSON: nothing is asked of it, but a repeated name deserves a word. */
static void look_through(struct norm *n, const struct frame *f, const struct json *v);

static void note_repeats(struct norm *n, const struct frame *f, const struct json_member *m)
{
    for (; m->repeats; m = m->repeats)
        notice(n, f, &m->key_at, "remove one of them",
            "%s is given twice; this one counts, not the one at %s", where(f).s,
            place_text(&m->repeats->key_at).s);
}

static void look_through(struct norm *n, const struct frame *f, const struct json *v)
{
    for (size_t i = 0; v->kind == JSON_ARRAY && i < v->n; i++)
        look_through(n, &(struct frame){f, STR_NULL, i}, v->items[i]);
    for (size_t i = 0; v->kind == JSON_OBJECT && i < v->n; i++) {
        const struct json_member *m = &v->members[i];
        struct frame at = {f, m->key, 0};
        note_repeats(n, &at, m);
        look_through(n, &at, m->value);
    }
}

/* Items that are wrong, or whose `when` does not hold, are left out; the list itself is made anew
 * only where it changes. */
static const struct json *norm_list(struct norm *n, const struct frame *f, enum schema_type_id id,
    const struct json *v)
{
    const struct schema_type *t = &schema_types[id];
    const struct json **items = NULL;
    size_t kept = 0;
    if (t->least && t->least == t->most && v->n != t->least) {
        struct text want = {""};
        snprintf(want.s, sizeof(want.s), "%u items, not %zu", (unsigned)t->least, v->n);
        wrong(n, f, &v->at, NULL, "%s must have %s", where(f).s, want.s);
        return NULL;
    }
    for (size_t i = 0; i < v->n && !n->failed; i++) {
        const struct json *item =
            norm_value(n, &(struct frame){f, STR_NULL, i}, (enum schema_type_id)t->one, v->items[i]);
        if (item != v->items[i] && !items) {
            items = json_alloc(n->doc, v->n * sizeof(*items));
            if (!items) {
                n->failed = true;
                return NULL;
            }
            memcpy(items, v->items, kept * sizeof(*items));
        }
        if (item && items)
            items[kept] = item;
        kept += item != NULL;
    }
    if (!items)
        return v;
    struct json *list = json_alloc(n->doc, sizeof(*list));
    n->failed |= !list;
    if (list)
        *list = (struct json){.kind = JSON_ARRAY, .at = v->at, .items = items, .n = kept};
    return list;
}

/* Members of the object in the making: borrowed from the old one until something changes. */
struct making {
    const struct json *old;
    struct json_member *members; /* NULL: as the old ones so far */
    size_t n;
};

static void make_member(struct norm *n, struct making *m, size_t i, struct str key,
    const struct json *value)
{
    const struct json_member *old = &m->old->members[i];
    bool same = value == old->value && key.p == old->key.p && !old->repeats;
    if (!m->members && !same) {
        m->members = json_alloc(n->doc, m->old->n * sizeof(*m->members));
        if (!m->members) {
            n->failed = true;
            return;
        }
        memcpy(m->members, m->old->members, m->n * sizeof(*m->members));
    }
    if (!value)
        return;
    if (m->members)
        m->members[m->n] = (struct json_member){key, old->key_at, value, NULL};
    m->n++;
}

static const struct json *made(struct norm *n, const struct making *m)
{
    if (!m->members)
        return m->old;
    struct json *v = json_alloc(n->doc, sizeof(*v));
    n->failed |= !v;
    if (v)
        *v = (struct json){
            .kind = JSON_OBJECT, .at = m->old->at, .members = m->members, .n = m->n};
    return v;
}

static const struct json *norm_map(struct norm *n, const struct frame *f, enum schema_type_id id,
    const struct json *v)
{
    struct making making = {.old = v};
    for (size_t i = 0; i < v->n && !n->failed; i++) {
        const struct json_member *m = &v->members[i];
        struct frame at = {f, m->key, 0};
        note_repeats(n, &at, m);
        make_member(n, &making, i, m->key,
            norm_value(n, &at, (enum schema_type_id)schema_types[id].one, m->value));
    }
    return n->failed ? NULL : made(n, &making);
}

/* --- objects with fixed fields --- */

/* No key is near: the few that there are, or where they stand. */
static void far_key(struct norm *n, const struct frame *at, enum schema_type_id id,
    const struct json_member *m)
{
    enum { LISTED = 8 };
    const struct schema_type *t = &schema_types[id];
    struct buf names;
    size_t known = 0;
    buf_init(&names, 1024);
    for (size_t i = 0; i < t->n; i++) {
        const struct schema_field *f = &schema_fields[t->first + i];
        if (f->flags & FIELD_OLD || (t->flags & SCHEMA_LIKE && f->flags & FIELD_ROOT))
            continue;
        buf_printf(&names, "%s%.*s", known++ ? ", " : "", STR_ARG(f->name));
    }
    if (known <= LISTED)
        wrong(n, at, &m->key_at, NULL, "unknown key %s in %s; its keys are %.*s", quoted(m->key).s,
            where(at->up).s, STR_ARG(buf_str(&names)));
    else
        wrong(n, at, &m->key_at, "`nono profile schema` lists them",
            "unknown key %s in %s; none of its %zu keys is near", quoted(m->key).s,
            where(at->up).s, known);
    buf_fini(&names);
}

static void unknown_key(struct norm *n, const struct frame *at, enum schema_type_id id,
    const struct json_member *m)
{
    const struct schema_field *f = schema_field_find(id, m->key, true);
    if (f) { /* known, but not here */
        wrong(n, at, &m->key_at, "put it outside", "%s cannot stand in platform_overrides",
            quoted(m->key).s);
        return;
    }
    bool top = id == T_profile || id == T_override;
    struct str best = closest_field(id, m->key);
    struct text hint;
    snprintf(hint.s, sizeof(hint.s), "write \"%.*s\"", STR_ARG(best));
    if (top && schema_field_find(T_network, m->key, true))
        wrong(n, at, &m->key_at, "move it into \"network\"",
            "unknown key %s in %s; it is known in \"network\"", quoted(m->key).s, where(at->up).s);
    else if (id == T_network && schema_field_find(T_profile, m->key, true))
        wrong(n, at, &m->key_at, "move it out of \"network\"",
            "unknown key %s in %s; it is known outside", quoted(m->key).s, where(at->up).s);
    else if (!best.p)
        far_key(n, at, id, m);
    else
        wrong(n, at, &m->key_at, hint.s, "unknown key %s in %s; the closest known key is \"%.*s\"",
            quoted(m->key).s, where(at->up).s, STR_ARG(best));
}

/* Another name of the same field, or the same one twice: both places are told. */
static void fixed_repeats(struct norm *n, const struct frame *at, const struct json_member *m)
{
    for (; m->repeats; m = m->repeats)
        wrong(n, at, &m->key_at, "remove one of them", "%s is given twice; first at %s", where(at).s,
            place_text(&m->repeats->key_at).s);
}

static void two_names(struct norm *n, const struct frame *at, const struct schema_field *f,
    const struct json_member *first, const struct json_member *second)
{
    struct text hint;
    snprintf(hint.s, sizeof(hint.s), "keep \"%.*s\" only", STR_ARG(f->name));
    wrong(n, at, &second->key_at, hint.s, "%s and %s are two names of one setting; the other is at %s",
        quoted(second->key).s, quoted(first->key).s, place_text(&first->key_at).s);
}

/* False when the value is left out: null where that means absent. */
static bool norm_null(struct norm *n, const struct frame *at, const struct schema_field *f,
    const struct json *v)
{
    if (f->flags & FIELD_CLEARS)
        return true;
    if (!(f->flags & FIELD_NULLABLE))
        wrong_kind(n, at, (enum schema_type_id)f->type, v);
    return false;
}

static const struct json *norm_field(struct norm *n, const struct frame *at,
    const struct schema_field *f, const struct json_member *m)
{
    if (m->value->kind == JSON_NULL && schema_types[f->type].shape != SHAPE_ANYTHING)
        return norm_null(n, at, f, m->value) ? m->value : NULL;
    const struct json *v = norm_value(n, at, (enum schema_type_id)f->type, m->value);
    return f->merge == MERGE_DROP && !(f->flags & FIELD_ROOT) ? NULL : v;
}

static void missing_fields(struct norm *n, const struct frame *f, enum schema_type_id id,
    const struct json_member *const *seen, const struct json *v)
{
    const struct schema_type *t = &schema_types[id];
    for (size_t i = 0; i < t->n; i++) {
        const struct schema_field *field = &schema_fields[t->first + i];
        if (field->flags & FIELD_REQUIRED && !seen[i])
            wrong(n, f, &v->at, NULL, "%s lacks \"%.*s\"", where(f).s, STR_ARG(field->name));
    }
}

/* --- legacy sections --- */

/* The object with that member, or without it (value NULL). */
static const struct json *object_with(struct norm *n, const struct json *object, struct str key,
    struct place key_at, const struct json *value)
{
    struct json *v = json_alloc(n->doc, sizeof(*v));
    struct json_member *m = json_alloc(n->doc, (object->n + 1) * sizeof(*m));
    size_t k = 0;
    bool there = false;
    if (!v || !m) {
        n->failed = true;
        return object;
    }
    for (size_t i = 0; i < object->n; i++) {
        bool this = str_eq(object->members[i].key, key);
        there |= this;
        if (this && !value)
            continue;
        m[k] = object->members[i];
        if (this)
            m[k].value = value;
        k++;
    }
    if (value && !there)
        m[k++] = (struct json_member){key, key_at, value, NULL};
    *v = (struct json){.kind = JSON_OBJECT, .at = object->at, .members = m, .n = k};
    return v;
}

static const struct json *list_joined(struct norm *n, const struct json *a, const struct json *b)
{
    struct json *v = json_alloc(n->doc, sizeof(*v));
    const struct json **items = json_alloc(n->doc, (a->n + b->n) * sizeof(*items));
    if (!v || !items) {
        n->failed = true;
        return a;
    }
    for (size_t i = 0; i < a->n + b->n; i++)
        items[i] = i < a->n ? a->items[i] : b->items[i - a->n];
    *v = (struct json){.kind = JSON_ARRAY, .at = a->at, .items = items, .n = a->n + b->n};
    return v;
}

static void drain_notice(struct norm *n, const struct frame *f, const struct schema_moved *moved,
    const struct json_member *old)
{
    struct frame section = {f, moved->old_object, 0}, at = {&section, moved->old_name, 0};
    struct text hint;
    snprintf(hint.s, sizeof(hint.s), "move its entries to %.*s.%.*s", STR_ARG(moved->new_object),
        STR_ARG(moved->new_name));
    notice(n, &at, &old->key_at, hint.s, "%s is an old name of %.*s.%.*s", where(&at).s,
        STR_ARG(moved->new_object), STR_ARG(moved->new_name));
}

static const struct json *drain_one(struct norm *n, const struct frame *f,
    const struct json *profile, const struct schema_moved *moved)
{
    const struct json_member *section = json_get(profile, moved->old_object);
    const struct json_member *old = section ? json_get(section->value, moved->old_name) : NULL;
    if (!old)
        return profile;
    const struct json *list = old->value;
    struct place at = old->key_at;
    if (list->n)
        drain_notice(n, f, moved, old);
    profile = object_with(n, profile, moved->old_object, at,
        object_with(n, section->value, moved->old_name, at, NULL));
    if (!list->n)
        return profile;
    static const struct json empty = {.kind = JSON_OBJECT};
    const struct json_member *to = json_get(profile, moved->new_object);
    struct json *fresh = to ? NULL : json_alloc(n->doc, sizeof(*fresh));
    if (fresh) {
        *fresh = empty;
        fresh->at = at;
    }
    const struct json *target = to ? to->value : fresh ? fresh : &empty;
    const struct json_member *have = json_get(target, moved->new_name);
    target = object_with(n, target, moved->new_name, at,
        have ? list_joined(n, have->value, list) : list);
    return object_with(n, profile, moved->new_object, at, target);
}

/* Move what stands in legacy sections to where it belongs today. */
static const struct json *drain(struct norm *n, const struct frame *f, const struct json *profile)
{
    for (size_t i = 0; i < schema_moved_n; i++)
        profile = drain_one(n, f, profile, &schema_moved[i]);
    return json_get(profile, STR("policy"))
               ? object_with(n, profile, STR("policy"), profile->at, NULL)
               : profile;
}

enum { FIELDS_MAX = 64 };

static const struct json *norm_object(struct norm *n, const struct frame *f,
    enum schema_type_id id, const struct json *v)
{
    const struct schema_type *t = &schema_types[id];
    const struct json_member *seen[FIELDS_MAX] = {0};
    struct making making = {.old = v};
    for (size_t i = 0; i < v->n && !n->failed; i++) {
        const struct json_member *m = &v->members[i];
        const struct schema_field *field = schema_field_find(id, m->key, true);
        struct frame at = {f, m->key, 0};
        const struct json *value = NULL;
        struct str key = m->key;
        if (field && !(t->flags & SCHEMA_LIKE && field->flags & FIELD_ROOT)) {
            size_t index = (size_t)(field - &schema_fields[t->first]);
            fixed_repeats(n, &at, m);
            if (seen[index])
                two_names(n, &at, field, seen[index], m);
            value = seen[index] ? NULL : norm_field(n, &at, field, m);
            seen[index] = m;
            if (!str_eq(key, field->name))
                key = field->name;
        } else if (!(t->flags & SCHEMA_OPEN)) {
            unknown_key(n, &at, id, m);
        }
        if (!n->failed)
            make_member(n, &making, i, key, value);
    }
    if (n->failed)
        return NULL;
    missing_fields(n, f, id, seen, v);
    const struct json *object = made(n, &making);
    return object && (id == T_profile || id == T_override) ? drain(n, f, object) : object;
}

/* --- conditions --- */

static bool check_predicate(struct norm *n, const struct frame *f, const struct json *v)
{
    struct errctx ctx = {0};
    bool holds;
    if (v->kind != JSON_STRING) {
        wrong_kind(n, f, T_predicate, v);
        return false;
    }
    if (platform_when(n->facts, v->text, &holds, &ctx))
        return true;
    wrong(n, f, &v->at, "for example \"linux\", \"!macos\", \"linux:ubuntu:>=22.04\"", "%s: %s",
        where(f).s, ctx.text);
    return false;
}

static const struct json *norm_predicates(struct norm *n, const struct frame *f,
    const struct json *v)
{
    bool ok = true;
    if (v->kind == JSON_STRING)
        return check_predicate(n, f, v) ? v : NULL;
    if (v->n == 0) {
        wrong(n, f, &v->at, "leave \"when\" out where it always counts", "%s must name a system",
            where(f).s);
        return NULL;
    }
    for (size_t i = 0; i < v->n; i++)
        ok &= check_predicate(n, &(struct frame){f, STR_NULL, i}, v->items[i]);
    return ok ? v : NULL;
}

/* Of predicates that were checked. */
static bool any_holds(const struct norm *n, const struct json *when)
{
    bool any = false;
    for (size_t i = 0; i < (when->kind == JSON_ARRAY ? when->n : 1); i++) {
        const struct json *one = when->kind == JSON_ARRAY ? when->items[i] : when;
        struct errctx ctx = {0};
        bool holds;
        any |= platform_when(n->facts, one->text, &holds, &ctx) && holds;
    }
    return any;
}

/* The text itself; an object becomes the text in its first field, or nothing. */
static const struct json *norm_conditional(struct norm *n, const struct frame *f,
    enum schema_type_id id, const struct json *v)
{
    enum schema_type_id object = (enum schema_type_id)schema_types[id].other;
    if (v->kind == JSON_STRING)
        return v;
    const struct json *checked = norm_object(n, f, object, v);
    if (!checked)
        return NULL;
    const struct json_member *text =
        json_get(checked, schema_fields[schema_types[object].first].name);
    const struct json_member *when = json_get(checked, STR("when"));
    /* A wrong `when` is gone by now, and noted as an error: nobody acts on what then looks
     * unconditional. */
    return text && (!when || any_holds(n, when->value)) ? text->value : NULL;
}

static const struct json *norm_either(struct norm *n, const struct frame *f,
    enum schema_type_id id, const struct json *v)
{
    const struct schema_type *t = &schema_types[id];
    enum schema_type_id one = (enum schema_type_id)t->one, other = (enum schema_type_id)t->other;
    return norm_value(n, f, schema_takes_kind(one, (enum json_kind)v->kind) ? one : other, v);
}

static const struct json *norm_value(struct norm *n, const struct frame *f, enum schema_type_id id,
    const struct json *v)
{
    if (!schema_takes_kind(id, (enum json_kind)v->kind)) {
        wrong_kind(n, f, id, v);
        return NULL;
    }
    switch ((enum schema_shape)schema_types[id].shape) {
    case SHAPE_ANYTHING:
        look_through(n, f, v);
        return v;
    case SHAPE_INTEGER:
        return norm_integer(n, f, id, v);
    case SHAPE_WORDS:
        return norm_word(n, f, id, v);
    case SHAPE_PREDICATES:
        return norm_predicates(n, f, v);
    case SHAPE_LIST:
        return norm_list(n, f, id, v);
    case SHAPE_MAP:
        return norm_map(n, f, id, v);
    case SHAPE_EITHER:
        return norm_either(n, f, id, v);
    case SHAPE_CONDITIONAL:
        return norm_conditional(n, f, id, v);
    case SHAPE_OBJECT:
        return norm_object(n, f, id, v);
    case SHAPE_BOOLEAN:
    case SHAPE_STRING:
        return v;
    }
    return NULL;
}

const struct json *schema_normalise(struct json_doc *doc, const struct json *root,
    const struct platform *facts, struct problems *problems)
{
    static const struct json empty = {.kind = JSON_OBJECT};
    struct norm n = {.doc = doc, .facts = facts, .problems = problems};
    struct frame top = {0};
    struct platform here;
    if (!facts) {
        platform_read(&here);
        n.facts = &here;
    }
    const struct json *v = norm_value(&n, &top, T_profile, root);
    if (n.failed)
        return NULL;
    return v ? v : &empty;
}
