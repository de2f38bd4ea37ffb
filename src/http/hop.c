#include "http/hop.h"

/* ---- hop-by-hop fields ---- */

/* Framing is ours to write, and Host and Expect are needed to do it; a client cannot name these
 * away. */
static bool is_needed(enum field_id id)
{
    return id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING ||
           id == FIELD_EXPECT;
}

static void drop_known(struct fields *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        enum field_id id = (enum field_id)f->v[i].id;
        if (id == FIELD_CONTENT_LENGTH || field_flags(id) & FIELD_F_HOP)
            f->v[i].drop = true;
    }
}

static void drop_named(struct fields *f, struct str name)
{
    enum field_id id = field_lookup(name);

    if (is_needed(id) || field_flags(id) & FIELD_F_HOP)
        return;
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id == id && (id != FIELD_OTHER || str_eq_nocase(f->v[i].name, name)))
            f->v[i].drop = true;
}

static void drop_everything(struct fields *f)
{
    for (unsigned i = 0; i < f->n; i++)
        if (!is_needed((enum field_id)f->v[i].id))
            f->v[i].drop = true;
}

/* Names come in any number, each is looked for in every field: after more than a head can have
 * fields the work ends, on the safe side. */
static void drop_listed(struct fields *f, struct str list, unsigned *names)
{
    struct str part;

    while (str_next(&list, ',', &part)) {
        part = str_trim(part);
        if (!part.n)
            continue;
        if (++*names > LIMIT_HEAD_FIELDS) {
            drop_everything(f);
            return;
        }
        drop_named(f, part);
    }
}

void hop_strip(struct http_head *head)
{
    struct fields *f = &head->fields;
    unsigned names = 0;

    drop_known(f);
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id == FIELD_CONNECTION)
            drop_listed(f, f->v[i].value, &names);
}

/* ---- WebSocket ---- */

static bool base64_char(char c)
{
    return ascii_is_alpha((unsigned char)c) || ascii_is_digit((unsigned char)c) || c == '+' ||
           c == '/';
}

/* 16 bytes in base64 are 22 characters and two of padding. */
static bool key_ok(struct str key)
{
    if (key.n != 24 || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (!base64_char(key.p[i]))
            return false;
    return true;
}

static enum err check_handshake(const struct http_head *head, struct errctx *ctx)
{
    const struct field *key = fields_get(&head->fields, FIELD_SEC_WEBSOCKET_KEY);
    const struct field *version = fields_get(&head->fields, FIELD_SEC_WEBSOCKET_VERSION);

    if (head->framing == FRAMING_CHUNKED || head->length)
        return err_set(ctx, ERR_BAD_REQUEST, "WebSocket handshake with a body");
    if (!key || fields_count(&head->fields, FIELD_SEC_WEBSOCKET_KEY) != 1 || !key_ok(key->value))
        return err_set(ctx, ERR_BAD_REQUEST, "Sec-WebSocket-Key is not one of 16 bytes in base64");
    if (!version || fields_count(&head->fields, FIELD_SEC_WEBSOCKET_VERSION) != 1 ||
        !str_eq(version->value, STR("13")))
        return err_set(ctx, ERR_BAD_REQUEST, "Sec-WebSocket-Version is not 13");
    return ERR_OK;
}

enum err hop_upgrade(const struct http_head *head, enum upgrade *ret_upgrade, struct errctx *ctx)
{
    if (!fields_get(&head->fields, FIELD_UPGRADE)) {
        *ret_upgrade = UPGRADE_NONE;
        return ERR_OK;
    }
    if (!str_eq(head->method, STR("GET")) || head->minor == 0 ||
        !fields_has_token(&head->fields, FIELD_CONNECTION, STR("upgrade")) ||
        !fields_has_token(&head->fields, FIELD_UPGRADE, STR("websocket"))) {
        *ret_upgrade = UPGRADE_OTHER;
        return ERR_OK;
    }
    enum err e = check_handshake(head, ctx);
    if (!e)
        *ret_upgrade = UPGRADE_WEBSOCKET;
    return e;
}

/* SHA-1 (FIPS 180-4), here because a pure folder cannot ask OpenSSL; it proves a handshake and
 * protects nothing. */
struct sha1 {
    uint32_t h[5];
    uint64_t bytes;
    unsigned char block[64];
};

static uint32_t rotate(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}

static void sha1_expand(const unsigned char block[64], uint32_t w[80])
{
    for (size_t i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (size_t i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
}

static uint32_t sha1_mix(size_t i, uint32_t b, uint32_t c, uint32_t d)
{
    static const uint32_t constant[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    const uint32_t add = constant[i / 20];

    switch (i / 20) {
    case 0:
        return ((b & c) | (~b & d)) + add;
    case 2:
        return ((b & c) | (b & d) | (c & d)) + add;
    default:
        return (b ^ c ^ d) + add;
    }
}

static void sha1_block(struct sha1 *s)
{
    uint32_t w[80], v[5];

    sha1_expand(s->block, w);
    memcpy(v, s->h, sizeof(v));
    for (size_t i = 0; i < 80; i++) {
        uint32_t next = rotate(v[0], 5) + sha1_mix(i, v[1], v[2], v[3]) + v[4] + w[i];
        v[4] = v[3], v[3] = v[2], v[2] = rotate(v[1], 30), v[1] = v[0], v[0] = next;
    }
    for (size_t i = 0; i < 5; i++)
        s->h[i] += v[i];
}

static void sha1_byte(struct sha1 *s, unsigned char byte)
{
    s->block[s->bytes++ % 64] = byte;
    if (s->bytes % 64 == 0)
        sha1_block(s);
}

static void sha1_add(struct sha1 *s, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++)
        sha1_byte(s, (unsigned char)bytes.p[i]);
}

static void sha1_end(struct sha1 *s, unsigned char ret_digest[20])
{
    const uint64_t bits = s->bytes * 8;

    sha1_byte(s, 0x80);
    while (s->bytes % 64 != 56)
        sha1_byte(s, 0);
    for (int shift = 56; shift >= 0; shift -= 8)
        sha1_byte(s, (unsigned char)(bits >> shift));
    for (size_t i = 0; i < 20; i++)
        ret_digest[i] = (unsigned char)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* 20 bytes as 27 characters and one of padding: a last group of two bytes. */
static void base64_digest(const unsigned char digest[20], char ret_text[29])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *at = ret_text;

    for (size_t i = 0; i < 21; i += 3) {
        uint32_t last = i + 2 < 20 ? digest[i + 2] : 0;
        uint32_t group = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | last;
        for (int shift = 18; shift >= 0; shift -= 6)
            *at++ = alphabet[group >> shift & 63];
    }
    ret_text[27] = '=';
    ret_text[28] = '\0';
}

void hop_websocket_accept(struct str key, char ret_accept[29])
{
    struct sha1 s = {.h = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}};
    unsigned char digest[20];

    sha1_add(&s, key);
    sha1_add(&s, STR("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    sha1_end(&s, digest);
    base64_digest(digest, ret_accept);
}
