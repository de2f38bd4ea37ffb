#include "wire.h"
#include "sim_int.h"

struct str wire_field(struct str head, const char *name)
{
    struct str line, want = str_from(name);
    while (str_next(&head, '\n', &line)) {
        size_t colon = str_find(line, ':');
        if (colon == line.n || !str_eq_nocase(str_of(line.p, colon), want))
            continue;
        struct str v = str_of(line.p + colon + 1, line.n - colon - 1);
        if (v.n && v.p[v.n - 1] == '\r')
            v.n--;
        return str_trim(v);
    }
    return STR("");
}

static void drop(struct wire *w, size_t n)
{
    w->n -= n;
    memmove(w->p, w->p + n, w->n);
}

/* Bytes of the line that is complete, its LF included; 0: none. */
static size_t line_end(const struct wire *w)
{
    const char *lf = w->n ? memchr(w->p, '\n', w->n) : NULL;
    return lf ? (size_t)(lf - w->p) + 1 : 0;
}

static void begin_body(struct wire *w, struct str head)
{
    struct str length = wire_field(head, "content-length");
    if (wire_field(head, "transfer-encoding").n) {
        w->state = WIRE_CHUNK_SIZE;
    } else if (length.n) {
        w->state = str_u64(length, UINT64_MAX, &w->left) ? WIRE_LENGTH : WIRE_BAD;
    } else if (w->is_response) {
        w->state = WIRE_TO_END;
    } else {
        w->state = WIRE_LENGTH;
        w->left = 0;
    }
}

static bool take_head(struct wire *w)
{
    const char *end = w->n ? memmem(w->p, w->n, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    size_t n = (size_t)(end - w->p) + 4;
    struct str head = str_of(w->p, n);
    enum wire_body body = w->on_head(w->owner, head);
    if (body == WIRE_RAW) {
        w->state = WIRE_TUNNEL;
    } else if (body == WIRE_NO_BODY) {
        w->state = WIRE_LENGTH;
        w->left = 0;
    } else {
        begin_body(w, head);
    }
    drop(w, n);
    return true;
}

static void end_message(struct wire *w)
{
    w->state = WIRE_HEAD;
    w->on_end(w->owner);
}

static bool take_counted(struct wire *w)
{
    size_t n = w->n < w->left ? w->n : (size_t)w->left;
    if (n)
        w->on_body(w->owner, str_of(w->p, n));
    drop(w, n);
    w->left -= n;
    if (w->left)
        return false;
    if (w->state == WIRE_LENGTH)
        end_message(w);
    else
        w->state = WIRE_CHUNK_SIZE;
    return true;
}

static bool take_size(struct wire *w)
{
    size_t n = line_end(w);
    if (!n)
        return false;
    struct str line = str_of(w->p, n - 1);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (!line.n) { /* the line end of the chunk before */
        drop(w, n);
        return true;
    }
    line.n = str_find(line, ';');
    if (!str_hex(line, UINT64_MAX / 2, &w->left))
        w->state = WIRE_BAD;
    else
        w->state = w->left ? WIRE_CHUNK : WIRE_TRAILER;
    drop(w, n);
    return true;
}

static bool take_trailer(struct wire *w)
{
    size_t n = line_end(w);
    if (!n)
        return false;
    bool last = n <= 2;
    drop(w, n);
    if (last)
        end_message(w);
    return true;
}

static bool take(struct wire *w)
{
    switch (w->state) {
    case WIRE_HEAD:
        return take_head(w);
    case WIRE_LENGTH:
    case WIRE_CHUNK:
        return take_counted(w);
    case WIRE_CHUNK_SIZE:
        return take_size(w);
    case WIRE_TRAILER:
        return take_trailer(w);
    case WIRE_TO_END:
    case WIRE_TUNNEL:
        if (w->n)
            w->on_body(w->owner, str_of(w->p, w->n));
        w->n = 0;
        return false;
    default:
        w->n = 0;
        return false;
    }
}

void wire_feed(struct wire *w, const char *p, size_t n)
{
    if (w->n + n > w->cap) {
        w->cap = (w->n + n) * 2;
        w->p = sim_grow(w->p, w->cap);
    }
    if (n)
        memcpy(w->p + w->n, p, n);
    w->n += n;
    while (take(w))
        ;
}

void wire_fin(struct wire *w)
{
    if (w->state == WIRE_TO_END)
        end_message(w);
}

void wire_fini(struct wire *w)
{
    sim_free(w->p);
    w->p = NULL;
    w->n = w->cap = 0;
}
