#include "http/h1_write.h"

/* Made first, so that the whole head is one reservation and a row of copies. */
struct framing_line {
    char text[48]; /* our framing field with its CRLF, or nothing */
    size_t n;
};

static void set_length(struct framing_line *w, uint64_t length)
{
    static const char name[] = "Content-Length: ";
    char digits[20];
    size_t at = sizeof(digits), n = sizeof(name) - 1;

    do {
        digits[--at] = (char)('0' + length % 10);
        length /= 10;
    } while (length);
    memcpy(w->text, name, n);
    memcpy(w->text + n, digits + at, sizeof(digits) - at);
    n += sizeof(digits) - at;
    w->text[n++] = '\r';
    w->text[n++] = '\n';
    w->n = n;
}

static void set_chunked(struct framing_line *w)
{
    static const char line[] = "Transfer-Encoding: chunked\r\n";

    memcpy(w->text, line, sizeof(line) - 1);
    w->n = sizeof(line) - 1;
}

/* Ours alone: whatever stands in the fields, framing is written from head->framing. */
static bool goes_out(const struct field *f)
{
    return !f->drop && f->id != FIELD_CONTENT_LENGTH && f->id != FIELD_TRANSFER_ENCODING;
}

static size_t fields_size(const struct fields *f)
{
    size_t n = 0;

    for (unsigned i = 0; i < f->n; i++)
        if (goes_out(&f->v[i]))
            n += f->v[i].name.n + f->v[i].value.n + 4;
    return n;
}

static char *put(char *at, const char *p, size_t n)
{
    if (n)
        memcpy(at, p, n);
    return at + n;
}

static char *put_fields(char *at, const struct fields *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        if (!goes_out(&f->v[i]))
            continue;
        at = put(at, f->v[i].name.p, f->v[i].name.n);
        at = put(at, ": ", 2);
        at = put(at, f->v[i].value.p, f->v[i].value.n);
        at = put(at, "\r\n", 2);
    }
    return at;
}

static void write_head(struct buf *out, const struct str line[5], const struct fields *f,
                       const struct framing_line *w, struct str extra)
{
    size_t n = fields_size(f) + w->n + extra.n + 2;

    for (int i = 0; i < 5; i++)
        n += line[i].n;
    char *at = buf_reserve(out, n);
    if (!at)
        return;
    for (int i = 0; i < 5; i++)
        at = put(at, line[i].p, line[i].n);
    at = put_fields(at, f);
    at = put(at, w->text, w->n);
    at = put(at, extra.p, extra.n);
    put(at, "\r\n", 2);
    out->n += n;
}

/* RFC 9110 8.6: a sender says so when a method that expects content has none. */
static bool expects_content(struct str method)
{
    return str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) ||
           str_eq(method, STR("PATCH"));
}

void h1_write_request(struct buf *out, const struct http_head *head, struct str extra)
{
    struct framing_line w;
    const struct str line[5] = {head->method, STR(" "), head->target, STR(" HTTP/1.1\r\n"),
                                STR_NULL};

    w.n = 0;
    if (head->framing == FRAMING_CHUNKED)
        set_chunked(&w);
    else if (head->framing == FRAMING_LENGTH)
        set_length(&w, head->length);
    else if (expects_content(head->method))
        set_length(&w, 0);
    write_head(out, line, &head->fields, &w, extra);
}

/* The Content-Length of an answer to HEAD, or of a 304, says what a GET would have got; interim
 * answers and 204 must not have one (RFC 9110 8.6), and beside Transfer-Encoding it means nothing.
 */
static void keep_length(struct framing_line *w, const struct http_head *head)
{
    const struct field *f = fields_get(&head->fields, FIELD_CONTENT_LENGTH);
    uint64_t length;

    if (head->status < 200 || head->status == 204 || !f ||
        fields_get(&head->fields, FIELD_TRANSFER_ENCODING))
        return;
    if (str_u64(f->value, INT64_MAX, &length))
        set_length(w, length);
}

void h1_write_response(struct buf *out, const struct http_head *head, struct str extra)
{
    struct framing_line w;
    const char status[4] = {(char)('0' + head->status / 100 % 10),
                            (char)('0' + head->status / 10 % 10), (char)('0' + head->status % 10),
                            ' '};
    const struct str line[5] = {
        STR("HTTP/1.1 "), {status, sizeof(status)}, head->reason, STR("\r\n"), STR_NULL};

    w.n = 0;
    if (head->framing == FRAMING_CHUNKED)
        set_chunked(&w);
    else if (head->framing == FRAMING_LENGTH)
        set_length(&w, head->length);
    else if (head->framing == FRAMING_NONE)
        keep_length(&w, head);
    write_head(out, line, &head->fields, &w, extra);
}
