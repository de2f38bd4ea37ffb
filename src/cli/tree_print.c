#include "cli/tree_print.h"
#include "base/encode.h"
#include <stdio.h>

#define MASK STR("***")

static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '_' && c != '-' && c != '$')
            return false;
    }
    return s.n > 0;
}

void trail_format(struct buf *out, const struct trail *at)
{
    if (!at)
        return;
    trail_format(out, at->up);
    if (!at->key.p) {
        buf_printf(out, "[%zu]", at->index);
    } else if (is_word(at->key)) {
        buf_add_z(out, at->up ? "." : "");
        buf_add_str(out, at->key);
    } else {
        buf_add_c(out, '[');
        encode_json(out, at->key);
        buf_add_c(out, ']');
    }
}

/* ---- what may hold a secret ---- */

static bool key_is(const struct trail *at, const char *key)
{
    return at && at->key.p && str_eq(at->key, str_from(key));
}

static bool has_scheme(struct str s)
{
    return memmem(s.p, s.n, "://", 3) != NULL;
}

/* Values that are free text of the user's: variables, form parameters, a secret written down where
 * a reference belongs. */
static bool is_hidden(const struct trail *at, struct str text)
{
    const struct trail *up = at ? at->up : NULL;
    if (key_is(up, "set_vars") || key_is(up, "extra_params"))
        return true;
    return key_is(at, "client_secret") && text.n && !has_scheme(text);
}

/* User information, and what is behind the host of a webhook (such URLs are often the secret). */
static void add_masked_url(struct buf *out, const struct trail *at, struct str text)
{
    const char *scheme = memmem(text.p, text.n, "://", 3);
    size_t start = scheme ? (size_t)(scheme - text.p) + 3 : 0;
    struct str rest = str_of(text.p + start, text.n - start);
    size_t end = 0;
    while (end < rest.n && !strchr("/?#", rest.p[end]))
        end++;
    size_t user = str_rfind(str_of(rest.p, end), '@');
    buf_add_str(out, str_of(text.p, start));
    if (user < end) {
        buf_add_str(out, MASK);
        rest = str_of(rest.p + user, rest.n - user);
        end -= user;
    }
    buf_add_str(out, str_of(rest.p, end));
    if (key_is(at, "url") && end + 1 < rest.n) {
        buf_add_c(out, '/');
        buf_add_str(out, MASK);
    } else {
        buf_add_str(out, str_of(rest.p + end, rest.n - end));
    }
}

static void add_string(struct buf *out, const struct trail *at, struct str text)
{
    struct buf masked;
    if (is_hidden(at, text)) {
        encode_json(out, MASK);
        return;
    }
    if (!has_scheme(text) && !key_is(at, "upstream_proxy")) {
        encode_json(out, text);
        return;
    }
    buf_init(&masked, text.n + 16);
    add_masked_url(&masked, at, text);
    encode_json(out, buf_ok(&masked) ? buf_str(&masked) : MASK);
    buf_fini(&masked);
}

/* ---- JSON ---- */

struct writer {
    struct buf *out;
    bool lines, origins;
};

static void new_line(const struct writer *w, unsigned depth)
{
    if (w->lines)
        buf_printf(w->out, "\n%*s", (int)(2 * depth), "");
}

static void write_scalar(struct buf *out, const struct trail *at, const struct json *v)
{
    if (v->kind == JSON_STRING)
        add_string(out, at, v->text);
    else
        json_write(out, v, 0);
}

static void write_value(const struct writer *w, const struct trail *at, const struct json *v,
                        unsigned depth);

static void write_items(const struct writer *w, const struct trail *at, const struct json *v,
                        unsigned depth)
{
    bool object = v->kind == JSON_OBJECT;
    buf_add_c(w->out, object ? '{' : '[');
    for (size_t i = 0; i < v->n; i++) {
        struct trail here = {at, object ? v->members[i].key : STR_NULL, i};
        buf_add_z(w->out, i ? w->lines ? "," : ", " : "");
        new_line(w, depth + 1);
        if (object) {
            encode_json(w->out, here.key);
            buf_add_z(w->out, ": ");
        }
        write_value(w, &here, object ? v->members[i].value : v->items[i], depth + 1);
    }
    new_line(w, depth);
    buf_add_c(w->out, object ? '}' : ']');
}

static void write_value(const struct writer *w, const struct trail *at, const struct json *v,
                        unsigned depth)
{
    struct buf place;
    bool container = (v->kind == JSON_OBJECT || v->kind == JSON_ARRAY);
    if (container && (v->n || !at)) {
        write_items(w, at, v, depth);
        return;
    }
    if (w->origins)
        buf_add_z(w->out, "{\"value\": ");
    write_scalar(w->out, at, v);
    if (!w->origins)
        return;
    buf_init(&place, 8192);
    place_format(&place, &v->at);
    buf_add_z(w->out, ", \"origin\": ");
    encode_json(w->out, buf_str(&place));
    buf_add_c(w->out, '}');
    buf_fini(&place);
}

void tree_json(struct buf *out, const struct json *v, bool origins)
{
    write_value(&(struct writer){out, true, origins}, NULL, v, 0);
    buf_add_c(out, '\n');
}

void tree_value(struct buf *out, const struct trail *at, const struct json *v)
{
    write_value(&(struct writer){out, false, false}, at, v, 0);
}

/* ---- lines ---- */

void tree_lines(struct buf *out, const struct trail *at, const struct json *v)
{
    bool object = v->kind == JSON_OBJECT, list = v->kind == JSON_ARRAY;
    for (size_t i = 0; (object || list) && i < v->n; i++) {
        struct trail here = {at, object ? v->members[i].key : STR_NULL, i};
        tree_lines(out, &here, object ? v->members[i].value : v->items[i]);
    }
    if ((object || list) && v->n)
        return;
    trail_format(out, at);
    buf_add_z(out, " = ");
    write_scalar(out, at, v);
    buf_add_z(out, "  # ");
    place_format(out, &v->at);
    buf_add_c(out, '\n');
}
