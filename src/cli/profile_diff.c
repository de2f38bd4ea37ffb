/* `nono profile diff`: two profiles as they are after everything was merged. */
#include "base/map.h"
#include "base/mem.h"
#include "cli/cli_int.h"
#include "cli/profile_command.h"
#include "cli/profile_load.h"
#include "cli/tree_print.h"
#include <unistd.h>

enum { EXIT_DIFFERENT = 1, EXIT_WRONG = 2 };

struct diff {
    struct buf *out;
    size_t n; /* lines */
};

static void add_line(struct diff *d, char mark, const struct trail *at, const struct json *v)
{
    buf_printf(d->out, "%c ", mark);
    trail_format(d->out, at);
    buf_add_z(d->out, ": ");
    tree_value(d->out, at, v);
    buf_add_z(d->out, "  # ");
    place_format(d->out, &v->at);
    buf_add_c(d->out, '\n');
    d->n++;
}

/* What says as much as if it were not there. */
static bool is_nothing(const struct json *v)
{
    bool container = v && (v->kind == JSON_OBJECT || v->kind == JSON_ARRAY);
    if (!v || v->kind == JSON_NULL || (v->kind == JSON_BOOL && !v->truth))
        return true;
    for (size_t i = 0; v->kind == JSON_OBJECT && i < v->n; i++) {
        if (!is_nothing(v->members[i].value))
            return false;
    }
    return container && (v->kind == JSON_OBJECT || v->n == 0);
}

static bool same(const struct json *a, const struct json *b)
{
    struct buf left, right;
    buf_init(&left, PRINT_MAX_BYTES);
    buf_init(&right, PRINT_MAX_BYTES);
    json_write(&left, a, 0);
    json_write(&right, b, 0);
    bool equal = buf_ok(&left) && buf_ok(&right) && str_eq(buf_str(&left), buf_str(&right));
    buf_fini(&left);
    buf_fini(&right);
    return equal;
}

/* ---- lists: what only one of them has ---- */

/* How often each text of the other list is still to be matched: values are counters. */
struct item_text {
    struct buf text;
    size_t left;
};

static bool read_items(const struct json *list, struct item_text *items, struct map *ret_map)
{
    for (size_t i = 0; i < list->n; i++) {
        buf_init(&items[i].text, PRINT_MAX_BYTES);
        json_write(&items[i].text, list->items[i], 0);
        struct item_text *first = map_get(ret_map, buf_str(&items[i].text));
        if (!first && !map_put(ret_map, buf_str(&items[i].text), first = &items[i]))
            return false;
        first->left++;
    }
    return true;
}

/* Lines for what `list` has and `other` has not. */
static void only_in(struct diff *d, char mark, const struct trail *at, const struct json *list,
                    const struct json *other)
{
    struct map seen;
    struct buf text;
    struct item_text *items = mem_zalloc((other->n + 1) * sizeof(*items));
    map_init(&seen);
    buf_init(&text, PRINT_MAX_BYTES);
    bool ok = items && read_items(other, items, &seen);
    for (size_t i = 0; ok && i < list->n; i++) {
        buf_reset(&text);
        json_write(&text, list->items[i], 0);
        struct item_text *match = map_get(&seen, buf_str(&text));
        if (match && match->left)
            match->left--;
        else
            add_line(d, mark, at, list->items[i]);
    }
    for (size_t i = 0; items && i < other->n; i++)
        buf_fini(&items[i].text);
    buf_fini(&text);
    map_fini(&seen);
    mem_free(items);
}

static void compare_lists(struct diff *d, const struct trail *at, const struct json *a,
                          const struct json *b)
{
    size_t before = d->n;
    if (same(a, b))
        return;
    only_in(d, '-', at, a, b);
    only_in(d, '+', at, b, a);
    if (d->n > before)
        return;
    buf_add_z(d->out, "~ ");
    trail_format(d->out, at);
    buf_add_z(d->out, ": the same items in another order\n");
    d->n++;
}

/* ---- objects ---- */

static void compare(struct diff *d, const struct trail *at, const struct json *a,
                    const struct json *b);

static bool ignored(const struct trail *at)
{
    static const char *const names[] = {"meta", "extends", "$schema"};
    for (size_t i = 0; !at->up && i < ARRAY_LEN(names); i++) {
        if (str_eq(at->key, str_from(names[i])))
            return true;
    }
    return false;
}

static void compare_objects(struct diff *d, const struct trail *at, const struct json *a,
                            const struct json *b)
{
    for (size_t i = 0; i < a->n; i++) {
        struct trail here = {at, a->members[i].key, 0};
        const struct json_member *other = json_get(b, here.key);
        if (!ignored(&here))
            compare(d, &here, a->members[i].value, other ? other->value : NULL);
    }
    for (size_t i = 0; i < b->n; i++) {
        struct trail here = {at, b->members[i].key, 0};
        if (!ignored(&here) && !json_get(a, here.key))
            compare(d, &here, NULL, b->members[i].value);
    }
}

/* NULL: it is not there. */
static void compare(struct diff *d, const struct trail *at, const struct json *a,
                    const struct json *b)
{
    static const struct json nothing = {.kind = JSON_OBJECT}, no_items = {.kind = JSON_ARRAY};
    const struct json *any = a ? a : b;
    if (is_nothing(a) && is_nothing(b))
        return;
    if (!a || !b) { /* member by member, item by item */
        const struct json *empty = any->kind == JSON_OBJECT  ? &nothing
                                   : any->kind == JSON_ARRAY ? &no_items
                                                             : NULL;
        if (!empty) {
            add_line(d, a ? '-' : '+', at, any);
            return;
        }
        a = a ? a : empty;
        b = b ? b : empty;
    }
    if (a->kind == JSON_OBJECT && b->kind == JSON_OBJECT) {
        compare_objects(d, at, a, b);
    } else if (a->kind == JSON_ARRAY && b->kind == JSON_ARRAY) {
        compare_lists(d, at, a, b);
    } else if (!same(a, b)) {
        add_line(d, '-', at, a);
        add_line(d, '+', at, b);
    }
}

int profile_diff(const struct args *args, char **envp)
{
    struct loaded l[2];
    struct buf out;
    struct diff d = {.out = &out};
    bool ok = true;
    (void)envp;
    buf_init(&out, PRINT_MAX_BYTES);
    for (size_t i = 0; i < 2; i++) {
        loaded_profile(str_from(args->words[i]), &l[i]);
        if (!l[i].ok)
            loaded_report(&l[i]);
        ok = ok && l[i].ok;
    }
    if (ok)
        compare(&d, NULL, l[0].resolve.tree, l[1].resolve.tree);
    int code = profile_answer(&out, !ok ? EXIT_WRONG : d.n ? EXIT_DIFFERENT : 0);
    for (size_t i = 0; i < 2; i++)
        loaded_fini(&l[i]);
    buf_fini(&out);
    return code;
}
