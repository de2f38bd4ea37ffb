/* For tests/e2e/test_schema.py. Without arguments: the JSON Schema of profiles. With files: for each one line of JSON with its content as
 * strict JSON, whether its shape is right, and whether the loader takes it as a whole. */
#include "config/platform.h"
#include "config/profile.h"
#include <stdio.h>

static const struct platform here = {.os = "linux", .id = "debian", .version_id = "12"};

static int print(struct buf *b)
{
    bool ok = buf_ok(b) && fwrite(b->p, 1, b->n, stdout) == b->n;
    buf_fini(b);
    return ok ? 0 : 1;
}

static void judge(struct buf *out, struct json_doc *doc, const struct json *root)
{
    struct problems p;
    problems_init(&p, doc);
    const struct json *tree = schema_normalise(doc, root, &here, &p);
    size_t shape = p.errors;
    if (tree && !shape)
        profile_check(tree, false, &p);
    buf_printf(out, "{\"shape\":%s,\"whole\":%s,\"content\":", shape ? "false" : "true",
        p.errors ? "false" : "true");
    json_write(out, root, 0);
    buf_add_z(out, "}\n");
    problems_fini(&p);
}

int main(int argc, char **argv)
{
    struct buf out;
    buf_init(&out, 1 << 28);
    if (argc == 1)
        schema_write(&out);
    for (int i = 1; i < argc; i++) {
        struct json_doc *doc = json_doc_new();
        struct json_error e;
        const struct json *root;
        if (doc && json_read_file(doc, argv[i], &root, &e) == ERR_OK)
            judge(&out, doc, root);
        else
            buf_add_z(&out, "null\n");
        json_doc_free(doc);
    }
    return print(&out);
}
