#include "audit/record.h"
#include "base/encode.h"
#include "base/mem.h"
#include "sys/random.h"
#include <stdatomic.h>

enum { TEXT_MAX_BYTES = 8192, TEXT_FIRST_BYTES = 256 };

void record_init(struct record *r)
{
    *r = (struct record){0};
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
            memcpy(text + n, r->text_ + r->at_[i], r->n_[i]);
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
        memmove(r->text_ + r->at_[which], value.p, n);
    r->n_[which] = (uint16_t)n;
}

struct str record_get(const struct record *r, enum record_text which)
{
    return r->n_[which] ? str_of(r->text_ + r->at_[which], r->n_[which]) : STR_NULL;
}

/* Drawn at the first use; of two threads that draw at once, one wins for both. Never 0. */
static uint64_t process_prefix(void)
{
    static _Atomic uint64_t prefix;
    uint64_t now = atomic_load_explicit(&prefix, memory_order_relaxed);
    if (now)
        return now;
    uint64_t drawn = random_u64() | UINT64_C(1) << 63;
    return atomic_compare_exchange_strong(&prefix, &now, drawn) ? drawn : now;
}

/* Eight letters of 5 bits for the process, a dash, then the number in as few as it takes: at most 1
 * + 8 + 1 + 13 and a NUL. */
void audit_id(char out[24], char kind, uint64_t number)
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint64_t prefix = process_prefix();
    size_t n = 0;
    out[n++] = kind;
    for (int i = 0; i < 8; i++, prefix >>= 5)
        out[n++] = letters[prefix & 31];
    out[n++] = '-';
    int shift = 60;
    while (shift > 0 && !(number >> shift))
        shift -= 5;
    for (; shift >= 0; shift -= 5)
        out[n++] = letters[number >> shift & 31];
    out[n] = '\0';
}

/* Member with a text value; absent when empty. `key` holds comma, name and colon. */
static void add_text(struct buf *out, struct str key, struct str value)
{
    if (!value.n)
        return;
    buf_add_str(out, key);
    encode_json(out, value);
}

/* The same, but null when empty. */
static void add_text_or_null(struct buf *out, struct str key, struct str value)
{
    buf_add_str(out, key);
    if (value.n)
        encode_json(out, value);
    else
        buf_add(out, "null", 4);
}

/* A word of our own: nothing to escape. NULL: absent. */
static void add_word(struct buf *out, struct str key, const char *word)
{
    if (!word)
        return;
    buf_add_str(out, key);
    buf_add_c(out, '"');
    buf_add_z(out, word);
    buf_add_c(out, '"');
}

static void add_number(struct buf *out, struct str key, uint64_t value)
{
    buf_add_str(out, key);
    buf_add_u64(out, value);
}

static void add_number_or_null(struct buf *out, struct str key, bool there, uint64_t value)
{
    buf_add_str(out, key);
    if (there)
        buf_add_u64(out, value);
    else
        buf_add(out, "null", 4);
}

static void add_bool(struct buf *out, struct str key, bool value)
{
    buf_add_str(out, key);
    buf_add_str(out, value ? STR("true") : STR("false"));
}

/* Nanoseconds as milliseconds with three decimals. */
static void add_ms(struct buf *out, struct str key, uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned rest = (unsigned)(us % 1000);
    char decimals[4] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10),
                        (char)('0' + rest % 10)};
    add_number(out, key, us / 1000);
    buf_add(out, decimals, sizeof(decimals));
}

static void add_origin(struct buf *out, const struct record *r)
{
    char id[24];
    buf_add_str(out, STR("{\"type\":\"exchange\""));
    add_number(out, STR(",\"timestamp_unix_ms\":"), r->timestamp_ms);
    audit_id(id, 'c', r->connection_id);
    add_word(out, STR(",\"connection_id\":"), id);
    audit_id(id, 'r', r->request_number);
    add_word(out, STR(",\"request_id\":"), id);
    add_text(out, STR(",\"listener\":"), record_get(r, RECORD_LISTENER));
    add_text(out, STR(",\"client_address\":"), record_get(r, RECORD_CLIENT_ADDRESS));
    if (r->has_uid)
        add_number(out, STR(",\"client_uid\":"), r->client_uid);
    add_text(out, STR(",\"client_name\":"), record_get(r, RECORD_CLIENT_NAME));
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

static void add_decision(struct buf *out, const struct record *r, const char *auth_mechanism)
{
    const char *outcome = err_outcome(r->end);
    add_word(out, STR(",\"mode\":"), mode_name(r->mode));
    add_word(out, STR(",\"decision\":"), r->relayed ? "allow" : "deny");
    /* A row without an outcome is no end of an exchange: our own mistake, told as such. */
    add_word(out, STR(",\"outcome\":"), outcome ? outcome : "gateway_error");
    add_text(out, STR(",\"route_id\":"), record_get(r, RECORD_ROUTE_ID));
    if (r->auth_none) {
        add_word(out, STR(",\"auth_mechanism\":"), "none");
    } else if (auth_mechanism && *auth_mechanism) {
        add_text(out, STR(",\"auth_mechanism\":"), str_from(auth_mechanism));
        add_word(out, STR(",\"auth_outcome\":"), r->auth_failed ? "failed" : "succeeded");
    }
    if (!r->relayed)
        add_word(out, STR(",\"denial_category\":"), err_category(r->end));
    add_text(out, STR(",\"endpoint_policy_action\":"), record_get(r, RECORD_ENDPOINT_ACTION));
    add_text(out, STR(",\"endpoint_policy_rule\":"), record_get(r, RECORD_ENDPOINT_RULE));
    add_text(out, STR(",\"rule\":"), record_get(r, RECORD_RULE));
    add_text(out, STR(",\"rule_origin\":"), record_get(r, RECORD_RULE_ORIGIN));
}

static void add_request(struct buf *out, const struct record *r)
{
    if (r->scheme)
        add_word(out, STR(",\"scheme\":"), r->scheme == 1 ? "http" : "https");
    if (r->has_version)
        buf_add_str(out,
                    r->minor ? STR(",\"http_version\":\"1.1\"") : STR(",\"http_version\":\"1.0\""));
    if (r->has_query)
        add_bool(out, STR(",\"query_present\":"), r->query_present);
    add_text(out, STR(",\"upstream_address\":"), record_get(r, RECORD_UPSTREAM_ADDRESS));
    add_text(out, STR(",\"upstream_proxy\":"), record_get(r, RECORD_UPSTREAM_PROXY));
    if (r->has_upstream)
        add_bool(out, STR(",\"upstream_reused\":"), r->upstream_reused);
    if (r->upstream_status && r->upstream_status != r->status)
        add_number(out, STR(",\"upstream_status\":"), r->upstream_status);
    add_text(out, STR(",\"target\":"), record_get(r, RECORD_TARGET));
    add_number_or_null(out, STR(",\"port\":"), r->has_port, r->port);
    add_text_or_null(out, STR(",\"method\":"), record_get(r, RECORD_METHOD));
    add_text_or_null(out, STR(",\"path\":"), record_get(r, RECORD_PATH));
    add_number_or_null(out, STR(",\"status\":"), r->status != 0, r->status);
    add_text_or_null(out, STR(",\"reason\":"), record_get(r, RECORD_REASON));
}

void record_format(struct buf *out, const struct record *r, const char *auth_mechanism,
                   uint64_t now_ns)
{
    uint64_t all = now_ns > r->start_ns ? now_ns - r->start_ns : 0;
    add_origin(out, r);
    add_decision(out, r, auth_mechanism);
    add_request(out, r);
    add_number(out, STR(",\"request_bytes\":"), r->request_bytes);
    add_number(out, STR(",\"response_bytes\":"), r->response_bytes);
    add_ms(out, STR(",\"duration_ms\":"), all);
    add_ms(out, STR(",\"upstream_wait_ms\":"), r->wait_ns < all ? r->wait_ns : all);
    buf_add_str(out, STR("}\n"));
}
