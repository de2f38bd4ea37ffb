/* Configuration text as a tree in which every value and every key knows its place. The reader accepts JSON with the looser forms of
 * profiles (comments, trailing and missing commas, unquoted and single-quoted names, …: docs/profiles.md), makes strict text of it for
 * jansson and keeps a table from there to FILE:LINE:COLUMN beside it. Trees are immutable once read, owned by their document, and may be
 * merged into new trees that borrow nodes. Start-up, reload and subcommands only; any thread. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* Where something stands. `file` is a path as the user knows it (owned by the document); for flags it is the option, line 0. */
struct place {
    const char *file;
    uint32_t line, column; /* 1-based; column counts bytes */
};
/* "FILE:LINE:COLUMN", or the bare file for line 0. */
void place_format(struct buf *out, const struct place *at);

enum json_kind { JSON_NULL, JSON_BOOL, JSON_INTEGER, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json;
struct json_member {
    struct str key;
    struct place key_at;
    const struct json *value;
    /* An earlier member of the same key in this object, which this one replaces (NULL: none): an error in objects with fixed fields, a
     * notice in maps. */
    const struct json_member *repeats;
};
struct json {
    uint8_t kind; /* enum json_kind */
    bool truth;
    bool negative;         /* JSON_INTEGER: value is -(uint64) */
    uint64_t integer;
    double real;
    struct str text;       /* JSON_STRING */
    struct place at;
    const struct json **items; /* JSON_ARRAY */
    struct json_member *members; /* JSON_OBJECT, in order; the last of a repeated key only */
    size_t n;
};

struct json_doc; /* owns trees, texts, file names */
struct json_doc *json_doc_new(void) MUST_CHECK;
void json_doc_free(struct json_doc *d); /* NULL allowed */
/* Memory of the document, for whoever builds nodes. NULL: out of memory. */
void *json_alloc(struct json_doc *d, size_t n) MUST_CHECK;
struct str json_str(struct json_doc *d, struct str s) MUST_CHECK; /* copy with NUL; p NULL: out of memory */

struct json_error {
    struct place at;
    char text[240]; /* one sentence, no place in it */
    char hint[160]; /* what to write instead; may be empty */
};
/* Read text (loose JSON; nesting at most 512). `file` is copied. ERR_INVALID with *ret_error. */
enum err json_read(struct json_doc *d, struct str text, const char *file, const struct json **ret_root, struct json_error *ret_error)
    MUST_CHECK;
/* Whether text is JSON as RFC 8259 has it, none of the looser forms: what programs say to us, not people. False also out of memory. */
bool json_is_strict(struct str text) MUST_CHECK;
/* The same as json_read from a file: ERR_NOT_FOUND, ERR_SYSTEM (errno text in ret_error). At most 16 MiB. */
enum err json_read_file(struct json_doc *d, const char *path, const struct json **ret_root, struct json_error *ret_error) MUST_CHECK;
/* Member by name, or NULL. */
const struct json_member *json_get(const struct json *object, struct str key);
/* Strict JSON text of a tree; indent 0: one line. */
void json_write(struct buf *out, const struct json *v, unsigned indent);
/* RFC 6901 pointer piece: ~ and / escaped. */
void json_pointer_add(struct buf *out, struct str key);
