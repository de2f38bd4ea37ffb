#include "audit/record.h"
#include "base/encode.h"
#include "base/mem.h"
#include "sys/random.h"
#include <stdatomic.h>

enum { TEXT_MAX_BYTES = 8192, TEXT_FIRST_BYTES = 512 };

/* The texts of most exchanges lie in the record itself. */
static char *area(struct record *r)
{
    return r->text_ ? r->text_ : r->inline_;
}

/* The area behind it is written before it is read. */
void record_init(struct record *r)
{
    memset(r, 0, offsetof(struct record, inline_));
    r->text_cap_ = sizeof(r->inline_);
}

void record_fini(struct record *r)
{
    mem_free(r->text_);
    record_init(r);
}

/* A larger area that holds only the texts still in use: replaced ones do not add up. */
static bool make_room(struct record *r, size_t need)
{
    size_t live = 0;
    for (int i = 0; i < RECORD_TEXT_COUNT_; i++)
        live += r->n_[i];
    size_t cap = TEXT_FIRST_BYTES;
    while (cap < live + need)
        cap *= 2;
    char *text = mem_alloc(cap);
    if (!text)
        return false;
    uint32_t n = 0;
    for (int i = 0; i < RECORD_TEXT_COUNT_; i++) {
        if (r->n_[i])
            memcpy(text + n, area(r) + r->at_[i], r->n_[i]);
        r->at_[i] = n;
        n += r->n_[i];
    }
    mem_free(r->text_);
    r->text_ = text;
    r->text_n_ = n;
    r->text_cap_ = (uint32_t)cap;
    return true;
}

void record_text(struct record *r, enum record_text which, struct str value)
{
    size_t n = value.n < TEXT_MAX_BYTES ? value.n : TEXT_MAX_BYTES;
    if (n > r->n_[which]) { /* a shorter one takes the former one's place */
        r->n_[which] = 0;
        if (n > r->text_cap_ - r->text_n_ && !make_room(r, n))
            return;
        r->at_[which] = r->text_n_;
        r->text_n_ += (uint32_t)n;
    }
    if (n)
        memmove(area(r) + r->at_[which], value.p, n);
    r->n_[which] = (uint16_t)n;
}

struct str record_get(const struct record *r, enum record_text which)
{
    const char *texts = r->text_ ? r->text_ : r->inline_;
    return r->n_[which] ? str_of(texts + r->at_[which], r->n_[which]) : STR_NULL;
}

static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* Eight letters of five bits, as they stand in an id. Drawn at the first use; of two threads that
 * draw at once, one wins for both. Never 0. */
static uint64_t process_prefix(void)
{
    static _Atomic uint64_t prefix;
    uint64_t now = atomic_load_explicit(&prefix, memory_order_relaxed);
    if (now)
        return now;
    uint64_t drawn = random_u64(), text;
    char eight[8];
    for (int i = 0; i < 8; i++, drawn >>= 5)
        eight[i] = letters[drawn & 31];
    memcpy(&text, eight, sizeof(text));
    return atomic_compare_exchange_strong(&prefix, &now, text) ? text : now;
}

/* The process's letters, a dash, then the number in as few as it takes: at most 1 + 8 + 1 + 13 and
 * a NUL. */
static size_t id_text(char *out, char kind, uint64_t number)
{
    uint64_t prefix = process_prefix();
    int shift = number ? (63 - __builtin_clzll(number)) / 5 * 5 : 0;
    size_t n = 10;
    out[0] = kind;
    memcpy(out + 1, &prefix, sizeof(prefix));
    out[9] = '-';
    for (; shift >= 0; shift -= 5)
        out[n++] = letters[number >> shift & 31];
    out[n] = '\0';
    return n;
}

void audit_id(char out[24], char kind, uint64_t number)
{
    (void)id_text(out, kind, number);
}

/* ---- one line. Room for the longest that a record can make is reserved first, so that nothing
 * below looks at a capacity: each takes the place to write to and gives the one behind. ---- */

enum {
    FIXED_BYTES = 2048, /* all keys, words and numbers, and what put_u64 writes beyond */
    ESCAPED_BYTES = 6,  /* most that one byte of a text becomes */
};

#define INLINE static inline __attribute__((always_inline))

INLINE char *put(char *at, struct str s)
{
    memcpy(at, s.p, s.n);
    return at + s.n;
}

/* Not 0 when one of eight bytes is a control (x + ones finds DEL), no ASCII, a quote or a backslash. */
INLINE uint64_t not_plain(uint64_t x)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones * 0x80;
    uint64_t quote = x ^ ones * '"', back = x ^ ones * '\\';
    return (x | (x + ones) | (x - ones * 0x20) | (quote - ones) | (back - ones)) & tops;
}

/* Copies while it looks. False: something has to be escaped, and what was copied is worth nothing.
 * Two words may overlap, so that no byte is looked at alone. */
static bool copy_plain(char *to, const char *p, size_t n)
{
    uint64_t x, bad = 0;
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8) {
            memcpy(&x, p + i, 8);
            memcpy(to + i, &x, 8);
            bad |= not_plain(x);
        }
        memcpy(&x, p + n - 8, 8);
        memcpy(to + n - 8, &x, 8);
        return !(bad | not_plain(x));
    }
    x = UINT64_C(0x2020202020202020); /* from registers: a load of what was stored by bytes would wait for them */
    for (size_t i = 0; i < n; i++) {
        to[i] = p[i];
        x = x << 8 | (unsigned char)p[i];
    }
    return !not_plain(x);
}

/* As encode_json does it, which takes over where a text is not plain. */
static char *put_json(char *at, struct str s)
{
    *at = '"';
    if (copy_plain(at + 1, s.p, s.n)) {
        at[1 + s.n] = '"';
        return at + s.n + 2;
    }
    struct buf b = {.p = at, .cap_ = s.n * ESCAPED_BYTES + 2, .max_ = s.n * ESCAPED_BYTES + 2};
    encode_json(&b, s);
    return at + b.n;
}

/* How many decimal digits: bits times the logarithm of two, or one more. */
static unsigned digits_of(uint64_t v)
{
    static const uint64_t powers[20] = {
#define P(n) UINT64_C(1##n), UINT64_C(1##n##0), UINT64_C(1##n##00), UINT64_C(1##n##000)
        0, UINT64_C(10), UINT64_C(100), UINT64_C(1000), P(0000), P(00000000), P(000000000000), P(0000000000000000)
#undef P
    };
    unsigned guess = (64 - (unsigned)__builtin_clzll(v | 1)) * 1233 >> 12;
    return guess + (v >= powers[guess]);
}

/* Straight to its place: whoever reads again what was just written in pairs waits for them. */
static char *put_u64(char *at, uint64_t v)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    unsigned n = digits_of(v), first = n;
    for (; v >= 100; v /= 100)
        memcpy(at + (first -= 2), pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(at, pairs + v * 2, 2);
    else
        *at = (char)('0' + v);
    return at + n;
}

/* Member with a text value; absent when empty. `key` holds comma, name and colon. */
INLINE char *add_text(char *at, struct str key, struct str value)
{
    return value.n ? put_json(put(at, key), value) : at;
}

/* The same, but null when empty. */
INLINE char *add_text_or_null(char *at, struct str key, struct str value)
{
    at = put(at, key);
    return value.n ? put_json(at, value) : put(at, STR("null"));
}

/* A word of our own: nothing to escape. NULL: absent. */
INLINE char *add_word(char *at, struct str key, const char *word)
{
    if (!word)
        return at;
    at = put(at, key);
    *at++ = '"';
    at = put(at, str_from(word));
    *at++ = '"';
    return at;
}

INLINE char *add_id(char *at, struct str key, char kind, uint64_t number)
{
    at = put(at, key);
    *at++ = '"';
    at += id_text(at, kind, number);
    *at++ = '"';
    return at;
}

INLINE char *add_number(char *at, struct str key, uint64_t value)
{
    return put_u64(put(at, key), value);
}

INLINE char *add_number_or_null(char *at, struct str key, bool there, uint64_t value)
{
    return there ? add_number(at, key, value) : put(put(at, key), STR("null"));
}

INLINE char *add_bool(char *at, struct str key, bool value)
{
    at = put(at, key);
    return value ? put(at, STR("true")) : put(at, STR("false"));
}

/* Nanoseconds as milliseconds with three decimals. */
INLINE char *add_ms(char *at, struct str key, uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned rest = (unsigned)(us % 1000);
    at = add_number(at, key, us / 1000);
    *at++ = '.';
    *at++ = (char)('0' + rest / 100);
    *at++ = (char)('0' + rest / 10 % 10);
    *at++ = (char)('0' + rest % 10);
    return at;
}

static char *add_origin(char *at, const struct record *r)
{
    at = put(at, STR("{\"type\":\"exchange\""));
    at = add_number(at, STR(",\"timestamp_unix_ms\":"), r->timestamp_ms);
    at = add_id(at, STR(",\"connection_id\":"), 'c', r->connection_id);
    at = add_id(at, STR(",\"request_id\":"), 'r', r->request_number);
    at = add_text(at, STR(",\"listener\":"), record_get(r, RECORD_LISTENER));
    at = add_text(at, STR(",\"client_address\":"), record_get(r, RECORD_CLIENT_ADDRESS));
    if (r->has_uid)
        at = add_number(at, STR(",\"client_uid\":"), r->client_uid);
    return add_text(at, STR(",\"client_name\":"), record_get(r, RECORD_CLIENT_NAME));
}

static const char *mode_name(uint8_t mode)
{
    static const char *const names[] = {
        [AUDIT_LOCAL] = "local",
        [AUDIT_CONNECT] = "connect",
        [AUDIT_CONNECT_INTERCEPT] = "connect_intercept",
        [AUDIT_INTERCEPT] = "intercept",
        [AUDIT_FORWARD] = "forward",
        [AUDIT_REVERSE] = "reverse",
    };
    return mode < ARRAY_LEN(names) ? names[mode] : "local";
}

static char *add_decision(char *at, const struct record *r, const char *auth_mechanism)
{
    const char *outcome = err_outcome(r->end);
    at = add_word(at, STR(",\"mode\":"), mode_name(r->mode));
    at = add_word(at, STR(",\"decision\":"), r->relayed ? "allow" : "deny");
    /* A row without an outcome is no end of an exchange: our own mistake, told as such. */
    at = add_word(at, STR(",\"outcome\":"), outcome ? outcome : "gateway_error");
    at = add_text(at, STR(",\"route_id\":"), record_get(r, RECORD_ROUTE_ID));
    if (r->auth_none) {
        at = add_word(at, STR(",\"auth_mechanism\":"), "none");
    } else if (auth_mechanism && *auth_mechanism) {
        at = add_text(at, STR(",\"auth_mechanism\":"), str_from(auth_mechanism));
        at = add_word(at, STR(",\"auth_outcome\":"), r->auth_failed ? "failed" : "succeeded");
    }
    if (!r->relayed)
        at = add_word(at, STR(",\"denial_category\":"), err_category(r->end));
    at = add_text(at, STR(",\"credential_id\":"), record_get(r, RECORD_CREDENTIAL_ID));
    if (r->credential_version)
        at = add_number(at, STR(",\"credential_version\":"), r->credential_version);
    if (r->n_[RECORD_CREDENTIAL_ID])
        at = add_bool(at, STR(",\"managed_credential_active\":"), r->credential_active);
    at = add_text(at, STR(",\"injection_mode\":"), record_get(r, RECORD_INJECTION_MODE));
    at = add_text(at, STR(",\"endpoint_policy_action\":"), record_get(r, RECORD_ENDPOINT_ACTION));
    at = add_text(at, STR(",\"endpoint_policy_rule\":"), record_get(r, RECORD_ENDPOINT_RULE));
    at = add_text(at, STR(",\"approval_backend\":"), record_get(r, RECORD_APPROVAL_BACKEND));
    at = add_text(at, STR(",\"rule\":"), record_get(r, RECORD_RULE));
    return add_text(at, STR(",\"rule_origin\":"), record_get(r, RECORD_RULE_ORIGIN));
}

static char *add_request(char *at, const struct record *r)
{
    if (r->scheme)
        at = add_word(at, STR(",\"scheme\":"), r->scheme == 1 ? "http" : "https");
    if (r->has_version)
        at = r->minor ? put(at, STR(",\"http_version\":\"1.1\""))
                      : put(at, STR(",\"http_version\":\"1.0\""));
    if (r->has_query)
        at = add_bool(at, STR(",\"query_present\":"), r->query_present);
    at = add_text(at, STR(",\"upstream\":"), record_get(r, RECORD_UPSTREAM));
    at = add_text(at, STR(",\"upstream_address\":"), record_get(r, RECORD_UPSTREAM_ADDRESS));
    at = add_text(at, STR(",\"upstream_proxy\":"), record_get(r, RECORD_UPSTREAM_PROXY));
    if (r->has_upstream)
        at = add_bool(at, STR(",\"upstream_reused\":"), r->upstream_reused);
    if (r->upstream_status && r->upstream_status != r->status)
        at = add_number(at, STR(",\"upstream_status\":"), r->upstream_status);
    at = add_text(at, STR(",\"target\":"), record_get(r, RECORD_TARGET));
    at = add_number_or_null(at, STR(",\"port\":"), r->has_port, r->port);
    at = add_text_or_null(at, STR(",\"method\":"), record_get(r, RECORD_METHOD));
    at = add_text_or_null(at, STR(",\"path\":"), record_get(r, RECORD_PATH));
    at = add_number_or_null(at, STR(",\"status\":"), r->status != 0, r->status);
    return add_text_or_null(at, STR(",\"reason\":"), record_get(r, RECORD_REASON));
}

/* Writes the line, for which there is room at `at`; gives its end. */
static char *write_line(char *at, const struct record *r, const char *auth_mechanism,
                        uint64_t now_ns)
{
    uint64_t all = now_ns > r->start_ns ? now_ns - r->start_ns : 0;
    at = add_origin(at, r);
    at = add_decision(at, r, auth_mechanism);
    at = add_request(at, r);
    at = add_number(at, STR(",\"request_bytes\":"), r->request_bytes);
    at = add_number(at, STR(",\"response_bytes\":"), r->response_bytes);
    at = add_ms(at, STR(",\"duration_ms\":"), all);
    at = add_ms(at, STR(",\"upstream_wait_ms\":"), r->wait_ns < all ? r->wait_ns : all);
    return put(at, STR("}\n"));
}

/* Of texts this long every byte is looked at, so that six times their length is not taken for
 * nothing. */
enum { MEASURED_BYTES = 1024 };

static size_t escapes(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        n += c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
    }
    return n;
}

/* No less than the line of this record can be. */
static size_t line_max(const struct record *r)
{
    size_t n = 0, escaped = 0;
    for (int i = 0; i < RECORD_TEXT_COUNT_; i++)
        n += r->n_[i];
    for (int i = 0; i < RECORD_TEXT_COUNT_ && n > MEASURED_BYTES; i++)
        escaped += escapes(record_get(r, (enum record_text)i));
    if (n <= MEASURED_BYTES)
        escaped = n;
    return FIXED_BYTES + n + escaped * (ESCAPED_BYTES - 1);
}

void record_format(struct buf *out, const struct record *r, const char *auth_mechanism,
                   uint64_t now_ns)
{
    char *at = buf_reserve(out, line_max(r));
    if (at)
        out->n += (size_t)(write_line(at, r, auth_mechanism, now_ns) - at);
}

bool record_emit(struct queue *q, const struct record *r, const char *auth_mechanism,
                 uint64_t now_ns)
{
    char *at = queue_reserve(q, line_max(r));
    if (!at)
        return false;
    queue_commit(q, (size_t)(write_line(at, r, auth_mechanism, now_ns) - at));
    return true;
}
