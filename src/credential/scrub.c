/* Nothing that is told of a helper may hold what it returned. */
#include "credential/credential_int.h"

static const char marker[] = "[REDACTED]";

static const char *find(const char *p, size_t n, struct str what)
{
    return what.n && n >= what.n ? memmem(p, n, what.p, what.n) : NULL;
}

/* Every occurrence of value in text becomes the marker. A text that finds no memory is emptied. */
static void cut(struct buf *text, struct str value)
{
    struct buf out;
    size_t at = 0;
    if (!find(text->p, text->n, value))
        return;
    buf_init(&out, text->n * sizeof(marker) + 1);
    while (at < text->n) {
        const char *hit = find(text->p + at, text->n - at, value);
        size_t end = hit ? (size_t)(hit - text->p) : text->n;
        buf_add(&out, text->p + at, end - at);
        if (hit)
            buf_add_z(&out, marker);
        at = hit ? end + value.n : end;
    }
    struct str result = buf_ok(&out) ? buf_str(&out) : STR_NULL;
    buf_reset(text);
    buf_add_str(text, str_of(result.p, result.n < STDERR_BYTES ? result.n : STDERR_BYTES));
    buf_wipe_fini(&out);
}

enum { BEGUN_BYTES = 4 };

/* The beginning of value at the very end of a text that was cut off there. */
static void cut_begun(struct buf *text, struct str value)
{
    size_t n = value.n < text->n + 1 ? value.n : text->n + 1;
    while (n-- > BEGUN_BYTES)
        if (memcmp(text->p + text->n - n, value.p, n) == 0) {
            memset(text->p + text->n - n, '*', n);
            return;
        }
}

/* What tokens, keys and passwords are made of; quotes, commas and the like part them. */
static bool is_word_byte(unsigned char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c >= 0x80 || (c && strchr("-._~+/=", c));
}

enum { WORD_BYTES = 8 };

/* A helper that failed has returned nothing that could be parsed; what it printed is cut out by
 * words. Few words of a long text can be in 4 KiB of stderr: it is the stderr that is walked. */
static void cut_words(struct buf *text, struct str out)
{
    size_t i = 0;
    while (i < text->n) {
        size_t from = i;
        while (i < text->n && is_word_byte((unsigned char)text->p[i]))
            i++;
        if (i - from >= WORD_BYTES && find(out.p, out.n, str_of(text->p + from, i - from)))
            memset(text->p + from, '*', i - from);
        i += i == from;
    }
}

/* The other way round: a word of stdout that is part of a longer one of stderr. */
static void cut_parts(struct buf *text, struct str out)
{
    size_t i = 0;
    while (i < out.n) {
        size_t from = i;
        while (i < out.n && is_word_byte((unsigned char)out.p[i]))
            i++;
        if (i - from >= WORD_BYTES && text->n)
            cut(text, str_of(out.p + from, i - from));
        i += i == from;
    }
}

static void each_value(struct buf *text, struct str out, const struct material *m,
                       void (*fn)(struct buf *text, struct str value))
{
    if (m && m->secret)
        fn(text, secret_borrow(m->secret));
    for (size_t i = 0; m && i < m->n_fields; i++)
        fn(text, secret_borrow(m->fields[i].value));
    fn(text, trim_lines(out));
}

void scrub(struct buf *text, struct str out, const struct material *m)
{
    each_value(text, out, m, cut);
    each_value(text, out, m, cut_begun);
    cut_parts(text, out);
    cut_words(text, out);
}

/* ---- arguments ---- */

static bool is_any(struct str s, const char *const *list)
{
    for (; *list; list++)
        if (str_eq_nocase(s, str_from(*list)))
            return true;
    return false;
}

static bool is_secret_flag(struct str s)
{
    static const char *const flags[] = {"--token",  "--password", "--api-key",      "--apikey",
                                        "--secret", "--auth",     "--bearer",       "--access-token",
                                        "--client-secret", NULL};
    return is_any(s, flags);
}

static bool is_secret_header(struct str s)
{
    static const char *const names[] = {"authorization", "proxy-authorization", "x-api-key",
                                        "x-auth-token",  "cookie",              "set-cookie", NULL};
    return is_any(str_trim(s), names);
}

static bool is_secret_key(struct str s)
{
    static const char *const keys[] = {"token",  "access_token", "api_key", "apikey",
                                       "key",    "secret",       "password", "code",
                                       "state",  "nonce",        "client_secret", NULL};
    return is_any(s, keys);
}

/* scheme://user:PASSWORD@host */
static struct str add_authority(struct buf *out, struct str s)
{
    const char *scheme = find(s.p, s.n, STR("://"));
    size_t from = scheme ? (size_t)(scheme - s.p) + 3 : s.n;
    struct str host = str_of(s.p + from, s.n - from);
    size_t end = str_find(host, '/');
    size_t at = str_rfind(str_of(host.p, end), '@'), colon = str_find(str_of(host.p, end), ':');
    if (!scheme || at >= end || colon >= at)
        return s;
    buf_add(out, s.p, from + colon + 1);
    buf_add_z(out, marker);
    return str_of(host.p + at, host.n - at);
}

static void add_url(struct buf *out, struct str s)
{
    s = add_authority(out, s);
    size_t query = str_find(s, '?');
    buf_add(out, s.p, query);
    while (query < s.n) {
        buf_add_c(out, s.p[query]); /* ? & ; */
        s = str_of(s.p + query + 1, s.n - query - 1);
        for (query = 0; query < s.n && s.p[query] != '&' && s.p[query] != ';';)
            query++;
        size_t equals = str_find(str_of(s.p, query), '=');
        if (equals < query && is_secret_key(str_of(s.p, equals))) {
            buf_add(out, s.p, equals + 1);
            buf_add_z(out, marker);
        } else {
            buf_add(out, s.p, query);
        }
    }
}

void scrub_argument(struct buf *ret_text, struct str argument, struct str before)
{
    size_t equals = str_find(argument, '='), colon = str_find(argument, ':');
    if (is_secret_flag(before)) {
        buf_add_z(ret_text, marker);
    } else if (equals < argument.n && is_secret_flag(str_of(argument.p, equals))) {
        buf_add(ret_text, argument.p, equals + 1);
        buf_add_z(ret_text, marker);
    } else if (colon < argument.n && is_secret_header(str_of(argument.p, colon))) {
        buf_add(ret_text, argument.p, colon + 1);
        buf_add_c(ret_text, ' ');
        buf_add_z(ret_text, marker);
    } else {
        add_url(ret_text, argument);
    }
}
