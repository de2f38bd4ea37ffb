#include "credential/inject.h"
#include "base/encode.h"
#include "base/limits.h"
#include "credential/inject_int.h"

/* A token this long is nobody's word by chance, so it is looked for anywhere (decision K8). */
enum { LONG_TOKEN = 16 };

/* ---- looking for a token in a text ---- */

/* Most texts are short; memmem has to look at the token first, which costs more than they do. */
static bool holds_short(struct str text, struct str token)
{
    const char *p = text.p, *last = text.p + (text.n - token.n);
    while (p <= last && (p = memchr(p, token.p[0], (size_t)(last - p) + 1)) != NULL) {
        if (memcmp(p, token.p, token.n) == 0)
            return true;
        p++;
    }
    return false;
}

static bool holds(struct str text, struct str token)
{
    enum { SHORT_TEXT = 128 };
    if (!token.n || text.n < token.n)
        return false;
    if (text.n <= SHORT_TEXT)
        return holds_short(text, token);
    return memmem(text.p, text.n, token.p, token.n) != NULL;
}

/* Whether text, percent-decoded, begins with token; *ret_used is how much of it that took. */
static bool begins_decoded(struct str text, struct str token, size_t *ret_used)
{
    size_t i = 0;
    for (size_t k = 0; k < token.n; k++)
        if (i >= text.n || decode_percent_at(text, &i) != token.p[k])
            return false;
    *ret_used = i;
    return true;
}

static bool has_escapes(struct str text)
{
    return str_find(text, '%') < text.n;
}

static bool holds_decoded(struct str text, struct str token)
{
    size_t used;
    for (size_t i = 0; i < text.n; i++)
        if (begins_decoded(str_of(text.p + i, text.n - i), token, &used))
            return true;
    return false;
}

static bool equals_decoded(struct str text, struct str token)
{
    size_t used;
    return begins_decoded(text, token, &used) && used == text.n;
}

/* "Scheme rest": the first word, and what follows its blanks. */
static bool cut_word(struct str value, struct str *ret_word, struct str *ret_rest)
{
    size_t i = 0;
    while (i < value.n && value.p[i] != ' ' && value.p[i] != '\t')
        i++;
    *ret_word = str_of(value.p, i);
    *ret_rest = str_trim(str_of(value.p + i, value.n - i));
    return i < value.n;
}

/* Base64 is read in place: no memory, so nothing that could be refused, and this look never fails
 * open. Both alphabets, padding or not: some servers take them all. */
static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* The k-th decoded byte of text, whose characters are all digits. */
static char base64_byte(struct str text, size_t k)
{
    size_t bit = k * 8, at = bit / 6;
    unsigned pair =
        (unsigned)base64_digit(text.p[at]) << 6 | (unsigned)base64_digit(text.p[at + 1]);
    return (char)(pair >> (4 - bit % 6));
}

/* The encoded part of a Basic value; *ret_n is the length of what it decodes to, 0 for any other
 * value. */
static struct str basic_of(struct str value, size_t *ret_n)
{
    struct str word, rest;
    size_t digits = 0;
    *ret_n = 0;
    if (!cut_word(value, &word, &rest) || !str_eq_nocase(word, STR("basic")))
        return STR_NULL;
    while (digits < rest.n && base64_digit(rest.p[digits]) >= 0)
        digits++;
    *ret_n = digits * 6 / 8;
    return str_of(rest.p, digits);
}

static bool base64_matches(struct str text, size_t at, struct str token)
{
    for (size_t k = 0; k < token.n; k++)
        if (base64_byte(text, at + k) != token.p[k])
            return false;
    return true;
}

/* ---- one field value, one target ---- */

static bool basic_leaks(struct str value, struct str token)
{
    size_t n, password = 0;
    struct str text = basic_of(value, &n);
    if (n < token.n)
        return false;
    if (token.n >= LONG_TOKEN) {
        for (size_t at = 0; at + token.n <= n; at++)
            if (base64_matches(text, at, token))
                return true;
        return false;
    }
    while (password < n && base64_byte(text, password) != ':')
        password++;
    password = password < n ? password + 1 : 0; /* no colon: the whole of it */
    return n - password == token.n && base64_matches(text, password, token);
}

static bool value_leaks(struct str value, struct str token)
{
    struct str word, rest;
    if (value.n < token.n) /* encoded it is longer still */
        return false;
    if (token.n >= LONG_TOKEN && holds(value, token))
        return true;
    if (token.n < LONG_TOKEN) {
        if (str_eq(value, token))
            return true;
        if (cut_word(value, &word, &rest) && str_eq(rest, token))
            return true;
    }
    return basic_leaks(value, token);
}

/* Whether a piece of text between separators, or what follows its first '=' (with `pairs`), is the
 * token. */
static bool piece_leaks(struct str text, char separator, bool pairs, struct str token)
{
    struct str piece;
    while (str_next(&text, separator, &piece)) {
        size_t eq = pairs ? str_find(piece, '=') : piece.n;
        if (eq < piece.n)
            piece = str_of(piece.p + eq + 1, piece.n - eq - 1);
        if (equals_decoded(piece, token))
            return true;
    }
    return false;
}

/* The target without scheme and authority: the name of a host is no place for a short password to
 * be found in. */
static struct str path_of(struct str target)
{
    static const struct str mark = {"://", 3};
    const char *at = memmem(target.p, target.n, mark.p, mark.n);
    if (target.n == 0 || target.p[0] == '/' || !at)
        return target;
    size_t start = (size_t)(at - target.p) + mark.n;
    struct str rest = str_of(target.p + start, target.n - start);
    size_t slash = str_find(rest, '/'), query = str_find(rest, '?');
    size_t end = slash < query ? slash : query;
    return str_of(rest.p + end, rest.n - end);
}

static bool target_leaks(struct str target, struct str token)
{
    if (target.n < token.n) /* decoding makes nothing longer */
        return false;
    bool escapes = has_escapes(target);
    if (token.n >= LONG_TOKEN)
        return holds(target, token) || (escapes && holds_decoded(target, token));
    if (!escapes && !holds(target, token))
        return false; /* then no piece of it is the token */
    struct str path = path_of(target);
    size_t mark = str_find(path, '?');
    struct str query = mark < path.n ? str_of(path.p + mark + 1, path.n - mark - 1) : STR_NULL;
    return piece_leaks(str_of(path.p, mark), '/', false, token) ||
           piece_leaks(query, '&', true, token);
}

/* Host is our own text, written from a target that policy has allowed. */
static bool field_leaks(const struct field *f, struct str token)
{
    if (token.n < LONG_TOKEN)
        return f->id != FIELD_HOST && value_leaks(f->value, token);
    return holds(f->name, token) || value_leaks(f->value, token);
}

/* ---- the two calls ---- */

static bool fields_leak(const struct fields *fields, struct str token, bool dropped_too)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *f = &fields->v[i];
        if ((dropped_too || !f->drop) && field_leaks(f, token))
            return true;
    }
    return false;
}

static enum err must_not_leak(const struct clients *clients, const struct http_head *head,
                              struct errctx *ctx)
{
    if (clients->auth_off)
        return ERR_OK;
    for (unsigned i = 0; i < clients->n; i++) {
        struct str token = secret_borrow(clients->v[i].token);
        bool long_one = token.n >= LONG_TOKEN;
        if (token.n == 0)
            continue;
        if (target_leaks(head->target, token) || (long_one && holds(head->method, token)) ||
            fields_leak(&head->fields, token, false))
            return err_set(ctx, ERR_BAD_REQUEST,
                           "the request would carry the gateway's own token or password upstream");
    }
    return ERR_OK;
}

enum err inject(const struct injection *in, struct http_head *head, struct buf *secret,
                struct errctx *ctx)
{
    const struct decision *d = in->decision;
    if (d->verdict != VERDICT_ALLOW || (d->credential >= 0) != (in->credential != NULL) ||
        (in->credential && !in->material))
        return err_set(ctx, ERR_INTERNAL, "a request that was not allowed came to the injector");
    enum err e = in->credential ? inject_put(in, head, secret, ctx) : ERR_OK;
    return e ? e : must_not_leak(in->clients, head, ctx);
}

enum err inject_look(const struct clients *clients, const struct credential *credential,
                     struct http_head *head, struct errctx *ctx)
{
    if (credential)
        inject_drop(clients, credential, NULL, &head->fields);
    return must_not_leak(clients, head, ctx);
}

bool inject_value_leaks(const struct clients *clients, struct str value)
{
    for (unsigned i = 0; !clients->auth_off && i < clients->n; i++) {
        struct str token = secret_borrow(clients->v[i].token);
        if (token.n && value_leaks(value, token))
            return true;
    }
    return false;
}

bool inject_trailers_leak(const struct clients *clients, const struct fields *trailers)
{
    if (clients->auth_off)
        return false;
    for (unsigned i = 0; i < clients->n; i++) {
        struct str token = secret_borrow(clients->v[i].token);
        if (token.n && fields_leak(trailers, token, true))
            return true;
    }
    return false;
}

bool inject_target_leaks(const struct clients *clients, struct str target)
{
    for (unsigned i = 0; !clients->auth_off && i < clients->n; i++) {
        struct str token = secret_borrow(clients->v[i].token);
        if (token.n && target_leaks(target, token))
            return true;
    }
    return false;
}

bool inject_host_leaks(const struct clients *clients, struct str host)
{
    for (unsigned i = 0; !clients->auth_off && i < clients->n; i++) {
        struct str token = secret_borrow(clients->v[i].token);
        if (token.n >= LONG_TOKEN && holds(host, token))
            return true;
    }
    return false;
}

/* ---- texts that leave by another way ---- */

static bool separates(char c)
{
    return c == '/' || c == '?' || c == '&' || c == '=' || c == '\'' || c == '"' || c == ' ';
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
    return (start == 0 || separates(text[start - 1])) && (end == n || separates(text[end]));
}

/* How much of text is the beginning of token, percent-encoded or not; 0 where that is too little to tell.
 * A sentence may have cut what a client wrote, and most of a token is as good as all of it. */
static size_t beginning(struct str text, struct str token)
{
    size_t i = 0, k = 0, next = 0;
    while (k < token.n && i < text.n && decode_percent_at(text, &next) == token.p[k])
        i = next, k++;
    return k >= LONG_TOKEN ? i : 0;
}

static void mask_one(char *text, size_t n, struct str token)
{
    for (size_t i = 0; i < n; i++) {
        struct str rest = str_of(text + i, n - i);
        size_t used = 0;
        if (token.n >= LONG_TOKEN)
            used = beginning(rest, token);
        else if (!begins_decoded(rest, token, &used) || !stands_alone(text, n, i, i + used))
            used = 0;
        memset(text + i, '*', used);
        i += used ? used - 1 : 0;
    }
}

void inject_mask(const struct clients *clients, char *text, size_t n)
{
    for (unsigned i = 0; !clients->auth_off && i < clients->n; i++) {
        struct str token = secret_borrow(clients->v[i].token);
        if (token.n)
            mask_one(text, n, token);
    }
}
