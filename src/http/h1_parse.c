#include "http/h1_parse.h"
#include "http/http_int.h"

/* ---- bytes ---- */

enum { TOKEN = 1, TARGET = 2, VALUE = 4, HOST = 8 };

/* Ranges must not overlap: tokens are "!#$%&'*+-.^_`|~", digits and letters; targets everything but
 * controls, SP, '#', DEL; values everything but controls (HTAB is fine) and DEL; hosts what a
 * canonical name can be made of. Bytes from 0x80 pass where they may. */
static const uint8_t CLASS[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = TOKEN | TARGET | VALUE,
    ['"'] = TARGET | VALUE,
    ['#'] = TOKEN | VALUE,
    ['$' ... '\''] = TOKEN | TARGET | VALUE,
    ['(' ... ')'] = TARGET | VALUE,
    ['*' ... '+'] = TOKEN | TARGET | VALUE,
    [','] = TARGET | VALUE,
    ['-' ... '.'] = TOKEN | TARGET | VALUE | HOST,
    ['/'] = TARGET | VALUE,
    ['0' ... '9'] = TOKEN | TARGET | VALUE | HOST,
    [':' ... '@'] = TARGET | VALUE,
    ['A' ... 'Z'] = TOKEN | TARGET | VALUE | HOST,
    ['[' ... ']'] = TARGET | VALUE,
    ['^'] = TOKEN | TARGET | VALUE,
    ['_'] = TOKEN | TARGET | VALUE | HOST,
    ['`'] = TOKEN | TARGET | VALUE,
    ['a' ... 'z'] = TOKEN | TARGET | VALUE | HOST,
    ['{'] = TARGET | VALUE,
    ['|'] = TOKEN | TARGET | VALUE,
    ['}'] = TARGET | VALUE,
    ['~'] = TOKEN | TARGET | VALUE,
    [0x80 ... 0xff] = TARGET | VALUE | HOST,
};

static bool is(unsigned char c, unsigned class)
{
    return (CLASS[c] & class) != 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static size_t run_of(const char *p, size_t i, size_t end, unsigned class)
{
    while (i + 4 <= end) {
        if (!is((unsigned char)p[i], class))
            return i;
        if (!is((unsigned char)p[i + 1], class))
            return i + 1;
        if (!is((unsigned char)p[i + 2], class))
            return i + 2;
        if (!is((unsigned char)p[i + 3], class))
            return i + 3;
        i += 4;
    }
    while (i < end && is((unsigned char)p[i], class))
        i++;
    return i;
}

/* Which of eight bytes are below `least` (at most 0x80) or DEL: the lowest bit that is set tells the
 * first one truly, those above it may be wrong. Bytes from 0x80 are neither. */
static inline uint64_t below_or_del(uint64_t x, unsigned least)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones * 0x80;
    uint64_t del = x ^ ones * 0x7f;

    return (((x - ones * least) & ~x) | ((del - ones) & ~del)) & tops;
}

static inline uint64_t equal_to(uint64_t x, unsigned byte)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones * 0x80;
    uint64_t zero = x ^ ones * byte;

    return (zero - ones) & ~zero & tops;
}

static inline uint64_t eight_at(const char *p)
{
    uint64_t x;

    memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

/* Values are most of a head: eight bytes at a time, up to the first control or DEL. */
static size_t run_of_value(const char *p, size_t i, size_t end)
{
    while (i + 8 <= end) {
        uint64_t stop = below_or_del(eight_at(p + i), 0x20);

        if (!stop) {
            i += 8;
            continue;
        }
        i += (size_t)__builtin_ctzll(stop) / 8;
        if (p[i] != '\t')
            return i;
        i++;
    }
    return run_of(p, i, end, VALUE);
}

static size_t run_of_target(const char *p, size_t i, size_t end)
{
    for (; i + 8 <= end; i += 8) {
        uint64_t x = eight_at(p + i);
        uint64_t stop = below_or_del(x, 0x21) | equal_to(x, '#');

        if (stop)
            return i + (size_t)__builtin_ctzll(stop) / 8;
    }
    return run_of(p, i, end, TARGET);
}

/* ---- scanning ---- */

enum scan_state {
    ST_BEGIN,       /* nothing yet */
    ST_BEGIN_LF,    /* CR of the empty line before a request line */
    ST_BEGIN_AGAIN, /* after that line */
    ST_METHOD,
    ST_TARGET_FIRST,
    ST_TARGET,
    ST_LINE, /* at the beginning of a field line or of the last empty one */
    ST_NAME,
    ST_NAME_BLANK, /* response: between name and colon */
    ST_VALUE,      /* of a field, or a reason phrase */
    ST_VALUE_LF,   /* after its CR */
    ST_STATUS_END, /* after the third digit */
    ST_END_LF,     /* CR of the last empty line */
    ST_DONE,
    ST_FIXED, /* and all above: a place in FIXED */
};

/* D is a digit, N one that is not 0. */
static const char FIXED[][16] = {[H1_REQUEST] = "HTTP/D.D\r\n", [H1_RESPONSE] = "HTTP/1.D NDD"};

static void scan_init(struct h1_scan *s, enum h1_role role, unsigned state)
{
    memset(s, 0, sizeof(*s));
    s->role = (uint8_t)role;
    s->state_ = (uint8_t)state;
}

void h1_scan_init(struct h1_scan *s, enum h1_role role)
{
    scan_init(s, role, role == H1_REQUEST ? ST_BEGIN : ST_FIXED);
}

void h1_scan_init_trailers(struct h1_scan *s, enum h1_role role)
{
    scan_init(s, role, ST_LINE);
    s->started = true;
}

static enum err malformed(enum h1_role role)
{
    return role == H1_REQUEST ? ERR_BAD_REQUEST : ERR_BAD_RESPONSE;
}

/* Refusals are sentences with the place and the byte: what a developer needs who looks at a dump.
 */
static enum err refuse(const struct h1_scan *s, unsigned char c, const char *what,
                       struct errctx *ctx)
{
    return err_set(ctx, malformed(s->role), "%s (byte 0x%02x at offset %u)", what, c,
                   (unsigned)s->pos);
}

static enum err over_limit(const struct h1_scan *s, struct errctx *ctx)
{
    if (s->role == H1_RESPONSE)
        return err_set(ctx, ERR_BAD_RESPONSE, "response head is over %d bytes", LIMIT_HEAD_BYTES);
    if (s->in_first_line_)
        return err_set(ctx, ERR_URI_TOO_LONG, "request line is over %d bytes", LIMIT_HEAD_BYTES);
    return err_set(ctx, ERR_HEAD_TOO_LARGE, "head is over %d bytes", LIMIT_HEAD_BYTES);
}

static enum err too_many_fields(enum h1_role role, struct errctx *ctx)
{
    return err_set(ctx, role == H1_REQUEST ? ERR_HEAD_TOO_LARGE : ERR_BAD_RESPONSE,
                   "more than %d fields", LIMIT_HEAD_FIELDS);
}

static enum err scan_begin(struct h1_scan *s, unsigned char c, struct errctx *ctx)
{
    if (c == '\r' && s->state_ == ST_BEGIN) {
        s->state_ = ST_BEGIN_LF;
        return ERR_OK;
    }
    if (!is(c, TOKEN))
        return refuse(s, c,
                      c == 0x16 ? "TLS where an HTTP request was expected"
                                : "no HTTP request begins like this",
                      ctx);
    s->started = s->in_first_line_ = true;
    s->state_ = ST_METHOD;
    return ERR_OK;
}

static bool fixed_matches(char want, unsigned char c)
{
    switch (want) {
    case 'D':
        return c >= '0' && c <= '9';
    case 'N':
        return c >= '1' && c <= '9';
    default:
        return c == (unsigned char)want;
    }
}

static enum err scan_fixed(struct h1_scan *s, unsigned char c, struct errctx *ctx)
{
    const bool request = s->role == H1_REQUEST;
    const char *want = &FIXED[s->role][s->state_ - ST_FIXED];

    if (!fixed_matches(*want, c))
        return refuse(
            s, c, request ? "malformed request line or HTTP version" : "not an HTTP/1 status line",
            ctx);
    s->started = s->in_first_line_ = true;
    s->state_++;
    if (!want[1])
        s->state_ = request ? ST_LINE : ST_STATUS_END;
    return ERR_OK;
}

static enum err scan_line(struct h1_scan *s, unsigned char c, struct errctx *ctx)
{
    const bool response = s->role == H1_RESPONSE;

    s->in_first_line_ = false;
    if (c == '\r') {
        s->state_ = ST_END_LF;
    } else if (c == '\n' && response) {
        s->bare_lf = true;
        s->state_ = ST_DONE;
    } else if (is(c, TOKEN)) {
        if (s->lines_ == LIMIT_HEAD_FIELDS)
            return too_many_fields(s->role, ctx);
        s->lines_++;
        s->state_ = ST_NAME;
    } else if (is_blank((char)c) && response && s->lines_) {
        s->state_ = ST_VALUE;
    } else {
        return refuse(s, c, is_blank((char)c) ? "folded field line" : "field name is no token",
                      ctx);
    }
    return ERR_OK;
}

static enum err scan_name(struct h1_scan *s, unsigned char c, struct errctx *ctx)
{
    if (c == ':')
        s->state_ = ST_VALUE;
    else if (is_blank((char)c) && s->role == H1_RESPONSE)
        s->state_ = ST_NAME_BLANK;
    else if (is_blank((char)c))
        return refuse(s, c, "blank in or after a field name", ctx);
    else
        return refuse(s, c, "field name is no token, or a field line has no colon", ctx);
    return ERR_OK;
}

static enum err scan_value(struct h1_scan *s, unsigned char c, struct errctx *ctx)
{
    if (c == '\r') {
        s->state_ = ST_VALUE_LF;
        return ERR_OK;
    }
    if (c == '\n' && s->role == H1_RESPONSE) {
        s->bare_lf = true;
        s->state_ = ST_LINE;
        return ERR_OK;
    }
    return refuse(s, c, c == '\n' ? "line ends in LF alone" : "control character in a field", ctx);
}

static enum err scan_target(struct h1_scan *s, unsigned char c, struct errctx *ctx)
{
    if (c == ' ' && s->state_ == ST_TARGET)
        s->state_ = ST_FIXED;
    else if (is(c, TARGET))
        s->state_ = ST_TARGET;
    else
        return refuse(s, c, c == '#' ? "fragment in the request target" : "malformed request line",
                      ctx);
    return ERR_OK;
}

static enum err scan_expected(struct h1_scan *s, unsigned char c, unsigned char want, unsigned next,
                              const char *what, struct errctx *ctx)
{
    if (c != want)
        return refuse(s, c, what, ctx);
    s->state_ = (uint8_t)next;
    return ERR_OK;
}

static enum err scan_status_end(struct h1_scan *s, unsigned char c, struct errctx *ctx)
{
    /* The blank before an empty reason phrase is often left out. */
    if (c == '\r' || c == '\n')
        return scan_value(s, c, ctx);
    return scan_expected(s, c, ' ', ST_VALUE, "status code is not three digits", ctx);
}

/* One byte that ends the run of a state. */
static enum err scan_byte(struct h1_scan *s, unsigned char c, struct errctx *ctx)
{
    switch ((enum scan_state)s->state_) {
    case ST_BEGIN:
    case ST_BEGIN_AGAIN:
        return scan_begin(s, c, ctx);
    case ST_BEGIN_LF:
        return scan_expected(s, c, '\n', ST_BEGIN_AGAIN, "bare CR", ctx);
    case ST_METHOD:
        return scan_expected(s, c, ' ', ST_TARGET_FIRST, "method is no token", ctx);
    case ST_TARGET_FIRST:
    case ST_TARGET:
        return scan_target(s, c, ctx);
    case ST_LINE:
        return scan_line(s, c, ctx);
    case ST_NAME:
    case ST_NAME_BLANK:
        return scan_name(s, c, ctx);
    case ST_VALUE:
        return scan_value(s, c, ctx);
    case ST_VALUE_LF:
        return scan_expected(s, c, '\n', ST_LINE, "bare CR", ctx);
    case ST_STATUS_END:
        return scan_status_end(s, c, ctx);
    case ST_END_LF:
        return scan_expected(s, c, '\n', ST_DONE, "bare CR", ctx);
    default:
        return scan_fixed(s, c, ctx);
    }
}

/* What changes nothing in this state is skipped at once. */
static size_t skip_run(unsigned state, const char *p, size_t i, size_t end)
{
    switch (state) {
    case ST_VALUE:
        return run_of_value(p, i, end);
    case ST_NAME:
    case ST_METHOD:
        return run_of(p, i, end, TOKEN);
    case ST_TARGET:
        return run_of_target(p, i, end);
    default:
        return i;
    }
}

/* The beginning of an ordinary head that is here as a whole: nothing is refused here, and what is
 * out of the ordinary is left to those who go byte by byte. */
static void skip_version(struct h1_scan *s, const char *p, size_t end)
{
    if (s->role == H1_REQUEST && end - s->pos >= 10 &&
        memcmp(p + s->pos, "HTTP/1.1\r\n", 10) == 0) {
        s->pos += 10;
        s->state_ = ST_LINE; /* a request line has begun before its version */
    } else if (s->role == H1_RESPONSE && end - s->pos >= 13 &&
               memcmp(p + s->pos, "HTTP/1.1 200 ", 13) == 0) {
        s->pos += 13;
        s->state_ = ST_VALUE;
        s->started = s->in_first_line_ = true;
    }
}

/* Ordinary field lines that are here as a whole, likewise: token, colon, value, CR LF. */
static void skip_lines(struct h1_scan *s, const char *p, size_t end)
{
    size_t i = s->pos;

    s->in_first_line_ = false;
    while (s->lines_ < LIMIT_HEAD_FIELDS) {
        size_t colon = run_of(p, i, end, TOKEN);
        if (colon == i || colon >= end || p[colon] != ':')
            break;
        size_t cr = run_of_value(p, colon + 1, end);
        if (end - cr < 2 || p[cr] != '\r' || p[cr + 1] != '\n')
            break;
        i = cr + 2;
        s->lines_++;
    }
    s->pos = (uint32_t)i;
}

enum err h1_scan(struct h1_scan *s, const char *p, size_t n, struct errctx *ctx)
{
    const size_t end = n < LIMIT_HEAD_BYTES ? n : LIMIT_HEAD_BYTES;

    while (s->state_ != ST_DONE) {
        if (s->state_ == ST_FIXED && s->pos < end)
            skip_version(s, p, end);
        if (s->state_ == ST_LINE && s->pos < end)
            skip_lines(s, p, end);
        s->pos = (uint32_t)skip_run(s->state_, p, s->pos, end);
        if (s->pos >= end)
            return end < LIMIT_HEAD_BYTES ? ERR_AGAIN : over_limit(s, ctx);
        enum err e = scan_byte(s, (unsigned char)p[s->pos], ctx);
        if (e)
            return e;
        s->pos++;
    }
    return ERR_OK;
}

/* ---- field lines ---- */

struct reader {
    char *p, *end;
    enum h1_role role;
    bool bare_lf;
};

/* The LF that ends the line at `from`, or NULL. */
static char *line_end(struct reader *r, const char *from)
{
    char *lf = memchr(from, '\n', (size_t)(r->end - from));

    if (lf && (lf == r->p || lf[-1] != '\r'))
        r->bare_lf = true;
    return lf;
}

/* The lines folded onto the one that is text[0..n) and ends at *lf, pulled up behind it in place with
 * one space between (RFC 9112 5.2). *lf moves to the end of the last one, or is NULL if that is not
 * here. The new length. */
static size_t unfold(struct reader *r, char *text, size_t n, char **lf)
{
    while (*lf && *lf + 1 < r->end && is_blank((*lf)[1])) {
        char *from = *lf + 1;
        *lf = line_end(r, from);
        if (!*lf)
            return n;
        size_t more = (size_t)(*lf - from);
        if (more && from[more - 1] == '\r')
            more--;
        while (more && is_blank(*from))
            from++, more--;
        while (n && is_blank(text[n - 1]))
            n--;
        text[n++] = ' ';
        memmove(text + n, from, more);
        n += more;
    }
    return n;
}

/* Cut the next line, without its end; of a response with what is folded onto it. */
static bool next_line(struct reader *r, struct str *ret_line)
{
    char *text = r->p, *lf = line_end(r, text);

    if (!lf)
        return false;
    size_t n = (size_t)(lf - text);
    if (n && text[n - 1] == '\r')
        n--;
    if (n && r->role == H1_RESPONSE)
        n = unfold(r, text, n, &lf);
    if (!lf)
        return false;
    *ret_line = str_of(text, n);
    r->p = lf + 1;
    return true;
}

static enum err add_line(struct fields *f, struct str line, enum h1_role role, struct errctx *ctx)
{
    const char *colon = memchr(line.p, ':', line.n);

    if (!colon)
        return err_set(ctx, malformed(role), "field line without colon");
    struct str name = str_of(line.p, (size_t)(colon - line.p));
    struct str value = str_of(colon + 1, line.n - name.n - 1);
    while (role == H1_RESPONSE && name.n && is_blank(name.p[name.n - 1]))
        name.n--;
    while (value.n && is_blank(value.p[0]))
        value.p++, value.n--;
    while (value.n && is_blank(value.p[value.n - 1]))
        value.n--;
    if (!name.n)
        return err_set(ctx, malformed(role), "field line without a name");
    if (!fields_add(f, name, value))
        return too_many_fields(role, ctx);
    return ERR_OK;
}

enum err h1_parse_fields(char *p, size_t n, enum h1_role role, struct fields *fields,
                         bool *ret_bare_lf, struct errctx *ctx)
{
    struct reader r = {p, p + n, role, false};
    struct str line;

    fields->n = 0;
    while (next_line(&r, &line)) {
        if (!line.n) {
            *ret_bare_lf = r.bare_lf;
            return ERR_OK;
        }
        enum err e = add_line(fields, line, role, ctx);
        if (e)
            return e;
    }
    return err_set(ctx, malformed(role), "section without its last empty line");
}

/* ---- what a head says ---- */

/* The fields that decide something, found in one pass. */
struct seen {
    const struct field *host, *length, *coding;
    unsigned hosts, lengths, codings;
    bool connection, expect, bad_expect;
};

static void see(struct seen *x, struct field *f, uint8_t minor)
{
    switch (f->id) {
    case FIELD_HOST:
        x->host = f, x->hosts++;
        break;
    case FIELD_CONTENT_LENGTH:
        x->length = f, x->lengths++;
        break;
    case FIELD_TRANSFER_ENCODING:
        x->coding = f, x->codings++;
        break;
    case FIELD_CONNECTION:
        x->connection = true;
        break;
    case FIELD_EXPECT:
        if (minor == 0)
            f->drop = true; /* HTTP/1.0 does not know it (RFC 9110 10.1.1) */
        else if (str_eq_nocase(f->value, STR("100-continue")))
            x->expect = true;
        else
            x->bad_expect = true;
        break;
    default:
        break;
    }
}

static struct seen look(struct http_head *head)
{
    struct seen x = {0};

    for (unsigned i = 0; i < head->fields.n; i++)
        see(&x, &head->fields.v[i], head->minor);
    return x;
}

static bool says_keep_alive(const struct http_head *head, const struct seen *x)
{
    if (!x->connection)
        return head->minor > 0;
    if (fields_has_token(&head->fields, FIELD_CONNECTION, STR("close")))
        return false;
    return head->minor > 0 || fields_has_token(&head->fields, FIELD_CONNECTION, STR("keep-alive"));
}

static bool is_chunked(const struct field *f)
{
    return str_eq_nocase(f->value, STR("chunked"));
}

/* ---- requests ---- */

/* "token SP target SP HTTP/d.d": h1_scan saw to it, so a shape that does not fit is no head it
 * delimited. */
static bool cut_request_line(struct str line, struct http_head *head, struct str *ret_version)
{
    const char *space = memchr(line.p, ' ', line.n);

    if (!space || line.n < 13 || line.p[line.n - 9] != ' ')
        return false;
    head->method = str_of(line.p, (size_t)(space - line.p));
    if (head->method.n + 11 > line.n)
        return false;
    head->target = str_of(space + 1, line.n - head->method.n - 10);
    *ret_version = str_of(line.p + line.n - 8, 8);
    return true;
}

static enum err read_request_line(struct reader *r, struct http_head *head, struct errctx *ctx)
{
    struct str line, version;

    if (r->end - r->p >= 2 && r->p[0] == '\r' && r->p[1] == '\n')
        r->p += 2;
    if (!next_line(r, &line) || !cut_request_line(line, head, &version))
        return err_set(ctx, ERR_BAD_REQUEST, "malformed request line");
    if (!str_starts(version, STR("HTTP/1.")))
        return err_set(ctx, ERR_BAD_VERSION, "%.*s is not supported", STR_ARG(version));
    head->minor = version.p[7] != '0';
    return ERR_OK;
}

/* Digits after the colon of a Host value; none at all is allowed by the grammar. */
static bool port_ok(struct str s)
{
    uint64_t port;

    return !s.n || (str_u64(s, 65535, &port) && port > 0);
}

/* "[v6]" with an optional port. Only the bytes; the address itself is judged where it is used. */
static bool literal_ok(struct str s)
{
    size_t close = str_find(s, ']'), colons = 0;

    if (close == s.n)
        return false;
    for (size_t i = 1; i < close; i++) {
        char c = ascii_lower(s.p[i]);
        if (!ascii_is_digit((unsigned char)c) && !(c >= 'a' && c <= 'f') && c != ':' && c != '.')
            return false;
        colons += c == ':';
    }
    if (colons < 2)
        return false;
    return close + 1 == s.n ||
           (s.p[close + 1] == ':' && port_ok(str_of(s.p + close + 2, s.n - close - 2)));
}

/* Syntax only: a name from which a canonical host could be made (decision H1), or a literal. */
static bool host_ok(struct str s)
{
    if (!s.n || s.p[0] == '.')
        return false;
    if (s.p[0] == '[')
        return literal_ok(s);
    size_t i = run_of(s.p, 0, s.n, HOST);
    if (i == 0)
        return false;
    return i == s.n || (s.p[i] == ':' && port_ok(str_of(s.p + i + 1, s.n - i - 1)));
}

static enum err check_host(const struct seen *x, const struct http_head *head, struct errctx *ctx)
{
    if (!x->hosts && head->minor > 0)
        return err_set(ctx, ERR_BAD_REQUEST, "no Host field");
    if (x->hosts > 1)
        return err_set(ctx, ERR_BAD_REQUEST, "more than one Host field");
    if (x->hosts && !host_ok(x->host->value))
        return err_set(ctx, ERR_BAD_REQUEST, "Host field is no host with an optional port");
    return ERR_OK;
}

static enum err chunked_request(const struct seen *x, struct http_head *head, struct errctx *ctx)
{
    if (x->lengths)
        return err_set(ctx, ERR_BAD_REQUEST, "Transfer-Encoding together with Content-Length");
    if (!head->minor)
        return err_set(ctx, ERR_BAD_REQUEST, "Transfer-Encoding in HTTP/1.0");
    if (x->codings > 1 || !is_chunked(x->coding))
        return err_set(ctx, ERR_BAD_REQUEST, "transfer coding is not exactly chunked");
    head->framing = FRAMING_CHUNKED;
    return ERR_OK;
}

static enum err frame_request(const struct seen *x, struct http_head *head, struct errctx *ctx)
{
    if (x->codings)
        return chunked_request(x, head, ctx);
    if (!x->lengths)
        return ERR_OK;
    if (x->lengths > 1)
        return err_set(ctx, ERR_BAD_REQUEST, "more than one Content-Length");
    if (!str_u64(x->length->value, INT64_MAX, &head->length))
        return err_set(ctx, ERR_BAD_REQUEST, "bad Content-Length");
    head->framing = FRAMING_LENGTH;
    return ERR_OK;
}

static enum err frame_connect(struct http_head *head, struct errctx *ctx)
{
    if (!str_eq(head->method, STR("CONNECT")))
        return ERR_OK;
    if (head->framing == FRAMING_CHUNKED || head->length)
        return err_set(ctx, ERR_BAD_REQUEST, "CONNECT with a body");
    head->framing = FRAMING_NONE;
    return ERR_OK;
}

/* Everything back to nothing, but the caller's room for fields. */
static void head_reset(struct http_head *head)
{
    struct fields room = {head->fields.v, 0, head->fields.cap};

    memset(head, 0, sizeof(*head));
    head->fields = room;
}

enum err h1_parse_request(char *p, size_t n, struct http_head *head, struct errctx *ctx)
{
    struct reader r = {p, p + n, H1_REQUEST, false};
    bool bare_lf;

    head_reset(head);
    enum err e = read_request_line(&r, head, ctx);
    if (!e)
        e = h1_parse_fields(r.p, (size_t)(r.end - r.p), H1_REQUEST, &head->fields, &bare_lf, ctx);
    if (e)
        return e;
    struct seen x = look(head);
    head->keep_alive = says_keep_alive(head, &x);
    e = check_host(&x, head, ctx);
    if (!e)
        e = frame_request(&x, head, ctx);
    if (!e)
        e = frame_connect(head, ctx);
    if (e)
        return e;
    /* Without a body there is nothing to wait with. */
    head->expect_100 = x.expect && (head->framing == FRAMING_CHUNKED || head->length);
    if (x.bad_expect)
        return err_set(ctx, ERR_BAD_EXPECTATION, "only Expect: 100-continue is known");
    return ERR_OK;
}

/* ---- responses ---- */

static bool cut_status_line(struct str line, struct http_head *head)
{
    if (line.n < 12 || !str_starts(line, STR("HTTP/1.")) || line.p[8] != ' ')
        return false;
    uint64_t status;
    if (!str_u64(str_of(line.p + 9, 3), 999, &status) || status < 100)
        return false;
    head->minor = line.p[7] != '0';
    head->status = (uint16_t)status;
    head->reason = line.n > 13 ? str_of(line.p + 13, line.n - 13) : str_of(line.p + line.n, 0);
    return line.n == 12 || line.p[12] == ' ';
}

/* RFC 9112 6.3: a list of equal lengths is that length, and so are repeated equal fields. */
static bool merge_lengths(struct str list, uint64_t *value, bool *known)
{
    struct str part;
    uint64_t v;

    if (!list.n)
        return false;
    while (str_next(&list, ',', &part)) {
        if (!str_u64(str_trim(part), INT64_MAX, &v) || (*known && v != *value))
            return false;
        *value = v;
        *known = true;
    }
    return true;
}

/* One Content-Length is left, with one value; the others are dropped. */
static bool read_lengths(struct fields *f, uint64_t *ret_length)
{
    struct field *first = NULL;
    bool known = false;

    for (unsigned i = 0; i < f->n; i++) {
        struct field *one = &f->v[i];
        if (one->id != FIELD_CONTENT_LENGTH)
            continue;
        if (!merge_lengths(one->value, ret_length, &known))
            return false;
        if (first)
            one->drop = true;
        else
            first = one;
    }
    if (first)
        first->value = str_trim(str_of(first->value.p, str_find(first->value, ',')));
    return true;
}

static void drop_all(struct fields *f, enum field_id id)
{
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id == id)
            f->v[i].drop = true;
}

/* What the fields say, were there a body. */
static enum err frame_fields(const struct seen *x, struct http_head *head, struct errctx *ctx)
{
    if (!read_lengths(&head->fields, &head->length))
        return err_set(ctx, ERR_BAD_RESPONSE, "bad or differing Content-Length");
    head->framing = x->lengths ? FRAMING_LENGTH : FRAMING_CLOSE;
    if (!x->codings)
        return ERR_OK;
    if (x->codings > 1 || !is_chunked(x->coding))
        return err_set(ctx, ERR_BAD_RESPONSE, "transfer coding is not exactly chunked");
    /* Somebody between here and there may have read the length (RFC 9112 6.1). */
    if (x->lengths || !head->minor)
        head->tainted = true;
    drop_all(&head->fields, FIELD_CONTENT_LENGTH);
    head->framing = FRAMING_CHUNKED;
    head->length = 0;
    return ERR_OK;
}

/* Status and method beat the fields. An interim answer or 204 that announces a body may be followed
 * by one: no reuse. */
static void frame_bodiless(struct http_head *head, struct str method)
{
    const bool never = head->status < 200 || head->status == 204;
    const bool connected =
        str_eq(method, STR("CONNECT")) && head->status >= 200 && head->status < 300;

    if (!never && !connected && head->status != 304 && !str_eq(method, STR("HEAD")))
        return;
    if (never && (head->framing == FRAMING_CHUNKED || head->length))
        head->tainted = true;
    head->framing = FRAMING_NONE;
    head->length = 0;
}

enum err h1_parse_response(char *p, size_t n, struct str method, struct http_head *head,
                           struct errctx *ctx)
{
    struct reader r = {p, p + n, H1_RESPONSE, false};
    struct str line;
    bool bare_lf;

    head_reset(head);
    /* A start line is never unfolded: h1_scan lets no blank follow it. */
    if (!next_line(&r, &line) || !cut_status_line(line, head))
        return err_set(ctx, ERR_BAD_RESPONSE, "malformed status line");
    enum err e =
        h1_parse_fields(r.p, (size_t)(r.end - r.p), H1_RESPONSE, &head->fields, &bare_lf, ctx);
    if (e)
        return e;
    head->tainted = bare_lf || r.bare_lf;
    struct seen x = look(head);
    e = frame_fields(&x, head, ctx);
    if (e)
        return e;
    frame_bodiless(head, method);
    head->keep_alive = says_keep_alive(head, &x);
    return ERR_OK;
}
