/* A request path. What is accepted has normal forms that are forms of themselves, however they are spelt again. */
#include <stdlib.h>
#include "base/buf.h"
#include "base/mem.h"
#include "policy/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void check_form(struct str form)
{
    struct str rest = str_of(form.p + 1, form.n - 1), part;
    CHECK(form.n && form.p[0] == '/');
    CHECK(form.n == 1 || form.p[form.n - 1] != '/');
    while (form.n > 1 && str_next(&rest, '/', &part))
        CHECK(part.n && !str_eq(part, STR(".")) && !str_eq(part, STR("..")));
}

/* Every byte escaped but separators. */
static void spell(struct buf *out, struct str form)
{
    for (size_t i = 0; i < form.n; i++) {
        char c = form.p[i] == PATH_DATA_SLASH ? '/' : form.p[i];
        if (form.p[i] == '/')
            buf_add_c(out, '/');
        else
            buf_printf(out, "%%%02x", (unsigned)(unsigned char)c);
    }
}

static void check_again(struct str form, const struct judged_path *path)
{
    struct buf text;
    struct judged_path again;
    struct errctx ctx = {0};
    buf_init(&text, 1 << 20);
    spell(&text, form);
    char *scratch = mem_alloc(2 * text.n + 4);
    if (scratch && buf_ok(&text)) {
        CHECK(path_judge(buf_str(&text), scratch, 2 * text.n + 4, &again, &ctx) == ERR_OK);
        CHECK(str_eq(again.decoded, path->decoded));
        if (form.p == path->segments.p)
            CHECK(str_eq(again.segments, path->segments));
    }
    mem_free(scratch);
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct judged_path path;
    struct errctx ctx = {0};
    char *scratch = mem_alloc(2 * n + 4);
    if (!scratch)
        return 0;
    enum err e = path_judge(str_of((const char *)bytes, n), scratch, 2 * n + 4, &path, &ctx);
    CHECK(e == ERR_OK || (e == ERR_BAD_REQUEST && ctx.text[0]));
    if (e == ERR_OK) {
        check_form(path.segments);
        check_form(path.decoded);
        CHECK(str_find(path.decoded, '\\') == path.decoded.n && str_find(path.decoded, '\0') == path.decoded.n);
        check_again(path.segments, &path);
        check_again(path.decoded, &path);
    }
    mem_free(scratch);
    return 0;
}
