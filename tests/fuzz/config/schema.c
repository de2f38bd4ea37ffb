/* Any text as a profile: normalised without a crash, always to an object; what comes out is canonical (normalising it again changes
 * nothing and finds no fault in its shape but what is missing), and merging it with itself and with nothing keeps it so. */
#include <stdlib.h>
#include "config/platform.h"
#include "config/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static const struct platform here = {.os = "linux", .id = "debian", .id_like = "x y", .version_id = "12.1"};

static void check_problems(const struct problems *p)
{
    size_t errors = 0;
    for (size_t i = 0; i < p->n; i++) {
        CHECK(p->v[i].message.n && p->v[i].pointer.p && p->v[i].hint.p);
        for (size_t k = 0; k < p->v[i].message.n; k++)
            CHECK((unsigned char)p->v[i].message.p[k] >= ' ');
        errors += !p->v[i].warning;
    }
    CHECK(errors == p->errors);
}

static void normal(struct json_doc *d, const struct json *v)
{
    struct problems p;
    problems_init(&p, d);
    const struct json *w = schema_normalise(d, v, &here, &p);
    CHECK(w == v);
    for (size_t i = 0; i < p.n; i++)
        CHECK(strstr(p.v[i].message.p, " lacks \"") || p.v[i].warning);
    problems_fini(&p);
}

static bool same(const struct json *a, const struct json *b)
{
    struct buf x, y;
    buf_init(&x, 1 << 26);
    buf_init(&y, 1 << 26);
    json_write(&x, a, 0);
    json_write(&y, b, 0);
    bool equal = str_eq(buf_str(&x), buf_str(&y));
    buf_fini(&x);
    buf_fini(&y);
    return equal;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct json_doc *d = json_doc_new();
    struct json_error e;
    struct problems p;
    const struct json *v;
    static const struct json nothing = {.kind = JSON_OBJECT};
    CHECK(d);
    problems_init(&p, d);
    if (json_read(d, str_of((const char *)bytes, n), "f", &v, &e) == ERR_OK) {
        v = schema_normalise(d, v, &here, &p);
        CHECK(v && v->kind == JSON_OBJECT);
        check_problems(&p);
        normal(d, v);
        const struct json *once = schema_merge(d, &nothing, v), *twice = schema_merge(d, &nothing, once);
        CHECK(once && twice && same(once, twice));
        normal(d, once);
        const struct json *self = schema_merge(d, v, v);
        CHECK(self);
        normal(d, self);
    }
    problems_fini(&p);
    json_doc_free(d);
    return 0;
}
