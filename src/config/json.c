#include "config/json.h"
#include "base/assert.h"
#include "base/encode.h"
#include "base/map.h"
#include "base/mem.h"
#include "config/json_int.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <unistd.h>

/* jansson's kinds have the names of ours. */
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL JANSSON_REAL
#define JSON_NULL JANSSON_NULL
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_NULL

enum { BLOCK_MIN = 4096, BLOCK_MAX = 256 * 1024, FILE_MAX_BYTES = 16 * 1024 * 1024 };

/* --- document memory: nodes grow from the front of a block, texts from its back --- */

struct block {
    struct block *next;
    alignas(max_align_t) char bytes[];
};

struct json_doc {
    struct block *blocks;
    char *front, *back;
    size_t size; /* of the newest block */
};

struct json_doc *json_doc_new(void)
{
    return mem_zalloc(sizeof(struct json_doc));
}

void json_doc_free(struct json_doc *d)
{
    if (!d)
        return;
    for (struct block *b = d->blocks, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    mem_free(d);
}

static struct block *block_new(struct json_doc *d, size_t n)
{
    struct block *b = n > SIZE_MAX - sizeof(*b) ? NULL : mem_alloc(sizeof(*b) + n);
    if (!b)
        return NULL;
    b->next = d->blocks;
    d->blocks = b;
    return b;
}

/* Room for n bytes in the newest block. False: out of memory. */
static bool make_room(struct json_doc *d, size_t n)
{
    if (n <= (size_t)(d->back - d->front))
        return true;
    size_t size = d->size ? d->size * 2 : BLOCK_MIN;
    size = size > BLOCK_MAX ? BLOCK_MAX : size;
    struct block *b = block_new(d, size);
    if (!b)
        return false;
    d->size = size;
    d->front = b->bytes;
    d->back = b->bytes + size;
    return true;
}

void *json_alloc(struct json_doc *d, size_t n)
{
    size_t align = alignof(max_align_t);
    n += !n;
    if (n > BLOCK_MIN / 4) { /* a large piece gets its own block; the newest stays in use */
        struct block *b = block_new(d, n);
        return b ? b->bytes : NULL;
    }
    n = (n + align - 1) / align * align;
    if (!make_room(d, n))
        return NULL;
    void *p = d->front;
    d->front += n;
    return p;
}

struct str json_str(struct json_doc *d, struct str s)
{
    char *p;
    if (s.n > BLOCK_MIN / 4) {
        p = json_alloc(d, s.n + 1);
    } else {
        /* The front stays aligned: what is left below the back only has to hold the text. */
        p = make_room(d, s.n + 1) ? (d->back -= s.n + 1) : NULL;
    }
    if (!p)
        return STR_NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return str_of(p, s.n);
}

/* --- the tree --- */

struct build {
    struct json_doc *doc;
    const struct json_token *next;
    const char *file;
};

static struct place token_place(const struct build *b, const struct json_token *t)
{
    return (struct place){b->file, t->line, t->column};
}

/* The latest of the first n members that has this key. */
static struct json_member *member_before(struct json_member *m, size_t n, struct str key)
{
    while (n-- > 0)
        if (str_eq(m[n].key, key))
            return &m[n];
    return NULL;
}

/* Members that a later one replaces are marked, and the later one points to them. *ret_kept: how
 * many stay. */
static bool link_repeats(struct json_member *m, size_t n, bool *replaced, size_t *ret_kept)
{
    struct map seen;
    bool large = n > 16, ok = true;
    size_t kept = n;
    map_init(&seen);
    for (size_t i = 0; i < n && ok; i++) {
        struct json_member *earlier =
            large ? map_get(&seen, m[i].key) : member_before(m, i, m[i].key);
        m[i].repeats = earlier;
        if (earlier) {
            replaced[earlier - m] = true;
            kept--;
        }
        if (large)
            ok = map_put(&seen, m[i].key, &m[i]);
    }
    map_fini(&seen);
    *ret_kept = kept;
    return ok;
}

/* Leave only the last of each key in the object; the others stay reachable through `repeats`. */
static bool settle_members(struct json_doc *d, struct json *object)
{
    size_t n = object->n, kept, at = 0;
    bool few[64] = {0}, *replaced = n <= ARRAY_LEN(few) ? few : mem_zalloc(n);
    bool ok = replaced && link_repeats(object->members, n, replaced, &kept);
    if (ok && kept < n) {
        struct json_member *m = json_alloc(d, kept * sizeof(*m));
        for (size_t i = 0; m && i < n; i++)
            if (!replaced[i])
                m[at++] = object->members[i];
        object->members = m;
        object->n = kept;
        ok = m != NULL;
    }
    if (replaced != few)
        mem_free(replaced);
    return ok;
}

static bool build_text(struct build *b, const json_t *from, struct str *ret_text)
{
    *ret_text =
        json_str(b->doc, str_of(json_string_value(from), json_string_length(from)));
    return ret_text->p != NULL;
}

static struct json *build_value(struct build *b, const json_t *from);

static bool build_items(struct build *b, const json_t *from, struct json *to)
{
    to->n = json_array_size(from);
    to->items = json_alloc(b->doc, to->n * sizeof(*to->items));
    if (!to->items)
        return false;
    for (size_t i = 0; i < to->n; i++)
        if (!(to->items[i] = build_value(b, json_array_get(from, i))))
            return false;
    return true;
}

/* An object arrives as the array of its keys and values. */
static bool build_members(struct build *b, const json_t *from, struct json *to)
{
    to->n = json_array_size(from) / 2;
    to->members = json_alloc(b->doc, to->n * sizeof(*to->members));
    if (!to->members)
        return false;
    for (size_t i = 0; i < to->n; i++) {
        struct json_member *m = &to->members[i];
        m->key_at = token_place(b, b->next++);
        m->repeats = NULL;
        if (!build_text(b, json_array_get(from, 2 * i), &m->key) ||
            !(m->value = build_value(b, json_array_get(from, 2 * i + 1))))
            return false;
    }
    return settle_members(b->doc, to);
}

static struct json *build_value(struct build *b, const json_t *from)
{
    const struct json_token *t = b->next++;
    struct json *to = json_alloc(b->doc, sizeof(*to));
    bool ok = true;
    if (!to)
        return NULL;
    *to = (struct json){.kind = t->kind, .at = token_place(b, t)};
    switch ((enum json_kind)t->kind) {
    case JSON_NULL:
        break;
    case JSON_BOOL:
        to->truth = json_is_true(from);
        break;
    case JSON_INTEGER:
        to->integer = t->integer;
        to->negative = t->negative;
        break;
    case JSON_REAL:
        to->real = json_real_value(from);
        break;
    case JSON_STRING:
        ok = build_text(b, from, &to->text);
        break;
    case JSON_ARRAY:
        ok = build_items(b, from, to);
        break;
    case JSON_OBJECT:
        ok = build_members(b, from, to);
        break;
    }
    return ok ? to : NULL;
}

/* --- reading --- */

static void use_our_memory(void)
{
    json_set_alloc_funcs(mem_alloc, mem_free);
}

/* The scanner leaves nothing to find but a number out of range: the place is that of the token
 * jansson stopped in. Every other failure is one of memory, for which jansson has several names. */
static enum err strict_error(const json_error_t *e, const struct json_tokens *tokens,
    struct json_error *ret_error)
{
    size_t low = 0, high = tokens->n;
    if (json_error_code(e) != json_error_numeric_overflow)
        return ERR_NOMEM;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (tokens->v[middle].strict < (size_t)e->position)
            low = middle;
        else
            high = middle;
    }
    ret_error->at.line = tokens->n ? tokens->v[low].line : 1;
    ret_error->at.column = tokens->n ? tokens->v[low].column : 1;
    snprintf(ret_error->text, sizeof(ret_error->text), "this number is too large");
    return ERR_INVALID;
}

static enum err build_tree(struct json_doc *d, const struct buf *strict,
    const struct json_tokens *tokens, const char *file, const struct json **ret_root,
    struct json_error *ret_error)
{
    struct build b = {.doc = d, .next = tokens->v, .file = file};
    json_error_t e = {.position = 0};
    json_t *from = json_loadb(strict->p, strict->n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!from)
        return strict_error(&e, tokens, ret_error);
    const struct json *root = build_value(&b, from);
    json_decref(from);
    if (!root)
        return ERR_NOMEM;
    ASSERT(b.next == tokens->v + tokens->n);
    *ret_root = root;
    return ERR_OK;
}

static void use_our_memory_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, use_our_memory);
}

bool json_is_strict(struct str text)
{
    json_error_t e;
    use_our_memory_once();
    json_t *v = json_loadb(text.p ? text.p : "", text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    json_decref(v);
    return v;
}

enum err json_read(struct json_doc *d, struct str text, const char *file,
    const struct json **ret_root, struct json_error *ret_error)
{
    struct json_tokens tokens = {0};
    struct json_error error = {.at = {.line = 1, .column = 1}};
    struct str name = json_str(d, str_from(file));
    struct buf strict;
    use_our_memory_once();
    if (!name.p)
        return ERR_NOMEM;
    error.at.file = name.p;
    buf_init(&strict, text.n * 6 + 64);
    enum err e = jsonc_scan(text, &strict, &tokens, &error);
    if (e == ERR_OK)
        e = build_tree(d, &strict, &tokens, name.p, ret_root, &error);
    buf_wipe_fini(&strict); /* people do write secrets into profiles */
    mem_free(tokens.v);
    if (e == ERR_NOMEM)
        snprintf(error.text, sizeof(error.text), "out of memory");
    if (e != ERR_OK)
        *ret_error = error;
    return e;
}

static enum err file_error(struct json_error *ret_error, enum err e, const char *what)
{
    snprintf(ret_error->text, sizeof(ret_error->text), "%s", what);
    return e;
}

static enum err read_all(int fd, struct buf *text, struct json_error *ret_error)
{
    for (;;) {
        char *p = buf_reserve(text, 16 * 1024);
        if (!p)
            return ERR_NOMEM;
        ssize_t got = read(fd, p, 16 * 1024);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return file_error(ret_error, ERR_SYSTEM, err_errno_text(errno));
        if (got == 0)
            return ERR_OK;
        text->n += (size_t)got;
        if (text->n > FILE_MAX_BYTES)
            return file_error(ret_error, ERR_INVALID, "larger than 16 MiB");
    }
}

enum err json_read_file(struct json_doc *d, const char *path, const struct json **ret_root,
    struct json_error *ret_error)
{
    struct json_error error = {0};
    struct buf text;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err e;
    buf_init(&text, FILE_MAX_BYTES + 64 * 1024);
    if (fd < 0)
        e = file_error(&error, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_SYSTEM,
            err_errno_text(errno));
    else
        e = read_all(fd, &text, &error);
    if (fd >= 0)
        close(fd);
    if (e == ERR_OK) {
        e = json_read(d, buf_str(&text), path, ret_root, ret_error);
    } else {
        error.at.file = json_str(d, str_from(path)).p;
        *ret_error = error;
    }
    buf_wipe_fini(&text);
    return e;
}

/* --- looking and writing --- */

void place_format(struct buf *out, const struct place *at)
{
    buf_add_z(out, at->file ? at->file : "");
    if (at->line)
        buf_printf(out, ":%u:%u", at->line, at->column);
}

const struct json_member *json_get(const struct json *object, struct str key)
{
    if (object->kind != JSON_OBJECT)
        return NULL;
    for (size_t i = 0; i < object->n; i++)
        if (str_eq(object->members[i].key, key))
            return &object->members[i];
    return NULL;
}

void json_pointer_add(struct buf *out, struct str key)
{
    buf_add_c(out, '/');
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] == '~')
            buf_add_z(out, "~0");
        else if (key.p[i] == '/')
            buf_add_z(out, "~1");
        else
            buf_add_c(out, key.p[i]);
    }
}

/* Through jansson, which knows the way back and the locale's decimal point. */
static void write_real(struct buf *out, double value)
{
    char text[64];
    json_t *j = json_real(value);
    size_t n = j ? json_dumpb(j, text, sizeof(text), JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)) : 0;
    json_decref(j);
    if (n && n <= sizeof(text))
        buf_add(out, text, n);
    else
        buf_add_z(out, "null");
}

static void write_line(struct buf *out, unsigned indent, unsigned depth)
{
    if (!indent)
        return;
    buf_add_c(out, '\n');
    for (unsigned i = 0; i < indent * depth; i++)
        buf_add_c(out, ' ');
}

static void write_value(struct buf *out, const struct json *v, unsigned indent, unsigned depth);

static void write_container(struct buf *out, const struct json *v, unsigned indent, unsigned depth)
{
    bool array = v->kind == JSON_ARRAY;
    buf_add_c(out, array ? '[' : '{');
    for (size_t i = 0; i < v->n; i++) {
        if (i)
            buf_add_c(out, ',');
        write_line(out, indent, depth + 1);
        if (!array) {
            encode_json(out, v->members[i].key);
            buf_add_z(out, indent ? ": " : ":");
        }
        write_value(out, array ? v->items[i] : v->members[i].value, indent, depth + 1);
    }
    if (v->n)
        write_line(out, indent, depth);
    buf_add_c(out, array ? ']' : '}');
}

static void write_value(struct buf *out, const struct json *v, unsigned indent, unsigned depth)
{
    switch ((enum json_kind)v->kind) {
    case JSON_NULL:
        buf_add_z(out, "null");
        return;
    case JSON_BOOL:
        buf_add_z(out, v->truth ? "true" : "false");
        return;
    case JSON_INTEGER:
        if (v->negative)
            buf_add_c(out, '-');
        buf_add_u64(out, v->integer);
        return;
    case JSON_REAL:
        write_real(out, v->real);
        return;
    case JSON_STRING:
        encode_json(out, v->text);
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        write_container(out, v, indent, depth);
        return;
    }
}

void json_write(struct buf *out, const struct json *v, unsigned indent)
{
    write_value(out, v, indent, 0);
}
