/* Any bytes as loose JSON: refused with a place inside of the text and a sentence, or read; and what was read, written strictly, is read
 * to the same tree, by the same reader. */
#include <stdlib.h>
#include "config/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void check_place(const struct place *at, size_t lines)
{
    CHECK(at->line >= 1 && at->line <= lines && at->column >= 1);
}

static void same(const struct json *a, const struct json *b, size_t lines)
{
    CHECK(a->kind == b->kind && a->n == b->n && a->truth == b->truth);
    CHECK(a->negative == b->negative && a->integer == b->integer);
    CHECK(a->real == b->real && str_eq(a->text, b->text));
    check_place(&a->at, lines);
    for (size_t i = 0; a->kind == JSON_ARRAY && i < a->n; i++)
        same(a->items[i], b->items[i], lines);
    for (size_t i = 0; a->kind == JSON_OBJECT && i < a->n; i++) {
        check_place(&a->members[i].key_at, lines);
        CHECK(str_eq(a->members[i].key, b->members[i].key));
        same(a->members[i].value, b->members[i].value, lines);
        CHECK(json_get(a, a->members[i].key) == &a->members[i]);
        CHECK(!b->members[i].repeats);
    }
}

static void again(struct json_doc *d, const struct json *v, unsigned indent, size_t lines)
{
    struct json_error e;
    const struct json *w;
    struct buf b;
    buf_init(&b, 1 << 26);
    json_write(&b, v, indent);
    CHECK(buf_ok(&b));
    CHECK(json_read(d, buf_str(&b), "again", &w, &e) == ERR_OK);
    same(v, w, lines);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct json_doc *d = json_doc_new();
    struct json_error e = {0};
    const struct json *v;
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    CHECK(d);
    enum err r = json_read(d, str_of((const char *)p, n), "f", &v, &e);
    CHECK(r == ERR_OK || r == ERR_INVALID);
    if (r == ERR_OK) {
        again(d, v, 0, lines);
        again(d, v, 3, lines);
    } else {
        check_place(&e.at, lines);
        CHECK(e.text[0]);
    }
    json_doc_free(d);
    return 0;
}
